"""Draws every figure of `regjax.plot`, and writes docs/gallery.md, which shows them.

python docs/gallery.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from PIL import Image

import regjax
from regjax import plot
from regjax.study.results import Results

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


def main() -> None:
    """Trains, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="instead of docs")
    out: Path = parser.parse_args().out
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
