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
    """The folds and seeds that a mean is taken over.

    Attributes:
        kind: the unit of evidence: folds, or seeds on one split.
        num_folds: number of folds, those of all repeats.
        num_seeds: number of seeds.
        num_repeats: number of repeats of the folds.
    """

    kind: Literal["folds", "seeds"]
    num_folds: int
    num_seeds: int
    num_repeats: int = 1

    @property
    def df(self) -> int:
        """Degrees of freedom of the interval; with 0 there is no interval."""
        return (self.num_folds if self.kind == "folds" else self.num_seeds) - 1

    def mean_in_words(self) -> str:
        """Returns what a mean is taken over: "over 5 folds × 10 repeats × 8 seeds"."""
        seeds = f"{self.num_seeds} seed" + ("s" if self.num_seeds > 1 else "")
        if self.kind == "folds":
            return f"over {self.folds_in_words()} × {seeds}"
        return f"over {seeds} on this one split" if self.num_seeds > 1 else "1 seed on 1 split"

    def folds_in_words(self) -> str:
        """Returns the folds: "5 folds × 10 repeats", or all of them where repeats differ in size."""
        if self.num_repeats == 1 or self.num_folds % self.num_repeats:
            return f"{self.num_folds} folds"
        return f"{self.num_folds // self.num_repeats} folds × {self.num_repeats} repeats"

    def in_words(self, df: int | None = None) -> str:
        """Returns the same with what the interval rests on: "over 5 folds × 8 seeds (t, 4 df)".

        Args:
            df: degrees of freedom of moderated variances; None are those of the units alone.
        """
        if self.kind == "folds":
            return f"{self.mean_in_words()} (t, {self.df if df is None else df} df)"
        return self.mean_in_words() + (": says nothing about other data" if self.df else ": no interval")
