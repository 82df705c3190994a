"""Grids: products, unions, lists, designs; one spelling of everything."""

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import regjax
from regjax.study.configuration import canonical
from regjax.study.grid import grid_from_list
from regjax.study.words import describe

axis = st.lists(st.floats(0, 10, allow_subnormal=False), min_size=1, max_size=5)


@given(axis, axis)
def test_a_product_has_every_pair_once(l2, l1):
    grid = regjax.grid(l2=l2, l1=l1)
    pairs = {(canonical("l2", a), canonical("l1", b)) for a in l2 for b in l1}
    assert {(c["l2"], c["l1"]) for c in grid} == pairs
    assert len(grid) == len(pairs)


def test_the_first_axis_varies_slowest():
    pairs = [(c["l2"], c["l1"]) for c in regjax.grid(l2=[1, 0], l1=[0, 2, 3])]
    assert pairs == [(1, 0), (1, 2), (1, 3), (0, 0), (0, 2), (0, 3)]


@given(axis, axis)
def test_a_union_has_each_once_whatever_the_order(a, b):
    x, y = regjax.grid(l2=a), regjax.grid(l2=b)
    assert {c["l2"] for c in x + y} == {c["l2"] for c in y + x}
    assert len(x + y) == len(y + x) == len({c["l2"] for c in [*x, *y]})
    assert list(x + x) == list(x)


def test_off_has_one_spelling():
    assert len(regjax.grid(l2=[0, None, "none", 0.0])) == 1
    assert len(regjax.grid(keep_prob=[1, None, (1, 1)])) == 1
    assert len(regjax.grid(dropout=[0, None])) == 1
    assert len(regjax.grid() + regjax.grid(l2=0)) == 1


def test_twelve_digits():
    assert len(regjax.grid(l2=[0.3, 0.1 + 0.2])) == 1


def test_dropout_is_what_is_not_kept():
    assert [c["keep_prob"] for c in regjax.grid(dropout=[0, 0.2, (0.1, 0.3)])] == [1.0, 0.8, (0.9, 0.7)]


def test_designs_are_reproducible_and_inside():
    options = {
        "l2": scipy.stats.loguniform(1e-4, 1),
        "dropout": scipy.stats.uniform(0, 0.5),
        "batch_size": [16, 32],
    }
    for make in (regjax.random_grid, regjax.sobol_grid):
        a, b = make(16, seed=3, **options), make(16, seed=3, **options)
        assert list(a) == list(b)
        assert list(a) != list(make(16, seed=4, **options))
        assert all(1e-4 <= c["l2"] <= 1 and 0.5 <= c["keep_prob"] <= 1 for c in a)


def test_in_words():
    (c,) = regjax.grid(l2=0.1, keep_prob=(0.9, 0.8), hidden=(20, 3), batch_size="full")
    assert describe(c) == "l2=0.1, keep_prob=0.9/0.8, hidden=20/3, batch_size=full"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regjax.grid(lambd=1), r"axis must be one of .* got 'lambd'; did you mean l2\?"),
        (lambda: regjax.grid(dropout=1.0), r"dropout must be a rate in \[0, 1\), got 1.0"),
        (lambda: regjax.grid(activation=["rel"]), "activation must be one of relu"),
        (lambda: regjax.grid(norm=["lay"]), "norm must be one of none, layer, batch"),
        (lambda: regjax.grid(members=[0]), "members must be at least 1, got 0"),
        (lambda: grid_from_list([]), "configurations must not be empty"),
        (lambda: regjax.random_grid(3, l2=scipy.stats.norm(-5, 1)), "l2 must be a finite number >= 0"),
    ],
)
def test_slips(make, message):
    with pytest.raises(ValueError, match=message):
        make()
