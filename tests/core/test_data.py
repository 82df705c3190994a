import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import regjax
from regjax.core.data import Data, check_data, pad_samples

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


def test_weights_have_mean_one_over_the_samples_that_count():
    weights = Data.from_arrays(X, Y, [0, 1, 2, 3, 0]).weights
    np.testing.assert_allclose(weights, [0, 0.5, 1, 1.5, 0])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([[1.0], [2.0]], [1]), ValueError, "X and y must have the same number of samples, got 2 and 1"),
        ((np.zeros((0, 2)), []), ValueError, r"X must have at least one sample, got shape \(0, 2\)"),
        ((np.zeros((2, 0)), [0, 1]), ValueError, "X must have at least one column"),
        (
            ([1.0, 2.0], [0, 1]),
            ValueError,
            r"X must be two-dimensional \(n_samples, n_features\), got shape \(2,\)",
        ),
        (
            ([[1.0, 2.0], [np.nan, 1.0]], [0, 1]),
            ValueError,
            "X must be finite, got nan in sample 1, column 0",
        ),
        (([[1.0, np.inf]], [0]), ValueError, "got inf in sample 0, column 1"),
        (([["a", "b"]], [0]), TypeError, "X must hold numbers"),
        (([[1.0]], [np.nan]), ValueError, "y must be finite, got nan in sample 0"),
        (([[1.0]], np.zeros((1, 1, 1))), ValueError, "y must be one- or two-dimensional"),
        (
            ([[1.0]], [0.5], None, "classification"),
            ValueError,
            "y must hold whole numbers as class labels, got 0.5 in sample 0",
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
        (CONFIG, Data(X, Y[None], np.ones(5)), ValueError, "same number of samples in x, y and weights"),
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
            "batch_size must be at most the 5 training samples, got 6",
        ),
    ],
)
def test_data_that_does_not_fit_the_config(config, data, error, words):
    with pytest.raises(error, match=words):
        check_data(config, data)


@given(n=st.integers(1, 70))
def test_padding_appends_samples_of_weight_zero(n):
    data = Data.from_arrays(np.ones((n, 2)), np.ones(n, int) * np.arange(n))
    padded = pad_samples(data)
    assert padded.x.shape[1] % 16 == 0
    assert padded.x.shape[1] - n < 16
    assert padded.weights.sum() == n
    np.testing.assert_array_equal(padded.x[:, :n], data.x)
