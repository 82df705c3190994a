"""`regjax sweep` and `regjax plan`: their flags are the names of regjax/cli/spec.py, with dashes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from regjax.cli import tables, terminal
from regjax.cli.terminal import Interrupted, ctrl_c, store_errors, user_errors
from regjax.core.hparams import HYPERPARAMETERS
from regjax.engine.progress import Progress, Report, bar, lines

if TYPE_CHECKING:
    from regjax.cli.spec import Spec
    from regjax.study.comparison import Comparison
    from regjax.study.design import Design
    from regjax.study.results import Choice, Results

FILES = ("sweep.toml", "results.csv", "summary.csv", "comparison.csv", "scores.png", "curves.png")

# What is asked of the results, and does not change what is trained.
QUESTIONS = ("metric", "rule", "allow_diverged", "baseline", "over")

# Python name -> (metavar, help). A test holds that these are the keys of the TOML.
FLAGS: dict[str, tuple[str, str]] = {
    "data": (
        "NAME|PATH",
        "two_regions, iris, wine, breast_cancer, digits, diabetes; or a .mat, .npz or .csv file.",
    ),
    "target": ("COLUMN", "Target of a .csv file; by default its last column."),
    "task": ("KIND", "auto, classification or regression."),
    "test": ("none|FRACTION|PATH", "Rows to report on at the end; by default those of the data set, if any."),
    "standardize": (
        "",
        "Standardise inputs by each fold's training part; off for two_regions and .mat files.",
    ),
    "hidden": ("UNITS", "Hidden layers, such as 20/3, or none."),
    "activation": ("NAME", "relu, tanh, sigmoid, gelu or identity."),
    "loss": ("NAME", "auto, sigmoid_cross_entropy, softmax_cross_entropy or squared_error."),
    "optimizer": ("NAME", "sgd, momentum, nesterov, adam or adamw."),
    "num_steps": ("N", "Gradient steps."),
    "batch_size": ("N|full", "Rows per step."),
    "eval_every": ("N", "Steps between two records."),
    "init": ("NAME", "Initial weights: tutorial, he or glorot."),
    "dtype": ("NAME", "float32 or float64."),
    "precision": ("NAME", "Of matrix products: highest, high or default."),
    "schedule": ("KIND", "Of the learning rate: constant, cosine or exponential."),
    "warmup_steps": ("N", "In which the learning rate rises from 0."),
    "decay_steps": ("N", "Of the schedule; all steps by default."),
    "class_weight": ("balanced|none|W,W,…", "balanced gives every class the same weight in training."),
    "batches": ("KIND", "equal, or all: the rows of an epoch that are left over are a smaller batch."),
    "shuffle": ("", "Every epoch has its own order of rows; on by default."),
    "epsilon_hat": ("", "Adam's eps as scikit-learn and Keras add it."),
    "stop_on": (
        "loss|score|none",
        "Stop after --n-iter-no-change epochs no better by --tol, as scikit-learn.",
    ),
    "draws": ("jax|sklearn", "Who draws weights and orders of rows: sklearn as random_state = seed does."),
    "metrics": ("NAME,…|none", "What is recorded beside the loss; by default all that fits the targets."),
    **{name: ("VALUES", declared.words) for name, declared in HYPERPARAMETERS.items()},
    "dropout": ("VALUES", "A rate: keep_prob = 1 - dropout."),
    "seeds": ("N|LIST", "How many (0, 1, …), or which."),
    "folds": ("N|none", "Folds, stratified for classes."),
    "validation": ("FRACTION", "Hold this out once, instead of folds."),
    "epochs": ("N", "Instead of --num-steps."),
    "pairing": ("KIND", "paired (all configurations of a seed and fold share draws) or independent."),
    "stopping": ("FRACTION", "Of each training part: what early stopping (--patience) watches."),
    "workers": ("N", "Tasks at a time; by default one per core."),
    "keep": ("WHOSE", "Parameters that stay in memory: all, best or none."),
    "metric": ("NAME", "What is ranked; val_accuracy or val_r2 by default."),
    "rule": ("NAME", "mean: the best mean. one_se: the simplest within one standard error of it."),
    "allow_diverged": ("", "Let configurations compete by their networks that did not diverge."),
    "baseline": ("NAME=VALUE,…", "What the others are held against; by default every regulariser off."),
    "over": ("NAMES", "Axes of which each arm uses its own best value."),
    "store": ("PATH", "SQLite file that keeps every finished network; none goes without."),
}
SHORTER = {"num_steps": "--steps"}


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds SPEC.toml and a flag per key of it; the command gets them as `path` and `flags`."""

    @functools.wraps(command)
    def collected(path: str | None, **given: Any) -> Any:
        flags: dict[str, Any] = {}
        for name in FLAGS:
            value = given.pop(name)
            if isinstance(value, tuple):
                if len(value) > 1:
                    raise terminal.UserError(f"{name} must be given once, got it {len(value)} times")
                value = value[0] if value else None
            if value is not None:
                flags[name] = value
        return command(path=path, flags=flags, **given)

    found: Callable[..., Any] = collected
    for name, (metavar, words) in reversed(FLAGS.items()):
        flag = f"--{name.replace('_', '-')}"
        if metavar:
            names = [name, flag, *([SHORTER[name]] if name in SHORTER else [])]
            found = click.option(*names, multiple=True, metavar=metavar, help=words)(found)
        else:
            found = click.option(name, f"{flag}/--no-{flag[2:]}", default=None, help=words)(found)
    return click.argument("path", metavar="[SPEC.toml]", required=False)(found)


@click.command()
@spec_options
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
    from regjax.cli.spec import as_toml
    from regjax.engine.sweep import run
    from regjax.store.database import check_store

    with user_errors():
        if no_store:
            if flags.get("store", "none") != "none":
                raise ValueError("store and no_store must not both be given")
            flags["store"] = "none"
        spec, design = _designed(path, flags, compilation_cache, print_config)
        if design is None:
            return
        plan = _planned(spec, design)
        kept_in = None if spec.sweep["store"] == "none" else spec.sweep["store"]
        if kept_in is not None:
            check_store(kept_in)
            if os.path.abspath(kept_in) in {os.path.abspath(os.path.join(out, name)) for name in FILES}:
                raise ValueError(f"store must not be one of the files that are written, got {kept_in!r}")
        folder = terminal.writable_folder(out, FILES)
    written: list[str] = []
    try:
        if not as_json:
            print(plan)
        with terminal.opened_store(kept_in) as store, store_errors(), progress_on_terminal(as_json) as report:
            results = run(
                design, plan, report=report, store=store, source=spec.data["data"],
                asked={
                    "questions": {name: spec.sweep[name] for name in QUESTIONS if name in spec.sweep},
                    "command": _command(path, flags),
                    "toml": as_toml(spec),
                },
            )  # fmt: skip
        ctrl_c.check()
        comparison, choice, silence = answers(results, spec.sweep)
        if not as_json:
            tables.show(results, comparison, choice, silence)
        for name, save in _files(spec, results, comparison, choice):
            with user_errors():
                terminal.write(folder / name, save)
            written.append(str(folder / name))
            ctrl_c.check()
        # An earlier sweep's files must not stand beside this one's.
        for name in FILES:
            if str(folder / name) not in written:
                (folder / name).unlink(missing_ok=True)
    except KeyboardInterrupt as stop:
        kept = "nothing was written" if kept_in is None else terminal.how_to_go_on(kept_in, stop)
        raise Interrupted(f"written: {', '.join(written)}" if written else kept) from None
    seconds = {
        "compile": results.compile_seconds,
        "train": results.train_seconds,
        "total": time.perf_counter() - started,
    }
    if as_json:
        print(
            json.dumps(
                tables.as_json(results, comparison, choice, silence, seconds, written), allow_nan=False
            )
        )
    else:
        print(tables.ending(results, seconds, written))


@click.command()
@spec_options
@click.option("--probe/--no-probe", default=True, help="Compile, and train for a moment to predict seconds.")
@click.option("--print-config", is_flag=True, help="Print the resolved sweep as TOML, and do nothing.")
@terminal.cache_option
def plan(
    path: str | None, flags: dict[str, Any], probe: bool, print_config: bool, compilation_cache: bool
) -> None:
    """Says what a sweep will take, before anything is spent: networks, programs, memory, seconds."""
    from regjax.engine.sweep import probed

    with user_errors():
        spec, design = _designed(path, flags, compilation_cache, print_config)
        if design is None:
            return
        found = _planned(spec, design)
    print(probed(design, found) if probe else found)


def _command(path: str | None, flags: Mapping[str, Any]) -> str:
    """Returns the command line that says this."""
    words = ["regjax", "sweep", *([path] if path else [])]
    for name, value in flags.items():
        flag = name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", value]
    return shlex.join(words)


def _designed(
    path: str | None, flags: dict[str, Any], cache: bool, print_config: bool
) -> tuple[Spec, Design | None]:
    """Returns the spec and its design; prints the spec instead where that is asked."""
    from regjax.cli import spec as specs
    from regjax.study.design import make_design

    spec = specs.resolve(path, flags)
    if print_config:
        print(specs.as_toml(spec), end="")
        return spec, None
    terminal.use_compilation_cache(cache)
    with terminal.named_data(str(spec.data["data"])):
        return spec, make_design(**spec.arguments())


def _planned(spec: Spec, design: Design) -> Any:
    import jax

    from regjax.study.plan import make_plan

    workers, keep = spec.sweep.get("workers"), spec.sweep.get("keep")
    plan = make_plan(design, workers=workers, keep=keep, backend=jax.default_backend())
    return dataclasses.replace(plan, notes=(*plan.notes, *_check_questions(spec, design)))


def _check_questions(spec: Spec, design: Design) -> list[str]:
    """Returns what will not be answered, and raises a user's slip: before anything is trained."""
    from regjax.core.checks import check_choice
    from regjax.study.comparison import resolve_baseline
    from regjax.study.selection import Rule

    rule = spec.sweep["rule"]
    check_choice("rule", rule, get_args(Rule))
    if not isinstance(spec.sweep["allow_diverged"], bool):
        raise TypeError(f"allow_diverged must be true or false, got {spec.sweep['allow_diverged']!r}")
    if rule == "one_se" and (design.splits.kind == "none" or design.num_units < 2):
        raise ValueError("one_se must have at least two folds or seeds on held-out rows: use --folds 5")
    asked = "baseline" in spec.sweep or "over" in spec.sweep
    if design.splits.kind == "none" and not asked and "metric" not in spec.sweep:
        return ["nothing is held out: no comparison and no choice"]
    design.check_metric(spec.sweep.get("metric"))
    try:
        resolve_baseline(design, spec.sweep.get("baseline"), spec.sweep.get("over", ()))
    except ValueError as error:
        if asked:
            raise
        return [f"there will be no comparison: {error}"]
    return []


def answers(results: Results, asked: Mapping[str, Any]) -> tuple[Comparison | None, Choice | None, list[str]]:
    """Returns the comparison, the choice, and why one of them is missing.

    Args:
        results: of the sweep.
        asked: metric, rule, baseline, … as in `Spec.sweep`.
    """
    metric, silence = asked.get("metric"), []
    comparison = choice = None
    try:
        comparison = results.compare(asked.get("baseline"), asked.get("over", ()), metric)
    except ValueError as error:
        silence.append(f"no comparison: {error}")
    try:
        choice = results.best(metric, asked["rule"], allow_diverged=asked["allow_diverged"])
    except ValueError as error:
        silence.append(f"no choice: {error}")
    return comparison, choice, silence


@contextlib.contextmanager
def progress_on_terminal(quiet: bool) -> Iterator[Report]:
    """Yields what the host loop calls: it answers Ctrl-C, and shows how far the sweep is."""
    silent: Report = lambda progress: None  # noqa: E731
    shown = contextlib.nullcontext(silent) if quiet else bar() if sys.stderr.isatty() else lines()
    with shown as show:

        def report(progress: Progress) -> None:
            ctrl_c.check()
            show(progress)

        yield report


def _files(
    spec: Spec, results: Results, comparison: Comparison | None, choice: Choice | None
) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """Yields names and what writes them, drawn when it is their turn."""
    from regjax.cli.spec import as_toml
    from regjax.plot import figures as plot

    metric = tables.shown_metric(results, choice)
    found = {"results.csv": results.to_pandas(), "summary.csv": results.summary(metric)}
    if comparison is not None:
        found["comparison.csv"] = comparison.table.drop(columns="sentence")
    yield "sweep.toml", lambda path: path.write_text(as_toml(spec))
    for name, table in found.items():
        yield name, functools.partial(table.to_csv, index=False)
    for name, draw in (("scores.png", plot.heatmap), ("curves.png", plot.curves)):
        yield name, functools.partial(terminal.save_figure, draw(results, metric=metric))
