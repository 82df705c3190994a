"""From the arguments of a user to a `Design`: data, splits, configurations and seeds, resolved and checked.

`regjax.sweep`, `regjax.plan`, the command line and the searches call `make_design`. Nothing is compiled here,
so that every mistake of a user is reported before anything is spent.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack, get_args

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import check_choice, check_count, check_known, shown
from regjax.core.config import Config, Loss
from regjax.core.data import Data, Task, check_data, check_test, unit_mean
from regjax.core.hparams import HYPERPARAMETERS, HParams, check_hparams, check_loss
from regjax.core.objective import resolve_loss
from regjax.core.random import MAX_SEED
from regjax.data import loaders
from regjax.data.splits import SPLIT_SEED, Splits, check_fraction, hold_out, make_splits
from regjax.study.configuration import Configuration, as_hparams, canonical, value_of
from regjax.study.design import Design, Pairing, watches
from regjax.study.grid import Grid, as_grid
from regjax.study.words import describe

_T = TypeVar("_T")
# Names of a mapping in place of a Config: its ends are fitted to the data, it names the hidden layers only.
CONFIG_FIELDS = (
    "hidden",
    *(field.name for field in dataclasses.fields(Config) if field.name != "layer_sizes"),
)
# Fraction of each training part that early stopping watches, as in scikit-learn.
STOPPING = 0.1
# Largest number of seeds, which are listed in memory.
MAX_SEEDS = 1_000_000


class Options(TypedDict, total=False):
    """Arguments of a sweep besides data, configuration and grid: see `regjax.sweep`."""

    seeds: int | Iterable[int]
    folds: Any
    validation: float | None
    test: Any
    groups: ArrayLike | None
    standardize: bool
    standardize_target: bool
    epochs: int | None
    pairing: Pairing
    stopping: float
    fold_inputs: Sequence[ArrayLike] | None
    target: str | None
    task: Task


DEFAULTS: Options = {
    "seeds": 1,
    "folds": None,
    "validation": None,
    "test": None,
    "groups": None,
    "standardize": False,
    "standardize_target": False,
    "epochs": None,
    "pairing": "paired",
    "stopping": STOPPING,
    "fold_inputs": None,
    "target": None,
    "task": "auto",
}


def takes_options(function: Callable[..., _T]) -> Callable[..., _T]:
    """Returns a function whose signature shows each option of `**options`, for help and notebooks."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for (name, default), kind in zip(DEFAULTS.items(), Options.__annotations__.values(), strict=True)
    ]
    function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return function


@takes_options
def make_design(
    data: Any, config: Config | Mapping[str, Any] | None = None, grid: Any = None, **options: Unpack[Options]
) -> Design:
    """Returns the design of a sweep; arguments and errors as in `regjax.sweep`."""
    _check_names(options)
    asked: dict[str, Any] = {**DEFAULTS, **options}
    check_choice("pairing", asked["pairing"], get_args(Pairing))
    check_choice("task", asked["task"], get_args(Task))
    for name in ("standardize", "standardize_target"):
        if not isinstance(asked[name], bool | np.bool_):
            raise TypeError(f"{name} must be True or False, got {shown(asked[name])}")
    # The end layers of a mapping are fitted to the data, which are loaded below.
    hidden, base = as_config(config)
    found = as_grid(grid)
    seeds = check_seeds(asked["seeds"])
    samples, test, classes = _resolve_samples(data, asked)
    if hidden is not None:
        base = fit_config(base, samples, hidden)
    with loaders.of_file(data):
        samples, test = _checked(base, samples, test, asked["standardize_target"])
    check_fraction("stopping", asked["stopping"])
    early = [watches(configuration, base) for configuration in found]
    splits = _resolve_splits(samples, asked, stops=any(early))
    if asked["fold_inputs"] is not None and (asked["standardize"] or test is not None):
        raise ValueError("fold_inputs must not be given with standardize or test samples")
    _check_class_weight(base, resolve_loss(base, samples))
    marked = list(zip(found, early, strict=True))
    configs, hparams, batches = _resolve_configurations(base, marked, samples, splits, asked["epochs"])
    notes = (*splits.notes, *_notes(found, configs, asked["epochs"]))
    notes += (*_stopping_notes(hparams, configs, splits),)
    return Design(
        data=samples, test=test, classes=classes, splits=splits, configurations=tuple(found),
        configs=tuple(configs), hparams=tuple(hparams), num_batches=tuple(batches), seeds=seeds,
        pairing=asked["pairing"], standardize=bool(asked["standardize"]), notes=notes,
        fold_inputs=_check_fold_inputs(asked["fold_inputs"], samples, splits),
        standardize_target=bool(asked["standardize_target"]),
    )  # fmt: skip


def _check_names(options: Mapping[str, Any]) -> None:
    """Raises TypeError, as Python does, for an argument that `sweep` does not have; suggests the nearest."""
    for name in options:
        try:
            check_known("argument", name, tuple(DEFAULTS))
        except ValueError as error:
            raise TypeError(str(error)) from None


def _resolve_samples(data: Any, asked: Mapping[str, Any]) -> tuple[Data, Data | None, np.ndarray | None]:
    """Returns the samples that train and validate, the test samples, and the classes."""
    test, target, task = asked["test"], asked["target"], asked["task"]
    if isinstance(test, float) and asked["groups"] is not None:
        raise ValueError(
            "test must not be a fraction where groups are given: split samples by group yourself"
        )
    samples, own_test, classes = _resolve_data(data, target, task)
    # Test samples of their own have their own errors; a fraction of the data is at fault with its file.
    with loaders.of_file(data if isinstance(test, float) else None):
        return *_resolve_test(samples, own_test, test, classes, target, task), classes


def _resolve_splits(samples: Data, asked: Mapping[str, Any], *, stops: bool) -> Splits:
    stopping, groups = asked["stopping"] if stops else None, asked["groups"]
    if groups is not None and np.shape(groups) != (samples.x.shape[1],):
        raise ValueError(f"groups must have shape ({samples.x.shape[1]},), got {np.shape(groups)}")
    return make_splits(samples, asked["folds"], asked["validation"], groups, stopping)


def _check_class_weight(config: Config, loss: Loss) -> None:
    """Raises ValueError where the weights of classes do not fit the targets."""
    given, num_classes = config.class_weight, max(2, config.layer_sizes[-1])
    if given is not None and loss == "squared_error":
        raise ValueError("class_weight must be used with classes, got real targets")
    if isinstance(given, tuple) and len(given) != num_classes:
        raise ValueError(
            f"class_weight must have one number for each of {num_classes} classes, got {len(given)}"
        )


def _resolve_configurations(
    base: Config,
    marked: Sequence[tuple[Configuration, bool]],
    samples: Data,
    splits: Splits,
    epochs: int | None,
) -> tuple[list[Config], list[HParams], list[int]]:
    """Returns the Config, the checked hyperparameters and the batches of an epoch of each configuration.

    `marked` holds each configuration, and whether it stops early.
    """
    loss = resolve_loss(base, samples)
    num_train = {
        stops: [int(np.sum(splits.trains(fold, stops) > 0)) for fold in range(len(splits.train))]
        for stops in {stops for _, stops in marked}
    }
    configs, hparams, batches = [], [], []
    for configuration, stops in marked:
        own, num_batches = _own_config(base, configuration, num_train[stops], epochs)
        try:
            hparams.append(check_hparams(own, as_hparams(configuration)))
            check_loss(hparams[-1], loss)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error} (configuration {describe(configuration)})") from None
        configs.append(own)
        batches.append(num_batches)
    return configs, hparams, batches


def _check_fold_inputs(
    given: Sequence[ArrayLike] | None, samples: Data, splits: Splits
) -> tuple[np.ndarray, ...] | None:
    """Returns the inputs of each fold features-first, None where all folds see the same."""
    if given is None:
        return None
    found = tuple(np.asarray(x, samples.x.dtype).T for x in given)
    wanted = samples.x.shape
    if len(found) != len(splits.train) or any(x.shape != wanted for x in found):
        raise ValueError(
            f"fold_inputs must hold a matrix of shape {wanted[::-1]} for each of {len(splits.train)} folds, "
            f"got shapes {[x.shape[::-1] for x in found]}"
        )
    return found


def check_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Returns the seeds: 0 … seeds - 1, or those listed.

    Raises:
        TypeError: not a whole number.
        ValueError: none, a seed twice, or one out of its range.
    """
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        return tuple(range(check_count("seeds", seeds, at_most=MAX_SEEDS)))
    found = tuple(check_count("seeds", seed, at_least=0, at_most=MAX_SEED) for seed in seeds)
    if not found:
        raise ValueError("seeds must be at least 1, got none")
    if len(set(found)) < len(found):
        raise ValueError(f"seeds must be distinct, got {found}")
    return found


def _resolve_data(data: Any, target: str | None, task: Task) -> tuple[Data, Data | None, np.ndarray | None]:
    """Returns (samples, the data set's own test samples, classes)."""
    if isinstance(data, str | os.PathLike):
        return loaders.load_named(data, target=target, task=task)
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
        samples = Data.from_arrays(X, labels, classes=classes)
        plain = classes.dtype.kind in "iu" and np.array_equal(classes, np.arange(len(classes)))
        return samples, None, None if plain else classes
    raise TypeError(
        "data must be a regjax.Data, a pair (X, y) with X (n_samples, n_features), or a data set's name or "
        f"path, got {type(data).__name__}"
    )


def _resolve_test(
    samples: Data, own: Data | None, test: Any, classes: np.ndarray | None, target: str | None, task: Task
) -> tuple[Data, Data | None]:
    if test is None:
        return samples, own
    if isinstance(test, str) and test == "none":
        return samples, None
    if isinstance(test, Data):
        return samples, test
    if isinstance(test, str | os.PathLike):
        ends_in_csv = str(test).lower().endswith(".csv")
        found = loaders.load_named(test, target=target if ends_in_csv else None, task=task, classes=classes)
        return samples, found[0]
    if isinstance(test, tuple | list) and len(test) == 2:
        X, y = test
        labels = np.asarray(y)
        if not np.issubdtype(samples.y.dtype, np.integer):
            return samples, Data.from_arrays(X, labels, task="regression")
        return samples, Data.from_arrays(X, labels, classes=classes, task="classification")
    if isinstance(test, float | np.floating):
        test = float(test)
        if not 0 < test < 1:
            raise ValueError(f"test must be a fraction in (0, 1), got {shown(test)}")
        return hold_out(samples, test, seed=SPLIT_SEED, name="test")
    raise TypeError(
        'test must be None, "none", a fraction, a regjax.Data, a pair (X, y) or a path, '
        f"got {type(test).__name__}"
    )


def _checked(
    config: Config, samples: Data, test: Data | None, standardize_target: bool
) -> tuple[Data, Data | None]:
    """Returns the checked samples, x in its own precision: it is standardised before it is rounded.

    So is y where it is standardised, in float64.
    """
    checked = check_data(config, samples)
    checked_test = check_test(config, checked, test)
    if standardize_target and resolve_loss(config, checked) != "squared_error":
        raise ValueError("standardize_target must be used with real targets, got classes")

    def own(data: Data, checked: Data) -> Data:
        y = np.asarray(data.y, np.float64) if standardize_target else checked.y
        return checked._replace(x=np.asarray(data.x), y=y)

    weights = unit_mean(samples.weights, len(samples.weights))
    samples = own(samples, checked)._replace(weights=weights)
    return samples, None if test is None or checked_test is None else own(test, checked_test)


def as_config(config: Config | Mapping[str, Any] | None) -> tuple[tuple[int, ...] | None, Config]:
    """Returns (hidden layers that are still to be fitted to the data, or None; the Config).

    Args:
        config: a `Config`, or a mapping of its fields with `hidden` in place of `layer_sizes`.

    Raises:
        TypeError: neither of them.
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
            f"batch_size must be at most the {min(num_train)} training samples of the smallest fold, "
            f"got {config.batch_size}"
        )
    num_batches = 1
    if config.batch_size is not None:
        rest = config.batch_size - 1 if config.batches == "all" else 0
        # Of the largest fold, where batches may be smaller; of the smallest, where they may not.
        samples = max(num_train) if config.batches == "all" else min(num_train)
        num_batches = (samples + rest) // config.batch_size
    if epochs is not None:
        steps = check_count("epochs", epochs) * num_batches
        config = dataclasses.replace(config, num_steps=check_count("epochs × batches", steps))
    return config, num_batches


def _notes(grid: Grid, configs: list[Config], epochs: int | None) -> Iterable[str]:
    if len({config.batch_size for config in configs}) > 1:
        fixed = f"{epochs} epochs" if epochs is not None else f"{configs[0].num_steps:,} steps"
        other = "steps" if epochs is not None else "epochs"
        yield f"batch sizes differ: {fixed} are held fixed, the number of {other} differs"
    read = {name: declared for name, declared in HYPERPARAMETERS.items() if declared.optimizers}
    for name, declared in read.items():
        values = {value_of(configuration, name) for configuration in grid}
        asked = len(values) > 1 or (declared.off is not None and values != {declared.off})
        if asked and not any(config.optimizer in declared.optimizers for config in configs):
            used = ", ".join(sorted({config.optimizer for config in configs}))
            yield f"{name} is asked for, but {used} does not read it"


# Watched samples below which chance decides when a network stops.
FEW_SAMPLES = 30


def _stopping_notes(hparams: list[HParams], configs: list[Config], splits: Splits) -> Iterable[str]:
    """Yields a note for each setting that makes early stopping by patience less useful."""
    patient = [
        (float(h.patience), c) for h, c in zip(hparams, configs, strict=True) if h.patience is not None
    ]
    if not patient or splits.stop is None:
        return
    watched = int(np.count_nonzero(splits.stop, axis=1).min())
    if watched < FEW_SAMPLES:
        yield f"early stopping watches {watched} samples: few, so that chance decides when a network stops"
    if any(patience >= config.num_steps for patience, config in patient):
        yield "patience is at least the number of steps: networks do not stop, but train on fewer samples"
    if any(config.eval_every * 2 > config.num_steps for _, config in patient):
        yield "eval_every leaves early stopping one or two records to choose from"
    if any(patience < config.eval_every for patience, config in patient):
        yield "patience is less than eval_every: the first record that is no better stops a network"
