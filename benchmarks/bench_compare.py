"""Times whole processes: `regjax compare`, cold and warm, and the tutorial's three runs in NumPy.

    python -m benchmarks.bench_compare [--data data.mat] [--steps 30000] [--repeats 5] [--json PATH]

The NumPy program is tests/support/reference.py: the tutorial's own arithmetic, no pictures. regjax's time
includes imports, compilation or the cache's programs, evaluation at 60 points and four pictures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import spread, write

ROOT = Path(__file__).parents[1]

NUMPY = """
import reference, time
from regjax.data.loaders import load_two_classes
train, test = load_two_classes({data!r})
start = time.perf_counter()
for options in ({{}}, {{"lambd": 0.7}}, {{"keep_prob": 0.86}}):
    reference.tutorial_model(train.x, train.y, num_steps={steps}, **options)
print(time.perf_counter() - start)
"""


def run(data: str, steps: int = 30_000, repeats: int = 5) -> dict[str, Any]:
    """Returns seconds of whole processes; of the NumPy program only its three loops are counted."""
    times: dict[str, list[float]] = {"numpy": [], "regjax, cold": [], "regjax, warm": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            times["numpy"].append(_numpy(data, steps))
            cache = tempfile.mkdtemp(dir=folder)
            times["regjax, cold"].append(_regjax(data, steps, cache, folder))
            times["regjax, warm"].append(_regjax(data, steps, cache, folder))
    return {
        "data": Path(data).name,
        "steps": steps,
        "seconds": {name: spread(found) for name, found in times.items()},
    }


def _numpy(data: str, steps: int) -> float:
    command = [sys.executable, "-c", NUMPY.format(data=data, steps=steps)]
    # One core, as the tutorial's program is run; these products are too small for more.
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests" / "support"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def _regjax(data: str, steps: int, cache: str, folder: str) -> float:
    command = [
        sys.executable,
        "-m",
        "regjax",
        "compare",
        "--data",
        data,
        "--steps",
        str(steps),
        "--json",
        "--out",
        f"{folder}/out",
    ]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="two_regions", help="as of `regjax compare`")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    result = run(options.data, options.steps, options.repeats)
    baseline = result["seconds"]["numpy"]["all"]
    print(f"{'seconds':<14}{'median':>8}{'min':>8}{'max':>8}{'ratio to numpy, pair by pair':>32}")
    for name, found in result["seconds"].items():
        ratios = spread([a / b for a, b in zip(found["all"], baseline, strict=True)])
        ratio = f"{ratios['median']:.2f} ({ratios['min']:.2f} to {ratios['max']:.2f})"
        print(f"{name:<14}{found['median']:>8.2f}{found['min']:>8.2f}{found['max']:>8.2f}{ratio:>32}")
    write(options.json, result)


if __name__ == "__main__":
    main()
