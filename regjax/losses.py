"""Losses per example, from logits, each with its hand-derived gradient directly below it.

`logits` is `(n_outputs, n)`; a loss is `(n,)`, in nats (squared error: in squared units of the target);
a gradient has the shape of the logits and is per example, not averaged. All stay finite for any finite
logit as far as the dtype can hold the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax


def sigmoid_cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """loss = -y·log σ(z) - (1 - y)·log(1 - σ(z)) = log(1 + exp(z)) - z·y.

    Args:
        logits: z, `(1, n)`; with more rows, the losses of the rows are summed.
        y: targets in [0, 1], same shape, integer or real.

    Returns:
        Loss per example, `(n,)`, nats.

    References:
        Bishop 2006, eq. 4.90.
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
    """
    _check_labels(logits, y)
    z = logits - jnp.max(logits, axis=0, keepdims=True)
    log_normaliser = jnp.log(jnp.sum(jnp.exp(z), axis=0))
    return log_normaliser - jnp.sum(jnp.where(_one_hot(logits, y), z, 0), axis=0)


def softmax_cross_entropy_gradient(logits: jax.Array, y: jax.Array) -> jax.Array:
    """dloss/dz_k = softmax(z)_k - [k = y], `(n_classes, n)`."""
    _check_labels(logits, y)
    return jax.nn.softmax(logits, axis=0) - _one_hot(logits, y).astype(logits.dtype)


def squared_error(logits: jax.Array, y: jax.Array) -> jax.Array:
    """loss = ½·Σ_k (z_k - y_k)²: with the ½, summed over outputs.

    With this ½, a network of depth 0 with l2 = λ is ridge regression with penalty λ.

    Args:
        logits: z, the predictions, `(n_outputs, n)`.
        y: targets, same shape.

    Returns:
        Loss per example, `(n,)`.
    """
    chex.assert_equal_shape([logits, y])
    error = logits - y.astype(logits.dtype)
    return 0.5 * jnp.sum(error * error, axis=0)


def squared_error_gradient(logits: jax.Array, y: jax.Array) -> jax.Array:
    """dloss/dz = z - y, `(n_outputs, n)`."""
    return logits - y.astype(logits.dtype)


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
    "squared_error": LossPair(squared_error, squared_error_gradient),
}
