"""What a worker process of a cluster does: makes the task of a chunk from its name, and trains it.

A `ChunkRequest` names rows and steps. The design, with the data, comes to each process once, as a `Held`; the
states of a chunk stay in the process that trained it last, and come with the request where that is another.
`engine/cluster.py` sends requests. A worker needs regjax, and nothing else of a user's.
"""

from __future__ import annotations

import collections
import functools
import threading
from typing import Any, NamedTuple

import numpy as np

from regjax.core.train import TrainState
from regjax.engine.inputs import Inputs
from regjax.engine.lanes import ChunkDone, run_task
from regjax.engine.packing import Chunk, Wave
from regjax.engine.tasks import how, task_of
from regjax.engine.workers import is_accelerated
from regjax.native.build import toolchain
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.provenance import device, processor, versions

# Most bytes of states that a process keeps for the next requests of their chunks.
MOST_BYTES = 2**28


class ChunkRequest(NamedTuple):
    """A chunk, named: what a worker trains, and how far.

    Attributes:
        group: its group, without the indices of configurations, which nothing of a task reads.
        slots: the rows of each slot.
        finished: rows whose lanes are spare.
        start: the number of steps that the chunk has done.
        ends: as of `lanes.ChunkTask`.
        measured: as of `lanes.ChunkTask`.
        epochs: as of `lanes.ChunkTask`.
        states: training states after `start` steps, or None: at step 0, and where the worker has them.
        before: number of the request that brought the chunk to `start`; -1 for none.
        number: number of this request.
    """

    group: Group
    slots: tuple[tuple[int, ...], ...]
    finished: tuple[int, ...]
    start: int
    ends: tuple[int, ...]
    measured: tuple[bool, ...]
    epochs: int
    states: TrainState | None
    before: int = -1
    number: int = -1

    @property
    def shape(self) -> tuple[int, int]:
        """Slots and lanes of the chunk."""
        return self.group.slots, self.group.lanes

    @property
    def rows(self) -> list[int]:
        """Rows of the chunk that are not finished."""
        return [row for slot in self.slots for row in slot if row not in self.finished]


def request_of(
    chunk: Chunk, group: Group, ends: tuple[int, ...], measured: tuple[bool, ...], epochs: int, number: int
) -> ChunkRequest:
    """Returns the request for the next task of a chunk; `tasks.task_of` makes that task of it.

    Args:
        chunk: the chunk, with its states.
        group: its group.
        ends: as of `lanes.ChunkTask`.
        measured: as of `lanes.ChunkTask`.
        epochs: as of `lanes.ChunkTask`.
        number: number of the request.
    """
    return ChunkRequest(
        group=group._replace(configurations=()),
        slots=tuple(map(tuple, chunk.slots)),
        finished=tuple(chunk.finished),
        start=chunk.step,
        ends=ends,
        measured=measured,
        epochs=epochs,
        states=chunk.states,
        before=chunk.request,
        number=number,
    )


class StatesMissing:
    """What a worker returns that does not have the states of a chunk: they are sent with the next request."""


class Held:
    """A design in a worker process, with its inputs on the device.

    Args:
        design: the design of a sweep.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        # States of the chunks that were trained here last, by number of their request.
        self.states: collections.OrderedDict[int, TrainState] = collections.OrderedDict()
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Held, (self.design,)  # states stay where they are

    @functools.cached_property
    def inputs(self) -> Inputs | None:
        """Inputs of all folds, once for all chunks; None on an accelerator, and where they do not fit."""
        found = Inputs(self.design)
        return found if not is_accelerated() and found.fit else None

    def keep(self, number: int, states: TrainState) -> None:
        """Keeps the states of a chunk for its next request."""
        with self.lock:
            self.states[number] = states
            while len(self.states) > 1 and sum(map(nbytes, self.states.values())) > MOST_BYTES:
                self.states.popitem(last=False)

    def take(self, number: int) -> TrainState | None:
        """Returns states that are kept, and keeps them no longer; None where there are none."""
        with self.lock:
            return self.states.pop(number, None)


def run_request(held: Held, request: ChunkRequest) -> ChunkDone | StatesMissing:
    """Returns the chunk after the last end of a request, with its records and its provenance."""
    states = request.states
    if request.start and states is None:
        states = held.take(request.before)
        if states is None:
            return StatesMissing()
    slots = [list(slot) for slot in request.slots]
    chunk = Chunk(Wave(0), slots, request.start, states, set(request.finished))
    task = task_of(held.design, request.group, chunk, request.ends, request.measured, held.inputs)
    done = run_task(task._replace(epochs=request.epochs, overlap=is_accelerated()))
    if done.stop < request.group.config.num_steps:
        held.keep(request.number, done.states)
    return done._replace(how=how(held.design, request.group))


def kind_of_worker() -> dict[str, str]:
    """Returns what the bits of this process depend on: versions, device, processor, and native kernel."""
    return {**versions(), "device": device(), "processor": processor(), "kernel": toolchain()}


def nbytes(value: Any) -> int:
    """Returns the bytes of the arrays of a request or of what came back, which is nearly all of it."""
    import jax

    return sum(leaf.nbytes for leaf in jax.tree.leaves(value) if isinstance(leaf, np.ndarray))
