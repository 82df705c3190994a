"""`RegHalvingGridSearchCV`, `RegHalvingRandomSearchCV`: scikit-learn's successive halving, trained together.

scikit-learn's own code runs the iterations; in each, the networks of all candidates and folds are trained at
once before it asks for them, as in the searches of search.py. Users make the searches; `import regjax` has
both, and `sklearn.experimental.enable_halving_search_cv` need not be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV

from regjax.sklearn.candidates import Trainer
from regjax.sklearn.rungs import MAX_ITER, Rungs
from regjax.sklearn.search import OWN_CONSTRAINTS, Search, extended


class _Halving(Search):
    """What both halving searches have beside scikit-learn's."""

    def _trainer(self: Any) -> Trainer:
        # A store keeps the rows of sweeps, and a sweep ends at the last step of its rows: with one, each
        # iteration is a sweep of its own.
        goes_on = self.resource.rpartition("__")[2] == MAX_ITER and self.store is None
        return Rungs(self) if goes_on else Trainer()

    @staticmethod
    def _select_best_index(refit: Any, refit_metric: str, results: Mapping[str, Any]) -> int:
        """Returns the best candidate of the last iteration in which any has a score.

        scikit-learn takes the first candidate of the last iteration where none of them has a score.
        """
        scores, iterations = results["mean_test_score"], results["iter"]
        scored = np.flatnonzero(~np.isnan(scores))
        if not len(scored):  # nothing tells them apart: the first of the last iteration, as in scikit-learn
            return int(np.argmax(iterations == iterations.max()))
        last = scored[iterations[scored] == iterations[scored].max()]
        return last[np.argmax(scores[last])]


class RegHalvingGridSearchCV(_Halving, HalvingGridSearchCV):
    """scikit-learn's `HalvingGridSearchCV` for regjax's networks: all of an iteration are trained at once.

    All candidates begin with few resources; of each iteration one in `factor` goes on with `factor` times as
    many. The parameters are scikit-learn's, and `n_seeds` and `store`, with what differs as in
    `RegGridSearchCV`; these differ too:

    Args:
        resource: as in scikit-learn. With "max_iter", or "network__max_iter" where a Pipeline has that step,
            networks trained by sgd or adam go on from where they stand, and are the same as those that
            scikit-learn trains afresh. With "n_samples", with "lbfgs", inside another estimator and with a
            `store` each iteration trains afresh.
        store: as in `RegGridSearchCV`; each iteration is a sweep of its own.

    Attributes:
        cv_results_: scikit-learn's keys, `iter` and `n_resources` among them. `mean_fit_time` is the time of
            a network since its first step, where it goes on.
        n_resources_: resources of each iteration.
        n_candidates_: number of candidates of each iteration.
        n_iterations_: number of iterations; also `n_required_iterations_`, `n_possible_iterations_`,
            `n_remaining_candidates_`, `min_resources_` and `max_resources_`, as in scikit-learn.
        results_: None, unless there was one iteration, which is a sweep.

    The best candidate is that of the last iteration in which any has a score, so that one whose score is NaN
    never wins over one that has a score; scikit-learn takes one of the last iteration even then.

    Raises:
        ValueError: by `fit`, invalid parameters or data; all fits of an iteration failed.

    References:
        Jamieson & Talwalkar 2016; Li et al. 2018.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((8,), random_state=0)
        >>> grid = {"alpha": [0.01, 0.1, 1], "learning_rate_init": [0.001, 0.01, 0.1]}
        >>> search = regjax.RegHalvingGridSearchCV(network, grid, resource="max_iter", max_resources=90, cv=3)
        >>> search.fit(X, y).n_resources_, search.n_candidates_
        ([10, 30, 90], [9, 3, 1])
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **HalvingGridSearchCV._parameter_constraints,
        **OWN_CONSTRAINTS,
    }

    __init__: Any = extended(HalvingGridSearchCV)


class RegHalvingRandomSearchCV(_Halving, HalvingRandomSearchCV):
    """scikit-learn's `HalvingRandomSearchCV` for regjax's networks: all of an iteration are trained at once.

    The parameters are scikit-learn's, and `n_seeds` and `store`, with what differs as in
    `RegHalvingGridSearchCV`; so are the attributes.

    Example:
        >>> import regjax
        >>> import scipy.stats
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((8,), learning_rate_init=0.01, random_state=0)
        >>> draws = {"alpha": scipy.stats.loguniform(1e-3, 1), "dropout": [0, 0.2]}
        >>> search = regjax.RegHalvingRandomSearchCV(
        ...     network, draws, resource="max_iter", min_resources=10, max_resources=90, cv=3, random_state=0
        ... )
        >>> search.fit(X, y).n_candidates_
        [9, 3, 1]
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **HalvingRandomSearchCV._parameter_constraints,
        **OWN_CONSTRAINTS,
    }

    __init__: Any = extended(HalvingRandomSearchCV)
