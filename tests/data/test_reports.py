"""Inputs that people hand in: their types, labels, order and task are kept, and no array narrows them."""

import io

import numpy as np
import pandas as pd
import pytest
import scipy.io
from command_line import regjax as command
from sklearn.exceptions import ConvergenceWarning

import regjax
from regjax.study.resolve import make_design

RANDOM = np.random.default_rng(7)
CONFIG = {"hidden": (4,), "num_steps": 20, "eval_every": 20}
QUICK = ["--hidden", 4, "--steps", 20, "--folds", 3, "--seeds", 1, "--l2", "0,1", "--no-store"]


def metrics_of(design):
    return set(design.metrics)


# Numbers beside booleans, and nullable columns: every column is numeric, the frame's array is of objects.
PEOPLE = pd.DataFrame({"height": RANDOM.normal(170, 9, 36), "team": [*"rgbr"] * 9})
ONE_HOT = {
    "booleans beside numbers": pd.get_dummies(PEOPLE),
    "nullable numbers": PEOPLE[["height"]].assign(rooms=np.arange(36) % 5).astype({"rooms": "Int64"}),
    "nullable booleans": pd.get_dummies(PEOPLE, dtype="boolean"),
}


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_HOT)
def test_frames_of_several_numeric_types_are_taken(name):
    X, y = ONE_HOT[name], np.arange(36) % 2
    with pytest.warns(ConvergenceWarning):
        regjax.RegMLPClassifier((4,), max_iter=3).fit(X, y).predict(X)
    data = regjax.Data.from_arrays(X, y)
    np.testing.assert_allclose(data.x.T, X.astype(float))
    results = regjax.sweep((X, y), CONFIG, folds=2, progress=False)
    assert np.isfinite(results.params(0)[0].w).all()
    # A boolean is a category of two levels, each with its input.
    booleans = sum(str(dtype).startswith("bool") for dtype in X.dtypes)
    assert len(results.design.input_names) == X.shape[1] + booleans


def test_whole_floats_are_classes_where_the_user_says_so_and_where_not():
    rows = RANDOM.normal(size=(90, 2))
    text = "\n".join(f"{a:.3f} {b:.3f} {int(a + b > 0)}" for a, b in rows)
    table = np.loadtxt(io.StringIO(text))
    X, y = table[:, :2], table[:, 2]
    assert y.dtype == np.float64
    whole = make_design((X, y.astype(int)), CONFIG, folds=3)
    for task in ("classification", "auto"):
        design = make_design((X, y), CONFIG, folds=3, task=task)
        assert design.data.y.dtype == np.int32
        assert metrics_of(design) == metrics_of(whole) > {"accuracy", "roc_auc"}
        np.testing.assert_array_equal(design.splits.train, whole.splits.train)
        make_design((X, y), CONFIG | {"class_weight": "balanced"}, folds=3, task=task)
    assert "r2" in make_design((X, y), CONFIG, folds=3, task="regression").metrics


@pytest.mark.parametrize("labels", [(1, 2), (-1, 1), (1, 26)], ids=str)
def test_labels_of_a_matlab_file_are_classes_as_bytes_and_as_doubles(labels, tmp_path):
    X = RANDOM.normal(size=(60, 3))
    y = np.where(X[:, :1] > 0, *labels[::-1])
    designs = []
    for dtype in ("int16", "uint8", "float64"):
        if dtype == "uint8" and labels[0] < 0:
            continue
        named = {"y": y.astype(dtype), "yval": y[:20].astype(dtype)}
        scipy.io.savemat(tmp_path / "d.mat", {"X": X, "Xval": X[:20], **named})
        designs.append(make_design(str(tmp_path / "d.mat"), CONFIG, folds=3))
    for design in designs:
        assert design.configs[0].layer_sizes == (3, 4, 1)
        assert design.classes.tolist() == list(labels)
        np.testing.assert_array_equal(design.data.y, (X[:, 0] > 0)[None])
        np.testing.assert_array_equal(design.test.y, design.data.y[:, :20])


@pytest.fixture
def three_numbers():
    X = RANDOM.normal(size=(120, 3))
    return pd.DataFrame(X, columns=["p", "q", "r"]).assign(y=(3 * X[:, 0] - X[:, 2] > 0).astype(int))


@pytest.mark.nightly
def test_test_rows_are_matched_by_name(three_numbers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    three_numbers[:90].to_csv("train.csv", index=False)
    tests = []
    for columns in ("pqry", "rypq"):
        three_numbers[90:][list(columns)].to_csv("test.csv", index=False)
        tests.append(make_design("train.csv", CONFIG, folds=3, test="test.csv").test)
    for one, other in zip(*tests, strict=True):
        np.testing.assert_array_equal(one, other)
    results = regjax.sweep((three_numbers[["p", "q", "r"]], three_numbers["y"]), CONFIG, progress=False)
    np.testing.assert_array_equal(
        results.predict(0, three_numbers[["p", "q", "r"]]), results.predict(0, three_numbers[["r", "p", "q"]])
    )
    three_numbers[90:].assign(number=1).to_csv("test.csv", index=False)
    done = command("sweep", "train.csv", "--test", "test.csv", *QUICK)
    assert done.returncode == 2
    assert done.stderr == (
        "regjax: error: test.csv: must have the columns of the training table alone, got 'number' besides: "
        "take the column out\n"
    )


@pytest.mark.nightly
def test_row_numbers_that_were_written_with_a_table_are_no_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(RANDOM.normal(size=(60, 2)), columns=["p", "q"])
    frame["kind"] = np.repeat(["u", "v", "w"], 20)  # sorted: row numbers would give the class away
    frame.to_csv("with.csv")
    frame.to_csv("without.csv", index=False)
    with_numbers, without = (make_design(name, CONFIG, folds=3) for name in ("with.csv", "without.csv"))
    assert with_numbers.input_names == without.input_names == ("p", "q")
    np.testing.assert_array_equal(with_numbers.inputs(0)[0], without.inputs(0)[0])
    done = command("sweep", "with.csv", *QUICK, "--out", "o")
    assert done.returncode == 0
    assert "left out: a counter from 0 to 59, all different" in done.stdout


def test_the_files_of_a_course_are_read_as_they_come(tmp_path):
    x, other = RANDOM.uniform(-40, 40, (12, 1)), RANDOM.uniform(-40, 40, (21, 1))
    files = {"X": x, "y": x / 3 + 1}
    files |= {
        f"{name}{part}": array for part in ("val", "test") for name, array in (("X", other), ("y", other / 3))
    }
    scipy.io.savemat(tmp_path / "water.mat", files)
    for task in ("auto", "regression"):
        design = make_design(str(tmp_path / "water.mat"), CONFIG, folds=3, task=task)
        assert "r2" in design.metrics
        assert design.test is not None
        assert design.test.x.shape == (1, 21)
        assert "Xtest and ytest are not read: the test samples are Xval and yval" in design.notes
    y = RANDOM.integers(1, 11, (200, 1)).astype("u1")
    scipy.io.savemat(tmp_path / "digits.mat", {"X": RANDOM.normal(size=(200, 9)), "y": y})
    design = make_design(str(tmp_path / "digits.mat"), CONFIG, folds=3)
    assert design.test is None
    assert design.configs[0].layer_sizes == (9, 4, 10)
    np.testing.assert_array_equal(design.data.y + 1, y.T)
    table = np.c_[RANDOM.normal(size=(50, 2)), np.arange(50) % 2]
    np.savetxt(tmp_path / "chips.txt", table, delimiter=",")
    design = make_design(str(tmp_path / "chips.txt"), CONFIG, folds=3)
    assert design.data.y.tolist() == [[0, 1] * 25]
    np.testing.assert_allclose(design.data.x.T, table[:, :2])
    assert design.input_names == ("x1", "x2")  # the first line holds values, and no names


def test_a_quantity_in_whole_numbers_is_said_and_may_be_classes(tmp_path):
    a = RANDOM.normal(size=200)
    frame = pd.DataFrame(
        {"a": a, "b": RANDOM.normal(size=200), "mass": (4200 + 800 * a).round(-2).astype(int)}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = make_design(str(tmp_path / "t.csv"), CONFIG, folds=3)
    asked = make_design(str(tmp_path / "t.csv"), CONFIG, folds=3, task="regression")
    assert "r2" in found.metrics
    assert found.configs == asked.configs
    (note,) = [note for note in found.notes if "mass" in note]
    assert "different whole numbers, taken for a quantity (regression): --task classification takes" in note
    assert not any("mass" in note for note in asked.notes)
    # Absent classes would fill the notes, were it taken for classes.
    assert len(found.notes) <= 2


@pytest.mark.parametrize("word", ["None", "NA", "null", "nan", "?", "-", "Healthy"])
def test_a_class_may_have_the_name_of_a_gap(word, tmp_path):
    (tmp_path / "t.csv").write_text("p,q,disorder\n" + f"1.5,2,{word}\n2.5,3,Apnea\n" * 20)
    design = make_design(str(tmp_path / "t.csv"), CONFIG, folds=3)
    assert design.classes is not None
    assert sorted(design.classes.tolist()) == sorted([word, "Apnea"])
    assert np.bincount(design.data.y[0]).tolist() == [20, 20]
