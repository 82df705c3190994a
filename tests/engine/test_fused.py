"""The fused loop: where it is cut, its draws ahead, and whole sweeps by it, stored, resumed and replayed."""

import itertools
import json

import jax
import numpy as np
import pytest
from chunks import assert_same_states, fused, make_chunk
from stores import make_design, stop_after

import regjax
from regjax.engine import fused as module
from regjax.engine import pace, scheduler, tasks
from regjax.engine.packing import Chunk, Wave
from regjax.engine.replay import replay
from regjax.engine.tiles import Tile, fits
from regjax.store.store import Store
from regjax.study import plan
from regjax.study.plan import make_plan
from regjax.study.provenance import loop_of

# What the kernel itself computes is tested fast in test_kernel.py.
pytestmark = [pytest.mark.bits, pytest.mark.slow]

# Records are measured by one program: they differ by what the parameters differ, times a slope near 1.
TOLERANCE = 2e-5
CONFIG = {"hidden": (2,), "num_steps": 60, "eval_every": 10, "metrics": ("accuracy",)}
# One program for all: dropout and patience are on in each. Some networks stop, and one diverges.
GRID = [
    {"learning_rate": rate, "l2": 0.7, "keep_prob": keep, "patience": 20}
    for rate, keep in [(0.1, 0.9), (0.5, 0.9), (1.5, 0.7), (1e30, 0.9)]
]


@pytest.fixture
def pieces(monkeypatch):
    """Returns a function that sets for how many steps is drawn ahead; the loop is compiled again then."""

    def set_steps(most, budget=module.DRAWN_BUDGET):
        monkeypatch.setattr(module, "MOST_STEPS", most)
        monkeypatch.setattr(module, "DRAWN_BUDGET", budget)
        module.advance_fused.clear_cache()

    yield set_steps
    module.advance_fused.clear_cache()


@pytest.mark.nightly
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("sizes", "batch_size", "values", "optimizer"),
    [
        ((2, 1), 8, {"input_keep_prob": 0.8}, "momentum"),
        pytest.param((2, 4, 1), 10, {"keep_prob": 0.8}, "adamw", marks=pytest.mark.slow),
        pytest.param((2, 4, 1), None, {"input_keep_prob": 0.8}, "adam", marks=pytest.mark.slow),
        pytest.param((2, 4, 1), None, {}, "adam", marks=pytest.mark.slow),
    ],
)
def test_how_a_run_is_cut_changes_no_bit(sizes, batch_size, values, optimizer, pieces):
    config = regjax.Config(layer_sizes=sizes, num_steps=20, optimizer=optimizer, batch_size=batch_size)
    tile = Tile(8, 2, 2)
    chunk = make_chunk(config, 1, 3, n=40, learning_rate=0.01, **values)
    assert batch_size is None or chunk.num_batches > 1  # the cuts are inside an epoch
    whole = fused(chunk, config, tile, 20)
    for cuts in [(0, 7, 20), (0, 1, 2, 13, 20), (0, 0, 20, 20)]:
        states = chunk.states
        for start, stop in itertools.pairwise(cuts):
            states = fused(chunk._replace(states=states), config, tile, stop, start)
        assert_same_states(whole, states)
    pieces(most=8)  # 8 + 8 + 4 steps
    assert_same_states(whole, fused(chunk, config, tile, 20))
    half = fused(chunk, config, tile, 11)
    assert_same_states(whole, fused(chunk._replace(states=half), config, tile, 20, 11))


def test_as_many_steps_are_drawn_ahead_as_fit_the_budget(pieces):
    steps_ahead = module._steps_ahead
    assert [steps_ahead(size) for size in (1, 2**17, 2**18, 2**24, 2**30)] == [1024, 1024, 512, 8, 4]
    pieces(most=64, budget=1000)
    assert [steps_ahead(size) for size in (1, 20, 60, 1000)] == [64, 32, 16, 8]
    for size in (2**20, 2**26, 2**31):  # the places of drawn numbers are int32
        assert steps_ahead(size) * size <= 2**32


# -- whole sweeps -------------------------------------------------------------------------------------------


@pytest.fixture
def by_kernel(monkeypatch):
    """Sweeps of networks that fit are trained by the kernel, as on a GPU."""
    monkeypatch.setattr(plan, "resolve_kernel", lambda *_: "auto")
    monkeypatch.setattr(tasks, "is_fused", fits)
    # 128 threads for each network are meant for a GPU; interpreted, 8 take less time.
    monkeypatch.setattr(module, "shape_for", lambda *_: Tile(8, 2, 2))


def run(store=None, config=CONFIG, grid=GRID, **options):
    options = {"seeds": 2, "folds": 2, "progress": False, "workers": 1} | options
    return regjax.sweep("two_regions", config, grid, store=store, **options)


def assert_close_sweeps(one, other):
    assert one.records.keys() == other.records.keys()
    for name in one.records:
        most = 0.03 if "accuracy" in name else TOLERANCE  # a sample on the boundary may change sides
        np.testing.assert_allclose(one.records[name], other.records[name], rtol=0, atol=most)
    np.testing.assert_array_equal(one.stopped_at, other.stopped_at)
    np.testing.assert_array_equal(one.diverged_at, other.diverged_at)


def loops(results):
    return [json.loads(said).get("loop") for said in results.provenance]


@pytest.fixture(scope="module")
def plain():
    """The sweep by the plain program, on a GPU too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "is_fused", lambda config, on: False)
        return run()


@pytest.mark.nightly
def test_a_sweep_ends_and_stops_as_that_of_the_plain_program(plain, by_kernel):
    found = run()
    assert_close_sweeps(plain, found)
    assert (loops(plain), loops(found)) == ([None] * len(plain), ["fused"] * len(plain))
    stopped, diverged = plain.stopped_at >= 0, plain.diverged_at >= 0
    assert 0 < stopped.sum() < len(plain)
    assert 0 < diverged.sum() < len(plain)
    assert any((one != found.records[name]).any() for name, one in plain.records.items())  # by the kernel


@pytest.mark.nightly
def test_a_stored_sweep_resumed_and_replayed(tmp_path, monkeypatch, by_kernel):
    whole, path = run(), tmp_path / "runs.sqlite"
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)  # a record per task
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    for moment in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            run(path, progress=stop_after(moment))
    with Store(path) as store:
        assert store.query("SELECT min(step) FROM checkpoints")[0][0] > 0
    resumed = run(path)
    jax.tree.map(np.testing.assert_array_equal, (whole.records, whole.kept), (resumed.records, resumed.kept))
    for row in (0, len(whole) - 1):
        again = replay(path, row)
        assert str(again).endswith("came out as stored, to the bit"), str(again)
        assert again.elsewhere == ()
    # On a machine whose networks are trained by the plain program:
    monkeypatch.setattr(tasks, "is_fused", lambda config, on: False)
    again = replay(path, 0)
    assert again.elsewhere == ("loop was fused, here not said",)
    assert all(float(line.rpartition(" ")[2]) < TOLERANCE for line in again.differing)


def test_networks_that_do_not_fit_go_by_the_plain_program(by_kernel):
    design = make_design("two_regions", CONFIG, [{"l2": 0.7}, {"ema_decay": 0.9}])
    chosen = []
    for group in make_plan(design).groups:
        task = tasks.task_of(design, group, Chunk(Wave(0), [[0]], 0, None), (10,), (True,))
        assert task.loop == loop_of(tasks.how(design, group))
        chosen.append((group.on, task.loop))
    assert chosen == [((), "fused"), (("ema_decay",), "plain")]
