"""What is made of each column, by value, and how a frame's columns are found by name and coded."""

import json

import numpy as np
import pandas as pd
import pytest
import tables
from hypothesis import given, settings
from hypothesis import strategies as st

from regjax.data.schema import Column, Schema, columns_in_words, take_schema

N = 40
NOISE = np.random.default_rng(0).normal(size=N)
FEW = ["b", "a"] * (N // 2)

# Column -> its kind, its inputs after its name, and words of its note.
MADE = [
    (NOISE, "numeric", [""], "number"),
    (np.where(NOISE > 1, np.nan, NOISE), "numeric", ["", " missing"], "gaps filled with the median"),
    (FEW, "category", [" = a", " = b"], "category: 2 levels"),
    (np.array(FEW) == "a", "category", [" = False", " = True"], "category: 2 levels"),
    (pd.Categorical(FEW), "category", [" = a", " = b"], "category: 2 levels"),
    (pd.Categorical([3, 10] * 20), "category", [" = 3", " = 10"], "category: 2 levels"),
    ([None, *FEW[1:]], "category", [" = a", " = b", " missing"], "category: 2 levels, 1 gap"),
    (["c", *FEW[1:]], "category", [" = a", " = b", " = other"], "2 levels, 1 rare one together"),
    (["c", "d", None, *FEW[3:]], "category", [" = a", " = b", " = other", " missing"], "2 rare ones"),
    (["None", "NA"] * 20, "category", [" = NA", " = None"], "category: 2 levels"),
    ([f"2020-01-{i % 28 + 1:02}" for i in range(N)], "date", [""], "a number of days"),
    (["2020-01-01", None] * 20, "date", ["", " missing"], "20 gaps"),
    (np.arange(N), "drop", [], "a counter from 0 to 39"),
    (np.arange(N)[::-1] + 7.0, "drop", [], "a counter from 7 to 46"),
    (np.arange(N) * 2, "numeric", [""], "number"),
    (np.full(N, 3), "drop", [], "the same in all rows (3)"),
    (["x"] * N, "drop", [], "the same in all rows (x)"),
    (["2020-01-01"] * N, "drop", [], "the same in all rows"),
    ([None] * N, "drop", [], "empty"),
    ([3.0, None] * 20, "numeric", ["", " missing"], "20 gaps"),
    (["x", None] * 20, "category", [" = x", " missing"], "1 level, 20 gaps"),
    ([f"name {i}" for i in range(N)], "drop", [], "an identifier, different in each row"),
    ([f"name {i}" for i in range(N - 1)] + ["name 0"], "category", [" = name 0", " = other"], "38 rare"),
    (["1e3", "2e3"] * 20, "numeric", [""], "number"),
]


@pytest.mark.parametrize(("column", "kind", "inputs", "words"), MADE, ids=lambda value: f"{value!r:.30}")
def test_what_is_made_of_a_column(column, kind, inputs, words):
    frame = pd.DataFrame({"p": column, "other": NOISE})
    found = take_schema(frame).columns[0]
    assert (found.name, found.kind, found.inputs) == ("p", kind, tuple(f"p{name}" for name in inputs))
    assert words in found.note
    # Rows in another order, and levels that appear in another order, change nothing.
    turned = frame.iloc[::-1].reset_index(drop=True)
    assert take_schema(turned).columns[0] == found


# Asked kind of such a column -> its inputs.
ASKED = [
    (np.arange(N), "numeric", [""]),
    (np.full(N, 3), "numeric", [""]),
    (np.arange(N) % 3, "category", [" = 0", " = 1", " = 2"]),
    (NOISE.round(), "category", None),
    ([f"name {i}" for i in range(N - 1)] + ["name 0"], "category", [" = name 0", " = other"]),
    (["x"] * N, "category", [" = x"]),
    (["2020-01-01", "2020-01-02"] * 20, "category", [" = 2020-01-01", " = 2020-01-02"]),
    (["2020-01-01", "2020-01-02"] * 20, "date", [""]),
    (FEW, "drop", []),
    (pd.Categorical([3, 10] * 20), "numeric", [""]),
    ([True, False, None, True] * 10, "numeric", ["", " missing"]),
]


@pytest.mark.parametrize(("column", "asked", "inputs"), ASKED, ids=lambda value: f"{value!r:.30}")
def test_the_user_says_what_a_column_is(column, asked, inputs):
    schema = take_schema(pd.DataFrame({"p": column, "other": NOISE}), {"p": asked})
    assert schema.columns[0].kind == asked
    if inputs is not None:
        assert schema.columns[0].inputs == tuple(f"p{name}" for name in inputs)
    assert "as asked" in schema.columns[0].note or asked != "drop"


BAD = [
    ({"p": [*NOISE[1:], np.inf]}, {}, ValueError, "column 'p' must be finite, got inf in row 39 (counted"),
    ({"p": [*map(str, NOISE[1:]), "-inf"]}, {}, ValueError, "column 'p' must be finite, got -inf in row 39"),
    (
        {"p": ["red", *map(str, NOISE[1:])]},
        {},
        ValueError,
        "column 'p' must hold numbers in all rows or be named a category, got 'red' in row 0",
    ),
    (
        {"p": ["red", "blue", "red", *map(str, range(3, 20)), "blue", *map(str, NOISE[21:])]},
        {},
        ValueError,
        "'blue', 'red' in row 0 (counted from 0), row 1 (counted from 0), row 2 (counted from 0) and 1 more",
    ),
    ({"p": FEW}, {"p": "numeric"}, ValueError, "column 'p' must hold numbers, got 'b' in row 0"),
    ({"p": FEW}, {"p": "date"}, ValueError, "column 'p' must hold dates, got 'b' in row 0"),
    ({"p": NOISE}, {"p": "date"}, ValueError, "column 'p' must hold dates, got"),
    ({"p": NOISE}, {"p": "number"}, ValueError, "columns: p must be one of numeric, category, date, drop"),
    ({"p": NOISE}, {"q": "drop"}, ValueError, "columns must name columns of the table ('p'), got 'q'"),
    ({"price": NOISE}, {"prise": "drop"}, ValueError, "did you mean price?"),
    ({"p": NOISE}, {"p": "drop"}, ValueError, "got none (p: left out, as asked)"),
    (
        {"p": np.ones(N), "q": np.arange(N)},
        {},
        ValueError,
        "got none (p: left out: the same in all rows (1);",
    ),
    ({"p": NOISE}, {"p": "category"}, ValueError, "must have values that repeat to be a category, got 40"),
    ({"p": NOISE + 1j}, {}, TypeError, "column 'p' must hold numbers, dates or text, got dtype complex128"),
]


@pytest.mark.parametrize(("columns", "kinds", "error", "words"), BAD, ids=lambda value: f"{value!s:.40}")
def test_what_no_column_can_be_is_said(columns, kinds, error, words):
    with pytest.raises(error) as raised:
        take_schema(pd.DataFrame(columns), kinds)
    assert words in str(raised.value)


def test_few_words_are_no_mistake_where_there_are_many():
    for words in (["x"] * 5, list("abcdef")):
        column = [*words, *map(str, NOISE[len(words) :])] if len(words) == 5 else [*words * 2, *NOISE[12:]]
        assert take_schema(pd.DataFrame({"p": column, "q": NOISE})).columns[0].kind in ("category", "drop")


@given(tables.mixed_frames(), st.randoms())
@settings(max_examples=40)
def test_permuted_columns_are_coded_alike(frame, random):
    schema = take_schema(frame)
    names = list(frame.columns)
    random.shuffle(names)
    coded = schema.code(frame)
    np.testing.assert_array_equal(schema.code(frame[names]), coded)
    assert coded.shape == (len(frame), len(schema.kept))
    # Each row is coded by itself.
    order = random.sample(range(len(frame)), len(frame))
    np.testing.assert_array_equal(schema.code(frame.iloc[order]), coded[order])
    for j, column in enumerate(schema.kept):
        codes = coded[:, j]
        assert np.isnan(codes).any() == column.gaps
        if column.kind == "category":
            texts = frame[column.name].astype(object)
            for code, text in zip(codes, texts, strict=True):
                if not np.isnan(code):
                    assert (column.levels[int(code)] if code < len(column.levels) else "") in (str(text), "")


@given(tables.mixed_frames())
@settings(max_examples=30)
def test_a_schema_survives_json(frame):
    schema = take_schema(frame, target="y")
    again = Schema.from_json(json.loads(json.dumps(schema.as_json())))
    assert again == schema
    np.testing.assert_array_equal(again.code(frame), schema.code(frame))
    assert again.input_names == schema.input_names
    assert sum(map(len, schema.column_inputs.values())) == schema.width


TRAIN = pd.DataFrame(
    {"age": NOISE, "town": FEW, "id": np.arange(N), "gap": np.where(NOISE > 0, NOISE, np.nan)}
)


def test_new_rows_have_gaps_unseen_levels_and_no_dropped_columns():
    schema = take_schema(TRAIN, target="y")
    new = pd.DataFrame({"gap": [None, "2"], "town": ["c", None], "age": ["", "1"]})
    np.testing.assert_array_equal(schema.code(new), [[np.nan, -1, np.nan], [1, np.nan, 2]])
    # A dropped column and the target may stand beside them.
    beside = new.assign(y=["no", "no"], id=["x", "y"])
    np.testing.assert_array_equal(schema.code(beside), schema.code(new))


BAD_ROWS = [
    ({"age": [1]}, "must have the columns of the training table, lacks 'town', 'gap'"),
    ({"Age": [1], "town": ["a"], "gap": [1]}, "lacks 'age', and has 'Age' instead; is 'Age' meant?"),
    ({"age": [1], "town": ["a"], "gap": [1], "z": [1]}, "training table alone, got 'z' besides"),
    ({"age": ["old"], "town": ["a"], "gap": [1]}, "column 'age' must hold numbers, got 'old' in line 1"),
    ({"age": [np.inf], "town": ["a"], "gap": [1]}, "column 'age' must be finite, got inf in line 1"),
    ({"age": ["2020-01-01"], "town": ["a"], "gap": [1]}, "column 'age' must hold numbers, got '2020-01-01'"),
]


@pytest.mark.parametrize(("columns", "words"), BAD_ROWS, ids=lambda value: f"{value!s:.40}")
def test_rows_that_do_not_fit_are_refused_in_words(columns, words):
    schema = take_schema(TRAIN, target="y")
    with pytest.raises(ValueError, match="must") as raised:
        schema.code(pd.DataFrame(columns), lambda row: f"line {row + 1}", "new.csv")
    assert words in str(raised.value)
    assert str(raised.value).startswith("column 'age'" if words.startswith("column") else "new.csv: ")


@pytest.mark.parametrize(
    ("first", "words"), [("13/02/2020", "day/month/year"), ("02/13/2020", "month/day/year")]
)
def test_dates_of_new_rows_are_read_as_those_of_the_table(first, words):
    schema = take_schema(pd.DataFrame({"day": [first, "03/02/2020"] * 4, "x": NOISE[:8]}))
    assert schema.columns[0].note == f"date ({words}), as a number of days"
    days = schema.code(pd.DataFrame({"day": ["01/02/2020"], "x": [1.0]}))[0, 0]  # either order fits it
    assert days == (pd.Timestamp("2020-02-01" if words[0] == "d" else "2020-01-02") - pd.Timestamp(0)).days
    assert (
        schema.code(pd.DataFrame({"day": [pd.Timestamp(days, unit="D").date().isoformat()], "x": [1.0]}))[
            0, 0
        ]
        == days
    )
    other = {"13/02/2020": "02/13/2020", "02/13/2020": "13/02/2020"}[first]
    with pytest.raises(ValueError, match=f"column 'day' must hold dates as {words}, got '{other}' in row 0"):
        schema.code(pd.DataFrame({"day": [other], "x": [1.0]}))


def test_a_word_that_may_be_a_gap_is_a_level_and_said_so():
    schema = take_schema(pd.DataFrame({"sex": ["f", "m", "NA", "f"] * 5, "x": NOISE[:20]}))
    words = "category: 3 levels, 'NA' taken for a level (--gaps NA takes it for a gap)"
    assert (schema.columns[0].note, schema.columns[0].levels) == (words, ("NA", "f", "m"))


def test_columns_of_the_same_words_share_a_line():
    words = columns_in_words(take_schema(TRAIN.assign(weight=NOISE)))
    assert words.startswith("age, weight: number; town: category: 2 levels; id: left out: a counter from 0")
    assert columns_in_words(Schema((Column("a", "numeric"),))) == "a: numeric"
