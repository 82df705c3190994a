"""Models of scikit-learn on the folds of a sweep: what they train on, and how the network is held against."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from mixed_models import mixed
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.preprocessing import StandardScaler

import regjax
from regjax.core.data import Data
from regjax.engine.references import STRENGTHS, predicted_seconds, references

CONFIG = {"hidden": (6,), "num_steps": 60, "eval_every": 60, "optimizer": "adam"}
GRID = {"l2": [0.01, 1], "learning_rate": 0.03}


def samples(n=90, classes=2):
    """Three columns, of which the first says most."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3)) * [1, 3, 100] + [0, 5, -100]
    score = 2 * X[:, 0] + X[:, 1] / 3 + rng.standard_normal(n)
    quantiles = np.quantile(score, np.arange(1, classes) / classes) if classes else None
    return X, score if classes == 0 else np.digitize(score, quantiles)


def swept(data, grid=GRID, **options):
    options = {"seeds": 2, "folds": 4, "standardize": True, "progress": False, "keep": "none"} | options
    return regjax.sweep(data, CONFIG | options.pop("config", {}), grid, **options)


def best_without(table, higher=True):
    """Scores in each fold at the strength that is best on the others, `(strengths, folds)` -> `(folds,)`."""
    table = table if higher else -table
    picks = [np.argmax(np.delete(table, fold, axis=1).mean(axis=1)) for fold in range(table.shape[1])]
    return np.array([table[pick, fold] for fold, pick in enumerate(picks)])


@pytest.mark.nightly
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_models_are_scikit_learns_on_the_training_part_of_each_fold(classes, weighted):
    X, y = samples(classes=classes)
    weights = np.linspace(0, 2, len(y)) if weighted else np.ones(len(y))
    results = swept(Data.from_arrays(X, y, weights) if weighted else (X, y))
    found = references(results)
    splits = results.design.splits
    linear, trees = np.empty((5, 4)), np.empty(4)
    for fold in range(4):
        train, val = splits.train[fold] > 0, splits.val[fold] > 0
        scaler = StandardScaler().fit(X[train], sample_weight=weights[train])
        for k, C in enumerate(STRENGTHS["logistic regression"]):
            model = LogisticRegression(C=C, max_iter=300)
            model.fit(scaler.transform(X[train]), y[train], splits.train[fold][train])
            predicted = model.predict(scaler.transform(X[val]))
            linear[k, fold] = accuracy_score(y[val], predicted, sample_weight=weights[val])
        model = HistGradientBoostingClassifier(random_state=0)
        model.fit(X[train], y[train], splits.train[fold][train] if weighted else None)
        trees[fold] = accuracy_score(y[val], model.predict(X[val]), sample_weight=weights[val])
    assert found.table["name"].tolist() == ["logistic regression", "boosted trees"]
    np.testing.assert_allclose(found.scores, [best_without(linear), trees], atol=1e-6)


@pytest.mark.nightly
def test_real_targets_and_the_loss_as_metric():
    X, y = samples(classes=0)
    results = swept((X, np.stack([y, -2 * y], axis=1)))
    found = references(results)
    splits, linear, trees = results.design.splits, np.empty((5, 4)), np.empty(4)
    for fold in range(4):
        train, val = splits.train[fold] > 0, splits.val[fold] > 0
        scaler = StandardScaler().fit(X[train])
        for k, alpha in enumerate(STRENGTHS["ridge regression"]):
            model = Ridge(alpha=alpha).fit(scaler.transform(X[train]), y[train])
            linear[k, fold] = r2_score(y[val], model.predict(scaler.transform(X[val])))
        model = HistGradientBoostingRegressor(random_state=0).fit(X[train], y[train])
        trees[fold] = r2_score(y[val], model.predict(X[val]))
    # Both outputs say the same, and R² has no unit; the trees' bins are those of other numbers.
    np.testing.assert_allclose(found.scores[0], best_without(linear), atol=1e-6)
    np.testing.assert_allclose(found.scores[1], trees, atol=0.02)
    X, y = samples()
    results = swept((X, y))
    found = references(results, regjax.Questions(metric="val_loss"))
    for fold in range(4):
        train, val = results.design.splits.train[fold] > 0, results.design.splits.val[fold] > 0
        model = HistGradientBoostingClassifier(random_state=0).fit(X[train], y[train])
        assert found.scores[1, fold] == pytest.approx(log_loss(y[val], model.predict_proba(X[val])), rel=1e-5)


@pytest.mark.nightly
def test_counts_have_poisson_models():
    X, y = samples(classes=0)
    counts = np.random.default_rng(1).poisson(np.exp(y / 4))
    results = swept((X, counts), config={"loss": "poisson"})
    found = references(results, regjax.Questions(metric="val_r2"))
    assert found.table["name"].tolist() == ["Poisson regression", "boosted trees"]
    train, val = results.design.splits.train[0] > 0, results.design.splits.val[0] > 0
    model = HistGradientBoostingRegressor(loss="poisson", random_state=0).fit(X[train], counts[train])
    assert found.scores[1, 0] == pytest.approx(r2_score(counts[val], model.predict(X[val])), abs=1e-6)
    scaler = StandardScaler().fit(X[train])
    of_strengths = [
        r2_score(counts[val], PoissonRegressor(alpha=alpha, max_iter=300)
                 .fit(scaler.transform(X[train]), counts[train]).predict(scaler.transform(X[val])))
        for alpha in STRENGTHS["Poisson regression"]
    ]  # fmt: skip
    assert np.abs(np.array(of_strengths) - found.scores[0, 0]).min() < 1e-4


@pytest.mark.nightly
def test_classes_have_the_weights_that_the_networks_have():
    X, y = samples()
    y = (y * (np.arange(len(y)) % 3 == 0)).astype(int)
    results = swept((X, y), config={"class_weight": "balanced"})
    found = references(results, regjax.Questions(metric="val_balanced_accuracy"))
    plain = references(swept((X, y)), regjax.Questions(metric="val_balanced_accuracy"))
    assert found.scores[0].mean() > plain.scores[0].mean()
    train, val = results.design.splits.train[1] > 0, results.design.splits.val[1] > 0
    scaler = StandardScaler().fit(X[train])
    model = LogisticRegression(C=1, max_iter=300, class_weight="balanced")
    right = model.fit(scaler.transform(X[train]), y[train]).predict(scaler.transform(X[val])) == y[val]
    recall = np.mean([right[y[val] == label].mean() for label in (0, 1)])
    from regjax.engine import references as module

    scores = [
        module.score_of(_whole(p, val), results.design, "sigmoid_cross_entropy", 1, "balanced_accuracy")
        for p in module._linear(results.design, 1, "logistic regression")
    ]
    assert scores[2] == pytest.approx(recall, abs=1e-6)


def _whole(predictions, held):
    mean = np.zeros((len(predictions), len(held)))
    mean[:, held] = predictions
    return mean


@pytest.mark.nightly
def test_trees_see_gaps_and_categories_of_a_table_and_the_linear_model_its_inputs():
    frame = mixed()
    results = regjax.sweep(frame, CONFIG, GRID, target="y", folds=3, progress=False, keep="none")
    found = references(results)
    design = results.design
    assert np.isfinite(found.scores).all()
    # A column whose levels alone say the class, in an order that no threshold separates.
    levels = np.array(list("abcdefgh"))[np.arange(160) % 8]
    table = pd.DataFrame({"level": levels, "noise": np.random.default_rng(0).normal(size=160)})
    table["y"] = np.isin(levels, ["a", "c", "f", "g"])
    results = regjax.sweep(table, CONFIG, GRID, target="y", folds=4, progress=False, keep="none")
    np.testing.assert_array_equal(references(results).scores, 1)
    assert design.coded


@pytest.mark.slow
def test_the_network_is_chosen_without_the_fold_that_scores_it():
    results = swept(samples(), grid={"l2": [0.0, 0.1, 1, 10, 100], "learning_rate": 0.03})
    found = references(results)
    choice = results.best()
    assert found.network.mean() == pytest.approx(choice.corrected, abs=1e-12)
    table = found.table.to_dict("records")[0]
    differences = found.network - found.scores[0]
    assert table["difference"] == pytest.approx(differences.mean())
    splits = results.design.splits
    ratio = splits.num_val.mean() / splits.num_train.mean()
    assert table["se"] == pytest.approx(np.sqrt(np.var(differences, ddof=1) * (1 / 4 + ratio)))
    assert table["low"] < table["difference"] < table["high"]
    assert "; the chosen network less it: " in table["sentence"]
    assert "over 4 folds × 2 seeds (t, 3 df)" in str(found)


@pytest.mark.slow
def test_one_split_has_numbers_alone():
    results = swept(samples(), folds=None, validation=0.3)
    found = references(results)
    assert found.scores.shape == (2, 1)
    assert found.network == pytest.approx(results.units("val_accuracy")[results.best().index].mean())
    assert np.isnan(found.table["se"].to_numpy()).all()
    assert "[" not in found.table["sentence"][0]
    assert "their scores are optimistic" in str(found)
    # A single configuration was chosen elsewhere.
    alone = references(swept(samples(), {"l2": 0.01, "learning_rate": 0.03}, folds=None, validation=0.3))
    assert "On one split the strength of a linear model is chosen" in str(alone)


@pytest.mark.nightly
def test_a_training_part_of_one_class_and_a_class_that_it_lacks():
    X, y = samples(60, classes=3)
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(40), np.arange(40, 60))]
    results = swept((X, y), folds=folds)
    found = references(results)
    np.testing.assert_array_equal(found.scores[:, 0], 0)
    np.testing.assert_array_equal(found.scores[:, 1], 0)


@pytest.mark.nightly
def test_what_cannot_be_answered_is_said():
    X, y = samples()
    with pytest.raises(ValueError, match="samples held out from training"):
        references(swept((X, y), folds=None))
    results = swept((X, y))
    with pytest.raises(ValueError, match=r"at most 0\.0 s, and would take about"):
        references(results, most_seconds=0)
    two = swept((X, y), folds=2)
    with pytest.raises(ValueError, match="at least 3 folds, to choose without the one that scores, got 2"):
        references(two, regjax.Questions(rule="one_se"))
    diverged = swept((X, y), grid={"l2": [0, 0.1], "learning_rate": 1e30}, config={"optimizer": "sgd"})
    with pytest.raises(ValueError, match="diverged"):
        references(diverged)
    design = dataclasses.replace(
        results.design, configs=tuple(dataclasses.replace(c, class_weight="balanced")
                                      for c in results.design.configs)
    )  # fmt: skip
    assert predicted_seconds(design) > predicted_seconds(results.design)
