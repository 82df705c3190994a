"""Averages of the parameters over the steps, which are evaluated instead of the last parameters.

`train` calls `init_average` once and `average` after every step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from .hparams import HParams
from .mlp import Params


class Average(NamedTuple):
    """An average of the parameters.

    Attributes:
        state: the state of `optax.ema`, or None for a plain mean.
        params: the average so far, which is evaluated.
    """

    state: Any
    params: Params


def init_average(params: Params, hparams: HParams) -> Average | None:
    """Returns the average before the first step: the initial parameters; None where no average is on."""
    if hparams.ema_decay is not None:
        return Average(optax.ema(hparams.ema_decay).init(params), params)
    return None if hparams.average_from is None else Average(None, params)


def average(params: Params, before: Average | None, step: ArrayLike, hparams: HParams) -> Average | None:
    """Returns the average after a step.

    Args:
        params: the parameters after the step.
        before: the average before it.
        step: number t of the step, from 0.
        hparams: hyperparameters.
    """
    if before is None:
        return None
    if hparams.ema_decay is not None:
        return exponential_mean(params, before, hparams.ema_decay)
    return before._replace(params=mean_from(params, before.params, step, hparams.average_from))


def exponential_mean(params: Params, before: Average, decay: jax.Array) -> Average:
    """Returns (1 - d)·Σ_s d^(t-s)·params_s / (1 - d^t) over the steps s = 1 … t: debiased, by `optax.ema`.

    References:
        Polyak & Juditsky 1992; Kingma & Ba 2015, §3, for the correction of the bias.
    """
    with jax.numpy_dtype_promotion("standard"):  # optax raises a traced decay to the power of an int32
        found, state = optax.ema(decay).update(params, before.state)
    return Average(state, jax.tree.map(lambda new, old: new.astype(old.dtype), found, before.params))


def mean_from(params: Params, before: Params, step: ArrayLike, start: jax.Array) -> Params:
    """Returns the plain mean of the parameters after steps start, …, t; before start, the last ones.

    References:
        Polyak & Juditsky 1992.
    """
    counted = jnp.maximum(jnp.asarray(step, start.dtype) - jnp.ceil(start) + 1, 1)
    return jax.tree.map(lambda mean, new: mean + (new - mean) / counted, before, params)
