"""Leases: several processes train into one store, and no row is trained twice.

A process leases the rows that it is about to train, in one transaction (table `claims`); other processes do
not train them until they are released. The leases of a dead process are void. `Store` is a `Leases`;
`engine/checkpoints.py` asks for leases and gives signs of life.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence

from regjax.store.database import Database, insert

# Seconds without a sign of life after which a process of another machine is taken for dead.
LEASE_SECONDS = 60.0


class Leases(Database):
    """A database whose rows can be leased to processes.

    Args:
        path: as in `Database`.
        create: as in `Database`.

    Attributes:
        process: the number of this process in the table `processes`; 0 before its first lease.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self.process = 0
        super().__init__(path, create=create)

    def __exit__(self, *error: object) -> None:
        # An error here does no harm: other processes find out by themselves that this one has ended.
        with contextlib.suppress(Exception):
            self.leave()
        super().__exit__(*error)

    def lease(self, rows: Sequence[str]) -> set[str]:
        """Leases rows to this process; returns those that are leased to it.

        The others are finished, or leased by another process that is alive.

        Args:
            rows: identities.
        """
        with self.transaction() as connection:
            if not self.process:
                values = [_host(), os.getpid(), _started(os.getpid()), time.time()]
                text = "INSERT INTO processes (host, pid, started, seen) VALUES (?, ?, ?, ?)"
                self.process = connection.execute(text, values).lastrowid or 0
            taken = self.finished(rows) | self._leased(rows)
            mine = [row for row in rows if row not in taken]
            insert(connection, "INSERT OR REPLACE INTO claims", [(row, self.process) for row in mine])
        return set(mine)

    def finished(self, rows: Sequence[str]) -> set[str]:
        """Returns the finished ones of these rows."""
        return {identity for (identity,) in self.where("SELECT identity FROM rows", rows)}

    def leased(self, rows: Sequence[str]) -> set[str]:
        """Returns the ones of these rows that other living processes have leased."""
        with self.transaction():  # `_others` deletes the dead
            return self._leased(rows)

    def _leased(self, rows: Sequence[str]) -> set[str]:
        others = self._others()
        claims = self.where("SELECT identity, process FROM claims", rows)
        return {identity for identity, process in claims if process in others}

    def release(self, rows: Sequence[str]) -> None:
        """Ends the leases of this process on these rows; other processes may then train them."""
        with self.transaction() as connection:
            connection.executemany(
                "DELETE FROM claims WHERE identity = ? AND process = ?", ((row, self.process) for row in rows)
            )

    def beat(self) -> int:
        """Gives a sign of life; returns the number of other processes that are alive."""
        with self.transaction() as connection:
            text = "UPDATE processes SET seen = ? WHERE id = ?"
            if connection.execute(text, [time.time(), self.process]).rowcount == 0:
                # Deleted because it was taken for dead, or not registered yet: the next lease registers it.
                self.process = 0
            return len(self._others())

    def leave(self) -> None:
        """Ends all leases of this process."""
        if self.process:
            with self.transaction() as connection:
                connection.execute("DELETE FROM claims WHERE process = ?", [self.process])
                connection.execute("DELETE FROM processes WHERE id = ?", [self.process])
            self.process = 0

    def _others(self) -> set[int]:
        """Returns the other processes that are alive; deletes the dead and their leases."""
        alive = set()
        for process, host, pid, started, seen in self.query("SELECT * FROM processes"):
            if process == self.process:
                continue
            # On this machine the system knows whether a process runs; a paused one counts as alive. Of a
            # process of another machine only the time of its last sign of life is known.
            here = host == _host() and isinstance(pid, int)
            heard = isinstance(seen, float) and time.time() - seen < LEASE_SECONDS
            if _is_running(pid, started) if here else heard:
                alive.add(process)
            else:
                self.connection.execute("DELETE FROM claims WHERE process = ?", [process])
                self.connection.execute("DELETE FROM processes WHERE id = ?", [process])
        return alive


def _host() -> str:
    """Returns a name of this machine and, where there is one, of its namespace of process numbers."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _is_running(pid: int, started: str) -> bool:
    """Returns whether a process of this machine runs; another starting time means a reused number."""
    if sys.platform == "win32":  # os.kill would end it there
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, as another user
    return _started(pid) == started


def _started(pid: int) -> str:
    """Returns when a process began, in clock ticks since the system's start; "" where that is unknown."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]
    return ""
