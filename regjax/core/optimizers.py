"""The update of a step: optax's optimizers, decoupled weight decay, and schedules of the learning rate.

`train` calls `learning_rate_at` and `update` at every step, and `make_optimizer` for the first state.
"""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from .config import Config
from .hparams import HParams
from .mlp import Params


def make_optimizer(
    config: Config,
    hparams: HParams,
    learning_rate: jax.Array | None = None,
    updates_done: ArrayLike | None = None,
) -> optax.GradientTransformation:
    """Returns optax's optimizer with traced hyperparameters.

    "adamw" also subtracts η·λ·W from the weights; λ is weight_decay, η the scheduled learning rate.

    Args:
        config: optimizer, epsilon_hat, and the number of layers.
        hparams: momentum, b1, b2, eps, weight_decay.
        learning_rate: the rate of this step; None takes the peak. The initial state does not depend on it.
        updates_done: number of updates before this one, for config.epsilon_hat.

    References:
        Kingma & Ba 2015; Loshchilov & Hutter 2019, algorithm 2.
    """
    h, rate = hparams, hparams.learning_rate if learning_rate is None else learning_rate
    eps = h.eps
    if config.epsilon_hat and updates_done is not None:
        # √v̂ + ε/√(1 - b2ᵗ) = (√v + ε)/√(1 - b2ᵗ): with it optax adds ε before the correction.
        eps = h.eps / jnp.sqrt(1 - h.b2 ** (jnp.asarray(updates_done, h.b2.dtype) + 1))
    if config.optimizer == "sgd":
        return optax.sgd(rate)
    if config.optimizer in ("momentum", "nesterov"):
        return optax.sgd(rate, momentum=h.momentum, nesterov=config.optimizer == "nesterov")
    if config.optimizer == "adam":
        return optax.adam(rate, h.b1, h.b2, eps)
    return optax.adamw(rate, h.b1, h.b2, eps, weight_decay=h.weight_decay, mask=_weights_only)


def _weights_only(params: Params) -> Params:
    """Returns True for each matrix of weights, False for all other leaves."""
    return tuple(jax.tree.map(lambda leaf: False, layer)._replace(w=True) for layer in params)


def update(
    params: Params,
    grads: Params,
    opt_state: Any,
    learning_rate: jax.Array,
    *,
    config: Config,
    hparams: HParams,
) -> tuple[Params, Any]:
    """Returns the parameters and the optimizer's state after one update.

    Args:
        params: the parameters before it.
        grads: gradient of the objective, same structure.
        opt_state: the optimizer's state, of optax.
        learning_rate: the rate of this step.
        config: see `make_optimizer`.
        hparams: see `make_optimizer`.
    """
    with jax.numpy_dtype_promotion("standard"):  # optax raises a traced b1 to the power of an int32
        done = optax.tree.get(opt_state, "count") if config.epsilon_hat else None
        optimizer = make_optimizer(config, hparams, learning_rate, done)
        updates, opt_state = optimizer.update(grads, opt_state, params)
    return cast(Params, optax.apply_updates(params, updates)), opt_state


def learning_rate_at(step: ArrayLike, config: Config, hparams: HParams) -> jax.Array:
    """Returns the learning rate of a step: the traced peak times a schedule of static durations.

        cosine       end + (1 - end)·½·(1 + cos(π·(t - W)/(D - W)))
        cyclic       the cosine and its warm-up at t mod D
        exponential  rate^((t - W)/D)
        warm-up      t/W before step W

    W = warmup_steps, D = decay_steps. The cosine is optax's, with a peak of 1: optax 0.2.8 raises a tracer
    error for traced peaks, ends and rates.

    Args:
        step: t.
        config: schedule, warmup_steps, decay_steps.
        hparams: learning_rate, end_fraction, decay_rate.

    References:
        Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", eq. 5.
    """
    peak = hparams.learning_rate
    if config.schedule == "constant" and not config.warmup_steps:
        return peak
    warmup, total = config.warmup_steps, config.schedule_steps
    if config.schedule == "cyclic":
        step = jnp.asarray(step, jnp.int32) % total
    after = jnp.asarray(step, peak.dtype) - warmup
    factor = jnp.ones_like(peak)
    if config.schedule in ("cosine", "cyclic"):
        cosine = jnp.asarray(optax.cosine_decay_schedule(1.0, total - warmup)(cast(int, after)), peak.dtype)
        factor = hparams.end_fraction + (1 - hparams.end_fraction) * cosine
    elif config.schedule == "exponential":
        factor = jnp.exp(jnp.log(hparams.decay_rate) * after / total)
    if warmup:
        factor = jnp.where(after < 0, 1 + after / warmup, factor)
    return peak * factor
