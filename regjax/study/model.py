"""`Model`: the networks of a chosen configuration with all that makes predictions of a user's table.

`engine/refit.py` trains one, `store/model_file.py` writes and reads it, `store/onnx_file.py` writes it as
ONNX, and `sklearn/fitted.py` makes it a Pipeline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.config import Config, Loss
from regjax.core.mlp import Params
from regjax.data.encode import Statistics, encode
from regjax.data.schema import UNSEEN, Column, RowName, Schema, position
from regjax.study.configuration import Configuration
from regjax.study.inference import network_outputs
from regjax.study.predict import numbers_by

# Rows that pass through the networks at a time, so that a million need little memory.
BLOCK = 16_384


class Chosen(NamedTuple):
    """What was chosen, and why.

    Attributes:
        words: the configuration in words.
        reason: why it was chosen, in a sentence.
        metric: validation metric of its score; "" where nothing was held out.
        validation: mean of the metric on validation, or None where nothing was held out.
        over: what the mean is taken over, in words: "over 5 folds × 8 seeds".
    """

    words: str
    reason: str
    metric: str = ""
    validation: float | None = None
    over: str = ""


class Training(NamedTuple):
    """How the networks of a model were trained.

    Attributes:
        configuration: values of the configuration.
        seeds: the seed of each network.
        standardize: whether inputs were standardised.
        num_rows: rows of the table that were trained on, those that early stopping watched among them.
        epochs: passes through these rows, rounded up.
    """

    configuration: Configuration
    seeds: tuple[int, ...]
    standardize: bool
    num_rows: int
    epochs: int


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """The networks of one configuration, one per seed, and all that makes predictions of a table.

    Predictions are averaged over the networks: probabilities of classes, or real values. They are made in
    NumPy, so that no setting of JAX changes them.

    Attributes:
        config: the `Config` of the networks.
        loss: loss that they were trained by.
        networks: parameters of each network, NumPy arrays.
        schema: what the columns of the training table are; of arrays, columns of numbers x1, x2, ….
        named: whether the columns have names, and are found by them in a frame.
        statistics: statistics of all training rows, which make inputs of columns.
        classes: the user's labels, `(n_classes,)`, or None for a regression.
        target_mean: number of each output that is added to its scaled prediction, `(n_outputs,)`.
        target_scale: factor of the predictions before that.
        chosen: what was chosen, and why.
        training: how the networks were trained.
        versions: versions of the packages that trained them, by name.

    Example:
        >>> import pandas as pd, regjax
        >>> table = pd.DataFrame({"size": [1.0, 2, 3, 4] * 5, "kind": ["a", "a", "b", "b"] * 5})
        >>> config = {"num_steps": 200, "eval_every": 100}
        >>> results = regjax.sweep(table, config, folds=2, progress=False)
        >>> model = regjax.refit(results)
        >>> model.predict(pd.DataFrame({"size": [1.0, 4.0]})).tolist()
        ['a', 'b']
    """

    config: Config
    loss: Loss
    networks: tuple[Params, ...]
    schema: Schema
    named: bool
    statistics: Statistics
    classes: np.ndarray | None
    target_mean: np.ndarray
    target_scale: float
    chosen: Chosen
    training: Training
    versions: Mapping[str, str]

    def __repr__(self) -> str:
        count = len(self.networks)
        return (
            f"<regjax.Model: {count} network{'s' if count > 1 else ''} of "
            f"{'-'.join(map(str, self.config.layer_sizes))} units ({self.chosen.words})>"
        )

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Returns labels `(n,)`, or real values, `(n,)` or `(n, n_outputs)`.

        Args:
            X: a frame of pandas or polars, whose columns are found by name in any order, without those that
                training left out if you like; or an array `(n, columns)` where the table has neither gaps nor
                categories.

        Raises:
            TypeError: X is no frame where it must be one, or holds no numbers.
            ValueError: X of another shape, with columns that are missing or unknown, or not finite.
        """
        return self.decide(self.outputs(self.rows(X)))

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Returns probabilities of `classes`, `(n, n_classes)`; arguments and errors as in `predict`.

        Raises:
            ValueError: also where the model is a regression.
        """
        if self.classes is None:
            raise ValueError("predict_proba must have a model of classes, got a regression")
        return self.outputs(self.rows(X))

    def rows(self, X: Any, row_name: RowName = position) -> np.ndarray:
        """Returns rows of a user as numbers, `(n, columns)`, gaps as NaN; arguments and errors of `predict`.

        Args:
            X: as in `predict`, `(n, columns)`.
            row_name: number of a row -> its name in messages.

        Raises:
            ValueError: of arrays, a number that is not finite.
        """
        found = numbers_by(self.schema, len(self.schema.kept), X, row_name)
        if not self.named and not np.isfinite(found).all():
            row, column = np.argwhere(~np.isfinite(found))[0]
            raise ValueError(f"X must be finite, got {found[row, column]} in sample {row}, feature {column}")
        return found

    def notes(self, rows: np.ndarray, row_name: RowName = position) -> tuple[str, ...]:
        """Returns a sentence for each column with levels or gaps that the training table does not have.

        Args:
            rows: what `rows` returns, `(n, columns)`.
            row_name: number of a row -> its name in messages.
        """
        found = []
        for column, cells in zip(self.schema.kept, rows.T, strict=True):
            unseen = np.flatnonzero(cells == UNSEEN) if column.kind == "category" else []
            if len(unseen):
                words = "a level that the training table does not have: none of its inputs is 1"
                found.append(f"{column.name} has {words}, {_listed(unseen, row_name)}")
            gaps = [] if column.gaps else np.flatnonzero(np.isnan(cells))
            if len(gaps):
                filled = "none of its inputs is 1" if column.kind == "category" else "filled with the median"
                words = f"a gap, and has none in the training table: {filled}"
                found.append(f"{column.name} has {words}, {_listed(gaps, row_name)}")
        return tuple(found)

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Returns probabilities `(n, n_classes)` or real values `(n, n_outputs)` of what `rows` returns."""
        blocks = [block for _, block in self.in_blocks(rows)]
        return np.concatenate(blocks) if blocks else self._of_inputs(rows)

    def in_blocks(self, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields the outputs of a block of rows after the other, each with its place."""
        for start in range(0, len(rows), BLOCK):
            place = slice(start, min(start + BLOCK, len(rows)))
            yield place, self._of_inputs(rows[place])

    def _of_inputs(self, rows: np.ndarray) -> np.ndarray:
        x = encode(self.schema, self.statistics, rows, self.config.dtype)
        each = [network_outputs(params, x, self.config, self.loss) for params in self.networks]
        mean = np.asarray(np.mean(each, axis=0, dtype=np.float64))
        return mean if self.classes is not None else mean * self.target_scale + self.target_mean

    def decide(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the labels, or real values, that outputs mean: `(n,)`, or `(n, n_outputs)` of several."""
        if self.classes is not None:
            return self.classes[np.argmax(outputs, axis=1)]
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def _listed(rows: Sequence[int] | np.ndarray, row_name: RowName) -> str:
    """Returns where rows are: "in row 3, row 9 and 4 more"."""
    more = f" and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return f"in {', '.join(row_name(int(row)) for row in rows[:3])}{more}"


def plain_schema(num_columns: int) -> Schema:
    """Returns the schema of arrays: columns of numbers x1, x2, … ."""
    return Schema(tuple(Column(f"x{i + 1}", "numeric", "number") for i in range(num_columns)))
