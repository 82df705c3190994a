import runpy
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "examples" / "research" / "early_stopping_is_l2.py"


@pytest.mark.slow
def test_stopping_is_near_a_penalty(tmp_path):
    found = runpy.run_path(str(RECIPE))["main"](["--smallest", "--out", str(tmp_path / "figure.png")])
    assert found["trajectory_error"] < 1e-10
    # Half of what lies between the stopped weights and those without a penalty, or less.
    assert found["largest_distance"] < 0.25
    assert abs(found["best_stopped"] / found["best_penalised"] - 1) < 0.02
    assert found["best_stopped"] < found["unregularised"]
    assert (tmp_path / "figure.png").stat().st_size > 10_000
