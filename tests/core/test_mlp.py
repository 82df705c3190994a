import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.core import mlp
from regjax.core.mlp import Layer, backward, forward, init_params, predict, predict_proba
from regjax.core.random import replicate_key

KEY = replicate_key(0)


def test_small_network_worked_by_hand():
    # 2-2-1, relu, one sample x = (1, 2), mask (2, 1) on the hidden layer.
    # z1 = (1·1 + 0·2 + 1, -1·1 + 1·2 - 3) = (2, -2);  a1 = (2, 0);  h = (4, 0);  logit = 3·4 + 5·0 + 1 = 13.
    params = (
        Layer(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), jnp.array([[1.0], [-3.0]])),
        Layer(jnp.array([[3.0, 5.0]]), jnp.array([[1.0]])),
    )
    x, masks = jnp.array([[1.0], [2.0]]), (None, jnp.array([[2.0], [1.0]]))
    logits, residuals = forward(params, x, masks)
    assert logits.tolist() == [[13.0]]
    # With d_logits = 1: dw2 = h = (4, 0), db2 = 1; dh = (3, 5); da = dh ⊙ mask = (6, 5);
    # dz1 = da ⊙ (z > 0) = (6, 0); dw1 = dz1·xᵀ = ((6, 12), (0, 0)); db1 = (6, 0); dx = w1ᵀ·dz1 = (6, 0).
    grads, dx, d_masks = backward(residuals, jnp.ones((1, 1)))
    assert grads[1].w.tolist() == [[4.0, 0.0]]
    assert grads[1].b.tolist() == [[1.0]]
    assert grads[0].w.tolist() == [[6.0, 12.0], [0.0, 0.0]]
    assert grads[0].b.tolist() == [[6.0], [0.0]]
    assert dx.tolist() == [[6.0], [0.0]]
    assert d_masks is None


@pytest.mark.slow
def test_pair_is_the_contract_of_custom_vjp(x64):
    @jax.custom_vjp
    def network(params, x, masks):
        return forward(params, x, masks)[0]

    network.defvjp(forward, backward)
    params = init_params(KEY, (3, 6, 5, 2), dtype="float64")
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 8)))

    def loss(f, params, x):
        return jnp.sum(jnp.sin(f(params, x, None)))

    ours = jax.grad(lambda p, x: loss(network, p, x), argnums=(0, 1))(params, x)
    theirs = jax.grad(lambda p, x: loss(lambda *a: forward(*a)[0], p, x), argnums=(0, 1))(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14), ours, theirs)


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("sizes", [(2, 1), (5, 3), (2, 20, 3, 1), (4, 3, 3, 3, 3, 2)])
def test_masks_of_ones_and_no_masks_are_the_same(sizes):
    params = init_params(KEY, sizes)
    x = jax.random.normal(KEY, (sizes[0], 7))
    ones = tuple(jnp.ones((units, 7)) for units in sizes[:-1])
    logits = forward(params, x)[0]
    assert logits.shape == (sizes[-1], 7)
    np.testing.assert_array_equal(logits, forward(params, x, ones)[0])


def test_small_products_are_products(monkeypatch):
    params, x = init_params(KEY, (2, 20, 3, 1)), jax.random.normal(KEY, (2, 30))
    small = forward(params, x)[0]
    monkeypatch.setattr(mlp, "SMALL_INNER", 0)
    np.testing.assert_allclose(small, forward(params, x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.bits
@pytest.mark.parametrize(("features", "outputs", "n"), [(2, 3, 4), (4, 5, 3), (5, 1, 7), (64, 10, 128)])
def test_bfloat16_products_are_those_of_rounded_operands(features, outputs, n):
    """Rounded operands, sums in float32: for every shape, alone and under `vmap`, compiled or not."""
    rng = np.random.default_rng(0)
    shapes = (outputs, features), (features, n), (outputs, n)
    w, x, d = (jnp.asarray(rng.standard_normal((3, *shape)), jnp.float32) for shape in shapes)

    def products(w, x, d, precision):
        logits, residuals = forward((Layer(w, jnp.zeros((outputs, 1))),), x, precision=precision)
        grads, dx, _ = backward(residuals, d, precision=precision)
        return logits, grads[0].w, dx

    def in_float64(w, x, d):
        w, x, d = (np.asarray(v).astype(np.float64) for v in (w, x, d))
        pairs = (w, x), (d, np.swapaxes(x, 1, 2)), (np.swapaxes(w, 1, 2), d)
        return [(a @ b, np.abs(a) @ np.abs(b)) for a, b in pairs]

    run = functools.partial(products, precision="bfloat16")
    together = jax.jit(jax.vmap(run))(w, x, d)
    rounded = in_float64(*(v.astype(jnp.bfloat16) for v in (w, x, d)))
    exact = in_float64(w, x, d)
    for found, (expected, size), (full, _) in zip(together, rounded, exact, strict=True):
        assert found.dtype == jnp.float32
        assert (np.abs(found - expected) <= 4e-6 * size).all()
        assert np.max(np.abs(found - full) / size) > 1e-4
    for alone, lane in zip(run(w[0], x[0], d[0]), together, strict=True):
        np.testing.assert_allclose(alone, lane[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_bfloat16_refuses_float64(x64):
    params = init_params(KEY, (2, 5, 1), dtype="float64")
    with pytest.raises(ValueError, match="precision must be highest, high or default with float64, got"):
        forward(params, jnp.zeros((2, 7)), precision="bfloat16")


@pytest.mark.parametrize(("init", "variance"), [("tutorial", 1 / 400), ("he", 2 / 400), ("glorot", 2 / 700)])
def test_initial_weights_have_their_variance(init, variance):
    first, _ = init_params(KEY, (400, 300, 1), init=init)
    assert np.var(first.w) == pytest.approx(variance, rel=0.02)
    assert np.mean(first.w) == pytest.approx(0, abs=4 * np.sqrt(variance / first.w.size))
    assert (first.b == 0).all()


@pytest.mark.slow
def test_float64_starts_where_float32_does(x64):
    single, double = (init_params(KEY, (2, 20, 1), dtype=dtype) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(single[0].w, double[0].w, rtol=1e-6)
    assert double[0].w.dtype == jnp.float64


@pytest.mark.slow
def test_vmap_over_parameters_is_a_loop():
    stacked = jax.vmap(lambda key: init_params(key, (2, 5, 1)))(
        jnp.stack([replicate_key(s) for s in range(3)])
    )
    x = jax.random.normal(KEY, (2, 6))
    together = jax.vmap(lambda p: forward(p, x)[0])(stacked)
    for lane in range(3):
        alone = forward(jax.tree.map(lambda leaf, lane=lane: leaf[lane], stacked), x)[0]
        np.testing.assert_allclose(together[lane], alone, rtol=1e-5, atol=1e-6)


def test_predictions():
    params = (Layer(jnp.array([[1.0, -1.0]]), jnp.zeros((1, 1))),)
    x = jnp.array([[3.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    assert predict(params, x).tolist() == [[1, 0, 0]]  # exactly ½ is class 0, as in the tutorial
    np.testing.assert_allclose(predict_proba(params, x)[0, 2], 0.5)
    three = (Layer(jnp.eye(3), jnp.zeros((3, 1))),)
    x = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    assert predict(three, x, loss="softmax_cross_entropy").tolist() == [[0, 2]]
    np.testing.assert_allclose(
        predict_proba(three, x, loss="softmax_cross_entropy").sum(axis=0), 1, rtol=1e-6
    )
    np.testing.assert_array_equal(predict(three, x, loss="squared_error"), x)
    with pytest.raises(ValueError, match="loss must be a cross-entropy"):
        predict_proba(three, x, loss="squared_error")
    with pytest.raises(ValueError, match="loss must be one of"):
        predict(three, x, loss="auto")
    with pytest.raises(ValueError, match="loss must be softmax_cross_entropy for 3 outputs"):
        predict(three, x)


def test_float64_needs_no_context():
    params = init_params(KEY, (2, 3, 1), dtype="float64")
    assert params[0].w.dtype == params[1].b.dtype == np.float64


def test_wrong_shapes_are_asserted_when_traced():
    params = init_params(KEY, (2, 5, 1))
    with pytest.raises(AssertionError):
        forward(params, jnp.zeros((3, 7)))
    with pytest.raises(AssertionError):
        forward(params, jnp.zeros((7,)))
