"""Matplotlib, imported whatever MPLBACKEND says; `regjax.plot` imports it first, and the report from here.

A notebook hands its MPLBACKEND down to every command that it starts, also where that runs in another
environment. Matplotlib then refuses to be imported if the backend is not installed there. Regjax draws on
`Figure` alone and uses no backend, so the variable is put aside for the import.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import ModuleType

__all__ = ["matplotlib"]


def _imported() -> ModuleType:
    """Returns Matplotlib; its backend is the user's where that exists, and otherwise chosen by itself."""
    wanted = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
        import matplotlib.colors
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    if wanted:
        with contextlib.suppress(ValueError):  # as Matplotlib would have done at its import
            matplotlib.rcParams["backend"] = wanted
    return matplotlib


matplotlib = _imported()
