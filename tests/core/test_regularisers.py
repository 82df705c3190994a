"""Every regulariser: its gradient, that off is absent, a property only a right one has, and no leak."""

import dataclasses
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import some_slow
from hypothesis import given, settings
from hypothesis import strategies as st

import regjax
from regjax.core.augment import add_noise, mixing_weight, mixup, partners
from regjax.core.config import REAL_LOSSES
from regjax.core.constraints import project_rows, shrink_columns, soft_threshold
from regjax.core.data import Data, check_data
from regjax.core.dropout import draw_masks, keep_prob_at
from regjax.core.gradient_check import relative_error
from regjax.core.gradients import adversarial_example, gradient, sharpest
from regjax.core.hparams import (
    ABSENT,
    CHEAP,
    CLASSES_ONLY,
    HYPERPARAMETERS,
    OFF_VALUES,
    HParams,
    check_hparams,
    compiled_in,
    switched_on,
)
from regjax.core.losses import LOSSES, balanced_weights, negative_entropy, smoothed
from regjax.core.mlp import Layer
from regjax.core.objective import BatchSizes, cost, full_batch_sizes
from regjax.core.penalties import penalty
from regjax.core.train import Course, init_state, run_segment
from regjax.study import groups

KEY = regjax.replicate_key(5, 2)
SIZES = {0: (3,), 1: (3, 5), 2: (3, 5, 3), 3: (3, 5, 3, 4)}
OUTPUTS = {"sigmoid_cross_entropy": 1, "softmax_cross_entropy": 3, "squared_error": 2, "poisson": 2}
# A value of each that is on, and not the only one of its kind.
ON = {
    "l2": 0.7,
    "l1": 0.3,
    "keep_prob": 0.7,
    "input_keep_prob": 0.8,
    "l1_prox": 0.3,
    "group_lasso": 0.4,
    "keep_prob_end": 0.6,
    "gaussian_dropout": 0.5,
    "dropconnect_keep_prob": 0.7,
    "input_noise": 0.3,
    "swap_noise": 0.3,
    "mixup": 0.4,
    "label_smoothing": 0.1,
    "confidence_penalty": 0.2,
    "activity_l2": 0.05,
    "adversarial": 0.1,
    "sam": 0.05,
    "clip_norm": 0.1,
    "max_norm": 0.5,
    "ema_decay": 0.9,
    "average_from": 2,
    "patience": 4,
}
RIVALS = {"ema_decay": "average_from"}


def test_every_regulariser_is_tried():
    assert set(ABSENT) | {"l2", "l1"} == set(ON)


def samples(loss, n=9, seed=0):
    rng = np.random.default_rng(seed)
    outputs = OUTPUTS[loss]
    y = rng.standard_normal((outputs, n))
    if loss == "poisson":
        y = 3 * y**2
    if loss not in REAL_LOSSES:
        y = rng.integers(0, max(2, outputs), (1, n)).astype(np.int32)
    weights = rng.uniform(0.5, 1.5, n)
    weights[4] = 0
    return Data(jnp.asarray(rng.standard_normal((3, n))), jnp.asarray(y), jnp.asarray(weights))


def problem(loss, depth, values):
    config = regjax.Config(
        layer_sizes=(*SIZES[depth], OUTPUTS[loss]), dtype="float64", loss=loss, activation="tanh"
    )
    hparams = check_hparams(config, HParams(**values))
    rng = np.random.default_rng(depth)
    params = tuple(
        Layer(
            jnp.asarray(rng.standard_normal((b, a)) / a**0.5), jnp.asarray(0.3 * rng.standard_normal((b, 1)))
        )
        for a, b in itertools.pairwise(config.layer_sizes)
    )
    return config, hparams, params


def oracle(params, hparams, data, masks, others, config, sizes):
    """The training gradient by jax.grad, from the values of the objective alone."""
    no_penalty = hparams._replace(l2=None, l1=None, l1_prox=None, group_lasso=None)

    def data_cost(params, x):
        with_x = None if others is None else others._replace(x=x)
        return cost(params, no_penalty, data._replace(x=x), masks, with_x, config=config, sizes=sizes)

    def objective(params, at):
        found = data_cost(params, data.x)
        if hparams.adversarial is None:
            return found
        return 0.5 * found + 0.5 * data_cost(params, jax.lax.stop_gradient(at))

    def example(params):
        eps = 0.0 if hparams.adversarial is None else hparams.adversarial
        return data.x + eps * jnp.sign(jax.grad(data_cost, argnums=1)(params, data.x))

    grads = jax.grad(objective)(params, example(params))
    if hparams.sam is not None:
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
        there = jax.tree.map(lambda p, g: p + hparams.sam * g / norm, params, grads)
        grads = jax.grad(objective)(there, example(there))
    smooth = hparams._replace(l1_prox=None, group_lasso=None)
    pulled = jax.grad(lambda params: penalty(params, smooth) / sizes.num_train)(params)
    grads = jax.tree.map(jnp.add, grads, pulled)
    if hparams.clip_norm is not None:
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda g: g * jnp.minimum(1, hparams.clip_norm / norm), grads)
    return grads


@functools.partial(jax.jit, static_argnames="config")
def both_gradients(params, hparams, data, *, config):
    """Returns our gradient and the oracle's, of one step."""
    total = jnp.sum(data.weights)
    sizes = BatchSizes(total, 2 * total)  # a batch of half the samples
    batch, others = add_noise(KEY, 3, hparams, data, data)
    masks = draw_masks(KEY, 3, hparams, config, 9, 10)
    _, ours = gradient(params, hparams, batch, masks, others, config=config, sizes=sizes)
    return ours, oracle(params, hparams, batch, masks, others, config, sizes)


def check_gradient_of(values, loss, depth):
    with jax.enable_x64(True):
        if loss in REAL_LOSSES:
            values = {name: v for name, v in values.items() if name not in CLASSES_ONLY}
        config, hparams, params = problem(loss, depth, values)
        # Compiled, jax.grad's softmax may be NaN: its maximum, computed twice, need not equal itself.
        find = both_gradients.__wrapped__ if loss == "softmax_cross_entropy" else both_gradients
        ours, theirs = find(params, hparams, samples(loss), config=config)
        assert relative_error(ours, theirs) < 1e-9


@pytest.mark.sampled(6)
@pytest.mark.slow
@pytest.mark.parametrize(("name", "depth"), some_slow(ON, SIZES, every=4))
def test_gradient_alone(name, depth):
    loss = list(OUTPUTS)[depth % 2] if name in CLASSES_ONLY else list(OUTPUTS)[depth % 3]
    check_gradient_of({name: ON[name]}, loss, depth)


@pytest.mark.nightly
@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.sets(st.sampled_from(sorted(set(ON) - {"average_from"})), min_size=2),
    st.sampled_from(list(OUTPUTS)),
    st.sampled_from(list(SIZES)),
)
def test_gradient_of_cocktails(names, loss, depth):
    check_gradient_of({name: ON[name] for name in names}, loss, depth)


@pytest.mark.parametrize("name", ABSENT)
def test_off_in_every_spelling_is_absent(name):
    config = regjax.Config(layer_sizes=(2, 4, 3, 1), num_steps=4, eval_every=2, batch_size=16)
    absent = check_hparams(config, HParams())
    for off in (None, OFF_VALUES[name], np.float32(OFF_VALUES[name]), np.array([OFF_VALUES[name]])[0]):
        found = check_hparams(config, HParams(**{name: off}))
        assert getattr(found, name) is None
        assert jax.tree.structure(found) == jax.tree.structure(absent)
    assert switched_on(check_hparams(config, HParams(**{name: ON[name]}))) == (name,)
    for spelling in ("none", None, OFF_VALUES[name]):
        assert list(regjax.grid(**{name: [spelling]})) == list(regjax.grid(**{name: OFF_VALUES[name]}))


SMALL = regjax.Config(layer_sizes=(2, 6, 3, 1), num_steps=12, eval_every=12)


@functools.cache
def two_regions():
    data, _ = regjax.two_regions(jax.random.key(0))
    return data


@functools.partial(jax.jit, static_argnames="config")
def _trained(key, hparams, data, *, config, steps):
    state = init_state(key, hparams, config=config)
    return run_segment(key, state, hparams, data, 0, steps, config=config)


def trained(values, config=SMALL, data=None, steps=12):
    data = check_data(config, two_regions() if data is None else data)
    return _trained(KEY, check_hparams(config, HParams(**values)), data, config=config, steps=steps)


def together(values):
    """Returns checked hyperparameters with every regulariser compiled in: off, but for these.

    Whatever is on, the program is the same one. `ema_decay` stands for both averages, which exclude each
    other.
    """
    names = [name for name in ABSENT if name not in ("average_from", "keep_prob_end")]
    hparams = compiled_in(check_hparams(SMALL, HParams(keep_prob_end=1)), names, SMALL)
    checked = check_hparams(SMALL, HParams(**values))
    return hparams._replace(**{name: getattr(checked, name) for name in values})


def twice_held_out(hparams, config):
    """Returns what is trained with two fillings of the samples that are held out, a third of them."""
    plain = check_data(config, two_regions())
    held_out = np.arange(plain.x.shape[1]) % 3 == 0
    weights = np.where(held_out, 0, plain.weights).astype(np.float32)
    found = []
    for huge, label in ((0.0, 0), (1e30, 1)):
        x = np.where(held_out, np.float32(huge), plain.x)
        y = np.where(held_out, np.int32(label), plain.y)
        data = check_data(config, Data(x, y, weights))
        found.append(_trained(KEY, hparams, data, config=config, steps=12))
    return found


def assert_same_and_finite(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(a.params))


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize("batch_size", [pytest.param(None, marks=pytest.mark.slow), 16])
def test_held_out_samples_change_no_bit(batch_size):
    config = dataclasses.replace(SMALL, batch_size=batch_size)
    for name in ON.keys() - {"average_from"}:
        assert_same_and_finite(*twice_held_out(together({name: ON[name]}), config))


# What the common program has not is tried here with every test run; the others have a program each.
ALONE = [
    pytest.param(name, batch_size, marks=() if name in ("average_from", "balanced") else pytest.mark.slow)
    for name, batch_size in zip([*ABSENT, "balanced"], itertools.cycle([16, None]))
]


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.bits
@pytest.mark.parametrize(("name", "batch_size"), ALONE)
def test_held_out_samples_change_no_bit_of_one_alone(name, batch_size):
    config = dataclasses.replace(SMALL, batch_size=batch_size)
    if name == "balanced":
        config = dataclasses.replace(config, class_weight="balanced")
    values = {name: ON[name]} if name in ON else {}
    assert_same_and_finite(*twice_held_out(check_hparams(config, HParams(**values)), config))


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize("name", [name for name in ON if name not in ("clip_norm", "patience")])
def test_on_does_something(name):
    if name == "average_from":  # not in the common program
        on = trained({name: ON[name]})
        on, off = on.measured, on.params
    else:
        data = check_data(SMALL, two_regions())
        on, off = (
            _trained(KEY, together(v), data, config=SMALL, steps=12).measured for v in ({name: ON[name]}, {})
        )
    assert not all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (on, off)), strict=True))


# -- a property that only a right one has -------------------------------------------------------------------


@pytest.mark.nightly
def test_keep_prob_end_is_linear_in_the_step():
    start, end = jnp.asarray([1.0, 0.8]), jnp.asarray(0.5)
    np.testing.assert_allclose(keep_prob_at(0, start, end, 100), [1, 0.8])
    np.testing.assert_allclose(keep_prob_at(50, start, end, 100), [0.75, 0.65])
    np.testing.assert_allclose(keep_prob_at(100, start, end, 100), [0.5, 0.5])
    np.testing.assert_allclose(keep_prob_at(150, start, end, 100), [0.5, 0.5])
    # The end of the run is that of the run, not of a segment: cutting it changes no bit.
    config = dataclasses.replace(SMALL, num_steps=12)
    whole = trained({"keep_prob_end": 0.5}, config)
    data, hparams = check_data(config, two_regions()), check_hparams(config, HParams(keep_prob_end=0.5))
    state = init_state(KEY, hparams, config=config)
    cut = jax.jit(functools.partial(run_segment, config=config.program()))
    for first, last in ((0, 5), (5, 12)):
        state = cut(KEY, state, hparams, data, first, last, course=Course(num_steps=12))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole.params, state.params
    )


def test_max_norm_holds_after_every_step_and_leaves_biases_free():
    for steps in range(1, 6):
        params = trained({"max_norm": 0.3, "learning_rate": 3.0}, steps=steps).params
        for layer in params[:-1]:
            assert (np.linalg.norm(layer.w, axis=1) <= 0.3 * (1 + 1e-6)).all()
    # Biases and the output layer are free.
    params = trained({"max_norm": 0.1, "learning_rate": 1.0}, steps=300).params
    assert np.linalg.norm(params[-1].w) > 0.15
    assert max(np.abs(layer.b).max() for layer in params) > 0.02
    w = jnp.asarray([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(project_rows(w, jnp.asarray(1.0)), [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "softmax_cross_entropy"])
def test_label_smoothing_is_least_at_the_smoothed_targets(loss, x64):
    eps, classes = jnp.asarray(0.1), 2 if loss == "sigmoid_cross_entropy" else 3
    f, g = LOSSES[loss]
    y = jnp.asarray([[1]])
    targets = np.full(classes, 0.1 / classes)
    targets[1] += 0.9
    logits = jnp.log(jnp.asarray(targets))[:, None]
    if classes == 2:
        logits = logits[1:] - logits[:1]
    np.testing.assert_allclose(smoothed(g, logits, y, eps), 0, atol=1e-15)
    entropy = -np.sum(targets * np.log(targets))
    assert float(smoothed(f, logits, y, eps)[0]) == pytest.approx(entropy)


def test_confidence_penalty_by_hand(x64):
    p = np.array([0.2, 0.3, 0.5])
    for logits, probabilities in (
        (jnp.log(p)[:, None], p),
        (jnp.log(0.25 / 0.75) * jnp.ones((1, 1)), [0.25, 0.75]),
        # Two labels, each with an entropy of its own.
        (jnp.log(jnp.asarray([[0.25 / 0.75], [0.1 / 0.9]])), [0.25, 0.75, 0.1, 0.9]),
    ):
        expected = np.sum(np.asarray(probabilities) * np.log(probabilities))
        found = negative_entropy(logits, softmax=len(probabilities) == 3)
        assert float(found[0]) == pytest.approx(expected)
    for extreme in (1e9, -1e9):
        assert np.isfinite(negative_entropy(jnp.full((1, 1), extreme), softmax=False)).all()
        for softmax in (True, False):
            assert np.isfinite(negative_entropy(jnp.asarray([[extreme], [0.0]]), softmax=softmax)).all()


def test_l1_prox_meets_the_optimality_condition_with_exact_zeros(x64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    y = X[:, :2] @ [1.5, -2.0] + 0.1 * rng.standard_normal(60)
    config = regjax.Config(layer_sizes=(8, 1), dtype="float64", num_steps=4000)
    data = Data.from_arrays(X, y)
    strength, n = 6.0, 60
    params = trained({"l1_prox": strength, "learning_rate": 0.1}, config, data, 4000).params
    w, b = np.asarray(params[0].w[0]), float(params[0].b[0, 0])
    slope = X.T @ (X @ w + b - y) / n
    assert (w == 0).sum() == 6  # exactly
    np.testing.assert_allclose(slope[w != 0], -strength / n * np.sign(w[w != 0]), atol=1e-10)
    assert (np.abs(slope[w == 0]) < strength / n).all()
    plain = trained({"l1": strength, "learning_rate": 0.1}, config, data, 4000).params[0].w
    assert (np.asarray(plain) == 0).sum() == 0  # a subgradient has none
    np.testing.assert_allclose(soft_threshold(jnp.asarray([-2.0, 0.5, 1.5]), jnp.asarray(1.0)), [-1, 0, 0.5])


def test_group_lasso_drops_useless_features_whole():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 6))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)  # features 2 … 5 say nothing
    config = regjax.Config(layer_sizes=(6, 16, 1), num_steps=6000)
    data = Data.from_arrays(X, y)
    w = np.asarray(
        trained({"group_lasso": 8.0, "l2": (0, 3), "learning_rate": 0.3}, config, data, 6000).params[0].w
    )
    assert (w[:, 2:] == 0).all()
    assert (np.abs(w[:, :2]).sum(axis=0) > 1).all()
    columns = shrink_columns(jnp.asarray([[3.0, 0.1, 0.0], [4.0, 0.0, 0.0]]), jnp.asarray(1.0))
    np.testing.assert_allclose(columns, [[2.4, 0, 0], [3.2, 0, 0]], rtol=1e-6)


def test_mixup_with_one_partner_per_class_by_hand():
    x = jnp.asarray([[1.0, 3.0, 9.0]])
    batch = Data(x, jnp.asarray([[0, 1, 1]]), jnp.asarray([1.0, 2.0, 0.0]))
    mixed, others = mixup(batch, jnp.asarray([1, 0, 2]), jnp.asarray(0.75))
    np.testing.assert_allclose(mixed.x, [[1.5, 2.5, 9.0]])
    np.testing.assert_array_equal(others.x, mixed.x)
    np.testing.assert_allclose(mixed.weights, [0.75, 1.5, 0])
    np.testing.assert_array_equal(others.y, [[1, 0, 1]])
    np.testing.assert_allclose(others.weights, [0.5, 0.25, 0])
    # w = 1, b = 0: J = (0.75·l(1.5, 0) + 1.5·l(2.5, 1) + 0.5·l(1.5, 1) + 0.25·l(2.5, 0))/3
    params = (Layer(jnp.ones((1, 1)), jnp.zeros((1, 1))),)
    l0, l1 = (lambda z: np.log1p(np.exp(z))), (lambda z: np.log1p(np.exp(-z)))
    by_hand = (0.75 * l0(1.5) + 1.5 * l1(2.5) + 0.5 * l1(1.5) + 0.25 * l0(2.5)) / 3
    config = regjax.Config(layer_sizes=(1, 1))
    sizes = full_batch_sizes(batch)
    assert float(cost(params, HParams(), mixed, None, others, config=config, sizes=sizes)) == pytest.approx(
        by_hand, rel=1e-6
    )


def test_partners_are_a_permutation_of_the_training_samples_alone():
    weights = jnp.asarray(np.arange(40) % 3 > 0, jnp.float32)
    seen = set()
    for step in range(20):
        found = np.asarray(partners(KEY, step, weights))
        assert sorted(found) == list(range(40))
        np.testing.assert_array_equal(found[::3], np.arange(40)[::3])
        seen.add(tuple(found))
    assert len(seen) == 20


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixing_weights_are_beta(alpha):
    draw = jax.jit(jax.vmap(lambda step: mixing_weight(KEY, step, jnp.float32(alpha))))
    draws = np.asarray(draw(jnp.arange(400)))
    assert ((draws >= 0) & (draws <= 1)).all()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(draws.mean() - 0.5) < 4 * (variance / 400) ** 0.5
    assert draws.var() == pytest.approx(variance, rel=0.25)
    assert float(mixing_weight(KEY, 0, jnp.float32(0))) == 1


@pytest.mark.slow
def test_swap_noise_takes_values_of_the_same_feature_from_training_samples():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 300))
    weights = np.where(np.arange(300) % 4 == 0, 0, 1.0)
    data = Data(
        jnp.asarray(x, jnp.float32), jnp.zeros((1, 300), jnp.int32), jnp.asarray(weights, jnp.float32)
    )
    config = regjax.Config(layer_sizes=(3, 1))
    hparams = check_hparams(config, HParams(swap_noise=0.3))
    noisy = np.asarray(add_noise(KEY, 1, hparams, data, data)[0].x)
    changed = noisy != np.asarray(data.x)
    assert not changed[:, weights == 0].any()
    assert changed[:, weights > 0].mean() == pytest.approx(0.3, abs=0.06)
    for feature in range(3):
        assert set(noisy[feature]) <= set(np.asarray(data.x)[feature])
        swapped = noisy[feature][changed[feature]]
        assert not set(swapped) & set(np.asarray(data.x)[feature, weights == 0])


def test_input_noise_has_its_variance():
    data = Data(jnp.zeros((20, 512)), jnp.zeros((1, 512), jnp.int32), jnp.ones(512))
    hparams = check_hparams(regjax.Config(layer_sizes=(20, 1)), HParams(input_noise=0.25))
    noise = np.asarray(add_noise(KEY, 0, hparams, data, data)[0].x)
    assert noise.std() == pytest.approx(0.25, rel=0.02)
    assert abs(noise.mean()) < 4 * 0.25 / noise.size**0.5


@pytest.mark.nightly
def test_adversarial_example_is_worse_by_the_norm_of_the_gradient(x64):
    config, hparams, params = problem("sigmoid_cross_entropy", 2, {"adversarial": 1e-6})
    data = samples("sigmoid_cross_entropy")
    value = functools.partial(cost, params, HParams(), config=config)
    dx = jax.grad(lambda x: value(data._replace(x=x)))(data.x)
    there = adversarial_example(data.x, dx, hparams.adversarial)
    gain = float(value(data._replace(x=there)) - value(data))
    assert gain == pytest.approx(1e-6 * float(jnp.sum(jnp.abs(dx))), rel=1e-4)
    np.testing.assert_array_equal(there[:, 4], data.x[:, 4])  # a held-out row


@pytest.mark.nightly
def test_sam_climbs_by_the_radius(x64):
    config, hparams, params = problem("squared_error", 2, {"sam": 1e-6})
    data = samples("squared_error")
    value = functools.partial(cost, hparams=HParams(), data=data, config=config)
    grads = jax.grad(value)(params)
    there = sharpest(params, grads, hparams.sam)
    moved = float(optax.tree.norm(jax.tree.map(jnp.subtract, there, params)))
    assert moved == pytest.approx(1e-6)
    assert float(value(there) - value(params)) == pytest.approx(
        1e-6 * float(optax.tree.norm(grads)), rel=1e-4
    )
    still = jax.tree.map(jnp.zeros_like, grads)
    jax.tree.map(np.testing.assert_array_equal, sharpest(params, still, hparams.sam), params)


@pytest.mark.slow
def test_activity_penalty_by_hand(x64):
    # One hidden unit, identity, w = 2, b = 1: a = 3, 5; weights 1 and 3; 0.1·(1·9 + 3·25)/4 = 2.1.
    params = (Layer(jnp.full((1, 1), 2.0), jnp.ones((1, 1))), Layer(jnp.zeros((1, 1)), jnp.zeros((1, 1))))
    data = Data(jnp.asarray([[1.0, 2.0]]), jnp.zeros((1, 2)), jnp.asarray([1.0, 3.0]))
    config = regjax.Config(layer_sizes=(1, 1, 1), activation="identity", dtype="float64")
    assert float(cost(params, HParams(activity_l2=jnp.asarray(0.1)), data, config=config)) == pytest.approx(
        2.1
    )


def states(values, steps, config=SMALL):
    hparams = check_hparams(config, HParams(**values))
    data = check_data(config, two_regions())
    state, found = init_state(KEY, hparams, config=config), []
    step = jax.jit(functools.partial(run_segment, config=config))
    for i in range(steps):
        state = step(KEY, state, hparams, data, i, i + 1)
        found.append(state)
    return found


def test_ema_is_the_average_written_out():
    found = states({"ema_decay": 0.8}, 7)
    for t in range(1, 8):
        shares = np.array([0.2 * 0.8 ** (t - s) for s in range(1, t + 1)]) / (1 - 0.8**t)
        assert shares.sum() == pytest.approx(1)
        for place, leaf in enumerate(jax.tree.leaves(found[t - 1].measured)):
            expected = sum(
                share * np.asarray(jax.tree.leaves(s.params)[place], np.float64)
                for share, s in zip(shares, found, strict=False)
            )
            np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-7)


def test_average_from_is_the_plain_mean():
    found = states({"average_from": 3}, 7)
    for t in range(7):
        first = min(t, 3)
        for place, leaf in enumerate(jax.tree.leaves(found[t].measured)):
            expected = np.mean(
                [np.asarray(jax.tree.leaves(s.params)[place], np.float64) for s in found[first : t + 1]],
                axis=0,
            )
            np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.nightly
@pytest.mark.bits
def test_an_average_does_not_change_what_is_trained():
    plain = trained({})
    for values in ({"ema_decay": 0.9}, {"average_from": 2}):
        jax.tree.map(np.testing.assert_array_equal, trained(values).params, plain.params)


@pytest.mark.slow
def test_clip_norm_bounds_the_update():
    before = init_state(KEY, check_hparams(SMALL, HParams()), config=SMALL).params
    after = states({"clip_norm": 0.01, "learning_rate": 1.0}, 1)[0].params
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, after, before))
    assert float(moved) == pytest.approx(0.01, rel=1e-4)


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.array([[0, 0, 0, 0, 1, 2, 2, 1]])
    weights = np.array([1, 1, 1, 1, 1, 1, 1, 0.0])
    found = np.asarray(balanced_weights(jnp.asarray(y), jnp.asarray(weights), 3))
    expected = compute_sample_weight("balanced", y[0, :7])
    np.testing.assert_allclose(found[:7], expected, rtol=1e-6)
    assert found[7] == 0
    assert found.sum() == pytest.approx(7)


def test_classes_are_asked_for_before_anything_is_compiled():
    X = np.random.default_rng(0).standard_normal((20, 3))
    for name in CLASSES_ONLY:
        with pytest.raises(ValueError, match=f"{name} must be used with classes"):
            regjax.sweep((X, X[:, 0]), None, {name: [0, 0.1]}, progress=False)
        with pytest.raises(ValueError, match=f"{name} must be used with classes"):
            regjax.make_train(regjax.Config(layer_sizes=(3, 1)))(
                KEY, HParams(**{name: 0.1}), Data.from_arrays(X, X[:, 0])
            )
    with pytest.raises(ValueError, match="class_weight must be used with classes"):
        regjax.sweep((X, X[:, 0]), {"class_weight": "balanced"}, progress=False)
    for bad in ({"schedule": "linear"}, {"warmup_steps": -1}, {"warmup_steps": 5, "decay_steps": 5}):
        with pytest.raises(ValueError, match=r"schedule|warmup_steps|decay_steps"):
            regjax.Config(**bad)


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    ["two classes", *(pytest.param(t, marks=pytest.mark.nightly) for t in ("three classes", "regression"))],
)
def test_a_sweep_of_every_regulariser_is_the_single_training(task):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3)).astype(np.float32)
    y = {"two classes": (X[:, 0] > 0) + 0, "three classes": np.arange(60) % 3, "regression": X[:, 0]}[task]
    names = [n for n in ON if task != "regression" or n not in CLASSES_ONLY]
    cocktail = {n: ON[n] for n in names if n not in ("average_from", "l1_prox", "group_lasso")}
    alone = names[::3] if task == "two classes" else names[::20]
    grid = [{}, *({n: ON[n]} for n in alone), cocktail]
    config = {"hidden": (4,), "num_steps": 6, "eval_every": 3, "batch_size": 8, "schedule": "cosine"}
    options = {"seeds": 2, "folds": 2, "progress": False}
    results = regjax.sweep((X, y), config, grid, **options)
    assert (results.diverged_at < 0).all()
    design = results.design
    # Each alone, as `make_train` does it.
    for configuration in (1, len(grid) // 2, len(grid) - 1):
        row = design.index(configuration, 1, 1)
        fit = regjax.make_train(design.configs[configuration])
        stops = design.stops_early(configuration)
        data = design.data._replace(weights=design.splits.trains(1, stops))
        stop = design.data._replace(weights=design.splits.stop[1]) if stops else None
        run = fit(regjax.replicate_key(1, 1), HParams(**grid[configuration]), data, stop=stop)
        close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5)
        jax.tree.map(close, run.params, results.params(row))
    # Two workers, one; one at a time.
    again = regjax.sweep((X, y), config, grid[::-1], workers=1, **options)
    for configuration in range(len(grid)):
        for seed, fold in itertools.product(range(2), range(2)):
            a = results.params(design.index(configuration, seed, fold))
            b = again.params(design.index(len(grid) - 1 - configuration, seed, fold))
            jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.nightly
@pytest.mark.bits
def test_an_interrupted_sweep_of_averages_goes_on_where_it_was(tmp_path, monkeypatch):
    from regjax.engine import pace, scheduler

    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    grid = [{"ema_decay": 0.9, "patience": 6}, {"average_from": 5}, {"keep_prob_end": 0.5, "mixup": 0.3}]
    config = {"num_steps": 20, "eval_every": 5, "hidden": (4,)}

    def stop(progress):
        if progress.fraction > 0.4:
            raise KeyboardInterrupt

    path = tmp_path / "s.sqlite"
    with pytest.raises(KeyboardInterrupt):
        regjax.sweep("two_regions", config, grid, folds=2, store=path, progress=stop)
    resumed = regjax.sweep("two_regions", config, grid, folds=2, store=path, progress=False)
    plain = regjax.sweep("two_regions", config, grid, folds=2, progress=False)
    for name in plain.records:
        np.testing.assert_array_equal(plain.records[name], resumed.records[name])
    for row in range(6):
        jax.tree.map(np.testing.assert_array_equal, plain.params(row), resumed.params(row))


@pytest.mark.nightly
def test_the_page_that_says_how_to_add_one_is_right(tmp_path):
    root = Path(regjax.__file__).parents[1]
    page = (root / "docs" / "regularisers.md").read_text()
    entry, code, use = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copytree(root / "regjax", tmp_path / "regjax", ignore=shutil.ignore_patterns("__pycache__"))
    for name, anchor, text in (
        ("core/hparams.py", "}  # fmt: skip", entry),
        ("core/constraints.py", "    return params", code),
    ):
        path = tmp_path / "regjax" / name
        source = path.read_text()
        assert source.count(anchor) == 1
        assert f"`{anchor}`" in page
        path.write_text(source.replace(anchor, text + anchor))
    use += "from click.testing import CliRunner\nfrom regjax.cli.sweep import sweep\n"
    use += "out = CliRunner().invoke(sweep, ['--weight-clip', 'none,0.5', '--print-config']).output\n"
    use += "assert 'weight_clip = [inf, 0.5]' in out, out\n"
    done = subprocess.run(
        [sys.executable, "-c", use], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_table_names_every_regulariser():
    page = (Path(regjax.__file__).parents[1] / "docs" / "regularisers.md").read_text()
    rows = [
        line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| `\w+` \| \S+ \|", line)
    ]
    named = {cells[0].strip("`"): (float(cells[1]), cells[-3]) for cells in rows}
    assert named == {name: (h.off, h.place) for name, h in HYPERPARAMETERS.items() if h.off is not None}


@pytest.mark.nightly
def test_compare_regularisers(tmp_path, capsys, monkeypatch):
    from regjax.cli import main as cli
    from regjax.tutorial.showcase import STRENGTHS, check_names

    assert set(STRENGTHS) == set(ON)
    assert check_names("all") == list(STRENGTHS)
    monkeypatch.chdir(tmp_path)
    command = ["compare", "--regularisers", "l2,keep-prob,ema_decay", "--steps", "30"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--no-compilation-cache"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert out.startswith("no strength is tuned: this shows what each does, not which is best")
    assert "over 8 seeds on this one split" in out
    assert (tmp_path / "regjax-compare" / "regularisers.png").stat().st_size > 10_000
    for words, message in [("l3", "regularisers must be one of"), ("", "regularisers must be one of")]:
        with pytest.raises(SystemExit) as stop:
            cli.main(["compare", "--regularisers", words])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.nightly
def test_a_random_design_takes_few_programs_and_the_same_networks(monkeypatch):
    grid = [{"keep_prob": 0.8}, {"max_norm": 0.5}, {"input_noise": 0.2, "clip_norm": 0.1}, {"sam": 0.05}]
    config = {"num_steps": 12, "eval_every": 12, "hidden": (6,), "optimizer": "adam", "batch_size": 16}
    options = {"folds": 2, "progress": False}
    monkeypatch.setattr(groups, "MOST_PROGRAMS", 2)
    few = regjax.sweep("two_regions", config, grid, **options)
    # What is dear has a program of its own.
    assert [group.on for group in few.plan.groups] == [
        ("keep_prob", "input_noise", "clip_norm", "max_norm"),
        ("sam",),
    ]
    monkeypatch.setattr(groups, "MOST_PROGRAMS", 8)
    many = regjax.sweep("two_regions", config, grid, **options)
    assert len(many.plan.groups) == 4
    for name in ("train_loss", "val_loss", "train_cost"):
        np.testing.assert_allclose(few.values(name), many.values(name), rtol=1e-4)


@pytest.mark.sampled(2)
@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [CHEAP, *(pytest.param((name,), marks=pytest.mark.slow) for name in CHEAP)], ids="-".join
)
def test_compiled_in_at_their_off_values_they_change_nothing(names, x64):
    config = dataclasses.replace(SMALL, dtype="float64")
    data = check_data(config, two_regions())
    absent = check_hparams(config, HParams())
    plain = _trained(KEY, absent, data, config=config, steps=12)
    there = _trained(KEY, compiled_in(absent, names, config), data, config=config, steps=12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), plain.params, there.params)
