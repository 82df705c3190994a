"""Answers in words: their numbers, units, signs, and the names of what is compared."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regjax.core.hparams import HYPERPARAMETERS, OFF_VALUES
from regjax.core.metrics import METRICS
from regjax.study.selection import higher_is_better
from regjax.study.sentences import (
    amount,
    answer,
    baseline_named,
    choice_named,
    difference_in_words,
    named,
    value_in_words,
)
from regjax.study.words import metric_in_words

FINITE = st.floats(-1e4, 1e4, allow_nan=False)
HALVES = st.floats(1e-5, 1e4)
VAL = [f"val_{name}" for name in METRICS]


def as_float(text):
    return float(text.replace("−", "-"))


@given(st.sampled_from(VAL), FINITE, HALVES)
@example("val_loss", -5.96e-09, 0.02)
@example("val_accuracy", -0.0, 0.02)
def test_an_amount_has_the_digits_that_its_interval_supports(metric, value, half):
    text = amount(metric, value, half, "+")
    scale = 100 if "accuracy" in metric else 1
    assert "e" not in text
    assert "-" not in text  # the sign is a minus
    step = 10.0 ** -len(text.partition(".")[2])
    # Rounding moves it by less than a tenth of half of the interval, and no digit is finer than a hundredth.
    assert abs(as_float(text) - scale * value) <= max(0.1 * scale * half, 0.5) * 1.001
    assert step >= min(1, scale * half / 100)
    assert (as_float(text) == 0) == (text == "0")


@given(st.sampled_from(VAL), FINITE, HALVES)
def test_better_means_better(metric, mean, half):
    words, interval = difference_in_words(metric, mean, mean - half, mean + half, "none")
    gain = mean if higher_is_better(metric) else -mean
    if "better" in words:
        assert gain > 0
    elif "worse" in words:
        assert gain < 0
    else:
        assert words == "no different from none"
    ends = [as_float(end) for end in interval.split(" to ")]
    scale = 100 if "accuracy" in metric else 1
    # An end is at most half of a digit off, and digits are at most a tenth of half of the interval.
    for said, end in zip(ends, (gain - half, gain + half), strict=True):
        assert abs(said - scale * end) <= max(0.05 * scale * half, 0.5) * 1.001
    assert ("points" in words or "point " in words) == ("accuracy" in metric and "different" not in words)


@pytest.mark.parametrize(
    ("verdict", "ends", "said"),
    [
        (
            "helps",
            (0.021, 0.004, 0.038),
            "helps: 2.1 points better than none in validation accuracy (+0.4 to +3.8).",
        ),
        (
            "hurts",
            (-0.021, -0.038, -0.004),
            "hurts: 2.1 points worse than none in validation accuracy (−3.8 to −0.4).",
        ),
        (
            "not separated",
            (0.006, -0.03, 0.05),
            "looks 0.6 points better than none in validation accuracy; this data cannot tell (−3.0 to +5.0).",
        ),
        (
            "not separated",
            (1e-9, -0.01, 0.01),
            "looks no different from none in validation accuracy; this data cannot tell (−1.0 to +1.0).",
        ),
        (
            "not separated",
            (0.0, math.nan, math.nan),
            "looks no different from none in validation accuracy; there is no interval, so this data "
            "cannot tell.",
        ),
    ],
)
def test_an_answer_is_one_sentence(verdict, ends, said):
    assert answer("Dropout", verdict, "val_accuracy", ends, "none") == f"Dropout {said}"


@given(FINITE, HALVES)
@example(0.0267, 0.0263)
@example(0.0263, 0.0263)
def test_an_end_that_decides_the_verdict_is_not_rounded_to_nothing(mean, half):
    _, interval = difference_in_words("val_accuracy", mean, mean - half, mean + half, "none")
    for text, end in zip(interval.split(" to "), (mean - half, mean + half), strict=True):
        assert (text == "0") == (end == 0)
        if end:
            assert text.startswith("+" if end > 0 else "−")


@pytest.mark.parametrize(
    ("metric", "value", "half", "said"),
    [
        ("val_accuracy", 0.021739, math.nan, "2.2"),
        ("val_accuracy", 5.96e-9, math.nan, "0"),
        ("val_loss", 0.021739, math.nan, "0.0217"),
        ("val_rmse", 3.21e-9, 1e-9, "3.2e−09"),
        ("val_rmse", 1e-13, 1e-9, "0"),
        ("val_rmse", 0.0, 1e-9, "0"),
    ],
)
def test_without_an_interval_and_of_tiny_units(metric, value, half, said):
    assert amount(metric, value, half) == said


def test_of_a_loss_less_is_better():
    said = answer("λ = 1", "helps", "val_loss", (-0.05, -0.08, -0.02), "none", "on 1,200 rows")
    assert said == "λ = 1 helps: 0.050 better than none in validation loss on 1,200 rows (+0.020 to +0.080)."


def test_configurations_have_names_that_a_person_says():
    assert named({"l2": 0.1, "keep_prob": (0.9, 0.8), "hidden": (20, 3)}) == (
        "λ = 0.1 with dropout (keep 0.9/0.8), 20/3 hidden units"
    )
    assert named({"l2": 0.0, "keep_prob": 1.0}) == "no regularisation"
    assert named({"mixup": 0.2, "label_smoothing": 0.1, "l2": 0.012345678}) == (
        "mixup 0.2 with label smoothing 0.1 and λ = 0.01235"
    )
    assert named({"hidden": (), "optimizer": "adam"}) == "no hidden layer, optimizer adam"
    assert named({"learning_rate": 0.1}) == "learning rate 0.1"  # of the regularisers nothing is said
    assert named({"l2": 0.0, "learning_rate": 0.3, "patience": 400.0}) == (
        "early stopping (patience 400), learning rate 0.3"
    )


@pytest.mark.parametrize(
    ("configuration", "axes", "said"),
    [
        ({"l2": 1.0, "keep_prob": 1.0}, ["keep_prob"], "λ = 1"),
        ({"l2": 1.0, "keep_prob": 0.5}, ["keep_prob"], "λ = 1 with dropout (keep 0.5)"),
        ({"l2": 0.0, "keep_prob": 1.0, "learning_rate": 0.1}, ["keep_prob"], "no regularisation"),
        ({"l2": 0.0, "learning_rate": 0.1}, ["learning_rate"], "learning rate 0.1"),
        ({"l2": 1.0, "learning_rate": 0.1}, ["learning_rate"], "λ = 1, learning rate 0.1"),
        ({"learning_rate": 0.1}, ["l2"], "no regularisation"),
    ],
)
def test_a_choice_names_what_is_on_whether_it_varies_or_not(configuration, axes, said):
    found = choice_named(configuration, axes)
    assert sorted(re.split(" with |, ", found)) == sorted(re.split(" with |, ", said))


@pytest.mark.parametrize("name", [name for name in OFF_VALUES if name not in ("l2", "learning_rate")])
def test_a_baseline_is_none_only_where_nothing_is_on(name):
    off = {name: OFF_VALUES[name]}
    assert baseline_named(off, [off | {"l2": 0.0, "learning_rate": 0.1}]) == "none"
    assert baseline_named(off, [off | {"l2": 0.5}, off | {"l2": 0.5, "learning_rate": 0.1}]) == "λ = 0.5"
    said = baseline_named(off, [off | {"l2": 0.0}, off | {"l2": 0.5}])
    assert re.fullmatch(r"no [\w -]+", said)
    assert "_" not in said
    assert baseline_named({name: 0.25}, [{name: 0.25, "l2": 1.0}]) == named({name: 0.25})


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_what_is_off_is_not_said_and_what_is_on_is(name):
    off = OFF_VALUES.get(name)
    if off is not None:
        assert named({name: off}) == "no regularisation"
    words = named({name: 0.3125})
    assert "0.3125" in words
    assert "_" not in words
    assert "{" not in words


@pytest.mark.parametrize("metric", [*VAL, "test_r2", "train_cost"])
def test_metrics_have_names_and_units(metric):
    words = metric_in_words(metric)
    assert re.fullmatch(r"(training|validation|test) [\w² ]+", words)
    assert "_" not in words
    assert value_in_words(metric, 0.5).endswith("%") == ("accuracy" in metric)
