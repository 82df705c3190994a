"""Repeated folds: further partitions of the same samples into folds, and which folds belong together.

`splits.make_splits` draws the repeats; `Splits.repeat_of` says which folds make up one. A choice that is
made on all folds but one reads the folds of one repeat alone: those of others are scored on the same samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np

from regjax.data.ties import Pairs

# Shuffles that are tried for each repeat, before it is said that there is no other partition.
MOST_TRIED = 20


def repeated(draw: Callable[[int], Pairs], repeats: int, wanted: str) -> Pairs:
    """Returns the folds of all repeats, those of one repeat side by side; no two repeats are the same folds.

    Args:
        draw: from the number of a shuffle to the (training, validation) indices of its folds.
        repeats: number of repeats, at least 1.
        wanted: what is divided, for the message: "12 samples".

    Raises:
        ValueError: the samples give fewer different partitions than repeats.
    """
    found: Pairs = []
    seen: set[frozenset[bytes]] = set()
    for shuffle in range(MOST_TRIED * repeats):
        pairs = draw(shuffle)
        parts = frozenset(np.sort(val).tobytes() for _, val in pairs)
        if parts not in seen:
            seen.add(parts)
            found.extend(pairs)
        if len(seen) == repeats:
            return found
    raise ValueError(
        f"repeats must be at most {len(seen)}, got {repeats}: {wanted} give no more different folds"
    )


def repeat_of(val: np.ndarray) -> np.ndarray:
    """Returns the number of the repeat that each split belongs to, `(J,)`: 0, 1, …

    A repeat is a run of splits whose validation parts share no sample, so that it is found in folds of any
    splitter, and in the index pairs of a user.

    Args:
        val: validation weights, `(J, n)`.
    """
    found, taken = np.zeros(len(val), int), np.zeros(val.shape[1], bool)
    for fold, weights in enumerate(val):
        held_out = weights > 0
        begins = fold > 0 and bool(np.any(taken & held_out))
        found[fold] = found[fold - 1] + begins if fold else 0
        taken = held_out if begins else taken | held_out
    return found


def sizes_of(repeats: np.ndarray) -> list[int]:
    """Returns the number of folds of each repeat; repeats: as `repeat_of` numbers them."""
    return [len(list(members)) for _, members in itertools.groupby(repeats.tolist())]


def compact(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Returns weights `(J, n)` of one split each: a byte each where all are 0 or 1, else float64.

    A hundred splits of a hundred thousand samples are 10 MB and not 80.
    """
    found = []
    for row in rows:
        bits = row != 0
        found.append(bits.astype(np.uint8) if np.array_equal(row, bits) else row)
    return np.stack(found)  # bytes beside numbers become numbers
