"""What turns a gradient into an update: optax's optimizers, decoupled weight decay, schedules."""

from __future__ import annotations

from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from .config import Config
from .hparams import HParams
from .mlp import Layer


def make_optimizer(
    config: Config,
    hparams: HParams,
    learning_rate: jax.Array | None = None,
    updates_done: ArrayLike | None = None,
) -> optax.GradientTransformation:
    """Returns optax's optimizer with traced hyperparameters.

    "adamw" also takes η·λ·W off the weights (Loshchilov & Hutter 2019, algorithm 2), λ = weight_decay, η the
    scheduled learning rate.

    Args:
        config: which one.
        hparams: hyperparameters.
        learning_rate: of this step; None takes the peak. No state depends on it.
        updates_done: before this one, on which config.epsilon_hat depends; no state does.
    """
    h, rate = hparams, hparams.learning_rate if learning_rate is None else learning_rate
    eps = h.eps
    if config.epsilon_hat and updates_done is not None:
        eps = h.eps / jnp.sqrt(1 - h.b2 ** (jnp.asarray(updates_done, h.b2.dtype) + 1))
    if config.optimizer == "sgd":
        return optax.sgd(rate)
    if config.optimizer in ("momentum", "nesterov"):
        return optax.sgd(rate, momentum=h.momentum, nesterov=config.optimizer == "nesterov")
    if config.optimizer == "adam":
        return optax.adam(rate, h.b1, h.b2, eps)
    weights_only = tuple(Layer._make([True, False]) for _ in range(config.num_layers))
    return optax.adamw(rate, h.b1, h.b2, eps, weight_decay=h.weight_decay, mask=weights_only)


def learning_rate_at(step: ArrayLike, config: Config, hparams: HParams) -> jax.Array:
    """Returns the learning rate of a step: the traced peak times a schedule of static durations.

        cosine       end + (1 - end)·½·(1 + cos(π·(t - W)/(D - W)))
        exponential  rate^((t - W)/D)
        warm-up      t/W before step W

    W = warmup_steps, D = decay_steps. optax's own schedules with a peak of 1; in optax 0.2.8 traced peaks,
    ends and rates raise a tracer error.

    Args:
        step: t.
        config: schedule, warmup_steps, decay_steps.
        hparams: learning_rate, end_fraction, decay_rate.
    """
    peak = hparams.learning_rate
    if config.schedule == "constant" and not config.warmup_steps:
        return peak
    warmup, total = config.warmup_steps, config.schedule_steps
    after = jnp.asarray(step, peak.dtype) - warmup
    factor = jnp.ones_like(peak)
    if config.schedule == "cosine":
        cosine = jnp.asarray(optax.cosine_decay_schedule(1.0, total - warmup)(cast(int, after)), peak.dtype)
        factor = hparams.end_fraction + (1 - hparams.end_fraction) * cosine
    elif config.schedule == "exponential":
        factor = jnp.exp(jnp.log(hparams.decay_rate) * after / total)
    if warmup:
        factor = jnp.where(after < 0, 1 + after / warmup, factor)
    return peak * factor
