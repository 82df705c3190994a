"""Data sets of frames and arrays: targets by name, roles of columns, and notes for the user."""

import numpy as np
import pandas as pd
import pytest

from regjax.data.table import (
    Reading,
    as_pandas,
    frame_to_test,
    groups_of,
    is_frame,
    samples_of_arrays,
    samples_of_frame,
    samples_of_pair,
)

N = 30
NOISE = np.random.default_rng(0).normal(size=N)
FRAME = pd.DataFrame({
    "a": NOISE,
    "town": ["p", "q", None] * 10,
    "patient": np.repeat([f"p{i}" for i in range(10)], 3),
    "day": [f"2020-01-{i + 1:02}" for i in range(N)],
    "w": np.arange(N) % 3 + 1.0,
    "y": ["no", "yes"] * 15,
})  # fmt: skip


def test_a_frame_is_coded_and_its_target_found_by_name():
    samples = samples_of_frame(FRAME, Reading())
    assert samples.schema is not None
    assert samples.schema.target == "y"
    assert samples.train.y.tolist() == [[0, 1] * 15]
    assert samples.classes is not None
    assert samples.classes.tolist() == ["no", "yes"]
    assert samples.schema is not None
    assert samples.schema.input_names[:4] == ("a", "town = p", "town = q", "town missing")
    other = samples_of_frame(FRAME, Reading(target="a"))
    np.testing.assert_array_equal(other.train.y[0], NOISE)
    assert other.schema is not None
    assert "y = yes" in other.schema.input_names
    beside = samples_of_pair(FRAME.drop(columns="y"), FRAME["y"], Reading())
    np.testing.assert_array_equal(beside.train.x, samples.train.x)
    assert beside.schema is not None
    assert beside.schema.target == ""


def test_columns_say_how_rows_belong_together_and_are_no_inputs():
    reading = Reading(groups="patient", time="day", weights="w")
    samples = samples_of_frame(FRAME, reading)
    assert samples.schema is not None
    assert [column.name for column in samples.schema.kept] == ["a", "town"]
    assert samples.groups is not None
    assert samples.groups.tolist() == FRAME["patient"].tolist()
    assert samples.time is not None
    np.testing.assert_array_equal(np.diff(samples.time), np.ones(N - 1))
    np.testing.assert_allclose(samples.train.weights, FRAME["w"] / 2)
    kept = samples_of_frame(FRAME, Reading(weights="w", columns={"w": "numeric"}))
    assert kept.schema is not None
    assert "w" in kept.schema.input_names
    np.testing.assert_allclose(kept.train.weights, FRAME["w"] / 2)


# Options -> the error's words.
BAD = [
    ({"target": "z"}, FRAME, ValueError, "target must be one of 'a', 'town', .* got 'z'"),
    ({"target": "Y"}, FRAME.rename(columns={"y": "Yield"}), ValueError, "got 'Y'$"),
    ({"target": "patiant"}, FRAME, ValueError, "did you mean patient"),
    ({"target": 3}, FRAME, TypeError, "target must be the name of a column, got 3"),
    ({"groups": "z"}, FRAME, ValueError, "groups must be one of"),
    ({"groups": "town"}, FRAME, ValueError, "groups must have no gaps, got one in row 2"),
    ({"time": "town"}, FRAME, ValueError, "time must hold numbers or dates in all rows, got 'p' in row 0"),
    (
        {"time": "g", "target": "y"},
        FRAME.assign(g=[1.0, None] * 15),
        ValueError,
        "time must hold .* got a gap in row 1",
    ),
    ({"weights": "patient"}, FRAME, ValueError, "weights must hold numbers in all rows, got 'p0' in row 0"),
    ({"weights": "w"}, FRAME.assign(w=-1.0), ValueError, "weights must be"),
    (
        {"task": "regression"},
        FRAME,
        TypeError,
        "target 'y' must hold numbers for a regression, got 'no' in row 0",
    ),
    ({}, FRAME.assign(y="no"), ValueError, "target 'y' must have two classes at least, got 'no' in all rows"),
    (
        {},
        FRAME.assign(y=[None, *["a", "b"] * 14, "a"]),
        ValueError,
        "target 'y' must have no gaps, got one in row 0",
    ),
    ({}, FRAME[:0], ValueError, "must have at least one row below its names, got none"),
    ({}, FRAME[["y"]], ValueError, "must have a column besides the target"),
    ({"columns": {"y": "drop"}}, FRAME, ValueError, "columns must name columns of the table"),
]


@pytest.mark.parametrize(("options", "frame", "error", "words"), BAD, ids=lambda value: f"{value!s:.40}")
def test_what_does_not_fit_is_refused_in_words(options, frame, error, words):
    with pytest.raises(error, match=words):
        samples_of_frame(frame, Reading(**options))


def test_a_pair_must_have_as_many_targets_as_rows():
    with pytest.raises(ValueError, match="X and y must have the same number of samples, got 30 and 2"):
        samples_of_pair(FRAME, [0, 1], Reading())


def test_notes_on_repeated_rows_and_identifiers():
    repeated = pd.concat([FRAME[:15]] * 2, ignore_index=True).assign(patient_id=FRAME["patient"])
    notes = samples_of_frame(repeated.drop(columns="patient_id"), Reading()).notes
    assert any(note.startswith("15 rows repeat an earlier one") for note in notes)
    notes = samples_of_frame(repeated[["a", "town", "patient_id", "y"]], Reading(target="y")).notes
    assert any(note.startswith("patient_id repeats (10 values in 30 rows)") for note in notes)
    grouped = samples_of_frame(repeated, Reading(target="y", groups="patient_id"))
    assert not any("repeat" in note for note in grouped.notes)
    assert not samples_of_frame(FRAME.drop(columns="patient"), Reading()).notes


@pytest.mark.parametrize(
    "name", ["id", "ID", "user_id", "userId", "Patient", "subject", "uuid", "row.id", "IDS"]
)
def test_names_of_identifiers(name):
    frame = FRAME[["a", "patient", "y"]].rename(columns={"patient": name})
    assert any("repeats" in note for note in samples_of_frame(frame, Reading()).notes)


@pytest.mark.parametrize("name", ["paid", "period", "Rapid", "humid", "idea", "valid"])
def test_names_that_only_end_like_identifiers(name):
    frame = FRAME[["a", "patient", "y"]].rename(columns={"patient": name})
    assert not samples_of_frame(frame, Reading()).notes


def test_test_rows_are_found_by_name():
    samples = samples_of_frame(FRAME, Reading())
    turned = FRAME[FRAME.columns[::-1]][:7]
    test = frame_to_test(turned, None, samples, Reading())
    np.testing.assert_array_equal(test.x, samples.train.x[:, :7])
    np.testing.assert_array_equal(test.y, samples.train.y[:, :7])
    pair = frame_to_test(turned.drop(columns="y"), turned["y"], samples, Reading())
    np.testing.assert_array_equal(pair.x, test.x)
    weighted = Reading(weights="w")
    test = frame_to_test(turned, None, samples_of_frame(FRAME, weighted), weighted)
    np.testing.assert_allclose(test.weights, FRAME["w"][:7] / FRAME["w"][:7].mean())
    with pytest.raises(ValueError, match=r"new\.csv: must have the target 'y', got the columns .*'Y'"):
        frame_to_test(turned.rename(columns={"y": "Y"}), None, samples, Reading(), source="new.csv")
    with pytest.raises(ValueError, match="target 'y' must hold the classes no, yes, got maybe in row 0"):
        frame_to_test(turned.assign(y="maybe"), None, samples, Reading())


def test_frames_of_polars_and_of_other_names_become_frames_of_pandas():
    polars = pytest.importorskip("polars")
    plain = FRAME.astype(object).where(FRAME.notna(), None)
    frame = polars.DataFrame({name: plain[name].to_list() for name in plain})
    for given in (frame, frame.lazy()):
        assert is_frame(given)
        one, other = (samples_of_frame(as_pandas(f), Reading()) for f in (given, FRAME))
        np.testing.assert_array_equal(one.train.x, other.train.x)
        assert one.schema == other.schema
    assert not is_frame(FRAME["a"])
    assert not is_frame(NOISE)
    levels = pd.DataFrame(np.ones((2, 2)), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))
    assert as_pandas(levels).columns.tolist() == ["a 1", "a 2"]
    assert as_pandas(pd.DataFrame(np.ones((2, 2)))).columns.tolist() == ["0", "1"]
    with pytest.raises(ValueError, match="must have a name of its own for each column, got '1' twice"):
        as_pandas(pd.DataFrame(np.ones((2, 2)), columns=[1, "1"]))


def test_arrays_have_no_names_and_groups_are_texts():
    samples = samples_of_arrays(np.ones((4, 2)), [1, 2, 1, 2])
    assert (samples.schema, samples.train.y.tolist()) == (None, [[0, 1, 0, 1]])
    assert groups_of(pd.Series([1, 1.0, "1", "b"])).tolist() == ["1", "1", "1", "b"]
