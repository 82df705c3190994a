"""Splits: who trains, who validates."""

import numpy as np

from regjax.core.data import Data
from regjax.data.splits import make_splits

ROWS = Data.from_arrays(np.arange(80.0).reshape(40, 2), np.arange(40) % 4 == 0)


def test_folds_are_stratified():
    splits = make_splits(ROWS, folds=5)
    assert splits.val.shape == (5, 40)
    np.testing.assert_array_equal(splits.val.astype(bool).sum(axis=0), np.ones(40))  # each row once
    for train, val in zip(splits.train > 0, splits.val > 0, strict=True):
        np.testing.assert_array_equal(train, ~val)
        assert (val.sum(), ROWS.y[0, val].sum()) == (8, 2)  # a quarter of each part is of class 1


def test_of_an_index_pair_the_first_trains_and_the_second_validates():
    splits = make_splits(ROWS, folds=[(np.arange(30), np.arange(30, 40)), (np.arange(10, 40), np.arange(5))])
    for fold, (train, val) in enumerate((((0, 30), (30, 40)), ((10, 40), (0, 5)))):
        assert np.flatnonzero(splits.train[fold]).tolist() == list(range(*train))
        assert np.flatnonzero(splits.val[fold]).tolist() == list(range(*val))
    assert splits.num_train.tolist() == [30, 30]
    assert splits.num_val.tolist() == [10, 5]
