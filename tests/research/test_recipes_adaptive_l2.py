import runpy
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "examples" / "research" / "adaptive_l2.py"


@pytest.mark.slow
def test_dropout_of_inputs_is_the_penalty_and_no_plain_one(tmp_path):
    found = runpy.run_path(str(RECIPE))["main"](["--smallest", "--out", str(tmp_path / "figure.png")])
    assert found["exact_error"] < 1e-6
    assert found["trained_error"] < 0.3 * found["plain_error"]
    assert found["trained_error"] < 0.3 * found["first_error"]
    assert found["largest_ratio"] > 5
    assert (tmp_path / "figure.png").stat().st_size > 10_000
