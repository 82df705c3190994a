"""Figures of a sweep over two axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from regjax.plot.canvas import (
    CHOSEN,
    DIGITS,
    NOTHING,
    Panels,
    axes_or_new,
    drawable,
    figure_or_new,
    root_of,
    scale_of,
    set_title,
)
from regjax.plot.lines import draw_along
from regjax.plot.request import chosen_of, more_is_better, order_of, ranked_by, recorded, two_axes, units_of
from regjax.study.configuration import value_of
from regjax.study.results import Results
from regjax.study.words import as_text, describe, in_order


def heatmap(
    results: Results,
    *,
    metric: str | None = None,
    x: str | None = None,
    y: str | None = None,
    figure: Panels | None = None,
) -> Figure:
    """Returns a metric of the final networks over two axes, mean over the units of evidence.

    A panel per combination of the other axes, of which the best is taken where there are more than nine.
    The chosen configuration is framed; where networks diverged, a cell is hatched and says how many did
    not. A random design is drawn as points, one axis as points with their intervals.

    Args:
        results: of the sweep.
        metric: any that is recorded; None takes val_accuracy or val_r2. Which configuration is the best is
            decided by validation alone, whatever is shown.
        x: axis from left to right; None takes the longest that is free.
        y: axis from bottom to top, likewise.
        figure: where the panels go; None makes one.

    Raises:
        ValueError: no such metric, or an axis that the grid does not mention.
    """
    metric = recorded(results, metric)
    design, order, chosen = results.design, order_of(results, metric), chosen_of(results, metric)
    x, y = two_axes(results, x, y)
    title = f"mean {metric}, {units_of(results)}"
    means = drawable(results.units(metric).mean(axis=1))
    if y is None:
        figure = figure_or_new(figure, (7, 4.6))
        ax = figure.subplots()
        note = draw_along(results, ax, x, results.units(metric), order, chosen, figure)
        ax.set_ylabel(design.in_units(metric))
        set_title(ax, f"{title}; bars: 95 % of each alone, not of differences{note}")
        return root_of(figure)
    if chosen is not None:
        title += f"; framed: the best by {ranked_by(results, metric)}"
    across, down = (in_order(value_of(c, name) for c in design.configurations) for name in (x, y))
    colours, norm = _colours(metric, means)
    if len(across) * len(down) > 10 * len(design.configurations):
        figure = figure_or_new(figure, (7.5, 5.2))
        ax = figure.subplots()
        _scatter(results, ax, x, y, means, colours, norm)
        if chosen is not None:
            at = (
                scale_of(n, v).places[value_of(design.configurations[chosen], n)]
                for n, v in ((x, across), (y, down))
            )
            ax.plot(*at, "o", markersize=13, fillstyle="none", color=CHOSEN, markeredgewidth=2, gid="chosen")
        set_title(ax, title.replace("framed", "ringed") + "; ×: networks diverged")
        figure.colorbar(ScalarMappable(norm, colours), ax=ax, label=design.in_units(metric), format="%.4g")
        return root_of(figure)
    others = [name for name in design.axes if name not in (x, y)]
    combinations = {describe(c, others) for c in design.configurations}
    panels: dict[str, dict[tuple[int, int], int]] = {}
    rows, columns = ({value: place for place, value in enumerate(values)} for values in (down, across))
    for index in order.tolist():  # the best of several in one place comes first and stays
        c = design.configurations[index]
        name = describe(c, others, DIGITS) if len(combinations) <= 9 else f"the best of {', '.join(others)}"
        where = rows[value_of(c, y)], columns[value_of(c, x)]
        panels.setdefault(name if others else "", {}).setdefault(where, index)
    wide = min(len(panels), 3 if len(across) <= 4 else 2)
    high = -(-len(panels) // wide)
    size = min(max(1 + 0.6 * len(across), 3), 10 / wide), min(max(1.1 + 0.4 * len(down), 2.4), 10 / high)
    figure = figure_or_new(figure, (size[0] * wide + 1.4, size[1] * high + 0.8))
    axes = figure.subplots(high, wide, squeeze=False)
    for ax in axes.ravel()[len(panels) :]:
        ax.set_axis_off()
    hatched = results.num_ok() < design.num_replicates
    for ax, name in zip(axes.ravel(), sorted(panels), strict=False):
        shade = np.full((len(down), len(across)), np.nan)
        texts = {}
        for where, index in panels[name].items():
            shade[where] = means[index]
            texts[where] = _number(means[index]) if np.isfinite(means[index]) else "–"
            if hatched[index]:
                texts[where] = f"{results.num_ok()[index]} of {design.num_replicates}"
        lost = [where for where, index in panels[name].items() if hatched[index]]
        _draw_cells(ax, shade, texts, colours, norm, (x, across), (y, down), size, lost)
        if chosen in panels[name].values():
            (at,) = (where for where, index in panels[name].items() if index == chosen)
            ax.add_patch(_cell(at, fill=False, edgecolor=CHOSEN, linewidth=2.5, gid="chosen"))
        ax.set_title(name, fontsize="small")
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=design.in_units(metric), format="%.4g")
    set_title(figure, title + ("; hatched: so many did not diverge" if hatched.any() else ""))
    return root_of(figure)


def stability(results: Results, *, y: str = "l2", ax: Axes | None = None) -> Figure:
    """Returns where training diverges, over learning rate and λ: the share of networks that did, in grey.

    Where none did, the final loss, on validation if there is any. Several configurations in one place are
    taken together.

    Args:
        results: of the sweep.
        y: the axis beside learning_rate.
        ax: where it is drawn; None makes a figure.

    Raises:
        ValueError: the grid does not mention learning_rate and y.
    """
    design = results.design
    for name in ("learning_rate", y):
        if name not in design.names:
            raise ValueError(
                f"stability must have learning_rate and {y} in the grid, got "
                f"{', '.join(design.names) or 'no axes'}: sweep with several values of {name}"
            )
    metric = "train_loss" if design.splits.kind == "none" else "val_loss"
    means = drawable(results.units(metric).mean(axis=1))
    lost = 1 - results.num_ok() / design.num_replicates
    across, down = (in_order(value_of(c, n) for c in design.configurations) for n in ("learning_rate", y))
    sparse = len(across) * len(down) > 10 * len(design.configurations)
    size = min(max(2.6 + 0.62 * len(across), 5.5), 10), min(max(2 + 0.42 * len(down), 3.4), 8)
    figure, ax = axes_or_new(ax, size)
    title = f"stability: {metric} where no network diverged ({units_of(results)})"
    if sparse:
        colours, norm = _colours(metric, means)
        _scatter(results, ax, "learning_rate", y, np.where(lost > 0, np.nan, means), colours, norm)
        set_title(ax, f"{title}; ×: networks diverged")
    else:
        shade, share = (np.full((len(down), len(across)), np.nan) for _ in range(2))
        inside: dict[tuple[int, int], list[int]] = {}
        rows, columns = ({value: place for place, value in enumerate(values)} for values in (down, across))
        for index, c in enumerate(design.configurations):
            inside.setdefault((rows[value_of(c, y)], columns[value_of(c, "learning_rate")]), []).append(index)
        texts = {}
        for where, indices in inside.items():
            total = len(indices) * design.num_replicates
            bad = total - int(results.num_ok()[indices].sum())
            if bad:
                share[where] = bad / total
                texts[where] = f"{bad} of {total}"
            else:
                shade[where] = means[indices].mean()
                texts[where] = _number(shade[where])
        colours, norm = _colours(metric, shade)
        _draw_cells(ax, shade, texts, colours, norm, ("learning_rate", across), (y, down), size, [])
        grey = matplotlib.colormaps["Greys"].with_extremes(bad="#FFFFFF00")
        ax.imshow(share, cmap=grey, vmin=-0.4, vmax=1.3, aspect="auto", origin="lower", gid="diverged")
        for where in inside:  # dark ground, light ink
            if share[where] > 0.5:
                next(t for t in ax.texts if t.get_position() == where[::-1]).set_color("white")
        pooled = max(map(len, inside.values()))
        title += "; grey, the darker the more: so many diverged"
        title += f"; each cell holds {pooled} configurations" if pooled > 1 else ""
        set_title(ax, title)
    figure.colorbar(ScalarMappable(norm, colours), ax=ax, label=design.in_units(metric), format="%.4g")
    return figure


def _colours(
    metric: str, means: np.ndarray
) -> tuple[matplotlib.colors.Colormap, matplotlib.colors.Normalize]:
    """Returns colours, light where a metric is good, and the range of what is finite."""
    more = more_is_better(metric)
    finite = means[np.isfinite(means)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):  # all equal
        low, high = low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    spread = not more and low > 0 and high > 30 * low
    norm = matplotlib.colors.LogNorm(low, high) if spread else matplotlib.colors.Normalize(low, high)
    return matplotlib.colormaps["viridis" if more else "viridis_r"].with_extremes(bad=NOTHING), norm


def _cell(where: tuple[int, int], **looks: Any) -> Rectangle:
    return Rectangle((where[1] - 0.5, where[0] - 0.5), 1, 1, **looks)


def _draw_cells(
    ax: Axes,
    shade: np.ndarray,
    texts: Mapping[tuple[int, int], str],
    colours: matplotlib.colors.Colormap,
    norm: matplotlib.colors.Normalize,
    across: tuple[str, Sequence[Any]],
    down: tuple[str, Sequence[Any]],
    size: tuple[float, float],
    hatched: Sequence[tuple[int, int]],
) -> None:
    """Draws a map of cells, `(down, across)`, with what they say where there is room for it.

    Args:
        ax: where.
        shade: what is coloured; NaN is grey.
        texts: of the cells, by row and column.
        colours: of the map.
        norm: range of the colours.
        across: name and values from left to right.
        down: name and values from bottom to top.
        size: inches of the panel.
        hatched: cells whose networks diverged.
    """
    ax.imshow(shade, cmap=colours, norm=norm, aspect="auto", origin="lower")
    room = (size[0] - 1) / len(across[1]) > 0.4 and (size[1] - 1) / len(down[1]) > 0.2
    if room:
        for (row, column), text in texts.items():
            red, green, blue, _ = colours(norm(shade[row, column]))
            bright = np.isnan(shade[row, column]) or 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
            ink = "black" if bright else "white"
            ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
        for where in hatched:
            ax.add_patch(
                _cell(where, fill=False, edgecolor="#888888", hatch="///", linewidth=0, gid="diverged")
            )
    for axis, (name, values), inches in ((ax.xaxis, across, size[0]), (ax.yaxis, down, size[1])):
        every = -(-len(values) // max(1, int(2.5 * (inches - 1))))
        axis.set_ticks(range(0, len(values), every), [as_text(v, DIGITS) for v in values[::every]])
        axis.set_label_text(name)
    ax.tick_params(axis="x", labelrotation=45)


def _scatter(
    results: Results,
    ax: Axes,
    x: str,
    y: str,
    values: np.ndarray,
    colours: matplotlib.colors.Colormap,
    norm: matplotlib.colors.Normalize,
) -> None:
    """Draws each configuration at its place on two axes, coloured by a value; a cross where it is NaN."""
    at = []
    for name, axis in ((x, ax.xaxis), (y, ax.yaxis)):
        found = [value_of(c, name) for c in results.design.configurations]
        scale = scale_of(name, found)
        scale.put_on(axis)
        at.append([scale.places[value] for value in found])
    x_at, y_at = np.array(at)
    good = np.isfinite(values)
    size = 40 if len(values) <= 300 else 12
    ax.scatter(x_at[~good], y_at[~good], marker="x", color="#555555", s=size, linewidths=1, gid="diverged")
    ax.scatter(x_at[good], y_at[good], c=values[good], cmap=colours, norm=norm, s=size)


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"
