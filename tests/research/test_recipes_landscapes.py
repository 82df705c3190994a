"""The recipe of landscapes at its smallest: the shapes that were published."""

import runpy
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "examples" / "research" / "landscapes.py"


@pytest.mark.slow
def test_l2_lowers_barriers_sharpness_norms_and_the_number_of_parameters(tmp_path, capsys):
    found = runpy.run_path(str(RECIPE))["main"](["--smallest", "--out", str(tmp_path / "landscapes.png")])
    # Frankle et al. 2020: networks of different seeds have a barrier between them, and l2 lowers it.
    assert found["barrier_without"] > 1 > found["barrier_with"]
    assert found["sharpness_without"] > 3 * found["sharpness_with"]
    # Krogh & Hertz 1992; MacKay 1992: smaller weights, fewer well-determined parameters.
    assert found["norm_without"] > 3 * found["norm_with"]
    assert found["path_without"] > 10 * found["path_with"]
    assert found["determined_without"] > 1.5 * found["determined_with"]
    # Li et al. 2018: the minimum of smaller weights is wider, filter-normalised too.
    assert found["wide_with"] > 5 * found["wide_without"]
    assert (tmp_path / "landscapes.png").stat().st_size > 20_000
    assert "barrier  sharpness" in capsys.readouterr().out
