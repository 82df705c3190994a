"""The lottery ticket: a pruned network trains well from its own initial weights, and worse from others.

Frankle & Carbin 2019: train, prune the smallest weights of each layer, put the rest back to their initial
values, and again. What remains is trained beside the same mask on fresh initial weights, and beside a random
mask that keeps as many weights of each layer, all on the same batches. All rounds are one scan and all seeds
one vmap: the recipe is one compiled program.

    python examples/research/lottery_ticket.py --out lottery_ticket.png
"""

from __future__ import annotations

import argparse
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student
from sklearn.datasets import load_digits

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.mlp import init_params
from regjax.core.random import replicate_key
from regjax.plot.palette import LINES
from regjax.research.pruning import full_mask, kept_share, prune, train_masked

NAMES = ("winning ticket", "its mask, fresh weights", "random mask, fresh weights")


class Rounds(NamedTuple):
    """What is measured in each round.

    Attributes:
        kept: share of the weights that is kept, `(rounds,)`.
        accuracy: of test digits after training, of the three networks of `NAMES`, `(seeds, rounds, 3)`.
        early: the same after an eighth of the steps.
        pruned: largest magnitude of a pruned weight after training, `(seeds, rounds)`.
    """

    kept: np.ndarray
    accuracy: np.ndarray
    early: np.ndarray
    pruned: np.ndarray


def split(seed: int, num_train: int, num_test: int) -> tuple[Data, Data]:
    """Returns random digits to train on, and others to test."""
    x, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = (x[order] / 8 - 1).astype(np.float32), classes[order].astype(np.int32)
    ends = (slice(num_train), slice(num_train, num_train + num_test))
    train, test = (Data(x[part].T, y[None, part], np.ones(len(y[part]), np.float32)) for part in ends)
    return train, test


@functools.partial(jax.jit, static_argnames=("config", "rounds", "pruned", "rate"))
def prune_and_train(
    seeds: jax.Array, data: tuple[Data, Data], config: Config, rounds: int, pruned: float, rate: float
) -> Rounds:
    """Returns the measures of all seeds; a round prunes that share of the weights, of the last layer half."""
    hparams = HParams(learning_rate=rate)
    fractions = (pruned,) * (config.num_layers - 1) + (pruned / 2,)

    def of_seed(seed: jax.Array, data: tuple[Data, Data]) -> Rounds:
        key = replicate_key(seed)
        first = init_params(key, config.layer_sizes, init="glorot")
        fresh = init_params(replicate_key(seed, 1), config.layer_sizes, init="glorot")
        noise = init_params(replicate_key(seed, 2), config.layer_sizes)  # its order is a random mask's

        def a_round(masks, _):
            mask, random = masks
            # One key: the batches are the same, and what differs is where the weights begin and the mask.
            start = jax.tree.map(lambda *parts: jnp.stack(parts), first, fresh, fresh)
            held = jax.tree.map(lambda *parts: jnp.stack(parts), mask, mask, random)
            train = functools.partial(
                train_masked, key, hparams=hparams, data=data[0], test=data[1], config=config
            )
            runs = jax.vmap(lambda params, mask: train(params, mask))(start, held)
            accuracy = runs.history["test_accuracy"]
            rests = jax.tree.map(
                lambda layer, part: jnp.max(jnp.abs(layer * (1 - part))),
                tuple(layer.w for layer in runs.params),
                held,
            )
            found = Rounds(kept_share(mask), accuracy[:, -1], accuracy[:, 1], jnp.max(jnp.stack(rests)))
            trained = jax.tree.map(lambda part: part[0], runs.params)
            return (prune(trained, mask, fractions), prune(noise, random, fractions)), found

        return jax.lax.scan(a_round, (full_mask(first), full_mask(first)), None, length=rounds)[1]

    return jax.vmap(of_seed)(seeds, data)


def interval(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean over seeds, the first axis, and half of its 95 % interval by Student's t."""
    n = len(differences)
    return differences.mean(axis=0), student.ppf(0.975, n - 1) * differences.std(axis=0, ddof=1) / n**0.5


def draw(found: Rounds) -> Figure:
    """Returns the figure: accuracy and paired differences against the share of weights kept."""
    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    kept = 100 * found.kept
    for k, (name, (colour, dash), marker) in enumerate(zip(NAMES, LINES, "o^s", strict=False)):
        mean, half = interval(100 * found.accuracy[:, :, k])
        left.errorbar(
            kept, mean, half, color=colour, linestyle=dash, marker=marker, markersize=4, capsize=2, label=name
        )
    left.set(title="after all steps", ylabel="accuracy on other digits (%)")
    shown = (("after all steps", found.accuracy), ("after an eighth of them", found.early))
    for (name, values), (colour, dash), marker in zip(shown, LINES[3:], "Dv", strict=False):
        mean, half = interval(100 * (values[:, :, 0] - values[:, :, 1]))
        right.errorbar(
            kept, mean, half, color=colour, linestyle=dash, marker=marker, markersize=4, capsize=2, label=name
        )
    right.axhline(0, color="#777777", linewidth=1)
    right.set(title="ticket − its mask on fresh weights", ylabel="difference (points), 95 % interval")
    for ax, place in ((left, "lower left"), (right, "upper left")):
        ax.set(xscale="log", xlabel="weights kept (%)")
        ax.invert_xaxis()
        ticks = [tick for tick in (100, 50, 20, 10, 5, 2, 1) if tick >= 0.9 * kept.min()]
        ax.minorticks_off()
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.legend(fontsize=8, loc=place)
        ax.grid(alpha=0.25)
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Trains, prints and draws; returns the figures that the page names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", help="file of the figure")
    parser.add_argument("--smallest", action="store_true", help="fewer seeds, rounds and steps: seconds")
    options = parser.parse_args(argv)
    if options.smallest:
        seeds, samples, batch_size, num_steps, rounds = 5, (600, 300), 30, 128, (6, 0.45, 0.003)
    else:
        seeds, samples, batch_size, num_steps, rounds = 10, (1000, 700), 50, 800, (19, 0.2, 0.002)
    config = Config(
        layer_sizes=(64, 100, 50, 10),
        optimizer="adam",
        batch_size=batch_size,
        num_steps=num_steps,
        eval_every=num_steps // 8,
        metrics=("accuracy",),
    )
    data = jax.tree.map(lambda *parts: np.stack(parts), *(split(seed, *samples) for seed in range(seeds)))
    found = jax.tree.map(np.asarray, prune_and_train(jnp.arange(seeds), data, config, *rounds))
    found = found._replace(kept=found.kept[0])
    figures = {"dense": float(found.accuracy[:, 0, 0].mean()), "largest_pruned": float(found.pruned.max())}
    for share in (0.2, 0.05):
        at = int(np.argmin(np.abs(found.kept - share)))
        print(f"{100 * found.kept[at]:.1f} % of the weights kept:", end=" ")
        for k, name in enumerate(("ticket", "fresh", "random")):
            figures[f"{name}_{share}"] = float(found.accuracy[:, at, k].mean())
            print(f"{name} {100 * figures[f'{name}_{share}']:.1f} %", end=", ")
        for name, values in (("gain", found.accuracy), ("early", found.early)):
            mean, half = interval(values[:, at, 0] - values[:, at, 1])
            figures |= {f"{name}_{share}": float(mean), f"{name}_half_{share}": float(half)}
            print(f"{name} {100 * mean:.1f} ± {100 * half:.1f} points", end="; ")
        print()
    print(f"all weights: {100 * figures['dense']:.1f} %; largest pruned weight {figures['largest_pruned']:g}")
    if options.out:
        draw(found).savefig(options.out, dpi=60 if options.smallest else 110)
    return figures


if __name__ == "__main__":
    main()
