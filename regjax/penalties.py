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


class PenaltyPair(NamedTuple):
    """A penalty `f(w, strength)` and its gradient `gradient(w, strength)` in w."""

    f: Callable[[jax.Array, jax.Array], jax.Array]
    gradient: Callable[[jax.Array, jax.Array], jax.Array]


# The keys are the names of the strengths in `HParams`.
PENALTIES: dict[str, PenaltyPair] = {"l2": PenaltyPair(l2, l2_gradient), "l1": PenaltyPair(l1, l1_gradient)}
