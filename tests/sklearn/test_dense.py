"""Sparse inputs as dense arrays, where these fit into memory."""

import numpy as np
import pytest
from scipy import sparse

from regjax import RegMLPClassifier, RegMLPRegressor
from regjax.sklearn import dense
from regjax.sklearn.dense import as_dense


def test_what_fits_is_made_dense():
    x = np.eye(3, dtype=np.float32)
    assert as_dense(x) is x
    for made in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        found = as_dense(made(x))
        assert type(found) is np.ndarray
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, x)


def test_what_does_not_fit_is_refused_at_once(monkeypatch):
    huge = sparse.csr_array(([1.0], ([0], [0])), shape=(1_000_000, 1_000_000))
    words = (
        r"X must fit into memory as a dense array: 1,000,000 samples × 1,000,000 features × 8 bytes, .* GB"
    )
    for estimator in (RegMLPClassifier(), RegMLPRegressor()):
        with pytest.raises(ValueError, match=words):
            estimator.fit(huge, np.arange(1_000_000) % 2)
    monkeypatch.setattr(dense, "free_memory", lambda: 1000)
    assert as_dense(sparse.csr_array(np.eye(6))).shape == (6, 6)
    with pytest.raises(ValueError, match=r"are 0.0 GB, got 0.0 GB of free memory"):
        as_dense(sparse.csr_array(np.eye(7)))
    # Where the system does not say, it is tried.
    monkeypatch.setattr(dense, "free_memory", lambda: None)
    assert as_dense(sparse.csr_array(np.eye(7))).shape == (7, 7)
