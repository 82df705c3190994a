"""The SQLite file of a run store: made, opened, checked; transactions, and its errors in words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

from regjax.store.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION

# Seconds to wait for another process's transaction.
PATIENCE = 60.0
# Bytes up to which a file is read through when it is opened; of a larger one, only what is asked for.
CHECKED_WHOLE = 2**30
# Values that a statement of SQLite may have.
MAX_VALUES = 32_766
# What sqlite3 raises; the second where the text of the first is damaged itself.
_BROKEN = (sqlite3.Error, UnicodeDecodeError)


class StoreOSError(OSError):
    """What the system does not let a store do: no room, no right, another process in the way."""


class StoreError(ValueError):
    """A file that is no store, or one that this version cannot use: says which and why."""


def check_store(path: str) -> None:
    """Raises what is plain to see of a path that is to be a store, and makes nothing.

    Raises:
        StoreError: another kind of file.
        OSError: it cannot be read, or not be made where it is missing.
    """
    if os.path.exists(path):
        check_header(path)
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


def check_header(path: str) -> None:
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


class Database:
    """An open store as an SQLite file; arguments and errors as those of `store.Store`."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        # The file itself: SQLite's log lies beside it, and not beside a link to it.
        self.path = os.path.realpath(path) if os.fspath(path) else ""
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
        check_header(self.path)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
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

    def where(self, select: str, rows: Sequence[str]) -> Iterator[Any]:
        """Yields the rows of a query of these identities."""
        for part in parts(rows):
            yield from self.query(f"{select} WHERE {among(part)}", part)


def insert(connection: sqlite3.Connection, how: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inserts rows, many with one statement.

    Python's lock is given up at every step of a statement, and got back only when a worker lets go of it:
    one statement per row took three times as long beside busy workers.
    """
    size = max(1, MAX_VALUES // len(rows[0])) if rows else 1
    for part in parts(rows, size):
        marks = f"({', '.join('?' * len(part[0]))})"
        values = [value for row in part for value in row]
        connection.execute(f"{how} VALUES {', '.join([marks] * len(part))}", values)


def parts(rows: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Yields parts as long as a statement may name."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def among(rows: Sequence[str]) -> str:
    """Returns the condition that an identity is one of these."""
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
