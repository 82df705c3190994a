"""The recorder: which records count, which row diverged or stopped when, whose parameters are kept."""

import numpy as np
import pytest
from sweeps import made_up

import regjax
from regjax.core.mlp import Layer
from regjax.engine.recorder import Recorder
from regjax.store.codec import leaves, pack
from regjax.store.store import Row

pytestmark = pytest.mark.bits

CONFIG = regjax.Config(layer_sizes=(2, 1), num_steps=10, eval_every=10)
HERE = '{"device": "cpu"}'


def recorder(keep="all", configurations=2):
    scores, grid = np.zeros((configurations, 2, 1)), {"l2": list(range(configurations))}
    return Recorder(made_up(scores, grid, validation=0.3).design, keep)


def params(value):
    return (Layer(np.full((1, 2), value, np.float32), np.zeros((1, 1), np.float32)),)


def record(found, rows, steps, finite, cost, **others):
    values = {"finite": np.array(finite), "train_cost": np.array(cost, np.float32)} | others
    found.record(np.array(rows), np.array(steps), values, CONFIG)


def test_a_row_diverges_at_its_first_record_that_is_not_finite():
    found = recorder()
    record(found, [1, 2], [0, 10], [[True, True], [False, True]], [[3, 4], [np.nan, 2]])
    assert found.diverged_at.tolist() == [-1, 10, -1, -1]
    assert found.last_finite_cost[1] == 3
    assert np.isnan(found.last_finite_cost[[0, 2, 3]]).all()
    np.testing.assert_array_equal(found.records["train_cost"][[1, 2]], [[3, np.nan], [4, 2]])
    assert found.finished.tolist() == [False, True, False, False]


def test_a_record_after_one_that_is_not_finite_does_not_count():
    found = recorder()
    record(found, [0], [0, 10], [[False], [True]], [[np.nan], [1.0]])
    assert found.diverged_at[0] == 0
    assert np.isnan(found.records["train_cost"][0]).all()
    assert np.isnan(found.last_finite_cost[0])


def test_records_after_a_stop_do_not_count_though_they_are_not_finite():
    found = recorder()
    stopped = np.array([[True, False], [True, True]])
    record(found, [0, 3], [0, 10], [[True, True], [False, True]], [[1, 2], [9, 3]], stopped=stopped)
    assert found.stopped_at.tolist() == [0, -1, -1, 10]
    assert (found.diverged_at == -1).all()
    np.testing.assert_array_equal(found.records["train_cost"][[0, 3]], [[1, np.nan], [2, 3]])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_the_best_row_of_each_configuration_is_kept_in_whatever_order_they_finish(order):
    found = recorder("best")
    scores = np.array([[0.5, 0.7, 0.6, 0.6]], np.float32)
    for row in order:
        one = {"val_accuracy": np.repeat(scores[:, [row]], 2, axis=0)}
        record(found, [row], [0, 10], [[True], [True]], [[1], [1]], **one)
        found.finish(row, params(row), None)
    assert sorted(found.kept) == [1, 2]  # of equal scores the lower row
    assert found.kept[1][0].w[0, 0] == 1


def test_none_are_kept_where_none_are_asked_for():
    found = recorder("none")
    found.finish(0, params(0), None)
    assert found.kept == {}
    assert found.finished[0]


def test_seconds_add_up_and_provenance_says_where_a_row_went_on():
    found = recorder()
    found.trained(np.array([0, 1]), 0, 0.5, HERE)
    found.trained(np.array([0]), 10, 0.25, HERE)
    found.trained(np.array([1]), 10, 0.25, '{"device": "gpu"}')
    assert found.seconds[:2].tolist() == [0.75, 0.75]
    assert found.provenance[0] == HERE
    assert '"from_step": 10' in found.provenance[1]


def test_a_stored_row_is_recalled_as_it_was():
    found = recorder()
    score = np.arange(3.0)
    arrays = {"records/train_cost": np.array([2, 1], np.float32), "examples/right": score}
    content = pack(arrays | leaves("params", params(7)))
    found.recall(2, Row(-1, -1, np.nan, 1.5, HERE, {}, content))
    np.testing.assert_array_equal(found.records["train_cost"][2], [2, 1])
    assert found.kept[2][0].w[0, 1] == 7
    np.testing.assert_array_equal(found.examples["right"][2], score)
    assert (found.seconds[2], found.finished[2], found.without_params) == (1.5, True, 0)
    # One that diverged has no parameters; one whose sweep kept none lacks them.
    bare = pack({"records/train_cost": np.array([2, np.nan], np.float32)})
    found.recall(1, Row(10, -1, 2.0, 1.0, HERE, {}, bare))
    assert (found.diverged_at[1], found.last_finite_cost[1], found.without_params) == (10, 2.0, 0)
    found.recall(0, Row(-1, -1, np.nan, 1.0, '{"device": "gpu"}', {}, bare))
    assert found.without_params == 1
    found.recall(3, Row(10, -1, 2.0, 1.0, HERE, {}, bare))
    notes = found.results(None, 0.0, 0.0, ["a note"]).notes
    assert notes[0] == "a note"
    assert notes[-1] == "the parameters of 1 networks are not in the store"
    assert "3 networks ran on device cpu" in notes


def test_arrays_of_a_row_are_its_own_records_alone():
    found = recorder()
    values = {name: np.ones((2, 1)) for name in ("stop_loss", "val_loss_last")}
    record(found, [0], [0, 10], [[True], [True]], [[2], [1]], **values)
    assert list(found.arrays([0, 1], CONFIG)) == ["records/train_cost"]
    assert found.arrays([0, 1], CONFIG)["records/train_cost"].shape == (2, 2)
