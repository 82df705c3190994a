"""Delays SIGINT and SIGTERM until the loop of a sweep is between two tasks; `engine/scheduler.py` uses it.

A signal between the end of a task and its commit would lose what the task trained.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Signals:
    """Signals that wait to be answered; a second one is not delayed."""

    def __init__(self) -> None:
        self._waiting: Callable[[], Any] | None = None

    def answer(self) -> None:
        """Calls the handler of the signal that came, if one came."""
        if self._waiting is not None:
            self._waiting()

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Delays signals; in threads other than the main one, which get no signals, it does nothing."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if threading.current_thread() is not threading.main_thread():
            numbers = []
        before = {n: handler for n in numbers if callable(handler := signal.getsignal(n))}

        def hear(number: int, frame: Any) -> None:
            if self._waiting is None:
                self._waiting = functools.partial(before[signal.Signals(number)], number, frame)
            else:
                before[signal.Signals(number)](number, frame)

        for number in before:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
