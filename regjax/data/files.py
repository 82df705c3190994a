"""Tables as they stand in files: text, Parquet, Feather and Excel.

`regjax.data.table` and `regjax.data.loaders` call `read_table`. Here a table keeps its columns' names, types
and order; what a column is for, and how it becomes numbers, is asked later.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zipfile
from collections.abc import Sequence
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd

from regjax.core.checks import shown
from regjax.data.columns import name_columns
from regjax.data.delimited import Read, read_text
from regjax.data.dialect import GAPS, NUMBER, SEPARATORS, find_header
from regjax.data.reading import Refusal, Source, read_with

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data")
OTHER_ENDINGS = {
    ".parquet": "a Parquet file",
    ".feather": "a Feather file",
    ".xlsx": "an Excel workbook (.xlsx)",
}
ENDINGS = (*TEXT_ENDINGS, ".gz", *OTHER_ENDINGS)
EXTRAS = {
    ".parquet": ("pyarrow", "parquet"),
    ".feather": ("pyarrow", "parquet"),
    ".xlsx": ("openpyxl", "excel"),
}

# First bytes -> what such a file is.
MAGIC = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "a Feather file",
    b"FEA1": "a Feather file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Office document (.xls)",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB 5.0": "a MATLAB file (.mat)",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"SQLite format 3": "an SQLite database",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"RDX": "R's data",
    b"RDA": "R's data",
    b"<stata_dta>": "a Stata file",
    b"$FL2": "an SPSS file",
    **{b"\x80" + bytes([protocol]): "a pickle" for protocol in (2, 3, 4, 5)},
}
TEXT_MAGIC = {
    rb"<!doctype html|<html": "a web page (HTML)",
    rb"<\?xml": "an XML document",
    rb"[\[{]\s*[{\"]": "JSON",
    rb"(%[^\n]*\s+)*@relation\s": "an ARFF file",
    rb"\{\\rtf": "an RTF document",
}


def read_table(
    path: Source,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    gaps: Sequence[str] = (),
) -> Read:
    """Returns the table of a file of text, Parquet, Feather or Excel.

    A column of text whose cells are all numbers or gaps (empty cells, NA, NaN, null, None, ?, -, .) is one of
    numbers; any other keeps its words as they are written, and only its empty cells are gaps. Whole numbers
    that a float would round stay text, since they name things.

    Args:
        path: the file, by its ending (`ENDINGS`) and its content; text may be gzipped.
        separator: what parts values: one character, or tab, semicolon, bar, comma, space (any white space);
            None finds it.
        decimal: "." or ","; None finds it.
        header: whether the first line names the columns; None finds it.
        gaps: words that stand for a gap in every column, such as "-999".

    Raises:
        OSError: the file cannot be opened.
        TypeError: path is no path.
        ValueError: not such a table; one line that begins with the path and says what to do.

    Example:
        >>> import tempfile, pathlib
        >>> from regjax.data.files import read_table
        >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
        >>> _ = path.write_text("age;kind\\n1,5;a\\n2;b\\n")
        >>> table = read_table(path)
        >>> table.frame.dtypes.astype(str).to_list(), table.notes
        (['float64', 'category'], ("values are separated by ';'", 'numbers are read with a decimal comma'))
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"path must be a path, got {shown(path)}")
    text = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise ValueError(f"{text}: must be a file: download it first")
    ending = _ending(text)
    kind = OTHER_ENDINGS.get(ending, "a table of text")

    def read(file: Path) -> Read:
        options = {"separator": separator, "decimal": decimal, "header": header}
        if ending not in ENDINGS:
            raise Refusal(f"must be a table ({', '.join(ENDINGS)}), got the ending {shown(ending)}")
        if ending in OTHER_ENDINGS:
            with open(file, "rb") as opened:
                _check_content(opened.read(4096), file, ending)
            _check_options(options, ending)
            return _read_other(file, ending, header, gaps)
        content = file.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            try:
                content = gzip.decompress(content)
            except EOFError:
                raise Refusal("must be a whole gzip archive, got one that is cut") from None
        _check_content(content[:4096], file, ending)
        asked = {"separator": _separator(separator), "decimal": _decimal(decimal), "header": header}
        return read_text(content, ending=ending, gaps=gaps, **asked)

    return read_with(path, read, kind)


def _ending(text: str) -> str:
    """Returns a path's ending; that before .gz, and .txt where there is none."""
    ending = Path(text).suffix.lower()
    if ending != ".gz":
        return ending
    return Path(text[:-3]).suffix.lower() or ".txt"


def _separator(name: str | None) -> str | None:
    """Returns the character of a separator that the user named."""
    found = SEPARATORS.get(name, name) if isinstance(name, str) else name
    if found is not None and (
        not isinstance(found, str) or len(found) != 1 or found in '"\r\n' or ord(found) > 127
    ):
        raise Refusal(f"separator must be one character or one of {', '.join(SEPARATORS)}, got {shown(name)}")
    return found


def _decimal(mark: str | None) -> str | None:
    if mark not in (None, ".", ","):
        raise Refusal(f"decimal must be '.' or ',', got {shown(mark)}")
    return mark


def _check_options(options: dict[str, object], ending: str) -> None:
    """Raises Refusal for an option that a file of this kind does not take."""
    for name, value in options.items():
        if value is not None and not (name == "header" and ending == ".xlsx"):
            raise Refusal(f"{name} must only be given with a table of text, got {shown(value)}")


def _check_content(start: bytes, file: Path, ending: str) -> None:
    """Raises Refusal where a file's first bytes are of another kind than its ending."""
    wanted = OTHER_ENDINGS.get(ending, "a table of text")
    found = _kind(start, file)
    if found == wanted or (ending not in OTHER_ENDINGS and found is None):
        return
    if not start and ending in OTHER_ENDINGS:
        raise Refusal(f"must be {wanted}, got an empty file")
    right = next((e for e, kind in OTHER_ENDINGS.items() if kind == found), None)
    do = f"rename it to {right}" if right else "save the table as .csv"
    raise Refusal(f"must be {wanted}, got {found or 'text or a damaged file'}: {do}")


def _kind(start: bytes, file: Path) -> str | None:
    """Returns what a file is by its first bytes; None for text and what is not known."""
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            return kind
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(file)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for magic, kind in TEXT_MAGIC.items() if re.match(magic, text, re.I)), None)


def _kind_of_zip(file: Path) -> str:
    """Returns what a zip archive holds: Excel's and others' documents are such archives."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:  # it is cut or damaged: Excel's reader says so
        names = ["xl/workbook.xml"] if file.suffix.lower() == ".xlsx" else []
    if "xl/workbook.xml" in names:
        return OTHER_ENDINGS[".xlsx"]
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz)"
    office = "content.xml" in names or "xl/workbook.bin" in names or "word/document.xml" in names
    return "another Office document" if office else "a zip archive"


def _read_other(file: Path, ending: str, header: bool | None, gaps: Sequence[str]) -> Read:
    """Returns the table of a Parquet, Feather or Excel file."""
    try:
        if ending == ".xlsx":
            return _read_excel(file, header, gaps)
        frame = pd.read_parquet(file) if ending == ".parquet" else pd.read_feather(file)
    except ImportError:
        package, extra = EXTRAS[ending]
        raise Refusal(f"needs {package}, which is not installed: pip install 'regjax[{extra}]'") from None
    named = [name for name in frame.index.names if name is not None]
    if named:
        frame = frame.reset_index(level=named)
    frame = frame.reset_index(drop=True)
    frame.columns = pd.Index([str(name).strip() for name in frame.columns], dtype=object)
    return _checked(frame, None, True, [], gaps)


def _read_excel(file: Path, header: bool | None, gaps: Sequence[str]) -> Read:
    """Returns the table of a workbook's first sheet."""
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(file.read_bytes()), read_only=True, data_only=True)
    sheets, notes = book.worksheets, []
    if not sheets:
        raise Refusal("must hold a sheet with a table, got none")
    if len(sheets) > 1:
        notes.append(f"only the first of {len(sheets)} sheets is read, {shown(sheets[0].title)}")
    numbered = [(i, list(row)) for i, row in enumerate(sheets[0].iter_rows(values_only=True), 1)]
    numbered = [(i, row) for i, row in numbered if any(cell not in (None, "") for cell in row)]
    if not numbered:
        raise Refusal("must hold a table, got an empty sheet")
    width = max(max(j for j, cell in enumerate(row, 1) if cell not in (None, "")) for _, row in numbered)
    rows = [(row + [None] * width)[:width] for _, row in numbered]
    texts = [["" if cell is None else str(cell).strip() for cell in row] for row in rows[:200]]
    if header is None:
        header, plain = find_header(texts)
        notes += [] if plain else [f"row {numbered[0][0]} is taken for {'names' if header else 'values'}"]
    names = texts[0] if header else [f"x{i + 1}" for i in range(width)]
    starts = np.array([i for i, _ in numbered[header:]])
    if not len(starts):
        raise Refusal("must hold rows, got the names alone")
    columns = {i: _excel_column([row[i] for row in rows[header:]], gaps) for i in range(width)}
    frame, more = name_columns(pd.DataFrame(columns), names)
    plain = np.array_equal(starts, np.arange(len(starts)) + 1 + header)
    return _checked(frame, None if plain else starts, header, [*notes, *more], gaps)


def _excel_column(cells: list[object], gaps: Sequence[str]) -> pd.Series:
    """Returns a column of a sheet: numbers, dates or booleans where all cells are, else words."""
    filled = [None if isinstance(cell, str) and (cell in GAPS or cell in gaps) else cell for cell in cells]
    kinds = {type(cell) for cell in filled if cell is not None}
    if kinds <= {int, float}:
        # Numbers of a sheet have 15 digits: as floats they lose none.
        whole = kinds == {int} and None not in filled
        return pd.Series(filled, dtype="float64").astype("int64" if whole else "float64")
    if len(kinds) == 1 and str not in kinds:
        return pd.Series(filled).infer_objects()
    words = [None if cell in (None, "", *gaps) else str(cell) for cell in cells]
    return pd.Series(words, dtype="category")


def _checked(
    frame: pd.DataFrame, numbers: np.ndarray | None, header: bool, notes: list[str], gaps: Sequence[str]
) -> Read:
    """Returns a table whose columns have names of their own, with the user's words made gaps."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        places = " and ".join(str(i + 1) for i in np.flatnonzero(frame.columns == twice[0])[:2])
        raise Refusal(
            f"must have a name of its own for each column, got {shown(twice[0])} for columns {places}"
        )
    if not len(frame) or not len(frame.columns):
        raise Refusal(f"must hold rows, got {len(frame)} rows of {len(frame.columns)} columns")
    words = {*gaps, *(float(word) for word in gaps if NUMBER.fullmatch(word))}
    for name in frame.columns if words else ():
        column = frame[name]
        # A boolean equals 1, and a cell may be a list.
        plain = (isinstance(cell, str | Real) and not isinstance(cell, bool) for cell in column)
        hits = np.array([is_plain and cell in words for is_plain, cell in zip(plain, column, strict=True)])
        if hits.any():
            frame[name] = column.mask(hits)
    return Read(frame, numbers, header, tuple(notes))
