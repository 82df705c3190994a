"""The figure of what dropout switches off: `masks`, and `draw_masks`, which `regjax.tutorial` calls too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regjax.core import dropout
from regjax.core.random import as_key
from regjax.core.settings import own_settings
from regjax.plot.canvas import DIGITS, Panels, figure_or_new, root_of, set_title
from regjax.plot.request import configuration_of, order_of
from regjax.study.results import Results

# The hyperparameters that drop units.
DROPPING = ("keep_prob", "input_keep_prob", "keep_prob_end")


def masks(results: Results, *, configuration: int | None = None, figure: Panels | None = None) -> Figure:
    """Returns a figure of the units that dropout switched off in a step of a configuration's first network.

    A panel for each layer whose units are dropped, with a line for each unit and a column for each sample of
    the batch. It is step 0; with keep_prob_end the last step.

    Args:
        results: the results of a sweep with dropout.
        configuration: the number of a configuration; None is the best with dropout.
        figure: figure or subfigure for the panels; None makes one.

    Raises:
        ValueError: no dropout, or there is no such configuration.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"keep_prob": [1, 0.5]}, folds=2,
        ...     progress=False,
        ... )
        >>> figure = regjax.plot.masks(results, configuration=1)
        >>> len(figure.axes)
        2
    """
    design = results.design
    found = _dropping(results, configuration)
    index = design.index(found, 0, 0)
    row, config = design.row(index), design.configs[found]
    # With keep_prob_end step 0 may drop nothing: keep_prob begins at 1 there, unless it is given.
    step = 0 if design.hparams[found].keep_prob_end is None else config.num_steps - 1
    width, drawn = _draw_step(results, index, step)
    seen = np.arange(width)
    if config.batch_size is None:
        seen = np.flatnonzero(design.weights(row)[0] > 0)  # the samples that train
    layers = [
        ("input" if number == 0 else f"hidden layer {number}", (np.asarray(mask)[:, seen] > 0).astype(float))
        for number, mask in enumerate(drawn)
        if mask is not None
    ]
    fold = f", fold {row.fold}" if design.num_folds > 1 else ""
    samples = "training sample" if config.batch_size is None else "sample of the batch"
    name = design.in_words(design.configurations[found], DIGITS)
    title = f"units switched off (black) at step {step}: {name}; seed {row.seed}{fold}"
    return draw_masks(figure, layers, samples, title)


def _dropping(results: Results, configuration: int | None) -> int:
    """Returns the configuration, checked to have dropout; None is the best that has it."""
    design = results.design
    order = order_of(results, design.shown_metric).tolist()
    if configuration is not None:
        order = [configuration_of(results, configuration)]
    for index in order:
        if any(getattr(design.hparams[index], name) is not None for name in DROPPING):
            return index
    name = design.in_words(design.configurations[order[0]], DIGITS)
    raise ValueError(f"masks must be of a configuration with dropout, got {name}: use keep_prob below 1")


def _draw_step(results: Results, index: int, step: int) -> tuple[int, dropout.UnitMasks]:
    """Returns how many samples a step of a row sees, with padding, and the masks that it draws for them."""
    design = results.design
    row = design.row(index)
    config = design.configs[row.configuration]
    # Dropout's bits depend on the width: it must be that of training.
    width = design.padded.x.shape[1] if config.batch_size is None else config.batch_size
    with own_settings(config.dtype):
        drawn = dropout.draw_masks(
            as_key(design.key(row)),
            step,
            design.hparams[row.configuration]._replace(gaussian_dropout=None, dropconnect_keep_prob=None),
            config,
            width,
            config.num_steps,
        )
    assert drawn.units is not None
    return width, drawn.units


def draw_masks(
    figure: Panels | None, masks: Sequence[tuple[str, np.ndarray]], samples: str, title: str
) -> Figure:
    """Returns a figure of masks: a panel for each layer, a line for each unit, a column for each sample.

    Args:
        figure: figure or subfigure for the panels; None makes one.
        masks: (name of a layer, 1 where a unit is kept and 0 where it is off, `(units, n)`).
        samples: what a column is, in words.
        title: the title of the figure.
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
