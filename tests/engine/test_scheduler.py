"""The host loop: however the work is cut, the bits are the same; lanes are refilled, chunks halved."""

import jax
import numpy as np
import pytest
from small import CONFIG, run
from sweeps import assert_same

import regjax
from regjax.engine import pace, packing, scheduler
from regjax.engine.compiling import is_out_of_memory
from regjax.study import records
from regjax.study.resolve import make_design


@pytest.mark.slow
@pytest.mark.bits
def test_workers_segments_and_waves_change_no_bit(monkeypatch):
    one = run(workers=1)
    assert_same(one, run(workers=2))
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)  # a step at a time, and waves of two chunks
    monkeypatch.setattr(packing, "WAVE_CHUNKS", 2)
    monkeypatch.setattr(packing, "WAVE_BUDGET", 1)
    assert_same(one, run(workers=2))


@pytest.mark.slow
def test_freed_lanes_are_refilled(monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    tasks = []
    real = scheduler.run_task

    def seen(task):
        tasks.append((task.start, jax.tree.leaves(task.hparams)[0].size))
        return real(task)

    monkeypatch.setattr(scheduler, "run_task", seen)
    rates = [0.01 * i for i in range(1, 17)] + [1e38 - 1e36 * i for i in range(16)]
    results = run(
        config=regjax.Config(num_steps=6, eval_every=1, metrics=()),
        grid={"learning_rate": rates},
        seeds=2,
        folds=2,
    )
    assert (results.diverged_at.reshape(32, 4)[16:] >= 0).all()
    assert (results.diverged_at.reshape(32, 4)[:16] == -1).all()
    starts = [start for start, _ in tasks]
    assert starts.count(5) == (starts.count(0) + 1) // 2  # half of the chunks, all lanes alive


@pytest.mark.slow
def test_out_of_memory_halves_the_chunk(monkeypatch):
    real = scheduler.run_task
    whole = run()

    def small_machine(task):
        if jax.tree.leaves(task.hparams)[0].size > 8 and task.ends[-1] > 20:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory allocating")
        return real(task)

    monkeypatch.setattr(scheduler, "run_task", small_machine)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    halved = run()
    assert any("out of memory" in note for note in halved.notes)
    assert (halved.diverged_at == -1).all()
    for name in ("train_cost", "val_loss"):
        np.testing.assert_allclose(whole.records[name], halved.records[name], rtol=1e-3, atol=1e-4)


def test_which_errors_say_that_memory_ran_out():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"))
    assert not is_out_of_memory(RuntimeError("INVALID_ARGUMENT"))


def test_what_a_chunk_asks_does_not_grow_with_the_sweep(monkeypatch):
    asked = []
    design = make_design("two_regions", CONFIG, {"l2": [0.1 * i for i in range(50)]}, seeds=2)
    monkeypatch.setattr(records, "num_records", lambda config: asked.append(config) or 4)
    never = np.full(100, -1)
    assert records.final_records(design, {}, never, never, [5, 4, 98]).tolist() == [3, 3, 3]
    assert len(asked) == 2  # configurations 2 and 49


@pytest.mark.nightly
def test_dear_reports_are_rare(monkeypatch):
    seen = []
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    run(progress=lambda progress: seen.append(progress.phase))
    often = seen.count("train")
    monkeypatch.setattr(scheduler, "DEAR_REPORT", 0)
    monkeypatch.setattr(scheduler, "RARELY", 1e9)
    seen.clear()
    run(progress=lambda progress: seen.append(progress.phase))
    assert often > 2 == seen.count("train")  # the first one, and that of the end
