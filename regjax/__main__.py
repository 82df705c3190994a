"""The `regjax` command, which is also `python -m regjax`: signals first, then JAX.

Importing JAX takes a second or more. Ctrl-C and SIGTERM are answered from the first line of `main` on, before
`regjax.cli.main`, and with it JAX, is imported; so this module imports nothing but the standard library. The
entry point in `pyproject.toml` calls `main`.
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
    """Runs the command line and exits with its code."""
    started = time.perf_counter()
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    from regjax.cli.main import main as run  # replaces the two handlers

    try:
        run(started=started)
    except SystemExit as stop:
        if stop.code in (130, 143):
            # After Ctrl-C a compiled program may still run in its thread. Python's orderly end would free the
            # memory that it uses: a segmentation fault, seen in 1 of 20 runs. All is said and written.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stop.code)
        raise


if __name__ == "__main__":
    main()
