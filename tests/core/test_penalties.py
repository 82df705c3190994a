import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.core.penalties import PENALTIES


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_is_that_of_jax_grad_and_of_central_differences(name, x64):
    f, gradient = PENALTIES[name]
    w = jnp.asarray(np.random.default_rng(0).standard_normal((4, 3)))
    strength = jnp.asarray(0.7)
    np.testing.assert_allclose(gradient(w, strength), jax.grad(f)(w, strength), rtol=1e-12)
    step = jnp.zeros_like(w).at[1, 2].set(1e-6)
    central = (f(w + step, strength) - f(w - step, strength)) / 2e-6
    np.testing.assert_allclose(gradient(w, strength)[1, 2], central, rtol=1e-7)


def test_values_worked_by_hand():
    w = jnp.array([[1.0, -2.0], [0.0, 3.0]])
    assert float(PENALTIES["l2"].f(w, jnp.float32(2.0))) == 14.0  # 2/2·(1 + 4 + 9)
    assert float(PENALTIES["l1"].f(w, jnp.float32(2.0))) == 12.0  # 2·(1 + 2 + 3)


def test_kink_of_l1_is_zero():
    w = jnp.array([[-0.0, 0.0, -1.0]])
    assert PENALTIES["l1"].gradient(w, jnp.float32(1.0)).tolist() == [[0.0, 0.0, -1.0]]
