"""Orders of the samples in epochs, drawn before the steps that read them.

`engine/lanes.py` calls `orders_of_lanes` on an accelerator, and `pieces` on a CPU. There NumPy sorts: whole
numbers, one of 64 bits for each sample, take it a fiftieth of the time that XLA's sort of pairs takes. Both
give the order that `random.epoch_order` draws.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.minibatches import weigh_classes
from regjax.core.random import as_key, epoch_order, epoch_places
from regjax.engine.replicates import Replicates

# Most numbers in the orders of a replicate that are drawn at a time, unless one epoch has more: 1 MiB.
MOST_AT_ONCE = 2**18


def epochs_at_once(num_batches: int, num_samples: int, longest: int) -> int:
    """Returns the number of epochs whose orders are drawn at a time: a power of 4, compiled into the loop.

    Args:
        num_batches: number of batches in an epoch.
        num_samples: number of samples.
        longest: most steps between two records.

    Example:
        >>> epochs_at_once(num_batches=3, num_samples=2_000, longest=100)
        64
        >>> epochs_at_once(num_batches=390, num_samples=200_000, longest=100)
        1
    """
    needed, most = longest // num_batches + 2, max(1, MOST_AT_ONCE // num_samples)
    found = 1
    while found < needed and 4 * found <= most:
        found *= 4
    return found


def pieces(
    replicates: Replicates, start: int, stop: int, num_batches: int, *, epochs: int, config: Config
) -> Iterator[tuple[Replicates, int, int]]:
    """Yields (replicates with orders, start, stop) of the parts of a segment, at least one.

    Args:
        replicates: replicates without orders.
        start: first step of the segment.
        stop: step to stop before; where it is `start`, the part has no steps.
        num_batches: number of batches in an epoch.
        epochs: number of epochs whose orders are drawn at a time.
        config: config of the loop.
    """
    while True:
        first = start // num_batches
        last = min(stop, (first + epochs) * num_batches)
        places = places_of_lanes(replicates, first, epochs=epochs, config=config)
        yield replicates._replace(orders=sorted_places(np.asarray(places))), start, last
        if last == stop:
            return
        start = last


def sorted_places(places: np.ndarray) -> np.ndarray:
    """Returns the indices that sort the last axis of an array, int32; equal numbers keep their order.

    Args:
        places: float32 numbers >= 0.
    """
    # The bits of numbers >= 0 are in their order. With the index below them no two are equal, and any sort of
    # them is the stable one.
    bits = places.view(np.uint32).astype(np.uint64) << np.uint64(32)
    bits |= np.arange(places.shape[-1], dtype=np.uint64)
    bits.sort(axis=-1)
    return bits.astype(np.uint32).view(np.int32)


@functools.partial(jax.jit, static_argnames=("epochs", "config"))
def places_of_lanes(replicates: Replicates, first: Any, *, epochs: int, config: Config) -> jax.Array:
    """Returns the numbers that `orders_of_lanes` sorts, `(…, epochs, n)` float32; arguments as there."""
    return _of_epochs(epoch_places, replicates, first, epochs, config)


@functools.partial(jax.jit, static_argnames=("epochs", "config"))
def orders_of_lanes(replicates: Replicates, first: Any, *, epochs: int, config: Config) -> jax.Array:
    """Returns the orders of samples in epochs `first` … `first` + `epochs` - 1, `(…, epochs, n)`.

    Epoch e is at place e modulo `epochs`, where `run_segment` looks for it.
    """
    return _of_epochs(epoch_order, replicates, first, epochs, config)


def _of_epochs(draw: Any, replicates: Replicates, first: Any, epochs: int, config: Config) -> jax.Array:
    """Returns `draw(key, epoch, weights)` of each replicate and epoch."""
    place = jnp.arange(epochs, dtype=jnp.int32)
    numbers = first + (place - first) % epochs

    def of_replicate(replicate: Replicates) -> jax.Array:
        key, data = as_key(replicate.key), Data(replicate.x, replicate.y, replicate.train)
        weights = weigh_classes(data, config).weights
        return jax.vmap(lambda epoch: draw(key, epoch, weights, shuffle=config.shuffle))(numbers)

    axes = (replicates.axes(0),)
    drawn = jax.vmap(of_replicate, in_axes=axes)
    return drawn(replicates) if replicates.shared else jax.vmap(drawn, in_axes=axes)(replicates)
