"""A data set as a user hands it in: samples with names, classes, groups and times, of a frame or of arrays.

`loaders.py` makes `Samples` of files, `study/samples.py` of frames and arrays. A table keeps its columns'
names, kinds and levels in a `Schema`; its `Data.x` holds the coded columns, of which each fold makes inputs.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import did_you_mean, shown
from regjax.core.data import Data, Task, unit_mean
from regjax.data.cells import read_cells
from regjax.data.schema import RowName, Schema, as_word, is_identifier, listed, position, take_schema
from regjax.data.targets import read_targets

# Share of rows that stand in the table before, from which on a note says so.
MANY_REPEATED = 0.01


class Samples(NamedTuple):
    """A data set as it was read.

    Attributes:
        train: samples that train and validate; of a table that is not plain, x holds its coded columns.
        test: test samples, or None where the data set has none.
        classes: the user's labels of the classes 0, 1, …, `(n_classes,)`; None where they are those numbers.
        schema: what was made of the columns of a table; None for arrays.
        groups: which group each sample of `train` belongs to, `(n,)`, or None.
        time: when each sample of `train` was taken, `(n,)`, or None.
        notes: sentences for the user on what was made of the data.
    """

    train: Data
    test: Data | None = None
    classes: np.ndarray | None = None
    schema: Schema | None = None
    groups: np.ndarray | None = None
    time: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a data set is read: options of `regjax.sweep` under their own names.

    Attributes:
        target: name of the target's column; None takes the last one.
        task: "auto", "classification" or "regression".
        columns: name of a column -> "numeric", "category", "date" or "drop".
        groups: name of the column of groups, or None.
        time: name of the column of times, or None.
        weights: name of the column of sample weights, or None.
        separator: of a text file; None finds it.
        decimal: sign before the decimals in a text file; None finds it.
        header: whether the first line of a text file holds names; None finds it.
        gaps: words that stand for a gap, besides the usual ones.
        grouped: whether groups come apart from the table, so that no note need ask for them.
    """

    target: str | None = None
    task: Task = "auto"
    columns: Mapping[str, str] | None = None
    groups: str | None = None
    time: str | None = None
    weights: str | None = None
    separator: str | None = None
    decimal: str | None = None
    header: bool | None = None
    gaps: tuple[str, ...] = ()
    grouped: bool = False


def is_frame(value: Any) -> bool:
    """Returns whether a value is a frame of pandas or polars."""
    module = type(value).__module__.partition(".")[0]
    return module in ("pandas", "polars") and hasattr(type(value), "columns")


def as_pandas(frame: Any) -> Any:
    """Returns a frame of pandas with text names; of polars too, without pyarrow.

    Raises:
        ValueError: two columns of one name.
    """
    import pandas as pd

    if type(frame).__module__.startswith("polars"):
        frame = frame.collect() if hasattr(frame, "collect") else frame
        frame = pd.DataFrame({name: pd.Series(frame[name].to_list()) for name in frame.columns})
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"must have a name of its own for each column, got {shown(twice)} twice")
    return frame.set_axis(names, axis=1)


def samples_of_frame(frame: Any, reading: Reading, row_name: RowName = position) -> Samples:
    """Returns the data set of a pandas frame that holds its target.

    Raises:
        TypeError: a target that is no text, or of words where the task is regression.
        ValueError: a column that is missing, or that cannot be what is asked of it; names column and row.
    """
    names = [str(name) for name in frame.columns]
    if not names:
        raise ValueError("must have a column for the target and one for an input, got no column")
    target = _column_of(names, "target", reading.target) if reading.target is not None else names[-1]
    return samples_of_pair(frame.drop(columns=[target]), frame[target], reading, row_name, target)


def samples_of_pair(
    features: Any, y: Any, reading: Reading, row_name: RowName = position, target: str = ""
) -> Samples:
    """Returns the data set of a pandas frame and a target beside it; errors as in `samples_of_frame`."""
    names, n = [str(name) for name in features.columns], len(features)
    if len(y) != n:
        raise ValueError(f"X and y must have the same number of samples, got {n} and {len(y)}")
    if n == 0:
        raise ValueError("must have at least one row below its names, got none")
    found = read_targets(
        y, reading.task, name=f"target {shown(target)}" if target else "y", row_name=row_name
    )
    # Columns that say how rows belong together are no inputs, unless the user asks for them.
    kinds, extra, role_of = dict(reading.columns or {}), {}, {}
    for role in ("groups", "time", "weights"):
        name = getattr(reading, role)
        if name is not None:
            extra[role] = features[_column_of(names, role, name)]
            kinds.setdefault(name, "drop")
            role_of[name] = role
    schema = take_schema(features, kinds, target=target, row_name=row_name)
    coded = schema.code(features, row_name)
    columns = tuple(
        dataclasses.replace(column, note=f"{role_of[column.name]}, and no input")
        if column.name in role_of and column.kind == "drop"
        else column
        for column in schema.columns
    )
    # The words for gaps come last: in these rows they are gaps already.
    schema = dataclasses.replace(schema, columns=columns, gaps=reading.gaps)
    weights = _numbers_of(extra, "weights", row_name)
    train = Data(coded.T, found.y.T, unit_mean(weights, n))
    groups = None if "groups" not in extra else groups_of(extra["groups"], row_name)
    notes = list(found.notes)
    if not reading.grouped:
        notes += [*_repeated(train, schema, groups), *_identifiers(features, schema, groups)]
    return Samples(
        train, None, found.classes, schema, groups, _numbers_of(extra, "time", row_name), tuple(notes)
    )


def frame_to_test(
    frame: Any,
    y: Any,
    samples: Samples,
    reading: Reading,
    row_name: RowName = position,
    source: str = "",
) -> Data:
    """Returns test samples of a pandas frame, whose columns are found by the names of the training table.

    Args:
        frame: the features, or with y None also the target's column.
        y: the targets, or None.
        samples: the data set of the training samples.
        reading: how it was read.
        row_name: number of a row -> its name in messages.
        source: name of the file in messages, or "".

    Raises:
        TypeError: as `read_targets`.
        ValueError: columns that are missing or unknown, or targets of another kind.
    """
    schema = samples.schema
    assert schema is not None
    if y is None:
        names = [str(name) for name in frame.columns]
        if schema.target not in names:
            where = f"{source}: " if source else ""
            raise ValueError(
                f"{where}must have the target {shown(schema.target)}, got the columns {listed(names)}"
                + did_you_mean(schema.target, names)
            )
        y, frame = frame[schema.target], frame.drop(columns=[schema.target])
    name = f"target {shown(schema.target)}" if schema.target else "y"
    targets = targets_to_test(y, samples, name, row_name)
    weights = None
    if reading.weights is not None and reading.weights in frame.columns:
        weights = _numbers_of({"weights": frame[reading.weights]}, "weights", row_name)
    return Data(schema.code(frame, row_name, source).T, targets.T, unit_mean(weights, len(frame)))


def check_plain(samples: Samples, given: str) -> None:
    """Raises TypeError for test samples without names where the data are a table of gaps or categories."""
    if samples.schema is not None and not samples.schema.plain:
        raise TypeError(
            "test must be a table with its target where the data are one with gaps or categories, "
            f"got {given}"
        )


def targets_to_test(y: Any, samples: Samples, name: str = "y", row_name: RowName = position) -> np.ndarray:
    """Returns the targets of test samples, `(n, n_outputs)`, of the kind of the training samples."""
    if not np.issubdtype(samples.train.y.dtype, np.integer):
        return read_targets(y, "regression", name=name, row_name=row_name).y
    classes = samples.classes
    if classes is None:
        classes = np.arange(int(np.max(samples.train.y)) + 1)
    return read_targets(y, classes=classes, name=name, row_name=row_name).y


def samples_of_arrays(
    X: ArrayLike,
    y: Any,
    task: Task = "auto",
    weights: ArrayLike | None = None,
    names: tuple[str, str] = ("X", "y"),
) -> Samples:
    """Returns the data set of arrays without names; arguments and errors as in `Data.from_arrays`.

    Labels count by value: see `targets.read_targets`.
    """
    found = read_targets(y, task, name=names[1])
    real = not np.issubdtype(found.y.dtype, np.integer)
    kind: Task = "regression" if real else "classification"
    train = Data.from_arrays(X, found.y, weights, task=kind, names=names)
    return Samples(train, None, found.classes, notes=found.notes)


def groups_of(column: Any, row_name: RowName = position) -> np.ndarray:
    """Returns the group of each row as text, `(n,)`; raises ValueError for a gap."""
    cells = read_cells(column)
    if cells.gaps.any():
        raise ValueError(f"groups must have no gaps, got one in {row_name(int(np.argmax(cells.gaps)))}")
    return cells.texts[cells.text_of].astype(str)


def _numbers_of(extra: Mapping[str, Any], role: str, row_name: RowName) -> np.ndarray | None:
    """Returns a column of numbers or dates, `(n,)`; raises ValueError for gaps and words."""
    if role not in extra:
        return None
    cells = read_cells(extra[role])
    found = cells.days if cells.kind == "date" else cells.numbers
    wrong = np.ones(len(cells.gaps), bool) if found is None else ~np.isfinite(found)
    if wrong.any():
        row = int(np.argmax(wrong))
        got = "a gap" if cells.gaps[row] else shown(cells.text_at(row))
        what = "numbers or dates" if role == "time" else "numbers"
        raise ValueError(f"{role} must hold {what} in all rows, got {got} in {row_name(row)}")
    return found


def _column_of(names: list[str], role: str, name: Any) -> str:
    """Returns the name of a column; raises unless the table has it."""
    if not isinstance(name, str):
        raise TypeError(f"{role} must be the name of a column, got {shown(name)}")
    if name not in names:
        near = difflib.get_close_matches(name, names, 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{role} must be one of {listed(names)}, got {shown(name)}{hint}")
    return name


def _repeated(data: Data, schema: Schema, groups: np.ndarray | None) -> list[str]:
    """Returns a note where rows stand in the table several times and no groups keep them together."""
    if groups is not None:
        return []
    import pandas as pd

    repeated = int(pd.DataFrame(np.concatenate([data.x, data.y]).T).duplicated().sum())
    if repeated <= MANY_REPEATED * data.x.shape[1]:
        return []
    return [
        f"{repeated:,} rows repeat an earlier one: a copy in training and one in validation make scores too "
        "good; if rows belong together, name their column with --groups"
    ]


def _identifiers(features: Any, schema: Schema, groups: np.ndarray | None) -> list[str]:
    """Returns a note for each column named as an identifier that repeats, where there are no groups."""
    found = []
    for column in schema.columns if groups is None else ():
        if not is_identifier(column.name):
            continue
        cells = read_cells(features[column.name])
        if 2 < len(cells.texts) < (~cells.gaps).sum():
            found.append(
                f"{column.name} repeats ({len(cells.texts):,} values in {len(cells.gaps):,} rows): if rows "
                f"of one value belong together, --groups {as_word(column.name)} keeps them in one fold, and "
                "the column is no input"
            )
    return found
