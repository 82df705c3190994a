"""Figures along one axis of a grid: `gap`, and the lines that `maps` and `weights` draw too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regjax.core.checks import shown
from regjax.plot.canvas import DIGITS, Panels, add_legend, axes_or_new, drawable, set_title
from regjax.plot.palette import CHOSEN, LINES
from regjax.plot.request import order_of, strength_of
from regjax.plot.scales import Scale, scale_of
from regjax.study.comparison import unit_interval
from regjax.study.configuration import value_of
from regjax.study.design import Design
from regjax.study.results import Results
from regjax.study.words import describe, in_order

# Most points of a line that have an interval each.
MAX_BARS = 200
# Most configurations with diverged networks that each get a text.
MAX_TEXTS = 12


class Along(NamedTuple):
    """The configurations of a grid along one of its axes.

    Attributes:
        scale: the scale of the axis.
        at: the place of each configuration on the axis, `(configurations,)`.
        lines: (name, configurations in the order of the axis) of each line that is drawn.
        joined: whether the points of a line are joined.
        note: words for the title, or "".
    """

    scale: Scale
    at: np.ndarray
    lines: list[tuple[str, list[int]]]
    joined: bool
    note: str


def along(design: Design, x: str, order: np.ndarray) -> Along:
    """Returns the lines along an axis: one for each combination of the other axes.

    At most six are drawn, those with the best configurations. In a random grid nothing lies on a line: all
    configurations are then points of one colour.

    Args:
        design: the design of the sweep.
        x: the axis.
        order: configurations from best to worst.
    """
    values = [value_of(c, x) for c in design.configurations]
    scale = scale_of(x, values)
    at = np.array([scale.places[value] for value in values])
    others = [name for name in design.axes if name != x]
    combinations: dict[tuple[Any, ...], list[int]] = {}
    for index in order.tolist():
        c = design.configurations[index]
        combinations.setdefault(tuple(value_of(c, name) for name in others), []).append(index)
    place = {value: number for number, value in enumerate(in_order(values))}

    def sort_along(indices: list[int]) -> list[int]:
        return sorted(indices, key=lambda index: place[values[index]])

    if len(combinations) > len(LINES) and max(map(len, combinations.values())) < 2:
        return Along(scale, at, [("", sort_along(order.tolist()))], False, f"; {', '.join(others)} vary too")
    note = ""
    if len(combinations) > len(LINES):
        note = f"; the best {len(LINES)} of {len(combinations):,} combinations of {', '.join(others)}"
    # The combinations are in the order of their best configurations, the lines in that of their values.
    ranks = {name: in_order(value_of(c, name) for c in design.configurations) for name in others}
    best = sorted(
        list(combinations)[: len(LINES)],
        key=lambda combination: [ranks[n].index(v) for n, v in zip(others, combination, strict=True)],
    )
    lines = []
    for combination in best:
        members = combinations[combination]
        name = describe(design.configurations[members[0]], others, DIGITS) if others else ""
        lines.append((name, sort_along(members)))
    return Along(scale, at, lines, True, note)


def gap(
    results: Results, *, metric: str | None = None, x: str | None = None, ax: Axes | None = None
) -> Figure:
    """Returns a figure of how much better a metric is on training than on held-out samples, against λ.

    Bars are 95 % intervals of the mean difference, paired by fold (or by seed, on one split). Where other
    axes vary, each line is one combination of their values; the six with the best configurations are drawn.

    Args:
        results: the results of the sweep.
        metric: a validation metric; None is val_accuracy or val_r2.
        x: the axis; None is l2, or the first regulariser of the grid.
        ax: axes that are drawn into; None makes a figure.

    Raises:
        ValueError: nothing is held out, the metric is not recorded, or the grid does not mention the axis.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> figure = regjax.plot.gap(results)
        >>> figure.axes[0].get_xlabel()
        'l2'
    """
    design = results.design
    if design.splits.kind == "none":
        raise ValueError("gap must have samples held out from training, got none: sweep with folds=5")
    known = [name for name in (f"val_{name}" for name in design.metrics) if name in results.records]
    metric = design.shown_metric if metric is None else metric
    if metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, got {shown(metric)}")
    lines = along(design, strength_of(results, x), order_of(results, metric))
    given = ax
    figure, ax = axes_or_new(ax, (7, 4.8))
    note = draw_along(results, ax, lines, results.gap(metric), None, given or figure)
    ax.axhline(0, color="#000000", linewidth=0.8)
    ax.set_ylabel(f"gap in {design.in_units(metric.removeprefix('val_'))}")
    over = design.evidence.mean_in_words()
    set_title(ax, f"how much better on training samples, {over}; bars: 95 % of each alone{note}")
    return figure


def draw_along(
    results: Results, ax: Axes, lines: Along, table: np.ndarray, chosen: int | None, legend_in: Axes | Panels
) -> str:
    """Draws means over the units of evidence with their intervals along an axis.

    Args:
        results: the results of the sweep.
        ax: axes that are drawn into.
        lines: the configurations along the axis.
        table: values, `(configurations, units of evidence)`.
        chosen: a configuration that is ringed, or None.
        legend_in: figure or axes of the legend, where one is needed.

    Returns:
        Words for the title, or "".
    """
    lines.scale.put_on(ax.xaxis)
    table, note = drawable(table), lines.note
    bars, any_lost = [], False
    for number, (_, indices) in enumerate(lines.lines):
        at = lines.at[indices] + _aside(lines, number)
        mean = table[indices].mean(axis=1)
        bars.append(_draw_line(results.design, ax, at, table[indices], number, lines.joined))
        lost = ~np.isfinite(mean)
        height = np.full(int(lost.sum()), 0.03 + 0.03 * number)  # as a share of the axes: no mean says where
        looks: dict[str, Any] = {"marker": "x", "color": LINES[number][0], "gid": "diverged"}
        ax.scatter(at[lost], height, transform=ax.get_xaxis_transform(), **looks)
        any_lost |= bool(lost.any())
        if chosen in indices:
            here = indices.index(chosen)
            ax.plot(at[here], mean[here], "o", markersize=13, fillstyle="none", color=CHOSEN, gid="chosen")
            note = f"; ringed: the chosen one{note}"
        if len(lines.lines) == 1 and lost.sum() <= MAX_TEXTS:
            _count_lost(results, ax, at[lost], np.array(indices)[lost].tolist())
    if len(lines.lines) > 1:
        add_legend(legend_in, bars, [name for name, _ in lines.lines])
    if max(len(indices) for _, indices in lines.lines) > MAX_BARS:
        note = f"; no bars of more than {MAX_BARS} points{note}"
    ax.grid(alpha=0.25)
    return note + ("; ×: networks diverged" if any_lost else "")


def _aside(lines: Along, number: int) -> float:
    """Returns how far a line is moved along the axis, so that the bars of lines stand beside each other."""
    places = np.diff(sorted(lines.scale.places.values()))
    # Nearer to their own value than to the next one.
    apart = min([0.012 * lines.scale.span, *(0.7 * places / len(lines.lines))])
    return (number - (len(lines.lines) - 1) / 2) * apart


def _draw_line(design: Design, ax: Axes, at: np.ndarray, table: np.ndarray, number: int, joined: bool) -> Any:
    """Draws the means of a line over `(points, units of evidence)` with intervals; returns the handle."""
    colour, dash = LINES[number]
    mean, reach = table.mean(axis=1), None
    if len(at) <= MAX_BARS:
        found = [unit_interval(design, units) for units in table]
        reach = np.array([f.high - f.mean for f in found])
    dash = dash if joined and len(at) > 1 else ""
    looks: dict[str, Any] = {"marker": "o", "markersize": 5 if len(at) <= 100 else 2.5, "capsize": 3}
    return ax.errorbar(at, mean, reach, color=colour, linestyle=dash, **looks)


def _count_lost(results: Results, ax: Axes, at: np.ndarray, indices: Sequence[int]) -> None:
    """Writes above each cross how many networks of its configuration did not diverge."""
    looks: dict[str, Any] = {"rotation": 90, "ha": "center", "fontsize": 8}
    for place, index in zip(at, indices, strict=True):
        text = f"{results.num_ok()[index]} of {results.design.num_replicates} ok"
        ax.annotate(text, (place, 0.05), xycoords=ax.get_xaxis_transform(), **looks)
