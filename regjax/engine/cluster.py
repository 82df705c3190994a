"""A Dask cluster as the workers of a sweep: which worker trains which chunk, and what travels to it.

The design, with the data, is sent once and kept by every worker. A chunk goes back to the worker that trained
it last, which has its states; only where that worker is busy or gone do the states travel. Results come back
whole, so that a worker may die at any time: the host has what its chunks need to go on elsewhere.
docs/guides/machines.md shows its use; `engine/remote.py` is what a worker runs.

One thread, `Cluster._decide`, owns what is known of workers and requests. All else that happens, in threads
that wait for Dask, is told to it as an event.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from regjax.core.checks import counted
from regjax.engine.adapting import Calls
from regjax.engine.joining import difference, kind_of, refusal, without_work
from regjax.engine.lanes import ChunkDone
from regjax.engine.reaching import reached
from regjax.engine.remote import ChunkRequest, Held, StatesMissing, nbytes, run_request
from regjax.study.design import Design

if TYPE_CHECKING:
    from distributed import Client

# Seconds that a scheduler has to answer, that the first worker has to come, that a lost scheduler has to come
# back, that the data have to reach a worker, and between two looks at the workers.
ANSWER_SECONDS, WORKER_SECONDS, RETURN_SECONDS, SEND_SECONDS, LOOK_SECONDS = 5, 60, 120, 60, 0.5
# Chunks that wait at a worker, so that it does not wait for the host.
AHEAD = 1
# Workers that may die with a chunk before it is given up, and times that a result may fail to come back.
MOST_KILLED, MOST_TRIES = 3, 10
# Where nobody has set up logging, Python writes warnings on standard error: beside a bar, or in a notebook.
LOG = logging.getLogger("regjax")
# How a note begins that names networks which are not trained.
GIVEN_UP = "given up"
# Looks in turn that fail before the scheduler is taken for lost.
MOST_BLIND = 4


class ClusterError(RuntimeError):
    """A cluster that is lost, or whose workers die."""


class WorkersKilledError(ClusterError):
    """A chunk with which `MOST_KILLED` workers died, one after the other: it is not tried again."""


@dataclasses.dataclass(eq=False)
class _Errand:
    """A request on its way.

    Attributes:
        design: the design that it is of.
        request: the request, with its states.
        out: the future that the scheduler of the sweep waits for.
        turn: how often it was sent; what belongs to an earlier time is not read.
        sent: the future of Dask.
        killed: number of workers that died with it.
        tries: number of times that it was sent again without a worker that died.
        failed: when it failed to come back, and why; the next look says whether its worker died.
    """

    design: Design
    request: ChunkRequest
    out: concurrent.futures.Future[ChunkDone]
    turn: int = 0
    sent: Any = None
    killed: int = 0
    tries: int = 0
    failed: tuple[float, Any] | None = None


@dataclasses.dataclass(eq=False)
class _Seat:
    """A worker: its address and Dask's id, how many chunks it trains at a time, and those that it has."""

    address: str
    id: str
    threads: int
    status: str = "running"
    errands: list[_Errand] = dataclasses.field(default_factory=list)
    # The design that it has, with the future of Dask that keeps it there, and who is about to send one.
    held: tuple[Design, Any] | None = None
    sending: Any = dataclasses.field(default_factory=threading.Lock)

    def takes(self, errand: _Errand) -> bool:
        """Returns whether it has room: what may have killed a worker is alone with the next one."""
        if self.status != "running":
            return False
        if errand.killed or any(other.killed for other in self.errands):
            return not self.errands
        return len(self.errands) < self.threads + AHEAD

    @property
    def is_idle(self) -> bool:
        """Whether one of its threads has nothing to do."""
        return len(self.errands) < self.threads


class Cluster:
    """The workers of a Dask scheduler.

    Args:
        client: a client of the scheduler.
        mixed: whether workers may differ in what bits depend on, and those that cannot be used are left out.

    Attributes:
        kind: what the bits of the first worker depend on, see `remote.kind_of_worker`.
        notes: sentences on workers that get no work, or are of another kind.
        sent: bytes of the arrays of all requests so far, without the designs.
        received: bytes of the arrays of all results so far.
        requests: number of requests so far.
        capacity: number of chunks that the workers train at a time, at least 1.
        room: number of chunks that they train or that wait there, at least 1.

    Raises:
        ValueError: workers that differ, or lack regjax; with `mixed`, none that can be used.
        OSError: no worker came.
    """

    def __init__(self, client: Client, *, mixed: bool = False) -> None:
        self.client, self.mixed = client, mixed
        self.kind: dict[str, str] = {}
        self.notes: list[str] = []
        self.sent = self.received = self.requests = 0
        self.capacity = self.room = 1
        scheduler: Any = client.scheduler
        self._address, self._security = str(scheduler.address), client.security
        self._own: list[Client] = []
        self._seats: dict[str, _Seat] = {}
        self._refused: dict[str, str] = {}
        # Address of a worker that is asked what it is -> when it may be asked again.
        self._asked: dict[str, float] = {}
        self._queue: deque[_Errand] = deque()
        # Number of a request -> address of the worker that has the states it ended with.
        self._where: dict[int, str] = {}
        self._calls = Calls()
        self._blind, self._looking, self._returning = 0, False, False
        self._lost: Exception | None = None
        self._begun = self._ended = False
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._known = threading.Condition()
        self._decides = threading.Thread(target=self._decide, name="regjax-cluster", daemon=True)
        self._decides.start()
        try:
            self._wait_for_workers()
        except BaseException:
            self.close()
            raise

    def _wait_for_workers(self) -> None:
        """Waits until the workers that there are have said what they are; errors as of the class."""
        # A cluster that adapts begins without workers, and starts one when it is asked for something: of
        # Python, since a worker without regjax would end over a task that it cannot read.
        first = self.client.submit(time.monotonic, pure=False)
        with self._known:
            self._known.wait_for(lambda: self._seats or self._refused, timeout=WORKER_SECONDS)
            # One that stands still holds up nobody: its kind is compared when it answers.
            self._known.wait_for(lambda: not self._asked, timeout=ANSWER_SECONDS)
            refused, seats = list(self._refused.values()), dict(self._seats)
            count, self._begun = len(refused) + len(seats), True
            if refused and self.mixed:
                self.notes.append(without_work(refused, count))
        first.release()
        if refused and not (self.mixed and seats):
            raise ValueError(refusal(refused, count, mend=bool(seats)))
        if not seats:
            raise OSError(f"cluster must have a worker that answers, and none did in {WORKER_SECONDS} s")

    @property
    def backend(self) -> str:
        """The platform that the workers compute on: "cpu", "gpu"."""
        return self.kind["device"].partition(":")[0]

    @property
    def workers(self) -> int:
        """Number of workers that are used."""
        return len(self._seats)

    @property
    def link(self) -> str:
        """Address of the scheduler's page, "" where it has none."""
        found = self.client.scheduler_info().get("services", {})
        return str(self.client.dashboard_link or "") if "dashboard" in found else ""

    def next_number(self) -> int:
        """Returns the number of the next request."""
        self.requests += 1
        return self.requests

    def submit(self, design: Design, request: ChunkRequest) -> concurrent.futures.Future[ChunkDone]:
        """Returns the future of a chunk's result.

        It raises `WorkersKilledError`, what the worker raised, or ClusterError where the scheduler is lost.
        """
        errand = _Errand(design, request, concurrent.futures.Future())
        self._events.put(partial(self._queue.append, errand))
        return errand.out

    def want(self, chunks: int) -> None:
        """Takes in how many chunks could be trained at a time: up to them, a cluster that adapts grows."""
        self._calls.wanted = chunks

    def close(self) -> None:
        """Forgets all requests, and drops the design from the workers."""
        self._events.put(self._end)
        # Before the client is closed, which it needs; not for ever, where the scheduler is gone.
        self._decides.join(ANSWER_SECONDS)

    # -- the thread that decides ------------------------------------------------------------------------

    def _decide(self) -> None:
        """Takes in events, looks at the workers, and places requests, until the cluster is closed."""
        looked = 0.0
        while not self._ended:
            if time.monotonic() - looked > LOOK_SECONDS and not self._looking and not self._returning:
                looked, self._looking = time.monotonic(), True
                self._in_thread(self._look, self.client)
            with contextlib.suppress(queue.Empty):
                self._events.get(timeout=LOOK_SECONDS / 2)()
            if self._lost is not None:
                self._fail(self._lost)
            else:
                self._place()
            threads = sum(seat.threads for seat in self._seats.values())
            self._calls.update(self.client, threads)
            with self._known:
                self.capacity, self.room = max(1, threads), max(1, threads + AHEAD * len(self._seats))
                self._known.notify_all()

    def _in_thread(self, function: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=function, args=arguments, name="regjax-waiting", daemon=True).start()

    def _end(self) -> None:
        """Ends the thread, and what is in work."""
        self._ended = True
        errands = [errand for seat in self._seats.values() for errand in seat.errands]
        held = [seat.held[1] for seat in self._seats.values() if seat.held]
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            self.client.cancel(
                [*(errand.sent for errand in errands if errand.sent), *held, *self._calls.sent]
            )
        for client in self._own:
            with contextlib.suppress(Exception):
                client.close()

    def _fail(self, error: Exception) -> None:
        """Ends all requests with an error."""
        waiting = [*self._queue, *(errand for seat in self._seats.values() for errand in seat.errands)]
        self._queue.clear()
        self._seats.clear()
        for errand in waiting:
            errand.turn += 1
            if errand.out.running() or errand.out.set_running_or_notify_cancel():
                errand.out.set_exception(error)

    # -- workers ----------------------------------------------------------------------------------------

    def _look(self, client: Client) -> None:
        """Asks the scheduler for its workers, in a thread of its own."""
        found: Any = None
        with contextlib.suppress(Exception):
            # Not `scheduler_info`, whose answer a clock of the client overwrites.
            identity = client.scheduler.identity  # type: ignore[union-attr]
            answer: Any = client.sync(identity, n_workers=-1, callback_timeout=ANSWER_SECONDS)
            found = answer["workers"]
        self._events.put(partial(self._looked, client, found))

    def _looked(self, client: Client, found: dict[str, Any] | None) -> None:
        """Takes in which workers came, and sends again what those had that are gone."""
        self._looking = False
        if client is not self.client:
            return
        if found is None:
            self._blind += 1
            if client.status != "running" or self._blind >= MOST_BLIND:
                self._begin_return()
            return
        self._blind = 0
        # One that died and was started again may have the same address.
        ids = {address: worker["id"] for address, worker in found.items()}
        for address in [address for address, seat in self._seats.items() if ids.get(address) != seat.id]:
            seat = self._seats.pop(address)
            for place, errand in enumerate(seat.errands):
                # Those behind only waited there, and a worker that retires kills nobody.
                retired = seat.status not in ("running", "paused", "silent")
                errand.killed += place < seat.threads and not retired
                self._again(errand)
        self._refused = {address: why for address, why in self._refused.items() if address in found}
        now = time.monotonic()
        self._asked = {address: when for address, when in self._asked.items() if address in found}
        for address, worker in found.items():
            if address in self._seats:
                self._settle(self._seats[address], worker.get("status", "running"), now)
            elif address not in self._refused and self._asked.get(address, 0) <= now:
                self._asked[address] = now + WORKER_SECONDS
                self._in_thread(self._ask, client, address, worker)

    def _settle(self, seat: _Seat, status: str, now: float) -> None:
        """Takes in that a worker is there: what failed to come back from it is sent again."""
        for errand in list(seat.errands):
            # The scheduler may not have noticed yet that a worker died.
            if errand.failed is None or now - errand.failed[0] < 3 * LOOK_SECONDS:
                continue
            seat.errands.remove(errand)
            errand.tries += 1
            self._again(errand, errand.failed[1])
        seat.status = "silent" if any(errand.failed for errand in seat.errands) else status

    def _ask(self, client: Client, address: str, worker: dict[str, Any]) -> None:
        """Asks a worker what it is, in a thread of its own: one that stands still answers nobody."""
        self._events.put(partial(self._answered, client, address, worker, kind_of(client, address)))

    def _answered(self, client: Client, address: str, worker: dict[str, Any], kind: Any) -> None:
        """Takes a worker in, or refuses it, by what it says of itself."""
        # An answer to an earlier question, of a worker that has been asked again.
        if client is not self.client or address not in self._asked or address in self._seats:
            return
        if isinstance(kind, OSError | KeyError | TimeoutError):
            self._asked[address] = time.monotonic() + ANSWER_SECONDS
            return
        why = kind if isinstance(kind, str) else ""
        if isinstance(kind, Exception):
            why = f"worker {address} cannot be asked what it is: {' '.join(str(kind).split())}"
        elif isinstance(kind, dict):
            why = self._differs(address, kind)
        with self._known:
            self._asked.pop(address, None)
            if why:
                self._refused[address] = why
                if self._begun:  # those that there are at the beginning are said together
                    self.notes.append(without_work([why], 1))
            else:
                self._seats[address] = _Seat(address, worker["id"], worker["nthreads"])

    def _differs(self, address: str, kind: dict[str, str]) -> str:
        """Returns why a worker of another kind than the first may not be used, or ""."""
        self.kind = self.kind or kind
        said = difference(address, kind, self.kind)
        if not self.mixed:
            return said
        if said:
            self.notes.append(said)
        return ""

    # -- requests ---------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Sends waiting requests to workers that have room."""
        for errand in list(self._queue):
            free = [seat for seat in self._seats.values() if seat.takes(errand)]
            if not free:
                continue
            self._queue.remove(errand)
            if not errand.out.running() and not errand.out.set_running_or_notify_cancel():
                continue
            home = self._where.pop(errand.request.before, None)
            # To an idle worker, to where its states are, to the one that has the least to do.
            seat = max(free, key=lambda s: (s.is_idle, s.address == home, s.threads - len(s.errands)))
            request = errand.request._replace(states=None) if seat.address == home else errand.request
            self.sent += nbytes(request.states)
            errand.turn += 1
            seat.errands.append(errand)
            self._in_thread(self._send, self.client, errand, errand.turn, seat, request)

    def _send(self, client: Any, errand: _Errand, turn: int, seat: _Seat, request: ChunkRequest) -> None:
        """Sends a request and waits for what comes back, in a thread of its own."""
        sent, failed = None, False
        try:
            held = _held_by(seat, client, errand.design)
            # A key of its own for each time that a request is sent.
            key = f"regjax-{uuid.uuid4()}"
            sent = client.submit(run_request, held, request, key=key, workers=[seat.address])
            errand.sent = sent
            if errand.turn != turn:  # it was sent elsewhere meanwhile
                sent.cancel()
                return
            found = sent.result()
        except BaseException as error:
            # Of the task itself, or of pickle; all else is between the host and the worker.
            failed = isinstance(error, ValueError) if sent is None else sent.status == "error"
            found = error
        self._events.put(partial(self._take, errand, turn, seat, found, failed))

    def _take(self, errand: _Errand, turn: int, seat: _Seat, found: Any, failed: bool) -> None:
        """Hands on what a worker returned, or sends the request again."""
        from distributed.scheduler import KilledWorker

        if errand.turn != turn:
            return
        seat.errands.remove(errand)
        if isinstance(found, ChunkDone):
            if found.stop < errand.request.group.config.num_steps:
                self._where[errand.request.number] = seat.address
            self.received += nbytes(found)
            errand.out.set_result(found)
        elif isinstance(found, KilledWorker):
            errand.killed += 1
            self._again(errand)
        elif failed:
            errand.out.set_exception(found)
        elif isinstance(found, StatesMissing):
            self._again(errand)
        else:  # something is wrong between the host and the worker, which gets nothing until it is seen again
            seat.status = "silent"
            seat.errands.insert(0, errand)
            errand.failed = time.monotonic(), found

    def _again(self, errand: _Errand, error: Any = None) -> None:
        """Puts a request first in the queue, with its states; gives it up after too many times."""
        errand.turn, errand.failed = errand.turn + 1, None
        if errand.sent is not None:
            with contextlib.suppress(Exception):
                errand.sent.cancel()
        if errand.killed >= MOST_KILLED:
            rows = errand.request.rows
            which = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
            said = f"{counted(len(rows), 'network')}, rows {which}: {MOST_KILLED} workers died with them"
            errand.out.set_exception(WorkersKilledError(said))
        elif errand.tries >= MOST_TRIES:
            errand.out.set_exception(ClusterError(f"a result cannot be brought back: {error!r}"))
        else:
            self._where.pop(errand.request.before, None)
            self._queue.appendleft(errand)

    # -- a scheduler that is lost -----------------------------------------------------------------------

    def _begin_return(self) -> None:
        """Takes the scheduler for lost: nothing is in work any more, and a thread looks for it."""
        self._returning = True
        minutes = RETURN_SECONDS // 60
        LOG.warning("the scheduler at %s is lost: waiting up to %d minutes for it", self._address, minutes)
        for seat in self._seats.values():
            for errand in seat.errands:
                errand.turn, errand.failed = errand.turn + 1, None
                self._queue.append(errand)
        self._seats, self._refused, self._asked, self._where = {}, {}, {}, {}
        self._in_thread(self._return)

    def _return(self) -> None:
        """Connects with the scheduler anew, in a thread of its own."""
        deadline, client = time.monotonic() + RETURN_SECONDS, None
        while client is None and time.monotonic() < deadline and not self._ended:
            with contextlib.suppress(OSError, ValueError):
                client = reached(self._address, ANSWER_SECONDS, self._security)
            time.sleep(LOOK_SECONDS)
        self._events.put(partial(self._returned, client))

    def _returned(self, client: Client | None) -> None:
        self._returning, self._blind = False, 0
        if client is None:
            self._lost = ClusterError(f"the scheduler at {self._address} was lost, and did not come back")
            return
        LOG.warning("the scheduler at %s is back", self._address)
        self._own.append(client)
        self.client = client


def _held_by(seat: _Seat, client: Any, design: Design) -> Any:
    """Returns the design as a worker has it; sends it where the worker has it not.

    Each worker is sent its own: of one that others fetch it from, the death would end what they train.
    """
    with seat.sending:
        if seat.held is None or seat.held[0] is not design or seat.held[1].status != "finished":
            # A copy without what was computed of it, which every worker computes for itself.
            held = Held(dataclasses.replace(design))
            try:
                sent = client.sync(
                    client._scatter, held, workers=[seat.address], hash=False, callback_timeout=SEND_SECONDS
                )
            except (TypeError, AttributeError) as error:  # what pickle raises
                said = str(error).partition("\n")[0]
                raise ValueError(f"design must be able to travel to a worker: {said}") from error
            seat.held = design, sent
        return seat.held[1]
