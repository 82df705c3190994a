"""The one question and repeated folds: what choosing is said to gain, against what it gains on fresh samples.

- Nothing can help, as in `families`: how often the one question says "helps". The networks among which a fold
  is chosen for have seen it in training; on coins the mean difference, which should be 0, measures that leak.
- Coverage: the truth is the mean difference on fresh samples of what other data sets' folds chose.
- Repeats: coverage of single differences, and the width of their intervals against the number of repeats.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from benchmarks.coverage.common import (
    FOLDS,
    FRESH_SAMPLES,
    L2,
    MANY,
    METRICS,
    PER_FOLD,
    Part,
    Rate,
    differences,
    draw,
    mean,
    rate,
    sweep,
    together,
)

# Values of b1, which "sgd" does not read, and a grid of true regularisers for few samples.
CHANCE = {"b1": [0.9, *np.linspace(0.1, 0.8, 16).tolist()]}
MANY_OF_FEW = {"l2": [0.0, 0.1, 0.3, 1.0], "keep_prob": [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]}
FEW: dict[str, Any] = {"coins": True, "samples": 30}
REPEATS = (1, 2, 3, 5, 10, 20, 50)
# Of sweeps that ask for many folds, one in so many is trained.
FEWER = 10


def part(sweeps: int) -> Part:
    """Returns the rates of the one question and of repeats."""
    false, leaks = false_answers(sweeps)
    covered, note = coverage(sweeps)
    repeated, widths = repeats(max(2, sweeps // FEWER))
    return Part([*false, *covered, *repeated], [note], [leaks, widths])


def false_answers(sweeps: int) -> tuple[list[Rate], dict[str, Any]]:
    """Returns how often choosing is said to help where nothing can, and the mean difference found."""
    fewer, repeated = max(2, sweeps // FEWER), {"folds": FOLDS, "repeats": 10}
    cases: list[tuple[str, int, dict[str, Any], dict[str, Any]]] = [
        ("17 by chance, 5 folds", sweeps, {}, {"axes": CHANCE, "pairing": "independent", "folds": FOLDS}),
        ("16 on coins, 5 folds", sweeps, {"coins": True}, {"axes": MANY, "folds": FOLDS}),
        ("32 on 30 coins, 5 folds", sweeps, FEW, {"axes": MANY_OF_FEW, "folds": FOLDS}),
        ("16 on coins, 5 folds × 10 repeats", fewer, {"coins": True}, {"axes": MANY} | repeated),
    ]  # fmt: skip
    rates, leaks = [], {}
    for stream, (name, count, drawn, options) in enumerate(cases):
        metrics = METRICS[1:] if drawn else METRICS
        baseline = {"b1": 0.9} if "pairing" in options else None
        hits, gains = defaultdict(list), defaultdict(list)
        for index in range(count):
            found = sweep(draw(10, stream, index, **drawn), first=index, count=1, **options)
            for metric in metrics:
                answer = found.compare_choice(baseline, metric=metric)
                hits[metric].append(answer.verdict == "helps")
                gains[metric].append(answer.difference)
        for metric, found in hits.items():
            rates.append(rate(f"one question, {name}, {metric}: helps", "at most 5 %", found))
            leaks[f"one question where nothing helps, {name}, {metric}"] = mean(np.array(gains[metric]))
    return rates, leaks


def coverage(sweeps: int) -> tuple[list[Rate], str]:
    """Returns how often the interval of the one question holds what choosing gains on fresh samples."""
    rates = []
    for samples in (40, 120):
        inside: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for index in range(sweeps):
            test = draw(12, samples, index, samples=FRESH_SAMPLES)
            data = draw(11, samples, index, samples=samples)
            found = sweep(data, L2, first=index * PER_FOLD, count=PER_FOLD, folds=FOLDS, test=test)
            for metric in METRICS:
                answer = found.compare_choice(metric=metric)
                fresh = found.units(metric.replace("val", "test"))
                folds = np.arange(FOLDS)
                gain = np.mean(fresh[answer.chosen, folds] - fresh[answer.against, folds])
                inside[metric].append((answer.low, answer.high, float(gain)))
        for metric, found in inside.items():
            low, high, gain = np.array(found).T
            given, half = ~np.isnan(low), np.arange(sweeps) % 2 == 0
            # The truth of each half is the mean gain of the other half's data sets.
            truth = np.where(half, gain[~half].mean() if sweeps > 1 else gain.mean(), gain[half].mean())
            hits = ((low <= truth) & (truth <= high))[given]
            rates.append(
                rate(f"one question, {samples} samples, 5 folds × 2 seeds, {metric}", "at least 93 %", hits)
            )
    return rates, "one question: truth over the other half of the data sets, on fresh samples"


def repeats(sweeps: int) -> tuple[list[Rate], dict[str, Any]]:
    """Returns the coverage of intervals over repeated folds, and their widths."""
    inside: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    widths: dict[tuple[str, int], list[float]] = defaultdict(list)
    fresh: dict[str, list[np.ndarray]] = defaultdict(list)
    found_in = []
    for index in range(sweeps):
        test = draw(14, index, samples=FRESH_SAMPLES)
        found = sweep(draw(13, index), L2, first=index, count=1, folds=FOLDS, repeats=REPEATS[-1], test=test)
        for metric in METRICS:
            fresh[metric].append(differences(found, metric.replace("val", "test")))
        found_in.append({metric: found.units(metric) for metric in METRICS})
    truth = {metric: np.mean(of, axis=0) for metric, of in fresh.items()}
    for units in found_in:
        for metric, scores in units.items():
            for count in REPEATS:
                low, high = _ends(scores[1:, : FOLDS * count] - scores[0, : FOLDS * count])
                held = (low <= truth[metric]) & (truth[metric] <= high)
                inside[metric, count].append(np.where(np.isnan(low), np.nan, held))
                widths[metric, count].append(float(np.nanmean(high - low)))
    rates = [
        together(f"{FOLDS} folds × {count} repeats, {metric}", "at least 93 %", np.array(of))
        for (metric, count), of in inside.items()
        if count in (1, 10, 50)
    ]
    return rates, {
        f"width of a 95 % interval, {count} repeats, {metric}": mean(np.array(of))
        for (metric, count), of in widths.items()
    }


def _ends(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the 95 % intervals of mean differences over folds, `(lines,)` each."""
    from regjax.study.intervals import over_units

    found = [over_units(line, 1 / len(line) + 1 / (FOLDS - 1)) for line in d]
    return np.array([f.low for f in found]), np.array([f.high for f in found])
