"""The model file: what is read is what was written, everywhere; a damaged or foreign file is refused."""

import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_models import CONFIG, LABELS, fitted, mixed, unseen
from sweeps import points

import regjax
from regjax.store import model_file


@pytest.mark.parametrize("targets", [*LABELS, "real"])
def test_what_is_read_is_what_was_written(tmp_path, targets):
    model = fitted(targets, 2)
    path = regjax.save_model(model, tmp_path / "model")
    assert path == tmp_path / "model" / "model.safetensors"
    for given_path in (path, path.parent, str(path.parent) + "/"):
        found = regjax.load_model(given_path)
        np.testing.assert_array_equal(found.predict(unseen()), model.predict(unseen()))
        assert found.predict(unseen()).dtype == model.predict(unseen()).dtype
    for name in ("config", "loss", "schema", "named", "target_scale", "chosen", "training"):
        assert getattr(found, name) == getattr(model, name), name
    assert dict(found.versions) == dict(model.versions)
    np.testing.assert_array_equal(found.target_mean, model.target_mean)
    assert model_file.as_bytes(found)[:8] == path.read_bytes()[:8]


@pytest.mark.nightly
def test_weights_of_classes_layers_and_arrays_are_kept(tmp_path):
    X, y = points(50, 3)
    config = CONFIG | {"hidden": (4, 3), "class_weight": (1.0, 2.0), "dtype": "float64", "optimizer": "sgd"}
    grid = {"keep_prob": [(0.9, 0.8)], "l2": 0.1, "l1": [(0.1, 0, 0.2)]}
    model = regjax.refit(regjax.sweep((X, y), config, grid, folds=2, standardize=True, progress=False))
    found = regjax.load_model(regjax.save_model(model, tmp_path / "m.safetensors"))
    assert found.training == model.training
    assert found.training.configuration["keep_prob"] == (0.9, 0.8)
    assert found.config == model.config
    np.testing.assert_array_equal(found.predict_proba(X), model.predict_proba(X))


def test_any_program_reads_the_weights_and_nothing_is_pickled(tmp_path):
    path = regjax.save_model(fitted(), tmp_path)
    arrays = safetensors.numpy.load_file(path)
    assert arrays["networks/0/0"].shape == (5, 12)
    with safetensors.safe_open(path, "np") as file:
        stored = json.loads(file.metadata()["regjax"])
    assert stored["format"] == model_file.FORMAT
    assert stored["classes"]["values"] == ["no", "yes"]
    assert stored["versions"]["jax"]
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(path.read_bytes())


def test_a_file_is_replaced_whole_and_nothing_lies_beside_it(tmp_path, monkeypatch):
    path = regjax.save_model(fitted(), tmp_path / "m.safetensors")
    before = path.read_bytes()
    mask = os.umask(0o022)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask

    def fails(*paths):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="No space left"):
        regjax.save_model(fitted("three"), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


CONTENT = []


def content():
    """Returns the bytes of a model's file; made once."""
    if not CONTENT:
        CONTENT.append(model_file.as_bytes(fitted()))
    return CONTENT[0]


@settings(max_examples=300)
@given(st.data())
def test_damage_at_any_byte_is_refused(data):
    whole = content()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"is damaged|must be a model"):
        model_file.from_bytes(bytes(damaged))


@settings(max_examples=100)
@given(st.data())
def test_a_file_that_is_cut_or_longer_is_refused(data):
    whole = content()
    cut = data.draw(st.integers(0, len(whole) - 1))
    more = data.draw(st.binary(min_size=1, max_size=20))
    for wrong in (whole[:cut], whole + more, whole[:cut] + more + whole[cut:]):
        with pytest.raises(ValueError, match=r"is damaged|must be a model"):
            model_file.from_bytes(wrong)


def signed(change):
    """Returns the bytes of a model's file whose JSON was changed, with a checksum that fits."""
    with_header = content()
    length = int.from_bytes(with_header[:8], "little")
    header = json.loads(with_header[8 : 8 + length])
    stored = json.loads(header["__metadata__"]["regjax"])
    change(stored)
    header["__metadata__"] = {"regjax": json.dumps(stored), "regjax_checksum": "0" * 64}
    text = json.dumps(header, separators=(",", ":")).encode()
    return model_file._signed(len(text).to_bytes(8, "little") + text + with_header[8 + length :])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stored: stored.update(format=2), "must be a model of format 1, got 2, which another version"),
        (lambda stored: stored.pop("format"), "must be a model of format 1, got None"),
        (lambda stored: stored.pop("schema"), "must be a model of this version"),
        (lambda stored: stored["config"].update(new=1), "must be a model of this version"),
        (lambda stored: stored["training"].update(seeds=[0, 1]), "must be a model of this version"),
    ],
)
def test_other_versions_are_refused_in_one_sentence_that_names_the_file(tmp_path, change, words):
    path = tmp_path / "m.safetensors"
    path.write_bytes(signed(change))
    with pytest.raises(ValueError, match=words) as caught:
        regjax.load_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "foreign", [b"", b"a,b\n1,2\n", b"\x00" * 100, pickle.dumps([1]), "other safetensors"]
)
def test_foreign_files_are_refused(tmp_path, foreign):
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors.numpy.save({"w": np.eye(2)}) if isinstance(foreign, str) else foreign)
    with pytest.raises(ValueError, match=re.escape(f"{path}: must be a model, which `regjax fit` and")):
        regjax.load_model(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        regjax.load_model(tmp_path)
    with pytest.raises(ValueError, match="model must have a path, got ''"):
        regjax.load_model("")


ELSEWHERE = """
import sys, jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "bfloat16")
jax.config.update("jax_default_prng_impl", "rbg")
jax.config.update("jax_numpy_dtype_promotion", "strict")
import pandas as pd, regjax
frame = pd.read_pickle(sys.argv[2])
np.save(sys.argv[3], regjax.load_model(sys.argv[1]).predict_proba(frame))
"""


@pytest.mark.nightly
def test_predictions_are_equal_in_a_process_with_other_settings(tmp_path):
    path, frame = regjax.save_model(fitted("three", 2), tmp_path), unseen()
    frame.to_pickle(tmp_path / "frame.pkl")
    words = [sys.executable, "-c", ELSEWHERE, path, tmp_path / "frame.pkl", tmp_path / "p.npy"]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), fitted("three", 2).predict_proba(frame))


def test_predictions_are_those_of_the_networks_of_the_sweep(tmp_path):
    frame = mixed("three")
    results = regjax.sweep(frame, CONFIG, {"l2": 0.1}, target="y", progress=False)
    found = regjax.load_model(regjax.save_model(regjax.refit(results), tmp_path))
    np.testing.assert_allclose(found.predict_proba(frame), results.predict_proba(0, frame), atol=1e-6)
    assert (found.predict(frame) == results.predict(0, frame)).all()
