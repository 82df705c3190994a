"""Halving as arithmetic: how many go on, and that no order of rows and no NaN decides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regjax.study.halving import (
    Arena,
    begins,
    best_of,
    brackets,
    fold_numbers,
    goes_on,
    networks_of,
    numbers,
    rung_steps,
    steps_of,
    winners,
)

COUNTS = st.integers(1, 200)


@given(COUNTS, st.integers(0, 5), st.integers(2, 5), st.integers(1, 4), st.integers(0, 3))
def test_numbers_fall_by_the_reduction_and_never_below_the_least(num, num_rungs, reduction, least, skipped):
    found = numbers(num, num_rungs, reduction, least, skipped)
    assert len(found) == num_rungs
    before = num
    for rung, going in enumerate(found):
        assert min(num, least) <= going <= before
        if rung < skipped:
            assert going == num
        elif going > min(num, least):
            assert (going - 1) * reduction ** (rung + 1 - skipped) < num
        before = going


@given(st.integers(1, 5000), st.integers(1, 500), st.integers(2, 5), st.integers(0, 6))
def test_rungs_are_records_below_the_last_step(num_steps, eval_every, reduction, most):
    found = rung_steps(num_steps, eval_every, reduction, most)
    assert list(found) == sorted(set(found))
    assert len(found) <= most
    assert all(0 < step < num_steps and step % eval_every == 0 for step in found)


@given(st.integers(0, 500), st.integers(0, 4), st.integers(2, 4))
def test_brackets_share_all_candidates_and_take_about_the_same_steps(num, num_rungs, reduction):
    found = brackets(num, num_rungs, reduction)
    assert sum(found) == num
    assert len(found) == num_rungs + 1
    if num == 500:
        rungs = rung_steps(reduction**num_rungs, 1, reduction, num_rungs)
        lengths = np.diff([0, *rungs, reduction**num_rungs])
        steps = [
            steps_of(
                Arena("candidates", tuple(range(n)), (0,), numbers(n, num_rungs, reduction, 1, s)), lengths
            )
            for s, n in enumerate(found)
        ]
        assert max(steps) < 2 * min(steps)


@given(
    st.integers(1, 20), st.integers(1, 6), st.integers(0, 4), st.integers(2, 4), st.integers(0, 2),
    st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_steps_and_networks_are_those_of_the_rows_that_race(
    num, folds, rungs, reduction, skipped, afresh, seed
):
    """Rung by rung, by `begins` and `goes_on`: what `steps_of` and `networks_of` say beforehand."""
    arena = Arena(
        "candidates", tuple(range(num)), tuple(range(folds)), numbers(num, rungs, reduction, 1, skipped),
        num_folds=fold_numbers(folds, rungs, reduction, skipped),
    )  # fmt: skip
    lengths = [7 + 3 * rung for rung in range(rungs + 1)]
    rng = np.random.default_rng(seed)
    at: dict[tuple[int, int], int] = {}
    steps, rows = 0, begins([arena])
    for rung, length in enumerate(lengths):
        end = sum(lengths[: rung + 1])
        for row in rows:
            steps += length if afresh else end - at.get(row, 0)
            at[row] = end
        if rung < rungs:
            scores = np.full((num, folds), np.nan)
            for row in rows:
                scores[row] = rng.random()
            before, rows = rows, goes_on([arena], rung, scores, scores, True)
            assert {c for c, _ in rows} <= {c for c, _ in before}
            # A fold is never lost, so that every row goes on from where it stands.
            assert all({(c, f) for c, f in before if c == going} <= set(rows) for going, _ in rows)
    assert {fold for _, fold in rows} == set(range(folds))
    assert steps_of(arena, lengths, afresh) == steps
    assert networks_of(arena) == len(at)


@given(st.data())
def test_an_order_of_rows_changes_no_winner_and_a_nan_never_wins(data):
    num = data.draw(st.integers(1, 30))
    values = st.one_of(st.just(np.nan), st.floats(0, 1, width=16))
    scores = np.array(data.draw(st.lists(values, min_size=2 * num, max_size=2 * num))).reshape(num, 2)
    # Distinct losses, so that no tie is left to the order.
    losses = np.arange(2.0 * num).reshape(num, 2)
    keep, higher = data.draw(st.integers(1, num)), data.draw(st.booleans())
    order = np.array(data.draw(st.permutations(range(num))))
    found = best_of(scores, losses, higher, keep)
    assert {int(order[place]) for place in best_of(scores[order], losses[order], higher, keep)} == set(found)
    sound = np.asarray(~np.isnan(scores).any(axis=1))
    assert len(found) == min(keep, sound.sum())
    assert sound[found].all()
    means = scores.mean(axis=1) * (1 if higher else -1)
    rest = [means[i] for i in np.flatnonzero(sound) if i not in found]
    assert not rest or min(means[found]) >= max(rest)


def test_equal_scores_go_to_the_lower_loss_and_then_to_the_first():
    scores, losses = np.array([[0.5], [0.9], [0.9], [0.9]]), np.array([[0.1], [0.3], [0.2], [0.2]])
    assert best_of(scores, losses, True, 3) == [2, 3, 1]
    assert best_of(scores, losses, False, 1) == [0]


def test_arenas_decide_by_their_own_rows_alone():
    scores = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.9], [0.5, 0.5, 0.5], [0.4, 0.6, 0.6]])
    arenas = [
        Arena("candidates", (0, 1), (0,), (1,), 0),
        Arena("candidates", (0, 1), (1, 2), (1,)),
        Arena("baseline", (2, 3), (0,), (1,), 0),
        Arena("baseline", (2, 3), (1, 2), (1,)),
    ]
    found = goes_on(arenas, 0, scores, np.zeros_like(scores), True)
    assert found == [(0, 0), (1, 1), (1, 2), (2, 0), (3, 1), (3, 2)]
    assert Arena.from_json(arenas[0]._asdict() | {"configurations": [0, 1], "folds": [0]}) == arenas[0]


def test_an_arena_in_which_all_diverged_is_refused():
    scores = np.full((2, 2), np.nan)
    with pytest.raises(ValueError, match="a candidate must stay finite, and all 2 diverged"):
        winners(Arena("candidates", (0, 1), (0, 1), ()), scores, scores, True, 1)
