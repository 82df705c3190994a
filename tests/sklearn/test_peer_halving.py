"""scikit-learn's tests of successive halving, `model_selection/tests/test_successive_halving.py`."""

import pytest
from peer_tests import run_with

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
