"""Paired differences to a baseline, their errors and verdicts, on made-up scores."""

import math

import numpy as np
import pytest
from sweeps import made_up


def test_compare_pairs_by_the_other_axes():
    grid = {"learning_rate": [0.1, 0.3], "l2": [0, 1]}
    base = np.random.default_rng(0).random((2, 1, 4, 5)) * 0.1
    scores = np.concatenate([base, base + np.array([0.3, 0.4])[:, None, None, None]], axis=1)
    scores = scores.reshape(4, 4, 5) + 5e-5 * np.arange(80).reshape(4, 4, 5) ** 0.5
    table = made_up(scores, grid, folds=5).compare().table
    np.testing.assert_allclose(table["difference"], [0.3, 0.4], atol=1e-3)
    assert table["n"].tolist() == [5, 5]
    assert table["verdict"].tolist() == ["helps", "helps"]
    assert bool((table["family_low"] < table["low"]).all())


def test_seeds_never_count_as_folds():
    rng = np.random.default_rng(0)
    scores = rng.random((2, 50, 3))
    found = made_up(scores, {"l2": [0, 1]}, folds=3).compare()
    assert found.table["n"].tolist() == [3]
    assert found.units == "over 3 folds × 50 seeds (t, 2 df)"


def test_one_split_needs_both_errors():
    rng = np.random.default_rng(0)
    base = rng.random((1, 8, 1)) * 0.001
    results = made_up(
        np.concatenate([base, base + 0.01 + 0.001 * rng.random((1, 8, 1))]), {"l2": [0, 1]}, validation=0.3
    )
    comparison = results.compare()
    row = comparison.table.iloc[0]
    assert row["low"] > 0  # the seeds alone exclude 0 …
    assert row["family_low"] < 0  # … but the held-out samples do not
    assert row["verdict"] == "not separated"
    assert "says nothing about other data" in comparison.units
    val = results.design.splits.val[0]
    right = results.examples["right"].reshape(2, 8, -1).mean(axis=1)
    d = right[1] - right[0]
    assert row["sampling_se"] == pytest.approx(np.std(d, ddof=1) / math.sqrt((val > 0).sum()))


def test_over_chooses_with_the_scored_fold_left_out():
    grid = {"l2": [0, 1], "learning_rate": [0.1, 0.3]}
    scores = np.array([[0.5, 0.5, 0.5], [0.4, 0.4, 0.9], [0.6, 0.6, 0.6], [0.7, 0.1, 0.1]])[:, None, :]
    found = made_up(scores, grid, folds=3).compare(over="learning_rate")
    assert len(found.table) == 1
    # baseline arm: fold 0: others (.5,.5) and (.4,.9) → the second, scored .4; fold 1 likewise .4; fold 2: .5
    # arm l2=1: its first wins every time
    assert bool(found.table["difference"][0] == pytest.approx(0.6 - (0.4 + 0.4 + 0.5) / 3))


def test_baseline_errors_say_how_to_mend():
    results = made_up(np.random.default_rng(0).random((2, 2, 3)), {"l2": [0.1, 1]}, folds=3)
    with pytest.raises(ValueError, match="baseline must be in the grid, got l2=0: add it"):
        results.compare()
    with pytest.raises(ValueError, match="something beside the baseline l1=0, got nothing"):
        results.compare(baseline={"l1": 0})
    with pytest.raises(ValueError, match=r"baseline must name hyperparameters \(.*\), got 'l3'"):
        results.compare(baseline={"l3": 0})
    with pytest.raises(ValueError, match=r"over must name axes of the grid \(l2\), got 'l1'"):
        results.compare(over="l1")
    # What the grid does not mention is off in all of it.
    assert len(results.compare(baseline={"l2": 0.1, "keep_prob": 1}).table) == 1
    assert len(results.compare(baseline={"l2": 0.1}).table) == 1


def test_the_rounding_of_scores_is_no_spread():
    # One row of 42 more in every fold; in float32 the five differences are not quite equal.
    counts = np.array([30, 31, 33, 34, 37])
    scores = (np.stack([counts, counts + 1])[:, None, :] / np.float32(42)).astype(np.float32)
    assert np.ptp(scores[1] - scores[0]) > 0
    found = made_up(scores, {"l2": [0, 1]}, folds=5).compare().table.iloc[0]
    assert found["sentence"] == "+0.0238, no spread in 5 folds"
    same = scores[:1].repeat(2, axis=0)
    same[1] += np.float32(6e-8)
    assert made_up(same, {"l2": [0, 1]}, folds=5).compare().table.iloc[0]["difference"] == 0
