"""How far weight scaling and Monte Carlo are from the ensemble of all sub-networks.

`scaling_errors` and `monte_carlo` take what `subnetworks.ensemble` returns; `worst_keep_prob` calls it.
Errors are means over samples by the data's weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from scipy import optimize

from regjax.core.checks import check_choice, check_count, shown
from regjax.core.config import Config, Loss
from regjax.core.data import Data
from regjax.core.hparams import check_hparam
from regjax.core.mlp import Params, forward
from regjax.core.objective import resolve_loss
from regjax.core.settings import own_settings

from .predictions import from_observed, loss_of, loss_of_variance, loss_slope, observed
from .subnetworks import Ensemble, check_network, ensemble


class ScalingErrors(NamedTuple):
    """The errors of weight scaling against the ensemble; scalars.

    Attributes:
        rms: root mean square error of the prediction, over samples and outputs.
        largest: largest absolute error of a prediction, of samples with a weight above 0.
        loss: mean loss of weight scaling less that of the ensemble's mean prediction; may be negative.
        spread: root mean variance of the prediction over sub-networks, over samples and outputs.
        draws: number T of Monte Carlo draws, not rounded, whose rms error is that of weight scaling.
    """

    rms: jax.Array
    largest: jax.Array
    loss: jax.Array
    spread: jax.Array
    draws: jax.Array


class MonteCarlo(NamedTuple):
    """The errors of a mean over T drawn sub-networks, arrays `(len(draws),)`.

    Attributes:
        draws: T.
        rms: root mean square error of the prediction, over samples, outputs and repeats.
        rms_expected: √(mean variance/T), which `rms` estimates.
        loss: mean loss of the T-mean less that of the ensemble's mean, over samples and repeats; the term
            that is linear in the deviation, whose mean is 0, is left out of each repeat.
        loss_expected: its leading term in 1/T; of squared error exact.
    """

    draws: jax.Array
    rms: jax.Array
    rms_expected: jax.Array
    loss: jax.Array
    loss_expected: jax.Array


class Worst(NamedTuple):
    """The keep_prob at which weight scaling is worst.

    Attributes:
        keep_prob: the worst that was found.
        error: the error there.
        grid: the values that were tried first, `(num_grid,)`.
        errors: the errors there, `(num_grid,)`.
    """

    keep_prob: float
    error: float
    grid: np.ndarray
    errors: np.ndarray


def scaling_errors(exact: Ensemble, weights: ArrayLike) -> ScalingErrors:
    """Returns the errors of weight scaling. Pure: of a curve it is a `jax.vmap`.

    Args:
        exact: what `ensemble` returns.
        weights: weights of the samples, `(n,)`, >= 0.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.subnetworks import ensemble
        >>> from regjax.research.weight_scaling import scaling_errors
        >>> config = regjax.Config(layer_sizes=(2, 8, 1))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> data = regjax.two_regions(jax.random.key(0))[0]
        >>> errors = scaling_errors(ensemble(params, 0.5, data, config=config), data.weights)
        >>> bool(0 < errors.rms < errors.spread)
        True
    """
    off = exact.scaled - exact.mean
    weights = jnp.asarray(weights, off.dtype)
    square, variance = _mean(off * off, weights), _mean(exact.variance, weights)
    largest = jnp.max(jnp.where(weights[None, :] > 0, jnp.abs(off), jnp.zeros_like(off)))
    loss = _mean((exact.scaled_loss - exact.mean_loss)[None], weights)
    return ScalingErrors(jnp.sqrt(square), largest, loss, jnp.sqrt(variance), variance / square)


def _mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the mean over outputs and samples, `(n_outputs, n)` and `(n,)` → a scalar."""
    return jnp.sum(jnp.mean(values, axis=0) * weights) / jnp.sum(weights)


def monte_carlo(
    key: jax.Array,
    params: Params,
    keep_prob: ArrayLike | Sequence[float],
    data: Data,
    exact: Ensemble,
    *,
    config: Config,
    draws: Sequence[int] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
    repeats: int = 100,
) -> MonteCarlo:
    """Returns the errors of averaging T drawn sub-networks, for several T at once.

    A draw is one mask, for all samples. Of each repeat the means of the first T draws are taken, so the
    errors of different T are of the same draws. O(repeats·max(draws)) forward passes, one repeat at a time.

    Args:
        key: key of the draws.
        params: one `Layer` per matrix of weights.
        keep_prob: probability of keeping a unit, in (0, 1], a scalar or `(num_hidden,)`; may be traced.
        data: samples with targets and weights.
        exact: what `ensemble` returns for the same arguments.
        config: layer sizes, activation, loss, dtype.
        draws: values of T, at least 1 each.
        repeats: independent means of each T, at least 1.

    Raises:
        TypeError: data or params of the wrong kind.
        ValueError: a value that does not fit.

    References:
        Gal & Ghahramani 2016, eq. 6.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.subnetworks import ensemble
        >>> from regjax.research.weight_scaling import monte_carlo
        >>> config = regjax.Config(layer_sizes=(2, 8, 1))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> data = regjax.two_regions(jax.random.key(0))[0]
        >>> exact = ensemble(params, 0.5, data, config=config)
        >>> found = monte_carlo(jax.random.key(1), params, 0.5, data, exact, config=config, draws=(1, 100))
        >>> bool(0.8 < found.rms[1] / found.rms_expected[1] < 1.25)
        True
    """
    with own_settings(config.dtype):
        data = check_network(params, data, config)
        counts = tuple(check_count("draws", count) for count in draws)
        if not counts:
            raise ValueError("draws must hold at least one number, got none")
        repeats = check_count("repeats", repeats)
        checked = check_hparam(config, "keep_prob", keep_prob)
        if checked is None:
            checked = np.ones(config.num_hidden, config.dtype)
        loss = resolve_loss(config, data)
        square, excess = _repeated(key, params, checked, data, exact, activation=config.activation,
                                   loss=loss, counts=counts, repeats=repeats)  # fmt: skip
        weights = jnp.asarray(data.weights)
        number = jnp.asarray(counts, config.dtype)
        variance = _mean(exact.variance, weights)
        q = from_observed(exact.mean, jnp.asarray(data.y), loss)
        leading = _mean(loss_of_variance(q, exact.variance, jnp.asarray(data.y), loss)[None], weights)
        return MonteCarlo(jnp.asarray(counts, jnp.int32), jnp.sqrt(square), jnp.sqrt(variance / number),
                          excess, leading / number)  # fmt: skip


@functools.partial(jax.jit, static_argnames=("activation", "loss", "counts", "repeats"))
def _repeated(
    key: jax.Array,
    params: Params,
    keep_prob: jax.Array,
    data: Data,
    exact: Ensemble,
    *,
    activation: str,
    loss: Loss,
    counts: tuple[int, ...],
    repeats: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean square error of the prediction and the mean excess of the loss, `(len(counts),)`."""
    x, y, weights = (jnp.asarray(values) for values in data)
    keep_prob = jnp.asarray(keep_prob)
    expected = from_observed(exact.mean, y, loss)  # its own inverse
    slope = loss_slope(expected, y, loss)

    def predict(key: jax.Array) -> jax.Array:
        masks: list[jax.Array | None] = [None]
        for layer, hidden in enumerate(params[:-1]):
            shape = (hidden.w.shape[0], 1)
            kept = jax.random.bernoulli(jax.random.fold_in(key, layer), keep_prob[layer], shape)
            masks.append(kept.astype(x.dtype) / keep_prob[layer])
        logits, _ = forward(params, x, tuple(masks), activation=activation)  # pyright: ignore
        return observed(logits, y, loss)

    def repeat(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = jnp.zeros_like(exact.mean)
        found, begin = [], 0
        for count in sorted(set(counts)):
            keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(begin, count, dtype=jnp.int32))
            total = total + _sum_of(predict, keys)
            found.append(errors(total / count))
            begin = count
        at = [sorted(set(counts)).index(count) for count in counts]
        return jnp.stack([found[i][0] for i in at]), jnp.stack([found[i][1] for i in at])

    def errors(q: jax.Array) -> tuple[jax.Array, jax.Array]:
        off = q - expected
        # What is linear in the deviation has mean 0, and its scatter would hide the rest.
        linear = jnp.sum(slope * off, axis=0)
        excess = loss_of(q, y, loss) - exact.mean_loss - linear
        return _mean(off * off, weights), _mean(excess[None], weights)

    square, excess = lax.map(repeat, jax.random.split(key, repeats))
    return jnp.mean(square, axis=0), jnp.mean(excess, axis=0)


def _sum_of(f: Callable[[jax.Array], jax.Array], keys: jax.Array) -> jax.Array:
    """Returns Σ f(key), with 64 keys at a time: their activations stay in the cache."""
    whole = len(keys) // 64 * 64
    rest = jnp.sum(jax.vmap(f)(keys[whole:]), axis=0) if whole < len(keys) else 0
    if whole == 0:
        return jnp.asarray(rest)
    blocks = keys[:whole].reshape(-1, 64)
    sums = lax.map(lambda block: jnp.sum(jax.vmap(f)(block), axis=0), blocks)
    return jnp.sum(sums, axis=0) + rest


def worst_keep_prob(
    network: Params | Callable[[float], Params],
    data: Data,
    *,
    config: Config,
    error: Literal["rms", "largest", "loss"] = "rms",
    bounds: tuple[float, float] = (0.05, 1.0),
    num_grid: int = 20,
    tolerance: float = 1e-3,
) -> Worst:
    """Returns the keep_prob at which weight scaling is farthest from the ensemble.

    A grid first, then a bounded scalar search between the neighbours of its worst value: about
    `num_grid` + 10 enumerations with one compilation. The same keep_prob holds for all hidden layers.

    Args:
        network: params, or a function from keep_prob to params, for networks that are trained with it.
            Params that stay as they are, are mostly worst at the lower bound, where hardly a unit is kept.
        data: samples with targets and weights.
        config: layer sizes, activation, loss, dtype.
        error: which field of `ScalingErrors` is largest there; of "loss" its absolute value.
        bounds: smallest and largest keep_prob, in (0, 1].
        num_grid: values of the grid, at least 3.
        tolerance: of keep_prob in the search, above 0.

    Raises:
        TypeError: data or params of the wrong kind.
        ValueError: a value that does not fit.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.weight_scaling import worst_keep_prob
        >>> config = regjax.Config(layer_sizes=(2, 6, 1))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> data = regjax.two_regions(jax.random.key(0))[0]
        >>> worst = worst_keep_prob(params, data, config=config, num_grid=5, tolerance=0.01)
        >>> bool(worst.error >= worst.errors.max())
        True
    """
    check_choice("error", error, ("rms", "largest", "loss"))
    num_grid = check_count("num_grid", num_grid, at_least=3)
    low, high = bounds
    if not 0 < low < high <= 1:
        raise ValueError(f"bounds must be 0 < low < high <= 1, got {shown(bounds)}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {shown(tolerance)}")

    def error_at(keep_prob: float) -> float:
        params = network(keep_prob) if callable(network) else network
        with own_settings(config.dtype):
            found = _errors(params, np.asarray(keep_prob, config.dtype), data, config=config)
        return abs(float(getattr(found, error)))

    grid = np.linspace(low, high, num_grid)
    errors = np.array([error_at(float(keep_prob)) for keep_prob in grid])
    if np.isnan(errors).all():
        raise ValueError("network must have finite parameters for some keep_prob, got errors of NaN alone")
    best = int(np.nanargmax(errors))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, num_grid - 1)])
    found = optimize.minimize_scalar(
        lambda keep_prob: -error_at(float(keep_prob)),
        bounds=around,
        method="bounded",
        options={"xatol": tolerance},
    )
    if -float(found.fun) > errors[best]:
        return Worst(float(found.x), -float(found.fun), grid, errors)
    return Worst(float(grid[best]), float(errors[best]), grid, errors)


@functools.partial(jax.jit, static_argnames="config")
def _errors(params: Params, keep_prob: jax.Array, data: Data, *, config: Config) -> ScalingErrors:
    # Traced, keep_prob = 1 is enumerated like any other value, by the same program.
    return scaling_errors(ensemble(params, keep_prob, data, config=config), data.weights)
