"""One problem of the table within a budget of seconds: each cell is measured alone and printed at once.

    python -m benchmarks.cells --problem tutorial [--counts 1 16 256] [--budget 120] [--device gpu]

`.ci/gpu` calls it, where the time on a device is short and may end at any moment. The cells that matter most
come first: regjax and JAX by hand with all numbers of networks, then the other opponents, and 65,536 networks
last. A cell that would not fit into the rest of the budget is left out with a word. Compiling is not timed:
the JAX programs of a round are compiled at the same time, in threads, before any of its cells is measured.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import math
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.device import use_device
from benchmarks.measure import number, seconds_of, spread, write
from benchmarks.opponents import OPPONENTS
from benchmarks.problems import Prepared, Problem, Rows, problems, rows_of, training_cost
from benchmarks.table import (
    AGAIN,
    ALIKE,
    CANNOT,
    CHECKED,
    CHECKED_AT_ONCE,
    FEW,
    MOST_STEPS,
    SAME,
    SAME_STEPS,
    Contestant,
)
from regjax.study.provenance import device

NAMES = ("tutorial", "dropout", "breast_cancer", "digits")  # of the problems, in their order
MANY = 65_536
# (opponents, whether with the number MANY of networks): what is measured first stands first.
ROUNDS = (
    (("regjax", "naive JAX"), False),
    (("Flax NNX", "Equinox"), False),
    (("regjax by XLA",), False),
    (("NumPy", "PyTorch"), False),
    (("torch.compile(vmap)",), False),
    (("regjax", "naive JAX", "Flax NNX", "Equinox"), True),
    (("torch.compile", "torch.func.vmap"), False),
)
# Seconds that must be left for a first call, in which an opponent compiles.
FIRST_CALL = 8.0
# A long call has steps for so many times the seconds of a short one: else their difference would be noise.
BESIDE = 1.0


class Found(NamedTuple):
    """The measurement of a cell.

    Attributes:
        opponent: the opponent's name.
        networks: the number of networks of the column.
        trained: the number of networks of a call, fewer where they are trained one after the other.
        us: `measure.spread` of µs per network and step, or None.
        steps: the steps of a long call.
        first: seconds of preparing and of the first call, in which others compile at the same time.
        beside: seconds that a call takes beside its steps.
        why: why there is no figure, or "".
    """

    opponent: str
    networks: int
    trained: int
    us: dict[str, Any] | None
    steps: int
    first: float
    beside: float
    why: str


class Budget:
    """Seconds that may be spent, counted from the start of the process's measuring.

    Args:
        seconds: the budget.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, time.perf_counter()

    @property
    def spent(self) -> float:
        """Seconds that are spent."""
        return time.perf_counter() - self.began

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - self.spent


def rows_for(problem: Problem, name: str, networks: int, checked: int) -> Rows:
    """Returns the networks of a call: of an opponent that trains one by one, the first of those compared."""
    one_by_one = OPPONENTS[name].at_a_time is not None
    return rows_of(problem, checked).first(CHECKED) if one_by_one else rows_of(problem, networks)


def begin(problem: Problem, name: str, rows: Rows) -> Contestant | str:
    """Returns an opponent after its first call, or why it cannot be timed."""
    began = time.perf_counter()
    try:
        prepared = OPPONENTS[name].prepare(problem, rows)
        if prepared is None:
            return CANNOT
        prepared.run(FEW)
    except Exception as error:
        return in_a_line(error)
    return Contestant(prepared, len(rows.l2), time.perf_counter() - began, None)


def in_a_line(error: Exception) -> str:
    """Returns the kind and the first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no words').splitlines()[0]}"


def cost_of(problem: Problem, contestant: Contestant, rows: Rows) -> np.ndarray:
    """Returns the training cost of each network: after `SAME_STEPS` where nothing is drawn, which are few."""
    params = contestant.prepared.params
    assert params is not None
    return training_cost(problem, rows, params(contestant.prepared.run(problem.check_steps or SAME_STEPS)))


def refusal(problem: Problem, cost: np.ndarray, ours: np.ndarray) -> str:
    """Returns why an opponent's time does not count, or ""; `ours` are the costs of regjax."""
    ours = ours[: len(cost)]
    if problem.check_steps:  # each has its own draws: the means are compared
        alike = abs(cost.mean() / ours.mean() - 1) <= ALIKE
    else:
        alike = np.max(np.abs(cost / ours - 1)) <= SAME
    return "" if alike else f"reaches another training cost: {cost.mean():.6g}, regjax {ours.mean():.6g}"


def timed(contestant: Contestant, seconds: float, repeats: int, budget: Budget) -> Found:
    """Returns µs per network and step: a long call less a short one, repeated while the budget lasts.

    Args:
        contestant: an opponent after its first call.
        seconds: about the seconds of the steps of a long call.
        repeats: the most repetitions; at least one is made.
        budget: the seconds of the whole run.
    """
    run, done = contestant.prepared.run, contestant.prepared.steps_done
    shorts = [seconds_of(run, FEW)]
    quick = shorts[0] < 1.0  # what takes longer is not made once more for its median
    shorts += [seconds_of(run, FEW)] if quick else []
    steps = steps_for(contestant.prepared, max(seconds, BESIDE * min(shorts)), budget)
    while True:
        longs: list[float] = []
        while not longs or (len(longs) < repeats and budget.left > 2 * max(longs)):
            longs.append(seconds_of(run, steps))
            shorts += [seconds_of(run, FEW)] if quick else []
        short = float(np.median(shorts))
        each = [(long - short) / (done(steps) - done(FEW)) for long in longs]
        if min(each) > 0 or steps > MOST_STEPS or budget.left < 2 * AGAIN * max(longs):
            break
        steps *= AGAIN  # noise was longer than the steps
    us = None if min(each) <= 0 else spread([step / contestant.networks * 1e6 for step in each])
    beside = max(0.0, short - done(FEW) * float(np.median(each)))
    why = "drowns in the noise" if us is None else ""
    return Found("", 0, contestant.networks, us, done(steps), contestant.first, beside, why)


def steps_for(prepared: Prepared, seconds: float, budget: Budget) -> int:
    """Returns steps that take about so many seconds, beside what else a call takes."""
    steps = 16 * prepared.steps_done(FEW)
    seconds_of(prepared.run, steps)  # more steps may need another program, which is compiled here
    # From two long calls, since a call of more steps takes more beside them too: a sweep has more tasks.
    before, took = (steps, seconds_of(prepared.run, steps)), 0.0
    while took < seconds and steps < MOST_STEPS and budget.left > 0:
        steps = math.ceil(steps * min(20.0, max(4.0, 1.2 * seconds / max(took, 1e-9))))
        whole = seconds_of(prepared.run, steps)
        took = max(whole - before[1], 0.0) * steps / (steps - before[0])
        before = steps, whole
    return steps


def cells_of(names: tuple[str, ...], counts: list[int], many: bool) -> list[tuple[str, int]]:
    """Returns opponents and numbers of networks of a round; those trained one by one have one cell."""
    found = []
    for count in [c for c in counts if (c == MANY) == many]:
        for name in names:
            one_by_one = OPPONENTS[name].at_a_time is not None
            if not one_by_one or count == min(counts):
                found.append((name, count))
    return found


class Run:
    """The measuring of a problem: opponents that are ready, and those whose time does not count.

    Args:
        problem: the problem to train.
        counts: the numbers of networks; of the least from 16 on, if there is one, the costs are compared.
        budget: the seconds of the whole run.
    """

    def __init__(self, problem: Problem, counts: list[int], budget: Budget) -> None:
        self.problem, self.counts, self.budget = problem, counts, budget
        self.checked = min([c for c in counts if c >= CHECKED_AT_ONCE], default=min(counts))
        self.begun: dict[tuple[str, int], concurrent.futures.Future[Contestant | str]] = {}
        self.ours: np.ndarray | None = None
        self.refused: dict[str, str] = {}

    def rows(self, name: str, count: int) -> Rows:
        """Returns the networks that an opponent trains for a column."""
        return rows_for(self.problem, name, count, self.checked)

    def begin_together(self, cells: list[tuple[str, int]]) -> None:
        """Compiles the programs of JAX at the same time; PyTorch's compiler is not for several threads."""
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for name, count in cells:
                if self.budget.left > FIRST_CALL and OPPONENTS[name].needs != "torch":
                    self.begun[name, count] = pool.submit(begin, self.problem, name, self.rows(name, count))

    def contestant(self, name: str, count: int) -> Contestant | str:
        """Returns an opponent that is ready, or why it is not."""
        if (name, count) not in self.begun:
            if self.budget.left < FIRST_CALL:
                return "no time was left"
            self.begun[name, count] = future = concurrent.futures.Future()
            future.set_result(begin(self.problem, name, self.rows(name, count)))
        return self.begun[name, count].result()

    def check(self, name: str, count: int) -> None:
        """Compares the costs of an opponent with those of regjax, once."""
        contestant = self.contestant(name, count)
        if name in self.refused or isinstance(contestant, str):
            return
        cost = cost_of(self.problem, contestant, self.rows(name, count))
        self.ours = cost if name == "regjax" else self.ours
        self.refused[name] = "" if self.ours is None else refusal(self.problem, cost, self.ours)

    def cell(self, name: str, count: int, seconds: float, repeats: int) -> Found:
        """Returns the measurement of a cell."""
        contestant = self.contestant(name, count)
        self.begun.pop((name, count), None)  # its arrays are on the device
        why = contestant if isinstance(contestant, str) else self.refused.get(name, "")
        if not why and self.budget.left < 1.0:
            why = "no time was left"
        if isinstance(contestant, str) or why:
            return Found(name, count, 0, None, 0, 0.0, 0.0, why)
        return timed(contestant, seconds, repeats, self.budget)._replace(opponent=name, networks=count)


def measure(run: Run, opponents: list[str], seconds: float, repeats: int) -> Iterator[Found]:
    """Yields each cell when it is measured, in the order of `ROUNDS`; an error is the reason of its cell."""
    for names, many in ROUNDS:
        cells = cells_of(tuple(name for name in names if name in opponents), run.counts, many)
        run.begin_together(cells)
        for name, count in cells if not many else ():
            if count == (run.checked if OPPONENTS[name].at_a_time is None else min(run.counts)):
                try:
                    run.check(name, count)
                except Exception as error:
                    run.refused[name] = in_a_line(error)
        for name, count in cells:
            try:
                yield run.cell(name, count, seconds, repeats)
            except Exception as error:
                yield Found(name, count, 0, None, 0, 0.0, 0.0, in_a_line(error))


def line(cell: Found, ours: dict[int, Found], at: float) -> str:
    """Returns a cell in a line: what was measured, and how many times as long as regjax it takes."""
    where = f"{at:6.1f} s  {cell.opponent:<20} {cell.networks:>6,} networks  "
    if cell.us is None:
        return f"{where}–  {cell.why}"
    us, mine = cell.us, ours.get(cell.networks)
    times = f"  {us['median'] / mine.us['median']:.3g}×" if mine is not None and mine.us is not None else ""
    of = f"{us['min']:.4g} to {us['max']:.4g}, {len(us['all'])} of {cell.steps:,} steps"
    beside = f"first call {cell.first:.1f} s, beside the steps {cell.beside:.2f} s"
    return f"{where}{us['median']:.4g} µs ({of}){times}; {beside}"


def as_table(cells: list[Found], counts: list[int]) -> str:
    """Returns the cells as a table of Markdown: the median, ± half of the range, and × regjax's."""
    by = {(c.opponent, c.networks): c for c in cells}
    lines = [f"| | {' | '.join(f'{count:,}' for count in counts)} |", "|---" * (len(counts) + 1) + "|"]
    for name in dict.fromkeys(c.opponent for c in cells):
        shown = []
        for count in counts:
            one_by_one = OPPONENTS[name].at_a_time is not None
            cell, mine = by.get((name, min(counts) if one_by_one else count)), by.get(("regjax", count))
            if cell is None or cell.us is None:
                shown.append("–")
                continue
            half = (cell.us["max"] - cell.us["min"]) / 2
            times = (
                "" if mine is None or mine.us is None else f" · {cell.us['median'] / mine.us['median']:.3g}×"
            )
            shown.append(
                f"{number(cell.us['median'], 3)} ± {number(half, 2)}{'' if name == 'regjax' else times}"
            )
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Prints the cells of a problem; returns the exit code."""
    options = _options(arguments)
    budget = Budget(options.budget)
    use_device(options.device)
    warnings.filterwarnings("ignore", module="torch")  # it warns about the compiler options it was given
    problem = dict(zip(NAMES, problems(), strict=True))[options.problem]
    print(f"{problem.name} on {device()}; µs per network and step, NumPy on the CPU", flush=True)
    cells: list[Found] = []
    ours: dict[int, Found] = {}
    try:
        for cell in measure(
            Run(problem, options.counts, budget), options.opponents, options.seconds, options.repeats
        ):
            cells.append(cell)
            if cell.opponent == "regjax":
                ours[cell.networks] = cell
            print(line(cell, ours, budget.spent), flush=True)
            found = {"problem": problem.name, "budget": options.budget, "cells": [c._asdict() for c in cells]}
            write(options.to, found)
    except KeyboardInterrupt:
        print("interrupted: what was measured until then", flush=True)
    print(as_table(cells, options.counts), flush=True)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cells", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = list(dict.fromkeys(name for of_round, _ in ROUNDS for name in of_round))
    parser.add_argument("--problem", choices=NAMES, required=True)
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 16, 256, 4096], help="of networks")
    parser.add_argument("--opponents", nargs="+", choices=known, default=known, help="all by default")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of the whole run")
    parser.add_argument("--seconds", type=float, default=0.3, help="of the steps of a long call")
    parser.add_argument("--repeats", type=int, default=3, help="the most repetitions of a cell")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--to", help="the .json file, written after each cell")
    options = parser.parse_args(arguments)
    options.counts.sort()
    return options


if __name__ == "__main__":
    sys.exit(main())
