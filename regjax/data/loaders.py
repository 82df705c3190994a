"""Data sets by name or path: the built-in 2-D set, scikit-learn's bundled ones, .mat, .csv and .npz files."""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.checks import check_count, shortened, shown
from regjax.core.data import Data, Task
from regjax.data.matlab import read_arrays

BUILT_IN = "two_regions"
BUNDLED = ("iris", "wine", "breast_cancer", "digits", "diabetes")  # scikit-learn's

# Training rows, test rows or None, and what text labels stand for or None.
Named = tuple[Data, Data | None, np.ndarray | None]


def two_regions(key: jax.Array, *, num_train: int = 211, num_test: int = 200) -> tuple[Data, Data]:
    """Returns (train, test) of the built-in 2-D set: two regions, a curved border, noisy labels.

    Points are uniform on [-1, 1]²; class 1 lies above x₂ = 0.4·sin(3·x₁), and 10 % of the labels, train
    and test alike, are flipped: on new points no classifier is right more often than in 90 % on average,
    and what a network scores above that on the training rows it has learnt by heart.

    Args:
        key: any JAX key.
        num_train: training rows, at least 2.
        num_test: test rows, at least 1.
    """
    num_train = check_count("num_train", num_train, at_least=2)
    num_test = check_count("num_test", num_test)
    total = num_train + num_test
    with jax.threefry_partitionable(True):
        place, flip = jax.random.split(key)
        u = np.asarray(jax.random.uniform(place, (total, 2), jnp.float32), np.float64)
        flipped = np.asarray(jax.random.uniform(flip, (total,), jnp.float32)) < 0.1
    X = 2 * u - 1
    above = X[:, 1] > 0.4 * np.sin(3 * X[:, 0])
    y = (above ^ flipped).astype(np.int32)
    return Data.from_arrays(X[:num_train], y[:num_train]), Data.from_arrays(X[num_train:], y[num_train:])


def load_mat(path: str | os.PathLike[str]) -> tuple[Data, Data]:
    """Returns (train, test) of a MATLAB 5 file with X, y, Xval and yval; y holds class labels.

    Raises:
        OSError: the file cannot be opened.
        TypeError: X holds no numbers, or y neither numbers nor text; names the file.
        ValueError: not such a file, or arrays missing or not fitting; names the file.
    """
    arrays = _read(path, lambda file: read_arrays(file.read_bytes()), "a MATLAB 5 file")
    train, test, _ = _train_and_test(path, arrays, ("X", "y", "Xval", "yval"), "classification")
    assert test is not None
    return train, test


def load_npz(path: str | os.PathLike[str], *, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test) of a NumPy archive with X and y, and Xval and yval for the test rows.

    Without Xval and yval the second is None. Nothing is unpickled: arrays of objects are refused.

    Raises:
        OSError: the file cannot be opened.
        TypeError: X holds no numbers, or y neither numbers nor text; names the file.
        ValueError: not such a file, or arrays missing or not fitting; names the file.
    """
    return _npz(path, task, None)[:2]


def _npz(path: str | os.PathLike[str], task: Task, classes: np.ndarray | None) -> Named:
    def read(file: Path) -> dict[str, Any]:
        # Opened here: NumPy leaves the file open where the archive is damaged.
        with open(file, "rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    arrays = _read(path, read, "a NumPy .npz archive")
    has_test = "Xval" in arrays or "yval" in arrays
    return _train_and_test(
        path, arrays, ("X", "y", "Xval", "yval") if has_test else ("X", "y"), task, classes
    )


def load_csv(
    path: str | os.PathLike[str], *, target: str | None = None, task: Task = "auto"
) -> tuple[Data, None]:
    """Returns (train, None) of a comma-separated table with a header line; all other columns are features.

    Args:
        path: the file.
        target: name of the target's column; None takes the last one.
        task: as in `Data.from_arrays`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: target is no text, or its column holds no numbers where task is regression.
        ValueError: not such a file, or a column missing, empty or not numeric; names it.
    """
    return _csv(path, target, task, None)[0], None


def _csv(path: str | os.PathLike[str], target: str | None, task: Task, classes: np.ndarray | None) -> Named:
    import pandas as pd

    def read(file: Path) -> Any:
        warnings.simplefilter("error", pd.errors.ParserWarning)
        head = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False)
        try:  # index_col: else pandas takes the first column of longer rows for an index
            return pd.read_csv(file, index_col=False, low_memory=False), head.iloc[0].tolist()
        except pd.errors.ParserWarning:
            raise ValueError("rows have more values than the header line has names") from None

    if not isinstance(target, str | None):
        raise TypeError(f"target must be the name of a column, got {shown(target)}")
    table, head = _read(path, read, "a table of comma-separated values")
    # pandas calls the second of two equal names a.1.
    twice = [name for name in head if name and head.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: must have a name of its own for each column, got {shown(twice[0])} twice")
    names = shortened(", ".join(table.columns))
    if all(_is_number(column) for column in table.columns):
        raise ValueError(f"{path}: must have a header line with names, got {names}")
    target = table.columns[-1] if target is None else target
    if target not in table.columns:
        raise ValueError(f"{path}: target must be one of {names}, got {shown(target)}")
    features = table.drop(columns=[target])
    numbers = features.apply(pd.to_numeric, errors="coerce")
    words = np.argwhere((numbers.isna() & features.notna()).to_numpy())
    if len(words):
        row, column = words[0]
        raise ValueError(
            f"{path}: column {shown(features.columns[column])} must hold numbers, "
            f"got {shown(features.iat[row, column])} in row {row}"
        )
    y = table[target]
    if y.isna().any():
        raise ValueError(
            f"{path}: target {shown(target)} must have no gaps, got one in row {int(np.argmax(y.isna()))}"
        )
    labels = y.to_numpy() if y.dtype.kind in "fiub" else y.to_numpy(str)
    classes = _class_names(labels, task) if classes is None else classes
    rows = _with_path(
        path, lambda: Data.from_arrays(numbers.to_numpy(float), labels, task=task, classes=classes)
    )
    return rows, None, classes


def _class_names(y: np.ndarray, task: Task) -> np.ndarray | None:
    """Returns what labels stand for, in order; None where they are 0, 1, … or no labels."""
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


def load(
    source: str | os.PathLike[str], *, target: str | None = None, task: Task = "auto"
) -> tuple[Data, Data | None]:
    """Returns (train, test or None) of a named data set, or of a .mat, .csv or .npz file.

    Names: two_regions, the built-in set; and scikit-learn's iris, wine, breast_cancer, digits, diabetes.

    Args:
        source: name or path.
        target: name of a .csv file's target column; None takes the last one.
        task: as in `Data.from_arrays`.

    Raises:
        OSError: the file cannot be opened.
        TypeError: source or target is no text, or what the loader of that kind refuses.
        ValueError: an unknown name, another ending, or what the loader of that kind refuses.
    """
    return load_named(source, target=target, task=task)[:2]


def load_named(
    source: str | os.PathLike[str],
    *,
    target: str | None = None,
    task: Task = "auto",
    classes: np.ndarray | None = None,
) -> Named:
    """Returns (train, test or None, what text labels stand for or None); otherwise as `load`.

    Args:
        source: name or path.
        target: as in `load`.
        task: as in `load`.
        classes: what labels stand for, so that a file of test rows is read as the training rows were.
    """
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise TypeError(f"data must be a name or a path, got {shown(source)}")
    text = os.fspath(source)
    if not text:
        raise ValueError("data must be a name or a path, got ''")
    ending = Path(text).suffix.lower()
    if target is not None and ending != ".csv":
        raise ValueError(
            f"target must only be given with a .csv file, got {shown(target)} with {shortened(text)}"
        )
    if task == "regression" and (text == BUILT_IN or ending == ".mat"):
        raise ValueError(
            f"task must be classification for {shortened(text)}, whose y holds labels, got {shown(task)}"
        )
    if text == BUILT_IN:
        return *two_regions(jax.random.key(0, impl="threefry2x32")), None
    if text in BUNDLED:
        return _bundled(text, task), None, None
    if ending == ".mat":
        return *load_mat(text), None
    if ending == ".csv":
        return _csv(text, target, task, classes)
    if ending == ".npz":
        return _npz(text, task, classes)
    if not ending and not os.path.exists(text):
        near = difflib.get_close_matches(text, (BUILT_IN, *BUNDLED), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join((BUILT_IN, *BUNDLED))
        raise ValueError(
            f"data must be one of {known}, or a .mat, .csv or .npz file, got {shown(text)}{hint}"
        )
    # A path that is missing or a folder is said first: it is the likelier slip.
    _read(text, lambda file: None, "a file")
    raise ValueError(f"{text}: data must be a .mat, .csv or .npz file, got the ending {shown(ending)}")


def _bundled(name: str, task: Task) -> Data:
    import sklearn.datasets

    bunch: Any = getattr(sklearn.datasets, f"load_{name}")()
    return Data.from_arrays(bunch.data, bunch.target, task=task)


def _read(path: str | os.PathLike[str], read: Callable[[Path], Any], kind: str) -> Any:
    file = Path(path)
    try:
        with open(file, "rb"):  # a missing file, a directory or a closed door is an OSError that names it
            pass
    except ValueError as error:  # NUL, or half of a surrogate pair
        raise ValueError(f"path must be one that a file can have, got {shown(os.fspath(path))}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats; what a user can mend is said below
            return read(file)
    except MemoryError as error:  # a damaged header may ask for any size
        raise ValueError(f"{path}: must be {kind} that fits into memory") from error
    except Exception as error:  # the readers raise dozens of types on a damaged file
        raise ValueError(
            f"{path}: must be {kind}, and could not be read as one ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Returns the first line of what a reader said, or that the file is damaged where it stumbled itself."""
    lines = str(error).splitlines()
    said = (
        isinstance(error, ValueError | OSError | NotImplementedError) or type(error).__module__ != "builtins"
    )
    return shortened(lines[0]) if lines and said else "it is damaged"


def _with_path(path: str | os.PathLike[str], make: Callable[[], Data]) -> Data:
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from None


def _train_and_test(
    path: str | os.PathLike[str],
    arrays: dict[str, Any],
    names: tuple[str, ...],
    task: Task,
    classes: np.ndarray | None = None,
) -> Named:
    missing = [name for name in names if name not in arrays]
    if missing:
        found = shortened(", ".join(arrays)) or "nothing"
        raise ValueError(
            f"{path}: must hold {', '.join(names)}; without {', '.join(missing)}, it holds {found}"
        )
    classes = _class_names(arrays["y"], task) if classes is None else classes

    def part(X: str, y: str, task: Task) -> Data:
        for name in (X, y):
            if np.asarray(arrays[name]).dtype.kind in "OV":
                raise TypeError(
                    f"{path}: {name} must hold numbers or text, got cells, a structure or the like"
                )
        try:
            return Data.from_arrays(arrays[X], arrays[y], task=task, classes=classes)
        except (TypeError, ValueError) as error:
            words = re.sub(r"^X and y\b", f"{X} and {y}", str(error))
            words = re.sub(r"^(X|y)\b", lambda found: {"X": X, "y": y}[found[0]], words)
            raise type(error)(f"{path}: {words}") from None

    train = part("X", "y", task)
    if len(names) == 2:
        return train, None, classes
    # What y is, yval is too, whatever dtype it was saved in.
    real = np.issubdtype(train.y.dtype, np.floating)
    test = part("Xval", "yval", "regression" if real else "classification")
    for name, one, other in (("X", train.x, test.x), ("y", train.y, test.y)):
        if len(one) != len(other):
            raise ValueError(
                f"{path}: {name}val must have as many columns as {name}, got {len(other)} and {len(one)}"
            )
    return train, test, classes
