"""ONNX files: predictions in onnxruntime are those of the model, from the columns as they stand."""

import sys

import numpy as np
import pandas as pd
import pytest
from cases import some_slow
from mixed_models import CONFIG, LABELS, fitted, mixed, swept, unseen
from sweeps import points

import regjax
from regjax.study.inference import ACTIVATIONS

onnxruntime = pytest.importorskip("onnxruntime")


def feed_of(session, frame):
    """Returns what a user feeds for a frame: strings for categories, doubles for the rest."""
    feed = {}
    for entry in session.get_inputs():
        column = frame[entry.name]
        if entry.type == "tensor(string)":
            cells = ["" if pd.isna(cell) else str(cell) for cell in column]
            feed[entry.name] = np.array(cells, object)[:, None]
            continue
        if pd.api.types.is_datetime64_any_dtype(column):
            column = (column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        feed[entry.name] = column.to_numpy(np.float64)[:, None]
    return feed


def check(model, frame, path, feed=None):
    """Compares the predictions of the file at a path with the model's."""
    regjax.export_onnx(model, path)
    session = onnxruntime.InferenceSession(path)
    found = session.run(None, feed_of(session, frame) if feed is None else feed)
    if model.classes is None:
        np.testing.assert_allclose(found[0].squeeze(-1), model.predict(frame), rtol=1e-5, atol=1e-5)
        return session
    labels, probabilities = found
    np.testing.assert_allclose(probabilities, model.predict_proba(frame), atol=1e-5)
    sure = np.abs(np.diff(np.sort(probabilities, axis=1)[:, -2:])[:, 0]) > 1e-5
    assert np.asarray(labels).tolist() == model.predict(frame).tolist() or not sure.all()
    return session


@pytest.mark.parametrize("targets", [*LABELS, "real"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_predictions_agree_with_gaps_rare_and_unseen_levels(tmp_path, targets, seeds):
    for frame in (unseen(), mixed(targets)):
        session = check(fitted(targets, seeds), frame, tmp_path / "m.onnx")
    assert [entry.name for entry in session.get_inputs()] == ["age", "large", "town", "flag", "when"]
    names = ["value"] if targets == "real" else ["label", "probabilities"]
    assert [entry.name for entry in session.get_outputs()] == names
    assert session.get_modelmeta().custom_metadata_map["target"] == "y"


@pytest.mark.nightly
@pytest.mark.sampled(2)
@pytest.mark.parametrize(("activation", "dtype"), some_slow(ACTIVATIONS, ["float32", "float64"], every=4))
def test_all_activations_agree(tmp_path, activation, dtype):
    model = fitted("three", 2, activation=activation, dtype=dtype, hidden=(6, 4))
    check(model, unseen(), tmp_path / "m.onnx")


@pytest.mark.nightly
def test_rare_levels_of_the_training_rows_share_an_input(tmp_path):
    frame = mixed(n=1200)
    model = regjax.refit(regjax.sweep(frame, CONFIG, target="y", progress=False))
    town = next(column for column in model.schema.kept if column.name == "town")
    assert not town.rare
    rarer = pd.concat([frame, frame.iloc[:4].assign(town=["Moss", "Moss", "Mo", "Mo"])], ignore_index=True)
    model = regjax.refit(regjax.sweep(rarer, CONFIG, target="y", progress=False))
    assert next(column for column in model.schema.kept if column.name == "town").rare == ("Mo", "Moss")
    check(model, rarer, tmp_path / "m.onnx")


@pytest.mark.nightly
def test_arrays_have_one_input(tmp_path):
    X, y = points(40, 3, 3)
    model = regjax.refit(regjax.sweep((X, y), CONFIG, folds=2, standardize=True, progress=False))
    session = check(model, X, tmp_path / "m.onnx", {"X": X})
    assert session.get_inputs()[0].shape == ["n", 3]


def test_columns_with_the_names_of_outputs_keep_them(tmp_path):
    X, y = points(40, 2)
    frame = pd.DataFrame(X, columns=["label", "probabilities"]).assign(y=y)
    model = regjax.refit(regjax.sweep(frame, CONFIG, folds=2, progress=False))
    session = check(model, frame, tmp_path / "m.onnx")
    assert [entry.name for entry in session.get_outputs()] == ["label_", "probabilities_"]


def test_scaled_targets_and_several_outputs_agree(tmp_path):
    import dataclasses

    X, _ = points(40, 3)
    results = regjax.sweep((X, X[:, :2]), CONFIG, {"learning_rate": 0.05}, folds=2, progress=False)
    model = dataclasses.replace(regjax.refit(results), target_mean=np.array([50.0, -3.0]), target_scale=10.0)
    regjax.export_onnx(model, tmp_path / "m.onnx")
    (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"X": X})
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-5)


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'regjax\[onnx\]'"):
        regjax.export_onnx(fitted(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    assert swept().design.num_folds == 3
