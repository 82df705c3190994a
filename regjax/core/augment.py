"""Noise on the samples of a step before the network sees them: noise, swapped values, mixed pairs.

`train` and `evaluate.measure` call `add_noise`. Only samples that add to a sum take part: one that is held
out, or has weight 0, is never a partner, and no value is taken from it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .data import Data, adds_nothing
from .hparams import HParams
from .random import (
    INPUT_NOISE,
    MIXUP,
    PARTNERS,
    SWAP,
    SWAP_ROWS,
    betas,
    place_key,
    random_bits,
    random_normals,
    uniforms,
)


def add_noise(
    key: jax.Array, step: ArrayLike, hparams: HParams, batch: Data, samples: Data
) -> tuple[Data, Data | None]:
    """Returns the samples of a step as the network sees them, and their partners where pairs are mixed.

    The partners have the same mixed x, and their own y and weights: the data term is the sum of both.

    Args:
        key: key of the replicate.
        step: number of the step.
        hparams: hyperparameters.
        batch: samples of the step.
        samples: all training samples, from which values are swapped in.
    """
    h = hparams
    # Swapped first, so that a value that is swapped in gets its own noise.
    if h.swap_noise is not None:
        batch = batch._replace(x=swap_noise(key, step, batch, samples, h.swap_noise))
    if h.input_noise is not None:
        batch = batch._replace(x=input_noise(key, step, batch, h.input_noise))
    if h.mixup is None:
        return batch, None
    return mixup(batch, partners(key, step, batch.weights), mixing_weight(key, step, h.mixup))


def input_noise(key: jax.Array, step: ArrayLike, batch: Data, sigma: jax.Array) -> jax.Array:
    """Returns x + σ·n, n standard normal, `(n_features, n)`.

    σ is in units of the inputs as the network sees them: of the standardised ones, where they are.

    Args:
        key: key of the replicate.
        step: number of the step.
        batch: samples of the step.
        sigma: a scalar >= 0.

    References:
        Bishop 1995, *Training with noise is equivalent to Tikhonov regularization*.
    """
    drawn = random_normals(place_key(key, step, INPUT_NOISE), *batch.x.shape).astype(batch.x.dtype)
    return batch.x + jnp.where(batch.weights > 0, sigma, 0)[None, :] * drawn


def swap_noise(key: jax.Array, step: ArrayLike, batch: Data, samples: Data, prob: jax.Array) -> jax.Array:
    """Returns x with each value replaced, with probability `prob`, by that feature of another sample.

    The other sample is drawn for each value, uniformly from all training samples (it may be the same one).

    Args:
        key: key of the replicate.
        step: number of the step.
        batch: samples of the step.
        samples: all training samples.
        prob: a scalar in [0, 1).

    References:
        Jahrer 2017, first place in Porto Seguro's Safe Driver Prediction: denoising autoencoders.
    """
    shape = batch.x.shape
    held_out = adds_nothing(samples.weights)
    seen = jnp.argsort(held_out)  # a stable sort: training samples come first
    count = jnp.sum(~held_out, dtype=jnp.int32)
    u = random_bits(place_key(key, step, SWAP_ROWS), *shape).astype(jnp.float32) * jnp.float32(2**-16)
    # 16 bits: of more than 65,536 samples some are never drawn. The product may be rounded up to count.
    chosen = seen[jnp.minimum((u * count.astype(jnp.float32)).astype(jnp.int32), count - 1)]
    others = jnp.take_along_axis(samples.x, chosen, axis=1)
    threshold = jnp.round(65536 * prob)
    bits = random_bits(place_key(key, step, SWAP), *shape)
    swapped = (bits.astype(prob.dtype) < threshold) & (batch.weights > 0)[None, :]
    return jnp.where(swapped, others, batch.x)


def mixup(batch: Data, partner: jax.Array, share: jax.Array) -> tuple[Data, Data]:
    """Returns the mixed samples, and their partners.

        x = λ·x_i + (1 - λ)·x_j,  loss = λ·w_i·loss(x, y_i) + (1 - λ)·w_j·loss(x, y_j)

    Args:
        batch: samples of the step.
        partner: j of each i, `(n,)`; a permutation that leaves samples of weight 0 where they are.
        share: λ, a scalar in [0, 1].

    Returns:
        Samples with weights λ·w_i, and samples with the same x, y_j and weights (1 - λ)·w_j.

    References:
        Zhang, Cisse, Dauphin, Lopez-Paz 2018, eq. 2; losses mixed instead of targets, which is the same
        for cross-entropies.
    """
    x = share * batch.x + (1 - share) * batch.x[:, partner]
    mixed = Data(x, batch.y, share * batch.weights)
    return mixed, Data(x, batch.y[:, partner], (1 - share) * batch.weights[partner])


def partners(key: jax.Array, step: ArrayLike, weights: jax.Array) -> jax.Array:
    """Returns a random permutation of the samples of weight above 0, `(n,)`; the others do not move."""
    u = uniforms(place_key(key, step, PARTNERS), weights.shape)
    held_out = adds_nothing(weights)
    # Training samples first, in random order; then each position that trains gets the next of them.
    order = jnp.argsort(jnp.where(held_out, 2.0, u))
    return jnp.zeros_like(order).at[jnp.argsort(held_out)].set(order)


def mixing_weight(key: jax.Array, step: ArrayLike, alpha: jax.Array) -> jax.Array:
    """Returns λ ~ Beta(α, α), a scalar in [0, 1]; 1 where α = 0, for which there is no Beta distribution."""
    both = jnp.where(alpha > 0, alpha, 1)
    drawn = betas(place_key(key, step, MIXUP), both, both)
    return jnp.where(alpha > 0, drawn, 1).astype(alpha.dtype)
