"""Orders drawn before the loop: those that the loop draws, wherever a segment is cut."""

import jax
import numpy as np
import pytest
from chunks import assert_same_states, make_chunk
from hypothesis import given
from hypothesis import strategies as st

import regjax
from regjax.core.random import as_key, epoch_order
from regjax.engine.lanes import advance_lanes
from regjax.engine.orders import MOST_AT_ONCE, epochs_at_once, orders_of_lanes, pieces, sorted_places

BATCHES = {"equal": {"batches": "equal"}, "all": {"batches": "all"}, "in order": {"shuffle": False}}


def configured(**settings):
    return regjax.Config(layer_sizes=(5, 7, 3), batch_size=8, **settings).program()


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("settings", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("shared", [True, False])
def test_a_segment_in_pieces_has_the_bits_of_one_that_draws_its_own_orders(settings, shared):
    config = configured(**settings)
    chunk = make_chunk(config, shared=shared)
    replicates, hparams, states, num_batches = chunk
    assert num_batches == 3
    start, stop = 4, 17  # from inside an epoch to inside another
    rest = num_batches, stop

    def advance(given, states, *steps):
        return advance_lanes(given, hparams, jax.tree.map(np.copy, states), *steps, *rest, config=config)

    whole, cut = advance(replicates, states, start, stop), states
    found = pieces(replicates, start, stop, num_batches, epochs=2, config=config)
    steps = []
    for given_orders, first, last in found:
        cut = advance(given_orders, cut, first, last)
        steps.append((first, last))
    assert steps == [(4, 9), (9, 15), (15, 17)]
    assert_same_states(jax.tree.map(np.array, whole), jax.tree.map(np.array, cut))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("shared", [True, False])
def test_both_ways_draw_the_order_of_an_epoch(shared):
    config = configured()
    replicates = make_chunk(config, shared=shared).replicates
    ((ahead, _, _),) = pieces(replicates, 15, 16, 3, epochs=4, config=config)
    of_device = orders_of_lanes(replicates, 5, epochs=4, config=config)
    np.testing.assert_array_equal(ahead.orders, of_device)
    key = replicates.key[(1,) * (replicates.key.ndim - 1)]
    weights = replicates.train[(1,) * (replicates.key.ndim - 1)]
    for epoch in (5, 6, 7, 8):
        order = epoch_order(as_key(key), epoch, jax.numpy.asarray(weights))
        np.testing.assert_array_equal(ahead.orders[(1,) * (replicates.key.ndim - 1)][epoch % 4], order)


@given(st.lists(st.sampled_from([0.0, 1e-30, 0.25, 0.5, 2.0]), min_size=1, max_size=40))
def test_equal_numbers_keep_their_order(numbers):
    places = np.array([numbers, numbers[::-1]], np.float32)
    np.testing.assert_array_equal(sorted_places(places), np.argsort(places, axis=-1, kind="stable"))
    assert sorted_places(places).dtype == np.int32


@pytest.mark.slow
@given(st.integers(1, 1000), st.integers(1, 10**7), st.integers(1, 10**5))
def test_as_many_epochs_as_a_segment_has_and_no_more_than_fit(num_batches, num_samples, longest):
    found = epochs_at_once(num_batches, num_samples, longest)
    assert found == 1 or found * num_samples <= MOST_AT_ONCE
    assert found < 4 * (longest // num_batches + 2)
