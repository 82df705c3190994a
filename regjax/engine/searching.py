"""The search of `tune`: one sweep in rungs, whose arenas each decide which of their rows go on.

`engine/tune.py` calls `searched`, and reads the standings with the functions below it.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from regjax.core.data import unit_mean
from regjax.data.splits import SPLIT_SEED, Splits
from regjax.engine.progress import Report
from regjax.engine.refit import on_splits
from regjax.engine.rungs import Standing, climb
from regjax.engine.sweep import run, scheduled
from regjax.engine.workers import place, platform
from regjax.native.build import compiler
from regjax.store.store import Store
from regjax.study.design import Design
from regjax.study.groups import Kernel
from regjax.study.halving import begins, goes_on, lengths, merged, ranked, winners
from regjax.study.plan import Keep, Plan, make_plan, resolve_kernel
from regjax.study.questions import Origin
from regjax.study.selection import higher_is_better
from regjax.study.tuned import Race, Rung, Trace

# Slots and lanes of a chunk on a CPU, by the native kernel and by XLA. They do not depend on the number of
# candidates, so that searches of another budget find their programs compiled. A search has few rows of a
# replicate and a width left after a rung: a chunk has those of many replicates, since each segment and record
# of it costs a millisecond beside the training. XLA would train the lanes that are idle, too.
SHAPE, XLA_SHAPE = (8, 8), (1, 16)


class Work(NamedTuple):
    """How a search is worked at.

    Attributes:
        workers: number of tasks at a time, or None.
        kernel: what trains the networks.
        report: called with a `Progress`.
    """

    workers: int | None = None
    kernel: Kernel = "auto"
    report: Report = lambda progress: None

    def plan(self, design: Design, keep: Keep = "none") -> Plan:
        """Returns the plan of a design, with chunks of one shape on a CPU."""
        plan = make_plan(design, workers=self.workers, keep=keep, kernel=self.kernel_of(design), **place())
        if platform() != "cpu":
            return plan
        shapes = (SHAPE if group.kernel == "native" else XLA_SHAPE for group in plan.groups)
        groups = (
            group._replace(slots=slots, lanes=lanes)
            for group, (slots, lanes) in zip(plan.groups, shapes, strict=True)
        )
        return dataclasses.replace(plan, groups=tuple(groups))

    def kernel_of(self, design: Design) -> Kernel:
        """Returns what trains a design."""
        backend = platform()
        # It pays: programs of XLA take longer to compile than most searches take to train.
        if self.kernel == "auto" and backend == "cpu" and "REGJAX_KERNEL" not in os.environ:
            return "auto" if compiler() is None else "native"
        return resolve_kernel(design, self.kernel, self.workers or 1, backend)


def searched(design: Design, race: Race, store: Store | None, work: Work, origin: Origin) -> list[Standing]:
    """Returns the standing of a search at each rung, and at the end.

    Args:
        design: design of the search.
        race: its race.
        store: an open store, or None.
        work: how it is worked at.
        origin: where it comes from.

    Raises:
        ValueError: all of an arena diverged.
        Exception: as `engine.sweep.run`.
    """
    origin = origin._replace(search=race._replace(part="search").as_json())
    if race.resource == "rows":
        return list(_on_rows(design, race, store, work, origin))

    def decide(standing: Standing) -> list[int]:
        return _going(design, race, standing, race.rungs.index(standing.step))

    climbed = climb(
        design,
        race.rungs,
        decide,
        store,
        begin=_rows(design, begins(race.arenas)),
        plan=work.plan(design),
        origin=origin,
        report=work.report,
    )
    return list(climbed.standings)


def _going(design: Design, race: Race, standing: Standing, rung: int) -> list[int]:
    """Returns the rows that go on after a rung."""
    scores, losses = tables(design, race, standing)
    higher = higher_is_better(race.metric)
    return _rows(design, goes_on(race.arenas, rung, scores, losses, higher))


def _rows(design: Design, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Returns the rows of (configuration, split); a search has one seed."""
    return [design.index(configuration, 0, fold) for configuration, fold in pairs]


def tables(design: Design, race: Race, standing: Standing) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ranked metric and the loss at a rung, `(configurations, splits)` each."""
    found = (standing.metrics[name] for name in (race.metric, "val_loss"))
    # A search has one seed.
    scores, losses = (np.asarray(v, np.float64).reshape(-1, design.num_folds) for v in found)
    return scores, losses


def _on_rows(
    design: Design, race: Race, store: Store | None, work: Work, origin: Origin
) -> Iterator[Standing]:
    """Yields the standing at each rung where training rows are the resource: each rung trains afresh."""
    plan = work.plan(design)
    if store is not None:  # begun first, so that an interrupted search is found again
        with scheduled(design, store, plan=plan, rows=[], origin=origin):
            pass
    rows = sorted(_rows(design, begins(race.arenas)))
    full = int(design.splits.num_train.min())
    part = origin._replace(search=race._replace(part="rung").as_json())
    for rung, number in enumerate((*race.rungs, full)):
        last = rung == len(race.rungs)
        own = design if last else on_splits(design, thinned(design, number), design.seeds)
        # A rung of fewer rows may have fewer steps: its only record of interest is the last one.
        found = run(
            own,
            store,
            plan=work.plan(own),
            rows=rows,
            origin=origin if last else part,
            report=work.report,
        )
        inside = np.isin(np.arange(design.num_rows), rows)
        metrics = {name: np.where(inside, found.values(name), np.nan) for name in (race.metric, "val_loss")}
        standing = Standing(number, np.array(rows), metrics, found.diverged_at >= 0)
        yield standing
        if not last:
            rows = sorted(_going(design, race, standing, rung))


def thinned(design: Design, number: int) -> Splits:
    """Returns the splits of a design with so many training samples each, those of a smaller number inside.

    Classes keep about their shares; validation samples are those of the design.
    """
    n = design.data.x.shape[1]
    y = np.asarray(design.data.y)
    order = np.random.default_rng(SPLIT_SEED).permutation(n)
    found = []
    for weights in design.splits.train:
        samples = order[weights[order] > 0]
        classes = y[0, samples] if np.issubdtype(y.dtype, np.integer) else np.zeros(len(samples), int)
        place = np.empty(len(samples))
        for label in np.unique(classes):
            own = np.flatnonzero(classes == label)
            place[own] = (np.arange(len(own)) + 0.5) / len(own)
        kept = samples[np.argsort(place, kind="stable")[:number]]
        own = np.zeros(n)
        own[kept] = weights[kept]
        found.append(unit_mean(own, n))
    return design.splits._replace(train=np.stack(found))


# -- what became of it ------------------------------------------------------------------------------------


def winners_of(design: Design, race: Race, standing: Standing) -> dict[tuple[int, str], list[int]]:
    """Returns (outer fold or -1, role) -> the best configurations at the end, best first.

    Raises:
        ValueError: all of an arena diverged.
    """
    scores, losses = tables(design, race, standing)
    higher = higher_is_better(race.metric)
    return {
        (arena.outer, arena.role): winners(arena, scores, losses, higher, race.finalists)
        for arena in merged(race.arenas)
    }


def num_candidates(race: Race) -> int:
    """Returns the number of candidates of a search."""
    own = (a.configurations for a in race.arenas if a.role == "candidates" and a.outer < 0)
    return len(set(itertools.chain.from_iterable(own)))


def steps_of(design: Design, race: Race, standings: Sequence[Standing]) -> int:
    """Returns the gradient steps of a search, as if none had diverged."""
    rows = None if race.resource == "steps" else int(design.splits.num_train.min())
    each = lengths(race.rungs, design.configs[0].num_steps, rows)
    found, before = 0, np.array([], int)
    for rung, (standing, length) in enumerate(zip(standings, each, strict=True)):
        on = len(standing.rows) if rows else np.isin(standing.rows, before).sum()
        found += int(on) * length + (len(standing.rows) - int(on)) * sum(each[: rung + 1])
        before = standing.rows
    return found


def num_networks(standings: Sequence[Standing]) -> int:
    """Returns the number of networks that a search began."""
    return len(set(itertools.chain.from_iterable(standing.rows.tolist() for standing in standings)))


def trace_of(
    design: Design,
    race: Race,
    standings: Sequence[Standing],
    best: Mapping[tuple[int, str], Sequence[int]],
) -> Trace:
    """Returns the scores of the search of all rows on the way; `best` is what `winners_of` returns."""
    scores = np.full((len(standings), len(design.configurations)), np.nan)
    is_baseline = np.zeros(len(design.configurations), bool)
    found = [tables(design, race, standing)[0] for standing in standings]
    for arena in race.arenas:
        if arena.outer < 0:
            own = list(arena.configurations)
            is_baseline[own] = arena.role == "baseline"
            for rung, table in enumerate(found):
                scores[rung, own] = table[np.ix_(own, arena.scored(rung))].mean(axis=1)
    steps = np.array([standing.step for standing in standings])
    return Trace(steps, scores, is_baseline, tuple(best[-1, "candidates"]), race.resource)


def rungs_of(design: Design, race: Race, standings: Sequence[Standing]) -> Iterator[Rung]:
    """Yields what happened at each rung, and at the end."""
    higher = higher_is_better(race.metric)
    for rung, standing in enumerate(standings):
        scores, losses = tables(design, race, standing)
        inside = np.isin(np.arange(design.num_rows), standing.rows).reshape(scores.shape)
        bad = standing.diverged.reshape(scores.shape) & inside
        counts, lost, best = {"candidates": 0, "baseline": 0}, 0, {"candidates": [], "baseline": []}
        for arena in race.arenas:
            folds = list(arena.scored(rung))
            own = np.ix_(arena.configurations, folds)
            counts[arena.role] += int(inside[own].any(axis=1).sum())
            lost += int(bad[own].any(axis=1).sum())
            if arena.outer < 0:
                first = ranked(arena, rung, scores, losses, higher, 1)
                best[arena.role] += [float(scores[index, folds].mean()) for index in first]
        of_all = {role: (max if higher else min)(own) for role, own in best.items()}
        yield Rung(
            standing.step,
            counts["candidates"],
            counts["baseline"],
            lost,
            of_all["candidates"],
            of_all["baseline"],
        )
