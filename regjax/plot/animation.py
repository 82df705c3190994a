"""Animations, GIF or MP4, by Matplotlib's writers: of any figure, and of a boundary while a model trains.

Users call `animate`; `decision.animate_row` and `regjax.tutorial.figures` call `film` with their own frames.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.figure import Figure

from regjax.core.checks import shown
from regjax.plot.any_model import add_legend_of, checked_points, draw_model
from regjax.plot.canvas import axes_or_new, plain

ANIMATED = (".gif", ".mp4")
# Frames a second, and seconds for which the last one stays.
RATE, HOLD = 8, 2
DPI = 80


def check_animation(path: str | Path) -> str:
    """Returns the ending of an animation's path, ".gif" or ".mp4".

    Args:
        path: where it goes.

    Raises:
        OSError: its folder cannot be read.
        ValueError: another ending, or MP4 without ffmpeg.
    """
    ending = Path(path).suffix.lower()
    if ending not in ANIMATED:
        raise ValueError(f"an animation must end in {', '.join(ANIMATED)}, got {shown(str(path))}")
    if ending == ".mp4" and not FFMpegWriter.isAvailable():
        raise ValueError(
            f"ffmpeg must be installed to write an .mp4, and is not: write a .gif, got {shown(str(path))}"
        )
    os.stat(Path(path).parent)
    return ending


def film(figure: Figure, frames: Iterable[object], path: str | Path) -> None:
    """Writes a figure as an animation, a frame each time that `frames` has drawn one.

    Args:
        figure: the figure; its layout is that of the first frame throughout, so that nothing jumps.
        frames: draws the next frame into the figure each time it is asked for an item, such as a generator.
        path: where it goes; its ending is .gif or .mp4.

    Raises:
        OSError: the file cannot be written.
        ValueError: as `check_animation`; or no frames.
    """
    ending, drawn = check_animation(path), iter(frames)
    nothing = object()
    if next(drawn, nothing) is nothing:
        raise ValueError("frames must be one or more, got none")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    writer: AbstractMovieWriter = PillowWriter(RATE) if ending == ".gif" else FFMpegWriter(RATE)
    # Moved there when it is whole: a frame that fails leaves no half file at the path.
    with tempfile.TemporaryDirectory(prefix=".", dir=Path(path).parent) as folder:
        whole = Path(folder) / f"animation{ending}"
        with writer.saving(figure, str(whole), DPI):
            writer.grab_frame()
            for _ in drawn:
                writer.grab_frame()
            for _ in range(HOLD * RATE):
                writer.grab_frame()
        os.replace(whole, path)


def animate(frames: Iterable[tuple[str, Any]], X: Any, y: Any = None, *, path: str | Path) -> None:
    """Writes the boundary of a model while it trains, as GIF or MP4.

    Args:
        frames: (title, model) each, at least one; the models are as in `regjax.plot.boundary`. A generator
            may train one model on between two frames.
        X: features, `(n, 2)`: an array, a frame, or a `Data` with its targets.
        y: labels, `(n,)`; None with a `Data`.
        path: where it goes; its ending is .gif or .mp4, which ffmpeg must be there for.

    Raises:
        OSError: the file cannot be written.
        TypeError: as `regjax.plot.boundary`.
        ValueError: as `regjax.plot.boundary`; another ending, no ffmpeg, or no frames.

    Example:
        >>> import os, tempfile
        >>> import jax, regjax
        >>> data = regjax.datasets.circles(jax.random.key(0), n=60)
        >>> def growing():
        ...     for radius in (0.2, 0.5, 0.8):
        ...         yield f"radius {radius}", lambda points: (points**2).sum(axis=1) < radius**2
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     regjax.plot.animate(growing(), data, path=f"{folder}/circle.gif")
        ...     os.listdir(folder)
        ['circle.gif']
    """
    check_animation(path)
    points = checked_points(X, y)
    figure, ax = axes_or_new(None, (5.4, 5.4))

    def drawn() -> Iterator[None]:
        for title, model in frames:
            ax.clear()
            classes = draw_model(ax, model, points, 120)
            ax.set_title(plain(title), fontsize="medium")
            if not figure.legends:
                add_legend_of(figure, points, classes)
            yield

    film(figure, drawn(), path)
