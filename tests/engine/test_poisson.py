"""Sweeps with the loss poisson: what they record and predict, their models, and what they refuse."""

import functools

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance, r2_score, root_mean_squared_error

import regjax

CONFIG = {"hidden": (), "loss": "poisson", "num_steps": 300, "eval_every": 100, "dtype": "float64"}
SLOPE = np.array([0.6, -0.4, 0.2])


@functools.cache
def counts(n=120):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, rng.poisson(np.exp(1 + X @ SLOPE))


@functools.cache
def swept(**options):
    asked = {"folds": 3, "seeds": 2, "progress": False, "keep": "all", "standardize": False} | options
    return regjax.sweep(counts(), CONFIG, {"learning_rate": [0.03, 0.1]}, **asked)


def test_whole_numbers_are_counts_and_the_metrics_are_of_predictions():
    X, y = counts()
    results = swept()
    design = results.design
    assert design.classes is None
    assert design.configs[0].layer_sizes == (3, 1)
    assert design.metric == "val_r2"
    assert design.in_units("val_loss") == "validation loss (nats)"
    assert design.in_units("val_rmse") == "validation root mean squared error (units of the target)"
    row = design.index(1, 1, 2)
    held_out = design.splits.val[2] > 0
    predicted = results.predict(row, X)
    assert (predicted > 0).all()
    values = {metric: results.values(f"val_{metric}")[row] for metric in ("loss", "r2", "rmse")}
    of_y = y[held_out], predicted[held_out]
    assert values["loss"] == pytest.approx(mean_poisson_deviance(*of_y) / 2, rel=1e-6)
    assert values["r2"] == pytest.approx(r2_score(*of_y), rel=1e-6)
    assert values["rmse"] == pytest.approx(root_mean_squared_error(*of_y), rel=1e-6)


def test_without_hidden_units_it_is_poisson_regression():
    X, y = counts()
    results = regjax.sweep(
        (X, y),
        CONFIG | {"num_steps": 2000},
        {"l2": 12.0, "learning_rate": 0.05},
        standardize=False,
        progress=False,
    )
    glm = PoissonRegressor(alpha=12.0 / len(y), tol=1e-10).fit(X, y)
    (layer,) = results.params(0)
    np.testing.assert_allclose(layer.w[0], glm.coef_, rtol=1e-6)
    np.testing.assert_allclose(results.predict(0, X), glm.predict(X), rtol=1e-6)


def test_the_mean_of_several_is_that_of_their_predictions():
    X, y = counts()
    results = swept()
    design = results.design
    each = [[results.predict(design.index(0, seed, fold), X) for seed in range(2)] for fold in range(3)]
    np.testing.assert_allclose(results.predict(0, X, ensemble=True), np.mean(each, axis=(0, 1)), rtol=1e-12)
    mean = np.mean(each[0], axis=0)
    held_out = design.splits.val[0] > 0
    assert results.ensemble("val_r2")[0, 0] == pytest.approx(r2_score(y[held_out], mean[held_out]), rel=1e-6)


def test_a_model_its_files_and_its_pipeline_predict_alike(tmp_path):
    X, _ = counts()
    model = regjax.refit(swept(), seeds=[0, 1])
    predicted = model.predict(X)
    assert (predicted > 0).all()
    np.testing.assert_array_equal(
        regjax.load_model(regjax.save_model(model, tmp_path / "m")).predict(X), predicted
    )
    pipeline = regjax.fit(swept(), ensemble=[0, 1])
    np.testing.assert_allclose(pipeline.predict(X), predicted, rtol=1e-12)
    one = regjax.fit(swept())
    assert one[-1].loss == "poisson"
    assert one[-1].out_activation_ == "exp"


def test_a_file_of_onnx_predicts_alike(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    X, _ = counts()
    model = regjax.refit(swept(), seeds=[0, 1])
    regjax.export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    np.testing.assert_allclose(session.run(None, {"X": X})[0].squeeze(-1), model.predict(X), rtol=1e-5)


def test_a_table_of_counts_is_not_standardised():
    X, y = counts()
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=y)
    options = {"target": "y", "folds": 2, "progress": False}
    results = regjax.sweep(frame, CONFIG, {"l2": 0.1}, **options)
    assert results.design.standardize
    assert not results.design.standardize_target
    with pytest.raises(
        ValueError, match="standardize_target must be used with squared_error, got loss poisson"
    ):
        regjax.sweep(frame, CONFIG, {"l2": 0.1}, **options, standardize_target=True)


@pytest.mark.parametrize(
    ("y", "config", "grid", "words"),
    [
        (-1.5, {}, {}, r"y must be >= 0 for loss poisson, got -1\.5"),
        (2.0, {"class_weight": "balanced"}, {}, "class_weight must be used with classes, got real targets"),
        (2.0, {}, {"label_smoothing": 0.1}, "label_smoothing must be used with classes, got loss poisson"),
        (2.0, {}, {"confidence_penalty": 0.1}, "confidence_penalty must be used with classes"),
        (np.nan, {}, {}, "y must have no gaps"),
    ],
)
def test_what_does_not_go_with_poisson_is_refused(y, config, grid, words):
    X, counted = counts()
    targets = counted.astype(float)
    targets[7] = y
    with pytest.raises(ValueError, match=words):
        regjax.sweep((X, targets), CONFIG | config, {"l2": 0.1} | grid, folds=2, progress=False)


@pytest.mark.slow
def test_classes_are_no_counts():
    X, y = counts()
    options = {"folds": 2, "progress": False}
    with pytest.raises(ValueError, match="task must be regression for loss poisson, got 'classification'"):
        regjax.sweep((X, y + 1), CONFIG, {"l2": 0.1}, task="classification", **options)
    with pytest.raises((TypeError, ValueError), match="y must"):
        regjax.sweep((X, np.where(y > 2, "many", "few")), CONFIG, {"l2": 0.1}, **options)
