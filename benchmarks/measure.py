"""Timing and writing of results; every benchmark calls it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from regjax.study.provenance import device, versions


def spread(seconds: list[float]) -> dict[str, Any]:
    """Returns median, smallest and largest, and every repetition."""
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "all": seconds}


def number(value: float, digits: int) -> str:
    """Returns a number in so many digits, without an exponent where it is large."""
    return f"{value:,.0f}" if value >= 10**digits else f"{value:.{digits}g}"


def seconds_of(run: Callable[[int], Any], steps: int) -> float:
    """Returns seconds of a call for so many steps."""
    began = time.perf_counter()
    run(steps)
    return time.perf_counter() - began


def interleaved(contestants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, Any]]:
    """Returns seconds per call of each, called in turn so that a drift of the machine hits all alike.

    The first call of each (compilation, caches) is timed apart, as "first".
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats + 1):
        for name, call in contestants.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: {"first": found[0], **spread(found[1:])} for name, found in times.items()}


def peak_memory() -> int:
    """Returns the largest memory of this process, in bytes.

    On Linux from /proc: there `getrusage` also counts the memory of the process that began this one.
    """
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def context() -> dict[str, Any]:
    """Returns what a result depends on: versions, device, cores, machine, date."""
    return {
        "versions": versions(),
        "device": device(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "date": time.strftime("%Y-%m-%d"),
    }


def write(path: str | None, result: dict[str, Any]) -> None:
    """Writes a result with its context as JSON, where a path is given."""
    if path is not None:
        Path(path).write_text(json.dumps({**context(), **result}, indent=1) + "\n")
