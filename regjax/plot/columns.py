"""The figure of the columns that matter, which `figures` lists: `importance`, with an interval for each."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regjax.core.checks import check_count
from regjax.plot.canvas import axes_or_new, drawable, plain, set_title, use_fallback_fonts
from regjax.plot.palette import BLUE
from regjax.plot.request import check_kept
from regjax.study.results import Results

if TYPE_CHECKING:
    import pandas as pd

# Letters of a line of a column's name, and its most lines; what is longer loses its middle.
LINE, MOST_LINES = 36, 3


def importance(
    results: Results,
    *,
    configuration: int | None = None,
    metric: str | None = None,
    top: int = 20,
    ax: Axes | None = None,
) -> Figure:
    """Returns a figure of the permutation importance of the columns, the most important on top.

    A dot is by how much the metric on held-out samples gets worse where the column is shuffled. Thick: the
    95 % interval of each column alone; thin: the one that holds for all columns at once.

    Args:
        results: the results of a sweep that kept parameters.
        configuration: number of a configuration; None takes the chosen one.
        metric: a validation metric; None is val_accuracy or val_r2.
        top: most columns that are drawn, at least 1.
        ax: axes that are drawn into; None makes a figure.

    Raises:
        TypeError: top is no whole number.
        ValueError: as `Results.importance`.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "iris", {"hidden": (4,), "num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2,
        ...     progress=False,
        ... )
        >>> figure = regjax.plot.importance(results)
        >>> len(figure.axes[0].get_yticklabels())
        4
    """
    check_count("top", top)
    if results.design.splits.kind != "none":
        check_kept(results, "importance")
    found = results.importance(configuration=configuration, metric=metric)
    lines, given = found.table.head(top), ax
    names = [_label(name) for name in lines["column"]]
    heights = np.array([1 + 0.6 * name.count("\n") for name in names])
    places = np.cumsum(heights) - heights / 2
    figure, ax = axes_or_new(ax, (8, 1.5 + 0.26 * float(heights.sum())))
    for place, line in zip(places, lines.to_dict("records"), strict=True):
        for low, high, width in (("family_low", "family_high", 1.0), ("low", "high", 3.2)):
            looks: dict[str, Any] = {"color": BLUE, "linewidth": width, "solid_capstyle": "butt"}
            ax.plot(drawable(np.array([line[low], line[high]])), [place, place], **looks)
        mean = drawable(np.array([line["importance"]]))
        ax.plot(mean, [place], "o", color=BLUE, markeredgecolor="white", markersize=8)
    ax.axvline(0, color="#000000", linewidth=0.8)
    ax.set_yticks(places, names, fontsize=8)
    use_fallback_fonts(ax.get_yticklabels())
    ax.set_ylim(float(heights.sum()) + 0.2, -0.2)
    ax.set_xlim(*_ends(lines))
    ax.set_ylabel("column")
    worse = f"how much worse {results.design.in_units(found.metric)} gets"
    ax.set_xlabel(f"{worse}\nright of 0: the column helps")
    ax.grid(axis="x", alpha=0.25)
    some = f"; {top} of {len(found.table):,} columns" if top < len(found.table) else ""
    bars = "; thick: 95 % of each alone, thin: of all at once" if found.has_intervals else ""
    set_title(given or figure, found.title + some + bars)
    return figure


def _label(name: str) -> str:
    """Returns a column's name as a tick shows it: broken into lines, without its middle where it is long."""
    kept, text = len(name), name
    while len(lines := textwrap.wrap(text, LINE)) > MOST_LINES:
        kept = min(kept, LINE * MOST_LINES) - 4
        text = f"{name[: kept // 2]} … {name[-kept // 2 :]}"
    return "\n".join(map(plain, lines)) or plain(name)


def _ends(lines: pd.DataFrame) -> tuple[float, float]:
    """Returns the ends of the axis; a family interval that is wider by far ends at the border."""
    alone = drawable(np.append(lines[["importance", "low", "high"]].to_numpy(float), 0.0))
    low, high = float(np.nanmin(alone)), float(np.nanmax(alone))
    if low == high:
        return -1.0, 1.0
    family = drawable(np.append(lines[["family_low", "family_high"]].to_numpy(float), 0.0))
    room = high - low
    low = max(min(low, float(np.nanmin(family))), low - room)
    high = min(max(high, float(np.nanmax(family))), high + room)
    return low - 0.04 * room, high + 0.04 * room
