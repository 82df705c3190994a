"""The figures over two axes, which `figures` lists: `heatmap` and `stability`."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from regjax.plot.along import along, draw_along
from regjax.plot.canvas import DIGITS, Panels, axes_or_new, drawable, figure_or_new, root_of, set_title
from regjax.plot.cells import (
    Cell,
    Ground,
    Shades,
    as_number,
    cell_at,
    draw_cells,
    draw_scatter,
    ground_of,
    shades_of,
)
from regjax.plot.palette import CHOSEN
from regjax.plot.request import chosen_of, order_of, ranked_by, recorded, two_axes
from regjax.study.results import Results
from regjax.study.words import describe

# Most combinations of the other axes that each get a panel.
MOST_PANELS = 9


def heatmap(
    results: Results,
    *,
    metric: str | None = None,
    x: str | None = None,
    y: str | None = None,
    figure: Panels | None = None,
) -> Figure:
    """Returns a figure of a metric of the final networks over two axes, mean over the units of evidence.

    A panel for each combination of the other axes; of more than nine, the best configuration in each cell.
    The chosen configuration is framed; a cell whose networks diverged is hatched, with the number of those
    that did not. A random grid is drawn as points, one axis as points with their intervals.

    Args:
        results: the results of the sweep.
        metric: any recorded metric; None is val_accuracy or val_r2. Which configuration is the best is
            decided by validation alone, whatever is shown.
        x: axis from left to right; None is the longest that is free.
        y: axis from bottom to top; None is the longest that is left.
        figure: figure or subfigure for the panels; None makes one.

    Raises:
        ValueError: the metric is not recorded, or the grid does not mention an axis.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> figure = regjax.plot.heatmap(results)
        >>> figure.axes[0].get_xlabel()
        'l2'
    """
    metric = recorded(results, metric)
    x, y = two_axes(results, x, y)
    if y is None:
        return _over_one_axis(results, metric, x, figure)
    ground = ground_of(results.design, x, y)
    means = drawable(results.units(metric).mean(axis=1))
    draw = _as_points if ground.is_sparse else _as_cells
    return draw(results, metric, ground, means, figure)


def _over_one_axis(results: Results, metric: str, x: str, figure: Panels | None) -> Figure:
    figure = figure_or_new(figure, (7, 4.6))
    ax, design = figure.subplots(), results.design
    lines = along(design, x, order_of(results, metric))
    note = draw_along(results, ax, lines, results.units(metric), chosen_of(results, metric), figure)
    ax.set_ylabel(design.in_units(metric))
    over = design.evidence.mean_in_words()
    set_title(ax, f"mean {metric}, {over}; bars: 95 % of each alone, not of differences{note}")
    return root_of(figure)


def _as_points(
    results: Results, metric: str, ground: Ground, means: np.ndarray, figure: Panels | None
) -> Figure:
    """Returns the heatmap of a random grid: a point for each configuration."""
    design, shades, chosen = results.design, shades_of(metric, means), chosen_of(results, metric)
    figure = figure_or_new(figure, (7.5, 5.2))
    ax = figure.subplots()
    places = draw_scatter(ax, design, ground, shades, means)
    if chosen is not None:
        at = places[:, chosen]
        ax.plot(*at, "o", markersize=13, fillstyle="none", color=CHOSEN, markeredgewidth=2, gid="chosen")
    set_title(ax, _title(results, metric, "ringed") + "; ×: networks diverged")
    _add_colorbar(figure, ax, shades, design.in_units(metric))
    return root_of(figure)


def _as_cells(
    results: Results, metric: str, ground: Ground, means: np.ndarray, figure: Panels | None
) -> Figure:
    """Returns the heatmap of a grid: a panel for each combination of the other axes."""
    design, shades, chosen = results.design, shades_of(metric, means), chosen_of(results, metric)
    panels = _panels(results, metric, ground)
    wide = min(len(panels), 3 if len(ground.across) <= 4 else 2)
    high = -(-len(panels) // wide)
    # Inches of a panel: room for its cells, but at most ten in all, and for the labels of a single cell.
    width, height = 1 + 0.6 * len(ground.across), 1.1 + 0.4 * len(ground.down)
    size = (min(max(width, 3), 10 / wide), min(max(height, 2.4), 10 / high))
    figure = figure_or_new(figure, (size[0] * wide + 1.4, size[1] * high + 0.8))
    axes = figure.subplots(high, wide, squeeze=False)
    for ax in axes.ravel()[len(panels) :]:
        ax.set_axis_off()
    # Sorted by name: the dictionary is in the order of the best configurations.
    for ax, name in zip(axes.ravel(), sorted(panels), strict=False):
        _draw_panel(ax, results, ground, shades, means, panels[name], size)
        for cell, index in panels[name].items():
            if index == chosen:
                ax.add_patch(cell_at(cell, fill=False, edgecolor=CHOSEN, linewidth=2.5, gid="chosen"))
        ax.set_title(name, fontsize="small")
    _add_colorbar(figure, axes, shades, design.in_units(metric))
    any_lost = bool((results.num_ok() < design.num_replicates).any())
    title = _title(results, metric, "framed")
    set_title(figure, title + ("; hatched: so many did not diverge" if any_lost else ""))
    return root_of(figure)


def _title(results: Results, metric: str, mark: str) -> str:
    title = f"mean {metric}, {results.design.evidence.mean_in_words()}"
    if chosen_of(results, metric) is not None:
        title += f"; {mark}: the best by {ranked_by(results, metric)}"
    return title


def _add_colorbar(figure: Panels, axes: Axes | np.ndarray, shades: Shades, label: str) -> None:
    figure.colorbar(ScalarMappable(shades.norm, shades.colours), ax=axes, label=label, format="%.4g")


def _panels(results: Results, metric: str, ground: Ground) -> dict[str, dict[Cell, int]]:
    """Returns title of a panel -> cell -> the configuration it shows, the best of several."""
    design = results.design
    others = [name for name in design.axes if name not in (ground.x, ground.y)]
    combinations = {describe(c, others) for c in design.configurations}
    panels: dict[str, dict[Cell, int]] = {}
    for index in order_of(results, metric).tolist():
        name = f"the best of {', '.join(others)}"
        if len(combinations) <= MOST_PANELS:
            name = describe(design.configurations[index], others, DIGITS)
        # From best to worst: the best of several in one cell comes first and stays.
        panels.setdefault(name if others else "", {}).setdefault(ground.cells[index], index)
    return panels


def _draw_panel(
    ax: Axes,
    results: Results,
    ground: Ground,
    shades: Shades,
    means: np.ndarray,
    panel: dict[Cell, int],
    size: tuple[float, float],
) -> None:
    """Draws the cells of a panel, each with its mean, or with how many networks did not diverge."""
    values, texts, hatched, ok = ground.empty(), {}, [], results.num_ok()
    for cell, index in panel.items():
        values[cell] = means[index]
        texts[cell] = as_number(means[index]) if np.isfinite(means[index]) else "–"
        if ok[index] < results.design.num_replicates:
            texts[cell] = f"{ok[index]} of {results.design.num_replicates}"
            hatched.append(cell)
    draw_cells(ax, ground, shades, values, texts, size, hatched)


def stability(results: Results, *, y: str = "l2", ax: Axes | None = None) -> Figure:
    """Returns a figure of where training diverges, over learning rate and λ: the share of networks, in grey.

    Where none diverged, the final loss, on validation samples if there are any. The networks of all
    configurations in one cell are counted together.

    Args:
        results: the results of the sweep.
        y: the axis beside learning_rate.
        ax: axes that are drawn into; None makes a figure.

    Raises:
        ValueError: the grid does not mention learning_rate and y.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1], "learning_rate": [0.1, 1]},
        ...     folds=2, progress=False,
        ... )
        >>> figure = regjax.plot.stability(results)
        >>> figure.axes[0].get_xlabel()
        'learning_rate'
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
    ground = ground_of(design, "learning_rate", y)
    size = (min(max(2.6 + 0.62 * len(ground.across), 5.5), 10), min(max(2 + 0.42 * len(ground.down), 3.4), 8))
    figure, ax = axes_or_new(ax, size)
    title = f"stability: {metric} where no network diverged ({design.evidence.mean_in_words()})"
    if ground.is_sparse:
        shades = shades_of(metric, means)
        lost = results.num_ok() < design.num_replicates
        draw_scatter(ax, design, ground, shades, np.where(lost, np.nan, means))
        title += "; ×: networks diverged"
    else:
        shades, pooled = _draw_shares(results, ax, ground, metric, means, size)
        title += "; grey, the darker the more: so many diverged"
        title += f"; each cell holds {pooled} configurations" if pooled > 1 else ""
    set_title(ax, title)
    _add_colorbar(figure, ax, shades, design.in_units(metric))
    return figure


def _draw_shares(
    results: Results, ax: Axes, ground: Ground, metric: str, means: np.ndarray, size: tuple[float, float]
) -> tuple[Shades, int]:
    """Draws the mean loss of each cell, or the share of its networks that diverged in grey.

    Returns (colours of the loss, most configurations in one cell).
    """
    members: dict[Cell, list[int]] = {}
    for index, cell in enumerate(ground.cells):
        members.setdefault(cell, []).append(index)
    values, share, texts = ground.empty(), ground.empty(), {}
    for cell, indices in members.items():
        total = len(indices) * results.design.num_replicates
        lost = total - int(results.num_ok()[indices].sum())
        if lost:
            share[cell] = lost / total
            texts[cell] = f"{lost} of {total}"
        else:
            values[cell] = means[indices].mean()
            texts[cell] = as_number(values[cell])
    shades = shades_of(metric, values)
    draw_cells(ax, ground, shades, values, texts, size)
    # Shares from 0 to 1 use the middle of the greys: neither white, which is no cell, nor black.
    grey = matplotlib.colormaps["Greys"].with_extremes(bad="#FFFFFF00")
    ax.imshow(share, cmap=grey, vmin=-0.4, vmax=1.3, aspect="auto", origin="lower", gid="diverged")
    written = {text.get_position(): text for text in ax.texts}
    for line, column in np.argwhere(share > 0.5).tolist():  # a dark cell gets light ink
        if (column, line) in written:
            written[column, line].set_color("white")
    return shades, max(map(len, members.values()))
