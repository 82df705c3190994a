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
    os._exit(128 + number)


def main() -> None:
    """Runs the command line."""
    started = time.perf_counter()
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    from regjax.cli.main import main as run

    try:
        run(started=started)
    except SystemExit as stop:
        if stop.code in (130, 143):
            # After Ctrl-C a compiled program may still run in its thread, and Python's orderly end would
            # take its memory away (a segmentation fault, seen in 1 of 20 runs). All is said and written.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stop.code)
        raise
