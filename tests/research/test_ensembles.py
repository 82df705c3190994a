"""Snapshot ensembles against plain training, a loop by hand, and means by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.data import Data
from regjax.core.evaluate import evaluate
from regjax.core.hparams import check_hparams
from regjax.core.losses import LOSSES
from regjax.core.mlp import decide
from regjax.core.network import infer_logits, init_network
from regjax.core.train import init_state, run_segment
from regjax.research.ensembles import cyclic, ensemble_logits, evaluate_ensemble, snapshot_ensemble
from regjax.research.networks import stack

pytestmark = pytest.mark.slow

KEY = regjax.replicate_key(3)
HPARAMS = regjax.HParams(learning_rate=0.05, l2=0.1, keep_prob=0.9, end_fraction=0.1)
CONFIG = regjax.Config(
    layer_sizes=(2, 5, 1), optimizer="adam", num_steps=24, eval_every=24, batch_size=50, activation="tanh"
)
BLOCKS = {"norm": "batch", "members": 2, "embedding": "piecewise", "embedding_size": 3}


def samples():
    return regjax.two_regions(jax.random.key(0))


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.bits
@pytest.mark.parametrize("own", [{}, {"warmup_steps": 4}, BLOCKS], ids=["plain", "warm-up", "blocks"])
def test_one_cycle_is_training_with_a_cosine_to_the_bit(own):
    data, _ = samples()
    config = dataclasses.replace(CONFIG, **own)
    found = snapshot_ensemble(KEY, HPARAMS, data, config=config, cycles=1)
    trained = regjax.make_train(dataclasses.replace(config, schedule="cosine"))(KEY, HPARAMS, data)
    assert_equal(jax.tree.map(lambda leaf: leaf[0], found), trained.params)


@pytest.mark.bits
def test_the_last_snapshot_is_the_network_of_a_cyclic_run():
    data, _ = samples()
    found = snapshot_ensemble(KEY, HPARAMS, data, config=CONFIG, cycles=3)
    trained = regjax.make_train(cyclic(CONFIG, 3))(KEY, HPARAMS, data)
    assert_equal(jax.tree.map(lambda leaf: leaf[-1], found), trained.params)


def test_an_ensemble_of_one_network_that_is_not_stacked_is_refused():
    data, _ = samples()
    params = regjax.init_params(KEY, CONFIG.layer_sizes)
    for of in (
        lambda: evaluate_ensemble(params, data, config=CONFIG),
        lambda: ensemble_logits(params, data.x, config=CONFIG, loss="sigmoid_cross_entropy"),
    ):
        with pytest.raises(ValueError, match="params must be stacked networks") as error:
            of()
        assert "\n" not in str(error.value)


def test_snapshots_are_the_states_at_the_ends_of_the_cycles():
    data, _ = samples()
    hparams = HPARAMS._replace(average_from=12)
    found = snapshot_ensemble(KEY, hparams, data, config=CONFIG, cycles=3)
    config = cyclic(CONFIG, 3)
    full = check_hparams(config, hparams)
    state, ends = init_state(KEY, full, config=config), []
    for step in range(24):
        state = run_segment(KEY, state, full, data, step, step + 1, config=config)
        if step in (7, 15, 23):
            ends.append(state.measured)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6), found, stack(ends)
    )
    assert not np.allclose(found[0].w[0], found[0].w[1], rtol=1e-3)


def test_rows_are_mapped_over():
    data, _ = samples()
    keys = jnp.stack([regjax.replicate_key(seed) for seed in (0, 1)])
    rates = jnp.array([0.01, 0.1], jnp.float32)

    def one(key, rate):
        hparams = HPARAMS._replace(learning_rate=rate)
        return snapshot_ensemble(key, hparams, data, config=CONFIG, cycles=2)

    found = jax.vmap(one)(keys, rates)
    assert found[0].w.shape == (2, 2, 5, 2)
    for row in range(2):
        alone = one(keys[row], float(rates[row]))
        jax.tree.map(
            lambda a, b, row=row: np.testing.assert_allclose(a[row], b, rtol=1e-4, atol=1e-5), found, alone
        )


TARGETS = {
    "sigmoid_cross_entropy": (1, np.array([[0, 1, 1, 0, 1]], np.int32)),
    "softmax_cross_entropy": (3, np.array([[0, 1, 2, 0, 1]], np.int32)),
    "multilabel_cross_entropy": (2, np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 1]], np.int32)),
    "squared_error": (2, np.arange(10.0).reshape(2, 5)),
    "poisson": (1, np.array([[0.0, 1.0, 4.0, 2.0, 7.0]])),
}


@pytest.mark.parametrize("own", [{}, {"members": 3}], ids=["plain", "members"])
@pytest.mark.parametrize("loss", TARGETS)
def test_the_mean_prediction_is_the_one_by_hand(loss, own, x64):
    outputs, y = TARGETS[loss]
    config = regjax.Config(layer_sizes=(2, 4, outputs), dtype="float64", loss=loss, metrics=None, **own)
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((2, 5)), rng.uniform(0.5, 1.5, 5)
    params = stack([init_network(regjax.replicate_key(seed), config) for seed in range(3)])
    if not own:  # probabilities far from one another
        params = jax.tree.map(lambda leaf: 3 * leaf, params)
    each = [
        np.asarray(
            infer_logits(jax.tree.map(lambda leaf, i=i: leaf[i], params), jnp.asarray(x), config, loss)
        )
        for i in range(3)
    ]
    if loss == "softmax_cross_entropy":
        mean = np.mean([np.exp(z) / np.exp(z).sum(axis=0) for z in each], axis=0)
        losses, labels = -np.log(mean[y[0], np.arange(5)]), mean.argmax(axis=0)[None]
    elif loss in ("sigmoid_cross_entropy", "multilabel_cross_entropy"):
        mean = np.mean([1 / (1 + np.exp(-z)) for z in each], axis=0)
        losses, labels = -np.log(np.where(y == 1, mean, 1 - mean)).sum(axis=0), (mean > 0.5).astype(int)
    elif loss == "poisson":
        mean = labels = np.mean([np.exp(z) for z in each], axis=0)
        losses = np.asarray(LOSSES["poisson"].f(jnp.log(mean), jnp.asarray(y)))
    else:
        mean = labels = np.mean(each, axis=0)
        losses = 0.5 * ((mean - y) ** 2).sum(axis=0)
    logits = ensemble_logits(params, jnp.asarray(x), config=config, loss=loss)
    np.testing.assert_allclose(decide(logits, loss), labels, rtol=1e-12)
    data = Data(jnp.asarray(x), jnp.asarray(y), jnp.asarray(weights))
    found = evaluate_ensemble(params, data, config=config)
    np.testing.assert_allclose(found["loss"], (weights * losses).sum() / weights.sum(), rtol=1e-11)
    # Of one network it is that network.
    alone = evaluate_ensemble(jax.tree.map(lambda leaf: leaf[:1], params), data, config=config)
    expected = evaluate(jax.tree.map(lambda leaf: leaf[0], params), data, config=config)
    assert alone.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(alone[name], value, rtol=1e-12)


@pytest.mark.parametrize(
    ("own", "cycles", "message"),
    [
        ({}, 0, "cycles must be at least 1, got 0"),
        ({}, 5, "cycles must divide num_steps 24, got 5"),
        (
            {"schedule": "cosine"},
            2,
            "config must leave schedule and decay_steps to cycles, got schedule cosine",
        ),
        ({"decay_steps": 3}, 2, "config must leave schedule and decay_steps to cycles, .* decay_steps 3"),
        ({"stop_on": "loss"}, 2, "stop_on must be None for snapshots, got 'loss'"),
        ({"warmup_steps": 6}, 4, "decay_steps must be"),
    ],
)
def test_bad_cycles_are_named(own, cycles, message):
    config = dataclasses.replace(CONFIG, **own)
    with pytest.raises(ValueError, match=message):
        snapshot_ensemble(KEY, HPARAMS, samples()[0], config=config, cycles=cycles)


def test_bad_arguments_are_named():
    data, _ = samples()
    with pytest.raises(ValueError, match="patience must be off for snapshots"):
        snapshot_ensemble(KEY, HPARAMS._replace(patience=3), data, config=CONFIG, cycles=2)
    with pytest.raises(TypeError, match=r"config must be a regjax.Config, got dict"):
        snapshot_ensemble(KEY, HPARAMS, data, config={}, cycles=2)
    config = dataclasses.replace(CONFIG, loss="squared_error")
    with pytest.raises(ValueError, match="label_smoothing must"):
        snapshot_ensemble(KEY, HPARAMS._replace(label_smoothing=0.1), data, config=config, cycles=2)
