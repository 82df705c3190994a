"""Early stopping as an L2 penalty: gradient descent stopped after τ steps beside ridge with λ = n/(τ·ε).

Goodfellow, Bengio & Courville 2016, §7.8: where the cost is quadratic, descent with rate ε that stops after
τ steps ends near the minimum of the cost with an L2 penalty. A linear network is trained by regjax on many
random halves of the diabetes data, at once, and held against both closed forms.

    python examples/research/early_stopping_is_l2.py --out early_stopping_is_l2.png
"""

from __future__ import annotations

import argparse
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Layer
from regjax.core.random import replicate_key
from regjax.core.train import init_state, run_segment
from regjax.plot.palette import CLASS_COLOURS, LINES
from regjax.research.closed_forms import descent_path, linear_optimum, stopping_strength

RATE = 0.1
NAMES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


class Paths(NamedTuple):
    """Parameters and losses along τ, for each split.

    Attributes:
        trained: weights that regjax trains, `(splits, m, 1, d)`.
        expected: the same by the closed form.
        penalised: weights of ridge with λ = n/(τ·ε).
        optimum: weights without a penalty, `(splits, 1, d)`.
        losses: mean squared errors on the other half, of stopping and of ridge, `(splits, 2, m)`.
    """

    trained: jax.Array
    expected: jax.Array
    penalised: jax.Array
    optimum: jax.Array
    losses: jax.Array


def splits(count: int) -> tuple[Data, Data]:
    """Returns random halves, stacked along a first axis: one to train on, standardised, and the other."""
    x, y = load_diabetes(return_X_y=True)
    halves = []
    for seed in range(count):
        order = np.random.default_rng(seed).permutation(len(y))
        first, second = order[: len(y) // 2], order[len(y) // 2 :]
        middle, width = x[first].mean(axis=0), x[first].std(axis=0)
        targets = (y - y[first].mean()) / y[first].std()
        scaled = (x - middle) / width
        halves.append([Data(scaled[p].T, targets[None, p], np.ones(len(p))) for p in (first, second)])
    first, second = jax.tree.map(lambda *parts: np.stack(parts), *halves)
    return first, second


@functools.partial(jax.jit, static_argnames="config")
@functools.partial(jax.vmap, in_axes=(0, None, None))
def train(data: Data, steps: jax.Array, config: Config) -> Layer:
    """Returns the parameters that regjax trains from zeros, after each of the rising numbers of steps."""
    hparams = check_hparams(config, HParams(learning_rate=RATE))
    zeros = (Layer(jnp.zeros((1, config.layer_sizes[0])), jnp.zeros((1, 1))),)
    state = init_state(replicate_key(0), hparams, config=config, params=zeros)

    def segment(state, ends):
        state = run_segment(replicate_key(0), state, hparams, data, *ends, config=config)
        return state, state.params[0]

    return jax.lax.scan(segment, state, (jnp.append(0, steps[:-1]), steps))[1]


@jax.jit
def ridge(data: Data, strengths: jax.Array) -> Layer:
    """Returns the optimum of each strength of the penalty, for each split."""
    return jax.vmap(jax.vmap(linear_optimum, in_axes=(None, 0)), in_axes=(0, None))(data, strengths)


def compute(count: int, steps: np.ndarray) -> Paths:
    """Returns the paths of `count` splits, float64; `steps` are numbers of steps, rising from 1."""
    data, test = splits(count)
    config = Config(layer_sizes=(data.x.shape[1], 1), loss="squared_error", dtype="float64")
    with jax.enable_x64(True):
        trained = train(data, jnp.asarray(steps), config)
        expected = jax.jit(jax.vmap(descent_path, in_axes=(0, None, None)))(data, RATE, jnp.asarray(steps))
        penalised = ridge(data, stopping_strength(RATE, steps, data.x.shape[2]))
        optimum = ridge(data, jnp.zeros(1))
        layers = jax.tree.map(np.asarray, (trained, expected, penalised, optimum))
    errors = [layer.w @ test.x[:, None] + layer.b - test.y[:, None] for layer in (layers[0], layers[2])]
    losses = np.stack([np.mean(np.square(error), axis=(2, 3)) for error in errors], axis=1)
    return Paths(*(layer.w for layer in layers[:3]), layers[3].w[:, 0], losses)


def lengths(vectors: jax.Array) -> np.ndarray:
    """Returns the norms of weights `(…, 1, d)`."""
    return np.linalg.norm(np.asarray(vectors)[..., 0, :], axis=-1)


def draw(paths: Paths, times: np.ndarray) -> Figure:
    """Returns the figure: the weights of one split, the distance of the paths, and the errors."""
    figure = Figure((10, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for j, name in enumerate(NAMES):
        colour = CLASS_COLOURS[j % len(CLASS_COLOURS)]
        left.plot(times, paths.trained[0, :, 0, j], color=colour, label=name)
        left.plot(times, paths.penalised[0, :, 0, j], color=colour, linestyle=":")
    left.set(title="weights (dotted: L2)", ylabel="weight (target SD per input SD)")
    bottom, top = left.get_ylim()
    left.set(ylim=(bottom, top + 0.5 * (top - bottom)))  # room for the legend
    left.legend(fontsize=7, ncols=2, loc="upper left")
    distances = 100 * lengths(paths.trained - paths.penalised) / lengths(paths.optimum)[:, None]
    zero = 100 * lengths(paths.trained - paths.optimum[:, None]) / lengths(paths.optimum)[:, None]
    _band(middle, times, distances, "to L2 with λ = n/(τε)", *LINES[0])
    _band(middle, times, zero, "to no penalty", *LINES[1])
    middle.set(title="distance of stopped weights", ylim=(0, None))
    middle.set(ylabel="distance (% of weights without penalty)")
    middle.legend(fontsize=8)
    for k, name in enumerate(("stopped after τ steps", "L2 with λ = n/(τε)")):
        _band(right, times, np.asarray(paths.losses[:, k]), name, *LINES[k])
    right.set(title="error on the other half", ylabel="mean squared error (target variances)")
    right.legend(fontsize=8)
    for ax in (left, middle, right):
        ax.set(xscale="log", xlabel="τ·ε, steps × rate (= n/λ)", xlim=(times[0], times[-1]))
        ax.grid(alpha=0.25)
    return figure


def _band(ax, times, values, name, colour, dash) -> None:
    """Draws the median over splits, and the range of nine tenths of them."""
    low, mid, high = np.quantile(values, (0.05, 0.5, 0.95), axis=0)
    ax.plot(times, mid, color=colour, linestyle=dash, label=name)
    ax.fill_between(times, low, high, color=colour, alpha=0.15, linewidth=0)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Trains, prints and draws; returns the figures that the page names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", help="file of the figure")
    parser.add_argument("--smallest", action="store_true", help="4 splits and 2,000 steps, in seconds")
    options = parser.parse_args(argv)
    count, last = (4, 2_000) if options.smallest else (50, 30_000)
    steps = np.unique(np.geomspace(1, last, 60).astype(int))
    paths = compute(count, steps)
    size = lengths(paths.optimum)[:, None]
    distances = lengths(paths.trained - paths.penalised) / size
    best = paths.losses.min(axis=2)
    found = {
        "trajectory_error": float(np.max(np.abs(paths.trained - paths.expected))),
        "largest_distance": float(np.median(distances.max(axis=1))),
        "distance_at_best": float(np.median(distances[np.arange(count), paths.losses[:, 0].argmin(axis=1)])),
        "best_stopped": float(np.mean(best[:, 0])),
        "best_penalised": float(np.mean(best[:, 1])),
        "unregularised": float(np.mean(paths.losses[:, 0, -1])),
    }
    print(f"trained and closed form differ by at most {found['trajectory_error']:.1e} in a weight")
    print(f"stopped and L2 are at most {100 * found['largest_distance']:.1f} % of the weights apart (median)")
    print(f"and {100 * found['distance_at_best']:.1f} % where the error of stopping is least")
    print(f"least error: stopped {found['best_stopped']:.4f}, L2 {found['best_penalised']:.4f};", end=" ")
    print(f"after {last:,} steps {found['unregularised']:.4f}")
    if options.out:
        draw(paths, RATE * steps).savefig(options.out, dpi=110)
    return found


if __name__ == "__main__":
    main()
