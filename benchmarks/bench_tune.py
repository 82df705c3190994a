"""What `regjax.tune` finds in 15 s, beside searches that users have, at equal wall time.

    python -m benchmarks.bench_tune RESULTS.jsonl [--splits 10] [--seconds 15] [--sets …] [--opponents …]

For each data set of `tune_tables`, each of ten outer splits and each opponent of `tune_peers` one search on
80 % of the rows, whose network is scored on the others: accuracy, or R². Each search has a process of its own
and the machine to itself; imports and a first training are not counted, compiling is. A line of RESULTS holds
a search: those that are there are not made again, so that the whole (88 minutes of searching) may be
interrupted. Half of the splits on each of two cores, by `taskset` and `--first`, take half as long.
At the end stands the table: mean scores, the paired difference of `regjax.tune` with its corrected resampled
t interval, candidates tried and networks a second. `--table` prints it alone.

The extras `bench`, `tables` and `optuna` have what it needs, and REGJAX_DATA_MAT names data.mat.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import context
from benchmarks.tune_peers import NEEDS, OPPONENTS
from benchmarks.tune_tables import OUTER, SETS, TEST, load
from regjax.study.intervals import over_units

OURS = "regjax.tune"


def one(name: str, split: int, opponent: str, seconds: float) -> dict[str, Any]:
    """Returns a search as a line of the results.

    Args:
        name: key of `tune_tables.SETS`.
        split: number of the outer split, also the seed of the search.
        opponent: key of `tune_peers.OPPONENTS`.
        seconds: what it may take.
    """
    problem = load(name)
    train, test = problem.split(split)
    search = OPPONENTS[opponent](problem, train, test, split)
    began = time.perf_counter()
    found = search(seconds)
    took = time.perf_counter() - began
    return {
        "set": name, "split": split, "opponent": opponent, "budget": seconds, "seconds": took,
        "score": problem.score(found.predicted, test), "metric": "R²" if problem.real else "accuracy",
        "rows": len(problem.frame), "tried": found.tried, "networks": found.networks, "best": found.best,
    }  # fmt: skip


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the searches that a file holds; a last line that was cut off is none."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text("utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def append(path: Path, line: dict[str, Any]) -> None:
    """Adds a search to a file, after a last line that may have been cut off."""
    cut = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + json.dumps(line) + "\n")


def missing(done: list[dict[str, Any]], given: argparse.Namespace) -> Iterator[tuple[int, str, str]]:
    """Yields split, data set and opponent of each search that is not done, so that splits fill one by one."""
    known = {(line["split"], line["set"], line["opponent"], line["budget"]) for line in done}
    for split in range(given.first, given.first + given.splits):
        for name in given.sets:
            for opponent in given.opponents:
                if (split, name, opponent, given.seconds) not in known:
                    yield split, name, opponent


def as_markdown(lines: list[dict[str, Any]], seconds: float) -> str:
    """Returns a table with a line per data set and opponent: means over the splits that both have."""
    text = (
        "| data set | opponent | splits | score | regjax.tune less it | tried | networks/s | seconds |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    of: dict[tuple[str, str], dict[int, Any]] = {}
    for line in lines:
        if line["budget"] == seconds:
            of.setdefault((line["set"], line["opponent"]), {})[line["split"]] = line
    for name in SETS:
        ours = of.get((name, OURS), {})
        for opponent in OPPONENTS:
            theirs = of.get((name, opponent), {})
            if theirs:
                text += _line(name, opponent, ours, theirs)
    return text


def _line(name: str, opponent: str, ours: dict[int, Any], theirs: dict[int, Any]) -> str:
    """Returns a line of the table; `ours` and `theirs` map the number of a split to a search."""

    def mean(key: str) -> float:
        return float(np.mean([line[key] for line in theirs.values()]))

    words, both = "", sorted(ours.keys() & theirs.keys())
    if opponent != OURS and both:
        differences = np.array([ours[split]["score"] - theirs[split]["score"] for split in both])
        found = over_units(differences, 1 / len(both) + TEST / (1 - TEST))
        words = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    rate = float(np.mean([line["networks"] / line["seconds"] for line in theirs.values()]))
    first = next(iter(theirs.values()))
    score = f"{first['metric']} {mean('score'):.3f}"
    return (
        f"| {name} ({first['rows']:,} rows) | {opponent} | {len(theirs)} | {score} | {words} "
        f"| {mean('tried'):,.0f} | {rate:,.1f} | {mean('seconds'):.1f} |\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Makes the searches that are missing, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", metavar="RESULTS.jsonl", type=Path)
    parser.add_argument("--splits", type=int, default=OUTER, help="outer splits, 10 by default")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each search")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="NAME")
    parser.add_argument("--opponents", nargs="+", choices=OPPONENTS, default=list(OPPONENTS), metavar="NAME")
    parser.add_argument("--table", action="store_true", help="search nothing")
    parser.add_argument("--one", nargs=3, metavar=("SET", "SPLIT", "OPPONENT"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        name, split, opponent = given.one
        print(json.dumps(one(name, int(split), opponent, given.seconds)))
        return
    todo = [] if given.table else list(missing(read(given.results), given))
    needed = {module for _, _, opponent in todo for module in NEEDS.get(opponent, ())}
    lacking = sorted(module for module in needed if importlib.util.find_spec(module) is None)
    if lacking:
        parser.error(f"the opponents must have {' and '.join(lacking)}: install the extras bench and optuna")
    if any(opponent == OURS for _, _, opponent in todo):
        _warm_up(given.results)
    for number, (split, name, opponent) in enumerate(todo):
        line = _in_a_process(given.results, name, split, opponent, given.seconds) | context()
        append(given.results, line)
        shown = f"{line['score']:.3f}, {line['tried']:,} tried in {line['seconds']:.1f} s"
        print(
            f"{number + 1} of {len(todo)}: {name}, split {split}, {opponent}: {shown}",
            file=sys.stderr,
            flush=True,
        )
    print(as_markdown(read(given.results), given.seconds))


def _warm_up(results: Path) -> None:
    """Builds the native kernel, which a user's machine does once."""
    _in_a_process(results, next(iter(SETS)), 0, OURS, 1.0)


def _in_a_process(results: Path, name: str, split: int, opponent: str, seconds: float) -> dict[str, Any]:
    """Returns the line of a search that a process of its own makes."""
    words = [str(results), "--seconds", str(seconds), "--one", name, str(split), opponent]
    command = [sys.executable, "-m", "benchmarks.bench_tune", *words]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{opponent} on {name}, split {split}, failed:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
