"""What each comparison that is not separated could have shown, and what it would take: `detectable`, `needs`.

`Results.compare` adds both columns to its table, and `Results.compare_choice` the sentence to its answer;
`power` holds the arithmetic.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from regjax.study.comparison import Comparison, resolve_pairs
from regjax.study.one_question import ChoiceComparison
from regjax.study.power import (
    Components,
    Extent,
    Requirement,
    components,
    extent_of,
    in_words,
    needs_in_words,
    requirement,
    scaled,
)

if TYPE_CHECKING:
    from regjax.study.design import Design

NOTE = (
    "detectable: the true difference that this evidence shows with 80 % power. What the difference seen "
    "needs holds if it is the true one, and if more rows leave it as it is."
)


def with_needs(found: Comparison, design: Design, scores: np.ndarray) -> Comparison:
    """Returns a comparison whose table says in `detectable` and `needs` what it would take.

    Lines that are separated, or have no interval, get NaN and "". The sentence of the others goes on with it.

    Args:
        found: the comparison.
        design: design of the sweep.
        scores: the metric of all networks, `(configurations, seeds, folds)`.
    """
    table, rows, extent = found.table.copy(), design.data.x.shape[1], extent_of(design)
    pairs, _ = resolve_pairs(design, found.baseline)
    one_each = len(pairs) == len(table)  # an arm of several configurations chose another one in each fold
    could, needs, sentences = [], [], []
    for place, line in enumerate(table.to_dict("records")):
        required, needed, sentence = None, "", line["sentence"]
        if line["verdict"] == "not separated" and math.isfinite(line["family_low"]):
            differences = scores[pairs[place][0]] - scores[pairs[place][1]] if one_each else None
            required = requirement_of(line, extent, differences, rows)
            needed = needs_in_words(required, rows)
            sentence += f"; {in_words(required.detectable, line['difference'], needed)}"
        could.append(math.nan if required is None else required.detectable)
        needs.append(needed)
        sentences.append(sentence)
    table = table.assign(detectable=could, needs=needs, sentence=sentences)
    notes = (*found.notes, NOTE) if np.any(np.isfinite(could)) else found.notes
    return dataclasses.replace(found, table=table, notes=notes)


def choice_with_needs(found: ChoiceComparison, design: Design, scores: np.ndarray) -> ChoiceComparison:
    """Returns the answer to the one question, with what it would take where it is not separated.

    Args:
        found: the answer.
        design: design of the sweep.
        scores: as in `with_needs`.
    """
    if found.verdict != "not separated" or math.isnan(found.se):
        return found
    folds = range(design.num_folds)
    own, base = (
        np.stack([scores[c, :, f] for f, c in zip(folds, side, strict=True)], axis=1)
        for side in (found.chosen, found.against)
    )
    line = {
        "difference": found.difference,
        "se": found.se,
        "sampling_se": math.nan,
        "df": found.df,
        "family_low": found.low,
        "family_high": found.high,
    }
    rows = design.data.x.shape[1]
    required = requirement_of(line, extent_of(design), own - base, rows)
    needed = in_words(required.detectable, found.difference, needs_in_words(required, rows))
    return dataclasses.replace(found, needs=needed)


def requirement_of(
    line: dict[Any, Any], extent: Extent, differences: np.ndarray | None, num_rows: int
) -> Requirement:
    """Returns what a comparison could have shown, and what it would take.

    Args:
        line: `difference`, `se`, `sampling_se` (NaN without it), `df`, and the ends of the family interval.
        extent: folds, repeats and seeds.
        differences: the difference of each seed and fold, `(seeds, folds)`; None where it is not known.
        num_rows: samples that were trained and validated on.
    """
    sampling, df = line["sampling_se"], line.get("df", extent.df)
    se = line["se"] if math.isnan(sampling) else math.hypot(line["se"], sampling)
    extent = extent._replace(prior_df=df - extent.df)
    if extent.kind == "seeds":
        held_out = 0.0 if math.isnan(sampling) else sampling**2
        parts = Components(held_out, line["se"] ** 2 * extent.seeds)
    elif differences is None:
        parts = scaled(Components(1.0, math.nan), extent, se)
    else:
        parts = scaled(components(differences), extent, se)
    reach = (line["family_high"] - line["family_low"]) / 2 / se
    return requirement(line["difference"], parts, extent, reach, num_rows)
