"""scikit-learn's tests of its searches, `model_selection/tests/test_search.py`, on the searches."""

import pytest
from peer_tests import mark, run_with

import regjax

# scikit-learn's tests expect warnings, and let others pass.
pytestmark = pytest.mark.filterwarnings("ignore")

run_with(
    {
        "GridSearchCV": regjax.RegGridSearchCV,
        "RandomizedSearchCV": regjax.RegRandomizedSearchCV,
        "HalvingGridSearchCV": regjax.RegHalvingGridSearchCV,
        "HalvingRandomSearchCV": regjax.RegHalvingRandomSearchCV,
    },
    "sklearn.model_selection.tests.test_search",
    globals(),
)
mark(globals(), pytest.mark.slow, [
    "test_unsupervised_grid_search",
    "test_unsupported_sample_weight_scorer",
    "test_search_html_repr",
])  # fmt: skip
mark(globals(), pytest.mark.nightly, [
    "test_search_with_2d_array",
    "test_search_cv_sample_weight_equivalence",
    "test_n_features_in",
    "test_random_search_cv_results_multimetric",
    "test_cv_results_dtype_issue_29074",
    "test_cv_results_multi_size_array",
])  # fmt: skip
# The array API's packages are optional.
del globals()["test_array_api_search_cv_classifier"]
