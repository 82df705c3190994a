"""`Data`: samples with targets and weights, and the checks of them.

A user hands in `(n_samples, n_features)`; `Data.from_arrays` transposes it once, and inside regjax all arrays
are features-first. They are NumPy arrays until a training run begins. `regjax.data` makes `Data` and
`regjax.study` checks it for a sweep; `train.make_train` and the tutorial do so for single runs.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .checks import check_choice, is_traced, shortened
from .config import REAL_LOSSES, Config

# Samples are padded to a multiple of this: a whole number of AVX-512 registers of float32.
PAD_MULTIPLE = 16

# Weight, beside a mean of 1, of a sample that is in the batches of training but adds nothing to a sum:
# scikit-learn's networks have samples of weight 0 in theirs.
NOTHING = {"float32": 1e-30, "float64": 1e-200}

Task = Literal["auto", "classification", "regression"]


class Data(NamedTuple):
    """Samples with targets and weights, features-first.

    Attributes:
        x: `(n_features, n)`, real.
        y: `(1, n)` integer class labels 0, 1, …; `(n_labels, n)` integers, 1 where a sample has a label, for
            multilabel cross-entropy; or `(n_outputs, n)` real targets.
        weights: `(n,)`, >= 0, mean 1 over the samples above 0; 0 is a sample that is held out.
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
        names: tuple[str, str] = ("X", "y"),
    ) -> Data:
        """Returns `Data` from samples-first arrays.

        Args:
            X: features, `(n_samples, n_features)`, finite numbers.
            y: `(n_samples,)`, `(n_samples, 1)`, or for regression `(n_samples, n_outputs)`.
            weights: `(n_samples,)`, >= 0, not all 0; rescaled to mean 1 over the samples above 0.
            task: "auto" takes whole-number, boolean and text dtypes as class labels and real dtypes as
                regression targets.
            classes: the user's labels of the classes 0, 1, …, `(n_classes,)`. None takes whole numbers as
                they are and text in sorted order: for a test set, give the classes of training.
            names: names of X and y in messages.

        Raises:
            TypeError: X or y is not numeric where it must be.
            ValueError: shapes that do not fit, no samples, NaN or infinity (and where).

        Example:
            >>> import regjax
            >>> data = regjax.Data.from_arrays([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], ["no", "yes", "no"])
            >>> data.x.shape, data.y.tolist(), data.weights.tolist()
            ((2, 3), [[0, 1, 0]], [1.0, 1.0, 1.0])
        """
        check_choice("task", task, ("auto", "classification", "regression"))
        name_X, name_y = names
        features = _real_matrix(name_X, X)
        if features.shape[0] == 0:
            raise ValueError(f"{name_X} must have at least one sample, got shape {features.shape}")
        if features.shape[1] == 0:
            raise ValueError(f"{name_X} must have at least one column, got shape {features.shape}")
        targets = np.asarray(y)
        if targets.ndim == 1:
            targets = targets[:, None]
        if targets.ndim != 2 or targets.shape[1] == 0:
            raise ValueError(f"{name_y} must be one- or two-dimensional, got shape {targets.shape}")
        if len(targets) != len(features):
            raise ValueError(
                f"{name_X} and {name_y} must have the same number of samples, "
                f"got {len(features)} and {len(targets)}"
            )
        if _is_classes(targets, task):
            targets = _class_labels(name_y, targets, classes)
        else:
            targets = _real_matrix(name_y, targets)
        return cls(features.T, targets.T, unit_mean(weights, len(features)))


def _is_classes(y: np.ndarray, task: Task) -> bool:
    return task == "classification" or (task == "auto" and y.dtype.kind != "f")


def _class_labels(name: str, y: np.ndarray, classes: ArrayLike | None) -> np.ndarray:
    if y.shape[1] != 1:
        raise ValueError(f"{name} must have one column of class labels, got {y.shape[1]}")
    if classes is None and y.dtype.kind in "fiub":
        if y.dtype.kind == "f":
            _check_finite(name, y)
        uncoded = np.argwhere(y != np.floor(y))
        if len(uncoded):
            at = uncoded[0, 0]
            raise ValueError(f"{name} must hold whole numbers as class labels, got {y[at, 0]} in sample {at}")
        beyond = np.argwhere(np.abs(y.astype(np.longdouble)) > 2**31 - 1)
        if len(beyond):
            raise ValueError(f"{name} must hold class labels 0, 1, …, got {y[beyond[0, 0], 0]}")
        return y.astype(np.int32)
    if y.dtype.kind not in "fiubUSO":
        raise TypeError(f"{name} must hold class labels, numbers or text, got dtype {y.dtype}")
    y = y.astype(str) if y.dtype.kind == "O" else y
    known = np.unique(y) if classes is None else np.asarray(classes)
    matches = y == known[None, :]
    strange = np.argwhere(~matches.any(axis=1))
    if len(strange):
        names = shortened(", ".join(map(str, known)))
        raise ValueError(f"{name} must hold the classes {names}, got {shortened(str(y[strange[0, 0], 0]))}")
    return matches.argmax(axis=1).astype(np.int32)[:, None]


def as_numbers(name: str, value: Any) -> np.ndarray:
    """Returns an array of numbers; a frame's columns of several numeric dtypes have one dtype there.

    Raises:
        TypeError: it holds something other than numbers and booleans.
    """
    array = np.asarray(value)
    if array.dtype.kind == "O" and array.size:
        kinds = {type(entry) for entry in array.ravel().tolist()}
        # pandas' missing value becomes NaN, which is refused later with its place.
        if all(
            issubclass(kind, bool | int | float | np.number) or kind.__name__ == "NAType" for kind in kinds
        ):
            missing = [kind for kind in kinds if kind.__name__ == "NAType"]
            entries = [np.nan if type(entry) in missing else float(entry) for entry in array.ravel().tolist()]
            array = np.array(entries, np.float64).reshape(array.shape)
    return array


def _real_matrix(name: str, value: ArrayLike) -> np.ndarray:
    array = as_numbers(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional (n_samples, n_features), got shape {array.shape}")
    with np.errstate(all="ignore"):  # a longdouble may become ∞, which is checked below
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    _check_finite(name, array)
    return array


def _check_finite(name: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        sample, column = bad[0]
        raise ValueError(
            f"{name} must be finite, got {array[sample, column]} in sample {sample}, column {column} "
            "(counted from 0)"
        )


def _cast_finite(name: str, x: Any, weights: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # checked as it is computed with: 1e60 is ∞ in float32
        x = np.asarray(x).astype(dtype)
    bad = np.argwhere(~np.isfinite(x) & (weights > 0))  # held-out samples may hold any value
    if len(bad):
        column, sample = bad[0]
        raise ValueError(
            f"{name} must be finite in {dtype}, got {x[column, sample]} in sample {sample}, "
            f"column {column} (counted from 0)"
        )
    return x


def check_test(config: Config, data: Data, test: Data | None, name: str = "test") -> Data | None:
    """Returns checked samples of another split, or None; their targets must be of the kind of `data`.

    Raises:
        TypeError: class labels beside real targets.
        ValueError: as in `check_data`.
    """
    if test is None:
        return None
    test = check_data(config, test, name=name)
    if test.y.dtype != data.y.dtype:
        raise TypeError(f"{name} must have targets of dtype {data.y.dtype} as data has, got {test.y.dtype}")
    return test


def unit_mean(weights: ArrayLike | None, num_samples: int, name: str = "weights") -> np.ndarray:
    """Returns weights rescaled to mean 1 over the samples above 0, `(num_samples,)`; None weighs each 1.

    Raises:
        ValueError: of another shape, negative, not finite, or all 0.
    """
    if weights is None:
        return np.ones(num_samples)
    array = np.asarray(weights, np.float64)
    if array.shape != (num_samples,):
        raise ValueError(f"{name} must have shape ({num_samples},), got {array.shape}")
    if not np.all(np.isfinite(array)) or np.any(array < 0) or not np.any(array > 0):
        raise ValueError(f"{name} must be finite, at least 0, and not all 0")
    return array / np.mean(array[array > 0])


def check_data(config: Config, data: Data, *, name: str = "data") -> Data:
    """Returns `data` as arrays of the dtypes of `config`, checked against its layer sizes and loss.

    Of traced arrays the shapes are checked, not the values.

    Raises:
        TypeError: not a `Data`, or a target of the wrong kind for the loss.
        ValueError: an array that does not fit; names it.
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
            f"{name} must hold the same number of samples in x, y and weights, "
            f"got {x.shape[1]}, {y.shape[1]}, {weights.shape[0]}"
        )
    if x.shape[0] != num_inputs:
        raise ValueError(
            f"{name} must have layer_sizes[0] = {num_inputs} features, got {x.shape[0]}: "
            "Data is features-first inside, Data.from_arrays takes (n_samples, n_features)"
        )
    classes = np.issubdtype(y.dtype, np.integer)
    real = config.loss in REAL_LOSSES or not classes
    if real:
        if config.loss not in ("auto", *REAL_LOSSES):
            raise TypeError(f"y must hold class labels for {config.loss}, got dtype {y.dtype}")
        if y.shape[0] != num_outputs:
            raise ValueError(f"y must have layer_sizes[-1] = {num_outputs} outputs, got {y.shape[0]}")
    else:
        num_classes = _check_num_classes(config, y)
        if not is_traced(y):
            _check_labels(name, np.asarray(y), num_classes)
    if not is_traced(weights):
        weights = unit_mean(weights, weights.shape[0], name=f"{name}.weights")
        if not is_traced(x):
            x = _cast_finite(name, x, weights, config.dtype)
        if real and not is_traced(y):
            y = _cast_finite("y", y, weights, config.dtype)
            if config.loss == "poisson" and np.any(y[:, weights > 0] < 0):
                raise ValueError(f"y must be >= 0 for loss poisson, got {np.min(y[:, weights > 0]):g}")
    if config.batch_size is not None and name == "data":
        num_train = x.shape[1] if is_traced(weights) else int(np.sum(weights > 0))
        if config.batch_size > num_train:
            raise ValueError(
                f"batch_size must be at most the {num_train} training samples, got {config.batch_size}"
            )
    y = y.astype(config.dtype if real else np.int32)
    return Data(x.astype(config.dtype), y, weights.astype(config.dtype))


def _check_num_classes(config: Config, y: Any) -> int:
    num_outputs = config.layer_sizes[-1]
    if config.loss == "multilabel_cross_entropy":
        if y.shape[0] != num_outputs:
            raise ValueError(f"y must have layer_sizes[-1] = {num_outputs} labels, got {y.shape[0]}")
        return 2
    if y.shape[0] != 1:
        raise ValueError(f"y must have shape (1, n) for class labels, got {y.shape}")
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


def pad_samples(data: Data, multiple: int = PAD_MULTIPLE) -> Data:
    """Returns `data` with samples of weight 0 appended, up to a multiple of this number of samples."""
    extra = -data.x.shape[1] % multiple

    def pad(array: Any) -> Any:
        xp = jnp if isinstance(array, jax.Array) else np  # NumPy compiles nothing
        return xp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, extra)])

    return data if extra == 0 else Data(*map(pad, data))


def adds_nothing(weights: jax.Array) -> jax.Array:
    """Returns which samples have weight 0, or that of `NOTHING`, times any weight of a class."""
    return weights <= 1e6 * NOTHING[str(weights.dtype)]


def hide_held_out(data: Data) -> Data:
    """Returns `data` with the inputs of samples of weight 0 replaced by 0."""
    # 0·inf is NaN: a sample of weight 0 must not reach a product, however large its values.
    return data._replace(x=jnp.where((data.weights > 0)[None, :], data.x, jnp.zeros_like(data.x)))
