"""The host loop of a sweep: waves of chunks as tasks over workers.

Rows of one group that are trained together are a *wave*. Its chunks are trained segment by segment; rows
that diverge leave, and the survivors close ranks: freed lanes are refilled, no shape changes, nothing
compiles again, and no row's bits change. Everything but `lanes.run_task` happens here, on one thread.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from regjax.config import Config
from regjax.data import Task
from regjax.design import Design, Pairing, make_design
from regjax.grid import describe
from regjax.lanes import ChunkDone, ChunkTask, Replicates, compile_task, run_task
from regjax.plan import Group, Keep, Plan, last_records, make_plan, num_params, num_records
from regjax.progress import Progress, Report, reporter
from regjax.results import Results
from regjax.selection import higher_is_better, ranking
from regjax.train import TrainState

# Seconds that a task should take: short enough to hear Ctrl-C and to refill lanes, long enough that
# copying states costs nothing.
TASK_SECONDS = 1.0
PROBE_SECONDS = 0.25
# Bytes of state that the open waves may hold on the host.
WAVE_BUDGET = 256 * 2**20
WAVE_CHUNKS = 64


def sweep(
    data: Any,
    config: Config | Mapping[str, Any] | None = None,
    grid: Any = None,
    *,
    seeds: int | Iterable[int] = 1,
    folds: Any = None,
    validation: float | None = None,
    test: Any = None,
    groups: ArrayLike | None = None,
    standardize: bool = False,
    epochs: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    workers: int | None = None,
    pairing: Pairing = "paired",
    keep: Keep | None = None,
    progress: bool | Report = True,
    target: str | None = None,
    task: Task = "auto",
) -> Results:
    """Returns the results of training every configuration of a grid on every seed and fold.

    Args:
        data: a `Data`; a pair (X, y) with X `(n_samples, n_features)`; or a data set's name or path.
        config: what is compiled: a `Config`, or a mapping of its fields with `hidden` in place of
            `layer_sizes`, whose ends are then fitted to the data; None is the mapping without fields. Axes
            of the grid that are fields of Config (hidden, activation, …) replace its values.
        grid: a `Grid`, a mapping of axes as `regjax.grid` takes them, or a list of configurations; None is
            one configuration of defaults.
        seeds: how many, 0 … seeds - 1, or which.
        folds: a number of folds (stratified for classes), a splitter of scikit-learn, or a list of
            (train, validation) index pairs.
        validation: a fraction to hold out once instead.
        test: rows that are measured and never ranked on: a `Data`, a pair, a path, a fraction to split off
            first, "none", or None for the data set's own.
        groups: `(n_samples,)`, rows of one group stay in one fold.
        standardize: subtract the mean and divide by the scale of each fold's training part.
        epochs: instead of config.num_steps; an epoch of a full batch is one step.
        executor: any `concurrent.futures.Executor`; None is a thread per core or per device. Processes must
            be spawned, not forked, and each compiles for itself when its first task comes.
        workers: tasks at a time; None takes what the executor has.
        pairing: "paired": all configurations of a (seed, fold) share weights, batches and draws;
            "independent": each has its own.
        keep: parameters of "all" rows, of the "best" per configuration, or "none"; None lets the plan say.
        progress: whether to show a bar on a terminal, or a function that is called with a `Progress`.
        target: name of the target's column where data is a .csv file; None takes the last one.
        task: "auto", "classification" or "regression", as in `Data.from_arrays`; a `Data` says itself.

    Raises:
        TypeError: an argument of the wrong kind, naming it.
        ValueError: what is out of range or does not fit, naming it; before anything is compiled.
        MemoryError: not even one network at a time fits on the device.

    Example:
        >>> import regjax
        >>> grid = regjax.grid(l2=[0, 0.7], learning_rate=0.3)
        >>> config = regjax.Config(num_steps=500, eval_every=250)
        >>> results = regjax.sweep("two_regions", config, grid, seeds=4, folds=3, progress=False)
        >>> results.summary()["networks"].tolist()
        [12, 12]
        >>> results.compare().units
        'over 3 folds × 4 seeds (t, 2 df)'
    """
    design = make_design(
        data,
        config,
        grid,
        seeds=seeds,
        folds=folds,
        validation=validation,
        test=test,
        groups=groups,
        standardize=standardize,
        epochs=epochs,
        pairing=pairing,
        target=target,
        task=task,
    )
    backend = jax.default_backend()
    found = make_plan(design, workers=_num_workers(executor, workers), keep=keep, backend=backend)
    with reporter(progress) as report:
        return run(design, found, executor=executor, report=report)


def plan(
    data: Any,
    config: Config | Mapping[str, Any] | None = None,
    grid: Any = None,
    *,
    executor: concurrent.futures.Executor | None = None,
    workers: int | None = None,
    keep: Keep | None = None,
    probe: bool = True,
    **options: Any,
) -> Plan:
    """Returns what a sweep will take, before anything is spent: `print` it.

    Args:
        data: as in `sweep`.
        config: as in `sweep`.
        grid: as in `sweep`.
        executor: as in `sweep`.
        workers: as in `sweep`.
        keep: as in `sweep`.
        probe: whether to compile each group and train a chunk of it for a moment, to predict seconds.
        **options: seeds, folds, validation, test, groups, standardize, epochs, pairing, target, task, as in
            `sweep`.

    Raises:
        TypeError: as in `sweep`.
        ValueError: as in `sweep`.

    Example:
        >>> import regjax
        >>> plan = regjax.plan("two_regions", grid={"l2": [0, 1]}, seeds=8, folds=5, probe=False)
        >>> plan.num_rows, plan.compilations
        (80, 1)
    """
    design = make_design(data, config, grid, **options)
    backend = jax.default_backend()
    found = make_plan(design, workers=_num_workers(executor, workers), keep=keep, backend=backend)
    return probed(design, found, executor=executor) if probe else found


def probed(design: Design, plan: Plan, *, executor: concurrent.futures.Executor | None = None) -> Plan:
    """Returns the plan with predicted seconds: each group is compiled, and a chunk trained for a moment."""
    with _workers(executor, plan.num_workers, jax.default_backend()) as submit:
        host = _Host(design, plan, submit, lambda progress: None)
        began = time.perf_counter()
        host.compile()
        compiled = time.perf_counter() - began
        return dataclasses.replace(plan, seconds=host.probe(), compile_seconds=compiled)


def _num_workers(executor: Any, workers: int | None) -> int | None:
    if executor is not None and not isinstance(executor, concurrent.futures.Executor):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {type(executor).__name__}")
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "executor must start its processes with spawn or forkserver, got fork, which JAX does not "
            "survive: ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )
    return getattr(executor, "_max_workers", None) if workers is None else workers


def run(
    design: Design,
    plan: Plan,
    *,
    executor: concurrent.futures.Executor | None = None,
    report: Report = lambda progress: None,
) -> Results:
    """Returns the results of a planned sweep."""
    with _workers(executor, plan.num_workers, jax.default_backend()) as submit:
        return _Host(design, plan, submit, report).run()


@contextlib.contextmanager
def _workers(
    executor: concurrent.futures.Executor | None, num_workers: int, backend: str
) -> Iterator[Callable[..., concurrent.futures.Future[Any]]]:
    if executor is not None:
        yield executor.submit
        return
    pool = concurrent.futures.ThreadPoolExecutor(num_workers, thread_name_prefix="regjax")
    devices = jax.local_devices()
    turn = itertools.cycle(devices)

    def submit(function: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future[Any]:
        if backend == "cpu" or len(devices) == 1:
            return pool.submit(function, *arguments)
        return pool.submit(_on_device, next(turn), function, *arguments)

    try:
        yield submit
    finally:
        # Not waited for: a compiled segment cannot be stopped, and after Ctrl-C nobody wants its result.
        pool.shutdown(wait=False, cancel_futures=True)


def _on_device(device: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    with jax.default_device(device):
        return function(*arguments)


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


class _Host:
    """One sweep in progress."""

    def __init__(self, design: Design, plan: Plan, submit: Callable[..., Any], report: Report) -> None:
        self.design, self.plan, self.submit, self.report = design, plan, submit, report
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

    # -- the loop ---------------------------------------------------------------------------------------

    def run(self) -> Results:
        """Returns the results."""
        began = time.perf_counter()
        self.compile()
        self.started = time.perf_counter()
        flying: dict[concurrent.futures.Future[ChunkDone], tuple[_Chunk, ChunkTask]] = {}
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
            # Ten times a second is as often as anyone looks.
            if time.perf_counter() - self.reported > 0.1:
                self.report(self._progress("train"))
                self.reported = time.perf_counter()
        self.report(self._progress("train"))
        finished = time.perf_counter()
        return Results(
            design=self.design,
            plan=dataclasses.replace(self.plan, groups=tuple(self.groups)),
            records=self.records,
            diverged_at=self.diverged_at,
            last_finite_cost=self.last_finite_cost,
            seconds=self.seconds,
            kept=dict(sorted(self.kept.items())),
            examples=self.examples,
            compile_seconds=self.started - began,
            train_seconds=finished - self.started,
            notes=(*self.plan.notes, *self.notes),
        )

    def compile(self) -> None:
        """Compiles every group's programs, side by side on the workers; for threads only.

        Other processes compile when their first task comes.
        """
        self.report(self._progress("compile"))
        futures = []
        for index, group in enumerate(self.groups):
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
                wave = _Wave(index, loose={0: dict.fromkeys(rows[:size])})  # type: ignore[arg-type]
                self.waves.append(wave)
                self._close_ranks(wave, 0)
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
        else:
            chunk.step, chunk.states = stop, done.states
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
            if name not in self.records:
                self.records[name] = np.full((len(self.seconds), self.num_records), np.nan, self.dtype)
            self.records[name][rows[:, None], places[None, :]] = np.where(finite, values, np.nan).T
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
                if self.examples is None:
                    shape = (len(self.seconds), int(seen.sum()))
                    self.examples = {n: np.full(shape, np.nan, self.dtype) for n in done.examples}
                for name, values in done.examples.items():
                    self.examples[name][row] = values[i, j, : len(seen)][seen]

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
