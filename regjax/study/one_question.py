"""The one question of a sweep: does choosing a configuration this way beat the baseline? docs/intervals.md.

In each fold the best configuration of the other folds is scored, and the best baseline of the other folds
beside it: one paired difference a fold, one interval and one verdict, so that no family is needed.
`Results.compare_choice` calls `compare_choice`, and `Questions.check` calls `check_question`.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from regjax.core.checks import counted
from regjax.core.hparams import OFF_VALUES
from regjax.study.comparison import (
    Scores,
    resolve_baseline,
    row_variance,
    unit_interval,
    unrounded,
    verdict_of,
)
from regjax.study.configuration import Configuration, value_of
from regjax.study.design import Design
from regjax.study.intervals import Interval, as_number, with_interval
from regjax.study.notebook import card
from regjax.study.selection import Rule, chooser, higher_is_better, left_out
from regjax.study.sentences import answer, baseline_named

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class ChoiceComparison:
    """What choosing gains over the baseline; `str(comparison)` says it in words.

    Attributes:
        metric: the validation metric.
        baseline: values of the configurations that are the baseline; of several, each fold takes the one that
            is chosen without it.
        rule: "mean" or "one_se".
        difference: mean over folds of the chosen configuration's score less the baseline's.
        se: its standard error, or NaN where all differences are equal.
        df: degrees of freedom of t.
        low: lower end of the 95 % interval, NaN where there is none.
        high: upper end.
        p: two-sided p-value of a difference of 0.
        verdict: "helps", "hurts" or "not separated".
        chosen: the chosen configuration of each fold, by its number.
        against: the baseline of each fold, by its number.
        differences: the difference in each fold.
        times: name of each chosen configuration -> number of folds that chose it.
        num_candidates: number of configurations that competed.
        units: what the mean is taken over, in words.
        off: whether the baseline is every regulariser off.
        than: the baseline in words, as something is better than it.
        needs: what this evidence could have shown, and what would show the difference seen; "" where it is
            separated, or has no interval.
    """

    metric: str
    baseline: Configuration
    rule: Rule
    difference: float
    se: float
    df: int
    low: float
    high: float
    p: float
    verdict: str
    chosen: tuple[int, ...]
    against: tuple[int, ...]
    differences: tuple[float, ...]
    times: Mapping[str, int]
    num_candidates: int
    units: str
    off: bool
    than: str
    needs: str = ""

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.numbers}\n{self.details}"

    def _repr_html_(self) -> str:
        rows = ((name, f"{number} of {len(self.chosen)}") for name, number in self.times.items())
        notes = [self.numbers, self.details]
        return card(self.sentence, ("chosen", "folds"), rows, count=len(self.times), notes=notes)

    @property
    def sentence(self) -> str:
        """The answer in a sentence."""
        subject = "Choosing a regulariser" if self.off else "Choosing a configuration"
        if self.chosen == self.against:
            folds = counted(len(self.chosen), "fold")
            return f"{subject} changes nothing: in all {folds} it chose the baseline, {self.than}."
        return answer(subject, self.verdict, self.metric, (self.difference, self.low, self.high), self.than)

    @property
    def numbers(self) -> str:
        """The numbers of the answer in one line: the difference of the metric, its interval, what varies."""
        if math.isnan(self.se):
            difference = as_number(self.difference, "+") if self.difference else "0.0"
            return f"{difference} {self.metric}, no spread {self.units}"
        found = with_interval(self.difference, self.low, self.high, "+")
        return f"{found} {self.metric} {self.units}: {self.verdict}"

    @property
    def details(self) -> str:
        """How the choice was made and what it chose, in one line."""
        count = len(self.chosen)
        places = ", ".join(f"{name} ({number} of {count})" for name, number in self.times.items())
        return (
            f"In each fold the choice among {self.num_candidates} configurations, made on the other folds, "
            f"is scored: {places}." + (f" This evidence {self.needs}." if self.needs else "")
        )

    def to_pandas(self, design: Design) -> pd.DataFrame:
        """Returns a table with a line per fold: what was chosen without it, and what it was held against.

        Columns: `fold`, `repeat`, `chosen` and `against` (numbers of configurations), `name` of the chosen
        one, and the `difference` of their scores.
        """
        import pandas as pd

        return pd.DataFrame({
            "fold": range(len(self.chosen)), "repeat": design.repeat_of,
            "chosen": self.chosen, "against": self.against,
            "name": [design.in_words(design.configurations[index]) for index in self.chosen],
            "difference": self.differences,
        })  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Returns the fields and the sentence, as JSON can hold them."""
        return {"sentence": self.sentence, **dataclasses.asdict(self)}


class Asked(Protocol):
    """What `answer_so_far` reads of `Questions`, which import this module."""

    @property
    def baseline(self) -> Mapping[str, Any] | None:
        """Values that make a configuration the baseline."""
        ...

    @property
    def over(self) -> Sequence[str]:
        """Axes that the baseline leaves open."""
        ...

    @property
    def rule(self) -> Rule:
        """The rule of the choice."""
        ...


def check_question(
    design: Design, baseline: Mapping[str, Any] | None, over: Sequence[str], rule: Rule
) -> Configuration:
    """Returns the baseline of the question.

    Raises:
        ValueError: no such baseline, or splits that leave nothing to choose on without the scored fold.
    """
    wanted = resolve_baseline(design, baseline, over)
    name = "compare_choice"
    if design.splits.kind != "folds":
        raise ValueError(
            f"{name} must have folds, got one split: a choice on it has seen the samples that would score it"
        )
    least = 3 if rule == "one_se" else 2
    if design.num_left_out < least:
        raise ValueError(
            f"{name} must have at least {least} folds that share no held-out sample, to choose with one of "
            f"them left out, got {design.num_left_out}"
        )
    if design.splits.follow_each_other:
        raise ValueError(
            f"{name} must have folds that train on each other's held-out samples, got folds that follow "
            "time: the others come later"
        )
    return wanted


def compare_choice(
    scores: Scores, baseline: Mapping[str, Any] | None, over: Sequence[str], rule: Rule
) -> ChoiceComparison:
    """Returns what choosing gains over the baseline; see `Results.compare_choice`."""
    design, metric = scores.design, scores.metric
    wanted = check_question(design, baseline, over, rule)
    higher = higher_is_better(metric)
    every = range(len(design.configurations))
    off = [i for i in every if all(value_of(design.configurations[i], n) == v for n, v in wanted.items())]
    # A configuration with a network that diverged is no candidate.
    values = np.where((scores.num_ok < design.num_replicates)[:, None], np.nan, scores.values)
    if np.isnan(values[off]).any(axis=1).all():
        raise ValueError(
            f"compare_choice must have a baseline whose networks all have {metric}, got none: they diverged, "
            "or it is not defined"
        )
    own, chosen = left_out(values, chooser(design, higher, rule), design.repeat_of)
    base, picks = left_out(values[off], chooser(design, higher, rule, off), design.repeat_of)
    against = [off[pick] for pick in picks]
    differences = unrounded(own - base, np.stack([own, base]), design.configs[0].dtype)
    floor = float(row_variance(design, metric, differences[None])[0])
    found = unit_interval(design, differences, floor)
    names = Counter(
        "the baseline itself" if one == other else design.in_words(design.configurations[one], 4)
        for one, other in zip(chosen, against, strict=True)
    )
    return ChoiceComparison(
        metric, wanted, rule, *_fields(found), verdict=verdict_of(found.low, found.high, higher),
        chosen=tuple(chosen), against=tuple(against), differences=tuple(differences.tolist()),
        times=dict(names.most_common()),
        num_candidates=int((~np.isnan(values).any(axis=1)).sum()), units=design.units_in_words(),
        off=all(OFF_VALUES.get(name) == value for name, value in wanted.items()),
        than=baseline_named(wanted, [design.configurations[index] for index in off]),
    )  # fmt: skip


def answer_so_far(
    design: Design,
    asked: Asked,
    metric: str,
    values: np.ndarray,
    finished: np.ndarray,
    sound: np.ndarray,
) -> str:
    """Returns the sentence of a finished sweep, or "" where it is not finished or has no answer.

    Args:
        design: design of the sweep.
        asked: the questions of the sweep.
        metric: name of the metric.
        values: metric of each row, `(rows,)`.
        finished: whether each row is finished, `(rows,)`.
        sound: whether each row has not diverged, `(rows,)`.
    """
    if not finished.all() or design.splits.kind != "folds":
        return ""
    table = values.reshape(-1, len(design.seeds), design.num_folds).astype(np.float64).mean(axis=1)
    num_ok = sound.reshape(-1, design.num_replicates).sum(axis=1)
    try:
        scores = Scores(design, metric, table, num_ok, None)
        return compare_choice(scores, asked.baseline, asked.over, asked.rule).sentence
    except ValueError:  # the sweep says why when it ends
        return ""


def _fields(found: Interval) -> tuple[float, float, int, float, float, float]:
    """Returns mean, se, df, low, high and p of an interval."""
    return found.mean, found.se, found.df, found.low, found.high, found.p
