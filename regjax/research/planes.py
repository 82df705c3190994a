"""Planes of networks: around one network along two random directions, or through three networks.

`landscape.surface` measures the heights over a plane. The directions of a random plane are normalised filter
by filter, without which the scale of the weights alone makes a minimum look sharp or flat.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.checks import is_traced
from regjax.core.mlp import Layer, Params
from regjax.core.settings import own_settings
from regjax.research.networks import check_finite, check_plain

# Networks whose sine of the angle at the first of them is below this lie on one line.
COLLINEAR = 1e-3


class Plane(NamedTuple):
    """A plane of networks: origin + a·first + b·second.

    Attributes:
        origin: the network at (0, 0), one `Layer` per matrix of weights.
        first: direction of a, same shapes.
        second: direction of b, same shapes.
        marks: coordinates (a, b) of the networks that the plane was made of, `(marks, 2)`.
    """

    origin: Params
    first: Params
    second: Params
    marks: jax.Array


def random_plane(key: jax.Array, params: Params, *, normalised: bool = True) -> Plane:
    """Returns a plane around a network along two random directions, of the network's own scale.

    Both are normal draws, and nearly orthogonal. Biases keep their values: a bias is one number, so that
    scaled to its own size it would be ± itself, and one of 0 would never move. Then a relu network of which
    a layer (weights and biases) is scaled by a factor, and the weights behind it divided by the factor, has
    the same surface.

    Args:
        key: key of the draws.
        params: the network in the middle, one `Layer` per matrix of weights.
        normalised: whether directions are `filter_normalised`. Without, each is scaled as a whole to the
            norm of all weights: a network with small weights in one layer then looks sharp.

    Raises:
        ValueError: parameters that are not finite, or all weights 0: the plane would be a point; a network
            with blocks.

    References:
        Li, Xu, Taylor, Studer & Goldstein 2018, §4.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.planes import random_plane
        >>> plane = random_plane(jax.random.key(1), regjax.init_params(jax.random.key(0), (2, 4, 1)))
        >>> plane.first[0].w.shape, plane.marks.tolist()
        ((4, 2), [[0.0, 0.0]])
    """
    check_plain("params", params)
    check_finite("params", params)
    if not any(map(is_traced, jax.tree.leaves(params))) and not any(np.any(layer.w) for layer in params):
        raise ValueError(
            "params must have weights that are not 0, got 0 in every layer: no direction has a length"
        )
    with own_settings(_dtype(params)):
        params = jax.tree.map(jnp.asarray, params)
        drawn = [_drawn(draw, params) for draw in jax.random.split(key)]
        first, second = (_scaled(d, params, normalised) for d in drawn)
        return Plane(params, first, second, jnp.zeros((1, 2), params[0].w.dtype))


def filter_normalised(direction: Params, params: Params) -> Params:
    """Returns a direction in which each unit's incoming weights have the norm of the network's.

        d_u ← d_u · ‖w_u‖ / ‖d_u‖ for each row u of each matrix of weights;  0 for biases

    A unit whose weights are all 0 (group sparsity makes such) stays as it is.

    Args:
        direction: one `Layer` per matrix of weights, `(fan_out, fan_in)`; biases are not read.
        params: the network, same shapes.

    Raises:
        ValueError: other shapes, a unit that the direction does not move, though it has weights, or a network
            with blocks.

    References:
        Li, Xu, Taylor, Studer & Goldstein 2018, §4.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> from regjax.research.planes import filter_normalised
        >>> layer = lambda w: (regjax.Layer(jnp.array([w]), jnp.zeros((1, 1))),)
        >>> filter_normalised(layer([0.0, 2.0]), layer([3.0, 4.0]))[0].w.tolist()
        [[0.0, 5.0]]
    """
    for name, network in (("direction", direction), ("params", params)):
        check_plain(name, network)
    shapes = [[np.shape(layer.w) for layer in network] for network in (direction, params)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"direction must have weights of shapes {shapes[1]}, got {shapes[0]}")
    for index, (d, w) in enumerate(zip(direction, params, strict=True)):
        if not (is_traced(d.w) or is_traced(w.w)):
            still = np.flatnonzero(~np.any(d.w, axis=1) & np.any(w.w, axis=1))
            if len(still):
                raise ValueError(
                    f"direction must not be 0 for a whole unit, got 0 in layer {index}, unit {still[0]}"
                )
    return _scaled(direction, params, normalised=True)


def plane_through(one: Params, two: Params, three: Params) -> Plane:
    """Returns the plane through three networks; its coordinates are distances between parameters.

    The first network is at (0, 0), the second on the axis of a, the third above it (b > 0).

    Args:
        one: a network, one `Layer` per matrix of weights.
        two: another, same shapes.
        three: a third, same shapes.

    Raises:
        ValueError: other shapes, numbers that are not finite, three networks on one line, or networks with
            blocks.

    References:
        Garipov, Izmailov, Podoprikhin, Vetrov & Wilson 2018 (their figures of planes).

    Example:
        >>> import jax, regjax
        >>> from regjax.research.planes import plane_through
        >>> networks = [regjax.init_params(regjax.replicate_key(seed), (2, 4, 1)) for seed in range(3)]
        >>> plane = plane_through(*networks)
        >>> plane.marks.shape, [plane.marks[i, 1].item() for i in (0, 1)]
        ((3, 2), [0.0, 0.0])
    """
    names = ("one", "two", "three")
    for name, network in zip(names, (one, two, three), strict=True):
        check_plain(name, network)
        check_finite(name, network)
        shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(other)] for other in (network, one)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{name} must have the shapes {shapes[1]} of one, got {shapes[0]}")
    with own_settings(_dtype(one)):
        one, two, three = jax.tree.map(jnp.asarray, (one, two, three))
        u, w = _difference(two, one), _difference(three, one)
        length, other = _norm(u), _norm(w)
        u = _times(u, _inverse(length))
        along = _inner(w, u)
        v = jax.tree.map(lambda w, u: w - along * u, w, u)
        height = _norm(v)
        if not is_traced(height) and not (length > 0 and height > COLLINEAR * other):
            raise ValueError(
                "one, two and three must not lie on one line, got a third network "
                f"{float(height):.3g} from the line through the others"
            )
        v, nought = _times(v, _inverse(height)), jnp.zeros_like(length)
        marks = jnp.stack([nought, nought, length, nought, along, height]).reshape(3, 2)
        return Plane(one, u, v, marks)


def _dtype(params: Params) -> Any:
    return "float64" if params[0].w.dtype == np.float64 else "float32"


def _drawn(key: jax.Array, params: Params) -> Params:
    keys = jax.random.split(key, len(params))
    return tuple(
        Layer(jax.random.normal(draw, w.shape, w.dtype), jnp.zeros_like(b))
        for draw, (w, b) in zip(keys, params, strict=True)
    )


def _scaled(direction: Params, params: Params, normalised: bool) -> Params:
    """Returns a direction of the network's scale, unit by unit or as a whole; biases 0."""

    def length(w: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.sum(w * w, axis=1, keepdims=True))

    def whole(network: Params) -> jax.Array:
        return _norm(tuple(Layer(w, jnp.zeros_like(b)) for w, b in network))

    factor = None if normalised else whole(params) * _inverse(whole(direction))
    layers = []
    for (d, b), (w, _) in zip(direction, params, strict=True):
        scale = length(w) * _inverse(length(d)) if factor is None else factor
        layers.append(Layer(d * scale, jnp.zeros_like(b)))
    return tuple(layers)


def _inverse(length: jax.Array) -> jax.Array:
    """Returns 1/length, 0 for length 0."""
    return jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)


def _difference(p: Params, q: Params) -> Params:
    return jax.tree.map(jnp.subtract, p, q)


def _times(p: Params, factor: jax.Array) -> Params:
    return jax.tree.map(lambda leaf: leaf * factor, p)


def _inner(p: Params, q: Params) -> jax.Array:
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), p, q)
    return functools.reduce(jnp.add, jax.tree.leaves(products))


def _norm(p: Params) -> jax.Array:
    return jnp.sqrt(_inner(p, p))
