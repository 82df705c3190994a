"""`regjax resume`, `show` and `export`: what a store holds, and going on with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from regjax import tables, terminal
from regjax.cli_sweep import answers, progress_on_terminal
from regjax.spec import DEFAULTS
from regjax.terminal import Interrupted, store_errors, user_errors


def _of_a_sweep(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds STORE and --sweep."""
    command = click.option(
        "--sweep", "number", default="last", show_default=True, metavar="ID|last", help="Which of its sweeps."
    )(command)
    return click.argument("path", metavar="STORE")(command)


@click.command()
@click.argument("path", metavar="STORE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def show(path: str, as_json: bool) -> None:
    """Lists the sweeps of a store: how far each is, and where its rows were computed."""
    from regjax.store import Store

    with user_errors(), Store(path, create=False) as store:
        sweeps = store.overview()
    if as_json:
        print(json.dumps({"store": path, "sweeps": sweeps}))
        return
    if not sweeps:
        print(f"{path}: no sweeps")
    for sweep in sweeps:
        where = (
            f"finished {sweep['finished']}" if sweep["finished"] else "not finished: `regjax resume` goes on"
        )
        print(
            f"sweep {sweep['id']}: {sweep['source'] or 'data of its own'} (data {sweep['data'][:8]}), "
            f"{sweep['done']:,} of {sweep['num_rows']:,} networks, {sweep['diverged']:,} diverged, "
            f"begun {sweep['begun']}, {where}"
        )
        for how, count in sweep["provenance"].items():
            print(f"    {count:,} networks: {how}")
    names = [(s["source"], s["data"]) for s in sweeps if s["source"]]
    for source in sorted({source for source, _ in names}):
        prints = {data[:8] for name, data in names if name == source}
        if len(prints) > 1:
            print(f"note: {source} has changed: data {', '.join(sorted(prints))}, whose rows are kept apart")


@click.command()
@_of_a_sweep
@click.option("--csv", "csv", metavar="PATH", required=True, help="Where the table of networks goes.")
def export(path: str, number: str, csv: str) -> None:
    """Writes the table of a finished sweep's networks, a row each."""
    from pathlib import Path

    import regjax

    with user_errors():
        table = regjax.load(path, _number(number)).to_pandas()
        terminal.write(Path(csv), lambda part: table.to_csv(part, index=False))
    print(f"written: {csv}")


@click.command()
@_of_a_sweep
@terminal.cache_option
def resume(path: str, number: str, compilation_cache: bool) -> None:
    """Goes on with a sweep that was interrupted, and shows its tables."""
    import jax

    from regjax.plan import make_plan
    from regjax.store import Store
    from regjax.sweep import run

    terminal.use_compilation_cache(compilation_cache)
    with user_errors(), Store(path, create=False) as store:
        design, _ = store.design_of(store.sweep_number(_number(number)))
    plan = make_plan(design, backend=jax.default_backend())
    try:
        with store_errors(), Store(path, create=False) as store, progress_on_terminal(False) as report:
            results = run(design, plan, report=report, store=store)
    except KeyboardInterrupt:
        raise Interrupted(f"what is finished is in {path}, and the same command goes on with it") from None
    if design.splits.kind == "none":
        tables.show(results, None, None, [])
        return
    tables.show(results, *answers(results, DEFAULTS))


def _number(text: str) -> int | str:
    try:
        return "last" if text == "last" else int(text)
    except ValueError:
        raise terminal.UserError(f"sweep must be a number or last, got {text!r}") from None
