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
    """a = max(z, 0).

    Args:
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.activations import relu
        >>> relu(jnp.array([-1.0, 0.0, 2.0])).round(3).tolist()
        [0.0, 0.0, 2.0]
    """
    # `where` is faster than `maximum` on a CPU and turns NaN into 0; a diverged model is therefore
    # recognised by its parameters, never by its outputs.
    return jnp.where(z > 0, z, jnp.zeros_like(z))


def relu_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = 1 where z > 0, else 0. At the kink z = 0 we choose 0, as in the tutorial.

    Args:
        z: weighted sums, of any shape.
        a: f(z), of the same shape.
    """
    return (z > 0).astype(z.dtype)


def tanh(z: jax.Array) -> jax.Array:
    """a = tanh(z).

    Args:
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.activations import tanh
        >>> tanh(jnp.array([-1.0, 0.0, 1.0])).round(3).tolist()
        [-0.7620000243186951, 0.0, 0.7620000243186951]
    """
    return jnp.tanh(z)


def tanh_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = 1 - a².

    Args:
        z: weighted sums, of any shape.
        a: f(z), of the same shape.
    """
    return 1 - a * a


def sigmoid(z: jax.Array) -> jax.Array:
    """a = 1/(1 + exp(-z)).

    Args:
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.activations import sigmoid
        >>> sigmoid(jnp.array([-1.0, 0.0, 1.0])).round(3).tolist()
        [0.26900002360343933, 0.5, 0.7310000061988831]
    """
    return lax.logistic(z)


def sigmoid_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = a·(1 - a).

    Args:
        z: weighted sums, of any shape.
        a: f(z), of the same shape.
    """
    return a * (1 - a)


def gelu(z: jax.Array) -> jax.Array:
    """a = z·Φ(z), Φ the standard normal distribution function: the exact form, not the tanh one.

    References:
        Hendrycks & Gimpel 2016, §2.

    Args:
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.activations import gelu
        >>> gelu(jnp.array([-1.0, 0.0, 1.0])).round(3).tolist()
        [-0.15900000929832458, 0.0, 0.8410000205039978]
    """
    return z * _normal_cdf(z)


def gelu_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = Φ(z) + z·φ(z), φ the standard normal density.

    Args:
        z: weighted sums, of any shape.
        a: f(z), of the same shape.
    """
    density = jnp.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    return _normal_cdf(z) + z * density


def identity(z: jax.Array) -> jax.Array:
    """a = z.

    Args:
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.activations import identity
        >>> identity(jnp.array([-1.0, 2.0])).round(3).tolist()
        [-1.0, 2.0]
    """
    return z


def identity_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = 1.

    Args:
        z: weighted sums, of any shape.
        a: f(z), of the same shape.
    """
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
