"""Measures the coverage of the intervals over simulated sweeps whose true differences are known.

    python -m benchmarks.bench_coverage [--sweeps 1000] [--harmless 16] [--json PATH]

All of it goes through `regjax.sweep`, `Results.compare` and `Results.best`, and every network is trained:
4-8-1, 60 steps, 40 samples of which a fifth has its label flipped.

- Seed intervals: on a few fixed splits, many sweeps of 8 seeds of their own. The truth is the mean over
  thousands of other seeds on the same split.
- Fold intervals: sweeps of 5 folds × 2 seeds, each on a data set of its own. The truth is the mean
  difference on fresh samples, of the networks of as many other data sets' folds.
- Family intervals: sweeps in which nothing can help. Either configurations that differ by chance alone
  (values of b1, which "sgd" does not read, with pairing="independent"); or true regularisers on labels that
  are coins, where every network's expected accuracy on new samples is ½.
- The rules "mean" and "one_se": what each chose in the sweeps over folds, on fresh samples.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

import regjax
from benchmarks.measure import write

CONFIG = regjax.Config(layer_sizes=(4, 8, 1), num_steps=60, eval_every=60)
LEARNING_RATE = 1.0
SAMPLES, FLIPPED, FRESH_SAMPLES = 40, 0.2, 256
METRICS = ("val_loss", "val_accuracy")
SPLITS, SEEDS = 25, 8
FOLDS, PER_FOLD = 5, 2
SPLIT = {"validation": 0.3}

# Every grid begins with its baseline. The first is for one split, the second for folds, the third for coins.
FEW = {"l2": [0.0, 0.3, 3.0], "keep_prob": [1.0, 0.7]}
L2 = {"l2": [0.0, 0.1, 0.3, 1.0, 3.0, 10.0]}
MANY = {"l2": [0.0, 0.3, 1.0, 3.0], "keep_prob": [1.0, 0.9, 0.7, 0.5]}


def draw(*stream: int, samples: int = SAMPLES, coins: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns fresh (X, y) of a random stream.

    Args:
        *stream: whole numbers; another stream is another, independent data set.
        samples: how many samples.
        coins: whether y has nothing to do with X (as many 0 as 1, shuffled), instead of the sign of
            x₀ + x₁, flipped in a fifth of the samples.
    """
    rng = np.random.default_rng(stream)
    X = rng.normal(size=(samples, CONFIG.layer_sizes[0]))
    if coins:
        return X, rng.permutation(np.arange(samples) % 2)
    return X, ((X[:, 0] + X[:, 1] > 0) ^ (rng.random(samples) < FLIPPED)).astype(int)


def sweep(
    data: Any, axes: dict[str, list[float]], *, first: int, count: int, **options: Any
) -> regjax.Results:
    """Returns a sweep with the seeds `first`, …, `first + count - 1`."""
    grid = regjax.grid(**axes, learning_rate=LEARNING_RATE)
    seeds = range(first, first + count)
    return regjax.sweep(data, CONFIG, grid, seeds=seeds, progress=False, keep="none", **options)


def differences(found: regjax.Results, metric: str) -> np.ndarray:
    """Returns the mean difference of each configuration to the first, `(configurations - 1,)`."""
    means = found.units(metric).mean(axis=1)
    return means[1:] - means[0]


# -- intervals of one difference --------------------------------------------------------------------------


class Rate(NamedTuple):
    """The rate at which a claim held in `trials` intervals or sweeps, with its 95 % interval."""

    claim: str
    asked: str
    found: float
    low: float
    high: float
    trials: int


class Coverage:
    """Counts, per metric and configuration, which intervals contain the truth.

    An interval that regjax does not give ("no spread") is neither a hit nor a miss: it is not counted.
    """

    def __init__(self) -> None:
        self.inside: dict[str, list[np.ndarray]] = defaultdict(list)
        self.names: list[str] = []

    def add(self, found: regjax.Results, metric: str, truth: np.ndarray) -> None:
        """Counts a sweep's intervals; truth: as `differences`."""
        table = found.compare(metric=metric).table
        low, high = np.array(table["low"]), np.array(table["high"])
        inside = (low <= truth) & (truth <= high)
        self.inside[metric].append(np.where(np.isnan(low), np.nan, inside))
        self.names = [name.removesuffix(f", learning_rate={LEARNING_RATE:g}") for name in table["name"]]

    def rates(self, claim: str, asked: str) -> list[Rate]:
        """Returns a rate per metric of all intervals together, and one per metric and configuration."""
        found = []
        for metric, of_sweeps in self.inside.items():
            inside = np.array(of_sweeps)
            found.append(together(f"{claim}, {metric}", asked, inside))
            for name, column in zip(self.names, inside.T, strict=True):
                found.append(rate(f"  {name}", "", column[~np.isnan(column)]))
        return found


def rate(claim: str, asked: str, hits: Any) -> Rate:
    """Returns the rate of successes, one trial per sweep, with its exact binomial 95 % interval."""
    count, trials = int(np.sum(hits)), len(hits)
    if trials == 0:
        return Rate(claim, asked, float("nan"), 0.0, 1.0, 0)
    between = stats.binomtest(count, trials).proportion_ci()
    return Rate(claim, asked, count / trials, float(between.low), float(between.high), trials)


def together(claim: str, asked: str, inside: np.ndarray) -> Rate:
    """Returns the rate over all intervals, `(sweeps, configurations)`, NaN where there is none.

    The intervals of one sweep share its replicates: the 95 % interval takes sweeps, not intervals, as
    independent (the standard error of a ratio of sums over sweeps).
    """
    counted = ~np.isnan(inside)
    total = max(1, int(counted.sum()))
    found = float(np.nansum(inside)) / total
    residuals = np.where(counted, inside - found, 0).sum(axis=1)
    reach = 1.96 * float(np.sqrt(np.sum(residuals**2))) / total
    return Rate(claim, asked, found, max(0.0, found - reach), min(1.0, found + reach), total)


def seed_intervals(sweeps: int) -> tuple[list[Rate], str]:
    """Returns how often the interval over seeds contains the mean over all seeds of its split."""
    splits, coverage = min(SPLITS, sweeps), Coverage()
    # The truth's own error adds SEEDS / known to the variance: 0.4 % at full size.
    known = 2 * sweeps
    for split in range(splits):
        data = draw(1, split)
        found = sweep(data, FEW, first=0, count=known, **SPLIT)
        truth = {metric: differences(found, metric) for metric in METRICS}
        for index in range(split, sweeps, splits):
            found = sweep(data, FEW, first=known + index * SEEDS, count=SEEDS, **SPLIT)
            for metric in METRICS:
                coverage.add(found, metric, truth[metric])
    note = f"seed intervals: {splits} splits, truth over {known:,} other seeds of each"
    return coverage.rates(f"{SEEDS} seeds, one split", "93 to 97 %"), note


def fold_intervals(sweeps: int) -> tuple[list[Rate], list[dict[str, Any]], str]:
    """Returns how often the interval over folds contains the expected difference; and the `choices`."""
    coverage, chosen = Coverage(), defaultdict(list)
    fresh = defaultdict(list)
    for index in range(sweeps):
        test = draw(3, index, samples=FRESH_SAMPLES)
        found = sweep(draw(2, index), L2, first=index, count=1, folds=FOLDS, test=test)
        for metric in METRICS:
            fresh[metric].append(differences(found, metric.replace("val", "test")))
    truth = {metric: np.mean(found, axis=0) for metric, found in fresh.items()}
    for index in range(sweeps):
        first = sweeps + index * PER_FOLD
        test = draw(5, index, samples=FRESH_SAMPLES)
        found = sweep(draw(4, index), L2, first=first, count=PER_FOLD, folds=FOLDS, test=test)
        for metric in METRICS:
            coverage.add(found, metric, truth[metric])
            chosen[metric].append(choices(found, metric))
    errors = [f"{np.max(np.std(found, axis=0)) / sweeps**0.5:.4f} ({m})" for m, found in fresh.items()]
    note = f"fold intervals: truth over {sweeps:,} other data sets, standard error {', '.join(errors)}"
    rates = coverage.rates(f"{FOLDS} folds × {PER_FOLD} seeds", "at least 93 %")
    return rates, [summarise(metric, found) for metric, found in chosen.items()], note


# -- families ---------------------------------------------------------------------------------------------


def family_intervals(sweeps: int, harmless: int) -> list[Rate]:
    """Returns how often a sweep in which nothing can help has a false verdict."""
    b1 = {"b1": [0.9, *np.linspace(0.1, 0.8, harmless).tolist()]}
    by_chance: dict[str, Any] = {"axes": b1, "pairing": "independent"}
    of_coins: dict[str, Any] = {"axes": MANY}
    cases: list[tuple[str, bool, int, dict[str, Any]]] = [
        (f"{harmless} by chance, one split × {SEEDS} seeds", False, SEEDS, by_chance | SPLIT),
        (f"{harmless} by chance, {FOLDS} folds × 1 seed", False, 1, by_chance | {"folds": FOLDS}),
        (f"15 on coins, one split × {SEEDS} seeds", True, SEEDS, of_coins | SPLIT),
        (f"15 on coins, {FOLDS} folds × {PER_FOLD} seeds", True, PER_FOLD, of_coins | {"folds": FOLDS}),
    ]
    rates = []
    for stream, (name, coins, count, options) in enumerate(cases):
        # On coins the expected loss does depend on a regulariser; the expected accuracy does not.
        metrics = METRICS[1:] if coins else METRICS
        hits: dict[tuple[str, str], list[bool]] = defaultdict(list)
        for index in range(sweeps):
            found = sweep(draw(6, stream, index, coins=coins), first=index * count, count=count, **options)
            for metric in metrics:
                table = found.compare(None if coins else {"b1": 0.9}, metric=metric).table
                verdicts = set(table["verdict"])
                plain = bool(np.any(table["low"] * table["high"] > 0))
                hits[metric, "helps"].append("helps" in verdicts)
                hits[metric, "helps or hurts"].append(not verdicts.isdisjoint(("helps", "hurts")))
                hits[metric, "a plain interval excludes 0"].append(plain)
        for (metric, what), found in hits.items():
            asked = "at most 5 %" if what == "helps" else ""
            rates.append(rate(f"{name}, {metric}: {what}" if asked else f"  {what}", asked, found))
    return rates


# -- choices ----------------------------------------------------------------------------------------------


def choices(found: regjax.Results, metric: str) -> dict[str, float]:
    """Returns the choices of both rules in a sweep, with their validation, corrected and fresh means."""
    fresh = found.units(metric.replace("val", "test")).mean(axis=1)
    entry = {f"fresh {index}": float(value) for index, value in enumerate(fresh)}
    for rule in ("mean", "one_se"):
        choice = found.best(metric, rule)
        assert choice.corrected is not None
        entry |= {f"{rule} index": choice.index, f"{rule} fresh": fresh[choice.index]}
        entry |= {f"{rule} validation": choice.validation, f"{rule} corrected": choice.corrected}
    # What validation is off by where nothing is chosen: small stratified folds have the labels' shares of
    # their training part, fresh samples have not.
    return entry | {"validation": float(found.units(metric).mean()), "fresh": float(fresh.mean())}


def summarise(metric: str, found: list[dict[str, float]]) -> dict[str, Any]:
    """Returns means over sweeps with their standard errors, "mean" and "se" each."""
    of = {name: np.array([choice[name] for choice in found]) for name in found[0]}

    def mean(values: np.ndarray) -> dict[str, float]:
        error = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        return {"mean": float(np.mean(values)), "se": error}

    result: dict[str, Any] = {"metric": metric}
    for rule in ("mean", "one_se"):
        fresh, index = of[f"{rule} fresh"], of[f"{rule} index"].astype(int)
        result[f"fresh, rule {rule}"] = mean(fresh)
        result[f"validation - fresh, rule {rule}"] = mean(of[f"{rule} validation"] - fresh)
        result[f"corrected - fresh, rule {rule}"] = mean(of[f"{rule} corrected"] - fresh)
        result[f"l2 by rule {rule}"] = {f"{l2:g}": int(np.sum(index == i)) for i, l2 in enumerate(L2["l2"])}
    result["validation - fresh, all configurations"] = mean(of["validation"] - of["fresh"])
    result["fresh, one_se - mean"] = mean(of["one_se fresh"] - of["mean fresh"])
    result["share of sweeps in which both agree"] = float(np.mean(of["mean index"] == of["one_se index"]))
    for index, l2 in enumerate(L2["l2"]):
        result[f"fresh, l2={l2:g} always"] = mean(of[f"fresh {index}"])
    return result


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=1000, help="of each claim")
    parser.add_argument("--harmless", type=int, default=16, help="configurations that differ by chance")
    parser.add_argument("--json")
    options = parser.parse_args()
    began = time.perf_counter()
    seeds, seeds_note = seed_intervals(options.sweeps)
    folds, chosen, folds_note = fold_intervals(options.sweeps)
    rates = [*seeds, *folds, *family_intervals(options.sweeps, options.harmless)]
    print(f"{'claim':<70}{'asked':<15}{'found':>8}{'95 % interval':>19}{'counted':>9}")
    for r in rates:
        between = f"{r.low:.1%} to {r.high:.1%}"
        print(f"{r.claim:<70}{r.asked:<15}{r.found:>8.1%}{between:>19}{r.trials:>9,}")
    print(f"{seeds_note}\n{folds_note}")
    for result in chosen:
        print()
        for name, value in result.items():
            is_mean = isinstance(value, dict) and "se" in value
            print(f"{name:<42}", f"{value['mean']:.4f} (se {value['se']:.4f})" if is_mean else value)
    seconds = time.perf_counter() - began
    print(f"\n{seconds:.0f} s")
    claims = [r._asdict() for r in rates]
    context = {"sweeps": options.sweeps, "harmless": options.harmless, "seconds": seconds}
    write(options.json, {**context, "claims": claims, "notes": [seeds_note, folds_note], "choices": chosen})


if __name__ == "__main__":
    main()
