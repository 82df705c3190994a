"""A profile of training: which kernels take the time of a step, problem by problem.

    python -m benchmarks.profile_step [--problems tutorial digits] [--device gpu] [--networks 4096]

`.ci/gpu` calls it. JAX's profiler records a sweep whose programs are compiled already; the events of the
device are summed by name. Where the device is busy for less time than the sweep takes, it waits for the host.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax
from jax.profiler import ProfileData

from benchmarks.cells import NAMES
from benchmarks.device import use_device
from benchmarks.opponents import regjax_sweep
from benchmarks.problems import Problem, problems, rows_of
from regjax.study.provenance import device

# Networks of a profile: as many as fill a card, of digits as the table's.
NETWORKS = {"tutorial": 4096, "dropout": 4096, "breast_cancer": 4096, "digits": 256}
TOP = 12  # kernels that are printed
# On a CPU: what runs or awaits the kernels of its threads, which are events themselves.
WAITING = ("ThunkExecutor", "SlinkyThreadPool")
CHARACTERS = 90  # of a kernel's name


class Kernel(NamedTuple):
    """The events of one name: how many, and their seconds in all."""

    name: str
    calls: int
    seconds: float


class Profile(NamedTuple):
    """The profile of a sweep.

    Attributes:
        kernels: what ran on the device, what took longest first.
        busy: seconds in which at least one of them ran.
        wall: seconds of the sweep.
    """

    kernels: list[Kernel]
    busy: float
    wall: float


def is_of_device(plane: str, line: str) -> bool:
    """Returns whether a line of a trace has kernels: a stream of a GPU, or a thread of XLA on a CPU."""
    if plane.startswith("/device:GPU"):
        return line.startswith("Stream")
    return jax.default_backend() == "cpu" and plane == "/host:CPU" and "XLA" in line


def read(folder: str, wall: float) -> Profile:
    """Returns the profile of a trace that JAX's profiler has written."""
    [file] = Path(folder).rglob("*.xplane.pb")
    calls: collections.Counter[str] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    spans: list[tuple[float, float]] = []
    planes = list(ProfileData.from_file(str(file)).planes)
    for plane in planes:
        for line in plane.lines:
            if not is_of_device(plane.name, line.name):
                continue
            for event in line.events:
                if event.name.startswith(WAITING):
                    continue
                calls[event.name] += 1
                seconds[event.name] += event.duration_ns * 1e-9
                spans.append((event.start_ns, event.start_ns + event.duration_ns))
    if not spans:
        seen = [(plane.name, line.name) for plane in planes for line in plane.lines]
        raise RuntimeError(f"a trace must have kernels, got none in {seen}")
    kernels = [Kernel(name, calls[name], took) for name, took in seconds.most_common()]
    return Profile(kernels, covered(spans) * 1e-9, wall)


def covered(spans: list[tuple[float, float]]) -> float:
    """Returns the length of the union of intervals.

    Example:
        >>> covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0)])
        4.0
    """
    total, end = 0.0, -float("inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def profile(problem: Problem, networks: int, steps: int) -> Profile:
    """Returns the profile of a sweep that has compiled before."""
    run = regjax_sweep(problem, rows_of(problem, networks)).run
    run(steps)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            began = time.perf_counter()
            run(steps)
            wall = time.perf_counter() - began
        return read(folder, wall)


def main(arguments: list[str] | None = None) -> int:
    """Prints the profile of each problem; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_step", description=__doc__)
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--networks", type=int, help="of each; else 4,096, and 256 of digits")
    parser.add_argument("--steps", type=int, default=200, help="of the sweep that is recorded")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args(arguments)
    use_device(options.device)
    known = dict(zip(NAMES, problems(), strict=True))
    for name in options.problems:
        networks = options.networks or NETWORKS[name]
        found = profile(known[name], networks, options.steps)
        launches = sum(kernel.calls for kernel in found.kernels)
        print(
            f"{known[name].name}, {networks:,} networks × {options.steps} steps on {device()}: "
            f"{found.wall / options.steps * 1e6:,.0f} µs a step of the whole call, device busy "
            f"{found.busy / options.steps * 1e6:,.0f} µs, {launches / options.steps:.1f} kernels and copies"
        )
        for kernel in found.kernels[:TOP]:
            took, calls = kernel.seconds / options.steps * 1e6, kernel.calls / options.steps
            print(f"  {took:9.2f} µs a step in {calls:6.2f} calls: {kernel.name[:CHARACTERS]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
