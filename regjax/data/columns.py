"""Columns of a table of text, by pandas' C parser: numbers where all cells are numbers, else words.

`regjax.data.delimited` calls this once the table's lines are known to have one number of values.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from regjax.core.checks import shown
from regjax.data.dialect import COMMA_NUMBER, GAPS, NUMBER, THOUSANDS, has_decimal_commas
from regjax.data.layout import Layout

EXACT_WHOLE = 2**53  # whole numbers up to here are exact as floats
# Before pandas 3 the default reads some numbers one bit off.
EXACT: Any = {} if int(pd.__version__.partition(".")[0]) >= 3 else {"float_precision": "round_trip"}


def parse(
    content: bytes, offset: int, layout: Layout, decimal: str, gaps: Sequence[str], asked: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Returns (columns of numbers and of text, called 0, 1, …; notes on columns that look like another kind).

    Args:
        content: the text in UTF-8.
        offset: of the first row, in bytes.
        layout: how the table is written.
        decimal: "." or ",".
        gaps: words that stand for a gap in every column.
        asked: whether the user named the decimal mark; another one is otherwise tried where a column of text
            turns out to be numbers.
    """
    width = len(layout.names)

    def read(columns: Sequence[int], texts: Sequence[int], kind: str = "category") -> pd.DataFrame:
        stream = io.BytesIO(content)
        stream.seek(offset)
        words = {i: ["", *gaps] if i in texts else [*GAPS, *gaps] for i in columns}
        return pd.read_csv(
            stream,
            sep=layout.separator,
            decimal=decimal,
            header=None,
            names=list(range(width)),
            usecols=list(columns),
            index_col=False,
            dtype=dict.fromkeys(texts, kind),
            na_values=words,
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            encoding="utf-8",
            **EXACT,
        )

    sure = layout.texts
    frame = read(range(width), sure)
    # What came out as words after all, or as whole numbers that a float would round.
    late = [i for i in range(width) if i not in sure and (_no_number(frame[i]) or _is_rounded(frame[i]))]
    notes = []
    if late:
        again = read(late, late)
        for i in late:
            if _no_number(frame[i]) or _loses_digits(again[i].cat.categories):
                frame[i] = again[i]
    # pandas makes numbers or booleans of categories where it can make them of all: 01 and 1 would be one.
    changed = [i for i in range(width) if _is_category(frame[i]) and not _holds_words(frame[i])]
    if changed:
        frame[changed] = read(changed, changed, "str").astype("category")
    for i in range(width):
        if _is_category(frame[i]):
            words = list(frame[i].cat.categories)
            if decimal == "." and not asked and layout.separator != "," and has_decimal_commas(words):
                found, more = parse(content, offset, layout, ",", gaps, True)
                return found, ["numbers are read with a decimal comma", *more]
            notes += _note(words, layout.names[i] or f"column {i + 1}", decimal)
    return frame, notes


def _no_number(column: pd.Series) -> bool:
    return column.dtype.kind not in "if"


def _is_rounded(column: pd.Series) -> bool:
    """Returns whether a column of floats holds finite ones beyond the whole numbers that are exact."""
    if column.dtype.kind != "f":
        return False
    values = column.to_numpy()
    with np.errstate(invalid="ignore"):
        return bool(((np.abs(values) >= EXACT_WHOLE) & np.isfinite(values)).any())


def _is_category(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _holds_words(column: pd.Series) -> bool:
    """Returns whether the categories of a column are text, or none."""
    return column.cat.categories.inferred_type in ("string", "empty")


def _loses_digits(words: pd.Index) -> bool:
    """Returns whether words, or numbers that pandas made of them, are whole ones that a float would round."""
    whole = (word for word in map(str, words) if re.fullmatch(r"[+-]?\d{16,300}\s*", word, re.A))
    return any(int(word) != int(float(word)) for word in whole)


def _maybe_commas(word: str) -> bool:
    return bool(COMMA_NUMBER.fullmatch(word) or THOUSANDS.fullmatch(word) or NUMBER.fullmatch(word))


def _note(words: Sequence[str], name: str, decimal: str) -> list[str]:
    """Returns a sentence where the words of a column of text look like numbers."""
    words = [word for word in words if word not in GAPS]
    if not words:
        return []
    example = shown(words[0])
    if any("," in word for word in words) and all(map(_maybe_commas, words)):
        return [
            f"column {shown(name)} is text, such as {example}: name the decimal mark ',' where these are "
            "numbers, or take the commas out where they part thousands"
        ]
    if decimal == "," and all(map(NUMBER.fullmatch, words)):
        return [f"column {shown(name)} is text, such as {example}: it has decimal points, and others commas"]
    if all(re.fullmatch(r"[+-]?\d+\s*", word, re.A) for word in words):
        return [f"column {shown(name)} is text, such as {example}: a float would round such whole numbers"]
    return []


def name_columns(frame: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Returns (the columns by their names, notes); a column with neither name nor values is left out."""
    named, notes = {}, []
    for i, name in enumerate(names):
        if name:
            named[i] = name
        elif frame[i].isna().all():
            notes.append(f"column {i + 1} has neither a name nor values and is left out")
        else:
            named[i] = f"column {i + 1}"
            while named[i] in names:
                named[i] += "'"
            notes.append(f"column {i + 1} has no name and is called {shown(named[i])}")
    frame = frame[list(named)]
    frame.columns = pd.Index(list(named.values()), dtype=object)
    return frame, notes
