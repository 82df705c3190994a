"""Numeric embeddings: several inputs of the first layer for each feature; forward and backward in pairs.

    periodic    sin(2π·c·x), cos(2π·c·x), with K trained frequencies c for each feature
    piecewise   how far x has come through each of T bins, whose edges are quantiles of the training part

The inputs of a feature stand together, feature after feature. `blocks.forward` calls `embed`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# A bin whose width is at most this share of the spread of its feature holds one value, and encodes nothing.
LEAST_WIDTH = 1e-6


class Periodic(NamedTuple):
    """The frequencies c of each feature, `(n_features, K)`, in turns per unit of x."""

    frequencies: jax.Array


class Bins(NamedTuple):
    """The edges of the bins of each feature, `(n_features, T + 1)`, ascending; they are not trained."""

    edges: jax.Array


Embedding = Periodic | Bins


class EmbeddingResiduals(NamedTuple):
    """What `embed_backward` needs: x, `(n_features, n)`, and de/dx or the waves, `(n_features, …, n)`."""

    x: jax.Array
    slopes: jax.Array


def embed(embedding: Embedding, x: jax.Array) -> tuple[jax.Array, EmbeddingResiduals]:
    """Returns the inputs of the first layer, `(n_features·size, n)`, and the residuals.

    Args:
        embedding: frequencies or edges; size is 2·K or T.
        x: samples, `(n_features, n)`.

    References:
        Gorishniy, Rubachev & Babenko 2022, eq. 1 (piecewise linear) and eq. 2 (periodic).

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.embeddings import Bins, embed
        >>> embed(Bins(jnp.array([[0.0, 1.0, 3.0]])), jnp.array([[0.5, 2.0]]))[0].tolist()
        [[0.5, 1.0], [0.0, 0.5]]
    """
    x = jnp.asarray(x)  # a user's may be NumPy's float64
    if isinstance(embedding, Periodic):
        angle = 2 * math.pi * embedding.frequencies[:, :, None] * x[:, None, :]
        waves = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)
        return waves.reshape(-1, x.shape[1]), EmbeddingResiduals(x, waves)
    # Held constant: the edges are facts of the training part.
    edges = lax.stop_gradient(embedding.edges)
    width = edges[:, 1:] - edges[:, :-1]
    wide = width > LEAST_WIDTH * (edges[:, -1:] - edges[:, :1])
    steepness = jnp.where(wide, 1 / jnp.where(wide, width, jnp.ones_like(width)), jnp.zeros_like(width))
    # Samples beyond the outer edges go on in a straight line.
    place = jnp.arange(width.shape[1], dtype=jnp.int32)[None, :, None]
    low = jnp.where(place == 0, -jnp.inf, 0.0).astype(x.dtype)
    high = jnp.where(place == width.shape[1] - 1, jnp.inf, 1.0).astype(x.dtype)
    share = (x[:, None, :] - edges[:, :-1, None]) * steepness[:, :, None]
    before, after = share < low, share >= high
    slopes = jnp.where(before | after, jnp.zeros_like(share), steepness[:, :, None])
    found = jnp.where(before, jnp.zeros_like(share), jnp.where(after, jnp.ones_like(share), share))
    return found.reshape(-1, x.shape[1]), EmbeddingResiduals(x, slopes)


def embed_backward(
    embedding: Embedding, residuals: EmbeddingResiduals, d: jax.Array
) -> tuple[Embedding, jax.Array]:
    """Returns the gradient in the frequencies, 0 in edges, and that in x, `(n_features, n)`.

    At an edge, a kink, we choose the slope of the bin to its right.

    Args:
        embedding: frequencies or edges.
        residuals: residuals that `embed` returns.
        d: gradient of a scalar in the output of `embed`.
    """
    x, slopes = residuals
    d = d.reshape(slopes.shape)
    if isinstance(embedding, Bins):
        return Bins(jnp.zeros_like(embedding.edges)), jnp.sum(d * slopes, axis=1)
    sines, cosines = jnp.split(slopes, 2, axis=1)
    d_sines, d_cosines = jnp.split(d, 2, axis=1)
    d_angle = 2 * math.pi * (d_sines * cosines - d_cosines * sines)  # angle = 2π·c·x
    d_frequencies = jnp.sum(d_angle * x[:, None, :], axis=2)
    return Periodic(d_frequencies), jnp.sum(d_angle * embedding.frequencies[:, :, None], axis=1)


def quantile_edges(x: jax.Array, weights: jax.Array, num_bins: int) -> jax.Array:
    """Returns the edges of bins of equal weight, `(n_features, num_bins + 1)`.

    Edge k is the smallest sample up to which lies a share k/num_bins of the weight. Samples of weight 0 are
    not seen.

    Args:
        x: samples, `(n_features, n)`.
        weights: weights of the samples, `(n,)`, not all 0.
        num_bins: T, at least 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.embeddings import quantile_edges
        >>> quantile_edges(jnp.array([[4.0, 1.0, 2.0, 3.0, 99.0]]), jnp.array([1.0, 1, 1, 1, 0]), 2).tolist()
        [[1.0, 2.0, 4.0]]
    """
    x, weights = jnp.asarray(x), jnp.asarray(weights)  # a user's may be NumPy's float64
    seen = weights > 0
    order = jnp.argsort(jnp.where(seen[None, :], x, jnp.full_like(x, jnp.inf)), axis=1)
    ranked = jnp.take_along_axis(x, order, axis=1)
    upto = jnp.cumsum(weights[order], axis=1)
    # The last place of a positive weight, and sums that round: no edge is a sample that is not seen.
    last = jnp.sum(seen, dtype=jnp.int32) - 1
    wanted = jnp.arange(num_bins + 1, dtype=x.dtype) / num_bins
    slack = 1 - 16 * jnp.finfo(x.dtype).eps

    def of_feature(ranked: jax.Array, upto: jax.Array) -> jax.Array:
        places = jnp.searchsorted(upto, wanted * (upto[-1] * slack))
        return ranked[jnp.minimum(places, last)]

    return jax.vmap(of_feature)(ranked, upto)
