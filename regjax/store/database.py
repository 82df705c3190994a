"""The SQLite file of a store: creating, opening and checking it, transactions, and errors in words.

`leases.py` and `store.py` build on `Database`, which does not depend on what the tables mean. The command
line calls `check_store` before anything is trained.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

from regjax.store.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, TABLES

# Seconds to wait for the transaction of another process.
BUSY_SECONDS = 60.0
# Largest file, in bytes, that SQLite checks as a whole when it is opened. Of a larger file only the entries
# that are read are checked, by their checksums.
CHECKED_WHOLE = 2**30
# Most values that a statement of SQLite may have.
MAX_VALUES = 32_766
# What sqlite3 raises: UnicodeDecodeError where a damaged file spoils the message itself.
_BROKEN = (sqlite3.Error, UnicodeDecodeError)


class StoreOSError(OSError):
    """The system stops a store: the disk is full, a permission is missing, another process holds the lock."""


class StoreError(ValueError):
    """A file is no store, is damaged, or has tables of another version; the message says which."""


def check_store(path: str) -> None:
    """Raises where a path cannot be used as a store, as far as that shows without opening it.

    Args:
        path: path of a store, which need not exist; nothing is created.

    Raises:
        StoreError: the file is no store.
        OSError: the file cannot be read, or cannot be created.
    """
    if os.path.exists(path):
        check_header(path)
        return
    _check_free(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise OSError(13, "store cannot be written", path)


def _check_free(path: str) -> None:
    """Raises StoreError for an empty path, and where a new store would read the log of a deleted one."""
    if not path:
        raise StoreError("store must have a name, got ''")
    for log in (f"{path}-wal", f"{path}-journal"):
        if os.path.exists(log):
            raise StoreError(f"{path}: must be put back beside its log {log}, or the log be removed too")


def check_header(path: str) -> None:
    """Raises StoreError unless a file begins like a store; SQLite would write into some other files."""
    with open(path, "rb") as file:
        header = file.read(100)
    if len(header) == 0:
        raise StoreError(f"{path}: must be a store of regjax, got an empty file")
    if header[:16] != b"SQLite format 3\0" or len(header) < 100:
        raise StoreError(f"{path}: must be a store of regjax, got another kind of file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(f"{path}: must be a store of regjax, got another program's SQLite file")


def _make(path: str) -> None:
    """Creates an empty store under another name and links it to `path`: no process ever sees a part of it."""
    part = os.path.abspath(f"{path}.{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as connection:
            # Without sync or journal: until the link no process reads this file, and a crash loses nothing.
            connection.executescript(
                f"PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN;{SCHEMA}"
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                "PRAGMA journal_mode = WAL;"
            )
        with contextlib.suppress(FileExistsError):  # another process has made the same store meanwhile
            try:
                os.link(part, path)
            except FileExistsError:
                raise
            except OSError:  # the file system has no links
                if not os.path.exists(path):
                    os.rename(part, path)
    finally:
        for name in (part, f"{part}-wal", f"{part}-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


class Database:
    """An open SQLite file with the tables of a store; use it from one thread, in `with`.

    Args:
        path: path of the file.
        create: whether to create it where it is missing.

    Attributes:
        path: path of the file itself, links resolved.
        connection: the connection to SQLite, in autocommit mode: `transaction` begins and commits.

    Raises:
        StoreError: the file is no store, is damaged, or of another version; it is left as it is.
        OSError: the file cannot be opened or created.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        # Links resolved: SQLite's log must lie beside the file itself.
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
                raise _translated(self.path, error) from error
        check_header(self.path)
        try:
            self.connection = sqlite3.connect(
                _uri(self.path), timeout=BUSY_SECONDS, isolation_level=None, uri=True
            )
            # Damaged text is decoded with replacements, so that the checksum refuses it and not the decoder.
            self.connection.text_factory = lambda raw: raw.decode(errors="replace")
            self._check()
        except _BROKEN as error:
            with contextlib.suppress(AttributeError):  # the connection itself may have failed
                self.connection.close()
            raise _translated(self.path, error) from error
        except StoreError:
            self.connection.close()
            raise

    def _check(self) -> None:
        """Raises StoreError unless the file has the tables of this version and is whole."""
        run = self.connection.execute
        run("PRAGMA foreign_keys = ON")
        # Enough against a killed process. A power cut may take the last commits, and damages nothing.
        run("PRAGMA synchronous = NORMAL")
        version = run("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            what = "a newer" if version > SCHEMA_VERSION else "an older"
            raise StoreError(
                f"{self.path}: must have schema version {SCHEMA_VERSION}, got {version}, of {what} regjax"
            )
        found = {name for (name,) in run("SELECT name FROM sqlite_master")}
        if not found >= TABLES:
            missing = ", ".join(sorted(TABLES - found))
            raise StoreError(f"{self.path}: must be a store of regjax, and lacks {missing}")
        damage = self._damage()
        if damage is not None:
            raise StoreError(f"{self.path}: must be a whole store, and is damaged ({damage})")

    def _damage(self) -> str | None:
        """Returns the damage of the file in words, or None; of a large file only the size is checked."""
        run = self.connection.execute
        pages = run("PRAGMA page_count").fetchone()[0] * run("PRAGMA page_size").fetchone()[0]
        size = os.path.getsize(self.path)
        if size <= CHECKED_WHOLE:
            found = run("PRAGMA integrity_check(1)").fetchone()[0]
            return None if found == "ok" else found.splitlines()[-1]
        # Pages that are only in the log so far count as pages of the file.
        cut = size < pages and not os.path.exists(f"{self.path}-wal")
        return f"{size:,} of {pages:,} bytes are there" if cut else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection inside one transaction, which is committed as a whole or not at all."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            # BaseException: a signal's KeyboardInterrupt may come between any two lines, before BEGIN too.
            with contextlib.suppress(sqlite3.Error):
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            if isinstance(error, _BROKEN):
                raise _translated(self.path, error) from error
            raise

    def query(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns the results of a query, a tuple each.

        Args:
            text: SQL with a `?` for each value.
            values: numbers, texts, bytes or None.
        """
        try:
            return self.connection.execute(text, values).fetchall()
        except _BROKEN as error:
            raise _translated(self.path, error) from error

    def where(self, select: str, rows: Sequence[str]) -> Iterator[Any]:
        """Yields the results of a query whose identity is one of these, in no particular order.

        Args:
            select: SQL without its condition.
            rows: identities.
        """
        for part in parts(rows):
            yield from self.query(f"{select} WHERE {among(part)}", part)


def insert(connection: sqlite3.Connection, how: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inserts table rows, as many with one statement as SQLite takes.

    At each statement Python releases its global lock, and waits for a worker to release it: one statement for
    each row took three times as long beside two busy workers.

    Args:
        connection: a connection inside a transaction.
        how: the statement up to its values, "INSERT INTO …".
        rows: the values of each table row, all of one length.
    """
    size = max(1, MAX_VALUES // len(rows[0])) if rows else 1
    for part in parts(rows, size):
        marks = f"({', '.join('?' * len(part[0]))})"
        values = [value for row in part for value in row]
        connection.execute(f"{how} VALUES {', '.join([marks] * len(part))}", values)


def parts(rows: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Yields parts of a sequence, `size` long, the last perhaps shorter."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def among(rows: Sequence[str]) -> str:
    """Returns the SQL condition that an identity is one of `len(rows)` values."""
    return f"identity IN ({', '.join('?' * len(rows))})"


def _uri(path: str) -> str:
    """Returns the URI that SQLite opens, read-only where the file or its folder cannot be written."""
    from urllib.parse import quote

    folder = os.path.dirname(os.path.abspath(path))
    if os.access(path, os.W_OK) and os.access(folder, os.W_OK):
        how = "rw"
    else:
        # "immutable" keeps SQLite from creating files beside this one, but also from reading a log there.
        log = f"{path}-wal"
        how = "ro" if os.path.exists(log) and os.path.getsize(log) else "ro&immutable=1"
    return f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={how}"


def _translated(path: str, error: Exception) -> Exception:
    """Returns an error of SQLite as a StoreOSError or StoreError, in words."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreOSError(28, f"no room to write ({error}); what was committed is kept", path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreOSError(13, f"cannot be written ({error})", path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreOSError(11, f"another process has been writing for {BUSY_SECONDS:.0f} s ({error})", path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(error, UnicodeDecodeError):
        return StoreError(f"{path}: must be a whole store of regjax, and is damaged ({error})")
    return StoreError(f"{path}: must be a store that SQLite can use, and it says: {error}")
