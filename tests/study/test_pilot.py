"""The pilot of a sweep, and the power that it forecasts."""

import dataclasses
import math

import numpy as np
import pytest
from sweeps import made_up

import regjax
from regjax.study import forecast as of
from regjax.study import pilot, power
from regjax.study.forecast import chance_of
from regjax.study.needs import lines_of
from regjax.study.power import Components, Extent

GRID = {"l2": [0, 0.1, 1, 3], "keep_prob": [1, 0.8]}
SCORES = np.random.default_rng(0).random((8, 4, 5))
CONFIG = regjax.Config(num_steps=40, eval_every=40)


def parts_of(results):
    lines = lines_of(results.compare(), results.design, results.table("val_accuracy"))
    return [line.parts for line in lines if line is not None]


def test_a_pilot_is_a_small_part_with_the_baseline():
    design = made_up(SCORES, GRID, folds=5).design
    found = pilot.pilot_of(design)
    assert len(found.configurations) == 4
    assert found.configurations[0] == {"l2": 0.0, "keep_prob": 1.0}
    assert (found.seeds, found.num_folds) == ((0, 1), 5)
    assert found.configs[0].num_steps == design.configs[0].num_steps
    assert pilot.pilot_in_words(found) == "a pilot of 40 networks (4 configurations, 5 folds × 2 seeds)"
    split = pilot.pilot_of(made_up(SCORES[..., :1].repeat(2, axis=1), GRID, validation=0.3).design)
    assert (len(split.seeds), split.num_folds) == (4, 1)


def test_a_pilot_takes_the_first_ten_folds_and_their_watched_samples():
    scores = np.random.default_rng(0).random((2, 1, 12))
    design = made_up(scores, {"l2": [0, 1]}, folds=12).design
    found = pilot.pilot_of(dataclasses.replace(design, splits=design.splits._replace(stop=design.splits.val)))
    assert found.num_folds == len(found.splits.val) == 10
    assert found.splits.stop is not None
    np.testing.assert_array_equal(found.splits.stop, design.splits.val[:10])


def test_a_pilot_takes_whole_repeats():
    from sklearn.model_selection import RepeatedStratifiedKFold

    folds = RepeatedStratifiedKFold(n_splits=4, n_repeats=4, random_state=0)
    design = made_up(np.random.default_rng(0).random((2, 1, 16)), {"l2": [0, 1]}, folds=folds).design
    assert pilot.pilot_of(design).num_folds == 8


def test_a_pilots_networks_are_those_of_the_sweep(tmp_path):
    from regjax.store.identity import identities

    design = made_up(SCORES, GRID, folds=5).design
    assert set(identities(pilot.pilot_of(design))) < set(identities(design))


def test_bad_input():
    design = made_up(SCORES, GRID, folds=5).design
    for wrong in (0, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="detect must be a positive number, got"):
            pilot.check_detect(wrong, design)
    for wrong in ("0.1", True, None):
        with pytest.raises(TypeError, match="detect must be a number, got"):
            pilot.check_detect(wrong, design)
    assert pilot.check_detect(0.02, design) == 0.02
    one_seed = made_up(SCORES[:, :1, :1], GRID, validation=0.3).design
    with pytest.raises(ValueError, match="at least two folds, or two seeds on one split, got one"):
        pilot.check_detect(0.1, one_seed)
    with pytest.raises(ValueError, match="baseline must be in the grid"):
        pilot.check_detect(0.1, made_up(SCORES[:2], {"l2": [1, 2]}, folds=5).design)
    with pytest.raises(ValueError, match="must have samples held out"):
        regjax.plan("two_regions", CONFIG, GRID, detect=0.1, probe=False)


def test_the_forecast_is_the_power_of_the_planned_sweep():
    results = made_up(SCORES, GRID, folds=5)
    found = pilot.forecast(results, results.design, 0.5)
    parts = parts_of(results)
    assert len(parts) == 7
    extent = Extent("folds", 5, 1, 4, found.extent.ratio, can_repeat=True)
    assert found.extent == extent
    mean = Components(*np.mean(parts, axis=0))
    one, family = found.chances
    assert (one.comparisons, family.comparisons) == (1, 7)
    se = power.centred(power.standard_error(mean, extent), 4)
    assert one.power == pytest.approx(power.power(0.5, se, 4, power.reach_of(1, 4)))
    assert one.low < one.power < one.high
    assert family.power < one.power
    lines = str(found).splitlines()
    assert lines[0].startswith("power to show a true difference of 0.5 in val_accuracy, from a pilot of 160")
    assert lines[1].startswith(f"  for the one question: {100 * one.power:.0f} % (90 % interval: ")
    assert "80 % needs" in lines[2]


def test_one_split_takes_the_error_of_the_held_out_samples_in():
    results = made_up(SCORES[..., :1], GRID, validation=0.3)
    parts = parts_of(results)
    line = results.compare().table.iloc[0]
    assert parts[0].shared == pytest.approx(line["sampling_se"] ** 2)
    assert power.standard_error(parts[0], power.extent_of(results.design)) == pytest.approx(
        math.hypot(line["se"], line["sampling_se"])
    )


def test_a_pilot_without_a_spread_says_so():
    results = made_up(np.ones((2, 2, 5)), {"l2": [0, 1]}, folds=5)
    with pytest.raises(ValueError, match="detect must have a pilot whose differences in val_accuracy vary"):
        pilot.forecast(results, results.design, 0.1)


def test_the_interval_of_the_power_holds_it_in_a_simulation_of_normal_differences():
    rng = np.random.default_rng(0)
    extent, sd, hits = Extent("folds", 5, 4, 2, 0.25), 0.02, []
    for detect in (0.02, 0.03, 0.04):
        # Folds without any correlation: the corrected standard error is then too large, as it mostly is.
        se, truly = sd * math.sqrt(1 / 20 + 0.25), sd / math.sqrt(20)
        true = power.power(detect, se, extent.df, power.reach_of(5, extent.df), truly)
        for _ in range(300):
            d = rng.normal(0, sd, 5)
            part = Components(float(np.var(d, ddof=1)), 0.0)
            chance = chance_of(detect, [part], 4, extent, 5, 200)
            hits.append(chance.low <= true <= chance.high)
    assert np.mean(hits) > 0.9
    assert of.UNSURE < 0.1


@pytest.mark.slow
def test_plan_trains_the_pilot_and_holds_the_forecast():
    plan = regjax.plan("two_regions", CONFIG, GRID, seeds=2, folds=3, detect=0.05, probe=False)
    assert plan.forecast is not None
    assert plan.forecast.pilot == "a pilot of 24 networks (4 configurations, 3 folds × 2 seeds)"
    assert str(plan).endswith(str(plan.forecast))
    assert plan.num_rows == 48
