"""Snapshot ensembles: the networks at the ends of cycles of the learning rate, averaged, against one network.

python examples/research/snapshot_ensembles.py [--out FILE.png] [--smallest]

Every training takes the same steps: one with a cosine to 0, or one with several cycles of it. Held-out loss
and accuracy of three predictions are drawn against those of one training with one cosine, seed by seed; each
seed has its own training samples. The mean of as many independent trainings takes as many times the steps.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from scipy import stats

import regjax
from regjax.core.mlp import Params
from regjax.plot.palette import BLUE, GREEN, VERMILION
from regjax.research.ensembles import evaluate_ensemble, snapshot_ensemble

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CURVES = {
    "all snapshots of one training": (BLUE, "o-"),
    "its last network alone": (VERMILION, "s-"),
    "as many independent trainings": (GREEN, "^--"),
}
NUM_SAMPLES, NUM_HELD_OUT, TURNED = 200, 4000, 0.1


def rings(key: jax.Array, num_samples: int, turned: float) -> regjax.Data:
    """Returns samples whose class is the parity of two rings, a share of the labels turned around."""
    of_x, of_turned = jax.random.split(key)
    x = jax.random.uniform(of_x, (2, num_samples), jnp.float32, -1, 1)
    right = jnp.floor(2 * jnp.sqrt(jnp.sum(x * x, axis=0))).astype(jnp.int32) % 2
    is_turned = jax.random.uniform(of_turned, (num_samples,), jnp.float32) < turned
    y = jnp.where(is_turned, 1 - right, right)[None]
    return regjax.Data(x, y, jnp.ones(num_samples, jnp.float32))


@functools.partial(jax.jit, static_argnames=("config", "cycles"))
def train(keys: jax.Array, data: regjax.Data, config: regjax.Config, cycles: int) -> Params:
    """Returns the snapshots of each seed, each array `(seeds, cycles, …)`."""
    hparams = regjax.HParams(learning_rate=0.3, momentum=0.9)

    def one(key: jax.Array, own: regjax.Data) -> Params:
        return snapshot_ensemble(key, hparams, own, config=config, cycles=cycles)

    return jax.vmap(one)(keys, data)


def scores(seeds: int, num_steps: int, numbers: Sequence[int]) -> dict[tuple[str, str, int], np.ndarray]:
    """Returns (curve, metric, number of networks) -> the metric on held-out samples, `(seeds,)`."""
    config = regjax.Config(
        layer_sizes=(2, 32, 32, 1), optimizer="momentum", batch_size=50, num_steps=num_steps, init="he",
        metrics=("accuracy",),
    )  # fmt: skip
    draws = jax.random.split(jax.random.key(0), seeds + 1)
    data = jax.vmap(lambda key: rings(key, NUM_SAMPLES, TURNED))(draws[1:])
    held_out = rings(draws[0], NUM_HELD_OUT, 0.0)
    evaluate = jax.jit(jax.vmap(lambda params: evaluate_ensemble(params, held_out, config=config)))

    def keys(first: int) -> jax.Array:
        return jnp.stack([regjax.replicate_key(first + seed) for seed in range(seeds)])

    each = [train(keys(1000 * k), data, config, 1) for k in range(max(numbers))]
    independent = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *each)
    found = {}
    for number in numbers:
        snapshots = train(keys(0), data, config, number)
        parts = (snapshots, jax.tree.map(lambda leaf: leaf[:, -1:], snapshots),
                 jax.tree.map(lambda leaf, number=number: leaf[:, :number], independent))  # fmt: skip
        for curve, params in zip(CURVES, parts, strict=True):
            for metric, values in evaluate(params).items():
                found[curve, metric, number] = np.asarray(values, np.float64)
    return found


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means over seeds and half the widths of their 95 % intervals, `(n,)` each, of `(n, seeds)`."""
    seeds = values.shape[1]
    width = stats.t.ppf(0.975, seeds - 1) * values.std(axis=1, ddof=1) / np.sqrt(seeds)
    return values.mean(axis=1), width


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Returns mean differences of held-out metrics, those from one training first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", default="snapshot_ensembles.png")
    parser.add_argument("--smallest", action="store_true")
    options = parser.parse_args(argv)
    seeds, budgets, numbers = (4, (600,), (1, 2)) if options.smallest else (16, (800, 3200), (1, 2, 4, 8))
    figures: dict[str, float] = {}
    figure, panels = plt.subplots(
        1, len(budgets), figsize=(9, 4.2), layout="constrained", sharey=True, squeeze=False
    )
    for panel, num_steps in zip(panels[0], budgets, strict=True):
        found = scores(seeds, num_steps, numbers)
        for metric in ("loss", "accuracy"):
            alone = found["its last network alone", metric, 1]
            print(f"{num_steps} steps: {metric} of one training {alone.mean():.4f}")
            figures[f"{metric} of one training, {num_steps} steps"] = float(alone.mean())
            for curve, (colour, marker) in CURVES.items():
                differences = np.stack([found[curve, metric, number] - alone for number in numbers])
                mean, half = interval(differences)
                for number, one, width in zip(numbers, mean, half, strict=True):
                    print(f"  {number:>2} {curve:<30} {one:+.4f} ± {width:.4f}")
                    figures[f"{metric}, {curve}, {number} of {num_steps} steps"] = float(one)
                if metric == "loss":
                    panel.errorbar(numbers, mean, half, fmt=marker, color=colour, capsize=3, label=curve)
        for number in numbers[1:]:
            both = (found[curve, "loss", number] for curve in list(CURVES)[:2])
            mean, half = interval(np.subtract(*both)[None])
            print(f"  {number:>2} all snapshots less the last: loss {mean[0]:+.4f} ± {half[0]:.4f}")
            figures[f"loss, all less last, {number} of {num_steps} steps"] = float(mean[0])
        panel.axhline(0, color="0.5", linewidth=0.8)
        panel.set_title(f"{num_steps} steps")
        panel.set_xlabel("cycles, or independent trainings")
        panel.set_xticks(numbers)
        panel.grid(alpha=0.25)
    panels[0, 0].set_ylabel("held-out loss less that of one training (nats)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.savefig(options.out, dpi=100)
    return figures


if __name__ == "__main__":
    main()
