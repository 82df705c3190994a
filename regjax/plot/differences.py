"""The figure of a comparison, which `figures` lists: `forest`, the paired differences to a baseline."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regjax.plot.canvas import add_legend, axes_or_new, drawable, set_title
from regjax.plot.palette import VERDICTS
from regjax.study.results import Results
from regjax.study.selection import higher_is_better, ranking

if TYPE_CHECKING:
    import pandas as pd

# Most configurations that are drawn: the best and the worst half of so many.
MOST = 40


def forest(
    results: Results,
    *,
    metric: str | None = None,
    baseline: Mapping[str, Any] | None = None,
    over: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Returns a figure of the paired differences to a baseline, sorted, with their intervals.

    Thick: the 95 % interval of each difference alone; thin: the one that holds for all at once, on which the
    verdicts rest. Of more than 40 configurations the best and the worst are shown. Where a network diverged
    there is a text in place of the interval.

    Args:
        results: the results of the sweep.
        metric: a validation metric; None is val_accuracy or val_r2.
        baseline: the baseline, as in `Results.compare`.
        over: the axes chosen over, as in `Results.compare`.
        ax: axes that are drawn into; None makes a figure.

    Raises:
        ValueError: as `Results.compare`.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> figure = regjax.plot.forest(results)
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['l2=1']
    """
    comparison = results.compare(baseline, over, metric)
    more = higher_is_better(comparison.metric)
    lines, hidden = _ends(comparison.table, more)
    given = ax
    figure, ax = axes_or_new(ax, (8, 1.7 + 0.26 * len(lines)))
    places = np.arange(len(lines), dtype=float)
    if hidden > 0:
        places[MOST // 2 :] += 1  # a gap between the best and the worst
        words = f"… {hidden:,} more, in between or diverged …"
        looks: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
        ax.text(0.5, MOST // 2, words, transform=ax.get_yaxis_transform(), **looks)
    for place, line in zip(places, lines.to_dict("records"), strict=True):
        _draw_difference(ax, place, line)
    reach = _reach(lines)
    ax.axvline(0, color="#000000", linewidth=0.8)
    ax.set_yticks(places, [textwrap.shorten(name, 60, placeholder="…") for name in lines["name"]], fontsize=8)
    ax.set_ylim(places[-1] + 0.7, -0.7)
    ax.set_xlim(-reach, reach)
    ax.set_ylabel("configuration")
    side = "right" if more else "left"
    ax.set_xlabel(f"difference in {results.design.in_units(comparison.metric)}; better: {side} of 0")
    handles = [
        Line2D([], [], linestyle="", marker=look.marker, color=look.colour) for look in VERDICTS.values()
    ]
    add_legend(given or figure, handles, list(VERDICTS))
    ax.grid(axis="x", alpha=0.25)
    words = f"{comparison.title}; thick: 95 % of each alone, thin: of all {len(comparison.table):,} at once"
    set_title(given or figure, words + ("" if not over else f"; each at its own best {', '.join(over)}"))
    return figure


def _ends(table: pd.DataFrame, more: bool) -> tuple[pd.DataFrame, int]:
    """Returns the lines of a comparison's table that are drawn, from best to worst, and how many are not."""
    differences = table["difference"].to_numpy(float)
    order = ranking(differences, more)
    if len(order) > MOST:
        half, sound = MOST // 2, int(np.isfinite(differences).sum())
        # The worst are the last that have a difference: those that diverged are ranked below them.
        order = np.array([*order[:half], *order[max(half, sound - half) :][:half]])
    return table.iloc[order], len(table) - len(order)


def _draw_difference(ax: Axes, place: float, line: Mapping[str, Any]) -> None:
    """Draws the difference of a configuration with both its intervals, or says why it has none."""
    if line["status"] != "ok":
        looks: dict[str, Any] = {"va": "center", "fontsize": 8, "gid": "diverged"}
        ax.text(0.02, place, f"no verdict: {line['status']}", transform=ax.get_yaxis_transform(), **looks)
        return
    look = VERDICTS[line["verdict"]]
    for low, high, width in (("family_low", "family_high", 1.0), ("low", "high", 3.2)):
        if np.isfinite(line[low]):
            looks = {"color": look.colour, "linewidth": width, "solid_capstyle": "butt"}
            ax.plot([line[low], line[high]], [place, place], **looks)
    ax.plot(line["difference"], place, look.marker, color=look.colour, markeredgecolor="white", markersize=8)


def _reach(lines: pd.DataFrame) -> float:
    """Returns how far the axis reaches from 0; a family interval that is wider by far ends at the border."""
    alone = np.abs(lines[["difference", "low", "high"]].to_numpy(float))
    family = np.abs(lines[["family_low", "family_high"]].to_numpy(float))
    alone, family = drawable(alone[np.isfinite(alone)]), drawable(family[np.isfinite(family)])
    if not np.any(alone > 0):
        return 1.0
    inside = float(np.nanmax(alone))
    return 1.08 * min(max(inside, float(np.nanmax(family, initial=0))), 3 * inside)
