"""Intervals over folds and over seeds, and corrections for many differences, by hand and against SciPy."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

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
