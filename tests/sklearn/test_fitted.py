"""`regjax.fit`: the model's predictions out of a Pipeline that can be cloned, scored and fitted again."""

import dataclasses

import numpy as np
import pytest
from mixed_models import CONFIG, LABELS, fitted, mixed, swept, unseen
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted
from sweeps import points

import regjax
from regjax.sklearn.fitted import as_pipeline

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("targets", [*LABELS, "real"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_predictions_are_those_of_the_model(targets, seeds):
    frame, model, pipeline = mixed(targets), fitted(targets, seeds), as_pipeline(fitted(targets, seeds))
    x, y = frame.drop(columns="y"), frame["y"]
    check_is_fitted(pipeline)
    for some in (x, unseen()):
        if targets == "real":
            np.testing.assert_allclose(pipeline.predict(some), model.predict(some), atol=1e-6)
        else:
            np.testing.assert_allclose(pipeline.predict_proba(some), model.predict_proba(some), atol=1e-6)
            assert (pipeline.predict(some) == model.predict(some)).all()
            assert pipeline.classes_.tolist() == LABELS[targets]
    score = r2_score if targets == "real" else accuracy_score
    assert pipeline.score(x, y) == pytest.approx(score(y, model.predict(x)))
    kind = {("real", 2): VotingRegressor, ("real", 1): regjax.RegMLPRegressor}.get((targets, seeds))
    kind = kind or (VotingClassifier if seeds == 2 else regjax.RegMLPClassifier)
    last = pipeline.named_steps["network"]
    if targets == "real":  # trained on standardised targets, as in the sweep
        assert isinstance(last, TransformedTargetRegressor)
        last = last.regressor_
    assert isinstance(last, kind)


def test_it_is_the_choice_of_the_sweep():
    pipeline = regjax.fit(swept())
    np.testing.assert_allclose(pipeline.predict_proba(unseen()), fitted().predict_proba(unseen()), atol=1e-6)
    named = regjax.fit(swept(), configuration=1, ensemble=[3])
    assert named.named_steps["network"].alpha == 0.1
    assert named.named_steps["network"].random_state == 3


@pytest.mark.nightly
def test_parameters_say_the_configuration():
    X, y = points(50, 3)
    config = CONFIG | {"hidden": (4, 3), "activation": "sigmoid", "optimizer": "adamw", "batch_size": 10}
    config |= {"class_weight": (1.0, 2.0), "dtype": "float64"}
    grid = {"keep_prob": [(0.9, 0.8)], "l2": 0.5, "max_norm": 3, "weight_decay": 0.01, "learning_rate": 0.02}
    results = regjax.sweep((X, np.array(["a", "b"])[y]), config, grid, epochs=4, folds=2, progress=False)
    network = regjax.fit(results).named_steps["network"]
    found = network.get_params()
    wanted = {
        "hidden_layer_sizes": (4, 3), "activation": "logistic", "solver": "adam", "batch_size": 10,
        "class_weight": {"a": 1.0, "b": 2.0}, "dtype": "float64", "dropout": (0.1, 0.2), "alpha": 0.5,
        "max_norm": 3, "weight_decay": 0.01, "learning_rate_init": 0.02, "max_iter": 4, "random_state": 0,
        "n_iter_no_change": np.inf, "early_stopping": False,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    others = regjax.RegMLPClassifier().get_params()
    same = set(found) - set(wanted) - {"tol", "nesterovs_momentum"}
    assert {name: found[name] for name in same} == {name: others[name] for name in same}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("optimizer", "wanted"),
    [("sgd", ("sgd", 0.0, False)), ("momentum", ("sgd", 0.7, False)), ("nesterov", ("sgd", 0.7, True)),
     ("adam", ("adam", 0.7, False))],
)  # fmt: skip
def test_optimizers_have_scikit_learns_names(optimizer, wanted):
    X, y = points(30, 2)
    results = regjax.sweep((X, y), CONFIG | {"optimizer": optimizer}, {"momentum": 0.7}, progress=False)
    network = regjax.fit(results).named_steps["network"]
    assert (network.solver, network.momentum, network.nesterovs_momentum) == wanted


@pytest.mark.sampled(1)
@pytest.mark.parametrize("targets", ["text", "real"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_it_can_be_cloned_and_fitted_again(targets, seeds):
    frame, pipeline = mixed(targets), as_pipeline(fitted(targets, seeds))
    x, y = frame.drop(columns="y"), frame["y"]
    again = clone(pipeline)
    for one, other in zip(again.steps, pipeline.steps, strict=True):
        assert type(one[1]) is type(other[1])
        assert str(one[1].get_params()) == str(other[1].get_params())
    again.fit(x, y)
    assert again.score(x, y) > 0.3
    # The inputs, and so the width, are those of the model.
    table = pipeline.named_steps["table"]
    np.testing.assert_array_equal(again.named_steps["table"].transform(x), table.transform(x))
    clone(pipeline).fit(x.drop(columns="number"), y)  # a column that was left out may be missing


@pytest.mark.slow
def test_a_network_of_the_estimators_own_settings_is_fitted_again_to_the_same():
    X, y = points(60, 3)
    config = CONFIG | {"init": "sklearn", "draws": "sklearn", "batches": "all", "epsilon_hat": True}
    config |= {"batch_size": 16, "dtype": "float64"}
    results = regjax.sweep((X, y), config, {"l2": 0.1}, epochs=5, folds=2, standardize=True, progress=False)
    pipeline = regjax.fit(results)
    again = clone(pipeline).fit(X, y)
    np.testing.assert_allclose(again.predict_proba(X), pipeline.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("seeds", [1, 2])
def test_targets_that_were_scaled_come_back_in_their_unit(seeds):
    model = dataclasses.replace(fitted("real", seeds), target_mean=np.array([50.0]), target_scale=10.0)
    frame = mixed("real")
    x, y = frame.drop(columns="y"), 10 * frame["y"] + 50
    pipeline = as_pipeline(model)
    assert isinstance(pipeline.named_steps["network"], TransformedTargetRegressor)
    np.testing.assert_allclose(pipeline.predict(x), model.predict(x), atol=1e-5)
    assert pipeline.score(x, y) > 0.5
    assert clone(pipeline).fit(x, y).score(x, y) > 0.3


@pytest.mark.nightly
def test_an_ensemble_of_several_outputs_is_refused():
    X, _ = points(40, 3)
    results = regjax.sweep((X, X[:, :2]), CONFIG, {"learning_rate": 0.05}, folds=2, progress=False)
    assert regjax.fit(results).predict(X).shape == (40, 2)
    with pytest.raises(ValueError, match="ensemble must be 1 for several outputs"):
        regjax.fit(results, ensemble=2)
