"""The chosen configuration, why it was chosen, its scores and warnings; `Results.best` makes it."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from regjax.core.data import Data
from regjax.core.hparams import OFF_VALUES
from regjax.core.metrics import without_split
from regjax.data.splits import Splits
from regjax.study.configuration import Configuration, value_of
from regjax.study.design import Design
from regjax.study.notebook import card
from regjax.study.selection import (
    Rule,
    chooser,
    higher_is_better,
    left_out,
    ranking,
    simpler_in_words,
    within_one_se,
)
from regjax.study.sentences import amount, choice_named, value_in_words, with_unit
from regjax.study.words import as_text, metric_in_words


@dataclasses.dataclass(frozen=True)
class Choice:
    """The chosen configuration.

    Attributes:
        index: number of the configuration in the grid.
        configuration: values of the configuration.
        rule: "mean" or "one_se".
        metric: validation metric that was ranked.
        validation: mean of the metric on validation: selected among many, so optimistic.
        corrected: the same mean, corrected for the selection (chosen on all folds but one, scored on that
            one), or None where there is one split.
        test: mean of the metric on the test samples, or None where there are none.
        num_candidates: number of configurations that competed.
        reason: why it was chosen, in a sentence.
        warnings: sentences, for instance that it lies at the edge of the grid.
    """

    index: int
    configuration: Configuration
    rule: Rule
    metric: str
    validation: float
    corrected: float | None
    test: float | None
    num_candidates: int
    reason: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return self.in_words() + "".join(f"\nwarning: {w}" for w in self.warnings)

    def _repr_html_(self) -> str:
        cells = [(name, as_text(value)) for name, value in self.configuration.items()]
        return card(self.in_words(), (), cells, count=len(cells), most=len(cells), notes=self.warnings)

    def in_words(self) -> str:
        """Returns the reason and the scores in one line, without the warnings."""
        among = f" (selected among {self.num_candidates}: optimistic)" if self.num_candidates > 1 else ""
        validation = value_in_words(self.metric, self.validation)
        parts = [self.reason, f"{metric_in_words(self.metric)} {validation}{among}"]
        if self.corrected is not None:
            parts.append(f"corrected for the selection {value_in_words(self.metric, self.corrected)}")
        if self.test is not None:
            test = metric_in_words(f"test_{without_split(self.metric)}")
            parts.append(f"{test} {value_in_words(self.metric, self.test)}")
        return "; ".join(parts)


class Candidates(NamedTuple):
    """Scores of all configurations, from which a choice is made.

    Attributes:
        design: design of the sweep.
        metric: validation metric that is ranked.
        scores: `(configurations, units of evidence)`; NaN where a network diverged, unless that is allowed.
        alive: means of the metric over the networks that did not diverge, `(configurations,)`.
        test: the same means of the test metric, or None where there are no test samples.
        num_ok: number of networks that did not diverge, `(configurations,)`.
    """

    design: Design
    metric: str
    scores: np.ndarray
    alive: np.ndarray
    test: np.ndarray | None
    num_ok: np.ndarray


def make_choice(found: Candidates, rule: Rule) -> Choice:
    """Returns the choice by a rule; errors as in `Results.best`."""
    design, metric, scores = found.design, found.metric, found.scores
    higher = higher_is_better(metric)
    pick = chooser(design, higher, rule)
    index = pick(scores)
    corrected = None
    # one_se needs two folds to choose on, and one more to score.
    if design.splits.kind == "folds" and design.num_left_out > (2 if rule == "one_se" else 1):
        own, _ = left_out(scores, pick, design.repeat_of)
        corrected = float(own.mean())
    return Choice(
        index=index,
        configuration=design.configurations[index],
        rule=rule,
        metric=metric,
        validation=float(scores[index].mean()),
        corrected=corrected,
        test=None if found.test is None else float(found.test[index]),
        num_candidates=len(scores),
        reason=_reason(found, rule, index),
        warnings=(
            *_border(design, index),
            *no_better(design.data, design.splits, metric, float(found.alive[index])),
        ),
    )


def _reason(found: Candidates, rule: Rule, index: int) -> str:
    """Returns why a configuration was chosen, in a sentence."""
    design, metric, scores = found.design, found.metric, found.scores
    higher = higher_is_better(metric)
    said = [design.in_words(c) for c in design.configurations]
    chosen, units = design.configurations[index], design.units_in_words()
    name = f"{choice_named(chosen, design.axes)}, which is {said[index]}"
    ok, count = int(found.num_ok[index]), design.num_replicates
    if ok < count:
        name += f" ({ok} of {count} networks did not diverge)"
    if rule == "mean":
        if len(scores) == 1:
            return f"{name}: the only configuration, {units}"
        return f"{name}: the best mean {metric_in_words(metric)} of {len(scores)} configurations, {units}"
    best = int(ranking(scores.mean(axis=1), higher)[0])
    candidates, se = within_one_se(scores, higher)
    order = simpler_in_words(design.axes)
    return (
        f"{name}: the simplest ({order}) of the {len(candidates)} configurations within one standard "
        f"error ({with_unit(metric, amount(metric, se, math.nan))}, s/√{scores.shape[1]}) of the best mean "
        f"{metric_in_words(metric)} ({said[best]}: {value_in_words(metric, scores[best].mean())}), {units}"
    )


def _border(design: Design, index: int) -> list[str]:
    """Returns a warning per axis at whose edge the choice lies; "off" is no edge."""
    found = []
    for name, values in design.axes.items():
        # Only values that have an order have an edge: numbers, and widths of a single hidden layer.
        sizes = {v: v[0] if name == "hidden" and len(v) == 1 else v for v in values if v is not None}
        sizes = {v: size for v, size in sizes.items() if isinstance(size, int | float)}
        value = value_of(design.configurations[index], name)
        if len(values) < 3 or len(sizes) < 2 or value not in sizes or value == OFF_VALUES.get(name):
            continue
        if sizes[value] in (min(sizes.values()), max(sizes.values())):
            end = "largest" if sizes[value] == max(sizes.values()) else "smallest"
            found.append(f"{name}={as_text(value, 6)} is the {end} of the grid: the best may lie beyond")
    return found


def no_better(data: Data, splits: Splits, metric: str, value: float) -> list[str]:
    """Returns a warning where a mean score on validation samples is no better than that of a constant."""
    if metric == "val_r2" and value <= 0:
        return ["no better than the mean of the targets: scale them, or lower the learning rate"]
    if metric == "val_accuracy":
        # A constant answer is right for the weight that the most frequent class of the training part has.
        labels, shares = np.asarray(data.y[0]), []
        for train, val in zip(splits.train, splits.val, strict=True):
            frequent = np.bincount(labels, train).argmax()
            shares.append(np.sum(val[labels == frequent]) / np.sum(val))
        # Half a sample covers what float32 rounds.
        if value <= np.mean(shares) + 0.5 / len(labels):
            return ["no better than always saying the most frequent class"]
    return []


def mean_of_alive(table: np.ndarray, axis: int | tuple[int, ...] = (1, 2)) -> np.ndarray:
    """Returns means of `(configurations, seeds, folds)` over networks that are not NaN; NaN where all are."""
    alive = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        return np.where(alive, table, 0).sum(axis=axis, dtype=np.float64) / alive.sum(axis=axis)
