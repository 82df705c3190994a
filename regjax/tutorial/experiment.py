"""The tutorial's experiment: the same network without regularisation, with an L2 penalty, with dropout.

The three are lanes of one compiled program and see the same weights, batches and bits. One seed each is
an illustration, not evidence.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.checks import check_count
from regjax.core.config import Config, Dtype, local_x64
from regjax.core.data import Data, check_data, pad_samples
from regjax.core.dropout import UnitMasks, dropout_masks
from regjax.core.evaluate import History, measure
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Params, predict_proba
from regjax.core.random import MAX_SEED, replicate_key
from regjax.core.train import TrainState, init_state, run_segment
from regjax.tutorial.functions import as_params, frozen_masks, initialize_parameters

HIDDEN = (20, 3)


class Run(NamedTuple):
    """One of the three networks.

    Attributes:
        name: "none", "l2" or "dropout".
        l2: λ of the penalty.
        keep_prob: of both hidden layers.
        params: after the last step, NumPy arrays.
        history: records as arrays over steps, see `train.measure`.
    """

    name: str
    l2: float
    keep_prob: float
    params: Params
    history: dict[str, np.ndarray]

    @property
    def diverged_at(self) -> int | None:
        """The first recorded step at which the cost or a parameter was not finite, or None."""
        finite = self.history["finite"]
        return None if finite.all() else int(self.history["step"][np.argmin(finite)])

    def final(self, metric: str) -> float:
        """Returns a metric after the last step."""
        return float(self.history[metric][-1])


class Experiment(NamedTuple):
    """What `run_experiment` returns.

    Attributes:
        runs: none, l2, dropout.
        config: what was compiled.
        masks: the dropout run's masks at step 0, one `(units, n)` array of 0 and 1 per hidden layer.
        seconds: "compile" and "train" (all three together).
    """

    runs: tuple[Run, ...]
    config: Config
    masks: tuple[np.ndarray, ...]
    seconds: dict[str, float]


def run_experiment(
    train: Data,
    test: Data,
    *,
    num_steps: int = 30_000,
    learning_rate: float = 0.3,
    l2: float = 0.7,
    keep_prob: float = 0.86,
    seed: int = 0,
    numpy_rng: bool = False,
    dtype: Dtype = "float32",
    on_progress: Callable[[int], None] = lambda step: None,
) -> Experiment:
    """Returns the three trained networks (n_features-20-3-1, full batch, plain gradient descent).

    Args:
        train: training rows with labels 0 and 1.
        test: rows to measure on, never trained on.
        num_steps: gradient steps, at least 1.
        learning_rate: of all three, >= 0.
        l2: λ of the "l2" network, >= 0.
        keep_prob: of the "dropout" network, in (0, 1].
        seed: of weights and masks.
        numpy_rng: take the tutorial's NumPy streams instead: weights from seed 3, and dropout masks from
            seed 1, the same at every step.
        dtype: "float32" or "float64".
        on_progress: called with the number of finished steps.

    Raises:
        TypeError: a value of the wrong kind, naming it.
        ValueError: a value out of its range, or data that does not fit, naming it.
    """
    config, hparams, train, test = check_experiment(
        train,
        test,
        num_steps=num_steps,
        learning_rate=learning_rate,
        l2=l2,
        keep_prob=keep_prob,
        seed=seed,
        dtype=dtype,
    )
    with local_x64(config.dtype):
        key, num_rows = replicate_key(seed), train.x.shape[1]
        masks = None
        if numpy_rng:
            masks = _frozen_lanes(config, train, keep_prob)
            hparams = hparams._replace(keep_prob=None)
            params = jax.tree.map(
                lambda w: jnp.asarray(w, config.dtype), as_params(initialize_parameters(config.layer_sizes))
            )
        else:
            params = None
        train, test = pad_samples(train), pad_samples(test)
        program = config.program()
        started = time.perf_counter()
        states = _init(key, hparams, params, config=program)
        records = []

        def record(step: int) -> None:
            found = _measure(key, states.params, hparams, train, test, step, masks, config=program)
            records.append(jax.tree.map(np.array, found))

        record(0)
        # No step from 0 to 0: this compiles the loop, so that compiling and training are timed apart.
        states = jax.block_until_ready(_advance(key, states, hparams, train, 0, 0, masks, config=program))
        compiled = time.perf_counter()
        for start, stop in _segments(num_steps):
            states = _advance(key, states, hparams, train, start, stop, masks, config=program)
            record(stop)
            on_progress(stop)
        trained = time.perf_counter()
        shown = _shown_masks(key, hparams, train, masks, config)
    history = jax.tree.map(lambda *values: np.stack(values, axis=1), *records)
    params = jax.tree.map(np.array, states.params)
    runs = tuple(
        Run(
            name,
            l2 if name == "l2" else 0.0,
            keep_prob if name == "dropout" else 1.0,
            jax.tree.map(lambda leaf, lane=lane: leaf[lane], params),
            {metric: values[lane] for metric, values in history.items()},
        )
        for lane, name in enumerate(("none", "l2", "dropout"))
    )
    seconds = {"compile": compiled - started, "train": trained - compiled}
    return Experiment(runs, config, tuple(mask[:, :num_rows] for mask in shown), seconds)


def check_experiment(
    train: Data,
    test: Data,
    *,
    num_steps: int,
    learning_rate: float,
    l2: float,
    keep_prob: float,
    seed: int,
    dtype: Dtype,
) -> tuple[Config, HParams, Data, Data]:
    """Returns the config, the three lanes' hyperparameters, and the data in the dtypes of the config.

    Raises what `run_experiment` raises, before anything is compiled.
    """
    check_count("seed", seed, at_least=0, at_most=MAX_SEED)
    config = Config(
        layer_sizes=(train.x.shape[0], *HIDDEN, 1),
        loss="sigmoid_cross_entropy",
        num_steps=num_steps,
        dtype=dtype,
    )
    train, test = check_data(config, train), check_data(config, test, name="test")
    base = HParams(learning_rate=learning_rate)
    lanes = [
        check_hparams(config, base),
        check_hparams(config, base._replace(l2=l2)),
        check_hparams(config, base._replace(keep_prob=keep_prob)),
    ]
    if lanes[2].keep_prob is not None:  # with dropout on in one lane, it is on (with probability 1) in all
        ones = np.ones(config.num_hidden, config.dtype)
        lanes[:2] = [lane._replace(keep_prob=ones) for lane in lanes[:2]]
    return config, jax.tree.map(lambda *leaves: np.stack(leaves), *lanes), train, test


@functools.partial(jax.jit, static_argnames="config")
def _init(key: jax.Array, hparams: HParams, params: Params | None, *, config: Config) -> TrainState:
    return jax.vmap(lambda h: init_state(key, h, config=config, params=params))(hparams)


@functools.partial(jax.jit, static_argnames="config")
def _advance(
    key: jax.Array,
    states: TrainState,
    hparams: HParams,
    data: Data,
    start: int,
    stop: int,
    masks: UnitMasks | None,
    *,
    config: Config,
) -> TrainState:
    run = functools.partial(run_segment, config=config)
    return jax.vmap(run, in_axes=(None, 0, 0, None, None, None, 0))(
        key, states, hparams, data, start, stop, masks
    )


@functools.partial(jax.jit, static_argnames="config")
def _measure(
    key: jax.Array,
    params: Params,
    hparams: HParams,
    train: Data,
    test: Data,
    step: int,
    masks: UnitMasks | None,
    *,
    config: Config,
) -> History:
    run = functools.partial(measure, config=config)
    return jax.vmap(run, in_axes=(None, 0, 0, None, None, None, 0))(
        key, params, hparams, train, test, step, masks
    )


def _segments(num_steps: int) -> list[tuple[int, int]]:
    """Returns (start, stop) pairs that end at every multiple of 10,000 and at 60 points or more in all."""
    every = max(1, num_steps // 60)
    if num_steps >= 10_000:
        every = max(divisor for divisor in range(1, every + 1) if 10_000 % divisor == 0)
    stops = [*range(every, num_steps, every), num_steps]
    return list(zip([0, *stops[:-1]], stops, strict=True))


def _frozen_lanes(config: Config, train: Data, keep_prob: float) -> UnitMasks | None:
    frozen = frozen_masks(config, train, keep_prob)
    if frozen is None:
        return None
    return tuple(None if m is None else jnp.stack([jnp.ones_like(m), jnp.ones_like(m), m]) for m in frozen)


def _shown_masks(
    key: jax.Array, hparams: HParams, train: Data, masks: UnitMasks | None, config: Config
) -> tuple[np.ndarray, ...]:
    """Returns which units the dropout run, the last lane, keeps at step 0: 0 and 1 per hidden layer."""
    dropout_hparams, masks = jax.tree.map(lambda leaf: leaf[2], (hparams, masks))
    drawn = _draw(key, dropout_hparams, train, config=config.program()) if masks is None else masks
    if drawn is None:
        return tuple(np.ones((units, train.x.shape[1])) for units in config.layer_sizes[1:-1])
    return tuple((np.asarray(mask) > 0).astype(float) for mask in drawn if mask is not None)


@functools.partial(jax.jit, static_argnames="config")
def _draw(key: jax.Array, hparams: HParams, train: Data, *, config: Config) -> UnitMasks | None:
    return dropout_masks(key, 0, config.layer_sizes, train.x.shape[1], keep_prob=hparams.keep_prob)


@functools.partial(jax.jit, static_argnames="config")
def probabilities(params: Params, x: jax.Array, *, config: Config) -> jax.Array:
    """Returns the probability of class 1 for several networks at once, `(networks, n)`.

    Args:
        params: stacked: every leaf has a leading axis of networks.
        x: points, `(n_features, n)`.
        config: of the networks.
    """
    run = functools.partial(predict_proba, activation=config.activation, precision=config.precision)
    return jax.vmap(run, in_axes=(0, None))(params, x)[:, 0, :]
