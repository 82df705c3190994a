"""Measures training on many samples: time of an epoch and peak memory, beside JAX by hand and PyTorch.

    python -m benchmarks.bench_rows [--samples 2000 20000 200000 1000000] [--networks 64] [--json PATH]

Networks 30-64-32-1 on minibatches of 256. Each figure is of a process of its own. The time of a step is that
of an epoch, with the drawing of its order, less that of a call of two steps. "A call" is what two steps take
once compiled; for regjax it has two records of all networks on all samples.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.growth import environment
from benchmarks.measure import number, peak_memory, seconds_of, write
from benchmarks.opponents import OPPONENTS
from benchmarks.problems import Problem, rows_from

NAMES = ("regjax", "naive JAX", "torch.compile(vmap)")
# Steps of which the time of a step is taken at least, and at most: of 1,000,000 samples an epoch has 3,906.
STEPS = (400, 4000)


def problem_of(num_samples: int) -> Problem:
    """Returns two classes of so many samples of 30 features."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((num_samples, 30)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + 0.5 * rng.standard_normal(num_samples) > 0).astype(np.int32)
    return Problem("many samples", x, y, (30, 64, 32, 1), min(256, num_samples), None, 0.1, 0, 0)


def point(name: str, num_samples: int, networks: int) -> dict[str, float]:
    """Returns µs of a step of a network, seconds of a call, and peak memory in bytes."""
    problem = problem_of(num_samples)
    l2 = np.geomspace(0.01, 1, networks // 4).tolist()
    rows = rows_from(problem, {"learning_rate": [0.1, 0.08, 0.06, 0.04], "l2": l2}, 1)
    prepared = OPPONENTS[name].prepare(problem, rows)
    assert prepared is not None
    steps = int(np.clip(problem.num_batches, *STEPS)) if num_samples > 1000 else 4
    prepared.run(2)
    call = seconds_of(prepared.run, 2)
    each = (seconds_of(prepared.run, 2 + steps) - call) / steps / networks
    return {"us": 1e6 * each, "call": call, "peak": peak_memory()}


def in_a_process(name: str, num_samples: int, networks: int) -> dict[str, Any] | str:
    """Returns the result of `point` in a process of its own, or why there is none."""
    asked = json.dumps([name, num_samples, networks])
    command = [sys.executable, "-m", "benchmarks.bench_rows", "--point", asked]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.splitlines() or ["no words"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns the figures, by contestant and number of samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[2_000, 20_000, 200_000, 1_000_000])
    parser.add_argument("--networks", type=int, default=64, help="a multiple of 4")
    parser.add_argument("--contestants", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--json")
    asked = parser.parse_args(arguments)
    if asked.point:
        print(json.dumps(point(*asked.point)))
        return {}
    print("| | samples | µs per network and step | a call, s | peak memory, MiB |")
    print("|---|---|---|---|---|")
    found: dict[str, Any] = {}
    for num_samples in asked.samples:
        for name in asked.contestants:
            one = in_a_process(name, num_samples, asked.networks)
            found.setdefault(name, {})[num_samples] = one
            figures = (
                one
                if isinstance(one, str)
                else f"{number(one['us'], 3)} | {number(one['call'], 3)} | {one['peak'] / 2**20:,.0f}"
            )
            print(f"| {name} | {num_samples:,} | {figures} |", flush=True)
    if asked.json:
        write(asked.json, {"networks": asked.networks, "figures": found})
    return found


if __name__ == "__main__":
    main()
