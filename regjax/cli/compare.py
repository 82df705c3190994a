"""`regjax compare`: the tutorial's three networks, or every regulariser beside none; `main` adds it."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from regjax.cli import terminal
from regjax.cli.options import one_source
from regjax.cli.terminal import Interrupted, ctrl_c, user_errors

if TYPE_CHECKING:
    from regjax.core.data import Data
    from regjax.tutorial.experiment import Experiment, Run, Settings

PICTURES = ("dataset.png", "cost_curves.png", "decision_boundaries.png", "masks.png")
SHEET = "regularisers.png"
UNTUNED = "no strength is tuned: this shows what each does, not which is best; `regjax sweep` measures that"
CAVEAT = "one seed each: an illustration, not evidence; `regjax sweep` measures it"


class Asked(NamedTuple):
    """The options of `regjax compare`, as click reads them."""

    source: str
    target: str | None
    steps: str
    learning_rate: float
    l2: float
    keep_prob: float
    seed: int
    numpy_rng: bool
    x64: bool
    out: str
    regularisers: str | None
    animate: str | None
    as_json: bool

    @property
    def num_steps(self) -> int:
        """The number of gradient steps; raises TypeError or ValueError where the text is no such number."""
        from regjax.core.checks import check_count

        try:
            number = float(self.steps)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise TypeError(f"steps must be a whole number, got {self.steps!r}")
        return check_count("steps", int(number) if number == int(number) else number)

    @property
    def samples(self) -> tuple[Data, Data]:
        """The training and test samples; raises as `load_two_classes`."""
        from regjax.data.loaders import load_two_classes
        from regjax.data.table import Reading

        return load_two_classes(self.source, reading=Reading(target=self.target))

    @property
    def settings(self) -> Settings:
        """The settings of the three networks; raises as `num_steps`."""
        from regjax.tutorial.experiment import Settings

        return Settings(
            num_steps=self.num_steps, learning_rate=self.learning_rate, l2=self.l2, keep_prob=self.keep_prob,
            seed=self.seed, numpy_rng=self.numpy_rng, dtype="float64" if self.x64 else "float32",
        )  # fmt: skip


@click.command()
@click.argument("data", metavar="[DATA]", required=False)
@click.option(
    "--data", "named", show_default="two_regions", metavar="NAME|PATH",
    help="The same as DATA: a name, a table or arrays, as in `regjax sweep`.",
)  # fmt: skip
@click.option("--target", metavar="COLUMN", help="Target of a table; by default its last column.")
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
@click.option(
    "--animate", metavar="gif|mp4",
    help="Of data of two features: the boundaries while the networks train, beside the pictures.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@terminal.cache_option
@click.pass_obj
def compare(
    started: float, compilation_cache: bool, data: str | None, named: str | None, **options: Any
) -> None:
    """Trains one network three times: without regularisation, with L2, with dropout.

    The network has 20 and 3 hidden units and takes full-batch steps. The pictures are written to --out.
    """
    terminal.use_compilation_cache(compilation_cache)
    source = one_source(data, named)
    asked = Asked("two_regions" if source is None else source, **options)
    if asked.regularisers is None:
        _three_networks(asked, started)
    else:
        _each_regulariser(asked, asked.regularisers)


def _three_networks(asked: Asked, started: float) -> None:
    """Trains without regularisation, with L2 and with dropout; draws the pictures and prints the table."""
    from regjax.data.loaders import of_file
    from regjax.tutorial.experiment import check_samples, check_settings, run_experiment

    with user_errors():
        settings = asked.settings
        train, test = asked.samples
        config, _ = check_settings(len(train.x), settings)
        with of_file(asked.source):
            check_samples(config, train, test)
        moving = _animation(asked, len(train.x))
        folder = terminal.writable_folder(asked.out, (*PICTURES, *moving))
        terminal.check_drawing()
    written: list[str] = []
    try:
        with terminal.progress("training three networks", settings.num_steps, quiet=asked.as_json) as advance:
            experiment = run_experiment(
                train, test, settings, on_progress=advance, with_snapshots=bool(moving)
            )
        if not asked.as_json:
            _print_table(experiment, len(train.x))
        # Pictures are drawn one at a time, so that Ctrl-C between two leaves only whole files.
        for name, figure in _figures(experiment, train, test, settings.numpy_rng):
            _save(folder / name, figure, written)
            ctrl_c.check()
        for name in moving:
            _save_animation(folder / name, experiment, train, written)
    except KeyboardInterrupt:
        raise Interrupted(f"written: {', '.join(written)}" if written else "nothing was written") from None
    seconds = {**experiment.seconds, "total": time.perf_counter() - started}
    if asked.as_json:
        # allow_nan=False: JSON has no NaN, and parsers in other languages stop at one.
        print(json.dumps(_as_json(experiment, seconds), allow_nan=False))
    else:
        print(f"all in all {seconds['total']:.2f} seconds; written: {', '.join(written)}")


def _animation(asked: Asked, num_features: int) -> list[str]:
    """Returns the file name of the animation that is asked for, if any; raises ValueError for a bad one."""
    from regjax.core.checks import check_choice

    if asked.animate is None:
        return []
    check_choice("animate", asked.animate, ("gif", "mp4"))
    if num_features != 2:
        raise ValueError(f"animate must be given with data of two features, got {num_features}")
    terminal.check_drawing()
    from regjax.plot.animation import check_animation

    check_animation(name := f"decision_boundaries.{asked.animate}")
    return [name]


def _save_animation(path: Path, experiment: Experiment, train: Data, written: list[str]) -> None:
    """Writes the boundaries while the networks train, and adds the path to what was written."""
    from regjax.tutorial.figures import animate_boundaries

    with user_errors():
        animate_boundaries(experiment, train, path)
    written.append(str(path))


def _each_regulariser(asked: Asked, names: str) -> None:
    """Trains each regulariser beside none, prints the paired table, and draws the boundaries."""
    from regjax.tutorial import showcase

    with user_errors():
        if asked.animate is not None:
            raise ValueError(f"animate must be given without --regularisers, got {asked.animate}")
        chosen, num_steps = showcase.check_names(names), asked.num_steps
        train, _ = asked.samples
        showcase.check_rate(asked.learning_rate)
        folder = terminal.writable_folder(asked.out, (SHEET,))
        terminal.check_drawing()
    try:
        with terminal.sweep_progress(asked.as_json) as report:
            results = showcase.run_showcase(
                train, chosen, num_steps=num_steps, learning_rate=asked.learning_rate, report=report
            )
        ctrl_c.check()
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    _show_regularisers(results, folder, len(train.x) == 2, asked.as_json)


def _show_regularisers(results: Any, folder: Path, two_d: bool, as_json: bool) -> None:
    """Prints each regulariser's paired difference from none, or all of it as JSON, and draws the sheet."""
    from regjax.cli import tables
    from regjax.plot import figures
    from regjax.study.results import Answers

    comparison, written = results.compare(), list[str]()
    if not as_json:
        print(UNTUNED)
        tables.show_comparison(comparison)
        for note in comparison.notes:
            print(note)
    if two_d:
        _save(folder / SHEET, figures.boundaries(results), written)
    if as_json:
        seconds = {"compile": results.compile_seconds, "train": results.train_seconds}
        print(json.dumps(tables.as_json(results, Answers(comparison), seconds, written), allow_nan=False))
    elif written:
        print(f"written: {', '.join(written)}")


def _save(path: Path, figure: Any, written: list[str]) -> None:
    """Writes a figure, and adds its path to what was written."""
    with user_errors():
        terminal.write(path, functools.partial(terminal.save_figure, figure))
    written.append(str(path))


def _figures(experiment: Experiment, train: Data, test: Data, frozen: bool) -> Iterator[tuple[str, Any]]:
    """Yields the name and the figure of each picture that the data allows, drawn only when asked for."""
    from regjax.tutorial import figures

    two_d = len(train.x) == 2
    if two_d:
        yield "dataset.png", figures.dataset(train, test)
    yield "cost_curves.png", figures.cost_curves(experiment.runs)
    if two_d:
        boundaries = figures.decision_boundaries(experiment.runs, train, experiment.config)
        yield "decision_boundaries.png", boundaries
    words = "the same at every step" if frozen else "at step 0"
    yield "masks.png", figures.masks(experiment.masks, experiment.runs[2].keep_prob, words)


def _reported_steps(run: Run) -> list[tuple[int, int]]:
    """Returns (step, index of its record) of multiples of 10,000 and of the last step."""
    steps = run.history["step"].tolist()
    return [(step, i) for i, step in enumerate(steps) if step % 10_000 == 0 or i == len(steps) - 1]


def _as_json(experiment: Experiment, seconds: dict[str, float]) -> dict[str, Any]:
    from regjax.study.provenance import device, versions

    def number(value: Any) -> float | None:
        return float(value) if math.isfinite(value) else None  # JSON has no NaN

    runs = [
        {
            "name": run.name,
            "l2": run.l2,
            "keep_prob": run.keep_prob,
            "cost": {str(step): number(run.history["cost"][i]) for step, i in _reported_steps(run)},
            "train_accuracy": number(run.final("train_accuracy")),
            "test_accuracy": number(run.final("test_accuracy")),
            "status": "ok" if run.diverged_at is None else "diverged",
            "diverged_at": run.diverged_at,
        }
        for run in experiment.runs
    ]
    return {"runs": runs, "seconds": seconds, "device": device(), "versions": versions()}


def _print_table(experiment: Experiment, num_features: int) -> None:
    from rich.console import Console

    seconds = experiment.seconds

    # As wide as the table, whatever the terminal: rich would cut numbers, and 0.8085 is not 0.8….
    console = Console(width=100, highlight=False)
    console.print(_table(experiment, seconds["train"] / len(experiment.runs)))
    for run in experiment.runs:
        if run.diverged_at is not None:
            finite = run.history["cost"][run.history["finite"]]
            last = f"last finite cost {finite[-1]:.4g}" if len(finite) else "never finite"
            console.print(f"{run.name}: diverged by step {run.diverged_at:,}, {last}")
    console.print(CAVEAT)
    console.print(
        "cost: as optimised, penalty and dropout's noise included; acc.: accuracy without dropout; "
        f"gap: train - test, in percentage points; seconds: the {len(experiment.runs)} trained together in "
        f"{seconds['train']:.2f}, shared out; compiling {seconds['compile']:.2f}",
        soft_wrap=True,
    )
    if num_features != 2:
        console.print(f"{num_features} features: no pictures of points and boundaries, which need 2")


def _table(experiment: Experiment, seconds: float) -> Any:
    """Returns the table of costs and accuracies, a line for each network; `seconds` is the time of each."""
    from rich import box
    from rich.table import Table

    steps = _reported_steps(experiment.runs[0])
    steps = steps if len(steps) <= 4 else [*steps[:3], steps[-1]]  # more columns do not fit
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("run", no_wrap=True)
    for name in (*(f"cost at\n{step:,}" for step, _ in steps), "train\nacc.", "test\nacc.", "gap", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in experiment.runs:
        costs = [f"{run.history['cost'][i]:.4f}" for _, i in steps]
        table.add_row(_name(run), *costs, *_scores(run), f"{seconds:.2f}")
    return table


def _name(run: Run) -> str:
    return {"none": "none", "l2": f"l2 {run.l2:g}"}.get(run.name, f"dropout {run.keep_prob:g}")


def _scores(run: Run) -> tuple[str, str, str]:
    """Returns training and test accuracy and their difference in percentage points."""
    if run.diverged_at is not None:
        return "diverged", "", ""
    train, test = run.final("train_accuracy"), run.final("test_accuracy")
    return f"{train:.1%}", f"{test:.1%}", f"{100 * (train - test):+.1f}"
