"""`regjax resume`: trains the rest of an interrupted sweep or search, from a store; `main` adds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from regjax.cli import terminal
from regjax.cli.cluster import cluster_options
from regjax.cli.stored import number_of, of_a_sweep
from regjax.cli.terminal import Interrupted, training_errors, user_errors

if TYPE_CHECKING:
    from regjax.store.store import Store, StoredSweep


@click.command()
@of_a_sweep(None, "Which of its sweeps; by default the last one that is not finished.")
@terminal.cache_option
@cluster_options
def resume(path: str, number: str | None, compilation_cache: bool) -> None:
    """Goes on with a sweep or a search that was interrupted, and shows its tables or its answer."""
    from regjax.cli import tables
    from regjax.engine.sweep import run
    from regjax.engine.workers import num_workers, platform
    from regjax.study.plan import stored_plan

    terminal.use_compilation_cache(compilation_cache)
    with terminal.opened_store(path, create=False) as store:
        with user_errors():
            searches = {sweep for sweep, _ in store.searches()}
            unfinished = [
                sweep.id
                for sweep in store.overview()
                # Networks that drop out of a search are never finished.
                if sweep.done < sweep.num_rows and not (sweep.finished and sweep.id in searches)
            ]
            last = unfinished[-1] if unfinished else -1  # all are finished: the last one
            wanted = last if number is None else number_of(number)
            begun = store.design_of(store.sweep_number(wanted))
        if begun.origin.search is not None:
            _search_goes_on(path, store, begun)
            return
        workers = num_workers(None, None)
        plan = stored_plan(begun.design, begun.shapes, begun.keep, workers=workers, backend=platform())
        try:
            with training_errors(), terminal.sweep_progress(False) as report:
                results = run(begun.design, store, plan=plan, report=report, partial=True)
        except KeyboardInterrupt as stop:
            raise Interrupted(terminal.how_to_go_on(path, stop)) from None
    tables.show(results, results.answers(begun.questions))


def _search_goes_on(path: str, store: Store, begun: StoredSweep) -> None:
    """Goes on with the search that a sweep is part of, and prints its answer."""
    from regjax.engine.tune import Work, go_on, part_of_search
    from regjax.study.tuned import Race

    try:
        with training_errors(), terminal.sweep_progress(False) as report, user_errors():
            assert begun.origin.search is not None
            race = Race.from_json(begun.origin.search)
            design = part_of_search(store, begun.design, race)
            print(go_on(design, race, store, Work(report=report), begun.origin))
    except KeyboardInterrupt as stop:
        raise Interrupted(terminal.how_to_go_on(path, stop)) from None
