import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from regjax.core.dropout import dropconnect_masks, dropout_mask, dropout_masks, gaussian_masks
from regjax.core.random import random_normals, replicate_key

KEY = replicate_key(3, 1)


@pytest.mark.nightly
@pytest.mark.bits
def test_masks_are_those_of_the_reference(x64):
    sizes = (2, 20, 3, 1)
    masks = dropout_masks(KEY, 17, sizes, 211, keep_prob=jnp.asarray(0.86))
    expected = reference.dropout_masks(KEY, 17, sizes, 211, 0.86)
    assert masks is not None
    assert masks[0] is None
    for ours, theirs in zip(masks[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-15)


@pytest.mark.bits
@pytest.mark.parametrize(("keep_prob", "threshold"), [(1.0, 65536), (0.5, 32768), (0.86, 56361), (1e-9, 1)])
def test_scale_is_of_the_probability_really_used(keep_prob, threshold):
    bits = jnp.arange(65536, dtype=jnp.uint16).reshape(256, 256)
    mask = np.asarray(dropout_mask(bits, jnp.float32(keep_prob)), np.float64)
    assert np.count_nonzero(mask) == threshold
    # Over all 65,536 values of the bits the mean is exactly 1, but for the rounding of the scale.
    assert mask.mean() == pytest.approx(1, rel=1e-7)
    # A CPU rounds the quotient to the nearest float32, a GPU to one of the two beside it.
    ulps = 0 if jax.default_backend() == "cpu" else 1
    np.testing.assert_array_max_ulp(np.float32(mask.max()), np.float32(65536 / threshold), maxulp=ulps)


@pytest.mark.nightly
@pytest.mark.bits
def test_keep_prob_one_is_exactly_the_identity():
    masks = dropout_masks(KEY, 0, (2, 5, 1), 64, keep_prob=jnp.ones(1), input_keep_prob=jnp.float32(1))
    assert masks is not None
    assert all(mask is not None and (mask == 1).all() for mask in masks)


@pytest.mark.bits
def test_off_draws_nothing():
    assert dropout_masks(KEY, 0, (2, 5, 1), 64) is None


@pytest.mark.bits
def test_a_larger_keep_prob_keeps_what_a_smaller_keeps():
    low, high = (dropout_masks(KEY, 5, (2, 9, 1), 32, keep_prob=jnp.float32(k)) for k in (0.4, 0.7))
    assert low is not None
    assert high is not None
    assert ((np.asarray(low[1]) > 0) <= (np.asarray(high[1]) > 0)).all()


@pytest.mark.slow
@pytest.mark.bits
def test_input_dropout_leaves_hidden_masks_alone():
    alone = dropout_masks(KEY, 5, (2, 9, 1), 32, keep_prob=jnp.float32(0.4))
    both = dropout_masks(KEY, 5, (2, 9, 1), 32, keep_prob=jnp.float32(0.4), input_keep_prob=jnp.float32(0.5))
    assert alone is not None
    assert both is not None
    np.testing.assert_array_equal(alone[1], both[1])
    assert both[0] is not None


@pytest.mark.slow
def test_gaussian_factors_have_mean_one_and_their_variance():
    sigma = jnp.asarray([0.5, 0.25])
    draws = [gaussian_masks(KEY, step, (2, 20, 9, 1), 512, sigma) for step in range(8)]
    for layer, s in ((1, 0.5), (2, 0.25)):
        values = np.concatenate([np.ravel(masks[layer]) for masks in draws])
        error = s / len(values) ** 0.5
        assert abs(values.mean() - 1) < 4 * error
        assert values.std() == pytest.approx(s, rel=0.02)
    assert draws[0][0] is None
    bits = np.asarray(random_normals(KEY, 256, 256))
    assert abs(bits.var() - 1) < 0.02
    assert np.abs(bits).max() < 4.4


def test_dropconnect_leaves_the_expected_pre_activation():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5)), jnp.float32)
    w = jnp.asarray(np.random.default_rng(1).standard_normal((3, 4)), jnp.float32)
    draw = jax.jit(jax.vmap(lambda step: dropconnect_masks(KEY, step, (4, 3), jnp.asarray([0.7]))[0]))
    masks = np.asarray(draw(jnp.arange(3000)))
    kept = 45875 / 65536  # 0.7 in 16 bits
    assert set(np.unique(masks)) == {np.float32(0), np.float32(1 / kept)}
    mean = (masks * w[None]).mean(axis=0) @ x
    spread = np.sqrt((1 / kept - 1) * ((w * w) @ (x * x)) / 3000)
    assert (np.abs(mean - w @ x) < 4.5 * spread).all()
