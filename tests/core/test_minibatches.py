import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.data import Data
from regjax.core.minibatches import batches_per_epoch, make_batches

KEY = regjax.replicate_key(4)
WEIGHTS = jnp.asarray([1.0, 2.0, 0.0, 1.0, 1.0, 0.0, 0.5, 0.5])
DATA = Data(jnp.arange(8.0)[None], jnp.asarray([[0, 1] * 4]), WEIGHTS)


def batches(num_steps, **settings):
    """Returns the samples of each batch that have a weight, and the sizes of the batches, as lists."""
    config = regjax.Config(layer_sizes=(1, 1), **settings)
    next_batch = make_batches(KEY, DATA, WEIGHTS, config, batches_per_epoch(WEIGHTS, config), None)
    found, order = [], None
    for step in range(num_steps):
        batch, sizes, order = next_batch(jnp.asarray(step), order)
        found.append((batch.x[0][batch.weights > 0].astype(int).tolist(), [float(size) for size in sizes]))
    return found


def test_a_full_batch_is_the_data():
    assert batches(2) == [([0, 1, 3, 4, 6, 7], [6, 6])] * 2


def test_equal_batches_leave_the_remainder_of_an_epoch_out():
    (one, sizes), (other, _) = batches(2, batch_size=4)
    assert sizes == [4, 6]
    assert set(one) | set(other) <= {0, 1, 3, 4, 6, 7}
    assert one != other  # 6 samples are one batch of 4 in an epoch: the second batch is of the next epoch


def test_all_batches_hold_every_sample_of_an_epoch_once():
    (one, sizes), (other, rest) = batches(2, batch_size=4, batches="all")
    assert (len(one), len(other)) == (4, 2)
    assert sorted(one + other) == [0, 1, 3, 4, 6, 7]
    np.testing.assert_allclose(sizes, float(WEIGHTS[np.array(one)].sum()))
    np.testing.assert_allclose(rest, float(WEIGHTS[np.array(other)].sum()))
    assert batches(2, batch_size=4, batches="all", shuffle=False)[0][0] == [0, 1, 3, 4]


@pytest.mark.parametrize(("kind", "expected"), [("equal", 1), ("all", 2)])
def test_batches_of_an_epoch_are_counted_over_the_samples_that_have_a_weight(kind, expected):
    config = regjax.Config(layer_sizes=(1, 1), batch_size=4, batches=kind)
    assert int(batches_per_epoch(WEIGHTS, config)) == expected
