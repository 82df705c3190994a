"""Intervals for paired differences: over folds, or over seeds on one split; and for many at once.

Pure functions of NumPy arrays, which comparisons, summaries and figures call; docs/intervals.md says in words
what they mean.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean difference with its 95 % interval.

    Attributes:
        mean: mean of the differences.
        se: standard error of the mean; NaN where one unit of evidence gives none.
        df: degrees of freedom of t.
        low: lower end.
        high: upper end.
        p: two-sided p-value of a difference of 0; NaN without an interval.
    """

    mean: float
    se: float
    df: int
    low: float
    high: float
    p: float


def over_folds(differences: np.ndarray, num_val: float, num_train: float, least: float = 0.0) -> Interval:
    """Returns the interval of a mean over folds, which share training samples.

        mean ± t · √(s²·(1/J + n_val/n_train)),  J - 1 degrees of freedom

    Args:
        differences: d₁ … d_J, `(J,)`: the difference in each fold, averaged over its seeds.
        num_val: mean number of samples of a validation part.
        num_train: mean number of samples of a training part.
        least: least variance s².

    References:
        Nadeau & Bengio 2003, eq. 16 (corrected resampled t); Bouckaert & Frank 2004 for repeats.
    """
    count = len(differences)
    if count < 2:
        return without_spread(differences)
    variance = max(least, float(np.var(differences, ddof=1)))
    return interval(differences, math.sqrt(variance * (1 / count + num_val / num_train)), count - 1)


def over_seeds(differences: np.ndarray) -> Interval:
    """Returns the paired t interval of a mean over seeds, `(S,)`: of training's chance, on this one split."""
    count = len(differences)
    if count < 2:
        return without_spread(differences)
    return interval(differences, float(np.std(differences, ddof=1)) / math.sqrt(count), count - 1)


def without_spread(differences: np.ndarray) -> Interval:
    """Returns the mean alone: no interval."""
    return Interval(float(np.mean(differences)), math.nan, 0, math.nan, math.nan, math.nan)


def interval(differences: np.ndarray, se: float, df: int) -> Interval:
    """Returns the t interval of a standard error; none where all differences are equal."""
    # A standard error of 0 would make the interval a point, which no few units of evidence can show.
    if np.ptp(differences) == 0:
        return without_spread(differences)
    return around(float(np.mean(differences)), se, df)


def around(mean: float, se: float, df: int, level: float = LEVEL) -> Interval:
    """Returns the t interval around a mean at a level in (0, 1)."""
    from scipy import special  # what scipy.stats.t calls, a hundred times as fast for one number

    reach = float(special.stdtrit(df, (1 + level) / 2)) * se
    p = 2 * float(special.stdtr(df, -abs(mean) / se)) if se > 0 else math.nan
    return Interval(mean, se, df, mean - reach, mean + reach, p)


def family(found: Interval, num: int) -> tuple[float, float]:
    """Returns the interval that holds for all of `num` differences at once (Bonferroni), NaN without one."""
    if math.isnan(found.se):
        return math.nan, math.nan
    wide = around(found.mean, found.se, found.df, 1 - (1 - LEVEL) / num)
    return wide.low, wide.high


def as_number(value: float, sign: str = "") -> str:
    """Returns a number with four decimals, or with three digits where those would not show it."""
    return f"{value:{sign}.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:{sign}.2e}"


def holm(p: np.ndarray) -> np.ndarray:
    """Returns Holm's step-down adjusted p-values, `(m,)`; NaN stays NaN and does not count.

    References:
        Holm 1979.
    """
    adjusted = np.full(len(p), np.nan)
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, float(p[index]) * (len(order) - rank)))
        adjusted[index] = largest
    return adjusted


def sampling_error(per_example: np.ndarray, weights: np.ndarray) -> float:
    """Returns the standard error of a weighted mean over examples, `(n,)` each, as if drawn anew.

    With weights of 1 it is the standard deviation over √n.
    """
    total = float(np.sum(weights))
    mean = float(np.sum(weights * per_example)) / total
    count = np.count_nonzero(weights)
    if count < 2:
        return math.nan
    squares = float(np.sum((weights * (per_example - mean)) ** 2))
    return math.sqrt(squares * count / (count - 1)) / total
