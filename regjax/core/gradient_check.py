"""`check_gradient`: a hand-derived backward against `jax.vjp` and central differences, array by array.

Users who write a forward and backward of their own call it, as `regjax.check_gradient`; certificate.py calls
`relative_error`. These two modules are the only code of the package that differentiates automatically.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Relative to the largest entry of a leaf; central differences lose half of the digits.
BOUND = 1e-10
CENTRAL_BOUND = 1e-6


def relative_error(got: Any, expected: Any, *, num_lanes: int = 0) -> np.ndarray:
    """Returns max |got - expected| / max |expected| per leaf, the largest over the leaves.

    A leaf whose expected values are all 0 is held to its absolute error.

    Args:
        got: arrays, or pytrees of them.
        expected: the same structure and shapes.
        num_lanes: number of leading axes that are kept.
    """

    def largest(values: np.ndarray) -> np.ndarray:
        return np.max(np.abs(values).reshape(*values.shape[:num_lanes], -1), axis=-1)

    errors = []
    for g, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = largest(np.asarray(e))
        errors.append(largest(np.asarray(g) - np.asarray(e)) / np.where(scale == 0, 1, scale))
    return np.max(errors, axis=0)


class InputCheck(NamedTuple):
    """How far one gradient is from the truth.

    Attributes:
        name: the input, and the path of the array in it.
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
            # Code that writes into its arrays works with NumPy's alone.
            try:
                return _check_gradient(forward, backward, inputs, max_entries, _as_numpy)
            except AttributeError:  # code for JAX's arrays alone, such as x.at[…]: the first error is the one
                raise error from None


def _check_gradient(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    inputs: tuple[Any, ...],
    max_entries: int,
    as_array: Callable[[Any], Any],
) -> GradientReport:
    """Returns the report of `check_gradient`, with all arrays made by `as_array`."""
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
