"""The plan of a design: groups, chunk shapes, memory, workers; `str(plan)` says it before anything is spent.

`regjax.plan` and `regjax plan` show it, `engine.sweep.run` trains by it, and a store keeps its chunk shapes.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from regjax.core.checks import check_choice, check_count, counted
from regjax.native.build import compiler, is_built
from regjax.study.design import Design
from regjax.study.forecast import Forecast
from regjax.study.groups import (
    Group,
    Kernel,
    accelerator_bytes,
    lane_bytes,
    make_groups,
    own_inputs,
    with_shapes,
)
from regjax.study.notebook import card
from regjax.study.provenance import sizes_in_words
from regjax.study.questions import Questions
from regjax.study.records import num_params, num_records
from regjax.study.words import duration

Keep = Literal["all", "best", "none"]
# Bytes of parameters that are kept where `keep` is not given.
KEEP_BUDGET = 256 * 2**20
# Predicted seconds of training from which it pays to build the native kernel, which takes some seconds; and
# for this prediction, operations per second of a core and seconds of overhead per step.
WORTH_BUILDING = 60.0
RATE, OVERHEAD = 5e10, 2e-6
# Bytes of the inputs of all folds, in both layouts, up to which they lie on a CPU's device at once, for all
# chunks; of more each chunk in work has those of its networks.
INPUTS_BUDGET = 2 * 2**30


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep will take, before anything is spent; `str(plan)` says it in words.

    Attributes:
        num_rows: number of networks to train.
        replicates: seeds and folds of each configuration, in words.
        groups: groups of rows.
        num_workers: number of tasks at a time.
        keep: rows whose parameters are kept: "all", "best" (one per configuration) or "none".
        memory: name of a part -> bytes that it takes of the host's memory.
        available: bytes of free memory of the host, or None where it is not known.
        seconds: predicted time without compiling; None before a probe.
        compile_seconds: time of compiling that the probe measured, or None.
        notes: sentences to read before training.
        on_device: bytes that data and chunks take on one accelerator; 0 on a CPU, which has them in `memory`.
        forecast: what the sweep can show, where that was asked of a pilot.

    Example:
        >>> import regjax
        >>> plan = regjax.plan("two_regions", {"num_steps": 100}, {"l2": [0, 1]}, folds=5, probe=False)
        >>> plan.compilations
        1
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
    on_device: int = 0
    forecast: Forecast | None = None

    @property
    def compilations(self) -> int:
        """Number of programs that XLA compiles; several groups may share one, see `Group.compiled`."""
        return len({group.compiled for group in self.groups})

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
            f"{self.num_rows:,} networks = {counted(configurations, 'configuration')} × {self.replicates}, "
            f"{counted(len(self.groups), 'group')}, {counted(self.compilations, 'compilation')}, "
            f"{counted(self.num_workers, 'worker')}"
        ]
        for group in self.groups:
            lines.append(
                f"  {_what(group)}: {len(group.configurations) * per:,} networks × "
                f"{group.config.num_steps:,} steps, "
                f"chunks of {group.slots} × {group.lanes} lanes"
                + (" that share batches and random bits in each slot" if group.shared else "")
                + (", native kernel" if group.kernel == "native" else "")
                + (f", padded to {sizes_in_words(group.padded_to)}" if group.padded_to else "")
            )
        free = "" if self.available is None else f" of {_size(self.available)} free"
        lines.append(f"memory: {_size(sum(self.memory.values()))}{free} ({_parts(self.memory)})")
        if self.on_device:
            lines.append(f"on the device: {_size(self.on_device)} (data, chunks in work)")
        lines.append(f"parameters kept: {self.keep}")
        if self.seconds is not None:
            lines.append(
                f"predicted: {duration(self.seconds)}, and {self.compile_seconds or 0:.1f} s of compiling"
            )
        forecast = () if self.forecast is None else (str(self.forecast),)
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), *forecast])

    def _repr_html_(self) -> str:
        per = self.num_rows // sum(len(group.configurations) for group in self.groups)
        rows = (
            (_what(group), f"{len(group.configurations) * per:,}", f"{group.config.num_steps:,}")
            for group in self.groups
        )
        count = counted(self.num_rows, "network")
        left = "" if self.seconds is None else f", predicted {duration(self.seconds)}"
        first = f"{count}{left}, {_size(sum(self.memory.values()))} of memory"
        return card(first, ("group", "networks", "steps"), rows, count=len(self.groups), notes=self.notes)


def _what(group: Group) -> str:
    """Returns what the networks of a group have in common, in words."""
    config = group.config
    batch = "full batch" if config.batch_size is None else f"batch {config.batch_size}"
    on = ", ".join(group.on) or "no more than l2 and l1 on"
    parts = (sizes_in_words(config.layer_sizes), config.blocks, config.optimizer, batch, on)
    return ", ".join(part for part in parts if part)


def make_plan(
    design: Design,
    questions: Questions | None = None,
    *,
    workers: int | None = None,
    keep: Keep | None = None,
    backend: str = "cpu",
    devices: int | None = None,
    kernel: Kernel = "auto",
) -> Plan:
    """Returns the plan of a design; nothing is compiled.

    Args:
        design: design of the sweep.
        questions: questions to the results; the plan's notes say which will not be answered.
        workers: number of tasks at a time; None takes a worker per core, or two per accelerator.
        keep: rows whose parameters are kept; None takes "all" where they take at most 256 MiB, else "best",
            else "none".
        backend: "cpu", or an accelerator's name.
        devices: number of accelerators that chunks are spread over; None takes those that JAX finds.
        kernel: what trains the networks, see `regjax.sweep`.

    Raises:
        ValueError: a kernel that is unknown or not of this backend; a sweep that does not fit into the memory
            of host or device even with one network at a time, or a question that the results cannot answer.
    """
    if keep is not None:
        check_choice("keep", keep, get_args(Keep))
    devices = num_devices() if devices is None else devices
    num_workers = default_workers(backend, devices) if workers is None else check_count("workers", workers)
    notes = [*design.notes, *(questions.check(design) if questions is not None else ())]
    available = free_memory()
    kernel = resolve_kernel(design, kernel, num_workers, backend)
    groups = make_groups(design, backend, devices, kernel)
    keep = _default_keep(design) if keep is None else keep
    if backend == "cpu":
        groups, num_workers, shrunk = _fitted(design, groups, num_workers, keep, available)
        notes += shrunk
    found = _plan_of(design, groups, num_workers, keep, backend, devices)
    needed = sum(found.memory.values())
    if available is not None and needed > available:
        alone = " even with one network at a time" if backend == "cpu" else ""
        raise ValueError(
            f"grid must fit into {_size(available)} of free memory, got "
            f"{_size(needed)}{alone} ({_parts(found.memory)})"
        )
    if backend != "cpu":
        _check_device(design, groups, available)
    return dataclasses.replace(found, available=available, notes=tuple(notes))


def resolve_kernel(design: Design, kernel: Kernel, num_workers: int, backend: str = "cpu") -> Kernel:
    """Returns what is to train a design: on a CPU "native" or not, never decided by a race.

    "auto", and $REGJAX_KERNEL in its place where that is set, is the native kernel where it is built already,
    or where training is predicted to take long enough to pay for building it.

    Raises:
        ValueError: an unknown kernel, or one that is not of this backend; names it.
    """
    check_choice("kernel", kernel, get_args(Kernel))
    if backend != "cpu":
        if kernel == "native":
            raise ValueError(f"kernel must be auto or xla on {backend}, got native")
        return kernel
    if kernel == "auto":
        found = os.environ.get("REGJAX_KERNEL", "auto")
        check_choice("REGJAX_KERNEL", found, get_args(Kernel))
        kernel = cast(Kernel, found)
    if kernel != "auto":
        return kernel
    long = _guessed_seconds(design, num_workers) >= WORTH_BUILDING and compiler() is not None
    return "native" if long or is_built(design.configs[0].dtype) else "auto"


def _guessed_seconds(design: Design, num_workers: int) -> float:
    """Returns about how long training by XLA takes, from sizes alone."""
    samples = design.padded.x.shape[1]
    each = (
        config.num_steps * (6 * num_params(config) * (config.batch_size or samples) / RATE + OVERHEAD)
        for config in design.configs
    )
    return design.num_replicates * sum(each) / num_workers


def _plan_of(
    design: Design, groups: tuple[Group, ...], num_workers: int, keep: Keep, backend: str, devices: int
) -> Plan:
    """Returns the plan of groups and workers that are chosen already, with the design's own notes."""
    return Plan(
        num_rows=design.num_rows,
        replicates=_replicates(design),
        groups=groups,
        num_workers=num_workers,
        keep=keep,
        memory=_memory(design, groups, num_workers, keep, backend),
        available=None,
        notes=design.notes,
        on_device=_on_device(design, groups, num_workers, backend, devices),
    )


def _fitted(
    design: Design, groups: tuple[Group, ...], num_workers: int, keep: Keep, available: int | None
) -> tuple[tuple[Group, ...], int, list[str]]:
    """Returns the groups and workers of a CPU that its memory holds, as far as may be, and notes on them."""

    def fits() -> bool:
        needed = sum(_memory(design, groups, num_workers, keep).values())
        return available is None or needed <= available

    notes = []
    # Fewer workers first: no bit depends on them, and a chunk of one lane is slow.
    if not fits() and num_workers > 1:
        num_workers = 1
        notes.append("one worker, since memory does not hold the chunks of several")
    if not fits():
        groups = tuple(group._replace(slots=1, lanes=1) for group in groups)
        notes.append("one network at a time, since memory does not hold a chunk")
    return groups, num_workers, notes


def _check_device(design: Design, groups: tuple[Group, ...], free: int | None) -> None:
    """Checks that an accelerator holds one network of each group; the scheduler halves larger chunks.

    Raises:
        ValueError: it does not.
    """
    # Where devices do not say what they hold, the host must: the parameters of a network pass through it.
    limit = device_memory()
    available, of = (free, "free memory") if limit is None else (limit, "the device's memory")
    lane = max(_lane_on_device(design, group) for group in groups)
    if available is not None and lane > available:
        raise ValueError(
            f"grid must fit into {_size(available)} of {of}, "
            f"got {_size(lane)} even with one network at a time"
        )


def stored_plan(
    design: Design, shapes: str, keep: Keep, *, workers: int | None = None, backend: str = "cpu"
) -> Plan:
    """Returns the plan of a stored sweep, with the chunk shapes that its first plan chose.

    Args:
        design: design of the sweep.
        shapes: shapes of its groups' chunks, as `shapes_of` gave them.
        keep: rows whose parameters are kept.
        workers: number of tasks at a time; None takes a worker per core, or two per accelerator.
        backend: "cpu", or an accelerator's name.
    """
    groups = with_shapes(make_groups(design, backend), shapes)
    devices = num_devices()
    num_workers = default_workers(backend, devices) if workers is None else workers
    return _plan_of(design, groups, num_workers, keep, backend, devices)


def _replicates(design: Design) -> str:
    seeds = counted(len(design.seeds), "seed")
    return f"{seeds} × {design.evidence.folds_in_words()}" if design.splits.kind == "folds" else seeds


def default_workers(backend: str = "cpu", devices: int = 1) -> int:
    """Returns a worker per core that this process may use, or two per device of an accelerator.

    Args:
        backend: "cpu", or an accelerator's name.
        devices: number of devices that JAX has.
    """
    if backend != "cpu":
        # While a device trains the chunk of one, the other copies records and prepares its next task.
        return 2 * devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A CPU is one device, unless XLA_FLAGS asks for more.
    return max(cores, devices)


def num_devices() -> int:
    """Returns the number of devices that this process may compute on."""
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


def device_memory() -> int | None:
    """Returns the bytes of each device's memory that JAX may take, or None where the devices do not say."""
    import jax

    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    return min((limit for limit in limits if limit), default=None)


def _default_keep(design: Design) -> Keep:
    per = design.num_replicates
    size = sum(num_params(c) * np.dtype(c.dtype).itemsize for c in design.configs)
    return "all" if per * size <= KEEP_BUDGET else "best" if size <= KEEP_BUDGET else "none"


def _memory(
    design: Design, groups: tuple[Group, ...], num_workers: int, keep: Keep, backend: str = "cpu"
) -> dict[str, int]:
    """Returns the parts of the host's memory that a sweep takes, in bytes."""
    per = design.num_replicates
    data = design.padded
    itemsize = np.dtype(design.configs[0].dtype).itemsize
    inputs = len(design.input_names) * data.x.shape[1] * itemsize
    resident = data.x.nbytes + (design.num_folds * inputs if design.standardize or design.coded else 0)
    resident += data.y.nbytes * (1 + (design.num_folds if design.standardize_target else 0))
    # In the unit of standardised targets records are float64, see the recorder.
    recorded = np.dtype(np.float64).itemsize if design.standardize_target else itemsize
    # The cost, and each metric in training, in validation and on test samples.
    metrics = 1 + len(design.metrics) * (2 + (design.test is not None))
    results = sum(per * num_records(config) * metrics * recorded for config in design.configs)
    if design.splits.kind == "validation":
        results += design.num_rows * int(design.splits.num_val[0]) * 2 * recorded
    kept = {"all": per, "best": 1, "none": 0}[keep]
    needed = {"data": resident}
    if backend == "cpu":
        own = data.y.size * design.has_own_targets * itemsize
        placed = 2 * inputs * (design.num_folds if design.has_own_inputs else 1)
        if not design.has_own_inputs or placed <= INPUTS_BUDGET:
            needed["data"] += placed
        else:
            own += 2 * inputs
        chunks = (group.chunk * (lane_bytes(group.program, data.x.shape[1]) + own) for group in groups)
        needed["chunks in work"] = num_workers * max(chunks)
    needed["results"] = results
    needed["parameters"] = kept * sum(num_params(c) * itemsize for c in design.configs)
    return needed


def _on_device(
    design: Design, groups: tuple[Group, ...], num_workers: int, backend: str, devices: int
) -> int:
    """Returns the bytes that a sweep takes on one accelerator; 0 on a CPU, whose memory is the host's."""
    if backend == "cpu":
        return 0
    chunks = (
        _chunks_on_device(group, design.num_replicates, num_workers, devices)
        * group.chunk
        * _lane_on_device(design, group)
        for group in groups
    )
    inputs = design.padded.x.nbytes * len(design.input_names) // len(design.data.x)
    return inputs + design.padded.y.nbytes + max(chunks)


def _chunks_on_device(group: Group, num_replicates: int, num_workers: int, devices: int) -> int:
    """Returns how many chunks of a group are in work on one accelerator at a time."""
    chunks = math.ceil(len(group.configurations) * num_replicates / group.chunk)
    return math.ceil(min(chunks, num_workers) / devices)


def _lane_on_device(design: Design, group: Group) -> int:
    """Returns the bytes that one network of a group takes on an accelerator."""
    return accelerator_bytes(group.program, design.padded.x.shape[1]) + own_inputs(design, group.config)


def _parts(memory: dict[str, int]) -> str:
    return ", ".join(f"{name} {_size(size)}" for name, size in memory.items())


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
