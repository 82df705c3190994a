"""Colours and markers of the figures and of the report's page, each said once.

Every module of `regjax.plot` and `regjax.report.models` draws with these. The colours are those of Okabe &
Ito (2008) and three more, which colour-blind readers can tell apart; whatever differs in colour differs in
marker or dash too.
"""

from __future__ import annotations

from typing import NamedTuple

VERMILION = "#D55E00"
BLUE = "#0072B2"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
BLACK = "#000000"

# The frame or ring of the chosen configuration, and of the one that the page shows.
CHOSEN = VERMILION
# A cell without a value.
NOTHING = "#DDDDDD"

CLASS_COLOURS = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK, "#F0E442", "#999999", "#882255")
# (Matplotlib's name, Bokeh's name). All are filled shapes: a line marker has no edge that sets it off. Nine
# markers beside ten colours, so that the pair repeats after 90 classes and not after 10.
CLASS_MARKERS = (
    ("o", "circle"),
    ("^", "triangle"),
    ("s", "square"),
    ("D", "diamond"),
    ("v", "inverted_triangle"),
    ("P", "plus"),
    ("X", "square_pin"),
    ("*", "star"),
    ("h", "hex"),
)

# (colour, dash) of the lines of a figure; as many as a reader can follow.
LINES = (
    (BLUE, "-"),
    (VERMILION, "--"),
    (GREEN, "-."),
    (PURPLE, ":"),
    (SKY, (0, (5, 1))),
    (BLACK, (0, (1, 1))),
)


class Look(NamedTuple):
    """How a class or a verdict is drawn.

    Attributes:
        colour: "#RRGGBB".
        marker: Matplotlib's name of the marker.
        shape: Bokeh's name of the same marker.
    """

    colour: str
    marker: str
    shape: str


# The verdicts of a comparison, see `regjax.study.comparison`.
VERDICTS = {
    "helps": Look(GREEN, "^", "triangle"),
    "hurts": Look(VERMILION, "v", "inverted_triangle"),
    "not separated": Look(BLACK, "o", "circle"),
}


# Role -> colour on the page of the report, light and dark: surfaces, texts and marks. Each text can be read
# on its surfaces (contrast 4.5), each mark be seen on a card (3); a test measures both. Cards are white by
# day, as figures of Matplotlib are.
THEMES = {
    "light": {
        "paper": "#F5F6F8", "card": "#FFFFFF", "calm": "#FFF7EE", "line": "#D9DEE5",
        "ink": "#1C2430", "quiet": "#525C6B", "warning": "#8A3B00",
        "blue": BLUE, "vermilion": VERMILION, "green": GREEN, "grey": "#777777", "black": BLACK,
    },
    "dark": {
        "paper": "#12161C", "card": "#1B212A", "calm": "#2A2320", "line": "#364050",
        "ink": "#E6EAF0", "quiet": "#A7B1BF", "warning": "#FFB77A",
        "blue": SKY, "vermilion": "#F0803C", "green": "#35C79A", "grey": "#8B95A3", "black": "#F2F4F7",
    },
}  # fmt: skip


def class_look(number: int) -> Look:
    """Returns the look of a class.

    Args:
        number: label of the class, 0, 1, ….

    >>> class_look(1)
    Look(colour='#0072B2', marker='^', shape='triangle')
    """
    return Look(CLASS_COLOURS[number % len(CLASS_COLOURS)], *CLASS_MARKERS[number % len(CLASS_MARKERS)])
