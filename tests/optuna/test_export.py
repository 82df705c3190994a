"""A sweep as a study: Optuna's own functions read it."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import regjax
from regjax.optuna.export import as_study, distribution_of

GRID = regjax.grid(l2=[0.01, 0.1, 1], learning_rate=[0.1, 0.3, 1e8], hidden=[(4,), (3, 2)])


@pytest.fixture(scope="module")
def results():
    return regjax.sweep("two_regions", {"num_steps": 40, "eval_every": 20}, GRID, folds=2)


@pytest.mark.nightly
def test_trials_are_the_configurations(results):
    study = as_study(results, name="sweep")
    assert [trial.params["l2"] for trial in study.trials] == [c["l2"] for c in GRID]
    assert {trial.params["hidden"] for trial in study.trials} == {"4", "3/2"}
    for index, trial in enumerate(study.trials):
        diverged = bool(np.any(results.diverged_at[2 * index : 2 * index + 2] >= 0))
        assert trial.state == (TrialState.FAIL if diverged else TrialState.COMPLETE)
        if not diverged:
            assert trial.value == results.units("val_accuracy")[index].mean()
            assert list(trial.intermediate_values) == [0, 20, 40]
            assert trial.user_attrs["scores"] == results.units("val_accuracy")[index].tolist()
    assert study.best_trial.number == results.best().index
    assert any(trial.state == TrialState.FAIL for trial in study.trials)


def test_importances_and_figures_of_optuna_read_it(results):
    study = as_study(results)
    found = optuna.importance.get_param_importances(study)
    assert set(found) == {"l2", "learning_rate", "hidden"}
    assert sum(found.values()) == pytest.approx(1)


def test_a_study_in_a_storage_has_the_direction_of_its_metric(results, tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    as_study(results, metric="val_loss", name="s", storage=storage)
    study = optuna.load_study(study_name="s", storage=storage)
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert len(study.trials) == len(GRID)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 1.0], FloatDistribution(0.1, 1.0, log=True)),
        ([0.5, 1.0], FloatDistribution(0.5, 1.0)),
        ([0.0, 10.0], FloatDistribution(0.0, 10.0)),
        ([16, 32], IntDistribution(16, 32)),
        ([None, 32], CategoricalDistribution(["full", "32"])),
        ([1.0, float("inf")], CategoricalDistribution(["1", "inf"])),
        (["relu", "tanh"], CategoricalDistribution(["relu", "tanh"])),
    ],
)
def test_distribution_of_an_axis(values, expected):
    assert distribution_of(values) == expected


@pytest.mark.nightly
def test_one_configuration_is_no_study():
    results = regjax.sweep("two_regions", {"hidden": (2,), "num_steps": 2, "eval_every": 1}, folds=2)
    with pytest.raises(ValueError, match="must have a grid with an axis"):
        as_study(results)
