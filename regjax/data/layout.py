"""How a table of text is laid out: its separator, and the names of its columns.

`regjax.data.delimited` takes it from the first lines, `regjax.data.columns` parses by it.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from regjax.core.checks import shortened, shown
from regjax.data.dialect import (
    GAPS,
    SEPARATOR_NAMES,
    find_header,
    find_separator,
    has_decimal_commas,
    is_number,
    records,
)
from regjax.data.reading import Refusal

SAMPLED = 200  # lines that are looked at
SPACED_ENDINGS = (".txt", ".dat", ".data")  # endings of files in which white space may part values


class Layout(NamedTuple):
    """How a table is written.

    Attributes:
        separator: one character.
        header: whether the first line names the columns.
        names: the columns' names, as many as a line has values.
        heading: values of the line of names; one more or fewer than there are names where an empty name is
            left out.
        texts: columns, by position, that hold words in the first lines.
        notes: what was guessed.
    """

    separator: str
    header: bool
    names: list[str]
    heading: int
    texts: list[int]
    notes: list[str]


def text_lines(content: bytes) -> io.TextIOWrapper:
    """Returns the lines of a text with their ends as they are, decoded as they are read."""
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")


def find_layout(
    content: bytes, ending: str, separator: str | None, header: bool | None, gaps: Sequence[str]
) -> Layout:
    """Returns how a table is written, from its first lines.

    Raises:
        Refusal: one column alone, a header alone, or two columns of one name.
    """
    lines = list(itertools.islice(text_lines(content), SAMPLED + 1))
    whole = len(lines) <= SAMPLED
    spaces, notes = ending in SPACED_ENDINGS, []
    if separator is None:
        separator, found = find_separator(lines, spaces, whole)
        if not separator:
            raise Refusal(
                "must have at least two columns, got one by tab, ';', '|', ',' and white space: "
                "name the separator where it is another, or where one column is meant"
            )
        if separator != ("\t" if ending == ".tsv" else ","):
            notes.append(f"values are separated by {SEPARATOR_NAMES[separator]}")
    else:
        found = records(lines, separator)
        found = found if whole or len(found) < 2 else found[:-1]
    if not found:
        raise Refusal('must be a table, got a quote (") in its first lines that is not closed')
    names, below, heading = _shape(found)
    if header is None:
        header, plain = find_header([names, *below])
        notes += [] if plain else [_header_note(header, names)]
    elif not header:
        names, below, heading = _shape(found, header=False)
    if header and len(found) == 1 and whole:
        raise Refusal(f"must hold rows, got one line alone, with the names {shortened(', '.join(names))}")
    names = [name.strip() for name in names] if header else [f"x{i + 1}" for i in range(len(names))]
    _check_names(names)
    sampled = below if header else [*below, found[0]]
    known = {*GAPS, *gaps}
    texts = [
        i
        for i, column in enumerate(zip(*sampled, strict=False))
        if not all(cell in known or is_number(cell) for cell in column)
    ]
    return Layout(separator, header, names, heading, texts, notes)


def _shape(found: list[list[str]], header: bool = True) -> tuple[list[str], list[list[str]], int]:
    """Returns (the first record, the others of most records' width, the width that the first may have).

    The first gets or loses an empty name to be as wide as the others.

    A header may lack the name of the first column, which R leaves out above the rows' names, or that of an
    empty last column, which a separator at the end of each line makes; or have that one alone.
    """
    first, below = found[0], found[1:]
    widths = [len(record) for record in below] or [len(first)]
    width = max(set(widths), key=lambda width: (widths.count(width), width == len(first)))
    below = [record for record in below if len(record) == width]
    if header and len(first) == width - 1 and all(record[-1] == "" for record in below):
        return [*first, ""], below, width - 1
    if header and len(first) == width - 1 > 1:  # one word above two columns is rather a title
        return ["", *first], below, width - 1
    if header and len(first) == width + 1 and first[-1] == "":
        return first[:-1], below, width + 1
    # `check_lines` refuses a first line of another width.
    return (first + [""] * width)[:width], below, width


def _header_note(header: bool, names: Sequence[str]) -> str:
    """Returns the sentence on what the first line was taken for."""
    shows = shortened(", ".join(names))
    if header:
        return f"the first line is taken for the columns' names ({shows}); --no-header takes it for values"
    called = f"x1 … x{len(names)}" if len(names) > 1 else "x1"
    return (
        f"the first line is taken for values ({shows}), and columns are called {called}; "
        "--header takes it for names"
    )


def _check_names(names: Sequence[str]) -> None:
    """Raises Refusal where two columns have one name."""
    place: dict[str, int] = {}
    for i, name in enumerate(names, 1):
        if name and name in place:
            raise Refusal(
                f"must have a name of its own for each column, got {shown(name)} for columns {place[name]} "
                f"and {i}: rename one (--no-header where the first line holds values)"
            )
        place[name] = i


def sampled_commas(content: bytes, layout: Layout) -> bool:
    """Returns whether a column of the first lines has decimal commas."""
    if layout.separator == ",":
        return False
    found = records(list(itertools.islice(text_lines(content), SAMPLED)), layout.separator)[layout.header :]
    found = [record for record in found if len(record) == len(layout.names)]
    return any(map(has_decimal_commas, zip(*found, strict=True)))
