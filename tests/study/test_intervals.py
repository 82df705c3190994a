"""Intervals over folds and over seeds, and how figures are written, by hand and against SciPy."""

import math

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from regjax.core.data import Data
from regjax.data.splits import make_splits
from regjax.study import intervals


def test_fold_interval_by_hand():
    d = np.array([0.01, 0.03, 0.02, 0.06, -0.01])
    found = intervals.over_units(d, 1 / 5 + 20 / 80)
    se = math.sqrt(np.var(d, ddof=1) * (1 / 5 + 20 / 80))
    assert found.se == pytest.approx(se)
    assert found.df == 4
    assert found.high - found.mean == pytest.approx(2.7764451 * se)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(d.mean() / se, 4))


def test_seed_interval_is_the_paired_t():
    d = np.random.default_rng(0).normal(0.3, 1, 8)
    found = intervals.over_units(d, 1 / 8)
    reference = scipy.stats.ttest_1samp(d, 0)
    assert found.p == pytest.approx(reference.pvalue)
    np.testing.assert_allclose([found.low, found.high], reference.confidence_interval(0.95))


def test_no_spread_is_no_interval():
    for found in (intervals.over_units(np.full(8, 0.1), 1 / 8), intervals.over_units(np.array([0.2]), 1.25)):
        assert math.isnan(found.low)
        assert math.isnan(found.p)


def test_figures_are_rounded_to_what_the_interval_supports():
    assert intervals.rounded(6e-9, 0.02, "+") == "0.0"
    assert intervals.rounded(-0.00003, 0.0199) == "0.0"
    assert intervals.rounded(0.128944, 0.048, "+") == "+0.1289"
    assert intervals.rounded(0.1289, 0.48) == "0.129"
    assert intervals.rounded(1234.56, 310.0) == "1235"
    assert intervals.rounded(1.5e-9, 2e-10) == "1.50e-09"  # of targets in small units
    assert intervals.rounded(0.25, math.nan, "+") == "+0.2500"
    assert intervals.between(-0.01, 0.0213, 0.0157, "+") == "[-0.0100, +0.0213]"


def test_ends_are_shown_within_what_a_metric_can_be():
    assert intervals.shown_ends("val_accuracy", -0.02, 1.03) == (0.0, 1.0)
    assert intervals.shown_ends("val_r2", -0.2, 1.03) == (-0.2, 1.0)
    assert intervals.shown_ends("val_loss", -0.2, 1.03) == (-0.2, 1.03)


def test_sampling_terms_are_those_of_a_mean_drawn_anew():
    x = np.random.default_rng(0).random((3, 40))
    terms = intervals.sampling_terms(x, np.ones(40))
    np.testing.assert_allclose(np.sqrt(np.sum(terms**2, axis=1)), np.std(x, axis=1, ddof=1) / math.sqrt(40))
    assert np.isnan(intervals.sampling_terms(x[:, :1], np.ones(1))).all()


def ridge(X, y, strength):
    return np.linalg.solve(X.T @ X + strength * np.eye(X.shape[1]), X.T @ y)


@pytest.mark.parametrize("folds", [3, 5, 10])
@pytest.mark.parametrize(("memory", "drift"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.5)])
def test_intervals_over_forward_folds_hold_in_simulations_of_ridge_regression(folds, memory, drift):
    """Two penalties are compared on series of 120 samples; docs/intervals.md quotes the shares found."""
    rng, found = np.random.default_rng(0), []
    splits = make_splits(Data.from_arrays(np.zeros((120, 1)), np.arange(120.0)), folds, time=np.arange(120))
    parts = [(train > 0, val > 0) for train, val in zip(splits.train, splits.val, strict=True)]
    for _ in range(400):
        steps = rng.standard_normal((120, 9)) * [math.sqrt(1 - memory**2)]
        noise = scipy.signal.lfilter([1], [1, -memory], steps, axis=0)
        X = noise[:, :8]
        weights = 0.3 + drift * np.cumsum(rng.standard_normal(X.shape), axis=0) / math.sqrt(120)
        y = (X * weights).sum(axis=1) + 2 * noise[:, 8]
        loss = [
            [np.mean((y[val] - X[val] @ ridge(X[train], y[train], s)) ** 2) for s in (0.01, 30)]
            for train, val in parts
        ]
        differences = np.subtract(*np.transpose(loss))
        factor = 1 / folds + splits.num_val.mean() / splits.num_train.mean()
        found.append(intervals.over_units(differences, factor))
    truth = np.mean([each.mean for each in found])
    share = np.mean([each.low <= truth <= each.high for each in found])
    assert share >= 0.93
