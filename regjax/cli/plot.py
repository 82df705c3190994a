"""`regjax plot`: a figure of a stored sweep; `main` adds the command."""

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


@click.command()
@of_a_sweep()
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
@click.option("-o", "out", required=True, metavar="FILE", help="Where it goes: .png, .svg or .pdf.")
def plot(path: str, number: str, kind: str, out: str, **options: Any) -> None:
    """Draws a figure of a finished sweep.

    KIND is data_set, curves, boundary, boundaries, heatmap, gap, question, forest, power, importance,
    path, stability or masks; docs/gallery.md shows them all.
    """
    import regjax

    with user_errors():
        ending = Path(out).suffix.lower()
        if ending not in ENDINGS:
            raise ValueError(f"output must end in {', '.join(ENDINGS)}, got {shown(out)}")
        # Matplotlib takes a while to import: what can be refused without it is refused before.
        terminal.check_drawing()
        from regjax.plot.figures import KINDS

        check_choice("kind", kind, tuple(KINDS))
        given = {name: value for name, value in options.items() if value is not None}
        for name in given:
            able = [other for other, draw in KINDS.items() if name in inspect.signature(draw).parameters]
            if kind not in able:
                raise ValueError(f"{name} must be given with {', '.join(able)}, got {kind}")
        check_not_the_store("plot", out, path)
        figure = KINDS[kind](regjax.load(path, number_of(number)), **given)
        terminal.write(Path(out), functools.partial(terminal.save_figure, figure, kind=ending[1:]))
    print(f"written: {out}")
