"""The native kernel as a Python function: `train` hands a segment of steps to the library of `build.py`.

`engine/native.py` calls it. Python's lock is free meanwhile, so workers that are threads train side by side.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.native.build import BuildError, Built, build

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
        *((name, POINTER) for name in ("x", "y", "folds")),
        *((name, WHOLE) for name in ("x_stride", "y_stride")),
        *((name, POINTER) for name in (
            "weights", "divisors", "keys", "rates", "l2", "l1", "thresholds", "params", "moments", "counts",
            "idle",
        )),
    )  # fmt: skip


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
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    divisors: np.ndarray
    keys: np.ndarray
    folds: np.ndarray

    def check(self) -> None:
        """Raises ValueError where an array does not fit: the kernel reads without looking."""
        replicates, n = len(self.keys), self.x.shape[-1]
        shapes = {"weights": (replicates, n), "divisors": (replicates,), "folds": (replicates,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}, got {getattr(self, name).shape}")
        if len(self.y) not in (1, replicates) or self.y.shape[-1] != n:
            raise ValueError(f"y must be of 1 or {replicates} replicates and {n} samples, got {self.y.shape}")
        if not ((self.folds >= 0) & (self.folds < len(self.x))).all():
            raise ValueError(f"folds must be in 0 … {len(self.x) - 1}, got {self.folds.tolist()}")


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
    found = ctypes.CDLL(str(built.path))
    found.regjax_task_size.restype = WHOLE
    found.regjax_train.restype = ctypes.c_int
    found.regjax_train.argtypes = (ctypes.POINTER(_Task),)
    if found.regjax_task_size() != ctypes.sizeof(_Task):
        raise OSError(f"{built.path} must be made of this version's source, and is not")
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
        ValueError: more samples in the batches of an epoch than there are, or arrays that do not fit.
    """
    p, replicates = program, len(samples.keys)
    samples.check()
    # The kernel reads these samples of an order without looking.
    if p.batch_size and not 0 < p.num_batches * p.batch_size <= samples.x.shape[-1]:
        raise ValueError(
            f"batches must be of {samples.x.shape[-1]} samples, got {p.num_batches} of {p.batch_size}"
        )
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
        counts=None if networks.counts is None else _address(networks.counts),
        idle=None if networks.idle is None else _address(networks.idle),
    )
    if library.regjax_train(ctypes.byref(task)):
        raise MemoryError("the networks of a chunk must fit into memory")


def _pointers(arrays: Sequence[np.ndarray]) -> Any:
    return (POINTER * max(1, len(arrays)))(*map(_address, arrays))


def _address(array: np.ndarray) -> int:
    assert array.flags.c_contiguous
    return array.ctypes.data
