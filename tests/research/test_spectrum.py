"""Lanczos against all eigenvalues, and effective dimension against its sum and a closed form."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.data import Data
from regjax.core.mlp import Layer
from regjax.research.curvature import hessian
from regjax.research.spectrum import effective_dimension, eigenvalues, estimated_dimension

pytestmark = pytest.mark.slow

KEY = jax.random.key(7)
HPARAMS = regjax.HParams(l2=0.7)


def small(activation="tanh", sizes=(3, 4, 3)):
    """A random classifier in float64 on 20 random samples."""
    config = regjax.Config(layer_sizes=sizes, activation=activation, dtype="float64")
    rng = np.random.default_rng(1)
    params = tuple(
        Layer(jnp.asarray(rng.standard_normal((after, before))), jnp.asarray(rng.standard_normal((after, 1))))
        for before, after in itertools.pairwise(config.layer_sizes)
    )
    labels = rng.integers(0, 3, (1, 20)).astype(np.int32)
    return config, params, Data(jnp.asarray(rng.standard_normal((3, 20))), jnp.asarray(labels), jnp.ones(20))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_all_steps_give_the_whole_spectrum(activation, x64):
    # relu leaves a unit that no sample passes without curvature: many eigenvalues are equal.
    config, params, data = small(activation, (3, 6, 3))
    expected = jnp.linalg.eigvalsh(hessian(params, HPARAMS, data, config=config))
    size = len(expected)
    found = eigenvalues(KEY, params, HPARAMS, data, config=config, count=size, steps=size)
    np.testing.assert_allclose(found.values, expected[::-1], rtol=1e-8, atol=1e-11)
    assert found.errors.max() < 1e-8


def test_few_steps_give_either_end(x64):
    config, params, data = small(sizes=(3, 20, 10, 3))
    expected = jnp.linalg.eigvalsh(hessian(params, HPARAMS, data, config=config))
    found = eigenvalues(KEY, params, HPARAMS, data, config=config, count=3, steps=60)
    np.testing.assert_allclose(found.values, expected[::-1][:3], rtol=1e-8)
    low = eigenvalues(KEY, params, HPARAMS, data, config=config, count=2, steps=60, smallest=True)
    np.testing.assert_allclose(low.values, expected[:2], rtol=1e-8)
    # With too few steps, the bound on the error says so.
    rough = eigenvalues(KEY, params, HPARAMS, data, config=config, count=2, steps=4)
    assert (rough.errors > 1e-3).any()
    nearest = jnp.abs(rough.values[:, None] - expected[None, :]).min(axis=1)
    assert (nearest <= rough.errors).all()


def test_effective_dimension_of_a_linear_network_is_that_of_ridge_regression(x64):
    # Squared error ½(w·x + b - y)² has the Hessian of [x; 1][x; 1]ᵀ/n: Σ d²/(d² + n·c), d singular values.
    rng = np.random.default_rng(3)
    x, n = rng.standard_normal((4, 25)), 25
    config = regjax.Config(layer_sizes=(4, 1), loss="squared_error", dtype="float64")
    data = Data(jnp.asarray(x), jnp.asarray(rng.standard_normal((1, n))), jnp.ones(n))
    params = (Layer(jnp.asarray(rng.standard_normal((1, 4))), jnp.zeros((1, 1))),)
    d = np.linalg.svd(np.vstack([x, np.ones(n)]), compute_uv=False)
    found = effective_dimension(params, HPARAMS, data, 0.3, config=config)
    assert found.item() == pytest.approx(np.sum(d**2 / (d**2 + n * 0.3)), rel=1e-9)
    # The strength of the penalty is in c, never in the Hessian.
    strong = effective_dimension(params, regjax.HParams(l2=9.0, l1=1.0), data, 0.3, config=config)
    assert strong == found


def test_negative_curvature_counts_nothing_and_a_larger_c_less(x64):
    config, params, data = small()
    values = jnp.linalg.eigvalsh(hessian(params, regjax.HParams(), data, config=config))
    assert values[0] < -1e-3
    positive = np.maximum(values, 0)
    found = [effective_dimension(params, HPARAMS, data, c, config=config).item() for c in (1e-3, 0.1, 10.0)]
    expected = [np.sum(positive / (positive + c)) for c in (1e-3, 0.1, 10.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert len(values) > found[0] > found[1] > found[2] > 0


@pytest.mark.parametrize("c", [0.01, 0.1])
def test_the_estimate_agrees_within_its_error(c, x64):
    config, params, data = small(sizes=(3, 10, 5, 3))
    exact = effective_dimension(params, HPARAMS, data, c, config=config).item()
    found = estimated_dimension(KEY, params, HPARAMS, data, c, config=config, probes=64)
    assert abs(found.value - exact) < 4 * found.error
    assert found.error < 0.08 * exact


def test_rows_under_vmap_are_those_one_by_one(x64):
    config, params, data = small()
    networks = [jax.tree.map(lambda leaf, f=factor: f * leaf, params) for factor in (0.3, 1.0, 2.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)

    def measure(params, c):
        found = eigenvalues(KEY, params, HPARAMS, data, config=config, count=2)
        return found.values, effective_dimension(params, HPARAMS, data, c, config=config)

    places = jnp.array([0.01, 0.1, 1.0])
    tops, dimensions = jax.jit(jax.vmap(measure))(stacked, places)
    for index, network in enumerate(networks):
        top, dimension = measure(network, places[index])
        np.testing.assert_allclose(tops[index], top, rtol=1e-8)
        np.testing.assert_allclose(dimensions[index], dimension, rtol=1e-8)


def test_bad_arguments_are_refused(x64):
    config, params, data = small()
    for c in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="c must be a finite number > 0, got"):
            effective_dimension(params, HPARAMS, data, c, config=config)
    with pytest.raises(ValueError, match="steps must be at least 5, got 4"):
        eigenvalues(KEY, params, HPARAMS, data, config=config, count=5, steps=4)
    with pytest.raises(ValueError, match="count must be at most 31, got 32"):
        eigenvalues(KEY, params, HPARAMS, data, config=config, count=32)
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        estimated_dimension(KEY, params, HPARAMS, data, 0.1, config=config, probes=1)
    large = regjax.Config(layer_sizes=(2, 1000, 1))
    with pytest.raises(
        ValueError,
        match="effective_dimension must have at most 2,000 parameters, got 4,001; estimated_dimension",
    ):
        effective_dimension(params, HPARAMS, data, 0.1, config=large)
