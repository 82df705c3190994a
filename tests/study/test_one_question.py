"""The one question: what is chosen without a fold, less the baseline on it, on made-up scores."""

import math
import re

import numpy as np
import pytest
from sklearn.model_selection import ShuffleSplit
from sweeps import made_up

import regjax
from regjax.study import intervals
from regjax.study.one_question import answer_so_far
from regjax.study.questions import Questions
from regjax.study.resolve import make_design

GRID = {"l2": [0, 1], "learning_rate": [0.1, 0.3]}


def scores_of(*rows):
    return np.array(rows)[:, None, :]


def test_the_choice_and_the_baseline_leave_the_scored_fold_out():
    # Configurations: (l2=0, lr=.1), (0, .3), (1, .1), (1, .3).
    scores = scores_of([0.5, 0.5, 0.5], [0.4, 0.4, 0.9], [0.6, 0.6, 0.7], [0.7, 0.1, 0.1])
    found = made_up(scores, GRID, folds=3).compare_choice()
    # Without fold 0 the second baseline is best (.4, .9); without fold 1 too; without fold 2 the first.
    assert found.against == (1, 1, 0)
    # Without folds 0 and 1 the others' means are .5 .65 .65 .1 and .5 .65 .65 .4: the first of equals.
    assert found.chosen == (1, 1, 2)
    np.testing.assert_allclose(found.differences, [0.0, 0.0, 0.2])
    assert found.difference == pytest.approx(0.2 / 3)
    assert found.times == {"the baseline itself": 2, "l2=1, learning_rate=0.1": 1}


def test_its_interval_is_that_of_one_comparison():
    rng = np.random.default_rng(0)
    scores = 0.5 + 0.01 * rng.random((4, 2, 5))
    scores[3] += 0.3
    results = made_up(scores, GRID, folds=5)
    found = results.compare_choice()
    assert found.chosen == (3,) * 5
    assert found.verdict == "helps"
    d, splits = np.array(found.differences), results.design.splits
    # Samples in whole numbers: the variance between folds is not less than that of the rows.
    rows = np.mean(np.abs(d) * (1 - np.abs(d))) * np.mean(1 / splits.num_val)
    assert rows > np.var(d, ddof=1)
    expected = intervals.over_units(d, 1 / 5 + splits.num_val.mean() / splits.num_train.mean(), rows)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    between = f"[{found.low:+.3f}, {found.high:+.3f}]"
    assert found.numbers == (
        f"{found.difference:+.3f} {between} val_accuracy over 5 folds × 2 seeds (t, 4 df): helps"
    )
    ends = f"({100 * found.low:+.0f} to {100 * found.high:+.0f})"
    assert found.sentence == (
        f"Choosing a regulariser helps: 30 points better than none in validation accuracy {ends}."
    )
    assert str(found).splitlines()[:2] == [found.sentence, found.numbers]
    assert str(found).splitlines()[2] == (
        "In each fold the choice among 4 configurations, made on the other folds, is scored: "
        "l2=1, learning_rate=0.3 (5 of 5)."
    )
    table = found.to_pandas(results.design)
    np.testing.assert_allclose(np.mean(table["difference"]), found.difference)


def test_less_is_better_for_a_loss():
    results = made_up(np.zeros((2, 1, 5)) + 0.5, {"l2": [0, 1]}, folds=5)
    loss = np.concatenate([np.full(5, 1.0), 0.5 + 0.01 * np.arange(5)])
    results.records["val_loss"][:] = loss[:, None]
    found = results.compare_choice(metric="val_loss")
    assert found.chosen == (1,) * 5
    assert (found.difference, found.verdict) == (pytest.approx(-0.48), "helps")


def test_with_repeats_the_choice_reads_its_own_repeat():
    scores = np.full((2, 1, 6), 0.5)
    scores[1, 0] = [0.6, 0.6, 0.6, 0.4, 0.4, 0.4]
    results = made_up(scores, {"l2": [0, 1]}, folds=3, repeats=2)
    assert results.compare_choice().chosen == (1, 1, 1, 0, 0, 0)
    assert "over 3 folds × 2 repeats × 1 seed (t, 5 df)" in results.compare_choice().numbers
    # The mean that is corrected for the selection is chosen in the same way.
    assert results.best().corrected == pytest.approx(np.mean([0.6] * 3 + [0.5] * 3))


def test_the_baseline_chosen_everywhere_is_said():
    scores = scores_of([0.9, 0.8, 0.9], [0.5, 0.5, 0.5])
    found = made_up(scores, {"l2": [0, 1]}, folds=3).compare_choice()
    assert math.isnan(found.low)
    assert found.verdict == "not separated"
    assert (
        found.sentence
        == "Choosing a regulariser changes nothing: in all 3 folds it chose the baseline, none."
    )
    assert found.numbers.startswith("0.0 val_accuracy, no spread over 3 folds")


@pytest.mark.parametrize(("l2", "than"), [([1], "λ = 1"), ([1, 10], "no dropout"), ([0], "none")])
def test_a_baseline_with_another_regulariser_on_is_not_called_none(l2, than):
    grid = {"l2": l2, "keep_prob": [1, 0.5]}
    scores = np.random.default_rng(0).random((2 * len(l2), 1, 4))
    scores[1::2] += 1
    results = made_up(scores, grid, folds=4)
    found = results.compare_choice({"keep_prob": 1})
    assert (found.than, found.as_json()["than"]) == (than, than)
    assert f" better than {than} in validation accuracy" in found.sentence
    assert ("λ = 1" in results.best().in_words()) == (l2 != [0])


def test_what_diverged_is_not_chosen():
    scores = scores_of([0.5, 0.5, 0.6], [0.9, 0.9, 0.9], [0.7, 0.8, 0.7])
    grid = {"l2": [0, 1, 2]}
    found = made_up(scores, grid, folds=3, diverged=[4]).compare_choice()
    assert (found.chosen, found.num_candidates) == ((2, 2, 2), 2)
    with pytest.raises(ValueError, match="a baseline whose networks all have val_accuracy, got none"):
        made_up(scores, grid, folds=3, diverged=[1]).compare_choice()


def test_another_baseline_is_named():
    scores = np.random.default_rng(1).random((4, 1, 4))
    found = made_up(scores, GRID, folds=4).compare_choice({"learning_rate": 0.1})
    said = (
        "Choosing a configuration changes nothing: in all 4 folds it chose the baseline, learning rate 0.1."
    )
    assert found.sentence == said
    other = made_up(scores[::-1], GRID, folds=4).compare_choice({"learning_rate": 0.1})
    assert other.sentence.startswith("Choosing a configuration looks ")
    assert " better than learning rate 0.1 in validation accuracy" in other.sentence


@pytest.mark.parametrize(
    ("options", "asked", "words"),
    [
        ({"validation": 0.3}, {}, "compare_choice must have folds, got one split: a choice on it has seen"),
        ({"folds": ShuffleSplit(3, random_state=0)}, {}, "at least 2 folds that share no held-out sample"),
        ({"folds": 2}, {"rule": "one_se"}, "at least 3 folds that share no held-out sample, .*, got 2"),
        ({"folds": 3, "time": np.arange(211)}, {}, "got folds that follow time: the others come later"),
    ],
)
def test_what_cannot_be_asked_is_said_before_training(options, asked, words):
    design = make_design("two_regions", {"num_steps": 10, "eval_every": 10}, GRID, **options)
    missing = Questions(**asked).check(design)
    assert len(missing) == 1
    assert missing[0].startswith("there will be no answer to whether choosing beats the baseline: ")
    assert re.search(words, missing[0])


def test_answers_have_it_first_and_a_store_gives_the_same():
    scores = np.random.default_rng(2).random((4, 2, 3))
    results = made_up(scores, GRID, folds=3)
    answers = results.answers(Questions())
    assert answers.first is not None
    assert answers.first == results.compare_choice()
    rows = results.values("val_accuracy")
    done = np.ones(len(rows), bool)
    said = answer_so_far(results.design, Questions(), "val_accuracy", rows, done, done)
    assert said == answers.first.sentence
    assert answer_so_far(results.design, Questions(), "val_accuracy", rows, ~done, done) == ""
    one = made_up(scores[:, :, :1], GRID, validation=0.3).answers(regjax.Questions())
    assert one.first is None
    assert one.missing[0].startswith("no answer to whether choosing beats the baseline: compare_choice must")
