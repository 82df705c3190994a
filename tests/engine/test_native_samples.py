"""What the native kernel is given: class weights, inputs sample by sample, and thresholds."""

import jax
import numpy as np
import pytest
from chunks import assert_close, assert_same_states, make_chunk, native, plain

from regjax.core.config import Config
from regjax.core.dropout import keep_threshold
from regjax.core.minibatches import weigh_classes
from regjax.engine import native as module

pytestmark = [pytest.mark.bits, pytest.mark.cpu("the native kernel is of CPUs")]

STEPS = 20


@pytest.mark.nightly
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("keep", [{}, {"keep_prob": 0.8}])
def test_class_weights_that_leave_nothing_diverge(keep, batch_size, kernel):
    """The first replicate has samples of class 0 alone, whose weight is 0; the objective divides by Σ w."""
    kernel()
    config = Config(layer_sizes=(2, 5, 1), num_steps=STEPS, class_weight=(0.0, 1.0), batch_size=batch_size)
    chunk = make_chunk(config, **keep)
    replicates, train = chunk.replicates, chunk.replicates.train.copy()
    train[0, replicates.y[0] > 0] = 0
    chunk = chunk._replace(replicates=replicates._replace(train=train), num_batches=3)
    for steps in (1, STEPS):
        one, other = plain(chunk, config, steps), native(chunk, config, steps)
        for layer, own in zip(one.params, other.params, strict=True):
            assert not np.isfinite(layer.w[0]).any()
            assert not np.isfinite(own.w[0]).any()
        # Of hidden biases the gradient is NaN or 0: no unit without inputs is above 0.
        assert np.isfinite(one.params[-1].b[0]).all() == np.isfinite(other.params[-1].b[0]).all()
        assert_close(*(jax.tree.map(lambda leaf: leaf[1:], found) for found in (one, other)))


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, STEPS])
def test_samples_come_from_rows_where_they_are_given(steps, kernel):
    """From inputs sample by sample, of few steps in place and of many from a copy: the same bits."""
    kernel()
    config = Config(layer_sizes=(3, 5, 1), num_steps=STEPS, batch_size=5)
    chunk = make_chunk(config, 2, 2)
    x = chunk.replicates.x
    x = np.stack([x, 2 * x - 1])
    rows = np.ascontiguousarray(x.swapaxes(1, 2))
    # Batches beyond the samples of the fold: those of weight 0 too, whose inputs are not finite.
    folds = chunk.replicates._replace(x=x, fold=np.array([1, 0]))
    found = native(chunk._replace(replicates=folds, num_batches=9), config, steps)
    chunk = chunk._replace(replicates=folds._replace(rows=rows), num_batches=9)
    assert_same_states(found, native(chunk, config, steps))
    assert_close(plain(chunk, config, steps), found)
    with pytest.raises(ValueError, match=r"rows must be \(2, 45, 3\), got \(1, 45, 3\)"):
        native(chunk._replace(replicates=folds._replace(rows=rows[0])), config, steps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_thresholds_are_those_of_the_plain_program(dtype, x64):
    halves = ((np.arange(65536) + 0.5) / 65536).astype(dtype)
    values = np.concatenate(
        [halves, np.nextafter(halves, 0), np.nextafter(halves, 1), np.array([0, 1], dtype)]
    )
    found = module.thresholds_of(values)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.asarray(keep_threshold(jax.numpy.asarray(values))))


@pytest.mark.nightly
def test_class_weights_are_computed_once_for_the_segments_of_a_task(monkeypatch, kernel):
    kernel()
    calls = []
    monkeypatch.setattr(
        module, "weigh_classes", lambda data, config: calls.append(1) or weigh_classes(data, config)
    )
    config = Config(layer_sizes=(2, 1), num_steps=STEPS, class_weight="balanced")
    chunk = make_chunk(config)
    before = len(module._derived)
    on_device = chunk._replace(replicates=jax.device_put(chunk.replicates))
    for start in range(3):
        native(on_device, config, start + 1, start)
    assert len(calls) == 2  # replicates
    assert_same_states(native(chunk, config, STEPS), native(on_device, config, STEPS))
    assert len(calls) == 4  # arrays of NumPy may have changed
    del on_device
    assert len(module._derived) == before
