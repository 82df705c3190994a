"""The host loop of a sweep: waves of chunks as tasks over workers.

Rows of one group that are trained together are a *wave*. Its chunks are trained segment by segment; rows
that diverge leave, and the survivors close ranks: freed lanes are refilled, no shape changes, nothing
compiles again, and no row's bits change. Everything but `lanes.run_task` happens here, on one thread.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from regjax.design import Design
from regjax.grid import describe
from regjax.identity import identities, provenance
from regjax.lanes import ChunkDone, ChunkTask, Replicates, compile_task, run_task
from regjax.plan import Group, Plan, last_records, num_params, num_records
from regjax.progress import Progress, Report
from regjax.results import Results
from regjax.selection import higher_is_better, ranking
from regjax.store import Checkpoint, Store, as_params, as_state, leaves
from regjax.store import Row as StoredRow
from regjax.train import TrainState

# Seconds that a task should take: short enough to hear Ctrl-C and to refill lanes, long enough that
# copying states costs nothing.
TASK_SECONDS = 1.0
PROBE_SECONDS = 0.25
# Seconds of a row's training that may be lost, less those of a task.
CHECKPOINT_SECONDS = 30.0
# As often as anyone looks.
REPORT_SECONDS = 0.1
# Bytes of state that the open waves may hold on the host.
WAVE_BUDGET = 256 * 2**20
WAVE_CHUNKS = 64


class Keeper(NamedTuple):
    """A store and a sweep in it.

    Attributes:
        store: open.
        sweep: its number.
        rows: identity of each row.
    """

    store: Store
    sweep: int
    rows: list[str]

    @classmethod
    def begin(cls, store: Store, design: Design, plan: Plan, source: str | None) -> tuple[Keeper, Plan]:
        """Returns the keeper of a sweep that is begun, or gone on with, and the plan that holds for it."""
        rows = identities(design)
        sweep, plan = store.begin(design, plan, rows, source)
        return cls(store, sweep, rows), plan


@dataclasses.dataclass(eq=False)
class _Chunk:
    """Rows that are trained together: up to R slots of up to r rows each.

    `states` has leaves `(R, r, …)`; None before the first step.
    """

    wave: _Wave
    slots: list[list[int]]
    step: int
    states: TrainState | None

    def lanes(self, group: Group) -> np.ndarray:
        """Returns which row each lane holds, `(R, r)`: spare lanes repeat a row of their slot."""
        slots = [(slot * group.lanes)[: group.lanes] for slot in self.slots]
        return np.array((slots * group.slots)[: group.slots])


@dataclasses.dataclass(eq=False)
class _Wave:
    """Rows of one group that close ranks with each other.

    Attributes:
        group: index of the group.
        ready: chunks that wait for a worker.
        loose: step -> rows that wait for others, with their states.
        busy: steps at which chunks of this wave are being trained.
        stops: step -> where all chunks of the wave go from there, and what is measured.
    """

    group: int
    ready: collections.deque[_Chunk] = dataclasses.field(default_factory=collections.deque)
    loose: dict[int, dict[int, TrainState]] = dataclasses.field(default_factory=dict)
    busy: list[int] = dataclasses.field(default_factory=list)
    stops: dict[int, tuple[tuple[int, ...], tuple[bool, ...]]] = dataclasses.field(default_factory=dict)


class Host:
    """One sweep in progress."""

    def __init__(
        self,
        design: Design,
        plan: Plan,
        submit: Callable[..., Any],
        report: Report,
        keeper: Keeper | None = None,
    ) -> None:
        self.design, self.plan, self.submit, self.report = design, plan, submit, report
        self.keeper = keeper
        self.groups = list(plan.groups)
        rows, dtype = design.num_rows, design.configs[0].dtype
        self.num_records = max(num_records(config) for config in design.configs)
        self.records: dict[str, np.ndarray] = {}
        self.dtype = dtype
        self.diverged_at = np.full(rows, -1)
        self.last_finite_cost = np.full(rows, np.nan)
        self.seconds = np.zeros(rows)
        self.finished = np.zeros(rows, bool)
        self.kept: dict[int, Any] = {}
        self.best_kept: dict[int, tuple[float, int]] = {}
        self.examples: dict[str, np.ndarray] | None = None
        self.notes: list[str] = []
        self.waves: list[_Wave] = []
        self.unopened = [self._rows_of(group) for group in self.groups]
        # Seconds of a chunk's step: a guess until the first task is back.
        self.step_seconds = [self._guess(group) for group in self.groups]
        self.row_steps = [0] * len(self.groups)  # done, or not needed any more
        self.started = self.reported = time.perf_counter()
        # Row -> where it stood when it was committed last, and when that was.
        self.begun: dict[int, tuple[int, TrainState]] = {}
        self.saved_at = np.full(rows, self.started)
        if keeper is not None:
            self._recall(keeper)

    # -- the loop ---------------------------------------------------------------------------------------

    def run(self) -> Results:
        """Returns the results."""
        began = time.perf_counter()
        self.compile()
        self.started = time.perf_counter()
        self.saved_at[:] = self.started
        flying: dict[concurrent.futures.Future[ChunkDone], tuple[_Chunk, ChunkTask]] = {}
        try:
            self._loop(flying)
        except KeyboardInterrupt:
            self._save_all(flying)
            raise
        if self.keeper is not None:
            self.keeper.store.end(self.keeper.sweep)
        self.report(self._progress("train"))
        return self.results(self.started - began, time.perf_counter() - self.started)

    def results(self, compile_seconds: float, train_seconds: float) -> Results:
        """Returns what was found, all rows being finished."""
        return Results(
            design=self.design,
            plan=dataclasses.replace(self.plan, groups=tuple(self.groups)),
            records=self.records,
            diverged_at=self.diverged_at,
            last_finite_cost=self.last_finite_cost,
            seconds=self.seconds,
            kept=dict(sorted(self.kept.items())),
            examples=self.examples,
            compile_seconds=compile_seconds,
            train_seconds=train_seconds,
            notes=(*self.plan.notes, *self.notes),
        )

    def _loop(self, flying: dict[concurrent.futures.Future[ChunkDone], tuple[_Chunk, ChunkTask]]) -> None:
        """Trains all that is not finished; `flying` holds the tasks that are with the workers."""
        while True:
            # One task more than workers, so that none waits for this thread.
            while len(flying) <= self.plan.num_workers and (chunk := self._next()) is not None:
                task = self._task(chunk)
                chunk.wave.busy.append(chunk.step)
                flying[self.submit(run_task, task)] = chunk, task
            if not flying:
                break
            for future in concurrent.futures.wait(
                flying, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
            ).done:
                chunk, task = flying.pop(future)
                chunk.wave.busy.remove(chunk.step)
                try:
                    done = future.result()
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    self._halve(chunk, task, error)
                else:
                    self._take(chunk, task, done)
            if time.perf_counter() - self.reported > REPORT_SECONDS:
                self.report(self._progress("train"))
                self.reported = time.perf_counter()

    def compile(self) -> None:
        """Compiles every group's programs, side by side on the workers; for threads only.

        Other processes compile when their first task comes.
        """
        self.report(self._progress("compile"))
        futures = []
        for index, group in enumerate(self.groups):
            if not self.unopened[index]:
                continue  # all of it is in the store
            chunk = _Chunk(_Wave(index), [self.unopened[index][: group.lanes]], 0, None)
            futures.append(self.submit(compile_task, self._task(chunk)))
        for future in futures:
            try:
                future.result()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise  # out of memory: the first task says so again, and its chunk is halved

    def probe(self) -> float:
        """Returns predicted seconds: every worker trains a chunk of each group for a moment."""
        total = 0.0
        for index, group in enumerate(self.groups):
            rows = self.unopened[index]
            if not rows:
                continue
            task = self._task(_Chunk(_Wave(index), [rows[: group.lanes]] * group.slots, 0, None))
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

    # -- rows into chunks -------------------------------------------------------------------------------

    def _rows_of(self, group: Group) -> list[int]:
        """Returns the rows of a group, replicate by replicate."""
        design = self.design
        return [
            design.index(configuration, seed, fold)
            for seed in range(len(design.seeds))
            for fold in range(design.num_folds)
            for configuration in group.configurations
        ]

    def _next(self) -> _Chunk | None:
        """Returns the next chunk: of the oldest open wave, least trained first; else of a new wave."""
        for wave in self.waves:
            if wave.ready:
                return wave.ready.popleft()
        for index, rows in enumerate(self.unopened):
            if rows:
                size = self._wave_chunks(index) * self.groups[index].chunk
                self.unopened[index] = rows[size:]
                wave = _Wave(index)
                for row in rows[:size]:
                    step, state = self.begun.pop(row, (0, None))
                    wave.loose.setdefault(step, {})[row] = state  # type: ignore[assignment]
                self.waves.append(wave)
                for step in sorted(wave.loose):
                    self._close_ranks(wave, step)
                return wave.ready.popleft()
        return None

    def _wave_chunks(self, index: int) -> int:
        group = self.groups[index]
        state = group.chunk * num_params(group.config) * np.dtype(self.dtype).itemsize * 3
        return int(np.clip(WAVE_BUDGET // state, 2 * self.plan.num_workers, WAVE_CHUNKS))

    def _close_ranks(self, wave: _Wave, step: int) -> None:
        """Makes chunks of the loose rows of a step: full ones, and when no more can come, the rest."""
        loose = wave.loose.get(step)
        if not loose:
            return
        group = self.groups[wave.group]
        last = not any(busy < step for busy in wave.busy) and not any(c.step < step for c in wave.ready)
        slots: list[list[int]] = []
        for rows in self._by_replicate(group, loose):
            slots += [rows[i : i + group.lanes] for i in range(0, len(rows), group.lanes)]
        full = [slot for slot in slots if len(slot) == group.lanes]
        if last:
            full += [slot for slot in slots if len(slot) < group.lanes]
        for i in range(0, len(full), group.slots):
            chosen = full[i : i + group.slots]
            if len(chosen) == group.slots or last:
                chunk = _Chunk(wave, chosen, step, None)
                if step > 0:
                    lanes = chunk.lanes(group)
                    chunk.states = _stack([loose[row] for row in lanes.ravel()], lanes.shape)
                for slot in chosen:
                    for row in slot:
                        del loose[row]
                wave.ready.append(chunk)

    def _by_replicate(self, group: Group, rows: Iterable[int]) -> list[list[int]]:
        """Returns rows that may share a slot."""
        if not group.shared:
            return [sorted(rows, key=lambda row: (row % self.design.num_replicates, row))]
        found: dict[int, list[int]] = {}
        for row in sorted(rows):
            found.setdefault(row % self.design.num_replicates, []).append(row)
        return [found[replicate] for replicate in sorted(found)]

    # -- tasks ------------------------------------------------------------------------------------------

    def _task(self, chunk: _Chunk) -> ChunkTask:
        group = self.groups[chunk.wave.group]
        lanes = chunk.lanes(group)
        if chunk.step not in chunk.wave.stops:
            chunk.wave.stops[chunk.step] = self._stops(chunk.wave.group, chunk.step)
        stops, measured = chunk.wave.stops[chunk.step]
        hparams = [self.design.hparams[self.design.row(row).configuration] for row in lanes.ravel()]
        return ChunkTask(
            config=group.config.program(),
            shared=group.shared,
            replicates=self._replicates(lanes[:, 0] if group.shared else lanes),
            hparams=_stack(hparams, lanes.shape),
            states=chunk.states,
            start=chunk.step,
            stops=stops,
            measured=measured,
            num_batches=group.num_batches,
            want_examples=self.design.splits.kind == "validation" and stops[-1] == group.config.num_steps,
        )

    def _stops(self, index: int, start: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Returns where a task from `start` stops: at every record, for about `TASK_SECONDS`."""
        config = self.groups[index].config
        steps = max(1, int(TASK_SECONDS / self.step_seconds[index]))
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
        stack = functools.partial(_stack, shape=rows.shape)
        weights = [design.weights(place.fold) for place in places]
        if design.standardize and design.num_folds > 1:
            inputs = [design.inputs(place.fold) for place in places]
            x = stack([x for x, _ in inputs])
            test_x = None if design.test is None else stack([t for _, t in inputs if t is not None])
        else:
            x, test_x = design.inputs(0)
        test = design.padded_test
        return Replicates(
            key=stack([design.key(place) for place in places]),
            x=x,
            y=design.padded.y,
            train=stack([train for train, _ in weights]),
            val=None if design.splits.kind == "none" else stack([v for _, v in weights if v is not None]),
            test_x=test_x,
            test_y=None if test is None else test.y,
            test=None if test is None else test.weights,
        )

    # -- what comes back --------------------------------------------------------------------------------

    def _take(self, chunk: _Chunk, task: ChunkTask, done: ChunkDone) -> None:
        """Stores a chunk's records; what is alive goes on, what is at its end is kept."""
        wave, stop = chunk.wave, task.stops[-1]
        group = self.groups[wave.group]
        places = [(i, j, row) for i, slot in enumerate(chunk.slots) for j, row in enumerate(slot)]
        i, j, rows = (np.array(part) for part in zip(*places, strict=True))
        if done.records:
            self._record(chunk, task, {name: values[:, i, j] for name, values in done.records.items()}, rows)
        self.seconds[rows] += done.seconds / len(rows)
        step_seconds = done.seconds / (stop - chunk.step)
        self.step_seconds[wave.group] += 0.5 * (step_seconds - self.step_seconds[wave.group])
        alive = self.diverged_at[rows] < 0
        left = group.config.num_steps - stop
        self.row_steps[wave.group] += len(rows) * (stop - chunk.step) + int((~alive).sum()) * left
        self.finished[rows[~alive]] = True
        if stop == group.config.num_steps:
            self._finish(task, done, [place for place, ok in zip(places, alive, strict=True) if ok])
            self._commit(group, rows, places, done)
        else:
            chunk.step, chunk.states = stop, done.states
            self._commit(group, rows, places, done, step=stop)
            same_shape = np.shape(task.hparams.learning_rate) == (group.slots, group.lanes)
            if alive.all() and same_shape:
                wave.ready.append(chunk)
            else:
                self._loosen(chunk)
        for step in sorted(wave.loose):
            self._close_ranks(wave, step)
        if not wave.ready and not wave.busy and not any(wave.loose.values()):
            self.waves.remove(wave)

    def _record(self, chunk: _Chunk, task: ChunkTask, found: dict[str, np.ndarray], rows: np.ndarray) -> None:
        """Stores records, `(records, rows)` each, and who diverged."""
        config = self.groups[chunk.wave.group].config
        stops = [stop for stop, measured in zip(task.stops, task.measured, strict=True) if measured]
        steps = np.array(([0] if task.states is None else []) + stops)
        places = -(-steps // config.eval_every)  # the last record may come early
        finite = np.logical_and.accumulate(found.pop("finite"), axis=0)
        for name, values in found.items():
            self._records_of(name)[rows[:, None], places[None, :]] = np.where(finite, values, np.nan).T
        for column in np.flatnonzero(~finite[-1]):
            row, first = rows[column], int(np.argmin(finite[:, column]))
            self.diverged_at[row] = steps[first]
            before = self.records["train_cost"][row, : places[first]]
            self.last_finite_cost[row] = before[-1] if len(before) else np.nan

    def _finish(self, task: ChunkTask, done: ChunkDone, places: list[tuple[int, int, int]]) -> None:
        """Keeps what is asked for of rows that have reached their last step."""
        for i, j, row in places:
            self.finished[row] = True
            if self._wants(row):
                self.kept[row] = jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j].copy(), done.states.params)
            if done.examples is not None:
                seen = self.design.splits.val[0] > 0
                of_row = {name: values[i, j, : len(seen)][seen] for name, values in done.examples.items()}
                self._keep_examples(row, of_row)

    def _records_of(self, name: str) -> np.ndarray:
        if name not in self.records:
            self.records[name] = np.full((len(self.seconds), self.num_records), np.nan, self.dtype)
        return self.records[name]

    def _keep_examples(self, row: int, found: dict[str, np.ndarray]) -> None:
        if self.examples is None:
            self.examples = {
                name: np.full((len(self.seconds), len(values)), np.nan, self.dtype)
                for name, values in found.items()
            }
        for name, values in found.items():
            self.examples[name][row] = values

    def _wants(self, row: int) -> bool:
        """Returns whether a finished row's parameters are kept; lets go of those that it replaces."""
        if self.plan.keep != "best":
            return self.plan.keep == "all"
        metric = self._shown_metric()
        configuration = self.design.row(row).configuration
        last = num_records(self.design.configs[configuration]) - 1
        score = float(self.records[metric][row, last])
        score = score if higher_is_better(metric) else -score
        # The lowest row of the best score, whatever order they finish in.
        rank = (score if not np.isnan(score) else -np.inf, -row)
        old = self.best_kept.get(configuration)
        if old is not None and old >= rank:
            return False
        if old is not None:
            del self.kept[-old[1]]
        self.best_kept[configuration] = rank
        return True

    def _shown_metric(self) -> str:
        return "train_loss" if self.design.splits.kind == "none" else self.design.metric

    def _halve(self, chunk: _Chunk, task: ChunkTask, error: Exception) -> None:
        """Takes a chunk apart that did not fit into memory; its group's rows go on in chunks of half."""
        index = chunk.wave.group
        group = self.groups[index]
        if np.shape(task.hparams.learning_rate) == (group.slots, group.lanes):  # else it was halved meanwhile
            if group.chunk == 1:
                raise MemoryError(f"one network must fit into memory, and does not: {error}") from error
            halved = {"slots": group.slots // 2} if group.slots > 1 else {"lanes": group.lanes // 2}
            self.groups[index] = group._replace(**halved)
            if self.keeper is not None:
                halved_plan = dataclasses.replace(self.plan, groups=tuple(self.groups))
                self.keeper.store.halved(self.keeper.sweep, halved_plan)
            self.notes.append(
                f"out of memory: chunks of {group.chunk} networks were halved to {self.groups[index].chunk}"
            )
        chunk.wave.ready.append(chunk)
        for wave in self.waves:
            if wave.group == index:
                while wave.ready:
                    self._loosen(wave.ready.popleft())
                for step in sorted(wave.loose):
                    self._close_ranks(wave, step)

    def _loosen(self, chunk: _Chunk) -> None:
        """Gives a chunk's rows that are alive back to its wave, with their states."""
        loose = chunk.wave.loose.setdefault(chunk.step, {})
        for i, slot in enumerate(chunk.slots):
            for j, row in enumerate(slot):
                if self.diverged_at[row] < 0:
                    loose[row] = jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], chunk.states)

    # -- the store --------------------------------------------------------------------------------------

    def _recall(self, keeper: Keeper) -> None:
        """Takes from the store what is finished, and where the others stood."""
        index = {identity: row for row, identity in enumerate(keeper.rows)}
        group_of = {row: number for number, rows in enumerate(self.unopened) for row in rows}
        for identity, found in keeper.store.read(keeper.rows).items():
            row = index[identity]
            for name, values in found.records.items():
                self._records_of(name)[row, : len(values)] = values
            self.diverged_at[row], self.last_finite_cost[row] = found.diverged_at, found.last_finite_cost
            self.seconds[row], self.finished[row] = found.seconds, True
            if found.params is not None and self._wants(row):
                self.kept[row] = as_params(found.params)
            if found.examples is not None:
                self._keep_examples(row, found.examples)
            self.row_steps[group_of[row]] += self.groups[group_of[row]].config.num_steps
        left = [identity for identity in keeper.rows if not self.finished[index[identity]]]
        for identity, point in keeper.store.checkpoints(left).items():
            row = index[identity]
            group = self.groups[group_of[row]]
            # In chunks of another size it would end with other last bits than without the interruption.
            if point.chunk == group.chunk and 0 < point.step < group.config.num_steps:
                hparams = self.design.hparams[self.design.row(row).configuration]
                self.begun[row] = point.step, as_state(point.state, group.config, hparams)
                for name, values in point.records.items():
                    self._records_of(name)[row, : len(values)] = values
                self.seconds[row] = point.seconds
                self.row_steps[group_of[row]] += point.step
        self.unopened = [[row for row in rows if not self.finished[row]] for rows in self.unopened]

    def _commit(
        self,
        group: Group,
        rows: np.ndarray,
        places: list[tuple[int, int, int]],
        done: ChunkDone,
        step: int | None = None,
    ) -> None:
        """Commits the rows of a task that are finished; and where the others stand, if that is long ago."""
        if self.keeper is None:
            return
        now = time.perf_counter()
        due = step is not None and now - self.saved_at[rows].min() > CHECKPOINT_SECONDS
        finished, begun = {}, {}
        for i, j, row in places:
            records = {name: v[row, : num_records(group.config)] for name, v in self.records.items()}
            if self.finished[row]:
                examples = self.examples
                finished[row] = StoredRow(
                    records=records,
                    diverged_at=int(self.diverged_at[row]),
                    last_finite_cost=float(self.last_finite_cost[row]),
                    seconds=float(self.seconds[row]),
                    params=leaves(self.kept[row]) if row in self.kept else None,
                    examples=None if examples is None else {n: v[row] for n, v in examples.items()},
                    provenance=provenance(group.chunk),
                )
            elif due and step is not None:
                state = leaves(jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], done.states))
                begun[row] = Checkpoint(step, state, records, float(self.seconds[row]), group.chunk)
                self.saved_at[row] = now
        if finished or begun:
            self.keeper.store.write(self.design, finished, begun, self.keeper.rows)

    def _save_all(self, flying: dict[concurrent.futures.Future[ChunkDone], tuple[_Chunk, ChunkTask]]) -> None:
        """Waits for the tasks that are with the workers and commits what they bring, all of it."""
        if self.keeper is None:
            return
        self.saved_at[:] = -np.inf
        for future, (chunk, task) in flying.items():
            if not future.cancel():
                chunk.wave.busy.remove(chunk.step)
                self._take(chunk, task, future.result())

    # -- progress ---------------------------------------------------------------------------------------

    def _guess(self, group: Group) -> float:
        """Returns seconds of a chunk's step at 10 GFLOP/s."""
        size = group.config.batch_size or self.design.padded.x.shape[1]
        return group.chunk * (6 * num_params(group.config) * size / 1e10) + 2e-6

    def _progress(self, phase: str) -> Progress:
        done = total = 0.0
        for cost, group, steps in zip(self.step_seconds, self.groups, self.row_steps, strict=True):
            rows = len(group.configurations) * self.design.num_replicates
            done += cost / group.chunk * steps
            total += cost / group.chunk * rows * group.config.num_steps
        fraction = done / total
        elapsed = time.perf_counter() - self.started
        return Progress(
            phase=phase,
            num_rows=len(self.finished),
            done=int(self.finished.sum()),
            diverged=int((self.diverged_at >= 0).sum()),
            fraction=fraction,
            best=self._best_so_far(),
            seconds_left=elapsed * (1 - fraction) / fraction if fraction > 0.02 else None,
        )

    def _best_so_far(self) -> str:
        metric = self._shown_metric()
        if metric not in self.records or not self.finished.any():
            return ""
        last = last_records(self.design)
        per = self.design.num_replicates
        finished, sound = self.finished.reshape(-1, per), (self.diverged_at < 0).reshape(-1, per)
        begun = finished.any(axis=1) & sound.all(axis=1)
        # Over replicates that all of them have finished: another seed or fold may simply be easier.
        common = finished[begun].all(axis=0)
        if not begun.any() or not common.any():
            return ""
        values = self.records[metric][np.arange(len(last)), last].reshape(-1, per)
        means = np.where(begun, values[:, common].mean(axis=1), np.nan)
        index = int(ranking(means, higher_is_better(metric))[0])
        if np.isnan(means[index]):
            return ""
        names = list(self.design.axes) or self.design.names
        return f"{describe(self.design.configurations[index], names, 4)}: {metric} {means[index]:.4f}"


def _stack(trees: list[Any], shape: tuple[int, ...]) -> Any:
    """Returns arrays, or pytrees of them, as one with the leading axes `shape`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*shape, *leaves[0].shape), *trees)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of a task says that memory ran out."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
