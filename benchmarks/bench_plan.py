"""Compares the seconds that `regjax.plan` predicts with those that the sweep takes, for sweeps of all kinds.

    python -m benchmarks.bench_plan [small wide …] [--quick] [--repeats 1] [--json PATH]

Both leave compiling out. No probe foresees when networks stop early: a plan takes each for one that trains
to its last step, and the sweep of that name has a patience at which all do.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import regjax
from benchmarks.measure import write

# A sweep: data, config, grid, options.
Sweep = tuple[Any, dict[str, Any], Any, dict[str, Any]]


def samples(num_samples: int, num_features: int, real: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns X and y: two classes, or real targets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((num_samples, num_features)).astype(np.float32)
    signal = X[:, 0] * X[:, 1] + 0.5 * rng.standard_normal(num_samples)
    return X, signal if real else (signal > 0).astype(int)


def tutorials(steps: int, **axes: Any) -> Sweep:
    """Returns a sweep of the tutorial's network."""
    config = {"hidden": (20, 3), "num_steps": steps, "eval_every": max(1, steps // 10)}
    grid = {"l2": [0, 0.01, 0.1, 0.3, 0.7, 1, 3, 10], **axes}
    return "two_regions", config, grid, {"seeds": 4, "folds": 5, "test": "none"}


def batches(num_samples: int, steps: int, candidates: int = 8, **settings: Any) -> Sweep:
    """Returns a sweep of minibatches."""
    config = {"hidden": (64, 32), "num_steps": steps, "eval_every": max(1, steps // 6), "batch_size": 128}
    options = {"folds": settings.pop("folds", 2), "standardize": settings.pop("standardize", False)}
    grid = {"l2": np.linspace(0, 1, candidates).tolist()}
    return samples(num_samples, 30), config | settings, grid, options


def sweeps(quick: bool = False) -> dict[str, Callable[[], Sweep]]:
    """Returns sweeps by name, each made when it is called; `quick` ones have few steps and samples."""
    few = 20 if quick else 1
    short = {"num_steps": 3000 // few, "eval_every": 1000 // few}
    return {
        "small": lambda: tutorials(6000 // few),
        "dropout": lambda: tutorials(5000 // few, keep_prob=[0.8]),
        "one network": lambda: (
            "two_regions", {"hidden": (20, 3)} | short, None, {"seeds": 1, "folds": 1 + 1, "test": "none"}
        ),
        "minibatches": lambda: batches(2_000, 3000 // few),
        "many samples": lambda: batches(200_000 // few, 600 // few),
        "full batch": lambda: batches(3_200 // few, 300 // few, batch_size=None),
        "wide": lambda: batches(1_800, 240 // few, hidden=(256, 256)),
        "many configurations": lambda: (
            samples(200, 4), {"hidden": 4, "num_steps": 20, "eval_every": 10},
            {"l2": np.linspace(0, 1, 4000 // few).tolist()}, {"folds": 5},
        ),
        "regression": lambda: (
            samples(1_000, 10, real=True), {"hidden": (32, 16), "optimizer": "adam"} | short,
            {"l2": [0, 0.1, 1]}, {"folds": 5, "standardize_target": True},
        ),
        "early stopping": lambda: (
            samples(1_000, 10), {"hidden": 16, "num_steps": 2000 // few, "eval_every": 20},
            {"l2": [0, 0.1, 1, 10], "patience": [10**6]}, {"folds": 5, "seeds": 2},
        ),
        "many groups": lambda: tutorials(
            1500 // few, hidden=[(20, 3), (8,), (16,)], activation=["relu", "tanh"]
        ),
        "own inputs": lambda: batches(8_000 // few, 600 // few, candidates=2, folds=10, standardize=True),
    }  # fmt: skip


def ratios(make: Callable[[], Sweep], repeats: int) -> list[tuple[float, float]]:
    """Returns predicted and actual seconds of each repetition."""
    data, config, grid, options = make()
    found = []
    for _ in range(repeats):
        predicted = regjax.plan(data, config, grid, **options).seconds
        assert predicted is not None
        actual = regjax.sweep(data, config, grid, progress=False, **options).train_seconds
        found.append((predicted, actual))
    return found


def main(arguments: list[str] | None = None) -> dict[str, list[tuple[float, float]]]:
    """Prints and returns predicted and actual seconds by name of the sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="sweeps to run; all where none is named")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json")
    asked = parser.parse_args(arguments)
    print("| sweep | predicted, s | actual, s | predicted / actual |")
    print("|---|---|---|---|")
    found = {}
    for name, make in sweeps(asked.quick).items():
        if asked.names and name not in asked.names:
            continue
        found[name] = ratios(make, asked.repeats)
        predicted, actual = (statistics.median(part) for part in zip(*found[name], strict=True))
        each = ", ".join(f"{a / b:.2f}" for a, b in found[name])
        print(f"| {name} | {predicted:.3g} | {actual:.3g} | {each} |", flush=True)
    if asked.json:
        write(asked.json, {"seconds": found})
    return found


if __name__ == "__main__":
    main()
