import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.core.activations import ACTIVATIONS
from regjax.core.config import Activation


def test_registry_is_what_config_accepts():
    assert tuple(ACTIVATIONS) == get_args(Activation)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_that_of_jax_grad_and_of_central_differences(name, x64):
    f, derivative = ACTIVATIONS[name]
    z = jnp.concatenate([jnp.linspace(-6.0, 6.0, 201) + 0.0123, jnp.array([-40.0, 40.0])])
    ours = derivative(z, f(z))
    np.testing.assert_allclose(ours, jax.vmap(jax.grad(f))(z), rtol=1e-10, atol=1e-15)
    central = (f(z + 1e-6) - f(z - 1e-6)) / 2e-6
    np.testing.assert_allclose(ours, central, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float32_stays_float32_and_finite(name):
    f, derivative = ACTIVATIONS[name]
    z = jnp.array([[-1e9, -1.0, 0.0, 1.0, 1e9]], jnp.float32)
    assert f(z).dtype == derivative(z, f(z)).dtype == jnp.float32
    assert jnp.isfinite(f(z)).all()
    assert jnp.isfinite(derivative(z, f(z))).all()


def test_kink_of_relu_is_zero():
    z = jnp.array([-0.0, 0.0, 1e-30])
    assert ACTIVATIONS["relu"].derivative(z, z).tolist() == [0.0, 0.0, 1.0]


def test_gelu_is_the_exact_form():
    # Hendrycks & Gimpel 2016: x·½(1 + erf(x/√2)); the tanh form differs from it in the fourth digit.
    z = 1.5
    exact = z * 0.5 * (1 + math.erf(z / math.sqrt(2)))
    assert float(ACTIVATIONS["gelu"].f(jnp.float32(z))) == pytest.approx(exact, rel=1e-6)


def test_selu_keeps_a_standard_normal_standard(x64):
    # Klambauer et al. 2017, §2: (0, 1) is a fixed point of mean and variance.
    z = jnp.linspace(-12.0, 12.0, 200_001)
    density = jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    a = ACTIVATIONS["selu"].f(z)
    np.testing.assert_allclose([jnp.sum(a * density), jnp.sum(a * a * density)], [0.0, 1.0], atol=1e-9)


def test_selu_is_that_of_jax_and_its_kink_is_the_left_derivative(x64):
    z = jnp.linspace(-5.0, 5.0, 101)
    np.testing.assert_allclose(ACTIVATIONS["selu"].f(z), jax.nn.selu(z), rtol=1e-14)
    assert float(ACTIVATIONS["selu"].derivative(z[:1] * 0, z[:1] * 0)[0]) == pytest.approx(1.7580993408473766)
