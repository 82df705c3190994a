"""Whether `regjax sweep FILE --target NAME` says "helps" where a regulariser plainly does, and not on coins.

    python -m benchmarks.bench_helps RESULTS.jsonl [--shuffles 100] [--sets NAME …]

Two public tables of thousands of rows and many noisy columns, on which a network without a regulariser
learns its training rows by heart: the gain is above ten points. Each is swept once as it is, with the
defaults of the command line, and then with its target shuffled, when nothing can help: "helps" must then come
in at most 5 %. A line of RESULTS holds a sweep, which is not made again.

Shuffles are ranked by the balanced accuracy, which is 1/K in expectation for any network then; real targets
are cut at their median for it. By the accuracy of classes of unequal size, or by R², a regulariser does help
on a shuffled target: a network that has learned noise by heart is worse than a constant. Shuffles have one
seed and a tenth of the steps, which changes neither the question nor its evidence, five folds.

The data are in the package of the extra `tables`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.bench_tune import append, read
from benchmarks.public_tables import TABLES, frame_of

SETS = ("personality", "public spending")
REAL = ("public spending",)
# What a shuffle has less of than the defaults: 60 networks of 3,000 steps for 240 of 30,000.
LESS = {"seeds": "1", "num_steps": "3000", "metric": "val_balanced_accuracy"}


def sweep(name: str, shuffle: int | None, flags: dict[str, str]) -> dict[str, Any]:
    """Returns a sweep of the command line's defaults as a line of the results.

    Args:
        name: key of `public_tables.TABLES`.
        shuffle: seed by which the target is shuffled; None leaves it as it is.
        flags: flags of the command line besides.
    """
    from regjax.cli.spec import resolve
    from regjax.engine.sweep import run
    from regjax.study.resolve import make_design

    package, item, target = TABLES[name]
    frame = frame_of(package, item)
    frame = frame[frame[target].notna()].reset_index(drop=True)
    if shuffle is not None:
        y = frame[target].to_numpy()
        if name in REAL:
            y = np.where(y > np.median(y), "above", "below")
        frame[target] = np.random.default_rng(shuffle).permutation(y)
    # The name of a file, which is not read, asks for the defaults of tables.
    spec = resolve(None, {"data": f"{item}.csv", "target": target, "store": "none", **flags})
    design = make_design(**{**spec.arguments(), "data": frame})
    began = time.perf_counter()
    results: Any = run(design, None, questions=spec.questions)
    metric = spec.questions.metric
    found, table = results.compare_choice(metric=metric), results.compare(metric=metric).table
    return {
        "set": name, "shuffle": shuffle, "flags": flags, "rows": len(frame), "metric": found.metric,
        "difference": found.difference, "low": found.low, "high": found.high, "verdict": found.verdict,
        "sentence": found.sentence, "family": table["verdict"].value_counts().to_dict(),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def in_words(lines: list[dict[str, Any]]) -> str:
    """Returns what was found, a paragraph a data set."""
    text = []
    for name in SETS:
        own = [line for line in lines if line["set"] == name]
        text += [f"{name}: {line['sentence']}" for line in own if line["shuffle"] is None]
        shuffled = [line for line in own if line["shuffle"] is not None]
        if not shuffled:
            continue
        for words, hits in (
            ("the one question", [line["verdict"] == "helps" for line in shuffled]),
            ("any of the family", [line["family"].get("helps", 0) > 0 for line in shuffled]),
        ):
            between = stats.binomtest(sum(hits), len(hits)).proportion_ci()
            text.append(
                f'  {words} says "helps" on {sum(hits)} of {len(hits)} shuffles '
                f"[{between.low:.1%}, {between.high:.1%}]"
            )
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> None:
    """Makes the sweeps that are missing, and says what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", metavar="RESULTS.jsonl", type=Path)
    parser.add_argument("--shuffles", type=int, default=100)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="NAME")
    given = parser.parse_args(arguments)
    known = {(line["set"], line["shuffle"]) for line in read(given.results)}
    for shuffle in (None, *range(given.shuffles)):
        for name in given.sets:
            if (name, shuffle) in known:
                continue
            line = sweep(name, shuffle, {} if shuffle is None else LESS)
            append(given.results, line)
            print(f"{name}, shuffle {shuffle}: {line['sentence']}", file=sys.stderr, flush=True)
    print(in_words(read(given.results)))


if __name__ == "__main__":
    main()
