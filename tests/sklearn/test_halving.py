"""The halving searches: scikit-learn's results, and networks that go on from one iteration to the next."""

import inspect

import numpy as np
import pytest
import scipy.stats
from cases import slow_but
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from regjax import (
    RegGridSearchCV,
    RegHalvingGridSearchCV,
    RegHalvingRandomSearchCV,
    RegMLPClassifier,
    RegMLPRegressor,
)
from regjax.engine.scheduler import Scheduler
from regjax.sklearn.rungs import epochs_between_records

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
CV = StratifiedKFold(3, shuffle=True, random_state=0)
GRID = {"alpha": [0.01, 1.0, 10.0], "learning_rate_init": [0.001, 0.01, 0.1]}
EPOCHS = {"resource": "max_iter", "max_resources": 27, "cv": CV}
SAMPLES = {"resource": "n_samples", "max_resources": 150, "random_state": 0, "cv": 3}
NETWORK = RegMLPClassifier((5,), random_state=0)


COUNTS = (
    "n_resources",
    "n_candidates",
    "n_iterations",
    "n_required_iterations",
    "n_possible_iterations",
    "n_remaining_candidates",
    "min_resources",
    "max_resources",
    "best_index",
    "best_params",
)


def assert_same_results(ours, peer):
    assert list(ours.cv_results_) == list(peer.cv_results_)
    for name, expected in peer.cv_results_.items():
        found = ours.cv_results_[name]
        if name.endswith("_score") and not name.startswith("rank"):
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8, err_msg=name)
        elif not name.endswith("_time"):
            assert [*found] == [*expected], name
    for name in COUNTS:
        assert getattr(ours, f"{name}_") == getattr(peer, f"{name}_"), name
    assert ours.best_score_ == pytest.approx(peer.best_score_, abs=1e-8)


def both(settings, grid=GRID, data=(X, Y), **options):
    """Checks that a search of ours has scikit-learn's results, and returns it."""
    ours = RegHalvingGridSearchCV(RegMLPClassifier((5,), random_state=0, **settings), grid, **options)
    peer = HalvingGridSearchCV(MLPClassifier((5,), random_state=0, **settings), grid, **options)
    assert_same_results(ours.fit(*data), peer.fit(*data))
    np.testing.assert_allclose(ours.predict_proba(data[0]), peer.predict_proba(data[0]), rtol=1e-7, atol=1e-9)
    return ours


SOLVERS = {
    "adam": {},
    "batches of several sizes": {"batch_size": 20},
    "stops": {"n_iter_no_change": 3, "tol": 0.02},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 5},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "lbfgs": {"solver": "lbfgs"},
}


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("name", slow_but(SOLVERS, ["early stopping", "stops", "lbfgs"]))
def test_results_are_scikit_learns_where_epochs_are_the_resource(name):
    grid = GRID | ({"batch_size": [20, 64]} if "batch_size" in SOLVERS[name] else {})
    both(SOLVERS[name], grid, **EPOCHS)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("name", slow_but(["adam", "early stopping", "lbfgs"], ["adam"]))
def test_results_are_scikit_learns_where_samples_are_the_resource(name):
    search = both({"max_iter": 15} | SOLVERS[name], **SAMPLES)
    assert search.n_resources_ == [18, 54]
    assert search.results_ is None


@pytest.mark.nightly
def test_options_of_the_iterations_are_scikit_learns():
    data = load_breast_cancer(return_X_y=True)
    data = StandardScaler().fit_transform(data[0]), data[1]
    # The first iteration is repeated until few enough are left; a factor that is no whole number.
    both({}, **EPOCHS | {"aggressive_elimination": True, "min_resources": 9}, data=data)
    both({}, **EPOCHS | {"factor": 1.7, "min_resources": 5}, data=data)
    both({}, **EPOCHS | {"scoring": "neg_log_loss", "return_train_score": False}, data=data)
    both({"solver": "sgd"}, {"alpha": [0.1, 1], "power_t": [0.1, 0.2]}, resource="n_iter_no_change",
         max_resources=4, cv=CV, data=data)  # fmt: skip


# Few samples: an estimator warns of its batches, and R² of a fold with one sample is not defined.
@pytest.mark.filterwarnings(
    "ignore:Got `batch_size`", "ignore:R.2 score is not", "ignore:One or more of the test"
)
@pytest.mark.nightly
def test_random_searches_are_scikit_learns():
    X, y = load_diabetes(return_X_y=True)
    y = np.asarray(y) / 100
    draws = {"alpha": scipy.stats.loguniform(1e-3, 10), "batch_size": [32, 64]}
    for own in (EPOCHS | {"cv": 3, "min_resources": 3}, SAMPLES | {"max_resources": "auto"}):
        options = own | {"random_state": 1, "n_candidates": 8}
        ours = RegHalvingRandomSearchCV(RegMLPRegressor(random_state=0), draws, **options).fit(X, y)
        peer = HalvingRandomSearchCV(MLPRegressor(random_state=0), draws, **options).fit(X, y)
        assert_same_results(ours, peer)


class Steps:
    """Counts the steps that rows were trained for."""

    def __init__(self, monkeypatch):
        self.count, take = 0, Scheduler.take

        def counting(scheduler, chunk, task, done):
            self.count += (done.stop - task.start) * len(chunk.places)
            take(scheduler, chunk, task, done)

        monkeypatch.setattr(Scheduler, "take", counting)


def test_networks_go_on_and_no_step_is_made_twice(monkeypatch):
    steps = Steps(monkeypatch)
    search = RegHalvingGridSearchCV(clone(NETWORK).set_params(n_iter_no_change=99), GRID, **EPOCHS).fit(X, Y)
    assert (search.n_resources_, search.n_candidates_) == ([3, 9, 27], [9, 3, 1])
    assert steps.count == 3 * (9 * 3 + 3 * 6 + 1 * 18)


@pytest.mark.nightly
@pytest.mark.bits
def test_a_survivor_has_the_bits_of_the_same_network_in_a_grid_search():
    network = clone(NETWORK).set_params(dropout=0.1, early_stopping=True, batch_size=32)
    found = {}

    def scorer(estimator, X, y):
        key = estimator.alpha, estimator.learning_rate_init, estimator.max_iter, float(X.sum())
        found.setdefault(key, []).append(estimator.coefs_)
        return estimator.score(X, y)

    options = {"scoring": scorer, "refit": False}
    RegHalvingGridSearchCV(network, GRID, **EPOCHS | options).fit(X, Y)
    for epochs in (3, 9, 27):
        RegGridSearchCV(clone(network).set_params(max_iter=epochs), GRID, cv=CV, **options).fit(X, Y)
    pairs = [coefs for coefs in found.values() if len(coefs) == 2]
    # The halving search scores training folds too.
    assert len(pairs) == (9 + 3 + 1) * 3
    for one, other in pairs:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


class Counting(TransformerMixin, BaseEstimator):
    """Counts its fits."""

    fits = 0

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None):
        Counting.fits += 1
        return self

    def transform(self, X):
        return np.asarray(X) * self.scale


@pytest.mark.nightly
def test_networks_behind_steps_go_on_too(monkeypatch):
    steps = Steps(monkeypatch)
    Counting.fits = 0
    network = RegMLPClassifier((5,), random_state=0, n_iter_no_change=99)
    pipeline = Pipeline([("count", Counting()), ("scale", StandardScaler()), ("net", network)])
    grid = {"net__alpha": [0.1, 1, 10], "count__scale": [1.0, 2.0]}
    search = RegHalvingGridSearchCV(pipeline, grid, resource="net__max_iter", max_resources=9, cv=CV)
    search.fit(X, Y)
    assert search.n_candidates_ == [6, 2]
    # Both settings of the step, and the best on all samples.
    assert Counting.fits == 2 * 3 + 1
    assert steps.count == 3 * (6 * 3 + 2 * 6)
    peer = pipeline.set_params(net=MLPClassifier((5,), random_state=0, n_iter_no_change=99))
    options = {"resource": "net__max_iter", "max_resources": 9, "cv": CV}
    assert_same_results(search, HalvingGridSearchCV(peer, grid, **options).fit(X, Y))


@pytest.mark.nightly
def test_a_network_inside_another_estimator_is_halved():
    grid = {"estimator__alpha": [0.1, 1.0, 10.0]}
    options = {"resource": "estimator__max_iter", "max_resources": 9, "cv": CV}
    ours = RegHalvingGridSearchCV(OneVsRestClassifier(NETWORK), grid, **options).fit(X, Y)
    peer = HalvingGridSearchCV(OneVsRestClassifier(MLPClassifier((5,), random_state=0)), grid, **options)
    assert_same_results(ours, peer.fit(X, Y))


def test_seeds_are_averaged_in_each_iteration():
    search = RegHalvingGridSearchCV(clone(NETWORK).set_params(random_state=None), GRID, n_seeds=2, **EPOCHS)
    search.fit(X, Y)
    assert search.seed_scores_.shape == (9 + 3 + 1, 3, 2)
    means = search.seed_scores_.mean(axis=2)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], means.mean(axis=1))
    assert search.cv_results_["iter"].tolist() == [0] * 9 + [1] * 3 + [2]


@pytest.mark.slow
def test_with_a_store_each_iteration_is_a_sweep(tmp_path, monkeypatch):
    options = EPOCHS | {"refit": False}
    search = RegHalvingGridSearchCV(NETWORK, GRID, store=tmp_path / "s.sqlite", **options)
    plain = RegHalvingGridSearchCV(NETWORK, GRID, **options).fit(X, Y)
    assert_same = lambda one, other: np.testing.assert_allclose(  # noqa: E731
        one.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"], rtol=1e-10
    )
    assert_same(search.fit(X, Y), plain)
    assert search.num_recalled_ == 0
    steps = Steps(monkeypatch)
    again = clone(search).fit(X, Y)
    assert (again.num_recalled_, steps.count) == ((9 + 3 + 1) * 3, 0)
    assert_same(again, search)


def test_a_candidate_without_a_score_is_never_the_best():
    def last_is_missing(estimator, X, y):
        return np.nan if estimator.max_iter == 27 else estimator.score(X, y)

    options = EPOCHS | {"return_train_score": False}
    with pytest.warns(UserWarning, match="non-finite"):
        search = RegHalvingGridSearchCV(NETWORK, GRID, scoring=last_is_missing, **options).fit(X, Y)
    second = search.cv_results_["iter"] == 1
    assert second[search.best_index_]
    assert search.best_score_ == search.cv_results_["mean_test_score"][second].max()
    assert search.best_params_["max_iter"] == 9
    # Without any score it is scikit-learn's choice, the first of the last iteration.
    with pytest.warns(UserWarning, match="non-finite"):
        none = RegHalvingGridSearchCV(NETWORK, GRID, scoring=lambda *_: np.nan, **options).fit(X, Y)
    assert none.best_index_ == 9 + 3
    assert np.isnan(none.best_score_)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_candidates_that_diverge_drop_out():
    X, y = load_diabetes(return_X_y=True)
    y = np.asarray(y) / 100
    network = {"hidden_layer_sizes": (), "solver": "sgd", "random_state": 0, "n_iter_no_change": 99}
    grid = {"learning_rate_init": [1e-3, 1e4, 1e-2, 1e5]}
    options = {"resource": "max_iter", "min_resources": 20, "max_resources": 60, "factor": 2, "cv": 2}
    with pytest.warns((FitFailedWarning, UserWarning)):
        search = RegHalvingGridSearchCV(RegMLPRegressor(**network), grid, **options).fit(X, y)
    assert search.n_candidates_ == [4, 2]
    assert search.best_params_["learning_rate_init"] < 1
    survivors = search.cv_results_["param_learning_rate_init"][search.cv_results_["iter"] == 1]
    assert sorted(survivors) == [1e-3, 1e-2]


def test_a_search_without_a_network_is_scikit_learns():
    options = {"factor": 2, "random_state": 0, "cv": 3}
    ours = RegHalvingGridSearchCV(SVC(), {"C": [1, 10, 100]}, **options).fit(X, Y)
    assert_same_results(ours, HalvingGridSearchCV(SVC(), {"C": [1, 10, 100]}, **options).fit(X, Y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resource": "max_iter"}, "resource can only be 'n_samples' when max_resources='auto'"),
        ({"resource": "alpha", "max_resources": 9}, "Cannot use parameter alpha as the resource"),
        ({"resource": "epochs", "max_resources": 9}, "Cannot use resource=epochs"),
        ({"n_seeds": 0}, "The 'n_seeds' parameter of RegHalvingGridSearchCV"),
        ({"cv": StratifiedKFold(3, shuffle=True)}, "must yield consistent folds"),
        (
            {"min_resources": 30} | {"resource": "max_iter", "max_resources": 27},
            "min_resources_=30 is greater",
        ),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        RegHalvingGridSearchCV(NETWORK, GRID, **options).fit(X, Y)


def test_signatures_are_scikit_learns_with_two_more():
    for ours, peer in ((RegHalvingGridSearchCV, HalvingGridSearchCV),
                       (RegHalvingRandomSearchCV, HalvingRandomSearchCV)):  # fmt: skip
        more = list(inspect.signature(ours).parameters.values())
        # As text, since a default may be NaN.
        assert [*map(str, more[:-2])] == [*map(str, inspect.signature(peer).parameters.values())]
        assert [parameter.name for parameter in more[-2:]] == ["n_seeds", "store"]


@pytest.mark.parametrize(
    ("epochs", "between"), [(1, 1), (7, 1), (10, 1), (27, 3), (30, 3), (97, 97), (100, 10)]
)
def test_records_divide_a_rung(epochs, between):
    assert epochs_between_records(epochs) == between
