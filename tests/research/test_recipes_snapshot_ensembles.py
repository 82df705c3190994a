"""The recipe of snapshot ensembles: of one cycle it is one network, of two the mean of two."""

import runpy
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "research" / "snapshot_ensembles.py"


@pytest.mark.slow
def test_independent_trainings_are_better_than_one_and_one_cycle_is_one_training(tmp_path):
    found = runpy.run_path(str(PATH))["main"](["--smallest", "--out", str(tmp_path / "f.png")])
    for curve in ("all snapshots of one training", "as many independent trainings"):
        assert abs(found[f"loss, {curve}, 1 of 600 steps"]) < 1e-6
    assert found["loss, as many independent trainings, 2 of 600 steps"] < 0
    assert found["accuracy of one training, 600 steps"] > 0.75
    assert (tmp_path / "f.png").stat().st_size > 1000
