"""`regjax compare` and `regjax check`."""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from regjax.cli import terminal
from regjax.cli.terminal import Interrupted, ctrl_c, user_errors

if TYPE_CHECKING:
    from regjax.core.data import Data
    from regjax.tutorial.experiment import Experiment

PICTURES = ("dataset.png", "cost_curves.png", "decision_boundaries.png", "masks.png")
SHEET = "regularisers.png"
UNTUNED = "no strength is tuned: this shows what each does, not which is best; `regjax sweep` measures that"
CAVEAT = "one seed each: an illustration, not evidence; `regjax sweep` measures it"


@click.command()
@click.option(
    "--data",
    "source",
    default="two_regions",
    show_default=True,
    metavar="NAME|PATH",
    help="two_regions, or a .mat, .npz or .csv file.",
)
@click.option("--steps", default="30000", show_default=True, metavar="N", help="Gradient steps.")
@click.option("--learning-rate", default=0.3, show_default=True)
@click.option("--l2", default=0.7, show_default=True, help="λ of the L2 network.")
@click.option("--keep-prob", default=0.86, show_default=True, help="Of the dropout network.")
@click.option("--seed", default=0, show_default=True, help="Of weights and masks.")
@click.option(
    "--numpy-rng", is_flag=True, help="The tutorial's NumPy streams: weights from seed 3, one frozen mask."
)
@click.option("--x64", is_flag=True, help="Compute in float64.")
@click.option(
    "--out", default="regjax-compare", show_default=True, metavar="DIR", help="Where the pictures go."
)
@click.option(
    "--regularisers",
    metavar="all|NAMES",
    help="Instead: each of these beside none, 8 seeds, and a sheet of their boundaries.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@terminal.cache_option
@click.pass_obj
def compare(
    started: float,
    source: str,
    steps: str,
    learning_rate: float,
    l2: float,
    keep_prob: float,
    seed: int,
    numpy_rng: bool,
    x64: bool,
    out: str,
    regularisers: str | None,
    as_json: bool,
    compilation_cache: bool,
) -> None:
    """Trains one network three times: without regularisation, with L2, with dropout.

    The network has 20 and 3 hidden units and takes full-batch steps. The pictures are written to --out.
    """
    from regjax.tutorial.experiment import check_experiment, run_experiment

    if regularisers is not None:
        terminal.use_compilation_cache(compilation_cache)
        _cabinet(regularisers, source, steps, learning_rate, out, as_json)
        return

    terminal.use_compilation_cache(compilation_cache)
    with user_errors():
        options: dict[str, Any] = {
            "num_steps": _whole("steps", steps),
            "learning_rate": learning_rate,
            "l2": l2,
            "keep_prob": keep_prob,
            "seed": seed,
            "dtype": "float64" if x64 else "float32",
        }
        train, test = _load(source)
        with terminal.named_data(source):
            check_experiment(train, test, **options)
        folder = terminal.writable_folder(out, PICTURES)
    written: list[str] = []
    try:
        with terminal.progress("training three networks", options["num_steps"], quiet=as_json) as on_progress:
            experiment = run_experiment(train, test, **options, numpy_rng=numpy_rng, on_progress=on_progress)
        for name, figure in _figures(experiment, train, test, numpy_rng):
            with user_errors():
                terminal.write(folder / name, functools.partial(terminal.save_figure, figure))
            written.append(str(folder / name))
            ctrl_c.check()
    except KeyboardInterrupt:
        raise Interrupted(f"written: {', '.join(written)}" if written else "nothing was written") from None
    seconds = {**experiment.seconds, "total": time.perf_counter() - started}
    if as_json:
        print(json.dumps(_as_json(experiment, seconds), allow_nan=False))
    else:
        _print_table(experiment, seconds, written, train)


def _cabinet(names: str, source: str, steps: str, learning_rate: float, out: str, as_json: bool) -> None:
    """Trains each regulariser beside none, prints the paired table, and draws the boundaries."""
    from regjax.cli import tables
    from regjax.cli.sweep import progress_on_terminal
    from regjax.plot import figures as plot
    from regjax.tutorial import showcase as cabinet

    with user_errors():
        chosen = cabinet.check_names(names)
        num_steps = _whole("steps", steps)
        train, _ = _load(source)
        cabinet.check_rate(learning_rate)
        folder = terminal.writable_folder(out, (SHEET,))
    try:
        with progress_on_terminal(as_json) as report:
            results = cabinet.run_cabinet(
                train, chosen, num_steps=num_steps, learning_rate=learning_rate, report=report
            )
        ctrl_c.check()
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    comparison, written = results.compare(), []
    if len(train.x) == 2:
        with user_errors():
            terminal.write(folder / SHEET, functools.partial(terminal.save_figure, plot.boundaries(results)))
        written.append(str(folder / SHEET))
    if as_json:
        seconds = {"compile": results.compile_seconds, "train": results.train_seconds}
        print(json.dumps(tables.as_json(results, comparison, None, [], seconds, written), allow_nan=False))
        return
    print(UNTUNED)
    tables.show_comparison(comparison)
    for line in (*comparison.notes, *([f"written: {', '.join(written)}"] if written else [])):
        print(line)


def _whole(name: str, text: str) -> int:
    from regjax.core.checks import check_count

    try:
        number = float(text)
    except ValueError:
        raise TypeError(f"{name} must be a whole number, got {text!r}") from None
    if not math.isfinite(number):
        raise TypeError(f"{name} must be a whole number, got {text!r}")
    return check_count(name, int(number) if number == int(number) else number)


def _load(source: str) -> tuple[Data, Data]:
    from regjax.core import data
    from regjax.data import loaders as datasets
    from regjax.data import splits

    train, test = datasets.load(source, task="classification")
    if test is not None:
        return train, test
    with terminal.named_data(source):
        data.check_two_classes(train)
        return splits.hold_out(train, 0.3)


def _figures(experiment: Experiment, train: Data, test: Data, frozen: bool) -> Iterator[tuple[str, Any]]:
    from regjax.tutorial import figures as plot

    two_d = train.x.shape[0] == 2
    if two_d:
        yield "dataset.png", plot.dataset(train, test)
    yield "cost_curves.png", plot.cost_curves(experiment.runs)
    if two_d:
        yield "decision_boundaries.png", plot.decision_boundaries(experiment.runs, train, experiment.config)
    words = "the same at every step" if frozen else "at step 0"
    yield "masks.png", plot.masks(experiment.masks, experiment.runs[2].keep_prob, words)


def _reported_steps(history: dict[str, Any]) -> list[tuple[str, int]]:
    """Returns (step, index) of multiples of 10,000 and of the last step."""
    steps = history["step"].tolist()
    return [(str(s), i) for i, s in enumerate(steps) if s % 10_000 == 0 or i == len(steps) - 1]


def _as_json(experiment: Experiment, seconds: dict[str, float]) -> dict[str, Any]:
    from regjax.study.provenance import device, versions

    def number(value: Any) -> float | None:
        return float(value) if math.isfinite(value) else None

    runs = [
        {
            "name": run.name,
            "l2": run.l2,
            "keep_prob": run.keep_prob,
            "cost": {step: number(run.history["cost"][i]) for step, i in _reported_steps(run.history)},
            "train_accuracy": number(run.final("train_accuracy")),
            "test_accuracy": number(run.final("test_accuracy")),
            "status": "ok" if run.diverged_at is None else "diverged",
            "diverged_at": run.diverged_at,
        }
        for run in experiment.runs
    ]
    return {"runs": runs, "seconds": seconds, "device": device(), "versions": versions()}


def _print_table(experiment: Experiment, seconds: dict[str, float], written: list[str], train: Data) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # As wide as the table, whatever the terminal: rich would cut numbers, and 0.8085 is not 0.8….
    console = Console(width=100, highlight=False)
    steps = _reported_steps(experiment.runs[0].history)
    steps = steps if len(steps) <= 4 else [*steps[:3], steps[-1]]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("run", no_wrap=True)
    for step, _ in steps:
        table.add_column(f"cost at\n{int(step):,}", justify="right", no_wrap=True)
    for name in ("train\nacc.", "test\nacc.", "gap", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in experiment.runs:
        train_accuracy, test_accuracy = run.final("train_accuracy"), run.final("test_accuracy")
        name = {"none": "none", "l2": f"l2 {run.l2:g}"}.get(run.name, f"dropout {run.keep_prob:g}")
        costs = [f"{run.history['cost'][i]:.4f}" for _, i in steps]
        scores = [
            f"{train_accuracy:.1%}",
            f"{test_accuracy:.1%}",
            f"{100 * (train_accuracy - test_accuracy):+.1f}",
        ]
        if run.diverged_at is not None:
            scores = ["diverged", "", ""]
        table.add_row(name, *costs, *scores, f"{seconds['train'] / len(experiment.runs):.2f}")
    console.print(table)
    for run in experiment.runs:
        if run.diverged_at is not None:
            finite = run.history["cost"][run.history["finite"]]
            last = f"last finite cost {finite[-1]:.4g}" if len(finite) else "never finite"
            console.print(f"{run.name}: diverged by step {run.diverged_at:,}, {last}")
    console.print(CAVEAT)
    console.print(
        "cost: as optimised, penalty and dropout's noise included; acc.: accuracy without dropout; "
        f"gap: train - test, in percentage points; seconds: the {len(experiment.runs)} trained together in "
        f"{seconds['train']:.2f}, shared out; compiling {seconds['compile']:.2f}, "
        f"all in all {seconds['total']:.2f}",
        soft_wrap=True,
    )
    if train.x.shape[0] != 2:
        console.print(f"{train.x.shape[0]} features: no pictures of points and boundaries, which need 2")
    console.print("written: " + ", ".join(written), soft_wrap=True)


@click.command()
@terminal.cache_option
def check(compilation_cache: bool) -> None:
    """Holds every hand-derived gradient against jax.grad and central differences.

    Exit code 1 if any exceeds its bound.
    """
    from regjax.core import certificate
    from regjax.study.provenance import device

    terminal.use_compilation_cache(compilation_cache)
    with terminal.progress("checking gradients", certificate.NUM_PROGRAMS, quiet=False) as on_progress:
        rows = certificate.certify(on_progress=on_progress)
    print(certificate.as_text(rows))
    bad = [row for row in rows if not row.ok]
    verdict = (
        f"{len(bad)} of {len(rows)} exceed their bound" if bad else f"all {len(rows)} within their bounds"
    )
    print(f"{verdict}; float64 on {device()}")
    sys.exit(1 if bad else 0)
