"""Connects a sweep in progress with its store: reads finished rows, leases rows, commits what was trained.

`engine/sweep.py` makes `Checkpoints`; `engine/scheduler.py` calls its methods between two tasks. Only the
scheduler's thread writes to the store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from regjax.core.metrics import RECORDED
from regjax.core.train import TrainState
from regjax.engine import tasks
from regjax.engine.lanes import ChunkDone
from regjax.engine.packing import Chunk
from regjax.engine.recorder import Recorder
from regjax.engine.tasks import how
from regjax.store.codec import as_state, asked_columns, leaves, leaves_under, pack_rows, unpack
from regjax.store.database import StoreError
from regjax.store.identity import identities
from regjax.store.store import Checkpoint, Row, Store, StoredSweep, now_in_words
from regjax.study.design import Design
from regjax.study.groups import Group, shapes_of, with_shapes
from regjax.study.plan import Plan
from regjax.study.provenance import chunk_of, loop_of, padded_of
from regjax.study.questions import Origin, Questions
from regjax.study.records import final_records

# Seconds of a row's training that may be lost, less those of a task.
CHECKPOINT_SECONDS = 30.0
# Seconds between two signs of life, and between two looks at what other processes have done.
BEAT_SECONDS = 1.0


class Checkpoints:
    """A sweep in an open store: reads, leases and commits its rows.

    Args:
        store: the open store.
        design: the design of the sweep.
        sweep: the number of the sweep in the store.
        rows: the identity of each row.
        found: the finished rows, by identity.

    Attributes:
        with_others: the rows that other processes are training.
        alone: whether no other process was seen at the last sign of life.
    """

    def __init__(
        self, store: Store, design: Design, sweep: int, rows: Sequence[str], found: dict[str, Row]
    ) -> None:
        self.store, self.design, self.sweep, self.rows = store, design, sweep, list(rows)
        self.with_others: set[int] = set()
        self.alone = True
        self._found = found
        self._index = {identity: row for row, identity in enumerate(rows)}
        self._asked = asked_columns(design)
        self._beaten = time.perf_counter()
        # When each row was leased or committed last.
        self._saved = np.full(len(self.rows), self._beaten)

    @classmethod
    def begin(
        cls, store: Store, design: Design, plan: Plan, questions: Questions, origin: Origin
    ) -> tuple[Checkpoints, Plan]:
        """Returns the checkpoints of a sweep that is begun or resumed, and the plan that holds for it."""
        rows = identities(design)
        # Before anything is written: a store that is damaged where this sweep reads it is left as it is.
        # Without metrics, of which the recorder has its own: they would take most of the memory.
        found = {identity: row._replace(metrics={}) for identity, row in store.read(rows)}
        new = StoredSweep(design, rows, shapes_of(plan.groups), plan.keep, questions, origin)
        sweep, shapes = store.begin(new, how(design, plan.groups[0]))
        checkpoints = cls(store, design, sweep, rows, found)
        checkpoints.alone = store.beat() == 0
        stored = with_shapes(plan.groups, shapes)
        # Where the kernel is not at hand, XLA has chunks of its own shapes: in those of the kernel its bits
        # would depend on a network's place.
        held = tuple(
            planned if asked.kernel == "native" and not tasks.is_native(asked) else asked
            for asked, planned in zip(stored, plan.groups, strict=True)
        )
        notes = plan.notes
        if held != stored:
            notes = (*notes, "begun by the native kernel, which is not at hand here: XLA trains the rest")
        return checkpoints, dataclasses.replace(plan, groups=held, notes=notes)

    # -- reading ------------------------------------------------------------------------------------------

    def recall(self, recorder: Recorder) -> None:
        """Adds the rows that were finished when this sweep was begun to the recorder."""
        while self._found:
            identity, stored = self._found.popitem()
            recorder.recall(self._index[identity], stored)

    def _take_finished(self, recorder: Recorder, rows: Sequence[int]) -> set[int]:
        """Adds the finished ones of these rows to the recorder, and returns them."""
        found = set()
        for identity, stored in self.store.read([self.rows[row] for row in rows]):
            recorder.recall(self._index[identity], stored)
            found.add(self._index[identity])
        return found

    def lease(
        self, recorder: Recorder, rows: Sequence[int], group: Group
    ) -> tuple[list[int], dict[int, tuple[int, TrainState]]]:
        """Returns the rows that this process may train, and the step and state of those with a checkpoint.

        Of the others, finished ones are added to the recorder; the rest are noted as `with_others`.
        """
        granted = self.store.lease([self.rows[row] for row in rows])
        mine = [row for row in rows if self.rows[row] in granted]
        if rest := [row for row in rows if self.rows[row] not in granted]:
            self.with_others |= set(rest) - self._take_finished(recorder, rest)
        self._saved[mine] = time.perf_counter()
        return mine, self._begun(recorder, mine, group)

    def _begun(
        self, recorder: Recorder, rows: Sequence[int], group: Group
    ) -> dict[int, tuple[int, TrainState]]:
        begun = {}
        for identity, point in self.store.checkpoints([self.rows[row] for row in rows]):
            row, arrays = self._index[identity], unpack(point.content)
            slots, lanes, shared = chunk_of(point.provenance)
            # In a chunk of another size, or by another kernel, the row would not end with the bits of an
            # uninterrupted one.
            by = tasks.loop_of(self.design, group)
            same = (slots * lanes, loop_of(point.provenance)) == (group.chunk, by)
            same = same and padded_of(point.provenance) == group.padded_to
            # What is drawn is the same whether it is shared or not; sums over a batch are rounded otherwise.
            same = same and (shared == group.shared or group.config.batch_size is None)
            if same and 0 < point.step < group.config.num_steps:
                hparams = self.design.hparams[self.design.row(row).configuration]
                state = as_state(leaves_under("state", arrays), group.config, hparams)
                begun[row] = point.step, state
                recorder.recall_records(row, arrays)
                recorder.seconds[row] = point.seconds
                recorder.provenance[row] = point.provenance
        return begun

    def look_again(self, recorder: Recorder) -> list[int]:
        """Adds rows that other processes have finished to the recorder; returns rows that they gave up."""
        rows = sorted(self.with_others)
        finished = self.store.finished([self.rows[row] for row in rows])
        self._take_finished(recorder, [row for row in rows if self.rows[row] in finished])
        leased = self.store.leased([self.rows[row] for row in rows])
        left = [row for row in rows if self.rows[row] not in finished | leased]
        self.with_others -= {row for row in rows if self.rows[row] not in leased}
        return left

    # -- writing ----------------------------------------------------------------------------------------

    def commit(self, recorder: Recorder, group: Group, chunk: Chunk, done: ChunkDone) -> None:
        """Commits the finished rows of a task, and checkpoints of the others if the last one is long ago.

        Args:
            recorder: the recorder, with the results of the task.
            group: the group of the chunk.
            chunk: the chunk that was trained.
            done: what the task returned.
        """
        places = chunk.places
        finished = [(i, j, row) for i, j, row in places if recorder.finished[row]]
        due = [(i, j, row) for i, j, row in places if not recorder.finished[row]]
        if due and time.perf_counter() - self._saved[[row for *_, row in due]].min() < CHECKPOINT_SECONDS:
            due = []
        if not finished and not due:
            return
        done = done._replace(states=jax.device_get(done.states))
        parameters = leaves("params", done.states.predicting)
        kept = [place for place in finished if place[2] in recorder.kept]
        bare = [row for *_, row in finished if row not in recorder.kept]
        # Three calls, since the rows of a call have arrays of the same names.
        written = [
            *self._rows(recorder, group, [row for *_, row in kept], _picked(parameters, kept)),
            *self._rows(recorder, group, [row for row in bare if recorder.diverged_at[row] < 0], {}),
            *self._rows(recorder, group, [row for row in bare if recorder.diverged_at[row] >= 0], {}),
        ]
        begun = {}
        if due:
            state = _picked(leaves("state", done.states), due)
            begun = self._points(recorder, group, [row for *_, row in due], state, done.stop)
        self.store.write(written, begun)

    def save(
        self, recorder: Recorder, group: Group, rows: Sequence[int], states: TrainState, step: int
    ) -> None:
        """Commits checkpoints of rows; `states` has leaves `(rows, …)`."""
        self.store.write([], self._points(recorder, group, rows, leaves("state", states), step))

    def release(self, rows: Sequence[int]) -> None:
        """Ends the leases of this process on rows that wait, or that it will not train."""
        if rows:
            self.store.release([self.rows[row] for row in rows])

    def _points(
        self, recorder: Recorder, group: Group, rows: Sequence[int], state: dict[str, np.ndarray], step: int
    ) -> dict[str, Checkpoint]:
        self._saved[rows] = time.perf_counter()
        packed = pack_rows(recorder.arrays(rows, group.config) | state)
        return {
            self.rows[row]: Checkpoint(step, float(recorder.seconds[row]), recorder.provenance[row], content)
            for row, content in zip(rows, packed, strict=True)
        }

    def _rows(
        self, recorder: Recorder, group: Group, rows: Sequence[int], parameters: dict[str, np.ndarray]
    ) -> list[tuple[tuple[object, ...], bytes]]:
        """Returns the columns and the packed arrays of finished rows."""
        if not rows:
            return []
        arrays = recorder.arrays(rows, group.config) | parameters
        if recorder.examples is not None and recorder.diverged_at[rows[0]] < 0:
            arrays |= {f"examples/{name}": values[rows] for name, values in recorder.examples.items()}
        final = final_records(self.design, recorder.records, recorder.diverged_at, recorder.stopped_at, rows)
        nothing = np.full(len(rows), np.nan)
        metrics = [
            recorder.records[name][rows, final] if name in recorder.records else nothing for name in RECORDED
        ]
        cost = recorder.last_finite_cost[rows]
        numbers = np.array([cost, *metrics], np.float64).T + 0.0  # SQLite knows no -0
        # NULL, not NaN, is what SQL leaves out of a mean.
        cells = np.where(np.isnan(numbers), None, numbers.astype(object)).tolist()  # type: ignore[call-overload]
        date = now_in_words()
        written = []
        for row, own, content in zip(rows, cells, pack_rows(arrays), strict=True):
            place = self.design.row(row)
            diverged_at, stopped_at = int(recorder.diverged_at[row]), int(recorder.stopped_at[row])
            ending = (
                "ok" if diverged_at < 0 else "diverged",
                None if diverged_at < 0 else diverged_at,
                None if stopped_at < 0 else stopped_at,
            )
            asked = self._asked(place.configuration)
            columns = (
                *(self.rows[row], *asked, place.seed, place.fold, *ending, *own),
                *(float(recorder.seconds[row]), date, recorder.provenance[row]),
            )
            written.append((columns, content))
        return written

    def reshape(self, groups: Sequence[Group]) -> None:
        """Stores chunk shapes that a lack of memory made smaller."""
        self.store.reshape(self.sweep, shapes_of(groups))

    # -- several processes ------------------------------------------------------------------------------

    def beat(self, share: Callable[[Checkpoints], Sequence[int]]) -> bool:
        """Gives a sign of life, if it is time for one; returns whether it was.

        Args:
            share: commits and returns the leased rows that wait for a worker; it is called when another
                process has come, which may then lease them.
        """
        now = time.perf_counter()
        if now - self._beaten < BEAT_SECONDS:
            return False
        self._beaten = now
        were_alone, self.alone = self.alone, self.store.beat() == 0
        if were_alone and not self.alone:
            self.store.release([self.rows[row] for row in share(self)])
        return True

    def end(self) -> None:
        """Marks the sweep as finished."""
        self.store.end(self.sweep)

    def leave(self) -> None:
        """Ends all leases of this process."""
        with contextlib.suppress(OSError, StoreError):
            self.store.leave()


def _picked(arrays: dict[str, np.ndarray], places: Sequence[tuple[int, int, int]]) -> dict[str, np.ndarray]:
    """Returns arrays `(R, r, …)` at these lanes, `(lanes, …)`."""
    i, j = [i for i, _, _ in places], [j for _, j, _ in places]
    return {name: value[i, j] for name, value in arrays.items()}
