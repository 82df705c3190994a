"""The trainer of a halving search whose resource is max_iter: networks go on from where they stand.

scikit-learn fits each candidate afresh in each iteration. Training for r epochs is the beginning of training
for more, so that what an iteration has trained need not be trained again: the estimators are the same to the
bit. The searches of halving.py make a `Rungs`, and candidates.py calls it.

That holds for sgd and adam with every schedule of the learning rate, for early stopping (the best weights so
far are those that scikit-learn returns at the end of a shorter run) and for a run that has stopped. It does
not hold for lbfgs, whose networks are fitted afresh, as are those inside another estimator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from regjax.core.mlp import Params
from regjax.core.train import TrainState
from regjax.engine.progress import reporter
from regjax.engine.sweep import scheduled
from regjax.engine.workers import place, platform
from regjax.sklearn.candidates import Swept, Trainer, asked_of, num_workers, places_of
from regjax.sklearn.together import RECORDS
from regjax.sklearn.trained import Candidate, Fold, Work
from regjax.study.configuration import key_of
from regjax.study.design import Design
from regjax.study.groups import shapes_of
from regjax.study.plan import make_plan, stored_plan
from regjax.study.resolve import make_design

MAX_ITER = "max_iter"


class TrainedRows(NamedTuple):
    """The rows of a design at a rung; attributes as those of `trained.Rows`.

    Attributes:
        kept: the parameters of each row that has neither diverged nor is behind.
    """

    design: Design
    diverged_at: np.ndarray
    stopped_at: np.ndarray
    seconds: np.ndarray
    kept: dict[int, Params]

    def params(self, row: int) -> Params:
        """Returns the parameters of a row that predict."""
        return self.kept[row]


class Climber:
    """The rows of one design on their way from rung to rung.

    Args:
        design: what is asked; the steps of its configs are not read.
        workers: number of tasks at a time; None takes a thread per core.
        progress: whether to show a bar on a terminal.
    """

    def __init__(self, design: Design, workers: int | None, progress: bool) -> None:
        self.design, self.workers, self.progress = design, workers, progress
        # Chunk shapes of the first rung, which all others keep: one program serves them all.
        self.shapes: str | None = None
        rows = design.num_rows
        self.diverged_at, self.stopped_at = np.full(rows, -1), np.full(rows, -1)
        self.seconds, self.steps = np.zeros(rows), np.zeros(rows, np.int64)
        self.states: dict[int, TrainState] = {}
        self.kept: dict[int, Params] = {}

    def train(self, rows: Collection[int], epochs: int) -> TrainedRows:
        """Returns the standing of rows after so many epochs; the others are forgotten.

        Args:
            rows: numbers of the rows.
            epochs: as many as in the call before, or more.
        """
        self.states = {row: state for row, state in self.states.items() if row in rows}
        self.kept = {row: params for row, params in self.kept.items() if row in rows}
        batches = np.repeat(self.design.num_batches, self.design.num_replicates)
        for count in sorted(set(self.design.num_batches)):
            going = [
                row
                for row in sorted(rows)
                if batches[row] == count
                and self.diverged_at[row] < 0
                and self.stopped_at[row] < 0
                and self.steps[row] < epochs * count
            ]
            if going:
                self._advance(going, epochs, count)
        ends = [epochs * count for count in self.design.num_batches]
        design = with_steps(self.design, ends, ends)
        return TrainedRows(design, self.diverged_at, self.stopped_at, self.seconds, dict(self.kept))

    def _advance(self, rows: list[int], epochs: int, num_batches: int) -> None:
        """Trains rows whose epochs have `num_batches` batches."""
        step, count = epochs * num_batches, len(self.design.configs)
        # One step more than the rung, at which rows wait with their state: at the last step of a run only
        # the parameters are kept.
        every = num_batches * epochs_between_records(epochs)
        design = with_steps(self.design, [step + 1] * count, [every] * count)
        if self.shapes is None:
            plan = make_plan(design, workers=self.workers, keep="all", **place())
        else:
            plan = stored_plan(design, self.shapes, "all", workers=self.workers, backend=platform())
        with reporter(self.progress) as report, scheduled(design, plan=plan, report=report) as scheduler:
            self.shapes = shapes_of(scheduler.plan.groups)
            scheduler.held |= {row: self.states[row] for row in rows if row in self.states}
            scheduler.steps_done[rows] = self.steps[rows]
            with scheduler.working():
                scheduler.aim(rows, step)
                scheduler.advance()
            recorder = scheduler.recorder
            for row in rows:
                self.diverged_at[row] = recorder.diverged_at[row]
                self.stopped_at[row] = recorder.stopped_at[row]
            self.seconds[rows] += recorder.seconds[rows]
            self.steps[rows] = step
            self.states |= {row: scheduler.held[row] for row in rows if row in scheduler.held}
        # A row that has stopped or diverged has ended: it is not held, and its parameters are final.
        self.kept |= {row: recorder.kept[row] for row in rows if row in recorder.kept}
        self.kept |= {row: self.states[row].predicting for row in rows if row in scheduler.held}


def with_steps(design: Design, ends: list[int], every: list[int]) -> Design:
    """Returns a design whose configs have these numbers of steps, and of steps between two records."""
    configs = [
        dataclasses.replace(config, num_steps=end, eval_every=each)
        for config, end, each in zip(design.configs, ends, every, strict=True)
    ]
    return dataclasses.replace(design, configs=tuple(configs))


def epochs_between_records(epochs: int) -> int:
    """Returns a divisor of the epochs of a rung: about `RECORDS` records, at which stopped rows make room."""
    return next(each for each in range(-(-epochs // RECORDS), epochs + 1) if epochs % each == 0)


class _Group(NamedTuple):
    """The candidates of one sweep, at the first rung.

    Attributes:
        climber: their rows.
        indices: values of a configuration -> its number in the design.
    """

    climber: Climber
    indices: dict[Any, int]


class Rungs(Trainer):
    """Trains the candidates of a halving search, those of a later iteration from where they stand.

    Args:
        search: the search; its `resource` is max_iter of the network, or of one behind the steps of a
            Pipeline.
    """

    def __init__(self, search: Any) -> None:
        self._resource = search.resource
        self._folds: dict[Any, list[Fold]] = {}
        self._seeds: dict[Any, list[int]] = {}
        self._groups: dict[Any, _Group] = {}

    def adjust(self, work: Work, member: Candidate) -> None:
        """Gives a network the largest max_iter, so that its sweep is the same in each iteration."""
        if self._is_resource(member):
            member.network.max_iter = work.search.max_resources_

    def folds(self, work: Work, key: Any, pipelines: list[Pipeline]) -> list[Fold]:
        """Returns the folds behind one preprocessing, which the first iteration has fitted."""
        # scikit-learn asks for splitters that always return the same; others are taken afresh.
        found = self._folds.get(key, [])
        same = [np.array_equal(fold.train, train) and np.array_equal(fold.test, test)
                for fold, (train, test) in zip(found, work.splits, strict=False)]  # fmt: skip
        if not found or not all(same):
            self._folds[key] = super().folds(work, key, pipelines)
            self._groups.clear()
        return self._folds[key]

    def seeds(self, key: Any, random_state: Any, count: int) -> list[int]:
        """Returns the seeds of the candidates of a sweep, which the first iteration has drawn."""
        if key not in self._seeds:
            self._seeds[key] = super().seeds(key, random_state, count)
        return self._seeds[key]

    def train(
        self, work: Work, key: Any, members: list[Candidate], folds: list[Fold], seeds: list[int]
    ) -> Swept:
        """Returns what the candidates of a sweep have become after the epochs of this iteration."""
        if not self._is_resource(members[0]):
            return super().train(work, key, members, folds, seeds)
        search = work.search
        asked, indices = asked_of(work, members, folds, seeds)
        name = (key, tuple(seeds))
        if name not in self._groups:
            # The number of epochs is that of the iteration, and of the design it is not read.
            design = make_design(**asked | {"epochs": 1})
            places = {key_of(c): number for number, c in enumerate(design.configurations)}
            climber = Climber(design, num_workers(search), bool(search.verbose))
            self._groups[name] = _Group(climber, places)
        climber, numbers = self._groups[name]
        own = [numbers[key_of(asked["grid"].configurations[index])] for index in indices]
        places = places_of(climber.design, own)
        standing = climber.train(set(places.values()), search.n_resources_[-1])
        return Swept(places, standing, None)

    def _is_resource(self, member: Candidate) -> bool:
        return self._resource == member.prefix + MAX_ITER
