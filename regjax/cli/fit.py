"""`regjax fit`: the chosen configuration of a stored sweep, trained on all rows, as a file; `main` adds
the command.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from regjax.cli import terminal
from regjax.cli.stored import check_not_the_store, number_of, of_a_sweep
from regjax.cli.terminal import Interrupted, training_errors, user_errors
from regjax.core.checks import check_count, counted
from regjax.study.words import duration

if TYPE_CHECKING:
    from regjax.study.model import Model
    from regjax.study.questions import Questions
    from regjax.study.results import Results


@click.command()
@of_a_sweep()
@click.option(
    "--configuration", type=int, metavar="N", help="Its number in the sweep; by default the chosen one."
)
@click.option(
    "--ensemble", type=int, default=1, show_default=True, metavar="N", help="Networks that are averaged."
)
@click.option(
    "-o", "out", default="model/", show_default=True, metavar="PATH", help="A folder, or a .safetensors file."
)
@click.option("--onnx", metavar="FILE", help="Write the model as ONNX too; needs regjax[onnx].")
@terminal.cache_option
def fit(
    path: str,
    number: str,
    configuration: int | None,
    ensemble: int,
    out: str,
    onnx: str | None,
    compilation_cache: bool,
) -> None:
    """Trains the chosen configuration of a finished sweep on all rows, and writes it as one file.

    The choice is that of the sweep: its metric and its rule. `regjax predict` applies the file to a table.
    """
    terminal.use_compilation_cache(compilation_cache)
    with user_errors():
        check_count("ensemble", ensemble)
        file = _target(path, out, onnx)
        results, questions = _stored(path, number)
    began = time.perf_counter()
    try:
        with user_errors(), training_errors(), terminal.sweep_progress(False) as report:
            from regjax.engine.refit import refit

            model = refit(
                results, configuration=configuration, seeds=ensemble, questions=questions, report=report
            )
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    seconds = time.perf_counter() - began
    with user_errors():
        _write(model, file, onnx)
    _show(model, seconds)
    print(f"written: {', '.join(str(name) for name in (file, onnx) if name is not None)}")


def _target(store: str, out: str, onnx: str | None) -> Path:
    """Returns the file that the model goes to; raises what can be known before training."""
    from regjax.store.model_file import model_path

    file = model_path(out)
    for name in (str(file), onnx):
        check_not_the_store("fit", name, store)
        if name is not None:
            terminal.writable_folder(os.path.dirname(name) or ".", [os.path.basename(name)])
    if onnx is not None:
        terminal.check_extra("onnx", "onnx", "onnx")
        if os.path.abspath(onnx) == os.path.abspath(file):
            raise ValueError(f"onnx must be another file than the model's, got {onnx!r} twice")
    return file


def _stored(path: str, number: str) -> tuple[Results, Questions]:
    """Returns the results of a finished sweep, and the questions that it was begun with."""
    from regjax.engine.sweep import load
    from regjax.store.store import Store

    results = load(path, number_of(number))
    with Store(path, create=False) as store:
        return results, store.design_of(store.sweep_number(number_of(number))).questions


def _write(model: Model, file: Path, onnx: str | None) -> None:
    from regjax.store.model_file import save_model
    from regjax.store.onnx_file import export_onnx

    save_model(model, file)
    if onnx is not None:
        export_onnx(model, onnx)


def _show(model: Model, seconds: float) -> None:
    chosen, training = model.chosen, model.training
    print(f"chosen: {chosen.reason}")
    seeds = ", ".join(map(str, training.seeds[:10])) + (", …" if len(training.seeds) > 10 else "")
    print(
        f"trained: {counted(len(training.seeds), 'network')} (seed {seeds}) on all "
        f"{counted(training.num_rows, 'row')}, {counted(len(model.schema.kept), 'column')} as "
        f"{counted(model.schema.width, 'input')}, in {duration(seconds)}"
    )
