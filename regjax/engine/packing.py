"""Rows of a sweep on their way into chunks.

Rows of one group that are trained together are a *wave*. Rows that diverge or stop leave, and the others
close ranks: freed lanes are refilled, no shape changes, nothing compiles again, and no row's bits change.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from regjax.core.train import TrainState
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.records import num_params

# Bytes of state that the open waves may hold on the host.
WAVE_BUDGET = 256 * 2**20
WAVE_CHUNKS = 64


@dataclasses.dataclass(eq=False)
class Chunk:
    """Rows that are trained together: up to R slots of up to r rows each.

    `states` has leaves `(R, r, …)`; None before the first step.
    """

    wave: Wave
    slots: list[list[int]]
    step: int
    states: TrainState | None

    def lanes(self, group: Group) -> np.ndarray:
        """Returns which row each lane holds, `(R, r)`: spare lanes repeat a row of their slot."""
        slots = [(slot * group.lanes)[: group.lanes] for slot in self.slots]
        return np.array((slots * group.slots)[: group.slots])

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Slot, lane and row of each row."""
        return [(i, j, row) for i, slot in enumerate(self.slots) for j, row in enumerate(slot)]


@dataclasses.dataclass(eq=False)
class Wave:
    """Rows of one group that close ranks with each other.

    Attributes:
        group: index of the group.
        ready: chunks that wait for a worker.
        loose: step -> rows that wait for others, with their states.
        busy: steps at which chunks of this wave are being trained.
        stops: step -> where all chunks of the wave go from there, and what is measured.
    """

    group: int
    ready: collections.deque[Chunk] = dataclasses.field(default_factory=collections.deque)
    loose: dict[int, dict[int, TrainState | None]] = dataclasses.field(default_factory=dict)
    busy: list[int] = dataclasses.field(default_factory=list)
    stops: dict[int, tuple[tuple[int, ...], tuple[bool, ...]]] = dataclasses.field(default_factory=dict)


class Waves:
    """The open waves of a sweep, and the rows that no wave has yet.

    Attributes:
        groups: of the plan; smaller chunks after memory ran out.
        unopened: for each group its rows that are in no wave, replicate by replicate.
        open: in order of their opening.
    """

    def __init__(self, design: Design, groups: Sequence[Group], num_workers: int) -> None:
        self.design, self.num_workers = design, num_workers
        self.groups = list(groups)
        self.unopened = [
            [
                design.index(configuration, seed, fold)
                for seed in range(len(design.seeds))
                for fold in range(design.num_folds)
                for configuration in group.configurations
            ]
            for group in groups
        ]
        self.open: list[Wave] = []

    def next(self) -> Chunk | None:
        """Returns the next chunk of the oldest open wave that has one, least trained first."""
        for wave in self.open:
            if wave.ready:
                return wave.ready.popleft()
        return None

    def take_unopened(self, alone: bool = True) -> tuple[int, list[int]] | None:
        """Returns a group, and rows of it for a wave; None where all are in waves.

        Args:
            alone: whether no other process takes rows of this sweep; else a wave is small.
        """
        for index, rows in enumerate(self.unopened):
            if rows:
                size = self._wave_chunks(index, alone) * self.groups[index].chunk
                self.unopened[index] = rows[size:]
                return index, rows[:size]
        return None

    def open_wave(self, index: int, rows: Iterable[int], begun: dict[int, tuple[int, TrainState]]) -> None:
        """Makes a wave of rows of a group; `begun` says which of them have been trained, how far."""
        wave = Wave(index)
        for row in rows:
            step, state = begun.get(row, (0, None))
            wave.loose.setdefault(step, {})[row] = state
        if wave.loose:
            self.open.append(wave)
            self.close_ranks(wave)

    def close_waiting(self) -> list[int]:
        """Takes rows that wait for a worker out of their waves, and returns them: they are unopened."""
        found: list[int] = []
        for wave in self.open:
            rows = [row for chunk in wave.ready for _, _, row in chunk.places]
            rows += [row for loose in wave.loose.values() for row in loose]
            wave.ready.clear()
            wave.loose.clear()
            self.unopened[wave.group] = rows + self.unopened[wave.group]
            found += rows
        self._forget_empty()
        return found

    def loosen(self, chunk: Chunk, going: np.ndarray) -> None:
        """Gives a chunk's rows that go on, `(rows,)` of the sweep, back to its wave with their states."""
        loose = chunk.wave.loose.setdefault(chunk.step, {})
        for i, j, row in chunk.places:
            if going[row]:
                loose[row] = lane_of(chunk.states, i, j)

    def close_ranks(self, wave: Wave) -> None:
        """Makes chunks of a wave's loose rows: full ones, and when no more can come, of the rest."""
        for step in sorted(wave.loose):
            self._close_ranks(wave, step)
        self._forget_empty()

    def halve(self, index: int) -> None:
        """Makes a group's chunks half as large."""
        group = self.groups[index]
        half = {"slots": group.slots // 2} if group.slots > 1 else {"lanes": group.lanes // 2}
        self.groups[index] = group._replace(**half)

    def rebuild(self, index: int, going: np.ndarray) -> None:
        """Makes the chunks of a group that wait for a worker anew, in the group's shape."""
        for wave in [wave for wave in self.open if wave.group == index]:
            while wave.ready:
                self.loosen(wave.ready.popleft(), going)
            self.close_ranks(wave)

    def waiting(self) -> Iterator[tuple[int, int, list[int], TrainState]]:
        """Yields group, step, rows and their states, `(rows, …)`, of those that are begun and wait."""
        for wave in self.open:
            for chunk in wave.ready:
                if chunk.step:
                    rows = [row for _, _, row in chunk.places]
                    states = [lane_of(chunk.states, i, j) for i, j, _ in chunk.places]
                    yield wave.group, chunk.step, rows, stack(states, (len(rows),))
            for step, loose in wave.loose.items():
                if step and loose:
                    yield wave.group, step, list(loose), stack(list(loose.values()), (len(loose),))

    def _forget_empty(self) -> None:
        self.open = [w for w in self.open if w.ready or w.busy or any(w.loose.values())]

    def _wave_chunks(self, index: int, alone: bool) -> int:
        if not alone:
            return self.num_workers
        config = self.groups[index].config
        state = self.groups[index].chunk * num_params(config) * np.dtype(config.dtype).itemsize * 3
        return int(np.clip(WAVE_BUDGET // state, 2 * self.num_workers, WAVE_CHUNKS))

    def _close_ranks(self, wave: Wave, step: int) -> None:
        loose = wave.loose[step]
        if not loose:
            return
        group = self.groups[wave.group]
        last = not any(busy < step for busy in wave.busy) and not any(c.step < step for c in wave.ready)
        slots: list[list[int]] = []
        for rows in self._by_replicate(group, loose):
            slots += [rows[i : i + group.lanes] for i in range(0, len(rows), group.lanes)]
        full = [slot for slot in slots if len(slot) == group.lanes]
        if last:
            full += [slot for slot in slots if len(slot) < group.lanes]
        for i in range(0, len(full), group.slots):
            chosen = full[i : i + group.slots]
            if len(chosen) == group.slots or last:
                chunk = Chunk(wave, chosen, step, None)
                if step > 0:
                    lanes = chunk.lanes(group)
                    chunk.states = stack([loose[row] for row in lanes.ravel()], lanes.shape)
                for _, _, row in chunk.places:
                    del loose[row]
                wave.ready.append(chunk)

    def _by_replicate(self, group: Group, rows: Iterable[int]) -> list[list[int]]:
        """Returns rows that may share a slot."""
        if not group.shared:
            return [sorted(rows, key=lambda row: (row % self.design.num_replicates, row))]
        found: dict[int, list[int]] = {}
        for row in sorted(rows):
            found.setdefault(row % self.design.num_replicates, []).append(row)
        return [found[replicate] for replicate in sorted(found)]


def stack(trees: list[Any], shape: tuple[int, ...]) -> Any:
    """Returns arrays, or pytrees of them, as one with the leading axes `shape`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*shape, *leaves[0].shape), *trees)


def lane_of(tree: Any, slot: int, lane: int) -> Any:
    """Returns one lane of a pytree of arrays `(R, r, …)`, a view."""
    return jax.tree.map(lambda leaf: leaf[slot, lane], tree)
