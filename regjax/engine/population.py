"""Population-based training: members are selected, copied and changed at rungs, all as lanes of one program.

A user calls `population`, and `train_schedule` for what it found. Between two segments the host reads the
scores at a record (`engine/rungs.py`), lets `study/explore.py` decide, and hands the scheduler what is copied
and what changes. All members of a seed and fold draw the same weights, batches and masks, which depend on the
step alone: the hyperparameters on its way are all that a network is made of, and a schedule replays it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Unpack

import jax
import numpy as np

from regjax.core.caching import keep_programs
from regjax.core.checks import check_count, shown
from regjax.core.config import Config
from regjax.core.hparams import HParams, check_hparams
from regjax.engine.progress import Report, reporter
from regjax.engine.rungs import Standing, standing_of
from regjax.engine.scheduler import Scheduler
from regjax.engine.sweep import scheduled
from regjax.engine.workers import num_workers
from regjax.study.configuration import Configuration, as_hparams
from regjax.study.design import Design
from regjax.study.explore import (
    Explore,
    Space,
    as_space,
    check_explore,
    in_one_program,
    replaced_by,
    with_compiled_in,
)
from regjax.study.plan import make_plan
from regjax.study.population import Generation, Population
from regjax.study.resolve import Options, make_design, takes_options
from regjax.study.results import Results
from regjax.study.schedule import Program, Schedule, check_schedule
from regjax.study.selection import higher_is_better

# The number of segments where `every` is not given.
SEGMENTS = 10


@takes_options
def population(
    data: Any,
    config: Config | Mapping[str, Any] | None = None,
    space: Any = None,
    *,
    size: int = 16,
    every: int | None = None,
    explore: Explore = Explore(),  # noqa: B008  immutable
    seed: int = 0,
    metric: str | None = None,
    workers: int | None = None,
    progress: bool | Report = True,
    **options: Unpack[Options],
) -> Population:
    """Returns a population that was trained by population-based training.

    Every `every` steps the worst quarter of the members, and those that diverged, become copies of members of
    the best quarter, weights and optimizer state, and go on with hyperparameters near theirs. A member has
    a network for each seed and fold; its score is their mean. Copies stay within a seed and fold: no network
    is trained on the samples that score it. What is found is a schedule of hyperparameters.

    Its score is optimistic, since members are selected on the samples that score them: `test=0.2` holds
    samples out of every selection (docs/population.md).

    Args:
        data: as in `regjax.sweep`, like the options.
        config: as in `regjax.sweep`; `stop_on` must be off, since all members train to the last step.
        space: names of hyperparameters to frozen distributions of scipy.stats, lists of values in order, or
            fixed values, as in `regjax.random_grid`. Distributions and lists are explored. Only
            hyperparameters may be, not what is compiled in (hidden, activation, …).
        size: number of members, at least 4.
        every: steps of a segment, a multiple of `eval_every`; None takes about a tenth of the run.
        explore: how many members are replaced, and how hyperparameters change.
        seed: seed of the first configurations and of every choice. `seeds` are those of the networks.
        metric: a validation metric; None is val_accuracy or val_r2.
        workers: number of tasks at a time; no bit depends on it.
        progress: as in `regjax.sweep`; the fraction is that of a segment.
        **options: seeds, folds, validation, test and others, as in `regjax.sweep`.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: an argument that is out of range or does not fit; or all members have diverged.

    References:
        Jaderberg et al. 2017, "Population based training of neural networks".

    Example:
        >>> import regjax
        >>> from scipy.stats import loguniform
        >>> space = {"l2": loguniform(1e-3, 10), "learning_rate": loguniform(0.01, 1)}
        >>> config = {"hidden": (4,), "num_steps": 200, "eval_every": 50}
        >>> found = regjax.population("two_regions", config, space, size=8, every=50, folds=2)
        >>> [generation.step for generation in found.generations]
        [50, 100, 150, 200]
        >>> replayed = regjax.train_schedule("two_regions", config, found.schedule(), folds=2)
        >>> bool(replayed.units("val_accuracy").mean() == found.mean("val_accuracy")[found.best])
        True
    """
    size, seed = check_count("size", size, at_least=4), check_count("seed", seed, at_least=0)
    explore, asked = check_explore(explore), as_space(space)
    if options.get("pairing", "paired") != "paired":
        raise ValueError("pairing must be paired, so that a schedule can be replayed, got independent")
    design = make_design(data, config, asked.draw(size, seed), **options)
    if design.splits.kind == "none":
        raise ValueError("population must have samples held out from training: folds=5 or validation=0.2")
    base, metric = design.configs[0], design.check_metric(metric)
    if base.stop_on is not None:
        raise ValueError(f"stop_on must be off: all members train to the last step, got {base.stop_on}")
    rungs = _rungs(base, every)
    design = dataclasses.replace(design, hparams=in_one_program(base, design.configurations))
    with reporter(progress) as report:
        run = _Run(design, asked, explore, metric, seed)
        return run.train(rungs, workers, report)


def _rungs(config: Config, every: int | None) -> range:
    """Returns the steps at which members are selected."""
    if every is None:
        records = max(1, round(config.num_steps / SEGMENTS / config.eval_every))
        every = records * config.eval_every
    every = check_count("every", every)
    if every % config.eval_every or every >= config.num_steps:
        raise ValueError(
            f"every must be a multiple of eval_every, {config.eval_every}, below num_steps, "
            f"{config.num_steps}, got {every}"
        )
    return range(every, config.num_steps, every)


class _Run:
    """A population in training; the arguments are those of `population`, resolved."""

    def __init__(self, design: Design, space: Space, explore: Explore, metric: str, seed: int) -> None:
        self.design, self.space, self.explore = design, space, explore
        self.metric, self.higher, self.seed = metric, higher_is_better(metric), seed
        self.generations: list[Generation] = []

    def train(self, rungs: range, workers: int | None, report: Report) -> Population:
        """Returns the population after its last step."""
        keep_programs()
        design, every = self.design, np.arange(self.design.num_rows)
        backend = jax.default_backend()
        plan = make_plan(design, workers=num_workers(None, workers), keep="all", backend=backend)
        with scheduled(design, plan=plan, report=report) as scheduler, scheduler.working():
            configurations = design.configurations
            for index, step in enumerate((*rungs, None)):
                scheduler.aim(every, step)
                scheduler.advance()
                standing = standing_of(scheduler.recorder, step, every)
                scores = self._scores(standing)
                parents = np.arange(len(scores))
                if step is not None:
                    parents, configurations = self._selected(index, scores, configurations)
                    self._exchange(scheduler, parents, configurations)
                found = Generation(standing.step, scores, tuple(parents.tolist()), tuple(configurations))
                self.generations.append(found)
            return self._population(scheduler)

    def _scores(self, standing: Standing) -> np.ndarray:
        """Returns the score of each member, NaN where one of its networks has diverged."""
        table = standing.metrics[self.metric].astype(np.float64)
        scores = table.reshape(-1, self.design.num_replicates).mean(axis=1)
        if np.isnan(scores).all():
            raise ValueError(
                f"members must not all diverge, and by step {standing.step:,} each of {len(scores)} has a "
                "network that did: explore smaller learning rates"
            )
        return scores

    def _selected(
        self, index: int, scores: np.ndarray, configurations: tuple[Configuration, ...]
    ) -> tuple[np.ndarray, tuple[Configuration, ...]]:
        """Returns the parent of each member, and the configurations that they go on with."""
        # A generator of its own for each rung: what is drawn at one depends on no other.
        rng = np.random.default_rng((self.seed, index))
        parents, found = np.arange(len(scores)), list(configurations)
        for member, parent in replaced_by(scores, self.higher, self.explore, rng).items():
            parents[member] = parent
            found[member] = self.space.perturbed(configurations[parent], self.explore, rng)
        return parents, tuple(found)

    def _exchange(
        self, scheduler: Scheduler, parents: np.ndarray, configurations: tuple[Configuration, ...]
    ) -> None:
        """Copies the networks of parents to the members that they replace, and changes hyperparameters."""
        per = self.design.num_replicates
        copies = {
            member * per + replicate: int(parent) * per + replicate
            for member, parent in enumerate(parents)
            if member != parent
            for replicate in range(per)
        }
        scheduler.exchange(copies, _hparams(self.design, scheduler, configurations))

    def _population(self, scheduler: Scheduler) -> Population:
        results = scheduler.results()
        return Population(
            design=self.design,
            metric=self.metric,
            explored=self.space.explored,
            generations=tuple(self.generations),
            records=results.records,
            diverged_at=results.diverged_at,
            params=results.kept,
            program=_program(scheduler),
            provenance=results.provenance,
        )


def _program(scheduler: Scheduler) -> Program:
    group = scheduler.waves.groups[0]
    return Program(group.on, group.slots, group.lanes, group.shared, group.kernel)


def _hparams(
    design: Design, scheduler: Scheduler, configurations: tuple[Configuration, ...]
) -> tuple[HParams, ...]:
    """Returns the hyperparameters of configurations, for the program that is compiled."""
    config, on = design.configs[0], scheduler.waves.groups[0].on
    checked = (check_hparams(config, as_hparams(found)) for found in configurations)
    return tuple(with_compiled_in(config, hparams, on) for hparams in checked)


@takes_options
def train_schedule(
    data: Any,
    config: Config | Mapping[str, Any] | None,
    schedule: Schedule,
    *,
    workers: int | None = None,
    progress: bool | Report = True,
    **options: Unpack[Options],
) -> Results:
    """Returns the results of one configuration whose hyperparameters change by a schedule.

    With the data, config and options of the population that the schedule is of, and on the same machine,
    networks come out to the bit. A score is honest on samples that the population has not seen; new folds of
    the same samples, or new seeds, leave it optimistic.

    Args:
        data: as in `regjax.sweep`, like config and the options.
        config: as in `regjax.sweep`.
        schedule: hyperparameters by step, as `Population.schedule` returns them.
        workers: number of tasks at a time; no bit depends on it.
        progress: as in `regjax.sweep`.
        **options: seeds, folds, validation, test and others, as in `regjax.sweep`.

    Returns:
        Results whose design has the last configuration of the schedule alone; a note says so.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: a schedule that changes at no record, or a value out of its range.

    Example:
        >>> import regjax
        >>> config = {"num_steps": 40, "eval_every": 20}
        >>> space = {"l2": [0.01, 0.1, 1, 10]}
        >>> found = regjax.population("two_regions", config, space, size=4, folds=2, progress=False)
        >>> regjax.train_schedule("two_regions", config, found.schedule(), folds=2, progress=False)
        <regjax.Results: 1 configurations × 1 seeds × 2 folds, 0 diverged>
    """
    if not isinstance(schedule, Schedule) or not schedule.changes:
        raise TypeError(f"schedule must be a regjax.Schedule with a change, got {shown(schedule)}")
    design = make_design(data, config, [schedule.changes[-1][1]], **options)
    base = design.configs[0]
    check_schedule(schedule, base)
    # All that is on at any step is compiled in from the first.
    every = in_one_program(base, [*(found for _, found in schedule.changes)])
    every = tuple(with_compiled_in(base, hparams, schedule.program.on) for hparams in every)
    note = f"trained by a schedule of {len(schedule.changes)} configurations, of which this is the last"
    design = dataclasses.replace(design, hparams=every[:1], notes=(*design.notes, note))
    keep_programs()
    plan = make_plan(design, workers=num_workers(None, workers), keep="all", backend=jax.default_backend())
    plan = dataclasses.replace(plan, groups=(schedule.program.shape(plan.groups[0]),))
    with (
        reporter(progress) as report,
        scheduled(design, plan=plan, report=report) as scheduler,
        scheduler.working(),
    ):
        rows = range(design.num_rows)
        for hparams, until in zip(every, _ends(schedule), strict=True):
            scheduler.exchange({}, (hparams,))
            scheduler.aim(rows, until)
            scheduler.advance()
        return scheduler.results()


def _ends(schedule: Schedule) -> Iterator[int | None]:
    """Yields the step at which each configuration of a schedule ends, None for the last one."""
    yield from (step for step, _ in schedule.changes[1:])
    yield None
