"""How far a sweep is: what its host loop says, and a bar for a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from regjax.study.words import duration


class Progress(NamedTuple):
    """Where a sweep stands.

    Attributes:
        phase: "compile" or "train".
        num_rows: networks in all.
        done: of them, finished or diverged.
        diverged: of them.
        fraction: of the work, in [0, 1].
        best: the best configuration so far with its mean metric, in words, or "".
        seconds_left: predicted, or None where it is too early to say.
    """

    phase: str
    num_rows: int
    done: int
    diverged: int
    fraction: float
    best: str
    seconds_left: float | None

    @property
    def alive(self) -> int:
        """Networks that have not diverged."""
        return self.num_rows - self.diverged

    def __str__(self) -> str:
        if self.phase == "compile":
            return f"compiling for {self.num_rows:,} networks"
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        best = f", best so far {self.best}" if self.best else ""
        return f"{self.done:,} of {self.num_rows:,} networks done, {self.alive:,} alive{left}{best}"


Report = Callable[[Progress], None]


@contextlib.contextmanager
def reporter(progress: bool | Report) -> Iterator[Report]:
    """Yields what a host loop calls: a bar on a terminal, the user's function, or nothing.

    Raises:
        TypeError: progress is neither a truth value nor callable.
    """
    if callable(progress):
        yield progress
    elif not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function, got {progress!r}")
    elif progress and sys.stderr.isatty():
        with bar() as report:
            yield report
    else:
        yield lambda progress: None


@contextlib.contextmanager
def bar() -> Iterator[Report]:
    """Yields a function that draws a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    # On a narrow terminal the words give way, not the bar.
    columns = (
        BarColumn(bar_width=16, table_column=Column(min_width=16)),
        TextColumn("{task.percentage:>3.0f} %", table_column=Column(min_width=5, no_wrap=True)),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True, expand=True) as drawn:
        task = drawn.add_task("compiling", total=1.0)
        yield lambda p: drawn.update(task, completed=p.fraction, description=str(p))


@contextlib.contextmanager
def lines() -> Iterator[Report]:
    """Yields a function that prints a line on standard error, at the beginning and after every tenth."""
    said: set[tuple[str, int]] = set()

    def report(progress: Progress) -> None:
        tenth = progress.phase, int(10 * progress.fraction)
        if tenth not in said:
            said.add(tenth)
            print(f"{progress.fraction:4.0%} {progress}", file=sys.stderr, flush=True)

    yield report
