"""What an accelerator has and a CPU has not, run on the CPU: no result differs by a bit.

A whole group in one chunk, records that are read a segment later, states that stay on the device, a first
task that measures, and chunks divided among devices.
"""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from cases import slow_but
from small import CONFIG, GRID
from stores import assert_same_table, make_design
from sweeps import points

import regjax
from regjax.core.config import Config
from regjax.engine import lanes, pace, scheduler, sweep, workers
from regjax.store.store import Store
from regjax.study.plan import make_plan

SAMPLES = points(48, 3, 2)
SWEEPS = {
    "dropout": ("two_regions", CONFIG, GRID, {"seeds": 2, "folds": 3}),
    "diverging": (
        SAMPLES,
        {"hidden": (5,), "num_steps": 60, "eval_every": 7, "optimizer": "momentum", "metrics": ()},
        {"learning_rate": [0.1, 1e30, 0.2, 1e4, 1e37]},
        {"seeds": 3, "validation": 0.25},
    ),
    "stopping": (
        SAMPLES,
        {
            "hidden": (6,),
            "num_steps": 200,
            "eval_every": 5,
            "batch_size": 8,
            "optimizer": "adam",
            "metrics": (),
        },
        [{"learning_rate": rate, "patience": 10} for rate in (0.001, 0.01, 0.05, 0.1, 0.3)],
        {"seeds": 2, "folds": 2},
    ),
    "averaging": (
        SAMPLES,
        {"hidden": (5,), "num_steps": 40, "eval_every": 10, "dtype": "float64", "metrics": ("accuracy",)},
        [{"ema_decay": 0.9}, {"input_noise": 0.1}, {"l2": 0.1}],
        {"seeds": 2, "folds": 2, "standardize": True},
    ),
    "targets": (
        (SAMPLES[0], 5 + 100 * SAMPLES[0][:, :2]),
        {"hidden": (5,), "num_steps": 40, "eval_every": 10, "batch_size": 8, "metrics": ("rmse",)},
        {"l2": [0, 0.1], "keep_prob": [0.9, 0.8], "learning_rate": 0.1},
        {"seeds": 2, "folds": 2, "test": 0.2, "standardize_target": True},
    ),
}


def designed(name):
    data, config, grid, options = SWEEPS[name]
    return make_design(data, config, grid, **options)


def trained(design, plan, **options):
    return sweep.run(design, plan=plan, **options)


def accelerate(monkeypatch):
    """Makes the engine treat the CPU as an accelerator."""
    monkeypatch.setattr(workers, "is_accelerated", lambda: True)


# Where rows leave their lanes, the programs are a user's; elsewhere both paths run the same ones.
@pytest.mark.nightly
@pytest.mark.parametrize(
    "name",
    [
        "dropout",
        "averaging",
        "targets",
        pytest.param("diverging", marks=pytest.mark.bits),
        pytest.param("stopping", marks=pytest.mark.bits),
    ],
)
@pytest.mark.parametrize("seconds", slow_but([1.0, 1e-9], [1e-9]))
def test_an_accelerators_path_changes_no_bit(name, seconds, monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", seconds)
    design = designed(name)
    plan = make_plan(design, backend="gpu")
    assert all(group.chunk >= len(group.configurations) * design.num_replicates for group in plan.groups)
    plain = trained(design, plan)
    accelerate(monkeypatch)
    found = trained(design, plan)
    assert_same_table(plain, found)
    for part in ("records", "kept", "examples", "diverged_at", "stopped_at"):
        jax.tree.map(np.testing.assert_array_equal, getattr(plain, part), getattr(found, part))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.bits
def test_some_rows_stop_and_some_diverge_in_these_sweeps():
    stopping, diverging = (
        trained(design, make_plan(design, backend="gpu"))
        for design in map(designed, ("stopping", "diverging"))
    )
    assert len(set(stopping.stopped_at)) > 2
    assert 0 < (diverging.diverged_at >= 0).sum() < len(diverging)


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_with_states_that_were_on_the_device(tmp_path, monkeypatch):
    accelerate(monkeypatch)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    design = designed("dropout")
    plan = make_plan(design, backend="gpu")

    def stop(progress):
        if progress.phase == "train" and progress.fraction > 0.4:
            raise KeyboardInterrupt

    with Store(tmp_path / "s.sqlite") as store:
        with pytest.raises(KeyboardInterrupt):
            trained(design, plan, store=store, report=stop)
        assert store.query("SELECT min(step) FROM checkpoints")[0][0] > 0
        assert_same_table(trained(design, plan), trained(design, plan, store=store))


@pytest.mark.nightly
def test_a_task_that_fails_has_not_used_up_the_states_of_its_chunk(monkeypatch):
    accelerate(monkeypatch)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    real, failed = lanes.run_task, []

    def fails(task):
        done = real(task)
        if task.start >= 20 and not failed:
            assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(task.states))
            failed.append(task)
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory allocating")
        return done

    monkeypatch.setattr(scheduler, "run_task", fails)
    design = designed("dropout")
    results = trained(design, make_plan(design, backend="gpu"))
    assert failed
    assert any("out of memory" in note for note in results.notes)
    assert (results.diverged_at == -1).all()
    assert len(results.kept) == len(results)


def test_records_are_read_a_segment_later_and_training_ends_a_segment_later(monkeypatch):
    tasks = []
    monkeypatch.setattr(scheduler, "run_task", lambda task: tasks.append(task) or lanes.run_task(task))
    design = make_design(
        SAMPLES,
        {"hidden": (5,), "num_steps": 60, "eval_every": 10, "metrics": ()},
        {"learning_rate": [1e30, 1e35]},
        seeds=2,
    )
    trained(design, make_plan(design, backend="gpu"))
    (task,) = tasks
    now, later = (lanes.run_task(task._replace(overlap=overlap)) for overlap in (False, True))
    assert (now.stop, later.stop) == (10, 20)
    for name, values in now.records.items():
        assert len(values) + 1 == len(later.records[name])
        np.testing.assert_array_equal(values, later.records[name][:2])


def test_the_first_task_of_a_group_measures_a_step(monkeypatch):
    accelerate(monkeypatch)
    seen, seconds = [], {}
    monkeypatch.setattr(pace, "FIRST_STEPS", 20)
    monkeypatch.setattr(scheduler, "run_task", lambda task: seen.append(task) or lanes.run_task(task))
    real = pace.Pace.take

    def timed(self, index, steps, took, moving):
        real(self, index, steps, took, moving)
        seconds.setdefault(steps, (self.step_seconds[index], took / steps))

    monkeypatch.setattr(pace.Pace, "take", timed)
    config = {"hidden": (4,), "num_steps": 3000, "eval_every": 10, "metrics": ()}
    design = make_design(SAMPLES, config, {"l2": [0, 1]})
    trained(design, make_plan(design, backend="gpu"))
    assert (seen[0].start, seen[0].ends[-1]) == (0, 20)
    assert seen[1].ends[-1] > 40
    assert seen[1].replicates is seen[0].replicates  # made once
    longest = 0
    for steps, (now, measured) in seconds.items():  # in the order of the tasks, each length once
        if steps >= pace.LONGER * longest:  # it replaces the guess, or the measure of a shorter task
            assert now == pytest.approx(measured)
        longest = max(longest, steps)


@pytest.mark.slow
@pytest.mark.bits
def test_a_chunk_that_is_alone_is_not_packed_again(monkeypatch):
    accelerate(monkeypatch)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    shapes = []

    def seen(task):
        shapes.append(np.shape(task.hparams.learning_rate))
        return lanes.run_task(task)

    monkeypatch.setattr(scheduler, "run_task", seen)
    monkeypatch.setattr(scheduler.Waves, "loosen", lambda *_: pytest.fail("taken apart"))
    design = designed("diverging")
    results = trained(design, make_plan(design, backend="gpu"))
    assert len(set(results.diverged_at)) > 1
    assert set(shapes) == {(1, 15)}


DEVICES = """
import jax, numpy as np
from sweeps import assert_same
from regjax.engine import lanes, pace, scheduler, sweep, workers
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design

assert jax.local_device_count() == 2
config = {"num_steps": 30, "eval_every": 10, "hidden": (4,), "metrics": ()}
grid = {"keep_prob": [0.5, 0.7, 0.8, 0.9], "l2": [0, 0.1], "learning_rate": 0.3}
design = make_design("two_regions", config, grid, seeds=2, folds=2)
used = []

def run_task(task):
    done = lanes.run_task(task)
    leaves = jax.tree.leaves(done.states) if task.resident else []
    where = {device.id for leaf in leaves for device in leaf.devices()}
    used.append((task.device, where, np.shape(task.hparams.learning_rate)))
    return done

scheduler.run_task = run_task
pace.TASK_SECONDS = 1e-9
# As two accelerators with their shapes, and as a CPU with its own.
for accelerated, backend, shape in [(True, "gpu", (2, 8)), (False, "cpu", (2, 8))]:
    workers.is_accelerated = lambda: accelerated
    plan = make_plan(design, backend=backend)
    del used[:]
    several = sweep.run(design, plan=plan)
    assert {device for device, *_ in used} == {0, 1}, used
    assert not accelerated or all(where == {device} for device, where, _ in used), used
    assert {found for *_, found in used} == {shape}, used
    count = workers.jax.local_device_count
    workers.jax.local_device_count = lambda: 1
    del used[:]
    assert_same(several, sweep.run(design, plan=plan))
    assert {device for device, *_ in used} == {None}
    workers.jax.local_device_count = count
"""


@pytest.mark.nightly
def test_two_devices_share_the_chunks_and_give_the_bits_of_one():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    paths = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": paths}
    # Each device has programs of its own, and chunks of one shape the same ones, however they are compiled.
    environment |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DEVICES], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("size", [None, 20])
def test_blocks_are_compiled_beforehand_and_not_trained(monkeypatch, caplog, size):
    accelerate(monkeypatch)
    monkeypatch.setattr(lanes, "BLOCKS", (8, 3))
    tasks, called = [], []
    monkeypatch.setattr(scheduler, "run_task", lambda task: tasks.append(task) or lanes.run_task(task))
    config = Config(num_steps=11, eval_every=11, batch_size=size)
    regjax.sweep("two_regions", config, {"l2": [0, 0.1, 0.2, 0.3, 0.4]}, progress=False)
    jax.clear_caches()
    monkeypatch.setattr(lanes, "_advance", lambda *arguments: called.append(arguments))
    (task,) = tasks
    for compile_part in lanes.programs_of(task, 11):
        compile_part(task)
    assert [arguments[-2:] for arguments in called] == [(0, 0)]
    monkeypatch.undo()
    monkeypatch.setattr(lanes, "BLOCKS", (8, 3))
    with jax.log_compiles():
        assert lanes.run_task(task).stop == 11
    assert "advance_lanes" not in caplog.text


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize("size", [pytest.param(None, marks=pytest.mark.slow), 20])
def test_segments_in_blocks_give_the_bits_of_segments_in_one_piece(monkeypatch, size):
    config = Config(num_steps=45, eval_every=15, batch_size=size)
    grid = {"l2": [0, 0.1, 1, 2], "keep_prob": 0.9}
    plain = regjax.sweep("two_regions", config, grid, seeds=2, progress=False)
    monkeypatch.setattr("regjax.engine.workers.is_accelerated", lambda: True)
    monkeypatch.setattr("regjax.engine.lanes.BLOCKS", (8, 3))  # 15 = 8 + 3 + 3 + a rest of 1
    blocks = regjax.sweep("two_regions", config, grid, seeds=2, progress=False)
    for name, values in plain.records.items():
        np.testing.assert_array_equal(values, blocks.records[name])
