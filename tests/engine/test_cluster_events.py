"""What a cluster makes of single events: answers that come late, and workers that come again."""

import concurrent.futures
import threading
from types import SimpleNamespace

import pytest
from sweeps import make_design

from regjax.engine import cluster as clusters
from regjax.engine.cluster import Cluster, ClusterError


class Alone(Cluster):
    """A cluster without its thread, for what it does with one event."""

    def __init__(self):
        self.client, self.kind, self.mixed, self.notes = None, {}, False, []
        self._seats, self._refused, self._asked, self._where = {}, {}, {"a": 0.0}, {}
        self._queue, self._known = clusters.deque(), threading.Condition()
        self._blind, self._looking, self._begun = 0, False, True
        self._returning, self._ended, self._lost = False, False, None
        self._events, self._calls, self._own = clusters.queue.SimpleQueue(), clusters.Calls(), []
        self._address, self._security = "tcp://a:1", None

    def _in_thread(self, function, *arguments):
        pass


class Holding:
    """A client that notes which designs it sends, and what is cancelled."""

    _scatter, status = None, "running"

    def __init__(self):
        self.sent, self.cancelled = [], []

    def sync(self, function, held, workers, **options):
        self.sent.append((held.design, workers[0]))
        return SimpleNamespace(status="finished")

    def cancel(self, futures):
        self.cancelled += futures


def errand_of(design=None):
    request = SimpleNamespace(before=-1, rows=[0])
    return clusters._Errand(design, request, concurrent.futures.Future())


def test_a_second_answer_of_a_worker_changes_nothing():
    own, worker = Alone(), {"id": "first", "nthreads": 1}
    own._answered(None, "a", worker, {"regjax": "1"})
    seat = own._seats["a"]
    own._answered(None, "a", worker, {"regjax": "1"})
    own._answered(None, "a", worker, {"regjax": "2"})
    assert own._seats == {"a": seat}
    assert own._refused == {}


def test_a_worker_that_is_started_again_at_its_address_has_died():
    own = Alone()
    own._answered(None, "a", {"id": "first", "nthreads": 1}, {"regjax": "1"})
    errand = errand_of()
    own._seats["a"].errands.append(errand)
    own._looked(None, {"a": {"id": "first", "nthreads": 1}})
    assert errand.killed == 0
    own._looked(None, {"a": {"id": "second", "nthreads": 1}})
    assert (errand.killed, list(own._queue)) == (1, [errand])
    assert "a" not in own._seats
    assert "a" in own._asked


@pytest.mark.parametrize("mixed", [False, True])
def test_a_worker_that_differs_gets_no_work_unless_it_is_asked_for(mixed):
    own = Alone()
    own.mixed = mixed
    for address, version in (("a", "1"), ("b", "2")):
        own._asked[address] = 0.0
        own._answered(None, address, {"id": address, "nthreads": 1}, {"jax": version})
    own._asked["c"] = 0.0
    own._answered(None, "c", {"id": "c", "nthreads": 1}, "worker c must have regjax")
    assert set(own._seats) == ({"a", "b"} if mixed else {"a"})
    assert set(own._refused) == ({"c"} if mixed else {"b", "c"})
    differs = "worker b has jax 2 in place of 1: its networks have other bits"
    alone = "; it gets no work"
    assert own.notes == [differs + alone * (not mixed), "worker c must have regjax" + alone]


def test_a_design_is_sent_once_to_each_worker_again_after_its_restart_and_dropped_at_the_end():
    own, client, design = Alone(), Holding(), make_design("two_regions")
    own.client = client
    own._answered(client, "a", {"id": "first", "nthreads": 1}, {"regjax": "1"})
    for _ in range(2):
        clusters._held_by(own._seats["a"], client, design)
    assert len(client.sent) == 1
    own._looked(client, {"a": {"id": "second", "nthreads": 1}})
    own._answered(client, "a", {"id": "second", "nthreads": 1}, {"regjax": "1"})
    held = clusters._held_by(own._seats["a"], client, design)
    assert [address for _, address in client.sent] == ["a", "a"]
    # One that Dask has lost, as of a worker that it took for dead.
    held.status = "lost"
    held = clusters._held_by(own._seats["a"], client, design)
    assert len(client.sent) == 3
    own._end()
    assert client.cancelled == [held]


def test_a_scheduler_that_never_returns_is_said_while_it_is_lost_and_ends_what_waits(monkeypatch, caplog):
    tries = []

    def reached(address, *arguments):
        tries.append(address)
        raise OSError("nobody is there")

    monkeypatch.setattr(clusters, "reached", reached)
    monkeypatch.setattr(clusters, "LOOK_SECONDS", 0.01)
    own, errand = Alone(), errand_of()
    own.client = Holding()
    own._answered(own.client, "a", {"id": "first", "nthreads": 1}, {"regjax": "1"})
    own._seats["a"].errands.append(errand)
    for _ in range(clusters.MOST_BLIND):
        assert not own._returning
        own._looked(own.client, None)
    assert own._returning
    assert list(own._queue) == [errand]
    assert caplog.messages == ["the scheduler at tcp://a:1 is lost: waiting up to 2 minutes for it"]
    monkeypatch.setattr(clusters, "RETURN_SECONDS", 0.05)
    own._return()
    own._events.get_nowait()()
    own._fail(own._lost)
    assert set(tries) == {"tcp://a:1"}
    with pytest.raises(ClusterError, match=r"^the scheduler at tcp://a:1 was lost, and did not come back$"):
        errand.out.result(0)
