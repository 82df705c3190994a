import jax
import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

import regjax
from regjax.core.data import Data
from regjax.data.splits import hold_out, make_splits, standardisation, target_standardisation

X, Y = np.arange(10.0).reshape(5, 2), np.array([0, 1, 1, 0, 1])


def test_hold_out_is_stratified():
    data = Data.from_arrays(np.arange(80.0).reshape(40, 2), np.arange(40) % 4 == 0)
    train, test = hold_out(data, 0.25)
    assert (train.x.shape[1], test.x.shape[1]) == (30, 10)
    assert not set(train.x[0]) & set(test.x[0])
    assert test.y.sum() in (2, 3)
    with pytest.raises(ValueError, match=r"fraction must be a fraction in \(0, 1\)"):
        hold_out(data, 1.5)
    with pytest.raises(
        ValueError, match=r"fraction must leave a sample of each of 2 classes on both sides, got 0.3 of 2"
    ):
        hold_out(Data.from_arrays(X[:2], [0, 1]), 0.3)
    with pytest.raises(ValueError, match="at least two samples of each class"):
        hold_out(Data.from_arrays(X, [0, 0, 0, 0, 1]), 0.4)


def data_of(n=12):
    """Twelve samples of two features, every third one of class 1."""
    return Data.from_arrays(np.arange(2.0 * n).reshape(n, 2), np.arange(n) % 3 == 0)


def test_folds_part_the_samples_and_are_stratified():
    data = data_of()
    splits = make_splits(data, 4)
    assert splits.kind == "folds"
    assert splits.notes == ()
    np.testing.assert_array_equal((splits.val > 0).sum(axis=0), 1)  # each sample is held out once
    np.testing.assert_array_equal((splits.train > 0) ^ (splits.val > 0), True)
    np.testing.assert_array_equal([data.y[0, val > 0].sum() for val in splits.val], 1)
    assert splits.num_train.tolist() == [9] * 4
    assert splits.num_val.tolist() == [3] * 4
    for weights in (*splits.train, *splits.val):
        assert weights[weights > 0].mean() == pytest.approx(1)


def test_weights_of_samples_are_rescaled_in_each_part():
    data = data_of()._replace(weights=np.arange(12.0))
    splits = make_splits(data, [([1, 2, 3], [4, 6])])
    assert splits.kind == "validation"
    np.testing.assert_allclose(splits.train[0, [1, 2, 3]], [0.5, 1, 1.5])
    np.testing.assert_allclose(splits.val[0, [4, 6]], [0.8, 1.2])


def test_nothing_is_held_out_unless_asked():
    splits = make_splits(data_of())
    assert splits.kind == "none"
    assert splits.train.tolist() == [[1] * 12]
    assert splits.val.tolist() == [[0] * 12]
    assert splits.stop is None


def test_a_fraction_is_held_out_once_the_same_at_every_call():
    first, second = (make_splits(data_of(), validation=0.25) for _ in range(2))
    assert first.kind == "validation"
    assert first.num_val.tolist() == [3]
    np.testing.assert_array_equal(first.val, second.val)


@pytest.mark.parametrize("real", [False, True])
def test_samples_of_a_group_stay_together(real):
    data, groups = data_of(), np.arange(12) // 2
    data = data._replace(y=data.x[:1]) if real else data
    for folds in (3, GroupKFold(3)):
        splits = make_splits(data, folds, groups=groups)
        for train, val in zip(splits.train, splits.val, strict=True):
            assert not set(groups[train > 0]) & set(groups[val > 0])


def test_index_pairs_may_be_masks():
    mask = np.arange(12) < 5
    splits = make_splits(data_of(), [(mask, ~mask), ([0, 1], [2])])
    np.testing.assert_array_equal(splits.train[0] > 0, mask)
    assert splits.num_val.tolist() == [7, 1]


def test_a_part_that_lacks_a_class_is_noted():
    notes = make_splits(data_of(), [([0, 1, 2], [4, 5]), ([1, 2, 4], [0, 3])]).notes
    assert notes == (
        "the validation part of fold 0 has no sample of class 1",
        "the training part of fold 1 has no sample of class 1",
        "the validation part of fold 1 has no sample of class 0",
    )
    assert make_splits(data_of()._replace(y=np.ones((1, 12))), 3).notes == ()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"folds": 3, "validation": 0.2}, ValueError, "folds and validation must not both be given"),
        ({"groups": np.arange(12)}, ValueError, "groups must be given with folds, got groups alone"),
        ({"folds": 13}, ValueError, "folds must be at most the 12 samples, got 13"),
        ({"folds": 9}, ValueError, "folds must be at most the 8 samples of the largest class, got 9"),
        ({"folds": 1}, ValueError, "folds must be at least 2, got 1"),
        ({"folds": 3, "groups": np.arange(12) % 2}, ValueError, "folds must be at most the 2 groups, got 3"),
        ({"folds": 2, "groups": np.arange(5)}, ValueError, r"groups must have shape \(12,\), got \(5,\)"),
        ({"folds": True}, TypeError, "folds must be a number, a splitter .* got True"),
        ({"folds": "five"}, TypeError, "folds must be a number, a splitter .* got 'five'"),
        ({"folds": object}, TypeError, "folds must be a number, a splitter"),
        ({"folds": []}, ValueError, "folds must not be empty, got no index pair"),
        ({"folds": [1]}, TypeError, r"folds must list \(train, validation\) index pairs, got 1 as number 0"),
        (
            {"folds": [([0], [12])]},
            ValueError,
            "folds must list sample indices from 0 to 11, got others",
        ),
        ({"folds": [([0], [1.0])]}, ValueError, "folds must list distinct sample indices"),
        ({"folds": [([0, 0], [1])]}, ValueError, "folds must list distinct sample indices"),
        ({"folds": [([0, [1]], [2])]}, ValueError, "folds must list distinct sample indices"),
        ({"folds": [([0, 1], [1])]}, ValueError, "folds must not train on what they score, .* in fold 0"),
        (
            {"folds": [(np.arange(0), [1])]},
            ValueError,
            "samples on both sides, got none in fold 0: train",
        ),
        ({"folds": [([0], np.arange(0))]}, ValueError, "got none in fold 0: validation"),
        ({"validation": 1}, ValueError, r"validation must be a fraction in \(0, 1\), got 1"),
        ({"folds": 2, "stopping": 1.5}, ValueError, r"stopping must be a fraction in \(0, 1\), got 1.5"),
        (
            {"folds": 2, "groups": np.arange(12) // 6, "stopping": 0.5},
            ValueError,
            "stopping must have at least two groups in each training part, got one",
        ),
    ],
)
def test_bad_splits(options, error, words):
    with pytest.raises(error, match=words):
        make_splits(data_of(), **options)


def test_standardisation_is_of_the_training_samples_alone():
    data = Data(np.array([[1.0, 2, 3, 1e9], [7, 7, 7, 0]]), np.zeros((1, 4)), np.ones(4))
    mean, scale = standardisation(data, np.array([1.0, 1, 1, 0]))
    np.testing.assert_allclose(mean, [[2], [7]])
    np.testing.assert_allclose(scale, [[np.sqrt(2 / 3)], [1]])  # a constant feature is not divided
    mean, _ = standardisation(data, np.array([2.0, 1, 0, 0]))
    np.testing.assert_allclose(mean[0], 4 / 3)


def test_targets_have_one_scale_of_all_outputs():
    y = np.array([[1.0, 2, 3, 1e9], [7, 7, 7, 0], [0, 3, 6, np.inf]])
    data = Data(np.zeros((1, 4)), y, np.ones(4))
    mean, scale = target_standardisation(data, np.array([1.0, 1, 1, 0]))
    np.testing.assert_allclose(mean, [[2], [7], [3]])
    np.testing.assert_allclose(scale, np.sqrt((2 / 3 + 0 + 6) / 3))
    mean, scale = target_standardisation(data._replace(y=y[1:2]), np.array([1.0, 1, 1, 0]))
    assert (mean.tolist(), scale) == ([[7]], 1)  # constant targets are not divided


def test_held_out_weights_have_mean_one():
    data = regjax.two_regions(jax.random.key(0))[0]._replace(weights=np.linspace(0.5, 1.5, 211))
    for part in hold_out(data, 0.3):
        assert part.weights.mean() == pytest.approx(1)
