"""Optuna: trials of a study are lanes of one program, and their values are those of a sweep."""

import doctest
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import regjax
from regjax.engine import scheduler
from regjax.optuna.trials import optimize
from regjax.store.identity import identities

CONFIG = {"hidden": (4,), "num_steps": 40, "eval_every": 10}
SPACE = {"l2": FloatDistribution(1e-3, 10, log=True), "learning_rate": FloatDistribution(0.01, 3, log=True)}
ASKED = {"config": CONFIG, "folds": 2, "seeds": 2}


@pytest.fixture(autouse=True)
def quiet():
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


def new_study(direction="maximize", pruner=None, **options):
    sampler = optuna.samplers.RandomSampler(seed=1)
    return optuna.create_study(
        direction=direction, sampler=sampler, pruner=pruner or optuna.pruners.NopPruner(), **options
    )


def halving():
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=10, reduction_factor=2)


@pytest.mark.nightly
def test_values_are_those_of_a_sweep():
    study = new_study()
    optimize(study, "two_regions", SPACE, n_trials=6, batch=4, **ASKED)
    full = regjax.sweep("two_regions", CONFIG, [trial.params for trial in study.trials], folds=2, seeds=2)
    names = identities(full.design)
    for index, trial in enumerate(study.trials):
        records = full.records["val_accuracy"][4 * index : 4 * index + 4].astype(float).mean(axis=0)
        np.testing.assert_allclose([trial.intermediate_values[s] for s in (10, 20, 30, 40)], records[1:])
        assert trial.value == trial.intermediate_values[40]
        np.testing.assert_allclose(trial.user_attrs["scores"], full.units("val_accuracy")[index])
        assert trial.user_attrs["rows"] == names[4 * index : 4 * index + 4]


def test_trials_that_are_pruned_leave_their_lanes(monkeypatch):
    trained = []
    monkeypatch.setattr(
        scheduler.Scheduler,
        "take",
        lambda self, chunk, task, done, real=scheduler.Scheduler.take: (
            trained.append((done.stop - task.start) * len(chunk.places)),
            real(self, chunk, task, done),
        )[1],
    )
    study = new_study(pruner=halving())
    optimize(study, "two_regions", SPACE, n_trials=16, **ASKED)
    states = Counter(trial.state for trial in study.trials)
    assert states[TrialState.PRUNED] >= 6
    assert states[TrialState.COMPLETE] >= 1
    assert sum(trained) == 4 * sum(max(trial.intermediate_values) for trial in study.trials)


def test_a_storage_keeps_the_curves_and_goes_on(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    optimize(new_study(study_name="s", storage=storage), "two_regions", SPACE, n_trials=3, **ASKED)
    again = optuna.load_study(study_name="s", storage=storage)
    assert [sorted(trial.intermediate_values) for trial in again.trials] == [[10, 20, 30, 40]] * 3
    optimize(again, "two_regions", SPACE, n_trials=2, **ASKED)
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE] * 5
    assert all(len(trial.user_attrs["scores"]) == 2 for trial in again.trials)


@pytest.mark.nightly
def test_a_loss_is_minimised():
    study = new_study("minimize")
    optimize(study, "two_regions", SPACE, n_trials=2, metric="val_loss", config=CONFIG, validation=0.3)
    assert study.best_value == min(trial.value for trial in study.trials)
    assert len(study.best_trial.user_attrs["scores"]) == 1


@pytest.mark.slow
def test_a_function_defines_the_space_while_it_runs():
    def space(trial):
        found = {"hidden": [(4,), (3, 2)][trial.suggest_int("depth", 0, 1)]}
        if trial.suggest_categorical("kind", ["l2", "dropout"]) == "l2":
            return found | {"l2": trial.suggest_float("l2", 0.01, 10, log=True)}
        return found | {"dropout": trial.suggest_float("dropout", 0, 0.5)}

    study = new_study()
    optimize(study, "two_regions", space, n_trials=6, **ASKED)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    assert {"l2" in trial.params for trial in study.trials} == {True, False}


@pytest.mark.nightly
def test_a_trial_that_diverges_fails_and_equal_ones_are_one_network():
    study = new_study()
    space = {"learning_rate": CategoricalDistribution([0.3, 1e8])}
    optimize(study, "two_regions", space, n_trials=8, **ASKED)
    for trial in study.trials:
        diverges = trial.params["learning_rate"] > 1
        assert trial.state == (TrialState.FAIL if diverges else TrialState.COMPLETE)
        assert ("diverged_by" in trial.user_attrs) == diverges
    assert len({trial.value for trial in study.trials if trial.value is not None}) == 1


def test_a_batch_that_diverges_as_a_whole_ends(tmp_path):
    study = new_study()
    store = tmp_path / "s.sqlite"
    space = {"learning_rate": FloatDistribution(1e8, 1e9)}
    optimize(study, "two_regions", space, n_trials=2, store=store, **ASKED)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2


@pytest.mark.parametrize("stored", [False, True])
def test_an_interruption_fails_its_trials_and_runs_them_first_next_time(tmp_path, monkeypatch, stored):
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    store, seen = tmp_path / "s.sqlite" if stored else None, []

    def stops(progress):
        seen.append(progress)
        if progress.done == progress.num_rows and len(seen) > 4:
            raise KeyboardInterrupt

    study = new_study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, "two_regions", SPACE, n_trials=4, store=store, progress=stops, **ASKED)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * 4 + [TrialState.WAITING] * 4
    trained = []
    monkeypatch.setattr(
        scheduler.Scheduler,
        "take",
        lambda self, chunk, task, done, real=scheduler.Scheduler.take: (
            trained.append(chunk),
            real(self, chunk, task, done),
        )[1],
    )
    optimize(study, "two_regions", SPACE, n_trials=4, store=store, **ASKED)
    assert [trial.state for trial in study.trials[4:]] == [TrialState.COMPLETE] * 4
    assert [trial.params for trial in study.trials[:4]] == [trial.params for trial in study.trials[4:]]
    assert bool(trained) != stored  # a store has them all


def test_an_error_fails_its_trials_and_runs_none_again():
    study = new_study()
    with pytest.raises(ValueError, match="boom"):
        optimize(study, "two_regions", lambda trial: (_ for _ in ()).throw(ValueError("boom")), **ASKED)
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}


def test_a_sampler_that_has_tried_its_grid_ends_the_call():
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.GridSampler({"l2": [0.1, 1, 2]}, seed=0)
    )
    optimize(study, "two_regions", {"l2": FloatDistribution(0.01, 10)}, n_trials=9, batch=3, **ASKED)
    assert sorted(trial.params["l2"] for trial in study.trials) == [0.1, 1, 2]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


@pytest.mark.nightly
def test_processes_share_a_storage(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    new_study(study_name="s", storage=storage)
    code = f"""
import optuna, regjax
from optuna.distributions import FloatDistribution
study = optuna.load_study(study_name="s", storage={storage!r})
space = {{"l2": FloatDistribution(1e-3, 10, log=True)}}
config = {CONFIG!r}
regjax.optuna.optimize(study, "two_regions", space, config=config, n_trials=6, batch=2, folds=2)
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    trials = optuna.load_study(study_name="s", storage=storage).trials
    assert len(trials) == 12
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}


def test_optuna_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(vars(regjax.optuna), "optimize", raising=False)
    with pytest.raises(ImportError, match=re.escape("pip install 'regjax[optuna]'")):
        _ = regjax.optuna.optimize


def trained_study():
    study = new_study()
    optimize(study, "two_regions", {"l2": FloatDistribution(0.1, 1)}, n_trials=1, **ASKED)
    return study


@pytest.mark.parametrize(
    ("study", "space", "options", "message"),
    [
        (lambda: new_study("minimize"), SPACE, {}, "study must maximize val_accuracy, got direction minimi"),
        (new_study, SPACE, {"metric": "val_loss"}, "study must minimize val_loss, got direction maximize"),
        (
            lambda: optuna.create_study(directions=["maximize", "minimize"]),
            SPACE,
            {},
            "study must have one objective, val_accuracy, got 2",
        ),
        (trained_study, SPACE, {}, "study must have the parameters of the space, l2, learning_rate, and"),
        (trained_study, {"l2": IntDistribution(1, 2)}, {}, "that of l2 differs in trial 0"),
        (
            trained_study,
            {"l2": FloatDistribution(0.1, 1)},
            {"config": CONFIG | {"num_steps": 80}},
            "study must have values of one steps, here 80, got trials of 40",
        ),
        (new_study, {"l3": FloatDistribution(0, 1)}, {}, "space must be one of"),
        (new_study, {"keep_prob": FloatDistribution(0, 1)}, {}, "keep_prob must be in (0, 1]"),
        (new_study, {"l2": CategoricalDistribution([0.1, -1])}, {}, "l2 must be a finite number >= 0"),
        (new_study, {"l2": 0.1}, {}, "space must have an Optuna distribution"),
        (new_study, SPACE, {"n_trials": 0}, "n_trials must be"),
        (new_study, SPACE, {"batch": 0}, "batch must be"),
        (new_study, SPACE, {"folds": None}, "must have samples held out"),
    ],
)
def test_bad_input_is_one_line_and_asks_for_no_trial(study, space, options, message):
    study = study()
    before = len(study.trials)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        optimize(study, "two_regions", space, **(ASKED | options))
    assert "\n" not in str(caught.value)
    assert len(study.trials) == before


def test_a_space_is_a_mapping_or_a_function():
    with pytest.raises(TypeError, match="space must be a mapping"):
        optimize(new_study(), "two_regions", [("l2", 1)], **ASKED)


@pytest.mark.nightly
def test_the_page_runs():
    page = Path(regjax.__file__).parents[1] / "docs" / "optuna.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert attempted >= 10


@pytest.mark.nightly
def test_a_study_of_other_samples_is_refused():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    study = new_study()
    optimize(study, (X, y), SPACE, n_trials=2, progress=False, **ASKED)
    with pytest.raises(ValueError, match="study must have values of one data set"):
        optimize(study, (X + 1, y), SPACE, n_trials=2, progress=False, **ASKED)
    assert len(study.trials) == 2
