import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.core.losses import LOSSES
from regjax.research.predictions import (
    from_observed,
    loss_of,
    loss_of_variance,
    loss_slope,
    observed,
    observed_and_loss,
)

pytestmark = pytest.mark.slow

LABELS = {
    "sigmoid_cross_entropy": [[0, 1, 1, 0, 1, 0, 1]],
    "multilabel_cross_entropy": [[0, 1, 1, 0, 1, 0, 1], [1, 1, 0, 0, 1, 1, 0]],
    "softmax_cross_entropy": [[0, 1, 2, 0, 1, 2, 1]],
    "squared_error": [[0.5, -1.0, 2.0, 0.0, 3.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]],
    "poisson": [[0.0, 1.0, 4.0, 0.0, 2.0, 7.0, 1.0]],
}
OUTPUTS = {"sigmoid_cross_entropy": 1, "softmax_cross_entropy": 3, "poisson": 1}


def case(loss, dtype="float64"):
    y = jnp.asarray(LABELS[loss], dtype if loss in ("squared_error", "poisson") else "int32")
    z = 3 * np.random.default_rng(0).standard_normal((OUTPUTS.get(loss, 2), y.shape[1]))
    return jnp.asarray(z, dtype), y


@pytest.mark.parametrize("loss", LABELS)
def test_both_forms_are_those_of_the_core(loss, x64):
    z, y = case(loss)
    q, losses = observed_and_loss(z, y, loss)
    np.testing.assert_allclose(q, observed(z, y, loss), rtol=1e-14)
    np.testing.assert_allclose(losses, LOSSES[loss].f(z, y), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(loss_of(q, y, loss), losses, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 4e-7), ("float64", 6e-16)])
def test_the_series_is_right_to_the_last_bits_for_any_logit(dtype, error, x64):
    z = np.concatenate([np.linspace(-30, 30, 4001), [-700.0, 700.0, 0.0]]).astype(dtype)[None]
    for label in (0, 1):
        y = np.full(z.shape, label, np.int32)
        q, losses = observed_and_loss(jnp.asarray(z), jnp.asarray(y), "sigmoid_cross_entropy")
        s = (z if label == 0 else -z).astype(np.longdouble)
        expected = np.maximum(s, 0) + np.log1p(np.exp(-np.abs(s)))
        np.testing.assert_allclose(losses, expected[0], rtol=error, atol=1e-37)
        np.testing.assert_allclose(q, 1 / (1 + np.exp(s)), rtol=error, atol=1e-37)
        assert losses.dtype == q.dtype == dtype


def test_a_softmax_of_many_classes_is_the_same(x64):
    z = jnp.asarray(np.random.default_rng(1).standard_normal((17, 5)))
    y = jnp.asarray([[0, 3, 16, 2, 1]], jnp.int32)
    few, many = (observed_and_loss(z[:k], y % k, "softmax_cross_entropy") for k in (16, 17))
    for (q, losses), k in ((few, 16), (many, 17)):
        np.testing.assert_allclose(q, jax.nn.softmax(z[:k], axis=0), rtol=1e-13)
        np.testing.assert_allclose(losses, LOSSES["softmax_cross_entropy"].f(z[:k], y % k), rtol=1e-12)


def test_a_wrong_label_keeps_its_probability_in_float32():
    z, y = jnp.array([[40.0]], "float32"), jnp.array([[0]])
    q = observed(z, y, "sigmoid_cross_entropy")
    assert loss_of(q, y, "sigmoid_cross_entropy")[0] == pytest.approx(40, rel=1e-6)
    assert from_observed(q, y, "sigmoid_cross_entropy").item() == 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize("loss", LABELS)
def test_the_variance_term_is_half_the_curvature(loss, x64):
    z, y = case(loss)
    q = observed(z, y, loss)
    variance = jnp.asarray(np.random.default_rng(2).random(q.shape))
    curvature = jax.hessian(lambda q: jnp.sum(loss_of(q, y, loss)))(q)
    n = q.shape[1]
    expected = [sum(0.5 * curvature[k, i, k, i] * variance[k, i] for k in range(len(q))) for i in range(n)]
    if loss == "softmax_cross_entropy":  # of the label's own probability alone
        expected = [0.5 * variance[y[0, i], i] / q[y[0, i], i] ** 2 for i in range(n)]
    np.testing.assert_allclose(loss_of_variance(q, variance, y, loss), jnp.asarray(expected), rtol=1e-10)


@pytest.mark.parametrize("loss", LABELS)
def test_the_slope_is_the_derivative(loss, x64):
    z, y = case(loss)
    q = observed(z, y, loss)
    np.testing.assert_allclose(
        loss_slope(q, y, loss), jax.grad(lambda q: jnp.sum(loss_of(q, y, loss)))(q), rtol=1e-11, atol=1e-14
    )
