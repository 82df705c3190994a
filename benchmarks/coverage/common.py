"""What the parts of bench_coverage share: data sets, sweeps, and rates with their intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

import regjax

CONFIG = regjax.Config(layer_sizes=(4, 8, 1), num_steps=60, eval_every=60)
LEARNING_RATE = 1.0
SAMPLES, FLIPPED, FRESH_SAMPLES = 40, 0.2, 256
METRICS = ("val_loss", "val_accuracy")
SEEDS, FOLDS, PER_FOLD = 8, 5, 2
SPLIT = {"validation": 0.3}

# Every grid begins with its baseline.
L2 = {"l2": [0.0, 0.1, 0.3, 1.0, 3.0, 10.0]}
MANY = {"l2": [0.0, 0.3, 1.0, 3.0], "keep_prob": [1.0, 0.9, 0.7, 0.5]}


class Rate(NamedTuple):
    """The rate at which a claim held in `trials` intervals or sweeps, with its 95 % interval."""

    claim: str
    asked: str
    found: float
    low: float
    high: float
    trials: int


class Part(NamedTuple):
    """What a part of the benchmark found.

    Attributes:
        rates: the claims.
        notes: sentences on how the truth was found.
        tables: numbers that are no rates, a mapping each.
    """

    rates: list[Rate]
    notes: list[str]
    tables: list[dict[str, Any]]


def draw(*stream: int, samples: int = SAMPLES, coins: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns fresh (X, y) of a random stream.

    Args:
        *stream: whole numbers; another stream is another, independent data set.
        samples: how many samples.
        coins: whether y has nothing to do with X (as many 0 as 1, shuffled), instead of the sign of
            x₀ + x₁, flipped in a fifth of the samples.
    """
    rng = np.random.default_rng(stream)
    X = rng.normal(size=(samples, CONFIG.layer_sizes[0]))
    if coins:
        return X, rng.permutation(np.arange(samples) % 2)
    return X, ((X[:, 0] + X[:, 1] > 0) ^ (rng.random(samples) < FLIPPED)).astype(int)


def sweep(
    data: Any, axes: dict[str, list[float]], *, first: int, count: int, **options: Any
) -> regjax.Results:
    """Returns a sweep with the seeds `first`, …, `first + count - 1`."""
    grid = regjax.grid(**axes, learning_rate=LEARNING_RATE)
    seeds = range(first, first + count)
    return regjax.sweep(data, CONFIG, grid, seeds=seeds, progress=False, keep="none", **options)


def differences(found: regjax.Results, metric: str) -> np.ndarray:
    """Returns the mean difference of each configuration to the first, `(configurations - 1,)`."""
    means = found.units(metric).mean(axis=1)
    return means[1:] - means[0]


def rate(claim: str, asked: str, hits: Any) -> Rate:
    """Returns the rate of successes, one trial per sweep, with its exact binomial 95 % interval."""
    count, trials = int(np.sum(hits)), len(hits)
    if trials == 0:
        return Rate(claim, asked, float("nan"), 0.0, 1.0, 0)
    between = stats.binomtest(count, trials).proportion_ci()
    return Rate(claim, asked, count / trials, float(between.low), float(between.high), trials)


def together(claim: str, asked: str, inside: np.ndarray) -> Rate:
    """Returns the rate over all intervals, `(sweeps, configurations)`, NaN where there is none.

    The intervals of one sweep share its replicates: the 95 % interval takes sweeps, not intervals, as
    independent (the standard error of a ratio of sums over sweeps).
    """
    counted = ~np.isnan(inside)
    total = max(1, int(counted.sum()))
    found = float(np.nansum(inside)) / total
    residuals = np.where(counted, inside - found, 0).sum(axis=1)
    reach = 1.96 * float(np.sqrt(np.sum(residuals**2))) / total
    return Rate(claim, asked, found, max(0.0, found - reach), min(1.0, found + reach), total)


def mean(values: np.ndarray) -> dict[str, float]:
    """Returns the mean over sweeps with its standard error."""
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return {"mean": float(np.mean(values)), "se": error}
