import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import some_slow

import regjax
from regjax.core.certificate import make_problem
from regjax.core.config import Activation, Loss
from regjax.core.data import Data, pad_samples
from regjax.core.gradient_check import relative_error
from regjax.core.mlp import Layer
from regjax.core.objective import BatchSizes, cost, cost_and_grads, full_batch_sizes, resolve_loss
from regjax.core.penalties import penalty

CONFIG = regjax.Config(layer_sizes=(3, 5, 1), dtype="float64")


def problem(config=CONFIG, loss="sigmoid_cross_entropy"):
    found = make_problem(config, loss, np.random.default_rng(1))
    return jax.tree.map(jnp.asarray, (found.params, found.data))


def test_cost_worked_by_hand():
    # One layer, w = (2, -1), b = 0, x = (1, 1): z = 1. Squared error against 3: ½·(1 - 3)² = 2.
    # Weights (1, 3) over two equal samples change nothing: (1·2 + 3·2)/4 = 2. With n = Σw = 4:
    # l2 = 0.8: 0.8/(2·4)·(4 + 1) = 0.5;  l1 = 0.4: 0.4/4·(2 + 1) = 0.3.
    params = (Layer(jnp.array([[2.0, -1.0]]), jnp.zeros((1, 1))),)
    data = Data(jnp.ones((2, 2)), jnp.full((1, 2), 3.0), jnp.array([1.0, 3.0]))
    config = regjax.Config(layer_sizes=(2, 1))
    assert float(cost(params, regjax.HParams(), data, config=config)) == pytest.approx(2.0)
    assert float(cost(params, regjax.HParams(l2=0.8, l1=0.4), data, config=config)) == pytest.approx(2.8)


def test_biases_are_not_penalised():
    params = (Layer(jnp.zeros((1, 2)), jnp.full((1, 1), 9.0)),)
    assert float(penalty(params, regjax.HParams(l2=1.0, l1=1.0))) == 0


def test_one_strength_per_layer(x64):
    params, _ = problem()
    per_layer = regjax.HParams(l2=jnp.array([0.5, 0.0]), l1=jnp.array([0.0, 0.2]))
    expected = 0.25 * jnp.sum(params[0].w ** 2) + 0.2 * jnp.sum(jnp.abs(params[1].w))
    np.testing.assert_allclose(penalty(params, per_layer), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("loss", get_args(Loss))
def test_gradient_without_masks_and_with_batch_sizes(loss, x64):
    """`regjax check` covers the product with masks; here inference mode and a minibatch's sizes."""
    params, data = problem(loss=loss)
    config = dataclasses.replace(CONFIG, loss=loss)
    hparams, sizes = regjax.HParams(l2=0.7, l1=0.2), BatchSizes(7.0, 100.0)

    def objective(p, x):
        return cost(p, hparams, data._replace(x=x), config=config, sizes=sizes)

    value, *ours = cost_and_grads(params, hparams, data, config=config, sizes=sizes)
    assert relative_error(tuple(ours), jax.grad(objective, argnums=(0, 1))(params, data.x)) < 1e-10
    assert float(value) == pytest.approx(float(objective(params, data.x)), rel=1e-14)


@pytest.mark.nightly
@pytest.mark.sampled(12)
@pytest.mark.parametrize(("activation", "loss"), some_slow(get_args(Activation), get_args(Loss), every=5))
def test_what_bfloat16_costs_in_accuracy(activation, loss):
    """Each operand is off by up to 2⁻⁹ of itself; no error grows beyond a few times that."""
    params, data = problem(dataclasses.replace(CONFIG, layer_sizes=(3, 16, 8, 1)), loss)
    config = regjax.Config(layer_sizes=(3, 16, 8, params[-1].w.shape[0]), activation=activation, loss=loss)
    rounded = dataclasses.replace(config, precision="bfloat16")
    hparams = regjax.HParams(l2=0.1)
    value, grads, _ = cost_and_grads(params, hparams, data, config=config)
    other, other_grads, _ = cost_and_grads(params, hparams, data, config=rounded)
    assert 0 < abs(float(other - value)) < 1e-2 * float(value)
    assert 0 < relative_error(other_grads, grads) < 2e-2


@pytest.mark.slow
def test_padding_changes_neither_cost_nor_gradient(x64):
    params, data = problem()
    padded = pad_samples(data)
    assert padded.x.shape == (3, 16)
    hparams = regjax.HParams(l2=0.7)
    plain = cost_and_grads(params, hparams, data, config=CONFIG)[:2]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15),
        plain,
        cost_and_grads(params, hparams, padded, config=CONFIG)[:2],
    )


def test_objective_does_not_depend_on_the_batch_size(x64):
    """The mean of the costs of two half batches is the full batch's cost, penalty included."""
    params, data = problem()
    data = jax.tree.map(lambda leaf: leaf[..., :6], data)
    hparams, n = regjax.HParams(l2=0.7), full_batch_sizes(data).num_train
    halves = [jax.tree.map(lambda leaf, s=s: leaf[..., s], data) for s in (slice(0, 3), slice(3, 6))]
    sizes = BatchSizes(n / 2, n)
    costs = [cost(params, hparams, half, config=CONFIG, sizes=sizes) for half in halves]
    np.testing.assert_allclose(np.mean(costs), cost(params, hparams, data, config=CONFIG), rtol=1e-12)


def test_auto_loss():
    labels, reals = jnp.zeros((1, 4), jnp.int32), jnp.zeros((1, 4))
    for sizes, y, expected in (
        ((2, 1), labels, "sigmoid_cross_entropy"),
        ((2, 3), labels, "softmax_cross_entropy"),
        ((2, 1), reals, "squared_error"),
    ):
        config = regjax.Config(layer_sizes=sizes)
        assert resolve_loss(config, Data(jnp.zeros((2, 4)), y, jnp.ones(4))) == expected
