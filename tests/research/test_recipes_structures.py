"""The recipe of blocks: bins learn a function of steps that a plain network does not."""

import runpy
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "research" / "structures.py"


@pytest.mark.slow
def test_bins_learn_steps_that_a_plain_network_does_not(tmp_path):
    found = runpy.run_path(str(PATH))["main"](["--smallest", "--out", str(tmp_path / "f.png")])
    assert found["piecewise on steps"] > found["plain on steps"] + 0.1
    assert (tmp_path / "f.png").stat().st_size > 1000
