"""Row identity: a hash of what was asked for, and of nothing else."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.objective import resolve_loss
from regjax.study.configuration import UNSET, is_mentioned, value_of
from regjax.study.design import Design
from regjax.study.words import as_cell

# Fields of Config that came later, with what they are where nobody asks for them.
NEUTRAL: dict[str, object] = {
    "batches": "equal",
    "shuffle": True,
    "epsilon_hat": False,
    "stop_on": None,
    "draws": "jax",
    "metrics": None,
}
# Hexadecimal digits of an identity: of 2^64 rows, two would share theirs.
DIGITS = 32


def fingerprint(data: Data) -> str:
    """Returns what tells one data set from another: SHA-256 of its shapes, dtypes and values."""
    return _hash_of_arrays(*data)


def identities(design: Design) -> list[str]:
    """Returns the identity of each row of a design.

    What is off is not mentioned, so that a hyperparameter that a later version brings changes no identity.
    """
    common = {
        "data": fingerprint(design.data),
        "test": None if design.test is None else fingerprint(design.test),
        "standardize": design.standardize,
        "pairing": design.pairing,
    }
    if design.fold_inputs is not None:
        common["fold_inputs"] = [_hash_of_arrays(x) for x in design.fold_inputs]
    parts = design.splits

    @functools.cache
    def split(fold: int, stops: bool) -> str:
        watched = [parts.stop[fold]] if stops and parts.stop is not None else []
        return _hash_of_arrays(parts.train[fold], parts.val[fold], *watched)

    @functools.cache
    def program(config: Config) -> dict[str, Any]:
        told = dataclasses.asdict(config)
        told = {name: value for name, value in told.items() if NEUTRAL.get(name, UNSET) != value}
        return told | {"loss": resolve_loss(config, design.data)}

    asked, shared = [], digest(common)
    for configuration, config, batches in zip(
        design.configurations, design.configs, design.num_batches, strict=True
    ):
        values = ((name, value_of(configuration, name)) for name in HParams._fields)
        on = [(name, as_cell(value)) for name, value in values if is_mentioned(name, value)]
        asked.append(_hash_of_text((shared, program(config), on, batches)))
    found = []
    for index in range(design.num_rows):
        row = design.row(index)
        words = [
            asked[row.configuration],
            row.seed,
            row.fold,
            split(row.fold, design.stops(row.configuration)),
        ]
        if design.pairing == "independent":  # the key then depends on how the configuration is named
            words += design.key(row).tolist()
        found.append(_hash_of_text(words)[:DIGITS])
    return found


def digest(value: Any) -> str:
    """Returns a hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def checksum_of(values: Sequence[Any], content: bytes | None) -> str:
    """Returns a hash of a row's values that are not None, numbers and texts, and of its packed arrays."""
    found = hashlib.sha256(repr([value for value in values if value is not None]).encode())
    found.update(content or b"")
    return found.hexdigest()


def hash_of_file(path: str | None) -> str | None:
    """Returns the SHA-256 of a file, or None where there is no such file."""
    if path is None or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_of_text(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _hash_of_arrays(*arrays: Any) -> str:
    found = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()
