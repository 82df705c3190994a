"""The objective that lbfgs minimises: the core's, whose hand-derived gradient is certified."""

import jax
import numpy as np
import pytest

from regjax import Config, HParams, RegMLPClassifier, RegMLPRegressor
from regjax.core.data import Data
from regjax.core.hparams import check_hparams
from regjax.core.mlp import Layer
from regjax.core.objective import cost_and_grads
from regjax.sklearn.lbfgs import make_problem
from regjax.sklearn.parameters import ACTIVATIONS
from regjax.sklearn.smooth import Objective, unpack


def core_objective(network, problem, y, weights, vector):
    """Returns the core's objective and its hand-derived gradient at a vector, in float64."""
    with jax.enable_x64(True):
        config = Config(
            layer_sizes=problem.sizes,
            activation=ACTIVATIONS[network.activation],
            loss=network._core_loss(),
            dtype="float64",
        )
        strengths = {"activity_l2": network.activity_l2}
        if isinstance(network, RegMLPClassifier):
            strengths["label_smoothing"] = network.label_smoothing
            strengths["confidence_penalty"] = network.confidence_penalty
        hparams = check_hparams(config, HParams(l2=network.alpha, **strengths))
        params = tuple(
            Layer(np.array(w.T), b[:, None]) for w, b in zip(*unpack(vector, problem.sizes), strict=True)
        )
        weights = np.ones(len(y)) if weights is None else weights
        value, grads, _ = cost_and_grads(params, hparams, Data(problem.x.T, y.T, weights), config=config)
        parts = [layer.w.T.ravel() for layer in grads] + [layer.b.ravel() for layer in grads]
        return float(value), np.concatenate([np.asarray(part) for part in parts])


@pytest.mark.sampled(6)
@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", ["identity", "exp", "logistic", "softmax", "several labels"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_objective_is_the_cores_whose_gradient_is_certified(activation, output, weighted):
    rng = np.random.default_rng(len(activation) + len(output))
    X = rng.standard_normal((40, 3))
    labels = rng.integers(0, 3 if output == "softmax" else 2, 40)
    own = {"activation": activation, "alpha": 0.3, "activity_l2": 0.05, "hidden_layer_sizes": (5, 4)}
    if output in ("logistic", "softmax", "several labels"):
        network = RegMLPClassifier(label_smoothing=0.1, confidence_penalty=0.2, **own)
        targets = rng.integers(0, 2, (40, 3)) if output == "several labels" else labels
    else:
        network = RegMLPRegressor("poisson" if output == "exp" else "squared_error", **own)
        targets = rng.poisson(2, 40).astype(float) if output == "exp" else rng.standard_normal(40)
    network.set_params(solver="lbfgs", random_state=0)
    weights = rng.uniform(0.5, 2, 40) if weighted else None
    X, y = network._validate(X, targets, True, False)
    problem = make_problem(network, X, y, weights, True)
    # Biases too are away from 0; the initial ones of scikit-learn are.
    value, gradient = Objective(problem)(problem.start)
    wanted, wanted_gradient = core_objective(network, problem, y, weights, problem.start)
    assert value == pytest.approx(wanted, rel=1e-13)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-11, atol=1e-15)
