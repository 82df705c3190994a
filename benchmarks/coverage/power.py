"""What `regjax.study.power` and `regjax.study.pilot` say, against simulated sweeps of 160 samples.

The baseline stands beside a penalty whose strength per sample is the same for all numbers of rows, and beside
dropout; each data set is another one.

- Power: a true difference is put on by shifting the differences of all data sets, up in one count and down in
  the other. What is predicted knows the true variances: those of the other half of the data sets.
- Pilots: one of each data set; how often the interval of the power holds the simulated power.
- Detectable: the simulated power at the difference that a typical sweep says it could have shown.
- Repeats and rows: what is predicted from one repeat and 40 rows, and what is found on more of them.
- One split: the same against each split's own difference, from fresh samples and other seeds.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import RepeatedStratifiedKFold

import regjax
from benchmarks.coverage.common import CONFIG, LEARNING_RATE, Part, Rate, draw, rate
from regjax.study import power as of
from regjax.study.forecast import power_between
from regjax.study.power import Extent

ROWS, FEWER = 160, (40, 80)
FOLDS, REPEATS, SEEDS = 5, 10, 2
SPLIT_SEEDS, OTHER_SEEDS, HELD_OUT, FRESH = 8, 16, 0.3, 2048
METRICS = ("val_loss", "val_accuracy")
ARMS = ("penalty", "dropout")
# Sizes of the family, and the powers that are asked about.
FAMILIES, TARGETS = (1, 19), (0.2, 0.5, 0.8)
# Data sets of different scale: as many quantiles of a lognormal distribution.
SCALES = 15


def grid(rows: int) -> list[dict[str, float]]:
    """Returns the baseline, and the arms that it is compared with on so many rows."""
    arms: list[dict[str, float]] = [{}, {"l2": 0.075 * rows}, {"keep_prob": 0.7}]
    return [arm | {"learning_rate": LEARNING_RATE} for arm in arms]


def train(data: Any, rows: int, first: int, count: int, **options: Any) -> regjax.Results:
    """Returns a sweep of the arms with the seeds `first`, …, `first + count - 1`."""
    options = {"progress": False, "keep": "none"} | options
    return regjax.sweep(data, CONFIG, grid(rows), seeds=range(first, first + count), **options)


def fold_differences(sweeps: int, rows: int, repeats: int) -> np.ndarray:
    """Returns differences to the baseline, `(sweeps, metrics, arms, seeds, folds × repeats)`."""
    found = np.empty((sweeps, len(METRICS), len(ARMS), SEEDS, FOLDS * repeats))
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=0)
    for index in range(sweeps):
        results = train(draw(31, rows, index, samples=rows), rows, index * SEEDS, SEEDS, folds=folds)
        for place, metric in enumerate(METRICS):
            table = results.table(metric)
            found[index, place] = table[1:] - table[0]
    return found


class Sample(NamedTuple):
    """Errors of mean differences, from the truth, and squared standard errors, `(sweeps, arms)` each."""

    errors: np.ndarray
    squares: np.ndarray
    extent: Extent

    def part(self, chosen: slice, arm: int) -> Sample:
        """Returns some sweeps of one arm, `(sweeps,)` each."""
        return Sample(self.errors[chosen, arm], self.squares[chosen, arm], self.extent)


def sample_of(differences: np.ndarray, repeats: int) -> Sample:
    """Returns the sample on the first repeats; differences `(sweeps, arms, seeds, folds × repeats)`."""
    extent = Extent("folds", FOLDS, repeats, SEEDS, 1 / (FOLDS - 1), can_repeat=True)
    folds = differences[..., : FOLDS * repeats].mean(axis=2)
    means = folds.mean(axis=-1)
    squares = folds.var(axis=-1, ddof=1) * (1 / extent.splits + extent.ratio)
    return Sample(means - means.mean(axis=0), squares, extent)


def split_sample(sweeps: int) -> list[Sample]:
    """Returns the samples of sweeps on one split each, per metric; the truth is that of each split."""
    found = np.empty((2, len(METRICS), sweeps, len(ARMS)))
    for index in range(sweeps):
        data, test = draw(33, index, samples=ROWS), draw(32, index, samples=FRESH)
        first = index * (SPLIT_SEEDS + OTHER_SEEDS)
        results = train(data, ROWS, first, SPLIT_SEEDS, validation=HELD_OUT)
        others = train(data, ROWS, first + SPLIT_SEEDS, OTHER_SEEDS, validation=HELD_OUT, test=test)
        for place, metric in enumerate(METRICS):
            fresh = others.table(metric.replace("val", "test"))[:, :, 0].mean(axis=1)
            table = results.compare({"l2": 0, "keep_prob": 1}, metric=metric).table
            found[0, place, index] = table["difference"].to_numpy(float) - (fresh[1:] - fresh[0])
            found[1, place, index] = table["se"] ** 2 + table["sampling_se"] ** 2
    extent = Extent("seeds", 1, 1, SPLIT_SEEDS, 0.0)
    return [Sample(errors, np.nan_to_num(squares), extent) for errors, squares in zip(*found, strict=True)]


# -- power ------------------------------------------------------------------------------------------------


def shown(sample: Sample, difference: float, reach: float) -> np.ndarray:
    """Returns the share of both directions in which each sweep shows a true difference, `(sweeps,)`.

    A sweep whose differences have no spread has no interval, and shows nothing.
    """
    errors = np.where(sample.squares > 1e-20, np.sqrt(sample.squares), np.inf)
    up, down = (sample.errors + difference) / errors > reach, (difference - sample.errors) / errors > reach
    return (up.astype(float) + down) / 2


def predicted(sample: Sample, difference: float, reach: float) -> float:
    """Returns the power by the true variances: of the mean, and of the standard errors.

    Squared standard errors of data sets differ by more than a χ² does: the rest is taken for a scale of each
    data set, lognormal, by which its mean spreads too.
    """
    expected, spread = float(sample.squares.mean()), float(sample.squares.var(ddof=1))
    ratio = math.sqrt(float(sample.errors.var(ddof=1)) / expected)
    own = (1 + spread / expected**2) / (1 + 2 / sample.extent.df) - 1
    log_spread = math.sqrt(math.log1p(max(own, 0.0)))
    points, weights = np.polynomial.hermite_e.hermegauss(SCALES)
    scales = np.exp(log_spread * points - log_spread**2 / 2)
    each = []
    for scale in scales:
        se = math.sqrt(expected * scale)
        each.append(of.power(difference, se, sample.extent.df, reach, ratio * se))
    return float(weights @ each / weights.sum())


def solved(rises: Any, target: float, largest: float) -> float:
    """Returns where a function that rises from 0 reaches a target, by halving."""
    low, high = 0.0, largest
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < target else (low, middle)
    return high


def share(claim: str, asked: str, hits: Any) -> Rate:
    """Returns the rate of hits or of halves of them, one trial each, with its binomial interval."""
    count = round(float(np.sum(hits)))
    return rate(claim.replace("%", " %"), asked.replace("%", " %"), np.arange(len(hits)) < count)


def worst_of(claim: str, asked: str, cases: dict[str, np.ndarray], wanted: float) -> list[Rate]:
    """Returns the rate of the mean of all cases, and that of the case farthest from what is wanted."""
    far = max(cases, key=lambda name: abs(float(cases[name].mean()) - wanted))
    mean = np.mean([float(hits.mean()) for hits in cases.values()])
    of_mean = share(f"{claim}, mean", asked, np.full(len(cases[far]), mean))
    return [of_mean, share(f"  {claim}, {far}", asked, cases[far])]


CASES = [(arm, family) for arm in range(len(ARMS)) for family in FAMILIES]


def power_rates(name: str, sample: Sample) -> list[Rate]:
    """Returns how often a difference of predicted power 20, 50 and 80 % is shown, over arms and families.

    Half of the data sets says how large that difference is; it is counted in the other half.
    """
    half = len(sample.errors) // 2
    halves, found = (slice(half), slice(half, None)), []
    for target in TARGETS:
        cases = {}
        for arm, family in CASES:
            reach, hits = of.reach_of(family, sample.extent.df), []
            for one, other in (halves, halves[::-1]):
                known = sample.part(one, arm)
                largest = 100 * math.sqrt(float(known.squares.mean()))
                wanted = solved(lambda d, k=known, r=reach: predicted(k, d, r), target, largest)
                hits.append(shown(sample.part(other, arm), wanted, reach))
            cases[f"{ARMS[arm]}, family of {family}"] = np.concatenate(hits)
        asked = f"{target - 0.05:.0%} to {target + 0.05:.0%}"
        found += worst_of(f"power of {target:.0%}, {name}", asked, cases, target)
    return found


def detectable_rates(name: str, sample: Sample) -> list[Rate]:
    """Returns the simulated power at the median of what sweeps say they could have shown with 80 %."""
    cases = {}
    for arm, family in CASES:
        reach, own = of.reach_of(family, sample.extent.df), sample.part(slice(None), arm)
        typical = of.centred(math.sqrt(float(np.median(own.squares))), sample.extent.df)
        could = of.detectable(typical, sample.extent.df, reach)
        cases[f"{ARMS[arm]}, family of {family}"] = shown(own, could, reach)
    return worst_of(f"could have shown, {name}", "about 80%", cases, 1.0)


# -- pilots and requirements ------------------------------------------------------------------------------


def pilot_rates(name: str, differences: np.ndarray, planned: Sample) -> list[Rate]:
    """Returns how often the interval of a pilot holds the simulated power of each arm.

    The pilot has one repeat of the folds, and compares both arms or that arm alone; differences as in
    `sample_of`.
    """
    pilots = [[of.components(d[:, :FOLDS]) for d in arms] for arms in differences]
    cases = {}
    for target in (*TARGETS, 0.95):
        for arm, family in CASES:
            reach, own = of.reach_of(family, planned.extent.df), planned.part(slice(None), arm)
            largest = 100 * math.sqrt(float(own.squares.mean()))
            wanted = solved(lambda d, o=own, r=reach: float(shown(o, d, r).mean()), target, largest)
            true = float(shown(own, wanted, reach).mean())
            for words, parts in (("", slice(None)), (" alone", slice(arm, arm + 1))):
                chosen = [[c for c in pilot[parts] if c.shared + c.seeds > 0] for pilot in pilots]
                ends = [power_between(wanted, c, FOLDS - 1, planned.extent, reach) for c in chosen if c]
                hits = np.array([low <= true <= high for low, high in ends], float)
                cases[f"{ARMS[arm]}{words}, family of {family}, power of {target:.0%}"] = hits
    return worst_of(f"pilot's interval holds the power, {name}", "at least 90%", cases, 1.0)


def ratio(claim: str, found: np.ndarray, wanted: np.ndarray) -> Rate:
    """Returns a mean standard error over the one predicted from other sweeps, with its 95 % interval."""
    squares = found.mean() / wanted.mean()
    error = math.sqrt(sum((v.std(ddof=1) / v.mean()) ** 2 / len(v) for v in (found, wanted)))
    ends = [math.sqrt(squares) * math.exp(sign * 0.98 * error) for sign in (-1, 1)]
    return Rate(claim, "about 100 %", math.sqrt(squares), ends[0], ends[1], len(found))


def needs_rates(metric: str, differences: np.ndarray, fewer: dict[int, np.ndarray]) -> list[Rate]:
    """Returns standard errors on more repeats and rows, over those predicted from fewer."""
    found, place = [], METRICS.index(metric)
    one, many = (sample_of(differences, repeats) for repeats in (1, REPEATS))
    for arm, name in enumerate(ARMS):
        parts = [of.components(d[arm, :, :FOLDS]) for d in differences]
        wanted = np.array([of.standard_error(part, many.extent) ** 2 for part in parts])
        claim = f"standard error, {REPEATS} repeats over predicted, {name}, {metric}"
        found.append(ratio(claim, many.squares[:, arm], wanted))
        few = sample_of(fewer[min(fewer)][:, place], 1).squares[:, arm]
        for rows in (*sorted(fewer)[1:], ROWS):
            own = one if rows == ROWS else sample_of(fewer[rows][:, place], 1)
            claim = f"standard error, {rows} rows over predicted from {min(fewer)}, {name}, {metric}"
            found.append(ratio(claim, own.squares[:, arm], few * min(fewer) / rows))
    return found


def part(sweeps: int) -> Part:
    """Returns all claims, of `sweeps` data sets each, at least 4: two halves with a spread."""
    sweeps = max(4, sweeps)
    many = fold_differences(sweeps, ROWS, REPEATS)
    fewer = {rows: fold_differences(sweeps, rows, 1) for rows in FEWER}
    return Part(claims(many, fewer, split_sample(sweeps)), [], [])


def claims(many: np.ndarray, fewer: dict[int, np.ndarray], split: list[Sample]) -> list[Rate]:
    """Returns the claims of differences that are trained already."""
    found = []
    for place, metric in enumerate(METRICS):
        for repeats in (1, REPEATS):
            name = f"{FOLDS} folds × {repeats} × {SEEDS} seeds, {metric}"
            sample = sample_of(many[:, place], repeats)
            found += power_rates(name, sample) + detectable_rates(name, sample)
            found += pilot_rates(name, many[:, place], sample)
        name = f"one split × {SPLIT_SEEDS} seeds, {metric}"
        found += power_rates(name, split[place]) + detectable_rates(name, split[place])
        found += needs_rates(metric, many[:, place], fewer)
    return found
