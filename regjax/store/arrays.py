"""Arrays as bytes and back, in the safetensors format, and checksums: nothing is ever pickled."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from regjax.core.config import Config, local_x64
from regjax.core.hparams import HParams
from regjax.core.mlp import Layer, Params
from regjax.core.train import TrainState, init_state


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns named arrays as one safetensors file."""
    return pack_rows({name: np.asarray(value)[None] for name, value in arrays.items()})[0]


def pack_rows(arrays: Mapping[str, np.ndarray]) -> list[bytes]:
    """Returns a safetensors file per row, of arrays `(rows, …)`.

    Rows of one layout share their header, which safetensors writes once; what follows it are the bytes of
    the arrays, in the header's order. A header per row took half of the time that a store may take.
    """
    fields = tuple((name, value.dtype.str, value.shape[1:]) for name, value in arrays.items())
    header, order = _layout(fields)
    count = len(next(iter(arrays.values())))
    filled = [np.ascontiguousarray(arrays[name]) for name in order if arrays[name].size]
    parts = [np.empty((count, 0), np.uint8), *(part.reshape(count, -1).view(np.uint8) for part in filled)]
    return [header + row.tobytes() for row in np.concatenate(parts, axis=1)]


@functools.lru_cache(maxsize=64)
def _layout(fields: tuple[tuple[str, str, tuple[int, ...]], ...]) -> tuple[bytes, list[str]]:
    """Returns the header of a file with these fields, and the order of their bytes."""
    import safetensors.numpy

    whole = safetensors.numpy.save({name: np.zeros(shape, dtype) for name, dtype, shape in fields})
    length = 8 + int.from_bytes(whole[:8], "little")
    places = json.loads(whole[8:length])
    return whole[:length], sorted(places, key=lambda name: places[name]["data_offsets"])


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """Returns the named arrays of a safetensors file.

    Raises:
        ValueError: it is none, or damaged.
    """
    import safetensors
    import safetensors.numpy

    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"content must be a safetensors file, and could not be read ({error})") from error


def checksum_of(values: Sequence[Any], content: bytes | None) -> str:
    """Returns a hash of a row's values that are not None, numbers and texts, and of its packed arrays."""
    found = hashlib.sha256(repr([value for value in values if value is not None]).encode())
    found.update(content or b"")
    return found.hexdigest()


# -- pytrees ------------------------------------------------------------------------------------------------


def leaves(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """Returns the leaves of a pytree as NumPy arrays, named `prefix/0`, `prefix/1`, … in order."""
    return {f"{prefix}/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns those arrays that are named `prefix/…`, without it."""
    start = f"{prefix}/"
    return {name.removeprefix(start): v for name, v in arrays.items() if name.startswith(start)}


def in_order(prefix: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the leaves that `leaves` named."""
    found = under(prefix, arrays)
    return [found[str(i)] for i in range(len(found))]


def as_params(found: Sequence[Any]) -> Params:
    """Returns parameters from their leaves in order."""
    return tuple(Layer(w, b) for w, b in zip(found[::2], found[1::2], strict=True))


def as_state(found: Sequence[np.ndarray], config: Config, hparams: HParams) -> TrainState:
    """Returns the state of a training run from its leaves in order."""
    with local_x64(config.dtype):
        key = jax.random.key(0, impl="threefry2x32")
        shape = jax.eval_shape(lambda key: init_state(key, hparams, config=config), key)
    return jax.tree.unflatten(jax.tree.structure(shape), found)
