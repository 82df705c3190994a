"""The built-in data sets of two features: their geometry, their classes, and what a key fixes."""

import jax
import numpy as np
import pytest
from command_line import regjax as regjax_command
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_circles, make_moons

import regjax
from regjax.data import datasets
from regjax.data.datasets import built_in
from regjax.data.loaders import load, load_two_classes
from regjax.data.names import BUILT_IN, CLASSICS

KEY = jax.random.key(0)
FAST = [
    *("--num-steps", 18, "--eval-every", 2, "--batch-size", "full", "--folds", 2, "--seeds", 2),
    *("--confirm", 0.3, "--budget", "60 networks"),
]


def radius(data):
    return np.hypot(*np.asarray(data.x, np.float64))


def angle(data):
    return np.arctan2(data.x[1], data.x[0]).astype(np.float64)


def off_moons(data):
    centre = np.where(data.y == 0, [[0], [0]], [[1], [0.5]])
    away = np.hypot(*(data.x - centre)) - 1
    wrong_half = np.where(data.y[0] == 0, data.x[1] < 0, data.x[1] > 0.5)
    return np.abs(away) + wrong_half


def off_circles(data):
    return radius(data) - np.where(data.y[0] == 0, 1, 0.5)


def off_spirals(data):
    turned = angle(data) - np.pi * data.y[0] - 3 * np.pi * radius(data)
    inside = (radius(data) > 0.0999) & (radius(data) < 1.0001)
    return np.abs(np.exp(1j * turned) - 1) + ~inside


def off_blobs(data):
    return data.x - np.where(data.y == 0, 1, -1) / np.sqrt(2)


def off_xor(data):
    return np.abs(np.abs(data.x) - 1) + (np.prod(data.x, axis=0) != np.where(data.y == 0, 1, -1))


def off_flower(data):
    # Class 0 has t in [0, π): the point (r·sin t, r·cos t) is at t, or where r < 0 at t + π.
    t = np.pi / 2 - angle(data)
    far = np.full(data.x.shape[1], np.inf)
    for opposite in (0, np.pi):
        own = (t + opposite) % (2 * np.pi)
        rose = np.sin(4 * own) * np.where(opposite, -1, 1) - radius(data)
        far = np.minimum(far, np.abs(rose) + (own // np.pi != data.y[0]))
    return np.where(radius(data) < 1e-3, 0, far)  # where all petals meet the angle says nothing


OFF = {
    "moons": off_moons,
    "circles": off_circles,
    "spirals": off_spirals,
    "blobs": off_blobs,
    "xor": off_xor,
    "flower": off_flower,
}


@pytest.mark.parametrize("name", CLASSICS)
@settings(max_examples=20)
@given(n=st.integers(2, 500), noise=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_shapes_balance_and_bits(name, n, noise, seed):
    draw, key = getattr(datasets, name), jax.random.key(seed)
    data = draw(key, n=n, noise=noise)
    assert (data.x.shape, data.y.shape, data.weights.shape) == ((2, n), (1, n), (n,))
    assert data.x.dtype == np.float32
    zeros, ones = np.bincount(data.y[0], minlength=2)
    assert 0 <= zeros - ones <= 1
    again = draw(key, n=n, noise=noise)
    assert all(np.array_equal(one, other) for one, other in zip(data, again, strict=True))
    wide = draw(key, n=n, noise=noise, dtype="float64")
    assert wide.x.dtype == np.float64
    np.testing.assert_allclose(data.x, wide.x, rtol=1e-6, atol=1e-6)
    clean = draw(key, n=n, noise=0)
    assert np.abs(clean.x).max() <= 2.0001
    np.testing.assert_array_equal(clean.y, data.y)
    np.testing.assert_allclose(OFF[name](clean), 0, atol=1e-4)


@pytest.mark.parametrize("name", CLASSICS)
def test_noise_is_normal_and_of_the_size_that_is_asked(name):
    clean, noisy = (
        getattr(datasets, name)(KEY, n=20_000, noise=noise, dtype="float64").x for noise in (0, 0.3)
    )
    shift = (noisy - clean) / 0.3
    # Standard errors of 20,000 samples: 0.007 of a mean and a correlation, 0.005 of a deviation.
    np.testing.assert_allclose(shift.mean(axis=1), 0, atol=0.03)
    np.testing.assert_allclose(shift.std(axis=1), 1, atol=0.02)
    assert abs(np.corrcoef(shift)[0, 1]) < 0.03
    np.testing.assert_allclose((np.abs(shift) < 1).mean(axis=1), 0.6827, atol=0.015)
    other = getattr(datasets, name)(jax.random.key(1), n=20_000, noise=0.3).x
    assert not np.array_equal(other, noisy.astype(np.float32))


def test_moons_and_circles_are_those_of_scikit_learn():
    X, y = make_moons(400, shuffle=False)
    np.testing.assert_allclose(off_moons(regjax.Data.from_arrays(X, y)), 0, atol=1e-9)
    X, y = make_circles(400, shuffle=False, factor=0.5)
    np.testing.assert_allclose(off_circles(regjax.Data.from_arrays(X, y)), 0, atol=1e-9)


def test_every_place_of_a_curve_is_drawn():
    data = regjax.datasets.spirals(KEY, n=4000, noise=0)
    counts, _ = np.histogram(radius(data), bins=9, range=(0.1, 1))
    assert counts.min() > 4000 / 9 * 0.8
    corners = np.unique(regjax.datasets.xor(KEY, n=402, noise=0).x, axis=1, return_counts=True)[1]
    assert corners.tolist() == [100, 101, 100, 101] or sorted(corners.tolist()) == [100, 100, 101, 101]


def test_blobs_of_several_classes():
    data = regjax.datasets.blobs(KEY, n=500, noise=0, num_classes=5)
    assert np.bincount(data.y[0]).tolist() == [100] * 5
    np.testing.assert_allclose(radius(data), 1, rtol=1e-6)
    assert len(np.unique(data.x.round(5), axis=1).T) == 5


def test_the_best_line_between_two_blobs_is_right_as_often_as_said():
    data = regjax.datasets.blobs(KEY, n=100_000)
    right = np.mean((data.x.sum(axis=0) < 0) == data.y[0])
    assert right == pytest.approx(0.952, abs=0.003)


@pytest.mark.parametrize("name", BUILT_IN)
def test_names_are_read_as_the_functions_draw(name):
    train, test = load(name)
    assert test is not None
    for part, seed in ((train, 0), (test, 1)):
        if name == "two_regions":
            part_of = regjax.two_regions(KEY)
            expected = part_of[seed]
        else:
            expected = getattr(datasets, name)(jax.random.key(seed))
        np.testing.assert_array_equal(part.x, expected.x)
        np.testing.assert_array_equal(part.y, expected.y)
    assert [part.x.shape for part in load_two_classes(name)] == [train.x.shape, test.x.shape]


def test_settings_of_jax_change_no_point():
    expected = built_in("flower")[0].x
    with jax.enable_x64(True), jax.default_prng_impl("rbg"), jax.threefry_partitionable(False):
        np.testing.assert_array_equal(built_in("flower")[0].x, expected)
    one, other = (regjax.datasets.moons(key) for key in (KEY, jax.random.key(0, impl="rbg")))
    assert one.x.shape == other.x.shape
    assert not np.array_equal(one.x, other.x)


@pytest.mark.parametrize("name", CLASSICS)
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n": 1}, ValueError, "n must be at least 2, got 1"),
        ({"n": 2.5}, TypeError, "n must be a whole number, got 2.5"),
        ({"n": "many"}, TypeError, "n must be a whole number, got 'many'"),
        ({"noise": -0.1}, ValueError, "noise must be a finite number >= 0, got -0.1"),
        ({"noise": float("nan")}, ValueError, "noise must be a finite number >= 0, got nan"),
        ({"noise": float("inf")}, ValueError, "noise must be a finite number >= 0, got inf"),
        ({"noise": "much"}, TypeError, "noise must be a number, got 'much'"),
        ({"noise": True}, TypeError, "noise must be a number, got True"),
        ({"noise": 1e300}, ValueError, "X must be finite, got -?inf in sample 0"),
        ({"dtype": "int8"}, ValueError, "dtype must be one of float32, float64, got 'int8'"),
        ({"key": 0}, TypeError, r"key must be a key of JAX such as jax.random.key\(0\), got 0"),
    ],
)
def test_bad_arguments_are_one_line(name, options, error, words):
    with pytest.raises(error, match=words) as said:
        getattr(datasets, name)(**({"key": KEY} | options))
    assert "\n" not in str(said.value)


def test_bad_number_of_blobs():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        regjax.datasets.blobs(KEY, num_classes=1)
    with pytest.raises(ValueError, match="n must be at least 5, got 4"):
        regjax.datasets.blobs(KEY, n=4, num_classes=5)


def test_an_unknown_name_lists_the_known_ones_and_a_regression_is_refused():
    with pytest.raises(ValueError, match=r"two_regions, moons, .*flower, iris.*; did you mean moons\?"):
        load("moon")
    with pytest.raises(ValueError, match="task must be classification for xor, got 'regression'"):
        load("xor", task="regression")
    with pytest.raises(ValueError, match="target must only be given with a table"):
        load("blobs", target="y")


@pytest.mark.nightly
@pytest.mark.parametrize(
    "command",
    [
        ["compare", "moons", "--steps", 5, "--out"],
        ["compare", "--data", "xor", "--steps", 5, "--out"],
        ["sweep", "--data", "spirals", "--l2", "0,1", "--steps", 5, "--folds", 2, "--no-store", "--out"],
        pytest.param(["tune", "flower", *FAST, "--no-store", "--out"], marks=pytest.mark.slow),
    ],
)
def test_commands_take_the_names(command, tmp_path):
    done = regjax_command(*command, tmp_path / "o")
    assert done.returncode == 0, done.stderr
