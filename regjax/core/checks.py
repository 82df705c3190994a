"""Checks of a user's values, and the form of a value in a message.

Every message says what a value must be and what it was. All packages call these before anything is compiled.
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

# The largest number of characters of a value in a message.
MAX_SHOWN = 120


def check_count(name: str, value: Any, at_least: int = 1, at_most: int = 2**31 - 1) -> int:
    """Returns `value` as an int in [at_least, at_most]; by default it must fit in 32 bits, as steps do.

    Raises:
        TypeError: not a whole number.
        ValueError: too small or too large.
    """
    # Not math.isfinite, which raises for a whole number too large for a float.
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or value in (math.inf, -math.inf) or value != value or math.floor(value) != value:
        raise TypeError(f"{name} must be a whole number, got {shown(value)}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {shown(value)}")
    if cast(int, value) > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {shown(value)}")
    return cast(int, math.floor(value))


def is_traced(value: Any) -> bool:
    """Returns whether `value` stands for a number that is not known while a program is traced."""
    jax = sys.modules.get("jax")  # until somebody imports it nothing is traced
    return jax is not None and isinstance(value, jax.core.Tracer)


def shown(value: Any) -> str:
    """Returns a value as a message shows it: its repr, `shortened`."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # an int of thousands of digits, lists nested as deep
        return f"one too large to show ({type(value).__name__})"


def shortened(text: str) -> str:
    """Returns a text as a message shows it: on one line, without its middle where it is long."""
    text = re.sub(r"\s*\n\s*", " ", text)
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 20]} … {text[-20:]}"


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {shown(value)}")


def check_known(
    what: str, name: Any, known: Sequence[str], elsewhere: Mapping[str, str] | None = None
) -> None:
    """Raises ValueError unless `name` is one of `known`; suggests the nearest.

    Args:
        what: kind of the name, for the message.
        name: as the user wrote it.
        known: the names that exist.
        elsewhere: names in other libraries -> ours.
    """
    if name not in known:
        hint = did_you_mean(name, known, elsewhere, cutoff=0.5)
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {shown(name)}{hint}")


def did_you_mean(
    name: Any, known: Sequence[str], elsewhere: Mapping[str, str] | None = None, *, cutoff: float = 0.6
) -> str:
    """Returns the end of a message about an unknown name: the nearest that is known, or "" without one.

    Args:
        name: as the user wrote it.
        known: the names that exist.
        elsewhere: names in other libraries -> ours.
        cutoff: how alike two names must be, from 0 to 1.
    """
    near = [(elsewhere or {}).get(str(name)), *difflib.get_close_matches(str(name), known, 1, cutoff)]
    found = next(filter(None, near), None)
    return f"; did you mean {found}?" if found else ""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: "1 fold", "1,200 networks"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
