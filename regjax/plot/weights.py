"""The figure of the weights, which `figures` lists: `path`, their norms and sparsity against λ."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regjax.core.mlp import Params
from regjax.plot.along import Along, along
from regjax.plot.canvas import Panels, figure_or_new, root_of, say, set_corner, set_title
from regjax.plot.palette import LINES
from regjax.plot.request import check_kept, order_of, strength_of
from regjax.study.results import Results

# A weight below this share of the network's largest counts as small.
SMALL = 1e-3


def path(results: Results, *, x: str | None = None, figure: Panels | None = None) -> Figure:
    """Returns a figure of norms and sparsity of the weights against λ, means over the networks kept.

    The Frobenius norm of all weights, and of each layer; the share of weights that are 0, and of those
    below a thousandth of the network's largest. Biases do not count. Where other axes vary, each line is one
    combination of their values; the six with the best configurations are drawn.

    Args:
        results: the results of a sweep that kept its parameters.
        x: the axis; None is l2, or the first regulariser of the grid.
        figure: figure or subfigure for the panels; None makes one.

    Raises:
        ValueError: no parameters were kept, or the grid does not mention the axis.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l1_prox": [0, 1]}, folds=2,
        ...     progress=False,
        ... )
        >>> figure = regjax.plot.path(results)
        >>> figure.axes[0].get_xlabel()
        'l1_prox'
    """
    check_kept(results, "path")
    design, x = results.design, strength_of(results, x)
    lines = along(design, x, order_of(results, design.shown_metric))
    found: dict[int, list[np.ndarray]] = {}
    for row, params in results.kept.items():
        found.setdefault(design.row(row).configuration, []).append(_measures(params))
    means = {index: np.mean(networks, axis=0) for index, networks in found.items()}
    figure = figure_or_new(figure, (9.5, 7))
    # The last panel holds the legend and what the means are over.
    whole, by_layer, sparsity, corner = figure.subplots(2, 2).ravel()
    handles = _draw_networks(whole, sparsity, lines, means)
    _draw_layers(by_layer, lines, means)
    for ax, name, title in (
        (whole, "Frobenius norm", "all weights"),
        (by_layer, "Frobenius norm", "each layer" + (f" of {lines.lines[0][0]}" * (len(lines.lines) > 1))),
        (sparsity, "share of weights", "small weights; filled: 0, hollow: < 1/1000 of the largest"),
    ):
        lines.scale.put_on(ax.xaxis)
        ax.set_ylabel(name)
        set_title(ax, title)
        ax.grid(alpha=0.25)
        _set_range(ax, means, is_share=ax is sparsity)
    names = [name for name, _ in lines.lines] if len(lines.lines) > 1 else []
    counts = sorted({len(networks) for networks in found.values()}) or [0]
    kept = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    note = f"means over the kept networks: {kept} of {design.num_replicates} per configuration{lines.note}"
    set_corner(corner, handles, names, note)
    set_title(figure, f"regularisation path: the weights against {x}")
    return root_of(figure)


def _measures(params: Params) -> np.ndarray:
    """Returns (norm of all weights, share that is 0, share that is small, norm of each layer …)."""
    weights = [np.asarray(layer.w, np.float64) for layer in params]
    layers = [float(np.sqrt(np.sum(w**2))) for w in weights]  # Frobenius norms
    sizes = np.abs(np.concatenate([w.ravel() for w in weights]))
    small = float(np.mean(sizes <= SMALL * sizes.max()))
    return np.array([np.sqrt(np.sum(np.square(layers))), np.mean(sizes == 0), small, *layers])


def _draw_networks(whole: Axes, sparsity: Axes, lines: Along, means: dict[int, np.ndarray]) -> list[Line2D]:
    """Draws the norm of all weights, and the shares of those that are 0 and small; returns the lines."""
    handles = []
    for (name, indices), (colour, dash) in zip(lines.lines, LINES, strict=False):
        kept = [index for index in indices if index in means]
        at = lines.at[kept]
        looks: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4}
        looks["linestyle"] = dash if lines.joined else ""
        norms, zero, small = (np.array([means[i][k] for i in kept]) for k in range(3))
        handles += whole.plot(at, norms, **looks, label=name)
        sparsity.plot(at, zero, **looks)
        sparsity.plot(at, small, **looks, fillstyle="none", linewidth=0.8)
    return handles


def _draw_layers(ax: Axes, lines: Along, means: dict[int, np.ndarray]) -> None:
    """Draws the norm of each layer along the first line, where its networks have equally many layers."""
    kept = [index for index in lines.lines[0][1] if index in means]
    depths = {len(means[index]) - 3 for index in kept}
    if len(depths) != 1:
        return
    for layer, (colour, dash) in zip(range(depths.pop()), LINES, strict=False):
        norms = [means[index][3 + layer] for index in kept]
        looks: dict[str, Any] = {"color": colour, "marker": "s", "markersize": 4}
        looks["linestyle"] = dash if lines.joined else ""
        ax.plot(lines.at[kept], norms, label=f"layer {layer + 1}", **looks)
    ax.legend(fontsize="small")


def _set_range(ax: Axes, means: dict[int, np.ndarray], *, is_share: bool) -> None:
    """Sets the range of the y axis: of shares, or of norms, logarithmic where they differ much."""
    norms = [mean[0] for mean in means.values()]
    if not norms:
        say(ax, "all networks diverged")
    elif is_share:
        ax.set_ylim(-0.03, 1.03)
    elif max(norms) > 1e3 * min(norms) > 0:
        ax.set_yscale("log")
    else:
        ax.set_ylim(0)
