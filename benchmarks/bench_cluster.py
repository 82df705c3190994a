"""Measures sweeps on a Dask cluster beside threads, and predicts how they grow with the workers.

    python -m benchmarks.bench_cluster overhead [--seconds 30] [--repeats 3]
    python -m benchmarks.bench_cluster check [--workers 1 2 4]
    python -m benchmarks.bench_cluster asleep [--workers 1 8 64]
    python -m benchmarks.bench_cluster growth [--workers 1 2 4 8 16 32 64]
    python -m benchmarks.bench_cluster plan [--networks 1000000]

`overhead`: the same sweep by two threads and by two workers of this machine, in turn. `growth`: simulated
workers under the scheduler of a real sweep. What the host does is done, and takes the time that it takes; the
workers' answers are made up, after as many seconds as workers were measured to take. `check` holds that
against sweeps that are trained here, `asleep` against real workers that sleep in place of training. `plan`:
what many small networks cost the host.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import functools
import heapq
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

import regjax
from benchmarks.measure import spread, write
from regjax.engine import cluster as clusters
from regjax.engine.cluster import AHEAD, Cluster
from regjax.engine.connecting import connected, within
from regjax.engine.lanes import ChunkDone
from regjax.engine.remote import ChunkRequest, Held, kind_of_worker, nbytes, run_request
from regjax.engine.workers import trained_on

# Of the network that is assumed where workers are simulated: seconds of a message, bytes per second.
LATENCY, BANDWIDTH = 0.0005, 125e6
SIZES = {"tutorial": 100_000, "digits": 4_000}


class Problem(NamedTuple):
    """What is trained: data and options of a sweep."""

    data: str
    config: dict[str, Any]
    grid: Any
    folds: int

    def seeds(self, networks: int) -> int:
        """Returns the number of seeds that make about so many networks."""
        return max(1, round(networks / len(self.grid) / self.folds))

    def sweep(self, networks: int, steps: int | None = None) -> Any:
        """Returns the results of about so many networks."""
        config = self.config if steps is None else {**self.config, "num_steps": steps}
        options = {"seeds": self.seeds(networks), "folds": self.folds, "keep": "none", "kernel": "native"}
        return regjax.sweep(self.data, config, self.grid, progress=False, **options)


PROBLEMS = {
    "tutorial": Problem(
        "two_regions", {"hidden": (20, 3), "num_steps": 30_000, "eval_every": 1_000},
        regjax.grid(l2=[0, 0.01, 0.1, 1], keep_prob=[1, 0.9, 0.8, 0.7], learning_rate=[0.1, 0.3]), 5,
    ),
    "digits": Problem(
        "digits", {"hidden": (64,), "num_steps": 3_000, "eval_every": 300, "batch_size": 128},
        regjax.grid(l2=[0, 0.1, 1, 10], keep_prob=[1, 0.8], learning_rate=[0.1]), 5,
    ),
}  # fmt: skip


class Task(NamedTuple):
    """A task of a worker, as it was seen.

    Attributes:
        work: its steps times its networks.
        seconds: the seconds in which it was trained.
    """

    work: int
    seconds: float


class Costs(NamedTuple):
    """What tasks cost.

    Attributes:
        unit: seconds of a step of a network.
        spread: what the seconds of tasks are, in these.
        extra: seconds of a task in a worker beside training: it is unpickled, and its inputs are stacked.
        message: seconds of the host for each task: Dask's client sends it and reads its result.
        byte: the same for each byte of states and records.
    """

    unit: float
    spread: np.ndarray
    extra: float
    message: float
    byte: float


def work_of(request: ChunkRequest) -> int:
    """Returns the steps of a request times its networks."""
    return (request.ends[-1] - request.start) * len(request.rows)


def shape_of(request: ChunkRequest) -> Any:
    """Returns what the arrays of a request's answer depend on."""
    return request.group.config.layer_sizes, request.group.on, request.shape


class Answers:
    """Answers of made-up workers: as a real one of the same shape was, without training.

    Args:
        design: the design of the sweep.
        request: its first request, which is trained once.
    """

    def __init__(self, design: Any, request: ChunkRequest) -> None:
        self.done = run_request(Held(design), request._replace(number=-1))
        assert isinstance(self.done, ChunkDone)

    def of(self, request: ChunkRequest, seconds: float) -> ChunkDone:
        """Returns the answer to a request that took so many seconds."""
        assert isinstance(self.done, ChunkDone)
        count = sum(request.measured) + (request.start == 0)
        records = {n: np.repeat(v[:1], count, axis=0) for n, v in self.done.records.items()} if count else {}
        if "finite" in records:
            records["finite"] = np.ones_like(records["finite"])
        return self.done._replace(records=records, stop=request.ends[-1], seconds=seconds, moving=0.0)


class Simulated(Cluster):
    """Workers that are made up, under the scheduler of a real sweep and with the placement of a real cluster.

    The host's clock is `now`: it goes on by the seconds that the host's own code takes, by those of Dask's
    client, and to the next result where the host waits for one.

    Args:
        workers: the number of workers, of one thread each.
        costs: what tasks cost.
    """

    def __init__(self, workers: int, costs: Costs) -> None:
        self.costs, self.rng = costs, np.random.default_rng(0)
        self.now, self.busy, self.waited = 0.0, 0.0, 0.0
        self.sent = self.received = self.requests = 0
        self.kind, self.notes = kind_of_worker(), []
        self.capacity, self.room = workers, workers * (1 + AHEAD)
        self._seats = {f"worker-{k}": clusters._Seat(f"worker-{k}", str(k), 1) for k in range(workers)}
        self._free = dict.fromkeys(self._seats, 0.0)
        self._queue, self._where, self.client = clusters.deque(), {}, None
        self._heap: list[Any] = []
        self._answers: dict[Any, Answers] = {}
        self._left = time.perf_counter()

    def submit(self, design: Any, request: ChunkRequest) -> concurrent.futures.Future[ChunkDone]:
        """As of a cluster; the first request of a shape is really trained, off the clock."""
        key = shape_of(request)
        if key not in self._answers:
            began = time.perf_counter()
            self._answers[key] = Answers(design, request)
            self._left += time.perf_counter() - began
        errand = clusters._Errand(design, request, concurrent.futures.Future())
        self._queue.append(errand)
        self._place()
        return errand.out

    def want(self, chunks: int) -> None:
        """Workers that are made up do not become more."""

    def _in_thread(self, function: Any, *arguments: Any) -> None:
        """A request is sent: a worker will have it, train it, and send its result."""
        _, errand, turn, seat, request = arguments
        costs, size = self.costs, nbytes(request.states)
        self.now += costs.message / 2 + costs.byte * size
        there = self.now + LATENCY + size / BANDWIDTH
        seconds = work_of(request) * costs.unit * self.rng.choice(costs.spread)
        self._free[seat.address] = max(there, self._free[seat.address]) + seconds + costs.extra
        self.busy += work_of(request) * costs.unit
        done = self._answers[shape_of(request)].of(request, seconds)
        back = self._free[seat.address] + LATENCY + nbytes(done) / BANDWIDTH
        heapq.heappush(self._heap, (back, self.requests, errand.request.number, errand, turn, seat, done))

    def wait(self, flying: Any, timeout: float | None = None, return_when: str = "") -> Any:
        """In place of `concurrent.futures.wait`: the clock goes on to the next result."""
        self.now += time.perf_counter() - self._left
        while self._heap:
            back, _, _, errand, turn, seat, done = self._heap[0]
            if back > self.now and any(future.done() for future in flying):
                break
            heapq.heappop(self._heap)
            self.waited += max(0.0, back - self.now)
            self.now = max(self.now, back) + self.costs.message / 2 + self.costs.byte * nbytes(done)
            began = time.perf_counter()
            self._take(errand, turn, seat, done, False)
            self._place()
            self.now += time.perf_counter() - began
        self._left = time.perf_counter()
        done = {future for future in flying if future.done()}
        return concurrent.futures._base.DoneAndNotDoneFutures(done, set(flying) - done)


def simulated(problem: Problem, networks: int, workers: int, costs: Costs) -> dict[str, Any]:
    """Returns the wall-clock seconds of a sweep on made-up workers, and where they went."""
    cluster = Simulated(workers, costs)
    with trained_on(cluster), mock.patch("concurrent.futures.wait", cluster.wait):
        cluster._left = time.perf_counter()
        results = problem.sweep(networks)
    host = cluster.now - cluster.waited
    return {
        "workers": workers,
        "networks": len(results),
        "requests": cluster.requests,
        "seconds": cluster.now,
        "efficiency": cluster.busy / workers / cluster.now,
        "host_seconds_a_task": host / cluster.requests,
        "host_busy": host / cluster.now,
    }


@contextlib.contextmanager
def noting() -> Iterator[list[Task]]:
    """Yields a list that gets every task of a real cluster."""
    seen: list[Task] = []
    submit = Cluster.submit

    def noted(self: Cluster, design: Any, request: ChunkRequest) -> Any:
        future = submit(self, design, request)

        def ended(of: Any) -> None:
            if not of.cancelled() and of.exception() is None:
                seen.append(Task(work_of(request), of.result().seconds))

        future.add_done_callback(ended)
        return future

    with mock.patch.object(Cluster, "submit", noted):
        yield seen


class Trained(NamedTuple):
    """A real sweep on a cluster of this machine: its seconds, networks, requests, bytes and tasks."""

    seconds: float
    networks: int
    requests: int
    sent: int
    received: int
    tasks: list[Task]


def trained(problem: Problem, networks: int, workers: int) -> Trained:
    """Trains a sweep on a cluster of this machine, after a short one for which its workers compile."""
    with within(f"dask://local:{workers}") as cluster, noting() as seen:
        problem.sweep(networks, steps=problem.config["eval_every"] * 2)
        before = cluster.requests, cluster.sent, cluster.received
        seen.clear()
        began = time.perf_counter()
        results = problem.sweep(networks)
        seconds = time.perf_counter() - began
        requests, sent, received = (
            after - b
            for after, b in zip((cluster.requests, cluster.sent, cluster.received), before, strict=True)
        )
    return Trained(seconds, len(results), requests, sent, received, seen)


def echoed(numbers: int) -> np.ndarray:
    """In a worker: an array of so many bytes."""
    return np.zeros(numbers, np.uint8)


def client_costs() -> tuple[float, float]:
    """Returns the seconds of the host for each message of Dask, and for each byte that comes back."""
    seconds = {}
    with connected("dask://local:2") as cluster:
        client: Any = cluster.client

        def one(size: int) -> None:
            client.submit(echoed, size, pure=False).result()

        for size in (1_000, 4_000_000):
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                list(pool.map(one, [size] * 32))
                began = time.perf_counter()
                count = 1_000 if size == 1_000 else 100
                list(pool.map(one, [size] * count))
                seconds[size] = (time.perf_counter() - began) / count
    return seconds[1_000], max(0.0, seconds[4_000_000] - seconds[1_000]) / 4_000_000


def costs_of(found: Trained, workers: int, message: float, byte: float) -> Costs:
    """Returns what tasks cost, by a real sweep."""
    unit = sum(task.seconds for task in found.tasks) / sum(task.work for task in found.tasks)
    long = [task for task in found.tasks if task.seconds > 0.1] or found.tasks
    noise = np.array([task.seconds / task.work / unit for task in long])
    idle = found.seconds * workers - sum(task.seconds for task in found.tasks)
    return Costs(unit, noise / noise.mean(), max(0.0, idle / found.requests), message, byte)


# Of a worker that sleeps: the answers that it has, for all its threads.
ANSWERS: dict[Any, Answers] = {}
ANSWERING = threading.Lock()


class Sleeping(Held):
    """In a worker: a design whose tasks sleep.

    Args:
        design: the design.
        unit: seconds of a step of a network.
    """

    def __init__(self, design: Any, unit: float = 0.0) -> None:
        super().__init__(design)
        self.unit = unit

    def __reduce__(self) -> tuple[Any, ...]:
        return Sleeping, (self.design, self.unit)


def asleep(held: Sleeping, request: ChunkRequest) -> Any:
    """In a worker, in place of `run_request`: sleeps as long as training would take."""
    if request.start and request.states is None and held.take(request.before) is None:
        return clusters.StatesMissing()
    with ANSWERING:
        if (key := shape_of(request)) not in ANSWERS:
            ANSWERS[key] = Answers(held.design, request._replace(start=0, states=None))
    seconds = work_of(request) * held.unit
    time.sleep(seconds)
    done = ANSWERS[key].of(request, seconds)
    if done.stop < request.group.config.num_steps:
        held.keep(request.number, done.states)
    return done


def slept(problem: Problem, networks: int, workers: int, unit: float) -> float:
    """Returns the seconds of a sweep on real workers that sleep, several threads of each process."""
    from distributed import Client, LocalCluster

    # What is of `__main__` would travel with every request.
    from benchmarks import bench_cluster as here

    processes = min(4, workers)
    local = LocalCluster(n_workers=processes, threads_per_worker=workers // processes, dashboard_address=":0")
    with (
        mock.patch.object(clusters, "run_request", here.asleep),
        mock.patch.object(clusters, "Held", functools.partial(here.Sleeping, unit=unit)),
        local,
        Client(local, set_as_default=False) as client,
        within(client),
    ):
        problem.sweep(networks, steps=problem.config["eval_every"])
        began = time.perf_counter()
        problem.sweep(networks)
        return time.perf_counter() - began


def measured(problem: Problem) -> Costs:
    """Returns what tasks cost, by a short real sweep on this machine."""
    return costs_of(trained(problem, 320, 1), 1, *client_costs())


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Two threads and two workers, in turn."""
    found: dict[str, Any] = {}
    for name in options.problems:
        problem, networks = PROBLEMS[name], options.networks or 320
        problem.sweep(networks, steps=problem.config["eval_every"] * 2)
        began = time.perf_counter()
        problem.sweep(networks)
        networks = max(40, int(networks * options.seconds / (time.perf_counter() - began)))
        ratios, runs, here = [], [], []
        for _ in range(options.repeats):
            began = time.perf_counter()
            problem.sweep(networks)
            here.append(time.perf_counter() - began)
            runs.append(trained(problem, networks, 2))
            ratios.append(runs[-1].seconds / here[-1])
            print(f"{name}: threads {here[-1]:.1f} s, workers {runs[-1].seconds:.1f} s", flush=True)
        last = runs[-1]
        found[name] = {
            "networks": last.networks, "requests": last.requests,
            "threads": spread(here), "ratio": spread(ratios),
            "sent_a_network": last.sent / last.networks, "received_a_network": last.received / last.networks,
        }  # fmt: skip
        ratio = found[name]["ratio"]
        print(
            f"{name}: {last.networks:,} networks, ratio {ratio['median']:.3f} "
            f"[{ratio['min']:.3f}, {ratio['max']:.3f}], "
            f"{found[name]['sent_a_network']:,.0f} bytes sent and {found[name]['received_a_network']:,.0f} "
            "received a network"
        )
    return found


def check(options: argparse.Namespace) -> dict[str, Any]:
    """Simulated seconds beside those of real sweeps, whose steps take as long as they took there."""
    message, byte = client_costs()
    found: dict[str, Any] = {}
    for name in options.problems:
        problem, networks = PROBLEMS[name], options.networks or 640
        extra = None
        for workers in options.workers or [1, 2, 4]:
            real = trained(problem, networks, workers)
            costs = costs_of(real, workers, message, byte)
            # Beside training, a task costs what it costs at the fewest workers.
            extra = costs.extra if extra is None else extra
            there = simulated(problem, networks, workers, costs._replace(extra=extra))
            found[f"{name}, {workers}"] = {"real": real.seconds, "simulated": there["seconds"]}
            print(
                f"{name}, {workers} workers: real {real.seconds:.1f} s, simulated {there['seconds']:.1f} s "
                f"({there['seconds'] / real.seconds:.3f}); {real.requests} and {there['requests']} requests",
                flush=True,
            )
    return found


def sleepers(options: argparse.Namespace) -> dict[str, Any]:
    """Simulated seconds beside those of real workers that sleep."""
    message, byte = client_costs()
    found: dict[str, Any] = {}
    for name in options.problems:
        problem = PROBLEMS[name]
        unit = measured(problem).unit
        for workers in options.workers or [1, 8, 64]:
            networks = options.networks or max(320, 160 * workers)
            real = slept(problem, networks, workers, unit)
            costs = Costs(unit, np.ones(1), 0.0, message, byte)
            there = simulated(problem, networks, workers, costs)
            ideal = there["efficiency"] * there["seconds"]
            found[f"{name}, {workers}"] = {"real": real, "simulated": there["seconds"], "ideal": ideal}
            print(
                f"{name}, {networks:,} networks, {workers} sleeping workers: real {real:.1f} s (efficiency "
                f"{ideal / real:.3f}), simulated {there['seconds']:.1f} s ({there['efficiency']:.3f})",
                flush=True,
            )
    return found


def growth(options: argparse.Namespace) -> dict[str, Any]:
    """Simulated efficiency for each number of workers."""
    found: dict[str, Any] = {}
    for name in options.problems:
        costs = measured(PROBLEMS[name])
        print(
            f"{name}: a step of a network {1e6 * costs.unit:.2f} µs, a task {1e3 * costs.extra:.1f} ms "
            f"beside it; for the host {1e3 * costs.message:.2f} ms and {1e9 * costs.byte:.2f} ns a byte"
        )
        for workers in options.workers or [1, 2, 4, 8, 16, 32, 64]:
            row = simulated(PROBLEMS[name], options.networks or SIZES[name], workers, costs)
            found[f"{name}, {workers}"] = row
            print(
                f"{name}, {workers:>2} workers: {row['seconds']:8.1f} s, efficiency {row['efficiency']:.3f}, "
                f"{row['requests']:,} requests of {1e3 * row['host_seconds_a_task']:.1f} ms each for the "
                f"host, which is busy {row['host_busy']:.2f} of the time",
                flush=True,
            )
    return found


def planned(options: argparse.Namespace) -> dict[str, Any]:
    """What a million small networks cost the host."""
    networks = options.networks or 1_000_000
    grid = regjax.grid(l2=np.logspace(-4, 0, 25).tolist(), learning_rate=[0.03, 0.1, 0.3, 1])
    problem = Problem("two_regions", {"hidden": (4,), "num_steps": 400, "eval_every": 200}, grid, 5)
    seeds = problem.seeds(networks)
    began = time.perf_counter()
    plan = regjax.plan(
        problem.data, problem.config, grid, seeds=seeds, folds=5, keep="none", kernel="native", probe=False
    )
    seconds = time.perf_counter() - began
    print(f"{plan.num_rows:,} networks planned in {seconds:.1f} s")
    costs = measured(problem)
    row = simulated(problem, networks, (options.workers or [64])[0], costs)
    print(
        f"{row['requests']:,} requests of {1e3 * row['host_seconds_a_task']:.1f} ms each for the host: "
        f"{row['host_seconds_a_task'] * row['requests']:.0f} s of {row['seconds']:.0f} s on {row['workers']} "
        f"workers, efficiency {row['efficiency']:.2f}"
    )
    return {"plan_seconds": seconds, **row}


PARTS = {"overhead": overhead, "check": check, "asleep": sleepers, "growth": growth, "plan": planned}


def main() -> None:
    """Runs one part and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--networks", type=int)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    write(options.json, {"part": options.part, "found": PARTS[options.part](options)})


if __name__ == "__main__":
    main()
