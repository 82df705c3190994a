"""How networks are divided among the threads of `engine/kernel.py`, and which networks fit.

`engine/tasks.py` asks `is_fused` for each group, so nothing here imports the kernel. Below, a *program* is
Triton's: the threads of one tile, which run together on one multiprocessor. A *split* is one of the threads
that divide the units of a wide layer among themselves, and no split of the data.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax

from regjax.core.config import Config

# The most parameters of a network that a thread holds: as many again are its gradient, and a thread has 255
# registers.
MOST_OWN = 80
# The most threads that share the units of a layer.
MOST_SPLITS = 16


class Tile(NamedTuple):
    """The shape of a program, each number a power of two.

    Attributes:
        parts: threads that share the samples of a network: each sums the gradient of its own.
        lanes: networks of the program.
        splits: threads that share the units of a network's wide layers, see `splits_of`.
    """

    parts: int
    lanes: int
    splits: int

    @property
    def threads(self) -> int:
        """Number of threads of a program."""
        return self.parts * self.lanes * self.splits

    def units_of(self, config: Config, layer: int) -> tuple[int, int]:
        """Returns among how many threads a layer's units are divided, and how many each has, filled up."""
        splits = splits_of(config, layer, self.splits)
        return splits, 2 ** (config.layer_sizes[layer] // splits - 1).bit_length()


class Wide(NamedTuple):
    """The shape of a program of `engine/wide.py`, each number a power of two.

    Attributes:
        rows: samples that a turn takes.
        warps: 32 threads each.
    """

    rows: int
    warps: int
    lanes: int = 1  # of a program: always 1

    @property
    def threads(self) -> int:
        """Number of threads of a program."""
        return THREADS_PER_WARP * self.warps

    def units_of(self, config: Config, layer: int) -> tuple[int, int]:
        """Returns 1, as nothing is divided by hand, and the units of a layer, filled up."""
        return 1, padded(config.layer_sizes[layer])


Shape = Tile | Wide


def padded(units: int) -> int:
    """Returns the units of a layer in `engine/wide.py`, a power of two from 16 on."""
    return max(16, 2 ** (units - 1).bit_length())


class Block(NamedTuple):
    """Units of a layer that are one array of a thread.

    Attributes:
        first: the first of them, counted from the first unit of the thread.
        units: their number, a power of two.
    """

    first: int
    units: int


class Piece(NamedTuple):
    """Parameters that are one array of a thread.

    Attributes:
        first: index of the first one of split 0.
        stride: distance to the parameter of the next unit.
        units: number of units, an array `(threads, units)`; None is one parameter, an array `(threads,)`.
        of_split: distance to the first one of the next split; 0 where all splits hold the same.
        layer: the layer of weights, from 0.
        weights: whether they are weights, not biases.
    """

    first: int
    stride: int
    units: int | None
    of_split: int
    layer: int
    weights: bool


def is_vector(layer: int) -> bool:
    """Returns whether the units of a layer are a vector and not a list, see `engine/kernel.py`.

    Layers alternate, and the input, layer 0, is a list: so of two layers that weights connect, one is a list.
    """
    return layer % 2 == 1


def splits_of(config: Config, layer: int, splits: int) -> int:
    """Returns among how many threads the units of a layer are divided."""
    hidden = is_vector(layer) and 0 < layer < config.num_layers
    return splits if hidden and config.layer_sizes[layer] % splits == 0 else 1


def blocks_of(config: Config, layer: int, splits: int) -> list[Block]:
    """Returns the arrays of a thread's units of a layer, as powers of two.

    Example:
        >>> blocks_of(Config(layer_sizes=(2, 20, 3, 1)), 1, splits=1)
        [Block(first=0, units=16), Block(first=16, units=4)]
    """
    own, first, found = config.layer_sizes[layer] // splits_of(config, layer, splits), 0, []
    while first < own:
        found.append(Block(first, 2 ** ((own - first).bit_length() - 1)))
        first += found[-1].units
    return found


def pieces_of(config: Config, splits: int) -> list[Piece]:
    """Returns the arrays of a thread's parameters: of each layer of weights, w and then b.

    Where the outputs are a vector, w is given column by column, else row by row. Parameters are counted as in
    a row of `fused.flatten`: w row by row, then b.
    """
    found, at = [], 0
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(config.layer_sizes)):
        bias = at + fan_in * fan_out
        vector = is_vector(layer + 1)
        # Of the two layers that the weights connect, one is a vector: its units are in one array.
        of = layer + 1 if vector else layer
        blocks, divided = blocks_of(config, of, splits), splits_of(config, of, splits)
        own = 0 if divided == 1 else config.layer_sizes[of] // divided
        if vector:
            columns = itertools.product(range(fan_in), blocks)
            w = [(at + block.first * fan_in + j, fan_in, block.units, own * fan_in) for j, block in columns]
            b = [(bias + block.first, 1, block.units, own) for block in blocks]
        else:
            rows = itertools.product(range(fan_out), blocks)
            w = [(at + k * fan_in + block.first, 1, block.units, own) for k, block in rows]
            b = [(bias + k, 1, None, 0) for k in range(fan_out)]
        found += [Piece(*each, layer, True) for each in w] + [Piece(*each, layer, False) for each in b]
        at = bias + fan_out
    return found


def own_params(config: Config, splits: int) -> int:
    """Returns how many parameters a thread holds."""
    return sum(piece.units or 1 for piece in pieces_of(config, splits))


def best_splits(config: Config) -> int | None:
    """Returns the fewest splits with which a thread can hold its parameters; None where none suffice."""
    splits = 1
    while splits <= MOST_SPLITS:
        if own_params(config, splits) <= MOST_OWN:
            return splits
        splits *= 2
    return None


# -- which networks, and how many in a program --------------------------------------------------------------

# The regularisers that the kernel knows, beside l2, l1 and weight_decay; patience acts at records alone.
KNOWN = ("keep_prob", "input_keep_prob", "patience")
THREADS = 128
THREADS_PER_WARP = 32
# Triton compiles for cards from this compute capability on (Ampere); the kernel was measured on 9.0.
LEAST_CAPABILITY = 8.0
# The most samples of a step that one thread goes through, where networks are too few for a warp on every
# multiprocessor. A turn took 0.7 to 1.3 µs, and the plain program some 40 µs for a step (docs/benchmarks.md).
MOST_TURNS = 32
# Of `engine/wide.py`: the most samples of a turn, and the most numbers that a thread holds.
MOST_ROWS, MOST_HELD = 32, 150
# Numbers of an optimizer's state for each parameter.
STATE_SIZE = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}


def is_fused(config: Config, on: Sequence[str]) -> bool:
    """Returns whether the networks of a group are trained by the kernel on this machine."""
    return has_kernel() and fits(config, on)


def has_kernel() -> bool:
    """Returns whether JAX computes on a GPU for which the kernel can be compiled."""
    if jax.default_backend() != "gpu" or "NVIDIA" not in jax.devices()[0].device_kind:
        return False
    return float(getattr(jax.devices()[0], "compute_capability", 0)) >= LEAST_CAPABILITY


def fits(config: Config, on: Sequence[str]) -> bool:
    """Returns whether one of the kernels can train a network.

    Args:
        config: layer sizes, activation, optimizer, schedule.
        on: regularisers that are compiled in, see `hparams.switched_on`.
    """
    return (
        config.is_plain
        and config.dtype == "float32"
        and config.activation in ("relu", "tanh", "sigmoid", "identity")
        and config.stop_on is None
        and config.batches == "equal"
        and config.draws == "jax"
        and not config.epsilon_hat
        and all(name in KNOWN for name in on)
        and (is_narrow(config) or wide_for(config, 16) is not None)
    )


def is_narrow(config: Config) -> bool:
    """Returns whether `engine/narrow.py` can train a network; it has no products of lower precision."""
    return config.precision == "highest" and best_splits(config) is not None


def shape_for(config: Config, columns: int, num_lanes: int, num_replicates: int = 1) -> Shape | None:
    """Returns the shape of the program that trains a chunk of networks that `fits`.

    Args:
        config: config of the networks.
        columns: number of samples of a step.
        num_lanes: number of networks of the chunk.
        num_replicates: number of replicates whose random bits are drawn.

    Returns:
        None where the plain program is likely faster.
    """
    # The places of a step's bits, filled up to powers of two, are 32-bit integers.
    if 2 * num_replicates * columns * sum(config.layer_sizes[:-1]) >= 2**31:
        return None
    if is_narrow(config):
        tile = tile_for(config, num_lanes)
        full = num_lanes * tile.splits >= THREADS_PER_WARP * _multiprocessors()
        if full or -(-columns // tile.parts) <= MOST_TURNS:
            return tile
    return _wide_where_faster(config, columns, num_lanes)


def _wide_where_faster(config: Config, columns: int, num_lanes: int) -> Wide | None:
    """Returns the shape of a program of `engine/wide.py`, or None.

    A turn takes 3.5 to 9 µs however few networks there are, the plain program 20 to 50 for a step of them.
    Where the networks fill the card the kernel is faster however many the turns (docs/benchmarks.md).
    """
    wide = wide_for(config, columns)
    if wide is None or num_lanes * padded_size(config) >= 2**31:
        return None
    turns, filled = -(-columns // wide.rows), num_lanes / _multiprocessors()
    return wide if turns <= 2 or (turns <= 4 and filled >= 1) or filled >= 4 else None


def tile_for(config: Config, num_lanes: int) -> Tile:
    """Returns the shape of a program of `THREADS` threads.

    A program has as few networks as give every multiprocessor at most two programs, but one part of all of
    them never takes more than a warp. It depends on the GPU, which the provenance names.

    Args:
        config: config of the networks.
        num_lanes: number of networks of a chunk.
    """
    splits, lanes = best_splits(config) or 1, 1
    while lanes * splits < THREADS_PER_WARP and 2 * _multiprocessors() * lanes < num_lanes:
        lanes *= 2
    # Measured for 256 networks of the tutorial: 3.4 µs a step in twos on 128 multiprocessors, 4.2 alone.
    if lanes == 1 and num_lanes > _multiprocessors():
        lanes = 2
    return Tile(THREADS // (lanes * splits), lanes, splits)


def wide_for(config: Config, columns: int) -> Wide | None:
    """Returns the shape of a program of `engine/wide.py`; None where a network's numbers are too many.

    Args:
        config: config of the network.
        columns: number of samples of a step.
    """
    rows = min(padded(columns), MOST_ROWS)
    # Activations are held once, and once more while a product is computed, in part.
    values = rows * sum(padded(size) for size in config.layer_sizes) * 3 // 2
    held = padded_size(config) * (2 + STATE_SIZE[config.optimizer]) + values
    for warps in (4, 8, 16):
        if held <= MOST_HELD * THREADS_PER_WARP * warps:
            return Wide(rows, warps)
    return None


def padded_size(config: Config) -> int:
    """Returns the number of parameters of a network in `engine/wide.py`, filled up."""
    sizes = [padded(size) for size in config.layer_sizes]
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def _multiprocessors() -> int:
    return getattr(jax.devices()[0], "core_count", None) or 132
