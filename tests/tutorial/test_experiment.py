import dataclasses
import functools

import jax
import numpy as np
import pytest
import reference

import regjax
from regjax.tutorial import experiment, training
from regjax.tutorial.experiment import Settings, run_experiment

# From the tutorial's own NumPy program in float64; the accuracies are counts of 211 and 200.
TUTORIAL = {
    "none": ((0.6557412523481002, 0.16329987525724, 0.138516424232), 200, 183),
    "l2": ((0.6974484493131264, 0.2684918873282239, 0.2680916337127301), 198, 186),
    "dropout": ((0.6543912405149825, 0.06101698657490, 0.0605824357985), 196, 190),
}


@functools.cache
def two_regions():
    return regjax.two_regions(jax.random.key(0))


@pytest.mark.nightly
def test_the_tutorials_figures_digit_for_digit(tutorial_mat):
    found = run_experiment(*regjax.load_mat(tutorial_mat), Settings(numpy_rng=True, dtype="float64"))
    for run in found.runs:
        costs, right_train, right_test = TUTORIAL[run.name]
        steps = run.history["step"].tolist()
        for step, cost in zip((0, 10_000, 20_000), costs, strict=True):
            assert run.history["cost"][steps.index(step)] == pytest.approx(cost, rel=1e-9)
        assert run.final("train_accuracy") == pytest.approx(right_train / 211, rel=1e-12)
        assert run.final("test_accuracy") == pytest.approx(right_test / 200, rel=1e-12)


@pytest.fixture(scope="module")
def streams():
    return run_experiment(*two_regions(), Settings(num_steps=10_000, numpy_rng=True, dtype="float64"))


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("name", "options"), [("none", {}), ("l2", {"lambd": 0.7}), ("dropout", {"keep_prob": 0.86})]
)
def test_numpy_streams_are_those_of_the_reference(name, options, streams):
    train, _ = two_regions()
    run = next(run for run in streams.runs if run.name == name)
    costs = reference.tutorial_model(train.x, train.y, num_steps=2_001, **options)
    steps = run.history["step"].tolist()
    # No further: the dropout run is chaotic from step 3,000 on, and NumPy with x·(1 + 1e-15) leaves itself.
    for step, cost in zip((0, 1000, 2000), costs, strict=True):
        assert run.history["cost"][steps.index(step)] == pytest.approx(cost, rel=1e-9)


@pytest.mark.nightly
def test_lanes_are_single_trainings():
    """The three lanes are what `make_train` gives for the same key."""
    train, test = two_regions()
    found = run_experiment(train, test, Settings(num_steps=300, seed=5))
    config = dataclasses.replace(found.config, eval_every=300)
    for run in found.runs:
        alone = regjax.make_train(config)(
            regjax.replicate_key(5), regjax.HParams(0.3, l2=run.l2, keep_prob=run.keep_prob), train, test
        )
        assert run.final("train_loss") == pytest.approx(float(alone.history["train_loss"][-1]), rel=1e-3)
        assert run.final("cost") == pytest.approx(float(alone.history["cost"][-1]), rel=1e-3)


@pytest.mark.nightly
def test_new_values_do_not_compile_again():
    train, test = two_regions()
    compiled = (training._init, training._advance, experiment._draw)
    run_experiment(train, test, Settings(num_steps=3))
    sizes = [f._cache_size() for f in compiled]
    run_experiment(train, test, Settings(num_steps=7, learning_rate=0.1, l2=3, keep_prob=0.5, seed=8))
    assert [f._cache_size() for f in compiled] == sizes


def test_progress_ends_with_the_run():
    told = []
    run_experiment(*two_regions(), Settings(num_steps=130), on_progress=told.append)
    assert told == [*range(2, 130, 2), 130]


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.bits
@pytest.mark.parametrize("numpy_rng", [pytest.param(False, marks=pytest.mark.slow), True])
def test_keep_prob_one_is_no_dropout(numpy_rng):
    train, test = two_regions()
    found = run_experiment(train, test, Settings(num_steps=50, keep_prob=1, numpy_rng=numpy_rng))
    none, _, dropout = found.runs
    np.testing.assert_array_equal(none.history["cost"], dropout.history["cost"])
    assert all(mask.all() for mask in found.masks)


def test_shown_masks_are_those_of_step_zero():
    train, test = two_regions()
    found = run_experiment(train, test, Settings(num_steps=2, keep_prob=0.86, seed=3))
    expected = reference.dropout_masks(regjax.replicate_key(3), 0, (2, 20, 3, 1), 224, 0.86)
    for shown, mask in zip(found.masks, expected[1:], strict=True):
        np.testing.assert_array_equal(shown, mask[:, :211] > 0)


def test_a_diverging_experiment_is_reported_not_raised():
    train, test = two_regions()
    found = run_experiment(train, test, Settings(num_steps=600, learning_rate=1e30))
    assert all(run.diverged_at is not None for run in found.runs)
    calm = run_experiment(train, test, Settings(num_steps=3))
    assert all(run.diverged_at is None for run in calm.runs)


@pytest.mark.parametrize("num_steps", [1, 7, 59, 60, 1000, 9_999, 10_000, 12_345, 30_000, 100_000])
def test_records_are_taken_where_costs_are_reported(num_steps):
    stops = experiment._stops(num_steps)
    assert stops[-1] == num_steps
    assert all(a < b for a, b in zip([0, *stops], stops, strict=False))
    assert set(range(10_000, num_steps, 10_000)) <= set(stops)
    assert num_steps < 60 or 60 <= len(stops) <= 120


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_steps": 0}, ValueError, "num_steps must be at least 1"),
        ({"l2": -0.7}, ValueError, "l2 must be a finite number >= 0 in float32, got -0.7"),
        ({"keep_prob": 1.5}, ValueError, r"keep_prob must be in \(0, 1\] in float32, got 1.5"),
        ({"learning_rate": -1}, ValueError, "learning_rate must be a finite number >= 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 2**32}, ValueError, "seed must be at most 4294967295"),
        ({"l2": 1e60}, ValueError, "l2 must be a finite number >= 0 in float32, got 1e"),
        ({"num_steps": 2**31}, ValueError, "num_steps must be at most 2147483647"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of float32, float64"),
    ],
)
def test_bad_values(options, error, words):
    with pytest.raises(error, match=words):
        run_experiment(*two_regions(), Settings(**options))
