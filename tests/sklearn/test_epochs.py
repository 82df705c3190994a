"""The compiled epochs of one network."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

from regjax import RegMLPClassifier
from regjax.sklearn.epochs import EPOCHS


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
