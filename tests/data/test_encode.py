"""Inputs from coded columns: those of scikit-learn's transformers, fitted on the training rows alone."""

import numpy as np
import pandas as pd
import pytest
import tables
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from regjax.data.encode import encode, fit_statistics
from regjax.data.schema import take_schema


def by_hand(schema, frame, train, new):
    """Returns the inputs of new rows, `(n, width)`, by a ColumnTransformer of training rows."""
    parts, train_columns, new_columns = [], {}, {}
    for column in schema.kept:
        cells = [frame[column.name].iloc[train], new[column.name]]
        if column.kind == "category":
            cells = [part.map(str, na_action="ignore") for part in cells]
            counts = cells[0].value_counts()
            rare = {*column.rare}
            if column.rare:
                rare |= {level for level in column.levels if counts.get(level, 0) < schema.least}
            cells = [part.map(lambda text, r=rare: "?other" if text in r else text) for part in cells]
            cells = [part.astype(object).where(part.notna(), "?missing") for part in cells]
            levels = [
                *column.levels,
                *(["?other"] if column.rare else []),
                *(["?missing"] if column.gaps else []),
            ]
            with_inputs = OneHotEncoder(categories=[levels], handle_unknown="ignore", sparse_output=False)
        else:
            if column.kind == "date":
                day = pd.Timedelta(days=1)
                cells = [(pd.to_datetime(part) - pd.Timestamp(0)) / day for part in cells]
            cells = [part.astype(float) for part in cells]
            median = SimpleImputer(strategy="median", keep_empty_features=True)
            with_inputs = make_pipeline(median, StandardScaler())
            if column.gaps:
                said = MissingIndicator(features="all")
                with_inputs = FeatureUnion([("value", with_inputs), ("gap", said)])
        train_columns[column.name], new_columns[column.name] = cells
        parts.append((column.name, with_inputs, [column.name]))
    made = ColumnTransformer(parts, sparse_threshold=0)
    made.fit(pd.DataFrame(train_columns))
    return np.asarray(made.transform(pd.DataFrame(new_columns)), float)


@pytest.mark.nightly
@given(tables.mixed_frames(), st.randoms())
@settings(max_examples=60)
def test_inputs_are_those_of_scikit_learn(frame, random):
    schema = take_schema(frame)
    train = sorted(random.sample(range(len(frame)), len(frame) // 2))
    new = frame.iloc[[i for i in range(len(frame)) if i not in train]]
    statistics = fit_statistics(schema, schema.code(frame)[train])
    for rows in (frame, new):
        found = encode(schema, statistics, schema.code(rows))
        assert found.shape == (schema.width, len(rows))
        np.testing.assert_allclose(found.T, by_hand(schema, frame, train, rows), rtol=1e-6, atol=1e-6)


TRAIN = pd.DataFrame({
    "age": [1.0, 2, None, 9, 5, 5, 5, 5],
    "town": ["a", "a", "b", "b", "b", None, "rare", "rarer"],
    "size": [3.0, 4, 5, 4, 3, 4, 5, 4],
})  # fmt: skip


def encoded(rows, seen=slice(None), **options):
    schema = take_schema(TRAIN)
    statistics = fit_statistics(schema, schema.code(TRAIN)[seen], **options)
    return dict(
        zip(schema.input_names, encode(schema, statistics, schema.code(pd.DataFrame(rows))), strict=True)
    )


def test_gaps_take_the_median_of_the_training_rows_and_say_so():
    rows = {"age": [None, 2.0], "town": ["a", "a"], "size": [4.0, 4.0]}
    # The medians of all ages and of the first two differ.
    for seen, median in ((slice(None), 5.0), (slice(2), 1.5)):
        found = encoded(rows, seen, standardize=False)
        assert found["age"].tolist() == [median, 2]
        assert found["age missing"].tolist() == [1, 0]
        assert found["size"].tolist() == [4, 4]
    filled = np.array([1, 2, 5, 9, 5, 5, 5, 5.0])
    assert encoded(rows)["age"].tolist() == pytest.approx((np.array([5, 2]) - filled.mean()) / filled.std())


def test_levels_rare_unseen_and_missing_ones():
    towns = ["a", "b", "rare", "rarer", "never seen", None]
    found = encoded({"age": [1.0] * 6, "town": towns, "size": [1.0] * 6})
    assert found["town = a"].tolist() == [1, 0, 0, 0, 0, 0]
    assert found["town = b"].tolist() == [0, 1, 0, 0, 0, 0]
    assert found["town = other"].tolist() == [0, 0, 1, 1, 0, 0]
    assert found["town missing"].tolist() == [0, 0, 0, 0, 0, 1]
    # Of a training part with one row of b, b is as rare as the others.
    found = encoded({"age": [1.0] * 6, "town": towns, "size": [1.0] * 6}, slice(3))
    assert found["town = b"].tolist() == [0] * 6
    assert found["town = other"].tolist() == [0, 1, 1, 1, 0, 0]


def test_a_level_that_the_training_part_lacks_is_a_column_of_zeros():
    frame = pd.DataFrame({"town": [*"aabbaabb"], "x": [1.0, 5, 2, 4, 3, 7, 8, 9]})
    schema = take_schema(frame)
    coded = schema.code(frame)
    seen = coded[:, 0] == 0
    found = encode(schema, fit_statistics(schema, coded[seen]), coded[seen])
    assert schema.input_names == ("town = a", "town = b", "x")
    assert found[0].tolist() == [1] * 4
    assert found[1].tolist() == [0] * 4  # its weights are trained by no row


def test_columns_that_are_constant_or_empty_in_the_training_part_stay_finite():
    frame = pd.DataFrame({"x": [1.0, 1, 1, 2, 3], "gap": [None, None, None, 2.0, 3.0]})
    schema = take_schema(frame)
    coded = schema.code(frame)
    found = encode(schema, fit_statistics(schema, coded[:3]), coded)
    assert np.isfinite(found).all()
    assert found[0].tolist() == [0, 0, 0, 1, 2]
    assert found[1].tolist() == [0, 0, 0, 2, 3]
    assert found[2].tolist() == [1, 1, 1, 0, 0]


def test_inputs_have_the_dtype_that_is_asked_for():
    schema = take_schema(TRAIN)
    coded = schema.code(TRAIN)
    statistics = fit_statistics(schema, coded)
    single, double = (encode(schema, statistics, coded, dtype) for dtype in ("float32", "float64"))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single, double.astype(np.float32))
