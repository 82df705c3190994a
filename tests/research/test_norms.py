"""Norms against sums over all paths and NumPy's own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.mlp import Layer
from regjax.research.networks import stack
from regjax.research.norms import norms, path_norm

pytestmark = pytest.mark.slow

SIZES = (2, 4, 3, 2)


def network(seed=0):
    return regjax.init_params(regjax.replicate_key(seed), SIZES, dtype="float64")


@pytest.mark.parametrize("power", [1, 2])
def test_the_path_norm_is_the_sum_over_all_paths(power, x64):
    params = network()
    total = 0.0
    for path in itertools.product(*(range(size) for size in SIZES)):
        product = 1.0
        for layer, (before, after) in zip(params, itertools.pairwise(path), strict=True):
            product *= abs(float(layer.w[after, before])) ** power
        total += product
    assert path_norm(params, power).item() == pytest.approx(total ** (1 / power), rel=1e-12)


def test_norms_are_those_of_numpy(x64):
    params = network()
    found = norms(params)
    matrices = [np.asarray(layer.w) for layer in params]
    np.testing.assert_allclose(found.frobenius, [np.linalg.norm(w) for w in matrices], rtol=1e-12)
    np.testing.assert_allclose(found.spectral, [np.linalg.norm(w, 2) for w in matrices], rtol=1e-12)
    assert found.total.item() == pytest.approx(np.linalg.norm(np.concatenate([w.ravel() for w in matrices])))
    assert found.path == path_norm(params)


@pytest.mark.parametrize("power", [1, 2])
def test_the_path_norm_does_not_see_how_a_relu_unit_is_scaled(power, x64):
    params = network()
    scales = jnp.array([0.1, 3.0, 1.0, 7.0])[:, None]
    scaled = (Layer(params[0].w * scales, params[0].b), Layer(params[1].w / scales.T, params[1].b), params[2])
    assert path_norm(scaled, power).item() == pytest.approx(path_norm(params, power).item(), rel=1e-12)
    assert abs(norms(scaled).total - norms(params).total) > 0.5


def test_rows_under_vmap_are_those_one_by_one(x64):
    networks = [network(seed) for seed in range(3)]
    together = jax.vmap(norms)(stack(networks))
    for index, params in enumerate(networks):
        for found, alone in zip(jax.tree.leaves(together), jax.tree.leaves(norms(params)), strict=True):
            np.testing.assert_allclose(found[index], alone, rtol=1e-12)


def test_bad_arguments_are_refused():
    params = regjax.init_params(jax.random.key(0), SIZES)
    with pytest.raises(ValueError, match="power must be 1 or 2, got 3"):
        path_norm(params, 3)
    diverged = (*params[:2], Layer(params[2].w * jnp.nan, params[2].b))
    for measure in (norms, path_norm):
        with pytest.raises(ValueError, match="params must be finite, got NaN or infinity in layer 2, w"):
            measure(diverged)
