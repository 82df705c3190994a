"""The command line: `regjax`, and the commands that it knows; each stands in its own file.

`regjax.__main__` calls `main`. Bad input gives one line and exit code 2, before anything is compiled or
written; Ctrl-C gives 130.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time

import click

from regjax.cli.help import Commands
from regjax.cli.letters import adapt_output, readable
from regjax.cli.terminal import Interrupted, ctrl_c

# What `regjax` alone says.
FIRST = """\
regjax says which regularisation helps your network, and how sure that is.

  regjax demo                               a first answer without a file
  regjax sweep rows.csv --target COLUMN     a grid of regularisers on your table
  regjax tune rows.csv --target COLUMN      the same without a grid, in a minute
  regjax report --open                      the last sweep as a page to click
  regjax fit; regjax predict model new.csv  a model, and what it predicts

regjax --help lists all commands, regjax COMMAND --help says what each does.
"""
# Heading -> {command: its help in one line}, in the order of use.
PURPOSES = {
    "Begin": {
        "demo": "Trains the built-in sweep, and opens its page.",
        "compare": "Trains a tutorial's three networks: none, L2 and dropout.",
    },
    "Ask": {
        "plan": "Says what a sweep will take, before anything is spent.",
        "sweep": "Trains a grid over seeds and folds, and says what helped.",
        "tune": "Searches without a grid, and says whether regularising helps.",
        "resume": "Goes on with a sweep or a search that was interrupted.",
    },
    "Look": {
        "show": "Lists the sweeps of a store.",
        "report": "Writes a sweep as one page that opens offline.",
        "plot": "Draws a figure of a stored sweep.",
        "export": "Writes the networks of a stored sweep as a table.",
    },
    "Use": {
        "fit": "Trains the chosen configuration on all rows; writes a model.",
        "predict": "Writes what a model says of the rows of a table.",
    },
    "Check": {
        "check": "Compares every gradient with jax.grad.",
        "replay": "Trains a stored network again, to see whether the bits agree.",
    },
    "Set up": {"completion": "Lets the Tab key complete commands, options and values."},
}


def main(arguments: list[str] | None = None, *, started: float | None = None) -> None:
    """Runs the command line and exits.

    Args:
        arguments: words of the command line; None takes those of the process.
        started: `time.perf_counter()` when the process began, so that the total counts imports too.
    """
    with contextlib.suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGINT, ctrl_c)
        signal.signal(signal.SIGTERM, ctrl_c)
    started = time.perf_counter() if started is None else started
    adapt_output()
    try:
        # A command that returns a number ends with it as its exit code.
        code = commands.main(args=arguments, prog_name="regjax", standalone_mode=False, obj=started)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        kind = "interrupted; " if isinstance(error, Interrupted) else "error: "
        _say(kind, " ".join(error.format_message().split()))
        code = 128 + ctrl_c.number if isinstance(error, Interrupted) else error.exit_code
    except (KeyboardInterrupt, click.Abort):  # outside of a command's work
        _say("interrupted; ", "nothing was written")
        code = 128 + ctrl_c.number
    except BrokenPipeError:  # `regjax … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _say(kind: str, message: str) -> None:
    """Writes the last line of a command that failed; on a terminal the kind and what is wrong stand out."""
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        kind = click.style(kind, fg="red" if kind.startswith("error") else "yellow", bold=True)
        message = re.sub(r"^\S+(?= must )", lambda found: click.style(found[0], bold=True), message)
    # click translates colours for Windows' terminals, and would write UTF-8 whatever the encoding.
    click.echo(readable(f"regjax: {kind}{message}", sys.stderr), err=True)


@click.group(
    cls=Commands,
    purposes=PURPOSES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="regjax")
@click.pass_context
def commands(context: click.Context) -> None:
    """Trains regularised neural networks, many at once, and says what the regularisation did."""
    if context.invoked_subcommand is None:
        print(FIRST, end="")
