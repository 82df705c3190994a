"""Records of more samples than a block: those of all samples at once, to rounding."""

import numpy as np
import pytest
from small import run
from sweeps import points

import regjax
from regjax.core import evaluate
from regjax.core.data import Data
from regjax.core.metrics import roc_auc
from regjax.core.mlp import Layer
from regjax.engine import lanes, measures

BLOCK = 64


def recorded(monkeypatch, block, size=150, classes=2, **options):
    """Returns the records of a sweep whose samples are cut into blocks; 150 are two blocks and a part."""
    for module in (evaluate, measures):
        monkeypatch.setattr(module, "INFER_BLOCK", block)
    lanes.measure_lanes.clear_cache()
    try:
        data = points(size, 3, classes)
        config = {"hidden": 6, "num_steps": 40, "eval_every": 20} | options.pop("config", {})
        return regjax.sweep(data, config, {"l2": [0, 1]}, progress=False, **options).records
    finally:
        lanes.measure_lanes.clear_cache()


KINDS = {
    "two classes, folds": {"folds": 2},
    "three classes": {"folds": 2, "classes": 3},
    "a test set, weights": {"folds": 2, "test": 0.5, "weights": np.arange(300.0) % 4 / 2, "size": 300},
    "held out once": {"validation": 0.3, "seeds": 2},
    "minibatches, early stopping": {"folds": 2, "config": {"batch_size": 16}},
    "metrics that sort nothing": {"folds": 2, "config": {"metrics": ("accuracy",)}},
    "no validation part": {},
    "each fold standardised": {"folds": 2, "standardize": True},
    "float64": {"folds": 2, "config": {"dtype": "float64"}},
}


@pytest.mark.sampled(3)
@pytest.mark.slow
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_records_in_blocks_are_those_of_all_samples(options, monkeypatch):
    whole = recorded(monkeypatch, 10**6, **options)
    blocks = recorded(monkeypatch, BLOCK, **options)
    assert list(whole) == list(blocks)
    for name in whole:
        assert whole[name].dtype == blocks[name].dtype
        np.testing.assert_allclose(blocks[name], whole[name], rtol=2e-5, atol=1e-6, err_msg=name)


def drawn_params(rng):
    drawn = [rng.standard_normal(shape).astype("f4") for shape in ((4, 3), (4, 1), (2, 4), (2, 1))]
    return Layer(*drawn[:2]), Layer(*drawn[2:])


def test_the_last_block_is_a_whole_one_that_overlaps_the_one_before(monkeypatch):
    monkeypatch.setattr(evaluate, "INFER_BLOCK", BLOCK)
    config = regjax.Config(layer_sizes=(3, 4, 2))
    rng = np.random.default_rng(0)
    params = drawn_params(rng)
    for size in (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 1):
        x = rng.standard_normal((3, size)).astype(np.float32)
        weights = np.arange(size, dtype=np.float32) % 3
        x[:, weights == 0] = np.nan
        logits = evaluate.infer(params, Data(x, None, weights), config)
        (first, last), seen = params, np.where(weights > 0, x, 0)
        by_hand = last.w @ np.maximum(first.w @ seen + first.b, 0) + last.b
        np.testing.assert_allclose(logits, by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_those_of_the_compiled_metric(ties, x64):
    rng = np.random.default_rng(0)
    scores, weights = rng.standard_normal(200), np.round(2 * rng.random(200)) * rng.random(200)
    scores = np.round(scores) if ties else scores
    positive = rng.random(200) < 0.3
    expected = float(roc_auc(*map(np.asarray, (scores, positive, weights))))
    assert measures.ranked_area(scores, positive, weights) == pytest.approx(expected, rel=1e-12)


def test_an_area_without_samples_of_both_kinds_is_not_defined():
    scores, ones = np.arange(3.0), np.ones(3)
    assert np.isnan(measures.ranked_area(scores, ones > 0, ones))
    assert np.isnan(measures.ranked_area(scores, ones > 2, ones))


@pytest.mark.slow
def test_a_network_that_diverged_has_no_area(monkeypatch):
    monkeypatch.setattr(measures, "INFER_BLOCK", BLOCK)
    results = run(grid={"learning_rate": [0.1, 1e38]}, config=regjax.Config(num_steps=4, eval_every=2))
    areas = results.records["train_roc_auc"].reshape(2, -1, 3)
    assert np.isfinite(areas[0]).all()
    assert np.isnan(areas[1, :, 1:]).all()
