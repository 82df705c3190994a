"""Maps over two axes, as cells or as points; `maps` makes its figures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from regjax.plot.canvas import DIGITS
from regjax.plot.palette import NOTHING
from regjax.plot.request import more_is_better
from regjax.plot.scales import scale_of
from regjax.study.configuration import value_of
from regjax.study.design import Design
from regjax.study.words import as_text, in_order

# (line, column) of a cell, from the lower left.
Cell = tuple[int, int]


class Ground(NamedTuple):
    """Two axes of a grid, and the cell of each configuration.

    Attributes:
        x: name of the axis from left to right.
        y: name of the axis from bottom to top.
        across: values of x, from left to right.
        down: values of y, from bottom to top.
        cells: the cell of each configuration.
    """

    x: str
    y: str
    across: list[Any]
    down: list[Any]
    cells: list[Cell]

    @property
    def is_sparse(self) -> bool:
        """Whether nearly all cells are empty, as those of a random grid are."""
        return len(self.across) * len(self.down) > 10 * len(self.cells)

    def empty(self) -> np.ndarray:
        """Returns a map without any value, `(down, across)`."""
        return np.full((len(self.down), len(self.across)), np.nan)


def ground_of(design: Design, x: str, y: str) -> Ground:
    """Returns two axes of a design's grid with the cell of each configuration."""
    across, down = (in_order(value_of(c, name) for c in design.configurations) for name in (x, y))
    column, line = ({value: place for place, value in enumerate(values)} for values in (across, down))
    cells = [(line[value_of(c, y)], column[value_of(c, x)]) for c in design.configurations]
    return Ground(x, y, across, down, cells)


class Shades(NamedTuple):
    """The colours of values from 0 to 1, and the `norm` that takes a metric's values there."""

    colours: matplotlib.colors.Colormap
    norm: matplotlib.colors.Normalize


def shades_of(metric: str, values: np.ndarray) -> Shades:
    """Returns colours, light where a metric is good, over the range of its finite values."""
    more = more_is_better(metric)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):  # all equal: a range around it
        low, high = low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    # A loss that spans a factor of 30 would be one colour on a linear scale.
    spread = not more and low > 0 and high > 30 * low
    norm = matplotlib.colors.LogNorm(low, high) if spread else matplotlib.colors.Normalize(low, high)
    return Shades(matplotlib.colormaps["viridis" if more else "viridis_r"].with_extremes(bad=NOTHING), norm)


def cell_at(cell: Cell, **looks: Any) -> Rectangle:
    """Returns the rectangle of a cell, to be added to axes."""
    return Rectangle((cell[1] - 0.5, cell[0] - 0.5), 1, 1, **looks)


def draw_cells(
    ax: Axes,
    ground: Ground,
    shades: Shades,
    values: np.ndarray,
    texts: Mapping[Cell, str],
    size: tuple[float, float],
    hatched: Sequence[Cell] = (),
) -> None:
    """Draws a map of cells, with their texts where there is room.

    Args:
        ax: axes that are drawn into.
        ground: the two axes.
        shades: colours.
        values: `(down, across)`; NaN is grey.
        texts: the text of each cell.
        size: width and height of the axes in inches.
        hatched: cells whose networks diverged.
    """
    colours, norm = shades
    ax.imshow(values, cmap=colours, norm=norm, aspect="auto", origin="lower")
    if (size[0] - 1) / len(ground.across) > 0.4 and (size[1] - 1) / len(ground.down) > 0.2:
        for (line, column), text in texts.items():
            # Roughly the luminance that an eye sees: dark ink on bright ground.
            red, green, blue, _ = colours(norm(values[line, column]))
            bright = np.isnan(values[line, column]) or 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
            ink = "black" if bright else "white"
            ax.text(column, line, text, ha="center", va="center", color=ink, fontsize=8)
        looks: dict[str, Any] = {"edgecolor": "#888888", "hatch": "///", "linewidth": 0, "gid": "diverged"}
        for cell in hatched:
            ax.add_patch(cell_at(cell, fill=False, **looks))
    # As many ticks as have room.
    for axis, name, values_of, inches in (
        (ax.xaxis, ground.x, ground.across, size[0]),
        (ax.yaxis, ground.y, ground.down, size[1]),
    ):
        every = -(-len(values_of) // max(1, int(2.5 * (inches - 1))))
        axis.set_ticks(range(0, len(values_of), every), [as_text(v, DIGITS) for v in values_of[::every]])
        axis.set_label_text(name)
    ax.tick_params(axis="x", labelrotation=45)


def draw_scatter(ax: Axes, design: Design, ground: Ground, shades: Shades, values: np.ndarray) -> np.ndarray:
    """Draws each configuration as a point at its place on two axes; a cross where its value is NaN.

    Args:
        ax: axes that are drawn into.
        design: the design of the sweep.
        ground: the two axes.
        shades: colours.
        values: `(configurations,)`.

    Returns:
        The places, `(2, configurations)`.
    """
    at = []
    for name, axis in ((ground.x, ax.xaxis), (ground.y, ax.yaxis)):
        found = [value_of(c, name) for c in design.configurations]
        scale = scale_of(name, found)
        scale.put_on(axis)
        at.append([scale.places[value] for value in found])
    places = np.array(at)
    good = np.isfinite(values)
    size = 40 if len(values) <= 300 else 12
    ax.scatter(*places[:, ~good], marker="x", color="#555555", s=size, linewidths=1, gid="diverged")
    ax.scatter(*places[:, good], c=values[good], cmap=shades.colours, norm=shades.norm, s=size)
    return places


def as_number(value: float) -> str:
    """Returns a value as a cell shows it: three decimals, or three digits of a large one."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"
