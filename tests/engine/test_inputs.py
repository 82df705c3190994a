"""Inputs on the device for all chunks: the networks are those of inputs that travel with each task."""

import concurrent.futures

import numpy as np
import pytest
from cases import slow_but
from sweeps import assert_same, points

import regjax
from regjax.engine import inputs, scheduler
from regjax.engine.inputs import Inputs
from regjax.engine.tasks import replicates_of
from regjax.study.resolve import make_design

CONFIG = {"hidden": 6, "num_steps": 40, "eval_every": 20}
KINDS = {
    "the same for all folds": {"folds": 3},
    "each fold standardised": {"folds": 3, "standardize": True},
    "in minibatches": {"folds": 3, "standardize": True, "config": {"batch_size": 16}},
    "shared slots": {"folds": 3, "standardize": True, "config": {"batch_size": 16}, "l2": [0, 0.1, 1, 10]},
    "swapped values": {"folds": 2, "standardize": True, "config": {"batch_size": 16}, "swap_noise": [0.2]},
    "a test set, some stop early": {"folds": 3, "standardize": True, "test": 0.3, "patience": [None, 10]},
    "one split, some stop early": {"validation": 0.3, "standardize": True, "patience": [None, 10]},
    "one split, some stop early, in minibatches": {
        "validation": 0.3, "standardize": True, "patience": [None, 10], "config": {"batch_size": 16}
    },
    "nothing standardised, some stop early": {"folds": 3, "patience": [None, 10]},
    "of their own": {"folds": 2, "fold_inputs": True},
    "float64": {"folds": 3, "standardize": True, "config": {"dtype": "float64", "batch_size": 16}},
}  # fmt: skip


def trained(config=None, fold_inputs=False, l2=(0, 1), patience=(None,), swap_noise=(None,), **options):
    X, y = points(80, 3)
    if fold_inputs:
        options["fold_inputs"] = [X + 1, 2 * X]
    grid = {"l2": list(l2), "patience": list(patience), "swap_noise": list(swap_noise)}
    return regjax.sweep((X, y), CONFIG | (config or {}), grid, progress=False, **options)


def designed(**options):
    return make_design("two_regions", CONFIG, {"l2": [0, 1, 2]}, seeds=2, folds=4, test="none", **options)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.bits
@pytest.mark.parametrize("kind", slow_but(KINDS, {"in minibatches", "one split, some stop early"}))
def test_no_bit_depends_on_where_the_inputs_lie(kind, monkeypatch):
    options = KINDS[kind]
    on_device = trained(**options)
    monkeypatch.setattr(inputs, "INPUTS_BUDGET", 0)
    monkeypatch.setattr(Inputs, "fit", False)
    assert_same(on_device, trained(**options))


@pytest.mark.nightly
def test_a_row_that_stops_early_sees_its_own_inputs_beside_rows_that_do_not():
    together = trained(validation=0.3, standardize=True, l2=(0,), patience=(None, 10))
    alone = trained(validation=0.3, standardize=True, l2=(0,), patience=(10,))
    assert [c["patience"] for c in together.design.configurations] == [np.inf, 10]
    for name, values in alone.records.items():
        np.testing.assert_array_equal(together.records[name][1], values[0])


def test_folds_are_put_on_the_device_once(monkeypatch):
    put = []
    monkeypatch.setattr(Inputs, "_put", lambda self, arrays: put.append(len(arrays)) or np.stack(arrays))
    design = designed(standardize=True)
    placed = Inputs(design)
    for rows in ([0, 5], [23, 8], [3, 3]):
        found = replicates_of(design, np.array(rows), placed, in_batches=True)
        assert found.x.shape[0] == found.rows.shape[0] == 4
        for fold, row in zip(found.fold, rows, strict=True):
            np.testing.assert_array_equal(found.x[fold], design.inputs(row % 4)[0])
            np.testing.assert_array_equal(found.rows[fold], design.inputs(row % 4)[0].T)
    assert put == [4, 4]


def test_too_many_bytes_are_not_put_there(monkeypatch):
    design = designed(standardize=True)
    assert Inputs(design).fit
    monkeypatch.setattr(inputs, "INPUTS_BUDGET", 100)
    assert not Inputs(design).fit
    assert Inputs(designed(standardize=False)).fit  # of one kind, as they are anyway


def test_a_users_executor_gets_inputs_with_its_tasks(monkeypatch):
    tasks, real = [], scheduler.run_task
    monkeypatch.setattr(scheduler, "run_task", lambda task: tasks.append(task) or real(task))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        trained(folds=2, standardize=True, executor=pool)
    assert all(task.replicates.fold is None and isinstance(task.replicates.x, np.ndarray) for task in tasks)
