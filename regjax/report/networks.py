"""The networks of the page: their weights, and what they predict for held-out samples; `arrays` calls it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.config import Config, Loss
from regjax.core.mlp import Params, decide
from regjax.core.network import infer_logits
from regjax.core.objective import resolve_loss
from regjax.core.settings import own_settings
from regjax.report.compact import BUDGET, as_half
from regjax.study.design import Design
from regjax.study.records import num_params
from regjax.study.results import Results

# Bars of a histogram of weights: odd, so that zero has a bar of its own.
BARS = 31
# Most samples that a picture shows, so that many configurations fit.
MOST_POINTS = 1_000
# Networks that one call of the compiled program predicts with.
TOGETHER = 64

# Configuration -> its rows whose parameters were kept.
Kept = dict[int, list[int]]


def rows_kept(results: Results) -> Kept:
    """Returns configuration -> its rows whose parameters were kept, in order."""
    found: Kept = {}
    for row in sorted(results.kept):
        found.setdefault(results.design.row(row).configuration, []).append(row)
    return found


def labels_of(design: Design) -> list[str]:
    """Returns the names of the classes."""
    if design.classes is not None:
        return [str(name) for name in design.classes]
    return [str(k) for k in range(max(2, design.configs[0].layer_sizes[-1]))]


def histograms(results: Results, rows: Kept) -> dict[str, Any]:
    """Returns how the weights (not biases) of each configuration's networks are spread.

    Returns:
        edge: the bars reach from -edge to edge; weights beyond are counted in the outer bars.
        shares: the share of the weights in each bar, `(configurations, BARS)`, float16.
    """
    weights = {
        c: np.concatenate([layer.w.ravel() for row in mine for layer in results.kept[row]])
        for c, mine in rows.items()
    }
    # A quantile of some weights of each configuration: one huge weight must not flatten all bars.
    sample = np.concatenate([w[:: max(1, len(w) // 200)] for w in weights.values()] or [np.zeros(1)])
    edge = float(np.quantile(np.abs(sample), 0.995)) or 1.0
    shares = np.full((len(results.design.configurations), BARS), np.nan, np.float32)
    for configuration, values in weights.items():
        counts, _ = np.histogram(np.clip(values, -edge, edge), BARS, (-edge, edge))
        shares[configuration] = counts / len(values)
    return {"edge": edge, "shares": as_half(shares).ravel()}


def networks(results: Results, order: np.ndarray, rows: Kept) -> dict[str, Any]:
    """Returns the first network of as many configurations as fit, best first.

    Returns:
        place: where the network of each configuration begins in `weights`, -1 where it has none.
        row: the row of each configuration's network.
        weights: the parameters, float16; of each layer the matrix `(units, inputs)`, then the biases.
        shape: the place of each configuration's shape in `shapes`.
        shapes: layer sizes, activation, and how many parameters.
        inputs: the mean and scale of the two inputs, `(configurations, 4)`.
        targets: the mean and scale of the first target, `(configurations, 2)`: 0 and 1 as it is.
    """
    design = results.design
    count = len(design.configurations)
    place, row_of = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
    inputs = np.zeros((count, 4), np.float32)
    targets = np.tile(np.array([0, 1], np.float32), (count, 1))
    shapes = {(c.layer_sizes, c.activation): c for c in design.configs}
    numbers = {key: number for number, key in enumerate(shapes)}
    shape = np.array([numbers[c.layer_sizes, c.activation] for c in design.configs])
    parts, size = [], 0
    for configuration in order.tolist():
        # The page knows plain networks alone.
        if configuration not in rows or not design.configs[configuration].is_plain:
            continue
        row = rows[configuration][0]
        flat = np.concatenate([part.ravel() for layer in results.kept[row] for part in layer])
        if 2 * (size + flat.size) > BUDGET["networks"]:  # bytes of float16
            break
        place[configuration], row_of[configuration] = size, row
        fold, stops = design.row(row).fold, design.stops_early(configuration)
        mean, scale = design.standardisation(fold, stops)
        inputs[configuration] = np.concatenate([mean.ravel(), scale.ravel()])
        mean, scale = design.target_standardisation(fold, stops)
        targets[configuration] = mean[0, 0], scale
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
        "targets": targets.ravel(),
    }


def predictions(results: Results, order: np.ndarray, rows: Kept) -> dict[str, Any]:
    """Returns what the networks of one seed predict for held-out samples, of as many configurations as fit.

    Every sample counts once for each fold that holds it out; where nothing is held out, the training samples
    stand in.

    Returns:
        place: the place of each configuration in the columns, -1 where it has none.
        count: how many values of a configuration each column has.
        columns: of classes, how many samples (`samples`) and their `share` of the true class, by true and
            predicted class; of real targets, the first output (`predicted`) and the `residual`.
    """
    design = results.design
    classes = len(labels_of(design)) if np.issubdtype(design.data.y.dtype, np.integer) else 0
    n = design.data.x.shape[1]
    points = classes**2 or min(MOST_POINTS // 4, n)
    place = np.full(len(design.configurations), -1, np.int32)
    # Two columns of float32.
    chosen = [c for c in order.tolist() if c in rows][: BUDGET["networks"] // (8 * points)]
    place[chosen] = np.arange(len(chosen))
    # One seed of each configuration: all seeds would count every sample several times.
    seed_of = {c: design.row(rows[c][0]).seed for c in chosen}
    asked = [row for c in chosen for row in rows[c] if design.row(row).seed == seed_of[c]]
    found = _confusion(results, asked, place, classes) if classes else _residuals(results, asked, place)
    if not classes:
        some = np.linspace(0, n - 1, points).astype(int)
        found = {name: values[:, some] for name, values in found.items()}
    return {"place": place, "count": points, "columns": {k: v.ravel() for k, v in found.items()}}


def _confusion(results: Results, rows: list[int], place: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Returns samples and their share of the true class, `(placed, true, predicted)` each."""
    confusion = np.zeros((int(place.max()) + 1, classes, classes), np.uint32)
    truth = np.asarray(results.design.data.y)[0]
    for row, predicted in _predicted(results, rows):
        held = _held_out(results.design, row)
        number = place[results.design.row(row).configuration]
        np.add.at(confusion[number], (truth[held], predicted[held].astype(int)), 1)
    share = confusion / np.maximum(1, confusion.sum(axis=2, keepdims=True))
    return {"samples": confusion.astype(np.float32), "share": share.astype(np.float32)}


def _residuals(results: Results, rows: list[int], place: np.ndarray) -> dict[str, np.ndarray]:
    """Returns predictions and residuals of each sample, `(placed, n)` each, NaN where never held out."""
    y = np.asarray(results.design.data.y)
    predicted, truth = (np.full((int(place.max()) + 1, y.shape[1]), np.nan, np.float32) for _ in range(2))
    for row, found in _predicted(results, rows):
        held = _held_out(results.design, row)
        number = place[results.design.row(row).configuration]
        predicted[number, held], truth[number, held] = found[held], y[0, held]
    return {"predicted": predicted, "residual": truth - predicted}


def _held_out(design: Design, row: int) -> np.ndarray:
    """Returns which samples a network is judged by, `(n,)`: those held out, or else those it trains on."""
    where = design.row(row)
    if design.splits.kind == "none":
        return design.splits.trains(where.fold, design.stops_early(where.configuration)) > 0
    return design.splits.val[where.fold] > 0


def _predicted(results: Results, rows: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each row with what its network predicts for all samples, `(n,)`: labels, or the first output."""
    design = results.design
    groups: dict[tuple[Config, Loss, int, bool], list[int]] = {}
    for row in rows:
        where = design.row(row)
        config = design.configs[where.configuration]
        loss = resolve_loss(config, design.data)
        key = (config.program(), loss, where.fold, design.stops_early(where.configuration))
        groups.setdefault(key, []).append(row)
    for (config, loss, fold, stops), members in groups.items():
        x = design.inputs(fold, stops)[0]
        for start in range(0, len(members), TOGETHER):
            some = members[start : start + TOGETHER]
            params = [results.kept[row] for row in some]
            params += params[:1] * (TOGETHER - len(some))  # one shape, one program
            with own_settings(config.dtype):
                stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
                found = np.asarray(_decided(stacked, x, config=config, loss=loss))
            found = design.in_own_unit(found[:, None], fold, stops)[:, 0]
            yield from zip(some, found[: len(some), : design.data.x.shape[1]], strict=True)


@functools.partial(jax.jit, static_argnames=("config", "loss"))
def _decided(params: Params, x: jax.Array, *, config: Config, loss: Loss) -> jax.Array:
    """Returns the labels, or the first output, of stacked networks, `(networks, n)`."""

    def one(params: Params) -> jax.Array:
        return decide(infer_logits(params, x, config, loss), loss)[0]

    return jax.vmap(one)(jax.tree.map(jnp.asarray, params))
