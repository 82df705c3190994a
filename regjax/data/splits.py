"""Splits of a data set: folds as weight vectors, held-out parts, and the standardisation of each.

`regjax.study.resolve` calls `make_splits` for a sweep; `loaders.load_two_classes` calls `hold_out`. A split
gives every sample a training weight and a validation weight; a sample of weight 0 takes no part. All seeds of
a sweep share the same splits. Samples of one group (a patient's, say) stay on one side of every split, and
with a time a split trains on what lies before the samples that it scores.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import check_count, shown
from regjax.core.data import Data, unit_mean
from regjax.data.repeats import compact, repeat_of, repeated
from regjax.data.ties import Pairs, Ties, check_ties, forward, last_part, notes_of

# Splits are drawn from this seed alone, so that all seeds and configurations of a sweep see the same ones.
SPLIT_SEED = 0
# Most repeats, whose folds are listed in memory.
MAX_REPEATS = 10_000
# Most parts of splits of which it is said one by one that they lack a class.
MOST_ABSENT = 6


class Splits(NamedTuple):
    """J splits of n samples into a training and a validation part.

    Weights that are all 0 or 1 are held as bytes, others as float64.

    Attributes:
        train: training weights, `(J, n)`, mean 1 over the samples above 0.
        val: validation weights, `(J, n)`, likewise; all 0 where nothing is held out.
        kind: "folds", "validation" (one part held out) or "none".
        notes: warnings for the reader of results, such as a class that a training part lacks.
        stop: weights of the samples of each training part that early stopping watches, `(J, n)`, mean 1
            over the samples above 0; None where no configuration stops early.
    """

    train: np.ndarray
    val: np.ndarray
    kind: str
    notes: tuple[str, ...]
    stop: np.ndarray | None = None

    def trains(self, fold: int, stopping: bool) -> np.ndarray:
        """Returns the training weights of a fold, `(n,)`.

        Args:
            fold: number of the fold.
            stopping: whether the network stops early, and so must not train on the samples it watches.
        """
        if not stopping:
            return np.asarray(self.train[fold], np.float64)
        assert self.stop is not None
        return unit_mean(np.where(self.stop[fold] > 0, 0, self.train[fold]), self.train.shape[1])

    @property
    def num_train(self) -> np.ndarray:
        """Number of training samples of each split, `(J,)`."""
        return np.count_nonzero(self.train, axis=1)

    @property
    def num_val(self) -> np.ndarray:
        """Number of validation samples of each split, `(J,)`."""
        return np.count_nonzero(self.val, axis=1)

    @property
    def follow_each_other(self) -> bool:
        """Whether a fold does not train on what another one of its repeat is scored on, as folds by time."""
        repeats = self.repeat_of
        scored = [(self.val[repeats == repeat] > 0).any(axis=0) for repeat in range(repeats[-1] + 1)]
        folds = zip(self.train, self.val, repeats, strict=True)
        return any(np.any((train == 0) & scored[repeat] & (val == 0)) for train, val, repeat in folds)

    @property
    def repeat_of(self) -> np.ndarray:
        """Number of the repeat that each split belongs to, `(J,)`: splits that share no validation sample."""
        return repeat_of(self.val)


def make_splits(
    data: Data,
    folds: Any = None,
    validation: float | None = None,
    groups: ArrayLike | None = None,
    stopping: float | Sequence[ArrayLike] | None = None,
    time: ArrayLike | None = None,
    repeats: int = 1,
) -> Splits:
    """Returns the splits of a sweep.

    Args:
        data: all samples that may train or validate.
        folds: number of folds, stratified for class labels; a splitter of scikit-learn; a list of
            (train, validation) index pairs; or an object whose `divide(data, ties)` returns one.
        validation: a fraction to hold out once, in (0, 1), stratified for class labels.
        groups: `(n,)`, text or numbers; samples of one group stay together. A splitter of the user must be
            one that takes groups.
        stopping: a fraction of each training part for early stopping to watch, in (0, 1), stratified for
            class labels, or of the groups; or the indices of those samples in each fold; None takes none.
        time: `(n,)`, numbers or dates, in place of groups. `folds=J` then cuts the samples by time into
            J + 1 blocks of about equal size; fold j trains on the first j blocks and is scored on the next.
            `validation` and `stopping` take the last samples. Samples of one time stay together.
        repeats: number of times that the samples are shuffled and divided anew into a number of folds; the
            folds of the first repeat are those without repeats.

    Raises:
        TypeError: folds of another kind, or a time that is neither numbers nor dates.
        ValueError: both folds and validation, more folds than samples, groups or times allow, indices out of
            range or in both parts, an empty part, groups or a time of another shape or with gaps, both of
            them, a time with a splitter or index pairs, or repeats that do not go with what is asked.

    Example:
        >>> import jax, regjax
        >>> from regjax.data.splits import make_splits
        >>> data = regjax.two_regions(jax.random.key(0))[0]
        >>> splits = make_splits(data, folds=5)
        >>> splits.num_train.tolist(), splits.num_val.tolist()
        ([168, 169, 169, 169, 169], [43, 42, 42, 42, 42])
        >>> splits = make_splits(data, folds=5, time=range(211))
        >>> splits.num_train.tolist(), splits.num_val.tolist()
        ([36, 71, 106, 141, 176], [35, 35, 35, 35, 35])
        >>> make_splits(data, folds=3, repeats=2).repeat_of.tolist()
        [0, 0, 0, 1, 1, 1]
    """
    if folds is not None and validation is not None:
        raise ValueError("folds and validation must not both be given: each says what is held out")
    n = data.x.shape[1]
    ties = check_ties(n, groups, time)
    if ties is not None and folds is None and validation is None and stopping is None:
        raise ValueError(f"{ties.name} must be given with folds or validation, got {ties.name} alone")
    if check_count("repeats", repeats, at_most=MAX_REPEATS) > 1 and not _is_number(folds):
        asked = "none" if folds is None else shown(folds)
        raise ValueError(f"repeats must be given with a number of folds, got {repeats} with folds={asked}")
    if folds is not None:
        pairs = _fold_indices(data, folds, groups, ties, repeats)
        kind = "folds" if len(pairs) > 1 else "validation"  # one split, however it was asked for
    elif validation is not None:
        pairs, kind = [_parted(data, "validation", validation, SPLIT_SEED, ties)], "validation"
    else:
        pairs, kind = [(np.arange(n), np.arange(0))], "none"
    train, val = _as_weights(data, pairs, kind)
    notes = (*_absent_classes(data, train, val, kind), *notes_of(ties, train, val, kind))
    splits = Splits(train, val, kind, notes)
    if stopping is None:
        return splits
    # Of each training part, not of the data: early stopping must not see a fold's validation samples.
    if isinstance(stopping, float | int | np.number):
        stop = compact([_watched(data, weights, float(stopping), ties) for weights in train])
    else:
        stop = _as_watched(stopping, train)
    splits = splits._replace(stop=stop)
    early = compact([splits.trains(fold, True) for fold in range(len(train))])
    fewer = _absent_classes(data, early, stop, kind, ("training", "watched"))
    notes = (*splits.notes, *(f"with early stopping, {note}" for note in fewer))
    return splits._replace(notes=notes)


def folds_among(data: Data, samples: np.ndarray, folds: int, ties: Ties | None) -> Pairs:
    """Returns the (train, validation) indices of folds of some of the samples; arguments as `make_splits`."""
    own = None if ties is None else ties.of(samples)
    return [(samples[a], samples[b]) for a, b in _fold_indices(take(data, samples), folds, None, own, 1)]


def parted(data: Data, name: str, fraction: float, ties: Ties | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the samples that stay, and of those held out, as `hold_out_indices`."""
    return _parted(data, name, fraction, SPLIT_SEED, ties)


def _as_weights(data: Data, pairs: Pairs, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the training and validation weights of index pairs, `(J, n)` each."""
    nothing = np.zeros(data.x.shape[1])
    train = compact(_part_weights(data.weights, p[0], f"fold {j}: train") for j, p in enumerate(pairs))
    val = compact(
        _part_weights(data.weights, p[1], f"fold {j}: validation") if kind != "none" else nothing
        for j, p in enumerate(pairs)
    )
    for j in range(len(pairs)):
        if np.any((train[j] > 0) & (val[j] > 0)):
            raise ValueError(f"folds must not train on what they score, got shared samples in fold {j}")
    return train, val


def _watched(data: Data, train: np.ndarray, fraction: float, ties: Ties | None) -> np.ndarray:
    """Returns the weights of the part of the training samples that early stopping watches, `(n,)`."""
    samples = np.flatnonzero(train > 0)
    part = Data(data.x[:, samples], data.y[:, samples], train[samples].astype(np.float64))
    ties = None if ties is None else ties.of(samples)
    chosen = _parted(part, "stopping", fraction, SPLIT_SEED, ties, " in each training part")[1]
    return _part_weights(train, samples[chosen], "stopping")


def _as_watched(stopping: Sequence[ArrayLike], train: np.ndarray) -> np.ndarray:
    """Returns the weights of samples that early stopping watches, `(J, n)`, of their indices in each fold."""
    if len(stopping) != len(train):
        raise ValueError(f"stopping must list samples of each of {len(train)} folds, got {len(stopping)}")
    found = []
    for fold, (indices, weights) in enumerate(zip(stopping, train, strict=True)):
        watched = _checked_indices(indices, train.shape[1], fold, "stopping")
        if np.any(weights[watched] == 0) or np.count_nonzero(weights) == len(watched):
            raise ValueError(f"stopping must list a part of the training samples, got others in fold {fold}")
        found.append(_part_weights(weights, watched, "stopping"))
    return compact(found)


def watched_as_sklearn(
    random: np.random.RandomState, samples: np.ndarray, held_out: float, labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the samples that scikit-learn's `MLPClassifier` trains on, in its order, and those it watches.

    Args:
        random: generator that has drawn the weights; it is advanced.
        samples: indices of the training samples.
        held_out: a fraction, or a number of samples.
        labels: two classes to stratify by, of these samples, or None.

    Raises:
        ValueError: too few samples, or a class with one.
    """
    from sklearn.model_selection import train_test_split

    parts = train_test_split(samples, random_state=random, test_size=held_out, stratify=labels)
    return np.asarray(parts[0]), np.asarray(parts[1])


def _is_number(folds: Any) -> bool:
    """Returns whether folds are asked for by their number, and not by a splitter or index pairs."""
    return isinstance(folds, int | float | np.number) and not isinstance(folds, bool)


def _fold_indices(data: Data, folds: Any, groups: ArrayLike | None, ties: Ties | None, repeats: int) -> Pairs:
    """Returns the (train, validation) indices of each fold, repeat by repeat."""
    if hasattr(folds, "divide") and not isinstance(folds, type):
        folds, groups, ties = folds.divide(data, ties), None, None
    if _is_number(folds):
        count = check_count("folds", folds, at_least=2)
        if ties is not None and ties.name == "time":
            if repeats > 1:
                raise ValueError(f"repeats must be 1 with a time, which orders the folds, got {repeats}")
            return forward(ties, count)
        codes = None if ties is None else ties.codes

        def draw(shuffle: int) -> Pairs:
            return _indices_of_splitter(data, _splitter(data, count, ties, SPLIT_SEED + shuffle), codes)

        wanted = f"{data.x.shape[1]} samples" if ties is None else f"{ties.num} groups"
        return repeated(draw, repeats, f"{count} folds of {wanted}")
    if ties is not None and ties.name == "time":
        raise ValueError(
            f"time must be given with a number of folds or a validation fraction, got folds={shown(folds)}"
        )
    if hasattr(folds, "split") and not isinstance(folds, str):
        return _indices_of_splitter(data, folds, groups)
    if isinstance(folds, bool | str) or not isinstance(folds, Iterable):
        raise TypeError(
            f"folds must be a number, a splitter of scikit-learn or a list of index pairs, got {shown(folds)}"
        )
    pairs = []
    for j, pair in enumerate(folds):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"folds must list (train, validation) index pairs, got {shown(pair)} as number {j}"
            )
        pairs.append(tuple(_checked_indices(part, data.x.shape[1], j) for part in pair))
    if not pairs:
        raise ValueError("folds must not be empty, got no index pair")
    return pairs


def _splitter(data: Data, count: int, ties: Ties | None, seed: int) -> Any:
    """Returns scikit-learn's splitter into so many folds: stratified for classes, by group where given."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    n, classes = data.x.shape[1], _classes(data)
    if count > n:
        raise ValueError(f"folds must be at most the {n} samples, got {count}")
    options: dict[str, Any] = {"n_splits": count, "shuffle": True, "random_state": seed}
    if ties is not None:
        if count > ties.num:
            raise ValueError(f"folds must be at most the {ties.num} groups, got {count}")
        return GroupKFold(**options) if classes is None else StratifiedGroupKFold(**options)
    if classes is None:
        return KFold(**options)
    largest = np.max(np.unique(classes, return_counts=True)[1])
    if count > largest:
        raise ValueError(
            f"folds must be at most the {largest} samples of the largest class, "
            f"got {count}; are the targets numbers, and not classes? Then say task='regression'"
        )
    return StratifiedKFold(**options)


def _indices_of_splitter(data: Data, splitter: Any, groups: ArrayLike | None) -> Pairs:
    classes = _classes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with too few samples: a note of ours says it
        found: Any = splitter.split(data.x.T, classes if classes is not None else data.y.T, groups)
        return [(np.asarray(train), np.asarray(val)) for train, val in found]


def _checked_indices(indices: Any, n: int, fold: int, name: str = "folds") -> np.ndarray:
    """Returns distinct indices of samples, also of a boolean mask `(n,)`."""
    try:
        array = np.asarray(indices)
    except ValueError:  # lists of several lengths
        array = np.array(None)
    if array.dtype.kind == "b" and array.shape == (n,):
        return np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(np.unique(array)) != len(array):
        raise ValueError(f"{name} must list distinct sample indices, got others in fold {fold}")
    if len(array) and not 0 <= array.min() <= array.max() < n:
        raise ValueError(f"{name} must list sample indices from 0 to {n - 1}, got others in fold {fold}")
    return array


def _part_weights(weights: np.ndarray, indices: np.ndarray, name: str) -> np.ndarray:
    """Returns the weights of a part of the samples, `(n,)`, mean 1 over it and 0 elsewhere."""
    part = np.zeros(len(weights))
    part[indices] = np.asarray(weights)[indices]
    if not np.any(part > 0):
        raise ValueError(f"folds must leave samples on both sides, got none in {name}")
    return unit_mean(part, len(part))


def _classes(data: Data) -> np.ndarray | None:
    """Returns the class of each sample, `(n,)`, or None for real targets."""
    return np.asarray(data.y)[0] if np.issubdtype(data.y.dtype, np.integer) else None


def _absent_classes(
    data: Data,
    train: np.ndarray,
    val: np.ndarray,
    kind: str,
    names: tuple[str, str] = ("training", "validation"),
) -> Iterator[str]:
    """Yields a sentence for each part of a split that lacks a class, for the first few of many folds."""
    classes = _classes(data)
    if classes is None:
        return
    found = []
    for j in range(len(train)):
        for name, weights in zip(names, (train[j], val[j]), strict=True):
            absent = np.setdiff1d(classes, classes[weights > 0])
            if len(absent) and np.any(weights > 0):
                where = f"the {name} part of fold {j}" if kind == "folds" else f"the {name} part"
                found.append(f"{where} has no sample of class {', '.join(map(str, absent))}")
    yield from found[:MOST_ABSENT]
    if len(found) > MOST_ABSENT:
        yield f"{len(found) - MOST_ABSENT:,} more parts of folds have no sample of a class: take fewer folds"


def hold_out(
    data: Data,
    fraction: float,
    *,
    seed: int = 0,
    name: str = "fraction",
    groups: ArrayLike | None = None,
    time: ArrayLike | None = None,
) -> tuple[Data, Data]:
    """Returns (train, test): the samples that stay, and those held out; see `hold_out_indices`.

    Example:
        >>> import jax, regjax
        >>> from regjax.data.splits import hold_out
        >>> train, test = hold_out(regjax.two_regions(jax.random.key(0))[0], 0.25)
        >>> train.x.shape, test.x.shape
        ((2, 158), (2, 53))
    """
    stay, held = hold_out_indices(data, fraction, seed=seed, name=name, groups=groups, time=time)
    return take(data, stay), take(data, held)


def hold_out_indices(
    data: Data,
    fraction: float,
    *,
    seed: int = 0,
    name: str = "fraction",
    groups: ArrayLike | None = None,
    time: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the samples that stay, and of those held out, which `take` makes `Data` of.

    Without groups and time a random part of the samples is held out, stratified for classes.

    Args:
        data: all samples.
        fraction: fraction of the samples, or of the groups, to hold out, in (0, 1).
        seed: seed of scikit-learn's splitter.
        name: name of the fraction in messages.
        groups: `(n,)`, text or numbers: whole groups are held out.
        time: `(n,)`, numbers or dates, in place of groups: the last samples are held out; those of one time
            stay together.

    Raises:
        TypeError: a time that is neither numbers nor dates.
        ValueError: a fraction outside (0, 1), too few samples, groups or times, too few of a class, or
            groups and time as in `make_splits`.

    Example:
        >>> import jax, regjax
        >>> from regjax.data.splits import hold_out_indices
        >>> data = regjax.two_regions(jax.random.key(0))[0]
        >>> stay, held = hold_out_indices(data, 0.25, time=range(211))
        >>> stay[-1].item(), held[0].item()
        (157, 158)
    """
    stay, held = _parted(data, name, fraction, seed, check_ties(data.x.shape[1], groups, time))
    classes = _classes(data)
    if classes is not None and len(absent := np.setdiff1d(classes, classes[stay])):
        raise ValueError(
            f"{name} must leave samples of every class to train on, got none of class {absent[0]}: "
            f"{'their groups are' if time is None else 'they are the last, and'} held out"
        )
    return stay, held


def take(data: Data, indices: np.ndarray) -> Data:
    """Returns the samples of the indices, with weights of mean 1."""
    return Data(data.x[:, indices], data.y[:, indices], unit_mean(data.weights[indices], len(indices)))


def check_fraction(name: str, fraction: Any) -> None:
    """Raises ValueError unless this is a float in (0, 1); `name` is that of the argument."""
    if not (isinstance(fraction, float) and 0 < fraction < 1):
        raise ValueError(f"{name} must be a fraction in (0, 1), got {shown(fraction)}")


def _parted(
    data: Data, name: str, fraction: float, seed: int, ties: Ties | None, where: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the samples that stay, and of those held out; `where` is for messages."""
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    check_fraction(name, fraction)
    n, classes = data.x.shape[1], _classes(data)
    num_held = math.ceil(fraction * n)
    if ties is not None:
        if ties.num < 2:
            raise ValueError(f"{name} must have at least two {ties.plural}{where}, got one")
        if ties.name == "time":
            return last_part(ties, num_held)
        # At least one group stays: the fraction may be more than all but one of a few groups.
        num_held = min(math.ceil(fraction * ties.num), ties.num - 1)
        splitter = GroupShuffleSplit(1, test_size=num_held, random_state=seed)
        stay, held = next(splitter.split(data.x.T, groups=ties.codes))
        return np.asarray(stay), np.asarray(held)
    num_classes = 1 if classes is None else len(np.unique(classes))
    if min(num_held, n - num_held) < num_classes:
        raise ValueError(
            f"{name} must leave a sample of each of {num_classes} classes on both sides, "
            f"got {fraction} of {n} samples"
        )
    if classes is not None and np.min(np.unique(classes, return_counts=True)[1]) < 2:
        raise ValueError(
            f"{name} must have at least two samples of each class to hold some out, got one of a class"
        )
    # The count that was checked above, so that scikit-learn does not round the fraction in its own way.
    stay, held = train_test_split(np.arange(n), test_size=num_held, random_state=seed, stratify=classes)
    return np.asarray(stay), np.asarray(held)
