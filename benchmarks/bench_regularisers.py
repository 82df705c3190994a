"""Measures the time that each regulariser adds to a step: 64 networks with it alone, and with none.

2-20-3-1 network on the built-in set, full batch, and with batches of 32; compilation left out. Then what
early stopping saves: breast_cancer, 30-64-32-1, 16 learning rates × 4 seeds × 5 folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import regjax
from benchmarks.measure import interleaved, spread, write
from regjax.tutorial.showcase import STRENGTHS


def sweep_of(values: dict[str, float], steps: int, batch_size: int | None) -> Callable[[], float]:
    """Returns a call that sweeps 16 learning rates × 4 seeds, and returns the seconds of training."""
    config = regjax.Config(num_steps=steps, eval_every=steps, batch_size=batch_size)
    rates = np.geomspace(0.01, 0.3, 16).tolist()
    grid = regjax.grid(learning_rate=rates, **values)
    return lambda: (
        regjax.sweep("two_regions", config, grid, seeds=4, test="none", progress=False).train_seconds
    )


def table(steps: int, repeats: int, names: list[str]) -> list[dict[str, Any]]:
    """Returns µs per model and step of none and of each, and the ratio pair by pair."""
    rows = []
    for batch_size in (None, 32):
        calls = {"none": sweep_of({}, steps, batch_size)}
        calls |= {name: sweep_of({name: STRENGTHS[name]}, steps, batch_size) for name in names}
        found = interleaved(calls, repeats)
        for name, times in found.items():
            us = spread([t / steps / 64 * 1e6 for t in times["all"]])
            ratio = spread([t / n for t, n in zip(times["all"], found["none"]["all"], strict=True)])
            rows.append({"name": name, "batch": batch_size or "full", "us": us, "ratio": ratio})
    return rows


def saved(steps: int, repeats: int) -> dict[str, Any]:
    """Returns the seconds of a sweep whose networks may stop, of the same where none does, and the ratio.

    `asked` is the share of the steps that the networks took until they stopped: what the ratio would be if
    a freed lane were never empty.
    """
    config = {"hidden": (64, 32), "num_steps": steps, "eval_every": max(1, steps // 100), "batch_size": 32}
    rates = np.geomspace(0.003, 0.1, 16).tolist()
    asked = []

    def run(patience: float) -> float:
        grid = {"learning_rate": rates, "patience": patience}
        found = regjax.sweep(
            "breast_cancer", config, grid, seeds=4, folds=5, standardize=True, progress=False
        )
        asked.append(float(np.where(found.stopped_at < 0, steps, found.stopped_at).mean() / steps))
        return found.train_seconds

    # Ten and a half intervals of records, so that rounding does not decide which record is the last.
    found = interleaved({"never": lambda: run(1e9), "stopping": lambda: run(steps / 10)}, repeats)
    ratio = spread([s / n for s, n in zip(found["stopping"]["all"], found["never"]["all"], strict=True)])
    return {name: found[name] for name in found} | {"ratio": ratio, "asked": asked[-1]}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--names", nargs="*", default=list(STRENGTHS))
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = table(options.steps, options.repeats, options.names)
    print(f"{'regulariser':<24}{'batch':>6}{'µs/model/step':>15}{'min to max':>18}{'ratio to none':>15}")
    for row in rows:
        us, between = row["us"], f"({row['us']['min']:.2f} to {row['us']['max']:.2f})"
        ratio = row["ratio"]["median"]
        print(f"{row['name']:<24}{row['batch']:>6}{us['median']:>15.2f}{between:>18}{ratio:>15.2f}")
    stopping = saved(options.steps, options.repeats)
    with_it, without, ratio = (stopping[name] for name in ("stopping", "never", "ratio"))
    print(
        f"early stopping: {with_it['median']:.2f} s, without {without['median']:.2f} s; ratio "
        f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}), steps {stopping['asked']:.2f}"
    )
    write(options.json, {"steps": options.steps, "rows": rows, "stopping": stopping})


if __name__ == "__main__":
    main()
