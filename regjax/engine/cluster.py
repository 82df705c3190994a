"""A Dask cluster as the workers of a sweep: which worker trains which chunk, and what travels to it.

The design, with the data, is sent once and kept by every worker. A chunk goes back to the worker that trained
it last, which has its states; only where that worker is busy or gone do the states travel. Results come back
whole, so that a worker may die at any time: the host has what its chunks need to go on elsewhere.
docs/machines.md shows its use; `engine/remote.py` is what a worker runs.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import importlib.metadata
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regjax.core.checks import counted, shown
from regjax.engine.lanes import ChunkDone
from regjax.engine.remote import ChunkRequest, Held, StatesMissing, kind_of_worker, nbytes, run_request
from regjax.engine.workers import CLUSTER
from regjax.study.design import Design
from regjax.study.provenance import versions

if TYPE_CHECKING:
    from distributed import Client, Future

PREFIX = "dask://"
# Seconds that a scheduler has to answer, that the first worker has to come, and that a lost scheduler has to
# come back; and between two looks at the workers.
ANSWER_SECONDS, WORKER_SECONDS, RETURN_SECONDS, LOOK_SECONDS = 5, 60, 120, 0.5


# Chunks that wait at a worker, so that it does not wait for the host.
AHEAD = 1
# Workers that may die with a chunk before it is given up.
MOST_KILLED = 3


class ClusterError(RuntimeError):
    """A cluster that is lost, or whose workers die."""


class WorkersKilledError(ClusterError):
    """A chunk with which `MOST_KILLED` workers died, one after the other: it is not tried again."""


@dataclasses.dataclass(eq=False)
class _Seat:
    """A worker: its address, how many chunks it trains at a time, and those that it has, in their order."""

    address: str
    threads: int
    errands: list[_Errand] = dataclasses.field(default_factory=list)

    def takes(self, errand: _Errand) -> bool:
        """Returns whether it has room: what may have killed a worker is alone with the next one."""
        if errand.killed or any(other.killed for other in self.errands):
            return not self.errands
        return len(self.errands) < self.threads + AHEAD

    @property
    def is_idle(self) -> bool:
        """Whether one of its threads has nothing to do."""
        return len(self.errands) < self.threads


@dataclasses.dataclass(eq=False)
class _Errand:
    """A request, the design that it is of, the future that its scheduler waits for, and what came of it.

    `sent` is the future of Dask where a worker has it; `killed` is the number of workers that died with it.
    """

    design: Design
    request: ChunkRequest
    out: concurrent.futures.Future[ChunkDone]
    sent: Future[Any] | None = None
    killed: int = 0


class Cluster:
    """The workers of a Dask scheduler.

    Args:
        client: a client of the scheduler.
        mixed: whether workers may differ in what bits depend on.

    Attributes:
        kind: what the bits of the first worker depend on, see `remote.kind_of_worker`.
        notes: sentences on workers that were refused, or are of another kind.
        sent: bytes of the arrays of all requests so far, without the designs.
        received: bytes of the arrays of all results so far.
        requests: number of requests so far.

    Raises:
        ValueError: workers that differ, or cannot import regjax.
        OSError: no worker came.
    """

    def __init__(self, client: Client, *, mixed: bool = False) -> None:
        self.client, self.mixed = client, mixed
        self.kind: dict[str, str] = {}
        self.notes: list[str] = []
        self.sent = self.received = self.requests = 0
        self._seats: dict[str, _Seat] = {}
        self._refused: dict[str, str] = {}
        self._queue: deque[_Errand] = deque()
        self._asked: set[str] = set()
        # Number of a request -> address of the worker that has the states it ended with.
        self._where: dict[int, str] = {}
        self._held: tuple[Design, Future[Held]] | None = None
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._wait_for_workers()
        self._looking = threading.Thread(target=self._look_again, name="regjax-cluster", daemon=True)
        self._looking.start()

    def _wait_for_workers(self) -> None:
        """Waits until the workers that there are have said what they are; errors as of the class."""
        deadline = time.monotonic() + WORKER_SECONDS
        # A cluster that adapts begins without workers, and starts one when it is asked for something.
        first = self.client.submit(kind_of_worker, (), pure=False)
        while not (self._seats or self._refused) or self._asked:
            self._look()
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        first.release()
        if self._refused:
            raise ValueError(next(iter(self._refused.values())))
        if not self._seats:
            raise OSError(f"cluster must have a worker that answers, and none did in {WORKER_SECONDS} s")

    @property
    def backend(self) -> str:
        """The platform that the workers compute on: "cpu", "gpu"."""
        return self.kind["device"].partition(":")[0]

    @property
    def capacity(self) -> int:
        """Number of chunks that the workers train at a time, at least 1."""
        with self._lock:
            return max(1, sum(seat.threads for seat in self._seats.values()))

    @property
    def room(self) -> int:
        """Number of chunks that are trained or wait at a worker, at least 1."""
        with self._lock:
            return self.capacity + AHEAD * len(self._seats)

    @property
    def link(self) -> str:
        """Address of the scheduler's page, "" where it has none."""
        found = self.client.scheduler_info().get("services", {})
        return str(self.client.dashboard_link or "") if "dashboard" in found else ""

    def submit(self, design: Design, request: ChunkRequest) -> concurrent.futures.Future[ChunkDone]:
        """Returns the future of a chunk's result.

        It raises `WorkersKilledError`, what the worker raised, or OSError where the scheduler is lost.
        """
        errand = _Errand(design, request, concurrent.futures.Future())
        with self._lock:
            self._queue.append(errand)
        self._place()
        return errand.out

    def next_number(self) -> int:
        """Returns the number of the next request."""
        with self._lock:
            self.requests += 1
            return self.requests

    def close(self) -> None:
        """Forgets all requests, and drops the design from the workers."""
        self._closed.set()
        with self._lock:
            futures = [errand.sent for seat in self._seats.values() for errand in seat.errands]
            self._queue.clear()
            self._seats.clear()
            held, self._held = self._held, None
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            self.client.cancel([*filter(None, futures), *([held[1]] if held else [])])

    # -- workers ----------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        """Looks for workers that came or went, until the cluster is closed."""
        while not self._closed.wait(LOOK_SECONDS):
            try:
                if self.client.status != "running":
                    self._return()
                self._look()
                self._place()
            except Exception as error:  # the next look may find it mended
                if self.client.status == "closed":
                    self._fail(ClusterError(f"the scheduler is lost: {error}"))
                    return

    def _look(self) -> None:
        """Takes in which workers came, and sends again what those had that are gone."""
        found = self.client.scheduler_info(n_workers=-1)["workers"]
        with self._lock:
            gone = [self._seats.pop(address) for address in [a for a in self._seats if a not in found]]
            fresh = [a for a in found if a not in self._seats.keys() | self._refused.keys() | self._asked]
            self._asked.update(fresh)
        for seat in gone:
            for place, errand in enumerate(seat.errands):
                errand.killed += place < seat.threads  # the others only waited there
                self._again(errand)
        for address in fresh:  # beside each other: one that has stopped answers nobody
            ask = partial(self._ask, address, found[address]["nthreads"])
            threading.Thread(target=ask, name="regjax-asking", daemon=True).start()

    def _ask(self, address: str, threads: int) -> None:
        """Takes a worker in, or refuses it, by what it says of itself."""
        why = self._why_not(address)
        with self._lock:
            self._asked.discard(address)
            if why:
                self._refused[address] = why
                self.notes.append(why)
            else:
                self._seats[address] = _Seat(address, threads)
        self._place()

    def _why_not(self, address: str) -> str:
        """Returns why a worker may not be used, or ""; the first one says what the others must be like."""
        ask: Any = partial(self.client.run, workers=[address], on_error="return")
        wanted, gone = versions()["regjax"], OSError("it is gone")
        # Asked for in Python's own words, which a worker without regjax understands.
        version = ask(importlib.metadata.version, "regjax").get(address, gone)
        if isinstance(version, importlib.metadata.PackageNotFoundError):
            return f"worker {address} must have regjax, and does not: install regjax {wanted} there"
        if isinstance(version, str) and version != wanted:
            return f"worker {address} must have regjax {wanted}, as here, got {version}"
        kind = ask(kind_of_worker, ("float32", "float64")).get(address, gone)
        if isinstance(version, BaseException) or isinstance(kind, BaseException):
            said = version if isinstance(version, BaseException) else kind
            return f"worker {address} cannot be asked what it is: {' '.join(str(said).split())}"
        self.kind = self.kind or kind
        other = [
            f"{name} {kind.get(name)} in place of {self.kind.get(name)}"
            for name in sorted(kind.keys() | self.kind.keys())
            if kind.get(name) != self.kind.get(name)
        ]
        if not other:
            return ""
        said = f"worker {address} has {'; '.join(other)}: its networks have other bits"
        if not self.mixed:
            return f"{said}; --mixed, or ?mixed behind the address, takes it"
        self.notes.append(said)
        return ""

    # -- requests ---------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Sends waiting requests to workers that have room."""
        while (found := self._next()) is not None:
            errand, seat, request = found
            try:
                # A key of its own for each time that a request is sent.
                errand.sent = self.client.submit(
                    run_request, self._held_future(errand.design), request, key=f"regjax-{uuid.uuid4()}",
                    workers=[seat.address],
                )  # fmt: skip
            except Exception as error:
                with self._lock:
                    seat.errands.remove(errand)
                if self.client.status != "running":
                    self._again(errand)
                    return
                errand.out.set_exception(error)
            else:
                with self._lock:
                    self.sent += nbytes(request.states)
                errand.sent.add_done_callback(partial(self._done, errand, seat))

    def _next(self) -> tuple[_Errand, _Seat, ChunkRequest] | None:
        """Takes the next errand that a worker has room for; returns it, the worker, and what it is sent."""
        with self._lock:
            for errand in () if self._closed.is_set() else list(self._queue):
                home = self._where.get(errand.request.before)
                free = [seat for seat in self._seats.values() if seat.takes(errand)]
                if not free:
                    continue
                self._queue.remove(errand)
                if not errand.out.running() and not errand.out.set_running_or_notify_cancel():
                    continue
                # To an idle worker, to where its states are, to the one that has the least to do.
                seat = max(free, key=lambda s: (s.is_idle, s.address == home, s.threads - len(s.errands)))
                self._where.pop(errand.request.before, None)
                seat.errands.append(errand)
                at_home = seat.address == home
                return errand, seat, errand.request._replace(states=None) if at_home else errand.request
            return None

    def _held_future(self, design: Design) -> Future[Held]:
        """Returns the design as the workers have it; sends it where they do not."""
        with self._lock:
            if self._held is None or self._held[0] is not design or self._held[1].status != "finished":
                # A copy without what was computed of it, which every worker computes for itself.
                held = Held(dataclasses.replace(design))
                try:
                    future: Any = self.client.scatter(held, broadcast=True, hash=False)
                except (TypeError, AttributeError) as error:  # what pickle raises
                    said = str(error).partition("\n")[0]
                    raise ValueError(f"design must be able to travel to a worker: {said}") from error
                self._held = design, future
            _, found = self._held
            return found

    def _done(self, errand: _Errand, seat: _Seat, future: Future[Any]) -> None:
        """Hands on what a worker returned, or sends the request again."""
        with self._lock:
            if errand.sent is not future or errand not in seat.errands or self._closed.is_set():
                return  # it was sent again
            if self._seats.get(seat.address) is not seat:
                return  # the worker is gone: `_look` sends it again
            seat.errands.remove(errand)
        try:
            self._hand_on(errand, seat, future)
        finally:
            self._place()

    def _hand_on(self, errand: _Errand, seat: _Seat, future: Any) -> None:
        from distributed.scheduler import KilledWorker

        error, found = None, None
        try:
            if future.status == "error":
                error = future.exception(timeout=RETURN_SECONDS)
            else:  # a future that is cancelled raises, and so does one that is lost
                found = future.result(timeout=RETURN_SECONDS)
        except (concurrent.futures.CancelledError, TimeoutError, OSError):
            self._again(errand)
            return
        if isinstance(error, KilledWorker):
            errand.killed += 1
            self._again(errand)
        elif error is not None:
            errand.out.set_exception(error)
        elif isinstance(found, StatesMissing) or found is None:
            self._again(errand)
        else:
            with self._lock:
                self._where[errand.request.number] = seat.address
                self.received += nbytes(found)
            errand.out.set_result(found)

    def _again(self, errand: _Errand) -> None:
        """Puts a request first in the queue, with its states; gives it up where too many workers died."""
        if errand.killed >= MOST_KILLED:
            rows = errand.request.rows
            said = f"{counted(len(rows), 'network')}, rows {', '.join(map(str, rows[:5]))}"
            more = ", …" if len(rows) > 5 else ""
            errand.out.set_exception(
                WorkersKilledError(f"{said}{more}: {MOST_KILLED} workers died with them")
            )
            return
        with self._lock:
            self._where.pop(errand.request.before, None)
            self._queue.appendleft(errand)

    # -- a scheduler that is lost -----------------------------------------------------------------------

    def _return(self) -> None:
        """Connects with a scheduler that was lost, and sends again what was in work."""
        from distributed import Client

        address = self.client.scheduler.address if self.client.scheduler else ""
        deadline = time.monotonic() + RETURN_SECONDS
        while not self._closed.is_set():
            try:
                client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
            except OSError:
                if time.monotonic() > deadline:
                    self._fail(ClusterError(f"the scheduler at {address} was lost, and did not come back"))
                    self._closed.set()
                    return
                time.sleep(LOOK_SECONDS)
                continue
            with self._lock:
                lost = [errand for seat in self._seats.values() for errand in seat.errands]
                self.client, self._held, self._seats, self._where = client, None, {}, {}
                self._queue.extendleft(reversed(lost))
            return

    def _fail(self, error: Exception) -> None:
        """Ends all requests with an error."""
        with self._lock:
            waiting = [*self._queue, *(errand for seat in self._seats.values() for errand in seat.errands)]
            self._queue.clear()
            self._seats.clear()
        for errand in waiting:
            if not errand.out.done():
                errand.out.set_exception(error)


@contextlib.contextmanager
def within(executor: Any) -> Iterator[Any]:
    """Yields an executor, and lets the sweeps of the block train there where it `is_dask`.

    Args:
        executor: an executor, or None; a Dask cluster as in `connected`, which yields a `Cluster`.
    """
    if not is_dask(executor):
        yield executor
        return
    with connected(executor) as cluster:
        token = CLUSTER.set(cluster)
        try:
            yield cluster
        finally:
            CLUSTER.reset(token)


def is_dask(executor: Any) -> bool:
    """Returns whether an executor is a Dask cluster: "dask://…", a client, or what a client's executor is."""
    if isinstance(executor, str):
        return executor.startswith(PREFIX)
    return type(executor).__module__.startswith("distributed.")


@contextlib.contextmanager
def connected(executor: Any) -> Iterator[Cluster]:
    """Yields the cluster of an executor that `is_dask`; what is started for it ends with it.

    Args:
        executor: "dask://HOST:PORT", "dask://local:N" for N processes of this machine, "dask://FILE" for a
            scheduler file, a `distributed.Client`, or its executor. "?mixed" behind an address takes workers
            that differ in what bits depend on.

    Raises:
        ValueError: Dask is not installed, an address that is none, or workers that may not be used.
        OSError: no scheduler, or no worker.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(f"executor {shown(executor)} needs Dask: pip install 'regjax[dask]'") from error

    with contextlib.ExitStack() as stack:
        mixed = False
        if isinstance(executor, str):
            where, *words = executor.removeprefix(PREFIX).split("?")
            mixed = words == ["mixed"]
            if words and not mixed:
                raise ValueError(f"executor must have no words but ?mixed, got {shown(executor)}")
            kind, _, count = where.partition(":")
            if kind == "local":
                if not count.isdigit() or int(count) < 1:
                    raise ValueError(f"executor must be dask://local:N with N from 1, got {shown(executor)}")
                local = LocalCluster(n_workers=int(count), threads_per_worker=1, dashboard_address=":0")
                client = stack.enter_context(Client(stack.enter_context(local), set_as_default=False))
            else:
                client = stack.enter_context(_client_of(where, executor))
        else:
            client = executor if isinstance(executor, Client) else executor._client
        cluster = Cluster(client, mixed=mixed)
        stack.callback(cluster.close)
        yield cluster


def _client_of(where: str, executor: str) -> Client:
    """Returns a client of the scheduler at an address, or of a scheduler file."""
    from distributed import Client

    if Path(where).is_file():
        return Client(scheduler_file=where, timeout=ANSWER_SECONDS, set_as_default=False)
    address = where if "://" in where else f"tcp://{where}"
    if not where.rpartition(":")[2].isdigit():
        raise ValueError(
            "executor must be dask://HOST:PORT, dask://local:N or dask://FILE with a scheduler file that "
            f"exists, got {shown(executor)}"
        )
    try:
        return Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except OSError as error:
        raise OSError(f"no Dask scheduler answers at {address} in {ANSWER_SECONDS} s") from error
