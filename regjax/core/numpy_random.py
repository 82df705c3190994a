"""Initial weights and orders of samples as scikit-learn draws them, from NumPy's generator.

The estimators use them, and sweeps with draws="sklearn": the same seed then gives the same network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .mlp import Layer, Params


def draw_weights(random: np.random.RandomState, sizes: Sequence[int], logistic: bool, dtype: Any) -> Params:
    """Returns initial parameters, NumPy arrays: uniform within ±√(6/(fan_in + fan_out)), biases too.

    Args:
        random: generator, which is advanced.
        sizes: units per layer.
        logistic: whether √2 replaces √6, as for the logistic activation.
        dtype: dtype of the result.

    References:
        Glorot & Bengio 2010, eq. 16; scikit-learn's `MLPClassifier`.
    """
    found: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        bound = math.sqrt((2.0 if logistic else 6.0) / (fan_in + fan_out))
        w = random.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype)
        b = random.uniform(-bound, bound, fan_out).astype(dtype)
        found.append(Layer(np.ascontiguousarray(w.T), b[:, None]))  # type: ignore[arg-type]
    return tuple(found)


def draw_orders(
    random: np.random.RandomState, order: np.ndarray, num_epochs: int, width: int, shuffle: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the orders of the samples in `num_epochs` epochs, `(num_epochs, width)`, and the last order.

    Args:
        random: generator, which is advanced.
        order: order of the epoch before, `(n,)` indices.
        num_epochs: at least 1.
        width: at least n; entries beyond n are 0.
        shuffle: False leaves the order as it is.
    """
    orders = np.zeros((num_epochs, width), np.int32)
    for epoch in range(num_epochs):
        if shuffle:  # as sklearn.utils.shuffle does it
            positions = np.arange(len(order))
            random.shuffle(positions)
            order = order[positions]
        orders[epoch, : len(order)] = order
    return orders, order
