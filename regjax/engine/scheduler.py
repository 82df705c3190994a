"""The host loop of a sweep: submits chunks to workers as tasks, and takes in what the tasks return.

`engine/sweep.py` makes a `Scheduler`, to train a design and to predict its time. Workers run only the
functions of `engine/lanes.py`. Everything else happens here, on one thread, between two tasks: the scheduler
packs rows into chunks, commits finished rows to the store, reports progress and answers Ctrl-C.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import numpy as np

from regjax.engine.checkpoints import Checkpoints
from regjax.engine.compiling import Programs, is_out_of_memory
from regjax.engine.inputs import Inputs
from regjax.engine.lanes import ChunkDone, ChunkTask, run_task
from regjax.engine.orders import epochs_at_once
from regjax.engine.packing import Chunk, Wave, Waves, lane_of
from regjax.engine.probe import Run, Trial, cost_of, together
from regjax.engine.progress import Progress, Report
from regjax.engine.recorder import Recorder
from regjax.engine.tasks import ends_from, how, task_of
from regjax.engine.workers import Workers
from regjax.store.database import StoreError, StoreOSError
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.plan import Plan, default_workers
from regjax.study.records import num_params
from regjax.study.results import Results

# Seconds that a task should take: short, so that Ctrl-C is answered and freed lanes are filled soon; long
# enough that copying states between host and device costs nothing beside it.
TASK_SECONDS = 1.0
# The same for rows that may stop early: their lanes become free more often.
STOPPING_SECONDS = 0.1
# A task's steps should take so many times as long as moving its inputs, but no longer than TASK_SECONDS.
LEAST_SHARE = 5
# For the first guess of a step's seconds: operations per second of a chunk, and seconds of overhead. On an
# accelerator it only bounds the first task of a group and weighs the progress of groups.
CPU_GUESS, NATIVE_GUESS, ACCELERATOR_GUESS = (1e10, 2e-6), (5e10, 1e-6), (1e12, 1e-4)
# Steps of the first task of a group on an accelerator, which measures how long a step takes. Until a task has
# LONGER times as many steps as any before, the seconds of a step are mostly what a task costs at all.
FIRST_STEPS, LONGER = 100, 4
# Seconds between two reports. The progress of a million networks takes a good part of a second to find: after
# a report that takes longer than so many seconds, the next one comes after RARELY times as many.
REPORT_SECONDS, DEAR_REPORT, RARELY = 0.1, 0.005, 20
# Most seconds that the loop waits for a task; the same while only other processes train.
WAIT_SECONDS, IDLE_SECONDS = 0.2, 0.1

# The tasks that were submitted and not taken in yet, with their chunks.
Flying = dict[concurrent.futures.Future[ChunkDone], tuple[Chunk, ChunkTask]]


class Scheduler:
    """One sweep in progress.

    Args:
        design: the design of the sweep.
        plan: its groups, chunk shapes and workers.
        workers: the workers that run its tasks, and the devices that they have.
        report: called with a `Progress`; it may raise, which ends the sweep.
        checkpoints: the connection of the sweep with its store; None keeps results in memory alone.
        rows: the rows to train; None takes all.
    """

    def __init__(
        self,
        design: Design,
        plan: Plan,
        workers: Workers,
        report: Report,
        checkpoints: Checkpoints | None = None,
        rows: Collection[int] | None = None,
    ) -> None:
        self.design, self.plan, self.workers = design, plan, workers
        self.report, self.checkpoints = report, checkpoints
        self.recorder = Recorder(design, plan.keep)
        self.waves = Waves(design, plan.groups, plan.num_workers)
        inputs = Inputs(design)
        self.inputs = inputs if workers.on_host and inputs.fit else None
        self.notes: list[str] = []
        # Seconds of one step of a chunk, for each group: a guess until its first task is done.
        self.step_seconds = [self._guess(group) for group in plan.groups]
        # Seconds that a task takes whatever the number of its steps: inputs are stacked and go to the device.
        self.moving_seconds = [0.0] * len(plan.groups)
        self.stacking = 0.0
        # Steps of the longest task of each group so far.
        self.longest = [0] * len(plan.groups)
        self.programs = Programs(workers.submit_compiling)
        # Number of tasks that each device has been given.
        self.given = [0] * workers.devices
        self.started = self.reported = time.perf_counter()
        self.report_every = REPORT_SECONDS
        self.steps_done = np.zeros(design.num_rows, np.int64)
        self.fraction_before = 0.0
        self.interrupted: Callable[[], Any] | None = None
        if checkpoints is not None:
            checkpoints.recall(self.recorder)
        wanted = ~self.recorder.finished
        if rows is not None:
            wanted &= np.isin(np.arange(design.num_rows), list(rows))
        self.waves.restrict(wanted)

    # -- the loop ---------------------------------------------------------------------------------------

    def run(self) -> Results:
        """Returns the results, after all rows are trained."""
        began = time.perf_counter()
        self.train()
        plan = dataclasses.replace(self.plan, groups=tuple(self.waves.groups))
        compiling, training = self.started - began, time.perf_counter() - self.started
        return self.recorder.results(plan, compiling, training, (*self.plan.notes, *self.notes))

    def train(self) -> None:
        """Trains every row that no wave has yet.

        Raises:
            KeyboardInterrupt: by SIGINT or SIGTERM; with a store, after all that was trained is committed.
            MemoryError: not even one network at a time fits into memory.
            OSError: the store cannot be written.
        """
        self.compile()
        if (first := self.waves.first_unopened) is not None:
            self.programs.wait(first)
        self.started = time.perf_counter()
        self.fraction_before = self._fraction()
        try:
            with self._deferred_signals():
                self._loop_and_save()
            if self.checkpoints is not None:
                self.checkpoints.end()
        finally:
            if self.checkpoints is not None:
                self.checkpoints.leave()
        self.report(self._progress("train"))

    def _loop_and_save(self) -> None:
        """Runs the loop; if it is interrupted or fails, commits the progress of every row."""
        flying: Flying = {}
        try:
            self._loop(flying)
        except Exception as error:
            # An error of a worker or of `report`. After an error of the store nothing can be written.
            if self.checkpoints is not None and not isinstance(error, StoreOSError | StoreError):
                self._save_all(self.checkpoints, flying)
            raise
        except KeyboardInterrupt as stop:
            if self.checkpoints is None:
                raise
            self._save_all(self.checkpoints, flying)
            finished = self.recorder.finished
            said = f"{int(finished.sum()):,} of {len(finished):,} networks are done"
            raise KeyboardInterrupt(said) from stop

    @contextlib.contextmanager
    def _deferred_signals(self) -> Iterator[None]:
        """Delays SIGINT and SIGTERM until the loop is between two tasks; the second signal is not delayed.

        A signal between the end of a task and its commit would lose what the task trained.
        """
        numbers = [signal.SIGINT, signal.SIGTERM]
        if self.checkpoints is None or threading.current_thread() is not threading.main_thread():
            numbers = []  # without a store nothing can be saved; other threads get no signals
        before = {n: handler for n in numbers if callable(handler := signal.getsignal(n))}

        def hear(number: int, frame: Any) -> None:
            if self.interrupted is None:
                self.interrupted = functools.partial(before[signal.Signals(number)], number, frame)
            else:
                before[signal.Signals(number)](number, frame)

        for number in before:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _loop(self, flying: Flying) -> None:
        """Trains until every row is finished; `flying` is filled with the tasks in work."""
        while True:
            if self.interrupted is not None:
                self.interrupted()
            # One task more than there are workers, so that no worker waits for this thread.
            while len(flying) <= self.plan.num_workers and (chunk := self._next(wait=not flying)) is not None:
                chunk.device = self._device_for(chunk, flying)
                task = self._task(chunk)
                if self.workers.resident:
                    chunk.inputs = task.replicates, task.hparams
                chunk.wave.busy.append(chunk.step)
                flying[self.workers.submit(run_task, task)] = chunk, task
            if not flying and (self.checkpoints is None or not self.checkpoints.with_others):
                break
            if flying:
                self._take_done(flying)
            else:
                time.sleep(IDLE_SECONDS)  # other processes train the remaining rows
            if self.checkpoints is not None and self.checkpoints.beat(self._share):
                for row in self.checkpoints.look_again(self.recorder):
                    self.waves.give_back(row)
            began = time.perf_counter()
            if began - self.reported > self.report_every:
                self.report(self._progress("train"))
                self.reported = time.perf_counter()
                took = self.reported - began
                self.report_every = REPORT_SECONDS if took < DEAR_REPORT else RARELY * took

    def _take_done(self, flying: Flying) -> None:
        """Waits a moment for a task that is done, and takes in all tasks that are."""
        done = concurrent.futures.wait(
            flying, timeout=WAIT_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
        ).done
        for future in done:
            chunk, task = flying[future]
            error = future.exception()
            if error is not None and not is_out_of_memory(error):
                raise error
            del flying[future]
            chunk.wave.busy.remove(chunk.step)
            if error is not None:
                self._halve(chunk, task, error)
            else:
                self._take(chunk, task, future.result())

    def compile(self) -> None:
        """Has the programs of every group compiled; waits for none."""
        self.report(self._progress("compile"))
        for index, rows in enumerate(self.waves.unopened):
            if rows:  # else all of its rows are finished
                chunk = Chunk(Wave(index), [rows[: self.waves.groups[index].lanes]], 0, None)
                task, config = self._task(chunk), self.waves.groups[index].config
                each = (task._replace(device=device) for device in self._devices())
                self.programs.begin(index, each, min(config.eval_every, config.num_steps))

    def probe(self) -> float:
        """Returns predicted seconds of the sweep, from trial runs of a chunk of each group.

        It spoils this scheduler, whose recorder takes in what the trials return.
        """
        costs = []
        for index, rows in enumerate(self.waves.unopened):
            if rows:
                group = self.waves.groups[index]
                chunk = Chunk(Wave(index), [rows[: group.lanes]] * group.slots, 0, None)
                count = math.ceil(len(rows) / group.chunk)
                busy = itertools.islice(itertools.cycle(self._devices()), min(self.plan.num_workers, count))
                trial = Trial(self._task(chunk), group.config, self.workers, tuple(busy))
                costs.append(cost_of(trial, count, self._task_seconds(group), self._taking(chunk)))
        return together(costs, self.plan.num_workers, default_workers())

    def _taking(self, chunk: Chunk) -> Callable[[Run], float]:
        """Returns a function of a trial run of a chunk: the seconds that making and taking its task takes."""

        def take(run: Run) -> float:
            began = time.perf_counter()
            self._task(chunk)
            last = self.waves.groups[chunk.wave.group].config.num_steps
            self._take(chunk, run.task, run.done._replace(stop=last))
            return time.perf_counter() - began

        return take

    # -- tasks ------------------------------------------------------------------------------------------

    def _next(self, *, wait: bool) -> Chunk | None:
        """Returns a chunk of an open wave, else of a new one; None where no chunk is ready.

        Args:
            wait: whether to wait for the programs of the next group while they are being compiled.
        """
        while True:
            if (chunk := self.waves.next()) is not None:
                return chunk
            if (ahead := self.waves.first_unopened) is not None:
                if not wait and not self.programs.are_ready(ahead):
                    return None
                self.programs.wait(ahead)
            found = self.waves.take_unopened(self.checkpoints is None or self.checkpoints.alone)
            if found is None:
                return None
            index, rows = found
            begun = {}
            if self.checkpoints is not None:
                rows, begun = self.checkpoints.lease(self.recorder, rows, self.waves.groups[index])
                for row, (step, _) in begun.items():
                    self.steps_done[row] = step
            self.waves.open_wave(index, rows, begun)

    def _devices(self) -> list[int | None]:
        """Returns the numbers of the devices that tasks name; None for the only one."""
        count = self.workers.devices
        return [None] if count == 1 else list(range(count))

    def _device_for(self, chunk: Chunk, flying: Flying) -> int | None:
        """Returns a device with the fewest tasks in work: the chunk's last one, else that of fewest tasks."""
        if self.workers.devices == 1:
            return None
        load = collections.Counter(task.device for _, task in flying.values())
        best = min(self._devices(), key=lambda d: (load[d], d != chunk.device, self.given[d or 0]))
        self.given[best or 0] += 1
        return best

    def _task(self, chunk: Chunk) -> ChunkTask:
        """Returns the next task of a chunk, of about `TASK_SECONDS`."""
        wave, group = chunk.wave, self.waves.groups[chunk.wave.group]
        if chunk.step not in wave.ends:
            seconds = self._task_seconds(group)
            # Large inputs that are moved for few steps would take more time than the steps.
            seconds = max(seconds, min(TASK_SECONDS, LEAST_SHARE * self.moving_seconds[wave.group]))
            steps = max(1, int(seconds / self.step_seconds[wave.group]))
            if self.workers.accelerated and not self.longest[wave.group]:
                steps = min(steps, FIRST_STEPS)
            wave.ends[chunk.step] = ends_from(group.config, chunk.step, steps)
        began = time.perf_counter()
        task = task_of(self.design, group, chunk, *wave.ends[chunk.step], self.inputs)
        self.stacking = time.perf_counter() - began
        longest = min(group.config.eval_every, group.config.num_steps)
        epochs = epochs_at_once(group.num_batches, self.design.padded.x.shape[1], longest)
        accelerated, resident = self.workers.accelerated, self.workers.resident
        return task._replace(device=chunk.device, overlap=accelerated, resident=resident, epochs=epochs)

    def _task_seconds(self, group: Group) -> float:
        """Returns the seconds that a task of a group should take."""
        return min(TASK_SECONDS, STOPPING_SECONDS) if group.stops_early else TASK_SECONDS

    # -- what comes back --------------------------------------------------------------------------------

    def _take(self, chunk: Chunk, task: ChunkTask, done: ChunkDone) -> None:
        """Takes in what a task returned: records and finished rows; the other rows wait for another task."""
        wave, finished = chunk.wave, self.recorder.finished
        group = self.waves.groups[wave.group]
        shape = np.shape(task.hparams.learning_rate)  # the group's chunks may have been halved meanwhile
        rows = np.array([row for _, _, row in chunk.places])
        self._record(chunk, task, done)
        here = how(self.design, group._replace(slots=shape[0], lanes=shape[1]))
        self.recorder.trained(rows, chunk.step, done.seconds / len(rows), here)
        moving = done.moving + self.stacking
        self.moving_seconds[wave.group] += 0.5 * (moving - self.moving_seconds[wave.group])
        self._time(wave.group, done.stop - chunk.step, done.seconds - done.moving)
        self.steps_done[rows] = done.stop
        at_its_end = done.stop == group.config.num_steps
        self._finish(chunk, done, at_its_end)
        if self.checkpoints is not None:
            self.checkpoints.commit(self.recorder, group, chunk, done)
        if not at_its_end:
            chunk.step, chunk.states = done.stop, done.states
            if shape != (group.slots, group.lanes) or not self.waves.goes_on(chunk, ~finished):
                self.waves.loosen(chunk, ~finished)
        self.waves.pack(wave)

    def _time(self, index: int, steps: int, seconds: float) -> None:
        """Takes the seconds of a task of a group into those of its step."""
        # By half of the difference: one slow task must not make the next ones much too short.
        share = 0.5
        if self.workers.accelerated and steps >= LONGER * self.longest[index]:
            share = 1.0
        self.step_seconds[index] += share * (seconds / steps - self.step_seconds[index])
        self.longest[index] = max(steps, self.longest[index])

    def _record(self, chunk: Chunk, task: ChunkTask, done: ChunkDone) -> None:
        """Hands the records of a task to the recorder."""
        if not done.records:
            return
        i, j, rows = (np.array(part) for part in zip(*chunk.places, strict=True))
        measured = [s for s, taken in zip(task.ends, task.measured, strict=True) if taken and s <= done.stop]
        steps = np.array(([0] if task.states is None else []) + measured)
        found = {n: v[:, i, j] for n, v in done.records.items()}
        self.recorder.record(rows, steps, found, self.waves.groups[chunk.wave.group].config)

    def _finish(self, chunk: Chunk, done: ChunkDone, at_its_end: bool) -> None:
        """Hands parameters and per-example scores of finished rows to the recorder."""
        recorder, predicting = self.recorder, None
        # A record notices only afterwards that config.stop_on has ended a run.
        epochs = done.states.epochs
        stopped_at = None if epochs is None else np.asarray(epochs.stopped_at)
        for i, j, row in chunk.places:
            if stopped_at is not None and recorder.stopped_at[row] >= 0:
                recorder.stopped_at[row] = stopped_at[i, j]
            if recorder.diverged_at[row] < 0 and (at_its_end or recorder.stopped_at[row] >= 0):
                if predicting is None:  # copied from the device once, and only where it is read
                    predicting = jax.device_get(done.states.predicting)
                params = jax.tree.map(np.copy, lane_of(predicting, i, j))
                examples = None
                if done.examples is not None:
                    seen = self.design.splits.val[0] > 0
                    examples = {name: v[i, j, : len(seen)][seen] for name, v in done.examples.items()}
                recorder.finish(row, params, examples)

    def _halve(self, chunk: Chunk, task: ChunkTask, error: BaseException) -> None:
        """Halves the chunks of a group after one of them ran out of memory, and packs its rows again."""
        index = chunk.wave.group
        group = self.waves.groups[index]
        # A task of the old shape may fail after another task's failure halved the chunks already.
        if np.shape(task.hparams.learning_rate) == (group.slots, group.lanes):
            if group.chunk == 1:
                raise MemoryError(f"one network must fit into memory, and does not: {error}") from error
            self.waves.halve(index)
            if self.checkpoints is not None:
                self.checkpoints.reshape(self.waves.groups)
            smaller = self.waves.groups[index].chunk
            self.notes.append(f"out of memory: chunks of {group.chunk} networks were halved to {smaller}")
        chunk.wave.ready.append(chunk)
        self.waves.repack(index, ~self.recorder.finished)

    def _save_all(self, checkpoints: Checkpoints, flying: Flying) -> None:
        """Waits for the tasks that have begun, and commits the progress of every row."""
        waiting = [future for future in flying if future.cancel()]
        for future, (chunk, task) in flying.items():
            chunk.wave.busy.remove(chunk.step)
            if future in waiting or future.exception() is not None:
                chunk.wave.ready.append(chunk)  # as it was before the task
            else:
                self._take(chunk, task, future.result())
        self._save_waiting(checkpoints)

    def _save_waiting(self, checkpoints: Checkpoints) -> None:
        """Commits the progress of the rows that wait for a worker."""
        for index, step, rows, states in self.waves.waiting():
            checkpoints.save(self.recorder, self.waves.groups[index], rows, states, step)

    def _share(self, checkpoints: Checkpoints) -> list[int]:
        """Commits the rows that wait for a worker, and returns them, for another process to train."""
        self._save_waiting(checkpoints)
        return self.waves.withdraw_waiting()

    # -- progress ---------------------------------------------------------------------------------------

    def _guess(self, group: Group) -> float:
        """Returns a guess of the seconds of a chunk's step, too long rather than too short."""
        size = group.config.batch_size or self.design.padded.x.shape[1]
        rate, overhead = CPU_GUESS if jax.default_backend() == "cpu" else ACCELERATOR_GUESS
        if group.kernel == "native":
            rate, overhead = NATIVE_GUESS
        return group.chunk * (6 * num_params(group.config) * size / rate) + overhead

    def _progress(self, phase: str) -> Progress:
        """Returns the progress of the sweep, to report."""
        recorder, fraction = self.recorder, self._fraction()
        elapsed, now_done = time.perf_counter() - self.started, fraction - self.fraction_before
        return Progress(
            phase=phase,
            num_rows=len(recorder.finished),
            done=int(recorder.finished.sum()),
            diverged=int((recorder.diverged_at >= 0).sum()),
            fraction=fraction,
            best=recorder.best(),
            seconds_left=elapsed * (1 - fraction) / now_done if now_done > 0.02 else None,
        )

    def _fraction(self) -> float:
        """Returns the fraction of the work that is done, the steps of a group weighted by their seconds."""
        done = total = 0.0
        per = self.design.num_replicates
        steps, finished = (v.reshape(-1, per) for v in (self.steps_done, self.recorder.finished))
        for cost, group in zip(self.step_seconds, self.waves.groups, strict=True):
            members, last = list(group.configurations), group.config.num_steps
            done += cost / group.chunk * float(np.where(finished[members], last, steps[members]).sum())
            total += cost / group.chunk * len(members) * per * last
        return done / total
