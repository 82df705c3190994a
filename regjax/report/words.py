"""Every text of the page: the decision, its warnings, how the sweep was made, captions and the script's.

`html` puts `words_of` and `FRAME` into report.html; `models` hands `SCRIPT` to report.js.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from regjax.core.checks import counted
from regjax.data.schema import columns_in_words
from regjax.report.arrays import MOST_LEVELS, axes_of
from regjax.report.evidence import BASELINE, MOST_BASELINES, has_families
from regjax.report.networks import labels_of
from regjax.study.choice import Choice
from regjax.study.comparison import Comparison, numbers_in_words, resolve_pairs, unit_interval
from regjax.study.importance import Importance
from regjax.study.intervals import between, rounded, shown_ends
from regjax.study.one_question import ChoiceComparison
from regjax.study.power import in_words
from regjax.study.provenance import place_in_words
from regjax.study.references import References
from regjax.study.results import Results
from regjax.study.sentences import answer, baseline_named, capitalised, named
from regjax.study.words import duration

# Most classes, seeds and ways of computing that are listed.
MOST_LISTED, MOST_WAYS = 20, 5
# Most columns of the data that the figure of their importance shows.
MOST_COLUMNS = 20

# Captions, headings and buttons of the frame, report.html.
FRAME = {
    "night": "Dark colours",
    "numbers": "The numbers behind it",
    "answer": "The answer",
    "grid": "All configurations at a glance",
    "details": "About this page",
    "thick_and_thin": "Thick: 95 %, thin: 95 % for all at once",
    "marks": "Framed: shown below, ★: chosen, ×: networks diverged. ",
    "near": "≈: these scores cannot tell it from the best; ",
    "noise": "dotted: no difference to the baseline was shown, so its colour may be noise. Both rest on the "
    "95 % intervals of the paired differences, all at once. They do not know that the best was picked by "
    "these scores.",
    "gap": "How much better on training samples",
    "of_gap": "Than on validation samples, {metric}; 95 % of each alone",
    "shown": "Shown: ",
    "rebase": "Make it the baseline",
    "first": "The first baseline again",
    "no_detail": "No network of this configuration is in the page: none was kept (a sweep with --keep "
    "all keeps them, a search keeps none), all diverged, or there was no room for so many.",
    "references": "Beside other models",
    "importance": "Which inputs matter",
    "table": "All configurations",
    "csv": "Save as CSV",
    "asked": "To ask for this again",
    "copy_asked": "Copy",
    "facts": "How it was made",
}
# What a screen reader says of the figures of one configuration.
PANELS = {
    "loss": "Loss against the step",
    "curve": "The metric against the step",
    "detail": "What its first network predicts",
    "dots": "Every network, beside those of the baseline",
    "bars": "Histogram of the weights",
    "numbers": "Table of its numbers",
}
# Texts that change with what is shown: report.js replaces each {name}.
SCRIPT = {
    "heat": "Mean {metric}",
    "heat_test": "Mean {metric} (to look at, not to choose by)",
    "forest": "Difference to {baseline}; {some} of {all}",
    "shown": "{name}: {verdict}",
    "best": "best",
    "found": "{some} of {all} configurations",
    "found_not": "{some} of {all} configurations; no column {names}",
    "baseline": BASELINE,
}
# What a page of many configurations says of the baselines that a reader takes.
OTHER_BASELINES = (
    f"Of more than {MOST_BASELINES} configurations, the page takes each difference's own variance and "
    "Bonferroni's family with any other baseline than the first: those intervals are wider."
)


@dataclasses.dataclass(frozen=True)
class About:
    """What a page says of a sweep besides its results.

    Attributes:
        source: the name or path of the data.
        command: the command that began the sweep, or "".
        toml: the TOML that asks for the sweep again, or "".
        unfinished: how many networks are finished, in words; "" where all are.
        every: seconds after which the page loads itself again, or None.
        answer: sentences of another answer than that of the sweep alone, such as that of a search, which
            stand first.

    Example:
        >>> import regjax
        >>> regjax.report.About(source="rows.csv").every is None
        True
    """

    source: str = "data of its own"
    command: str = ""
    toml: str = ""
    unfinished: str = ""
    every: int | None = None
    answer: tuple[str, ...] = ()


def words_of(
    results: Results | None,
    comparison: Comparison | None,
    choice: Choice | None,
    missing: Sequence[str],
    about: About,
    first: ChoiceComparison | None = None,
) -> dict[str, Any]:
    """Returns the texts of a page, plain: the frame escapes them. Arguments as of `html.page`."""
    words: dict[str, Any] = {
        "frame": FRAME,
        "panels": PANELS,
        "title": about.source,
        "decision": ["No configuration is finished yet."],
        "warnings": [],
        "notes": [],
        "facts": [],
        "asked": "\n\n".join(part for part in (about.command, about.toml) if part),
        "every": about.every or 0,
        "comparable": False,
        "gapped": False,
        "cells": "",
        "importance": [],
        "references": [],
    }
    if about.unfinished:
        words["warnings"] += [
            f"{about.unfinished}: this page has the configurations all of whose networks are"
        ]
    if results is None:
        return words
    design = results.design
    count, per = len(design.configurations), design.num_replicates
    words["title"] = f"{about.source}: {counted(count, 'configuration')} × {counted(per, 'network')}"
    answered = [] if first is None else [first.sentence, first.numbers, first.details]
    words["decision"] = about.answer or [*answered, *decision(results, comparison, choice, missing)]
    whole = int((results.num_ok() == per).sum())
    words["comparable"] = design.splits.kind != "none" and whole > 1
    words["gapped"] = design.splits.kind != "none" and whole > 0
    words["warnings"] += [*_diverged(results), *(() if choice is None or about.answer else choice.warnings)]
    notes = comparison.notes if comparison is not None else ()
    if comparison is not None and not has_families(design):
        notes = (*notes, OTHER_BASELINES)
    words["notes"] = list(dict.fromkeys((*notes, *design.notes, *results.notes)))
    if any(len(values) > MOST_LEVELS for values in design.axes.values()):
        words["cells"] = " (of the best in each cell)"
    words["facts"] = _facts(results, about)
    return words


def answer_words(results: Results, about: About, notes: Sequence[str]) -> dict[str, Any]:
    """Returns the texts of a page that has an answer and pictures; arguments as of `html.answer_page`."""
    # In each fold stands a choice of its own: what one network or one grid has is not said.
    facts = [(name, text) for name, text in _facts(results, about) if name not in ("network", "grid")]
    words = words_of(None, None, None, (), about)
    return words | {"decision": about.answer, "notes": list(notes), "facts": facts}


def inputs_in_words(importance: Importance | str | None) -> list[str]:
    """Returns what the figure of the columns shows and how to read it, or why there is none, in sentences."""
    if importance is None or isinstance(importance, str):
        return [] if importance is None else [importance]
    count = len(importance.table)
    some = f"; {MOST_COLUMNS} of {count:,} columns" if count > MOST_COLUMNS else ""
    bars = f". {FRAME['thick_and_thin']}" if importance.has_intervals else ""
    return [importance.title + some + bars, *importance.notes]


def references_in_words(references: References | str | None) -> list[str]:
    """Returns how the chosen network does beside other models, or why that is not known, in sentences."""
    if references is None or isinstance(references, str):
        return [] if references is None else [references]
    return [references.title, *references.table["sentence"], *references.notes]


def baseline_in_words(comparison: Comparison | None) -> str:
    """Returns the name of the page's first baseline."""
    if comparison is None:
        return "none: make one of the configurations the baseline"
    return comparison.baseline_in_words


def decision(
    results: Results, comparison: Comparison | None, choice: Choice | None, missing: Sequence[str] = ()
) -> list[str]:
    """Returns what was found in sentences, the decision first, with its interval and what varies.

    Arguments as of `html.page`.
    """
    if choice is None:
        return ["Nothing was chosen.", *missing]
    design = results.design
    name, rest = design.in_words(choice.configuration), [choice.in_words(), *missing]
    found = unit_interval(design, results.units(choice.metric)[choice.index])
    half = (found.high - found.low) / 2
    alone = f"{choice.metric} {rounded(found.mean, half)}"
    if not math.isnan(found.se):
        alone += f" {between(*shown_ends(choice.metric, found.low, found.high), half)}"
    alone += f", {design.evidence.in_words()}"
    if comparison is None:
        return [f"{name} was chosen: {alone}. There is no baseline to hold it against.", *rest]
    pairs, _ = resolve_pairs(design, comparison.baseline)
    place = {configuration: place for place, (configuration, _) in enumerate(pairs)}.get(choice.index)
    if place is None:
        return [f"{name} was chosen, and is itself a baseline: {alone}.", *rest]
    entry = comparison.table.iloc[place].to_dict()
    needs = []
    if not math.isnan(entry["detectable"]):
        needs = [f"The comparison {in_words(entry['detectable'], entry['difference'], entry['needs'])}."]
    numbers = f"{comparison.metric} {numbers_in_words(design, entry)}"
    against = f"against {comparison.baseline_in_words}, {comparison.units}"
    if entry["status"] != "ok":
        return [f"{name}: {numbers}, {against}.", *needs, *rest]
    # The verdict rests on the interval that holds for all comparisons at once.
    ends = entry["difference"], entry["family_low"], entry["family_high"]
    than = baseline_named(comparison.baseline, [choice.configuration | comparison.baseline])
    said = answer(capitalised(named(choice.configuration)), entry["verdict"], comparison.metric, ends, than)
    return [said, f"{numbers}, {against}.", *needs, *rest]


def _diverged(results: Results) -> list[str]:
    """Returns a warning of the configurations with networks that diverged, if there are any."""
    count = int((results.num_ok() < results.design.num_replicates).sum())
    if not count:
        return []
    networks = int((results.diverged_at >= 0).sum())
    return [
        f"{counted(count, 'configuration')} with networks that diverged, {networks:,} in all: never chosen"
    ]


def _facts(results: Results, about: About) -> list[tuple[str, str]]:
    """Returns (name, text) of the data, splits, networks, grid and machines of the sweep."""
    design = results.design
    config = design.configs[0]
    kind = "real targets" + (", standardised in each fold" if design.standardize_target else "")
    if np.issubdtype(design.data.y.dtype, np.integer):
        kind = f"classes {', '.join(labels_of(design)[:MOST_LISTED])}"
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    held = {"folds": f"{design.num_folds} folds", "validation": "one validation part", "none": "nothing"}
    seeds = ", ".join(map(str, design.seeds[:MOST_LISTED]))
    seeds += ", …" if len(design.seeds) > MOST_LISTED else ""
    tested = "no" if design.test is None else f"{design.test.x.shape[1]:,}"
    columns, count = design.data.x.shape
    features = f"{columns} features"
    if design.coded:
        features = f"{columns} columns as {len(design.input_names)} inputs"
    ways = sorted(set(map(place_in_words, results.provenance)))[:MOST_WAYS]
    return [
        ("data", f"{about.source}: {count:,} samples, {features}, {kind}; {tested} test samples"),
        *([("columns", columns_in_words(design.schema))] if design.schema is not None else []),
        ("held out", f"{held[design.splits.kind]}; seeds {seeds}; {design.pairing}"),
        ("network", ", ".join(f"{name} {_plain(v)}" for name, v in fields.items() if v is not None)),
        ("grid", "; ".join(f"{a.name}: {', '.join(a.texts)}" for a in axes_of(design))),
        ("seconds", f"{duration(float(results.seconds.sum()))} of workers"),
        *[("computed by", way) for way in ways],
    ]


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
