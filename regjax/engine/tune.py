"""`tune`: searches regularisers by successive halving, and compares what it finds on rows it never saw.

Users call `tune`; `regjax tune` and `regjax resume` call it and `go_on`. The search is one sweep in rungs
(`engine/rungs.py`), the comparison another one: a store keeps both, and replays each network.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from regjax.core.caching import keep_programs
from regjax.core.checks import shown
from regjax.core.config import Config
from regjax.engine.confirming import Found, confirmed, once
from regjax.engine.connecting import is_dask, within
from regjax.engine.progress import Report, reporter
from regjax.engine.refit import trained_on_all
from regjax.engine.searching import (
    Work,
    num_candidates,
    num_networks,
    rungs_of,
    searched,
    steps_of,
    trace_of,
    winners_of,
)
from regjax.engine.sweep import opened
from regjax.engine.tuning import Setting, make_setting
from regjax.engine.workers import Executor
from regjax.store.store import Store
from regjax.study.choice import no_better
from regjax.study.design import Design
from regjax.study.groups import Kernel
from regjax.study.model import Chosen
from regjax.study.questions import Origin
from regjax.study.resolve import Options, takes_options
from regjax.study.space import Space, default_space
from regjax.study.tuned import Budget, Race, Search, Tuned, in_words


@takes_options
def tune(
    data: Any,
    space: Mapping[str, Any] | Space | None = None,
    *,
    config: Config | Mapping[str, Any] | None = None,
    budget: float | str = "60s",
    baseline: Mapping[str, Any] | None = None,
    confirm: float | str | None = None,
    search: Search | None = None,
    metric: str | None = None,
    store: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    kernel: Kernel = "auto",
    progress: bool | Report = True,
    **options: Unpack[Options],
) -> Tuned:
    """Returns which regulariser helps, how sure that is, and a model: no grid is needed.

    Candidates are drawn from a space and raced by successive halving, those without a regulariser in a race
    of their own. The best ones are compared with the best one without on rows that the search never saw.

    Args:
        data: as in `regjax.sweep`.
        space: name -> a frozen distribution of scipy.stats, a text such as "loguniform(0.01, 10)", a list, a
            scalar, a `Maybe` or a `Where`; None is `DEFAULT_SPACE`. A regulariser whose values are a
            distribution is off in half of the candidates.
        config: the static settings, as in `regjax.sweep`. None, or a mapping, takes adamw and init "he"; more
            than 256 training samples in batches of 128, for about 40 epochs; and 900 steps or more.
        budget: "15s", "10m", "500 networks" or "5e7 steps", or a number of seconds. Seconds are turned into a
            number of candidates by a short measurement.
        baseline: values that the baseline has, such as `{"learning_rate": 0.01}`, each in the space; the
            others are drawn, and every regulariser that is searched is off.
        confirm: fraction of the rows that the search never sees and that the comparison is made on; or
            "nested": the whole search is done again in each of several outer folds. None takes 0.3 of 1,000
            rows (or groups) or more, and nests searches of fewer.
        search: how is searched: finalists, reduction, rungs, Hyperband, resource, outer folds, seed.
        metric: validation metric that is ranked; None takes val_accuracy or val_r2.
        store: path of an SQLite file that keeps every network: the same call goes on where it was
            interrupted, and one of a larger budget begins with what is there.
        executor: where networks are trained: None, or a Dask cluster, as in `regjax.sweep`.
        workers: as in `regjax.sweep`.
        kernel: as in `regjax.sweep`; "auto" is the native kernel wherever it can be built.
        progress: as in `regjax.sweep`.
        **options: as in `regjax.sweep`, except validation, fold_inputs, epochs and stopping. `folds` is the
            number of folds of a search (5), `seeds` the networks of each finalist that are compared (8);
            inputs are standardised unless `standardize=False`, and so are real targets.

    Raises:
        TypeError: an argument of the wrong kind, naming it.
        ValueError: an argument that is out of range or does not fit the others, naming it, before anything is
            compiled; or all candidates diverged.
        OSError: the store cannot be written; what was committed is kept.

    Example:
        >>> import regjax
        >>> space = {"learning_rate": "loguniform(0.01, 0.1)", "l2": "loguniform(0.1, 10)", "hidden": 8}
        >>> tuned = regjax.tune(
        ...     "two_regions", space, budget="300 networks", folds=2, seeds=2, progress=False
        ... )
        >>> tuned.verdict in ("helps", "hurts", "not separated"), tuned.mode
        (True, 'nested')
    """
    began = time.perf_counter()
    if executor is not None and not is_dask(executor):
        raise TypeError(f"executor must be a Dask cluster, as dask://HOST:PORT, got {shown(executor)}")
    keep_programs()
    search = Search() if search is None else search
    settings = make_setting(
        data, _space(space, config), config, Budget.of(budget), confirm=confirm, baseline=baseline,
        search=search, metric=metric, options=options,
    )  # fmt: skip
    settings.check()  # before a store is made
    origin = Origin(os.fspath(data) if isinstance(data, str | os.PathLike) else None)
    work = Work(workers, kernel)
    with within(executor), reporter(progress) as report, opened(store) as kept:
        return tuned_of(settings, kept, work._replace(report=report), origin, began)


def _space(given: Mapping[str, Any] | Space | None, config: Config | Mapping[str, Any] | None) -> Space:
    """Returns the space of a search; without one of the user, that of what the optimizer reads."""
    if given is None and config is not None:
        optimizer = config.optimizer if isinstance(config, Config) else config.get("optimizer", "adamw")
        given = default_space(optimizer)
    return Space.of(given)


def tuned_of(settings: Setting, store: Store | None, work: Work, origin: Origin, began: float) -> Tuned:
    """Returns the answer of a setting: what is in the store is gone on with.

    Args:
        settings: the setting.
        store: an open store, or None.
        work: how it is worked at.
        origin: where it comes from.
        began: `time.perf_counter()` when the seconds of the budget began.
    """
    known = None if store is None else _known(store, settings)
    if known is not None:
        return go_on(*known, store, work, origin, began)

    def train(design: Design, num: int, whole: bool) -> None:
        # One seed is enough to compile for the comparison.
        race = settings.race(design, num)._replace(seeds=settings.seeds[:1])
        standings = searched(design, race, None, work, origin)
        if whole:
            confirmed(design, race, winners_of(design, race, standings[-1]), None, work, origin)

    num, measured = settings.counted(), ""
    if num is None:
        num, measured = settings.measured(train, began)
    design, num = settings.design(num)
    return go_on(design, settings.race(design, num, measured), store, work, origin, began)


def _known(store: Store, settings: Setting) -> tuple[Design, Race] | None:
    """Returns the design and race of a search of equal words that the store has, or None."""
    for number, found in store.searches(settings.first.data):
        if found["part"] == "search" and found["ask"] == settings.ask:
            return store.design_of(number).design, Race.from_json(found)
    return None


def part_of_search(store: Store, design: Design, race: Race) -> Design:
    """Returns the design of the search that a stored sweep is part of.

    Args:
        store: the store.
        design: design of the sweep.
        race: race of the search.

    Raises:
        ValueError: the store does not have it.
    """
    if race.part == "search":
        return design
    whole = race._replace(part="search").as_json()
    for number, found in store.searches(design.data):
        if found == json.loads(json.dumps(whole)):
            return store.design_of(number).design
    raise ValueError("store must have the search that this sweep is part of, got a part of it alone")


def go_on(
    design: Design,
    race: Race,
    store: Store | None,
    work: Work,
    origin: Origin,
    began: float | None = None,
) -> Tuned:
    """Returns the answer of a search whose race is settled: it is trained, or read from the store.

    Args:
        design: design of the search.
        race: its race.
        store: an open store, or None.
        work: how it is worked at.
        origin: where it comes from.
        began: `time.perf_counter()` when its seconds began; None is now.

    Raises:
        ValueError: all candidates diverged.
        Exception: as `engine.sweep.run`.
    """
    began = time.perf_counter() if began is None else began
    standings = searched(design, race, store, work, origin)
    after_search = time.perf_counter()
    best = winners_of(design, race, standings[-1])
    found = confirmed(design, race, best, store, work, origin)
    after_comparison = time.perf_counter()
    words, num = in_words(design.configurations[found.chosen]), num_candidates(race)
    reason = f"{words}: chosen by a search of {num:,} candidates"
    chosen = Chosen(words, reason, race.metric, found.score, found.over)
    kernel = work.kernel_of(design)
    model = trained_on_all(once(design), found.chosen, chosen, kernel=kernel, report=work.report)
    ended = time.perf_counter()
    scored = [val for _, val in race.pairs(design.data.x.shape[1])]
    seconds = {"search": after_search - began, "comparison": after_comparison - after_search}
    return Tuned(
        verdict=found.verdict, difference=found.difference, metric=race.metric, mode=race.mode,
        num_confirm=len(np.unique(np.concatenate(scored))),
        chosen=design.configurations[found.chosen],
        baseline=design.configurations[best[-1, "baseline"][0]],
        finalists=tuple(design.configurations[index] for index in best[-1, "candidates"]),
        comparison=found.comparison, folds=found.folds, results=found.results, of_choice=found.of_choice,
        rungs=tuple(rungs_of(design, race, standings)), trace=trace_of(design, race, standings, best),
        model=model, num_candidates=num,
        num_networks=num_networks(standings) + found.networks.networks,
        num_steps=steps_of(design, race, standings) + found.networks.steps,
        seconds=seconds | {"model": ended - after_comparison, "total": ended - began},
        source=origin.source or "",
        notes=(*found.notes, *_notes(race, found), *([race.measured] if race.measured else ())),
    )  # fmt: skip


def _notes(race: Race, found: Found) -> list[str]:
    """Returns what a reader must know of the data and of the score of what was chosen, a sentence each."""
    design = found.results.design
    words_of = no_better(design.data, design.splits, race.metric, found.score)
    rare = "; --metric val_balanced_accuracy gives every class the same weight"
    more = rare if race.metric == "val_accuracy" else ""
    constant = [f"the chosen network is {words}{more}" for words in words_of]
    # The folds of a search whose comparison is on held-out rows have no intervals.
    said = [note for note in design.notes if race.mode == "nested" or "intervals over folds" not in note]
    return [*constant, *said]
