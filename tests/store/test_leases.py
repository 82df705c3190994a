"""Leases: a row is trained by one process, and the leases of the dead are void."""

import os
import subprocess
import sys

from regjax.store.store import Store


def test_a_row_is_claimed_once_and_the_claims_of_the_dead_are_void(tmp_path):
    path = tmp_path / "runs.sqlite"
    rows = [f"{i:032x}" for i in range(6)]
    with Store(path) as one, Store(path) as other:
        assert one.lease(rows[:4]) == set(rows[:4])
        assert one.lease(rows[:4]) == set(rows[:4])  # its own
        assert other.lease(rows) == set(rows[4:])
        assert other.leased(rows) == set(rows[:4])
        assert (one.beat(), other.beat()) == (1, 1)
        one.release(rows[:1])
        assert other.lease(rows) == {rows[0], *rows[4:]}
        # A process that is gone, on this machine: its number is free.
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        one.connection.execute("UPDATE processes SET pid = ? WHERE id = ?", [gone.pid, one.process])
        assert other.lease(rows[1:2]) == {rows[1]}
        # It was taken for dead, and says that it is not: from then on it is heard of again.
        assert one.beat() == 1
        assert one.lease(rows[:1]) == set()
        assert other.beat() == 1
        assert other.leased(rows) == set()
        # Its number is another process's now, which began at another time.
        text = "UPDATE processes SET pid = ?, started = 'then' WHERE id = ?"
        one.connection.execute(text, [os.getpid(), one.process])
        assert other.beat() == 0
    with Store(path) as one, Store(path) as other:
        # On another machine: it has not been heard of for a minute.
        assert one.lease(rows) == set(rows)
        text = "UPDATE processes SET host = 'elsewhere', seen = seen - ?"
        one.connection.execute(text, [1])
        assert other.lease(rows) == set()
        one.connection.execute(text, [60])
        assert other.lease(rows) == set(rows)
