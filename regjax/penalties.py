"""Penalties on a matrix of weights, each with its hand-derived gradient directly below it.

A penalty is not yet divided by n, the number of training rows: `cost.py` does that once for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


def l2(w: jax.Array, strength: jax.Array) -> jax.Array:
    """strength/2 · Σ w².

    Args:
        w: weights, `(fan_out, fan_in)`.
        strength: λ >= 0, a scalar.

    Returns:
        A scalar.
    """
    return 0.5 * strength * jnp.sum(w * w)


def l2_gradient(w: jax.Array, strength: jax.Array) -> jax.Array:
    """d/dw = strength · w, `(fan_out, fan_in)`."""
    return strength * w


def l1(w: jax.Array, strength: jax.Array) -> jax.Array:
    """strength · Σ |w|.

    Args:
        w: weights, `(fan_out, fan_in)`.
        strength: λ >= 0, a scalar.

    Returns:
        A scalar.
    """
    return strength * jnp.sum(jnp.abs(w))


def l1_gradient(w: jax.Array, strength: jax.Array) -> jax.Array:
    """d/dw = strength · sign(w). At the kink w = 0 we choose 0: a weight at rest stays there."""
    return strength * jnp.sign(w)


def activity_l2(a: jax.Array, weights: jax.Array) -> jax.Array:
    """Σ_i w_i·Σ_u a_ui²: of hidden activations before dropout, to be divided as the loss is.

    Without the ½ of `l2`, as in Keras, whose ActivityRegularization divides by the batch too.

    Args:
        a: activations, `(units, n)`.
        weights: w, `(n,)`.

    Returns:
        A scalar.
    """
    return jnp.sum(weights * jnp.sum(a * a, axis=0))


def activity_l2_gradient(a: jax.Array, weights: jax.Array) -> jax.Array:
    """d/da = 2·w·a, `(units, n)`."""
    return 2 * weights[None, :] * a


def column_norms(w: jax.Array) -> jax.Array:
    """‖w[:, j]‖ per input j, `(1, fan_in)`: the groups of group_lasso."""
    return jnp.sqrt(jnp.sum(w * w, axis=0, keepdims=True))


class PenaltyPair(NamedTuple):
    """A penalty `f(w, strength)` and its gradient `gradient(w, strength)` in w."""

    f: Callable[[jax.Array, jax.Array], jax.Array]
    gradient: Callable[[jax.Array, jax.Array], jax.Array]


# The keys are the names of the strengths in `HParams`.
PENALTIES: dict[str, PenaltyPair] = {"l2": PenaltyPair(l2, l2_gradient), "l1": PenaltyPair(l1, l1_gradient)}
