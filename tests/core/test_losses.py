import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import mean_poisson_deviance

from regjax.core.config import REAL_LOSSES, Loss
from regjax.core.losses import LOSSES


def example(name, key=0, n=9):
    rng = np.random.default_rng(key)
    outputs = {"sigmoid_cross_entropy": 1, "softmax_cross_entropy": 4, "squared_error": 2, "poisson": 2}[name]
    logits = 3 * rng.standard_normal((outputs, n))
    logits[:, 0] = 0  # where a dead network's output lies
    y = rng.standard_normal((outputs, n))
    if name == "sigmoid_cross_entropy":
        y = rng.integers(0, 2, (1, n)).astype(np.int32)
    elif name == "softmax_cross_entropy":
        y = rng.integers(0, outputs, (1, n)).astype(np.int32)
    elif name == "poisson":
        y = 5 * y**2
        y[:, 1:4] = 0, 0.5, 1
    return logits, y


def test_registry_is_what_config_accepts():
    assert tuple(LOSSES) == get_args(Loss)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_jax_grad_and_of_central_differences(name, x64):
    f, gradient = LOSSES[name]
    logits, y = map(jnp.asarray, example(name))
    ours = gradient(logits, y)
    np.testing.assert_allclose(ours, jax.grad(lambda z: f(z, y).sum())(logits), rtol=1e-10, atol=1e-14)
    for k in range(len(logits)):
        step = jnp.zeros_like(logits).at[k].set(1e-6)
        central = (f(logits + step, y) - f(logits - step, y)) / 2e-6
        np.testing.assert_allclose(ours[k], central, rtol=1e-6, atol=1e-8)


def test_values_worked_by_hand():
    # z = 0: both classes have probability ½, so log 2. z = log 3: σ = 3/4, so -log(3/4) and -log(1/4).
    loss = LOSSES["sigmoid_cross_entropy"].f
    z = jnp.array([[0.0, math.log(3), math.log(3)]])
    got = loss(z, jnp.array([[1, 1, 0]], jnp.int32))
    np.testing.assert_allclose(got, [math.log(2), -math.log(3 / 4), -math.log(1 / 4)], rtol=1e-6)
    # Logits (0, log 2, log 5) have probabilities 1/8, 2/8, 5/8.
    z = jnp.array([[0.0], [math.log(2)], [math.log(5)]])
    got = LOSSES["softmax_cross_entropy"].f(z, jnp.array([[2]], jnp.int32))
    np.testing.assert_allclose(got, [-math.log(5 / 8)], rtol=1e-6)
    # ½·((3-1)² + (0-4)²) = 10: with the ½, summed over outputs.
    got = LOSSES["squared_error"].f(jnp.array([[3.0], [0.0]]), jnp.array([[1.0], [4.0]]))
    assert got.tolist() == [10.0]
    # μ = 1 for y = 0: μ - y = 1. μ = 2 for y = 4: 4·log(4/2) - 4 + 2. μ = y = 3: 0.
    got = LOSSES["poisson"].f(jnp.log(jnp.array([[1.0, 2.0, 3.0]])), jnp.array([[0.0, 4.0, 3.0]]))
    np.testing.assert_allclose(got, [1, 4 * math.log(2) - 2, 0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1e9, -1e9])
def test_huge_logits_stay_finite_in_float32(name, size):
    f, gradient = LOSSES[name]
    logits, y = example(name)
    logits = np.where(logits > 0, size, -size)
    if name == "poisson":  # exp(89) is beyond float32
        logits = np.minimum(logits, 88)
    logits = jnp.asarray(logits, jnp.float32)
    y = jnp.asarray(y, jnp.float32 if name in REAL_LOSSES else jnp.int32)
    assert f(logits, y).dtype == gradient(logits, y).dtype == jnp.float32
    assert f(logits, y).shape == (logits.shape[1],)
    assert jnp.isfinite(f(logits, y)).all()
    assert jnp.isfinite(gradient(logits, y)).all()


@pytest.mark.parametrize("seed", range(20))
def test_poisson_is_half_the_deviance_and_keeps_its_digits(seed, x64):
    rng = np.random.default_rng(seed)
    y = rng.choice([0, 1e-3, 0.7, 1, 3, 1e3, 1e7], (2, 50))
    z = np.log(np.where(y == 0, 1, y)) + rng.standard_normal((2, 50)) * rng.choice([1e-3, 1, 5], (2, 50))
    f, gradient = LOSSES["poisson"]
    ours = np.asarray(f(jnp.asarray(z), jnp.asarray(y)))
    exact, of_y = np.longdouble(z), np.longdouble(y)
    wanted = of_y * (np.log(np.where(y == 0, 1, of_y)) - exact) - of_y + np.exp(exact)
    np.testing.assert_allclose(ours, wanted.sum(axis=0).astype(float), rtol=1e-11, atol=1e-12 * y.max())
    deviance = [mean_poisson_deviance(y[:, i], np.exp(z[:, i])) for i in range(50)]  # of 2: half of twice
    np.testing.assert_allclose(ours, deviance, rtol=1e-9, atol=1e-14 * y.max())
    with jax.enable_x64(False):
        single = np.asarray(f(jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32)))
    # Rounding z moves log μ - log y by as much.
    slope = np.abs(gradient(jnp.asarray(z), jnp.asarray(y))) * (np.abs(z) + 1)
    assert (np.abs(single - ours) <= 1e-6 * (1 + ours + slope.sum(axis=0))).all()
    # No value is lost that the dtype can hold: y is tiny, so that μ/y is not one.
    assert f(jnp.array([[25.0]], jnp.float32), jnp.array([[1e-30]], jnp.float32))[0] == pytest.approx(
        math.exp(25), rel=1e-6
    )


def test_softmax_of_two_classes_is_sigmoid_of_the_difference(x64):
    z, y = jnp.array([[1.3, -2.0, 40.0]]), jnp.array([[0, 1, 0]], jnp.int32)
    two = jnp.concatenate([jnp.zeros_like(z), z])
    np.testing.assert_allclose(
        LOSSES["softmax_cross_entropy"].f(two, y), LOSSES["sigmoid_cross_entropy"].f(z, y), rtol=1e-12
    )


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError):
        LOSSES["sigmoid_cross_entropy"].f(jnp.zeros((1, 3)), jnp.zeros((3,), jnp.int32))
    with pytest.raises(AssertionError):
        LOSSES["softmax_cross_entropy"].f(jnp.zeros((2, 3)), jnp.zeros((2, 3), jnp.int32))
