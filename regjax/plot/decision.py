"""Figures of decision boundaries, which `figures` lists: `boundary` of one model, `boundaries` of a sweep.

`regjax plot` calls `animate_row` too, with the parameters that `engine/snapshots.py` finds.
"""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regjax.core.checks import shown
from regjax.core.mlp import Params
from regjax.plot.animation import film
from regjax.plot.any_model import boundary_of_model
from regjax.plot.canvas import DIGITS, Panels, axes_or_new, figure_or_new, plain, root_of, say, set_title
from regjax.plot.request import check_kept, configuration_of, kept_row, order_of, two_axes
from regjax.plot.samples import (
    class_legend,
    draw_boundary,
    draw_points,
    name_features,
    outline,
    plane,
    thinned,
    two_classes,
)
from regjax.study.configuration import value_of
from regjax.study.results import Results
from regjax.study.words import describe, in_order

# Most panels along a side of a sheet.
SHEET_SIDE = 6


def boundary(
    model: Any, X: Any = None, y: Any = None, *, configuration: int | None = None, ax: Axes | None = None
) -> Figure:
    """Returns a figure of the regions of a model of two features: shade, border and samples.

    The darker the shade, the surer the model is of the class of that colour; on the line two classes are as
    likely. Of the results of a sweep it is the network of the lowest seed and fold that was kept; samples
    that were held out from it have a black edge.

    Args:
        model: the results of a sweep on two features and two classes that kept its parameters; or a fitted
            classifier with `predict_proba`, `decision_function` or `predict` (of scikit-learn, of regjax, a
            `regjax.Model`); or a function of points `(n, 2)` that returns labels `(n,)`, probabilities of the
            second class `(n,)`, or of all classes `(n, n_classes)`.
        X: features, `(n, 2)`: an array, a frame, or a `Data` with its targets; None with results.
        y: labels, `(n,)`; None with results or a `Data`.
        configuration: of results, the number of a configuration; None is the best.
        ax: axes that are drawn into; None makes a figure.

    Raises:
        TypeError: no model, X or y are missing, or X holds no numbers.
        ValueError: other than two features, labels that the model does not know, or answers that are neither
            labels nor probabilities; of results: other data, no parameters, or no such configuration.

    Example:
        >>> import jax, regjax
        >>> data = regjax.datasets.circles(jax.random.key(0))
        >>> figure = regjax.plot.boundary(lambda points: (points**2).sum(axis=1) < 0.6, data)
        >>> figure.axes[0].get_title()
        'function: predicted class'
    """
    if not isinstance(model, Results):
        if configuration is not None:
            raise ValueError(f"configuration must only be given with results, got one with {shown(model)}")
        return boundary_of_model(model, X, y, ax)
    if X is not None or y is not None:
        raise ValueError("X and y must be left out with results, which have samples of their own")
    return _of_results(model, configuration, ax)


def _of_results(results: Results, configuration: int | None, ax: Axes | None) -> Figure:
    _check_boundary(results, "boundary")
    index = configuration_of(results, configuration)
    given = ax
    figure, ax = axes_or_new(ax, (5.4, 5.4))
    row = kept_row(results, index)
    if row is None:
        name_features(ax, results.design.input_names)
        _say_why(results, ax, index)
        set_title(ax, results.design.in_words(results.design.configurations[index], DIGITS))
        return figure
    set_title(ax, _draw_row(results, ax, row, 160))
    _add_legend(results, row, given or figure)
    return figure


def _draw_row(results: Results, ax: Axes, row: int, resolution: int) -> str:
    """Draws the boundary of a row, its held-out samples outlined; returns its title."""
    design, replicate = results.design, results.design.row(row)
    _draw_network(results, ax, row, 16, resolution, design.splits.val[replicate.fold] > 0)
    fold = f", fold {replicate.fold}" if design.num_folds > 1 else ""
    name = design.in_words(design.configurations[replicate.configuration], DIGITS)
    return f"{name}; seed {replicate.seed}{fold}"


def _add_legend(results: Results, row: int, where: Axes | Panels) -> None:
    design = results.design
    held_out = (design.splits.val[design.row(row).fold] > 0).any()
    class_legend(where, design.data.y[0], design.classes, [(outline(), "held out")] if held_out else [])


def check_animated(results: Results, configuration: int | None) -> int:
    """Returns the row whose training `animate_row` shows: that of which `boundary` is the picture.

    Args:
        results: as in `boundary`.
        configuration: as in `boundary`.

    Raises:
        ValueError: as `boundary`; or every network of the configuration diverged or was not kept.
    """
    _check_boundary(results, "boundary")
    index = configuration_of(results, configuration)
    row = kept_row(results, index)
    if row is None:
        name = results.design.in_words(results.design.configurations[index], DIGITS)
        raise ValueError(f"an animation must be of a network that was kept and did not diverge, got {name}")
    return row


def animate_row(
    results: Results, row: int, snapshots: Iterable[tuple[int, Params]], path: str | Path
) -> None:
    """Writes the boundary of a row while it trains, GIF or MP4, a frame for each of its snapshots.

    A title says the step and the accuracies recorded there. The last frame is the picture of `boundary`.

    Args:
        results: the results of a sweep.
        row: the number of the row, as `check_animated` returns it.
        snapshots: (step with a record, parameters) each, ascending.
        path: where it goes; its ending is .gif or .mp4.

    Raises:
        OSError: the file cannot be written.
        ValueError: as `film`.
    """
    figure, ax = axes_or_new(None, (5.4, 5.7))
    _add_legend(results, row, figure)
    config = results.design.configs[results.design.row(row).configuration]
    metrics = [name for name in ("train_accuracy", "val_accuracy") if name in results.records]

    def frames() -> Iterator[None]:
        for step, params in snapshots:
            ax.clear()
            name = _draw_row(dataclasses.replace(results, kept={row: params}), ax, row, 120)
            place = -(-step // config.eval_every)
            values = (float(results.records[metric][row, place]) for metric in metrics)
            scores = [f"{metric} {value:.1%}" for metric, value in zip(metrics, values, strict=True)]
            ax.set_title(f"{name}\nstep {step:,}: {', '.join(scores)}", fontsize="medium")
            yield

    film(figure, frames(), path)


class Sheet(NamedTuple):
    """The panels of a sheet by place, (title, configuration or None) each, and its title."""

    panels: Mapping[tuple[int, int], tuple[str, int | None]]
    title: str

    @property
    def shape(self) -> tuple[int, int]:
        """How many panels are below each other, and how many beside each other."""
        lines, columns = zip(*self.panels, strict=True)
        return 1 + max(lines), 1 + max(columns)


def boundaries(
    results: Results, *, x: str | None = None, y: str | None = None, figure: Panels | None = None
) -> Figure:
    """Returns a figure of boundaries over two axes, λ × keep_prob where the grid has them.

    A panel is the network of the lowest seed and fold that was kept; where other axes vary, of the best
    configuration in its place. Of an axis with more than 6 values, 6 are shown. A grid without two axes of
    several values each is shown as a list, at most 36 configurations.

    Args:
        results: the results of a sweep on two features and two classes that kept its parameters.
        x: axis from left to right.
        y: axis from top to bottom.
        figure: figure or subfigure for the panels; None makes one.

    Raises:
        ValueError: other data, no parameters were kept, or the grid does not mention an axis.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1], "keep_prob": [1, 0.8]},
        ...     folds=2, progress=False,
        ... )
        >>> figure = regjax.plot.boundaries(results)
        >>> len(figure.axes)
        4
    """
    _check_boundary(results, "boundaries")
    design, sheet = results.design, _sheet_of(results, x, y)
    figure = figure_or_new(figure, (max(1.7 * sheet.shape[1], 4), 1.95 * sheet.shape[0] + 0.9))
    axes = figure.subplots(*sheet.shape, sharex=True, sharey=True, squeeze=False)
    replicates = set()  # the seed and fold are in the title where all panels share them
    for at, ax in np.ndenumerate(axes):
        if at not in sheet.panels:
            ax.set_axis_off()
            continue
        title, index = sheet.panels[at]
        row = None if index is None else kept_row(results, index)
        if row is not None:
            replicates.add(design.row(row)[1:])
            _draw_network(results, ax, row, 5, 80)
        elif index is None:
            say(ax, "not in the grid")
        else:
            _say_why(results, ax, index)
        ax.set_title(title, fontsize="x-small")
        last = (at[0] + 1, at[1]) not in sheet.panels
        _label_outside(ax, design.input_names, first=at[1] == 0, last=last)
    words = sheet.title
    if len(replicates) == 1:
        ((seed, fold),) = replicates
        words += f"; seed {seed}" + (f", fold {fold}" if design.num_folds > 1 else "")
    set_title(figure, words)
    class_legend(figure, design.data.y[0], design.classes)
    return root_of(figure)


def _label_outside(ax: Axes, names: Sequence[str], *, first: bool, last: bool) -> None:
    """Labels the axes of a panel where it stands at the left, or is the last of its column."""
    ax.tick_params(labelsize="x-small")
    ax.tick_params(labelleft=first, labelbottom=last)
    ax.set_xlabel(plain(names[0]) if last else "", fontsize="x-small")
    ax.set_ylabel(plain(names[1]) if first else "", fontsize="x-small")


def _check_boundary(results: Results, kind: str) -> None:
    """Raises ValueError unless the sweep is of two features and two classes, with its parameters."""
    design = results.design
    if not two_classes(design.data) or design.coded or design.configs[0].layer_sizes[-1] > 2:
        classes = np.issubdtype(design.data.y.dtype, np.integer)
        found = f"{max(2, int(np.max(design.data.y)) + 1)} classes" if classes else "real targets"
        count = len(design.data.x)
        features = "gaps or categories" if design.coded else f"{count} features"
        raise ValueError(
            f"{kind} must have data of two features and two classes, got {features} and {found}: data_set "
            "and curves show any data"
        )
    check_kept(results, kind)


def _say_why(results: Results, ax: Axes, configuration: int) -> None:
    say(ax, "not kept" if results.num_ok()[configuration] else "diverged")


def _draw_network(
    results: Results, ax: Axes, row: int, size: float, resolution: int, held_out: np.ndarray | None = None
) -> None:
    """Draws what a network predicts, and the samples, those `held_out`, `(n,)`, outlined."""
    design = results.design
    x = np.asarray(design.data.x)
    if design.fold_inputs is not None:  # each fold has inputs of its own: the samples lie where it sees them
        x = design.fold_inputs[design.row(row).fold]
    sides, points = plane(x, resolution)
    draw_boundary(ax, sides, results.predict_proba(row, points.T)[:, 1])
    # The same samples in every panel of a sheet.
    some = thinned(x.shape[1])
    draw_points(ax, x[:, some], design.data.y[0, some], size, None if held_out is None else held_out[some])
    ax.set(xlim=(sides[0][0], sides[0][-1]), ylim=(sides[1][0], sides[1][-1]))
    name_features(ax, design.input_names)


def _sheet_of(results: Results, x: str | None, y: str | None) -> Sheet:
    """Returns the sheet over two axes, or a list where the grid has no two axes to be shown over."""
    if x is not None or y is not None:
        x, y = two_axes(results, x, y)
        return _list_of(results) if y is None else _over_axes(results, x, y)
    if not {"l2", "keep_prob"} <= set(results.design.axes):
        return _list_of(results)
    sheet = _over_axes(results, "l2", "keep_prob")
    # Axes nobody asked for may leave gaps, as each regulariser beside none does: such a grid is a list.
    gaps = any(index is None for _, index in sheet.panels.values())
    return _list_of(results) if gaps else sheet


def _over_axes(results: Results, x: str, y: str) -> Sheet:
    """Returns a sheet over two axes: in each place the best configuration."""
    design, best = results.design, {}
    for index in order_of(results, design.shown_metric).tolist():
        c = design.configurations[index]
        best.setdefault((value_of(c, x), value_of(c, y)), index)
    title, drawn = "decision boundaries over", []
    for name, joint in ((x, ""), (y, " and")):
        values = in_order(value_of(c, name) for c in design.configurations)
        # Evenly spread, with both ends.
        some = np.unique(np.linspace(0, len(values) - 1, SHEET_SIDE).round().astype(int)).tolist()
        drawn.append([values[k] for k in some])
        title += f"{joint} {name}" + (
            f" ({len(some)} of {len(values)} values)" if len(some) < len(values) else ""
        )
    others = [name for name in design.axes if name not in (x, y)]
    title += f", the best of {', '.join(others)} by {design.shown_metric}" if others else ""
    across, down = drawn
    panels = {}
    for (line, d), (column, a) in itertools.product(enumerate(down), enumerate(across)):
        name = f"{describe({x: a}, digits=DIGITS)}\n{describe({y: d}, digits=DIGITS)}"
        panels[line, column] = (name, best.get((a, d)))
    return Sheet(panels, title)


def _list_of(results: Results) -> Sheet:
    """Returns a sheet of the configurations in the order of the grid."""
    design = results.design
    total = len(design.configurations)
    count = min(total, SHEET_SIDE**2)
    title = "decision boundaries"
    title += f" of the first {count} of {total:,} configurations" if count < total else ""
    names = [textwrap.fill(design.in_words(c, DIGITS), 27) for c in design.configurations[:count]]
    return Sheet({divmod(k, SHEET_SIDE): (name, k) for k, name in enumerate(names)}, title)
