"""False verdicts of families in which nothing can help, and true ones where something does.

- Nothing can help: configurations that differ by chance alone (values of b1, which "sgd" does not read, with
  pairing="independent"); or true regularisers on labels that are coins, where every network's expected
  accuracy on new samples is ½: of strongly correlated differences (32 nearly equal strengths), of spreads
  that differ many times (strengths from 0.001 to 10), and few.
- Planted effects: two of 120 features count, so that l1 gains about 15 points of accuracy. What is found is
  counted beside what Bonferroni finds with each difference's own variance, in the same sweeps.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from scipy import stats

import regjax
from benchmarks.coverage.common import (
    FOLDS,
    MANY,
    METRICS,
    PER_FOLD,
    SEEDS,
    SPLIT,
    Part,
    Rate,
    draw,
    mean,
    rate,
    sweep,
)

HARMLESS = 16
NEAR = {"l2": [0.0, *np.linspace(1.0, 1.2, 32).tolist()]}
RANGE = {"l2": [0.0, *np.geomspace(1e-3, 10.0, 24).tolist()]}
THREE = {"l2": [0.0, 0.3, 1.0, 3.0]}
PLANTED = {"l1": [0.0, 2.0, 4.0, 8.0], "input_keep_prob": [1.0, 0.8, 0.6]}
PLANTED_SAMPLES, PLANTED_FEATURES = 320, 120
LINEAR = regjax.Config(layer_sizes=(PLANTED_FEATURES, 1), num_steps=60, eval_every=60)


def part(sweeps: int, harmless: int = HARMLESS) -> Part:
    """Returns the rates of false verdicts, and the power beside Bonferroni's."""
    power, table = planted(sweeps)
    note = (
        f"power: {sweeps:,} data sets of {PLANTED_SAMPLES} samples, two of {PLANTED_FEATURES} features count"
    )
    return Part([*false_verdicts(sweeps, harmless), *power], [note], [table])


def false_verdicts(sweeps: int, harmless: int) -> list[Rate]:
    """Returns how often a sweep in which nothing can help has a false verdict."""
    b1 = {"b1": [0.9, *np.linspace(0.1, 0.8, harmless).tolist()]}
    chance: dict[str, Any] = {"axes": b1, "pairing": "independent"}
    folds = {"folds": FOLDS}
    cases: list[tuple[str, bool, int, dict[str, Any]]] = [
        (f"{harmless} by chance, one split × {SEEDS} seeds", False, SEEDS, chance | SPLIT),
        (f"{harmless} by chance, {FOLDS} folds × 1 seed", False, 1, chance | folds),
        (f"15 on coins, one split × {SEEDS} seeds", True, SEEDS, {"axes": MANY} | SPLIT),
        (f"15 on coins, {FOLDS} folds × {PER_FOLD} seeds", True, PER_FOLD, {"axes": MANY} | folds),
        (f"3 on coins, {FOLDS} folds × {PER_FOLD} seeds", True, PER_FOLD, {"axes": THREE} | folds),
        (f"32 nearly equal on coins, {FOLDS} folds × 1 seed", True, 1, {"axes": NEAR} | folds),
        (f"24 of any spread on coins, {FOLDS} folds × 1 seed", True, 1, {"axes": RANGE} | folds),
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
            asked = "" if what.startswith("a plain") else "at most 5 %"
            rates.append(rate(f"{name}, {metric}: {what}" if what == "helps" else f"  {what}", asked, found))
    return rates


def planted(sweeps: int) -> tuple[list[Rate], dict[str, Any]]:
    """Returns the share of true effects found, ours and Bonferroni's, where Bonferroni finds 20 to 60 %."""
    ours, bonferroni, effects = [], [], []
    for index in range(sweeps):
        rng = np.random.default_rng((9, index))
        X = rng.normal(size=(PLANTED_SAMPLES, PLANTED_FEATURES))
        grid = regjax.grid(**PLANTED, learning_rate=1.0)
        data = X, (X[:, 0] + X[:, 1] > 0).astype(int)
        found = regjax.sweep(data, LINEAR, grid, seeds=[index], folds=FOLDS, keep="none", progress=False)
        ours.append((found.compare().table["verdict"] == "helps").to_numpy())
        units = found.units("val_accuracy")
        d = units[1:] - units[0]
        # As before: each difference's own variance, and the t of FOLDS - 1 degrees of freedom.
        se = np.std(d, axis=1, ddof=1) * (1 / FOLDS + 1 / (FOLDS - 1)) ** 0.5
        reach = stats.t.ppf(1 - 0.025 / len(d), FOLDS - 1)
        bonferroni.append((se > 0) & (d.mean(axis=1) > reach * se))
        effects.append(d.mean(axis=1))
    share, before = np.mean(ours, axis=0), np.mean(bonferroni, axis=0)
    asked = (before >= 0.2) & (before <= 0.6)
    names = [
        f"l1={one:g}, input_keep_prob={other:g}"
        for one in PLANTED["l1"]
        for other in PLANTED["input_keep_prob"]
    ]
    rates = []
    for place, name in enumerate(names[1:]):
        effect = f"{100 * np.mean(effects, axis=0)[place]:+.1f} points"
        rates.append(rate(f"found: {name} ({effect})", "", np.array(ours)[:, place]))
        rates.append(rate("  by Bonferroni", "", np.array(bonferroni)[:, place]))
    ratio = np.array(ours)[:, asked].sum(axis=1), np.array(bonferroni)[:, asked].sum(axis=1)
    table: dict[str, Any] = {
        "true effects found": mean(share[asked]) if asked.any() else {},
        "by Bonferroni": mean(before[asked]) if asked.any() else {},
        "times as many (asked 1.3)": float(ratio[0].sum() / max(1, ratio[1].sum())),
        "configurations of which Bonferroni finds 20 to 60 %": int(asked.sum()),
    }
    return rates, table
