"""A `Model` as one file: safetensors with weights and statistics, and JSON about them in its header.

`regjax fit` writes one, `regjax predict` and users read it. Nothing is pickled, and a checksum covers every
byte: a damaged file is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regjax.core.config import Config
from regjax.data.encode import Statistics
from regjax.data.schema import Schema
from regjax.store.codec import as_params, leaves, leaves_under, unpack
from regjax.study.model import Chosen, Model, Training

# Raised with every change of what the file holds; files of a later one are refused.
FORMAT = 1
NAME = "model.safetensors"
# Where the checksum stands in the file's header; its digits are zeros while it is computed.
_CHECKSUM = re.compile(rb'"regjax_checksum":"([0-9a-f]{64})"')
_BLANK = "0" * 64

Source = str | os.PathLike[str]


def model_path(path: Source) -> Path:
    """Returns the file that a path means: one with an ending is the file, any other the folder of it."""
    text = os.fspath(path)
    if not text:
        raise ValueError("model must have a path, got ''")
    folder = text.endswith(("/", os.sep)) or os.path.isdir(text) or not Path(text).suffix
    return Path(text) / NAME if folder else Path(text)


def save_model(model: Model, path: Source) -> Path:
    """Returns the path of the file that a model was written to; it replaces one that is there.

    The file is safetensors: any program that reads these reads the weights.

    Args:
        model: a model, as `regjax.refit` returns it.
        path: a file with an ending, such as `model.safetensors`; or a folder, which is made, and in which the
            file is `model.safetensors`.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import regjax, tempfile
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> regjax.save_model(regjax.refit(results), folder.name).name
        'model.safetensors'
        >>> folder.cleanup()
    """
    file = model_path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_beside(file, as_bytes(model))
    return file


def load_model(path: Source) -> Model:
    """Returns the model of a file that `save_model` or `regjax fit` wrote.

    Args:
        path: the file, or the folder that it is in.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no model, is damaged, or was written by a later version; names the file.

    Example:
        >>> import regjax, tempfile
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = regjax.save_model(regjax.refit(results), folder.name)
        >>> regjax.load_model(path).predict([[0.0, 1.0]]).shape
        (1,)
        >>> folder.cleanup()
    """
    file = model_path(path)
    content = file.read_bytes()
    try:
        return from_bytes(content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def write_beside(file: Path, content: bytes) -> None:
    """Writes a file beside its path and moves it there: a reader sees a whole file, the old or the new."""
    handle, part = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        # mkstemp makes files that their owner alone reads; others get what the user's umask allows.
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def as_bytes(model: Model) -> bytes:
    """Returns the bytes of a model's file."""
    import safetensors.numpy

    arrays: dict[str, np.ndarray] = {"target_mean": np.asarray(model.target_mean, np.float64)}
    arrays |= {f"statistics/{name}": value for name, value in model.statistics._asdict().items()}
    for number, params in enumerate(model.networks):
        arrays |= leaves(f"networks/{number}", params)
    classes = model.classes
    stored = {
        "format": FORMAT,
        "config": dataclasses.asdict(model.config),
        "loss": model.loss,
        "schema": model.schema.as_json(),
        "named": model.named,
        "classes": None if classes is None else {"dtype": classes.dtype.str, "values": classes.tolist()},
        "target_scale": float(model.target_scale),
        "chosen": model.chosen._asdict(),
        "training": model.training._asdict(),
        "versions": dict(model.versions),
    }
    filled = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    metadata = {"regjax": json.dumps(stored), "regjax_checksum": _BLANK}
    return _signed(safetensors.numpy.save(filled, metadata))


def _signed(content: bytes) -> bytes:
    """Returns a file's bytes with their checksum in the place of its zeros."""
    found = _CHECKSUM.search(content)
    assert found is not None
    return content[: found.start(1)] + _checksum(content).encode() + content[found.end(1) :]


def _checksum(content: bytes) -> str:
    """Returns the SHA-256 of a file's bytes, its own digits read as zeros."""
    blank = f'"regjax_checksum":"{_BLANK}"'.encode()
    return hashlib.sha256(_CHECKSUM.sub(blank, content, count=1)).hexdigest()


def from_bytes(content: bytes) -> Model:
    """Returns the model of a file's bytes.

    Raises:
        ValueError: the bytes are no model's, are damaged, or of a later format.
    """
    found = _CHECKSUM.search(content)
    if found is None:
        raise ValueError("must be a model, which `regjax fit` and regjax.save_model write, got another file")
    if found[1].decode() != _checksum(content):
        raise ValueError("is damaged, its checksum does not fit its content: write the model again")
    metadata = _metadata(content)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"must be a model of format {FORMAT}, got {metadata.get('format')}, which another version of "
            "regjax wrote: read it with that version, or write the model again"
        )
    try:
        return _model(metadata, unpack(content))
    except (KeyError, TypeError, ValueError) as error:  # signed, but not by this module
        raise ValueError(f"must be a model of this version of regjax, and is not ({error})") from error


def _metadata(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    try:
        found = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["regjax"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("must be a model that regjax wrote, got another file with its checksum") from None
    return found if isinstance(found, dict) else {}


def _model(stored: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Model:
    """Returns the model of what `as_bytes` packed."""
    config = stored["config"]
    weights = config["class_weight"]
    # JSON has no tuples.
    config |= {"layer_sizes": tuple(config["layer_sizes"])}
    config |= {"class_weight": tuple(weights) if isinstance(weights, list) else weights}
    config |= {"metrics": None if config["metrics"] is None else tuple(config["metrics"])}
    training, classes = stored["training"], stored["classes"]
    configuration = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in training["configuration"].items()
    }
    seeds = tuple(training["seeds"])
    own = {"configuration": configuration, "seeds": seeds}
    own_config = Config(**config)
    networks = tuple(as_params(leaves_under(f"networks/{i}", arrays), own_config) for i in range(len(seeds)))
    for params in networks:
        sizes = tuple(layer.w.shape[1] for layer in params) + tuple(layer.w.shape[0] for layer in params[-1:])
        if sizes != own_config.widths:
            raise ValueError(f"networks must have {own_config.widths} units, got {sizes}")
    return Model(
        config=own_config,
        loss=stored["loss"],
        networks=networks,
        schema=Schema.from_json(stored["schema"]),
        named=stored["named"],
        statistics=Statistics(*(arrays[f"statistics/{name}"] for name in Statistics._fields)),
        classes=None if classes is None else np.array(classes["values"], classes["dtype"]),
        target_mean=arrays["target_mean"],
        target_scale=stored["target_scale"],
        chosen=Chosen(**stored["chosen"]),
        training=Training(**(training | own)),
        versions=stored["versions"],
    )
