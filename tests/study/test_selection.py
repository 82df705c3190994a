"""Ranking, the one-standard-error rule and scores of a choice, on made-up scores."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regjax.core.hparams import OFF_VALUES
from regjax.study.selection import choose, left_out, ranking, simplicity

values = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), min_size=1, max_size=30)


@given(values, st.booleans())
def test_ranking_is_a_permutation_with_nan_last(scores, higher):
    scores = np.array(scores)
    order = ranking(scores, higher)
    assert sorted(order) == list(range(len(scores)))
    ranked = scores[order]
    bad = np.isnan(ranked)
    assert not bad[: len(bad) - bad.sum()].any()
    steps = np.diff(ranked[~bad])
    assert (steps <= 0).all() if higher else (steps >= 0).all()


def test_one_se_takes_the_simplest_within_reach():
    scores = np.array([[0.90, 0.92, 0.88], [0.905, 0.925, 0.885], [0.80, 0.80, 0.80], [0.9, 0.9, math.nan]])
    simple = [(2.0,), (3.0,), (1.0,), (0.0,)]
    assert choose(scores, True, "mean", simple) == 1
    assert choose(scores, True, "one_se", simple) == 0
    with pytest.raises(ValueError, match="one_se must have at least two"):
        choose(scores[:, :1], True, "one_se", simple)


def test_simpler_is_in_the_declared_order():
    off = OFF_VALUES
    order = [
        simplicity(off, 10),
        simplicity(off | {"keep_prob": 0.8}, 10),
        simplicity(off | {"l2": 0.1}, 10),
        simplicity(off | {"l1": 0.1}, 10),
        simplicity(off, 9),
    ]
    assert order == sorted(order, reverse=True)


def test_left_out_scores_what_the_others_choose():
    scores = np.array([[0.9, 0.1, 0.9], [0.5, 0.6, 0.5]])
    found, choices = left_out(scores, lambda rest: int(rest.mean(axis=1).argmax()), np.zeros(3, int))
    assert choices == [1, 0, 1]
    assert found.tolist() == [0.5, 0.1, 0.5]


def test_left_out_reads_the_folds_of_the_same_repeat_alone():
    scores = np.array([[0.9, 0.1, 0.9, 0.1], [0.5, 0.6, 0.5, 0.6]])
    seen = []

    def pick(rest):
        seen.append(rest.tolist())
        return 0

    assert left_out(scores, pick, np.array([0, 0, 1, 1]))[0].tolist() == scores[0].tolist()
    assert seen == [[[0.1], [0.6]], [[0.9], [0.5]], [[0.1], [0.6]], [[0.9], [0.5]]]
