"""The predictions of a model: by name, of any order, in the user's labels and units."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest
from cases import some_slow
from mixed_models import CONFIG, LABELS, fitted, mixed, swept, unseen
from sweeps import points

import regjax
from regjax.core import mlp
from regjax.core.config import REAL_LOSSES
from regjax.core.settings import own_settings
from regjax.study import inference
from regjax.study import model as model_module


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "dtype"), some_slow(inference.ACTIVATIONS, ["float32", "float64"], every=4)
)
def test_networks_in_numpy_are_those_of_the_core(activation, dtype):
    rng = np.random.default_rng(0)
    with own_settings(dtype):
        for outputs, loss in (
            (1, "sigmoid_cross_entropy"),
            (3, "softmax_cross_entropy"),
            (2, "squared_error"),
            (2, "poisson"),
        ):
            params = mlp.init_params(regjax.replicate_key(0), (4, 6, 5, outputs), init="glorot", dtype=dtype)
            x = (3 * rng.standard_normal((4, 50))).astype(dtype)
            found = inference.network_outputs(params, x, regjax.Config(activation=activation), loss)
            if loss in REAL_LOSSES:
                wanted = mlp.predict(params, x, loss=loss, activation=activation)
            else:
                wanted = mlp.predict_proba(params, x, loss=loss, activation=activation)
            wanted = np.asarray(wanted).T
            if outputs == 1:
                wanted = np.hstack([1 - wanted, wanted])
            assert found.dtype == dtype
            if loss == "poisson":  # their logarithms are the sums of products that the others are
                found, wanted = np.log(found), np.log(wanted)
            np.testing.assert_allclose(found, wanted, atol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("targets", LABELS)
def test_labels_are_the_users(targets):
    frame, model = mixed(targets), fitted(targets)
    labels = model.predict(frame)
    assert set(labels.tolist()) <= set(LABELS[targets])
    assert model.classes is not None
    assert model.classes.tolist() == LABELS[targets]
    probabilities = model.predict_proba(frame)
    assert probabilities.shape == (len(frame), len(LABELS[targets]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (labels == model.classes[probabilities.argmax(axis=1)]).all()
    assert np.mean(labels == frame["y"].to_numpy()) > 0.6


def test_a_regression_predicts_in_the_unit_of_the_targets():
    frame, model = mixed("real"), fitted("real")
    assert model.classes is None
    found = model.predict(frame)
    assert found.shape == (len(frame),)
    assert np.corrcoef(found, frame["y"])[0, 1] > 0.7
    with pytest.raises(ValueError, match="predict_proba must have a model of classes, got a regression"):
        model.predict_proba(frame)
    scaled = dataclasses.replace(
        model, target_mean=2 * model.target_mean + 5, target_scale=2 * model.target_scale
    )
    np.testing.assert_allclose(scaled.predict(frame), 2 * found + 5)


def test_several_outputs_are_columns():
    X, _ = points(40, 3)
    Y = np.stack([X[:, 0], X[:, 1] - X[:, 2]], axis=1)
    model = regjax.refit(
        regjax.sweep((X, Y), CONFIG, {"learning_rate": 0.05}, folds=2, progress=False), seeds=2
    )
    assert model.predict(X).shape == (40, 2)


def test_columns_are_found_by_name_in_any_order():
    frame, model = unseen(), fitted()
    wanted = model.predict_proba(frame)
    np.testing.assert_array_equal(model.predict_proba(frame[frame.columns[::-1]]), wanted)
    whole = frame.assign(number=0, y="no")  # a column that was left out, and the target
    np.testing.assert_array_equal(model.predict_proba(whole), wanted)
    as_polars = polars.DataFrame(
        {name: frame[name].where(frame[name].notna(), None).to_list() for name in frame}
    )
    np.testing.assert_array_equal(model.predict_proba(as_polars), wanted)
    one_by_one = [model.predict_proba(frame.iloc[[row]])[0] for row in range(10)]
    np.testing.assert_allclose(one_by_one, wanted[:10], atol=1e-6)


def test_a_column_without_values_is_all_gaps():
    frame, model = unseen(), fitted()
    for empty in (np.nan, None, ""):
        column = pd.Series([empty] * len(frame), dtype=object)
        found = model.predict_proba(frame.assign(age=column, town=column))
        wanted = model.predict_proba(frame.assign(age=np.nan, town=None))
        np.testing.assert_array_equal(found, wanted)


def test_dates_and_levels_are_read_as_in_the_training_table():
    frame = pd.DataFrame(
        {"day": ["25/12/2023", "01/02/2024", "02/02/2024", "3/2/2024"], "code": ["01", "1.50", "A", "A"]}
    )
    frame = pd.concat([frame] * 10, ignore_index=True).assign(y=["no", "yes"] * 20)
    model = regjax.refit(regjax.sweep(frame, CONFIG, target="y", progress=False))
    rows = model.rows(frame[["day", "code"]])
    # Alone, 01/02/2024 may be January, and 01 and 1.50 are numbers.
    for day, code in (("01/02/2024", 1.5), ("2024-02-01", "1.50"), (pd.Timestamp("2024-02-01"), 1.5)):
        alone = pd.DataFrame({"day": [day], "code": [code]})
        assert model.rows(alone).tolist() == [rows[1].tolist()]
    with pytest.raises(ValueError, match="must hold dates as day/month/year, got '12/30/2024' in row 0"):
        model.predict(pd.DataFrame({"day": ["12/30/2024"], "code": ["A"]}))


def test_levels_and_gaps_that_are_new_are_said():
    frame, model = unseen(), fitted()
    frame["flag"] = frame["flag"].astype(object)
    frame.loc[[5, 6, 7, 8], ["flag", "large"]] = None
    assert model.notes(model.rows(frame)) == (
        "large has a gap, and has none in the training table: filled with the median, in row 5 (counted "
        "from 0), row 6 (counted from 0), row 7 (counted from 0) and 1 more",
        "town has a level that the training table does not have: none of its inputs is 1, in row 0 (counted "
        "from 0)",
        "flag has a gap, and has none in the training table: none of its inputs is 1, in row 5 (counted "
        "from 0), row 6 (counted from 0), row 7 (counted from 0) and 1 more",
    )
    assert model.notes(model.rows(mixed())) == ()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda frame: frame.drop(columns="age"), ValueError, "must have the columns .* lacks 'age'"),
        (lambda frame: frame.rename(columns={"age": "Age"}), ValueError, "is 'Age' meant?"),
        (lambda frame: frame.assign(more=1), ValueError, "got 'more' besides"),
        (lambda frame: frame.assign(age="old"), ValueError, "'age' must hold numbers, got 'old' in row 0"),
        (lambda frame: frame.assign(age=np.inf), ValueError, "'age' must be finite, got inf in row 0"),
        (lambda frame: frame.to_numpy(), TypeError, "X must be a frame of pandas or polars"),
    ],
)
def test_other_columns_are_refused(change, error, words):
    with pytest.raises(error, match=words):
        fitted().predict(change(unseen()))


def test_arrays_have_their_own_checks():
    X, y = points(40, 3)
    model = regjax.refit(regjax.sweep((X, y), CONFIG, {"l2": 0.1}, folds=2, standardize=True, progress=False))
    assert not model.named
    assert model.predict(X).shape == (40,)
    assert model.predict(X[:0]).shape == (0,)
    assert model.predict_proba(X[:0]).shape == (0, 2)
    for bad, error, words in (
        (X[:, :2], ValueError, r"X must be \(n_samples, 3\), got shape \(40, 2\)"),
        (X.astype(str), TypeError, "X must hold numbers"),
        (
            np.where(np.arange(120).reshape(40, 3) == 10, np.nan, X),
            ValueError,
            "X must be finite, got nan in sample 3, feature 1",
        ),
    ):
        with pytest.raises(error, match=words):
            model.predict(bad)


def test_plain_tables_take_frames_arrays_and_gaps():
    X, y = points(60, 2)
    frame = pd.DataFrame(X, columns=["a", "b"])
    results = regjax.sweep((frame, y), CONFIG, {"l2": 0.1}, folds=2, progress=False)
    model = regjax.refit(results)
    np.testing.assert_array_equal(model.predict_proba(frame), model.predict_proba(X))
    np.testing.assert_array_equal(
        model.predict_proba(frame.assign(a=np.nan)), model.predict_proba(frame.assign(a=np.median(X[:, 0])))
    )


def test_blocks_of_rows_change_nothing(monkeypatch):
    frame, model = unseen(), fitted()
    wanted = model.predict_proba(frame)
    monkeypatch.setattr(model_module, "BLOCK", 7)
    places = [place for place, _ in model.in_blocks(model.rows(frame))]
    assert (places[0], places[-1]) == (slice(0, 7), slice(35, 40))
    np.testing.assert_allclose(model.predict_proba(frame), wanted, atol=1e-6)


def test_a_model_says_what_it_is():
    assert repr(fitted(seeds=2)) == f"<regjax.Model: 2 networks of 12-5-1 units ({fitted().chosen.words})>"
    assert set(fitted().versions) >= {"regjax", "jax", "numpy"}
    assert swept().design.schema == fitted().schema


@pytest.mark.nightly
def test_the_page_about_models_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(regjax.__file__).parents[1] / "docs" / "models.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "docs/models.md", "exec"), {})
    assert (tmp_path / "model" / "model.safetensors").is_file()
