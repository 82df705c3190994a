"""Values as they are written in a flag, or in a text in TOML: "0,0.1", "1,0.9/0.8", "geomspace(1e-4,1,9)".

The table of options names the reader of each flag; `spec.resolve` calls it.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from regjax.core.checks import check_known, shown

# Most values of one geomspace or linspace.
MAX_COUNT = 100_000
_SPACED = re.compile(r"(\w+)\((.*)\)")


def as_argument(path: str | Path) -> str:
    """Returns a path as a word of a command line that is no option, whatever it begins with.

    Example:
        >>> as_argument("-x/demo.sqlite"), as_argument("demo.sqlite")
        ('./-x/demo.sqlite', 'demo.sqlite')
    """
    return f"./{path}" if str(path).startswith("-") else str(path)


def values_of(name: str, text: str) -> list[Any]:
    """Returns the values that a text names: "0,0.1", "1,0.9/0.8", "geomspace(1e-4,1,9)", or several of these.

    Raises:
        ValueError: an empty value, or an unknown function, or one without two ends and a count.
    """
    values: list[Any] = []
    for part in re.split(r",(?![^(]*\))", text):  # commas outside of brackets
        part = part.strip()
        if not part:
            raise ValueError(f"{name} must have a value between two commas, got {shown(text)}")
        call = _SPACED.fullmatch(part)
        if call:
            values += _spaced(name, part, *call.groups())
        elif "/" in part:
            values.append(tuple(scalar(entry.strip()) for entry in part.split("/")))
        else:
            values.append(scalar(part))
    return values


def _spaced(name: str, text: str, function: str, arguments: str) -> list[float]:
    if function == "logspace":
        raise ValueError(
            f"{name} must use geomspace(first, last, count), whose ends are values, got {shown(text)}"
        )
    check_known(f"{name}: function", function, ("geomspace", "linspace"))
    try:
        first, last, count = (float(entry) for entry in arguments.split(","))
        if (
            count != int(count)
            or not 1 <= count <= MAX_COUNT
            or not math.isfinite(last - first)
            or (function == "geomspace" and not (first > 0 and last > 0))
        ):
            raise ValueError
    except (ValueError, OverflowError):
        ends = "two ends above 0" if function == "geomspace" else "two ends"
        wanted = f"{ends} and a count of 1 to {MAX_COUNT:,}, all finite"
        raise ValueError(f"{name}: {function} must have {wanted}, got {shown(text)}") from None
    return getattr(np, function)(first, last, int(count)).tolist()


def scalar(text: str) -> Any:
    """Returns a whole number, a real number, or the text itself."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if kind is float or abs(value) < 2**63:  # beyond it TOML has no whole numbers either
            return value
    return text


def read_scalar(name: str, text: str) -> Any:
    """Returns a number where the text is one, else the text; other readers put `name` in messages."""
    return scalar(text)


def read_text(name: str, text: str) -> str:
    """Returns the text as it stands."""
    return text


def read_names(name: str, text: str) -> Any:
    """Returns the names between commas; "none" stays a word."""
    return text if text == "none" else text.split(",")


def read_words(name: str, text: str) -> list[str]:
    """Returns the words between commas."""
    return text.split(",")


def read_kinds(name: str, text: str) -> dict[str, str]:
    """Returns a mapping: "age=numeric,town=category"; a name may hold =, and commas where it is quoted.

    Raises:
        ValueError: a part without = or without one of its sides, or a name twice.
    """
    found: dict[str, str] = {}
    for part in next(csv.reader([text], skipinitialspace=True), []):
        column, equals, kind = (piece.strip() for piece in part.rpartition("="))
        if not (column and equals and kind):
            raise ValueError(f"{name} must be like age=numeric,town=category, got {shown(text)}")
        if column in found:
            raise ValueError(f"{name} must name each column once, got {shown(column)} twice")
        found[column] = kind
    return found


def read_some(name: str, text: str) -> Any:
    """Returns a list where the text has a comma, else one value."""
    return values_of(name, text) if "," in text else scalar(text)


def read_seeds(name: str, text: str) -> Any:
    """Returns a list of seeds where the text has a comma, else how many."""
    seeds = values_of(name, text)
    return seeds if "," in text else seeds[0]


def assignments_of(text: str, example: str) -> dict[str, Any]:
    """Returns the values of a baseline: name -> value of "NAME=VALUE,…"; `example` shows one in a message.

    Raises:
        ValueError: another form, a name twice, or a value that is none.
    """
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ValueError(f"baseline must be like {example}, got {shown(text)}")
        name = name.replace("-", "_")
        if name in found:
            raise ValueError(f"baseline must name each hyperparameter once, got {shown(text)}")
        found[name] = values_of(name, value)[0]
    return found
