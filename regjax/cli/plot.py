"""`regjax plot`: a figure of a stored sweep, or a boundary while it trains; `main` adds the command."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import click

from regjax.cli import terminal
from regjax.cli.stored import check_not_the_store, number_of, of_a_sweep
from regjax.cli.terminal import user_errors
from regjax.core.checks import check_choice, shown

ENDINGS = (".png", ".svg", ".pdf")
# `animation.ANIMATED`, said here: what can be refused without importing Matplotlib is refused before.
MOVING = (".gif", ".mp4")
ELSEWHERE = (
    "the last frame is not the stored network to the bit: another version, machine or kernel trained that; "
    "`regjax replay` compares them"
)


@click.command()
@of_a_sweep(required=True)
@click.argument("kind", metavar="KIND")
@click.option(
    "--metric",
    metavar="NAME",
    help="Of curves, heatmap, gap, question, forest, power and importance: train_loss, val_accuracy, ….",
)
@click.option("--x", metavar="AXIS", help="Of boundaries, heatmap, gap and path: from left to right.")
@click.option("--y", metavar="AXIS", help="Of boundaries, heatmap and stability: upwards.")
@click.option(
    "--configuration",
    type=int,
    metavar="N",
    help="Of boundary, importance and masks: its number in the sweep.",
)
@click.option(
    "-o",
    "out",
    required=True,
    metavar="FILE",
    help="Where it goes: .png, .svg or .pdf; of boundary also .gif or .mp4, the boundary while it trains.",
)
def plot(path: str, number: str, kind: str, out: str, **options: Any) -> None:
    """Draws a figure of a finished sweep.

    KIND is data_set, curves, boundary, boundaries, heatmap, gap, question, forest, power, importance,
    path, stability or masks; docs/gallery.md shows them all.
    """
    import regjax

    with user_errors():
        ending = Path(out).suffix.lower()
        endings = (*ENDINGS, *MOVING) if kind == "boundary" else ENDINGS
        if ending not in endings:
            raise ValueError(f"output must end in {', '.join(endings)}, got {shown(out)}")
        terminal.check_drawing()
        from regjax.plot.figures import KINDS

        check_choice("kind", kind, tuple(KINDS))
        given = {name: value for name, value in options.items() if value is not None}
        for name in given:
            able = [other for other, draw in KINDS.items() if name in _options(draw)]
            if kind not in able:
                raise ValueError(f"{name} must be given with {', '.join(able)}, got {kind}")
        check_not_the_store("plot", out, path)
        if ending in MOVING:
            _animate(path, number, out, **given)
        else:
            figure = KINDS[kind](regjax.load(path, number_of(number)), **given)
            terminal.write(Path(out), functools.partial(terminal.save_figure, figure, kind=ending[1:]))
    print(f"written: {out}")


def _options(draw: Any) -> set[str]:
    """Returns the names of a figure's keyword arguments; the y of `boundary` holds labels."""
    parameters = inspect.signature(draw).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def _animate(path: str, number: str, out: str, configuration: int | None = None) -> None:
    """Writes the boundary of a row while it trains, which it does again for this."""
    import regjax
    from regjax.engine.snapshots import snapshots
    from regjax.plot.animation import check_animation
    from regjax.plot.decision import animate_row, check_animated

    check_animation(out)
    results = regjax.load(path, number_of(number))
    row = check_animated(results, configuration)
    found = snapshots(results, row)
    if not found.same:
        print(ELSEWHERE)
    animate_row(results, row, zip(found.steps, found.params, strict=True), out)
