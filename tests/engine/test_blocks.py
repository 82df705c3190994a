"""Sweeps of networks with blocks: trained, stored, replayed, refit, and refused where they cannot be."""

import jax
import numpy as np
import pytest
from stores import assert_same_table, run, stop_after
from sweeps import assert_same

import regjax
from regjax.engine import pace, scheduler
from regjax.engine.replay import replay
from regjax.sklearn.fitted import as_pipeline
from regjax.store.store import Store

pytestmark = pytest.mark.slow

CONFIG = {
    "num_steps": 20, "eval_every": 10, "hidden": (4, 4), "optimizer": "adam", "norm": "batch",
    "residual": True, "embedding": "piecewise", "embedding_size": 3, "members": 2,
}  # fmt: skip


def test_a_sweep_is_stored_read_replayed_and_refit(tmp_path):
    path = str(tmp_path / "s.db")
    options = {"seeds": 1, "folds": 2, "progress": False, "store": path}
    first = regjax.sweep("two_regions", CONFIG, {"learning_rate": [0.01, 0.03]}, **options)
    again = regjax.sweep("two_regions", CONFIG, {"learning_rate": [0.01, 0.03]}, **options)
    assert again.recalled == len(first)
    assert jax.tree.structure(first.params(0)) == jax.tree.structure(again.params(0))
    for one, other in zip(jax.tree.leaves(first.params(0)), jax.tree.leaves(again.params(0)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert replay(path, 1).same
    # Bins are quantiles of each fold's own training part.
    edges = [np.asarray(first.params(row)[0].embedding.edges) for row in (0, 1)]
    x = np.asarray(first.design.data.x)
    for fold, found in enumerate(edges):
        seen = x[:, first.design.splits.train[fold] > 0]
        np.testing.assert_allclose(found[:, [0, -1]].T, [seen.min(axis=1), seen.max(axis=1)], rtol=1e-6)
    model = regjax.refit(first)
    file = regjax.save_model(model, tmp_path / "m.safetensors")
    X = x.T
    np.testing.assert_array_equal(regjax.load_model(file).predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match="model must be a plain network for scikit-learn's estimators"):
        as_pipeline(model)
    with pytest.raises(ValueError, match="model must be a plain network for ONNX, got norm batch, residual"):
        regjax.export_onnx(model, tmp_path / "m.onnx")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "own", [{"norm": "layer"}, {"norm": "batch"}, {"embedding": "periodic"}, CONFIG], ids=str
)
def test_predictions_in_numpy_are_those_of_jax(own):
    config = {"num_steps": 20, "eval_every": 20, "optimizer": "adam", "hidden": (4, 4)} | own
    results = regjax.sweep("two_regions", config, {"learning_rate": 0.03}, progress=False)
    X = np.asarray(results.design.data.x).T
    from regjax.core.objective import resolve_loss
    from regjax.study.inference import network_outputs

    loss = resolve_loss(results.design.configs[0], results.design.data)
    x = results.design.encoded(X, 0, False)
    ours = network_outputs(results.params(0), np.asarray(x), results.design.configs[0], loss)
    np.testing.assert_allclose(ours, results.predict_proba(0, X), atol=2e-5)


def test_xla_trains_them_where_the_native_kernel_is_asked_for():
    plan = regjax.plan(
        "two_regions", {"norm": "layer", "num_steps": 5}, {"l2": [0, 1]}, kernel="native", folds=2
    )
    assert {group.kernel for group in plan.groups} == {"xla"}


def test_blocks_are_axes_of_a_grid(tmp_path):
    path = str(tmp_path / "s.db")
    of_each = (("none", 1), ("none", 3), ("layer", 1))
    grid = [c for norm, members in of_each for c in regjax.grid(norm=norm, members=members, l2=[0.0, 1.0])]
    config = {"num_steps": 20, "eval_every": 20, "hidden": (4,)}
    options = {"folds": 2, "seeds": 1, "progress": False, "store": path}
    results = regjax.sweep("two_regions", config, grid, **options)
    asked = {(c.norm, c.members) for c in results.design.configs}
    assert asked == set(of_each)
    # Each is the network of a sweep of its own structure, and has its identity.
    for norm, members in asked:
        alone = regjax.sweep("two_regions", config | {"norm": norm, "members": members}, {"l2": [0.0, 1.0]},
                             **options)  # fmt: skip
        assert alone.recalled == len(alone)
    found = results.compare(baseline={"norm": "none"})
    assert set(found.table["norm"]) == {"layer"}
    rows = Store(path).query("SELECT DISTINCT norm, members FROM results ORDER BY norm, members")
    assert [tuple(map(str, row)) for row in rows] == [
        ("layer", "1"), ("none", "1"), ("none", "3"),
    ]  # fmt: skip


INTERRUPTED = {
    "norm batch": {"norm": "batch"},
    "embedding piecewise": {"embedding": "piecewise", "embedding_size": 3},
    "members": {"members": 2},
    "all": {"norm": "batch", "residual": True, "embedding": "periodic", "embedding_size": 2, "members": 2},
}


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.sampled(1)
@pytest.mark.parametrize("own", INTERRUPTED)
def test_an_interrupted_sweep_of_networks_with_blocks_goes_on_to_the_bit(own, tmp_path, monkeypatch):
    """Running statistics, edges, factors, frequencies and the optimizer's state are in a checkpoint."""
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)  # a record per task
    config = {
        "hidden": (4, 4), "num_steps": 40, "eval_every": 10, "metrics": ("accuracy",), "optimizer": "adamw",
        "batch_size": 16, **INTERRUPTED[own],
    }  # fmt: skip
    grid = {"l2": [0, 0.1, 1], "keep_prob": 0.9, "learning_rate": 0.02, "ema_decay": 0.5}
    plain = run(config=config, grid=grid)
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    for moment in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            run(path, config=config, grid=grid, progress=stop_after(moment))
    with Store(path) as store:
        ((count, first),) = store.query("SELECT count(*), min(step) FROM checkpoints")
        assert count > 0
        assert first > 0
    resumed = run(path, config=config, grid=grid)
    assert_same(plain, resumed)
    assert_same_table(plain, resumed)
    for row in (0, len(plain) - 1):
        for one, other in zip(
            jax.tree.leaves(plain.params(row)), jax.tree.leaves(resumed.params(row)), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    if config.get("norm") == "batch":  # statistics have left their start
        assert np.abs(plain.params(0)[0].norm.mean).max() > 0
