"""Metrics against scikit-learn, with weights, ties and samples that are not there."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

from regjax.core.metrics import metrics


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("ties", [False, True])
def test_of_classes(num_outputs, ties, x64):
    rng = np.random.default_rng(num_outputs)
    n = 80
    z = rng.standard_normal((num_outputs, n))
    z = np.round(z) if ties and num_outputs == 1 else z
    y = rng.integers(0, max(2, num_outputs), (1, n)).astype(np.int32)
    w = rng.random(n) * (rng.random(n) > 0.3)
    z[:, w == 0] = np.inf
    loss = "sigmoid_cross_entropy" if num_outputs == 1 else "softmax_cross_entropy"
    found = metrics(jnp.asarray(z), jnp.asarray(y), jnp.asarray(w), loss=loss)
    there = w > 0
    z, y, w = z[:, there], y[0, there], w[there]
    p = np.exp(z) / np.exp(z).sum(axis=0)
    score = z[0] if num_outputs == 1 else p.T
    labels = (z[0] > 0).astype(int) if num_outputs == 1 else z.argmax(axis=0)
    options = {"sample_weight": w}
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, labels, **options))
    assert found["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(y, labels, **options)
    )
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y, score, multi_class="ovr", **options))


def test_of_real_targets(x64):
    rng = np.random.default_rng(0)
    z, y, w = rng.standard_normal((2, 30)), rng.standard_normal((2, 30)), rng.random(30)
    found = metrics(jnp.asarray(z), jnp.asarray(y), jnp.asarray(w), loss="squared_error")
    assert found["r2"] == pytest.approx(reference.r2_score(y.T, z.T, sample_weight=w))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(y.T, z.T, sample_weight=w))
