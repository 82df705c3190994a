"""What acts on the rows of a step before the network sees them: noise, swapped values, mixed pairs.

Only rows of weight above 0 take part: a row that is held out is no partner, and lends no value.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .data import Data
from .hparams import HParams
from .random import (
    INPUT_NOISE,
    MIXUP,
    PARTNERS,
    SWAP,
    SWAP_ROWS,
    one_generator,
    place_key,
    random_bits,
    random_normals,
)


def add_noise(
    key: jax.Array, step: ArrayLike, hparams: HParams, batch: Data, rows: Data
) -> tuple[Data, Data | None]:
    """Returns the rows of a step as the network is to see them, and their partners where pairs are mixed.

    The partners have the same mixed x, and their own y and weights: the data term is the sum of both.

    Args:
        key: of the replicate.
        step: the step.
        hparams: hyperparameters.
        batch: rows of the step.
        rows: all training rows, from which values are swapped in.
    """
    h = hparams
    if h.swap_noise is not None:
        batch = batch._replace(x=swap_noise(key, step, batch, rows, h.swap_noise))
    if h.input_noise is not None:
        batch = batch._replace(x=input_noise(key, step, batch, h.input_noise))
    if h.mixup is None:
        return batch, None
    return mixup(batch, partners(key, step, batch.weights), mixing_weight(key, step, h.mixup))


def input_noise(key: jax.Array, step: ArrayLike, batch: Data, sigma: jax.Array) -> jax.Array:
    """Returns x + σ·n, n standard normal, `(n_features, n)`.

    σ is in units of the inputs as the network sees them: of the standardised ones, where they are.

    Args:
        key: of the replicate.
        step: the step.
        batch: rows of the step.
        sigma: a scalar >= 0.

    References:
        Bishop 1995, *Training with noise is equivalent to Tikhonov regularization*.
    """
    drawn = random_normals(place_key(key, step, INPUT_NOISE), *batch.x.shape).astype(batch.x.dtype)
    return batch.x + jnp.where(batch.weights > 0, sigma, 0)[None, :] * drawn


def swap_noise(key: jax.Array, step: ArrayLike, batch: Data, rows: Data, prob: jax.Array) -> jax.Array:
    """Returns x in which each value is, with probability `prob`, the same feature's of a training row.

    The row is drawn for each value, uniformly from all that are trained on (it may be the row itself).

    Args:
        key: of the replicate.
        step: the step.
        batch: rows of the step.
        rows: all training rows.
        prob: a scalar in [0, 1).

    References:
        Jahrer 2017, first place in Porto Seguro's Safe Driver Prediction: denoising autoencoders.
    """
    shape = batch.x.shape
    seen = jnp.argsort(rows.weights <= 0)  # stable: the rows that are trained on come first
    count = jnp.sum(rows.weights > 0, dtype=jnp.int32)
    u = random_bits(place_key(key, step, SWAP_ROWS), *shape).astype(jnp.float32) * jnp.float32(2**-16)
    chosen = seen[jnp.minimum((u * count.astype(jnp.float32)).astype(jnp.int32), count - 1)]
    others = jnp.take_along_axis(rows.x, chosen, axis=1)
    threshold = jnp.round(65536 * prob)
    bits = random_bits(place_key(key, step, SWAP), *shape)
    swapped = (bits.astype(prob.dtype) < threshold) & (batch.weights > 0)[None, :]
    return jnp.where(swapped, others, batch.x)


def mixup(batch: Data, partner: jax.Array, share: jax.Array) -> tuple[Data, Data]:
    """Returns the mixed rows, and their partners.

        x = λ·x_i + (1 - λ)·x_j,  loss = λ·w_i·loss(x, y_i) + (1 - λ)·w_j·loss(x, y_j)

    Args:
        batch: rows of the step.
        partner: j of each i, `(n,)`; a permutation that leaves rows of weight 0 where they are.
        share: λ, a scalar in [0, 1].

    Returns:
        Rows with weights λ·w_i, and rows with the same x, y_j and weights (1 - λ)·w_j.

    References:
        Zhang, Cisse, Dauphin, Lopez-Paz 2018, eq. 2; losses mixed instead of targets, which is the same
        for cross-entropies.
    """
    x = share * batch.x + (1 - share) * batch.x[:, partner]
    mixed = Data(x, batch.y, share * batch.weights)
    return mixed, Data(x, batch.y[:, partner], (1 - share) * batch.weights[partner])


def partners(key: jax.Array, step: ArrayLike, weights: jax.Array) -> jax.Array:
    """Returns a random permutation of the rows of weight above 0, `(n,)`; the others stay where they are."""
    with one_generator():
        u = jax.random.uniform(place_key(key, step, PARTNERS), weights.shape, jnp.float32)
    held_out = weights <= 0
    order = jnp.argsort(jnp.where(held_out, 2.0, u))
    return jnp.zeros_like(order).at[jnp.argsort(held_out)].set(order)


def mixing_weight(key: jax.Array, step: ArrayLike, alpha: jax.Array) -> jax.Array:
    """Returns λ ~ Beta(α, α), a scalar in [0, 1]; 1 where α = 0, which has no Beta distribution."""
    with one_generator():
        drawn: Any = jax.random.beta(
            place_key(key, step, MIXUP), jnp.where(alpha > 0, alpha, 1), jnp.where(alpha > 0, alpha, 1)
        )
    return jnp.where(alpha > 0, drawn, 1).astype(alpha.dtype)
