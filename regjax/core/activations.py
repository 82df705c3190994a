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

# λ and α with which the mean 0 and the variance 1 are a fixed point of `selu`.
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


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


def silu(z: jax.Array) -> jax.Array:
    """a = z/(1 + exp(-z)), called swish too.

    References:
        Elfwing, Uchibe & Doya 2018, eq. 9.

    Args:
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.activations import silu
        >>> silu(jnp.array([-1.0, 0.0, 1.0])).round(3).tolist()
        [-0.26900002360343933, 0.0, 0.7310000061988831]
    """
    return z * lax.logistic(z)


def silu_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = s + a·(1 - s), s = 1/(1 + exp(-z)).

    Args:
        z: weighted sums, of any shape.
        a: f(z), of the same shape.
    """
    s = lax.logistic(z)
    return s + a * (1 - s)


def selu(z: jax.Array) -> jax.Array:
    """a = λ·z where z > 0, else λ·α·(exp(z) - 1): layer by layer, means go to 0 and variances to 1.

    That holds for weights of mean 0 and variance 1/fan_in, as the initial ones of "tutorial" are.

    References:
        Klambauer, Unterthiner, Mayr & Hochreiter 2017, eq. 2; λ and α from its eq. 14.

    Args:
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.activations import selu
        >>> selu(jnp.array([-1.0, 0.0, 1.0])).round(3).tolist()
        [-1.1110000610351562, 0.0, 1.0509999990463257]
    """
    # The minimum keeps exp finite in the branch that is not taken.
    return jnp.where(z > 0, SELU_SCALE * z, SELU_SCALE * SELU_ALPHA * jnp.expm1(jnp.minimum(z, 0)))


def selu_derivative(z: jax.Array, a: jax.Array) -> jax.Array:
    """da/dz = λ where z > 0, else λ·α·exp(z) = a + λ·α. At the kink z = 0 we choose λ·α, the left one.

    Args:
        z: weighted sums, of any shape.
        a: f(z), of the same shape.
    """
    return jnp.where(z > 0, jnp.full_like(z, SELU_SCALE), a + SELU_SCALE * SELU_ALPHA)


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
    "silu": ActivationPair(silu, silu_derivative),
    "selu": ActivationPair(selu, selu_derivative),
    "identity": ActivationPair(identity, identity_derivative),
}
