"""The loss landscape: heights along the line between two networks, and over a plane of networks.

The heights are those of the objective without noise and masks, on any samples. `line` takes two networks,
`surface` a plane, which `planes` makes. All are pure: `jax.vmap` over stacked networks (`networks.stack`)
measures many lines or planes in one program. `regjax.plot.landscape` draws them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from regjax.core.checks import is_traced, shown
from regjax.core.config import REAL_LOSSES, Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.metrics import finite_r2, metrics
from regjax.core.mlp import Params, decide, forward
from regjax.core.objective import cost, resolve_loss
from regjax.research.networks import Measured, measured, measuring
from regjax.research.planes import Plane

# Networks that are measured at a time: their activations of thousands would fill the memory.
TOGETHER = 64
# Where a line and a plane are measured, unless one says otherwise: points of an axis.
POINTS = 41


class Line(NamedTuple):
    """Heights along a line of networks.

    Attributes:
        at: place t, `(points,)`; 0 is the first network, 1 the second.
        cost: the objective: loss with its regularisers, and penalties / n, `(points,)`.
        loss: mean loss on the true targets without penalties, `(points,)`: nats, or squared units.
        score: accuracy of classes, R² of real targets, `(points,)`.
    """

    at: jax.Array
    cost: jax.Array
    loss: jax.Array
    score: jax.Array


class Surface(NamedTuple):
    """Heights over a plane; a row is a value of b, a column a value of a.

    Attributes:
        a: coordinates along the first direction, `(columns,)`.
        b: coordinates along the second direction, `(rows,)`.
        cost: the objective, `(rows, columns)`, as in `Line`.
        loss: mean loss, `(rows, columns)`.
        score: accuracy or R², `(rows, columns)`.
        marks: coordinates of the networks that the plane was made of, `(marks, 2)`.
    """

    a: jax.Array
    b: jax.Array
    cost: jax.Array
    loss: jax.Array
    score: jax.Array
    marks: jax.Array


def line(
    start: Params,
    end: Params,
    hparams: HParams,
    data: Data,
    *,
    config: Config,
    at: ArrayLike | None = None,
) -> Line:
    """Returns the heights of the networks (1 - t)·start + t·end.

    Between initial and trained parameters this is the line of Goodfellow et al.; between two trained
    networks the rise above both ends is their `barrier`. Takes one forward pass per point.

    Args:
        start: the network at t = 0, one `Layer` per matrix of weights.
        end: the network at t = 1, same shapes.
        hparams: label_smoothing, confidence_penalty, activity_l2 and the penalties count in `cost`; noise
            and masks are off.
        data: samples, x `(n_features, n)`, y, weights `(n,)`; `cost` divides penalties by their Σ weights.
        config: layer sizes, activation, loss.
        at: places t, `(points,)`, which may lie beyond the networks; None is `POINTS` of 0 … 1.

    Raises:
        ValueError: networks of other shapes than the config's, or not finite; places that are not.

    References:
        Goodfellow, Vinyals & Saxe 2015, §2.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.landscape import line
        >>> config = regjax.Config(layer_sizes=(2, 4, 1), num_steps=100)
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> key, hparams = regjax.replicate_key(0), regjax.HParams(l2=0.1)
        >>> trained = regjax.make_train(config)(key, hparams, data)
        >>> found = line(regjax.init_params(key, (2, 4, 1)), trained.params, hparams, data, config=config)
        >>> found.loss.shape, bool(found.loss[-1] < found.loss[0])
        ((41,), True)
    """
    places = np.linspace(0, 1, POINTS) if at is None else at
    with measuring(config):
        whole = measured(start, hparams, data, config, "start")
        last = measured(end, hparams, data, config, "end").params
        return _line(whole, last, _coordinates("at", places, config), config=config)


def barrier(along: Line) -> jax.Array:
    """Returns the largest rise of the loss above the straight line between its ends, a scalar >= 0.

        maxₜ [ loss(t) - (1 - t)·loss(0) - t·loss(1) ]

    Args:
        along: a line whose first place is 0 and whose last is 1; or several, `(lines, points)` each.

    Returns:
        A scalar, or `(lines,)`.

    Raises:
        ValueError: a line that does not go from 0 to 1.

    References:
        Frankle, Dziugaite, Roy & Carbin 2020, §2; with unequal ends Entezari et al. 2022, §2.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.landscape import Line, barrier
        >>> loss = jnp.array([0.25, 1.0, 0.5])
        >>> barrier(Line(jnp.array([0.0, 0.5, 1.0]), loss, loss, loss)).item()
        0.625
    """
    ends = along.at[..., 0], along.at[..., -1]
    if not any(map(is_traced, ends)) and not (np.all(ends[0] == 0) and np.all(ends[1] == 1)):
        raise ValueError(f"along must go from 0 to 1, got {shown(np.unique(np.asarray(ends)).tolist())}")
    chord = (1 - along.at) * along.loss[..., :1] + along.at * along.loss[..., -1:]
    return jnp.maximum(jnp.max(along.loss - chord, axis=-1), 0)


def surface(
    plane: Plane,
    hparams: HParams,
    data: Data,
    *,
    config: Config,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
) -> Surface:
    """Returns the heights over a plane of networks: one forward pass for each pair of coordinates.

    Args:
        plane: the plane.
        hparams: hyperparameters, as in `line`.
        data: samples, x `(n_features, n)`, y, weights `(n,)`.
        config: layer sizes, activation, loss.
        a: coordinates along the first direction, `(columns,)`; None is `POINTS` that contain the marks with
            a quarter of their extent around them, or -1 … 1 where there is one.
        b: coordinates along the second direction, `(rows,)`.

    Raises:
        ValueError: directions of other shapes than the config's, or not finite; coordinates that are not.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.landscape import surface
        >>> from regjax.research.planes import random_plane
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> plane = random_plane(jax.random.key(1), regjax.init_params(jax.random.key(0), (2, 4, 1)))
        >>> surface(plane, regjax.HParams(), data, config=config, b=[0.0]).loss.shape
        (1, 41)
    """
    with measuring(config):
        whole = measured(plane.origin, hparams, data, config, "origin")
        first, second = (measured(d, hparams, data, config, name).params
                         for d, name in ((plane.first, "first"), (plane.second, "second")))  # fmt: skip
        places = [
            _extent(plane.marks[:, axis]) if given is None else given for axis, given in enumerate((a, b))
        ]
        a, b = (_coordinates(name, place, config) for name, place in zip("ab", places, strict=True))
        cost, loss, score = _surface(whole, first, second, a, b, config=config)
        return Surface(a, b, cost, loss, score, jnp.asarray(plane.marks))


@functools.partial(jax.jit, static_argnames="config")
def _line(whole: Measured, end: Params, at: jax.Array, *, config: Config) -> Line:
    def height(t: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        between = jax.tree.map(lambda p, q: (1 - t) * p + t * q, whole.params, end)
        return _height(between, whole, config)

    return Line(at, *lax.map(height, at, batch_size=TOGETHER))


@functools.partial(jax.jit, static_argnames="config")
def _surface(
    whole: Measured, first: Params, second: Params, a: jax.Array, b: jax.Array, *, config: Config
) -> tuple[jax.Array, ...]:
    def height(place: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        moved = jax.tree.map(lambda p, d, e: p + place[0] * d + place[1] * e, whole.params, first, second)
        return _height(moved, whole, config)

    across, along = (grid.ravel() for grid in jnp.meshgrid(a, b))
    found = lax.map(height, (across, along), batch_size=TOGETHER)
    return tuple(values.reshape(len(b), len(a)) for values in found)


def _height(params: Params, whole: Measured, config: Config) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns (cost, loss, score) of one network, scalars."""
    data, kind = whole.plain, resolve_loss(config, whole.plain)
    # `cost` makes the same forward pass, which the compiler merges with this one.
    logits, _ = forward(params, data.x, activation=config.activation, precision=config.precision)
    found = metrics(logits, data.y, data.weights, loss=kind, only=("accuracy",))
    if kind in REAL_LOSSES:
        score = finite_r2(decide(logits, kind), data.y, data.weights)
    else:
        score = found["accuracy"]
    return cost(params, whole.hparams, whole.data, config=config), found["loss"], score


def _coordinates(name: str, values: Any, config: Config) -> jax.Array:
    if not is_traced(values):
        try:
            values = np.asarray(values, config.dtype)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be numbers of shape (points,), got {shown(values)}") from None
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite, got {shown(values.tolist())}")
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must have shape (points,), got {values.shape}")
    return jnp.asarray(values)


def _extent(marks: jax.Array) -> jax.Array:
    low, high = jnp.min(marks), jnp.max(marks)
    margin = jnp.where(high > low, (high - low) / 4, 1)
    return jnp.linspace(low - margin, high + margin, POINTS, dtype=low.dtype)
