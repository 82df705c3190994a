"""The data set of a sweep: what a user hands in as `Samples`, with test samples, groups, times and weights.

`resolve.make_design` calls it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from regjax.core.checks import shown
from regjax.core.config import Config
from regjax.core.data import Data, Task, check_data, check_test, unit_mean
from regjax.core.objective import resolve_loss
from regjax.data import loaders
from regjax.data.cells import with_gaps
from regjax.data.names import BUILT_IN
from regjax.data.splits import SPLIT_SEED, hold_out_indices, take
from regjax.data.table import (
    Reading,
    Samples,
    as_pandas,
    check_plain,
    frame_to_test,
    is_frame,
    samples_of_arrays,
    samples_of_frame,
    samples_of_pair,
    targets_to_test,
)


def resolve_samples(data: Any, asked: Mapping[str, Any]) -> Samples:
    """Returns the data set of a sweep with its test samples, groups, times and weights."""
    reading = _reading(asked)
    samples = _resolve_data(data, reading)
    n = samples.train.x.shape[1]
    if asked["weights"] is not None and not isinstance(asked["weights"], str):
        train = samples.train._replace(weights=unit_mean(asked["weights"], n))
        samples = samples._replace(train=train)
    for name in ("groups", "time"):
        if asked[name] is not None and not isinstance(asked[name], str):
            samples = samples._replace(**{name: np.asarray(asked[name])})
    # Test samples of their own have their own errors; a fraction of the data is at fault with its file.
    with loaders.of_file(data if isinstance(asked["test"], float) else None):
        return _with_test(samples, asked["test"], reading)


def _reading(asked: Mapping[str, Any]) -> Reading:
    """Returns how the data set is read; raises TypeError for options of another kind."""
    named: dict[str, Any] = {
        name: asked[name] for name in ("target", "task", "columns", "separator", "decimal", "header")
    }
    columns, gaps = asked["columns"], asked["gaps"]
    if columns is not None and not isinstance(columns, Mapping):
        raise TypeError(f"columns must map names of columns to kinds, got {shown(columns)}")
    for name in ("target", "separator", "decimal"):
        if not isinstance(asked[name], str | None):
            raise TypeError(f"{name} must be a text, got {shown(asked[name])}")
    if not isinstance(asked["header"], bool | None):
        raise TypeError(f"header must be True, False or None, got {shown(asked['header'])}")
    if not isinstance(gaps, list | tuple) or not all(isinstance(word, str) for word in gaps):
        raise TypeError(f"gaps must be a list of words, got {shown(gaps)}")
    # Arrays of groups, times and weights are no matter of the table.
    roles: dict[str, Any] = {
        name: asked[name] if isinstance(asked[name], str) else None for name in ("groups", "time", "weights")
    }
    grouped = asked["groups"] is not None and roles["groups"] is None
    return Reading(**named, **roles, gaps=tuple(gaps), grouped=grouped)


def standardizes(data: Any) -> bool:
    """Returns whether the inputs of a data set are standardised where the user does not say so.

    Tables are, and named data sets. Arrays are taken as they come; so are the built-in sets and .mat files,
    which come scaled and whose known results are of the values as they are.
    """
    if isinstance(data, str | os.PathLike):
        return os.fspath(data) not in BUILT_IN and not str(data).lower().endswith(".mat")
    return is_frame(data) or (isinstance(data, tuple | list) and len(data) == 2 and is_frame(data[0]))


def _resolve_data(data: Any, reading: Reading) -> Samples:
    """Returns the data set of what a user hands in."""
    if isinstance(data, str | os.PathLike):
        return loaders.load_samples(data, reading)
    _check_no_text(reading)
    if is_frame(data):
        return samples_of_frame(_frame(data, reading), reading)
    pair = isinstance(data, tuple | list) and len(data) == 2 and not isinstance(data, Data)
    if reading.target is not None:
        raise ValueError(f"target must only be given with a table, got {shown(reading.target)}")
    if pair and is_frame(data[0]):
        return samples_of_pair(_frame(data[0], reading), _column(data[1]), reading)
    _check_no_names(reading)
    if isinstance(data, Data):
        return Samples(data)
    if pair:
        return samples_of_arrays(data[0], data[1], reading.task)
    raise TypeError(
        "data must be a regjax.Data, a pair (X, y) with X (n_samples, n_features), a frame, or a data set's "
        f"name or path, got {type(data).__name__}"
    )


def _frame(frame: Any, reading: Reading) -> Any:
    """Returns a frame of pandas, in which the words that stand for a gap are gaps."""
    found = as_pandas(frame)
    return with_gaps(found, reading.gaps) if reading.gaps else found


def _check_no_text(reading: Reading) -> None:
    """Raises ValueError for an option about the text of a file where the data are no file."""
    for name in ("separator", "decimal", "header"):
        value = getattr(reading, name)
        if value is not None:
            raise ValueError(f"{name} must only be given with a file of text, got {shown(value)}")


def _check_no_names(reading: Reading) -> None:
    """Raises ValueError for an option about columns where the data have no names."""
    for name in ("columns", "groups", "time", "weights", "gaps"):
        value = getattr(reading, name)
        if value not in (None, ()):
            raise ValueError(
                f"{name} must only be given with a table, whose columns have names, got {shown(value)}"
            )


def _column(y: Any) -> Any:
    """Returns a target beside a frame: a column, also of a frame of one, or an array."""
    if is_frame(y):
        frame = as_pandas(y)
        return frame.iloc[:, 0] if frame.shape[1] == 1 else frame.to_numpy()
    return y.to_list() if type(y).__module__.startswith("polars") else y


def _with_test(samples: Samples, test: Any, reading: Reading) -> Samples:
    """Returns the data set with the test samples that are asked for; None are its own."""
    if test is None:
        return samples
    if isinstance(test, str) and test == "none":
        return samples._replace(test=None)
    if isinstance(test, Data):
        check_plain(samples, "a regjax.Data")
        return samples._replace(test=test)
    if isinstance(test, str | os.PathLike):
        return samples._replace(test=loaders.load_test(test, samples, reading))
    if is_frame(test):
        return samples._replace(
            test=frame_to_test(_frame(test, reading), None, _named(samples, "test"), reading)
        )
    if isinstance(test, tuple | list) and len(test) == 2:
        if is_frame(test[0]) and samples.schema is not None:
            found = frame_to_test(_frame(test[0], reading), _column(test[1]), samples, reading)
            return samples._replace(test=found)
        return samples._replace(test=_test_of_arrays(samples, *test))
    if isinstance(test, float | np.floating):
        return _split_off(samples, float(test))
    raise TypeError(
        'test must be None, "none", a fraction, a regjax.Data, a pair (X, y), a frame or a path, '
        f"got {type(test).__name__}"
    )


def _named(samples: Samples, name: str) -> Samples:
    """Returns the data set; raises ValueError unless its target has a name, to find it in a frame."""
    if samples.schema is None or not samples.schema.target:
        raise ValueError(f"{name} must be a pair (X, y) where the data are one, got a frame")
    return samples


def _test_of_arrays(samples: Samples, X: Any, y: Any) -> Data:
    """Returns test samples of arrays, by the classes of the training samples."""
    check_plain(samples, "arrays")
    targets = targets_to_test(y, samples)
    kind: Task = "classification" if np.issubdtype(targets.dtype, np.integer) else "regression"
    return Data.from_arrays(X, targets, task=kind)


def _split_off(samples: Samples, fraction: float) -> Samples:
    """Returns the data set without a fraction of its samples, which become the test samples."""
    if not 0 < fraction < 1:
        raise ValueError(f"test must be a fraction in (0, 1), got {shown(fraction)}")
    stay, held = hold_out_indices(
        samples.train, fraction, seed=SPLIT_SEED, name="test", groups=samples.groups, time=samples.time
    )
    return samples._replace(
        train=take(samples.train, stay),
        test=take(samples.train, held),
        groups=None if samples.groups is None else samples.groups[stay],
        time=None if samples.time is None else samples.time[stay],
    )


def _check_range(config: Config, samples: Samples, name: str, data: Data) -> None:
    """Raises ValueError for a number in a table that the networks' dtype does not hold."""
    assert samples.schema is not None
    for column, cells in zip(samples.schema.kept, np.asarray(data.x), strict=True):
        # Gaps compare as False. The checks of arrays say the same of these.
        beyond = np.abs(cells) > np.finfo(config.dtype).max
        if beyond.any():
            raise ValueError(
                f"{name} must be finite in {config.dtype}, got {cells[np.argmax(beyond)]:g} in column "
                f"{shown(column.name)}"
            )


def num_inputs(samples: Samples) -> int:
    """Returns the number of the networks' inputs."""
    return len(samples.train.x) if samples.schema is None else samples.schema.width


def checked_samples(config: Config, samples: Samples, standardize_target: bool) -> tuple[Data, Data | None]:
    """Returns the checked training and test samples, x in its own precision: it is standardised before it is
    rounded. So is y where it is standardised, in float64.

    Raises:
        ValueError: arrays that do not fit the config, or classes that are to be standardised.
    """
    train, test, coded = samples.train, samples.test, samples.schema is not None and not samples.schema.plain

    def seen(data: Data) -> Data:
        # The inputs of a table are not made yet: their number is checked here, and the table's numbers.
        if coded:
            _check_range(config, samples, "data" if data is train else "test", data)
        blank = np.broadcast_to(np.float32(0), (num_inputs(samples), data.x.shape[1]))
        return data._replace(x=blank) if coded else data

    def own(data: Data, checked: Data) -> Data:
        y = np.asarray(data.y, np.float64) if standardize_target else checked.y
        return checked._replace(x=np.asarray(data.x), y=y)

    checked = check_data(config, seen(train))
    checked_test = check_test(config, checked, None if test is None else seen(test))
    loss = resolve_loss(config, checked)
    if standardize_target and loss != "squared_error":
        wanted = "squared_error, got loss poisson" if loss == "poisson" else "real targets, got classes"
        raise ValueError(f"standardize_target must be used with {wanted}")
    weights = unit_mean(train.weights, len(train.weights))
    found = own(train, checked)._replace(weights=weights)
    return found, None if test is None or checked_test is None else own(test, checked_test)
