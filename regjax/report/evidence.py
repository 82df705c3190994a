"""The differences of the page: those to the first baseline, and the numbers for any other.

`arrays` calls it. The first comparison is that of `regjax.study.comparison`. With any other configuration as
the baseline, report.js computes the differences itself: a page holds up to 10,000 configurations, and the
differences of every pair would be 10⁸. What depends on the design alone, such as the quantiles of t, is
computed here and travels as a number, so that the script only subtracts, averages and scales; a test holds
its tables against `Results.compare`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from regjax.report.compact import BUDGET, as_half, empty_columns
from regjax.study import intervals
from regjax.study.comparison import Comparison, Scores, per_example, resolve_pairs, unit_interval
from regjax.study.results import Results

# In place of a verdict, what a baseline has.
BASELINE = "baseline"


class Differences(NamedTuple):
    """Paired differences to a baseline, `(configurations,)` each, NaN where there is none.

    Attributes:
        difference: its mean.
        low: of the 95 % interval.
        high: of the 95 % interval.
        family_low: of the interval that holds for all at once.
        family_high: of the interval that holds for all at once.
        verdict: "helps", "hurts", "not separated", "baseline", or why there is no verdict.
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    family_low: np.ndarray
    family_high: np.ndarray
    verdict: list[str]


def differences(results: Results, comparison: Comparison | None) -> Differences:
    """Returns a comparison of single configurations in the order of the configurations."""
    count = len(results.design.configurations)
    numbers = empty_columns(count, Differences._fields[:-1])
    verdict = ["no baseline" if comparison is None else BASELINE] * count
    if comparison is not None:
        pairs, unpaired = resolve_pairs(results.design, comparison.baseline)
        table, arms = comparison.table, [index for index, _ in pairs]
        for name, values in numbers.items():
            values[arms] = table[name].to_numpy(np.float64)
        for index, said, status in zip(arms, table["verdict"], table["status"], strict=True):
            verdict[index] = str(said or status)
        for index in unpaired:
            verdict[index] = "no counterpart"
    return Differences(**numbers, verdict=verdict)


def counterparts(results: Results, comparison: Comparison | None) -> np.ndarray:
    """Returns the configuration that each is compared to, `(configurations,)`; their count where none is."""
    count = len(results.design.configurations)
    found = np.full(count, count)
    if comparison is not None:
        for index, other in resolve_pairs(results.design, comparison.baseline)[0]:
            found[index] = other
    return found


def evidence(results: Results, metric: str) -> dict[str, Any]:
    """Returns what the page needs to use any configuration as the baseline.

    Returns:
        units: scores, `(configurations, count)`, one after the other.
        count: units of evidence.
        lost: why a configuration has no verdict, or "".
        error: a standard error over the standard deviation of the differences.
        t: half a 95 % interval over its standard error.
        t_family: the same of the interval that holds for all other configurations at once.
        noise: differences below `noise` times the largest score are rounding.
        one_split: whether the verdict contains the sampling error of the held-out samples.
        examples: on one split, `(configurations, rows)`, float16, centred and scaled so that the sum of
            their squared differences is the squared sampling error; None where they are not known, or too
            many.
    """
    design = results.design
    units, ok = results.units(metric), results.num_ok()
    # Any differences with a spread give the constants: an interval is linear in its standard deviation.
    probe = np.arange(units.shape[1], dtype=np.float64)
    found = unit_interval(design, probe)
    spread = float(np.std(probe, ddof=1)) if len(probe) > 1 else math.nan
    low, high = intervals.family(found, max(1, len(units) - 1))
    return {
        "units": units.ravel(),
        "count": units.shape[1],
        "lost": [_why_lost(k, design.num_replicates, scores) for k, scores in zip(ok, units, strict=True)],
        "error": found.se / spread,
        "t": (found.high - found.mean) / found.se,
        "t_family": (high - low) / 2 / found.se,
        "noise": 4 * float(np.finfo(design.configs[0].dtype).eps),
        "one_split": design.splits.kind == "validation",
        **_examples(results, Scores(design, metric, units, ok, results.examples)),
    }


def _why_lost(ok: int, count: int, scores: np.ndarray) -> str:
    if ok < count:
        return f"{ok} of {count} ok"
    return "undefined" if np.isnan(scores).any() else ""


def _examples(results: Results, scores: Scores) -> dict[str, Any]:
    """Returns the scores of single held-out samples on one split, mean over seeds, as far as they fit."""
    design = results.design
    found = per_example(scores) if design.splits.kind == "validation" else None
    if found is None or found.size / len(design.seeds) * 2 > BUDGET["examples"]:
        return {"examples": None}
    mean = found.reshape(len(design.configurations), len(design.seeds), -1).mean(axis=1)
    val = design.splits.val[0]
    return {"examples": as_half(_as_errors(mean, val[val > 0])).ravel(), "rows": mean.shape[1]}


def _as_errors(examples: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the terms whose squares `intervals.sampling_error` adds, `(configurations, n_val)`.

    They are linear in the scores: the terms of a difference are the differences of the terms.
    """
    total, used = np.sum(weights), np.count_nonzero(weights)
    if used < 2:
        return np.full_like(examples, np.nan)
    centred = examples - (examples @ weights / total)[:, None]
    return weights * centred * math.sqrt(used / (used - 1)) / total


def gaps(results: Results, metric: str) -> dict[str, np.ndarray]:
    """Returns how much better each configuration is on training samples: `mean`, `low` and `high`.

    They are NaN where nothing is held out.
    """
    if results.design.splits.kind == "none":
        return empty_columns(len(results.design.configurations), ("mean", "low", "high"))
    found = [unit_interval(results.design, row) for row in results.gap(metric)]
    return {part: np.array([getattr(f, part) for f in found]) for part in ("mean", "low", "high")}
