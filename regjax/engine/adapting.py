"""Lets a Dask cluster that adapts see how many workers a sweep could use.

`engine/cluster.py` keeps few tasks at each worker, and Dask starts workers by the tasks that it sees.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

# Dask starts a worker for each 5 s of work, and takes a task that it does not know for 0.5 s.
TASKS_A_WORKER = 10
# Threads that are asked for, as a multiple of those that there are: each new worker is looked at first.
GROWTH = 2
# What the tasks need, and no worker has.
RESOURCE = "regjax-more-workers"


def more_workers() -> None:
    """What no worker ever runs."""


class Calls:
    """Tasks that wait at the scheduler and that no worker can run: as many as workers could be at work.

    Attributes:
        wanted: number of chunks that could be trained at a time.
    """

    def __init__(self) -> None:
        self.wanted = 0
        self.sent: list[Any] = []

    def update(self, client: Any, threads: int) -> None:
        """Brings the tasks in line with what is wanted.

        Args:
            client: a client of the scheduler.
            threads: number of threads that the workers have.
        """
        # Where fewer are wanted than there are, too: Dask may stop every worker that is idle for a moment.
        count = TASKS_A_WORKER * min(self.wanted, GROWTH * max(1, threads))
        with contextlib.suppress(Exception):  # of a scheduler that is about to be missed
            for number in range(len(self.sent), count):
                key = f"{RESOURCE}-{number}-{uuid.uuid4()}"
                self.sent.append(client.submit(more_workers, key=key, resources={RESOURCE: 1}))
        del self.sent[count:]  # Dask forgets what nobody has a future of
