"""Dropout without sampling: the ensemble of all sub-networks of a small network, by enumeration.

k hidden units that can be dropped make 2^k sub-networks. `ensemble` goes through all of them and returns the
mean and variance of the prediction and the expected loss, each sub-network weighted by the probability of
its mask. `weight_scaling` holds the usual approximations against it.

The pre-activations behind the last dropped layer are sums over its units. A table holds the sums of all
subsets of some of these units; a scan goes through the subsets of the others, and through the masks of the
layers before, in blocks. The memory does not grow with the number of sub-networks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from regjax.core.activations import ACTIVATIONS
from regjax.core.checks import check_count, is_traced
from regjax.core.config import Config, Loss
from regjax.core.data import Data, check_data
from regjax.core.hparams import check_hparam
from regjax.core.losses import LOSSES
from regjax.core.mlp import Params, forward
from regjax.core.objective import resolve_loss
from regjax.core.settings import own_settings

from .networks import check_plain
from .predictions import from_observed, loss_of, observed, observed_and_loss

# Numbers in an array of one step of the scan: a megabyte of float32, which stays in the cache.
STEP_NUMBERS = 2**18
# Numbers of one sub-network in such an array: more samples go through in blocks.
BLOCK_NUMBERS = 2**11
# Nanoseconds of a prediction and its loss on one output, on two cores: for messages only.
NANOSECONDS = 4.0


class Ensemble(NamedTuple):
    """The ensemble of all masks, and the approximations that need one network, for each sample.

    Predictions are `(n_outputs, n)`: probabilities, for squared error outputs, for poisson means. Losses are
    `(n,)`, nats or squared units.

    Attributes:
        mean: expected prediction over the masks.
        variance: variance of the prediction over the masks.
        geometric: normalised geometric mean of the predictions; of squared error the mean.
        scaled: prediction of weight scaling, the network without masks.
        expected_loss: expected loss over the masks, which training with dropout minimises.
        mean_loss: loss of `mean`; at most expected_loss (Jensen).
        geometric_loss: loss of `geometric`.
        scaled_loss: loss of `scaled`.
    """

    mean: jax.Array
    variance: jax.Array
    geometric: jax.Array
    scaled: jax.Array
    expected_loss: jax.Array
    mean_loss: jax.Array
    geometric_loss: jax.Array
    scaled_loss: jax.Array


class Moments(NamedTuple):
    """Expectations over the masks, with `q` the prediction as `observed` returns it, and c that of no mask.

    Attributes:
        logits: E z, `(n_outputs, n)`.
        q: E q, `(n_outputs, n)`.
        square: E (q - c)², `(n_outputs, n)`.
        loss: E loss, `(n,)`.
    """

    logits: jax.Array
    q: jax.Array
    square: jax.Array
    loss: jax.Array


def ensemble(
    params: Params, keep_prob: ArrayLike | Sequence[float], data: Data, *, config: Config, most: int = 2**24
) -> Ensemble:
    """Returns the ensemble of all sub-networks that dropout on the hidden units can draw.

        mean = Σ_m P(m)·p(m),  P(m) = Π_l p_l^kept·(1 - p_l)^dropped,  units of layer l scaled by 1/p_l

    Pure in `params`, `keep_prob` and `data`: a curve is a `jax.vmap` over `keep_prob`, or a `lax.map` where
    memory is short. Inverted dropout scales the units by 1/p, so every value makes other networks and costs
    an enumeration of its own. A layer whose keep_prob is 1, and not traced, is not enumerated. Masks of
    different samples may be drawn together or not: the result is about each sample alone.

    Takes O(2^k·n·(n_outputs + what follows the last dropped layer)) time and the memory of some arrays of
    `STEP_NUMBERS`. In float64 the rounding error is below 1e-13; sums over blocks are compensated.

    Args:
        params: one `Layer` per matrix of weights.
        keep_prob: probability of keeping a unit, in (0, 1], a scalar or `(num_hidden,)`; may be traced.
        data: samples with targets; their weights are not read.
        config: layer sizes, activation, loss, dtype; with "float64" the params must be too.
        most: sub-networks that may be enumerated, at most 2^30.

    Raises:
        TypeError: data or params of the wrong kind.
        ValueError: a value that does not fit; more sub-networks than `most`, with their number, time and
            memory.

    References:
        Baldi & Sadowski 2013, §2 and §5; Srivastava et al. 2014, §10; Hinton et al. 2012.

    Example:
        >>> import jax, numpy as np, regjax
        >>> from regjax.research.subnetworks import ensemble
        >>> config = regjax.Config(layer_sizes=(2, 10, 1))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> found = ensemble(params, 0.5, regjax.two_regions(jax.random.key(0))[0], config=config)
        >>> found.mean.shape, bool((found.mean_loss <= found.expected_loss).all())
        ((1, 211), True)
        >>> bool(np.allclose(found.geometric, found.scaled, atol=1e-6))  # one hidden layer
        True
    """
    with own_settings(config.dtype):
        data = check_network(params, data, config)
        dropped = _dropped(keep_prob, config)
        checked = check_hparam(config, "keep_prob", keep_prob)
        if checked is None:
            checked = np.ones(config.num_hidden, config.dtype)
        loss = resolve_loss(config, data)
        _check_size(dropped, data.x.shape[1], config, check_count("most", most, at_most=2**30))
        return _ensemble(params, checked, data.x, data.y, activation=config.activation, loss=loss,
                         dropped=dropped)  # fmt: skip


def check_network(params: Params, data: Data, config: Config) -> Data:
    """Returns checked data for a network with a hidden layer, whose params are checked too.

    Args:
        params: one `Layer` per matrix of weights.
        data: samples with targets.
        config: layer sizes, loss, dtype.

    Raises:
        TypeError: params of another dtype than config's, or float64 that JAX does not hold.
        ValueError: no hidden layer, params of other sizes, or data that do not fit.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.subnetworks import check_network
        >>> params = regjax.init_params(jax.random.key(0), (2, 4, 1))
        >>> data = regjax.two_regions(jax.random.key(0))[0]
        >>> check_network(params, data, regjax.Config(layer_sizes=(2, 4, 1))).x.dtype
        dtype('float32')
    """
    if config.num_hidden == 0:
        raise ValueError(f"layer_sizes must have a hidden layer, got {config.layer_sizes}")
    check_plain("params", params, config)
    sizes = tuple(layer.w.shape[::-1] for layer in params)
    if sizes != tuple(zip(config.layer_sizes[:-1], config.layer_sizes[1:], strict=True)):
        raise ValueError(f"params must have layer_sizes {config.layer_sizes}, got (fan_in, fan_out) {sizes}")
    for layer in params:
        if layer.w.dtype != config.dtype:
            raise TypeError(f"params must be {config.dtype} as config.dtype says, got {layer.w.dtype}")
    return check_data(config, data)


def _dropped(keep_prob: Any, config: Config) -> tuple[bool, ...]:
    """Returns for each hidden layer whether its units may be dropped; of traced values all may be."""
    if is_traced(keep_prob):
        return (True,) * config.num_hidden
    checked = check_hparam(config, "keep_prob", keep_prob)
    return (False,) * config.num_hidden if checked is None else tuple((np.asarray(checked) < 1).tolist())


def _check_size(dropped: tuple[bool, ...], num_samples: int, config: Config, most: int) -> None:
    """Raises ValueError where there are more than `most` sub-networks."""
    hidden = config.layer_sizes[1:-1]
    units = sum(size for size, is_dropped in zip(hidden, dropped, strict=True) if is_dropped)
    if 2**units <= most:
        return
    numbers = num_samples * config.layer_sizes[-1]
    seconds = math.ldexp(numbers * NANOSECONDS * 1e-9, units) if units < 900 else math.inf
    size = 4 * STEP_NUMBERS * np.dtype(config.dtype).itemsize / 2**20
    count = f"{2**units:,}" if units < 100 else f"2^{units}"
    raise ValueError(
        f"most must be at least the {count} sub-networks of {units} hidden units that can be dropped, got "
        f"{most:,}: on {num_samples:,} samples they take about {_duration(seconds)} on two cores, in about "
        f"{size:.0f} MiB"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("years", 3.15e7), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.2g} s"


@functools.partial(jax.jit, static_argnames=("activation", "loss", "dropped"))
def _ensemble(
    params: Params,
    keep_prob: jax.Array,
    x: jax.Array,
    y: jax.Array,
    *,
    activation: str,
    loss: Loss,
    dropped: tuple[bool, ...],
) -> Ensemble:
    x, y, keep_prob = jnp.asarray(x), jnp.asarray(y), jnp.asarray(keep_prob)
    count = x.shape[1]
    width = max(layer.w.shape[0] for layer in params[1:])
    blocks = min(count, -(-count * width // BLOCK_NUMBERS))
    size = -(-count // blocks)

    def of_block(samples: tuple[jax.Array, jax.Array]) -> Ensemble:
        scaled, _ = forward(params, samples[0], activation=activation)  # pyright: ignore
        if not any(dropped):
            moments = _of_one(scaled, samples[1], loss)
        else:
            moments = _enumerate(params, keep_prob, *samples, scaled, activation, loss, dropped)
        return summarise(moments, scaled, samples[1], loss)

    # The last samples are repeated where the blocks are not full.
    order = jnp.minimum(jnp.arange(blocks * size, dtype=jnp.int32), count - 1).reshape(blocks, size)
    found = lax.map(lambda at: of_block((x[:, at], y[:, at])), order)
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)[..., :count], found)


def _of_one(logits: jax.Array, y: jax.Array, loss: Loss) -> Moments:
    return Moments(logits, observed(logits, y, loss), jnp.zeros_like(logits), LOSSES[loss].f(logits, y))


def summarise(moments: Moments, scaled: jax.Array, y: jax.Array, loss: Loss) -> Ensemble:
    """Returns the predictions and losses that follow from the expectations.

    Args:
        moments: expectations over the masks, arrays of shape `(n_outputs, n)` and `(n,)`.
        scaled: logits of the network without masks, `(n_outputs, n)`.
        y: targets, `(1, n)` or `(n_outputs, n)`.
        loss: name of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.research.subnetworks import Moments, summarise
        >>> z, y = jnp.array([[0.0]]), jnp.array([[1]])
        >>> certain = Moments(z, jnp.array([[0.5]]), jnp.array([[0.0]]), jnp.array([0.69]))
        >>> summarise(certain, z, y, "sigmoid_cross_entropy").variance.tolist()
        [[0.0]]
    """
    q, off = moments.q, moments.q - observed(scaled, y, loss)
    geometric = observed(moments.logits, y, loss)
    return Ensemble(
        mean=from_observed(q, y, loss),
        variance=jnp.maximum(moments.square - off * off, 0),
        geometric=from_observed(geometric, y, loss),
        scaled=from_observed(observed(scaled, y, loss), y, loss),
        expected_loss=moments.loss,
        mean_loss=loss_of(q, y, loss),
        geometric_loss=LOSSES[loss].f(moments.logits, y),
        scaled_loss=LOSSES[loss].f(scaled, y),
    )


def _enumerate(
    params: Params,
    keep_prob: jax.Array,
    x: jax.Array,
    y: jax.Array,
    scaled: jax.Array,
    activation: str,
    loss: Loss,
    dropped: tuple[bool, ...],
) -> Moments:
    """Returns the expectations over all masks, of one block of samples."""
    last = max(layer for layer, is_dropped in enumerate(dropped) if is_dropped)
    early = [(layer, params[layer].w.shape[0]) for layer in range(last) if dropped[layer]]
    early_units = sum(units for _, units in early)
    units, f, p = params[last].w.shape[0], ACTIVATIONS[activation].f, keep_prob[last]
    numbers = max(layer.w.shape[0] for layer in params[last + 1 :]) * x.shape[1]
    log_rows = max(0, int(math.log2(max(1, STEP_NUMBERS // numbers))))
    low = min(units, log_rows)  # units in the table; all others are gone through one subset at a time
    log_early = min(early_units, log_rows - low) if low == units else 0
    centre = observed(scaled, y, loss)
    low_kept, low_weights = _subsets(jnp.arange(2**low, dtype=jnp.int32), low, p)

    def hidden(kept: jax.Array) -> jax.Array:
        """Returns the last dropped layer, `(units, n)`, of one mask of the layers before it."""
        a, at = x, 0
        for layer in range(last + 1):
            a = f(_matmul(params[layer].w, a) + params[layer].b)
            if layer < last and dropped[layer]:
                size = params[layer].w.shape[0]
                a, at = a * (kept[at : at + size] / keep_prob[layer])[:, None], at + size
        return a

    def of_rows(z: jax.Array, weights: jax.Array) -> Moments:
        """Returns the weighted sums over rows of pre-activations `(rows, fan_out, n)` behind that layer."""
        z = z if last + 2 == len(params) else jax.vmap(functools.partial(_tail, params[last + 2 :], f))(z)
        q, losses = jax.vmap(lambda z: observed_and_loss(z, y, loss))(z)
        off = q - centre[None]
        return Moments(*(_weighted(weights, values) for values in (z, q, off * off, losses)))

    def of_early(index: jax.Array, sums: Any) -> Any:
        """Adds all subsets of the last dropped layer, for a block of masks of the layers before."""
        at = index * 2**log_early + jnp.arange(2**log_early, dtype=jnp.int32)
        kept, early_weights = _subsets_of(at, early, keep_prob)
        a = jax.vmap(hidden)(kept) / p  # (masks, units, n)
        w, b = params[last + 1]
        parts = w.T[None, :, :, None] * a[:, :, None, :]  # what each unit adds: (masks, units, fan_out, n)
        table = _combine(low_kept, parts[:, :low])

        def of_high(index: jax.Array, sums: Any) -> Any:
            kept, weight = _subsets(index[None], units - low, p)
            z = table + (_combine(kept, parts[:, low:]) + b[None, None])
            weights = early_weights[:, None] * (weight * low_weights)[None, :]
            return _add(sums, of_rows(z.reshape(-1, *z.shape[2:]), weights.reshape(-1)))

        return _repeat(2 ** (units - low), of_high, sums)

    zero = Moments(*(jnp.zeros_like(a) for a in (scaled, scaled, scaled, x[0])))
    sums, errors = _repeat(2 ** (early_units - log_early), of_early, (zero, zero))
    return jax.tree.map(jnp.add, sums, errors)


def _repeat(times: int, step: Callable[[jax.Array, Any], Any], carry: Any) -> Any:
    if times == 1:
        return step(jnp.int32(0), carry)
    return lax.fori_loop(0, times, step, carry)


def _tail(params: Params, f: Callable[[jax.Array], jax.Array], z: jax.Array) -> jax.Array:
    """Returns the logits of a pre-activation `(fan_out, n)`, without masks."""
    for w, b in params:
        z = _matmul(w, f(z)) + b
    return z


def _subsets(index: jax.Array, units: int, p: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the subsets of these numbers, 1 where a unit is kept `(m, units)`, and probabilities `(m,)`."""
    bits = (index[:, None] >> jnp.arange(units, dtype=jnp.int32)[None, :]) & 1
    return bits.astype(p.dtype), jnp.prod(jnp.where(bits > 0, p, 1 - p), axis=1)


def _subsets_of(
    index: jax.Array, layers: Sequence[tuple[int, int]], keep_prob: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns what `_subsets` does for (layer, units) after each other, each with its own keep_prob."""
    kept = [jnp.zeros((len(index), 0), keep_prob.dtype)]
    weights = jnp.ones(len(index), keep_prob.dtype)
    for layer, units in layers:
        bits, probability = _subsets(index, units, keep_prob[layer])
        kept, weights, index = [*kept, bits], weights * probability, index >> units
    return jnp.concatenate(kept, axis=1), weights


def _combine(kept: jax.Array, parts: jax.Array) -> jax.Array:
    """Returns the sums over subsets, `(m, units)` and `(masks, units, fan_out, n)` → `(masks, m, …)`."""
    masks, units = parts.shape[:2]
    if units == 0:
        return jnp.zeros((masks, len(kept), *parts.shape[2:]), parts.dtype)
    found = jnp.matmul(kept[None], parts.reshape(masks, units, -1), precision=lax.Precision.HIGHEST)
    return found.reshape(masks, len(kept), *parts.shape[2:])


def _weighted(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Returns Σ_r weights_r·values_r, `(rows,)` and `(rows, …)` → `(…)`."""
    # In groups of about √rows: one long sum of float32 would round the same way thousands of times.
    groups = 1 << (len(weights).bit_length() - 1) // 2
    found = _matmul(weights.reshape(groups, 1, -1), values.reshape(groups, len(weights) // groups, -1))
    return jnp.sum(found, axis=(0, 1)).reshape(values.shape[1:])


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _add(sums: Any, terms: Moments) -> Any:
    """Returns (sums, errors) with terms added: the rounding errors are summed apart (Neumaier 1974)."""
    sums, errors = sums

    def lost(s: jax.Array, t: jax.Array) -> jax.Array:
        total = s + t
        return jnp.where(jnp.abs(s) >= jnp.abs(t), (s - total) + t, (t - total) + s)

    errors = jax.tree.map(lambda e, s, t: e + lost(s, t), errors, sums, terms)
    return jax.tree.map(jnp.add, sums, terms), errors
