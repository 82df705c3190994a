"""Metrics against scikit-learn, with weights, ties and samples that are not there."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

from regjax.core.metrics import finite_r2, metrics


@pytest.mark.sampled(1)
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


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("weighted", [False, True])
def test_r2_of_early_stopping_is_scikit_learns(weighted, x64):
    rng = np.random.default_rng(0)
    y = np.stack([rng.standard_normal(30), np.zeros(30), np.full(30, 2.0), np.full(30, -4.0)])
    z = np.stack([y[0] + 0.1, np.zeros(30), np.full(30, 2.0 + 1e-8), rng.standard_normal(30)])
    w = rng.random(30) * (rng.random(30) > 0.5) if weighted else np.ones(30)
    for outputs in (slice(0, 1), slice(1, 2), slice(2, 3), slice(0, 4)):
        expected = reference.r2_score(y[outputs].T, z[outputs].T, sample_weight=w)
        found = finite_r2(*map(jnp.asarray, (z[outputs], y[outputs], w)))
        assert found == pytest.approx(expected, rel=1e-12)
    # Targets that do not vary among the samples that count.
    y[0] = np.where(w > 0, 7.0, y[0])
    assert finite_r2(*map(jnp.asarray, (z[:1], y[:1], w))) == 0
    z[0, np.argmax(w > 0)] = np.inf
    assert np.isnan(finite_r2(*map(jnp.asarray, (z[:1], y[:1], w))))
    # Their mean rounds, and leaves a spread that is not 0.
    y = jnp.full((1, 6), 0.1)
    assert float(finite_r2(y + 1, y, jnp.ones(6))) == 0
    # A sweep's own record stays undefined.
    found = metrics(jnp.ones((1, 6)), jnp.zeros((1, 6)), jnp.ones(6), loss="squared_error")
    assert np.isnan(found["r2"])


def test_of_several_labels(x64):
    rng = np.random.default_rng(1)
    z, y, w = rng.standard_normal((3, 40)), rng.integers(0, 2, (3, 40)).astype(np.int32), rng.random(40)
    y[:, :20] = z[:, :20] > 0
    found = metrics(*map(jnp.asarray, (z, y, w)), loss="multilabel_cross_entropy")
    assert set(found) == {"loss", "accuracy"}
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y.T, z.T > 0, sample_weight=w))
    p = 1 / (1 + np.exp(-z))
    own = [reference.log_loss(y[k], p[k], sample_weight=w) for k in range(3)]
    assert found["loss"] == pytest.approx(sum(own))
