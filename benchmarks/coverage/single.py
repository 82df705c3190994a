"""Intervals of one difference, over seeds and over folds, and the choices of both rules.

- Seed intervals: on a few fixed splits, many sweeps of 8 seeds of their own. The truth is the mean over
  thousands of other seeds on the same split.
- Fold intervals: sweeps of 5 folds × 2 seeds, each on a data set of its own. The truth is the mean
  difference on fresh samples, of the networks of as many other data sets' folds.
- The rules "mean" and "one_se": what each chose in the sweeps over folds, on fresh samples.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

import regjax
from benchmarks.coverage.common import (
    FOLDS,
    FRESH_SAMPLES,
    L2,
    LEARNING_RATE,
    METRICS,
    PER_FOLD,
    SEEDS,
    SPLIT,
    Part,
    Rate,
    differences,
    draw,
    mean,
    rate,
    sweep,
    together,
)

SPLITS = 25
# The first configuration is the baseline.
FEW = {"l2": [0.0, 0.3, 3.0], "keep_prob": [1.0, 0.7]}


def part(sweeps: int) -> Part:
    """Returns what the intervals of one difference hold, and what the rules chose."""
    seeds, seeds_note = seed_intervals(sweeps)
    folds, chosen, folds_note = fold_intervals(sweeps)
    return Part([*seeds, *folds], [seeds_note, folds_note], chosen)


class Coverage:
    """Counts, per metric and configuration, which intervals contain the truth.

    An interval that regjax does not give ("no spread") is neither a hit nor a miss: it is not counted.
    """

    def __init__(self) -> None:
        self.inside: dict[str, list[np.ndarray]] = defaultdict(list)
        self.names: list[str] = []

    def add(self, found: regjax.Results, metric: str, truth: np.ndarray) -> None:
        """Counts a sweep's intervals; truth: as `differences`."""
        table = found.compare(metric=metric).table
        low, high = np.array(table["low"]), np.array(table["high"])
        inside = (low <= truth) & (truth <= high)
        self.inside[metric].append(np.where(np.isnan(low), np.nan, inside))
        self.names = [name.removesuffix(f", learning_rate={LEARNING_RATE:g}") for name in table["name"]]

    def rates(self, claim: str, asked: str) -> list[Rate]:
        """Returns a rate per metric of all intervals together, and one per metric and configuration."""
        found = []
        for metric, of_sweeps in self.inside.items():
            inside = np.array(of_sweeps)
            found.append(together(f"{claim}, {metric}", asked, inside))
            for name, column in zip(self.names, inside.T, strict=True):
                found.append(rate(f"  {name}", "", column[~np.isnan(column)]))
        return found


def seed_intervals(sweeps: int) -> tuple[list[Rate], str]:
    """Returns how often the interval over seeds contains the mean over all seeds of its split."""
    splits, coverage = min(SPLITS, sweeps), Coverage()
    # The truth's own error adds SEEDS / known to the variance: 0.4 % at full size.
    known = 2 * sweeps
    for split in range(splits):
        data = draw(1, split)
        found = sweep(data, FEW, first=0, count=known, **SPLIT)
        truth = {metric: differences(found, metric) for metric in METRICS}
        for index in range(split, sweeps, splits):
            found = sweep(data, FEW, first=known + index * SEEDS, count=SEEDS, **SPLIT)
            for metric in METRICS:
                coverage.add(found, metric, truth[metric])
    note = f"seed intervals: {splits} splits, truth over {known:,} other seeds of each"
    return coverage.rates(f"{SEEDS} seeds, one split", "93 to 97 %"), note


def fold_intervals(sweeps: int) -> tuple[list[Rate], list[dict[str, Any]], str]:
    """Returns how often the interval over folds contains the expected difference; and the `choices`."""
    coverage, chosen = Coverage(), defaultdict(list)
    fresh = defaultdict(list)
    for index in range(sweeps):
        test = draw(3, index, samples=FRESH_SAMPLES)
        found = sweep(draw(2, index), L2, first=index, count=1, folds=FOLDS, test=test)
        for metric in METRICS:
            fresh[metric].append(differences(found, metric.replace("val", "test")))
    truth = {metric: np.mean(found, axis=0) for metric, found in fresh.items()}
    for index in range(sweeps):
        first = sweeps + index * PER_FOLD
        test = draw(5, index, samples=FRESH_SAMPLES)
        found = sweep(draw(4, index), L2, first=first, count=PER_FOLD, folds=FOLDS, test=test)
        for metric in METRICS:
            coverage.add(found, metric, truth[metric])
            chosen[metric].append(choices(found, metric))
    errors = [f"{np.max(np.std(found, axis=0)) / sweeps**0.5:.4f} ({m})" for m, found in fresh.items()]
    note = f"fold intervals: truth over {sweeps:,} other data sets, standard error {', '.join(errors)}"
    rates = coverage.rates(f"{FOLDS} folds × {PER_FOLD} seeds", "at least 93 %")
    return rates, [summarise(metric, found) for metric, found in chosen.items()], note


def choices(found: regjax.Results, metric: str) -> dict[str, float]:
    """Returns the choices of both rules in a sweep, with their validation, corrected and fresh means."""
    fresh = found.units(metric.replace("val", "test")).mean(axis=1)
    entry = {f"fresh {index}": float(value) for index, value in enumerate(fresh)}
    for rule in ("mean", "one_se"):
        choice = found.best(metric, rule)
        assert choice.corrected is not None
        entry |= {f"{rule} index": choice.index, f"{rule} fresh": fresh[choice.index]}
        entry |= {f"{rule} validation": choice.validation, f"{rule} corrected": choice.corrected}
    # What validation is off by where nothing is chosen: small stratified folds have the labels' shares of
    # their training part, fresh samples have not.
    return entry | {"validation": float(found.units(metric).mean()), "fresh": float(fresh.mean())}


def summarise(metric: str, found: list[dict[str, float]]) -> dict[str, Any]:
    """Returns means over sweeps with their standard errors, "mean" and "se" each."""
    of = {name: np.array([choice[name] for choice in found]) for name in found[0]}

    result: dict[str, Any] = {"metric": metric}
    for rule in ("mean", "one_se"):
        fresh, index = of[f"{rule} fresh"], of[f"{rule} index"].astype(int)
        result[f"fresh, rule {rule}"] = mean(fresh)
        result[f"validation - fresh, rule {rule}"] = mean(of[f"{rule} validation"] - fresh)
        result[f"corrected - fresh, rule {rule}"] = mean(of[f"{rule} corrected"] - fresh)
        result[f"l2 by rule {rule}"] = {f"{l2:g}": int(np.sum(index == i)) for i, l2 in enumerate(L2["l2"])}
    result["validation - fresh, all configurations"] = mean(of["validation"] - of["fresh"])
    result["fresh, one_se - mean"] = mean(of["one_se fresh"] - of["mean fresh"])
    result["share of sweeps in which both agree"] = float(np.mean(of["mean index"] == of["one_se index"]))
    for index, l2 in enumerate(L2["l2"]):
        result[f"fresh, l2={l2:g} always"] = mean(of[f"fresh {index}"])
    return result
