"""Figures of results, and of any model: on Matplotlib without pyplot, so nothing touches global state.

A figure of one panel takes `ax=`, one of several takes `figure=` (a Figure or SubFigure), for layouts of
your own; each returns the whole Figure. docs/gallery.md shows them all, and docs/intervals.md says what the
intervals mean.

    results = regjax.sweep("two_regions", grid=regjax.grid(l2=[0, 0.1, 1]), folds=5)
    regjax.plot.heatmap(results).savefig("map.png")
    regjax.plot.boundary(estimator, X, y).savefig("boundary.png")
"""

from typing import TYPE_CHECKING, Any

# Before any other import of Matplotlib, which fails where MPLBACKEND is not installed.
from regjax.plot import backend as backend

if TYPE_CHECKING:
    from regjax.plot.animation import animate
    from regjax.plot.answers import outer_folds, rungs
    from regjax.plot.figures import (
        KINDS,
        boundaries,
        boundary,
        curves,
        data_set,
        forest,
        gap,
        heatmap,
        importance,
        masks,
        path,
        power,
        question,
        stability,
    )
    from regjax.plot.population import schedules

__all__ = [
    "KINDS",
    "animate",
    "boundaries",
    "boundary",
    "curves",
    "data_set",
    "forest",
    "gap",
    "heatmap",
    "importance",
    "masks",
    "outer_folds",
    "path",
    "power",
    "question",
    "rungs",
    "schedules",
    "stability",
]


# The figures import the whole study: they are imported where one is asked for.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'regjax.plot' has no attribute {name!r}")
    import importlib

    # Animations, and figures of a search and of a population, are no figures of a sweep.
    others = {"animate": "animation", "schedules": "population", "rungs": "answers", "outer_folds": "answers"}
    module = others.get(name, "figures")
    return getattr(importlib.import_module(f"regjax.plot.{module}"), name)
