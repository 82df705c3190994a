"""Permutation importance: how much worse a configuration predicts without what a column says.

`Results.importance` and the figure and the page of it call `importance`; docs/importance.md says what it
means. Pandas is imported where a table is made.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.checks import check_count, counted
from regjax.core.config import Config, Loss
from regjax.core.metrics import POWERS, metrics, without_split
from regjax.core.mlp import Params
from regjax.core.network import infer_logits
from regjax.core.objective import resolve_loss
from regjax.core.settings import own_settings
from regjax.study.choice import Choice
from regjax.study.comparison import family_of, unrounded
from regjax.study.design import Design
from regjax.study.evidence import Evidence
from regjax.study.intervals import as_number, between, rounded
from regjax.study.selection import higher_is_better

if TYPE_CHECKING:
    import pandas as pd

# Bytes that the layers of all networks and columns in one call of the program may take.
BUDGET = 2**27

SHARED = (
    "Columns that say the same share their importance: a column that another one can stand in for may show "
    "none. The samples are those that the configuration was chosen by."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Importance:
    """Permutation importance of the columns for one configuration; `str(importance)` says it in words.

    Attributes:
        table: a line per column, the most important first: `column`; `importance`, by how much the metric
            gets worse (positive: the column helps); `se`; `low` and `high` (95 %); `family_low` and
            `family_high` (95 % for all columns at once). Intervals are NaN where there is none.
        units: the importance in each unit of evidence, `(columns, units)`, in the order of the table.
        metric: the validation metric.
        configuration: number of the configuration.
        name: the configuration in words.
        over: what the means are taken over, in words.
        repeats: number of permutations of each column.
        notes: sentences on how to read the table.
    """

    table: pd.DataFrame
    units: np.ndarray
    metric: str
    configuration: int
    name: str
    over: str
    repeats: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        width = max(map(len, self.table["column"]))
        lines = [
            f"  {entry['column']:<{width}}  {self._numbers(entry)}" for entry in self.table.to_dict("records")
        ]
        return "\n".join([self.title, *lines, *self.notes])

    @property
    def has_intervals(self) -> bool:
        """Whether any column has an interval: with one fold, or one seed on one split, none has."""
        return bool(self.table["low"].notna().any())

    @property
    def title(self) -> str:
        """What is shown, in words."""
        return (
            f"how much worse {self.metric} gets where a column is shuffled, {self.name}, mean of "
            f"{counted(self.repeats, 'permutation')}, {self.over}"
        )

    def _numbers(self, entry: dict[str, Any]) -> str:
        """Returns a line of the table in words, without its column."""
        if math.isnan(entry["se"]):
            return as_number(entry["importance"], "+")
        half = (entry["high"] - entry["low"]) / 2
        alone, at_once = (between(entry[f"{of}low"], entry[f"{of}high"], half, "+") for of in ("", "family_"))
        return f"{rounded(entry['importance'], half, '+')} {alone}, all at once {at_once}"


class Trained(Protocol):
    """What `importance` reads of `Results`, which import this module."""

    @property
    def design(self) -> Design:
        """Design of the sweep."""
        ...

    @property
    def kept(self) -> Mapping[int, Params]:
        """Parameters of the rows that kept them."""
        ...

    @property
    def diverged_at(self) -> np.ndarray:
        """Step at which a row diverged, `(rows,)`, else -1."""
        ...

    def best(self, metric: str) -> Choice:
        """Returns the chosen configuration."""
        ...


def importance(
    results: Trained,
    *,
    configuration: int | None = None,
    metric: str | None = None,
    repeats: int = 10,
    seed: int = 0,
    max_samples: int | None = None,
) -> Importance:
    """Returns by how much a metric on held-out samples gets worse when one column is shuffled.

        importance(c) = mean over r of [m(x, y) − m(x with column c permuted by πᵣ, y)]

    or the negative of it where less is better. A network sees the samples that were held out from it, as it
    saw them in validation; all inputs of a column are permuted together, and all columns by the same πᵣ.
    Nothing is trained again. Means are taken over repeats, then over the seeds of a fold; the unit of
    evidence is the fold, or the seed on one split, as in `Results.compare`.

    Args:
        results: the results of a sweep that kept parameters.
        configuration: number of a configuration; None takes the chosen one, `Results.best(metric)`.
        metric: a validation metric; None takes val_accuracy or val_r2.
        repeats: number of permutations of each column, at least 1.
        seed: seed of the permutations, those of `sklearn.inspection.permutation_importance`.
        max_samples: most held-out samples of a fold, at least 2; of more a random part is used. None takes
            all.

    Raises:
        TypeError: repeats, seed, max_samples or configuration that are no whole numbers.
        ValueError: nothing was held out, no such configuration, or none of its networks has parameters.

    References:
        Breiman 2001, §10; Fisher, Rudin & Dominici 2019, §3; Nadeau & Bengio 2003, eq. 16.

    Example:
        >>> import numpy as np, regjax
        >>> X = np.random.default_rng(0).normal(size=(90, 3))
        >>> config = {"hidden": (), "num_steps": 100, "eval_every": 100}
        >>> results = regjax.sweep((X, X[:, 1] > 0), config, {"learning_rate": 1}, folds=3, progress=False)
        >>> results.importance().table["column"][0]
        'x2'
    """
    import pandas as pd

    design = results.design
    if design.splits.kind == "none":
        raise ValueError(
            "importance must have samples held out from training: sweep with folds=5 or validation=0.2"
        )
    metric = design.check_metric(metric)
    asked = Asked(
        check_count("repeats", repeats),
        check_count("seed", seed, at_least=0),
        None if max_samples is None else check_count("max_samples", max_samples, at_least=2),
    )
    chosen = _configuration_of(results, configuration, metric)
    rows = _rows_of(results, chosen)
    columns = design.column_inputs
    before, after = _scores_of(results, rows, list(columns.values()), metric, asked)
    worse = before[:, None] - after if higher_is_better(metric) else after - before[:, None]
    units = np.stack(
        [unrounded(column, before, design.configs[0].dtype) for column in _units(design, rows, worse)]
    )
    found = family_of(design, units, np.zeros(len(units)))
    table = {"column": list(columns), "importance": found.mean, "se": found.se}
    for ends, reach, se in (("", found.t, found.se), ("family_", found.reach, found.total)):
        table |= {f"{ends}low": found.mean - reach * se, f"{ends}high": found.mean + reach * se}
    order = np.argsort(-np.array(table["importance"]), kind="stable")
    frame = pd.DataFrame(table).iloc[order].reset_index(drop=True)
    folds, seeds = ({design.row(row)[place] for row in rows} for place in (2, 1))
    return Importance(
        table=frame,
        units=units[order],
        metric=metric,
        configuration=chosen,
        name=design.in_words(design.configurations[chosen]),
        over=_over(design, len(folds), len(seeds)),
        repeats=repeats,
        notes=(*_rests_on(design, len(rows), len(folds), asked), SHARED),
    )


def _configuration_of(results: Trained, configuration: int | None, metric: str) -> int:
    """Returns the number of a configuration; None is the chosen one."""
    if configuration is None:
        return results.best(metric).index
    last = len(results.design.configurations) - 1
    if check_count("configuration", configuration, at_least=0) > last:
        raise ValueError(f"configuration must be a number from 0 to {last}, got {configuration}")
    return configuration


def _rows_of(results: Trained, configuration: int) -> list[int]:
    """Returns the rows of a configuration that did not diverge and have their parameters."""
    per = results.design.num_replicates
    every = range(configuration * per, (configuration + 1) * per)
    sound = [row for row in every if results.diverged_at[row] < 0]
    rows = [row for row in sound if row in results.kept]
    if not rows:
        why = "none was kept: sweep with keep='all'" if sound else "all of them diverged"
        name = results.design.in_words(results.design.configurations[configuration])
        raise ValueError(
            f"importance must have parameters of the networks of configuration {configuration} ({name}), "
            f"got none: {why}"
        )
    return rows


def _over(design: Design, num_folds: int, num_seeds: int) -> str:
    """Returns what the means are taken over, in words."""
    if design.splits.kind == "folds" and num_folds == 1:  # the others' networks are missing
        return f"in 1 fold, {counted(num_seeds, 'seed')}: no interval"
    return Evidence(design.evidence.kind, num_folds, num_seeds).in_words()


def _rests_on(design: Design, num_rows: int, num_folds: int, asked: Asked) -> Iterator[str]:
    """Yields a sentence where some networks, or some of the samples, are left out."""
    if asked.max_samples is not None and asked.max_samples < design.splits.num_val.max():
        yield f"This rests on {asked.max_samples:,} of the held-out samples of a split, drawn at random."
    if num_rows < design.num_replicates:
        folds = f" in {num_folds} of {design.num_folds} folds" if design.splits.kind == "folds" else ""
        yield (
            f"This rests on {num_rows} of {counted(design.num_replicates, 'network')}{folds}: the parameters "
            "of the others were not kept, or they diverged."
        )


class Asked(NamedTuple):
    """How columns are permuted: how often, from which seed, and among how many samples of a fold at most."""

    repeats: int
    seed: int
    max_samples: int | None


class _HeldOut(NamedTuple):
    """The held-out samples of a fold, padded to those of the largest one by samples of weight 0.

    Attributes:
        x: inputs as the networks see them, `(n_inputs, width)`.
        y: targets, `(outputs, width)`.
        weights: `(width,)`.
        num: number of samples before the padding.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    num: int

    def permuted(self, asked: Asked) -> Iterator[np.ndarray]:
        """Yields the inputs with the samples in another order, once for each repeat."""
        # As scikit-learn draws them, so that both give the same numbers: tests compare them.
        random = np.random.RandomState(np.random.RandomState(asked.seed).randint(2**31))
        shuffled = order = np.arange(self.num)
        for _ in range(asked.repeats):
            shuffled = shuffled.copy()
            random.shuffle(shuffled)
            order = order[shuffled]
            x = self.x.copy()
            x[:, : self.num] = self.x[:, order]
            yield x


def _held_out(design: Design, fold: int, stops: bool, asked: Asked) -> _HeldOut:
    """Returns the held-out samples of a fold; no other sample is read."""
    val, dtype = design.splits.val[fold], design.configs[0].dtype
    samples, width = np.flatnonzero(val > 0), int(design.splits.num_val.max())
    if asked.max_samples is not None:
        width = min(width, asked.max_samples)
        samples = np.sort(np.random.RandomState(asked.seed).permutation(samples)[:width])
    pad = [(0, 0), (0, width - len(samples))]  # one width, one program
    real = not np.issubdtype(design.data.y.dtype, np.integer)
    y = np.asarray(design.targets(fold, stops)[0])[:, samples].astype(dtype if real else np.int32)
    x = design.inputs(fold, stops)[0][:, samples]
    return _HeldOut(np.pad(x, pad), np.pad(y, pad), np.pad(val[samples], pad[1]).astype(dtype), len(samples))


def _scores_of(
    results: Trained,
    rows: Sequence[int],
    columns: Sequence[Sequence[int]],
    metric: str,
    asked: Asked,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the metric of each network, `(rows,)`, and with each column permuted, `(rows, columns)`.

    The latter is the mean over repeats.
    """
    design = results.design
    where = design.row(rows[0]).configuration
    config, stops = design.configs[where], design.stops_early(where)
    # The first line moves no input: its metric is that of the samples as they are.
    moved = np.zeros((len(columns) + 1, config.layer_sizes[0]), bool)
    for place, inputs in enumerate(columns, 1):
        moved[place, list(inputs)] = True
    loss, name = resolve_loss(config, design.data), without_split(metric)
    program = functools.partial(_scores, config=config.program(), loss=loss, metric=name)
    found = np.empty((len(rows), len(moved)))
    for fold in sorted({design.row(row).fold for row in rows}):
        mine = [place for place, row in enumerate(rows) if design.row(row).fold == fold]
        params = [results.kept[rows[place]] for place in mine]
        held = _held_out(design, fold, stops, asked)
        found[mine] = np.mean(
            [_in_chunks(program, params, held, x, moved, config) for x in held.permuted(asked)],
            axis=0,
        )
        if design.standardize_target:  # in the unit of the target
            found[mine] *= design.target_standardisation(fold, stops)[1] ** POWERS[name]
    return found[:, 0], found[:, 1:]


def _in_chunks(
    program: Any,
    params: list[Params],
    held: _HeldOut,
    permuted: np.ndarray,
    moved: np.ndarray,
    config: Config,
) -> np.ndarray:
    """Returns the metric of each network with each column moved, `(networks, columns)`, in bounded memory."""
    each = np.dtype(config.dtype).itemsize * config.members * sum(config.widths) * held.x.shape[1]
    networks = max(1, min(len(params), BUDGET // each))
    columns = max(1, min(len(moved), BUDGET // (each * networks)))
    found = np.empty((len(params), len(moved)))
    with own_settings(config.dtype):
        for first in range(0, len(params), networks):
            some = params[first : first + networks]
            some += some[:1] * (networks - len(some))  # one shape, one program
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *some)
            for start in range(0, len(moved), columns):
                these = np.resize(moved[start : start + columns], (columns, moved.shape[1]))
                scores = program(stacked, held.x, permuted, held.y, held.weights, these)
                part = found[first : first + networks, start : start + columns]
                part[:] = np.asarray(scores)[: len(part), : part.shape[1]]
    return found


@functools.partial(jax.jit, static_argnames=("config", "loss", "metric"))
def _scores(
    params: Params, x: jax.Array, permuted: jax.Array, y: jax.Array, weights: jax.Array, moved: jax.Array,
    *, config: Config, loss: Loss, metric: Any,
) -> jax.Array:  # fmt: skip
    """Returns a metric of stacked networks with the inputs of each column permuted, `(networks, columns)`."""

    def one(params: Params, moved: jax.Array) -> jax.Array:
        inputs = jnp.where(moved[:, None], permuted, x)
        logits = infer_logits(params, inputs, config, loss)
        return metrics(logits, y, weights, loss=loss, only=(metric,))[metric]

    return jax.vmap(lambda p: jax.vmap(lambda m: one(p, m))(moved))(params)


def _units(design: Design, rows: Sequence[int], values: np.ndarray) -> np.ndarray:
    """Returns means of `(rows, columns)` in each unit of evidence, `(columns, units)`: folds, or seeds."""
    place = 2 if design.splits.kind == "folds" else 1
    unit = np.array([design.row(row)[place] for row in rows])
    return np.stack([values[unit == each].mean(axis=0) for each in np.unique(unit)], axis=1)
