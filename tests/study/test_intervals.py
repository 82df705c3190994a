"""Intervals over folds and over seeds, and corrections for many differences, by hand and against SciPy."""

import math

import numpy as np
import pytest
import scipy.signal
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from regjax.core.data import Data
from regjax.data.splits import make_splits
from regjax.study import intervals


def test_fold_interval_by_hand():
    d = np.array([0.01, 0.03, 0.02, 0.06, -0.01])
    found = intervals.over_folds(d, num_val=20, num_train=80)
    se = math.sqrt(np.var(d, ddof=1) * (1 / 5 + 20 / 80))
    assert found.se == pytest.approx(se)
    assert found.df == 4
    assert found.high - found.mean == pytest.approx(2.7764451 * se)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(d.mean() / se, 4))


def test_seed_interval_is_the_paired_t():
    d = np.random.default_rng(0).normal(0.3, 1, 8)
    found = intervals.over_seeds(d)
    reference = scipy.stats.ttest_1samp(d, 0)
    assert found.p == pytest.approx(reference.pvalue)
    np.testing.assert_allclose([found.low, found.high], reference.confidence_interval(0.95))


def test_no_spread_is_no_interval():
    for found in (intervals.over_seeds(np.full(8, 0.1)), intervals.over_folds(np.array([0.2]), 1, 4)):
        assert math.isnan(found.low)
        assert math.isnan(found.p)


def test_holm_by_hand():
    found = intervals.holm(np.array([0.01, math.nan, 0.04, 0.03]))
    np.testing.assert_allclose(found, [0.03, math.nan, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_and_keeps_the_order(p):
    adjusted = intervals.holm(np.array(p))
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


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
        found.append(intervals.over_folds(differences, splits.num_val.mean(), splits.num_train.mean()))
    truth = np.mean([each.mean for each in found])
    share = np.mean([each.low <= truth <= each.high for each in found])
    assert share >= 0.93
