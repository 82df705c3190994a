"""What ties samples together in splits: groups, and time, by which a split trains on the past alone.

`regjax.data.splits` checks the `groups` and `time` of a user with `check_ties`, and cuts by time with
`forward` and `last_part`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# (training, validation) indices of each fold.
Pairs = list[tuple[np.ndarray, np.ndarray]]


class Ties(NamedTuple):
    """What ties samples together: those of one code stay on one side of every split.

    Attributes:
        name: the argument of a user.
        codes: `(n,)`, 0, 1, … for the distinct groups or times in their order.
    """

    name: Literal["groups", "time"]
    codes: np.ndarray

    @property
    def plural(self) -> str:
        """What the codes count, in words: "groups" or "times"."""
        return "groups" if self.name == "groups" else "times"

    @property
    def num(self) -> int:
        """Number of distinct groups or times."""
        return int(self.codes.max()) + 1

    def of(self, samples: np.ndarray) -> Ties:
        """Returns the ties of some samples alone, by index, numbered anew."""
        return Ties(self.name, _codes(self.codes[samples]))


def check_ties(n: int, groups: ArrayLike | None, time: ArrayLike | None) -> Ties | None:
    """Returns what ties n samples together, or None where neither groups nor a time are given.

    Raises:
        TypeError: a time that is neither numbers nor dates.
        ValueError: both of them, another shape, or gaps.
    """
    if groups is None and time is None:
        return None
    if groups is not None and time is not None:
        raise ValueError("groups and time must not both be given: hand in folds as index pairs instead")
    name = "groups" if time is None else "time"
    values = np.asarray(groups if time is None else time)
    if values.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {values.shape}")
    if name == "time" and values.dtype.kind not in "fiubmM":
        raise TypeError(f"time must hold numbers or dates, got dtype {values.dtype}")
    gaps = np.flatnonzero(_gaps(values))
    if len(gaps):
        raise ValueError(f"{name} must have no gaps, got {values[gaps[0]]} in sample {gaps[0]}")
    return Ties(name, _codes(values))


def _gaps(values: np.ndarray) -> np.ndarray:
    """Returns where values are None, NaN, NaT or the NA of pandas, `(n,)`."""
    if values.dtype.kind != "O":
        return np.not_equal(values, values)  # NaN and NaT alone differ from themselves
    # The truth of pandas.NA is not defined: it is compared by what it is called.
    return np.array([v is None or str(v) in ("<NA>", "NaT") or bool(v != v) for v in values])


def _codes(values: np.ndarray) -> np.ndarray:
    """Returns 0, 1, … for distinct values in their order, `(n,)`; by appearance where they have no order."""
    try:
        return np.unique(values, return_inverse=True)[1]
    except TypeError:  # text beside numbers
        places: dict[Any, int] = {}
        return np.array([places.setdefault(value, len(places)) for value in values.tolist()])


def forward(ties: Ties, count: int) -> Pairs:
    """Returns the (training, validation) indices of so many folds forward in time.

    They are those of scikit-learn's TimeSeriesSplit where no two samples share a time. Otherwise each border
    of its blocks moves to the nearest one between two times.

    Raises:
        ValueError: no more distinct times than folds.
    """
    if count >= ties.num:
        raise ValueError(
            f"folds must be fewer than the {ties.num} distinct times, got {count}: each fold is scored "
            "on later times than it trains on"
        )
    # All blocks have one size, but for the first, which takes what is left over: as in TimeSeriesSplit.
    n, size = len(ties.codes), len(ties.codes) // (count + 1)
    borders = _borders(ties.codes, [n - size * (count - fold) for fold in range(count)])
    blocks = np.searchsorted(borders, ties.codes, side="right")
    return [(np.flatnonzero(blocks <= fold), np.flatnonzero(blocks == fold + 1)) for fold in range(count)]


def last_part(ties: Ties, num_last: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the earlier samples and of about `num_last` last ones; at least two times."""
    border = _borders(ties.codes, [len(ties.codes) - num_last])[0]
    return np.flatnonzero(ties.codes < border), np.flatnonzero(ties.codes >= border)


def _borders(codes: np.ndarray, wanted: Sequence[int]) -> list[int]:
    """Returns the time at which each block but the first begins, increasing.

    Args:
        codes: times as 0, 1, …, `(n,)`.
        wanted: how many samples should lie before each border, increasing; fewer borders than times.
    """
    before = np.concatenate([[0], np.cumsum(np.bincount(codes))])  # samples before each time
    last, found = len(before) - 2, [0]
    for later, count in zip(range(len(wanted) - 1, -1, -1), wanted, strict=True):
        nearest = int(np.argmin(np.abs(before - count)))
        # Each block has at least one time: this one, and those that come later.
        found.append(min(max(nearest, found[-1] + 1), last - later))
    return found[1:]


def notes_of(ties: Ties | None, train: np.ndarray, val: np.ndarray, kind: str) -> Iterator[str]:
    """Yields what a reader must know of folds that follow time, and of folds that part a group.

    Args:
        ties: groups or time of the samples, or None.
        train: training weights, `(J, n)`.
        val: validation weights, `(J, n)`.
        kind: as in `Splits`.
    """
    if ties is None:
        return
    if ties.name == "time" and kind == "folds":
        sizes = np.count_nonzero(train, axis=1)
        yield (
            f"the folds follow time: their training parts grow from {sizes[0]:,} to {sizes[-1]:,} samples, "
            "and the intervals over folds, which assume equal parts, are approximate"
        )
    if ties.name == "groups":  # a splitter or index pairs of a user may know nothing of groups
        for fold in range(len(train)):
            parted = len(np.intersect1d(ties.codes[train[fold] > 0], ties.codes[val[fold] > 0]))
            if parted:
                yield f"fold {fold} trains on other samples of {parted} of the groups that it is scored on"
