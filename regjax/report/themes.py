"""The page by day and by night: its CSS variables, and what of Bokeh's models is painted anew.

`html` writes `variables` into report.html; `models` gives `FIGURES` to the document, `CONTROLS` to boxes and
tables, and `painted` to report.js. All colours are those of `regjax.plot.palette.THEMES`.
"""

# pyright: reportArgumentType=false
# Bokeh's stubs allow fewer arguments of its models than its documentation.

from __future__ import annotations

from typing import Any

from bokeh.document import Document
from bokeh.model import Model
from bokeh.themes import Theme

from regjax.plot.palette import THEMES

DAY = THEMES["light"]
# Colour by day -> its role.
ROLES = {colour: role for role, colour in DAY.items()}
_SURFACE = {"background_fill_color": DAY["card"], "border_line_color": DAY["line"]}
_AXIS = {
    "axis_label_text_color": DAY["ink"], "major_label_text_color": DAY["ink"],
    "axis_line_color": DAY["quiet"], "major_tick_line_color": DAY["quiet"],
    "minor_tick_line_color": DAY["quiet"],
}  # fmt: skip
# How figures look by day: Bokeh's own colours are none of a theme, and would stay at night.
FIGURES = Theme(
    json={
        "attrs": {
            "Plot": {
                "background_fill_color": DAY["card"], "border_fill_color": DAY["card"],
                "outline_line_color": DAY["line"],
            },
            "Axis": _AXIS,
            "Grid": {"grid_line_color": DAY["line"]},
            "Title": {"text_color": DAY["ink"]},
            "Legend": _SURFACE | {"label_text_color": DAY["ink"]},
            "ColorBar": {
                "background_fill_color": DAY["card"], "major_label_text_color": DAY["ink"],
            },
        }
    }
)  # fmt: skip
# Boxes, and tables of SlickGrid, which live behind a shadow root: variables alone reach them.
CONTROLS = """
:host { color: var(--ink); max-width: 100%; }
label, .bk-input-group { color: var(--quiet); }
.bk-input, select.bk-input { background-color: var(--card); color: var(--ink); border-color: var(--grey); }
.bk-input::placeholder { color: var(--quiet); }
.bk-input:focus-visible, .slick-cell:focus-visible { outline: 3px solid var(--blue); outline-offset: 1px; }
.bk-data-table, .slick-viewport, .slick-row, .slick-row.odd { background: var(--card); color: var(--ink); }
.slick-header, .slick-header-column { background: var(--paper) !important; color: var(--ink); }
.slick-cell { border-color: transparent; border-bottom: 1px solid var(--line); }
.slick-row:hover .slick-cell, .slick-cell.selected { background: var(--paper); color: var(--ink); }
svg path { fill: none; stroke: var(--blue); stroke-width: 1.5; }
"""


def variables(theme: str) -> str:
    """Returns a theme as CSS variables.

    Args:
        theme: "light" or "dark".

    >>> variables("dark")[:36]
    '--paper: #12161C; --card: #1B212A; -'
    """
    return " ".join(f"--{role}: {colour};" for role, colour in THEMES[theme].items())


def painted(document: Document) -> list[tuple[Model, dict[str, str]]]:
    """Returns each model with a colour of the theme: (model, property -> role).

    A colour that is none of the theme, such as those of classes and of a heatmap, is the same day and night.
    """
    found = []
    for model in sorted(document.models, key=lambda model: model.id):
        mine = {name: ROLES[value] for name in model.properties() if (value := _colour(model, name)) in ROLES}
        if mine:
            found.append((model, mine))
    return found


def _colour(model: Model, name: str) -> Any:
    """Returns a property of a model where it is a colour, "" where it is not."""
    value = getattr(model, name) if name.endswith("color") else ""
    return value if isinstance(value, str) else ""
