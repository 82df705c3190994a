"""The figure of the data: `data_set`, which `figures` lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from regjax.core.data import Data
from regjax.plot.canvas import Panels, figure_or_new, plain, root_of, set_title
from regjax.plot.samples import class_legend, draw_points, thinned
from regjax.study.design import Design
from regjax.study.results import Results


def data_set(results: Results, *, figure: Panels | None = None) -> Figure:
    """Returns a figure of the samples that train and validate, beside the test samples if there are any.

    Two features are drawn as they are, more as the first two principal components, and one against the
    target. Of a table with gaps or categories, the inputs of the first fold's networks are drawn. Of more
    than 5,000 samples so many are drawn, chosen at random.

    Args:
        results: the results of the sweep.
        figure: figure or subfigure for the panels; None makes one.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> figure = regjax.plot.data_set(results)
        >>> figure.axes[0].get_xlabel()
        'x1'
    """
    design = results.design
    name = "training samples" if design.splits.kind == "none" else "training and validation samples"
    named = [(name, design.data), ("test samples", design.test)]
    parts = [(words, _seen(design, data)) for words, data in named if data is not None]
    figure = figure_or_new(figure, (0.8 + 4.2 * len(parts), 4.8))
    axes = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
    flat, names = _flat(parts[0][1], design.input_names)
    targets = matplotlib.colors.Normalize(float(design.data.y[0].min()), float(design.data.y[0].max()))
    for ax, (name, data) in zip(axes, parts, strict=True):
        _draw_part(ax, name, data, flat(data), targets)
        ax.set_xlabel(names[0])
    axes[0].set_ylabel(names[1])
    if _has_classes(design.data):
        class_legend(figure, design.data.y[0], design.classes)
    elif len(parts[0][1].x) > 1:
        label = "target" if design.schema is None else plain(design.schema.target or "target")
        figure.colorbar(ScalarMappable(targets, "viridis"), ax=axes, label=label)
    return root_of(figure)


def _seen(design: Design, data: Data) -> Data:
    """Returns samples as they are drawn: of a coded table, as the first fold's networks see them."""
    return data._replace(x=design.encoded(np.asarray(data.x).T, 0)) if design.coded else data


def _has_classes(data: Data) -> bool:
    return np.issubdtype(data.y.dtype, np.integer)


def _draw_part(ax: Axes, name: str, data: Data, at: np.ndarray, targets: matplotlib.colors.Normalize) -> None:
    """Draws samples at their places, `(2, n)`, by class or by target."""
    count = data.x.shape[1]
    some = thinned(count)
    x, y = at[:, some], data.y[0, some]
    if _has_classes(data):
        draw_points(ax, x, y, 16)
    else:
        ax.scatter(*x, s=14, c=y, norm=targets, cmap="viridis", edgecolors="white", linewidths=0.3)
    drawn = "" if len(some) == count else f", {len(some):,} of them drawn"
    set_title(ax, f"{count:,} {name}{drawn}")


def _flat(data: Data, names: Sequence[str]) -> tuple[Callable[[Data], np.ndarray], tuple[str, str]]:
    """Returns the function that gives samples two coordinates, `(2, n)`, and the names of these."""
    if len(data.x) == 2:
        return lambda samples: np.asarray(samples.x), (plain(names[0]), plain(names[1]))
    if len(data.x) == 1:
        name = "class" if _has_classes(data) else "target"
        return lambda samples: np.stack([samples.x[0], samples.y[0]]), (plain(names[0]), name)
    whole = data.x[:, np.isfinite(data.x).all(axis=0)].astype(np.float64)
    mean, scale = whole.mean(axis=1, keepdims=True), whole.std(axis=1, keepdims=True)
    scale[scale == 0] = 1  # a constant feature
    directions, lengths, _ = np.linalg.svd((whole - mean) / scale, full_matrices=False)
    # A single sample has one direction only.
    directions = np.pad(directions, [(0, 0), (0, max(0, 2 - directions.shape[1]))])
    shares = np.pad(lengths**2 / max(float(np.sum(lengths**2)), 1e-300), (0, 2))
    axes = [f"principal component {k + 1} of {len(data.x)} features ({shares[k]:.0%})" for k in (0, 1)]

    def flat(samples: Data) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):  # a held-out sample may hold anything
            return directions[:, :2].T @ ((samples.x - mean) / scale)

    return flat, (axes[0], axes[1])
