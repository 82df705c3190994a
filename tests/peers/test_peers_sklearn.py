"""The same weights out of scikit-learn's MLPClassifier: L2, from its own `coefs_` and batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

import regjax
from regjax.core.data import Data
from regjax.core.dropout import Masks
from regjax.core.gradients import gradient
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Layer
from regjax.core.objective import BatchSizes

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.slow]


@pytest.mark.nightly
@pytest.mark.sampled(1)
@pytest.mark.parametrize("batch_size", [60, 20])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_l2(batch_size, activation):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), rng.integers(0, 3, 60)
    alpha, rate = 0.8, 0.1
    peer = MLPClassifier(
        (7, 5), activation=activation, solver="sgd", alpha=alpha, batch_size=batch_size,
        learning_rate_init=rate, momentum=0, nesterovs_momentum=False, shuffle=False, random_state=0,
    )  # fmt: skip
    peer.partial_fit(X, y, classes=[0, 1, 2])
    layers = zip(peer.coefs_, peer.intercepts_, strict=True)
    params = tuple(Layer(jnp.asarray(w.T), jnp.asarray(b[:, None])) for w, b in layers)
    config = regjax.Config(layer_sizes=(4, 7, 5, 3), dtype="float64", activation=activation)
    # It divides alpha by the rows of the batch.
    hparams = check_hparams(config, HParams(l2=alpha * 60 / batch_size))
    sizes = BatchSizes(float(batch_size), 60.0)
    for _ in range(20):
        peer.partial_fit(X, y)
        for first in range(0, 60, batch_size):
            rows = slice(first, first + batch_size)
            batch = Data(jnp.asarray(X[rows].T), jnp.asarray(y[None, rows]), jnp.ones(batch_size))
            _, grads = gradient(params, hparams, batch, Masks(None), None, config=config, sizes=sizes)
            params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
    for layer, w, b in zip(params, peer.coefs_, peer.intercepts_, strict=True):
        np.testing.assert_allclose(layer.w, w.T, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.b[:, 0], b, rtol=1e-9, atol=1e-12)
