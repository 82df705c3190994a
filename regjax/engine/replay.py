"""`replay`: trains one row of a store again, and says whether it came out as stored, to the bit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from regjax.engine.recorder import Recorder
from regjax.engine.scheduler import Scheduler
from regjax.engine.workers import workers_of
from regjax.store.codec import leaves
from regjax.store.store import Row, Store
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.plan import Plan, stored_plan
from regjax.study.provenance import chunk_of, differences, provenance


class Replay(NamedTuple):
    """What came of training a row again; `str(replay)` says it in words.

    Attributes:
        row: which one, in words.
        differing: what came out otherwise, in words: nothing if the row came out to the bit.
        elsewhere: in which parts the row was computed otherwise than here, in words.
    """

    row: str
    differing: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the row came out as stored, to the bit."""
        return not self.differing

    def __str__(self) -> str:
        said = "came out as stored, to the bit" if self.same else "came out otherwise than stored"
        lines = [f"{self.row}: {said}", *(f"  {line}" for line in self.differing)]
        if self.elsewhere:
            lines.append("it was computed elsewhere:")
        return "\n".join([*lines, *(f"  {line}" for line in self.elsewhere)])


def replay(path: str | os.PathLike[str], row: int, sweep: int | str = -1) -> Replay:
    """Returns what comes of training one row again from what a store holds; the store is not changed.

    It is trained in a chunk of the shape that it was trained in; versions, device and processor are those
    that are here.

    Args:
        path: of the store.
        row: its number in the sweep, as in `Results` and the view `results`.
        sweep: the sweep's number, or counted from the end: -1 or "last".

    Raises:
        OSError: the file cannot be read.
        StoreError: no store, or damaged.
        ValueError: no such sweep or row, or one that is not finished.
    """
    with Store(path, create=False) as store:
        number = store.sweep_number(sweep)
        design, rows, shapes, _ = store.design_of(number)
        if not 0 <= row < len(rows):
            raise ValueError(f"row must be in 0 to {len(rows) - 1}, got {row}")
        found = dict(store.read([rows[row]]))
    if not found:
        raise ValueError(f"row must be finished, and row {row} of sweep {number} is not")
    (stored,) = found.values()
    plan = stored_plan(design, shapes, "all", backend=jax.default_backend())
    plan, group = _as_it_was(plan, design.row(row).configuration, stored.provenance)
    recorder = _train_again(design, plan, row)
    return Replay(
        row=f"row {row} of sweep {number} ({_in_words(design, row)})",
        differing=tuple(_compare(stored, recorder, row, group)),
        elsewhere=tuple(differences(stored.provenance, provenance(*group.how))),
    )


def _as_it_was(plan: Plan, configuration: int, how: str) -> tuple[Plan, Group]:
    """Returns the plan with the chunk shape that a row of a configuration was trained in, and its group."""
    index = next(i for i, group in enumerate(plan.groups) if configuration in group.configurations)
    group = plan.groups[index]
    slots, lanes, shared = chunk_of(how)
    group = group._replace(slots=slots, lanes=lanes, shared=shared)
    groups = [group if i == index else other for i, other in enumerate(plan.groups)]
    return dataclasses.replace(plan, groups=tuple(groups)), group


def _train_again(design: Design, plan: Plan, row: int) -> Recorder:
    with workers_of(None, plan.num_workers, jax.default_backend()) as submit:
        scheduler = Scheduler(design, plan, submit, lambda progress: None)
        scheduler.waves.unopened[:] = [[row] if row in rows else [] for rows in scheduler.waves.unopened]
        scheduler.train()
        return scheduler.recorder


def _compare(stored: Row, recorder: Recorder, row: int, group: Group) -> list[str]:
    """Returns what of a row is not as stored."""
    found = []
    if stored.diverged_at != recorder.diverged_at[row]:
        ends = [
            f"at step {s}" if s >= 0 else "never" for s in (stored.diverged_at, recorder.diverged_at[row])
        ]
        found.append(f"diverged {ends[0]}, here {ends[1]}")
    if stored.stopped_at != recorder.stopped_at[row]:
        steps = (stored.stopped_at, recorder.stopped_at[row])
        ends = [f"at step {s}" if s >= 0 else "never" for s in steps]
        found.append(f"stopped {ends[0]}, here {ends[1]}")
    here = {name: values[0] for name, values in recorder.arrays([row], group.config).items()}
    if row in recorder.kept:
        here |= leaves("params", recorder.kept[row])
    if recorder.examples is not None and recorder.diverged_at[row] < 0:
        here |= {f"examples/{name}": values[row] for name, values in recorder.examples.items()}
    return [*found, *_differences(stored.arrays, here)]


def _differences(stored: Mapping[str, np.ndarray], here: Mapping[str, np.ndarray]) -> list[str]:
    found = []
    for name, value in sorted(stored.items()):
        other = here.get(name)
        if other is None or value.shape != other.shape or value.dtype != other.dtype:
            found.append(f"{name} has another shape")
        elif not np.array_equal(value, other, equal_nan=True):
            with np.errstate(invalid="ignore"):
                most = np.nanmax(np.abs(value.astype(np.float64) - other))
            found.append(f"{name} differs by up to {most:.3g}")
    return found


def _in_words(design: Design, row: int) -> str:
    place = design.row(row)
    asked = design.in_words(design.configurations[place.configuration])
    return f"{asked}, seed {place.seed}, fold {place.fold}"
