"""Double descent: the test error over the width peaks where the features just fit, and falls again beyond.

Belkin et al. 2019 and Nakkiran et al. 2020: the error peaks at the interpolation threshold, the more so
with noisy labels. Nakkiran et al. 2021: with the best L2 penalty of each width the peak is gone. Random ReLU
features of digits, some of whose training labels are wrong, are fitted by least squares with the smallest
weights and by ridge, for all widths and seeds in one compiled program.

    python examples/research/double_descent.py --out double_descent.png
"""

from __future__ import annotations

import argparse
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from regjax.core.mlp import init_params
from regjax.core.random import replicate_key
from regjax.plot.palette import LINES
from regjax.research.closed_forms import kernel_ridge

NOISE = 0.2


class Split(NamedTuple):
    """Digits of one seed, float64: inputs `(64, n)`, targets 0 and 1 `(10, n)`, noisy in training."""

    x: np.ndarray
    y: np.ndarray
    x_choose: np.ndarray
    y_choose: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


class Errors(NamedTuple):
    """Shares of wrong predictions of test digits, `(seeds, widths)`, and what led to them.

    Attributes:
        bare: with the least λ that fits: least squares with the smallest weights.
        best: with the λ that is best on the samples to choose by.
        fixed: with each λ, `(seeds, widths, strengths)`.
        misfit: share of training samples that least squares does not fit.
    """

    bare: np.ndarray
    best: np.ndarray
    fixed: np.ndarray
    misfit: np.ndarray


def split(seed: int, num_train: int) -> Split:
    """Returns digits to train on, whose labels are noisy, 400 others to choose λ by, and the rest."""
    x, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    noisy = classes[order].copy()
    wrong = rng.permutation(num_train)[: round(NOISE * num_train)]
    noisy[wrong] = (noisy[wrong] + rng.integers(1, 10, len(wrong))) % 10
    x, y = (x[order] / 8 - 1).T, np.eye(10)[noisy].T
    ends = (slice(num_train), slice(num_train, num_train + 400), slice(num_train + 400, None))
    return Split(*(array[:, part] for part in ends for array in (x, y)))


@functools.partial(jax.jit, static_argnames="most")
def errors(keys: jax.Array, data: Split, widths: jax.Array, strengths: jax.Array, most: int) -> Errors:
    """Returns the errors of all seeds and widths; the features of a width are the first of `most`."""

    def of_seed(key: jax.Array, data: Split) -> Errors:
        layer = init_params(key, (len(data.x), most), init="he", dtype="float64")[0]
        phi, choose, test = (jax.nn.relu(layer.w @ x) for x in (data.x, data.x_choose, data.x_test))

        def of_width(width: jax.Array) -> Errors:
            used = (jnp.arange(most) < width).astype(phi.dtype)[:, None] / width.astype(phi.dtype)
            fit = kernel_ridge((phi * used).T @ phi, data.y, strengths)
            found = [
                jnp.mean(jnp.argmax(fit.dual @ ((phi * used).T @ new), 1) != jnp.argmax(y, 0)[None], axis=1)
                for new, y in ((phi, data.y), (choose, data.y_choose), (test, data.y_test))
            ]
            return Errors(found[2][0], found[2][jnp.argmin(found[1])], found[2], found[0][0])

        return jax.lax.map(of_width, widths)

    return jax.lax.map(lambda arguments: of_seed(*arguments), (keys, data))


def measure(seeds: int, num_train: int, widths: np.ndarray, strengths: np.ndarray) -> Errors:
    """Returns the errors; `strengths` begin with 0, least squares."""
    data = jax.tree.map(lambda *parts: np.stack(parts), *(split(seed, num_train) for seed in range(seeds)))
    with jax.enable_x64(True):
        keys = jax.vmap(replicate_key)(jnp.arange(seeds))
        found = errors(keys, data, jnp.asarray(widths), jnp.asarray(strengths), int(widths.max()))
        return jax.tree.map(np.asarray, found)


def draw(found: Errors, num_train: int, widths: np.ndarray, strengths: np.ndarray) -> Figure:
    """Returns the figure: errors against the width, and against λ for three widths."""
    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shown = ((found.bare, "least squares, smallest weights"), (found.best, "ridge, best λ of each width"))
    for (values, name), (colour, dash) in zip(shown, LINES, strict=False):
        mean, spread = 100 * values.mean(axis=0), 100 * values.std(axis=0)
        left.plot(widths, mean, color=colour, linestyle=dash, marker="o", markersize=3, label=name)
        left.fill_between(widths, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    colour, dash = LINES[2]
    left.plot(
        widths,
        100 * found.misfit.mean(axis=0),
        color=colour,
        linestyle=dash,
        label="least squares, training labels",
    )
    left.axvline(num_train, color="#777777", linewidth=1, linestyle=":")
    left.set(xscale="log", xlabel=f"random features (dotted: the {num_train} samples)", ylim=(0, None))
    left.set(ylabel="wrong predictions (%)", title="error against width")
    left.legend(fontsize=8)
    chosen = [int(np.argmin(np.abs(widths - width))) for width in (0.3 * num_train, num_train, widths[-1])]
    for index, (colour, dash) in zip(chosen, LINES[3:], strict=False):
        mean = 100 * found.fixed[:, index, 1:].mean(axis=0)
        right.plot(strengths[1:], mean, color=colour, linestyle=dash, label=f"{widths[index]} features")
    right.set(xscale="log", xlabel="λ of ridge (features divided by √width)", title="error against λ")
    right.legend(fontsize=8)
    for ax in (left, right):
        ax.grid(alpha=0.25)
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Fits, prints and draws; returns the figures that the page names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", help="file of the figure")
    parser.add_argument("--smallest", action="store_true", help="3 seeds, 100 samples, 600 features")
    options = parser.parse_args(argv)
    seeds, num_train, most = (3, 100, 6) if options.smallest else (10, 200, 10)
    shares = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.85, 0.95, 1, 1.05, 1.15, 1.3, 1.6, 2, 3, 6, 10])
    widths = np.round(num_train * shares[shares <= most]).astype(int)
    strengths = np.append(0, np.geomspace(1e-4, 100, 19))
    found = measure(seeds, num_train, widths, strengths)
    bare, best = found.bare.mean(axis=0), found.best.mean(axis=0)
    peak, below = int(bare.argmax()), widths < 0.9 * num_train
    figures = {
        "peak_at": float(widths[peak] / num_train),
        "peak": float(bare[peak]),
        "valley": float(bare[below & (widths > 0.1 * num_train)].min()),
        "widest": float(bare[-1]),
        "best_at_peak": float(best[peak]),
        "best_widest": float(best[-1]),
        "largest_rise": float(np.diff(best).max()),
    }
    print(f"least squares: {100 * figures['valley']:.1f} % wrong below the threshold,", end=" ")
    print(f"{100 * figures['peak']:.1f} % at {widths[peak]} features of {num_train} samples,", end=" ")
    print(f"{100 * figures['widest']:.1f} % at {widths[-1]}")
    print(f"ridge with the best λ: {100 * figures['best_at_peak']:.1f} % there,", end=" ")
    print(f"{100 * figures['best_widest']:.1f} % at the widest; from one width to the next", end=" ")
    print(f"it rises by {100 * figures['largest_rise']:.1f} points at most")
    if options.out:
        draw(found, num_train, widths, strengths).savefig(options.out, dpi=110)
    return figures


if __name__ == "__main__":
    main()
