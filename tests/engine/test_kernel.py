"""The kernel, interpreted: the plain program's networks, and nothing from the other networks of a program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import slow_but, some_slow
from chunks import assert_close, fused, make_chunk, plain
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import regjax
from regjax.engine import fused as fused_module
from regjax.engine.fused import advance_fused
from regjax.engine.kernel import Program
from regjax.engine.tiles import THREADS_PER_WARP, Tile, fits

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
    "one network alone, two classes, one layer": (
        {"layer_sizes": (2, 1)}, {"input_keep_prob": 0.5}, {"slots": 1, "lanes": 1}, Tile(32, 1, 1)
    ),
}  # fmt: skip

# Those that take longest; the others have all that a program can have.
DEAR = {
    "minibatches, three layers, softmax over a vector",
    "batches smaller than the threads, in the samples' own order, four layers",
}


def agree(options, values, shape, tile, steps=STEPS):
    config = Config(**options)
    chunk = make_chunk(config, **shape, **values)
    one, other = plain(chunk, config, steps), fused(chunk, config, tile, steps)
    assert_close(one, other)
    # The tolerance would say nothing of networks that stand still.
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one.params, chunk.states.params)
    assert min(jax.tree.leaves(moved)) > 1e-3


@pytest.mark.parametrize("case", slow_but(CASES, CASES.keys() - DEAR))
def test_networks_are_those_of_the_plain_program(case):
    agree(*CASES[case])


# A Latin square: each optimizer and each activation meets each loss.
LOSSES = [(1, False), (3, False), (1, True), (3, True)]
SQUARE = [
    (activation, optimizer, *LOSSES[(i + j) % 4])
    for i, activation in enumerate(["relu", "tanh", "sigmoid", "identity"])
    for j, optimizer in enumerate(["sgd", "momentum", "nesterov", "adam", "adamw"])
]


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "optimizer", "outputs", "real"), SQUARE)
def test_every_activation_optimizer_and_loss(activation, optimizer, outputs, real):
    for hidden in [(4,), (4, 3)]:  # outputs are a list, or a vector
        values = {"learning_rate": 0.01, "keep_prob": 0.8}
        options = {"layer_sizes": (2, *hidden, outputs), "activation": activation, "optimizer": optimizer}
        agree(options, values, {"real": real}, Tile(4, 4, 2))


@pytest.mark.slow
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])  # each takes seconds
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


@pytest.mark.bits
def test_a_network_depends_neither_on_its_lane_nor_on_its_neighbours():
    config, tile, slots, lanes = Config(layer_sizes=(2, 4, 1), activation="tanh"), Tile(4, 4, 2), 2, 3
    rates, l2 = np.linspace(0.1, 0.6, 6), np.linspace(0, 2, 6)

    def trained(order, poisoned=None):
        rate = rates[order].copy()
        if poisoned is not None:
            rate[poisoned] = 1e38
        each = {
            "learning_rate": rate.reshape(slots, lanes),
            "l2": np.repeat(l2[order], config.num_layers).reshape(slots, lanes, -1),
        }
        chunk = make_chunk(config, slots, lanes, each=each, keep_prob=0.8)
        replicates = chunk.replicates  # one for all, so that networks can change places
        key, train = (np.repeat(leaf[:1], slots, 0) for leaf in (replicates.key, replicates.train))
        states = jax.tree.map(lambda leaf: np.broadcast_to(leaf[:1, :1], leaf.shape), chunk.states)
        chunk = chunk._replace(replicates=replicates._replace(key=key, train=train), states=states)
        states = fused(chunk, config, tile, STEPS)
        return chunk, [leaf.reshape(6, -1) for leaf in jax.tree.leaves(states.params)]

    order = np.random.default_rng(0).permutation(6)
    _, straight = trained(np.arange(6))
    _, permuted = trained(order)
    poisoned_chunk, poisoned = trained(np.arange(6), poisoned=3)
    others = np.arange(6) != 3
    for a, b, c in zip(straight, permuted, poisoned, strict=True):
        np.testing.assert_array_equal(a[order], b)
        np.testing.assert_array_equal(a[others], c[others])
        assert np.ptp(a, axis=0).max() > 0.01  # the networks are not all the same
    # The plain program's network diverges too, and no other does.
    reference = jax.tree.leaves(plain(poisoned_chunk, config, STEPS).params)
    assert not all(np.isfinite(leaf[3]).all() for leaf in poisoned)
    for a, b in zip(reference, poisoned, strict=True):
        np.testing.assert_array_equal(np.isfinite(a.reshape(6, -1)), np.isfinite(b))


@pytest.fixture
def lower(monkeypatch):
    """Returns a function that lowers the loop for CUDA, as on a GPU, and returns the program's text."""
    if tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 11):
        # From 0.11 on JAX asks the GPU at hand for its kind; before, it took one of compute capability 9.
        from jax._src.pallas.triton import gpu_info

        info = gpu_info._get_gpu_info_impl(gpu_info.GpuVersion.H100)
        monkeypatch.setattr(gpu_info, "get_gpu_info", lambda *_, **__: info)
    monkeypatch.setattr(fused_module, "has_kernel", lambda: True)

    def text(config, values, tile):
        assert fits(config, tuple(values))
        chunk = make_chunk(config, 1, 4, n=90, **values)  # more than a batch of 32
        known = {"num_batches": chunk.num_batches, "config": config, "tile": tile}
        advance = jax.jit(functools.partial(advance_fused.__wrapped__, **known))
        traced = advance.trace(chunk.replicates, chunk.hparams, chunk.states, 0, 10)
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    return text


@pytest.mark.parametrize(
    ("optimizer", "values", "batch_size", "tile"),
    some_slow(
        ["adam", "sgd", "adamw"],  # the others are made of the same primitives
        [{"keep_prob": 0.86}, {"input_keep_prob": 0.9, "keep_prob": 0.5}, {}],
        [None, 32],
        [Tile(16, 1, 8), Tile(8, 8, 2)],
        every=12,
    ),
)
def test_it_lowers_to_triton_without_a_gpu(optimizer, values, batch_size, tile, lower):
    config = Config(layer_sizes=(2, 20, 3, 1), optimizer=optimizer, batch_size=batch_size)
    assert "triton" in lower(config, values, tile)


def test_a_primitive_that_triton_has_not_is_found_without_a_gpu(lower, monkeypatch):
    monkeypatch.setattr(Program, "fma", lambda self, a, b, c: jnp.sort(c, axis=0))
    with pytest.raises(NotImplementedError, match="sort"):
        lower(Config(layer_sizes=(2, 1)), {}, Tile(32, 1, 1))
