"""The workers that run the tasks of a sweep: a user's executor, or threads for the cores or devices.

`engine/sweep.py` opens the workers; `engine/scheduler.py` submits tasks to them, and `engine/lanes.py` runs
each task on the device that the scheduler chose for it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax


def num_workers(executor: concurrent.futures.Executor | None, workers: int | None) -> int | None:
    """Returns the number of tasks at a time: `workers`, else the executor's number of workers, else None.

    Raises:
        TypeError: executor is not a `concurrent.futures.Executor`.
        ValueError: executor forks its processes.
    """
    if executor is not None and not isinstance(executor, concurrent.futures.Executor):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {type(executor).__name__}")
    # No public attribute says how an executor starts its processes, or how many workers it has.
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "executor must start its processes with spawn or forkserver, got fork, which JAX does not "
            "survive: ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )
    return getattr(executor, "_max_workers", None) if workers is None else workers


class Workers(NamedTuple):
    """The workers of a sweep.

    Attributes:
        submit: submits a function and its arguments, as `Executor.submit` does.
        submit_compiling: likewise, of functions that compile: tasks do not wait behind them.
        devices: number of devices among which the scheduler divides the tasks; 1 for a user's executor,
            whose processes compute on the first device that each of them has.
        accelerated: whether the devices are accelerators.
        resident: whether the states of a chunk may stay on its device between two tasks.
        on_host: whether the workers are threads that compute on this process's CPU.
    """

    submit: Callable[..., concurrent.futures.Future[Any]]
    submit_compiling: Callable[..., concurrent.futures.Future[Any]]
    devices: int
    accelerated: bool
    resident: bool
    on_host: bool = False


@contextlib.contextmanager
def workers_of(executor: concurrent.futures.Executor | None, num_threads: int) -> Iterator[Workers]:
    """Yields workers: those of the executor, or a pool of threads.

    Args:
        executor: the executor that runs the tasks; None makes a pool of threads, closed at the end.
        num_threads: the size of that pool.
    """
    accelerated = is_accelerated()
    if executor is not None:
        yield Workers(executor.submit, executor.submit, 1, accelerated, False)
        return
    pool, compiling = (
        concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix=name)
        for name in ("regjax", "regjax-compiling")
    )
    try:
        devices = jax.local_device_count()
        on_host = not accelerated and devices == 1
        yield Workers(pool.submit, compiling.submit, devices, accelerated, accelerated, on_host)
    finally:
        # Without waiting: a compiled segment cannot be stopped, and after Ctrl-C its result is not read.
        for each in (pool, compiling):
            each.shutdown(wait=False, cancel_futures=True)


def is_accelerated() -> bool:
    """Returns whether JAX computes on an accelerator."""
    return jax.default_backend() != "cpu"


def on_device(number: int | None) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which JAX computes on one of this process's devices; None is its default."""
    # A CPU has one device, whose threads share its cores.
    if number is None:
        return contextlib.nullcontext()
    return jax.default_device(jax.local_devices()[number])
