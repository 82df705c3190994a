"""A design, and the rows of one, as columns of the run store; and the design back from them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import check_hparams
from regjax.data.splits import Splits
from regjax.store.arrays import pack, unpack
from regjax.study.configuration import NAMES, as_hparams, value_of
from regjax.study.design import Design
from regjax.study.words import as_cell

# Of a row, what its configuration says.
ASKED_COLUMNS = (*NAMES, "layer_sizes", "num_steps", "eval_every")


def pack_data(data: Data) -> bytes:
    """Returns a data set as bytes."""
    return pack({name: np.asarray(leaf) for name, leaf in zip(Data._fields, data, strict=True)})


def unpack_data(content: bytes) -> Data:
    """Returns the data set that `pack_data` packed; raises ValueError where it is damaged."""
    found = unpack(content)
    if set(found) != set(Data._fields):
        raise ValueError(f"data must have {', '.join(Data._fields)}, got {', '.join(found)}")
    return Data(**found)


def pack_design(design: Design) -> tuple[str, bytes]:
    """Returns a design but for its data: JSON, and its splits and folds' own inputs as bytes."""
    classes = design.classes
    programs = list(dict.fromkeys(design.configs))
    number = {config: index for index, config in enumerate(programs)}
    told = {
        "configs": [dataclasses.asdict(config) for config in programs],
        "config_of": [number[config] for config in design.configs],
        "configurations": list(design.configurations),
        "classes": None if classes is None else {"dtype": classes.dtype.str, "values": classes.tolist()},
        "num_batches": list(design.num_batches),
        "seeds": list(design.seeds),
        "pairing": design.pairing,
        "standardize": design.standardize,
        "notes": list(design.notes),
        "kind": design.splits.kind,
        "split_notes": list(design.splits.notes),
    }
    splits = {"train": design.splits.train, "val": design.splits.val}
    if design.splits.stop is not None:
        splits["stop"] = design.splits.stop
    for fold, x in enumerate(design.fold_inputs or ()):
        splits[f"inputs/{fold}"] = x
    return json.dumps(told), pack({name: np.asarray(weights) for name, weights in splits.items()})


def unpack_design(text: str, splits: bytes, data: Data, test: Data | None) -> Design:
    """Returns the design that `pack_design` packed."""
    told, weights = json.loads(text), unpack(splits)
    programs = [Config(**(entry | {"layer_sizes": tuple(entry["layer_sizes"])})) for entry in told["configs"]]
    configs = tuple(programs[index] for index in told["config_of"])
    configurations = tuple(
        {name: tuple(v) if isinstance(v, list) else v for name, v in entry.items()}
        for entry in told["configurations"]
    )
    classes = told["classes"]
    return Design(
        data=data,
        test=test,
        classes=None if classes is None else np.array(classes["values"], classes["dtype"]),
        splits=Splits(
            weights["train"], weights["val"], told["kind"], tuple(told["split_notes"]), weights.get("stop")
        ),
        configurations=configurations,
        configs=configs,
        hparams=tuple(
            check_hparams(config, as_hparams(configuration))
            for config, configuration in zip(configs, configurations, strict=True)
        ),
        num_batches=tuple(told["num_batches"]),
        seeds=tuple(told["seeds"]),
        pairing=told["pairing"],
        standardize=told["standardize"],
        notes=tuple(told["notes"]),
        fold_inputs=tuple(weights[f"inputs/{fold}"] for fold in range(len(weights["train"])))
        if "inputs/0" in weights
        else None,
    )


def asked_columns(design: Design) -> Callable[[int], tuple[Any, ...]]:
    """Returns a function: index of a configuration -> its `ASKED_COLUMNS`."""

    @functools.cache
    def columns(index: int) -> tuple[Any, ...]:
        config, configuration = design.configs[index], design.configurations[index]
        own = {name: getattr(config, name) for name in NAMES if hasattr(config, name)}
        own["hidden"] = config.layer_sizes[1:-1]
        values = (own[name] if name in own else value_of(configuration, name) for name in NAMES)
        sizes = "-".join(map(str, config.layer_sizes))
        return (*map(as_cell, values), sizes, config.num_steps, config.eval_every)

    return columns
