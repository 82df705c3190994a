"""The figure of what a sweep can show, which `figures` lists: `power`, and the width of intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regjax.plot.canvas import Panels, add_legend, figure_or_new, root_of, say, set_title
from regjax.plot.palette import BLACK, LINES
from regjax.study import power as of
from regjax.study.needs import lines_of
from regjax.study.power import Components, Extent
from regjax.study.results import Results

# Repeats (on one split seeds) of the second panel, points of a curve, and the power that a line marks.
MOST_REPEATS, POINTS = 50, 120


class Case(NamedTuple):
    """One curve of the first panel: its name, variances and extent."""

    name: str
    components: Components
    extent: Extent


def power(
    results: Results,
    *,
    metric: str | None = None,
    baseline: Mapping[str, Any] | None = None,
    figure: Panels | None = None,
) -> Figure:
    """Returns a figure of what comparisons to a baseline can show: power, and how wide intervals are.

    Left: the probability that a true difference is shown, against that difference, on the folds, repeats and
    seeds of this sweep, on more of them, and on more rows; marks at the bottom are the differences seen.
    Right: half of the family interval against the number of repeats (on one split, of seeds), with the width
    that no number of them undercuts. Both for the average spread of the comparisons.

    Args:
        results: the results of the sweep.
        metric: a validation metric; None is val_accuracy or val_r2.
        baseline: the baseline, as in `Results.compare`.
        figure: figure or subfigure that is drawn into; None makes one.

    Raises:
        ValueError: as `Results.compare`.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> figure = regjax.plot.power(results)
        >>> len(figure.axes)
        2
    """
    comparison = results.compare(baseline, (), metric)
    found = lines_of(comparison, results.design, results.table(comparison.metric))
    lines = [line for line in found if line is not None]
    panels = figure_or_new(figure, (9.5, 4.4))
    left, right = panels.subplots(1, 2)
    words = f"{comparison.metric}, difference to {comparison.baseline_in_words}, {comparison.units}"
    set_title(panels, f"what this sweep can show: {words}")
    unit = f"true difference in {results.design.in_units(comparison.metric)}; ticks: those seen"
    left.set(xlabel=unit, ylabel="power, for one of the family")
    extent = lines[0].extent if lines else of.extent_of(results.design)
    again = "repeats of the folds" if extent.kind == "folds" else "seeds"
    right.set(xlabel=again, ylabel="half of the family interval")
    if not lines:
        for ax in (left, right):
            say(ax, "no difference has a spread")
        return root_of(panels)
    mean = Components(*np.mean([line.parts for line in lines], axis=0).tolist())
    # As many independent comparisons as reach as far: the reach changes with the degrees of freedom.
    count = of.comparisons_of(float(np.mean([line.reach for line in lines])), extent.df)
    cases = _cases(mean, extent)
    _draw_power(left, cases, count)
    seen = np.abs(comparison.table["difference"].to_numpy(float))
    inside = seen[seen <= left.get_xlim()[1]]  # NaN where a network diverged
    left.plot(inside, np.zeros(len(inside)), "|", color=BLACK, markersize=9, clip_on=False, gid="seen")
    _draw_width(right, mean, extent, count)
    names = [case.name for case in cases]
    add_legend(panels, left.lines[: len(names)], names)
    return root_of(panels)


def _cases(mean: Components, extent: Extent) -> list[Case]:
    """Returns the curves of the first panel: this sweep, more repeats or seeds, more rows."""
    found = [Case("this sweep", mean, extent)]
    if extent.kind == "seeds":
        more = [4 * extent.seeds, 16 * extent.seeds]
        found += [Case(f"{count} seeds", mean, extent._replace(seeds=count)) for count in more]
    elif extent.can_repeat:
        more = [count for count in (3, 10, 50) if count > extent.repeats]
        found += [Case(f"{count} repeats", mean, extent._replace(repeats=count)) for count in more[:2]]
    for factor in (4, 16):
        part = Components(mean.shared / factor, mean.seeds / factor)
        found.append(Case(f"{factor} times the rows", part, extent))
    return found


def _draw_power(ax: Axes, cases: list[Case], count: float) -> None:
    """Draws the power of each case against the true difference, and a line at 80 %."""
    reaches = [of.reach_of(count, case.extent.df) for case in cases]
    errors = [of.standard_error(case.components, case.extent) for case in cases]
    largest = of.detectable(errors[0], cases[0].extent.df, reaches[0], 0.95)
    differences = np.linspace(0, largest, POINTS)
    for case, error, reach, (colour, dash) in zip(cases, errors, reaches, LINES, strict=False):
        values = [of.power(d, error, case.extent.df, reach) for d in differences]
        ax.plot(differences, values, color=colour, linestyle=dash, label=case.name)
    ax.axhline(of.POWER, color="#999999", linestyle=":", linewidth=1, zorder=0)
    ax.set(xlim=(0, largest), ylim=(0, 1))
    ax.grid(alpha=0.25)


def _draw_width(ax: Axes, mean: Components, extent: Extent, count: float) -> None:
    """Draws half of the family interval against repeats, or seeds on one split, with its floor."""
    name, first = ("seeds", 2) if extent.kind == "seeds" else ("repeats", 1)
    now = int(getattr(extent, name))
    numbers = np.arange(first, max(MOST_REPEATS, now) + 1)

    def width(number: int) -> float:
        size = extent._replace(**{name: number})
        return of.reach_of(count, size.df) * of.standard_error(mean, size)

    widths = [width(int(number)) for number in numbers]
    if name == "seeds" or extent.can_repeat:
        ax.plot(numbers, widths, color=LINES[0][0], linestyle="-")
    floor = width(10**9)
    ax.axhline(floor, color="#999999", linestyle="--", linewidth=1, gid="floor")
    # Two seeds have an interval so wide that nothing else would be seen beside it.
    top = min(1.06 * max(widths), 3 * width(now))
    below = floor > 0.06 * top
    looks: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 8}
    looks |= {"va": "top", "xytext": (0, -3)} if below else {"va": "bottom", "xytext": (0, 14)}
    ax.annotate(f"no number of {name} goes below {of.two_digits(floor)}", (numbers[-1], floor), **looks)
    ax.plot(now, width(now), "o", color=LINES[0][0], gid="now")
    ax.set(xscale="log", ylim=(0, top), xlim=(0.9 * first, 1.1 * numbers[-1]))
    ticks = [number for number in (1, 2, 3, 5, 10, 20, 50) if first <= number <= numbers[-1]]
    ax.set_xticks(ticks, [str(number) for number in ticks])
    ax.minorticks_off()
    ax.grid(alpha=0.25)
