"""The loaders and the TOML under inputs of every kind, a short run of fuzz.py; and hostile archives."""

import io
import os
import pickle
import subprocess
import sys
import zipfile

import fuzz
import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

import regjax
from regjax.cli import spec
from regjax.core import checks
from regjax.data import loaders, matlab
from regjax.data.table import Reading
from regjax.study.resolve import make_design

X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 1, 0, 1, 0])


@pytest.mark.nightly
def test_every_input_succeeds_or_is_refused_in_a_documented_sentence():
    rows = fuzz.run(400, seed=0)
    assert [row["kind"] for row in rows] == list(fuzz.KINDS)
    assert sum(row["inputs"] for row in rows) >= 400
    assert {row["kind"]: row["faults"] for row in rows if row["fault"]} == {}
    # The inputs reach deep: of those that are built, a good part is read.
    for row in rows:
        assert sum(row[name] for name in fuzz.OUTCOMES) == row["inputs"]
        if row["kind"].endswith("built"):
            assert 0.1 < row["success"] / row["inputs"] < 0.9, row["kind"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("x"), "KeyError is not documented"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "UnicodeDecodeError is not documented"),
        (MemoryError(), "MemoryError is not documented"),
        (ValueError(""), "no sentence of ours"),
        (ValueError("could not convert string to float: 'x'"), "no sentence of ours"),
        (TypeError("target must be hashable, got unhashable type: 'list'"), "no sentence of ours"),
        (ValueError("target must be short, got " + "x" * 1000), "no sentence of ours"),
        (ValueError("target must be one\nline"), "no sentence of ours"),
        (OSError("no file"), "names no file"),
        (RuntimeWarning("overflow"), "RuntimeWarning is not documented"),
    ],
)
def test_the_judge_knows_a_fault(error, words):
    def fails():
        raise error

    with pytest.raises(AssertionError, match=words):
        fuzz.judge(fails, regjax.load_table)
    with pytest.raises(AssertionError, match="warned"):
        fuzz.judge(lambda: np.float64(1e308) * 10, regjax.load_table)
    assert fuzz.judge(lambda: 3, regjax.load_table) == ("success", 3)


class Hostile:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def hostile_archives(mark):
    """Yields (what it is, bytes) of files whose pickle would make the folder `mark`."""
    objects = np.full((6, 1), None, object)
    objects[:] = Hostile(mark)
    for name in ("X", "y", "other"):
        packed = io.BytesIO()
        np.savez(packed, **{"X": X, "y": Y, name: objects})
        yield f"objects in {name}", packed.getvalue()
    packed = io.BytesIO()
    np.save(packed, objects)
    yield "a .npy under another name", packed.getvalue()
    yield "a bare pickle", pickle.dumps(Hostile(mark))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("X.npy", pickle.dumps(Hostile(mark)))
        archive.writestr("y.npy", pickle.dumps(Hostile(mark)))
    yield "pickles as members", packed.getvalue()


def test_nothing_in_an_archive_is_ever_run(tmp_path):
    mark, path = tmp_path / "run", tmp_path / "hostile.npz"
    for what, content in hostile_archives(mark):
        path.write_bytes(content)
        readers = (regjax.load_npz, loaders.load, lambda path: regjax.sweep(path, progress=False))
        for load in readers:
            with pytest.raises((TypeError, ValueError)) as refused:
                load(path)
            assert str(refused.value).startswith(f"{path}: "), what
            assert isinstance(refused.value, ValueError) or "pickles" in what
            assert not mark.exists(), what
    pickle.loads(pickle.dumps(Hostile(mark)))  # the code is a danger where it is unpickled
    assert mark.exists()


@given(fuzz.mat_files(odd=False) | fuzz.mat_files())
@settings(max_examples=40)
def test_a_matlab_file_is_read_as_scipy_reads_it(content):
    if not content.startswith(b"MATLAB 5"):
        with pytest.raises(ValueError, match="has not the header"):
            matlab.read_arrays(content)
        return
    ours, theirs = matlab.read_arrays(content), scipy.io.loadmat(io.BytesIO(content))
    assert list(ours) == [name for name in theirs if not name.startswith("__")]
    for name, found in ours.items():
        expected = np.asarray(theirs[name])
        if found is None:
            assert expected.dtype.kind in "OV"
        else:
            np.testing.assert_array_equal(found, expected)
            assert found.dtype.kind == expected.dtype.kind


@pytest.mark.slow
def test_a_damaged_matlab_file_does_not_end_the_process(tmp_path):
    packed = io.BytesIO()
    scipy.io.savemat(packed, {"X": X, "y": Y[:, None], "Xval": X, "yval": Y[:, None]})
    content, path = bytearray(packed.getvalue()), tmp_path / "damaged.mat"
    at = content.find(X.T.tobytes()) - 8
    content[at : at + 2] = b"\xff\x7f"  # a type that there is not: SciPy's reader crashes on it
    path.write_bytes(content)
    code = f"import regjax; regjax.load_mat({str(path)!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "must be a MATLAB 5 file, and could not be read as one (it is damaged)" in ran.stderr


def npz(path, **arrays):
    np.savez(path, **{"X": X, "y": Y, **arrays})
    return path


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"Xval": X[:, :1], "yval": Y}, ValueError, "Xval must have as many columns as X, got 1 and 2"),
        ({"Xval": X, "yval": Y[:2]}, ValueError, "Xval and yval must have the same number of samples"),
        ({"y": Y.astype("f8,f8")}, TypeError, "y must hold numbers or text, got cells, a structure"),
        ({"y": Y + 1j}, TypeError, "y must hold numbers, dates or text, got dtype complex128"),
        ({"X": X.astype("M8[s]")}, TypeError, "X must"),
        ({"X": X.astype("f8,f8")}, TypeError, "X must hold numbers or text, got cells, a structure"),
        (
            {"X": np.full((6, 1), np.longdouble("1e4000"))},
            ValueError,
            "X must be finite, got inf in sample 0",
        ),
    ],
)
def test_arrays_that_do_not_fit(arrays, error, words, tmp_path):
    with pytest.raises(error, match=words):
        regjax.load_npz(npz(tmp_path / "d.npz", **arrays))


def test_yval_is_what_y_is_whatever_its_dtype(tmp_path):
    train, test = regjax.load_npz(npz(tmp_path / "d.npz", y=Y * 0.5, Xval=X, yval=Y))
    assert test is not None
    assert test.y.dtype == train.y.dtype == np.float64


def test_a_header_that_asks_for_all_memory_is_refused(tmp_path):
    np.save(member := io.BytesIO(), X)
    lie = member.getvalue().replace(b"(6, 2), }" + b" " * 14, b"(9999999999999, 2), }  ")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("X.npy", lie)
    with pytest.raises(ValueError, match=r"must be a NumPy \.npz archive that fits into memory"):
        regjax.load_npz(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("a,y\n1,2,3,0\n3,4,5,1\n", "line 1 must have 4 values, as most lines, got 2"),
        ("y,a,y\n0,1,0\n1,2,1\n", "must have a name of its own for each column, got 'y' for columns 1 and 3"),
        ('"a\nb",y\n1,0\n2,1\n', r"target must be one of 'a\\nb', 'y', got 'no'"),
    ],
)
def test_tables_that_pandas_would_read_another_way(table, words, tmp_path):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(ValueError, match=words):
        regjax.load_table(tmp_path / "t.csv", target="no" if "no" in words else None)


def test_labels_of_a_long_table_are_read_alike_throughout(tmp_path):
    # In pieces, pandas takes "01" for 1 in those without a word, and for text in the others.
    labels = ["01"] * 600_000 + ["red"]
    pd.DataFrame({"a": 1, "y": labels}).to_csv(tmp_path / "t.csv", index=False)
    found = loaders.load_samples(tmp_path / "t.csv", Reading(columns={"a": "numeric"}))
    assert found.classes is not None
    assert found.classes.tolist() == ["01", "red"]
    assert np.bincount(found.train.y[0]).tolist() == [600_000, 1]


def test_paths_that_no_file_can_have():
    for path in ("a\0.csv", "a\ud800.csv"):
        with pytest.raises(ValueError, match="path must be one that a file can have, got 'a"):
            loaders.load(path)
    for source in (3, b"iris", None):
        with pytest.raises(TypeError, match="data must be a name or a path, got"):
            loaders.load(source)


def test_labels_far_apart_take_no_memory_between_them():
    rows = regjax.Data.from_arrays(X, np.where(Y, 2.0**31 - 2, 0), task="classification")
    with pytest.raises(ValueError, match="folds must be at most the 3 samples of the largest class"):
        make_design(rows, {}, folds=4)


BAD_TOML = [
    ("[grid]\nl2 = [[1, [2]]]", "l2 must be a finite number >= 0, got"),
    ("[grid]\nl2 = [[]]", r"l2 must have at least one value, got \[\]"),
    ("[grid]\nl2 = " + "[" * 2000 + "]" * 2000, "must be a TOML file without numbers of thousands of digits"),
    ("[grid]\nl2 = " + "9" * 5000, "must be a TOML file without numbers of thousands of digits"),
    ("[grid.l2." + "a." * 3000 + "a]", "l2 must not be nested more than 4 deep"),
    ("[sweep]\nseeds = 0x" + "f" * 5000, r"seeds must have whole numbers of 64 bits.* too large to show"),
    ("[sweep]\nseeds = 2000000000", "seeds must be at most 1000000, got 2000000000"),
    ('[sweep]\nover = ["nothing"]', r"over must name hyperparameters \(.*\), got 'nothing'"),
    ('[grid]\nl2 = "linspace(-1e308,1e308,3)"', "linspace must have two ends and a count .*, all finite"),
    ("[config]\nhidden = '" + "x" * 3000 + "'", "hidden must be a whole number, got 'x+ … x+'$"),
]


@pytest.mark.parametrize(("text", "words"), BAD_TOML)
def test_toml_beyond_all_bounds(text, words, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises((TypeError, ValueError), match=words):
        spec.resolve(str(tmp_path / "bad.toml"), {})


def test_what_is_too_much_is_said_before_it_is_made():
    values = [0.1 + i / 1e6 for i in range(100)]
    axes = dict.fromkeys(("l2", "l1", "learning_rate", "weight_decay", "eps"), values)
    with pytest.raises(
        ValueError, match="grid must have at most 1,000,000 configurations, got 10,000,000,000"
    ):
        regjax.grid(**axes)
    with pytest.raises(ValueError, match="num_steps must be at most 2147483647, got 9999"):
        regjax.Config(num_steps=10**400 - 1)
    with pytest.raises(ValueError, match="test must leave a sample of each of 2 classes on both sides"):
        make_design("two_regions", {}, test=1e-300)
    with pytest.raises(ValueError, match="folds must list distinct sample indices"):
        make_design("two_regions", {}, folds=[([0, [1]], [2])])
    with pytest.raises(ValueError, match="y must be finite in float32, got inf in sample 0"):
        make_design((X, Y + 1e300), {"hidden": ()})


@pytest.mark.nightly
@given(st.integers() | st.text() | st.lists(st.floats()) | st.binary())
def test_what_a_message_shows_is_one_short_line(value):
    text = checks.shown(value)
    assert text.isprintable()
    assert 0 < len(text) <= checks.MAX_SHOWN + 3
    assert len(repr(value)) > checks.MAX_SHOWN or text == repr(value)
