"""Fitted estimators of a search's candidates: out of the rows of a sweep, or fitted one by one.

regjax/sklearn/candidates.py calls it, before a sweep for the inputs of the network in each fold, and after
it for the estimators that scikit-learn scores.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from numbers import Integral
from typing import Any, NamedTuple, cast

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._indexing import _safe_indexing
from sklearn.utils.validation import _check_feature_names, _check_method_params, _num_samples

from regjax.sklearn.base import NOT_FINITE, RegMLP
from regjax.study.results import Results


class Work(NamedTuple):
    """The candidates' common inputs: a search, and its samples and splits.

    Attributes:
        search: the search, for its parameters.
        X: the features, as the user gave them.
        y: the targets, as the user gave them.
        splits: training and test indices of each fold.
        fit_params: metadata for `fit`, such as sample_weight, of all samples.
    """

    search: Any
    X: Any
    y: Any
    splits: list[tuple[np.ndarray, np.ndarray]]
    fit_params: dict[str, Any]


class Candidate(NamedTuple):
    """A candidate whose parameters are valid.

    Attributes:
        number: its index among the candidates.
        estimator: the search's estimator with the candidate's parameters.
        network: the estimator, or the last step of a Pipeline.
    """

    number: int
    estimator: Any
    network: RegMLP


class Fold(NamedTuple):
    """One fold, as the networks behind one preprocessing see it.

    Attributes:
        train: indices of the training samples.
        test: indices of the test samples.
        x: all samples as the network's input, `(n_samples, n_features)`.
        like: the training samples as the network gets them; their columns may have names.
        steps: the fitted steps before the network.
        seconds: time of fitting these steps.
    """

    train: np.ndarray
    test: np.ndarray
    x: Any
    like: Any
    steps: list[tuple[str, Any]]
    seconds: float


class Trained(NamedTuple):
    """A fitted estimator of one candidate, fold and seed.

    Attributes:
        estimator: the fitted estimator, or None where fitting failed.
        error: the error of a failed fit, or None.
        seconds: time of the fit.
    """

    estimator: Any
    error: Exception | None
    seconds: float


def network_of(estimator: Any) -> RegMLP:
    """Returns the network that an estimator is, or a Pipeline ends in.

    Raises:
        TypeError: the estimator is no network of regjax, and does not end in one.
    """
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, RegMLP):
        raise TypeError(
            "estimator must be a RegMLPClassifier or a RegMLPRegressor, or a Pipeline that ends in one, got "
            f"{type(last).__name__}; for others take scikit-learn's GridSearchCV"
        )
    return last


def sample_weight(estimator: Any, fit_params: Mapping[str, Any]) -> Any:
    """Returns the sample weights that metadata hold for the network, or None."""
    if isinstance(estimator, Pipeline):
        return fit_params.get(f"{estimator.steps[-1][0]}__sample_weight")
    return fit_params.get("sample_weight")


def seeds_of(random_state: Any, count: int) -> list[int]:
    """Returns distinct seeds: from a whole number on upwards, otherwise random ones."""
    if isinstance(random_state, Integral):
        return [int(cast(int, random_state)) + i for i in range(count)]
    # A dict, because it keeps their order.
    random, found = check_random_state(random_state), {}
    while len(found) < count:
        found[int(random.randint(np.iinfo(np.int32).max))] = None
    return list(found)


def preprocessed(work: Work, estimator: Any) -> list[Fold] | None:
    """Returns each fold with its samples after the steps before the network, fitted on its training part.

    None where a sweep cannot hold the result: a step fails, returns a sparse matrix, or returns as many
    columns as depends on the fold.
    """
    if not isinstance(estimator, Pipeline) or len(estimator.steps) == 1:
        return [Fold(train, test, work.X, work.X, [], 0.0) for train, test in work.splits]
    network = f"{estimator.steps[-1][0]}__"
    fit_params = {name: v for name, v in work.fit_params.items() if not name.startswith(network)}
    found = []
    for train, test in work.splits:
        try:
            fold = _fold(work, estimator, train, test, fit_params)
        except Exception:  # raised again, fold by fold, where the candidates are fitted one by one
            return None
        if fold is None:
            return None
        found.append(fold)
    return found if len({fold.x.shape for fold in found}) == 1 else None


def _fold(
    work: Work, estimator: Pipeline, train: np.ndarray, test: np.ndarray, fit_params: dict[str, Any]
) -> Fold | None:
    """Returns one fold of `preprocessed`; None where the steps do not return a matrix of numbers."""
    began = time.perf_counter()
    before = Pipeline(
        [(name, clone(s) if hasattr(s, "get_params") else s) for name, s in estimator.steps[:-1]]
    )
    some = _check_method_params(work.X, params=fit_params, indices=train)
    y_train = None if work.y is None else _safe_indexing(work.y, train)
    like = before.fit_transform(_safe_indexing(work.X, train), y_train, **some)
    seen, rest = np.asarray(like), np.asarray(before.transform(_safe_indexing(work.X, test)))
    if seen.ndim != 2 or rest.ndim != 2 or seen.dtype.kind not in "fiub":
        return None
    # Samples that are in neither part stay 0: no network trains on them or is scored on them.
    x = np.zeros((_num_samples(work.X), seen.shape[1]), seen.dtype)
    x[train], x[test] = seen, rest
    return Fold(train, test, x, like, before.steps, time.perf_counter() - began)


def from_row(member: Candidate, results: Results, row: int, like: RegMLP, fold: Fold) -> Trained:
    """Returns the fitted estimator of one row of a sweep.

    Args:
        member: the candidate of the row.
        results: the results of the sweep.
        row: number of the row.
        like: the network that has validated the samples, for their shapes and classes.
        fold: the fold of the row.
    """
    design = results.design
    # All configurations of a sweep share the steps before the network.
    seconds = float(results.seconds[row]) + fold.seconds / len(design.configurations)
    if results.diverged_at[row] >= 0:
        return Trained(None, ValueError(NOT_FINITE), seconds)
    network: Any = copy.copy(member.network)  # not fitted, so nothing is shared that fitting writes
    network._adopt(results.params(row))
    configuration, stopped_at = design.row(row).configuration, int(results.stopped_at[row])
    config = design.configs[configuration]
    steps = stopped_at if stopped_at >= 0 else config.num_steps
    network._describe(like, config, -(-steps // design.num_batches[configuration]))
    _check_feature_names(network, fold.like, reset=True)
    if not isinstance(member.estimator, Pipeline):
        return Trained(network, None, seconds)
    return Trained(Pipeline([*fold.steps, (member.estimator.steps[-1][0], network)]), None, seconds)


def one_by_one(work: Work, member: Candidate) -> list[list[Trained]]:
    """Returns a candidate fitted as scikit-learn does: a list over seeds, for each fold."""
    found = []
    for train, _ in work.splits:
        some = _check_method_params(work.X, params=work.fit_params, indices=train)
        X, y = _safe_indexing(work.X, train), _safe_indexing(work.y, train)
        of_fold = []
        for seed in seeds_of(member.network.random_state, work.search.n_seeds):
            # The seeds of a sweep: with one seed, the candidate's own random_state where it is a number.
            estimator: Any = clone(member.estimator)
            network_of(estimator).set_params(random_state=seed)
            began, error = time.perf_counter(), None
            try:
                estimator.fit(X, y, **some)
            except Exception as failure:
                if work.search.error_score == "raise":
                    raise
                error = failure
            of_fold.append(Trained(estimator, error, time.perf_counter() - began))
        found.append(of_fold)
    return found
