"""Searches over whatever holds a network: scikit-learn's scores, and the networks trained together."""

import contextlib
import functools
import io
import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit, TimeSeriesSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from regjax import RegGridSearchCV, RegMLPClassifier, RegMLPRegressor
from regjax.core.config import Config
from regjax.sklearn import together

pytestmark = pytest.mark.filterwarnings("ignore")

ORDER = np.random.default_rng(0).permutation(150)[:90]
X, Y = (part[ORDER] for part in load_iris(return_X_y=True))
XR, YR = (np.asarray(part)[:120] for part in load_diabetes(return_X_y=True))
YR = YR / 100


def classifier(**own):
    settings = {"max_iter": 8, "learning_rate_init": 0.05, "random_state": 0}
    return RegMLPClassifier((4,), **settings | own)


def regressor(**own):
    settings = {"max_iter": 8, "learning_rate_init": 0.05, "random_state": 0}
    return RegMLPRegressor(hidden_layer_sizes=(4,), **settings | own)


@pytest.fixture
def counted(monkeypatch):
    """The number of networks that were trained together, and that diverged there, for each call."""
    found, train = [], together._trained

    def trained(wanted, *rest):
        networks = train(wanted, *rest)
        found.append((len(networks), sum(network is None for network in networks)))
        return networks

    monkeypatch.setattr(together, "_trained", trained)
    # However little there is to train.
    monkeypatch.setattr(together, "WORTH", 0)
    return found


def both(estimator, grid, X=X, y=Y, fit=None, **options):
    """Checks that a search of ours says what scikit-learn's says, and returns it."""
    options = {"cv": 3} | options
    ours = RegGridSearchCV(estimator, grid, **options).fit(X, y, **(fit or {}))
    peer = GridSearchCV(estimator, grid, **options).fit(X, y, **(fit or {}))
    assert list(ours.cv_results_) == list(peer.cv_results_)
    for name, values in peer.cv_results_.items():
        if name.endswith("_score"):
            np.testing.assert_allclose(ours.cv_results_[name], values, atol=1e-8, err_msg=name)
    assert ours.best_params_ == peer.best_params_
    return ours


@pytest.mark.nightly
def test_a_network_inside_another_estimator(counted):
    search = both(OneVsRestClassifier(classifier()), {"estimator__alpha": [0.1, 1.0]})
    # Two candidates, three folds, three classes.
    assert counted == [(18, 0)]
    assert search.results_ is None
    assert isinstance(search.best_estimator_, OneVsRestClassifier)


@pytest.mark.nightly
def test_networks_that_wait_for_one_another(counted):
    both(CalibratedClassifierCV(classifier(), method="isotonic", cv=3), {"estimator__alpha": [0.1, 1.0]})
    # The second fold of a calibration begins when the network of the first has predicted.
    assert counted == [(6, 0)] * 3
    counted.clear()
    steps = [("one", classifier()), ("other", GaussianNB())]
    both(StackingClassifier(steps, classifier(), cv=2), {"one__alpha": [0.1, 1.0]})
    assert sum(count for count, _ in counted) >= 6


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "grid", "count"),
    [
        (TransformedTargetRegressor(regressor(), transformer=StandardScaler()), "regressor__alpha", 6),
        (MultiOutputRegressor(regressor()), "estimator__alpha", 12),
        (make_pipeline(StandardScaler(), GridSearchCV(regressor(), {"tol": [0.1]}, cv=2)),
         "gridsearchcv__estimator__alpha", 18),
    ],
)  # fmt: skip
def test_regressors_inside_others(estimator, grid, count, counted):
    y = np.c_[YR, YR**2] if isinstance(estimator, MultiOutputRegressor) else YR
    both(estimator, {grid: [0.1, 1.0]}, XR, y)
    assert sum(count for count, _ in counted) == count


@pytest.mark.nightly
def test_samples_that_a_sweep_cannot_have(counted):
    grid = {"alpha": [0.1, 0.3, 1.0, 3.0]}
    random = np.random.RandomState(0)
    boot = [random.choice(90, 90) for _ in range(3)]
    folds = [(train, np.setdiff1d(np.arange(90), train)) for train in boot]
    for options, count in [
        ({"cv": folds}, 12),
        ({"cv": [(np.arange(70), np.arange(-20, 0)), (np.r_[:50, :10], np.r_[50:90])]}, 8),
        ({"cv": TimeSeriesSplit(4), "estimator": {"batch_size": 20}}, 16),
        ({"fit": {"sample_weight": np.linspace(0.1, 3, 90)}}, 12),
        ({"estimator": {"random_state": np.random.RandomState(3)}}, 12),
        ({"cv": ShuffleSplit(3, random_state=0), "estimator": {"early_stopping": True}}, 12),
    ]:
        counted.clear()
        both(classifier(**options.pop("estimator", {})), grid, **options)
        assert sum(count for count, _ in counted) == count
    both(classifier(), grid, cv=[(np.arange(20), np.arange(20, 90)), (np.flatnonzero(Y < 2), np.r_[:90])])
    encoder = OneHotEncoder(handle_unknown="ignore")
    both(make_pipeline(encoder, classifier()), {"regmlpclassifier__alpha": [0.1, 1.0]})


@pytest.mark.nightly
def test_early_stopping_watches_what_fit_watches(counted):
    grid = {"alpha": [0.001, 0.1], "hidden_layer_sizes": [(4,), (5,)]}
    network = classifier(early_stopping=True, max_iter=40, batch_size=16)
    search = both(network, grid, scoring=lambda e, X, y: e.n_iter_, cv=2)
    # Rows of a sweep for each size of the hidden layer, since the generator draws the weights first.
    assert counted == []
    assert search.results_ is None
    search = both(network, {"alpha": [0.001, 0.1]}, scoring="neg_log_loss")
    assert len(search.results_.design.splits.stop) == 3
    two = Y < 2
    both(network, {"alpha": [0.001, 0.1]}, X[two], Y[two], scoring="neg_log_loss")
    y = YR[:90]
    both(regressor(early_stopping=True, max_iter=40, batch_size=16), {"alpha": [0.1, 1.0]}, XR[:90], y)


class Hidden(TransformerMixin, BaseEstimator):
    """A step whose factor is no parameter of it."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X * self.factor

    def __sklearn_clone__(self):
        return hidden(self.factor)

    def __sklearn_is_fitted__(self):
        return True


def hidden(factor):
    step = Hidden()
    step.factor = factor
    return step


@pytest.mark.nightly
def test_steps_are_told_apart_by_what_they_are():
    frozen = [FrozenEstimator(StandardScaler().fit(samples)) for samples in (X, X * 1000)]
    functions = [FunctionTransformer(lambda x, f=f: x * f) for f in (1.0, 0.0, -5.0)]
    for steps in ([hidden(f) for f in (1.0, 0.0, -5.0)], frozen, functions):
        pipeline = Pipeline([("step", steps[0]), ("network", classifier(max_iter=40))])
        search = both(pipeline, {"step": steps})
        assert len(set(search.cv_results_["mean_test_score"])) > 1


class First(RegMLPClassifier):
    """Sees the first feature alone."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(np.asarray(X)[:, :1], y)

    def predict(self, X):
        return super().predict(np.asarray(X)[:, :1])


class Cautious(Pipeline):
    """Says 2 from a fifth on."""

    def predict(self, X, **params):  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]
        found = self.predict_proba(X, **params)
        return np.where(found[:, 2] > 0.2, 2, found.argmax(axis=1))


@pytest.mark.nightly
def test_a_users_own_classes(counted):
    network = First((4,), max_iter=60, learning_rate_init=0.05, random_state=0)
    search = both(network, {"alpha": [0.1, 1.0]})
    assert search.best_score_ < 0.8
    assert counted == [(6, 0)]
    both(Cautious([("step", StandardScaler()), ("network", classifier())]), {"network__alpha": [0.1, 1.0]})


@pytest.mark.nightly
def test_scorers_see_a_fitted_estimator_of_the_users_kind():
    pipeline = Pipeline([("step", StandardScaler()), ("network", classifier())])

    def scorer(estimator, X, y):
        assert type(estimator) is Pipeline
        assert "fit" not in vars(estimator)
        network = estimator[-1]
        again = clone(estimator).fit(*seen[estimator.get_params()["network__alpha"], len(X)])
        for name in ("loss_", "best_loss_", "loss_curve_", "t_", "n_iter_", "n_layers_"):
            np.testing.assert_allclose(getattr(network, name), getattr(again[-1], name), 1e-8)
        assert network.out_activation_ == "softmax"
        assert network.validation_scores_ is None
        return -network.loss_

    folds = [(np.arange(45), np.arange(45, 90)), (np.arange(45, 88), np.arange(45))]
    seen = {(a, len(test)): (X[train], Y[train]) for a in (0.1, 1.0) for train, test in folds}
    both(pipeline, {"network__alpha": [0.1, 1.0]}, cv=folds, scoring=scorer)


@pytest.mark.nightly
def test_candidates_of_other_kinds_compete():
    pipeline = Pipeline([("step", StandardScaler()), ("model", None)])
    grid = [{"model": [classifier()], "model__alpha": [0.1, 1.0]}, {"model": [LogisticRegression(), SVC()]}]
    search = both(pipeline, grid, scoring="accuracy")
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # The import may be swapped in any search.
    search = both(SVC(), {"C": [0.1, 1.0]})
    assert not hasattr(search, "results_")


@pytest.mark.slow
def test_one_candidate_that_fails_leaves_the_others_alone():
    spoiled = X.copy()
    spoiled[80] = np.nan
    folds = [(np.arange(40), np.arange(40, 60)), (np.arange(50, 90), np.arange(40))]
    grid = {"alpha": [0.1, 1.0]}
    for search in (RegGridSearchCV, GridSearchCV):
        found = search(classifier(), grid, cv=folds, error_score=-1.0, refit=False).fit(spoiled, Y)
        assert found.cv_results_["split1_test_score"].tolist() == [-1.0, -1.0]
        assert (found.cv_results_["split0_test_score"] > 0).all()
    both(classifier(), {"class_weight": [None, {7: 1}]}, cv=2, error_score=0.0)
    both(classifier(), {"learning_rate_init": [0.01, 1e300]}, cv=2, error_score=0.0)
    with pytest.raises(ValueError, match="Invalid parameter 'drop_out'"):
        RegGridSearchCV(classifier(), [{"alpha": [1]}, {"drop_out": [0.1]}], error_score=0.0).fit(X, Y)


def test_verbose_says_what_scikit_learn_says():
    said = []
    for search in (RegGridSearchCV, GridSearchCV):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            search(classifier(), {"alpha": [0.1, 1]}, cv=2, verbose=3, return_train_score=True).fit(X, Y)
        said.append([line.split(" total time=")[0] for line in out.getvalue().splitlines()])
    assert said[0] == said[1]


def test_callbacks_are_called():
    from sklearn.callback import ProgressBar
    from sklearn.callback.tests._utils import RecordingCallback

    pipeline = Pipeline([("step", StandardScaler()), ("network", classifier())])
    counts = []
    for search in (RegGridSearchCV, GridSearchCV):
        callback = RecordingCallback()
        made = search(pipeline, {"network__alpha": [0.1, 1]}, cv=2).set_callbacks(callback, ProgressBar())
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made.fit(X, Y)
        assert all(entry["estimator"] is made for entry in callback.record)
        hooks = ("setup", "on_fit_task_begin", "on_fit_task_end", "teardown")
        counts.append([callback.count_hooks(hook) for hook in hooks])
    assert counts[0] == counts[1]


@pytest.mark.nightly
def test_seeds_of_a_network_inside_another_estimator(counted):
    inside = OneVsRestClassifier(classifier())
    search = RegGridSearchCV(inside, {"estimator__alpha": [0.1, 1.0]}, cv=2, n_seeds=2).fit(X, Y)
    assert counted == [(24, 0)]
    assert search.seed_scores_.shape == (2, 2, 2)
    for seed in (0, 1):
        inside.set_params(estimator__random_state=seed)
        peer = GridSearchCV(inside, {"estimator__alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
        for fold in range(2):
            scores = peer.cv_results_[f"split{fold}_test_score"]
            np.testing.assert_allclose(search.seed_scores_[:, fold, seed], scores)


@pytest.mark.nightly
def test_bagged_networks_are_trained_together(counted):
    both(BaggingClassifier(classifier(), 4, random_state=0), {"estimator__alpha": [0.1, 1.0]}, cv=2)
    assert sum(count for count, _ in counted) == 16


@pytest.mark.slow
def test_networks_are_trained_before_their_samples_fill_the_memory(counted, monkeypatch):
    monkeypatch.setattr(together, "BUDGET", 4_000)
    both(OneVsRestClassifier(classifier()), {"estimator__alpha": [0.1, 0.2, 0.3, 1.0, 2.0]}, cv=2)
    assert len(counted) > 1 or sum(count for count, _ in counted) < 30


@pytest.mark.slow
def test_a_store_says_which_networks_it_does_not_keep(tmp_path):
    path = tmp_path / "runs.sqlite"
    inside = OneVsRestClassifier(classifier())
    with pytest.warns(UserWarning, match="store keeps the rows of sweeps alone, and 4 networks"):
        RegGridSearchCV(inside, {"estimator__alpha": [0.1, 1.0]}, cv=2, store=path).fit(X, Y)
    early = classifier(early_stopping=True, batch_size=16)
    for recalled in (0, 4):
        search = RegGridSearchCV(early, {"alpha": [0.1, 1.0]}, cv=2, store=path).fit(X, Y)
        assert search.num_recalled_ == recalled


@pytest.mark.usefixtures("counted")
def test_fits_that_differ_in_weights_alone_are_two():
    shared, weights = together.Together(), [np.linspace(0.1, 3, 90), np.linspace(3, 0.1, 90)]
    fits = [(classifier(alpha=alpha), weight) for alpha in (0.1, 0.2, 0.3, 0.4) for weight in weights]
    shared.record([functools.partial(clone(network).fit, X, Y, weight) for network, weight in fits])
    with shared.handing_out():
        for network, weight in fits:
            network.fit(X, Y, weight)
            assert "_state" not in vars(network)
    for network, weight in fits:
        alone = clone(network).fit(X, Y, weight)
        np.testing.assert_allclose(network.coefs_[0], alone.coefs_[0], rtol=1e-8)


class Repeated(RegMLPClassifier):
    """Goes on from where a fit has ended: by fits again, or by one epoch more."""

    def fit(self, X, y, sample_weight=None):
        network = classifier(warm_start=self.warm_start, alpha=self.alpha)
        network.fit(X, y)
        for _ in range(2):
            network.fit(X, y) if self.warm_start else network.partial_fit(X, y)
        self.__dict__.update({name: v for name, v in vars(network).items() if name not in self.get_params()})
        return self


@pytest.mark.sampled(1)
@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("warm_start", [True, False])
def test_a_network_goes_on_from_weights_that_were_taken_over(warm_start):
    both(Repeated(warm_start=warm_start), {"alpha": [0.1, 1.0]}, scoring="neg_log_loss")


def test_a_copy_of_a_scored_network_knows_what_a_fit_tells():
    kept = []

    def scorer(estimator, X, y):
        kept.append(pickle.loads(pickle.dumps(estimator)))
        return 1.0

    RegGridSearchCV(classifier(), {"alpha": [0.1]}, cv=2, scoring=scorer, refit=False).fit(X, Y)
    assert [len(network.loss_curve_) for network in kept] == [8, 8]


def test_a_scored_network_can_be_fitted_anew():
    kept = []

    def scorer(estimator, X, y):
        kept.append(estimator)
        return 1.0

    RegGridSearchCV(classifier(), {"alpha": [0.1]}, cv=2, scoring=scorer, refit=False).fit(X, Y)
    anew = kept[0].fit(X, Y)
    np.testing.assert_array_equal(anew.coefs_[0], classifier(alpha=0.1).fit(X, Y).coefs_[0])


def test_little_to_train_is_not_trained_together():
    fit = together._Wanted(Config(layer_sizes=(4, 4, 3), num_steps=8), None, "", 60, 1, None)
    assert together._seconds_alone(fit) < 1e-3
    assert together._seconds_alone(fit._replace(config=Config(layer_sizes=(64, 256, 10), num_steps=2000))) > 1


def test_a_cache_of_fitted_steps_is_used(tmp_path):
    pipeline = Pipeline([("step", StandardScaler()), ("network", classifier())], memory=str(tmp_path))
    search = both(pipeline, {"network__alpha": [0.1, 1.0]})
    assert search.results_ is None
    assert list(tmp_path.rglob("*.pkl"))


def test_a_search_that_fits_again_forgets_what_it_had():
    search = RegGridSearchCV(classifier(), {"alpha": [0.1]}, cv=2).fit(X, Y)
    assert search.results_ is not None
    search.set_params(estimator=SVC(), param_grid={"C": [1.0]}).fit(X, Y)
    assert not hasattr(search, "results_")
