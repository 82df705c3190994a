"""The gradient certificate: hand-derived gradients against `jax.grad` and central differences.

The one place in the package that differentiates automatically. Everything runs in float64, on whatever
device JAX finds.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .config import Activation, Config, Loss
from .data import Data
from .dropout import UnitMasks
from .hparams import HParams
from .mlp import Layer, Params
from .objective import cost, cost_and_grads

# Relative to the largest entry of a leaf; central differences lose half of the digits.
BOUND = 1e-10
CENTRAL_BOUND = 1e-6

NUM_OUTPUTS: dict[Loss, int] = {"sigmoid_cross_entropy": 1, "softmax_cross_entropy": 3, "squared_error": 2}
PENALTY_STRENGTHS = {"none": (0.0, 0.0), "l2": (0.7, 0.0), "l1": (0.0, 0.3), "l2+l1": (0.7, 0.3)}
DROPOUTS = ("off", "hidden", "hidden+input")
DEPTHS = (0, 1, 2, 3, 4)
HIDDEN_WIDTHS = (5, 3, 6, 4)  # on both sides of mlp.SMALL_INNER
NUM_FEATURES, NUM_SAMPLES = 3, 7
STEP = 1e-6  # of the central difference
NUM_PROGRAMS = len(get_args(Activation)) * (len(DEPTHS) - 1) + 1


class Certificate(NamedTuple):
    """The largest relative errors of one combination, over all depths and all leaves.

    Attributes:
        activation, loss, penalty, dropout: the combination.
        error: against `jax.grad`, relative to the largest entry of the leaf.
        central_error: against a central difference along a random direction, relative to the norms of
            gradient and direction.
    """

    activation: str
    loss: str
    penalty: str
    dropout: str
    error: float
    central_error: float

    @property
    def ok(self) -> bool:
        """Whether both errors are within their bounds; NaN is not."""
        return self.error <= BOUND and self.central_error <= CENTRAL_BOUND


def certify(
    *, depths: Sequence[int] = DEPTHS, on_progress: Callable[[int], None] = lambda done: None
) -> list[Certificate]:
    """Returns a certificate per activation × loss × penalty × dropout.

    Args:
        depths: numbers of hidden layers, each at most 4.
        on_progress: called with the number of finished (activation, depth) programs.
    """
    # With no hidden layer there is no activation: one program stands for all.
    programs: list[tuple[Activation, int]] = [
        (a, d) for a, d in itertools.product(get_args(Activation), depths) if d > 0 or a == "identity"
    ]
    # Compiling takes nearly all of the time, and releases Python's lock.
    pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        tasks = {pool.submit(_certify_program, *program): program for program in programs}
        for done, _ in enumerate(concurrent.futures.as_completed(tasks), 1):
            on_progress(done)
    finally:  # on Ctrl-C what has not begun is dropped
        pool.shutdown(wait=False, cancel_futures=True)
    rows = []
    for activation in get_args(Activation):
        found = [task.result() for task, (a, d) in tasks.items() if a == activation or d == 0]
        for loss, (i, dropout), (j, penalty) in itertools.product(
            get_args(Loss), enumerate(DROPOUTS), enumerate(PENALTY_STRENGTHS)
        ):
            errors = np.max([errors[loss][:, i, j] for errors in found], axis=0)  # keeps NaN
            rows.append(Certificate(activation, loss, penalty, dropout, *map(float, errors)))
    return rows


def _certify_program(activation: Activation, depth: int) -> dict[Loss, np.ndarray]:
    """Returns both errors of every loss, `(2, dropouts, penalties)`."""
    sizes = (NUM_FEATURES, *HIDDEN_WIDTHS[:depth], 1)
    config = Config(layer_sizes=sizes, activation=activation, dtype="float64")
    problems = _problems(config, np.random.default_rng(depth))
    with jax.enable_x64(True):  # thread-local
        strengths = np.array(list(PENALTY_STRENGTHS.values()))
        found = jax.tree.map(np.asarray, _differentiate(problems, strengths, config=config))
    return {loss: _errors(d.ours, d.oracle, d.slope, problems[loss].direction) for loss, d in found.items()}


class Problem(NamedTuple):
    """Random parameters (biases too), rows, masks stacked over DROPOUTS, a direction to step along."""

    params: Params
    data: Data
    masks: Any
    direction: tuple[Params, np.ndarray]


def _problems(config: Config, rng: np.random.Generator) -> dict[Loss, Problem]:
    """Returns a problem per loss, in NumPy: nothing is compiled for it."""

    def problem(loss: Loss, num_outputs: int) -> Problem:
        sizes = (*config.layer_sizes[:-1], num_outputs)
        params = tuple(
            Layer._make(
                [
                    rng.standard_normal((fan_out, fan_in)) / fan_in**0.5,
                    0.3 * rng.standard_normal((fan_out, 1)),
                ]
            )
            for fan_in, fan_out in itertools.pairwise(sizes)
        )
        x = rng.standard_normal((NUM_FEATURES, NUM_SAMPLES))
        y = rng.standard_normal((num_outputs, NUM_SAMPLES))
        if loss != "squared_error":
            y = rng.integers(0, max(2, num_outputs), (1, NUM_SAMPLES)).astype(np.int32)
        weights = rng.uniform(0.5, 1.5, NUM_SAMPLES)
        weights[2] = 0  # a held-out row
        drawn = [(rng.random((units, NUM_SAMPLES)) < 0.7) / 0.7 for units in sizes[:-1]]
        # As in DROPOUTS; off is a mask of ones, so that the three are lanes of one program.
        ones = [np.ones_like(mask) for mask in drawn]
        masks = tuple(np.stack(lanes) for lanes in zip(ones, [ones[0], *drawn[1:]], drawn, strict=True))
        # Every entry moves by the same amount, so no entry can hide.
        direction = jax.tree.map(lambda leaf: rng.choice([-1.0, 1.0], leaf.shape), (params, x))
        return Problem(params, Data(x, y, weights), masks, direction)

    return {loss: problem(loss, num_outputs) for loss, num_outputs in NUM_OUTPUTS.items()}


class Derivatives(NamedTuple):
    """Of the objective in (params, x); every leaf has two leading axes, `(dropouts, penalties)`.

    Attributes:
        ours: the hand-derived gradient.
        oracle: of `jax.grad`.
        slope: the central difference along the direction.
    """

    ours: tuple[Params, Any]
    oracle: tuple[Params, Any]
    slope: Any


@functools.partial(jax.jit, static_argnames="config")
def _differentiate(
    problems: dict[Loss, Problem], strengths: jax.Array, *, config: Config
) -> dict[Loss, Derivatives]:
    """Returns the derivatives of every loss, all in one compiled function."""

    def one(problem: Problem, config: Config, masks: UnitMasks, strengths: jax.Array) -> Derivatives:
        params, data, _, direction = problem
        hparams = HParams(l2=strengths[0], l1=strengths[1])

        def objective(params: Params, x: jax.Array) -> jax.Array:
            return cost(params, hparams, data._replace(x=x), masks, config=config)

        def along(distance: jax.Array) -> jax.Array:
            return objective(*jax.tree.map(lambda leaf, d: leaf + distance * d, (params, data.x), direction))

        _, grads, dx = cost_and_grads(params, hparams, data, masks, config=config)
        plus, minus = jax.vmap(along)(jnp.asarray([STEP, -STEP]))
        oracle = jax.grad(objective, argnums=(0, 1))(params, data.x)
        return Derivatives((grads, dx), oracle, (plus - minus) / (2 * STEP))

    found = {}
    for loss, problem in problems.items():
        each = functools.partial(one, problem, dataclasses.replace(config, loss=loss))
        over_penalties = jax.vmap(each, in_axes=(None, 0))
        found[loss] = jax.vmap(over_penalties, in_axes=(0, None))(problem.masks, strengths)
    return found


def _errors(ours: Any, oracle: Any, slope: np.ndarray, direction: Any) -> np.ndarray:
    """Returns the two errors of a `Certificate`, `(2, dropouts, penalties)`."""
    products, squares = np.zeros_like(slope), np.zeros_like(slope)
    for g, d in zip(jax.tree.leaves(ours), jax.tree.leaves(direction), strict=True):
        products += np.sum(g * d, axis=(2, 3))
        squares += np.sum(g * g, axis=(2, 3)) * d.size
    # |direction| = √size, its entries being ±1; the bound of Cauchy and Schwarz per leaf is the scale.
    return np.stack([relative_error(ours, oracle, num_lanes=2), np.abs(slope - products) / np.sqrt(squares)])


def relative_error(got: Any, expected: Any, *, num_lanes: int = 0) -> np.ndarray:
    """Returns max |got - expected| / max |expected| per leaf, the largest over the leaves.

    A leaf whose expected values are all 0 is held to its absolute error.

    Args:
        got: arrays, or pytrees of them.
        expected: the same structure and shapes.
        num_lanes: so many leading axes are kept.
    """

    def largest(values: np.ndarray) -> np.ndarray:
        return np.max(np.abs(values).reshape(*values.shape[:num_lanes], -1), axis=-1)

    errors = []
    for g, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = largest(np.asarray(e))
        errors.append(largest(np.asarray(g) - np.asarray(e)) / np.where(scale == 0, 1, scale))
    return np.max(errors, axis=0)


def as_text(rows: Sequence[Certificate]) -> str:
    """Returns the certificates as a table: a line per activation × loss × dropout."""
    penalties = list(PENALTY_STRENGTHS)
    lines = [
        "largest relative error of each hand-derived gradient, depths 0 to 4, parameters and input",
        f"{'':48}{'against jax.grad, with penalty':^40}  {'central':>9}",
        f"{'activation':<11}{'loss':<23}{'dropout':<14}"
        + "".join(f"{p:>10}" for p in penalties)
        + f"  {'differences':>9}",
    ]
    found = {row[:4]: row for row in rows}
    for activation, loss, dropout in itertools.product(get_args(Activation), get_args(Loss), DROPOUTS):
        line = [found[activation, loss, penalty, dropout] for penalty in penalties]
        errors = "".join(f"{row.error:>10.1e}" for row in line)
        central = max((row.central_error for row in line), key=lambda e: (np.isnan(e), e))
        flag = "" if all(row.ok for row in line) else "  <-- exceeds its bound"
        lines.append(f"{activation:<11}{loss:<23}{dropout:<14}{errors}  {central:>9.1e}{flag}")
    lines.append(f"bounds: {BOUND:.0e} against jax.grad, {CENTRAL_BOUND:.0e} against central differences")
    return "\n".join(lines)


class InputCheck(NamedTuple):
    """How far one gradient is from the truth.

    Attributes:
        name: which input, and where in it.
        error: against `jax.vjp`, relative to the largest entry; None where forward is not JAX code.
        central_error: against central differences, entry by entry, relative to the largest entry.
        ok: whether both are within their bounds.
    """

    name: str
    error: float | None
    central_error: float
    ok: bool


class GradientReport(NamedTuple):
    """What `check_gradient` found: one check per array of the inputs."""

    checks: tuple[InputCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(check.ok for check in self.checks)

    def __str__(self) -> str:
        lines = []
        for check in self.checks:
            exact = "" if check.error is None else f"jax.grad {check.error:.1e}, "
            verdict = "ok" if check.ok else "WRONG"
            lines.append(
                f"{check.name:<14} {verdict:<6} {exact}central differences {check.central_error:.1e}"
            )
        return "\n".join(lines)


def check_gradient(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    *inputs: Any,
    max_entries: int = 200,
) -> GradientReport:
    """Returns how far a hand-derived backward is from the truth, array by array.

    A random cotangent is pushed through `backward` and compared with `jax.vjp` of `forward` (where
    `forward` is JAX code; NumPy code will do too) and with central differences of it, in float64.

    Args:
        forward: `forward(*inputs) → (output, residuals)`.
        backward: `backward(residuals, d_output) → (d_input, …)`, one per input in their order; None for
            an input that has no gradient. For a single input the bare gradient will do.
        *inputs: arrays, or pytrees of arrays, of any shape. Stay away from kinks: at relu's z = 0 a
            central difference is neither of the two slopes.
        max_entries: at most so many entries of an array are differentiated numerically, at random.

    Raises:
        TypeError: backward returns something else than one gradient per input, or one for whole numbers.
        ValueError: no gradient at all, or one of the wrong shape; names the input.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> def forward(x, w):
        ...     return jnp.tanh(w @ x), (x, w, jnp.tanh(w @ x))
        >>> def backward(residuals, dy):
        ...     x, w, y = residuals
        ...     dz = dy * (1 - y * y)
        ...     return w.T @ dz, dz @ x.T
        >>> x, w = jnp.ones((3, 2)), jnp.full((4, 3), 0.1)
        >>> regjax.check_gradient(forward, backward, x, w).ok
        True
    """
    with jax.enable_x64(True):
        try:
            return _check_gradient(forward, backward, inputs, max_entries, _as_jax)
        except TypeError as error:
            if "immutable" not in str(error):
                raise
            return _check_gradient(forward, backward, inputs, max_entries, _as_numpy)


def _check_gradient(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    inputs: tuple[Any, ...],
    max_entries: int,
    as_array: Callable[[Any], Any],
) -> GradientReport:
    """Does what `check_gradient` does, handing over arrays of one kind."""
    rng = np.random.default_rng(0)
    inputs = jax.tree.map(as_array, inputs)
    output, residuals = forward(*inputs)
    d_output = jax.tree.map(lambda leaf: as_array(rng.standard_normal(np.shape(leaf))), output)
    gradients = backward(residuals, d_output)
    gradients = (gradients,) if len(inputs) == 1 and not isinstance(gradients, tuple) else gradients
    if not isinstance(gradients, tuple) or len(gradients) != len(inputs):
        raise TypeError(
            f"backward must return {len(inputs)} gradients in a tuple, got {type(gradients).__name__}"
        )

    def objective(*values: Any) -> float:
        leaves = jax.tree.leaves(forward(*jax.tree.map(as_array, values))[0])
        return sum(float(np.vdot(d, o)) for d, o in zip(jax.tree.leaves(d_output), leaves, strict=True))

    exact = _vjp(forward, inputs, d_output)
    checks = []
    for index, gradient in enumerate(gradients):
        if gradient is not None:
            at = functools.partial(_with_input, objective, inputs, index)
            oracle = None if exact is None else exact[index]
            checks += _check_input(f"input {index}", at, inputs[index], gradient, oracle, max_entries, rng)
    if not checks:
        raise ValueError("backward must return at least one gradient, got none")
    return GradientReport(tuple(checks))


def _as_jax(leaf: Any) -> Any:
    return jnp.asarray(_as_numpy(leaf))


def _as_numpy(leaf: Any) -> Any:
    array = np.array(leaf)  # a copy: a student's code may write into it
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _vjp(forward: Callable[..., Any], inputs: tuple[Any, ...], d_output: Any) -> Any:
    try:
        _, pull_back = jax.vjp(lambda *values: forward(*values)[0], *jax.tree.map(jnp.asarray, inputs))
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError, TypeError):
        return None  # NumPy code cannot be traced: central differences alone decide
    return pull_back(jax.tree.map(jnp.asarray, d_output))


def _with_input(objective: Callable[..., float], inputs: tuple[Any, ...], index: int, value: Any) -> float:
    return objective(*inputs[:index], value, *inputs[index + 1 :])


def _check_input(
    name: str,
    objective: Callable[[Any], float],
    value: Any,
    gradient: Any,
    oracle: Any,
    max_entries: int,
    rng: np.random.Generator,
) -> list[InputCheck]:
    paths, tree = jax.tree.flatten_with_path(value)
    leaves = [leaf for _, leaf in paths]
    got = jax.tree.leaves(gradient, is_leaf=lambda g: g is None)
    exact = [None] * len(leaves) if oracle is None else jax.tree.leaves(oracle)
    if len(got) != len(leaves):
        raise ValueError(f"backward must return {len(leaves)} arrays for {name}, got {len(got)}")
    checks = []
    for i, ((path, leaf), g, e) in enumerate(zip(paths, got, exact, strict=True)):
        where = name + jax.tree_util.keystr(path)
        if g is None:
            continue
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{where} must hold real numbers to have a gradient, got dtype {leaf.dtype}")
        if np.shape(g) != leaf.shape:
            raise ValueError(f"backward must return shape {leaf.shape} for {where}, got {np.shape(g)}")
        entries = rng.permutation(leaf.size)[:max_entries]
        g = np.asarray(g, np.float64).ravel()
        central = np.array([_slope(objective, leaves, tree, i, entry) for entry in entries])
        central_error = float(relative_error(g[entries], central))
        error = None if e is None else float(relative_error(g, np.asarray(e).ravel()))
        ok = central_error <= 10 * CENTRAL_BOUND and (error is None or error <= BOUND)
        checks.append(InputCheck(where, error, central_error, ok))
    return checks


def _slope(objective: Callable[[Any], float], leaves: list[Any], tree: Any, index: int, entry: int) -> float:
    h = 1e-5 * max(1.0, abs(float(np.ravel(leaves[index])[entry])))

    def moved(by: float) -> float:
        leaf = np.array(leaves[index])
        leaf.flat[entry] += by
        return objective(jax.tree.unflatten(tree, [*leaves[:index], jnp.asarray(leaf), *leaves[index + 1 :]]))

    return (moved(h) - moved(-h)) / (2 * h)
