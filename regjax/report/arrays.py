"""A sweep as arrays of a few megabytes: all that the page's script reads, see report.js.

`html` calls `arrays_of`, and `models` builds the page's figures around these arrays; `words` lists the axes.
Arrays that only pictures are made of travel as float16, in the bits of uint16.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from regjax.core.metrics import without_split
from regjax.plot.request import order_of
from regjax.plot.samples import plane
from regjax.report.compact import BUDGET, as_half
from regjax.report.evidence import counterparts, differences, evidence, gaps
from regjax.report.networks import MOST_POINTS, histograms, networks, predictions, rows_kept
from regjax.report.sparks import sparks, spread
from regjax.study.comparison import Comparison
from regjax.study.configuration import value_of
from regjax.study.design import Design
from regjax.study.results import Results
from regjax.study.selection import higher_is_better
from regjax.study.words import as_cell, as_text, in_order

# An axis with more values than this is divided into bins of equally many values.
MOST_LEVELS = 40
BINS = 20
# Least and most points of a curve.
CURVE = (12, 100)
# R² below it is not drawn: it would hide all above.
LEAST_R2 = -1.0


def arrays_of(
    results: Results, metric: str, comparison: Comparison | None, chosen: int | None
) -> dict[str, Any]:
    """Returns all that the page's script reads, by name.

    Args:
        results: the results of the sweep.
        metric: the metric that ranks the configurations, or the training loss where nothing is held out.
        comparison: the comparison of single configurations, or None.
        chosen: the chosen configuration, or None.
    """
    design = results.design
    order, rank = _ranks(results, metric)
    axes = axes_of(design)
    splits = [split for split in ("train", "val", "test") if f"{split}_loss" in results.records]
    measured = [f"{split}_{name}" for split in splits for name in design.metrics]
    # Beside the loss: the metric that ranks, or that would if samples were held out.
    beside = (metric if not metric.endswith("_loss") else design.metric).split("_", 1)[1]
    curved = [name for name in measured if without_split(name) in ("loss", beside)]
    is_plane = len(design.data.x) == 2 and design.fold_inputs is None and not design.coded
    kept = rows_kept(results)
    return {
        "axes": [axis._asdict() for axis in axes],
        "columns": columns_of(results, metric, rank, axes),
        "rank": rank,
        "names": [design.in_words(c, 4) for c in design.configurations],
        "start": int(order[0]) if chosen is None else chosen,
        "chosen": -1 if chosen is None else chosen,
        "diverged": (results.num_ok() < design.num_replicates).astype(np.uint8),
        "metric": metric,
        "curve": beside,
        "units": {name: design.in_units(name) for name in (metric, *measured, *design.metrics)},
        "higher": {name: higher_is_better(name) for name in (metric, *design.metrics)},
        "scores": {name: _score(results, name) for name in measured},
        "gap": gaps(results, metric),
        "first": differences(results, comparison)._asdict(),
        "sparks": sparks(results, f"{'val' if 'val' in splits else splits[0]}_{beside}"),
        # Whether there is a best mean that others can be held against: the marks of the heatmap.
        "judged": metric != "train_loss" and int((results.num_ok() == design.num_replicates).sum()) > 1,
        "counterpart": counterparts(results, comparison),
        "evidence": evidence(results, metric),
        "curves": curves(results, curved),
        "dots": dots(results, measured),
        "bars": histograms(results, kept),
        "networks": networks(results, order, kept) if is_plane else None,
        "predictions": None if is_plane else predictions(results, order, kept),
        "plane": plane_of(design) if is_plane else None,
        "real": _range_of_targets(design),
    }


def _ranks(results: Results, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the configurations from best to worst, and the rank of each, 0 the best."""
    order = np.arange(len(results.design.configs))
    if metric != "train_loss":  # nothing is ranked by the samples that were trained on
        order = order_of(results, metric)
    rank = np.empty(len(order), np.uint32)
    rank[order] = np.arange(len(order))
    return order, rank


def _range_of_targets(design: Design) -> list[float] | None:
    """Returns the least and the largest target, None of classes."""
    targets = np.asarray(design.data.y[0])
    if np.issubdtype(targets.dtype, np.integer):
        return None
    return [float(targets.min()), float(targets.max())]


class Axis(NamedTuple):
    """An axis of a grid as the page offers it: its values, or bins of them, are its levels.

    Attributes:
        name: the name of the hyperparameter.
        texts: the text of each level, in order.
        level: the level of each configuration, `(configurations,)`, uint16.
    """

    name: str
    texts: list[str]
    level: np.ndarray


def axes_of(design: Design) -> list[Axis]:
    """Returns the axes of a grid; of a grid without any, one with a single level."""
    named = {name: in_order(values) for name, values in design.axes.items()}
    if not named:
        name = (*design.names, "l2")[0]
        named = {name: [value_of(design.configurations[0], name)]}
    found = []
    for name, values in named.items():
        place = {value: index for index, value in enumerate(values)}
        level = np.array([place[value_of(c, name)] for c in design.configurations])
        texts = [as_text(value, 4) for value in values]
        if len(values) > MOST_LEVELS and all(isinstance(value, float) for value in values):
            bins = np.array_split(np.arange(len(values)), BINS)
            texts = [f"{as_text(values[b[0]], 3)} … {as_text(values[b[-1]], 3)}" for b in bins]
            level = np.searchsorted([b[0] for b in bins], level, side="right") - 1
        found.append(Axis(name, texts, level.astype(np.uint16)))
    return found


def curves(results: Results, names: list[str]) -> dict[str, Any]:
    """Returns metrics against the step, means over seeds and folds.

    Returns:
        points: how many points a curve has.
        kind: the kind of each configuration; those of one kind have the same recorded steps.
        steps: `(kinds, points)`.
        means: metric -> `(configurations, points)`, float16.
    """
    design = results.design
    count = len(design.configurations)
    most = BUDGET["curves"] // (2 * count * len(names))
    points = int(np.clip(most, *CURVE))
    kinds: dict[tuple[int, int], int] = {}
    kind = np.array([kinds.setdefault((c.num_steps, c.eval_every), len(kinds)) for c in design.configs])
    found = {name: np.zeros((count, points)) for name in names}
    steps = np.zeros((len(kinds), points))
    for number in kinds.values():
        members = np.flatnonzero(kind == number).tolist()
        every = results.steps(members[0])
        places = spread(len(every), points)
        steps[number] = every[places]
        for name, configuration in itertools.product(names, members):
            table = results.carried_on(name, configuration)
            found[name][configuration] = table[:, :, places].mean(axis=(0, 1))
        for name in (name for name in names if name.endswith("_r2")):
            found[name][found[name] < LEAST_R2] = np.nan
    return {
        "points": points,
        "kind": kind.astype(np.uint16),
        "steps": steps.ravel(),
        "means": {name: as_half(values).ravel() for name, values in found.items()},
    }


def dots(results: Results, names: list[str]) -> dict[str, Any]:
    """Returns metrics of every network, of as many seeds as fit.

    Returns:
        seeds: how many seeds are in the page.
        count: how many networks of a configuration.
        x: the fold of each network, or its seed where there is one split, `(count,)`.
        values: metric -> `(configurations + 1, count)`, float16.
    """
    design = results.design
    per_seed = 2 * len(design.configurations) * design.num_folds * len(names)
    seeds = max(1, min(len(design.seeds), BUDGET["dots"] // per_seed))
    folds = np.tile(np.arange(design.num_folds), seeds)
    beyond = np.full(seeds * design.num_folds, np.nan)
    return {
        "seeds": seeds,
        "count": seeds * design.num_folds,
        "x": folds if design.splits.kind == "folds" else np.array(design.seeds[:seeds]),
        # The last configuration has NaN only: report.js draws it where there is no baseline.
        "values": {name: as_half(np.append(results.table(name)[:, :seeds], beyond)) for name in names},
    }


def _score(results: Results, metric: str) -> dict[str, Any]:
    """Returns the means of a metric (`values`, `(configurations,)`), and the range of their colours."""
    values = results.table(metric).mean(axis=(1, 2)).astype(np.float32)
    seen = values[np.isfinite(values)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    if high - low <= 1e-6 * abs(high):  # all equal: a range around it
        low, high = low - 0.1 * (abs(low) or 1), high + 0.1 * (abs(high) or 1)
    return {"values": values, "low": low, "high": high}


def columns_of(results: Results, metric: str, rank: np.ndarray, axes: list[Axis]) -> dict[str, Any]:
    """Returns the columns of the page's table: hyperparameters, then metrics; none of test samples."""
    design = results.design
    found: dict[str, Any] = {} if metric == "train_loss" else {"rank": rank + 1}
    for name in (axis.name for axis in axes):
        values = [as_cell(value_of(c, name)) for c in design.configurations]
        real = all(isinstance(v, int | float) and math.isfinite(v) for v in values)
        found[name] = np.array([float(f"{v:.6g}") for v in values]) if real else list(map(str, values))
    summary = results.summary(None if metric == "train_loss" else metric)
    for name in summary:
        if name == metric or str(name).startswith(("train_", "val_")):
            found[str(name)] = summary[name].to_numpy(np.float64)
    if "low" in summary:
        found |= {f"{metric}_{end}": summary[end].to_numpy(np.float64) for end in ("low", "high")}
    found["networks"] = [f"{ok} of {design.num_replicates}" for ok in results.num_ok()]
    return found


def points_of(design: Design) -> dict[str, np.ndarray]:
    """Returns at most `MOST_POINTS` samples of two features: `x1`, `x2`, `y` (label, or first target)."""
    some = np.unique(np.linspace(0, design.data.x.shape[1] - 1, MOST_POINTS).astype(int))
    x = np.asarray(design.data.x, np.float32)[:, some]
    return {"x1": x[0], "x2": x[1], "y": np.asarray(design.data.y)[0, some].astype(np.float32)}


def plane_of(design: Design) -> list[float]:
    """Returns the range of two features and 8 % beyond: lowest and highest x1, lowest and highest x2."""
    sides, _ = plane(np.asarray(design.data.x), 2)
    return [float(end) for side in sides for end in side]
