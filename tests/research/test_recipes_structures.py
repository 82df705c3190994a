"""The recipe of blocks: bins learn a function of steps that a plain network does not."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "research" / "structures.py"


@pytest.mark.slow
def test_bins_learn_steps_that_a_plain_network_does_not(tmp_path):
    spec = importlib.util.spec_from_file_location("structures", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.main(["--smallest", "--out", str(tmp_path / "f.png")])
    assert found["piecewise on steps"] > found["plain on steps"] + 0.1
    assert (tmp_path / "f.png").stat().st_size > 1000
