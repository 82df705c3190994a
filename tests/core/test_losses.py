import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import mean_poisson_deviance
from sklearn.neural_network._base import binary_log_loss, log_loss

from regjax.core.config import REAL_LOSSES, Loss
from regjax.core.losses import LOSSES, clipped_loss, smoothed


def example(name, key=0, n=9):
    rng = np.random.default_rng(key)
    outputs = {"sigmoid_cross_entropy": 1, "softmax_cross_entropy": 4}.get(name, 2)
    logits = 3 * rng.standard_normal((outputs, n))
    logits[:, 0] = 0  # where a dead network's output lies
    y = rng.standard_normal((outputs, n))
    if name == "sigmoid_cross_entropy":
        y = rng.integers(0, 2, (1, n)).astype(np.int32)
    elif name == "multilabel_cross_entropy":
        y = rng.integers(0, 2, (outputs, n)).astype(np.int32)
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


@pytest.mark.sampled(5)
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


@pytest.mark.sampled(5)
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


def test_labels_of_a_sample_are_losses_of_their_own(x64):
    logits, y = map(jnp.asarray, example("multilabel_cross_entropy"))
    one, several = LOSSES["sigmoid_cross_entropy"], LOSSES["multilabel_cross_entropy"]
    alone = [one.f(logits[k : k + 1], y[k : k + 1]) for k in range(2)]
    np.testing.assert_allclose(several.f(logits, y), alone[0] + alone[1], rtol=1e-14)
    np.testing.assert_array_equal(several.gradient(logits, y)[1:], one.gradient(logits[1:], y[1:]))
    smooth = smoothed(several.f, logits, y, jnp.asarray(0.2))
    np.testing.assert_allclose(smooth, several.f(logits, 0.8 * y.astype(float) + 0.1), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_clipped_loss_is_scikit_learns(dtype, x64):
    rng, n = np.random.default_rng(0), 200
    for name, outputs, theirs in (
        ("sigmoid_cross_entropy", 1, log_loss),
        ("sigmoid_cross_entropy", 1, binary_log_loss),
        ("softmax_cross_entropy", 4, log_loss),
        ("multilabel_cross_entropy", 3, binary_log_loss),
    ):
        # From probabilities near a half to those that are clipped, on both sides.
        z = (rng.standard_normal((n, outputs)) * np.geomspace(0.1, 1e4, n)[:, None]).astype(dtype)
        p = expit(z) if name != "softmax_cross_entropy" else softmax(z, axis=1)
        labels = rng.integers(0, max(2, outputs), (n, 1))
        y = labels if outputs == 1 else labels == np.arange(outputs)
        if name == "multilabel_cross_entropy":
            y = rng.integers(0, 2, (n, outputs))
        ours = clipped_loss(jnp.asarray(z.T), jnp.asarray((labels if outputs == 4 else y).T, jnp.int32), name)
        assert ours.dtype == dtype
        each = [theirs(y[[i]].astype(bool), p[[i]].astype(dtype)) for i in range(n)]
        # A probability of almost 1 is a whole number of steps of eps below it.
        exact = {"rtol": 1e-12, "atol": 1e-15} if dtype == np.float64 else {"rtol": 1e-4, "atol": 3e-7}
        np.testing.assert_allclose(ours, each, **exact)
        assert np.max(ours) < 40 * outputs
    real = jnp.asarray(rng.standard_normal((2, 5)))
    np.testing.assert_array_equal(clipped_loss(real, real, "squared_error"), jnp.zeros(5))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError):
        LOSSES["sigmoid_cross_entropy"].f(jnp.zeros((1, 3)), jnp.zeros((3,), jnp.int32))
    with pytest.raises(AssertionError):
        LOSSES["softmax_cross_entropy"].f(jnp.zeros((2, 3)), jnp.zeros((2, 3), jnp.int32))
