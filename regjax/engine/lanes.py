"""Trains a chunk of networks as lanes of one compiled program: what a worker does with a task.

A chunk has R slots of r lanes; each lane holds one network. In a *shared* chunk all lanes of a slot belong
to one replicate: key, weights and standardised inputs are mapped over slots only, so batches and random
bits are drawn once per slot. In an *unshared* chunk every lane has its own.

`engine/scheduler.py` builds a `ChunkTask` and submits `run_task` to an executor; processes need both to
be picklable, so everything here is a pure function of its arguments, at module level.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.early_stopping import keep_best
from regjax.core.host import initial_params
from regjax.core.hparams import ABSENT, CARRIED, PENALISED, HParams, without
from regjax.core.metrics import LAST
from regjax.core.mlp import Params
from regjax.core.random import as_key, is_drawn_on_cpu, on_cpu
from regjax.core.settings import own_settings
from regjax.core.train import Course, TrainState, init_state, run_segment
from regjax.engine.measures import examples_of_lanes, measure_lanes, with_ranks
from regjax.engine.native import advance_native, examples_native, measure_native
from regjax.engine.orders import orders_of_lanes, pieces
from regjax.engine.padding import resized
from regjax.engine.replicates import Replicates, over_lanes
from regjax.engine.workers import is_accelerated, on_device
from regjax.study.provenance import Loop
from regjax.study.records import num_params

# Steps of programs whose length is compiled in, which an accelerator has beside the one of any length.
BLOCKS = (256, 32)
# Most numbers of a task's initial weights that the host draws: a program that draws takes half a second to
# compile, NumPy a tenth of a second for so many.
MOST_ON_HOST = 2**20
# Config fields that neither the first state nor a record depends on, each at one value: groups that differ
# in these alone then share the compiled `init_lanes` and `measure_lanes`.
_LOOP_ONLY: dict[str, Any] = {
    "batch_size": None, "schedule": "constant", "warmup_steps": 0, "decay_steps": None, "class_weight": None,
    "draws": "jax", "batches": "equal", "shuffle": True, "epsilon_hat": False, "clip_loss": False,
}  # fmt: skip


class ChunkTask(NamedTuple):
    """A chunk, and the steps that a worker trains it for.

    Attributes:
        config: the config of the compiled program, as `Config.program` returns it.
        replicates: the data and keys; leading axes `(R,)` in a shared chunk, else `(R, r)`.
        hparams: hyperparameters, leaves `(R, r, …)`.
        states: training states after `start` steps, leaves `(R, r, …)`; None at step 0.
        start: the number of steps that the chunk has done.
        ends: ascending steps above `start` at which the program returns; the last ends the task.
        measured: for each end, whether a record is taken there.
        num_batches: the number of batches in an epoch.
        num_steps: the number of steps of the whole run, which learning-rate schedules read.
        params: initial parameters, leaves `(R, r, …)`; None where they are drawn from the key.
        want_examples: whether to return per-example validation scores of the parameters at the last end.
        device: number of the device that trains it, among those of its process; None is the default one.
        overlap: whether a record is read only once the next segment is on its way, so that an accelerator
            computes while the host reads; the results are the same.
        resident: whether the states stay on the device between tasks, as arrays of JAX.
        epochs: the number of epochs whose orders of the samples are drawn at a time, see `engine/orders.py`.
        loop: what trains the networks: `advance_lanes`, or a kernel, of `fused.py` or `native.py`.
        idle: lanes whose results are not read, `(R, r)`, which the native kernel leaves out.
        padded_to: layer sizes of the compiled program, to which narrower networks are padded with zeros; ()
            where they are the networks' own. States come and go in the networks' own sizes.
    """

    config: Config
    replicates: Replicates
    hparams: HParams
    states: TrainState | None
    start: int
    ends: tuple[int, ...]
    measured: tuple[bool, ...]
    num_batches: int
    num_steps: int
    params: Params | None = None
    want_examples: bool = False
    device: int | None = None
    overlap: bool = False
    resident: bool = False
    epochs: int = 1
    loop: Loop = "plain"
    idle: Any = np.False_
    padded_to: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Slots and lanes of the chunk."""
        return np.shape(self.hparams.learning_rate)


class ChunkDone(NamedTuple):
    """What a task returns: NumPy arrays and numbers.

    Attributes:
        states: training states after `stop` steps, leaves `(R, r, …)`; arrays of JAX where they are resident.
        records: metric -> `(records, R, r)`, one record per measured end, and one at step 0 where the task
            began there. Two of them mark which records are valid: `finite`, and with early stopping
            `stopped`, whether the network stopped at this record or before. Where targets are standardised
            these and `examples` are in units of the scale; the recorder brings them back.
        examples: per-example validation scores, `(R, r, n)` each, or None where they were not wanted.
        stop: the number of steps done, fewer than asked for where every network diverged or stopped.
        seconds: wall-clock time that the task took.
        moving: the part of it in which data went to the device.
        how: provenance of the task, where a worker of a cluster says it; "" is that of this process.
    """

    states: TrainState
    records: dict[str, np.ndarray]
    examples: dict[str, np.ndarray] | None
    stop: int
    seconds: float
    moving: float = 0.0
    how: str = ""


def run_task(task: ChunkTask) -> ChunkDone:
    """Returns the chunk after the task's last end, with its records."""
    if task.padded_to:
        done = run_task(padded(task))
        return done._replace(states=resized(done.states, task.config.layer_sizes))
    began = time.perf_counter()
    with own_settings(task.config.dtype), on_device(task.device):
        replicates, hparams = jax.block_until_ready(jax.device_put((task.replicates, task.hparams)))
        moving = time.perf_counter() - began
        # Only the loop reads the orders of all epochs; elsewhere they would be copied for each lane.
        seen = replicates._replace(orders=None, rows=None)
        states, records, step = _trained(task, replicates, seen, hparams)
        scores = None
        if task.want_examples:
            scores_of = examples_native if task.loop == "native" else examples_of_lanes
            scores = scores_of(seen, states.predicting, config=_config_of_records(task.config))
        # Copies, not views: a view would keep the device from reusing the buffer in the next segment.
        scores = jax.tree.map(np.array, scores)
        states = jax.block_until_ready(states) if task.resident else jax.tree.map(np.array, states)
    stacked = {name: np.stack([r[name] for r in records]) for name in records[0]} if records else {}
    return ChunkDone(states, stacked, scores, step, time.perf_counter() - began, moving)


def _trained(
    task: ChunkTask, replicates: Replicates, seen: Replicates, hparams: HParams
) -> tuple[TrainState, list[dict[str, np.ndarray]], int]:
    """Returns the states after the task, its records, and the number of steps done."""
    measure = _measure_of(task, seen, hparams)
    states, step = task.states, task.start
    # Records that the device may not have computed yet; the host reads them one segment later.
    waiting: collections.deque[dict[str, jax.Array]] = collections.deque()
    records: list[dict[str, np.ndarray]] = []
    if states is None:
        states, record = _recorded(_first_states(task, seen, hparams), 0, measure, hparams)
        waiting.append(record)
    elif task.resident:
        # The loop gives up the buffers that it is given, and after a failure those of the task are needed.
        states = jax.tree.map(jnp.copy, states)
    for end, measured in zip(task.ends, task.measured, strict=True):
        states = _advance(task, replicates, hparams, states, step, end)
        step = end
        if not measured:
            continue
        states, record = _recorded(states, step, measure, hparams)
        waiting.append(record)
        while len(waiting) > task.overlap:
            records.append(jax.tree.map(np.asarray, waiting.popleft()))
        # Every lane diverged or stopped: the remaining steps would change nothing that is read. Where
        # records are read a segment later, one more segment was trained, which nobody reads either.
        stopped: Any = records[-1].get("stopped", np.False_) if records else np.False_
        if records and not np.any(records[-1]["finite"] & ~stopped & ~task.idle):
            break
    records += jax.tree.map(np.asarray, list(waiting))
    return states, records, step


def compile_loop(task: ChunkTask, steps: int = 0) -> None:
    """Compiles the training loop that `run_task` uses for chunks of this shape, and nothing else.

    Args:
        task: a task of such a chunk.
        steps: 0 for the program whose bounds are traced, else one of `BLOCKS`, for that of as many steps.
    """
    task = padded(task)
    with own_settings(task.config.dtype), on_device(task.device):
        replicates, hparams = jax.device_put((task.replicates, task.hparams))
        config = _config_of_loop(task.config)
        init = functools.partial(init_lanes, config=config)
        shapes = jax.eval_shape(init, replicates, hparams, task.params)
        states = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        if steps:
            # A call would train the block, for nothing; JAX keeps what it has compiled without one.
            ahead = with_orders(task, replicates, 0, steps)
            bounds = 0, steps, task.num_batches, task.num_steps
            advance_lanes.lower(ahead, hparams, states, *bounds, config=config, steps=steps).compile()
        else:
            # Where the bounds are traced, a segment of no steps compiles it.
            _advance(task._replace(overlap=False), replicates, hparams, states, 0, 0)


def programs_of(task: ChunkTask, longest: int) -> list[Callable[[ChunkTask], None]]:
    """Returns functions, each of which compiles a part of what `run_task` needs for chunks of this shape.

    Args:
        task: a task of such a chunk.
        longest: most steps between two records.
    """
    blocks = [block for block in BLOCKS if task.overlap and task.loop == "plain" and block <= longest]
    return [compile_loop, compile_rest, *(functools.partial(compile_loop, steps=block) for block in blocks)]


def compile_rest(task: ChunkTask) -> None:
    """Compiles everything but the loop that `run_task` uses for chunks of this shape."""
    run_task(task._replace(states=None, start=0, ends=(), measured=()))


def _first_states(task: ChunkTask, replicates: Replicates, hparams: HParams) -> TrainState:
    """Returns the states before the first step."""
    config = dataclasses.replace(
        _config_of_loop(task.config), **_LOOP_ONLY, activation="relu", precision="highest"
    )
    hparams = without(hparams, [name for name in ABSENT if name not in CARRIED])
    init = functools.partial(init_lanes, config=config)
    # Of the replicates it reads the keys alone: data would travel, and be compiled in, for nothing.
    keys = Replicates(replicates.key, x=None, y=None, train=None)
    if config.embedding == "piecewise":  # whose bins are quantiles of the training part
        keys = keys._replace(x=replicates.x, train=replicates.train, fold=replicates.fold)
    params = _drawn_params(task, MOST_ON_HOST) if task.params is None else task.params
    carries = any(getattr(hparams, name) is not None for name in CARRIED)
    if task.loop == "native" and params is not None and not carries:
        # Beside the parameters all of it is 0, as the optimizers begin: no program need be compiled for it.
        shapes = jax.eval_shape(init, keys, hparams, params)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        return zeros._replace(params=params)
    if params is None and is_drawn_on_cpu(replicates.key):
        return on_cpu(init, keys, hparams, None)
    return init(keys, hparams, params)


def _drawn_params(task: ChunkTask, most: float) -> Params | None:
    """Returns the initial parameters of the lanes of a task, or None where the host does not draw them.

    It draws those of plain networks, unless they are more than `most` numbers.
    """
    words, of_lane = np.unique(np.reshape(task.replicates.key, (-1, 2)), axis=0, return_inverse=True)
    config, lanes = task.config, task.hparams.learning_rate.shape
    if not config.is_plain or len(words) * num_params(config) > most:
        return None
    drawn = initial_params(words, config.layer_sizes, init=config.init, dtype=config.dtype)
    of_lane = np.broadcast_to(of_lane.reshape(lanes[0], -1), lanes)
    return jax.tree.map(lambda leaf: leaf[of_lane], drawn)


def padded(task: ChunkTask) -> ChunkTask:
    """Returns the same task of wider networks, where it is to be padded; else the task.

    A unit whose weights are all 0, in and out, changes nothing: its activation is 0, and so is the gradient
    of its weights (`study/padding.py` says for which networks). Initial weights are drawn in the networks'
    own sizes.
    """
    sizes = task.padded_to
    if not sizes:
        return task
    params = task.params
    if params is None and task.states is None:
        params = _drawn_params(task, math.inf)
    return task._replace(
        config=dataclasses.replace(task.config, layer_sizes=sizes),
        states=resized(task.states, sizes),
        params=resized(params, sizes),
        padded_to=(),
    )


def _advance(
    task: ChunkTask, replicates: Replicates, hparams: HParams, states: TrainState, start: int, stop: int
) -> TrainState:
    """Returns the states after steps `start` … `stop` - 1 of a task."""
    config = _config_of_loop(task.config)
    if task.loop == "native":
        rest = task.num_batches, task.idle
        return advance_native(replicates, hparams, states, start, stop, *rest, config=config)
    if task.loop == "fused":
        from regjax.engine.fused import advance_fused  # it imports Pallas, which nobody else needs

        return advance_fused(replicates, hparams, states, start, stop, task.num_batches, config=config)
    advance = functools.partial(advance_lanes, config=config)
    rest = task.num_batches, task.num_steps
    for block in BLOCKS if task.overlap else ():
        while stop - start >= block:
            ahead = with_orders(task, replicates, start, block)
            states = advance(ahead, hparams, states, start, start + block, *rest, steps=block)
            start += block
    if start < stop or not task.overlap:
        for ahead, first, last in _pieces(task, replicates, start, stop):
            states = advance(ahead, hparams, states, first, last, *rest)
    return states


def _pieces(
    task: ChunkTask, replicates: Replicates, start: int, stop: int
) -> Iterator[tuple[Replicates, int, int]]:
    """Yields parts of a segment, (replicates, start, stop), for which the orders of the samples are drawn.

    One part where the samples have no order, where they have one already, or where the loop draws it.
    """
    if task.config.batch_size is None or replicates.orders is not None or is_accelerated():
        return iter([(replicates, start, stop)])
    config = _config_of_loop(task.config)
    return pieces(replicates, start, stop, task.num_batches, epochs=task.epochs, config=config)


def with_orders(task: ChunkTask, replicates: Replicates, start: int, steps: int) -> Replicates:
    """Returns the replicates with the orders of the epochs of a block of steps, where it has batches.

    Drawn in the loop, they need a condition in every step, for which a GPU waits.
    """
    if task.config.batch_size is None or replicates.orders is not None:
        return replicates
    first, epochs = start // task.num_batches, steps // task.num_batches + 2
    config = _config_of_loop(task.config)
    orders = orders_of_lanes(replicates, first, epochs=epochs, config=config)
    return replicates._replace(orders=orders)


def _measure_of(task: ChunkTask, replicates: Replicates, hparams: HParams) -> Callable[[Params], Any]:
    """Returns a function of parameters that returns their record, see `measures.measure_lanes`."""
    penalised = without(hparams, [name for name in ABSENT if name not in PENALISED])
    config = _config_of_records(task.config)
    native = task.loop == "native"
    measure = functools.partial(measure_native, idle=task.idle) if native else measure_lanes
    return with_ranks(measure, replicates, penalised, config, on_host=native)


def _recorded(
    states: TrainState, step: int, measure: Callable[[Params], Any], hparams: HParams
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Returns the states, with their best parameters updated, and their record; waits for neither."""
    found = measure(states.measured)
    # `measured` is the average then; the metrics of the last iterate are recorded beside it.
    if states.average is not None:
        last = measure(states.params)
        found |= {f"{name}_last": last[name] for name in last if f"{name}_last" in LAST}
    if states.best is not None:
        best = keep_best_of_lanes(states.best, states.measured, found["stop_loss"], step, hparams.patience)
        states = states._replace(best=best)
    if states.stopped is not None:
        found["stopped"] = states.stopped
    return states, found


def _config_of_loop(config: Config) -> Config:
    """Returns the config that the training loop is compiled for: without the choice of metrics."""
    return dataclasses.replace(config, metrics=None)


def _config_of_records(config: Config) -> Config:
    """Returns the config that records are compiled for: without what only the loop and `init_lanes` read."""
    return dataclasses.replace(config, **_LOOP_ONLY, stop_on=None, optimizer="sgd", init="tutorial")


@functools.partial(jax.jit, static_argnames="config")
def init_lanes(
    replicates: Replicates, hparams: HParams, params: Params | None, *, config: Config
) -> TrainState:
    """Returns the states before the first step, leaves `(R, r, …)`: with `params`, or drawn where None."""

    def init(replicate: Replicates, hparams: HParams, params: Params | None) -> TrainState:
        key = as_key(replicate.key)
        data = None if replicate.x is None else Data(replicate.own_x, None, replicate.train)
        return init_state(key, hparams, config=config, params=params, data=data)

    return over_lanes(init, replicates, 2)(replicates, hparams, params)


@functools.partial(jax.jit, static_argnames=("config", "steps"), donate_argnames="states")
def advance_lanes(
    replicates: Replicates,
    hparams: HParams,
    states: TrainState,
    start: Any,
    stop: Any,
    num_batches: Any,
    num_steps: Any,
    *,
    config: Config,
    steps: int | None = None,
) -> TrainState:
    """Returns the states after steps `start` … `stop` - 1; the buffers of `states` are given up.

    Args:
        replicates: the data and keys, see `Replicates`.
        hparams: leaves `(R, r, …)`.
        states: after `start` steps, leaves `(R, r, …)`.
        start: the first step.
        stop: the step to stop before; like `start` traced, so that one program serves every segment.
        num_batches: the number of batches in an epoch.
        num_steps: the number of steps of the whole run.
        config: the config of the compiled program, static.
        steps: `stop` - `start`, static; None leaves it traced.
    """

    def advance(replicate: Replicates, hparams: HParams, state: TrainState) -> TrainState:
        key = as_key(replicate.key)
        data = Data(replicate.own_x, replicate.y, replicate.train)
        watched = data._replace(weights=replicate.watched) if config.stop_on == "score" else None
        samples = None if replicate.rows is None else replicate.samples
        course = Course(num_batches, num_steps, watched, replicate.orders, steps, samples)
        return run_segment(key, state, hparams, data, start, stop, course=course, config=config)

    return over_lanes(advance, replicates, 2)(replicates, hparams, states)


# `keep_best` over slots and lanes; all lanes of a chunk are at the same step, so that is not mapped.
keep_best_of_lanes = jax.jit(
    jax.vmap(jax.vmap(keep_best, in_axes=(0, 0, 0, None, 0)), in_axes=(0, 0, 0, None, 0))
)
