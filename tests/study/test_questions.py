"""Questions: checked by themselves and against a design, before anything is trained."""

import pytest

from regjax.study.questions import Questions
from regjax.study.resolve import make_design

GRID = {"l2": [0, 1], "learning_rate": [0.1, 0.3]}


def design(**options):
    return make_design("two_regions", {"num_steps": 10, "eval_every": 10}, GRID, **options)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"rule": "best"}, ValueError, "rule must be one of mean, one_se, got 'best'"),
        ({"allow_diverged": 1}, TypeError, "allow_diverged must be true or false, got 1"),
        ({"over": 3}, TypeError, "over must be a list of names, got 3"),
        ({"over": ["lr"]}, ValueError, "over must name hyperparameters"),
        ({"baseline": ["l2"]}, TypeError, "baseline must be a table of names and values"),
        ({"baseline": {"l3": 0}}, ValueError, "baseline must name hyperparameters"),
        ({"baseline": {"l2": -1}}, ValueError, "l2 must be a finite number >= 0"),
    ],
)
def test_slips(given, error, words):
    with pytest.raises(error, match=words):
        Questions(**given)


def test_one_name_is_a_list_and_values_are_canonical():
    found = Questions(over="learning_rate", baseline={"l2": 0, "keep_prob": (1, 1)})
    assert found.over == ("learning_rate",)
    assert found.baseline == {"l2": 0.0, "keep_prob": 1.0}
    assert Questions(**found.as_json()) == found
    assert Questions().as_json() == {}


@pytest.mark.parametrize(
    ("questions", "options", "words"),
    [
        (
            {"rule": "one_se"},
            {"folds": None},
            "one_se must have at least two folds or seeds on held-out samples",
        ),
        ({"metric": "val_r2"}, {"folds": 2}, "metric must be one of val_loss, val_accuracy"),
        ({"metric": "val_loss"}, {}, "best and compare must have samples held out from training"),
        ({"baseline": {"l2": 0.5}}, {"folds": 2}, r"baseline must be in the grid, got l2=0\.5"),
        ({"over": "learning_rate"}, {"validation": 0.3}, "over must have at least two folds or seeds"),
        ({"over": "l1"}, {"folds": 2}, "over must name axes of the grid"),
    ],
)
def test_what_a_design_cannot_answer_is_refused(questions, options, words):
    with pytest.raises(ValueError, match=words):
        Questions(**questions).check(design(**options))


def test_what_was_not_asked_for_is_only_noted():
    assert Questions().check(design(folds=2)) == ()
    assert Questions().check(design()) == ("nothing is held out: no comparison and no choice",)
    without = make_design("two_regions", {"num_steps": 10, "eval_every": 10}, {"l2": [0.1, 1]}, folds=2)
    (note,) = Questions().check(without)
    assert note.startswith("there will be no comparison: baseline must be in the grid, got l2=0")
