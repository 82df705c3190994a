"""Checks of a figure's arguments: its metric, its axes, its configurations.

Each function of `regjax.plot` that makes a figure calls these first, so that a bad argument is refused before
anything is drawn; `regjax.report.arrays` ranks configurations with `order_of`.
"""

from __future__ import annotations

import numpy as np

from regjax.core.checks import shown
from regjax.core.hparams import OFF_VALUES
from regjax.core.metrics import METRICS, without_split
from regjax.study.design import Design
from regjax.study.results import Results
from regjax.study.selection import higher_is_better, ranking

# Where no axis is named, λ is the first of these that the grid has.
STRENGTHS = ("l2", "l1", "l1_prox", "group_lasso", "weight_decay")


def recorded(results: Results, metric: str | None) -> str:
    """Returns the metric that is drawn; None is `Design.shown_metric`.

    Raises:
        ValueError: the metric is not recorded.
    """
    metric = results.design.shown_metric if metric is None else metric
    if metric not in results.records:
        raise ValueError(f"metric must be one of {', '.join(results.records)}, got {shown(metric)}")
    return metric


def ranked_by(results: Results, metric: str) -> str:
    """Returns the metric that ranks configurations where `metric` is drawn.

    It is `metric` if that is of the validation samples, else `Design.shown_metric`: nothing is ranked by
    training or test samples because they are shown.
    """
    named = [f"val_{name}" for name in results.design.metrics]
    return metric if metric in named and metric in results.records else results.design.shown_metric


def order_of(results: Results, metric: str) -> np.ndarray:
    """Returns the configurations from best to worst, `(configurations,)`, by `ranked_by`."""
    ranked = ranked_by(results, metric)
    return ranking(results.units(ranked).mean(axis=1), higher_is_better(ranked))


def chosen_of(results: Results, metric: str) -> int | None:
    """Returns the chosen configuration, None where nothing is held out or all networks diverged."""
    try:  # a figure is drawn even where nothing can be chosen
        return results.best(ranked_by(results, metric)).index
    except ValueError:
        return None


def more_is_better(metric: str) -> bool:
    """Returns whether a larger value of any recorded metric, also of the cost, is better."""
    return METRICS.get(without_split(metric), False)


def configuration_of(results: Results, configuration: int | None) -> int:
    """Returns the number of a configuration; None is the best.

    Raises:
        ValueError: there is no such configuration.
    """
    if configuration is None:
        return int(order_of(results, results.design.shown_metric)[0])
    last = len(results.design.configurations) - 1
    if not 0 <= configuration <= last:
        raise ValueError(f"configuration must be a number from 0 to {last}, got {configuration}")
    return configuration


def check_axis(design: Design, which: str, name: str) -> str:
    """Returns the name of an axis, the argument `which` ("x" or "y").

    Raises:
        ValueError: the grid does not mention the axis.
    """
    if name not in design.names:
        known = ", ".join(design.names) or "none"
        raise ValueError(f"{which} must be one of the names of the grid ({known}), got {shown(name)}")
    return name


def two_axes(results: Results, x: str | None, y: str | None) -> tuple[str, str | None]:
    """Returns two axes; None is the longest that is free, and the second is None where there is only one.

    Raises:
        ValueError: the grid does not mention an axis, or both are the same.
    """
    design = results.design
    given = [check_axis(design, which, name) for which, name in (("x", x), ("y", y)) if name is not None]
    if x is not None and x == y:
        raise ValueError(f"x and y must be two axes, got {x} twice")
    free = sorted((n for n in design.axes if n not in given), key=lambda name: -len(design.axes[name]))
    if not free and not given:  # every axis has one value
        free = [*design.names, "l2"][:1]
    across = x if x is not None else free.pop(0) if free else None
    down = y if y is not None else free.pop(0) if free else None
    if across is None:
        assert down is not None
        return down, None
    return across, down


def strength_of(results: Results, x: str | None) -> str:
    """Returns the axis of a figure against λ; None is l2, or the first regulariser of the grid.

    Raises:
        ValueError: the grid does not mention the axis.
    """
    design = results.design
    if x is not None:
        return check_axis(design, "x", x)
    varied = [name for name in (*STRENGTHS, *OFF_VALUES) if name in design.axes]
    fixed = [name for name in STRENGTHS if name in design.names]
    return next(iter([*varied, *fixed, *design.axes, "l2"]))


def check_kept(results: Results, kind: str) -> None:
    """Raises ValueError where no network has its parameters, unless all networks diverged."""
    if not results.kept and np.any(results.diverged_at < 0):
        raise ValueError(
            f"{kind} must have the networks' parameters, got results that kept none: "
            "sweep with keep='all' or keep='best'"
        )


def kept_row(results: Results, configuration: int) -> int | None:
    """Returns the first row of a configuration that did not diverge and has its parameters, or None."""
    per = results.design.num_replicates
    rows = range(configuration * per, (configuration + 1) * per)
    return next((row for row in rows if row in results.kept and results.diverged_at[row] < 0), None)
