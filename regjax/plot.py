"""Figures, on matplotlib without pyplot: nothing here touches global state.

Colours are those of Okabe & Ito (2008), which colour-blind eyes can tell apart; classes and runs also
differ in marker or line style.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regjax.compare import Run, probabilities
from regjax.config import Config
from regjax.data import Data

CLASS_COLOURS = ("#D55E00", "#0072B2")
CLASS_MARKERS = ("o", "^")
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
    low, high = train.x.min(axis=1), train.x.max(axis=1)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)  # a constant feature has no range
    sides = [np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True)]
    grid = np.stack([side.ravel() for side in np.meshgrid(*sides)]).astype(np.float32)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *(run.params for run in runs))
    shades = np.asarray(probabilities(stacked, grid, config=config.program()))
    colours = matplotlib.colors.LinearSegmentedColormap.from_list(
        "classes", [CLASS_COLOURS[0], "#FFFFFF", CLASS_COLOURS[1]]
    )
    figure = Figure(figsize=(4.2 * len(runs), 4.7), layout="constrained")
    axes = figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False)[0]
    for ax, run, shade in zip(axes, runs, shades, strict=True):
        shade = shade.reshape(resolution, resolution)
        ax.imshow(
            shade,
            origin="lower",
            extent=(sides[0][0], sides[0][-1], sides[1][0], sides[1][-1]),
            cmap=colours,
            vmin=0,
            vmax=1,
            alpha=0.5,
            aspect="auto",
        )
        if np.isfinite(shade).all() and shade.min() < 0.5 < shade.max():
            ax.contour(*sides, shade, levels=[0.5], colors="black", linewidths=1.3)
        _points(ax, train, size=12)
        ax.set_title(_title(run))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


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
