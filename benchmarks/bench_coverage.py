"""Measures over simulated sweeps of known truth whether intervals hold and verdicts are true.

    python -m benchmarks.bench_coverage [--sweeps 1000] [--harmless 16] [--parts NAMES] [--json PATH]

All of it goes through `regjax.sweep` and the methods of `Results`, and every network is trained: 4-8-1, 60
steps, 40 samples of which a fifth has its label flipped, unless a part says otherwise. Each part is a file of
benchmarks/coverage, which says what it simulates.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

from benchmarks.coverage import families, one_question, power, single
from benchmarks.coverage.common import Part
from benchmarks.measure import write


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=1000, help="of each claim")
    parser.add_argument("--harmless", type=int, default=16, help="configurations that differ by chance")
    parser.add_argument("--parts", default="single,families,one_question,power")
    parser.add_argument("--json")
    options = parser.parse_args()
    parts: dict[str, Callable[[int], Part]] = {
        "single": single.part,
        "families": functools.partial(families.part, harmless=options.harmless),
        "one_question": one_question.part,
        "power": power.part,
    }
    began, found = time.perf_counter(), {}
    for name in options.parts.split(","):
        started = time.perf_counter()
        found[name] = parts[name](options.sweeps)
        show(found[name])
        print(f"{name}: {time.perf_counter() - started:.0f} s\n", flush=True)
    seconds = time.perf_counter() - began
    print(f"{seconds:.0f} s")
    claims = [r._asdict() for part in found.values() for r in part.rates]
    notes = [note for part in found.values() for note in part.notes]
    tables = {name: part.tables for name, part in found.items()}
    context = {"sweeps": options.sweeps, "harmless": options.harmless, "seconds": seconds}
    write(options.json, {**context, "claims": claims, "notes": notes, "tables": tables})


def show(part: Part) -> None:
    """Prints the claims of a part, its notes and its other numbers."""
    print(f"{'claim':<70}{'asked':<15}{'found':>8}{'95 % interval':>19}{'counted':>9}")
    for r in part.rates:
        between = f"{r.low:.1%} to {r.high:.1%}"
        print(f"{r.claim:<70}{r.asked:<15}{r.found:>8.1%}{between:>19}{r.trials:>9,}")
    print("\n".join(part.notes))
    for table in part.tables:
        print()
        for name, value in table.items():
            is_mean = isinstance(value, dict) and "se" in value
            print(f"{name:<70}", f"{value['mean']:.4f} (se {value['se']:.4f})" if is_mean else value)


if __name__ == "__main__":
    main()
