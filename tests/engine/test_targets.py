"""Standardised targets: networks train on numbers near 1, and everything reported is in the targets' unit."""

import re

import numpy as np
import pytest
from cases import slow_but
from stores import stop_after
from sweeps import assert_same, leaves

import regjax
from regjax.core.metrics import REAL_METRICS, without_split
from regjax.engine import pace, scheduler
from regjax.engine.lanes import advance_lanes, measure_lanes
from regjax.engine.recorder import POWERS
from regjax.engine.replay import replay
from regjax.engine.tasks import replicates_of
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design

CONFIG = {"hidden": (4,), "num_steps": 20, "eval_every": 10, "dtype": "float64"}
GRID = {"l2": [0, 0.1], "learning_rate": 0.05}


def real_points(n=60, outputs=1, seed=0):
    """Features, and targets far from 0 in units of about 100, the outputs' spreads unlike."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    y = X @ rng.standard_normal((3, outputs)) + 0.3 * rng.standard_normal((n, outputs))
    y = 300 + 100 * y * np.arange(1, outputs + 1)
    return X, y[:, 0] if outputs == 1 else y


def sweep(X, y, **options):
    """Returns the results of samples of unlike weights."""
    return sweep_of(
        regjax.Data.from_arrays(X, y, np.linspace(0.5, 1.5, len(y)), task="regression"), **options
    )


def sweep_of(data, config=None, grid=None, **options):
    options = {"seeds": 2, "folds": 3, "progress": False} | options
    return regjax.sweep(data, CONFIG | (config or {}), grid or GRID, **options)


def by_hand(values, samples, weights):
    """The mean of each target and one scale, by weighted sums over the samples that a network trains on."""
    values, weights = values.reshape(len(values), -1)[samples], weights[samples] / weights[samples].sum()
    mean = (weights[:, None] * values).sum(axis=0)
    return mean, np.sqrt((weights[:, None] * (values - mean) ** 2).sum(axis=0).mean())


CASES = {
    "full batches, one split": {"folds": None, "validation": 0.3},
    "folds and a test set": {"test": 0.2},
    "several outputs": {"outputs": 3},
    "minibatches": {"config": {"batch_size": 8, "optimizer": "adam"}},
    "patience": {"grid": {"l2": 0.1, "learning_rate": 0.3, "patience": 5}, "config": {"eval_every": 2}},
    "patience on one split": {
        "folds": None, "validation": 0.3, "config": {"eval_every": 2},
        "grid": {"l2": 0.1, "learning_rate": 0.3, "patience": [None, 5]},
    },
    "a score that stops": {"config": {"stop_on": "score", "batch_size": 8}, "grid": {"n_iter_no_change": 2}},
    "an average": {"grid": {"ema_decay": 0.9, "learning_rate": 0.05}},
}  # fmt: skip


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("case", slow_but(CASES, list(CASES)[::3]))
def test_a_sweep_is_training_on_targets_standardised_by_hand(case):
    options = dict(CASES[case])
    X, y = real_points(outputs=options.pop("outputs", 1))
    found = sweep(X, y, standardize_target=True, **options)
    design = found.design
    # With a fraction split off, the samples of the design are those that are left.
    x, y, weights = (np.asarray(leaf) for leaf in design.data)
    test = design.test
    done = set()
    for index in range(len(found)):
        row = design.row(index)
        kind = (row.fold, design.stops_early(row.configuration))
        if kind in done:
            continue
        done.add(kind)
        samples = design.splits.trains(*kind) > 0
        mean, scale = by_hand(y.T, samples, weights)
        own = regjax.Data(x, (y - mean[:, None]) / scale, weights)
        tested = None if test is None else test._replace(y=(test.y - mean[:, None]) / scale)
        hand = sweep_of(own, **options | {"test": tested})
        assert found.records.keys() == hand.records.keys()
        rows = [
            other
            for other in range(len(found))
            if (design.row(other).fold, design.stops_early(design.row(other).configuration)) == kind
        ]
        for name in found.records:
            unit = scale ** POWERS[without_split(name)]
            np.testing.assert_allclose(found.records[name][rows], unit * hand.records[name][rows], rtol=1e-6)
        np.testing.assert_array_equal(found.stopped_at[rows], hand.stopped_at[rows])
        for other in rows:
            for a, b in zip(leaves_of(found, other), leaves_of(hand, other), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
            predicted = mean + scale * hand.predict(other, x.T).reshape(-1, len(mean))
            np.testing.assert_allclose(
                found.predict(other, x.T).reshape(-1, len(mean)), predicted, rtol=1e-6, atol=1e-6
            )
        if found.examples is not None:
            for name in ("loss", "square"):
                np.testing.assert_allclose(
                    found.examples[name][rows], scale**2 * hand.examples[name][rows], rtol=1e-6
                )
            errors = (found.predict(rows[0], x.T).reshape(len(mean), -1) - y)[:, design.splits.val[0] > 0]
            np.testing.assert_allclose(found.examples["square"][rows[0]], (errors**2).mean(axis=0))
    assert len(done) >= design.num_folds


def leaves_of(results, row):
    return [leaf for layer in results.params(row) for leaf in layer]


def test_recorded_metrics_are_those_of_the_predictions():
    X, y = real_points(outputs=2)
    found = sweep(X, y, standardize_target=True)
    for row in (0, len(found) - 1):
        held = found.design.splits.val[found.design.row(row).fold]
        error = np.average((found.predict(row, X) - y) ** 2, axis=0, weights=held)
        spread = np.average((y - np.average(y, axis=0, weights=held)) ** 2, axis=0, weights=held)
        np.testing.assert_allclose(found.values("val_loss")[row], error.sum() / 2)
        np.testing.assert_allclose(found.values("val_rmse")[row], np.sqrt(error).mean())
        np.testing.assert_allclose(found.values("val_r2")[row], (1 - error / spread).mean())
    # One seed's ensemble is its network.
    one = sweep(X, y, standardize_target=True, seeds=1)
    np.testing.assert_allclose(one.ensemble("val_loss"), one.table("val_loss")[:, 0])


def test_another_unit_of_the_targets_is_another_unit_of_the_results_and_nothing_else():
    X, y = real_points()
    one, other = (
        sweep(X, values, standardize_target=True, folds=None, validation=0.3) for values in (y, 1000 * y + 5)
    )
    assert {without_split(name) for name in one.records} == {*REAL_METRICS, "cost"}
    for name in one.records:
        unit = {"loss": 1e6, "cost": 1e6, "rmse": 1e3, "r2": 1}[without_split(name)]
        np.testing.assert_allclose(other.records[name], unit * one.records[name], rtol=1e-7)
    np.testing.assert_allclose(other.predict(0, X), 1000 * one.predict(0, X) + 5)
    np.testing.assert_allclose(
        other.predict(0, X, ensemble=True), 1000 * one.predict(0, X, ensemble=True) + 5
    )
    np.testing.assert_allclose(other.examples["square"], 1e6 * one.examples["square"], rtol=1e-6)
    assert one.best().configuration == other.best().configuration


@pytest.mark.nightly
@pytest.mark.parametrize("huge", [1e6, 1e30])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"grid": {"patience": 5, "keep_prob": 0.9}}, marks=pytest.mark.slow),
        {"config": {"batch_size": 8, "dtype": "float32"}},
    ],
)
@pytest.mark.bits
def test_held_out_targets_change_no_parameter_by_a_bit(options, huge):
    X, y = real_points()
    y /= 1e20  # far below 1, so that a huge target is beyond float32 once it is standardised
    changed = y.copy()
    changed[40:] = huge
    folds = [(np.arange(40), np.arange(40, 60)), (np.arange(5, 40), np.arange(40, 60))]
    for cut in (folds, folds[:1]):
        one, other = (sweep(X, v, standardize_target=True, folds=cut, **options) for v in (y, changed))
        for a, b in zip(leaves(one), leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)
        assert (other.diverged_at < 0).all()
        np.testing.assert_array_equal(one.records["train_cost"], other.records["train_cost"])


def test_a_network_diverges_by_what_it_computes_and_not_by_its_unit():
    X, y = real_points()
    config = {"dtype": "float32"}
    grid = {"learning_rate": [0.05, 1e30]}
    for unit in (1e-25, 1, 1e30):  # the squares of the ends are beyond float32
        found = sweep(X, unit * y, config=config, grid=grid, standardize_target=True)
        assert (found.diverged_at.reshape(2, -1) >= 0).all(axis=1).tolist() == [False, True]
        assert (found.diverged_at.reshape(2, -1)[0] < 0).all()
        scores = found.values("val_loss")[:6] / unit**2
        assert np.isfinite(scores).all()
        assert (scores > 0).all()
        assert np.isfinite(found.last_finite_cost[6:]).all()
        np.testing.assert_allclose(found.last_finite_cost[6:], found.records["train_cost"][6:, 0])


def test_constant_targets_are_only_moved():
    X, _ = real_points()
    found = sweep(X, np.full(60, 1e5), standardize_target=True)
    np.testing.assert_allclose(found.predict(0, X), 1e5, atol=2)
    assert np.isfinite(found.values("val_rmse")).all()


@pytest.mark.slow
def test_early_stopping_puts_back_the_record_of_the_lowest_loss():
    """Losses that differ in the last bit of float32 must not become equal when they are scaled."""
    X, y = real_points()
    config = {"dtype": "float32", "eval_every": 1, "num_steps": 60}
    found = sweep(
        X, y * 1.9, config=config, grid={"patience": 100, "learning_rate": 0.3}, standardize_target=True
    )
    for row in range(len(found)):
        fold = found.design.row(row).fold
        error = (found.predict(row, X) - 1.9 * y) ** 2 / 2
        loss = np.average(error, weights=found.design.splits.stop[fold])
        np.testing.assert_allclose(found.values("stop_loss")[row], loss, rtol=1e-5)
    assert found.records["stop_loss"].dtype == np.float64
    assert found.params(0)[0].w.dtype == np.float32


@pytest.mark.nightly
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"config": {"dtype": "float32"}}, marks=pytest.mark.slow),
        {"folds": None, "validation": 0.3, "grid": {"patience": [None, 6], "learning_rate": 0.3}},
    ],
)
@pytest.mark.bits
def test_a_store_gives_back_and_replays_the_same_bits(options, tmp_path):
    X, y = real_points(outputs=2)
    path = tmp_path / "runs.sqlite"
    found = sweep(X, y, standardize_target=True, store=path, **options)
    again = regjax.load(path)
    assert again.design.standardize_target
    assert_same(found, again)
    for name in found.records:
        assert found.records[name].dtype == again.records[name].dtype == np.float64
    if found.examples is not None:
        for name in found.examples:
            np.testing.assert_array_equal(found.examples[name], again.examples[name])
    np.testing.assert_array_equal(found.last_finite_cost, again.last_finite_cost)
    np.testing.assert_array_equal(found.predict(1, X), again.predict(1, X))
    for row in range(len(found)):
        assert replay(path, row).same, row
    # Nothing is trained again: the seconds are those of the first time.
    np.testing.assert_array_equal(
        found.seconds, sweep(X, y, standardize_target=True, store=path, **options).seconds
    )
    assert not np.isin(sweep(X, y, store=path, **options).seconds, found.seconds).any()


@pytest.mark.nightly
@pytest.mark.bits
def test_an_interrupted_sweep_ends_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)  # a record per task
    X, y = real_points()
    options = {
        "config": {"dtype": "float32", "batch_size": 8, "eval_every": 4},
        "grid": {"patience": 8, "learning_rate": [0.05, 0.1, 0.3]},
        "standardize_target": True,
    }
    plain = sweep(X, y, **options)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    path = tmp_path / "runs.sqlite"
    for moment in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            sweep(X, y, store=path, **options | {"progress": stop_after(moment)})
    assert_same(plain, sweep(X, y, store=path, **options))
    assert_same(plain, regjax.load(path))


def test_targets_have_leading_axes_only_where_folds_have_their_own():
    X, y = real_points()

    def of(standardize_target, **options):
        design = make_design((X, y), CONFIG, GRID, standardize_target=standardize_target, **options)
        rows = np.arange(design.num_rows)
        return design, replicates_of(design, rows)

    design, found = of(False, folds=3, test=0.2)
    assert design.padded_test is not None
    assert found.y is design.padded.y  # nothing is copied
    assert found.test_y is design.padded_test.y
    assert (found.axes(0).y, found.axes(0).test_y) == (None, None)
    design, found = of(True, folds=3, test=0.2)
    assert design.padded_test is not None
    assert found.y.shape == (6, 1, design.padded.y.shape[1])
    assert found.test_y.shape == (6, 1, design.padded_test.y.shape[1])
    assert (found.axes(0).y, found.axes(0).test_y, found.axes(None).y) == (0, 0, None)
    assert found.x.ndim == 2
    _, found = of(True, validation=0.3)
    assert found.y.ndim == 2


@pytest.mark.slow
@pytest.mark.bits
def test_one_split_of_standardised_targets_compiles_nothing_of_its_own():
    X, y = real_points()
    options = {"folds": None, "validation": 0.3}
    sweep(X, y, **options)
    before = advance_lanes._cache_size(), measure_lanes._cache_size()
    found = sweep(X, y, standardize_target=True, **options)
    assert (advance_lanes._cache_size(), measure_lanes._cache_size()) == before
    assert found.design.targets(0)[0].max() < 10


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_the_plan_counts_the_targets_of_each_fold(backend):
    designs = [
        make_design(real_points(outputs=3), CONFIG, GRID, folds=5, standardize_target=on)
        for on in (False, True)
    ]
    plain, own = (make_plan(design, backend=backend) for design in designs)
    assert own.memory["data"] - plain.memory["data"] == 5 * 3 * 64 * 8
    # The chunks in work are in the accelerator's own memory.
    in_work = [plan.on_device or plan.memory["chunks in work"] for plan in (plain, own)]
    assert in_work[1] > in_work[0]


def test_classes_have_no_targets_to_standardise():
    for data, config in [("two_regions", {}), ("iris", {"loss": "softmax_cross_entropy"})]:
        with pytest.raises(ValueError, match=re.escape("standardize_target must be used with real targets")):
            make_design(data, config, standardize_target=True)
    with pytest.raises(TypeError, match="standardize_target must be True, False or None, got 1"):
        make_design("diabetes", standardize_target=1)
