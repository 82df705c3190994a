"""`References`: scores of other models on the folds of a sweep, and what the chosen network has beyond them.

`engine/references.py` fits the models and calls `hold_against`; the command line and the page print them.
Pandas is imported where a table is made.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from regjax.study.choice import mean_of_alive
from regjax.study.comparison import unit_interval, unrounded
from regjax.study.design import Design
from regjax.study.intervals import as_number, without_spread
from regjax.study.questions import Questions
from regjax.study.results import Results
from regjax.study.selection import chooser, higher_is_better, left_out, ranking

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class References:
    """Scores of other models, and the paired difference of the chosen network to each; `str` says them.

    Attributes:
        table: a line per model: `name`, `score` (mean over the folds), `difference` (the network less the
            model), `se`, `low` and `high` (95 %), `sentence`. On one split there is no interval.
        scores: the models' scores, `(models, folds)`, in the order of the table.
        network: scores of the chosen network in the same folds, averaged over seeds, `(folds,)`.
        metric: the validation metric.
        over: what the means are taken over, in words.
        notes: sentences on how to read the table.
    """

    table: pd.DataFrame
    scores: np.ndarray
    network: np.ndarray
    metric: str
    over: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in self.table["sentence"]), *self.notes])

    @property
    def title(self) -> str:
        """What is shown, in words."""
        score = as_number(float(np.mean(self.network)))
        return f"{self.metric} of other models beside the chosen network's {score}, {self.over}"


def hold_against(
    results: Results, questions: Questions, scores: Mapping[str, np.ndarray], notes: tuple[str, ...] = ()
) -> References:
    """Returns the chosen network of a sweep held against other models on the same folds.

    Over folds, the network of each fold is the one that is chosen without it, and of each model the strength
    that is best without it: neither has seen the score of that fold.

    Args:
        results: results of the sweep.
        questions: how a network is chosen: metric, rule, allow_diverged.
        scores: name of a model -> its scores at each strength of its penalty, `(strengths, folds)`.
        notes: sentences on how the models were fitted.

    Raises:
        ValueError: nothing was held out, all configurations diverged, or too few folds for the rule.
    """
    import pandas as pd

    design, metric = results.design, results.design.check_metric(questions.metric)
    higher, over_folds = higher_is_better(metric), design.splits.kind == "folds"
    network = _chosen_scores(results, questions, metric)
    found, lines = [], []
    for name, of_strengths in scores.items():
        own = _best_strengths(of_strengths, higher, design)
        differences = unrounded(network - own, np.stack([network, own]), design.configs[0].dtype)
        # On one split there is one score of a model, and seeds say nothing about other samples.
        interval = unit_interval(design, differences) if over_folds else without_spread(differences)
        mean = float(np.mean(own))
        entry: dict[str, Any] = {"name": name, "score": mean, "difference": interval.mean}
        entry |= {"se": interval.se, "low": interval.low, "high": interval.high}
        found.append(own)
        lines.append(entry | {"sentence": _sentence(entry)})
    how = _how(over_folds, len(design.configurations))
    words = design.evidence.in_words() if over_folds else design.evidence.mean_in_words()
    return References(pd.DataFrame(lines), np.array(found), network, metric, words, (how, *notes))


def _how(over_folds: bool, num_candidates: int) -> str:
    """Returns a sentence on what each side was chosen by; a single candidate was chosen elsewhere."""
    network = num_candidates > 1
    if over_folds:
        sides = "the network and the strength of a linear model are"
        sides = sides if network else "the strength of a linear model is"
        return f"In each fold {sides} chosen without that fold; each interval is 95 % alone."
    if network:
        return (
            "On one split the network and the strength of a linear model are chosen by the samples that "
            "score them: their scores are optimistic, and there is no interval."
        )
    return (
        "On one split the strength of a linear model is chosen by the samples that score it: its score is "
        "optimistic, and there is no interval."
    )


def _chosen_scores(results: Results, questions: Questions, metric: str) -> np.ndarray:
    """Returns the score of the chosen network in each fold, `(folds,)`, averaged over seeds.

    Raises:
        ValueError: as `hold_against`.
    """
    design, higher, rule = results.design, higher_is_better(metric), questions.rule
    scores = results.units(metric)
    if questions.allow_diverged:
        scores = mean_of_alive(results.table(metric), 1 if design.splits.kind == "folds" else 2)
    if design.splits.kind != "folds":
        chosen = results.best(metric, rule, allow_diverged=questions.allow_diverged).index
        return np.mean(scores[chosen], keepdims=True)
    least = 3 if rule == "one_se" else 2
    if design.num_left_out < least:
        raise ValueError(
            f"references must have at least {least} folds, to choose without the one that scores, "
            f"got {design.num_left_out}"
        )
    return left_out(scores, chooser(design, higher, rule), design.repeat_of)[0]


def _best_strengths(scores: np.ndarray, higher: bool, design: Design) -> np.ndarray:
    """Returns the scores of a model, `(folds,)`, in each fold at the strength that is best without it."""
    if len(scores) == 1:
        return scores[0]

    def best(rest: np.ndarray) -> int:
        return int(ranking(np.mean(rest, axis=1), higher)[0])

    over_folds = design.splits.kind == "folds"
    return left_out(scores, best, design.repeat_of)[0] if over_folds else scores[best(scores)]


def _sentence(entry: Mapping[str, Any]) -> str:
    difference = as_number(entry["difference"], "+")
    if not math.isnan(entry["se"]):
        difference += f" [{as_number(entry['low'], '+')}, {as_number(entry['high'], '+')}]"
    return f"{entry['name']} {as_number(entry['score'])}; the chosen network less it: {difference}"
