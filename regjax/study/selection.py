"""Choosing a configuration by validation alone: ranking, the one-standard-error rule, scores of a choice.

`scores` is `(configurations, units of evidence)`: per fold (averaged over seeds), or per seed on one split.
NaN marks a score that diverged or is not defined: it is ranked last, and never chosen. Choices,
comparisons, tables, figures and the progress of a sweep call it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from regjax.core.checks import check_choice
from regjax.core.hparams import HYPERPARAMETERS, OFF_VALUES
from regjax.core.metrics import METRICS, without_split
from regjax.study.configuration import value_of
from regjax.study.design import Design
from regjax.study.records import num_params

Rule = Literal["mean", "one_se"]

# Names in the order in which they decide what is simpler, and whether larger is simpler; others never decide.
SIMPLER = (
    ("parameters", False),
    *(
        (name, HYPERPARAMETERS[name].simpler == "larger")
        for name in ("l1", "l2", *(name for name in HYPERPARAMETERS if name not in ("l1", "l2")))
        if HYPERPARAMETERS[name].simpler
    ),
)


def simpler_in_words(names: Collection[str]) -> str:
    """Returns the order of `SIMPLER` among these names, in words."""
    named = (f"{'larger' if larger else 'smaller'} {name}" for name, larger in SIMPLER[1:] if name in names)
    return ", then ".join(["fewer parameters", *named])


def higher_is_better(metric: str) -> bool:
    """Returns whether more of a metric, with or without its split's prefix, is better."""
    return METRICS[without_split(metric)]


def ranking(values: np.ndarray, higher: bool) -> np.ndarray:
    """Returns indices from best to worst, NaN last, equal values in their order; every ranking calls this."""
    keys = np.where(np.isnan(values), np.inf, -values if higher else values)
    return np.lexsort((np.arange(len(values)), keys, np.isnan(values)))


def choose(scores: np.ndarray, higher: bool, rule: Rule, simplicity: Sequence[tuple[float, ...]]) -> int:
    """Returns the index of the chosen configuration.

    "mean" takes the best mean. "one_se" takes the simplest of those whose mean lies within one standard
    error of the best one's mean, s/√units of the best; ties go to the better mean.

    Args:
        scores: `(configurations, units)`.
        higher: whether more is better.
        rule: "mean" or "one_se".
        simplicity: a sort key per configuration, smaller is simpler.

    Raises:
        ValueError: nothing to choose from, or one_se with fewer than two units.

    References:
        Breiman et al. 1984, §3.4.3; Hastie, Tibshirani, Friedman 2009, §7.10.
    """
    check_choice("rule", rule, ("mean", "one_se"))
    means = np.mean(scores, axis=1)
    order = ranking(means, higher)
    best = int(order[0])
    if math.isnan(means[best]):
        raise ValueError(
            "best must have a configuration whose networks all have the metric, got none: they diverged, "
            "or it is not defined"
        )
    if rule == "mean":
        return best
    if scores.shape[1] < 2:
        raise ValueError("one_se must have at least two folds or seeds, got one")
    candidates, _ = within_one_se(scores, higher)
    place = {int(index): rank for rank, index in enumerate(order)}
    return min(candidates, key=lambda index: (tuple(simplicity[index]), place[index]))


def within_one_se(scores: np.ndarray, higher: bool) -> tuple[list[int], float]:
    """Returns the configurations whose mean lies within one standard error of the best, and that error."""
    means = np.mean(scores, axis=1)
    best = int(ranking(means, higher)[0])
    reach = float(np.std(scores[best], ddof=1)) / math.sqrt(scores.shape[1])
    gap = (means[best] - means) if higher else (means - means[best])
    return [int(index) for index in np.flatnonzero(gap <= reach)], reach


def left_out(
    scores: np.ndarray, pick: Callable[[np.ndarray], int], repeat_of: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """Returns the score on each unit of the configuration that is chosen without it, and the choices.

    The choice reads the other units of the same repeat: those of other repeats are scored on its samples.

    Args:
        scores: `(configurations, units)`, at least two units in each repeat.
        pick: from `(configurations, other units)` to an index.
        repeat_of: number of the repeat of each unit, `(units,)`.

    References:
        Varma & Simon 2006.
    """
    # A configuration that is NaN in one unit is no candidate where that unit is left out, either.
    scores = np.where(np.isnan(scores).any(axis=1, keepdims=True), np.nan, scores)
    choices = []
    for unit, repeat in enumerate(repeat_of):
        others = repeat_of == repeat
        others[unit] = False
        choices.append(pick(scores[:, others]))
    return np.array([scores[index, unit] for unit, index in enumerate(choices)]), choices


def chooser(
    design: Design, higher: bool, rule: Rule, members: Sequence[int] | None = None
) -> Callable[[np.ndarray], int]:
    """Returns the choice by a rule among configurations: from their scores, as `choose` takes, to a place.

    Args:
        design: design of the sweep.
        higher: whether more is better.
        rule: "mean" or "one_se".
        members: numbers of the configurations that compete; None takes all.
    """
    simple = [
        simplicity(
            {n: value_of(design.configurations[i], n) for n in OFF_VALUES}, num_params(design.configs[i])
        )
        for i in (range(len(design.configs)) if members is None else members)
    ]
    return lambda scores: choose(scores, higher, rule, simple)


def simplicity(configuration: Mapping[str, Any], num_params: int) -> tuple[float, ...]:
    """Returns a sort key, smaller is simpler, in the order of `SIMPLER`."""
    key: list[float] = []
    for name, larger_is_simpler in SIMPLER:
        value = float(num_params if name == "parameters" else np.mean(configuration[name]))
        key.append(-value if larger_is_simpler else value)
    return tuple(key)


def best_so_far(
    design: Design, metric: str, values: np.ndarray, finished: np.ndarray, sound: np.ndarray
) -> str:
    """Returns the configuration with the best mean so far, in words, or "" where none has one.

    Args:
        design: design of the sweep.
        metric: name of the metric.
        values: metric of each row, `(rows,)`.
        finished: whether each row is finished, `(rows,)`.
        sound: whether each row has not diverged, `(rows,)`.
    """
    values, finished, sound = (v.reshape(-1, design.num_replicates) for v in (values, finished, sound))
    begun = finished.any(axis=1) & sound.all(axis=1)
    # Over replicates that all of them have finished: another seed or fold may simply be easier.
    common = finished[begun].all(axis=0)
    if not begun.any() or not common.any():
        return ""
    means = np.where(begun, values[:, common].mean(axis=1), np.nan)
    index = int(ranking(means, higher_is_better(metric))[0])
    if math.isnan(means[index]):
        return ""
    return f"{design.in_words(design.configurations[index], 4)}: {metric} {means[index]:.4f}"
