"""Parameters of tests over products of axes, most of which run with the slow tests."""

import itertools
from collections.abc import Container, Iterable

import pytest


def slow_but(values: Iterable, fast: Container, every: int = 1) -> list:
    """Returns the values as parameters of a test; all but those in `fast` have the mark `slow`.

    Of these, all but one in `every` have the mark `nightly` too.
    """
    found, slow = [], 0
    for value in values:
        if value in fast:
            found.append(value)
            continue
        marks = (pytest.mark.slow, pytest.mark.nightly) if slow % every else pytest.mark.slow
        found.append(pytest.param(*as_arguments(value), marks=marks))
        slow += 1
    return found


def as_arguments(value: object) -> tuple:
    """Returns a parameter's values: a tuple has one for each name of the test's arguments."""
    return value if isinstance(value, tuple) else (value,)


def some_slow(*axes: Iterable, every: int) -> list:
    """Returns each combination of the axes' values; all but one in `every` have the mark `slow`.

    Those without are a diagonal: where an axis has at least `every` values, each value of another is there.
    """
    found = []
    for places in itertools.product(*(list(enumerate(axis)) for axis in axes)):
        fast = sum(index for index, _ in places) % every == 0
        found.append(pytest.param(*(value for _, value in places), marks=() if fast else pytest.mark.slow))
    return found
