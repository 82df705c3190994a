"""Readable ASCII for the letters that an output's encoding lacks: λ is written lambda, … three dots.

Windows, old locales and PYTHONIOENCODING give a terminal or pipe of 8 or 7 bits, where Python would raise an
error, and click would write UTF-8 regardless. `main` calls `adapt_output`, and helps are made by `Context`.
"""

from __future__ import annotations

import codecs
import contextlib
import sys
import unicodedata
from typing import Any

import click

# Name of the handler of errors among Python's codecs.
READABLE = "regjax_readable"
_ASCII = {
    "…": "...", "·": "*", "⊙": "*", "×": "x", "−": "-", "–": "-", "—": "-", "‑": "-", "±": "+-", "√": "sqrt",
    "∇": "grad", "∞": "inf", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "→": "->", "←": "<-", "½": "1/2",
    "‖": "||", "§": "section ", "’": "'", "‘": "'", "“": '"', "”": '"', "★": "*", "•": "*", "█": "#",
    "\N{REPLACEMENT CHARACTER}": "?",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
# What the characters of frames are drawn with, by a word of their Unicode name.
_FRAMES = {"VERTICAL": "|", "HORIZONTAL": "-"}


def in_ascii(letter: str) -> str:
    """Returns readable ASCII for a character.

    Example:
        >>> [in_ascii(letter) for letter in "λ²√é─┼中"]
        ['lambda', '^2', 'sqrt', 'e', '-', '+', '\\\\u4e2d']
    """
    name = unicodedata.name(letter, "")
    if letter in _ASCII:
        return _ASCII[letter]
    if letter.translate(_RAISED) != letter:
        return "^" + letter.translate(_RAISED)
    if name.startswith("GREEK ") and " LETTER " in name:
        word = name.split(" LETTER ")[1].split()[0].replace("LAMDA", "LAMBDA")
        return word.capitalize() if "CAPITAL" in name else word.lower()
    if name.startswith("BOX DRAWINGS "):
        straight = [sign for word, sign in _FRAMES.items() if word in name.split()]
        return straight[0] if len(straight) == 1 and " AND " not in name else "+"
    # Letters with accents, ligatures, subscripts; of other scripts nothing is left.
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or ("" if unicodedata.combining(letter) else letter.encode("unicode_escape").decode())


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """Answers the characters that a codec cannot encode, as `codecs.register_error` wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    if "\udc80" <= bad[0] <= "\udcff":  # a byte of a file's name that is no text goes out as it came
        return bytes([ord(bad[0]) - 0xDC00]), error.start + 1
    return in_ascii(bad[0]), error.start + 1


codecs.register_error(READABLE, _replaced)


def readable(text: str, stream: Any) -> str:
    """Returns a text with readable ASCII in place of the characters that a stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, READABLE).decode(encoding, "surrogateescape")


def adapt_output() -> None:
    """Makes standard output and error write readable ASCII where their encoding lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # another kind of stream, or one that is closed
            stream.reconfigure(errors=READABLE)  # type: ignore[union-attr]


class _Formatter(click.HelpFormatter):
    def getvalue(self) -> str:
        return readable(super().getvalue(), sys.stdout)


class Context(click.Context):
    """The context of a command, whose help is written in the letters that standard output has."""

    formatter_class = _Formatter
