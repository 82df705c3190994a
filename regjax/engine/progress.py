"""The progress of a sweep: the value that its host loop reports, and a bar or lines on a terminal.

`engine/scheduler.py` makes each `Progress`; `regjax.sweep` and the command line choose how it is shown.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from regjax.core.checks import counted
from regjax.study.words import duration


class Progress(NamedTuple):
    """The progress of a sweep; `str(progress)` says it in one line.

    Attributes:
        phase: "compile" or "train".
        num_rows: the number of networks.
        done: the number of finished networks, diverged ones among them.
        diverged: the number of networks that diverged.
        fraction: the fraction of the work that is done, in [0, 1].
        best: the best configuration so far with its mean metric, in words, or "".
        seconds_left: predicted seconds, or None where it is too early to predict.
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
        """Number of networks that have not diverged."""
        return self.num_rows - self.diverged

    def __str__(self) -> str:
        if self.phase == "compile":
            return f"compiling for {counted(self.num_rows, 'network')}"
        # Less than half a second is as good as over.
        late = self.seconds_left is None or self.seconds_left < 0.5
        left = "" if late else f", {duration(self.seconds_left or 0)} left"
        best = f", best so far {self.best}" if self.best else ""
        return f"{self.done:,} of {counted(self.num_rows, 'network')} done, {self.alive:,} alive{left}{best}"


Report = Callable[[Progress], None]


@contextlib.contextmanager
def reporter(progress: bool | Report) -> Iterator[Report]:
    """Yields the function that a host loop calls: the user's, one that draws a bar, or one that does nothing.

    Args:
        progress: a function of a `Progress`; or whether to draw a bar, where standard error is a terminal.

    Raises:
        TypeError: progress is neither a truth value nor callable.
    """
    if callable(progress):
        yield progress
    elif not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function, got {progress!r}")
    elif progress and sys.stderr.isatty():
        with bar("compiling") as draw:
            yield lambda p: draw(p.fraction, str(p))
    else:
        yield lambda progress: None


@contextlib.contextmanager
def bar(words: str) -> Iterator[Callable[[float, str], None]]:
    """Yields a function (fraction done, words beside it) that draws a bar on standard error.

    Args:
        words: beside the bar until the function is called.
    """
    # Imported here: a sweep without a terminal does not need it.
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    # A narrow terminal cuts the words off, not the bar.
    columns = (
        BarColumn(bar_width=16, table_column=Column(min_width=16)),
        TextColumn("{task.percentage:>3.0f} %", table_column=Column(min_width=5, no_wrap=True)),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True, expand=True) as drawn:
        task = drawn.add_task(words, total=1.0)
        yield lambda fraction, words: drawn.update(task, completed=fraction, description=words)


@contextlib.contextmanager
def lines() -> Iterator[Report]:
    """Yields a function of a `Progress` that prints a line on standard error for each tenth of a phase."""
    said: set[tuple[str, int]] = set()

    def report(progress: Progress) -> None:
        tenth = progress.phase, int(10 * progress.fraction)
        if tenth not in said:
            said.add(tenth)
            print(f"{progress.fraction:4.0%} {progress}", file=sys.stderr, flush=True)

    yield report
