"""Day and night: every role in both, texts that can be read, and no colour of a figure that stays."""

import re
from importlib.resources import files

import pytest
from pages import arrays

from regjax.plot.palette import THEMES
from regjax.report.models import document_of
from regjax.report.themes import CONTROLS, painted, variables


def roots(planar):
    comparison = planar.compare()
    return document_of(arrays(planar), planar.design, comparison, None, None)


def test_every_variable_of_the_page_is_a_role():
    frame = files("regjax.report").joinpath("report.html").read_text("utf-8")
    used = set(re.findall(r"var\(--(\w+)\)", frame + CONTROLS))
    assert {"paper", "card", "ink", "quiet", "warning"} <= used <= set(THEMES["light"])
    assert "#1B212A" in variables("dark")
    for theme in THEMES:
        assert set(re.findall(r"--(\w+):", variables(theme))) == set(THEMES["light"])


PARTS = (
    *("background_fill_color", "border_fill_color", "axis_label_text_color", "major_label_text_color"),
    *("grid_line_color", "label_text_color"),
)


@pytest.mark.nightly
@pytest.mark.parametrize("part", PARTS)
def test_every_figure_is_painted_anew(planar, part):
    document = roots(planar)
    have = [model for model in document.models if part in model.properties()]
    done = {model.id for model, roles in painted(document) if part in roles}
    kinds = ("Plot", "Figure", "figure", "Axis", "Grid", "Legend")
    mine = [m for m in have if type(m).__name__.endswith(kinds) and getattr(m, part) is not None]
    assert mine
    assert not [model for model in mine if model.id not in done]


@pytest.mark.nightly
def test_lines_are_painted_and_classes_are_not(planar):
    roles = {role for _, mine in painted(roots(planar)) for role in mine.values()}
    assert {"card", "ink", "line", "quiet", "blue", "vermilion", "green", "grey"} <= roles
