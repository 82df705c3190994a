"""Chunks of networks as lanes of one compiled program, and the task that a worker does with one.

A chunk has R slots of r lanes. In a *shared* chunk the lanes of a slot are rows of one replicate: key,
weights and (where standardised) inputs are mapped over slots only, so that batches and random bits are
drawn once per slot. In an *unshared* chunk every lane has its own. Everything is a pure function of its
arguments; `run_task` is what an executor calls.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from regjax.core.config import Config, local_x64
from regjax.core.data import Data
from regjax.core.early_stopping import keep_best
from regjax.core.evaluate import all_finite, infer
from regjax.core.hparams import ABSENT, CARRIED, PENALISED, HParams, without
from regjax.core.metrics import LAST, examples, metrics
from regjax.core.mlp import Params
from regjax.core.objective import resolve_loss
from regjax.core.penalties import penalty
from regjax.core.train import TrainState, init_state, run_segment


class Replicates(NamedTuple):
    """Who trains on what: leaves with `(R,)` or `(R, r)` before their own shape, see `axes`.

    Attributes:
        key: key data of each replicate, `(…, 2)` uint32.
        x: all rows, `(n_features, n)`; mapped where every fold has its own standardised inputs.
        y: targets, `(…, n)`, never mapped.
        train: training weights, `(…, n)`.
        val: validation weights, `(…, n)`, or None.
        stop: weights of the rows that early stopping watches, `(…, n)`, or None.
        orders: of the rows in each epoch, `(…, epochs, n)`, or None where they are drawn.
        test_x: test inputs or None, mapped as x.
        test_y: test targets or None, never mapped.
        test: test weights or None, never mapped.
    """

    key: Any
    x: Any
    y: Any
    train: Any
    val: Any = None
    stop: Any = None
    orders: Any = None
    test_x: Any = None
    test_y: Any = None
    test: Any = None

    def axes(self, of_replicate: int | None) -> Replicates:
        """Returns where each leaf is mapped when replicates are mapped at `of_replicate`."""
        of_x = of_replicate if np.ndim(self.x) > 2 else None
        return Replicates(
            key=of_replicate,
            x=of_x,
            y=None,
            train=of_replicate,
            val=None if self.val is None else of_replicate,
            stop=None if self.stop is None else of_replicate,
            orders=None if self.orders is None else of_replicate,
            test_x=None if self.test_x is None else of_x,
        )


class ChunkTask(NamedTuple):
    """A chunk and what is to be done with it.

    Attributes:
        config: what is compiled.
        shared: whether the lanes of a slot are rows of one replicate.
        replicates: `(R, …)` where shared, else `(R, r, …)`.
        hparams: leaves `(R, r, …)`.
        states: leaves `(R, r, …)` after `start` steps, or None at step 0.
        start: steps done.
        stops: where to stop in turn, above `start`.
        measured: for each stop, whether metrics are taken there.
        num_batches: of an epoch.
        num_steps: of the whole run.
        params: leaves `(R, r, …)` to begin with, or None where they are drawn.
        want_examples: whether to return per-example validation scores of the last stop.
    """

    config: Config
    shared: bool
    replicates: Replicates
    hparams: HParams
    states: TrainState | None
    start: int
    stops: tuple[int, ...]
    measured: tuple[bool, ...]
    num_batches: int
    num_steps: int
    params: Params | None = None
    want_examples: bool = False


class ChunkDone(NamedTuple):
    """What a task returns: NumPy arrays.

    Attributes:
        states: leaves `(R, r, …)`.
        records: metric -> `(records, R, r)`; at step 0 too where the task began there. `finite`, and with
            patience or config.stop_on `stopped`, whether a network has stopped at the record or before, say
            which to believe.
        examples: per-example validation scores, `(R, r, n)` each, or None.
        stop: steps done: fewer than asked for where no network of the chunk goes on.
        seconds: of wall clock.
    """

    states: TrainState
    records: dict[str, np.ndarray]
    examples: dict[str, np.ndarray] | None
    stop: int
    seconds: float


def run_task(task: ChunkTask) -> ChunkDone:
    """Returns the chunk after the last stop, and its records."""
    began = time.perf_counter()
    config, shared = task.config, task.shared
    loop = _of_loop(config)
    # Without what they do not read, so that groups of rows share the programs of `init` and `measure`.
    plain: Any = {"batch_size": None, "schedule": "constant", "warmup_steps": 0, "decay_steps": None}
    plain |= {"class_weight": None, "draws": "jax", "batches": "equal", "shuffle": True, "epsilon_hat": False}
    stops = {"stop_on": config.stop_on}
    drawn = dataclasses.replace(loop, **plain, **stops, activation="relu", precision="highest")
    measured_as = dataclasses.replace(config, **plain, stop_on=None, optimizer="sgd", init="tutorial")
    with local_x64(config.dtype):
        replicates, hparams = jax.device_put((task.replicates, task.hparams))
        drawn_with = without(hparams, [name for name in ABSENT if name not in CARRIED])
        measured_with = without(hparams, [name for name in ABSENT if name not in PENALISED])
        # Only the loop reads the orders of all epochs: nothing else is handed them, or copies them per lane.
        seen = replicates._replace(orders=None)
        measure = functools.partial(measure_lanes, seen, measured_with, config=measured_as, shared=shared)
        records = []

        def record(states: TrainState, step: int) -> TrainState:
            found = measure(states.measured)
            if states.average is not None:
                last = measure(states.params)
                found |= {f"{name}_last": last[name] for name in last if f"{name}_last" in LAST}
            if states.best is not None:
                loss = found["stop_loss"]
                best = keep_best_of_lanes(states.best, states.measured, loss, step, hparams.patience)
                states = states._replace(best=best)
            if states.stopped is not None:
                found["stopped"] = states.stopped
            records.append(jax.tree.map(np.asarray, found))
            return states

        states = task.states
        if states is None:
            states = init_lanes(seen, drawn_with, task.params, config=drawn, shared=shared)
            states = record(states, 0)
        start = task.start
        for stop, measured in zip(task.stops, task.measured, strict=True):
            states = advance_lanes(
                replicates, hparams, states, start, stop, task.num_batches, task.num_steps,
                config=loop, shared=shared,
            )  # fmt: skip
            start = stop
            if measured:
                states = record(states, stop)
                if not np.any(records[-1]["finite"] & ~records[-1].get("stopped", np.False_)):
                    break
        scores = None
        if task.want_examples:
            scores = examples_of_lanes(seen, states.predicting, config=measured_as, shared=shared)
        # Copies: a view would keep the device's buffer from being given up to the next segment.
        states, scores = jax.tree.map(np.array, (states, scores))
    stacked = {name: np.stack([r[name] for r in records]) for name in records[0]} if records else {}
    return ChunkDone(states, stacked, scores, start, time.perf_counter() - began)


def _of_loop(config: Config) -> Config:
    """Returns the config that the loop is compiled for: without what only records read."""
    return dataclasses.replace(config, metrics=None)


def compile_loop(task: ChunkTask) -> None:
    """Compiles the loop that `run_task` will run for chunks of this shape, and nothing else."""
    loop = _of_loop(task.config)
    with local_x64(loop.dtype):
        replicates, hparams = jax.device_put((task.replicates, task.hparams))
        as_they_are = functools.partial(init_lanes, config=loop, shared=task.shared)
        shapes = jax.eval_shape(as_they_are, replicates, hparams, task.params)
        states = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        # A segment of no steps compiles the loop, whose bounds are traced.
        advance_lanes(
            replicates, hparams, states, 0, 0, task.num_batches, task.num_steps,
            config=loop, shared=task.shared,
        )  # fmt: skip


def compile_rest(task: ChunkTask) -> None:
    """Compiles what else `run_task` will run for chunks of this shape."""
    run_task(task._replace(states=None, start=0, stops=(), measured=()))


@functools.partial(jax.jit, static_argnames=("config", "shared"))
def init_lanes(
    replicates: Replicates, hparams: HParams, params: Params | None, *, config: Config, shared: bool
) -> TrainState:
    """Returns the states before the first step: with these parameters, or drawn."""

    def init(replicate: Replicates, hparams: HParams, params: Params | None) -> TrainState:
        key = jax.random.wrap_key_data(replicate.key)
        return init_state(key, hparams, config=config, params=params)

    return _over_lanes(init, replicates, shared, 2)(replicates, hparams, params)


@functools.partial(jax.jit, static_argnames=("config", "shared"), donate_argnames="states")
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
    shared: bool,
) -> TrainState:
    """Returns the states after steps `start` … `stop` - 1."""

    def advance(replicate: Replicates, hparams: HParams, state: TrainState) -> TrainState:
        key = jax.random.wrap_key_data(replicate.key)
        data = Data(replicate.x, replicate.y, replicate.train)
        watched = data._replace(weights=replicate.stop) if config.stop_on == "score" else None
        return run_segment(
            key,
            state,
            hparams,
            data,
            start,
            stop,
            config=config,
            num_batches=num_batches,
            num_steps=num_steps,
            watched=watched,
            orders=replicate.orders,
        )

    return _over_lanes(advance, replicates, shared, 2)(replicates, hparams, states)


# Over slots and lanes; all of them stand at one step.
keep_best_of_lanes = jax.jit(
    jax.vmap(jax.vmap(keep_best, in_axes=(0, 0, 0, None, 0)), in_axes=(0, 0, 0, None, 0))
)


@functools.partial(jax.jit, static_argnames=("config", "shared"))
def measure_lanes(
    replicates: Replicates, hparams: HParams, params: Params, *, config: Config, shared: bool
) -> dict[str, jax.Array]:
    """Returns one record per lane, `(R, r)` each, in inference mode.

    `finite`: whether all parameters and the training cost are; `train_cost`: loss + penalty/n; and
    `train_…`, `val_…`, `test_…` of `metrics.metrics` and `stop_loss`, NaN where not finite.
    """

    def measure(replicate: Replicates, hparams: HParams, params: Params) -> dict[str, jax.Array]:
        train = Data(replicate.x, replicate.y, replicate.train)
        # One forward for all: rows that are in no part are hidden.
        held_out = [part for part in (replicate.val, replicate.stop) if part is not None]
        either = functools.reduce(jnp.add, held_out, replicate.train)
        logits = infer(params, train._replace(weights=either), config)
        parts = {"train": (logits, train)}
        if replicate.val is not None:
            parts["val"] = (logits, train._replace(weights=replicate.val))
        if replicate.test is not None:
            test = Data(replicate.test_x, replicate.test_y, replicate.test)
            parts["test"] = (infer(params, test, config), test)
        record = {
            f"{name}_{metric}": value
            for name, (found, part) in parts.items()
            for metric, value in metrics(
                found, part.y, part.weights, loss=resolve_loss(config, part), only=config.metrics
            ).items()
        }
        if replicate.stop is not None:
            watched = train._replace(weights=replicate.stop)
            loss = resolve_loss(config, watched)
            record["stop_loss"] = metrics(logits, watched.y, watched.weights, loss=loss, only=())["loss"]
        record["train_cost"] = record["train_loss"] + penalty(params, hparams) / jnp.sum(replicate.train)
        # A relu turns NaN into 0, and a diverged network would have an accuracy.
        finite = all_finite(params, record["train_cost"])
        return {name: jnp.where(finite, value, jnp.nan) for name, value in record.items()} | {
            "finite": finite
        }

    if shared:
        replicates = _per_lane(replicates, hparams.learning_rate.shape[1])
    return _over_lanes(measure, replicates, False, 2)(replicates, hparams, params)


@functools.partial(jax.jit, static_argnames=("config", "shared"))
def examples_of_lanes(
    replicates: Replicates, params: Params, *, config: Config, shared: bool
) -> dict[str, jax.Array]:
    """Returns per-example validation scores, `(R, r, n)` each, see `metrics.examples`."""

    def scores(replicate: Replicates, params: Params) -> dict[str, jax.Array]:
        data = Data(replicate.x, replicate.y, replicate.val)
        return examples(infer(params, data, config), data.y, loss=resolve_loss(config, data))

    if shared:
        replicates = _per_lane(replicates, jax.tree.leaves(params)[0].shape[1])
    return _over_lanes(scores, replicates, False, 1)(replicates, params)


def _per_lane(replicates: Replicates, num_lanes: int) -> Replicates:
    """Returns the replicates of a shared chunk with every leaf that is mapped as `(R, r, …)`.

    The order in which a sum is taken depends on whether its weights are mapped, and with it the last bit
    of a metric. A row must not notice whether its chunk is shared, that is, how many others there are.
    """
    leaves = [
        leaf if axis is None else jnp.repeat(leaf[:, None], num_lanes, axis=1)
        for leaf, axis in zip(replicates, replicates.axes(0), strict=True)
    ]
    # The barrier keeps XLA from seeing that lanes are equal, and summing them once.
    return lax.optimization_barrier(Replicates(*leaves))


def _over_lanes(
    run: Callable[..., Any], replicates: Replicates, shared: bool, num_mapped: int
) -> Callable[..., Any]:
    """Returns `run(replicates, *mapped)` over slots and lanes.

    Two levels also where nothing is shared: with two batch dimensions XLA's CPU compiler takes another,
    for small matrices much faster product than with one (docs/design.md).
    """
    mapped = (0,) * num_mapped
    inner = replicates.axes(None if shared else 0)
    outer = replicates.axes(0)
    return jax.vmap(jax.vmap(run, in_axes=(inner, *mapped)), in_axes=(outer, *mapped))
