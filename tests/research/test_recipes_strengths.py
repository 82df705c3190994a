"""The recipe of a λ for each input feature: descent lowers the loss on fresh samples too."""

import importlib.util
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_many_strengths_beat_one_on_fresh_samples(tmp_path):
    spec = importlib.util.spec_from_file_location("strengths", ROOT / "examples/research/strengths.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    with jax.numpy_dtype_promotion("standard"):  # of optax
        found = recipe.main(["--smallest", "--out", str(tmp_path / "picture.png")])
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert found["descent_loss"] < found["grid_loss"] - 0.05
    assert found["descent_test_loss"] < found["grid_test_loss"] - 0.05
    assert found["useful"] < found["useless"] / 5
