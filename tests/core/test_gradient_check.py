import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core import mlp
from regjax.core.gradient_check import check_gradient
from regjax.core.random import replicate_key


@pytest.mark.slow
def test_the_network_itself_passes():
    params = mlp.init_params(replicate_key(0), (3, 6, 2))
    x = jax.random.normal(replicate_key(1), (3, 4))
    report = check_gradient(mlp.forward, mlp.backward, params, x, None)
    assert report.ok
    assert [c.name for c in report.checks] == [
        "input 0[0].w",
        "input 0[0].b",
        "input 0[1].w",
        "input 0[1].b",
        "input 1",
    ]
    assert "jax.grad" in str(report)


def test_a_students_numpy_code_is_checked_too():
    def forward(x, w):
        x, w = np.asarray(x), np.asarray(w)
        return np.tanh(w @ x), (x, w)

    def backward(residuals, dy):
        x, w = residuals
        dz = dy * (1 - np.tanh(w @ x) ** 2)
        return w.T @ dz, dz @ x.T

    x, w = np.ones((3, 2)) * 0.3, np.arange(12.0).reshape(4, 3) / 10
    report = check_gradient(forward, backward, x, w)
    assert report.ok
    assert all(c.error is None for c in report.checks)

    def forgot_a_transpose_sign(residuals, dy):
        dx, dw = backward(residuals, dy)
        return dx, -dw

    wrong = check_gradient(forward, forgot_a_transpose_sign, x, w)
    assert [c.ok for c in wrong.checks] == [True, False]
    assert "WRONG" in str(wrong)


def test_slips_of_form_are_said():
    def forward(x, w):
        return w * x, (x, w)

    x, w = jnp.ones(3), jnp.ones(3)
    with pytest.raises(TypeError, match="backward must return 2 gradients in a tuple"):
        check_gradient(forward, lambda r, dy: (dy,), x, w)
    with pytest.raises(ValueError, match=r"backward must return shape \(3,\) for input 1, got \(2,\)"):
        check_gradient(forward, lambda r, dy: (dy * r[1], dy[:2]), x, w)
    assert check_gradient(lambda x: (x * x, x), lambda x, dy: 2 * x * dy, x).ok
    assert check_gradient(forward, lambda r, dy: (dy * r[1], None), x, w).ok  # None is not checked
    assert not check_gradient(lambda x: (x * x, x), lambda x, dy: jnp.full(3, jnp.nan), x).ok


@pytest.mark.nightly
def test_cost_pair_can_be_checked_by_hand():
    config = regjax.Config(layer_sizes=(2, 4, 1), dtype="float64")
    train, _ = regjax.two_regions(jax.random.key(0), num_train=20)
    params = mlp.init_params(replicate_key(0), config.layer_sizes)
    hparams = regjax.HParams(l2=0.7, l1=0.1)

    def forward(params):
        samples = jax.tree.map(jnp.asarray, train)  # under the x64 of check_gradient
        return regjax.cost(params, hparams, samples, config=config), params

    def backward(params, d_cost):
        samples = jax.tree.map(jnp.asarray, train)
        _, grads, _ = regjax.cost_and_grads(params, hparams, samples, config=config)
        return (jax.tree.map(lambda g: g * d_cost, grads),)

    assert check_gradient(forward, backward, params).ok


def test_a_students_code_may_write_into_its_arrays():
    def forward(x, w):
        z = w @ x
        a = z.copy()
        a[z <= 0] = 0
        return a, (x, w, z)

    def backward(residuals, da):
        x, w, z = residuals
        dz = np.array(da)
        dz[z <= 0] = 0
        return w.T @ dz, dz @ x.T

    rng = np.random.default_rng(0)
    assert check_gradient(forward, backward, rng.standard_normal((3, 2)), rng.standard_normal((4, 3))).ok


@pytest.mark.slow
def test_nothing_checked_is_not_ok():
    with pytest.raises(TypeError, match="input 0 must hold real numbers to have a gradient, got dtype int"):
        check_gradient(lambda x: (x * x, x), lambda x, d: 17 * d, np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="backward must return at least one gradient"):
        check_gradient(lambda x: (x * x, x), lambda x, d: (None,), np.ones(3))
