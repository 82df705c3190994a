"""The batch of a step: which training samples it holds, in which order, and with which weights.

`train.run_segment` calls `make_batches` once for a segment, and the function it returns at every step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .config import Config
from .data import Data, hide_held_out
from .losses import balanced_weights, weights_of_classes
from .objective import BatchSizes, full_batch_sizes
from .random import epoch_order

NextBatch = Callable[[jax.Array, Any], tuple[Data, BatchSizes, Any]]


def make_batches(
    key: jax.Array,
    data: Data,
    counted: jax.Array,
    config: Config,
    num_batches: Any,
    orders: Any,
    samples: Callable[[jax.Array], jax.Array] | None = None,
) -> NextBatch:
    """Returns `next_batch(step, order) → (batch, its sizes, order of the samples in this epoch)`.

    Without a batch size the batch is the data, and the order is None. With one, the samples are taken in a
    random order, which is drawn where an epoch begins, and where `order` is None, since a segment may begin
    inside an epoch. With config.batches "all" the last batch of an epoch may be smaller: samples of weight
    0 fill it.

    Args:
        key: key of the replicate.
        data: training samples, with the weights of their classes.
        counted: weights of the samples without those of their classes, `(n,)`; their sum divides the
            penalties.
        config: batch_size, batches, shuffle.
        num_batches: batches of an epoch.
        orders: orders of the samples in each epoch, `(epochs, n)`; None draws them.
        samples: indices of samples -> their inputs, `(chosen, n_features)`; None takes them from `data`.
    """
    sizes = full_batch_sizes(data)
    if config.batch_size is None:
        return lambda step, order: (data, sizes, None)
    size = config.batch_size
    # In this layout a sample is one run of memory, and gathering samples is faster.
    take = data.x.T.__getitem__ if samples is None else samples
    num_samples = jnp.sum(data.weights > 0, dtype=jnp.int32)

    def order_of(epoch: jax.Array, index: jax.Array, order: Any) -> jax.Array | None:
        if orders is not None:
            return None  # read where it lies: carried through the loop it would be copied at every step
        draw = functools.partial(epoch_order, key, epoch, data.weights, shuffle=config.shuffle)
        return draw() if order is None else lax.cond(index == 0, draw, lambda: order)

    def samples_at(positions: jax.Array, epoch: jax.Array, order: jax.Array | None) -> jax.Array:
        return orders[epoch % len(orders), positions] if order is None else order[positions]

    def next_batch(step: jax.Array, order: Any) -> tuple[Data, BatchSizes, Any]:
        epoch, index = step // num_batches, step % num_batches
        order = order_of(epoch, index, order)
        positions = index * size + lax.iota(jnp.int32, size)
        if config.batches == "equal":
            chosen = samples_at(positions, epoch, order)
            batch = hide_held_out(Data(take(chosen).T, data.y[:, chosen], data.weights[chosen]))
            return batch, BatchSizes(float(size), sizes.num_train), order
        # Beyond the end the last sample fills the batch, with weight 0.
        chosen = samples_at(jnp.minimum(positions, data.x.shape[1] - 1), epoch, order)
        filled = positions < num_samples
        weights = jnp.where(filled, data.weights[chosen], 0)
        # Hidden in the batch, not in the data: those would be copied for each network, whose folds differ.
        batch = hide_held_out(Data(take(chosen).T, data.y[:, chosen], weights))
        weight, count = jnp.sum(batch.weights), jnp.sum(jnp.where(filled, counted[chosen], 0))
        # A batch without samples changes nothing, but must not divide by 0.
        safe = [jnp.where(total > 0, total, 1) for total in (weight, count)]
        return batch, BatchSizes(*safe), order

    return next_batch


def batches_per_epoch(weights: jax.Array, config: Config) -> jax.Array | int:
    """Returns the number of batches of an epoch, at least 1.

    Args:
        weights: `(n,)`; a sample of weight 0 is in no batch.
        config: batch_size and batches.
    """
    if config.batch_size is None:
        return 1
    num_samples = jnp.sum(weights > 0, dtype=jnp.int32)
    rest = config.batch_size - 1 if config.batches == "all" else 0
    return jnp.maximum((num_samples + rest) // config.batch_size, 1)


def weigh_classes(data: Data, config: Config) -> Data:
    """Returns `data` with its weights times those of the classes; unchanged where class_weight is None.

    Raises:
        ValueError: class weights for real targets.
    """
    if config.class_weight is None:
        return data
    if not jnp.issubdtype(data.y.dtype, jnp.integer):
        raise ValueError(f"class_weight must be used with classes, got real targets of dtype {data.y.dtype}")
    if len(data.y) > 1:
        raise ValueError(f"class_weight must be None for {len(data.y)} labels, got {config.class_weight}")
    if config.class_weight != "balanced":
        return data._replace(weights=weights_of_classes(data.y, data.weights, config.class_weight))
    num_classes = max(2, config.layer_sizes[-1])
    return data._replace(weights=balanced_weights(data.y, data.weights, num_classes))
