"""The `regjax` command.

It stands beside the package so that Ctrl-C is answered while the package, and with it JAX, is imported.
"""

import os
import signal
import sys
import time


def _leave(number: int, frame: object) -> None:
    sys.stderr.write("regjax: interrupted; nothing was written\n")
    sys.stderr.flush()
    os._exit(130)


def main() -> None:
    """Runs the command line."""
    started = time.perf_counter()
    signal.signal(signal.SIGINT, _leave)
    from regjax.cli import main as run

    run(started=started)
