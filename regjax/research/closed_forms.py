"""Closed forms of linear and random-feature regression, to hold trained networks against.

A network without a hidden layer and with the squared error has an objective that is quadratic in its
parameters, so its minimum, and every step of plain gradient descent towards it, can be written down. The
recipes in `examples/research` compare what `regjax.core` trains with these. All are pure and may be compiled
and mapped. In float32 they are good to about four digits; call them under `jax.enable_x64(True)` for more.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from regjax.core.checks import is_traced, shown
from regjax.core.data import Data
from regjax.core.mlp import Layer


def linear_optimum(data: Data, l2: ArrayLike = 0.0) -> Layer:
    """Returns the parameters of the linear network with the least objective.

        ½·Σᵢ vᵢ·‖w·xᵢ + b - yᵢ‖²/Σ v  +  1/(2n)·Σⱼ l2ⱼ·‖w[:, j]‖²,  n = Σ v

    Where several have the least, the one with the smallest weights is returned. Takes O(d²·(n + d)).

    Args:
        data: x `(d, n)`, real y `(n_outputs, n)`, weights v `(n,)` with mean 1.
        l2: λ of the penalty, a scalar as in `HParams`, or one per input feature, `(d,)`; at least 0.

    Returns:
        `w` `(n_outputs, d)` and `b` `(n_outputs, 1)`.

    Raises:
        ValueError: samples of the wrong shape, or l2 negative or of another shape.

    References:
        Hoerl & Kennard 1970.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.data import Data
        >>> data = Data(jnp.array([[-1.0, 0.0, 1.0]]), jnp.array([[0.0, 3.0, 6.0]]), jnp.ones(3))
        >>> [part.item() for part in linear_optimum(data, l2=4.0)]
        [1.0, 3.0]
    """
    x, y, v = _real(data)
    strengths = _strengths(l2, x)
    mean_x, mean_y = _mean(x, v), _mean(y, v)
    root = jnp.sqrt(v)[None, :]
    # The square root of the penalty as further rows: better conditioned than the normal equations.
    rows = jnp.concatenate([((x - mean_x) * root).T, jnp.diag(jnp.sqrt(strengths))])
    targets = jnp.concatenate([((y - mean_y) * root).T, jnp.zeros((len(x), len(y)), x.dtype)])
    w = jnp.linalg.lstsq(rows, targets)[0].T
    return Layer(w, mean_y - w @ mean_x)


def descent_path(data: Data, learning_rate: ArrayLike, steps: ArrayLike, start: Layer | None = None) -> Layer:
    """Returns the parameters of the linear network after each of some numbers of steps, without a step.

    With H = U·diag(h)·Uᵀ the Hessian of ½·Σᵢ vᵢ·‖w·xᵢ + b - yᵢ‖²/Σ v, plain gradient descent with rate ε
    has after τ steps, along each eigenvector with the gradient g at the start,

        start - g·(1 - (1 - ε·h)^τ)/h,  which is start - g·τ·ε where h = 0

    Takes O(d²·(n + d)), whatever the steps.

    Args:
        data: x `(d, n)`, real y `(n_outputs, n)`, weights v `(n,)`.
        learning_rate: ε, the rate of the descent, above 0. It diverges from 2/max(h) on.
        steps: τ, numbers of steps, `(m,)`, at least 0.
        start: parameters before the first step; None takes zeros.

    Returns:
        `w` `(m, n_outputs, d)` and `b` `(m, n_outputs, 1)`.

    Raises:
        ValueError: samples of the wrong shape, a rate that is not above 0, or steps of another shape.

    References:
        Goodfellow, Bengio & Courville 2016, eq. 7.40.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.data import Data
        >>> data = Data(jnp.array([[-1.0, 1.0]]), jnp.array([[-2.0, 2.0]]), jnp.ones(2))
        >>> descent_path(data, 0.5, jnp.array([0, 1, 2])).w.ravel().tolist()
        [0.0, 1.0, 1.5]
    """
    x, y, v = _real(data)
    rate, times = jnp.asarray(learning_rate, x.dtype), jnp.asarray(steps).astype(x.dtype)
    _check_at_least("learning_rate", learning_rate, 0, strictly=True)
    if times.ndim != 1:
        raise ValueError(f"steps must have one axis, got shape {times.shape}")
    _check_at_least("steps", steps, 0)
    if start is None:
        start = Layer(jnp.zeros((len(y), len(x)), x.dtype), jnp.zeros((len(y), 1), x.dtype))
    design = jnp.concatenate([x, jnp.ones((1, x.shape[1]), x.dtype)])  # b is the weight of a 1
    share = v / jnp.sum(v)
    begun = jnp.concatenate(start, axis=1)
    gradient = ((begun @ design - y) * share[None, :]) @ design.T
    h, u = jnp.linalg.eigh((design * share[None, :]) @ design.T)
    moved = _travelled(rate * jnp.maximum(h, 0)[None, :], times[:, None]) * rate
    after = begun[None] - ((gradient @ u)[None] * moved[:, None, :]) @ u.T
    return Layer(after[..., :-1], after[..., -1:])


def _travelled(s: jax.Array, times: jax.Array) -> jax.Array:
    """Returns (1 - (1 - s)^times)/s, elementwise, and its limit `times` where s = 0."""
    # Through expm1 and log1p, for the digits of a small s; beyond s = 1 the sign changes with each step.
    small = (s > 0) & (s < 0.5)
    inside = jnp.where(small, s, 0.25)
    slow = -jnp.expm1(times * jnp.log1p(-inside)) / inside
    outside = jnp.where(s >= 0.5, s, 1)
    fast = (1 - (1 - outside) ** times) / outside
    return jnp.where(s <= 0, times * jnp.ones_like(s), jnp.where(small, slow, fast))


def stopping_strength(learning_rate: ArrayLike, steps: ArrayLike, num_samples: ArrayLike) -> jax.Array:
    """Returns the λ of `HParams.l2` to which early stopping is equal, to first order: n/(τ·ε).

    Args:
        learning_rate: ε, the rate of the descent, above 0.
        steps: τ, the steps of the descent, above 0, of any shape that goes with that of the rate.
        num_samples: n, training samples, by which regjax divides its penalty.

    Returns:
        λ, in the shape of the arguments: the penalty is λ/(2n)·Σ W².

    Raises:
        ValueError: an argument that is not above 0.

    References:
        Goodfellow, Bengio & Courville 2016, eq. 7.45, whose α is λ/n.

    Example:
        >>> stopping_strength(0.1, 200, num_samples=100).item()
        5.0
    """
    named = {"learning_rate": learning_rate, "steps": steps, "num_samples": num_samples}
    for name, value in named.items():
        _check_at_least(name, value, 0, strictly=True)
    rate, times, n = (jnp.asarray(value, float) for value in named.values())
    return n / (rate * times)


def input_dropout_strengths(data: Data, keep_prob: ArrayLike) -> jax.Array:
    """Returns the λ of each input feature to which dropout of inputs is equal, in linear regression.

        λⱼ = (1 - p)/p·Σᵢ vᵢ·xⱼᵢ²

    The expectation of the squared error over inverted dropout of the inputs is the squared error plus
    1/(2n)·Σⱼ λⱼ·‖w[:, j]‖², exactly. `linear_optimum` with these minimises it.

    Args:
        data: x `(d, n)`, real y, weights v `(n,)` with mean 1.
        keep_prob: p, the probability of keeping an input, in (0, 1].

    Returns:
        λ, `(d,)`, at least 0.

    Raises:
        ValueError: samples of the wrong shape, or a probability outside (0, 1].

    References:
        Srivastava et al. 2014, §9.1; Wager, Wang & Liang 2013, §2.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.data import Data
        >>> data = Data(jnp.array([[1.0, 3.0], [0.0, 1.0]]), jnp.zeros((1, 2)), jnp.ones(2))
        >>> input_dropout_strengths(data, 0.5).tolist()
        [10.0, 1.0]
    """
    x, _, v = _real(data)
    if not is_traced(keep_prob) and not np.all((np.asarray(keep_prob) > 0) & (np.asarray(keep_prob) <= 1)):
        raise ValueError(f"keep_prob must be in (0, 1], got {shown(keep_prob)}")
    p = jnp.asarray(keep_prob, x.dtype)
    return (1 - p) / p * jnp.sum(v[None, :] * x * x, axis=1)


class FeatureFit(NamedTuple):
    """A regression on features by ridge, for many strengths at once.

    Attributes:
        dual: coefficients of the training samples, `(m, n_outputs, n)`, one matrix per strength:
            predictions are `dual @ kernel`, with the products of training and new features `(n, new)`.
        rank: number of eigenvalues of the kernel that count, an integer scalar.
    """

    dual: jax.Array
    rank: jax.Array


def kernel_ridge(kernel: jax.Array, y: jax.Array, l2: ArrayLike) -> FeatureFit:
    """Returns ridge regression without a bias for many strengths, from the products of the features.

        dual = y·(K + λ·I)⁻¹,  K = φᵀ·φ;  λ = 0 takes the pseudo-inverse: the smallest weights that fit

    The weights of the features are w = dual·φᵀ, which minimise ½·Σᵢ ‖w·φᵢ - yᵢ‖² + λ/2·‖w‖², regjax's
    objective times n. Eigenvalues below n·eps·max(K's) count as 0. Takes O(n³) once and O(n²) per strength.

    Args:
        kernel: K, products of the features of training samples, `(n, n)`, symmetric.
        y: targets, `(n_outputs, n)`.
        l2: λ, strengths, `(m,)`, at least 0.

    Returns:
        The duals, and the rank of K.

    Raises:
        ValueError: shapes that do not fit, or a negative strength.

    References:
        Saunders, Gammerman & Vovk 1998; Belkin et al. 2019 for λ → 0.

    Example:
        >>> import jax.numpy as jnp
        >>> features = jnp.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> fit = kernel_ridge(features.T @ features, jnp.array([[3.0, 5.0, 7.0]]), jnp.array([0.0, 1.0]))
        >>> (fit.dual @ features.T).tolist(), fit.rank.item()
        ([[[3.0, 2.5]], [[1.5, 2.0]]], 2)
    """
    strengths = jnp.asarray(l2, kernel.dtype)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"kernel must be square, got shape {kernel.shape}")
    if y.ndim != 2 or y.shape[1] != len(kernel):
        raise ValueError(f"y must have shape (n_outputs, {len(kernel)}), got {y.shape}")
    if strengths.ndim != 1:
        raise ValueError(f"l2 must have one axis, got shape {strengths.shape}")
    _check_at_least("l2", l2, 0)
    values, vectors = jnp.linalg.eigh(kernel)
    counts = values > len(kernel) * jnp.finfo(kernel.dtype).eps * values[-1]
    shifted = jnp.where(counts, values, 1)[None, :] + strengths[:, None]
    inverse = jnp.where(counts[None, :], 1 / shifted, 0)
    # Directions without a feature add nothing to a prediction, so their coefficients may be 0 for every λ.
    dual = ((y @ vectors)[None] * inverse[:, None, :]) @ vectors.T
    return FeatureFit(dual, jnp.sum(counts))


def _real(data: Data) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the arrays of `data`, checked, in one dtype."""
    x, y, v = (jnp.asarray(part) for part in data)
    if x.ndim != 2 or y.ndim != 2 or v.ndim != 1 or not x.shape[1] == y.shape[1] == v.shape[0]:
        raise ValueError(
            "data must hold x (n_features, n), y (n_outputs, n) and weights (n,), "
            f"got shapes {x.shape}, {y.shape}, {v.shape}"
        )
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(f"data must have real targets, got dtype {y.dtype}")
    dtype = jnp.promote_types(x.dtype, y.dtype)
    return x.astype(dtype), y.astype(dtype), v.astype(dtype)


def _mean(values: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.sum(values * v[None, :], axis=1, keepdims=True) / jnp.sum(v)


def _strengths(l2: ArrayLike, x: jax.Array) -> jax.Array:
    strengths = jnp.asarray(l2, x.dtype)
    if strengths.shape not in ((), (len(x),)):
        raise ValueError(f"l2 must be a scalar or have shape ({len(x)},), got shape {strengths.shape}")
    _check_at_least("l2", l2, 0)
    return jnp.broadcast_to(strengths, (len(x),))


def _check_at_least(name: str, value: ArrayLike, least: float, strictly: bool = False) -> None:
    if is_traced(value):
        return
    array = np.asarray(value)  # by NumPy: inside `jit` JAX would trace even a number
    if not np.all(array > least if strictly else array >= least):
        raise ValueError(f"{name} must be {'above' if strictly else 'at least'} {least}, got {shown(value)}")
