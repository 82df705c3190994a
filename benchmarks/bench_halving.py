"""Measures what halving saves: seconds and steps for a candidate, beside a full sweep of the same candidates.

    python -m benchmarks.bench_halving [--candidates 81] [--steps 810] [--repeats 3] [--json PATH]

Candidates of the default space on five folds of two problems, first as a search in three rungs, then as a
sweep in which each trains to its last step; in turn, in one process, with the same chunks and kernel.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import regjax
from benchmarks.measure import interleaved, write
from regjax.engine.searching import Work, searched, steps_of
from regjax.engine.sweep import run
from regjax.engine.tuning import make_setting
from regjax.study.design import part_of
from regjax.study.questions import NOWHERE
from regjax.study.space import Space
from regjax.study.tuned import Budget

SIZES = {
    "211 samples, 2 features": (211, 2, None),
    "2,000 samples, 20 features, batches of 128": (2_000, 20, 128),
}


def problem(samples: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (X, y) of two classes that follow two of the features."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(samples, features))
    return X, (X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=samples) > 0).astype(int)


def measured(name: str, candidates: int, steps: int, repeats: int) -> dict[str, Any]:
    """Returns seconds and steps of a search and of a full sweep of one problem."""
    samples, features, batch = SIZES[name]
    config = {"num_steps": steps, "eval_every": max(1, steps // 27), "batch_size": batch}
    setting = make_setting(
        problem(samples, features), Space.of(None), config, Budget.of("1s"), confirm=0.3, baseline=None,
        search=regjax.Search(), metric=None, options={},
    )  # fmt: skip
    design, num = setting.design(candidates)
    race, work = setting.race(design, num), Work()
    # The candidates alone: none of the baseline drops out.
    design = part_of(design, range(num))
    race = race._replace(arenas=tuple(arena for arena in race.arenas if arena.role == "candidates"))
    full = design.num_rows * steps
    halved = steps_of(design, race, searched(design, race, None, work, NOWHERE))
    seconds: Any = interleaved(
        {
            "search in rungs": lambda: searched(design, race, None, work, NOWHERE)[-1].rows,
            "full sweep": lambda: run(design, plan=work.plan(design)).seconds,
        },
        repeats,
    )
    of_each = {"search in rungs": halved, "full sweep": full}
    return {"candidates": len(design.configurations), "steps": of_each, "seconds": seconds}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--candidates", type=int, default=81)
    parser.add_argument("--steps", type=int, default=810)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    found = {}
    for name in SIZES:
        result = found[name] = measured(name, options.candidates, options.steps, options.repeats)
        print(f"{name}: {result['candidates']} configurations × 5 folds")
        for how, spread in result["seconds"].items():
            each = 1000 * spread["median"] / result["candidates"]
            print(f"  {how:<16} {each:8.1f} ms a configuration, {result['steps'][how]:>10,} steps")
        seconds, steps = result["seconds"], result["steps"]
        times = seconds["full sweep"]["median"] / seconds["search in rungs"]["median"]
        fewer = steps["full sweep"] / steps["search in rungs"]
        print(f"  {times:.1f} times as fast; {fewer:.1f} times fewer steps")
    write(options.json, {"problems": found})


if __name__ == "__main__":
    main()
