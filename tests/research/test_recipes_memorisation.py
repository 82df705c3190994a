import runpy
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "examples" / "research" / "memorisation.py"


@pytest.mark.slow
def test_random_labels_are_fitted_and_only_stopping_prevents_it(tmp_path):
    found = runpy.run_path(str(RECIPE))["main"](["--smallest", "--out", str(tmp_path / "figure.png")])
    assert found["memorised"] > 0.99
    assert found["test_of_random"] < 0.2
    assert found["test_of_true"] > 0.9
    # A penalty and dropout leave random labels learnable, and help nonetheless where half of them are true.
    assert min(found["random_l2"], found["random_dropout"]) > 0.9
    assert found["random_stopping"] < 0.6
    assert min(found["test_l2"], found["test_dropout"]) > found["test_none"] + 0.02
    assert found["test_stopping"] > found["test_none"] + 0.08
    assert (tmp_path / "figure.png").stat().st_size > 10_000
