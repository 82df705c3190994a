"""`RegGridSearchCV`, `RegRandomizedSearchCV`: scikit-learn's searches, all candidates trained at once.

scikit-learn's own `fit` makes folds, scores, ranks and refits; running.py hands it the networks, which are
trained before. Users make the searches; `import regjax` has both.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from numbers import Integral
from typing import Any, cast

import numpy as np
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.utils._param_validation import Interval

from regjax.sklearn.candidates import Trainer
from regjax.sklearn.running import Running, has_networks


class Search:
    """What every search has beside scikit-learn's class, which stands after it among the bases."""

    results_: Any
    seed_scores_: Any

    def fit(self: Any, X: Any, y: Any = None, **params: Any) -> Any:
        """Returns the search after training all candidates on all folds, and the best on all samples.

        Args:
            X: `(n_samples, n_features)`, or what the estimator takes.
            y: targets.
            **params: sample_weight and groups, as in scikit-learn.

        Raises:
            ValueError: invalid parameters or data; all fits failed.
        """
        self._running = Running(self)
        for name in ("results_", "seed_scores_", "num_recalled_"):
            vars(self).pop(name, None)
        try:
            cast(Any, super()).fit(X, y, **params)
            if results := self._running.results:
                self.results_ = results[0] if len(results) == 1 else None
        finally:
            self._running.end()
            del self._running
        return self

    def __getstate__(self) -> Any:
        return {n: v for n, v in cast(Any, super()).__getstate__().items() if n != "_running"}

    def _trainer(self) -> Trainer:
        """Returns what trains the candidates that can be rows of a sweep."""
        return Trainer()

    # scikit-learn's `fit` calls the following.

    def _get_routed_params_for_fit(self: Any, params: Any) -> Any:
        self._running.routed = cast(Any, super())._get_routed_params_for_fit(params)
        return self._running.routed

    def _check_input_parameters(self: Any, X: Any, y: Any, split_params: Any) -> None:
        cast(Any, super())._check_input_parameters(X, y, split_params)
        if has_networks(self):
            self._running.begin(X, y)
        elif self.n_seeds > 1 or self.store is not None:
            asked = f"n_seeds={self.n_seeds}" if self.n_seeds > 1 else "store"
            raise ValueError(f"estimator must hold a network of regjax with {asked}, got {self.estimator}")

    def _run_search(self: Any, evaluate_candidates: Callable[..., Any], *, callback_ctx: Any = None) -> None:
        if self._running.work is not None:
            evaluate_candidates = self._running.evaluating(evaluate_candidates)
        cast(Any, super())._run_search(evaluate_candidates, callback_ctx=callback_ctx)
        self._running.alone.close()

    def _format_results(
        self: Any,
        candidate_params: list[Any],
        n_splits: int,
        out: list[dict[str, Any]],
        more_results: Any = None,
    ) -> dict[str, Any]:
        """Returns scikit-learn's `cv_results_`, of means over seeds; writes `seed_scores_`.

        `candidate_params` has each candidate once per seed, `out` a dict per candidate, seed and fold.
        """
        running = self._running
        if running.work is None:
            return cast(Any, super())._format_results(candidate_params, n_splits, out, more_results)
        running.tell(candidate_params, n_splits, out)
        # The position in `out` of each candidate, fold and seed.
        seeds = running.num_seeds
        positions = np.arange(len(out)).reshape(-1, seeds, n_splits).swapaxes(1, 2)
        scores = [result["test_scores"] for result in out]
        if isinstance(scores[0], dict):
            self.seed_scores_ = {name: np.array([s[name] for s in scores])[positions] for name in scores[0]}
        else:
            self.seed_scores_ = np.array(scores, float)[positions]
        means = [_mean([out[i] for i in cell]) for cell in positions.reshape(-1, seeds)]
        return cast(Any, super())._format_results(candidate_params[::seeds], n_splits, means, more_results)


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


# What scikit-learn checks of the parameters that the searches have beside its own.
OWN_CONSTRAINTS: dict[str, Any] = {
    "n_seeds": [Interval(Integral, 1, None, closed="left")],
    "store": [str, os.PathLike, None],
}


def extended(parent: type, **own: Any) -> Any:
    """Returns the `__init__` of a search: its parent's parameters, then its own.

    Args:
        parent: scikit-learn's class.
        **own: default of each own parameter; n_seeds and store where none is named. One that the parent has
            too gets another default.
    """
    init: Any = parent.__init__
    defaults = own or {"n_seeds": 1, "store": None}

    def __init__(self: Any, *args: Any, **params: Any) -> None:
        values = {name: params.pop(name, default) for name, default in defaults.items()}
        init(self, *args, **params)
        for name, value in values.items():
            setattr(self, name, value)

    # scikit-learn and help read an estimator's parameters from its signature.
    signature = inspect.signature(init)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in defaults]
    more = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in defaults.items()]
    cast(Any, __init__).__signature__ = signature.replace(parameters=[*kept, *more])
    return __init__


class RegGridSearchCV(Search, GridSearchCV):
    """scikit-learn's `GridSearchCV` for regjax's networks: all candidates are trained at once.

    The parameters are scikit-learn's, and two more; these differ:

    Args:
        estimator: any estimator. A `RegMLPClassifier` or `RegMLPRegressor`, alone or at the end of a
            Pipeline, is trained for all candidates at once; the steps before it are fitted once per fold and
            per distinct setting of them. So is a network inside another estimator, such as a
            `OneVsRestClassifier`. What has no network in it scikit-learn fits.
        n_jobs: tasks at a time; None takes a thread per core. Where there are networks, candidates without
            one are fitted one after the other.
        refit: as in scikit-learn; `regjax.one_se()` takes the simplest within one standard error of the best.
        verbose: as in scikit-learn, and above 0 a bar on a terminal. A line's time is the network's share of
            the time of its chunk.
        n_seeds: networks per candidate and fold. `split{i}_…` are means over them, `std_test_score` is over
            folds, `seed_scores_` has all.
        store: path of a run store, see `regjax.sweep`: a network that it holds is not trained again. It keeps
            the rows of a sweep.

    Attributes:
        cv_results_: scikit-learn's keys. `mean_fit_time` is a network's share of the time of its chunk.
        seed_scores_: test scores, `(candidates, folds, seeds)`; with several scorers, a mapping by name.
        results_: the `regjax.Results` of the sweep, for its tables and plots. None where the candidates took
            several sweeps, since they differ in the steps before the network, or in max_iter, learning_rate,
            shuffle, class_weight, dtype or random_state, with early stopping also in hidden_layer_sizes; or
            where some are no rows of a sweep: with sample weights, solver="lbfgs", several labels per sample,
            a network inside another estimator, folds that lack a class, repeat samples, mean batches of
            several sizes, or list the training samples of batches in another order than theirs.
        num_recalled_: number of networks that the store held.

    With a whole number as random_state the networks and scores are scikit-learn's, to rounding; the seeds are
    random_state, random_state + 1, ….

    Raises:
        ValueError: by `fit`, invalid parameters or data; all fits failed.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((8,), tol=0.01, max_iter=500)
        >>> search = regjax.RegGridSearchCV(network, {"alpha": [0.01, 1], "dropout": [0, 0.2]}, cv=3)
        >>> search.fit(X, y).cv_results_["mean_test_score"].shape
        (4,)
    """

    _parameter_constraints: dict[str, Any] = {**GridSearchCV._parameter_constraints, **OWN_CONSTRAINTS}  # noqa: RUF012

    __init__: Any = extended(GridSearchCV)


class RegRandomizedSearchCV(Search, RandomizedSearchCV):
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
        **OWN_CONSTRAINTS,
    }

    __init__: Any = extended(RandomizedSearchCV)
