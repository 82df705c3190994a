"""Every hash of the store: identities of rows and sweeps, fingerprints of data, checksums of stored rows.

The *identity* of a row is a hash of what was asked for, and of nothing else: a stored row of equal identity
is read instead of being trained again. The provenance, how a row was computed, is not part of it.
`engine/checkpoints.py` finds rows by identity; `store.py` writes and checks the other hashes. What is hashed
here, and its spelling, must never change: every stored file depends on it.
"""

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
from regjax.data.splits import Splits
from regjax.study.configuration import UNSET, is_mentioned, value_of
from regjax.study.design import Design
from regjax.study.words import as_cell

# Fields of Config that were added after the first stores were written, with the value that means what those
# stores did. A field of this value is left out of the hash, so that old identities hold.
NEUTRAL: dict[str, object] = {
    "batches": "equal",
    "shuffle": True,
    "epsilon_hat": False,
    "stop_on": None,
    "clip_loss": False,
    "draws": "jax",
    "metrics": None,
    "norm": "none",
    "residual": False,
    "embedding": "none",
    "members": 1,
}
# Hexadecimal digits of an identity, 128 bits: only among some 2^64 rows would two be expected to be equal.
DIGITS = 32


def fingerprint(data: Data) -> str:
    """Returns the SHA-256 of a data set's shapes, dtypes and values."""
    return hash_of_arrays(*data)


def identities(design: Design) -> list[str]:
    """Returns the identity of each row of a design, `DIGITS` hexadecimal digits each.

    Hyperparameters that are off are left out of the hash, so that one added by a later version changes no
    identity.
    """
    asked = _asked(design)
    split = functools.cache(functools.partial(_hash_of_split, design.splits))
    found = []
    for index in range(design.num_rows):
        row = design.row(index)
        own_split = split(row.fold, design.stops_early(row.configuration))
        words = [asked[row.configuration], row.seed, row.fold, own_split]
        if design.pairing == "independent":
            # The key then depends on how the grid spells the configuration, which the hash does not contain.
            words += design.key(row).tolist()
        found.append(_hash_of_text(words)[:DIGITS])
    return found


def sweep_identity(rows: Sequence[str], design: Design) -> str:
    """Returns the identity of a sweep: a hash of its rows' identities, in order, and of its names.

    Labels of classes and names of columns count, since they are stored with the sweep: equal rows with other
    names are another sweep.
    """
    labels = None if design.classes is None else design.classes.tolist()
    columns = [] if design.schema is None else [[c.name, c.levels, c.rare] for c in design.schema.columns]
    return digest([*rows, labels, *columns])


def _asked(design: Design) -> list[str]:
    """Returns for each configuration a hash of all that is asked of its rows, except seed and split."""
    common = {
        "data": fingerprint(design.data),
        "test": None if design.test is None else fingerprint(design.test),
        "standardize": design.standardize,
        "pairing": design.pairing,
    }
    # Later options are hashed only where they are on, so that old identities hold.
    if design.standardize_target:
        common["standardize_target"] = True
    if design.fold_inputs is not None:
        common["fold_inputs"] = [hash_of_arrays(x) for x in design.fold_inputs]
    if design.coded and design.schema is not None:
        # What decides the inputs besides the data; names do not.
        columns = [(c.kind, c.gaps, len(c.levels), bool(c.rare)) for c in design.schema.kept]
        common["columns"] = [design.schema.least, *columns]
    shared, found = digest(common), []
    program = functools.cache(functools.partial(_program, data=design.data))
    each = zip(design.configurations, design.configs, design.num_batches, strict=True)
    for configuration, config, batches in each:
        values = ((name, value_of(configuration, name)) for name in HParams._fields)
        on = [(name, as_cell(value)) for name, value in values if is_mentioned(name, value)]
        found.append(_hash_of_text((shared, program(config), on, batches)))
    return found


def _program(config: Config, data: Data) -> dict[str, Any]:
    """Returns the fields of a config that are hashed; "auto" losses are named."""
    fields = dataclasses.asdict(config)
    if config.stop_on != "loss":
        del fields["clip_loss"]  # the loss then decides nothing
    if config.embedding == "none":
        del fields["embedding_size"]
    if config.embedding != "periodic":
        del fields["embedding_scale"]
    fields = {name: value for name, value in fields.items() if NEUTRAL.get(name, UNSET) != value}
    return fields | {"loss": resolve_loss(config, data)}


def _hash_of_split(splits: Splits, fold: int, stops_early: bool) -> str:
    """Returns a hash of the weights of a fold, with the stopping weights only where a row may stop early."""
    watched = [splits.stop[fold]] if stops_early and splits.stop is not None else []
    # As float64, however they are held: the same weights have the same identity.
    weights = (splits.train[fold], splits.val[fold], *watched)
    return hash_of_arrays(*(np.asarray(part, np.float64) for part in weights))


def digest(value: Any) -> str:
    """Returns the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def checksum_of(values: Sequence[Any], content: bytes | None) -> str:
    """Returns the checksum of a stored row: the SHA-256 of its values that are not None, and of its arrays.

    None is left out so that a column added by a later version does not change the checksum of older rows.

    Args:
        values: numbers and texts, in the order of the table's columns.
        content: packed arrays, or None.
    """
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


def hash_of_arrays(*arrays: Any) -> str:
    """Returns the SHA-256 of the dtypes, shapes and values of arrays."""
    found = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()
