import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "research" / "exact_dropout.py"


@pytest.mark.slow
def test_weight_scaling_is_worst_in_the_middle_and_monte_carlo_falls_as_the_root(tmp_path):
    picture = tmp_path / "figure.png"
    found = runpy.run_path(str(SCRIPT))["main"](["--smallest", "--out", str(picture)])
    assert picture.stat().st_size > 10_000
    assert 0.1 < found["worst_keep_prob"] < 0.6
    assert found["worst_rms"] > found["rms_at_half"] > 0.01
    # Close to the mean beside the scatter of the sub-networks: this is why weight scaling is used.
    assert found["rms_at_half"] < 0.5 * found["spread_at_half"]
    assert found["slope"] == pytest.approx(-0.5, abs=0.05)
    assert 5 < found["draws_at_half"] < 100
