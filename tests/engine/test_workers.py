"""Workers: threads, processes and executors give the same bits."""

import concurrent.futures
import contextlib
import threading

import jax
import pytest
from small import run
from sweeps import assert_same

from regjax.engine.workers import num_workers, workers_of

pytestmark = pytest.mark.bits


@pytest.mark.slow
def test_spawned_processes_give_the_same_bits_and_forked_ones_are_refused():
    import multiprocessing

    fork = multiprocessing.get_context("fork")
    with (
        concurrent.futures.ProcessPoolExecutor(1, mp_context=fork) as pool,
        pytest.raises(ValueError, match="executor must start its processes with spawn or forkserver"),
    ):
        run(executor=pool)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert_same(run(), run(executor=pool))


def test_another_executor_gives_the_same_bits():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert_same(run(), run(executor=pool))


def test_how_many_workers():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert num_workers(pool, None) == 3
        assert num_workers(pool, 2) == 2
    assert num_workers(None, None) is None
    assert num_workers(None, 5) == 5
    with pytest.raises(TypeError, match=r"executor must be a concurrent.futures.Executor, got int"):
        num_workers(3, None)


def test_threads_take_the_devices_in_turn_and_are_not_waited_for(monkeypatch):
    ran, begun, go_on = [], threading.Event(), threading.Event()
    monkeypatch.setattr(jax, "local_devices", lambda: ["first", "second"])
    monkeypatch.setattr(jax, "default_device", lambda d: contextlib.nullcontext(ran.append(d)))
    with workers_of(None, 1, "gpu") as submit:
        assert [submit(pow, 2, i).result() for i in range(3)] == [1, 2, 4]
        slow = submit(lambda: begun.set() or go_on.wait(60))
        never = submit(pow, 2, 2)
        begun.wait(60)
    assert ran == ["first", "second", "first", "second"]
    assert never.cancelled()
    assert not slow.done()
    go_on.set()
    ran.clear()
    with workers_of(None, 1, "cpu") as submit:
        assert submit(pow, 2, 5).result() == 32
    assert ran == []
