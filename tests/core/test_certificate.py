import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import slow_but

import regjax
from regjax.core import blocks, certificate, constraints, losses, mlp, objective, penalties
from regjax.core.activations import ACTIVATIONS
from regjax.core.certificate import certify
from regjax.core.hparams import HYPERPARAMETERS, PENALISED
from regjax.core.losses import LOSSES
from regjax.core.mlp import Layer
from regjax.core.penalties import PENALTIES


@pytest.mark.nightly
@pytest.mark.slow
def test_every_gradient_over_the_whole_product():
    """Activations × losses × terms × depths 0 to 4, relative 1e-10 in float64; and the proximal steps."""
    rows = certify()
    assert len(rows) == 7 * (3 * 15 + 2 * 12) + 5 * len(certificate.STRUCTURES) + 2
    assert max(row.error for row in rows) <= 1e-10
    assert [row for row in rows if not row.ok] == []
    assert "exceeds" not in certificate.as_text(rows)


def test_every_term_of_the_objective_is_certified():
    certified = {*certificate.LANES, certificate.INPUT, *PENALISED} - {"none", "all", "class_weight"}
    inside = {
        n for n, h in HYPERPARAMETERS.items() if h.place in ("masks", "loss", "penalties") or h.proximal
    }
    # keep_prob_end is keep_prob at a step; swapped values are data, as those of input noise are.
    assert certified == (inside | {"input_noise", "mixup", "adversarial"}) - {"keep_prob_end"}


def flipped(f):
    return lambda *args: jax.tree.map(jnp.negative, f(*args))


def flip_pair(monkeypatch, pairs, name):
    f, gradient = pairs[name]
    monkeypatch.setitem(pairs, name, type(pairs[name])(f, flipped(gradient)))


def flip_smoothing(monkeypatch):
    smoothed, gradients = losses.smoothed, [pair.gradient for pair in LOSSES.values()]

    def slip(f, logits, y, eps):
        return smoothed(f, logits, y, -eps if f in gradients else eps)

    monkeypatch.setattr(losses, "smoothed", slip)


def flip_unit_masks(monkeypatch):
    def slip(residuals, *args, **options):
        masks = tuple(jnp.where(mask == 1, mask, -mask) for mask in residuals.masks)
        return mlp.backward(residuals._replace(masks=masks), *args, **options)

    monkeypatch.setattr(objective, "backward", slip)


def flip_weight_masks(monkeypatch):
    right = objective.data_cost_and_grads

    def slip(params, hparams, data, masks, *args, **options):
        value, grads, dx = right(params, hparams, data, masks, *args, **options)
        signs = (jnp.where(mask == 1, 1, -1) for mask in masks.weights)
        return value, tuple(Layer(dw * s, db) for (dw, db), s in zip(grads, signs, strict=True)), dx

    monkeypatch.setattr(objective, "data_cost_and_grads", slip)


def flip_partners(monkeypatch):
    right, signs = objective._loss_gradient, itertools.cycle([1, -1])
    monkeypatch.setattr(objective, "_loss_gradient", lambda *args: next(signs) * right(*args))


def flip_inputs(monkeypatch):
    def slip(*args, **options):
        grads, dx, _ = mlp.backward(*args, **options)
        return grads, -dx, None

    monkeypatch.setattr(objective, "backward", slip)


# What is broken -> how, and the terms whose certificates must fail; the inputs are certified in all lanes.
SLIPS = {
    "activation": (lambda m: flip_pair(m, ACTIVATIONS, "tanh"), {*certificate.LANES, "adversarial"}),
    "loss": (lambda m: flip_pair(m, LOSSES, "softmax_cross_entropy"), {*certificate.LANES, "adversarial"}),
    "l2": (lambda m: flip_pair(m, PENALTIES, "l2"), {"l2", "all"}),
    "l1": (lambda m: flip_pair(m, PENALTIES, "l1"), {"l1", "all"}),
    "activity_l2": (
        lambda m: m.setattr(penalties, "activity_l2_gradient", flipped(penalties.activity_l2_gradient)),
        {"activity_l2", "all", "adversarial"},
    ),
    "label_smoothing": (flip_smoothing, {"label_smoothing", "all", "adversarial"}),
    "confidence_penalty": (
        lambda m: m.setattr(losses, "negative_entropy_gradient", flipped(losses.negative_entropy_gradient)),
        {"confidence_penalty", "all", "adversarial"},
    ),
    "masks of units": (flip_unit_masks, {"keep_prob", "gaussian_dropout", "all", "adversarial"}),
    "masks of weights": (flip_weight_masks, {"dropconnect_keep_prob", "all"}),
    "mixup": (flip_partners, {"mixup", "all", "adversarial"}),
    "input gradient": (flip_inputs, {"adversarial"}),
}


@pytest.mark.nightly
@pytest.mark.parametrize("slip", slow_but(SLIPS, {"loss", "l2", "mixup"}))
def test_a_wrong_sign_is_found(slip, monkeypatch):
    """A flipped derivative fails the certificates of its terms, and no others."""
    flip, terms = SLIPS[slip]
    flip(monkeypatch)
    # Operation by operation: most are the same ones for every slip, and need not be compiled again.
    monkeypatch.setattr(certificate, "_compiled", lambda: certificate._differentiate)
    rows = certify(activations=("tanh",), losses=("softmax_cross_entropy",), depths=(1,), structures=())
    assert {row.term for row in rows if not row.ok} == terms
    for row in rows:  # both oracles see it
        assert (row.central_error > certificate.CENTRAL_BOUND) == (row.term in terms)
    assert certificate.as_text(rows).count("exceeds") == len(terms)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("name", "step"), [("l1_prox", "soft_threshold"), ("group_lasso", "shrink_columns")])
def test_a_proximal_step_in_the_wrong_direction_is_found(name, step, monkeypatch):
    right = getattr(constraints, step)
    assert all(row.ok for row in certify(activations=(), structures=()))
    monkeypatch.setattr(constraints, step, lambda w, reach: right(w, -reach))
    assert [row.term for row in certify(activations=(), structures=()) if not row.ok] == [name]


@pytest.mark.slow
@pytest.mark.parametrize("name", certificate.STRUCTURES)
def test_blocks_are_certified_in_every_lane(name):
    rows = certify(activations=(), losses=("softmax_cross_entropy",), structures=(name,))
    assert [row.term for row in rows if row.term in certificate.STRUCTURES] == [name]
    assert [row for row in rows if not row.ok] == []


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_central_differences_hold_over_seeds_where_gradients_are_small(scale, monkeypatch):
    """With sigmoid, gradients in the inputs are small: rounding of the cost hides them at a step of 1e-6."""
    drawn = certificate._random_params
    monkeypatch.setattr(
        certificate,
        "_random_params",
        lambda config, rng: jax.tree.map(lambda leaf: scale * leaf, drawn(config, rng)),
    )
    options = certificate.STRUCTURES["members"]
    config = regjax.Config(layer_sizes=(3, 5, 5, 1), activation="sigmoid", dtype="float64", **options)
    losses = ("sigmoid_cross_entropy", "softmax_cross_entropy", "squared_error")
    worst = np.zeros(2)
    for seed in range(20):
        found = certificate._errors_of(config, losses, np.random.default_rng(seed))
        for errors in found.values():
            worst = np.maximum(worst, np.max(list(errors.values()), axis=0))
    assert worst[0] <= certificate.BOUND
    assert worst[1] <= certificate.CENTRAL_BOUND / 10


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (jnp.exp, 1.0),
        (lambda t: 1e6 + jnp.sin(t), 1.0),  # rounding
        (lambda t: jnp.sin(300 * t), 300.0),  # truncation
        (lambda t: t + jnp.abs(t - 1e-5), 0.0),  # a kink nearby
        (lambda t: 2 * t + jnp.where(jnp.abs(t) > 1e-3, jnp.nan, 0.0), 2.0),  # no number far away
    ],
    ids=["smooth", "large", "curved", "kink", "nan"],
)
def test_a_slope_by_differences_is_right_where_one_step_is_not(f, slope, x64):
    assert abs(float(certificate.slope_at_zero(f)) - slope) <= 1e-6 * max(1, slope)


def test_differences_lose_less_than_half_of_the_digits(x64):
    """Central differences of one step have 1e-11 at best, at a step of 6e-6."""
    found = [
        float(certificate.slope_at_zero(lambda t, at=at: jnp.exp(t + at))) for at in np.linspace(-1, 1, 9)
    ]
    np.testing.assert_allclose(found, np.exp(np.linspace(-1, 1, 9)), rtol=2e-12)


def test_a_slope_of_no_numbers_is_none(x64):
    assert jnp.isnan(certificate.slope_at_zero(lambda t: t * jnp.nan))


@pytest.mark.slow
def test_a_slip_in_a_block_is_found(monkeypatch):
    right = blocks.normalisation.layer_norm_backward
    # The terms through mean and variance are left out.
    monkeypatch.setattr(
        blocks.normalisation,
        "layer_norm_backward",
        lambda kept, norm, d: (d * norm.scale * kept.inverse, right(kept, norm, d)[1]),
    )
    monkeypatch.setattr(certificate, "_compiled", lambda: certificate._differentiate)
    rows = certify(activations=(), losses=("softmax_cross_entropy",), structures=("norm layer",))
    assert [row.term for row in rows if not row.ok] == ["norm layer"]
