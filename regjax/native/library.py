"""The native kernel as Python functions: `train` hands a segment of steps to the library of `build.py`.

`infer` has it write logits. `engine/native.py` calls both. Python's lock is free meanwhile, so workers that
are threads train side by side.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.native.build import BuildError, Built, build
from regjax.native.coverage import LOSSES, OPTIMIZERS

POINTER, WHOLE = ctypes.c_void_p, ctypes.c_int64
# The hyperparameters of `Rates` in `network.h`, in their order.
RATES = (
    "learning_rate", "momentum", "b1", "b2", "eps", "weight_decay", "end_fraction", "decay_rate",
)  # fmt: skip


class _Task(ctypes.Structure):
    """`Task` of `train.cc`."""

    _fields_ = (
        ("num_layers", WHOLE),
        *((name, POINTER) for name in ("sizes", "masked")),
        *((name, WHOLE) for name in (
            "activation", "loss", "optimizer", "schedule", "warmup_steps", "schedule_steps",
            "start", "stop", "batch_size", "num_batches", "shuffle",
            "replicates", "lanes", "samples", "targets",
        )),
        *((name, POINTER) for name in ("x", "rows", "y", "folds")),
        *((name, WHOLE) for name in ("x_stride", "y_stride")),
        *((name, POINTER) for name in (
            "weights", "divisors", "keys", "rates", "l2", "l1", "thresholds", "params", "moments", "counts",
            "idle",
        )),
    )  # fmt: skip


class _Inference(ctypes.Structure):
    """`Inference` of `train.cc`."""

    _fields_ = (
        ("num_layers", WHOLE),
        ("sizes", POINTER),
        *((name, WHOLE) for name in ("activation", "replicates", "lanes", "samples")),
        *((name, POINTER) for name in ("x", "folds")),
        ("x_stride", WHOLE),
        *((name, POINTER) for name in ("weights", "params", "idle", "logits")),
    )


class Program(NamedTuple):
    """What all networks of a call have in common: numbers of the tables in `coverage.py`, and sizes.

    Attributes:
        sizes: units of the layers.
        masked: for each layer, whether units of its input are dropped.
        activation: number of the activation.
        loss: number of the loss.
        optimizer: number of the optimizer.
        schedule: number of the learning rate's schedule.
        warmup_steps: steps of its warm-up.
        schedule_steps: steps of the schedule.
        batch_size: samples of a step; 0 is all.
        num_batches: batches of an epoch.
        shuffle: whether each epoch has its own order.
    """

    sizes: tuple[int, ...]
    masked: tuple[bool, ...]
    activation: int
    loss: int
    optimizer: int
    schedule: int
    warmup_steps: int
    schedule_steps: int
    batch_size: int
    num_batches: int
    shuffle: bool


class Samples(NamedTuple):
    """What the networks train on; arrays of the dtype of the networks.

    Attributes:
        x: inputs of each fold, `(folds, features, n)`.
        y: `(1 or replicates, targets, n)`.
        weights: `(replicates, n)`.
        divisors: what the weights are divided by, `(replicates,)`.
        keys: `(replicates, 2)`, uint32.
        folds: number of the replicate's inputs among those of `x`, `(replicates,)` int64.
        rows: `x` sample by sample, `(folds, n, features)`, from which minibatches are gathered; None
            transposes `x` in each call.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    divisors: np.ndarray
    keys: np.ndarray
    folds: np.ndarray
    rows: np.ndarray | None = None


class Strengths(NamedTuple):
    """Hyperparameters of the networks, replicate by replicate.

    Attributes:
        rates: those of `RATES`, `(networks, 8)`.
        l2: λ/n, `(networks, layers)`.
        l1: λ/n, `(networks, layers)`.
        thresholds: t of `dropout.keep_threshold` of the layers' inputs, `(networks, layers)`; read where
            units are dropped.
    """

    rates: np.ndarray
    l2: np.ndarray
    l1: np.ndarray
    thresholds: np.ndarray


class Networks(NamedTuple):
    """The state of the networks, which `train` changes in place; C-contiguous arrays.

    Attributes:
        params: w and b of each layer, `(networks, …)`.
        moments: moments of the optimizer, each like `params`, behind one another.
        counts: updates done, `(networks,)` int32, or None.
        idle: 1 for networks that are not trained, `(networks,)` int8, or None for none.
    """

    params: Sequence[np.ndarray]
    moments: Sequence[np.ndarray]
    counts: np.ndarray | None
    idle: np.ndarray | None = None


class Found(NamedTuple):
    """The library of a dtype in this process.

    Attributes:
        library: the library, or None where it cannot be built or loaded.
        how: compiler, flags and source.
        why: why there is none, or "".
    """

    library: ctypes.CDLL | None
    how: str
    why: str


@functools.cache
def find(dtype: str) -> Found:
    """Returns the library for a dtype, built where it is not yet, or why there is none."""
    try:
        built = build(dtype)
        return Found(load_built(built), built.how, "")
    except (BuildError, OSError) as error:
        return Found(None, "", str(error))


def load_built(built: Built) -> ctypes.CDLL:
    """Returns a library.

    Raises:
        OSError: it cannot be loaded, or is made of another source.
    """
    try:
        found = ctypes.CDLL(str(built.path))
    except OSError as error:  # from a folder, perhaps, of which no program may be run
        raise OSError(f"{built.path} cannot be loaded: {error}") from error
    for name, of_size, fields in (
        ("regjax_train", "regjax_task_size", _Task),
        ("regjax_infer", "regjax_inference_size", _Inference),
    ):
        size, call = getattr(found, of_size, None), getattr(found, name, None)
        if size is None or call is None or size() != ctypes.sizeof(fields):
            raise OSError(f"{built.path} must be made of this version's source, and is not")
        call.restype, call.argtypes = ctypes.c_int, (ctypes.POINTER(fields),)
    return found


def train(
    library: ctypes.CDLL,
    program: Program,
    samples: Samples,
    strengths: Strengths,
    networks: Networks,
    start: int,
    stop: int,
) -> None:
    """Trains networks from step `start` to before `stop`.

    Raises:
        MemoryError: there is not enough memory.
        ValueError: more samples in the batches of an epoch than there are, or an array that does not fit; it
            names the array.
    """
    p, replicates = program, len(samples.keys)
    check(program, samples, strengths, networks, np.dtype(f"f{library.regjax_real_size()}"))
    sizes, masked = np.array(p.sizes, np.int64), np.array(p.masked, np.int64)
    params, moments = _pointers(networks.params), _pointers(networks.moments)
    task = _Task(
        num_layers=len(sizes) - 1,
        sizes=_address(sizes),
        masked=_address(masked),
        **{name: int(getattr(p, name)) for name in Program._fields if name not in ("sizes", "masked")},
        start=start,
        stop=stop,
        replicates=replicates,
        lanes=len(strengths.rates) // replicates,
        samples=samples.x.shape[-1],
        targets=samples.y.shape[-2],
        x_stride=samples.x[0].size,
        y_stride=samples.y[0].size if len(samples.y) > 1 else 0,
        **{name: _address(array) for name, array in samples._asdict().items()},
        **{name: _address(array) for name, array in strengths._asdict().items()},
        params=ctypes.addressof(params),
        moments=ctypes.addressof(moments),
        counts=_address(networks.counts),
        idle=_address(networks.idle),
    )
    if library.regjax_train(ctypes.byref(task)):
        raise MemoryError("the networks of a chunk must fit into memory")


class Seen(NamedTuple):
    """Samples that networks are evaluated on; arrays of the dtype of the networks.

    Attributes:
        x: inputs of each fold, `(folds, features, n)`.
        weights: the inputs of samples of weight 0 are not read, `(replicates, n)`.
        folds: as in `Samples`.
    """

    x: np.ndarray
    weights: np.ndarray
    folds: np.ndarray


def infer(
    library: ctypes.CDLL,
    sizes: tuple[int, ...],
    activation: int,
    seen: Seen,
    params: Sequence[np.ndarray],
    idle: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the logits of networks in inference mode, `(networks, outputs, n)`.

    Args:
        library: the library.
        sizes: units of the layers.
        activation: number of the activation.
        seen: the samples.
        params: w and b of each layer, `(…, out, in)` and `(…, out, 1)`: as many networks a replicate.
        idle: 1 for networks whose logits are 0, `(networks,)` int8, or None for none.

    Raises:
        MemoryError: there is not enough memory.
        ValueError: an array that does not fit; it names the array.
    """
    dtype, n, replicates = np.dtype(f"f{library.regjax_real_size()}"), seen.x.shape[-1], len(seen.folds)
    count = params[0].size // (sizes[0] * sizes[1]) if params else 0
    _check_lanes("params", count, replicates)
    _check_array("x", seen.x, (len(seen.x), sizes[0], n), dtype)
    _check_array("weights", seen.weights, (replicates, n), dtype)
    _check_folds(seen.folds, len(seen.x), replicates)
    _check_leaves("params", params, shapes_of(sizes), count, dtype)
    _check_flags("idle", idle, count, np.int8)
    logits = np.zeros((count, sizes[-1], n), dtype)
    of_layers, leaves = np.array(sizes, np.int64), _pointers(params)
    task = _Inference(
        num_layers=len(sizes) - 1,
        sizes=_address(of_layers),
        activation=activation,
        replicates=replicates,
        lanes=count // replicates,
        samples=n,
        x_stride=seen.x[0].size,
        **{name: _address(array) for name, array in seen._asdict().items()},
        params=ctypes.addressof(leaves),
        idle=_address(idle),
        logits=_address(logits),
    )
    if library.regjax_infer(ctypes.byref(task)):
        raise MemoryError("the samples and logits of a chunk must fit into memory")
    return logits


def check(
    program: Program, samples: Samples, strengths: Strengths, networks: Networks, dtype: np.dtype
) -> None:
    """Checks what `train` is given, of which the kernel reads and writes without looking.

    Args:
        program: sizes and batches.
        samples: samples of the replicates.
        strengths: hyperparameters of the networks.
        networks: states of the networks.
        dtype: dtype of the library.

    Raises:
        ValueError: a shape or dtype that does not fit, an array that is not C-contiguous, a fold that there
            is not, or batches of more samples than there are.
    """
    p, (replicates, n), count = program, (len(samples.keys), samples.x.shape[-1]), len(strengths.rates)
    folds, layers = len(samples.x), len(p.sizes) - 1
    _check_lanes("rates", count, replicates)
    targets = 1 if p.loss == LOSSES["softmax_cross_entropy"] else p.sizes[-1]
    of_y = replicates if len(samples.y) == replicates else 1
    wanted: dict[str, tuple[Any, tuple[int, ...], Any]] = {
        "x": (samples.x, (folds, p.sizes[0], n), dtype),
        "rows": (samples.rows, (folds, n, p.sizes[0]), dtype),
        "y": (samples.y, (of_y, targets, n), dtype),
        "weights": (samples.weights, (replicates, n), dtype),
        "divisors": (samples.divisors, (replicates,), dtype),
        "keys": (samples.keys, (replicates, 2), np.uint32),
        "rates": (strengths.rates, (count, len(RATES)), dtype),
        **{name: (getattr(strengths, name), (count, layers), dtype) for name in ("l2", "l1", "thresholds")},
    }
    for name, (array, shape, own) in wanted.items():
        if array is not None:
            _check_array(name, array, shape, own)
    _check_folds(samples.folds, folds, replicates)
    if p.batch_size and not 0 < p.num_batches * p.batch_size <= n:
        raise ValueError(f"batches must be of {n} samples, got {p.num_batches} of {p.batch_size}")
    _check_networks(p, networks, count, dtype)


def _check_lanes(name: str, count: int, replicates: int) -> None:
    if count == 0 or replicates == 0 or count % replicates:
        raise ValueError(
            f"{name} must be of as many networks for each of {replicates} replicates, got {count}"
        )


def _check_folds(folds: np.ndarray, num: int, replicates: int) -> None:
    _check_array("folds", folds, (replicates,), np.int64)
    if not ((folds >= 0) & (folds < num)).all():
        raise ValueError(f"folds must be in 0 … {num - 1}, got {folds.tolist()}")


def shapes_of(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the shapes of weights and biases of each layer."""
    return [shape for fan_in, out in itertools.pairwise(sizes) for shape in ((out, fan_in), (out, 1))]


def _check_networks(program: Program, networks: Networks, count: int, dtype: np.dtype) -> None:
    """Raises ValueError where the state of the networks does not fit; leading axes may be of any shape."""
    shapes = shapes_of(program.sizes)
    adaptive = program.optimizer >= OPTIMIZERS["adam"]
    moments = 0 if program.optimizer == OPTIMIZERS["sgd"] else 2 if adaptive else 1
    _check_leaves("params", networks.params, shapes, count, dtype)
    _check_leaves("moments", networks.moments, shapes * moments, count, dtype)
    if networks.counts is None and adaptive:
        raise ValueError("counts must be an array, got None")
    _check_flags("counts", networks.counts, count, np.int32)
    _check_flags("idle", networks.idle, count, np.int8)


def _check_flags(name: str, array: np.ndarray | None, count: int, dtype: Any) -> None:
    """Raises ValueError where an array is not of a number for each network, of any leading axes."""
    if array is not None:
        _check_array(name, array, array.shape if array.size == count else (count,), dtype)


def _check_leaves(
    name: str, leaves: Sequence[np.ndarray], shapes: Sequence[tuple[int, int]], count: int, dtype: np.dtype
) -> None:
    if len(leaves) != len(shapes):
        raise ValueError(f"{name} must be {len(shapes)} arrays, got {len(leaves)}")
    for place, (leaf, shape) in enumerate(zip(leaves, shapes, strict=True)):
        fits = leaf.shape[-2:] == shape and leaf.size == count * shape[0] * shape[1]
        _check_array(f"{name}[{place}]", leaf, leaf.shape if fits else (count, *shape), dtype)


def _check_array(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: Any) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must be {shape}, got {array.shape}")
    if array.dtype != dtype:
        raise ValueError(f"{name} must be of dtype {np.dtype(dtype)}, got {array.dtype}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {array.strides}")


def _pointers(arrays: Sequence[np.ndarray]) -> Any:
    return (POINTER * max(1, len(arrays)))(*map(_address, arrays))


def _address(array: np.ndarray | None) -> int | None:
    # In half the time that `array.ctypes` takes.
    return None if array is None else array.__array_interface__["data"][0]
