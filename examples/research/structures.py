"""The blocks of today's networks for tables, side by side: accuracy on the held-out samples of two data sets.

python examples/research/structures.py [--out FILE.png] [--smallest]

`two_regions` has a smooth boundary; in `steps` the class is the parity of a few intervals of one feature, a
function that is not smooth, for which embeddings were made.
"""

from __future__ import annotations

import argparse
from typing import Any

import matplotlib
import numpy as np

import regjax
from regjax.plot.palette import BLUE, VERMILION

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLOCKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "norm layer": {"norm": "layer"},
    "norm batch": {"norm": "batch"},
    "residual": {"residual": True},
    "periodic": {"embedding": "periodic", "embedding_scale": 1.0},
    "piecewise": {"embedding": "piecewise", "embedding_size": 24},
    "members": {"members": 8},
}


def steps(num_samples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Returns x, `(n, 2)`, in [-1, 1], and classes `(n,)`: the parity of ⌊6·x₁⌋; x₂ says nothing."""
    x = np.random.default_rng(0).uniform(-1, 1, (num_samples, 2))
    return x, np.floor(6 * x[:, 0]).astype(int) % 2


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Returns the mean held-out accuracy of each block on each data set, "block on data" -> accuracy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", default="structures.png")
    parser.add_argument("--smallest", action="store_true")
    options = parser.parse_args(argv)
    names = ["plain", "piecewise"] if options.smallest else list(BLOCKS)
    seeds, num_steps = (1, 600) if options.smallest else (4, 1500)
    found: dict[str, float] = {}
    spreads: dict[str, float] = {}
    data_sets: dict[str, Any] = {"two_regions": "two_regions", "steps": steps()}
    for data_name in ["steps"] if options.smallest else list(data_sets):
        for name in names:
            config = {
                "hidden": (32, 32), "optimizer": "adam", "batch_size": 64, "num_steps": num_steps,
                "eval_every": num_steps, "metrics": ("accuracy",), **BLOCKS[name],
            }  # fmt: skip
            results = regjax.sweep(
                data_sets[data_name], config, {"learning_rate": 0.01}, seeds=seeds, folds=4, test="none",
                kernel="xla", progress=False,
            )  # fmt: skip
            each = results.records["val_accuracy"][:, -1]
            found[f"{name} on {data_name}"] = float(np.mean(each))
            spreads[f"{name} on {data_name}"] = float(np.std(each) / np.sqrt(len(each)))
            print(f"{data_name:<12} {name:<11} {np.mean(each):.3f}", flush=True)
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    shown = [n for n in data_sets if f"plain on {n}" in found]
    for place, (data_name, colour, marker) in enumerate(
        zip(shown, (BLUE, VERMILION), ("o", "s"), strict=False)
    ):
        at = np.arange(len(names)) + 0.16 * (place - (len(shown) - 1) / 2)
        keys = [f"{name} on {data_name}" for name in names]
        axes.errorbar(
            at, [found[k] for k in keys], [spreads[k] for k in keys], fmt=marker, color=colour, capsize=3,
            label=data_name,
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("accuracy on held-out samples (share)")
    axes.set_xlabel("block that is on")
    axes.grid(axis="y", alpha=0.25)
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(options.out, dpi=100)
    return found


if __name__ == "__main__":
    main()
