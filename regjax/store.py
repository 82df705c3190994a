"""The run store: every finished network in one SQLite file, so that nothing is trained twice.

A row is kept under its *identity*, what was asked for: configuration, hyperparameters, seed, split, data.
How it was computed, its *provenance*, stands beside it. docs/store.md has the tables, and queries to type
into `sqlite3`.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.archive import (
    ASKED_COLUMNS,
    pack_data,
    pack_design,
    unpack_data,
    unpack_design,
)
from regjax.arrays import checksum_of, unpack
from regjax.data import Data
from regjax.design import Design
from regjax.grid import NAMES
from regjax.identity import digest, fingerprint
from regjax.metrics import RECORDED

# "rgjx": what tells a store from other programs' SQLite files.
APPLICATION_ID = 0x72676A78
SCHEMA_VERSION = 2
# Seconds to wait for another process's transaction.
PATIENCE = 60.0
# Seconds after which a process of another machine that has not been heard of is taken for dead.
LEASE = 60.0
# Bytes up to which a file is read through when it is opened; of a larger one, only what is asked for.
CHECKED_WHOLE = 2**30
# Bytes of a part of a data set: SQLite takes at most 10^9 in a cell.
PART = 2**29
# Values that a statement of SQLite may have.
MAX_VALUES = 32_766
# What sqlite3 raises; the second where the text of the first is damaged itself.
_BROKEN = (sqlite3.Error, UnicodeDecodeError)

SCHEMA = f"""
CREATE TABLE data (                -- a safetensors file of x, y and weights, cut into parts
    fingerprint TEXT NOT NULL,     -- SHA-256 of what they hold
    part INTEGER NOT NULL,
    num_samples INTEGER NOT NULL, num_features INTEGER NOT NULL,
    arrays BLOB NOT NULL,
    PRIMARY KEY (fingerprint, part)
);
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE, -- SHA-256 of its rows' identities, in order
    begun TEXT NOT NULL, finished TEXT,
    source TEXT,                   -- name or path of the data
    source_hash TEXT,              -- SHA-256 of that file
    data TEXT NOT NULL, test TEXT, -- fingerprints
    num_rows INTEGER NOT NULL,
    asked TEXT NOT NULL,           -- JSON: whose parameters are kept, and what is asked of the results
    design TEXT NOT NULL,          -- JSON
    splits BLOB NOT NULL,
    shapes TEXT NOT NULL,          -- JSON: slots and lanes of each group's chunks
    provenance TEXT NOT NULL,      -- JSON: where it was begun
    checksum TEXT NOT NULL         -- SHA-256 of data, test, asked, design, shapes and splits
);
CREATE TABLE rows (
    identity TEXT PRIMARY KEY,
    {", ".join(NAMES)},
    layer_sizes TEXT NOT NULL, num_steps INTEGER NOT NULL, eval_every INTEGER NOT NULL,
    seed INTEGER NOT NULL, fold INTEGER NOT NULL,
    status TEXT NOT NULL, diverged_at INTEGER, last_finite_cost REAL,
    {", ".join(f"{name} REAL" for name in RECORDED)},
    seconds REAL NOT NULL, finished TEXT NOT NULL, provenance TEXT NOT NULL,
    checksum TEXT NOT NULL         -- SHA-256 of this row and its arrays: SQLite does not notice changed bytes
);
CREATE TABLE arrays (              -- curves, parameters, per-example scores: a safetensors file per row
    identity TEXT PRIMARY KEY, value BLOB NOT NULL
);
CREATE TABLE sweep_rows (
    sweep INTEGER NOT NULL REFERENCES sweeps, row INTEGER NOT NULL, identity TEXT NOT NULL,
    PRIMARY KEY (sweep, row)
) WITHOUT ROWID;
CREATE TABLE checkpoints (
    identity TEXT PRIMARY KEY,
    step INTEGER NOT NULL, seconds REAL NOT NULL, provenance TEXT NOT NULL,
    arrays BLOB NOT NULL,
    checksum TEXT NOT NULL
);
CREATE TABLE processes (           -- that are sweeping into this store
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, seen REAL NOT NULL
);
CREATE TABLE claims (              -- rows that a process is training
    identity TEXT PRIMARY KEY, process INTEGER NOT NULL
) WITHOUT ROWID;
CREATE VIEW results AS
    SELECT sweep_rows.sweep, sweep_rows.row, rows.* FROM sweep_rows JOIN rows USING (identity);
"""
# Of a row, in the order of its table and of its checksum.
ROW_COLUMNS = (
    "identity",
    *ASKED_COLUMNS,
    "seed",
    "fold",
    "status",
    "diverged_at",
    "last_finite_cost",
    *RECORDED,
    "seconds",
    "finished",
    "provenance",
)


class StoreOSError(OSError):
    """What the system does not let a store do: no room, no right, another process in the way."""


class StoreError(ValueError):
    """A file that is no store, or one that this version cannot use: says which and why."""


class Row(NamedTuple):
    """A finished network as the store gives it back.

    Attributes:
        diverged_at: step, or -1.
        last_finite_cost: NaN where it did not diverge.
        seconds: of a worker.
        provenance: how it was computed, JSON.
        metrics: after the last step, None where there is none.
        content: its arrays, packed.
    """

    diverged_at: int
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


# -- the file -----------------------------------------------------------------------------------------------


def check_store(path: str) -> None:
    """Raises what is plain to see of a path that is to be a store, and makes nothing.

    Raises:
        StoreError: another kind of file.
        OSError: it cannot be read, or not be made where it is missing.
    """
    if os.path.exists(path):
        _check_header(path)
        return
    _check_free(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise OSError(13, "store cannot be written", path)


def _check_free(path: str) -> None:
    """Raises StoreError where a new store would take up the log of an old one."""
    if not path:
        raise StoreError("store must have a name, got ''")
    for log in (f"{path}-wal", f"{path}-journal"):
        if os.path.exists(log):
            raise StoreError(f"{path}: must be put back beside its log {log}, or the log be removed too")


def _check_header(path: str) -> None:
    """Raises StoreError for a file that SQLite would not know, before SQLite may touch it."""
    with open(path, "rb") as file:
        header = file.read(100)
    if len(header) == 0:
        raise StoreError(f"{path}: must be a store of regjax, got an empty file")
    if header[:16] != b"SQLite format 3\0" or len(header) < 100:
        raise StoreError(f"{path}: must be a store of regjax, got another kind of file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(f"{path}: must be a store of regjax, got another program's SQLite file")


def _make(path: str) -> None:
    """Makes an empty store beside its place and links it there: no process ever sees half of one."""
    part = os.path.abspath(f"{path}.{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as connection:
            # Nobody waits for this file yet; a power cut before the link leaves nothing behind.
            connection.executescript(
                f"PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN;{SCHEMA}"
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                "PRAGMA journal_mode = WAL;"
            )
        with contextlib.suppress(FileExistsError):  # another process was quicker
            try:
                os.link(part, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                if not os.path.exists(path):
                    os.rename(part, path)
    finally:
        for name in (part, f"{part}-wal", f"{part}-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


class Store:
    """An open store; use it from one thread, in `with`.

    Args:
        path: of the file; made where it is missing and `create` is true.
        create: whether to make it.

    Raises:
        StoreError: no store, damaged, or of another version; the file is left as it is.
        OSError: it cannot be opened or written.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        # The file itself: SQLite's log lies beside it, and not beside a link to it.
        self.path = os.path.realpath(path) if os.fspath(path) else ""
        self.process = 0  # until it claims rows
        self._loaded: dict[str, Data] = {}
        if os.path.isdir(self.path):
            raise IsADirectoryError(21, "Is a directory", self.path)
        if not os.path.exists(self.path):
            if not create:
                raise FileNotFoundError(2, "No such file or directory", self.path)
            _check_free(self.path)
            try:
                _make(self.path)
            except sqlite3.Error as error:
                raise _said(self.path, error) from error
        _check_header(self.path)
        try:
            self.connection = sqlite3.connect(
                _uri(self.path), timeout=PATIENCE, isolation_level=None, uri=True
            )
            # Damaged text must come to its checksum, and be refused there.
            self.connection.text_factory = lambda raw: raw.decode(errors="replace")
            self._check()
        except _BROKEN as error:
            with contextlib.suppress(AttributeError):
                self.connection.close()
            raise _said(self.path, error) from error
        except StoreError:
            self.connection.close()
            raise

    def _check(self) -> None:
        run = self.connection.execute
        run("PRAGMA foreign_keys = ON")
        # Against a killed process; after a power cut the last commits may be missing, and nothing is damaged.
        run("PRAGMA synchronous = NORMAL")
        version = run("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            what = "a newer" if version > SCHEMA_VERSION else "an older"
            raise StoreError(
                f"{self.path}: must have schema version {SCHEMA_VERSION}, got {version}, of {what} regjax"
            )
        wanted = {"data", "sweeps", "rows", "arrays", "sweep_rows", "checkpoints", "processes", "claims"}
        there = {name for (name,) in run("SELECT name FROM sqlite_master")}
        if not wanted <= there:
            missing = ", ".join(sorted(wanted - there))
            raise StoreError(f"{self.path}: must be a store of regjax, and lacks {missing}")
        # A cut file is noticed by its size, whatever the size.
        pages = run("PRAGMA page_count").fetchone()[0] * run("PRAGMA page_size").fetchone()[0]
        size = os.path.getsize(self.path)
        damage = "ok"
        if size <= CHECKED_WHOLE:
            damage = run("PRAGMA integrity_check(1)").fetchone()[0]
        elif size < pages and not os.path.exists(f"{self.path}-wal"):
            damage = f"{size:,} of {pages:,} bytes are there"
        if damage != "ok":
            raise StoreError(
                f"{self.path}: must be a whole store, and is damaged ({damage.splitlines()[-1]})"
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):  # whoever comes next sees that this process is gone
            self.leave()
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection inside one transaction: all of it is committed, or nothing."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            # A signal may come between a statement and the next line.
            with contextlib.suppress(sqlite3.Error):
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            if isinstance(error, _BROKEN):
                raise _said(self.path, error) from error
            raise

    def query(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns the rows of a query."""
        try:
            return self.connection.execute(text, values).fetchall()
        except _BROKEN as error:
            raise _said(self.path, error) from error

    def _where(self, select: str, rows: Sequence[str]) -> Iterator[Any]:
        """Yields the rows of a query of these identities."""
        for part in _parts(rows):
            yield from self.query(f"{select} WHERE {_in(part)}", part)

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
                    _insert(connection, "INSERT OR IGNORE INTO data", parts)
                    values = [tuple(columns.values())]
                    _insert(connection, f"INSERT INTO sweeps ({', '.join(columns)})", values)
                    (number,) = self._find(identity)
                    members = [(number, index, row) for index, row in enumerate(rows)]
                    _insert(connection, "INSERT INTO sweep_rows", members)
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
        for *values, checksum, content in self._where(select, rows):
            row = dict(zip(ROW_COLUMNS, values, strict=True))
            self._check_row(values, content, checksum)
            cost, diverged_at = row["last_finite_cost"], row["diverged_at"]
            yield (
                row["identity"],
                Row(
                    diverged_at=-1 if diverged_at is None else diverged_at,
                    last_finite_cost=np.nan if cost is None else cost,
                    seconds=row["seconds"],
                    provenance=row["provenance"],
                    metrics={name: row[name] for name in RECORDED},
                    content=content,
                ),
            )

    def _missing_columns(self) -> list[str]:
        """Returns the hyperparameters that came later than this file: to the rows that are there, off."""
        known = {name for _, name, *_ in self.query("PRAGMA table_info(rows)")}
        return [name for name in NAMES if name not in known]

    def checkpoints(self, rows: Sequence[str]) -> Iterator[tuple[str, Checkpoint]]:
        """Yields those of these rows that are on their way; raises StoreError for one that is damaged."""
        select = "SELECT identity, step, seconds, provenance, arrays, checksum FROM checkpoints"
        for *values, content, checksum in self._where(select, rows):
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
            _insert(connection, f"INSERT OR IGNORE INTO rows ({', '.join(ROW_COLUMNS)}, checksum)", rows)
            arrays = [(columns[0], content) for columns, content in finished]
            _insert(connection, "INSERT OR IGNORE INTO arrays", arrays)
            _insert(connection, "INSERT OR REPLACE INTO checkpoints", points)
            for part in _parts(done):
                connection.execute(f"DELETE FROM checkpoints WHERE {_in(part)}", part)
                connection.execute(f"DELETE FROM claims WHERE {_in(part)}", part)

    # -- several processes ------------------------------------------------------------------------------

    def claim(self, rows: Sequence[str]) -> set[str]:
        """Returns those of these rows that are this process's to train; from now on no other takes them.

        The others are finished by now, or are being trained by a process that is alive.
        """
        with self.transaction() as connection:
            if not self.process:
                values = [_host(), os.getpid(), _started(os.getpid()), time.time()]
                text = "INSERT INTO processes (host, pid, started, seen) VALUES (?, ?, ?, ?)"
                self.process = connection.execute(text, values).lastrowid or 0
            taken = {identity for (identity,) in self._where("SELECT identity FROM rows", rows)}
            others = self._others()
            for identity, process in self._where("SELECT identity, process FROM claims", rows):
                if process in others:
                    taken.add(identity)
            mine = [row for row in rows if row not in taken]
            _insert(connection, "INSERT OR REPLACE INTO claims", [(row, self.process) for row in mine])
        return set(mine)

    def finished(self, rows: Sequence[str]) -> set[str]:
        """Returns those of these rows that are finished."""
        return {identity for (identity,) in self._where("SELECT identity FROM rows", rows)}

    def claimed(self, rows: Sequence[str]) -> set[str]:
        """Returns those of these rows that other processes, which are alive, are training."""
        with self.transaction():
            others = self._others()
            found = set(self._where("SELECT identity, process FROM claims", rows))
        return {identity for identity, process in found if process in others}

    def give_back(self, rows: Sequence[str]) -> None:
        """Lets others train rows that this process had claimed."""
        with self.transaction() as connection:
            connection.executemany(
                "DELETE FROM claims WHERE identity = ? AND process = ?", ((row, self.process) for row in rows)
            )

    def beat(self) -> int:
        """Says that this process is alive, and returns how many others are."""
        with self.transaction() as connection:
            text = "UPDATE processes SET seen = ? WHERE id = ?"
            if connection.execute(text, [time.time(), self.process]).rowcount == 0:
                self.process = 0  # taken for dead, or not there yet: the next claim says that it is
            return len(self._others())

    def leave(self) -> None:
        """Gives back all that this process had claimed."""
        if self.process:
            with self.transaction() as connection:
                connection.execute("DELETE FROM claims WHERE process = ?", [self.process])
                connection.execute("DELETE FROM processes WHERE id = ?", [self.process])
            self.process = 0

    def _others(self) -> set[int]:
        """Returns the other processes that are alive, and forgets the dead."""
        alive = set()
        for process, host, pid, started, seen in self.query("SELECT * FROM processes"):
            if process == self.process:
                continue
            # Here, a process that is stopped is no dead one; of another machine, only the clock tells.
            here = host == _host() and isinstance(pid, int)
            heard = isinstance(seen, float) and time.time() - seen < LEASE
            if _is_running(pid, started) if here else heard:
                alive.add(process)
            else:
                self.connection.execute("DELETE FROM claims WHERE process = ?", [process])
                self.connection.execute("DELETE FROM processes WHERE id = ?", [process])
        return alive

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
        """Returns a metric after the last step, who is finished, and who of them is sound, `(rows,)` each."""
        values = np.full(len(rows), np.nan)
        finished, sound = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        index = {identity: row for row, identity in enumerate(rows)}
        for identity, stored in self.read(rows):
            value, row = stored.metrics[metric], index[identity]
            values[row] = np.nan if value is None else value
            finished[row], sound[row] = True, stored.diverged_at < 0
        return values, finished, sound


def _insert(connection: sqlite3.Connection, how: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inserts rows, many with one statement.

    Python's lock is given up at every step of a statement, and got back only when a worker lets go of it:
    one statement per row took three times as long beside busy workers.
    """
    size = max(1, MAX_VALUES // len(rows[0])) if rows else 1
    for part in _parts(rows, size):
        marks = f"({', '.join('?' * len(part[0]))})"
        values = [value for row in part for value in row]
        connection.execute(f"{how} VALUES {', '.join([marks] * len(part))}", values)


def _parts(rows: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Yields parts as long as a statement may name."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _in(rows: Sequence[str]) -> str:
    return f"identity IN ({', '.join('?' * len(rows))})"


def _uri(path: str) -> str:
    """Returns how SQLite is to open a file: what may not be written is read as it is."""
    from urllib.parse import quote

    folder = os.path.dirname(os.path.abspath(path))
    if os.access(path, os.W_OK) and os.access(folder, os.W_OK):
        how = "rw"
    else:
        # Without a log that has still to be read in, SQLite needs no files beside this one.
        log = f"{path}-wal"
        how = "ro" if os.path.exists(log) and os.path.getsize(log) else "ro&immutable=1"
    return f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={how}"


def _said(path: str, error: Exception) -> Exception:
    """Returns what an error of SQLite means, in words."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreOSError(28, f"no room to write ({error}); what was committed is kept", path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreOSError(13, f"cannot be written ({error})", path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreOSError(11, f"another process has been writing for {PATIENCE:.0f} s ({error})", path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(error, UnicodeDecodeError):
        return StoreError(f"{path}: must be a whole store of regjax, and is damaged ({error})")
    return StoreError(f"{path}: must be a store that SQLite can use, and it says: {error}")


def now_in_words() -> str:
    """Returns the date and time, UTC, as ISO 8601 has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _host() -> str:
    """Returns what tells apart machines, and containers on one, whose process numbers are their own."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _is_running(pid: int, started: str) -> bool:
    """Returns whether a process of this machine is there, and is the one that began then."""
    if sys.platform == "win32":  # there, asking would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return _started(pid) == started


def _started(pid: int) -> str:
    """Returns when a process began, in the system's own units; "" where it does not say."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]
    return ""


def _hash_of_file(source: str | None) -> str | None:
    if source is None or not os.path.isfile(source):
        return None
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
