"""Workers: threads, processes and executors give the same bits."""

import concurrent.futures
import contextlib
import threading
from types import SimpleNamespace

import jax
import pytest
from small import CONFIG, run
from sweeps import assert_same

from regjax.engine import sweep
from regjax.engine.workers import num_workers, on_device, place, trained_on, workers_of
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design

pytestmark = pytest.mark.bits


@pytest.mark.nightly
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


@pytest.mark.slow
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
    with pytest.raises(TypeError, match=r"^executor must be dask://HOST:PORT, .* text, got 'ray://x'$"):
        num_workers("ray://x", None)


def test_rows_are_divided_among_the_accelerators_of_a_cluster():
    design = make_design("two_regions", CONFIG, {"l2": [0, 1]}, seeds=4, folds=3)
    (here,) = make_plan(design, backend="gpu", devices=1).groups
    with trained_on(SimpleNamespace(capacity=4, backend="gpu")):
        (there,) = make_plan(design, workers=num_workers(None, None), **place()).groups
    assert (here.chunk, there.chunk) == (24, 6)
    assert place() == {"backend": jax.default_backend(), "devices": None}


def test_workers_without_a_compiler_train_by_xla(kernel):
    kernel()
    design = make_design("two_regions", CONFIG, {"l2": [0, 1]}, seeds=4, folds=3)
    planned = make_plan(design, kernel="native")
    with trained_on(SimpleNamespace(capacity=4, backend="cpu", kind={"kernel": "none"})):
        found = sweep._built(design, planned)
    assert {group.kernel for group in sweep._built(design, planned).groups} == {"native"}
    assert {group.kernel for group in found.groups} == {"xla"}
    assert found.notes[-1].endswith("the workers of the cluster have no compiler")


def test_threads_are_not_waited_for():
    begun, go_on = threading.Event(), threading.Event()
    with workers_of(None, 1) as workers:
        assert [workers.submit(pow, 2, i).result() for i in range(3)] == [1, 2, 4]
        slow = workers.submit(lambda: begun.set() or go_on.wait(60))
        never = workers.submit(pow, 2, 2)
        begun.wait(60)
    assert never.cancelled()
    assert not slow.done()
    go_on.set()


def test_states_stay_on_the_device_of_this_process_alone(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 3)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with workers_of(None, 1) as workers:
        assert workers[2:] == (3, False, False, False, None)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    with workers_of(None, 1) as workers:
        assert workers[2:] == (1, False, False, True, None)
    monkeypatch.setattr(jax, "local_device_count", lambda: 3)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with workers_of(None, 1) as workers:
        assert workers[2:] == (3, True, True, False, None)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, workers_of(pool, 1) as workers:
        assert workers == (pool.submit, pool.submit, 1, True, False, False, None)


@pytest.mark.slow
def test_a_task_runs_on_the_device_that_it_names(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: ["first", "second"])
    monkeypatch.setattr(jax, "default_device", lambda device: contextlib.nullcontext(device))
    with on_device(1) as one, on_device(None) as other:
        assert (one, other) == ("second", None)
