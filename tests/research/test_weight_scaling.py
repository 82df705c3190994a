import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.mlp import init_params
from regjax.research.subnetworks import ensemble
from regjax.research.weight_scaling import monte_carlo, scaling_errors, worst_keep_prob

pytestmark = pytest.mark.slow


def network(sizes=(2, 6, 1), loss="auto", n=11):
    rng = np.random.default_rng(4)
    params = jax.tree.map(lambda w: 2 * w + 0.1, init_params(jax.random.key(3), sizes, dtype="float64"))
    y = rng.standard_normal((sizes[-1], n)) if loss == "squared_error" else rng.integers(0, 2, (1, n))
    weights = rng.random(n)
    weights[0] = 0
    config = Config(layer_sizes=sizes, loss=loss, dtype="float64")
    return config, params, Data(rng.standard_normal((sizes[0], n)), y, weights)


def test_errors_are_those_of_their_definitions(x64):
    config, params, data = network((2, 6, 3), "softmax_cross_entropy")
    exact = ensemble(params, 0.5, data, config=config)
    found = scaling_errors(exact, data.weights)
    off, w = np.asarray(exact.scaled - exact.mean), data.weights / data.weights.sum()
    assert found.rms == pytest.approx(np.sqrt((w * (off**2).mean(axis=0)).sum()))
    assert found.largest == pytest.approx(np.abs(off[:, 1:]).max())
    assert found.loss == pytest.approx((w * np.asarray(exact.scaled_loss - exact.mean_loss)).sum())
    # √(variance/T) is weight scaling's error at T = draws.
    assert found.spread / np.sqrt(found.draws) == pytest.approx(found.rms)


@pytest.mark.parametrize("loss", ["auto", "squared_error"])
def test_monte_carlo_has_the_error_that_the_variance_says(loss, x64):
    config, params, data = network((2, 5, 3, 1), loss)
    exact = ensemble(params, 0.6, data, config=config)
    found = monte_carlo(jax.random.key(7), params, 0.6, data, exact, config=config, draws=(1, 10, 300),
                        repeats=300)  # fmt: skip
    assert found.draws.tolist() == [1, 10, 300]
    np.testing.assert_allclose(found.rms, found.rms_expected, rtol=0.15)
    np.testing.assert_allclose(found.loss[1:], found.loss_expected[1:], rtol=0.3)
    w = np.asarray(data.weights) / data.weights.sum()
    # The mean loss of single draws is the expected loss.
    excess = (w * np.asarray(exact.expected_loss - exact.mean_loss)).sum()
    assert found.loss[0] == pytest.approx(excess, rel=0.3)


def test_draws_may_stand_in_any_order_and_nest(x64):
    config, params, data = network()
    exact = ensemble(params, 0.5, data, config=config)
    one, other = (
        monte_carlo(jax.random.key(7), params, 0.5, data, exact, config=config, draws=draws, repeats=3)
        for draws in ((130, 4), (4, 65, 130, 4))
    )
    np.testing.assert_allclose(one.rms, other.rms[jnp.array([2, 0])], rtol=1e-12)
    np.testing.assert_array_equal(other.rms[0], other.rms[3])


def test_the_worst_keep_prob_is_that_of_a_dense_grid(x64):
    config, params, data = network()

    def trained(keep_prob):
        # A family with a known middle: small weights where keep_prob is small, as training would have it.
        return jax.tree.map(lambda w: w * keep_prob**2, params)

    found = worst_keep_prob(trained, data, config=config, bounds=(0.1, 1.0), num_grid=7, tolerance=1e-5)
    dense = np.linspace(0.1, 1, 400)
    errors = [
        float(scaling_errors(ensemble(trained(k), k, data, config=config), data.weights).rms) for k in dense
    ]
    assert 0.1 < dense[np.argmax(errors)] < 1
    assert found.keep_prob == pytest.approx(dense[np.argmax(errors)], abs=0.005)
    assert found.error >= max(errors) - 1e-9
    assert found.error >= found.errors.max()
    assert found.errors[-1] == pytest.approx(0, abs=1e-12)  # nothing is dropped


def test_of_fixed_params_the_error_in_loss_is_taken_too(x64):
    config, params, data = network()
    found = worst_keep_prob(params, data, config=config, error="loss", num_grid=4, tolerance=0.05)
    exact = ensemble(params, found.keep_prob, data, config=config)
    assert found.error == pytest.approx(abs(float(scaling_errors(exact, data.weights).loss)), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bounds": (0.0, 1.0)}, r"bounds must be 0 < low < high <= 1, got \(0.0, 1.0\)"),
        ({"error": "mean"}, "error must be one of rms, largest, loss, got 'mean'"),
        ({"num_grid": 2}, "num_grid must be at least 3, got 2"),
        ({"tolerance": 0}, "tolerance must be above 0, got 0"),
    ],
)
def test_bad_input_of_the_search_is_named(change, words, x64):
    config, params, data = network()
    with pytest.raises(ValueError, match=words):
        worst_keep_prob(params, data, config=config, **change)


def test_params_of_nan_are_named(x64):
    config, params, data = network()
    params = jax.tree.map(lambda w: w * jnp.nan, params)
    with pytest.raises(ValueError, match="network must have finite parameters for some keep_prob"):
        worst_keep_prob(params, data, config=config, num_grid=3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"draws": ()}, "draws must hold at least one number, got none"),
        ({"draws": (0,)}, "draws must be at least 1, got 0"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"keep_prob": 2.0}, r"keep_prob must be in \(0, 1\] in float64, got 2"),
    ],
)
def test_bad_input_of_monte_carlo_is_named(change, words, x64):
    config, params, data = network()
    exact = ensemble(params, 0.5, data, config=config)
    keep_prob = change.pop("keep_prob", 0.5)
    with pytest.raises(ValueError, match=words):
        monte_carlo(jax.random.key(0), params, keep_prob, data, exact, config=config, **change)
