import jax
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

import regjax
from regjax.core.data import Data, check_data, pad_samples
from regjax.data import loaders as datasets
from regjax.data.loaders import load
from regjax.data.splits import hold_out

X, Y = np.arange(10.0).reshape(5, 2), np.array([0, 1, 1, 0, 1])
CONFIG = regjax.Config(layer_sizes=(2, 3, 1))


def test_from_arrays_transposes_once():
    data = Data.from_arrays(X, Y)
    assert data.x.shape == (2, 5)
    np.testing.assert_array_equal(data.x[:, 1], X[1])
    assert data.y.shape == (1, 5)
    assert data.y.dtype == np.int32
    assert data.weights.tolist() == [1] * 5


def test_task_follows_the_dtype_of_y_unless_told():
    assert Data.from_arrays(X, Y.astype(float)).y.dtype == np.float64
    assert Data.from_arrays(X, Y.astype(float), task="classification").y.dtype == np.int32
    assert Data.from_arrays(X, Y, task="regression").y.dtype == np.float64
    assert Data.from_arrays(X, Y > 0).y.tolist() == [[0, 1, 1, 0, 1]]
    assert Data.from_arrays(X, ["b", "a", "c", "a", "b"]).y.tolist() == [[1, 0, 2, 0, 1]]
    assert Data.from_arrays(X, Y + 1).y.tolist() == [[1, 2, 2, 1, 2]]  # whole numbers as they are
    assert Data.from_arrays(X[:2], ["b", "b"], classes=["a", "b"]).y.tolist() == [[1, 1]]
    assert Data.from_arrays(X, np.stack([Y, Y], 1), task="regression").y.shape == (2, 5)


def test_weights_have_mean_one_over_the_rows_that_count():
    weights = Data.from_arrays(X, Y, [0, 1, 2, 3, 0]).weights
    np.testing.assert_allclose(weights, [0, 0.5, 1, 1.5, 0])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([[1.0], [2.0]], [1]), ValueError, "X and y must have the same number of rows, got 2 and 1"),
        ((np.zeros((0, 2)), []), ValueError, r"X must have at least one row, got shape \(0, 2\)"),
        ((np.zeros((2, 0)), [0, 1]), ValueError, "X must have at least one column"),
        (
            ([1.0, 2.0], [0, 1]),
            ValueError,
            r"X must be two-dimensional \(n_samples, n_features\), got shape \(2,\)",
        ),
        (([[1.0, 2.0], [np.nan, 1.0]], [0, 1]), ValueError, "X must be finite, got nan in row 1, column 0"),
        (([[1.0, np.inf]], [0]), ValueError, "got inf in row 0, column 1"),
        (([["a", "b"]], [0]), TypeError, "X must hold numbers"),
        (([[1.0]], [np.nan]), ValueError, "y must be finite, got nan in row 0"),
        (([[1.0]], np.zeros((1, 1, 1))), ValueError, "y must be one- or two-dimensional"),
        (
            ([[1.0]], [0.5], None, "classification"),
            ValueError,
            "y must hold whole numbers as class labels, got 0.5 in row 0",
        ),
        (
            ([[1.0]], [2**32], None, "classification"),
            ValueError,
            "y must hold class labels 0, 1, …, got 4294967296",
        ),
        (([[1.0]], ["c"], None, "auto", ["a", "b"]), ValueError, "y must hold the classes a, b, got c"),
        (([[1.0]], [[0, 1]]), ValueError, "y must have one column of class labels, got 2"),
        (([[1.0], [2.0]], [0, 1], [1.0]), ValueError, r"weights must have shape \(2,\)"),
        (([[1.0], [2.0]], [0, 1], [1.0, -1.0]), ValueError, "weights must be finite, at least 0"),
        (([[1.0], [2.0]], [0, 1], [0.0, 0.0]), ValueError, "not all 0"),
    ],
)
def test_bad_arrays(arguments, error, words):
    with pytest.raises(error, match=words):
        Data.from_arrays(*arguments[:3], **dict(zip(("task", "classes"), arguments[3:], strict=False)))


@pytest.mark.parametrize(
    ("config", "data", "error", "words"),
    [
        (CONFIG, (X, Y), TypeError, "data must be a regjax.Data, got tuple"),
        (
            CONFIG,
            Data.from_arrays(X, Y - 1),
            ValueError,
            "labels of two classes, 0 and 1, for this loss, got -1, 0",
        ),
        (CONFIG, Data.from_arrays(X[:, :1], Y), ValueError, r"layer_sizes\[0\] = 2 features, got 1"),
        (CONFIG, Data(X, Y[None], np.ones(5)), ValueError, "same number of rows in x, y and weights"),
        (CONFIG, Data(X.T, Y, np.ones(5)), ValueError, "y of rank 2"),
        (
            CONFIG,
            Data.from_arrays(X, [0, 1, 2, 0, 1]),
            ValueError,
            "labels of two classes, 0 and 1, for this loss, got 0, 1, 2",
        ),
        (
            regjax.Config(layer_sizes=(2, 2)),
            Data.from_arrays(X, [0, 1, 2, 0, 1]),
            ValueError,
            "for this loss, got 0, 1, 2",
        ),
        (
            regjax.Config(layer_sizes=(2, 2)),
            Data.from_arrays(X, Y * 0.5),
            ValueError,
            r"layer_sizes\[-1\] = 2 outputs, got 1",
        ),
        (
            regjax.Config(loss="sigmoid_cross_entropy"),
            Data.from_arrays(X, Y * 0.5),
            TypeError,
            "y must hold class labels",
        ),
        (
            regjax.Config(loss="softmax_cross_entropy"),
            Data.from_arrays(X, Y),
            ValueError,
            "must end in the number of classes",
        ),
        (
            regjax.Config(layer_sizes=(2, 3), loss="sigmoid_cross_entropy"),
            Data.from_arrays(X, Y),
            ValueError,
            "must end in 1",
        ),
        (
            regjax.Config(batch_size=6),
            Data.from_arrays(X, Y),
            ValueError,
            "batch_size must be at most the 5 training rows, got 6",
        ),
    ],
)
def test_data_that_does_not_fit_the_config(config, data, error, words):
    with pytest.raises(error, match=words):
        check_data(config, data)


def test_two_regions_has_its_sizes_noise_and_both_classes():
    train, test = regjax.two_regions(jax.random.key(0))
    assert train.x.shape == (2, 211)
    assert test.x.shape == (2, 200)
    x = np.concatenate([train.x, test.x], axis=1)
    y = np.concatenate([train.y, test.y], axis=1)[0]
    wrong = np.mean((x[1] > 0.4 * np.sin(3 * x[0])) != y)
    assert 0.05 < wrong < 0.15
    assert 0.3 < y.mean() < 0.7
    again, _ = regjax.two_regions(jax.random.key(0))
    np.testing.assert_array_equal(train.x, again.x)
    other, _ = regjax.two_regions(jax.random.key(1))
    assert not np.array_equal(train.x, other.x)
    with pytest.raises(TypeError, match="num_train must be a whole number"):
        regjax.two_regions(jax.random.key(0), num_train=2.5)  # type: ignore[arg-type]


def test_a_plain_network_overfits_two_regions():
    train, test = regjax.two_regions(jax.random.key(0))
    fit = regjax.make_train(regjax.Config(num_steps=10_000, eval_every=10_000))
    plain, l2 = (fit(regjax.replicate_key(0), regjax.HParams(l2=s), train, test).history for s in (0, 0.7))
    gaps = [float(h["train_accuracy"][-1] - h["test_accuracy"][-1]) for h in (plain, l2)]
    assert gaps[0] > gaps[1] + 0.03


@given(n=st.integers(1, 70))
@settings(deadline=None)
def test_padding_appends_rows_of_weight_zero(n):
    data = Data.from_arrays(np.ones((n, 2)), np.ones(n, int) * np.arange(n))
    padded = pad_samples(data)
    assert padded.x.shape[1] % 16 == 0
    assert padded.x.shape[1] - n < 16
    assert padded.weights.sum() == n
    np.testing.assert_array_equal(padded.x[:, :n], data.x)


def test_hold_out_is_stratified():
    data = Data.from_arrays(np.arange(80.0).reshape(40, 2), np.arange(40) % 4 == 0)
    train, test = hold_out(data, 0.25)
    assert (train.x.shape[1], test.x.shape[1]) == (30, 10)
    assert not set(train.x[0]) & set(test.x[0])
    assert test.y.sum() in (2, 3)
    with pytest.raises(ValueError, match=r"fraction must be a fraction in \(0, 1\)"):
        hold_out(data, 1.5)
    with pytest.raises(
        ValueError, match=r"fraction must leave a row of each of 2 classes on both sides, got 0.3 of 2"
    ):
        hold_out(Data.from_arrays(X[:2], [0, 1]), 0.3)
    with pytest.raises(ValueError, match="at least two rows of each class"):
        hold_out(Data.from_arrays(X, [0, 0, 0, 0, 1]), 0.4)


def test_mat_round_trip(tmp_path):
    path = tmp_path / "d.mat"
    scipy.io.savemat(path, {"X": X, "y": Y[:, None], "Xval": X[:3], "yval": Y[:3, None]})
    train, test = regjax.load_mat(path)
    np.testing.assert_array_equal(train.x, X.T)
    assert train.y.tolist() == [[0, 1, 1, 0, 1]]
    assert test.x.shape == (2, 3)


def test_labels_mean_the_same_in_train_and_test(tmp_path):
    # yval holds one class only: it must stay class 1, not become class 0.
    path = tmp_path / "d.npz"
    for y, yval in ((Y, [1, 1]), (np.array(["b", "c", "c", "b", "c"]), ["c", "c"])):
        np.savez(path, X=X, y=y, Xval=X[:2], yval=yval)
        _, test = regjax.load_npz(path)
        assert test is not None
        assert test.y.tolist() == [[1, 1]]
    np.savez(path, X=X, y=y, Xval=X[:2], yval=["c", "z"])
    with pytest.raises(ValueError, match="yval must hold the classes b, c, got z"):
        regjax.load_npz(path)


def test_npz_with_and_without_test_rows(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, X=X, y=Y)
    assert regjax.load_npz(path)[1] is None
    np.savez(path, X=X, y=Y, Xval=X[:2])
    with pytest.raises(ValueError, match="without yval"):
        regjax.load_npz(path)


def test_npz_never_unpickles(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, X=np.array([[print]], dtype=object), y=[0])
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        regjax.load_npz(path)


def test_csv(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("a,b,kind\n1,2,red\n3,4,blue\n5,6,red\n")
    data, test = regjax.load_csv(path)
    assert test is None
    np.testing.assert_array_equal(data.x, [[1, 3, 5], [2, 4, 6]])
    assert data.y.tolist() == [[1, 0, 1]]
    path.write_text("target,a\n0.5,1\n1.5,2\n")
    data, _ = regjax.load_csv(path, target="target")
    assert data.y.tolist() == [[0.5, 1.5]]


def bad_files(folder):
    """Yields (file name, content writer, what the message must say)."""
    mat = folder / "good.mat"
    scipy.io.savemat(mat, {"X": X, "y": Y[:, None], "Xval": X, "yval": Y[:, None]})
    good = mat.read_bytes()
    yield "text.mat", b"hello, this is not a mat file", "must be a MATLAB 5 file"
    yield "empty.mat", b"", "must be a MATLAB 5 file"
    yield "cut.mat", good[: len(good) // 2], "must be a MATLAB 5 file|must hold X, y"
    yield "text.npz", b"not a zip", r"must be a NumPy \.npz archive"
    yield "empty.csv", b"", "must be a table of comma-separated values"
    yield "header.csv", b"a,b\n", "X must have at least one row"
    yield "words.csv", b"a,b\n1,0\nx,1\n", "column 'a' must hold numbers, got 'x' in row 1"
    yield "gap.csv", b"a,b\n1,0\n,1\n", "X must be finite, got nan in row 1, column 0"
    yield "gap_y.csv", b"a,b\n1,0\n2,\n", "target 'b' must have no gaps, got one in row 1"
    yield "headless.csv", b"0.1,0.2,1\n0.3,0.4,0\n", "must have a header line with names, got 0.1, 0.2, 1"
    yield "one.csv", b"b\n1\n0\n", "X must have at least one column"
    yield "binary.csv", bytes(range(256)) * 4, "must be a table|must hold numbers|must have"
    yield "data.txt", b"1,2", r"must be a \.mat, \.csv or \.npz file, got the ending '\.txt'"


def test_bad_files(tmp_path):
    for name, content, words in bad_files(tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words) as caught:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    for missing in ("X", "y", "Xval", "yval"):
        arrays = {"X": X, "y": Y[:, None], "Xval": X, "yval": Y[:, None]}
        del arrays[missing]
        scipy.io.savemat(tmp_path / "m.mat", arrays)
        with pytest.raises(ValueError, match=f"must hold X, y, Xval, yval; without {missing}, it holds"):
            load(tmp_path / "m.mat")
    scipy.io.savemat(tmp_path / "m.mat", {"X": X, "y": Y[:, None], "Xval": X * np.nan, "yval": Y[:, None]})
    with pytest.raises(ValueError, match="Xval must be finite, got nan in row 0, column 0"):
        load(tmp_path / "m.mat")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.csv")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,0\n")
    with pytest.raises(ValueError, match="target must be one of a, b, got 'c'"):
        regjax.load_csv(tmp_path / "t.csv", target="c")


@given(st.binary(max_size=300), st.sampled_from([".mat", ".npz", ".csv"]))
@settings(deadline=None, max_examples=60)
def test_any_bytes_load_or_are_refused_in_words(tmp_path_factory, content, ending):
    path = tmp_path_factory.mktemp("fuzz") / f"f{ending}"
    path.write_bytes(content)
    try:
        data, _ = load(path)
    except (ValueError, TypeError) as error:
        words = str(error)
    else:
        words = str(path)
        assert np.isfinite(data.x).all()
    assert str(path) in words


def test_numeric_labels_mean_the_same_from_a_file_and_from_arrays(tmp_path):
    (tmp_path / "l.csv").write_text("a,label\n" + "1,1\n2,2\n" * 5)
    data, _, classes = datasets.load_named(tmp_path / "l.csv")
    np.testing.assert_array_equal(classes, [1, 2])
    assert set(data.y[0].tolist()) == {0, 1}
    (tmp_path / "s.csv").write_text("a,label\n" + "1,-1\n2,1\n" * 5)
    assert set(datasets.load_named(tmp_path / "s.csv")[0].y[0].tolist()) == {0, 1}
    np.savez(tmp_path / "l.npz", X=np.ones((4, 1)), y=np.array([3, 5, 3, 5]))
    assert datasets.load_named(tmp_path / "l.npz")[0].y.tolist() == [[0, 1, 0, 1]]
