"""Every random draw of regjax, from explicit keys.

    key = fold_in(fold_in(fold_in(fold_in(root, seed), fold), step), PLACE), then the layer

`replicate_key` gives the key of a (seed, fold); everything else folds in the step, a fixed constant per
place, and the layer. No draw depends on a hyperparameter, so switching one regulariser on leaves the
draws of all others alone, and two configurations of one seed see the same randomness.

Only this module draws from `jax.random` for training. It names the generator and the dtype of every draw,
since JAX's defaults are the user's to change (tests/core/test_draws.py looks for draws elsewhere).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from .checks import check_count, is_traced, shown
from .settings import GENERATOR, own_settings

# One constant per place, never renumbered: stored results depend on them.
INIT = 0
BATCH = 1
MASKS = 2
GAUSSIAN = 3
CONNECTIONS = 4
INPUT_NOISE = 5
SWAP = 6
SWAP_ROWS = 7
MIXUP = 8
PARTNERS = 9
EMBEDDING = 10
MEMBERS = 11

MAX_SEED = 2**32 - 1


def replicate_key(seed: ArrayLike, fold: ArrayLike = 0) -> jax.Array:
    """Returns the key of one replicate, a (seed, fold), as `train` takes it.

    The generator is named, so that results do not change with the default of JAX.

    Args:
        seed: in 0 … 2³² - 1, may be traced.
        fold: in 0 … 2³² - 1, may be traced.

    Raises:
        TypeError: no whole number.
        ValueError: out of range.

    Example:
        >>> import jax, regjax
        >>> jax.random.key_data(regjax.replicate_key(seed=1)).shape
        (2,)
    """
    for name, value in (("seed", seed), ("fold", fold)):
        if not isinstance(value, jax.Array):
            check_count(name, value, at_least=0, at_most=MAX_SEED)
    with own_settings("float32"):
        return jax.random.fold_in(jax.random.fold_in(root_key(), seed), fold)


def root_key() -> jax.Array:
    """Returns the key of which all others are made: `jax.random.key(0)` as JAX's own settings have it."""
    return as_key(jnp.zeros(2, jnp.uint32))  # not from a seed, to which JAX may add an offset


def check_key(key: Any) -> None:
    """Raises TypeError unless `key` is a key of JAX, or the numbers of one; a seed is a slip."""
    is_array = isinstance(key, jax.Array | np.ndarray)
    if not is_array or (key.ndim == 0 and not jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"key must be a key of JAX such as regjax.replicate_key(0), got {shown(key)}")


def as_key(words: ArrayLike) -> jax.Array:
    """Returns the key whose data are `words`, `(2,)` uint32, as `jax.random.key_data` returned them."""
    return jax.random.wrap_key_data(jnp.asarray(words, jnp.uint32), impl=GENERATOR)


def place_key(key: jax.Array, step: ArrayLike, place: int) -> jax.Array:
    """Returns the key of one place of one step (for `BATCH`: of one epoch)."""
    return jax.random.fold_in(jax.random.fold_in(key, step), place)


def one_generator() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which the draws of `jax.random` do not depend on jax_threefry_partitionable."""
    return jax.threefry_partitionable(True)


def uniforms(key: jax.Array, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> jax.Array:
    """Returns uniform numbers in [low, high), float32 whatever the dtype of the network."""
    with one_generator():
        return jax.random.uniform(key, shape, jnp.float32, low, high)


def betas(key: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns numbers of Beta(a, b), in the shape and dtype of `a`, which `b` shares."""
    with one_generator():
        return jax.random.beta(key, a, b, dtype=a.dtype)


def is_drawn_on_cpu(key: jax.Array) -> bool:
    """Returns whether `on_cpu` has work to do: JAX computes on another device, and the key is no tracer."""
    return jax.default_backend() != "cpu" and not is_traced(key)


def on_cpu(draw: Callable[..., Any], *arguments: Any) -> Any:
    """Returns `draw(*arguments)`, arrays drawn on the CPU and moved to the device that JAX computes on.

    For initial weights: erf⁻¹ may have other last bits on a GPU, and a network would begin elsewhere. All
    other draws are made of bits alone, which are the same everywhere. Where JAX has no CPU beside its device
    (JAX_PLATFORMS), that device draws.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return draw(*arguments)
    # Evaluated at once, also where a caller traces a function around a key that is no tracer.
    with jax.ensure_compile_time_eval(), jax.default_device(cpu):
        # Moved by hand: arrays that lie on another device are computed with there, whatever the default.
        drawn = jax.tree.map(np.asarray, draw(*jax.device_put(arguments, cpu)))
    return jax.device_put(drawn)


def normals(key: jax.Array, shapes: Sequence[tuple[int, int]]) -> list[jax.Array]:
    """Returns standard normal numbers, float32, one array per shape.

    The i-th is `jax.random.normal(fold_in(key, i), shapes[i])`; all are drawn by one evaluation of
    Threefry, since each evaluation takes a good part of a second to compile.
    """
    sizes = [math.prod(shape) for shape in shapes]
    layers = jax.random.key_data(
        jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(shapes), dtype=jnp.uint32))
    )
    of_number = np.repeat(np.arange(len(shapes)), sizes)
    counters = np.concatenate([np.arange(size, dtype=np.uint32) for size in sizes])
    zeros = jnp.zeros(len(counters), jnp.uint32)
    words = rounds((layers[of_number, 0], layers[of_number, 1]), zeros, jnp.asarray(counters))
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
        num_units: first dimension.
        num_samples: second dimension.
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
    """Returns the two 32-bit words of Threefry-2x32, with 20 rounds, for the counter (x0, x1).

    On a CPU `jax.random.bits` runs the rounds as a loop over arrays in memory and throws half of the
    words away; unrolled, the rounds are one loop over vector registers (benchmarks/bench_layout.py).

    References:
        Salmon et al. 2011, §3.3.
    """
    words = key if key.dtype == jnp.uint32 else jax.random.key_data(key)
    if words.shape != (2,):
        raise ValueError(f"key must be a threefry2x32 key, as replicate_key makes them, got {key.dtype}")
    return rounds((words[0], words[1]), x0, x1)


def rounds(words: tuple[Any, Any], x0: Any, x1: Any) -> tuple[Any, Any]:
    """Returns the counters after Threefry's 20 rounds, under keys of the same shape or scalars.

    All are uint32, of JAX or of NumPy.
    """
    k0, k1 = words
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for block in range(5):
        for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(distance)) | (x1 >> np.uint32(32 - distance)))
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + (keys[(block + 2) % 3] + np.uint32(block + 1))
    return x0, x1


def random_normals(key: jax.Array, num_units: int, num_samples: int) -> jax.Array:
    """Returns `(num_units, num_samples)` standard normal numbers, float32, drawn from 16 bits each.

    65,536 quantiles of the normal distribution, the outermost at ±4.3: as cheap as the bits of dropout.
    Their variance is 1 to within 0.0003.

    Args:
        key: a threefry2x32 key, as `replicate_key` makes them.
        num_units: first dimension.
        num_samples: second dimension.
    """

    bits = random_bits(key, num_units, num_samples)
    return lax.optimization_barrier(jnp.asarray(_quantiles())[bits.astype(jnp.int32)])


@functools.cache
def _quantiles() -> np.ndarray:
    """Returns the 65,536 quantiles of the standard normal distribution, float32.

    A table, since XLA would compute erf⁻¹ again in every lane, and in the first layer for every unit.
    """
    from scipy.special import ndtri

    return ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)


def epoch_order(key: jax.Array, epoch: ArrayLike, weights: jax.Array, *, shuffle: bool = True) -> jax.Array:
    """Returns a random order of the samples for one epoch, those of weight 0 sorted last.

    Args:
        key: key of the replicate.
        epoch: a whole number >= 0.
        weights: `(n,)`, 0 where a sample is held out.
        shuffle: False leaves the others in their order.

    Returns:
        Indices, `(n,)`.
    """
    return jnp.argsort(epoch_places(key, epoch, weights, shuffle=shuffle))  # a stable sort


def epoch_places(key: jax.Array, epoch: ArrayLike, weights: jax.Array, *, shuffle: bool = True) -> jax.Array:
    """Returns the numbers by which `epoch_order` sorts the samples, `(n,)` float32 >= 0; arguments as there.

    Equal numbers keep the order of their samples.
    """
    if not shuffle:
        return jnp.where(weights > 0, jnp.float32(0), jnp.float32(2))
    return jnp.where(weights > 0, uniforms(place_key(key, epoch, BATCH), weights.shape), jnp.float32(2))
