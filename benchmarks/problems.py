"""The problems and grids of networks that every opponent trains, and the definition of a training cost.

The objective of all: mean data loss of the batch + λ/(2n)·Σ‖W‖², n being all training samples; plain gradient
descent; an epoch is n/batch_size batches of a random order of the samples, n being cut to a multiple
(libraries differ in what they do with a rest). Dropout is of hidden layers, scaled when training.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from scipy.special import logsumexp

import regjax
from regjax.core.mlp import init_params

Params = list[tuple[np.ndarray, np.ndarray]]
SIZES = (1, 16, 256, 4096)


class Problem(NamedTuple):
    """A data set and a network.

    Attributes:
        name: the problem's name in the table.
        x: training samples, `(n, n_features)` float32.
        y: labels, `(n,)` int32; two classes have one output and the sigmoid's cross-entropy.
        layer_sizes: the sizes of the network's layers.
        batch_size: samples of a step; None is all.
        keep_prob: the probability of keeping a hidden unit, on average over the grid; None is no dropout.
        learning_rate: the largest learning rate of the grid.
        check_steps: the steps after which all must have reached the same cost, each with its own draws; 0
            where nothing is drawn.
        usual_steps: the steps that a user would train, for the break-even.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    layer_sizes: tuple[int, ...]
    batch_size: int | None
    keep_prob: float | None
    learning_rate: float
    check_steps: int
    usual_steps: int

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return 1 if self.batch_size is None else len(self.x) // self.batch_size

    @property
    def operations(self) -> float:
        """Floating-point operations in the products of one step of one network, and nothing beside them.

        2 per weight and sample forward and 4 backward, of which the first layer's input needs none.
        """
        first, *others = (a * b for a, b in itertools.pairwise(self.layer_sizes))
        return (self.batch_size or len(self.x)) * float(4 * first + 6 * sum(others))

    @property
    def bytes_moved(self) -> float:
        """Bytes that the products of one step of one network read and write, if nothing stayed in a cache.

        Of a layer: forward its weights, input and output; backward its output's gradient twice, its input,
        its weights' gradient, and, but in the first layer, its weights and its input's gradient.
        (In a sweep they do stay: a chunk is made to fit.)
        """
        batch, moved = self.batch_size or len(self.x), 0
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(self.layer_sizes)):
            weights, inputs, outputs = fan_in * fan_out, fan_in * batch, fan_out * batch
            moved += 2 * weights + 2 * inputs + 2 * outputs
            moved += (weights + inputs + outputs) if i else 0
        return 4.0 * moved


class Rows(NamedTuple):
    """The networks of a sweep, configuration by configuration and seed by seed.

    Attributes:
        axes: the axes of `regjax.grid`.
        seeds: how many seeds each configuration has.
        learning_rate: `(rows,)` float32.
        l2: λ, `(rows,)` float32.
        keep_prob: `(rows,)` float32, 1 without dropout.
        params: weights `(rows, fan_out, fan_in)` and biases `(rows, fan_out)` to begin with.
    """

    axes: dict[str, list[float]]
    seeds: int
    learning_rate: np.ndarray
    l2: np.ndarray
    keep_prob: np.ndarray
    params: Params

    def first(self, count: int) -> Rows:
        """Returns the first networks, for an opponent that trains one after the other."""
        names = ("learning_rate", "l2", "keep_prob")
        first = {name: getattr(self, name)[:count] for name in names}
        return self._replace(params=[(w[:count], b[:count]) for w, b in self.params], **first)


class Prepared(NamedTuple):
    """An opponent that is ready to train the rows of a problem.

    Attributes:
        run: number of steps -> result of training from the beginning; it waits for the end. The first call
            may compile, another number of steps does not compile again.
        params: result of `run` -> parameters, as `Rows.params`; None where `run` keeps none.
        steps_done: steps that `run` was asked for -> steps that it makes, where these are whole epochs.
        choosing: seconds of preparing that went into trying numbers of threads, which a user would not do.
    """

    run: Callable[[int], Any]
    params: Callable[[Any], Params] | None
    steps_done: Callable[[int], int] = int
    choosing: float = 0.0


def problems() -> list[Problem]:
    """Returns the problems of the table."""
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.preprocessing import scale

    points, _ = regjax.two_regions(jax.random.key(0))
    x, y = np.asarray(points.x.T, np.float32), np.asarray(points.y[0], np.int32)
    small = (2, 20, 3, 1)
    cancer, cancer_y = cast(Any, load_breast_cancer(return_X_y=True))
    digits, digits_y = cast(Any, load_digits(return_X_y=True))
    cancer, cancer_y = scale(cancer).astype(np.float32)[:544], cancer_y.astype(np.int32)[:544]
    digits, digits_y = (digits / 16).astype(np.float32)[:1792], digits_y.astype(np.int32)[:1792]
    return [
        Problem("tutorial", x, y, small, None, None, 0.3, 0, 30_000),
        Problem("tutorial, dropout", x, y, small, None, 0.86, 0.3, 1_000, 30_000),
        Problem("breast_cancer", cancer, cancer_y, (30, 64, 32, 1), 32, None, 0.1, 340, 5_000),
        Problem("digits", digits, digits_y, (64, 256, 256, 10), 128, None, 0.1, 140, 3_000),
    ]


def rows_of(problem: Problem, count: int) -> Rows:
    """Returns a grid of 1, 2, 4, 8, 16, 256, 4,096 or 65,536 networks."""
    seeds = {1: 1, 2: 1, 4: 1, 8: 1, 16: 1, 256: 4, 4096: 16, 65_536: 64}[count]
    configurations = count // seeds
    num_rates = min(4, configurations)
    num_l2 = configurations // num_rates
    axes: dict[str, list[float]] = {
        "learning_rate": [problem.learning_rate * (1 - 0.2 * i) for i in range(num_rates)],
        "l2": np.geomspace(0.01, 1, num_l2).tolist() if num_l2 > 1 else [0.1],
    }
    if problem.keep_prob is not None:  # dropout in place of λ
        num_keep = max(1, num_l2 // 2)
        spread = np.linspace(-0.05, 0.05, num_keep) if num_keep > 1 else np.zeros(1)
        axes["l2"] = [0.01, 0.1][: num_l2 // num_keep]
        axes["keep_prob"] = (problem.keep_prob + spread).tolist()
    return rows_from(problem, axes, seeds)


def rows_from(problem: Problem, axes: dict[str, list[float]], seeds: int) -> Rows:
    """Returns the networks of a grid, which has learning_rate, l2 and, where units are dropped, keep_prob."""
    table = list(regjax.grid(**axes))
    one = [[np.float32(c.get(name, 1.0)) for c in table] for name in ("learning_rate", "l2", "keep_prob")]
    learning_rate, l2, keep_prob = (np.repeat(np.array(v, np.float32), seeds) for v in one)
    begins = [init_params(regjax.replicate_key(seed), problem.layer_sizes) for seed in range(seeds)]
    params = []
    for of_seeds in zip(*begins, strict=True):
        w, b = np.stack([layer.w for layer in of_seeds]), np.stack([layer.b[:, 0] for layer in of_seeds])
        params.append((np.tile(w, (len(table), 1, 1)), np.tile(b, (len(table), 1))))
    return Rows(axes, seeds, learning_rate, l2, keep_prob, params)


def training_cost(problem: Problem, rows: Rows, params: Params) -> np.ndarray:
    """Returns the cost of each network on all training samples, without dropout, `(rows,)`, in float64."""
    a: Any = problem.x.astype(np.float64)[None]
    for i, (w, b) in enumerate(params):
        a = a @ np.swapaxes(w.astype(np.float64), 1, 2) + b[:, None, :]
        if i < len(params) - 1:
            a = np.maximum(a, 0)
    if problem.layer_sizes[-1] == 1:
        loss = np.logaddexp(0, a[..., 0]) - problem.y * a[..., 0]
    else:
        loss = logsumexp(a, axis=-1) - np.take_along_axis(a, problem.y[None, :, None], axis=-1)[..., 0]
    squares = np.sum([np.sum(w.astype(np.float64) ** 2, axis=(1, 2)) for w, _ in params], axis=0)
    return loss.mean(axis=1) + rows.l2[: len(squares)] / (2 * len(problem.x)) * squares
