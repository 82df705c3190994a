"""The training of a search's candidates, all at once where that can be.

The networks of most candidates are rows of one sweep, which a store can keep. What stands inside another
estimator, or sees samples that a sweep cannot have, is trained by `together.py`. What is left, such as an
estimator without a network, scikit-learn fits. `running.py` calls `train_candidates` for a search;
`rungs.py` and `path.py` have trainers of their own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import joblib
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_method_params, _num_samples

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.mlp import Params
from regjax.core.numpy_random import draw_weights
from regjax.data.splits import watched_as_sklearn
from regjax.engine.cluster import GIVEN_UP, ClusterError
from regjax.engine.sweep import sweep
from regjax.sklearn.base import RegMLP
from regjax.sklearn.together import RECORDS, Together, left_to_scikit_learn
from regjax.sklearn.trained import (
    Adopted,
    Candidate,
    Fold,
    Rows,
    Work,
    as_candidate,
    from_row,
    preprocessed,
    seeds_of,
)
from regjax.study.configuration import Configuration, key_of
from regjax.study.design import Design
from regjax.study.grid import Grid, grid_from_list
from regjax.study.results import Results

# Parameters that are the same for all rows of a sweep.
FIXED = ("max_iter", "shuffle", "learning_rate", "dtype", "random_state", "warm_start")


class Done(NamedTuple):
    """What has been trained of a search.

    Attributes:
        adopted: the networks of rows of a sweep, by (candidate, seed, fold).
        seeds: a random_state for each of a candidate's networks, by candidate; None leaves it its own.
        together: what scikit-learn's code takes over when it fits the others.
        sweeps: results of the sweeps.
        num_others: number of networks that are no rows of a sweep.
    """

    adopted: dict[tuple[int, int, int], Adopted]
    seeds: dict[int, Sequence[int | None]]
    together: Together
    sweeps: list[Results]
    num_others: int = 0

    @property
    def results(self) -> Results | None:
        """The results of the sweep; None where the candidates took several sweeps, or other ways."""
        return self.sweeps[0] if len(self.sweeps) == 1 and not self.num_others else None

    @property
    def num_recalled(self) -> int:
        """Number of networks that the store held."""
        return sum(results.recalled for results in self.sweeps)

    @property
    def num_rows(self) -> int:
        """Number of rows of the sweeps; equal candidates share theirs."""
        return sum(map(len, self.sweeps))


class Swept(NamedTuple):
    """What candidates of one sweep have become.

    Attributes:
        places: the row of each (member, seed, fold).
        rows: the rows.
        results: the results of the sweep; None where it was trained in another way.
        starts: the parameters that rows have started from, where they were not drawn.
    """

    places: dict[tuple[int, int, int], int]
    rows: Rows
    results: Results | None
    starts: Mapping[int, Params] = {}


class Trainer:
    """Trains candidates that can be rows of sweeps, each time afresh; a search has one while it runs."""

    def adjust(self, work: Work, member: Candidate) -> None:
        """Changes the network of a candidate, before it is grouped with others."""

    def folds(self, work: Work, key: Any, pipelines: list[Pipeline]) -> list[Fold]:
        """Returns the folds behind one preprocessing, whose name is `key`."""
        return preprocessed(work, pipelines)

    def seeds(self, key: Any, random_state: Any, count: int) -> list[int]:
        """Returns the seeds of the candidates of a sweep, whose name is `key`."""
        return seeds_of(random_state, count)

    def train(
        self, work: Work, key: Any, members: list[Candidate], folds: list[Fold], seeds: list[int]
    ) -> Swept:
        """Returns what the candidates of a sweep have become."""
        asked, indices = asked_of(work, members, folds, seeds)
        search = work.search
        results = sweep(
            **asked,
            keep="all",
            workers=num_workers(search),
            store=search.store,
            progress=bool(search.verbose),
        )
        if lost := [note for note in results.notes if note.startswith(GIVEN_UP)]:
            raise ClusterError("; ".join(lost))
        return Swept(places_of(results.design, indices), results, results)

    def at_once(self, fits: list[Callable[[], Any]]) -> list[Callable[[], Any]]:
        """Returns those fits, of networks that are no rows of a sweep, that may be made together."""
        return fits

    def prepare(self, estimator: Any, seed: int | None, place: tuple[int, int]) -> None:
        """Gives an estimator whose network is no row of a sweep the `fit` that scikit-learn will call.

        Args:
            estimator: a new one, unfitted.
            seed: random_state of the networks in it; None leaves them their own.
            place: numbers of the seed and of the fold.
        """
        if seed is not None:
            estimator.fit = functools.partial(_fit_seeded, estimator, seed)

    def to_refit(self, work: Work, estimator: Any) -> Any:
        """Returns a new estimator, unfitted, as the one that the search fits on all samples."""
        return estimator


def train_candidates(work: Work, candidates: Sequence[Mapping[str, Any]], trainer: Trainer) -> Done:
    """Returns the trained networks of all candidates, seeds and folds of a search.

    Args:
        work: the search, its samples and its splits.
        candidates: parameters of each candidate.
        trainer: what trains those that can be rows of a sweep.

    Raises:
        ValueError: a parameter that the estimator does not have.
        OSError: the store cannot be written.
        StoreError: the store is damaged where this search reads it.
    """
    estimators = [with_parameters(work.estimator, parameters) for parameters in candidates]
    done = Done({}, {}, Together(num_workers(work.search)), [])
    # One preprocessing after the other, so that the samples of one are in memory at a time.
    for key, by_fixed in _groups(work, candidates, estimators, trainer).items():
        _of_one_preprocessing(work, key, by_fixed, done, trainer)
    fits, count = [], work.search.n_seeds
    for number, estimator in enumerate(estimators):
        networks = networks_in(estimator)
        if number in done.seeds or not networks:
            continue
        # With one seed, the candidate's own random_state, whatever it is.
        states = next(iter(networks.values())).random_state
        done.seeds[number] = seeds_of(states, count) if count > 1 else [None]
        fits += _fits(work, candidates[number], done.seeds[number])
    if fits and work.search.store is not None:
        warnings.warn(
            f"store keeps the rows of sweeps alone, and {len(fits)} networks of this search are none: see "
            "docs/scikit-learn.md, Searches",
            stacklevel=2,
        )
    done.together.record(trainer.at_once(fits))
    return done._replace(num_others=len(fits))


def with_parameters(estimator: Any, parameters: Mapping[str, Any]) -> Any:
    """Returns a new estimator with a candidate's parameters; raises ValueError for one that it lacks."""
    made: Any = clone(estimator)
    return made.set_params(**cast(Any, clone(dict(parameters), safe=False)))


def networks_in(estimator: Any) -> dict[str, RegMLP]:
    """Returns the networks inside an estimator, by the parameter that holds them; "" is the estimator."""
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        return {}
    own = {"": estimator} if isinstance(estimator, RegMLP) else {}
    found = estimator.get_params(deep=True)
    return own | {name: value for name, value in found.items() if isinstance(value, RegMLP)}


def seeded(estimator: Any, seed: int | None) -> Any:
    """Returns an estimator with this random_state in all networks inside it; None leaves them their own."""
    if seed is not None:
        names = [f"{name}__random_state".removeprefix("__") for name in networks_in(estimator)]
        estimator.set_params(**dict.fromkeys(names, seed))
    return estimator


def _fit_seeded(estimator: Any, seed: int, *args: Any, **params: Any) -> Any:
    """The `fit` of an estimator whose networks have a seed of their own."""
    del estimator.fit
    return seeded(estimator, seed).fit(*args, **params)


def _fits(work: Work, parameters: Mapping[str, Any], seeds: Sequence[int | None]) -> list[Callable[[], Any]]:
    """Returns functions that fit a candidate as scikit-learn does, for each seed and fold."""

    def fit(seed: int | None, train: np.ndarray) -> None:
        estimator = seeded(with_parameters(work.estimator, parameters), seed)
        some = _check_method_params(work.X, params=work.fit_params, indices=train)
        X, y = _safe_split(estimator, work.X, work.y, train)
        estimator.fit(*((X,) if y is None else (X, y)), **some)

    return [functools.partial(fit, seed, train) for seed in seeds for train, _ in work.splits]


# -- candidates that are rows of a sweep ------------------------------------------------------------------


def _groups(
    work: Work, candidates: Sequence[Mapping[str, Any]], estimators: Sequence[Any], trainer: Trainer
) -> dict[Any, dict[Any, list[Candidate]]]:
    """Returns the candidates that can be rows: by the steps before the network, then by sweep."""
    found: dict[Any, dict[Any, list[Candidate]]] = {}
    if not _has_plain_folds(work):
        return found
    # Both are asked for each candidate, and the same for all.
    whole = functools.cache(functools.partial(_trains_on_all_classes, work))
    ascending = all(np.all(np.diff(train) > 0) for train, _ in work.splits)
    for number, (parameters, estimator) in enumerate(zip(candidates, estimators, strict=True)):
        member = as_candidate(number, parameters, estimator)
        if member is not None and _fits_folds(work, member, whole, ascending):
            trainer.adjust(work, member)
            found.setdefault(_preprocessing(member), {}).setdefault(_fixed(member), []).append(member)
    return found


def _has_plain_folds(work: Work) -> bool:
    """Returns whether a sweep can have the folds: no sample counts twice or has a weight."""
    if work.y is None or any(value is not None for value in work.fit_params.values()):
        return False
    n = _num_samples(work.X)
    for pair in work.splits:
        both = np.concatenate(pair)
        if both.dtype.kind not in "iu" or not len(pair[0]) or not len(pair[1]):
            return False
        if both.min() < 0 or both.max() >= n or len(np.unique(both)) < len(both):
            return False
    return True


def _trains_on_all_classes(work: Work) -> bool:
    """Returns whether each sample has one class, and each fold all classes in training."""
    if type_of_target(work.y) not in ("binary", "multiclass"):
        return False
    y = np.ravel(work.y)
    return all(len(np.unique(y[train])) == len(np.unique(y)) for train, _ in work.splits)


def _fits_folds(work: Work, member: Candidate, whole: Callable[[], bool], ascending: bool) -> bool:
    """Returns whether a candidate's networks can be rows of a sweep over the search's folds.

    They cannot where a fold lacks a class in training; where the folds differ so much that `batch_size` means
    another number of samples in each; where batches depend on the order of a fold's training samples, which a
    sweep does not know; and where callbacks watch a Pipeline fit its steps.

    Args:
        work: the search, its samples and its splits.
        member: the candidate.
        whole: returns what `_trains_on_all_classes` does; asked of classifiers alone.
        ascending: whether the training samples of each fold are in ascending order.
    """
    if member.pipelines and getattr(work.search, "_skl_callbacks", None):
        return False
    if is_classifier(member.network) and not whole():
        return False
    sizes = {_batch_of(member.network, len(train)) for train, _ in work.splits}
    # The order also decides which samples early stopping watches.
    orderless = sizes == {None} and not member.network.early_stopping
    return len(sizes) == 1 and (ascending or orderless)


def _batch_of(network: RegMLP, num_samples: int) -> int | None:
    """Returns the samples of a batch in a fold of so many, or None where it holds all."""
    size = 200 if network.batch_size == "auto" else network.batch_size
    return None if size >= network._num_trained(num_samples) else size


def _preprocessing(member: Candidate) -> Any:
    """Returns a key of the steps before the network: what the candidate says about them."""
    own = member.prefix
    said = {
        name: _identity(value)
        for name, value in member.parameters.items()
        if not name.startswith(own) and f"{name}__" != own
    }
    return frozenset(said.items())


def _identity(value: Any) -> Any:
    """Returns a hash of all that an object holds; the object's own where it cannot be hashed."""
    try:
        return joblib.hash(value)
    except Exception:  # it cannot be pickled, such as one that holds a lambda
        return id(value)


def _fixed(member: Candidate) -> str:
    """Returns a key of what the rows of a sweep share."""
    network = member.network
    fixed = [type(network), *(getattr(network, name) for name in FIXED)]
    # The schedule is part of the program, and only sgd reads it.
    fixed.append(network.solver if network.learning_rate != "constant" else None)
    if network.early_stopping:
        # The generator that chooses the watched samples has drawn the weights before.
        fixed += [network.validation_fraction, network._hidden()]
    return repr(_identity([*fixed, getattr(network, "class_weight", None), getattr(network, "loss", None)]))


def _of_one_preprocessing(
    work: Work, key: Any, groups: dict[Any, list[Candidate]], done: Done, trainer: Trainer
) -> None:
    """Adds the candidates behind the same steps to `done`; those that fail are left to scikit-learn."""
    folds: list[Fold] = []
    with contextlib.suppress(Exception):  # raised again where the candidates are fitted
        folds = trainer.folds(work, key, next(iter(groups.values()))[0].pipelines)
    if not folds:
        return
    for fixed, members in groups.items():
        like = members[0].network
        seeds = trainer.seeds((key, fixed), like.random_state, work.search.n_seeds)
        # With early stopping each seed watches other samples, and a sweep has one such part of each fold.
        parts = [range(i, i + 1) for i in range(len(seeds))] if like.early_stopping else [range(len(seeds))]
        swept: list[Swept] = []
        with left_to_scikit_learn():
            swept = [
                trainer.train(work, (key, fixed), members, folds, seeds[part.start : part.stop])
                for part in parts
            ]
        if not swept:
            continue
        for part, (places, rows, results, starts) in zip(parts, swept, strict=True):
            if results is not None:
                done.sweeps.append(results)
            for (number, seed, fold), row in places.items():
                fit = like, folds[fold], work.y, starts.get(row)
                adopted = from_row(members[number], rows, row, *fit)
                if adopted is not None:
                    done.adopted[members[number].number, part[seed], fold] = adopted
        done.seeds.update({member.number: seeds for member in members})


def asked_of(
    work: Work, members: list[Candidate], folds: list[Fold], seeds: list[int]
) -> tuple[dict[str, Any], list[int]]:
    """Returns what a sweep of candidates is asked, as `sweep` and `make_design` take it.

    With it comes the number of each candidate's configuration, since equal candidates share theirs.
    """
    # The first candidate's network validates the samples for all: shapes and classes are taken from it.
    like = members[0].network
    x, y = like._validate(folds[0].x, work.y, True, False)
    for member in members:
        if hasattr(like, "classes_"):
            member.network.classes_ = like.classes_
    num_trained = like._num_trained(min(len(fold.train) for fold in folds))
    shape = x.shape[1], like._num_outputs(y), num_trained, x.dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is said where a network takes its weights over
        configs = [member.network._config(*shape) for member in members]
    grid, indices = _grid(members, configs)
    if work.search.refit and len({c.program() for c in configs}) == 1 and not like.early_stopping:
        # The program that fits the best candidate compiles in the background while the sweep trains. Not a
        # daemon: a thread that is cut off while it compiles ends the whole process.
        threading.Thread(target=_compile, args=(clone(like), x, y, like)).start()
    config = _records(like, members, configs, num_trained)
    asked = {
        "data": Data(x.T, y.T, np.ones(len(x))),
        "config": config,
        "grid": grid,
        "seeds": seeds,
        "folds": [(fold.train, fold.test) for fold in folds],
        "fold_inputs": [fold.x for fold in folds] if any(any(fold.steps) for fold in folds) else None,
        "epochs": like.max_iter,
    }
    if like.early_stopping:
        asked["stopping"] = _watched(like, y, folds, seeds[0], configs[0])
    return asked, indices


def places_of(design: Design, indices: Sequence[int]) -> dict[tuple[int, int, int], int]:
    """Returns the row of each (member, seed, fold), from the number of each member's configuration."""
    places = itertools.product(enumerate(indices), range(len(design.seeds)), range(design.num_folds))
    return {(m, seed, f): design.index(configuration, seed, f) for (m, configuration), seed, f in places}


def _watched(like: RegMLP, y: np.ndarray, folds: list[Fold], seed: int, config: Config) -> list[np.ndarray]:
    """Returns the samples of each fold that `fit` would watch."""
    found = []
    for fold in folds:
        random = np.random.RandomState(seed)
        draw_weights(random, config.layer_sizes, False, config.dtype)
        labels = (
            y[fold.train, 0].astype(bool) if config.layer_sizes[-1] == 1 and is_classifier(like) else None
        )
        found.append(watched_as_sklearn(random, fold.train, like.validation_fraction, labels)[1])
    if min(map(len, found)) < 2:
        raise ValueError("the validation set is too small")
    return found


def _records(like: RegMLP, members: list[Candidate], configs: list[Config], num_trained: int) -> Config:
    """Returns the sweep's `Config`: the first candidate's, with the metrics and the steps of its records."""
    epochs = like.max_iter
    batches = [1 if c.batch_size is None else math.ceil(num_trained / c.batch_size) for c in configs]
    may_stop = any(member.network.n_iter_no_change < epochs for member in members)
    every = max(1, math.ceil(epochs / RECORDS)) * min(batches) if may_stop else epochs * max(batches)
    # scikit-learn's scorers measure, so a record holds the least that regjax's own tables need.
    config = dataclasses.replace(configs[0], eval_every=every, metrics=("accuracy", "r2"))
    if may_stop or like.early_stopping or like.learning_rate in ("invscaling", "adaptive"):
        return config
    # Nothing depends on the loss of an epoch, so it need not be summed up.
    return dataclasses.replace(config, stop_on=None)


def num_workers(search: Any) -> int | None:
    """Returns the number of tasks at a time, None for a thread per core."""
    return search.n_jobs if search.n_jobs is not None and search.n_jobs > 0 else None


def _grid(members: list[Candidate], configs: list[Config]) -> tuple[Grid, list[int]]:
    """Returns the distinct configurations, and the index of each candidate's among them."""
    indices: dict[Any, int] = {}
    distinct: list[Configuration] = []
    found = []
    for member, config in zip(members, configs, strict=True):
        asked = member.network._hparams(dtype=config.dtype) | {
            "hidden": config.layer_sizes[1:-1],
            "activation": config.activation,
            "optimizer": config.optimizer,
            "batch_size": config.batch_size,
            "init": config.init,
        }
        (configuration,) = grid_from_list([asked])
        key = key_of(configuration)
        if key not in indices:
            indices[key] = len(distinct)
            distinct.append(configuration)
        found.append(indices[key])
    return Grid(tuple(distinct)), found


def _compile(network: Any, x: np.ndarray, y: np.ndarray, like: RegMLP) -> None:
    """Compiles the program of `network.fit` on these samples."""
    if hasattr(like, "classes_"):
        network.classes_ = like.classes_
    with contextlib.suppress(Exception):  # an error is raised again where the network is fitted
        network._compile(x, y)
