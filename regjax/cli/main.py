"""The command line: `regjax sweep`, `plan`, `resume`, `show`, `export`, `plot`, `report`, `replay`,
`compare` and `check`.

Bad input gives one line and exit code 2, before anything is compiled or written; Ctrl-C gives 130.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import click

from regjax.cli import check as cli_check
from regjax.cli import compare as cli_compare
from regjax.cli import plot as cli_plot
from regjax.cli import report as cli_report
from regjax.cli import store as cli_store
from regjax.cli import sweep as cli_sweep
from regjax.cli.terminal import Interrupted, ctrl_c


def main(arguments: list[str] | None = None, *, started: float | None = None) -> None:
    """Runs the command line and exits.

    Args:
        arguments: instead of those of the process.
        started: `time.perf_counter()` when the process began, so that the total counts imports too.
    """
    with contextlib.suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGINT, ctrl_c)
        signal.signal(signal.SIGTERM, ctrl_c)
    started = time.perf_counter() if started is None else started
    try:
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


for command in (
    cli_sweep.sweep,
    cli_sweep.plan,
    cli_store.resume,
    cli_store.show,
    cli_store.export,
    cli_plot.plot,
    cli_report.report,
    cli_store.replay,
    cli_compare.compare,
    cli_check.check,
):
    commands.add_command(command)
