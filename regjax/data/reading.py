"""What readers of files share: one sentence for whatever a library raises on a damaged file.

`regjax.data.files` reads tables with it, `regjax.data.loaders` archives and MATLAB files.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from regjax.core.checks import shortened, shown

Source = str | os.PathLike[str]
Found = TypeVar("Found")


class Refusal(ValueError):
    """A sentence for the user on why a file is not read; `read_with` puts the file's path before it."""


def read_with(path: Source, read: Callable[[Path], Found], kind: str) -> Found:
    """Returns `read(path)`; whatever it raises on a damaged file becomes one ValueError.

    Args:
        path: the file.
        read: reader of the file; it may raise anything, a `Refusal` where it knows what the user can mend.
        kind: what the file must be, for the message.

    Raises:
        OSError: the file cannot be opened.
        ValueError: `read` failed; one line that begins with the path.
    """
    file = Path(path)
    try:
        with open(file, "rb"):  # a missing file, a folder or a missing permission is an OSError that names it
            pass
    except ValueError as error:  # NUL, or half of a surrogate pair
        raise ValueError(f"path must be one that a file can have, got {shown(os.fspath(path))}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats; the error below says what a user can mend
            return read(file)
    except Refusal as error:
        raise ValueError(f"{path}: {error}") from None
    except MemoryError as error:  # a damaged header may ask for any size
        raise ValueError(f"{path}: must be {kind} that fits into memory") from error
    except Exception as error:  # the readers raise dozens of types on a damaged file
        raise ValueError(
            f"{path}: must be {kind}, and could not be read as one ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Returns the first line of a reader's message; "it is damaged" where the reader itself failed."""
    lines = str(error).splitlines()
    # A KeyError or an IndexError of Python's own says nothing about the file.
    said = (
        isinstance(error, ValueError | OSError | NotImplementedError) or type(error).__module__ != "builtins"
    )
    return shortened(lines[0]) if lines and said else "it is damaged"
