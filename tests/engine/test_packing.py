"""Packing: every row is in one chunk or waits, with its own state, and slots hold what they may share."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import made_up

from regjax.engine.packing import Chunk, Wave, Waves, lane_of, stack

pytestmark = pytest.mark.bits


def waves_of(shape=(2, 4), shared=True, workers=2, configurations=5):
    """Waves of a group of 5 configurations × 2 seeds × 3 folds, in chunks of this shape."""
    grid = {"l2": list(range(configurations))}
    results = made_up(np.zeros((configurations, 2, 3)), grid, folds=3)
    (group,) = results.plan.groups
    group = group._replace(slots=shape[0], lanes=shape[1], shared=shared)
    return Waves(results.design, [group], workers)


def trained(waves, chunk, step):
    """What a worker makes of a chunk: every lane's state is its row and its step."""
    group = waves.groups[0]
    chunk.wave.busy.remove(chunk)
    rows = chunk.lanes(group)
    if chunk.states is not None:
        np.testing.assert_array_equal(chunk.states["row"], rows)
        assert set(chunk.states["step"].ravel()) == {chunk.step}
    chunk.step, chunk.states = step, {"row": rows, "step": np.full(rows.shape, step)}


def taken(waves):
    chunk = waves.next()
    if chunk is not None:
        chunk.wave.busy.append(chunk)
    return chunk


def next_of(waves):
    chunk = taken(waves)
    assert chunk is not None
    return chunk


def test_spare_lanes_repeat_rows_and_have_no_place():
    waves = waves_of((2, 4))
    chunk = Chunk(Wave(0), [[3, 5, 8]], 0, None)
    np.testing.assert_array_equal(chunk.lanes(waves.groups[0]), [[3, 5, 8, 3]] * 2)
    assert chunk.places == [(0, 0, 3), (0, 1, 5), (0, 2, 8)]


@pytest.mark.parametrize("shared", [True, False])
def test_lanes_of_a_shared_slot_are_of_one_replicate(shared):
    waves = waves_of((2, 4), shared)
    index, rows = waves.take_unopened() or (None, [])
    assert (index, sorted(rows)) == (0, list(range(30)))
    waves.open_wave(index, rows, {})
    chunks = []
    while (chunk := waves.next()) is not None:
        chunks.append(chunk)
    assert sorted(row for chunk in chunks for _, _, row in chunk.places) == list(range(30))
    replicates = [{row % 6 for row in slot} for chunk in chunks for slot in chunk.slots]
    # Five configurations: shared slots hold four and one; otherwise all but the last are full.
    assert len(chunks) == (6 if shared else 4)
    assert (max(map(len, replicates)) == 1) == shared


def test_rows_wait_for_others_only_while_others_can_come():
    waves = waves_of((1, 4), shared=False)
    waves.open_wave(0, range(8), {})
    first, second = next_of(waves), next_of(waves)
    assert waves.next() is None
    going = np.ones(30, bool)
    going[[row for _, _, row in first.places[:2]]] = False
    trained(waves, first, 10)
    waves.loosen(first, going)
    waves.pack(first.wave)
    assert waves.next() is None  # two rows, and two may still come
    going[[row for _, _, row in second.places[:2]]] = False
    trained(waves, second, 10)
    waves.loosen(second, going)
    waves.pack(second.wave)
    chunk = next_of(waves)
    assert sorted(row for _, _, row in chunk.places) == sorted(np.flatnonzero(going[:8]))
    trained(waves, chunk, 20)  # and it holds their states
    waves.loosen(chunk, np.zeros(30, bool))
    waves.pack(chunk.wave)
    assert waves.open == []


@settings(max_examples=40)
@given(
    st.sampled_from([(1, 4), (2, 4), (2, 2), (4, 1)]),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)
def test_every_row_is_trained_to_its_end_whichever_stop_and_whatever_is_halved(shape, shared, workers, seed):
    rng = np.random.default_rng(seed)
    waves = waves_of(shape, shared, workers)
    steps, flying = np.zeros(30, int), []
    ends = rng.choice([10, 20, 30], size=30)
    while True:
        chunk = taken(waves)
        if chunk is None and (found := waves.take_unopened(alone=bool(rng.integers(2)))) is not None:
            waves.open_wave(*found, {})
            continue
        if chunk is not None:
            flying.append(chunk)
            if len(flying) <= workers:
                continue
        if not flying:
            break
        chunk = flying.pop(rng.integers(len(flying)))
        group = waves.groups[0]
        if rng.random() < 0.1 and group.chunk > 1 and len(chunk.slots) <= group.slots:
            chunk.wave.busy.remove(chunk)
            halved = not flying
            if halved:  # as when memory runs out; chunks at work keep their shape
                waves.halve(0)
                assert waves.groups[0].chunk == group.chunk // 2
            chunk.wave.ready.append(chunk)
            waves.repack(0, steps < ends)
            continue
        rows = [row for _, _, row in chunk.places]
        assert set(steps[rows]) == {chunk.step}
        trained(waves, chunk, chunk.step + 10)
        steps[rows] += 10
        same = chunk.states["row"].shape == (group.slots, group.lanes)
        if not same or rng.random() < 0.5 or not waves.goes_on(chunk, steps < ends):
            waves.loosen(chunk, steps < ends)
        waves.pack(chunk.wave)
    np.testing.assert_array_equal(steps, ends)
    assert waves.open == []


@pytest.mark.parametrize(
    ("shape", "rows", "stopped", "goes_on"),
    [
        ((2, 4), 8, 5, True),  # alone: its rows need one chunk, however few they are
        ((2, 4), 8, 8, False),  # none is left
        ((2, 4), 30, 0, True),
        ((2, 4), 30, 1, False),  # others of its wave can take the lane
        ((1, 72), 200, 35, True),  # large, and more than half of it is in work
        ((1, 72), 200, 36, False),
    ],
)
def test_a_chunk_goes_on_where_packing_would_not_save_one(shape, rows, stopped, goes_on):
    waves = waves_of(shape, shared=False, configurations=40)
    waves.open_wave(0, range(rows), {})
    chunk = next_of(waves)
    trained(waves, chunk, 10)
    members = [row for _, _, row in chunk.places]
    going = np.ones(240, bool)
    going[members[:stopped]] = False
    assert waves.goes_on(chunk, going) == goes_on
    assert (chunk in chunk.wave.ready) == goes_on
    left = members[stopped:] if goes_on else members
    assert [row for _, _, row in chunk.places] == left
    # Each row is where its state is.
    assert all(chunk.states["row"][i, j] == row for i, j, row in chunk.places)
    if goes_on and stopped < len(members):
        waiting = {row for _, _, found, _ in waves.waiting() for row in found}
        assert waiting == set(left)


def test_states_on_a_device_are_fetched_before_lanes_are_taken():
    waves = waves_of((1, 4), shared=False)
    waves.open_wave(0, range(4), {})
    chunk = next_of(waves)
    trained(waves, chunk, 10)
    chunk.states = jax.device_put(chunk.states)
    assert waves.goes_on(chunk, np.ones(30, bool))
    assert isinstance(chunk.states["row"], jax.Array)
    ((_, step, rows, states),) = waves.waiting()
    assert (step, rows) == (10, [0, 1, 2, 3])
    assert all(isinstance(leaf, np.ndarray) for leaf in (*states.values(), *chunk.states.values()))


def test_halving_takes_slots_first_and_lanes_of_the_last_one():
    waves, shapes = waves_of((2, 4)), []
    for _ in range(3):
        waves.halve(0)
        shapes.append((waves.groups[0].slots, waves.groups[0].lanes))
    assert shapes == [(1, 4), (1, 2), (1, 1)]


def test_chunks_are_divided_where_fewer_are_left_than_workers():
    waves = waves_of((1, 8), shared=False, workers=4)
    waves.open_wave(*waves.take_unopened(), {})  # 30 rows, four chunks
    chunks = [next_of(waves) for _ in range(4)]
    assert not waves.divide(0, 4)
    for chunk in chunks[:2]:
        trained(waves, chunk, 10)
        waves.loosen(chunk, np.zeros(30, bool))
    # Two chunks of 8 and of 6 rows are left, which become four when they come back.
    assert waves.divide(0, 4)
    assert not waves.divide(0, 4)
    for chunk in chunks[2:]:
        trained(waves, chunk, 10)
        assert not waves.goes_on(chunk, np.ones(30, bool))
        waves.loosen(chunk, np.ones(30, bool))
    waves.pack(chunks[2].wave)
    parts = [next_of(waves) for _ in range(4)]
    assert sorted(len(chunk.places) for chunk in parts) == [2, 4, 4, 4]
    for chunk in parts:
        trained(waves, chunk, 20)  # of the same shape as before, and with the states of its rows
        assert chunk.states["row"].shape == (1, 8)
        assert waves.goes_on(chunk, np.ones(30, bool))
    assert waves.divide(0, 99)
    assert waves.divide(0, 99)
    assert not waves.divide(0, 99)  # of one network each
    # What is trained next is in full chunks again.
    waves.restrict(np.ones(30, bool))
    waves.take_unopened()
    assert waves.filled == [(1, 8)]


def test_chunks_are_divided_only_once_no_others_are_to_come():
    waves = waves_of((1, 8), shared=False, workers=2)
    waves.open_wave(*waves.take_unopened(alone=False), {})  # two chunks, and 14 rows are to come
    assert not waves.divide(0, 99)
    waves.open_wave(*waves.take_unopened(), {})
    assert waves.divide(0, 99)


def test_waiting_rows_are_withdrawn_with_their_states_told_before():
    waves = waves_of((1, 4), shared=False)
    states = {row: (10, {"row": np.array(row), "step": np.array(10)}) for row in (1, 2, 4, 5, 6)}
    waves.open_wave(0, range(9), states)
    seen = {}
    for index, step, rows, found in waves.waiting():
        assert (index, step) == (0, 10)
        np.testing.assert_array_equal(found["row"], rows)
        seen |= dict.fromkeys(rows, step)
    assert seen == dict.fromkeys(states, 10)  # those at step 0 have nothing to save
    at_work = next_of(waves)
    withdrawn = waves.withdraw_waiting()
    assert sorted([*withdrawn, *(row for _, _, row in at_work.places)]) == list(range(9))
    assert sorted(waves.unopened[0]) == sorted([*withdrawn, *range(30)])
    assert waves.open == [at_work.wave]


def test_a_wave_is_small_where_other_processes_want_rows():
    alone, shared = waves_of((1, 1), workers=3), waves_of((1, 1), workers=3)
    assert len(alone.take_unopened()[1]) == 30
    assert len(shared.take_unopened(alone=False)[1]) == 3
    assert len(shared.unopened[0]) == 27


def test_a_lane_of_a_stack_is_what_was_stacked():
    trees = [{"w": np.full((2, 3), i), "b": np.array(i)} for i in range(6)]
    stacked = stack(trees, (2, 3))
    assert stacked["w"].shape == (2, 3, 2, 3)
    for i, tree in enumerate(trees):
        lane = lane_of(stacked, *divmod(i, 3))
        np.testing.assert_array_equal(lane["w"], tree["w"])
        assert lane["b"] == tree["b"]
