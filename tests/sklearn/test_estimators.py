"""The estimators: scikit-learn's own networks, and what it has not."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from cases import some_slow
from peers import same_networks
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.class_weight import compute_sample_weight

import regjax
from regjax import RegMLPClassifier, RegMLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = [
    {"solver": "sgd", "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False, "shuffle": False},
    {"solver": "sgd", "learning_rate_init": 0.2, "learning_rate": "adaptive", "tol": 1e-3},
    {"solver": "sgd", "learning_rate_init": 0.5, "learning_rate": "invscaling", "power_t": 0.3},
    {"solver": "adam"},
    {"solver": "adam", "early_stopping": True, "n_iter_no_change": 5, "max_iter": 60},
    {"solver": "adam", "batch_size": 60, "activation": "tanh", "tol": 1e-2},
    {"solver": "adam", "activation": "logistic", "epsilon": 1e-4, "beta_2": 0.9},
]


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "data"),
    some_slow(SETTINGS, [(load_breast_cancer, (20, 3)), (load_digits, (16,))], every=2),
)
def test_from_the_same_random_state_comes_scikit_learns_network(settings, data):
    load, hidden = data
    X, y = load(return_X_y=True)
    settings = {"hidden_layer_sizes": hidden, "alpha": 0.3, "random_state": 3, "max_iter": 20} | settings
    same_networks(MLPClassifier(**settings), RegMLPClassifier(**settings), scale(X), y)


@pytest.mark.nightly
def test_regressions_and_weights_are_scikit_learns():
    X, y = load_diabetes(return_X_y=True)
    y = np.asarray(y)
    two = np.stack([y, -(y**2) / 100], axis=1) / 100
    settings = {"hidden_layer_sizes": (8,), "alpha": 0.3, "random_state": 0, "max_iter": 30}
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    for targets, fit, own in (
        (y / 100, {}, {}),
        (two, {"sample_weight": weights}, {}),
        (y / 100, {"sample_weight": weights}, {"early_stopping": True}),
    ):
        same_networks(MLPRegressor(**settings | own), RegMLPRegressor(**settings | own), X, targets, **fit)


@pytest.mark.slow
def test_it_goes_on_as_scikit_learn_does():
    X, y = load_iris(return_X_y=True)
    settings = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 8, "batch_size": 40}
    for own in ({}, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}):
        peer, ours = MLPClassifier(**settings | own), RegMLPClassifier(**settings | own)
        for _ in range(5):
            peer.partial_fit(X, y, classes=[0, 1, 2])
            ours.partial_fit(X, y, classes=[0, 1, 2])
        np.testing.assert_allclose(ours.coefs_[0], peer.coefs_[0], rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(ours.loss_curve_, peer.loss_curve_)
        for model in (peer, ours):
            model.set_params(warm_start=True).fit(X, y).fit(X, y)
        np.testing.assert_allclose(ours.coefs_[0], peer.coefs_[0], rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(ours.loss_curve_, peer.loss_curve_)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        ours.fit(X[:100], y[:100])
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        RegMLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        RegMLPClassifier().partial_fit(X, y, classes=[0, 1])


@pytest.mark.nightly
def test_what_scikit_learn_has_not():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    plain = RegMLPClassifier((8,), max_iter=30, random_state=0, learning_rate_init=0.01).fit(X, y)
    for name, value in {
        "dropout": 0.5,
        "input_dropout": 0.2,
        "dropconnect": (0.1, 0.2),
        "gaussian_dropout": 0.5,
        "input_noise": 0.3,
        "swap_noise": 0.2,
        "mixup": 0.3,
        "activity_l2": 0.1,
        "adversarial": 0.1,
        "sam": 0.1,
        "clip_norm": 0.01,
        "weight_decay": 0.5,
        "max_norm": 0.5,
        "ema_decay": 0.9,
        "l1": 5.0,
        "label_smoothing": 0.2,
        "confidence_penalty": 0.3,
        "class_weight": "balanced",
    }.items():
        model = clone(plain).set_params(**{name: value}).fit(X, y)
        assert not np.allclose(model.coefs_[0], plain.coefs_[0]), name
        assert model.score(X, y) > 0.9, name
    norms = np.linalg.norm(clone(plain).set_params(max_norm=0.5).fit(X, y).coefs_[0], axis=0)
    assert norms.max() <= 0.5 + 1e-9
    with pytest.raises(ValueError, match="weight_decay must be used with solver 'adam'"):
        RegMLPClassifier(weight_decay=0.1, solver="sgd").fit(X, y)


@pytest.mark.nightly
def test_class_weights():
    X, y = load_breast_cancer(return_X_y=True)
    X, few = scale(X), np.flatnonzero((y == 1) | (np.arange(len(y)) % 5 == 0))
    X, y = X[few], np.where(y[few] == 1, "healthy", "ill")
    settings = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0, "alpha": 0.0}
    balanced = RegMLPClassifier(class_weight="balanced", batch_size=len(y), **settings).fit(X, y)
    by_hand = RegMLPClassifier(batch_size=len(y), **settings)
    by_hand.fit(X, y, compute_sample_weight("balanced", y))
    np.testing.assert_allclose(balanced.coefs_[0], by_hand.coefs_[0], rtol=1e-9)
    given = RegMLPClassifier(class_weight={"ill": 3.0}, batch_size=len(y), **settings).fit(X, y)
    by_hand.fit(X, y, np.where(y == "ill", 3.0, 1.0))
    np.testing.assert_allclose(given.coefs_[0], by_hand.coefs_[0], rtol=1e-9)
    # They are in the data term, and leave the penalty as strong as it is.
    strong = clone(given).set_params(alpha=50.0, class_weight={"ill": 3e6, "healthy": 1e6}).fit(X, y)
    again = clone(strong).set_params(class_weight={"ill": 3.0, "healthy": 1.0}).fit(X, y)
    np.testing.assert_allclose(strong.coefs_[0], again.coefs_[0], rtol=1e-6)
    with pytest.raises(ValueError, match="are not in class_weight"):
        clone(given).set_params(class_weight={"strange": 1.0}).fit(X, y)


@pytest.mark.nightly
def test_monte_carlo_dropout():
    X, y = load_iris(return_X_y=True)
    model = RegMLPClassifier((32,), dropout=0.4, input_dropout=0.1, max_iter=100, random_state=0).fit(X, y)
    draws = model.predict_proba_samples(X, n_samples=400, random_state=0)
    assert draws.shape == (400, 150, 3)
    np.testing.assert_allclose(draws.sum(axis=2), 1)
    assert draws.std(axis=0).max() > 0.05
    assert abs(draws.mean(axis=0) - model.predict_proba(X)).mean() < 0.1
    again = model.predict_proba_samples(X, n_samples=400, random_state=0)
    np.testing.assert_array_equal(draws, again)
    still = clone(model).set_params(dropout=0.0, input_dropout=0.0).fit(X, y)
    np.testing.assert_allclose(still.predict_proba_samples(X, 2), [still.predict_proba(X)] * 2)
    real = RegMLPRegressor(hidden_layer_sizes=(8,), dropout=0.2, max_iter=5, random_state=0).fit(X, X[:, 0])
    assert real.predict_samples(X, 7).shape == (7, 150)
    # Of a linear network the expected output is that of prediction.
    linear = clone(model).set_params(activation="identity").fit(X, y)
    drawn = [linear._logits(X[:5], linear._drop(np.random.RandomState(i))) for i in range(3000)]
    np.testing.assert_allclose(np.mean(drawn, axis=0), linear._logits(X[:5]), atol=0.15)


@pytest.mark.nightly
def test_at_home_in_scikit_learn():
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = RegMLPClassifier((6,), max_iter=30, random_state=0)
    pipe = make_pipeline(StandardScaler(), model).set_output(transform="pandas").fit(X, y)
    assert list(pipe[-1].feature_names_in_) == list(X.columns)
    assert pickle.loads(pickle.dumps(pipe)).predict(X).tolist() == pipe.predict(X).tolist()
    assert cross_val_score(pipe, X, y, cv=3).shape == (3,)
    one = np.concatenate([pipe.predict_proba(X.iloc[[i]]) for i in range(10)])
    np.testing.assert_allclose(one, pipe.predict_proba(X.iloc[:10]), rtol=1e-10)
    np.testing.assert_allclose(np.exp(pipe.predict_log_proba(X)), pipe.predict_proba(X))
    # joblib's processes.
    search = GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2, n_jobs=2).fit(X.to_numpy(), y)
    assert search.cv_results_["mean_test_score"].shape == (2,)
    with config_context(enable_metadata_routing=True):
        routed = RegMLPClassifier((4,), max_iter=5).set_fit_request(sample_weight=True)
        assert routed.get_metadata_routing().fit.requests == {"sample_weight": True}
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        weighted = make_pipeline(scaler, routed).fit(X, y, sample_weight=np.arange(150.0))
    assert weighted.predict(X).shape == (150,)


def test_dtype_follows_the_data_or_is_told():
    X, y = load_iris(return_X_y=True)
    model = RegMLPClassifier((4,), max_iter=5, random_state=0)
    assert model.fit(X, y).coefs_[0].dtype == np.float64
    assert model.fit(X.astype(np.float32), y).coefs_[0].dtype == np.float32
    assert model.set_params(dtype="float32").fit(X, y).coefs_[0].dtype == np.float32
    assert model.set_params(dtype="float64").fit(X.astype(np.float32), y).coefs_[0].dtype == np.float64


def test_bad_input_is_said_in_scikit_learns_words():
    X, y = load_iris(return_X_y=True)
    for bad, words in (
        ({"alpha": -1}, "The 'alpha' parameter of RegMLPClassifier must be a float in the range"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"solver": "newton"}, "The 'solver' parameter of RegMLPClassifier must be a str among"),
        ({"solver": "lbfgs", "dropout": 0.5}, "dropout must be 0 with solver 'lbfgs', got 0.5"),
        ({"solver": "rmsprop"}, "The 'solver' parameter"),
        ({"max_norm": 0}, "The 'max_norm' parameter"),
        ({"class_weight": "even"}, "The 'class_weight' parameter"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be > 0"),
        ({"dropout": (0.1, 0.2)}, r"^dropout must be one value, or 1 \(one per hidden layer\)"),
    ):
        with pytest.raises(ValueError, match=words):
            RegMLPClassifier((3,)).set_params(**bad).fit(X, y)
    with pytest.raises(ValueError, match="The 'loss' parameter of RegMLPRegressor"):
        RegMLPRegressor("gamma").fit(X, y)
    with pytest.raises(ValueError, match="The validation set is too small"):
        RegMLPRegressor(early_stopping=True, validation_fraction=0.01).fit(X[:50], y[:50])
    wild = {"solver": "sgd", "learning_rate_init": 1e3, "activation": "identity", "max_iter": 60}
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        RegMLPRegressor(**wild).fit(X, y * 100.0)
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        RegMLPClassifier((3,), batch_size=1000, max_iter=2).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="hasn't converged yet"):
        RegMLPClassifier((3,), max_iter=2).fit(X, y)


def test_verbose_and_ctrl_c(capsys, monkeypatch):
    X, y = load_iris(return_X_y=True)
    model = RegMLPClassifier((3,), max_iter=12, verbose=True, random_state=0).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Iteration 1, loss = {model.loss_curve_[0]:.8f}"
    assert len(lines) == 12
    from regjax.sklearn import epochs

    calls = []

    def interrupted(*arguments, **options):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return run(*arguments, **options)

    run = epochs.run_epochs
    monkeypatch.setattr(epochs, "run_epochs", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        stopped = RegMLPClassifier((3,), max_iter=100, random_state=0).fit(X, y)
    assert stopped.n_iter_ == 10
    assert stopped.predict(X).shape == (150,)


@pytest.mark.nightly
def test_the_page_about_it_runs():
    root = Path(regjax.__file__).parents[1]
    page = (root / "docs" / "scikit-learn.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    exec(compile(code, "docs/scikit-learn.md", "exec"), {})
