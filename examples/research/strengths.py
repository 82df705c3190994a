"""Finds a λ for each input feature by gradient descent on hypergradients, beside a grid of one λ.

    python examples/research/strengths.py [--out FILE.png] [--smallest]

Few of many features matter. One λ must shrink all or none; with a λ for each feature, descent on the
validation loss learns which. A step of it is one training and one way back, however many features there are.
So many λs also fit the noise of the validation samples: fresh samples say when to stop.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import regjax
from regjax.research.reverse import reverse_hypergradient

FEATURES, USEFUL = 20, 3
TRAINING, VALIDATION, FRESH = 160, 640, 4_000


class Size(NamedTuple):
    """How much is trained: steps of a network, steps of the descent, values of λ in the grid."""

    steps: int
    descents: int
    grid: int


# Steps of the descent between two looks at fresh samples.
EVERY = 3
FULL, SMALLEST = Size(1_000, 60, 25), Size(300, 30, 9)


def samples(key: jax.Array, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs `(count, FEATURES)`, and classes that the first `USEFUL` of them decide, with noise."""
    inputs, noise = jax.random.split(key)
    x = np.asarray(jax.random.normal(inputs, (count, FEATURES)))
    score = x[:, 0] * 1.5 + np.tanh(2 * x[:, 1]) - x[:, 2] ** 2 + 0.8
    return x, (score + 0.5 * np.asarray(jax.random.normal(noise, (count,))) > 0).astype(int)


def hparams_of(theta: jax.Array) -> regjax.HParams:
    """Returns hyperparameters: a λ for each input feature, exp(θ), and a small one for the last layer."""
    return regjax.HParams(l2=(jnp.exp(theta)[None, :], jnp.full((1, 1), 0.1)), learning_rate=0.3)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Trains, prints and draws; returns losses on samples that nothing was chosen by."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="strengths.png", help="where the picture goes")
    parser.add_argument("--smallest", action="store_true", help="a run of seconds")
    options = parser.parse_args(argv)
    size = SMALLEST if options.smallest else FULL
    train, validation, test = (
        regjax.Data.from_arrays(*samples(jax.random.key(seed), count))
        for seed, count in enumerate((TRAINING, VALIDATION, FRESH))
    )
    config = regjax.Config(
        layer_sizes=(FEATURES, 16, 1), activation="tanh", num_steps=size.steps, eval_every=size.steps
    )
    key = regjax.replicate_key(0)

    def test_loss(theta: np.ndarray) -> float:
        return float(reverse_hypergradient(key, theta, train, test, config=config, hparams_of=hparams_of)[0])

    # One λ for all: every network of the grid at once, no gradient.
    began = time.perf_counter()
    grid = np.geomspace(0.01, 100, size.grid)

    def of_one(strength: jax.Array) -> tuple[jax.Array, jax.Array]:
        hparams = regjax.HParams(l2=jnp.stack([strength, jnp.float32(0.1)]), learning_rate=jnp.float32(0.3))
        fit = regjax.make_train(config)
        of_both = (fit(key, hparams, train, part).history["test_loss"][-1] for part in (validation, test))
        return tuple(of_both)  # type: ignore[return-value]

    by_grid, test_by_grid = map(np.asarray, jax.jit(jax.vmap(of_one))(jnp.asarray(grid, jnp.float32)))
    grid_seconds = time.perf_counter() - began
    best = int(np.argmin(by_grid))

    # A λ for each feature, from the middle of the grid on: the loss in log λ, by Adam.
    began = time.perf_counter()
    theta = np.zeros(FEATURES, np.float32)
    optimizer = optax.adam(0.3)
    state = optimizer.init(theta)
    path: list[float] = []
    fresh: dict[int, float] = {}
    for count in range(size.descents):
        found, slope = reverse_hypergradient(
            key, theta, train, validation, config=config, hparams_of=hparams_of
        )
        path.append(float(found))
        if count % EVERY == 0:
            paused = time.perf_counter()
            fresh[count] = test_loss(theta)
            began += time.perf_counter() - paused
        change, state = optimizer.update(np.asarray(slope), state)
        theta = np.clip(theta + np.asarray(change), np.log(0.01), np.log(100)).astype(np.float32)
    descent_seconds = time.perf_counter() - began
    last, last_test = path[-1], fresh[max(fresh)]
    figures = {
        "grid_loss": float(by_grid[best]),
        "grid_test_loss": float(test_by_grid[best]),
        "descent_loss": last,
        "descent_test_loss": last_test,
        "least_test_loss": min(fresh.values()),
        "useful": float(np.exp(theta[:USEFUL].mean())),
        "useless": float(np.exp(theta[USEFUL:].mean())),
        "grid_seconds": grid_seconds,
        "descent_seconds": descent_seconds,
    }
    print(
        f"one λ:  validation {by_grid[best]:.3f}, test {test_by_grid[best]:.3f}, λ = {grid[best]:.2g}, "
        f"{size.grid} networks in {grid_seconds:.1f} s"
    )
    print(
        f"{FEATURES} λs: validation {last:.3f}, test {last_test:.3f} (least {min(fresh.values()):.3f}), "
        f"λ = {figures['useful']:.2g} of useful and {figures['useless']:.2g} of useless features, "
        f"{size.descents} networks in {descent_seconds:.1f} s"
    )
    _draw(options.out, by_grid, test_by_grid, path, fresh, theta)
    return figures


def _draw(
    out: str,
    by_grid: np.ndarray,
    test_by_grid: np.ndarray,
    path: list[float],
    fresh: dict[int, float],
    theta: np.ndarray,
) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    best = int(np.argmin(by_grid))
    left.plot(np.arange(len(path)), path, color="#0072B2", label=f"{FEATURES} λs, validation")
    left.plot(list(fresh), list(fresh.values()), color="#D55E00", label=f"{FEATURES} λs, fresh")
    left.axhline(by_grid[best], color="#0072B2", linestyle=":", label="best one λ, validation")
    left.axhline(test_by_grid[best], color="#D55E00", linestyle=":", label="best one λ, fresh")
    left.set(xlabel="steps of the descent (networks trained)", ylabel="loss (nats)", ylim=(0, None))
    left.legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    useful = np.arange(FEATURES) < USEFUL
    # From 1, where the descent began: up is more shrinking, down is less.
    for which, colour, label in ((useful, "#0072B2", "useful"), (~useful, "#999999", "noise")):
        right.bar(np.flatnonzero(which) + 1, np.exp(theta[which]) - 1, bottom=1, color=colour, label=label)
    right.axhline(1, color="black", linewidth=0.8)
    right.set(yscale="log", xlabel="input feature", ylabel="λ of the feature", ylim=(0.005, 1_000))
    right.set_xlim(0.4, FEATURES + 0.6)  # features are numbered from 1
    right.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5]))
    right.legend(frameon=False, ncols=2, loc="upper left")
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
