import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.losses import LOSSES
from regjax.core.mlp import init_params
from regjax.research.output_noise import dropconnect_ensemble, gaussian_ensemble
from regjax.research.subnetworks import ensemble

pytestmark = pytest.mark.slow


def network(sizes, loss="auto", dtype="float64", scale=2.0, n=3):
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda w: scale * w + 0.1, init_params(jax.random.key(2), sizes, dtype=dtype))
    x = rng.standard_normal((sizes[0], n))
    real = loss in ("squared_error", "poisson")
    outputs = 1 if loss in ("auto", "softmax_cross_entropy") else sizes[-1]
    y = rng.integers(0, 2, (outputs, n)).astype(float if real else int)
    return Config(layer_sizes=sizes, loss=loss, dtype=dtype), params, Data(x, y, np.ones(n))


def normal_law(params, x, sigma):
    """Returns mean and standard deviation of each logit, `(n_outputs, n)`."""
    a = np.asarray(x)
    for w, b in params[:-1]:
        a = np.maximum(np.asarray(w) @ a + np.asarray(b), 0)
    w, b = (np.asarray(part) for part in params[-1])
    return w @ a + b, sigma * np.sqrt(w**2 @ a**2)


def integral(f, m, s):
    """Returns E f(z), z ~ N(m, s²), by adaptive quadrature."""
    density = lambda t: f(m + s * t) * np.exp(-t * t / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    points = sorted({float(np.clip(-m / s, -11, 11)), 0.0})
    return integrate.quad(density, -12, 12, points=points, limit=500, epsabs=1e-14, epsrel=1e-13)[0]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("sizes", "loss", "scale"),
    [((2, 9, 1), "auto", 2.0), ((2, 5, 4, 1), "auto", 3.0), ((2, 9, 2), "multilabel_cross_entropy", 2.0),
     ((2, 9, 1), "auto", 3.5)],
)  # fmt: skip
def test_gaussian_dropout_is_the_integral_over_each_logit(sizes, loss, scale, x64):
    config, params, data = network(sizes, loss, scale=scale)
    sigma = 0.8 if len(sizes) == 3 else (0, 0.8)
    found = gaussian_ensemble(params, sigma, data, config=config)
    m, s = normal_law(params, data.x, 0.8)
    assert s.max() < 20
    losses = np.zeros(m.shape[1])
    for (k, i), mean in np.ndenumerate(m):
        p = integral(special.expit, mean, s[k, i])
        square = integral(lambda z, p=p: (special.expit(z) - p) ** 2, mean, s[k, i])
        losses[i] += integral(lambda z, y=data.y[k, i]: np.logaddexp(0, z) - y * z, mean, s[k, i])
        assert found.mean[k, i] == pytest.approx(p, rel=1e-12, abs=1e-14)
        assert found.variance[k, i] == pytest.approx(square, rel=1e-10, abs=1e-13)
    np.testing.assert_allclose(found.expected_loss, losses, rtol=1e-11)
    np.testing.assert_allclose(found.geometric, found.scaled, rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_the_closed_forms_are_the_integrals(loss, x64):
    config, params, data = network((2, 6, 2), loss, scale=0.7)
    found = gaussian_ensemble(params, 0.6, data, config=config)
    m, s = normal_law(params, data.x, 0.6)
    f = np.exp if loss == "poisson" else lambda z: z
    losses = np.zeros(m.shape[1])
    for (k, i), mean in np.ndenumerate(m):
        expected = integral(f, mean, s[k, i])
        square = integral(lambda z, e=expected: (f(z) - e) ** 2, mean, s[k, i])
        assert found.mean[k, i] == pytest.approx(expected, rel=1e-10, abs=1e-12)
        assert found.variance[k, i] == pytest.approx(square, rel=1e-9)

        def loss_at(z, y=data.y[k, i]):
            one = jnp.full((1, 1), y)
            return float(LOSSES[loss].f(jnp.full((1, 1), z), one)[0])

        nodes, weights = special.roots_hermitenorm(60)  # both losses are entire, so this converges fast
        terms = [w * loss_at(mean + s[k, i] * t) for t, w in zip(nodes, weights, strict=True)]
        losses[i] += sum(terms) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(found.expected_loss, losses, rtol=1e-9)


def test_without_noise_it_is_one_network(x64):
    config, params, data = network((2, 6, 1))
    found = gaussian_ensemble(params, 0.0, data, config=config)
    np.testing.assert_allclose(found.mean, found.scaled, rtol=1e-13)
    np.testing.assert_allclose(found.variance, 0, atol=1e-15)
    curve = jax.vmap(lambda s: gaussian_ensemble(params, s, data, config=config).mean)(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(curve[0], found.mean, rtol=1e-13)
    assert np.abs(curve[1] - curve[0]).max() > 0.01


def test_dropconnect_has_the_law_of_masks_on_the_last_matrix(x64):
    config, params, data = network((2, 3, 2), "squared_error")
    found = dropconnect_ensemble(params, 0.6, data, config=config)
    a = np.maximum(np.asarray(params[0].w) @ data.x + np.asarray(params[0].b), 0)
    mean, square, losses = 0, 0, 0
    for index in range(2**6):  # each weight by itself
        kept = np.array([(index >> j) & 1 for j in range(6)]).reshape(2, 3)
        p = np.prod(np.where(kept > 0, 0.6, 0.4))
        z = (np.asarray(params[1].w) * kept / 0.6) @ a + np.asarray(params[1].b)
        mean, square = mean + p * z, square + p * z * z
        losses = losses + p * 0.5 * np.sum((z - data.y) ** 2, axis=0)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.variance, square - mean**2, rtol=1e-10)
    np.testing.assert_allclose(found.expected_loss, losses, rtol=1e-12)


def test_dropconnect_per_matrix_is_dropout_on_the_last_layer(x64):
    config, params, data = network((2, 4, 3, 1))
    found = dropconnect_ensemble(params, (1, 1, 0.7), data, config=config)
    for ours, theirs in zip(found, ensemble(params, (1, 0.7), data, config=config), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("call", "value", "sizes", "loss", "words"),
    [
        (gaussian_ensemble, 0.5, (2, 4, 3), "softmax_cross_entropy", "loss must be a sum over outputs"),
        (dropconnect_ensemble, 0.5, (2, 4, 3), "softmax_cross_entropy", "loss must be a sum over outputs"),
        (
            gaussian_ensemble,
            (0.5, 0.5),
            (2, 4, 3, 1),
            "auto",
            r"sigma must be 0 for all layers but the last, got",
        ),
        (dropconnect_ensemble, (1, 0.5, 0.5), (2, 4, 3, 1), "auto", "keep_prob must be 1 for all layers but"),
        (gaussian_ensemble, -1.0, (2, 4, 1), "auto", "sigma must be a finite number >= 0 in float32, got -1"),
        (dropconnect_ensemble, 0.0, (2, 4, 1), "auto", r"keep_prob must be in \(0, 1\] in float32, got 0"),
        (gaussian_ensemble, (1.0, 1.0), (2, 4, 1), "auto", "sigma must be one value, or 1"),
        (dropconnect_ensemble, 0.5, (2, 40, 1), "auto", "most must be at least the 1,099,511,627,776"),
    ],
)
def test_what_has_no_known_law_is_refused(call, value, sizes, loss, words):
    config, params, data = network(sizes, loss, dtype="float32")
    with pytest.raises(ValueError, match=words):
        call(params, value, data, config=config)


def test_too_few_nodes_are_refused():
    config, params, data = network((2, 4, 1), dtype="float32")
    with pytest.raises(ValueError, match="num_nodes must be at least 2, got 1"):
        gaussian_ensemble(params, 0.5, data, config=config, num_nodes=1)
