"""Groups of rows that share a compiled program, and the shape of their chunks.

Rows with the same `Config` and the same regularisers compiled in form a group; groups that differ in their
numbers of steps alone share a compiled program. A chunk of a group has R slots of r lanes. R·r depends on
layer sizes, batch, backend and, on a CPU, the number of rows; never on workers. `make_plan` makes
the groups, and takes chunks of one lane where memory holds no more.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.core.config import Config
from regjax.core.hparams import ABSENT, CHEAP, switched_on
from regjax.study.design import Design
from regjax.study.records import num_params

# (lanes, largest working set of a lane in bytes at which a CPU chunk of them stays in the cache).
CPU_LANES = ((32, 96 * 2**10), (16, 128 * 2**10), (8, 512 * 2**10), (4, None))
# A group of fewer rows than this many chunks of 32 has chunks of 16: for more cores, and a fuller last one.
MANY_CHUNKS = 8
ACCELERATOR_BUDGET = 512 * 2**20
ACCELERATOR_LANES = (2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4)
# Lanes of a slot on a CPU: the most that half a chunk holds and its configurations fill.
SLOT_LANES = (16, 8, 4)
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
    """

    config: Config
    configurations: tuple[int, ...]
    on: tuple[str, ...]
    shared: bool
    slots: int
    lanes: int
    num_batches: int

    @property
    def chunk(self) -> int:
        """Number of lanes of a chunk, R·r."""
        return self.slots * self.lanes

    @property
    def stops_early(self) -> bool:
        """Whether its networks may stop before their last step."""
        return "patience" in self.on or self.config.stop_on is not None

    @property
    def how(self) -> tuple[int, int, bool, tuple[str, ...]]:
        """Arguments of `provenance` for rows of its chunks."""
        return self.slots, self.lanes, self.shared, self.on


def make_groups(design: Design, backend: str = "cpu") -> tuple[Group, ...]:
    """Returns the groups of a design in order of their first configuration."""
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
    num_samples = design.padded.x.shape[1]
    groups = []
    for (config, on, num_batches), members in found.items():
        lanes = chunk_lanes(config, num_samples, backend)
        if backend == "cpu":
            lanes = _lanes_for(len(members) * design.num_replicates, lanes, alone=len(found) == 1)
        draws = bool(on) or config.batch_size is not None
        # Sharing pays where something is drawn and a replicate fills half a slot; the bits are the same.
        shared = design.pairing == "paired" and draws and len(members) >= 4
        slots = SLOT_LANES if backend == "cpu" else SLOT_LANES[1:]
        slot = next(s for s in slots if s == 4 or (2 * s <= lanes and len(members) >= s))
        groups.append(Group(config, tuple(members), on, shared, lanes // slot, slot, num_batches))
    return tuple(groups)


def _lanes_for(num_rows: int, lanes: int, alone: bool) -> int:
    """Returns the lanes of a CPU chunk of a group of `num_rows` rows, which may be the only group."""
    # The number of workers does not count: no bit may depend on it.
    if lanes == 32 and num_rows < MANY_CHUNKS * lanes:
        lanes = 16
    # Two chunks instead of one, for two cores. (Two of four lanes are no faster than one of eight.)
    return 8 if lanes == 16 and num_rows <= 16 and alone else lanes


def shapes_of(groups: Sequence[Group]) -> str:
    """Returns the chunk shapes of groups as JSON."""
    return json.dumps([[group.slots, group.lanes] for group in groups])


def with_shapes(groups: Sequence[Group], shapes: str) -> tuple[Group, ...]:
    """Returns groups with the chunk shapes that `shapes_of` gave, as a stored sweep has them."""
    again = zip(groups, json.loads(shapes), strict=True)
    return tuple(group._replace(slots=slots, lanes=lanes) for group, (slots, lanes) in again)


def chunk_lanes(config: Config, num_samples: int, backend: str = "cpu") -> int:
    """Returns the lanes of a chunk of many rows: a pure function of layer sizes, batch, dtype and backend.

    A lane of a given chunk size computes the same bits at any position and beside any other lanes; a test
    checks that for every size here.
    """
    size = lane_bytes(config, num_samples)
    if backend == "cpu":
        return next(lanes for lanes, limit in CPU_LANES if limit is None or size <= limit)
    return next((lanes for lanes in ACCELERATOR_LANES if lanes * size <= ACCELERATOR_BUDGET), 4)


def lane_bytes(config: Config, num_samples: int) -> int:
    """Returns the working set of a lane: parameters, gradients and state; activations and their gradients."""
    columns = num_samples if config.batch_size is None else config.batch_size
    states = {"sgd": 2, "momentum": 3, "nesterov": 3, "adam": 4, "adamw": 4}[config.optimizer]
    numbers = states * num_params(config) + 3 * columns * sum(config.layer_sizes[1:])
    return numbers * np.dtype(config.dtype).itemsize
