"""Measures how often `regjax.tune` says "helps" where nothing can, and where something does.

    python -m benchmarks.coverage_tune [--sets 200] [--json PATH]

Every search is run from start to end, on a data set of its own, and every network is trained: 4-8-1 and
4-3-1, 54 steps, 60 samples; 28 candidates in two rungs and 8 configurations of the baseline, 3 finalists of
4 seeds. Both ways of comparing are tried: on 0.3 of the rows, and nested in 4 outer folds.

- By chance: candidates differ from the baseline in a hyperparameter that sgd does not read (weight_decay),
  and by the luck of their own weights (pairing="independent").
- Coins: true regularisers, and labels that are as many 0 as 1, shuffled: every network's expected accuracy on
  new samples is ½.
- Planted: 400 samples whose labels follow one of 40 features, a fifth of them flipped, and one learning rate
  and width for all, so that regularising does help: how often "helps" is said is the power.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

import regjax
from benchmarks.coverage.common import Rate, rate
from benchmarks.measure import write
from regjax.study.halving import Arena, fold_numbers, networks_of, numbers

STEPS, SAMPLES = 54, 60
CANDIDATES, BASELINES, RUNGS = 28, 8, 2
SEEDS, FOLDS, OUTER = 4, 2, 4
CONFIG = {"optimizer": "sgd", "init": "he", "batch_size": "full"}
RATES = {"learning_rate": "loguniform(0.1, 3)", "hidden": [(8,), (3,)]}
BY_CHANCE = RATES | {"weight_decay": "always(loguniform(0.001, 1))"}
TRUE = RATES | {"l2": "loguniform(0.1, 30)", "l1": "loguniform(0.1, 10)", "keep_prob": "uniform(0.4, 0.95)"}
PLANTED = TRUE | {"learning_rate": 1.0, "hidden": (8,)}
MODES = {"rows held out": 0.3, "nested": "nested"}


class Case(NamedTuple):
    """A kind of data set, and what is searched on it."""

    name: str
    space: dict[str, Any]
    features: int
    coins: bool
    options: dict[str, Any]
    samples: int = SAMPLES
    steps: int = STEPS


CASES = (
    Case("by chance", BY_CHANCE, 4, False, {"pairing": "independent"}),
    Case("coins", TRUE, 4, True, {}),
    Case("planted", PLANTED, 40, False, {}, 400, 162),
)


def draw(case: Case, *stream: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns fresh (X, y) of a random stream."""
    rng, count = np.random.default_rng(stream), case.samples
    X = rng.normal(size=(count, case.features))
    if case.coins:
        return X, rng.permutation(np.arange(count) % 2)
    return X, ((X[:, 0] > 0) ^ (rng.random(count) < 0.2)).astype(int)


def budget(confirm: float | str) -> str:
    """Returns the budget that holds so many candidates: they begin on one fold, the baselines on all."""
    own, folds = tuple(range(CANDIDATES)), tuple(range(FOLDS))
    going, scored = numbers(CANDIDATES, RUNGS, 3), fold_numbers(FOLDS, RUNGS, 3)
    searched = networks_of(Arena("candidates", own, folds, going, num_folds=scored)) + BASELINES * FOLDS
    if confirm == "nested":
        return f"{searched * (OUTER + 1) + 2 * OUTER * SEEDS} networks"
    return f"{searched + 4 * SEEDS} networks"


def search(case: Case, confirm: float | str, *stream: int) -> regjax.Tuned:
    """Returns the answer of a search of a data set of its own."""
    X, y = draw(case, *stream)
    config = CONFIG | {"num_steps": case.steps, "eval_every": case.steps // 9}
    return regjax.tune(
        (X, y), case.space, config=config, budget=budget(confirm), confirm=confirm, folds=FOLDS,
        seeds=range(SEEDS * stream[-1], SEEDS * (stream[-1] + 1)), progress=False, standardize=False,
        search=regjax.Search(outer=OUTER, seed=stream[-1]), **case.options,
    )  # fmt: skip


def simulate(case: Case, confirm: float | str, sets: int, stream: int) -> tuple[Counter[str], list[float]]:
    """Returns how often each verdict was said, and each search's difference."""
    verdicts: Counter[str] = Counter()
    differences = []
    for index in range(sets):
        found = search(case, confirm, 60 + stream, index)
        verdicts[found.verdict] += 1
        differences.append(found.difference.mean)
    return verdicts, differences


def rates(sets: int) -> list[Rate]:
    """Returns the rates of all cases and ways of comparing."""
    found = []
    for stream, case in enumerate(CASES):
        for how, confirm in MODES.items():
            verdicts, differences = simulate(case, confirm, sets, stream)
            said = {word: np.arange(sets) < verdicts[word] for word in ("helps", "hurts")}
            asked = "" if case.name == "planted" else "at most 5 %"
            mean = f"mean difference {np.nanmean(differences):+.3f}"
            found.append(rate(f"tune, {case.name}, {how}: helps ({mean})", asked, said["helps"]))
            found.append(rate("  hurts", "", said["hurts"]))
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", type=int, default=200, help="data sets of each case and way")
    parser.add_argument("--json")
    options = parser.parse_args()
    began = time.perf_counter()
    found = rates(options.sets)
    print(f"{'claim':<70}{'asked':<15}{'found':>8}{'95 % interval':>19}{'counted':>9}")
    for r in found:
        between = f"{r.low:.1%} to {r.high:.1%}"
        print(f"{r.claim:<70}{r.asked:<15}{r.found:>8.1%}{between:>19}{r.trials:>9,}", flush=True)
    seconds = time.perf_counter() - began
    print(f"\n{seconds:.0f} s")
    write(options.json, {"sets": options.sets, "seconds": seconds, "claims": [r._asdict() for r in found]})


if __name__ == "__main__":
    main()
