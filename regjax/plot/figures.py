"""The figures of a sweep's results, on matplotlib without pyplot: nothing here touches global state.

A figure of one panel takes `ax`, one of several takes `figure` (a Figure or SubFigure), for layouts of
one's own; each returns the whole Figure. docs/gallery.md shows them all, and docs/intervals.md says what
the intervals mean.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regjax.core.config import local_x64
from regjax.core.data import Data
from regjax.core.dropout import draw_masks as masks_of_a_step
from regjax.plot.canvas import (
    DIGITS,
    MAX_POINTS,
    Panels,
    add_legend,
    axes_or_new,
    class_legend,
    draw_masks,
    draw_points,
    drawable,
    figure_or_new,
    root_of,
    set_title,
)
from regjax.plot.decision import boundaries, boundary
from regjax.plot.lines import curves, gap, path
from regjax.plot.maps import heatmap, stability
from regjax.plot.request import configuration_of, order_of
from regjax.study.results import Results
from regjax.study.selection import higher_is_better, ranking

# Configurations of a forest plot.
FOREST = 40
VERDICTS = {
    "helps": ("#009E73", "^"),
    "hurts": ("#D55E00", "v"),
    "not separated": ("#000000", "o"),
}


def data_set(results: Results, *, figure: Panels | None = None) -> Figure:
    """Returns the rows that train and validate, and the test rows if there are any, side by side.

    Two features are drawn as they are; of more, the first two principal components; one stands against
    the target. Of more than 5,000 rows so many are drawn, chosen at random.

    Args:
        results: of the sweep.
        figure: where the panels go; None makes one.
    """
    design = results.design
    name = "training rows" if design.splits.kind == "none" else "training and validation rows"
    parts = [(name, design.data)] + ([] if design.test is None else [("test rows", design.test)])
    figure = figure_or_new(figure, (0.8 + 4.2 * len(parts), 4.8))
    axes = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
    flat, names = _flat(design.data)
    classes = np.issubdtype(design.data.y.dtype, np.integer)
    range_ = matplotlib.colors.Normalize(float(design.data.y[0].min()), float(design.data.y[0].max()))
    for ax, (name, data) in zip(axes, parts, strict=True):
        count = data.x.shape[1]
        some = np.sort(np.random.default_rng(0).permutation(count)[:MAX_POINTS])
        x, y = flat(data)[:, some], data.y[0, some]
        if classes:
            draw_points(ax, x, y, 16)
        else:
            ax.scatter(*x, s=14, c=y, norm=range_, cmap="viridis", edgecolors="white", linewidths=0.3)
        drawn = "" if len(some) == count else f", {len(some):,} of them drawn"
        set_title(ax, f"{count:,} {name}{drawn}")
        ax.set_xlabel(names[0])
    axes[0].set_ylabel(names[1])
    if classes:
        class_legend(figure, design.data.y[0], design.classes)
    elif len(design.data.x) > 1:
        figure.colorbar(ScalarMappable(range_, "viridis"), ax=axes, label="target")
    return root_of(figure)


def _flat(data: Data) -> tuple[Callable[[Data], np.ndarray], tuple[str, str]]:
    """Returns what makes two coordinates of rows, `(2, n)`, and their names."""
    if len(data.x) == 2:
        return lambda rows: np.asarray(rows.x), ("x1", "x2")
    if len(data.x) == 1:
        name = "class" if np.issubdtype(data.y.dtype, np.integer) else "target"
        return lambda rows: np.stack([rows.x[0], rows.y[0]]), ("x1", name)
    whole = data.x[:, np.isfinite(data.x).all(axis=0)].astype(np.float64)
    mean, scale = whole.mean(axis=1, keepdims=True), whole.std(axis=1, keepdims=True)
    scale[scale == 0] = 1
    directions, lengths, _ = np.linalg.svd((whole - mean) / scale, full_matrices=False)
    directions = np.pad(directions, [(0, 0), (0, max(0, 2 - directions.shape[1]))])  # of a single row
    shares = np.pad(lengths**2 / max(float(np.sum(lengths**2)), 1e-300), (0, 2))
    names = [f"principal component {k + 1} of {len(data.x)} features ({shares[k]:.0%})" for k in (0, 1)]

    def flat(rows: Data) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):  # a held-out row may hold anything
            return directions[:, :2].T @ ((rows.x - mean) / scale)

    return flat, (names[0], names[1])


def forest(
    results: Results,
    *,
    metric: str | None = None,
    baseline: Mapping[str, Any] | None = None,
    over: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Returns the paired differences to a baseline, sorted, with their intervals.

    Thick: the 95 % interval of each alone; thin: the one that holds for all at once, on which the verdicts
    rest. Of more than 40 configurations the best and the worst are shown. Where a network diverged there is
    no interval, and a text says so.

    Args:
        results: of the sweep.
        metric: a validation metric; None takes val_accuracy or val_r2.
        baseline: as in `Results.compare`.
        over: as in `Results.compare`.
        ax: where it is drawn; None makes a figure.

    Raises:
        ValueError: as `Results.compare`.
    """
    comparison = results.compare(baseline, over, metric)
    table, more = comparison.table, higher_is_better(comparison.metric)
    order = ranking(table["difference"].to_numpy(float), more)
    hidden = len(order) - FOREST
    if hidden > 0:
        sound = int(np.isfinite(table["difference"].to_numpy(float)).sum())
        ends = [*order[: FOREST // 2], *order[max(FOREST // 2, sound - FOREST // 2) :][: FOREST // 2]]
        order = np.array(ends)
    rows = table.iloc[order]
    given = ax
    figure, ax = axes_or_new(ax, (8, 1.7 + 0.26 * len(rows)))
    places = np.arange(len(rows), dtype=float)
    if hidden > 0:
        places[FOREST // 2 :] += 1
        words = f"… {hidden:,} more, in between or diverged …"
        ax.text(
            0.5, FOREST // 2, words, transform=ax.get_yaxis_transform(), ha="center", va="center", fontsize=8
        )
    reach = _reach(rows)
    for place, (_, row) in zip(places, rows.iterrows(), strict=True):
        if row["status"] != "ok":
            words = f"no verdict: {row['status']}"
            ax.text(
                0.02,
                place,
                words,
                transform=ax.get_yaxis_transform(),
                va="center",
                fontsize=8,
                gid="diverged",
            )
            continue
        colour, marker = VERDICTS[row["verdict"]]
        for low, high, width in (("family_low", "family_high", 1.0), ("low", "high", 3.2)):
            if np.isfinite(row[low]):
                ax.plot(
                    [row[low], row[high]],
                    [place, place],
                    color=colour,
                    linewidth=width,
                    solid_capstyle="butt",
                )
        ax.plot(row["difference"], place, marker, color=colour, markeredgecolor="white", markersize=8)
    ax.axvline(0, color="#000000", linewidth=0.8)
    ax.set_yticks(places, [textwrap.shorten(name, 60, placeholder="…") for name in rows["name"]], fontsize=8)
    ax.set_ylim(places[-1] + 0.7, -0.7)
    ax.set_xlim(-reach, reach)
    ax.set_ylabel("configuration")
    side = "right" if more else "left"
    ax.set_xlabel(f"difference in {results.design.in_units(comparison.metric)}; better: {side} of 0")
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour) for colour, marker in VERDICTS.values()
    ]
    add_legend(given or figure, handles, list(VERDICTS))
    ax.grid(axis="x", alpha=0.25)
    words = f"{comparison.title}; thick: 95 % of each alone, thin: of all {len(table):,} at once"
    set_title(given or figure, words + ("" if not over else f"; each at its own best {', '.join(over)}"))
    return figure


def _reach(rows: Any) -> float:
    """Returns how far a forest plot reaches from 0: what is wider by far ends at the border."""
    plain = np.abs(rows[["difference", "low", "high"]].to_numpy(float))
    wide = np.abs(rows[["family_low", "family_high"]].to_numpy(float))
    plain, wide = drawable(plain[np.isfinite(plain)]), drawable(wide[np.isfinite(wide)])
    if not np.any(plain > 0):
        return 1.0
    inside = float(np.nanmax(plain))
    return 1.08 * min(max(inside, float(np.nanmax(wide, initial=0))), 3 * inside)


def masks(results: Results, *, configuration: int | None = None, figure: Panels | None = None) -> Figure:
    """Returns what dropout switched off in one step, of the first seed and fold of a configuration.

    A panel per layer whose units are dropped, a row a unit, a column a row of the batch. It is step 0; with
    keep_prob_end the last one.

    Args:
        results: of a sweep with dropout.
        configuration: its number; None takes the best with dropout.
        figure: where the panels go; None makes one.

    Raises:
        ValueError: no dropout, or no such configuration.
    """
    design = results.design
    names = ("keep_prob", "input_keep_prob", "keep_prob_end")
    on = [any(getattr(h, name) is not None for name in names) for h in design.hparams]
    order = (
        order_of(results, design.shown_metric).tolist()
        if configuration is None
        else [configuration_of(results, configuration)]
    )
    found = next((index for index in order if on[index]), None)
    if found is None:
        what = design.in_words(design.configurations[order[0]], DIGITS)
        raise ValueError(f"masks must be of a configuration with dropout, got {what}: use keep_prob below 1")
    row = design.row(design.index(found, 0, 0))
    config, hparams = design.configs[found], design.hparams[found]
    step = 0 if hparams.keep_prob_end is None else config.num_steps - 1
    # As wide as what the step sees, so that these are its bits.
    width = design.padded.x.shape[1] if config.batch_size is None else config.batch_size
    with local_x64(config.dtype):
        drawn = masks_of_a_step(
            jax.random.wrap_key_data(jnp.asarray(design.key(row))),
            step,
            hparams._replace(gaussian_dropout=None, dropconnect_keep_prob=None),
            config,
            width,
            config.num_steps,
        )
    assert drawn.units is not None
    seen = np.arange(width)
    if config.batch_size is None:
        seen = np.flatnonzero(design.weights(row)[0] > 0)
    layers = [
        ("input" if number == 0 else f"hidden layer {number}", (np.asarray(mask)[:, seen] > 0).astype(float))
        for number, mask in enumerate(drawn.units)
        if mask is not None
    ]
    fold = f", fold {row.fold}" if design.num_folds > 1 else ""
    samples = "training row" if config.batch_size is None else "row of the batch"
    name = design.in_words(design.configurations[found], DIGITS)
    title = f"units switched off (black) at step {step}: {name}; seed {row.seed}{fold}"
    return draw_masks(figure, layers, samples, title)


KINDS: dict[str, Callable[..., Figure]] = {
    "data_set": data_set,
    "curves": curves,
    "boundary": boundary,
    "boundaries": boundaries,
    "heatmap": heatmap,
    "gap": gap,
    "forest": forest,
    "path": path,
    "stability": stability,
    "masks": masks,
}
