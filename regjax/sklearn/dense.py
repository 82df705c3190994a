"""Sparse inputs as dense arrays, where these fit into memory.

The estimators call it for X in `fit` and `partial_fit`; their predictions multiply sparse rows as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from regjax.study.plan import free_memory

# The dense array, its transpose padded to whole blocks, and the device's own copy.
COPIES = 3


def as_dense(X: Any, name: str = "X") -> np.ndarray:
    """Returns a sparse matrix or array as a dense one; a dense one as it is.

    Args:
        X: `(n_samples, n_features)`.
        name: its name in the message.

    Raises:
        ValueError: the dense array and the copies that training makes of it do not fit into free memory.
    """
    if not sparse.issparse(X):
        return X
    rows, columns, item = *X.shape, X.dtype.itemsize
    free, needed = free_memory(), COPIES * rows * columns * item
    if free is not None and needed > free:
        raise ValueError(
            f"{name} must fit into memory as a dense array: {rows:,} samples × {columns:,} features × "
            f"{item} bytes, {COPIES} times in training, are {needed / 1e9:,.1f} GB, got "
            f"{free / 1e9:,.1f} GB of free memory"
        )
    return X.toarray()
