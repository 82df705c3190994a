"""Networks that are trained by the program of wider ones: the same networks, to rounding."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import run, stop_after
from sweeps import assert_same

import regjax
from regjax.core.mlp import Layer
from regjax.core.train import init_state
from regjax.engine import pace, scheduler
from regjax.engine.padding import resized
from regjax.engine.replay import replay
from regjax.engine.sensitivities import sensitivities_of
from regjax.engine.sweep import run as run_design
from regjax.store.store import Store
from regjax.study.plan import make_plan
from regjax.study.provenance import chunk_of, padded_of
from regjax.study.resolve import make_design

HIDDEN = [(9,), (4,), (5, 6), (7, 3)]
GRID = regjax.grid(hidden=HIDDEN, l2=[0.0, 1.0])


@pytest.fixture
def short_tasks(monkeypatch):
    """XLA trains in tasks of one record, each of which is reported: many moments to stop at."""
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    monkeypatch.setenv("REGJAX_KERNEL", "xla")


def params_of(sizes, leading=()):
    rng = np.random.default_rng(0)
    shapes = [((*leading, b, a), (*leading, b, 1)) for a, b in itertools.pairwise(sizes)]
    return tuple(Layer(rng.normal(size=w), rng.normal(size=b)) for w, b in shapes)


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=4),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.sampled_from([(), (2,), (2, 3)]),
)
def test_what_is_padded_is_cut_to_what_it_was(sizes, more, leading):
    wide = tuple(a + b for a, b in zip(sizes, more, strict=False))
    own = params_of(sizes, leading)
    padded = resized((own, {"count": 3}), wide)
    for layer, (a, b) in zip(padded[0], itertools.pairwise(wide), strict=True):
        assert layer.w.shape == (*leading, b, a)
        assert layer.b.shape == (*leading, b, 1)
    assert padded[1] == {"count": 3}
    assert sum(np.abs(leaf).sum() for leaf in jax.tree.leaves(padded[0])) == pytest.approx(
        sum(np.abs(leaf).sum() for leaf in jax.tree.leaves(own))
    )
    back = resized(padded, sizes)[0]
    assert all(map(np.array_equal, jax.tree.leaves(back), jax.tree.leaves(own)))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("on", [{}, {"ema_decay": 0.9, "patience": 3.0}], ids=str)
def test_every_leaf_of_a_state_is_resized(optimizer, on):
    own = regjax.Config(layer_sizes=(2, 3, 1), optimizer=optimizer)
    wide = dataclasses.replace(own, layer_sizes=(2, 5, 1))
    key, hparams = regjax.replicate_key(0), regjax.HParams(learning_rate=0.1, l2=0.0, l1=0.0, **on)
    one, other = (jax.eval_shape(lambda c=c: init_state(key, hparams, config=c)) for c in (own, wide))
    filled = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), one)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), other)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), resized(filled, (2, 5, 1))) == shapes


def swept(monkeypatch, config, grid=GRID, *, pads=True, **options):
    design = make_design("two_regions", {"num_steps": 60, "eval_every": 20} | config, grid, **options)
    with monkeypatch.context() as patch:
        if not pads:
            patch.setattr("regjax.study.padding.COMPILING", -1.0)
        plan = make_plan(design, keep="all", kernel="xla")
    assert any(group.padded_to for group in plan.groups) == pads
    return run_design(design, plan=plan)


@pytest.mark.slow
@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("config", "on"),
    [
        ({}, {}),
        ({"activation": "tanh", "optimizer": "adam"}, {"l1": 0.1}),
        ({"activation": "gelu", "batch_size": 30}, {"input_keep_prob": 0.8, "clip_norm": 0.5}),
        ({"activation": "silu", "optimizer": "momentum"}, {"sam": 0.02, "ema_decay": 0.9}),
        ({"activation": "selu", "optimizer": "adamw"}, {"weight_decay": 0.1, "activity_l2": 0.1}),
        ({"activation": "identity"}, {"max_norm": 0.8, "input_noise": 0.1, "adversarial": 0.05}),
        ({}, {"l1_prox": 0.5, "group_lasso": 0.5, "patience": 20.0, "mixup": 0.2}),
    ],
    ids=str,
)
def test_padded_networks_are_those_of_their_own_programs(config, on, monkeypatch):
    with jax.enable_x64(True):
        grid = regjax.grid(hidden=HIDDEN, l2=[0.0, 1.0], learning_rate=0.05, **on)
        options = {"folds": 2, "seeds": 1}
        config = config | {"dtype": "float64"}
        one = swept(monkeypatch, config, grid, **options)
        other = swept(monkeypatch, config, grid, pads=False, **options)
    assert one.records.keys() == other.records.keys()
    for name, values in one.records.items():
        np.testing.assert_allclose(values, other.records[name], rtol=1e-9, atol=1e-11, err_msg=name)
    for row in range(len(one)):
        found, wanted = one.params(row), other.params(row)
        assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, wanted)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    assert {padded_of(how) for how in one.provenance} == {(), (2, 9, 1), (2, 7, 6, 1)}
    assert set(map(padded_of, other.provenance)) == {()}


@pytest.mark.slow
@pytest.mark.bits
@pytest.mark.usefixtures("short_tasks")
def test_a_padded_sweep_is_resumed_and_replayed_to_the_bit(tmp_path):
    config = {"num_steps": 60, "eval_every": 20, "optimizer": "adam"}
    path = tmp_path / "runs.sqlite"
    whole = run(config=config, grid=GRID)
    assert any(map(padded_of, whole.provenance))
    for moment in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            run(path, config=config, grid=GRID, progress=stop_after(moment))
    with Store(path) as store:
        assert store.query("SELECT count(*) FROM checkpoints")[0][0] > 0
    again = run(path, config=config, grid=GRID)
    assert_same(whole, again)
    assert again.provenance == whole.provenance
    assert all(replay(path, row).same for row in range(0, len(whole), 5))


@pytest.mark.slow
@pytest.mark.bits
@pytest.mark.usefixtures("short_tasks")
def test_a_checkpoint_of_another_program_is_not_gone_on_with(tmp_path):
    """Where a plan pads otherwise, a row begins anew and has the bits of that plan."""
    config, path = {"num_steps": 60, "eval_every": 20}, tmp_path / "runs.sqlite"
    padding, plain = (regjax.grid(hidden=[(4,), other], l2=[0.0, 1.0]) for other in ((9,), (5, 6)))
    with pytest.raises(KeyboardInterrupt):
        run(path, config=config, grid=padding, progress=stop_after(3))
    with Store(path) as store:
        hows = [how for (how,) in store.query("SELECT provenance FROM checkpoints")]
    assert (2, 9, 1) in map(padded_of, hows)
    wanted = run(config=config, grid=plain)
    assert {padded_of(how) for how in wanted.provenance} == {()}
    assert {chunk_of(how) for how in wanted.provenance} == set(
        map(chunk_of, hows)
    )  # the program alone differs
    assert_same(wanted, run(path, config=config, grid=plain))


@pytest.mark.slow
def test_sensitivities_of_padded_networks_are_those_of_their_own_programs(monkeypatch):
    grid = regjax.grid(hidden=[(4,), (9,)], l2=[0.3], learning_rate=0.05)
    config = {
        "num_steps": 30,
        "eval_every": 30,
        "optimizer": "adam",
        "activation": "tanh",
        "dtype": "float64",
    }
    with jax.enable_x64(True):
        design = make_design("two_regions", config, grid, folds=2)
        found = sensitivities_of(design, ("l2", "learning_rate"))
        monkeypatch.setattr("regjax.study.padding.COMPILING", -1.0)
        wanted = sensitivities_of(design, ("l2", "learning_rate"))
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-9)
    np.testing.assert_allclose(found.gradient, wanted.gradient, rtol=1e-7, atol=1e-12)
    assert np.isfinite(found.gradient).all()
