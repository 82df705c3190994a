import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.losses import LOSSES
from regjax.core.mlp import forward, init_params
from regjax.research import subnetworks
from regjax.research.subnetworks import ensemble

pytestmark = pytest.mark.slow


def network(sizes, loss="auto", dtype="float64", n=7, activation="relu"):
    """Returns (config, params, data) with logits of some units and biases that are not 0."""
    rng = np.random.default_rng(len(sizes))
    config = Config(layer_sizes=sizes, loss=loss, dtype=dtype, activation=activation)
    params = init_params(jax.random.key(1), sizes, dtype=dtype)
    params = jax.tree.map(lambda w: 2 * w + jnp.asarray(0.2 * rng.standard_normal(w.shape), dtype), params)
    x = rng.standard_normal((sizes[0], n))
    if loss in ("squared_error", "poisson"):
        y = rng.poisson(2.0, (sizes[-1], n)).astype(float)
    elif loss == "multilabel_cross_entropy":
        y = rng.integers(0, 2, (sizes[-1], n))
    else:
        y = rng.integers(0, max(sizes[-1], 2), (1, n))
    return config, params, Data(x, y, np.ones(n))


def predicted(logits, loss):
    z = np.asarray(logits)
    if loss in ("sigmoid_cross_entropy", "multilabel_cross_entropy"):
        return 1 / (1 + np.exp(-z))
    if loss == "softmax_cross_entropy":
        return np.exp(z) / np.exp(z).sum(axis=0)
    return np.exp(z) if loss == "poisson" else z


def brute_force(config, params, data, keep_prob, loss):
    """Returns mean, variance, expected loss and mean log-prediction, mask by mask by `forward`."""
    hidden = config.layer_sizes[1:-1]
    keep = np.broadcast_to(keep_prob, (len(hidden),))
    mean, square, losses, logs, total = 0, 0, 0, 0, 0
    run = jax.jit(lambda masks: forward(params, jnp.asarray(data.x), masks, activation=config.activation)[0])
    y = jnp.asarray(data.y)
    for kept in itertools.product((0, 1), repeat=sum(hidden)):
        parts = np.split(np.array(kept, float), np.cumsum(hidden)[:-1])
        p = np.prod([np.prod(np.where(part > 0, k, 1 - k)) for part, k in zip(parts, keep, strict=True)])
        masks = (None, *(jnp.asarray((part / k)[:, None]) for part, k in zip(parts, keep, strict=True)))
        logits = run(masks)
        q = predicted(logits, loss)
        mean, square, total = mean + p * q, square + p * q * q, total + p
        losses = losses + p * np.asarray(LOSSES[loss].f(logits, y))
        logs = logs + p * (q if loss == "squared_error" else np.log(q))
        if loss in ("sigmoid_cross_entropy", "multilabel_cross_entropy"):
            logs = logs - p * np.log1p(-q)  # the log-odds
    assert total == pytest.approx(1, rel=1e-12)
    return mean, square - mean * mean, losses, logs


CASES = [
    ((2, 6, 1), "sigmoid_cross_entropy", 0.7, "relu"),
    ((2, 6, 3), "softmax_cross_entropy", 0.4, "relu"),
    ((3, 4, 3, 1), "sigmoid_cross_entropy", (0.9, 0.3), "tanh"),
    ((3, 2, 4, 2), "multilabel_cross_entropy", (0.6, 0.6), "gelu"),
    ((2, 3, 2, 2, 2), "squared_error", (0.8, 0.5, 0.7), "relu"),
    ((2, 5, 1), "poisson", 0.8, "sigmoid"),
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("sizes", "loss", "keep_prob", "activation"), CASES)
def test_it_is_the_sum_over_all_masks(sizes, loss, keep_prob, activation, x64):
    config, params, data = network(sizes, loss, activation=activation)
    found = ensemble(params, keep_prob, data, config=config)
    mean, variance, losses, logs = brute_force(config, params, data, keep_prob, loss)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.expected_loss, losses, rtol=1e-12, atol=1e-13)
    geometric = {"softmax_cross_entropy": lambda log: np.exp(log) / np.exp(log).sum(axis=0),
                 "squared_error": lambda mean: mean, "poisson": np.exp}.get(
                     loss, lambda odds: 1 / (1 + np.exp(-odds)))  # fmt: skip
    np.testing.assert_allclose(found.geometric, geometric(logs), rtol=1e-12)
    scaled = forward(params, jnp.asarray(data.x), activation=activation)[0]
    np.testing.assert_allclose(found.scaled, predicted(scaled, loss), rtol=1e-13)
    np.testing.assert_allclose(found.scaled_loss, LOSSES[loss].f(scaled, jnp.asarray(data.y)), rtol=1e-12)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("step", [1, 2**6, 2**10])
def test_no_block_changes_it(step, x64, monkeypatch):
    config, params, data = network((2, 5, 6, 2, 3), "softmax_cross_entropy", n=9)
    keep_prob = (0.8, 0.6, 0.7)
    whole = ensemble(params, keep_prob, data, config=config)
    monkeypatch.setattr(subnetworks, "STEP_NUMBERS", step)
    monkeypatch.setattr(subnetworks, "BLOCK_NUMBERS", 13)
    jax.clear_caches()
    for ours, theirs in zip(ensemble(params, keep_prob, data, config=config), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    jax.clear_caches()


@pytest.mark.parametrize("sizes", [(2, 12, 1), (2, 12, 4)])
def test_weight_scaling_is_the_geometric_mean_of_one_hidden_layer(sizes, x64):
    loss = "sigmoid_cross_entropy" if sizes[-1] == 1 else "softmax_cross_entropy"
    config, params, data = network(sizes, loss)
    for keep_prob in (0.1, 0.5, 0.93):
        found = ensemble(params, keep_prob, data, config=config)
        np.testing.assert_allclose(found.geometric, found.scaled, rtol=1e-12)
        np.testing.assert_allclose(found.geometric_loss, found.scaled_loss, rtol=1e-11)
        assert np.abs(found.mean - found.scaled).max() > 1e-3


def test_weight_scaling_is_not_the_geometric_mean_of_two_hidden_layers(x64):
    config, params, data = network((3, 5, 4, 1))
    found = ensemble(params, 0.5, data, config=config)
    assert np.abs(found.geometric - found.scaled).max() > 1e-3


def test_a_linear_network_with_squared_error_has_its_closed_form(x64):
    config, params, data = network((2, 8, 1), "squared_error", activation="identity")
    p = 0.3
    found = ensemble(params, p, data, config=config)
    a = np.asarray(params[0].w) @ data.x + np.asarray(params[0].b)
    variance = (1 - p) / p * ((np.asarray(params[1].w) ** 2) @ a**2)
    np.testing.assert_allclose(found.mean, found.scaled, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-11)
    np.testing.assert_allclose(found.expected_loss, found.scaled_loss + 0.5 * variance[0], rtol=1e-11)


def test_a_layer_that_keeps_all_is_not_enumerated(x64):
    config, params, data = network((2, 4, 40, 1))
    found = ensemble(params, (0.5, 1.0), data, config=config)  # not 2^44
    small = {"rtol": 1e-12, "atol": 1e-14}
    config, params, data = network((2, 4, 3, 1))
    skipped = ensemble(params, (0.5, 1.0), data, config=config)
    traced = jax.jit(lambda k: ensemble(params, k, data, config=config))(jnp.array([0.5, 1.0]))
    for ours, theirs in zip(skipped, traced, strict=True):
        np.testing.assert_allclose(ours, theirs, **small)
    assert np.isfinite(found.mean).all()
    alone = ensemble(params, 1.0, data, config=config)
    np.testing.assert_array_equal(alone.mean, alone.scaled)
    np.testing.assert_array_equal(alone.variance, 0)


def test_a_curve_is_a_vmap_and_costs_one_compilation(x64):
    config, params, data = network((2, 5, 3, 1))
    keep_probs = jnp.array([0.2, 0.5, 0.99])
    curve = jax.vmap(lambda k: ensemble(params, k, data, config=config))(keep_probs)
    before = subnetworks._ensemble._cache_size()
    for index, keep_prob in enumerate((0.2, 0.5, 0.99)):
        for ours, one in zip(curve, ensemble(params, keep_prob, data, config=config), strict=True):
            np.testing.assert_allclose(ours[index], one, rtol=1e-12, atol=1e-14)
    assert subnetworks._ensemble._cache_size() <= before + 1


@pytest.mark.nightly
@pytest.mark.bits
def test_float32_is_as_near_as_the_page_says(x64):
    config, params, data = network((2, 16, 1), n=50)
    # Both see the same numbers: those that float32 holds.
    params, x = jax.tree.map(lambda w: w.astype("float32").astype("float64"), (params, jnp.asarray(data.x)))
    data = data._replace(x=x)
    exact = ensemble(params, 0.5, data, config=config)
    rounded = ensemble(jax.tree.map(lambda w: w.astype("float32"), params), 0.5, data,
                       config=Config(layer_sizes=(2, 16, 1)))  # fmt: skip
    assert rounded.mean.dtype == "float32"
    assert np.abs(np.asarray(rounded.mean) - np.asarray(exact.mean)).max() < 5e-7
    np.testing.assert_allclose(rounded.expected_loss, exact.expected_loss, rtol=2e-6)


def test_jensen_holds_for_each_sample(x64):
    config, params, data = network((2, 7, 3), "softmax_cross_entropy", n=30)
    found = ensemble(params, 0.4, data, config=config)
    assert (found.mean_loss < found.expected_loss).all()
    assert (found.variance > 0).all()


def test_too_many_are_refused_before_anything_is_computed():
    config, params, data = network((2, 30, 20, 1), dtype="float32")
    with pytest.raises(
        ValueError,
        match=r"most must be at least the 1,125,899,906,842,624 sub-networks of 50 "
        r"hidden units that can be dropped, got 16,777,216: on 7 samples .* about 365 days",
    ):
        ensemble(params, 0.5, data, config=config)
    config, params, data = network((2, 2000, 1), dtype="float32")
    with pytest.raises(ValueError, match=r"the 2\^2000 sub-networks"):
        ensemble(params, 0.5, data, config=config)
    config, params, data = network((2, 5, 1), dtype="float32")
    with pytest.raises(ValueError, match=r"most must be at least the 32 .*, got 16: .* MiB"):
        ensemble(params, 0.5, data, config=config, most=16)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"keep_prob": 0.0}, ValueError, r"keep_prob must be in \(0, 1\] in float32, got 0"),
        (
            {"keep_prob": (0.5, 0.5)},
            ValueError,
            r"keep_prob must be one value, or 1 \(one per hidden layer\)",
        ),
        ({"keep_prob": "half"}, TypeError, r"keep_prob must be in \(0, 1\], got 'half'"),
        ({"data": None}, TypeError, "data must be a regjax.Data, got NoneType"),
        ({"config": Config(layer_sizes=(2, 1))}, ValueError, "layer_sizes must have a hidden layer"),
        ({"config": Config(layer_sizes=(2, 6, 1))}, ValueError, r"params must have layer_sizes \(2, 6, 1\)"),
        ({"config": Config(layer_sizes=(2, 5, 1), dtype="float64")}, TypeError, "params must be float64"),
        ({"most": 2**31}, ValueError, "most must be at most 1073741824, got 2147483648"),
    ],
)
def test_bad_input_is_named(change, kind, words):
    config, params, data = network((2, 5, 1), dtype="float32")
    given = {"params": params, "keep_prob": 0.5, "data": data, "config": config} | change
    with pytest.raises(kind, match=words):
        ensemble(**given)
