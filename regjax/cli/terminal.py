"""Errors in one line, Ctrl-C, the compilation cache, progress and files, for all commands."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from regjax.core.caching import keep_programs

if TYPE_CHECKING:
    from regjax.engine.progress import Progress, Report

# Seconds until a signal that came during an import is answered again, and for how long at most it waits.
AGAIN, PATIENCE = 0.02, 5.0


class UserError(click.ClickException):
    """Bad input: one line on standard error, exit code 2."""

    exit_code = 2


class Interrupted(click.ClickException):
    """Ctrl-C or SIGTERM; the message names the files that were written. Exit code 130 or 143."""


class Failed(click.ClickException):
    """An error while a command works that is no bad input: one line, exit code 1."""

    exit_code = 1


class CtrlC:
    """Answers SIGINT and SIGTERM: raises KeyboardInterrupt, and remembers it.

    Python drops an exception that is raised inside a callback (JAX has such callbacks for its garbage
    collection), so commands call `check` between two pieces of work. During an import it waits until that is
    done, `PATIENCE` seconds at most: a half-made module of C may end the process by a segmentation fault.
    """

    pressed = False
    number = signal.SIGINT.value
    # The next answer to a signal that came during an import, and when that came.
    again: threading.Timer | None = None
    since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.pressed:
            self.since = time.monotonic()
        self.pressed, self.number = True, number
        self._forget()
        if _imports(frame) and time.monotonic() - self.since < PATIENCE:
            self.again = threading.Timer(AGAIN, _signal_main, (number,))
            self.again.daemon = True
            self.again.start()
            return
        raise KeyboardInterrupt

    def _forget(self) -> None:
        if self.again is not None:
            self.again.cancel()
            self.again = None

    def check(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            self._forget()
            raise KeyboardInterrupt


ctrl_c = CtrlC()


def _signal_main(number: int) -> None:
    """Sends a signal to the main thread, whose sleep it ends."""
    if hasattr(signal, "pthread_kill"):
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)
    else:  # on Windows
        signal.raise_signal(number)


def _imports(frame: FrameType | None) -> bool:
    """Returns whether a module is being imported where a signal came."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns errors of a check of user input into one line and exit code 2."""
    try:
        yield
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{name}{error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error


@contextlib.contextmanager
def training_errors() -> Iterator[None]:
    """Turns errors of a running sweep, of its store, memory or cluster, into one line and exit code 1."""
    from regjax.engine.cluster import ClusterError
    from regjax.store.database import StoreError, StoreOSError

    try:
        yield
    except StoreOSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error
    except (StoreError, MemoryError, ClusterError) as error:
        raise Failed(str(error)) from error


@contextlib.contextmanager
def opened_store(path: str | None, *, create: bool = True) -> Iterator[Any]:
    """Yields an open `store.Store`, or None without a path; a path that cannot be opened is a UserError."""
    from regjax.engine.sweep import opened

    with contextlib.ExitStack() as stack:
        with user_errors():
            store = stack.enter_context(opened(path, create=create))
        yield store


def how_to_go_on(path: str, stop: KeyboardInterrupt) -> str:
    """Returns the message of an interrupted sweep whose store is at `path`."""
    said = f"{stop}; they are" if str(stop) else "what is finished is"
    return f"{said} in {path}, and the same command goes on with it"


def cache_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --compilation-cache / --no-compilation-cache, on by default."""
    return click.option(
        "--compilation-cache/--no-compilation-cache",
        default=True,
        help="Keep compiled programs in the user's cache folder, so that the next run starts at once.",
    )(command)


def use_compilation_cache(wanted: bool) -> None:
    """Lets JAX keep compiled programs, in JAX_COMPILATION_CACHE_DIR or regjax's own folder; or keeps none."""
    import jax

    if wanted:
        keep_programs()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    else:
        jax.config.update("jax_enable_compilation_cache", False)


@contextlib.contextmanager
def sweep_progress(quiet: bool) -> Iterator[Report]:
    """Yields a function that a sweep calls with its progress: it shows it, and raises on Ctrl-C."""
    from regjax.engine.progress import lines, reporter

    shown = reporter(not quiet) if quiet or sys.stderr.isatty() else lines()
    with shown as show:

        def report(progress: Progress) -> None:
            ctrl_c.check()
            show(progress)

        yield report


def check_extra(what: str, module: str, extra: str) -> None:
    """Raises ValueError where a module of an extra is not installed."""
    try:
        importlib.import_module(module)
    except ImportError:
        raise ValueError(
            f"{what} must have {module}, which is missing: pip install 'regjax[{extra}]'"
        ) from None


def check_drawing() -> None:
    """Raises ValueError where Matplotlib cannot be imported or draw, before anything is trained."""
    try:
        from regjax.plot import figures  # noqa: F401, all that the pictures need
        from regjax.plot.canvas import QuietFigure

        figure = QuietFigure(figsize=(1, 1))
        figure.text(0.5, 0.5, "λ")  # a text may need fonts, or LaTeX where a user's matplotlibrc wants it
        save_figure(figure, io.BytesIO())
    except Exception as error:  # a broken installation may raise anything
        raise ValueError(
            f"matplotlib must be able to draw the pictures, got {type(error).__name__}: {error}"
        ) from error


def writable_folder(out: str, names: Sequence[str]) -> Path:
    """Returns the folder, made where it is missing; raises OSError where no file can be made in it."""
    if not out:
        raise ValueError("output folder must have a name, got ''")
    folder = Path(out)
    for name in names:
        if (folder / name).is_dir():
            raise IsADirectoryError(21, "is a directory where a file must go", str(folder / name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions alone do not say whether a file can be written: disks are full or read-only.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, f"output folder cannot be written ({error.strerror})", out) from error
    return folder


@contextlib.contextmanager
def progress(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yields a function of the steps done that draws a bar on a terminal, and raises on Ctrl-C.

    Args:
        what: words beside the bar.
        total: number of steps.
        quiet: whether to draw nothing on a terminal either.
    """
    from regjax.engine.progress import bar

    if quiet or not sys.stderr.isatty():
        yield lambda step: ctrl_c.check()
        return
    with bar(what) as draw:

        def advance(step: int) -> None:
            ctrl_c.check()
            draw(step / total, what)

        yield advance


def write(path: Path, save: Callable[[Path], Any]) -> None:
    """Writes a file beside its path and moves it there: a reader sees a whole file, the old or the new."""
    part = path.with_name(f".{path.name}.part")
    try:
        save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def open_page(path: Path) -> None:
    """Opens a page in the user's browser; where there is none, says where the page is."""
    import webbrowser

    # On Linux `webbrowser` would take a browser of text, which fills the terminal.
    linux = sys.platform not in ("win32", "darwin", "cygwin")
    shown = not linux or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    address = path.resolve().as_uri()
    if not (shown and webbrowser.open(address)):
        print(f"no browser was found: open {address}")


def save_figure(figure: Any, path: Path | io.BytesIO, kind: str = "png") -> None:
    """Writes a figure as PNG or another kind, whatever the path ends in."""
    figure.savefig(path, dpi=110, format=kind)
