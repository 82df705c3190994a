"""The command line called in this process: what a user would see, without importing JAX once more."""

import contextlib
import io
from types import SimpleNamespace
from unittest import mock

from regjax.cli import main, terminal


def regjax(*arguments):
    """Returns exit code, standard output and standard error of `regjax ARGUMENTS`."""
    out, err, code = io.StringIO(), io.StringIO(), None
    # The cache of compiled programs is a setting of the process, which other tests share.
    kept = mock.patch.object(terminal, "use_compilation_cache")
    with kept, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main([*map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
