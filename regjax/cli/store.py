"""`regjax resume`, `show`, `export` and `replay`: what a store holds, and going on with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regjax.cli import tables, terminal
from regjax.cli.spec import DEFAULTS
from regjax.cli.sweep import answers, progress_on_terminal
from regjax.cli.terminal import Interrupted, store_errors, user_errors

if TYPE_CHECKING:
    from regjax.store.store import Store


def of_a_sweep(
    default: str | None = "last", words: str = "Which of its sweeps."
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds STORE and --sweep."""

    def added(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--sweep", "number", default=default, show_default=True, metavar="ID|last", help=words
        )(command)
        return click.argument("path", metavar="STORE")(command)

    return added


@click.command()
@of_a_sweep(None, "One of its sweeps only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def show(path: str, number: str | None, as_json: bool) -> None:
    """Lists the sweeps of a store: how far each is, the best so far, and where its rows were computed."""
    from regjax.store.store import Store
    from regjax.study.provenance import in_words

    with user_errors(), Store(path, create=False) as store:
        one = None if number is None else store.sweep_number(number_of(number))
        sweeps = store.overview(one)
        for sweep in sweeps:
            sweep["best"], sweep["damage"] = _best(store, sweep["id"])
    if as_json:
        print(json.dumps({"store": path, "sweeps": sweeps}))
        return
    if not sweeps:
        print(f"{path}: no sweeps")
    for sweep in sweeps:
        where = "finished" + (f" {sweep['finished']}" if sweep["finished"] else "")
        if sweep["done"] < sweep["num_rows"]:
            where = "not finished: `regjax resume` goes on"
        print(
            f"sweep {sweep['id']}: {sweep['source'] or 'data of its own'} (data {sweep['data'][:8]}), "
            f"{sweep['done']:,} of {sweep['num_rows']:,} networks, {sweep['diverged']:,} diverged, "
            f"begun {sweep['begun']}, {where}"
        )
        if sweep["best"]:
            print(f"    best{'' if where.startswith('finished') else ' so far'}: {sweep['best']}")
        if sweep["damage"]:
            print(f"    {sweep['damage']}")
        for ran in sweep["provenance"]:
            print(f"    {ran['networks']:,} networks: {in_words(ran['how'])}")
    names = [(s["source"], s["source_hash"]) for s in sweeps if s["source_hash"]]
    for source in sorted({source for source, _ in names}):
        if len({found for name, found in names if name == source}) > 1:
            prints = sorted({s["data"][:8] for s in sweeps if s["source"] == source})
            print(f"note: {source} has changed: data {', '.join(prints)}, whose rows are kept apart")


def _best(store: Store, sweep: int) -> tuple[str, str]:
    """Returns the best configuration of a sweep so far, by the mean of its metric; and what is damaged."""
    from regjax.store.database import StoreError
    from regjax.study.selection import best_so_far

    try:
        design, rows, *_ = store.design_of(sweep)
        metric = design.shown_metric
        return best_so_far(design, metric, *store.metric_of(rows, metric)), ""
    except StoreError as error:
        return "", str(error)


@click.command()
@of_a_sweep()
@click.option("--csv", metavar="PATH", help="Where the table of networks goes.")
@click.option("--parquet", metavar="PATH", help="The same as Parquet; needs regjax[parquet].")
def export(path: str, number: str, csv: str | None, parquet: str | None) -> None:
    """Writes the table of a finished sweep's networks, a row each."""
    import regjax

    with user_errors():
        if csv is None and parquet is None:
            raise ValueError("export must have --csv PATH or --parquet PATH, got neither")
        if parquet is not None:
            terminal.check_extra("parquet", "pyarrow", "parquet")
        for target in (csv, parquet):
            check_not_the_store("export", target, path)
        table = regjax.load(path, number_of(number)).to_pandas()
        if csv is not None:
            terminal.write(Path(csv), lambda part: table.to_csv(part, index=False))
        if parquet is not None:
            terminal.write(Path(parquet), lambda part: table.to_parquet(part, index=False, engine="pyarrow"))
    print(f"written: {', '.join(name for name in (csv, parquet) if name is not None)}")


@click.command()
@of_a_sweep()
@click.option("--row", type=int, required=True, metavar="N", help="Number of the network in its sweep.")
@terminal.cache_option
def replay(path: str, number: str, row: int, compilation_cache: bool) -> int:
    """Trains one network again, and says whether it came out as stored, to the bit; exit code 1 if not."""
    from regjax.engine.replay import replay as train_again

    terminal.use_compilation_cache(compilation_cache)
    with user_errors():
        found = train_again(path, row, number_of(number))
    print(found)
    return 0 if found.same else 1


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
            unfinished = [s["id"] for s in store.overview() if s["done"] < s["num_rows"]]
            last = unfinished[-1] if unfinished else -1
            stored = store.design_of(store.sweep_number(last if number is None else number_of(number)))
        design, asked = stored.design, stored.asked
        plan = stored_plan(design, stored.shapes, asked["keep"], backend=jax.default_backend())
        try:
            with store_errors(), progress_on_terminal(False) as report:
                results = run(design, plan, report=report, store=store)
        except KeyboardInterrupt as stop:
            raise Interrupted(terminal.how_to_go_on(path, stop)) from None
    if design.splits.kind == "none":
        tables.show(results, None, None, [])
        return
    tables.show(results, *answers(results, DEFAULTS | asked["questions"]))


def check_not_the_store(command: str, target: str | None, store: str) -> None:
    """Raises ValueError where a file that a command writes is the store it reads."""
    if target is not None and os.path.exists(target) and os.path.samefile(target, store):
        raise ValueError(f"{command} must not go into the store itself, got {target!r}")


def number_of(text: str) -> int | str:
    """Returns which sweep a text names: a number, or "last"."""
    try:
        return "last" if text == "last" else int(text)
    except ValueError:
        raise terminal.UserError(f"sweep must be a number or last, got {text!r}") from None
