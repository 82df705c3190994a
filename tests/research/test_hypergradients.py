"""Hypergradients in forward mode: against central differences, the run of `make_train`, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.dropout import dropout_mask
from regjax.core.hparams import HYPERPARAMETERS
from regjax.research.hypergradients import WITHOUT_DERIVATIVE

pytestmark = pytest.mark.slow
KEY = regjax.replicate_key(0)
TRAIN, TEST = regjax.two_regions(jax.random.key(0))


def config_of(**options):
    fields = {"num_steps": 20, "activation": "tanh", "dtype": "float64", "layer_sizes": (2, 6, 3, 1)}
    return regjax.Config(**fields | options)


def loss_of(config, hparams, test=TEST):
    return float(regjax.make_train(config)(KEY, hparams, TRAIN, test).history["test_loss"][-1])


# (hyperparameter, its value, the optimizer, other hyperparameters, other fields of the config)
SMOOTH = [
    ("learning_rate", 0.1, "sgd", {}, {}),
    ("l2", 0.7, "sgd", {}, {}),
    ("l2", 0.0, "adam", {}, {"batch_size": 32}),
    ("l1", 0.3, "sgd", {"learning_rate": 0.01}, {}),
    ("momentum", 0.8, "momentum", {"learning_rate": 0.05}, {}),
    ("momentum", 0.8, "nesterov", {"learning_rate": 0.05}, {}),
    ("b1", 0.9, "adam", {"learning_rate": 0.01}, {}),
    ("b2", 0.99, "adamw", {"learning_rate": 0.01}, {}),
    ("eps", 1e-3, "adam", {"learning_rate": 0.01}, {}),
    ("weight_decay", 0.1, "adamw", {"learning_rate": 0.01}, {}),
    ("end_fraction", 0.1, "sgd", {}, {"schedule": "cosine", "decay_steps": 20}),
    ("decay_rate", 0.3, "sgd", {}, {"schedule": "exponential", "decay_steps": 20}),
    ("l1_prox", 0.3, "sgd", {"learning_rate": 0.01}, {}),
    ("group_lasso", 0.3, "sgd", {}, {}),
    ("gaussian_dropout", 0.3, "sgd", {}, {}),
    ("input_noise", 0.2, "adam", {"learning_rate": 0.01}, {"batch_size": 32}),
    ("label_smoothing", 0.1, "sgd", {}, {}),
    ("confidence_penalty", 0.1, "sgd", {}, {}),
    ("activity_l2", 0.1, "sgd", {}, {}),
    ("adversarial", 0.1, "sgd", {}, {}),
    ("sam", 0.05, "sgd", {}, {}),
    ("clip_norm", 0.2, "sgd", {}, {}),
    ("max_norm", 1.0, "sgd", {}, {}),
    ("ema_decay", 0.9, "sgd", {}, {}),
    ("l2", 0.5, "adam", {"learning_rate": 0.01}, {"norm": "batch", "activation": "silu", "batch_size": 64}),
    ("learning_rate", 0.1, "sgd", {}, {"norm": "layer", "embedding": "piecewise", "embedding_size": 4}),
]


def case(name, value, optimizer, others, fields):
    hparams = regjax.HParams(**{"learning_rate": 0.1} | others | {name: value})
    return config_of(optimizer=optimizer, **fields), hparams


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "value", "optimizer", "others", "fields"), SMOOTH, ids=lambda v: str(v)[:20]
)
def test_the_derivative_is_that_of_central_differences(name, value, optimizer, others, fields):
    config, hparams = case(name, value, optimizer, others, fields)
    found = regjax.hypergradient(KEY, hparams, TRAIN, TEST, config=config, names=(name,))
    assert float(found.loss) == pytest.approx(loss_of(config, hparams), rel=1e-12)
    by = 1e-6 * max(abs(value), 0.1)
    # At 0 a strength cannot be lower: the one-sided difference of second order.
    if value == 0:
        f0, f1, f2 = (loss_of(config, hparams._replace(**{name: k * by})) for k in (0, 1, 2))
        difference = (-3 * f0 + 4 * f1 - f2) / (2 * by)
    else:
        high, low = (loss_of(config, hparams._replace(**{name: value + sign * by})) for sign in (1, -1))
        difference = (high - low) / (2 * by)
    assert abs(difference) > 1e-9, "the loss depends on it"
    np.testing.assert_allclose(found.gradient[name], difference, rtol=2e-5, atol=1e-9)


def test_every_hyperparameter_has_a_derivative_or_is_refused():
    masked = {"keep_prob", "input_keep_prob", "keep_prob_end", "dropconnect_keep_prob"}
    # It acts with scikit-learn's epochs alone, which need early stopping's state.
    epochs = {"power_t"}
    named = {name for name, *_ in SMOOTH}
    assert named | masked | epochs | set(WITHOUT_DERIVATIVE) == set(HYPERPARAMETERS)


def test_a_mask_has_the_derivative_of_its_relaxation():
    # m(p) = 1 + s(p)·e at the e that was drawn: by differences of s alone.
    bits = jax.random.bits(jax.random.key(1), (40, 50), jnp.uint16)
    with jax.enable_x64(True):
        p = jnp.float64(0.75)  # a multiple of 2^-16: no rounding of the threshold
        mask, slope = jax.jvp(lambda p: dropout_mask(bits, p), (p,), (jnp.float64(1),))
        drawn = (mask - 1) / jnp.sqrt((1 - p) / p)

        def relaxed(p):
            return 1 + jnp.sqrt((1 - p) / p) * drawn

        np.testing.assert_allclose(relaxed(p), mask, rtol=1e-12)
        np.testing.assert_allclose(slope, (relaxed(p + 1e-6) - relaxed(p - 1e-6)) / 2e-6, rtol=1e-8)
        assert jnp.all(jax.jvp(lambda p: dropout_mask(bits, p), (jnp.float64(1),), (jnp.float64(1),))[1] == 0)


def test_the_relaxation_follows_the_mean_over_many_masks():
    """A linear network with squared loss has a mean loss that is smooth in keep_prob: the slope is right."""
    rng = np.random.default_rng(0)
    a, w = rng.standard_normal((6, 1)), rng.standard_normal((1, 6))
    bits = jax.random.bits(jax.random.key(2), (6, 400_000), jnp.uint16)
    with jax.enable_x64(True):

        def mean_square(p):
            return jnp.mean((w @ (a * dropout_mask(bits, p))) ** 2)

        # E (Σ w a m)² = (Σ w a)² + (1 - p)/p·Σ (w a)², whose slope is -Σ (w a)²/p².
        p = jnp.float64(0.75)
        slope = jax.jvp(mean_square, (p,), (jnp.float64(1),))[1]
        assert slope == pytest.approx(-np.sum((w.T * a) ** 2) / 0.75**2, rel=0.02)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["keep_prob", "input_keep_prob", "keep_prob_end", "dropconnect_keep_prob"])
def test_what_draws_masks_has_a_derivative(name):
    config = config_of(batch_size=32)
    hparams = regjax.HParams(learning_rate=0.1, **{name: 0.8})
    found = regjax.hypergradient(KEY, hparams, TRAIN, TEST, config=config, names=(name,))
    slope = np.asarray(found.gradient[name])
    assert np.isfinite(slope)
    assert abs(slope) > 1e-6


@pytest.mark.nightly
def test_several_directions_are_those_of_one_each_and_layers_add_up():
    config = config_of(batch_size=32, optimizer="adam")
    hparams = regjax.HParams(learning_rate=0.01, l2=0.5, keep_prob=0.8)
    names = ("l2", "learning_rate", "keep_prob")
    together = regjax.hypergradient(KEY, hparams, TRAIN, TEST, config=config, names=names)
    for name in names:
        alone = regjax.hypergradient(KEY, hparams, TRAIN, TEST, config=config, names=(name,))
        np.testing.assert_allclose(together.gradient[name], alone.gradient[name], rtol=1e-9)
    of_layers = hparams._replace(l2=(0.5,) * 3, keep_prob=(0.8, 0.8))
    found = regjax.hypergradient(KEY, of_layers, TRAIN, TEST, config=config, names=names)
    assert (found.gradient["l2"].shape, found.gradient["keep_prob"].shape) == ((3,), (2,))
    for name in names:
        np.testing.assert_allclose(np.asarray(found.gradient[name]).sum(), together.gradient[name], rtol=1e-9)


def test_an_input_that_is_always_zero_has_a_derivative_under_adam():
    """Its weights have gradients of exactly 0, whose mean of squares has no root with a derivative."""
    data, test = (part._replace(x=np.vstack([part.x, 0 * part.x[:1]])) for part in (TRAIN, TEST))
    config = config_of(layer_sizes=(3, 6, 1), optimizer="adam")
    hparams = regjax.HParams(learning_rate=0.01)
    found = regjax.hypergradient(KEY, hparams, data, test, config=config, names=("learning_rate",))
    fit = regjax.make_train(config)
    high, low = (
        float(fit(KEY, hparams._replace(learning_rate=rate), data, test).history["test_loss"][-1])
        for rate in (0.01 + 1e-7, 0.01 - 1e-7)
    )
    assert float(found.gradient["learning_rate"]) == pytest.approx((high - low) / 2e-7, rel=1e-5)


@pytest.mark.nightly
def test_it_runs_under_vmap():
    config = config_of(dtype="float32")
    strengths = jnp.array([0.1, 1.0])

    def one(l2):
        hparams = regjax.HParams(learning_rate=jnp.float32(0.1), l2=l2)
        return regjax.hypergradient(KEY, hparams, TRAIN, TEST, config=config, names=("l2",)).gradient["l2"]

    both = jax.vmap(one)(strengths)
    np.testing.assert_allclose(both, [one(l2) for l2 in strengths], rtol=1e-3)


def test_real_targets_have_derivatives():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    data = regjax.Data.from_arrays(x, x[:, 0] * x[:, 1])
    config = config_of(loss="squared_error")
    hparams = regjax.HParams(learning_rate=0.1, l2=0.1)
    found = regjax.hypergradient(KEY, hparams, data, data, config=config, names=("l2",))
    fit = regjax.make_train(config)
    high, low = (
        float(fit(KEY, hparams._replace(l2=l2), data, data).history["test_loss"][-1])
        for l2 in (0.10001, 0.09999)
    )
    assert float(found.gradient["l2"]) == pytest.approx((high - low) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("names", "hparams", "fields", "message"),
    [
        ((), {}, {}, "names must be hyperparameters, each once"),
        (("l2", "l2"), {}, {}, "names must be hyperparameters, each once"),
        (("lambda",), {}, {}, r"names must be hyperparameters, .* got 'lambda'; did you mean l2\?"),
        (("lr",), {}, {}, r"got 'lr'; did you mean learning_rate\?"),
        ("keep-prob", {}, {}, r"got 'keep-prob'; did you mean keep_prob\?"),
        (None, {}, {}, "names must be hyperparameters, e.g. l2, learning_rate, got None"),
        ((["l2"],), {}, {}, r"names must be hyperparameters, e.g. l2, learning_rate, got \['l2'\]"),
        (("mixup",), {"mixup": 0.2}, {}, "with a derivative; mixup has none"),
        (("keep_prob",), {}, {}, "keep_prob must be on for a derivative in it, got off"),
        (("b1",), {}, {}, "b1 must be used with optimizer adam or adamw, got sgd"),
        (("l2",), {"patience": 5}, {}, "derivatives must be of runs without early stopping"),
        (("l2",), {"l2": -1.0}, {}, "l2 must be a finite number >= 0"),
    ],
)
def test_bad_input_is_one_line(names, hparams, fields, message):
    config = config_of(**fields)
    with pytest.raises(ValueError, match=message) as error:
        regjax.hypergradient(KEY, regjax.HParams(**hparams), TRAIN, TEST, config=config, names=names)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", [0, "a", None, np.int64(0), np.array(0)])
def test_a_seed_is_no_key(key):
    for train in (regjax.hypergradient, regjax.make_train(config_of())):
        more = {"config": config_of(), "names": ("l2",)} if train is regjax.hypergradient else {}
        with pytest.raises(TypeError, match=r"key must be a key of JAX such as .*, got") as error:
            train(key, regjax.HParams(l2=0.1), TRAIN, TEST, **more)
        assert "\n" not in str(error.value)
