import jax
import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

import regjax
from regjax.data import loaders
from regjax.data.loaders import load
from regjax.study.resolve import make_design

X, Y = np.arange(10.0).reshape(5, 2), np.array([0, 1, 1, 0, 1])


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


@pytest.mark.nightly
def test_a_plain_network_overfits_two_regions():
    train, test = regjax.two_regions(jax.random.key(0))
    fit = regjax.make_train(regjax.Config(num_steps=10_000, eval_every=10_000))
    plain, l2 = (fit(regjax.replicate_key(0), regjax.HParams(l2=s), train, test).history for s in (0, 0.7))
    gaps = [float(h["train_accuracy"][-1] - h["test_accuracy"][-1]) for h in (plain, l2)]
    assert gaps[0] > gaps[1] + 0.03


def test_mat_round_trip(tmp_path):
    path = tmp_path / "d.mat"
    scipy.io.savemat(path, {"X": X, "y": Y[:, None], "Xval": X[:3], "yval": Y[:3, None]})
    train, test = regjax.load_mat(path)
    np.testing.assert_array_equal(train.x, X.T)
    assert train.y.tolist() == [[0, 1, 1, 0, 1]]
    assert test is not None
    assert test.x.shape == (2, 3)


def test_a_loader_reads_its_kind_whatever_the_ending(tmp_path):
    with open(tmp_path / "a.bin", "wb") as one, open(tmp_path / "b.mat", "wb") as other:
        scipy.io.savemat(one, {"X": X, "y": Y[:, None]})
        np.savez(other, X=X, y=Y)
    np.testing.assert_array_equal(regjax.load_mat(tmp_path / "a.bin")[0].x, X.T)
    np.testing.assert_array_equal(regjax.load_npz(tmp_path / "b.mat")[0].x, X.T)


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


def test_npz_with_and_without_test_samples(tmp_path):
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


def test_a_table_of_numbers_keeps_its_values(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("a,b,kind\n1,2,red\n3,4,blue\n6,7,red\n")
    data = regjax.load_table(path)
    np.testing.assert_array_equal(data.x, [[1, 3, 6], [2, 4, 7]])
    assert data.y.tolist() == [[1, 0, 1]]
    path.write_text("target,a\n0.5,1\n1.5,5\n2,2\n")
    assert regjax.load_table(path, target="target").y.tolist() == [[0.5, 1.5, 2]]
    assert regjax.load_table(path, target="a", task="regression").y.tolist() == [[1, 5, 2]]


def test_a_mixed_table_is_standardised_filled_and_coded(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("age,town,y\n2,a,no\n,b,yes\n6,a,no\n7,b,yes\n")
    frame = pd.DataFrame({"age": [2, None, 6, 7], "town": list("abab"), "y": ["no", "yes", "no", "yes"]})
    filled = np.array([2, 6, 6, 7.0])
    expected = [(filled - filled.mean()) / filled.std(), [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]]
    for data in (regjax.load_table(path), regjax.load_table(frame)):
        np.testing.assert_allclose(data.x, expected, rtol=1e-12)
        assert data.y.tolist() == [[0, 1, 0, 1]]
    only = regjax.load_table(path, columns={"age": "drop"})
    np.testing.assert_array_equal(only.x, [[1, 0, 1, 0], [0, 1, 0, 1]])


def bad_files(folder):
    """Yields (file name, content writer, what the message must say)."""
    mat = folder / "good.mat"
    scipy.io.savemat(mat, {"X": X, "y": Y[:, None], "Xval": X, "yval": Y[:, None]})
    good = mat.read_bytes()
    yield "text.mat", b"hello, this is not a mat file", "must be a MATLAB 5 file"
    yield "empty.mat", b"", "must be a MATLAB 5 file"
    yield "cut.mat", good[: len(good) // 2], "must be a MATLAB 5 file|must hold X, y"
    yield "text.npz", b"not a zip", r"must be a NumPy \.npz archive"
    yield "empty.csv", b"", "must hold a table, got an empty file"
    yield "header.csv", b"a,b\n", "must hold rows, got one line alone, with the names a, b"
    words = b"a,b\n" + b"1,0\n2,1\n" * 10
    yield "words.csv", words + b"x,1\n", "column 'a' must hold numbers .* got 'x' in row 22: --gaps"
    yield "all_words.csv", b"a,b\n1,0\nx,1\n", r"must have a column .* an input, got none \(a: left out"
    yield "gap.csv", b"a,b\n,0\n,1\n", r"must have a column .* an input, got none \(a: left out: empty"
    yield "gap_y.csv", b"a,b\n1,0\n2,\n", "target 'b' must have no gaps, got one in row 3"
    yield "infinite.csv", b"a,b\n1,0\n2,1\ninf,1\n", "column 'a' must be finite, got inf in row 4"
    yield "ragged.csv", b"a,b\n1,0\n2,1,3\n1,1\n", "line 3 must have 2 values, got 3 values"
    yield "headless.csv", b"0.1,0.2,1\n0.3,0.4,1\n", "target 'x3' must have two classes at least, got 1"
    yield "one.csv", b"b\n1\n0\n", "must have at least two columns, got one by tab"
    yield "binary.csv", bytes(range(256)) * 4, "must be text, got a NUL byte"
    yield "data.txt", b"1,2", "must hold rows, got one line alone"
    yield "data.foo", b"1,2", r"must be a file \.csv, .* or \.mat, got the ending '\.foo'"


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
    with pytest.raises(ValueError, match="Xval must be finite, got nan in sample 0, column 0"):
        load(tmp_path / "m.mat")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.csv")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,0\n")
    with pytest.raises(ValueError, match=r"t\.csv: target must be one of 'a', 'b', got 'c'"):
        regjax.load_table(tmp_path / "t.csv", target="c")


@given(st.binary(max_size=300), st.sampled_from([".mat", ".npz", ".csv"]))
@settings(max_examples=60)
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
    found = loaders.load_samples(tmp_path / "l.csv")
    np.testing.assert_array_equal(found.classes, [1, 2])
    assert set(found.train.y[0].tolist()) == {0, 1}
    (tmp_path / "s.csv").write_text("a,label\n" + "1,-1\n2,1\n" * 5)
    assert set(loaders.load_samples(tmp_path / "s.csv").train.y[0].tolist()) == {0, 1}
    np.savez(tmp_path / "l.npz", X=np.ones((4, 1)), y=np.array([3, 5, 3, 5]))
    assert loaders.load_samples(tmp_path / "l.npz").train.y.tolist() == [[0, 1, 0, 1]]


def test_two_classes_with_test_samples_of_their_own_or_held_out(tmp_path):
    train, test = loaders.load_two_classes("breast_cancer", 0.25)
    assert (train.x.shape[1], test.x.shape[1]) == (426, 143)
    np.savez(tmp_path / "d.npz", X=X, y=Y, Xval=X[:2], yval=Y[:2])
    train, test = loaders.load_two_classes(tmp_path / "d.npz")
    assert (train.x.shape[1], test.x.shape[1]) == (5, 2)
    with pytest.raises(ValueError, match=r"^data must have labels of two classes, 0 and 1, .* got 0, 1, 2$"):
        loaders.load_two_classes("iris")
    np.savez(tmp_path / "d.npz", X=X, y=[0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match=r"d\.npz: data must have labels of two classes"):
        loaders.load_two_classes(tmp_path / "d.npz")


def test_an_error_names_the_file_that_the_data_is_from(tmp_path):
    for source, words in ((tmp_path, f"{tmp_path}: wrong"), ("iris", "wrong"), (None, "wrong")):
        with pytest.raises(TypeError) as caught, loaders.of_file(source):
            raise TypeError("wrong")
        assert str(caught.value) == words
    with pytest.raises(KeyError), loaders.of_file(tmp_path):
        raise KeyError("untouched")


def test_errors_name_the_arrays_of_the_file(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, X=X, y=Y, Xval=X[:, 0], yval=Y)
    with pytest.raises(ValueError, match=r"d\.npz: Xval must be two-dimensional"):
        load(path)
    np.savez(path, X=X, y=Y * 0.5, Xval=X, yval=Y[:, None, None])
    with pytest.raises(ValueError, match=r"d\.npz: yval must be one- or two-dimensional"):
        load(path)
    np.savez(path, X=X, y=Y, Xval=X, yval=Y[:3])
    with pytest.raises(ValueError, match="Xval and yval must have the same number of samples, got 5 and 3"):
        load(path)


def test_a_design_names_the_file_of_bad_data(tmp_path):
    path = str(tmp_path / "d.npz")
    np.savez(path, X=np.arange(12.0).reshape(6, 2), y=[0, 1, 2, 0, 1, 2])
    with pytest.raises(ValueError, match=r"d\.npz: data must have labels of two classes"):
        make_design(path, regjax.Config())
    np.savez(path, X=X * 1e60, y=Y)
    with pytest.raises(ValueError, match=r"d\.npz: data must be finite in float32, got inf|1e\+60"):
        make_design(path)
    with pytest.raises(ValueError, match=r"d\.npz: test must leave a sample of each of 2 classes"):
        make_design(path, test=0.1)
    with pytest.raises(ValueError, match=r"^num_steps must be at least 1"):
        make_design(path, {"num_steps": 0})
