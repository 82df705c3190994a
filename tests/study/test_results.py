"""What is said about results: tables, the choice and its warnings; on made-up scores."""

import dataclasses
import math

import numpy as np
import pytest
from sweeps import made_up

import regjax
from regjax.study.choice import no_better
from regjax.study.resolve import make_design


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


@pytest.mark.parametrize(("above", "warned"), [(0, True), (1e-7, True), (0.05, False)])
def test_the_constant_is_scored_on_the_validation_samples(above, warned):
    results = made_up(np.zeros((2, 1, 2)), {"l2": [0, 1]}, folds=2)
    design = results.design
    labels = design.data.y[0]
    shares = [
        val[labels == np.bincount(labels, train).argmax()].sum() / val.sum()
        for train, val in zip(design.splits.train, design.splits.val, strict=True)
    ]
    assert bool(no_better(design.data, design.splits, "val_accuracy", np.mean(shares) + above)) == warned
