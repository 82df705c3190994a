"""The solver lbfgs and the loss poisson: scikit-learn's networks, alone and many at once."""

import itertools
import threading
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    load_linnerud,
    load_wine,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_info, threadpool_limits

from regjax import RegMLPClassifier, RegMLPRegressor
from regjax.core.hparams import HYPERPARAMETERS
from regjax.sklearn.lbfgs import Fit, fit_many, solve

LOADERS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "linnerud": load_linnerud,
}
REAL = ("diabetes", "linnerud")


def samples(name, kind="scaled"):
    X, y = LOADERS[name](return_X_y=True)
    if kind == "as they come":
        return X, y
    X, y = scale(X), scale(y) if name in REAL else y
    made = {"scaled": np.asarray, "float32": np.float32, "by columns": np.asfortranarray, "sparse": csr_array}
    return made[kind](X), y


def both(settings, X, y, weights=None):
    """Returns the fitted network of scikit-learn, and ours; the errors where both raise."""
    real = np.asarray(y).dtype.kind == "f" or "loss" in settings
    found = []
    # scikit-learn's products too on one thread: their last bits may depend on it.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in (MLPRegressor, RegMLPRegressor) if real else (MLPClassifier, RegMLPClassifier):
            try:
                found.append(kind(solver="lbfgs", **settings).fit(X, y, weights))
            except ValueError as error:
                found.append(str(error))
    return found


def check_equal(theirs, ours, X):
    if isinstance(theirs, str):
        assert ours == theirs
        return
    assert (ours.n_iter_, ours.t_, ours.out_activation_) == (
        theirs.n_iter_,
        theirs.t_,
        theirs.out_activation_,
    )
    np.testing.assert_array_equal(ours.loss_, theirs.loss_)
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("kind", ["scaled", "as they come", "float32", "by columns", "sparse"])
def test_the_network_is_scikit_learns_to_the_bit(name, kind):
    X, y = samples(name, kind)
    rng = np.random.default_rng(len(name) + len(kind))
    for activation in ("relu", "tanh", "logistic", "identity"):
        settings = {
            "activation": activation,
            "hidden_layer_sizes": ((6,), (5, 3), (4, 4, 2))[rng.integers(3)],
            "alpha": rng.choice([0, 1e-4, 0.1, 10]),
            "max_iter": int(rng.choice([1, 20, 200])),
            "max_fun": int(rng.choice([15_000, 50])),
            "tol": rng.choice([1e-4, 1e-2]),
            "random_state": int(rng.integers(100)),
        }
        if name == "linnerud" and rng.random() < 0.5 and kind == "as they come":
            settings["loss"] = "poisson"
        weights = rng.uniform(0, 2, len(y)) if rng.random() < 0.5 else None
        check_equal(*both(settings, X, y, weights), X)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_several_labels_are_scikit_learns(activation):
    X, y = make_multilabel_classification(80, n_classes=4, random_state=0)[:2]
    settings = {"activation": activation, "hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 50}
    weights = np.random.default_rng(0).uniform(0, 2, 80)
    for given, kind in itertools.product((None, weights), (np.asarray, csr_array)):
        check_equal(*both(settings, kind(X), y, given), X)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("solver", ["lbfgs", "adam", "sgd"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_poisson_is_scikit_learns(solver, outputs):
    rng = np.random.default_rng(outputs)
    X = rng.standard_normal((150, 3))
    y = rng.poisson(np.exp(X @ rng.standard_normal((3, outputs)) / 2)).astype(float)
    y = y[:, 0] if outputs == 1 else y
    for weights, stopping in itertools.product((None, rng.uniform(0.5, 2, 150)), (False, True)):
        settings = {"loss": "poisson", "hidden_layer_sizes": (5,), "max_iter": 40, "early_stopping": stopping}
        settings |= {"random_state": 3, "solver": solver}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs, ours = (k(**settings).fit(X, y, weights) for k in (MLPRegressor, RegMLPRegressor))
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.out_activation_ == theirs.out_activation_ == "exp"
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-10)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)
        assert np.all(np.asarray(ours.predict(X)) > 0)


def test_poisson_of_negative_targets_has_no_loss_as_in_scikit_learn():
    X, y = np.random.default_rng(0).standard_normal((2, 60, 2))
    settings = {"loss": "poisson", "hidden_layer_sizes": (3,), "max_iter": 10, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = (k(**settings).fit(X, y) for k in (MLPRegressor, RegMLPRegressor))
    assert np.isnan(theirs.loss_)
    assert np.isnan(ours.loss_)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-8)


@pytest.mark.parametrize("given", ["balanced", {0: 1.0, 1: 3.0, 2: 0.5}])
def test_weights_of_classes_are_weights_of_samples_with_the_same_sum(given):
    X, y = samples("wine")
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    of_class = {c: weights.sum() / weights[y == c].sum() for c in range(3)} if given == "balanced" else given
    own = weights * np.array([of_class[c] for c in y])
    own *= weights.sum() / own.sum()
    settings = {"solver": "lbfgs", "hidden_layer_sizes": (4,), "random_state": 0, "alpha": 1.0, "tol": 1e-8}
    a = RegMLPClassifier(class_weight=given, **settings).fit(X, y, weights)
    b = RegMLPClassifier(**settings).fit(X, y, own)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-6)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-4)


def error_of(run, *arguments):
    try:
        run(*arguments)
    except ValueError as error:
        return str(error)
    return None


def test_a_regulariser_is_honoured_or_refused_by_name():
    """Of all hyperparameters: what is a smooth function of the parameters changes the network."""
    X, y = samples("iris")
    settings = {"solver": "lbfgs", "hidden_layer_sizes": (4,), "random_state": 0, "max_iter": 30}
    values = {"bound": 0.5, "strength": 0.3, "rate": 0.2, "same": 0.2}
    honoured, refused, ignored = set(), set(), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = RegMLPClassifier(**settings).fit(X, y)
        for declared in HYPERPARAMETERS.values():
            name = declared.sklearn
            if not name or name in ("tol", "n_iter_no_change"):
                continue
            on = RegMLPClassifier(**settings).set_params(**{name: values[declared.meaning]})
            said = error_of(on._check)
            assert error_of(on.fit, X, y) == said
            if said is not None:
                off = "None" if declared.meaning == "bound" else "0"
                assert said.startswith(f"{name} must be {off} with solver 'lbfgs', got 0.")
            same = said is None and np.array_equal(on.coefs_[0], plain.coefs_[0])
            (refused if said else ignored if same else honoured).add(name)
    assert honoured == {"alpha", "label_smoothing", "confidence_penalty", "activity_l2"}
    assert ignored == {"learning_rate_init", "momentum", "beta_1", "beta_2", "epsilon", "power_t"}
    assert refused == {
        "l1", "dropout", "input_dropout", "dropconnect", "gaussian_dropout", "input_noise", "swap_noise",
        "mixup", "adversarial", "sam", "clip_norm", "max_norm", "ema_decay", "weight_decay",
    }  # fmt: skip


@pytest.mark.parametrize("kind", [RegMLPClassifier, RegMLPRegressor])
def test_what_only_epochs_have_is_not_there(kind):
    X, y = samples("iris")
    settings = {"hidden_layer_sizes": (3,), "solver": "lbfgs", "random_state": 0, "alpha": 1}
    network = kind(early_stopping=True, **settings).fit(X, y)
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert not hasattr(network, name)
    assert not hasattr(network, "partial_fit")
    with pytest.raises(AttributeError) as raised:
        network.partial_fit(X, y)
    assert str(raised.value.__cause__) == (
        "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
    )
    # Nothing is held out: early_stopping changes nothing.
    plain = kind(**settings).fit(X, y)
    np.testing.assert_array_equal(network.coefs_[0], plain.coefs_[0])


def test_a_warm_start_goes_on_as_in_scikit_learn():
    X, y = samples("iris")
    theirs, ours = (
        kind((4,), solver="lbfgs", warm_start=True, max_iter=7, random_state=0)
        for kind in (MLPClassifier, RegMLPClassifier)
    )
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(3):
            check_equal(theirs.fit(X, y), ours.fit(X, y), X)
        # On from the weights of lbfgs by another solver, and back.
        ours.set_params(solver="adam", max_iter=3).fit(X, y)
        assert len(ours.loss_curve_) == 3
        ours.set_params(solver="lbfgs").fit(X, y)


def test_limits_warn_in_scikit_learns_words():
    X, y = samples("iris")
    for limit in ({"max_iter": 3}, {"max_fun": 4}):
        said = []
        for kind in (MLPClassifier, RegMLPClassifier):
            with pytest.warns(ConvergenceWarning) as caught:
                kind((3,), solver="lbfgs", random_state=0, **limit).fit(X, y)
            said.append([str(warning.message) for warning in caught])
        assert said[0] == said[1]
    huge = np.full((20, 2), 1e200)
    check_equal(*both({"hidden_layer_sizes": (3,), "random_state": 0}, huge, huge[:, 0]), huge)


def test_verbose_prints_the_loss_of_each_iteration(capsys):
    X, y = samples("iris")
    network = RegMLPClassifier((3,), solver="lbfgs", random_state=0, alpha=1, verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == network.n_iter_
    assert lines[-1] == f"Iteration {network.n_iter_}, loss = {network.loss_:.8f}"


def num_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


# Whether all converge within max_iter depends on the last bits of the processor's products.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_many_are_each_as_fitted_alone():
    X, y = samples("wine")
    settings = [{"alpha": a, "random_state": s} for a, s in itertools.product((0.01, 1, 10), range(4))]
    fits = [Fit(RegMLPClassifier((4,), solver="lbfgs", **own), X[i::2], y[i::2], None)
            for i, own in enumerate(settings[:2])]  # fmt: skip
    fits += [Fit(RegMLPClassifier((4,), solver="lbfgs", **own), X, y, np.ones(len(y))) for own in settings]
    fits.append(Fit(RegMLPClassifier((4,), solver="lbfgs", dropout=0.5), X, y))
    fits.append(Fit(RegMLPClassifier((4,), solver="lbfgs", alpha=-1), X, y))
    before = num_threads()
    outcomes = fit_many(iter(fits), workers=3)
    assert num_threads() == before
    assert [outcome.error is None for outcome in outcomes] == [True] * 14 + [False] * 2
    assert str(outcomes[14].error).startswith("dropout must be 0")
    assert "'alpha' parameter" in str(outcomes[15].error)
    for fit, outcome in zip(fits[:14], outcomes, strict=False):
        assert outcome.seconds > 0
        alone = RegMLPClassifier(**fit.network.get_params()).fit(fit.X, fit.y, fit.sample_weight)
        check_equal(alone, fit.network, X)


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_large_products_keep_the_threads_of_blas(monkeypatch, large):
    X, y = samples("wine")
    seen = []

    def solved(problem):
        seen.append(num_threads())
        return solve(problem)

    monkeypatch.setattr("regjax.sklearn.lbfgs.solve", solved)
    monkeypatch.setattr("regjax.sklearn.lbfgs.LARGE", len(y) * (13 * 4 + 4 * 3) + (0 if large else 1))
    with threadpool_limits(2):
        RegMLPClassifier((4,), solver="lbfgs", alpha=10).fit(X, y)
    assert seen[0] == [2 if large else 1] * len(seen[0])


def test_ctrl_c_ends_all_that_run(monkeypatch):
    X, y = samples("breast_cancer")
    fits = [Fit(RegMLPClassifier((9,), solver="lbfgs", tol=0, max_iter=10**6, max_fun=10**6), X, y)] * 4
    monkeypatch.setattr("regjax.sklearn.lbfgs._end", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        fit_many(fits, workers=2)
    assert threading.active_count() == before
