"""The numbers that report.js makes differences of: the same arithmetic here, against `Results.compare`."""

import numpy as np
import pytest
from scipy import stats
from sweeps import made_up

from regjax.report import evidence as module
from regjax.report.evidence import counterparts, differences, evidence, gaps


def as_the_script_does(found, index, base):
    """Returns (difference, half the interval, half the family interval) as report.js computes them."""
    units = found["units"].reshape(-1, found["count"])
    d, own = units[index] - units[base], found["count"] - 1
    least = found["grain"] * np.mean(np.abs(d) * np.maximum(0, 1 - np.abs(d)))
    df, prior = found["prior_df"][base], found["prior"][base]
    moderated = (df * prior + own * max(least, np.var(d, ddof=1))) / (df + own)
    se = found["error"] * np.sqrt(max(least, moderated))
    sampling = 0.0
    if found["one_split"]:
        terms = found["examples"].view(np.float16).astype(float).reshape(len(units), found["num_examples"])
        sampling = float(np.sqrt(np.sum((terms[index] - terms[base]) ** 2)))
    return d.mean(), found["t"][base] * se, found["reach"][base] * np.hypot(se, sampling)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("count", [4, 14])  # the variances of 13 differences are moderated
@pytest.mark.parametrize("held_out", [{"folds": 5}, {"validation": 0.3}])
def test_any_baseline_gives_the_table_of_compare(held_out, count):
    shape = (count, 3, held_out.get("folds", 1))
    results = made_up(np.random.default_rng(0).random(shape), {"l2": range(count)}, **held_out)
    found = evidence(results, "val_accuracy")
    for base in (0, 1, count - 1):
        table = results.compare({"l2": base}).table
        others = [index for index in range(count) if index != base]
        for index, (_, row) in zip(others, table.iterrows(), strict=True):
            mean, reach, whole = as_the_script_does(found, index, base)
            np.testing.assert_allclose([mean, mean - reach], [row["difference"], row["low"]], rtol=1e-9)
            rtol = 2e-3 if found["one_split"] else 1e-9  # terms of single samples are float16
            np.testing.assert_allclose(mean + whole, row["family_high"], rtol=rtol, atol=1e-3)


@pytest.mark.slow
def test_of_many_configurations_another_baseline_has_the_family_of_bonferroni(monkeypatch):
    results = made_up(np.random.default_rng(0).random((14, 1, 5)), {"l2": range(14)}, folds=5)
    sharp = evidence(results, "val_accuracy")
    monkeypatch.setattr(module, "MOST_BASELINES", 13)
    found = evidence(results, "val_accuracy")
    assert set(found["prior_df"]) == {0.0}
    np.testing.assert_allclose(found["reach"], stats.t.ppf(1 - 0.025 / 13, 4))
    assert (sharp["reach"] < found["reach"]).all()


def test_what_has_no_verdict_says_why():
    scores = np.random.default_rng(0).random((3, 1, 5))
    results = made_up(scores, {"l2": [0, 1, 2]}, folds=5, diverged=[7])
    comparison = results.compare()
    assert differences(results, comparison).verdict[:2] == ["baseline", "4 of 5 ok"]
    assert evidence(results, "val_accuracy")["lost"] == ["", "4 of 5 ok", ""]
    assert counterparts(results, comparison).tolist() == [3, 0, 0]
    assert differences(results, None).verdict == ["no baseline"] * 3
    assert counterparts(results, None).tolist() == [3, 3, 3]


@pytest.mark.nightly
def test_a_gap_needs_held_out_samples():
    results = made_up(np.random.default_rng(0).random((2, 1, 1)), {"l2": [0, 1]})
    found = gaps(results, "train_loss")
    assert all(np.isnan(values).all() and values.shape == (2,) for values in found.values())
