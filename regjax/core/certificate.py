"""The certificate of the hand-derived gradients: against `jax.grad` and central differences, term by term.

`regjax check` calls `certify` and prints `as_text`. Everything runs in float64, on whatever device JAX finds.
Each program has every term compiled in, and a lane for each term in which it alone is on: few programs are
compiled, which takes nearly all of the time.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .augment import mixup
from .blocks import empty_params
from .config import REAL_LOSSES, Activation, Config, Loss
from .constraints import constrain
from .data import Data
from .dropout import Masks
from .embeddings import Bins
from .gradient_check import BOUND, CENTRAL_BOUND, relative_error
from .hparams import CLASSES_ONLY, PENALISED, HParams
from .mlp import Layer, Params
from .objective import cost, cost_and_grads
from .penalties import penalty
from .platforms import jit_with
from .settings import own_settings

# Hyperparameters of the objective, with the value of the lane in which they are on.
STRENGTHS = {"l2": 0.7, "l1": 0.3, "activity_l2": 0.05, "label_smoothing": 0.1, "confidence_penalty": 0.2}
# What else changes the gradient in the parameters: masks, noise, mixed pairs and weights are data to it.
DRAWN = (
    "input_keep_prob", "keep_prob", "gaussian_dropout", "dropconnect_keep_prob", "input_noise", "mixup",
    "class_weight",
)  # fmt: skip
# A lane each: the data loss alone, each term alone, and all of them at once.
LANES = ("none", *STRENGTHS, *DRAWN, "all")
# Blocks -> the fields of `Config` that switch them on. Each is certified for the gradient in parameters and
# inputs, over all lanes: of a network of two hidden layers of equal width, with the activation below.
STRUCTURES: dict[str, dict[str, Any]] = {
    "norm layer": {"norm": "layer"},
    "norm batch": {"norm": "batch"},
    "residual": {"residual": True},
    "embedding periodic": {"embedding": "periodic", "embedding_size": 2},
    "embedding piecewise": {"embedding": "piecewise", "embedding_size": 3},
    "members": {"members": 2},
    "all blocks": {"norm": "batch", "residual": True, "embedding": "periodic", "members": 2},
}
STRUCTURE_ACTIVATION: Activation = "silu"
STRUCTURE_WIDTHS = (5, 5)
# The gradient in the inputs is certified in all lanes; adversarial examples are made from it.
INPUT = "adversarial"
ANY = "any"

NUM_OUTPUTS: dict[Loss, int] = {
    "sigmoid_cross_entropy": 1,
    "softmax_cross_entropy": 3,
    "multilabel_cross_entropy": 3,
    "squared_error": 2,
    "poisson": 2,
}
DEPTHS = (0, 1, 2, 3, 4)
HIDDEN_WIDTHS = (5, 3, 6, 4)  # on both sides of mlp.SMALL_INNER
NUM_FEATURES, NUM_SAMPLES = 3, 7
# Steps of the central differences, each a quarter of the one before: from 0.01 down to 6e-7.
RATIO = 4.0
STEPS = tuple(1e-2 / RATIO**power for power in range(8))
# Nearly all of the time is compiling; without optimisation XLA for a CPU takes half of it.
QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
NUM_PROGRAMS = len(get_args(Activation)) * (len(DEPTHS) - 1) + 1 + len(STRUCTURES)


class Certificate(NamedTuple):
    """The largest relative errors of one gradient, over all depths and all leaves.

    Attributes:
        activation: activation of the hidden layers; "any" for blocks, and for a proximal step, which does not
            depend on it.
        loss: the data loss; "any" for a proximal step.
        term: the term that is on beside the loss: "none", a hyperparameter, "class_weight" or "all". The
            gradient is that in the parameters; for "adversarial" that in the inputs. Or one of `STRUCTURES`,
            for which it is both, over all of these.
        error: difference from `jax.grad`, relative to the largest entry of the leaf.
        central_error: difference from a central difference along a random direction, relative to the norms of
            gradient and direction.
    """

    activation: str
    loss: str
    term: str
    error: float
    central_error: float

    @property
    def ok(self) -> bool:
        """Whether both errors are within their bounds; NaN is not."""
        return self.error <= BOUND and self.central_error <= CENTRAL_BOUND


def certify(
    *,
    activations: Sequence[Activation] = get_args(Activation),
    losses: Sequence[Loss] = get_args(Loss),
    depths: Sequence[int] = DEPTHS,
    structures: Sequence[str] = tuple(STRUCTURES),
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[Certificate]:
    """Returns a certificate per activation × loss × term, per structure × loss, and one per proximal step.

    Args:
        activations: activations of the hidden layers.
        losses: the data losses.
        depths: numbers of hidden layers, each at most 4.
        structures: names of `STRUCTURES`.
        on_progress: called with the number of finished programs, of (activation, depth) or of a structure.
    """
    # Without a hidden layer there is no activation: one program stands for all.
    programs: list[tuple[Activation, int]] = [
        (a, d) for a, d in itertools.product(activations, depths) if d > 0 or a == activations[-1]
    ]
    # Compiling releases Python's lock.
    pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        tasks = {pool.submit(_certify_program, *program, losses): program for program in programs}
        of_blocks = {name: pool.submit(_certify_structure, name, losses) for name in structures}
        for done, _ in enumerate(concurrent.futures.as_completed([*tasks, *of_blocks.values()]), 1):
            on_progress(done)
    finally:  # on Ctrl-C what has not begun is dropped
        pool.shutdown(wait=False, cancel_futures=True)
    certificates = []
    for activation, loss in itertools.product(activations, losses):
        found = [task.result()[loss] for task, (a, d) in tasks.items() if a == activation or d == 0]
        for term in found[0]:
            errors = np.max([errors[term] for errors in found], axis=0)  # keeps NaN
            certificates.append(Certificate(activation, loss, term, *map(float, errors)))
    for name, task in of_blocks.items():
        for loss, errors in task.result().items():
            certificates.append(Certificate(ANY, loss, name, *map(float, errors)))
    return [*certificates, *map(_certify_proximal, PENALISED)]


def _certify_program(
    activation: Activation, depth: int, losses: Sequence[Loss]
) -> dict[Loss, dict[str, np.ndarray]]:
    """Returns both errors of each term, `(2,)`, for every loss."""
    sizes = (NUM_FEATURES, *HIDDEN_WIDTHS[:depth], 1)
    config = Config(layer_sizes=sizes, activation=activation, dtype="float64")
    return _errors_of(config, losses, np.random.default_rng(depth))


def _certify_structure(name: str, losses: Sequence[Loss]) -> dict[Loss, np.ndarray]:
    """Returns the two largest errors, `(2,)`, for every loss; NaN where one is."""
    sizes = (NUM_FEATURES, *STRUCTURE_WIDTHS, 1)
    config = Config(layer_sizes=sizes, activation=STRUCTURE_ACTIVATION, dtype="float64", **STRUCTURES[name])
    found = _errors_of(config, losses, np.random.default_rng(list(STRUCTURES).index(name)))
    return {loss: np.max(list(errors.values()), axis=0) for loss, errors in found.items()}


def _errors_of(
    config: Config, losses: Sequence[Loss], rng: np.random.Generator
) -> dict[Loss, dict[str, np.ndarray]]:
    problems = {loss: make_problem(config, loss, rng) for loss in losses}
    with own_settings("float64"):
        found = jax.tree.map(np.asarray, _compiled()(problems, config=config))
    return {loss: _errors_of_terms(loss, found[loss], problems[loss].direction) for loss in found}


class Lanes(NamedTuple):
    """The values that differ between the lanes of a program; every leaf has a leading axis of lanes.

    Attributes:
        hparams: values of `STRENGTHS`.
        masks: masks of units and weights.
        x: inputs with their noise.
        weights: weights of the samples, times those of their classes.
        share: λ of mixup; 1 is off.
    """

    hparams: HParams
    masks: Masks
    x: Any
    weights: Any
    share: Any


class Problem(NamedTuple):
    """Random parameters (biases too), samples, lanes, and a direction to step along."""

    params: Params
    data: Data
    lanes: Lanes
    direction: tuple[Params, np.ndarray]


def make_problem(config: Config, loss: Loss, rng: np.random.Generator) -> Problem:
    """Returns a random problem of this loss, in NumPy, so that nothing is compiled for it."""
    sizes = (*config.layer_sizes[:-1], NUM_OUTPUTS[loss])
    config = dataclasses.replace(config, layer_sizes=sizes)
    params = _random_params(config, rng)
    x = rng.standard_normal((NUM_FEATURES, NUM_SAMPLES))
    y = rng.standard_normal((sizes[-1], NUM_SAMPLES))
    if loss == "poisson":
        y = 3 * y**2  # on both sides of 1
    if loss == "multilabel_cross_entropy":
        y = rng.integers(0, 2, y.shape).astype(np.int32)
    elif loss not in REAL_LOSSES:
        y = rng.integers(0, max(2, sizes[-1]), (1, NUM_SAMPLES)).astype(np.int32)
    weights = rng.uniform(0.5, 1.5, NUM_SAMPLES)
    weights[2] = 0  # a held-out sample
    direction = jax.tree.map(lambda leaf: _random_direction(leaf.shape, rng), (params, x))
    if config.embedding == "piecewise":  # the edges are held constant
        still = Bins(np.zeros_like(params[0].embedding.edges))
        moves, of_x = direction
        direction = ((moves[0]._replace(embedding=still), *moves[1:]), of_x)
    data = Data(x, y, weights)
    return Problem(params, data, _make_lanes(config, data, loss, rng), direction)


def _random_params(config: Config, rng: np.random.Generator) -> Any:
    """Returns random parameters, in NumPy."""
    if config.is_plain:
        return tuple(
            Layer._make(
                [
                    rng.standard_normal((fan_out, fan_in)) / fan_in**0.5,
                    0.3 * rng.standard_normal((fan_out, 1)),
                ]
            )
            for fan_in, fan_out in itertools.pairwise(config.layer_sizes)
        )
    found: Any = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape) / leaf.shape[1] ** 0.5, empty_params(config)
    )
    if config.embedding == "piecewise":
        edges: Any = np.sort(rng.standard_normal((NUM_FEATURES, config.embedding_size + 1)), axis=1)
        found = (found[0]._replace(embedding=Bins(edges)), *found[1:])
    return found


def _random_direction(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    # Every entry moves by a like amount, so that none can hide; by different ones, since the slope of l1
    # along signs alone is a sum of whole numbers, and may be 0 by chance.
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)


def _make_lanes(config: Config, data: Data, loss: Loss, rng: np.random.Generator) -> Lanes:
    """Returns the lanes of a problem; off is a factor of 1, or a term of 0."""

    def is_on(name: str) -> np.ndarray:
        return np.array([lane in (name, "all") for lane in LANES])

    def factors(shape: tuple[int, ...], **on: Any) -> np.ndarray:
        stacked = (np.where(is_on(name)[:, None, None], factor, 1.0) for name, factor in on.items())
        return functools.reduce(np.multiply, stacked, np.ones((len(LANES), *shape)))

    def dropped(*shape: int) -> np.ndarray:
        return (rng.random(shape) < 0.7) / 0.7

    units = [(count, config.members * NUM_SAMPLES) for count in config.layer_sizes[:-1]]
    unit_masks: Any = (
        factors(units[0], input_keep_prob=dropped(*units[0])),
        *(
            factors(s, keep_prob=dropped(*s), gaussian_dropout=1 + 0.5 * rng.standard_normal(s))
            for s in units[1:]
        ),
    )
    weight_masks: Any = tuple(
        factors((b, a), dropconnect_keep_prob=dropped(b, a)) for a, b in itertools.pairwise(config.widths)
    )
    asked = [name for name in STRENGTHS if loss not in REAL_LOSSES or name not in CLASSES_ONLY]
    # What is not asked is None, and so no leaf: also the learning rate, which the objective does not read.
    hparams = HParams(*[None] * len(HParams._fields))
    hparams = hparams._replace(**{name: np.where(is_on(name), STRENGTHS[name], 0.0) for name in asked})
    of_class = 1.0 if loss in REAL_LOSSES else rng.uniform(0.5, 2.0, 3)[data.y[0]]
    return Lanes(
        hparams,
        Masks(unit_masks, weight_masks),
        data.x + is_on("input_noise")[:, None, None] * 0.3 * rng.standard_normal(data.x.shape),
        data.weights * np.where(is_on("class_weight")[:, None], of_class, 1.0),
        np.where(is_on("mixup"), 0.6, 1.0),
    )


class Derivatives(NamedTuple):
    """The derivatives of the objective in (params, x), in every lane.

    Attributes:
        ours: the hand-derived gradient.
        oracle: the gradient of `jax.grad`.
        slopes: central differences along the direction of params and of x, `(lanes, 2)`.
    """

    ours: tuple[Params, Any]
    oracle: tuple[Params, Any]
    slopes: Any


@functools.cache
def _compiled() -> Any:
    """Returns `_differentiate`, compiled with the options `QUICK`."""
    return jit_with(QUICK, _differentiate, static_argnames="config")


def _differentiate(problems: dict[Loss, Problem], *, config: Config) -> dict[Loss, Derivatives]:
    """Returns the derivatives of every loss, which one compiled function computes."""

    def one(problem: Problem, config: Config, lane: Lanes) -> Derivatives:
        params, data, _, (d_params, d_x) = problem
        batch, partners = mixup(
            data._replace(x=lane.x, weights=lane.weights), jnp.arange(6, -1, -1, jnp.int32), lane.share
        )

        def objective(params: Params, x: jax.Array) -> jax.Array:
            samples, others = batch._replace(x=x), partners._replace(x=x)
            return cost(params, lane.hparams, samples, lane.masks, others, config=config)

        def along(distance: jax.Array) -> jax.Array:
            moved = jax.tree.map(lambda leaf, d: leaf + distance[0] * d, params, d_params)
            return objective(moved, batch.x + distance[1] * d_x)

        _, grads, dx = cost_and_grads(params, lane.hparams, batch, lane.masks, partners, config=config)
        slopes = jax.vmap(lambda unit: slope_at_zero(lambda t: along(t * unit)))(
            jnp.eye(2, dtype=jnp.float64)
        )
        oracle = jax.grad(objective, argnums=(0, 1))(params, batch.x)
        return Derivatives((grads, dx), oracle, slopes)

    return {
        loss: jax.vmap(functools.partial(one, problem, dataclasses.replace(config, loss=loss)))(problem.lanes)
        for loss, problem in problems.items()
    }


def slope_at_zero(f: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Returns f'(0), a scalar, by central differences that are extrapolated to a step of 0.

        d(h) = (f(h) - f(-h))/(2h),  r(h) = (16·d(h) - d(4h))/15

    Truncation falls with the step and rounding grows, and beyond a kink a difference is wrong; which step is
    best depends on f. The r is taken whose estimated error is least: |r(h) - r(4h)|, more than its
    truncation, plus eps·|f|/h of rounding. Nothing of what it will be compared with is read.

    Args:
        f: a function of a distance, both float64 scalars.

    References:
        Ridders 1982, "Accurate computation of F'(x) and F'(x)·F''(x)".

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from regjax.core.certificate import slope_at_zero
        >>> with jax.enable_x64(True):
        ...     bool(abs(slope_at_zero(jnp.exp) - 1) < 1e-11)
        True
    """
    h = jnp.asarray(STEPS, jnp.float64)
    ahead, behind = jax.vmap(f)(h), jax.vmap(f)(-h)
    d = (ahead - behind) / (2 * h)
    r = (RATIO**2 * d[1:] - d[:-1]) / (RATIO**2 - 1)
    rounding = jnp.finfo(jnp.float64).eps * jnp.maximum(jnp.abs(ahead), jnp.abs(behind)) / h
    error = jnp.abs(r[1:] - r[:-1]) + rounding[2:]
    # A long step may overflow; where all are NaN, so is the last.
    return r[1:][jnp.nanargmin(error)]


def _errors_of_terms(loss: Loss, found: Derivatives, direction: tuple[Any, Any]) -> dict[str, np.ndarray]:
    """Returns the two errors of a `Certificate`, `(2,)`, of each term that goes with the loss."""
    parts = zip(found.ours, found.oracle, found.slopes.T, direction, strict=True)
    in_params, in_x = (_errors(*part) for part in parts)
    absent = (*CLASSES_ONLY, "class_weight") if loss in REAL_LOSSES else ()
    terms = {lane: in_params[:, i] for i, lane in enumerate(LANES) if lane not in absent}
    return terms | {INPUT: np.max(in_x, axis=1)}


def _errors(ours: Any, oracle: Any, slope: np.ndarray, direction: Any) -> np.ndarray:
    """Returns the errors against `jax.grad` and against the slope, `(2, lanes)`."""
    products, squares = np.zeros_like(slope), np.zeros_like(slope)
    for g, d in zip(jax.tree.leaves(ours), jax.tree.leaves(direction), strict=True):
        products += np.sum(g * d, axis=(1, 2))
        squares += np.sum(g * g, axis=(1, 2)) * np.sum(d * d)
    # The scale is the bound of Cauchy and Schwarz, leaf by leaf; a gradient that is all 0 is held to its
    # absolute error, as in `relative_error`.
    scale = np.sqrt(np.where(squares == 0, 1, squares))
    return np.stack([relative_error(ours, oracle, num_lanes=1), np.abs(slope - products) / scale])


def _certify_proximal(name: str) -> Certificate:
    """Returns the certificate of a proximal step: w - prox(w) is the gradient of its penalty at prox(w).

    That is the condition of the minimum of ½·‖v - w‖² + penalty(v), where no entry of v is 0.
    """
    rng = np.random.default_rng(0)
    with own_settings("float64"):
        # Far enough from 0 that nothing becomes 0, where the penalty has a kink.
        w = rng.choice([-1.0, 1.0], (5, 3)) * rng.uniform(0.5, 1.5, (5, 3))
        strength = np.array([0.2]) if name == "l1_prox" else np.array(0.2)
        hparams = HParams(**{name: strength})
        b, rate = jnp.zeros((5, 1), jnp.float64), jnp.ones((), jnp.float64)
        v = constrain((Layer(jnp.asarray(w), b),), hparams, rate, 1)[0].w

        def value(v: jax.Array) -> jax.Array:
            return penalty((Layer(v, b),), hparams)

        ours, oracle = np.asarray(w - v), np.asarray(jax.grad(value)(v))
        d = _random_direction(v.shape, rng)
        slope = np.asarray(slope_at_zero(lambda t: value(v + t * d)))
    errors = _errors(ours[None], oracle[None], slope[None], d)
    return Certificate(ANY, ANY, name, *map(float, errors[:, 0]))


def as_text(certificates: Sequence[Certificate]) -> str:
    """Returns the certificates as a table: a line per term × loss, a column per activation."""
    activations = [a for a in dict.fromkeys(c.activation for c in certificates) if a != ANY]
    lines = [
        "largest relative error of each hand-derived gradient, depths 0 to 4; a term is on beside the loss.",
        "The gradient is in the parameters; of adversarial in the inputs, over all terms; of blocks",
        f"(norm layer to all blocks, with {STRUCTURE_ACTIVATION}) in both, over all terms; of l1_prox and",
        "group_lasso it is the proximal step, held against the gradient of the penalty.",
        f"{'':34}{'against jax.grad, with activation':<{10 * len(activations)}}  {'central':>11}",
        f"{'term':<23}{'loss':<11}" + "".join(f"{a:>10}" for a in activations) + f"  {'differences':>11}",
    ]
    by_line: dict[tuple[str, str], list[Certificate]] = {}
    order = (*LANES, INPUT, *STRUCTURES, *PENALISED)
    for c in sorted(certificates, key=lambda c: order.index(c.term)):
        by_line.setdefault((c.term, c.loss), []).append(c)
    for (term, loss), line in by_line.items():
        errors = "".join(f"{c.error:>10.1e}" for c in line).ljust(10 * len(activations))
        central = max((c.central_error for c in line), key=lambda e: (math.isnan(e), e))
        flag = "" if all(c.ok for c in line) else "  <-- exceeds its bound"
        lines.append(f"{term:<23}{loss.split('_')[0]:<11}{errors}  {central:>11.1e}{flag}")
    lines.append(f"bounds: {BOUND:.0e} against jax.grad, {CENTRAL_BOUND:.0e} against central differences")
    return "\n".join(lines)
