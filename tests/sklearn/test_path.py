"""A path of alpha: each network is a fit from its neighbour's weights, trained with those of other folds."""

import numpy as np
import pytest
from cases import slow_but
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from regjax import RegMLPClassifier, RegMLPRegressor, RegPathCV
from regjax.sklearn.base import starting_from

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
CV = StratifiedKFold(3, shuffle=True, random_state=0)
NETWORK = RegMLPClassifier((5,), max_iter=12, learning_rate_init=0.05, random_state=3)
ALPHAS = [0.1, 10.0, 1.0]

SETTINGS = {
    "adam": {},
    "batches": {"batch_size": 20, "max_norm": 1.0},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 0.05},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3},
}


def one_by_one(network, alphas, X, y, **params):
    """Yields fitted networks, each from the weights of the one before."""
    start = None
    for alpha in alphas:
        network = clone(network).set_params(alpha=alpha)
        with starting_from(start):
            network.fit(X, y, **params)
        start = network.coefs_, network.intercepts_
        yield network


def assert_same_weights(one, other):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("name", slow_but(SETTINGS, ["batches", "early stopping"]))
@pytest.mark.parametrize("first", slow_but(["largest", "smallest"], ["smallest"]))
def test_each_network_is_a_fit_from_its_neighbours_weights(name, first):
    network, found = clone(NETWORK).set_params(**SETTINGS[name]), []

    def scorer(estimator, X, y):
        found.append(estimator)
        return estimator.score(X, y)

    path = RegPathCV(network, alphas=ALPHAS, first=first, cv=CV, n_seeds=2, scoring=scorer).fit(X, Y)
    alphas = sorted(ALPHAS, reverse=first == "largest")
    assert path.alphas_.tolist() == alphas == path.cv_results_["param_alpha"].tolist()
    assert path.scores_.shape == (3, 3, 2)
    # scikit-learn scores alpha by alpha, then seed by seed, then fold by fold.
    networks = np.array(found, dtype=object).reshape(3, 2, 3)
    for fold, (train, test) in enumerate(CV.split(X, Y)):
        for seed in range(2):
            alone = one_by_one(clone(network).set_params(random_state=3 + seed), alphas, X[train], Y[train])
            for number, each in enumerate(alone):
                assert_same_weights(networks[number, seed, fold], each)
                assert networks[number, seed, fold].n_iter_ == each.n_iter_
                assert path.scores_[number, fold, seed] == each.score(X[test], Y[test])
    # What only a fit tells is that of the network's own start and seed.
    last = networks[-1, 1, 2]
    assert last.loss_curve_ == pytest.approx(each.loss_curve_, rel=1e-9)


@pytest.mark.parametrize("how", ["weights", "labels", "order"])
def test_networks_that_are_no_rows_of_a_sweep_follow_the_path_too(how):
    network, alphas = clone(NETWORK).set_params(random_state=3), sorted(ALPHAS)
    weights = np.linspace(0, 2, len(Y)) if how == "weights" else None
    targets = np.stack([Y == 0, Y > 1], axis=1).astype(int) if how == "labels" else Y
    cv = CV if how != "labels" else KFold(3, shuffle=True, random_state=0)
    if how == "order":  # batches follow the order of the training samples
        network, cv = network.set_params(batch_size=20), ShuffleSplit(2, random_state=0)
    found = []

    def scorer(estimator, X, y, sample_weight=None):
        found.append(estimator)
        return estimator.score(X, y, sample_weight)

    given = {} if weights is None else {"sample_weight": weights}
    path = RegPathCV(network, alphas=ALPHAS, cv=cv, n_seeds=2, scoring=scorer).fit(X, targets, **given)
    networks = np.array(found, dtype=object).reshape(3, 2, -1)
    for fold, (train, _) in enumerate(cv.split(X, Y)):
        for seed in range(2):
            own = {} if weights is None else {"sample_weight": weights[train]}
            of_seed = clone(network).set_params(random_state=3 + seed)
            alone = one_by_one(of_seed, alphas, X[train], targets[train], **own)
            for number, each in enumerate(alone):
                assert_same_weights(networks[number, seed, fold], each)
    assert path.scores_.shape == networks.transpose(0, 2, 1).shape


@pytest.mark.nightly
def test_the_best_is_fitted_along_the_path():
    pipeline = make_pipeline(StandardScaler(), NETWORK)
    path = RegPathCV(pipeline, alphas=ALPHAS, cv=CV, refit=lambda results: 1).fit(X, Y)
    assert path.alpha_ == 1.0
    assert path.best_params_ == {"regmlpclassifier__alpha": 1.0}
    *_, expected = one_by_one(NETWORK, [0.1, 1.0], StandardScaler().fit_transform(X), Y)
    assert_same_weights(path.best_estimator_[-1], expected)
    np.testing.assert_array_equal(path.predict(X), path.best_estimator_.predict(X))
    assert clone(path).get_params()["alphas"] == ALPHAS
    again = clone(path).set_params(refit=False).fit(X, Y)
    np.testing.assert_array_equal(again.scores_, path.scores_)


@pytest.mark.nightly
def test_alphas_by_default():
    assert len(RegPathCV(NETWORK).set_params(estimator__max_iter=1, cv=2).fit(X, Y).alphas_) == 21


def test_a_pipeline_with_sample_weights_is_refitted_along_the_path():
    weights = np.linspace(0, 2, len(Y))
    pipeline = make_pipeline(StandardScaler(), NETWORK)
    path = RegPathCV(pipeline, alphas=ALPHAS, cv=CV, refit=lambda results: 1)
    path.fit(X, Y, regmlpclassifier__sample_weight=weights)
    scaled = StandardScaler().fit_transform(X)
    *_, expected = one_by_one(NETWORK, [0.1, 1.0], scaled, Y, sample_weight=weights)
    assert_same_weights(path.best_estimator_[-1], expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_after_a_network_that_diverged_weights_are_drawn_anew(weighted):
    X, y = load_diabetes(return_X_y=True)
    y = np.asarray(y) / 100
    network = RegMLPRegressor(
        hidden_layer_sizes=(), solver="sgd", random_state=0, max_iter=30, n_iter_no_change=30
    )
    found = []

    def scorer(estimator, X, y, sample_weight=None):
        found.append(estimator)
        return estimator.score(X, y, sample_weight)

    given = {"sample_weight": np.ones(len(y))} if weighted else {}
    path = RegPathCV(network, alphas=[1e30, 0.1], first="largest", cv=2, scoring=scorer)
    with pytest.warns((FitFailedWarning, UserWarning)):
        path.fit(X, y, **given)
    assert np.isnan(path.cv_results_["mean_test_score"][0])
    assert path.alpha_ == 0.1
    half = len(y) // 2
    assert_same_weights(found[0], clone(network).set_params(alpha=0.1).fit(X[half:], y[half:]))


@pytest.mark.parametrize(
    ("settings", "fit", "message"),
    [
        ({"alphas": []}, {}, "alphas must be distinct numbers >= 0, at least one"),
        ({"alphas": [1, 1]}, {}, "alphas must be distinct numbers >= 0"),
        ({"alphas": [-1]}, {}, "alphas must be distinct numbers >= 0"),
        ({"alphas": [np.nan, 1]}, {}, "alphas must be distinct numbers >= 0"),
        ({"alphas": ["a"]}, {}, "alphas must be distinct numbers >= 0"),
        ({"alphas": 3}, {}, "The 'alphas' parameter of RegPathCV"),
        ({"first": "last"}, {}, "The 'first' parameter of RegPathCV"),
        ({"n_seeds": 0}, {}, "The 'n_seeds' parameter of RegPathCV"),
        ({"estimator": LogisticRegression()}, {}, "estimator must be a network of regjax with solver"),
        ({"estimator__solver": "lbfgs"}, {}, "estimator must be a network of regjax with solver sgd or adam"),
        ({}, {"X": X * np.nan}, "Input X contains NaN"),
    ],
)  # fmt: skip
def test_bad_input(settings, fit, message):
    path = RegPathCV(clone(NETWORK), alphas=ALPHAS, cv=2).set_params(**settings)
    with pytest.raises(ValueError, match=message):
        path.fit(**{"X": X, "y": Y} | fit)
