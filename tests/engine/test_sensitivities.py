"""Sensitivities of a sweep: against one network's hypergradient, differences of sweeps, and bad input."""

import concurrent.futures
import dataclasses
import json

import command_line
import jax
import numpy as np
import pytest

import regjax
from regjax.engine.sensitivities import in_work

pytestmark = pytest.mark.slow
CONFIG = {"num_steps": 40, "eval_every": 20, "activation": "tanh", "hidden": (6, 3), "dtype": "float64"}
GRID = regjax.grid(l2=[0, 0.5], keep_prob=[1, 0.8], learning_rate=[0.1])


def swept(data="two_regions", config=CONFIG, grid=GRID, **options):
    options = {"folds": 3, "seeds": 2, "progress": False, "kernel": "xla"} | options
    return regjax.sweep(data, config, grid, **options)


@pytest.fixture(scope="module")
def results():
    return swept()


@pytest.fixture(scope="module")
def found(results):
    return regjax.sensitivities(results, ("l2", "keep_prob", "learning_rate"))


def test_the_networks_are_those_of_the_sweep(results, found):
    np.testing.assert_array_equal(found.loss, results.values("val_loss"))


@pytest.mark.parametrize("fields", [{}, {"batch_size": 32, "optimizer": "adam"}], ids=["sgd", "adam"])
def test_a_row_has_the_derivative_of_central_differences(fields):
    config = CONFIG | fields
    rate = 0.1 if not fields else 0.01
    by = 1e-5
    grid = regjax.grid(l2=[0.5 - by, 0.5, 0.5 + by], learning_rate=[rate])
    results = swept(config=config, grid=grid)
    low, _, high = results.table("val_loss").reshape(3, -1)
    found = regjax.sensitivities(results, ("l2", "learning_rate"))
    at = found.gradient[:, 0].reshape(3, -1)[1]
    np.testing.assert_allclose(at, (high - low) / (2 * by), rtol=1e-6, atol=1e-9)
    assert (found.by_logarithm("l2").reshape(3, -1)[1] == 0.5 * at).all()


def test_what_is_off_has_none(results, found):
    off = np.repeat([each["keep_prob"] == 1 for each in results.design.configurations], 6)
    assert np.isnan(found.gradient[off, 1]).all()
    assert np.isfinite(found.gradient[~off, 1]).all()
    assert np.isfinite(found.gradient[:, [0, 2]]).all()
    columns = found.columns()
    assert list(columns) == ["d_l2", "dlog_l2", "d_keep_prob", "d_learning_rate", "dlog_learning_rate"]
    summary = found.summary()
    assert summary["networks"].tolist() == [6] * 4
    assert summary["d_keep_prob"].isna().tolist() == [True, False, True, False]
    np.testing.assert_allclose(summary["d_l2"], found.gradient[:, 0].reshape(4, 6).mean(axis=1))
    assert summary["same_sign_keep_prob"].isna().tolist() == [True, False, True, False]
    assert "NaN" not in str(found)


def test_the_share_of_networks_with_the_sign_of_the_mean(found):
    gradient, loss = found.gradient.copy(), found.loss.copy()
    gradient[:6, 0] = 5, 1, -1, -1, -1, np.inf  # the infinite one is in no mean, and of another sign
    gradient[6:12, 0] = -3, -1, -2, -1, 1, 9
    loss[11] = np.inf  # diverged: it counts nowhere
    gradient[12:18, 0] = np.nan
    some = dataclasses.replace(found, gradient=gradient, loss=loss)
    summary = some.summary()
    assert summary["networks"].tolist() == [6, 5, 6, 6]
    np.testing.assert_allclose(summary["d_l2"][:2], [3 / 5, -6 / 5])
    np.testing.assert_allclose(summary["same_sign_l2"][:3], [2 / 6, 4 / 5, np.nan])
    signs = np.sign(some.gradient[18:, 0])
    assert summary["same_sign_l2"][3] == np.mean(signs == np.sign(some.gradient[18:, 0].mean()))
    assert list(summary)[-3:] == ["d_learning_rate", "dlog_learning_rate", "same_sign_learning_rate"]
    assert "same_sign_: share of the networks" in str(some)


@pytest.mark.parametrize("splits", [{}, {"folds": None, "validation": 0.3}], ids=["folds", "validation"])
def test_real_targets_are_in_their_own_unit(splits):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 3))
    y = 100 * (x[:, 0] + x[:, 1] ** 2) + 1_000
    by, options = 1e-5, {"standardize": True, "standardize_target": True} | splits
    grid = regjax.grid(l2=[0.5 - by, 0.5, 0.5 + by], learning_rate=[0.05])
    results = swept((x, y), grid=grid, **options)
    found = regjax.sensitivities(results, ("l2",))
    assert np.isfinite(found.loss).all()
    assert found.loss.min() > 100, "squared units of the target"
    np.testing.assert_allclose(found.loss, results.values("val_loss"), rtol=1e-12)
    low, _, high = results.table("val_loss").reshape(3, -1)
    at = found.gradient[:, 0].reshape(3, -1)[1]
    np.testing.assert_allclose(at, (high - low) / (2 * by), rtol=1e-5)


def test_derivatives_of_chaotic_trainings_are_said(found):
    assert "note:" not in str(found)
    steep = found.gradient.copy()
    steep[-2:, 0] = 1e9, np.nan
    words = str(dataclasses.replace(found, gradient=steep)).splitlines()[-1]
    assert words.startswith(f"note: in 2 of {len(steep)} networks a change by 1 %")
    one = dataclasses.replace(
        found, gradient=np.where(np.arange(len(steep))[:, None] == 0, 1e9, found.gradient)
    )
    assert f"note: in 1 of {len(steep)} networks" in str(one)


def test_a_network_that_diverges_is_left_out():
    results = swept(
        config=CONFIG | {"activation": "relu"}, grid=regjax.grid(l2=0.5, learning_rate=[0.1, 1e30])
    )
    found = regjax.sensitivities(results, ("l2",))
    assert np.isfinite(found.gradient[:6]).all()
    assert np.isnan(found.gradient[6:]).all()
    assert found.summary()["networks"].tolist() == [6, 0]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("dropconnect_keep_prob",), {}, "dropconnect_keep_prob is off in every configuration"),
        (("swap_noise",), {}, "with a derivative; swap_noise has none"),
        (("depth",), {}, "got 'depth'"),
        (("l2",), {"folds": None}, "nothing is held out"),
        (("l2",), {"grid": regjax.grid(patience=20, l2=0.1)}, "without early stopping"),
    ],
)
def test_bad_input_is_one_line(names, options, message):
    results = swept(seeds=1, **options)
    with pytest.raises(ValueError, match=message) as error:
        regjax.sensitivities(results, names)
    assert "\n" not in str(error.value)


def test_the_command_line_writes_them_as_columns(tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    words = ["sweep", "two_regions", "--l2", "0,0.5", "--steps", "40", "--hidden", "4", "--folds", "3"]
    words += ["--no-store", "--seeds", "1", "--sensitivities", "l2,learning_rate"]
    assert "Derivatives of the validation loss" in command_line.regjax(*words).stdout
    table = pd.read_csv("regjax-sweep/results.csv")
    assert np.isfinite(table[["d_l2", "dlog_l2", "d_learning_rate", "dlog_learning_rate"]]).all(axis=None)
    assert len(json.loads(command_line.regjax(*words, "--json").stdout)["sensitivities"]) == 2
    for text in ("keep_prob", "l2, keep-prob"):
        wrong = command_line.regjax(*words[:-1], text)
        assert wrong.returncode == 2
        assert "keep_prob is off in every configuration" in wrong.stderr
    for text, end in (("", "got ''"), ("lr", "got 'lr'; did you mean learning_rate?")):
        error = command_line.regjax(*words[:-1], text).stderr
        assert f"--sensitivities must be hyperparameters, e.g. l2, learning_rate, {end}" in error


def test_one_network_of_a_sweep_is_that_of_hypergradient():
    results = swept(grid=regjax.grid(l2=[0.5], learning_rate=[0.1]), folds=None, validation=0.3, seeds=1)
    found = regjax.sensitivities(results, ("l2",))
    design = results.design
    config, hparams = design.configs[0], design.hparams[0]
    train, held_out = (
        design.padded._replace(weights=weights) for weights in design.weights(design.row(0))[:2]
    )
    alone = regjax.hypergradient(
        regjax.replicate_key(0), hparams, train, held_out, config=config, names=("l2",)
    )
    assert found.gradient[0, 0] == pytest.approx(float(np.sum(np.asarray(alone.gradient["l2"]))), rel=1e-9)
    assert jax.config.jax_enable_x64 is False


def test_few_chunks_are_in_work_at_a_time():
    made, ahead, found = [], [], []

    def calls():
        for number in range(9):
            made.append(number)
            ahead.append(len(made) - len(found))
            yield lambda number=number: number

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for value in in_work(pool, calls(), 3):
            found.append(value)
    assert sorted(found) == list(range(9))
    assert max(ahead) == 3


def test_progress_is_reported_and_a_report_that_raises_ends_the_work(results):
    seen = []

    def stop(progress):
        seen.append(progress)
        raise KeyboardInterrupt

    regjax.sensitivities(results, ("l2",), progress=seen.append)
    assert [progress.done for progress in seen] == sorted({progress.done for progress in seen})
    assert str(seen[-1]) == f"{len(results)} of {len(results)} networks differentiated"
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        regjax.sensitivities(results, ("l2",), progress=stop)
    assert len(seen) == 1
