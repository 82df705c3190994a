"""`RegGridSearchCV`, `RegRandomizedSearchCV`: scikit-learn's searches, all candidates trained at once.

Candidates × folds × seeds of a regjax network, alone or at the end of a Pipeline, are rows of one sweep;
what is scored, ranked and refitted is scikit-learn's own.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple, Self, cast

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv
from sklearn.model_selection._validation import (
    _fit_and_score,
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, indexable
from sklearn.utils._indexing import _safe_indexing
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names, _check_method_params, _num_samples

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.engine.sweep import sweep
from regjax.sklearn.base import NOT_FINITE, RegMLP
from regjax.study.configuration import NAMES, Configuration, value_of
from regjax.study.grid import Grid, grid_from_list
from regjax.study.results import Results
from regjax.study.selection import choose

# Records of a run whose networks may stop: lanes are freed at these.
RECORDS = 10
# Which value of a network's parameter is simpler, in the order in which they count.
SIMPLER = {
    "l1": "larger",
    "alpha": "larger",
    "dropout": "larger",
    "input_dropout": "larger",
    "dropconnect": "larger",
    "gaussian_dropout": "larger",
    "max_norm": "smaller",
    "input_noise": "larger",
    "swap_noise": "larger",
    "mixup": "larger",
    "label_smoothing": "larger",
    "confidence_penalty": "larger",
    "activity_l2": "larger",
    "adversarial": "larger",
    "sam": "larger",
    "weight_decay": "larger",
}


class Fold(NamedTuple):
    """One split, as the networks of one preprocessing see it.

    Attributes:
        train: indices.
        test: indices.
        x: all rows, `(n_samples, n_features)`.
        like: the training rows as the network is handed them, whose columns may have names.
        steps: the fitted steps before the network.
        seconds: that fitting them took.
    """

    train: np.ndarray
    test: np.ndarray
    x: Any
    like: Any
    steps: list[tuple[str, Any]]
    seconds: float


class Candidate(NamedTuple):
    """A candidate that a sweep trains.

    Attributes:
        number: among the candidates.
        estimator: with its parameters.
        network: its last step.
    """

    number: int
    estimator: Any
    network: RegMLP


class Trained(NamedTuple):
    """A fitted estimator of a candidate, fold and seed, or why there is none; and the seconds it took."""

    estimator: Any
    error: Exception | None
    seconds: float


class _Failed(BaseEstimator):
    """An estimator whose fit fails as the network's did."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def fit(self, X: Any, y: Any = None) -> Self:
        """Raises the error."""
        raise self.error or ValueError("fit failed")


class _Search:
    """What both searches do in `fit`."""

    n_seeds: int
    store: str | os.PathLike[str] | None
    results_: Any
    seed_scores_: Any

    def fit(self: Any, X: Any, y: Any = None, **params: Any) -> Any:
        """Trains all candidates on all folds, and refits the best on all rows.

        Args:
            X: `(n_samples, n_features)`, or what the first step of a Pipeline takes.
            y: targets.
            **params: sample_weight and groups, as in scikit-learn.
        """
        self._validate_params()
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        splitter: Any = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self.n_splits_ = splitter.get_n_splits(X, y, **routed.splitter.split)
        splits = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(X, y, **routed.splitter.split)]
        if len(splits) != self.n_splits_:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. Expected "
                f"{self.n_splits_} splits, got {len(splits)}"
            )
        candidates = self._candidates()
        if not candidates or not splits:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        if self.verbose:
            print(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling "
                f"{len(splits) * len(candidates) * self.n_seeds} fits"
            )
        out = self._evaluate(X, y, splits, candidates, scorers, routed)
        results = self._format_results(candidates, len(splits), out)
        self.multimetric_ = isinstance(out[0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(out[0]["test_scores"])
            refit_metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        if self.refit:
            self._refit(X, y, routed.estimator.fit)
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        self.cv_results_ = results
        return self

    def _refit(self: Any, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        best: Any = clone(self.estimator)
        best.set_params(**cast(Any, clone(self.best_params_, safe=False)))
        began = time.time()
        self.best_estimator_ = best.fit(X, **fit_params) if y is None else best.fit(X, y, **fit_params)
        self.refit_time_ = time.time() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    def _evaluate(
        self: Any, X: Any, y: Any, splits: Any, candidates: Any, scorers: Any, routed: Any
    ) -> list[dict[str, Any]]:
        """Returns what scikit-learn's `_fit_and_score` says of each candidate and fold, candidate by
        candidate; scores are means over seeds.
        """
        trained = self._train(X, y, splits, candidates, dict(routed.estimator.fit))
        asked = {
            "scorer": scorers, "verbose": 0, "parameters": None, "fit_params": {},
            "score_params": routed.scorer.score, "return_train_score": self.return_train_score,
            "return_n_test_samples": True, "return_times": True, "error_score": self.error_score,
        }  # fmt: skip
        every, out = [], []
        for c in range(len(candidates)):
            for f, (train, test) in enumerate(splits):
                found = []
                for estimator, error, seconds in trained[c][f]:
                    whole = _Failed(error) if error is not None else FrozenEstimator(estimator)
                    found.append(_fit_and_score(whole, X, y, train=train, test=test, **asked))
                    found[-1]["fit_time"] = seconds
                every.append(found)
        failures = [result for found in every for result in found]
        _warn_or_raise_about_fit_failures(failures, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(failures, self.error_score)
        for found in every:
            scores = {key: _mean([r[key] for r in found]) for key in ("test_scores", "train_scores")
                      if key in found[0]}  # fmt: skip
            times = {key: float(np.mean([r[key] for r in found])) for key in ("fit_time", "score_time")}
            out.append(found[0] | scores | times)
        self.seed_scores_ = _seed_scores(every, len(candidates), len(splits))
        return out

    def _candidates(self: Any) -> list[dict[str, Any]]:
        raise NotImplementedError

    # -- training -----------------------------------------------------------------------------------------

    def _train(
        self: Any,
        X: Any,
        y: Any,
        splits: Any,
        candidates: Sequence[dict[str, Any]],
        fit_params: dict[str, Any],
    ) -> list[list[list[Trained]]]:
        """Returns candidate -> fold -> seed -> what came of it."""
        base = clone(self.estimator)
        network_of(base)
        found: list[Any] = [None] * len(candidates)
        groups: dict[Any, list[Candidate]] = {}
        for index, parameters in enumerate(candidates):
            try:
                estimator: Any = clone(base)
                estimator.set_params(**cast(Any, clone(parameters, safe=False)))
                network = network_of(estimator)
                network._check()
            except Exception as error:
                if self.error_score == "raise":
                    raise
                found[index] = [[Trained(None, error, 0.0)] * self.n_seeds] * len(splits)
                continue
            groups.setdefault(_together(estimator, network), []).append(Candidate(index, estimator, network))
        self.results_ = None
        folds: dict[Any, Any] = {}
        first = list(dict.fromkeys(preprocessing for preprocessing, _ in groups))
        # One preprocessing after the other: the rows of one are held at a time.
        for (preprocessing, _), members in sorted(groups.items(), key=lambda group: first.index(group[0][0])):
            if preprocessing not in folds:
                folds = {preprocessing: _folds(members[0].estimator, X, y, splits, fit_params)}
            if folds[preprocessing] is None or _not_one_sweep(members, y, splits, fit_params):
                for member in members:
                    found[member.number] = self._one_by_one(member, X, y, splits, fit_params)
                continue
            results, rows = self._sweep(members, folds[preprocessing], y, fit_params)
            if len(groups) == 1:
                self.results_ = results
            for member, configuration in zip(members, rows, strict=True):
                found[member.number] = [
                    [_trained(member, results, configuration, seed, f, fold, members[0].network)
                     for seed in range(self.n_seeds)]
                    for f, fold in enumerate(folds[preprocessing])
                ]  # fmt: skip
        return found

    def _sweep(
        self: Any,
        members: list[Candidate],
        folds: list[Fold],
        y: Any,
        fit_params: dict[str, Any],
    ) -> tuple[Results, list[int]]:
        """Returns a sweep of candidates, and which configuration of it each candidate is."""
        network = members[0].network
        weights = _sample_weight(members[0].estimator, fit_params)
        x, targets, seen = network._as_rows(folds[0].x, y, weights)
        for member in members:
            if hasattr(network, "classes_"):
                member.network.classes_ = network.classes_
        data = Data(x.T, targets.T, seen)
        mean = float(np.mean(seen[seen > 0]))
        num_rows = [network._num_trained(int(np.sum(seen[fold.train] > 0))) for fold in folds]
        outputs = network._num_outputs(targets)
        configs = [m.network._config(x.shape[1], outputs, min(num_rows), x.dtype) for m in members]
        grid, index = _grid(members, configs, mean)
        epochs = network.max_iter
        batches = [1 if c.batch_size is None else math.ceil(min(num_rows) / c.batch_size) for c in configs]
        stops = any(m.network.n_iter_no_change < epochs for m in members)
        every = max(1, math.ceil(epochs / RECORDS)) * min(batches) if stops else epochs * max(batches)
        # scikit-learn's scorers measure, so a record need not; and what cannot stop need not be watched.
        config = dataclasses.replace(configs[0], eval_every=every, metrics=("accuracy", "r2"))
        if not (stops or network.early_stopping or network.learning_rate in ("invscaling", "adaptive")):
            config = dataclasses.replace(config, stop_on=None)
        if self.refit and len({c.program() for c in configs}) == 1 and not network.early_stopping:
            # What the best will be fitted with compiles beside the sweep, and nobody waits for it.
            threading.Thread(
                target=_compiled, args=(clone(network), x, targets, network), daemon=True
            ).start()
        seeds = _seeds(network.random_state, self.n_seeds)
        own = any(fold.steps for fold in folds)
        results = sweep(
            data, config, grid,
            seeds=seeds,
            folds=[(fold.train, fold.test) for fold in folds],
            fold_inputs=[fold.x for fold in folds] if own else None,
            epochs=epochs,
            stopping=float(network.validation_fraction) or 0.1,
            keep="all",
            workers=self.n_jobs if self.n_jobs is not None and self.n_jobs > 0 else None,
            store=self.store,
            progress=bool(self.verbose),
        )  # fmt: skip
        return results, index

    def _one_by_one(
        self: Any, member: Candidate, X: Any, y: Any, splits: Any, fit_params: Mapping[str, Any]
    ) -> list[list[Trained]]:
        """Returns what comes of fitting a candidate as scikit-learn does, fold by fold and seed by seed."""
        found = []
        for train, _ in splits:
            some = _check_method_params(X, params=fit_params, indices=train)
            rows, targets = _safe_indexing(X, train), _safe_indexing(y, train)
            of_fold = []
            for seed in _seeds(member.network.random_state, self.n_seeds):
                estimator: Any = clone(member.estimator)
                network_of(estimator).set_params(random_state=seed)
                began, error = time.perf_counter(), None
                try:
                    estimator.fit(rows, targets, **some)
                except Exception as failure:
                    if self.error_score == "raise":
                        raise
                    error = failure
                of_fold.append(Trained(estimator, error, time.perf_counter() - began))
            found.append(of_fold)
        return found


def _not_one_sweep(members: list[Candidate], y: Any, splits: Any, fit_params: Mapping[str, Any]) -> bool:
    """Returns whether candidates must be fitted one by one: a fold that trains on what it scores, or lacks a
    class in training; metadata that a Pipeline routes to its steps; or folds so unlike that a batch means
    another number of rows.
    """
    estimator = members[0].estimator
    overlap = any(len(np.intersect1d(train, test)) for train, test in splits)
    routed = isinstance(estimator, Pipeline) and bool(fit_params) and get_config()["enable_metadata_routing"]
    lacks = any(m.network.early_stopping and not m.network.validation_fraction for m in members)
    if is_classifier(members[0].network):
        labels = np.asarray(y)
        lacks |= any(len(np.unique(labels[train])) < len(np.unique(labels)) for train, _ in splits)
    weights = _sample_weight(estimator, fit_params)
    counts = [len(train) if weights is None else int(np.sum(np.asarray(weights)[train] > 0))
              for train, _ in splits]  # fmt: skip
    sizes = [{_batch_of(member.network, count) for count in counts} for member in members]
    return overlap or routed or lacks or any(len(of_member) > 1 for of_member in sizes)


def _batch_of(network: RegMLP, num_rows: int) -> int | None:
    """Returns the rows of a batch where a fold has so many, None where it is all of them."""
    size = 200 if network.batch_size == "auto" else network.batch_size
    return None if size >= network._num_trained(num_rows) else size


def network_of(estimator: Any) -> RegMLP:
    """Returns the network that an estimator is, or ends in.

    Raises:
        TypeError: it is none.
    """
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, RegMLP):
        raise TypeError(
            "estimator must be a RegMLPClassifier or a RegMLPRegressor, or a Pipeline that ends in one, got "
            f"{type(last).__name__}; for others take scikit-learn's GridSearchCV"
        )
    return last


def _together(estimator: Any, network: RegMLP) -> tuple[Any, ...]:
    """Returns what must be equal of candidates that are rows of one sweep."""
    before = estimator.steps[:-1] if isinstance(estimator, Pipeline) else []
    steps = [(name, type(step).__qualname__, getattr(step, "get_params", dict)()) for name, step in before]
    try:
        preprocessing = joblib.hash(steps)
    except Exception:  # a lambda, for one: cannot be pickled
        preprocessing = repr(steps)
    names = (
        "max_iter", "shuffle", "learning_rate", "early_stopping", "dtype", "random_state", "warm_start",
    )  # fmt: skip
    own = [getattr(network, name) for name in names]
    own.append(network.validation_fraction if network.early_stopping else None)
    # A falling learning rate is sgd's alone.
    own.append(network.solver if network.learning_rate != "constant" else None)
    return preprocessing, joblib.hash([*own, getattr(network, "class_weight", None)])


def _folds(estimator: Any, X: Any, y: Any, splits: Any, fit_params: dict[str, Any]) -> list[Fold] | None:
    """Returns each split with its rows as the steps before the network leave them, fitted on its train.

    None where a sweep cannot hold them: a step fails, leaves sparse rows, or as many columns as it likes.
    """
    if not isinstance(estimator, Pipeline) or len(estimator.steps) == 1:
        return [Fold(train, test, X, X, [], 0.0) for train, test in splits]
    found = []
    own = {name: v for name, v in fit_params.items() if not name.startswith(f"{estimator.steps[-1][0]}__")}
    for train, test in splits:
        began = time.perf_counter()
        steps = [(name, clone(s) if hasattr(s, "get_params") else s) for name, s in estimator.steps[:-1]]
        before = Pipeline(steps)
        some = _check_method_params(X, params=own, indices=train)
        y_train = None if y is None else _safe_indexing(y, train)
        try:
            like = before.fit_transform(_safe_indexing(X, train), y_train, **some)
            seen, rest = np.asarray(like), np.asarray(before.transform(_safe_indexing(X, test)))
        except Exception:  # said, fold by fold, where they are fitted one by one
            return None
        if seen.ndim != 2 or rest.ndim != 2 or seen.dtype.kind not in "fiub":
            return None
        x = np.zeros((_num_samples(X), seen.shape[1]), seen.dtype)
        x[train], x[test] = seen, rest
        found.append(Fold(train, test, x, like, before.steps, time.perf_counter() - began))
    return found if len({fold.x.shape for fold in found}) == 1 else None


def _sample_weight(estimator: Any, fit_params: Mapping[str, Any]) -> Any:
    if isinstance(estimator, Pipeline):
        return fit_params.get(f"{estimator.steps[-1][0]}__sample_weight")
    return fit_params.get("sample_weight")


def _grid(members: list[Candidate], configs: list[Config], mean: float) -> tuple[Grid, list[int]]:
    """Returns the distinct configurations, and which of them each candidate is."""
    places: dict[Any, int] = {}
    distinct: list[Configuration] = []
    index = []
    for member, config in zip(members, configs, strict=True):
        asked = member.network._hparams(mean) | {
            "hidden": config.layer_sizes[1:-1],
            "activation": config.activation,
            "optimizer": config.optimizer,
            "batch_size": config.batch_size,
            "init": config.init,
        }
        (configuration,) = grid_from_list([asked])
        key = tuple(value_of(configuration, name) for name in NAMES)
        if key not in places:
            places[key] = len(distinct)
            distinct.append(configuration)
        index.append(places[key])
    return Grid(tuple(distinct)), index


def _trained(
    member: Candidate,
    results: Results,
    configuration: int,
    seed: int,
    f: int,
    fold: Fold,
    like: RegMLP,
) -> Trained:
    """Returns the estimator of one row of a sweep."""
    design = results.design
    row = design.index(configuration, seed, f)
    seconds = float(results.seconds[row]) + fold.seconds / len(design.configurations)
    if results.diverged_at[row] >= 0:
        return Trained(None, ValueError(NOT_FINITE), seconds)
    network: Any = copy.copy(member.network)  # which has not been fitted
    network._adopt(results.params(row))
    config, stopped_at = design.configs[configuration], int(results.stopped_at[row])
    steps = stopped_at if stopped_at >= 0 else config.num_steps
    network._describe(like, config, -(-steps // design.num_batches[configuration]))
    _check_feature_names(network, fold.like, reset=True)
    if not isinstance(member.estimator, Pipeline):
        return Trained(network, None, seconds)
    name = member.estimator.steps[-1][0]
    return Trained(Pipeline([*fold.steps, (name, network)]), None, seconds)


def _compiled(network: Any, x: np.ndarray, targets: np.ndarray, like: RegMLP) -> None:
    if hasattr(like, "classes_"):
        network.classes_ = like.classes_
    with contextlib.suppress(Exception):  # what is wrong is said where it is fitted
        network._compile(x, targets)


def _seeds(random_state: Any, count: int) -> list[int]:
    """Returns distinct seeds: a random_state that is a number, and those after it; else random ones."""
    if isinstance(random_state, Integral):
        return [int(cast(int, random_state)) + i for i in range(count)]
    random, found = check_random_state(random_state), {}
    while len(found) < count:
        found[int(random.randint(np.iinfo(np.int32).max))] = None
    return list(found)


def _mean(scores: list[Any]) -> Any:
    if isinstance(scores[0], dict):
        return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}
    return float(np.mean(scores))


def _seed_scores(every: list[list[dict[str, Any]]], num_candidates: int, num_splits: int) -> Any:
    """Returns the test scores, `(candidates, folds, seeds)`, by scorer where there are several."""
    scores = [[r["test_scores"] for r in found] for found in every]
    shape = (num_candidates, num_splits, -1)
    if isinstance(scores[0][0], dict):
        return {
            name: np.array([[s[name] for s in found] for found in scores]).reshape(shape)
            for name in scores[0][0]
        }
    return np.array(scores, float).reshape(shape)


_OWN_CONSTRAINTS: dict[str, Any] = {
    "n_seeds": [Interval(Integral, 1, None, closed="left")],
    "store": [str, os.PathLike, None],
}


class RegGridSearchCV(_Search, GridSearchCV):
    """scikit-learn's `GridSearchCV` for regjax's networks: all candidates are trained at once.

    Args:
        estimator: a `RegMLPClassifier` or `RegMLPRegressor`, or a Pipeline that ends in one. The steps before
            it are fitted once per fold, and per distinct setting of them.
        param_grid: as in scikit-learn.
        scoring: as in scikit-learn.
        n_jobs: tasks at a time; None takes a thread per core.
        refit: as in scikit-learn; `regjax.one_se()` takes the simplest within one standard error.
        cv: as in scikit-learn.
        verbose: above 0 shows a bar on a terminal.
        pre_dispatch: is not used.
        error_score: as in scikit-learn; a network that diverges has failed.
        return_train_score: as in scikit-learn.
        n_seeds: networks per candidate and fold. `split{i}_…` are means over them, `std_test_score` is over
            folds, `seed_scores_` has all.
        store: path of a run store, see `regjax.sweep`: what is there is not trained again.

    Attributes:
        cv_results_: scikit-learn's keys. `mean_fit_time` is a network's share of the time of its chunk.
        seed_scores_: test scores, `(candidates, folds, seeds)`; of several scorers, by name.
        results_: the `regjax.Results` of the sweep, for its tables and plots; None where candidates differ in
            what a sweep holds fixed (steps before the network, max_iter, learning_rate, shuffle,
            early_stopping, class_weight, dtype, random_state), and took several.

    From a random_state that is a number come scikit-learn's own networks and scores, to rounding: seeds are
    random_state, random_state + 1, …. But for two things: with `early_stopping` all candidates of a fold
    watch the same rows; and with sample weights alpha is divided by their mean over all rows, not over those
    of a fold.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((8,), tol=0.01, max_iter=500)
        >>> search = regjax.RegGridSearchCV(network, {"alpha": [0.01, 1], "dropout": [0, 0.2]}, cv=3)
        >>> search.fit(X, y).cv_results_["mean_test_score"].shape
        (4,)
    """

    _parameter_constraints: dict[str, Any] = {**GridSearchCV._parameter_constraints, **_OWN_CONSTRAINTS}  # noqa: RUF012

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: Any = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score=False,
        n_seeds=1,
        store: Any = None,
    ) -> None:
        super().__init__(
            estimator, param_grid, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv, verbose=verbose,
            pre_dispatch=pre_dispatch, error_score=error_score, return_train_score=return_train_score,
        )  # fmt: skip
        self.n_seeds = n_seeds
        self.store = store

    def _candidates(self) -> list[dict[str, Any]]:
        from sklearn.model_selection import ParameterGrid

        return list(ParameterGrid(self.param_grid))


class RegRandomizedSearchCV(_Search, RandomizedSearchCV):
    """scikit-learn's `RandomizedSearchCV` for regjax's networks: all candidates are trained at once.

    Args:
        estimator: as in `RegGridSearchCV`.
        param_distributions: as in scikit-learn.
        n_iter: candidates.
        scoring: as in `RegGridSearchCV`.
        n_jobs: as in `RegGridSearchCV`.
        refit: as in `RegGridSearchCV`.
        cv: as in `RegGridSearchCV`.
        verbose: as in `RegGridSearchCV`.
        pre_dispatch: as in `RegGridSearchCV`.
        random_state: of the draw of candidates.
        error_score: as in `RegGridSearchCV`.
        return_train_score: as in `RegGridSearchCV`.
        n_seeds: as in `RegGridSearchCV`.
        store: as in `RegGridSearchCV`.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **RandomizedSearchCV._parameter_constraints,
        **_OWN_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter=10,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: Any = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score=False,
        n_seeds=1,
        store: Any = None,
    ) -> None:
        super().__init__(
            estimator, param_distributions, n_iter=n_iter, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv,
            verbose=verbose, pre_dispatch=pre_dispatch, random_state=random_state, error_score=error_score,
            return_train_score=return_train_score,
        )  # fmt: skip
        self.n_seeds = n_seeds
        self.store = store

    def _candidates(self) -> list[dict[str, Any]]:
        from sklearn.model_selection import ParameterSampler

        return list(ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state))


def one_se(metric: str = "score") -> Callable[[Mapping[str, Any]], int]:
    """Returns what a search takes as `refit`: the simplest candidate within one standard error of the best.

    The standard error is that of the best candidate's mean over folds, s/√folds. Simplest is: fewer hidden
    units, then larger l1, larger alpha, more dropout, … (`SIMPLER`); other parameters never count, and ties
    go to the better mean.

    Args:
        metric: of `scoring`, where it has several; "score" where it has one.

    References:
        Breiman et al. 1984, §3.4.3; Hastie, Tibshirani, Friedman, ESL §7.10.
    """

    def chosen(results: Mapping[str, Any]) -> int:
        name = metric if f"mean_test_{metric}" in results else "score"
        if f"mean_test_{name}" not in results:
            known = [key.removeprefix("mean_test_") for key in results if key.startswith("mean_test_")]
            raise ValueError(f"metric must be one of {', '.join(known)}, got {metric!r}")
        splits = [
            results[key] for key in results if key.startswith("split") and key.endswith(f"_test_{name}")
        ]
        scores = np.stack(splits, axis=1)
        return choose(scores, True, "one_se", [_simplicity(asked) for asked in results["params"]])

    return chosen


def _simplicity(asked: Mapping[str, Any]) -> tuple[float, ...]:
    """Returns a sort key of a candidate's parameters: smaller is simpler."""
    named = {key.rsplit("__", 1)[-1]: value for key, value in asked.items()}
    hidden = named.get("hidden_layer_sizes", ())
    units = float(np.sum(hidden))
    found = [units]
    for name, simpler in SIMPLER.items():
        value = named.get(name)
        size = math.inf if value is None and simpler == "smaller" else float(np.mean(value or 0.0))
        found.append(size if simpler == "smaller" else -size)
    return tuple(found)
