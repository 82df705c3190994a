"""Metrics of one split, from logits, in inference mode and on the true targets.

In all of them `logits` is `(n_outputs, n)`, `y` is `(1, n)` labels or `(n_outputs, n)` real targets,
`weights` is `(n,)`; a column of weight 0 has no influence, whatever its values. A metric that is not defined
(where a class has no samples) is NaN. `evaluate` and the lanes of `regjax.engine` call `metrics`; stores,
tables, plots and reports read the names, directions and units.
"""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
from jax import lax

from .config import REAL_LOSSES, Loss, Metric
from .losses import LOSSES
from .mlp import decide

# metric -> whether a higher value is better
CLASS_METRICS = {"loss": False, "accuracy": True, "balanced_accuracy": True, "roc_auc": True}
REAL_METRICS = {"loss": False, "rmse": False, "r2": True}
METRICS = CLASS_METRICS | REAL_METRICS
# Units of a metric: for classes, for real targets. The other metrics have none.
UNITS = {
    "loss": ("nats", "squared units of the target"),  # nats with poisson
    "cost": ("nats", "squared units of the target"),
    "rmse": ("", "units of the target"),
    "accuracy": ("share of samples", ""),
    "balanced_accuracy": ("mean share of a class", ""),
}
# Power of the target's unit that a metric, or the term of one per example, has.
POWERS = {"loss": 2, "cost": 2, "square": 2, "rmse": 1, "r2": 0}
# The metrics of a record, in the order of every table.
RECORDED = (
    "train_cost",
    *(f"{split}_{metric}" for split in ("train", "val", "test") for metric in METRICS),
    "stop_loss",  # on the samples that early stopping watches
)
# Where an average is evaluated: the same metrics of the last parameters.
LAST = tuple(f"{name}_last" for name in RECORDED if name != "stop_loss")


def without_split(metric: str) -> str:
    """Returns the name of a metric without its split, and without `_last`.

    Example:
        >>> from regjax.core.metrics import without_split
        >>> without_split("val_accuracy"), without_split("train_loss_last")
        ('accuracy', 'loss')
    """
    return re.sub("^(train|val|test|stop)_|_last$", "", metric)


def metrics(
    logits: jax.Array, y: jax.Array, weights: jax.Array, *, loss: Loss, only: tuple[Metric, ...] | None = None
) -> dict[str, jax.Array]:
    """Returns the metrics as scalars: `loss` (mean data loss, no penalty), and those of the kind of target.

    For classes `accuracy`, `balanced_accuracy` (mean recall of the classes that have samples) and `roc_auc`
    (two classes, or the mean over classes of each against the rest); for multilabel cross-entropy `accuracy`
    alone, the share of samples all of whose labels are right; for real targets `rmse` and `r2` (both averaged
    over outputs). With `only`, the loss and those that it names.

    Args:
        logits: z, `(n_outputs, n)`.
        y: labels `(1, n)`, or real targets `(n_outputs, n)`.
        weights: `(n,)`; a sample of weight 0 has no influence.
        loss: name of the loss, which says what the targets are.
        only: names of metrics; None is all.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.metrics import metrics
        >>> logits, y = jnp.array([[2.0, -1.0, 3.0]]), jnp.array([[1, 0, 0]])
        >>> found = metrics(logits, y, jnp.ones(3), loss="sigmoid_cross_entropy")
        >>> round(found["accuracy"].item(), 3), found["roc_auc"].item()
        (0.667, 0.5)
    """
    wanted = METRICS if only is None else only
    per_example = examples(logits, y, loss=loss)
    found = {"loss": _mean(per_example["loss"], weights)}
    if loss in REAL_LOSSES:
        mean_square = _mean((decide(logits, loss) - y) ** 2, weights)
        centre = _mean(y, weights)[:, None]
        spread = _mean((y - centre) ** 2, weights)
        found["rmse"] = jnp.mean(jnp.sqrt(mean_square))
        found["r2"] = jnp.mean(jnp.where(spread > 0, 1 - mean_square / spread, jnp.nan))
        return {name: value for name, value in found.items() if name == "loss" or name in wanted}
    if "accuracy" in wanted:
        found["accuracy"] = _mean(per_example["right"], weights)
    if loss == "multilabel_cross_entropy" or not {"balanced_accuracy", "roc_auc"} & set(wanted):
        return found
    scores = class_scores(logits)
    # Whether the sample belongs to each class.
    members = lax.broadcasted_iota(y.dtype, scores.shape, 0) == y
    if "balanced_accuracy" in wanted:
        in_class = jnp.where(members, weights[None, :], 0)
        totals = jnp.sum(in_class, axis=1)
        recall = jnp.sum(in_class * per_example["right"][None, :], axis=1) / totals
        there = totals > 0
        found["balanced_accuracy"] = jnp.sum(jnp.where(there, recall, 0)) / jnp.sum(there, dtype=totals.dtype)
    if "roc_auc" not in wanted:
        return found
    if len(logits) == 1:
        found["roc_auc"] = roc_auc(scores[1], members[1], weights)
    else:
        found["roc_auc"] = jnp.mean(jax.vmap(roc_auc, in_axes=(0, 0, None))(scores, members, weights))
    return found


def class_scores(logits: jax.Array) -> jax.Array:
    """Returns the score of each class, `(n_classes, n)`; of one logit, two rows.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.metrics import class_scores
        >>> class_scores(jnp.array([[2.0, -1.0]])).tolist()
        [[-2.0, 1.0], [2.0, -1.0]]
    """
    return jnp.concatenate([-logits, logits]) if len(logits) == 1 else jax.nn.softmax(logits, axis=0)


def finite_r2(z: jax.Array, y: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns R² averaged over outputs, a scalar, as early stopping watches it.

    Of an output whose targets do not vary it is 1 where every prediction is right, else 0; NaN where a
    prediction is not finite.

    References:
        scikit-learn's `r2_score` with force_finite, and `MLPRegressor`, whose score it is.

    Args:
        z: predictions, `(n_outputs, n)`.
        y: targets, same shape.
        weights: `(n,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.metrics import finite_r2
        >>> finite_r2(jnp.array([[1.0, 2.0, 2.0]]), jnp.array([[1.0, 2.0, 3.0]]), jnp.ones(3)).item()
        0.5
    """
    error = _mean((z - y) ** 2, weights)
    spread = _mean((y - _mean(y, weights)[:, None]) ** 2, weights)
    # The mean of equal targets may be rounded, and then their spread is not 0.
    seen = weights > 0
    varies = jnp.max(jnp.where(seen, y, -jnp.inf), axis=1) > jnp.min(jnp.where(seen, y, jnp.inf), axis=1)
    varies = varies & (spread > 0)
    r2 = jnp.where(varies, 1 - error / jnp.where(varies, spread, 1), jnp.where(error > 0, 0.0, 1.0))
    return jnp.where(jnp.all(jnp.isfinite(z)), jnp.mean(r2), jnp.nan)


def examples(logits: jax.Array, y: jax.Array, *, loss: Loss) -> dict[str, jax.Array]:
    """Returns the terms of the metrics per example, `(n,)` each: `loss`, and `right` (0 or 1) or `square`.

    `square` is the squared error, averaged over outputs.

    Args:
        logits: z, `(n_outputs, n)`.
        y: labels `(1, n)`, or real targets `(n_outputs, n)`.
        loss: name of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.metrics import examples
        >>> logits, y = jnp.array([[2.0, -1.0]]), jnp.array([[1, 1]])
        >>> examples(logits, y, loss="sigmoid_cross_entropy")["right"].tolist()
        [1.0, 0.0]
    """
    found = {"loss": LOSSES[loss].f(logits, y)}
    if loss in REAL_LOSSES:
        found["square"] = jnp.mean((decide(logits, loss) - y) ** 2, axis=0)
    else:
        found["right"] = jnp.all(decide(logits, loss) == y, axis=0).astype(logits.dtype)
    return found


def roc_auc(scores: jax.Array, positive: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the probability that a positive example scores above a negative one, ties counted half.

    Args:
        scores: `(n,)`.
        positive: `(n,)`, boolean.
        weights: `(n,)`.

    References:
        Fawcett 2006, §7.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.metrics import roc_auc
        >>> roc_auc(jnp.array([0.1, 0.4, 0.8]), jnp.array([False, True, True]), jnp.ones(3)).item()
        1.0
    """
    order = jnp.argsort(scores)
    scores = scores[order]
    plus, minus = (jnp.where(who, weights, 0)[order] for who in (positive, ~positive))
    below = jnp.cumsum(minus) - minus  # weight of the negatives with a lower score
    # Equal scores are half below and half above each other: the mean of both ends of their run.
    first = jnp.concatenate([jnp.ones(1, bool), scores[1:] != scores[:-1]])
    last = jnp.concatenate([first[1:], jnp.ones(1, bool)])
    at_first = lax.cummax(jnp.where(first, below, 0))
    at_last = lax.cummin(jnp.where(last, below + minus, jnp.inf), reverse=True)
    return jnp.sum(plus * (at_first + at_last) / 2) / (jnp.sum(plus) * jnp.sum(minus))


def _mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    total = jnp.sum(weights)
    weights = jnp.broadcast_to(weights, values.shape)
    # A where, not a product alone: 0·∞ is NaN.
    return jnp.sum(jnp.where(weights > 0, weights * values, 0), axis=-1) / total
