"""Dropout of inputs as an adaptive L2 penalty: each feature is penalised by its second moment.

Srivastava et al. 2014, §9.1, and Wager, Wang & Liang 2013: in linear regression the expectation over dropout
of the inputs is an L2 penalty with λⱼ = (1 - p)/p·Σᵢ xⱼᵢ². Digits of 4 × 4 pixels, whose features have
very different second moments, are regressed on their classes. regjax minimises the expectation itself, over
all masks of 8 features, and trains with masks that it draws; both are held against the closed form.

    python examples/research/adaptive_l2.py --out adaptive_l2.png
"""

from __future__ import annotations

import argparse
import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Layer
from regjax.core.random import replicate_key
from regjax.core.train import init_state, make_train, run_segment
from regjax.plot.palette import LINES
from regjax.research.closed_forms import input_dropout_strengths, linear_optimum

# Multiples of 1/65536, so that the masks drop with exactly these probabilities.
KEEP_PROBS = (0.5, 0.75, 0.875)


def digits(count: int) -> Data:
    """Returns digits of 4 × 4 pixels in [0, 1] and their classes as targets 0 and 1, float64."""
    images, classes = load_digits(return_X_y=True)
    pooled = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16
    order = np.random.default_rng(0).permutation(len(pooled))[:count]
    return Data(pooled[order].T, np.eye(10)[classes[order]].T, np.ones(count))


def distance(w: np.ndarray, expected: np.ndarray, x: np.ndarray) -> float:
    """Returns ‖w - expected‖/‖expected‖, where each feature counts by its second moment in `x`."""
    size = np.sqrt(np.mean(x * x, axis=1))
    return float(np.linalg.norm((w - expected) * size) / np.linalg.norm(expected * size))


def expectation(data: Data, keep_prob: float) -> Data:
    """Returns samples whose objective is the expectation over dropout: each under every mask."""
    masks = np.array(list(itertools.product((0, 1), repeat=len(data.x))))
    weights = np.prod(np.where(masks == 1, keep_prob, 1 - keep_prob), axis=1)
    x = np.concatenate([data.x * mask[:, None] / keep_prob for mask in masks], axis=1)
    spread = np.repeat(weights * len(masks), data.x.shape[1])
    return Data(x, np.tile(data.y, len(masks)), spread)


def exact_error(count: int, num_steps: int) -> float:
    """Returns the distance of the weights that minimise the expectation, by regjax, from the closed form."""
    data = digits(count)
    data = data._replace(x=data.x[4:12])
    config = Config(
        layer_sizes=(8, 10),
        loss="squared_error",
        optimizer="momentum",
        dtype="float64",
        num_steps=num_steps,
        eval_every=num_steps,
        metrics=(),
    )
    run = make_train(config)(replicate_key(0), HParams(learning_rate=0.2), expectation(data, 0.5))
    with jax.enable_x64(True):
        expected = linear_optimum(data, input_dropout_strengths(data, 0.5))
    return distance(np.asarray(run.params[0].w), np.asarray(expected.w), data.x)


class Lengths(NamedTuple):
    """How long is trained with masks.

    Attributes:
        burn_in: steps that are not averaged. Weights of rare pixels need thousands of steps to come near
            their mean, fewer at a larger rate.
        averaged: steps that are averaged.
        points: numbers of averaged steps after which the error is measured.
        rate: learning rate.
    """

    burn_in: int
    averaged: int
    points: int
    rate: float


@functools.partial(jax.jit, static_argnames=("config", "lengths"))
def train(
    data: Data, keep_probs: jax.Array, keys: jax.Array, steps: jax.Array, config: Config, lengths: Lengths
) -> Layer:
    """Returns averages of parameters trained with dropout, `(probabilities, seeds, steps, …)`."""

    def run(keep_prob, key):
        hparams = HParams(learning_rate=lengths.rate, input_keep_prob=keep_prob, average_from=lengths.burn_in)
        hparams = check_hparams(config, hparams)
        state = init_state(key, hparams, config=config)

        def segment(state, ends):
            state = run_segment(key, state, hparams, data, *ends, config=config)
            return state, state.measured[0]

        return jax.lax.scan(segment, state, (jnp.append(0, steps[:-1]), steps))[1]

    return jax.vmap(jax.vmap(run, in_axes=(None, 0)), in_axes=(0, None))(keep_probs, keys)


class Found(NamedTuple):
    """What is drawn.

    Attributes:
        steps: steps averaged, `(m,)`.
        errors: `distance` of the mean over seeds from the closed form, `(probabilities, m)`.
        trained: that mean after the last step, `(probabilities, 10, d)`.
        expected: the closed form.
        strengths: λ of each feature with the first probability, `(d,)`.
    """

    steps: np.ndarray
    errors: np.ndarray
    trained: np.ndarray
    expected: np.ndarray
    strengths: np.ndarray


def compare(data: Data, seeds: int, lengths: Lengths) -> tuple[Found, float]:
    """Returns what is drawn, and how near one λ for all features comes to the closed form at most."""
    config = Config(layer_sizes=(len(data.x), 10), loss="squared_error")
    steps = np.geomspace(10, lengths.averaged, lengths.points).astype(int)
    narrow = Data(*(np.asarray(part, np.float32) for part in data))
    keys = jax.vmap(replicate_key)(jnp.arange(seeds))
    keep_probs, ends = jnp.asarray(KEEP_PROBS, jnp.float32), jnp.asarray(lengths.burn_in + steps)
    averages = train(narrow, keep_probs, keys, ends, config, lengths)
    mean = np.asarray(averages.w, np.float64).mean(axis=1)
    with jax.enable_x64(True):
        strengths = [input_dropout_strengths(data, keep_prob) for keep_prob in KEEP_PROBS]
        expected = [linear_optimum(data, strength) for strength in strengths]
        plain = jax.vmap(linear_optimum, in_axes=(None, 0))(data, jnp.geomspace(0.01, 1e4, 200))
        plain, expected = jax.tree.map(np.asarray, (plain, expected))
    weights = np.stack([layer.w for layer in expected])
    errors = [[distance(w, best, data.x) for w in path] for path, best in zip(mean, weights, strict=True)]
    nearest = min(distance(w, weights[0], data.x) for w in plain.w)
    return Found(steps, np.array(errors), mean[:, -1], weights, np.asarray(strengths[0])), nearest


def draw(found: Found, num_samples: int) -> Figure:
    """Returns the figure: λ of the pixels, trained against expected weights, error against steps."""
    figure = Figure((10, 3.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    shares = found.strengths.reshape(4, 4) / num_samples
    image = left.imshow(shares, cmap="Blues", vmin=0)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 * shares.max() else "black"
        left.text(column, row, f"{share:.2g}", ha="center", va="center", color=colour, fontsize=9)
    left.set(title="λ/n of each pixel, p = 0.5", xlabel="column of pixels", ylabel="row of pixels")
    left.set(xticks=range(4), yticks=range(4))
    figure.colorbar(image, ax=left, shrink=0.8, label="λ/n (squared intensity)")
    for k, (keep_prob, (colour, dash)) in enumerate(zip(KEEP_PROBS, LINES, strict=False)):
        name, marker = f"p = {keep_prob:g}", "o^s"[k]
        middle.plot(
            found.expected[k].ravel(),
            found.trained[k].ravel(),
            marker,
            color=colour,
            markersize=4,
            alpha=0.7,
            label=name,
        )
        right.plot(
            found.steps,
            100 * found.errors[k],
            marker=marker,
            markersize=4,
            color=colour,
            linestyle=dash,
            label=name,
        )
    ends = np.array([found.expected.min(), found.expected.max()])
    middle.plot(ends, ends, color="#777777", linewidth=1, zorder=0)
    middle.set(title="weights", xlabel="closed form (target per intensity)", ylabel="trained with dropout")
    right.set(
        title="distance of the two",
        xlabel="steps averaged",
        ylabel="distance (% of scaled weights)",
    )
    right.set(xscale="log", yscale="log")
    right.minorticks_off()
    right.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    for ax in (middle, right):
        ax.legend(fontsize=8)
        ax.grid(alpha=0.25)
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Trains, prints and draws; returns the figures that the page names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", help="file of the figure")
    parser.add_argument("--smallest", action="store_true", help="fewer samples, seeds and steps, in seconds")
    options = parser.parse_args(argv)
    if options.smallest:
        samples, seeds, lengths, exact = 30, 4, Lengths(2_000, 10_000, 4, 0.4), (10, 1_000)
    else:
        samples, seeds, lengths, exact = 300, 8, Lengths(5_000, 20_000, 12, 0.2), (60, 4_000)
    data = digits(samples)
    found, nearest = compare(data, seeds, lengths)
    figures = {
        "exact_error": exact_error(*exact),
        "trained_error": float(found.errors[:, -1].max()),
        "first_error": float(found.errors[:, 0].max()),
        "plain_error": nearest,
        "largest_ratio": float(found.strengths.max() / found.strengths.min()),
    }
    print(f"the expectation's minimum is {figures['exact_error']:.1e} of its size from the closed form")
    print(f"trained with masks and averaged: {100 * figures['trained_error']:.2f} %, after", end=" ")
    print(f"{found.steps[0]} steps {100 * figures['first_error']:.1f} %")
    print(
        f"the nearest plain L2 is {100 * figures['plain_error']:.1f} % away; λ of the pixels differ", end=" "
    )
    print(f"{figures['largest_ratio']:.0f} times")
    if options.out:
        draw(found, samples).savefig(options.out, dpi=60 if options.smallest else 110)
    return figures


if __name__ == "__main__":
    main()
