"""`TableEncoder`: a table's columns as a network's inputs, the way that `regjax.sweep` makes them.

Users put it before any estimator; `fitted.py` makes one of a `Model`.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_feature_names, check_is_fitted, validate_data

from regjax.data.encode import Statistics, encode, fit_statistics
from regjax.data.schema import Column, Schema, take_schema
from regjax.data.table import as_pandas, is_frame


class TableEncoder(TransformerMixin, BaseEstimator):
    """A transformer of tables: numbers are standardised, categories one-hot, gaps filled and said.

    The kinds of columns, their levels and the statistics are taken from the rows that it is fitted on, as
    `regjax.sweep` takes them: gaps are filled with the median; rare levels have one input together; levels
    that are not known are 0 in all inputs. Columns of a frame are found by name, in any order.

    Args:
        columns: name of a column -> "numeric", "category", "date" or "drop", in place of what is found; names
            to drop may be missing in the table.
        standardize: whether numbers are standardised.
        dtype: "float64" or "float32" of the inputs.

    Attributes:
        schema_: what the columns are.
        statistics_: medians, means, scales and rare levels of the rows that it was fitted on.
        n_features_in_: number of columns.
        feature_names_in_: their names, where it was fitted on a frame.

    Example:
        >>> import pandas as pd, regjax
        >>> table = pd.DataFrame({"age": [22, 35, None, 22], "town": ["a", "b", "a", "b"]})
        >>> encoder = regjax.TableEncoder().fit(table)
        >>> encoder.get_feature_names_out().tolist()
        ['age', 'age missing', 'town = a', 'town = b']
        >>> encoder.transform(table[["town", "age"]]).round(1)[0].tolist()
        [-0.6, 0.0, 1.0, 0.0]
    """

    _parameter_constraints = {  # noqa: RUF012  scikit-learn reads it from the class
        "columns": [dict, None],
        "standardize": ["boolean"],
        "dtype": [StrOptions({"float64", "float32"})],
    }

    def __init__(self, columns: Any = None, *, standardize: bool = True, dtype: str = "float64") -> None:
        self.columns = columns
        self.standardize = standardize
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Returns the encoder, fitted.

        Args:
            X: a frame of pandas or polars, or an array of numbers, `(n_samples, n_columns)`, NaN for gaps.
            y: not read.

        Raises:
            ValueError: a column that cannot be what is asked of it, or none that can be an input.
        """
        if is_frame(X):
            frame = as_pandas(X)
            names = [str(name) for name in frame.columns]
            kinds = {name: kind for name, kind in (self.columns or {}).items()
                     if kind != "drop" or name in names}  # fmt: skip
            schema = take_schema(frame, kinds)
            rows = schema.code(frame)
            _check_feature_names(self, frame, reset=True)
            self.n_features_in_ = len(names)
        else:
            rows = self._of_array(X, reset=True)
            schema = _schema_of_array(rows, self.columns or {})
            kept = {column.name for column in schema.kept}
            rows = rows[:, [column.name in kept for column in schema.columns]]
        self.schema_: Schema = schema
        self.statistics_: Statistics = fit_statistics(schema, rows, standardize=self.standardize)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Returns the inputs, `(n_samples, len(schema_.input_names))`.

        Args:
            X: as in `fit`; of a frame the columns that were dropped may be missing.

        Raises:
            TypeError: an array where it was fitted on a frame with text.
            ValueError: columns that are missing or unknown, or another number of them.
        """
        check_is_fitted(self)
        schema = self.schema_
        if is_frame(X) and hasattr(self, "feature_names_in_"):
            rows = schema.code(as_pandas(X))
        elif not schema.plain and hasattr(self, "feature_names_in_"):
            raise TypeError(
                f"X must be a frame with the columns that the encoder was fitted on, got {type(X).__name__}"
            )
        else:
            rows = self._of_array(X, reset=False)
            if rows.shape[1] != len(schema.kept):
                rows = rows[:, [column.kind != "drop" for column in schema.columns]]
        return encode(schema, self.statistics_, rows, self.dtype).T

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Returns the names of the inputs: "age", "age missing", "town = a", …."""
        check_is_fitted(self)
        return np.array(self.schema_.input_names, object)

    def _of_array(self, X: Any, reset: bool) -> np.ndarray:
        found: Any = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


def _schema_of_array(rows: np.ndarray, kinds: dict[str, str]) -> Schema:
    """Returns the schema of an array of numbers, whose columns are x1, x2, …: all are kept, unless told."""
    gaps: Any = np.isnan(rows).any(axis=0)
    columns = [Column(f"x{j + 1}", "numeric", "number", bool(gap)) for j, gap in enumerate(gaps.tolist())]
    unknown = [name for name, kind in kinds.items() if kind not in ("numeric", "drop")]
    if unknown or not set(kinds) <= {column.name for column in columns}:
        raise ValueError(
            f"columns must name columns of an array (x1 … x{len(columns)}) numeric or drop, got {kinds}: "
            "give a frame for other kinds"
        )
    return Schema(tuple(
        Column(column.name, "drop", "left out, as asked") if kinds.get(column.name) == "drop" else column
        for column in columns
    ))  # fmt: skip
