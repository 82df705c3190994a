import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

import regjax
from regjax.core.convert import l2_elsewhere
from regjax.core.objective import BatchSizes

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
KEY = regjax.replicate_key(0)


def fit(y, l2, **options):
    config = regjax.Config(
        layer_sizes=(3, 1), num_steps=20_000, eval_every=20_000, dtype="float64", **options
    )
    return regjax.make_train(config)(KEY, regjax.HParams(0.2, l2=l2), regjax.Data.from_arrays(X, y)).params[0]


@pytest.mark.slow
def test_ridge():
    y = X @ [1.0, 2.0, -1.0] + RNG.standard_normal(60)
    theirs = Ridge(alpha=l2_elsewhere(3.0, 60)["sklearn.Ridge.alpha"]).fit(X, y)
    np.testing.assert_allclose(fit(y, 3.0).w[0], theirs.coef_, rtol=1e-9)


def test_logistic_regression():
    y = (X @ [1.0, 2.0, -1.0] + RNG.standard_normal(60) > 0).astype(int)
    theirs = LogisticRegression(C=l2_elsewhere(3.0, 60)["sklearn.LogisticRegression.C"], tol=1e-10).fit(X, y)
    np.testing.assert_allclose(fit(y, 3.0).w, theirs.coef_, rtol=1e-6)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, 20])
def test_sklearn_mlp_and_optax_take_the_same_step(batch_size, x64):
    """One step of plain sgd from scikit-learn's own start, on the same batch."""
    y, count = (X[:, 0] > 0).astype(int), batch_size or 60
    elsewhere = l2_elsewhere(6.0, 60, batch_size=batch_size)
    options = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1, "shuffle": False, "max_iter": 1}
    theirs = MLPClassifier(
        (4,), batch_size=count, alpha=elsewhere["sklearn.MLP.alpha"], random_state=0, **options
    )
    theirs.partial_fit(X[:count], y[:count], classes=[0, 1])
    start = MLPClassifier(
        (4,), batch_size=count, alpha=0, random_state=0, **{**options, "learning_rate_init": 1e-300}
    )
    start.partial_fit(X[:count], y[:count], classes=[0, 1])
    params = tuple(
        regjax.Layer(jnp.asarray(w.T), jnp.asarray(b)[:, None])
        for w, b in zip(start.coefs_, start.intercepts_, strict=True)
    )
    config = regjax.Config(layer_sizes=(3, 4, 1), dtype="float64")
    data = jax.tree.map(jnp.asarray, regjax.Data.from_arrays(X[:count], y[:count]))
    sizes = BatchSizes(float(count), 60.0)
    _, grads, _ = regjax.cost_and_grads(params, regjax.HParams(l2=6.0), data, config=config, sizes=sizes)
    for ours, layer, w in zip(grads, params, theirs.coefs_, strict=True):
        np.testing.assert_allclose(layer.w - 0.1 * ours.w, w.T, rtol=1e-9, atol=1e-12)
    decay = elsewhere["optax.add_decayed_weights"]
    mask = tuple(regjax.Layer(w=True, b=False) for _ in params)  # type: ignore[arg-type]
    optimizer = optax.chain(optax.add_decayed_weights(decay, mask=mask), optax.sgd(0.1))
    _, plain, _ = regjax.cost_and_grads(params, regjax.HParams(), data, config=config, sizes=sizes)
    updates, _ = optimizer.update(plain, optimizer.init(params), params)
    jax.tree.map(lambda u, g: np.testing.assert_allclose(u, -0.1 * g, rtol=1e-9, atol=1e-14), updates, grads)


def test_the_remaining_factors():
    # Keras adds c·Σ W², so c = l2/(2n); PyTorch adds weight_decay·W to the gradient, so l2/n.
    found = l2_elsewhere(0.8, 100)
    assert found["keras.regularizers.L2"] == pytest.approx(0.004)
    assert found["torch.SGD.weight_decay"] == pytest.approx(0.008)
    assert l2_elsewhere(0, 100)["sklearn.LogisticRegression.C"] == float("inf")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((-1, 10), {}, "l2 must be a finite number >= 0 in float32, got -1"),
        ((1, 0), {}, "num_train must be at least 1, got 0"),
        ((1, 10), {"batch_size": 11}, "batch_size must be at most num_train = 10, got 11"),
    ],
)
def test_bad_values(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        l2_elsewhere(*arguments, **options)
