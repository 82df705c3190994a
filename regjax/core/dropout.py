"""The masks of a step: factors that drop units and weights, or multiply them by noise.

`train` and `evaluate.measure` call `draw_masks`; `forward` and `backward` take masks as data and draw
nothing. The random bits are a function of (seed, fold, step) alone; a hyperparameter only sets the threshold
or the scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .config import Config
from .hparams import HParams
from .random import CONNECTIONS, GAUSSIAN, MASKS, place_key, random_bits, random_normals

# Factors on the input of each layer of weights, `(fan_in, n)`; None where there is no mask.
UnitMasks = tuple[jax.Array | None, ...]


class Masks(NamedTuple):
    """The masks of one step.

    Attributes:
        units: factors on the input of each layer, `(fan_in, n)` or None each; or None.
        weights: factors on each matrix of weights, `(fan_out, fan_in)` each; or None.
    """

    units: UnitMasks | None = None
    weights: tuple[jax.Array, ...] | None = None


def draw_masks(
    key: jax.Array,
    step: ArrayLike,
    hparams: HParams,
    config: Config,
    num_samples: int,
    num_steps: Any,
    given: UnitMasks | None = None,
) -> Masks:
    """Returns the masks of one step.

    Args:
        key: key of the replicate.
        step: number of the step.
        hparams: hyperparameters.
        config: layer sizes.
        num_samples: columns of a unit's mask.
        num_steps: steps of the whole run, for keep_prob_end.
        given: masks of the units; nothing is drawn where they are given.
    """
    if given is not None:
        return Masks(given)
    h, sizes = hparams, config.layer_sizes
    num_samples = num_samples * config.members  # each member drops its own units
    keep_prob = h.keep_prob
    if h.keep_prob_end is not None:  # then dropout may be on although keep_prob is off
        start = jnp.ones(config.num_hidden, config.dtype) if keep_prob is None else keep_prob
        keep_prob = keep_prob_at(step, start, h.keep_prob_end, num_steps)
    units = dropout_masks(
        key, step, sizes, num_samples, keep_prob=keep_prob, input_keep_prob=h.input_keep_prob
    )
    if h.gaussian_dropout is not None:
        factors = gaussian_masks(key, step, sizes, num_samples, h.gaussian_dropout)
        units = factors if units is None else tuple(map(_times, units, factors))
    weights = None
    if h.dropconnect_keep_prob is not None:
        weights = dropconnect_masks(key, step, config.widths, h.dropconnect_keep_prob)
    return Masks(units, weights)


def _times(a: jax.Array | None, b: jax.Array | None) -> jax.Array | None:
    return b if a is None else a if b is None else a * b


@jax.custom_jvp
def dropout_mask(bits: jax.Array, keep_prob: jax.Array) -> jax.Array:
    """Returns an inverted-dropout mask: 1/p where a unit is kept, else 0.

        t = clip(round(65536·keep_prob), 1, 65536);  keep where bits <= t - 1;  p = t/65536

    p is the exact probability of keeping a unit with 16 random bits, so the expected mask is exactly 1;
    with keep_prob = 1 every entry is exactly 1.

    Args:
        bits: `(units, n)`, uint16.
        keep_prob: probability of keeping a unit, in (0, 1], a real scalar (may be traced).

    Returns:
        `(units, n)`, dtype of keep_prob.

    References:
        Srivastava et al. 2014, §10 (scaling at training time).
    """
    threshold = keep_threshold(keep_prob)
    # Not bits < threshold: 65536 is no uint16.
    keep = bits <= (threshold - 1).astype(jnp.uint16)
    return jnp.where(keep, 65536 / threshold, jnp.zeros_like(threshold))


@dropout_mask.defjvp
def _relaxed(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    """d/dp of a mask m = 1 + s(p)·e with s(p) = √((1 - p)/p), at the e that was drawn: -(m - 1)/(2p(1 - p)).

    e has mean 0 and variance 1, so that mean and variance of m are those of dropout at every p. Where nothing
    is dropped it is 0. Only derivatives in keep_prob read it.
    """
    (bits, p), dp = primals, tangents[1]
    mask = dropout_mask(bits, p)
    return mask, jnp.where(p < 1, (1 - mask) / (2 * p * jnp.where(p < 1, 1 - p, 1)), 0) * dp


def keep_threshold(keep_prob: jax.Array) -> jax.Array:
    """Returns t of `dropout_mask`, a whole number in 1 … 65536, in the shape and dtype of keep_prob."""
    return jnp.clip(jnp.round(65536 * keep_prob), 1, 65536)


def dropout_masks(
    key: jax.Array,
    step: ArrayLike,
    layer_sizes: Sequence[int],
    num_samples: int,
    *,
    keep_prob: jax.Array | None = None,
    input_keep_prob: jax.Array | None = None,
) -> UnitMasks | None:
    """Returns the dropout masks of one step, one per layer of weights: factors on the layer's input.

    Args:
        key: key of the replicate, see `replicate_key`.
        step: the step, a whole number >= 0.
        layer_sizes: units per layer, input and output included.
        num_samples: columns of each mask.
        keep_prob: probability of keeping a hidden unit, a scalar or `(num_hidden,)`, in (0, 1]; None is off.
        input_keep_prob: probability of keeping an input feature, a scalar in (0, 1]; None is off.

    Returns:
        A tuple of `(units, num_samples)` arrays, None where nothing is dropped; None if all is off.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> masks = regjax.dropout_masks(regjax.replicate_key(0), 0, (2, 4, 1), 5, keep_prob=jnp.array(0.5))
        >>> masks[0] is None, masks[1].shape, sorted(set(masks[1].ravel().tolist()))
        (True, (4, 5), [0.0, 2.0])
    """
    if keep_prob is None and input_keep_prob is None:
        return None
    key = place_key(key, step, MASKS)
    num_hidden = len(layer_sizes) - 2
    keep_probs: list[jax.Array | None] = [input_keep_prob] + [None] * num_hidden
    if keep_prob is not None:
        keep_probs[1:] = jnp.broadcast_to(keep_prob, (num_hidden,))
    return tuple(
        None
        if keep is None
        else dropout_mask(random_bits(jax.random.fold_in(key, layer), units, num_samples), keep)
        for layer, (units, keep) in enumerate(zip(layer_sizes[:-1], keep_probs, strict=True))
    )


def keep_prob_at(step: ArrayLike, start: jax.Array, end: jax.Array, num_steps: Any) -> jax.Array:
    """Returns k(t) = start + (end - start)·min(t/num_steps, 1): dropout that grows or fades.

    The scale of the masks is that of the current value, so the expected activation stays as it is.

    Args:
        step: t.
        start: `(num_hidden,)`, in (0, 1].
        end: a scalar, in (0, 1].
        num_steps: steps of the whole run.
    """
    done = jnp.minimum(jnp.asarray(step, start.dtype) / jnp.asarray(num_steps, start.dtype), 1)
    return start + (end - start) * done


def gaussian_masks(
    key: jax.Array, step: ArrayLike, layer_sizes: Sequence[int], num_samples: int, sigma: jax.Array
) -> UnitMasks:
    """Returns factors 1 + σ·n on hidden units, n standard normal: mean 1, variance σ².

    σ = √((1 - k)/k) has the variance of dropout with keep_prob k.

    Args:
        key: key of the replicate.
        step: number of the step.
        layer_sizes: units per layer.
        num_samples: columns of each array.
        sigma: `(num_hidden,)`, >= 0.

    References:
        Srivastava et al. 2014, §10.
    """
    key = place_key(key, step, GAUSSIAN)
    return (
        None,
        *(
            1 + sigma[i] * random_normals(jax.random.fold_in(key, i), units, num_samples).astype(sigma.dtype)
            for i, units in enumerate(layer_sizes[1:-1])
        ),
    )


def dropconnect_masks(
    key: jax.Array, step: ArrayLike, layer_sizes: Sequence[int], keep_prob: jax.Array
) -> tuple[jax.Array, ...]:
    """Returns the factors on each matrix of weights: 1/p where a weight is kept, else 0.

    One mask per step and replicate is shared by the batch, and inference takes the weights as they are;
    Wan et al. draw a mask per example, and sample at inference from a moment-matched normal.

    Args:
        key: key of the replicate.
        step: number of the step.
        layer_sizes: units per layer.
        keep_prob: `(num_layers,)`, in (0, 1].

    Returns:
        `(fan_out, fan_in)` each, mean 1.

    References:
        Wan, Zeiler, Zhang, LeCun, Fergus 2013.
    """
    key = place_key(key, step, CONNECTIONS)
    return tuple(
        dropout_mask(random_bits(jax.random.fold_in(key, i), fan_out, fan_in), keep_prob[i])
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(layer_sizes))
    )
