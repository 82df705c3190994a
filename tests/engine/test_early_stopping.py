"""Early stopping: what is watched, when a run stops, which parameters come back, and that lanes are freed."""

import functools

import jax
import numpy as np
import pytest

import regjax
from regjax.core.data import Data
from regjax.data.splits import make_splits
from regjax.engine import pace, scheduler
from regjax.engine.replay import replay
from regjax.store.store import Store
from regjax.study.comparison import unit_interval

FIT = {"hidden": (8,), "num_steps": 200, "eval_every": 10, "optimizer": "adam", "batch_size": 16}
FIT["metrics"] = ("accuracy",)  # the others are half of what is compiled to measure
GRID = [{"learning_rate": rate, "patience": 30} for rate in (0.003, 0.03, 0.1, 0.3)]
NEVER = 1e6
KEY = regjax.replicate_key(0)


def samples(n=120, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    return X, (X[:, 0] + rng.standard_normal(n) > 0) + 0


@functools.cache
def swept(patience=30, **options):
    grid = [entry | {"patience": patience} for entry in GRID]
    how = {"seeds": 2, "folds": 2, "progress": False} | options
    return regjax.sweep(samples(), FIT, grid, **how)


def same(one, other):
    for name in one.records:
        np.testing.assert_array_equal(one.records[name], other.records[name])
    np.testing.assert_array_equal(one.stopped_at, other.stopped_at)
    assert one.kept.keys() == other.kept.keys()
    for row in one.kept:
        jax.tree.map(np.testing.assert_array_equal, one.params(row), other.params(row))


def stop_by_hand(losses, steps, patience):
    """The step of the best record, and the step at which the run stops, or -1."""
    best = 0  # which does not compete
    losses = [np.inf, *losses[1:]]
    for record in range(1, len(losses)):
        if losses[record] < losses[best]:
            best = record
        elif steps[record] - steps[best] >= patience:
            return steps[best], steps[record]
    return steps[best], -1


@pytest.mark.nightly
@pytest.mark.bits
def test_a_run_stops_when_it_should_and_the_best_parameters_come_back():
    results, full = swept(), swept(NEVER)
    steps = full.steps(0)
    table = results.to_pandas()
    assert (full.stopped_at == -1).all()
    assert (results.stopped_at >= 0).any()
    for row, losses in enumerate(full.records["stop_loss"]):
        best, stopped = stop_by_hand(losses, steps, 30)
        assert results.stopped_at[row] == stopped
        assert table["final_step"][row] == best
        seen = steps <= (stopped if stopped >= 0 else steps[-1])
        for name, values in full.records.items():
            np.testing.assert_array_equal(results.records[name][row], np.where(seen, values[row], np.nan))
        at_best = full.records["val_loss"][row, list(steps).index(best)]
        assert results.values("val_loss")[row] == at_best
    # The parameters are those of a run that ends at the best step, to the bit.
    row = int(np.argmax(results.stopped_at >= 0))
    best = int(table["final_step"][row])
    place = results.design.row(row)
    until = regjax.sweep(
        samples(), FIT | {"num_steps": best}, [entry | {"patience": NEVER} for entry in GRID],
        seeds=2, folds=2, progress=False,
    )  # fmt: skip
    assert until.steps(place.configuration)[-1] == best > 0
    jax.tree.map(np.testing.assert_array_equal, until.params(row), results.params(row))
    # And they predict: the metric is theirs.
    X, y = samples()
    held_out = results.design.splits.val[place.fold] > 0
    said = results.predict(row, X[held_out])
    assert np.mean(said == y[held_out]) == pytest.approx(results.values("val_accuracy")[row])


@pytest.mark.slow
def test_the_untrained_network_does_not_compete():
    grid = {"learning_rate": [1.0, 3.0, 10.0], "patience": 20}
    rising = regjax.sweep(samples(), FIT | {"num_steps": 40}, grid, progress=False)
    losses = rising.records["stop_loss"]
    assert (losses[:, 0] < np.nanmin(losses[:, 1:], axis=1)).any()
    final = rising.to_pandas()["final_step"].to_numpy()
    np.testing.assert_array_equal(final, 10 * (np.nanargmin(losses[:, 1:], axis=1) + 1))


@pytest.mark.nightly
@pytest.mark.bits
def test_how_the_work_is_cut_changes_nothing(monkeypatch, tmp_path):
    results = swept()
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    again = regjax.sweep(samples(), FIT, GRID, seeds=2, folds=2, progress=False, workers=1)
    same(results, again)
    # Interrupted, and resumed from the store; and read back from it.
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)

    def interrupt(progress):
        if progress.fraction > 0.3:
            raise KeyboardInterrupt

    path = tmp_path / "s.sqlite"
    with pytest.raises(KeyboardInterrupt):
        regjax.sweep(samples(), FIT, GRID, seeds=2, folds=2, store=path, progress=interrupt)
    same(results, regjax.sweep(samples(), FIT, GRID, seeds=2, folds=2, store=path, progress=False))
    loaded = regjax.load(path)
    same(results, loaded)
    with Store(path, create=False) as store:
        kept = store.query("SELECT stopped_at, val_loss, stop_loss FROM results ORDER BY row")
    values = [results.values("val_loss"), results.values("stop_loss")]
    for (stopped, *metrics), expected, *said in zip(kept, results.stopped_at, *values, strict=True):
        assert stopped == (None if expected < 0 else expected)
        assert metrics == [float(value) for value in said]
    row = int(np.argmax(results.stopped_at >= 0))
    assert replay(path, row).same


@pytest.mark.nightly
def test_stopping_frees_lanes(monkeypatch):
    trained = []

    def counted(task):
        done = run_task(task)
        trained.append((done.stop - task.start) * np.size(task.hparams.learning_rate))
        return done

    run_task = scheduler.run_task
    monkeypatch.setattr(scheduler, "run_task", counted)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-3)
    grid = [{"learning_rate": rate, "patience": 30} for rate in np.geomspace(0.01, 1, 16).tolist()]
    fit = FIT | {"num_steps": 1000, "batch_size": None}
    results = regjax.sweep(samples(), fit, grid, seeds=4, folds=2, progress=False)
    stopped = np.where(results.stopped_at >= 0, results.stopped_at, 1000)
    assert stopped.sum() < 0.5 * 1000 * len(results)
    # What was trained is what was asked for, but for the last chunks' spare lanes and a task's steps.
    assert sum(trained) < 0.7 * 1000 * len(results)


def test_what_is_watched_is_of_the_training_samples_alone():
    X, y = samples()
    data = Data.from_arrays(X, y)
    splits = make_splits(data, 3, stopping=0.2)
    for fold in range(3):
        watched, train = splits.stop[fold] > 0, splits.trains(fold, True)
        assert not np.any(watched & (splits.val[fold] > 0))
        assert not np.any(watched & (train > 0))
        assert np.array_equal(watched | (train > 0), splits.train[fold] > 0)
        assert watched.sum() == pytest.approx(0.2 * splits.num_train[fold], abs=1)
        assert y[watched].mean() == pytest.approx(y[splits.train[fold] > 0].mean(), abs=0.05)
        for weights in (train, splits.stop[fold]):
            assert weights[weights > 0].mean() == pytest.approx(1)
        assert splits.trains(fold, False) is not train
        assert np.array_equal(splits.trains(fold, False), splits.train[fold])
    groups = np.arange(120) // 10
    grouped = make_splits(data, 3, groups=groups, stopping=0.25)
    for fold in range(3):
        parts = (grouped.stop[fold], grouped.trains(fold, True), grouped.val[fold])
        found = [set(groups[weights > 0]) for weights in parts]
        assert sum(map(len, found)) == 12
        assert found[0]


@pytest.mark.slow
@pytest.mark.bits
def test_no_leak_of_held_out_samples():
    X, y = samples()
    held_out = swept().design.splits.val[0] > 0
    X[held_out] = 1e30
    again = regjax.sweep((X, y), FIT, GRID, seeds=2, folds=2, progress=False)
    first = np.array([swept().design.row(row).fold == 0 for row in range(len(again))])
    np.testing.assert_array_equal(again.stopped_at[first], swept().stopped_at[first])
    for row in np.flatnonzero(first):
        jax.tree.map(np.testing.assert_array_equal, again.params(row), swept().params(row))


@pytest.mark.nightly
@pytest.mark.bits
def test_rows_without_patience_train_on_all_samples():
    alone = regjax.sweep(samples(), FIT, [{"learning_rate": 0.03}], seeds=2, folds=2, progress=False)
    beside = regjax.sweep(samples(), FIT, [{"learning_rate": 0.03}, *GRID], seeds=2, folds=2, progress=False)
    np.testing.assert_array_equal(alone.records["val_loss"], beside.records["val_loss"][:4])
    assert np.isnan(beside.records["stop_loss"][:4]).all()
    table = beside.to_pandas()
    assert np.all(table["stopped_at"][:4].isna())
    assert np.all(table["final_step"][:4] == 200)
    assert "stopped_at" not in alone.to_pandas()


@pytest.mark.nightly
@pytest.mark.bits
def test_a_single_run_stops_as_in_the_sweep():
    results = swept()
    design = results.design
    row = int(np.argmax(results.stopped_at >= 0))
    place = design.row(row)
    fit = regjax.make_train(design.configs[place.configuration])
    data = design.data._replace(weights=design.splits.trains(place.fold, True))
    stop = design.data._replace(weights=design.splits.stop[place.fold])
    key = regjax.replicate_key(place.seed, place.fold)
    hparams = regjax.HParams(**GRID[place.configuration])
    run = fit(key, hparams, data, stop=stop)
    assert int(run.history["stopped_at"][-1]) == results.stopped_at[row]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    close(run.history["stop_loss"], results.records["stop_loss"][row])
    jax.tree.map(close, run.params, results.params(row))
    assert bool(run.history["finite"].all())
    # Under vmap, where a stopped lane waits for the others.
    many = jax.vmap(lambda patience: fit(key, hparams._replace(patience=patience), data, stop=stop))(
        np.array([1e6, 30], np.float32)
    )
    assert many.history["stopped_at"][:, -1].tolist() == [-1, results.stopped_at[row]]
    for bad in ((hparams, None), (hparams._replace(patience=None), stop)):
        with pytest.raises(ValueError, match="stop must be given, samples to watch, exactly where"):
            fit(key, bad[0], data, stop=bad[1])


def test_a_diverged_run_is_not_put_back():
    X, _ = samples()
    grid = [{"learning_rate": 0.01, "patience": 1000}, {"learning_rate": 1e6, "patience": 1000}]
    config = {"hidden": (4,), "num_steps": 60, "eval_every": 5, "metrics": ()}
    results = regjax.sweep((X, X[:, 0] * 10), config, grid, folds=2, progress=False)
    assert (results.diverged_at.reshape(2, 2)[1] > 0).all()
    assert np.isnan(results.values("val_loss").reshape(2, 2)[1]).all()
    assert (results.stopped_at == -1).all()


@pytest.mark.slow
def test_one_split_and_the_best_of_each():
    results = regjax.sweep(samples(), FIT, GRID, seeds=3, validation=0.3, keep="best", progress=False)
    assert (results.stopped_at >= 0).any()
    X, y = samples()
    held_out = results.design.splits.val[0] > 0
    assert len(results.kept) == len(GRID)
    for row in results.kept:
        seeds = results.values("val_accuracy").reshape(-1, 3)[results.design.row(row).configuration]
        assert results.values("val_accuracy")[row] == seeds.max()
    # The per-example scores are of the parameters that were put back.
    for row in results.kept:
        right = results.predict(row, X[held_out]) == y[held_out]
        np.testing.assert_array_equal(results.examples["right"][row], right)


def test_what_makes_no_sense_is_refused():
    for stopping in (0.0, 1.0, 2, "a", None):
        with pytest.raises(ValueError, match=r"stopping must be a fraction in \(0, 1\)"):
            regjax.sweep(samples(), FIT, GRID, stopping=stopping, progress=False)
    for patience in (0, -1):
        with pytest.raises(ValueError, match="patience must be a number > 0"):
            regjax.sweep(samples(), FIT, {"patience": patience}, progress=False)
    X, y = samples(12)
    with pytest.raises(ValueError, match="stopping must leave a sample of each of 2 classes on both sides"):
        regjax.sweep((X, y), {"num_steps": 5}, {"patience": 5}, folds=2, stopping=0.1, progress=False)
    with pytest.raises(ValueError, match="batch_size must be at most the 54 training samples"):
        regjax.sweep(samples(), FIT | {"batch_size": 60}, {"patience": [None, 5]}, folds=2, progress=False)


@pytest.mark.slow
def test_the_last_iterate_stands_beside_an_average():
    grid = [{"learning_rate": 0.1}, {"learning_rate": 0.1, "ema_decay": 0.9}]
    results = regjax.sweep(samples(), FIT | {"dtype": "float64"}, grid, folds=2, progress=False)
    for name in ("val_loss", "train_cost", "val_accuracy"):
        plain, averaged = results.records[name].reshape(2, 2, -1)
        none, last = results.records[f"{name}_last"].reshape(2, 2, -1)
        np.testing.assert_allclose(last, plain, rtol=1e-12)
        assert np.isnan(none).all()
        assert name == "val_accuracy" or not np.allclose(averaged, last)
    assert "final_val_loss_last" in results.to_pandas()


@pytest.mark.nightly
@pytest.mark.bits
def test_the_standardiser_does_not_see_what_is_watched():
    X, y = samples()
    options = {"folds": 2, "standardize": True, "progress": False}
    grid = [{"patience": NEVER}, {}]
    plain = regjax.sweep((X, y), FIT, grid, **options)
    spoiled = X.copy()
    spoiled[plain.design.splits.stop[0] > 0] = 1e3
    other = regjax.sweep((spoiled, y), FIT, grid, **options)
    # What fold 0 trains on is as it was: so are its curves on these samples; without patience they are not.
    np.testing.assert_array_equal(plain.records["train_loss"][0], other.records["train_loss"][0])
    assert not np.allclose(plain.records["train_loss"][2], other.records["train_loss"][2])
    X_val = X[plain.design.splits.val[0] > 0]
    found = np.mean(plain.predict(0, X_val) == y[plain.design.splits.val[0] > 0])
    assert found == pytest.approx(plain.values("val_accuracy")[0])


def test_a_diverged_single_run_says_so():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 4))
    data = Data.from_arrays(X, X[:, 0] * 10)
    config = regjax.Config(layer_sizes=(4, 6, 6, 1), num_steps=60, eval_every=5, metrics=())
    run = regjax.make_train(config)(KEY, regjax.HParams(1e6, patience=10), data, stop=data)
    finite = np.asarray(run.history["finite"])
    assert not finite.all()
    assert not finite[int(np.argmin(finite)) :].any()
    assert int(run.history["stopped_at"][-1]) == -1


@pytest.mark.nightly
def test_what_early_stopping_costs_is_counted_and_said():
    plain = regjax.sweep(samples(), FIT, [{"l2": 0}, {"l2": 1}], folds=5, progress=False)
    early = regjax.sweep(samples(), FIT, [{"l2": 0}, {"patience": 30}], folds=5, stopping=0.5, progress=False)
    d = np.array([0.01, 0.03, 0.02, 0.06, -0.01])
    assert unit_interval(early.design, d).se > 1.1 * unit_interval(plain.design, d).se
    said = " ".join(early.notes)
    assert "early stopping watches" not in said  # 48 samples
    few = regjax.plan(samples(), FIT, {"patience": [None, 5, 500]}, folds=5, probe=False)
    said = " ".join(few.notes)
    for words in ("early stopping watches", "at least the number of steps", "less than eval_every"):
        assert words in said
    assert "stopped early" in repr(early)
    summary = early.summary()
    assert summary["stopped"].tolist()[0] == 0
    assert summary["stopped"].tolist()[1] > 0
    with pytest.raises(ValueError, match=r"groups must have shape \(120,\), got \(50,\)"):
        regjax.sweep(samples(), FIT, folds=[(np.arange(60), np.arange(60, 120))], groups=np.zeros(50))
