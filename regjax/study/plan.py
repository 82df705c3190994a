"""From rows to compiled work: groups, chunk shapes, memory.

Rows with the same program (the same `Config` but for its numbers of steps, and the same things on) form a
group, compiled once. A group's chunk has R slots of r lanes; R·r depends on layer sizes, batch, backend and,
on a CPU, the number of rows; never on workers or free memory.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from regjax.core.checks import check_choice, check_count
from regjax.core.config import Config
from regjax.core.hparams import ABSENT, CHEAP, switched_on
from regjax.engine.progress import duration
from regjax.study.design import Design

Keep = Literal["all", "best", "none"]

# Bytes of parameters that are kept without being asked for.
KEEP_BUDGET = 256 * 2**20
# Largest working set of a lane, in bytes, at which a CPU chunk of so many lanes stays in the cache.
CPU_LANES = ((32, 96 * 2**10), (16, 128 * 2**10), (8, 512 * 2**10), (4, None))
# A group of fewer rows than so many chunks of 32 has chunks of 16: for more cores, and a fuller last one.
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
        config: of its rows, with their numbers of steps.
        configurations: indices of its configurations.
        on: what is compiled in that would not be there if it were off, at its off value in some of its rows.
        shared: whether the lanes of a slot are rows of one replicate.
        slots: R.
        lanes: r, of a slot.
        num_batches: of an epoch.
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
        """Lanes of a chunk, R·r."""
        return self.slots * self.lanes

    @property
    def stops(self) -> bool:
        """Whether its networks may stop before their last step."""
        return "patience" in self.on or self.config.stop_on is not None

    @property
    def how(self) -> tuple[int, int, bool, tuple[str, ...]]:
        """What `provenance` is told of its chunks."""
        return self.slots, self.lanes, self.shared, self.on


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep will take, before anything is spent; `str(plan)` says it in words.

    Attributes:
        num_rows: networks to train.
        replicates: of each configuration, in words.
        groups: compiled once each.
        num_workers: tasks at a time.
        keep: "all", "best" (one per configuration) or "none": whose parameters are kept.
        memory: bytes by what takes them.
        available: bytes of free memory, or None where it is not known.
        seconds: predicted, without compiling; None before a probe.
        compile_seconds: measured by the probe, or None.
        notes: what a reader must know.
    """

    num_rows: int
    replicates: str
    groups: tuple[Group, ...]
    num_workers: int
    keep: Keep
    memory: dict[str, int]
    available: int | None
    seconds: float | None = None
    compile_seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def compilations(self) -> int:
        """Programs whose loop is compiled: groups that differ in no more than steps share one."""
        return len({(g.config.program(), g.on, g.shared, g.slots, g.lanes) for g in self.groups})

    def part(self, configurations: Sequence[int]) -> Plan:
        """Returns the plan of some configurations alone, numbered anew as `design.part_of` does."""
        place = {index: new for new, index in enumerate(configurations)}
        groups = []
        for group in self.groups:
            members = tuple(place[index] for index in group.configurations if index in place)
            groups += [group._replace(configurations=members)] if members else []
        per = self.num_rows // sum(len(group.configurations) for group in self.groups)
        return dataclasses.replace(self, num_rows=per * len(place), groups=tuple(groups))

    def __str__(self) -> str:
        configurations = sum(len(group.configurations) for group in self.groups)
        per = self.num_rows // configurations
        lines = [
            f"{self.num_rows:,} networks = {_count(configurations, 'configuration')} × {self.replicates}, "
            f"{_count(len(self.groups), 'group')}, {_count(self.compilations, 'compilation')}, "
            f"{_count(self.num_workers, 'worker')}"
        ]
        for group in self.groups:
            config = group.config
            what = f"{'-'.join(map(str, config.layer_sizes))}, {config.optimizer}, " + (
                "full batch" if config.batch_size is None else f"batch {config.batch_size}"
            )
            on = ", ".join(group.on) or "no more than l2 and l1 on"
            lines.append(
                f"  {what}, {on}: {len(group.configurations) * per:,} networks × {config.num_steps:,} steps, "
                f"chunks of {group.slots} × {group.lanes} lanes"
                + (" that share batches and random bits in each slot" if group.shared else "")
            )
        parts = ", ".join(f"{name} {_size(size)}" for name, size in self.memory.items())
        free = "" if self.available is None else f" of {_size(self.available)} free"
        lines.append(f"memory: {_size(sum(self.memory.values()))}{free} ({parts})")
        lines.append(f"parameters kept: {self.keep}")
        if self.seconds is not None:
            lines.append(
                f"predicted: {duration(self.seconds)}, and {self.compile_seconds or 0:.1f} s of compiling"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def make_plan(
    design: Design, *, workers: int | None = None, keep: Keep | None = None, backend: str = "cpu"
) -> Plan:
    """Returns the plan of a design; nothing is compiled.

    Args:
        design: the resolved sweep.
        workers: tasks at a time; None takes a worker per core.
        keep: whose parameters are kept; None takes "all" where that takes at most 256 MiB, else "best",
            else "none".
        backend: "cpu", or an accelerator's name.

    Raises:
        ValueError: what does not fit into memory even with one network at a time.
    """
    if keep is not None:
        check_choice("keep", keep, get_args(Keep))
    num_workers = default_workers(backend) if workers is None else check_count("workers", workers)
    notes: list[str] = list(design.notes)
    available = free_memory()
    groups = make_groups(design, backend)
    keep = _default_keep(design) if keep is None else keep
    needed = _memory(design, groups, num_workers, keep)
    if available is not None and backend == "cpu":
        if sum(needed.values()) > available and num_workers > 1:
            num_workers = 1
            needed = _memory(design, groups, num_workers, keep)
            notes.append("one worker, since memory does not hold the chunks of several")
        if sum(needed.values()) > available:
            groups = tuple(group._replace(slots=1, lanes=1) for group in groups)
            needed = _memory(design, groups, num_workers, keep)
            notes.append("one network at a time, since memory does not hold a chunk")
        if sum(needed.values()) > available:
            parts = ", ".join(f"{name} {_size(size)}" for name, size in needed.items())
            raise ValueError(
                f"grid must fit into {_size(available)} of free memory, got "
                f"{_size(sum(needed.values()))} even with one network at a time ({parts})"
            )
    return Plan(
        design.num_rows, _replicates(design), groups, num_workers, keep, needed, available, notes=tuple(notes)
    )


def make_groups(design: Design, backend: str = "cpu") -> tuple[Group, ...]:
    """Returns the groups of a design in order of their first configuration."""
    alike: dict[Any, dict[tuple[str, ...], list[int]]] = {}
    for index, (config, hparams) in enumerate(zip(design.configs, design.hparams, strict=True)):
        on = switched_on(hparams)
        dear = tuple(name for name in on if name not in CHEAP)
        alike.setdefault((config, design.num_batches[index], dear), {}).setdefault(on, []).append(index)
    found: dict[Any, list[int]] = {}
    for (config, num_batches, _), members in alike.items():
        if len(members) > MOST_PROGRAMS:  # a random design: one program, in which all of it is
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
    """Returns the lanes of a CPU chunk of a group of so many rows, which may be the only group.

    The number of workers does not count: no bit depends on it.
    """
    if lanes == 32 and num_rows < MANY_CHUNKS * lanes:
        lanes = 16
    # Two chunks instead of one, for two cores. (Two of four lanes are no faster than one of eight.)
    return 8 if lanes == 16 and num_rows <= 16 and alone else lanes


def shapes_of(groups: Sequence[Group]) -> str:
    """Returns the chunk shapes of groups as JSON."""
    return json.dumps([[group.slots, group.lanes] for group in groups])


def with_shapes(groups: Sequence[Group], shapes: str) -> tuple[Group, ...]:
    """Returns groups with the chunk shapes that `shapes_of` gave: what was decided is not decided again."""
    again = zip(groups, json.loads(shapes), strict=True)
    return tuple(group._replace(slots=slots, lanes=lanes) for group, (slots, lanes) in again)


def stored_plan(
    design: Design, shapes: str, keep: Keep, *, workers: int | None = None, backend: str = "cpu"
) -> Plan:
    """Returns the plan of a sweep that was planned before: what was decided is not decided again.

    Args:
        design: of the sweep.
        shapes: of its groups' chunks, as `shapes_of` gave them.
        keep: whose parameters are kept.
        workers: tasks at a time; None takes a worker per core.
        backend: "cpu", or an accelerator's name.
    """
    groups = with_shapes(make_groups(design, backend), shapes)
    num_workers = default_workers(backend) if workers is None else workers
    needed = _memory(design, groups, num_workers, keep)
    return Plan(
        design.num_rows, _replicates(design), groups, num_workers, keep, needed, None, notes=design.notes
    )


def _replicates(design: Design) -> str:
    seeds = _count(len(design.seeds), "seed")
    return f"{seeds} × {_count(design.num_folds, 'fold')}" if design.splits.kind == "folds" else seeds


def chunk_lanes(config: Config, num_samples: int, backend: str = "cpu") -> int:
    """Returns the lanes of a chunk of many rows: a pure function of layer sizes, batch, dtype and backend.

    Lanes of one chunk size compute the same bits wherever they stand and whoever stands beside them; a
    test holds that for every size here.
    """
    size = _lane_bytes(config, num_samples)
    if backend == "cpu":
        return next(lanes for lanes, limit in CPU_LANES if limit is None or size <= limit)
    return next((lanes for lanes in ACCELERATOR_LANES if lanes * size <= ACCELERATOR_BUDGET), 4)


def _lane_bytes(config: Config, num_samples: int) -> int:
    """Returns the working set of a lane: parameters, gradients and state; activations and their gradients."""
    columns = num_samples if config.batch_size is None else config.batch_size
    states = {"sgd": 2, "momentum": 3, "nesterov": 3, "adam": 4, "adamw": 4}[config.optimizer]
    numbers = states * num_params(config) + 3 * columns * sum(config.layer_sizes[1:])
    return numbers * np.dtype(config.dtype).itemsize


def num_params(config: Config) -> int:
    """Returns the number of weights and biases."""
    sizes = config.layer_sizes
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def num_records(config: Config) -> int:
    """Returns the records of a run: at step 0, every eval_every steps, and at the end."""
    return len(range(0, config.num_steps, config.eval_every)) + 1


def final_records(
    design: Design,
    records: Mapping[str, np.ndarray],
    diverged_at: np.ndarray,
    stopped_at: np.ndarray,
    rows: Sequence[int] | None = None,
) -> np.ndarray:
    """Returns which record is that of each row's final parameters, `(rows,)`.

    The last one, or that at which a row stopped; where patience is on, that of the parameters which were
    put back: the first of the lowest `stop_loss`. A row that diverged has none, and gets its last, NaN.

    Args:
        design: of the sweep.
        records: metric -> `(rows, records)`, of all rows.
        diverged_at: `(rows,)`, -1 where a row has not diverged.
        stopped_at: `(rows,)`, -1 where a row has not stopped.
        rows: indices of those that are meant; None takes all.
    """
    chosen = np.arange(design.num_rows) if rows is None else np.asarray(rows)
    configurations = chosen // design.num_replicates
    last = np.array([num_records(config) - 1 for config in design.configs])[configurations]
    every = np.array([config.eval_every for config in design.configs])[configurations]
    last = np.where(stopped_at[chosen] >= 0, -(-stopped_at[chosen] // every), last)
    if "stop_loss" not in records:
        return last
    losses = np.where(np.isnan(records["stop_loss"][chosen]), np.inf, records["stop_loss"][chosen])
    losses[:, 0] = np.inf  # of no training, which does not compete
    patient = [hparams.patience is not None for hparams in design.hparams]
    stops = np.array(patient)[configurations]
    return np.where(stops & (diverged_at[chosen] < 0), np.argmin(losses, axis=1), last)


def default_workers(backend: str = "cpu") -> int:
    """Returns a worker per core that this process may use, or per device of an accelerator."""
    if backend == "cpu":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    import jax

    return jax.local_device_count()


def free_memory() -> int | None:
    """Returns the bytes that this process may still take, or None where the system does not say."""
    try:
        words = Path("/proc/meminfo").read_text().split()
        free = int(words[words.index("MemAvailable:") + 1]) * 1024
    except (OSError, ValueError):
        return None
    try:  # inside a container its own limit holds
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(limit - used, 0))
    except (OSError, ValueError):
        pass
    return free


def _default_keep(design: Design) -> Keep:
    per = design.num_replicates
    size = sum(num_params(c) * np.dtype(c.dtype).itemsize for c in design.configs)
    return "all" if per * size <= KEEP_BUDGET else "best" if size <= KEEP_BUDGET else "none"


def _memory(design: Design, groups: tuple[Group, ...], num_workers: int, keep: Keep) -> dict[str, int]:
    per = design.num_replicates
    data = design.padded
    resident = data.x.nbytes * (1 + (design.num_folds if design.standardize else 0)) + data.y.nbytes
    itemsize = np.dtype(design.configs[0].dtype).itemsize
    metrics = 1 + len(design.metrics) * (2 + (design.test is not None))
    results = sum(per * num_records(config) * metrics * itemsize for config in design.configs)
    if design.splits.kind == "validation":
        results += design.num_rows * int(design.splits.num_val[0]) * 2 * itemsize
    kept = {"all": per, "best": 1, "none": 0}[keep]
    chunks = (
        group.chunk * (_lane_bytes(group.config, data.x.shape[1]) + data.x.size * itemsize)
        for group in groups
    )
    return {
        "data": resident,
        "chunks in work": num_workers * max(chunks),
        "results": results,
        "parameters": kept * sum(num_params(c) * itemsize for c in design.configs),
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
