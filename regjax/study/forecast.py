"""The power of a planned sweep, from the variances that a pilot found, with an interval.

`pilot.forecast` makes a `Forecast`, a `Plan` holds it, `regjax plan --detect` prints it. The arithmetic of
power is that of `power`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from regjax.study.power import (
    MOST_ROWS,
    POWER,
    Components,
    Extent,
    Requirement,
    centred,
    needs_in_words,
    power,
    reach_of,
    requirement,
    standard_error,
    two_digits,
)

# What the interval of a pilot's power allows for: a share of pilots whose variance lies outside of its χ²
# interval, and the least ratio of the true variance of a mean over folds to its corrected squared standard
# error. In the simulations of benchmarks/coverage/power.py the interval then holds the power in 90 % or more.
UNSURE, LEAST_RATIO = 0.03, 0.15


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
        head = f"power to show a true difference of {size} in {self.metric}, from {self.pilot}:"
        return "\n".join([head, *(f"  {self._line(chance)}" for chance in self.chances)])

    def _line(self, chance: Chance) -> str:
        """Returns the power for one size of the family in words."""
        many = chance.comparisons
        what = "for the one question" if many == 1 else f"for each of {many:,} comparisons"
        found = [round(100 * share) for share in (chance.power, chance.low, chance.high)]
        line = f"{what}: {found[0]} % (90 % interval: {found[1]} to {found[2]} %)"
        if chance.required is None:
            return line
        needs = needs_in_words(chance.required, self.num_rows) or f"more than {MOST_ROWS} times the rows"
        return f"{line}; {round(100 * POWER)} % needs {needs}"


def chance_of(
    detect: float, found: Sequence[Components], df: float, planned: Extent, comparisons: int, num_rows: int
) -> Chance:
    """Returns the power of a planned sweep by the variances of a pilot's comparisons, with its interval.

    Args:
        detect: true difference.
        found: variance components of the pilot's comparisons; the power is that at their mean.
        df: their degrees of freedom.
        planned: folds, repeats and seeds of the sweep.
        comparisons: size of the family, for which Bonferroni's interval is taken.
        num_rows: samples that are trained and validated on.
    """
    reach, mean = reach_of(comparisons, planned.df), Components(*np.mean(found, axis=0).tolist())
    likely = power(detect, centred(standard_error(mean, planned), df), planned.df, reach)
    low, high = power_between(detect, found, df, planned, reach)
    required = requirement(detect, mean, planned, reach, num_rows) if likely < POWER else None
    return Chance(comparisons, likely, low, high, required)


def power_between(
    detect: float, found: Sequence[Components], df: float, planned: Extent, reach: float
) -> tuple[float, float]:
    """Returns the interval that holds the power of each of a pilot's comparisons in 90 % of pilots.

    It is the union of theirs, since variances differ between comparisons. Each allows for a variance that is
    uncertain, by a χ² over `df`, and for a standard deviation of the mean that is anything between the
    corrected standard error and √`LEAST_RATIO` of it.

    Args:
        detect: true difference.
        found: variance components of the pilot's comparisons.
        df: their degrees of freedom.
        planned: folds, repeats and seeds of the sweep.
        reach: half of the family interval over its standard error.
    """
    from scipy import special

    ends = []
    for part in found:
        for tail in (UNSURE / 2, 1 - UNSURE / 2):
            se = standard_error(part, planned) / math.sqrt(float(special.chdtri(df, tail)) / df)
            sds = (se * math.sqrt(LEAST_RATIO), se)
            ends += [power(detect, se, planned.df, reach, sd) for sd in sds]
    return min(ends), max(ends)
