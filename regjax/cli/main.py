"""The command line: `regjax sweep`, `tune`, `plan`, `resume`, `show`, `export`, `plot`, `report`, `replay`,
`fit`, `predict`, `compare` and `check`.

`regjax.__main__` calls `main`. Bad input gives one line and exit code 2, before anything is compiled or
written; Ctrl-C gives 130.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import click

from regjax.cli.check import check
from regjax.cli.compare import compare
from regjax.cli.export import export
from regjax.cli.fit import fit
from regjax.cli.letters import Context, adapt_output
from regjax.cli.plan import plan
from regjax.cli.plot import plot
from regjax.cli.predict import predict
from regjax.cli.replay import replay
from regjax.cli.report import report
from regjax.cli.resume import resume
from regjax.cli.show import show
from regjax.cli.sweep import sweep
from regjax.cli.terminal import Interrupted, ctrl_c
from regjax.cli.tune import tune


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
        print(f"regjax: {kind}{' '.join(error.format_message().split())}", file=sys.stderr)
        code = 128 + ctrl_c.number if isinstance(error, Interrupted) else error.exit_code
    except (KeyboardInterrupt, click.Abort):  # outside of a command's work
        print("regjax: interrupted; nothing was written", file=sys.stderr)
        code = 128 + ctrl_c.number
    except BrokenPipeError:  # `regjax … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regjax")
def commands() -> None:
    """Trains regularised neural networks and shows what the regularisation did."""


commands.context_class = Context
for command in (sweep, tune, plan, resume, show, export, plot, report, replay, fit, predict, compare, check):
    command.context_class = Context
    commands.add_command(command)
