"""What a sweep is to do, resolved and checked: data, splits, configurations, seeds.

Rows are configurations × seeds × folds, configuration-major; a *replicate* is a (seed, fold). Nothing is
compiled here, so that every slip of a user is said before anything is spent.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import check_choice, check_count, check_known, shown
from regjax.core.config import Config
from regjax.core.data import Data, Task, check_data, check_test, pad_samples, unit_mean
from regjax.core.hparams import HYPERPARAMETERS, OFF_VALUES, HParams, check_hparam, check_hparams, check_loss
from regjax.core.metrics import CLASS_METRICS, REAL_METRICS, UNITS, without_split
from regjax.core.mlp import Params
from regjax.core.numpy_random import draw_orders, draw_weights
from regjax.core.objective import resolve_loss
from regjax.core.random import MAX_SEED, replicate_key
from regjax.data import loaders as datasets
from regjax.data.splits import SPLIT_SEED, Splits, check_fraction, hold_out, make_splits, standardisation
from regjax.study.grid import (
    NAMES,
    Configuration,
    Grid,
    as_grid,
    as_hparams,
    canonical,
    describe,
    is_mentioned,
    value_of,
)

Pairing = Literal["paired", "independent"]

# What a mapping may say of a Config: its ends are fitted to the data, so it names the hidden layers only.
CONFIG_FIELDS = (
    "hidden",
    *(field.name for field in dataclasses.fields(Config) if field.name != "layer_sizes"),
)


# Of each training part, what early stopping watches, as in scikit-learn.
STOPPING = 0.1

# Seeds of a number alone: they are listed in memory.
MAX_SEEDS = 1_000_000


class Row(NamedTuple):
    """One network of a sweep: which configuration, seed and fold."""

    configuration: int
    seed: int
    fold: int


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """A resolved sweep.

    Attributes:
        data: the rows that train and validate, float64 or float32, not padded.
        test: the test rows, or None.
        classes: what the labels 0, 1, … stand for, where the user's labels are others; else None.
        splits: who trains and who validates.
        configurations: of the grid, in its order.
        configs: the `Config` of each configuration.
        hparams: the checked hyperparameters of each.
        num_batches: of an epoch, for each.
        seeds: in order.
        pairing: "paired" or "independent".
        standardize: whether inputs are standardised by each fold's training part.
        fold_inputs: x of the rows as each fold sees them, `(n_features, n)` each, where every fold has its
            own; else None.
        notes: what a reader must know.
    """

    data: Data
    test: Data | None
    classes: np.ndarray | None
    splits: Splits
    configurations: tuple[Configuration, ...]
    configs: tuple[Config, ...]
    hparams: tuple[HParams, ...]
    num_batches: tuple[int, ...]
    seeds: tuple[int, ...]
    pairing: Pairing
    standardize: bool
    notes: tuple[str, ...]
    fold_inputs: tuple[np.ndarray, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns the fields: what is cached beside them cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def has_own_inputs(self) -> bool:
        """Whether folds see other inputs than each other."""
        return (self.standardize or self.fold_inputs is not None) and self.num_folds > 1

    @property
    def num_folds(self) -> int:
        """Splits, at least 1."""
        return len(self.splits.train)

    @property
    def num_rows(self) -> int:
        """Networks to train."""
        return len(self.configurations) * self.num_replicates

    @property
    def num_replicates(self) -> int:
        """Networks of each configuration: seeds × folds."""
        return len(self.seeds) * self.num_folds

    def row(self, index: int) -> Row:
        """Returns what row `index` is."""
        rest, fold = divmod(index, self.num_folds)
        configuration, seed = divmod(rest, len(self.seeds))
        return Row(configuration, self.seeds[seed], fold)

    def index(self, configuration: int, seed_index: int, fold: int) -> int:
        """Returns the index of a row."""
        return (configuration * len(self.seeds) + seed_index) * self.num_folds + fold

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics without their split."""
        fit = CLASS_METRICS if np.issubdtype(self.data.y.dtype, np.integer) else REAL_METRICS
        asked = self.configs[0].metrics
        return tuple(name for name in fit if asked is None or name in asked)

    @property
    def metric(self) -> str:
        """The validation metric that is ranked unless another is named."""
        return f"val_{next((name for name in ('accuracy', 'r2') if name in self.metrics), 'loss')}"

    def in_units(self, metric: str) -> str:
        """Returns a metric, with or without its split, and its unit: what an axis of it is called."""
        unit = UNITS.get(without_split(metric), ("", ""))[not np.issubdtype(self.data.y.dtype, np.integer)]
        return f"{metric} ({unit})" if unit else metric

    @property
    def shown_metric(self) -> str:
        """What says how good a network is: `metric`, or the training loss where nothing is held out."""
        return "train_loss" if self.splits.kind == "none" else self.metric

    @property
    def num_units(self) -> int:
        """Units of evidence: folds, or seeds where there is one split."""
        return self.num_folds if self.splits.kind == "folds" else len(self.seeds)

    def check_metric(self, metric: str | None) -> str:
        """Returns the validation metric that is meant, None being `Design.metric`.

        Raises:
            ValueError: nothing is held out, or a metric that may not be ranked.
        """
        if self.splits.kind == "none":
            raise ValueError(
                "best and compare must have rows held out from training: sweep with folds=5 or validation=0.2"
            )
        known = [f"val_{name}" for name in self.metrics]
        if metric is not None and metric not in known:
            raise ValueError(
                f"metric must be one of {', '.join(known)}, got {shown(metric)}: nothing is ranked on "
                "training or test rows, by the cost, which contains the penalties, or by what is not recorded"
            )
        metric = self.metric if metric is None else metric
        fold = self._undefined_in(metric)
        if fold is not None:
            why = "do not vary" if metric == "val_r2" else "lack a class"
            raise ValueError(
                f"metric must be defined in every fold, and {metric} is not in fold {fold}, whose held-out "
                f"rows {why}: take fewer folds, or another metric"
            )
        return metric

    def _undefined_in(self, metric: str) -> int | None:
        """Returns the first split on whose held-out rows a metric is not defined, or None."""
        if metric not in ("val_r2", "val_roc_auc"):
            return None
        y = np.asarray(self.data.y)
        for fold, weights in enumerate(self.splits.val):
            held_out = y[:, weights > 0]
            lacking = len(np.unique(held_out)) < len(np.unique(y))
            if lacking if metric == "val_roc_auc" else bool(np.any(np.ptp(held_out, axis=1) == 0)):
                return fold
        return None

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names that the grid mentions."""
        return tuple(dict.fromkeys(name for c in self.configurations for name in c))

    @functools.cached_property
    def axes(self) -> dict[str, list[Any]]:
        """Names that take more than one value, each with its values in order of appearance."""
        return Grid(self.configurations).axes

    def in_words(self, configuration: Configuration, digits: int = 6, leave_out: Collection[str] = ()) -> str:
        """Returns a configuration in words: its values on the axes; of more than three, what is on.

        Args:
            configuration: of the grid, or some of its values.
            digits: of real values.
            leave_out: axes that are not named.
        """
        names = [n for n in (list(self.axes) or self.names) if n in configuration or len(self.axes) <= 3]
        names = [name for name in names if name not in leave_out]
        if len(self.axes) > 3:
            off = [n for n in names if value_of(configuration, n) == OFF_VALUES.get(n)]
            names = [name for name in names if name not in off]
            if off and not names:
                return "nothing on"
        return describe(configuration, names, digits)

    def units_in_words(self) -> str:
        """Returns what varies: "over 5 folds × 8 seeds (t, 4 df)"."""
        if self.splits.kind == "folds":
            seeds = f"{len(self.seeds)} seed" + ("s" if len(self.seeds) > 1 else "")
            return f"over {self.num_folds} folds × {seeds} (t, {self.num_folds - 1} df)"
        if len(self.seeds) == 1:
            return "1 seed on 1 split: no interval"
        return f"over {len(self.seeds)} seeds on this one split: says nothing about other data"

    @functools.cached_property
    def padded(self) -> Data:
        """The rows that train and validate, padded; see `inputs` for x as the networks see it."""
        return pad_samples(self.data)

    @functools.cached_property
    def padded_test(self) -> Data | None:
        """The test rows, padded."""
        return None if self.test is None else pad_samples(self.test)

    def stops(self, configuration: int) -> bool:
        """Returns whether a configuration trains without the rows that early stopping watches."""
        return _watches(self.configurations[configuration], self.configs[configuration])

    def weights(self, row: Row) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Returns a row's training, validation and stopping weights over the padded rows; None: no such."""
        splits, stops = self.splits, self.stops(row.configuration)
        extra = self.padded.x.shape[1] - self.data.x.shape[1]
        found = (
            splits.trains(row.fold, stops),
            None if splits.kind == "none" else splits.val[row.fold],
            splits.stop[row.fold] if stops and splits.stop is not None else None,
        )
        dtype = self.configs[0].dtype
        train, val, stop = (None if w is None else np.pad(w, (0, extra)).astype(dtype) for w in found)
        assert train is not None
        return train, val, stop

    def inputs(self, fold: int, stops: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns x of the resident and of the test rows as a fold's networks see them.

        Args:
            fold: its number.
            stops: whether the networks train without the rows that early stopping watches, see `stops`.
        """
        return self._inputs(fold, stops and self.standardize)

    @functools.cached_property
    def _inputs(self) -> Callable[[int, bool], tuple[np.ndarray, np.ndarray | None]]:
        """A cache that goes with the design."""
        return functools.lru_cache(maxsize=64)(self._make_inputs)

    def _make_inputs(self, fold: int, stops: bool) -> tuple[np.ndarray, np.ndarray | None]:
        dtype, test = self.configs[0].dtype, self.padded_test
        if self.fold_inputs is not None:
            own = pad_samples(self.data._replace(x=self.fold_inputs[fold]))
            return own.x.astype(dtype), None
        if not self.standardize:
            return self.padded.x.astype(dtype), None if test is None else test.x.astype(dtype)
        mean, scale = self.standardisation(fold, stops)
        with np.errstate(over="ignore"):  # a held-out row may hold anything
            x = ((self.padded.x - mean) / scale).astype(dtype)
            return x, None if test is None else ((test.x - mean) / scale).astype(dtype)

    def standardisation(self, fold: int, stops: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean and scale of the rows that a fold trains on, `(n_features, 1)` each."""
        if not self.standardize:
            ones = np.ones((len(self.data.x), 1))
            return np.zeros_like(ones), ones
        return standardisation(self.data, self.splits.trains(fold, stops))

    def drawn(self, row: Row) -> tuple[Params | None, np.ndarray | None]:
        """Returns the weights that a row begins with, and the orders of its rows in each epoch, where NumPy
        draws them as scikit-learn does: from the seed alone, the same for all folds.
        """
        config = self.configs[row.configuration]
        if config.draws == "jax":
            return None, None
        return self._drawn(
            config, self.num_batches[row.configuration], row.seed, row.fold, self.stops(row.configuration)
        )

    @functools.cached_property
    def _drawn(self) -> Callable[..., tuple[Params, np.ndarray | None]]:
        """A cache that goes with the design."""
        return functools.lru_cache(maxsize=64)(self._draw)

    def _draw(
        self, config: Config, num_batches: int, seed: int, fold: int, stops: bool
    ) -> tuple[Params, np.ndarray | None]:
        random = np.random.RandomState(seed)
        params = draw_weights(random, config.layer_sizes, config.init == "sklearn_logistic", config.dtype)
        if config.batch_size is None:
            return params, None
        rows = np.flatnonzero(self.splits.trains(fold, stops) > 0)
        width, epochs = self.padded.x.shape[1], -(-config.num_steps // num_batches)
        return params, draw_orders(random, rows, epochs, width, config.shuffle)[0]

    def key(self, row: Row) -> np.ndarray:
        """Returns the key data of a row, `(2,)`: of its replicate, and of its own where not paired."""
        key = _key_data(row.seed, row.fold)
        if self.pairing == "paired":
            return key
        return np.asarray(_fold_in_twice(key, self._digests[row.configuration]))

    @functools.cached_property
    def _digests(self) -> np.ndarray:
        """Two words that are each configuration's own, `(configurations, 2)`."""
        on = ([n for n in NAMES if is_mentioned(n, value_of(c, n))] for c in self.configurations)
        words = (describe(c, names).encode() for c, names in zip(self.configurations, on, strict=True))
        digests = [hashlib.sha256(text).digest()[:8] for text in words]
        return np.array([np.frombuffer(digest, "<u4") for digest in digests], np.uint32)


def part_of(design: Design, configurations: Sequence[int]) -> Design:
    """Returns the design of some configurations alone, numbered anew."""
    names = ("configurations", "configs", "hparams", "num_batches")
    parts = {name: tuple(getattr(design, name)[index] for index in configurations) for name in names}
    return dataclasses.replace(design, **parts)


@functools.lru_cache(maxsize=4096)
def _key_data(seed: int, fold: int) -> np.ndarray:
    return np.asarray(jax.random.key_data(replicate_key(seed, fold)))


@jax.jit
def _fold_in_twice(key: jax.Array, words: jax.Array) -> jax.Array:
    folded = jax.random.fold_in(jax.random.wrap_key_data(key), words[0])
    return jax.random.key_data(jax.random.fold_in(folded, words[1]))


def make_design(
    data: Any,
    config: Config | Mapping[str, Any] | None = None,
    grid: Any = None,
    *,
    seeds: int | Iterable[int] = 1,
    folds: Any = None,
    validation: float | None = None,
    test: Any = None,
    groups: ArrayLike | None = None,
    standardize: bool = False,
    epochs: int | None = None,
    pairing: Pairing = "paired",
    stopping: float = STOPPING,
    fold_inputs: Sequence[ArrayLike] | None = None,
    target: str | None = None,
    task: Task = "auto",
) -> Design:
    """Returns the resolved sweep; arguments and errors as in `sweep`."""
    check_choice("pairing", pairing, get_args(Pairing))
    check_choice("task", task, get_args(Task))
    if not isinstance(standardize, bool | np.bool_):
        raise TypeError(f"standardize must be True or False, got {shown(standardize)}")
    hidden, base = as_config(config)
    found = as_grid(grid)
    seed_list = check_seeds(seeds)
    if isinstance(test, float) and groups is not None:
        raise ValueError(
            "test must not be a fraction where groups are given: part the rows by group yourself"
        )
    rows, own_test, classes = _resolve_data(data, target, task)
    rows, test_rows = _resolve_test(rows, own_test, test, classes, target, task)
    if hidden is not None:
        base = fit_config(base, rows, hidden)
    rows, test_rows = _checked(base, rows, test_rows)
    check_fraction("stopping", stopping)
    stops = [_watches(configuration, base) for configuration in found]
    if groups is not None and np.shape(groups) != (rows.x.shape[1],):
        raise ValueError(f"groups must have shape ({rows.x.shape[1]},), got {np.shape(groups)}")
    splits = make_splits(rows, folds, validation, groups, stopping if any(stops) else None)
    if fold_inputs is not None and (standardize or test_rows is not None):
        raise ValueError("fold_inputs must not be given with standardize or test rows")
    num_train = {
        early: [int(np.sum(splits.trains(fold, early) > 0)) for fold in range(len(splits.train))]
        for early in set(stops)
    }
    loss = resolve_loss(base, rows)
    if base.class_weight is not None and loss == "squared_error":
        raise ValueError("class_weight must be used with classes, got real targets")
    if isinstance(base.class_weight, tuple) and len(base.class_weight) != max(2, base.layer_sizes[-1]):
        raise ValueError(
            f"class_weight must have one number for each of {max(2, base.layer_sizes[-1])} classes, "
            f"got {len(base.class_weight)}"
        )
    configs, hparams, batches = [], [], []
    for configuration, early in zip(found, stops, strict=True):
        own, num_batches = _own_config(base, configuration, num_train[early], epochs)
        try:
            hparams.append(check_hparams(own, as_hparams(configuration)))
            check_loss(hparams[-1], loss)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error} (configuration {describe(configuration)})") from None
        configs.append(own)
        batches.append(num_batches)
    return Design(
        data=rows,
        test=test_rows,
        classes=classes,
        splits=splits,
        configurations=tuple(found),
        configs=tuple(configs),
        hparams=tuple(hparams),
        num_batches=tuple(batches),
        seeds=seed_list,
        pairing=pairing,
        standardize=bool(standardize),
        notes=(*splits.notes, *_notes(found, configs, epochs), *_stopping_notes(hparams, configs, splits)),
        fold_inputs=None if fold_inputs is None else _check_fold_inputs(fold_inputs, rows, splits),
    )


def _check_fold_inputs(given: Sequence[ArrayLike], rows: Data, splits: Splits) -> tuple[np.ndarray, ...]:
    found = tuple(np.asarray(x, rows.x.dtype).T for x in given)
    wanted = rows.x.shape
    if len(found) != len(splits.train) or any(x.shape != wanted for x in found):
        raise ValueError(
            f"fold_inputs must hold a matrix of shape {wanted[::-1]} for each of {len(splits.train)} folds, "
            f"got shapes {[x.shape[::-1] for x in found]}"
        )
    return found


def _watches(configuration: Configuration, config: Config) -> bool:
    patience = check_hparam(config, "patience", value_of(configuration, "patience")) is not None
    if patience and config.stop_on is not None:
        raise ValueError("patience and stop_on must not both be on: each says when a run stops")
    return patience or config.stop_on == "score"


def check_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Returns the seeds that are meant: 0 … seeds - 1, or those listed."""
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        return tuple(range(check_count("seeds", seeds, at_most=MAX_SEEDS)))
    found = tuple(check_count("seeds", seed, at_least=0, at_most=MAX_SEED) for seed in seeds)
    if not found:
        raise ValueError("seeds must be at least 1, got none")
    if len(set(found)) < len(found):
        raise ValueError(f"seeds must be distinct, got {found}")
    return found


def _resolve_data(data: Any, target: str | None, task: Task) -> tuple[Data, Data | None, np.ndarray | None]:
    """Returns (rows, the data set's own test rows, classes)."""
    if isinstance(data, str | os.PathLike):
        return datasets.load_named(data, target=target, task=task)
    if target is not None:
        raise ValueError(f"target must only be given with a .csv file, got {shown(target)}")
    if isinstance(data, Data):
        return data, None, None
    if isinstance(data, tuple | list) and len(data) == 2:
        X, y = data
        labels = np.asarray(y)
        if task == "regression" or (task == "auto" and labels.dtype.kind == "f"):
            return Data.from_arrays(X, labels, task="regression"), None, None
        labels = labels.astype(str) if labels.dtype.kind == "O" else labels
        classes = np.unique(labels)
        rows = Data.from_arrays(X, labels, classes=classes)
        plain = classes.dtype.kind in "iu" and np.array_equal(classes, np.arange(len(classes)))
        return rows, None, None if plain else classes
    raise TypeError(
        "data must be a regjax.Data, a pair (X, y) with X (n_samples, n_features), or a data set's name or "
        f"path, got {type(data).__name__}"
    )


def _resolve_test(
    rows: Data, own: Data | None, test: Any, classes: np.ndarray | None, target: str | None, task: Task
) -> tuple[Data, Data | None]:
    if test is None:
        return rows, own
    if isinstance(test, str) and test == "none":
        return rows, None
    if isinstance(test, Data):
        return rows, test
    if isinstance(test, str | os.PathLike):
        ends_in_csv = str(test).lower().endswith(".csv")
        found = datasets.load_named(test, target=target if ends_in_csv else None, task=task, classes=classes)
        return rows, found[0]
    if isinstance(test, tuple | list) and len(test) == 2:
        X, y = test
        labels = np.asarray(y)
        if not np.issubdtype(rows.y.dtype, np.integer):
            return rows, Data.from_arrays(X, labels, task="regression")
        return rows, Data.from_arrays(X, labels, classes=classes, task="classification")
    if isinstance(test, float | np.floating):
        test = float(test)
        if not 0 < test < 1:
            raise ValueError(f"test must be a fraction in (0, 1), got {shown(test)}")
        return hold_out(rows, test, seed=SPLIT_SEED, name="test")
    raise TypeError(
        'test must be None, "none", a fraction, a regjax.Data, a pair (X, y) or a path, '
        f"got {type(test).__name__}"
    )


def _checked(config: Config, rows: Data, test: Data | None) -> tuple[Data, Data | None]:
    """Returns the checked rows, x as it was: what is standardised is not rounded before."""
    checked = check_data(config, rows)
    checked_test = check_test(config, checked, test)
    rows = checked._replace(x=np.asarray(rows.x), weights=unit_mean(rows.weights, len(rows.weights)))
    if test is None or checked_test is None:
        return rows, None
    return rows, checked_test._replace(x=np.asarray(test.x))


def as_config(config: Config | Mapping[str, Any] | None) -> tuple[tuple[int, ...] | None, Config]:
    """Returns (hidden layers that are still to be fitted to the data, or None; the Config).

    Args:
        config: a `Config`, or a mapping of its fields with `hidden` in place of `layer_sizes`.

    Raises:
        TypeError: of another kind.
        ValueError: an unknown field, or what `Config` refuses.
    """
    if isinstance(config, Config):
        return None, config
    if config is not None and not isinstance(config, Mapping):
        raise TypeError(f"config must be a regjax.Config or a dict, got {type(config).__name__}")
    fields = dict(config or {})
    for name in fields:
        check_known("config", name, CONFIG_FIELDS)
    hidden = canonical("hidden", fields.pop("hidden", Config().layer_sizes[1:-1]))
    if "batch_size" in fields:
        fields["batch_size"] = canonical("batch_size", fields["batch_size"])
    for name in ("decay_steps", "class_weight", "stop_on", "metrics"):
        if fields.get(name) == "none":
            fields[name] = None
    return hidden, Config(layer_sizes=(1, *hidden, 1), **fields)


def fit_config(config: Config, data: Data, hidden: tuple[int, ...]) -> Config:
    """Returns `config` with these hidden layers, and input and output as the data needs them."""
    num_outputs = len(data.y)
    if np.issubdtype(data.y.dtype, np.integer):
        largest = int(np.max(data.y))
        two = largest <= 1 and config.loss in ("auto", "sigmoid_cross_entropy")
        num_outputs = 1 if two else max(2, largest + 1)
    return dataclasses.replace(config, layer_sizes=(len(data.x), *hidden, num_outputs))


def _own_config(
    base: Config, configuration: Configuration, num_train: list[int], epochs: int | None
) -> tuple[Config, int]:
    """Returns a configuration's Config, and the batches of an epoch."""
    own = {
        name: value_of(configuration, name)
        for name in ("activation", "optimizer", "batch_size", "init")
        if name in configuration
    }
    if "hidden" in configuration:
        own["layer_sizes"] = (base.layer_sizes[0], *configuration["hidden"], base.layer_sizes[-1])
    config = dataclasses.replace(base, **own)
    if config.batch_size is not None and config.batch_size > min(num_train):
        raise ValueError(
            f"batch_size must be at most the {min(num_train)} training rows of the smallest fold, "
            f"got {config.batch_size}"
        )
    num_batches = 1
    if config.batch_size is not None:
        rest = config.batch_size - 1 if config.batches == "all" else 0
        # Of the largest fold, where batches may be smaller; of the smallest, where they may not.
        rows = max(num_train) if config.batches == "all" else min(num_train)
        num_batches = (rows + rest) // config.batch_size
    if epochs is not None:
        steps = check_count("epochs", epochs) * num_batches
        config = dataclasses.replace(config, num_steps=check_count("epochs × batches", steps))
    return config, num_batches


def _notes(grid: Grid, configs: list[Config], epochs: int | None) -> Iterable[str]:
    if len({config.batch_size for config in configs}) > 1:
        fixed = f"{epochs} epochs" if epochs is not None else f"{configs[0].num_steps:,} steps"
        other = "steps" if epochs is not None else "epochs"
        yield f"batch sizes differ: {fixed} are held fixed, the number of {other} differs"
    read = {name: h for name, h in HYPERPARAMETERS.items() if h.optimizers}
    for name, declared in read.items():
        values = {value_of(configuration, name) for configuration in grid}
        asked = len(values) > 1 or (declared.off is not None and values != {declared.off})
        if asked and not any(config.optimizer in declared.optimizers for config in configs):
            used = ", ".join(sorted({config.optimizer for config in configs}))
            yield f"{name} is asked for, but {used} does not read it"


# Watched rows below which their loss says little.
FEW_ROWS = 30


def _stopping_notes(hparams: list[HParams], configs: list[Config], splits: Splits) -> Iterable[str]:
    """Yields what a reader must know of early stopping by patience."""
    patient = [
        (float(h.patience), c) for h, c in zip(hparams, configs, strict=True) if h.patience is not None
    ]
    if not patient or splits.stop is None:
        return
    watched = int(np.count_nonzero(splits.stop, axis=1).min())
    if watched < FEW_ROWS:
        yield f"early stopping watches {watched} rows: few, so that chance decides when a network stops"
    if any(patience >= config.num_steps for patience, config in patient):
        yield "patience is at least the number of steps: such networks do not stop, but train on fewer rows"
    if any(config.eval_every * 2 > config.num_steps for _, config in patient):
        yield "eval_every leaves early stopping one or two records to choose from"
    if any(patience < config.eval_every for patience, config in patient):
        yield "patience is less than eval_every: the first record that is no better stops a network"
