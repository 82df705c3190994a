"""The figures of a sweep's results by name; `regjax plot` and docs/gallery.py look them up here.

A new figure is a function `(results, *, …) -> Figure` in a module of its own, and a name in `DRAWN`.
"""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from regjax.plot.along import gap
from regjax.plot.answers import question
from regjax.plot.columns import importance
from regjax.plot.dataset import data_set
from regjax.plot.decision import boundaries, boundary
from regjax.plot.detectable import power
from regjax.plot.differences import forest
from regjax.plot.dropped import masks
from regjax.plot.lines import curves
from regjax.plot.maps import heatmap, stability
from regjax.plot.weights import path

DRAWN = (
    data_set, curves, boundary, boundaries, heatmap, gap, question, forest, power, importance, path,
    stability, masks,
)  # fmt: skip
KINDS: dict[str, Callable[..., Figure]] = {draw.__name__: draw for draw in DRAWN}
