"""Who trains and who scores: folds as weight vectors over one data set, hold-out parts, standardising.

A split gives every row a training weight and a validation weight; a row with weight 0 is not there. All
seeds see the same splits, drawn from one split seed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import check_count, shown
from regjax.core.data import Data, unit_mean

SPLIT_SEED = 0


class Splits(NamedTuple):
    """J ways to part n rows into training and validation.

    Attributes:
        train: training weights, `(J, n)`, mean 1 over the rows above 0.
        val: validation weights, `(J, n)`, likewise; all 0 where nothing is held out.
        kind: "folds", "validation" (one part held out) or "none".
        notes: what a reader must know of them, such as a class that a training part lacks.
        stop: weights of the part of each training part that early stopping watches, `(J, n)`, mean 1 over
            the rows above 0; None where nothing asked for it.
    """

    train: np.ndarray
    val: np.ndarray
    kind: str
    notes: tuple[str, ...]
    stop: np.ndarray | None = None

    def trains(self, fold: int, stopping: bool) -> np.ndarray:
        """Returns the training weights of a fold, `(n,)`: with early stopping, without what it watches."""
        if not stopping:
            return self.train[fold]
        assert self.stop is not None
        return unit_mean(np.where(self.stop[fold] > 0, 0, self.train[fold]), self.train.shape[1])

    @property
    def num_train(self) -> np.ndarray:
        """Training rows of each split, `(J,)`."""
        return np.count_nonzero(self.train, axis=1)

    @property
    def num_val(self) -> np.ndarray:
        """Validation rows of each split, `(J,)`."""
        return np.count_nonzero(self.val, axis=1)


def make_splits(
    data: Data,
    folds: Any = None,
    validation: float | None = None,
    groups: ArrayLike | None = None,
    stopping: float | None = None,
) -> Splits:
    """Returns the splits of a sweep.

    Args:
        data: all rows that may train or validate.
        folds: number of folds, stratified for class labels; a splitter of scikit-learn; or a list of
            (train, validation) index pairs.
        validation: a fraction to hold out once, in (0, 1), stratified for class labels.
        groups: `(n,)`, rows of one group stay together; for splitters that take groups.
        stopping: a fraction of each training part for early stopping to watch, in (0, 1), stratified for
            class labels, or of the groups; None takes none.

    Raises:
        TypeError: folds of another kind.
        ValueError: both folds and validation, more folds than rows, indices out of range or in both
            parts, an empty part.
    """
    n = data.x.shape[1]
    if folds is not None and validation is not None:
        raise ValueError("folds and validation must not both be given: each says what is held out")
    if groups is not None and folds is None:
        raise ValueError("groups must be given with folds, got groups alone")
    if folds is not None:
        pairs = _fold_indices(data, folds, groups)
        kind = "folds" if len(pairs) > 1 else "validation"  # one split, however it was asked for
    elif validation is not None:
        pairs = [_hold_out_indices(data, "validation", validation, SPLIT_SEED)]
        kind = "validation"
    else:
        pairs = [(np.arange(n), np.arange(0))]
        kind = "none"
    train, val = np.zeros((len(pairs), n)), np.zeros((len(pairs), n))
    for j, (train_rows, val_rows) in enumerate(pairs):
        for weights, rows, name in ((train, train_rows, "train"), (val, val_rows, "validation")):
            if name == "train" or kind != "none":
                weights[j] = _part_weights(data.weights, rows, f"fold {j}: {name}")
        if np.any((train[j] > 0) & (val[j] > 0)):
            raise ValueError(f"folds must not train on what they score, got shared rows in fold {j}")
    stop = None
    if stopping is not None:
        stop = np.stack([_watched(data, weights, stopping, groups) for weights in train])
    found = Splits(train, val, kind, tuple(_absent_classes(data, train, val, kind)), stop)
    if stop is None:
        return found
    early = np.stack([found.trains(fold, True) for fold in range(len(train))])
    fewer = _absent_classes(data, early, stop, kind, ("training", "watched"))
    notes = [f"with early stopping, {note}" for note in fewer]
    return found._replace(notes=(*found.notes, *notes))


def _watched(data: Data, train: np.ndarray, fraction: float, groups: ArrayLike | None) -> np.ndarray:
    """Returns the weights of a random part of the training rows, `(n,)`."""
    rows = np.flatnonzero(train > 0)
    part = Data(data.x[:, rows], data.y[:, rows], train[rows])
    if groups is None:
        chosen = _hold_out_indices(part, "stopping", fraction, SPLIT_SEED)[1]
    else:
        from sklearn.model_selection import GroupShuffleSplit

        check_fraction("stopping", fraction)
        of_rows = np.asarray(groups)[rows]
        if len(np.unique(of_rows)) < 2:
            raise ValueError("stopping must have at least two groups in each training part, got one")
        splitter = GroupShuffleSplit(1, test_size=fraction, random_state=SPLIT_SEED)
        chosen = next(splitter.split(part.x.T, groups=of_rows))[1]
    return _part_weights(train, rows[chosen], "stopping")


def _fold_indices(data: Data, folds: Any, groups: ArrayLike | None) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    n, classes = data.x.shape[1], _classes(data)
    if isinstance(folds, bool | str):
        raise TypeError(
            f"folds must be a number, a splitter of scikit-learn or a list of index pairs, got {shown(folds)}"
        )
    if isinstance(folds, int | float | np.number):
        count = check_count("folds", folds, at_least=2)
        if count > n:
            raise ValueError(f"folds must be at most the {n} samples, got {count}")
        options: dict[str, Any] = {"n_splits": count, "shuffle": True, "random_state": SPLIT_SEED}
        if groups is None:
            folds = KFold(**options) if classes is None else StratifiedKFold(**options)
            largest = n if classes is None else np.max(np.unique(classes, return_counts=True)[1])
            if count > largest:
                raise ValueError(
                    f"folds must be at most the {largest} samples of the largest class, "
                    f"got {count}; are the targets numbers, and not classes? Then say task='regression'"
                )
        else:
            if count > len(np.unique(np.asarray(groups))):
                raise ValueError(
                    f"folds must be at most the {len(np.unique(np.asarray(groups)))} groups, got {count}"
                )
            folds = GroupKFold(**options) if classes is None else StratifiedGroupKFold(**options)
    if hasattr(folds, "split"):
        if groups is not None and np.shape(groups) != (n,):
            raise ValueError(f"groups must have shape ({n},), got {np.shape(groups)}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # too few rows of a class: said in our own words
            found: Any = folds.split(data.x.T, classes if classes is not None else data.y.T, groups)
            return [(np.asarray(a), np.asarray(b)) for a, b in found]
    if not isinstance(folds, Iterable):
        raise TypeError(
            f"folds must be a number, a splitter of scikit-learn or a list of index pairs, got {shown(folds)}"
        )
    pairs = []
    for j, pair in enumerate(folds):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"folds must list (train, validation) index pairs, got {shown(pair)} in place {j}"
            )
        pairs.append(tuple(_indices(rows, n, j) for rows in pair))
    if not pairs:
        raise ValueError("folds must not be empty, got no index pair")
    return pairs


def _indices(rows: Any, n: int, fold: int) -> np.ndarray:
    try:
        array = np.asarray(rows)
    except ValueError:  # lists of several lengths
        array = np.array(None)
    if array.dtype.kind == "b" and array.shape == (n,):
        return np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(np.unique(array)) != len(array):
        raise ValueError(f"folds must list distinct row indices, got others in fold {fold}")
    if len(array) and not 0 <= array.min() <= array.max() < n:
        raise ValueError(f"folds must list row indices from 0 to {n - 1}, got others in fold {fold}")
    return array


def _part_weights(weights: np.ndarray, rows: np.ndarray, name: str) -> np.ndarray:
    part = np.zeros(len(weights))
    part[rows] = np.asarray(weights)[rows]
    if not np.any(part > 0):
        raise ValueError(f"folds must leave rows on both sides, got none in {name}")
    return unit_mean(part, len(part))


def _classes(data: Data) -> np.ndarray | None:
    return np.asarray(data.y)[0] if np.issubdtype(data.y.dtype, np.integer) else None


def _absent_classes(
    data: Data,
    train: np.ndarray,
    val: np.ndarray,
    kind: str,
    names: tuple[str, str] = ("training", "validation"),
) -> Iterable[str]:
    classes = _classes(data)
    if classes is None:
        return
    for j in range(len(train)):
        for name, weights in zip(names, (train[j], val[j]), strict=True):
            absent = np.setdiff1d(classes, classes[weights > 0])
            if len(absent) and np.any(weights > 0):
                where = f"the {name} part of fold {j}" if kind == "folds" else f"the {name} part"
                yield f"{where} has no row of class {', '.join(map(str, absent))}"


def standardisation(data: Data, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and scale of each feature over the training rows, `(n_features, 1)` each, float64.

    The scale is the standard deviation, and 1 where a feature is constant.

    Args:
        data: all rows.
        train: training weights, `(n,)`.
    """
    seen, weights = np.asarray(data.x, np.float64)[:, train > 0], train[train > 0]
    mean = np.average(seen, axis=1, weights=weights)[:, None]
    scale = np.sqrt(np.average((seen - mean) ** 2, axis=1, weights=weights))[:, None]
    # What rounding leaves of a constant feature is no spread.
    constant = scale <= 10 * np.finfo(float).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, scale)


def hold_out(data: Data, fraction: float, *, seed: int = 0, name: str = "fraction") -> tuple[Data, Data]:
    """Returns (train, test): a random part of the rows held out, stratified for classes.

    Args:
        data: all rows.
        fraction: of the rows that become the test set, in (0, 1).
        seed: of scikit-learn's splitter.
        name: what messages call the fraction.

    Raises:
        ValueError: a fraction outside (0, 1), too few rows, or too few rows of a class.
    """
    parts = _hold_out_indices(data, name, fraction, seed)
    train, test = (
        Data(data.x[:, rows], data.y[:, rows], unit_mean(data.weights[rows], len(rows))) for rows in parts
    )
    return train, test


def check_fraction(name: str, fraction: Any) -> None:
    """Raises ValueError unless this is a part of the rows, and not all."""
    if not (isinstance(fraction, float) and 0 < fraction < 1):
        raise ValueError(f"{name} must be a fraction in (0, 1), got {shown(fraction)}")


def _hold_out_indices(data: Data, name: str, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    check_fraction(name, fraction)
    classes = _classes(data)
    num_rows = data.x.shape[1]
    num_test = math.ceil(fraction * num_rows)
    num_classes = 1 if classes is None else len(np.unique(classes))
    if min(num_test, num_rows - num_test) < num_classes:
        raise ValueError(
            f"{name} must leave a row of each of {num_classes} classes on both sides, "
            f"got {fraction} of {num_rows} rows"
        )
    if classes is not None and np.min(np.unique(classes, return_counts=True)[1]) < 2:
        raise ValueError(
            f"{name} must have at least two rows of each class to hold some out, got one of a class"
        )
    train, test = train_test_split(
        np.arange(num_rows), test_size=num_test, random_state=seed, stratify=classes
    )
    return np.asarray(train), np.asarray(test)
