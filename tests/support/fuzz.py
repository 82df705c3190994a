"""Inputs of every kind for the loaders and the TOML: each must succeed, or be refused in one sentence.

    PYTHONPATH=.:tests/support python -m fuzz [--inputs 10000] [--seed 0]

prints a table and exits with 1 on a fault: an error that the docstring does not promise, a message that
is no sentence of ours, a warning, or a result that is not what it should be. Nothing is trained.
"""

from __future__ import annotations

import argparse
import builtins
import collections
import contextlib
import faulthandler
import io
import json
import math
import re
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import jax
import numpy as np
import scipy.io
import scipy.sparse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import regjax
from regjax.cli import spec
from regjax.data import loaders
from regjax.data.table import Reading
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design

KEYS = tuple(dict.fromkeys(name for names in spec.SECTIONS.values() for name in names))
# What a message may speak of first: a key, an argument, a question to the results, or a file.
OTHERS = r"X|y|axis|config|grid|path|layer_sizes|epochs × batches|one_se|best|compare"
SUBJECT = re.compile(rf"(?:{'|'.join(KEYS)}|{OTHERS})\b|\S*[./]\S*: ")
# Words of Python, NumPy and pandas that say nothing to a user.
INTERNAL = re.compile(
    r"unhashable|NoneType|object is not|object has no|object does not|Traceback|ambiguous|inhomogeneous|"
    r"Exceeds the limit|embedded null|positional|not supported between|not callable|recursion|<class"
)
LONGEST = 600  # characters of a message without the path

# ---- what may come of one input


def judge(call: Callable[[], Any], promise: Any, path: Path | None = None) -> tuple[str, Any]:
    """Returns ("success", value) or (an error's type, None); what is not documented is an AssertionError."""
    promised = re.findall(r"^\s+(\w+Error): ", promise.__doc__.partition("Raises:")[2], re.M)
    promised = tuple(getattr(builtins, name) for name in promised if name != "MemoryError")
    value = failure = None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            value = call()
        except Exception as error:
            failure = error
    assert not warned, f"warned: {warned[0].message!r}"
    if failure is None:
        return "success", value
    if not isinstance(failure, promised) or isinstance(failure, UnicodeError):
        raise AssertionError(f"{type(failure).__name__} is not documented: {failure!s:.300}") from failure
    if isinstance(failure, OSError):
        assert failure.filename, f"an OSError names no file: {failure}"
        return "OSError", None
    text = str(failure)
    said = text.removeprefix(f"{path}: ")
    named = said != text or SUBJECT.match(text)
    a_sentence = re.search(r"\b(must|belongs)\b", said) and len(said) <= LONGEST and text.isprintable()
    if not named or not a_sentence or INTERNAL.search(said):
        raise AssertionError(f"no sentence of ours: {type(failure).__name__}: {text[:900]!r}") from failure
    return type(failure).__name__, None


def check_csv(content: bytes, folder: Path, target: str | None = None, task: Any = "auto") -> str:
    """Returns what load_table makes of a file: "success", or the type of a documented error."""
    return _check_file(folder / "fuzz.csv", content, regjax.load_table, {"target": target, "task": task})


def check_npz(content: bytes, folder: Path, task: Any = "auto") -> str:
    """As `check_csv`, of load_npz."""
    return _check_file(folder / "fuzz.npz", content, regjax.load_npz, {"task": task})


def check_mat(content: bytes, folder: Path) -> str:
    """As `check_csv`, of load_mat."""
    return _check_file(folder / "fuzz.mat", content, regjax.load_mat, {})


def _check_file(path: Path, content: bytes, loader: Callable[..., Any], options: dict[str, Any]) -> str:
    path.write_bytes(content)
    outcome, parts = judge(lambda: loader(path, **options), loader, path)
    again, found = judge(lambda: loaders.load_samples(path, Reading(**options)), loaders.load_samples, path)
    assert again == outcome, f"{loader.__name__} gives {outcome}, load_samples {again}"
    if outcome != "success":
        return outcome
    # Of a table the samples come whole; its folds make their inputs of coded columns.
    parts = parts if loader is not regjax.load_table else (parts, None)
    for part, same in zip(parts, found[:2], strict=True):
        if part is not None:
            _check_rows(part, parts[0], found.classes)
            np.testing.assert_array_equal(part.y, same.y)
    if found.schema is not None:
        assert len(parts[0].x) == found.schema.width
    options = {"folds": 2, "standardize": True, **options}
    judge(lambda: make_design(path, {"hidden": 3}, **options).inputs(0), regjax.sweep, path)
    return outcome


def _check_rows(part: Any, train: Any, classes: np.ndarray | None) -> None:
    """What every loader promises of the rows it returns."""
    n = part.x.shape[1]
    assert n >= 1
    assert len(part.x) == len(train.x) >= 1
    assert part.y.shape == (len(train.y), n)
    assert part.x.dtype in (np.float32, np.float64)
    assert part.y.dtype in (np.int32, np.float32, np.float64)
    assert part.y.dtype.kind == train.y.dtype.kind
    assert np.isfinite(part.x).all()
    assert np.isfinite(part.y).all()
    assert part.weights.tolist() == [1.0] * n
    if classes is not None:
        assert 0 <= part.y.min() <= part.y.max() < len(classes)


def check_toml(content: bytes, folder: Path) -> str:
    """As `check_csv`, of a TOML file: read, resolved, printed and, where that is cheap, planned."""
    path = folder / "fuzz.toml"
    path.write_bytes(content)
    judge(lambda: spec.read(str(path)), spec.read, path)
    return _check_spec(lambda: spec.resolve(str(path), {}), folder, path)


def check_flag(name: str, text: str) -> str:
    """As `check_toml`, of one flag's text."""
    with tempfile.TemporaryDirectory() as folder:
        return _check_spec(lambda: spec.resolve(None, {name: text}), Path(folder), None)


def _check_spec(resolve: Callable[[], spec.Spec], folder: Path, path: Path | None) -> str:
    outcome, found = judge(resolve, spec.resolve, path)
    if outcome != "success":
        return outcome
    printed = folder / "printed.toml"
    printed.write_text(spec.as_toml(found), encoding="utf-8", newline="")
    assert spec.resolve(str(printed), {}).grid == found.grid
    if math.prod(map(len, found.grid.values())) > 200:
        return outcome
    outcome, design = judge(lambda: make_design(**found.arguments()), regjax.sweep, path)
    if outcome != "success":
        return outcome
    assert len(design.configs) == len(design.configurations) > 0
    options = {name: found.sweep.get(name) for name in ("workers", "keep")}
    outcome, _ = judge(lambda: make_plan(design, found.questions, **options), regjax.sweep, path)
    return outcome


# ---- bytes, and valid files with some of them changed


def words(text: str) -> st.SearchStrategy[str]:
    """One of several words, parted by "|"."""
    return st.sampled_from(text.split("|"))


def wrong(draw: st.DrawFn, one_in: int) -> bool:
    """Whether to go wrong here; hypothesis shrinks towards what is right."""
    return draw(st.integers(1, one_in)) == one_in


BYTES = st.binary(max_size=200) | st.binary(min_size=200, max_size=1500)
PIECES = st.binary(min_size=1, max_size=6) | st.sampled_from(
    [b"0", b"1", b".", b",", b'"', b"\n", b"e9", b"[", b"="]
)
PLACES = st.floats(0, 1, exclude_max=True)
CHANGE = st.tuples(words("flip|flip|double|insert|insert|drop|cut"), PLACES, st.integers(1, 20), PIECES)
CHANGES = st.lists(CHANGE, min_size=1, max_size=3)


def changed(content: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    """Returns a file with bytes flipped, cut off, doubled, put in or left out."""
    for how, place, length, extra in changes:
        at = int(place * len(content))
        before, piece, after = content[:at], content[at : at + length], content[at + length :]
        flipped = extra + content[at + len(extra) :]
        rest = {"flip": flipped, "cut": b"", "double": piece * 2 + after, "insert": extra + piece + after}
        content = before + rest.get(how, after)
    return content


def mutated(files: Callable[..., st.SearchStrategy[bytes]]) -> st.SearchStrategy[bytes]:
    """Valid files, changed."""
    return st.builds(changed, files(odd=False), CHANGES)


# ---- tables of comma-separated values

HEADERS = words('a|b|c|y|é|名|| |a b|"a,b"|"two\nlines"|1|nan') | st.just("y" * 900)
NUMBERS = words("1|2.5|-3|0|1e3|0.125")
ODD_CELLS = st.text(max_size=6) | words(
    '|nan|inf|-inf|1e400|1e300|1e-400|red|"1"|"a ""b"""|"|é|NA|True|1_000|0x1F|1+2j|2020-01-01|\0|1;2|'
    "18446744073709551615|-9223372036854775808|999999999999999999999999999999"
)
LABELS = words(
    "0,1|1,2,3|red,blue|0.5,1.5|1|True,False|-1,1|0,2147483646|1.0,2e9|0,9999999999999999|inf,1|1e300,0"
)


@st.composite
def csv_tables(draw: st.DrawFn, odd: bool = True) -> bytes:
    """Tables with a header line; odd ones have ragged rows, gaps, words, other names and encodings."""
    odd = odd and draw(st.booleans())
    names = draw(st.lists(HEADERS, min_size=1, max_size=4, unique=draw(st.booleans()))) if odd else [*"aby"]
    labels, rows = draw(LABELS).split(","), []
    for _ in range(draw(st.integers(0 if odd else 4, 9))):
        row = [draw(ODD_CELLS if odd and wrong(draw, 10) else NUMBERS) for _ in names[1:]]
        row.append(draw(st.sampled_from(labels)))
        rows.append(row[1:] if odd and wrong(draw, 20) else row)
    if odd and wrong(draw, 8):
        rows = [[*row, "1"] for row in rows]
    newline = draw(words("\n|\n|\r\n|\r|\n\n"))
    text = newline.join(",".join(row) for row in [names, *rows]) + newline
    return text.encode(draw(words("utf-8|utf-8-sig|utf-16|latin-1")) if odd else "utf-8", "replace")


# ---- arrays in .npz and .mat files

DTYPES = words("f8|f8|f4|f2|g|i8|i4|i1|u8|u1|?|c16|U3|S2|M8[s]|m8[s]|O|V4|i4,f8")
MAT_DTYPES = words("f8|f8|f8|f4|i8|i4|i1|u8|u1|?|c16|U3|O")
EXTREMES = st.sampled_from(
    [math.nan, math.inf, 1e308, 1e40, 0.5, -1.0, 2**31 - 2, 2**53, np.longdouble("1e4000")]
)
SHAPES = st.sampled_from([(), (0,), (3,), (0, 2), (2, 0), (4, 2), (1, 4), (4, 1, 1)])


def array(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns small whole numbers as a dtype, one of them perhaps far out."""
    numbers = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 3, shape)
    if np.dtype(dtype).kind == "V":
        return np.zeros(shape, dtype)
    found = numbers.astype(dtype)
    if found.size and found.dtype.kind in "fc" and wrong(draw, 4):
        with np.errstate(all="ignore"):
            found.flat[draw(st.integers(0, found.size - 1))] = draw(EXTREMES)
    if found.size and found.dtype.kind in "iu" and wrong(draw, 6):
        found.flat[0] = draw(st.sampled_from([np.iinfo(dtype).min, np.iinfo(dtype).max]))
    return found


def arrays(draw: st.DrawFn, odd: bool, dtypes: st.SearchStrategy[str], with_test: bool) -> dict[str, Any]:
    """Returns X, y, Xval, yval as a file should hold them; odd ones lack some, or differ in rank or kind."""
    n, m, columns = draw(st.integers(4, 9)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    shapes = {"X": (n, columns), "y": (n, 1)} | ({"Xval": (m, columns), "yval": (m, 1)} if with_test else {})
    kinds = {"X": draw(words("f8|f4|i4")), "y": draw(words("i4|f8|u1|U3"))}
    found: dict[str, Any] = {name: array(draw, kinds[name[0]], shape) for name, shape in shapes.items()}
    if odd:
        name = draw(st.sampled_from(list(shapes)))
        shape = draw(SHAPES) if wrong(draw, 2) else shapes[name]
        found[name] = array(draw, draw(dtypes), shape)
        if wrong(draw, 10):
            del found[draw(st.sampled_from(list(found)))]
    return found


LYING_SHAPES = words(
    "9999999999999,|10**9,|9999999999999999999,|-1,|2, 3|[[[[[[[[[[|0, 9999999999999|3000000000,"
)


@st.composite
def npz_archives(draw: st.DrawFn, odd: bool = True) -> bytes:
    """Archives of arrays, some with damaged members or lying headers whose checksums are right."""
    odd = odd and draw(st.booleans())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, found in arrays(draw, odd, DTYPES, draw(st.booleans())).items():
            np.save(member := io.BytesIO(), found)
            content = member.getvalue()
            if odd and wrong(draw, 10):
                content = changed(content, draw(CHANGES))
            if odd and wrong(draw, 10):
                shape = draw(LYING_SHAPES)
                at = content.find(b"'shape': (") + 10
                content = content[:at] + shape.encode() + b"), }" + content[at + len(shape) + 4 :]
            info = zipfile.ZipInfo(name if odd and wrong(draw, 20) else f"{name}.npy")  # dated 1980
            archive.writestr(info, content, draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    return packed.getvalue()


@st.composite
def mat_files(draw: st.DrawFn, odd: bool = True) -> bytes:
    """MATLAB files of versions 5 and 4; odd ones hold cells, structures, text, sparse and complex arrays."""
    odd = odd and draw(st.booleans())
    found = arrays(draw, odd, MAT_DTYPES, True)
    version, packed = draw(words("5|5|5|4")), io.BytesIO()
    if odd and version == "5" and wrong(draw, 3):
        cells = np.array([["red"], ["blue"], ["red"], ["blue"]], object)
        others = [cells, {"a": 1, "b": [1, 2]}, "text", scipy.sparse.eye(4).tocsc(), ["a", "bb"]]
        found[draw(words("X|y|Xval|yval|Z"))] = draw(st.sampled_from(others))
    with contextlib.suppress(Exception):  # version 4 cannot write everything
        scipy.io.savemat(packed, found, format=version, do_compression=version == "5" and wrong(draw, 2))
    return re.sub(rb"Created on: .{24}", b"Created on: a day".ljust(36), packed.getvalue(), count=1)


# ---- TOML and flags

# Values as TOML writes them, parted by "|"; a flag has them without quotes.
GOOD = {
    "data": '"two_regions"|"two_regions"|"iris"|"diabetes"|"none.csv"|"irs"|"."|""|"no.txt"|"/dev/null"',
    "target": '"a"',
    "columns": '{a = "category"}|{a = "numbers"}|{b = "drop"}|{}',
    "groups": '"a"|"y"|""',
    "time": '"a"|"y"|""',
    "weights": '"a"|"y"|""',
    "gaps": '[]|["-9"]|[""]|[3]|"x"',
    "separator": '","|"tab"|";"|""|",,"',
    "decimal": '"."|","|""',
    "header": "true|false",
    "task": '"auto"|"classification"|"regression"',
    "test": '"none"|0.25|0.5|0.001|0.999|1e-300|"test.csv"|"two_regions"|""',
    "standardize": "true|false",
    "standardize_target": "false|true",
    "hidden": '[]|[3]|[4, 2]|3|"4/2"|"none"|[[3], [4, 2]]|"3,4/2"|[2147483647]',
    "activation": '"relu"|"tanh"|["relu", "gelu"]',
    "loss": '"auto"|"squared_error"|"softmax_cross_entropy"|"sigmoid_cross_entropy"',
    "optimizer": '"sgd"|"adam"|["adamw", "momentum"]',
    "num_steps": "1|100|2147483647",
    "batch_size": '"full"|"none"|16|1|500|[8, 16]',
    "eval_every": "1|50",
    "init": '"he"|"glorot"|["he", "tutorial"]',
    "dtype": '"float32"|"float64"',
    "precision": '"high"|"default"|"bfloat16"',
    "learning_rate": '0.1|[0.1, 0.3]|"geomspace(1e-3,1,3)"',
    "l2": '0|"none"|[0, 0.1, [0.1, 0.2, 0.3]]|"none,geomspace(0.1,10,3)"|1e60|1e-300|[[1, [2]]]|[[]]',
    "l1": "0|[0.0, 1.0]",
    "keep_prob": '1|[1, 0.9]|[[0.9, 0.8]]|"1,0.9/0.8"|"linspace(0.5,1,3)"',
    "dropout": "0|[0, 0.5]|[[0.1, 0.2]]|[[0.1, [0.2]]]",
    "seeds": "1|4|[0, 7]|2000000000|4294967296|[4294967295]",
    "folds": '2|5|"none"|200|400|[[[0, 1], [2, 3]]]|[[[0], [[1], 2]]]',
    "repeats": "1|2|0|2000000000|1.5",
    "validation": '0.2|0.5|"none"|0.999|1e-9',
    "epochs": "1|3|2147483647",
    "pairing": '"paired"|"independent"',
    "workers": "1|2147483647",
    "keep": '"all"|"best"|"none"',
    "metric": '"val_loss"|"val_accuracy"|"val_r2"|"test_loss"',
    "rule": '"mean"|"one_se"',
    "allow_diverged": "true",
    "baseline": '"l2=0,keep-prob=1"|{l2 = 0}|{}|"l2=geomspace(1,2,3)"|"l2=0,l2=1"|{l2 = [1, [2]]}|"lr=1"',
    "over": '"learning_rate"|["l2"]|"nothing"|[]',
    "store": '"none"|"s.sqlite"',
}
RATES = "0.5|[0, 0.5, 0.9]|1|1e-8|0.999999999|2"
ENDS = words("0|1|0.5|1e-4|3|7|-1|2.5|nan|inf|1e308|-1e308|1e-320|1e13|100001|x|")
CALLS = st.builds(
    lambda name, ends: f"{name}({','.join(ends)})",
    words("geomspace|linspace|geomspace|linspace|logspace|gomspace|"),
    st.lists(ENDS, min_size=3, max_size=3) | st.lists(ENDS, max_size=4),
)
TEXTS = st.text(max_size=12) | CALLS | st.lists(CALLS | words("0|1|none|1/2|a|/|,")).map(",".join)
HUGE = st.sampled_from(["0x" + "f" * 5000, "9" * 400, "9" * 5000, "-" + "9" * 30, str(2**64 - 1)])
DEEP = st.sampled_from(
    [*("[" * n + "]" * n for n in (5, 60, 400, 2000)), f"{{{'.'.join('a' * 3000)} = 1}}", f"[{'1,' * 400}]"]
)
OTHER = words(
    "1979-05-27|07:32:00|1979-05-27T07:32:00Z|true|1e400|-0.0|1e-320|[]|[[]]|{}|{a = 1}|''|'''\n'''"
)
QUOTED = TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)) | st.just(f'"{"x" * 3000}"')
NUMBER = st.integers().map(str) | st.floats().map(repr)
ODD = st.one_of(NUMBER, QUOTED, HUGE, DEEP, OTHER, words('"\\n"|"a\\tb.csv"|"x\\u0000.csv"|"\\u0000"'))
NESTED = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: f"[{', '.join(found)}]")
        | inner.map(lambda value: f"{{l2 = {value}}}")
    ),
    max_leaves=6,
)
LINES = words(
    'l2 = 1|[[grid]]|grid = 3|[gird]|"" = 1|lambda = 1|l2 =|[grid.l2.b]|["a\\nb"]|"\\u0007" = 2|[data]'
)
LINES |= words("[grid.l2." + "a." * 3000 + "a]|[sweep.baseline." + "a." * 900 + "a]|" + "x" * 3000 + " = 1")


@st.composite
def toml_documents(draw: st.DrawFn, odd: bool = True) -> bytes:
    """Documents of the true sections and keys; odd ones have values of every kind and lines out of place."""
    odd = odd and wrong(draw, 2)
    lines: list[str] = []
    for section, names in spec.SECTIONS.items():
        if odd and wrong(draw, 6):
            continue
        lines.append(f"[{section}]")
        for name in draw(st.lists(st.sampled_from(names), max_size=2, unique=True)):
            good = GOOD.get(name, RATES)
            value = draw(NESTED if odd and wrong(draw, 4) else words(good if odd else good.partition("|")[0]))
            lines.append(f"{name} = {value}")
    if odd and wrong(draw, 6):
        lines.insert(draw(st.sampled_from([0, len(lines)])), draw(LINES))
    return "\n".join(lines).encode("utf-8", "replace")


def flag_texts(name: str) -> st.SearchStrategy[tuple[str, str]]:
    """A flag's name and what may stand after it."""
    good = words(GOOD.get(name, RATES)).map(lambda text: text.strip('"'))
    return st.tuples(st.just(name), TEXTS | good | HUGE | words("1111x|-1|nan|inf|1e9|/|a=b,c=|\0"))


# ---- all of it

TASKS, TARGETS = words("auto|auto|classification|regression"), st.none() | st.none() | words("y|a|é||no such")
FLAGS = st.sampled_from(
    [name for name in KEYS if name not in ("standardize", "standardize_target", "allow_diverged", "header")]
)
Kind = tuple[float, st.SearchStrategy[Any], Callable[..., str]]
Kinds = dict[str, Kind]
# kind -> (its part of all inputs, what is drawn, the check of it)
KINDS: Kinds = {
    "csv, any bytes": (0.04, st.tuples(BYTES, TARGETS, TASKS), check_csv),
    "csv, changed": (0.08, st.tuples(mutated(csv_tables), TARGETS, TASKS), check_csv),
    "csv, built": (0.16, st.tuples(csv_tables(), TARGETS, TASKS), check_csv),
    "npz, any bytes": (0.03, st.tuples(BYTES | BYTES.map(lambda b: b"PK\x03\x04" + b), TASKS), check_npz),
    "npz, changed": (0.08, st.tuples(mutated(npz_archives), TASKS), check_npz),
    "npz, built": (0.16, st.tuples(npz_archives(), TASKS), check_npz),
    "mat, any bytes": (0.03, st.tuples(BYTES), check_mat),
    "mat, changed": (0.08, st.tuples(mutated(mat_files)), check_mat),
    "mat, built": (0.10, st.tuples(mat_files()), check_mat),
    "toml, any bytes": (0.03, st.tuples(BYTES | st.text().map(str.encode)), check_toml),
    "toml, changed": (0.05, st.tuples(mutated(toml_documents)), check_toml),
    "toml, built": (0.10, st.tuples(toml_documents()), check_toml),
    "flag": (0.06, FLAGS.flatmap(flag_texts), lambda name, folder, text: check_flag(name, text)),
}
DRAWING = settings(
    phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
OUTCOMES = ("success", "TypeError", "ValueError", "OSError", "fault")


def run(inputs: int, seed: int, kinds: Kinds = KINDS) -> list[dict[str, Any]]:
    """Returns a row per kind: its name, how many inputs (all different), a count of each outcome, seconds.

    `faults` maps what went wrong to the first input that did it.

    Args:
        inputs: of all kinds together, at least as many are fed.
        seed: of hypothesis.
        kinds: the kinds of inputs.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [_run_kind(kind, kinds[kind], inputs, seed, Path(folder)) for kind in kinds]


def _run_kind(kind: str, drawn_as: Kind, inputs: int, seed: int, folder: Path) -> dict[str, Any]:
    part, drawn, check = drawn_as
    wanted, seen, seconds = math.ceil(part * inputs), set(), [0.0]
    outcomes: collections.Counter[str] = collections.Counter()
    faults: dict[str, str] = {}

    def once(found: tuple[Any, ...]) -> None:
        if found in seen or len(seen) == wanted:
            return
        seen.add(found)
        started = time.perf_counter()
        try:
            outcomes[check(found[0], folder, *found[1:])] += 1
        except Exception as error:  # of a check, or of what is done with a result
            outcomes["fault"] += 1
            said = f"{type(error).__name__}: {error!s:.400}".replace(str(folder), "")
            faults.setdefault(re.sub(r"\d+", "0", said), repr(found)[:1000])
        seconds.append(time.perf_counter() - started)

    while len(seen) < wanted:  # hypothesis gives some twice
        hypothesis.seed(seed)(settings(DRAWING, max_examples=wanted)(given(drawn)(once)))()
        seed += 1_000_003
    row = {"kind": kind, "inputs": len(seen), **{name: outcomes[name] for name in OUTCOMES}}
    return row | {"seconds": sum(seconds), "slowest": max(seconds), "faults": faults}


def main(kinds: Kinds = KINDS) -> None:
    """Prints the table, and what went wrong."""
    parser = argparse.ArgumentParser(description="Feeds readers with inputs of every kind.")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    faulthandler.enable()  # a reader that crashes says where
    jax.config.update("jax_platforms", "cpu")
    rows = run(asked.inputs, asked.seed, kinds)
    columns = ("inputs", *OUTCOMES)
    total: dict[str, Any] = {"kind": "all"} | {name: sum(row[name] for row in rows) for name in columns}
    print(f"{'kind':<16}" + "".join(f"{name:>12}" for name in columns))
    for row in [*rows, total]:
        print(f"{row['kind']:<16}" + "".join(f"{row[name]:>12,}" for name in columns))
    seconds, slowest = sum(row["seconds"] for row in rows), max(row["slowest"] for row in rows)
    print(f"{seconds:.0f} s, of which the slowest input took {slowest:.2f} s")
    for row in rows:
        for fault, example in row["faults"].items():
            print(f"\n{row['kind']}: {fault}\n  {example}")
    sys.exit(1 if total["fault"] else 0)


if __name__ == "__main__":
    main()
