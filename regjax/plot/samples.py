"""Samples as points, classes by colour and marker, and the plane that a boundary divides.

`dataset`, `decision`, `any_model`, the figures of `regjax.tutorial` and arrays of `regjax.report` call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from regjax.core.data import Data
from regjax.plot.canvas import NAMED, Panels, add_legend, plain, use_fallback_fonts
from regjax.plot.palette import BLUE, VERMILION, Look, class_look

# Most samples that are drawn as points.
MAX_POINTS = 5_000


def class_names(labels: np.ndarray, classes: np.ndarray | None) -> list[tuple[int, str]]:
    """Returns (label, name as it is shown) of the classes among the labels."""
    found = np.unique(labels).tolist()
    return [(k, f"class {k}" if classes is None else plain(classes[k])) for k in found]


def thinned(count: int) -> np.ndarray:
    """Returns which of `count` samples are drawn: all, or `MAX_POINTS` of them, always the same."""
    return np.sort(np.random.default_rng(0).permutation(count)[:MAX_POINTS])


def draw_points(
    ax: Axes, x: np.ndarray, labels: np.ndarray, size: float, outlined: np.ndarray | None = None
) -> None:
    """Draws samples, classes by colour and marker.

    Args:
        ax: axes that are drawn into.
        x: features, `(2, n)`; samples with a feature that is not finite are left out.
        labels: the label of each sample, `(n,)`, 0, 1, ….
        size: the area of a marker, points².
        outlined: which samples get a black edge, `(n,)`; None for none.
    """
    finite = np.isfinite(x).all(axis=0)
    for k in np.unique(labels).tolist():
        look = class_look(k)
        # Outlined samples are drawn over the others, so that their edges stay whole.
        for edge, width, drawn in (
            ("white", 0.4 if size > 9 else 0.0, labels == k),
            ("black", 1.0, np.zeros(len(labels), bool) if outlined is None else (labels == k) & outlined),
        ):
            looks: dict[str, Any] = {"marker": look.marker, "edgecolors": edge, "linewidths": width}
            ax.scatter(*x[:, drawn & finite], s=size, c=look.colour, **looks)


def class_legend(
    where: Axes | Panels,
    labels: np.ndarray,
    classes: np.ndarray | None,
    more: Sequence[tuple[Line2D, str]] = (),
) -> None:
    """Adds a legend of the classes: below the panels of a figure, or inside axes.

    Args:
        where: figure or axes.
        labels: the labels of the samples that are drawn, `(n,)`.
        classes: names of the labels 0, 1, …, or None.
        more: further entries, (handle, text) each.
    """
    named = class_names(labels, classes)
    entries = [(_marker(class_look(k)), name) for k, name in named[:NAMED]]
    if len(named) > NAMED:
        entries.append((Line2D([], [], linestyle=""), f"… and {len(named) - NAMED} more classes"))
    entries += more
    handles, texts = [list(column) for column in zip(*entries, strict=True)]
    use_fallback_fonts(add_legend(where, handles, texts).get_texts())


def _marker(look: Look) -> Line2D:
    return Line2D([], [], linestyle="", color=look.colour, marker=look.marker, markeredgecolor="white")


def outline() -> Line2D:
    """Returns the legend's handle of an outlined sample."""
    return Line2D([], [], linestyle="", marker="o", color="white", markeredgecolor="black")


def plane(x: np.ndarray, resolution: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns a grid over the range of two features and 8 % beyond.

    Args:
        x: features, `(2, n)`.
        resolution: points along each side.

    Returns:
        The two sides, `(resolution,)` each, and the points, `(2, resolution²)`, float32.
    """
    x = x[:, np.isfinite(x).all(axis=0)]
    low, high = x.min(axis=1), x.max(axis=1)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)  # a constant feature has no range
    sides = [np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True)]
    return sides, np.stack([side.ravel() for side in np.meshgrid(*sides)]).astype(np.float32)


def draw_boundary(ax: Axes, sides: list[np.ndarray], shade: np.ndarray) -> None:
    """Draws the probability of class 1 as shade, and the line where it is ½; of several classes, regions.

    Args:
        ax: axes that are drawn into.
        sides: the sides of the grid, see `plane`.
        shade: the probability at the points of the grid, `(resolution²,)`; or that of each class,
            `(resolution², n_classes)`.
    """
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    if shade.ndim == 2:
        _draw_regions(ax, sides, shade, extent)
        return
    colours = matplotlib.colors.LinearSegmentedColormap.from_list("classes", [VERMILION, "#FFFFFF", BLUE])
    shade = shade.reshape(len(sides[1]), len(sides[0]))
    ax.imshow(shade, origin="lower", extent=extent, cmap=colours, vmin=0, vmax=1, alpha=0.5, aspect="auto")
    if np.isfinite(shade).all() and shade.min() < 0.5 < shade.max():
        ax.contour(*sides, shade, levels=[0.5], colors="black", linewidths=1.3)


def _draw_regions(ax: Axes, sides: list[np.ndarray], shade: np.ndarray, extent: Any) -> None:
    """Draws the likeliest class as colour, paler the less certain it is, and the borders between regions."""
    count, size = shade.shape[1], (len(sides[1]), len(sides[0]))
    colours = np.array([matplotlib.colors.to_rgb(class_look(k).colour) for k in range(count)])
    # White where all classes are as likely, the class's colour where it is certain: of two classes, the
    # colours are those of the shade of class 1.
    sure = (shade.max(axis=1) * count - 1) / (count - 1) if count > 1 else np.ones(len(shade))
    image = 1 - sure[:, None] * (1 - colours[shade.argmax(axis=1)])
    ax.imshow(image.reshape(*size, 3), origin="lower", extent=extent, alpha=0.5, aspect="auto")
    for k in range(count if count > 1 else 0):
        lead = shade[:, k] - np.delete(shade, k, axis=1).max(axis=1)
        if lead.min() < 0 < lead.max():
            ax.contour(*sides, lead.reshape(size), levels=[0], colors="black", linewidths=1.3)


def name_features(ax: Axes, names: Sequence[str] = ("x1", "x2")) -> None:
    """Labels the axes of two features by their names."""
    ax.set_xlabel(plain(names[0]))
    ax.set_ylabel(plain(names[1]))
    ax.xaxis.set_major_locator(MaxNLocator(5))


def two_classes(data: Data) -> bool:
    """Returns whether a boundary can be drawn: two features, and classes 0 and 1 alone."""
    return len(data.x) == 2 and np.issubdtype(data.y.dtype, np.integer) and int(np.max(data.y)) <= 1
