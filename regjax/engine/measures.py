"""Records and per-example scores of the lanes of a chunk.

`engine/lanes.py` calls these functions for a task's records. Areas under ROC curves of many samples, and of
networks that the native kernel trains, are found by NumPy: on a CPU its sort takes a twentieth of the time of
XLA's, and none to compile.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.evaluate import INFER_BLOCK, all_finite, infer
from regjax.core.hparams import HParams
from regjax.core.metrics import CLASS_METRICS, class_scores, examples, metrics
from regjax.core.mlp import Params
from regjax.core.objective import resolve_loss
from regjax.core.penalties import penalty
from regjax.engine.replicates import Replicates, over_lanes, per_lane
from regjax.engine.workers import is_accelerated


class Inferred(NamedTuple):
    """What a record reads of networks, of which each field has the axes `(R, r)` in front.

    Attributes:
        logits: logits of all samples, `(outputs, n)`.
        test_logits: those of the test set, or None.
        penalty: the penalties on the weights, not yet divided by n, `()`.
        finite: whether all parameters are finite, `()`.
    """

    logits: Any
    test_logits: Any
    penalty: Any
    finite: Any


@functools.partial(jax.jit, static_argnames=("config", "with_scores"))
def measure_lanes(
    replicates: Replicates,
    hparams: HParams,
    params: Params,
    *,
    config: Config,
    with_scores: bool = False,
) -> dict[str, jax.Array]:
    """Returns one record for each lane, arrays `(R, r)`, computed without noise or dropout.

    Names: `finite`, whether all parameters and the training cost are finite; `train_cost`, loss + penalty/n;
    `train_…`, `val_…` and `test_…` for each metric of `metrics.metrics`; with early stopping `stop_loss`.
    All but `finite` are NaN where it is false.

    With `with_scores` also `scores` and `test_scores`, `(R, r, classes, n)`, by which areas under ROC curves
    rank the samples: one row for two classes.
    """

    def measure(replicate: Replicates, hparams: HParams, params: Params) -> dict[str, jax.Array]:
        # One forward pass serves training, validation and stopping samples; `infer` hides all others.
        held_out = [part for part in (replicate.val, replicate.watched) if part is not None]
        either = functools.reduce(jnp.add, held_out, replicate.train)
        logits = infer(params, Data(None, replicate.y, either), config, replicate.block)
        test_logits = None
        if replicate.test is not None:
            test = Data(None, replicate.test_y, replicate.test)
            test_logits = infer(params, test, config, replicate.test_block)
        inferred = Inferred(logits, test_logits, penalty(params, hparams), all_finite(params))
        return _record(replicate, inferred, config, with_scores)

    if replicates.shared:
        replicates = per_lane(replicates, hparams.learning_rate.shape[1])
    return over_lanes(measure, replicates, 2)(replicates, hparams, params)


@functools.partial(jax.jit, static_argnames=("config", "with_scores"))
def record_lanes(
    replicates: Replicates, inferred: Inferred, *, config: Config, with_scores: bool = False
) -> dict[str, jax.Array]:
    """Returns what `measure_lanes` does of networks whose logits are known: one program for all widths."""
    if replicates.shared:
        replicates = per_lane(replicates, np.shape(inferred.penalty)[1])
    record = functools.partial(_record, config=config, with_scores=with_scores)
    return over_lanes(record, replicates, 1)(replicates, inferred)


def _record(
    replicate: Replicates, inferred: Inferred, config: Config, with_scores: bool
) -> dict[str, jax.Array]:
    """Returns the record of one network."""
    logits, train = inferred.logits, Data(None, replicate.y, replicate.train)
    parts = {"train": (logits, train)}
    if replicate.val is not None:
        parts["val"] = (logits, train._replace(weights=replicate.val))
    if replicate.test is not None:
        parts["test"] = (inferred.test_logits, Data(None, replicate.test_y, replicate.test))
    record = {
        f"{name}_{metric}": value
        for name, (found, part) in parts.items()
        for metric, value in metrics(
            found, part.y, part.weights, loss=resolve_loss(config, part), only=config.metrics
        ).items()
    }
    if replicate.watched is not None:
        watched = train._replace(weights=replicate.watched)
        loss = resolve_loss(config, watched)
        record["stop_loss"] = metrics(logits, watched.y, watched.weights, loss=loss, only=())["loss"]
    record["train_cost"] = record["train_loss"] + inferred.penalty / jnp.sum(replicate.train)
    # A relu turns NaN into 0, so without this test a diverged network would report an accuracy.
    finite = inferred.finite & jnp.isfinite(record["train_cost"])
    if with_scores:
        record["scores"] = class_scores(logits)[-len(logits) :]
        if "test" in parts:
            record["test_scores"] = class_scores(inferred.test_logits)[-len(logits) :]
    return {name: jnp.where(finite, value, jnp.nan) for name, value in record.items()} | {"finite": finite}


def with_ranks(
    measure: Callable[..., dict[str, jax.Array]],
    replicates: Replicates,
    hparams: HParams,
    config: Config,
    *,
    on_host: bool = False,
) -> Callable[[Params], dict[str, Any]]:
    """Returns a function of parameters that returns their record, as `measure_lanes` does.

    Args:
        measure: `measure_lanes`, or `native.measure_native`.
        replicates: data and weights of the lanes.
        hparams: hyperparameters of the lanes.
        config: config of the records.
        on_host: whether NumPy ranks few samples too: half of what a record takes to compile is XLA's sorts.
    """
    if not _ranks_on_host(replicates, config, 0 if on_host else INFER_BLOCK):
        return functools.partial(measure, replicates, hparams, config=config)
    names = CLASS_METRICS if config.metrics is None else config.metrics
    others = dataclasses.replace(
        config, metrics=tuple(name for name in names if name not in ("loss", "roc_auc"))
    )

    def measured(params: Params) -> dict[str, Any]:
        found = dict(measure(replicates, hparams, params, config=others, with_scores=True))
        scores = {"": found.pop("scores"), "test_": found.pop("test_scores", None)}
        finite = np.asarray(found["finite"])
        for prefix, parts in (("", ("train", "val")), ("test_", ("test",))):
            weights = {part: getattr(replicates, part) for part in parts}
            weights = {part: value for part, value in weights.items() if value is not None}
            if weights:
                y = replicates.test_y if prefix else replicates.y
                found |= _areas(np.asarray(scores[prefix]), np.asarray(y), weights, finite)
        return found

    return measured


def _ranks_on_host(replicates: Replicates, config: Config, least: int) -> bool:
    """Returns whether NumPy finds the areas under ROC curves: of more samples than `least`, on a CPU."""
    most = max(np.shape(x)[-1] for x in (replicates.x, replicates.test_x) if x is not None)
    wanted = config.metrics is None or "roc_auc" in config.metrics
    classes = jnp.issubdtype(replicates.y.dtype, jnp.integer) and config.loss != "multilabel_cross_entropy"
    return wanted and classes and most > least and not is_accelerated()


def _areas(
    scores: np.ndarray, y: np.ndarray, weights: dict[str, Any], finite: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns `…_roc_auc` of parts of the samples, `(R, r)` each, NaN where `finite` is false.

    Args:
        scores: `(R, r, classes, n)`; one row is the score of class 1.
        y: classes, `(1, n)`.
        weights: part -> weights of its samples, `(n,)`, `(R, n)` or `(R, r, n)`.
        finite: `(R, r)`.
    """
    labels = range(scores.shape[2]) if scores.shape[2] > 1 else (1,)
    members = [y[0] == label for label in labels]
    found = {}
    for part, value in weights.items():
        weight, areas = np.asarray(value), np.full(finite.shape, np.nan, scores.dtype)
        for lane in zip(*np.nonzero(finite), strict=True):
            of_lane = weight[lane[: weight.ndim - 1]]  # it may lack the axis of lanes, or both
            each = [
                ranked_area(of_class, is_in, of_lane)
                for of_class, is_in in zip(scores[lane], members, strict=True)
            ]
            areas[lane] = np.mean(each)
        found[f"{part}_roc_auc"] = areas
    return found


def ranked_area(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> float:
    """Returns what `metrics.roc_auc` returns, by NumPy's sort; arguments as there, with finite scores."""
    seen = np.flatnonzero(weights > 0)
    order = np.argsort(scores[seen])
    seen = seen[order]
    ranked, each = scores[seen], weights[seen].astype(np.float64)
    # Equal scores are half below and half above each other: of each run of them the sums at its end count.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    plus, both = np.cumsum(each * positive[seen])[ends], np.cumsum(each)[ends]
    minus = both - plus
    # The area of trapezia. Not by np.dot, whose threads would wait for cores that other workers use.
    area = np.sum(np.diff(plus, prepend=0.0) * (minus + np.append(0.0, minus[:-1]))) / 2
    with np.errstate(invalid="ignore"):  # NaN without samples of both kinds
        return float(area / (plus[-1] * minus[-1]))


@functools.partial(jax.jit, static_argnames="config")
def examples_of_lanes(
    replicates: Replicates, params: Params, logits: Any = None, *, config: Config
) -> dict[str, jax.Array]:
    """Returns per-example validation scores, arrays `(R, r, n)`, as `metrics.examples` defines them.

    Args:
        replicates: data and weights of the lanes.
        params: parameters, leaves `(R, r, …)`; not read where logits are known, and may be None there.
        logits: those of all samples, `(R, r, outputs, n)`; None computes them.
        config: config of the records.
    """

    def scores(replicate: Replicates, params: Params, logits: Any) -> dict[str, jax.Array]:
        data = Data(None, replicate.y, replicate.val)
        if logits is None:
            logits = infer(params, data, config, replicate.block)
        return examples(logits, data.y, loss=resolve_loss(config, data))

    if replicates.shared:
        replicates = per_lane(replicates, jax.tree.leaves((params, logits))[0].shape[1])
    return over_lanes(scores, replicates, 2)(replicates, params, logits)
