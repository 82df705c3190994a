"""Colours and markers: distinct, known to Matplotlib and to Bokeh, and one for every verdict."""

import numpy as np
import pytest
from matplotlib.lines import Line2D
from sweeps import made_up

from regjax.plot.palette import CLASS_COLOURS, CLASS_MARKERS, VERDICTS, class_look


def test_ninety_classes_look_different():
    looks = {class_look(number) for number in range(90)}
    assert len(looks) == len(CLASS_COLOURS) * len(CLASS_MARKERS) == 90


@pytest.mark.parametrize("look", [*map(class_look, range(9)), *VERDICTS.values()])
def test_a_marker_is_filled_in_figure_and_page(look):
    from bokeh.core.enums import MarkerType

    assert look.marker in Line2D.filled_markers
    # These of Bokeh's are lines alone: with a white edge they could not be seen.
    lines = {"asterisk", "cross", "dash", "dot", "x", "y"}
    assert look.shape in set(MarkerType) - lines


def test_every_verdict_of_a_comparison_has_a_look():
    scores = 0.5 + 0.001 * np.random.default_rng(0).random((4, 1, 5))
    scores[1] += 0.3
    scores[2] -= 0.3
    table = made_up(scores, {"l2": [0, 1, 2, 3]}, folds=5).compare().table
    assert set(table["verdict"]) == set(VERDICTS)
