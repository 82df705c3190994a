"""Data sets: `Data`, loaders for .mat, .csv and .npz files, and the built-in 2-D set.

What a user hands in is `(n_samples, n_features)`; `Data.from_arrays` transposes it once, and inside
everything is features-first. Everything here is NumPy until a training run begins.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from regjax.config import Config, check_choice, check_count, is_traced

# Samples are padded to a multiple of this: a whole number of AVX-512 registers of float32.
PAD_MULTIPLE = 16

Task = Literal["auto", "classification", "regression"]


class Data(NamedTuple):
    """Rows with targets and weights, features-first.

    Attributes:
        x: `(n_features, n)`, real.
        y: `(1, n)` integer class labels 0, 1, …; or `(n_outputs, n)` real targets.
        weights: `(n,)`, >= 0, mean 1 over the rows that count; 0 is a row that is held out.
    """

    x: Any
    y: Any
    weights: Any

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        task: Task = "auto",
        classes: ArrayLike | None = None,
    ) -> Data:
        """Returns `Data` from samples-first arrays.

        Args:
            X: features, `(n_samples, n_features)`, finite numbers.
            y: `(n_samples,)`, `(n_samples, 1)`, or for regression `(n_samples, n_outputs)`.
            weights: `(n_samples,)`, >= 0, not all 0; rescaled to mean 1 over the rows above 0.
            task: "auto" takes whole-number, boolean and text dtypes as class labels and real dtypes as
                regression targets.
            classes: what the labels 0, 1, … stand for, `(n_classes,)`. None takes whole numbers as they
                are and text in sorted order: for the rows of a test set, name the classes of training.

        Raises:
            TypeError: X or y is not numeric where it must be.
            ValueError: shapes that do not fit, no rows, NaN or infinity (and where).

        Example:
            >>> import regjax
            >>> data = regjax.Data.from_arrays([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], ["no", "yes", "no"])
            >>> data.x.shape, data.y.tolist(), data.weights.tolist()
            ((2, 3), [[0, 1, 0]], [1.0, 1.0, 1.0])
        """
        check_choice("task", task, ("auto", "classification", "regression"))
        features = _real_matrix("X", X)
        if features.shape[0] == 0:
            raise ValueError(f"X must have at least one row, got shape {features.shape}")
        if features.shape[1] == 0:
            raise ValueError(f"X must have at least one column, got shape {features.shape}")
        targets = np.asarray(y)
        if targets.ndim == 1:
            targets = targets[:, None]
        if targets.ndim != 2 or targets.shape[1] == 0:
            raise ValueError(f"y must be one- or two-dimensional, got shape {np.shape(y)}")
        if len(targets) != len(features):
            raise ValueError(
                f"X and y must have the same number of rows, got {len(features)} and {len(targets)}"
            )
        if _is_classes(targets, task):
            targets = _class_labels(targets, classes)
        else:
            targets = _real_matrix("y", targets)
        return cls(features.T, targets.T, _unit_mean(weights, len(features)))


def _is_classes(y: np.ndarray, task: Task) -> bool:
    return task == "classification" or (task == "auto" and y.dtype.kind != "f")


def _class_labels(y: np.ndarray, classes: ArrayLike | None) -> np.ndarray:
    if y.shape[1] != 1:
        raise ValueError(f"y must have one column of class labels, got {y.shape[1]}")
    if classes is None and y.dtype.kind in "fiub":
        if y.dtype.kind == "f":
            _check_finite("y", y)
        uncoded = np.argwhere(y != np.floor(y))
        if len(uncoded):
            row = uncoded[0, 0]
            raise ValueError(f"y must hold whole numbers as class labels, got {y[row, 0]} in row {row}")
        if np.any(np.abs(y.astype(float)) > 2**31 - 1):
            raise ValueError(f"y must hold class labels 0, 1, …, got {y[np.argmax(np.abs(y)), 0]}")
        return y.astype(np.int32)
    y = y.astype(str) if y.dtype.kind == "O" else y
    known = np.unique(y) if classes is None else np.asarray(classes)
    matches = y == known[None, :]
    strange = np.argwhere(~matches.any(axis=1))
    if len(strange):
        raise ValueError(f"y must hold the classes {', '.join(map(str, known))}, got {y[strange[0, 0], 0]}")
    return matches.argmax(axis=1).astype(np.int32)[:, None]


def _real_matrix(name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional (n_samples, n_features), got shape {array.shape}")
    array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    _check_finite(name, array)
    return array


def _check_finite(name: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite, got {array[row, column]} in row {row}, column {column} (counted from 0)"
        )


def _cast_finite(name: str, x: Any, weights: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is checked is what is computed with: 1e60 is ∞ in float32
        x = np.asarray(x).astype(dtype)
    bad = np.argwhere(~np.isfinite(x) & (weights > 0))  # held-out rows may hold anything
    if len(bad):
        column, row = bad[0]
        raise ValueError(
            f"{name} must be finite in {dtype}, got {x[column, row]} in row {row}, column {column} "
            "(counted from 0)"
        )
    return x


def check_test(config: Config, data: Data, test: Data | None) -> Data | None:
    """Returns a checked test set, None where there is none; it must be of the same kind as `data`.

    Raises:
        TypeError: class labels beside real targets.
        ValueError: as in `check_data`.
    """
    if test is None:
        return None
    test = check_data(config, test, name="test")
    if test.y.dtype != data.y.dtype:
        raise TypeError(f"test must have targets of dtype {data.y.dtype} as data has, got {test.y.dtype}")
    return test


def _unit_mean(weights: ArrayLike | None, num_rows: int, name: str = "weights") -> np.ndarray:
    if weights is None:
        return np.ones(num_rows)
    array = np.asarray(weights, np.float64)
    if array.shape != (num_rows,):
        raise ValueError(f"{name} must have shape ({num_rows},), got {array.shape}")
    if not np.all(np.isfinite(array)) or np.any(array < 0) or not np.any(array > 0):
        raise ValueError(f"{name} must be finite, at least 0, and not all 0")
    return array / np.mean(array[array > 0])


def check_data(config: Config, data: Data, *, name: str = "data") -> Data:
    """Returns `data` as arrays of the dtypes of `config`, checked against its layer sizes and loss.

    Values that are traced pass unchecked; their shapes are checked.

    Raises:
        TypeError: not a `Data`, or a target of the wrong kind for the loss.
        ValueError: what does not fit, naming it.
    """
    if not isinstance(data, Data):
        raise TypeError(f"{name} must be a regjax.Data, got {type(data).__name__}")
    x, y, weights = (value if isinstance(value, jax.Array) else np.asarray(value) for value in data)
    num_inputs, num_outputs = config.layer_sizes[0], config.layer_sizes[-1]
    if x.ndim != 2 or y.ndim != 2 or weights.ndim != 1:
        raise ValueError(
            f"{name} must hold x and y of rank 2 and weights of rank 1, "
            f"got {x.ndim}, {y.ndim}, {weights.ndim}"
        )
    if not x.shape[1] == y.shape[1] == weights.shape[0]:
        raise ValueError(
            f"{name} must hold the same number of rows in x, y and weights, "
            f"got {x.shape[1]}, {y.shape[1]}, {weights.shape[0]}"
        )
    if x.shape[0] != num_inputs:
        raise ValueError(
            f"{name} must have layer_sizes[0] = {num_inputs} features, got {x.shape[0]}: "
            "Data is features-first inside, Data.from_arrays takes (n_samples, n_features)"
        )
    classes = np.issubdtype(y.dtype, np.integer)
    if config.loss == "squared_error" or not classes:
        if config.loss not in ("auto", "squared_error"):
            raise TypeError(f"y must hold class labels for {config.loss}, got dtype {y.dtype}")
        if y.shape[0] != num_outputs:
            raise ValueError(f"y must have layer_sizes[-1] = {num_outputs} outputs, got {y.shape[0]}")
        y = y.astype(config.dtype)
    else:
        num_classes = _check_num_classes(config, y)
        if not is_traced(y):
            _check_labels(name, np.asarray(y), num_classes)
        y = y.astype(np.int32)
    if not is_traced(weights):
        weights = _unit_mean(weights, weights.shape[0], name=f"{name}.weights")
        if not is_traced(x):
            x = _cast_finite(name, x, weights, config.dtype)
    if config.batch_size is not None and name == "data":
        num_train = x.shape[1] if is_traced(weights) else int(np.sum(weights > 0))
        if config.batch_size > num_train:
            raise ValueError(
                f"batch_size must be at most the {num_train} training rows, got {config.batch_size}"
            )
    return Data(x.astype(config.dtype), y, weights.astype(config.dtype))


def _check_num_classes(config: Config, y: Any) -> int:
    num_outputs = config.layer_sizes[-1]
    if y.shape[0] != 1:
        raise ValueError(f"y must be one row of class labels, got {y.shape[0]}")
    two_class = config.loss == "sigmoid_cross_entropy" or (config.loss == "auto" and num_outputs == 1)
    if two_class and num_outputs != 1:
        raise ValueError(f"layer_sizes must end in 1 for sigmoid_cross_entropy, got {num_outputs}")
    if not two_class and num_outputs == 1:
        raise ValueError("layer_sizes must end in the number of classes for softmax_cross_entropy, got 1")
    return 2 if two_class else num_outputs


def _check_labels(name: str, y: np.ndarray, num_classes: int) -> None:
    found = np.unique(y)
    if found[0] >= 0 and found[-1] < num_classes:
        return
    wanted = "two classes, 0 and 1," if num_classes == 2 else f"classes 0 … {num_classes - 1}"
    shown = ", ".join(map(str, found[:10])) + (", …" if len(found) > 10 else "")
    raise ValueError(f"{name} must have labels of {wanted} for this loss, got {shown}")


def check_two_classes(data: Data) -> None:
    """Raises ValueError unless the labels are 0 and 1, or one of them."""
    _check_labels("data", np.asarray(data.y), 2)


def pad_samples(data: Data) -> Data:
    """Returns `data` with rows of weight 0 appended, to a multiple of `PAD_MULTIPLE` rows."""
    extra = -data.x.shape[1] % PAD_MULTIPLE

    def pad(array: Any) -> Any:
        xp = jnp if isinstance(array, jax.Array) else np  # NumPy compiles nothing
        return xp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, extra)])

    return data if extra == 0 else Data(*map(pad, data))


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
    return _train_and_test(path, arrays, ("X", "y", "Xval", "yval"), "classification")


def load_npz(path: str | os.PathLike[str], *, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test) of a NumPy archive with X and y, and Xval and yval for the test rows.

    Without Xval and yval the second is None. Nothing is unpickled: arrays of objects are refused.

    Raises:
        OSError: the file cannot be opened.
        ValueError: not such a file, or arrays missing or not fitting; names the file.
    """

    def read(file: Path) -> dict[str, Any]:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    arrays = _read(path, read, "a NumPy .npz archive")
    has_test = "Xval" in arrays or "yval" in arrays
    return _train_and_test(path, arrays, ("X", "y", "Xval", "yval") if has_test else ("X", "y"), task)


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
    return _with_path(path, lambda: Data.from_arrays(numbers.to_numpy(float), labels, task=task)), None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def load(path: str | os.PathLike[str], *, task: Task = "auto") -> tuple[Data, Data | None]:
    """Returns (train, test or None) of a .mat, .csv or .npz file, by its ending.

    Raises:
        OSError: the file cannot be opened.
        ValueError: another ending, or what the loader of that kind refuses.
    """
    ending = Path(path).suffix.lower()
    if ending == ".mat":
        return load_mat(path)
    if ending == ".csv":
        return load_csv(path, task=task)
    if ending == ".npz":
        return load_npz(path, task=task)
    # A path that is missing or a folder is said first: it is the likelier slip.
    _read(path, lambda file: None, "a file")
    raise ValueError(f"{path}: data must be a .mat, .csv or .npz file, got the ending {ending!r}")


def hold_out(data: Data, fraction: float, *, seed: int = 0) -> tuple[Data, Data]:
    """Returns (train, test): a random part of the rows held out, stratified for classes.

    Args:
        data: all rows.
        fraction: of the rows that become the test set, in (0, 1).
        seed: of scikit-learn's splitter.

    Raises:
        ValueError: a fraction outside (0, 1), too few rows, or too few rows of a class.
    """
    from sklearn.model_selection import train_test_split

    if not (isinstance(fraction, float) and 0 < fraction < 1) or math.isnan(fraction):
        raise ValueError(f"fraction must lie in (0, 1), got {fraction!r}")
    classes = np.asarray(data.y)[0] if np.issubdtype(data.y.dtype, np.integer) else None
    num_rows = data.x.shape[1]
    num_test = math.ceil(fraction * num_rows)
    num_classes = 1 if classes is None else len(np.unique(classes))
    if min(num_test, num_rows - num_test) < num_classes:
        raise ValueError(
            f"fraction must leave a row of each of {num_classes} classes on both sides, "
            f"got {fraction} of {num_rows} rows"
        )
    if classes is not None and np.min(np.unique(classes, return_counts=True)[1]) < 2:
        raise ValueError("data must have at least two rows of each class to hold some out, got one")
    parts = train_test_split(np.arange(num_rows), test_size=num_test, random_state=seed, stratify=classes)
    train, test = (
        Data(data.x[:, rows], data.y[:, rows], _unit_mean(data.weights[rows], len(rows))) for rows in parts
    )
    return train, test


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
    path: str | os.PathLike[str], arrays: dict[str, Any], names: tuple[str, ...], task: Task
) -> Any:
    missing = [name for name in names if name not in arrays]
    if missing:
        found = ", ".join(name for name in arrays if not name.startswith("__")) or "nothing"
        raise ValueError(
            f"{path}: must hold {', '.join(names)}; without {', '.join(missing)}, it holds {found}"
        )

    def part(X: str, y: str, classes: np.ndarray | None = None) -> Data:
        try:
            return Data.from_arrays(arrays[X], arrays[y], task=task, classes=classes)
        except (TypeError, ValueError) as error:
            words = re.sub(r"^(X|y)\b", lambda found: {"X": X, "y": y}[found[0]], str(error))
            raise type(error)(f"{path}: {words}") from None

    train = part("X", "y")
    if len(names) == 2:
        return train, None
    is_text = np.asarray(arrays["y"]).dtype.kind not in "fiub"
    return train, part("Xval", "yval", np.unique(arrays["y"]) if is_text else None)
