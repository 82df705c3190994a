"""Tables of text: values parted by commas, semicolons, tabs, bars or white space.

`regjax.data.files.read_table` calls `read_text`. Python's csv counts the values of every line,
since pandas pads short lines in silence; pandas' C parser then makes the columns.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from regjax.core.checks import shortened, shown
from regjax.data.columns import name_columns, parse
from regjax.data.dialect import SEPARATOR_NAMES, records, single_spaced
from regjax.data.layout import Layout, find_layout, sampled_commas, text_lines
from regjax.data.reading import Refusal

END = "\U0010fffe"  # a line put after the last one, of no text; it is missing where a quote is not closed


class Read(NamedTuple):
    """A table as it stands in a file.

    Attributes:
        frame: the columns by their names, in the file's order. In a table of text they are int64 or float64
            where all cells are numbers or gaps, else categories of the words as they are written.
        numbers: the number of each row in the file, `(n,)`; None: row i stands in line i + 2, in line i + 1
            of a file without header.
        header: whether the file names its columns.
        notes: sentences for the user on what was guessed.
    """

    frame: pd.DataFrame
    numbers: np.ndarray | None
    header: bool
    notes: tuple[str, ...]

    @property
    def row_numbers(self) -> np.ndarray:
        """The number of each row in the file, `(n,)`, as a spreadsheet counts."""
        if self.numbers is not None:
            return self.numbers
        first = 2 if self.header else 1
        return np.arange(first, first + len(self.frame))


def read_text(
    content: bytes,
    *,
    ending: str,
    separator: str | None,
    decimal: str | None,
    header: bool | None,
    gaps: Sequence[str],
) -> Read:
    """Returns a table of text.

    Args:
        content: the file.
        ending: the file's, which says whether white space may part values.
        separator: one character, a space for any white space; None finds it.
        decimal: "." or ","; None finds it.
        header: whether the first line names the columns; None finds it.
        gaps: words that stand for a gap in every column.

    Raises:
        Refusal: not such a table; says the line and what to do.
    """
    content, notes = as_utf8(content)
    if not content.strip():
        raise Refusal("must hold a table, got an empty file")
    layout = find_layout(content, ending, separator, header, gaps)
    if layout.separator == " ":
        content = single_spaced(content.decode()).encode()
    starts, offset = check_lines(content, layout)
    notes += layout.notes
    asked = decimal is not None
    if decimal is None:
        decimal = "," if sampled_commas(content, layout) else "."
        notes += ["numbers are read with a decimal comma"] * (decimal == ",")
    frame, more = parse(content, offset, layout, decimal, gaps, asked)
    if len(frame) != len(starts):
        raise Refusal(
            f"must be a table whose quotes pair up, got {len(starts)} or {len(frame)} rows by how they pair"
        )
    frame, dropped = name_columns(frame, layout.names)
    first = 2 if layout.header else 1
    plain = bool(starts) and starts[0] == first and starts[-1] == first + len(starts) - 1
    return Read(frame, None if plain else np.array(starts), layout.header, (*notes, *more, *dropped))


def as_utf8(content: bytes) -> tuple[bytes, list[str]]:
    """Returns a text in UTF-8 without a mark of the byte order, and a note where the encoding was guessed.

    Raises:
        Refusal: NUL bytes, or neither UTF-8, UTF-16 with its mark nor cp1252.
    """
    notes = []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeError:
            raise Refusal("must be text, got damaged UTF-16: save it as UTF-8") from None
    content = content.removeprefix(codecs.BOM_UTF8)
    place = content.find(b"\0")
    if place >= 0:
        line = _line_of(content, place)
        raise Refusal(f"must be text, got a NUL byte in line {line}: save it as text in UTF-8")
    try:
        content.decode()
    except UnicodeDecodeError as bad:
        try:
            content = content.decode("cp1252").encode()
        except UnicodeDecodeError as error:
            line = _line_of(content, error.start)
            raise Refusal(
                f"must be text in UTF-8, got the byte 0x{content[error.start]:02x} in line {line}: "
                "save it as UTF-8"
            ) from None
        notes.append(f"read as cp1252 (Western European): line {_line_of(content, bad.start)} is not UTF-8")
    return content, notes


def _line_of(content: bytes, place: int) -> int:
    """Returns the number of the line that a byte stands in."""
    return len(re.findall(rb"\r\n|\r|\n", content[:place])) + 1


def numbered(content: bytes, separator: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yields (its first line, its last line, its values) of each record that is not blank.

    Raises:
        Refusal: a quote that is not closed.
    """
    reader = csv.reader(
        itertools.chain(text_lines(content), [END]), delimiter=separator, skipinitialspace=True
    )
    first, last, row = 1, 0, []
    try:
        for row in reader:
            first, last = last + 1, reader.line_num
            if len(row) < 2 and (not row or not row[0].strip(" \t") or row[0] == END):
                continue
            yield first, last, row
    except csv.Error:  # a value of more than 131,072 characters
        first, row = last + 1, []
    if row != [END]:
        raise Refusal(f'line {first} must close its quotes ("), got one open to the end: delete or double it')


def check_lines(content: bytes, layout: Layout) -> tuple[array[int], int]:
    """Returns (number of the line that each row starts in, offset in bytes of the first row).

    Raises:
        Refusal: a line of fewer or more values than there are names, or a quote that is not closed.
    """
    width, starts, offset, problem = len(layout.names), array("q"), 0, ""
    found = numbered(content, layout.separator)
    if layout.header:
        first, last, row = next(found)
        problem = _header_width(row, layout, first)
        offset = sum(len(line.encode()) for line in itertools.islice(text_lines(content), last))
    for first, _, row in found:
        if len(row) != width:
            problem = problem or _ragged(row, width, layout.separator, first)
        starts.append(first)
    # Not before: lines may be too long or short because of a quote that is not closed.
    if problem:
        raise Refusal(problem)
    if not starts:
        raise Refusal(f"must hold rows, got the names alone: {shortened(', '.join(layout.names))}")
    return starts, offset


def _header_width(row: Sequence[str], layout: Layout, line: int) -> str:
    """Returns the message on a line of names that has more or fewer than the lines of values; "" for none."""
    width = len(layout.names)
    if len(row) == layout.heading:
        return ""
    many = f"{len(row)} value" + "s" * (len(row) != 1)
    return (
        f"line {line} must have {width} values, as most lines, got {many}: {shown(', '.join(row))}; "
        "the first line must name the columns"
    )


def _ragged(row: Sequence[str], width: int, separator: str, line: int) -> str:
    """Returns the message on a line of another number of values than the table has columns."""
    many = f"{len(row)} value" + "s" * (len(row) != 1)
    said = f"line {line} must have {width} values, got {many}"
    text = separator.join(row)
    for other, name in SEPARATOR_NAMES.items():
        if other != separator and width > 1 and [len(r) for r in records([text], other)] == [width]:
            others = SEPARATOR_NAMES.get(separator, repr(separator))
            return f"{said}: it uses {name} where the others use {others}"
    return f"{said}: {shown(text.strip())}"
