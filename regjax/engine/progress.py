"""The progress of a sweep: the value that its host loop reports, and a bar on a terminal or in a notebook.

`engine/scheduler.py` makes each `Progress`; `regjax.sweep` and the command line choose how it is shown.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import NamedTuple

from regjax.core.checks import counted
from regjax.study.words import duration


class Progress(NamedTuple):
    """The progress of a sweep; `str(progress)` says it in one line.

    Attributes:
        phase: "compile", "train", or "differentiate" for sensitivities.
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
        what = "differentiated" if self.phase == "differentiate" else "done"
        # Less than half a second is as good as over.
        seconds = self.seconds_left or 0.0
        left = f", {duration(seconds)} left" if seconds >= 0.5 else ""
        best = f", best so far {self.best}" if self.best else ""
        alive = f", {self.alive:,} alive" if self.phase == "train" else ""
        return f"{self.done:,} of {counted(self.num_rows, 'network')} {what}{alive}{left}{best}"


Report = Callable[[Progress], None]


@contextlib.contextmanager
def reporter(progress: bool | Report) -> Iterator[Report]:
    """Yields the function that a host loop calls: the user's, one that draws a bar, or one that does nothing.

    Args:
        progress: a function of a `Progress`; or whether to draw a bar, where standard error is a terminal or
            the code runs in a notebook.

    Raises:
        TypeError: progress is neither a truth value nor callable.
    """
    if callable(progress):
        yield progress
    elif not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function, got {progress!r}")
    elif progress and in_notebook():
        with notebook_bar("compiling") as draw:
            yield lambda p: draw(p.fraction, str(p))
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


def in_notebook() -> bool:
    """Returns whether the code runs in a Jupyter kernel; imports nothing to find that out."""
    module = sys.modules.get("IPython")
    # A module of the same name, or a broken installation, may lack the function.
    shell = getattr(module, "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def notebook_bar(words: str, seconds: float = 0.25) -> Iterator[Callable[[float, str], None]]:
    """Yields a function (fraction done, words beside it) that draws a bar in the output of a notebook's cell.

    There is one output, which is replaced: a saved notebook holds its last line alone. It needs no widgets.

    Args:
        words: beside the bar until the function is called.
        seconds: least time between two drawings, so that a kernel's messages do not pile up.
    """
    from IPython.display import HTML, display

    begun = shown = time.perf_counter()
    shape = '<progress value="{:.3f}" max="1" style="vertical-align:middle"></progress> {:.0%} {}'

    def html(fraction: float, words: str) -> HTML:
        return HTML(shape.format(fraction, fraction, escape(words)))

    handle = display(html(0.0, words), display_id=True)

    def draw(fraction: float, said: str) -> None:
        nonlocal words, shown
        words, now = said, time.perf_counter()
        if handle is not None and now - shown >= seconds:
            shown = now
            handle.update(html(fraction, words))

    ended = "stopped"
    try:
        yield draw
        ended = "done"
    finally:
        if handle is not None:
            took = duration(time.perf_counter() - begun)
            handle.update(HTML(f"<small>{escape(words)} – {ended} after {took}</small>"))


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
