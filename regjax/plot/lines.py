"""The figure against the step: `curves`, which `figures` lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regjax.core.hparams import OFF_VALUES
from regjax.plot.canvas import DIGITS, Panels, drawable, figure_or_new, root_of, say, set_corner, set_title
from regjax.plot.palette import LINES
from regjax.plot.request import more_is_better, order_of, ranked_by, recorded
from regjax.study.configuration import value_of
from regjax.study.results import Results


def curves(
    results: Results, *, metric: str | None = None, num: int = 5, figure: Panels | None = None
) -> Figure:
    """Returns a figure of cost, loss and a metric against the step: of the best, and the baseline.

    Lines are means over seeds and folds, and end where a network diverged. Bands reach from the lowest to
    the highest seed, each the mean over its folds. After a network stopped early, its line stays at the value
    of the parameters that were put back.

    Args:
        results: the results of the sweep.
        metric: the metric beside cost and loss; a validation metric also ranks the configurations. None is
            val_accuracy or val_r2.
        num: how many configurations are drawn, at most 5.
        figure: figure or subfigure for the panels; None makes one.

    Raises:
        ValueError: the metric is not recorded.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> figure = regjax.plot.curves(results)
        >>> figure.axes[0].get_xlabel()
        'step'
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
    for ax, shown in zip(panels[1:], (loss, other), strict=True):
        if ax is panels[2] and other == loss:  # the metric is the loss: it has a panel already
            ax.set_axis_off()
            continue
        _draw_curves(results, ax, shown, chosen)
        thin = "" if shown.startswith("train_") else "; thin: on the training samples"
        set_title(ax, f"{shown}{thin}")
    set_corner(corner, handles, [_name(results, i, i in off) for i in chosen], _note(results))
    count = f"the best {min(num, len(order))} of {len(order):,} by {ranked_by(results, metric)}"
    set_title(figure, count if len(order) > 1 else "training")
    return root_of(figure)


def _name(results: Results, configuration: int, off: bool) -> str:
    """Returns what the legend says of a configuration."""
    design, ok = results.design, results.num_ok()[configuration]
    name = design.in_words(design.configurations[configuration], DIGITS) + (" (all off)" if off else "")
    return name + (f", {ok} of {design.num_replicates} ok" if ok < design.num_replicates else "")


def _note(results: Results) -> str:
    """Returns what lines and bands are."""
    design = results.design
    words = f"lines: means {design.evidence.mean_in_words()}"
    if len(design.seeds) > 1:
        words += "; bands: from the lowest to the highest seed"
        words += ", each the mean over its folds" if design.num_folds > 1 else ""
    return words


def _draw_curves(results: Results, ax: Axes, metric: str, chosen: Sequence[int]) -> list[Line2D]:
    """Draws a metric bold with its band, the same on training samples thin; returns the bold lines."""
    design = results.design
    train = "train_" + metric.split("_", 1)[1]
    parts = (metric, train) if train in results.records and train != metric else (metric,)
    handles, sound, every = [], [], []
    for index, look in zip(chosen, LINES, strict=False):
        steps = results.steps(index)
        for part in parts:
            seeds = drawable(results.carried_on(part, index))[..., : len(steps)].mean(axis=1)
            line = _draw_mean(ax, steps, seeds, look, bold=part == metric)
            if part == metric:
                handles.append(line)
            # The loss of the untrained network would set the scale where there is more to see.
            later = seeds[:, 1:] if len(steps) > 10 else seeds
            every.append(later[np.isfinite(later)])
            if results.num_ok()[index] == design.num_replicates:
                sound.append(every[-1])
    # A network that diverges is off the scale for a while before: it sets the range only where all do.
    _set_range(ax, np.concatenate([*(sound or every), np.zeros(0)]), more_is_better(metric))
    last = max(results.steps(index)[-1] for index in chosen)
    ax.set_xlim(-0.04 * last, 1.04 * last)
    ax.set_xlabel("step")
    ax.set_ylabel(design.in_units(metric))
    ax.grid(alpha=0.25)
    return handles


def _draw_mean(
    ax: Axes, steps: np.ndarray, seeds: np.ndarray, look: tuple[str, Any], *, bold: bool
) -> Line2D:
    """Draws the mean of `(seeds, records)`, with a band if bold; returns the line."""
    colour, dash = look
    mean = seeds.mean(axis=0)
    (line,) = ax.plot(steps, mean, linestyle=dash, linewidth=1.8 if bold else 0.8, color=colour)
    if np.isfinite(mean).sum() == 1:  # one point makes no line
        ax.plot(steps, mean, ".", color=colour)
    if bold and len(seeds) > 1:
        ax.fill_between(steps, seeds.min(axis=0), seeds.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    return line


def _set_range(ax: Axes, reached: np.ndarray, more: bool) -> None:
    """Sets the range of the y axis to the values that are reached, logarithmic where a loss is huge."""
    if not len(reached):
        say(ax, "nothing to show")
    elif not more and reached.max() > 1e3:
        ax.set_yscale("symlog")
    else:
        margin = 0.05 * float(np.ptp(reached)) or 0.05
        ax.set_ylim(reached.min() - margin, reached.max() + margin)
