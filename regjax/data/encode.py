"""From the coded rows of a table to a network's inputs, by statistics of the rows that the network trains on.

`fit_statistics` takes medians, means, scales and rare levels from training rows, by scikit-learn's own
transformers; `encode` applies them to any rows. `study/design.py` does both for each fold; a model file keeps
the statistics. They are arrays and no fitted scikit-learn object, so that a file holds them without a pickle,
and so that one function makes the inputs in training and in prediction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from regjax.data.schema import Schema


class Statistics(NamedTuple):
    """What the training rows of a table say about its columns.

    Attributes:
        median: of each kept column, which fills its gaps, `(columns,)`; NaN for categories.
        mean: of each kept column after filling, `(columns,)`; NaN for categories.
        scale: standard deviation of the same, 1 where it is constant, `(columns,)`; NaN for categories.
        rare: whether a level is too rare for its own input, for the levels of all categories in order.
    """

    median: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    rare: np.ndarray


def fit_statistics(schema: Schema, coded: np.ndarray, *, standardize: bool = True) -> Statistics:
    """Returns the statistics of training rows.

    Args:
        schema: schema of the table.
        coded: the training rows, `(n_samples, len(schema.kept))`, as `Schema.code` returns them.
        standardize: whether numbers are standardised; if not, means are 0 and scales 1.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    median, mean, scale = (np.full(len(schema.kept), np.nan) for _ in range(3))
    numbers = [j for j, column in enumerate(schema.kept) if column.kind != "category"]
    if numbers:
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        filled = imputer.fit_transform(coded[:, numbers])
        median[numbers], mean[numbers], scale[numbers] = imputer.statistics_, 0.0, 1.0
        if standardize:
            with np.errstate(over="ignore", invalid="ignore"):  # squares of numbers beyond 1e154
                scaler = StandardScaler().fit(filled)
            mean[numbers], scale[numbers] = scaler.mean_, scaler.scale_
    rare = []
    for j, column in enumerate(schema.kept):
        if column.kind != "category":
            continue
        counts = np.bincount(coded[coded[:, j] >= 0, j].astype(int), minlength=len(column.levels))
        # Without an input for rare levels each keeps its own, however few rows it has.
        rare.append((counts[: len(column.levels)] < schema.least) & bool(column.rare))
    return Statistics(median, mean, scale, np.concatenate([np.zeros(0, bool), *rare]))


def encode(schema: Schema, statistics: Statistics, coded: np.ndarray, dtype: str = "float64") -> np.ndarray:
    """Returns the inputs of coded rows, features-first, `(schema.width, n_samples)`.

    A number is filled with the median where it is a gap, and standardised. A level is 1 in its own input; a
    rare one in the input "other"; one that the table does not have in none. A gap is 1 in "missing".

    Args:
        schema: schema of the table.
        statistics: statistics of the training rows.
        coded: any rows, `(n_samples, len(schema.kept))`, as `Schema.code` returns them.
        dtype: dtype of the inputs.
    """
    found = np.zeros((schema.width, len(coded)), dtype)
    first_level = 0
    for j, column in enumerate(schema.kept):
        at = schema.column_inputs[column.name][0]
        cells = coded[:, j]
        gaps = np.isnan(cells)
        if column.kind == "category":
            count = len(column.levels)
            rare = statistics.rare[first_level : first_level + count]
            first_level += count
            # Rare levels take the place after the last level, as those that are rare in the whole table.
            place = np.where(rare, count, np.arange(count))
            known = np.flatnonzero(cells >= 0)
            codes = cells[known].astype(int)
            codes[codes < count] = place[codes[codes < count]]
            found[at + codes, known] = 1
        else:
            filled = np.where(gaps, statistics.median[j], cells)
            with np.errstate(over="ignore"):  # a held-out sample may hold any number
                found[at] = (filled - statistics.mean[j]) / statistics.scale[j]
        if column.gaps:
            found[schema.column_inputs[column.name][-1], gaps] = 1
    return found
