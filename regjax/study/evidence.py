"""`Row`, one network of a sweep, and `Evidence`, the folds and seeds that a mean is taken over.

`design.py` numbers and counts with them; comparisons, importance and plans say what they rest on.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Row(NamedTuple):
    """One network of a sweep: which configuration, seed and fold."""

    configuration: int
    seed: int
    fold: int


class Evidence(NamedTuple):
    """The folds and seeds that a mean is taken over; `kind` is the unit of evidence: seeds on one split."""

    kind: Literal["folds", "seeds"]
    num_folds: int
    num_seeds: int

    @property
    def df(self) -> int:
        """Degrees of freedom of the interval; with 0 there is no interval."""
        return (self.num_folds if self.kind == "folds" else self.num_seeds) - 1

    def mean_in_words(self) -> str:
        """Returns what a mean is taken over: "over 5 folds × 8 seeds"."""
        seeds = f"{self.num_seeds} seed" + ("s" if self.num_seeds > 1 else "")
        if self.kind == "folds":
            return f"over {self.num_folds} folds × {seeds}"
        return f"over {seeds} on this one split" if self.num_seeds > 1 else "1 seed on 1 split"

    def in_words(self) -> str:
        """Returns the same with what the interval rests on: "over 5 folds × 8 seeds (t, 4 df)"."""
        if self.kind == "folds":
            return f"{self.mean_in_words()} (t, {self.df} df)"
        return self.mean_in_words() + (": says nothing about other data" if self.df else ": no interval")
