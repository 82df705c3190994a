"""Figures of loss landscapes: heights along lines, contours over planes, and measures against λ.

They take the plain results of `regjax.research`, stacked over networks or of one, and draw into axes of your
own or a new figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from regjax.core.checks import check_choice, counted
from regjax.plot.canvas import add_legend, axes_or_new, drawable, figure_or_new, root_of
from regjax.plot.palette import BLACK, LINES, VERMILION

if TYPE_CHECKING:
    from regjax.research.landscape import Line, Surface

# Size of a figure of one panel, in inches.
SIZE = (5.2, 3.8)
# Contours of a plane, evenly in the logarithm of the loss.
LEVELS = 15
COLOURS = "cividis"
# Share of the largest loss below which heights are drawn as one, so that a loss of 0 has a logarithm.
FLOOR = 1e-4


def profile(
    lines: Line,
    names: Sequence[str],
    *,
    heights: str = "loss",
    log: bool = False,
    unit: str = "nats",
    ax: Axes | None = None,
) -> Figure:
    """Returns a figure of heights along lines of networks: thick the mean of a group, thin each line.

    Args:
        lines: heights `(lines, points)`, or `(groups, lines, points)`: lines of a group share a colour.
        names: name of each line or group, at most six.
        heights: "loss", "cost" or "score".
        log: whether the heights have a logarithmic axis.
        unit: unit of loss and cost; a score has none.
        ax: axes to draw into; None makes a figure.

    Raises:
        ValueError: not one name for each line or group, or more than six; a single line, which
            `regjax.research.networks.stack` makes one of several; other heights.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> from regjax.plot.landscape import profile
        >>> from regjax.research.landscape import Line
        >>> values = jnp.array([[0.1, 0.9, 0.2]])
        >>> figure = profile(Line(jnp.array([[0.0, 0.5, 1.0]]), values, values, values), ["l2 = 0"])
        >>> figure.axes[0].get_xlabel()
        'place on the line between two networks'
    """
    check_choice("heights", heights, ("loss", "cost", "score"))
    at, values = np.asarray(lines.at), drawable(np.asarray(getattr(lines, heights)))
    if values.ndim < 2:
        raise ValueError(f"lines must be stacked, (lines, points), got heights of shape {values.shape}")
    if len(names) != len(values) or not 1 <= len(values) <= len(LINES):
        raise ValueError(
            f"names must be one for each of {counted(len(values), 'line')}, at most {len(LINES)}, "
            f"got {len(names)}"
        )
    figure, ax = axes_or_new(ax, SIZE)
    drawn = []
    for places, group, (colour, dash) in zip(at, values, LINES, strict=False):
        grouped = group.reshape(-1, group.shape[-1])
        for row in grouped if len(grouped) > 1 else ():
            ax.plot(places.reshape(-1, places.shape[-1])[0], row, color=colour, alpha=0.3, linewidth=0.8)
        mean = grouped.mean(axis=0)
        drawn += ax.plot(places.reshape(-1, places.shape[-1])[0], mean, color=colour, linestyle=dash)
    ax.set_yscale("log" if log else "linear")
    ax.set_xlabel("place on the line between two networks")
    ax.set_ylabel(heights if heights == "score" else f"{heights} ({unit})")
    add_legend(ax, drawn, names)
    return figure


def contours(
    surfaces: Sequence[Surface],
    names: Sequence[str],
    *,
    unit: str = "nats",
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Returns a figure of the loss over planes, side by side on one scale of colours and of coordinates.

    Colours and contours are even in the logarithm of the loss; crosses mark the networks of a plane.

    Args:
        surfaces: the heights over each plane.
        names: title of each.
        unit: unit of the loss.
        axes: axes to draw into, of one figure; None makes a figure.

    Raises:
        ValueError: not one name, or not one axes, for each surface; a surface without a height.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.plot.landscape import contours
        >>> from regjax.research.landscape import Surface
        >>> a, loss = jnp.linspace(-1, 1, 3), jnp.array([[3.0, 2.0, 3.0], [2.0, 0.1, 2.0], [3.0, 2.0, 3.0]])
        >>> len(contours([Surface(a, a, loss, loss, loss, jnp.zeros((1, 2)))], ["l2 = 0"]).axes)
        2
    """
    if not len(surfaces) == len(names) >= 1:
        raise ValueError(f"names must be one for each of {len(surfaces)} surfaces, got {len(names)}")
    if axes is None:
        new = figure_or_new(None, (0.9 + 3.6 * len(surfaces), 3.6))
        axes = list(new.subplots(1, len(surfaces), squeeze=False)[0])
    if len(axes) != len(surfaces):
        raise ValueError(f"axes must be one for each of {len(surfaces)} surfaces, got {len(axes)}")
    losses = [drawable(np.asarray(surface.loss)) for surface in surfaces]
    highest = np.nanmax([np.nanmax(loss, initial=-np.inf) for loss in losses])
    if not 0 < highest < np.inf:
        raise ValueError(f"surfaces must have a finite loss above 0, got at most {highest}")
    lowest = max(min(np.nanmin(loss) for loss in losses), FLOOR * highest)
    top = max(highest, 1.001 * lowest)
    norm, levels = LogNorm(lowest, top), np.geomspace(lowest, top, LEVELS)
    for ax, surface, loss, name in zip(axes, surfaces, losses, names, strict=True):
        ax.contourf(surface.a, surface.b, np.clip(loss, lowest, highest), levels, norm=norm, cmap=COLOURS)
        if np.ptp(loss[np.isfinite(loss)]) > 0:
            ax.contour(surface.a, surface.b, np.clip(loss, lowest, None), levels[1:-1:2],
                       colors="white", linewidths=0.5)  # fmt: skip
        ax.plot(*np.asarray(surface.marks).T, "X", color=VERMILION, markeredgecolor="white", markersize=8)
        ax.set_title(name, fontsize="medium")
        ax.set_xlabel("first direction")
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_ylabel("second direction")
    bar = root_of(axes[0]).colorbar(ScalarMappable(norm, COLOURS), ax=list(axes))
    bar.set_label(f"loss ({unit})")
    return root_of(axes[0])


def against(
    strengths: ArrayLike,
    measures: dict[str, Any],
    *,
    name: str = "l2",
    relative: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Returns a figure of measures of networks, such as sharpness and norms, against a strength.

    Lines are means over the networks of a strength, bands from the lowest to the highest. A strength of 0
    stands to the left of the smallest other.

    Args:
        strengths: values λ >= 0 in rising order, `(strengths,)`.
        measures: name -> values, `(strengths, networks)` or `(strengths,)`; at most six, NaN is a gap.
        name: what the strength is.
        relative: whether each measure is divided by its largest mean, which the legend then says.
        ax: axes to draw into; None makes a figure.

    Raises:
        ValueError: strengths that are negative or do not rise; values of another length; too many measures.

    Example:
        >>> from regjax.plot.landscape import against
        >>> against([0, 0.1, 1], {"sharpness": [[3.0, 4.0], [2.0, 2.5], [1.0, 1.0]]}).axes[0].get_xlabel()
        'l2'
    """
    at = np.asarray(strengths, float)
    if at.ndim != 1 or len(at) < 2 or not (np.diff(at) > 0).all() or at[0] < 0:
        raise ValueError(f"strengths must be at least two that rise from 0 or more, got {at.tolist()}")
    if not 1 <= len(measures) <= len(LINES):
        raise ValueError(f"measures must be 1 to {len(LINES)}, got {len(measures)}")
    figure, ax = axes_or_new(ax, SIZE)
    places = at.copy()
    if at[0] == 0:
        places[0] = at[1] ** 2 / at[2] if len(at) > 2 else at[1] / 10
    drawn, entries = [], []
    for (measure, given), (colour, dash) in zip(measures.items(), LINES, strict=False):
        values = drawable(np.asarray(given, float).reshape(len(np.atleast_1d(given)), -1))
        if len(values) != len(at):
            raise ValueError(
                f"{measure} must have a value for each of {len(at)} strengths, got {len(values)}"
            )
        largest = np.nanmax(values.mean(axis=1)) if relative else 1.0
        ax.fill_between(places, values.min(axis=1) / largest, values.max(axis=1) / largest,
                        color=colour, alpha=0.15, linewidth=0)  # fmt: skip
        drawn += ax.plot(places, values.mean(axis=1) / largest, color=colour, linestyle=dash, marker="o",
                         markersize=3)  # fmt: skip
        size = f"{largest:,.0f}" if 1_000 <= largest < 1e6 else f"{largest:.3g}"
        entries.append(f"{measure} (1 is {size})" if relative else measure)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(places, [f"{value:g}" for value in at])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(name)
    ax.set_ylabel("share of the largest mean" if relative else "value")
    ax.grid(alpha=0.25, color=BLACK)
    add_legend(ax, drawn, entries)
    return figure
