"""Hypergradients in reverse mode: equal to forward mode, however states are kept, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.research import reverse
from regjax.research.hypergradients import hypergradient
from regjax.research.reverse import reverse_hypergradient

pytestmark = pytest.mark.slow
KEY = regjax.replicate_key(0)
TRAIN, TEST = regjax.two_regions(jax.random.key(0))
SHAPES = [(6, 2), (3, 6), (1, 3)]


def config_of(**options):
    fields = {"num_steps": 23, "activation": "tanh", "dtype": "float64", "layer_sizes": (2, 6, 3, 1)}
    return regjax.Config(**fields | options)


def hparams_of(theta):
    return regjax.HParams(
        l2=jnp.exp(theta["log_l2"]), learning_rate=theta["learning_rate"], keep_prob=theta["keep_prob"]
    )


THETA = {
    "log_l2": np.log([0.7, 0.5, 0.2]),
    "learning_rate": np.array(0.05),
    "keep_prob": np.array([0.8, 0.9]),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("segment", [None, 1, 5, 23, 100])
@pytest.mark.parametrize("fields", [{}, {"optimizer": "adam", "batch_size": 32}], ids=["sgd", "adam"])
def test_it_agrees_with_forward_mode(segment, fields):
    config = config_of(**fields)
    hparams = regjax.HParams(l2=(0.7, 0.5, 0.2), learning_rate=0.05, keep_prob=(0.8, 0.9))
    forward = hypergradient(
        KEY, hparams, TRAIN, TEST, config=config, names=("l2", "learning_rate", "keep_prob")
    )
    loss, gradient = reverse_hypergradient(
        KEY, THETA, TRAIN, TEST, config=config, hparams_of=hparams_of, segment=segment
    )
    np.testing.assert_allclose(loss, forward.loss, rtol=1e-12)
    by_log = np.asarray(forward.gradient["l2"]) * [0.7, 0.5, 0.2]
    np.testing.assert_allclose(gradient["log_l2"], by_log, rtol=1e-9)
    for name in ("learning_rate", "keep_prob"):
        np.testing.assert_allclose(gradient[name], forward.gradient[name], rtol=1e-9)


@pytest.mark.nightly
def test_states_that_are_too_large_are_kept_between_segments(monkeypatch):
    config = config_of(num_steps=29)  # a number of steps that no other test compiles
    many = reverse_hypergradient(KEY, THETA, TRAIN, TEST, config=config, hparams_of=hparams_of)
    sizes = []
    run = reverse._reverse
    monkeypatch.setattr(reverse, "_reverse", lambda *a, **b: sizes.append(b["segment"]) or run(*a, **b))
    monkeypatch.setattr(reverse, "MOST_BYTES", 100)
    few = reverse_hypergradient(KEY, THETA, TRAIN, TEST, config=config, hparams_of=hparams_of)
    assert sizes == [5]
    for one, other in zip(jax.tree.leaves(many), jax.tree.leaves(few), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_it_agrees_where_blocks_are_on():
    config = config_of(norm="layer", embedding="piecewise", embedding_size=3, residual=False)
    hparams = regjax.HParams(l2=(0.7, 0.5, 0.2), learning_rate=0.05, keep_prob=(0.8, 0.9))
    forward = hypergradient(KEY, hparams, TRAIN, TEST, config=config, names=("learning_rate",))
    _, gradient = reverse_hypergradient(KEY, THETA, TRAIN, TEST, config=config, hparams_of=hparams_of)
    np.testing.assert_allclose(gradient["learning_rate"], forward.gradient["learning_rate"], rtol=1e-9)


def of_weights(theta):
    return regjax.HParams(l2=tuple(theta), learning_rate=0.05)


def test_a_strength_for_each_weight_has_the_derivative_of_central_differences():
    config = config_of()
    rng = np.random.default_rng(0)
    theta = [rng.random(shape) for shape in SHAPES]
    _, gradient = reverse_hypergradient(KEY, theta, TRAIN, TEST, config=config, hparams_of=of_weights)
    for layer, at in [(0, (3, 1)), (1, (2, 4)), (2, (0, 0))]:
        ends = []
        for sign in (1, -1):
            moved = [each.copy() for each in theta]
            moved[layer][at] += sign * 1e-5
            ends.append(
                float(reverse_hypergradient(KEY, moved, TRAIN, TEST, config=config, hparams_of=of_weights)[0])
            )
        difference = (ends[0] - ends[1]) / 2e-5
        assert float(np.asarray(gradient[layer])[at]) == pytest.approx(difference, rel=1e-5, abs=1e-10)


def test_equal_strengths_of_weights_are_one_strength():
    config = config_of()
    _, gradient = reverse_hypergradient(
        KEY, [np.full(shape, 0.7) for shape in SHAPES], TRAIN, TEST, config=config, hparams_of=of_weights
    )
    hparams = regjax.HParams(l2=0.7, learning_rate=0.05)
    found = hypergradient(KEY, hparams, TRAIN, TEST, config=config, names=("l2",))
    total = sum(np.asarray(each).sum() for each in gradient)
    assert total == pytest.approx(float(found.gradient["l2"]), rel=1e-9)


def test_strengths_of_inputs_and_units_broadcast():
    theta = [np.full((1, 2), 0.7), np.full((3, 1), 0.7), np.array(0.7)]
    loss, gradient = reverse_hypergradient(KEY, theta, TRAIN, TEST, config=config_of(), hparams_of=of_weights)
    assert [np.shape(each) for each in gradient] == [(1, 2), (3, 1), ()]
    alone = regjax.make_train(config_of())(KEY, regjax.HParams(l2=0.7, learning_rate=0.05), TRAIN, TEST)
    assert float(loss) == pytest.approx(float(alone.history["test_loss"][-1]), rel=1e-12)


def wrong_shape(theta):
    return regjax.HParams(l2=(theta, theta, theta))


def large(theta):
    return regjax.HParams(l2=(jnp.exp(theta)[None, None], *[jnp.ones((1, 1))] * 2))


def stops(theta):
    return regjax.HParams(l2=theta, patience=5)


@pytest.mark.parametrize(
    ("theta", "of", "options", "error", "message"),
    [
        (np.ones(3), lambda t: 1, {}, TypeError, "hparams_of must return a regjax.HParams, got int"),
        (np.ones(3, int), hparams_of, {}, TypeError, "theta must be arrays of real numbers, got dtype int"),
        (np.ones((4, 4)), wrong_shape, {}, ValueError, "l2 must have an array for each matrix of weights"),
        (np.ones(()), stops, {}, ValueError, "derivatives must be of runs without early stopping"),
        (-np.ones(()), lambda t: regjax.HParams(l2=t), {}, ValueError, "l2 must be a finite number >= 0"),
        (np.full((), 999.0), large, {}, ValueError, r"l2 must be finite numbers >= 0, got \[\[inf\]\]"),
        (THETA, regjax.HParams(), {}, TypeError, "hparams_of must be a function of theta, got HParams"),
        (THETA, hparams_of, {"segment": 0}, ValueError, "segment must be a whole number from 1, got 0"),
        (THETA, hparams_of, {"segment": 2.5}, ValueError, "segment must be a whole number from 1, got 2.5"),
    ],
)
def test_bad_input_is_one_line(theta, of, options, error, message):
    with pytest.raises(error, match=message) as found:
        reverse_hypergradient(KEY, theta, TRAIN, TEST, config=config_of(), hparams_of=of, **options)
    assert "\n" not in str(found.value)
