"""Groups of rows that share a compiled program, and the shape of their chunks.

Rows with the same `Config` and the same regularisers compiled in form a group; groups that differ in their
numbers of steps alone share a compiled program. A chunk of a group has R slots of r lanes. Its shape depends
on layer sizes, batch, dtype, backend and the number of rows, on accelerators also on the number of devices;
never on workers. `make_plan` makes the groups, and takes chunks of one lane where memory holds no more.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from regjax.core.config import Config
from regjax.core.hparams import ABSENT, CHEAP, switched_on
from regjax.native.coverage import covers
from regjax.study.design import Design
from regjax.study.padding import Sized, may_be_padded, shared_sizes
from regjax.study.provenance import sizes_from_words, sizes_in_words
from regjax.study.records import num_params

# What trains the networks of a group: "xla" is no kernel on a GPU either.
Kernel = Literal["auto", "xla", "native"]
# Words of a stored chunk shape: whether the lanes of a slot are of one replicate.
SHARED, APART, PADDED = "shared", "apart", "padded to "
# (lanes, largest working set of a lane in bytes at which a CPU chunk of them stays in the cache).
CPU_LANES = ((32, 96 * 2**10), (16, 128 * 2**10), (8, 512 * 2**10), (4, None))
# Rows of a group up to which each has a chunk of its own: a step of 1 × 1 took 0.3 to 0.4 of one of 1 × 4
# lanes, and two cores train two at a time (docs/design.md).
FEW_ROWS = 4
# A group of fewer rows than this many chunks of 32 has chunks of 16: for more cores, and a fuller last one.
MANY_CHUNKS = 8
# Most bytes of the working sets of an accelerator's chunk, two of which are in work on a card of 16 GiB or
# more, and most lanes. A chunk that does not fit after all is halved by the scheduler.
ACCELERATOR_BUDGET = 6 * 2**30
ACCELERATOR_LANES = 65_536
# Lanes of a slot on a CPU: the most that half a chunk holds and its configurations fill.
SLOT_LANES = (16, 8, 4)
# Chunks of the native kernel, which trains a lane as fast alone as beside others: so many, for more cores, of
# at most so many lanes, for fewer tasks; and the least where a replicate's lanes share what is drawn.
NATIVE_CHUNKS, NATIVE_LANES, NATIVE_SHARED = 8, 32, 2
NATIVE_BYTES = 64 * 2**20
# Combinations of cheap regularisers, all else alike, up to which each has its own program.
MOST_PROGRAMS = 8


class Group(NamedTuple):
    """Rows that share a program.

    Attributes:
        config: `Config` of its rows.
        configurations: indices of its configurations.
        on: regularisers compiled into its program; some of its rows may have their off value.
        shared: whether the lanes of a slot are rows of one replicate.
        slots: R, number of slots of a chunk.
        lanes: r, number of lanes of a slot.
        num_batches: number of batches of an epoch.
        kernel: what trains it; "auto" is an accelerator's kernel where that suits, else programs of XLA.
        padded_to: layer sizes of its program, to which its networks are padded with zeros; () where they are
            the networks' own.
    """

    config: Config
    configurations: tuple[int, ...]
    on: tuple[str, ...]
    shared: bool
    slots: int
    lanes: int
    num_batches: int
    kernel: Kernel = "auto"
    padded_to: tuple[int, ...] = ()

    @property
    def program(self) -> Config:
        """`Config` of its compiled program, with the layer sizes of that."""
        config = self.config.program()
        return dataclasses.replace(config, layer_sizes=self.padded_to) if self.padded_to else config

    @property
    def compiled(self) -> tuple[Any, ...]:
        """What the program that XLA compiles depends on: neither steps, nor widths for the native kernel."""
        config = self.program
        if self.kernel == "native":  # XLA has the records alone, of the kernel's logits
            config = dataclasses.replace(config, layer_sizes=(1, config.layer_sizes[-1]))
        return config, self.on, self.shared, self.slots, self.lanes

    @property
    def chunk(self) -> int:
        """Number of lanes of a chunk, R·r."""
        return self.slots * self.lanes

    @property
    def stops_early(self) -> bool:
        """Whether its networks may stop before their last step."""
        return "patience" in self.on or self.config.stop_on is not None


def make_groups(
    design: Design, backend: str = "cpu", devices: int = 1, kernel: Kernel = "auto"
) -> tuple[Group, ...]:
    """Returns the groups of a design in order of their first configuration.

    Args:
        design: design of the sweep.
        backend: "cpu", or an accelerator's name.
        devices: number of accelerators that the chunks of a group are spread over; not read on a CPU.
        kernel: what trains the groups; those that the native kernel does not know go by XLA.
    """
    alike: dict[Any, dict[tuple[str, ...], list[int]]] = {}
    for index, (config, hparams) in enumerate(zip(design.configs, design.hparams, strict=True)):
        on = switched_on(hparams)
        dear = tuple(name for name in on if name not in CHEAP)
        alike.setdefault((config, design.num_batches[index], dear), {}).setdefault(on, []).append(index)
    found: dict[Any, list[int]] = {}
    for (config, num_batches, _), members in alike.items():
        if len(members) > MOST_PROGRAMS:  # a random grid: one program, in which all of it is
            together = tuple(name for name in ABSENT if any(name in on for on in members))
            members = {together: sorted(itertools.chain.from_iterable(members.values()))}
        for on, indices in members.items():
            found[config, on, num_batches] = indices
    found = dict(sorted(found.items(), key=lambda entry: entry[1][0]))
    wider = _padded(design, found, kernel) if backend == "cpu" else {}
    groups = []
    for (config, on, num_batches), members in found.items():
        draws = bool(on) or config.batch_size is not None
        # Sharing pays where something is drawn and a replicate fills half a slot. What is drawn is the same;
        # with batches the last bits of the results are not, and the provenance says which it was.
        shared = design.pairing == "paired" and draws and len(members) >= 4
        own, padded_to = _kernel_of(config, on, backend, kernel), wider.get((config, on, num_batches), ())
        if own == "native":
            shared = design.pairing == "paired" and draws and len(members) > 1
            shape = native_shape(
                design.num_replicates, len(members), lane_bytes(config, design.padded.x.shape[1]), shared
            )
        elif backend == "cpu":
            program = dataclasses.replace(config, layer_sizes=padded_to) if padded_to else config
            shape = _cpu_shape(design, program, len(members), shared=shared, alone=len(found) == 1)
        else:
            lanes = chunk_lanes(config, design.padded.x.shape[1], backend, own_inputs(design, config))
            count = design.num_replicates, len(members)
            shape = accelerator_shape(*count, most=lanes, shared=shared, devices=devices)
        groups.append(Group(config, tuple(members), on, shared, *shape, num_batches, own, padded_to))
    return tuple(groups)


def _kernel_of(config: Config, on: Sequence[str], backend: str, kernel: Kernel) -> Kernel:
    """Returns what trains networks of a config: XLA in place of a native kernel that does not know them."""
    knows = backend == "cpu" and covers(config, on)
    return "xla" if kernel == "native" and not knows else kernel


def _padded(design: Design, found: Mapping[Any, Sequence[int]], kernel: Kernel) -> dict[Any, tuple[int, ...]]:
    """Returns the layer sizes that groups are padded to, of those that XLA trains on a CPU."""
    alike: dict[Any, list[Any]] = {}
    for key in found:
        config, on, _ = key
        if may_be_padded(config, on) and _kernel_of(config, on, "cpu", kernel) != "native":
            ends = config.layer_sizes[0], config.layer_sizes[-1]
            alike.setdefault((dataclasses.replace(config, layer_sizes=ends), on), []).append(key)
    padded_to, samples = {}, design.padded.x.shape[1]
    for keys in alike.values():
        networks = [
            Sized(key[0], len(found[key]) * design.num_replicates, key[0].batch_size or samples)
            for key in keys
        ]
        for key, sizes in zip(keys, shared_sizes(networks), strict=True):
            if sizes != key[0].layer_sizes:
                padded_to[key] = sizes
    return padded_to


def own_inputs(design: Design, config: Config) -> int:
    """Returns the bytes of inputs and targets that a lane has for itself, where folds do not see the same."""
    x, y = design.padded.x.size * design.has_own_inputs, design.padded.y.size * design.has_own_targets
    return (x + y) * np.dtype(config.dtype).itemsize


def _cpu_shape(
    design: Design, config: Config, num_members: int, *, shared: bool, alone: bool
) -> tuple[int, int]:
    """Returns R and r of a CPU chunk of a group, which may be the only group."""
    if num_members * design.num_replicates <= FEW_ROWS and not shared:
        return 1, 1
    lanes = chunk_lanes(config, design.padded.x.shape[1])
    lanes = _lanes_for(num_members * design.num_replicates, lanes, alone)
    slot = next(s for s in SLOT_LANES if s == 4 or (2 * s <= lanes and num_members >= s))
    return lanes // slot, slot


def _lanes_for(num_rows: int, lanes: int, alone: bool) -> int:
    """Returns the lanes of a CPU chunk of a group of `num_rows` rows, which may be the only group."""
    # The number of workers does not count: no bit may depend on it.
    if lanes == 32 and num_rows < MANY_CHUNKS * lanes:
        lanes = 16
    # Two chunks instead of one, for two cores. (Two of four lanes are no faster than one of eight.)
    return 8 if lanes == 16 and num_rows <= 16 and alone else lanes


def native_shape(
    num_replicates: int, num_configurations: int, lane_size: int, shared: bool
) -> tuple[int, int]:
    """Returns R and r of a chunk of the native kernel: few rows have a lane each, and none is spare.

    Args:
        num_replicates: number of replicates of the group.
        num_configurations: number of its configurations.
        lane_size: bytes of a lane's working set.
        shared: whether the lanes of a slot are rows of one replicate.

    Example:
        >>> [native_shape(1, rows, 10_000, shared=False) for rows in (1, 8, 20, 4096)]
        [(1, 1), (1, 1), (1, 3), (1, 32)]
    """
    rows = num_replicates * num_configurations
    lanes = min(NATIVE_LANES, max(1, NATIVE_BYTES // lane_size), math.ceil(rows / NATIVE_CHUNKS))
    if not shared:
        return 1, lanes
    if rows >= 4 * NATIVE_SHARED:
        lanes = max(lanes, NATIVE_SHARED)
    # As even as may be: the slots of a replicate have nearly the same number of configurations.
    slot = math.ceil(num_configurations / math.ceil(num_configurations / lanes))
    return max(1, min(lanes // slot, num_replicates)), slot


def accelerator_shape(
    num_replicates: int, num_configurations: int, *, most: int, shared: bool, devices: int = 1
) -> tuple[int, int]:
    """Returns R and r of an accelerator's chunk: one chunk holds all rows of a group where it may.

    Unshared lanes make one slot. A slot of a shared group holds all configurations of a replicate where
    `most` allows it, so that the bits of a replicate are drawn once. At most about an eighth of the lanes is
    spare; where there are several devices, each gets as many lanes as the others, and some may be spare.

    Args:
        num_replicates: number of replicates of the group, at least 1.
        num_configurations: number of its configurations, at least 1.
        most: most lanes of a chunk, R·r, a number that `rounded_up` returns.
        shared: whether the lanes of a slot are rows of one replicate.
        devices: number of devices that the chunks are spread over.

    Example:
        >>> accelerator_shape(256, 16, most=65_536, shared=True)
        (256, 16)
        >>> accelerator_shape(256, 16, most=65_536, shared=True, devices=4)
        (64, 16)
        >>> accelerator_shape(10, 2, most=65_536, shared=False)
        (1, 20)
    """
    rows = num_replicates * num_configurations
    if not shared:
        chunks = devices * math.ceil(math.ceil(rows / most) / devices)
        return 1, rounded_up(math.ceil(rows / chunks))
    parts = math.ceil(num_configurations / most)
    # So few replicates do not divide evenly among the devices: the configurations do.
    even = devices // math.gcd(num_replicates, devices)
    if num_replicates < 4 * devices and num_configurations >= 4 * even:
        parts = max(parts, even)
    least = math.ceil(num_configurations / parts)
    # Rounded up, unless lanes that are not leave more slots to a chunk.
    shapes = [
        (_slots(math.ceil(num_configurations / lanes) * num_replicates, rows, lanes, most, devices), lanes)
        for lanes in (rounded_up(least), least)
    ]
    return max(shapes, key=math.prod)


def _slots(slots: int, rows: int, lanes: int, most: int, devices: int) -> int:
    """Returns R of an accelerator's chunk, for a group of `rows` rows in `slots` slots of `lanes` lanes."""

    def in_turn(size: int) -> int:
        """Returns how many slots the busiest device trains, spare ones too, in chunks of `size` slots."""
        return size * math.ceil(math.ceil(slots / size) / devices)

    sizes = range(1, min(most // lanes, math.ceil(slots / devices)) + 1)
    allowed = max(min(map(in_turn, sizes)), 9 / 8 * rows / lanes / devices)
    most_at_once = max(size for size in sizes if in_turn(size) <= allowed)
    # As few slots as make the same number of chunks: the last one is then about as full as the others.
    return math.ceil(slots / math.ceil(slots / most_at_once))


def rounded_up(count: int) -> int:
    """Returns the least of 1 … 16, 18, 20 … 32, 36, 40 … 64, 72 …, at most an eighth larger, from `count` on.

    Eight sizes between a power of two and the next one: sweeps of nearly one size share compiled programs.
    """
    step = 2 ** max(0, (count - 1).bit_length() - 4)
    return math.ceil(count / step) * step


def shapes_of(groups: Sequence[Group]) -> str:
    """Returns the chunk shapes of groups as JSON, with words: whether slots are shared, kernel, padding."""
    words = [
        [
            SHARED if group.shared else APART,
            *(["native"] if group.kernel == "native" else []),
            *([PADDED + sizes_in_words(group.padded_to)] if group.padded_to else []),
        ]
        for group in groups
    ]
    return json.dumps([[group.slots, group.lanes, *own] for group, own in zip(groups, words, strict=True)])


def with_shapes(groups: Sequence[Group], shapes: str) -> tuple[Group, ...]:
    """Returns groups with the chunk shapes that `shapes_of` gave, as a stored sweep has them."""
    again = zip(groups, json.loads(shapes), strict=True)
    return tuple(
        group._replace(
            slots=slots,
            lanes=lanes,
            kernel="native" if "native" in words else "auto",
            shared=SHARED in words if words else group.shared,  # older stores say nothing
            padded_to=_padded_of(words),
        )
        for group, (slots, lanes, *words) in again
    )


def _padded_of(words: Sequence[str]) -> tuple[int, ...]:
    said = next((word.removeprefix(PADDED) for word in words if word.startswith(PADDED)), "")
    return sizes_from_words(said)


def chunk_lanes(config: Config, num_samples: int, backend: str = "cpu", own_inputs: int = 0) -> int:
    """Returns the lanes of a chunk of many rows: a pure function of layer sizes, batch, dtype and backend.

    A lane of a given chunk size computes the same bits at any position and beside any other lanes; a test
    checks that for every size of a CPU.

    Args:
        config: `Config` of the rows.
        num_samples: number of samples.
        backend: "cpu", or an accelerator's name.
        own_inputs: bytes of inputs that each lane has for itself; not read on a CPU.
    """
    if backend == "cpu":
        size = lane_bytes(config, num_samples)
        return next(lanes for lanes, limit in CPU_LANES if limit is None or size <= limit)
    size = accelerator_bytes(config, num_samples)
    most = min(ACCELERATOR_LANES, max(1, ACCELERATOR_BUDGET // (size + own_inputs)))
    step = 2 ** max(0, most.bit_length() - 4)
    return most // step * step  # a number that `rounded_up` returns


def accelerator_bytes(config: Config, num_samples: int) -> int:
    """Returns the bytes of a lane of an accelerator's chunk: of a step, or of a record if that has more.

    A record passes all samples through every network: the units of two layers, and three rows of weights.
    """
    widest = config.members * max(a + b for a, b in itertools.pairwise(config.widths))
    record = num_samples * (widest + 3) + num_params(config)
    return max(lane_bytes(config, num_samples), record * np.dtype(config.dtype).itemsize)


def lane_bytes(config: Config, num_samples: int) -> int:
    """Returns the working set of a lane: parameters, gradients and state; activations and their gradients."""
    columns = num_samples if config.batch_size is None else config.batch_size
    states = {"sgd": 2, "momentum": 3, "nesterov": 3, "adam": 4, "adamw": 4}[config.optimizer]
    units = sum(config.widths[1:]) if config.embedding == "none" else sum(config.widths)
    numbers = states * num_params(config) + 3 * columns * config.members * units
    return numbers * np.dtype(config.dtype).itemsize
