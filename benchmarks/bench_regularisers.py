"""What each regulariser adds to a step: a sweep of 64 networks with it alone, beside the same without.

2-20-3-1 network on the built-in set, full batch, and with batches of 32; compilation left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import regjax
from benchmarks.measure import interleaved, spread, write
from regjax.cabinet import STRENGTHS


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


def main() -> None:
    """Prints the table."""
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
    write(options.json, {"steps": options.steps, "rows": rows})


if __name__ == "__main__":
    main()
