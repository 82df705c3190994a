"""The sweep: the same bits however it is cut, held-out samples unseen, divergence without harm."""

import dataclasses

import jax
import numpy as np
import pytest
from small import CONFIG, GRID, run
from sweeps import leaves, points

import regjax
from regjax.core.data import Data
from regjax.engine import compiling, sweep
from regjax.study.grid import grid_from_list
from regjax.study.groups import make_groups
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design


@pytest.mark.nightly
@pytest.mark.bits
def test_order_of_the_grid_changes_no_bit():
    one = run()
    turned = run(grid=grid_from_list(list(GRID)[::-1]))
    for index, configuration in enumerate(GRID):
        other = turned.design.configurations.index(configuration)
        for name in ("train_cost", "val_loss"):
            np.testing.assert_array_equal(one.table(name)[index], turned.table(name)[other])


@pytest.mark.slow
@pytest.mark.parametrize(
    "batch_size",
    [None, pytest.param(16, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow)],
)
def test_a_sweep_is_single_training(batch_size):
    config = dataclasses.replace(CONFIG, num_steps=30, eval_every=30, batch_size=batch_size)
    # Full batches with and without dropout; minibatches with it: two programs fewer each.
    keep_prob = [1, (0.9, 0.8)] if batch_size is None else [0.8, (0.9, 0.8)]
    grid = regjax.grid(l2=[0, 0.1, 1], keep_prob=keep_prob, learning_rate=[0.1, 0.3])
    results = run(config=config, grid=grid, folds=2, seeds=2)
    design = results.design
    for index in (0, 7, len(results) - 1):
        row = design.row(index)
        data = design.data._replace(weights=design.splits.train[row.fold])
        fit = regjax.make_train(design.configs[row.configuration])
        params, history = fit(
            regjax.replicate_key(row.seed, row.fold), design.hparams[row.configuration], data
        )
        if batch_size is not None:  # an epoch is as long as that of the smallest fold
            num_train = design.splits.num_train
            if num_train[row.fold] // batch_size != num_train.min() // batch_size:
                continue
        np.testing.assert_allclose(history["train_loss"][-1], results.values("train_loss")[index], rtol=1e-4)
        for a, b in zip(params, results.params(index), strict=True):
            np.testing.assert_allclose(a.w, b.w, atol=2e-5)


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"dtype": "float64"}])
@pytest.mark.bits
def test_held_out_samples_are_not_seen(options):
    X, y = points()
    dtype = options.pop("dtype", "float32")
    config = dataclasses.replace(CONFIG, layer_sizes=(3, 5, 1), num_steps=20, eval_every=20, dtype=dtype)
    folds = [(np.arange(40), np.arange(40, 50))]
    huge = X.copy()
    huge[40:] = 1e30
    a, b = (
        regjax.sweep((x, y), config, {"keep_prob": [0.8, 0.9]}, folds=folds, progress=False, **options)
        for x in (X, huge)
    )
    for p, q in zip(leaves(a), leaves(b), strict=True):
        assert p.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(p, q)


def test_a_feature_that_tells_on_held_out_samples_only_does_not_help():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((120, 2)), rng.integers(0, 2, 120)
    val = np.arange(80, 120)
    told = np.zeros(120)
    told[val] = 100 * (2 * y[val] - 1)
    config = dataclasses.replace(CONFIG, layer_sizes=(3, 8, 1), num_steps=300, eval_every=300)
    results = regjax.sweep(
        (np.c_[X, told], y), config, seeds=4, folds=[(np.arange(80), val)], standardize=True, progress=False
    )
    assert abs(results.values("val_accuracy").mean() - 0.5) < 0.25


@pytest.mark.parametrize("place", range(8))
@pytest.mark.bits
def test_a_diverging_row_changes_no_bit_of_others(place):
    rates = [0.05 * (i + 1) for i in range(8)]
    config = dataclasses.replace(CONFIG, layer_sizes=(2, 6, 1), eval_every=10, batch_size=16, init="he")
    calm = run(config=config, grid=regjax.grid(learning_rate=rates), seeds=2, folds=2)
    wild_rates = list(rates)
    wild_rates[place] = 1e30
    wild = run(config=config, grid=regjax.grid(learning_rate=wild_rates), seeds=2, folds=2)
    table = wild.to_pandas()
    assert set(table[table.configuration == place].status) == {"diverged"}
    others = np.array([wild.design.row(i).configuration != place for i in range(len(wild))])
    assert (wild.diverged_at[others] == -1).all()
    assert (wild.diverged_at[~others] > 0).all()
    assert np.isfinite(wild.last_finite_cost[~others]).all()
    for name in calm.records:
        np.testing.assert_array_equal(calm.records[name][others], wild.records[name][others])
        assert np.isnan(wild.values(name)[~others]).all()
    assert wild.best().index != place
    summary = wild.summary()
    assert summary["ok"].tolist() == [0 if i == place else 4 for i in range(8)]
    assert np.isnan(summary["val_accuracy"][place])


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.bits
def test_rows_that_diverge_at_other_steps_change_no_bit_of_others(turn):
    # Squared error and no hidden layer: too large a step grows by a factor per step, and overflows later.
    rates = [0.1, 4.0, 0.2, 8.0, 0.3, 30.0, 0.05, 1e30]
    rates = rates[2 * turn :] + rates[: 2 * turn]
    X, y = points(40, 2)[0], np.random.default_rng(0).standard_normal(40)
    config = {"hidden": None, "num_steps": 60, "eval_every": 4, "metrics": ()}
    wild = regjax.sweep((X, y), config, {"learning_rate": rates}, folds=2, progress=False)
    calm_rates = [rate if rate < 1 else 0.4 + 0.01 * i for i, rate in enumerate(rates)]
    calm = regjax.sweep((X, y), config, {"learning_rate": calm_rates}, folds=2, progress=False)
    when = wild.diverged_at.reshape(8, 2)[:, 0]
    assert len(set(when[when > 0])) >= 3
    small = np.repeat(np.array(rates) < 1, 2)
    assert (wild.diverged_at[small] == -1).all()
    for name in calm.records:
        np.testing.assert_array_equal(calm.records[name][small], wild.records[name][small])


@pytest.mark.nightly
@pytest.mark.bits
def test_switching_dropout_on_leaves_weights_and_batches_alone():
    config = dataclasses.replace(CONFIG, layer_sizes=(2, 6, 1), num_steps=20, eval_every=20, batch_size=8)
    results = run(config=config, grid={"keep_prob": [1, 1 - 2**-16]}, seeds=2)  # a mask that drops 1 in 65536
    np.testing.assert_array_equal(results.records["train_loss"][:6, 0], results.records["train_loss"][6:, 0])
    np.testing.assert_allclose(results.values("train_loss")[:6], results.values("train_loss")[6:], rtol=1e-2)


@pytest.mark.nightly
@pytest.mark.cpu("an accelerator's chunk holds all rows of a group, and its bits depend on its size")
@pytest.mark.parametrize("pairing", ["paired", "independent"])
@pytest.mark.bits
def test_a_grid_grown_while_other_things_are_on_keeps_every_row(pairing):
    config = {"hidden": (6, 3), "num_steps": 9, "eval_every": 4, "batch_size": 16, "optimizer": "adam"}
    config["metrics"] = ("accuracy",)
    fixed = {"keep_prob": 0.8, "input_keep_prob": 0.9, "learning_rate": 0.01}
    options = {"seeds": 2, "folds": 3, "pairing": pairing, "standardize": True, "progress": False}
    small = regjax.grid(l2=[0, 0.1], **fixed)
    # From two rows a replicate, which share nothing, to more than fill a slot; and groups beside them.
    more = regjax.grid(l2=np.linspace(0, 1, 11).tolist(), **fixed)
    other = regjax.grid(l1=[0, 0.1], keep_prob=(0.9, 0.5), hidden=[(6, 3), (4, 4)], learning_rate=0.01)
    grown = other + more + small
    before = regjax.sweep("two_regions", config, small, **options)
    after = regjax.sweep("two_regions", config, grown, **options)
    assert not before.plan.groups[0].shared
    assert any(group.shared for group in after.plan.groups) == (pairing == "paired")
    for row in range(len(before)):
        place = before.design.row(row)
        index = list(grown).index(small.configurations[place.configuration])
        where = after.design.index(index, before.design.seeds.index(place.seed), place.fold)
        for name in before.records:
            np.testing.assert_array_equal(before.records[name][row], after.records[name][where])
        for a, b in zip(
            jax.tree.leaves(before.params(row)), jax.tree.leaves(after.params(where)), strict=True
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.nightly
def test_a_sweep_on_the_tutorials_data_takes_its_folds_inside_the_211_points(tutorial_mat):
    grid = {"l2": [0, 0.7], "keep_prob": [1, 0.86]}
    config = {"num_steps": 300, "eval_every": 300, "metrics": ("accuracy",)}
    results = regjax.sweep(tutorial_mat, config, grid, seeds=2, folds=5, progress=False)
    splits = results.design.splits
    assert splits.train.shape == (5, 211)
    np.testing.assert_array_equal((splits.val > 0).sum(axis=0), 1)
    assert results.compare().units == "over 5 folds × 2 seeds (t, 4 df)"
    choice = results.best()
    # Xval is a test set: it is read for the chosen configuration, and ranks nothing.
    expected = results.table("test_accuracy")[choice.index].mean()
    assert choice.test is not None
    assert choice.test == pytest.approx(expected)
    assert not any(name.startswith("test_") for name in results.summary())
    assert choice.test > 0.85


@pytest.mark.slow
@pytest.mark.bits
def test_independent_pairing_draws_for_each_configuration():
    results = run(pairing="independent", grid={"momentum": [0.1, 0.2, 0.3]})
    first = results.records["train_loss"][:, 0].reshape(3, -1)
    assert len(np.unique(first)) == first.size
    assert any("momentum is asked for" in note for note in results.notes)
    paired = run(grid={"momentum": [0.1, 0.2, 0.3]}).records["train_loss"].reshape(3, -1)
    np.testing.assert_array_equal(paired[0], paired[1])


@pytest.mark.nightly
@pytest.mark.bits
def test_keep():
    best = run(keep="best")
    scores = best.table("val_accuracy").reshape(len(GRID), -1)
    assert len(best.kept) == len(GRID)
    for row in best.kept:
        where = best.design.row(row)
        assert best.values("val_accuracy")[row] == scores[where.configuration].max()
    none = run(keep="none")
    with pytest.raises(KeyError, match="row 0 has no parameters: keep='none'"):
        none.params(0)


@pytest.mark.nightly
def test_a_config_axis_makes_groups():
    grid = regjax.grid(
        hidden=[(4,), (20, 3)], batch_size=[None, 16], optimizer=["sgd", "adam"], learning_rate=0.05
    )
    results = run(grid=grid, seeds=1)
    assert len(results.plan.groups) == 8
    assert any("60 steps are held fixed" in note for note in results.notes)
    assert sorted(set(results.summary()["num_params"])) == [17, 127]
    epochs = run(grid={"batch_size": [None, 16]}, seeds=1, epochs=3)
    assert [config.num_steps for config in epochs.design.configs] == [3, 24]
    assert any("3 epochs are held fixed" in note for note in epochs.notes)


@pytest.mark.nightly
def test_orientation_of_a_non_square_X():
    X, y = points(30, 5, 3)
    labels = np.array(["a", "b", "c"])[y]
    config = dataclasses.replace(CONFIG, layer_sizes=(5, 4, 3), num_steps=300, eval_every=300)
    results = regjax.sweep(
        (X, labels), config, {"learning_rate": 0.5}, folds=2, test=(X[:7], labels[:7]), progress=False
    )
    assert results.predict(0, X).shape == (30,)
    assert np.mean(results.predict(0, X) == labels) > 0.6
    assert results.predict_proba(0, X[:4]).shape == (4, 3)
    np.testing.assert_allclose(
        results.values("test_accuracy")[0], np.mean(results.predict(0, X[:7]) == labels[:7])
    )
    with pytest.raises(ValueError, match=r"X must be \(n_samples, 5\), got shape \(5, 30\)"):
        results.predict(0, X.T)
    for function in (regjax.sweep, regjax.plan):
        with pytest.raises(ValueError, match="same number of samples"):
            function((X.T, y), config)


BAD = {
    "an empty axis": ({"grid": {"l2": []}}, "l2 must have at least one value, got an empty axis"),
    "unknown axis": ({"grid": {"keep_probs": [1]}}, "got 'keep_probs'; did you mean keep_prob?"),
    "dropout twice": ({"grid": {"dropout": 0.1, "keep_prob": 1}}, "dropout and keep_prob must not both"),
    "too many folds": ({"folds": 400}, "folds must be at most the 211 samples, got 400"),
    "one fold": ({"folds": 1}, "folds must be at least 2, got 1"),
    "folds and validation": ({"folds": 2, "validation": 0.2}, "folds and validation must not both"),
    "no seed": ({"seeds": 0}, "seeds must be at least 1, got 0"),
    "seed twice": ({"seeds": [1, 1]}, "seeds must be distinct"),
    "batch": ({"grid": {"batch_size": [150]}}, "batch_size must be at most the 140 training samples"),
    "pairing": ({"pairing": "none"}, "pairing must be one of paired, independent"),
    "validation": ({"folds": None, "validation": 1.5}, r"validation must be a fraction in \(0, 1\), got 1.5"),
    "keep": ({"keep": "some"}, "keep must be one of all, best, none"),
    "per layer": ({"grid": {"l2": [(0.1, 0.2)]}}, r"l2 must be one value, or 3 .* got shape \(2,\)"),
    "range": ({"grid": {"keep_prob": [0]}}, r"keep_prob must be in \(0, 1\]"),
    "index": ({"folds": [([0, 1], [500])]}, "folds must list sample indices from 0 to 210"),
    "overlap": ({"folds": [([0, 1, 2], [2, 3])]}, "folds must not train on what they score"),
    "test": ({"test": 2.0}, r"test must be a fraction in \(0, 1\), got 2.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_before_anything_is_compiled(case, monkeypatch):
    monkeypatch.setattr(compiling, "programs_of", lambda task: pytest.fail("compiled"))
    options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_questions_are_checked_when_a_plan_is_given(monkeypatch):
    monkeypatch.setattr(compiling, "programs_of", None)  # nothing is compiled
    design = make_design("two_regions", CONFIG, GRID)
    with pytest.raises(ValueError, match="one_se must have at least two folds"):
        sweep.run(design, plan=make_plan(design), questions=regjax.Questions(rule="one_se"))


def test_bad_kinds():
    for options, message in [
        ({"grid": 3}, "grid must be"),
        ({"folds": "five"}, "folds must be a number"),
        ({"executor": 3}, "executor must be"),
        ({"progress": "yes"}, "progress must be"),
        ({"seeds": 1.5}, "seeds must be a whole number"),
        ({"standardize": "yes"}, "standardize must be"),
    ]:
        with pytest.raises(TypeError, match=message):
            run(**options)
    with pytest.raises(ValueError, match=r"data must be one of two_regions, moons, .*did you mean iris\?"):
        regjax.sweep("irsi")


def test_a_class_that_a_fold_lacks_is_said():
    X, y = points(20)
    y[:] = 0
    y[3] = 1
    results = regjax.sweep(
        (X, y), regjax.Config(layer_sizes=(3, 1), num_steps=2, metrics=()), folds=4, progress=False
    )
    assert any("training part of fold" in note and "class 1" in note for note in results.notes)


def test_memory_is_planned(monkeypatch):
    plan_module = __import__("sys").modules["regjax.study.plan"]
    design = make_design("two_regions", CONFIG, GRID, seeds=4, folds=2)
    plan = make_plan(design, workers=2)
    assert plan.num_rows == 96
    assert plan.keep == "all"
    assert [group.chunk for group in plan.groups] == [16, 16]
    assert [group.shared for group in plan.groups] == [False, True]
    monkeypatch.setattr(plan_module, "free_memory", lambda: sum(plan.memory.values()) - 1)
    assert make_plan(design, workers=2).num_workers == 1
    monkeypatch.setattr(plan_module, "free_memory", lambda: 200_000)
    assert make_plan(design, workers=2).groups[0].chunk == 1
    monkeypatch.setattr(plan_module, "free_memory", lambda: 1000)
    with pytest.raises(
        ValueError, match=r"grid must fit into 1000 B of free memory, .*one network at a time"
    ):
        make_plan(design)


@pytest.mark.parametrize(("seeds", "chunk"), [(8, 8), (9, 16), (127, 16), (128, 32)])
def test_chunks_depend_on_shapes_and_on_whether_rows_fill_them(seeds, chunk):
    # Not on workers: how many there are changes no bit.
    design = make_design("two_regions", CONFIG, {"keep_prob": [0.5, 0.9]}, seeds=seeds)
    assert [group.chunk for group in make_groups(design)] == [chunk]


@pytest.mark.nightly
def test_a_plan_predicts():
    plan = regjax.plan("two_regions", CONFIG, GRID, seeds=2)
    assert plan.seconds is not None
    assert plan.seconds > 0
    assert "24 networks = 12 configurations" in str(plan)


def test_weights_of_data_reach_the_folds():
    X, y = points()
    weights = np.r_[np.zeros(10), np.ones(20), np.full(20, 3.0)]
    design = make_design(Data.from_arrays(X, y, weights), regjax.Config(layer_sizes=(3, 1)), folds=5)
    assert (design.splits.train[:, :10] == 0).all()
    for train in design.splits.train:
        np.testing.assert_allclose(train[train > 0].mean(), 1)
        assert np.ptp(train[30:][train[30:] > 0]) < 1e-12


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["two classes", *(pytest.param(k, marks=pytest.mark.slow) for k in ("three classes", "regression"))],
)
def test_an_ensemble_is_the_mean_of_the_seeds_and_folds(kind):
    X, y = points(60, 3, 3)
    y = {"two classes": np.array(["a", "b"])[(y > 0) + 0], "three classes": y, "regression": X[:, 0] ** 2}[
        kind
    ]
    config = {"hidden": (5,), "num_steps": 60, "eval_every": 60}
    config["metrics"] = ("r2",) if kind == "regression" else ("accuracy",)
    results = regjax.sweep((X, y), config, {"l2": [0, 1]}, seeds=3, folds=2, progress=False)
    rows = range(6, 12)
    if kind == "regression":
        expected = np.mean([results.predict(row, X) for row in rows], axis=0)
        np.testing.assert_allclose(results.predict(7, X, ensemble=True), expected, rtol=1e-5)
    else:
        mean = np.mean([results.predict_proba(row, X) for row in rows], axis=0)
        np.testing.assert_allclose(results.predict_proba(11, X, ensemble=True), mean, rtol=1e-5)
        names = np.unique(y)
        np.testing.assert_array_equal(results.predict(8, X, ensemble=True), names[mean.argmax(axis=1)])
    summary = results.summary(ensemble=True)
    table = {
        name: summary[name].to_numpy(float) for name in summary if str(name).startswith(("ensemble", "val"))
    }
    for configuration in range(2):
        losses, ranked = [], []
        for fold in range(2):
            held_out = results.design.splits.val[fold] > 0
            own = [results.design.index(configuration, seed, fold) for seed in range(3)]
            if kind == "regression":
                mean = np.mean([results.predict(row, X[held_out]) for row in own], axis=0)
                errors = (mean - y[held_out]) ** 2
                losses.append(errors.mean() / 2)
                ranked.append(1 - errors.sum() / ((y[held_out] - y[held_out].mean()) ** 2).sum())
            else:
                mean = np.mean([results.predict_proba(row, X[held_out]) for row in own], axis=0)
                index = np.searchsorted(np.unique(y), y[held_out])
                losses.append(-np.log(mean[np.arange(len(mean)), index]).mean())
                ranked.append((mean.argmax(axis=1) == index).mean())
        assert table["ensemble_val_loss"][configuration] == pytest.approx(np.mean(losses), rel=1e-5)
        assert table[f"ensemble_{results.metric}"][configuration] == pytest.approx(np.mean(ranked), rel=1e-5)
    # The loss of a mean is at most the mean of the losses: cross-entropy and squared error are convex.
    assert (table["ensemble_val_loss"] <= table["val_loss"] + 1e-6).all()


@pytest.mark.nightly
@pytest.mark.bits
def test_metrics_that_are_not_asked_for_are_not_recorded():
    whole, lean = run(config=dataclasses.replace(CONFIG, metrics=None)), run()
    kept = [name for name in whole.records if not name.endswith(("balanced_accuracy", "roc_auc"))]
    assert list(lean.records) == kept
    for name in kept:
        np.testing.assert_array_equal(lean.records[name], whole.records[name])
    assert lean.design.metric == "val_accuracy"
    balanced = run(config=dataclasses.replace(CONFIG, metrics=("balanced_accuracy",)), keep="none")
    assert [name for name in balanced.records if name.startswith("val_")] == [
        "val_loss",
        "val_balanced_accuracy",
    ]
    losses = run(config=dataclasses.replace(CONFIG, metrics=()), keep="none")
    assert losses.best().metric == losses.design.metric == "val_loss"
    with pytest.raises(ValueError, match=r"metric must be one of val_loss, got 'val_roc_auc'.*not recorded"):
        losses.best(metric="val_roc_auc")


def test_predictions_are_of_inputs_as_they_were_handed_in():
    X, y = points(60)
    X = 100 + 10 * X
    config = {"hidden": (4,), "num_steps": 60, "eval_every": 60, "metrics": ("accuracy",)}
    results = regjax.sweep((X, y), config, {"l2": 0}, validation=0.3, standardize=True, progress=False)
    held_out = results.design.splits.val[0] > 0
    right = np.mean(results.predict(0, X[held_out]) == y[held_out])
    assert right == pytest.approx(results.values("val_accuracy")[0])
    assert right > 0.8
