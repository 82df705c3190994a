"""Workers: threads, processes and executors give the same bits."""

import concurrent.futures

import pytest
from sweeps import assert_same

import regjax

CONFIG = regjax.Config(num_steps=60, eval_every=20)
GRID = regjax.grid(l2=[0, 0.1, 1], keep_prob=[1, (0.9, 0.8)], learning_rate=[0.1, 0.3])


def run(**options):
    options = {"seeds": 2, "folds": 3, "progress": False} | options
    return regjax.sweep("two_regions", options.pop("config", CONFIG), options.pop("grid", GRID), **options)


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
