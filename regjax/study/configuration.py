"""A configuration: one set of values of the grid, each in its one spelling.

A configuration is a mapping from names to canonical values: real hyperparameters rounded to 12 significant
digits, everything that is off in its one spelling (l2 = 0, keep_prob = 1), equal values of all layers as one
value. Two configurations that mean the same compare equal, and have the same identity in a store. Grids,
designs, comparisons and the store read values through `value_of`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from regjax.core.checks import check_choice, check_count, shown
from regjax.core.config import Activation, Config, Embedding, Init, Norm, Optimizer
from regjax.core.hparams import HPARAMS_ELSEWHERE, LATER, OFF_VALUES, HParams, check_hparam

Configuration = dict[str, Any]
# Significant digits of real hyperparameters that count.
EXACT = 12
# Value of a field of Config that the grid does not name: the Config of the sweep has it.
UNSET = "unset"
# Fields of Config that may be axes; `hidden` stands for layer_sizes[1:-1].
LATER_AXES = ("norm", "embedding", "members")  # added later
CONFIG_AXES = ("hidden", "activation", "optimizer", "batch_size", "init", *LATER_AXES)
NAMES = (*HParams._fields, *CONFIG_AXES)
# Names in other libraries, for suggestions.
ELSEWHERE = {**HPARAMS_ELSEWHERE, "hidden_layer_sizes": "hidden"}


def canonical(name: str, value: Any) -> Any:
    """Returns the one spelling of a value: what is hashed, compared, shown and trained.

    Raises:
        TypeError: a value of the wrong kind; names the axis.
        ValueError: a value out of its range; names the axis.
    """
    if name in CONFIG_AXES:
        return _canonical_config(name, value)
    if value is None or (isinstance(value, str) and value == "none"):
        value = OFF_VALUES.get(name)
    is_array = isinstance(value, np.ndarray)
    is_vector = (
        value.ndim == 1 if is_array else isinstance(value, tuple | list) and not any(map(_is_list, value))
    )
    values: Any = value if is_vector else (value,)
    if len(values) == 0:
        raise ValueError(f"{name} must have at least one value, got {shown(value)}")
    for entry in values:
        if entry is None and value is not None:
            raise TypeError(f"{name} must have a number for every layer, got {shown(value)}")
        check_hparam(Config(), name, entry)
    # + 0.0 turns -0.0 into 0.0, which compares equal but has another spelling.
    rounded = tuple(float(f"{float(entry):.{EXACT}g}") + 0.0 for entry in values)
    return rounded[0] if len(set(rounded)) == 1 else rounded


def _is_list(value: Any) -> bool:
    return isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _canonical_config(name: str, value: Any) -> Any:
    if name == "hidden":
        value = () if value is None or (isinstance(value, str) and value == "none") else value
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
            value = (value,)
        return tuple(check_count("hidden", units) for units in value)
    if name == "batch_size":
        return None if value is None or value in ("full", "none") else check_count(name, value)
    if name == "members":
        return check_count(name, value)
    choices: dict[str, Any] = {
        "activation": Activation, "optimizer": Optimizer, "init": Init, "norm": Norm, "embedding": Embedding,
    }  # fmt: skip
    check_choice(name, value, get_args(choices[name]))
    return value


def key_of(configuration: Configuration) -> tuple[Any, ...]:
    """Returns all values of a configuration; a name that is missing has its default."""
    return tuple(value_of(configuration, name) for name in NAMES)


def value_of(configuration: Configuration, name: str) -> Any:
    """Returns the canonical value of a name in a configuration, mentioned or not.

    A hyperparameter that is not mentioned has the default of `HParams`; a field of `Config` is `UNSET`.
    """
    if name in configuration:
        return configuration[name]
    return UNSET if name in CONFIG_AXES else _default(name)


def is_mentioned(name: str, value: Any) -> bool:
    """Returns whether a value is part of identities and keys: neither its off value nor a later default.

    So a hyperparameter, or an axis, that a later version adds changes no identity and no key of earlier
    sweeps.
    """
    if name in LATER_AXES and value == UNSET:
        return False
    return value != OFF_VALUES.get(name) and not (name in LATER and value == _default(name))


@functools.cache
def _default(name: str) -> Any:
    return canonical(name, HParams._field_defaults[name])


def as_hparams(configuration: Configuration) -> HParams:
    """Returns the hyperparameters of a configuration."""
    return HParams(**{name: value for name, value in configuration.items() if name in HParams._fields})
