"""The objective, written once, and its hand-derived gradient.

    cost = Σᵢ wᵢ·lossᵢ / Σᵢ wᵢ  +  l2/(2n)·Σ W²  +  l1/n·Σ|W|

and further terms on the loss, on hidden activations and on weights, where they are on. n is the number of
training samples, whatever the batch, so the objective does not change with the batch size. Biases,
scales, shifts and factors are never penalised. `gradients` calls it at every step, `evaluate.measure` at
every record.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from . import blocks
from .config import SKLEARNS_ACTIVATIONS, Config, Loss
from .data import Data
from .dropout import Masks, UnitMasks
from .hparams import HParams, check_loss, is_sklearns
from .losses import clipped_loss, regularised_loss, regularised_loss_gradient
from .members import for_members
from .mlp import Params, backward, forward
from .penalties import activity_penalty, activity_penalty_gradient, penalty, penalty_gradient


class BatchSizes(NamedTuple):
    """The two numbers the objective divides by.

    Attributes:
        num_samples: divisor of the data term: |B| of a minibatch, Σ w of a full batch.
        num_train: divisor of the penalties: n, the number of training samples.
    """

    num_samples: jax.Array | float
    num_train: jax.Array | float


def cost(
    params: Params,
    hparams: HParams,
    data: Data,
    masks: UnitMasks | Masks | None = None,
    partners: Data | None = None,
    *,
    config: Config,
    sizes: BatchSizes | None = None,
) -> jax.Array:
    """Returns the objective, a scalar in nats (squared error: in squared units of the target).

    Args:
        params: one `Layer` per matrix of weights.
        hparams: l2, l1, activity_l2, label_smoothing, confidence_penalty, l1_prox, group_lasso; None is off.
        data: x `(n_features, n)`, y, weights `(n,)`.
        masks: dropout masks, or `Masks`; None is inference, but for batch normalisation, which takes the
            statistics of `data`.
        partners: of mixed samples, see `augment.mixup`: the same x with other targets and weights.
        config: activation and loss.
        sizes: divisors of the terms; None takes Σ w for both.

    Example:
        >>> import jax, regjax
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> regjax.cost(params, regjax.HParams(l2=0.7), data, config=config).shape
        ()
    """
    sizes = full_batch_sizes(data) if sizes is None else sizes
    masks = _as_masks(masks)
    data, partners = _for_members(data, partners, config)
    logits, residuals = _forward(params, data, partners, masks, config)
    value = _data_terms(logits, residuals, hparams, data, partners, config) / sizes.num_samples
    return value + penalty(params, hparams) / sizes.num_train


def cost_and_grads(
    params: Params,
    hparams: HParams,
    data: Data,
    masks: UnitMasks | Masks | None = None,
    partners: Data | None = None,
    *,
    config: Config,
    sizes: BatchSizes | None = None,
) -> tuple[jax.Array, Params, jax.Array]:
    """Returns the objective, its gradient in `params` (same structure) and in `data.x`.

    Arguments as in `cost`. The gradient leaves out `l1_prox` and `group_lasso`, which act by proximal steps
    (`constraints.py`).

    Example:
        >>> import jax, regjax
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> cost, grads, dx = regjax.cost_and_grads(params, regjax.HParams(l2=0.7), data, config=config)
        >>> grads[0].w.shape == params[0].w.shape, dx.shape
        (True, (2, 211))
    """
    sizes = full_batch_sizes(data) if sizes is None else sizes
    value, grads, dx = data_cost_and_grads(
        params, hparams, data, _as_masks(masks), partners, config=config, sizes=sizes
    )
    value = value + penalty(params, hparams) / sizes.num_train
    return value, add_penalty_gradient(grads, params, hparams, sizes), dx


def add_penalty_gradient(grads: Params, params: Params, hparams: HParams, sizes: BatchSizes) -> Params:
    """Returns the gradient of the objective: that of the data term plus that of the penalties.

    Args:
        grads: gradient of the data term, one `Layer` per matrix of weights.
        params: the parameters, same structure.
        hparams: l2 and l1.
        sizes: divisors of the terms.

    Example:
        >>> import jax, regjax
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> from regjax.core import objective
        >>> sizes = objective.full_batch_sizes(data)
        >>> found = objective.add_penalty_gradient(params, params, regjax.HParams(l2=211.0), sizes)
        >>> bool((found[0].w == 2 * params[0].w).all())
        False
    """
    d_penalty = penalty_gradient(params, hparams)
    each = zip(grads, d_penalty, strict=True)
    return tuple(grad._replace(w=grad.w + d / sizes.num_train) for grad, d in each)


def data_cost_and_grads(
    params: Params,
    hparams: HParams,
    data: Data,
    masks: Masks,
    partners: Data | None,
    *,
    config: Config,
    sizes: BatchSizes,
) -> tuple[jax.Array, Params, jax.Array]:
    """Returns the data term of the objective, and its gradients in `params` and in `data.x`.

    With config.clip_loss the term is that of `clipped_loss`; the gradients never are. Arguments as in `cost`.

    Example:
        >>> import jax, regjax
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> from regjax.core import objective
        >>> from regjax.core.dropout import Masks
        >>> sizes = objective.full_batch_sizes(data)
        >>> value, _, dx = objective.data_cost_and_grads(
        ...     params, regjax.HParams(), data, Masks(None), None, config=config, sizes=sizes
        ... )
        >>> value.shape, dx.shape
        ((), (2, 211))
    """
    data, partners = _for_members(data, partners, config)
    logits, residuals = _forward(params, data, partners, masks, config)
    value = _data_terms(logits, residuals, hparams, data, partners, config) / sizes.num_samples
    sklearn_has_it = config.is_plain and config.activation in SKLEARNS_ACTIVATIONS
    if config.clip_loss and config.class_weight is None and sklearn_has_it:
        clipped = jnp.sum(data.weights * clipped_loss(logits, data.y, resolve_loss(config, data)))
        value = jnp.where(jnp.asarray(is_sklearns(hparams)), clipped / sizes.num_samples, value)
    d_logits = _loss_gradient(logits, hparams, data, config, sizes)
    if partners is not None:
        d_logits = d_logits + _loss_gradient(logits, hparams, partners, config, sizes)
    # Divided like d_logits: `backward` adds the two gradients.
    weights = _all_weights(data, partners) / sizes.num_samples
    d_hidden = activity_penalty_gradient(_hidden(residuals), weights, hparams)
    if config.is_plain:
        options: Any = {"activation": config.activation, "precision": config.precision}
        grads, dx, _ = backward(residuals, d_logits, d_hidden, **options)
    else:
        grads, dx = blocks.backward(residuals, d_logits, d_hidden, config=config)
    if masks.weights is not None:  # forward multiplies w ⊙ mask
        each = zip(grads, masks.weights, strict=True)
        grads = tuple(grad._replace(w=grad.w * mask) for grad, mask in each)
    return value, grads, dx


def _forward(
    params: Params, data: Data, partners: Data | None, masks: Masks, config: Config
) -> tuple[jax.Array, Any]:
    """Returns the logits and residuals of the network of `mlp.py`, or of that of `blocks.py`."""
    blocks.check_params(params, config)
    if masks.weights is not None:
        each = zip(params, masks.weights, strict=True)
        params = tuple(layer._replace(w=layer.w * mask) for layer, mask in each)
    if config.is_plain:
        return forward(params, data.x, masks.units, activation=config.activation, precision=config.precision)
    return blocks.forward(params, data.x, masks.units, _all_weights(data, partners), config=config)


def _for_members(data: Data, partners: Data | None, config: Config) -> tuple[Data, Data | None]:
    """Returns the samples and partners with targets and weights for every member of the network."""
    return (
        for_members(data, config.members),
        None if partners is None else for_members(partners, config.members),
    )


def with_statistics(
    params: Params, before: Params, data: Data, masks: Masks, partners: Data | None, *, config: Config
) -> Params:
    """Returns the parameters with the running statistics that batch normalisation keeps; others unchanged.

    They move towards the statistics of a batch as the parameters before the step saw it. The forward pass is
    written again here; in a step it is that of the gradient, and the compiler computes it once.

    Args:
        params: the parameters after a step.
        before: those before it.
        data: the samples of the step.
        masks: its masks.
        partners: of mixed samples, or None.
        config: the structure.

    Example:
        >>> import regjax
        >>> from regjax.core.dropout import Masks
        >>> from regjax.core.objective import with_statistics
        >>> params = regjax.init_params(regjax.replicate_key(0), (2, 3, 1))
        >>> config = regjax.Config(layer_sizes=(2, 3, 1))
        >>> with_statistics(params, params, None, Masks(), None, config=config) is params
        True
    """
    if config.norm != "batch":
        return params
    data, partners = _for_members(data, partners, config)
    return blocks.with_statistics(params, _forward(before, data, partners, masks, config)[1])


def _data_terms(
    logits: jax.Array,
    residuals: Any,
    hparams: HParams,
    data: Data,
    partners: Data | None,
    config: Config,
) -> jax.Array:
    """Returns Σ w·loss over samples and partners, plus the penalty on activations: not yet divided."""
    found = data_term(logits, hparams, data, config)
    if partners is not None:
        found = found + data_term(logits, hparams, partners, config)
    activity = activity_penalty(_hidden(residuals), _all_weights(data, partners), hparams)
    return found if activity is None else found + activity


def data_term(logits: jax.Array, hparams: HParams, data: Data, config: Config) -> jax.Array:
    """Returns Σ w·loss, a scalar, with label smoothing and confidence penalty in the loss.

    Args:
        logits: z, `(n_outputs, n)`.
        hparams: label_smoothing, confidence_penalty.
        data: y and weights `(n,)`.
        config: the loss.

    Example:
        >>> import jax, jax.numpy as jnp, regjax
        >>> from regjax.core.objective import data_term
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> round(data_term(jnp.zeros((1, 211)), regjax.HParams(), data, regjax.Config()).item() / 211, 3)
        0.693
    """
    loss = resolve_loss(config, data)
    check_loss(hparams, loss)
    per_example = regularised_loss(logits, data.y, loss, hparams)
    chex.assert_equal_shape([per_example, data.weights])
    return jnp.sum(data.weights * per_example)


def _loss_gradient(
    logits: jax.Array, hparams: HParams, data: Data, config: Config, sizes: BatchSizes
) -> jax.Array:
    """Returns the gradient of `data_term` in the logits, divided by num_samples."""
    found = regularised_loss_gradient(logits, data.y, resolve_loss(config, data), hparams)
    return found * (data.weights / sizes.num_samples)[None, :]


def _hidden(residuals: Any) -> list[jax.Array]:
    return [layer.a for layer in residuals.layers[:-1]]


def _all_weights(data: Data, partners: Data | None) -> jax.Array:
    return data.weights if partners is None else data.weights + partners.weights


def _as_masks(masks: UnitMasks | Masks | None) -> Masks:
    return masks if isinstance(masks, Masks) else Masks(masks)


def full_batch_sizes(data: Data) -> BatchSizes:
    """Returns the sizes of a full batch: Σ w, which is n where the weights have mean 1.

    Example:
        >>> import jax, regjax
        >>> from regjax.core.objective import full_batch_sizes
        >>> full_batch_sizes(regjax.two_regions(jax.random.key(0))[0]).num_train.item()
        211.0
    """
    total = jnp.sum(data.weights)
    return BatchSizes(total, total)


def resolve_loss(config: Config, data: Data) -> Loss:
    """Returns the loss that "auto" stands for: known from the dtype of y and the number of outputs.

    Args:
        config: the loss, and the number of outputs.
        data: y.

    Example:
        >>> import jax, regjax
        >>> from regjax.core.objective import resolve_loss
        >>> resolve_loss(regjax.Config(), regjax.two_regions(jax.random.key(0))[0])
        'sigmoid_cross_entropy'
    """
    if config.loss != "auto":
        return config.loss
    if not jnp.issubdtype(data.y.dtype, jnp.integer):
        return "squared_error"
    return "sigmoid_cross_entropy" if config.layer_sizes[-1] == 1 else "softmax_cross_entropy"
