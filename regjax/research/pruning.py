"""Pruning by magnitude: masks on weights, and training that holds what is pruned at exactly zero.

A mask is a tuple with one array per layer of weights, 1 where a weight is kept and 0 where it is pruned;
biases are never pruned. All functions are pure, and the fraction, the masks and the parameters may be traced,
so that iterative pruning is one `lax.scan` and its seeds are one `vmap`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from regjax.core.augment import add_noise
from regjax.core.checks import is_traced, shown
from regjax.core.config import Config
from regjax.core.constraints import constrain
from regjax.core.data import Data, check_data, check_test, hide_held_out, pad_samples
from regjax.core.dropout import draw_masks
from regjax.core.evaluate import measure
from regjax.core.gradients import gradient
from regjax.core.hparams import CARRIED, HParams, check_hparams, check_loss
from regjax.core.minibatches import batches_per_epoch, make_batches, weigh_classes
from regjax.core.mlp import Params
from regjax.core.objective import resolve_loss, with_statistics
from regjax.core.optimizers import learning_rate_at, make_optimizer, update
from regjax.core.settings import own_settings
from regjax.core.train import Trained

WeightMask = tuple[jax.Array, ...]


def full_mask(params: Params) -> WeightMask:
    """Returns the mask that keeps all weights.

    Args:
        params: one `Layer` per matrix of weights.

    Example:
        >>> import jax, regjax
        >>> [part.shape for part in full_mask(regjax.init_params(jax.random.key(0), (2, 4, 1)))]
        [(4, 2), (1, 4)]
    """
    return tuple(jnp.ones_like(layer.w) for layer in params)


def apply_mask(params: Params, mask: WeightMask) -> Params:
    """Returns the parameters with pruned weights at zero.

    Args:
        params: one `Layer` per matrix of weights.
        mask: 1 or 0 for each weight, `(fan_out, fan_in)` each.

    Raises:
        ValueError: a mask whose shapes are not those of the weights.

    Example:
        >>> import jax, regjax
        >>> params = regjax.init_params(jax.random.key(0), (2, 4, 1))
        >>> pruned = apply_mask(params, prune(params, full_mask(params), 0.5))
        >>> [int((layer.w != 0).sum()) for layer in pruned]
        [4, 2]
    """
    shapes, wanted = [jnp.shape(part) for part in mask], [layer.w.shape for layer in params]
    if shapes != wanted:
        raise ValueError(f"mask must have the shapes of the weights, {wanted}, got {shapes}")
    return tuple(layer._replace(w=layer.w * part) for layer, part in zip(params, mask, strict=True))


def prune(params: Params, mask: WeightMask, fraction: ArrayLike | Sequence[float]) -> WeightMask:
    """Returns the mask without the smallest of the weights that it keeps, layer by layer.

    Of a layer that keeps k weights, the round((1 - fraction)·k) largest magnitudes stay. Takes O(s·log s) for
    s weights of a layer.

    Args:
        params: trained parameters, one `Layer` per matrix of weights.
        mask: 1 or 0 for each weight, `(fan_out, fan_in)` each.
        fraction: share of the kept weights that is pruned, in [0, 1], a scalar or one per layer; may be
            traced. Frankle & Carbin prune half as much of the last layer.

    Raises:
        ValueError: a fraction outside [0, 1] or of another shape, or a mask of other shapes.

    References:
        Han et al. 2015; Frankle & Carbin 2019, §2.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.mlp import Layer
        >>> params = (Layer(jnp.array([[0.1, -3.0, 2.0, -0.5]]), jnp.zeros((1, 1))),)
        >>> prune(params, full_mask(params), 0.5)[0].tolist()
        [[0.0, 1.0, 1.0, 0.0]]
    """
    if np.shape(fraction) not in ((), (len(params),)):
        raise ValueError(f"fraction must be a scalar or have {len(params)} entries, got {shown(fraction)}")
    if not is_traced(fraction) and not np.all((np.asarray(fraction) >= 0) & (np.asarray(fraction) <= 1)):
        raise ValueError(f"fraction must be in [0, 1], got {shown(fraction)}")
    apply_mask(params, mask)  # checks the shapes
    fractions = jnp.broadcast_to(jnp.asarray(fraction, params[0].w.dtype), (len(params),))
    found = []
    for layer, part, share in zip(params, mask, fractions, strict=True):
        kept = jnp.round((1 - share) * jnp.sum(part)).astype(jnp.int32)
        # Pruned weights come last, also after weights that training has brought to zero.
        size = jnp.where(part > 0, jnp.abs(layer.w), -1).ravel()
        rank = (
            jnp.zeros(size.shape, jnp.int32)
            .at[jnp.argsort(-size)]
            .set(jnp.arange(size.size, dtype=jnp.int32))
        )
        found.append((rank < kept).astype(layer.w.dtype).reshape(layer.w.shape))
    return tuple(found)


def kept_share(mask: WeightMask) -> jax.Array:
    """Returns the share of all weights that a mask keeps, a scalar in [0, 1].

    Args:
        mask: 1 or 0 for each weight, `(fan_out, fan_in)` each.

    Example:
        >>> import jax.numpy as jnp
        >>> kept_share((jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 0.0]]))).item()
        0.25
    """
    return jnp.sum(jnp.stack([jnp.sum(part) for part in mask])) / sum(part.size for part in mask)


def train_masked(
    key: jax.Array,
    params: Params,
    mask: WeightMask,
    hparams: HParams,
    data: Data,
    test: Data | None = None,
    *,
    config: Config,
) -> Trained:
    """Returns a run of the network whose pruned weights stay exactly zero, with the history of `make_train`.

    Batches and masks of dropout depend on the key and the step alone: two runs with one key, from other
    weights or with other masks, see the same. With a mask of ones the run is that of `make_train`. Pure,
    and vmappable over all arguments.

    Args:
        key: key of the replicate, see `regjax.core.random.replicate_key`.
        params: initial parameters, of which the pruned weights are set to zero.
        mask: 1 or 0 for each weight, `(fan_out, fan_in)` each.
        hparams: hyperparameters; no average of parameters and no patience.
        data: training samples.
        test: samples to measure beside them, never trained on.
        config: the compiled configuration, without stop_on. With dtype "float64", put
            `with jax.enable_x64(True)` around the call.

    Raises:
        ValueError: an average, patience or stop_on, or values and samples that do not fit.

    References:
        Frankle & Carbin 2019, §2.

    Example:
        >>> import jax, regjax
        >>> config = regjax.Config(layer_sizes=(2, 8, 1), num_steps=50, eval_every=50)
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(regjax.replicate_key(0), config.layer_sizes)
        >>> mask = prune(params, full_mask(params), 0.5)
        >>> run = train_masked(regjax.replicate_key(0), params, mask, regjax.HParams(), data, config=config)
        >>> [int((layer.w != 0).sum()) for layer in run.params]
        [8, 4]
    """
    carried = [name for name in CARRIED if getattr(hparams, name) is not None]
    if carried or config.stop_on is not None:
        raise ValueError(
            f"{', '.join(carried) or 'stop_on'} must be None for training with a mask, got a value"
        )
    with own_settings(config.dtype):
        hparams = check_hparams(config, hparams)
        data, test = check_data(config, data), check_test(config, data, test)
        check_loss(hparams, resolve_loss(config, data))
        return _train(key, apply_mask(params, mask), mask, hparams, data, test, config=config)


@functools.partial(jax.jit, static_argnames="config")
def _train(
    key: jax.Array,
    params: Params,
    mask: WeightMask,
    hparams: HParams,
    data: Data,
    test: Data | None,
    *,
    config: Config,
) -> Trained:
    data, test = pad_samples(data), None if test is None else pad_samples(test)
    visible = hide_held_out(data)
    weighed = weigh_classes(visible, config)
    num_batches = batches_per_epoch(weighed.weights, config)
    next_batch = make_batches(key, weighed, visible.weights, config, num_batches, None, None)

    def step(i: jax.Array, carry: tuple) -> tuple:
        params, opt_state, order = carry
        batch, sizes, order = next_batch(i, order)
        batch, partners = add_noise(key, i, hparams, batch, weighed)
        drawn = draw_masks(key, i, hparams, config, batch.x.shape[1], config.num_steps)
        # A mask on weights as DropConnect has it: what is pruned has a gradient of exactly zero, and so
        # every optimizer, penalty and projection leaves it at zero.
        factors = (
            mask if drawn.weights is None else tuple(a * b for a, b in zip(mask, drawn.weights, strict=True))
        )
        masks = drawn._replace(weights=factors)
        _, grads = gradient(params, hparams, batch, masks, partners, config=config, sizes=sizes)
        rate = learning_rate_at(i, config, hparams)
        before = params
        params, opt_state = update(params, grads, opt_state, rate, config=config, hparams=hparams)
        params = constrain(params, hparams, rate, sizes.num_train)
        params = with_statistics(params, before, batch, masks, partners, config=config)
        return params, opt_state, order

    def record_and_run(carry: tuple, start: jax.Array) -> tuple:
        found = measure(key, carry[0], hparams, data, test, start, config=config)
        end = jnp.minimum(start + config.eval_every, config.num_steps)
        order = next_batch(start, None)[2]  # a segment may begin inside an epoch
        return lax.fori_loop(start, end, step, (*carry, order))[:2], found

    starts = jnp.arange(0, config.num_steps, config.eval_every, dtype=jnp.int32)
    begin = params, make_optimizer(config, hparams).init(params)
    (params, _), history = lax.scan(record_and_run, begin, starts)
    last = measure(key, params, hparams, data, test, config.num_steps, config=config)
    return Trained(params, jax.tree.map(lambda h, x: jnp.append(h, x), history, last))
