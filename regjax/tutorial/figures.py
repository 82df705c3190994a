"""The figures of the tutorial's three networks; `regjax compare` draws them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.mlp import Params, predict_proba
from regjax.core.settings import own_settings
from regjax.engine.snapshots import MOST, spread
from regjax.plot.animation import film
from regjax.plot.canvas import QuietFigure
from regjax.plot.dropped import draw_masks
from regjax.plot.samples import class_legend, draw_boundary, draw_points, name_features, plane
from regjax.tutorial.experiment import Experiment, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A colour and a dash for each network: colour alone does not tell them apart for every reader.
RUN_STYLES = (("#000000", "-"), ("#009E73", "--"), ("#CC79A7", "-."))


def dataset(train: Data, test: Data) -> Figure:
    """Returns the 2-D data set: training and test samples side by side, classes by colour and marker."""
    figure = QuietFigure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, data, name in zip(axes, (train, test), ("train", "test"), strict=True):
        draw_points(ax, data.x, data.y[0], 16)
        name_features(ax)
        ax.set_title(f"{name}: {data.x.shape[1]} points")
    class_legend(figure, train.y[0], None)
    return figure


def cost_curves(runs: Sequence[Run]) -> Figure:
    """Returns cost against step: on the left the minimised cost, on the right the data loss.

    The costs on the left contain penalties and the noise of dropout, and cannot be compared across
    networks. The losses of training and test samples on the right can.
    """
    figure = QuietFigure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for run, (colour, dash) in zip(runs, RUN_STYLES, strict=False):
        h = run.history
        left.plot(h["step"], h["cost"], dash, color=colour, label=run.name)
        right.plot(h["step"], h["train_loss"], dash, color=colour, linewidth=1, alpha=0.6)
        right.plot(h["step"], h["test_loss"], dash, color=colour, linewidth=2.2, label=run.name)
    left.set_title("cost as optimised (not comparable across runs)", fontsize="medium")
    right.set_title("data loss without dropout: test bold, train thin", fontsize="medium")
    for ax, what in ((left, "cost (nats)"), (right, "loss (nats per example)")):
        ax.set_xlabel("step")
        ax.set_ylabel(what)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.25)
        ax.legend()
    return figure


def decision_boundaries(runs: Sequence[Run], train: Data, config: Config, *, resolution: int = 160) -> Figure:
    """Returns a panel for each network: probability of class 1 as shade, its ½ line, training points on top.

    Args:
        runs: trained networks of two features.
        train: training samples.
        config: configuration of the networks.
        resolution: points of the shade along each side.
    """
    figure, axes = _panels(len(runs), 4.7)
    _draw_runs(axes, runs, train, config, resolution)
    class_legend(figure, train.y[0], None)
    return figure


def animate_boundaries(experiment: Experiment, train: Data, path: str | Path) -> None:
    """Writes the boundaries of the three networks while they train, as GIF or MP4.

    Args:
        experiment: an experiment on two features, with its snapshots.
        train: training samples.
        path: where it goes; its ending is .gif or .mp4.

    Raises:
        OSError: the file cannot be written.
        ValueError: as `regjax.plot.animation.film`.
    """
    snapshots = experiment.snapshots
    figure, axes = _panels(len(experiment.runs), 5)
    class_legend(figure, train.y[0], None)

    def frames() -> Iterator[None]:
        for index in spread(len(snapshots), MOST):
            step, params = snapshots[index]
            for ax in axes:
                ax.clear()
            now = [_until(run, lane, params, index) for lane, run in enumerate(experiment.runs)]
            _draw_runs(axes, now, train, experiment.config, 100)
            figure.suptitle(f"step {step:,}", fontsize="medium")
            yield

    film(figure, frames(), path)


def _until(run: Run, lane: int, params: Params, record: int) -> Run:
    """Returns a run as it stood at a record; the leaves of `params` are `(3, …)`."""
    history = {name: values[: record + 1] for name, values in run.history.items()}
    return run._replace(params=jax.tree.map(lambda leaf: leaf[lane], params), history=history)


def _panels(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    figure = QuietFigure(figsize=(4.2 * count, height), layout="constrained")
    return figure, figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]


def _draw_runs(
    axes: Sequence[Axes], runs: Sequence[Run], train: Data, config: Config, resolution: int
) -> None:
    sides, grid = plane(train.x, resolution)
    # float32 is enough for a picture, whatever the networks were trained in.
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *(run.params for run in runs))
    shades = np.asarray(_probabilities(stacked, grid, config=config.program()))
    for ax, run, shade in zip(axes, runs, shades, strict=True):
        draw_boundary(ax, sides, shade)
        draw_points(ax, train.x, train.y[0], 12)
        name_features(ax)
        ax.set_title(_title(run))


def masks(masks: Sequence[np.ndarray], keep_prob: float, step: str) -> Figure:
    """Returns the units that dropout switches off: a panel for each hidden layer, units by samples.

    Args:
        masks: 1 where a unit is kept and 0 where it is off, `(units, n)` each.
        keep_prob: probability of keeping a unit, for the title.
        step: words for the step in the title.
    """
    named = [(f"hidden layer {number}", mask) for number, mask in enumerate(masks, 1)]
    title = f"Units switched off (black) by dropout, keep_prob = {keep_prob:g}, {step}"
    return draw_masks(None, named, "training sample", title)


def _title(run: Run) -> str:
    setting = {"none": "no regularisation", "l2": f"L2, λ = {run.l2:g}"}.get(
        run.name, f"dropout, keep_prob = {run.keep_prob:g}"
    )
    if run.diverged_at is not None:
        return f"{setting}\ndiverged"
    return f"{setting}\ntrain {run.final('train_accuracy'):.1%}, test {run.final('test_accuracy'):.1%}"


@own_settings("float32")
@functools.partial(jax.jit, static_argnames="config")
def _probabilities(params: Params, x: jax.Array, *, config: Config) -> jax.Array:
    """Returns the probability of class 1 at points `(n_features, n)` for k stacked networks, `(k, n)`."""
    run = functools.partial(predict_proba, activation=config.activation, precision=config.precision)
    return jax.vmap(run, in_axes=(0, None))(params, x)[:, 0, :]
