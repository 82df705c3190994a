"""Data sets of a sweep: the same network from every container, and nothing of held-out rows in its inputs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.io
import tables
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import count_tasks, stop_after

import regjax
from regjax.engine.replay import replay
from regjax.store.identity import identities, sweep_identity
from regjax.study.resolve import make_design

N = 48
CONFIG = {"hidden": (3,), "num_steps": 6, "eval_every": 6}
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 2)).round(4)
CODES = np.tile([0, 1, 1, 0], N // 4)


def swept(data, grid=None, **options):
    return regjax.sweep(data, CONFIG, grid, folds=2, progress=False, **options)


def assert_same_networks(one, other):
    np.testing.assert_array_equal(one.design.data.y, other.design.data.y)
    assert one.design.configs == other.design.configs
    for row in range(len(one)):
        for a, b in zip(one.params(row), other.params(row), strict=True):
            np.testing.assert_array_equal(a.w, b.w)
            np.testing.assert_array_equal(a.b, b.b)


@pytest.fixture(scope="module")
def reference():
    return swept((X, CODES), standardize=True)


# Labels of the classes 0 and 1.
LABELS = [
    [0, 1], [1, 2], [-1, 1], [1, 26], [0.0, 1.0], [1.0, 26.0], ["no", "yes"], ["NA", "None"], [False, True],
    ["1", "26"], ["Healthy", "None"], ["Insomnia", "NA"],
]  # fmt: skip


def containers(folder, labels):
    """Yields (what it is, the data, its target's labels) of the same samples."""
    y = [labels[code] for code in CODES]
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": y})
    yield "arrays", (X, np.array(y))
    yield "a list", (X.tolist(), y)
    yield "a pair of frame and series", (frame[["a", "b"]], frame["label"])
    yield "a frame", frame
    yield "a frame of objects", frame.astype(object)
    if labels != ["NA", "None"]:  # a file whose column holds such words alone has gaps
        frame.to_csv(folder / "t.csv", index=False, sep=";")
        yield "csv", str(folder / "t.csv")
    np.savez(folder / "t.npz", X=X, y=np.array(y))
    yield "npz", str(folder / "t.npz")
    values = np.array(y)
    if values.dtype.kind in "if" or not isinstance(y[0], str):
        for dtype in ("float64", "int16"):
            scipy.io.savemat(folder / f"{dtype}.mat", {"X": X, "y": values.astype(dtype)[:, None]})
            yield f"mat, {dtype}", str(folder / f"{dtype}.mat")
    polars = pytest.importorskip("polars")
    yield "polars", polars.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": y})


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_the_same_classes_are_the_same_problem_whatever_they_come_in(labels, tmp_path):
    expected = make_design((X, CODES), CONFIG, folds=2, standardize=True)
    for what, data in containers(tmp_path, labels):
        design = make_design(data, CONFIG, folds=2, standardize=True)
        np.testing.assert_array_equal(design.data.y, expected.data.y, what)
        assert design.configs == expected.configs, what
        np.testing.assert_array_equal(design.splits.train, expected.splits.train, what)
        for fold in range(2):
            np.testing.assert_array_equal(design.inputs(fold)[0], expected.inputs(fold)[0], what)
        # As they are said: whole numbers, booleans (which MATLAB's files do not have) or texts.
        named = [0, 1] if design.classes is None else design.classes.tolist()
        assert named == [label if isinstance(label, bool) else _whole(label) for label in labels], what


def _whole(label):
    try:
        return int(label)
    except ValueError:
        return label


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("labels", [[1, 26], ["NA", "None"], [-1.0, 1.0]], ids=str)
def test_the_same_classes_give_the_same_network_to_the_bit(labels, tmp_path, reference):
    for what, data in containers(tmp_path, labels):
        results = swept(data, standardize=True)
        assert_same_networks(results, reference)
        found = results.predict(0, pd.DataFrame(X, columns=["a", "b"]))
        assert set(map(str, found)) <= {str(_whole(label)) for label in labels}, what


# ---- nothing of held-out rows


@pytest.mark.slow
@given(tables.mixed_frames(), st.sampled_from([2, 3, "validation"]), st.booleans(), st.randoms())
@settings(max_examples=50)
def test_nothing_of_held_out_rows_is_in_the_inputs_of_a_fold(frame, split, stops, random):
    n = len(frame)
    y = np.arange(n) % 2
    grid = {"patience": [3]} if stops else None
    parts = {"validation": 0.4} if split == "validation" else {"folds": split}
    design = make_design((frame, y), CONFIG, grid, stopping=0.3, **parts)
    schema = design.schema
    assert schema is not None
    for fold in range(design.num_folds):
        trains = design.splits.trains(fold, stops) > 0
        assert 0 < trains.sum() < n
        # Held-out rows become huge numbers, other categories, other dates or gaps.
        other = frame.astype(object)
        for column in schema.kept:
            for row in np.flatnonzero(~trains):
                strange = [1e300, -1e300, 0.0] if column.kind == "numeric" else ["strange", *column.levels]
                strange = ["2999-12-31"] if column.kind == "date" else strange
                gap = [None] if column.gaps else []
                other.iloc[row, other.columns.get_loc(column.name)] = random.choice([*strange, *gap])
        coded = schema.code(other)
        assert np.array_equal(coded[trains], np.asarray(design.data.x).T[trains], equal_nan=True)
        moved = dataclasses.replace(design, data=design.data._replace(x=coded.T))
        before, after = design.inputs(fold, stops)[0], moved.inputs(fold, stops)[0]
        width = np.flatnonzero(trains)
        assert before[:, width].tobytes() == after[:, width].tobytes()
        if not schema.plain:
            for one, same in zip(design.statistics(fold, stops), moved.statistics(fold, stops), strict=True):
                assert one.tobytes() == same.tobytes()


# ---- a mixed table from the file to the page

FRAME = tables.passengers(60).drop(columns=["Name", "Ticket"])
GRID = {"l2": [0, 0.5]}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Returns (store, results) of a sweep of a mixed table."""
    store = tmp_path_factory.mktemp("mixed") / "s.sqlite"
    return store, swept(FRAME, GRID, target="Survived", store=store)


@pytest.mark.nightly
def test_a_store_keeps_the_columns_and_trains_nothing_again(mixed, monkeypatch):
    store, results = mixed
    loaded = regjax.load(store)
    assert loaded.design.schema == results.design.schema
    assert_same_networks(loaded, results)
    rows = FRAME.drop(columns="Survived")[::-1]
    np.testing.assert_array_equal(loaded.predict(1, rows), results.predict(1, rows))
    tasks = count_tasks(monkeypatch)
    again = swept(FRAME, GRID, target="Survived", store=store)
    assert tasks == []
    assert_same_networks(again, results)


def design_of(frame=FRAME, **options):
    return make_design(frame, CONFIG, GRID, folds=2, target="Survived", **options)


def test_names_are_no_part_of_rows_and_levels_and_kinds_are():
    first = design_of()
    rows = identities(first)
    renamed = design_of(FRAME.rename(columns={"Age": "Years", "Sex": "Gender"}))
    assert identities(renamed) == rows
    assert sweep_identity(rows, renamed) != sweep_identity(rows, first)  # a store keeps its names
    words = design_of(FRAME.assign(Sex=FRAME["Sex"].map({"male": "man", "female": "lady"})))
    assert identities(words) == rows  # the same codes
    assert sweep_identity(rows, words) != sweep_identity(rows, first)
    for other in (
        design_of(columns={"Pclass": "category"}),
        design_of(columns={"Fare": "drop"}),
        design_of(columns={"PassengerId": "numeric"}),
        design_of(FRAME.assign(Embarked=FRAME["Embarked"].where(FRAME.index != 3, "X"))),
        design_of(FRAME.assign(Age=FRAME["Age"].where(FRAME.index != 3, 99.0))),
        design_of(standardize=False),
    ):
        assert not set(identities(other)) & set(rows)


def test_a_sweep_of_a_mixed_table_is_resumed_and_replayed(mixed, tmp_path):
    _, results = mixed
    path = tmp_path / "s.sqlite"
    with pytest.raises(KeyboardInterrupt):
        regjax.sweep(
            FRAME, CONFIG, GRID, folds=2, target="Survived", store=path, progress=stop_after(0), workers=1
        )
    assert_same_networks(swept(FRAME, GRID, target="Survived", store=path), results)
    for row in range(len(results)):
        assert replay(path, row).same


def test_predictions_are_of_columns_by_name(mixed):
    _, results = mixed
    rows = FRAME.drop(columns="Survived")
    expected = results.predict_proba(0, rows)
    random = np.random.default_rng(0)
    for _ in range(3):
        turned = rows[list(random.permutation(rows.columns))]
        np.testing.assert_array_equal(results.predict_proba(0, turned), expected)
    np.testing.assert_array_equal(results.predict_proba(0, rows.drop(columns="PassengerId")), expected)
    np.testing.assert_array_equal(results.predict_proba(0, FRAME), expected)  # the target may stand beside
    polars = pytest.importorskip("polars")
    plain = rows.astype(object).where(rows.notna(), None)
    other = polars.DataFrame({name: plain[name].tolist() for name in plain})
    np.testing.assert_array_equal(results.predict_proba(0, other), expected)
    unseen = rows.assign(Embarked="Z", Age=None)
    assert np.isfinite(results.predict_proba(0, unseen)).all()
    for bad, words in (
        (rows.drop(columns="Age"), "lacks 'Age'"),
        (rows.rename(columns={"Age": "Agee"}), "lacks 'Age', and has 'Agee' instead; is 'Agee' meant?"),
        (rows.assign(more=1), "got 'more' besides"),
        (rows.assign(Age="old"), "column 'Age' must hold numbers, got 'old' in row 0"),
    ):
        with pytest.raises(ValueError, match=words.replace("?", r"\?")):
            results.predict(0, bad)
    for array in (rows.to_numpy(), np.ones((3, 14)), [[1.0]]):
        with pytest.raises(TypeError, match="X must be a frame of pandas or polars with the columns"):
            results.predict(0, array)


def test_arrays_may_be_predicted_where_all_columns_are_numbers():
    frame = pd.DataFrame(X, columns=["a", "b"])
    results = swept((frame, CODES))
    np.testing.assert_array_equal(results.predict(0, X), results.predict(0, frame[["b", "a"]]))


# ---- options about tables

FRAME_30 = pd.DataFrame({
    "a": RANDOM.normal(size=30), "who": np.repeat([*"abcdefghij"], 3), "day": np.arange(30)[::-1] // 2,
    "w": np.arange(30) % 3 + 1.0, "y": np.tile([0, 1, 1, 0, 1, 0], 5),
})  # fmt: skip


@pytest.mark.parametrize(("role", "column"), [("groups", "who"), ("time", "day"), ("weights", "w")])
def test_roles_are_columns_by_name_or_arrays(role, column):
    named = make_design(FRAME_30, CONFIG, folds=3, **{role: column})
    given = make_design(FRAME_30.drop(columns=column), CONFIG, folds=3, **{role: FRAME_30[column].to_numpy()})
    for name in ("train", "val"):
        np.testing.assert_array_equal(getattr(named.splits, name), getattr(given.splits, name))
    np.testing.assert_array_equal(named.data.weights, given.data.weights)
    plain = make_design(FRAME_30.drop(columns=column), CONFIG, folds=3)
    assert not np.array_equal(named.splits.train, plain.splits.train)
    assert column not in named.column_inputs
    if role == "groups":
        for val in named.splits.val:
            inside = set(FRAME_30["who"][val > 0])
            assert not inside & set(FRAME_30["who"][val == 0])
    if role == "time":
        for train, val in zip(named.splits.train, named.splits.val, strict=True):
            days = FRAME_30["day"].to_numpy()
            assert days[train > 0].max() <= days[val > 0].min()


def test_a_fraction_of_a_table_is_split_off_with_its_groups():
    design = make_design(FRAME_30, CONFIG, folds=2, groups="who", test=0.3)
    assert design.test is not None
    assert design.test.x.shape[1] + design.data.x.shape[1] == 30
    ours, theirs = (set(np.asarray(part.x)[0].tolist()) for part in (design.data, design.test))
    who = dict(zip(FRAME_30["a"], FRAME_30["who"], strict=True))
    assert not {who[a] for a in ours} & {who[a] for a in theirs}


def test_words_for_gaps_hold_for_frames_as_for_files(tmp_path):
    frame = FRAME_30.assign(
        a=FRAME_30["a"].mask(FRAME_30["a"] > 1, -999), who=FRAME_30["who"].replace("a", "?!")
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    gaps = ["-999", "?!"]
    designs = [make_design(data, CONFIG, folds=2, gaps=gaps) for data in (frame, str(tmp_path / "t.csv"))]
    one, other = designs
    assert one.input_names == other.input_names == ("a", "a missing", *one.input_names[2:])
    assert "who missing" in one.input_names
    np.testing.assert_array_equal(one.inputs(0)[0], other.inputs(0)[0])


DATA = regjax.Data.from_arrays(np.ones((30, 4)), [0, 1] * 15)
BAD = [
    (FRAME_30, {"separator": ";"}, ValueError, "separator must only be given with a file of text"),
    (FRAME_30, {"decimal": ","}, ValueError, "decimal must only be given with a file of text"),
    (FRAME_30, {"header": True}, ValueError, "header must only be given with a file of text"),
    ((X, CODES), {"header": True}, ValueError, "header must only be given with a file of text"),
    (
        (X, CODES),
        {"gaps": ["x"]},
        ValueError,
        "gaps must only be given with a table, whose columns have names",
    ),
    ((X, CODES), {"groups": "who"}, ValueError, "groups must only be given with a table"),
    ((X, CODES), {"target": "y"}, ValueError, "target must only be given with a table, got 'y'"),
    (FRAME_30, {"target": "z"}, ValueError, "target must be one of 'a', 'who', 'day', 'w', 'y', got 'z'"),
    (FRAME_30, {"test": (X, CODES)}, TypeError, "test must be a table with its target .* got arrays"),
    (FRAME_30, {"test": DATA}, TypeError, "test must be a table with its target .* got a regjax.Data"),
    (FRAME_30, {"fold_inputs": [], "standardize": False}, ValueError, "fold_inputs .* with a table of gaps"),
    (FRAME_30[["y"]], {}, ValueError, "must have a column besides the target, got none"),
    (pd.DataFrame(), {}, ValueError, "must have a column for the target and one for an input, got no column"),
    (FRAME_30[:0], {}, ValueError, "must have at least one row below its names, got none"),
    (FRAME_30.assign(a=FRAME_30["a"] * 1e60), {}, ValueError, "data must be finite in float32, got .*'a'"),
    (FRAME_30, {"test": FRAME_30.assign(a=1e60)}, ValueError, r"test must be finite in float32, got 1e\+60"),
    ((FRAME_30, CODES[:30]), {"test": FRAME_30}, ValueError, "test must be a pair"),
    (FRAME_30, {"test": FRAME_30.drop(columns="y")}, ValueError, "must have the target 'y'"),
    (FRAME_30, {"test": FRAME_30.drop(columns="a")}, ValueError, "lacks 'a'"),
    (FRAME_30, {"groups": FRAME_30["who"][:9]}, ValueError, r"groups must have shape \(30,\), got \(9,\)"),
    (FRAME_30, {"weights": FRAME_30["w"] - 2}, ValueError, "weights must be"),
]


@pytest.mark.parametrize(("data", "options", "error", "words"), BAD, ids=lambda value: f"{value!s:.30}")
def test_what_does_not_fit_is_refused(data, options, error, words):
    with pytest.raises(error, match=words):
        make_design(data, CONFIG, folds=2, **options)


def test_a_test_frame_is_found_by_name_and_has_the_classes_of_training():
    rows = FRAME_30.assign(y=FRAME_30["y"].map({0: "no", 1: "yes"}))
    design = make_design(rows, CONFIG, folds=2, test=rows[["y", "w", "a", "who", "day"]][:8])
    assert design.test is not None
    np.testing.assert_array_equal(design.test.x, design.data.x[:, :8])
    assert design.test.y.tolist() == design.data.y[:, :8].tolist()
    late = make_design(rows, CONFIG, folds=2, test=rows.assign(who="never seen", y="yes")[:4])
    assert late.test is not None
    assert late.test.y.tolist() == [[1] * 4]
    levels = list(late.column_inputs["who"])
    test_inputs = late.inputs(0)[1]
    assert test_inputs is not None
    assert not test_inputs[levels].any()


def test_files_of_arrays_are_no_test_rows_of_a_mixed_table(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.ones((4, 4)), y=[0, 1, 0, 1])
    with pytest.raises(TypeError, match=r"t\.npz: test must be a table with its target .* got arrays"):
        make_design(FRAME_30, CONFIG, folds=2, test=str(tmp_path / "t.npz"))


def test_a_table_beside_arrays_is_matched_by_position_and_loses_no_column(tmp_path):
    rows = pd.DataFrame({"constant": 1.0, "counter": range(6), "y": [0, 1] * 3})
    rows.to_csv(tmp_path / "t.csv", index=False)
    design = make_design((X, CODES), CONFIG, folds=2, test=str(tmp_path / "t.csv"))
    assert design.test is not None
    np.testing.assert_array_equal(design.test.x, rows[["constant", "counter"]].T)
    rows.assign(constant="x").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=r"t\.csv: column 'constant' must hold numbers, got 'x' in row 2"):
        make_design((X, CODES), CONFIG, folds=2, test=str(tmp_path / "t.csv"))
    rows.assign(counter=[None, *range(5)]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="test must be finite"):
        make_design((X, CODES), CONFIG, folds=2, test=str(tmp_path / "t.csv"))


def test_groups_beside_a_table_ask_for_no_groups():
    frame = pd.concat([FRAME_30.rename(columns={"who": "patient_id"})] * 2, ignore_index=True)
    asked = make_design(frame, CONFIG, folds=2)
    assert sum("repeat" in note for note in asked.notes) == 2
    given = make_design(frame, CONFIG, folds=2, groups=frame["patient_id"].to_numpy())
    assert not any("repeat" in note for note in given.notes)


def test_large_numbers_beside_categories_take_no_memory():
    frame = FRAME_30.assign(a=FRAME_30["a"] * 1e18)
    design = make_design(frame, CONFIG, folds=2)
    assert np.abs(design.inputs(0)[0]).max() < 10
