"""Predictions of the networks of a sweep, and scores of the mean of several; `Results` calls it.

`engine/references.py` scores other models by `score_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from regjax.core.config import REAL_LOSSES, Loss
from regjax.core.data import as_numbers
from regjax.core.metrics import metrics, without_split
from regjax.core.mlp import Params, decide, probabilities
from regjax.core.network import infer_logits
from regjax.core.objective import resolve_loss
from regjax.core.settings import own_settings
from regjax.data.schema import RowName, Schema, position
from regjax.data.table import as_pandas, is_frame
from regjax.study.design import Design


def rows_of(design: Design, X: Any) -> np.ndarray:
    """Returns samples of a user as numbers, `(n_samples, columns)`: those of a frame by their names.

    Args:
        design: design of the sweep.
        X: `(n_samples, n_features)`, as handed to `sweep`; of a table a frame with its columns, in any order.

    Raises:
        TypeError: X is no frame where the table has gaps or categories, or holds no numbers.
        ValueError: X of another shape, or with columns that are missing or unknown.
    """
    return numbers_by(design.schema, len(design.data.x), X)


def numbers_by(schema: Schema | None, num_columns: int, X: Any, row_name: RowName = position) -> np.ndarray:
    """Returns samples as numbers, `(n_samples, columns)`; errors as in `rows_of`.

    Args:
        schema: schema of the table, or None for arrays.
        num_columns: number of columns that the networks read.
        X: as in `rows_of`.
        row_name: number of a row of a frame -> its name in messages.
    """
    if schema is not None and is_frame(X):
        return schema.code(as_pandas(X), row_name)
    if schema is not None and not schema.plain:
        raise TypeError(
            "X must be a frame of pandas or polars with the columns of the training table, "
            f"got {type(X).__name__}"
        )
    x = as_numbers("X", X)
    if x.ndim != 2 or x.shape[1] != num_columns:
        raise ValueError(f"X must be (n_samples, {num_columns}), got shape {x.shape}")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"X must hold numbers, got dtype {x.dtype}")
    return x


def predicted(
    run: Callable[..., Any], design: Design, row: int, params: Params, rows: np.ndarray
) -> np.ndarray:
    """Returns the predictions of the network of a row, features-first as `mlp.decide` has them.

    Real values are in the unit of the targets; where those are standardised they are float64.

    Args:
        run: `mlp.decide` or `mlp.probabilities`, of (logits, loss).
        design: design of the sweep.
        row: number of the network; its inputs are made by the statistics of its training part.
        params: parameters of the network.
        rows: `(n_samples, columns)`, as `rows_of` returns them.
    """
    where = design.row(row)
    config, stops = design.configs[where.configuration], design.stops_early(where.configuration)
    x = design.encoded(rows, where.fold, stops)
    loss = resolve_loss(config, design.data)
    with own_settings(config.dtype):
        found = np.asarray(run(infer_logits(params, jnp.asarray(x), config, loss), loss))
    return design.in_own_unit(found, where.fold, stops)


def ensemble_scores(design: Design, kept: Mapping[int, Params], metric: str) -> np.ndarray:
    """Returns a metric of the seeds' mean predictions, `(configurations, folds)`; see `Results.ensemble`."""
    found = np.full((len(design.configs), design.num_folds), np.nan)
    for configuration, fold in np.ndindex(found.shape):
        samples = np.asarray(design.data.x if design.fold_inputs is None else design.fold_inputs[fold]).T
        rows = [design.index(configuration, seed, fold) for seed in range(len(design.seeds))]
        if all(row in kept for row in rows):
            loss = resolve_loss(design.configs[configuration], design.data)
            run = decide if loss in REAL_LOSSES else probabilities
            each = [predicted(run, design, row, kept[row], samples) for row in rows]
            mean = np.mean(each, axis=0).astype(np.float64)
            found[configuration, fold] = score_of(mean, design, loss, fold, metric)
    return found


def score_of(mean: np.ndarray, design: Design, loss: Loss, fold: int, metric: str) -> float:
    """Returns a metric of predictions on the held-out samples of a fold, as records have it.

    Args:
        mean: probabilities of the classes, `(n_classes, n)`, or of class 1, `(1, n)`; or real values,
            `(n_outputs, n)`, float64: of all samples of the design, of which the held-out ones are read.
        design: design of the sweep.
        loss: loss of its networks.
        fold: number of the fold.
        metric: name of the metric, with or without its split.
    """
    # Metrics take logits: those of these probabilities, for several classes up to a constant; the logits of
    # poisson are logarithms too.
    with np.errstate(divide="ignore"):
        if loss == "sigmoid_cross_entropy":
            scores = np.log(mean) - np.log1p(-mean)
        else:
            scores = mean if loss == "squared_error" else np.log(mean)
    # In float32 a probability may be 0, and its logit infinite.
    scores = np.nan_to_num(scores, posinf=1e4, neginf=-1e4)
    with own_settings("float64"):
        weights = jnp.asarray(design.splits.val[fold], jnp.float64)
        y = np.asarray(design.data.y)
        y = jnp.asarray(y.astype(np.float64) if loss in REAL_LOSSES else y)
        name: Any = without_split(metric)
        return float(metrics(jnp.asarray(scores), y, weights, loss=loss, only=(name,))[name])
