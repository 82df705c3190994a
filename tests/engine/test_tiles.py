"""Tiles: how parameters are divided among threads, and which networks the kernel is chosen for."""

import dataclasses
import itertools
import math
import types

import jax
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regjax.core.config import Config
from regjax.core.hparams import ABSENT
from regjax.engine import tiles
from regjax.engine.tiles import (
    KNOWN,
    MOST_OWN,
    MOST_SPLITS,
    Tile,
    Wide,
    best_splits,
    blocks_of,
    fits,
    is_fused,
    is_narrow,
    is_vector,
    own_params,
    padded,
    pieces_of,
    shape_for,
    splits_of,
    tile_for,
    wide_for,
)

SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=5).map(tuple)
SPLITS = st.sampled_from([1, 2, 4, 8, 16])
CONFIG = Config(layer_sizes=(2, 20, 3, 1))


def num_params(sizes):
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def indices(piece, split):
    first = piece.first + split * piece.of_split
    return [first + unit * piece.stride for unit in range(piece.units or 1)]


@given(SIZES, SPLITS)
@example((2, 20, 3, 1), 4)
def test_pieces_hold_each_parameter_once(sizes, splits):
    config = Config(layer_sizes=sizes)
    pieces = pieces_of(config, splits)
    # A piece that is the same for all splits is held by each of them, and counts once.
    held = [i for p in pieces for split in range(splits if p.of_split else 1) for i in indices(p, split)]
    assert sorted(held) == list(range(num_params(sizes)))
    # The places of weights and of biases, as `flatten` counts them: each layer's w row by row, then b.
    at, weights = 0, set()
    for fan_in, fan_out in itertools.pairwise(sizes):
        weights |= set(range(at, at + fan_in * fan_out))
        at += (fan_in + 1) * fan_out
    for piece in pieces:
        for split in range(splits if piece.of_split else 1):
            assert {i in weights for i in indices(piece, split)} == {piece.weights}


@given(SIZES, SPLITS)
def test_blocks_are_powers_of_two_that_add_up(sizes, splits):
    config = Config(layer_sizes=sizes)
    for layer, units in enumerate(sizes):
        divided = splits_of(config, layer, splits)
        assert divided in (1, splits)
        assert units % divided == 0
        if divided > 1:  # the input and the outputs, and lists, are the same for all splits
            assert is_vector(layer)
            assert 0 < layer < config.num_layers
        blocks = blocks_of(config, layer, splits)
        assert all(block.units & (block.units - 1) == 0 for block in blocks)
        assert [b.first for b in blocks] == list(np.cumsum([0] + [b.units for b in blocks])[:-1])
        assert sum(block.units for block in blocks) == units // divided


@given(SIZES)
@example((2, 20, 3, 1))
@example((784, 100, 10))
def test_a_thread_never_holds_more_than_it_may(sizes):
    config = Config(layer_sizes=sizes)
    found = best_splits(config)
    tried = [2**i for i in range(int(math.log2(MOST_SPLITS)) + 1)]
    enough = [splits for splits in tried if own_params(config, splits) <= MOST_OWN]
    assert found == min(enough, default=None)
    assert is_narrow(config) == (found is not None)


def test_a_network_of_the_tutorial_is_divided_by_its_wide_layer():
    # By hand: of 20 hidden units each of 2 threads has 10, with 2 + 1 + 3 parameters each; 3 biases of the
    # next layer, and 3 + 1 parameters of the output, which both have.
    assert own_params(CONFIG, 2) == 10 * (2 + 1 + 3) + 3 + 3 + 1
    assert best_splits(CONFIG) == 2
    assert best_splits(Config(layer_sizes=(784, 100, 10))) is None


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float64"},
        {"activation": "gelu"},
        {"activation": "silu"},
        {"activation": "selu"},
        {"stop_on": "loss"},
        {"stop_on": "score"},
        {"batches": "all", "batch_size": 16},
        {"draws": "sklearn"},
        {"epsilon_hat": True, "optimizer": "adam"},
        {"layer_sizes": (2, 200, 1000, 1)},
    ],
    ids=str,
)
def test_a_config_that_the_kernel_does_not_know_is_refused(options):
    assert fits(CONFIG, ())
    assert not fits(dataclasses.replace(CONFIG, **options), ())


@pytest.mark.parametrize("name", ABSENT)
def test_a_regulariser_that_the_kernel_does_not_know_is_refused(name):
    known = name in ("keep_prob", "input_keep_prob", "patience")  # spelled out: a new one is not known
    assert fits(CONFIG, (name,)) == known
    assert fits(CONFIG, (name, "keep_prob")) == known
    assert (name in KNOWN) == known


def test_the_kernel_is_chosen_on_an_nvidia_gpu_alone(monkeypatch):
    kinds = [("cpu", "cpu", 0), ("gpu", "AMD Instinct MI300X", "9.4"), ("gpu", "NVIDIA T4", "7.5")]
    chosen = []
    for backend, kind, capability in [*kinds, ("gpu", "NVIDIA H100 80GB HBM3", "9.0")]:
        device = types.SimpleNamespace(device_kind=kind, compute_capability=capability)
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        monkeypatch.setattr(jax, "devices", lambda device=device: [device])
        chosen.append(is_fused(CONFIG, ()))
        assert not is_fused(CONFIG, ("mixup",))
    assert chosen == [False, False, False, True]


@pytest.mark.cpu("a GPU has the kernel")
def test_the_kernel_is_not_chosen_on_a_cpu():
    assert not is_fused(CONFIG, ())


@pytest.mark.slow
@given(SIZES.filter(lambda sizes: best_splits(Config(layer_sizes=sizes))), st.integers(1, 100_000))
@example((2, 20, 3, 1), 4096)
def test_a_tile_is_a_whole_number_of_warps(sizes, num_lanes):
    config = Config(layer_sizes=sizes)
    tile = tile_for(config, num_lanes)
    assert all(n & (n - 1) == 0 and n > 0 for n in tile)
    assert tile.threads == tile.parts * tile.lanes * tile.splits == tiles.THREADS
    assert tile.threads % tiles.THREADS_PER_WARP == 0
    assert own_params(config, tile.splits) <= MOST_OWN


def test_networks_share_a_program_only_where_there_are_enough(monkeypatch):
    class Device:
        core_count = 132

    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    # Up to one program a multiprocessor each network has its own; then two share one, until there are two
    # programs on each, and more share one from there on.
    lanes = {count: tile_for(CONFIG, count).lanes for count in (1, 132, 133, 264, 265, 529, 4096, 65_536)}
    assert lanes == {1: 1, 132: 1, 133: 2, 264: 2, 265: 2, 529: 4, 4096: 16, 65_536: 16}
    assert Tile(4, 16, 2).threads == 128


@pytest.fixture
def card(monkeypatch):
    """A GPU of 132 multiprocessors."""
    monkeypatch.setattr(tiles, "_multiprocessors", lambda: 132)


def test_a_thread_goes_through_few_samples_or_the_networks_fill_the_card(card):
    config = Config(layer_sizes=(2, 20, 3, 1))
    assert isinstance(shape_for(config, columns=224, num_lanes=16), Tile)
    assert shape_for(config, columns=10_000, num_lanes=16) is None  # 157 samples for each thread
    assert isinstance(shape_for(config, columns=10_000, num_lanes=4_096), Tile)
    assert isinstance(shape_for(Config(layer_sizes=(30, 32, 1)), columns=32, num_lanes=256), Tile)


def test_matrix_products_have_few_turns_or_networks_that_fill_the_card(card):
    config, found = Config(layer_sizes=(30, 64, 32, 1)), {}
    for networks in (1, 16, 132, 256, 527, 528, 4096):
        found[networks] = [n for n in (32, 64, 65, 128, 129, 10_000) if shape_for(config, n, networks)]
    few, some, all_of_them = [32, 64], [32, 64, 65, 128], [32, 64, 65, 128, 129, 10_000]
    assert found == {1: few, 16: few, 132: some, 256: some, 527: some, 528: all_of_them, 4096: all_of_them}
    assert shape_for(Config(layer_sizes=(64, 256, 256, 10)), 32, 16) is None


def test_places_of_random_bits_are_32_bit_integers(card):
    config = Config(layer_sizes=(70, 1))
    assert shape_for(config, columns=1_000, num_lanes=65_536, num_replicates=10) is not None
    assert shape_for(config, columns=1_000, num_lanes=65_536, num_replicates=65_536) is None


@given(st.lists(st.integers(1, 300), min_size=2, max_size=5).map(tuple), st.integers(1, 5_000))
@example((30, 64, 32, 1), 32)
def test_a_wide_program_holds_no_more_than_it_may(sizes, columns):
    for optimizer, copies in (("sgd", 2), ("momentum", 3), ("adam", 4)):
        found = wide_for(Config(layer_sizes=sizes, optimizer=optimizer), columns)
        widths = [padded(size) for size in sizes]
        numbers = copies * num_params(widths)
        if found is None:
            assert numbers + 16 * sum(widths) > 256 * 32 * 4  # more than half of what 16 warps may hold
            continue
        assert all(n & (n - 1) == 0 for n in found)
        assert 16 <= found.rows <= max(16, 2 * columns)
        assert numbers <= 255 * found.threads
        assert found.units_of(Config(layer_sizes=sizes), 0) == (1, widths[0])


@given(st.integers(1, 10_000))
def test_a_filled_up_layer_has_a_power_of_two_of_units(units):
    found = padded(units)
    assert found & (found - 1) == 0
    assert max(16, units) <= found < max(17, 2 * units)


def test_networks_of_lower_precision_go_by_matrix_products(card):
    config = Config(layer_sizes=(2, 20, 3, 1), precision="default")
    assert isinstance(shape_for(config, columns=32, num_lanes=16), Wide)
    assert fits(config, ())
    assert fits(Config(layer_sizes=(30, 64, 32, 1)), ("keep_prob",))
    assert not fits(Config(layer_sizes=(64, 256, 256, 10)), ())
