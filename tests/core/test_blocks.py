"""Blocks of today's networks for tables: what each computes, off to the bit, and what is refused."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core import blocks, mlp, normalisation
from regjax.core.embeddings import Bins, Periodic, embed, quantile_edges
from regjax.core.gradient_check import relative_error
from regjax.core.losses import LOSSES
from regjax.core.members import for_members, mean_logits
from regjax.core.network import infer_logits, init_network
from regjax.core.normalisation import batch_norm, init_norm, layer_norm
from regjax.core.objective import cost, cost_and_grads
from regjax.core.train import init_state, run_segment

pytestmark = pytest.mark.slow

SIZES = (3, 5, 5, 1)
CASES = {
    "layer": {"norm": "layer"},
    "batch": {"norm": "batch"},
    "residual": {"residual": True},
    "periodic": {"embedding": "periodic", "embedding_size": 2},
    "piecewise": {"embedding": "piecewise", "embedding_size": 3},
    "members": {"members": 3},
    "all": {"norm": "batch", "residual": True, "embedding": "piecewise", "members": 2},
}


def samples(n=12, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, n)).astype(dtype)
    return regjax.Data(
        jnp.asarray(x), jnp.asarray(x[:1] > 0, jnp.int32), jnp.asarray(rng.uniform(0.5, 2, n).astype(dtype))
    )


def network(case, data, **options):
    config = regjax.Config(layer_sizes=SIZES, dtype="float64", activation="silu", **CASES[case], **options)
    return config, init_network(regjax.replicate_key(3), config, data)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_jax(case, x64):
    data = samples()
    config, params = network(case, data)
    hparams = regjax.HParams(l2=0.3, activity_l2=0.1)
    _, grads, dx = cost_and_grads(params, hparams, data, config=config)
    # Between samples: the bins' edges are samples, and kinks.
    shifted = data._replace(x=data.x + 0.01)
    _, grads, dx = cost_and_grads(params, hparams, shifted, config=config)
    oracle = jax.grad(
        lambda params, x: cost(params, hparams, shifted._replace(x=x), config=config), argnums=(0, 1)
    )(params, shifted.x)
    assert relative_error((grads, dx), oracle) < 1e-10


def test_blocks_that_are_all_off_are_the_plain_network_to_the_bit():
    config = regjax.Config(layer_sizes=SIZES)
    plain = init_network(regjax.replicate_key(0), config)
    same = tuple(blocks.Block(*layer) for layer in plain)
    x = samples(dtype=np.float32).x
    ours, kept = blocks.forward(same, x, config=config)
    theirs, residuals = mlp.forward(plain, x)
    np.testing.assert_array_equal(ours, theirs)
    grads, dx = blocks.backward(kept, jnp.ones_like(ours), config=config)
    oracle, d_oracle, _ = mlp.backward(residuals, jnp.ones_like(theirs))
    np.testing.assert_array_equal(dx, d_oracle)
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(oracle), strict=True):
        np.testing.assert_array_equal(one, other)


def test_normalisations_are_those_of_numpy(x64):
    z, weights = np.random.default_rng(0).standard_normal((4, 6)), np.array([1.0, 2, 1, 0, 1, 3])
    by_unit = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + normalisation.EPS)
    found, _ = layer_norm(jnp.asarray(z), init_norm(4, "float64", running=False))
    np.testing.assert_allclose(found, by_unit, rtol=1e-12)
    # A sample of weight 2 is two samples, one of weight 0 is none.
    repeated = np.repeat(z, weights.astype(int), axis=1)
    mean, variance = repeated.mean(axis=1, keepdims=True), repeated.var(axis=1, keepdims=True)
    found, kept = batch_norm(jnp.asarray(z), init_norm(4, "float64", running=True), jnp.asarray(weights))
    np.testing.assert_allclose(found, (z - mean) / np.sqrt(variance + normalisation.EPS), rtol=1e-12)
    moved = normalisation.moved(init_norm(4, "float64", running=True), kept)
    np.testing.assert_allclose(moved.mean, 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(moved.variance, 0.9 + 0.1 * variance, rtol=1e-12)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", ["batch", "piecewise", "all"])
def test_held_out_samples_leak_into_nothing(case, x64):
    data = samples()
    data = data._replace(weights=data.weights.at[jnp.array([2, 7])].set(0.0))
    other = data._replace(x=data.x.at[:, jnp.array([2, 7])].set(1e3))
    config, _ = network(case, data, num_steps=3)

    def trained(data):
        state = init_state(regjax.replicate_key(0), regjax.HParams(), config=config, data=data)
        hparams = jax.tree.map(jnp.asarray, regjax.HParams(learning_rate=0.1))
        return run_segment(regjax.replicate_key(0), state, hparams, data, 0, 3, config=config).params

    for one, two in zip(jax.tree.leaves(trained(data)), jax.tree.leaves(trained(other)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_inference_of_batch_normalisation_takes_running_statistics(x64):
    data = samples()
    config, params = network("batch", data)
    together = infer_logits(params, data.x, config, "sigmoid_cross_entropy")
    alone = infer_logits(params, data.x[:, :1], config, "sigmoid_cross_entropy")
    np.testing.assert_allclose(together[:, :1], alone, rtol=1e-12)


def test_periodic_inputs_are_sines_and_cosines(x64):
    x = jnp.array([[0.25, 0.5], [1.0, 0.125]])
    found, _ = embed(Periodic(jnp.array([[1.0], [2.0]])), x)
    angles = 2 * np.pi * np.array([[0.25, 0.5], [2.0, 0.25]])
    wanted = [np.sin(angles[0]), np.cos(angles[0]), np.sin(angles[1]), np.cos(angles[1])]
    np.testing.assert_allclose(found, wanted, atol=1e-15)


def test_bins_go_on_beyond_their_edges_and_empty_ones_are_0(x64):
    edges = Bins(jnp.array([[0.0, 1.0, 1.0, 3.0]]))
    found, _ = embed(edges, jnp.array([[-1.0, 1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(found, [[-1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0.5, 2]], atol=1e-15)


@pytest.mark.parametrize("num_bins", [1, 3, 8])
def test_edges_are_quantiles_of_the_seen_samples(num_bins, x64):
    rng = np.random.default_rng(num_bins)
    x, weights = rng.standard_normal((2, 40)), (rng.random(40) < 0.6).astype(float)
    found = quantile_edges(jnp.asarray(x), jnp.asarray(weights), num_bins)
    wanted = np.quantile(
        x[:, weights > 0], np.arange(num_bins + 1) / num_bins, axis=1, method="inverted_cdf"
    ).T
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "multilabel_cross_entropy"])
def test_members_predict_their_mean(loss, x64):
    z = 3 * np.random.default_rng(0).standard_normal((1 if loss == "sigmoid_cross_entropy" else 3, 8))
    found = mean_logits(jnp.asarray(z), 2, loss)
    of = {
        "sigmoid_cross_entropy": jax.nn.sigmoid,
        "softmax_cross_entropy": lambda z: jax.nn.softmax(z, axis=0),
        "squared_error": lambda z: z,
        "poisson": jnp.exp,
    }[loss]
    np.testing.assert_allclose(of(found), (of(z[:, :4]) + of(z[:, 4:])) / 2, rtol=1e-12)


def test_members_are_networks_of_their_own_whose_losses_are_averaged(x64):
    data = samples()
    config, params = network("members", data)
    single = dataclasses.replace(config, members=1)
    costs = []
    for m in range(3):
        layers = tuple(
            mlp.Layer(s[:, m : m + 1] * w * r[:, m][None, :], b[:, m : m + 1])
            for w, b, _, (r, s), _ in cast(Any, params)
        )
        costs.append(cost(layers, regjax.HParams(), data, config=single))
    found = cost(params, regjax.HParams(), data, config=config)
    assert float(found) == pytest.approx(np.mean(costs), rel=1e-12)
    assert len(set(map(float, costs))) == 3
    assert for_members(data, 3).weights.sum() == pytest.approx(float(data.weights.sum()))


def test_a_residual_layer_of_zero_weights_passes_its_input_on():
    config = regjax.Config(layer_sizes=(2, 3, 3, 3), residual=True)
    params = [layer._replace(w=layer.w) for layer in init_network(regjax.replicate_key(0), config)]
    params[1] = params[1]._replace(w=jnp.zeros_like(params[1].w))
    _, kept = blocks.forward(tuple(params), jnp.ones((2, 4)), config=config)
    np.testing.assert_array_equal(kept.layers[1].a, kept.layers[0].a)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"norm": "group"}, "norm must be one of none, layer, batch, got 'group'"),
        ({"residual": True}, "residual must be used with two hidden layers of equal width"),
        ({"norm": "layer", "layer_sizes": (2, 1)}, "norm must be used with a hidden layer"),
        ({"norm": "layer", "layer_sizes": (2, 1, 1)}, "norm layer must be used with at least 2 units"),
        ({"embedding_size": 0}, "embedding_size must be at least 1, got 0"),
        ({"embedding_scale": 0}, "embedding_scale must be a number > 0, got 0"),
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"members": 2, "draws": "sklearn"}, "draws must be jax with norm, residual, embedding or members"),
    ],
)
def test_bad_structures_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        regjax.Config(**fields)


def test_piecewise_needs_data_and_group_lasso_no_embedding():
    config = regjax.Config(embedding="piecewise")
    with pytest.raises(ValueError, match="data must be given for piecewise embeddings"):
        init_network(regjax.replicate_key(0), config)
    train, _ = regjax.two_regions(jax.random.key(0))
    with pytest.raises(ValueError, match="group_lasso must be off with embedding piecewise"):
        regjax.make_train(config)(regjax.replicate_key(0), regjax.HParams(group_lasso=0.1), train)
