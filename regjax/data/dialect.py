"""How a text table is written: its separator, its decimal mark and whether its first line names the columns.

`regjax.data.delimited` asks these questions of a file's first lines. A guess that is not plain comes with a
sentence that says it, so that the user can name the other.
"""

from __future__ import annotations

import collections
import csv
import itertools
import re
from collections.abc import Iterable, Sequence

# What stands for a gap in a column of numbers. In a column of text all but the empty one are words.
GAPS = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "-nan", "-NaN"}) | {
    *("null", "NULL", "None", "?", "-", "."),
}
SEPARATORS = {"tab": "\t", "semicolon": ";", "bar": "|", "comma": ",", "space": " "}
SEPARATOR_NAMES = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','", " ": "white space"}
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)\s*", re.I | re.A)
WHOLE = re.compile(r"[+-]?\d+(?:e[+-]?\d+)?\s*", re.I | re.A)
COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?\s*", re.I | re.A)
# One comma before each three digits: 1,234 may be a thousand or, of a decimal comma, a little more than one.
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+\s*", re.A)
TIME = r"\d{1,2}:\d{2}(?::\d{2}[.,\d]*)?(?:\s?[AaPp][Mm]|Z|[+-]\d\d:?\d\d)?"
DATE = re.compile(rf"\d{{1,4}}([-/.])\d{{1,2}}\1\d{{1,4}}(?:[ T]{TIME})?|{TIME}", re.A)


def records(lines: Iterable[str], separator: str) -> list[list[str]]:
    """Returns the values of each line that is not blank, by the rules of quotes of Python's csv.

    Args:
        lines: lines with their ends.
        separator: one character; a space stands for any white space.
    """
    if separator == " ":
        lines = map(single_spaced, lines)
    try:
        found = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error:  # a quote that swallows the rest
        return []
    return [record for record in found if any(cell.strip(" \t") for cell in record) or len(record) > 1]


def single_spaced(text: str) -> str:
    """Returns text with one space for each run of spaces and tabs outside quotes, and none at lines' ends."""
    text = re.sub(r'"[^"]*"|[ \t]+', lambda found: found[0] if found[0][0] == '"' else " ", text, flags=re.S)
    return re.sub(r"^ | (?=[\r\n]|$)", "", text, flags=re.M)


def find_separator(lines: Sequence[str], spaces: bool, whole: bool) -> tuple[str, list[list[str]]]:
    """Returns (separator, the lines' values) that parts most lines into one and the same number of values.

    Args:
        lines: first lines of a file.
        spaces: whether white space may separate where it does not part all lines alike.
        whole: whether these are all lines of the file; the last record may otherwise be cut and is left out.

    Returns:
        The separator and the records; ("", []) where no separator gives more than one value a line.
    """
    best, ranked = ("", []), (0.0, False, 0)
    for separator in "\t;|, ":
        found = records(lines, separator)
        found = found if whole or len(found) < 2 else found[:-1]
        widths = collections.Counter(map(len, found))
        # The commonest number of values; of two equally common ones the larger.
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        if width < 2 or (separator == " " and not spaces and count < len(found)):
            continue
        # In "1,5;2,5" each separator parts all lines alike; decimal commas say that it is the other one.
        commas = [cell for record in found for cell in record if "," in cell]
        decimal = bool(commas) and separator != "," and all(map(COMMA_NUMBER.fullmatch, commas))
        # White space comes last: it stands after other separators too ("39, State-gov").
        rank = (count / len(found), decimal, 1 if separator == " " else width)
        if rank > ranked:
            best, ranked = (separator, found), rank
    return best


def is_number(cell: str) -> bool:
    """Returns whether a cell is a number, with a decimal point or a decimal comma."""
    return bool(NUMBER.fullmatch(cell) or COMMA_NUMBER.fullmatch(cell))


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Returns whether cells are numbers of which some have a decimal comma, and not all may be thousands."""
    sure = False
    for cell in cells:
        if cell in GAPS or WHOLE.fullmatch(cell):
            continue
        if not COMMA_NUMBER.fullmatch(cell):
            return False
        sure = sure or not THOUSANDS.fullmatch(cell)
    return sure


def find_header(found: Sequence[Sequence[str]]) -> tuple[bool, bool]:
    """Returns (whether the first of some records names the columns, whether that is plain).

    Names are words; numbers name columns only where they count up (0, 1, 2, …, or years) or where another
    name stands above numbers. A first record whose values come again below in their columns is no header.

    Args:
        found: the first records of a table, all of one width.
    """
    first, below = found[0], [list(column) for column in zip(*found[1:], strict=False)]
    # "inf" may well be a name.
    numbers = [cell for cell in first if is_number(cell) and not cell.lower().startswith("inf")]
    words = [cell for cell in first if cell and cell not in numbers]
    if any(DATE.fullmatch(cell) or cell in ("?", "nan", "NaN") for cell in words):
        return False, False
    # A word above numbers alone is a name, whatever the rest.
    named = any(
        cell and cell not in numbers and cell not in GAPS and all_numbers(column)
        for cell, column in zip(first, below, strict=False)
    )
    if not numbers and named:
        return True, True
    again = sum(bool(cell) and cell in column for cell, column in zip(first, below, strict=False))
    repeated = again > 0 and 2 * again >= sum(map(bool, first))
    if not numbers:
        return not repeated, False
    whole = all(re.fullmatch(r"\d{1,9}", cell.strip(), re.A) for cell in numbers)
    if not whole:
        return False, False
    # pandas leaves no name above its own row numbers.
    if named or (first[0] == "" and any(below[:1]) and len(numbers) == len(first) - 1):
        return len(set(first)) == len(first), False
    steps = {int(b) - int(a) for a, b in itertools.pairwise(numbers)}
    # Two numbers always count in equal steps: only neighbours such as 0, 1 or 1990, 1991 are then names.
    if len(numbers) == 2:
        return steps == {1} and not repeated, False
    years = len(numbers) > 5 and int(numbers[0]) > 1000 and int(numbers[-1]) < 2200
    return min(steps, default=0) > 0 and (len(steps) == 1 or years), False


def all_numbers(cells: Iterable[str]) -> bool:
    """Returns whether cells are numbers and gaps, and some of them numbers."""
    cells = [cell for cell in cells if cell.strip() not in GAPS]
    return bool(cells) and all(map(is_number, cells))
