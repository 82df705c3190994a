"""The differences of the page: those to the first baseline, and the numbers for any other.

`arrays` calls it. The first comparison is that of `regjax.study.comparison`. With any other configuration as
the baseline, report.js computes the differences itself: a page holds up to 10,000 configurations, and the
differences of every pair would be 10⁸. What a whole family decides (moderated variances, the reach of the
largest |t|) is computed here for each baseline by `regjax.study.families` and travels as four numbers, so
that the script only subtracts, averages and scales; a test holds its tables against `Results.compare`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from regjax.report.compact import BUDGET, as_half, empty_columns
from regjax.study import families, intervals
from regjax.study.comparison import (
    Comparison,
    Scores,
    family_of,
    grain_of,
    paired,
    per_example,
    resolve_pairs,
    row_variance,
    unit_interval,
    variance_factor,
)
from regjax.study.design import Design
from regjax.study.results import Results

# In place of a verdict, what a baseline has.
BASELINE = "baseline"
# Most configurations of which each has its family as the baseline, a tenth of a second each.
MOST_BASELINES = 48


class Differences(NamedTuple):
    """Mean paired differences to a baseline and their intervals, `(configurations,)` each, NaN where none.

    The verdict is "helps", "hurts", "not separated", "baseline", or why there is no verdict.
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
        for index, found, status in zip(arms, table["verdict"], table["status"], strict=True):
            verdict[index] = str(found or status)
        for index in unpaired:
            verdict[index] = "no counterpart"
    return Differences(**numbers, verdict=verdict)


def counterparts(results: Results, comparison: Comparison | None) -> np.ndarray:
    """Returns the configuration that each is compared to, `(configurations,)`; their number for none."""
    count = len(results.design.configurations)
    found = np.full(count, count)
    if comparison is not None:
        for index, other in resolve_pairs(results.design, comparison.baseline)[0]:
            found[index] = other
    return found


def evidence(results: Results, metric: str) -> dict[str, Any]:
    """Returns what the page needs to use any configuration as the baseline.

    Returns:
        units: the scores of the units of evidence, `(configurations, count)`, one after the other.
        count: how many units of evidence.
        lost: why a configuration has no verdict, or "".
        error: the standard error divided by the standard deviation of the differences.
        grain: the least variance of differences of whole samples is `grain` times the mean of |d| (1 - |d|).
        noise: differences below `noise` times the largest score are rounding.
        one_split: whether the verdict contains the sampling error of the held-out samples.
        examples: on one split, the scores of single samples, `(configurations, num_examples)`, float16,
            centred and scaled so that the sum of their squared differences is the squared sampling error;
            None where they are not known, or too many.
        num_examples: how many held-out samples have scores; missing where `examples` is None.
        t, reach: with each configuration as the baseline, half the 95 % interval over its standard error, of
            a difference alone and of all at once, `(configurations,)` each.
        prior, prior_df: likewise the common variance and its degrees of freedom, as `families.moderation`.
    """
    design = results.design
    units, ok = results.units(metric), results.num_ok()
    scores = Scores(design, metric, units, ok, results.examples)
    return {
        "units": units.ravel(),
        "count": units.shape[1],
        "lost": [_why_lost(k, design.num_replicates, scores) for k, scores in zip(ok, units, strict=True)],
        "error": math.sqrt(variance_factor(design, units.shape[1])),
        "grain": grain_of(design, metric),
        "noise": 4 * float(np.finfo(design.configs[0].dtype).eps),
        "one_split": design.splits.kind == "validation",
        **_examples(scores),
        **_constants(scores),
    }


def has_families(design: Design) -> bool:
    """Whether the page has the family of every baseline; else that of a new one is Bonferroni's."""
    return len(design.configurations) <= MOST_BASELINES


def _constants(scores: Scores) -> dict[str, np.ndarray]:
    """Returns numbers of the intervals with each configuration as the baseline, `(configurations,)` each."""
    design, count = scores.design, len(scores.values)
    names = ("t", "reach", "prior", "prior_df")
    sound = np.where((scores.num_ok < design.num_replicates)[:, None], np.nan, scores.values)
    if not has_families(design):
        # Plain variances and Bonferroni's bound: they depend on the number of configurations alone.
        probe = np.tile(np.arange(float(sound.shape[1])), (count - 1, 1))
        found = family_of(design, probe, np.zeros(count - 1), most_draws=0)
        plain = (found.t, found.reach, 0.0, 0.0)
        return {name: np.full(count, value) for name, value in zip(names, plain, strict=True)}
    terms = _terms(scores)
    constants = np.zeros((4, count))
    for base in range(count):
        lines = np.delete(sound, base, axis=0)
        differences = paired(lines, np.broadcast_to(sound[base], lines.shape), design)
        sampling = None
        if terms is not None:
            errors = np.delete(terms, base, axis=0) - terms[base]
            sketch = errors @ families.signs(errors.shape[1])
            sampling = families.Sampling(np.sqrt(np.sum(errors**2, axis=1)), sketch)
        least = row_variance(design, scores.metric, differences)
        found = family_of(design, differences, least, sampling)
        constants[:, base] = found.t, found.reach, found.prior_variance, found.prior_df
    return dict(zip(names, constants, strict=True))


def _why_lost(ok: int, count: int, scores: np.ndarray) -> str:
    if ok < count:
        return f"{ok} of {count} ok"
    return "undefined" if np.isnan(scores).any() else ""


def _terms(scores: Scores) -> np.ndarray | None:
    """Returns the terms of the sampling error on one split, `(configurations, n_val)`, means over seeds."""
    design = scores.design
    found = per_example(scores) if design.splits.kind == "validation" else None
    if found is None:
        return None
    mean = found.reshape(len(design.configurations), len(design.seeds), -1).mean(axis=1)
    val = design.splits.val[0]
    return intervals.sampling_terms(mean, val[val > 0].astype(np.float64))


def _examples(scores: Scores) -> dict[str, Any]:
    """Returns the terms of single held-out samples on one split, as far as they fit."""
    terms = _terms(scores)
    if terms is None or terms.size * 2 > BUDGET["examples"]:
        return {"examples": None}
    return {"examples": as_half(terms).ravel(), "num_examples": terms.shape[1]}


def gaps(results: Results, metric: str) -> dict[str, np.ndarray]:
    """Returns how much better each configuration is on training samples: `mean`, `low` and `high`.

    They are NaN where nothing is held out.
    """
    if results.design.splits.kind == "none":
        return empty_columns(len(results.design.configurations), ("mean", "low", "high"))
    found = [unit_interval(results.design, units) for units in results.gap(metric)]
    return {part: np.array([getattr(f, part) for f in found]) for part in ("mean", "low", "high")}
