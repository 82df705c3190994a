"""The objective, written once, and its hand-derived gradient.

    cost = Σᵢ wᵢ·lossᵢ / Σᵢ wᵢ  +  l2/(2n)·Σ W²  +  l1/n·Σ|W|

n is the number of training rows, whatever the batch, so the objective does not change with the batch
size. Biases are never penalised.
"""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from regjax.config import Config, HParams, Loss
from regjax.data import Data
from regjax.losses import LOSSES
from regjax.mlp import Layer, Params, backward, forward
from regjax.noise import Masks
from regjax.penalties import PENALTIES


class BatchSizes(NamedTuple):
    """The two numbers the objective divides by.

    Attributes:
        num_samples: of the data term: |B| of a minibatch, Σ w of a full batch.
        num_train: of the penalties: n, the number of training rows.
    """

    num_samples: jax.Array | float
    num_train: jax.Array | float


def cost(
    params: Params,
    hparams: HParams,
    data: Data,
    masks: Masks | None = None,
    *,
    config: Config,
    sizes: BatchSizes | None = None,
) -> jax.Array:
    """Returns the objective, a scalar in nats (squared error: in squared units of the target).

    Args:
        params: one `Layer` per matrix of weights.
        hparams: `l2` and `l1`, each None, a scalar or `(num_layers,)`.
        data: x `(n_features, n)`, y, weights `(n,)`.
        masks: dropout masks, or None for inference.
        config: activation and loss.
        sizes: what is divided by; None takes Σ w for both.
    """
    sizes = full_batch_sizes(data) if sizes is None else sizes
    logits, _ = forward(params, data.x, masks, activation=config.activation, precision=config.precision)
    return data_term(logits, data, config, sizes) + penalty(params, hparams) / sizes.num_train


def cost_and_grads(
    params: Params,
    hparams: HParams,
    data: Data,
    masks: Masks | None = None,
    *,
    config: Config,
    sizes: BatchSizes | None = None,
) -> tuple[jax.Array, Params, jax.Array]:
    """Returns the objective, its gradient in `params` (same structure) and in `data.x`.

    Arguments as in `cost`.
    """
    sizes = full_batch_sizes(data) if sizes is None else sizes
    activation, precision = config.activation, config.precision
    logits, residuals = forward(params, data.x, masks, activation=activation, precision=precision)
    value = data_term(logits, data, config, sizes) + penalty(params, hparams) / sizes.num_train
    loss_gradient = LOSSES[resolve_loss(config, data)].gradient(logits, data.y)
    d_logits = loss_gradient * (data.weights / sizes.num_samples)[None, :]  # Σ w·loss / num_samples
    grads, dx, _ = backward(residuals, d_logits, activation=activation, precision=precision)
    d_penalty = penalty_gradient(params, hparams)
    grads = tuple(Layer(dw + d / sizes.num_train, db) for (dw, db), d in zip(grads, d_penalty, strict=True))
    return value, grads, dx


def data_term(logits: jax.Array, data: Data, config: Config, sizes: BatchSizes) -> jax.Array:
    """Returns Σ w·loss / num_samples, a scalar."""
    loss = LOSSES[resolve_loss(config, data)].f(logits, data.y)
    chex.assert_equal_shape([loss, data.weights])
    return jnp.sum(data.weights * loss) / sizes.num_samples


def penalty(params: Params, hparams: HParams) -> jax.Array:
    """Returns Σ over layers of l2/2·Σ W² + l1·Σ|W|: not yet divided by n."""
    terms = (
        PENALTIES[name].f(layer.w, strength)
        for name in PENALTIES
        for layer, strength in zip(params, _per_layer(params, hparams, name), strict=True)
    )
    return functools.reduce(operator.add, terms)


def penalty_gradient(params: Params, hparams: HParams) -> tuple[jax.Array, ...]:
    """Returns the gradient of `penalty` in each w."""
    strengths = [_per_layer(params, hparams, name) for name in PENALTIES]
    return tuple(
        functools.reduce(
            operator.add,
            (
                pair.gradient(layer.w, strength[index])
                for pair, strength in zip(PENALTIES.values(), strengths, strict=True)
            ),
        )
        for index, layer in enumerate(params)
    )


def full_batch_sizes(data: Data) -> BatchSizes:
    """Returns the sizes of a full batch: Σ w, which is n where the weights have mean 1."""
    total = jnp.sum(data.weights)
    return BatchSizes(total, total)


def resolve_loss(config: Config, data: Data) -> Loss:
    """Returns the loss that "auto" stands for: known from the dtype of y and the number of outputs."""
    if config.loss != "auto":
        return config.loss
    if not jnp.issubdtype(data.y.dtype, jnp.integer):
        return "squared_error"
    return "sigmoid_cross_entropy" if config.layer_sizes[-1] == 1 else "softmax_cross_entropy"


def _per_layer(params: Params, hparams: HParams, name: str) -> jax.Array:
    strength = getattr(hparams, name)
    strength = 0.0 if strength is None else strength
    return jnp.broadcast_to(jnp.asarray(strength, params[0].w.dtype), (len(params),))
