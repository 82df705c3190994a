"""Compares regjax with other ways to train many networks, and with the limits of this machine.

    python -m benchmarks [--quick] [--check] [--device cpu|gpu] [--results FOLDER]
    python -m benchmarks step module:function      # a training step of yours beside regjax's; see step.py

Prints one table, and writes results/*.json and the pictures of the README. `--check` holds the ratios of a
quick run to benchmarks/bounds.toml and exits with 1 where one is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import re
import sys
import time
import tomllib
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.table import Table

from benchmarks import figures, growth, limits, step, table
from benchmarks.device import use_device
from benchmarks.measure import number, spread, write
from benchmarks.opponents import OPPONENTS
from benchmarks.problems import SIZES, Problem, problems
from regjax.study.provenance import device, processor

HERE = Path(__file__).parent
BOUNDS = HERE / "bounds.toml"
PICTURES = HERE.parent / "docs" / "pictures"
QUICK_SIZES = (16, 256)
BEGAN = time.perf_counter()
TITLE = """µs per network and step: median ± half of what lies between the fastest and the slowest repetition;
and × regjax's; "by 16": fastest in pieces of 16 networks. NumPy, scikit-learn, PyTorch and torch.compile
train one network after the other, small ones on one core; NumPy, scikit-learn and the loop in C on the CPU,
whatever the device."""

console = Console(width=None if sys.stdout.isatty() else 150)


def show(cells: list[table.Cell]) -> Table:
    """Returns the table, a line per problem and opponent, a column per number of networks."""
    found = Table(title=TITLE)
    sizes = list(dict.fromkeys(c.rows for c in cells))
    for column in ("problem", "opponent"):
        found.add_column(column)
    for size in sizes:
        found.add_column(f"{size:,} network{'s' if size > 1 else ''}", justify="right")
    by_key = {(c.problem, c.opponent, c.rows): c for c in cells}
    for problem in dict.fromkeys(c.problem for c in cells):
        found.add_section()
        for name in dict.fromkeys(c.opponent for c in cells):
            found.add_row(problem, name, *(_shown(by_key.get((problem, name, size))) for size in sizes))
    return found


def _shown(cell: table.Cell | None) -> str:
    if cell is None or cell.us is None:
        return "–"
    us = cell.us
    times = "" if cell.opponent == "regjax" or cell.ratio is None else f"  {cell.ratio['median']:>5.3g}×"
    piece = ""
    if cell.piece < cell.rows and OPPONENTS[cell.opponent].at_a_time is None:
        piece = f" by {cell.piece}"
    return f"{number(us['median'], 3)} ± {number((us['max'] - us['min']) / 2, 2)}{piece}{times}"


def efficiency(cells: list[table.Cell], known: list[Problem], matrix: float) -> list[dict[str, Any]]:
    """Returns the GFLOP/s of the products in each measurement of regjax, also as a fraction of the limit."""
    found = []
    by_name = {problem.name: problem for problem in known}
    for cell in cells:
        if cell.opponent != "regjax" or cell.us is None:
            continue
        problem = by_name[cell.problem]
        gflops, at_best = (problem.operations / cell.us[which] / 1e3 for which in ("median", "min"))
        found.append(
            {
                "problem": cell.problem,
                "rows": cell.rows,
                "gflops": gflops,
                "of_limit": gflops / matrix,
                "of_limit_at_best": at_best / matrix,
                "intensity": problem.operations / problem.bytes_moved,
            }
        )
    return found


def bounds_of(wanted: list[Problem], sizes: Iterable[int], names: Iterable[str]) -> dict[str, float]:
    """Returns the bounds of benchmarks/bounds.toml for these problems, numbers of networks and opponents."""
    asked = tuple(f"{p.name}, {size}, " for p in wanted for size in sizes)
    of = tuple(f", {name}" for name in (*names, "of the limit"))
    every = tomllib.loads(BOUNDS.read_text())["at_least"]
    return {key: least for key, least in every.items() if key.startswith(asked) and key.endswith(of)}


def broken_bounds(cells: list[table.Cell], extra: dict[str, float], bounds: dict[str, Any]) -> list[str]:
    """Returns a sentence for each bound that is broken in every repetition.

    On a shared machine one slow repetition says little: a bound holds if the best repetition keeps it.

    Args:
        cells: the measurements of a table.
        extra: other ratios by name.
        bounds: the least of how many times as long as regjax an opponent takes, by "problem, networks,
            opponent", and of the other ratios.
    """
    found = {f"{c.problem}, {c.rows}, {c.opponent}": c.ratio["max"] for c in cells if c.ratio} | extra
    sentences = []
    for name, bound in bounds.items():
        if name not in found:
            sentences.append(f"{name}: was not measured")
        elif found[name] < bound:
            sentences.append(f"{name}: {found[name]:.3g}, must be at least {bound:g}")
    return sentences


class Asked(NamedTuple):
    """What a run measures, and where its results go.

    Attributes:
        problems: the problems of the table.
        names: the opponents of the table.
        sizes: the numbers of networks of the table.
        parts: the parts to measure, of "table", "growth" and "first".
        check: whether the table's ratios are compared with benchmarks/bounds.toml.
        seconds: about the seconds of a repetition.
        repeats: how many repetitions.
        device: "cpu" or "gpu".
        folder: the folder of the .json files.
        pictures: the folder of the pictures.
        whole: whether everything is measured. A part never takes the place of a whole result.
    """

    problems: list[Problem]
    names: list[str]
    sizes: list[int]
    parts: list[str]
    check: bool
    seconds: float
    repeats: int
    device: str
    folder: Path
    pictures: Path
    whole: bool

    @property
    def suffix(self) -> str:
        """The end of the files' names: that of the device."""
        return "" if self.device == "cpu" else f"_{self.device}"

    def save(self, name: str, found: dict[str, Any]) -> None:
        """Writes results to the folder."""
        path = self.folder / f"{name}{self.suffix}{'' if self.whole else '_part'}.json"
        asked = {"seconds": self.seconds, "repeats": self.repeats, "took": time.perf_counter() - BEGAN}
        write(str(path), {"opponents": _versions(), "processor": processor(), "asked": asked, **found})

    def picture(self, name: str, draw: Callable[..., Any], *of: Any) -> None:
        """Draws a picture of results where they are whole."""
        if self.whole:
            self.pictures.mkdir(parents=True, exist_ok=True)
            draw(*of, _machine(self.device)).savefig(self.pictures / f"{name}{self.suffix}.png", dpi=110)


def main(arguments: list[str] | None = None) -> int:
    """Prints the table, or with "step" what `benchmarks.step` finds; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["step"]:
        return step.main(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.check and options.device != "cpu":
        parser.error("--check must go with --device cpu, on which its bounds were measured")
    if options.check and "table" not in (options.parts or ["table"]):
        parser.error("--check must go with the part table, whose ratios its bounds are of")
    try:
        use_device(options.device)
    except RuntimeError as error:
        parser.error(f"--device {options.device}: JAX has none here ({error})")
    known = problems()  # not before the device is chosen: drawing them starts it
    if unknown := set(options.problems or ()) - {p.name for p in known}:
        parser.error(f"--problems must be of {[p.name for p in known]}, got {sorted(unknown)}")
    warnings.filterwarnings("ignore", module="torch")  # it warns about the compiler options it was given
    asked = _asked(options, known)
    asked.folder.mkdir(parents=True, exist_ok=True)
    bounds = bounds_of(asked.problems, asked.sizes, asked.names) if asked.check else {}
    if asked.check and not bounds:  # before minutes of measuring
        console.print("broken: benchmarks/bounds.toml has no bound for what was asked for", style="red")
        return 1
    broken: list[str] = []
    interrupted = False
    if "table" in asked.parts:
        interrupted, ratios, cells = _table(asked)
        if asked.check and not interrupted:
            broken = broken_bounds(cells, ratios, bounds)
    if "growth" in asked.parts and not interrupted:
        _growth(asked)
    if "first" in asked.parts and not interrupted:
        _first_minutes(asked)
    for line in broken:
        console.print(f"broken: {line}", style="red")
    if interrupted:
        return 130
    if asked.check and not broken:
        console.print(f"all {len(bounds)} ratios are within benchmarks/bounds.toml")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and opponents, in under 3 minutes")
    parser.add_argument("--check", action="store_true", help="hold the ratios to bounds.toml, after --quick")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--results", default=str(HERE / "results"), help="folder of the .json files")
    parser.add_argument("--pictures", default=str(PICTURES), help="folder of the pictures")
    parser.add_argument("--problems", nargs="*", help="their names; all by default")
    parser.add_argument("--sizes", nargs="*", type=int, choices=SIZES, help="numbers of networks")
    parser.add_argument("--opponents", nargs="*", choices=list(OPPONENTS), help="all by default")
    words = "all by default; the table alone where an option of it is given"
    parser.add_argument("--parts", nargs="*", choices=("table", "growth", "first"), help=words)
    parser.add_argument("--seconds", type=float, help="of a repetition")
    parser.add_argument("--repeats", type=int)
    return parser


def _asked(options: argparse.Namespace, known: list[Problem]) -> Asked:
    """Returns what is measured: what the options name, else all, or the quick part of it."""
    quick = options.quick or options.check
    of_table = quick or options.problems or options.sizes or options.opponents
    return Asked(
        problems=[p for p in known if not options.problems or p.name in options.problems],
        names=options.opponents or [n for n, o in OPPONENTS.items() if o.quick or not quick],
        sizes=options.sizes or list(QUICK_SIZES if quick else SIZES),
        parts=options.parts or (["table"] if of_table else ["table", "growth", "first"]),
        check=options.check,
        seconds=options.seconds or (0.15 if quick else 0.2),
        repeats=options.repeats or 3,
        device=options.device,
        folder=Path(options.results),
        pictures=Path(options.pictures),
        whole=not (of_table or options.seconds or options.repeats),
    )


def _machine(kind: str) -> str:
    """Returns the name of the device, and for a CPU its cores."""
    if kind != "cpu":
        return device()
    cores = len(os.sched_getaffinity(0))
    # Without the names of its vector instructions.
    return f"{re.sub(r' (sse|asimd).*', '', processor())}, {cores} core{'s' if cores > 1 else ''}"


def _table(asked: Asked) -> tuple[bool, dict[str, float], list[table.Cell]]:
    """Measures, prints and saves the table.

    Returns:
        Whether it was interrupted; for each figure of regjax the part of the limit that it reaches at best;
        and the cells.
    """
    (products, library), (triad, triad_library) = limits.matrix_rate(), limits.memory_rate()
    matrix, memory = max(products), max(triad)  # a limit: the best that was seen
    whole_cells, compiling, interrupted = _measured(asked)
    if interrupted:
        asked = asked._replace(whole=False)
    cells = table.in_pieces(whole_cells)
    points = efficiency(cells, asked.problems, matrix)
    console.print(show(cells))
    limit = {
        "products": spread(products), "products_library": library,
        "memory": spread(triad), "memory_library": triad_library,
    }  # fmt: skip
    found: dict[str, Any] = {
        "cells": [c._asdict() for c in cells], "in_one_piece": [c._asdict() for c in whole_cells],
        "limits": limit, "regjax": points,
    }  # fmt: skip
    _print_limits(cells, points, limit)
    if compiling:
        found["compiling"] = compiling
        found["break_even"] = {
            p.name: table.break_even([c for c in cells if c.problem == p.name], p, compiling[p.name])
            for p in asked.problems
        }
        _print_break_even(found["break_even"], compiling, asked.problems)
    asked.save("table", found)
    asked.picture("benchmarks", figures.costs, found["cells"])
    asked.picture("roofline", figures.roofline, points, matrix, memory)
    ratios = {f"{p['problem']}, {p['rows']}, of the limit": p["of_limit_at_best"] for p in points}
    return interrupted, ratios, cells


def _measured(asked: Asked) -> tuple[list[table.Cell], dict[str, float], bool]:
    """Returns the cells, the seconds of compiling by problem, and whether Ctrl-C cut it short."""
    cells: list[table.Cell] = []
    try:
        how: dict[str, Any] = {"names": asked.names, "seconds": asked.seconds, "repeats": asked.repeats}
        for measured in table.measure(asked.problems, asked.sizes, **how, say=_say):
            cells += measured
        return cells, {p.name: _compiling(p) for p in asked.problems} if 1 in asked.sizes else {}, False
    except KeyboardInterrupt:
        if not cells:
            raise
        console.print("interrupted: what was measured until then", style="red")
        return cells, {}, True


def _growth(asked: Asked) -> None:
    found = growth.growth(asked.seconds, asked.repeats, _say)
    asked.save("growth", found)
    asked.picture("growth", figures.growing, found)
    console.print(_growth_table(found))


def _first_minutes(asked: Asked) -> None:
    first = growth.first_minutes(min(asked.repeats, 2), _say)
    asked.save("first_minutes", first)
    for name, times in first.items():
        console.print(f"{name}: " + ", ".join(f"{w} {_seconds(s)}" for w, s in times.items()))


def _versions() -> dict[str, str]:
    """Returns the versions of the libraries that are compared."""
    found = {}
    for name in ("scikit-learn", "torch", "equinox", "flax"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _say(words: str) -> None:
    minutes, seconds = divmod(int(time.perf_counter() - BEGAN), 60)
    print(f"{minutes:3d}:{seconds:02d}  {words}", file=sys.stderr, flush=True)


def _seconds(times: dict[str, Any]) -> str:
    return f"{times['median']:.2f} s ({times['min']:.2f} to {times['max']:.2f})"


def _compiling(problem: Problem) -> float:
    """Returns the seconds that regjax compiles for in a first process."""
    return growth.in_a_process(
        layer_sizes=list(problem.layer_sizes),
        num_samples=len(problem.x),
        networks=256,
        batch_size=problem.batch_size,
        workers=len(os.sched_getaffinity(0)),
        seconds=0.0,
        repeats=0,
        keep_prob=problem.keep_prob,
    )["compile"]


def _print_limits(cells: list[table.Cell], points: list[dict[str, Any]], limit: dict[str, Any]) -> None:
    refused = {(c.problem, c.opponent): c.why for c in cells if c.why not in ("", table.CANNOT)}
    for (problem, name), why in refused.items():
        console.print(f"–  {problem}, {name}: {why}")
    console.print(
        f"limits of this machine: products {limit['products']['max']:,.0f} GFLOP/s (float32, "
        f"{limits.MATRIX_SIZE[jax.default_backend()]:,} squared, {limit['products_library']}; median "
        f"{limit['products']['median']:,.0f}), memory "
        f"{limit['memory']['max']:,.1f} GB/s (triad, {limit['memory_library']})"
    )
    for problem in dict.fromkeys(p["problem"] for p in points):
        mine = ", ".join(
            f"{p['rows']:,}: {p['gflops']:.3g} GFLOP/s, {p['of_limit']:.0%}"
            for p in points
            if p["problem"] == problem
        )
        console.print(f"regjax's products alone, of the limit, {problem}: {mine}")
    words = {"compiling": "before a first call ends, compiling", "beside": "of all calls, beside their steps"}
    for what, text in words.items():
        by_name: dict[str, list[float]] = {}
        for cell in cells:
            if cell.us is not None and getattr(cell, what) > 0.05:
                by_name.setdefault(cell.opponent, []).append(getattr(cell, what))
        for name, seconds in by_name.items():
            console.print(f"{text}, {name}: {min(seconds):.1f} to {max(seconds):.1f} s")


def _print_break_even(
    even: dict[str, dict[str, tuple[float, float | None]]], compiling: dict[str, float], known: list[Problem]
) -> None:
    for problem in known:
        from_on = []
        for name, (fewest, rows) in even[problem.name].items():
            at = "never" if rows is None else f"≈ {rows:,.0f}" if rows > fewest else f"{rows:,.0f}"
            if rows == fewest > 1:  # smaller numbers were not measured
                at = f"≤ {at}"
            from_on.append(f"{name} {at}")
        console.print(
            f"ahead from so many networks on, {problem.name} ({problem.usual_steps:,} steps, "
            f"{compiling[problem.name]:.1f} s of compiling in a first process included; the others compile "
            f"in this one, which has compiled before): {', '.join(from_on)}"
        )


def _growth_table(found: dict[str, Any]) -> Table:
    shown = Table(title="growth of regjax: each line a process of its own; memory of the host")
    for column in ("varied", "network", "samples", "batch", "networks", "workers", "µs per network and step",
                   "peak MiB", "compile s"):  # fmt: skip
        shown.add_column(column, justify="right")
    for what, points in found.items():
        for p in points:
            workers = f"{p['workers']}{', on one core' if p['pinned'] else ''}"
            us = [number(p["us"][which], 3) for which in ("median", "min", "max")]
            shown.add_row(
                what, "-".join(map(str, p["layer_sizes"])), f"{p['num_samples']:,}", str(p["batch_size"]),
                f"{p['networks']:,}", workers, f"{us[0]} ({us[1]} to {us[2]})",
                f"{p['peak'] / 2**20:,.0f}", f"{p['compile']:.1f}",
            )  # fmt: skip
    return shown


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is timed in this process too
    sys.exit(main())
