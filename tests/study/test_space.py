"""A space: candidates are drawn one after the other, and everything that is searched can be off."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regjax.core.hparams import OFF_VALUES
from regjax.study.space import DEFAULT_SPACE, Maybe, Space, Where, distribution

SMALL = {"l2": "loguniform(0.01, 10)", "keep_prob": [1, 0.8], "learning_rate": [0.1, 0.3]}


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 5))
@settings(max_examples=20)
def test_a_larger_number_begins_with_the_same_candidates(num, more, seed):
    space = Space.of(None)
    drawn = space.draw(num + more, seed)
    assert drawn[:num] == space.draw(num, seed)
    assert len({str(c) for c in drawn}) == num + more
    assert all(map(space.is_on, drawn))


def test_each_regulariser_is_off_in_about_half_of_the_candidates():
    drawn = Space.of(None).draw(2000)
    for name in ("l2", "l1", "weight_decay", "keep_prob", "input_keep_prob"):
        off = np.mean([c[name] == OFF_VALUES[name] for c in drawn])
        assert 0.45 < off < 0.52, name  # those with nothing on are drawn again
    assert {c["hidden"] for c in drawn} == {(16,), (64,)}
    rates = np.log([c["learning_rate"] for c in drawn])
    assert stats.kstest(rates, stats.uniform(np.log(0.001), np.log(30)).cdf).pvalue > 0.001


@pytest.mark.nightly
def test_a_baseline_has_nothing_on_and_the_candidates_other_values():
    space = Space.of(SMALL | {"l1": 0.5})
    found = space.baselines(10)
    assert found == [
        {"l2": 0.0, "keep_prob": 1.0, "learning_rate": rate, "l1": 0.5}
        for rate in dict.fromkeys(c["learning_rate"] for c in found)
    ]
    assert len(found) == 2  # a fixed regulariser holds for it too
    fixed = space.check_baseline({"learning_rate": 0.3})
    assert [c["learning_rate"] for c in space.baselines(10, fixed=fixed)] == [0.3]


def test_a_list_without_an_off_value_is_always_on_and_off_in_the_baseline():
    space = Space.of({"l2": [0.1, 1], "learning_rate": 0.3})
    assert sorted(c["l2"] for c in space.draw(10)) == [0.1, 1]
    assert [c["l2"] for c in space.baselines(3)] == [0.0]


def test_maybe_and_always_say_how_often_a_regulariser_is_on():
    drawn = Space.of({"l2": Maybe([0.1, 1], on=0.2), "l1": "always(loguniform(0.1, 1))"}).draw(300)
    assert all(c["l1"] > 0 for c in drawn)
    assert 0.1 < np.mean([c["l2"] > 0 for c in drawn]) < 0.3


def test_a_rate_of_dropout_is_drawn_as_a_rate():
    space = Space.of({"dropout": stats.uniform(0, 0.5)})
    assert all(0.5 < c["keep_prob"] < 1 for c in space.draw(20))
    assert space.check_baseline({"keep_prob": 0.7}) == {"keep_prob": 0.7}


def test_a_conditional_name_is_there_where_its_condition_holds():
    space = Space.of({
        "optimizer": ["sgd", "momentum"],
        "momentum": Where(stats.uniform(0.5, 0.4), optimizer="momentum"),
        "l2": "loguniform(0.1, 1)",
    })  # fmt: skip
    drawn = space.draw(40)
    assert {c["optimizer"] for c in drawn} == {"sgd", "momentum"}
    assert all(("momentum" in c) == (c["optimizer"] == "momentum") for c in drawn)


def test_a_finite_space_ends():
    assert len(Space.of({"l2": [0, 1], "learning_rate": [0.1, 0.2]}).draw(100)) == 2


def test_words_say_the_space():
    words = Space.of(DEFAULT_SPACE).words
    assert words["l2"] == "loguniform(0.01, 30), on with probability 0.5"
    assert words["keep_prob"] == "uniform(0.4, 0.95), on with probability 0.5"
    assert words["hidden"] == "16,64"


@pytest.mark.parametrize(
    ("space", "error", "words"),
    [
        (3, TypeError, "space must map names to distributions, got int"),
        ({}, ValueError, "space must have a regulariser with more than one value"),
        ({"learning_rate": [0.1, 0.2]}, ValueError, "space must have a regulariser with more than one value"),
        ({"l2": 0.1}, ValueError, "space must have a regulariser with more than one value"),
        ({"l3": [0, 1]}, ValueError, "l3"),
        ({"l2": [-1, 1]}, ValueError, "l2 must be a finite number >= 0"),
        ({"l2": []}, ValueError, "l2 must have at least one value"),
        ({"keep_prob": "uniform(0.5, 2)"}, ValueError, "keep_prob must be in (0, 1]"),
        ({"l2": stats.loguniform}, TypeError, "l2 must have its parameters"),
        ({"l2": "loguniform(0, 1)"}, ValueError, "two ends, the lower one first and above 0"),
        ({"l2": "uniform(1, 0)"}, ValueError, "two ends, the lower one first"),
        ({"l2": "uniform(1)"}, ValueError, "two ends"),
        ({"l2": "normal(0, 1)"}, ValueError, "distribution"),
        ({"dropout": [0, 0.1], "keep_prob": [1, 0.9]}, ValueError, "must not both be given"),
        ({"learning_rate": Maybe([0.1, 1]), "l2": [0, 1]}, ValueError, "learning_rate must not be Maybe"),
        ({"hidden": Where([8], optimizer="sgd")}, ValueError, "hidden must not be Where"),
        ({"l2": Where([0, 1], optimizer="sgd")}, ValueError, "l2: condition"),
    ],
)  # fmt: skip
def test_bad_spaces_are_refused(space, error, words):
    with pytest.raises(error, match=re.escape(words)):
        Space.of(space).draw(50)


@pytest.mark.parametrize("on", [0, -1, 1.5, True, "half"])
def test_bad_probabilities_are_refused(on):
    with pytest.raises(ValueError, match="on must be a probability"):
        Maybe([0, 1], on=on)


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        ({"learning_rate": 7}, "baseline must be in the space, got learning_rate=7"),
        ({"hidden": (5,)}, "baseline must be in the space, got hidden=5"),
        ({"max_norm": 3}, "max_norm: not in it"),
        ({"l3": 0}, "l3"),
    ],
)
def test_a_baseline_is_in_the_space(baseline, words):
    space = Space.of(None)
    with pytest.raises(ValueError, match=re.escape(words)):
        space.check_baseline(baseline)
    assert space.check_baseline({"learning_rate": 0.01, "l2": 0, "max_norm": np.inf}) == {
        "learning_rate": 0.01, "l2": 0.0,
    }  # fmt: skip
    with pytest.raises(TypeError, match="baseline must map names"):
        space.check_baseline(3)


def test_a_text_that_is_no_distribution_is_a_word():
    assert distribution("optimizer", "sgd") == (["sgd"], None)
