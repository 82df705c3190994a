"""What is made of the columns of a table: kinds and levels, taken once from all its rows without the target.

A schema fixes the names, the order and the number of a network's inputs, so that all folds train one program
from equal weights. It holds no statistic: `encode.py` takes means, medians and rare levels from the training
part of each fold. `table.py` calls `take_schema` for a data set, and `Schema.code` for its rows and for those
of a test file.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from regjax.core.checks import check_choice, counted, did_you_mean, shortened, shown
from regjax.data.cells import Cells, number_of, read_cells, text_of, with_gaps

Kind = Literal["numeric", "category", "date", "drop"]
KINDS = get_args(Kind)
# A level of fewer rows than this, and than one in a hundred, has no input of its own.
RARE = 10
# Code of a level that the table does not have; `Schema.code` writes it for new rows.
UNSEEN = -1.0

_IDENTIFIER = re.compile(
    r"(?i:(.*[_\s.-])?(id|ids|uid|uuid|identifier|key|index|row ?names?))|.*[a-z](Id|ID)"
    r"|(?i:patient|subject|column \d+|unnamed: \d+)"
)

# Texts that often stand for a gap.
GAP_WORDS = ("NA", "N/A", "n/a", "na", "NaN", "nan", "null", "NULL", "None", "none", "?", "-", ".", "missing")

RowName = Callable[[int], str]


def position(row: int) -> str:
    """Returns the name of a row of a frame in messages."""
    return f"row {row} (counted from 0)"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        kind: "numeric"; "category"; "date", a number of days since 1970; "drop", which is no input.
        note: what it is and why, for the user.
        gaps: whether the table has gaps in it: an input says so, of a category as for a level.
        levels: of a category: the texts that have an input each, in order.
        rare: of a category: the texts of too few rows for an input each; they share one.
        written: of dates in texts: how they are written, a key of `cells.DATES`.
    """

    name: str
    kind: Kind
    note: str = ""
    gaps: bool = False
    levels: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    written: str = ""

    @functools.cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that the column becomes, in order."""
        if self.kind == "drop":
            return ()
        gap = (f"{self.name} missing",) if self.gaps else ()
        if self.kind != "category":
            return (self.name, *gap)
        other = (f"{self.name} = other",) if self.rare else ()
        return (*(f"{self.name} = {level}" for level in self.levels), *other, *gap)

    @functools.cached_property
    def code_of(self) -> dict[str, float]:
        """Code of each level: 0, 1, …; all rare ones have the code after the last level."""
        codes = {level: float(code) for code, level in enumerate(self.levels)}
        return codes | dict.fromkeys(self.rare, float(len(self.levels)))


@dataclasses.dataclass(frozen=True)
class Schema:
    """The columns of a table but for its target, in its order.

    Attributes:
        columns: all columns, those that are left out too.
        target: name of the target, or "" where it came apart from the table.
        least: rows that a level must have in a training part for its own input; see `encode.fit_statistics`.
        gaps: words that the user named as gaps, in new rows too.
    """

    columns: tuple[Column, ...]
    target: str = ""
    least: int = 2
    gaps: tuple[str, ...] = ()

    @functools.cached_property
    def kept(self) -> tuple[Column, ...]:
        """The columns that are inputs: those of the coded matrix, in order."""
        return tuple(column for column in self.columns if column.kind != "drop")

    @functools.cached_property
    def plain(self) -> bool:
        """Whether all kept columns are numbers without gaps: the coded matrix is then that of the inputs."""
        return all(column.kind != "category" and not column.gaps for column in self.kept)

    @functools.cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the network's inputs."""
        return tuple(name for column in self.kept for name in column.inputs)

    @property
    def width(self) -> int:
        """Number of the network's inputs."""
        return len(self.input_names)

    @functools.cached_property
    def column_inputs(self) -> dict[str, tuple[int, ...]]:
        """Name of each kept column -> numbers of the inputs that it becomes."""
        found, start = {}, 0
        for column in self.kept:
            found[column.name] = tuple(range(start, start + len(column.inputs)))
            start += len(column.inputs)
        return found

    def code(self, frame: Any, row_name: RowName = position, source: str = "") -> np.ndarray:
        """Returns the kept columns of a frame as numbers, `(n_samples, len(kept))`, float64, found by name.

        A gap is NaN, a category's level its code, and `UNSEEN` where the table did not have it.

        Args:
            frame: a pandas frame with all kept columns, in any order; others must be known to the schema.
            row_name: number of a row -> its name in messages.
            source: name of the file in messages, or "".

        Raises:
            ValueError: columns that are missing or unknown, a word in a column of numbers, or infinity.
        """
        names = [str(name) for name in frame.columns]
        self._check_names(names, source)
        if self.gaps:
            frame = with_gaps(frame.set_axis(names, axis=1), self.gaps)
        found = np.empty((len(frame), len(self.kept)))
        for j, column in enumerate(self.kept):
            series = frame.iloc[:, names.index(column.name)]
            cells = read_cells(series, f"column {shown(column.name)}", column.written)
            if column.kind == "category":
                found[:, j] = _codes(column, cells)
            else:
                found[:, j] = _numbers(column.name, cells, column.kind, row_name, column.written)
        return found

    def _check_names(self, names: Sequence[str], source: str) -> None:
        where = f"{source}: " if source else ""
        missing = [column.name for column in self.kept if column.name not in names]
        known = {self.target, *(column.name for column in self.columns)}
        strange = [name for name in names if name not in known]
        if missing:
            near = difflib.get_close_matches(missing[0], strange, 1)
            hint = f"; is {shown(near[0])} meant?" if near else ""
            others = f", and has {listed(strange)} instead" if strange else ""
            raise ValueError(
                f"{where}must have the columns of the training table, lacks {listed(missing)}{others}{hint}"
            )
        if strange:
            raise ValueError(
                f"{where}must have the columns of the training table alone, got {listed(strange)} besides: "
                "take the column out"
            )

    def as_json(self) -> dict[str, Any]:
        """Returns the schema as JSON can hold it; `from_json` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Schema:
        """Returns the schema that `as_json` wrote."""
        columns = [
            Column(**(entry | {"levels": tuple(entry["levels"]), "rare": tuple(entry["rare"])}))
            for entry in stored["columns"]
        ]
        return cls(tuple(columns), stored["target"], stored["least"], tuple(stored["gaps"]))


def take_schema(
    frame: Any, kinds: Mapping[str, str] | None = None, *, target: str = "", row_name: RowName = position
) -> Schema:
    """Returns the schema of a frame without its target.

    Args:
        frame: a pandas frame; its names are distinct texts.
        kinds: name -> "numeric", "category", "date" or "drop", in place of what is found.
        target: name of the target's column, for the schema.
        row_name: number of a row -> its name in messages.

    Raises:
        ValueError: an unknown name or kind, a column that cannot be of its kind, infinity, or no column left.

    Example:
        >>> import pandas as pd
        >>> from regjax.data.schema import take_schema
        >>> schema = take_schema(pd.DataFrame({"age": [22, 35, None, 22], "town": ["a", "b", "a", "b"]}))
        >>> schema.input_names
        ('age', 'age missing', 'town = a', 'town = b')
    """
    kinds = {} if kinds is None else dict(kinds)
    names = [str(name) for name in frame.columns]
    for name, kind in kinds.items():
        if name not in names:
            raise ValueError(
                f"columns must name columns of the table ({listed(names)}), got {shown(name)}"
                + did_you_mean(name, names)
            )
        check_choice(f"columns: {name}", kind, KINDS)
    least = min(RARE, max(2, math.ceil(len(frame) / 100)))
    columns = tuple(
        _column(
            name,
            read_cells(frame.iloc[:, j], f"column {shown(name)}"),
            kinds.get(name),
            least,
            row_name,
        )
        for j, name in enumerate(names)
    )
    schema = Schema(columns, target, least)
    if not columns:
        raise ValueError("must have a column besides the target, got none")
    if not schema.kept:
        reasons = "; ".join(f"{column.name}: {column.note}" for column in columns[:5])
        raise ValueError(
            f"must have a column besides the target that can be an input, got none ({shortened(reasons)}); "
            "--columns NAME=numeric or NAME=category takes one all the same"
        )
    return schema


def _column(name: str, cells: Cells, asked: str | None, least: int, row_name: RowName) -> Column:
    """Returns the column that these cells are, of the kind that is asked for or found."""
    gaps = bool(cells.gaps.any())
    if asked == "drop":
        return Column(name, "drop", "left out, as asked")
    if cells.gaps.all():
        return Column(name, "drop", "left out: empty")
    if asked is None and cells.kind == "text" and cells.numbers is not None:
        _check_few_words(name, cells, row_name)
    if asked == "category" or (asked is None and cells.kind == "text"):
        return _category(name, cells, asked is not None, least)
    kind: Kind = "date" if asked == "date" or (asked is None and cells.kind == "date") else "numeric"
    numbers = _numbers(name, cells, kind, row_name)
    if asked is None:
        reason = _no_input(name, numbers[~cells.gaps], cells.kind, len(numbers))
        if reason:
            return Column(name, "drop", f"left out: {reason}")
    words = "number" if kind == "numeric" else "date, as a number of days"
    if kind == "date" and "/" in cells.written:
        words = f"date ({cells.written}), as a number of days"
    if gaps:
        count = counted(int(cells.gaps.sum()), "gap")
        words += f"; {count} filled with the median, and an input that says so"
    return Column(name, kind, words, gaps, written=cells.written if kind == "date" else "")


def _no_input(name: str, present: np.ndarray, kind: str, rows: int) -> str:
    """Returns why a column of numbers is no input, "" where it is one."""
    low, high = present.min(), present.max()
    if low == high and len(present) == rows:
        return f"the same in all rows ({low:g})"
    if kind != "number" or rows < 3 or len(present) < rows or np.any(present != np.floor(present)):
        return ""
    if len(np.unique(present)) < rows:
        return ""
    # Whole numbers, each once. In steps of 1 they count rows or persons, also where some were taken out.
    if high - low == rows - 1:
        return f"a counter from {low:.0f} to {high:.0f}, all different"
    return "an identifier by its name, different in each row" if is_identifier(name) else ""


def is_identifier(name: str) -> bool:
    """Returns whether a column is called as identifiers are: id, PatientID, rownames, or nothing at all."""
    return _IDENTIFIER.fullmatch(name) is not None


def _category(name: str, cells: Cells, asked: bool, least: int) -> Column:
    """Returns the column of a category, or one that is left out where its levels are too many."""
    gaps, rows = bool(cells.gaps.any()), len(cells.gaps)
    texts, counts = cells.texts, cells.counts
    levels = tuple(texts[counts >= least])
    rare = tuple(texts[counts < least])
    if asked and len(texts) == rows and rows > 2:
        raise ValueError(
            f"column {shown(name)} must have values that repeat to be a category, got {rows:,} different "
            f"ones in {rows:,} rows: --columns {as_word(name)}=drop leaves it out"
        )
    if not asked:
        if len(texts) == 1 and not gaps:
            return Column(name, "drop", f"left out: the same in all rows ({shortened(str(texts[0]))})")
        if len(texts) == rows and rows > 2:
            return Column(name, "drop", "left out: an identifier, different in each row")
        if not levels and not gaps:
            words = f"{len(texts):,} different texts, none in {least} rows or more"
            return Column(name, "drop", f"left out: {words}")
    inputs = [counted(len(levels), "level")] if levels else []
    inputs += [f"{counted(len(rare), 'rare one')} together"] if rare else []
    inputs += [f"{counted(int(cells.gaps.sum()), 'gap')} as a level"] if gaps else []
    # In a column of texts NA may be a gap, or Namibia.
    words = [text for text in texts if text in GAP_WORDS]
    if words:
        inputs.append(f"{listed(words)} taken for a level (--gaps {','.join(words)} takes it for a gap)")
    return Column(name, "category", f"category: {', '.join(inputs)}", gaps, levels, rare)


def _check_few_words(name: str, cells: Cells, row_name: RowName) -> None:
    """Raises ValueError where a column holds numbers but for a few words, easily overlooked."""
    assert cells.numbers is not None
    words = np.isnan(cells.numbers) & ~cells.gaps
    if not words.any() or words.sum() * 10 > (~cells.gaps).sum():
        return
    distinct = {cells.text_at(row) for row in np.flatnonzero(words).tolist()}
    if len(distinct) > 5:
        return
    rows = np.flatnonzero(words)
    more = f" and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    places = ", ".join(row_name(int(row)) for row in rows[:3])
    raise ValueError(
        f"column {shown(name)} must hold numbers in all rows or be named a category, got "
        f"{listed(sorted(distinct))} in {places}{more}: --gaps takes such words as gaps, "
        f"--columns {as_word(name)}=category takes all values as categories"
    )


def _codes(column: Column, cells: Cells) -> np.ndarray:
    """Returns the codes of a category's cells, `(n,)`."""
    code_of = column.code_of
    if cells.kind == "number":
        # Where other cells of a column are words, 01 and 1.0 stand as they are written; alone they are 1.
        code_of = {text_of(number_of(level)): code for level, code in reversed(code_of.items())} | code_of
    of_text = np.array([code_of.get(text, UNSEEN) for text in cells.texts], np.float64)
    found = np.full(len(cells.gaps), np.nan)
    found[~cells.gaps] = of_text[cells.text_of[~cells.gaps]]
    return found


def _numbers(name: str, cells: Cells, kind: str, row_name: RowName, written: str = "") -> np.ndarray:
    """Returns the numbers or days of cells, `(n,)`, NaN in gaps; raises ValueError for words and infinity.

    `written` says how the dates of the training table are written, for the message.
    """
    found = cells.days if kind == "date" else cells.quantity
    if found is None or (cells.kind == "date" and kind != "date"):
        found = np.full(len(cells.gaps), np.nan)
    wrong = np.isnan(found) & ~cells.gaps
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"dates{f' as {written}' if written else ''}" if kind == "date" else "numbers"
        raise ValueError(
            f"column {shown(name)} must hold {what}, got {shown(cells.text_at(row))} in {row_name(row)}"
        )
    infinite = np.isinf(found)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"column {shown(name)} must be finite, got {found[row]} in {row_name(row)}: "
            f"--gaps {cells.text_at(row)} takes it as a gap"
        )
    return found


def as_word(name: str) -> str:
    """Returns a name as a shell takes it: in quotes where it has spaces."""
    return shlex.quote(shortened(name))


def names_by_words(schema: Schema) -> dict[str, list[str]]:
    """Returns what was made of the columns -> the names of the columns that it was made of, in order."""
    found: dict[str, list[str]] = {}
    for column in schema.columns:
        found.setdefault(column.note or column.kind, []).append(column.name)
    return found


def columns_in_words(schema: Schema) -> str:
    """Returns what was made of each column in one line; columns of the same words stand together."""
    return "; ".join(f"{', '.join(names)}: {words}" for words, names in names_by_words(schema).items())


def listed(names: Sequence[str]) -> str:
    """Returns names between commas, the first ten of many."""
    words = ", ".join(map(repr, names[:10]))
    return shortened(words + (f" and {len(names) - 10} more" if len(names) > 10 else ""))
