"""`regjax sweep`: trains a grid, prints its tables, and writes them and two pictures; `main` adds it."""

from __future__ import annotations

import functools
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regjax.cli import cluster, terminal
from regjax.cli.help import LongCommand
from regjax.cli.options import HEADINGS, MATTERS, sweep_options
from regjax.cli.planned import Planned, planned_sweep
from regjax.cli.stored import STORE
from regjax.cli.terminal import Interrupted, ctrl_c, training_errors, user_errors
from regjax.cli.values import as_argument

if TYPE_CHECKING:
    from regjax.cli.spec import Spec
    from regjax.cli.tables import Besides
    from regjax.study.design import Design
    from regjax.study.results import Answers, Results

FILES = (
    "sweep.toml", "results.csv", "summary.csv", "comparison.csv", "choice.csv", "references.csv",
    "scores.png", "curves.png",
)  # fmt: skip


@click.command(
    cls=LongCommand,
    matters={**MATTERS, "Output": ("out",)},
    sections={**HEADINGS, **cluster.HEADINGS},
)
@sweep_options
@click.option("--no-store", is_flag=True, help="The same as --store none.")
@click.option("--references", is_flag=True, help="Hold a linear model and trees against the networks.")
@click.option(
    "--sensitivities",
    metavar="NAMES",
    help="Differentiate the validation loss in these, e.g. l2,learning_rate.",
)
@click.option("--out", default="regjax-sweep", show_default=True, metavar="DIR", help="Where files go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--print-config", is_flag=True, help="Print the resolved sweep as TOML, and do nothing.")
@terminal.cache_option
@click.pass_obj
@cluster.cluster_options
def sweep(
    started: float,
    path: str | None,
    flags: dict[str, Any],
    no_store: bool,
    references: bool,
    sensitivities: str | None,
    out: str,
    as_json: bool,
    print_config: bool,
    compilation_cache: bool,
) -> None:
    """Trains a grid of networks over seeds and folds, and says which regularisation helped.

    \b
      regjax sweep rows.csv --target y
      regjax sweep rows.csv --target y --l2 0,0.1,1 --keep-prob 1,0.8 --repeats 5

    DATA is a table (.csv, .parquet, .xlsx, …), arrays (.npz, .mat), or a built-in set such as moons. A comma
    separates the values of an axis, a slash the layers: --hidden 32,64/16. Also geomspace(1e-4,1,9) and
    linspace(0.5,1,6); none is off. SPEC.toml says the same as flags do: --print-config prints one. With
    --dask HOST:PORT the networks are trained on a cluster.
    """
    from regjax.cli import tables
    from regjax.cli.spec import as_toml, resolve

    with user_errors():
        if no_store:
            if flags.get("store", "none") != "none":
                raise ValueError("store and no_store must not both be given")
            flags["store"] = "none"
        spec = resolve(path, flags)
        if print_config:
            print(as_toml(spec), end="")
            return
        planned = planned_sweep(spec, compilation_cache)
        names = () if sensitivities is None else _sensitivities(planned.design, sensitivities)
        _check_store(spec.store, out)
        folder = terminal.writable_folder(out, FILES)
        terminal.check_drawing()
    written: list[str] = []
    try:
        if not as_json:
            if path is None and "data" not in flags:
                print(f"no file was named: this is the built-in set {spec.data['data']}")
            tables.show_columns(planned.design)
            print(planned.plan)
        results = _train(planned, _command(path, flags), as_json)
        ctrl_c.check()
        answers = results.answers(spec.questions)
        if not as_json:
            tables.show(results, answers)
        besides = _besides(results, spec, references, names, as_json)
        for name in _write_files(folder, spec, results, answers, besides):
            written.append(name)
            ctrl_c.check()
    except KeyboardInterrupt as stop:
        kept = "nothing was written" if spec.store is None else terminal.how_to_go_on(spec.store, stop)
        raise Interrupted(f"written: {', '.join(written)}" if written else kept) from None
    seconds = {"compile": results.compile_seconds, "train": results.train_seconds}
    seconds["total"] = time.perf_counter() - started
    if as_json:
        print(json.dumps(tables.as_json(results, answers, seconds, written, besides), allow_nan=False))
    else:
        print(tables.ending(results, seconds, written))
        if spec.store is not None:
            of = "" if spec.store == STORE else f" {shlex.quote(as_argument(spec.store))}"
            print(f"next: regjax report{of} --open, regjax fit{of}")


def _sensitivities(design: Design, text: str) -> tuple[str, ...]:
    """Returns the hyperparameters of --sensitivities, which may be written as their flags are."""
    from regjax.engine.sensitivities import check_sensitivities

    names = [name.strip().replace("-", "_") for name in text.split(",")]
    return check_sensitivities(design, names, "--sensitivities")


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
    progress = terminal.sweep_progress(quiet)
    with terminal.opened_store(spec.store) as store, training_errors(), progress as report:
        return run(
            planned.design, store, plan=planned.plan, questions=spec.questions, origin=origin, report=report,
            partial=True,
        )  # fmt: skip


def _besides(results: Results, spec: Spec, references: bool, names: tuple[str, ...], quiet: bool) -> Besides:
    """Returns what is asked for beside the answers, and prints it as it comes."""
    from regjax.cli.tables import Besides
    from regjax.engine.references import references_or_why
    from regjax.engine.sensitivities import sensitivities_of

    others = references_or_why(results, spec.questions) if references else None
    if others is not None and not quiet:
        print(others)
    slopes = None
    if names:
        with terminal.sweep_progress(quiet) as report:
            slopes = sensitivities_of(results.design, names, report)
    if slopes is not None and not quiet:
        print(slopes)
    return Besides(others, slopes)


def _command(path: str | None, flags: Mapping[str, Any]) -> str:
    """Returns the command line that asks for these flags."""
    words = ["regjax", "sweep", *([path] if path else [])]
    for name, value in flags.items():
        flag = name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", value]
    return shlex.join(words)


def _write_files(
    folder: Path, spec: Spec, results: Results, answers: Answers, besides: Besides
) -> Iterator[str]:
    """Writes the files of a sweep, and yields the path of each when it is written."""
    written = set()
    for name, save in _files(spec, results, answers, besides):
        with user_errors():
            terminal.write(folder / name, save)
        written.add(name)
        yield str(folder / name)
    # An earlier sweep's files must not stand beside this one's.
    for name in set(FILES) - written:
        (folder / name).unlink(missing_ok=True)


def _files(
    spec: Spec, results: Results, answers: Answers, besides: Besides
) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """Yields the name of each file and the function that writes it; a figure is drawn only then."""
    from regjax.cli import tables
    from regjax.cli.spec import as_toml

    metric = tables.shown_metric(results, answers.choice)
    rows = results.to_pandas()
    if besides.sensitivities is not None:
        rows = rows.assign(**besides.sensitivities.columns())
    found = {"results.csv": rows, "summary.csv": results.summary(metric)}
    if answers.comparison is not None:
        found["comparison.csv"] = answers.comparison.table.drop(columns="sentence")
    if answers.first is not None:
        found["choice.csv"] = answers.first.to_pandas(results.design)
    if besides.references is not None and not isinstance(besides.references, str):
        found["references.csv"] = besides.references.table.drop(columns="sentence")
    yield "sweep.toml", lambda path: path.write_text(as_toml(spec), "utf-8")
    for name, table in found.items():
        yield name, functools.partial(table.to_csv, index=False)
    # Pictures come last: whatever becomes of them, the numbers are written.
    from regjax import plot

    for name, draw in (("scores.png", plot.heatmap), ("curves.png", plot.curves)):
        yield name, functools.partial(terminal.save_figure, draw(results, metric=metric))
