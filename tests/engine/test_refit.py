"""The chosen configuration on all rows: which one it is, what it trains on, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from mixed_models import CONFIG, fitted, mixed, swept
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sweeps import points

import regjax
from regjax.engine import refit
from regjax.engine.sweep import run


@pytest.mark.slow
def test_the_model_is_the_choice_by_validation_and_says_why():
    results, model = swept(), fitted()
    choice = results.best()
    assert model.training.configuration["l2"] == choice.configuration["l2"]
    assert model.chosen.validation == choice.validation
    assert model.chosen.metric == "val_accuracy"
    assert model.chosen.over == "over 3 folds × 1 seed"
    assert model.chosen.reason == choice.in_words()
    assert model.training.num_rows == len(mixed())
    one_se = regjax.refit(results, questions=regjax.Questions(rule="one_se", metric="val_loss"))
    assert one_se.chosen.metric == "val_loss"
    assert one_se.chosen.reason == results.best("val_loss", "one_se").in_words()


def test_a_configuration_that_is_named_is_trained():
    results = swept()
    for index in (0, 1):
        model = regjax.refit(results, configuration=index)
        assert model.training.configuration.get("l2", 0) == [0, 0.1][index]
        assert model.chosen.validation == pytest.approx(results.units("val_accuracy")[index].mean())


@pytest.mark.slow
def test_it_is_the_network_that_a_sweep_over_all_rows_trains():
    X, y = points(60, 3)
    config = CONFIG | {"batch_size": 16}
    results = regjax.sweep((X, y), config, {"l2": 0.1}, folds=3, epochs=7, standardize=True, progress=False)
    model = regjax.refit(results, seeds=[4, 2])
    whole = regjax.sweep(
        (X, y), config, {"l2": 0.1}, seeds=[4, 2], epochs=7, standardize=True, progress=False
    )
    assert model.config.num_steps == whole.design.configs[0].num_steps == 7 * 3
    assert model.training.epochs == 7
    for row, params in enumerate(model.networks):
        for one, other in zip(params, whole.params(row), strict=True):
            np.testing.assert_allclose(one.w, other.w, rtol=1e-5, atol=1e-6)
    # The mean of the probabilities of both networks, as the sweep's own ensemble.
    np.testing.assert_allclose(model.predict_proba(X), whole.predict_proba(0, X, ensemble=True), atol=1e-6)
    assert (model.predict(X) == whole.predict(0, X, ensemble=True)).all()


def test_statistics_are_those_of_all_rows():
    frame, model = mixed(), fitted()
    names = [column.name for column in model.schema.kept]
    assert names == ["age", "large", "town", "flag", "when"]
    assert model.statistics.median[0] == frame["age"].median()
    filled = frame["age"].fillna(frame["age"].median())
    assert model.statistics.mean[0] == pytest.approx(filled.mean())
    assert model.statistics.scale[0] == pytest.approx(filled.std(ddof=0))


@pytest.mark.slow
def test_a_configuration_with_patience_watches_a_part_of_the_rows(monkeypatch):
    X, y = points(80, 3)
    results = regjax.sweep(
        (X, y), CONFIG | {"eval_every": 5}, {"patience": 10, "learning_rate": 0.3}, folds=3, stopping=0.25,
        standardize=True, progress=False,
    )  # fmt: skip
    designs = []
    monkeypatch.setattr(
        refit, "run", lambda design, **options: designs.append(design) or run(design, **options)
    )
    model = regjax.refit(results)
    (design,) = designs
    assert design.splits.kind == "none"
    assert np.count_nonzero(design.splits.stop[0]) == pytest.approx(0.25 * 80, abs=2)
    trained = X[design.splits.trains(0, True) > 0]
    assert len(trained) == 80 - np.count_nonzero(design.splits.stop[0])
    np.testing.assert_allclose(model.statistics.mean, trained.mean(axis=0))


@pytest.mark.slow
def test_without_held_out_samples_one_configuration_is_taken_and_several_are_not():
    X, y = points(40, 2)
    alone = regjax.sweep((X, y), CONFIG, {"l2": 0.1}, progress=False)
    model = regjax.refit(alone)
    assert (model.chosen.metric, model.chosen.validation, model.chosen.over) == ("", None, "")
    several = regjax.sweep((X, y), CONFIG, {"l2": [0, 0.1]}, progress=False)
    with pytest.raises(
        ValueError, match=r"configuration must be given \(0 to 1\) where nothing was held out"
    ):
        regjax.refit(several)
    assert regjax.refit(several, configuration=1).training.configuration["l2"] == 0.1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"configuration": 2}, ValueError, "configuration must be .* got 2"),
        ({"configuration": -1}, ValueError, "configuration must be .* got -1"),
        ({"configuration": 0.5}, TypeError, "configuration must be a whole number, got 0.5"),
        ({"configuration": "l2"}, TypeError, "configuration must be a whole number, got 'l2'"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1, got 0"),
        ({"seeds": [1, 1]}, ValueError, "seeds must be distinct"),
        ({"seeds": "two"}, TypeError, "seeds must be a whole number"),
        ({"questions": regjax.Questions(metric="val_rmse")}, ValueError, "metric must be one of"),
    ],
)
def test_bad_input_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        regjax.refit(swept(), **given)


def test_a_network_that_diverges_is_refused():
    X, y = points(40, 2)
    results = regjax.sweep((X, y), CONFIG | {"optimizer": "sgd"}, {"learning_rate": 1e30}, progress=False)
    with pytest.raises(
        ValueError, match=r"must not diverge on all rows, and with seed 0 one of learning_rate"
    ):
        regjax.refit(results)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_inputs_that_a_pipeline_made_are_refused():
    X, y = points(40, 2)
    network = regjax.RegMLPClassifier((3,), max_iter=5, random_state=0)
    pipeline = Pipeline([("scale", StandardScaler()), ("network", network)])
    search = regjax.RegGridSearchCV(pipeline, {"network__alpha": [0.1]}, cv=2, refit=False).fit(X, y)
    with pytest.raises(ValueError, match="inputs, got those of a search whose Pipeline makes them"):
        regjax.refit(search.results_)


@pytest.mark.slow
def test_the_test_samples_of_a_sweep_are_not_trained_on():
    frame = mixed()
    results = regjax.sweep(frame, CONFIG, {"l2": 0.1}, folds=2, test=0.2, target="y", progress=False)
    model = regjax.refit(results)
    assert model.training.num_rows == results.design.data.x.shape[1] == 120
    assert len(model.predict(frame)) == len(frame)
    assert isinstance(model.predict(pd.DataFrame(frame.iloc[:1])), np.ndarray)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_of_a_search_it_is_the_best_estimator():
    X, y = points(60, 3)
    network = regjax.RegMLPClassifier(
        (4,),
        max_iter=30,
        learning_rate_init=0.05,
        tol=1e-3,
        n_iter_no_change=3,
        batch_size=16,
        random_state=0,
    )
    search = regjax.RegGridSearchCV(network, {"alpha": [0.1, 10.0]}, cv=3).fit(X, y)
    model = regjax.refit(search.results_, configuration=search.best_index_)
    np.testing.assert_allclose(model.predict_proba(X), search.best_estimator_.predict_proba(X), atol=1e-6)
