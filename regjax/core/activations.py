"""Activations, each with its hand-derived derivative directly below it.

Every function is elementwise on an array of any shape and keeps its dtype. A derivative is a function of `z`
and of `a = f(z)`: whichever of the two is cheaper is used, and XLA drops the other. `mlp.forward` and
`mlp.backward` look them up in `ACTIVATIONS`; the tutorial's functions call single ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


def relu(z: jax.Array) -> jax.Array:
    """a = max(z, 0)."""
    # `where` is faster than `maximum` on a CPU and turns NaN into 0; a diverged model is therefore
    # recognised by its parameters, never by its outputs.
    return jnp.where(z > 0, z, jnp.zeros_like(z))


def relu_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = 1 where z > 0, else 0. At the kink z = 0 we choose 0, as in the tutorial."""
    return (z > 0).astype(z.dtype)


def tanh(z: jax.Array) -> jax.Array:
    """a = tanh(z)."""
    return jnp.tanh(z)


def tanh_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = 1 - a²."""
    return 1 - a * a


def sigmoid(z: jax.Array) -> jax.Array:
    """a = 1/(1 + exp(-z))."""
    return lax.logistic(z)


def sigmoid_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = a·(1 - a)."""
    return a * (1 - a)


def gelu(z: jax.Array) -> jax.Array:
    """a = z·Φ(z), Φ the standard normal distribution function: the exact form, not the tanh one.

    References:
        Hendrycks & Gimpel 2016, §2.
    """
    return z * _normal_cdf(z)


def gelu_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = Φ(z) + z·φ(z), φ the standard normal density."""
    density = jnp.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    return _normal_cdf(z) + z * density


def identity(z: jax.Array) -> jax.Array:
    """a = z."""
    return z


def identity_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = 1."""
    return jnp.ones_like(z)


def _normal_cdf(z: jax.Array) -> jax.Array:
    # erfc rather than 1 + erf: no cancellation for large negative z.
    return 0.5 * lax.erfc(z * -math.sqrt(0.5))


class ActivationPair(NamedTuple):
    """An activation `f(z)` and its derivative `derivative(z, f(z))`."""

    f: Callable[[jax.Array], jax.Array]
    derivative: Callable[[jax.Array, jax.Array], jax.Array]


ACTIVATIONS: dict[str, ActivationPair] = {
    "relu": ActivationPair(relu, relu_derivative),
    "tanh": ActivationPair(tanh, tanh_derivative),
    "sigmoid": ActivationPair(sigmoid, sigmoid_derivative),
    "gelu": ActivationPair(gelu, gelu_derivative),
    "identity": ActivationPair(identity, identity_derivative),
}
