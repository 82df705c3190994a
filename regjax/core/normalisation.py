"""Normalisation of a hidden layer's weighted sums, forward and hand-derived backward in pairs.

    ẑ = (z - μ)/√(v + ε),  out = scale·ẑ + shift

Layer normalisation takes μ and v over the units of a sample, batch normalisation over the samples of a batch,
each by its share of the weights: a sample that is held out, or only fills up an array, has weight 0 and
changes neither. `blocks.forward` calls these before the activation.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# ε of both; and the share of a new batch in the running statistics. PyTorch has the same two numbers.
EPS, MOMENTUM = 1e-5, 0.1


class Norm(NamedTuple):
    """What a normalised layer has beside its weights, `(units, 1)` each.

    Attributes:
        scale: learned, 1 at first.
        shift: learned, 0 at first.
        mean: running mean of batch normalisation, which inference takes; None with layer normalisation.
        variance: running variance, with divisor Σ w.
    """

    scale: jax.Array
    shift: jax.Array
    mean: jax.Array | None = None
    variance: jax.Array | None = None


class NormResiduals(NamedTuple):
    """What the backward functions need.

    Attributes:
        z_hat: ẑ, `(units, n)`.
        inverse: 1/√(v + ε), `(1, n)` or `(units, 1)`.
        shares: share of each entry in μ and v along the axis, `(1, n)`, or 1/units.
        mean: μ, `(1, n)` or `(units, 1)`.
        variance: v, of the same shape.
    """

    z_hat: jax.Array
    inverse: jax.Array
    shares: jax.Array | float
    mean: jax.Array
    variance: jax.Array


def init_norm(units: int, dtype: str, *, running: bool) -> Norm:
    """Returns scale 1 and shift 0; with `running` also mean 0 and variance 1 of batch normalisation.

    Args:
        units: units of the layer, at least 1.
        dtype: dtype of the result.
        running: whether there are running statistics.

    Example:
        >>> from regjax.core.normalisation import init_norm
        >>> init_norm(2, "float32", running=False).scale.tolist()
        [[1.0], [1.0]]
    """
    ones, zeros = jnp.ones((units, 1), dtype), jnp.zeros((units, 1), dtype)
    return Norm(ones, zeros, zeros, ones) if running else Norm(ones, zeros)


def layer_norm(z: jax.Array, norm: Norm) -> tuple[jax.Array, NormResiduals]:
    """Returns each sample's units with mean 0 and variance 1, scaled and shifted, and the residuals.

    Args:
        z: weighted sums, `(units, n)`.
        norm: scale and shift.

    References:
        Ba, Kiros & Hinton 2016, eq. 3 and 4.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.normalisation import init_norm, layer_norm
        >>> out, _ = layer_norm(jnp.array([[1.0], [3.0]]), init_norm(2, "float32", running=False))
        >>> out.round(3).tolist()
        [[-1.0], [1.0]]
    """
    return _standardised(z, norm, 1 / z.shape[0], axis=0)


def layer_norm_backward(residuals: NormResiduals, norm: Norm, d: jax.Array) -> tuple[jax.Array, Norm]:
    """Returns the gradient in z, `(units, n)`, and that in scale and shift.

    Args:
        residuals: residuals that `layer_norm` returns.
        norm: scale and shift.
        d: gradient of a scalar in the output, `(units, n)`.
    """
    return _standardised_backward(residuals, norm, d, axis=0)


def batch_norm(z: jax.Array, norm: Norm, weights: jax.Array) -> tuple[jax.Array, NormResiduals]:
    """Returns each unit with weighted mean 0 and variance 1 over the samples, scaled and shifted.

    A sample of weight 2 counts as two samples, one of weight 0 not at all.

    Args:
        z: weighted sums, `(units, n)`.
        norm: scale and shift.
        weights: w >= 0, `(n,)`.

    References:
        Ioffe & Szegedy 2015, algorithm 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.normalisation import batch_norm, init_norm
        >>> z, weights = jnp.array([[1.0, 3.0, 99.0]]), jnp.array([1.0, 1.0, 0.0])
        >>> batch_norm(z, init_norm(1, "float32", running=True), weights)[0][:, :2].round(3).tolist()
        [[-1.0, 1.0]]
    """
    total = jnp.sum(weights)
    shares = weights / jnp.where(total > 0, total, jnp.ones_like(total))
    return _standardised(z, norm, shares[None, :], axis=1)


def batch_norm_backward(residuals: NormResiduals, norm: Norm, d: jax.Array) -> tuple[jax.Array, Norm]:
    """Returns the gradient in z, through the statistics of the batch too, and that in scale and shift.

    The running statistics are not trained: their gradient is 0.

    Args:
        residuals: residuals that `batch_norm` returns.
        norm: scale and shift.
        d: gradient of a scalar in the output, `(units, n)`.
    """
    return _standardised_backward(residuals, norm, d, axis=1)


def running_norm(z: jax.Array, norm: Norm) -> jax.Array:
    """Returns z normalised by the running statistics, `(units, n)`: batch normalisation in inference.

    Args:
        z: weighted sums, `(units, n)`.
        norm: scale, shift and running statistics.
    """
    assert norm.mean is not None
    assert norm.variance is not None
    return norm.scale * ((z - norm.mean) * lax.rsqrt(norm.variance + EPS)) + norm.shift


def moved(norm: Norm, residuals: NormResiduals) -> Norm:
    """Returns the norm with its running statistics moved by `MOMENTUM` towards those of a batch.

    Args:
        norm: scale, shift and running statistics.
        residuals: residuals that `batch_norm` returns.
    """
    assert norm.mean is not None
    assert norm.variance is not None
    return norm._replace(
        mean=norm.mean + MOMENTUM * (residuals.mean - norm.mean),
        variance=norm.variance + MOMENTUM * (residuals.variance - norm.variance),
    )


def _standardised(
    z: jax.Array, norm: Norm, shares: jax.Array | float, axis: int
) -> tuple[jax.Array, NormResiduals]:
    mean = jnp.sum(shares * z, axis=axis, keepdims=True)
    centred = z - mean
    variance = jnp.sum(shares * centred * centred, axis=axis, keepdims=True)
    inverse = lax.rsqrt(variance + EPS)
    z_hat = centred * inverse
    return norm.scale * z_hat + norm.shift, NormResiduals(z_hat, inverse, shares, mean, variance)


def _standardised_backward(
    residuals: NormResiduals, norm: Norm, d: jax.Array, axis: int
) -> tuple[jax.Array, Norm]:
    z_hat, inverse, shares, _, _ = residuals
    d_scale = jnp.sum(d * z_hat, axis=1, keepdims=True)  # out = scale·ẑ + shift
    d_shift = jnp.sum(d, axis=1, keepdims=True)
    d_hat = d * norm.scale
    # μ and v depend on every z_i, by its share α_i: dμ/dz_i = α_i, and dv/dz_i = 2·α_i·(z_i - μ).
    through_mean = jnp.sum(d_hat, axis=axis, keepdims=True)
    through_variance = jnp.sum(d_hat * z_hat, axis=axis, keepdims=True)
    dz = inverse * (d_hat - shares * (through_mean + z_hat * through_variance))
    fixed = None if norm.mean is None else jnp.zeros_like(norm.mean)
    return dz, Norm(d_scale, d_shift, fixed, fixed)
