"""scikit-learn's tests of its networks, `neural_network/tests/test_mlp.py`, on the estimators."""

import pytest
from peer_tests import expecting, mark, run_with

import regjax

# scikit-learn's tests expect warnings, and let others pass.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

DIFFERENCES = {
    "test_gradient": "calls _loss_grad_lbfgs; the core's tests have the gradients' own",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate; test_peer_random.py has its effect",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate; test_peer_random.py has its effect",
}

run_with(
    {"MLPClassifier": regjax.RegMLPClassifier, "MLPRegressor": regjax.RegMLPRegressor},
    "sklearn.neural_network.tests.test_mlp",
    globals(),
)
# What these take, the others show too.
mark(globals(), pytest.mark.nightly, [
    "test_mlp_classifier_dtypes_casting",
    "test_mlp_regressor_dtypes_casting",
    "test_partial_fit_classification",
    "test_mlp_loading_from_joblib_partial_fit",
    "test_multilabel_classification",
    "test_mlp_sample_weight_with_early_stopping",
    "test_mlp_warm_start_with_early_stopping",
])  # fmt: skip
mark(globals(), pytest.mark.sampled(1), [
    "test_mlp_warm_start_no_convergence",
    "test_early_stopping",
    "test_preserve_feature_names",
])  # fmt: skip
expected = expecting(DIFFERENCES)


@pytest.fixture
def global_random_seed() -> int:
    """scikit-learn's conftest has it, and this number by default."""
    return 42
