"""Power of paired comparisons: what this evidence could have shown, and what would show a difference.

Pure functions of numbers. `comparison` calls `requirement` for each line that is not separated, `forecast`
calls `power` before a sweep is trained, and `regjax.plot.power` draws it; docs/power.md says in words what is
assumed, and what simulations found.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from regjax.study.design import Design
from regjax.study.intervals import LEVEL

# The share of sweeps in which a difference that "could have been shown" is shown.
POWER = 0.8
# Quantiles of a standard error over which a power is averaged.
NODES = 96
# Most repeats and seeds that are named, and a number of them that stands for any number.
MOST, ENDLESS = 100, 10**6
# A difference seen that asks for more than so many times the rows is taken for none.
MOST_ROWS = 30


class Components(NamedTuple):
    """Variance components of a paired difference.

    Attributes:
        shared: what more seeds do not reduce: the variance between folds, or on one split the squared
            sampling error of the held-out samples.
        seeds: the variance between seeds of one fold, or of the split.
    """

    shared: float
    seeds: float


class Extent(NamedTuple):
    """How much a sweep has seen: what the standard error of a difference is made of besides variances.

    Attributes:
        kind: unit of evidence, "folds" or "seeds" (of one split).
        folds: folds of one repeat; 1 on one split.
        repeats: how often the samples are cut into folds; 1 on one split.
        seeds: seeds of each fold.
        ratio: samples of a validation part over those of a training part; 0 on one split.
        prior_df: degrees of freedom that a variance gains from those of other comparisons.
        can_repeat: whether more repeats of the folds can be asked for.
    """

    kind: str
    folds: int
    repeats: int
    seeds: int
    ratio: float
    prior_df: float = 0.0
    can_repeat: bool = False

    @property
    def splits(self) -> int:
        """Number of splits, folds × repeats."""
        return self.folds * self.repeats

    @property
    def df(self) -> float:
        """Degrees of freedom of the standard error."""
        return (self.splits if self.kind == "folds" else self.seeds) - 1 + self.prior_df


def extent_of(design: Design) -> Extent:
    """Returns the extent of a sweep; folds that hold every sample out equally often are repeated folds."""
    splits = design.splits
    if splits.kind != "folds":
        return Extent("seeds", 1, 1, len(design.seeds), 0.0)
    num_train = splits.num_train
    if splits.stop is not None:  # without the samples that early stopping watches
        num_train = num_train - np.count_nonzero(splits.stop, axis=1)
    ratio = float(splits.num_val.mean() / num_train.mean())
    held_out = np.count_nonzero(splits.val, axis=0)[np.any(splits.train > 0, axis=0)]
    # Folds that follow time, and random parts, hold some samples out less often: they are not repeated.
    again = held_out.min() == held_out.max()
    repeats = int(held_out[0]) if again else 1
    return Extent("folds", design.num_folds // repeats, repeats, len(design.seeds), ratio, can_repeat=again)


class Requirement(NamedTuple):
    """What a comparison that is not separated could have shown, and what would show the difference seen.

    Attributes:
        detectable: the true difference that is shown with a probability of 80 %.
        repeats: repeats that show the difference seen with 80 %; ∞ where no number of them does, NaN where
            splits are not repeated.
        seeds: seeds that do; ∞ where no number does, NaN where the seeds' variance is not known.
        rows: samples that do, at these folds, repeats and seeds; NaN where nearly no difference was seen.
    """

    detectable: float
    repeats: float
    seeds: float
    rows: float


# -- variances --------------------------------------------------------------------------------------------


def components(differences: np.ndarray) -> Components:
    """Returns the variance components of the differences of each seed and fold, `(seeds, folds)`.

        σ²_seeds = mean over folds of the variance over seeds
        σ²_shared = variance over folds of the mean over seeds - σ²_seeds / S,  at least 0

    With one seed all is shared: the seeds' variance is NaN, and part of the other.

    References:
        Searle, Casella & McCulloch 1992, §3.6 (balanced one-way analysis of variance).
    """
    num_seeds = len(differences)
    total = float(np.var(differences.mean(axis=0), ddof=1))
    if num_seeds < 2:
        return Components(total, math.nan)
    # Never more than what the spread of the folds' means allows, so that both always add up to it.
    seeds = min(float(np.var(differences, axis=0, ddof=1).mean()), total * num_seeds)
    return Components(total - seeds / num_seeds, seeds)


def scaled(found: Components, extent: Extent, se: float) -> Components:
    """Returns components that keep their shares, and give a standard error: of moderated variances."""
    own = standard_error(found, extent)
    factor = (se / own) ** 2 if own > 0 else 1.0
    return Components(found.shared * factor, found.seeds * factor)


def standard_error(found: Components, extent: Extent) -> float:
    """Returns the standard error of a mean difference, √((σ²_shared + σ²_seeds/S) · (1/J + n_val/n_train)).

    On one split J is 1 and the ratio 0.
    """
    seeds = 0.0 if math.isnan(found.seeds) else found.seeds / extent.seeds
    return math.sqrt((found.shared + seeds) * (1 / extent.splits + extent.ratio))


def centred(se: float, df: float) -> float:
    """Returns a standard error that is as often too large as too small: an estimated one is mostly too small.

    Its square is a χ² over df, whose median lies below its mean: with 4 degrees of freedom by 16 %.
    """
    from scipy import special

    return se * math.sqrt(df / float(special.chdtri(df, 0.5)))


# -- power ------------------------------------------------------------------------------------------------


def power(difference: float, se: float, df: float, reach: float, sd: float | None = None) -> float:
    """Returns the probability that the interval of a true difference excludes 0 on its own side.

        P(mean > reach · ŝ),  mean ~ N(difference, sd²),  ŝ² ~ se² χ²(df) / df

    which is the tail of a noncentral t where sd = se: then `scipy.stats.nct.sf(reach, df, difference / se)`.

    Args:
        difference: true difference.
        se: root of the expected squared standard error.
        df: degrees of freedom of the standard error.
        reach: half of the interval over its standard error, of the whole family.
        sd: standard deviation of the mean over data sets; None takes `se`. The corrected standard error of
            folds is rather too large: a power above ½ is then rather too small.

    Returns:
        probability in [0, 1].
    """
    from scipy import special

    spread, weights = _spread_of(df)
    sd = se if sd is None else sd
    # Over the quantiles of ŝ rather than by SciPy's noncentral t, which is NaN far out.
    return float(weights @ special.ndtr((abs(difference) - reach * se * spread) / sd))


@functools.lru_cache(maxsize=4096)
def _spread_of(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns quantiles of √(χ²(df) / df), and their weights (Gauss-Legendre)."""
    from scipy import special

    points, weights = _gauss()
    return np.sqrt(special.chdtri(df, (1 - points) / 2) / df), weights / 2


def detectable(se: float, df: float, reach: float, share: float = POWER) -> float:
    """Returns the true difference that a comparison shows with a probability of `share`; see `power`."""
    return _noncentrality(df, float(f"{reach:.9g}"), share) * se


@functools.cache
def _gauss() -> tuple[np.ndarray, np.ndarray]:
    """Returns points of (-1, 1) and their weights, which sum to 2."""
    return np.polynomial.legendre.leggauss(NODES)


@functools.lru_cache(maxsize=4096)
def _noncentrality(df: float, reach: float, share: float) -> float:
    """Returns the true difference in standard errors at which the power is `share`."""
    from scipy import optimize

    high = 2 * reach + 4
    while power(high, 1.0, df, reach) < share:
        high *= 2
    found: Any = optimize.brentq(lambda ratio: power(ratio, 1.0, df, reach) - share, 0.0, high, xtol=1e-12)
    return float(found)


@functools.lru_cache(maxsize=2**16)
def _noncentrality_of(num: float, df: float, share: float) -> float:
    """Returns `_noncentrality` for a family of `num` comparisons."""
    return _noncentrality(df, reach_of(num, df), share)


def comparisons_of(reach: float, df: float) -> float:
    """Returns the number of independent comparisons whose Bonferroni interval reaches as far, at least 1."""
    from scipy import special

    return max(1.0, (1 - LEVEL) / (2 * float(special.stdtr(df, -reach))))


def reach_of(num: float, df: float) -> float:
    """Returns how far a family interval of `num` comparisons reaches, in standard errors."""
    from scipy import special

    return -float(special.stdtrit(df, (1 - LEVEL) / (2 * num)))


# -- what it would take -----------------------------------------------------------------------------------


def requirement(
    seen: float,
    found: Components,
    extent: Extent,
    reach: float,
    num_rows: int,
    share: float = POWER,
) -> Requirement:
    """Returns what a comparison could have shown, and what would show the difference seen.

    Repeats and seeds change the standard error and its degrees of freedom, and with these the reach of the
    family, as Bonferroni's of as many comparisons as reach as far today. Of rows it is assumed that all
    variances fall with 1/n at fixed shares of validation, and that the difference stays as it is. Variances
    are taken as `centred` has them.

    Args:
        seen: difference that was seen.
        found: its variance components.
        extent: folds, repeats and seeds that it was seen on.
        reach: half of its family interval over its standard error.
        num_rows: samples that were trained and validated on.
        share: the power wanted, in (0, 1).
    """
    se = centred(standard_error(found, extent), extent.df)
    found, shown = scaled(found, extent, se), detectable(se, extent.df, reach, share)
    factor = (shown / seen) ** 2 if seen != 0 else math.inf
    if factor > MOST_ROWS:
        return Requirement(shown, math.nan, math.nan, math.nan)
    # Rounded: the lines of a family, whose reach is one up to rounding, share what is cached.
    num = float(f"{comparisons_of(reach, extent.df):.9g}")

    def enough(**changed: int) -> bool:
        more = extent._replace(**changed)
        return abs(seen) >= _noncentrality_of(num, more.df, share) * standard_error(found, more)

    repeats = seeds = math.nan
    if extent.can_repeat:
        repeats = _least(lambda count: enough(repeats=count), extent.repeats)
    if not math.isnan(found.seeds):
        seeds = _least(lambda count: enough(seeds=count), extent.seeds)
    return Requirement(shown, repeats, seeds, num_rows * factor)


def _least(enough: Callable[[int], bool], first: int) -> float:
    """Returns the least number above `first` that is enough, infinity where no number is."""
    if not enough(ENDLESS):
        return math.inf
    low, high = first, ENDLESS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def needs_in_words(found: Requirement, num_rows: int) -> str:
    """Returns what would show the difference seen, "" where none was: "12 repeats or about 900 rows"."""
    if math.isnan(found.rows):
        return ""
    ways = (("repeats", found.repeats), ("seeds", found.seeds))
    few = [f"{count:.0f} {name}" for name, count in ways if count <= MOST]
    enough = [*few, *(f"more than {MOST} {name}" for name, count in ways if MOST < count < math.inf)]
    rows = f"about {two_digits(found.rows)} rows in place of {num_rows:,}"
    if enough:
        return " or ".join([*enough, rows])
    none = [name for name, count in ways if count == math.inf]
    return rows + (f" (no number of {' or '.join(none)})" if none else "")


def in_words(could: float, seen: float, needs: str) -> str:
    """Returns the sentence of a comparison that is not separated.

    Args:
        could: the detectable difference.
        seen: the difference that was seen.
        needs: what would show it, as `needs_in_words` says it.

    Example:
        >>> from regjax.study.power import in_words
        >>> in_words(0.0312, -0.024, "7 repeats or about 410 rows in place of 211")[:52]
        'could have shown 0.031 (80 % power); the 0.024 seen '
    """
    words = f"could have shown {two_digits(could)} ({round(100 * POWER)} % power)"
    return f"{words}; the {two_digits(abs(seen))} seen needs {needs}" if needs else words


def two_digits(value: float) -> str:
    """Returns a number in two significant digits, without an exponent where it is not tiny or huge."""
    rounded = float(f"{value:.1e}")
    return f"{rounded:,.0f}" if 10 <= rounded < 1e9 else f"{rounded:.2g}"
