"""Every random draw of regjax, from explicit keys.

    key = fold_in(fold_in(fold_in(fold_in(root, seed), fold), step), PLACE), then the layer

`replicate_key` gives the key of a (seed, fold); everything else folds in the step, a fixed constant per
place, and the layer. No draw depends on a hyperparameter, so switching one regulariser on leaves the
draws of all others alone, and two configurations of one seed see the same randomness.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from regjax.config import check_count

# One constant per place, never renumbered: stored results depend on them.
INIT = 0
BATCH = 1
MASKS = 2

MAX_SEED = 2**32 - 1

Masks = tuple[jax.Array | None, ...]


def replicate_key(seed: ArrayLike, fold: ArrayLike = 0) -> jax.Array:
    """Returns the key of one (seed, fold): what `train` takes.

    The generator is named, so that a changed JAX default does not change results.

    Args:
        seed: in 0 … 2³² - 1, may be traced.
        fold: in 0 … 2³² - 1, may be traced.

    Raises:
        TypeError: no whole number.
        ValueError: out of range.
    """
    for name, value in (("seed", seed), ("fold", fold)):
        if not isinstance(value, jax.Array):
            check_count(name, value, at_least=0, at_most=MAX_SEED)
    root = jax.random.key(0, impl="threefry2x32")
    return jax.random.fold_in(jax.random.fold_in(root, seed), fold)


def place_key(key: jax.Array, step: ArrayLike, place: int) -> jax.Array:
    """Returns the key of one place of one step (for `BATCH`: of one epoch)."""
    return jax.random.fold_in(jax.random.fold_in(key, step), place)


def one_generator() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which `jax.random` draws the same whatever jax_threefry_partitionable is."""
    return jax.threefry_partitionable(True)


def normals(key: jax.Array, shapes: Sequence[tuple[int, int]]) -> list[jax.Array]:
    """Returns standard normal numbers, float32, one array per shape.

    The i-th is `jax.random.normal(fold_in(key, i), shapes[i])`; all are drawn by one evaluation of
    Threefry, since each evaluation takes a good part of a second to compile.
    """
    sizes = [rows * columns for rows, columns in shapes]
    layers = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(shapes))))
    of_number = np.repeat(np.arange(len(shapes)), sizes)
    counters = np.concatenate([np.arange(size, dtype=np.uint32) for size in sizes])
    zeros = jnp.zeros(len(counters), jnp.uint32)
    words = _rounds((layers[of_number, 0], layers[of_number, 1]), zeros, jnp.asarray(counters))
    # 23 bits of mantissa make a number in [1, 2), stretched to (-1, 1); as jax.random.uniform does.
    ones = lax.bitcast_convert_type(((words[0] ^ words[1]) >> 9) | jnp.uint32(0x3F800000), jnp.float32)
    low = np.nextafter(np.float32(-1), np.float32(0))
    uniform = jnp.maximum(low, (ones - 1) * (np.float32(1) - low) + low)
    drawn = jnp.float32(math.sqrt(2)) * lax.erf_inv(uniform)
    parts = jnp.split(drawn, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def random_bits(key: jax.Array, num_units: int, num_samples: int) -> jax.Array:
    """Returns `(num_units, num_samples)` uniform 16-bit integers: four from each evaluation of Threefry.

    The words are those of `jax.random.bits(key, (m,), uint64)`, m = ⌈units·samples/4⌉, cut into quarters
    of 16 bits; all first quarters come first.

    Args:
        key: a threefry2x32 key, as `replicate_key` makes them.
        num_units: rows.
        num_samples: columns.
    """
    total = num_units * num_samples
    counters = lax.iota(jnp.uint32, -(-total // 4))
    # The first barrier keeps XLA from evaluating Threefry once per quarter, the second keeps the bits
    # shared by all lanes of a vmap; without them either may be drawn again for every lane.
    high, low = lax.optimization_barrier(_threefry2x32(key, jnp.zeros_like(counters), counters))
    quarters = [low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16]
    bits = jnp.concatenate([quarter.astype(jnp.uint16) for quarter in quarters])
    return lax.optimization_barrier(bits[:total].reshape(num_units, num_samples))


def _threefry2x32(key: jax.Array, x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the two 32-bit words that Threefry-2x32 with 20 rounds makes of the counter (x0, x1).

    On a CPU `jax.random.bits` runs the rounds as a loop over arrays in memory and throws half of the
    words away; unrolled, the rounds are one loop over vector registers (benchmarks/bench_layout.py).

    References:
        Salmon et al. 2011, §3.3.
    """
    words = key if key.dtype == jnp.uint32 else jax.random.key_data(key)
    if words.shape != (2,):
        raise ValueError(f"key must be a threefry2x32 key, as replicate_key makes them, got {key.dtype}")
    return _rounds((words[0], words[1]), x0, x1)


def _rounds(words: tuple[jax.Array, jax.Array], x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns what Threefry's 20 rounds make of counters, under keys of the same shape or scalars."""
    k0, k1 = words
    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for block in range(5):
        for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << distance) | (x1 >> (32 - distance)))
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + (keys[(block + 2) % 3] + jnp.uint32(block + 1))
    return x0, x1


def dropout_mask(bits: jax.Array, keep_prob: jax.Array) -> jax.Array:
    """Returns an inverted-dropout mask: 1/p where a unit is kept, else 0.

        t = clip(round(65536·keep_prob), 1, 65536);  keep where bits <= t - 1;  p = t/65536

    The scale is of the exact probability p, so the expected mask is exactly 1; keep_prob = 1 is exactly
    the identity.

    Args:
        bits: `(units, n)`, uint16.
        keep_prob: probability of keeping a unit, in (0, 1], a real scalar (may be traced).

    Returns:
        `(units, n)`, dtype of keep_prob.

    References:
        Srivastava et al. 2014, §10 (scaling at training time).
    """
    threshold = jnp.clip(jnp.round(65536 * keep_prob), 1, 65536)
    keep = bits <= (threshold - 1).astype(jnp.uint16)
    return jnp.where(keep, 65536 / threshold, jnp.zeros_like(threshold))


def dropout_masks(
    key: jax.Array,
    step: ArrayLike,
    layer_sizes: Sequence[int],
    num_samples: int,
    *,
    keep_prob: jax.Array | None = None,
    input_keep_prob: jax.Array | None = None,
) -> Masks | None:
    """Returns the dropout masks of one step, one per layer of weights: what multiplies its input.

    Args:
        key: of the replicate, see `replicate_key`.
        step: the step, a whole number >= 0.
        layer_sizes: units per layer, input and output included.
        num_samples: columns of each mask.
        keep_prob: of hidden units, a scalar or `(num_hidden,)`, in (0, 1]; None is off.
        input_keep_prob: of input features, a scalar in (0, 1]; None is off.

    Returns:
        A tuple of `(units, num_samples)` arrays, None where nothing is dropped; None if all is off.
    """
    if keep_prob is None and input_keep_prob is None:
        return None
    key = place_key(key, step, MASKS)
    num_hidden = len(layer_sizes) - 2
    keep_probs: list[jax.Array | None] = [input_keep_prob] + [None] * num_hidden
    if keep_prob is not None:
        keep_probs[1:] = jnp.broadcast_to(keep_prob, (num_hidden,))
    return tuple(
        None
        if keep is None
        else dropout_mask(random_bits(jax.random.fold_in(key, layer), units, num_samples), keep)
        for layer, (units, keep) in enumerate(zip(layer_sizes[:-1], keep_probs, strict=True))
    )


def epoch_order(key: jax.Array, epoch: ArrayLike, weights: jax.Array) -> jax.Array:
    """Returns a random order of the rows for one epoch, rows of weight 0 sorted last.

    Args:
        key: of the replicate.
        epoch: a whole number >= 0.
        weights: `(n,)`, 0 where a row is held out.

    Returns:
        Indices, `(n,)`.
    """
    with one_generator():
        u = jax.random.uniform(place_key(key, epoch, BATCH), weights.shape, jnp.float32)
    return jnp.argsort(jnp.where(weights > 0, u, 2.0))
