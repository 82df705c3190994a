"""The run store: every finished network in one SQLite file, so that nothing is trained twice.

A row is kept under its *identity*, what was asked for: configuration, hyperparameters, seed, split, data.
How it was computed, its *provenance*, stands beside it. docs/store.md has the tables, and queries to type
into `sqlite3`.
"""

from __future__ import annotations

import contextlib
import datetime
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
from regjax.design import Design
from regjax.grid import NAMES
from regjax.identity import digest, fingerprint
from regjax.metrics import RECORDED

# "rgjx": what tells a store from other programs' SQLite files.
APPLICATION_ID = 0x72676A78
SCHEMA_VERSION = 2
# Seconds to wait for another process's transaction.
PATIENCE = 60.0
# Seconds after which a process that has not been heard of is taken for dead.
LEASE = 60.0
# Bytes up to which a file is read through when it is opened; of a larger one, only what is asked for.
CHECKED_WHOLE = 2**30
# Values that a statement of SQLite may have.
MAX_VALUES = 32_766
# What sqlite3 raises; the second where the text of the first is damaged itself.
_BROKEN = (sqlite3.Error, UnicodeDecodeError)

SCHEMA = f"""
CREATE TABLE data (
    fingerprint TEXT PRIMARY KEY,  -- SHA-256 of what x, y and weights hold
    num_samples INTEGER NOT NULL, num_features INTEGER NOT NULL,
    arrays BLOB NOT NULL
);
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE, -- SHA-256 of its rows' identities, in order
    begun TEXT NOT NULL, finished TEXT,
    source TEXT, data TEXT NOT NULL REFERENCES data, test TEXT REFERENCES data,
    num_rows INTEGER NOT NULL,
    design TEXT NOT NULL,          -- JSON
    splits BLOB NOT NULL,
    shapes TEXT NOT NULL,          -- JSON: slots and lanes of each group's chunks
    provenance TEXT NOT NULL,      -- JSON: where it was begun
    checksum TEXT NOT NULL         -- SHA-256 of design, splits and shapes
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
    id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, pid INTEGER NOT NULL, seen REAL NOT NULL
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


class StoreError(ValueError):
    """A file that is no store, or one that this version cannot use: says which and why."""


class Row(NamedTuple):
    """A finished network as the store gives it back.

    Attributes:
        diverged_at: step, or -1.
        last_finite_cost: NaN where it did not diverge.
        seconds: of a worker.
        provenance: how it was computed, JSON.
        arrays: `records/…`, `params/…` and `examples/…`.
    """

    diverged_at: int
    last_finite_cost: float
    seconds: float
    provenance: str
    arrays: dict[str, np.ndarray]


class Checkpoint(NamedTuple):
    """A network on its way.

    Attributes:
        step: steps done.
        seconds: of a worker.
        provenance: how it was computed so far, JSON.
        arrays: `state/…` and `records/…`, the latter NaN where not reached; packed where they are written.
    """

    step: int
    seconds: float
    provenance: str
    arrays: Any


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
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise OSError(13, "store cannot be written", path)


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
    part = f"{path}.{os.getpid()}-{time.monotonic_ns()}.part"
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
        self.path = os.fspath(path)
        self.process = 0  # until it claims rows
        if os.path.isdir(self.path):
            raise IsADirectoryError(21, "Is a directory", self.path)
        if not os.path.exists(self.path):
            if not create:
                raise FileNotFoundError(2, "No such file or directory", self.path)
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
            damage = run("PRAGMA quick_check(1)").fetchone()[0]
        elif size < pages and not os.path.exists(f"{self.path}-wal"):
            damage = f"{size:,} of {pages:,} bytes are there"
        if damage != "ok":
            raise StoreError(f"{self.path}: must be a whole store, and is damaged ({damage.splitlines()[0]})")

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
            try:
                yield self.connection
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        except _BROKEN as error:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise _said(self.path, error) from error

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
        self, design: Design, shapes: str, rows: Sequence[str], source: str | None, provenance: str
    ) -> tuple[int, str]:
        """Returns the number of a sweep, and the chunk shapes that hold for it: of whoever began it first.

        Args:
            design: of the sweep.
            shapes: of its groups' chunks, as JSON, if it is new.
            rows: identities.
            source: name or path of the data.
            provenance: where it is begun.
        """
        identity = digest(list(rows))
        with self.transaction() as connection:
            if not self._find(identity):
                told, splits = pack_design(design)
                sets = [None if d is None else (fingerprint(d), d) for d in (design.data, design.test)]
                for print_, data in filter(None, sets):
                    values = [print_, data.x.shape[1], len(data.x), pack_data(data)]
                    connection.execute("INSERT OR IGNORE INTO data VALUES (?, ?, ?, ?)", values)
                columns = {
                    "identity": identity,
                    "begun": now_in_words(),
                    "source": source,
                    "data": sets[0] and sets[0][0],
                    "test": sets[1] and sets[1][0],
                    "num_rows": design.num_rows,
                    "design": told,
                    "splits": splits,
                    "shapes": shapes,
                    "provenance": provenance,
                    "checksum": checksum_of([told, shapes], splits),
                }
                names, marks = ", ".join(columns), ", ".join("?" * len(columns))
                connection.execute(f"INSERT INTO sweeps ({names}) VALUES ({marks})", list(columns.values()))
                (number,) = self._find(identity)
                members = [(number, index, row) for index, row in enumerate(rows)]
                _insert(connection, "INSERT INTO sweep_rows", members)
            (number,) = self._find(identity)
        return number, self._sweep(number)[2]

    def _find(self, identity: str) -> list[int]:
        return [number for (number,) in self.query("SELECT id FROM sweeps WHERE identity = ?", [identity])]

    def _sweep(self, sweep: int) -> tuple[str, bytes, str]:
        """Returns design, splits and shapes of a sweep; raises StoreError unless they are as written."""
        ((told, splits, shapes, checksum),) = self.query(
            "SELECT design, splits, shapes, checksum FROM sweeps WHERE id = ?", [sweep]
        )
        if not isinstance(splits, bytes) or checksum != checksum_of([told, shapes], splits):
            raise StoreError(f"{self.path}: sweep {sweep} is damaged")
        return told, splits, shapes

    def reshape(self, sweep: int, shapes: str) -> None:
        """Remembers chunk shapes that a lack of memory made smaller."""
        told, splits, _ = self._sweep(sweep)
        with self.transaction() as connection:
            values = [shapes, checksum_of([told, shapes], splits), sweep]
            connection.execute("UPDATE sweeps SET shapes = ?, checksum = ? WHERE id = ?", values)

    def end(self, sweep: int) -> None:
        """Marks a sweep as finished."""
        with self.transaction() as connection:
            values = [now_in_words(), sweep]
            connection.execute("UPDATE sweeps SET finished = ? WHERE id = ? AND finished IS NULL", values)

    def design_of(self, sweep: int) -> tuple[Design, list[str], str]:
        """Returns the design of a sweep, the identities of its rows, and its chunk shapes as JSON."""
        told, splits, shapes = self._sweep(sweep)
        ((identity, data, test),) = self.query(
            "SELECT identity, data, test FROM sweeps WHERE id = ?", [sweep]
        )
        found = self.query("SELECT identity FROM sweep_rows WHERE sweep = ? ORDER BY row", [sweep])
        rows = [row for (row,) in found]
        if digest(rows) != identity:
            raise StoreError(f"{self.path}: the rows of sweep {sweep} are damaged")
        sets = [None if print_ is None else self._data(print_) for print_ in (data, test)]
        assert sets[0] is not None
        return unpack_design(told, splits, sets[0], sets[1]), rows, shapes

    def _data(self, print_: str) -> Any:
        found = self.query("SELECT arrays FROM data WHERE fingerprint = ?", [print_])
        with contextlib.suppress(ValueError):
            data = unpack_data(found[0][0]) if found else None
            if data is not None and fingerprint(data) == print_:
                return data
        raise StoreError(f"{self.path}: data {print_[:12]} is damaged")

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
            cost, diverged_at = row["last_finite_cost"], row["diverged_at"]
            yield (
                row["identity"],
                Row(
                    diverged_at=-1 if diverged_at is None else diverged_at,
                    last_finite_cost=np.nan if cost is None else cost,
                    seconds=row["seconds"],
                    provenance=row["provenance"],
                    arrays=self._unpacked(values, content, checksum),
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
            identity, step, seconds, provenance = values
            arrays = self._unpacked(values, content, checksum)
            yield identity, Checkpoint(step, seconds, provenance, arrays)

    def _unpacked(self, values: list[Any], content: Any, checksum: Any) -> dict[str, np.ndarray]:
        """Returns a row's arrays; raises StoreError unless the row is all as it was written."""
        with contextlib.suppress(ValueError):
            if isinstance(content, bytes) and checksum == checksum_of(values, content):
                return unpack(content)
        raise StoreError(f"{self.path}: row {str(values[0])[:12]} is damaged")

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
            points.append((*values, p.arrays, checksum_of(values, p.arrays)))
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
                values = [_host(), os.getpid(), time.time()]
                text = "INSERT INTO processes (host, pid, seen) VALUES (?, ?, ?)"
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
            connection.execute("UPDATE processes SET seen = ? WHERE id = ?", [time.time(), self.process])
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
        for process, host, pid, seen in self.query("SELECT id, host, pid, seen FROM processes"):
            if process == self.process:
                continue
            if time.time() - seen > LEASE or (host == _host() and not _is_running(pid)):
                self.connection.execute("DELETE FROM claims WHERE process = ?", [process])
                self.connection.execute("DELETE FROM processes WHERE id = ?", [process])
            else:
                alive.add(process)
        return alive

    # -- what is there ------------------------------------------------------------------------------------

    def sweep_number(self, sweep: int | str = -1) -> int:
        """Returns the number of a sweep: itself, or counted from the end (-1 or "last")."""
        numbers = [number for (number,) in self.query("SELECT id FROM sweeps ORDER BY id")]
        if not numbers:
            raise StoreError(f"{self.path}: must hold a sweep, got none")
        if sweep == "last":
            return numbers[-1]
        number = int(sweep)
        if number < 0 and -number <= len(numbers):
            return numbers[number]
        if number not in numbers:
            raise ValueError(f"sweep must be one of {', '.join(map(str, numbers))}, got {sweep!r}")
        return number

    def overview(self, sweep: int | None = None) -> list[dict[str, Any]]:
        """Returns what there is to say of each sweep, or of one: data, rows done and diverged, where."""
        found = []
        columns = ("id", "source", "data", "begun", "finished", "num_rows")
        for values in self.query(f"SELECT {', '.join(columns)} FROM sweeps ORDER BY id"):
            told: dict[str, Any] = dict(zip(columns, values, strict=True))
            if sweep not in (None, told["id"]):
                continue
            counts = "SELECT provenance, count(*), sum(status = 'diverged') FROM results WHERE sweep = ?"
            where = self.query(f"{counts} GROUP BY provenance", [told["id"]])
            told["done"] = sum(count for _, count, _ in where)
            told["diverged"] = sum(diverged for _, _, diverged in where)
            told["provenance"] = {how: count for how, count, _ in where}
            found.append(told)
        return found

    def metric_of(self, sweep: int, metric: str, num_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns a metric after the last step, who is finished, and who of them is sound, `(rows,)` each."""
        assert metric in RECORDED
        values = np.full(num_rows, np.nan)
        finished, sound = np.zeros(num_rows, bool), np.zeros(num_rows, bool)
        text = f"SELECT row, {metric}, status FROM results WHERE sweep = ?"
        for row, value, status in self.query(text, [sweep]):
            values[row] = np.nan if value is None else value
            finished[row], sound[row] = True, status == "ok"
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
    return f"file:{quote(os.path.abspath(path))}?mode={how}"


def _said(path: str, error: Exception) -> Exception:
    """Returns what an error of SQLite means, in words."""
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return OSError(28, f"no room to write ({text}); what was committed is kept", path)
    if "readonly" in text or "unable to open" in text:
        return OSError(13, f"cannot be written ({text})", path)
    if "locked" in text or "busy" in text:
        return OSError(11, f"another process has been writing for {PATIENCE:.0f} s ({text})", path)
    return StoreError(f"{path}: must be a whole store of regjax, and is damaged ({text})")


def now_in_words() -> str:
    """Returns the date and time, UTC, as ISO 8601 has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _host() -> str:
    """Returns what tells apart machines, and containers on one, whose process numbers are their own."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # there, asking would end it; the lease decides
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
