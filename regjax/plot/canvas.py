"""Figures, titles and legends on Matplotlib without pyplot: nothing here touches global state.

Every module of `regjax.plot` calls this one, and so do the figures of `regjax.tutorial`.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import fontManager
from matplotlib.legend import Legend
from matplotlib.text import Text

from regjax.core.checks import shortened

# Significant digits of a hyperparameter in a title, a tick or a legend.
DIGITS = 4
# Dots per inch of a figure that a notebook shows.
NOTEBOOK_DPI = 72
# Letters of text per inch, at the font size of a title.
LETTERS = 13
# Largest absolute value that is drawn: the axes of larger numbers overflow.
LARGEST = 1e30
# Most distinct values of a hyperparameter that each get a tick, and most classes that each get an entry.
NAMED = 9
# Fonts with the letters that Matplotlib's own font lacks; those that are installed are used.
FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
)

Panels = Figure | SubFigure


class QuietFigure(Figure):
    """A figure that draws a letter without a glyph as a box, and does not warn of it."""

    def draw(self, renderer: Any) -> None:
        """Draws the figure."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        # Jupyter shows figures of pyplot by itself, and others only where pyplot was imported.
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=NOTEBOOK_DPI)
        return drawn.getvalue()


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Returns (whole figure, axes); without axes, those of a new figure of `size` inches."""
    if ax is None:
        ax = QuietFigure(figsize=size, layout="constrained").subplots()
    return root_of(ax), ax


def figure_or_new(figure: Panels | None, size: tuple[float, float]) -> Panels:
    """Returns the figure or subfigure for the panels; without one, a new figure of `size` inches."""
    return QuietFigure(figsize=size, layout="constrained") if figure is None else figure


def root_of(part: Axes | Panels) -> Figure:
    """Returns the whole figure that contains axes or a subfigure."""
    found = part.get_figure(root=True)
    assert found is not None
    return found


def plain(text: object, longest: int = 40) -> str:
    """Returns a user's text as Matplotlib shows it: in one line, shortened, and never read as a formula."""
    line = shortened(str(text))
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return line.replace("$", r"\$")  # text between two dollars would be typeset as mathematics


def set_title(where: Axes | Panels, text: str) -> None:
    """Gives axes or a whole figure a title, broken into lines of their width."""
    box = where.get_window_extent() if isinstance(where, Axes) else where.bbox
    # A line must not begin with the sign of percent.
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    words = textwrap.fill(text, max(20, int(box.width / root_of(where).dpi * LETTERS)))
    set_it = where.set_title if isinstance(where, Axes) else where.suptitle
    set_it(words, fontsize="medium")


def set_corner(ax: Axes, handles: Sequence[Any], names: Sequence[str], note: str) -> None:
    """Makes the last panel of a figure a legend of its lines, with a note below; no names, no legend."""
    ax.set_axis_off()
    if names:
        filled = [textwrap.fill(name, 44) for name in names]
        ax.legend(handles, filled, loc="upper left", fontsize="small", frameon=False)
    ax.text(0.02, 0.02, textwrap.fill(note, 52), transform=ax.transAxes, fontsize="small")


def drawable(values: np.ndarray) -> np.ndarray:
    """Returns the values, NaN in place of those that are too large to be drawn."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def say(ax: Axes, text: str) -> None:
    """Writes a text into the middle of axes that have nothing else to show."""
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize="small")


def add_legend(where: Axes | Panels, handles: Sequence[Any], names: Sequence[str]) -> Legend:
    """Returns a new legend: inside axes, or below the panels of a figure in as many columns as fit."""
    if isinstance(where, Axes):
        return where.legend(handles, names, fontsize="small")
    width = where.bbox.width / root_of(where).dpi
    columns = max(1, min(len(names), int(width * LETTERS / (max(map(len, names)) + 6))))
    return where.legend(handles, names, loc="outside lower center", ncols=columns, fontsize="small")


def use_fallback_fonts(texts: Iterable[Text]) -> None:
    """Lets texts that are not ASCII, such as the entries of a legend, use the installed `FALLBACKS`."""
    installed = set(fontManager.get_font_names())
    families = [*matplotlib.rcParams["font.family"], *(name for name in FALLBACKS if name in installed)]
    for text in texts:
        if not text.get_text().isascii():
            text.set_fontfamily(families)
