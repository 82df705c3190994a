"""The Hessian against `jax.hessian`, power iteration against its eigenvalues."""

import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import regjax
from regjax.core.config import Activation
from regjax.core.data import Data
from regjax.core.mlp import Layer
from regjax.research.curvature import hessian, sharpness
from regjax.research.networks import num_params, stack

pytestmark = pytest.mark.slow

KEY = jax.random.key(7)
HPARAMS = regjax.HParams(l2=0.7)


def small(activation="tanh", num_outputs=3, sizes=(3, 4)):
    """A random classifier in float64 on 20 random samples."""
    config = regjax.Config(layer_sizes=(*sizes, num_outputs), activation=activation, dtype="float64")
    rng = np.random.default_rng(1)
    params = tuple(
        Layer(jnp.asarray(rng.standard_normal((after, before))), jnp.asarray(rng.standard_normal((after, 1))))
        for before, after in itertools.pairwise(config.layer_sizes)
    )
    labels = rng.integers(0, max(2, num_outputs), (1, 20)).astype(np.int32)
    return config, params, Data(jnp.asarray(rng.standard_normal((3, 20))), jnp.asarray(labels), jnp.ones(20))


def objective(params, hparams, data, config):
    """The objective, written anew from its formula with functions of JAX."""
    f = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "identity": lambda z: z}
    f |= {"gelu": lambda z: jax.nn.gelu(z, approximate=False), "silu": jax.nn.silu, "selu": jax.nn.selu}
    a, hidden = data.x, 0.0
    for w, b in params[:-1]:
        a = f[config.activation](w @ a + b)
        hidden = hidden + jnp.sum(a * a, axis=0)
    z = params[-1].w @ a + params[-1].b
    if jnp.issubdtype(data.y.dtype, jnp.floating):
        loss = 0.5 * jnp.sum((z - data.y) ** 2, axis=0)
    else:
        z = jnp.concatenate([jnp.zeros_like(z), z]) if len(z) == 1 else z
        eps = hparams.label_smoothing or 0.0
        target = (1 - eps) * jax.nn.one_hot(data.y[0], len(z), axis=0, dtype=z.dtype) + eps / len(z)
        loss = -jnp.sum(target * jax.nn.log_softmax(z, axis=0), axis=0)
    weights, n = data.weights, jnp.sum(data.weights)
    penalty = sum((hparams.l2 or 0.0) / 2 * jnp.sum(w * w) for w, _ in params)
    penalty = penalty + sum((hparams.l1 or 0.0) * jnp.sum(jnp.abs(w)) for w, _ in params)
    return jnp.sum(weights * (loss + (hparams.activity_l2 or 0.0) * hidden)) / n + penalty / n


def dense(params, hparams, data, config):
    """The Hessian by two derivatives of JAX's, nothing of it hand-derived."""
    flat, unravel = ravel_pytree(params)
    return jax.jit(jax.hessian(lambda vector: objective(unravel(vector), hparams, data, config)))(flat)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_hessian_is_that_of_two_automatic_derivatives(activation, x64):
    config, params, data = small(activation)
    hparams = regjax.HParams(l2=0.7, l1=0.2, label_smoothing=0.1, activity_l2=0.03)
    found = hessian(params, hparams, data, config=config)
    expected = dense(params, hparams, data, config)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_class_weights_count_and_held_out_samples_do_not(x64):
    config, params, data = small(num_outputs=1)
    weighed = regjax.Config(
        layer_sizes=(3, 4, 1), activation="tanh", dtype="float64", class_weight=(1.0, 3.0)
    )
    factors = jnp.where(data.y[0] == 1, 3.0, 1.0)
    by_hand = data._replace(weights=factors * 20 / factors.sum())
    expected = dense(params, HPARAMS, by_hand, config)
    held = Data(*(jnp.concatenate([array, array[..., :1]], axis=-1) for array in data))
    held = held._replace(x=held.x.at[:, -1].set(jnp.nan), weights=held.weights.at[-1].set(0))
    for samples in (data, held):
        np.testing.assert_allclose(hessian(params, HPARAMS, samples, config=weighed), expected, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("seed", [0, 1])
def test_sharpness_is_the_largest_eigenvalue(activation, seed, x64):
    config, params, data = small(activation)
    found = sharpness(jax.random.key(seed), params, HPARAMS, data, config=config, tolerance=1e-6, most=5_000)
    matrix = dense(params, HPARAMS, data, config)
    values = jnp.linalg.eigvalsh(matrix)
    assert found.converged
    assert found.value.item() == pytest.approx(values[-1].item(), rel=1e-8)
    vector = ravel_pytree(found.direction)[0]
    assert jnp.linalg.norm(vector).item() == pytest.approx(1)
    error = jnp.linalg.norm(matrix @ vector - found.value * vector)
    assert error.item() == pytest.approx(found.error.item(), rel=1e-4, abs=1e-12)


def of_negative_end():
    """A network whose Hessian has its largest magnitude at a negative eigenvalue.

    The output 3·tanh(0.8x) has the wrong sign: the residual is large, and tanh bends away from the target.
    """
    config = regjax.Config(layer_sizes=(1, 1, 1), activation="tanh", loss="squared_error", dtype="float64")
    params = (Layer(jnp.array([[0.8]]), jnp.zeros((1, 1))), Layer(jnp.array([[3.0]]), jnp.zeros((1, 1))))
    data = Data(jnp.array([[1.0, -1.0]]), jnp.array([[-8.0, 8.0]]), jnp.ones(2))
    return config, params, data


def test_the_largest_value_is_found_where_a_negative_one_has_the_largest_magnitude(x64):
    config, params, data = of_negative_end()
    values = jnp.linalg.eigvalsh(dense(params, HPARAMS, data, config))
    assert -values[0] > values[-1] > 0
    found = sharpness(KEY, params, HPARAMS, data, config=config, tolerance=1e-6, most=5_000)
    assert found.value.item() == pytest.approx(values[-1].item(), rel=1e-8)
    assert found.converged


def test_rows_under_vmap_are_those_one_by_one(x64):
    config, params, data = small()
    networks = [params, jax.tree.map(lambda leaf: 0.5 * leaf, params), of_scale(params, -1.5)]
    strengths = [regjax.HParams(l2=l2) for l2 in (0.0, 1.0, 5.0)]

    def measure(params, hparams):
        return sharpness(KEY, params, hparams, data, config=config, tolerance=1e-7)

    together = jax.jit(jax.vmap(measure))(stack(networks), stack(strengths))
    for index, (network, hparams) in enumerate(zip(networks, strengths, strict=True)):
        alone = measure(network, hparams)
        np.testing.assert_allclose(together.value[index], alone.value, rtol=1e-9)
        assert together.products[index] == alone.products


def of_scale(params, factor):
    return jax.tree.map(lambda leaf: factor * leaf, params)


def test_too_few_products_are_no_convergence():
    config = regjax.Config(layer_sizes=(2, 4, 1))
    data, _ = regjax.two_regions(KEY)
    params = regjax.init_params(KEY, config.layer_sizes)
    found = sharpness(KEY, params, HPARAMS, data, config=config, most=2, tolerance=1e-5)
    assert not found.converged
    assert found.products == 2
    assert found.value.dtype == jnp.float32


@pytest.mark.parametrize("tolerance", [0, 1, float("nan"), -1e-3])
def test_a_tolerance_out_of_its_range_is_refused(tolerance):
    config = regjax.Config(layer_sizes=(2, 4, 1))
    with pytest.raises(ValueError, match=r"tolerance must be in \(0, 1\), got"):
        sharpness(KEY, (), HPARAMS, None, config=config, tolerance=tolerance)


@pytest.mark.parametrize("tolerance", ["x", None])
def test_a_tolerance_that_is_no_number_is_refused(tolerance):
    config = regjax.Config(layer_sizes=(2, 4, 1))
    with pytest.raises(TypeError, match=r"tolerance must be a number in \(0, 1\), got"):
        sharpness(KEY, (), HPARAMS, None, config=config, tolerance=tolerance)


def test_a_seed_is_no_key():
    with pytest.raises(TypeError, match=r"key must be a key of JAX such as .*, got 0"):
        sharpness(0, (), HPARAMS, None, config=regjax.Config())


def test_what_cannot_be_measured_is_refused():
    config = regjax.Config(layer_sizes=(2, 4, 1))
    data, _ = regjax.two_regions(KEY)
    params = regjax.init_params(KEY, config.layer_sizes)
    diverged = (Layer(params[0].w.at[0, 0].set(jnp.nan), params[0].b), params[1])
    with pytest.raises(ValueError, match="params must be finite, got NaN or infinity in layer 0, w"):
        hessian(diverged, HPARAMS, data, config=config)
    with pytest.raises(ValueError, match=r"params must have shapes .* \(layer_sizes \(2, 5, 1\)\), got"):
        hessian(params, HPARAMS, data, config=regjax.Config(layer_sizes=(2, 5, 1)))
    large = regjax.Config(layer_sizes=(2, 1000, 1))
    assert num_params(large) == 4001
    with pytest.raises(ValueError, match="hessian must have at most 2,000 parameters, got 4,001; sharpness"):
        hessian(params, HPARAMS, data, config=large)
    with pytest.raises(TypeError, match=r"config must be a regjax\.Config, got dict"):
        sharpness(KEY, params, HPARAMS, data, config={})
