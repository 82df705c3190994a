"""Power of comparisons: against SciPy's noncentral t, by hand, and in simulations of normal differences."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sweeps import made_up

from regjax.study import intervals
from regjax.study import power as of
from regjax.study.power import Components, Extent, Requirement

FIVE = Extent("folds", 5, 1, 2, 0.25, can_repeat=True)
SPLIT = Extent("seeds", 1, 1, 8, 0.0)


@pytest.mark.parametrize("df", [1, 4, 9.5, 49])
@pytest.mark.parametrize("num", [1, 19, 500])
def test_power_is_the_tail_of_a_noncentral_t(df, num):
    reach = of.reach_of(num, df)
    for ratio in (0.0, 0.5, 2.0, 5.0, 16.0):
        reference = scipy.stats.nct.sf(reach, df, ratio)
        assert of.power(0.3 * ratio, 0.3, df, reach) == pytest.approx(reference, abs=5e-4)


def test_power_by_hand():
    # With many degrees of freedom the t is normal: 1.96 + 0.8416 standard errors are shown in 80 %.
    assert of.power(1.96 + 0.8416, 1.0, 1e7, 1.96) == pytest.approx(0.8, abs=1e-4)
    assert of.detectable(0.01, 1e7, 1.96) == pytest.approx(0.028016, abs=1e-5)
    # Where the mean varies less than its standard error says, half is shown at the reach all the same.
    assert of.power(1.96, 1.0, 1e7, 1.96, sd=0.1) == pytest.approx(0.5, abs=1e-3)
    assert of.power(2.2, 1.0, 1e7, 1.96, sd=0.1) > 0.99
    # The sign of the difference does not matter, and no difference is shown in half of 5 %.
    assert of.power(-2.0, 1.0, 4, 2.8) == of.power(2.0, 1.0, 4, 2.8)
    assert of.power(0.0, 1.0, 4, of.reach_of(1, 4)) == pytest.approx(0.025, abs=2e-4)


@pytest.mark.parametrize("sd", [0.5, 1.0])
def test_power_holds_in_a_simulation(sd):
    rng = np.random.default_rng(0)
    means, chi = rng.normal(1.2, 0.4 * sd, 40_000), np.sqrt(rng.chisquare(4, 40_000) / 4)
    found = np.mean(means > 2.7764 * 0.4 * chi)
    assert of.power(1.2, 0.4, 4, 2.7764, 0.4 * sd) == pytest.approx(found, abs=0.008)


@given(st.floats(1e-6, 1e3), st.floats(1, 60), st.integers(1, 1000), st.floats(0.1, 0.95))
def test_the_detectable_difference_has_that_power(se, df, num, share):
    reach = of.reach_of(num, df)
    found = of.detectable(se, df, reach, share)
    assert of.power(found, se, df, reach) == pytest.approx(share, abs=1e-6)
    assert of.comparisons_of(reach, df) == pytest.approx(num)


def test_reach_is_that_of_a_bonferroni_interval():
    assert of.reach_of(1, 4) == pytest.approx(2.7764451)
    assert of.reach_of(19, 4) == pytest.approx(scipy.stats.t.isf(0.025 / 19, 4))


def test_components_are_those_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    d = rng.normal(0, 0.3, (1, 40)) + rng.normal(0, 0.2, (3, 40))
    found = of.components(d)
    between = 3 * np.var(d.mean(axis=0), ddof=1)
    within = np.mean(np.var(d, axis=0, ddof=1))
    assert found.seeds == pytest.approx(within)
    assert found.shared == pytest.approx((between - within) / 3)
    # Together they are always the variance that the interval is made of.
    extent = Extent("folds", 40, 1, 3, 1 / 39)
    assert of.standard_error(found, extent) == pytest.approx(
        intervals.over_units(d.mean(axis=0), 1 / 40 + 1 / 39).se
    )


def test_components_are_never_negative_and_always_add_up():
    d = np.array([[1.0, -1.0, 1.0], [-1.0, 1.0, -0.7]])  # all of it is the seeds'
    found = of.components(d)
    assert found.shared == 0
    assert found.seeds / 2 == pytest.approx(np.var(d.mean(axis=0), ddof=1))
    alone = of.components(d[:1])
    assert alone.shared == pytest.approx(np.var(d[0], ddof=1))
    assert math.isnan(alone.seeds)
    assert of.standard_error(alone, FIVE._replace(folds=3)) > 0


def test_components_take_the_scale_of_a_moderated_standard_error():
    found = of.scaled(Components(0.03, 0.02), FIVE, 0.5)
    assert of.standard_error(found, FIVE) == pytest.approx(0.5)
    assert found.shared / found.seeds == pytest.approx(1.5)


def test_an_estimated_standard_error_is_centred_by_the_median():
    draws = np.sqrt(np.random.default_rng(0).chisquare(4, 20_000) / 4)
    assert np.mean(draws < 1) > 0.58  # mostly too small
    assert of.centred(float(np.median(draws)), 4) == pytest.approx(1, abs=0.01)


def test_what_is_needed_is_the_least_that_has_the_power():
    parts, seen, reach = Components(4e-4, 1e-4), 0.041, of.reach_of(3, 4)
    found = of.requirement(seen, parts, FIVE, reach, 200)
    factor = of.centred(1.0, 4) ** 2
    parts = Components(parts.shared * factor, parts.seeds * factor)

    def power_of(**changed):
        more = FIVE._replace(**changed)
        return of.power(seen, of.standard_error(parts, more), more.df, of.reach_of(3, more.df))

    assert 1 < found.repeats < math.inf
    assert power_of(repeats=int(found.repeats)) >= 0.8 > power_of(repeats=int(found.repeats) - 1)
    # Seeds leave the spread between folds as it is.
    assert found.seeds == math.inf
    assert power_of(seeds=10**6) < 0.8
    # All variances at 1/n: at that many rows the detectable difference is the one seen.
    share = 200 / found.rows
    more = of.standard_error(Components(parts.shared * share, parts.seeds * share), FIVE)
    assert of.detectable(more, FIVE.df, reach) == pytest.approx(seen)


def test_no_number_of_repeats_undercuts_the_floor():
    found = of.requirement(0.012, Components(4e-4, 0.0), FIVE, of.reach_of(1, 4), 211)
    assert found.repeats == found.seeds == math.inf
    assert 211 < found.rows < 211 * of.MOST_ROWS
    words = of.in_words(found.detectable, 0.012, of.needs_in_words(found, 211))
    assert words.endswith("rows in place of 211 (no number of repeats or seeds)")


def test_very_many_repeats_are_not_counted():
    found = of.requirement(0.02809 * of.centred(1, 4), Components(4e-4, 0.0), FIVE, of.reach_of(1, 4), 211)
    assert of.MOST < found.repeats < math.inf
    words = of.needs_in_words(found, 211)
    assert words.startswith(f"more than {of.MOST} repeats or about ")


def test_no_difference_asks_for_nothing():
    for seen in (0.0, 1e-9):
        found = of.requirement(seen, Components(4e-4, 1e-4), FIVE, 2.8, 211)
        assert math.isnan(found.rows)
        assert of.needs_in_words(found, 211) == ""
        words = of.in_words(found.detectable, seen, "")
        assert words == f"could have shown {of.two_digits(found.detectable)} (80 % power)"


def test_seeds_of_one_split_leave_the_held_out_samples():
    seeds_only = of.requirement(0.02, Components(0.0, 1e-3), SPLIT, of.reach_of(1, 7), 211)
    assert 8 < seeds_only.seeds < math.inf
    assert math.isnan(seeds_only.repeats)
    with_samples = of.requirement(0.03, Components(1e-3, 1e-3), SPLIT, of.reach_of(1, 7), 211)
    assert with_samples.seeds == math.inf


def test_a_prior_for_the_variance_is_worth_its_degrees_of_freedom():
    assert FIVE.df == 4
    assert FIVE._replace(prior_df=3.5, repeats=2).df == 12.5
    assert SPLIT.df == 7


def test_words():
    assert [of.two_digits(x) for x in (0.0312, 0.00001234, 1426.3, 12, 7.04, 0.5)] == [
        "0.031", "1.2e-05", "1,400", "12", "7", "0.5",
    ]  # fmt: skip
    some = Requirement(0.03, 7, math.inf, 900.4)
    assert of.needs_in_words(some, 211) == "7 repeats or about 900 rows in place of 211"
    assert of.needs_in_words(some._replace(seeds=20), 211).startswith("7 repeats or 20 seeds or about")


def test_extent_of_a_design_finds_its_repeats():
    from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedShuffleSplit

    def extent(folds=None, count=1, **options):
        splits = {"folds": folds} | options
        scores = np.random.default_rng(0).random((2, 2, count))
        return of.extent_of(made_up(scores, {"l2": [0, 1]}, **splits).design)

    plain = extent(5, 5)
    assert (plain.folds, plain.repeats, plain.seeds, plain.can_repeat) == (5, 1, 2, True)
    assert plain.ratio == pytest.approx(42.2 / 168.8)
    again = extent(RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0), 6)
    assert (again.folds, again.repeats, again.splits) == (3, 2, 6)
    parts = extent(StratifiedShuffleSplit(4, random_state=0), 4)
    assert (parts.folds, parts.repeats, parts.can_repeat) == (4, 1, False)
    assert extent(validation=0.3) == Extent("seeds", 1, 1, 2, 0.0)
