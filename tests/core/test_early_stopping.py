import dataclasses

import jax
import numpy as np
import pytest

import regjax
from regjax.core.early_stopping import init_best, keep_best
from regjax.core.evaluate import score
from regjax.core.hparams import check_hparams
from regjax.core.mlp import Layer
from regjax.core.train import init_state, run_segment


def layers(value):
    return (Layer(np.full((1, 1), value, np.float32), np.zeros((1, 1), np.float32)),)


def test_the_untrained_network_does_not_compete():
    best = init_best(layers(-1), regjax.HParams(patience=20.0))
    for step, loss in ((0, 0.1), (10, 0.9), (20, 0.8)):
        best = keep_best(best, layers(step), np.float32(loss), step, np.float32(20))
    assert (int(best.step), int(best.stopped_at), float(best.params[0].w[0, 0])) == (20, -1, 20)


@pytest.mark.sampled(2)
@pytest.mark.slow
@pytest.mark.parametrize("own", [{}, {"keep_prob": 0.9}, {"l1": 0.1}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_clipped_loss_decides_nothing_but_the_stop(own, outputs):
    """With a regulariser of regjax's own the loss is the true one; the gradients are never clipped."""
    rng = np.random.default_rng(0)
    # Inputs so large that probabilities are 0 and 1 to the last bit.
    X, y = 1e3 * rng.standard_normal((40, 3)), rng.integers(0, max(2, outputs), 40)
    true = regjax.Config(layer_sizes=(3, 8, outputs), stop_on="loss", num_steps=3, eval_every=3)
    data = regjax.Data.from_arrays(X.astype(np.float32), y)
    found = []
    for config in (true, dataclasses.replace(true, clip_loss=True)):
        hparams = check_hparams(config, regjax.HParams(1e-4, n_iter_no_change=1e9, **own))
        checked = regjax.core.data.check_data(config, data)
        key = regjax.replicate_key(seed=0)
        run = jax.jit(lambda state, config=config, key=key, hparams=hparams, checked=checked: run_segment(
            key, state, hparams, checked, 0, 3, config=config
        ))  # fmt: skip
        found.append(run(init_state(key, hparams, config=config)))
    plain, clipped = found
    np.testing.assert_allclose(plain.params[0].w, clipped.params[0].w, rtol=1e-5)
    assert plain.epochs.loss > 20
    if own:
        np.testing.assert_allclose(clipped.epochs.loss, plain.epochs.loss, rtol=1e-5)
    else:
        assert clipped.epochs.loss < -np.log(np.finfo(np.float32).eps)


@pytest.mark.nightly
def test_a_score_without_an_error_is_1():
    """Whatever the weights are: one that is less by a rounding would be beaten by the same network."""
    config = regjax.Config(layer_sizes=(1, 1))
    rng = np.random.default_rng(0)
    params = (Layer(np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)),)
    # Few numbers of samples, since each is compiled for; many weights.
    for n in np.repeat([3, 16, 47], 20):
        x = rng.standard_normal((1, n)).astype(np.float32)
        weights = rng.random(n).astype(np.float32) * (rng.random(n) > 0.3)
        y = (x > 0) ^ (weights == 0)
        data = regjax.Data(x, y.astype(np.int32), weights)
        assert float(score(params, data, config)) == 1
    weights[:3] = 1
    y[0, :3] = ~y[0, :3]
    assert 0 < float(score(params, regjax.Data(x, y.astype(np.int32), weights), config)) < 1
