"""The compiled epochs of one network."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

from regjax import Config, RegMLPClassifier
from regjax.sklearn import epochs
from regjax.sklearn.epochs import EPOCHS, check_batches, counted


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_run_may_stop_at_the_end_of_a_compiled_call():
    X, y = load_iris(return_X_y=True)
    settings = {"hidden_layer_sizes": (4,), "random_state": 0, "learning_rate_init": 0.01, "max_iter": 300}
    settings |= {"tol": 1e-3 + 19e-3 / 24 * 5, "n_iter_no_change": 3}
    peer = MLPClassifier(**settings).fit(X, y)
    assert peer.n_iter_ % EPOCHS == 0
    ours = RegMLPClassifier(**settings).fit(X, y)
    assert (ours.n_iter_, ours.t_) == (peer.n_iter_, peer.t_)
    np.testing.assert_allclose(ours.loss_curve_, peer.loss_curve_, rtol=1e-9)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_few_programs_are_kept(monkeypatch):
    """Linux ends a process that maps too many pieces of memory, which several hundred programs do."""
    X, y = load_iris(return_X_y=True)
    monkeypatch.setattr(epochs, "MOST_PROGRAMS", 3)
    monkeypatch.setattr(epochs, "_compiled", set())
    found = []
    for units in (2, 3, 4, 5, 2):
        network = RegMLPClassifier((units,), max_iter=2, random_state=0).fit(X, y)
        found.append((epochs._program()._cache_size(), network.loss_))
    assert [size for size, _ in found[3:]] == [1, 2]
    assert found[0][1] == found[-1][1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_weight_of_0_counts_and_adds_nothing(dtype):
    weights = np.array([0.0, 2.0, 0.0, 1.0])
    found = counted(weights, dtype).astype(dtype)
    assert (found > 0).all()
    assert np.sum(found * np.asarray(1e6, dtype)) == 3e6
    np.testing.assert_array_equal(found[weights > 0], weights[weights > 0])
    data = epochs.as_data(np.zeros((4, 1), dtype), np.zeros((4, 1), dtype), found)
    config = Config(layer_sizes=(1, 1), dtype=dtype, batch_size=2)
    check_batches(np.array([[0, 1, 2, 3]]), data, config)
    check_batches(None, data, config)
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        check_batches(np.array([[0, 1, 2, 3], [1, 3, 2, 0]]), data, config)
