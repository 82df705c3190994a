"""An estimator and scikit-learn's, fitted alike and compared attribute by attribute."""

import numpy as np
import pytest


def assert_same_network(ours, peer, rtol=1e-8):
    """Asserts that two fitted estimators have the same weights, curves, counts and scores."""
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(peer, name), getattr(ours, name), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(other, one, rtol=rtol, atol=rtol / 100)
    np.testing.assert_allclose(ours.loss_curve_, peer.loss_curve_, rtol=rtol, atol=rtol / 100)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_"):
        assert getattr(ours, name) == getattr(peer, name), name
    assert ours._no_improvement_count == peer._no_improvement_count
    for name in ("loss_", "best_loss_", "best_validation_score_"):
        expected = getattr(peer, name)
        close = None if expected is None else pytest.approx(expected, rel=rtol, abs=rtol / 100)
        assert getattr(ours, name) == close, name
    assert (ours.validation_scores_ is None) == (peer.validation_scores_ is None)
    if peer.validation_scores_ is not None:
        np.testing.assert_allclose(ours.validation_scores_, peer.validation_scores_, rtol=rtol)


def same_networks(peer, ours, X, y, rtol=1e-8, **fit):
    """Fits both estimators, and asserts that they are the same and predict the same."""
    peer.fit(X, y, **fit)
    ours.fit(X, y, **fit)
    assert_same_network(ours, peer, rtol)
    expected, found = peer.predict(X[:20]), ours.predict(X[:20])
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 100)
    else:
        np.testing.assert_array_equal(found, expected)
