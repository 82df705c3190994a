"""The run store: every finished row in one SQLite file, so that nothing is trained twice.

`engine/checkpoints.py` writes into it while a sweep runs; `regjax.load`, `regjax replay` and the commands
that show or export a store read it. A row is found by its identity; its provenance is stored with it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.core.data import Data
from regjax.core.metrics import RECORDED
from regjax.store.codec import pack_data, pack_design, unpack, unpack_data, unpack_design
from regjax.store.database import StoreError, among, insert, parts
from regjax.store.identity import checksum_of, fingerprint, hash_of_file, sweep_identity
from regjax.store.leases import Leases
from regjax.store.schema import ROW_COLUMNS
from regjax.study.configuration import NAMES
from regjax.study.design import Design
from regjax.study.plan import Keep
from regjax.study.questions import Origin, Questions

# Bytes in one part of a data set: a cell of SQLite holds at most 10^9.
PART = 2**29


class Row(NamedTuple):
    """A finished row, as `Store.read` returns it.

    Attributes:
        diverged_at: the step at which it diverged, or -1.
        stopped_at: the step at which it stopped early, or -1.
        last_finite_cost: the training cost before it diverged, or NaN.
        seconds: seconds of a worker's time.
        provenance: how it was computed, JSON.
        metrics: the metrics of its final parameters; None for a metric that it does not have.
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
        """Its arrays: `records/…`, `params/…` and `examples/…`."""
        return unpack(self.content)


class StoredSweep(NamedTuple):
    """A sweep, as `Store.begin` takes it and `Store.design_of` returns it.

    Attributes:
        design: what is asked for.
        rows: the identity of each row.
        shapes: slots and lanes of each group's chunks, JSON; a resumed sweep uses them again.
        keep: which parameters are kept, as in `regjax.sweep`.
        questions: what will be asked of its results.
        origin: where it comes from.
    """

    design: Design
    rows: list[str]
    shapes: str
    keep: Keep
    questions: Questions
    origin: Origin

    @property
    def asked(self) -> str:
        """The column `asked`: `keep`, the questions, the command line, the TOML and the search, as JSON."""
        command, toml = self.origin.command, self.origin.toml
        questions = self.questions.as_json()
        asked = {"keep": self.keep, "questions": questions, "command": command, "toml": toml}
        return json.dumps(asked if self.origin.search is None else asked | {"search": self.origin.search})


class _Columns(NamedTuple):
    """The columns of a sweep that its checksum is taken of, in that order."""

    data: str
    test: str | None
    asked: str
    design: str
    shapes: str
    splits: bytes


class Checkpoint(NamedTuple):
    """The state of an unfinished row.

    Attributes:
        step: the number of steps done.
        seconds: seconds of a worker's time so far.
        provenance: how it was computed so far, JSON.
        content: its arrays, packed: `state/…`, and `records/…`, NaN for records to come.
    """

    step: int
    seconds: float
    provenance: str
    content: bytes


class Overview(NamedTuple):
    """A summary of a sweep: seven columns of the table `sweeps`, and counts of its finished rows.

    Attributes:
        done: the number of finished rows, diverged ones among them.
        diverged: the number of rows that diverged.
        provenance: how many `networks` were computed `how`, for each provenance.
    """

    id: int
    source: str | None
    source_hash: str | None
    data: str
    begun: str
    finished: str | None
    num_rows: int
    done: int
    diverged: int
    provenance: list[dict[str, Any]]


class Store(Leases):
    """An open store; use it from one thread, in `with`.

    Args:
        path: path of the file.
        create: whether to create it where it is missing.

    Raises:
        StoreError: the file is no store, is damaged, or of another version; it is left as it is.
        OSError: it cannot be opened or written.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self._loaded: dict[str, Data] = {}
        # Version of the file's tables -> columns that they lack.
        self._missing: dict[int, list[str]] = {}
        super().__init__(path, create=create)

    # -- sweeps -----------------------------------------------------------------------------------------

    def begin(self, sweep: StoredSweep, provenance: str) -> tuple[int, str]:
        """Returns the number of a sweep and its chunk shapes: those of the process that began it first.

        Args:
            sweep: the sweep; written unless the store has it.
            provenance: the provenance of this process, JSON.
        """
        identity = sweep_identity(sweep.rows, sweep.design)
        if not self._find(identity):
            self._insert(identity, sweep, provenance)
        number = self._find(identity)[0]
        return number, self._columns(number).shapes

    def _insert(self, identity: str, sweep: StoredSweep, provenance: str) -> None:
        """Writes a sweep, unless another process has written it meanwhile."""
        # Packed and hashed before the transaction: during it, other processes wait.
        design, splits = pack_design(sweep.design)
        sets = [data for data in (sweep.design.data, sweep.design.test) if data is not None]
        prints = [fingerprint(data) for data in sets]
        cut = [part for pair in zip(prints, sets, strict=True) for part in self._new_parts(*pair)]
        test = prints[1] if len(prints) > 1 else None
        checked = _Columns(prints[0], test, sweep.asked, design, sweep.shapes, splits)
        columns = {
            "identity": identity,
            "begun": now_in_words(),
            "source": sweep.origin.source,
            "source_hash": hash_of_file(sweep.origin.source),
            "num_rows": len(sweep.rows),
            "provenance": provenance,
            "checksum": _checksum(checked),
            **checked._asdict(),
        }
        with self.transaction() as connection:
            if self._find(identity):
                return
            insert(connection, "INSERT OR IGNORE INTO data", cut)
            insert(connection, f"INSERT INTO sweeps ({', '.join(columns)})", [tuple(columns.values())])
            (number,) = self._find(identity)
            members = [(number, index, row) for index, row in enumerate(sweep.rows)]
            insert(connection, "INSERT INTO sweep_rows", members)

    def _new_parts(self, print_: str, data: Data) -> list[tuple[Any, ...]]:
        """Returns the entries of table `data` for a data set; none where the store has it already."""
        if self.query("SELECT 1 FROM data WHERE fingerprint = ? LIMIT 1", [print_]):
            return []
        content, size = pack_data(data), (data.x.shape[1], len(data.x))
        places = range(0, len(content), PART)
        return [(print_, part, *size, content[at : at + PART]) for part, at in enumerate(places)]

    def _find(self, identity: str) -> list[int]:
        """Returns the number of the sweep of this identity in a list, or an empty list."""
        return [number for (number,) in self.query("SELECT id FROM sweeps WHERE identity = ?", [identity])]

    def _columns(self, sweep: int) -> _Columns:
        """Returns the checked columns of a sweep; raises StoreError if it is damaged."""
        names = ", ".join(_Columns._fields)
        ((*values, checksum),) = self.query(f"SELECT {names}, checksum FROM sweeps WHERE id = ?", [sweep])
        found = _Columns(*values)
        if not isinstance(found.splits, bytes) or checksum != _checksum(found):
            raise StoreError(f"{self.path}: sweep {sweep} is damaged")
        return found

    def reshape(self, sweep: int, shapes: str) -> None:
        """Replaces the chunk shapes of a sweep, after a task ran out of memory."""
        found = self._columns(sweep)._replace(shapes=shapes)
        with self.transaction() as connection:
            values = [shapes, _checksum(found), sweep]
            connection.execute("UPDATE sweeps SET shapes = ?, checksum = ? WHERE id = ?", values)

    def end(self, sweep: int) -> None:
        """Stores the time at which a sweep was finished, unless it is stored already."""
        with self.transaction() as connection:
            values = [now_in_words(), sweep]
            connection.execute("UPDATE sweeps SET finished = ? WHERE id = ? AND finished IS NULL", values)

    def design_of(self, sweep: int) -> StoredSweep:
        """Returns a sweep as it was begun.

        Raises:
            StoreError: it is damaged, or was written by another version.
        """
        found = self._columns(sweep)
        ((identity, source),) = self.query("SELECT identity, source FROM sweeps WHERE id = ?", [sweep])
        rows = [row for (row,) in self.query(
            "SELECT identity FROM sweep_rows WHERE sweep = ? ORDER BY row", [sweep]
        )]  # fmt: skip
        test = None if found.test is None else self._data(found.test)
        try:
            design = unpack_design(found.design, found.splits, self._data(found.data), test)
            asked = json.loads(found.asked)
            questions = Questions(**asked["questions"])
            origin = Origin(source, asked.get("command", ""), asked.get("toml", ""), asked.get("search"))
        except (TypeError, KeyError) as error:  # fields of another version
            raise StoreError(f"{self.path}: sweep {sweep} must be one of this version ({error})") from error
        if sweep_identity(rows, design) != identity:
            raise StoreError(f"{self.path}: the rows of sweep {sweep} are damaged")
        return StoredSweep(design, rows, found.shapes, asked["keep"], questions, origin)

    def searches(self, data: Data | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields the number of each sweep that is part of a search, and what decides that.

        Args:
            data: the data set of the search; None takes all.

        Raises:
            StoreError: such a sweep is damaged.
        """
        one = None if data is None else fingerprint(data)
        for number, of in self.query("SELECT id, data FROM sweeps ORDER BY id"):
            if one not in (None, of):
                continue
            search = json.loads(self._columns(number).asked).get("search")
            if search is not None:
                yield number, search

    def _data(self, print_: str) -> Data:
        """Returns the data set of a fingerprint; raises StoreError if it is damaged."""
        # Kept, since the sweeps of one store are often of the same data.
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
        """Yields the identity and the stored row of each of these rows that is finished.

        Args:
            rows: identities.

        Raises:
            StoreError: a row is damaged.
        """
        # Columns that the file lacks are read as NULL, which the checksum leaves out.
        missing = self._missing_columns()
        columns = ", ".join("NULL" if name in missing else f"rows.{name}" for name in ROW_COLUMNS)
        select = f"SELECT {columns}, checksum, value FROM rows LEFT JOIN arrays USING (identity)"
        # One text for all rows of one provenance: a million equal ones would take 400 MB.
        texts: dict[str, str] = {}
        for *values, checksum, content in self.where(select, rows):
            row = dict(zip(ROW_COLUMNS, values, strict=True))
            self._check_row(values, content, checksum)
            # NULL stands for NaN, and for a step that was never reached.
            cost = np.nan if row["last_finite_cost"] is None else row["last_finite_cost"]
            diverged, stopped = (-1 if row[at] is None else row[at] for at in ("diverged_at", "stopped_at"))
            metrics = {name: row[name] for name in RECORDED}
            provenance = texts.setdefault(row["provenance"], row["provenance"])
            own = Row(diverged, stopped, cost, row["seconds"], provenance, metrics, content)
            yield row["identity"], own

    def _missing_columns(self) -> list[str]:
        """Returns hyperparameters (off) and metrics (NaN in its rows) that are newer than this file."""
        ((version,),) = self.query("PRAGMA schema_version")  # which every change of a table raises
        if version not in self._missing:
            known = {name for _, name, *_ in self.query("PRAGMA table_info(rows)")}
            self._missing = {version: [name for name in (*NAMES, *RECORDED) if name not in known]}
        return self._missing[version]

    def checkpoints(self, rows: Sequence[str]) -> Iterator[tuple[str, Checkpoint]]:
        """Yields the identity and the checkpoint of each of these rows that has one.

        Args:
            rows: identities.

        Raises:
            StoreError: a checkpoint is damaged.
        """
        select = "SELECT identity, step, seconds, provenance, arrays, checksum FROM checkpoints"
        for *values, content, checksum in self.where(select, rows):
            self._check_row(values, content, checksum)
            identity, step, seconds, provenance = values
            yield identity, Checkpoint(step, seconds, provenance, content)

    def _check_row(self, values: list[Any], content: Any, checksum: Any) -> None:
        """Raises StoreError unless the checksum of a row, whose first value is its identity, holds."""
        if not isinstance(content, bytes) or checksum != checksum_of(values, content):
            raise StoreError(
                f"{self.path}: row {values[0]} is damaged; deleted from its table, it is trained again"
            )

    def write(
        self, finished: Sequence[tuple[tuple[Any, ...], bytes]], begun: Mapping[str, Checkpoint]
    ) -> None:
        """Commits finished rows and checkpoints, in one transaction; the leases of finished rows end.

        Args:
            finished: the `ROW_COLUMNS` and the packed arrays of each row.
            begun: identity -> checkpoint.
        """
        done = [columns[0] for columns, _ in finished]
        rows = [(*columns, checksum_of(columns, content)) for columns, content in finished]
        points = []
        for identity, p in begun.items():
            values = (identity, p.step, p.seconds, p.provenance)
            points.append((*values, p.content, checksum_of(values, p.content)))
        with self.transaction() as connection:
            # Hyperparameters added since the file was made; its older rows read NULL, which means off.
            for name in self._missing_columns() if finished else ():
                connection.execute(f"ALTER TABLE rows ADD COLUMN {name}")
            # IGNORE: another process may have written the same row meanwhile.
            insert(connection, f"INSERT OR IGNORE INTO rows ({', '.join(ROW_COLUMNS)}, checksum)", rows)
            arrays = [(columns[0], content) for columns, content in finished]
            insert(connection, "INSERT OR IGNORE INTO arrays", arrays)
            insert(connection, "INSERT OR REPLACE INTO checkpoints", points)
            for part in parts(done):
                connection.execute(f"DELETE FROM checkpoints WHERE {among(part)}", part)
                connection.execute(f"DELETE FROM claims WHERE {among(part)}", part)

    # -- summaries ----------------------------------------------------------------------------------------

    def sweep_number(self, sweep: int | str = -1) -> int:
        """Returns the number of a sweep.

        Args:
            sweep: the number, or counted from the end: -1 or "last" is the sweep that was begun last.

        Raises:
            StoreError: the store has no sweep.
            ValueError: the store has no such sweep.
        """
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

    def overview(self, sweep: int | None = None) -> list[Overview]:
        """Returns a summary of each sweep, or of the one of this number."""
        counts = "SELECT provenance, count(*), sum(status = 'diverged') FROM results WHERE sweep = ?"
        found = []
        for number, *values in self.query(
            f"SELECT {', '.join(Overview._fields[:7])} FROM sweeps ORDER BY id"
        ):
            if sweep in (None, number):
                ran = self.query(f"{counts} GROUP BY provenance", [number])
                done, diverged = sum(count for _, count, _ in ran), sum(lost for *_, lost in ran)
                where = [{"networks": count, "how": how} for how, count, _ in ran]
                found.append(Overview._make([number, *values, done, diverged, where]))
        return found

    def metric_of(self, rows: Sequence[str], metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns a metric of the final parameters, which rows finished, and which of those did not diverge.

        Args:
            rows: identities; each array is `(rows,)`.
            metric: name of the metric with its split, "val_loss".
        """
        values = np.full(len(rows), np.nan)
        finished, sound = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        index = {identity: row for row, identity in enumerate(rows)}
        for identity, stored in self.read(rows):
            value, row = stored.metrics[metric], index[identity]
            values[row] = np.nan if value is None else value
            finished[row], sound[row] = True, stored.diverged_at < 0
        return values, finished, sound


def now_in_words() -> str:
    """Returns the date and time, UTC, in ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _checksum(columns: _Columns) -> str:
    *values, splits = columns
    return checksum_of(values, splits)
