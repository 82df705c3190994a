"""Cost per network and step of everyone, on every problem, for 1 to 4,096 networks.

The cost of a step is that of many steps less that of `FEW`, so that what a call does once (planning, drawing,
copying, measuring) is not counted as steps; it is told apart, as is the first call's compiling.
"""

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
from benchmarks.opponents import OPPONENTS
from benchmarks.problems import Prepared, Problem, Rows, rows_of, training_cost

# Networks of which everyone's cost is compared before a time counts.
CHECKED = 4
# Steps of the comparison where all rows are seen in every step and nothing is dropped: all then do the same
# arithmetic, and no cost may differ by more than SAME. (Rounding grows with the steps: after 2,000 of the
# tutorial's network, NumPy in float32 is up to 2e-3 from itself in float64.)
SAME_STEPS, SAME = 60, 1e-4
# λ of that comparison: strong enough to be seen in so few steps.
STRONG = 10.0
# Largest difference of the mean cost after a problem's `check_steps`, each library with its own draws.
ALIKE = 0.1
CANNOT = "cannot do this"
# Steps of the call that the others are compared with.
FEW = 2
# From so many weights in all on, those who train all networks at once are measured one by one, twice,
# since together they would not fit into memory. A step of all takes seconds then: a call of one is compared
# with one of so many more. Of regjax several: its call also measures every cost twice, as long as ten steps.
MANY_WEIGHTS = 5e7
MORE = {"regjax": 8}
# Where more steps seem to take less time, they are timed again, so many times as many, and so often.
AGAIN, TRIES = 4, 3


class Cell(NamedTuple):
    """One opponent's figure for one problem and number of networks.

    Attributes:
        problem: its name.
        rows: networks.
        opponent: its name.
        us: `measure.spread` of µs per network and step, or None.
        ratio: of `us` to regjax's, repetition by repetition, or None.
        compiling: seconds by which preparing and the first call took longer than a later call.
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


class Contestant(NamedTuple):
    """One that is ready to be timed: what runs, how many networks at a time, and its first seconds."""

    prepared: Prepared
    networks: int
    first: float


def measure(
    problems: Iterable[Problem],
    sizes: Iterable[int],
    *,
    names: Iterable[str] | None = None,
    seconds: float = 0.6,
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
        waiting: dict[tuple[str, int], Contestant] = {}  # who trains a few at a time: the same for all sizes
        for size in sizes:
            say(f"{problem.name}: {size:,} networks")
            cells += _cells(problem, size, names, refused, waiting, seconds, repeats)
            gc.collect()
        jax.clear_caches()
    return cells


def refusals(problem: Problem, names: Iterable[str]) -> dict[str, str]:
    """Returns why an opponent's time does not count, for those whose does not."""
    why: dict[str, str] = {}
    for name in names:
        needs = OPPONENTS[name].needs
        if needs and importlib.util.find_spec(needs) is None:
            why[name] = f"{needs} is not installed"
    there = [name for name in names if name not in why]
    exact = problem._replace(name=f"{problem.name}, all rows", batch_size=None, keep_prob=None)
    strong = rows_of(exact, CHECKED)
    strong = strong._replace(axes=strong.axes | {"l2": [STRONG]}, l2=np.full_like(strong.l2, STRONG))
    costs = _costs(exact, strong, there, SAME_STEPS, why)
    for name, cost in costs.items():
        if not np.max(np.abs(cost / costs["regjax"] - 1)) <= SAME:
            why[name] = _other_cost(cost, costs["regjax"])
    there = [name for name in there if name not in why]
    costs = _costs(problem, rows_of(problem, CHECKED), there, problem.check_steps, why)
    for name, cost in costs.items():
        if not abs(cost.mean() / costs["regjax"].mean() - 1) <= ALIKE:
            why[name] = _other_cost(cost, costs["regjax"])
    if "scikit-learn" in why:  # which keeps the networks' costs, its search does not
        why.setdefault("GridSearchCV", why["scikit-learn"])
    return why


def _costs(
    problem: Problem, rows: Rows, names: list[str], steps: int, why: dict[str, str]
) -> dict[str, np.ndarray]:
    """Returns the costs of those that can do the problem; an error goes into `why`."""
    costs = {}
    for name in names:
        try:
            prepared = OPPONENTS[name].prepare(problem, rows)
            if prepared is not None and prepared.params is not None:
                costs[name] = training_cost(problem, rows, prepared.params(prepared.run(steps)))
        except Exception as error:
            if name == "regjax":
                raise
            why[name] = _in_words(error)
    return costs


def _other_cost(cost: np.ndarray, ours: np.ndarray) -> str:
    return f"reaches another training cost: {cost.mean():.6g}, regjax {ours.mean():.6g}"


def _in_words(error: Exception) -> str:
    """Returns an opponent's error in one line: the others go on."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _cells(
    problem: Problem,
    size: int,
    names: list[str],
    refused: dict[str, str],
    waiting: dict[tuple[str, int], Contestant],
    seconds: float,
    repeats: int,
) -> list[Cell]:
    rows, why = rows_of(problem, size), dict(refused)
    weights = size * sum(a * b for a, b in itertools.pairwise(problem.layer_sizes))
    there = [name for name in names if name not in refused]
    heavy = [name for name in there if weights > MANY_WEIGHTS and OPPONENTS[name].at_a_time is None]
    light = [name for name in there if name not in heavy]
    found: dict[str, tuple[list[float], float, float]] = {}
    for together, few, aim in [*(([name], 1, None) for name in heavy), (light, FEW, seconds)]:
        ready = {}
        for name in together:
            try:
                contestant = _contestant(problem, rows, name, few, waiting)
            except Exception as error:
                if name == "regjax":
                    raise
                why[name] = _in_words(error)
                continue
            if contestant is None:
                why[name] = CANNOT
            else:
                ready[name] = contestant
        found |= _timed(ready, few, aim, min(repeats, 2) if heavy else repeats)
        del ready
        gc.collect()
    cells = []
    for name in names:
        if name not in found:
            cells.append(Cell(problem.name, size, name, None, None, 0.0, 0.0, why[name]))
            continue
        us, compiling, beside = found[name]
        if min(us) <= 0:
            cells.append(
                Cell(problem.name, size, name, None, None, 0.0, 0.0, "drowns in the machine's noise")
            )
            continue
        ours = found["regjax"][0]
        ratio = spread([a / b for a, b in zip(us, ours, strict=True)]) if min(ours) > 0 else None
        cells.append(Cell(problem.name, size, name, spread(us), ratio, compiling, beside, ""))
    return cells


def _contestant(
    problem: Problem, rows: Rows, name: str, few: int, waiting: dict[tuple[str, int], Contestant]
) -> Contestant | None:
    """Returns an opponent that has been called once, for few steps, or None where it cannot do this."""
    opponent = OPPONENTS[name]
    count = min(len(rows.l2), opponent.at_a_time or len(rows.l2))
    if (name, count) in waiting:
        return waiting[name, count]._replace(first=0.0)
    began = time.perf_counter()
    prepared = opponent.prepare(problem, rows.first(count))
    if prepared is None:
        return None
    prepared.run(few)
    contestant = Contestant(prepared, count, time.perf_counter() - began)
    if opponent.at_a_time is not None:
        waiting[name, count] = contestant
    return contestant


def _timed(
    ready: dict[str, Contestant], few: int, seconds: float | None, repeats: int
) -> dict[str, tuple[list[float], float, float]]:
    """Returns of each µs per network and step of each repetition, and seconds of compiling and beside.

    A step takes seconds where `seconds` is None: then `MORE` or one is enough, and none are tried out.
    """
    steps = {
        name: few + MORE.get(name, 1) if seconds is None else enough(contestant.prepared, seconds)
        for name, contestant in ready.items()
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ready}
    for _ in range(repeats):
        for name, contestant in ready.items():
            found[name].append(per_step(contestant.prepared, few, steps[name]))
    for name, contestant in ready.items():
        for _ in range(TRIES):
            if all(step > 0 for step, _ in found[name]):
                break
            steps[name] *= AGAIN
            found[name] = [per_step(contestant.prepared, few, steps[name]) for _ in range(repeats)]
    return {
        name: (
            [step / ready[name].networks * 1e6 for step, _ in times],
            # A call of few steps took these and what is beside them.
            max(
                0.0,
                ready[name].first
                - min(step * ready[name].prepared.steps_done(few) + beside for step, beside in times),
            ),
            max(0.0, float(np.median([beside for _, beside in times]))),
        )
        for name, times in found.items()
    }


def per_step(prepared: Prepared, few: int, many: int) -> tuple[float, float]:
    """Returns the seconds of a step of all networks, and of a call beside its steps, from two calls."""
    short, long = _seconds(prepared, few), _seconds(prepared, many)
    done = prepared.steps_done(few)
    step = (long - short) / (prepared.steps_done(many) - done)
    return step, short - step * done


def enough(prepared: Prepared, seconds: float) -> int:
    """Returns steps that take about so many seconds beyond `FEW`."""
    few, done = min(_seconds(prepared, FEW) for _ in range(2)), prepared.steps_done(FEW)
    steps = 2 * done
    while True:
        took = _seconds(prepared, steps) - few
        # More than a call's noise, of which a long call has much.
        if took > max(seconds / 4, 0.2 * few) or steps > 1e6:
            break
        steps = math.ceil(steps * (20.0 if took <= 0 else min(20.0, max(2.0, seconds / 2 / took))))
    step = took / (prepared.steps_done(steps) - done)
    return max(2 * done, done + round(seconds / step))


def _seconds(prepared: Prepared, steps: int) -> float:
    began = time.perf_counter()
    prepared.run(steps)
    return time.perf_counter() - began


def break_even(
    cells: list[Cell], problem: Problem, compiling: float
) -> dict[str, tuple[float, float | None]]:
    """Returns from how many networks on regjax, compiling included, is ahead of each opponent.

    Args:
        cells: of the problem.
        problem: whose `usual_steps` are trained.
        compiling: seconds, of regjax in a first process.

    Returns:
        For each opponent the fewest networks that both were measured with, and from how many on regjax is
        ahead (times between the sizes are interpolated on logarithmic axes); None: at no size up to the
        largest.
    """
    found: dict[str, tuple[float, float | None]] = {}
    by_name = {
        name: [c for c in cells if c.opponent == name and c.us is not None]
        for name in dict.fromkeys(c.opponent for c in cells)
    }
    ours = by_name.pop("regjax")
    for name, theirs in by_name.items():
        if not theirs or not ours:
            continue
        fewest = max(min(c.rows for c in theirs), min(c.rows for c in ours))
        most = min(max(c.rows for c in theirs), max(c.rows for c in ours))
        counts = np.unique(np.round(np.geomspace(fewest, most, 400)))
        at_a_time = OPPONENTS[name].at_a_time
        if at_a_time is None:  # compiles for each size
            first = np.interp(np.log(counts), np.log([c.rows for c in theirs]), [c.compiling for c in theirs])
        else:
            first = max(c.compiling for c in theirs)
        late = _total(ours, counts, problem, None) + compiling > (
            _total(theirs, counts, problem, at_a_time) + first
        )
        after = int(np.flatnonzero(late)[-1]) + 1 if late.any() else 0
        found[name] = fewest, float(counts[after]) if after < len(counts) else None
    return found


def _total(cells: list[Cell], counts: np.ndarray, problem: Problem, at_a_time: int | None) -> np.ndarray:
    """Returns seconds of training so many networks for a problem's usual steps."""
    at = np.log([c.rows for c in cells])
    us = np.exp(np.interp(np.log(counts), at, np.log([c.us["median"] for c in cells if c.us])))
    beside = np.interp(np.log(counts), at, [c.beside for c in cells])
    calls = 1 if at_a_time is None else np.maximum(1, counts / at_a_time)
    return beside * calls + us * 1e-6 * counts * problem.usual_steps
