"""Fitted estimators out of the rows of a sweep.

`regjax/sklearn/candidates.py` asks here, before a sweep, whether a candidate can be rows of one and what its
networks see in each fold; and after it for the estimators that scikit-learn scores.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._indexing import _safe_indexing
from sklearn.utils.validation import _check_feature_names, _num_samples

from regjax.core.mlp import Params
from regjax.sklearn.base import RegMLP, is_plain
from regjax.sklearn.dense import COPIES, as_dense
from regjax.sklearn.epochs import Trained
from regjax.study.design import Design
from regjax.study.plan import free_memory

# Methods by which a Pipeline fits its steps: a class that overrides one fits them by itself.
_FITS = ("fit", "_fit", "_final_estimator", "_check_method_params", "_iter")


class Work(NamedTuple):
    """The candidates' common inputs: a search, and its samples and splits.

    Attributes:
        search: the search, for its parameters.
        estimator: its estimator.
        X: the features, as the user gave them.
        y: the targets, as the user gave them.
        splits: training and test indices of each fold.
        fit_params: metadata for `fit`, such as sample_weight, of all samples.
    """

    search: Any
    estimator: Any
    X: Any
    y: Any
    splits: list[tuple[np.ndarray, np.ndarray]]
    fit_params: dict[str, Any]


class Candidate(NamedTuple):
    """A candidate that can be rows of a sweep.

    Attributes:
        number: its index among the candidates.
        parameters: its parameters.
        pipelines: the Pipelines around its network, from the outermost inwards.
        network: the network.
    """

    number: int
    parameters: Mapping[str, Any]
    pipelines: list[Pipeline]
    network: RegMLP

    @property
    def prefix(self) -> str:
        """What stands before the names of the network's own parameters."""
        return "".join(f"{pipeline.steps[-1][0]}__" for pipeline in self.pipelines)


class Fold(NamedTuple):
    """One fold, as the networks behind one preprocessing see it.

    Attributes:
        train: indices of the training samples.
        test: indices of the test samples.
        x: all samples as the network's input, `(n_samples, n_features)`.
        like: no samples, as the network gets them; their columns may have names.
        steps: the fitted steps before the network, for each Pipeline.
        seconds: time of fitting these steps.
    """

    train: np.ndarray
    test: np.ndarray
    x: Any
    like: Any
    steps: list[list[tuple[str, Any]]]
    seconds: float


def inside(estimator: Any) -> tuple[list[Pipeline], Any]:
    """Returns the Pipelines around an estimator's last step, from the outermost inwards, and that step."""
    pipelines = []
    while isinstance(estimator, Pipeline):
        pipelines.append(estimator)
        estimator = estimator.steps[-1][1]
    return pipelines, estimator


def as_candidate(number: int, parameters: Mapping[str, Any], estimator: Any) -> Candidate | None:
    """Returns a candidate whose network can be a row of a sweep; None where it cannot.

    It cannot where its class overrides how it is fitted, where a Pipeline around it does, and where its
    parameters are not valid. A generator as random_state is at another place in each network.
    """
    pipelines, network = inside(estimator)
    if not isinstance(network, RegMLP) or not is_plain(network, "fit"):
        return None
    if not all(_is_plain(pipeline) for pipeline in pipelines):
        return None
    if network.solver not in ("sgd", "adam") or not isinstance(network.random_state, Integral | None):
        return None
    try:
        network._check()
    except Exception:  # raised again where the candidate is fitted
        return None
    return Candidate(number, parameters, pipelines, network)


def _is_plain(pipeline: Pipeline) -> bool:
    own = all(getattr(type(pipeline), name) is getattr(Pipeline, name) for name in _FITS)
    # Fitted steps that a cache holds are not fitted again by scikit-learn's own code.
    return own and pipeline.transform_input is None and pipeline.memory is None


def seeds_of(random_state: Any, count: int) -> list[int]:
    """Returns distinct seeds: from a whole number on upwards, otherwise random ones."""
    if isinstance(random_state, Integral):
        return [int(cast(int, random_state)) + i for i in range(count)]
    # A dict, because it keeps their order.
    random, found = check_random_state(random_state), {}
    while len(found) < count:
        found[int(random.randint(np.iinfo(np.int32).max))] = None
    return list(found)


def preprocessed(work: Work, pipelines: list[Pipeline]) -> list[Fold]:
    """Returns each fold with its samples after the steps before the network, fitted on its training part.

    Raises:
        ValueError: a sweep cannot hold the result: a step does not return a matrix of numbers, or the number
            of columns depends on the fold.
        Exception: whatever a step raises.
    """
    if not any(len(pipeline.steps) > 1 for pipeline in pipelines):
        x = as_dense(work.X)
        nothing: list[list[tuple[str, Any]]] = [[] for _ in pipelines]
        return [Fold(train, test, x, x, nothing, 0.0) for train, test in work.splits]
    found = []
    for train, test in work.splits:
        found.append(_fold(work, pipelines, train, test))
        free, needed = free_memory(), COPIES * len(work.splits) * found[0].x.nbytes
        if free is not None and needed > free / 2:
            raise ValueError(f"the inputs of {len(work.splits)} folds take {needed / 1e9:.1f} GB")
    if len({fold.x.shape for fold in found}) > 1:
        raise ValueError("the number of columns depends on the fold")
    return found


def _fold(work: Work, pipelines: list[Pipeline], train: np.ndarray, test: np.ndarray) -> Fold:
    """Returns one fold of `preprocessed`."""
    began = time.perf_counter()
    levels = [[(name, _copy(step)) for name, step in pipeline.steps[:-1]] for pipeline in pipelines]
    # One Pipeline of all steps; a name may stand in two of the user's.
    steps = [(f"{i}-{name}", step) for i, level in enumerate(levels) for name, step in level]
    before = Pipeline(steps)
    like = as_dense(before.fit_transform(_safe_indexing(work.X, train), _part(work.y, train)))
    seen, rest = np.asarray(like), np.asarray(as_dense(before.transform(_safe_indexing(work.X, test))))
    if seen.ndim != 2 or rest.ndim != 2 or seen.dtype.kind not in "fiub":
        raise ValueError("a step does not return a matrix of numbers")
    # Samples that are in neither part stay 0: no network trains on them or is scored on them.
    x = np.zeros((_num_samples(work.X), seen.shape[1]), seen.dtype)
    x[train], x[test] = seen, rest
    fitted = iter(before.steps)
    levels = [[(name, next(fitted)[1]) for name, _ in level] for level in levels]
    return Fold(train, test, x, _safe_indexing(like, []), levels, time.perf_counter() - began)


def _copy(step: Any) -> Any:
    return clone(step) if hasattr(step, "get_params") else step


def _part(y: Any, indices: np.ndarray) -> Any:
    return None if y is None else _safe_indexing(y, indices)


class Adopted(NamedTuple):
    """A network that a row of a sweep holds, for an estimator that scikit-learn is about to fit.

    Attributes:
        take: gives the weights to the estimator.
        seconds: the row's share of the sweep's time.
    """

    take: Callable[[Any], None]
    seconds: float


class Rows(Protocol):
    """The rows of a design, trained to their ends or to a step; `Results` are such rows.

    Attributes:
        design: the design.
        diverged_at: the step at which each row diverged, or -1, `(rows,)`.
        stopped_at: the step at which each row stopped, or -1, `(rows,)`.
        seconds: time of each row, `(rows,)`.
    """

    @property
    def design(self) -> Design:
        """The design."""
        ...

    @property
    def diverged_at(self) -> np.ndarray:
        """The step at which each row diverged, or -1."""
        ...

    @property
    def stopped_at(self) -> np.ndarray:
        """The step at which each row stopped, or -1."""
        ...

    @property
    def seconds(self) -> np.ndarray:
        """Time of each row."""
        ...

    def params(self, row: int) -> Params:
        """Returns the parameters of a row that predict."""
        ...


def from_row(
    member: Candidate, rows: Rows, row: int, like: RegMLP, fold: Fold, y: Any, start: Params | None = None
) -> Adopted | None:
    """Returns the network of one row of a sweep; None where the row diverged.

    Args:
        member: the candidate of the row.
        rows: the rows of its design.
        row: number of the row.
        like: the network that has validated the samples, for their shapes and classes.
        fold: the fold of the row.
        y: the targets of all samples, as the user gave them.
        start: the parameters that the row has started from, where they were not drawn.
    """
    num_samples = member.network._num_trained(len(fold.train))
    trained = trained_row(rows, row, num_samples, rows.design.row(row).seed)
    if trained is None:
        return None
    trained = trained._replace(start=start)
    # All configurations of a sweep share the steps before the network.
    seconds = float(rows.seconds[row]) + fold.seconds / len(rows.design.configurations)

    def take(estimator: Any) -> None:
        pipelines, network = inside(estimator)
        for pipeline, steps in zip(pipelines, fold.steps, strict=True):
            pipeline.steps[:-1] = steps
        for name in ("classes_", "_label_binarizer"):
            if hasattr(like, name):
                setattr(network, name, getattr(like, name))
        _check_feature_names(network, fold.like, reset=True)
        network._take_over(trained, functools.partial(_samples, fold, y))

    return Adopted(take, seconds)


def trained_row(rows: Rows, row: int, num_samples: int, seed: int | None) -> Trained | None:
    """Returns the network of a row; None where the row diverged.

    Args:
        rows: the rows of its design.
        row: number of the row.
        num_samples: samples of an epoch.
        seed: the random_state that it was trained with; None takes the estimator's own.
    """
    if rows.diverged_at[row] >= 0:
        return None
    design, stopped_at = rows.design, int(rows.stopped_at[row])
    configuration = design.row(row).configuration
    config = design.configs[configuration]
    steps = stopped_at if stopped_at >= 0 else config.num_steps
    epochs = -(-steps // design.num_batches[configuration])
    return Trained(rows.params(row), config, epochs, num_samples, stopped_at >= 0, seed)


def _samples(fold: Fold, y: Any) -> tuple[Any, Any, None]:
    """Returns the arguments of `fit` in a fold."""
    return np.asarray(fold.x)[fold.train], _part(y, fold.train), None
