"""Cost per network and step of everyone, on every problem, for 1 to 4,096 networks."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.measure import spread
from benchmarks.opponents import OPPONENTS, Opponent
from benchmarks.problems import Prepared, Problem, rows_of, training_cost

# Networks of which everyone's cost after `check_steps` is compared before its time counts.
CHECKED = 4
# Largest relative difference to regjax's cost. Where all do the same arithmetic on the same rows, of the
# median network (rounding grows with the steps: after 2,000, NumPy in float32 is up to 2e-3 from itself in
# float64 in single networks); where each library draws batches or masks of its own, of the mean.
SAME, ALIKE = 1e-3, 0.1
# Steps of the call that the others are compared with.
FEW = 2
# From so many weights in all on, contestants are measured one after the other and not interleaved: together
# they would not fit into memory.
MANY_WEIGHTS = 5e7


class Cell(NamedTuple):
    """One opponent's figure for one problem and number of networks.

    Attributes:
        problem: its name.
        rows: networks.
        opponent: its name.
        us: `measure.spread` of µs per network and step, or None.
        ratio: of `us` to regjax's, repetition by repetition, or None.
        compiling: seconds by which the first call took longer than a later one.
        beside: seconds of a call beside its steps.
        why: why there is no figure, or "".
    """

    problem: str
    rows: int
    opponent: str
    us: dict[str, Any] | None
    ratio: dict[str, Any] | None
    compiling: float
    beside: float
    why: str


def measure(
    problems: Iterable[Problem],
    sizes: Iterable[int],
    *,
    names: Iterable[str] | None = None,
    seconds: float = 0.7,
    repeats: int = 3,
    say: Callable[[str], None] = print,
) -> list[Cell]:
    """Returns the cells of the table.

    Args:
        problems: to train.
        sizes: numbers of networks.
        names: of OPPONENTS; None is all. regjax is always among them.
        seconds: that a repetition takes, about.
        repeats: of each figure.
        say: is told what is being done.
    """
    names = list(OPPONENTS) if names is None else ["regjax", *(n for n in names if n != "regjax")]
    cells = []
    for problem in problems:
        say(f"{problem.name}: are the costs the same?")
        refused = refusals(problem, names)
        waiting: dict[str, Prepared] = {}  # of those that train few at a time: the same for all sizes
        for size in sizes:
            say(f"{problem.name}: {size:,} networks")
            cells += _cells(problem, size, names, refused, waiting, seconds, repeats)
            gc.collect()
        jax.clear_caches()
    return cells


def refusals(problem: Problem, names: Iterable[str]) -> dict[str, str]:
    """Returns why an opponent's time does not count, for those whose does not."""
    rows = rows_of(problem, CHECKED)
    costs, why = {}, {}
    for name in names:
        opponent = OPPONENTS[name]
        if opponent.needs and importlib.util.find_spec(opponent.needs) is None:
            why[name] = f"{opponent.needs} is not installed"
            continue
        prepared = opponent.prepare(problem, rows)
        if prepared is None or prepared.params is None:
            continue
        costs[name] = training_cost(problem, rows, prepared.params(prepared.run(problem.check_steps)))
    ours = costs["regjax"]
    drawn = problem.batch_size is not None or problem.keep_prob is not None
    for name, cost in costs.items():
        differs = abs(cost.mean() / ours.mean() - 1) if drawn else np.median(np.abs(cost / ours - 1))
        if not differs <= (ALIKE if drawn else SAME):
            why[name] = f"reaches another training cost: {cost.mean():.4g}, regjax {ours.mean():.4g}"
    return why


def _cells(
    problem: Problem,
    size: int,
    names: list[str],
    refused: dict[str, str],
    waiting: dict[str, Prepared],
    seconds: float,
    repeats: int,
) -> list[Cell]:
    rows = rows_of(problem, size)
    makes, why = {}, dict(refused)
    for name in names:
        if name in refused:
            continue
        opponent = OPPONENTS[name]
        makes[name] = _maker(problem, rows, name, opponent, waiting)
    weights = size * sum(a * b for a, b in itertools.pairwise(problem.layer_sizes))
    apart = weights > MANY_WEIGHTS
    found: dict[str, tuple[list[float], float, float]] = {}
    batches = [[name] for name in makes] if apart else [list(makes)]
    for together in batches:
        ready = {}
        for name in together:
            made = makes[name]()
            if made is None:
                why[name] = "cannot do this"
            else:
                ready[name] = made
        found |= _timed(ready, seconds, min(repeats, 2) if apart else repeats)
        del ready
        gc.collect()
    cells = []
    ours = found["regjax"][0]
    for name in names:
        if name not in found:
            cells.append(Cell(problem.name, size, name, None, None, 0.0, 0.0, why[name]))
            continue
        us, compiling, beside = found[name]
        ratio = spread([a / b for a, b in zip(us, ours, strict=True)])
        cells.append(Cell(problem.name, size, name, spread(us), ratio, compiling, beside, ""))
    return cells


def _maker(
    problem: Problem, rows: Any, name: str, opponent: Opponent, waiting: dict[str, Prepared]
) -> Callable[[], tuple[Prepared, int] | None]:
    """Returns a call that prepares an opponent, and the networks that it then trains."""
    count = len(rows.l2)
    if opponent.at_a_time is None:

        def make() -> tuple[Prepared, int] | None:
            prepared = opponent.prepare(problem, rows)
            return None if prepared is None else (prepared, count)

        return make
    few = min(count, opponent.at_a_time)

    def make_few() -> tuple[Prepared, int] | None:
        if (name, few) not in waiting:
            prepared = opponent.prepare(problem, rows.first(few))
            if prepared is None:
                return None
            waiting[name, few] = prepared
        return waiting[name, few], few

    return make_few


def _timed(
    ready: dict[str, tuple[Prepared, int]], seconds: float, repeats: int
) -> dict[str, tuple[list[float], float, float]]:
    """Returns of each contestant µs per network and step of each repetition, seconds of compiling, and
    seconds of a call beside its steps.

    The cost of a step is that of many steps less that of `FEW`: what a call does once (planning, drawing,
    copying, measuring) is not counted as steps, and is told apart.
    """
    steps, compiling = {}, {}
    for name, (prepared, _) in ready.items():
        first = _seconds(prepared, FEW)
        steps[name], of_few = _enough(prepared, seconds)
        compiling[name] = max(0.0, first - of_few)
    found: dict[str, list[float]] = {name: [] for name in ready}
    beside: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(repeats):
        for name, (prepared, count) in ready.items():
            few = _seconds(prepared, FEW)
            many = _seconds(prepared, steps[name])
            done = prepared.steps_done(steps[name]) - prepared.steps_done(FEW)
            found[name].append((many - few) / done / count * 1e6)
            beside[name].append(few - (many - few) / done * prepared.steps_done(FEW))
    return {name: (found[name], compiling[name], max(0.0, float(np.median(beside[name])))) for name in ready}


def _seconds(prepared: Prepared, steps: int) -> float:
    began = time.perf_counter()
    prepared.run(steps)
    return time.perf_counter() - began


def _enough(prepared: Prepared, seconds: float) -> tuple[int, float]:
    """Returns steps that take about so many seconds beyond `FEW`, and the seconds of a call of `FEW`."""
    few, done = _seconds(prepared, FEW), prepared.steps_done(FEW)
    steps = 2 * done
    while True:
        took = _seconds(prepared, steps) - few
        if took > seconds / 4 or steps > 1e6:
            break
        steps = math.ceil(steps * (20.0 if took <= 0 else min(20.0, max(2.0, seconds / 2 / took))))
    per_step = took / (prepared.steps_done(steps) - done)
    return max(2 * done, done + round(seconds / per_step)), few


def break_even(cells: list[Cell], problem: Problem, compiling: float) -> dict[str, float | None]:
    """Returns from how many networks on regjax, compiling included, is ahead of each opponent.

    Args:
        cells: of the problem.
        problem: whose `usual_steps` are trained.
        compiling: seconds, of regjax in a first process.

    Times between the sizes that were measured are interpolated on logarithmic axes. None: at no size up to
    the largest.
    """
    counts = np.unique(np.round(np.geomspace(1, max(c.rows for c in cells), 200)))

    def total(name: str) -> np.ndarray | None:
        mine = [c for c in cells if c.opponent == name and c.us is not None]
        if not mine:
            return None
        known = np.log([c.us["median"] for c in mine if c.us])
        us = np.exp(np.interp(np.log(counts), np.log([c.rows for c in mine]), known))
        first = compiling if name == "regjax" else float(np.median([c.compiling for c in mine]))
        # One that trains a few at a time has the rest of its calls once per few.
        beside = np.interp(np.log(counts), np.log([c.rows for c in mine]), [c.beside for c in mine])
        at_a_time = OPPONENTS[name].at_a_time if name in OPPONENTS else None
        calls = 1 if at_a_time is None else np.maximum(1, counts / at_a_time)
        return first + beside * calls + us * 1e-6 * counts * problem.usual_steps

    ours = total("regjax")
    found: dict[str, float | None] = {}
    for name in dict.fromkeys(c.opponent for c in cells):
        theirs = total(name)
        if name == "regjax" or theirs is None or ours is None:
            continue
        behind = np.flatnonzero(ours > theirs)
        after = 0 if len(behind) == 0 else behind[-1] + 1
        found[name] = float(counts[after]) if after < len(counts) else None
    return found
