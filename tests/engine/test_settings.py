"""A user's settings of JAX change no number and break nothing.

All are made in this process, one after the other. Programs then compile once for each kind of work, except
under the few settings that are left as they are.
"""

import os
import re
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from cases import slow_but
from sklearn.datasets import load_iris

import regjax
from regjax.data.loaders import load
from regjax.engine.replay import replay
from regjax.report import page
from regjax.tutorial.experiment import Settings, run_experiment
from regjax.tutorial.figures import decision_boundaries

pytestmark = [pytest.mark.bits, pytest.mark.filterwarnings("ignore:Stochastic Optimizer")]

X, Y = load_iris(return_X_y=True)
CONFIG = {"hidden": (8,), "num_steps": 40, "eval_every": 20, "batch_size": 16}
# Everything that draws: initial weights, batches, partners and their shares, noise, masks.
GRID = {"mixup": [0, 0.5], "keep_prob": [1, 0.8], "input_noise": 0.1, "swap_noise": 0.1}
SETTINGS = [
    ("jax_default_prng_impl", "rbg"),
    ("jax_default_prng_impl", "unsafe_rbg"),
    ("jax_enable_custom_prng", True),
    ("jax_legacy_prng_key", "error"),
    ("jax_random_seed_offset", 7),
    ("jax_threefry_partitionable", False),
    ("jax_enable_x64", True),
    ("jax_numpy_dtype_promotion", "standard"),  # the tests' own rules of promotion are the strict ones
    ("jax_numpy_rank_promotion", "allow"),
    ("jax_default_matmul_precision", "bfloat16"),
    ("jax_debug_nans", True),
    ("jax_debug_infs", True),
    ("jax_debug_key_reuse", True),
    ("jax_check_tracer_leaks", True),
    ("jax_transfer_guard", "disallow"),
    ("jax_disable_jit", True),
]


def trained(**kept):
    return regjax.sweep((X, Y), CONFIG, GRID, folds=3, standardize=True, progress=False, keep="all", **kept)


def of_training(tmp_path):
    """The numbers of a sweep."""
    results = trained()
    yield from (results.records[name] for name in sorted(results.records))
    yield jax.tree.leaves([results.kept[row] for row in sorted(results.kept)])


def of_results(tmp_path):
    """The numbers of all that is computed of a stored sweep; one of its rows is replayed, too."""
    store = tmp_path / "store.sqlite"
    trained(store=store)
    assert replay(store, 7).same
    results = regjax.load(store)
    yield results.predict_proba(11, X)
    yield results.ensemble("val_loss")
    yield results.compare({"mixup": 0, "keep_prob": 1}).table["difference"].to_numpy()
    yield regjax.plot.masks(results, configuration=3).axes[0].images[0].get_array()
    # The arrays of the page; its words hold seconds, too.
    yield [np.frombuffer(found.encode(), np.uint8) for found in re.findall('"bytes":{[^}]*}', page(results))]


def of_diverging_sweep(tmp_path):
    """The numbers of networks that diverge, and of some that stop early."""
    config = CONFIG | {"batch_size": None}
    grid = {"learning_rate": [0.1, 1e30], "patience": [20.0, np.inf]}
    results = regjax.sweep((X, Y), config, grid, validation=0.3, progress=False)
    yield from (results.records[name] for name in sorted(results.records))
    yield results.diverged_at


def of_runs(tmp_path):
    """The numbers of single runs, float32 and float64, and under a user's transformation."""
    hparams = regjax.HParams(keep_prob=0.8, mixup=0.5, gaussian_dropout=0.3, dropconnect_keep_prob=0.9)
    data = regjax.Data.from_arrays(X, Y)
    for dtype, init in (("float32", "sklearn"), ("float64", "he")):
        config = regjax.Config(
            layer_sizes=(4, 8, 3), num_steps=20, eval_every=10, batch_size=16, init=init, dtype=dtype
        )
        key = regjax.replicate_key(2**32 - 1, 3)
        yield regjax.make_train(config)(key, hparams._replace(patience=5.0), data, data, data)
    config = regjax.Config(layer_sizes=(4, 3), num_steps=20, eval_every=10)
    key, hparams = regjax.replicate_key(1), hparams._replace(keep_prob=None, gaussian_dropout=None)
    strengths = np.array([0.1, 1.0], np.float32)
    yield jax.vmap(lambda l2: regjax.make_train(config)(key, hparams._replace(l2=l2), data))(strengths)
    train, test = load("two_regions")
    yield [train, test]
    found = run_experiment(train, test, Settings(num_steps=50))
    yield [run.history for run in found.runs]
    yield found.masks
    figure = decision_boundaries(found.runs, train, found.config, resolution=10)
    yield [shade.get_paths()[0].vertices for ax in figure.axes for shade in ax.collections[:1]]


def of_estimators(tmp_path):
    """The numbers of estimators and of a search."""
    for dtype in ("float32", "float64"):
        found = regjax.RegMLPClassifier(
            (8,), max_iter=5, dropout=0.2, random_state=0, early_stopping=True, dtype=dtype
        ).fit(X, Y)
        yield [*found.coefs_, found.predict_proba(X), np.array(found.loss_curve_)]
    found = regjax.RegMLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    yield found.fit(X, Y.astype(float)).predict(X)
    network = regjax.RegMLPClassifier((8,), max_iter=5, random_state=0)
    found = regjax.RegGridSearchCV(network, {"alpha": [0, 1], "mixup": [0, 0.3]}, cv=3).fit(X, Y)
    yield [found.cv_results_["mean_test_score"], *found.best_estimator_.coefs_]


def dear(name, value):
    """Whether training under a setting compiles programs of its own, or is not compiled at all."""
    return any(word in name for word in ("promotion", "prng_impl", "disable_jit"))


# Training under the other settings is quick. All else is slow, and most of it runs at night.
REST = [of_results, of_diverging_sweep, of_runs, of_estimators]
CASES = [
    *slow_but(
        [(of_training, setting) for setting in SETTINGS],
        [(of_training, setting) for setting in SETTINGS if not dear(*setting)][::4],
    ),
    *(
        pytest.param(kind, setting, marks=pytest.mark.slow if (i + j) % 8 == 0 else pytest.mark.nightly)
        for i, kind in enumerate(REST)
        for j, setting in enumerate(SETTINGS)
    ),
]


@pytest.fixture(scope="module")
def without():
    """A dict for the numbers of each kind without a setting."""
    return {}


def named(argument):
    return argument.__name__ if callable(argument) else f"{argument[0].removeprefix('jax_')}={argument[1]}"


@pytest.mark.nightly
@pytest.mark.parametrize(("kind", "setting"), CASES, ids=named)
def test_a_setting_changes_no_bit(kind, setting, without, tmp_path):
    if kind not in without:
        (tmp_path / "without").mkdir()
        without[kind] = list(kind(tmp_path / "without"))
    name, value = setting
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        found = list(kind(tmp_path))
        assert getattr(jax.config, name) == value  # a user's settings are not changed
    finally:
        jax.config.update(name, before)
    for one, other in zip(found, without[kind], strict=True):
        jax.tree.map(assert_same, one, other)


def assert_same(one, other):
    one, other = np.asarray(one), np.asarray(other)
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


# As a user's environment makes them, before JAX is imported.
ENVIRONMENT = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "unsafe_rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEBUG_NANS": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DISABLE_JIT": "1",
}


@pytest.mark.nightly
@pytest.mark.slow
def test_the_command_line_gives_the_same_under_all_of_them_at_once(tmp_path):
    def run(*words, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "regjax", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | environment,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    grid = ["--data", "iris", "--mixup", "0,0.5", "--keep-prob", "0.8", "--input-noise", "0.1"]
    short = ["--steps", "40", "--batch-size", "16", "--folds", "3", "--seeds", "1"]
    for name, environment in (("plain", {}), ("set", ENVIRONMENT)):
        run("sweep", *grid, *short, "--store", f"{name}.sqlite", "--out", name, **environment)
        run("compare", "--steps", "20", "--out", name, **environment)
        run("report", f"{name}.sqlite", "-o", f"{name}.html", **environment)
    plain, settled = (pd.read_csv(tmp_path / name / "results.csv") for name in ("plain", "set"))
    pd.testing.assert_frame_equal(
        plain.drop(columns="seconds"), settled.drop(columns="seconds"), check_exact=True
    )
    for store, environment in (("plain", ENVIRONMENT), ("set", {})):
        assert "to the bit" in run("replay", f"{store}.sqlite", "--row", "3", **environment)
