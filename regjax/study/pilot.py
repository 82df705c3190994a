"""The pilot of a sweep: a small part of it, trained first, that says what the whole can show.

`regjax.plan(…, detect=…)` and `regjax plan --detect` call `pilot_of`, train that design, and hand its results
to `forecast`; a store keeps the pilot's networks, so that the sweep does not train them again.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from regjax.core.checks import counted, shown
from regjax.study.comparison import resolve_baseline, resolve_pairs
from regjax.study.design import Design, part_of
from regjax.study.forecast import Forecast, chance_of
from regjax.study.needs import lines_of
from regjax.study.power import extent_of
from regjax.study.questions import Questions
from regjax.study.results import Results

# The most that a pilot trains: comparisons, seeds of each fold, seeds of one split, and folds of all repeats.
CONFIGURATIONS, SEEDS, SEEDS_OF_A_SPLIT, SPLITS = 3, 2, 4, 10


def check_detect(detect: Any, design: Design, questions: Questions | None = None) -> float:
    """Returns the difference that a plan is asked about, once it is known that a pilot can be trained.

    Raises:
        TypeError: no number.
        ValueError: not a positive number, or a design without a pilot, see `pilot_of`.
    """
    if isinstance(detect, bool) or not isinstance(detect, int | float | np.number):
        raise TypeError(f"detect must be a number, got {shown(detect)}")
    if not (math.isfinite(detect) and detect > 0):
        raise ValueError(f"detect must be a positive number, got {shown(detect)}")
    pilot_of(design, questions)
    return float(detect)


def pilot_of(design: Design, questions: Questions | None = None) -> Design:
    """Returns the part of a design that its pilot trains, at the design's own number of steps.

    The baselines of three configurations that are spread over the grid, and these, on the first two seeds of
    the first ten folds, whole repeats if there are several; on one split on the first four seeds.

    Raises:
        ValueError: nothing is held out, one seed on one split, or no baseline in the grid.
    """
    questions = questions or Questions()
    design.check_metric(questions.metric)
    if design.num_units < 2:
        raise ValueError("detect must have at least two folds, or two seeds on one split, got one")
    pairs, _ = resolve_pairs(design, resolve_baseline(design, questions.baseline, ()))
    picked = {round(place) for place in np.linspace(0, len(pairs) - 1, CONFIGURATIONS)}
    found = part_of(design, sorted({index for number in picked for index in pairs[number]}))
    if design.splits.kind != "folds":
        return dataclasses.replace(found, seeds=design.seeds[:SEEDS_OF_A_SPLIT])
    found = dataclasses.replace(found, seeds=design.seeds[:SEEDS])
    # Identities of rows contain the inputs of all folds, where these are handed in.
    if design.fold_inputs is not None:
        return found
    folds = extent_of(design).folds
    return _first_splits(found, max(1, SPLITS // folds) * min(folds, SPLITS))


def _first_splits(design: Design, count: int) -> Design:
    """Returns the design on its first `count` splits."""
    splits = design.splits
    stop = None if splits.stop is None else splits.stop[:count]
    part = splits._replace(train=splits.train[:count], val=splits.val[:count], stop=stop)
    return dataclasses.replace(design, splits=part)


def forecast(
    results: Results, planned: Design, detect: float, questions: Questions | None = None
) -> Forecast:
    """Returns the power of a planned sweep to show a true difference, by the variances that its pilot found.

    Args:
        results: results of the pilot, whose design is `pilot_of(planned)`.
        planned: design of the sweep.
        detect: the true difference.
        questions: what will be asked of the results; their metric and baseline count.

    Raises:
        ValueError: the pilot's networks diverged, or none of its differences has a spread.
    """
    questions = questions or Questions()
    metric = planned.check_metric(questions.metric)
    pairs, _ = resolve_pairs(planned, resolve_baseline(planned, questions.baseline, ()))
    comparison = results.compare(questions.baseline, (), metric)
    lines = lines_of(comparison, results.design, results.table(metric))
    found = [line.parts for line in lines if line is not None]
    if not found:
        raise ValueError(
            f"detect must have a pilot whose differences in {metric} vary, got {len(results)} networks that "
            "diverged or do not differ"
        )
    df, rows, extent = results.design.num_units - 1, planned.data.x.shape[1], extent_of(planned)
    sizes = dict.fromkeys((1, len(pairs)))
    chances = tuple(chance_of(detect, found, df, extent, size, rows) for size in sizes)
    return Forecast(detect, metric, pilot_in_words(results.design), extent, rows, chances)


def pilot_in_words(design: Design) -> str:
    """Returns the networks of a pilot: "a pilot of 40 networks (4 configurations, 5 folds × 2 seeds)"."""
    evidence = design.evidence.mean_in_words().removeprefix("over ")
    count = counted(len(design.configurations), "configuration")
    return f"a pilot of {counted(design.num_rows, 'network')} ({count}, {evidence})"
