"""The training of one network, epoch by epoch, in compiled calls of a few epochs each.

`RegMLP` calls it: `fit` and `partial_fit` train with `train_epochs`; `_compile` runs `run_epochs` without
epochs, so that the program of a search's refit is compiled while the search trains.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from regjax.core.config import Config
from regjax.core.data import NOTHING, Data, pad_samples
from regjax.core.hparams import HParams
from regjax.core.mlp import Params
from regjax.core.numpy_random import draw_orders
from regjax.core.platforms import jit_with
from regjax.core.train import Course, TrainState, init_state, run_segment

# Epochs of one compiled call. A run that has stopped, or Ctrl-C, waits for the end of the call.
EPOCHS = 10
# Compiled programs that are kept: each maps some 200 pieces of memory, and Linux allows a process 65,530.
MOST_PROGRAMS = 100
# NumPy's words, where scikit-learn divides by a sum of weights that is 0.
NO_WEIGHT = "Weights sum to zero, can't be normalized"
# XLA's older code for fusions and LLVM's first level compile in a third of the time, and for one network
# the program is as fast.
QUICK: Any = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}


class Samples(NamedTuple):
    """The samples of a fit.

    Attributes:
        data: training samples, features first and padded.
        watched: samples whose score early stopping watches, or None.
        mean_weight: mean weight of the training samples.
    """

    data: Data
    watched: Data | None
    mean_weight: float


class Curves(NamedTuple):
    """What is known of each of a few epochs, `(n_epochs,)` each.

    Attributes:
        loss: mean objective of its batches.
        score: on the watched samples after it; NaN where none are watched.
        factor: the factor of the learning rate after it.
        stopped: whether the run has stopped.
    """

    loss: Any
    score: Any
    factor: Any
    stopped: Any


class Run(NamedTuple):
    """The values that stay the same throughout a fit; the hyperparameters are checked."""

    key: jax.Array
    hparams: HParams
    samples: Samples
    config: Config


class Drawn(NamedTuple):
    """What a fit draws before it trains.

    Attributes:
        sizes: units per layer.
        random: the generator, which goes on to draw the split and the orders.
        key: key of the masks.
    """

    sizes: tuple[int, ...]
    random: np.random.RandomState
    key: jax.Array


class Trained(NamedTuple):
    """A network that a search has trained with others.

    Attributes:
        params: its parameters, those that predict.
        config: its config.
        num_epochs: epochs that it was trained for.
        num_samples: samples of an epoch.
        converged: whether it stopped before its last epoch.
        seed: the random_state that it was trained with; None takes its own.
        start: the parameters that it has started from, where they were not drawn.
    """

    params: Params
    config: Config
    num_epochs: int
    num_samples: int
    converged: bool
    seed: int | None
    start: Params | None = None


class Span(NamedTuple):
    """The epochs of a compiled call; traced, so that one program serves every span.

    Attributes:
        first: epochs done.
        last: epochs of the whole run; later epochs change nothing.
        num_batches: batches of an epoch.
        num_steps: steps of the whole run.
    """

    first: Any
    last: Any
    num_batches: Any
    num_steps: Any


def counted(weights: np.ndarray, dtype: Any) -> np.ndarray:
    """Returns weights in which 0 is so small that it adds nothing, but counts as a sample that is trained on.

    Args:
        weights: `(n_samples,)`, >= 0, not all 0.
        dtype: dtype of the network.
    """
    nothing = NOTHING[np.dtype(dtype).name] * np.mean(weights, dtype=np.float64)
    return np.where(weights > 0, weights, nothing)


def as_data(X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Data:
    """Returns samples features first, padded to one of a few numbers, so that few programs are compiled.

    Args:
        X: `(n_samples, n_features)`.
        y: `(n_samples, n_outputs)`.
        weights: `(n_samples,)`, >= 0.
    """
    data = Data(X.T, y.T, weights.astype(X.dtype))
    n = len(X)
    size = 32
    while size < min(n, 1024):
        size *= 2
    return pad_samples(data, size if n <= 1024 else 512)


@functools.partial(jax.jit, static_argnames="config")
def begin(key: jax.Array, hparams: HParams, params: Params, *, config: Config) -> TrainState:
    """Returns the state before the first step, from given parameters."""
    return init_state(key, hparams, config=config, params=params)


def order_drawer(
    random: np.random.RandomState, data: Data, config: Config, shuffle: bool
) -> Callable[[int], np.ndarray | None]:
    """Returns a function that draws the orders of the samples in the next epochs, as scikit-learn does.

    It takes the number of epochs, at most `EPOCHS`, and returns `(EPOCHS, n)`, or None where a batch holds
    all samples.
    """
    order: Any = np.flatnonzero(data.weights > 0)

    def draw(count: int) -> np.ndarray | None:
        nonlocal order
        if config.batch_size is None:
            return None
        # scikit-learn shuffles the order of the epoch before.
        orders, order = draw_orders(random, order, count, data.x.shape[1], shuffle)
        # One shape for all calls, also for the last, which may have fewer epochs.
        return np.pad(orders, ((0, EPOCHS - count), (0, 0)))

    return draw


def check_batches(orders: np.ndarray | None, data: Data, config: Config) -> None:
    """Raises ZeroDivisionError, as scikit-learn does, where a batch has samples of weight 0 alone.

    Args:
        orders: orders of the samples in each epoch, `(epochs, n)`, or None where a batch holds all.
        data: training samples, whose weights `counted` has replaced.
        config: batch_size and dtype.
    """
    weights = np.asarray(data.weights)
    seen = weights > 2 * NOTHING[config.dtype]
    num_samples = int(np.sum(weights > 0))
    if orders is None or config.batch_size is None or np.sum(seen) == num_samples:
        return
    starts = np.arange(0, num_samples, config.batch_size)
    if not np.logical_or.reduceat(seen[orders[:, :num_samples]], starts, axis=1).all():
        raise ZeroDivisionError(NO_WEIGHT)


def train_epochs(
    run: Run, state: TrainState, first: int, last: int, draw: Callable[[int], np.ndarray | None]
) -> Iterator[tuple[TrainState, Curves]]:
    """Yields the state after every few epochs, with the curves of these epochs.

    Args:
        run: values that stay the same.
        state: the state after `first` epochs.
        first: epochs done.
        last: largest number of epochs.
        draw: the function that `order_drawer` returns.

    Raises:
        ZeroDivisionError: a batch of samples of weight 0 alone.
    """
    config, data = run.config, run.samples.data
    num_samples = int(np.sum(np.asarray(data.weights) > 0))
    num_batches = 1 if config.batch_size is None else math.ceil(num_samples / config.batch_size)
    for epoch in range(first, last, EPOCHS):
        count = min(EPOCHS, last - epoch)
        orders = draw(count)
        state, found = run_epochs(
            run.key, state, run.hparams, data, run.samples.watched, orders,
            Span(epoch, last, num_batches, config.num_steps), config=config.program(),
        )  # fmt: skip
        stopped = np.asarray(found.stopped)[:count]
        ran = int(np.argmax(stopped)) + 1 if stopped.any() else count
        check_batches(None if orders is None else orders[:ran], data, config)
        yield state, Curves(*(np.asarray(curve)[:ran] for curve in found))
        if stopped.any():
            return


def run_epochs(*args: Any, config: Config) -> tuple[TrainState, Curves]:
    """Returns the result of `_run_epochs`, compiled, for its arguments."""
    _compiled.add((config, *(np.shape(leaf) for leaf in jax.tree.leaves(args))))
    if len(_compiled) > MOST_PROGRAMS:
        _compiled.clear()
        _program().clear_cache()
        cast(Any, begin).clear_cache()
    return _program()(*args, config=config)


# The configs and shapes that the programs in memory were compiled for.
_compiled: set[Any] = set()


@functools.cache
def _program() -> Any:
    """Returns the compiled `_run_epochs`, with the options `QUICK` where the compiler has them."""
    return jit_with(QUICK, _run_epochs, static_argnames="config")


def _run_epochs(
    key: jax.Array,
    state: TrainState,
    hparams: HParams,
    data: Data,
    watched: Data | None,
    orders: jax.Array | None,
    span: Span,
    *,
    config: Config,
) -> tuple[TrainState, Curves]:
    """Returns the state after `EPOCHS` epochs, and the curves of these.

    The orders of the samples are `(EPOCHS, n)`, or None where a batch holds all samples.
    """

    def one(state: TrainState, at: tuple[jax.Array, Any]) -> tuple[TrainState, Any]:
        epoch, order = at
        start = epoch * span.num_batches
        # An epoch past the last has no steps.
        stop = jnp.where(epoch < span.last, start + span.num_batches, start)
        orders = None if order is None else order[None]
        course = Course(span.num_batches, span.num_steps, watched, orders)
        state = run_segment(key, state, hparams, data, start, stop, course=course, config=config)
        epochs = cast(Any, state.epochs)
        return state, Curves(epochs.loss, epochs.score, epochs.factor, epochs.stopped_at >= 0)

    epochs = jnp.asarray(span.first, jnp.int32) + jnp.arange(EPOCHS, dtype=jnp.int32)
    return lax.scan(one, state, (epochs, orders))
