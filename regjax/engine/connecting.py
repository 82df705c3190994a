"""Connects with the Dask cluster that an executor names, and lets the sweeps of a block train there."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regjax.core.checks import shown
from regjax.engine.cluster import ANSWER_SECONDS, Cluster
from regjax.engine.reaching import reached
from regjax.engine.workers import trained_on

if TYPE_CHECKING:
    from distributed import Client

PREFIX = "dask://"
# Run by each worker of this machine. A terminal sends Ctrl-C to all processes of a command: workers that end
# of it would not hand back what the host waits for, to keep it.
UNDISTURBED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
# What Dask is told for workers of this machine, which share its cores with all that Dask does there.
LOCAL = {
    # Dask looks at a worker some time after its death, 15 s by default, and where it is dead again by then,
    # its nanny is stopped for good: a worker that dies twice would not come back.
    "distributed.deploy.lost-worker-timeout": "1 day",
    # Each process looks 50 times a second whether its own loop answers, and each worker 100 times at what its
    # threads do: a tenth of a core, for a host and one worker that have nothing to do.
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.profile.interval": "100ms",
    # Dask's own value, 64 KiB, has every array of a task given back to the system and fetched from it anew.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
}


@contextlib.contextmanager
def within(executor: Any, flag: str = "") -> Iterator[Any]:
    """Yields an executor, and lets the sweeps of the block train there where it `is_dask`.

    Args:
        executor: an executor, or None; a Dask cluster as in `connected`, which yields a `Cluster`.
        flag: as in `connected`.
    """
    if not is_dask(executor):
        yield executor
        return
    with connected(executor, flag) as cluster, trained_on(cluster):
        yield cluster


def is_dask(executor: Any) -> bool:
    """Returns whether an executor is a Dask cluster: "dask://…", a client, or what a client's executor is."""
    if isinstance(executor, str):
        return executor.startswith(PREFIX)
    if "distributed" not in sys.modules:
        return False
    from distributed import Client
    from distributed.cfexecutor import ClientExecutor

    return isinstance(executor, Client | ClientExecutor)


@contextlib.contextmanager
def connected(executor: Any, flag: str = "") -> Iterator[Cluster]:
    """Yields the cluster of an executor that `is_dask`; what is started for it ends with it.

    Args:
        executor: "dask://HOST:PORT", "dask://local:N" for N processes of this machine, "dask://FILE" for a
            scheduler file, a `distributed.Client`, or its executor. "?mixed" behind an address takes workers
            that differ in what bits depend on.
        flag: the flag that the executor is of, which errors then name, without "dask://"; "" is none.

    Raises:
        ValueError: Dask is not installed, an address that is none, or workers that may not be used.
        OSError: no scheduler, or no worker.
    """
    try:
        import dask.config
        from distributed import Client, LocalCluster
    except ImportError as error:
        who = flag or f"executor {shown(executor)}"
        raise ValueError(f"{who} needs Dask: pip install 'regjax[dask]'") from error

    with contextlib.ExitStack() as stack:
        mixed = False
        if isinstance(executor, str):
            where, *words = executor.removeprefix(PREFIX).split("?")
            mixed = "mixed" in words
            if not {*words} <= {"mixed"}:
                raise _not("have no words but ?mixed", executor, flag)
            kind, _, count = where.partition(":")
            if kind == "local":
                if not count.isdigit() or int(count) < 1:
                    raise _not("be dask://local:N with N from 1", executor, flag)
                stack.enter_context(dask.config.set(LOCAL))
                local = LocalCluster(
                    n_workers=int(count),
                    threads_per_worker=1,
                    dashboard_address=":0",
                    preload=[*dask.config.get("distributed.worker.preload"), UNDISTURBED],
                )
                client = stack.enter_context(Client(stack.enter_context(local), set_as_default=False))
            else:
                client = stack.enter_context(_client_of(where, executor, flag))
        else:
            client = executor if isinstance(executor, Client) else executor._client
            if client.status != "running":
                raise ValueError(
                    f"executor must be a client that is connected, got one that is {client.status}"
                )
        cluster = Cluster(client, mixed=mixed)
        stack.callback(cluster.close)
        yield cluster


def _client_of(where: str, executor: str, flag: str) -> Client:
    """Returns a client of the scheduler at an address, or of a scheduler file."""
    if Path(where).is_file():
        return reached(_address_in(Path(where), executor, flag), ANSWER_SECONDS)
    if not where.rpartition(":")[2].isdigit():
        files = "a scheduler file that exists" if flag else "dask://FILE with a scheduler file that exists"
        raise _not(f"be dask://HOST:PORT, dask://local:N or {files}", executor, flag)
    return reached(where if "://" in where else f"tcp://{where}", ANSWER_SECONDS)


def _address_in(path: Path, executor: str, flag: str) -> str:
    """Returns the address that a scheduler file names."""
    try:
        return str(json.loads(path.read_text())["address"])
    except (ValueError, KeyError, TypeError) as error:
        raise _not("name a scheduler file, as `dask scheduler` writes it", executor, flag) from error


def _not(what: str, executor: str, flag: str) -> ValueError:
    """Returns the error of an executor that is not what it must be; a flag has no "dask://"."""
    if flag:
        what, executor = what.replace(PREFIX, ""), executor.removeprefix(PREFIX).partition("?mixed")[0]
    return ValueError(f"{flag or 'executor'} must {what}, got {shown(executor)}")
