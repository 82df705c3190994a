"""scikit-learn's checks of an estimator, on the estimators and on searches over them and over others.

What scikit-learn itself lists as failing for its own classes, and the settings under which it checks them,
are read from its lists. Left out are the checks of the array API, whose packages are optional.
"""

import functools
from typing import Any
from unittest import mock

import pytest
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._test_common import instance_generator as lists
from sklearn.utils.estimator_checks import parametrize_with_checks

from regjax import (
    RegGridSearchCV,
    RegHalvingGridSearchCV,
    RegHalvingRandomSearchCV,
    RegMLPClassifier,
    RegMLPRegressor,
    RegPathCV,
    RegRandomizedSearchCV,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PEERS = {
    RegMLPClassifier: MLPClassifier,
    RegMLPRegressor: MLPRegressor,
    RegGridSearchCV: GridSearchCV,
    RegRandomizedSearchCV: RandomizedSearchCV,
    RegHalvingGridSearchCV: HalvingGridSearchCV,
    RegHalvingRandomSearchCV: HalvingRandomSearchCV,
    RegPathCV: GridSearchCV,
}


def as_scikit_learn_checks(ours: type) -> list[Any]:
    """Returns the estimators with the settings under which scikit-learn checks its own class."""
    given = lists.INIT_PARAMS[PEERS[ours]]
    return [ours(**settings) for settings in (given if isinstance(given, list) else [given])]


def expected_failures(estimator: Any) -> dict[str, str]:
    """Returns the checks that scikit-learn lists as failing for its own class, and why."""
    return lists.PER_ESTIMATOR_XFAIL_CHECKS.get(PEERS[type(estimator)], {})


def checks_of(estimators: list[Any]) -> Any:
    """Returns the decorator of a test that is run for each check of each estimator."""
    own = {
        ours: lists.PER_ESTIMATOR_CHECK_PARAMS[peer]
        for ours, peer in PEERS.items()
        if peer in lists.PER_ESTIMATOR_CHECK_PARAMS
    }
    with mock.patch.dict(lists.PER_ESTIMATOR_CHECK_PARAMS, own):
        # Not strict: where scikit-learn's class fails, ours may pass.
        made = parametrize_with_checks(
            estimators, expected_failed_checks=expected_failures, xfail_strict=False
        )
    names, checks = made.args
    # An estimator takes scikit-learn a millisecond to print, and is that of dozens of checks.
    checks = [each for each in checks if "array_api" not in repr(getattr(each, "values", each)[1])]
    ids = functools.cache(made.kwargs["ids"])
    return pytest.mark.parametrize(names, checks, **{**made.kwargs, "ids": ids})


@pytest.mark.sampled(6)
@checks_of(as_scikit_learn_checks(RegMLPClassifier) + as_scikit_learn_checks(RegMLPRegressor))
def test_estimators(estimator, check):
    check(estimator)


@pytest.mark.sampled(10)
@checks_of([
    estimator
    for ours in (RegGridSearchCV, RegRandomizedSearchCV, RegHalvingGridSearchCV, RegHalvingRandomSearchCV)
    for estimator in as_scikit_learn_checks(ours)
])  # fmt: skip
def test_searches_over_other_estimators(estimator, check):
    check(estimator)


FEW = {"random_state": 0, "max_iter": 100}
GRID = {"alpha": [1e-4, 0.1]}


@pytest.mark.nightly
@checks_of([
    RegGridSearchCV(RegMLPClassifier(**FEW), GRID, cv=2),
    RegRandomizedSearchCV(RegMLPRegressor(**FEW), GRID, cv=2, n_iter=2, random_state=0),
    RegGridSearchCV(
        make_pipeline(StandardScaler(), RegMLPClassifier(**FEW)), {"regmlpclassifier__alpha": [0, 0.1]}, cv=2
    ),
    RegHalvingGridSearchCV(RegMLPClassifier(**FEW), GRID, cv=2, resource="max_iter", max_resources=100),
    RegPathCV(RegMLPClassifier(**FEW), alphas=[0.1, 1e-4], cv=2),
    RegPathCV(RegMLPRegressor(**FEW), alphas=[0.1, 1e-4], cv=2),
])  # fmt: skip
def test_searches_over_networks(estimator, check):
    check(estimator)
