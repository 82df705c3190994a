"""`regjax show`: the sweeps of a store and their progress; `main` adds the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from regjax.cli.stored import number_of, of_a_sweep
from regjax.cli.terminal import user_errors

if TYPE_CHECKING:
    from regjax.store.store import Store

# What a sweep is that belongs to a search.
PARTS = {"search": "a search, ", "confirm": "the comparison of a search, ", "rung": "a rung of a search, "}


@click.command()
@of_a_sweep(None, "One of its sweeps only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def show(path: str, number: str | None, as_json: bool) -> None:
    """Lists the sweeps of a store: how far each is, the best so far, and where its rows were computed."""
    from regjax.store.store import Store

    with user_errors(), Store(path, create=False) as store:
        one = None if number is None else store.sweep_number(number_of(number))
        sweeps, parts = [], dict(store.searches())
        for sweep in store.overview(one):
            first, best, damage = _best(store, sweep.id)
            part = parts.get(sweep.id, {}).get("part")
            if parts.get(sweep.id, {}).get("mode") == "nested":
                best = ""  # each outer fold has its own choice, and most candidates have dropped out
            found = {"first": first, "best": best, "damage": damage, "search": part}
            sweeps.append(sweep._asdict() | found)
    if as_json:
        print(json.dumps({"store": path, "sweeps": sweeps}))
        return
    if not sweeps:
        print(f"{path}: no sweeps")
    for sweep in sweeps:
        _print_sweep(sweep)
    _print_changed(sweeps)


def _print_sweep(sweep: dict[str, Any]) -> None:
    from regjax.study.provenance import in_words

    # Networks that drop out of a search are never finished.
    finished = sweep["done"] == sweep["num_rows"] or bool(sweep["search"] and sweep["finished"])
    where = "finished" + (f" {sweep['finished']}" if sweep["finished"] else "")
    part = PARTS.get(sweep["search"], "")
    source = sweep["source"] or "data of its own"
    print(
        f"sweep {sweep['id']}: {part}{source} (data {sweep['data'][:8]}), "
        f"{sweep['done']:,} of {sweep['num_rows']:,} networks, {sweep['diverged']:,} diverged, "
        f"begun {sweep['begun']}, {where if finished else 'not finished: `regjax resume` goes on'}"
    )
    if sweep["first"]:
        print(f"    {sweep['first']}")
    if sweep["best"]:
        print(f"    best{'' if finished else ' so far'}: {sweep['best']}")
    if sweep["damage"]:
        print(f"    {sweep['damage']}")
    for ran in sweep["provenance"]:
        print(f"    {ran['networks']:,} networks: {in_words(ran['how'])}")


def _print_changed(sweeps: list[dict[str, Any]]) -> None:
    """Prints a note for each file of data that has changed between two sweeps."""
    names = [(s["source"], s["source_hash"]) for s in sweeps if s["source_hash"]]
    for source in sorted({source for source, _ in names}):
        if len({found for name, found in names if name == source}) > 1:
            prints = sorted({s["data"][:8] for s in sweeps if s["source"] == source})
            print(f"note: {source} has changed: data {', '.join(prints)}, whose rows are kept apart")


def _best(store: Store, sweep: int) -> tuple[str, str, str]:
    """Returns whether choosing helps, the best configuration so far, and what is damaged, in words."""
    from regjax.store.database import StoreError
    from regjax.study.one_question import answer_so_far
    from regjax.study.selection import best_so_far

    try:
        begun = store.design_of(sweep)
        metric = begun.questions.metric or begun.design.shown_metric
        found = store.metric_of(begun.rows, metric)
        first = answer_so_far(begun.design, begun.questions, metric, *found)
        return first, best_so_far(begun.design, metric, *found), ""
    except StoreError as error:
        return "", "", str(error)  # the other sweeps of the store are still listed
