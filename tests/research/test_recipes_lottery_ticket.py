import runpy
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "examples" / "research" / "lottery_ticket.py"


@pytest.mark.slow
def test_the_ticket_wins_over_fresh_weights_under_its_mask(tmp_path):
    found = runpy.run_path(str(RECIPE))["main"](["--smallest", "--out", str(tmp_path / "figure.png")])
    assert found["largest_pruned"] == 0
    # A fifth of the weights is as good as all of them; the interval of the paired gain leaves out 0.
    assert found["ticket_0.2"] > found["dense"] - 0.015
    assert found["gain_0.05"] - found["gain_half_0.05"] > 0
    assert found["early_0.05"] - found["early_half_0.05"] > 0.05
    assert found["ticket_0.05"] > found["fresh_0.05"] + 0.02 > found["random_0.05"] + 0.02
    assert (tmp_path / "figure.png").stat().st_size > 10_000
