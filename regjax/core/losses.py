"""Losses per example, from logits, each with its hand-derived gradient directly below it.

`logits` is `(n_outputs, n)`; a loss is `(n,)`, in nats (squared error: in squared units of the target); a
gradient has the shape of the logits and is per example, not averaged. All stay finite for any finite logit as
far as the dtype can hold the value. `objective` calls the regularised losses, `metrics` the plain ones, and
`minibatches` the weights of classes.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from .config import Loss
from .hparams import HParams


def sigmoid_cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """loss = -y·log σ(z) - (1 - y)·log(1 - σ(z)) = log(1 + exp(z)) - z·y.

    Args:
        logits: z, `(1, n)`.
        y: targets in [0, 1], same shape, integer or real.

    Returns:
        Loss per example, `(n,)`, nats.

    References:
        Bishop 2006, eq. 4.90.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import sigmoid_cross_entropy
        >>> sigmoid_cross_entropy(jnp.array([[0.0, 2.0]]), jnp.array([[1, 0]])).round(3).tolist()
        [0.6930000185966492, 2.127000093460083]
    """
    chex.assert_equal_shape([logits, y])
    z, y = logits, y.astype(logits.dtype)
    # softplus and not max(z, 0) + log1p(exp(-|z|)): the same value, but automatic differentiation of that
    # form is wrong at z = 0 exactly, which is where the output of a dead network lies.
    return jnp.sum(jax.nn.softplus(z) - z * y, axis=0)


def sigmoid_cross_entropy_gradient(logits: jax.Array, y: jax.Array) -> jax.Array:
    """dloss/dz = σ(z) - y, `(1, n)`."""
    return lax.logistic(logits) - y.astype(logits.dtype)


def softmax_cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """loss = log Σ_k exp(z_k) - z_y.

    Args:
        logits: z, `(n_classes, n)`.
        y: class labels 0 … n_classes - 1, `(1, n)`, integer.

    Returns:
        Loss per example, `(n,)`, nats.

    References:
        Bishop 2006, eq. 4.108.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import softmax_cross_entropy
        >>> softmax_cross_entropy(jnp.array([[0.0], [1.0], [2.0]]), jnp.array([[2]])).round(3).tolist()
        [0.40800002217292786]
    """
    _check_labels(logits, y)
    # The loss is the same whatever is subtracted, so a derivative need not pass through the maximum: there
    # `jax.grad` compares logits with it, and is 0/0 where the compiler has computed the two of them apart.
    z = logits - lax.stop_gradient(jnp.max(logits, axis=0, keepdims=True))
    log_normaliser = jnp.log(jnp.sum(jnp.exp(z), axis=0))
    return log_normaliser - jnp.sum(jnp.where(_one_hot(logits, y), z, 0), axis=0)


def softmax_cross_entropy_gradient(logits: jax.Array, y: jax.Array) -> jax.Array:
    """dloss/dz_k = softmax(z)_k - [k = y], `(n_classes, n)`."""
    _check_labels(logits, y)
    return jax.nn.softmax(logits, axis=0) - _one_hot(logits, y).astype(logits.dtype)


def multilabel_cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """loss = Σ_k log(1 + exp(z_k)) - z_k·y_k: each output is a label of its own, which a sample has or not.

    Args:
        logits: z, `(n_labels, n)`.
        y: 1 where the sample has the label, else 0, same shape.

    Returns:
        Loss per example, `(n,)`, nats, summed over the labels.

    References:
        Bishop 2006, §5.2, the error of several binary classifications.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import multilabel_cross_entropy
        >>> multilabel_cross_entropy(jnp.array([[0.0], [3.0]]), jnp.array([[1], [1]])).round(3).tolist()
        [0.7420000433921814]
    """
    chex.assert_equal_shape([logits, y])
    z, y = logits, y.astype(logits.dtype)
    return jnp.sum(jax.nn.softplus(z) - z * y, axis=0)


def multilabel_cross_entropy_gradient(logits: jax.Array, y: jax.Array) -> jax.Array:
    """dloss/dz_k = σ(z_k) - y_k, `(n_labels, n)`."""
    return lax.logistic(logits) - y.astype(logits.dtype)


def squared_error(logits: jax.Array, y: jax.Array) -> jax.Array:
    """loss = ½·Σ_k (z_k - y_k)²: with the ½, summed over outputs.

    With this ½, a network of depth 0 with l2 = λ is ridge regression with penalty λ.

    Args:
        logits: z, the predictions, `(n_outputs, n)`.
        y: targets, same shape.

    Returns:
        Loss per example, `(n,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import squared_error
        >>> squared_error(jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]])).round(3).tolist()
        [0.0, 2.0]
    """
    chex.assert_equal_shape([logits, y])
    error = logits - y.astype(logits.dtype)
    return 0.5 * jnp.sum(error * error, axis=0)


def squared_error_gradient(logits: jax.Array, y: jax.Array) -> jax.Array:
    """dloss/dz = z - y, `(n_outputs, n)`."""
    return logits - y.astype(logits.dtype)


def poisson(logits: jax.Array, y: jax.Array) -> jax.Array:
    """loss = Σ_k y_k·log(y_k/μ_k) - y_k + μ_k with μ = exp(z): half the Poisson deviance.

    0·log 0 is 0. Of negative targets the loss is NaN.

    Args:
        logits: z, logarithms of the predictions, `(n_outputs, n)`.
        y: targets >= 0, same shape.

    Returns:
        Loss per example, `(n,)`, nats.

    References:
        McCullagh & Nelder 1989, §2.3; scikit-learn's `MLPRegressor(loss="poisson")`.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import poisson
        >>> poisson(jnp.array([[0.0, 1.0]]), jnp.array([[1, 0]])).round(3).tolist()
        [0.0, 2.7180001735687256]
    """
    chex.assert_equal_shape([logits, y])
    z, y = logits, y.astype(logits.dtype)
    excess = z - jnp.log(jnp.where(y == 0, 1, y))  # log(μ/y)
    # With μ = y·exp(excess) nothing large cancels. Below 1 nothing is large, and exp(excess) may overflow.
    large = y >= 1
    of_large = jnp.where(large, excess, 0)
    return jnp.sum(
        jnp.where(large, y * (jnp.expm1(of_large) - of_large), jnp.exp(z) - y - y * excess), axis=0
    )


def poisson_gradient(logits: jax.Array, y: jax.Array) -> jax.Array:
    """dloss/dz = exp(z) - y, `(n_outputs, n)`."""
    return jnp.exp(logits) - y.astype(logits.dtype)


# -- regularised losses -------------------------------------------------------------------------------------


def smoothed(f: Callable[..., jax.Array], logits: jax.Array, y: jax.Array, eps: jax.Array) -> jax.Array:
    """loss = (1 - ε)·loss(y) + ε/K·Σ_k loss(k): the targets share ε over all K classes.

    A cross-entropy is linear in its target, so this is the loss of the target (1 - ε)·y + ε/K; where each
    logit has its own target K = 2, and y becomes (1 - ε)·y + ε/2. Linear in f too: with a gradient for f it
    is the gradient.

    Args:
        f: a cross-entropy, or its gradient.
        logits: z, `(n_outputs, n)`.
        y: class labels, `(1, n)`, or one row of zeros and ones per logit.
        eps: ε in [0, 1), a scalar.

    Returns:
        What f returns.

    References:
        Szegedy et al. 2016, §7.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import smoothed, softmax_cross_entropy
        >>> logits, y = jnp.array([[0.0], [2.0]]), jnp.array([[1]])
        >>> smoothed(softmax_cross_entropy, logits, y, jnp.array(0.1)).round(3).tolist()
        [0.22700001299381256]
    """
    num_classes = 2 if y.shape == logits.shape else logits.shape[0]
    every = (f(logits, jnp.full_like(y, k)) for k in range(num_classes))
    return (1 - eps) * f(logits, y) + eps / num_classes * functools.reduce(operator.add, every)


def negative_entropy(logits: jax.Array, softmax: bool) -> jax.Array:
    """-H = Σ_k p_k·log p_k of the output's distribution p, per example, `(n,)`, nats.

    p is softmax(z); without `softmax` each logit has two classes, whose entropies are summed. loss + β·(-H)
    penalises confidence.

    References:
        Pereyra, Tucker, Chorowski, Kaiser, Hinton 2017, eq. 2.

    Args:
        logits: z, `(n_outputs, n)`.
        softmax: whether p is softmax(z).

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import negative_entropy
        >>> negative_entropy(jnp.array([[0.0, 9.0]]), softmax=False).round(3).tolist()
        [-0.6930000185966492, -0.0010000000474974513]
    """
    log_p = _log_probabilities(logits, softmax)
    return jnp.sum(jnp.exp(log_p) * log_p, axis=0)


def negative_entropy_gradient(logits: jax.Array, softmax: bool) -> jax.Array:
    """d(-H)/dz_k = p_k·(log p_k + H), `(n_classes, n)`; without `softmax` p_k·(1 - p_k)·z_k."""
    if not softmax:
        p = lax.logistic(logits)
        return p * lax.logistic(-logits) * logits
    log_p = _log_probabilities(logits, softmax)
    p = jnp.exp(log_p)
    return p * (log_p - jnp.sum(p * log_p, axis=0, keepdims=True))


def _log_probabilities(logits: jax.Array, softmax: bool) -> jax.Array:
    if not softmax:
        return jnp.concatenate([jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)])
    return jax.nn.log_softmax(logits, axis=0)


def balanced_weights(y: jax.Array, weights: jax.Array, num_classes: int) -> jax.Array:
    """Returns w_i·c[y_i]: c gives every class that has samples the same total weight, and keeps Σ w.

    Args:
        y: class labels, `(1, n)`.
        weights: `(n,)`, 0 where a sample is held out.
        num_classes: K.

    References:
        scikit-learn's class_weight="balanced": n/(K·count).

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import balanced_weights
        >>> balanced_weights(jnp.array([[0, 0, 0, 1]]), jnp.ones(4), 2).round(3).tolist()
        [0.6670000553131104, 0.6670000553131104, 0.6670000553131104, 2.0]
    """
    belongs = lax.broadcasted_iota(y.dtype, (num_classes, y.shape[1]), 0) == y
    totals = jnp.sum(jnp.where(belongs, weights[None, :], 0), axis=1)
    # A class without samples gets no weight; the other classes share all of it.
    there = totals > 0
    share = jnp.sum(totals) / jnp.sum(there.astype(totals.dtype))
    of_class = jnp.where(there, share / jnp.where(there, totals, 1), 0)
    return weights * jnp.sum(jnp.where(belongs, of_class[:, None], 0), axis=0)


def weights_of_classes(y: jax.Array, weights: jax.Array, of_class: Sequence[float]) -> jax.Array:
    """Returns w_i·c[y_i], rescaled so that Σ w stays the same.

    Args:
        y: class labels, `(1, n)`.
        weights: `(n,)`, 0 where a sample is held out.
        of_class: c, one per class, >= 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import weights_of_classes
        >>> weights_of_classes(jnp.array([[0, 1]]), jnp.ones(2), (1, 3)).tolist()
        [0.5, 1.5]
    """
    found = weights * jnp.asarray(of_class, weights.dtype)[y[0]]
    total = jnp.sum(found)
    return found * jnp.where(total > 0, jnp.sum(weights) / jnp.where(total > 0, total, 1), 1)


def _check_labels(logits: jax.Array, y: jax.Array) -> None:
    chex.assert_rank([logits, y], 2)
    chex.assert_shape(y, (1, logits.shape[1]))
    chex.assert_type(y, int)


def _one_hot(logits: jax.Array, y: jax.Array) -> jax.Array:
    return lax.broadcasted_iota(y.dtype, logits.shape, 0) == y


class LossPair(NamedTuple):
    """A loss `f(logits, y)` and its gradient `gradient(logits, y)` in the logits."""

    f: Callable[[jax.Array, jax.Array], jax.Array]
    gradient: Callable[[jax.Array, jax.Array], jax.Array]


LOSSES: dict[str, LossPair] = {
    "sigmoid_cross_entropy": LossPair(sigmoid_cross_entropy, sigmoid_cross_entropy_gradient),
    "softmax_cross_entropy": LossPair(softmax_cross_entropy, softmax_cross_entropy_gradient),
    "multilabel_cross_entropy": LossPair(multilabel_cross_entropy, multilabel_cross_entropy_gradient),
    "squared_error": LossPair(squared_error, squared_error_gradient),
    "poisson": LossPair(poisson, poisson_gradient),
}


def regularised_loss(logits: jax.Array, y: jax.Array, loss: Loss, hparams: HParams) -> jax.Array:
    """Returns the loss per example, `(n,)`, with label smoothing and confidence penalty.

    Args:
        logits: z, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`, as the loss takes them.
        loss: name of the loss.
        hparams: label_smoothing, confidence_penalty.

    Example:
        >>> import jax.numpy as jnp
        >>> import regjax
        >>> from regjax.core.losses import regularised_loss
        >>> hparams = regjax.HParams(label_smoothing=jnp.array(0.1))
        >>> logits, y = jnp.array([[2.0]]), jnp.array([[1]])
        >>> regularised_loss(logits, y, "sigmoid_cross_entropy", hparams).round(3).tolist()
        [0.22700001299381256]
    """
    f, h = LOSSES[loss].f, hparams
    found = f(logits, y) if h.label_smoothing is None else smoothed(f, logits, y, h.label_smoothing)
    if h.confidence_penalty is not None:
        found = found + h.confidence_penalty * negative_entropy(logits, loss == "softmax_cross_entropy")
    return found


def regularised_loss_gradient(logits: jax.Array, y: jax.Array, loss: Loss, hparams: HParams) -> jax.Array:
    """d(regularised_loss)/dz, `(n_outputs, n)`, per example."""
    g, h = LOSSES[loss].gradient, hparams
    found = g(logits, y) if h.label_smoothing is None else smoothed(g, logits, y, h.label_smoothing)
    if h.confidence_penalty is not None:
        softmax = loss == "softmax_cross_entropy"
        found = found + h.confidence_penalty * negative_entropy_gradient(logits, softmax)
    return found


def clipped_loss(logits: jax.Array, y: jax.Array, loss: Loss) -> jax.Array:
    """Returns a cross-entropy per example, `(n,)`, of probabilities in [eps, 1 - eps] of the logits' dtype.

    It decides when a run stops, as in scikit-learn, and has no gradient. The operations are scikit-learn's,
    in its order. Other losses are returned as they are.

    Args:
        logits: z, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`, as the loss takes them.
        loss: name of the loss.

    References:
        scikit-learn 1.9, `sklearn.neural_network._base`, `log_loss` and `binary_log_loss`.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.losses import clipped_loss
        >>> logits, y = jnp.array([[0.0, 99.0]]), jnp.array([[1, 0]])
        >>> clipped_loss(logits, y, "sigmoid_cross_entropy").round(2).tolist()
        [0.6899999976158142, 15.9399995803833]
    """
    if loss not in ("sigmoid_cross_entropy", "softmax_cross_entropy", "multilabel_cross_entropy"):
        return LOSSES[loss].f(logits, y)
    eps = jnp.finfo(logits.dtype).eps
    if loss == "softmax_cross_entropy":
        # Only the probability of the sample's own class is in the loss.
        p = jnp.sum(jnp.where(_one_hot(logits, y), jax.nn.softmax(logits, axis=0), 0), axis=0)
        return -jnp.log(jnp.clip(p, eps, 1 - eps))
    p = jnp.clip(lax.logistic(logits), eps, 1 - eps)
    return -jnp.sum(jnp.log(jnp.where(y > 0, p, 1 - p)), axis=0)
