import jax
import numpy as np

import regjax
from regjax.core.data import check_data, pad_samples
from regjax.core.hparams import check_hparams
from regjax.tutorial import training
from regjax.tutorial.training import Networks, train_networks

CONFIG = regjax.Config(num_steps=20)


def networks(**options):
    samples = pad_samples(check_data(CONFIG, regjax.two_regions(jax.random.key(0))[0]))
    two = (check_hparams(CONFIG, regjax.HParams(learning_rate=rate)) for rate in (0.3, 0.1))
    hparams = jax.tree.map(lambda *leaves: np.stack(leaves), *two)
    return Networks(regjax.replicate_key(0), hparams, samples, **options)


def trained(stops, **options):
    return list(train_networks(networks(**options), stops, config=CONFIG))


def test_a_record_at_step_zero_and_at_every_stop():
    found = trained([5, 20])
    assert [step for step, _, _ in found] == [0, 5, 20]
    assert [record["step"].tolist() for _, _, record in found] == [[0, 0], [5, 5], [20, 20]]
    first, last = found[0][2], found[-1][2]
    assert first["cost"][0] == first["cost"][1]  # the same initial weights
    assert last["cost"][0] < last["cost"][1] < first["cost"][1]
    assert "test_loss" not in last


def test_how_a_run_is_cut_changes_no_bit():
    (_, whole, _), (_, pieces, _) = trained([20])[-1], trained([3, 4, 11, 20])[-1]
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)


def test_given_parameters_and_masks_are_used():
    params = tuple(
        regjax.Layer(np.full((fan_out, fan_in), 0.1, np.float32), np.zeros((fan_out, 1), np.float32))
        for fan_in, fan_out in ((2, 20), (20, 3), (3, 1))
    )
    off = (None, np.zeros((2, 20, 224), np.float32), np.ones((2, 3, 224), np.float32))
    found = trained([10], params=params, masks=off)
    np.testing.assert_array_equal(found[0][1][0].w[1], params[0].w)
    np.testing.assert_array_equal(found[-1][1][0].w, found[0][1][0].w)  # a layer that is off does not learn
    assert not np.array_equal(found[-1][1][2].b, found[0][1][2].b)


def test_other_stops_and_values_compile_nothing():
    trained([3])
    sizes = [f._cache_size() for f in (training._init, training._advance)]
    trained([1, 2, 17])
    list(train_networks(networks(), [4], config=regjax.Config(num_steps=9)))
    assert [f._cache_size() for f in (training._init, training._advance)] == sizes
