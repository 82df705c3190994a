"""The Hessian of the objective: products with vectors, the whole of it, and its largest eigenvalue.

A product is one forward derivative (`jax.linearize`) of the hand-derived gradient, so that no second reverse
pass is made. The Hessian is that of the objective without noise and masks; `l1_prox` and `group_lasso`, which
act by proximal steps, are not in it, and l1 adds nothing to it. Of relu it is the Hessian of the piece of the
network that the parameters lie on. All functions are pure: `jax.vmap` over stacked networks measures all rows
of a sweep in one program. `spectrum` has more eigenvalues and the effective dimension.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from regjax.core.checks import check_count, shown
from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.mlp import Params
from regjax.core.objective import cost_and_grads
from regjax.core.random import check_key
from regjax.research.networks import Measured, measured, measuring, num_params

# Parameters of a network whose whole Hessian is made: 2,000² numbers are 16 MB in float32.
MOST_DENSE = 2_000
# Columns of a Hessian that are made at a time: each has the activations of all samples.
TOGETHER = 64

Product = Callable[[jax.Array], jax.Array]


class Sharpness(NamedTuple):
    """The largest eigenvalue of a Hessian.

    Attributes:
        value: the eigenvalue λ, a scalar; gradient descent is stable up to 2/learning rate.
        error: ‖H·v - λ·v‖, a scalar: an eigenvalue lies as near.
        products: Hessian-vector products that were made, a whole number.
        converged: whether the error is within the tolerance.
        direction: the unit vector v, one `Layer` per matrix of weights.
    """

    value: jax.Array
    error: jax.Array
    products: jax.Array
    converged: jax.Array
    direction: Params


def hessian(params: Params, hparams: HParams, data: Data, *, config: Config) -> jax.Array:
    """Returns the Hessian of the objective in all P weights and biases, `(P, P)`.

    The order of the parameters is that of `jax.flatten_util.ravel_pytree`. Takes P products with vectors.

    Args:
        params: one `Layer` per matrix of weights.
        hparams: hyperparameters; noise and masks are off.
        data: training samples, x `(n_features, n)`, y, weights `(n,)`.
        config: layer sizes, activation, loss.

    Raises:
        ValueError: more than `MOST_DENSE` parameters; parameters of other shapes or not finite.

    References:
        Pearlmutter 1994 (products with the Hessian).

    Example:
        >>> import jax, regjax
        >>> from regjax.research.curvature import hessian
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> hessian(params, regjax.HParams(l2=0.1), data, config=config).shape
        (17, 17)
    """
    check_dense("hessian", config, "sharpness and eigenvalues need no whole Hessian")
    with measuring(config):
        return whole_hessian(measured(params, hparams, data, config), config=config)


def sharpness(
    key: jax.Array,
    params: Params,
    hparams: HParams,
    data: Data,
    *,
    config: Config,
    tolerance: float = 1e-3,
    most: int = 1_000,
) -> Sharpness:
    """Returns the largest eigenvalue of the Hessian, by power iteration.

    The iteration finds the eigenvalue μ of largest magnitude. Where that is negative, a second one, on
    H - μI, finds the one farthest from it: the largest *value*. It stops where ‖H·v - λ·v‖ <= tolerance·|λ|;
    the error of an eigenvalue that stands apart is then about tolerance²·|λ|. Memory is that of a gradient.
    Where the largest lie close together, `spectrum.eigenvalues` takes fewer products.

    Args:
        key: key of the first vector.
        params: one `Layer` per matrix of weights.
        hparams: hyperparameters; noise and masks are off.
        data: training samples, x `(n_features, n)`, y, weights `(n,)`.
        config: layer sizes, activation, loss.
        tolerance: where an iteration stops, in (0, 1); float32 reaches 1e-5.
        most: products of each iteration, at least 1; more are not made, and `converged` is False.

    Raises:
        TypeError: no key; a tolerance that is no number.
        ValueError: a tolerance out of its range; parameters of other shapes or not finite.

    References:
        Golub & Van Loan 2013, §8.2.1; Cohen et al. 2021 (why 2/learning rate).

    Example:
        >>> import jax, regjax
        >>> from regjax.research.curvature import sharpness
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> found = sharpness(jax.random.key(1), params, regjax.HParams(), data, config=config)
        >>> bool(found.converged), bool(found.value > 0)
        (True, True)
    """
    check_key(key)
    if not isinstance(tolerance, numbers.Real | np.ndarray | jax.Array):
        raise TypeError(f"tolerance must be a number in (0, 1), got {shown(tolerance)}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must be in (0, 1), got {shown(tolerance)}")
    most = check_count("most", most)
    with measuring(config):
        whole = measured(params, hparams, data, config)
        return _sharpness(key, whole, tolerance, most, config=config)


def check_dense(name: str, config: Config, instead: str) -> None:
    """Raises ValueError where a network has more parameters than a whole Hessian is made of.

    Args:
        name: the function, for the message.
        config: layer sizes.
        instead: the end of the message: what takes more.

    Raises:
        ValueError: more than `MOST_DENSE` parameters.

    Example:
        >>> import regjax
        >>> from regjax.research.curvature import check_dense
        >>> check_dense("hessian", regjax.Config(), "sharpness takes more")
    """
    if num_params(config) > MOST_DENSE:
        raise ValueError(
            f"{name} must have at most {MOST_DENSE:,} parameters, got {num_params(config):,}; {instead}"
        )


def products(whole: Measured, config: Config) -> tuple[jax.Array, Product, Callable[[jax.Array], Params]]:
    """Returns the parameters as a vector `(P,)`, the product v → H·v, and the way back to `Params`.

    Args:
        whole: the checked network with its samples.
        config: layer sizes, activation, loss.

    References:
        Pearlmutter 1994.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.curvature import products
        >>> from regjax.research.networks import measured
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> flat, product, _ = products(measured(params, regjax.HParams(), data, config), config)
        >>> product(flat).shape
        (17,)
    """
    flat, unravel = ravel_pytree(whole.params)

    def gradient(vector: jax.Array) -> jax.Array:
        grads = cost_and_grads(unravel(vector), whole.hparams, whole.data, config=config)[1]
        return ravel_pytree(grads)[0]

    # The forward pass and the backward are computed once; a product is their linear part.
    return flat, jax.linearize(gradient, flat)[1], unravel


@functools.partial(jax.jit, static_argnames="config")
def whole_hessian(whole: Measured, *, config: Config) -> jax.Array:
    """Returns the Hessian of a checked network, `(P, P)`, symmetric to the bit.

    Args:
        whole: the checked network with its samples.
        config: layer sizes, activation, loss.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.curvature import whole_hessian
        >>> from regjax.research.networks import measured
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> whole_hessian(measured(params, regjax.HParams(), data, config), config=config).shape
        (17, 17)
    """
    flat, product, _ = products(whole, config)
    found = lax.map(product, jnp.eye(len(flat), dtype=flat.dtype), batch_size=TOGETHER)
    return (found + found.T) / 2


@functools.partial(jax.jit, static_argnames="config")
def _sharpness(
    key: jax.Array, whole: Measured, tolerance: ArrayLike, most: ArrayLike, *, config: Config
) -> Sharpness:
    flat, product, unravel = products(whole, config)
    starts = [jax.random.normal(draw, flat.shape, flat.dtype) for draw in jax.random.split(key)]
    bound, nought = jnp.asarray(tolerance, flat.dtype), jnp.zeros((), flat.dtype)
    one = _dominant(product, starts[0], nought, bound, most)
    # Not begun where the first has found the largest: it may make no product then.
    two = _dominant(product, starts[1], one.value, bound, jnp.where(one.value < 0, most, 0))
    found = jax.tree.map(functools.partial(jnp.where, one.value < 0), two, one)
    within = found.error <= bound * jnp.abs(found.value)
    return Sharpness(found.value, found.error, one.steps + two.steps, within, unravel(found.vector))


class _Pair(NamedTuple):
    """An eigenvalue of H with its vector, as far as an iteration has come."""

    following: jax.Array
    vector: jax.Array
    value: jax.Array
    error: jax.Array
    steps: jax.Array


def _dominant(
    product: Product, start: jax.Array, shift: jax.Array, bound: jax.Array, most: ArrayLike
) -> _Pair:
    """Returns the eigenpair of H whose value is farthest from `shift`."""

    def goes_on(pair: _Pair) -> jax.Array:
        # A comparison with NaN is false: a Hessian that is not finite ends at once.
        return (pair.error > bound * jnp.abs(pair.value)) & (pair.steps < most)

    def step(pair: _Pair) -> _Pair:
        vector = pair.following
        image = product(vector)
        value = vector @ image
        moved = image - shift * vector
        length = jnp.linalg.norm(moved)
        following = jnp.where(length > 0, moved / jnp.where(length > 0, length, 1), vector)
        return _Pair(following, vector, value, jnp.linalg.norm(image - value * vector), pair.steps + 1)

    unit = start / jnp.linalg.norm(start)
    nought, far = jnp.zeros((), start.dtype), jnp.full((), jnp.inf, start.dtype)
    return lax.while_loop(goes_on, step, _Pair(unit, unit, nought, far, jnp.zeros((), jnp.int32)))
