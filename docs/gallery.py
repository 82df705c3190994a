"""Draws every figure of `regjax.plot`, and writes docs/gallery.md, which shows them.

python docs/gallery.py [--out FOLDER]                  # the gallery
python docs/gallery.py --regularisers [--out FOLDER]   # the pictures of the regularisers' pages instead
"""

from __future__ import annotations

import argparse
import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import regjax
from regjax import plot
from regjax.core.mlp import predict_proba
from regjax.plot.samples import draw_boundary, draw_points, plane
from regjax.study.configuration import value_of
from regjax.study.results import Results
from regjax.tutorial import showcase

# Pixels of a picture.
WIDTH = 880
# Bytes from which a picture is reduced to 128 colours.
LARGE = 140_000
# (flags of the command line, the same grid in Python) of each sweep.
SWEEPS = (
    (
        "--l2 0,0.03,0.1,0.3,1 --keep-prob 1,0.9,0.7",
        {"l2": [0, 0.03, 0.1, 0.3, 1], "keep_prob": [1, 0.9, 0.7]},
    ),
    (
        "--l2 0,3,30,300 --learning-rate 0.01,0.1,1,3,10",
        {"l2": [0, 3, 30, 300], "learning_rate": [0.01, 0.1, 1, 3, 10]},
    ),
    ("--l1-prox 0,0.03,0.1,0.3,1,3", {"l1_prox": [0, 0.03, 0.1, 0.3, 1, 3]}),
    ("--data iris --l2 0,0.1,1", {"l2": [0, 0.1, 1]}),
)
STEPS, SEEDS, FOLDS = 2_000, 2, 5
BUILT_IN = "two_regions"
# Of the regularisers' pictures: steps and learning rate as in `regjax compare --regularisers all`, and how
# well a picture is kept, of 100.
LONG, RATE, QUALITY = 30_000, 0.3, 65
# Training accuracy of a network that has learnt something; half of the samples are of each class.
LEARNT = 0.7
# weight_decay needs adamw, so it has its own sweep with its own network without; adamw's steps are larger.
DECAY, DECAY_RATE = 1.0, 0.003


class Shown(NamedTuple):
    """A figure of the gallery.

    Attributes:
        sweep: the number of its sweep, from 1.
        heading: the heading above it.
        words: the text below the heading.
        options: the arguments of the figure, as in Python and on the command line.
    """

    sweep: int
    heading: str
    words: str
    options: Mapping[str, Any] = MappingProxyType({})


SHOWN = {
    "data_set": Shown(
        1,
        "The data set",
        "The samples, classes by colour and marker; of more than two features, the first two principal "
        "components.",
    ),
    "curves": Shown(
        1,
        "Cost, loss and a metric against the step",
        "The best configurations and the baseline. Lines are means; bands reach from the lowest to the "
        "highest seed.",
    ),
    "boundary": Shown(
        1,
        "A decision boundary",
        "The probability of class 1 as shade, the line where it is ½, and the samples; those with a black "
        "edge were held out from this network.",
        {"configuration": 0},
    ),
    "boundaries": Shown(
        1,
        "A sheet of boundaries",
        "The same over λ and keep_prob: what each does to the border.",
    ),
    "heatmap": Shown(
        1,
        "A metric over two axes",
        "The mean of any recorded metric; the configuration that validation chooses is framed, and where "
        "networks diverged a cell is hatched and counts those that did not.",
        {"metric": "val_loss"},
    ),
    "gap": Shown(
        1,
        "Training less validation against λ",
        "How much is learnt by heart: the paired difference with its interval, a line per combination of the "
        "other axes.",
        {"metric": "val_loss"},
    ),
    "question": Shown(
        1,
        "The one question",
        "What choosing gains over the baseline: in each fold the configuration that the other folds choose, "
        "less the baseline; and the mean with its 95 % interval, on which the verdict rests.",
        {"metric": "val_loss"},
    ),
    "forest": Shown(
        1,
        "Differences to the baseline",
        "Paired, with the 95 % interval of each alone (thick) and that of all at once (thin), on which the "
        "verdict rests.",
        {"metric": "val_loss"},
    ),
    "power": Shown(
        1,
        "What the sweep can show",
        "The power of a comparison against the true difference, on this evidence, on more repeats and on "
        "more rows; and the width of intervals after more repeats, with the one that none undercuts.",
        {"metric": "val_loss"},
    ),
    "importance": Shown(
        4,
        "Which columns matter",
        "How much worse the chosen configuration predicts held-out samples where a column is shuffled, with "
        "the same two intervals. Columns that say the same share their importance.",
    ),
    "path": Shown(
        3,
        "The regularisation path",
        "Norms of the weights, and the share of them that is 0, against the strength of the penalty.",
    ),
    "stability": Shown(
        2,
        "Where training is stable",
        "Over learning rate and λ: the final loss, or in grey how many networks diverged.",
    ),
    "masks": Shown(
        1,
        "What dropout switches off",
        "The units that are off in one step, for every sample of the batch.",
    ),
}


def sweeps() -> list[Results]:
    """Returns the results of the sweeps, trained in seconds."""
    config = {"hidden": (20, 3), "num_steps": STEPS, "eval_every": STEPS // 40}
    options = {"keep": "all", "progress": False}
    return [
        regjax.sweep(data, config, grid, seeds=SEEDS, folds=FOLDS, standardize=data != BUILT_IN, **options)
        for data, grid in (
            (flags.split()[1] if flags.startswith("--data") else BUILT_IN, grid) for flags, grid in SWEEPS
        )
    ]


def page() -> str:
    """Returns the page as Markdown."""
    commands = [
        f"regjax sweep {flags} --seeds {SEEDS} --folds {FOLDS} \\\n"
        f"    --steps {STEPS} --eval-every {STEPS // 40} --keep all --store gallery.sqlite"
        for flags, _ in SWEEPS
    ]
    parts = [
        "# Gallery",
        "Every figure of `regjax plot` (in Python: of `regjax.plot`), made by `python docs/gallery.py`\n"
        "from small sweeps of the built-in data set, and of one of scikit-learn's:",
        "```sh\n" + "\n".join(commands) + "\n```",
        "`docs/intervals.md` says what the intervals mean. No picture is evidence: the sweeps are small.",
    ]
    for kind, found in SHOWN.items():
        flags = "".join(f" --{name} {value}" for name, value in found.options.items())
        parts += [
            f"## {found.heading}",
            textwrap.fill(found.words, 120),
            f"![{found.heading}](pictures/gallery/{kind}.png)",
            f"```sh\nregjax plot gallery.sqlite {kind} --sweep {found.sweep}{flags} -o {kind}.png\n```",
        ]
    return "\n\n".join(parts) + "\n"


def each_regulariser() -> dict[str, tuple[Results, int]]:
    """Returns, for each regulariser, results whose configuration 0 is none and the number of its own."""
    train, _ = regjax.two_regions(jax.random.key(0))
    names = list(showcase.STRENGTHS)
    results = showcase.run_showcase(train, names, num_steps=LONG, learning_rate=RATE)
    hidden = results.design.configs[0].layer_sizes[1:-1]
    decay = regjax.sweep(
        train,
        {"hidden": hidden, "num_steps": LONG, "eval_every": LONG, "optimizer": "adamw"},
        {"learning_rate": DECAY_RATE, "weight_decay": [0, DECAY]},
        validation=showcase.VALIDATION,
        keep="all",
        progress=False,
    )
    return {name: (results, number) for number, name in enumerate(names, 1)} | {"weight_decay": (decay, 1)}


def beside_none(results: Results, configuration: int, name: str) -> Figure:
    """Returns a figure with two boundaries: of none, and of a configuration with one regulariser on.

    They are of the lowest seed at which the regularised network learnt something: with narrow layers all
    units of one may die, and a picture of that shows nothing about the regulariser.
    """
    design = results.design
    held_out = design.splits.val[0] > 0
    value = value_of(design.configurations[configuration], name)
    scores = results.values("train_accuracy")
    rows = (design.index(configuration, seed, 0) for seed in range(len(design.seeds)))
    row = next(row for row in rows if scores[row] > LEARNT)
    seed = design.row(row).seed
    figure = Figure(figsize=(6.4, 3.5), layout="constrained")
    sides, grid = plane(design.data.x, 160)
    for ax, title, shown in zip(
        figure.subplots(1, 2),
        (f"none, seed {seed}" if seed else "none", f"{name} = {value:g}"),
        (design.index(0, design.seeds.index(seed), 0), row),
        strict=True,
    ):
        shade = predict_proba(results.params(shown), jnp.asarray(grid))
        draw_boundary(ax, sides, np.asarray(shade).ravel())
        draw_points(ax, design.data.x, design.data.y[0], 16, outlined=held_out)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=14)
    return figure


def save_regularisers(folder: Path) -> None:
    """Trains, and writes a picture for each regulariser into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (results, configuration) in each_regulariser().items():
        buffer = io.BytesIO()
        beside_none(results, configuration, name).savefig(buffer, dpi=90)
        # WebP: a PNG as small has so few colours that samples vanish in the shade.
        Image.open(buffer).convert("RGB").save(folder / f"{name}.webp", quality=QUALITY, method=6)


def main() -> None:
    """Trains, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="instead of docs")
    parser.add_argument("--regularisers", action="store_true", help="draw pictures/regularisers alone")
    asked = parser.parse_args()
    out: Path = asked.out
    if asked.regularisers:
        save_regularisers(out / "pictures" / "regularisers")
        return
    pictures = out / "pictures" / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    results = sweeps()
    for kind, found in SHOWN.items():
        figure = plot.KINDS[kind](results[found.sweep - 1], **found.options)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=min(110, WIDTH / figure.get_figwidth()))
        picture = Image.open(buffer).convert("RGB")
        if buffer.tell() > LARGE:
            picture = picture.quantize(128)
        picture.save(pictures / f"{kind}.png", optimize=True)
    (out / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
