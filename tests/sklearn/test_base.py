"""Training, beside scikit-learn's networks: scores, stopping, weights, sparse X, several labels, messages."""

import numpy as np
import pytest
from cases import slow_but
from peers import assert_same_network, same_networks
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

from regjax import RegGridSearchCV, RegMLPClassifier, RegMLPRegressor
from regjax.core.hparams import HYPERPARAMETERS
from regjax.sklearn.parameters import Parameters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (4,), "random_state": 0, "max_iter": 12}


def labels_of_iris():
    X, y = load_iris(return_X_y=True)
    return scale(X), np.stack([y == 0, X[:, 0] > 5.8, X[:, 1] > 3], axis=1).astype(int)


# -- scores that early stopping watches ----------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize("targets", ["rare", "one of two", "constant", "perfect"])
def test_scores_of_targets_that_do_not_vary(targets):
    rng = np.random.RandomState(0)
    X = rng.randn(60, 3)
    y = np.zeros(60)
    own = {"early_stopping": True, "max_iter": 40}
    if targets == "rare":
        y[:3] = 5, 7, 9
    elif targets == "one of two":
        y = np.c_[X[:, 0], np.where(np.arange(60) == 0, 3.0, 0.0)]
    elif targets == "constant":
        y += 0.5
    else:  # the network predicts the constant itself, to the last bit
        X, own = np.zeros((60, 3)), own | {"activation": "identity", "alpha": 0.0}
    settings = SMALL | own
    ours = RegMLPRegressor(**settings)
    same_networks(MLPRegressor(**settings), ours, X, y)
    assert np.isfinite(ours.validation_scores_).all()
    if targets == "constant":
        # Their mean rounds, and scikit-learn then divides by the square of that.
        third = RegMLPRegressor(**settings).fit(X, np.full(60, 0.1))
        assert set(third.validation_scores_) <= {0.0, 1.0}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_network_without_a_finite_score_is_returned_with_a_warning():
    X, y = load_iris(return_X_y=True)
    settings = SMALL | {"solver": "sgd", "learning_rate_init": 1e3, "activation": "identity"}
    settings |= {"early_stopping": True, "max_iter": 60, "hidden_layer_sizes": (100,)}
    X = X * 1e60
    peer = MLPRegressor(**settings).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="No validation score was finite"):
        ours = RegMLPRegressor(**settings).fit(X, y)
    np.testing.assert_array_equal(ours.validation_scores_, peer.validation_scores_)
    np.testing.assert_allclose(ours.coefs_[0], peer.coefs_[0])
    assert ours.best_validation_score_ == peer.best_validation_score_ == -np.inf
    assert ours.n_iter_ == peer.n_iter_


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("scores", [{}, {"learning_rate_init": 0.05, "max_iter": 30}])
def test_a_warm_start_without_a_better_score_keeps_its_last_network(scores):
    X, y = load_iris(return_X_y=True)
    settings = SMALL | {"early_stopping": True, "warm_start": True} | scores
    # Scores of whole weights are exact, so that none is better by a rounding.
    for fit in ({}, {"sample_weight": np.arange(150.0) % 3}):
        peer, ours = MLPClassifier(**settings), RegMLPClassifier(**settings)
        for _ in range(3):
            same_networks(peer, ours, X, y, **fit)


# -- data as they come ---------------------------------------------------------------------------------------

RAW = {
    "wine": (load_wine, MLPClassifier, RegMLPClassifier),
    "breast_cancer": (load_breast_cancer, MLPClassifier, RegMLPClassifier),
    "diabetes": (load_diabetes, MLPRegressor, RegMLPRegressor),
}


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize(
    "own",
    [
        {},
        {"activation": "logistic", "early_stopping": True},
        {"solver": "sgd", "learning_rate_init": 1e-5, "learning_rate": "adaptive"},
    ],
)
def test_data_that_are_not_scaled(name, own):
    load, peer, ours = RAW[name]
    X, y = load(return_X_y=True)
    settings = {"hidden_layer_sizes": (16,), "random_state": 0, "max_iter": 60} | own
    same_networks(peer(**settings), ours(**settings), X, y)


@pytest.mark.nightly
def test_data_that_are_not_scaled_in_float32():
    X, y = load_wine(return_X_y=True)
    settings = {"hidden_layer_sizes": (16,), "random_state": 0}
    same_networks(MLPClassifier(**settings), RegMLPClassifier(**settings), X.astype(np.float32), y, rtol=2e-5)


@pytest.mark.nightly
def test_a_setting_of_ones_own_stops_on_the_true_loss():
    X, y = load_wine(return_X_y=True)
    settings = {"hidden_layer_sizes": (16,), "random_state": 0, "max_iter": 1}
    clipped = RegMLPClassifier(**settings).fit(X, y)
    assert clipped.loss_ < -np.log(np.finfo(float).eps)
    for own in ({"l1": 1e-12}, {"dropout": 1e-12}, {"class_weight": {0: 1.0}}, {"clip_norm": 1e12}):
        true = RegMLPClassifier(**settings, **own).fit(X, y)
        np.testing.assert_allclose(true.coefs_[0], clipped.coefs_[0], atol=1e-9)
        assert true.loss_ > 1.5 * clipped.loss_


# -- weights -------------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize(
    "own",
    [
        {"batch_size": 32},
        {},
        {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 32},
        {"early_stopping": True, "batch_size": 32},
        {"shuffle": False, "batch_size": 40},
    ],
)
@pytest.mark.parametrize("dtype", slow_but([np.float64, np.float32], [np.float64]))
def test_samples_of_weight_0_stay_in_the_batches(own, dtype):
    X, y = load_iris(return_X_y=True)
    weights = np.arange(150.0) % 5
    rtol = 1e-8 if dtype == np.float64 else 2e-4
    settings = SMALL | own
    peer, ours = MLPClassifier(**settings), RegMLPClassifier(**settings)
    same_networks(peer, ours, X.astype(dtype), y, rtol=rtol, sample_weight=weights)
    peer, ours = MLPRegressor(**settings), RegMLPRegressor(**settings)
    same_networks(peer, ours, X.astype(dtype), y, rtol=rtol, sample_weight=weights)
    with pytest.raises(ValueError, match="at least one non-zero number"):
        ours.fit(X, y, np.zeros(150))


@pytest.mark.nightly
@pytest.mark.parametrize(
    "own", [{"mixup": 0.5}, {"swap_noise": 0.3}, {"class_weight": "balanced"}, {"sam": 0.1}]
)
@pytest.mark.parametrize("batch_size", slow_but(["auto", 40], [40]))
def test_a_sample_of_weight_0_leaves_no_trace(own, batch_size):
    X, y = load_iris(return_X_y=True)
    weights = np.arange(150.0) % 3
    network = RegMLPClassifier(batch_size=batch_size, **SMALL, **own)
    for dtype in (np.float32, np.float64):
        expected = network.fit(X.astype(dtype), y, weights).coefs_
        other = np.where(weights[:, None] > 0, X, 1e3).astype(dtype)
        found = network.fit(other, y, weights).coefs_
        for one, two in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.nightly
def test_a_batch_without_weight_is_an_error_of_scikit_learns_kind():
    X, y = load_iris(return_X_y=True)
    weights = (np.arange(150) >= 20).astype(float)
    settings = SMALL | {"shuffle": False, "batch_size": 10}
    for one in (MLPClassifier(**settings), RegMLPClassifier(**settings)):
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero, can't be normalized"):
            one.fit(X, y, weights)
    # Shuffled, it happens in a later epoch, or never where the run stops before.
    weights = np.zeros(150)
    weights[:75] = 1
    for tol in (1e-9, 10.0):
        settings = SMALL | {"batch_size": 7, "tol": tol, "n_iter_no_change": 1, "random_state": 3}
        found = []
        for one in (MLPClassifier(**settings), RegMLPClassifier(**settings)):
            try:
                found.append(one.fit(X, y, weights).n_iter_)
            except ZeroDivisionError as error:
                found.append(str(error))
        assert found[0] == found[1]


# -- sparse X ------------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize("made", [sparse.csr_matrix, sparse.csc_array, sparse.lil_matrix])
def test_sparse_samples_are_the_dense_ones(made):
    X, y = load_iris(return_X_y=True)
    X[X < 2] = 0
    settings = SMALL | {"batch_size": 40}
    for peer, kind in ((MLPClassifier, RegMLPClassifier), (MLPRegressor, RegMLPRegressor)):
        ours = kind(**settings)
        same_networks(peer(**settings), ours, made(X), y)
        dense = kind(**settings).fit(X, y)
        np.testing.assert_array_equal(ours.coefs_[0], dense.coefs_[0])
        np.testing.assert_allclose(ours.predict(made(X)), dense.predict(X), rtol=1e-12)
        again = kind(**settings)
        first = {"classes": [0, 1, 2]} if kind is RegMLPClassifier else {}
        again.partial_fit(made(X), y, **first).partial_fit(made(X), y)
        assert again.t_ == 300
    dropped = RegMLPClassifier(input_dropout=0.2, **SMALL).fit(made(X), y)
    np.testing.assert_array_equal(
        dropped.predict_proba_samples(made(X), 2, random_state=0),
        dropped.predict_proba_samples(X, 2, random_state=0),
    )


# -- several labels per sample -------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize(
    "own", [{}, {"solver": "sgd", "learning_rate_init": 0.1, "batch_size": 30}, {"early_stopping": True}]
)
def test_samples_with_several_labels(own):
    X, y = labels_of_iris()
    settings = SMALL | own
    peer, ours = MLPClassifier(**settings), RegMLPClassifier(**settings)
    same_networks(peer, ours, X, y, sample_weight=np.arange(150.0))
    assert ours.out_activation_ == "logistic"
    np.testing.assert_array_equal(ours.classes_, peer.classes_)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), rtol=1e-8)
    np.testing.assert_allclose(ours.predict_log_proba(X), peer.predict_log_proba(X), atol=1e-10)
    assert ours.score(X, y) == peer.score(X, y)
    assert ours.predict_proba_samples(X, 2).shape == (2, 150, 3)
    if "early_stopping" in own:
        return
    peer.set_params(warm_start=True).fit(X, y)
    ours.set_params(warm_start=True).fit(X, y)
    assert_same_network(ours, peer)
    peer, ours = MLPClassifier(**settings), RegMLPClassifier(**settings)
    for some in (slice(0, 100), slice(50, 150)):
        peer.partial_fit(X[some], y[some], classes=np.arange(3))
        ours.partial_fit(X[some], y[some], classes=np.arange(3))
    assert_same_network(ours, peer)


@pytest.mark.nightly
def test_labels_that_are_sparse_are_predicted_sparse():
    X, y = labels_of_iris()
    peer, ours = (kind(**SMALL).fit(X, sparse.csr_matrix(y)) for kind in (MLPClassifier, RegMLPClassifier))
    assert sparse.issparse(ours.predict(X))
    np.testing.assert_array_equal(ours.predict(X).toarray(), peer.predict(X).toarray())


@pytest.mark.nightly
def test_regularisers_act_on_several_labels():
    X, y = labels_of_iris()
    settings = SMALL | {"learning_rate_init": 0.05, "max_iter": 100}
    plain = RegMLPClassifier(**settings).fit(X, y)
    assert plain.score(X, y) > 0.8
    for own in ({"label_smoothing": 0.3}, {"confidence_penalty": 0.5}):
        calmer = RegMLPClassifier(**settings, **own).fit(X, y)
        assert np.abs(calmer.predict_proba(X) - 0.5).mean() < np.abs(plain.predict_proba(X) - 0.5).mean()
    assert RegMLPClassifier(**settings, dropout=0.2, mixup=0.2, swap_noise=0.1).fit(X, y).score(X, y) > 0.6
    with pytest.raises(ValueError, match="class_weight must be None for several labels, got 'balanced'"):
        RegMLPClassifier(class_weight="balanced").fit(X, y)


# -- what is printed, and attributes -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "own",
    [
        {},
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 60},
        {"tol": 10.0, "n_iter_no_change": 3},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1, "max_iter": 60},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "early_stopping": True, "max_iter": 30},
        {"solver": "sgd", "learning_rate": "invscaling", "tol": 0.5, "n_iter_no_change": 12, "max_iter": 30},
    ],
)
def test_verbose_prints_scikit_learns_lines(own, capsys):
    X, y = load_iris(return_X_y=True)
    lines = []
    for kind in (MLPClassifier, RegMLPClassifier):
        model = kind(**SMALL | own | {"verbose": True}).fit(X, y)
        model.set_params(warm_start=True).fit(X, y)
        if "early_stopping" not in own:
            model.partial_fit(X, y)
        lines.append(capsys.readouterr().out.splitlines())
    assert lines[0] == lines[1]
    assert len(lines[0]) >= 2


def test_attributes_after_every_call():
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    for own in ({}, {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 0.05}):
        peer, ours = MLPClassifier(**SMALL | own), RegMLPClassifier(**SMALL | own)
        for calls in (1, 2, 3):
            for model in (peer, ours):
                if calls == 2:
                    model.set_params(warm_start=True).fit(X, y)
                else:
                    model.partial_fit(X, y, None, [0, 1, 2])
            assert_same_network(ours, peer)


@pytest.mark.nightly
def test_a_network_of_a_search_goes_on():
    X, y = load_iris(return_X_y=True)
    search = RegGridSearchCV(RegMLPClassifier(**SMALL), {"alpha": [0.1]}, cv=2, refit=False).fit(X, y)
    del search
    # Its weights are there, but neither curves nor an optimizer.
    ours, peer = RegMLPClassifier(**SMALL).fit(X, y), MLPClassifier(**SMALL).fit(X, y)
    del ours._state, ours.loss_curve_, ours.t_
    ours.partial_fit(X, y)
    assert ours.t_ == 150
    peer._optimizer.__init__(peer.coefs_ + peer.intercepts_, 0.001)
    peer.partial_fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0], peer.coefs_[0], rtol=1e-9)


# -- messages ------------------------------------------------------------------------------------------------

OWN = {h.sklearn: (name, h) for name, h in HYPERPARAMETERS.items() if h.sklearn}
BAD = [
    *((name, value) for name in OWN for value in (-1, float("nan"), "some")),
    *((name, (0.1, 0.2, 0.3, 0.4)) for name, (_, h) in OWN.items() if h.shape != "scalar"),
    *((name, (2.0, -1.0)) for name, (_, h) in OWN.items() if h.shape != "scalar"),
    *((name, ("a", 0.1)) for name, (_, h) in OWN.items() if h.shape != "scalar"),
    *((name, 1.0) for name, (_, h) in OWN.items() if h.meaning == "rate"),
    ("dropout", (0.5, 1.0)), ("dropconnect", (0.5, 1.0, 0.0)), ("dropout", True), ("alpha", 1e60),
    ("learning_rate_init", 1e60), ("l1", 1e60), ("tol", 1e60), ("clip_norm", 0), ("max_norm", -0.5),
    ("dropout", [[0.1, 0.2]]), ("gaussian_dropout", (0.1, float("inf"))), ("epsilon", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_messages_speak_of_the_estimators_parameters(name, value):
    X, y = load_iris(return_X_y=True)
    # In float32 a value may be too large for the dtype.
    network = RegMLPClassifier((3, 2), max_iter=1).set_params(**{name: value})
    with pytest.raises((TypeError, ValueError)) as caught:
        network.fit(X.astype(np.float32), y)
    message = str(caught.value)
    assert message.startswith((f"The '{name}' parameter of RegMLPClassifier must be", f"{name} must be"))
    core = OWN[name][0]
    assert core == name or core not in message.replace(name, "")
    assert str(value) in message or "shape" in message
    with pytest.raises(type(caught.value), match=rf"{name}\b"):
        network.set_params(dtype="float32")._check()


@pytest.mark.nightly
def test_an_epsilon_that_the_dtype_cannot_hold():
    X, y = load_iris(return_X_y=True)
    for dtype, epsilon, rtol in (
        (np.float64, 1e-50, 1e-8),
        (np.float64, 1e-320, 1e-8),
        (np.float32, 1e-50, 1e-4),
    ):
        settings = SMALL | {"epsilon": epsilon}
        peer, ours = MLPClassifier(**settings), RegMLPClassifier(**settings)
        same_networks(peer, ours, X.astype(dtype), y, rtol=rtol)


X, Y = load_iris(return_X_y=True)
GAP = np.where(np.arange(4) == 2, np.nan, X)
CALLS = {
    "a gap": lambda c: c(**SMALL).fit(GAP, Y),
    "infinity": lambda c: c(**SMALL).fit(GAP * np.inf, Y),
    "other lengths": lambda c: c(**SMALL).fit(X[:9], Y),
    "several outputs": lambda c: c(**SMALL).fit(X, np.c_[Y, Y]),
    "real classes": lambda c: c(**SMALL).fit(X, Y + 0.5),
    "gaps in y": lambda c: c(**SMALL).fit(X, np.where(Y == 0, np.nan, Y)),
    "no y": lambda c: c(**SMALL).fit(X, None),
    "one dimension": lambda c: c(**SMALL).fit(X[:, 0], Y),
    "no samples": lambda c: c(**SMALL).fit(X[:0], Y[:0]),
    "text": lambda c: c(**SMALL).fit(np.full((150, 2), "a"), Y),
    "complex": lambda c: c(**SMALL).fit(X + 1j, Y),
    "gaps in weights": lambda c: c(**SMALL).fit(X, Y, np.full(150, np.nan)),
    "no weight": lambda c: c(**SMALL).fit(X, Y, np.zeros(150)),
    "few weights": lambda c: c(**SMALL).fit(X, Y, np.ones(3)),
    "a column of weights": lambda c: c(**SMALL).fit(X, Y, np.ones((150, 1))),
    "an empty layer": lambda c: c(hidden_layer_sizes=(0,)).fit(X, Y),
    "a negative layer": lambda c: c(hidden_layer_sizes=(-3,)).fit(X, Y),
    "a share of a unit": lambda c: c(hidden_layer_sizes=(3.9,)).fit(X, Y),
    "a real number of units": lambda c: c(hidden_layer_sizes=(3.0,)).fit(X, Y),
    "units in words": lambda c: c(hidden_layer_sizes=("a",)).fit(X, Y),
    "no units": lambda c: c(hidden_layer_sizes=None).fit(X, Y),
    "nested units": lambda c: c(hidden_layer_sizes=[[3]]).fit(X, Y),
    "a seed in words": lambda c: c(random_state="a").fit(X, Y),
    "a negative seed": lambda c: c(random_state=-1).fit(X, Y),
    "nothing to watch": lambda c: c(**SMALL, early_stopping=True, validation_fraction=0.0).fit(X, Y),
    "one to watch": lambda c: c(**SMALL, early_stopping=True, validation_fraction=0.001).fit(X, Y),
    "all to watch": lambda c: c(**SMALL, validation_fraction=1.0).fit(X, Y),
    "one of a class": lambda c: c(**SMALL, early_stopping=True).fit(X, np.arange(150) == 0),
    "nothing watched has weight": lambda c: c(**SMALL, early_stopping=True).fit(X, Y, np.arange(150) == 3),
    "momentum": lambda c: c(**SMALL, momentum=1.1).fit(X, Y),
    "alpha is no number": lambda c: c(**SMALL, alpha=np.nan).fit(X, Y),
    "alpha": lambda c: c(**SMALL, alpha=np.inf).fit(X, Y),
    "max_iter": lambda c: c(max_iter=0).fit(X, Y),
    "max_fun": lambda c: c(max_fun=0).fit(X, Y),
    "batch_size": lambda c: c(batch_size=0).fit(X, Y),
    "real batch_size": lambda c: c(batch_size=2.5).fit(X, Y),
    "tol": lambda c: c(tol=-1).fit(X, Y),
    "epsilon": lambda c: c(epsilon=0).fit(X, Y),
    "large learning rate": lambda c: c(**SMALL, learning_rate_init=1e300).fit(X, Y),
    "large alpha": lambda c: c(**SMALL, alpha=1e300).fit(X, Y),
    "power_t": lambda c: c(**SMALL, solver="sgd", learning_rate="invscaling", power_t=1e3).fit(X, Y),
    "other features": lambda c: c(**SMALL, warm_start=True).fit(X, Y).fit(X[:, :2], Y),
    "features of a prediction": lambda c: c(**SMALL).fit(X, Y).predict(X[:, :2]),
    "a gap in a prediction": lambda c: c(**SMALL).fit(X, Y).predict(GAP),
    "not fitted": lambda c: c(**SMALL).predict(X),
    "a gap in sparse rows": lambda c: c(**SMALL).fit(sparse.csr_matrix(GAP), Y),
}
CLASSES_ONLY = {
    "no classes": lambda c: c(**SMALL).partial_fit(X, Y),
    "early stopping in parts": lambda c: c(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2]),
    "an unknown class": lambda c: c(**SMALL).partial_fit(X, Y, classes=[0, 1]),
    "other classes": lambda c: c(**SMALL).partial_fit(X, Y, None, [0, 1, 2]).partial_fit(X, Y, None, [0, 1]),
    "fewer classes": lambda c: c(**SMALL, warm_start=True).fit(X, Y).fit(X[:90], Y[:90]),
    "fewer in parts": lambda c: (
        c(warm_start=True).partial_fit(X, Y, None, [0, 1, 2]).partial_fit(X[:9], Y[:9])
    ),
    "more labels": lambda c: c(**SMALL, warm_start=True).fit(X, np.c_[Y, Y] > 1).fit(X, np.c_[Y, Y, Y] > 1),
    "mixed labels": lambda c: c(**SMALL).fit(X, np.array([1, "a", 2.0], object)[Y]),
    "probabilities not fitted": lambda c: c(**SMALL).predict_proba(X),
}
REAL_ONLY = {
    "targets in words": lambda c: c(**SMALL).fit(X, np.full(150, "1")),
    "three dimensions": lambda c: c(**SMALL).fit(X, np.zeros((150, 2, 2))),
    "infinite targets": lambda c: c(**SMALL).fit(X, np.where(Y == 0, np.inf, Y)),
    "huge targets": lambda c: c(**SMALL).fit(X, Y * 1e300),
    "an unknown loss": lambda c: c("huber").fit(X, Y),
    "more outputs": lambda c: c(**SMALL, warm_start=True).fit(X, Y).fit(X, np.c_[Y, Y]),
    "early stopping": lambda c: c(**SMALL, early_stopping=True).partial_fit(X, Y),
    "a batch without weight": lambda c: c(**SMALL, batch_size=1).fit(X, Y, np.arange(150)),
}
BAD_CALLS = [
    *((MLPClassifier, RegMLPClassifier, name, call) for name, call in (CALLS | CLASSES_ONLY).items()),
    *((MLPRegressor, RegMLPRegressor, name, call) for name, call in (CALLS | REAL_ONLY).items()),
]


@pytest.mark.sampled(9)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("peer", "ours", "name", "call"), BAD_CALLS)
def test_what_scikit_learn_refuses_is_refused(peer, ours, name, call):
    found = []
    for kind in (peer, ours):
        try:
            call(kind)
            found.append(None)
        except Exception as error:
            found.append(error)
    if found[0] is None:  # a regressor takes whole numbers and several outputs
        assert found[1] is None
        return
    assert isinstance(found[0], type(found[1])), found
    assert len(str(found[1])) > 20


def test_partial_fit_is_there_for_solvers_that_take_steps():
    X, y = load_iris(return_X_y=True)
    for network in (RegMLPClassifier(solver="lbfgs"), RegMLPRegressor(solver="lbfgs")):
        assert not hasattr(network, "partial_fit")
        with pytest.raises(AttributeError):
            network.partial_fit(X, y)
    assert isinstance(RegMLPRegressor(), Parameters)
