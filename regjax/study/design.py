"""A design: what a sweep is asked to do, resolved and checked.

Rows are configurations × seeds × folds, configuration by configuration; a *replicate* is a (seed, fold).
`resolve.make_design` makes a design from the arguments of a user, `engine.sweep.run` trains it, a store
keeps it, and `Results` refers to it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import numpy as np

from regjax.core.checks import shown
from regjax.core.config import Config
from regjax.core.data import Data, pad_samples
from regjax.core.host import fold_in, replicate_words
from regjax.core.hparams import OFF_VALUES, HParams, check_hparam
from regjax.core.metrics import CLASS_METRICS, REAL_METRICS, UNITS, without_split
from regjax.core.mlp import Params
from regjax.data.encode import Statistics, encode, fit_statistics
from regjax.data.repeats import sizes_of
from regjax.data.scales import standardisation, target_standardisation
from regjax.data.schema import Schema
from regjax.data.splits import Splits
from regjax.study.configuration import NAMES, Configuration, is_mentioned, value_of
from regjax.study.drawn import draw_as_sklearn
from regjax.study.evidence import Evidence, Row
from regjax.study.grid import Grid
from regjax.study.words import describe, metric_in_words

Pairing = Literal["paired", "independent"]


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """A resolved sweep.

    Attributes:
        data: the samples that train and validate, float64 or float32, not padded.
        test: the test samples, or None.
        classes: the user's labels for 0, 1, … where they differ, else None.
        splits: weights of the training and validation part of each fold.
        configurations: configurations of the grid, in its order.
        configs: the `Config` of each configuration.
        hparams: the checked hyperparameters of each configuration.
        num_batches: number of batches of an epoch, for each configuration.
        seeds: seeds in the order of their rows.
        pairing: "paired" or "independent".
        standardize: whether inputs are standardised by each fold's training part.
        notes: sentences that the plan and the results show.
        fold_inputs: inputs of the samples in each fold, `(n_features, n)` each, where folds have their own;
            else None.
        schema: what the columns of a table are; None for arrays. Where it is not plain, `data.x` and `test.x`
            hold coded columns, of which each fold makes its inputs.
        standardize_target: whether real targets are standardised by each fold's training part; `data` and
            `test` hold them in their own unit, float64.
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
    schema: Schema | None = None
    standardize_target: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Returns the fields alone: cached functions beside them cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def coded(self) -> bool:
        """Whether `data.x` holds coded columns of a table and not the inputs themselves."""
        return self.schema is not None and not self.schema.plain

    @property
    def has_own_inputs(self) -> bool:
        """Whether inputs differ between folds."""
        return (self.standardize or self.coded or self.fold_inputs is not None) and self.num_folds > 1

    @functools.cached_property
    def column_inputs(self) -> dict[str, tuple[int, ...]]:
        """Name of each column of the data -> numbers of the inputs that it becomes; x1, x2, … for arrays."""
        if self.schema is not None:
            return self.schema.column_inputs
        return {f"x{i + 1}": (i,) for i in range(len(self.data.x))}

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the networks' inputs; x1, x2, … for arrays."""
        return tuple(self.column_inputs) if self.schema is None else self.schema.input_names

    @property
    def has_own_targets(self) -> bool:
        """Whether the targets that networks train on differ between folds."""
        return self.standardize_target and self.num_folds > 1

    @property
    def num_folds(self) -> int:
        """Number of splits, at least 1."""
        return len(self.splits.train)

    @property
    def num_rows(self) -> int:
        """Number of networks to train."""
        return len(self.configurations) * self.num_replicates

    @property
    def num_replicates(self) -> int:
        """Number of networks of each configuration: seeds × folds."""
        return len(self.seeds) * self.num_folds

    def row(self, index: int) -> Row:
        """Returns the configuration, seed and fold of row `index`."""
        rest, fold = divmod(index, self.num_folds)
        configuration, seed = divmod(rest, len(self.seeds))
        return Row(configuration, self.seeds[seed], fold)

    def row_in_words(self, index: int) -> str:
        """Returns the configuration, seed and fold of row `index` in words."""
        row = self.row(index)
        return f"{self.in_words(self.configurations[row.configuration])}, seed {row.seed}, fold {row.fold}"

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
        """Returns a metric in words, with or without its split, and its unit: the label of its axis."""
        real = not np.issubdtype(self.data.y.dtype, np.integer)
        unit = UNITS.get(without_split(metric), ("", ""))[real]
        if self.configs[0].loss == "poisson" and without_split(metric) in ("loss", "cost"):
            unit = "nats"
        words = metric_in_words(metric)
        return f"{words} ({unit})" if unit else words

    @property
    def shown_metric(self) -> str:
        """The metric shown for a network: `metric`, or the training loss where nothing is held out."""
        return "train_loss" if self.splits.kind == "none" else self.metric

    @property
    def num_units(self) -> int:
        """Number of units of evidence: folds, or seeds where there is one split."""
        return self.num_folds if self.splits.kind == "folds" else len(self.seeds)

    def check_metric(self, metric: str | None) -> str:
        """Returns the validation metric that is meant, None being `Design.metric`.

        Raises:
            ValueError: nothing is held out, or a metric that may not be ranked.
        """
        if self.splits.kind == "none":
            raise ValueError(
                "best and compare must have samples held out from training: "
                "sweep with folds=5 or validation=0.2"
            )
        known = [f"val_{name}" for name in self.metrics]
        if metric is not None and metric not in known:
            raise ValueError(
                f"metric must be one of {', '.join(known)}, got {shown(metric)}: nothing is ranked "
                "on training or test samples, by the cost, which contains the penalties, or by "
                "what is not recorded"
            )
        metric = self.metric if metric is None else metric
        fold = self._undefined_in(metric)
        if fold is not None:
            why = "do not vary" if metric == "val_r2" else "lack a class"
            raise ValueError(
                f"metric must be defined in every fold, and {metric} is not in fold {fold}, whose held-out "
                f"samples {why}: take fewer folds, or another metric"
            )
        return metric

    def _undefined_in(self, metric: str) -> int | None:
        """Returns the first split on whose held-out samples a metric is not defined, or None."""
        if metric not in ("val_r2", "val_roc_auc"):
            return None
        y = np.asarray(self.data.y)
        for fold, weights in enumerate(self.splits.val):
            # val_r2 divides by the variance of the targets, val_roc_auc ranks samples of each class.
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
            configuration: a configuration of the grid, or some of its values.
            digits: significant digits of real values.
            leave_out: axes that are not named.
        """
        names = [n for n in (list(self.axes) or self.names) if n in configuration or len(self.axes) <= 3]
        names = [name for name in names if name not in leave_out]
        # All values of more than three axes would be a long line.
        if len(self.axes) > 3:
            off = [n for n in names if value_of(configuration, n) == OFF_VALUES.get(n)]
            names = [name for name in names if name not in off]
            if off and not names:
                return "nothing on"
        return describe(configuration, names, digits)

    @property
    def evidence(self) -> Evidence:
        """The folds and seeds that means are taken over."""
        if self.splits.kind != "folds":
            return Evidence("seeds", self.num_folds, len(self.seeds))
        sizes = sizes_of(self.repeat_of)
        repeats = len(sizes) if len(set(sizes)) == 1 and sizes[0] > 1 else 1
        return Evidence("folds", self.num_folds, len(self.seeds), repeats)

    @functools.cached_property
    def repeat_of(self) -> np.ndarray:
        """Number of the repeat that each unit of evidence belongs to, `(units,)`; seeds are one."""
        return self.splits.repeat_of if self.splits.kind == "folds" else np.zeros(len(self.seeds), int)

    @functools.cached_property
    def num_left_out(self) -> int:
        """Number of units of the smallest repeat; of 1 nothing is left to choose on when it is left out."""
        return min(sizes_of(self.repeat_of))

    def units_in_words(self) -> str:
        """Returns what means are taken over: "over 5 folds × 8 seeds (t, 4 df)"."""
        return self.evidence.in_words()

    @functools.cached_property
    def padded(self) -> Data:
        """The samples that train and validate, padded; `inputs` has x as the networks see it."""
        return pad_samples(self.data)

    @functools.cached_property
    def padded_test(self) -> Data | None:
        """The test samples, padded."""
        return None if self.test is None else pad_samples(self.test)

    def stops_early(self, configuration: int) -> bool:
        """Returns whether a configuration trains without the samples that early stopping watches."""
        return self._stop_early[configuration]

    @functools.cached_property
    def _stop_early(self) -> list[bool]:
        """`stops_early` of every configuration."""
        return list(map(watches, self.configurations, self.configs))

    def weights(self, row: Row) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Returns a row's training, validation and stopping weights of the padded samples, or None for a part
        that it does not have."""
        splits, stops = self.splits, self.stops_early(row.configuration)
        extra = self.padded.x.shape[1] - self.data.x.shape[1]
        found = (
            splits.trains(row.fold, stops),
            None if splits.kind == "none" else splits.val[row.fold],
            splits.stop[row.fold] if stops and splits.stop is not None else None,
        )
        dtype = self.configs[0].dtype
        # Padded samples have weight 0.
        train, val, stop = (None if w is None else np.pad(w, (0, extra)).astype(dtype) for w in found)
        assert train is not None
        return train, val, stop

    def inputs(self, fold: int, stops: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns x of the padded samples and of the test samples as a fold's networks see them.

        Args:
            fold: number of the fold.
            stops: whether the networks train without the samples that early stopping watches.
        """
        return self._inputs(fold, stops and (self.standardize or self.coded))

    @functools.cached_property
    def _inputs(self) -> Callable[[int, bool], tuple[np.ndarray, np.ndarray | None]]:
        """`_make_inputs` with a cache that is dropped with the design."""
        return functools.lru_cache(maxsize=64)(self._make_inputs)

    def _make_inputs(self, fold: int, stops: bool) -> tuple[np.ndarray, np.ndarray | None]:
        dtype, test = self.configs[0].dtype, self.padded_test
        if self.coded:
            x, test_x = (
                None if part is None else pad_samples(part._replace(x=self.encoded(part.x.T, fold, stops))).x
                for part in (self.data, self.test)
            )
            assert x is not None
            return x, test_x
        if self.fold_inputs is not None:
            own = pad_samples(self.data._replace(x=self.fold_inputs[fold]))
            return own.x.astype(dtype), None
        if not self.standardize:
            return self.padded.x.astype(dtype), None if test is None else test.x.astype(dtype)
        mean, scale = self.standardisation(fold, stops)
        with np.errstate(over="ignore"):  # a held-out sample may hold any number
            x = ((self.padded.x - mean) / scale).astype(dtype)
            return x, None if test is None else ((test.x - mean) / scale).astype(dtype)

    def encoded(self, rows: np.ndarray, fold: int, stops: bool = False) -> np.ndarray:
        """Returns rows as a fold's networks see them, features-first, by the statistics of its training part.

        Args:
            rows: `(n_samples, columns)`, as in `data.x.T`: the coded columns of a table, or numbers.
            fold: number of the fold.
            stops: whether the networks train without the samples that early stopping watches.
        """
        dtype = self.configs[0].dtype
        if self.coded:
            assert self.schema is not None
            return encode(self.schema, self.statistics(fold, stops), rows, dtype)
        mean, scale = self.standardisation(fold, stops)
        return ((rows.T - mean) / scale).astype(dtype)

    def statistics(self, fold: int, stops: bool = False) -> Statistics:
        """Returns the statistics of the table's rows that a fold trains on."""
        return self._statistics(fold, stops)

    @functools.cached_property
    def _statistics(self) -> Callable[[int, bool], Statistics]:
        """The statistics of a fold, with a cache that is dropped with the design."""

        def found(fold: int, stops: bool) -> Statistics:
            assert self.schema is not None
            seen = self.splits.trains(fold, stops) > 0
            return fit_statistics(self.schema, self.data.x[:, seen].T, standardize=self.standardize)

        return functools.lru_cache(maxsize=256)(found)

    def standardisation(self, fold: int, stops: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean and scale of the samples that a fold trains on, `(n_features, 1)` each."""
        if not self.standardize:
            ones = np.ones((len(self.data.x), 1))
            return np.zeros_like(ones), ones
        return standardisation(self.data, self.splits.trains(fold, stops))

    def targets(self, fold: int, stops: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns y of the padded samples and of the test samples as a fold's networks see them.

        Args:
            fold: number of the fold.
            stops: whether the networks train without the samples that early stopping watches.
        """
        return self._targets(fold, stops and self.standardize_target)

    @functools.cached_property
    def _targets(self) -> Callable[[int, bool], tuple[np.ndarray, np.ndarray | None]]:
        """`_make_targets` with a cache that is dropped with the design."""
        return functools.lru_cache(maxsize=64)(self._make_targets)

    def _make_targets(self, fold: int, stops: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if not self.standardize_target:
            return self.padded.y, None if self.padded_test is None else self.padded_test.y
        (mean, scale), dtype = self.target_standardisation(fold, stops), self.configs[0].dtype
        # Its square is finite, so that the weight 0 of a held-out sample makes it 0 in every sum.
        largest = np.sqrt(np.finfo(dtype).max) / 4

        def standardised(own: Data) -> np.ndarray:
            with np.errstate(over="ignore"):  # a held-out sample may hold any number
                # Not ∞ in the end: in training it is multiplied by its weight 0.
                y = np.clip((own.y - mean) / scale, -largest, largest)
            return pad_samples(own._replace(y=y.astype(dtype))).y

        return standardised(self.data), None if self.test is None else standardised(self.test)

    def target_standardisation(self, fold: int, stops: bool = False) -> tuple[np.ndarray, float]:
        """Returns the mean of each target, `(n_outputs, 1)`, and the scale of all; arguments as `targets`."""
        if not self.standardize_target:
            return np.zeros((len(self.data.y), 1)), 1.0
        return target_standardisation(self.data, self.splits.trains(fold, stops))

    def in_own_unit(self, predictions: np.ndarray, fold: int, stops: bool = False) -> np.ndarray:
        """Returns predictions in the unit of the targets, float64; as they are without `standardize_target`.

        Args:
            predictions: of networks of the fold, `(…, n_outputs, n)`, or of their first outputs.
            fold: number of the fold.
            stops: as in `targets`.
        """
        if not self.standardize_target:
            return predictions
        mean, scale = self.target_standardisation(fold, stops)
        return mean[: predictions.shape[-2]] + scale * predictions.astype(np.float64)

    def target_scales(self) -> np.ndarray:
        """Returns the scale of the targets of each row, `(rows,)`."""
        early = [self.stops_early(index) for index in range(len(self.configs))]
        folds = range(self.num_folds)
        of = {stops: [self.target_standardisation(fold, stops)[1] for fold in folds] for stops in set(early)}
        return np.concatenate([np.tile(of[stops], len(self.seeds)) for stops in early])

    def drawn(self, row: Row) -> tuple[Params | None, np.ndarray | None]:
        """Returns the weights that a row begins with, and the orders of its samples in each epoch, where
        NumPy draws them as scikit-learn does (from the seed alone, the same for all folds); else None.
        """
        which = row.configuration
        if self.configs[which].draws == "jax":
            return None, None
        return self._drawn(
            self.configs[which], self.num_batches[which], row.seed, row.fold, self.stops_early(which)
        )

    @functools.cached_property
    def _drawn(self) -> Callable[..., tuple[Params, np.ndarray | None]]:
        """`draw_as_sklearn` for this design, with a cache that is dropped with it."""
        width = self.padded.x.shape[1]
        draw = functools.partial(draw_as_sklearn, self.data, self.splits, width)
        return functools.lru_cache(maxsize=64)(draw)

    def key(self, row: Row) -> np.ndarray:
        """Returns the key data of a row, `(2,)`: that of its replicate, or its own where not paired."""
        key = self._keys[row.seed, row.fold]
        # Paired rows draw the same weights, batches and masks: only their configurations differ.
        if self.pairing == "paired":
            return key
        first, second = self._digests[row.configuration]
        return fold_in(fold_in(key, first), second)

    @functools.cached_property
    def _keys(self) -> dict[tuple[int, int], np.ndarray]:
        """The key data of all replicates, by seed and fold, drawn at once."""
        pairs = list(itertools.product(self.seeds, range(self.num_folds)))
        drawn = replicate_words(*(np.array(part, np.uint32) for part in zip(*pairs, strict=True)))
        return dict(zip(pairs, drawn, strict=True))

    @functools.cached_property
    def _digests(self) -> np.ndarray:
        """Two words for each configuration, `(configurations, 2)`, that make its key its own."""
        # Off values are left out: a hyperparameter that a later version adds must change no key.
        on = ([n for n in NAMES if is_mentioned(n, value_of(c, n))] for c in self.configurations)
        words = (describe(c, names).encode() for c, names in zip(self.configurations, on, strict=True))
        digests = [hashlib.sha256(text).digest()[:8] for text in words]
        return np.array([np.frombuffer(digest, "<u4") for digest in digests], np.uint32)


def part_of(design: Design, configurations: Sequence[int]) -> Design:
    """Returns the design of some configurations alone, numbered anew."""
    names = ("configurations", "configs", "hparams", "num_batches")
    parts = {name: tuple(getattr(design, name)[index] for index in configurations) for name in names}
    return dataclasses.replace(design, **parts)


def watches(configuration: Configuration, config: Config) -> bool:
    """Returns whether a configuration stops early, by samples that are split off its training part.

    Raises:
        ValueError: patience and `config.stop_on` are both on.
    """
    patience = check_hparam(config, "patience", value_of(configuration, "patience")) is not None
    if patience and config.stop_on is not None:
        raise ValueError("patience and stop_on must not both be on: each says when a run stops")
    return patience or config.stop_on == "score"
