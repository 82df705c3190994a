"""Measures how regjax scales with networks, width, samples and workers, and times a first use.

`python -m benchmarks` calls it. Each point is a process of its own, which reports the time of a step, its
peak memory and its seconds of compiling.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from benchmarks.measure import peak_memory, spread
from benchmarks.opponents import sweep
from benchmarks.problems import Prepared
from benchmarks.table import FEW, Contestant, timed_in_turn

ROOT = Path(__file__).parents[1]

# What is varied -> the values of it.
NETWORKS = (1, 16, 256, 4096)
MORE_NETWORKS = (65_536,)  # on a GPU, which 4,096 small networks do not fill
WIDTHS = (32, 64, 128, 256, 512)
SAMPLES = (200, 800, 3_200, 12_800)


def point(
    layer_sizes: list[int],
    num_samples: int,
    networks: int,
    batch_size: int | None,
    workers: int | None,
    seconds: float,
    repeats: int,
    keep_prob: float | None = None,
) -> dict[str, Any]:
    """Returns µs per network and step of each repetition, peak memory and compile seconds."""
    random = np.random.default_rng(0)
    x = random.standard_normal((num_samples, layer_sizes[0])).astype(np.float32)
    y = random.integers(0, max(2, layer_sizes[-1]), num_samples)
    axes: dict[str, Any] = {"l2": np.geomspace(0.01, 1, min(64, networks)).tolist()}
    if keep_prob is not None:
        axes["keep_prob"] = [keep_prob]

    seeds = max(1, networks // 64)
    run = functools.partial(sweep, x, y, tuple(layer_sizes), batch_size, axes, seeds, workers=workers)
    compiling = run(FEW).compile_seconds
    if not repeats:
        return {"us": [], "peak": peak_memory(), "compile": compiling}
    contestant = Contestant(Prepared(run, None), networks, 0.0, None)
    num_batches = num_samples // batch_size if batch_size else 1
    us = timed_in_turn({"": contestant}, seconds, repeats, num_batches)[""].us
    return {"us": us, "peak": peak_memory(), "compile": compiling}


def environment(**more: str) -> dict[str, str]:
    """Returns the environment of a process on the same kind of device as this one."""
    platform = {"gpu": "cuda,cpu"}.get(jax.default_backend(), jax.default_backend())
    return os.environ | {"JAX_PLATFORMS": platform, "PYTHONPATH": str(ROOT)} | more


def in_a_process(pinned: bool = False, **asked: Any) -> dict[str, Any]:
    """Returns the result of `point` in a fresh process, without a cache of compiled programs.

    Args:
        pinned: whether the process keeps to one core.
        **asked: arguments of `point`.
    """
    command = [sys.executable, "-m", "benchmarks.growth", json.dumps(asked), *(["pinned"] if pinned else [])]
    around = environment(JAX_ENABLE_COMPILATION_CACHE="false")
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    us = spread(found["us"]) if found["us"] else None
    return asked | {"pinned": pinned, "us": us} | {k: found[k] for k in ("peak", "compile")}


def growth(seconds: float, repeats: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Returns points by what is varied: networks, width, samples, and on a CPU workers; `say` gets each."""
    on_cpu = jax.default_backend() == "cpu"
    cores = len(os.sched_getaffinity(0))
    small: dict[str, Any] = {"layer_sizes": [2, 20, 3, 1], "num_samples": 211, "batch_size": None}
    wide: dict[str, Any] = {"num_samples": 1_792, "batch_size": 128}
    # On a GPU as many tasks at a time as regjax takes itself: they do not depend on the cores.
    how: dict[str, Any] = {"workers": cores if on_cpu else None, "seconds": seconds, "repeats": repeats}
    networks = NETWORKS if on_cpu else NETWORKS + MORE_NETWORKS
    digits = wide | {"layer_sizes": [64, 256, 256, 10], "networks": 32}
    wanted: dict[str, list[tuple[dict[str, Any], bool]]] = {
        "networks": [(small | {"networks": n}, False) for n in networks],
        "width": [(wide | {"networks": 16, "layer_sizes": [64, w, w, 10]}, False) for w in WIDTHS],
        "samples": [(small | {"networks": 64, "num_samples": n}, False) for n in SAMPLES],
        "workers": [
            (asked | {"workers": workers}, pinned)
            for asked in (small | {"networks": 256}, digits)
            for workers, pinned in ((1, True), (1, False), (cores, False))
        ] if on_cpu else [],
    }  # fmt: skip
    found: dict[str, Any] = {}
    for what, points in wanted.items():
        for asked, pinned in points:
            try:
                one = in_a_process(pinned, **how | asked)
            except (
                subprocess.CalledProcessError
            ) as error:  # what else there is to see costs minutes of a card
                say(f"growth: {what}: failed: {(error.stderr.splitlines() or ['no words'])[-1]}")
                if on_cpu:
                    raise
                continue
            found.setdefault(what, []).append(one)
            say(f"growth: {what}: {_point_in_words(one)}")
    return found


def _point_in_words(found: dict[str, Any]) -> str:
    us = "no figure" if found["us"] is None else f"{found['us']['median']:.4g} µs per network and step"
    names = ("layer_sizes", "num_samples", "networks")
    return f"{', '.join(f'{name} {found[name]}' for name in names)}: {us}, compiling {found['compile']:.1f} s"


# A grid of twelve programs: what differs between them is compiled in.
TWELVE = """
import regjax
grid = {"activation": ["relu", "tanh", "sigmoid"], "optimizer": ["sgd", "momentum", "adam", "adamw"]}
regjax.sweep("two_regions", {"num_steps": 200, "eval_every": 100}, grid, folds=5, progress=False)
"""
# Ends the process at the first network that is done.
FIRST = """
import os, regjax
def seen(progress):
    if progress.done:
        os._exit(0)
grid = {"l2": [0, 0.1, 0.7, 1], "keep_prob": [1, 0.86]}
regjax.sweep("two_regions", {"num_steps": 2000}, grid, seeds=2, folds=5, progress=seen)
"""


def write_table(path: Path) -> None:
    """Writes a table as users have them: 1,000 rows, eight columns of numbers, three of words, gaps."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((1000, 8)), columns=[f"x{index}" for index in range(8)])
    table = table.mask(rng.random(table.shape) < 0.02)
    for name, words in (("colour", "red green blue"), ("town", "A B C D E F"), ("answer", "yes no")):
        table[name] = rng.choice(words.split(), len(table))
    table["target"] = np.where(table["x0"].fillna(0) + rng.standard_normal(1000) > 0, "high", "low")
    table.to_csv(path, index=False)


def first_minutes(repeats: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Returns seconds of whole processes, without and with what an earlier one has compiled.

    Imports, a first `compare`, a small sweep, one of a table with the command's defaults, a grid of twelve
    programs, and the first network of a sweep that is done.
    """
    commands = {
        "python -c 'import jax'": [sys.executable, "-c", "import jax"],
        "python -c 'import regjax'": [sys.executable, "-c", "import regjax"],
        "regjax compare": [sys.executable, "-m", "regjax", "compare", "--out", "out"],
        "regjax sweep": [
            sys.executable, "-m", "regjax", "sweep", "--l2", "none,0.1,0.7", "--keep-prob", "1,0.86",
            "--seeds", "2", "--folds", "5", "--steps", "2000", "--no-store", "--out", "out",
        ],
        "regjax sweep table.csv": [
            sys.executable, "-m", "regjax", "sweep", "table.csv", "--target", "target", "--no-store",
        ],
        "twelve programs, regjax.sweep": [sys.executable, "-c", TWELVE],
        "the first network, regjax.sweep": [sys.executable, "-c", FIRST],
    }  # fmt: skip
    found: dict[str, dict[str, list[float]]] = {name: {} for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            say(f"first minutes: {name}")
            with tempfile.TemporaryDirectory() as folder:
                write_table(Path(folder, "table.csv"))
                around = environment(REGJAX_CACHE_DIR=f"{folder}/cache")
                around.pop("JAX_COMPILATION_CACHE_DIR", None)
                for when in ("cold", "warm") if "import" not in name else ("cold",):
                    began = time.perf_counter()
                    subprocess.run(command, cwd=folder, env=around, capture_output=True, check=True)
                    found[name].setdefault(when, []).append(time.perf_counter() - began)
    return {name: {when: spread(seconds) for when, seconds in of.items()} for name, of in found.items()}


if __name__ == "__main__":
    if "pinned" in sys.argv:  # before JAX starts its threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(json.dumps(point(**json.loads(sys.argv[1]))))
