"""Cells by value: the same numbers, texts and gaps whatever dtype a column comes in."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regjax.data.cells import read_cells, text_of

SAME_NUMBERS = [
    [1, 2, 10],
    [1.0, 2.0, 10.0],
    ["1", "2", "10"],
    [b"1", b"2", b"10"],
    [" 1", "2 ", "10"],
    [1, "2", 10.0],
    np.array([1, 2, 10], np.uint8),
    np.array([1, 2, 10], np.float32),
    np.array(["1", "2", "10"]),
    pd.array([1, 2, 10], "Int64"),
    pd.Series([1, 2, 10], dtype="Float32"),
    pd.Series(["1", "2", "10"], dtype="string"),
    pd.Series([1, 2, 10], dtype=object),
]


@pytest.mark.parametrize("column", SAME_NUMBERS, ids=lambda column: f"{type(column).__name__} {column!r:.20}")
def test_numbers_are_the_same_in_every_dtype(column):
    cells = read_cells(pd.Series(column))
    assert cells.kind == "number"
    assert cells.numbers is not None
    assert cells.numbers.tolist() == [1, 2, 10]
    assert cells.texts.tolist() == ["1", "2", "10"]  # by value: as text, 10 would come before 2
    assert cells.text_of.tolist() == [0, 1, 2]
    assert cells.counts.tolist() == [1, 1, 1]
    assert not cells.gaps.any()


# Column -> its kind, and the text of each cell ("" for a gap).
TABLE = [
    (["b", "a", "b"], "text", ["b", "a", "b"]),
    (["b", None, "a "], "text", ["b", "", "a"]),
    (["b", "  ", ""], "text", ["b", "", ""]),
    (["None", "NA", "nan"], "text", ["None", "NA", "nan"]),
    ([True, False, True], "text", ["True", "False", "True"]),
    (pd.array([True, None, False], "boolean"), "text", ["True", "", "False"]),
    ([True, None, 1], "text", ["True", "", "1"]),
    (pd.Categorical([3, 1, 3]), "text", ["3", "1", "3"]),
    (pd.Categorical(["a", None, "b"]), "text", ["a", "", "b"]),
    (pd.Categorical.from_codes([0, 0, -1], ["a", "unused"]), "text", ["a", "a", ""]),
    ([1.5, np.nan, np.inf], "number", ["1.5", "", "inf"]),
    (pd.array([1, None, 3], "Int64"), "number", ["1", "", "3"]),
    (["1.5", "", "2"], "number", ["1.5", "", "2"]),
    (["1.5", "x", "2"], "text", ["1.5", "x", "2"]),
    (["1_000", "2", "3"], "text", ["1_000", "2", "3"]),
    (["0x10", "2", "3"], "text", ["0x10", "2", "3"]),
    ([-0.0, 0, 1e300], "number", ["0", "0", "1e+300"]),
    ([None, None, None], "text", ["", "", ""]),
    ([np.nan, np.nan, np.nan], "number", ["", "", ""]),
    ([2**53 + 1, 2**53, 1], "text", ["9007199254740993", "9007199254740992", "1"]),
    (["9007199254740993", "2", ""], "text", ["9007199254740993", "2", ""]),
    ([[1], [2], None], "text", ["[1]", "[2]", ""]),
    ([pd.NaT, None, "a"], "text", ["", "", "a"]),
    (["2020-01-31", "", "2020-02-01"], "date", ["2020-01-31", "", "2020-02-01"]),
    (["31.1.2020", "1.2.2020", ""], "date", ["31.1.2020", "1.2.2020", ""]),
    (["2020-01-31", "2020-13-01", ""], "text", ["2020-01-31", "2020-13-01", ""]),
]


@pytest.mark.parametrize(("column", "kind", "texts"), TABLE, ids=lambda value: f"{value!r:.40}")
def test_kind_gaps_and_texts(column, kind, texts):
    cells = read_cells(pd.Series(column))
    assert cells.kind == kind
    assert cells.gaps.tolist() == [text == "" for text in texts]
    assert ["" if gap else cells.text_at(row) for row, gap in enumerate(cells.gaps)] == texts
    assert cells.counts.sum() == np.sum(~cells.gaps)


DAYS = [
    ["2020-01-01", "2020-01-03 12:00"],
    ["1/1/2020", "1/3/2020"],
    ["13/1/2020", "1/3/2020"],
    ["1.1.2020", "3.1.2020"],
    [datetime.date(2020, 1, 1), datetime.date(2020, 1, 3)],
    np.array(["2020-01-01", "2020-01-03"], "M8[s]"),
    pd.to_datetime(["2020-01-01", "2020-01-03"]).tz_localize("UTC"),
    pd.PeriodIndex(["2020-01-01", "2020-01-03"], freq="D"),
]


@pytest.mark.parametrize("column", DAYS, ids=lambda column: f"{type(column).__name__} {column[0]!s:.12}")
def test_dates_are_days_since_1970(column):
    cells = read_cells(pd.Series(column))
    assert cells.kind == "date"
    assert cells.days is not None
    first = 18262.0  # 2020-01-01
    expected = {"13/1/2020": [first + 12, first + 60], "2020-01-01": [first, first + 2]}
    short = str(column[0])[:10]
    if short == "2020-01-01" and isinstance(column[1], str):
        expected[short] = [first, first + 2.5]
    assert cells.days.tolist() == expected.get(short, [first, first + 2])


def test_durations_are_days_and_complex_numbers_are_refused():
    cells = read_cells(pd.Series([np.timedelta64(36, "h"), pd.NaT]))
    assert (cells.kind, cells.texts.tolist(), cells.gaps.tolist()) == ("number", ["1.5"], [False, True])
    with pytest.raises(TypeError, match="column 'z' must hold numbers, dates or text, got dtype complex128"):
        read_cells(pd.Series([1j]), "column 'z'")


CELL = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4), st.dates(),
    st.sampled_from(["1", "1.0", "-5", "inf", "1e5", " x", "NA", "2020-01-01", "1/2/2020", b"\xff"]),
)  # fmt: skip


@pytest.mark.nightly
@given(st.lists(CELL, min_size=1, max_size=8))
@settings(max_examples=300)
def test_every_cell_is_a_gap_or_has_its_text(column):
    cells = read_cells(pd.Series(column, dtype=object))
    texts = cells.texts.tolist()
    assert len(set(texts)) == len(texts)
    for row, value in enumerate(column):
        assert cells.gaps[row] == (text_of(value) == "")
        assert (cells.text_of[row] == -1) == cells.gaps[row]
        if cells.kind == "number" and not cells.gaps[row]:
            assert cells.numbers is not None
            assert float(value) == cells.numbers[row]
    # The order of rows changes nothing but the order of rows.
    turned = read_cells(pd.Series(column[::-1], dtype=object))
    assert turned.kind == cells.kind
    assert turned.texts.tolist() == texts
    assert turned.text_of.tolist() == cells.text_of.tolist()[::-1]
