"""The searches: scikit-learn's keys and meanings, folds that do not leak, seeds, Pipelines, the store."""

import numpy as np
import pytest
import scipy.stats
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

import regjax
from regjax import RegGridSearchCV, RegMLPClassifier, RegMLPRegressor, RegRandomizedSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NETWORK = RegMLPClassifier((6,), max_iter=60, learning_rate_init=0.1, random_state=0, dtype="float32")
PEER = MLPClassifier((6,), max_iter=60, learning_rate_init=0.1, random_state=0)
GRID = {"alpha": [0.01, 1.0], "dropout": [0.0, 0.3]}
CV = StratifiedKFold(3, shuffle=True, random_state=0)


def iris():
    return load_iris(return_X_y=True)


def pipeline(*before):
    steps = [(f"step{i}", step) for i, step in enumerate(before or [StandardScaler()])]
    return Pipeline([*steps, ("network", NETWORK)])


@pytest.mark.nightly
@pytest.mark.parametrize("scoring", [None, ["accuracy", "neg_log_loss"]])
def test_results_have_scikit_learns_keys_and_scores(scoring):
    X, y = iris()
    options = {"cv": CV, "scoring": scoring, "return_train_score": True}
    options["refit"] = "accuracy" if scoring else True
    ours = RegGridSearchCV(NETWORK, GRID, **options).fit(X, y)
    peer = GridSearchCV(NETWORK, GRID, **options).fit(X, y)
    # Dropout has no peer: the same networks where there is none.
    of_scikit_learn = GridSearchCV(PEER, {"alpha": GRID["alpha"]}, **options).fit(X, y)
    assert set(ours.cv_results_) == set(peer.cv_results_)
    for name, value in peer.cv_results_.items():
        assert type(ours.cv_results_[name]) is type(value)
        assert np.shape(ours.cv_results_[name]) == np.shape(value)
    assert list(ours.cv_results_["params"]) == list(peer.cv_results_["params"])
    key = "mean_test_accuracy" if scoring else "mean_test_score"
    for name in (key, "split2_train_accuracy" if scoring else "split2_train_score"):
        np.testing.assert_allclose(ours.cv_results_[name][::2], of_scikit_learn.cv_results_[name], atol=1e-6)
    if scoring:
        losses = "split1_test_neg_log_loss"
        np.testing.assert_allclose(
            ours.cv_results_[losses][::2], of_scikit_learn.cv_results_[losses], rtol=1e-3
        )
    assert ours.best_params_ == ours.cv_results_["params"][ours.best_index_]
    assert ours.best_score_ == ours.cv_results_[key].max()
    assert ours.predict(X).shape == (150,)
    assert ours.score(X, y) > 0.8
    again = clone(NETWORK).set_params(**ours.best_params_).fit(X, y)
    np.testing.assert_allclose(ours.best_estimator_.predict_proba(X), again.predict_proba(X), rtol=1e-6)
    # The same numbers as the sweep's own, and its tables.
    split = np.stack([ours.cv_results_[key.replace("mean", f"split{i}")] for i in range(3)], axis=1)
    np.testing.assert_allclose(split, ours.results_.table("val_accuracy")[:, 0], rtol=1e-6)
    assert "alpha" not in ours.results_.summary()
    assert len(ours.results_.compare({"l2": 0.01, "keep_prob": 1}).table) == 3


class Counting(TransformerMixin, BaseEstimator):
    """Counts its fits, and remembers the largest value it was fitted on."""

    seen: list = []  # noqa: RUF012

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None):
        Counting.seen.append((self.scale, len(X), float(np.max(X))))
        return self

    def transform(self, X):
        return np.asarray(X) * self.scale


@pytest.mark.slow
def test_steps_before_the_network_are_fitted_once_per_fold():
    X, y = iris()
    Counting.seen = []
    search = RegGridSearchCV(pipeline(Counting(), StandardScaler()), {"network__alpha": [0.1, 1, 10]}, cv=CV)
    search.fit(X, y)
    assert len(Counting.seen) == 3 + 1  # folds, and the best on all samples
    assert search.results_ is not None
    Counting.seen = []
    grid = {"network__alpha": [0.1, 1], "step0__scale": [1.0, 2.0]}
    search = RegGridSearchCV(pipeline(Counting(), StandardScaler()), grid, cv=CV).fit(X, y)
    assert sorted(scale for scale, *_ in Counting.seen[:-1]) == [1.0] * 3 + [2.0] * 3
    assert search.results_ is None
    # The scaling undoes the factor, so its candidates are as good.
    scores = search.cv_results_["mean_test_score"].reshape(2, 2)
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], atol=0.02)


@pytest.mark.nightly
@pytest.mark.bits
def test_held_out_samples_leave_no_trace():
    X, y = iris()
    train, test = next(CV.split(X, y))
    spoiled = X.copy()
    spoiled[test] = 1e6
    options = {"cv": [(train, test)], "refit": False}
    grid = {"network__alpha": [0.1], "network__dropout": [0.1, 0.2]}
    found = [RegGridSearchCV(pipeline(), grid, **options).fit(samples, y) for samples in (X, spoiled)]
    for row in range(2):
        for one, other in zip(found[0].results_.params(row), found[1].results_.params(row), strict=True):
            np.testing.assert_array_equal(one.w, other.w)


@pytest.mark.nightly
def test_shapes_that_differ_are_searched_apart():
    X, y = iris()
    grid = {"step1__n_components": [2, 3], "network__hidden_layer_sizes": [(4,), (5, 3), ()]}
    search = RegGridSearchCV(pipeline(StandardScaler(), PCA()), grid, cv=CV).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert (
        search.best_estimator_.named_steps["step1"].n_components == search.best_params_["step1__n_components"]
    )


@pytest.mark.nightly
def test_seeds_are_averaged_in_folds():
    X, y = iris()
    search = RegGridSearchCV(NETWORK, {"alpha": [0.1, 10]}, cv=CV, n_seeds=4).fit(X, y)
    assert search.seed_scores_.shape == (2, 3, 4)
    assert search.seed_scores_.std(axis=2).max() > 0
    results = search.cv_results_
    for fold in range(3):
        np.testing.assert_allclose(
            results[f"split{fold}_test_score"], search.seed_scores_[:, fold].mean(axis=1)
        )
    means = search.seed_scores_.mean(axis=2)
    np.testing.assert_allclose(results["std_test_score"], means.std(axis=1))
    several = RegGridSearchCV(
        NETWORK, {"alpha": [0.1, 10]}, cv=CV, n_seeds=2, scoring=["accuracy", "f1_macro"], refit=False
    )
    assert several.fit(X, y).seed_scores_["f1_macro"].shape == (2, 3, 2)


def test_what_is_in_the_store_is_not_trained_again(tmp_path, monkeypatch, capsys):
    from regjax.engine import scheduler

    X, y = iris()
    search = RegGridSearchCV(pipeline(), {"network__alpha": [0.1, 1]}, cv=CV, store=tmp_path / "s.sqlite")
    first = search.fit(X, y).cv_results_["mean_test_score"]
    monkeypatch.setattr(scheduler, "run_task", lambda task: pytest.fail("trained again"))
    assert search.num_recalled_ == 0
    again = clone(search).set_params(store=str(tmp_path / "s.sqlite"), verbose=1).fit(X, y)
    assert again.num_recalled_ == again.results_.recalled == 6
    assert "6 of 6 networks were in the store" in capsys.readouterr().out
    np.testing.assert_array_equal(first, again.cv_results_["mean_test_score"])
    loaded = regjax.load(tmp_path / "s.sqlite")
    np.testing.assert_array_equal(loaded.design.fold_inputs[1], again.results_.design.fold_inputs[1])


@pytest.mark.nightly
def test_what_fails_has_its_error_score():
    X, y = load_diabetes(return_X_y=True)
    y = np.asarray(y)
    wild = RegMLPRegressor(
        hidden_layer_sizes=(), solver="sgd", max_iter=60, random_state=0, n_iter_no_change=60
    )
    grid = {"learning_rate_init": [1e-3, 1e4]}
    with pytest.warns(FitFailedWarning, match="Solver produced non-finite parameter weights"):
        search = RegGridSearchCV(wild, grid, cv=2, error_score=-7.0).fit(X, y / 100)
    assert search.cv_results_["mean_test_score"][1] == -7
    assert search.best_params_ == {"learning_rate_init": 1e-3}
    with pytest.raises(ValueError, match="non-finite"):
        RegGridSearchCV(wild, grid, cv=2, error_score="raise").fit(X, y / 100)
    with pytest.warns(FitFailedWarning, match="The 'alpha' parameter of RegMLPRegressor"):
        RegGridSearchCV(wild, {"alpha": [0.1, -1]}, cv=2, error_score=-7.0).fit(X, y / 100)
    with pytest.raises(ValueError, match="'alpha' parameter"):
        RegGridSearchCV(wild, {"alpha": [0.1, -1]}, cv=2, error_score="raise").fit(X, y)


def test_networks_stop_on_their_training_loss():
    X, y = iris()
    network = clone(NETWORK).set_params(max_iter=400, tol=1e-2, n_iter_no_change=5)
    search = RegGridSearchCV(network, {"alpha": [0.01, 1]}, cv=CV).fit(X, y)
    stopped = search.results_.stopped_at
    assert (stopped > 0).all()
    # As the network does alone, to within the records at which a sweep looks.
    alone = clone(network).set_params(alpha=0.01).fit(X, y)
    assert 0 < alone.n_iter_ < 400
    scored = RegGridSearchCV(network, {"alpha": [0.01, 1]}, cv=CV, scoring=lambda e, X, y: e.n_iter_)
    peer = GridSearchCV(network, {"alpha": [0.01, 1]}, cv=CV, scoring=scored.scoring).fit(X, y)
    # The epoch, not the record at which the sweep sees it.
    assert scored.fit(X, y).cv_results_["split0_test_score"].tolist() == [
        *peer.cv_results_["split0_test_score"]
    ]


@pytest.mark.nightly
def test_any_splitter_weights_and_scorers():
    X, y = load_breast_cancer(return_X_y=True)
    X = np.asarray(X)
    groups = np.arange(len(y)) // 10
    options = {"scoring": "roc_auc", "cv": GroupKFold(3)}
    search = RegGridSearchCV(pipeline(), {"network__alpha": [1.0]}, **options).fit(X, y, groups=groups)
    assert search.best_score_ > 0.95
    weighted = RegGridSearchCV(NETWORK, {"alpha": [1.0]}, cv=ShuffleSplit(2, random_state=0))
    weighted.fit(X / X.std(axis=0), y, sample_weight=np.where(y == 1, 1.0, 0.5))
    assert weighted.best_score_ > 0.8
    overlap = [(np.arange(300), np.arange(200, 500))]
    apart = RegGridSearchCV(NETWORK, {"alpha": [1.0, 2.0]}, cv=overlap).fit(X / X.std(axis=0), y)
    assert apart.results_ is None
    assert apart.cv_results_["mean_test_score"].shape == (2,)
    with config_context(enable_metadata_routing=True):
        routed = pipeline()
        asking = clone(NETWORK).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed.set_params(network=asking)
        routed.named_steps["step0"].set_fit_request(sample_weight=False)
        search = RegGridSearchCV(routed, {"network__alpha": [1.0]}, cv=2)
        search.fit(X, y, sample_weight=np.ones(len(y)))
    assert search.best_score_ > 0.8


@pytest.mark.nightly
@pytest.mark.parametrize(("solver", "hidden"), [("sgd", [(6,), (4, 3)]), ("adam", [(4, 3)])])
def test_scores_are_scikit_learns_to_the_last_digits(solver, hidden):
    X, y = load_diabetes(return_X_y=True)
    y = np.asarray(y) / 100
    settings = {
        "solver": solver,
        "max_iter": 30,
        "learning_rate_init": 0.02,
        "batch_size": 50,
        "random_state": 1,
    }
    grid = {"alpha": [0.01, 1.0], "hidden_layer_sizes": hidden}
    peer = GridSearchCV(MLPRegressor(**settings), grid, cv=3).fit(X, y)
    ours = RegGridSearchCV(RegMLPRegressor(**settings), grid, cv=3).fit(X, y)
    for fold in range(3):
        name = f"split{fold}_test_score"
        np.testing.assert_allclose(ours.cv_results_[name], peer.cv_results_[name], rtol=1e-8)
    assert ours.best_params_ == peer.best_params_
    np.testing.assert_allclose(ours.predict(X), peer.predict(X), rtol=1e-8)


@pytest.mark.nightly
def test_random_search():
    X, y = load_diabetes(return_X_y=True)
    y = np.asarray(y)
    network = RegMLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0, dtype="float32")
    draws = {"alpha": scipy.stats.loguniform(1e-3, 10), "dropout": [0, 0.1], "batch_size": [32, 64]}
    search = RegRandomizedSearchCV(network, draws, n_iter=6, cv=2, random_state=0).fit(X, y / 100)
    assert len(search.cv_results_["params"]) == 6
    peer = GridSearchCV(network, {}, cv=2)
    assert set(peer.fit(X, y / 100).cv_results_) <= set(search.cv_results_)


def test_what_it_cannot_do_is_said():
    X, y = iris()
    with pytest.raises(ValueError, match="estimator must hold a network of regjax with n_seeds=2, got SVC"):
        RegGridSearchCV(SVC(), {"C": [1]}, n_seeds=2).fit(X, y)
    with pytest.raises(ValueError, match="The 'n_seeds' parameter of RegGridSearchCV"):
        RegGridSearchCV(NETWORK, GRID, n_seeds=0).fit(X, y)
    with pytest.raises(ValueError, match="Invalid parameter 'strength'"):
        RegGridSearchCV(NETWORK, {"strength": [1]}, error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="fold_inputs must hold a matrix of shape"):
        regjax.sweep((X, y), folds=2, fold_inputs=[X[:5], X], progress=False)
    with pytest.raises(ValueError, match="fold_inputs must not be given with standardize"):
        regjax.sweep((X, y), folds=2, fold_inputs=[X, X], standardize=True, progress=False)


def same_scores(ours, peer, X, y):
    for search in (ours, peer):
        search.fit(X, y)
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"], rtol=1e-8
    )


@pytest.mark.nightly
def test_odd_searches_are_scikit_learns_too():
    X, y = load_iris(return_X_y=True, as_frame=True)
    settings = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0, "batch_size": 30}

    def pair(before, grid, cv=CV, **own):
        for search, network in (
            (RegGridSearchCV, RegMLPClassifier),
            (GridSearchCV, MLPClassifier),
        ):
            estimator = Pipeline([("before", before), ("network", network(**settings | own))])
            yield search(estimator, grid, cv=cv, error_score=np.nan)

    one = {"network__alpha": [0.1]}
    # A step that is passed through in some candidates; one that cannot be pickled; frames with names.
    same_scores(*pair(StandardScaler(), one | {"before": [StandardScaler(), "passthrough"]}), X, y)
    same_scores(*pair(FunctionTransformer(lambda x: x * 2), one), X, y)
    frames = StandardScaler().set_output(transform="pandas")
    ours, peer = pair(frames, one)
    same_scores(ours, peer, X, y)
    assert list(ours.best_estimator_[-1].feature_names_in_) == list(X.columns)
    # As many columns as a fold has values; a fold that lacks a class; a rate that falls in sgd alone.
    same_scores(*pair(OneHotEncoder(handle_unknown="ignore", sparse_output=False), one), X, y)
    lacking = [(np.arange(100), np.arange(80, 150)), (np.arange(50, 150), np.arange(50))]
    same_scores(*pair(StandardScaler(), one, cv=lacking), X, y)
    solvers = {"network__solver": ["sgd", "adam"]}
    same_scores(*pair(StandardScaler(), solvers, learning_rate="invscaling"), X, y)
    # A step that fails fails in its folds.
    ours, _ = pair(PCA(500), one)
    with pytest.raises(ValueError, match=r"All the 3 fits failed"):
        ours.fit(X, y)
    mixed = {"solver": ["adam", "sgd"], "weight_decay": [0.1]}
    with pytest.warns(FitFailedWarning, match="weight_decay must be used with solver 'adam'"):
        RegGridSearchCV(NETWORK, mixed, cv=2, error_score=-1.0).fit(np.asarray(X), y)


@pytest.mark.nightly
def test_class_weights_by_name():
    X, y = iris()
    names = np.array(["one", "two", "three"])[y]
    grid = {"class_weight": [{"one": 5.0, "two": 1.0, "three": 1.0}, "balanced", None], "alpha": [0.1, 1.0]}
    ours = RegGridSearchCV(NETWORK, grid, cv=CV).fit(X, names)
    peer = GridSearchCV(NETWORK, grid, cv=CV).fit(X, names)
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"], atol=0.021
    )
