"""`regjax sweep`: trains a grid, prints its tables, and writes them and two pictures."""

from __future__ import annotations

import functools
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from regjax.cli import tables, terminal
from regjax.cli.options import sweep_options
from regjax.cli.terminal import Interrupted, ctrl_c, store_errors, user_errors

if TYPE_CHECKING:
    from regjax.cli.spec import Spec
    from regjax.study.design import Design
    from regjax.study.plan import Plan
    from regjax.study.results import Answers, Results

FILES = ("sweep.toml", "results.csv", "summary.csv", "comparison.csv", "scores.png", "curves.png")


class Planned(NamedTuple):
    """A sweep that was asked for on the command line, checked, before anything is spent."""

    spec: Spec
    design: Design
    plan: Plan


@click.command()
@sweep_options
@click.option("--no-store", is_flag=True, help="The same as --store none.")
@click.option("--out", default="regjax-sweep", show_default=True, metavar="DIR", help="Where files go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--print-config", is_flag=True, help="Print the resolved sweep as TOML, and do nothing.")
@terminal.cache_option
@click.pass_obj
def sweep(
    started: float,
    path: str | None,
    flags: dict[str, Any],
    no_store: bool,
    out: str,
    as_json: bool,
    print_config: bool,
    compilation_cache: bool,
) -> None:
    """Trains a grid of networks over seeds and folds, and says which regularisation helped.

    A comma separates values of an axis, a slash layers: --keep-prob 1,0.9/0.8. Also geomspace(1e-4,1,9)
    and linspace(0.5,1,6); none is off. Flags override SPEC.toml, whose keys are the same names in the
    sections [data], [config], [grid] and [sweep]: see --print-config.
    """
    with user_errors():
        if no_store:
            if flags.get("store", "none") != "none":
                raise ValueError("store and no_store must not both be given")
            flags["store"] = "none"
        planned = planned_sweep(path, flags, compilation_cache, print_config)
        if planned is None:
            return
        _check_store(planned.spec.store, out)
        folder = terminal.writable_folder(out, FILES)
    written: list[str] = []
    try:
        if not as_json:
            print(planned.plan)
        results = _train(planned, _command(path, flags), as_json)
        ctrl_c.check()
        answers = results.answers(planned.spec.questions)
        if not as_json:
            tables.show(results, answers)
        for name in _write_files(folder, planned.spec, results, answers):
            written.append(name)
            ctrl_c.check()
    except KeyboardInterrupt as stop:
        store = planned.spec.store
        kept = "nothing was written" if store is None else terminal.how_to_go_on(store, stop)
        raise Interrupted(f"written: {', '.join(written)}" if written else kept) from None
    seconds = {
        "compile": results.compile_seconds,
        "train": results.train_seconds,
        "total": time.perf_counter() - started,
    }
    if as_json:
        print(json.dumps(tables.as_json(results, answers, seconds, written), allow_nan=False))
    else:
        print(tables.ending(results, seconds, written))


def planned_sweep(path: str | None, flags: dict[str, Any], cache: bool, print_config: bool) -> Planned | None:
    """Returns the sweep that a TOML file and flags ask for; or prints it as TOML, and returns None."""
    from regjax.cli import spec as specs

    spec = specs.resolve(path, flags)
    if print_config:
        print(specs.as_toml(spec), end="")
        return None
    terminal.use_compilation_cache(cache)
    import jax

    from regjax.study.plan import make_plan
    from regjax.study.resolve import make_design

    design = make_design(**spec.arguments())
    workers, keep = spec.sweep.get("workers"), spec.sweep.get("keep")
    plan = make_plan(design, spec.questions, workers=workers, keep=keep, backend=jax.default_backend())
    return Planned(spec, design, plan)


def _check_store(store: str | None, out: str) -> None:
    """Raises what is wrong with the path of a store, before anything is trained."""
    from regjax.store.database import check_store

    if store is not None:
        check_store(store)
        if os.path.abspath(store) in {os.path.abspath(os.path.join(out, name)) for name in FILES}:
            raise ValueError(f"store must not be one of the files that are written, got {store!r}")


def _train(planned: Planned, command: str, quiet: bool) -> Results:
    from regjax.cli.spec import as_toml
    from regjax.engine.sweep import run
    from regjax.study.questions import Origin

    spec = planned.spec
    origin = Origin(spec.data["data"], command, as_toml(spec))
    with (
        terminal.opened_store(spec.store) as store,
        store_errors(),
        terminal.sweep_progress(quiet) as report,
    ):
        return run(
            planned.design, store, plan=planned.plan, questions=spec.questions, origin=origin, report=report
        )


def _command(path: str | None, flags: Mapping[str, Any]) -> str:
    """Returns the command line that asks for this."""
    words = ["regjax", "sweep", *([path] if path else [])]
    for name, value in flags.items():
        flag = name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", value]
    return shlex.join(words)


def _write_files(folder: Path, spec: Spec, results: Results, answers: Answers) -> Iterator[str]:
    """Writes the files of a sweep, and yields the path of each when it is written."""
    written = set()
    for name, save in _files(spec, results, answers):
        with user_errors():
            terminal.write(folder / name, save)
        written.add(name)
        yield str(folder / name)
    # An earlier sweep's files must not stand beside this one's.
    for name in set(FILES) - written:
        (folder / name).unlink(missing_ok=True)


def _files(spec: Spec, results: Results, answers: Answers) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """Yields names, and functions that write them: a figure is drawn when it is its turn."""
    from regjax import plot
    from regjax.cli.spec import as_toml

    metric = tables.shown_metric(results, answers.choice)
    found = {"results.csv": results.to_pandas(), "summary.csv": results.summary(metric)}
    if answers.comparison is not None:
        found["comparison.csv"] = answers.comparison.table.drop(columns="sentence")
    yield "sweep.toml", lambda path: path.write_text(as_toml(spec))
    for name, table in found.items():
        yield name, functools.partial(table.to_csv, index=False)
    for name, draw in (("scores.png", plot.heatmap), ("curves.png", plot.curves)):
        yield name, functools.partial(terminal.save_figure, draw(results, metric=metric))
