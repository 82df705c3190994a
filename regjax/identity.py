"""Row identity and provenance: what was asked for, and how it was computed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import platform
from collections.abc import Iterable
from typing import Any

import numpy as np

from regjax.config import HParams
from regjax.cost import resolve_loss
from regjax.data import Data
from regjax.design import Design
from regjax.grid import as_cell, value_of
from regjax.provenance import device, versions


def fingerprint(data: Data) -> str:
    """Returns what tells one data set from another: SHA-256 of its shapes, dtypes and values."""
    found = hashlib.sha256()
    for leaf in data:
        array = np.ascontiguousarray(leaf)
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def identities(design: Design) -> list[str]:
    """Returns the identity of each row of a design: a hash of what was asked for, and of nothing else."""
    test = None if design.test is None else fingerprint(design.test)
    common = {
        "data": fingerprint(design.data),
        "test": test,
        "standardize": design.standardize,
        "pairing": design.pairing,
    }
    splits = [
        digest([as_npy(design.splits.train[fold]).hex(), as_npy(design.splits.val[fold]).hex()])
        for fold in range(design.num_folds)
    ]
    asked = []
    for configuration, config, batches in zip(
        design.configurations, design.configs, design.num_batches, strict=True
    ):
        program = dataclasses.asdict(config) | {"loss": resolve_loss(config, design.data)}
        values = {name: as_cell(value_of(configuration, name)) for name in HParams._fields}
        asked.append(common | {"config": program, "hparams": values, "num_batches": batches})
    found = []
    for index in range(design.num_rows):
        row = design.row(index)
        own = {"seed": row.seed, "fold": row.fold, "split": splits[row.fold]}
        if design.pairing == "independent":  # the key then depends on how the configuration is named
            own["key"] = design.key(row).tolist()
        found.append(digest(asked[row.configuration] | own))
    return found


@functools.cache
def provenance(chunk: int) -> str:
    """Returns how rows are computed here, as JSON: the chunk's lanes, versions, device and processor."""
    found = {"chunk": chunk, **versions(), "device": device(), "machine": platform.machine()}
    return json.dumps(found, sort_keys=True)


def digest(value: Any) -> str:
    """Returns a hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def as_npy(array: Any) -> bytes:
    """Returns an array as the bytes of an .npy file, never pickled."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def checksum_of(values: Iterable[Any]) -> str:
    """Returns a hash of values of a row and bytes of its arrays."""
    found = hashlib.sha256()
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        found.update(f"{type(value).__name__} {len(content)} ".encode() + content)
    return found.hexdigest()
