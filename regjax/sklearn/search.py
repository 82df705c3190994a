"""`RegGridSearchCV`, `RegRandomizedSearchCV`: scikit-learn's searches, all candidates trained at once.

Candidates × folds × seeds of a network, alone or at the end of a Pipeline, are rows of one sweep;
scikit-learn's own `fit` scores, ranks and refits. Users make them; `import regjax` has both.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from typing import Any, Self, cast

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
    check_cv,
)
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_method_params

from regjax.sklearn.candidates import train_candidates
from regjax.sklearn.trained import Trained, Work, network_of


class _Trained(FrozenEstimator):
    """A fitted estimator where scikit-learn fits a clone: parameters are set, and `fit` does nothing.

    Where the fit has failed, `fit` raises the error.
    """

    def __init__(self, estimator: Any, error: Exception | None = None) -> None:
        super().__init__(estimator)
        self.error = error

    def set_params(self, **params: Any) -> Any:
        return self

    def fit(self, X: Any, y: Any = None, *args: Any, **params: Any) -> Self:
        if self.error is not None:
            raise self.error
        return self


class _Splits:
    """A splitter that returns splits which have been made."""

    def __init__(self, splits: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.splits = splits

    def split(self, X: Any, y: Any = None, **params: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(self.splits)


class _Search:
    """The `fit` of both searches."""

    results_: Any
    seed_scores_: Any

    def fit(self: Any, X: Any, y: Any = None, **params: Any) -> Any:
        """Returns the search after training all candidates on all folds, and the best on all samples.

        Args:
            X: `(n_samples, n_features)`, or what the first step of a Pipeline takes.
            y: targets.
            **params: sample_weight and groups, as in scikit-learn.

        Raises:
            TypeError: the estimator is no network of regjax, and does not end in one.
            ValueError: invalid parameters or data; all fits failed.
        """
        self._validate_params()
        network_of(self.estimator)
        X, y = indexable(X, y)
        # scikit-learn's `fit` runs on a copy of the search. Each clone of the estimator that it makes there,
        # to fit it on a fold, is a network that the sweep has trained.
        run = copy.copy(self)
        run.cv = splitter = cast(Any, check_cv(self.cv, y, classifier=is_classifier(self.estimator)))
        # One process, because the fits are done; no lines of its own.
        run.n_jobs, run.verbose = 1, 0
        routed = self._get_routed_params_for_fit(_check_method_params(X, params=params))
        # Once, because a splitter may draw others the next time.
        splits = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(X, y, **routed.splitter.split)]
        run._work = Work(self, X, y, splits, dict(routed.estimator.fit))
        run.estimator = copy.copy(self.estimator)
        run.estimator.__sklearn_clone__ = functools.partial(next, run._clones())
        cast(Any, super(_Search, run)).fit(X, y, **params)
        del run.estimator.__sklearn_clone__
        vars(self).update({n: v for n, v in vars(run).items() if n.endswith("_") and not n.startswith("_")})
        return self

    def _clones(self: Any) -> Iterator[Any]:
        """Yields the estimators that replace the clones of scikit-learn's `fit`, in its order."""
        # First the estimator of which all others are clones.
        yield self.estimator
        # Then one for each candidate, seed and fold. All are trained when the first is asked for.
        found, self.results_ = train_candidates(self._work, self._candidates)
        seeds = range(self.n_seeds)
        self._trained = [fold[seed] for folds in found for seed in seeds for fold in folds]
        for estimator, error, _ in self._trained:
            yield _Trained(self.estimator if estimator is None else estimator, error)
        # Last those that are fitted: the best candidate, on all samples.
        while True:
            yield clone(self._work.search.estimator)

    # scikit-learn hands its callbacks to a search that names `callback_ctx`, which this one does not.
    def _run_search(self: Any, evaluate_candidates: Callable[..., Any], **_: Any) -> None:
        """Hands the candidates to scikit-learn, each once for every seed."""
        self._candidates: list[dict[str, Any]] = list(self._drawn())
        splits = self._work.splits
        if self._work.search.verbose:
            print(
                f"Fitting {len(splits)} folds for each of {len(self._candidates)} candidates, totalling "
                f"{len(splits) * len(self._candidates) * self.n_seeds} fits"
            )
        seeded = [candidate for candidate in self._candidates for _ in range(self.n_seeds)]
        evaluate_candidates(seeded, cv=_Splits(splits))

    def _format_results(
        self: Any, candidate_params: list[Any], n_splits: int, out: list[dict[str, Any]], more_results=None
    ) -> dict[str, Any]:
        """Returns scikit-learn's `cv_results_`, of means over seeds; writes `seed_scores_`.

        `candidate_params` has each candidate once per seed, `out` a dict per candidate, seed and fold.
        """
        trained: list[Trained] = self._trained
        for result, (_, _, seconds) in zip(out, trained, strict=True):
            result["fit_time"] = seconds
        # The position in `out` of each candidate, fold and seed.
        positions = np.arange(len(out)).reshape(-1, self.n_seeds, n_splits).swapaxes(1, 2)
        scores = [result["test_scores"] for result in out]
        if isinstance(scores[0], dict):
            self.seed_scores_ = {name: np.array([s[name] for s in scores])[positions] for name in scores[0]}
        else:
            self.seed_scores_ = np.array(scores, float)[positions]
        means = [_mean([out[i] for i in cell]) for cell in positions.reshape(-1, self.n_seeds)]
        return cast(Any, super())._format_results(
            candidate_params[:: self.n_seeds], n_splits, means, more_results
        )


def _mean(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns one result of scikit-learn's fits from those of the seeds: scores and times are means."""
    found = dict(results[0])
    for key in ("test_scores", "train_scores", "fit_time", "score_time"):
        values = [result[key] for result in results if key in result]
        if values and isinstance(values[0], dict):
            found[key] = {name: float(np.mean([v[name] for v in values])) for name in values[0]}
        elif values:
            found[key] = float(np.mean(values))
    return found


_OWN_CONSTRAINTS: dict[str, Any] = {
    "n_seeds": [Interval(Integral, 1, None, closed="left")],
    "store": [str, os.PathLike, None],
}


def _extended(parent: type) -> Any:
    """Returns the `__init__` of a search: its parent's parameters, then `n_seeds` and `store`."""
    init: Any = parent.__init__

    def __init__(self: Any, *args: Any, n_seeds: int = 1, store: Any = None, **params: Any) -> None:
        init(self, *args, **params)
        self.n_seeds = n_seeds
        self.store = store

    # scikit-learn and help read an estimator's parameters from its signature.
    own = [inspect.signature(__init__).parameters[name] for name in ("n_seeds", "store")]
    signature = inspect.signature(init)
    cast(Any, __init__).__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])
    return __init__


class RegGridSearchCV(_Search, GridSearchCV):
    """scikit-learn's `GridSearchCV` for regjax's networks: all candidates are trained at once.

    The parameters are scikit-learn's, and two more; these differ:

    Args:
        estimator: a `RegMLPClassifier` or `RegMLPRegressor`, or a Pipeline that ends in one. The steps before
            it are fitted once per fold, and per distinct setting of them.
        n_jobs: tasks at a time; None takes a thread per core.
        refit: as in scikit-learn; `regjax.one_se()` takes the simplest within one standard error of the best.
        verbose: above 0 shows a bar on a terminal.
        pre_dispatch: is not used.
        error_score: as in scikit-learn; a network that diverges has failed.
        n_seeds: networks per candidate and fold. `split{i}_…` are means over them, `std_test_score` is over
            folds, `seed_scores_` has all.
        store: path of a run store, see `regjax.sweep`: a network that it holds is not trained again.

    Attributes:
        cv_results_: scikit-learn's keys. `mean_fit_time` is a network's share of the time of its chunk.
        seed_scores_: test scores, `(candidates, folds, seeds)`; with several scorers, a mapping by name.
        results_: the `regjax.Results` of the sweep, for its tables and plots. None where the candidates took
            several sweeps: they differ in the steps before the network, or in max_iter, learning_rate,
            shuffle, early_stopping, class_weight, dtype or random_state.

    With a whole number as random_state the networks and scores are scikit-learn's, to rounding; the seeds are
    random_state, random_state + 1, …. There are two exceptions: with `early_stopping` all candidates of a
    fold watch the same samples; and with sample weights alpha is divided by their mean over all samples, not
    over those of a fold.

    Raises:
        TypeError: by `fit`, where the estimator is no network of regjax and does not end in one.

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

    __init__: Any = _extended(GridSearchCV)

    def _drawn(self) -> Iterable[dict[str, Any]]:
        return ParameterGrid(self.param_grid)


class RegRandomizedSearchCV(_Search, RandomizedSearchCV):
    """scikit-learn's `RandomizedSearchCV` for regjax's networks: all candidates are trained at once.

    The parameters are scikit-learn's, and `n_seeds` and `store`, with what differs as in `RegGridSearchCV`;
    so are the attributes.

    Example:
        >>> import regjax
        >>> import scipy.stats
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((8,), tol=0.01, max_iter=500)
        >>> draws = {"alpha": scipy.stats.loguniform(1e-3, 1), "dropout": [0, 0.2]}
        >>> search = regjax.RegRandomizedSearchCV(network, draws, n_iter=3, cv=3, random_state=0)
        >>> search.fit(X, y).cv_results_["mean_test_score"].shape
        (3,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **RandomizedSearchCV._parameter_constraints,
        **_OWN_CONSTRAINTS,
    }

    __init__: Any = _extended(RandomizedSearchCV)

    def _drawn(self) -> Iterable[dict[str, Any]]:
        return ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state)
