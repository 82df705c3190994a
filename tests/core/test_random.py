import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from regjax.core import random
from regjax.core.dropout import dropout_mask
from regjax.core.random import (
    MASKS,
    epoch_order,
    normals,
    one_generator,
    place_key,
    random_bits,
    replicate_key,
)

pytestmark = pytest.mark.bits

KEY = replicate_key(3, 1)
PLACES = [
    value for name, value in vars(random).items() if name.isupper() and name not in ("MAX_SEED", "GENERATOR")
]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("shape", [(20, 224), (3, 211), (1, 1), (7, 5)])
def test_bits_are_those_of_jax_random(shape):
    np.testing.assert_array_equal(random_bits(KEY, *shape), reference.random_bits(KEY, *shape))


def test_bits_do_not_depend_on_jax_settings():
    expected = np.asarray(random_bits(KEY, 4, 6))
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(jax.jit(random_bits, static_argnums=(1, 2))(KEY, 4, 6), expected)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(random_bits(KEY, 4, 6), expected)
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(random_bits(replicate_key(3, 1), 4, 6), expected)


def test_bits_are_shared_by_the_lanes_of_a_vmap():
    def lane(keep_prob):
        return dropout_mask(random_bits(KEY, 4, 8), keep_prob)

    jaxpr = jax.make_jaxpr(jax.vmap(lane))(jnp.array([0.5, 0.9]))
    shifts = [e for e in jaxpr.jaxpr.eqns if e.primitive.name in ("shift_left", "shift_right_logical")]
    assert shifts
    assert all(e.outvars[0].aval.shape[:1] != (2,) for e in shifts)


def test_every_seed_fold_step_place_and_layer_has_its_own_key():
    keys = [
        jax.random.key_data(place_key(replicate_key(seed, fold), step, place)).tolist()
        for seed in (0, 1)
        for fold in (0, 1)
        for step in (0, 1, 2)
        for place in PLACES
    ]
    assert len({tuple(key) for key in keys}) == len(keys)


def test_kept_fractions_are_binomial_over_steps():
    fractions = [
        np.mean(np.asarray(random_bits(place_key(KEY, step, MASKS), 20, 224)) < 56361) for step in range(40)
    ]
    sd = np.sqrt(0.86 * 0.14 / (20 * 224))
    assert abs(np.mean(fractions) - 0.86) < 4 * sd / np.sqrt(40)
    assert 0.6 * sd < np.std(fractions) < 1.5 * sd


def test_epoch_order_puts_held_out_samples_last():
    weights = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    order = np.asarray(epoch_order(KEY, 0, weights))
    assert sorted(order[:4]) == [0, 2, 3, 5]
    assert sorted(order) == list(range(6))
    orders = {tuple(np.asarray(epoch_order(KEY, epoch, weights))[:4]) for epoch in range(20)}
    assert len(orders) > 10


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("shapes", [[(20, 2), (3, 20), (1, 3)], [(1, 1)], [(37, 5), (5, 37)]])
def test_normals_are_those_of_jax_random(shapes):
    key = replicate_key(7, 3)
    with one_generator():
        found = normals(key, shapes)
        for layer, (shape, drawn) in enumerate(zip(shapes, found, strict=True)):
            expected = jax.random.normal(jax.random.fold_in(key, layer), shape, jnp.float32)
            np.testing.assert_array_equal(drawn, expected)
