"""Results on a terminal, as tables or one JSON object; `sweep`, `resume` and `compare` print them.

Tables are as wide as their lines need and show the best lines; the files that a sweep writes hold all lines.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from regjax.core.checks import counted
from regjax.core.metrics import without_split
from regjax.data.schema import names_by_words
from regjax.study.intervals import as_number, between, rounded, shown_ends
from regjax.study.power import in_words, two_digits
from regjax.study.words import duration

if TYPE_CHECKING:
    import pandas as pd

    from regjax.study.choice import Choice
    from regjax.study.comparison import Comparison
    from regjax.study.design import Design
    from regjax.study.references import References
    from regjax.study.results import Answers, Results
    from regjax.study.sensitivities import Sensitivities

SHOWN = 24


def shown_metric(results: Results, choice: Choice | None) -> str | None:
    """Returns the validation metric that the tables are about; None where nothing is held out."""
    if results.design.splits.kind == "none":
        return None
    return results.metric if choice is None else choice.metric


class Besides(NamedTuple):
    """What a sweep is asked for beside its answers.

    Attributes:
        references: other models, why there are none, or None.
        sensitivities: derivatives of the validation loss, or None.
    """

    references: References | str | None = None
    sensitivities: Sensitivities | None = None


def as_json(
    results: Results,
    answers: Answers,
    seconds: dict[str, float],
    written: Sequence[str],
    besides: Besides | None = None,
) -> dict[str, Any]:
    """Returns the object that `--json` prints."""
    from regjax.study.provenance import device, versions

    beside, slopes = besides or Besides()

    comparison, choice, missing, first = answers
    compared = None
    if comparison is not None:
        compared = {
            "metric": comparison.metric,
            "baseline": comparison.baseline,
            "units": comparison.units,
            "table": _records(comparison.table),
        }
    found = {
        "first": None if first is None else first.as_json(),
        "networks": len(results),
        "diverged": int((results.diverged_at >= 0).sum()),
        "stopped": int((results.stopped_at >= 0).sum()),
        "summary": _records(results.summary(shown_metric(results, choice))),
        "comparison": compared,
        "choice": None if choice is None else dataclasses.asdict(choice),
        "references": None if beside is None or isinstance(beside, str) else _records(beside.table),
        "sensitivities": None if slopes is None else _records(slopes.summary()),
        "notes": [*results.notes, *missing, *([beside] if isinstance(beside, str) else [])],
        "seconds": seconds,
        "device": device(),
        "versions": versions(),
        "written": written,
    }
    return _without_nan(found)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).to_dict("records")  # type: ignore[return-value]


def _without_nan(value: Any) -> Any:
    """Returns a value as JSON has it: no NaN, no NumPy numbers."""
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show_comparison(comparison: Comparison) -> None:
    """Prints the comparison alone."""
    from rich.console import Console

    Console(width=1000, highlight=False).print(_comparison_table(comparison))


def show_columns(design: Design) -> None:
    """Prints what was made of the columns of a table, and notes on its data; nothing for arrays."""
    from rich.console import Console
    from rich.markup import escape

    if design.schema is None:
        return
    # Columns of the same words share a line, so that hundreds of pixels do not fill the screen. Names are the
    # user's: rich must not read [a] as a colour.
    lines = [[escape(_names(names)), escape(words)] for words, names in names_by_words(design.schema).items()]
    title = f"{counted(len(design.schema.columns), 'column')}, {counted(len(design.input_names), 'input')}"
    out = Console(width=1000, highlight=False)
    table = _table(title, ["column", "what it is taken for"], lines, "the page of `regjax report`")
    table.columns[1].justify = "left"  # words and no numbers
    out.print(table)
    out.print(_target_in_words(design), soft_wrap=True, markup=False)


def _names(names: Sequence[str]) -> str:
    """Returns names between commas; the first five of many."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _target_in_words(design: Design) -> str:
    """Returns what the target was taken for: its classes and their shares, or its range."""
    y = np.asarray(design.data.y)
    name = (design.schema.target if design.schema is not None else "") or "target"
    if not np.issubdtype(y.dtype, np.integer):
        return f"target {name}: a quantity (regression), from {y.min():g} to {y.max():g}"
    labels, counts = np.unique(y[0], return_counts=True)
    named = labels if design.classes is None else design.classes[labels]
    shares = [f"{label} ({count:,})" for label, count in zip(named.tolist(), counts.tolist(), strict=True)]
    more = f" and {len(shares) - 10} more" if len(shares) > 10 else ""
    return f"target {name}: {len(shares)} classes: {', '.join(shares[:10])}{more}"


def show(results: Results, answers: Answers) -> None:
    """Prints the answers first: whether choosing helps, and what was chosen; then the tables and notes."""
    from rich.console import Console

    comparison, choice, missing, first = answers

    # As wide as its lines, whatever the terminal: rich would cut numbers, and 0.8085 is not 0.8….
    out = Console(width=1000, highlight=False)

    def say(*lines: str, style: str = "") -> None:
        for line in lines:
            out.print(line, soft_wrap=True, markup=False, style=style)

    out.print()
    if first is not None:
        say(first.sentence, style="bold")
        say(first.numbers, first.details, style="dim")
    if choice is not None:
        say(f"Chosen: {choice.in_words()}", style="bold")
        say(*(f"warning: {warning}" for warning in choice.warnings))
    say(*missing)
    if comparison is not None:
        out.print(_comparison_table(comparison))
        say(*([] if first is not None else _needs(comparison)), *comparison.notes)
    out.print(_summary_table(results, shown_metric(results, choice)))
    say(*results.notes)


def ending(results: Results, seconds: dict[str, float], written: Sequence[str]) -> str:
    """Returns the last lines of a sweep: numbers of networks, seconds and files."""
    bad, stopped = (int((at >= 0).sum()) for at in (results.diverged_at, results.stopped_at))
    ends = f"{f', {bad:,} diverged' if bad else ''}{f', {stopped:,} stopped early' if stopped else ''}"
    return (
        f"{len(results):,} networks{ends}: "
        f"compiling {duration(seconds['compile'])}, training {duration(seconds['train'])}, "
        f"all in all {duration(seconds['total'])}\nwritten: {', '.join(written)}"
    )


def _table(title: str, columns: list[str], lines: list[list[str]], rest: str) -> Any:
    from rich import box
    from rich.table import Table

    left = len(lines) - SHOWN
    caption = f"… and {left:,} more in {rest}" if left > 0 else None
    table = Table(
        title=title, title_justify="left", title_style="bold", caption=caption, caption_justify="left",
        box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for cells in lines[:SHOWN]:
        table.add_row(*cells)
    return table


def _summary_table(results: Results, metric: str | None) -> Any:
    """Returns the configurations, best first, or in the grid's order where nothing is held out."""
    from regjax.study.selection import higher_is_better, ranking

    design, summary = results.design, results.summary(metric)
    names = [design.in_words(c) for c in design.configurations]
    entries: list[dict[Any, Any]] = summary.to_dict("records")
    if metric is None:
        columns = [str(name) for name in summary if str(name).startswith("train_")]
        cells = [
            [name, *(_number(entry[c]) for c in columns)] for name, entry in zip(names, entries, strict=True)
        ]
        return _table("the final networks", ["configuration", *columns], cells, "summary.csv")
    others = [n for n in ("val_loss", f"train_{without_split(metric)}") if n != metric]
    cells = []
    for index in ranking(summary[metric].to_numpy(float), higher_is_better(metric)):
        entry = entries[index]
        mean = _number(entry[metric])
        if entry["ok"] < entry["networks"]:
            mean = f"{_number(entry['of_ok'])} ({entry['ok']} of {entry['networks']})"
        ends = shown_ends(metric, entry["low"], entry["high"])
        half = (entry["high"] - entry["low"]) / 2
        interval = "" if math.isnan(half) else between(*ends, half)
        cells.append([names[index], mean, interval, *(_number(entry[n]) for n in others)])
    title = f"{metric} of the final networks, {design.units_in_words()}"
    return _table(title, ["configuration", metric, "95 %", *others], cells, "summary.csv")


def _comparison_table(comparison: Comparison) -> Any:
    """Returns the differences, best first."""
    from regjax.study.selection import higher_is_better, ranking

    table = comparison.table
    entries: list[dict[Any, Any]] = table.to_dict("records")
    one_split = not all(math.isnan(entry["sampling_se"]) for entry in entries)
    cells = []
    for index in ranking(table["difference"].to_numpy(float), higher_is_better(comparison.metric)):
        entry = entries[index]
        if math.isnan(entry["low"]):
            cells.append([entry["name"], entry["sentence"], "", *([""] if one_split else []), "", "", ""])
            continue
        half = (entry["high"] - entry["low"]) / 2
        sampling = [rounded(entry["sampling_se"], half)] if one_split else []
        ends = entry["family_low"], entry["family_high"]
        family = "" if math.isnan(ends[0]) else between(*ends, half, "+")
        numbers = [rounded(entry["difference"], half, "+"), between(entry["low"], entry["high"], half, "+")]
        could = "" if math.isnan(entry["detectable"]) else two_digits(entry["detectable"])
        cells.append([entry["name"], *numbers, *sampling, family, entry["verdict"], could])
    extra = ["held-out samples, 1 se"] if one_split else []
    columns = ["configuration", "difference", "95 %", *extra, "family", "verdict", "detectable"]
    return _table(comparison.title, columns, cells, "comparison.csv")


def _needs(comparison: Comparison) -> list[str]:
    """Returns what the best configuration needs, where it is not separated; the one question says it else."""
    from regjax.study.selection import higher_is_better, ranking

    table = comparison.table
    best = int(ranking(table["difference"].to_numpy(float), higher_is_better(comparison.metric))[0])
    entry: dict[Any, Any] = table.iloc[best].to_dict()
    if math.isnan(entry["detectable"]):
        return []
    return [f"{entry['name']} {in_words(entry['detectable'], entry['difference'], entry['needs'])}."]


def _number(value: float) -> str:
    return "" if math.isnan(value) else as_number(value)
