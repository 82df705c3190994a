"""Several processes and one store: who trains which rows.

A process claims the rows that it is about to train, in one transaction; what another has claimed it leaves
alone. The claims of a process that is gone are void.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence

from regjax.store.database import Database, insert

# Seconds after which a process of another machine that has not been heard of is taken for dead.
LEASE_SECONDS = 60.0


class Leases(Database):
    """A store whose rows processes claim; arguments as those of `Database`."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self.process = 0  # until it claims rows
        super().__init__(path, create=create)

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):  # whoever comes next sees that this process is gone
            self.leave()
        super().__exit__(*error)

    def lease(self, rows: Sequence[str]) -> set[str]:
        """Returns those of these rows that are this process's to train; from now on no other takes them.

        The others are finished by now, or are being trained by a process that is alive.
        """
        with self.transaction() as connection:
            if not self.process:
                values = [_host(), os.getpid(), _started(os.getpid()), time.time()]
                text = "INSERT INTO processes (host, pid, started, seen) VALUES (?, ?, ?, ?)"
                self.process = connection.execute(text, values).lastrowid or 0
            taken = {identity for (identity,) in self.where("SELECT identity FROM rows", rows)}
            others = self._others()
            for identity, process in self.where("SELECT identity, process FROM claims", rows):
                if process in others:
                    taken.add(identity)
            mine = [row for row in rows if row not in taken]
            insert(connection, "INSERT OR REPLACE INTO claims", [(row, self.process) for row in mine])
        return set(mine)

    def finished(self, rows: Sequence[str]) -> set[str]:
        """Returns those of these rows that are finished."""
        return {identity for (identity,) in self.where("SELECT identity FROM rows", rows)}

    def leased(self, rows: Sequence[str]) -> set[str]:
        """Returns those of these rows that other processes, which are alive, are training."""
        with self.transaction():
            others = self._others()
            found = set(self.where("SELECT identity, process FROM claims", rows))
        return {identity for identity, process in found if process in others}

    def release(self, rows: Sequence[str]) -> None:
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
            heard = isinstance(seen, float) and time.time() - seen < LEASE_SECONDS
            if _is_running(pid, started) if here else heard:
                alive.add(process)
            else:
                self.connection.execute("DELETE FROM claims WHERE process = ?", [process])
                self.connection.execute("DELETE FROM processes WHERE id = ?", [process])
        return alive


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
