"""Tables of every kind of file: what is read of them, what is said, and what is refused."""

import csv
import gzip
import io
import pickle
import sys
import zipfile
from typing import Any

import fuzz
import fuzz_tables
import numpy as np
import openpyxl
import pandas as pd
import pytest
import scipy.io
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from regjax.data.dialect import GAPS, NUMBER
from regjax.data.files import ENDINGS, read_table

NAN = float("nan")


def written(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def columns(frame):
    """Returns a frame as name -> list of its values."""
    return {name: column.astype(object).tolist() for name, column in frame.items()}


def same(found, expected):
    """Whether two such dicts are equal, order and types of names included; a gap equals a gap."""
    if list(found) != list(expected):
        return False
    pairs = [
        (a, b) for name in expected for a, b in zip(found[name], expected[name], strict=True)
    ]  # strict: as many rows
    return all((pd.isna(a) and pd.isna(b)) or (a == b and type(a) is type(b)) for a, b in pairs)


# what it shows, name, content, options -> columns, header, words of the notes (each in one of them)
TABLES = [
    ("plain", "t.csv", "a,b\n1,x\n2,y\n", {}, {"a": [1, 2], "b": ["x", "y"]}, True, []),
    ("floats", "t.csv", "a,b\n1.5,1e3\n2,-.5\n", {}, {"a": [1.5, 2.0], "b": [1000.0, -0.5]}, True, []),
    ("no last line end", "t.csv", "a,b\n1,2", {}, {"a": [1], "b": [2]}, True, []),
    ("CRLF", "t.csv", "a,b\r\n1,x\r\n", {}, {"a": [1], "b": ["x"]}, True, []),
    ("CR", "t.csv", "a,b\r1,x\r", {}, {"a": [1], "b": ["x"]}, True, []),
    ("quotes", "t.csv", 'a,b\n"x, ""y""",1\nz,2\n', {}, {"a": ['x, "y"', "z"], "b": [1, 2]}, True, []),
    ("all quoted", "t.csv", '"a","b"\n"1","x"\n', {}, {"a": [1], "b": ["x"]}, True, []),
    ("semicolons", "t.csv", "a;b\n1.5;x\n", {}, {"a": [1.5], "b": ["x"]}, True, ["separated by ';'"]),
    ("bars", "t.csv", "a|b\n1|x\n", {}, {"a": [1], "b": ["x"]}, True, ["separated by '|'"]),
    ("tabs", "t.tsv", "a\tb c\n1\tx y\n", {}, {"a": [1], "b c": ["x y"]}, True, []),
    ("empty first cell of tabs", "t.tsv", "a\tb\n\t1\n2\t3\n", {}, {"a": [NAN, 2.0], "b": [1, 3]}, True, []),
    ("tabs in .csv", "t.csv", "a\tb\n1\tx\n", {}, {"a": [1], "b": ["x"]}, True, ["separated by tab"]),
    ("spaces", "t.txt", "  a  b\n 1   x\n2  y \n", {}, {"a": [1, 2], "b": ["x", "y"]}, True, ["white space"]),
    ("spaces in .csv", "t.csv", "a b\n1 2\n", {}, {"a": [1], "b": [2]}, True, ["white space"]),
    ("words for separators", "t.csv", "a;b\tc\n1;2\t3\n", {"separator": "tab"},
     {"a;b": ["1;2"], "c": [3]}, True, []),
    ("a comma in each field", "t.csv", "a;b\n1,x;2\n", {"separator": "semicolon"},
     {"a": ["1,x"], "b": [2]}, True, []),
    ("one column, meant", "t.csv", "a\n1\n2\n", {"separator": ","}, {"a": [1, 2]}, True, []),
    ("decimal commas", "t.csv", "a;b\n1,5;2\n3;4\n", {},
     {"a": [1.5, 3.0], "b": [2, 4]}, True, ["decimal comma"]),
    ("decimal commas, spaces", "t.dat", "1,5 2,5\n3,5 4,5\n", {}, {"x1": [1.5, 3.5], "x2": [2.5, 4.5]}, False,
     ["decimal comma", "taken for values", "white space"]),
    ("maybe thousands", "t.tsv", "a\tb\n1,234\t1\n", {},
     {"a": ["1,234"], "b": [1]}, True, ["name the decimal"]),
    ("comma named", "t.tsv", "a\tb\n1,234\t1\n", {"decimal": ","}, {"a": [1.234], "b": [1]}, True, []),
    ("point named", "t.tsv", "a\tb\n1,5\t1\n", {"decimal": "."},
     {"a": ["1,5"], "b": [1]}, True, ["name the decimal"]),
    ("comma and point", "t.tsv", "a\tb\n1,5\t1.5\n", {},
     {"a": [1.5], "b": ["1.5"]}, True, ["has decimal points"]),
    ("gaps of numbers", "t.csv", "a,b\n1,NA\n,2\n?,3\nNaN,.\n", {},
     {"a": [1.0, NAN, NAN, NAN], "b": [NAN, 2.0, 3.0, NAN]}, True, []),
    ("words stay", "t.csv", "a,b\nNone,x\nNA,null\n,?\nu,.\n", {},
     {"a": ["None", "NA", None, "u"], "b": ["x", "null", "?", "."]},
     True, ["taken for the columns' names"]),
    ("the user's gaps", "t.csv", "a,b\n-9,x\n1,none\n", {"gaps": ["-9", "none"]},
     {"a": [NAN, 1.0], "b": ["x", None]},
     True, []),
    ("booleans stay words", "t.csv", "a,b\nTrue,1\nFalse,2\n", {},
     {"a": ["True", "False"], "b": [1, 2]}, True, []),
    ("numbers beside a word", "t.csv", "a,b\n01,1\n1,2\nx,3\n", {},
     {"a": ["01", "1", "x"], "b": [1, 2, 3]}, True, []),
    ("infinite", "t.csv", "a,b\ninf,1\n-Infinity,2\n", {}, {"a": [np.inf, -np.inf], "b": [1, 2]}, True, []),
    ("whole numbers of 64 bits", "t.csv", f"a,b\n{2**62 + 1},1\n", {},
     {"a": [2**62 + 1], "b": [1]}, True, []),
    ("too large for 64 bits", "t.csv", f"a,b\n{10**20 + 1},1\n7,2\n", {},
     {"a": [str(10**20 + 1), "7"], "b": [1, 2]},
     True, ["would round"]),
    ("large beside a gap", "t.csv", f"a,b\n{2**53 + 1},1\n,2\n", {},
     {"a": [str(2**53 + 1), None], "b": [1, 2]},
     True, ["would round"]),
    ("large floats", "t.csv", "a,b\n1e300,1\n,2\n", {}, {"a": [1e300, NAN], "b": [1, 2]}, True, []),
    ("spaces after commas", "t.data", "39, State-gov, 7\n50, ?, 3\n", {},
     {"x1": [39, 50], "x2": ["State-gov", "?"], "x3": [7, 3]}, False, ["taken for values"]),
    ("iris.data", "t.data", "5.1,3.5,setosa\n4.9,3.0,setosa\n", {},
     {"x1": [5.1, 4.9], "x2": [3.5, 3.0], "x3": ["setosa", "setosa"]}, False, ["x1 … x3"]),
    ("ages and incomes", "t.csv", "25,Male,50000\n26,Female,60000\n", {},
     {"x1": [25, 26], "x2": ["Male", "Female"], "x3": [50000, 60000]}, False, ["taken for values"]),
    ("words alone, again below", "t.csv", "p,x\ne,x\np,b\n", {},
     {"x1": ["p", "e", "p"], "x2": ["x", "x", "b"]}, False,
     ["taken for values"]),
    ("words alone", "t.csv", "a,b\nu,v\nu,w\n", {}, {"a": ["u", "u"], "b": ["v", "w"]}, True,
     ["taken for the columns' names"]),
    ("a date first", "t.csv", "2020-01-01,u\n2020-01-02,v\n", {},
     {"x1": ["2020-01-01", "2020-01-02"], "x2": ["u", "v"]}, False, ["taken for values"]),
    ("pixels", "t.csv", "label,0,1\n5,0,0\n3,0,1\n", {},
     {"label": [5, 3], "0": [0, 0], "1": [0, 1]}, True, ["--no-header"]),
    ("pandas' numbers", "t.csv", "0,1,2\n.5,1,2\n", {},
     {"0": [0.5], "1": [1], "2": [2]}, True, ["--no-header"]),
    ("years", "t.csv", "land,1990,1991,1993,1994,1995,1996\nfr,1,2,3,4,5,6\n", {},
     {"land": ["fr"], "1990": [1], "1991": [2], "1993": [3], "1994": [4], "1995": [5], "1996": [6]},
     True, ["--no-header"]),
    ("a matrix of 0 and 1", "t.csv", "0,1\n1,0\n0,1\n", {},
     {"x1": [0, 1, 0], "x2": [1, 0, 1]}, False, ["--header"]),
    ("inf is a name", "t.csv", "year,inf\n1990,2\n", {}, {"year": [1990], "inf": [2]}, True, []),
    ("header named", "t.csv", "1,2\n3,4\n", {"header": True}, {"1": [3], "2": [4]}, True, []),
    ("no header named", "t.csv", "a,b\nc,d\n", {"header": False},
     {"x1": ["a", "c"], "x2": ["b", "d"]}, False, []),
    ("row numbers", "t.csv", ",a\n0,.5\n1,.7\n", {},
     {"column 1": [0, 1], "a": [0.5, 0.7]}, True, ["has no name"]),
    ("row names of R", "t.txt", "a b\nr1 1 2\nr2 3 4\n", {},
     {"column 1": ["r1", "r2"], "a": [1, 3], "b": [2, 4]}, True,
     ["has no name"]),
    ("a separator at each end", "t.csv", "a,b,\n1,2,\n3,4,\n", {},
     {"a": [1, 3], "b": [2, 4]}, True, ["left out"]),
    ("at each end but the header's", "t.csv", "a,b\n1,2,\n3,4,\n", {},
     {"a": [1, 3], "b": [2, 4]}, True, ["left out"]),
    ("at the header's end alone", "t.csv", "a,b,\n1,2\n3,4\n", {}, {"a": [1, 3], "b": [2, 4]}, True, []),
    ("spaces around names", "t.csv", ' a ,"b "\n1,2\n', {}, {"a": [1], "b": [2]}, True, []),
    ("BOM", "t.csv", "\ufeffa,b\né,1\n", {}, {"a": ["é"], "b": [1]}, True, []),
    ("UTF-16", "t.csv", "a,b\né,1\n".encode("utf-16"), {}, {"a": ["é"], "b": [1]}, True, []),
    ("cp1252", "t.csv", "a,b\né,1\n".encode("cp1252"), {}, {"a": ["é"], "b": [1]}, True, ["cp1252"]),
    ("gzip", "t.csv.gz", gzip.compress(b"a,b\n1,2\n"), {}, {"a": [1], "b": [2]}, True, []),
    ("gzip under .csv", "t.csv", gzip.compress(b"a,b\n1,2\n"), {}, {"a": [1], "b": [2]}, True, []),
    ("text under .gz", "t.csv.gz", "a,b\n1,2\n", {}, {"a": [1], "b": [2]}, True, []),
    ("upper case ending", "T.CSV", "a,b\n1,2\n", {}, {"a": [1], "b": [2]}, True, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "options", "expected", "header", "notes"),
    [row[1:] for row in TABLES],
    ids=[row[0] for row in TABLES],
)
def test_tables_of_text(tmp_path, name, content, options, expected, header, notes):
    found = read_table(written(tmp_path, content, name), **options)
    assert same(columns(found.frame), expected), columns(found.frame)
    assert found.header is header
    assert found.numbers is None
    for words in notes:
        assert any(words in note for note in found.notes), found.notes
    assert bool(found.notes) == bool(notes), found.notes
    assert all(note.isprintable() for note in found.notes)


def test_rows_keep_their_numbers_in_the_file(tmp_path):
    found = read_table(written(tmp_path, '\na,b\n"x\ny",2\n\n  \nz,4\n'))
    assert list(found.numbers) == [3, 7]
    assert columns(found.frame) == {"a": ["x\ny", "z"], "b": [2, 4]}
    # Lines beyond those that are looked at first.
    text = "a,b\n" + "1,2\n" * 500 + "\n" + "x,\n" * 500
    found = read_table(written(tmp_path, text))
    assert found.numbers[[499, 500, -1]].tolist() == [501, 503, 1002]
    assert found.frame.a.value_counts().to_dict() == {"1": 500, "x": 500}
    assert found.frame.b.isna().sum() == 500


def test_a_decimal_comma_that_comes_late_is_found(tmp_path):
    found = read_table(written(tmp_path, "a;b\n" + "1;2\n" * 500 + "1,5;2\n"))
    assert found.frame.a.iloc[-1] == 1.5
    assert any("decimal comma" in note for note in found.notes)


# what is wrong, name, content, options, words of the message
BAD = [
    ("short line", "t.csv", "a,b\n1,2\n\n3\n", {}, "line 4 must have 2 values, got 1 value: '3'"),
    ("long line", "t.csv", "a,b\n1,2\n3,4,5\n", {}, "line 3 must have 2 values, got 3 values: '3,4,5'"),
    ("short at the end", "t.csv", "a,b\n" + "1,2\n" * 999 + "1\n", {}, "line 1001 must have 2 values, got 1"),
    ("other separator", "t.csv", "a,b\n1,2\n3;4\n",
     {}, "line 3 must have 2 values, got 1 value: it uses ';' where"),
    ("own separator", "t.csv", "a:b\n1:2\n3\n",
     {"separator": ":"}, "line 3 must have 2 values, got 1 value: '3'"),
    ("title above", "t.csv", "Sales\na,b\n1,2\n3,4\n",
     {}, "line 1 must have 2 values, as most lines, got 1 value: 'Sales'"),
    ("open quote", "t.csv", 'a,b\n"x,2\nz,4\n', {}, "line 2 must close its quotes"),
    ("open quote late", "t.csv", "a,b\n" + "x,1\n" * 300 + '"y,2\nz,3\n',
     {}, "line 302 must close its quotes"),
    ("endless value", "t.csv", 'a,b\n"' + "x\n" * 99_999, {}, "must"),
    ("NUL", "t.csv", "a,b\n1,2\n1,\0\n", {}, "must be text, got a NUL byte in line 3"),
    ("UTF-16 without mark", "t.csv", "a,b\n1,2\n".encode("utf-16-le"),
     {}, "got a NUL byte in line 1: save it as"),
    ("no encoding", "t.csv", b"a,b\n\x81,1\n", {}, "must be text in UTF-8, got the byte 0x81 in line 2"),
    ("cut UTF-16", "t.csv", "a,b\n1,2\n".encode("utf-16")[:-1], {}, "got damaged UTF-16"),
    ("empty", "t.csv", "", {}, "must hold a table, got an empty file"),
    ("blank", "t.csv", "\n \n", {}, "must hold a table, got an empty file"),
    ("names alone", "t.csv", "a,b\n", {}, "must hold rows, got one line alone, with the names a, b"),
    ("empty columns", "t.csv", ",\n,\n", {}, "must hold values, got empty columns alone"),
    ("one column", "t.csv", "a\n1\n2\n",
     {}, "must have at least two columns, got one by tab, ';', '|', ',' and white"),
    ("two of one name", "t.csv", "a,b, a\n1,2,3\n",
     {}, "a name of its own for each column, got 'a' for columns 1 and 3"),
    ("a workbook", "t.csv", "xlsx", {}, "got an Excel workbook (.xlsx): rename it to .xlsx"),
    ("a zip archive", "t.csv", "zip", {}, "must be a table of text, got a zip archive"),
    ("an .npz", "t.txt", "npz", {}, "got a NumPy archive (.npz)"),
    ("a .mat", "t.csv", "mat", {}, "got a MATLAB file (.mat)"),
    ("a web page", "t.csv", "\n<!DOCTYPE html>\n<p>", {}, "got a web page (HTML)"),
    ("JSON", "t.csv", '[{"a": 1}]', {}, "got JSON"),
    ("ARFF", "t.data", "% it\n@RELATION iris\n", {}, "got an ARFF file"),
    ("PDF", "t.csv", "%PDF-1.7", {}, "got a PDF document"),
    ("a pickle", "t.csv", pickle.dumps({"a": 1}), {}, "got a pickle"),
    ("cut gzip", "t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99)[:-12],
     {}, "must be a whole gzip archive"),
    ("damaged gzip", "t.csv.gz", b"\x1f\x8b" + b"1" * 20,
     {}, "must be a table of text, and could not be read as one"),
    ("text as a workbook", "t.xlsx", "a,b\n1,2\n",
     {}, "must be an Excel workbook (.xlsx), got text or a damaged file"),
    ("empty workbook", "t.xlsx", "", {}, "must be an Excel workbook (.xlsx), got an empty file"),
    ("cut workbook", "t.xlsx", b"PK\x03\x04 and no more", {}, "could not be read as one"),
    ("text as Parquet", "t.parquet", "a,b\n1,2\n", {}, "must be a Parquet file, got text"),
    ("cut Parquet", "t.parquet", b"PAR1 and no more",
     {}, "must be a Parquet file, and could not be read as one"),
    ("cut Feather", "t.feather", b"ARROW1 and no more",
     {}, "must be a Feather file, and could not be read as one"),
    ("unknown ending", "t.doc", "a,b\n1,2\n", {}, "must be a table (.csv, "),
    ("Parquet, separator", "t.parquet", b"PAR1",
     {"separator": ";"}, "separator must only be given with a table of text"),
    ("separator of two", "t.csv", "a,b\n1,2\n",
     {"separator": "tabs"}, "separator must be one character or one of tab"),
    ("decimal", "t.csv", "a,b\n1,2\n", {"decimal": "'"}, "decimal must be '.' or ',', got \"'\""),
]  # fmt: skip


def archive(kind):
    """Returns the bytes of an archive that is no table of text."""
    packed = io.BytesIO()
    if kind == "xlsx":
        openpyxl.Workbook().save(packed)
    elif kind == "npz":
        np.savez(packed, X=[1.0])
    elif kind == "mat":
        scipy.io.savemat(packed, {"X": 1.0})
    else:
        with zipfile.ZipFile(packed, "w") as opened:
            opened.writestr("a.csv", "a,b\n1,2\n")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "options", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_bad_input(tmp_path, name, content, options, words):
    path = written(tmp_path, archive(content) if content in ("xlsx", "zip", "npz", "mat") else content, name)
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        read_table(path, **options)
    said = str(refused.value)
    assert said.startswith(f"{path}: ")
    assert words in said
    assert said.isprintable()
    assert len(said) < 600


def test_what_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"^https://x\.org/a\.csv: must be a file: download it first"):
        read_table("https://x.org/a.csv")
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        read_table(tmp_path / "d.csv")
    with pytest.raises(TypeError, match="path must be a path, got 3"):
        read_table(3)


MIXED = pd.DataFrame(
    {
        "float": [1.5, NAN, 3.0],
        "text": ["x", "NA", None],
        "nullable": pd.array([1, None, 3], "Int64"),
        "bool": [True, False, True],
        "date": pd.to_datetime(["2020-01-01", "2020-01-02", None]),
        "category": pd.Categorical(["u", "v", "u"]),
    }
)


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
def test_columns_of_arrow_keep_their_types(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    write = (lambda f: f.to_parquet(path)) if ending == ".parquet" else (lambda f: f.to_feather(path))
    write(MIXED)
    found = read_table(path)
    assert found.frame.columns.tolist() == MIXED.columns.tolist()
    pd.testing.assert_frame_equal(found.frame, MIXED, check_column_type=False)
    assert (found.numbers, found.header, found.notes) == (None, True, ())
    marked = read_table(path, gaps=["x", "u", "3"]).frame
    assert marked.isna().sum().to_dict() == {
        "float": 2, "text": 2, "nullable": 2, "bool": 0, "date": 1, "category": 2,
    }  # fmt: skip
    if ending == ".parquet":
        write(MIXED.set_index("text"))  # an index with a name was a column
        assert read_table(path).frame.columns.tolist()[:2] == ["text", "float"]
        write(MIXED[MIXED.bool])  # one without was not
        assert read_table(path).frame.columns.tolist() == MIXED.columns.tolist()
        write(pd.DataFrame(np.ones((2, 2))))
        assert read_table(path).frame.columns.tolist() == ["0", "1"]
        write(MIXED[:0])
        with pytest.raises(ValueError, match="must hold rows, got 0 rows of 6 columns"):
            read_table(path)


def test_a_workbook(tmp_path):
    path = tmp_path / "t.xlsx"
    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in [
        ["a", "b", None, "c"],
        [1, "x", None, True],
        [None] * 4,
        ["?", 2, None, False],
        [2.5, None, None, True],
    ]:
        sheet.append(row)
    book.create_sheet("more")
    book.save(path)
    found = read_table(path)
    assert same(
        columns(found.frame), {"a": [1.0, NAN, 2.5], "b": ["x", "2", None], "c": [True, False, True]}
    ), columns(found.frame)
    assert list(found.numbers) == [2, 4, 5]
    assert [note.split(",")[0] for note in found.notes] == [
        "only the first of 2 sheets is read", "column 3 has neither a name nor values and is left out",
    ]  # fmt: skip
    assert found.frame.c.dtype == bool
    headless = read_table(path, header=False)
    assert headless.frame.columns.tolist() == ["x1", "x2", "x3", "x4"]
    assert list(headless.numbers) == [1, 2, 4, 5]
    MIXED.to_excel(path, index=False)
    assert read_table(path).frame.dtypes.astype(str).str.split("[").str[0].to_dict() == {
        "float": "float64", "text": "category", "nullable": "float64", "bool": "bool",
        "date": "datetime64", "category": "category",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "module", "extra"),
    [(".parquet", "pyarrow", "parquet"), (".feather", "pyarrow", "parquet"), (".xlsx", "openpyxl", "excel")],
)
def test_an_extra_that_is_missing_is_named(tmp_path, monkeypatch, ending, module, extra):
    path = tmp_path / f"t{ending}"
    {".parquet": MIXED.to_parquet, ".feather": MIXED.to_feather, ".xlsx": MIXED.to_excel}[ending](path)
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"needs {module}, .*: pip install 'regjax\[{extra}\]'"):
        read_table(path)


# ---- any table that is written is read as it was

WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], include_characters="\n é€"),
    min_size=1,
    max_size=6,
).filter(
    # A word that looks like a number or a gap is one; spaces after a separator are none of it.
    lambda word: word == word.strip() and word not in GAPS and not NUMBER.fullmatch(word.replace(",", "."))
)
KINDS = {
    "float": st.floats(allow_nan=False) | st.just(NAN),
    "int": st.integers(-(2**63), 2**63 - 1),
    "text": WORDS | st.none(),
}


@st.composite
def frames(draw):
    """Frames of numbers and text, at least one column of each row's cells filled."""
    rows = draw(st.integers(1, 8))
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=2, max_size=5))
    found = {}
    for i, kind in enumerate(kinds):
        values = draw(st.lists(KINDS[kind], min_size=rows, max_size=rows))
        # One word at least: a column of gaps alone is one of numbers.
        found[f"{'naïve €' * (i == 1)}{kind} {i}"] = ["word", *values[1:]] if kind == "text" else values
    return pd.DataFrame(found)


@pytest.mark.nightly
@settings(max_examples=150)
@given(
    frame=frames(),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    zipped=st.booleans(),
    named=st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, frame, separator, quoting, encoding, ends, zipped, named):
    # A line end within a word is quoted where it is one of the table's own.
    assume(ends != "\r" or quoting == csv.QUOTE_ALL or "\n" not in "".join(map(str, frame.to_numpy().flat)))
    text = frame.to_csv(None, index=False, sep=separator, quoting=quoting, lineterminator=ends)
    content = text.encode(encoding)
    path = tmp_path_factory.mktemp("written") / f"t.csv{'.gz' * zipped}"
    path.write_bytes(gzip.compress(content) if zipped else content)
    options = {"separator": separator, "decimal": ".", "header": True} if named else {"header": True}
    found = read_table(path, **options).frame
    assert found.columns.tolist() == frame.columns.tolist()
    for name, column in frame.items():
        if name.split()[-2].endswith("text"):
            cells = zip(found[name].astype(object), column.astype(object), strict=True)
            assert all(a == b or (pd.isna(a) and pd.isna(b)) for a, b in cells)
        else:
            assert found[name].dtype.kind in "if"
            np.testing.assert_array_equal(found[name].to_numpy(column.dtype), column.to_numpy())


def judged(inputs):
    """Asserts that fuzzed tables are each read or refused in a sentence, and that many are read."""
    rows = fuzz.run(inputs, 0, fuzz_tables.KINDS)
    assert {row["kind"]: row["faults"] for row in rows if row["fault"]} == {}
    assert sum(row["inputs"] for row in rows) >= inputs
    for row in rows:
        assert sum(row[name] for name in fuzz.OUTCOMES) == row["inputs"]
        rarely = row["kind"] in ("text, any bytes", "wrong ending")
        assert rarely or row["success"] > 0.1 * row["inputs"], row


@pytest.mark.nightly
def test_fuzzed_tables_are_read_or_refused_in_a_sentence():
    judged(400)


@pytest.mark.nightly
def test_ten_thousand_fuzzed_tables_are_read_or_refused_in_a_sentence():
    judged(10_000)


def test_endings_are_those_that_are_read():
    assert {name.lower()[name.rindex(".") :] for _, name, *_ in TABLES} <= set(ENDINGS)
