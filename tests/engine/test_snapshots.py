"""Snapshots: a row is trained again, and its parameters are read on the way."""

import dataclasses

import jax
import numpy as np
import pytest

import regjax
from regjax.engine.snapshots import snapshots, spread

CONFIG = {"hidden": (4,), "num_steps": 40, "eval_every": 10}
GRID = {"l2": [0, 0.1], "keep_prob": [1, 0.8], "learning_rate": [0.1, 0.3]}


def swept(grid=GRID, config=CONFIG, **options):
    options = {"seeds": 2, "folds": 2, "keep": "all", "progress": False} | options
    return regjax.sweep("moons", config, grid, **options)


def assert_same(one, other):
    for here, there in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert here.dtype == there.dtype
        np.testing.assert_array_equal(here, there)


@pytest.mark.nightly
@pytest.mark.bits
def test_the_last_snapshot_is_the_row_and_each_other_one_a_shorter_run():
    results = swept()
    shorter = {steps: swept(config=CONFIG | {"num_steps": steps}) for steps in (10, 20, 30)}
    for row in (0, 13, len(results) - 1):
        found = snapshots(results, row)
        assert found.steps == (0, 10, 20, 30, 40)
        assert found.same
        assert_same(found.params[-1], results.kept[row])
        for step, params in zip(found.steps[1:-1], found.params[1:-1], strict=True):
            assert_same(params, shorter[step].kept[row])
        seed, fold = results.design.row(row)[1:]
        assert_same(found.params[0], regjax.init_params(regjax.replicate_key(seed, fold), (2, 4, 1)))


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize(
    ("grid", "config"),
    [
        ([{"patience": 20, "learning_rate": 3}], {"num_steps": 200}),
        ([{"ema_decay": 0.9}], {"batch_size": 32}),
        ([{"l1": 0.1, "input_noise": 0.1}], {"optimizer": "adam", "eval_every": 15}),
    ],
)
def test_bits_with_patience_averages_batches_and_other_optimizers(grid, config):
    results = swept(grid, CONFIG | config, seeds=1)
    found = snapshots(results, 1)
    assert found.same
    stopped = int(results.stopped_at[1])
    assert found.steps[-1] == (stopped if stopped >= 0 else results.steps(0)[-1])
    assert list(found.steps) == sorted(set(found.steps))
    shorter = swept(grid, CONFIG | config | {"num_steps": found.steps[1]}, seeds=1)
    assert_same(found.params[1], shorter.kept[1])


@pytest.mark.nightly
def test_a_store_gives_the_same_and_another_network_is_noticed(tmp_path):
    swept(store=tmp_path / "runs.sqlite")
    results = regjax.load(tmp_path / "runs.sqlite")
    found = snapshots(results, 3)
    assert found.same
    assert_same(found.params[-1], results.kept[3])
    other = dataclasses.replace(results, kept=results.kept | {3: results.kept[4]})
    assert not snapshots(other, 3).same


@pytest.mark.slow
def test_there_are_as_many_as_asked_and_closer_at_the_beginning():
    results = swept({"l2": 0}, CONFIG | {"eval_every": 1}, seeds=1)
    steps = list(snapshots(results, 0, most=8).steps)
    assert len(steps) <= 8
    assert (steps[0], steps[-1]) == (0, 40)
    gaps = np.diff(steps[:-1])
    assert (np.diff(gaps) >= 0).all()
    assert snapshots(results, 0, most=2).steps == (0, 40)
    for count in range(30):
        for most in range(1, 12):
            places = spread(count, most)
            assert len(places) <= min(count, most)
            assert places == sorted(set(places))
            assert count == 0 or places[-1] == count - 1 or most == 1
