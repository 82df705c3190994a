"""Targets by value: classes and quantities, whatever dtype they come in."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regjax.data.targets import read_targets

PATTERN = [0, 1, 1, 0, 1, 0]
SAME_CLASSES = [
    ([0, 1], None),
    ([1, 2], [1, 2]),
    ([-1, 1], [-1, 1]),
    ([1, 26], [1, 26]),
    ([0.0, 1.0], None),
    ([1.0, 26.0], [1, 26]),
    (["0", "1"], None),
    (["1", "26"], [1, 26]),
    (["2", "10"], [2, 10]),  # by value, not by letters
    ([False, True], [False, True]),
    (["no", "yes"], ["no", "yes"]),
    (["NA", "None"], ["NA", "None"]),
    ([b"a", b"b"], ["a", "b"]),
    (["01", "x"], ["01", "x"]),
    ([2**60, 2**60 + 1], [2**60, 2**60 + 1]),
    (["123456789012345678901", "223456789012345678902"], ["123456789012345678901", "223456789012345678902"]),
]


@pytest.mark.parametrize(("labels", "classes"), SAME_CLASSES, ids=lambda value: f"{value!r:.40}")
@pytest.mark.parametrize("container", ["list", "array", "column", "series", "category", "object"])
def test_the_same_classes_in_every_dtype(labels, classes, container):
    values = [labels[code] for code in PATTERN]
    column = {
        "list": values,
        "array": np.array(values),
        "column": np.array(values)[:, None],
        "series": pd.Series(values),
        "category": pd.Series(pd.Categorical(values)),
        "object": np.array(values, object),
    }[container]
    found = read_targets(column)
    assert found.y.dtype == np.int32
    assert found.y.ravel().tolist() == PATTERN
    if classes is None:
        assert found.classes is None
    else:
        assert found.classes is not None
        assert found.classes.tolist() == classes
    # Test labels are read by value too; they may lack a class.
    known = np.array([0, 1]) if found.classes is None else found.classes
    again = read_targets(column[1:3], classes=known)
    assert again.y.ravel().tolist() == [1, 1]


def numbers(*values, rows=60):
    return np.resize(np.array(values), rows)


# Values -> whether "auto" takes them for classes, and words of its note.
AUTO = [
    (numbers(0, 1), True, ""),
    (numbers(0.5, 1.5), False, ""),
    (numbers(*range(10)), True, ""),
    (numbers(*range(1, 11)), True, ""),
    (numbers(*range(11)), True, "11 different whole numbers, taken for classes: --task regression"),
    (numbers(*range(26)), True, "26 different whole numbers, taken for classes"),
    (numbers(*range(2, 14)), True, "12 different whole numbers, taken for classes"),
    (numbers(*range(0, 30, 2)), False, "15 different whole numbers, taken for a quantity (regression)"),
    (numbers(*range(100, 4200, 100)), False, "41 different whole numbers, taken for a quantity"),
    (numbers(1, 5, 9), True, ""),
    (numbers(3, 7, rows=2), True, ""),
    (numbers(1, 2, 3, rows=3), False, "taken for a quantity"),
    (numbers(1e300, 2e300), False, ""),
    (numbers(2.5, 2.5), False, ""),
    (np.array(["2020-01-01", "2020-01-02"] * 5), False, "holds dates, taken as a quantity"),
    (np.array(["a", "b", "1"] * 5), True, ""),
]


@pytest.mark.parametrize(("values", "is_class", "words"), AUTO, ids=lambda value: f"{value!s:.30}")
def test_what_auto_takes_for_classes(values, is_class, words):
    found = read_targets(values, name="mass")
    assert np.issubdtype(found.y.dtype, np.integer) == is_class
    assert bool(found.notes) == bool(words)
    assert words in " ".join(found.notes)
    # The task is obeyed, and says nothing then.
    for task, real in (("classification", False), ("regression", True)):
        possible = values.dtype.kind != "U" or len(set(values)) == 2 or task == "classification"
        if possible and (
            task == "regression" or values.dtype.kind != "f" or np.all(values == np.floor(values))
        ):
            if task == "classification" and len(set(values)) == 1:
                continue
            asked = read_targets(values, task)
            assert np.issubdtype(asked.y.dtype, np.floating) == real
            assert asked.notes == ()


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30))
def test_whole_numbers_are_read_alike_from_every_dtype(values):
    found = [
        _outcome(column)
        for column in (
            values,
            np.array(values),
            np.array(values, float),
            [*map(str, values)],
            pd.Series(values),
        )
    ]
    assert all(other == found[0] for other in found)


def _outcome(column):
    try:
        found = read_targets(column)
    except ValueError as error:
        return str(error)
    return found.y.tolist(), None if found.classes is None else found.classes.tolist(), found.notes


def test_real_targets_are_numbers_of_one_or_several_columns():
    assert read_targets(["1.5", "2"], "regression").y.tolist() == [[1.5], [2]]
    assert read_targets([1, 2], "regression").y.dtype == np.float64
    assert read_targets(np.ones((3, 2))).y.shape == (3, 2)
    assert read_targets([True, False], "regression").y.tolist() == [[1], [0]]
    days = read_targets(np.array(["2020-01-01", "2020-01-03"], "M8[s]")).y
    assert (days - days[0]).ravel().tolist() == [0, 2]


BAD = [
    (
        [1, None, 2, np.nan],
        "auto",
        {},
        ValueError,
        "y must have no gaps, got one in row 1 .* and 1 more: take",
    ),
    (["a", "", "b"], "auto", {}, ValueError, "y must have no gaps, got one in row 1"),
    (["a", "b"], "regression", {}, TypeError, "y must hold numbers for a regression, got 'a' in row 0"),
    (["1", "2.5", "x"], "regression", {}, TypeError, "got 'x' in row 2"),
    ([True, "x"], "regression", {}, TypeError, "y must hold numbers for a regression, got 'True' in row 0"),
    ([0.5, np.inf], "auto", {}, ValueError, "y must be finite, got inf in row 1"),
    (
        [1.0, 2.5],
        "classification",
        {},
        ValueError,
        "whole numbers or text as class labels, got 2.5 in row 1",
    ),
    ([1.0, np.inf], "classification", {}, ValueError, "y must hold whole numbers or text"),
    (["a", "a"], "auto", {}, ValueError, "y must have two classes at least, got 'a' in all rows"),
    ([3, 3], "auto", {}, ValueError, "y must have two classes at least, got 3 in all rows"),
    (np.ones((2, 2)), "classification", {}, ValueError, "y must have one column of class labels, got 2"),
    (np.ones((2, 1, 1)), "auto", {}, ValueError, "y must be one- or two-dimensional"),
    (
        np.array([["a", "b"], ["c", "d"]]),
        "auto",
        {},
        TypeError,
        "y must hold numbers for a regression, got 'a'",
    ),
    ([1j, 2], "auto", {}, TypeError, "y must hold numbers, dates or text, got dtype complex128"),
    (["a", "c"], "auto", {"classes": ["a", "b"]}, ValueError, "y must hold the classes a, b, got c in row 1"),
    ([0, 7], "auto", {"classes": [0, 1]}, ValueError, "y must hold the classes 0, 1, got 7 in row 1"),
    ([0, None], "auto", {"classes": [0, 1]}, ValueError, "y must have no gaps"),
]


@pytest.mark.parametrize(
    ("values", "task", "options", "error", "words"), BAD, ids=lambda value: f"{value!s:.30}"
)
def test_what_no_target_can_be_is_said(values, task, options, error, words):
    with pytest.raises(error, match=words):
        read_targets(values, task, **options)
