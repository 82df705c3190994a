"""The limits of this machine, which `table` shows: a loop in C for the tutorial's network, and peak rates."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problems import Params, Prepared, Problem, Rows

LAYER_SIZES = (2, 20, 3, 1)  # what loop.c is written for
# Side of the matrices on a CPU, and on a GPU, where smaller ones would be over too soon to be timed.
MATRIX_SIZE = {"cpu": 2_048, "gpu": 8_192}
TRIAD_BYTES = {"cpu": 128 * 2**20, "gpu": 2**30}  # of each of three arrays: no cache holds one of them
TRIAD_CHUNK = 2**15  # floats; three chunks stay in the second-level cache between two NumPy calls


@functools.cache
def _train() -> Callable[..., None] | None:
    """Returns the compiled `train` of loop.c, or None where it cannot be compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source = Path(__file__).with_name("loop.c")
    with tempfile.TemporaryDirectory() as folder:
        unlinked, library = Path(folder, "loop.o"), Path(folder, "loop.so")
        flags = ["-O3", "-march=native", "-ffast-math", "-fPIC"]
        # Linked apart, without -ffast-math: with it, gcc before 13 adds a start-up routine that makes the
        # processor flush denormals in all other code of this process.
        for command in (
            [compiler, *flags, "-c", source, "-o", unlinked],
            [compiler, "-shared", unlinked, "-o", library, "-lm"],
        ):
            if subprocess.run(command, check=False, capture_output=True).returncode:
                return None
        train = ctypes.CDLL(str(library)).train
    floats = ctypes.POINTER(ctypes.c_float)
    train.argtypes = [
        floats,
        floats,
        ctypes.c_int,
        ctypes.c_int,
        floats,
        ctypes.c_float,
        ctypes.c_float,
        ctypes.c_long,
    ]
    train.restype = None
    return train


def _floats(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def hand_written(problem: Problem, rows: Rows) -> Prepared | None:
    """Prepares loop.c, one network after the other in every thread, of which there is one per core.

    Args:
        problem: the problem to train.
        rows: the networks.

    Returns:
        None where there is no C compiler or the loop is not made for the problem: it is for the tutorial's
        network, full batch and without dropout.
    """
    made_for = problem.layer_sizes == LAYER_SIZES and problem.batch_size is None and problem.keep_prob is None
    train = _train() if made_for else None
    if train is None:
        return None
    n = len(problem.x)
    n_padded = -(-n // 16) * 16
    x, y = np.zeros((LAYER_SIZES[0], n_padded), np.float32), np.zeros(n_padded, np.float32)
    x[:, :n], y[:n] = problem.x.T, problem.y
    count = len(rows.learning_rate)
    begin = np.concatenate([a.reshape(count, -1) for layer in rows.params for a in layer], axis=1)
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def run(steps: int) -> np.ndarray:
        flat = begin.astype(np.float32)  # a copy, which the loop changes in place

        def one(i: int) -> None:  # ctypes lets other threads run meanwhile
            train(
                _floats(x),
                _floats(y),
                n,
                n_padded,
                _floats(flat[i]),
                rows.learning_rate[i],
                rows.l2[i],
                steps,
            )

        list(pool.map(one, range(count)))
        return flat

    def params(flat: np.ndarray) -> Params:
        arrays, at = [], 0
        for shape in (a.shape for layer in rows.params for a in layer):
            size = int(np.prod(shape[1:]))
            arrays.append(flat[:, at : at + size].reshape(shape))
            at += size
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    return Prepared(run, params)


def _rates(call: Callable[[], Any], amount: float, repeats: int) -> list[float]:
    """Returns billions of operations or bytes per second of each call but the first, `amount` per call."""
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        found.append(amount / (time.perf_counter() - start) / 1e9)
    return found[1:]


def _best(rates: dict[str, list[float]]) -> tuple[list[float], str]:
    """Returns the rates with the highest median, and the library that reached them."""
    name = max(rates, key=lambda name: statistics.median(rates[name]))
    return rates[name], name


def matrix_rate(repeats: int = 5) -> tuple[list[float], str]:
    """Measures products of two square float32 matrices of MATRIX_SIZE, on all cores or the GPU.

    Returns:
        GFLOP/s of each repetition by the library that is best at it, and its name.
    """
    generator, size = np.random.default_rng(0), MATRIX_SIZE[jax.default_backend()]
    a, b = generator.standard_normal((2, size, size), np.float32)
    on_device, dot = (
        [jnp.asarray(a), jnp.asarray(b)],
        jax.jit(functools.partial(jnp.dot, precision="highest")),
    )
    calls: dict[str, Callable[[], Any]] = {"jax": lambda: dot(*on_device)}
    if jax.default_backend() == "cpu":
        calls["numpy"] = lambda: a @ b
        if importlib.util.find_spec("torch"):
            import torch

            torch.set_num_threads(len(os.sched_getaffinity(0)))
            tensors = [torch.from_numpy(a), torch.from_numpy(b)]
            calls["torch"] = lambda: torch.mm(*tensors)
    return _best({name: _rates(call, 2.0 * size**3, repeats) for name, call in calls.items()})


def memory_rate(repeats: int = 5) -> tuple[list[float], str]:
    """Measures a = b + s·c over arrays of TRIAD_BYTES, on all cores or the GPU.

    Three arrays are counted as moved, as is usual, though a processor may read `a` before writing it.

    Returns:
        GB/s of each repetition by the library that is best at it, and its name.
    """
    moved = 3.0 * TRIAD_BYTES[jax.default_backend()]
    size = TRIAD_BYTES[jax.default_backend()] // 4
    a, b, c = np.zeros(size, np.float32), np.ones(size, np.float32), np.ones(size, np.float32)
    scale = np.float32(0.5)
    cores = len(os.sched_getaffinity(0))
    ends = np.linspace(0, size, cores + 1).astype(int).tolist()

    def chunks(core: int) -> None:
        for at in range(ends[core], ends[core + 1], TRIAD_CHUNK):
            part = slice(at, min(at + TRIAD_CHUNK, ends[core + 1]))
            np.multiply(c[part], scale, out=a[part])
            np.add(a[part], b[part], out=a[part])

    # Given away, the old result's memory takes the new one: fresh pages would be timed too.
    triad = jax.jit(lambda a, b, c: b + scale * c, donate_argnums=0, keep_unused=True)
    on_device = [jnp.asarray(v) for v in (a.copy(), b, c)]

    def jax_triad() -> jax.Array:
        on_device[0] = triad(*on_device)
        return on_device[0]

    with ThreadPoolExecutor(cores) as pool:
        calls: dict[str, Callable[[], Any]] = {"jax": jax_triad}
        if jax.default_backend() == "cpu":
            calls["numpy"] = lambda: list(pool.map(chunks, range(cores)))
            if importlib.util.find_spec("torch"):
                import torch

                torch.set_num_threads(cores)
                tensors = [torch.from_numpy(v) for v in (a, b, c)]
                calls["torch"] = lambda: torch.add(tensors[1], tensors[2], alpha=0.5, out=tensors[0])
        return _best({name: _rates(call, moved, repeats) for name, call in calls.items()})
