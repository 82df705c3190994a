"""The cells of one column by value, whatever dtype they come in: gaps, numbers, dates and texts.

1, 1.0 and "1" are the same number and the same text. None, NaN, NaT, pandas' NA and texts of white space are
gaps, and words such as "None" and "NA" are not. `schema.py` decides from `Cells` what a column is;
`targets.py` reads labels with it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from regjax.core.checks import shown

CellKind = Literal["number", "date", "text"]
# How dates are written -> what they look like, and the format that reads them. The first that fits all cells
# of a column is taken; "month/day/year" fits many columns of "day/month/year" too, so that the user is told.
DATES = {
    "year-month-day": (r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?", "ISO8601"),
    "day.month.year": (r"\d{1,2}\.\d{1,2}\.\d{4}", "%d.%m.%Y"),
    "month/day/year": (r"\d{1,2}/\d{1,2}/\d{4}", "%m/%d/%Y"),
    "day/month/year": (r"\d{1,2}/\d{1,2}/\d{4}", "%d/%m/%Y"),
}
# The largest number up to which a float holds every whole number.
MOST_EXACT = 2**53
_DAY = np.timedelta64(1, "D") / np.timedelta64(1, "us")


class Cells:
    """The cells of a column; each view of them is made when it is first asked for.

    Attributes:
        kind: "number" where all cells that are no gap are numbers, "date" where all are dates, else "text":
            also for booleans and for what the user declared a category.
        gaps: whether a cell is a gap, `(n,)`.
        written: how dates in texts are written, a key of `DATES`; else "".
    """

    def __init__(
        self,
        kind: CellKind,
        gaps: np.ndarray,
        values: Any,
        days: np.ndarray | None = None,
        written: str = "",
    ) -> None:
        self.written = written
        self.kind: CellKind = kind
        self.gaps = gaps
        self.days = days
        self._values = values  # numbers as `(n,)` floats; texts as a pandas Categorical

    @functools.cached_property
    def numbers(self) -> np.ndarray | None:
        """The cells as numbers, `(n,)` float64, NaN for gaps and words; None where no text is a number."""
        if self.kind == "number":
            return self._values
        of_text = np.array([number_of(text) for text in self.texts])
        if np.isnan(of_text).all():
            return None
        found = np.full(len(self.gaps), np.nan)
        found[~self.gaps] = of_text[self.text_of[~self.gaps]]
        return found

    @property
    def quantity(self) -> np.ndarray | None:
        """The cells as a quantity, `(n,)`: numbers, days, 1 and 0 for booleans; NaN for gaps and words."""
        if self.kind == "text" and len(self.texts) and set(self.texts) <= {"True", "False"}:
            return np.where(self.gaps, np.nan, self.texts[self.text_of] == "True")
        return self.days if self.kind == "date" else self.numbers

    @functools.cached_property
    def _distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct texts, ascending, by value where they are numbers; and each cell's place in them."""
        if self.kind == "number":
            values, places = np.unique(self._values[~self.gaps], return_inverse=True)
            texts = [text_of(value) for value in values.tolist()]
            text_of_cell = np.full(len(self.gaps), -1)
            text_of_cell[~self.gaps] = places
            return np.array(texts, object), text_of_cell
        texts, codes = list(self._values.categories), np.asarray(self._values.codes)
        used = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(texts)))
        numbers = [number_of(texts[i]) for i in used]
        by_value = not np.isnan(numbers).any() if len(used) else False
        keys = numbers if by_value else [texts[i] for i in used]
        order = used[sorted(range(len(used)), key=lambda i: keys[i])] if len(used) else used
        place = np.full(len(texts) + 1, -1)
        place[order] = np.arange(len(order))
        return np.array([texts[i] for i in order], object), place[codes]

    @property
    def texts(self) -> np.ndarray:
        """The distinct texts, ascending: by value where all are numbers, `(levels,)`."""
        return self._distinct[0]

    @property
    def text_of(self) -> np.ndarray:
        """The place of each cell in `texts`, `(n,)`, -1 for a gap."""
        return self._distinct[1]

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """How many cells have each text, `(levels,)`."""
        return np.bincount(self.text_of[~self.gaps], minlength=len(self.texts))

    def text_at(self, row: int) -> str:
        """Returns the text of a cell that is no gap."""
        return str(self.texts[self.text_of[row]])


def read_cells(column: Any, name: str = "a column", written: str = "") -> Cells:
    """Returns the cells of a column: a pandas Series of any dtype, or what becomes one.

    Args:
        column: the column, `(n,)`.
        name: what it is called in messages.
        written: how dates are written, a key of `DATES`; "" finds it.

    Raises:
        TypeError: complex numbers.

    Example:
        >>> import pandas as pd
        >>> from regjax.data.cells import read_cells
        >>> read_cells(pd.Series([1.0, None, 3.0])).texts.tolist()
        ['1', '3']
        >>> read_cells(pd.Series(["no", "", "None"])).gaps.tolist()
        [False, True, False]
    """
    import pandas as pd

    series = pd.Series(column)
    dtype = series.dtype
    if isinstance(dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
        dtype = series.dtype
    if pd.api.types.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return _texts(series)
    if pd.api.types.is_complex_dtype(dtype):
        raise TypeError(f"{name} must hold numbers, dates or text, got dtype {dtype}")
    if pd.api.types.is_numeric_dtype(dtype):
        numbers = series.to_numpy(np.float64, na_value=np.nan)
        if pd.api.types.is_integer_dtype(dtype) and np.any(np.abs(numbers) >= MOST_EXACT):
            return _texts(series)
        return Cells("number", np.isnan(numbers), numbers)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return _dates(series)
    if pd.api.types.is_timedelta64_dtype(dtype):
        days = (series / pd.Timedelta(days=1)).to_numpy(np.float64)
        return Cells("number", np.isnan(days), days)
    return _texts(series, written)


def _texts(series: Any, written: str = "") -> Cells:
    """Returns cells of texts; of numbers or dates where all are, and are not declared a category."""
    import pandas as pd

    # Numbers that a user declared a category stay one.
    declared = isinstance(series.dtype, pd.CategoricalDtype)
    categorical = series.array if declared else _factorised(series)
    # One text may stand for several values: 1 and "1", "a" and "a ".
    texts = [text_of(value) for value in categorical.categories]
    names = sorted({text for text in texts if text})
    place = {text: i for i, text in enumerate(names)}
    new = np.array([*(place.get(text, -1) for text in texts), -1])
    codes = new[np.asarray(categorical.codes)]
    values = pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))
    gaps = codes < 0
    cells = Cells("text", gaps, values)
    numbers = cells.numbers if names else None
    if numbers is not None and not np.isnan(numbers[~gaps]).any() and not any(map(_is_rounded, names)):
        return cells if declared else Cells("number", gaps, numbers)
    dates = _days_of(names, written) if names else None
    if dates is None:
        return cells
    days, written = dates
    found = np.full(len(gaps), np.nan)
    found[~gaps] = days[codes[~gaps]]
    return Cells("date", gaps, values, found, written)


def _factorised(series: Any) -> Any:
    """Returns a column of texts or mixed values as a pandas Categorical of its distinct values."""
    import pandas as pd

    if pd.api.types.infer_dtype(series, skipna=True) != "string" and series.dtype == object:
        # Python holds True for 1, and lists have no hash.
        series = series.map(text_of, na_action="ignore")
    codes, values = pd.factorize(series, use_na_sentinel=True)
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(values), dtype=object))


def _dates(series: Any) -> Cells:
    """Returns cells of dates; their texts are ISO dates."""
    if series.dt.tz is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    days = series.to_numpy("datetime64[us]").astype(np.float64) / _DAY
    gaps = series.isna().to_numpy()
    days[gaps] = np.nan
    return Cells("date", gaps, _factorised(series.map(str, na_action="ignore")), days)


def _days_of(texts: list[str], written: str) -> tuple[np.ndarray, str] | None:
    """Returns dates as days since 1970, `(texts,)`, and how they are written; None where they are no dates.

    Args:
        texts: distinct texts.
        written: a key of `DATES`, or "" to find it.
    """
    import pandas as pd

    # ISO dates say themselves what they are, also where the training table has others.
    for name in (written, "year-month-day") if written else DATES:
        pattern, format_ = DATES[name]
        if all(re.fullmatch(pattern, text) for text in texts):
            found = pd.to_datetime(pd.Series(texts), format=format_, errors="coerce", utc=True)
            if not found.isna().any():
                return found.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.float64) / _DAY, name
    return None


def text_of(value: Any) -> str:
    """Returns the text of a value: "1" for 1, 1.0 and "1", "True" for a boolean; "" for a gap."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, int | float | np.number):
        number = float(value)
        if number != number:
            return ""
        return str(int(value)) if number.is_integer() and abs(number) < 2**63 else str(number)
    text = str(value).strip()
    return "" if value is None or text in ("<NA>", "NaT") else text


def _is_rounded(text: str) -> bool:
    """Returns whether a text is a whole number that a float would round: it names something."""
    return re.fullmatch(r"[+-]?\d{16,300}", text) is not None and int(float(text)) != int(text)


def number_of(text: str) -> float:
    """Returns the number that a text is, or NaN."""
    # Python reads 1_000 and words such as nan as numbers; tables do not mean them.
    if not re.fullmatch(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|[iI]nf(inity)?)", text):
        return np.nan
    return float(text)


def with_gaps(frame: Any, words: Sequence[str]) -> Any:
    """Returns a frame of pandas with gaps in place of cells that are one of some words, such as "-999"."""
    found = {}
    for name in frame.columns:
        cells = read_cells(frame[name], f"column {shown(name)}")
        # Compared as texts, as in a file: "-999" stands for -999 and -999.0 too.
        known = np.append(np.isin(cells.texts.astype(str), list(words)), False)
        found[name] = frame[name].mask(known[cells.text_of])
    return frame.assign(**found)
