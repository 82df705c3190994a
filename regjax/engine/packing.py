"""Packs the rows of a sweep into chunks, for `engine/scheduler.py`.

Rows of one group that are in work together are a *wave*. When some of them diverge or stop, the others are
packed into new chunks of the same shape: no lane is wasted, nothing compiles again, and no bit of a row
changes, since a lane's result depends neither on its position nor on its neighbours. A chunk that packing
would not save stays as it is: its lanes of finished rows become spare.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from regjax.core.train import TrainState
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.records import num_params

# Bytes of training state that a wave may hold in main memory, and the most chunks that it may have.
WAVE_BUDGET = 256 * 2**20
WAVE_CHUNKS = 64
# A chunk of more lanes than this, which only accelerators have, is taken apart once half of them are spare:
# packing copies lane by lane, and a card is about as fast with a few lanes less.
MANY_LANES = 64


@dataclasses.dataclass(eq=False)
class Chunk:
    """Rows that one task trains together.

    Attributes:
        wave: the wave of its rows.
        slots: the rows of each slot: up to R slots of up to r rows.
        step: the number of steps that the rows have done.
        states: the training states of the rows, leaves `(R, r, …)`; None before the first step.
        finished: rows whose lanes have become spare.
        device: number of the device that trained it last; None before its first task.
        inputs: replicates and hyperparameters of its lanes, as the last task had them; None to make them.
        request: number of the request to a cluster that brought it to `step`; -1 for none.
    """

    wave: Wave
    slots: list[list[int]]
    step: int
    states: TrainState | None
    finished: set[int] = dataclasses.field(default_factory=set)
    device: int | None = None
    inputs: tuple[Any, Any] | None = None
    request: int = -1

    def lanes(self, group: Group) -> np.ndarray:
        """Returns the row of each lane, `(R, r)`; spare lanes repeat rows, and their results are not read."""
        # Repeated, so that every chunk of a group has one shape and none is compiled for its own.
        slots = np.array([np.resize(slot, group.lanes) for slot in self.slots])
        return np.resize(slots, (group.slots, group.lanes))

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Slot, lane and row of each row of the chunk; spare lanes are left out."""
        return [
            (i, j, row)
            for i, slot in enumerate(self.slots)
            for j, row in enumerate(slot)
            if row not in self.finished
        ]

    def fetch(self) -> None:
        """Copies states that are on a device to main memory, where lanes are taken from them one by one."""
        self.states = jax.device_get(self.states)


@dataclasses.dataclass(eq=False)
class Wave:
    """Rows of one group that are in work together, and may be packed into one another's chunks.

    Attributes:
        group: the index of the group.
        ready: chunks that wait for a worker.
        loose: step -> rows without a chunk, each with its state, None before the first step.
        busy: chunks that workers have.
        ends: step -> `ends` and `measured` of the tasks that begin there. Those of all chunks of a wave
            end at the same steps, since only rows at the same step can share a chunk.
    """

    group: int
    ready: collections.deque[Chunk] = dataclasses.field(default_factory=collections.deque)
    loose: dict[int, dict[int, TrainState | None]] = dataclasses.field(default_factory=dict)
    busy: list[Chunk] = dataclasses.field(default_factory=list)
    ends: dict[int, tuple[tuple[int, ...], tuple[bool, ...]]] = dataclasses.field(default_factory=dict)


class Waves:
    """The waves of a sweep, and the rows that no wave has yet.

    Args:
        design: the design of the sweep.
        groups: the groups of its plan.
        num_workers: the number of tasks at a time.

    Attributes:
        groups: the groups of the plan, with smaller chunks where a task ran out of memory.
        filled: for each group, how many slots of a chunk hold rows, and how many lanes of a slot.
        unopened: for each group its rows that are in no wave, replicate by replicate.
        open: waves with unfinished rows, the oldest first.
    """

    def __init__(self, design: Design, groups: Sequence[Group], num_workers: int) -> None:
        self.design, self.num_workers = design, num_workers
        self.groups = list(groups)
        self.filled = [(group.slots, group.lanes) for group in groups]
        self._members = [
            [
                design.index(configuration, seed, fold)
                for seed in range(len(design.seeds))
                for fold in range(design.num_folds)
                for configuration in group.configurations
            ]
            for group in groups
        ]
        self.unopened = [list(members) for members in self._members]
        self.open: list[Wave] = []
        self._group_of = {row: index for index, members in enumerate(self._members) for row in members}

    def restrict(self, wanted: np.ndarray) -> None:
        """Makes the wanted rows those that are in no wave: `wanted` is `(rows,)`, bool; no wave is open."""
        self.unopened = [[row for row in members if wanted[row]] for members in self._members]

    def give_back(self, row: int) -> None:
        """Puts a row that another process left unfinished back among the rows without a wave."""
        self.unopened[self._group_of[row]].append(row)

    def next(self) -> Chunk | None:
        """Takes and returns a chunk of the oldest wave that has one ready, or None."""
        # The oldest first: its rows finish soon, and their states are freed.
        for wave in self.open:
            if wave.ready:
                return wave.ready.popleft()
        return None

    @property
    def first_unopened(self) -> int | None:
        """Index of the group of the rows that `take_unopened` takes next; None where none is left."""
        return next((index for index, rows in enumerate(self.unopened) if rows), None)

    def take_unopened(self, alone: bool = True) -> tuple[int, list[int]] | None:
        """Takes rows for a new wave; returns their group's index and the rows, or None where none is left.

        Args:
            alone: whether no other process trains rows of this store; if one does, the wave is small, so that
                rows are left for it.
        """
        index = self.first_unopened
        if index is None:
            return None
        rows, size = self.unopened[index], self._wave_chunks(index, alone) * self.groups[index].chunk
        self.unopened[index] = rows[size:]
        self.filled[index] = self.groups[index].slots, self.groups[index].lanes
        return index, rows[:size]

    def open_wave(self, index: int, rows: Iterable[int], begun: dict[int, tuple[int, TrainState]]) -> None:
        """Makes a wave of rows of a group.

        Args:
            index: the index of the group.
            rows: the rows of the wave; without any, no wave is made.
            begun: row -> step and state, for rows that have a checkpoint.
        """
        wave = Wave(index)
        for row in rows:
            step, state = begun.get(row, (0, None))
            wave.loose.setdefault(step, {})[row] = state
        if wave.loose:
            self.open.append(wave)
            self.pack(wave)

    def withdraw_waiting(self) -> list[int]:
        """Takes rows that wait for a worker out of their waves, to be unopened again, and returns them."""
        found: list[int] = []
        for wave in self.open:
            rows = [row for chunk in wave.ready for _, _, row in chunk.places]
            rows += [row for loose in wave.loose.values() for row in loose]
            wave.ready.clear()
            wave.loose.clear()
            self.unopened[wave.group] = rows + self.unopened[wave.group]
            found += rows
        self._close_empty()
        return found

    def loosen(self, chunk: Chunk, going: np.ndarray) -> None:
        """Takes a chunk apart: its unfinished rows wait in their wave for a new chunk.

        Args:
            chunk: a chunk whose states are those after `chunk.step` steps.
            going: which rows of the sweep are not finished, `(rows,)`.
        """
        loose = chunk.wave.loose.setdefault(chunk.step, {})
        chunk.fetch()
        for i, j, row in chunk.places:
            if going[row]:
                loose[row] = lane_of(chunk.states, i, j)

    def goes_on(self, chunk: Chunk, going: np.ndarray) -> bool:
        """Makes a chunk ready again as it is; returns False, and leaves it, where packing would save a chunk.

        Args:
            chunk: a chunk of its group's present shape.
            going: which rows of the sweep are not finished, `(rows,)`.
        """
        wave, size = chunk.wave, self.groups[chunk.wave.group].chunk
        rows = [row for _, _, row in chunk.places]
        left = int(going[rows].sum())
        # The rows of a chunk that is alone in its wave need one chunk, however few they are.
        alone = not wave.busy and not wave.ready and not any(wave.loose.values())
        large = size > MANY_LANES and 2 * left > size
        if left == 0 or (left < len(rows) and not alone and not large):
            return False
        if left > math.prod(self.filled[wave.group]):  # to be divided
            return False
        chunk.finished.update(row for row in rows if not going[row])
        wave.ready.append(chunk)
        return True

    def pack(self, wave: Wave) -> None:
        """Packs the loose rows of a wave into full chunks; the rest too once no other row can join them."""
        for step in sorted(wave.loose):
            if wave.loose[step]:
                self._pack_step(wave, step)
        self._close_empty()

    def halve(self, index: int) -> None:
        """Halves the chunks of a group: its slots, or the lanes of its only slot."""
        group = self.groups[index]
        half = {"slots": group.slots // 2} if group.slots > 1 else {"lanes": group.lanes // 2}
        group = self.groups[index] = group._replace(**half)
        self.filled[index] = min(self.filled[index][0], group.slots), min(self.filled[index][1], group.lanes)

    def divide(self, index: int, workers: int) -> bool:
        """Halves the rows of a group's chunks where fewer are left than workers; returns whether it did.

        Their shape stays, and with it every bit: the other lanes are idle. That pays for the native kernel,
        which does not train them; a program of XLA would.
        """
        slots, lanes = self.filled[index]
        if slots * lanes == 1 or self.first_unopened is not None:
            return False
        # A chunk that a worker has is divided when it comes back.
        if self.chunks_left >= workers:
            return False
        self.filled[index] = (slots // 2, lanes) if slots > 1 else (1, lanes // 2)
        return True

    @property
    def chunks_left(self) -> int:
        """Number of chunks that the rows in waves and without one would fill."""
        left = collections.Counter({index: len(rows) for index, rows in enumerate(self.unopened)})
        for wave in self.open:
            left[wave.group] += sum(len(chunk.places) for chunk in (*wave.busy, *wave.ready))
            left[wave.group] += sum(map(len, wave.loose.values()))
        return sum(math.ceil(rows / math.prod(self.filled[index])) for index, rows in left.items())

    def part(self, index: int) -> float:
        """Returns the part of a group's chunks that holds rows: 1 until they are divided."""
        return math.prod(self.filled[index]) / self.groups[index].chunk

    def repack(self, index: int, going: np.ndarray) -> None:
        """Packs the waiting rows of a group again, in chunks of the group's present shape.

        Args:
            index: the index of the group.
            going: which rows of the sweep are not finished, `(rows,)`.
        """
        for wave in [wave for wave in self.open if wave.group == index]:
            # Chunks that workers have keep their shape; their rows are packed when they come back.
            while wave.ready:
                self.loosen(wave.ready.popleft(), going)
            self.pack(wave)

    def waiting(self) -> Iterator[tuple[int, int, list[int], TrainState]]:
        """Yields (group, step, rows, states `(rows, …)`) of rows that have begun and wait for a worker."""
        for wave in self.open:
            for chunk in wave.ready:
                if chunk.step:
                    chunk.fetch()
                    rows = [row for _, _, row in chunk.places]
                    states = [lane_of(chunk.states, i, j) for i, j, _ in chunk.places]
                    yield wave.group, chunk.step, rows, stack(states, (len(rows),))
            for step, loose in wave.loose.items():
                if step and loose:
                    yield wave.group, step, list(loose), stack(list(loose.values()), (len(loose),))

    def _close_empty(self) -> None:
        """Forgets waves without rows."""
        self.open = [w for w in self.open if w.ready or w.busy or any(w.loose.values())]

    def _wave_chunks(self, index: int, alone: bool) -> int:
        """Returns how many chunks a wave of a group has."""
        if not alone:
            return self.num_workers
        config = self.groups[index].config
        # Three numbers per parameter: a guess of parameters, optimizer state and other carried values.
        state = self.groups[index].chunk * num_params(config) * np.dtype(config.dtype).itemsize * 3
        # At least two for each worker: one at work, and one that waits for it.
        return int(np.clip(WAVE_BUDGET // state, 2 * self.num_workers, WAVE_CHUNKS))

    def _pack_step(self, wave: Wave, step: int) -> None:
        """Packs the loose rows at one step into chunks."""
        group, loose = self.groups[wave.group], wave.loose[step]
        most, lanes = self.filled[wave.group]
        # A row at an earlier step may still arrive here and fill a slot; without one, no slot waits.
        last = not any(c.step < step for c in wave.busy) and not any(c.step < step for c in wave.ready)
        last = last or self.part(wave.group) < 1  # at the end of a sweep none waits for others
        slots: list[list[int]] = []
        for rows in self._by_slot(group, loose):
            slots += [rows[i : i + lanes] for i in range(0, len(rows), lanes)]
        chosen = [slot for slot in slots if len(slot) == lanes]
        if last:
            chosen += [slot for slot in slots if len(slot) < lanes]
        for i in range(0, len(chosen), most):
            part = chosen[i : i + most]
            if len(part) == most or last:
                wave.ready.append(self._chunk_of(wave, part, step))

    def _chunk_of(self, wave: Wave, slots: list[list[int]], step: int) -> Chunk:
        """Makes a chunk of loose rows of a wave, which are loose no longer."""
        loose, chunk = wave.loose[step], Chunk(wave, slots, step, None)
        if step > 0:
            lanes = chunk.lanes(self.groups[wave.group])
            chunk.states = stack([loose[row] for row in lanes.ravel()], lanes.shape)
        for _, _, row in chunk.places:
            del loose[row]
        return chunk

    def _by_slot(self, group: Group, rows: Iterable[int]) -> list[list[int]]:
        """Returns rows in lists, any rows of one of which may share a slot."""
        replicates = self.design.num_replicates
        if not group.shared:
            return [sorted(rows, key=lambda row: (row % replicates, row))]
        # Lanes of a shared slot have one key and one set of weights: they must be of one replicate.
        found: dict[int, list[int]] = {}
        for row in sorted(rows):
            found.setdefault(row % replicates, []).append(row)
        return [found[replicate] for replicate in sorted(found)]


def stack(trees: list[Any], shape: tuple[int, ...]) -> Any:
    """Returns pytrees of arrays stacked into one, with leading axes `shape` whose product is their number."""
    return jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*shape, *leaves[0].shape), *trees)


def lane_of(tree: Any, slot: int, lane: int) -> Any:
    """Returns one lane of a pytree of arrays `(R, r, …)`, as views."""
    return jax.tree.map(lambda leaf: leaf[slot, lane], tree)
