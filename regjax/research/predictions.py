"""Predictions of a network in the form in which they can be averaged, and the loss of such an average.

The loss of a mean probability is the logarithm of that mean. In float32 a mean near 1 has lost what its
complement was, so a two-class mean is taken of the probability of the *observed* label, which is small where
the loss is large. `subnetworks`, `output_noise` and `weight_scaling` average these.
"""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp
from jax import lax

from regjax.core.config import Loss
from regjax.core.losses import LOSSES

# The losses whose outputs are a two-class probability each.
TWO_SIDED: tuple[Loss, ...] = ("sigmoid_cross_entropy", "multilabel_cross_entropy")
# Terms of the series of artanh(t)/t for t <= 1/3, after which the rest is below the last bit.
ARTANH_TERMS = {"float32": 7, "float64": 16}
# Classes up to which a softmax is written out.
FEW_CLASSES = 16


def observed(logits: jax.Array, y: jax.Array, loss: Loss) -> jax.Array:
    """Returns the prediction of logits, of a two-class probability that of the observed label.

    Args:
        logits: z, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`, as the loss takes them.
        loss: name of the loss.

    Returns:
        `(n_outputs, n)`: σ(z) where the label is 1 and 1 - σ(z) where it is 0; softmax(z); exp(z) for
        poisson; z for squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.predictions import observed
        >>> observed(jnp.array([[0.0, 2.0]]), jnp.array([[1, 0]]), "sigmoid_cross_entropy").round(2).tolist()
        [[0.5, 0.11999999731779099]]
    """
    if loss in TWO_SIDED:
        return lax.logistic(jnp.where(y > 0, logits, -logits))
    if loss == "softmax_cross_entropy":
        return jax.nn.softmax(logits, axis=0)
    return jnp.exp(logits) if loss == "poisson" else logits


def observed_and_loss(logits: jax.Array, y: jax.Array, loss: Loss) -> tuple[jax.Array, jax.Array]:
    """Returns `observed` and the loss of the logits, `(n_outputs, n)` and `(n,)`.

    Of two-class outputs both come from one exponential, without a logarithm: log(1 + e) = 2·artanh(e/(2 + e))
    with e = exp(-|z|) <= 1, whose series is right to the last bits. An enumeration spends its time here.

    Args:
        logits: z, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`, as the loss takes them.
        loss: name of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.predictions import observed_and_loss
        >>> q, loss = observed_and_loss(jnp.array([[0.0]]), jnp.array([[1]]), "sigmoid_cross_entropy")
        >>> q.tolist(), loss.round(3).tolist()
        ([[0.5]], [0.6930000185966492])
    """
    if loss == "softmax_cross_entropy" and logits.shape[0] <= FEW_CLASSES:
        return _softmax_and_loss(logits, y)
    if loss not in TWO_SIDED:
        return observed(logits, y, loss), LOSSES[loss].f(logits, y)
    against = jnp.where(y > 0, -logits, logits)  # the logit of the other label
    e = jnp.exp(-jnp.abs(against))
    q = jnp.where(against > 0, e, jnp.ones_like(e)) / (1 + e)
    t = e / (2 + e)  # at most 1/3, so that each term of the series is at most 1/9 of the one before
    square, series = t * t, jnp.zeros_like(t)
    for power in reversed(range(ARTANH_TERMS[str(e.dtype)])):
        series = series * square + 1 / (2 * power + 1)
    losses = jnp.where(against > 0, against, jnp.zeros_like(e)) + 2 * t * series
    return q, jnp.sum(losses, axis=0)


def _softmax_and_loss(logits: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns softmax(z) and its loss, written out by class: all of it is then one pass over the logits."""
    rows = [logits[k] for k in range(logits.shape[0])]
    most = functools.reduce(jnp.maximum, rows)
    powers = [jnp.exp(z - most) for z in rows]
    total = functools.reduce(operator.add, powers)
    own = functools.reduce(
        operator.add, (jnp.where(y[0] == k, z - most, jnp.zeros_like(z)) for k, z in enumerate(rows))
    )
    return jnp.stack([power / total for power in powers]), jnp.log(total) - own


def from_observed(predictions: jax.Array, y: jax.Array, loss: Loss) -> jax.Array:
    """Returns the usual prediction, of two classes the probability of class 1, `(n_outputs, n)`.

    Args:
        predictions: what `observed` returns, or a mean of it, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`.
        loss: name of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.predictions import from_observed
        >>> from_observed(jnp.array([[0.5, 0.25]]), jnp.array([[1, 0]]), "sigmoid_cross_entropy").tolist()
        [[0.5, 0.75]]
    """
    return jnp.where(y > 0, predictions, 1 - predictions) if loss in TWO_SIDED else predictions


def loss_of(predictions: jax.Array, y: jax.Array, loss: Loss) -> jax.Array:
    """Returns the loss of (averaged) predictions, `(n,)`, nats or squared units.

    Args:
        predictions: what `observed` returns, or a mean of it, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`.
        loss: name of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.predictions import loss_of
        >>> loss_of(jnp.array([[0.5]]), jnp.array([[1]]), "sigmoid_cross_entropy").round(3).tolist()
        [0.6930000185966492]
    """
    if loss in TWO_SIDED:
        return -jnp.sum(jnp.log(predictions), axis=0)
    if loss == "softmax_cross_entropy":
        return -jnp.log(_of_label(predictions, y))
    return LOSSES[loss].f(jnp.log(predictions) if loss == "poisson" else predictions, y)


def loss_slope(predictions: jax.Array, y: jax.Array, loss: Loss) -> jax.Array:
    """Returns ∂loss_of/∂prediction, `(n_outputs, n)`: -1/p for the observed label of a cross-entropy.

    Args:
        predictions: what `observed` returns, or a mean of it, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`.
        loss: name of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.predictions import loss_slope
        >>> loss_slope(jnp.array([[0.5]]), jnp.array([[1]]), "sigmoid_cross_entropy").tolist()
        [[-2.0]]
    """
    if loss == "squared_error":
        return predictions - y.astype(predictions.dtype)
    if loss == "poisson":
        return 1 - y.astype(predictions.dtype) / predictions
    slope = -1 / predictions
    if loss == "softmax_cross_entropy":
        own = lax.broadcasted_iota(y.dtype, slope.shape, 0) == y
        return jnp.where(own, slope, jnp.zeros_like(slope))
    return slope


def loss_of_variance(predictions: jax.Array, variance: jax.Array, y: jax.Array, loss: Loss) -> jax.Array:
    """Returns what a small variance of the prediction adds to its expected loss, `(n,)`.

        ½·Var·∂²loss/∂p², summed over outputs: Var/(2·p_y²) for a cross-entropy

    Second order in the deviation; for squared error it is exact. A mean of T independent predictions has
    1/T of the variance.

    Args:
        predictions: p, what `observed` returns, or a mean of it, `(n_outputs, n)`.
        variance: variance of them, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`.
        loss: name of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.predictions import loss_of_variance
        >>> p, variance = jnp.array([[0.5]]), jnp.array([[0.125]])
        >>> loss_of_variance(p, variance, jnp.array([[1]]), "sigmoid_cross_entropy").tolist()
        [0.25]
    """
    if loss == "softmax_cross_entropy":
        return _of_label(variance / (2 * predictions * predictions), y)
    if loss == "squared_error":
        return 0.5 * jnp.sum(variance, axis=0)
    scale = y.astype(variance.dtype) if loss == "poisson" else jnp.ones_like(variance)
    return jnp.sum(scale * variance / (2 * predictions * predictions), axis=0)


def _of_label(values: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the value of each sample's class, `(n_classes, n)` and `(1, n)` → `(n,)`."""
    own = lax.broadcasted_iota(y.dtype, values.shape, 0) == y
    return jnp.sum(jnp.where(own, values, 0), axis=0)
