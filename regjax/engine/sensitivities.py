"""Trains the networks of a sweep once more, with the derivatives of their validation loss in hyperparameters.

In forward mode, as `research/hypergradients.py` does for one network: each lane of a chunk carries
derivatives beside its state. Programs of XLA train them, whatever trained the sweep.
"""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.evaluate import evaluate
from regjax.core.hparams import HYPERPARAMETERS, OFF_VALUES, HParams
from regjax.core.metrics import POWERS
from regjax.core.random import as_key
from regjax.core.settings import own_settings
from regjax.core.train import Course, TrainState, run_segment
from regjax.engine.inputs import Inputs
from regjax.engine.lanes import ChunkTask, init_lanes, padded
from regjax.engine.packing import Chunk, Waves
from regjax.engine.progress import Progress, Report, reporter
from regjax.engine.replicates import Replicates, over_lanes
from regjax.engine.tasks import ends_from, task_of
from regjax.research.hypergradients import (
    Dual,
    begin_dual,
    check_derivatives,
    check_names,
    differentiable,
    push,
)
from regjax.study.design import Design
from regjax.study.plan import make_plan
from regjax.study.results import Results
from regjax.study.sensitivities import Sensitivities

Result = TypeVar("Result")


def sensitivities(results: Results, names: Sequence[str], *, progress: bool | Report = True) -> Sensitivities:
    """Returns how the validation loss of each network of a sweep changes with its hyperparameters.

    The networks are trained once more, with each direction beside them. See `regjax.hypergradient` for what a
    derivative in keep_prob is, and what one is worth where the loss has kinks, as with relu.

    Args:
        results: the results of a sweep.
        names: the hyperparameters, e.g. ("l2", "learning_rate").
        progress: as in `regjax.sweep`.

    Raises:
        ValueError: names that are no hyperparameters, are off in every configuration, or have no derivative;
            early stopping; nothing that is held out.

    Example:
        >>> import regjax
        >>> grid = regjax.grid(l2=[0.1, 10], learning_rate=0.1)
        >>> config = {"num_steps": 200, "activation": "tanh"}
        >>> results = regjax.sweep("two_regions", config, grid, folds=3, progress=False)
        >>> found = regjax.sensitivities(results, ("l2", "learning_rate"))
        >>> found.gradient.shape
        (6, 2)
    """
    chosen = check_sensitivities(results.design, names)
    with reporter(progress) as report:
        return sensitivities_of(results.design, chosen, report)


def sensitivities_of(
    design: Design, chosen: tuple[str, ...], report: Report = lambda progress: None
) -> Sensitivities:
    """Returns the sensitivities of a design in hyperparameters that `check_sensitivities` has returned.

    Args:
        design: design of the sweep.
        chosen: names of the hyperparameters.
        report: called with a `Progress` after each chunk; it may raise, which ends the work.
    """
    plan = make_plan(design, keep="none", kernel="xla", backend=jax.default_backend())
    loss = np.full(design.num_rows, np.nan)
    gradient, values = np.full((2, design.num_rows, len(chosen)), np.nan)
    stop = threading.Event()
    with own_settings(design.configs[0].dtype):
        inputs = Inputs(design)
    pool = concurrent.futures.ThreadPoolExecutor(plan.num_workers, thread_name_prefix="regjax-sensitivities")
    try:
        began, done = time.perf_counter(), 0
        calls = (
            functools.partial(_of_task, task, _on(task.hparams, chosen), stop, chunk)
            for task, chunk in _tasks(design, plan.groups, inputs if inputs.fit else None)
        )
        # One more than there are workers, so that none is idle; the inputs of all would fill the memory.
        for places, on, found in in_work(pool, calls, plan.num_workers + 1):
            done += len(places)
            part = done / design.num_rows
            left = (time.perf_counter() - began) * (1 - part) / part
            report(Progress("differentiate", design.num_rows, done, 0, part, "", left))
            for i, j, row in places:
                loss[row] = found[0][i, j]
                for k, name in enumerate(on):
                    gradient[row, chosen.index(name)] = found[1][i, j, k]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    if design.standardize_target:
        scales = design.target_scales() ** POWERS["loss"]
        loss, gradient = loss * scales, gradient * scales[:, None]
    for row in range(design.num_rows):
        hparams = design.hparams[row // design.num_replicates]
        for k, name in enumerate(chosen):
            values[row, k] = np.nan if _is_off(hparams, name) else np.mean(getattr(hparams, name))
    gradient[np.isnan(values) | ~np.isfinite(loss)[:, None]] = np.nan
    return Sensitivities(design, chosen, loss, gradient, values)


def in_work(
    pool: concurrent.futures.Executor, calls: Iterable[Callable[[], Result]], most: int
) -> Iterator[Result]:
    """Yields what calls return, in any order; at most so many are in work, and no others are made before."""
    flying: set[concurrent.futures.Future[Result]] = set()
    for call in calls:
        flying.add(pool.submit(call))
        if len(flying) == most:
            done, flying = concurrent.futures.wait(flying, return_when=concurrent.futures.FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in concurrent.futures.as_completed(flying))


def check_sensitivities(design: Design, names: Sequence[str], what: str = "names") -> tuple[str, ...]:
    """Returns the hyperparameters in which the validation loss of a design can be differentiated.

    Args:
        design: design of the sweep.
        names: the hyperparameters.
        what: what a message calls them.

    Raises:
        ValueError: as `sensitivities`.
    """
    chosen = check_names(names, what)
    if design.splits.kind == "none":
        raise ValueError("sensitivities must be of a sweep with folds or validation: nothing is held out")
    for name in chosen:
        on = [i for i, hparams in enumerate(design.hparams) if not _is_off(hparams, name)]
        if not on:
            raise ValueError(f"sensitivities must be in what is on; {name} is off in every configuration")
        for index in on:
            check_derivatives(design.hparams[index], design.configs[index], (name,))
    return chosen


def _is_off(hparams: HParams, name: str) -> bool:
    """Returns whether a hyperparameter is off, so that the loss does not depend on it on both sides."""
    value = getattr(hparams, name)
    if value is None:
        return True
    return HYPERPARAMETERS[name].absent and bool(np.all(value == OFF_VALUES[name]))


def _on(hparams: HParams, names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names that a chunk's program has."""
    return tuple(name for name in names if getattr(hparams, name) is not None)


def _tasks(design: Design, groups: Any, inputs: Inputs | None) -> Iterator[tuple[ChunkTask, Chunk]]:
    """Yields a task for each chunk of a design, of all steps."""
    waves = Waves(design, groups, num_workers=1)
    while (found := waves.take_unopened()) is not None:
        index, rows = found
        waves.open_wave(index, rows, {})
        group = groups[index]
        while (chunk := waves.next()) is not None:
            ends, measured = ends_from(group.config, 0, group.config.num_steps)
            yield task_of(design, group, chunk, ends, measured, inputs), chunk


def _of_task(
    task: ChunkTask, names: tuple[str, ...], stop: threading.Event, chunk: Chunk
) -> tuple[list[tuple[int, int, int]], tuple[str, ...], tuple[np.ndarray, np.ndarray]]:
    """Returns the rows of a chunk, and their losses `(R, r)` and derivatives `(R, r, names)`."""
    with own_settings(task.config.dtype):
        task = padded(task)
        config = task.config
        replicates, hparams = jax.device_put((task.replicates, task.hparams))
        states = init_lanes(replicates, hparams, task.params, config=config)
        duals = _begin(states, hparams, names=names)
        for start, end in itertools.pairwise((0, *task.ends)):
            if stop.is_set():
                break
            bounds = start, end, task.num_batches, task.num_steps
            duals = _advance(replicates, hparams, duals, *bounds, config=config, names=names)
        found = _loss(replicates, hparams, duals, config=config, names=names)
        return chunk.places, names, jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnames="names")
def _begin(states: TrainState, hparams: HParams, *, names: tuple[str, ...]) -> Dual:
    def begin(state: TrainState, hparams: HParams) -> Dual:
        return begin_dual(state, _directions(hparams, names))

    return jax.vmap(jax.vmap(begin))(states, hparams)


def _directions(hparams: HParams, names: tuple[str, ...]) -> dict[str, jax.Array]:
    """Returns a direction for each name, in all layers by the same amount, `(1, …)` each."""
    return {name: jnp.ones_like(getattr(hparams, name))[None] for name in names}


@functools.partial(jax.jit, static_argnames=("config", "names"), donate_argnames="duals")
def _advance(
    replicates: Replicates,
    hparams: HParams,
    duals: Dual,
    start: Any,
    stop: Any,
    num_batches: Any,
    num_steps: Any,
    *,
    config: Config,
    names: tuple[str, ...],
) -> Dual:
    """Returns states and derivatives after steps `start` … `stop` - 1; see `lanes.advance_lanes`."""

    def advance(replicate: Replicates, hparams: HParams, dual: Dual) -> Dual:
        data = Data(replicate.own_x, replicate.y, replicate.train)
        samples = None if replicate.rows is None else replicate.samples
        directions = _directions(hparams, names)

        def lift(step: Callable[[TrainState, HParams], TrainState], dual: Dual, hparams: HParams) -> Dual:
            return Dual(*push(lambda s, h: step(differentiable(s), h), dual, hparams, directions))

        course = Course(num_batches, num_steps, None, replicate.orders, None, samples, lift)
        key, state = as_key(replicate.key), cast(Any, dual)
        return cast(Any, run_segment(key, state, hparams, data, start, stop, course=course, config=config))

    return over_lanes(advance, replicates, 2)(replicates, hparams, duals)


@functools.partial(jax.jit, static_argnames=("config", "names"))
def _loss(
    replicates: Replicates, hparams: HParams, duals: Dual, *, config: Config, names: tuple[str, ...]
) -> tuple[jax.Array, jax.Array]:
    """Returns validation losses, `(R, r)`, and their derivatives, `(R, r, names)`."""

    def loss(replicate: Replicates, hparams: HParams, dual: Dual) -> tuple[jax.Array, jax.Array]:
        held_out = Data(replicate.own_x, replicate.y, replicate.val)

        def of(state: TrainState, hparams: HParams) -> jax.Array:
            return evaluate(state.predicting, held_out, config=config)["loss"]

        value, found = push(of, dual, hparams, _directions(hparams, names))
        return value, jnp.concatenate([found[name][0] for name in names])

    return over_lanes(loss, replicates, 2)(replicates, hparams, duals)
