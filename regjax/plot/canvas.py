"""What figures share, on matplotlib without pyplot: nothing here touches global state.

Colours are those of Okabe & Ito (2008), which colour-blind eyes can tell apart; whatever differs in colour
differs in marker or dash too.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import fontManager
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from regjax.core.config import shortened
from regjax.core.data import Data
from regjax.core.hparams import OFF_VALUES
from regjax.study.words import as_text, in_order

CLASS_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
LINES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#56B4E9", (0, (5, 1))),
    ("#000000", (0, (1, 1))),
)
CHOSEN = "#D55E00"
NOTHING = "#DDDDDD"
# Of hyperparameters.
DIGITS = 4
# Letters of a line of text per inch.
LETTERS = 14
# What has letters that matplotlib's own font has not, where it is installed.
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
# Distinct values of a hyperparameter that each have a tick, and classes that each have a name.
NAMED = 9
# Rows that are drawn as points.
MAX_POINTS = 5_000
# Beyond it nothing is drawn: axes of such numbers overflow.
LARGEST = 1e30

Panels = Figure | SubFigure


class QuietFigure(Figure):
    """A figure that draws letters without a glyph as boxes, and does not warn of each."""

    def draw(self, renderer: Any) -> None:
        """Draws."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            super().draw(renderer)


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Returns the axes and their figure, made of `size` inches where there are none."""
    if ax is None:
        ax = QuietFigure(figsize=size, layout="constrained").subplots()
    return root_of(ax), ax


def figure_or_new(figure: Panels | None, size: tuple[float, float]) -> Panels:
    """Returns what panels go into, made of `size` inches where there is nothing."""
    return QuietFigure(figsize=size, layout="constrained") if figure is None else figure


def root_of(part: Axes | Panels) -> Figure:
    """Returns the whole figure that axes or panels are in."""
    found = part.get_figure(root=True)
    assert found is not None
    return found


def plain(text: object, longest: int = 40) -> str:
    """Returns a user's text as it is shown: in one line, and no formula, whatever it holds."""
    line = shortened(str(text))
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return line.replace("$", r"\$")


def set_title(where: Axes | Panels, text: str) -> None:
    """Gives axes or a whole figure a title, in as many lines as it takes."""
    box = where.get_window_extent() if isinstance(where, Axes) else where.bbox
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    words = textwrap.fill(text, max(20, int(box.width / root_of(where).dpi * LETTERS)))
    set_it = where.set_title if isinstance(where, Axes) else where.suptitle
    set_it(words, fontsize="medium")


def drawable(values: np.ndarray) -> np.ndarray:
    """Returns values with NaN for what is too large to be drawn."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def say(ax: Axes, text: str) -> None:
    """Writes into the middle of axes that have nothing else to show."""
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize="small")


def add_legend(where: Axes | Panels, handles: Sequence[Any], names: Sequence[str]) -> Legend:
    """Returns a new legend: inside axes, or below the panels of a figure in as many columns as have room."""
    if isinstance(where, Axes):
        return where.legend(handles, names, fontsize="small")
    width = where.bbox.width / root_of(where).dpi
    columns = max(1, min(len(names), int(width * LETTERS / (max(map(len, names)) + 6))))
    return where.legend(handles, names, loc="outside lower center", ncols=columns, fontsize="small")


# -- hyperparameters on axes --------------------------------------------------------------------------------


class Scale(NamedTuple):
    """Where the values of a hyperparameter stand on an axis.

    Attributes:
        label: of the axis.
        places: value -> its place.
        ticks: places that are named.
        names: of these.
        cut: between what is off and a logarithmic range beside it; None where nothing is cut.
    """

    label: str
    places: dict[Any, float]
    ticks: list[float]
    names: list[str]
    cut: float | None

    @property
    def span(self) -> float:
        """From the first place to the last, or 1 where there is one place."""
        return float(np.ptp(list(self.places.values()))) or 1.0

    def put_on(self, axis: XAxis | YAxis) -> None:
        """Gives an axis its range, ticks and label, and a dotted line at the cut."""
        first, last = min(self.places.values()), max(self.places.values())
        axis.set_ticks(self.ticks, self.names)
        axis.axes.set(**{f"{axis.axis_name}lim": (first - 0.06 * self.span, last + 0.06 * self.span)})
        axis.set_label_text(self.label)
        if self.cut is not None:
            draw = axis.axes.axvline if axis.axis_name == "x" else axis.axes.axhline
            draw(self.cut, color="#999999", linestyle=":", linewidth=1, zorder=0)


def scale_of(name: str, values: Iterable[Any]) -> Scale:
    """Returns the scale of a hyperparameter: logarithmic where its values span more than a factor of 20.

    What is off (0, or ∞) stands beside a logarithmic range, cut off from it. Words and values per layer
    stand at equal distances.
    """
    found = in_order(values)
    if not all(isinstance(value, int | float) for value in found):
        every = -(-len(found) // 12)
        texts = [as_text(value, DIGITS) for value in found]
        places = {value: float(place) for place, value in enumerate(found)}
        return Scale(name, places, list(map(float, range(len(found))))[::every], texts[::every], None)
    numbers = np.array(found, float)
    inside = numbers[(numbers > 0) & np.isfinite(numbers)]
    logarithmic = len(inside) > 1 and np.log(inside[-1]) - np.log(inside[0]) > np.log(20)
    with np.errstate(divide="ignore"):
        at = np.log10(numbers) if logarithmic else numbers.copy()
    usual = at[np.isfinite(at)]
    low, high = (usual[0], usual[-1]) if len(usual) else (0.0, 0.0)
    step = max(float(np.median(np.diff(usual))), 0.1 * (high - low)) if len(usual) > 1 else 1.0
    at = np.where(at == -np.inf, low - step, np.where(at == np.inf, high + step, at))
    places = dict(zip(found, at.tolist(), strict=True))
    cut = None
    if len(usual) not in (0, len(at)):
        cut = float(low - step / 2 if at[0] < low else high + step / 2)
    if len(found) <= NAMED:
        named = list(places.items())
    elif logarithmic:
        powers = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
        powers = powers[:: -(-len(powers) // 7)] if len(powers) > 1 else np.array([low, high])
        named = [(10.0**power, float(power)) for power in powers]
    else:
        ticks = MaxNLocator(6).tick_values(low, high)
        named = [(float(tick), float(tick)) for tick in ticks if low <= tick <= high]
    if len(found) > NAMED:
        named += [(value, place) for value, place in places.items() if not low <= place <= high]
    kept: list[tuple[Any, float]] = []
    for value, place in sorted(named, key=lambda entry: entry[1]):
        if not kept or place - kept[-1][1] >= 0.05 * np.ptp(at):
            kept.append((value, place))
    off = OFF_VALUES.get(name)
    names = [
        "off" if v == off == np.inf else f"{as_text(float(v), DIGITS)}" + ("\n(off)" if v == off else "")
        for v, _ in kept
    ]
    label = f"{name} (log scale)" if logarithmic else name
    return Scale(label, places, [place for _, place in kept], names, cut)


# -- rows and classes ---------------------------------------------------------------------------------------


def class_names(labels: np.ndarray, classes: np.ndarray | None) -> list[tuple[int, str]]:
    """Returns (number, name) of the classes that are there, as they are shown."""
    found = np.unique(labels).tolist()
    return [(k, f"class {k}" if classes is None else plain(classes[k])) for k in found]


def class_style(number: int) -> tuple[str, str]:
    """Returns the colour and the marker of a class."""
    return CLASS_COLOURS[number % len(CLASS_COLOURS)], CLASS_MARKERS[number % len(CLASS_MARKERS)]


def draw_points(
    ax: Axes, x: np.ndarray, labels: np.ndarray, size: float, outlined: np.ndarray | None = None
) -> None:
    """Draws rows, classes by colour and marker.

    Args:
        ax: where.
        x: `(2, n)`; columns that are not finite are left out.
        labels: `(n,)`, 0, 1, ….
        size: of a marker, points².
        outlined: `(n,)`, who has a black edge; None is nobody.
    """
    finite = np.isfinite(x).all(axis=0)
    for k in np.unique(labels).tolist():
        colour, marker = class_style(k)
        for edge, width, who in (
            ("white", 0.4 if size > 9 else 0.0, labels == k),
            ("black", 1.0, np.zeros(len(labels), bool) if outlined is None else (labels == k) & outlined),
        ):
            ax.scatter(
                *x[:, who & finite], s=size, c=colour, marker=marker, edgecolors=edge, linewidths=width
            )


def class_legend(
    where: Axes | Panels,
    labels: np.ndarray,
    classes: np.ndarray | None,
    more: Sequence[tuple[Line2D, str]] = (),
) -> None:
    """Adds a legend of the classes: below the panels of a figure, or inside axes.

    Args:
        where: the figure or the axes.
        labels: `(n,)`, of the rows that are drawn.
        classes: what they stand for, or None.
        more: other entries.
    """
    named = class_names(labels, classes)
    entries = [(_marker(*class_style(k)), name) for k, name in named[:NAMED]]
    if len(named) > NAMED:
        entries.append((Line2D([], [], linestyle=""), f"… and {len(named) - NAMED} more classes"))
    entries += more
    handles, texts = [list(column) for column in zip(*entries, strict=True)]
    legend = add_legend(where, handles, texts)
    installed = set(fontManager.get_font_names())
    families = [*matplotlib.rcParams["font.family"], *(name for name in FALLBACKS if name in installed)]
    for text in legend.get_texts():
        if not text.get_text().isascii():
            text.set_fontfamily(families)


def _marker(colour: str, marker: str) -> Line2D:
    return Line2D([], [], linestyle="", color=colour, marker=marker, markeredgecolor="white")


def outline() -> Line2D:
    """Returns what stands for an outlined row in a legend."""
    return Line2D([], [], linestyle="", marker="o", color="white", markeredgecolor="black")


def plane(x: np.ndarray, resolution: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the two sides of a grid over rows `(2, n)` and a bit beyond, and its points, `(2, points)`."""
    x = x[:, np.isfinite(x).all(axis=0)]
    low, high = x.min(axis=1), x.max(axis=1)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)  # a constant feature has no range
    sides = [np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True)]
    return sides, np.stack([side.ravel() for side in np.meshgrid(*sides)]).astype(np.float32)


def draw_boundary(ax: Axes, sides: list[np.ndarray], shade: np.ndarray) -> None:
    """Draws the probability of class 1 as shade, and the ½ line.

    Args:
        ax: where.
        sides: of the grid, see `plane`.
        shade: probability at its points, `(points,)`.
    """
    colours = matplotlib.colors.LinearSegmentedColormap.from_list(
        "classes", [CLASS_COLOURS[0], "#FFFFFF", CLASS_COLOURS[1]]
    )
    shade = shade.reshape(len(sides[1]), len(sides[0]))
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    ax.imshow(shade, origin="lower", extent=extent, cmap=colours, vmin=0, vmax=1, alpha=0.5, aspect="auto")
    if np.isfinite(shade).all() and shade.min() < 0.5 < shade.max():
        ax.contour(*sides, shade, levels=[0.5], colors="black", linewidths=1.3)


def name_features(ax: Axes) -> None:
    """Labels the axes of two features."""
    ax.set_xlabel("x1")
    ax.set_ylabel("x2")
    ax.xaxis.set_major_locator(MaxNLocator(5))


def two_classes(data: Data) -> bool:
    """Returns whether a boundary can be drawn: two features, and classes 0 and 1 alone."""
    return len(data.x) == 2 and np.issubdtype(data.y.dtype, np.integer) and int(np.max(data.y)) <= 1


# -- masks --------------------------------------------------------------------------------------------------


def draw_masks(
    figure: Panels | None, masks: Sequence[tuple[str, np.ndarray]], samples: str, title: str
) -> Figure:
    """Returns a figure of what is switched off: a panel per layer, a row a unit, a column a sample.

    Args:
        figure: where; None makes one.
        masks: name of a layer, and 1 where a unit is kept and 0 where it is off, `(units, n)`.
        samples: what the columns are.
        title: of the figure.
    """
    heights = [min(max(mask.shape[0], 4), 40) for _, mask in masks]
    figure = figure_or_new(figure, (9, min(1.6 + 0.16 * sum(heights) + 0.3 * len(masks), 14)))
    axes = figure.subplots(len(masks), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, mask) in zip(axes, masks, strict=True):
        ax.imshow(mask, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        ax.set_title(f"{name}: {np.mean(mask):.1%} kept", fontsize="medium")
        ax.set_ylabel("unit")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlabel(samples)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    set_title(figure, title)
    return root_of(figure)
