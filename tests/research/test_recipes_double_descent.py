import runpy
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "examples" / "research" / "double_descent.py"


@pytest.mark.slow
def test_the_error_peaks_at_the_threshold_and_the_best_penalty_removes_the_peak(tmp_path):
    found = runpy.run_path(str(RECIPE))["main"](["--smallest", "--out", str(tmp_path / "figure.png")])
    assert 0.9 <= found["peak_at"] <= 1.2
    assert found["peak"] > 1.5 * found["valley"]
    assert found["widest"] < found["valley"]
    assert found["best_at_peak"] < 0.5 * found["peak"]
    assert found["largest_rise"] < 0.03
    assert (tmp_path / "figure.png").stat().st_size > 10_000
