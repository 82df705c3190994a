"""Draws the picture of the README: what a regulariser does to a network, and how sure its gain is.

python docs/front.py [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import matplotlib.pyplot as plt

import regjax
from regjax import plot
from regjax.study.sentences import choice_named

# Rows of the data set, and of the smaller one of which the same question is asked.
ROWS, FEWER = 1_000, 200


def sweep(rows: int) -> regjax.Results:
    """Returns the results of the sweep of the README's example in Python, on so many rows."""
    moons = regjax.datasets.moons(jax.random.key(0), n=rows, noise=0.5)
    grid = regjax.grid(l2=[0, 0.1, 1, 10], keep_prob=[1, 0.8, 0.6], learning_rate=0.03)
    config = {"hidden": (64,), "optimizer": "adam", "num_steps": 2_000}
    return regjax.sweep(moons, config, grid, seeds=4, folds=5, repeats=2, progress=False)


def main() -> None:
    """Trains, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures" / "front.png")
    out: Path = parser.parse_args().out
    results, fewer = sweep(ROWS), sweep(FEWER)
    chosen = results.best()
    scores = results.summary()["val_accuracy"]
    figure = plt.figure(figsize=(11, 7.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.5, 1])
    left, right = above.subplots(1, 2)
    plot.boundary(results, configuration=0, ax=left)
    plot.boundary(results, configuration=chosen.index, ax=right)
    left.set_title(f"no regularisation: {scores.iloc[0]:.1%} of held-out rows right")
    right.set_title(
        f"{choice_named(chosen.configuration, results.design.axes)}: {scores.iloc[chosen.index]:.1%}"
    )
    for ax, found, rows in zip(
        below.subplots(1, 2, sharex=True), (results, fewer), (ROWS, FEWER), strict=True
    ):
        plot.question(found, ax=ax)
        ax.set_title(f"{rows:,} rows: {found.compare_choice().verdict}")
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main()
