"""A sweep as one page that opens offline: the decision, what it rests on, and every configuration to click.

Bokeh (the extra `report`) draws; report.js is all of our own JavaScript, and report.html the frame,
which escapes every text.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from regjax.core.metrics import without_split
from regjax.report import arrays as report_data
from regjax.study.comparison import Comparison, resolve_pairs, unit_interval
from regjax.study.intervals import as_number
from regjax.study.provenance import place_in_words
from regjax.study.results import Choice, Results
from regjax.study.words import duration


@dataclasses.dataclass(frozen=True)
class About:
    """What a page says of a sweep besides its results.

    Attributes:
        source: name or path of the data.
        command: that began it, or "".
        toml: that asks for it again, or "".
        unfinished: what is still to come, in words, or "": all is there.
        every: seconds after which the page loads itself again, or None.
    """

    source: str = "data of its own"
    command: str = ""
    toml: str = ""
    unfinished: str = ""
    every: int | None = None


def page(
    results: Results | None,
    comparison: Comparison | None = None,
    choice: Choice | None = None,
    *,
    silence: Sequence[str] = (),
    about: About | None = None,
) -> str:
    """Returns a sweep as HTML.

    Args:
        results: of the sweep; None where no configuration is finished yet.
        comparison: of single configurations, to whatever baseline; None where there is none.
        choice: what was chosen; None where nothing was.
        silence: why one of these is missing.
        about: what else there is to say.

    Raises:
        ImportError: without Bokeh, the extra `report`.
    """
    from bokeh.embed import file_html
    from bokeh.resources import INLINE
    from jinja2 import Environment

    from regjax.report.models import document_of

    about = about or About()
    words = _words(results, comparison, choice, silence, about)
    frame = importlib.resources.files("regjax.report").joinpath("report.html").read_text("utf-8")
    template = Environment(autoescape=True, trim_blocks=True).from_string(frame)
    if results is None:
        return template.render(words=words, bare=True)
    metric = "train_loss" if results.design.splits.kind == "none" else results.metric
    metric = metric if choice is None else choice.metric
    data = report_data.arrays_of(results, metric, comparison, None if choice is None else choice.index)
    baseline = (
        "none: make one of the configurations the baseline"
        if comparison is None
        else comparison.baseline_in_words
    )
    document = document_of(data, results.design, baseline, about.every)
    more = {"words": words | {"pickers": len(data["axes"]), "gap": without_split(metric)}, "bare": False}
    return file_html(document, INLINE, words["title"], template=template, template_variables=more)


# -- words --------------------------------------------------------------------------------------------------


def _words(
    results: Results | None,
    comparison: Comparison | None,
    choice: Choice | None,
    silence: Sequence[str],
    about: About,
) -> dict[str, Any]:
    """Returns the texts of the page: plain, to be escaped."""
    asked = "\n\n".join(part for part in (about.command, about.toml) if part)
    words: dict[str, Any] = {"title": about.source, "decision": [], "warnings": [], "notes": [], "facts": [],
                             "asked": asked, "every": about.every or 0, "comparable": False,
                             "cells": ""}  # fmt: skip
    if about.unfinished:
        words["warnings"].append(
            f"{about.unfinished}: this page has the configurations all of whose networks are"
        )
    if results is None:
        words["decision"] = ["No configuration is finished yet."]
        return words
    design = results.design
    count, per = len(design.configurations), design.num_replicates
    words["title"] = f"{about.source}: {_count(count, 'configuration')} × {_count(per, 'network')}"
    words["decision"] = decision(results, comparison, choice, silence)
    words["comparable"] = design.splits.kind != "none"
    bad = int((results.num_ok() < per).sum())
    if bad:
        rows = int((results.diverged_at >= 0).sum())
        words["warnings"].append(
            f"{_count(bad, 'configuration')} with networks that diverged, {rows:,} in all: never chosen"
        )
    words["warnings"] += choice.warnings if choice is not None else ()
    notes = comparison.notes if comparison is not None else ()
    words["notes"] = list(dict.fromkeys((*notes, *design.notes, *results.notes)))
    if any(len(values) > report_data.MOST_LEVELS for values in design.axes.values()):
        words["cells"] = " (of the best in each cell)"
    words["facts"] = _facts(results, about)
    return words


def decision(
    results: Results, comparison: Comparison | None, choice: Choice | None, silence: Sequence[str] = ()
) -> list[str]:
    """Returns what was found in sentences, the decision first, with its interval and what varies."""
    if choice is None:
        return ["Nothing was chosen.", *silence]
    name = results.design.in_words(choice.configuration)
    rest = [str(choice).split("\nwarning:")[0], *silence]
    found = unit_interval(results.design, results.units(choice.metric)[choice.index])
    alone = f"{choice.metric} {as_number(found.mean)}"
    if not math.isnan(found.se):
        alone += f" [{as_number(found.low)}, {as_number(found.high)}]"
    alone += f", {results.design.units_in_words()}"
    if comparison is None:
        return [f"{name} was chosen: {alone}. There is no baseline to hold it against.", *rest]
    pairs, _ = resolve_pairs(results.design, comparison.baseline)
    place = {configuration: place for place, (configuration, _) in enumerate(pairs)}.get(choice.index)
    if place is None:
        return [f"{name} was chosen, and is itself a baseline: {alone}.", *rest]
    verdict, sentence = (str(comparison.table[column].iloc[place]) for column in ("verdict", "sentence"))
    said = verdict if verdict in ("helps", "hurts") else "is not separated from the baseline"
    numbers = sentence.removesuffix(f": {verdict}")
    return [
        f"{name} {said}: {comparison.metric} {numbers}, against {comparison.baseline_in_words}, "
        f"{comparison.units}.",
        *rest,
    ]


def _facts(results: Results, about: About) -> list[tuple[str, str]]:
    """Returns names and texts of what the sweep was made of."""
    design = results.design
    config = design.configs[0]
    kind = "real targets"
    if np.issubdtype(design.data.y.dtype, np.integer):
        kind = f"classes {', '.join(report_data.labels_of(design)[:20])}"
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    held = {"folds": f"{design.num_folds} folds", "validation": "one validation part", "none": "nothing"}
    return [
        ("data", f"{about.source}: {design.data.x.shape[1]:,} rows, {len(design.data.x)} features, {kind}; "
                 f"{'no' if design.test is None else f'{design.test.x.shape[1]:,}'} test rows"),
        ("held out", f"{held[design.splits.kind]}; seeds {', '.join(map(str, design.seeds[:20]))}"
                     f"{', …' if len(design.seeds) > 20 else ''}; {design.pairing}"),
        ("network", ", ".join(f"{name} {_plain(v)}" for name, v in fields.items() if v is not None)),
        ("grid", "; ".join(f"{a.name}: {', '.join(a.texts)}" for a in report_data.axes_of(design))),
        ("seconds", f"{duration(float(results.seconds.sum()))} of workers"),
        *[("computed by", how) for how in sorted(set(map(place_in_words, results.provenance)))[:5]],
    ]  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
