"""The data sets of `bench_tune`, their outer splits, and the preprocessing that its opponents share.

regjax gets the table as it is; the opponents get what a user would write by hand: medians for gaps,
standardised numbers, an input for each level of a category, standardised real targets.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from benchmarks.public_tables import TABLES, encoder_of, features_of, frame_of

# Data set -> key of `public_tables.TABLES`, and whether it is a regression; data.mat is a file of the user's.
SETS = {
    "data.mat": ("", False),
    "Titanic": ("Titanic", False),
    "orange juice": ("orange juice", False),
    "houses in Windsor": ("houses in Windsor", True),
    "credit cards": ("credit cards", False),
    "personality": ("personality", False),
    "public spending": ("public spending", True),
}
OUTER, TEST = 10, 0.2


class Problem(NamedTuple):
    """A data set.

    Attributes:
        name: key of `SETS`.
        frame: table with its target, text for classes.
        target: name of the target's column.
        real: whether it is a regression.
    """

    name: str
    frame: Any
    target: str
    real: bool

    @property
    def y(self) -> np.ndarray:
        """Targets: real values, or the number of each row's class, `(n,)`."""
        column = self.frame[self.target]
        return (
            column.to_numpy(float) if self.real else np.unique(column.to_numpy(str), return_inverse=True)[1]
        )

    def split(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the training and of the test part of an outer split, stratified for classes."""
        from sklearn.model_selection import train_test_split

        rows = np.arange(len(self.frame))
        train, test = train_test_split(
            rows, test_size=TEST, random_state=number, stratify=None if self.real else self.y
        )
        return np.sort(train), np.sort(test)

    def score(self, predicted: np.ndarray, rows: np.ndarray) -> float:
        """Returns the accuracy, or R², of predictions of `y[rows]`."""
        from sklearn.metrics import accuracy_score, r2_score

        return float((r2_score if self.real else accuracy_score)(self.y[rows], predicted))

    def prepared(self) -> tuple[Any, Any]:
        """Returns the features for scikit-learn, and an unfitted transformer to inputs of a network."""
        from regjax.data.schema import take_schema

        features = self.frame.drop(columns=[self.target])
        schema = take_schema(features)
        return features_of(features, schema), encoder_of(schema)


def load(name: str) -> Problem:
    """Returns a data set by its key of `SETS`.

    Raises:
        KeyError: data.mat, and REGJAX_DATA_MAT is not set.
    """
    import pandas as pd

    if name == "data.mat":
        import regjax

        data, _ = regjax.load_mat(os.environ["REGJAX_DATA_MAT"])
        frame = pd.DataFrame(np.asarray(data.x).T, columns=[f"x{i + 1}" for i in range(len(data.x))])
        frame["y"] = np.asarray(data.y)[0].astype(str)
        return Problem(name, frame, "y", False)
    key, real = SETS[name]
    package, item, target = TABLES[key]
    frame = frame_of(package, item)
    frame = frame[frame[target].notna()].reset_index(drop=True)
    if not real:
        frame[target] = frame[target].astype(str)
    return Problem(name, frame, target, real)
