"""`regjax resume`: trains the rest of an interrupted sweep, from its store alone; `main` adds the command."""

from __future__ import annotations

import click

from regjax.cli import tables, terminal
from regjax.cli.stored import number_of, of_a_sweep
from regjax.cli.terminal import Interrupted, training_errors, user_errors


@click.command()
@of_a_sweep(None, "Which of its sweeps; by default the last one that is not finished.")
@terminal.cache_option
def resume(path: str, number: str | None, compilation_cache: bool) -> None:
    """Goes on with a sweep that was interrupted, and shows its tables."""
    import jax

    from regjax.engine.sweep import run
    from regjax.study.plan import stored_plan

    terminal.use_compilation_cache(compilation_cache)
    with terminal.opened_store(path, create=False) as store:
        with user_errors():
            unfinished = [sweep.id for sweep in store.overview() if sweep.done < sweep.num_rows]
            last = unfinished[-1] if unfinished else -1  # all are finished: the last one
            wanted = last if number is None else number_of(number)
            begun = store.design_of(store.sweep_number(wanted))
        plan = stored_plan(begun.design, begun.shapes, begun.keep, backend=jax.default_backend())
        try:
            with training_errors(), terminal.sweep_progress(False) as report:
                results = run(begun.design, store, plan=plan, report=report)
        except KeyboardInterrupt as stop:
            raise Interrupted(terminal.how_to_go_on(path, stop)) from None
    tables.show(results, results.answers(begun.questions))
