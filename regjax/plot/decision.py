"""Decision boundaries of a sweep's networks: one, and a sheet of them."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regjax.plot.canvas import (
    DIGITS,
    MAX_POINTS,
    Panels,
    axes_or_new,
    class_legend,
    draw_boundary,
    draw_points,
    figure_or_new,
    name_features,
    outline,
    plane,
    root_of,
    say,
    set_title,
    two_classes,
)
from regjax.plot.request import check_kept, configuration_of, kept_row, order_of, two_axes
from regjax.study.configuration import value_of
from regjax.study.results import Results
from regjax.study.words import describe, in_order

# Panels along a side of a sheet.
SHEET_SIDE = 6


def boundary(results: Results, *, configuration: int | None = None, ax: Axes | None = None) -> Figure:
    """Returns the boundary of one network of a configuration: its lowest seed and fold that was kept.

    The probability of class 1 as shade, the ½ line, and the rows on top, those that were held out from it
    with a black edge.

    Args:
        results: of a sweep on two features and two classes, whose parameters were kept.
        configuration: its number; None takes the chosen one.
        ax: where it is drawn; None makes a figure.

    Raises:
        ValueError: other data, no parameters, no such configuration.
    """
    _check_boundary(results, "boundary")
    index = configuration_of(results, configuration)
    given = ax
    figure, ax = axes_or_new(ax, (5.4, 5.4))
    design, row = results.design, kept_row(results, index)
    name = design.in_words(design.configurations[index], DIGITS)
    name_features(ax)
    if row is None:
        _say_why(results, ax, index)
        set_title(ax, name)
        return figure
    where = design.row(row)
    held_out = design.splits.val[where.fold] > 0
    _draw_network(results, ax, row, 16, 160, held_out)
    fold = f", fold {where.fold}" if design.num_folds > 1 else ""
    set_title(ax, f"{name}; seed {where.seed}{fold}")
    outlined = [(outline(), "held out")] if held_out.any() else []
    class_legend(given or figure, design.data.y[0], design.classes, outlined)
    return figure


def boundaries(
    results: Results, *, x: str | None = None, y: str | None = None, figure: Panels | None = None
) -> Figure:
    """Returns a sheet of boundaries over two axes, λ × keep_prob where the grid has them.

    A panel is the network of the lowest seed and fold that was kept; where other axes vary, of the best
    configuration in its place. Of more than 6 values of an axis, 6 are shown. A grid without two axes of
    several values each beside each other is shown as a list, at most 36 configurations.

    Args:
        results: of a sweep on two features and two classes, whose parameters were kept.
        x: axis from left to right.
        y: axis from top to bottom.
        figure: where the panels go; None makes one.

    Raises:
        ValueError: other data, no parameters, or an axis that the grid does not mention.
    """
    _check_boundary(results, "boundaries")
    design = results.design
    asked = x is not None or y is not None
    if asked:
        x, y = two_axes(results, x, y)
    elif {"l2", "keep_prob"} <= set(design.axes):
        x, y = "l2", "keep_prob"
    panels, words = _in_a_list(results) if x is None or y is None else _over_axes(results, x, y)
    # Unless it is asked for, a sheet with gaps is no sheet: each regulariser beside none, for instance.
    if not asked and any(index is None for _, index in panels.values()):
        panels, words = _in_a_list(results)
    shape = [1 + max(at[k] for at in panels) for k in (0, 1)]
    figure = figure_or_new(figure, (max(1.7 * shape[1], 4), 1.95 * shape[0] + 0.9))
    axes = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    seeds = set()
    for at, ax in np.ndenumerate(axes):
        if at not in panels:
            ax.set_axis_off()
            continue
        title, index = panels[at]
        row = None if index is None else kept_row(results, index)
        if row is not None:
            seeds.add((design.row(row).seed, design.row(row).fold))
            _draw_network(results, ax, row, 5, 80)
        elif index is None:
            say(ax, "not in the grid")
        else:
            _say_why(results, ax, index)
        ax.set_title(title, fontsize="x-small")
        ax.tick_params(labelsize="x-small")
        first, last = at[1] == 0, (at[0] + 1, at[1]) not in panels
        ax.tick_params(labelleft=first, labelbottom=last)
        ax.set_xlabel("x1" if last else "", fontsize="x-small")
        ax.set_ylabel("x2" if first else "", fontsize="x-small")
    if len(seeds) == 1:
        ((seed, fold),) = seeds
        words += f"; seed {seed}" + (f", fold {fold}" if design.num_folds > 1 else "")
    set_title(figure, words)
    class_legend(figure, design.data.y[0], design.classes)
    return root_of(figure)


def _check_boundary(results: Results, kind: str) -> None:
    design = results.design
    if not two_classes(design.data) or design.configs[0].layer_sizes[-1] > 2:
        classes = np.issubdtype(design.data.y.dtype, np.integer)
        found = f"{max(2, int(np.max(design.data.y)) + 1)} classes" if classes else "real targets"
        raise ValueError(
            f"{kind} must have data of two features and two classes, got {len(design.data.x)} features and "
            f"{found}: data_set and curves show any data"
        )
    check_kept(results, kind)


def _say_why(results: Results, ax: Axes, configuration: int) -> None:
    say(ax, "not kept" if results.num_ok()[configuration] else "diverged")


def _draw_network(
    results: Results, ax: Axes, row: int, size: float, resolution: int, held_out: np.ndarray | None = None
) -> None:
    design = results.design
    x = np.asarray(design.data.x)
    if design.fold_inputs is not None:
        x = design.fold_inputs[design.row(row).fold]
    sides, points = plane(x, resolution)
    draw_boundary(ax, sides, results.predict_proba(row, points.T)[:, 1])
    some = np.sort(np.random.default_rng(0).permutation(x.shape[1])[:MAX_POINTS])
    draw_points(ax, x[:, some], design.data.y[0, some], size, None if held_out is None else held_out[some])
    ax.set(xlim=(sides[0][0], sides[0][-1]), ylim=(sides[1][0], sides[1][-1]))
    name_features(ax)


# Of a sheet: (row, column) -> title, and the configuration, None where the grid has none; and its title.
Sheet = tuple[dict[tuple[int, int], tuple[str, int | None]], str]


def _over_axes(results: Results, x: str, y: str) -> Sheet:
    """Returns a sheet over two axes: in each place the best configuration."""
    design, best = results.design, {}
    for index in order_of(results, design.shown_metric).tolist():
        c = design.configurations[index]
        best.setdefault((value_of(c, x), value_of(c, y)), index)
    words, shown = "decision boundaries over", []
    for name, joint in ((x, ""), (y, " and")):
        values = in_order(value_of(c, name) for c in design.configurations)
        some = np.unique(np.linspace(0, len(values) - 1, SHEET_SIDE).round().astype(int)).tolist()
        shown.append([values[k] for k in some])
        words += f"{joint} {name}" + (
            f" ({len(some)} of {len(values)} values)" if len(some) < len(values) else ""
        )
    others = [name for name in design.axes if name not in (x, y)]
    words += f", the best of {', '.join(others)} by {design.shown_metric}" if others else ""
    across, down = shown
    return {
        (row, column): (
            f"{describe({x: a}, digits=DIGITS)}\n{describe({y: d}, digits=DIGITS)}",
            best.get((a, d)),
        )
        for row, d in enumerate(down)
        for column, a in enumerate(across)
    }, words


def _in_a_list(results: Results) -> Sheet:
    """Returns a sheet of configurations as they come."""
    design = results.design
    total = len(design.configurations)
    count = min(total, SHEET_SIDE**2)
    words = "decision boundaries" + (
        f" of the first {count} of {total:,} configurations" if count < total else ""
    )
    return {
        divmod(index, SHEET_SIDE): (
            textwrap.fill(design.in_words(design.configurations[index], DIGITS), 27),
            index,
        )
        for index in range(count)
    }, words
