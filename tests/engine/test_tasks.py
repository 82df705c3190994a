"""Tasks: where they stop, and which data, weights and keys their lanes get."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeps import leaves, made_up, points

import regjax
from regjax.engine import sweep, tasks, tiles
from regjax.engine.packing import Chunk, Wave
from regjax.engine.tasks import ends_from, replicates_of, task_of
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design


@pytest.mark.parametrize(
    ("every", "start", "steps", "ends", "measured"),
    [
        (10, 0, 1, (1,), (False,)),
        (10, 0, 5, (10,), (True,)),  # a record in one task, though it takes twice as long as asked
        (100, 0, 1, (1,), (False,)),  # too far away for one task
        (100, 0, 40, (40,), (False,)),
        (100, 40, 40, (100,), (True,)),
        (30, 0, 70, (30, 60, 90), (True, True, True)),
        (40, 80, 30, (100,), (True,)),  # the last step is a record too
        (10, 100, 10, (), ()),
    ],
)
def test_a_task_ends_at_records(every, start, steps, ends, measured):
    config = regjax.Config(num_steps=100, eval_every=every)
    assert ends_from(config, start, steps) == (ends, measured)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 600))
def test_tasks_one_after_the_other_take_every_record_once(num_steps, every, steps):
    config = regjax.Config(num_steps=num_steps, eval_every=every)
    at, records = 0, []
    while at < num_steps:
        ends, measured = ends_from(config, at, steps)
        assert list(ends) == sorted(set(ends))
        assert at < ends[0]
        assert ends[-1] - at <= 2 * steps + every
        records += [end for end, taken in zip(ends, measured, strict=True) if taken]
        at = ends[-1]
    assert at == num_steps
    assert records == sorted({*range(every, num_steps + 1, every), num_steps})


def designed(**options):
    return made_up(np.zeros((3, 2, 4)), {"l2": [0, 1, 2]}, folds=4, **options).design


def test_replicates_are_those_of_the_rows():
    design = designed()
    rows = np.array([[0, 5], [23, 8]])
    found = replicates_of(design, rows)
    n = design.padded.x.shape[1]
    assert found.train.shape == found.val.shape == (2, 2, n)
    assert found.x.shape == (2, n)
    assert found.watched is None
    assert found.orders is None
    for place in np.ndindex(2, 2):
        row = design.row(rows[place])
        train, val, _ = design.weights(row)
        np.testing.assert_array_equal(found.train[place], train)
        np.testing.assert_array_equal(found.val[place], val)
        np.testing.assert_array_equal(found.key[place], design.key(row))
    assert not np.any((found.train > 0) & (found.val > 0))
    # Where each leaf is mapped is where it has leading axes.
    assert found.axes(0).train == 0
    assert found.axes(0).x is None
    assert found._replace(x=np.zeros((2, 2, n))).axes(0).x == 0
    assert set(found.axes(None)) == {None}


@pytest.mark.parametrize("shared", [True, False])
def test_a_task_stacks_what_its_lanes_have(shared):
    results = made_up(np.zeros((3, 2, 4)), {"l2": [0, 1, 2]}, folds=4)
    design, (group,) = results.design, results.plan.groups
    group = group._replace(slots=2, lanes=2, shared=shared)
    task = task_of(design, group, Chunk(Wave(0), [[0, 8], [3]], 0, None), (10,), (True,))
    np.testing.assert_array_equal(task.hparams.l2[..., 0], [[0, 1], [0, 0]])
    assert task.replicates.key.shape == ((2, 2) if shared else (2, 2, 2))
    assert (task.start, task.ends, task.num_steps) == (0, (10,), 10)
    assert task.params is None
    assert not task.want_examples  # there are folds: each sample is scored by one of them


def test_per_example_scores_are_wanted_of_the_last_step_of_one_split():
    results = made_up(np.zeros((1, 2, 1)), {"l2": [0]}, validation=0.3)
    (group,) = results.plan.groups
    for ends, wanted in [((5,), False), ((5, 10), True)]:
        task = task_of(results.design, group, Chunk(Wave(0), [[0]], 0, None), ends, (False,) * len(ends))
        assert task.want_examples == wanted


@pytest.mark.nightly
@pytest.mark.parametrize("batch_size", [None, 1])
def test_a_kernel_trains_a_network_that_is_alone(batch_size, monkeypatch):
    """Where there is one network, or one sample in a batch, arrays of the kernel have axes of one element."""
    config = {"hidden": (5,), "num_steps": 6, "eval_every": 3, "batch_size": batch_size, "metrics": ()}
    design = make_design(points(20, 3), config, {"keep_prob": [0.8], "l2": [0.1]}, validation=0.3)
    plan = make_plan(design, backend="gpu")
    assert [group.chunk for group in plan.groups] == [1]
    monkeypatch.setattr(tasks, "is_fused", lambda *_: False)
    plain = sweep.run(design, plan=plan)
    monkeypatch.setattr(tasks, "is_fused", tiles.fits)
    found = sweep.run(design, plan=plan)
    assert '"loop": "fused"' in found.provenance[0]
    for one, other in zip(leaves(plain), leaves(found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
