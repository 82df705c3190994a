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
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from regjax.core.config import Config
from regjax.core.hparams import HParams
from regjax.core.train import TrainState
from regjax.engine import pace
from regjax.engine.checkpoints import Checkpoints
from regjax.engine.cluster import GIVEN_UP, WorkersKilledError
from regjax.engine.compiling import Programs, is_out_of_memory
from regjax.engine.inputs import Inputs
from regjax.engine.lanes import ChunkDone, ChunkTask, run_task
from regjax.engine.orders import epochs_at_once
from regjax.engine.packing import Chunk, Wave, Waves, lane_of, stack
from regjax.engine.progress import Progress, Report
from regjax.engine.recorder import Recorder
from regjax.engine.remote import ChunkRequest, request_of
from regjax.engine.signals import Signals
from regjax.engine.tasks import ends_from, how, task_of
from regjax.engine.workers import Workers
from regjax.store.database import StoreError, StoreOSError
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.plan import Plan
from regjax.study.provenance import loop_of
from regjax.study.results import Results

# Seconds between two reports. The progress of a million networks takes a good part of a second to find: after
# a report that takes longer than so many seconds, the next one comes after RARELY times as many.
REPORT_SECONDS, DEAR_REPORT, RARELY = 0.1, 0.005, 20
# Most seconds that the loop waits for a task; the same while only other processes train.
WAIT_SECONDS, IDLE_SECONDS = 0.2, 0.1
# Most seconds that an interrupted sweep waits for the workers of a cluster.
LAST_SECONDS = 20

# The tasks that were submitted and not taken in yet, with their chunks.
Task = ChunkTask | ChunkRequest
Flying = dict[concurrent.futures.Future[ChunkDone], tuple[Chunk, Task]]


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
        self.pace = pace.Pace(plan.groups, design.padded.x.shape[1], accelerated=workers.accelerated)
        self.programs = Programs(workers.submit_compiling)
        # The step that rows are trained to, and wait at; None is their last one.
        self.until: int | None = None
        # The states of rows that wait, where there is no store.
        self.held: dict[int, TrainState] = {}
        # Rows that are trained no more, since their chunks killed workers, and whether that is no error.
        self.given_up, self.partial = set[int](), False
        # Number of tasks that each device has been given.
        self.given = [0] * workers.devices
        self.started = self.reported = time.perf_counter()
        self.report_every = REPORT_SECONDS
        # Wall-clock seconds before the first step, and of the rest.
        self.compiling = self.training = 0.0
        self.steps_done = np.zeros(design.num_rows, np.int64)
        self.fraction_before = 0.0
        self.signals = Signals()
        if checkpoints is not None:
            checkpoints.recall(self.recorder)
        self.wanted = np.ones(design.num_rows, bool)
        self._want(range(design.num_rows) if rows is None else rows)

    # -- the loop ---------------------------------------------------------------------------------------

    def run(self, *, partial: bool = False) -> Results:
        """Returns the results, after all rows are trained; `partial` takes those without what is given up."""
        self.partial = partial
        self.train()
        return self.results(self._whole())

    def _whole(self) -> list[int] | None:
        """Returns the configurations whose rows are all trained; None where all are.

        Raises:
            WorkersKilledError: not one of them is.
        """
        if not self.given_up:
            return None
        per = self.design.num_replicates
        lacking = {row // per for row in self.given_up}
        found = [index for index in range(len(self.design.configurations)) if index not in lacking]
        if not found:
            raise WorkersKilledError(f"no configuration has all of its networks; {'; '.join(self.notes)}")
        return found

    def results(self, configurations: Sequence[int] | None = None) -> Results:
        """Returns the results of configurations whose rows are all finished; None takes all."""
        plan = dataclasses.replace(self.plan, groups=tuple(self.waves.groups))
        recorder = self.recorder
        if configurations is not None and len(configurations) < len(self.design.configurations):
            plan, recorder = plan.part(configurations), recorder.part(configurations)
        notes = *self.plan.notes, *self.notes, *(self.workers.cluster.notes if self.workers.cluster else ())
        return recorder.results(plan, self.compiling, self.training, notes)

    def train(self) -> None:
        """Trains the rows that are wanted and not finished; errors as `advance`."""
        with self.working():
            self.advance()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Delays signals; at the end the sweep is marked as finished, and its leases end."""
        try:
            # Without a store nothing can be saved: a signal ends the sweep at once.
            with contextlib.nullcontext() if self.checkpoints is None else self.signals.deferred():
                yield
            if self.checkpoints is not None and not self.given_up:
                self.checkpoints.end()
        finally:
            if self.checkpoints is not None:
                self.checkpoints.leave()

    def advance(self) -> None:
        """Trains the rows that are wanted to their last step, or to the step `until`; call it in `working`.

        Raises:
            KeyboardInterrupt: by SIGINT or SIGTERM; with a store, after all that was trained is committed.
            MemoryError: not even one network at a time fits into memory.
            WorkersKilledError: the workers of a cluster died with some of the rows; the others are trained.
            OSError: the store cannot be written.
        """
        began = time.perf_counter()
        self.compile()
        if (first := self.waves.first_unopened) is not None:
            self.programs.wait(first)
        self.started = time.perf_counter()
        self.compiling += self.started - began
        self.fraction_before = self._fraction()
        self._loop_and_save()
        self.training += time.perf_counter() - self.started
        self.report(self._progress("train"))
        if self.given_up and not self.partial:
            raise WorkersKilledError("; ".join(self.notes))

    def aim(self, rows: Collection[int], until: int | None) -> None:
        """Sets what `advance` trains next.

        Args:
            rows: the rows to train; those that are finished, or wait at `until` or later, stay.
            until: a step at which a record is taken; rows wait there. None is the last step of each.
        """
        self.until = until
        self._want(rows)

    def exchange(self, copies: Mapping[int, int], hparams: Sequence[HParams]) -> None:
        """Lets rows that wait go on as copies of others, and configurations with other hyperparameters.

        Only without a store, whose identities say that a row trains with one configuration.

        Args:
            copies: rows -> the rows whose state and records they go on from, which wait.
            hparams: of each configuration, with the same regularisers on as before.
        """
        assert self.checkpoints is None
        self.design = dataclasses.replace(self.design, hparams=tuple(hparams))
        held, steps_done = dict(self.held), self.steps_done.copy()
        for row, parent in copies.items():
            self.held[row], self.steps_done[row] = held[parent], steps_done[parent]
            self.recorder.copy(row, parent)

    def _want(self, rows: Collection[int]) -> None:
        """Lets these rows be trained that are not finished, and not at their aim yet."""
        self.wanted = np.isin(np.arange(self.design.num_rows), list(rows))
        last = np.array([self._last(config) for config in self.design.configs])
        there = self.steps_done >= np.repeat(last, self.design.num_replicates)
        self.wanted[list(self.given_up)] = False
        self.waves.restrict(self.wanted & ~self.recorder.finished & ~there)

    def _last(self, config: Config) -> int:
        """Returns the step at which rows of a config end or wait."""
        return config.num_steps if self.until is None else min(self.until, config.num_steps)

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

    def _loop(self, flying: Flying) -> None:
        """Trains until every row is finished; `flying` is filled with the tasks in work."""
        while True:
            self.signals.answer()
            while len(flying) < self._at_once and (chunk := self._next(wait=not flying)) is not None:
                future, task = self._submitted(chunk, flying)
                chunk.wave.busy.append(chunk)
                flying[future] = chunk, task
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
                if self.workers.cluster is not None:
                    self.workers.cluster.want(self.waves.chunks_left)
                self.reported = time.perf_counter()
                took = self.reported - began
                self.report_every = REPORT_SECONDS if took < DEAR_REPORT else RARELY * took

    @property
    def _num_workers(self) -> int:
        """Number of tasks that can be in work."""
        return cluster.capacity if (cluster := self.workers.cluster) else self.plan.num_workers

    @property
    def _at_once(self) -> int:
        """Number of tasks that are in work, or wait for a worker: one more, so that none is idle."""
        return cluster.room if (cluster := self.workers.cluster) else self.plan.num_workers + 1

    def _submitted(self, chunk: Chunk, flying: Flying) -> tuple[concurrent.futures.Future[ChunkDone], Task]:
        """Returns the next task of a chunk, submitted to a worker, and its future."""
        if self.workers.cluster is not None:
            group, number = self.waves.groups[chunk.wave.group], self.workers.cluster.next_number()
            request = request_of(chunk, group, *self._ends(chunk), self._epochs(group), number)
            chunk.request = number
            return self.workers.cluster.submit(self.design, request), request
        chunk.device = self._device_for(chunk, flying)
        task = self.next_task(chunk)
        if self.workers.resident:
            chunk.inputs = task.replicates, task.hparams
        return self.workers.submit(run_task, task), task

    def _take_done(self, flying: Flying) -> None:
        """Waits a moment for a task that is done, and takes in all tasks that are."""
        done = concurrent.futures.wait(
            flying, timeout=WAIT_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
        ).done
        for future in done:
            chunk, task = flying[future]
            error = future.exception()
            killed = isinstance(error, WorkersKilledError)
            if error is not None and not killed and not is_out_of_memory(error):
                raise error
            del flying[future]
            chunk.wave.busy.remove(chunk)
            if killed:
                self._give_up(chunk, error)
            elif error is not None:
                self._halve(chunk, task, error)
            else:
                self.take(chunk, task, future.result())

    def compile(self) -> None:
        """Has the programs of every group compiled; waits for none."""
        self.report(self._progress("compile"))
        if self.workers.cluster is not None:
            return  # each of its processes compiles for itself when its first chunk comes
        begun = {group.compiled for i, group in enumerate(self.waves.groups) if self.programs.knows(i)}
        for index, (rows, group) in enumerate(zip(self.waves.unopened, self.waves.groups, strict=True)):
            # Else none of its rows is to be trained, or its programs are compiled already.
            if rows and group.compiled not in begun:
                begun.add(group.compiled)
                task = self.next_task(Chunk(Wave(index), [rows[: group.lanes]], 0, None))
                each = (task._replace(device=device) for device in self.workers.numbers)
                self.programs.begin(index, each, min(group.config.eval_every, group.config.num_steps))

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
            begun = {row: (int(self.steps_done[row]), self.held.pop(row)) for row in rows if row in self.held}
            if self.checkpoints is not None:
                rows, begun = self.checkpoints.lease(self.recorder, rows, self.waves.groups[index])
                last = self._last(self.waves.groups[index].config)
                there = [row for row, (step, _) in begun.items() if step >= last]
                self.checkpoints.release(there)  # another run, or another process, has brought them there
                rows = [row for row in rows if row not in there]
                for row, (step, _) in begun.items():
                    self.steps_done[row] = step
            self.waves.open_wave(index, rows, begun)

    def _device_for(self, chunk: Chunk, flying: Flying) -> int | None:
        """Returns a device with the fewest tasks in work: the chunk's last one, else that of fewest tasks."""
        if self.workers.devices == 1:
            return None
        load = collections.Counter(task.device for _, task in flying.values() if isinstance(task, ChunkTask))
        best = min(self.workers.numbers, key=lambda d: (load[d], d != chunk.device, self.given[d or 0]))
        self.given[best or 0] += 1
        return best

    def _ends(self, chunk: Chunk) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Returns `ends` and `measured` of the next task of a chunk, of about `pace.TASK_SECONDS`."""
        wave, config = chunk.wave, self.waves.groups[chunk.wave.group].config
        if chunk.step not in wave.ends:
            workers = self._num_workers if self.workers.cluster else 1
            steps = self.pace.steps(wave.group, workers, self.waves.part(wave.group))
            wave.ends[chunk.step] = ends_from(config, chunk.step, steps, self._last(config))
        return wave.ends[chunk.step]

    def _epochs(self, group: Group) -> int:
        """Returns for how many epochs at a time a task of a group draws the orders of the samples."""
        longest = min(group.config.eval_every, group.config.num_steps)
        return epochs_at_once(group.num_batches, self.design.padded.x.shape[1], longest)

    def next_task(self, chunk: Chunk) -> ChunkTask:
        """Returns the next task of a chunk."""
        group, began = self.waves.groups[chunk.wave.group], time.perf_counter()
        task = task_of(self.design, group, chunk, *self._ends(chunk), self.inputs)
        self.pace.stacking = time.perf_counter() - began
        accelerated, resident = self.workers.accelerated, self.workers.resident
        return task._replace(
            device=chunk.device, overlap=accelerated, resident=resident, epochs=self._epochs(group)
        )

    # -- what comes back --------------------------------------------------------------------------------

    def take(self, chunk: Chunk, task: Task, done: ChunkDone) -> None:
        """Takes in what a task returned: records and finished rows; the other rows wait for another task."""
        wave, finished = chunk.wave, self.recorder.finished
        group = self.waves.groups[wave.group]
        last = self._last(group.config)
        shape = task.shape  # the group's chunks may have been halved meanwhile
        rows = np.array([row for _, _, row in chunk.places])
        self.recorder.record_chunk(chunk.places, task, done, group.config)
        here = done.how or how(self.design, group._replace(slots=shape[0], lanes=shape[1]))
        self.recorder.trained(rows, chunk.step, done.seconds / len(rows), here)
        # The native kernel trains no lane without a row.
        native = loop_of(here) == "native"
        seconds = (done.seconds - done.moving) * (group.chunk / len(rows) if native else 1)
        self.pace.take(wave.group, done.stop - chunk.step, seconds, done.moving)
        self.steps_done[rows] = done.stop
        at_its_end = done.stop == group.config.num_steps
        self.recorder.finish_chunk(chunk.places, done, at_its_end=at_its_end)
        if self.checkpoints is not None:
            self.checkpoints.commit(self.recorder, group, chunk, done)
        if not at_its_end:
            chunk.step, chunk.states = done.stop, done.states
            if done.stop >= last:
                self._hold(chunk, group)
            elif shape != (group.slots, group.lanes) or not self.waves.goes_on(chunk, ~finished):
                self.waves.loosen(chunk, ~finished)
        self.waves.pack(wave)
        # At the end, no worker shall be idle while another has much to do.
        left = self.pace.seconds(wave.group, last - done.stop, self.waves.part(wave.group))
        if native and left > pace.TASK_SECONDS / 2 and self.waves.divide(wave.group, self._num_workers):
            self.waves.repack(wave.group, ~finished)

    def _hold(self, chunk: Chunk, group: Group) -> None:
        """Lets the unfinished rows of a chunk wait at its step: in the store, or in memory without one."""
        chunk.fetch()
        going = {
            row: lane_of(chunk.states, i, j) for i, j, row in chunk.places if not self.recorder.finished[row]
        }
        if not going:
            return
        rows = list(going)
        if self.checkpoints is None:
            self.held |= going
            return
        states = stack(list(going.values()), (len(rows),))
        self.checkpoints.save(self.recorder, group, rows, states, chunk.step)
        self.checkpoints.release(rows)  # whichever process comes first goes on with them

    def _give_up(self, chunk: Chunk, error: BaseException | None) -> None:
        """Trains the rows of a chunk no more, and says so."""
        rows = [row for _, _, row in chunk.places]
        self.given_up |= set(rows)
        if self.checkpoints is not None and chunk.step:
            self._hold(chunk, self.waves.groups[chunk.wave.group])  # the store goes on from there
        elif self.checkpoints is not None:
            self.checkpoints.release(rows)
        self.notes.append(f"{GIVEN_UP}: {error}")
        self.waves.pack(chunk.wave)

    def _halve(self, chunk: Chunk, task: Task, error: BaseException) -> None:
        """Halves the chunks of a group after one of them ran out of memory, and packs its rows again."""
        index = chunk.wave.group
        group = self.waves.groups[index]
        # A task of the old shape may fail after another task's failure halved the chunks already.
        if task.shape == (group.slots, group.lanes):
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
        if self.workers.cluster is not None:  # its workers may be gone: nobody waits for them longer than so
            running = concurrent.futures.wait([f for f in flying if f not in waiting], LAST_SECONDS).not_done
            waiting += running
        for future, (chunk, task) in flying.items():
            chunk.wave.busy.remove(chunk)
            if future in waiting or future.exception() is not None:
                chunk.wave.ready.append(chunk)  # as it was before the task
            else:
                self.take(chunk, task, future.result())
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
        per, groups = self.design.num_replicates, self.waves.groups
        parts = (v.reshape(-1, per) for v in (self.steps_done, self.recorder.finished, self.wanted))
        return self.pace.fraction(groups, [self._last(group.config) for group in groups], *parts)
