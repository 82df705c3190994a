"""Compares a grid search over scikit-learn's MLPClassifier with `RegGridSearchCV` over the same networks.

The same candidates × 5 folds and equal epochs; each search in a process of its own, which reports the
seconds of `fit` (its imports are counted apart). `--search epochs` and `--search samples` compare
`HalvingGridSearchCV` with `RegHalvingGridSearchCV`, with epochs (20, 60, 180) or samples as the resource.
regjax runs from cold, and with a warm compilation cache. Both give the same `cv_results_`: in float64 to
rounding, here in float32 as the docs advise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any

import numpy as np

from benchmarks.measure import spread, write

PROBLEMS = {"digits": (64,), "breast_cancer": (20, 3)}
WHO = ("scikit-learn", "regjax, cold", "regjax, warm")


def search(who: str, problem: str, candidates: int, epochs: int, kind: str = "grid") -> dict[str, Any]:
    """Returns the seconds of one search in this process, and its scores."""
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    import sklearn.datasets
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import scale

    X, y = getattr(sklearn.datasets, f"load_{problem}")(return_X_y=True)
    X = scale(X).astype(np.float32)
    rates = [0.001, 0.003, 0.01, 0.03][: 3 if candidates % 4 else 4]
    grid = {"alpha": np.geomspace(1e-4, 10, candidates // len(rates)).tolist(), "learning_rate_init": rates}
    network = {"hidden_layer_sizes": PROBLEMS[problem], "max_iter": epochs, "random_state": 0}
    network["n_iter_no_change"] = epochs  # equal epochs: no network stops early
    options: dict[str, Any] = {"cv": 5}
    if kind == "samples":
        options["random_state"] = 0
    elif kind == "epochs":
        options |= {"resource": "max_iter", "min_resources": 20, "max_resources": 180}
    if who == "scikit-learn":
        made = GridSearchCV if kind == "grid" else HalvingGridSearchCV
        found: Any = made(MLPClassifier(**network), grid, n_jobs=-1, **options)
    else:
        import regjax

        made = regjax.RegGridSearchCV if kind == "grid" else regjax.RegHalvingGridSearchCV
        found = made(regjax.RegMLPClassifier(**network), grid, **options)
    imported = time.perf_counter()
    found.fit(X, y)
    seconds = time.perf_counter() - imported
    scores = found.cv_results_["mean_test_score"].tolist()
    return {"seconds": seconds, "imports": imported - began, "refit": found.refit_time_, "scores": scores}


def in_its_own_process(who: str, cache: str, *arguments: str) -> dict[str, Any]:
    """Returns the result of `search` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.bench_sklearn", "--one", who, *arguments]
    env = os.environ | {"PYTHONWARNINGS": "ignore", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    env["JAX_COMPILATION_CACHE_DIR"] = cache
    env["JAX_ENABLE_COMPILATION_CACHE"] = str(who == "regjax, warm")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(problem: str, candidates: int, epochs: int, repeats: int, kind: str = "grid") -> dict[str, Any]:
    """Returns seconds of each, ratios pair by pair, and by how much the scores differ."""
    times: dict[str, list[float]] = {who: [] for who in WHO}
    scores: dict[str, list[float]] = {}
    arguments = (
        "--problems",
        problem,
        "--candidates",
        str(candidates),
        "--epochs",
        str(epochs),
        "--search",
        kind,
    )
    with tempfile.TemporaryDirectory() as cache:
        in_its_own_process("regjax, warm", cache, *arguments)  # fills the cache
        for _ in range(repeats):
            for who in WHO:
                found = in_its_own_process(who, cache, *arguments)
                times[who].append(found["seconds"])
                scores[who] = found["scores"]
    peer = np.array(scores["scikit-learn"])
    return {
        "problem": problem,
        "candidates": candidates,
        "seconds": {who: spread(found) for who, found in times.items()},
        "ratio": {
            who: spread([p / o for p, o in zip(times["scikit-learn"], times[who], strict=True)])
            for who in WHO[1:]
        },
        "largest_difference": float(np.abs(np.array(scores["regjax, cold"]) - peer).max()),
        "mean_score": {who: float(np.mean(found)) for who, found in scores.items()},
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--candidates", type=int, nargs="*", default=[24, 240])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--search", choices=("grid", "epochs", "samples"), default="grid")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=WHO, help=argparse.SUPPRESS)
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.one:
        asked = options.problems[0], options.candidates[0], options.epochs, options.search
        print(json.dumps(search(options.one, *asked)))
        return
    rows = []
    for problem in options.problems:
        for candidates in options.candidates:
            row = compare(problem, candidates, options.epochs, options.repeats, options.search)
            rows.append(row)
            print(f"{problem}, {options.search}, {candidates} candidates × 5 folds, {options.epochs} epochs")
            for who, seconds in row["seconds"].items():
                ratio = row["ratio"].get(who)
                faster = "" if ratio is None else (
                    f", {ratio['median']:.1f} times as fast ({ratio['min']:.1f} to {ratio['max']:.1f})"
                )  # fmt: skip
                between = f"({seconds['min']:.2f} to {seconds['max']:.2f})"
                score = row["mean_score"][who]
                print(f"  {who:<14}{seconds['median']:>8.2f} s {between}{faster}, mean score {score:.4f}")
            print(f"  largest difference of a candidate's mean score: {row['largest_difference']:.4f}")
    write(options.json, {"epochs": options.epochs, "rows": rows})


if __name__ == "__main__":
    main()
