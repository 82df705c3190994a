"""The rules that choose among a search's candidates."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import StratifiedKFold

from regjax import RegGridSearchCV, RegMLPClassifier, one_se


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_standard_error():
    X, y = load_iris(return_X_y=True)
    network = RegMLPClassifier((5,), max_iter=40, random_state=0, n_iter_no_change=40)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    grid = {"alpha": [1e-4, 1e-3, 1e-2], "learning_rate_init": [0.02]}
    search = RegGridSearchCV(network, grid, cv=cv, refit=one_se()).fit(X, y)
    scores = np.stack([search.cv_results_[f"split{i}_test_score"] for i in range(3)], axis=1)
    best = scores.mean(axis=1).argmax()
    floor = scores[best].mean() - scores[best].std(ddof=1) / np.sqrt(3)
    within = [i for i in range(3) if scores[i].mean() >= floor]
    assert search.best_index_ == max(within)  # the largest alpha
    chosen = one_se("accuracy")({"mean_test_accuracy": 0, **{
        f"split{i}_test_accuracy": np.array([0.9 + 0.01 * i, 0.895 + 0.01 * i, 0.5]) for i in range(3)
    }, "params": [{"net__dropout": 0.0}, {"net__dropout": 0.5}, {"net__dropout": 0.9}]})  # fmt: skip
    assert chosen == 1
    with pytest.raises(ValueError, match="metric must be one of accuracy, got 'f1'"):
        one_se("f1")({"mean_test_accuracy": 0, "params": []})


def choice(*params):
    """Returns the choice among candidates with equal scores."""
    scores = {f"split{i}_test_score": np.full(len(params), 0.9 + 0.01 * i) for i in range(3)}
    return one_se()({"mean_test_score": 0, "params": list(params), **scores})


def test_what_is_simpler():
    assert choice({"hidden_layer_sizes": (9,)}, {"hidden_layer_sizes": (4, 4)}, {"alpha": 1.0}) == 2
    assert choice({"a__alpha": 0.1}, {"a__alpha": 1.0}) == 1
    assert choice({"l1": 0.1, "alpha": 9.0}, {"l1": 0.2, "alpha": 0.0}) == 1  # l1 counts before alpha
    assert choice({"dropout": (0.1, 0.2)}, {"dropout": np.array([0.2, 0.3])}, {"dropout": 0.2}) == 1
    assert choice({"max_norm": None}, {"max_norm": 3.0}, {"max_norm": 2.0}, {}) == 2
    assert choice({}, {"sam": 0.1}) == 1
    # What makes no network simpler never counts: the first of equals is taken.
    assert choice({"learning_rate_init": 0.1}, {"learning_rate_init": 0.01}, {"clip_norm": 1.0}) == 0
