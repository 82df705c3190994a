"""What each comparison that is not separated could have shown, and what it would take, on made-up scores."""

import math

import numpy as np
import pytest
from sweeps import made_up

from regjax.study import power
from regjax.study.needs import NOTE, line_of

SCORES = np.random.default_rng(0).random((4, 3, 5)) * 0.1
GRID = {"l2": [0, 1, 2, 3]}


def test_each_line_that_is_not_separated_says_what_it_could_have_shown():
    results = made_up(SCORES, GRID, folds=5)
    found = results.compare()
    for place, line in enumerate(found.table.to_dict("records")):
        assert line["verdict"] == "not separated"
        reach = (line["family_high"] - line["family_low"]) / 2 / line["se"]
        se = power.centred(line["se"], 4)
        assert line["detectable"] == pytest.approx(power.detectable(se, 4, reach))
        words = power.in_words(line["detectable"], line["difference"], line["needs"])
        assert line["sentence"].endswith(f": not separated; {words}")
        extent = power.extent_of(results.design)
        parts = power.components(results.table("val_accuracy")[place + 1] - results.table("val_accuracy")[0])
        assert power.standard_error(parts, extent) == pytest.approx(line["se"])
    assert NOTE in found.notes
    assert str(found).count("could have shown") == 3


def test_what_is_separated_or_has_no_interval_needs_nothing():
    scores = np.array([0.5, 0.9, 0.5])[:, None, None] + 0.001 * SCORES[:3]
    scores[2] = scores[0]
    table = made_up(scores, {"l2": [0, 1, 2]}, folds=5).compare().table
    assert table["verdict"].tolist() == ["helps", "not separated"]
    assert np.isnan(table["detectable"]).tolist() == [True, True]
    assert table["needs"].tolist() == ["", ""]
    assert not table["sentence"].str.contains("could have shown").any()
    diverged = made_up(SCORES, GRID, folds=5, diverged=[20]).compare().table
    assert math.isnan(diverged["detectable"][0])


def test_one_split_counts_seeds_and_held_out_samples():
    scores = SCORES[..., :1].repeat(2, axis=1) + 0.01 * np.random.default_rng(1).random((4, 6, 1))
    results = made_up(scores, GRID, validation=0.3)
    line = results.compare().table.iloc[0]
    total = math.hypot(line["se"], line["sampling_se"])
    reach = (line["family_high"] - line["family_low"]) / 2 / total
    assert line["detectable"] == pytest.approx(power.detectable(power.centred(total, 5), 5, reach))
    assert "repeats" not in line["needs"]


def test_an_arm_of_many_values_has_no_seeds_to_count():
    grid = {"l2": [0, 1], "learning_rate": [0.1, 0.3]}
    table = made_up(SCORES, grid, folds=5).compare({"l2": 0}, "learning_rate").table
    assert np.isfinite(table["detectable"]).tolist() == [True]
    assert "seeds" not in table["needs"][0]


def test_a_moderated_standard_error_is_taken_as_it_is():
    line = {
        "difference": 0.01, "sampling_se": math.nan, "df": 7.5, "reach": 3.0, "family_low": -0.05,
        "family_high": 0.07,
    }  # fmt: skip
    extent = power.Extent("folds", 5, 1, 3, 0.25, can_repeat=True)
    found = line_of(line, extent, SCORES[0])
    assert (found.extent.df, found.reach) == (7.5, pytest.approx(3.0))
    assert power.standard_error(found.parts, found.extent) == pytest.approx(0.02)
    raw = power.components(SCORES[0])
    assert found.parts.seeds / found.parts.shared == pytest.approx(raw.seeds / raw.shared)


def test_the_one_question_says_it_too():
    found = made_up(SCORES, GRID, folds=5).compare_choice()
    assert found.verdict == "not separated"
    assert found.needs.startswith("could have shown 0.")
    assert f"This evidence {found.needs}." in str(found)
    gain = np.array([0.5, 0.9])[:, None, None] + 0.001 * SCORES[:2]
    assert made_up(gain, {"l2": [0, 1]}, folds=5).compare_choice().needs == ""
