"""Compares `regjax.sweep` with the naive way to train a grid: the same networks, optimizer and steps.

    python -m benchmarks.bench_sweep [--steps 2000] [--repeats 5] [--rows 4096] [--json PATH]

Opponent N is the code that one writes by hand: a samples-first network, `jax.grad`, a key per row, and
`jit(vmap(train))` over the grid. Compilation is left out of both. The second table holds a sweep of digits
(64-256-256-10, batch 128) against the machine's own product of two 2048 × 2048 matrices. Between them stand
what pairing gains, peak memory, and compilation in a first and in a second process.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import regjax
from benchmarks.growth import environment
from benchmarks.measure import interleaved, spread, write
from benchmarks.naive import naive
from benchmarks.problems import problems, rows_from

NETWORK = (2, 20, 3, 1)
DIGITS = (64, 256, 256, 10)


def ours(grid: Any, steps: int, seeds: int, **options: Any) -> Callable[[], float]:
    """Returns a call of the same sweep by regjax, which evaluates at the first and the last step."""
    config = regjax.Config(layer_sizes=NETWORK, num_steps=steps, eval_every=steps)
    return lambda: (
        regjax.sweep(
            "two_regions", config, grid, seeds=seeds, progress=False, test="none", **options
        ).train_seconds
    )


def small(steps: int, repeats: int) -> list[dict[str, Any]]:
    """Returns µs per model and step of both, with and without dropout, 256 rows."""
    table = []
    plain, dropping = problems()[:2]
    strengths = np.geomspace(1e-3, 3, 16).tolist()
    cases = {
        "16 l2 × 4 learning rates × 4 seeds": {"l2": strengths, "learning_rate": [0.03, 0.1, 0.2, 0.3]},
        "16 keep_prob × 4 l2 × 4 seeds, dropout": {
            "keep_prob": np.linspace(0.5, 0.95, 16).tolist(),
            "l2": [0.0, 0.01, 0.1, 0.7],
            "learning_rate": [0.1],
        },
    }
    for name, axes in cases.items():
        grid = regjax.grid(**axes)
        problem = dropping if "keep_prob" in axes else plain
        rows = rows_from(problem, axes, 4)
        contestants = {
            "naive": functools.partial(naive(problem, rows).run, steps),
            "regjax": ours(grid, steps, 4),
            "regjax, independent": ours(grid, steps, 4, pairing="independent"),
        }
        found = interleaved(contestants, repeats)
        for who, times in found.items():
            us = spread([t / steps / len(rows.l2) * 1e6 for t in times["all"]])
            ratio = spread([n / t for n, t in zip(found["naive"]["all"], times["all"], strict=True)])
            table.append({"case": name, "who": who, "us": us, "ratio": ratio})
    return table


def growth(steps: int, repeats: int, rows: int) -> dict[str, Any]:
    """Returns µs per model and step of 64 networks and of `rows`."""
    grid = regjax.grid(l2=np.geomspace(1e-3, 3, 64).tolist())
    calls = {str(64 * seeds): ours(grid, steps, seeds) for seeds in (1, rows // 64)}
    found = interleaved(calls, repeats)
    return {n: spread([t / steps / int(n) * 1e6 for t in times["all"]]) for n, times in found.items()}


def digits(steps: int, pairs: int) -> dict[str, Any]:
    """Returns GFLOP/s of a sweep of 32 configurations, of the product, and their ratio, pair by pair."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    grid = regjax.grid(l2=np.geomspace(1e-4, 1, 8).tolist(), learning_rate=[0.01, 0.03, 0.1, 0.3])
    config = regjax.Config(layer_sizes=DIGITS, batch_size=128, num_steps=steps, eval_every=steps)
    matrix = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(lambda a: jnp.dot(a, a))
    jax.block_until_ready(product(matrix))
    # 2 operations forward and 4 backward per weight and sample, 2 + 2 in the first layer.
    weights = [a * b for a, b in itertools.pairwise(DIGITS)]
    operations = 128 * (4 * weights[0] + 6 * sum(weights[1:])) * len(grid) * steps
    regjax.sweep((X / 16, y), config, grid, progress=False)
    rates: dict[str, list[float]] = {"product": [], "sweep": []}
    for _ in range(pairs):
        began = time.perf_counter()
        for _ in range(10):
            jax.block_until_ready(product(matrix))
        rates["product"].append(10 * 2 * 2048**3 / (time.perf_counter() - began) / 1e9)
        seconds = regjax.sweep((X / 16, y), config, grid, progress=False).train_seconds
        rates["sweep"].append(operations / seconds / 1e9)
    ratio = [a / b for a, b in zip(rates["sweep"], rates["product"], strict=True)]
    return {name: spread(values) for name, values in {**rates, "ratio": ratio}.items()}


def pairing(steps: int, seeds: int) -> dict[str, Any]:
    """Returns the median over configurations of (variance of the paired difference) / (of an unpaired one).

    On one split: with folds, differences are paired by the fold in any case.
    """
    config = regjax.Config(layer_sizes=NETWORK, num_steps=steps, eval_every=steps)
    grid = {"l2": [0, 0.1, 0.7], "keep_prob": [1, 0.9, 0.8]}
    found = {}
    for how in ("paired", "independent"):
        results = regjax.sweep(
            "two_regions", config, grid, seeds=seeds, validation=0.3, pairing=how, progress=False
        )
        for metric in ("val_loss", "val_accuracy"):
            ratio = results.compare(metric=metric).table["variance_ratio"]
            found[f"{how}, {metric}"] = float(np.median(ratio.to_numpy(float)))
    return found


FRESH = """
import json, sys, time
import numpy as np, regjax
from benchmarks.measure import peak_memory
from regjax import terminal
rows, steps = map(int, sys.argv[1:3])
if len(sys.argv) > 3:
    terminal.use_compilation_cache(True)
grid = regjax.grid(l2=np.geomspace(1e-3, 3, 16).tolist(), learning_rate=[0.03, 0.1, 0.2, 0.3])
config = regjax.Config(num_steps=steps, eval_every=steps)
began = time.perf_counter()
found = regjax.sweep("two_regions", config, grid, seeds=rows // 64, folds=None, test="none", progress=False)
import jax
size = sum(v.nbytes for v in found.records.values()) + sum(
    leaf.nbytes for row in found.kept.values() for leaf in jax.tree.leaves(row))
print(json.dumps({"peak": peak_memory(), "results": size, "compile": found.compile_seconds,
                  "seconds": time.perf_counter() - began}))
"""


def fresh(rows: int, steps: int, cache: str | None = None) -> dict[str, float]:
    """Returns the peak memory and compile seconds of a sweep in a process of its own."""
    around = environment(**({} if cache is None else {"JAX_COMPILATION_CACHE_DIR": cache}))
    command = [sys.executable, "-c", FRESH, str(rows), str(steps), *([] if cache is None else ["cache"])]
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def processes(steps: int, repeats: int, most: int) -> dict[str, Any]:
    """Returns peak memory of 64 and of `most` rows, results apart, and compile seconds of two processes."""
    peak: dict[str, list[float]] = {"64": [], str(most): []}
    compiling: dict[str, list[float]] = {"first process": [], "second process": []}
    for _ in range(repeats):
        for rows, found in peak.items():
            taken = fresh(int(rows), steps)
            found.append((taken["peak"] - taken["results"]) / 2**20)
        with tempfile.TemporaryDirectory() as cache:
            for found in compiling.values():
                found.append(fresh(64, steps, cache)["compile"])
    return {
        "peak": {rows: spread(found) for rows, found in peak.items()},
        "compile": {name: spread(found) for name, found in compiling.items()},
    }


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4096, help="of the largest sweep")
    parser.add_argument("--json")
    options = parser.parse_args()
    result: dict[str, Any] = {"steps": options.steps, "small": small(options.steps, options.repeats)}
    print(f"{'case':<42}{'who':<21}{'µs/model/step':>14}{'min to max':>18}{'ratio':>8}")
    for row in result["small"]:
        us, ratio = row["us"], row["ratio"]["median"]
        between = f"({us['min']:.2f} to {us['max']:.2f})"
        print(f"{row['case']:<42}{row['who']:<21}{us['median']:>14.2f}{between:>18}{ratio:>8.1f}")
    result["growth"] = growth(max(1, options.steps // 4), options.repeats, options.rows)
    for name, us in result["growth"].items():
        print(f"{name:>5} rows: {us['median']:.2f} µs/model/step ({us['min']:.2f} to {us['max']:.2f})")
    result["pairing"] = pairing(options.steps, min(64, options.rows // 64))
    for name, ratio in result["pairing"].items():
        print(f"variance of a difference to that of an unpaired one, median of 8, {name}: {ratio:.2f}")
    result["processes"] = processes(max(1, options.steps // 20), options.repeats, options.rows)
    for rows, size in result["processes"]["peak"].items():
        print(
            f"{rows:>5} rows: peak memory {size['median']:.0f} MiB ({size['min']:.0f} to {size['max']:.0f})"
        )
    for name, s in result["processes"]["compile"].items():
        print(f"{name}: compiling {s['median']:.2f} s ({s['min']:.2f} to {s['max']:.2f})")
    result["digits"] = digits(max(1, options.steps // 2), options.repeats)
    print("digits, 32 configurations, GFLOP/s (ratio: sweep to the product of two 2048 × 2048 matrices):")
    for name, rate in result["digits"].items():
        print(f"  {name:<8}{rate['median']:>8.2f} ({rate['min']:.2f} to {rate['max']:.2f})")
    write(options.json, result)


if __name__ == "__main__":
    main()
