"""Data sets by name or path: the built-in 2-D set, scikit-learn's bundled ones, .mat, .csv and .npz files."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regjax.config import check_count
from regjax.data import Data, Task

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
        ValueError: not such a file, or arrays missing or not fitting; names the file.
    """

    def read(file: Path) -> dict[str, Any]:
        import scipy.io

        return scipy.io.loadmat(file)

    arrays = _read(path, read, "a MATLAB 5 file")
    train, test, _ = _train_and_test(path, arrays, ("X", "y", "Xval", "yval"), "classification")
    assert test is not None
    return train, test


def load_npz(path: str | os.PathLike[str], *, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test) of a NumPy archive with X and y, and Xval and yval for the test rows.

    Without Xval and yval the second is None. Nothing is unpickled: arrays of objects are refused.

    Raises:
        OSError: the file cannot be opened.
        ValueError: not such a file, or arrays missing or not fitting; names the file.
    """
    return _npz(path, task, None)[:2]


def _npz(path: str | os.PathLike[str], task: Task, classes: np.ndarray | None) -> Named:
    def read(file: Path) -> dict[str, Any]:
        with np.load(file, allow_pickle=False) as archive:
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
        ValueError: not such a file, or a column missing, empty or not numeric; names it.
    """
    return _csv(path, target, task, None)[0], None


def _csv(path: str | os.PathLike[str], target: str | None, task: Task, classes: np.ndarray | None) -> Named:
    import pandas as pd

    def read(file: Path) -> Any:
        return pd.read_csv(file)

    table = _read(path, read, "a table of comma-separated values")
    if all(_is_number(column) for column in table.columns):
        raise ValueError(f"{path}: must have a header line with names, got {', '.join(table.columns)}")
    target = table.columns[-1] if target is None else target
    if target not in table.columns:
        raise ValueError(
            f"{path}: target must be one of {', '.join(map(str, table.columns))}, got {target!r}"
        )
    features = table.drop(columns=[target])
    numbers = features.apply(pd.to_numeric, errors="coerce")
    words = np.argwhere((numbers.isna() & features.notna()).to_numpy())
    if len(words):
        row, column = words[0]
        raise ValueError(
            f"{path}: column {features.columns[column]!r} must hold numbers, "
            f"got {features.iat[row, column]!r} in row {row}"
        )
    y = table[target]
    if y.isna().any():
        raise ValueError(
            f"{path}: target {target!r} must have no gaps, got one in row {int(np.argmax(y.isna()))}"
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
    if y.dtype.kind == "f" or task == "regression":
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
    text = os.fspath(source)
    if not text:
        raise ValueError("data must be a name or a path, got ''")
    ending = Path(text).suffix.lower()
    if target is not None and ending != ".csv":
        raise ValueError(f"target must only be given with a .csv file, got {target!r} with {text}")
    if task == "regression" and (text == BUILT_IN or ending == ".mat"):
        raise ValueError(f"task must be classification for {text}, whose y holds class labels, got {task!r}")
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
        raise ValueError(f"data must be one of {known}, or a .mat, .csv or .npz file, got {text!r}{hint}")
    # A path that is missing or a folder is said first: it is the likelier slip.
    _read(text, lambda file: None, "a file")
    raise ValueError(f"{text}: data must be a .mat, .csv or .npz file, got the ending {ending!r}")


def _bundled(name: str, task: Task) -> Data:
    import sklearn.datasets

    bunch: Any = getattr(sklearn.datasets, f"load_{name}")()
    return Data.from_arrays(bunch.data, bunch.target, task=task)


def _read(path: str | os.PathLike[str], read: Callable[[Path], Any], kind: str) -> Any:
    file = Path(path)
    with open(file, "rb"):  # a missing file, a directory or a closed door is an OSError that names it
        pass
    try:
        return read(file)
    except MemoryError:
        raise
    except Exception as error:  # the readers raise dozens of types on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: must be {kind}, and could not be read as one ({reason})") from error


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
        found = ", ".join(name for name in arrays if not name.startswith("__")) or "nothing"
        raise ValueError(
            f"{path}: must hold {', '.join(names)}; without {', '.join(missing)}, it holds {found}"
        )
    classes = _class_names(arrays["y"], task) if classes is None else classes

    def part(X: str, y: str) -> Data:
        try:
            return Data.from_arrays(arrays[X], arrays[y], task=task, classes=classes)
        except (TypeError, ValueError) as error:
            words = re.sub(r"^(X|y)\b", lambda found: {"X": X, "y": y}[found[0]], str(error))
            raise type(error)(f"{path}: {words}") from None

    return part("X", "y"), part("Xval", "yval") if len(names) > 2 else None, classes
