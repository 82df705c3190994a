"""Turns arrays, data sets, designs and rows into the bytes, JSON and columns that a store writes, and back.

Arrays are safetensors files; nothing is ever pickled. `store.py` packs data sets and designs with it,
`engine/checkpoints.py` rows and training states.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from regjax.core.blocks import empty_params
from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Layer, Params
from regjax.core.random import root_key
from regjax.core.settings import own_settings
from regjax.core.train import TrainState, init_state
from regjax.data.schema import Schema
from regjax.data.splits import Splits
from regjax.study.configuration import NAMES, as_hparams, value_of
from regjax.study.design import Design
from regjax.study.provenance import sizes_in_words
from regjax.study.words import as_cell

# Columns of a row whose values its configuration decides.
ASKED_COLUMNS = (*NAMES, "layer_sizes", "num_steps", "eval_every")


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the bytes of a safetensors file of named arrays."""
    return pack_rows({name: np.asarray(value)[None] for name, value in arrays.items()})[0]


def pack_rows(arrays: Mapping[str, np.ndarray]) -> list[bytes]:
    """Returns the bytes of a safetensors file for each row of arrays `(rows, …)`.

    Files of one layout have the same header, so it is made once and followed by each row's bytes, in the
    header's order. A header made for each row took half of the time that a sweep spends on its store.
    """
    fields = tuple((name, value.dtype.str, value.shape[1:]) for name, value in arrays.items())
    header, order = _layout(fields)
    count = len(next(iter(arrays.values())))
    filled = [np.ascontiguousarray(arrays[name]) for name in order if arrays[name].size]
    parts = [np.empty((count, 0), np.uint8), *(part.reshape(count, -1).view(np.uint8) for part in filled)]
    return [header + row.tobytes() for row in np.concatenate(parts, axis=1)]


@functools.lru_cache(maxsize=64)
def _layout(fields: tuple[tuple[str, str, tuple[int, ...]], ...]) -> tuple[bytes, list[str]]:
    """Returns the header of a file with these (name, dtype, shape), and its names in the order of bytes."""
    import safetensors.numpy

    whole = safetensors.numpy.save({name: np.zeros(shape, dtype) for name, dtype, shape in fields})
    length = 8 + int.from_bytes(whole[:8], "little")
    # The format: 8 bytes with the length of the header, the header as JSON, then the arrays.
    places = json.loads(whole[8:length])
    return whole[:length], sorted(places, key=lambda name: places[name]["data_offsets"])


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """Returns the named arrays of a safetensors file.

    Raises:
        ValueError: the bytes are no safetensors file, or damaged.

    Example:
        >>> unpack(pack({"w": np.eye(2)}))["w"].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    import safetensors
    import safetensors.numpy

    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"content must be a safetensors file, and could not be read ({error})") from error


# -- pytrees ------------------------------------------------------------------------------------------------


def leaves(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """Returns the leaves of a pytree as NumPy arrays, named `prefix/0`, `prefix/1`, … in order."""
    return {f"{prefix}/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays whose names begin with `prefix/`, under the rest of their names."""
    start = f"{prefix}/"
    return {name.removeprefix(start): v for name, v in arrays.items() if name.startswith(start)}


def leaves_under(prefix: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the arrays named `prefix/0`, `prefix/1`, … in order, as `leaves` named them."""
    found = under(prefix, arrays)
    return [found[str(i)] for i in range(len(found))]


def as_params(found: Sequence[Any], config: Config) -> Params:
    """Returns parameters from their leaves in order: w and b of each layer, and what its blocks have."""
    if not config.is_plain:
        return jax.tree.unflatten(jax.tree.structure(empty_params(config)), found)
    return tuple(Layer(w, b) for w, b in zip(found[::2], found[1::2], strict=True))


def as_state(found: Sequence[np.ndarray], config: Config, hparams: HParams) -> TrainState:
    """Returns a training state from its leaves in order.

    Args:
        found: the leaves, as `leaves_under` returns them.
        config: the config of the row.
        hparams: the hyperparameters of the row; with `config` they decide which parts the state has.
    """
    return jax.tree.unflatten(_structure_of_state(config, jax.tree.structure(hparams)), found)


@functools.lru_cache(maxsize=256)
def _structure_of_state(config: Config, on: Any) -> Any:
    """Returns the tree structure of a training state; `on` is that of its hyperparameters, some None."""
    with own_settings(config.dtype):
        hparams = jax.tree.unflatten(on, [np.ones((), config.dtype)] * on.num_leaves)
        key = root_key()
        # Nothing is drawn or read: the structure of blocks needs no data.
        params = None if config.is_plain else empty_params(config)
        shape = jax.eval_shape(
            lambda key, params: init_state(key, hparams, config=config, params=params), key, params
        )
    return jax.tree.structure(shape)


# -- data sets and designs ----------------------------------------------------------------------------------


def pack_data(data: Data) -> bytes:
    """Returns a data set as the bytes of a safetensors file."""
    return pack({name: np.asarray(leaf) for name, leaf in zip(Data._fields, data, strict=True)})


def unpack_data(content: bytes) -> Data:
    """Returns the data set that `pack_data` packed.

    Raises:
        ValueError: the bytes are damaged, or the arrays are not those of a data set.
    """
    found = unpack(content)
    if set(found) != set(Data._fields):
        raise ValueError(f"data must have {', '.join(Data._fields)}, got {', '.join(found)}")
    return Data(**found)


def pack_design(design: Design) -> tuple[str, bytes]:
    """Returns a design without its data: JSON, and packed arrays of its splits and its folds' own inputs."""
    classes = design.classes
    # Many configurations share a config; each is written once, and named by its number.
    programs = list(dict.fromkeys(design.configs))
    number = {config: index for index, config in enumerate(programs)}
    stored = {
        "configs": [dataclasses.asdict(config) for config in programs],
        "config_of": [number[config] for config in design.configs],
        "configurations": list(design.configurations),
        "classes": None if classes is None else {"dtype": classes.dtype.str, "values": classes.tolist()},
        "num_batches": list(design.num_batches),
        "seeds": list(design.seeds),
        "pairing": design.pairing,
        "standardize": design.standardize,
        "standardize_target": design.standardize_target,
        "notes": list(design.notes),
        "kind": design.splits.kind,
        "split_notes": list(design.splits.notes),
        "schema": None if design.schema is None else design.schema.as_json(),
    }
    splits = {"train": design.splits.train, "val": design.splits.val}
    if design.splits.stop is not None:
        splits["stop"] = design.splits.stop
    for fold, x in enumerate(design.fold_inputs or ()):
        splits[f"inputs/{fold}"] = x
    return json.dumps(stored), pack({name: np.asarray(weights) for name, weights in splits.items()})


def unpack_design(text: str, splits: bytes, data: Data, test: Data | None) -> Design:
    """Returns the design that `pack_design` packed.

    Args:
        text: the JSON.
        splits: the packed arrays.
        data: the samples that train and validate.
        test: the test set, or None.

    Raises:
        TypeError: a field has another type, or belongs to another version.
        KeyError: a field is missing.
        ValueError: the arrays are damaged.
    """
    stored, weights = json.loads(text), unpack(splits)
    programs = [
        Config(**(entry | {"layer_sizes": tuple(entry["layer_sizes"])})) for entry in stored["configs"]
    ]
    configs = tuple(programs[index] for index in stored["config_of"])
    # JSON has no tuples; a configuration holds no lists.
    configurations = tuple(
        {name: tuple(v) if isinstance(v, list) else v for name, v in entry.items()}
        for entry in stored["configurations"]
    )
    each = zip(configs, configurations, strict=True)
    classes = stored["classes"]
    notes = tuple(stored["split_notes"])
    own_inputs = [f"inputs/{fold}" for fold in range(len(weights["train"])) if "inputs/0" in weights]
    return Design(
        data=data,
        test=test,
        classes=None if classes is None else np.array(classes["values"], classes["dtype"]),
        splits=Splits(weights["train"], weights["val"], stored["kind"], notes, weights.get("stop")),
        configurations=configurations,
        configs=configs,
        hparams=tuple(check_hparams(config, as_hparams(entry)) for config, entry in each),
        num_batches=tuple(stored["num_batches"]),
        seeds=tuple(stored["seeds"]),
        pairing=stored["pairing"],
        standardize=stored["standardize"],
        notes=tuple(stored["notes"]),
        fold_inputs=tuple(weights[name] for name in own_inputs) or None,
        schema=None if stored.get("schema") is None else Schema.from_json(stored["schema"]),
        standardize_target=stored.get("standardize_target", False),
    )


def asked_columns(design: Design) -> Callable[[int], tuple[Any, ...]]:
    """Returns a function of a configuration's index that returns the values of its `ASKED_COLUMNS`."""

    @functools.cache
    def columns(index: int) -> tuple[Any, ...]:
        config, configuration = design.configs[index], design.configurations[index]
        own = {name: getattr(config, name) for name in NAMES if hasattr(config, name)}
        own["hidden"] = config.layer_sizes[1:-1]
        values = (own[name] if name in own else value_of(configuration, name) for name in NAMES)
        sizes = sizes_in_words(config.layer_sizes)
        return (*map(as_cell, values), sizes, config.num_steps, config.eval_every)

    return columns
