"""Data sets by name or path: the built-in 2-D sets, scikit-learn's bundled ones, tables, .mat and .npz files.

`regjax.study.samples` calls `load_samples` and `load_test`, `regjax compare` calls `load_two_classes`; users
call `load_table`, `load_mat` and `load_npz`, which `regjax` exports. An error about a file begins with its
path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regjax.core.checks import did_you_mean, shortened, shown
from regjax.core.data import Data, Task, check_two_classes
from regjax.data.datasets import built_in
from regjax.data.encode import encode, fit_statistics
from regjax.data.files import ENDINGS as TABLES
from regjax.data.files import Read, read_table
from regjax.data.matlab import read_arrays
from regjax.data.names import BUILT_IN, BUNDLED
from regjax.data.reading import Source, read_with
from regjax.data.schema import Column, RowName, Schema
from regjax.data.splits import hold_out
from regjax.data.table import (
    Reading,
    Samples,
    as_pandas,
    check_plain,
    frame_to_test,
    is_frame,
    samples_of_arrays,
    samples_of_frame,
    targets_to_test,
)

TRAIN_ARRAYS, TEST_ARRAYS = ("X", "y"), ("Xval", "yval")


def load_mat(path: Source, *, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test) of a MATLAB 5 file with X and y, and Xval and yval for the test samples.

    Without Xval and yval the second is None. Files of version 7.3 are read with h5py, where it is installed.

    Args:
        path: the file; X is `(n_samples, n_features)`, y `(n_samples, 1)` or `(n_samples, n_outputs)`.
        task: as in `regjax.sweep`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: X holds no numbers, or y neither numbers nor text; names the file.
        ValueError: not such a file, or arrays that are missing or do not fit; names the file.

    Example:
        >>> import numpy as np, regjax, scipy.io, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> scipy.io.savemat(f"{folder.name}/data.mat", {"X": np.zeros((4, 2)), "y": [[0], [1], [0], [1]]})
        >>> train, test = regjax.load_mat(f"{folder.name}/data.mat")
        >>> train.x.shape, test
        ((2, 4), None)
        >>> folder.cleanup()
    """
    found = _of_arrays(path, _matlab_arrays(path), Reading(task=task))
    return found.train, found.test


def load_npz(path: Source, *, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test) of a NumPy archive with X and y, and Xval and yval for the test samples.

    Without Xval and yval the second is None. Nothing is unpickled: arrays of objects are refused.

    Args:
        path: the file; X is `(n_samples, n_features)`, y `(n_samples,)` or `(n_samples, n_outputs)`.
        task: as in `regjax.sweep`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: X holds no numbers, or y neither numbers nor text; names the file.
        ValueError: not such a file, or arrays that are missing or do not fit; names the file.

    Example:
        >>> import numpy as np, regjax, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> np.savez(f"{folder.name}/data.npz", X=np.zeros((4, 2)), y=[0, 1, 0, 1])
        >>> train, test = regjax.load_npz(f"{folder.name}/data.npz")
        >>> train.x.shape, test
        ((2, 4), None)
        >>> folder.cleanup()
    """
    found = _of_arrays(path, _numpy_arrays(path), Reading(task=task))
    return found.train, found.test


def load_table(
    source: Any, *, target: str | None = None, task: Task = "auto", columns: Mapping[str, str] | None = None
) -> Data:
    """Returns the samples of a table as a network takes them, whole: for training without folds.

    Gaps are filled, and categories are inputs of 0 and 1. Of a table with gaps or categories the numbers are
    standardised, by all its rows; of a plain table of numbers x holds them as they are. `regjax.sweep` takes
    the file itself, and these statistics from each fold's training part.

    Args:
        source: a file (.csv, .tsv, .txt, .parquet, .feather or .xlsx), or a frame of pandas or polars.
        target: name of the target's column; None takes the last one.
        task: as in `regjax.sweep`.
        columns: name of a column -> "numeric", "category", "date" or "drop", in place of what is found.

    Raises:
        OSError: the file cannot be opened.
        TypeError: target is no text, or its column holds no numbers where task is regression.
        ValueError: no table, or a column that is missing or cannot be what is asked of it; names it.

    Example:
        >>> import pandas as pd, regjax
        >>> table = pd.DataFrame({"age": [22, 38, 26], "town": ["a", "b", "a"], "y": ["no", "yes", "no"]})
        >>> regjax.load_table(table).x.round(1).tolist()
        [[-1.0, 1.4, -0.4], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    reading = Reading(target=target, task=task, columns=columns)
    samples = samples_of_frame(as_pandas(source), reading) if is_frame(source) else _table(source, reading)
    schema = samples.schema
    if schema is None or schema.plain:
        return samples.train
    coded = np.asarray(samples.train.x).T
    return samples.train._replace(x=encode(schema, fit_statistics(schema, coded), coded))


def load(source: Source, *, target: str | None = None, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test or None) of a named data set or a file, as `load_samples` reads them.

    Example:
        >>> from regjax.data.loaders import load
        >>> train, test = load("iris")
        >>> train.x.shape, test
        ((4, 150), None)
    """
    found = load_samples(source, Reading(target=target, task=task))
    return found.train, found.test


def load_samples(source: Source, reading: Reading = Reading()) -> Samples:  # noqa: B008  a frozen value
    """Returns a named data set, or that of a file.

    Names: two_regions, moons and the others of `regjax.datasets`; and scikit-learn's iris, wine,
    breast_cancer, digits, diabetes.

    Args:
        source: name or path.
        reading: how it is read.

    Raises:
        OSError: the file cannot be opened.
        TypeError: source or a column's name is no text, or an error of the loader of that kind.
        ValueError: an unknown name, another ending, or an error of the loader of that kind.
    """
    text = _checked_name(source)
    ending = _ending(text)
    if ending not in TABLES:
        _check_options(text, ending, reading)
    if text in BUILT_IN:
        return Samples(*built_in(text))
    if text in BUNDLED:
        return _bundled(text, reading)
    if ending in (".mat", ".npz"):
        return _of_arrays(text, load_arrays(text), reading)
    if ending in TABLES:
        return _table(text, reading)
    raise _unknown(text, ending)


def load_test(source: Source, samples: Samples, reading: Reading) -> Data:
    """Returns test samples of a named data set or a file, by the names and classes of the training samples.

    Args:
        source: name or path.
        samples: the data set of the training samples.
        reading: how it was read.

    Raises:
        OSError: as in `load_samples`.
        TypeError: as in `load_samples`.
        ValueError: as in `load_samples`; or columns that are missing or unknown, or another number of them.
    """
    text = _checked_name(source)
    if _ending(text) in TABLES:
        read = _read_file(text, reading)
        if samples.schema is None:
            # Arrays have no names: columns are matched by position, and none is left out.
            *features, target = read.frame.columns
            schema = Schema(tuple(Column(name, "numeric") for name in features), target)
            samples = samples._replace(schema=schema)
        with of_file(text):
            return frame_to_test(read.frame, None, samples, reading, _row_name(read))
    with of_file(text):
        check_plain(samples, "arrays")
    task: Task = "classification" if np.issubdtype(samples.train.y.dtype, np.integer) else "regression"
    found = load_samples(source, dataclasses.replace(reading, task=task, columns=None))
    if task == "regression" or (found.classes is None and samples.classes is None):
        return found.train
    labels = found.classes if found.classes is not None else np.arange(int(found.train.y.max()) + 1)
    with of_file(text):
        return found.train._replace(y=targets_to_test(labels[found.train.y[0]], samples).T)


def load_two_classes(
    source: Source,
    fraction: float = 0.3,
    reading: Reading = Reading(),  # noqa: B008  a frozen value
) -> tuple[Data, Data]:
    """Returns (train, test) of a data set of two classes, as a network takes them; `regjax compare` calls it.

    A table's inputs are made by the statistics of its training part.

    Args:
        source: as in `load_samples`.
        fraction: fraction of the samples to hold out where the data set has no test samples, in (0, 1).
        reading: how it is read.

    Raises:
        OSError: as in `load_samples`.
        TypeError: as in `load_samples`.
        ValueError: as in `load_samples`; or labels of other than two classes, or too few samples to hold some
            out.
    """
    samples = load_samples(source, dataclasses.replace(reading, task="classification"))
    if samples.test is not None:
        return samples.train, samples.test
    with of_file(source):
        check_two_classes(samples.train)
        parts = hold_out(samples.train, fraction, groups=samples.groups, time=samples.time)
        if samples.schema is None:
            return parts
        schema, coded = samples.schema, [np.asarray(part.x).T for part in parts]
        statistics = fit_statistics(schema, coded[0])
        train, test = (
            part._replace(x=encode(schema, statistics, x)) for part, x in zip(parts, coded, strict=True)
        )
        return train, test


@contextlib.contextmanager
def of_file(source: Any) -> Iterator[None]:
    """Puts the path of a file before the errors about its data; changes no other error.

    Args:
        source: source of the data; where it is no path of a file, errors stay as they are.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(source, str | os.PathLike) and os.path.exists(source):
            raise type(error)(f"{source}: {error}") from None
        raise


def _checked_name(source: Any) -> str:
    """Returns a source as text; raises unless it may be a name or a path."""
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise TypeError(f"data must be a name or a path, got {shown(source)}")
    text = os.fspath(source)
    if not text:
        raise ValueError("data must be a name or a path, got ''")
    if re.match(r"\w+://", text):
        raise ValueError(f"data must be a name or a file, got the address {shown(text)}: download it first")
    return text


def _ending(text: str) -> str:
    """Returns the ending of a path in small letters, without that of a compressed file."""
    path = Path(text.lower())
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def _check_options(text: str, ending: str, reading: Reading) -> None:
    """Raises ValueError for an option that this kind of data set does not take."""
    for field in dataclasses.fields(Reading):
        value = getattr(reading, field.name)
        if field.name not in ("task", "grouped") and value not in (None, (), {}):
            raise ValueError(
                f"{field.name} must only be given with a table (a file {', '.join(TABLES)}, or a frame), "
                f"got {shown(value)} with {shortened(text)}"
            )
    if reading.task == "regression" and text in BUILT_IN:
        raise ValueError(f"task must be classification for {text}, got {shown(reading.task)}")


def _unknown(text: str, ending: str) -> Exception:
    """Returns the error about a source that is neither a known name nor a file of a known kind."""
    kinds = f"{', '.join((*TABLES, '.npz'))} or .mat"
    if not ending and not os.path.exists(text):
        known = (*BUILT_IN, *BUNDLED)
        return ValueError(
            f"data must be one of {', '.join(known)}, or a file {kinds}, got {shown(text)}"
            + did_you_mean(text, known)
        )
    # A missing file or a folder is the likelier slip than a wrong ending: its OSError comes first.
    read_with(text, lambda file: None, "a file")
    return ValueError(f"{text}: data must be a file {kinds}, got the ending {shown(ending)}")


def _bundled(name: str, reading: Reading) -> Samples:
    import sklearn.datasets

    bunch: Any = getattr(sklearn.datasets, f"load_{name}")()
    found = samples_of_arrays(bunch.data, bunch.target, reading.task)
    names = [str(feature) for feature in bunch.feature_names]
    return found._replace(schema=Schema(tuple(Column(feature, "numeric", "number") for feature in names)))


def _table(path: Source, reading: Reading) -> Samples:
    read = _read_file(path, reading)
    with of_file(path):
        found = samples_of_frame(read.frame, reading, _row_name(read))
        return found._replace(notes=(*read.notes, *found.notes))


def _read_file(path: Source, reading: Reading) -> Read:
    return read_table(
        path, separator=reading.separator, decimal=reading.decimal, header=reading.header, gaps=reading.gaps
    )


def _row_name(read: Read) -> RowName:
    """Returns the names of a table's rows in messages."""
    numbers = read.row_numbers
    return lambda row: f"row {numbers[row]}"


def load_arrays(path: Source) -> dict[str, Any]:
    """Returns the named arrays of a .npz or .mat file; nothing is unpickled.

    Raises:
        OSError: the file cannot be opened.
        ValueError: not such a file; names it.
    """
    return _matlab_arrays(path) if str(path).lower().endswith(".mat") else _numpy_arrays(path)


def _matlab_arrays(path: Source) -> dict[str, Any]:
    return read_with(path, lambda file: read_arrays(file.read_bytes()), "a MATLAB 5 file")


def _numpy_arrays(path: Source) -> dict[str, Any]:
    def read(file: Path) -> dict[str, Any]:
        # Opened here: NumPy leaves the file open where the archive is damaged.
        with open(file, "rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    return read_with(path, read, "a NumPy .npz archive")


def _of_arrays(path: Source, arrays: dict[str, Any], reading: Reading) -> Samples:
    """Returns the data set of a file's arrays X and y, and of Xval and yval where it has one of these."""
    has_test = any(name in arrays for name in TEST_ARRAYS)
    names = (*TRAIN_ARRAYS, *TEST_ARRAYS) if has_test else TRAIN_ARRAYS
    with of_file(path):
        missing = [name for name in names if name not in arrays]
        if missing:
            found = shortened(", ".join(arrays)) or "nothing"
            raise ValueError(f"must hold {', '.join(names)}; without {', '.join(missing)}, it holds {found}")
        for name in names:
            if np.asarray(arrays[name]).dtype.kind in "OV":
                raise TypeError(f"{name} must hold numbers or text, got cells, a structure or the like")
        samples = samples_of_arrays(arrays["X"], arrays["y"], reading.task)
        if not has_test:
            return samples
        test_y = targets_to_test(arrays["yval"], samples, name="yval")
        kind: Task = "classification" if np.issubdtype(samples.train.y.dtype, np.integer) else "regression"
        test = Data.from_arrays(arrays["Xval"], test_y, task=kind, names=("Xval", "yval"))
        for name, one, other in (("X", samples.train.x, test.x), ("y", samples.train.y, test.y)):
            if len(one) != len(other):
                raise ValueError(
                    f"{name}val must have as many columns as {name}, got {len(other)} and {len(one)}"
                )
        extra = [name for name in ("Xtest", "ytest") if name in arrays]
        notes = (f"{' and '.join(extra)} are not read: the test samples are Xval and yval",) if extra else ()
        return samples._replace(test=test, notes=(*samples.notes, *notes))
