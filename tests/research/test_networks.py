"""Stacking, and what is said of networks that cannot be measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.mlp import Layer
from regjax.research.networks import check_network, measured, measuring, num_params, stack

pytestmark = pytest.mark.slow

CONFIG = regjax.Config(layer_sizes=(2, 4, 1))


def network(seed=0, sizes=(2, 4, 1)):
    return regjax.init_params(regjax.replicate_key(seed), sizes)


def test_stacked_networks_are_those_in_order():
    networks = [network(seed) for seed in range(3)]
    stacked = stack(networks)
    for index, found in enumerate(networks):
        np.testing.assert_array_equal(stacked[0].w[index], found[0].w)
    # NumPy's arrays, as results keep them, and hyperparameters stack alike.
    kept = [jax.tree.map(np.asarray, found) for found in networks]
    np.testing.assert_array_equal(stack(kept)[1].b, stacked[1].b)
    strengths = stack([regjax.HParams(l2=l2, max_norm=np.inf) for l2 in (0.0, 2.0)])
    assert strengths.l2.tolist() == [0, 2]
    assert strengths.l1 is None


def test_networks_that_do_not_stack_are_refused():
    with pytest.raises(ValueError, match="networks must be at least one, got none"):
        stack([])
    with pytest.raises(
        ValueError, match=r"rows must have the same shapes, got .*\(5, 2\).* for 1 and .* for 0"
    ):
        stack([network(), network(sizes=(2, 5, 1))], "rows")
    diverged = (Layer(network()[0].w, jnp.full((4, 1), jnp.inf)), network()[1])
    with pytest.raises(ValueError, match=r"networks\[1\] must be finite, got NaN or infinity in layer 0, b"):
        stack([network(), diverged])


def test_a_network_is_measured_in_the_dtype_of_its_config(x64):
    config = regjax.Config(layer_sizes=(2, 4, 1), dtype="float64")
    found = check_network("params", network(), config)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float64"}


def test_held_out_samples_are_hidden_and_class_weights_stand_in_the_weights():
    config = regjax.Config(layer_sizes=(2, 4, 1), class_weight=(1.0, 2.0))
    x = np.array([[1.0, 2.0, np.nan], [0.0, 1.0, np.nan]])
    data = regjax.Data(x, np.array([[0, 1, 1]], np.int32), np.array([1.0, 1.0, 0.0]))
    found = measured(network(), regjax.HParams(), data, config)
    assert found.data.x[:, 2].tolist() == [0, 0]
    np.testing.assert_allclose(found.data.weights, [2 / 3, 4 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(found.plain.weights, [1, 1, 0])


def test_parameters_are_counted():
    assert num_params(CONFIG) == sum(leaf.size for leaf in jax.tree.leaves(network()))


@pytest.mark.parametrize("call", [num_params, measuring])
def test_what_is_no_config_is_refused(call):
    with pytest.raises(TypeError, match=r"config must be a regjax\.Config, got tuple"):
        call((2, 4, 1))
