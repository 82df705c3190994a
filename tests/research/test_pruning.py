import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.mlp import Layer
from regjax.research.pruning import apply_mask, full_mask, kept_share, prune, train_masked

pytestmark = pytest.mark.slow

KEY = regjax.replicate_key(2)
CONFIG = regjax.Config(layer_sizes=(2, 8, 4, 1), num_steps=60, eval_every=25, batch_size=50)


@functools.cache
def samples():
    return regjax.two_regions(jax.random.key(0))


def initial():
    return regjax.init_params(KEY, CONFIG.layer_sizes)


def by_sorting(w, mask, fraction):
    """The mask of one layer, by sorting the magnitudes that are kept."""
    places = sorted(zip(*np.nonzero(mask), strict=True), key=lambda place: -abs(w[place]))
    found = np.zeros_like(mask)
    for place in places[: round((1 - fraction) * len(places))]:
        found[place] = 1
    return found


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_what_is_pruned_is_the_smallest_of_what_was_kept(fraction):
    params = initial()
    mask = prune(params, full_mask(params), 0.3)
    found = prune(params, mask, fraction)
    for layer, before, after in zip(params, mask, found, strict=True):
        expected = by_sorting(np.asarray(layer.w), np.asarray(before), fraction)
        np.testing.assert_array_equal(after, expected)


def test_weights_that_training_brought_to_zero_are_pruned_after_those_that_were_pruned():
    params = (Layer(jnp.array([[0.0, 0.0, 5.0, 4.0]]), jnp.zeros((1, 1))),)
    mask = (jnp.array([[0.0, 1.0, 1.0, 1.0]]),)
    assert prune(params, mask, 0.0)[0].tolist() == [[0, 1, 1, 1]]
    assert prune(params, mask, 0.34)[0].tolist() == [[0, 0, 1, 1]]


def test_each_layer_may_have_its_fraction():
    params = initial()
    found = prune(params, full_mask(params), (0.5, 0.25, 0.0))
    assert [int(part.sum()) for part in found] == [8, 24, 4]
    assert float(kept_share(found)) == pytest.approx(36 / 52)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam", "batch_size": None},
        {"optimizer": "adamw", "batches": "all"},
        {"optimizer": "momentum", "class_weight": "balanced"},
    ],
    ids=str,
)
def test_with_a_full_mask_it_is_the_training_of_the_core(changes):
    config = regjax.Config(
        **{"layer_sizes": (2, 8, 4, 1), "num_steps": 60, "eval_every": 25, "batch_size": 50} | changes
    )
    hparams = regjax.HParams(learning_rate=0.03, l2=0.3, keep_prob=0.8, weight_decay=0.01, max_norm=2.0)
    train, test = samples()
    expected = regjax.make_train(config)(KEY, hparams, train, test)
    params = initial()
    found = train_masked(KEY, params, full_mask(params), hparams, train, test, config=config)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), found, expected)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_pruned_weights_stay_at_zero_and_the_others_move(optimizer):
    config = regjax.Config(layer_sizes=(2, 8, 4, 1), num_steps=60, eval_every=25, optimizer=optimizer)
    hparams = regjax.HParams(
        learning_rate=0.03, l2=0.3, keep_prob=0.8, dropconnect_keep_prob=0.9, sam=0.05, clip_norm=1.0
    )
    params = initial()
    mask = prune(params, full_mask(params), 0.5)
    run = train_masked(KEY, params, mask, hparams, samples()[0], config=config)
    for layer, begun, part in zip(run.params, params, mask, strict=True):
        kept = np.asarray(part) > 0
        np.testing.assert_array_equal(np.asarray(layer.w)[~kept], 0)
        assert (np.asarray(layer.w)[kept] != np.asarray(begun.w)[kept]).all()


def test_it_is_the_training_of_the_smaller_network():
    params = initial()
    mask = tuple(jnp.ones_like(layer.w) for layer in params)
    # Without the last four units of the first hidden layer.
    mask = (mask[0].at[4:].set(0), mask[1].at[:, 4:].set(0), mask[2])
    small = (
        Layer(params[0].w[:4], params[0].b[:4]),
        Layer(params[1].w[:, :4], params[1].b),
        params[2],
    )
    hparams, data = regjax.HParams(learning_rate=0.1, l2=0.5), samples()[0]
    narrow = regjax.Config(layer_sizes=(2, 4, 4, 1), num_steps=60, eval_every=60, batch_size=50)
    expected = train_masked(KEY, small, full_mask(small), hparams, data, config=narrow)
    found = train_masked(KEY, params, mask, hparams, data, config=CONFIG)
    np.testing.assert_allclose(found.params[0].w[:4], expected.params[0].w, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found.params[1].w[:, :4], expected.params[1].w, rtol=2e-4, atol=1e-5)


def test_it_maps_over_keys_and_masks():
    params = initial()
    masks = jax.vmap(lambda share: prune(params, full_mask(params), share))(jnp.array([0.0, 0.5]))
    train = functools.partial(train_masked, hparams=regjax.HParams(), data=samples()[0], config=CONFIG)
    found = jax.jit(jax.vmap(lambda mask: train(KEY, params, mask).params))(masks)
    for index in range(2):
        alone = train(KEY, params, jax.tree.map(lambda part, i=index: part[i], masks)).params
        same = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
        jax.tree.map(lambda a, b, i=index, same=same: same(a[i], b), found, alone)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: prune(p, full_mask(p), 1.5), r"fraction must be in \[0, 1\], got 1\.5"),
        (
            lambda p: prune(p, full_mask(p), (0.1, 0.2)),
            r"fraction must be a scalar or have 3 entries, got \(0",
        ),
        (lambda p: apply_mask(p, full_mask(p)[:2]), "mask must have the shapes of the weights, .* got"),
        (
            lambda p: train_masked(
                KEY, p, full_mask(p), regjax.HParams(ema_decay=0.9), samples()[0], config=CONFIG
            ),
            "ema_decay must be None for training with a mask",
        ),
    ],
)
def test_wrong_values_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(initial())
    assert "\n" not in str(caught.value)
