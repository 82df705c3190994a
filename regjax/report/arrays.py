"""What the report's page is made of: a sweep as arrays of a few megabytes.

Arrays that only pictures are made of travel as float16, in the bits of uint16. What does not fit into
`BUDGET` is there for the best configurations only.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.config import Config, Loss, local_x64
from regjax.core.metrics import without_split
from regjax.core.mlp import Params, decide, forward
from regjax.core.objective import resolve_loss
from regjax.plot.request import order_of
from regjax.plot.samples import plane
from regjax.study import intervals
from regjax.study.comparison import Comparison, Scores, per_example, resolve_pairs, unit_interval
from regjax.study.configuration import value_of
from regjax.study.design import Design
from regjax.study.records import num_params
from regjax.study.results import Results
from regjax.study.selection import higher_is_better
from regjax.study.words import as_cell, as_text, in_order

# Bytes of what has a size per configuration; in all, with Bokeh's own 2 MB and base64, 15 MB of page.
BUDGET = {"networks": 2_600_000, "curves": 1_600_000, "examples": 1_200_000, "dots": 600_000}
# Values of an axis beyond which they are gathered into bins of equally many configurations.
MOST_LEVELS = 40
BINS = 20
# Of a histogram of weights: odd, so that zero has one of its own.
BARS = 31
# Points of a picture of rows, and of a curve.
MOST_POINTS = 1_000
CURVE = (12, 100)
# Networks that predict at a time.
TOGETHER = 64
LARGEST_HALF = float(np.finfo(np.float16).max)
# R² below it is not drawn: it would hide all above.
LEAST_R2 = -1.0


class Axis(NamedTuple):
    """An axis of a grid as the page offers it.

    Attributes:
        name: of the hyperparameter.
        texts: of its levels, in order.
        level: of each configuration, `(configurations,)`.
    """

    name: str
    texts: list[str]
    level: np.ndarray


def axes_of(design: Design) -> list[Axis]:
    """Returns the axes; of a grid without any, one with a single level."""
    named = {name: in_order(values) for name, values in design.axes.items()}
    named = named or {
        name: [value_of(design.configurations[0], name)] for name in design.names[:1] or ("l2",)
    }
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


class Differences(NamedTuple):
    """Paired differences to a baseline, `(configurations,)` each, NaN where there is none.

    Attributes:
        difference: its mean.
        low: of the 95 % interval.
        high: of the 95 % interval.
        family_low: of the interval that holds for all at once.
        family_high: of the interval that holds for all at once.
        verdict: "helps", "hurts", "not separated", why there is none, or "baseline".
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    family_low: np.ndarray
    family_high: np.ndarray
    verdict: list[str]


def differences(results: Results, comparison: Comparison | None) -> Differences:
    """Returns a comparison of single configurations by their numbers."""
    count = len(results.design.configurations)
    numbers = nothing(count, Differences._fields[:-1])
    verdict = ["no baseline" if comparison is None else "baseline"] * count
    if comparison is not None:
        pairs, lonely = resolve_pairs(results.design, comparison.baseline)
        table, arms = comparison.table, [index for index, _ in pairs]
        for name, values in numbers.items():
            values[arms] = table[name].to_numpy(np.float64)
        for index, said, status in zip(arms, table["verdict"], table["status"], strict=True):
            verdict[index] = str(said or status)
        for index in lonely:
            verdict[index] = "no counterpart"
    return Differences(**numbers, verdict=verdict)


def evidence(results: Results, metric: str) -> dict[str, Any]:
    """Returns what any configuration can be made the baseline of, as `comparison.compare` does it.

    Keys: `units`, `(configurations, count)`; `lost`, why a configuration has no verdict, or ""; `error`, a
    standard error over the standard deviation of the differences; `t` and `t_family` (of all others at
    once), half an interval over its error; `noise`, below which differences are rounding, times the largest
    score; and on one split `examples`, `(configurations, rows)`, float16, None where they are not known or
    too many: centred, and scaled so that the sum of their squared differences is the squared sampling error.
    """
    design = results.design
    units, ok = results.units(metric), results.num_ok()
    probe = np.arange(units.shape[1], dtype=np.float64)
    found = unit_interval(design, probe)
    spread = float(np.std(probe, ddof=1)) if len(probe) > 1 else math.nan
    low, high = intervals.family(found, max(1, len(units) - 1))
    told: dict[str, Any] = {
        "units": units.ravel(),
        "count": units.shape[1],
        "lost": [
            f"{k} of {design.num_replicates} ok" if k < design.num_replicates else "undefined" if nan else ""
            for k, nan in zip(ok, [bool(np.isnan(row).any()) for row in units], strict=True)
        ],
        "error": found.se / spread,
        "t": (found.high - found.mean) / found.se,
        "t_family": (high - low) / 2 / found.se,
        "noise": 4 * float(np.finfo(design.configs[0].dtype).eps),
        "one_split": design.splits.kind == "validation",
        "examples": None,
    }
    if design.splits.kind == "validation":
        scores = per_example(Scores(design, metric, units, ok, results.examples))
        if scores is not None and scores.size / len(design.seeds) * 2 <= BUDGET["examples"]:
            mean = scores.reshape(len(units), len(design.seeds), -1).mean(axis=1)
            val = design.splits.val[0]
            told |= {"examples": as_half(_as_errors(mean, val[val > 0])).ravel(), "rows": mean.shape[1]}
    return told


def _as_errors(examples: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns what `intervals.sampling_error` adds the squares of, `(configurations, n_val)`: differences of
    it are those of the differences.
    """
    total, used = np.sum(weights), np.count_nonzero(weights)
    if used < 2:
        return np.full_like(examples, np.nan)
    centred = examples - (examples @ weights / total)[:, None]
    return weights * centred * math.sqrt(used / (used - 1)) / total


def gaps(results: Results, metric: str) -> dict[str, np.ndarray]:
    """Returns how much better a configuration does on the rows it was trained on: mean, `low`, `high`."""
    found = [unit_interval(results.design, row) for row in results.gap(metric)]
    return {part: np.array([getattr(f, part) for f in found]) for part in ("mean", "low", "high")}


def curves(results: Results, names: list[str]) -> dict[str, Any]:
    """Returns `steps` `(kinds, points)`, the `kind` of each configuration, and of each metric the means over
    seeds and folds at these steps, `(configurations, points)`, float16.
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
        places = np.round(np.linspace(0, len(every) - 1, points)).astype(int)
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
    """Returns metrics of every network, `(configurations, count)`, float16, of as many seeds as fit; and the
    `x` of each: its fold, or its seed where there is one split.
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
        # And of one configuration more, that has none: it stands for a baseline that is not there.
        "values": {name: as_half(np.append(results.table(name)[:, :seeds], beyond)) for name in names},
    }


def histograms(results: Results, rows: dict[int, list[int]]) -> dict[str, Any]:
    """Returns how the weights (not biases) of each configuration's networks are spread: `shares`,
    `(configurations, BARS)`, float16, in bars of one width, and the `edge` where they end; what lies beyond
    is in the last ones.
    """
    weights = {
        c: np.concatenate([w.ravel() for row in mine for w, _ in results.kept[row]])
        for c, mine in rows.items()
    }
    sample = np.concatenate([w[:: max(1, len(w) // 200)] for w in weights.values()] or [np.zeros(1)])
    edge = float(np.quantile(np.abs(sample), 0.995)) or 1.0
    shares = np.full((len(results.design.configurations), BARS), np.nan, np.float32)
    for configuration, values in weights.items():
        counts, _ = np.histogram(np.clip(values, -edge, edge), BARS, (-edge, edge))
        shares[configuration] = counts / len(values)
    return {"edge": edge, "shares": as_half(shares).ravel()}


def networks(results: Results, order: np.ndarray, rows: dict[int, list[int]]) -> dict[str, Any]:
    """Returns a network of as many configurations as fit, best first: the first seed's on the first fold.

    Keys: `place` of each configuration in `weights`, -1 where it has none; `weights`, float16, of each layer
    `(units, inputs)` and its biases; `shape` of each configuration, in `shapes` (sizes and activation);
    `mean` and `scale` of its two inputs, and the `row` it is.
    """
    design = results.design
    count = len(design.configurations)
    place, row_of = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
    inputs = np.zeros((count, 4), np.float32)
    shapes = {(c.layer_sizes, c.activation): c for c in design.configs}
    numbers = {key: number for number, key in enumerate(shapes)}
    shape = np.array([numbers[c.layer_sizes, c.activation] for c in design.configs])
    parts, size = [], 0
    for configuration in order.tolist():
        if configuration not in rows:
            continue
        row = rows[configuration][0]
        flat = np.concatenate([part.ravel() for layer in results.kept[row] for part in layer])
        if 2 * (size + flat.size) > BUDGET["networks"]:
            break
        place[configuration], row_of[configuration] = size, row
        mean, scale = design.standardisation(design.row(row).fold, design.stops(configuration))
        inputs[configuration] = np.concatenate([mean.ravel(), scale.ravel()])
        parts.append(flat)
        size += flat.size
    return {
        "place": place,
        "row": row_of,
        "weights": as_half(np.concatenate(parts or [np.zeros(0)])),
        "shape": shape.astype(np.uint16),
        "shapes": [
            {"sizes": list(c.layer_sizes), "activation": c.activation, "count": num_params(c)}
            for c in shapes.values()
        ],
        "inputs": inputs.ravel(),
    }


def predictions(results: Results, order: np.ndarray, rows: dict[int, list[int]]) -> dict[str, Any]:
    """Returns what a seed's networks say of held-out rows, of as many configurations as fit, best first.

    `place` is a configuration's number in the `columns`, `(placed, count)`, -1 where it has none. Of classes
    they are `rows` and their `share` of their true class, by truth and prediction; each held-out row once per
    fold that holds it out. Of real targets, of the first output, `predicted` and the `residual`.
    """
    design = results.design
    classes = len(labels_of(design)) if np.issubdtype(design.data.y.dtype, np.integer) else 0
    n = design.data.x.shape[1]
    points = classes**2 or min(MOST_POINTS // 4, n)
    place = np.full(len(design.configurations), -1, np.int32)
    chosen = [c for c in order.tolist() if c in rows][: BUDGET["networks"] // (8 * points)]
    for number, configuration in enumerate(chosen):
        place[configuration] = number
    seed_of = {c: design.row(rows[c][0]).seed for c in chosen}
    asked = [row for c in chosen for row in rows[c] if design.row(row).seed == seed_of[c]]
    confusion = np.zeros((len(chosen), classes, classes), np.uint32)
    predicted, truth = (np.full((len(chosen), n), np.nan, np.float32) for _ in range(2))
    y = np.asarray(design.data.y)
    for row, said in _said(results, asked):
        where = design.row(row)
        number = place[where.configuration]
        seen = design.splits.trains(where.fold, design.stops(where.configuration))
        held = (seen if design.splits.kind == "none" else design.splits.val[where.fold]) > 0
        if classes:
            np.add.at(confusion[number], (y[0, held], said[held].astype(int)), 1)
        else:
            predicted[number, held], truth[number, held] = said[held], y[0, held]
    if classes:
        share = confusion / np.maximum(1, confusion.sum(axis=2, keepdims=True))
        columns = {"rows": confusion.astype(np.float32), "share": share.astype(np.float32)}
    else:
        some = np.linspace(0, n - 1, points).astype(int)
        columns = {"predicted": predicted[:, some], "residual": (truth - predicted)[:, some]}
    return {"place": place, "count": points, "columns": {k: v.ravel() for k, v in columns.items()}}


def _said(results: Results, rows: list[int]) -> Any:
    """Yields each row with what its network says of all samples, `(n,)`: labels, or the first output."""
    design = results.design
    n = design.data.x.shape[1]
    groups: dict[Any, list[int]] = {}
    for row in rows:
        where = design.row(row)
        config = design.configs[where.configuration]
        key = (
            config.program(),
            resolve_loss(config, design.data),
            where.fold,
            design.stops(where.configuration),
        )
        groups.setdefault(key, []).append(row)
    for (config, loss, fold, stops), members in groups.items():
        x = design.inputs(fold, stops)[0]
        with local_x64(config.dtype):
            for start in range(0, len(members), TOGETHER):
                some = members[start : start + TOGETHER]
                padded = some + some[:1] * (TOGETHER - len(some))  # one shape, one program
                stacked = jax.tree.map(
                    lambda *leaves: np.stack(leaves), *(results.kept[row] for row in padded)
                )
                for row, said in zip(
                    some, np.asarray(_decided(stacked, x, config=config, loss=loss)), strict=False
                ):
                    yield row, said[:n]


@functools.partial(jax.jit, static_argnames=("config", "loss"))
def _decided(params: Params, x: jax.Array, *, config: Config, loss: Loss) -> jax.Array:
    def one(params: Params) -> jax.Array:
        logits, _ = forward(params, x, activation=config.activation, precision=config.precision)
        return decide(logits, loss)[0]

    return jax.vmap(one)(jax.tree.map(jnp.asarray, params))


def labels_of(design: Design) -> list[str]:
    """Returns what the classes are called."""
    if design.classes is not None:
        return [str(name) for name in design.classes]
    return [str(k) for k in range(max(2, design.configs[0].layer_sizes[-1]))]


def points_of(design: Design) -> dict[str, np.ndarray]:
    """Returns the rows of 2-D data, at most `MOST_POINTS`: `x1`, `x2`, `y` (a label, or the first target)."""
    some = np.unique(np.linspace(0, design.data.x.shape[1] - 1, MOST_POINTS).astype(int))
    x = np.asarray(design.data.x, np.float32)[:, some]
    return {"x1": x[0], "x2": x[1], "y": np.asarray(design.data.y)[0, some].astype(np.float32)}


def _rows_kept(results: Results) -> dict[int, list[int]]:
    """Returns configuration -> its rows whose parameters are there."""
    found: dict[int, list[int]] = {}
    for row in sorted(results.kept):
        found.setdefault(results.design.row(row).configuration, []).append(row)
    return found


def as_half(values: np.ndarray) -> np.ndarray:
    """Returns the bits of float16, for which there is no array in a page; float32 where that is too small."""
    values = np.asarray(values)
    if np.abs(values, where=np.isfinite(values), out=np.zeros(values.shape)).max(initial=0) > LARGEST_HALF:
        return values.astype(np.float32)
    return values.astype(np.float16).view(np.uint16)


def arrays_of(
    results: Results, metric: str, comparison: Comparison | None, chosen: int | None
) -> dict[str, Any]:
    """Returns all that the page's script reads, see report.js.

    Args:
        results: of the sweep.
        metric: that is ranked, or the training loss where nothing is held out.
        comparison: of single configurations, or None.
        chosen: configuration, or None.
    """
    design = results.design
    ranked = metric != "train_loss"  # nothing ranks by the rows that were trained on
    order = order_of(results, metric) if ranked else np.arange(len(design.configs))
    rank = np.empty(len(order), np.uint32)
    rank[order] = np.arange(len(order))
    axes = axes_of(design)
    classes = np.issubdtype(design.data.y.dtype, np.integer)
    splits = [split for split in ("train", "val", "test") if f"{split}_loss" in results.records]
    measured = [f"{split}_{name}" for split in splits for name in design.metrics]
    # Beside the loss: what is ranked, or what would be if rows were held out.
    beside = (metric if not metric.endswith("_loss") else design.metric).split("_", 1)[1]
    curved = [name for name in measured if without_split(name) in ("loss", beside)]
    first = differences(results, comparison)
    counterpart = np.full(len(order), len(order))  # beyond the last one, where nothing is
    if comparison is not None:
        for index, other in resolve_pairs(design, comparison.baseline)[0]:
            counterpart[index] = other
    plane = len(design.data.x) == 2 and design.fold_inputs is None
    targets, kept = np.asarray(design.data.y[0]), _rows_kept(results)
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
        "gap": gaps(results, metric) if "val" in splits else nothing(len(order), ("mean", "low", "high")),
        "first": first._asdict(),
        "counterpart": counterpart,
        "evidence": evidence(results, metric),
        "curves": curves(results, curved),
        "dots": dots(results, measured),
        "bars": histograms(results, kept),
        "networks": networks(results, order, kept) if plane else None,
        "said": None if plane else predictions(results, order, kept),
        "plane": plane_of(design) if plane else None,
        "real": None if classes else [float(targets.min()), float(targets.max())],
    }


def _score(results: Results, metric: str) -> dict[str, Any]:
    """Returns the mean of a metric, `(configurations,)`, and the least and the largest of them."""
    values = results.table(metric).mean(axis=(1, 2)).astype(np.float32)
    seen = values[np.isfinite(values)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    if high - low <= 1e-6 * abs(high):  # all equal: a range around it
        low, high = low - 0.1 * (abs(low) or 1), high + 0.1 * (abs(high) or 1)
    return {"values": values, "low": low, "high": high}


def columns_of(results: Results, metric: str, rank: np.ndarray, axes: list[Axis]) -> dict[str, Any]:
    """Returns the columns of the page's table: hyperparameters, then what came of them; none of test rows."""
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


def nothing(count: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns columns of NaN."""
    return {name: np.full(count, np.nan) for name in names}


def plane_of(design: Design) -> list[float]:
    """Returns the ends of both features, and a bit beyond: x1, x1, x2, x2."""
    sides, _ = plane(np.asarray(design.data.x), 2)
    return [float(end) for side in sides for end in side]
