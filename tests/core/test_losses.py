import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.core.config import Loss
from regjax.core.losses import LOSSES


def example(name, key=0, n=9):
    rng = np.random.default_rng(key)
    outputs = {"sigmoid_cross_entropy": 1, "softmax_cross_entropy": 4, "squared_error": 2}[name]
    logits = 3 * rng.standard_normal((outputs, n))
    logits[:, 0] = 0  # where a dead network's output lies
    y = rng.standard_normal((outputs, n))
    if name == "sigmoid_cross_entropy":
        y = rng.integers(0, 2, (1, n)).astype(np.int32)
    elif name == "softmax_cross_entropy":
        y = rng.integers(0, outputs, (1, n)).astype(np.int32)
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


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1e9, -1e9])
def test_huge_logits_stay_finite_in_float32(name, size):
    f, gradient = LOSSES[name]
    logits, y = example(name)
    logits = jnp.asarray(np.where(logits > 0, size, -size), jnp.float32)
    y = jnp.asarray(y, jnp.float32 if name == "squared_error" else jnp.int32)
    assert f(logits, y).dtype == gradient(logits, y).dtype == jnp.float32
    assert f(logits, y).shape == (logits.shape[1],)
    assert jnp.isfinite(f(logits, y)).all()
    assert jnp.isfinite(gradient(logits, y)).all()


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
