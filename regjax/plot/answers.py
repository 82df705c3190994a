"""Figures of answers: `question`, what choosing gains in each fold, and `rungs`, a search and its survivors.

`regjax plot` draws the first of a stored sweep; `regjax tune` puts the second on its page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regjax.core.metrics import without_split
from regjax.plot.canvas import add_legend, axes_or_new, drawable, plain, set_title
from regjax.plot.palette import BLUE, CHOSEN, VERDICTS
from regjax.study.intervals import Interval
from regjax.study.results import Results
from regjax.study.selection import higher_is_better
from regjax.study.tuned import Tuned

# Lines of candidates that dropped out, and the most of them that are drawn: the best and every nth.
OTHERS, MOST = "#AAAAAA", 400


def question(
    results: Results,
    *,
    metric: str | None = None,
    baseline: Mapping[str, Any] | None = None,
    over: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Returns a figure of the one question: what choosing gains over the baseline, fold by fold.

    Each dot is a fold: the configuration chosen without it, less the baseline, on its samples. The bar is
    their mean with its 95 % interval, on which the verdict rests.

    Args:
        results: the results of the sweep.
        metric: a validation metric; None is val_accuracy or val_r2.
        baseline: the baseline, as in `Results.compare_choice`.
        over: the axes chosen over, as in `Results.compare_choice`.
        ax: axes that are drawn into; None makes a figure.

    Raises:
        ValueError: as `Results.compare_choice`.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> figure = regjax.plot.question(results)
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['mean, 95 %', 'folds']
    """
    found = results.compare_choice(baseline, over, metric)
    interval = Interval(found.difference, found.se, found.df, found.low, found.high, found.p)
    title = f"{found.sentence} A dot is a fold."
    return _folds(np.array(found.differences), interval, found.verdict, found.metric, title, ax)


def outer_folds(tuned: Tuned, *, ax: Axes | None = None) -> Figure:
    """Returns a figure of a nested search: what its choice gains over the tuned baseline in each outer fold.

    Args:
        tuned: the answer of a search.
        ax: axes that are drawn into; None makes a figure.

    Raises:
        ValueError: the search is not nested.

    Example:
        >>> import regjax
        >>> tuned = regjax.tune(
        ...     "two_regions", {"l2": "loguniform(0.1, 10)", "learning_rate": [0.01]},
        ...     config={"num_steps": 20, "eval_every": 20}, budget="300 networks", progress=False,
        ... )
        >>> tuned.mode
        'nested'
        >>> regjax.plot.outer_folds(tuned).axes[0].get_ylabel()
        'differences'
    """
    if tuned.folds is None:
        raise ValueError("outer_folds must be of a nested search, got one that held rows out")
    differences = tuned.folds[:, 0] - tuned.folds[:, 1]
    title = f"{tuned.sentence} A dot is an outer fold."
    return _folds(differences, tuned.difference, tuned.verdict, tuned.metric, title, ax)


def _folds(
    differences: np.ndarray,
    interval: Interval,
    verdict: str,
    metric: str,
    title: str,
    ax: Axes | None,
) -> Figure:
    """Returns the figure of differences of folds, with their mean and its interval."""
    given = ax
    figure, ax = axes_or_new(ax, (8, 2.9))
    look = VERDICTS[verdict or "not separated"]
    # One below the other, so that equal differences do not hide each other.
    places = 1.3 - 0.6 * np.arange(len(differences)) / max(1, len(differences) - 1)
    ax.plot(drawable(differences), places, "o", color=BLUE, markeredgecolor="white", alpha=0.8)
    if np.isfinite(interval.low):
        looks: dict[str, Any] = {"color": look.colour, "linewidth": 3.2, "solid_capstyle": "butt"}
        ax.plot([interval.low, interval.high], [0, 0], **looks)
    ax.plot(interval.mean, 0, look.marker, color=look.colour, markeredgecolor="white", markersize=9)
    ax.axvline(0, color="#000000", linewidth=0.8)
    ax.set_yticks([0, 1], ["mean, 95 %", "folds"])
    ax.set_ylim(-0.6, 1.6)
    ax.set_ylabel("differences")
    side = "right" if higher_is_better(metric) else "left"
    ax.set_xlabel(f"chosen less baseline, {without_split(metric)}; better: {side} of 0")
    ax.grid(axis="x", alpha=0.25)
    set_title(given or figure, title)
    return figure


def rungs(tuned: Tuned, *, ax: Axes | None = None) -> Figure:
    """Returns a figure of a search: the score of each candidate at the rungs, up to where it dropped out.

    Scores are means over the splits of the search of all rows. They are optimistic, since the search chose
    by them; the comparison at its end is not drawn.

    Args:
        tuned: the answer of a search.
        ax: axes that are drawn into; None makes a figure.

    Example:
        >>> import regjax
        >>> tuned = regjax.tune(
        ...     "two_regions", {"l2": "loguniform(0.1, 10)", "learning_rate": [0.01]},
        ...     config={"num_steps": 20, "eval_every": 20}, budget="300 networks", progress=False,
        ... )
        >>> regjax.plot.rungs(tuned).axes[0].get_xlabel()
        'step of the rung'
    """
    trace, given = tuned.trace, ax
    figure, ax = axes_or_new(ax, (8, 4.2))
    steps, scores = trace.steps, drawable(trace.scores)
    finalists = list(trace.finalists)
    others = np.setdiff1d(np.flatnonzero(~trace.is_baseline), finalists)
    own = np.flatnonzero(trace.is_baseline)
    for members, colour, width in (
        (_some(others), OTHERS, 0.7),
        (own, "#000000", 1.0),
        (finalists, CHOSEN, 1.8),
    ):
        for member in members:
            dash = "--" if trace.is_baseline[member] else "-"
            ax.plot(steps, scores[:, member], dash, marker=".", color=colour, linewidth=width)
    left = np.isfinite(trace.scores).sum(axis=1)
    ax.set_xscale("log")
    ax.set_xticks(steps, [f"{step:,}\n{count:,} left" for step, count in zip(steps, left, strict=True)])
    ax.minorticks_off()
    ax.set_xlabel("step of the rung" if trace.resource == "steps" else "training rows of the rung")
    ax.set_ylabel(tuned.metric)
    _limit(ax, scores[:, np.append(finalists, own)], scores, higher=higher_is_better(tuned.metric))
    handles = [
        Line2D([], [], color=CHOSEN, linewidth=1.8, marker="."),
        Line2D([], [], color="#000000", linestyle="--", marker="."),
        Line2D([], [], color=OTHERS, linewidth=0.7, marker="."),
    ]
    shown = f"candidates ({len(others):,}" + (f", {MOST} of them shown)" if len(others) > MOST else ")")
    add_legend(given or figure, handles, [f"finalists ({len(finalists)})", f"baseline ({len(own)})", shown])
    ax.grid(alpha=0.25)
    set_title(
        given or figure, plain(f"{tuned.metric} on the way of the search, up to where each dropped out", 200)
    )
    return figure


def _some(members: np.ndarray) -> np.ndarray:
    """Returns at most `MOST` members, spread over all."""
    return members[np.linspace(0, len(members) - 1, min(MOST, len(members))).astype(int)]


def _limit(ax: Axes, kept: np.ndarray, scores: np.ndarray, *, higher: bool) -> None:
    """Limits the scores to those that matter: a candidate that is worse by far would flatten the others."""
    known = scores[np.isfinite(scores)]
    if len(known):
        best = known.max() if higher else known.min()
        ends = np.concatenate([kept[np.isfinite(kept)], np.percentile(known, [10, 90]), [best]])
        room = 0.06 * max(float(np.ptp(ends)), 1e-6)
        ax.set_ylim(float(ends.min()) - room, float(ends.max()) + room)
