"""Measures the time per network and step of every opponent, on every problem, for 1 to 4,096 networks.

`python -m benchmarks` calls `measure`, `in_pieces` and `break_even`; `growth` times its points with
`timed_in_turn`.

The cost of a step is that of many steps less that of `FEW`, so that what a call does once (planning, drawing,
copying, measuring) is not counted as steps; it is reported apart, as is the first call's compiling.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.measure import seconds_of, spread
from benchmarks.opponents import OPPONENTS
from benchmarks.problems import SIZES, Prepared, Problem, Rows, rows_from, rows_of, training_cost

# Networks whose costs are compared before a time counts: of an opponent that trains one after the other, and
# of one that trains all at once, whose compiled program is then timed too.
CHECKED, CHECKED_AT_ONCE = 4, 16
# Steps of the comparison where every step sees all samples and nothing is dropped: all then do the same
# arithmetic, and no cost may differ by more than SAME. (Rounding grows with the steps: after 2,000 of the
# tutorial's network, NumPy in float32 is up to 2e-3 from itself in float64.)
SAME_STEPS, SAME = 20, 1e-4
# λ of its four networks: strong enough to be seen in so few steps, and which network has which.
STRONG = (2.5, 10.0)
# Largest difference of the mean cost after a problem's `check_steps`, each library with its own draws.
ALIKE = 0.1
CANNOT = "cannot do this"
# Steps of the call that the others are compared with.
FEW = 2
# From so many weights and activations in all on (40 MB), opponents train in the best smaller pieces on a CPU:
# one piece was faster for none, beyond the noise, and a step of it takes up to seconds (benchmarks/NOTES.md).
MANY_NUMBERS = 1e7
IN_PIECES = "is timed in smaller pieces, and has no figure there"
# From so many networks on there are two repetitions.
MANY_NETWORKS = 1_000
# Where a short call takes so many seconds (of regjax, which measures every cost twice in it), it is made once
# to choose the steps of a long one, not twice. Where it takes so many, that one is the first repetition's
# too, and a long one has so many steps more.
SLOW_CALL, LONG_CALL, MORE = 1.0, 10.0, 12
# Where more steps seem to take less time, they are timed again, so many times as many, and so often.
AGAIN, TRIES = 4, 3
# Most steps of a long call at first: of steps that take no time there would be more than an int32 holds.
MOST_STEPS = 10_000_000


class Cell(NamedTuple):
    """The measurement of one opponent for one problem and number of networks.

    Attributes:
        problem: the problem's name.
        rows: how many networks.
        opponent: the opponent's name.
        piece: networks that are trained at once: those of the size that was fastest, up to `rows`.
        us: `measure.spread` of µs per network and step in such pieces, or None.
        ratio: `us` divided by regjax's, repetition by repetition, or None.
        compiling: seconds by which preparing and the first call took longer than a later call.
        beside: seconds that training all networks takes beside the steps.
        why: why there is no figure, or "".
    """

    problem: str
    rows: int
    opponent: str
    piece: int
    us: dict[str, Any] | None
    ratio: dict[str, Any] | None
    compiling: float
    beside: float
    why: str


class Contestant(NamedTuple):
    """An opponent that is ready to be timed.

    Attributes:
        prepared: the opponent's functions.
        networks: how many a call trains; any number for an opponent that trains one after the other.
        first: seconds of preparing it and of its first call.
        steps: the steps of its long call; None where they are not known yet.
    """

    prepared: Prepared
    networks: int
    first: float
    steps: int | None


class Timed(NamedTuple):
    """µs per network and step of each repetition; seconds of compiling, and of a call beside its steps."""

    us: list[float]
    compiling: float
    beside: float


def measure(
    problems: Iterable[Problem],
    sizes: Iterable[int],
    *,
    names: Iterable[str] | None = None,
    seconds: float = 0.6,
    repeats: int = 3,
    say: Callable[[str], None] = print,
) -> Iterator[list[Cell]]:
    """Yields the cells of each problem and size, all networks in one piece where they are not too many.

    Args:
        problems: the problems to train.
        sizes: numbers of networks. The most that opponents train in one piece are added where there are more.
        names: names of OPPONENTS; None is all. regjax is always among them.
        seconds: about the least seconds of a repetition.
        repeats: how often each figure is measured; twice above `MANY_NETWORKS`.
        say: the function that takes each message of progress.
    """
    sizes = list(sizes)
    names = list(OPPONENTS) if names is None else ["regjax", *(n for n in names if n != "regjax")]
    exact: dict[Any, dict[str, str]] = {}
    for problem in problems:
        say(f"{problem.name}: are the costs the same?")
        refused, waiting = refusals(problem, names, exact)
        found: list[Cell] = []
        most = _most_at_once(problem)
        added = [size for size in SIZES if size <= most][-1:] if max(sizes) > most else []
        for size in sorted({*sizes, *added}):
            say(f"{problem.name}: {size:,} networks")
            pieces = None if size <= most else _best_pieces(found)
            cells = _cells(problem, size, names, refused, waiting, seconds, repeats, pieces)
            found += cells
            yield cells
            gc.collect()
        jax.clear_caches()


def _most_at_once(problem: Problem) -> int:
    """Returns the most networks that opponents train in one piece."""
    if jax.default_backend() != "cpu":
        return SIZES[-1]
    weights = sum(a * b for a, b in itertools.pairwise(problem.layer_sizes))
    activations = (problem.batch_size or len(problem.x)) * sum(problem.layer_sizes[1:])
    return int(MANY_NUMBERS / (weights + activations))


def _has_pieces(name: str) -> bool:
    """Returns whether an opponent trains all networks at once, and so may train them in pieces."""
    return name != "regjax" and OPPONENTS[name].at_a_time is None


def _best_pieces(cells: list[Cell]) -> dict[str, int]:
    """Returns the measured size at which each opponent that trains all at once was fastest."""
    found: dict[str, Cell] = {}
    for cell in cells:
        if cell.us is not None and _has_pieces(cell.opponent):
            best = found.setdefault(cell.opponent, cell)
            if best.us is not None and cell.us["median"] < best.us["median"]:
                found[cell.opponent] = cell
    return {name: cell.piece for name, cell in found.items()}


def in_pieces(cells: list[Cell]) -> list[Cell]:
    """Returns the cells, each opponent's with its fastest piece of at most as many networks.

    An opponent that trains all networks at once may train them in pieces as well, as regjax does.
    """
    found = []
    ours = {(c.problem, c.rows): c.us["all"] for c in cells if c.opponent == "regjax" and c.us is not None}
    for cell in cells:
        best = cell
        in_one = cell.piece == cell.rows  # else it was timed in the best pieces
        if in_one and _has_pieces(cell.opponent):
            alike = (c for c in cells if (c.problem, c.opponent) == (cell.problem, cell.opponent))
            smaller = (c for c in alike if c.rows <= cell.rows)
            best = min(smaller, key=lambda c: c.us["median"] if c.us else math.inf)
        if best is cell or best.us is None:
            found.append(cell)
            continue
        pairs = zip(best.us["all"], ours.get((cell.problem, cell.rows), []), strict=False)
        ratios = [theirs / mine for theirs, mine in pairs]
        ratio, beside = spread(ratios) if ratios else None, best.beside * cell.rows / best.rows
        found.append(best._replace(rows=cell.rows, ratio=ratio, beside=beside))
    return found


def refusals(
    problem: Problem, names: Iterable[str], exact: dict[Any, dict[str, str]] | None = None
) -> tuple[dict[str, str], dict[tuple[str, int], Contestant]]:
    """Compares the training costs of all opponents with those of regjax.

    Args:
        problem: the problem to train.
        names: names of OPPONENTS, regjax among them.
        exact: the result of earlier comparisons without draws, which this one adds to: the same data and
            network need no second one.

    Returns:
        Why an opponent's time does not count, by name; and the opponents that are ready to be timed since,
        by name and number of networks that are trained at once.
    """
    names, why = list(names), {}
    if "GridSearchCV" in names and "scikit-learn" not in names:
        names.append("scikit-learn")  # the search keeps no network: the costs of fits stand for its own
    for name in names:
        needs = OPPONENTS[name].needs
        if needs and importlib.util.find_spec(needs) is None:
            why[name] = f"{needs} is not installed"
    exact = {} if exact is None else exact
    key = id(problem.x), problem.layer_sizes, problem.learning_rate
    if key not in exact:
        plain = problem._replace(name=f"{problem.name}, all samples", batch_size=None, keep_prob=None)
        rates = [problem.learning_rate, problem.learning_rate / 2]
        strong = rows_from(plain, {"learning_rate": rates, "l2": list(STRONG)}, seeds=1)
        there = [name for name in names if name not in why]
        costs, _, exact[key] = _costs(plain, strong, there, SAME_STEPS)
        for name, cost in costs.items():
            ours = costs["regjax"][: len(cost)]
            if not np.max(np.abs(cost / ours - 1)) <= SAME:
                exact[key][name] = _other_cost(cost, ours)
    why |= exact[key]
    ready: dict[tuple[str, int], Contestant] = {}
    if (problem.batch_size, problem.keep_prob) != (None, None):  # else nothing is drawn, and that was all
        there = [name for name in names if name not in why]
        costs, ready, errors = _costs(problem, rows_of(problem, CHECKED_AT_ONCE), there, problem.check_steps)
        why |= errors
        for name, cost in costs.items():
            ours = costs["regjax"][: len(cost)]
            if not abs(cost.mean() / ours.mean() - 1) <= ALIKE:
                why[name] = _other_cost(cost, ours)
    if "scikit-learn" in why:
        why.setdefault("GridSearchCV", why["scikit-learn"])
    return why, ready


def _costs(
    problem: Problem, rows: Rows, names: list[str], steps: int
) -> tuple[dict[str, np.ndarray], dict[tuple[str, int], Contestant], dict[str, str]]:
    """Returns the costs of opponents that can do the problem, those ready to be timed, and errors."""
    costs, ready, errors = {}, {}, {}
    for name in names:
        at_a_time = OPPONENTS[name].at_a_time
        compared = rows if at_a_time is None else rows.first(CHECKED)
        with _errors_of(name, errors):
            contestant = _begun(name, problem, compared)
            if contestant is None or (params := contestant.prepared.params) is None:
                continue
            costs[name] = training_cost(problem, compared, params(contestant.prepared.run(steps)))
            if at_a_time in (None, 1):  # each of several at a time would not take as long as here
                ready[name, at_a_time or contestant.networks] = contestant
    return costs, ready, errors


def _other_cost(cost: np.ndarray, ours: np.ndarray) -> str:
    return f"reaches another training cost: {cost.mean():.6g}, regjax {ours.mean():.6g}"


@contextlib.contextmanager
def _errors_of(name: str, why: dict[str, str]) -> Iterator[None]:
    """Puts an opponent's error into `why`, in one line; errors of regjax are raised."""
    try:
        yield
    except Exception as error:
        if name == "regjax":
            raise
        words = str(error).strip() or "no words"
        why[name] = f"{type(error).__name__}: {words.splitlines()[0]}"


def _begun(name: str, problem: Problem, rows: Rows) -> Contestant | None:
    """Returns an opponent after its first call; None where it cannot train the problem."""
    began = time.perf_counter()
    prepared = OPPONENTS[name].prepare(problem, rows)
    if prepared is None:
        return None
    prepared.run(FEW)
    return Contestant(prepared, len(rows.l2), time.perf_counter() - began - prepared.choosing, None)


def _cells(
    problem: Problem,
    size: int,
    names: list[str],
    refused: dict[str, str],
    waiting: dict[tuple[str, int], Contestant],
    seconds: float,
    repeats: int,
    pieces: dict[str, int] | None,
) -> list[Cell]:
    rows, why = rows_of(problem, size), dict(refused)
    counts = {name: min(size, OPPONENTS[name].at_a_time or size) for name in names}
    if pieces is not None:
        counts |= pieces
        lacking = [name for name in names if _has_pieces(name) and name not in pieces]
        why = dict.fromkeys(lacking, IN_PIECES) | why
    in_turn: dict[str, Contestant] = {}
    for name, count in counts.items():
        if name in why:
            continue
        with _errors_of(name, why):
            contestant = waiting.get((name, count)) or _begun(name, problem, rows.first(count))
            if contestant is None:
                why[name] = CANNOT
            else:
                in_turn[name] = contestant
    if size > MANY_NETWORKS:
        repeats = min(repeats, 2)
    found = timed_in_turn(in_turn, seconds, repeats, problem.num_batches, why)
    for name, contestant in in_turn.items():
        if name != "regjax":  # it may be timed again, with its number of steps
            waiting[name, counts[name]] = contestant
    cells = []
    for name in names:
        piece = counts[name]
        if name not in found or min(found[name].us) <= 0:
            reason = why.get(name, "drowns in the machine's noise")
            cells.append(Cell(problem.name, size, name, piece, None, None, 0.0, 0.0, reason))
            continue
        us, compiling, beside = found[name]
        beside *= size / in_turn[name].networks
        ours = found["regjax"].us
        ratio = spread([a / b for a, b in zip(us, ours, strict=True)]) if min(ours) > 0 else None
        cells.append(Cell(problem.name, size, name, piece, spread(us), ratio, compiling, beside, ""))
    return cells


def timed_in_turn(
    ready: dict[str, Contestant],
    seconds: float,
    repeats: int,
    num_batches: int = 1,
    why: dict[str, str] | None = None,
) -> dict[str, Timed]:
    """Returns the times of contestants that are timed one after the other, in every repetition.

    Args:
        ready: the contestants; those that lack a number of steps get one.
        seconds: about the least seconds of a long call.
        repeats: how many repetitions; another contestant begins each. regjax is timed twice in each, and
            the mean counts, unless its calls are slow.
        num_batches: batches of an epoch. A long call has whole epochs more than a short one, where there is
            time.
        why: opponent -> error; those that fail are added.
    """
    why, names = {} if why is None else why, list(ready)
    short_calls: dict[str, float] = {}  # their seconds
    for name, contestant in ready.items():
        with _errors_of(name, why):
            if contestant.steps is None:
                steps, short_calls[name] = enough(contestant.prepared, seconds, num_batches)
                ready[name] = contestant._replace(steps=steps)
    twice = short_calls.get("regjax", math.inf) <= SLOW_CALL  # since all are compared with it
    known = {name: took for name, took in short_calls.items() if took > LONG_CALL}
    calls: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for repetition in range(repeats):
        first = repetition * len(names) // repeats
        turn = names[first:] + names[:first]
        if twice:  # half a turn apart
            turn.insert((turn.index("regjax") + len(turn) // 2) % len(turn), "regjax")
        of_turn: dict[str, list[tuple[float, float]]] = {}
        for name in turn:
            if name not in why:
                with _errors_of(name, why):
                    call = _short_and_long(ready[name], known.pop(name, None))
                    of_turn.setdefault(name, []).append(call)
        for name, timed in of_turn.items():
            short, long = np.mean(timed, axis=0).tolist()
            calls[name].append((short, long))
    found: dict[str, Timed] = {}
    for name, contestant in ready.items():
        if name not in why:
            with _errors_of(name, why):
                found[name] = _summed(contestant, calls[name])
    return found


def _short_and_long(contestant: Contestant, short: float | None = None) -> tuple[float, float]:
    """Returns the seconds of a call of `FEW` steps, where they are not known, and of a long one."""
    run = contestant.prepared.run
    return seconds_of(run, FEW) if short is None else short, seconds_of(run, contestant.steps or FEW)


def _summed(contestant: Contestant, calls: list[tuple[float, float]]) -> Timed:
    """Returns the repetitions, measured again with more steps where noise exceeded their time."""
    # The median: one call that took long by chance would make the steps seem short.
    short = float(np.median([short for short, _ in calls]))
    for _ in range(TRIES):
        if all(long > short for _, long in calls):
            break
        contestant = contestant._replace(steps=(contestant.steps or FEW) * AGAIN)
        calls = [_short_and_long(contestant) for _ in calls]
        short = float(np.median([short for short, _ in calls]))
    done = contestant.prepared.steps_done
    few, many = done(FEW), done(contestant.steps or FEW)
    steps = [(long - short) / (many - few) for _, long in calls]
    return Timed(
        [step / contestant.networks * 1e6 for step in steps],
        max(0.0, contestant.first - short),
        max(0.0, short - few * float(np.median(steps))),
    )


def enough(prepared: Prepared, seconds: float, num_batches: int = 1) -> tuple[int, float]:
    """Returns steps that take about so many seconds beyond `FEW`, and the seconds of a call of `FEW`.

    Whole epochs, if there is time for one. More seconds where a call takes long beside its steps: else they
    would drown in its noise.
    """
    short, done = seconds_of(prepared.run, FEW), prepared.steps_done(FEW)
    if short > LONG_CALL:
        return done + MORE, short
    # The shorter of two calls, unless they are slow: one that took long by chance would look like many steps.
    tries = 1 if short > SLOW_CALL else 2
    if tries > 1:
        short = min(short, seconds_of(prepared.run, FEW))
    steps, seconds = 8 * done, max(seconds, short)
    while True:
        took = min(seconds_of(prepared.run, steps) for _ in range(tries)) - short
        if took > seconds / 4 or steps > 1e6:
            break
        steps = math.ceil(steps * (20.0 if took <= 0 else min(20.0, max(2.0, seconds / 2 / took))))
    step = max(took / (prepared.steps_done(steps) - done), seconds / MOST_STEPS)
    epochs = round(seconds / step / num_batches)
    return done + (epochs * num_batches or max(1, round(seconds / step))), short


def break_even(
    cells: list[Cell], problem: Problem, compiling: float
) -> dict[str, tuple[float, float | None]]:
    """Returns the number of networks from which on regjax, compiling included, is faster than each opponent.

    Args:
        cells: the measurements of the problem.
        problem: the problem; its `usual_steps` are trained.
        compiling: seconds that regjax compiles for in a first process.

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
        if OPPONENTS[name].at_a_time is None:  # compiles for each size
            first = np.interp(np.log(counts), np.log([c.rows for c in theirs]), [c.compiling for c in theirs])
        else:
            first = max(c.compiling for c in theirs)
        late = _total(ours, counts, problem) + compiling > _total(theirs, counts, problem) + first
        after = int(np.flatnonzero(late)[-1]) + 1 if late.any() else 0
        found[name] = fewest, float(counts[after]) if after < len(counts) else None
    return found


def _total(cells: list[Cell], counts: np.ndarray, problem: Problem) -> np.ndarray:
    """Returns seconds of training so many networks for a problem's usual steps."""
    at = np.log([c.rows for c in cells])
    us = np.exp(np.interp(np.log(counts), at, np.log([c.us["median"] for c in cells if c.us])))
    beside = np.interp(counts, [c.rows for c in cells], [c.beside for c in cells])
    return beside + us * 1e-6 * counts * problem.usual_steps
