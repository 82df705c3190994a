"""What a cluster makes of single events: answers that come late, and workers that come again."""

import concurrent.futures
import threading
from types import SimpleNamespace

from regjax.engine import cluster as clusters
from regjax.engine.cluster import Cluster


class Alone(Cluster):
    """A cluster without its thread, for what it does with one event."""

    def __init__(self):
        self.client, self.kind, self.mixed, self.notes = None, {}, False, []
        self._seats, self._refused, self._asked, self._where = {}, {}, {"a": 0.0}, {}
        self._queue, self._known = clusters.deque(), threading.Condition()
        self._blind, self._looking = 0, False

    def _in_thread(self, function, *arguments):
        pass


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
    errand = clusters._Errand(None, SimpleNamespace(before=-1, rows=[0]), concurrent.futures.Future())
    own._seats["a"].errands.append(errand)
    own._looked(None, {"a": {"id": "first", "nthreads": 1}})
    assert errand.killed == 0
    own._looked(None, {"a": {"id": "second", "nthreads": 1}})
    assert (errand.killed, list(own._queue)) == (1, [errand])
    assert "a" not in own._seats
    assert "a" in own._asked
