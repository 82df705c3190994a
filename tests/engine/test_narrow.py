"""The kernel of narrow networks, interpreted: it trains the networks of the plain program."""

import functools

import jax
import numpy as np
import pytest
from cases import slow_but
from chunks import agree, assert_close, fused, make_chunk, plain
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import regjax
from regjax.engine.narrow import Narrow
from regjax.engine.tiles import THREADS_PER_WARP, Tile, pieces_of

STEPS = 20
Config = functools.partial(regjax.Config, num_steps=STEPS)

# Each has several features at once: one program for each of them would take minutes to compile.
CASES = {
    "dropout of hidden and input units, l1": (
        {"layer_sizes": (2, 6, 2, 1)},
        {"keep_prob": 0.8, "input_keep_prob": 0.9, "l1": 0.1},
        {"lanes": 4},
        Tile(4, 8, 2),
    ),
    "minibatches of balanced classes, nothing shared, a program that is not full": (
        {"layer_sizes": (3, 5, 2), "activation": "tanh", "optimizer": "momentum", "batch_size": 10,
         "class_weight": "balanced"},
        {"momentum": 0.8, "keep_prob": 0.7, "l1": (0.1, 0.3)},
        {"shared": False, "n": 33},
        Tile(8, 4, 1),
    ),
    "minibatches, three layers, softmax over a vector": (
        {"layer_sizes": (2, 8, 3, 3), "activation": "sigmoid", "optimizer": "adamw", "batch_size": 13,
         "class_weight": (1, 2.5, 0.5)},
        {"weight_decay": 0.1, "learning_rate": 0.01, "keep_prob": (0.5, 0.9), "l2": (0.1, 0.7, 0)},
        {},
        Tile(8, 2, 4),
    ),
    "batches smaller than the threads, in the samples' own order, four layers": (
        {"layer_sizes": (2, 4, 2, 2, 2), "activation": "tanh", "optimizer": "adam", "batch_size": 5,
         "shuffle": False},
        {"learning_rate": 0.01, "input_keep_prob": 0.8},
        {"lanes": 2},
        Tile(8, 4, 2),
    ),
    "squared error of several outputs, own inputs of each network, a warm-up": (
        {"layer_sizes": (2, 6, 2), "activation": "identity", "schedule": "cosine", "warmup_steps": 5,
         "optimizer": "nesterov"},
        {"end_fraction": 0.1, "learning_rate": 0.03},
        {"real": True, "shared": False, "x_per_fold": True},
        Tile(32, 1, 2),
    ),
    "squared error over a vector, one layer, own inputs of each fold": (
        {"layer_sizes": (3, 3), "optimizer": "adam", "schedule": "exponential", "decay_steps": 9},
        {"learning_rate": 0.01, "b1": 0.8, "eps": 1e-4},
        {"real": True, "x_per_fold": True},
        Tile(16, 2, 1),
    ),
    "poisson of two outputs": (
        {"layer_sizes": (2, 4, 2), "activation": "tanh", "loss": "poisson"},
        {"learning_rate": 0.01},
        {"real": True, "lanes": 2},
        Tile(16, 2, 1),
    ),
    "one network alone, two classes, one layer, cycles of the learning rate": (
        {"layer_sizes": (2, 1), "schedule": "cyclic", "decay_steps": 3},
        {"input_keep_prob": 0.5},
        {"slots": 1, "lanes": 1},
        Tile(32, 1, 1),
    ),
}  # fmt: skip

# Those that take longest; the others have all that a program can have.
DEAR = {
    "minibatches, three layers, softmax over a vector",
    "batches smaller than the threads, in the samples' own order, four layers",
}


@pytest.mark.nightly
@pytest.mark.parametrize("case", slow_but(CASES, CASES.keys() - DEAR))
def test_networks_are_those_of_the_plain_program(case):
    agree(*CASES[case])


@pytest.mark.nightly
@settings(max_examples=8, phases=[Phase.explicit, Phase.generate])  # each takes seconds
@given(data=st.data())
def test_every_shape_of_network_and_program(data):
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    lanes, splits = data.draw(st.sampled_from([1, 4, 16])), data.draw(st.sampled_from([1, 2, 4]))
    parts = max(data.draw(st.sampled_from([1, 4, 16])), THREADS_PER_WARP // (lanes * splits))
    batch = data.draw(st.sampled_from([None, 1, 6, 17]))
    values = {"keep_prob": 0.8, "input_keep_prob": 0.9} if len(sizes) > 2 else {"input_keep_prob": 0.9}
    config = Config(layer_sizes=tuple(sizes), activation="tanh", batch_size=batch)
    chunk = make_chunk(config, data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)), **values)
    assert_close(plain(chunk, config, STEPS), fused(chunk, config, Tile(parts, lanes, splits), STEPS))


def test_states_are_rows_in_the_order_of_the_pieces():
    config = regjax.Config(layer_sizes=(2, 3, 2), optimizer="adam")
    rng = np.random.default_rng(0)
    shapes = [((3, 2), (3, 1)), ((2, 3), (2, 1))]
    params = tuple(
        regjax.Layer(*(rng.standard_normal((5, *shape)).astype("f4") for shape in layer)) for layer in shapes
    )
    rows = np.asarray(Narrow.lay_out(params))
    np.testing.assert_array_equal(rows[:6], params[0].w.reshape(5, 6).T)
    np.testing.assert_array_equal(rows[6:9], params[0].b.reshape(5, 3).T)
    assert rows.shape == (17, 5)
    assert len(rows) == sum(piece.units or 1 for piece in pieces_of(config, 1))
    restored = Narrow.restore(rows, config.layer_sizes)
    jax.tree.map(np.testing.assert_array_equal, restored, params)
