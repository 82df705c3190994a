"""The training of a search's candidates: those that can be are rows of one sweep, the others fit alone.

The searches of regjax/sklearn/search.py call `train_candidates`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
from collections.abc import Sequence
from typing import Any, cast

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.engine.sweep import sweep
from regjax.sklearn.base import RegMLP
from regjax.sklearn.trained import (
    Candidate,
    Fold,
    Trained,
    Work,
    from_row,
    network_of,
    one_by_one,
    preprocessed,
    sample_weight,
    seeds_of,
)
from regjax.study.configuration import NAMES, Configuration, value_of
from regjax.study.grid import Grid, grid_from_list
from regjax.study.results import Results

# Records of a run whose networks may stop: only at a record do those that have stopped make room.
RECORDS = 10
# Parameters that are the same for all rows of a sweep.
FIXED = ("max_iter", "shuffle", "learning_rate", "early_stopping", "dtype", "random_state", "warm_start")


def train_candidates(
    work: Work, candidates: Sequence[dict[str, Any]]
) -> tuple[list[list[list[Trained]]], Results | None]:
    """Returns the estimators of each candidate, fold and seed, and the results of the sweep.

    The results are None where the candidates took several sweeps, or none.

    Args:
        work: the search, its samples and its splits.
        candidates: parameters of each candidate.
    """
    found: list[Any] = [None] * len(candidates)
    # Candidates by the steps before the network, then by what a sweep holds fixed.
    groups: dict[Any, dict[Any, list[Candidate]]] = {}
    for number, parameters in enumerate(candidates):
        try:
            member = _candidate(work, number, parameters)
        except Exception as error:
            if work.search.error_score == "raise":
                raise
            found[number] = [[Trained(None, error, 0.0)] * work.search.n_seeds] * len(work.splits)
            continue
        preprocessing, fixed = _shared(member)
        groups.setdefault(preprocessing, {}).setdefault(fixed, []).append(member)
    only_one = sum(map(len, groups.values())) == 1
    results = None
    # One preprocessing after the other, so that the samples of one are in memory at a time.
    for by_fixed in groups.values():
        folds = preprocessed(work, next(iter(by_fixed.values()))[0].estimator)
        for members in by_fixed.values():
            if folds is None or _needs_fits(work, members):
                found_here = [one_by_one(work, member) for member in members]
            else:
                found_here, swept = _swept(work, members, folds)
                results = swept if only_one else None
            for member, of_member in zip(members, found_here, strict=True):
                found[member.number] = of_member
    return found, results


def _candidate(work: Work, number: int, parameters: dict[str, Any]) -> Candidate:
    """Returns a candidate with its parameters; raises the error of parameters that are not valid."""
    estimator: Any = clone(work.search.estimator)
    estimator.set_params(**cast(Any, clone(parameters, safe=False)))
    network = network_of(estimator)
    network._check()
    return Candidate(number, estimator, network)


def _shared(member: Candidate) -> tuple[str, str]:
    """Returns keys of the steps before the network, and of the parameters that the rows of a sweep share."""
    estimator, network = member.estimator, member.network
    before = estimator.steps[:-1] if isinstance(estimator, Pipeline) else []
    steps = [(name, type(step).__qualname__, getattr(step, "get_params", dict)()) for name, step in before]
    try:
        preprocessing = cast(str, joblib.hash(steps))
    except Exception:  # a step that cannot be pickled, such as one that holds a lambda
        preprocessing = repr(steps)
    fixed = [getattr(network, name) for name in FIXED]
    fixed.append(network.validation_fraction if network.early_stopping else None)
    # The schedule is part of the program, and only sgd reads it.
    fixed.append(network.solver if network.learning_rate != "constant" else None)
    fixed += [getattr(network, "loss", None), network.solver == "lbfgs"]
    return preprocessing, cast(str, joblib.hash([*fixed, getattr(network, "class_weight", None)]))


def _needs_fits(work: Work, members: list[Candidate]) -> bool:
    """Returns whether candidates must be fitted one by one.

    That is so where a fold trains on samples that it scores, or lacks a class in training; where early
    stopping holds no samples out; where a Pipeline routes metadata to its steps; or where the folds differ
    so much that `batch_size` means another number of samples in each.
    """
    estimator = members[0].estimator
    if members[0].network.solver == "lbfgs":
        return True
    if any(len(np.intersect1d(train, test)) for train, test in work.splits):
        return True
    if any(m.network.early_stopping and not m.network.validation_fraction for m in members):
        return True
    if isinstance(estimator, Pipeline) and work.fit_params and get_config()["enable_metadata_routing"]:
        return True
    if is_classifier(estimator):
        y = np.asarray(work.y)
        if any(len(np.unique(y[train])) < len(np.unique(y)) for train, _ in work.splits):
            return True
    weights = sample_weight(estimator, work.fit_params)
    counts = [len(train) if weights is None else int(np.sum(np.asarray(weights)[train] > 0))
              for train, _ in work.splits]  # fmt: skip
    return any(len({_batch_of(member.network, count) for count in counts}) > 1 for member in members)


def _batch_of(network: RegMLP, num_samples: int) -> int | None:
    """Returns the samples of a batch in a fold of so many, or None where it holds all."""
    size = 200 if network.batch_size == "auto" else network.batch_size
    return None if size >= network._num_trained(num_samples) else size


def _swept(work: Work, members: list[Candidate], folds: list[Fold]) -> tuple[list[Any], Results]:
    """Returns the estimators of each candidate, fold and seed as rows of one sweep, and its results."""
    # The first candidate's network validates the samples for all: shapes and classes are taken from it.
    like = members[0].network
    weights = sample_weight(members[0].estimator, work.fit_params)
    x, y, weights = like._as_samples(folds[0].x, work.y, weights)
    for member in members:
        if hasattr(like, "classes_"):
            member.network.classes_ = like.classes_
    num_trained = min(like._num_trained(int(np.sum(weights[fold.train] > 0))) for fold in folds)
    shape = x.shape[1], like._num_outputs(y), num_trained, x.dtype
    configs = [member.network._config(*shape) for member in members]
    grid, indices = _grid(members, configs, float(np.mean(weights[weights > 0])))
    if work.search.refit and len({c.program() for c in configs}) == 1 and not like.early_stopping:
        # The program that fits the best candidate compiles in the background while the sweep trains.
        threading.Thread(target=_compile, args=(clone(like), x, y, like), daemon=True).start()
    data = Data(x.T, y.T, weights)
    results = _run(work, like, folds, data, _records(like, members, configs, num_trained), grid)
    row = results.design.index
    found = [
        [[from_row(member, results, row(configuration, seed, f), like, fold)
          for seed in range(work.search.n_seeds)] for f, fold in enumerate(folds)]
        for member, configuration in zip(members, indices, strict=True)
    ]  # fmt: skip
    return found, results


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


def _run(work: Work, like: RegMLP, folds: list[Fold], data: Data, config: Config, grid: Grid) -> Results:
    """Returns the sweep over all configurations, seeds and folds."""
    search, has_steps = work.search, any(fold.steps for fold in folds)
    return sweep(
        data, config, grid,
        seeds=seeds_of(like.random_state, search.n_seeds),
        folds=[(fold.train, fold.test) for fold in folds],
        fold_inputs=[fold.x for fold in folds] if has_steps else None,
        epochs=like.max_iter,
        stopping=float(like.validation_fraction) or 0.1,
        keep="all",
        workers=search.n_jobs if search.n_jobs is not None and search.n_jobs > 0 else None,
        store=search.store,
        progress=bool(search.verbose),
    )  # fmt: skip


def _grid(members: list[Candidate], configs: list[Config], mean_weight: float) -> tuple[Grid, list[int]]:
    """Returns the distinct configurations, and the index of each candidate's among them."""
    indices: dict[Any, int] = {}
    distinct: list[Configuration] = []
    found = []
    for member, config in zip(members, configs, strict=True):
        asked = member.network._hparams(mean_weight) | {
            "hidden": config.layer_sizes[1:-1],
            "activation": config.activation,
            "optimizer": config.optimizer,
            "batch_size": config.batch_size,
            "init": config.init,
        }
        (configuration,) = grid_from_list([asked])
        key = tuple(value_of(configuration, name) for name in NAMES)
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
