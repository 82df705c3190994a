"""Figures, on matplotlib without pyplot: nothing here touches global state.

Colours are those of Okabe & Ito (2008), which colour-blind eyes can tell apart; classes and runs also
differ in marker or line style.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from regjax.compare import Run, probabilities
from regjax.comparison import unit_interval
from regjax.config import Config
from regjax.data import Data
from regjax.grid import as_text, describe, value_of
from regjax.hparams import OFF_VALUES
from regjax.results import Results
from regjax.selection import higher_is_better, ranking

CLASS_COLOURS = ("#D55E00", "#0072B2")
CLASS_MARKERS = ("o", "^")
BEST = "#D55E00"
# Of hyperparameters.
DIGITS = 4
# Inches of a side of a picture.
LONGEST = 30
# Okabe & Ito's, with a dash each, for whoever sees no colours.
LINES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#56B4E9", (0, (5, 1))),
    ("#000000", (0, (1, 1))),
)
RUN_STYLES = (("#000000", "-"), ("#009E73", "--"), ("#CC79A7", "-."))


def dataset(train: Data, test: Data) -> Figure:
    """Returns the 2-D data set: training and test rows side by side, classes by colour and marker."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, data, name in zip(axes, (train, test), ("train", "test"), strict=True):
        _points(ax, data, size=16)
        ax.set_title(f"{name}: {data.x.shape[1]} points")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def cost_curves(runs: Sequence[Run]) -> Figure:
    """Returns cost against step: left what is optimised, right the data loss on train and test.

    The left costs cannot be compared across runs (they hold penalties and dropout's noise); the right
    ones can.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for run, (colour, dash) in zip(runs, RUN_STYLES, strict=False):
        h = run.history
        left.plot(h["step"], h["cost"], dash, color=colour, label=run.name)
        right.plot(h["step"], h["train_loss"], dash, color=colour, linewidth=1, alpha=0.6)
        right.plot(h["step"], h["test_loss"], dash, color=colour, linewidth=2.2, label=run.name)
    left.set_title("cost as optimised (not comparable across runs)", fontsize="medium")
    right.set_title("data loss without dropout: test bold, train thin", fontsize="medium")
    for ax, what in ((left, "cost (nats)"), (right, "loss (nats per example)")):
        ax.set_xlabel("step")
        ax.set_ylabel(what)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.25)
        ax.legend()
    return figure


def decision_boundaries(runs: Sequence[Run], train: Data, config: Config, *, resolution: int = 160) -> Figure:
    """Returns one panel per run: probability of class 1 as shade, the ½ line, training points on top."""
    sides, grid = _plane(train, resolution)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *(run.params for run in runs))
    shades = np.asarray(probabilities(stacked, grid, config=config.program()))
    figure = Figure(figsize=(4.2 * len(runs), 4.7), layout="constrained")
    axes = figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False)[0]
    for ax, run, shade in zip(axes, runs, shades, strict=True):
        _boundary(ax, sides, shade, train, 12)
        ax.set_title(_title(run))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def boundary_sheet(
    results: Results, rows: Sequence[int], titles: Sequence[str], *, columns: int = 6, resolution: int = 100
) -> Figure:
    """Returns one panel per network of a sweep on two features and two classes, as `decision_boundaries`.

    Args:
        results: of the sweep, whose parameters were kept.
        rows: which of its networks; those that diverged have an empty panel that says so.
        titles: one per row.
        columns: panels beside each other.
        resolution: points along each side of a panel.
    """
    data = results.design.data
    sides, grid = _plane(data, resolution)
    lines = -(-len(rows) // columns)
    columns = min(columns, len(rows))
    figure = Figure(figsize=(2.1 * columns, 2.25 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, row, title in zip(axes, rows, titles, strict=False):
        if results.diverged_at[row] >= 0:
            ax.text(0.5, 0.5, "diverged", ha="center", transform=ax.transAxes)
        else:
            _boundary(ax, sides, results.predict_proba(row, grid.T)[:, 1], data, 3)
        ax.set_title(title, fontsize="small")
        ax.tick_params(labelsize="x-small")
        ax.label_outer()
    for ax in axes[len(rows) :]:
        ax.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _plane(data: Data, resolution: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the two sides of a grid over the data and a bit beyond, and its points, `(2, points)`."""
    low, high = data.x.min(axis=1), data.x.max(axis=1)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)  # a constant feature has no range
    sides = [np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True)]
    return sides, np.stack([side.ravel() for side in np.meshgrid(*sides)]).astype(np.float32)


def _boundary(ax: Axes, sides: list[np.ndarray], shade: np.ndarray, data: Data, size: float) -> None:
    """Draws the probability of class 1 as shade, the ½ line, and the rows on top."""
    colours = matplotlib.colors.LinearSegmentedColormap.from_list(
        "classes", [CLASS_COLOURS[0], "#FFFFFF", CLASS_COLOURS[1]]
    )
    shade = shade.reshape(len(sides[1]), len(sides[0]))
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    ax.imshow(shade, origin="lower", extent=extent, cmap=colours, vmin=0, vmax=1, alpha=0.5, aspect="auto")
    if np.isfinite(shade).all() and shade.min() < 0.5 < shade.max():
        ax.contour(*sides, shade, levels=[0.5], colors="black", linewidths=1.3)
    _points(ax, data, size=size)


def masks(masks: Sequence[np.ndarray], keep_prob: float, step: str) -> Figure:
    """Returns what dropout switched off: one panel per hidden layer, a row a unit, a column a sample.

    Args:
        masks: 1 where a unit is kept and 0 where it is off, `(units, n)` each.
        keep_prob: what was asked for.
        step: words that say at which step.
    """
    heights = [max(mask.shape[0], 4) for mask in masks]
    figure = Figure(figsize=(9, 1.6 + 0.16 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(masks), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for number, (ax, mask) in enumerate(zip(axes, masks, strict=True), 1):
        ax.imshow(mask, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        ax.set_title(f"hidden layer {number}: {np.mean(mask):.1%} kept", fontsize="medium")
        ax.set_ylabel("unit")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlabel("training sample")
    figure.suptitle(f"Units switched off (black) by dropout, keep_prob = {keep_prob:g}, {step}")
    return figure


def scores(results: Results, metric: str) -> Figure:
    """Returns a metric of every configuration's final networks, mean over the units of evidence.

    Two axes or more: heat maps of the two longest, a panel per combination of the others, of which the
    best is taken where there are more than nine. One axis: points with their 95 % intervals.
    """
    axes = results.design.axes
    if len(axes) < 2:
        return _intervals(results, metric)
    across, down, *others = sorted(axes, key=lambda name: -len(axes[name]))
    columns, rows = _in_order(axes[across]), _in_order(axes[down])
    higher = higher_is_better(metric)
    means, ok = results.units(metric).mean(axis=1), results.num_ok()
    best = int(ranking(means, higher)[0])
    panels: dict[str, dict[tuple[int, int], int]] = {}
    configurations = results.design.configurations
    combinations = {describe(c, others) for c in configurations}
    for index in ranking(means, higher):  # the best of several in one place comes first and stays
        c = configurations[int(index)]
        where = rows.index(value_of(c, down)), columns.index(value_of(c, across))
        title = describe(c, others, DIGITS) if len(combinations) <= 9 else f"the best of {', '.join(others)}"
        panels.setdefault(title if others else "", {}).setdefault(where, int(index))
    wide = min(len(panels), 3)
    high = -(-len(panels) // wide)
    # Of at most LONGEST inches a side; what has no room is not labelled.
    size = (max(2.6 + 0.62 * len(columns), 4) * wide, (1.9 + 0.42 * len(rows)) * high + 0.5)
    size = (min(size[0], LONGEST), min(size[1], LONGEST))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(high, wide, squeeze=False)
    finite = means[np.isfinite(means)]
    limits = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    colours = matplotlib.colormaps["viridis" if higher else "viridis_r"].with_extremes(bad="#DDDDDD")
    for ax in grid.ravel()[len(panels) :]:
        ax.set_axis_off()
    for ax, title in zip(grid.ravel(), sorted(panels), strict=False):
        shade = np.full((len(rows), len(columns)), np.nan)
        for where, index in panels[title].items():
            shade[where] = means[index]
        image = ax.imshow(shade, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        for (row, column), index in panels[title].items():
            text = f"{means[index]:.3f}"
            if ok[index] < results.design.num_replicates:
                text = f"{ok[index]} of {results.design.num_replicates}"
            dark = np.isfinite(means[index]) and (means[index] - limits[0] < 0.6 * np.ptp(limits)) == higher
            ink = "white" if dark else "black"
            if len(columns) * wide <= 54 and len(rows) * high <= 60:
                ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)
            if index == best:
                ax.add_patch(
                    Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=BEST, linewidth=2.5)
                )
        for axis, values in ((ax.xaxis, columns), (ax.yaxis, rows)):
            every = -(-len(values) // 40)
            axis.set_ticks(range(0, len(values), every), [as_text(v, DIGITS) for v in values[::every]])
        ax.tick_params(axis="x", labelrotation=45)
        ax.set_xlabel(across)
        ax.set_ylabel(down)
        ax.set_title(title, fontsize="medium")
        figure.colorbar(image, ax=ax, format="%.3g")
    figure.suptitle(f"mean {metric}, {_units(results)}; framed: the best mean", fontsize="medium", wrap=True)
    return figure


def _intervals(results: Results, metric: str) -> Figure:
    """Returns a point with its 95 % interval per configuration of a grid with one axis."""
    design = results.design
    names = [design.in_words(c, DIGITS) for c in design.configurations]
    figure = Figure(figsize=(6.4, min(1.6 + 0.34 * len(names), LONGEST)), layout="constrained")
    ax = figure.subplots()
    places = np.arange(len(names))
    every = -(-len(names) // 90)
    found = [unit_interval(design, row) for row in results.units(metric)]
    mean = np.array([f.mean for f in found])
    reach = np.nan_to_num([f.high - f.mean for f in found])
    ax.errorbar(mean, places, xerr=reach, fmt="o", color=CLASS_COLOURS[1], capsize=3)
    for place, ok in enumerate(results.num_ok()):
        if ok < design.num_replicates:
            text = f"{ok} of {design.num_replicates} did not diverge"
            ax.text(0.02, place, text, transform=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.set_yticks(places[::every], names[::every])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(metric)
    ax.grid(axis="x", alpha=0.25)
    ax.set_title(
        f"{_units(results)}; bars: 95 % of each alone, not of differences", fontsize="small", wrap=True
    )
    return figure


def _carried_on(results: Results, metric: str) -> np.ndarray:
    """Returns the records of a metric, `(rows, records)`; a stopped row goes on at its final value."""
    table = results.records[metric].copy()
    for row in np.flatnonzero(results.stopped_at >= 0).tolist():
        every = results.design.configs[results.design.row(row).configuration].eval_every
        table[row, -(-results.stopped_at[row] // every) + 1 :] = results.values(metric)[row]
    return table


def curves(results: Results, metric: str, *, num: int = 5) -> Figure:
    """Returns loss and a metric against the step, of the best configurations by that metric and the baseline.

    Lines are means over seeds and folds. How much single folds or seeds differ is left out: that is common
    to all configurations, and hides what differs between them. A network that has stopped goes on at the
    value of the parameters that were put back.
    """
    design = results.design
    order = ranking(results.units(metric).mean(axis=1), higher_is_better(metric)).tolist()
    off = [i for i in order if all(value_of(design.configurations[i], n) == v for n, v in OFF_VALUES.items())]
    shown = list(dict.fromkeys([*order[:num], *off[:1]]))
    split = "train" if design.splits.kind == "none" else "val"
    other = metric if not metric.endswith("_loss") else f"{split}_{design.metric.removeprefix('val_')}"
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for index, (colour, dash) in zip(shown, LINES, strict=False):
        steps = results.steps(index)
        label = design.in_words(design.configurations[index], DIGITS)
        label += " (all off)" if index in off else ""
        for ax, what in zip(panels, (f"{split}_loss", other), strict=True):
            for part, width in ((what, 1.8), (f"train_{what.split('_', 1)[1]}", 0.8)):
                table = _carried_on(results, part).reshape(len(order), design.num_replicates, -1)
                line = table[index, :, : len(steps)].mean(axis=0)
                ax.plot(
                    steps,
                    line,
                    linestyle=dash,
                    linewidth=width,
                    color=colour,
                    label=label if width > 1 else None,
                )
    for ax, what in zip(panels, (f"{split}_loss", other), strict=True):
        ax.set_title(
            f"{what}" + ("" if split == "train" else ": bold; on the training rows: thin"), fontsize="medium"
        )
        ax.set_xlabel("step")
        ax.grid(alpha=0.25)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small"
    )
    count = f"the best {min(num, len(order))} of {len(order)} by {metric}" if len(order) > 1 else metric
    figure.suptitle(f"{count}; means {_units(results)}", fontsize="medium", wrap=True)
    return figure


def _units(results: Results) -> str:
    return results.design.units_in_words().split(" (t,")[0].split(":")[0]


def _in_order(values: list[Any]) -> list[Any]:
    return sorted(values) if all(isinstance(v, float) for v in values) else values


def _title(run: Run) -> str:
    setting = {"none": "no regularisation", "l2": f"L2, λ = {run.l2:g}"}.get(
        run.name, f"dropout, keep_prob = {run.keep_prob:g}"
    )
    if run.diverged_at is not None:
        return f"{setting}\ndiverged"
    return f"{setting}\ntrain {run.final('train_accuracy'):.1%}, test {run.final('test_accuracy'):.1%}"


def _points(ax: Axes, data: Data, *, size: float) -> None:
    for label, (colour, marker) in enumerate(zip(CLASS_COLOURS, CLASS_MARKERS, strict=True)):
        x1, x2 = data.x[:, data.y[0] == label]
        ax.scatter(
            x1,
            x2,
            s=size,
            c=colour,
            marker=marker,
            edgecolors="white",
            linewidths=0.4,
            label=f"class {label}",
        )
    ax.set_xlabel("x1")
    ax.set_ylabel("x2")
    ax.xaxis.set_major_locator(MaxNLocator(5))
