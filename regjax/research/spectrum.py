"""Eigenvalues at either end of the Hessian's spectrum, and the effective dimension that its spectrum says.

Both rest on the products of `curvature`, by Lanczos' method with full reorthogonalisation. All functions are
pure: `jax.vmap` over stacked networks measures all rows of a sweep in one program.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from regjax.core.checks import check_count, is_traced, shown
from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.mlp import Params
from regjax.research.curvature import Product, check_dense, products, whole_hessian
from regjax.research.networks import Measured, measured, measuring, num_params


class Eigenvalues(NamedTuple):
    """Eigenvalues at one end of a Hessian's spectrum.

    Attributes:
        values: from the end inwards, `(count,)`.
        errors: an eigenvalue lies within so much of each, `(count,)`.
    """

    values: jax.Array
    errors: jax.Array


class Estimate(NamedTuple):
    """A mean over random probes, and its standard error, scalars."""

    value: jax.Array
    error: jax.Array


def eigenvalues(
    key: jax.Array,
    params: Params,
    hparams: HParams,
    data: Data,
    *,
    config: Config,
    count: int = 5,
    steps: int | None = None,
    smallest: bool = False,
) -> Eigenvalues:
    """Returns the largest or the smallest eigenvalues of the Hessian, by Lanczos' method.

    Vectors are orthogonalised against all before them: `steps` products, steps²·P operations, and steps·P
    numbers are held. With as many steps as parameters the whole spectrum is exact, multiple eigenvalues
    included; with fewer, equal eigenvalues count once.

    Args:
        key: key of the first vector.
        params: one `Layer` per matrix of weights, P numbers.
        hparams: hyperparameters; noise and masks are off.
        data: training samples, x `(n_features, n)`, y, weights `(n,)`.
        config: layer sizes, activation, loss.
        count: how many eigenvalues, at least 1.
        steps: steps of Lanczos, from `count` to P; None is 10·count + 30, at most P.
        smallest: the smallest, most negative first, in place of the largest: one below 0 says that the
            network is at no minimum.

    Raises:
        ValueError: counts out of their range; parameters of other shapes or not finite.

    References:
        Golub & Van Loan 2013, §10.1 and §10.3.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.spectrum import eigenvalues
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> found = eigenvalues(jax.random.key(1), params, regjax.HParams(), data, config=config, count=3)
        >>> found.values.shape, bool(found.values[0] >= found.values[1])
        ((3,), True)
    """
    size = num_params(config)
    count = check_count("count", count, at_most=size)
    steps = check_count("steps", min(10 * count + 30, size) if steps is None else steps, count, size)
    with measuring(config):
        whole = measured(params, hparams, data, config)
        return _eigenvalues(key, whole, config=config, count=count, steps=steps, smallest=smallest)


def effective_dimension(
    params: Params, hparams: HParams, data: Data, c: ArrayLike, *, config: Config
) -> jax.Array:
    """Returns the effective number of parameters that the data determine, a scalar in [0, P].

        Σᵢ λᵢ / (λᵢ + c),  λᵢ the eigenvalues of the Hessian of the mean loss, those below 0 taken as 0

    With c = l2/n it is MacKay's γ for the posterior whose mode training with this l2 finds; one c for all
    networks makes them comparable (Maddox et al.). l2 and l1 are left out of the Hessian: c stands for
    them. The whole Hessian is made, so at most `MOST_DENSE` parameters; see `estimated_dimension`.

    Args:
        params: one `Layer` per matrix of weights, P numbers.
        hparams: hyperparameters; l2, l1, noise and masks are off.
        data: training samples, x `(n_features, n)`, y, weights `(n,)`.
        c: curvature that counts half, > 0, a scalar in the unit of the loss.
        config: layer sizes, activation, loss.

    Raises:
        ValueError: c that is not above 0; more than `MOST_DENSE` parameters; parameters of other shapes or
            not finite.

    References:
        MacKay 1992, "Bayesian interpolation", §4; Maddox, Benton & Wilson 2020, §3.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.spectrum import effective_dimension
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> found = effective_dimension(params, regjax.HParams(), data, 0.001, config=config)
        >>> 1 < found.item() < 17
        True
    """
    check_dense("effective_dimension", config, "estimated_dimension takes more")
    with measuring(config):
        whole = measured(params, _unpenalised(hparams), data, config)
        return _exact_dimension(whole, _scale(c, config), config=config)


def estimated_dimension(
    key: jax.Array,
    params: Params,
    hparams: HParams,
    data: Data,
    c: ArrayLike,
    *,
    config: Config,
    probes: int = 16,
    steps: int = 80,
) -> Estimate:
    """Returns an estimate of `effective_dimension` for any size, by stochastic Lanczos quadrature.

    `probes`·`steps` products with vectors. The standard error is that of the probes alone: of too few steps
    the estimate is too large, the more so the smaller c is beside the largest eigenvalue
    (docs/research/landscapes.md has figures).

    Args:
        key: key of the probes.
        params: one `Layer` per matrix of weights, P numbers.
        hparams: as in `effective_dimension`.
        data: training samples, x `(n_features, n)`, y, weights `(n,)`.
        c: curvature that counts half, > 0, a scalar.
        config: layer sizes, activation, loss.
        probes: random vectors, at least 2.
        steps: steps of Lanczos from each, at least 1; more than P are P.

    Raises:
        ValueError: c or a count out of its range; parameters of other shapes or not finite.

    References:
        Ubaru, Chen & Saad 2017, algorithm 1.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.spectrum import estimated_dimension
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> key = jax.random.key(1)
        >>> found = estimated_dimension(key, params, regjax.HParams(), data, 0.001, config=config)
        >>> 1 < found.value.item() < 17
        True
    """
    probes = check_count("probes", probes, at_least=2)
    steps = min(check_count("steps", steps), num_params(config))
    with measuring(config):
        whole = measured(params, _unpenalised(hparams), data, config)
        return _estimated(key, whole, _scale(c, config), config=config, probes=probes, steps=steps)


def _unpenalised(hparams: HParams) -> HParams:
    return hparams._replace(l2=None, l1=None) if isinstance(hparams, HParams) else hparams


def _scale(c: ArrayLike, config: Config) -> jax.Array:
    if not is_traced(c) and not 0 < np.asarray(c).item() < math.inf:
        raise ValueError(f"c must be a finite number > 0, got {shown(c)}")
    return jnp.asarray(c, config.dtype)


@functools.partial(jax.jit, static_argnames=("config", "count", "steps", "smallest"))
def _eigenvalues(
    key: jax.Array, whole: Measured, *, config: Config, count: int, steps: int, smallest: bool
) -> Eigenvalues:
    flat, product, _ = products(whole, config)
    start = jax.random.normal(jax.random.fold_in(key, 0), flat.shape, flat.dtype)
    values, vectors, rest = _lanczos(product, start, jax.random.fold_in(key, 1), steps)
    end = slice(count) if smallest else slice(None, -count - 1, -1)
    return Eigenvalues(values[end], jnp.abs(rest * vectors[-1])[end])


def _lanczos(
    product: Product, start: jax.Array, key: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns eigenvalues and eigenvectors of the tridiagonal matrix, and the norm that is left over."""
    tiny = 10 * jnp.finfo(start.dtype).eps

    def orthogonal(vector: jax.Array, basis: jax.Array) -> jax.Array:
        for _ in range(2):  # once leaves an error that grows with the steps
            vector = vector - (basis @ vector) @ basis
        return vector

    def step(i: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        basis, diagonal, beside, scale = carry
        vector = basis[i]
        image = product(vector)
        diagonal = diagonal.at[i].set(vector @ image)
        scale = jnp.maximum(scale, jnp.linalg.norm(image))
        left = orthogonal(image, basis)
        length = jnp.linalg.norm(left)
        # The vectors so far span all that H makes of the first: go on from a new one, beside them.
        closed = length <= tiny * scale
        fresh = orthogonal(jax.random.normal(jax.random.fold_in(key, i), vector.shape, vector.dtype), basis)
        left = jnp.where(closed, fresh, left)
        following = left / jnp.linalg.norm(left)
        basis = basis.at[i + 1].set(following, mode="drop")
        return basis, diagonal, beside.at[i].set(jnp.where(closed, 0, length)), scale

    nought = jnp.zeros((), start.dtype)
    basis = jnp.zeros((steps, len(start)), start.dtype).at[0].set(start / jnp.linalg.norm(start))
    empty = jnp.zeros((steps,), start.dtype)
    _, diagonal, beside, _ = lax.fori_loop(0, steps, step, (basis, empty, empty, nought))
    tridiagonal = jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1)
    values, vectors = jnp.linalg.eigh(tridiagonal)
    return values, vectors, beside[-1]


def _share(values: jax.Array, c: jax.Array) -> jax.Array:
    positive = jnp.maximum(values, 0)
    return positive / (positive + c)


@functools.partial(jax.jit, static_argnames="config")
def _exact_dimension(whole: Measured, c: jax.Array, *, config: Config) -> jax.Array:
    return jnp.sum(_share(jnp.linalg.eigvalsh(whole_hessian(whole, config=config)), c))


@functools.partial(jax.jit, static_argnames=("config", "probes", "steps"))
def _estimated(
    key: jax.Array, whole: Measured, c: jax.Array, *, config: Config, probes: int, steps: int
) -> Estimate:
    flat, product, _ = products(whole, config)

    def of_probe(draw: jax.Array) -> jax.Array:
        start = jax.random.rademacher(jax.random.fold_in(draw, 0), flat.shape, flat.dtype)
        values, vectors, _ = _lanczos(product, start, jax.random.fold_in(draw, 1), steps)
        return len(flat) * jnp.sum(vectors[0] ** 2 * _share(values, c))

    found = lax.map(of_probe, jax.random.split(key, probes), batch_size=8)
    return Estimate(jnp.mean(found), jnp.std(found, ddof=1) / math.sqrt(probes))
