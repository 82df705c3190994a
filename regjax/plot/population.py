"""The figure of a population: `schedules`, its scores and hyperparameters against the step."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regjax.plot.canvas import (
    Panels,
    add_legend,
    drawable,
    figure_or_new,
    root_of,
    set_title,
)
from regjax.plot.palette import CHOSEN
from regjax.plot.scales import scale_of
from regjax.study.configuration import value_of
from regjax.study.population import Population

# The lines of all members but the best one.
OTHERS = "#999999"
# Most hyperparameters that each get a panel.
MOST = 8


def schedules(population: Population, *, member: int | None = None, figure: Panels | None = None) -> Figure:
    """Returns a figure of a population: scores, and each explored hyperparameter, against the step.

    Thin lines are members, segment by segment. One that ends in a cross was replaced by a copy of another;
    one that diverged has no score, and ends before. The bold line is the way of one member's final network
    from the beginning: its schedule.

    Args:
        population: the population.
        member: number of the member whose way is bold; None is the best one.
        figure: figure or subfigure for the panels; None makes one.

    Raises:
        ValueError: there is no such member.

    Example:
        >>> import regjax
        >>> found = regjax.population(
        ...     "two_regions", {"num_steps": 40, "eval_every": 20}, {"l2": [0.01, 0.1, 1, 10]},
        ...     size=4, folds=2,
        ...     progress=False,
        ... )
        >>> len(regjax.plot.schedules(found).axes)
        2
    """
    chosen = population.best if member is None else member
    way = population.ancestors(chosen)
    names = population.explored[:MOST]
    count = 1 + len(names)
    columns = 2 if count < 5 else 3
    rows = -(-count // columns)
    figure = figure_or_new(figure, (4.6 * columns, 0.8 + 2.7 * rows))
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in panels[count:]:
        ax.set_axis_off()
    handles = _draw_scores(population, panels[0], way)
    for ax, name in zip(panels[1:], names, strict=False):
        _draw_values(population, ax, name, way)
    for ax in panels[:count]:
        ax.set_xlabel("step")
        ax.grid(alpha=0.25)
    add_legend(figure, handles, [f"the way of member {chosen}", "members", "replaced"])
    left = len(population.explored) - len(names)
    more = f"; {left} more hyperparameters are not shown" if left else ""
    over = population.design.evidence.mean_in_words()
    set_title(
        figure,
        f"{len(population)} members, selected by {population.metric} {over}, which is optimistic{more}",
    )
    return root_of(figure)


def _begins(population: Population) -> np.ndarray:
    """Returns the steps at which segments begin, and the last step, `(segments + 1,)`."""
    return np.array([0, *(generation.step for generation in population.generations)])


def _draw_scores(population: Population, ax: Axes, way: tuple[int, ...]) -> list[Any]:
    """Draws the score of each member at the end of each segment; returns the lines of the legend."""
    steps = _begins(population)[1:]
    scores = drawable(np.array([generation.scores for generation in population.generations]))
    thin: list[Any] = [None]
    crosses: list[tuple[int, float]] = []
    for index, generation in enumerate(population.generations):
        for member in range(len(population)):
            replaced = generation.parents[member] != member
            if replaced and np.isfinite(scores[index, member]):
                crosses.append((int(steps[index]), float(scores[index, member])))
            if index:
                before = population.generations[index - 1].parents[member]
                ends = scores[index - 1, before], scores[index, member]
                thin = ax.plot(steps[index - 1 : index + 1], ends, color=OTHERS, linewidth=0.7)
    at, heights = zip(*crosses, strict=True) if crosses else ((), ())
    marks = ax.scatter(at, heights, marker="x", color=OTHERS, s=22, zorder=2, gid="replaced")
    on_way = [scores[index, member] for index, member in enumerate(way)]
    bold = ax.plot(steps, on_way, color=CHOSEN, linewidth=2.2, marker="o", markersize=3, zorder=3)
    ax.set_ylabel(population.design.in_units(population.metric))
    thin = thin if thin[0] is not None else bold
    return [bold[0], thin[0], marks]


def _draw_values(population: Population, ax: Axes, name: str, way: tuple[int, ...]) -> None:
    """Draws the value of a hyperparameter of each member in each segment, and those on the way."""
    begins = _begins(population)
    used = [population.design.configurations, *(g.configurations for g in population.generations[:-1])]
    values = [[value_of(configuration, name) for configuration in part] for part in used]
    scale = scale_of(name, [value for part in values for value in part])
    table = np.array([[scale.places[value] for value in part] for part in values])
    for member in range(len(population)):
        ax.stairs(table[:, member], begins, baseline=None, color=OTHERS, linewidth=0.7)
    on_way = [table[index, member] for index, member in enumerate(way)]
    ax.stairs(on_way, begins, baseline=None, color=CHOSEN, linewidth=2.2, zorder=3)
    scale.put_on(ax.yaxis)
