import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.data import Data
from regjax.core.mlp import Layer
from regjax.core.objective import cost, cost_and_grads
from regjax.research.closed_forms import (
    descent_path,
    input_dropout_strengths,
    kernel_ridge,
    linear_optimum,
    stopping_strength,
)

pytestmark = pytest.mark.slow

LINEAR = regjax.Config(layer_sizes=(3, 2), loss="squared_error", dtype="float64")


def samples(n=40, d=3, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(d, n)) * np.array([0.3, 1.0, 2.0, 0.7, 1.5])[:d, None] + 0.5
    weights = rng.uniform(0.2, 2, n)
    y = rng.normal(size=(outputs, d)) @ x + rng.normal(size=(outputs, n)) + 3
    return Data(jnp.asarray(x), jnp.asarray(y), jnp.asarray(weights / weights.mean()))


def largest(params):
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(params))


def test_the_optimum_has_no_gradient_of_the_objective(x64):
    data = samples()
    for l2 in (0.0, 0.7, 30.0):
        found = linear_optimum(data, l2)
        _, grads, _ = cost_and_grads((found,), regjax.HParams(l2=jnp.full(1, l2)), data, config=LINEAR)
        assert largest(grads) < 1e-12


def test_a_strength_per_feature_is_the_scalar_one_on_scaled_features(x64):
    data, strengths = samples(), jnp.array([0.5, 3.0, 20.0])
    scaled = data._replace(x=data.x / jnp.sqrt(strengths)[:, None])
    expected = linear_optimum(scaled, 1.0)
    found = linear_optimum(data, strengths)
    np.testing.assert_allclose(found.w, expected.w / jnp.sqrt(strengths)[None, :], rtol=1e-10)
    np.testing.assert_allclose(found.b, expected.b, rtol=1e-10)


def test_with_more_features_than_samples_the_smallest_weights_fit(x64):
    data = samples(n=4, d=5)
    found = linear_optimum(data)
    np.testing.assert_allclose(found.w @ data.x + found.b, data.y, atol=1e-10)
    small = linear_optimum(data, 1e-9)
    np.testing.assert_allclose(found.w, small.w, atol=1e-6)


@pytest.mark.parametrize("learning_rate", [0.02, 0.3])
def test_the_path_is_that_of_descent(x64, learning_rate):
    data = samples()
    start = Layer(jnp.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]]), jnp.array([[0.3], [-1.0]]))
    params, expected = (start,), [start]
    for _ in range(60):
        _, grads, _ = cost_and_grads(params, regjax.HParams(l2=jnp.zeros(1)), data, config=LINEAR)
        params = jax.tree.map(lambda p, g: p - learning_rate * g, params, grads)
        expected.append(params[0])
    found = descent_path(data, learning_rate, jnp.arange(61), start)
    np.testing.assert_allclose(found.w, jnp.stack([layer.w for layer in expected]), rtol=1e-9)
    np.testing.assert_allclose(found.b, jnp.stack([layer.b for layer in expected]), rtol=1e-9)


def test_the_path_moves_steadily_where_the_objective_is_flat(x64):
    # Two equal features and no others: along their difference the Hessian is 0, and the gradient is too.
    data = samples(d=1)
    twice = data._replace(x=jnp.concatenate([data.x, data.x]))
    found = descent_path(twice, 0.05, jnp.array([7, 100_000]))
    np.testing.assert_allclose(found.w[:, :, 0], found.w[:, :, 1], rtol=1e-9)
    np.testing.assert_allclose(found.w[1].sum(axis=1), linear_optimum(data).w[:, 0], rtol=1e-6)


def test_stopping_is_a_penalty_where_both_are_strong(x64):
    data = samples()
    centred = data._replace(
        x=data.x - jnp.mean(data.x, axis=1, keepdims=True),
        y=data.y - jnp.mean(data.y, axis=1, keepdims=True),
        weights=jnp.ones(40),
    )
    # Both are x·y/n·τ·ε to first order; what is left is of the order τ·ε·h.
    for steps in (1, 10):
        stopped = descent_path(centred, 1e-6, jnp.array([steps]))
        penalised = linear_optimum(centred, stopping_strength(1e-6, steps, 40))
        np.testing.assert_allclose(stopped.w[0], penalised.w, rtol=1e-3)


def test_dropout_of_inputs_is_a_penalty_to_the_last_digit(x64):
    data, keep = samples(), 0.7
    strengths = input_dropout_strengths(data, keep)
    rng = np.random.default_rng(1)
    params = (Layer(jnp.asarray(rng.normal(size=(2, 3))), jnp.asarray(rng.normal(size=(2, 1)))),)
    expected = 0.0
    for kept in itertools.product((0, 1), repeat=3):
        probability = np.prod([keep if on else 1 - keep for on in kept])
        masks = (jnp.broadcast_to(jnp.array(kept, float)[:, None] / keep, data.x.shape),)
        expected += probability * cost(params, regjax.HParams(l2=jnp.zeros(1)), data, masks, config=LINEAR)
    penalty = jnp.sum(strengths * jnp.sum(params[0].w ** 2, axis=0)) / (2 * 40)
    found = cost(params, regjax.HParams(l2=jnp.zeros(1)), data, config=LINEAR) + penalty
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("width", [3, 20, 50])
def test_kernel_ridge_is_ridge_and_least_squares_on_the_features(x64, width):
    rng = np.random.default_rng(2)
    features, y = rng.normal(size=(width, 20)), rng.normal(size=(2, 20))
    fit = kernel_ridge(jnp.asarray(features.T @ features), jnp.asarray(y), jnp.array([0.0, 0.5]))
    assert int(fit.rank) == min(width, 20)
    np.testing.assert_allclose(fit.dual[0] @ features.T, y @ np.linalg.pinv(features), atol=1e-7)
    ridge = y @ features.T @ np.linalg.inv(features @ features.T + 0.5 * np.eye(width))
    np.testing.assert_allclose(fit.dual[1] @ features.T, ridge, atol=1e-9)


def test_they_map_and_compile(x64):
    data = samples()
    rates = jnp.array([0.01, 0.1])
    mapped = jax.jit(jax.vmap(lambda rate: descent_path(data, rate, jnp.array([3]))))(rates)
    np.testing.assert_allclose(mapped.w[1], descent_path(data, 0.1, jnp.array([3])).w, rtol=1e-12)
    keeps = jnp.array([0.5, 1.0])
    fits = jax.vmap(lambda keep: linear_optimum(data, input_dropout_strengths(data, keep)))(keeps)
    np.testing.assert_allclose(fits.w[1], linear_optimum(data).w, rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: linear_optimum(data, -1.0), r"l2 must be at least 0, got -1\.0"),
        (lambda data: linear_optimum(data, jnp.ones(2)), r"l2 must be a scalar or have shape \(3,\), got"),
        (lambda data: linear_optimum(data._replace(y=data.y[:, 1:])), r"data must hold x .* got shapes"),
        (lambda data: linear_optimum(data._replace(y=data.y > 0)), "must have real targets, got dtype bool"),
        (lambda data: descent_path(data, 0.0, jnp.ones(1)), "learning_rate must be above 0, got 0.0"),
        (lambda data: descent_path(data, 0.1, jnp.array(3)), r"steps must have one axis, got shape \(\)"),
        (lambda data: descent_path(data, 0.1, jnp.array([-1])), "steps must be at least 0, got"),
        (lambda data: input_dropout_strengths(data, 0.0), r"keep_prob must be in \(0, 1\], got 0\.0"),
        (lambda data: input_dropout_strengths(data, 1.5), r"keep_prob must be in \(0, 1\], got 1\.5"),
        (lambda data: stopping_strength(0.1, 0, 40), "steps must be above 0, got 0"),
        (lambda data: kernel_ridge(data.x, data.y, jnp.ones(1)), "kernel must be square, got shape"),
        (lambda data: kernel_ridge(jnp.eye(3), data.y, jnp.ones(1)), r"y must have shape \(n_outputs, 3\)"),
        (lambda data: kernel_ridge(jnp.eye(40), data.y, 1.0), r"l2 must have one axis, got shape \(\)"),
    ],
)
def test_wrong_values_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(samples())
    assert "\n" not in str(caught.value)
