"""Repeated folds: the first repeat is today's folds, all differ, and slips are said in one line."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, ShuffleSplit

from regjax.core.data import Data
from regjax.data.repeats import compact, repeat_of, sizes_of
from regjax.data.splits import make_splits
from regjax.store.identity import _hash_of_split
from regjax.study.resolve import make_design

DATA = Data.from_arrays(np.arange(60.0).reshape(30, 2), np.arange(30) % 3 == 0)
REAL = DATA._replace(y=DATA.x[:1])
GROUPS = np.arange(30) // 3


@pytest.mark.parametrize("data", [DATA, REAL])
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_each_repeat_parts_the_samples_anew_and_the_first_is_the_folds(data, groups):
    once, found = make_splits(data, 5, groups=groups), make_splits(data, 5, groups=groups, repeats=3)
    np.testing.assert_array_equal(found.train[:5], once.train)
    np.testing.assert_array_equal(found.val[:5], once.val)
    parts = [{tuple(np.flatnonzero(val)) for val in found.val[5 * r : 5 * r + 5]} for r in range(3)]
    for part in parts:
        assert sorted(sample for fold in part for sample in fold) == list(range(30))
    assert parts[0] != parts[1] != parts[2] != parts[0]
    assert found.repeat_of.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    if groups is not None:
        for train, val in zip(found.train, found.val, strict=True):
            assert not set(groups[train > 0]) & set(groups[val > 0])
    elif data is DATA:
        assert {int(DATA.y[0, val > 0].sum()) for val in found.val} == {2}


def test_the_splits_of_scikit_learn_know_their_repeats():
    folds = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    assert make_splits(DATA, folds).repeat_of.tolist() == [0, 0, 0, 1, 1, 1]
    assert make_splits(DATA, ShuffleSplit(3, test_size=0.6, random_state=0)).repeat_of.tolist() == [0, 1, 2]
    assert make_splits(DATA, KFold(4)).repeat_of.tolist() == [0] * 4
    assert sizes_of(np.array([0, 0, 1, 1, 1])) == [2, 3]
    assert repeat_of(np.array([[1, 0], [0, 1], [1, 1]])).tolist() == [0, 0, 1]


def test_watched_samples_are_those_of_each_fold():
    found = make_splits(DATA, 3, stopping=0.2, repeats=2)
    assert found.stop is not None
    assert found.stop.shape == found.train.shape
    assert (found.train[found.stop > 0] > 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": 3, "repeats": 0}, "repeats must be at least 1, got 0"),
        ({"repeats": 2}, "repeats must be given with a number of folds, got 2 with folds=none"),
        ({"validation": 0.2, "repeats": 2}, "repeats must be given with a number of folds, got 2"),
        ({"folds": KFold(3), "repeats": 2}, "a number of folds, got 2 with folds=KFold"),
        ({"folds": 3, "repeats": 2, "time": np.arange(30)}, "repeats must be 1 with a time"),
        ({"folds": 10, "groups": GROUPS, "repeats": 2}, "at most 1, got 2: 10 folds of 10 groups give no mo"),
    ],
)
def test_slips(options, words):
    with pytest.raises(ValueError, match=words):
        make_splits(DATA, **options)


def test_few_samples_give_few_different_folds():
    two = Data.from_arrays(np.arange(8.0).reshape(4, 2), np.arange(4.0))
    with pytest.raises(ValueError, match="repeats must be at most 3, got 4: 2 folds of 4 samples"):
        make_splits(two, 2, repeats=4)  # {01|23}, {02|13} and {03|12} are all that there are
    with pytest.raises(ValueError, match="repeats must be at most 1, got 2: 4 folds of 4 samples give"):
        make_splits(two, 4, repeats=2)


def test_weights_of_many_splits_are_bytes_with_the_identity_of_numbers():
    found = make_splits(DATA, 5, repeats=4)
    assert found.train.dtype == found.val.dtype == np.uint8
    assert found.trains(0, False).dtype == np.float64
    wide = found._replace(train=found.train.astype(float), val=found.val.astype(float))
    assert _hash_of_split(found, 7, False) == _hash_of_split(wide, 7, False)
    half = np.array([0.5, 1.5])
    assert compact([half, half]).tolist() == [[0.5, 1.5]] * 2


def test_a_design_says_what_its_means_are_taken_over():
    design = make_design((DATA.x.T, DATA.y[0]), {}, {"l2": [0, 1]}, folds=5, repeats=10, seeds=2)
    assert design.num_rows == 2 * 2 * 50
    assert design.units_in_words() == "over 5 folds × 10 repeats × 2 seeds (t, 49 df)"
    once = make_design((DATA.x.T, DATA.y[0]), {}, {"l2": [0, 1]}, folds=5, seeds=2)
    for fold in range(5):
        row, same = (d.row(d.index(1, 1, fold)) for d in (design, once))
        np.testing.assert_array_equal(design.key(row), once.key(same))
