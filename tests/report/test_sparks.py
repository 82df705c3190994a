"""The curves of the table: one scale, gaps where nothing is finite, and few bytes."""

import re

import numpy as np
import pytest
from pages import arrays

from regjax.report.sparks import HEIGHT, POINTS, WIDTH, path, sparks


def points(text):
    return np.array([[float(v) for v in pair.split()] for pair in re.split("[ML]", text)[1:]])


@pytest.mark.nightly
def test_a_line_is_the_mean_curve_of_its_configuration(planar):
    found = sparks(planar, "val_accuracy")
    assert len(found) == len(planar.design.configurations) == 12
    for configuration, text in enumerate(found):
        line, curve = points(text), planar.carried_on("val_accuracy", configuration).mean(axis=(0, 1))
        assert line.shape == (POINTS, 2)
        assert line.min() >= 1
        assert (line.max(axis=0) <= [WIDTH - 1, HEIGHT - 1]).all()
        assert np.sign(line[0, 1] - line[-1, 1]) == np.sign(curve[-1] - curve[0])  # SVG counts downwards


def test_all_lines_have_one_scale(planar):
    last = [points(text)[-1, 1] for text in sparks(planar, "val_loss")]
    means = planar.table("val_loss").mean(axis=(1, 2))
    order = np.argsort(means)
    assert (np.diff(np.array(last)[order]) <= 0).all()


def test_what_is_not_finite_is_a_gap():
    assert path([0, 6, 12, 18], np.array([1, np.nan, 2, 3])) == "M0 1M12 2L18 3"
    assert path([0, 6], np.array([np.nan, np.nan])) == ""


@pytest.mark.nightly
def test_what_diverged_does_not_flatten_the_rest(one_split):
    found = sparks(one_split, "val_loss")
    kept = one_split.num_ok() == one_split.design.num_replicates
    heights = [np.ptp(points(text)[:, 1]) for text, ok in zip(found, kept, strict=True) if ok]
    assert min(heights) > 2


@pytest.mark.slow
def test_the_page_has_them_in_order_and_small(planar):
    found = arrays(planar)["sparks"]
    assert found == sparks(planar, "val_accuracy")
    assert max(map(len, found)) < 130  # 10,000 of them: 1.3 MB at most
