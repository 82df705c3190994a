"""`sweep`, `plan`, `run` and `load`: a design is trained, planned, or read back from a store.

A user calls `sweep`, `plan` and `load`; the searches of `regjax.sklearn` call `sweep`. `sweep`, the command
line and `engine/replay.py` call `run`, which hands the design to `engine/scheduler.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Unpack

import jax

from regjax.core.caching import keep_programs
from regjax.core.config import Config
from regjax.engine.checkpoints import Checkpoints
from regjax.engine.connecting import within
from regjax.engine.probe import predicted
from regjax.engine.progress import Report, reporter
from regjax.engine.recorder import Recorder
from regjax.engine.scheduler import Scheduler
from regjax.engine.workers import CLUSTER, Executor, num_workers, place, workers_of
from regjax.native.library import find
from regjax.store.store import Store, StoredSweep
from regjax.study.design import Design, part_of
from regjax.study.groups import Kernel
from regjax.study.pilot import check_detect, forecast, pilot_of
from regjax.study.plan import Keep, Plan, make_plan, stored_plan
from regjax.study.questions import NOWHERE, Origin, Questions
from regjax.study.resolve import Options, make_design, takes_options
from regjax.study.results import Results


@takes_options
def sweep(
    data: Any,
    config: Config | Mapping[str, Any] | None = None,
    grid: Any = None,
    *,
    questions: Questions | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    keep: Keep | None = None,
    kernel: Kernel = "auto",
    progress: bool | Report = True,
    store: str | os.PathLike[str] | None = None,
    compilation_cache: bool = True,
    **options: Unpack[Options],
) -> Results:
    """Returns the results of training every configuration of a grid on every seed and fold.

    Args:
        data: a `Data`; a pair (X, y) with X `(n_samples, n_features)` or a frame; a frame of pandas or polars
            that holds its target; or a data set's name or path.
        config: the static settings: a `Config`, or a mapping of its fields with `hidden` in place of
            `layer_sizes`, whose ends are then fitted to the data; None is the mapping without fields. Axes
            of the grid that are fields of Config (hidden, activation, …) replace its values.
        grid: a `Grid`, a mapping of axes as `regjax.grid` takes them, or a list of configurations; None is
            one configuration of defaults.
        seeds: a number of seeds, for 0 … seeds - 1, or a list of them.
        folds: a number of folds (stratified for classes), a splitter of scikit-learn, or a list of
            (train, validation) index pairs.
        repeats: the number of times that a number of folds is drawn, each time from another shuffle; the
            folds of the first are those without repeats. Not with `time`.
        validation: a fraction of the samples to hold out once, instead of folds.
        test: samples that are measured and never ranked on: a `Data`, a pair, a path, a fraction to split off
            first, "none", or None for the data set's own.
        groups: name of a column of a table, or `(n_samples,)` labels; samples of one label stay in one fold.
        time: name of a column of a table, or `(n_samples,)` numbers or dates; folds train on earlier samples
            and validate on later ones.
        weights: name of a column of a table, or `(n_samples,)` numbers >= 0: how much each sample counts.
        standardize: subtract the mean and divide by the scale of each fold's training part. None does so for
            tables and named data sets; arrays, .mat files and `regjax.datasets` are taken as they are.
        standardize_target: do so with real targets, all outputs by one scale. Networks then train on numbers
            near 1, and l2, learning rates and tolerances mean the same in every unit; metrics, costs and
            predictions are reported in the targets' own unit. None does so where inputs are standardised.
        epochs: a number of epochs, instead of config.num_steps; an epoch of a full batch is one step.
        executor: where networks are trained. None is a thread per core, or two per accelerator. Dask:
            "dask://HOST:PORT", "dask://local:4" for so many processes of this machine, "dask://FILE" for a
            scheduler file, or a `distributed.Client`; "?mixed" behind an address lets workers differ in
            processor, device and versions, on which the last bits depend. Or any
            `concurrent.futures.Executor`, whose processes must be spawned, not forked. Each process compiles
            for itself when its first task comes.
        workers: the number of tasks at a time; None takes the executor's number of workers.
        pairing: "paired": all configurations of a (seed, fold) share weights, batches and draws;
            "independent": each has its own.
        stopping: the fraction of each training part that early stopping watches, and that a configuration
            with patience does not train on; or a list with the indices of these samples for each fold.
        fold_inputs: X as each fold sees it, `(n_samples, n_features)` each, where every fold has its own (a
            preprocessing that was fitted on its training part); that of `data` is then not read.
        keep: the parameters to keep: of "all" rows, of the "best" per configuration, or "none"; None lets the
            plan decide.
        kernel: what trains the networks: "xla", programs that JAX compiles; "native", the kernel in C++ for
            CPUs, which the system's compiler builds on first use, and "xla" for what it does not know;
            "auto", "native" where it is built already or training is predicted to take a minute or more.
            Results agree to rounding, and the provenance of each network says which it was.
        progress: whether to show a bar on a terminal, or a function that is called with a `Progress`.
        target: name of the target's column in a table; None takes the last one.
        task: "auto", "classification" or "regression"; "auto" takes text, booleans and few different whole
            numbers for classes, whatever their dtype. Not read for a `Data`.
        columns: name of a column of a table -> "numeric", "category", "date" or "drop", in place of what is
            found.
        separator: what parts the values of a text file: one character, or "tab", "space"; None finds it.
        decimal: "." or ",", the sign before the decimals in a text file; None finds it.
        header: whether the first line of a text file holds names; None finds it.
        gaps: words that stand for a gap in a table, besides empty cells, NA and the like.
        questions: what will be asked of the results; checked before anything is compiled. A store keeps them
            for `regjax resume` and `regjax report`: those of the first time that this sweep is begun in it,
            and no later ones. None asks nothing beforehand.
        store: path of an SQLite file that keeps every finished network. Those that it holds are not trained
            again; they come without parameters if they were stored without. None keeps results in memory
            alone.
        compilation_cache: whether JAX keeps compiled programs for the next process, in the user's folder of
            caches, from now on; where a folder is set already (`jax_compilation_cache_dir`) that is used.

    Raises:
        TypeError: an argument of the wrong kind, naming it.
        ValueError: an argument that is out of range or does not fit the others, naming it; before anything is
            compiled.
        MemoryError: not even one network at a time fits on the device.
        OSError: the store cannot be written; what was committed is kept.

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
    if compilation_cache:
        keep_programs()
    design = make_design(data, config, grid, **options)
    origin = Origin(os.fspath(data) if isinstance(data, str | os.PathLike) else None)
    with within(executor) as executor:
        found = _planned(design, questions, executor, workers, keep, kernel)
        parts = {"plan": found, "questions": questions, "origin": origin, "executor": executor}
        with reporter(progress) as report, opened(store) as kept:
            return run(design, kept, report=report, partial=True, **parts)


@takes_options
def plan(
    data: Any,
    config: Config | Mapping[str, Any] | None = None,
    grid: Any = None,
    *,
    questions: Questions | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    keep: Keep | None = None,
    kernel: Kernel = "auto",
    probe: bool = True,
    detect: float | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Returns the plan of a sweep: its networks, memory and predicted seconds; `print` it.

    Args:
        data: as in `sweep`.
        config: as in `sweep`.
        grid: as in `sweep`.
        executor: as in `sweep`.
        workers: as in `sweep`.
        keep: as in `sweep`.
        kernel: as in `sweep`.
        questions: as in `sweep`.
        probe: whether to compile each group and train a chunk of it for a moment, to predict seconds.
        detect: a true difference of the metric. A pilot, a small part of the sweep, is then trained, and
            `Plan.forecast` says how likely the sweep is to show this difference, and what would show it.
        **options: seeds, folds, validation, test, groups, time, weights, standardize, standardize_target,
            epochs, pairing, stopping, fold_inputs, target, task, columns, separator, decimal, header, gaps,
            as in `sweep`.

    Raises:
        TypeError: as in `sweep`.
        ValueError: as in `sweep`, and a difference that no pilot of this design can speak of.

    Example:
        >>> import regjax
        >>> plan = regjax.plan("two_regions", grid={"l2": [0, 1]}, seeds=8, folds=5, probe=False)
        >>> plan.num_rows, plan.compilations
        (80, 1)
    """
    design = make_design(data, config, grid, **options)
    if detect is not None:  # what is wrong with it is said before anything is compiled
        detect = check_detect(detect, design, questions)
    with within(executor) as executor:
        found = _planned(design, questions, executor, workers, keep, kernel)
        if probe:
            found = probed(design, found, executor=executor)
        if detect is None:
            return found
        part = pilot_of(design, questions)
        small = _planned(part, questions, executor, workers, "none", kernel)
        results = run(part, plan=small, questions=questions, executor=executor)
    return dataclasses.replace(found, forecast=forecast(results, design, detect, questions))


def _planned(
    design: Design,
    questions: Questions | None,
    executor: Executor | None,
    workers: int | None,
    keep: Keep | None,
    kernel: Kernel = "auto",
) -> Plan:
    workers = num_workers(executor, workers)
    return make_plan(design, questions, workers=workers, keep=keep, kernel=kernel, **place())


def _built(design: Design, plan: Plan) -> Plan:
    """Returns a plan whose native kernel is built; one for XLA, with a note, where it cannot be."""
    dtypes = {group.config.dtype for group in plan.groups if group.kernel == "native"}
    why = next((found.why for found in map(find, sorted(dtypes)) if found.library is None), None)
    if dtypes and (cluster := CLUSTER.get()) is not None and cluster.kind["kernel"] == "none":
        why = "the workers of the cluster have no compiler"
    if why is None:
        return plan
    by_xla = make_plan(design, workers=plan.num_workers, keep=plan.keep, kernel="xla")
    note = f"trained by programs of XLA, since the native kernel cannot be built or loaded: {why}"
    return dataclasses.replace(by_xla, notes=(*plan.notes, note))


def probed(design: Design, plan: Plan, *, executor: Executor | None = None) -> Plan:
    """Returns the plan with predicted seconds: each group is compiled, and a chunk trained for a moment.

    For a cluster that is done here, as if its workers were as fast as the cores of this machine.
    """
    plan = _built(design, plan)
    with workers_of(executor, plan.num_workers, here=True) as workers:
        scheduler = Scheduler(design, plan, workers, lambda progress: None)
        began = time.perf_counter()
        scheduler.compile()
        scheduler.programs.wait()
        compiled = time.perf_counter() - began
        return dataclasses.replace(plan, seconds=predicted(scheduler), compile_seconds=compiled)


def run(
    design: Design,
    store: Store | None = None,
    *,
    plan: Plan | None = None,
    rows: Sequence[int] | None = None,
    questions: Questions | None = None,
    origin: Origin = NOWHERE,
    executor: Executor | None = None,
    report: Report = lambda progress: None,
    partial: bool = False,
) -> Results:
    """Returns the results of a design: the only function that trains one.

    Args:
        design: what is asked for.
        store: keeps finished networks; those that it holds already are not trained again.
        plan: groups, chunk shapes and workers; None plans them here. A sweep that the store knows keeps the
            chunk shapes of its first plan.
        rows: the rows to train; None takes all.
        questions: what will be asked of the results; stored with a new sweep for `regjax resume` and
            `regjax report`.
        origin: where the sweep comes from; stored with a new sweep.
        executor: as in `sweep`.
        report: called with a `Progress`, about ten times a second.
        partial: as in `Scheduler.run`.

    Raises:
        ValueError: a question that no results of this design can answer; before anything is compiled.
        MemoryError: not even one network at a time fits on the device.
        OSError: the store cannot be written; what was committed is kept.
        StoreError: the store is damaged where this sweep reads it.
    """
    parts = {"plan": plan, "questions": questions, "origin": origin, "executor": executor, "report": report}
    with scheduled(design, store, rows=rows, **parts) as scheduler:
        return scheduler.run(partial=partial)


@contextlib.contextmanager
def scheduled(
    design: Design,
    store: Store | None = None,
    *,
    plan: Plan | None = None,
    rows: Sequence[int] | None = None,
    questions: Questions | None = None,
    origin: Origin = NOWHERE,
    executor: Executor | None = None,
    report: Report = lambda progress: None,
) -> Iterator[Scheduler]:
    """Yields the scheduler of a design, which has trained nothing yet; arguments and errors as in `run`."""
    if plan is None:
        plan = _planned(design, questions, executor, None, None)
    elif questions is not None:  # a plan that is handed in may have been made without them
        questions.check(design)
    plan = _built(design, plan)
    checkpoints = None
    if store is not None:
        checkpoints, plan = Checkpoints.begin(store, design, plan, questions or Questions(), origin)
    with workers_of(executor, plan.num_workers) as workers:
        yield Scheduler(design, plan, workers, report, checkpoints, rows)


class NotFinished(ValueError):
    """A sweep, or every configuration of it, still lacks networks."""


def load(path: str | os.PathLike[str], sweep: int | str = -1, *, unfinished: bool = False) -> Results:
    """Returns the results of a finished sweep from a store; nothing is trained.

    Args:
        path: path of the store.
        sweep: the sweep's number, or counted from the end: -1 or "last" is the sweep that was begun last.
        unfinished: whether to take the finished configurations of a sweep that is not finished.

    Raises:
        OSError: the file cannot be read.
        StoreError: the file is no store, or is damaged.
        NotFinished: a ValueError: the sweep, or with `unfinished` every configuration of it, is not finished.
        ValueError: the store has no such sweep.

    Example:
        >>> import regjax, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False,
        ...     store=f"{folder.name}/runs.sqlite",
        ... )
        >>> regjax.load(f"{folder.name}/runs.sqlite")
        <regjax.Results: 2 configurations × 1 seeds × 2 folds, 0 diverged>
        >>> folder.cleanup()
    """
    with Store(path, create=False) as store:
        number = store.sweep_number(sweep)
        stored = store.design_of(number)
        design, plan, rows = _whole_part(number, stored, store.finished(stored.rows), unfinished)
        recorder = Recorder(design, plan.keep)
        # Row by row: all of them at once would take several times the memory of the results.
        for identity, row in store.read(list(rows)):
            recorder.recall(rows[identity], row)
    return recorder.results(plan, 0.0, 0.0, plan.notes)


def _whole_part(
    number: int, stored: StoredSweep, found: Collection[str], unfinished: bool
) -> tuple[Design, Plan, dict[str, int]]:
    """Returns design and plan of the finished configurations of a sweep, and identity -> row of that design.

    Args:
        number: number of the sweep.
        stored: the sweep as it was begun.
        found: identities of its finished rows.
        unfinished: as in `load`.

    Raises:
        NotFinished: as in `load`.
    """
    design = stored.design
    if len(found) < len(stored.rows) and not unfinished:
        # Of a search resuming trains no more: its candidates drop out on the way.
        more = "`regjax resume` goes on with it"
        if stored.origin.search:
            more = "it is part of a search, whose networks drop out or belong to one fold alone"
        raise NotFinished(
            f"sweep must be finished, and {number} has {len(found)} of {len(stored.rows)} networks; {more}"
        )
    per = design.num_replicates
    rows_of = [stored.rows[start : start + per] for start in range(0, len(stored.rows), per)]
    # Results hold every replicate of a configuration, so one that lacks a row is left out.
    whole = [index for index, rows in enumerate(rows_of) if all(row in found for row in rows)]
    if not whole:
        raise NotFinished(f"sweep must have a finished configuration, and {number} has none yet")
    plan = stored_plan(design, stored.shapes, stored.keep, backend=jax.default_backend())
    if len(whole) < len(design.configurations):
        design, plan = part_of(design, whole), plan.part(whole)
    rows = itertools.chain.from_iterable(rows_of[index] for index in whole)
    return design, plan, {identity: row for row, identity in enumerate(rows)}


@contextlib.contextmanager
def opened(path: str | os.PathLike[str] | None, *, create: bool = True) -> Iterator[Store | None]:
    """Yields an open store, or None where there is no path."""
    if path is None:
        yield None
        return
    with Store(path, create=create) as store:
        yield store
