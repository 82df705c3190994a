"""What lets a Dask cluster grow with a sweep: how many tasks wait at the scheduler, and a real cluster."""

import pytest
from stores import assert_same_table, run

from regjax.engine.adapting import RESOURCE, TASKS_A_WORKER, Calls


class Client:
    """A client that notes what is submitted."""

    def __init__(self, lost=False):
        self.lost, self.keys = lost, []

    def submit(self, function, *, key, resources):
        if self.lost:
            raise RuntimeError("closed")
        assert resources == {RESOURCE: 1}
        self.keys.append(key)
        return key


@pytest.mark.parametrize(
    ("chunks", "threads", "asked"),
    [(100, 4, 8), (6, 4, 6), (3, 4, 3), (0, 4, 0), (100, 1, 2), (100, 0, 2), (1, 1, 1), (1, 0, 1)],
)
def test_at_most_twice_the_threads_are_asked_for(chunks, threads, asked):
    calls = Calls()
    calls.wanted = chunks
    calls.update(Client(), threads)
    assert len(calls.sent) == TASKS_A_WORKER * asked


def test_tasks_are_added_and_taken_back_as_the_sweep_goes_on():
    calls, client = Calls(), Client()
    for chunks, threads, asked in [(50, 1, 2), (50, 2, 4), (50, 4, 8), (5, 4, 5), (0, 4, 0), (9, 4, 8)]:
        calls.wanted = chunks
        calls.update(client, threads)
        assert len(calls.sent) == len(set(calls.sent)) == TASKS_A_WORKER * asked
    assert len(set(client.keys)) == len(client.keys)


def test_a_client_that_is_closed_is_no_error():
    calls = Calls()
    calls.wanted = 5
    calls.update(Client(lost=True), 2)
    assert calls.sent == []


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.bits  # for the processes of workers compile as for users
@pytest.mark.cpu("worker processes on one machine share its only accelerator")
@pytest.mark.filterwarnings("ignore")  # of Dask, where workers are stopped
def test_a_cluster_that_adapts_grows_with_a_sweep(monkeypatch):
    pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    from regjax.engine import pace

    monkeypatch.setattr(pace, "TASK_SECONDS", 0.1)
    options = {
        "config": {"hidden": (6,), "num_steps": 30_000, "eval_every": 3_000},
        "grid": {"l2": [0, 0.1, 1, 10], "learning_rate": [0.1, 0.3]},
        "kernel": "native",
    }
    most = 0

    def report(progress):
        nonlocal most
        most = max(most, len(local.workers))

    local = distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None)
    with local, distributed.Client(local, set_as_default=False) as client:
        local.adapt(minimum=0, maximum=2, interval="200ms")
        found = run(executor=client, progress=report, seeds=4, **options)
    assert most == 2
    assert_same_table(run(seeds=4, **options), found)
