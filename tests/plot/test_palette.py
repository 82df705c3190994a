"""Colours and markers: distinct, known to Matplotlib and to Bokeh, and one for every verdict."""

import numpy as np
import pytest
from matplotlib.lines import Line2D
from sweeps import made_up

from regjax.plot.palette import CLASS_COLOURS, CLASS_MARKERS, THEMES, VERDICTS, class_look


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


def contrast(one, other):
    """Returns the contrast of two colours as WCAG 2 defines it, 1 … 21."""

    def luminance(colour):
        share = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
def test_what_is_written_can_be_read_and_what_is_drawn_can_be_seen(theme):
    of = THEMES[theme]
    for text, surface in [
        *((text, surface) for text in ("ink", "quiet") for surface in ("paper", "card")),
        ("warning", "calm"),
    ]:
        assert contrast(of[text], of[surface]) >= 4.5, (text, surface)
    for mark in ("blue", "vermilion", "green", "grey", "black"):
        assert contrast(of[mark], of["card"]) >= 3, mark
    assert contrast(of["blue"], of["paper"]) >= 3  # the ring of what has the focus


def test_themes_have_the_same_roles_and_a_role_one_colour_by_day():
    assert set(THEMES["light"]) == set(THEMES["dark"])
    assert len(set(THEMES["light"].values())) == len(THEMES["light"])
