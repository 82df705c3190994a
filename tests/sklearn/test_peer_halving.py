"""scikit-learn's tests of successive halving, `model_selection/tests/test_successive_halving.py`."""

import pytest
from peer_tests import mark, run_with

import regjax

# scikit-learn's tests expect warnings, and let others pass.
pytestmark = pytest.mark.filterwarnings("ignore")

run_with(
    {
        "HalvingGridSearchCV": regjax.RegHalvingGridSearchCV,
        "HalvingRandomSearchCV": regjax.RegHalvingRandomSearchCV,
    },
    "sklearn.model_selection.tests.test_successive_halving",
    globals(),
)
mark(globals(), pytest.mark.sampled(3), [
    "test_aggressive_elimination",
    "test_n_iterations",
    "test_min_max_resources",
    "test_random_search",
    "test_cv_results",
])  # fmt: skip
