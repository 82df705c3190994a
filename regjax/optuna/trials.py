"""`optimize`: trials of an Optuna study are trained a batch at a time, as lanes of one program.

A user calls it in place of `study.optimize`. The study's sampler and pruner decide, `engine/rungs.py` trains.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Unpack

import jax
import numpy as np
import optuna
from optuna.trial import TrialState

from regjax.core.caching import keep_programs
from regjax.core.checks import check_count
from regjax.core.config import Config
from regjax.engine.progress import Report, reporter
from regjax.engine.rungs import Standing, climb
from regjax.engine.sweep import opened
from regjax.engine.workers import num_workers
from regjax.optuna.space import (
    ATTRIBUTE,
    Space,
    ask,
    check_same_parameters,
    check_space,
    check_study,
    configuration_of,
    words_of,
)
from regjax.store.identity import identities
from regjax.store.store import Store
from regjax.study.configuration import Configuration, key_of
from regjax.study.design import Design
from regjax.study.plan import Keep, Plan, make_plan
from regjax.study.resolve import Options, make_design, takes_options


@takes_options
def optimize(
    study: optuna.Study,
    data: Any,
    space: Space,
    *,
    config: Config | Mapping[str, Any] | None = None,
    n_trials: int = 64,
    batch: int = 16,
    metric: str | None = None,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool | Report = True,
    **options: Unpack[Options],
) -> None:
    """Trains trials of an Optuna study, `batch` at a time in one program, and tells the study their values.

    For each batch the study's sampler is asked for configurations. Each record (`eval_every` steps) is
    reported as an intermediate value, the mean over folds and seeds, and trials that the study's pruner stops
    leave their lanes to the others. A trial with a network that diverged fails. The user attributes of a
    trial are `scores`, the value of each fold (of each seed, on one split), and `rows`, the identities of its
    networks in a store.

    The value of the best trial is that of the samples it was chosen on, and optimistic (docs/optuna.md).

    Args:
        study: a study with one direction, that of the metric. Its storage may be shared by several processes.
        data: as in `regjax.sweep`, like config and the options.
        space: names of hyperparameters, as `regjax.grid` takes them, to distributions of Optuna or fixed
            values; or a function that takes a trial and returns a configuration.
        config: static settings; all trials have the same number of steps.
        n_trials: number of trials, at least 1.
        batch: number of trials that are asked for before any of them is told, at least 1. A larger one is
            faster and lets the sampler learn less often.
        metric: a validation metric; None is val_accuracy or val_r2.
        store: path of an SQLite file that keeps networks; those that it holds are not trained again.
        workers: number of tasks at a time.
        progress: as in `regjax.sweep`, for each batch.
        **options: seeds, folds, validation and others, as in `regjax.sweep`.

    Raises:
        ImportError: Optuna is missing.
        TypeError: an argument of the wrong kind.
        ValueError: a study of several objectives, of another direction, of other parameters or of another
            metric; a space or an option that `regjax.sweep` refuses.
        KeyboardInterrupt: after the trials of the batch have failed; they are enqueued to be run again.

    Example:
        >>> import optuna, regjax
        >>> from optuna.distributions import FloatDistribution
        >>> study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
        >>> space = {"l2": FloatDistribution(1e-3, 10, log=True), "learning_rate": 0.3}
        >>> config = {"hidden": (4,), "num_steps": 200, "eval_every": 100}
        >>> regjax.optuna.optimize(study, "two_regions", space, config=config, n_trials=4, folds=2)
        >>> len(study.trials), sorted(study.best_trial.intermediate_values)
        (4, [100, 200])
    """
    count, batch = check_count("n_trials", n_trials), check_count("batch", batch)
    distributions = check_space(space)
    keep: Keep | None = "none" if store is None else None
    design = make_design(data, config, **options)
    if design.splits.kind == "none":
        raise ValueError("optimize must have samples held out from training: folds=5 or validation=0.2")
    asked = _Asked(design, metric, workers, keep)
    check_study(study, asked.words)
    check_same_parameters(study, distributions)
    study.set_user_attr(ATTRIBUTE, asked.words)
    keep_programs()
    with reporter(progress) as report, opened(store) as kept:
        while count and not asked.stopped:
            trials: list[optuna.Trial] = []
            with _settled(study, trials):
                for _ in range(min(batch, count)):
                    trials.append(ask(study, space, distributions))
                found = [configuration_of(trial, space) for trial in trials]
                design = make_design(data, config, found, **options)
                _train(_Batch(study, asked, design, trials, _places(design, found)), kept, report)
            count -= len(trials)


class _Asked:
    """What all batches of a call have in common.

    Attributes:
        metric: metric that is reported.
        workers: number of tasks at a time, or None.
        keep: parameters that are kept, as in `regjax.sweep`.
        words: what the values of a study are of, by name.
        shapes: config, regularisers, sharing and kernel of a group -> its chunks in the first batch that had
            one.
        stopped: whether the study's sampler has no more to ask for.
    """

    def __init__(self, design: Design, metric: str | None, workers: int | None, keep: Keep | None) -> None:
        self.metric, self.workers = design.check_metric(metric), num_workers(None, workers)
        self.keep: Keep | None = keep
        self.words = words_of(design, self.metric)
        self.shapes: dict[Any, tuple[int, int]] = {}
        self.stopped = False

    def plan(self, design: Design) -> Plan:
        """Returns the plan of a batch, in chunks of the shapes of the batches before: those are compiled."""
        plan = make_plan(design, workers=self.workers, keep=self.keep, backend=jax.default_backend())
        groups = []
        for group in plan.groups:
            kind = group.config, group.on, group.shared, group.kernel
            slots, lanes = self.shapes.setdefault(kind, (group.slots, group.lanes))
            groups.append(group._replace(slots=slots, lanes=lanes))
        return dataclasses.replace(plan, groups=tuple(groups))


class _Batch(NamedTuple):
    """The trials of a batch; `places` has the configuration of each in the design."""

    study: optuna.Study
    asked: _Asked
    design: Design
    trials: list[optuna.Trial]
    places: list[int]


def _places(design: Design, found: list[Configuration]) -> list[int]:
    """Returns the configuration of each trial in the design, where equal ones are one."""
    keys = [key_of(configuration) for configuration in design.configurations]
    return [keys.index(key_of(configuration)) for configuration in found]


@contextlib.contextmanager
def _settled(study: optuna.Study, trials: list[optuna.Trial]) -> Iterator[None]:
    """Lets the trials that are still running fail where a batch ends by an error or an interruption.

    Those of an interruption are enqueued: the next call runs them first, on what a store has of them.
    """
    try:
        yield
    except BaseException as error:
        for trial in trials:
            if study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
                study.tell(trial, state=TrialState.FAIL)
                if isinstance(error, KeyboardInterrupt):
                    study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
        raise


def _train(batch: _Batch, store: Store | None, report: Report) -> None:
    """Trains a batch, and tells the study the end of each of its trials."""
    design, per = batch.design, batch.design.num_replicates
    config = design.configs[0]
    names = identities(design)
    for trial, place in zip(batch.trials, batch.places, strict=True):
        trial.set_user_attr("rows", names[place * per : (place + 1) * per])
    going = dict(enumerate(batch.places))

    def decide(standing: Standing) -> list[int]:
        reported = _reported(batch, standing, going)
        for number in list(going):
            if number not in reported:
                del going[number]
            elif batch.trials[number].should_prune():
                _tell(batch, number, reported[number], TrialState.PRUNED)
                del going[number]
        return [row for place in set(going.values()) for row in range(place * per, (place + 1) * per)]

    rungs = range(config.eval_every, config.num_steps, config.eval_every)
    climbed = climb(design, rungs, decide, store, plan=batch.asked.plan(design), report=report)
    for number, scores in _reported(batch, climbed.standings[-1], going).items():
        _tell(batch, number, scores, TrialState.COMPLETE)


def _reported(batch: _Batch, standing: Standing, going: Mapping[int, int]) -> dict[int, np.ndarray]:
    """Returns the scores of each trial in work at a rung, and reports their mean; diverged trials fail."""
    design, found = batch.design, {}
    shape = len(design.configurations), len(design.seeds), design.num_folds
    table = standing.metrics[batch.asked.metric].reshape(shape).astype(np.float64)
    diverged = np.any(standing.diverged.reshape(shape), axis=(1, 2)).tolist()
    for number, place in going.items():
        trial = batch.trials[number]
        if diverged[place]:
            trial.set_user_attr("diverged_by", standing.step)
            _tell(batch, number, None, TrialState.FAIL)
            continue
        # Seeds share the samples of a fold: the folds are what a value varies over.
        found[number] = table[place].mean(axis=0) if design.splits.kind == "folds" else table[place, :, 0]
        trial.report(float(found[number].mean()), standing.step)
    return found


def _tell(batch: _Batch, number: int, scores: np.ndarray | None, state: TrialState) -> None:
    """Tells the study how a trial ended, and with which scores."""
    trial = batch.trials[number]
    if scores is not None:
        trial.set_user_attr("scores", scores.tolist())
    value = float(np.mean(scores)) if scores is not None and state == TrialState.COMPLETE else None
    try:
        batch.study.tell(trial, value, state)
    except RuntimeError:
        # A sampler that has tried all of its grid calls `study.stop`, which only `study.optimize` allows.
        if not batch.study.get_trials(deepcopy=False)[trial.number].state.is_finished():
            raise
        batch.asked.stopped = True
