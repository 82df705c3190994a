"""`replay`: trains one row of a store again and compares it with the stored one, to the bit.

`regjax replay` calls it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from regjax.engine.sweep import run
from regjax.engine.tasks import how
from regjax.store.codec import leaves
from regjax.store.store import Row, Store
from regjax.study.groups import Group
from regjax.study.plan import Plan, stored_plan
from regjax.study.provenance import chunk_of, differences, loop_of, padded_of
from regjax.study.records import num_records
from regjax.study.results import Results


class Replay(NamedTuple):
    """The comparison of a row that was trained again with the stored one; `str(replay)` says it in words.

    Attributes:
        row: number, configuration, seed and fold of the row, in words.
        differing: the differences of the results, in words; empty if the row came out to the bit.
        elsewhere: the differences of the provenance, such as another version or processor, in words.
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
    """Returns how one row of a store comes out when it is trained again; the store is not changed.

    It is trained in a chunk of the stored shape, with the versions, device and processor of this process.

    Args:
        path: path of the store.
        row: the row's number in the sweep, as in `Results` and the view `results`.
        sweep: the sweep's number, or counted from the end: -1 or "last".

    Raises:
        OSError: the file cannot be read.
        StoreError: the file is no store, or is damaged.
        ValueError: the store has no such sweep or row, or the row is not finished.
    """
    with Store(path, create=False) as store:
        number = store.sweep_number(sweep)
        begun = store.design_of(number)
        if not 0 <= row < len(begun.rows):
            raise ValueError(f"row must be in 0 to {len(begun.rows) - 1}, got {row}")
        found = dict(store.read([begun.rows[row]]))
    if not found:
        raise ValueError(f"row must be finished, and row {row} of sweep {number} is not")
    (stored,) = found.values()
    design = begun.design
    # "all": the parameters of this row are compared, whichever the sweep itself kept.
    plan = stored_plan(design, begun.shapes, "all", backend=jax.default_backend())
    place = design.row(row)
    plan, group = as_it_was(plan, place.configuration, stored.provenance)
    return Replay(
        row=f"row {row} of sweep {number} ({design.row_in_words(row)})",
        differing=tuple(_compare(stored, run(design, plan=plan, rows=[row]), row)),
        elsewhere=tuple(differences(stored.provenance, how(design, group))),
    )


def as_it_was(plan: Plan, configuration: int, how: str) -> tuple[Plan, Group]:
    """Returns the plan with the chunk shape that a row of a configuration was trained in, and its group.

    Args:
        plan: plan of the sweep.
        configuration: number of the configuration.
        how: provenance of the row.
    """
    index = next(i for i, group in enumerate(plan.groups) if configuration in group.configurations)
    group = plan.groups[index]
    slots, lanes, shared = chunk_of(how)
    kernel = "native" if loop_of(how) == "native" else "auto"
    shape = {"slots": slots, "lanes": lanes, "shared": shared, "padded_to": padded_of(how)}
    group = group._replace(**shape, kernel=kernel)
    groups = [group if i == index else other for i, other in enumerate(plan.groups)]
    return dataclasses.replace(plan, groups=tuple(groups)), group


def _compare(stored: Row, results: Results, row: int) -> list[str]:
    """Returns the differences between a stored row and its new results, in words."""
    found = []
    for what in ("diverged", "stopped"):
        then, now = getattr(stored, f"{what}_at"), getattr(results, f"{what}_at")[row]
        if then != now:
            ends = [f"at step {step}" if step >= 0 else "never" for step in (then, now)]
            found.append(f"{what} {ends[0]}, here {ends[1]}")
    count = num_records(results.design.configs[results.design.row(row).configuration])
    here = {f"records/{name}": values[row, :count] for name, values in results.records.items()}
    if row in results.kept:
        here |= leaves("params", results.kept[row])
    if results.examples is not None and results.diverged_at[row] < 0:
        here |= {f"examples/{name}": values[row] for name, values in results.examples.items()}
    return [*found, *_differences(stored.arrays, here)]


def _differences(stored: Mapping[str, np.ndarray], here: Mapping[str, np.ndarray]) -> list[str]:
    found = []
    for name, value in sorted(stored.items()):
        other = here.get(name)
        if other is None or value.shape != other.shape or value.dtype != other.dtype:
            found.append(f"{name} has another shape")
        elif not np.array_equal(value, other, equal_nan=True):
            with np.errstate(invalid="ignore"):  # inf - inf
                most = np.nanmax(np.abs(value.astype(np.float64) - other))
            found.append(f"{name} differs by up to {most:.3g}")
    return found
