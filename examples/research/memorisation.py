"""Networks memorise random labels: accuracy over the fraction of random labels, with four regularisers.

Zhang et al. 2017: a network that generalises on true labels fits random ones as well, so its size alone does
not explain why it generalises. On digits, a fraction of the training labels is replaced by random ones. All
networks (regularisers, fractions and seeds) are trained in one compiled program.

    python examples/research/memorisation.py --out memorisation.png
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.random import replicate_key
from regjax.core.train import make_train
from regjax.plot.palette import LINES

# Values of l2, keep_prob and patience; the last is in steps, and infinity never stops.
REGULARISERS = {
    "none": (0.0, 1.0, np.inf),
    "L2, λ = 3": (3.0, 1.0, np.inf),
    "dropout, p = 0.5": (0.0, 0.5, np.inf),
    "early stopping": (0.0, 1.0, 100.0),
}
STOP, TEST = 150, 600


class Accuracies(NamedTuple):
    """Accuracies, `(regularisers, fractions, seeds)`, on the labels that were trained on and on true ones."""

    train: np.ndarray
    test: np.ndarray


def split(fraction: float, seed: int, count: int) -> tuple[Data, Data, Data]:
    """Returns samples to train on and to watch, with a fraction of random labels, and true ones to test.

    Args:
        fraction: share of random labels.
        seed: seed of order and labels.
        count: samples to train on.
    """
    x, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)  # the same order and the same random labels for all fractions
    order, others, place = rng.permutation(len(x)), rng.integers(0, 10, len(x)), rng.permutation(count + STOP)
    y = classes[order].astype(np.int32)
    # The fraction is exact within the training samples and within the watched ones.
    for part in (place[place < count], place[place >= count]):
        replaced = part[: round(fraction * len(part))]
        y[replaced] = others[replaced]
    x = (x[order] / 8 - 1).astype(np.float32)
    ends = (slice(count), slice(count, count + STOP), slice(count + STOP, count + STOP + TEST))
    train, stop, test = (Data(x[part].T, y[None, part], np.ones(len(y[part]), np.float32)) for part in ends)
    return train, stop, test


def measure(
    fractions: np.ndarray, seeds: int, count: int, units: int, num_steps: int, rate: float
) -> Accuracies:
    """Returns the accuracies of the parameters that predict, of all networks."""
    config = Config(
        layer_sizes=(64, units, 10), optimizer="adam", init="he", num_steps=num_steps, eval_every=20,
        metrics=("accuracy",),
    )  # fmt: skip
    fit = make_train(config)

    def accuracies(values: jax.Array, key: jax.Array, data: tuple[Data, Data, Data]) -> jax.Array:
        l2, keep_prob, patience = values
        hparams = HParams(learning_rate=rate, l2=l2, keep_prob=keep_prob, patience=patience)
        train, stop, test = data
        history = fit(key, hparams, train, test, stop).history
        # Of a run that stops the record of its best parameters, of others the last.
        best = jnp.nanargmin(history["stop_loss"])
        chosen = jnp.where(jnp.isfinite(patience), best, len(history["step"]) - 1)
        return jnp.stack([history["train_accuracy"][chosen], history["test_accuracy"][chosen]])

    splits = [split(fraction, seed, count) for fraction in fractions for seed in range(seeds)]
    shape = (len(fractions), seeds)
    data = jax.tree.map(lambda *parts: np.reshape(parts, (*shape, *parts[0].shape)), *splits)
    keys = jax.vmap(replicate_key)(jnp.arange(seeds))
    values = jnp.asarray(list(REGULARISERS.values()), jnp.float32)
    of_seeds = jax.vmap(accuracies, in_axes=(None, 0, 0))
    of_fractions = jax.vmap(of_seeds, in_axes=(None, None, 0))
    # One regulariser after the other: all networks together would not fit the cache.
    every = jax.jit(lambda values, keys, data: jax.lax.map(lambda v: of_fractions(v, keys, data), values))
    found = np.asarray(every(values, keys, data))
    return Accuracies(found[..., 0], found[..., 1])


def draw(found: Accuracies, fractions: np.ndarray) -> Figure:
    """Returns the figure: accuracies against the fraction of random labels."""
    figure = Figure((10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = ("on the labels of training", "on true labels of other digits")
    for ax, values, title in zip(axes, found, titles, strict=True):
        for name, rows, (colour, dash), marker in zip(REGULARISERS, values, LINES, "o^sD", strict=False):
            mean, spread = 100 * rows.mean(axis=1), 100 * rows.std(axis=1)
            ax.errorbar(
                100 * fractions,
                mean,
                spread,
                color=colour,
                linestyle=dash,
                marker=marker,
                markersize=5,
                capsize=2,
                label=name,
            )
        ax.axhline(10, color="#777777", linewidth=1, linestyle=":")
        ax.set(title=title, xlabel="random labels (%)", ylim=(0, 103))
        ax.grid(alpha=0.25)
    axes[0].set(ylabel="accuracy (%); dotted: chance")
    axes[0].legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.12))
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Trains, prints and draws; returns the figures that the page names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", help="file of the figure")
    parser.add_argument("--smallest", action="store_true", help="1 seed, 3 fractions, fewer steps: seconds")
    options = parser.parse_args(argv)
    fractions = np.array([0, 0.5, 1]) if options.smallest else np.linspace(0, 1, 6)
    # Fewer steps at a larger rate fit random labels too.
    sizes = (1, 200, 64, 240, 0.01) if options.smallest else (5, 300, 128, 1_000, 0.003)
    found = measure(fractions, *sizes)
    train, test = found.train.mean(axis=2), found.test.mean(axis=2)
    middle = int(np.argmin(np.abs(fractions - 0.5)))
    figures = {
        "memorised": float(train[0, -1]),
        "test_of_random": float(test[0, -1]),
        "test_of_true": float(test[0, 0]),
        "fraction": float(fractions[middle]),
    }
    for row, name in enumerate(("none", "l2", "dropout", "stopping")):
        figures[f"train_{name}"], figures[f"test_{name}"] = (
            float(train[row, middle]),
            float(test[row, middle]),
        )
        figures[f"random_{name}"] = float(train[row, -1])
    print(f"without a regulariser: {100 * figures['memorised']:.1f} % of random labels fitted,", end=" ")
    print(f"{100 * figures['test_of_random']:.1f} % right on true ones; trained on true labels", end=" ")
    print(f"{100 * figures['test_of_true']:.1f} %")
    for row, name in enumerate(REGULARISERS):
        print(
            f"{name:17} {100 * fractions[middle]:.0f} % random: train {100 * train[row, middle]:5.1f} %",
            end="",
        )
        print(f", test {100 * test[row, middle]:5.1f} %; 100 % random: train {100 * train[row, -1]:5.1f} %")
    if options.out:
        draw(found, fractions).savefig(options.out, dpi=60 if options.smallest else 110)
    return figures


if __name__ == "__main__":
    main()
