"""Lanes: bits depend neither on the position nor on the neighbours; one program for all segments."""

import dataclasses

import jax
import numpy as np
import pytest
from cases import some_slow
from small import CONFIG, run
from stores import make_design
from sweeps import points

import regjax
from regjax.core.hparams import check_hparams
from regjax.engine import fused, lanes

pytestmark = pytest.mark.bits


LAYERS = [(2, 20, 3, 1), (5, 40, 3), (40, 130, 130, 4)]
SHAPES = [(1, 4), (2, 4), (2, 8), (4, 4), (2, 16)]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("keep_prob", "layer_sizes", "shape"), some_slow([None, 0.8], LAYERS, SHAPES, every=5)
)
def test_lanes_permuted_and_poisoned_keep_their_bits(layer_sizes, shape, keep_prob, monkeypatch):
    monkeypatch.setattr(lanes, "measure_lanes", lambda *_, **__: {})  # parameters alone are compared
    config = regjax.Config(layer_sizes=layer_sizes, num_steps=6, batch_size=None).program()
    X, y = points(70, layer_sizes[0], max(2, layer_sizes[-1]))
    design = make_design((X, y), config, {"keep_prob": [1.0]}, folds=2)
    size = shape[0] * shape[1]

    def trained(strengths):
        rows = [
            check_hparams(config, regjax.HParams(learning_rate=r, l2=s, keep_prob=keep_prob))
            for r, s in strengths
        ]
        stack = jax.tree.map(lambda *leaf: np.stack(leaf).reshape(*shape, *leaf[0].shape), *rows)
        train, val, _ = design.weights(design.row(0))
        many = (shape[0],)
        replicates = lanes.Replicates(
            key=np.broadcast_to(design.key(design.row(0)), (*many, 2)),
            x=design.inputs(0)[0],
            y=design.padded.y,
            train=np.broadcast_to(train, (*many, len(train))),
            val=np.broadcast_to(val, (*many, len(train))),
        )
        task = lanes.ChunkTask(config, replicates, stack, None, 0, (6,), (False,), 1, 6)
        done = lanes.run_task(task)
        return [leaf.reshape(size, -1) for leaf in jax.tree.leaves(done.states.params)]

    strengths = [(0.1, 0.1 * i) for i in range(size)]
    plain = trained(strengths)
    order = np.random.default_rng(0).permutation(size)
    for a, b in zip(plain, trained([strengths[i] for i in order]), strict=True):
        np.testing.assert_array_equal(a[order], b)
    poisoned = [(1e38, 1e30) if i == size // 2 else s for i, s in enumerate(strengths)]
    others = np.arange(size) != size // 2
    for a, b in zip(plain, trained(poisoned), strict=True):
        np.testing.assert_array_equal(a[others], b[others])
    assert not all(np.isfinite(leaf).all() for leaf in trained(poisoned))


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(3, marks=pytest.mark.cpu("the shape of an accelerator's chunk depends on the rows")),
        [5],
    ],
)
def test_a_second_sweep_compiles_nothing(seeds):
    def compiled():
        programs = lanes.init_lanes, lanes.advance_lanes, fused.advance_fused, lanes.measure_lanes
        return [program._cache_size() for program in programs]

    run(seeds=[0])
    before = compiled()
    run(seeds=seeds, config=dataclasses.replace(CONFIG, num_steps=45, eval_every=7))
    assert before == compiled()
