"""From Optuna's distributions to configurations: the space of a study is checked, and trials are asked for.

`optimize` calls it; nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from regjax.core.checks import check_known, shown
from regjax.store.identity import fingerprint
from regjax.study.configuration import ELSEWHERE, NAMES, Configuration
from regjax.study.design import Design
from regjax.study.grid import grid_from_list
from regjax.study.selection import higher_is_better

# A mapping of names to distributions and fixed values, or a function of a trial (define-by-run).
Space = Mapping[str, Any] | Callable[[optuna.Trial], Mapping[str, Any]]
# The attribute of a study that says what its values are of.
ATTRIBUTE = "regjax"


def words_of(design: Design, metric: str) -> dict[str, Any]:
    """Returns what the values of a study are of, by name: values of other things must not be compared."""
    return {
        "metric": metric,
        "samples": design.data.x.shape[1],
        "data set": fingerprint(design.data)[:8],
        "mean": design.units_in_words(),
        "steps": design.configs[0].num_steps,
    }


def check_study(study: optuna.Study, words: Mapping[str, Any]) -> None:
    """Checks that a study has one objective, and values of what this call measures; `words` as `words_of`.

    Raises:
        ValueError: several objectives, another direction, or trials of another metric, split or length.
    """
    metric = words["metric"]
    if len(study.directions) != 1:
        raise ValueError(f"study must have one objective, {metric}, got {len(study.directions)}")
    wanted = StudyDirection.MAXIMIZE if higher_is_better(metric) else StudyDirection.MINIMIZE
    if study.direction != wanted:
        raise ValueError(
            f"study must {wanted.name.lower()} {metric}, got direction {study.direction.name.lower()}"
        )
    before = study.user_attrs.get(ATTRIBUTE, words)
    for name, value in words.items():
        if before.get(name, value) != value:
            raise ValueError(
                f"study must have values of one {name}, here {value}, got trials of {before.get(name)}: "
                "take a study of another name"
            )


def check_space(space: Space) -> dict[str, BaseDistribution]:
    """Returns the distributions of a space; none for a function, whose parameters only its trials know.

    Raises:
        TypeError: neither a mapping nor a function.
        ValueError: an unknown name, no distribution, or one with a value that regjax refuses; names it.
    """
    if callable(space):
        return {}
    if not isinstance(space, Mapping):
        raise TypeError(
            f"space must be a mapping of names to distributions, or a function of a trial, got {shown(space)}"
        )
    found = {name: value for name, value in space.items() if isinstance(value, BaseDistribution)}
    for name, value in space.items():
        check_known("space", name, (*NAMES, "dropout"), ELSEWHERE)
        for end in _ends(value):
            grid_from_list([{name: end}])
    if not found:
        raise ValueError("space must have an Optuna distribution at least, got fixed values alone")
    return found


def _ends(value: Any) -> list[Any]:
    """Returns the values of a distribution that are checked: all choices, or both ends of a range."""
    if isinstance(value, CategoricalDistribution):
        return list(value.choices)
    distribution: Any = value
    return [distribution.low, distribution.high] if isinstance(value, BaseDistribution) else [value]


def check_same_parameters(study: optuna.Study, distributions: Mapping[str, BaseDistribution]) -> None:
    """Checks that the trials that a study has already are of the parameters of a space.

    Raises:
        ValueError: a trial of other parameters, or a parameter with a distribution of another kind.
    """
    # A waiting trial holds what the user fixed, which need not be all; one that failed may have begun only.
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    for trial in study.get_trials(deepcopy=False, states=states) if distributions else ():
        for name in sorted(set(trial.distributions) ^ set(distributions)):
            has = "has" if name in trial.distributions else "lacks"
            raise ValueError(
                f"study must have the parameters of the space, {', '.join(distributions)}, "
                f"and trial {trial.number} {has} {name}: take a study of another name"
            )
        for name, distribution in distributions.items():
            try:
                optuna.distributions.check_distribution_compatibility(trial.distributions[name], distribution)
            except ValueError as error:
                raise ValueError(
                    f"study must have the distributions of the space, and that of {name} differs in trial "
                    f"{trial.number}: {error}"
                ) from None


def ask(study: optuna.Study, space: Space, distributions: Mapping[str, BaseDistribution]) -> optuna.Trial:
    """Returns a new trial of a study, whose parameters a mapping fixes now and a function later."""
    return study.ask(None if callable(space) else dict(distributions))


def configuration_of(trial: optuna.Trial, space: Space) -> Configuration:
    """Returns the configuration of a trial.

    Raises:
        TypeError: a function that returns no mapping, or a value of the wrong kind.
        ValueError: an unknown name, or a value out of its range.
    """
    if callable(space):
        chosen = space(trial)
    else:
        fixed = {name: value for name, value in space.items() if not isinstance(value, BaseDistribution)}
        chosen = fixed | trial.params
    (found,) = grid_from_list([chosen])
    return found
