"""`regjax predict`: what a model file predicts for the rows of a table; `main` adds the command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np

from regjax.cli import terminal
from regjax.cli.options import text_options
from regjax.cli.terminal import UserError, ctrl_c, user_errors
from regjax.cli.values import read_words

if TYPE_CHECKING:
    from regjax.study.model import Model


class Table(NamedTuple):
    """The rows of a file: features, the numbers of its rows, and the target's column where it is there."""

    features: Any
    numbers: np.ndarray
    target: Any

    def row_name(self, row: int) -> str:
        """Returns the name of a row in messages."""
        return f"row {self.numbers[row]}"


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="DATA")
@click.option("-o", "out", metavar="FILE", help="Where the predictions go; by default to standard output.")
@text_options
def predict(model: str, data: str, out: str | None, gaps: str | None, **options: Any) -> None:
    """Writes what a model predicts for each row of a table, as CSV.

    MODEL is the file or folder that `regjax fit` wrote; DATA a table, or a .npz or .mat file with X. Columns
    are found by name. For classes there is a column of probabilities for each. Where the target is in the
    table, a line on standard error says how good the predictions are.
    """
    from regjax.data.loaders import of_file
    from regjax.store.model_file import load_model, model_path

    with user_errors():
        found = load_model(model)
        if out is not None:
            for source in (data, str(model_path(model))):
                if os.path.exists(out) and os.path.exists(source) and os.path.samefile(out, source):
                    raise ValueError(f"predictions must not go into {source} itself, which is read")
            terminal.writable_folder(os.path.dirname(out) or ".", [os.path.basename(out)])
        words = [*found.schema.gaps, *(read_words("gaps", gaps) if gaps is not None else [])]
        table = _read(data, found, options | {"gaps": words})
        with of_file(data):
            rows = found.rows(table.features, table.row_name)
    for note in found.notes(rows, table.row_name):
        print(f"note: {note}", file=sys.stderr)
    if out is None:
        outputs = _write(found, rows, table.numbers, sys.stdout)
    else:
        kept: list[np.ndarray] = []
        with user_errors():
            terminal.write(Path(out), _saver(found, rows, table.numbers, kept))
        (outputs,) = kept
        print(f"written: {out}")
    if table.target is not None:
        print(_score(found, outputs, table.target), file=sys.stderr)


def _read(path: str, model: Model, options: dict[str, Any]) -> Table:
    """Returns the rows of a file; arrays are numbered from 1."""
    from regjax.data.loaders import load_arrays

    if path.lower().endswith((".npz", ".mat")):
        given = [name for name, value in options.items() if value not in (None, [], [*model.schema.gaps])]
        if given:
            raise UserError(f"{given[0]} must only be given with a table, got {path}")
        arrays = load_arrays(path)
        if "X" not in arrays:
            raise ValueError(f"{path}: must hold X, it holds {', '.join(arrays) or 'nothing'}")
        X, y = np.atleast_1d(arrays["X"]), arrays.get("y")
        if not len(X):
            raise ValueError(f"{path}: X must hold rows, got none")
        return Table(X, np.arange(1, len(X) + 1), y.ravel() if y is not None and y.size == len(X) else None)
    from regjax.data.files import read_table

    read = read_table(path, **options)
    target = model.schema.target
    has_target = target and target in read.frame.columns
    return Table(read.frame, read.row_numbers, read.frame[target] if has_target else None)


def _saver(
    model: Model, rows: np.ndarray, numbers: np.ndarray, kept: list[np.ndarray]
) -> Callable[[Path], None]:
    """Returns a function that writes the predictions to a path, and keeps the predicted values."""

    def save(path: Path) -> None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            kept.append(_write(model, rows, numbers, file))

    return save


def _write(model: Model, rows: np.ndarray, numbers: np.ndarray, file: Any) -> np.ndarray:
    """Writes a line for each row, block by block, and returns the predicted labels or values."""
    import pandas as pd

    found, header = [], True
    for place, outputs in model.in_blocks(rows):
        ctrl_c.check()
        answers = model.decide(outputs)
        columns: dict[str, Any] = {"row": numbers[place]}
        if model.classes is not None:
            columns["prediction"] = answers
            columns |= {f"p({label})": outputs[:, k] for k, label in enumerate(model.classes.tolist())}
        elif answers.ndim == 1:
            columns["prediction"] = answers
        else:
            columns |= {f"prediction {k + 1}": answers[:, k] for k in range(answers.shape[1])}
        # Nine digits tell any two numbers of float32 apart.
        pd.DataFrame(columns).to_csv(file, index=False, header=header, float_format="%.9g")
        found.append(answers)
        header = False
    return np.concatenate(found)


def _score(model: Model, answers: np.ndarray, target: Any) -> str:
    """Returns a sentence on how good the predictions are, on the rows whose target is known."""
    from regjax.data.cells import read_cells
    from regjax.data.targets import codes_of

    cells = read_cells(target)
    if model.classes is not None:
        known = ~cells.gaps
        right = (codes_of(cells, model.classes) == codes_of(read_cells(answers), model.classes))[known]
        what, value = "accuracy", float(np.mean(right)) if len(right) else None
    else:
        numbers = cells.quantity
        known = np.zeros(len(answers), bool) if numbers is None else np.isfinite(numbers)
        errors = answers[known] - numbers[known] if numbers is not None and answers.ndim == 1 else []
        what, value = "rmse", float(np.sqrt(np.mean(np.square(errors)))) if len(errors) else None
    name = model.schema.target or "y"
    if value is None:
        return f"{name} is not known in these rows: no {what}"
    rows = f"{int(known.sum()):,} rows" + ("" if known.all() else f" whose {name} is known")
    return f"{what} {value:.4f} on these {rows}"
