"""`regjax demo`: the built-in sweep and its page, by the commands that a user would type; `main` adds it."""

from __future__ import annotations

import shlex
import tempfile

import click

from regjax.cli import terminal
from regjax.cli.values import as_argument

# The sweep's own name stands for the defaults: 12 configurations × 4 seeds × 5 folds of the built-in set.
SWEEP = ("sweep", "two_regions")


@click.command()
@click.option("--out", metavar="DIR", help="Where the files go; by default a new folder for passing files.")
@click.option("--open/--no-open", "opens", default=True, help="Open the page in the browser, or do not.")
@click.pass_obj
def demo(started: float, out: str | None, opens: bool) -> None:
    """Trains the built-in sweep, says what helped, and opens its page.

    240 networks learn 211 points of two classes, of which every tenth has the wrong label. The demo types two
    commands for you, and prints them.
    """
    from regjax.cli.report import report
    from regjax.cli.sweep import sweep

    with terminal.user_errors():
        wanted = tempfile.mkdtemp(prefix="regjax-demo-") if out is None else out
        folder = terminal.writable_folder(wanted, ("demo.sqlite", "report.html"))
    store, page = (as_argument(folder / name) for name in ("demo.sqlite", "report.html"))
    _call(sweep, (*SWEEP, "--store", store, "--out", as_argument(folder)), started)
    print()
    try:
        terminal.check_extra("report", "bokeh", "report")
    except ValueError as error:
        print(f"no page: {error}; the pictures are in {folder}")
    else:
        try:
            _call(report, ("report", store, "-o", page, "--open" if opens else "--no-open"), started)
        except (KeyboardInterrupt, click.Abort):
            raise terminal.Interrupted(f"the sweep and its pictures are in {folder}") from None
    print(
        "\nWith a table of yours: regjax sweep rows.csv --target COLUMN\nand its page: regjax report --open"
    )


def _call(command: click.Command, words: tuple[str, ...], started: float) -> None:
    """Prints a command line and runs it."""
    print(f"$ regjax {shlex.join(words)}")
    command.main(list(words[1:]), prog_name=f"regjax {words[0]}", standalone_mode=False, obj=started)
