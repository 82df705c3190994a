"""Figures of a sweep along one axis: against the step, and against λ."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regjax.core.config import shown
from regjax.core.hparams import OFF_VALUES
from regjax.plot.canvas import (
    CHOSEN,
    DIGITS,
    LINES,
    Panels,
    add_legend,
    axes_or_new,
    drawable,
    figure_or_new,
    root_of,
    say,
    scale_of,
    set_title,
)
from regjax.plot.request import (
    check_kept,
    more_is_better,
    order_of,
    ranked_by,
    recorded,
    strength_of,
    units_of,
)
from regjax.study.comparison import unit_interval
from regjax.study.configuration import value_of
from regjax.study.results import Results
from regjax.study.words import describe, in_order

# Points along an axis that have a bar.
MAX_BARS = 200


def curves(
    results: Results, *, metric: str | None = None, num: int = 5, figure: Panels | None = None
) -> Figure:
    """Returns cost, loss and a metric against the step: of the best configurations, and of the baseline.

    Lines are means over seeds and folds, and end where a network diverged. Bands reach from the lowest to
    the highest seed, each the mean over its folds. A network that has stopped goes on at the value of the
    parameters that were put back.

    Args:
        results: of the sweep.
        metric: what is drawn beside cost and loss, and (of validation) says which are the best; None takes
            val_accuracy or val_r2.
        num: configurations, at most 5.
        figure: where the panels go; None makes one.
    """
    design, metric = results.design, recorded(results, metric)
    order = order_of(results, metric).tolist()
    off = [i for i in order if all(value_of(design.configurations[i], n) == v for n, v in OFF_VALUES.items())]
    chosen = list(dict.fromkeys([*order[:num], *off[:1]]))
    split = "train" if design.splits.kind == "none" else "val"
    loss = metric if metric.endswith("_loss") else f"{split}_loss"
    other = metric if metric not in ("train_cost", loss) else design.shown_metric
    figure = figure_or_new(figure, (9.5, 7))
    *panels, corner = figure.subplots(2, 2).ravel()
    handles = _draw_curves(results, panels[0], "train_cost", chosen)
    set_title(panels[0], "train_cost, as optimised: not comparable across configurations")
    for ax, what in zip(panels[1:], (loss, other), strict=True):
        if ax is panels[2] and other == loss:
            ax.set_axis_off()
            continue
        _draw_curves(results, ax, what, chosen)
        thin = "" if what.startswith("train_") else "; thin: on the training rows"
        set_title(ax, f"{what}{thin}")
    corner.set_axis_off()
    names = [
        design.in_words(design.configurations[i], DIGITS) + (" (all off)" if i in off else "") for i in chosen
    ]
    ok = results.num_ok()[chosen]
    lost = [f", {n} of {design.num_replicates} ok" if n < design.num_replicates else "" for n in ok]
    names = [textwrap.fill(name + more, 44) for name, more in zip(names, lost, strict=True)]
    corner.legend(handles, names, loc="upper left", fontsize="small", frameon=False)
    words = f"lines: means {units_of(results)}"
    if len(design.seeds) > 1:
        words += "; bands: from the lowest to the highest seed" + (
            ", each the mean over its folds" if design.num_folds > 1 else ""
        )
    corner.text(0.02, 0.02, textwrap.fill(words, 52), transform=corner.transAxes, fontsize="small")
    count = f"the best {min(num, len(order))} of {len(order):,} by {ranked_by(results, metric)}"
    set_title(figure, count if len(order) > 1 else "training")
    return root_of(figure)


def _draw_curves(results: Results, ax: Axes, what: str, chosen: Sequence[int]) -> list[Line2D]:
    """Draws a metric bold with its band, the same on the training rows thin; returns the bold lines."""
    design, handles = results.design, []
    train = "train_" + what.split("_", 1)[1]
    sound, all_ = [], []
    for index, (colour, dash) in zip(chosen, LINES, strict=False):
        steps = results.steps(index)
        for part in (what, train) if train in results.records and train != what else (what,):
            seeds = drawable(results.carried_on(part, index))[..., : len(steps)].mean(axis=1)
            bold = part == what
            mean = seeds.mean(axis=0)
            (line,) = ax.plot(steps, mean, linestyle=dash, linewidth=1.8 if bold else 0.8, color=colour)
            if np.isfinite(mean).sum() == 1:  # no line
                ax.plot(steps, mean, ".", color=colour)
            if bold:
                handles.append(line)
                low, high = seeds.min(axis=0), seeds.max(axis=0)
                if len(seeds) > 1:
                    ax.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
            # The untrained network is off the scale where there is more to see.
            later = seeds[:, 1:] if len(steps) > 10 else seeds
            reached = later[np.isfinite(later)]
            all_.append(reached)
            if results.num_ok()[index] == design.num_replicates:
                sound.append(reached)
    # What diverges is off the scale for a while before.
    reached = np.concatenate([*(sound or all_), np.zeros(0)])
    if len(reached):
        if not more_is_better(what) and reached.max() > 1e3:
            ax.set_yscale("symlog")
        else:
            margin = 0.05 * float(np.ptp(reached)) or 0.05
            ax.set_ylim(reached.min() - margin, reached.max() + margin)
    else:
        say(ax, "nothing to show")
    last = max(results.steps(index)[-1] for index in chosen)
    ax.set_xlim(-0.04 * last, 1.04 * last)
    ax.set_xlabel("step")
    ax.set_ylabel(design.in_units(what))
    ax.grid(alpha=0.25)
    return handles


# -- against λ ---------------------------------------------------------------------------------------------


def gap(
    results: Results, *, metric: str | None = None, x: str | None = None, ax: Axes | None = None
) -> Figure:
    """Returns how much better a metric is on the training rows than on the held-out ones, against λ.

    Bars are 95 % intervals of the mean difference, paired by fold (or seed, on one split). Where other axes
    vary, a line is one combination of them; the six with the best configurations are drawn.

    Args:
        results: of the sweep.
        metric: a validation metric; None takes val_accuracy or val_r2.
        x: the axis; None takes l2, or the first regulariser of the grid.
        ax: where it is drawn; None makes a figure.

    Raises:
        ValueError: nothing is held out, no such metric, or an axis that the grid does not mention.
    """
    design = results.design
    if design.splits.kind == "none":
        raise ValueError("gap must have rows held out from training, got none: sweep with folds=5")
    known = [name for name in (f"val_{name}" for name in design.metrics) if name in results.records]
    metric = design.shown_metric if metric is None else metric
    if metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, got {shown(metric)}")
    x = strength_of(results, x)
    given = ax
    figure, ax = axes_or_new(ax, (7, 4.8))
    note = draw_along(results, ax, x, results.gap(metric), order_of(results, metric), None, given or figure)
    ax.axhline(0, color="#000000", linewidth=0.8)
    ax.set_ylabel(f"gap in {design.in_units(metric.removeprefix('val_'))}")
    set_title(ax, f"how much better on training rows, {units_of(results)}; bars: 95 % of each alone{note}")
    return figure


def path(results: Results, *, x: str | None = None, figure: Panels | None = None) -> Figure:
    """Returns norms and sparsity of the weights against λ, means over the networks that were kept.

    The Frobenius norm of all weights, and of each layer; the share of weights that are 0, and of those
    below a thousandth of the network's largest. Biases do not count. Where other axes vary, a line is one
    combination of them; the six with the best configurations are drawn.

    Args:
        results: of a sweep whose parameters were kept.
        x: the axis; None takes l2, or the first regulariser of the grid.
        figure: where the panels go; None makes one.

    Raises:
        ValueError: no parameters, or an axis that the grid does not mention.
    """
    check_kept(results, "path")
    design, x = results.design, strength_of(results, x)
    order = order_of(results, design.shown_metric)
    lines, lined, note = _combinations(results, x, order)
    scale = scale_of(x, [value_of(c, x) for c in design.configurations])
    found: dict[int, list[list[float]]] = {}
    for row, params in results.kept.items():
        weights = [np.asarray(layer.w, np.float64) for layer in params]
        layers = [float(np.sqrt(np.sum(w**2))) for w in weights]
        sizes = np.abs(np.concatenate([w.ravel() for w in weights]))
        near = float(np.mean(sizes <= 1e-3 * sizes.max()))
        numbers = [float(np.sqrt(np.sum(np.square(layers)))), float(np.mean(sizes == 0)), near, *layers]
        found.setdefault(design.row(row).configuration, []).append(numbers)
    figure = figure_or_new(figure, (9.5, 7))
    whole, by_layer, sparsity, corner = figure.subplots(2, 2).ravel()
    means = {index: np.mean(numbers, axis=0) for index, numbers in found.items()}
    handles = []
    for (name, indices), (colour, dash) in zip(lines, LINES, strict=False):
        there = [index for index in indices if index in means]
        at = [scale.places[value_of(design.configurations[index], x)] for index in there]
        looks: dict[str, Any] = {
            "color": colour,
            "linestyle": dash if lined else "",
            "marker": "o",
            "markersize": 4,
        }
        norms, exact, near = (np.array([means[i][k] for i in there]) for k in range(3))
        handles += whole.plot(at, norms, **looks, label=name)
        sparsity.plot(at, exact, **looks)
        sparsity.plot(at, near, **looks, fillstyle="none", linewidth=0.8)
    best = [index for index in lines[0][1] if index in means]
    at = [scale.places[value_of(design.configurations[index], x)] for index in best]
    depths = {len(means[index]) - 3 for index in best}
    if len(depths) == 1:
        for layer, (colour, dash) in zip(range(depths.pop()), LINES, strict=False):
            norms = [means[index][3 + layer] for index in best]
            style = dash if lined else ""
            by_layer.plot(
                at, norms, color=colour, linestyle=style, marker="s", markersize=4, label=f"layer {layer + 1}"
            )
        by_layer.legend(fontsize="small")
    for ax, name, title in (
        (whole, "Frobenius norm", "all weights"),
        (by_layer, "Frobenius norm", "each layer" + (f" of {lines[0][0]}" if len(lines) > 1 else "")),
        (sparsity, "share of weights", "small weights; filled: 0, hollow: < 1/1000 of the largest"),
    ):
        scale.put_on(ax.xaxis)
        ax.set_ylabel(name)
        set_title(ax, title)
        ax.grid(alpha=0.25)
        if not means:
            say(ax, "all networks diverged")
        elif ax is sparsity:
            ax.set_ylim(-0.03, 1.03)
        elif max(n[0] for n in means.values()) > 1e3 * min(n[0] for n in means.values()) > 0:
            ax.set_yscale("log")
        else:
            ax.set_ylim(0)
    corner.set_axis_off()
    if len(lines) > 1:
        names = [textwrap.fill(name, 44) for name, _ in lines]
        corner.legend(handles, names, loc="upper left", fontsize="small", frameon=False)
    counts = sorted({len(numbers) for numbers in found.values()})
    kept = "–".join(str(n) for n in dict.fromkeys((counts or [0])[:: max(1, len(counts) - 1)]))
    words = f"means over the kept networks: {kept} of {design.num_replicates} per configuration{note}"
    corner.text(0.02, 0.02, textwrap.fill(words, 52), transform=corner.transAxes, fontsize="small")
    set_title(figure, f"regularisation path: the weights against {x}")
    return root_of(figure)


def _combinations(
    results: Results, x: str, order: np.ndarray
) -> tuple[list[tuple[str, list[int]]], bool, str]:
    """Returns what is drawn along an axis: (name, configurations in order), whether they make lines, a note.

    A line is one combination of the other axes, at most six, those of the best configurations first. In a
    random design nothing lies on a line: all configurations are then points of their own.
    """
    design = results.design
    others = [name for name in design.axes if name != x]
    place = {value: at for at, value in enumerate(in_order(value_of(c, x) for c in design.configurations))}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index in order.tolist():
        c = design.configurations[index]
        groups.setdefault(tuple(value_of(c, name) for name in others), []).append(index)

    def along(indices: list[int]) -> list[int]:
        return sorted(indices, key=lambda i: place[value_of(design.configurations[i], x)])

    if len(groups) > len(LINES) and max(map(len, groups.values())) < 2:
        return [("", along(order.tolist()))], False, f"; {', '.join(others)} vary too"
    # The best of them, in the order of their axes.
    ranks = {name: in_order(value_of(c, name) for c in design.configurations) for name in others}
    best = dict(list(groups.items())[: len(LINES)])
    best = sorted(best, key=lambda values: [ranks[n].index(v) for n, v in zip(others, values, strict=True)])
    named = [
        (describe(design.configurations[groups[values][0]], others, DIGITS), along(groups[values]))
        if others
        else ("", along(groups[values]))
        for values in best
    ]
    note = ""
    if len(groups) > len(LINES):
        note = f"; the best {len(LINES)} of {len(groups):,} combinations of {', '.join(others)}"
    return named, True, note


def draw_along(
    results: Results,
    ax: Axes,
    x: str,
    table: np.ndarray,
    order: np.ndarray,
    chosen: int | None,
    legend_in: Axes | Panels,
) -> str:
    """Draws means over units with their intervals along an axis; returns a note for the title.

    Args:
        results: of the sweep.
        ax: where.
        x: the axis.
        table: `(configurations, units)`.
        order: configurations from best to worst.
        chosen: a configuration that is ringed, or None.
        legend_in: where the legend goes, if one is needed.
    """
    design = results.design
    lines, lined, note = _combinations(results, x, order)
    scale = scale_of(x, [value_of(c, x) for c in design.configurations])
    scale.put_on(ax.xaxis)
    table = drawable(table)
    ok = results.num_ok()
    lost, bars = 0, []
    # Beside each other, but nearer to their value than to the next.
    gaps = np.diff(sorted(scale.places.values()))
    apart = min([0.012 * scale.span, *(0.7 * gaps / len(lines))])
    for number, ((_, indices), (colour, dash)) in enumerate(zip(lines, LINES, strict=False)):
        aside = (number - (len(lines) - 1) / 2) * apart
        at = np.array([scale.places[value_of(design.configurations[i], x)] for i in indices]) + aside
        mean, reach = table[indices].mean(axis=1), None
        if len(indices) <= MAX_BARS:
            found = [unit_interval(design, table[i]) for i in indices]
            reach = np.array([f.high - f.mean for f in found])
        size = 5 if len(indices) <= 100 else 2.5
        style = dash if lined and len(indices) > 1 else ""
        bars.append(
            ax.errorbar(
                at, mean, reach, color=colour, linestyle=style, marker="o", markersize=size, capsize=3
            )
        )
        bad = ~np.isfinite(mean)
        ax.scatter(
            at[bad],
            np.full(int(bad.sum()), 0.03 + 0.03 * number),
            marker="x",
            color=colour,
            transform=ax.get_xaxis_transform(),
            gid="diverged",
        )
        lost += int(bad.sum())
        if chosen in indices:
            here = indices.index(chosen)
            ax.plot(at[here], mean[here], "o", markersize=13, fillstyle="none", color=CHOSEN, gid="chosen")
            note = f"; ringed: the chosen one{note}"
        if len(lines) == 1 and lost <= 12:
            for place, index in zip(at[bad], np.array(indices)[bad].tolist(), strict=True):
                words = f"{ok[index]} of {design.num_replicates} ok"
                ax.annotate(
                    words,
                    (place, 0.05),
                    xycoords=ax.get_xaxis_transform(),
                    rotation=90,
                    ha="center",
                    fontsize=8,
                )
    if len(lines) > 1:
        add_legend(legend_in, bars, [name for name, _ in lines])
    if max(len(indices) for _, indices in lines) > MAX_BARS:
        note = f"; no bars of more than {MAX_BARS} points{note}"
    ax.grid(alpha=0.25)
    return note + ("; ×: networks diverged" if lost else "")
