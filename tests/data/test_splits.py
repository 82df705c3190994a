import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit

import regjax
from regjax.core.data import Data
from regjax.data.scales import standardisation, target_standardisation
from regjax.data.splits import hold_out, hold_out_indices, make_splits, take

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
        (
            {"groups": np.arange(12)},
            ValueError,
            "groups must be given with folds or validation, got groups alone",
        ),
        ({"time": np.arange(12)}, ValueError, "time must be given with folds or validation, got time alone"),
        (
            {"folds": 3, "groups": np.arange(12), "time": np.arange(12)},
            ValueError,
            "groups and time must not both be given",
        ),
        ({"folds": 2, "groups": [*"abcdefghijk", None]}, ValueError, "no gaps, got None in sample 11"),
        (
            {"folds": 2, "groups": [1.0, np.nan] * 6},
            ValueError,
            "groups must .* no gaps, got nan in sample 1",
        ),
        (
            {"folds": 2, "groups": np.array([1] * 11 + [pd.NA], object)},
            ValueError,
            "no gaps, got <NA> in sample 11",
        ),
        ({"validation": 0.5, "groups": ["a"] * 12}, ValueError, "validation must have at least two groups"),
        ({"folds": 2, "time": [1.0] * 11 + [np.nan]}, ValueError, "time must .* gaps, got nan in sample 11"),
        (
            {"folds": 2, "time": np.array(["NaT"] + ["2026-11-26"] * 11, "datetime64[ns]")},
            ValueError,
            "time must have no gaps, got NaT in sample 0",
        ),
        ({"folds": 2, "time": np.arange(5)}, ValueError, r"time must have shape \(12,\), got \(5,\)"),
        ({"folds": 2, "time": ["noon"] * 12}, TypeError, "time must hold numbers or dates, got dtype <U4"),
        ({"folds": 3, "time": np.arange(12) // 4}, ValueError, "fewer than the 3 distinct times, got 3"),
        ({"folds": 1, "time": np.arange(12)}, ValueError, "folds must be at least 2, got 1"),
        ({"folds": KFold(3), "time": np.arange(12)}, ValueError, "a number of folds .* got folds=KFold"),
        ({"folds": [([0], [1])], "time": np.arange(12)}, ValueError, r"got folds=\[\(\[0\], \[1\]\)\]"),
        ({"validation": 0.5, "time": [1] * 12}, ValueError, "at least two times, got one"),
        ({"validation": 2, "time": np.arange(12)}, ValueError, r"must be a fraction in \(0, 1\), got 2"),
        (
            {"folds": 2, "time": np.arange(12) // 4, "stopping": 0.5},
            ValueError,
            "stopping must have at least two times in each training part, got one",
        ),
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


def random_data(n, real):
    """Samples of one feature, with classes or real targets drawn from the number of samples."""
    random = np.random.default_rng(n)
    y = random.normal(size=n) if real else random.integers(0, 2, n)
    return Data.from_arrays(np.arange(float(n))[:, None], y)


@given(
    st.lists(st.integers(-5, 40), min_size=3, max_size=80),
    st.integers(2, 6),
    st.booleans(),
    st.sampled_from([None, 0.1, 0.5, 0.9]),
)
def test_folds_by_time_train_on_the_past_alone(time, folds, real, stopping):
    distinct, time = len(set(time)), np.array(time)
    if folds >= distinct:
        with pytest.raises(ValueError, match=f"fewer than the {distinct} distinct times"):
            make_splits(random_data(len(time), real), folds, time=time)
        return
    splits = make_splits(random_data(len(time), real), folds, time=time)
    assert splits.kind == "folds"
    assert len(splits.train) == folds
    assert np.all((splits.val > 0).sum(axis=0) <= 1)  # each sample is scored at most once
    for fold, (train, val) in enumerate(zip(splits.train > 0, splits.val > 0, strict=True)):
        assert time[train].max() < time[val].min()
        # What lies before is trained on, up to the last fold, which scores the last samples.
        np.testing.assert_array_equal(train, time < time[val].min())
        assert fold == 0 or np.array_equal(train, (splits.train[fold - 1] > 0) | (splits.val[fold - 1] > 0))
    assert np.all((splits.train[-1] > 0) | (splits.val[-1] > 0))
    if stopping is None or len(set(time[splits.train[0] > 0])) < 2:
        return
    splits = make_splits(random_data(len(time), real), folds, stopping=stopping, time=time)
    for fold in range(folds):
        watched, train = splits.stop[fold] > 0, splits.trains(fold, True) > 0
        np.testing.assert_array_equal(watched | train, splits.train[fold] > 0)
        assert time[train].max() < time[watched].min()


@given(st.permutations(range(40)), st.integers(2, 12))
def test_folds_by_time_are_those_of_scikit_learn(time, folds):
    splits, order = make_splits(random_data(40, True), folds, time=time), np.argsort(time)
    for fold, (train, val) in enumerate(TimeSeriesSplit(folds).split(np.zeros(40))):
        np.testing.assert_array_equal(np.flatnonzero(splits.train[fold]), np.sort(order[train]))
        np.testing.assert_array_equal(np.flatnonzero(splits.val[fold]), np.sort(order[val]))


def test_blocks_of_time_are_about_equal():
    time = np.repeat(np.arange(50), np.random.default_rng(0).integers(1, 9, 50))
    splits = make_splits(random_data(len(time), True), 4, time=time)
    sizes = np.array([splits.num_train[0], *splits.num_val])
    assert np.all(np.abs(sizes - len(time) / 5) <= 8)  # a border is moved by half a time at most
    first, last = splits.num_train[[0, -1]]
    assert splits.notes == (
        f"the folds follow time: their training parts grow from {first} to {last} samples, and the intervals "
        "over folds, which assume equal parts, are approximate",
    )


def test_dates_are_times():
    dates = np.datetime64("2026-11-26") - np.arange(12)
    splits = make_splits(data_of(), 3, time=dates)
    np.testing.assert_array_equal(splits.val, make_splits(data_of(), 3, time=-np.arange(12)).val)
    np.testing.assert_array_equal(splits.train[0] > 0, np.arange(12) > 8)


@given(
    st.lists(st.sampled_from([*"abcdefgh", 1, 2.5]), min_size=8, max_size=60),
    st.booleans(),
    st.sampled_from([0.2, 0.5, 0.8]),
)
def test_no_group_is_on_both_sides(groups, real, fraction):
    data, several = random_data(len(groups), real), len(set(groups)) > 1
    if not several:
        with pytest.raises(ValueError, match="validation must have at least two groups, got one"):
            make_splits(data, validation=fraction, groups=groups)
        return
    splits = make_splits(data, validation=fraction, groups=groups)
    parts = [{groups[i] for i in np.flatnonzero(weights)} for weights in (splits.train[0], splits.val[0])]
    assert splits.kind == "validation"
    assert parts[0] | parts[1] == set(groups)
    assert parts[0]
    assert parts[1]
    assert not parts[0] & parts[1]


def test_groups_of_any_kind_give_the_same_splits():
    codes = np.arange(12) // 2
    expected = make_splits(data_of(), 3, groups=codes, stopping=0.3)
    for groups in (codes + 0.5, [f"patient {code}" for code in codes], pd.Series(codes * 10).astype(object)):
        found = make_splits(data_of(), 3, groups=groups, stopping=0.3)
        for part in ("train", "val", "stop"):
            np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


def test_folds_of_a_user_that_part_a_group_are_noted():
    splits = make_splits(data_of(), [([0, 1, 2], [3, 4]), ([5, 6], [7, 8])], groups=np.arange(12) // 2)
    assert "fold 0 trains on other samples of 1 of the groups that it is scored on" in splits.notes
    assert sum("groups" in note for note in splits.notes) == 2
    assert not any("groups" in note for note in make_splits(data_of(), 3, groups=np.arange(12) // 2).notes)


def test_early_stopping_alone_watches_groups_and_the_last_samples():
    splits = make_splits(data_of(), stopping=0.25, time=np.arange(12))
    np.testing.assert_array_equal(np.flatnonzero(splits.stop[0]), [9, 10, 11])
    splits = make_splits(data_of(), stopping=0.25, groups=np.arange(12) // 3)
    assert len(set(np.flatnonzero(splits.stop[0]) // 3)) == 1


def test_the_last_samples_are_held_out():
    splits = make_splits(data_of(), validation=0.25, time=-np.arange(12))
    np.testing.assert_array_equal(np.flatnonzero(splits.val[0]), [0, 1, 2])
    assert splits.notes == ()


def test_hold_out_by_group_and_by_time():
    data, groups = data_of(30)._replace(weights=np.linspace(0.5, 1.5, 30)), np.arange(30) // 3
    stay, held = hold_out_indices(data, 0.3, groups=groups)
    assert set(groups[stay]) | set(groups[held]) == set(range(10))
    assert not set(groups[stay]) & set(groups[held])
    assert len(held) == 9
    other = hold_out_indices(data, 0.3, groups=groups, seed=1)[1]
    assert not np.array_equal(held, other)
    train, test = hold_out(data, 0.3, groups=groups)
    for found, part in ((train, stay), (test, held)):
        jax.tree.map(np.testing.assert_array_equal, found, take(data, part))
        np.testing.assert_array_equal(found.x, data.x[:, part])
        assert found.weights.mean() == pytest.approx(1)
    stay, held = hold_out_indices(data, 0.3, time=groups)
    np.testing.assert_array_equal(held, np.arange(21, 30))
    np.testing.assert_array_equal(stay, np.arange(21))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": np.zeros(12)}, "test must have at least two groups, got one"),
        ({"time": np.zeros(12)}, "test must have at least two times, got one"),
        ({"groups": np.arange(12), "time": np.arange(12)}, "groups and time must not both be given"),
        ({"groups": np.arange(3)}, r"groups must have shape \(12,\), got \(3,\)"),
        (
            {"time": np.arange(12) % 3 == 0},
            "samples of every class to train on, got none of class 1: they are the last, and held out",
        ),
        (
            {"groups": np.arange(12) % 3 == 0},
            "to train on, got none of class [01]: their groups are held out",
        ),
    ],
)
def test_bad_hold_out(options, words):
    with pytest.raises(ValueError, match=words):
        hold_out(data_of(), 0.3, name="test", **options)


def test_many_parts_that_lack_a_class_are_counted():
    notes = make_splits(data_of(), [([0, 1, 2], [4, 5])] * 9).notes
    assert len(notes) == 7
    assert notes[-1] == "3 more parts of folds have no sample of a class: take fewer folds"
