"""The run store: every finished network in one SQLite file, so that nothing is trained twice.

A row is kept under its *identity*, what was asked for: configuration, hyperparameters, seed, split, data.
How it was computed, its *provenance*, stands beside it.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.core.data import Data
from regjax.core.metrics import RECORDED
from regjax.store.archive import pack_data, pack_design, unpack_data, unpack_design
from regjax.store.arrays import checksum_of, unpack
from regjax.store.database import StoreError, among, insert, parts
from regjax.store.identity import digest, fingerprint
from regjax.store.leases import Claims
from regjax.store.schema import ROW_COLUMNS
from regjax.study.design import Design
from regjax.study.grid import NAMES

# Bytes of a part of a data set: SQLite takes at most 10^9 in a cell.
PART = 2**29


class Row(NamedTuple):
    """A finished network as the store gives it back.

    Attributes:
        diverged_at: step, or -1.
        stopped_at: step, or -1.
        last_finite_cost: NaN where it did not diverge.
        seconds: of a worker.
        provenance: how it was computed, JSON.
        metrics: of the final parameters, None where there is none.
        content: its arrays, packed.
    """

    diverged_at: int
    stopped_at: int
    last_finite_cost: float
    seconds: float
    provenance: str
    metrics: dict[str, float | None]
    content: bytes

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """`records/…`, `params/…` and `examples/…`."""
        return unpack(self.content)


class Sweep(NamedTuple):
    """What is stored of a sweep under one checksum, see `SCHEMA`."""

    data: str
    test: str | None
    asked: str
    design: str
    shapes: str
    splits: bytes


class Stored(NamedTuple):
    """A sweep as the store gives it back.

    Attributes:
        design: of the sweep.
        rows: identities.
        shapes: of its groups' chunks, as JSON.
        asked: whose parameters are kept, and what is asked of the results.
    """

    design: Design
    rows: list[str]
    shapes: str
    asked: dict[str, Any]


class Checkpoint(NamedTuple):
    """A network on its way.

    Attributes:
        step: steps done.
        seconds: of a worker.
        provenance: how it was computed so far, JSON.
        content: `state/…` and `records/…`, packed; the latter NaN where not reached.
    """

    step: int
    seconds: float
    provenance: str
    content: bytes


class Store(Claims):
    """An open store; use it from one thread, in `with`.

    Args:
        path: of the file; made where it is missing and `create` is true.
        create: whether to make it.

    Raises:
        StoreError: no store, damaged, or of another version; the file is left as it is.
        OSError: it cannot be opened or written.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self._loaded: dict[str, Data] = {}
        super().__init__(path, create=create)

    # -- sweeps -----------------------------------------------------------------------------------------

    def begin(
        self,
        design: Design,
        shapes: str,
        rows: Sequence[str],
        asked: str,
        source: str | None,
        provenance: str,
    ) -> tuple[int, str]:
        """Returns the number of a sweep, and the chunk shapes that hold for it: of whoever began it first.

        Args:
            design: of the sweep.
            shapes: of its groups' chunks, as JSON, if it is new.
            rows: identities.
            asked: whose parameters are kept, and what is asked of the results, as JSON.
            source: name or path of the data.
            provenance: where it is begun.
        """
        classes = None if design.classes is None else design.classes.tolist()
        identity = digest([*rows, classes])
        found = self._find(identity)
        if not found:
            told, splits = pack_design(design)
            sets = [(fingerprint(data), data) for data in (design.data, design.test) if data is not None]
            prints = [print_ for print_, _ in sets]
            parts = [part for print_, data in sets for part in self._new_parts(print_, data)]
            test = prints[1] if len(prints) > 1 else None
            columns = {
                "identity": identity,
                "begun": now_in_words(),
                "source": source,
                "source_hash": _hash_of_file(source),
                "data": prints[0],
                "test": test,
                "num_rows": design.num_rows,
                "asked": asked,
                "design": told,
                "splits": splits,
                "shapes": shapes,
                "provenance": provenance,
                "checksum": checksum_of([prints[0], test, asked, told, shapes], splits),
            }
            with self.transaction() as connection:
                if not self._find(identity):
                    insert(connection, "INSERT OR IGNORE INTO data", parts)
                    values = [tuple(columns.values())]
                    insert(connection, f"INSERT INTO sweeps ({', '.join(columns)})", values)
                    (number,) = self._find(identity)
                    members = [(number, index, row) for index, row in enumerate(rows)]
                    insert(connection, "INSERT INTO sweep_rows", members)
            found = self._find(identity)
        return found[0], self._sweep(found[0]).shapes

    def _new_parts(self, print_: str, data: Data) -> list[tuple[Any, ...]]:
        """Returns the rows of `data` that a data set takes, none where it is there."""
        if self.query("SELECT 1 FROM data WHERE fingerprint = ? LIMIT 1", [print_]):
            return []
        content, size = pack_data(data), (data.x.shape[1], len(data.x))
        places = range(0, len(content), PART)
        return [(print_, part, *size, content[at : at + PART]) for part, at in enumerate(places)]

    def _find(self, identity: str) -> list[int]:
        return [number for (number,) in self.query("SELECT id FROM sweeps WHERE identity = ?", [identity])]

    def _sweep(self, sweep: int) -> Sweep:
        """Returns what is stored of a sweep; raises StoreError unless it is as it was written."""
        names = ", ".join(Sweep._fields)
        ((*values, splits, checksum),) = self.query(
            f"SELECT {names}, checksum FROM sweeps WHERE id = ?", [sweep]
        )
        if not isinstance(splits, bytes) or checksum != checksum_of(values, splits):
            raise StoreError(f"{self.path}: sweep {sweep} is damaged")
        return Sweep._make([*values, splits])

    def reshape(self, sweep: int, shapes: str) -> None:
        """Remembers chunk shapes that a lack of memory made smaller."""
        *values, splits = self._sweep(sweep)._replace(shapes=shapes)
        with self.transaction() as connection:
            found = [shapes, checksum_of(values, splits), sweep]
            connection.execute("UPDATE sweeps SET shapes = ?, checksum = ? WHERE id = ?", found)

    def end(self, sweep: int) -> None:
        """Marks a sweep as finished."""
        with self.transaction() as connection:
            values = [now_in_words(), sweep]
            connection.execute("UPDATE sweeps SET finished = ? WHERE id = ? AND finished IS NULL", values)

    def design_of(self, sweep: int) -> Stored:
        """Returns what a sweep is to do, as it was stored."""
        found = self._sweep(sweep)
        rows = [row for (row,) in self.query(
            "SELECT identity FROM sweep_rows WHERE sweep = ? ORDER BY row", [sweep]
        )]  # fmt: skip
        test = None if found.test is None else self._data(found.test)
        try:
            design = unpack_design(found.design, found.splits, self._data(found.data), test)
        except (TypeError, KeyError) as error:  # of another version of regjax
            raise StoreError(f"{self.path}: sweep {sweep} must be one of this version ({error})") from error
        classes = None if design.classes is None else design.classes.tolist()
        ((identity,),) = self.query("SELECT identity FROM sweeps WHERE id = ?", [sweep])
        if digest([*rows, classes]) != identity:
            raise StoreError(f"{self.path}: the rows of sweep {sweep} are damaged")
        return Stored(design, rows, found.shapes, json.loads(found.asked))

    def _data(self, print_: str) -> Data:
        if print_ not in self._loaded:
            parts = self.query("SELECT arrays FROM data WHERE fingerprint = ? ORDER BY part", [print_])
            with contextlib.suppress(ValueError, TypeError):
                data = unpack_data(b"".join(part for (part,) in parts))
                if fingerprint(data) == print_:
                    self._loaded[print_] = data
        if print_ not in self._loaded:
            raise StoreError(f"{self.path}: data {print_[:12]} is damaged")
        return self._loaded[print_]

    # -- rows -------------------------------------------------------------------------------------------

    def read(self, rows: Sequence[str]) -> Iterator[tuple[str, Row]]:
        """Yields those of these rows that are finished.

        Raises:
            StoreError: one of them is not as it was written.
        """
        missing = self._missing_columns()
        columns = ", ".join("NULL" if name in missing else f"rows.{name}" for name in ROW_COLUMNS)
        select = f"SELECT {columns}, checksum, value FROM rows LEFT JOIN arrays USING (identity)"
        for *values, checksum, content in self.where(select, rows):
            row = dict(zip(ROW_COLUMNS, values, strict=True))
            self._check_row(values, content, checksum)
            cost, diverged_at, stopped_at = (
                row[name] for name in ("last_finite_cost", "diverged_at", "stopped_at")
            )
            yield (
                row["identity"],
                Row(
                    diverged_at=-1 if diverged_at is None else diverged_at,
                    stopped_at=-1 if stopped_at is None else stopped_at,
                    last_finite_cost=np.nan if cost is None else cost,
                    seconds=row["seconds"],
                    provenance=row["provenance"],
                    metrics={name: row[name] for name in RECORDED},
                    content=content,
                ),
            )

    def _missing_columns(self) -> list[str]:
        """Returns the hyperparameters and metrics that came later than this file: off, and NaN, in its rows."""
        known = {name for _, name, *_ in self.query("PRAGMA table_info(rows)")}
        return [name for name in (*NAMES, *RECORDED) if name not in known]

    def checkpoints(self, rows: Sequence[str]) -> Iterator[tuple[str, Checkpoint]]:
        """Yields those of these rows that are on their way; raises StoreError for one that is damaged."""
        select = "SELECT identity, step, seconds, provenance, arrays, checksum FROM checkpoints"
        for *values, content, checksum in self.where(select, rows):
            self._check_row(values, content, checksum)
            identity, step, seconds, provenance = values
            yield identity, Checkpoint(step, seconds, provenance, content)

    def _check_row(self, values: list[Any], content: Any, checksum: Any) -> None:
        """Raises StoreError unless a row is all as it was written."""
        if not isinstance(content, bytes) or checksum != checksum_of(values, content):
            raise StoreError(
                f"{self.path}: row {values[0]} is damaged; deleted from its table, it is trained again"
            )

    def write(
        self, finished: Sequence[tuple[tuple[Any, ...], bytes]], begun: Mapping[str, Checkpoint]
    ) -> None:
        """Commits what a task brought, in one transaction.

        Args:
            finished: the `ROW_COLUMNS` of a network, and its arrays packed.
            begun: identity -> where a network stands, its arrays packed.
        """
        done = [columns[0] for columns, _ in finished]
        rows = [(*columns, checksum_of(columns, content)) for columns, content in finished]
        points = []
        for identity, p in begun.items():
            values = (identity, p.step, p.seconds, p.provenance)
            points.append((*values, p.content, checksum_of(values, p.content)))
        with self.transaction() as connection:
            for name in self._missing_columns() if finished else ():
                connection.execute(f"ALTER TABLE rows ADD COLUMN {name}")
            # Another process may have been quicker; its row stands, and is the same.
            insert(connection, f"INSERT OR IGNORE INTO rows ({', '.join(ROW_COLUMNS)}, checksum)", rows)
            arrays = [(columns[0], content) for columns, content in finished]
            insert(connection, "INSERT OR IGNORE INTO arrays", arrays)
            insert(connection, "INSERT OR REPLACE INTO checkpoints", points)
            for part in parts(done):
                connection.execute(f"DELETE FROM checkpoints WHERE {among(part)}", part)
                connection.execute(f"DELETE FROM claims WHERE {among(part)}", part)

    # -- what is there ------------------------------------------------------------------------------------

    def sweep_number(self, sweep: int | str = -1) -> int:
        """Returns the number of a sweep: itself, or counted from the end (-1 or "last")."""
        numbers = [number for (number,) in self.query("SELECT id FROM sweeps ORDER BY id")]
        if not numbers:
            raise StoreError(f"{self.path}: must hold a sweep, got none")
        if sweep == "last":
            return numbers[-1]
        try:
            number = int(sweep)
        except (TypeError, ValueError):
            raise ValueError(f"sweep must be a number or last, got {sweep!r}") from None
        if number < 0 and -number <= len(numbers):
            return numbers[number]
        if number not in numbers:
            raise ValueError(f"sweep must be one of {', '.join(map(str, numbers))}, got {sweep!r}")
        return number

    def overview(self, sweep: int | None = None) -> list[dict[str, Any]]:
        """Returns what there is to say of each sweep, or of one: data, rows done and diverged, where."""
        found = []
        columns = ("id", "source", "source_hash", "data", "begun", "finished", "num_rows")
        for values in self.query(f"SELECT {', '.join(columns)} FROM sweeps ORDER BY id"):
            told: dict[str, Any] = dict(zip(columns, values, strict=True))
            if sweep not in (None, told["id"]):
                continue
            counts = "SELECT provenance, count(*), sum(status = 'diverged') FROM results WHERE sweep = ?"
            where = self.query(f"{counts} GROUP BY provenance", [told["id"]])
            told["done"] = sum(count for _, count, _ in where)
            told["diverged"] = sum(diverged for _, _, diverged in where)
            told["provenance"] = [{"networks": count, "how": how} for how, count, _ in where]
            found.append(told)
        return found

    def metric_of(self, rows: Sequence[str], metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns a metric of the final networks, who is finished, who of them is sound, `(rows,)` each."""
        values = np.full(len(rows), np.nan)
        finished, sound = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        index = {identity: row for row, identity in enumerate(rows)}
        for identity, stored in self.read(rows):
            value, row = stored.metrics[metric], index[identity]
            values[row] = np.nan if value is None else value
            finished[row], sound[row] = True, stored.diverged_at < 0
        return values, finished, sound


def now_in_words() -> str:
    """Returns the date and time, UTC, as ISO 8601 has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _hash_of_file(source: str | None) -> str | None:
    if source is None or not os.path.isfile(source):
        return None
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
