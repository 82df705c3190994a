"""`as_study`: a finished sweep as an Optuna study, for Optuna's plots, importances and dashboard.

A user calls it with the results of `regjax.sweep` or `regjax.load`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from regjax.optuna.space import ATTRIBUTE, words_of
from regjax.store.identity import identities
from regjax.study.configuration import value_of
from regjax.study.results import Results
from regjax.study.selection import higher_is_better
from regjax.study.words import as_text

# An axis of positive values whose largest is at least so many times the smallest is one of logarithms.
LOGARITHMIC = 10.0


def as_study(
    results: Results, *, metric: str | None = None, name: str | None = None, storage: Any = None
) -> optuna.Study:
    """Returns a new study with a trial for each configuration of a sweep.

    Its parameters are the axes of the grid. A trial has the records as intermediate values and the last one
    as its value, means over folds and seeds; one with a network that diverged has failed. User attributes as
    in `optimize`. Optuna's importances read how values vary over the grid, and are no tests of a difference.

    Args:
        results: the results of the sweep.
        metric: a validation metric; None takes val_accuracy or val_r2.
        name: the study's name.
        storage: as in `optuna.create_study`.

    Raises:
        ValueError: nothing is held out, or nothing varies in the grid.

    Example:
        >>> import regjax
        >>> grid = regjax.grid(l2=[0.01, 1], learning_rate=[0.1, 0.3])
        >>> config = {"hidden": (4,), "num_steps": 100, "eval_every": 50}
        >>> study = regjax.optuna.as_study(regjax.sweep("two_regions", config, grid, folds=2))
        >>> [trial.params for trial in study.trials][1]
        {'l2': 0.01, 'learning_rate': 0.3}
        >>> len(study.trials[1].intermediate_values)
        3
    """
    design = results.design
    metric = design.check_metric(metric)
    if not design.axes:
        raise ValueError("as_study must have a grid with an axis, got one configuration")
    distributions = {axis: distribution_of(values) for axis, values in design.axes.items()}
    direction = "maximize" if higher_is_better(metric) else "minimize"
    study = optuna.create_study(direction=direction, study_name=name, storage=storage)
    study.set_user_attr(ATTRIBUTE, words_of(design, metric))
    names, per = identities(design), design.num_replicates
    units = results.units(metric)
    for index in range(len(design.configurations)):
        means = results.carried_on(metric, index).mean(axis=(0, 1))
        steps = zip(results.steps(index).tolist(), means.tolist(), strict=False)
        ok = bool(results.num_ok()[index] == per)
        study.add_trial(
            optuna.create_trial(
                state=TrialState.COMPLETE if ok else TrialState.FAIL,
                value=float(units[index].mean()) if ok else None,
                params={axis: _as_held(value_of(design.configurations[index], axis), found)
                        for axis, found in distributions.items()},
                distributions=distributions,
                intermediate_values={step: value for step, value in steps if np.isfinite(value)},
                user_attrs={"rows": names[index * per : (index + 1) * per]}
                | ({"scores": units[index].tolist()} if ok else {}),
            )
        )  # fmt: skip
    return study


def distribution_of(values: Sequence[Any]) -> BaseDistribution:
    """Returns the distribution of an axis: a range where all values are numbers, else a choice.

    Example:
        >>> distribution_of([0.01, 0.1, 1.0])
        FloatDistribution(high=1.0, log=True, low=0.01, step=None)
        >>> distribution_of([(20, 3), (5,)])
        CategoricalDistribution(choices=('20/3', '5'))
    """
    numbers = all(isinstance(value, int | float) and np.isfinite(value) for value in values)
    if not numbers:
        return CategoricalDistribution([as_text(value) for value in values])
    low, high = min(values), max(values)
    log = low > 0 and high >= LOGARITHMIC * low
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _as_held(value: Any, distribution: BaseDistribution) -> Any:
    """Returns a value of an axis as its distribution holds it: text where that is a choice."""
    return as_text(value) if isinstance(distribution, CategoricalDistribution) else value
