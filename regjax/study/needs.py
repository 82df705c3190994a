"""What each comparison that is not separated could have shown, and what it would take: `detectable`, `needs`.

`Results.compare` adds both columns to its table, and `Results.compare_choice` the sentence to its answer;
`power` holds the arithmetic. A pilot and the figure of power take the variance components from here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from regjax.study.comparison import Comparison, resolve_pairs
from regjax.study.intervals import Interval
from regjax.study.one_question import ChoiceComparison
from regjax.study.power import (
    Components,
    Extent,
    Requirement,
    components,
    extent_of,
    in_words,
    needs_in_words,
    reach_of,
    requirement,
    scaled,
)

if TYPE_CHECKING:
    from regjax.study.design import Design

NOTE = (
    "detectable: the true difference that this evidence shows with 80 % power. What the difference seen "
    "needs holds if it is the true one, and if more rows leave it as it is."
)


class Line(NamedTuple):
    """A comparison that has an interval.

    Attributes:
        difference: the difference that was seen.
        parts: its variance components, whose standard error is that of the comparison.
        extent: folds, repeats and seeds, with what the standard error gained in degrees of freedom.
        reach: half of the family interval over the standard error.
    """

    difference: float
    parts: Components
    extent: Extent
    reach: float


def lines_of(found: Comparison, design: Design, scores: np.ndarray) -> list[Line | None]:
    """Returns the lines of a comparison's table, None for those without an interval.

    Args:
        found: the comparison.
        design: design of the sweep.
        scores: the metric of all networks, `(configurations, seeds, folds)`.
    """
    pairs, _ = resolve_pairs(design, found.baseline)
    one_each = len(pairs) == len(found.table)  # an arm of several configurations chose one in each fold
    lines, extent = [], extent_of(design)
    for place, entry in enumerate(found.table.to_dict("records")):
        differences = scores[pairs[place][0]] - scores[pairs[place][1]] if one_each else None
        lines.append(line_of(entry, extent, differences) if math.isfinite(entry["family_low"]) else None)
    return lines


def line_of(entry: Mapping[Any, Any], extent: Extent, differences: np.ndarray | None) -> Line:
    """Returns a comparison with its variance components.

    Args:
        entry: `difference`, `sampling_se` (NaN with folds), `df`, `reach`, and the ends of the interval that
            decides.
        extent: folds, repeats and seeds.
        differences: the difference of each seed and fold, `(seeds, folds)`; None where it is not known.
    """
    se = (entry["family_high"] - entry["family_low"]) / 2 / entry["reach"]
    extent = extent._replace(prior_df=entry["df"] - extent.df)
    if extent.kind == "seeds":
        held_out = 0.0 if math.isnan(entry["sampling_se"]) else entry["sampling_se"] ** 2
        parts = Components(held_out, (se**2 - held_out) * extent.seeds)
    else:
        raw = Components(1.0, math.nan) if differences is None else components(differences)
        parts = scaled(raw, extent, se)
    return Line(entry["difference"], parts, extent, entry["reach"])


def with_needs(found: Comparison, design: Design, scores: np.ndarray) -> Comparison:
    """Returns a comparison whose table says in `detectable` and `needs` what it would take.

    Lines that are separated, or have no interval, get NaN and "". The sentence of the others goes on with it.
    Arguments as of `lines_of`.
    """
    rows, table = design.data.x.shape[1], found.table
    could, needs, sentences = [], [], []
    each = zip(lines_of(found, design, scores), table["verdict"], table["sentence"], strict=True)
    for line, verdict, sentence in each:
        if line is None or verdict != "not separated":
            could, needs, sentences = [*could, math.nan], [*needs, ""], [*sentences, sentence]
            continue
        required = _requirement(line, rows)
        could.append(required.detectable)
        needs.append(needs_in_words(required, rows))
        sentences.append(f"{sentence}; {in_words(could[-1], line.difference, needs[-1])}")
    table = table.assign(detectable=could, needs=needs, sentence=sentences)
    notes = tuple(note for note in found.notes if note != NOTE)
    notes = (*notes, NOTE) if np.any(np.isfinite(could)) else notes
    return dataclasses.replace(found, table=table, notes=notes)


def choice_with_needs(found: ChoiceComparison, design: Design, scores: np.ndarray) -> ChoiceComparison:
    """Returns the answer to the one question, with what it would take where it is not separated.

    Args:
        found: the answer.
        design: design of the sweep.
        scores: as in `lines_of`.
    """
    if found.verdict != "not separated" or math.isnan(found.se):
        return found
    folds = range(design.num_folds)
    own, base = (
        np.stack([scores[c, :, f] for f, c in zip(folds, side, strict=True)], axis=1)
        for side in (found.chosen, found.against)
    )
    interval = Interval(found.difference, found.se, found.df, found.low, found.high, found.p)
    required, rows = _required_alone(interval, design, own - base)
    words = in_words(required.detectable, found.difference, needs_in_words(required, rows))
    return dataclasses.replace(found, needs=words)


def outer_in_words(found: Interval, design: Design, differences: np.ndarray) -> str:
    """Returns what the outer folds of a search could have shown, and what would show the difference seen.

    Args:
        found: the interval over the outer folds, with a standard error.
        design: design of the comparison, whose folds are the outer ones.
        differences: the difference of each seed and outer fold, `(seeds, folds)`.
    """
    required, rows = _required_alone(found, design, differences)
    # A search has no repeats.
    words = needs_in_words(required._replace(repeats=math.nan), rows)
    return in_words(required.detectable, found.mean, words)


def _required_alone(found: Interval, design: Design, differences: np.ndarray) -> tuple[Requirement, int]:
    """Returns what one interval over folds, without a family, could have shown; and the number of samples."""
    entry = {
        "difference": found.mean, "sampling_se": math.nan, "df": found.df,
        "reach": reach_of(1, found.df), "family_low": found.low, "family_high": found.high,
    }  # fmt: skip
    rows = design.data.x.shape[1]
    return _requirement(line_of(entry, extent_of(design), differences), rows), rows


def _requirement(line: Line, num_rows: int) -> Requirement:
    """Returns what a comparison could have shown, and what it would take, of so many samples."""
    return requirement(line.difference, line.parts, line.extent, line.reach, num_rows)
