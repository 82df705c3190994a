"""The programs of a sweep's groups, compiled side by side, one group after the other.

`engine/scheduler.py` submits them before it trains, and waits for those of a group before it opens its rows:
so the first group is trained while the programs of the next are compiled. This helps workers that are
threads; a process compiles for itself when its first task comes.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable
from typing import Any

from regjax.engine.lanes import ChunkTask, programs_of


class Programs:
    """What is compiled for each group.

    Args:
        submit: submits a function and its arguments, as `Executor.submit` does.
    """

    def __init__(self, submit: Callable[..., concurrent.futures.Future[Any]]) -> None:
        self._submit = submit
        self._futures: dict[int, list[concurrent.futures.Future[Any]]] = {}
        self._begun: set[int] = set()

    def begin(self, group: int, tasks: Iterable[ChunkTask], longest: int) -> None:
        """Submits the programs of a group.

        Args:
            group: number of the group.
            tasks: a task of a chunk of it, for each device.
            longest: most steps between two records.
        """
        self._begun.add(group)
        self._futures[group] = [
            self._submit(part, one) for one in tasks for part in programs_of(one, longest)
        ]

    def knows(self, group: int) -> bool:
        """Returns whether the programs of a group have been submitted."""
        return group in self._begun

    def are_ready(self, group: int) -> bool:
        """Returns whether `wait` would return at once."""
        return all(future.done() for future in self._futures.get(group, ()))

    def wait(self, *groups: int) -> None:
        """Waits until the programs of some groups are compiled; without groups, of all.

        Raises:
            Exception: what compiling raised, other than that memory is short: the first task meets that too,
                and its chunk is halved.
        """
        for group in groups or list(self._futures):
            for future in self._futures.pop(group, ()):
                try:
                    future.result()
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of a task says that memory ran out."""
    # JAX has no class for it: its runtime error only begins with the name of the status.
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
