"""Power of paired comparisons: what this evidence could have shown, and what would show a difference.

Pure functions of numbers. `comparison` calls `requirement` for each line that is not separated, `pilot` calls
`power_between` before a sweep is trained, and `regjax.plot.power` draws both; docs/power.md says in words what
is assumed, and what simulations found.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from regjax.study.design import Design
from regjax.study.intervals import LEVEL

# The share of sweeps in which a difference that "could have been shown" is shown.
POWER = 0.8
# Most repeats and seeds that are named; what more of them would show is not worth their time.
MOST = 100
# A share of pilots whose interval of the power need not hold it, and the least ratio of the true variance of a
# mean over folds to that of its corrected standard error; benchmarks/coverage_power.py measures both.
UNSURE, LEAST_RATIO = 0.1, 0.2
# A difference seen that asks for more than so many times the rows is taken for none.
MOST_ROWS = 100


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


class Pilot(NamedTuple):
    """What a pilot found: variance components, and their degrees of freedom."""

    components: Components
    df: float


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


# -- power ------------------------------------------------------------------------------------------------


def power(difference: float, se: float, df: float, reach: float, sd: float | None = None) -> float:
    """Returns the probability that the interval of a true difference excludes 0 on its own side.

    The mean is normal with standard deviation `sd`, its standard error² a χ² over df around se², so that the
    mean over its standard error is a noncentral t, scaled by sd / se.

    Args:
        difference: true difference.
        se: root of the expected squared standard error.
        df: degrees of freedom of the standard error.
        reach: half of the interval over its standard error, of the whole family.
        sd: standard deviation of the mean over data sets; None takes `se`, and the corrected standard error of
            folds, which is rather too large, then gives rather too little power.

    Returns:
        probability in [0, 1].
    """
    from scipy import special  # as scipy.stats.nct, a hundred times as fast for one number

    sd = se if sd is None else sd
    return float(1 - special.nctdtr(df, abs(difference) / sd, reach * se / sd))


def detectable(se: float, df: float, reach: float, share: float = POWER) -> float:
    """Returns the true difference that a comparison shows with a probability of `share`; see `power`."""
    return _noncentrality(df, reach, share) * se


@functools.lru_cache(maxsize=4096)
def _noncentrality(df: float, reach: float, share: float) -> float:
    """Returns the true difference in standard errors at which the power is `share`."""
    low, high = 0.0, 2 * reach + 4
    while power(high, 1.0, df, reach) < share:
        low, high = high, 2 * high
    for _ in range(60):  # the power rises with the difference: halved until the last bit
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, 1.0, df, reach) < share else (low, middle)
    return high


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
    variances fall with 1/n at fixed shares of validation, and that the difference stays as it is.

    Args:
        seen: difference that was seen.
        found: its variance components.
        extent: folds, repeats and seeds that it was seen on.
        reach: half of its family interval over its standard error.
        num_rows: samples that were trained and validated on.
        share: the power wanted, in (0, 1).
    """
    shown = detectable(standard_error(found, extent), extent.df, reach, share)
    factor = (shown / seen) ** 2 if seen != 0 else math.inf
    if factor > MOST_ROWS:
        return Requirement(shown, math.nan, math.nan, math.nan)
    num = comparisons_of(reach, extent.df)

    def enough(**changed: int) -> bool:
        more = extent._replace(**changed)
        return power(seen, standard_error(found, more), more.df, reach_of(num, more.df)) >= share

    repeats = seeds = math.nan
    if extent.can_repeat:
        repeats = _least(lambda count: enough(repeats=count), extent.repeats)
    if not math.isnan(found.seeds):
        seeds = _least(lambda count: enough(seeds=count), extent.seeds)
    return Requirement(shown, repeats, seeds, num_rows * factor)


def _least(enough: Callable[[int], bool], first: int) -> float:
    """Returns the least number above `first` that is enough, infinity where `MOST` are not."""
    if first >= MOST or not enough(MOST):
        return math.inf
    low, high = first, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def needs_in_words(found: Requirement, extent: Extent, num_rows: int) -> str:
    """Returns what would show the difference seen: "12 repeats, or about 900 rows"; "" where none was seen."""
    if math.isnan(found.rows):
        return ""
    ways = [(found.repeats, "repeats"), (found.seeds, "seeds")]
    words = [f"{int(count)} {name}" for count, name in ways if math.isfinite(count)]
    rows = f"about {two_digits(found.rows)} rows in place of {num_rows:,}"
    if words:
        return " or ".join([*words, rows])
    none = [name for count, name in ways if count == math.inf]
    return rows + (f" (no number of {' or '.join(none)})" if none else "")


def in_words(found: Requirement, seen: float, extent: Extent, num_rows: int) -> str:
    """Returns the sentence of a comparison that is not separated.

    Example:
        >>> from regjax.study.power import Extent, Requirement, in_words
        >>> found = Requirement(detectable=0.0312, repeats=math.inf, seeds=math.nan, rows=1426.3)
        >>> in_words(found, -0.012, Extent("folds", 5, 1, 1, 0.25), 211)
        'could have shown 0.031 (80 % power); the 0.012 seen needs about 1,400 rows in place of 211 (no number of repeats)'
    """
    could = f"could have shown {two_digits(found.detectable)} ({POWER:.0%} power)".replace("%", " %")
    needs = needs_in_words(found, extent, num_rows)
    return f"{could}; the {two_digits(abs(seen))} seen needs {needs}" if needs else could


def two_digits(value: float) -> str:
    """Returns a number in two significant digits, without an exponent where it is not tiny or huge."""
    rounded = float(f"{value:.1e}")
    return f"{rounded:,.0f}" if 10 <= rounded < 1e9 else f"{rounded:.2g}"


# -- before a sweep is trained ----------------------------------------------------------------------------


class Chance(NamedTuple):
    """The power of a planned sweep for one of so many comparisons.

    Attributes:
        comparisons: number of comparisons of the family; 1 is the one question.
        power: the power at the variance that the pilot found.
        low: lower end of the interval that holds the power in 90 % of pilots.
        high: its upper end.
        required: what would reach 80 %; None where the plan does.
    """

    comparisons: int
    power: float
    low: float
    high: float
    required: Requirement | None


class Forecast(NamedTuple):
    """What a planned sweep can show, from a pilot; `str(forecast)` says it in words.

    Attributes:
        detect: the true difference that is asked about.
        metric: the validation metric.
        pilot: networks of the pilot, and what they are, in words.
        extent: folds, repeats and seeds of the planned sweep.
        num_rows: samples that are trained and validated on.
        chances: the power for the one question, and for the family.
    """

    detect: float
    metric: str
    pilot: str
    extent: Extent
    num_rows: int
    chances: tuple[Chance, ...]

    def __str__(self) -> str:
        size = two_digits(self.detect)
        lines = [f"power to show a true difference of {size} in {self.metric}, from {self.pilot}:"]
        for chance in self.chances:
            many = chance.comparisons
            what = "for the one question" if many == 1 else f"for each of {many:,} comparisons"
            between = f"{chance.low:.0%} to {chance.high:.0%}"
            line = f"  {what}: {chance.power:.0%} (90% interval: {between})"
            if chance.required is not None:
                needs = needs_in_words(chance.required, self.extent, self.num_rows)
                line += f"; 80% needs {needs or f'more than {MOST_ROWS} times the rows'}"
            lines.append(line.replace("%", " %"))
        return "\n".join(lines)


def make_chance(detect: float, pilot: Pilot, planned: Extent, comparisons: int, num_rows: int) -> Chance:
    """Returns the power of a planned sweep by the variances of a pilot, with its interval.

    The pilot's variance is uncertain by a χ² over its degrees of freedom. So is the ratio of the true variance
    of the mean to that of the corrected standard error, which holds for the folds' correlation on average and
    is rather too large: the interval takes ratios from `LEAST_RATIO` to 1.

    Args:
        detect: true difference.
        pilot: its components, and its degrees of freedom.
        planned: folds, repeats and seeds of the sweep.
        comparisons: size of the family, for which Bonferroni's interval is taken.
        num_rows: samples that are trained and validated on.
    """
    from scipy import special

    se, df = standard_error(pilot.components, planned), planned.df
    reach = reach_of(comparisons, df)
    ends = [special.chdtri(pilot.df, share) / pilot.df for share in (UNSURE / 2, 1 - UNSURE / 2)]
    found = []
    for factor in ends:
        own = se / math.sqrt(factor)
        found += [power(detect, own, df, reach, own * math.sqrt(ratio)) for ratio in (LEAST_RATIO, 1.0)]
    likely = power(detect, se, df, reach)
    required = None
    if likely < POWER:
        required = requirement(detect, pilot.components, planned, reach, num_rows)
    return Chance(comparisons, likely, min(found), max(found), required)
