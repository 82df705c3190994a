"""Intervals for paired differences over folds, or over seeds on one split, and how figures are written.

Pure functions of NumPy arrays, which comparisons, summaries and figures call; `families` has the intervals
that hold for many differences at once, and docs/intervals.md says in words what they mean.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from regjax.core.metrics import without_split

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


def over_units(differences: np.ndarray, factor: float, least: float = 0.0) -> Interval:
    """Returns the t interval of a mean over units of evidence, none where all differences are equal.

        mean ± t · √(s² · factor),  J - 1 degrees of freedom

    Args:
        differences: d₁ … d_J, `(J,)`: the difference in each fold, averaged over its seeds, or of each seed.
        factor: variance of the mean over that of a unit: 1/J + n_val/n_train over folds, 1/S over seeds.
        least: least variance s².

    References:
        Nadeau & Bengio 2003, eq. 16 (corrected resampled t); Bouckaert & Frank 2004 for repeats.
    """
    # A standard error of 0 would make the interval a point, which no few units of evidence can show.
    if len(differences) < 2 or np.ptp(differences) == 0:
        return without_spread(differences)
    variance = max(least, float(np.var(differences, ddof=1)))
    return around(float(np.mean(differences)), math.sqrt(variance * factor), len(differences) - 1)


def without_spread(differences: np.ndarray) -> Interval:
    """Returns the mean alone: no interval."""
    return Interval(float(np.mean(differences)), math.nan, 0, math.nan, math.nan, math.nan)


def around(mean: float, se: float, df: int, level: float = LEVEL) -> Interval:
    """Returns the t interval around a mean at a level in (0, 1)."""
    from scipy import special  # what scipy.stats.t calls, a hundred times as fast for one number

    reach = float(special.stdtrit(df, (1 + level) / 2)) * se
    p = 2 * float(special.stdtr(df, -abs(mean) / se)) if se > 0 else math.nan
    return Interval(mean, se, df, mean - reach, mean + reach, p)


def as_number(value: float, sign: str = "") -> str:
    """Returns a number with four decimals, or with three digits where those would not show it."""
    return f"{value:{sign}.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:{sign}.2e}"


def rounded(value: float, half: float, sign: str = "") -> str:
    """Returns a number with two decimals more than half of its interval needs; what rounds to 0 is 0.0.

    Example:
        >>> rounded(0.12894, 0.048, "+"), rounded(-0.00003, 0.02), rounded(12.3456, 3.1)
        ('+0.1289', '0.0', '12.35')
    """
    if not half > 0 or not math.isfinite(half):
        return as_number(value, sign)
    decimals = 2 - math.floor(math.log10(half))
    if round(value, decimals) == 0:
        return "0.0"
    return f"{value:{sign}.{max(0, decimals)}f}" if decimals <= 7 else f"{value:{sign}.2e}"


def between(low: float, high: float, half: float, sign: str = "") -> str:
    """Returns an interval in brackets, rounded as `rounded` does."""
    return f"[{rounded(low, half, sign)}, {rounded(high, half, sign)}]"


def with_interval(value: float, low: float, high: float, sign: str = "") -> str:
    """Returns a number and its interval, both rounded to half of that interval.

    Example:
        >>> with_interval(0.12894, 0.08, 0.176, "+")
        '+0.1289 [+0.0800, +0.1760]'
    """
    half = (high - low) / 2
    return f"{rounded(value, half, sign)} {between(low, high, half, sign)}"


def shown_ends(metric: str, low: float, high: float) -> tuple[float, float]:
    """Returns the ends of an interval of a mean as they are shown: accuracies within [0, 1], R² at most 1.

    t intervals are symmetric, and go beyond what a metric near its end can be.
    """
    name = without_split(metric)
    least = 0.0 if name in ("accuracy", "balanced_accuracy", "roc_auc") else -math.inf
    most = 1.0 if name == "r2" or least == 0 else math.inf
    return max(least, low), min(most, high)


def sampling_terms(per_example: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the terms whose squares add up to the squared standard error of weighted means over examples.

    It is the error of examples that are drawn anew; with weights of 1 the standard deviation over √n. Terms
    are linear in the scores: those of a difference are the differences of the terms.

    Args:
        per_example: scores, `(…, n)`.
        weights: `(n,)`; NaN are the terms where fewer than two are above 0, which have no spread.
    """
    total, count = float(np.sum(weights)), np.count_nonzero(weights)
    if count < 2:
        return np.full(np.shape(per_example), np.nan)
    centred = per_example - (per_example @ weights / total)[..., None]
    return weights * centred * math.sqrt(count / (count - 1)) / total
