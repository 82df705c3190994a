"""`regjax tune`: which regulariser helps, without a grid; `main` adds the command."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regjax.cli import cluster, terminal
from regjax.cli.help import LongCommand
from regjax.cli.options import AXES, CONFIG, DATA, SWEEP, Flag, complete_data, flags_of, one_source
from regjax.cli.stored import STORE
from regjax.cli.terminal import Interrupted, training_errors, user_errors
from regjax.cli.values import assignments_of, read_text, values_of
from regjax.study.configuration import CONFIG_AXES

if TYPE_CHECKING:
    from regjax.study.tuned import Tuned

# How is searched: fields of `study.tuned.Search`.
SEARCH = {
    "finalists": Flag("N", "Candidates that are compared with the baseline at the end; 3 by default."),
    "reduction": Flag("N", "One candidate of so many goes on at each rung; 3 by default."),
    "rungs": Flag("N", "At most so many rungs; 3 by default."),
    "hyperband": Flag("", "Let some candidates skip rungs, for those that begin slowly."),
    "resource": Flag("steps|rows", "What candidates get more of at each rung.", read_text),
    "outer": Flag("N", "Outer folds of a nested search; 5 by default."),
    "seed": Flag("N", "Of the draws of candidates; 0 by default."),
}
TUNE = {
    "budget": Flag("TIME|COUNT", "15s, 10m, '500 networks' or '5e7 steps'; 60s by default.", read_text),
    "confirm": Flag(
        "FRACTION|nested",
        "Rows that the search never sees, for the comparison; or nest the search in outer folds. By default "
        "0.3 of 1,000 rows (or groups) or more, and nested for fewer.",
    ),
    "baseline": Flag("NAME=VALUE,…", "Values of the baseline that are not searched.", read_text),
}
VALUES = Flag("VALUES", "Values of the space: loguniform(1e-3,1), uniform(0.4,0.95), or some with commas.")
OPTIONS = ("seeds", "folds", "pairing", "workers", "kernel", "metric", "store")
FLAGS: dict[str, Flag] = {
    **TUNE,
    **DATA,
    **CONFIG,
    **{name: flag._replace(metavar=VALUES.metavar) for name, flag in AXES.items()},
    **SEARCH,
    **{name: SWEEP[name] for name in OPTIONS},
    # What a search takes by default is not what a sweep does.
    "seeds": SWEEP["seeds"]._replace(words="Networks of each finalist: how many, or which; 8 by default."),
    "num_steps": CONFIG["num_steps"]._replace(
        words="Gradient steps; about 40 epochs by default, 900 or more."
    ),
}
HEADINGS = {
    "Search": (*TUNE, *SEARCH, "space_file"),
    "Data": tuple(DATA),
    "Network and training": tuple(CONFIG),
    "Hyperparameters, each a part of the space": tuple(AXES),
    "Comparison and store": OPTIONS,
    **cluster.HEADINGS,
}
MATTERS = {
    "Search": ("budget", "confirm", "metric"),
    "Data": ("target", "groups"),
    "What to try": ("l2", "keep_prob", "learning_rate", "hidden", "space_file"),
    "Output": ("out", "model"),
}
DISTRIBUTIONS = ("loguniform", "uniform", "always")


@click.command(cls=LongCommand, matters=MATTERS, sections=HEADINGS)
@flags_of(FLAGS)
@click.argument("source", metavar="[DATA]", required=False, shell_complete=complete_data)
@click.option("--space", "space_file", metavar="FILE.toml", help="The whole space: name = values.")
@click.option("--no-store", is_flag=True, help="The same as --store none.")
@click.option("--model", metavar="PATH", help="Write the model: a folder, or a .safetensors file.")
@click.option("--out", metavar="FILE", help="Write the comparison as a page, as `regjax report` does.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@terminal.cache_option
@cluster.cluster_options
def tune(
    source: str | None,
    flags: dict[str, Any],
    space_file: str | None,
    no_store: bool,
    model: str | None,
    out: str | None,
    as_json: bool,
    compilation_cache: bool,
) -> None:
    """Searches regularisers without a grid, and says whether one helps on rows that the search never saw.

    A budget of time, networks or steps is all that must be said. A flag of a hyperparameter changes what is
    searched: --l2 "loguniform(0.01,10)", --keep-prob 1,0.9,0.8, --l1 none. The same command goes on after an
    interruption, and a larger budget begins with what the store has. With --dask HOST:PORT the networks are
    trained on a cluster.
    """
    from regjax.engine.tune import tune as searched

    terminal.use_compilation_cache(compilation_cache)
    if no_store:
        flags["store"] = "none"
    with user_errors():
        arguments = _arguments(source, flags, space_file)
        store = arguments["store"]
        if store is not None:
            from regjax.store.database import check_store

            check_store(store)
        _check_files(model, out, store)
    try:
        # The shape of all errors of a user: they are found before anything is trained.
        with training_errors(), terminal.sweep_progress(as_json) as report, user_errors():
            tuned = searched(**arguments, progress=report)
    except KeyboardInterrupt as stop:
        kept = "nothing was written" if store is None else terminal.how_to_go_on(store, stop)
        raise Interrupted(kept) from None
    finish(tuned, model, out, as_json=as_json)


def finish(tuned: Tuned, model: str | None, out: str | None, *, as_json: bool) -> None:
    """Prints the answer of a search, and writes its model and its page where they are asked for."""
    from regjax.engine.references import references_or_why
    from regjax.report.searches import search_page
    from regjax.store.model_file import model_path, save_model
    from regjax.study.questions import Questions

    beside, written = None, []
    if out is not None or not as_json:  # the JSON object has none
        beside = references_or_why(tuned.of_choice, Questions(metric=tuned.metric))
    with user_errors():
        if model is not None:
            save_model(tuned.model, model_path(model))
            written.append(str(model_path(model)))
        if out is not None:
            page = search_page(tuned, beside)
            terminal.write(Path(out), lambda part: part.write_text(page, "utf-8"))
            written.append(out)
    if as_json:
        print(json.dumps(tuned.as_json() | {"written": written}, allow_nan=False))
        return
    print(tuned)
    print(beside)
    if written:
        print(f"written: {', '.join(written)}")


def _check_files(model: str | None, out: str | None, store: str | None) -> None:
    """Raises what is wrong with the paths that are written, before anything is trained."""
    from regjax.cli.stored import check_not_the_store
    from regjax.store.model_file import model_path

    for name in (None if model is None else str(model_path(model)), out):
        if name is None:
            continue
        if store is not None:
            check_not_the_store("tune", name, store)
        terminal.writable_folder(os.path.dirname(name) or ".", [os.path.basename(name)])
    if out is not None:
        terminal.check_extra("out", "bokeh", "report")
        terminal.check_drawing()


def _arguments(source: str | None, flags: dict[str, Any], space_file: str | None) -> dict[str, Any]:
    """Returns the arguments of `engine.tune.tune`."""
    from regjax.data.names import DEFAULT
    from regjax.study.space import default_space
    from regjax.study.tuned import Search

    given = {name: _read(name, text) for name, text in flags.items()}
    data = one_source(source, given.pop("data", None))
    space, config = {}, {}
    for name in [name for name in given if name in AXES or name in CONFIG]:
        value = given.pop(name)
        # One value of a field of Config holds for all; several are searched.
        fixed = name in CONFIG and not (name in CONFIG_AXES and isinstance(value, list))
        (config if fixed else space)[name] = value
    search = {name: given.pop(name) for name in SEARCH if name in given}
    store = given.pop("store", STORE)
    if "baseline" in given:
        given["baseline"] = assignments_of(given["baseline"], "learning_rate=0.01,hidden=32")
    if space_file is not None:
        space = read_space(space_file) | space
    elif space or config:
        default = default_space(config.get("optimizer", "adamw"))
        kept = {name: values for name, values in default.items() if name not in config}
        if "dropout" in space:
            kept.pop("keep_prob")
        space = kept | space
    return given | {
        "data": DEFAULT if data is None else data,
        "space": space or None,
        "config": config or None,
        "search": Search(**search),
        "store": None if store == "none" else store,
    }


def _read(name: str, text: str | bool) -> Any:
    """Returns the value of a flag; a distribution stays a text."""
    if isinstance(text, bool):
        return text
    if name in AXES or name in CONFIG_AXES:
        if text.split("(")[0].strip() in DISTRIBUTIONS:
            return text
        values = values_of(name, text)
        return values if len(values) > 1 else values[0]
    return FLAGS[name].read(name, text)


def read_space(path: str) -> dict[str, Any]:
    """Returns the space of a TOML file: a name and its values on each line.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no TOML, or a value is a table.
    """
    try:
        found = tomllib.loads(Path(path).read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: must be a TOML file, and could not be read as one ({error})") from None
    for name, values in found.items():
        if isinstance(values, dict):
            raise ValueError(f"{path}: {name} must be a value, got a table: one name = values a line")
        if isinstance(values, str):
            found[name] = _read(name, values) if name in FLAGS else values
        elif isinstance(values, list):
            found[name] = [tuple(value) if isinstance(value, list) else value for value in values]
    return found
