"""The programs that `python -m benchmarks step` times: a user's step, and regjax's by its pure functions.

Both train the same networks from the same weights on the same batches. Each is one program with all steps in
a loop, and one with a single step, which Python calls once for each step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import naive
from benchmarks.problems import Params, Prepared, Problem, Rows
from benchmarks.step_contract import HPARAMS, Layout, Step, begin_of
from regjax.core.config import Config
from regjax.core.data import Data, check_data, pad_samples
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Layer
from regjax.core.train import Course, init_state, run_segment

# Orders of the samples that are drawn beforehand; after the last one the first comes again.
EPOCHS = 16


class Program(NamedTuple):
    """A way to train the networks of a problem.

    Attributes:
        loop: `(begin, shared, steps) → state` after so many steps, in one program.
        call: `(state, shared, i) → state` after step i.
        begin: the state before the first step, an axis of networks first.
        shared: what both take beside it, for all steps: hyperparameters, keys, samples.
        networks: how many networks.
        params: state -> parameters as `problems.Rows` has them; None where they cannot be read.
    """

    loop: Callable[..., Any]
    call: Callable[..., Any]
    begin: Any
    shared: Any
    networks: int
    params: Callable[[Any], Params] | None


class Compiled(NamedTuple):
    """A program whose loop is compiled.

    Attributes:
        program: the program.
        prepared: what `table.timed_in_turn` times.
        temp_bytes: the memory that the loop holds beside its arguments and its result; None where XLA does
            not say.
    """

    program: Program
    prepared: Prepared
    temp_bytes: int | None


def orders_of(problem: Problem) -> jax.Array:
    """Returns the orders of the samples in the epochs, `(EPOCHS, n)`."""
    random = np.random.default_rng(0)
    return jnp.asarray(np.stack([random.permutation(len(problem.x)) for _ in range(EPOCHS)]), jnp.int32)


def keys_of(count: int) -> jax.Array:
    """Returns a key for each network."""
    return jax.random.split(jax.random.key(0), count)


def program_of_step(problem: Problem, rows: Rows, step: Step, layout: Layout | None) -> Program:
    """Returns a user's step, mapped over networks.

    Args:
        problem: the problem to train.
        rows: its networks.
        step: the step, which `check_step` has passed.
        layout: how its parameters are read; None begins from what `init` draws, a seed each as in `rows`.
    """
    size, num_batches = problem.batch_size, problem.num_batches
    axes = (0, {**dict.fromkeys(HPARAMS, 0), "num_train": None}, None, None, 0)
    mapped = jax.vmap(step.function, in_axes=axes)

    def call(params: Any, shared: Any, i: Any) -> Any:
        hparams, keys, x, y, orders = shared
        if size is not None:
            order = orders[i // num_batches % len(orders)]
            chosen = jax.lax.dynamic_slice_in_dim(order, i % num_batches * size, size)
            x, y = x[chosen], y[chosen]
        # What is not used is not computed: a step without draws makes no key.
        return mapped(params, hparams, x, y, jax.vmap(jax.random.fold_in, (0, None))(keys, i))

    def loop(params: Any, shared: Any, steps: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda i, params: call(params, shared, i), params)

    count = len(rows.l2)
    hparams: dict[str, jax.Array] = dict(zip(HPARAMS, naive.hyperparameters(rows), strict=True))
    hparams |= {"num_train": jnp.float32(len(problem.x))}
    seeds = [begin_of(step, problem, seed) for seed in range(rows.seeds)]
    if layout is None:
        begin = jax.tree.map(lambda *leaves: jnp.stack(leaves * (count // rows.seeds)), *seeds)
    else:
        begin = jax.tree.unflatten(jax.tree.structure(seeds[0]), layout.leaves(rows.params))
    params = None if layout is None else lambda state: layout.params(jax.tree.leaves(state))
    shared = hparams, keys_of(count), *naive.data(problem), orders_of(problem)
    return Program(loop, call, begin, shared, count, params)


def program_of_core(problem: Problem, rows: Rows) -> Program:
    """Returns `regjax.core.train.run_segment`, mapped over networks: regjax as pure functions alone."""
    config = Config(layer_sizes=problem.layer_sizes, batch_size=problem.batch_size)
    data = pad_samples(check_data(config, Data.from_arrays(problem.x, problem.y)))

    def hparams_of(learning_rate: Any, l2: Any, keep_prob: Any) -> HParams:
        dropped = {} if problem.keep_prob is None else {"keep_prob": keep_prob}  # None compiles no dropout
        return check_hparams(config, HParams(learning_rate, l2=l2, **dropped))

    def mapped(state: Any, shared: Any, start: Any, stop: Any, steps: int | None) -> Any:
        hparams, keys, data, orders = shared
        course = Course(num_batches=problem.num_batches, orders=orders, steps=steps)

        def of_one(state: Any, key: Any, *hparams: Any) -> Any:
            values = hparams_of(*hparams)
            return run_segment(key, state, values, data, start, stop, course=course, config=config)

        return jax.vmap(of_one)(state, keys, *hparams)

    def loop(state: Any, shared: Any, steps: Any) -> Any:
        return mapped(state, shared, 0, steps, None)

    def call(state: Any, shared: Any, i: Any) -> Any:
        return mapped(state, shared, i, i + 1, 1)

    def begin(params: Any, key: Any, *hparams: Any) -> Any:
        return init_state(key, hparams_of(*hparams), config=config, params=params)

    hparams, keys = naive.hyperparameters(rows), keys_of(len(rows.l2))
    layers = tuple(Layer(jnp.asarray(w), jnp.asarray(b)[:, :, None]) for w, b in rows.params)
    orders = None if problem.batch_size is None else orders_of(problem)
    shared = hparams, keys, jax.tree.map(jnp.asarray, data), orders

    def params(state: Any) -> Params:
        return [(np.asarray(layer.w), np.asarray(layer.b)[:, :, 0]) for layer in state.params]

    return Program(loop, call, jax.vmap(begin)(layers, keys, *hparams), shared, len(rows.l2), params)


def compiled(program: Program) -> tuple[Compiled, float]:
    """Returns a program with its loop compiled anew, and the seconds of tracing and compiling it."""

    def loop(begin: Any, shared: Any, steps: Any) -> Any:  # another function each time, so that none is kept
        return program.loop(begin, shared, steps)

    began = time.perf_counter()
    ready = jax.jit(loop).lower(program.begin, program.shared, np.int32(1)).compile()
    took = time.perf_counter() - began
    memory = ready.memory_analysis()

    def run(steps: int) -> Any:
        return jax.block_until_ready(ready(program.begin, program.shared, np.int32(steps)))

    temp = None if memory is None else int(memory.temp_size_in_bytes)
    return Compiled(program, Prepared(run, program.params), temp), took


def compiled_in_turn(
    programs: dict[str, Program], repeats: int
) -> tuple[dict[str, Compiled], dict[str, list[float]]]:
    """Returns the programs with their loops compiled, and the seconds of each time, taken in turn."""
    ready: dict[str, Compiled] = {}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            ready[name], took = compiled(program)
            seconds[name].append(took)
    return ready, seconds


def calls_in_turn(programs: dict[str, Program], seconds: float, repeats: int) -> dict[str, list[float]]:
    """Returns the seconds of a Python call that makes one step of all networks, each the mean of many calls.

    A call gets the state that the one before returned; nothing waits for a call but the last one of a
    repetition, as in a loop that trains.

    Args:
        programs: the programs; their single step is compiled here.
        seconds: about the seconds of a repetition.
        repeats: how many repetitions; another program begins each.
    """

    def seconds_of_calls(name: str, count: int) -> float:
        program, step = programs[name], steps[name]
        state, began = program.begin, time.perf_counter()
        for i in range(count):
            state = step(state, program.shared, np.int32(i))
        jax.block_until_ready(state)
        return time.perf_counter() - began

    steps = {name: jax.jit(program.call) for name, program in programs.items()}
    counts = {}
    for name in programs:
        seconds_of_calls(name, 2)  # compiles
        one = statistics.median(seconds_of_calls(name, 8) / 8 for _ in range(3))
        counts[name] = int(min(10_000, max(8, seconds / one)))
    found: dict[str, list[float]] = {name: [] for name in programs}
    names = list(programs)
    for repetition in range(repeats):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(seconds_of_calls(name, counts[name]) / counts[name])
    return found
