"""Rungs: rows that drop out, and rows that go on as if nothing had been asked on the way."""

import re

import jax
import numpy as np
import pytest

from regjax.core.config import Config
from regjax.engine import pace
from regjax.engine.rungs import climb
from regjax.engine.sweep import opened, run
from regjax.study.grid import grid
from regjax.study.resolve import make_design

CONFIG = {"hidden": (6,), "num_steps": 40, "eval_every": 10}
AXES = grid(l2=[0, 0.1, 1, 10], keep_prob=[1, 0.8], learning_rate=[0.3, 1e6])


def design_of(config=CONFIG, axes=AXES):
    return make_design("two_regions", config, axes, folds=2, seeds=2)


def half(design):
    """Returns a decision that keeps the better half of the configurations."""
    per = design.num_replicates

    def decide(standing):
        means = standing.metrics["val_accuracy"].reshape(-1, per).mean(axis=1)
        inside = np.unique(standing.rows // per)
        order = inside[np.argsort(np.where(np.isnan(means), 1, -means)[inside], kind="stable")]
        return [row for c in order[: max(1, len(order) // 2)] for row in range(c * per, (c + 1) * per)]

    return decide


def assert_as_in_the_full_sweep(climbed, full):
    per, every = full.design.num_replicates, full.design.configs[0].eval_every
    rows = [row for c in climbed.configurations for row in range(c * per, (c + 1) * per)]
    for name, values in climbed.results.records.items():
        np.testing.assert_array_equal(values, full.records[name][rows])
    for new, old in enumerate(rows):
        if old in full.kept:
            jax.tree.map(np.testing.assert_array_equal, climbed.results.kept[new], full.kept[old])
    for standing in climbed.standings:
        ok = standing.rows[~standing.diverged[standing.rows]]
        for name, values in standing.metrics.items():
            np.testing.assert_array_equal(values[ok], full.records[name][ok, standing.step // every])


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("seconds", [1.0, 1e-9])  # a task to each rung, or to each record
def test_rows_that_go_on_have_the_bits_of_a_full_sweep(tmp_path, monkeypatch, stored, seconds):
    monkeypatch.setattr(pace, "TASK_SECONDS", seconds)
    design = design_of()
    full = run(design)
    assert np.any(full.diverged_at >= 0)
    with opened(tmp_path / "s.sqlite" if stored else None) as store:
        climbed = climb(design, [10, 20], half(design), store)
    assert [len(standing.rows) for standing in climbed.standings] == [64, 32, 16]
    assert set(climbed.configurations) >= set(np.unique(climbed.standings[-1].rows // 4).tolist())
    assert_as_in_the_full_sweep(climbed, full)


@pytest.mark.slow
@pytest.mark.bits
def test_a_store_goes_on_with_rungs_and_trains_no_step_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    design = design_of()
    keeps = half(design)

    class Stop(Exception):
        pass

    def stops(standing):
        if standing.step == 20:
            raise Stop
        return keeps(standing)

    from regjax.engine import scheduler

    with pytest.raises(Stop), opened(tmp_path / "s.sqlite") as store:
        climb(design, [10, 20], stops, store)
    trained = []
    monkeypatch.setattr(
        scheduler.Scheduler,
        "take",
        lambda self, chunk, task, done, real=scheduler.Scheduler.take: (
            trained.append((task.start, done.stop, len(chunk.places))),
            real(self, chunk, task, done),
        )[1],
    )
    with opened(tmp_path / "s.sqlite") as store:
        again = climb(design, [10, 20], half(design), store)
    assert 0 < sum((stop - start) * rows for start, stop, rows in trained) < 64 * 10 + 32 * 10 + 16 * 20
    assert_as_in_the_full_sweep(again, run(design))
    trained.clear()
    with opened(tmp_path / "s.sqlite") as store:
        third = climb(design, [10, 20], half(design), store)
    assert trained == []
    assert third.configurations == again.configurations
    # A larger search begins where this one stood.
    larger = design_of(axes=AXES + grid(l2=3, keep_prob=[1, 0.8], learning_rate=[0.3]))
    with opened(tmp_path / "s.sqlite") as store:
        grown = climb(larger, [10, 20], half(larger), store)
    assert sum(rows for start, _, rows in trained if start == 0) == 8  # the new ones
    assert_as_in_the_full_sweep(grown, run(larger))


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.bits
@pytest.mark.parametrize("stored", [False, True])
def test_rows_that_begin_late_have_the_bits_of_a_full_sweep(tmp_path, stored):
    """One fold of each network at the first rung, and all of those that go on: as `tune` scores them."""
    design = design_of()
    first = [row for row in range(design.num_rows) if design.row(row).fold == 0]
    keeps = half(design)

    def decide(standing):
        every = standing._replace(rows=np.arange(design.num_rows)) if standing.step == 10 else standing
        return keeps(every)

    climbed = []
    for _ in range(1 + stored):
        with opened(tmp_path / "s.sqlite" if stored else None) as store:
            climbed.append(climb(design, [10, 20], decide, store, begin=first))
    full = run(design)
    for found in climbed:
        assert [len(standing.rows) for standing in found.standings] == [32, 32, 16]
        assert found.standings[0].rows.tolist() == first
        late = np.setdiff1d(found.standings[1].rows, first)
        assert len(late) == 16
        assert np.isnan(found.standings[0].metrics["val_loss"][late]).all()
        assert_as_in_the_full_sweep(found, full)


@pytest.mark.slow
def test_rows_that_stop_early_stand_at_a_rung_with_their_final_parameters():
    config = Config(layer_sizes=(2, 6, 1), num_steps=400, eval_every=10)
    design = make_design("two_regions", config, grid(patience=[20], learning_rate=[0.5, 3]), folds=2)
    climbed = climb(design, [300], lambda standing: standing.rows)
    assert climbed.results is not None
    assert np.any(climbed.results.stopped_at >= 0)
    final = climbed.results.values("val_accuracy")
    stopped = (climbed.results.stopped_at >= 0) & (climbed.results.stopped_at <= 300)
    np.testing.assert_array_equal(climbed.standings[0].metrics["val_accuracy"][stopped], final[stopped])
    np.testing.assert_array_equal(climbed.standings[-1].metrics["val_accuracy"], final)


@pytest.mark.parametrize("rungs", [[0], [15], [40], [20, 10], [10, 10]])
def test_rungs_must_be_records(rungs):
    with pytest.raises(ValueError, match=re.escape("rungs must be ascending steps with a record")):
        climb(design_of(), rungs, lambda standing: standing.rows)


def test_rungs_need_one_length_of_run():
    design = make_design("two_regions", CONFIG, grid(batch_size=[50, None]), folds=2, epochs=20)
    with pytest.raises(ValueError, match="one num_steps"):
        climb(design, [10], lambda standing: standing.rows)


@pytest.mark.nightly
def test_a_decision_is_among_the_rows_in_the_race():
    design = design_of()
    with pytest.raises(ValueError, match="decide must return rows that did not drop out"):
        climb(design, [10], lambda standing: [64])
    with pytest.raises(ValueError, match="decide must return rows that did not drop out"):
        climb(design, [10, 20], lambda standing: [0] if standing.step == 10 else [1])
