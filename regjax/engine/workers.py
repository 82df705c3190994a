"""The workers that run the tasks of a sweep: a user's executor, or threads for the cores or devices.

`engine/sweep.py` opens the workers; `engine/scheduler.py` submits tasks to them, and `engine/lanes.py` runs
each task on the device that the scheduler chose for it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax

from regjax.core.checks import shown

# "dask://…", or a client of Dask, is an executor too, which `connecting.within` connects with.
Executor: TypeAlias = "concurrent.futures.Executor | str | Any"


def num_workers(executor: Executor | None, workers: int | None) -> int | None:
    """Returns the number of tasks at a time: `workers`, else the executor's number of workers, else None.

    Raises:
        TypeError: executor is not a `concurrent.futures.Executor`, or a text that names no Dask cluster.
        ValueError: executor forks its processes.
    """
    if (cluster := CLUSTER.get()) is not None:
        return cluster.capacity
    if executor is not None and not isinstance(executor, concurrent.futures.Executor):
        if isinstance(executor, str):
            choices = "dask://HOST:PORT, dask://local:N or dask://FILE"
            raise TypeError(f"executor must be {choices} where it is a text, got {shown(executor)}")
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {type(executor).__name__}")
    # No public attribute says how an executor starts its processes, or how many workers it has.
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "executor must start its processes with spawn or forkserver, got fork, which JAX does not "
            "survive: ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )
    return getattr(executor, "_max_workers", None) if workers is None else workers


class Elsewhere(Protocol):
    """Workers that are asked for the rows of a chunk and make its task themselves: `cluster.Cluster`."""

    # Number of chunks that they train at a time, and that they train or that wait there; at least 1.
    capacity: int
    room: int
    # Sentences on workers that were refused, or differ.
    notes: list[str]
    # What the bits of their results depend on, as `remote.kind_of_worker` says it.
    kind: dict[str, str]

    @property
    def backend(self) -> str:
        """The platform that they compute on."""
        ...

    def next_number(self) -> int:
        """Returns the number of the next request."""
        ...

    def want(self, chunks: int) -> None:
        """Takes in how many chunks could be trained at a time."""
        ...

    def submit(self, design: Any, request: Any) -> concurrent.futures.Future[Any]:
        """Returns the future of a `lanes.ChunkDone`, for a `remote.ChunkRequest` of a design."""
        ...


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
        cluster: what takes requests in place of tasks, or None.
    """

    submit: Callable[..., concurrent.futures.Future[Any]]
    submit_compiling: Callable[..., concurrent.futures.Future[Any]]
    devices: int
    accelerated: bool
    resident: bool
    on_host: bool = False
    cluster: Elsewhere | None = None

    @property
    def numbers(self) -> list[int | None]:
        """The numbers of the devices that tasks name; None for the only one."""
        return [None] if self.devices == 1 else list(range(self.devices))


# The cluster that sweeps without an executor of their own are trained on, such as those of a search.
CLUSTER: ContextVar[Elsewhere | None] = ContextVar("cluster", default=None)


@contextlib.contextmanager
def trained_on(cluster: Elsewhere) -> Iterator[None]:
    """Lets the sweeps of the block train on a cluster."""
    token = CLUSTER.set(cluster)
    try:
        yield
    finally:
        CLUSTER.reset(token)


def platform() -> str:
    """Returns the platform that sweeps are trained on: that of the cluster, else of this process."""
    cluster = CLUSTER.get()
    return jax.default_backend() if cluster is None else cluster.backend


def place() -> dict[str, Any]:
    """Returns `backend` and `devices` of `make_plan`: where sweeps are trained.

    Each worker of a cluster is a device, among which the rows of a group are divided.
    """
    cluster = CLUSTER.get()
    return {"backend": platform(), "devices": None if cluster is None else cluster.capacity}


@contextlib.contextmanager
def workers_of(executor: Executor | None, num_threads: int, *, here: bool = False) -> Iterator[Workers]:
    """Yields workers: those of the cluster that `within` connected, of the executor, or a pool of threads.

    Args:
        executor: the executor that runs the tasks; None makes a pool of threads, closed at the end.
        num_threads: the size of that pool.
        here: whether to take a pool of threads in place of a cluster.
    """
    accelerated = is_accelerated()
    if (cluster := CLUSTER.get()) is not None and not here:
        yield Workers(_refused, _refused, 1, cluster.backend != "cpu", False, cluster=cluster)
        return
    if isinstance(executor, concurrent.futures.Executor):
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


def _refused(*arguments: Any) -> concurrent.futures.Future[Any]:
    raise TypeError("a cluster takes requests, not tasks")


def is_accelerated() -> bool:
    """Returns whether JAX computes on an accelerator."""
    return jax.default_backend() != "cpu"


def on_device(number: int | None) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which JAX computes on one of this process's devices; None is its default."""
    # A CPU has one device, whose threads share its cores.
    if number is None:
        return contextlib.nullcontext()
    return jax.default_device(jax.local_devices()[number])
