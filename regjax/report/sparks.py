"""The curve of every configuration as a line of the table's height: `arrays` calls `sparks`.

A line is the path of an SVG, some 80 letters: 10,000 of them are less than a megabyte, and the table makes an
image of those rows alone that a reader sees.
"""

from __future__ import annotations

import numpy as np

from regjax.study.results import Results

# Points of a line, and the room that it has.
POINTS, WIDTH, HEIGHT = 12, 66, 18
# The share of all points at either end that is cut off: one curve that diverges would flatten the rest.
CUT = 0.02


def sparks(results: Results, metric: str) -> list[str]:
    """Returns a metric against the step as SVG paths, one a configuration, all on one scale.

    A curve is the mean over seeds and folds; what is not finite leaves a gap, and a configuration without
    two finite points in turn shows nothing.

    Args:
        results: the results of the sweep.
        metric: the name of a recorded metric.
    """
    values = np.full((len(results.design.configurations), POINTS), np.nan)
    for configuration, line in enumerate(values):
        table = results.carried_on(metric, configuration)
        line[:] = table[:, :, spread(table.shape[-1], POINTS)].mean(axis=(0, 1))
    values[~np.isfinite(values)] = np.nan
    seen = values[np.isfinite(values)]
    low, high = np.quantile(seen, (CUT, 1 - CUT)) if seen.size else (0.0, 1.0)
    share = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    tops = 1 + (1 - share) * (HEIGHT - 2)
    x = np.round(np.linspace(1, WIDTH - 1, POINTS)).astype(int).tolist()
    return [path(x, line) for line in tops]


def spread(count: int, points: int) -> np.ndarray:
    """Returns the indices of so many records of a curve, evenly over all of them, the ends included.

    >>> spread(5, 3).tolist()
    [0, 2, 4]
    """
    return np.round(np.linspace(0, count - 1, points)).astype(int)


def path(x: list[int], y: np.ndarray) -> str:
    """Returns the points of a line as an SVG path, with a gap where y is not finite.

    >>> path([0, 6, 12, 18], np.array([1, 4, np.nan, 2.0]))
    'M0 1L6 4M18 2'
    """
    found, pen = "", "M"
    for across, down in zip(x, y.tolist(), strict=True):
        if down != down:
            pen = "M"
            continue
        found += f"{pen}{across} {down:.3g}"
        pen = "L"
    return found
