"""Sweeps on a Dask cluster of real processes: their bits, what travels, and workers that die or differ."""

import contextlib
import functools
import inspect
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from stores import assert_same_table, run, stop_after
from sweeps import assert_same

import regjax
from regjax.cli import main as cli
from regjax.cli import terminal
from regjax.engine import cluster as clusters
from regjax.engine import pace, scheduler
from regjax.engine.cluster import Cluster, WorkersKilledError
from regjax.engine.connecting import LOCAL, PREFIX, connected, is_dask, within
from regjax.store.store import Store

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.bits,  # for the processes of workers compile as for users
    pytest.mark.cpu("worker processes on one machine share its only accelerator"),
    pytest.mark.filterwarnings("ignore"),  # of Dask, where workers are killed
]
CONFIG = {"hidden": (6,), "num_steps": 60, "eval_every": 10, "metrics": ("accuracy",)}
GRID = {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": [0.1, 1e30]}


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two worker processes, which nannies start again where they die."""
    with (
        dask.config.set(LOCAL),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        client.wait_for_workers(2)
        yield client


@pytest.fixture(autouse=True)
def short_tasks(monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)  # a record per task: chunks come back often
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)


@pytest.fixture(scope="module")
def plain():
    return run(config=CONFIG, grid=GRID, kernel="xla")


@pytest.fixture(scope="module")
def native():
    return run(config=CONFIG, grid=GRID, kernel="native")


def trained(client, store=None, **options):
    return run(store, **{"config": CONFIG, "grid": GRID, "executor": client, "kernel": "xla"} | options)


def pids(client):
    # Of the nannies, which always answer.
    return [nanny.pid for nanny in client.cluster.workers.values() if nanny.pid]


def after(moment, act):
    """Returns a `progress` that acts once, at the first report of training after so many."""
    seen = []

    def report(progress):
        if progress.phase == "train":
            seen.append(progress)
        if len(seen) == moment:
            act()

    return report


@pytest.mark.parametrize("kernel", ["xla", pytest.param("native", marks=pytest.mark.nightly)])
def test_bits_are_those_of_threads_and_little_travels(cluster, kernel, monkeypatch):
    seen, scattered = [], []
    submit, scatter = Cluster.submit, cluster._scatter

    def noted(self, design, request):
        seen.append((self, request))
        return submit(self, design, request)

    monkeypatch.setattr(Cluster, "submit", noted)
    monkeypatch.setattr(cluster, "_scatter", lambda *a, **b: scattered.append(a) or scatter(*a, **b))
    found = trained(cluster, kernel=kernel)
    assert_same_table(run(config=CONFIG, grid=GRID, kernel=kernel), found)
    assert len(scattered) == 2, "the data travel once to each worker"
    (own,) = {id(each): each for each, _ in seen}.values()
    requests = [request for _, request in seen]
    assert len(requests) == own.requests
    # What names a chunk, without states, is small whatever the data are.
    assert max(len(pickle.dumps(request._replace(states=None))) for request in requests) < 3_000
    # States travel where a chunk was packed anew, or its worker was busy: of most requests they stay.
    states = [clusters.nbytes(request.states) for request in requests]
    assert own.sent < 0.5 * sum(states)


def test_a_chunk_stays_where_it_is(cluster, monkeypatch):
    # As many chunks as workers, which nobody packs anew.
    config = CONFIG | {"num_steps": 100}
    owns = []
    monkeypatch.setattr(Cluster, "close", lambda self, close=Cluster.close: (owns.append(self), close(self)))
    grid = {"l2": [0, 0.1, 1, 10], "learning_rate": 0.1}
    found = run(config=config, grid=grid, executor=cluster, kernel="xla")
    assert_same(run(config=config, grid=grid, kernel="xla"), found)
    (own,) = owns
    assert own.requests >= 10
    assert own.sent <= 0.2 * own.received


def test_a_worker_that_is_killed_loses_its_task_alone(cluster, plain):
    killed = []

    def kill():
        killed.append(pids(cluster)[0])
        os.kill(killed[0], signal.SIGKILL)

    assert_same_table(plain, trained(cluster, progress=after(4, kill)))
    assert killed
    cluster.wait_for_workers(2, timeout=60)
    assert killed[0] not in pids(cluster)


def test_a_worker_that_stands_still_is_waited_for(cluster, plain):
    def stop():
        number = pids(cluster)[0]
        os.kill(number, signal.SIGSTOP)
        threading.Timer(3, os.kill, (number, signal.SIGCONT)).start()

    assert_same_table(plain, trained(cluster, progress=after(4, stop)))


def test_an_interrupted_sweep_goes_on_from_its_store(cluster, plain, tmp_path):
    path = tmp_path / "runs.sqlite"
    with pytest.raises(KeyboardInterrupt):
        trained(cluster, path, progress=stop_after(6))
    with Store(path) as store:
        assert store.query("SELECT count(*) FROM checkpoints")[0][0] > 0
    assert_same_table(plain, trained(cluster, path))


class Poison(distributed.WorkerPlugin):
    """Lets a worker die of a row, or fail as if memory were short; workers that come later do so too."""

    name = "poison"

    def __init__(self, row, error=None, least=2):
        self.row, self.error, self.least = row, error, least

    def setup(self, worker):
        from regjax.engine import remote

        self.before = remote.task_of

        def task_of(design, group, chunk, *arguments):
            if any(row == self.row for _, _, row in chunk.places):
                if self.error is None:
                    os._exit(1)
                if group.chunk >= self.least:
                    raise self.error
            return self.before(design, group, chunk, *arguments)

        remote.task_of = task_of

    def teardown(self, worker):
        from regjax.engine import remote

        remote.task_of = self.before


@pytest.fixture
def poisoned(cluster):
    def register(*arguments):
        cluster.register_plugin(Poison(*arguments))

    yield register
    with contextlib.suppress(ValueError):  # of a test that has taken it out
        cluster.unregister_worker_plugin("poison")
    cluster.wait_for_workers(2, timeout=60)


def test_a_chunk_that_kills_three_workers_is_given_up_and_the_others_are_trained(
    cluster, plain, poisoned, tmp_path
):
    poisoned(0)
    path = tmp_path / "runs.sqlite"
    found = trained(cluster, path)
    (said,) = [note for note in found.notes if note.startswith("given up: ")]
    assert "3 workers died with them" in said
    kept = [list(plain.design.configurations).index(c) for c in found.design.configurations]
    assert 0 < len(kept) < len(plain.design.configurations)
    every = plain.values("val_loss").reshape(len(plain.design.configurations), -1)
    np.testing.assert_array_equal(found.values("val_loss"), every[kept].ravel())
    # The rest is trained where it kills nobody.
    cluster.unregister_worker_plugin("poison")
    assert_same_table(plain, run(path, config=CONFIG, grid=GRID, kernel="xla"))


@pytest.mark.nightly
def test_if_every_configuration_has_such_a_chunk_it_is_an_error(cluster, poisoned):
    poisoned(0)
    with pytest.raises(
        WorkersKilledError, match=r"no configuration has all of its networks; given up: .*row"
    ):
        run(config=CONFIG, grid={"learning_rate": 0.1}, executor=cluster)


@pytest.mark.nightly
def test_out_of_memory_halves_chunks(cluster, plain, poisoned):
    poisoned(0, MemoryError("too much"))
    found = trained(cluster)
    assert any("out of memory: chunks of" in note for note in found.notes)
    # A chunk of another size rounds otherwise.
    np.testing.assert_allclose(found.values("val_loss"), plain.values("val_loss"), rtol=1e-5)


@pytest.mark.nightly
def test_a_network_that_no_worker_can_hold_is_one_line(cluster, poisoned):
    poisoned(0, MemoryError("too much"), 1)
    with pytest.raises(MemoryError, match=r"^one network must fit into memory, and does not: too much$"):
        trained(cluster)


def other_processor(name):
    """In a worker: it says that it has another processor, or, with None, what is so."""
    from regjax.engine import remote
    from regjax.study import provenance

    real = inspect.unwrap(provenance.processor)
    said = real if name is None else functools.wraps(real)(lambda: name)
    remote.processor = provenance.processor = said
    provenance.provenance.cache_clear()


def test_workers_that_differ_are_refused_unless_they_are_asked_for(cluster, plain):
    address = next(iter(cluster.scheduler_info()["workers"]))
    cluster.run(other_processor, "a fast one", workers=[address])
    try:
        with pytest.raises(ValueError, match=r"^worker tcp://\S+ has processor .* in place of .*; --mixed"):
            trained(cluster)
        found = trained(f"{PREFIX}{cluster.scheduler.address}?mixed")
        assert_same_table(plain, found)
        assert any(": its networks have other bits" in note for note in found.notes)
        assert len({json.loads(how)["processor"] for how in found.provenance} - {"a fast one"}) == 1
        assert any('"processor": "a fast one"' in how for how in found.provenance)
    finally:
        cluster.run(other_processor, None)


def test_a_worker_without_regjax_is_named_and_goes_on(cluster, plain, monkeypatch):
    # A process in which no package of that name is installed.
    code = """
import importlib.metadata, sys
sys.modules["regjax"] = None
real = importlib.metadata.version
def version(name):
    if name == "regjax":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
from distributed.cli.dask_worker import main
main()
"""
    options = ("--no-nanny", "--nthreads", "1", "--no-dashboard")
    command = [sys.executable, "-c", code, cluster.scheduler.address, *options]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        cluster.wait_for_workers(3, timeout=60)
        submit, sent = cluster.submit, []
        monkeypatch.setattr(cluster, "submit", lambda of, *a, **b: sent.append(of) or submit(of, *a, **b))
        with pytest.raises(
            ValueError, match=r"^worker tcp://\S+ must have regjax, and does not: install regjax 0"
        ):
            trained(cluster)
        found = trained(f"{PREFIX}{cluster.scheduler.address}?mixed")
        assert_same_table(plain, found)
        assert any(note.endswith(" there; it gets no work") for note in found.notes)
        # A worker ends over a task that it cannot read, and it may be somebody else's.
        assert sent
        assert all(b"regjax" not in pickle.dumps(function) for function in sent)
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
    while len(cluster.scheduler_info()["workers"]) > 2:
        time.sleep(0.1)


def test_the_command_line_trains_there_and_another_process_watches(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "use_compilation_cache", lambda wanted: None)  # this process is shared

    def command(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments])
        return stop.value.code, capsys.readouterr()

    sweep = "two_regions", "--steps", "60", "--eval-every", "10", "--l2", "0,0.1", "--folds", "3"
    there = "--dask", cluster.scheduler.address.removeprefix("tcp://")
    seen = []

    def interrupted(self, chunk, task, done, take=scheduler.Scheduler.take):
        take(self, chunk, task, done)
        seen.append(chunk)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scheduler.Scheduler, "take", interrupted)
        code, said = command("sweep", *sweep, "--store", "there.sqlite", *there)
    assert code == 130
    assert "dask: 2 workers, 2 threads" in said.err
    assert "they are in there.sqlite, and the same command goes on with it" in said.err
    code, said = command("show", "there.sqlite")
    assert (code, "of 24 networks" in said.out) == (0, True)
    assert command("resume", "there.sqlite", *there)[0] == 0
    assert command("sweep", *sweep, "--store", "here.sqlite")[0] == 0
    assert_same_table(regjax.load("here.sqlite"), regjax.load("there.sqlite"))


@pytest.mark.nightly
def test_a_search_is_trained_there_with_the_same_answer(cluster):
    asked = {"budget": "60 networks", "confirm": 0.3, "folds": 2, "seeds": 2, "progress": False}
    asked["config"] = CONFIG
    space = {"l2": "loguniform(0.1, 10)", "learning_rate": [0.1, 0.3]}
    here = regjax.tune("two_regions", space, **asked)
    there = regjax.tune("two_regions", space, executor=cluster, **asked)
    assert (there.sentence, there.numbers, there.chosen) == (here.sentence, here.numbers, here.chosen)
    assert there.rungs == here.rungs


def test_scikit_learns_searches_take_joblibs_backend(cluster, monkeypatch):
    counts = []
    monkeypatch.setattr(
        Cluster, "close", lambda self, close=Cluster.close: (counts.append(self.requests), close(self))
    )
    X, y = load_iris(return_X_y=True)
    network = regjax.RegMLPClassifier((4,), max_iter=20, random_state=0)
    search = regjax.RegGridSearchCV(network, {"alpha": [0.1, 1]}, cv=3)
    here = search.fit(X, y).cv_results_["mean_test_score"]
    with (
        distributed.Client(cluster.scheduler.address) as client,
        joblib.parallel_config("dask", client=client),
    ):
        there = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(here, there)
    assert counts[0] > 0


def test_what_is_dask_and_what_is_not(cluster):
    assert is_dask("dask://127.0.0.1:8786")
    assert is_dask(cluster)
    assert is_dask(cluster.get_executor())
    assert not is_dask(None)
    assert not is_dask("ray://")
    with within(None) as nothing:
        assert nothing is None
    with connected(cluster.get_executor()) as found:
        assert (found.capacity, found.backend) == (2, "cpu")
        assert found.link.endswith("/status")


def test_a_design_that_cannot_travel_is_one_line(cluster, monkeypatch):
    class Stuck(clusters.Held):
        def __reduce__(self):
            raise TypeError("cannot pickle a lock")

    monkeypatch.setattr(clusters, "Held", Stuck)
    with pytest.raises(ValueError, match=r"^design must be able to travel to a worker: ") as said:
        trained(cluster)
    assert "\n" not in str(said.value)


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [1, 3])
def test_no_bit_depends_on_the_number_of_workers(native, workers):
    assert_same_table(native, trained(f"{PREFIX}local:{workers}", kernel="native"))


@pytest.mark.nightly
def test_a_worker_that_is_cut_off_is_taken_for_dead(plain):
    # It keeps its connection and says nothing: as after a cable is pulled out, or a machine stands still.
    settings = LOCAL | {"distributed.scheduler.worker-ttl": "4s"}
    silent = []

    def cut(local):
        silent.append(next(iter(local.workers.values())).pid)
        os.kill(silent[0], signal.SIGSTOP)

    with (
        dask.config.set(settings),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        try:
            assert_same_table(plain, trained(client, progress=after(4, lambda: cut(local))))
        finally:
            for number in silent:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
    assert silent


def start_at(port):
    """Starts a scheduler and two workers, each a process as on a machine of its own."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    module = [sys.executable, "-m"]
    scheduler = [*module, "distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard"]
    worker = [*module, "distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}"]
    worker += ["--no-nanny", "--nthreads", "1", "--no-dashboard"]
    return [subprocess.Popen(command, **quiet) for command in (scheduler, worker, worker)]


@pytest.mark.nightly
def test_a_scheduler_that_is_started_anew_goes_on_with_what_was_in_work(plain):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes, restarts = start_at(port), []

    def restart():
        for process in processes:
            process.kill()
            process.wait()
        processes[:] = start_at(port)

    def die():
        restarts.append(threading.Thread(target=restart))
        restarts[0].start()

    try:
        with distributed.Client(f"tcp://127.0.0.1:{port}", timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        assert_same_table(plain, trained(f"{PREFIX}127.0.0.1:{port}", progress=after(4, die)))
        assert restarts
    finally:
        for thread in restarts:
            thread.join()
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(50))
def test_any_schedule_of_deaths_and_pauses_gives_the_same_bits(cluster, plain, native, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    # A worker that happens to be killed three times with one chunk would have it given up.
    monkeypatch.setattr(clusters, "MOST_KILLED", 100)
    done = []

    def send(number, what):
        with contextlib.suppress(ProcessLookupError):  # it has just died of an earlier one
            os.kill(number, what)
            done.append(what)

    def act():
        alive = pids(cluster)
        number = alive[rng.integers(len(alive))]
        if rng.random() < 0.5:
            send(number, signal.SIGKILL)
        else:
            send(number, signal.SIGSTOP)
            threading.Timer(rng.uniform(0.1, 2), send, (number, signal.SIGCONT)).start()

    moments = set(rng.choice(np.arange(1, 12), size=rng.integers(1, 4), replace=False).tolist())
    seen = []

    def report(progress):
        if progress.phase == "train":
            seen.append(progress)
            if len(seen) in moments:
                act()

    # With the native kernel the last chunks are divided meanwhile.
    kernel, wanted = ("native", native) if seed % 2 else ("xla", plain)
    assert_same_table(wanted, trained(cluster, kernel=kernel, progress=report))
    assert done
    cluster.wait_for_workers(2, timeout=60)
