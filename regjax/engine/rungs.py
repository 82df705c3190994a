"""A sweep in rungs: rows train to a step, a decision says which of them go on, and so on to the last step.

Successive halving, Hyperband and pruners decide; `engine/tune.py` and the searches call `climb`. Rows go on
from where they stand, with the draws and the learning-rate schedule of the whole run: one that reaches the
end has the bits of the same row in a sweep without rungs, and a rung is a record of it. A store keeps the
rows that were dropped as checkpoints, so that a search goes on, or a larger one begins, where this one stood.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from regjax.core.checks import shown
from regjax.engine.progress import Report
from regjax.engine.recorder import Recorder
from regjax.engine.scheduler import Scheduler
from regjax.engine.sweep import scheduled
from regjax.store.store import Store
from regjax.study.design import Design
from regjax.study.plan import Plan
from regjax.study.questions import NOWHERE, Origin, Questions
from regjax.study.records import final_records
from regjax.study.results import Results


class Standing(NamedTuple):
    """The rows of a sweep at a rung.

    Attributes:
        step: the step of the rung.
        rows: the rows that were still in the race, ascending; those that diverged or stopped among them.
        metrics: metric -> values at this step, `(rows of the design,)`; of a row that has stopped
            early those of its final parameters. NaN where a row diverged, or is not in `rows`.
        diverged: whether a row has diverged so far, `(rows of the design,)`.
    """

    step: int
    rows: np.ndarray
    metrics: Mapping[str, np.ndarray]
    diverged: np.ndarray


Decide = Callable[[Standing], Collection[int]]


class Climbed(NamedTuple):
    """What became of the rows of a sweep in rungs.

    Attributes:
        standings: the standing at each rung, and at the last step.
        results: results of the configurations of which every row reached its last step, as of a sweep of them
            alone; None where there is none.
        configurations: their numbers in the design.
    """

    standings: tuple[Standing, ...]
    results: Results | None
    configurations: tuple[int, ...]


def climb(
    design: Design,
    rungs: Sequence[int],
    decide: Decide,
    store: Store | None = None,
    *,
    begin: Collection[int] | None = None,
    plan: Plan | None = None,
    questions: Questions | None = None,
    origin: Origin = NOWHERE,
    executor: concurrent.futures.Executor | None = None,
    report: Report = lambda progress: None,
) -> Climbed:
    """Returns what became of the rows of a design, which drop out at rungs.

    Args:
        design: what is asked for; all configurations have the same steps and records.
        rungs: steps with a record at which `decide` is asked, ascending, below the last step.
        decide: (standing at a rung) -> the rows that go on, and those that begin late and train to the next
            rung in one go. It must depend on nothing else, so that a search that goes on from a store decides
            as before.
        store: keeps finished networks, and those that dropped out where they stood.
        begin: the rows that begin; None is all.
        plan: as in `engine.sweep.run`, like what follows.
        questions: what will be asked of the results.
        origin: where the sweep comes from.
        executor: any `concurrent.futures.Executor`.
        report: called with a `Progress`; the fraction is that of the way to the next rung.

    Raises:
        ValueError: rungs that are no records of every configuration, or a decision for a row that dropped
            out.
        Exception: as `engine.sweep.run`.
    """
    _check_rungs(design, rungs)
    parts = {"plan": plan, "questions": questions, "origin": origin, "executor": executor, "report": report}
    with scheduled(design, store, **parts) as scheduler, scheduler.working():
        standings, rows = [], np.arange(design.num_rows) if begin is None else np.array(sorted(begin))
        fresh = ~np.isin(np.arange(design.num_rows), rows)
        for step in (*rungs, None):
            scheduler.aim(rows, step)
            scheduler.advance()
            standings.append(standing_of(scheduler.recorder, step, rows))
            if step is None:
                break
            going = np.array(sorted(decide(standings[-1])), np.int64)
            if not np.isin(going, [*rows, *np.flatnonzero(fresh)]).all():
                raise ValueError("decide must return rows that did not drop out, got others")
            fresh[going] = False
            rows = going
        return Climbed(tuple(standings), *_results(scheduler))


def _check_rungs(design: Design, rungs: Sequence[int]) -> None:
    config = design.configs[0]
    for other in design.configs:
        if (other.num_steps, other.eval_every) != (config.num_steps, config.eval_every):
            raise ValueError(
                "rungs must have configurations of one num_steps and one eval_every, got several"
            )
    fits = all(0 < step < config.num_steps and step % config.eval_every == 0 for step in rungs)
    if not fits or list(rungs) != sorted(set(rungs)):
        raise ValueError(
            f"rungs must be ascending steps with a record, multiples of {config.eval_every} below "
            f"{config.num_steps}, got {shown(list(rungs))}"
        )


def standing_of(recorder: Recorder, step: int | None, rows: np.ndarray) -> Standing:
    """Returns the standing of these rows at a step, None being the last one."""
    design, config = recorder.design, recorder.design.configs[0]
    step = config.num_steps if step is None else step
    # Rounded up, since the last record may come before another eval_every steps are done.
    place = np.full(design.num_rows, -(-step // config.eval_every))
    stopped = (recorder.stopped_at >= 0) & (recorder.stopped_at <= step)
    if stopped.any():
        final = final_records(design, recorder.records, recorder.diverged_at, recorder.stopped_at)
        place = np.where(stopped, final, place)
    inside = np.isin(np.arange(design.num_rows), rows)
    diverged = (recorder.diverged_at >= 0) & (recorder.diverged_at <= step)
    every = np.arange(design.num_rows)
    metrics = {
        name: np.where(inside & ~diverged, values[every, place], np.nan)
        for name, values in recorder.records.items()
    }
    return Standing(step, rows, metrics, diverged)


def _results(scheduler: Scheduler) -> tuple[Results | None, tuple[int, ...]]:
    """Returns the results of the configurations whose rows are all finished, and their numbers."""
    finished = scheduler.recorder.finished.reshape(-1, scheduler.design.num_replicates)
    whole = np.flatnonzero(finished.all(axis=1)).tolist()
    if not whole:
        return None, ()
    return scheduler.results(whole), tuple(whole)
