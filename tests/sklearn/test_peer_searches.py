"""scikit-learn's tests of its searches, `model_selection/tests/test_search.py`, on the searches.

The halving searches in it are scikit-learn's.
"""

import pytest
from peer_tests import expecting, run_with

import regjax

# scikit-learn's tests are written for Python's own filters.
pytestmark = pytest.mark.filterwarnings("default")

DIFFERENCES: dict[str, str] = {}

run_with(
    {"GridSearchCV": regjax.RegGridSearchCV, "RandomizedSearchCV": regjax.RegRandomizedSearchCV},
    "sklearn.model_selection.tests.test_search",
    globals(),
)
expected = expecting(DIFFERENCES)
