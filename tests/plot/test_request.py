"""What a figure is asked for: defaults, and what is refused."""

import numpy as np
import pytest
from sweeps import made_up

import regjax.plot
from regjax.plot.request import kept_row, order_of, ranked_by, strength_of, two_axes


def results(grid, count):
    scores = np.random.default_rng(0).random((count, 1, 2))
    return made_up(scores, grid, folds=2)


def test_nothing_but_validation_ranks():
    found = results({"l2": [0, 1]}, 2)
    assert ranked_by(found, "val_loss") == "val_loss"
    for metric in ("train_cost", "train_accuracy", "test_accuracy"):
        assert ranked_by(found, metric) == "val_accuracy"
        np.testing.assert_array_equal(order_of(found, metric), order_of(found, "val_accuracy"))


def test_the_longest_axes_come_first():
    grid = {"l2": [0, 1], "keep_prob": [1, 0.9, 0.8], "learning_rate": 0.1}
    found = results(grid, 6)
    assert two_axes(found, None, None) == ("keep_prob", "l2")
    assert two_axes(found, None, "keep_prob") == ("l2", "keep_prob")
    assert two_axes(found, "learning_rate", None) == ("learning_rate", "keep_prob")
    assert two_axes(results({"l2": [0, 1]}, 2), None, None) == ("l2", None)
    with pytest.raises(ValueError, match="y must be one of the names of the grid"):
        two_axes(found, "l2", "l1")


def test_the_strength_is_a_regulariser_that_varies():
    assert strength_of(results({"l2": 0.1, "l1": [0, 1]}, 2), None) == "l1"
    assert strength_of(results({"l2": 0.1, "learning_rate": [0.1, 1]}, 2), None) == "l2"
    assert strength_of(results({"learning_rate": [0.1, 1]}, 2), None) == "learning_rate"


def test_a_row_without_parameters_is_not_drawn():
    assert kept_row(results({"l2": [0, 1]}, 2), 0) is None


@pytest.mark.nightly
def test_no_function_hides_a_module():
    from importlib.resources import files

    modules = {path.name.removesuffix(".py") for path in files("regjax.plot").iterdir()}
    assert not modules & set(regjax.plot.__all__)
    assert not {path.name.removesuffix(".py") for path in files("regjax.report").iterdir()} & {
        "page",
        "About",
    }
    for name in regjax.plot.__all__:
        assert getattr(regjax.plot, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'pie'"):
        _ = regjax.plot.pie
