"""A whole segment of training in one call of the native kernel, on a CPU; the logits of records in another.

`lanes.run_task` calls `advance_native`, `measure_native` and `examples_native` where the task says so, in
place of the compiled programs of `advance_lanes`, `measure_lanes` and `examples_of_lanes`, which stay the
reference: they agree to rounding. Networks are trained one after the other, so no bit of one depends on the
shape of its chunk.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import weakref
from typing import Any, NamedTuple

import jax
import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.minibatches import weigh_classes
from regjax.core.mlp import Params
from regjax.core.objective import resolve_loss
from regjax.core.train import TrainState
from regjax.engine.measures import Inferred, examples_of_lanes, record_lanes
from regjax.engine.replicates import Replicates
from regjax.native.coverage import ACTIVATIONS, LOSSES, OPTIMIZERS, SCHEDULES
from regjax.native.library import RATES, Networks, Program, Samples, Seen, Strengths, find, infer, train


def advance_native(
    replicates: Replicates,
    hparams: HParams,
    states: TrainState,
    start: int,
    stop: int,
    num_batches: int,
    idle: Any = np.False_,
    *,
    config: Config,
) -> TrainState:
    """Returns the states after steps `start` … `stop` - 1, as `lanes.advance_lanes` does, to rounding.

    Args:
        replicates: data, weights and keys, see `lanes.Replicates`.
        hparams: leaves `(R, r, …)`.
        states: states after `start` steps, leaves `(R, r, …)`; they are not changed.
        start: first step.
        stop: step to stop before.
        num_batches: number of batches of an epoch.
        idle: lanes whose states stay as they are, `(R, r)` booleans.
        config: config of the networks, one that `coverage.covers`.

    Raises:
        RuntimeError: the library is not built, and cannot be.
        MemoryError: there is not enough memory.
    """
    library = _library(config)
    if start >= stop:
        return states
    samples, num_train = _samples_of(replicates, config)
    masked = _masked(hparams, config)
    program = Program(
        sizes=config.layer_sizes,
        masked=masked,
        activation=ACTIVATIONS[config.activation],
        loss=LOSSES[resolve_loss(config, Data(None, replicates.y, None))],
        optimizer=OPTIMIZERS[config.optimizer],
        schedule=SCHEDULES[config.schedule],
        warmup_steps=config.warmup_steps,
        schedule_steps=config.schedule_steps,
        batch_size=config.batch_size or 0,
        num_batches=int(num_batches),
        shuffle=config.shuffle,
    )
    strengths = _strengths(hparams, num_train, masked, config)
    copied = functools.partial(np.array, order="C")  # the kernel writes into these
    params, of_params = jax.tree.flatten(jax.tree.map(copied, states.params))
    # Of optax: a count, `(R, r)`, and moments with the leaves of the parameters.
    carried, of_state = jax.tree.flatten(jax.tree.map(copied, states.opt_state))
    counts = [leaf for leaf in carried if leaf.ndim == 2]
    moments = [leaf for leaf in carried if leaf.ndim > 2]
    networks = Networks(params, moments, counts[0] if counts else None, _flags(idle))
    train(library, program, samples, strengths, networks, start, stop)
    return states._replace(
        params=jax.tree.unflatten(of_params, params), opt_state=jax.tree.unflatten(of_state, carried)
    )


def _flags(idle: Any) -> np.ndarray | None:
    return np.ascontiguousarray(idle, np.int8) if np.any(idle) else None


def measure_native(
    replicates: Replicates,
    hparams: HParams,
    params: Params,
    *,
    config: Config,
    with_scores: bool = False,
    idle: Any = np.False_,
) -> dict[str, jax.Array]:
    """Returns one record for each lane, as `measures.measure_lanes` does, of the kernel's logits.

    No bit of the logits depends on the shape of the chunk. Records of lanes that are `idle` are of logits of
    0. XLA gets logits, and penalties by NumPy: it compiles one program for networks of all widths and depths.
    For layers of 64 units and more XLA alone takes about 1.5 times as long (`benchmarks/NOTES.md`).
    """
    logits_of = functools.partial(_logits, replicates, params=params, config=config, idle=_flags(idle))
    parts = [part for part in (replicates.train, replicates.val, replicates.watched) if part is not None]
    logits = logits_of(replicates.x, sum(map(np.asarray, parts)))
    test_logits = None
    if replicates.test is not None:
        test_logits = logits_of(replicates.test_x, np.asarray(replicates.test))
    inferred = Inferred(logits, test_logits, *_penalties(params, hparams, config))
    seen = replicates._replace(x=None, test_x=None, fold=None)
    return record_lanes(seen, inferred, config=_without_widths(config), with_scores=with_scores)


def examples_native(replicates: Replicates, params: Params, *, config: Config) -> dict[str, jax.Array]:
    """Returns per-example validation scores, as `measures.examples_of_lanes` does, of the kernel's logits."""
    logits = _logits(replicates, replicates.x, np.asarray(replicates.val), params, config, None)
    seen = replicates._replace(x=None, test_x=None, fold=None)
    return examples_of_lanes(seen, None, logits, config=_without_widths(config))


def _without_widths(config: Config) -> Config:
    """Returns a config of records, which need the number of outputs alone of all sizes."""
    return dataclasses.replace(config, layer_sizes=(1, config.layer_sizes[-1]), activation="relu")


def _penalties(params: Params, hparams: HParams, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Returns `penalties.penalty` of each lane, and whether its parameters are finite, `(R, r)` each."""
    lanes, l2, l1 = np.shape(hparams.learning_rate), np.asarray(hparams.l2), np.asarray(hparams.l1)
    total, finite = np.zeros(lanes, config.dtype), np.ones(lanes, bool)
    for index, layer in enumerate(params):
        w, b = (np.reshape(leaf, (*lanes, -1)) for leaf in layer)
        with np.errstate(over="ignore", invalid="ignore"):  # of a network that has diverged
            total += l2[..., index] / 2 * np.square(w).sum(axis=-1)
            if l1.any():
                total += l1[..., index] * np.abs(w).sum(axis=-1)
        finite &= np.isfinite(w).all(axis=-1) & np.isfinite(b).all(axis=-1)
    return total, finite


def _logits(
    replicates: Replicates, x: Any, weights: Any, params: Params, config: Config, idle: np.ndarray | None
) -> np.ndarray:
    """Returns the logits of samples x, `(R, r, outputs, n)`; weights may lack the axes of replicates."""
    folds, x = _folds_of(replicates, x, config)
    weights = np.reshape(weights, (-1, weights.shape[-1]))
    seen = np.ascontiguousarray(np.broadcast_to(weights, (len(folds), weights.shape[-1])), config.dtype)
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(params)]
    activation = ACTIVATIONS[config.activation]
    found = infer(_library(config), config.layer_sizes, activation, Seen(x, seen, folds), leaves, idle)
    return found.reshape(*leaves[0].shape[:2], *found.shape[1:])


def _library(config: Config) -> ctypes.CDLL:
    library, _, why = find(config.dtype)
    if library is None:
        raise RuntimeError(f"the native kernel must be built where it trains, and is not: {why}")
    return library


def _folds_of(replicates: Replicates, x: Any, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of each replicate's inputs, and the inputs x of the folds."""
    # Without leading axes all replicates share an array; the inputs of folds may lie side by side.
    x, count = _by_fold(x, config), np.asarray(replicates.key).size // 2
    own = np.arange(count) % len(x) if replicates.fold is None else np.ravel(replicates.fold)
    return np.ascontiguousarray(own, np.int64), x


def _samples_of(replicates: Replicates, config: Config) -> tuple[Samples, np.ndarray]:
    """Returns the samples as the kernel reads them, and n of each replicate, which divides the penalties."""
    derived = _derived_of(replicates, config)
    keys = np.ascontiguousarray(np.asarray(replicates.key).reshape(-1, 2), np.uint32)
    folds, x = _folds_of(replicates, replicates.x, config)
    gathers = config.batch_size is not None and replicates.rows is not None
    rows = _by_fold(replicates.rows, config) if gathers else None
    samples = Samples(x, derived.y, derived.weights, derived.divisors, keys, folds, rows)
    return samples, derived.num_train


def _by_fold(leaf: Any, config: Config) -> np.ndarray:
    leaf = np.asarray(leaf)
    return np.ascontiguousarray(leaf.reshape(-1, *leaf.shape[-2:]), config.dtype)


class Derived(NamedTuple):
    """What is derived from targets and weights.

    Attributes:
        y: targets, `(1 or replicates, targets, n)`.
        weights: weights of the samples times those of their classes, `(replicates, n)`.
        divisors: what a step divides the weights by, `(replicates,)`.
        num_train: Σ w, `(replicates,)`.
    """

    y: np.ndarray
    weights: np.ndarray
    divisors: np.ndarray
    num_train: np.ndarray


# Of the tasks at work, by the identities of their weights and targets: all segments of a task have the same.
_derived: dict[tuple[Any, ...], tuple[weakref.ref[Any], Derived]] = {}


def _derived_of(replicates: Replicates, config: Config) -> Derived:
    train, y = replicates.train, replicates.y
    if not (isinstance(train, jax.Array) and isinstance(y, jax.Array)):
        return _derive(train, y, config)  # the numbers of other arrays may change
    key = id(train), id(y), config.class_weight, config.batch_size, config.layer_sizes[-1], config.dtype
    kept = _derived.get(key)
    if kept is not None and kept[0]() is y:
        return kept[1]
    found = _derive(train, y, config)
    _derived[key] = weakref.ref(y), found
    weakref.finalize(train, _derived.pop, key, None)
    return found


def _derive(train: Any, y: Any, config: Config) -> Derived:
    weights = np.asarray(train)
    weights = np.ascontiguousarray(weights.reshape(-1, weights.shape[-1]), config.dtype)
    labels = _by_fold(y, config)
    weighted = weights
    if config.class_weight is not None:
        classes = np.broadcast_to(np.asarray(y), (len(weights), *labels.shape[-2:]))
        weighted = np.stack([
            np.asarray(weigh_classes(Data(None, *pair), config).weights)
            for pair in zip(classes, weights, strict=True)
        ])  # fmt: skip
    num_train = weighted.sum(axis=1)
    divisors = num_train if config.batch_size is None else np.full(len(weights), config.batch_size)
    return Derived(labels, weighted, divisors.astype(config.dtype), num_train)


def _masked(hparams: HParams, config: Config) -> tuple[bool, ...]:
    hidden = hparams.keep_prob is not None
    return (hparams.input_keep_prob is not None, *[hidden] * config.num_hidden)


def _strengths(
    hparams: HParams, num_train: np.ndarray, masked: tuple[bool, ...], config: Config
) -> Strengths:
    """Returns the hyperparameters that the kernel reads, as rows of a network."""
    count, layers = hparams.learning_rate.size, config.num_layers

    def rows(value: Any) -> np.ndarray:
        return np.asarray(value, config.dtype).reshape(count, -1)

    of_network = np.repeat(num_train, count // len(num_train))[:, None]
    rates = np.concatenate([rows(getattr(hparams, name)) for name in RATES], axis=1)
    thresholds = np.ones((count, layers), config.dtype)
    for layer, (value, on) in enumerate(
        zip((hparams.input_keep_prob, *[hparams.keep_prob] * config.num_hidden), masked, strict=True)
    ):
        if on:
            thresholds[:, layer] = thresholds_of(rows(value)[:, max(layer - 1, 0)])
    with np.errstate(divide="ignore", invalid="ignore"):  # without weight, networks diverge
        l2, l1 = (np.ascontiguousarray(rows(value) / of_network) for value in (hparams.l2, hparams.l1))
    return Strengths(np.ascontiguousarray(rates), l2, l1, thresholds)


def thresholds_of(keep_prob: np.ndarray) -> np.ndarray:
    """Returns what `dropout.keep_threshold` does, to the bit, by NumPy.

    A call of JAX takes as long as hundreds of steps of a small network.
    """
    return np.clip(np.round(65536 * keep_prob), 1, 65536)
