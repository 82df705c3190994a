"""The recipe of a λ for each input feature: descent lowers the loss on fresh samples too."""

import runpy
from pathlib import Path

import jax
import pytest

RECIPE = Path(__file__).parents[2] / "examples" / "research" / "strengths.py"


@pytest.mark.slow
def test_many_strengths_beat_one_on_fresh_samples(tmp_path):
    with jax.numpy_dtype_promotion("standard"):  # of optax
        found = runpy.run_path(str(RECIPE))["main"](["--smallest", "--out", str(tmp_path / "picture.png")])
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert found["descent_loss"] < found["grid_loss"] - 0.05
    assert found["descent_test_loss"] < found["grid_test_loss"] - 0.05
    assert found["useful"] < found["useless"] / 5
