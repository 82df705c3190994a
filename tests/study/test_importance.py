"""Permutation importance: scikit-learn's numbers, units of evidence, and which samples are read."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.metrics import accuracy_score, log_loss, r2_score

import regjax
from regjax.core.data import Data
from regjax.study import importance as module
from regjax.study.comparison import unit_interval
from regjax.study.design import Design

CONFIG = {"hidden": (6,), "num_steps": 150, "eval_every": 50, "optimizer": "adam"}
GRID = {"l2": [0.01], "learning_rate": 0.03}


def samples(n=120, classes=2):
    """Four columns, of which the first says most and the last says nothing."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 4)) * [1, 3, 1, 100]
    score = 2 * X[:, 0] + X[:, 1] / 3 + 0.3 * X[:, 2]
    return X, score if classes == 0 else np.digitize(
        score, np.quantile(score, np.arange(1, classes) / classes)
    )


def swept(data=None, grid=GRID, **options):
    options = {"seeds": 2, "folds": 3, "standardize": True, "keep": "all", "progress": False} | options
    config = CONFIG | options.pop("config", {})
    return regjax.sweep(samples() if data is None else data, config, grid, **options)


@pytest.fixture(scope="module")
def results():
    return swept()


def weighted():
    """The same with weights from 0 to 2."""
    return Data.from_arrays(*samples(), np.linspace(0, 2, 120))


class Network:
    """The network of a row as an estimator."""

    def __init__(self, results, row):
        self.results, self.row, self.classes_ = results, row, np.unique(results.design.data.y)

    def fit(self, X, y):
        raise AssertionError("nothing is trained again")

    def predict(self, X):
        return self.results.predict(self.row, X)

    def predict_proba(self, X):
        return self.results.predict_proba(self.row, X)


SCORERS = {
    "val_accuracy": lambda net, X, y, **w: accuracy_score(y, net.predict(X), **w),
    "val_loss": lambda net, X, y, **w: -log_loss(y, net.predict_proba(X), **w),
    "val_r2": lambda net, X, y, **w: r2_score(y, net.predict(X), **w),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("metric", "options"),
    [
        ("val_accuracy", {}),
        ("val_loss", {"data": samples(classes=3), "config": {"dtype": "float64", "num_steps": 50}}),
        ("val_r2", {"data": samples(classes=0), "standardize": False, "config": {"hidden": ()}}),
        ("val_accuracy", {"data": weighted(), "grid": GRID | {"patience": 2}}),
        ("val_accuracy", {"folds": None, "validation": 0.3}),
    ],
)
def test_it_is_that_of_scikit_learn(metric, options):
    results = swept(**options)
    design = results.design
    found = results.importance(metric=metric, repeats=4, seed=3)
    each = []
    for row in range(len(results)):
        val = design.splits.val[design.row(row).fold]
        held = val > 0
        X, y = np.asarray(design.data.x).T[held], np.asarray(design.data.y)[0, held]
        weights = {"sample_weight": val[held]}
        expected = permutation_importance(
            Network(results, row), X, y, scoring=SCORERS[metric], n_repeats=4, random_state=3, **weights
        )
        each.append(expected.importances_mean)
    table = np.reshape(each, (2, design.num_folds, 4))
    units = table.mean(axis=0).T if design.num_folds > 1 else table[:, 0].T
    order = [int(name[1:]) - 1 for name in found.table["column"]]
    np.testing.assert_allclose(found.units, units[order], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.table["importance"], units[order].mean(axis=1), rtol=1e-4, atol=1e-6)


def test_what_matters_comes_first_with_the_interval_of_everything_else(results):
    found = results.importance()
    assert found.table["column"].tolist()[:2] == ["x1", "x2"]
    assert np.all(np.diff(found.table["importance"]) <= 0)
    for line, units in zip(found.table.to_dict("records"), found.units, strict=True):
        expected = unit_interval(results.design, units)
        assert (line["importance"], line["se"], line["low"]) == (expected.mean, expected.se, expected.low)
        assert line["family_low"] < line["low"] < line["high"] < line["family_high"]
    lines = found.table.set_index("column")
    assert lines.loc["x1", "low"] > 0
    assert lines.loc["x4", "low"] < 0 < lines.loc["x4", "high"]
    pd.testing.assert_frame_equal(results.importance().table, found.table)
    other = results.importance(seed=1).table
    assert other["importance"][0] == pytest.approx(found.table["importance"][0], abs=0.05)
    assert not other.equals(found.table)


@pytest.mark.parametrize("metric", ["val_loss", "val_balanced_accuracy", "val_roc_auc"])
def test_helping_is_positive_whichever_way_a_metric_goes(metric, results):
    assert results.importance(metric=metric).table["low"][0] > 0


def test_it_says_what_it_is_over(results):
    text = str(results.importance(repeats=2))
    first, *lines = text.splitlines()
    assert first == (
        "how much worse val_accuracy gets where a column is shuffled, l2=0.01, learning_rate=0.03, "
        "mean of 2 permutations, over 3 folds × 2 seeds (t, 2 df)"
    )
    assert lines[0].startswith("  x1  +0.")
    assert "], all at once [" in lines[0]
    assert "share their importance" in lines[4]
    one = swept(folds=None, validation=0.3).importance()
    assert one.over == "over 2 seeds on this one split: says nothing about other data"
    assert one.units.shape == (4, 2)
    alone = swept(folds=None, validation=0.3, seeds=1).importance()
    assert np.isnan(alone.table["low"]).all()
    assert "[" not in str(alone)


def test_the_inputs_of_a_column_move_together(monkeypatch):
    """A category as three inputs: no sample is ever of two levels, or of none."""
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3, 150)
    X = np.column_stack([np.eye(3)[level], rng.standard_normal(150)])
    results = swept((X, level == 1), standardize=False)
    design = results.design
    columns = {"level": (0, 1, 2), "noise": (3,)}
    monkeypatch.setattr(Design, "column_inputs", property(lambda self: columns))
    found = results.importance(repeats=1, seed=5)
    assert found.table["column"].tolist() == ["level", "noise"]
    random = np.random.RandomState(5).randint(2**31)
    drops = np.empty((2, 3))
    for seed, fold in np.ndindex(drops.shape):
        held = np.flatnonzero(design.splits.val[fold])
        order = np.arange(len(held))
        np.random.RandomState(random).shuffle(order)
        moved = X[held].copy()
        moved[:, :3] = moved[order, :3]
        row, y = design.index(0, seed, fold), level[held] == 1
        before, after = (np.mean(results.predict(row, x) == y) for x in (X[held], moved))
        drops[seed, fold] = before - after
    np.testing.assert_allclose(found.units[0], drops.mean(axis=0), atol=1e-6)


def test_only_held_out_samples_are_read():
    results = swept(folds=None, validation=0.3, standardize=False)
    design = results.design
    val = design.splits.val[0] > 0
    data = design.data._replace(x=np.where(val, design.data.x, np.nan), y=np.where(val, design.data.y, 1))
    other = dataclasses.replace(results, design=dataclasses.replace(design, data=data))
    pd.testing.assert_frame_equal(other.importance().table, results.importance().table)


def test_small_chunks_give_the_same(results, monkeypatch):
    expected = results.importance(metric="val_loss").units
    for budget in (1, 4 * 11 * 40 * 3):
        monkeypatch.setattr(module, "BUDGET", budget)
        np.testing.assert_allclose(
            results.importance(metric="val_loss").units, expected, rtol=1e-5, atol=1e-7
        )


def test_a_column_that_no_network_reads_has_no_spread():
    X, y = samples()
    found = swept((np.column_stack([X, np.ones(120)]), y)).importance()
    line = found.table.set_index("column").loc["x5"]
    assert line["importance"] == 0
    assert np.isnan(line["low"])


def test_missing_networks_are_said(results):
    rows = sorted(results.kept)
    some = {row: results.kept[row] for row in rows if results.design.row(row).fold < 2}
    found = dataclasses.replace(results, kept=some).importance()
    assert found.over == "over 2 folds × 2 seeds (t, 1 df)"
    assert found.notes[0].startswith("This rests on 4 of 6 networks in 2 of 3 folds: ")
    assert found.table["column"][0] == results.importance().table["column"][0] == "x1"
    np.testing.assert_array_equal(found.units[0], results.importance().units[0][:2])
    best = swept(keep="best").importance()
    assert best.notes[0].startswith("This rests on 1 of 6 networks in 1 of 3 folds")
    assert np.isnan(best.table["se"]).all()
    assert not best.has_intervals
    assert best.over == "in 1 fold, 1 seed: no interval"


def test_fewer_samples_are_said(results):
    found = results.importance(max_samples=20)
    assert found.notes[0] == "This rests on 20 of the held-out samples of a split, drawn at random."
    # A mean over 2 seeds and 10 permutations of shares of 20 samples.
    np.testing.assert_allclose(found.units * 400, np.round(found.units * 400), atol=1e-3)
    assert found.table["column"][0] == "x1"
    pd.testing.assert_frame_equal(results.importance(max_samples=1000).table, results.importance().table)
    assert len(results.importance(max_samples=1000).notes) == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"repeats": 0}, ValueError, "repeats must be at least 1, got 0"),
        ({"repeats": 1.5}, TypeError, "repeats must be a whole number, got 1.5"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"max_samples": 1}, ValueError, "max_samples must be at least 2, got 1"),
        ({"configuration": 1}, ValueError, "configuration must be a number from 0 to 0, got 1"),
        ({"configuration": -1}, ValueError, "configuration must be at least 0, got -1"),
        ({"configuration": "best"}, TypeError, "configuration must be a whole number, got 'best'"),
        ({"metric": "train_loss"}, ValueError, "metric must be one of val_loss"),
    ],
)
def test_bad_arguments(options, error, words, results):
    with pytest.raises(error, match=words):
        results.importance(**options)


@pytest.mark.nightly
def test_what_has_no_importance_says_why(results):
    with pytest.raises(ValueError, match="must have samples held out from training: sweep with folds=5"):
        swept(folds=None).importance()
    with pytest.raises(
        ValueError,
        match=r"parameters of the networks of configuration 0 \(l2=0.01, learning_rate=0.03\), got none: "
        "none was kept: sweep with keep='all'",
    ):
        dataclasses.replace(results, kept={}).importance()
    lost = dataclasses.replace(results, kept={}, diverged_at=np.full(6, 50))
    with pytest.raises(ValueError, match="got none: all of them diverged"):
        lost.importance(configuration=0)
