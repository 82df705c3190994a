"""Whole sweeps of the tutorial's network, from the call to the results: the seconds from call to results.

    python -m benchmarks.whole [--networks 4096] [--steps 30000] [--device gpu] [--to FILE]

`.ci/gpu` calls it. Without and with dropout: regjax with compiling, JAX by hand, and regjax again. Each is
printed when it is done, also as the networks that are trained in a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.device import use_device
from benchmarks.measure import seconds_of, write
from benchmarks.naive import naive
from benchmarks.opponents import sweep
from benchmarks.problems import Problem, problems, rows_of
from regjax.study.provenance import device


def swept(problem: Problem, networks: int, steps: int, which: str) -> dict[str, Any]:
    """Returns the seconds of a sweep by regjax: of all of it, of compiling, of training."""
    rows, began = rows_of(problem, networks), time.perf_counter()
    found = sweep(
        problem.x, problem.y, problem.layer_sizes, problem.batch_size, rows.axes, rows.seeds, steps,
        standardize=False,
    )  # fmt: skip
    return {
        "problem": problem.name, "what": f"regjax, {which}", "seconds": time.perf_counter() - began,
        "compiling": found.compile_seconds, "training": found.train_seconds,
        "chunks": [(group.slots, group.lanes) for group in found.plan.groups],
    }  # fmt: skip


def by_hand(problem: Problem, networks: int, steps: int) -> dict[str, Any]:
    """Returns the seconds of JAX by hand, without its compiling: the final parameters, and no record."""
    prepared = naive(problem, rows_of(problem, networks))
    first = seconds_of(prepared.run, 2)
    took = seconds_of(prepared.run, steps)
    return {
        "problem": problem.name,
        "what": "JAX by hand",
        "seconds": took,
        "compiling": first,
        "training": took,
    }


def in_words(found: dict[str, Any], networks: int) -> str:
    """Returns a line: the seconds, and networks in a minute of training."""
    chunks = f", chunks of {found['chunks']}" if "chunks" in found else ""
    return (
        f"{found['problem']}, {found['what']}: {found['seconds']:.2f} s in all, compiling "
        f"{found['compiling']:.2f} s, training {found['training']:.2f} s, "
        f"{networks / found['training'] * 60:,.0f} networks a minute{chunks}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Prints the seconds of each sweep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole", description=__doc__)
    parser.add_argument("--networks", type=int, choices=(16, 256, 4096, 65_536), default=4096)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--to", help="the .json file, written after each sweep")
    options = parser.parse_args(arguments)
    use_device(options.device)
    print(f"{options.networks:,} networks × {options.steps:,} steps on {device()}", flush=True)
    asked, found = (options.networks, options.steps), []
    small = problems()[:2]

    def everything() -> Iterator[dict[str, Any]]:
        yield from (swept(problem, *asked, "first") for problem in small)
        yield from (by_hand(problem, *asked) for problem in small)
        yield from (swept(problem, *asked, "again") for problem in small)

    for one in everything():
        found.append(one)
        print(in_words(one, options.networks), flush=True)
        write(options.to, {"networks": options.networks, "steps": options.steps, "sweeps": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
