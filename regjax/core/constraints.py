"""Constraints on the parameters after an update: proximal steps and projections.

`train` calls `constrain` at every step.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .hparams import HParams
from .mlp import Params
from .penalties import column_norms


def constrain(params: Params, hparams: HParams, learning_rate: jax.Array, num_train: ArrayLike) -> Params:
    """Returns the parameters after proximal steps and projections, in that order.

    Args:
        params: the parameters after the update.
        hparams: l1_prox, group_lasso, max_norm.
        learning_rate: the rate of this step.
        num_train: n, by which penalties are divided.
    """
    h = hparams
    # A gradient step moves by learning rate times gradient, and the penalty's gradient is divided by n.
    reach = learning_rate / num_train
    if h.l1_prox is not None:
        params = tuple(
            layer._replace(w=soft_threshold(layer.w, reach * strength))
            for layer, strength in zip(params, h.l1_prox, strict=True)
        )
    if h.group_lasso is not None:
        first = params[0]._replace(w=shrink_columns(params[0].w, reach * h.group_lasso))
        params = (first, *params[1:])
    if h.max_norm is not None:
        hidden = (layer._replace(w=project_rows(layer.w, h.max_norm)) for layer in params[:-1])
        params = (*hidden, params[-1])
    return params


def soft_threshold(w: jax.Array, reach: jax.Array) -> jax.Array:
    """Returns sign(w)·max(|w| - reach, 0): the proximal map of reach·Σ|w|, with exact zeros.

    After a step of plain gradient descent with rate η, `reach` = η·λ/n minimises cost + λ/n·Σ|w|. With a
    preconditioned step (momentum, Adam) the threshold would have to be preconditioned alike.

    References:
        Parikh & Boyd 2014, §6.5.2.
    """
    return jnp.sign(w) * jnp.maximum(jnp.abs(w) - reach, 0)


def shrink_columns(w: jax.Array, reach: jax.Array) -> jax.Array:
    """Returns w[:, j]·max(1 - reach/‖w[:, j]‖, 0): the proximal map of reach·Σ_j ‖w[:, j]‖.

    In the first layer a column holds all weights of one input feature: whole features go to exactly zero.

    References:
        Yuan & Lin 2006; Parikh & Boyd 2014, §6.5.4.
    """
    norms = column_norms(w)
    return w * jnp.where(norms > reach, 1 - reach / jnp.where(norms > 0, norms, 1), 0)


def project_rows(w: jax.Array, max_norm: jax.Array) -> jax.Array:
    """Returns w with the incoming weights of each unit u projected to the ball ‖w[u, :]‖ <= max_norm.

    References:
        Srivastava et al. 2014, §5.1.
    """
    norms = jnp.sqrt(jnp.sum(w * w, axis=1, keepdims=True))
    return jnp.where(norms > max_norm, w * (max_norm / jnp.where(norms > 0, norms, 1)), w)
