"""The host loop of a sweep: chunks of waves as tasks over workers, segment by segment.

Everything but `lanes.run_task` happens here, on one thread: between tasks it refills lanes, commits what is
finished, reports, and hears Ctrl-C.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from regjax.core.hparams import compiled_in
from regjax.core.mlp import Params
from regjax.engine.checkpoints import Keeper
from regjax.engine.lanes import ChunkDone, ChunkTask, Replicates, compile_loop, compile_rest, run_task
from regjax.engine.packing import Chunk, Wave, Waves, lane_of, stack
from regjax.engine.progress import Progress, Report
from regjax.engine.recorder import Recorder
from regjax.store.database import StoreError, StoreOSError
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.plan import Plan
from regjax.study.provenance import provenance
from regjax.study.records import num_params, num_records
from regjax.study.results import Results

# Seconds that a task should take: short enough to hear Ctrl-C and to refill lanes, long enough that
# copying states costs nothing.
TASK_SECONDS = 1.0
# Where networks stop early, lanes are refilled more often.
STOPPING_SECONDS = 0.1
PROBE_SECONDS = 0.25
# Operations that a chunk is guessed to do in a second, and what a step of it takes beside them.
CPU_GUESS, ACCELERATOR_GUESS = (1e10, 2e-6), (1e12, 1e-4)
# As often as anyone looks.
REPORT_SECONDS = 0.1

Flying = dict[concurrent.futures.Future[ChunkDone], tuple[Chunk, ChunkTask]]


class Scheduler:
    """One sweep in progress."""

    def __init__(
        self,
        design: Design,
        plan: Plan,
        submit: Callable[..., concurrent.futures.Future],
        report: Report,
        keeper: Keeper | None = None,
    ) -> None:
        self.design, self.plan, self.submit, self.report, self.keeper = design, plan, submit, report, keeper
        self.recorder = Recorder(design, plan.keep)
        self.waves = Waves(design, plan.groups, plan.num_workers)
        self.group_of = {row: index for index, rows in enumerate(self.waves.unopened) for row in rows}
        self.notes: list[str] = []
        # Seconds of a chunk's step: a guess until the first task is back.
        self.step_seconds = [self._guess(group) for group in plan.groups]
        self.started = self.reported = time.perf_counter()
        self.steps_done = np.zeros(design.num_rows, np.int64)
        self.fraction_before = 0.0
        self.interrupted: Callable[[], Any] | None = None
        if keeper is not None:
            keeper.recall(self.recorder)
            unopened = self.waves.unopened
            unopened[:] = [[row for row in rows if not self.recorder.finished[row]] for rows in unopened]

    # -- the loop ---------------------------------------------------------------------------------------

    def run(self) -> Results:
        """Returns the results."""
        began = time.perf_counter()
        self.train()
        plan = dataclasses.replace(self.plan, groups=tuple(self.waves.groups))
        compiling, training = self.started - began, time.perf_counter() - self.started
        return self.recorder.results(plan, compiling, training, (*self.plan.notes, *self.notes))

    def train(self) -> None:
        """Trains every row that is in no wave yet."""
        self.compile()
        self.started = time.perf_counter()
        self.fraction_before = self._fraction()
        flying: Flying = {}
        try:
            with self._deferred_signals():
                try:
                    self._loop(flying)
                except Exception as error:
                    # Of what a worker or a callback raised; of the store's own, nothing can be written.
                    if self.keeper is not None and not isinstance(error, StoreOSError | StoreError):
                        self._save_all(self.keeper, flying)
                    raise
                except KeyboardInterrupt as stop:
                    if self.keeper is None:
                        raise
                    self._save_all(self.keeper, flying)
                    finished = self.recorder.finished
                    said = f"{int(finished.sum()):,} of {len(finished):,} networks are done"
                    raise KeyboardInterrupt(said) from stop
            if self.keeper is not None:
                self.keeper.end()
        finally:
            if self.keeper is not None:
                self.keeper.leave()
        self.report(self._progress("train"))

    @contextlib.contextmanager
    def _deferred_signals(self) -> Iterator[None]:
        """Lets SIGINT and SIGTERM wait until the loop is between two tasks; the second does not wait.

        So that nothing is lost between a task's end and its commit.
        """
        numbers = [signal.SIGINT, signal.SIGTERM]
        if self.keeper is None or threading.current_thread() is not threading.main_thread():
            numbers = []
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
        """Trains all that is not finished; `flying` holds the tasks that are with the workers."""
        while True:
            if self.interrupted is not None:
                self.interrupted()
            # One task more than workers, so that none waits for this thread.
            while len(flying) <= self.plan.num_workers and (chunk := self._next()) is not None:
                task = self._task(chunk)
                chunk.wave.busy.append(chunk.step)
                flying[self.submit(run_task, task)] = chunk, task
            if not flying and (self.keeper is None or not self.keeper.elsewhere):
                break
            if flying:
                self._take_done(flying)
            else:
                time.sleep(0.1)  # other processes are at the rest
            if self.keeper is not None and self.keeper.beat(self._share):
                for row in self.keeper.look_again(self.recorder):
                    self.waves.unopened[self.group_of[row]].append(row)
            if time.perf_counter() - self.reported > REPORT_SECONDS:
                self.report(self._progress("train"))
                self.reported = time.perf_counter()

    def _take_done(self, flying: Flying) -> None:
        """Waits a moment for tasks, and takes what they bring."""
        done = concurrent.futures.wait(
            flying, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
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
        """Compiles every group's programs, side by side on the workers; for threads only.

        Other processes compile when their first task comes.
        """
        self.report(self._progress("compile"))
        futures = []
        for index, rows in enumerate(self.waves.unopened):
            if not rows:
                continue  # all of it is in the store
            chunk = Chunk(Wave(index), [rows[: self.waves.groups[index].lanes]], 0, None)
            task = self._task(chunk)
            futures += [self.submit(part, task) for part in (compile_loop, compile_rest)]
        for future in futures:
            try:
                future.result()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise  # out of memory: the first task says so again, and its chunk is halved

    def probe(self) -> float:
        """Returns predicted seconds: every worker trains a chunk of each group for a moment."""
        total = 0.0
        for index, rows in enumerate(self.waves.unopened):
            if not rows:
                continue
            group = self.waves.groups[index]
            task = self._task(Chunk(Wave(index), [rows[: group.lanes]] * group.slots, 0, None))
            steps = 8
            while True:
                began = time.perf_counter()
                short = task._replace(stops=(steps,), measured=(False,))
                for future in [self.submit(run_task, short) for _ in range(self.plan.num_workers)]:
                    future.result()
                seconds = time.perf_counter() - began
                if seconds > PROBE_SECONDS or steps >= group.config.num_steps:
                    break
                steps = min(group.config.num_steps, 4 * steps)
            began = time.perf_counter()
            run_task(task._replace(stops=(1,) * 4, measured=(True,) * 4))  # five records
            record = (time.perf_counter() - began) / 5
            chunks = -(-len(rows) // group.chunk)
            records = num_records(group.config) * record / self.plan.num_workers
            rounds = chunks / self.plan.num_workers
            total += rounds * seconds * group.config.num_steps / steps + chunks * records
        return total

    # -- tasks ------------------------------------------------------------------------------------------

    def _next(self) -> Chunk | None:
        """Returns the next chunk: of an open wave, else of a new one; None where there is none now."""
        while True:
            if (chunk := self.waves.next()) is not None:
                return chunk
            found = self.waves.take_unopened(self.keeper is None or self.keeper.alone)
            if found is None:
                return None
            index, rows = found
            begun = {}
            if self.keeper is not None:
                rows, begun = self.keeper.lease(self.recorder, rows, self.waves.groups[index])
                for row, (step, _) in begun.items():
                    self.steps_done[row] = step
            self.waves.open_wave(index, rows, begun)

    def _task(self, chunk: Chunk) -> ChunkTask:
        group = self.waves.groups[chunk.wave.group]
        lanes = chunk.lanes(group)
        if chunk.step not in chunk.wave.stops:
            chunk.wave.stops[chunk.step] = self._stops(chunk.wave.group, chunk.step)
        stops, measured = chunk.wave.stops[chunk.step]
        hparams = [
            compiled_in(self.design.hparams[self.design.row(row).configuration], group.on, group.config)
            for row in lanes.ravel()
        ]
        return ChunkTask(
            config=group.config.program(),
            shared=group.shared,
            replicates=self._replicates(lanes[:, 0] if group.shared else lanes),
            hparams=stack(hparams, lanes.shape),
            states=chunk.states,
            start=chunk.step,
            stops=stops,
            measured=measured,
            num_batches=group.num_batches,
            num_steps=group.config.num_steps,
            params=self._begin(lanes) if chunk.states is None else None,
            want_examples=self.design.splits.kind == "validation"
            and (stops[-1] == group.config.num_steps or group.stops),
        )

    def _begin(self, lanes: np.ndarray) -> Params | None:
        """Returns the parameters that these rows begin with, where NumPy draws them."""
        found = [self.design.drawn(self.design.row(row))[0] for row in lanes.ravel()]
        return None if found[0] is None else stack(found, lanes.shape)

    def _stops(self, index: int, start: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Returns where a task from `start` stops: at every record, for about `TASK_SECONDS`."""
        group = self.waves.groups[index]
        config = group.config
        seconds = min(TASK_SECONDS, STOPPING_SECONDS) if group.stops else TASK_SECONDS
        steps = max(1, int(seconds / self.step_seconds[index]))
        stops, measured, step = [], [], start
        while step < config.num_steps and step - start < steps:
            record = min((step // config.eval_every + 1) * config.eval_every, config.num_steps)
            # A record that is far away is approached in several tasks.
            step = record if record - start <= 2 * steps else start + steps
            stops.append(step)
            measured.append(step == record)
        return tuple(stops), tuple(measured)

    def _replicates(self, rows: np.ndarray) -> Replicates:
        """Returns the replicates of these rows, leaves `(*rows.shape, …)`."""
        design = self.design
        places = [design.row(row) for row in rows.ravel()]
        stacked = functools.partial(stack, shape=rows.shape)
        weights = [design.weights(place) for place in places]
        parts = [None if part[0] is None else stacked(list(part)) for part in zip(*weights, strict=True)]
        if design.has_own_inputs:
            inputs = [design.inputs(place.fold, design.stops(place.configuration)) for place in places]
            x = stacked([x for x, _ in inputs])
            test_x = None if design.test is None else stacked([t for _, t in inputs if t is not None])
        else:
            x, test_x = design.inputs(0, design.stops(places[0].configuration))
        test = design.padded_test
        orders = [design.drawn(place)[1] for place in places]
        return Replicates(
            key=stacked([design.key(place) for place in places]),
            x=x,
            y=design.padded.y,
            train=parts[0],
            val=parts[1],
            stop=parts[2],
            orders=None if orders[0] is None else stacked(orders),
            test_x=test_x,
            test_y=None if test is None else test.y,
            test=None if test is None else test.weights,
        )

    # -- what comes back --------------------------------------------------------------------------------

    def _take(self, chunk: Chunk, task: ChunkTask, done: ChunkDone) -> None:
        """Takes a chunk's records; what is alive goes on, what is at its end is kept."""
        wave, stop, recorder = chunk.wave, done.stop, self.recorder
        group = self.waves.groups[wave.group]
        i, j, rows = (np.array(part) for part in zip(*chunk.places, strict=True))
        if done.records:
            measured = [s for s, taken in zip(task.stops, task.measured, strict=True) if taken and s <= stop]
            steps = np.array(([0] if task.states is None else []) + measured)
            recorder.record(rows, steps, {n: v[:, i, j] for n, v in done.records.items()}, group.config)
        lanes = np.shape(task.hparams.learning_rate)  # the group's may have been halved meanwhile
        here = provenance(lanes[0], lanes[1], group.shared, group.on)
        recorder.trained(rows, chunk.step, done.seconds / len(rows), here)
        step_seconds = done.seconds / (stop - chunk.step)
        self.step_seconds[wave.group] += 0.5 * (step_seconds - self.step_seconds[wave.group])
        self.steps_done[rows] = stop
        at_its_end = stop == group.config.num_steps
        self._finish(chunk, done, at_its_end)
        if self.keeper is not None:
            self.keeper.commit(recorder, group, chunk, done, stop)
        if not at_its_end:
            chunk.step, chunk.states = stop, done.states
            same_shape = lanes == (group.slots, group.lanes)
            if same_shape and not recorder.finished[rows].any():
                wave.ready.append(chunk)
            else:
                self.waves.loosen(chunk, ~recorder.finished)
        self.waves.close_ranks(wave)

    def _finish(self, chunk: Chunk, done: ChunkDone, at_its_end: bool) -> None:
        """Keeps what is asked for of rows that have reached their last step, or stopped before."""
        recorder = self.recorder
        for i, j, row in chunk.places:
            if recorder.diverged_at[row] < 0 and (at_its_end or recorder.stopped_at[row] >= 0):
                params = jax.tree.map(np.copy, lane_of(done.states.predicting, i, j))
                examples = None
                if done.examples is not None:
                    seen = self.design.splits.val[0] > 0
                    examples = {name: v[i, j, : len(seen)][seen] for name, v in done.examples.items()}
                self.recorder.finish(row, params, examples)

    def _halve(self, chunk: Chunk, task: ChunkTask, error: BaseException) -> None:
        """Takes a chunk apart that did not fit into memory; its group's rows go on in chunks of half."""
        index = chunk.wave.group
        group = self.waves.groups[index]
        if np.shape(task.hparams.learning_rate) == (group.slots, group.lanes):  # else it was halved meanwhile
            if group.chunk == 1:
                raise MemoryError(f"one network must fit into memory, and does not: {error}") from error
            self.waves.halve(index)
            if self.keeper is not None:
                self.keeper.reshape(self.waves.groups)
            smaller = self.waves.groups[index].chunk
            self.notes.append(f"out of memory: chunks of {group.chunk} networks were halved to {smaller}")
        chunk.wave.ready.append(chunk)
        self.waves.rebuild(index, ~self.recorder.finished)

    def _save_all(self, keeper: Keeper, flying: Flying) -> None:
        """Waits for the tasks that have begun, and commits where every row stands."""
        waiting = [future for future in flying if future.cancel()]
        for future, (chunk, task) in flying.items():
            chunk.wave.busy.remove(chunk.step)
            if future in waiting or future.exception() is not None:
                chunk.wave.ready.append(chunk)  # as it was before the task
            else:
                self._take(chunk, task, future.result())
        self._save_waiting(keeper)

    def _save_waiting(self, keeper: Keeper) -> None:
        """Commits where rows stand that are begun and wait for a worker."""
        for index, step, rows, states in self.waves.waiting():
            keeper.save(self.recorder, self.waves.groups[index], rows, states, step)

    def _share(self, keeper: Keeper) -> list[int]:
        """Returns rows that another process, which has come, may take: all that wait, as they stand."""
        self._save_waiting(keeper)
        return self.waves.close_waiting()

    # -- progress ---------------------------------------------------------------------------------------

    def _guess(self, group: Group) -> float:
        """Returns seconds of a chunk's step, a little too many rather than too few."""
        size = group.config.batch_size or self.design.padded.x.shape[1]
        rate, beside = CPU_GUESS if jax.default_backend() == "cpu" else ACCELERATOR_GUESS
        return group.chunk * (6 * num_params(group.config) * size / rate) + beside

    def _progress(self, phase: str) -> Progress:
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
        """Returns how much of the work is done, a group's steps weighed by their seconds."""
        done = total = 0.0
        per = self.design.num_replicates
        steps, finished = (v.reshape(-1, per) for v in (self.steps_done, self.recorder.finished))
        for cost, group in zip(self.step_seconds, self.waves.groups, strict=True):
            members, last = list(group.configurations), group.config.num_steps
            done += cost / group.chunk * float(np.where(finished[members], last, steps[members]).sum())
            total += cost / group.chunk * len(members) * per * last
        return done / total


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of a task says that memory ran out."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
