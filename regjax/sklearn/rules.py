"""Rules by which a search chooses the candidate that it refits.

A user hands one to a search as `refit`, and the search calls it with its `cv_results_`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from regjax.core.hparams import HYPERPARAMETERS
from regjax.study.selection import SIMPLER, choose


def one_se(metric: str = "score") -> Callable[[Mapping[str, Any]], int]:
    """Returns a rule for a search's `refit`: the simplest candidate within one standard error of the best.

    The standard error is that of the best candidate's mean over folds, s/√folds. Simplest is: fewer hidden
    units, then larger l1, larger alpha, larger dropout, and so on in the order of `Results.best`; other
    parameters never count, and ties go to the better mean.

    Args:
        metric: one of the search's `scoring`, where it has several; "score" where it has one.

    Raises:
        ValueError: by the rule, where the search has no such metric.

    References:
        Breiman et al. 1984, §3.4.3; Hastie, Tibshirani, Friedman, ESL §7.10.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((8,), tol=0.01, max_iter=500, random_state=0)
        >>> search = regjax.RegGridSearchCV(network, {"alpha": [0.01, 0.02]}, refit=regjax.one_se())
        >>> search.fit(X, y).best_params_
        {'alpha': 0.02}
    """

    def chosen(results: Mapping[str, Any]) -> int:
        # scikit-learn calls the scores of a single metric "score", whatever it is.
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


def _simplicity(parameters: Mapping[str, Any]) -> tuple[float, ...]:
    """Returns a sort key of a candidate's parameters: smaller is simpler."""
    # Without the names of the steps of a Pipeline.
    named = {key.rsplit("__", 1)[-1]: value for key, value in parameters.items()}
    key = [float(np.sum(named.get("hidden_layer_sizes", ())))]
    for name, larger in SIMPLER:
        declared = HYPERPARAMETERS.get(name)
        if declared is None or not declared.sklearn:
            continue
        value = named.get(declared.sklearn)
        size = float(np.mean(cast(Any, declared.off if value is None else declared.from_sklearn(value))))
        key.append(-size if larger else size)
    return tuple(key)
