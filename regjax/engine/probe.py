"""Predicts the seconds of a sweep from short trial runs: what `regjax.plan` says before anything is spent.

`predicted` runs the trials of each group. A trial takes the time of tasks that differ in their length
alone: what a task takes at all is in both, and in the difference it is not multiplied by the number of steps.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from regjax.core.config import Config
from regjax.engine.lanes import ChunkDone, ChunkTask, run_task
from regjax.engine.packing import Chunk, Wave
from regjax.engine.workers import Workers
from regjax.study.plan import default_workers
from regjax.study.records import num_records

if TYPE_CHECKING:
    from regjax.engine.scheduler import Scheduler

# Seconds that the longer of two trial runs should take more than the shorter one, at least.
TRIAL_SECONDS = 0.25


class Cost(NamedTuple):
    """What a chunk of a group takes.

    Attributes:
        chunks: number of chunks of the group.
        steps: seconds of a worker for all steps and records of a chunk.
        task: seconds of a worker that a task takes whatever its steps.
        host: seconds of the scheduler's thread for a task.
        tasks: number of tasks of a chunk.
    """

    chunks: int
    steps: float
    task: float
    host: float
    tasks: int

    @property
    def worker(self) -> float:
        """Seconds of a worker for a chunk."""
        return self.steps + self.tasks * self.task


class Run(NamedTuple):
    """A trial run: its wall-clock seconds, the task, and what one of the workers returned."""

    seconds: float
    task: ChunkTask
    done: ChunkDone


class Trial(NamedTuple):
    """Runs of one task on several workers at a time, as in the sweep.

    Attributes:
        task: a task of a whole chunk at step 0.
        config: config of its rows, with their numbers of steps and records.
        workers: workers of the sweep.
        devices: devices of the tasks that run side by side, None for the only one.
    """

    task: ChunkTask
    config: Config
    workers: Workers
    devices: Sequence[int | None]

    def run(self, ends: Sequence[int], measured: bool = False) -> Run:
        """Returns a run up to these ends, with or without a record at each."""
        task = self.task._replace(ends=tuple(ends), measured=(measured,) * len(ends))
        began = time.perf_counter()
        futures = [self.workers.submit(run_task, task._replace(device=device)) for device in self.devices]
        done = [future.result() for future in futures]
        return Run(time.perf_counter() - began, task, done[0])

    def twice(self, ends: Sequence[int], measured: bool = False) -> float:
        """Returns seconds of the faster of two runs: of a short one the noise is a good part."""
        return min(self.run(ends, measured).seconds for _ in range(2))

    def step(self, nothing: float) -> float:
        """Returns seconds of a step, from runs of two lengths without records.

        Args:
            nothing: seconds of the task without steps.
        """
        last, steps, more = self.config.num_steps, 1, 0.0
        if last == 1:
            return max(self.twice([1]) - nothing, 0.0)
        shortest = self.twice([1])
        while steps < last and more < TRIAL_SECONDS:
            steps = min(4 * steps, last)
            more = self.run([steps]).seconds - shortest
        return max(more, 0.0) / (steps - 1)

    def of_segments(self, nothing: float) -> tuple[float, Run]:
        """Returns seconds of all steps with their records, from runs of one record and of several; or of one
        and of none, where there are no more. Argument as in `step`.
        """
        every, last = self.config.eval_every, self.config.num_steps
        ends = [*range(every, last, every), last]
        count, more = 1, 0.0
        shortest, run = self.twice(ends[:1], measured=True), self.run(ends[:1], measured=True)
        if len(ends) == 1:
            return max(shortest - nothing, 0.0), run
        while count < len(ends) and more < TRIAL_SECONDS:
            count = min(4 * count, len(ends))
            run = self.run(ends[:count], measured=True)
            more = run.seconds - shortest
        return max(more, 0.0) / (ends[count - 1] - ends[0]) * last, run

    def of_steps(self, step: float) -> tuple[float, Run]:
        """Returns seconds of all steps with their records, from the seconds of a step."""
        # Records at one and the same step, so that they alone make the difference.
        once, run = self.twice([1], measured=True), self.run([1] * 4, measured=True)
        record = max(run.seconds - once, 0.0) / 3
        return self.config.num_steps * step + (num_records(self.config) - 1) * record, run


def predicted(scheduler: Scheduler) -> float:
    """Returns predicted seconds of a sweep, from trial runs of a chunk of each group.

    It spoils the scheduler, whose recorder takes in what the trials return.
    """
    costs, plan, waves = [], scheduler.plan, scheduler.waves
    for index, rows in enumerate(waves.unopened):
        if rows:
            group = waves.groups[index]
            chunk = Chunk(Wave(index), [rows[: group.lanes]] * group.slots, 0, None)
            count = math.ceil(len(rows) / group.chunk)
            busy = itertools.islice(
                itertools.cycle(scheduler.workers.numbers), min(plan.num_workers, default_workers(), count)
            )
            trial = Trial(scheduler.next_task(chunk), group.config, scheduler.workers, tuple(busy))
            seconds = scheduler.pace.task_seconds(index)
            costs.append(cost_of(trial, count, seconds, _taking(scheduler, chunk)))
    return together(costs, plan.num_workers, default_workers())


def _taking(scheduler: Scheduler, chunk: Chunk) -> Callable[[Run], float]:
    """Returns a function of a trial run of a chunk: the seconds that making and taking its task takes."""

    def take(run: Run) -> float:
        began = time.perf_counter()
        scheduler.next_task(chunk)
        last = scheduler.waves.groups[chunk.wave.group].config.num_steps
        scheduler.take(chunk, run.task, run.done._replace(stop=last))
        return time.perf_counter() - began

    return take


def cost_of(trial: Trial, chunks: int, task_seconds: float, take: Callable[[Run], float]) -> Cost:
    """Returns what the chunks of a group take, from trial runs.

    Args:
        trial: the trial of the group.
        chunks: number of its chunks.
        task_seconds: seconds that a task of the sweep should take.
        take: what the scheduler does for a task; returns its seconds.
    """
    task = trial.twice([])  # twice also for whatever only a first call does
    step = trial.step(task)
    short = min(trial.config.eval_every, trial.config.num_steps) * step < TRIAL_SECONDS
    steps, run = trial.of_segments(task) if short else trial.of_steps(step)
    return Cost(chunks, steps, task, take(run), max(1, math.ceil(steps / task_seconds)))


def together(costs: Sequence[Cost], num_workers: int, num_cores: int) -> float:
    """Returns seconds of a sweep whose groups' chunks have these costs.

    Args:
        costs: costs of the groups.
        num_workers: number of tasks at a time.
        num_cores: number of cores that workers and the scheduler's thread share.
    """
    host = sum(cost.chunks * cost.tasks * cost.host for cost in costs)
    worker = sum(cost.chunks * cost.worker for cost in costs)
    longest = max((cost.worker + cost.host for cost in costs), default=0.0)
    # Chunks of one task each leave workers idle at the end, where their number does not divide evenly.
    rounds = max(
        (math.ceil(cost.chunks / num_workers) * cost.worker for cost in costs if cost.tasks == 1), default=0.0
    )
    return max(longest, rounds, host, worker / num_workers, (worker + host) / max(num_cores, num_workers))
