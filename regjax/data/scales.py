"""Means and scales of a training part, by which inputs and real targets are standardised; designs call it."""

from __future__ import annotations

from typing import Any

import numpy as np

from regjax.core.data import Data


def standardisation(data: Data, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and scale of each feature over the training samples, `(n_features, 1)` each, float64.

    The scale is the standard deviation, and 1 where a feature is constant.

    Args:
        data: all samples.
        train: training weights, `(n,)`.
    """
    mean, spread = _moments(data.x, train)
    return mean, np.where(spread == 0, 1.0, spread)


def target_standardisation(data: Data, train: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the mean of each target over the training samples, `(n_outputs, 1)`, float64, and one scale.

    The scale is the root of the mean of the outputs' variances, and 1 where all outputs are constant. It is
    common to all outputs, so that a loss, which sums over them, has the scale's square as its unit.

    Args:
        data: all samples, with real targets.
        train: training weights, `(n,)`.
    """
    mean, spread = _moments(data.y, train)
    return mean, float(np.sqrt(np.mean(spread**2))) or 1.0


def _moments(values: Any, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation over the training samples, `(lines, 1)` each, float64.

    Args:
        values: `(lines, n)`; the deviation of a constant line is 0.
        train: training weights, `(n,)`.
    """
    seen, weights = np.asarray(values, np.float64)[:, train > 0], train[train > 0]
    # Weighted, so that a sample of weight 2 counts as two samples.
    mean = np.average(seen, axis=1, weights=weights)[:, None]
    spread = np.sqrt(np.average((seen - mean) ** 2, axis=1, weights=weights))[:, None]
    # The deviations of a constant feature are rounding errors: dividing by them would blow them up.
    constant = spread <= 10 * np.finfo(float).eps * np.abs(mean)
    return mean, np.where(constant, 0.0, spread)
