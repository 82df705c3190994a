"""Columns of a table of text, by pandas' C parser: numbers where all cells are numbers, else words.

`regjax.data.delimited` calls this once the table's lines are known to have one number of values.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regjax.core.checks import shown
from regjax.data.dialect import COMMA_NUMBER, GAPS, NUMBER, THOUSANDS, WHOLE, has_decimal_commas
from regjax.data.layout import Layout
from regjax.data.reading import Refusal

EXACT_WHOLE = 2**53  # whole numbers up to here are exact as floats
# Before pandas 3.1 the default reads many numbers one bit off; from 3.1 on the option is deprecated.
EXACT: Any = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


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

    def read(columns: Sequence[int], texts: Sequence[int], kind: str) -> Any:
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

    frame = read(range(width), layout.texts, "category")
    late = [i for i in range(width) if not _is_words(frame[i]) and not _is_exact(frame[i])]
    if late:
        again = read(late, late, "str").astype("category")
        for i in late:
            if frame[i].dtype.kind != "f" or _loses_digits(again[i].cat.categories):
                frame[i] = again[i]
    notes = []
    for i in range(width):
        if _is_words(frame[i]):
            words = frame[i].cat.categories
            if decimal == "." and not asked and layout.separator != "," and has_decimal_commas(words):
                found, more = parse(content, offset, layout, ",", gaps, True)
                return found, ["numbers are read with a decimal comma", *more]
            notes += _note(words, layout.names[i] or f"column {i + 1}", decimal)
    return frame, notes


def _is_words(column: pd.Series) -> bool:
    """Returns whether a column is one of words.

    pandas makes numbers or booleans of categories where it can make them of all: then 01 and 1 are one.
    """
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    return is_category and column.cat.categories.inferred_type in ("string", "empty")


def _is_exact(column: pd.Series) -> bool:
    """Returns whether a column holds numbers, and no finite one beyond the whole ones that a float holds."""
    if column.dtype.kind != "f":
        return column.dtype.kind == "i"
    values = column.to_numpy()
    return not ((np.abs(values) >= EXACT_WHOLE) & np.isfinite(values)).any()


def _loses_digits(words: Iterable[str]) -> bool:
    """Returns whether some words are whole numbers that a float would round."""
    whole = (word for word in words if re.fullmatch(r"[+-]?\d{16,300}\s*", word, re.A))
    return any(int(word) != int(float(word)) for word in whole)


def _note(words: Sequence[str], name: str, decimal: str) -> list[str]:
    """Returns a sentence where the words of a column of text look like numbers."""
    example = next((word for word in words if word not in GAPS), None)
    if example is None:
        return []

    def all_are(*patterns: re.Pattern[str]) -> bool:
        return all(word in GAPS or any(p.fullmatch(word) for p in patterns) for word in words)

    said = f"column {shown(name)} is text, such as {shown(example)}: "
    if all_are(WHOLE):
        return [said + "a float would round such whole numbers"]
    if decimal == "," and all_are(NUMBER):
        return [said + "it has decimal points, and others commas"]
    if all_are(COMMA_NUMBER, THOUSANDS, NUMBER) and any("," in word for word in words):
        do = "name the decimal mark ',' where these are numbers, or take out the commas between thousands"
        return [said + do]
    return []


def name_columns(frame: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Returns (the columns by their names, notes); a column with neither name nor values is left out.

    Raises:
        Refusal: no column is left.
    """
    named, notes = {}, []
    for i, name in enumerate(names):
        if name:
            named[i] = name
        elif bool(frame[i].isna().to_numpy().all()):
            notes.append(f"column {i + 1} has neither a name nor values and is left out")
        else:
            named[i] = f"column {i + 1}"
            while named[i] in names:
                named[i] += "'"
            notes.append(f"column {i + 1} has no name and is called {shown(named[i])}")
    if not named:
        raise Refusal("must hold values, got empty columns alone")
    kept = frame.loc[:, list(named)]
    kept.columns = pd.Index(list(named.values()), dtype=object)
    return kept, notes
