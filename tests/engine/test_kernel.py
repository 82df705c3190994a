"""What both kernels do, interpreted: losses and optimizers, and nothing of a network's neighbours."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import some_slow
from chunks import agree, assert_close, fused, make_chunk, plain

import regjax
from regjax.engine import fused as fused_module
from regjax.engine.fused import advance_fused
from regjax.engine.kernel import Program
from regjax.engine.tiles import Tile, Wide, fits

STEPS = 20
Config = functools.partial(regjax.Config, num_steps=STEPS)
BOTH = pytest.mark.parametrize("tile", [Tile(4, 4, 2), Wide(16, 1)], ids=["narrow", "wide"])

# A Latin square: each optimizer and each activation meets each loss. SOME has each of them.
LOSSES = [(1, False), (3, False), (1, True), (3, True)]
SOME = (0, 2, 3, 1, 0)  # the activation beside each optimizer
SQUARE = [
    pytest.param(
        activation,
        optimizer,
        *LOSSES[i ^ j % 4],
        marks=pytest.mark.slow if i == SOME[j] else pytest.mark.nightly,
    )
    for i, activation in enumerate(["relu", "tanh", "sigmoid", "identity"])
    for j, optimizer in enumerate(["sgd", "momentum", "nesterov", "adam", "adamw"])
]


@pytest.mark.nightly
@pytest.mark.sampled(1)
@BOTH
@pytest.mark.parametrize(("activation", "optimizer", "outputs", "real"), SQUARE)
def test_every_activation_optimizer_and_loss(activation, optimizer, outputs, real, tile):
    for hidden in [(4,), (4, 3)]:  # outputs are a list, or a vector
        values = {"learning_rate": 0.01, "keep_prob": 0.8}
        options = {"layer_sizes": (2, *hidden, outputs), "activation": activation, "optimizer": optimizer}
        agree(options, values, {"real": real}, tile)


@pytest.mark.slow
@pytest.mark.sampled(1)
@BOTH
def test_several_labels_of_a_sample(tile):
    config = Config(layer_sizes=(2, 6, 3), loss="multilabel_cross_entropy")
    chunk = make_chunk(config, real=True)
    labels = (chunk.replicates.y > 0).astype("i4")
    chunk = chunk._replace(replicates=chunk.replicates._replace(y=labels))
    assert_close(plain(chunk, config, STEPS), fused(chunk, config, tile, STEPS))


@pytest.mark.nightly
@pytest.mark.bits
@BOTH
def test_a_network_depends_neither_on_its_lane_nor_on_its_neighbours(tile):
    config, slots, lanes = Config(layer_sizes=(2, 4, 1), activation="tanh"), 2, 3
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


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("optimizer", "values", "batch_size", "tile"),
    some_slow(
        ["adam", "sgd", "adamw"],  # the others are made of the same primitives
        [{"keep_prob": 0.86}, {"input_keep_prob": 0.9, "keep_prob": 0.5}, {}],
        [None, 32],
        [Tile(16, 1, 8), Wide(32, 4), Tile(8, 8, 2), Wide(16, 8)],
        every=9,
    ),
)
def test_it_lowers_to_triton_without_a_gpu(optimizer, values, batch_size, tile, lower):
    config = Config(layer_sizes=(2, 20, 3, 1), optimizer=optimizer, batch_size=batch_size)
    assert "triton" in lower(config, values, tile)


@BOTH
def test_a_primitive_that_triton_has_not_is_found_without_a_gpu(tile, lower, monkeypatch):
    monkeypatch.setattr(Program, "fma", lambda self, a, b, c: jnp.sort(c, axis=0))
    with pytest.raises(NotImplementedError, match="sort"):
        lower(Config(layer_sizes=(2, 1)), {}, tile)
