"""`Tuned`, the answer of a search, and the values that decide one: `Search`, `Budget` and `Race`.

`engine/tune.py` makes them; users, the command line and a store read them. Nothing is trained here.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from regjax.core.checks import check_choice, check_count, counted, shown
from regjax.study.comparison import Comparison
from regjax.study.configuration import Configuration
from regjax.study.halving import Arena
from regjax.study.intervals import Interval, as_number, with_interval
from regjax.study.model import Model
from regjax.study.notebook import card
from regjax.study.results import Results
from regjax.study.sentences import answer, named, regularisers_on
from regjax.study.words import describe, duration

Resource = Literal["steps", "rows"]
Mode = Literal["holdout", "nested"]
UNITS = {
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hours": 3600.0,
}
_BUDGET = re.compile(r"\s*([0-9.]+(?:e[+]?[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)


class Budget(NamedTuple):
    """What a search may take.

    Attributes:
        amount: seconds, networks or steps, above 0.
        unit: "seconds", "networks" or "steps".
    """

    amount: float
    unit: Literal["seconds", "networks", "steps"]

    @classmethod
    def of(cls, given: Any) -> Budget:
        """Returns the budget that an argument stands for: "15s", "10m", "500 networks", "5e7 steps"; seconds.

        Raises:
            ValueError: anything else, and what no network can be trained in.

        Example:
            >>> Budget.of("10m"), Budget.of("500 networks").unit
            (Budget(amount=600.0, unit='seconds'), 'networks')
        """
        text = f"{given}s" if isinstance(given, int | float) and not isinstance(given, bool) else given
        found = _BUDGET.fullmatch(text) if isinstance(text, str) else None
        wanted = "like 15s, 10m, 500 networks or 5e7 steps"
        if found is None:
            raise ValueError(f"budget must be {wanted}, got {shown(given)}")
        number, unit = found.groups()
        unit = unit.lower()
        try:
            amount = float(number)
        except ValueError:
            raise ValueError(f"budget must be {wanted}, got {shown(given)}") from None
        named = {"network": "networks", "step": "steps"}.get(unit, unit)
        if named not in ("networks", "steps") and named not in UNITS:
            raise ValueError(f"budget must be {wanted}, got {shown(given)}")
        least = 1 if named in ("networks", "steps") else 0
        if not (math.isfinite(amount) and amount >= least and amount > 0):
            raise ValueError(f"budget must be enough for one network, got {shown(given)}")
        return cls(amount * UNITS.get(named, 1.0), named if named in ("networks", "steps") else "seconds")  # type: ignore[arg-type]

    def __str__(self) -> str:
        return duration(self.amount) if self.unit == "seconds" else f"{self.amount:,.0f} {self.unit}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """How `tune` searches.

    Attributes:
        finalists: number of candidates that are compared with the baseline at the end.
        reduction: one candidate of this many goes on at each rung.
        rungs: largest number of rungs, steps at which candidates drop out. They are scored on one fold at the
            first one, on `reduction` times as many at each that follows, and on all at the end.
        hyperband: whether candidates are split into Hyperband's brackets, some of which skip rungs, so that
            those are found that begin slowly; otherwise all may drop out at the first rung.
        resource: what candidates get more of at each rung: "steps", with which they go on from where they
            stand, or training "rows", with which they start afresh.
        outer: number of outer folds of a nested search.
        seed: seed of the draws of candidates.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: a value out of its range.

    Example:
        >>> import regjax
        >>> regjax.Search(hyperband=True).rungs
        3
    """

    finalists: int = 3
    reduction: int = 3
    rungs: int = 3
    hyperband: bool = False
    resource: Resource = "steps"
    outer: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("finalists", 1), ("reduction", 2), ("rungs", 0), ("outer", 2), ("seed", 0)):
            check_count(name, getattr(self, name), at_least=least)
        check_choice("resource", self.resource, get_args(Resource))
        if not isinstance(self.hyperband, bool):
            raise TypeError(f"hyperband must be True or False, got {shown(self.hyperband)}")


class Race(NamedTuple):
    """All that decides a search beside its design; a store keeps it, so that it goes on the same way.

    Attributes:
        ask: what was asked for, in words; searches of equal words are one search.
        part: "search" or "confirm": which of the two sweeps of a search this one is.
        metric: validation metric by which candidates are ranked.
        rungs: steps of the rungs; with rows as the resource those of a whole run are one.
        arenas: which rows decide among themselves.
        finalists: number of candidates that are compared with the baseline.
        seeds: seeds of the networks that are compared.
        mode: "holdout" compares on rows that the search never saw, "nested" on outer folds.
        confirms: training and validation samples of each split of the comparison, bits as hexadecimal text.
        reduction: one of this many goes on.
        resource: "steps" or "rows".
        measured: what was measured to turn seconds into candidates, a sentence, or "".
    """

    ask: dict[str, Any]
    part: str
    metric: str
    rungs: tuple[int, ...]
    arenas: tuple[Arena, ...]
    finalists: int
    seeds: tuple[int, ...]
    mode: Mode
    confirms: tuple[tuple[str, str], ...]
    reduction: int
    resource: Resource
    measured: str

    def as_json(self) -> dict[str, Any]:
        """Returns the race as JSON can hold it."""
        return self._asdict() | {"arenas": [arena._asdict() for arena in self.arenas]}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Race:
        """Returns the race that `as_json` gave."""
        named = dict(found)
        named["arenas"] = tuple(Arena.from_json(arena) for arena in named["arenas"])
        named["confirms"] = tuple((train, val) for train, val in named["confirms"])
        named["rungs"], named["seeds"] = tuple(named["rungs"]), tuple(named["seeds"])
        return cls(**named)

    def pairs(self, num_samples: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the (train, validation) indices of each split of the comparison."""
        return [(_samples(train, num_samples), _samples(val, num_samples)) for train, val in self.confirms]


def as_bits(samples: np.ndarray, num_samples: int) -> str:
    """Returns a set of samples as hexadecimal text, a bit each."""
    inside = np.zeros(num_samples, bool)
    inside[samples] = True
    return np.packbits(inside).tobytes().hex()


def _samples(bits: str, num_samples: int) -> np.ndarray:
    return np.flatnonzero(np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8))[:num_samples])


class Rung(NamedTuple):
    """What happened at a rung, over all arenas together.

    Attributes:
        step: step of the rung; with rows as the resource the number of training rows.
        candidates: number of candidates that came there, an arena each.
        baselines: the same of configurations of the baseline.
        diverged: how many of both had diverged.
        best: best mean of the metric among the candidates that search all rows.
        best_baseline: the same of the baseline.
    """

    step: int
    candidates: int
    baselines: int
    diverged: int
    best: float
    best_baseline: float


class Trace(NamedTuple):
    """The scores of a search of all rows at each rung, and at its last step.

    Attributes:
        steps: steps of the rungs, ascending; with rows as the resource numbers of training rows, `(rungs,)`.
        scores: mean of the metric over the splits, `(rungs, configurations)`; NaN where one has dropped out
            or diverged.
        is_baseline: whether a configuration is one of the baseline's, `(configurations,)`.
        finalists: numbers of the finalists, the best first.
        resource: "steps" or "rows".
    """

    steps: np.ndarray
    scores: np.ndarray
    is_baseline: np.ndarray
    finalists: tuple[int, ...]
    resource: Resource


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Tuned:
    """The answer of a search; `str(tuned)` says it in words, the one sentence first.

    Attributes:
        verdict: "helps", "hurts" or "not separated"; "" where there is none.
        difference: the chosen regulariser less the tuned baseline, with its 95 % interval; of the finalists,
            the interval that holds for all of them at once.
        metric: the validation metric.
        mode: "holdout": compared on rows that the search never saw; "nested": in outer folds.
        num_confirm: number of rows that scored the comparison.
        chosen: the configuration of the model.
        baseline: the tuned baseline that it is compared with.
        finalists: the finalists, the search's best first.
        comparison: their comparison with the baseline on the rows that the search never saw; None where the
            search is nested.
        folds: scores of the chosen regulariser and of the baseline in each outer fold, averaged over seeds,
            `(outer folds, 2)`; None where there are none.
        results: results of the networks that were compared; in each outer fold of what was chosen there.
        of_choice: results of what was chosen alone, as of a sweep of one configuration: in each outer fold
            those of its own choice. `regjax.references` holds other models against it.
        rungs: what happened at each rung, and at the last step.
        trace: scores of each candidate on the way.
        model: networks of the chosen configuration, trained on all rows.
        num_candidates: number of candidates that were tried, without those of the baseline.
        num_networks: number of networks that were trained, those that dropped out among them.
        num_steps: number of gradient steps of all of them.
        seconds: seconds of the "search", the "comparison", the "model" and the "total".
        source: name or path of the data, or "".
        notes: sentences on how it was done.

    Example:
        >>> import regjax
        >>> tuned = regjax.tune(
        ...     "two_regions", {"l2": "loguniform(0.1, 10)", "learning_rate": [0.01]},
        ...     config={"num_steps": 20, "eval_every": 20}, budget="300 networks", progress=False,
        ... )
        >>> tuned.mode, tuned.metric
        ('nested', 'val_accuracy')
    """

    verdict: str
    difference: Interval
    metric: str
    mode: Mode
    num_confirm: int
    chosen: Configuration
    baseline: Configuration
    finalists: tuple[Configuration, ...]
    comparison: Comparison | None
    folds: np.ndarray | None
    results: Results
    of_choice: Results
    rungs: tuple[Rung, ...]
    trace: Trace
    model: Model
    num_candidates: int
    num_networks: int
    num_steps: int
    seconds: dict[str, float]
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        found = self.difference
        if not self.verdict:
            why = self.notes[0] if self.notes else "no interval"
            return f"Nobody can say whether regularising helps: {why}."
        if self.mode == "holdout":
            where = f"on {counted(self.num_confirm, 'row')} that the search never saw"
        else:
            assert self.folds is not None
            where = f"over {len(self.folds)} outer folds, each of rows that its own search never saw"
        ends = found.mean, found.low, found.high
        on = regularisers_on(self.baseline)
        than = f"a tuned network with {named(on)} alone" if on else "a tuned network without it"
        return answer("Regularising", self.verdict, self.metric, ends, than, where)

    @property
    def numbers(self) -> str:
        """The numbers of the answer in one line, "" where there is none."""
        found = self.difference
        if not self.verdict or math.isnan(found.high - found.low):
            return ""
        return f"{with_interval(found.mean, found.low, found.high, '+')} {self.metric}: {self.verdict}"

    @property
    def summary(self) -> list[str]:
        """The answer, its numbers, what was chosen, the baseline, and what was tried, a sentence each."""
        return [
            self.sentence,
            *([self.numbers] if self.numbers else []),
            f"chosen: {named(self.chosen)} ({in_words(self.chosen)})",
            f"baseline: {in_words(self.baseline)}",
            f"tried: {counted(self.num_candidates, 'candidate')}; {counted(self.num_networks, 'network')}, "
            f"{self.num_steps:,} steps, {duration(self.seconds['total'])}",
        ]

    def __str__(self) -> str:
        *lines, tried = self.summary
        if self.comparison is not None and len(self.comparison.table) > 1:
            seeds = counted(len(self.results.design.seeds), "network")
            lines.append(f"{self.metric}, difference to the baseline, {seeds} each:")
            for place, (_, entry) in enumerate(self.comparison.table.iterrows()):
                lines.append(
                    f"  finalist {place + 1}, {in_words(self.finalists[place])}: {entry['sentence']}"
                )
        if self.folds is not None:
            dtype = self.results.design.configs[0].dtype
            # Scores in float32 that are equal may differ in their last bits.
            reach = 4 * float(np.finfo(dtype).eps) * float(np.max(np.abs(self.folds)))
            found = self.folds[:, 0] - self.folds[:, 1]
            differences = ", ".join(as_number(0.0 if abs(d) <= reach else d, "+") for d in found)
            lines.append(f"difference in each outer fold: {differences}")
        lines += [tried, self.rungs_in_words(), *self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        words = {"chosen": in_words(self.chosen), "baseline": in_words(self.baseline)}
        words["tried"] = (
            f"{counted(self.num_candidates, 'candidate')}, {counted(self.num_networks, 'network')}"
        )
        words["took"] = duration(self.seconds["total"])
        return card(self.sentence, (), words.items(), notes=self.notes)

    def rungs_in_words(self) -> str:
        """Returns the rungs as a table of text."""
        lines = [
            f"{'step':>8}{'candidates':>12}{'baselines':>11}{'diverged':>10}{'best':>10}{'baseline':>10}"
        ]
        for rung in self.rungs:
            lines.append(
                f"{rung.step:>8,}{rung.candidates:>12,}{rung.baselines:>11,}{rung.diverged:>10,}"
                f"  {as_number(rung.best):>8}  {as_number(rung.best_baseline):>8}"
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Returns the answer as JSON can hold it; NaN is None."""
        number = lambda v: None if isinstance(v, float) and not math.isfinite(v) else v  # noqa: E731
        return {
            "sentence": self.sentence,
            "verdict": self.verdict,
            "difference": {name: number(v) for name, v in self.difference._asdict().items()},
            "metric": self.metric,
            "mode": self.mode,
            "rows": self.num_confirm,
            "chosen": self.chosen,
            "baseline": self.baseline,
            "finalists": list(self.finalists),
            "folds": None if self.folds is None else self.folds.tolist(),
            "rungs": [{name: number(v) for name, v in rung._asdict().items()} for rung in self.rungs],
            "candidates": self.num_candidates,
            "networks": self.num_networks,
            "steps": self.num_steps,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


def in_words(configuration: Configuration) -> str:
    """Returns what a configuration has on, and its other values, with four digits."""
    from regjax.core.hparams import OFF_VALUES

    on = [name for name, value in configuration.items() if value != OFF_VALUES.get(name, ...)]
    return describe(configuration, on, 4)
