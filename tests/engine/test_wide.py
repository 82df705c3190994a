"""The kernel of wide networks, interpreted: it trains the networks of the plain program."""

import functools
import itertools

import jax
import numpy as np
import pytest
from cases import slow_but
from chunks import agree, assert_close, fused, make_chunk, plain
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import regjax
from regjax.engine.tiles import Wide, padded
from regjax.engine.wide import WideProgram

STEPS = 20
Config = functools.partial(regjax.Config, num_steps=STEPS)

# Each has several features at once: one program for each of them would take minutes to compile.
CASES = {
    "dropout of hidden and input units, l1, full batches in turns": (
        {"layer_sizes": (2, 18, 3, 1), "activation": "sigmoid"},
        {"keep_prob": 0.8, "input_keep_prob": 0.9, "l1": 0.1},
        {},
        Wide(16, 1),
    ),
    "minibatches of balanced classes, nothing shared": (
        {"layer_sizes": (3, 5, 2), "activation": "tanh", "optimizer": "momentum", "batch_size": 10,
         "class_weight": "balanced"},
        {"momentum": 0.8, "keep_prob": 0.7, "l1": (0.1, 0.3)},
        {"shared": False, "n": 33},
        Wide(16, 1),
    ),
    "minibatches of a turn and a bit, three layers, softmax": (
        {"layer_sizes": (2, 8, 3, 3), "activation": "sigmoid", "optimizer": "adamw", "batch_size": 17,
         "class_weight": (1, 2.5, 0.5)},
        {"weight_decay": 0.1, "learning_rate": 0.01, "keep_prob": (0.5, 0.9), "l2": (0.1, 0.7, 0)},
        {},
        Wide(16, 1),
    ),
    "squared error of several outputs, own inputs of each network, a warm-up": (
        {"layer_sizes": (2, 6, 2), "activation": "identity", "schedule": "cosine", "warmup_steps": 5,
         "optimizer": "nesterov"},
        {"end_fraction": 0.1, "learning_rate": 0.03},
        {"real": True, "shared": False, "x_per_fold": True},
        Wide(64, 1),
    ),
    "poisson, minibatches in the samples' own order": (
        {"layer_sizes": (2, 4, 2), "activation": "tanh", "loss": "poisson", "batch_size": 7, "shuffle": False,
         "optimizer": "adam"},
        {"learning_rate": 0.01},
        {"real": True, "lanes": 2},
        Wide(16, 1),
    ),
    "one network alone, two classes, one layer": (
        {"layer_sizes": (20, 1)}, {"input_keep_prob": 0.5}, {"slots": 1, "lanes": 1}, Wide(64, 1)
    ),
}  # fmt: skip

DEAR = {"minibatches of a turn and a bit, three layers, softmax"}


@pytest.mark.nightly
@pytest.mark.parametrize("case", slow_but(CASES, CASES.keys() - DEAR))
def test_networks_are_those_of_the_plain_program(case):
    agree(*CASES[case])


@pytest.mark.nightly
@settings(max_examples=8, phases=[Phase.explicit, Phase.generate])  # each takes seconds
@given(data=st.data())
def test_every_shape_of_network_and_program(data):
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 5, 16, 17, 33]), min_size=2, max_size=4))
    tile = Wide(data.draw(st.sampled_from([16, 32, 64])), 1)
    batch = data.draw(st.sampled_from([None, 1, 6, 17]))
    values = {"keep_prob": 0.8, "input_keep_prob": 0.9} if len(sizes) > 2 else {"input_keep_prob": 0.9}
    config = Config(layer_sizes=tuple(sizes), activation="tanh", batch_size=batch)
    chunk = make_chunk(config, data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)), **values)
    assert_close(plain(chunk, config, STEPS), fused(chunk, config, tile, STEPS))


@pytest.mark.slow
def test_rounding_to_bfloat16_is_that_of_the_plain_program():
    config = Config(layer_sizes=(5, 20, 3), activation="tanh", precision="bfloat16")
    chunk = make_chunk(config)
    found = fused(chunk, config, Wide(16, 1), STEPS)
    apart = {}
    for precision in ("bfloat16", "highest"):
        like = Config(layer_sizes=(5, 20, 3), activation="tanh", precision=precision)
        leaves = zip(
            jax.tree.leaves(plain(chunk, like, STEPS).params), jax.tree.leaves(found.params), strict=True
        )
        apart[precision] = max(np.abs(a - b).max() for a, b in leaves)
    # One number that is rounded the other way at 2⁻⁹ of itself is passed on by the steps that follow.
    assert apart["bfloat16"] < 0.2 * apart["highest"]


@pytest.mark.nightly
@given(st.lists(st.integers(1, 40), min_size=2, max_size=4), st.integers(1, 3))
@settings(max_examples=8)
def test_parameters_are_laid_out_and_restored(sizes, lanes):
    rng = np.random.default_rng(0)
    params = tuple(
        regjax.Layer(*(rng.standard_normal((lanes, *s)).astype("f4") for s in ((k, j), (k, 1))))
        for j, k in itertools.pairwise(sizes)
    )
    flat = np.asarray(WideProgram.lay_out(params))
    widths = [padded(size) for size in sizes]
    assert flat.shape == (lanes, sum((j + 1) * k for j, k in itertools.pairwise(widths)))
    jax.tree.map(np.testing.assert_array_equal, WideProgram.restore(flat, tuple(sizes)), params)
    # What fills up is 0, and no number is lost or doubled.
    assert np.count_nonzero(flat) == sum(leaf.size for leaf in jax.tree.leaves(params))
