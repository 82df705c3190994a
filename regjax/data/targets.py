"""Targets by value: whether they are classes or quantities, and the numbers of both.

{0, 1}, {1, 2}, {-1, 1}, whole floats, text and booleans give classes 0, 1, …, whatever dtype they come in;
the user's labels are kept beside them. `table.py` calls `read_targets`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import shortened, shown
from regjax.core.data import Task
from regjax.data.cells import MOST_EXACT, Cells, number_of, read_cells, text_of
from regjax.data.schema import RowName, position

# More different whole numbers than this are a quantity, unless they are 0, 1, … or 1, 2, … without a hole.
MOST_CLASSES = 20
# Rows that each of these classes has on average; fewer are a quantity.
ROWS_OF_A_CLASS = 5
# Different whole numbers from which on a note says what they were taken for.
SAY_FROM = 11


class Targets(NamedTuple):
    """Targets of samples.

    Attributes:
        y: `(n, 1)` classes 0, 1, …, int32; or `(n, n_outputs)` real targets, float64.
        classes: the user's labels of the classes, ascending, `(n_classes,)`; None where they are 0, 1, … .
        notes: sentences for the user.
    """

    y: np.ndarray
    classes: np.ndarray | None
    notes: tuple[str, ...] = ()


def read_targets(
    values: Any,
    task: Task = "auto",
    *,
    classes: ArrayLike | None = None,
    name: str = "y",
    row_name: RowName = position,
) -> Targets:
    """Returns the targets of a column or an array.

    Args:
        values: `(n,)` or `(n, 1)` of any dtype, or `(n, n_outputs)` of numbers.
        task: "auto" takes text, booleans and few different whole numbers as classes, others as a quantity.
        classes: labels of the classes 0, 1, …, of the training samples: for test samples.
        name: name of the target in messages.
        row_name: number of a row -> its name in messages.

    Raises:
        TypeError: no numbers where the task is regression, or complex ones.
        ValueError: gaps, infinity, one class alone, or a label that is none of `classes`.

    Example:
        >>> from regjax.data.targets import read_targets
        >>> read_targets([1.0, 26.0, 1.0]).y.ravel().tolist(), read_targets([1.0, 26.0]).classes.tolist()
        ([0, 1, 0], [1, 26])
    """
    array = values if getattr(values, "ndim", None) == 1 else np.asarray(values)
    if array.ndim == 2 and array.shape[1] > 1:
        if task == "classification":
            raise ValueError(f"{name} must have one column of class labels, got {array.shape[1]}")
        columns = [_quantity(read_cells(column, name), name, row_name) for column in array.T]
        return Targets(np.stack(columns, axis=1), None)
    if array.ndim == 2 and array.shape[1] == 1:
        array = np.asarray(array)[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must be one- or two-dimensional, got shape {np.shape(values)}")
    cells = read_cells(array, name)
    _check_gaps(cells, name, row_name)
    if classes is not None:
        return _known_classes(cells, np.asarray(classes), name, row_name)
    is_class, note = _is_class(cells, task, name, row_name)
    notes = (note,) if note else ()
    if not is_class:
        return Targets(_quantity(cells, name, row_name)[:, None], None, notes)
    labels = _labels(cells)
    if len(labels) == 1 and len(cells.gaps) > 1:
        raise ValueError(
            f"{name} must have two classes at least, got {shown(labels[0].item())} in all rows: "
            "there is nothing to learn"
        )
    counted = labels.dtype.kind == "i" and np.array_equal(labels, np.arange(len(labels)))
    y = cells.text_of.astype(np.int32)[:, None]
    return Targets(y, None if counted else labels, notes)


def _is_class(cells: Cells, task: Task, name: str, row_name: RowName) -> tuple[bool, str]:
    """Returns whether targets are classes, and a note where the user may see it otherwise."""
    if task != "auto":
        if task == "classification" and cells.kind == "number":
            _check_whole(cells, name, row_name)
        return task == "classification", ""
    if cells.kind == "date":
        return False, f"{name} holds dates, taken as a quantity: a number of days since 1970"
    if cells.kind != "number":
        return True, ""
    numbers = cells.numbers
    assert numbers is not None
    # All floats beyond 2⁵³ are whole: they say nothing about classes.
    if not np.all((np.abs(numbers) <= MOST_EXACT) & (numbers == np.floor(numbers))):
        return False, ""
    found = np.unique(numbers)
    k, n = len(found), len(numbers)
    counted = found[0] in (0, 1) and np.array_equal(found, found[0] + np.arange(k)) and 2 * k <= n
    few = k <= 2 or counted or (k <= MOST_CLASSES and ROWS_OF_A_CLASS * k <= n)
    if k < SAY_FROM and few:
        return True, ""
    taken, other = (
        ("classes", "them for a quantity") if few else ("a quantity (regression)", "them for classes")
    )
    flag = "regression" if few else "classification"
    note = f"{name} has {k:,} different whole numbers, taken for {taken}: --task {flag} takes {other}"
    return few, note


def _check_whole(cells: Cells, name: str, row_name: RowName) -> None:
    """Raises ValueError where numbers that are asked to be classes are not whole."""
    numbers = cells.numbers
    assert numbers is not None
    uncoded = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.floor(numbers)))
    if len(uncoded):
        at = int(uncoded[0])
        raise ValueError(
            f"{name} must hold whole numbers or text as class labels, got {numbers[at]} in {row_name(at)}"
        )


def _labels(cells: Cells) -> np.ndarray:
    """Returns the user's labels, ascending: whole numbers, booleans or text."""
    texts = cells.texts.tolist()
    if set(texts) <= {"True", "False"}:
        return np.array([text == "True" for text in texts])
    numbers = [_whole(text) for text in texts]
    if all(number is not None for number in numbers):
        return np.array(numbers)
    return np.array(texts, str)


def _whole(text: str) -> int | None:
    """Returns the whole number of 64 bits that a text is, or None."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 and str(number) == text else None


def _known_classes(cells: Cells, classes: np.ndarray, name: str, row_name: RowName) -> Targets:
    """Returns the classes of test samples by the labels of the training samples."""
    y = codes_of(cells, classes)
    if np.any(y < 0):
        row = int(np.argmax(y < 0))
        names = shortened(", ".join(map(str, classes.tolist())))
        raise ValueError(
            f"{name} must hold the classes {names}, got {shortened(cells.text_at(row))} in {row_name(row)}"
        )
    return Targets(y.astype(np.int32)[:, None], classes)


def codes_of(cells: Cells, classes: np.ndarray) -> np.ndarray:
    """Returns the number of each cell's class, `(n,)`; -1 for a gap, and for a label not in `classes`."""
    known = read_cells(classes)
    place = {text: i for i, text in enumerate(known.texts[known.text_of])}
    if cells.kind == "number":
        # Beside words, labels such as 01 stand as they are written; in a file of them alone they are numbers.
        place = {text_of(number_of(text)): i for text, i in reversed(place.items())} | place
    codes = np.array([*(place.get(text, -1) for text in cells.texts), -1])
    return codes[cells.text_of]


def _check_gaps(cells: Cells, name: str, row_name: RowName) -> None:
    if cells.gaps.any():
        rows = np.flatnonzero(cells.gaps)
        more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        raise ValueError(
            f"{name} must have no gaps, got one in {row_name(int(rows[0]))}{more}: take these rows out, "
            "they cannot be learned from"
        )


def _quantity(cells: Cells, name: str, row_name: RowName) -> np.ndarray:
    """Returns real targets, `(n,)`; raises TypeError for words, ValueError for gaps and infinity."""
    _check_gaps(cells, name, row_name)
    found = cells.quantity
    wrong = np.ones(len(cells.gaps), bool) if found is None else np.isnan(found)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TypeError(
            f"{name} must hold numbers for a regression, got {shown(cells.text_at(row))} in {row_name(row)}"
        )
    assert found is not None
    if not np.isfinite(found).all():
        row = int(np.argmax(~np.isfinite(found)))
        raise ValueError(f"{name} must be finite, got {found[row]} in {row_name(row)}")
    return found
