"""Matrix products of the kernels: six products of bfloat16 are one of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.engine.products import product

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((32, 64)).astype("f4"), RNG.standard_normal((64, 16)).astype("f4")
EXACT = A.astype("f8") @ B.astype("f8")


def error(precision, a=A, b=B, axes=(1, 0)):
    # Step by step: a compiled program on a CPU may leave out that a number is rounded to bfloat16 and back.
    with jax.disable_jit():
        found = product(jnp.asarray(a), jnp.asarray(b), *axes, precision)
    assert found.dtype == jnp.float32
    return np.abs(np.asarray(found) - EXACT).max() / np.abs(EXACT).max()


def test_float32_is_float32():
    plain = np.abs(A @ B - EXACT).max() / np.abs(EXACT).max()
    assert error("highest") < 2 * plain
    assert error("highest") < 3e-7
    assert 1e-3 < error("bfloat16") < 1e-2


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e3, 1e15])
def test_the_size_of_the_numbers_does_not_matter(scale):
    scale = np.float32(scale)
    assert error("highest", A * scale, B / scale) < 3e-7


def test_axes_say_which_matrix_is_transposed():
    assert error("highest", A.T.copy(), B, (0, 0)) < 3e-7
    assert error("highest", A, B.T.copy(), (1, 1)) < 3e-7


def test_what_is_not_finite_stays_so():
    a = A.copy()
    a[3, 5] = np.inf
    with jax.disable_jit():
        found = np.asarray(product(jnp.asarray(a), jnp.asarray(B), 1, 0, "highest"))
    assert not np.isfinite(found[3]).any()
    assert np.isfinite(np.delete(found, 3, axis=0)).all()
