"""Orders of samples that NumPy draws: those of scikit-learn's fit, with and without early stopping."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.numpy_random import draw_weights
from regjax.data.splits import make_splits
from regjax.study.drawn import draw_as_sklearn

N = 30


def problem(stopping):
    random = np.random.default_rng(0)
    data = Data(random.standard_normal((3, N)), random.integers(0, 2, (1, N)), np.ones(N))
    folds = [(np.arange(24), np.arange(24, N)), (np.arange(6, N), np.arange(6))]
    config = Config(layer_sizes=(3, 4, 1), num_steps=20, batch_size=5, batches="all", draws="sklearn",
                    init="sklearn", dtype="float64", stop_on="score" if stopping else None)  # fmt: skip
    return data, make_splits(data, folds, stopping=stopping), config


def drawn_by_hand(data, config, samples):
    """What scikit-learn's fit draws: weights, the split, and the order of the first epoch."""
    random = np.random.RandomState(7)
    draw_weights(random, config.layer_sizes, False, "float64")
    labels = data.y[0, samples].astype(bool)
    train, watched = train_test_split(samples, random_state=random, test_size=0.25, stratify=labels)
    positions = np.arange(len(train))
    random.shuffle(positions)
    return watched, train[positions]


def test_the_order_is_that_of_a_fit_that_watches_the_same():
    data, _, config = problem(0.25)
    by_hand = [drawn_by_hand(data, config, samples) for samples in (np.arange(24), np.arange(6, N))]
    _, splits, _ = problem([watched for watched, _ in by_hand])
    assert splits.stop is not None
    for fold, (watched, order) in enumerate(by_hand):
        assert set(np.flatnonzero(splits.stop[fold])) == set(watched)
        _, orders = draw_as_sklearn(data, splits, 32, config, 4, 7, fold, True)
        assert orders is not None
        np.testing.assert_array_equal(orders[0, :18], order)
        assert orders.shape == (5, 32)
        # Of another seed the fit would watch others: the order then begins from the samples as they stand.
        _, other = draw_as_sklearn(data, splits, 32, config, 4, 8, fold, True)
        assert other is not None
        assert set(other[0, :18]) == set(order)


def test_without_early_stopping_it_is_the_order_of_the_samples():
    data, splits, config = problem(None)
    _, orders = draw_as_sklearn(data, splits, 32, config, 5, 7, 0, False)
    assert orders is not None
    random = np.random.RandomState(7)
    draw_weights(random, config.layer_sizes, False, "float64")
    positions = np.arange(24)
    random.shuffle(positions)
    np.testing.assert_array_equal(orders[0, :24], positions)


@pytest.mark.parametrize(
    ("stopping", "said"),
    [
        ([[0, 1]], "stopping must list samples of each of 2 folds, got 1"),
        ([[0, 1], [0]], "stopping must list a part of the training samples, got others in fold 1"),
        ([np.arange(24), [7]], "stopping must list a part of the training samples, got others in fold 0"),
        ([[0, 0], [7]], "stopping must list distinct sample indices, got others in fold 0"),
    ],
)
def test_watched_samples_that_do_not_fit_are_refused(stopping, said):
    with pytest.raises(ValueError, match=said):
        problem(stopping)
