"""What is said about results: intervals, families, rankings, the choice; on made-up scores."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sweeps import made_up

import regjax
from regjax.core.hparams import OFF_VALUES
from regjax.study import intervals
from regjax.study.resolve import make_design
from regjax.study.selection import choose, left_out, ranking, simplicity


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


values = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), min_size=1, max_size=30)


@given(values, st.booleans())
def test_ranking_is_a_permutation_with_nan_last(scores, higher):
    scores = np.array(scores)
    order = ranking(scores, higher)
    assert sorted(order) == list(range(len(scores)))
    ranked = scores[order]
    bad = np.isnan(ranked)
    assert not bad[: len(bad) - bad.sum()].any()
    steps = np.diff(ranked[~bad])
    assert (steps <= 0).all() if higher else (steps >= 0).all()


def test_one_se_takes_the_simplest_within_reach():
    scores = np.array([[0.90, 0.92, 0.88], [0.905, 0.925, 0.885], [0.80, 0.80, 0.80], [0.9, 0.9, math.nan]])
    simple = [(2.0,), (3.0,), (1.0,), (0.0,)]
    assert choose(scores, True, "mean", simple) == 1
    assert choose(scores, True, "one_se", simple) == 0
    with pytest.raises(ValueError, match="one_se must have at least two"):
        choose(scores[:, :1], True, "one_se", simple)


def test_simpler_is_in_the_declared_order():
    off = OFF_VALUES
    order = [
        simplicity(off, 10),
        simplicity(off | {"keep_prob": 0.8}, 10),
        simplicity(off | {"l2": 0.1}, 10),
        simplicity(off | {"l1": 0.1}, 10),
        simplicity(off, 9),
    ]
    assert order == sorted(order, reverse=True)


def test_left_out_scores_what_the_others_choose():
    scores = np.array([[0.9, 0.1, 0.9], [0.5, 0.6, 0.5]])
    found, choices = left_out(scores, lambda rest: int(rest.mean(axis=1).argmax()))
    assert choices == [1, 0, 1]
    assert found.tolist() == [0.5, 0.1, 0.5]


def test_compare_pairs_by_the_other_axes():
    grid = {"learning_rate": [0.1, 0.3], "l2": [0, 1]}
    base = np.random.default_rng(0).random((2, 1, 4, 5)) * 0.1
    scores = np.concatenate([base, base + np.array([0.1, 0.2])[:, None, None, None]], axis=1)
    scores = scores.reshape(4, 4, 5) + 5e-6 * np.arange(80).reshape(4, 4, 5) ** 0.5
    table = made_up(scores, grid, folds=5).compare().table
    np.testing.assert_allclose(table["difference"], [0.1, 0.2], atol=1e-4)
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
    assert row["family_low"] < 0  # … but the held-out rows do not
    assert row["verdict"] == "not separated"
    assert "says nothing about other data" in comparison.units
    val = results.design.splits.val[0]
    right = results.examples["right"].reshape(2, 8, -1).mean(axis=1)
    d = right[1] - right[0]
    assert row["sampling_se"] == pytest.approx(np.std(d, ddof=1) / math.sqrt((val > 0).sum()))


def test_divergence_gives_counts_and_no_verdict():
    scores = np.random.default_rng(0).random((3, 2, 4))
    scores[1] += 1
    results = made_up(scores, {"l2": [0, 0.1, 1]}, folds=4, diverged=[8])  # of configuration 1
    row = results.compare().table.iloc[0]
    assert row["status"] == "7 of 8 ok"
    assert row["verdict"] == ""
    assert math.isnan(row["p"])
    assert results.best().index != 1
    assert results.best(allow_diverged=True).index == 1
    summary = results.summary()
    assert summary["ok"].tolist() == [8, 7, 8]
    assert math.isnan(summary["val_accuracy"][1])
    assert bool(summary["of_ok"][1] > 1)


def test_nothing_is_ranked_on_test_or_cost():
    scores = np.random.default_rng(0).random((2, 2, 3))
    results = made_up(scores, {"l2": [0, 1]}, folds=3, test=1 - scores)  # the other one is better there
    for metric in ("test_accuracy", "train_cost", "accuracy"):
        with pytest.raises(ValueError, match="metric must be one of val_loss, val_accuracy"):
            results.best(metric)
    assert results.best().index == int(scores.mean(axis=(1, 2)).argmax())
    assert not [name for name in results.summary().columns if "test" in name]


def test_without_held_out_rows_best_refuses():
    results = made_up(np.ones((2, 2, 1)), {"l2": [0, 1]})
    for call in (results.best, results.compare):
        with pytest.raises(ValueError, match=r"sweep with folds=5 or validation=0.2"):
            call()
    assert "train_loss" in results.summary().columns


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


def test_a_choice_at_the_edge_is_warned_of():
    scores = np.array([0.1, 0.2, 0.3])[:, None, None] + np.random.default_rng(0).random((1, 1, 4))
    choice = made_up(scores, {"l2": [0, 0.1, 1]}, folds=4).best()
    assert choice.index == 2
    assert "largest of the grid" in choice.warnings[0]
    assert made_up(scores[::-1], {"l2": [0, 0.1, 1]}, folds=4).best().warnings == ()  # off is no edge


def test_the_best_step_sees_validation_only():
    results = made_up(np.full((1, 1, 2), 0.4), {"l2": 0}, folds=2)
    table = results.to_pandas()
    assert table["best_step"].tolist() == [0, 0]  # 0.5 at step 0, 0.4 at the end
    np.testing.assert_array_equal(table["at_best_test_accuracy"], results.records["test_accuracy"][:, 0])
    assert len(results.curves()) == 4


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


def test_one_diverged_fold_neither_wins_nor_spoils_what_is_corrected_for():
    scores = np.random.default_rng(0).random((3, 1, 4)) * 0.1
    scores[0] += 0.5
    results = made_up(scores, {"l2": [0, 0.1, 1]}, folds=4, diverged=[0])
    choice = results.best()
    assert choice.index != 0
    assert choice.corrected is not None
    assert 0 < choice.corrected < 0.1
    grid = {"learning_rate": [0.1, 0.3], "l2": [0, 1]}
    # The better learning rate of the baseline diverges once: its other one stands for it everywhere.
    scores = np.random.default_rng(1).random((4, 1, 4)) * 0.1
    scores[0] += 0.5
    table = made_up(scores, grid, folds=4, diverged=[2]).compare(over="learning_rate").table
    assert table["status"].tolist() == ["ok"]
    np.testing.assert_allclose(
        table["difference"], (scores[[1, 3]].mean(axis=(1, 2)).max() - scores[2].mean()), atol=0.2
    )


def test_one_pair_of_indices_is_one_split():
    pair = (np.arange(0, 150), np.arange(150, 211))
    results = made_up(np.random.default_rng(0).random((2, 4, 1)), {"l2": [0, 1]}, folds=[pair])
    assert results.design.splits.kind == "validation"
    assert results.best().metric == "val_accuracy"
    assert "over 4 seeds on this one split" in results.compare().units


def test_a_metric_that_some_fold_does_not_define_is_said_before_training():
    from sklearn.model_selection import KFold, LeaveOneOut

    X, y = np.arange(12.0)[:, None], np.arange(12.0)
    design = make_design((X, y), folds=LeaveOneOut())
    with pytest.raises(ValueError, match="val_r2 is not in fold 0, whose held-out rows do not vary"):
        design.check_metric(None)
    assert design.check_metric("val_rmse") == "val_rmse"
    design = make_design((X, np.arange(12) // 6), folds=KFold(4))
    with pytest.raises(ValueError, match="val_roc_auc is not in fold 0, whose held-out rows lack a class"):
        design.check_metric("val_roc_auc")


def test_allow_diverged_counts_what_is_alive():
    scores = np.array([[[0.9, 0.8]], [[0.2, 0.3]]])
    results = made_up(scores, {"l2": [0, 1]}, folds=2, diverged=[0], test=np.array([0.7, 0.6, 0.1, 0.1]))
    results.records["test_accuracy"][0] = np.nan
    choice = results.best(allow_diverged=True)
    assert choice.index == 1  # configuration 0 has no mean over both folds
    results = made_up(
        scores.reshape(2, 2, 1), {"l2": [0, 1]}, validation=0.3, diverged=[0], test=[0.7, 0.6, 0.1, 0.1]
    )
    results.records["test_accuracy"][0] = np.nan
    choice = results.best(allow_diverged=True)
    assert choice.index == 1 or choice.test == pytest.approx(0.6)


def test_one_se_on_two_folds_has_no_corrected_score():
    results = made_up(np.random.default_rng(0).random((3, 1, 2)), {"l2": [0, 0.1, 1]}, folds=2)
    assert results.best(rule="one_se").corrected is None
    assert results.best().corrected is not None


@pytest.mark.parametrize(
    ("axis", "warned"),
    [
        ({"hidden": [4, 8, 16]}, "hidden=16 is the largest"),
        ({"batch_size": [8, 16, 32]}, "batch_size=32 is the largest"),
        ({"keep_prob": [1, (0.9, 0.8), 0.7]}, "keep_prob=0.7 is the smallest"),
        ({"activation": ["relu", "tanh", "gelu"]}, None),
    ],
)
def test_borders_of_every_axis_that_has_an_order(axis, warned):
    config = regjax.Config(
        layer_sizes=(2, 5, 4, 1) if "keep_prob" in axis else (2, 5, 1), num_steps=10, eval_every=10
    )
    design = make_design("two_regions", config, axis, folds=2)
    results = made_up(
        np.array([0.6, 0.7, 0.8])[:, None, None] * np.ones((1, 1, 2)), {"l2": [0, 1, 2]}, folds=2
    )
    warnings = dataclasses.replace(results, design=design).best().warnings
    assert [warned in w for w in warnings] == [True] if warned else warnings == ()


def test_a_choice_no_better_than_a_constant_is_warned_of():
    results = made_up(np.full((2, 1, 2), 0.4), {"l2": [0, 1]}, folds=2)
    assert any("most frequent class" in warning for warning in results.best().warnings)
