"""Tables of every kind for `read_table`: each must be read, or be refused in one sentence.

    PYTHONPATH=.:tests/support python -m fuzz_tables [--inputs 10000] [--seed 0]

prints a table and exits with 1 on a fault, as fuzz.py does, whose judge this is.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import gzip
import io
import math
import warnings
from pathlib import Path
from typing import Any

import fuzz
import numpy as np
import openpyxl
import pandas as pd
from fuzz import BYTES, CHANGES, changed, words, wrong
from hypothesis import strategies as st

import regjax
from regjax.data.files import read_table
from regjax.study.resolve import make_design

# ---- the check


def check_sweep(path: Path, options: dict[str, Any]) -> None:
    """Makes the design of a sweep of a table that is read, and the inputs of its first fold."""
    config = {"hidden": (), "num_steps": 1}
    outcome, design = fuzz.judge(
        lambda: make_design(str(path), config, folds=2, **options), regjax.sweep, path
    )
    if outcome == "success":
        x, _ = design.inputs(0)
        trains = design.splits.train[0] > 0
        assert x.shape[0] == len(design.input_names)
        assert np.isfinite(x[:, : len(trains)][:, trains]).all()


def check_table(content: bytes, folder: Path, ending: str, options: tuple[tuple[str, Any], ...] = ()) -> str:
    """Returns what `read_table` makes of a file: "success", or the type of a documented error."""
    path = folder / f"fuzz{ending}"
    path.write_bytes(content)
    outcome, found = fuzz.judge(lambda: read_table(path, **dict(options)), read_table, path)
    if outcome != "success":
        return outcome
    check_sweep(path, dict(options))
    frame, names = found.frame, list(found.frame.columns)
    assert len(frame) >= 1
    assert all(isinstance(name, str) for name in names)
    assert len(set(names)) == len(names) >= 1
    assert all(name == name.strip() for name in names)
    assert isinstance(frame.index, pd.RangeIndex)
    assert isinstance(found.header, bool)
    assert all(note.isprintable() and len(note) < 400 for note in found.notes), found.notes
    if found.numbers is not None:
        assert found.numbers.shape == (len(frame),)
        assert found.numbers[0] >= 1
        assert (np.diff(found.numbers) > 0).all()
    if ending not in (".parquet", ".feather", ".xlsx"):
        for _, column in frame.items():
            if not isinstance(column.dtype, pd.CategoricalDtype):
                assert column.dtype in (np.int64, np.float64)
            elif len(column.cat.categories):
                assert column.cat.categories.inferred_type == "string"
                assert "" not in column.cat.categories
    return outcome


# ---- tables of text

ODD_CELLS = st.text(max_size=8) | words(
    '|nan|inf|-inf|1e400|1e-400|red|"|""|"1"|"a ""b"""|"a|a"b"|\'a\'|é|€|NA|None|?|-|.|True|no|'
    "1_000|0x1F|1+2j|"
    "2020-01-01|12:30|\0|1;2|1,5|1.234,5|1,234|-,5|+1|007| 1|1 |\t|#N/A|"
    "18446744073709551615|9007199254740993|"
    "-9223372036854775809|999999999999999999999999999999|\u2028|\ufeff|\x1a|\x85"
)
CELLS = {
    "whole": st.integers(-99, 99).map(str),
    "float": st.floats(allow_nan=False).map(repr),
    "comma": st.floats(-99, 99).map(lambda number: f"{number:.3f}".replace(".", ",")),
    "words": words("red|green|blue|Iris-setosa|a b|None|NA"),
    "booleans": words("True|False"),
    "dates": st.dates().map(str),
    "gaps": words("|NA|?|1|2.5"),
    "large": words("9007199254740993|12345678901234567890|1|"),
    "odd": ODD_CELLS,
}
NAMES = words("a|b|c|y|x1|column 1|é|name| a |a b|1|2|1990|0|nan|inf||2020-01-01") | st.text(max_size=4)
SEPARATORS = words(",|,|,|;|\t| |   |:") | st.just("|")
ENCODINGS = words("utf-8|utf-8|utf-8|utf-8-sig|utf-16|utf-16-le|cp1252|latin-1|utf-32")
ENDINGS = words(".csv|.csv|.csv|.tsv|.txt|.dat|.data|.csv.gz|.gz|.CSV")
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "separator": words("tab|comma|space|semicolon|bar|;|:|x|") | st.text(max_size=2),
        "decimal": words(".|,|.|,|;"),
        "header": st.booleans(),
        "gaps": st.sampled_from([("-9",), ("red", "1"), ("",), ("a\nb",)]),
    },
)
# Mostly none: what is not named must be found.
SOME_OPTIONS = st.just(()) | st.just(()) | OPTIONS.map(lambda found: tuple(found.items()))


@st.composite
def texts(draw: st.DrawFn, odd: bool = True) -> bytes:
    """Tables of text; odd ones have ragged or blank lines, a title, odd cells and encodings."""
    odd = odd and draw(st.booleans())
    kinds = draw(
        st.lists(st.sampled_from(list(CELLS)[: 9 if odd else 6]), min_size=1 + (not odd), max_size=6)
    )
    rows = [[draw(CELLS[kind]) for kind in kinds] for _ in range(draw(st.integers(1 - odd, 8)))]
    if wrong(draw, 4):  # beyond the lines that are looked at first
        rows = rows * 60
    if not odd or draw(st.booleans()):
        rows.insert(
            0, [draw(NAMES) for _ in kinds] if odd else [f"{kind} {i}" for i, kind in enumerate(kinds)]
        )
    if odd and rows and wrong(draw, 6):
        del rows[draw(st.integers(0, len(rows) - 1))][-1:]
    if odd and wrong(draw, 6):
        rows.insert(draw(st.integers(0, len(rows))), draw(st.lists(ODD_CELLS, max_size=3)))
    if odd and wrong(draw, 6):
        rows = [[*row, ""] for row in rows]
    separator, end, written = draw(SEPARATORS), draw(words("\n|\n|\r\n|\r")), io.StringIO(newline="")
    if len(separator) == 1 and draw(st.booleans()):
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        csv.writer(written, delimiter=separator, lineterminator=end, quoting=quoting).writerows(rows)
    else:  # nothing is quoted
        written.write("".join(separator.join(row) + end for row in rows))
    text = written.getvalue()
    return text.encode(draw(ENCODINGS) if odd else "utf-8", "replace")


@st.composite
def zipped(draw: st.DrawFn) -> bytes:
    """Gzipped tables of text, some of them damaged."""
    content = gzip.compress(draw(texts()), mtime=0)
    return changed(content, draw(CHANGES)) if draw(st.booleans()) else content


# ---- tables of other formats

SOME_DATE = datetime.datetime(2020, 1, 2, 3, 4)
COLUMNS: dict[str, list[Any]] = {
    "numbers": [1.5, math.nan, 3.0, math.inf],
    "whole": [1, 2, 3, 2**60],
    "words": ["a", "b", None, "NA"],
    "gaps": ["NA", 1, None, "?"],
    "mixed": ["a", 1, None, 2.5],
    "booleans": [True, False, True, None],
    "dates": [SOME_DATE, None, SOME_DATE, SOME_DATE],
    "days": [SOME_DATE.date()] * 4,
    "times": [SOME_DATE.time()] * 4,
    "spans": [datetime.timedelta(days=1)] * 4,
    "decimals": [decimal.Decimal("1.5"), None, decimal.Decimal("2"), None],
    "lists": [[1], [2, 3], [], None],
    "records": [{"a": 1}, {"a": 2}, None, {"a": 3}],
    "bytes": [b"a", b"b", b"", None],
    "nothing": [None] * 4,
}
DTYPES = words("Int64|boolean|category|float32|int8|str|object|Float64|datetime64[ns, UTC]|string")


@st.composite
def tables(draw: st.DrawFn) -> Any:
    """Frames of columns of many types, with names and an index of many kinds."""
    kinds = draw(st.lists(st.sampled_from(list(COLUMNS)), max_size=5))
    frame = pd.DataFrame({i: pd.Series(COLUMNS[kind]) for i, kind in enumerate(kinds)})
    for i in frame.columns:
        if draw(st.booleans()):
            with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
                # Not each type takes all values.
                frame[i] = frame[i].astype(draw(DTYPES))
    names = [draw(NAMES) if wrong(draw, 3) else f"{kind} {i}" for i, kind in enumerate(kinds)]
    frame.columns = pd.Index(names, dtype=object)
    rows = draw(st.integers(0, 4))
    frame = frame[:rows] if wrong(draw, 3) else frame
    if len(names) > 1 and len(set(names)) == len(names) and wrong(draw, 4):
        with contextlib.suppress(TypeError):  # dictionaries are no index
            frame = frame.set_index(names[: draw(st.integers(1, 2))])
    return frame


@st.composite
def packed(draw: st.DrawFn, ending: str) -> bytes:
    """Files of a format that is no text; half of them damaged."""
    frame, content = draw(tables()), io.BytesIO()
    with contextlib.suppress(Exception):  # not each format takes all types
        if ending == ".parquet":
            frame.to_parquet(content)
        elif ending == ".feather":
            frame.reset_index(drop=True).to_feather(content)
        else:
            sheet: Any = (book := openpyxl.Workbook()).active
            for row in [list(frame.columns), *frame.astype(object).to_numpy().tolist()]:
                sheet.append([cell if isinstance(cell, PLAIN) and cell == cell else None for cell in row])
            book.properties.created = book.properties.modified = SOME_DATE
            book.save(content)
    found = content.getvalue()
    return changed(found, draw(CHANGES)) if draw(st.booleans()) else found


PLAIN = (str, bool, int, float, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


def _others(ending: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(packed(ending), st.just(ending), st.just(()) | st.just((("gaps", ("NA", "1")),)))


# kind -> (its part of all inputs, what is drawn, the check of it)
KINDS: fuzz.Kinds = {
    "text, any bytes": (0.08, st.tuples(BYTES, ENDINGS, SOME_OPTIONS), check_table),
    "text, built": (0.4, st.tuples(texts(), ENDINGS, SOME_OPTIONS), check_table),
    "text, changed": (0.2, st.tuples(fuzz.mutated(texts), ENDINGS, SOME_OPTIONS), check_table),
    "text, gzipped": (0.1, st.tuples(zipped(), words(".csv|.csv.gz|.txt"), SOME_OPTIONS), check_table),
    "Parquet": (0.08, _others(".parquet"), check_table),
    "Feather": (0.07, _others(".feather"), check_table),
    "Excel": (0.06, _others(".xlsx"), check_table),
    "wrong ending": (
        0.01,
        st.tuples(
            packed(".xlsx") | texts() | packed(".parquet"), words(".csv|.feather|.xlsx|.x"), st.just(())
        ),
        check_table,
    ),
}

if __name__ == "__main__":
    fuzz.main(KINDS)
