"""Figures of a finished sweep."""

from regjax.plot.figures import (
    KINDS,
    boundaries,
    boundary,
    curves,
    data_set,
    forest,
    gap,
    heatmap,
    masks,
    path,
    stability,
)

__all__ = [
    "KINDS",
    "boundaries",
    "boundary",
    "curves",
    "data_set",
    "forest",
    "gap",
    "heatmap",
    "masks",
    "path",
    "stability",
]
