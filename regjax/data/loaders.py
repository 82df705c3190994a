"""Data sets by name or path: the built-in 2-D set, scikit-learn's bundled ones, .mat, .csv and .npz files.

`regjax.study.resolve` and the command line call `load_named`, `regjax compare` calls `load_two_classes`;
users call `load_csv`, `load_mat`, `load_npz` and `two_regions`, which `regjax` exports. An error about a file
begins with its path.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.checks import check_count, shortened, shown
from regjax.core.data import Data, Task, check_two_classes
from regjax.core.random import root_key
from regjax.core.settings import own_settings
from regjax.data.matlab import read_arrays
from regjax.data.splits import hold_out

BUILT_IN = "two_regions"
BUNDLED = ("iris", "wine", "breast_cancer", "digits", "diabetes")  # scikit-learn's
TRAIN_ARRAYS, TEST_ARRAYS = ("X", "y"), ("Xval", "yval")

Source = str | os.PathLike[str]


class Loaded(NamedTuple):
    """A data set as it was read.

    Attributes:
        train: training samples.
        test: test samples, or None where the data set has none.
        classes: the user's labels of the classes 0, 1, …, `(n_classes,)`; None where they are those numbers.
    """

    train: Data
    test: Data | None = None
    classes: np.ndarray | None = None


def two_regions(key: jax.Array, *, num_train: int = 211, num_test: int = 200) -> tuple[Data, Data]:
    """Returns (train, test) of the built-in 2-D set: two regions, a curved border, noisy labels.

    Points are uniform on [-1, 1]²; class 1 lies above x₂ = 0.4·sin(3·x₁). Then 10 % of the labels
    are flipped, in train and test alike: on new points no classifier is right in more than 90 % on average,
    and a higher accuracy on the training samples is learnt by heart.

    Args:
        key: any JAX key.
        num_train: training samples, at least 2.
        num_test: test samples, at least 1.

    Raises:
        TypeError: a count that is no whole number.
        ValueError: a count out of its range.

    Example:
        >>> import jax, regjax
        >>> train, test = regjax.two_regions(jax.random.key(0))
        >>> train.x.shape, test.x.shape
        ((2, 211), (2, 200))
    """
    num_train = check_count("num_train", num_train, at_least=2)
    num_test = check_count("num_test", num_test)
    total = num_train + num_test
    # The same points whatever the user's setting of this flag, which changes the random bits.
    with jax.threefry_partitionable(True):
        position, flip = jax.random.split(key)
        u = np.asarray(jax.random.uniform(position, (total, 2), jnp.float32), np.float64)
        flipped = np.asarray(jax.random.uniform(flip, (total,), jnp.float32)) < 0.1
    X = 2 * u - 1
    above = X[:, 1] > 0.4 * np.sin(3 * X[:, 0])
    y = (above ^ flipped).astype(np.int32)
    return Data.from_arrays(X[:num_train], y[:num_train]), Data.from_arrays(X[num_train:], y[num_train:])


def load_mat(path: Source) -> tuple[Data, Data]:
    """Returns (train, test) of a MATLAB 5 file with X, y, Xval and yval; y holds class labels.

    Args:
        path: the file; X is `(n_samples, n_features)`, y `(n_samples, 1)`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: X holds no numbers, or y neither numbers nor text; names the file.
        ValueError: not such a file, or arrays that are missing or do not fit; names the file.
    """
    arrays = _read(path, lambda file: read_arrays(file.read_bytes()), "a MATLAB 5 file")
    train, test, _ = _from_arrays(path, arrays, True, "classification")
    assert test is not None
    return train, test


def load_npz(path: Source, *, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test) of a NumPy archive with X and y, and Xval and yval for the test samples.

    Without Xval and yval the second is None. Nothing is unpickled: arrays of objects are refused.

    Args:
        path: the file; X is `(n_samples, n_features)`, y `(n_samples,)` or `(n_samples, n_outputs)`.
        task: as in `Data.from_arrays`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: X holds no numbers, or y neither numbers nor text; names the file.
        ValueError: not such a file, or arrays that are missing or do not fit; names the file.
    """
    train, test, _ = _npz(path, task, None)
    return train, test


def load_csv(path: Source, *, target: str | None = None, task: Task = "auto") -> tuple[Data, None]:
    """Returns (train, None) of a comma-separated table with a header line; all other columns are features.

    Args:
        path: the file.
        target: name of the target's column; None takes the last one.
        task: as in `Data.from_arrays`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: target is no text, or its column holds no numbers where task is regression.
        ValueError: not such a file, or a column that is missing, empty or not numeric; names it.
    """
    return _csv(path, target, task, None).train, None


def load(source: Source, *, target: str | None = None, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test or None) of a named data set, or of a .mat, .csv or .npz file.

    Names: two_regions, the built-in set; and scikit-learn's iris, wine, breast_cancer, digits, diabetes.

    Args:
        source: name or path.
        target: name of a .csv file's target column; None takes the last one.
        task: as in `Data.from_arrays`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: source or target is no text, or an error of the loader of that kind.
        ValueError: an unknown name, another ending, or an error of the loader of that kind.

    Example:
        >>> from regjax.data.loaders import load
        >>> train, test = load("iris")
        >>> train.x.shape, test
        ((4, 150), None)
    """
    train, test, _ = load_named(source, target=target, task=task)
    return train, test


def load_named(
    source: Source, *, target: str | None = None, task: Task = "auto", classes: np.ndarray | None = None
) -> Loaded:
    """Returns a named data set or a file with the user's class labels; otherwise as `load`.

    Args:
        source: as in `load`.
        target: as in `load`.
        task: as in `load`.
        classes: labels of the classes 0, 1, …: a file of test samples is read with those of training.

    Raises:
        OSError: as in `load`.
        TypeError: as in `load`.
        ValueError: as in `load`.
    """
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise TypeError(f"data must be a name or a path, got {shown(source)}")
    text = os.fspath(source)
    if not text:
        raise ValueError("data must be a name or a path, got ''")
    ending = Path(text).suffix.lower()
    _check_options(text, ending, target, task)
    if text == BUILT_IN:
        with own_settings("float32"):
            return Loaded(*two_regions(root_key()))
    if text in BUNDLED:
        return Loaded(_bundled(text, task))
    if ending == ".mat":
        return Loaded(*load_mat(text))
    if ending == ".csv":
        return _csv(text, target, task, classes)
    if ending == ".npz":
        return _npz(text, task, classes)
    raise _unknown(text, ending)


def load_two_classes(source: Source, fraction: float = 0.3) -> tuple[Data, Data]:
    """Returns (train, test) of a data set of two classes; `regjax compare` calls it.

    Args:
        source: as in `load`.
        fraction: fraction of the samples to hold out where the data set has no test samples, in (0, 1).

    Raises:
        OSError: as in `load`.
        TypeError: as in `load`.
        ValueError: as in `load`; or labels of other than two classes, or too few samples to hold some out.
    """
    train, test = load(source, task="classification")
    if test is not None:
        return train, test
    with of_file(source):
        check_two_classes(train)
        return hold_out(train, fraction)


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


def _check_options(text: str, ending: str, target: str | None, task: Task) -> None:
    """Raises ValueError for an option that this kind of data set does not take."""
    if target is not None and ending != ".csv":
        raise ValueError(
            f"target must only be given with a .csv file, got {shown(target)} with {shortened(text)}"
        )
    if task == "regression" and (text == BUILT_IN or ending == ".mat"):
        raise ValueError(
            f"task must be classification for {shortened(text)}, whose y holds labels, got {shown(task)}"
        )


def _unknown(text: str, ending: str) -> Exception:
    """Returns the error about a source that is neither a known name nor a file of a known kind."""
    if not ending and not os.path.exists(text):
        known = (BUILT_IN, *BUNDLED)
        near = difflib.get_close_matches(text, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return ValueError(
            f"data must be one of {', '.join(known)}, or a .mat, .csv or .npz file, got {shown(text)}{hint}"
        )
    # A missing file or a folder is the likelier slip than a wrong ending: its OSError comes first.
    _read(text, lambda file: None, "a file")
    return ValueError(f"{text}: data must be a .mat, .csv or .npz file, got the ending {shown(ending)}")


def _bundled(name: str, task: Task) -> Data:
    import sklearn.datasets

    bunch: Any = getattr(sklearn.datasets, f"load_{name}")()
    return Data.from_arrays(bunch.data, bunch.target, task=task)


def _npz(path: Source, task: Task, classes: np.ndarray | None) -> Loaded:
    def read(file: Path) -> dict[str, Any]:
        # Opened here: NumPy leaves the file open where the archive is damaged.
        with open(file, "rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    arrays = _read(path, read, "a NumPy .npz archive")
    return _from_arrays(path, arrays, any(name in arrays for name in TEST_ARRAYS), task, classes)


def _from_arrays(
    path: Source, arrays: dict[str, Any], has_test: bool, task: Task, classes: np.ndarray | None = None
) -> Loaded:
    """Returns the data set of a file's arrays X and y, and with test samples Xval and yval."""
    names = (*TRAIN_ARRAYS, *TEST_ARRAYS) if has_test else TRAIN_ARRAYS
    with of_file(path):
        missing = [name for name in names if name not in arrays]
        if missing:
            found = shortened(", ".join(arrays)) or "nothing"
            raise ValueError(f"must hold {', '.join(names)}; without {', '.join(missing)}, it holds {found}")
        classes = _class_names(arrays["y"], task) if classes is None else classes
        train = _part(arrays, TRAIN_ARRAYS, task, classes)
        if not has_test:
            return Loaded(train, None, classes)
        # yval is of the kind of y, whatever dtype it was saved in.
        real = np.issubdtype(train.y.dtype, np.floating)
        test = _part(arrays, TEST_ARRAYS, "regression" if real else "classification", classes)
        for name, one, other in (("X", train.x, test.x), ("y", train.y, test.y)):
            if len(one) != len(other):
                raise ValueError(
                    f"{name}val must have as many columns as {name}, got {len(other)} and {len(one)}"
                )
        return Loaded(train, test, classes)


def _part(arrays: dict[str, Any], names: tuple[str, str], task: Task, classes: np.ndarray | None) -> Data:
    """Returns the samples of two arrays, whose errors name them."""
    for name in names:
        if np.asarray(arrays[name]).dtype.kind in "OV":
            raise TypeError(f"{name} must hold numbers or text, got cells, a structure or the like")
    return Data.from_arrays(*(arrays[name] for name in names), task=task, classes=classes, names=names)


def _csv(path: Source, target: str | None, task: Task, classes: np.ndarray | None) -> Loaded:
    if not isinstance(target, str | None):
        raise TypeError(f"target must be the name of a column, got {shown(target)}")
    table, header = _read(path, _read_table, "a table of comma-separated values")
    with of_file(path):
        _check_header(table, header)
        target = table.columns[-1] if target is None else target
        if target not in table.columns:
            names = shortened(", ".join(table.columns))
            raise ValueError(f"target must be one of {names}, got {shown(target)}")
        x = _numeric_features(table.drop(columns=[target]))
        y = table[target]
        if y.isna().any():
            sample = int(np.argmax(y.isna()))
            raise ValueError(f"target {shown(target)} must have no gaps, got one in sample {sample}")
        labels = y.to_numpy() if y.dtype.kind in "fiub" else y.to_numpy(str)
        classes = _class_names(labels, task) if classes is None else classes
        return Loaded(Data.from_arrays(x, labels, task=task, classes=classes), None, classes)


def _read_table(file: Path) -> tuple[Any, list[str]]:
    """Returns a table, and its header line as it stands in the file."""
    import pandas as pd

    warnings.simplefilter("error", pd.errors.ParserWarning)
    head = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False)
    try:
        # index_col: where lines are longer than the header, pandas would take the first column for an index.
        return pd.read_csv(file, index_col=False, low_memory=False), head.iloc[0].tolist()
    except pd.errors.ParserWarning:
        raise ValueError("lines have more values than the header line has names") from None


def _check_header(table: Any, header: list[str]) -> None:
    """Raises ValueError where two columns have one name, or the first line holds no names."""
    # The names of the table would not show it: pandas calls the second of two equal names a.1.
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise ValueError(f"must have a name of its own for each column, got {shown(twice[0])} twice")
    if all(_is_number(column) for column in table.columns):
        names = shortened(", ".join(table.columns))
        raise ValueError(f"must have a header line with names, got {names}")


def _numeric_features(features: Any) -> np.ndarray:
    """Returns the features of a table as floats; a gap is NaN."""
    import pandas as pd

    numbers = features.apply(pd.to_numeric, errors="coerce")
    words = np.argwhere((numbers.isna() & features.notna()).to_numpy())
    if len(words):
        sample, column = words[0]
        raise ValueError(
            f"column {shown(features.columns[column])} must hold numbers, "
            f"got {shown(features.iat[sample, column])} in sample {sample}"
        )
    return numbers.to_numpy(float)


def _class_names(y: np.ndarray, task: Task) -> np.ndarray | None:
    """Returns the distinct labels in ascending order; None where they are 0, 1, … or no labels."""
    y = np.asarray(y)
    if y.dtype.kind not in "iubUS" or task == "regression":
        return None
    found = np.unique(y)
    return None if y.dtype.kind in "iub" and np.array_equal(found, np.arange(len(found))) else found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(path: Source, read: Callable[[Path], Any], kind: str) -> Any:
    """Returns read(path); whatever a reader raises on a damaged file becomes one ValueError."""
    file = Path(path)
    try:
        with open(file, "rb"):  # a missing file, a folder or a missing permission is an OSError that names it
            pass
    except ValueError as error:  # NUL, or half of a surrogate pair
        raise ValueError(f"path must be one that a file can have, got {shown(os.fspath(path))}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats; the error below says what a user can mend
            return read(file)
    except MemoryError as error:  # a damaged header may ask for any size
        raise ValueError(f"{path}: must be {kind} that fits into memory") from error
    except Exception as error:  # the readers raise dozens of types on a damaged file
        raise ValueError(
            f"{path}: must be {kind}, and could not be read as one ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Returns the first line of a reader's message; "it is damaged" where the reader itself failed."""
    lines = str(error).splitlines()
    # A KeyError or an IndexError of Python's own says nothing about the file.
    said = (
        isinstance(error, ValueError | OSError | NotImplementedError) or type(error).__module__ != "builtins"
    )
    return shortened(lines[0]) if lines and said else "it is damaged"
