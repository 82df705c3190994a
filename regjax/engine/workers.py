"""The workers that run the tasks of a sweep: a user's executor, or a thread for each core or device.

`engine/sweep.py` opens the workers; `engine/scheduler.py` submits tasks to them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

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


@contextlib.contextmanager
def workers_of(
    executor: concurrent.futures.Executor | None, num_threads: int, backend: str
) -> Iterator[Callable[..., concurrent.futures.Future[Any]]]:
    """Yields a function that submits a task: the executor's own method, or that of a pool of threads.

    Args:
        executor: the executor that runs the tasks; None makes a pool of threads, closed at the end.
        num_threads: the size of that pool.
        backend: the backend of JAX; unless it is "cpu", tasks go to its devices in turn.
    """
    if executor is not None:
        yield executor.submit
        return
    pool = concurrent.futures.ThreadPoolExecutor(num_threads, thread_name_prefix="regjax")
    devices = jax.local_devices()
    turn = itertools.cycle(devices)

    def submit(function: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future[Any]:
        # On a CPU, JAX has one device, whose threads share its cores.
        if backend == "cpu" or len(devices) == 1:
            return pool.submit(function, *arguments)
        return pool.submit(_on_device, next(turn), function, *arguments)

    try:
        yield submit
    finally:
        # Without waiting: a compiled segment cannot be stopped, and after Ctrl-C its result is not read.
        pool.shutdown(wait=False, cancel_futures=True)


def _on_device(device: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    with jax.default_device(device):
        return function(*arguments)
