"""Penalties on weights and on hidden activations, each with its hand-derived gradient directly below it.

A penalty is not yet divided by n, the number of training samples: `objective` does that once for all.
`constraints` takes `column_norms`, the tutorial's functions `l2`; `train`, `evaluate` and the lanes of
`regjax.engine` call `penalty` for what they record.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .hparams import HParams


def l2(w: jax.Array, strength: jax.Array) -> jax.Array:
    """strength/2 · Σ w².

    Args:
        w: weights, `(fan_out, fan_in)`.
        strength: λ >= 0, a scalar, or an array that broadcasts against w: a λ for each weight.

    Returns:
        A scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.penalties import l2
        >>> l2(jnp.array([[1.0, 2.0]]), jnp.array(0.1)).round(3).item()
        0.25
    """
    if jnp.ndim(strength):
        return 0.5 * jnp.sum(strength * w * w)
    return 0.5 * strength * jnp.sum(w * w)


def l2_gradient(w: jax.Array, strength: jax.Array) -> jax.Array:
    """d/dw = strength · w, `(fan_out, fan_in)`."""
    return strength * w


def l1(w: jax.Array, strength: jax.Array) -> jax.Array:
    """strength · Σ |w|.

    Args:
        w: weights, `(fan_out, fan_in)`.
        strength: λ >= 0, a scalar, or an array that broadcasts against w: a λ for each weight.

    Returns:
        A scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.penalties import l1
        >>> l1(jnp.array([[1.0, -2.0]]), jnp.array(0.1)).round(3).item()
        0.30000001192092896
    """
    if jnp.ndim(strength):
        return jnp.sum(strength * jnp.abs(w))
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

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.penalties import activity_l2
        >>> activity_l2(jnp.array([[1.0, 2.0]]), jnp.ones(2)).item()
        5.0
    """
    return jnp.sum(weights * jnp.sum(a * a, axis=0))


def activity_l2_gradient(a: jax.Array, weights: jax.Array) -> jax.Array:
    """d/da = 2·w·a, `(units, n)`."""
    return 2 * weights[None, :] * a


def column_norms(w: jax.Array) -> jax.Array:
    """‖w[:, j]‖ per input j, `(1, fan_in)`: the groups of group_lasso.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.penalties import column_norms
        >>> column_norms(jnp.array([[3.0, 0.0], [4.0, 1.0]])).tolist()
        [[5.0, 1.0]]
    """
    return jnp.sqrt(jnp.sum(w * w, axis=0, keepdims=True))


class PenaltyPair(NamedTuple):
    """A penalty `f(w, strength)` and its gradient `gradient(w, strength)` in w."""

    f: Callable[[jax.Array, jax.Array], jax.Array]
    gradient: Callable[[jax.Array, jax.Array], jax.Array]


# The keys are the names of the strengths in `HParams`.
PENALTIES: dict[str, PenaltyPair] = {"l2": PenaltyPair(l2, l2_gradient), "l1": PenaltyPair(l1, l1_gradient)}


def penalty(params: Sequence[Any], hparams: HParams) -> jax.Array:
    """Returns all penalties on the weights, the proximal ones too, a scalar: not yet divided by n.

    Args:
        params: one `mlp.Layer` per matrix of weights.
        hparams: l2, l1, l1_prox, group_lasso.

    Example:
        >>> import jax.numpy as jnp
        >>> import regjax
        >>> from regjax.core.penalties import penalty
        >>> params = (regjax.Layer(jnp.array([[1.0, -2.0]]), jnp.zeros((1, 1))),)
        >>> penalty(params, regjax.HParams(l2=0.1, l1=0.0)).round(3).item()
        0.25
    """
    h, ws = hparams, [layer.w for layer in params]
    terms = [
        PENALTIES[name].f(w, strength)
        for name in PENALTIES
        for w, strength in zip(ws, _per_layer(ws, getattr(h, name)), strict=True)
    ]
    if h.l1_prox is not None:
        terms += [l1(w, strength) for w, strength in zip(ws, _per_layer(ws, h.l1_prox), strict=True)]
    if h.group_lasso is not None:
        terms.append(h.group_lasso * jnp.sum(column_norms(ws[0])))
    return functools.reduce(operator.add, terms)


def penalty_gradient(params: Sequence[Any], hparams: HParams) -> tuple[jax.Array, ...]:
    """Returns the gradient of `penalty` in each w, without the terms that act by a proximal step."""
    ws = [layer.w for layer in params]
    strengths = [_per_layer(ws, getattr(hparams, name)) for name in PENALTIES]
    return tuple(
        functools.reduce(
            operator.add,
            (
                pair.gradient(w, strength[index])
                for pair, strength in zip(PENALTIES.values(), strengths, strict=True)
            ),
        )
        for index, w in enumerate(ws)
    )


def _per_layer(ws: Sequence[jax.Array], strength: Any) -> Sequence[jax.Array] | jax.Array:
    # Users of the core may pass one number for all layers, none, or an array for the weights of each layer;
    # checked strengths have one number per layer.
    if isinstance(strength, tuple) and any(map(jnp.ndim, strength)):
        return tuple(jnp.asarray(each, w.dtype) for each, w in zip(strength, ws, strict=True))
    strength = 0.0 if strength is None else strength
    return jnp.broadcast_to(jnp.asarray(strength, ws[0].dtype), (len(ws),))


def activity_penalty(hidden: Sequence[jax.Array], weights: jax.Array, hparams: HParams) -> jax.Array | None:
    """Returns the penalty on hidden activations, a scalar to be divided as the loss is; None where it is off.

    Args:
        hidden: activations of each hidden layer, `(units, n)`.
        weights: weights of the samples, `(n,)`.
        hparams: activity_l2.

    Example:
        >>> import jax.numpy as jnp
        >>> import regjax
        >>> from regjax.core.penalties import activity_penalty
        >>> hparams = regjax.HParams(activity_l2=jnp.array(0.1))
        >>> activity_penalty([jnp.array([[1.0, 2.0]])], jnp.ones(2), hparams).round(3).item()
        0.5
    """
    if hparams.activity_l2 is None or not hidden:
        return None
    return hparams.activity_l2 * functools.reduce(operator.add, (activity_l2(a, weights) for a in hidden))


def activity_penalty_gradient(
    hidden: Sequence[jax.Array], weights: jax.Array, hparams: HParams
) -> list[jax.Array] | None:
    """Returns the gradient of `activity_penalty` in each of `hidden`; None where it is off."""
    if hparams.activity_l2 is None or not hidden:
        return None
    return [hparams.activity_l2 * activity_l2_gradient(a, weights) for a in hidden]
