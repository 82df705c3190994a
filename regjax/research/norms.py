"""Norms of a network's weights: of each layer, and of all paths from an input to an output.

`norms` is pure: `jax.vmap` over stacked networks measures all rows of a sweep. Biases count in none of them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.mlp import Params
from regjax.core.settings import own_settings
from regjax.research.networks import check_finite, check_plain


class Norms(NamedTuple):
    """Norms of the weights of one network.

    Attributes:
        frobenius: √Σ w² of each matrix of weights, `(layers,)`.
        spectral: largest singular value of each, `(layers,)`: how far a layer stretches its input.
        total: √Σ w² of all weights, a scalar: what l2 penalises is its square.
        path: path norm, a scalar, see `path_norm`.
    """

    frobenius: jax.Array
    spectral: jax.Array
    total: jax.Array
    path: jax.Array


def norms(params: Params) -> Norms:
    """Returns the norms of a network's weights.

    Args:
        params: one `Layer` per matrix of weights, `(fan_out, fan_in)`.

    Raises:
        ValueError: a parameter that is not finite, or a network with blocks.

    References:
        Neyshabur, Tomioka & Srebro 2015 (the path norm).

    Example:
        >>> import jax, jax.numpy as jnp, regjax
        >>> from regjax.research.norms import norms
        >>> layers = (jnp.array([[3.0, 0.0], [0.0, -4.0]]), jnp.array([[1.0, 2.0]]))
        >>> found = norms(tuple(regjax.Layer(w, jnp.zeros((len(w), 1))) for w in layers))
        >>> found.frobenius[0].item(), found.spectral[0].item(), found.path.item()
        (5.0, 4.0, 11.0)
    """
    check_plain("params", params)
    check_finite("params", params)
    with own_settings("float64" if params[0].w.dtype == np.float64 else "float32"):
        return _norms(tuple(jnp.asarray(layer.w) for layer in params))


def path_norm(params: Params, power: int = 1) -> jax.Array:
    """Returns the path norm of a network, a scalar: linear in the number of weights.

        (Σ over paths Π |w|^power)^(1/power)

    The sum is over all paths from an input to an output, the product over the weights of a path. It does not
    change where a relu unit is scaled by a factor and divided by it behind.

    Args:
        params: one `Layer` per matrix of weights, `(fan_out, fan_in)`.
        power: 1, or 2 as in Path-SGD.

    Raises:
        ValueError: another power, a parameter that is not finite, or a network with blocks.

    References:
        Neyshabur, Tomioka & Srebro 2015; Neyshabur, Salakhutdinov & Srebro 2015 (power 2).

    Example:
        >>> import jax, regjax
        >>> from regjax.research.norms import path_norm
        >>> path_norm(regjax.init_params(jax.random.key(0), (2, 4, 1)), power=2).shape
        ()
    """
    if power not in (1, 2):
        raise ValueError(f"power must be 1 or 2, got {power!r}")
    check_plain("params", params)
    check_finite("params", params)
    with own_settings("float64" if params[0].w.dtype == np.float64 else "float32"):
        return _path(tuple(jnp.asarray(layer.w) for layer in params), power)


@jax.jit
def _norms(weights: tuple[jax.Array, ...]) -> Norms:
    frobenius = jnp.stack([jnp.sqrt(jnp.sum(w * w)) for w in weights])
    spectral = jnp.stack([jnp.linalg.svd(w, compute_uv=False)[0] for w in weights])
    return Norms(frobenius, spectral, jnp.sqrt(jnp.sum(frobenius * frobenius)), _path(weights, 1))


@functools.partial(jax.jit, static_argnames="power")
def _path(weights: tuple[Any, ...], power: int) -> jax.Array:
    # The sums of the paths that end in each unit, layer by layer: all paths at the cost of one sample.
    ends = jnp.ones((weights[0].shape[1], 1), weights[0].dtype)
    for w in weights:
        ends = jnp.abs(w) ** power @ ends
    return jnp.sum(ends) ** (1 / power)
