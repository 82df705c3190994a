"""From the arguments of a user to a `Design`: data, splits, configurations and seeds, resolved and checked.

`regjax.sweep`, `regjax.plan`, the command line and the searches call `make_design`. Nothing is compiled here,
so that every mistake of a user is reported before anything is spent.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack, get_args

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import check_choice, check_count, check_known, shown
from regjax.core.config import REAL_LOSSES, Config, Loss
from regjax.core.data import Data, Task
from regjax.core.hparams import HYPERPARAMETERS, HParams, check_hparams, check_loss
from regjax.core.objective import resolve_loss
from regjax.core.random import MAX_SEED
from regjax.data import loaders
from regjax.data.splits import Splits, check_fraction, make_splits
from regjax.study.configuration import CONFIG_AXES, Configuration, as_hparams, canonical, value_of
from regjax.study.design import Design, Pairing, watches
from regjax.study.grid import Grid, as_grid
from regjax.study.samples import checked_samples, num_inputs, resolve_samples, standardizes
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
    repeats: int
    validation: float | None
    test: Any
    groups: ArrayLike | str | None
    time: ArrayLike | str | None
    weights: ArrayLike | str | None
    standardize: bool | None
    standardize_target: bool | None
    epochs: int | None
    pairing: Pairing
    stopping: float | Sequence[Any]
    fold_inputs: Sequence[ArrayLike] | None
    target: str | None
    task: Task
    columns: Mapping[str, str] | None
    separator: str | None
    decimal: str | None
    header: bool | None
    gaps: Sequence[str]


DEFAULTS: Options = {
    "seeds": 1,
    "folds": None,
    "repeats": 1,
    "validation": None,
    "test": None,
    "groups": None,
    "time": None,
    "weights": None,
    "standardize": None,
    "standardize_target": None,
    "epochs": None,
    "pairing": "paired",
    "stopping": STOPPING,
    "fold_inputs": None,
    "target": None,
    "task": "auto",
    "columns": None,
    "separator": None,
    "decimal": None,
    "header": None,
    "gaps": (),
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
        if not isinstance(asked[name], bool | np.bool_ | None):
            raise TypeError(f"{name} must be True, False or None, got {shown(asked[name])}")
    # The end layers of a mapping are fitted to the data, which are loaded below.
    found = as_grid(grid)
    own = [configuration.get("hidden") for configuration in found]
    hidden, base = as_config(config, own[0] if own and None not in own else None)
    seeds = check_seeds(asked["seeds"])
    if base.loss == "poisson" and asked["task"] == "auto":
        asked["task"] = "regression"  # counts are whole numbers, which are labels otherwise
    samples = resolve_samples(data, asked)
    standardize, standardize_target = (
        standardizes(data) if asked[name] is None else bool(asked[name])
        for name in ("standardize", "standardize_target")
    )
    if hidden is not None:
        base = fit_config(base, samples.train, hidden, num_inputs(samples))
    if base.loss == "poisson" and samples.classes is not None:
        raise ValueError(f"task must be regression for loss poisson, got {shown(asked['task'])}")
    # Of classes there is nothing to standardise, and poisson takes counts as they are; to ask is a slip.
    squared = resolve_loss(base, samples.train) == "squared_error"
    standardize_target = standardize_target and (squared or asked["standardize_target"] is not None)
    with loaders.of_file(data):
        train, test = checked_samples(base, samples, standardize_target)
    if not isinstance(asked["stopping"], list | tuple):
        check_fraction("stopping", asked["stopping"])
    early = [watches(configuration, base) for configuration in found]
    stopping = asked["stopping"] if any(early) else None
    splits = make_splits(
        train, asked["folds"], asked["validation"], samples.groups, stopping, samples.time, asked["repeats"]
    )
    if asked["fold_inputs"] is not None and (standardize or test is not None):
        raise ValueError("fold_inputs must not be given with standardize or test samples")
    if asked["fold_inputs"] is not None and samples.schema is not None and not samples.schema.plain:
        raise ValueError("fold_inputs must not be given with a table of gaps or categories")
    _check_class_weight(base, resolve_loss(base, train))
    marked = list(zip(found, early, strict=True))
    configs, hparams, batches = _resolve_configurations(base, marked, train, splits, asked["epochs"])
    notes = (*samples.notes, *splits.notes, *_notes(found, configs, asked["epochs"]))
    notes += (*_stopping_notes(hparams, configs, splits),)
    return Design(
        data=train, test=test, classes=samples.classes, splits=splits, configurations=tuple(found),
        configs=tuple(configs), hparams=tuple(hparams), num_batches=tuple(batches), seeds=seeds,
        pairing=asked["pairing"], standardize=standardize, notes=notes,
        fold_inputs=_check_fold_inputs(asked["fold_inputs"], train, splits), schema=samples.schema,
        standardize_target=standardize_target,
    )  # fmt: skip


def with_configurations(
    design: Design, config: Config, grid: Any, *, splits: Splits | None = None, seeds: int | Sequence[int] = 1
) -> Design:
    """Returns a design of the same samples with other configurations, and with other splits and seeds.

    Args:
        design: any design.
        config: the static settings, whose ends fit the data.
        grid: as in `regjax.sweep`.
        splits: those of the new design; None takes those of `design`. They hold the samples that early
            stopping watches where a configuration stops early.
        seeds: as in `regjax.sweep`.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: a value that does not fit the data or another value.
    """
    splits, found = design.splits if splits is None else splits, as_grid(grid)
    marked = [(configuration, watches(configuration, config)) for configuration in found]
    configs, hparams, batches = _resolve_configurations(config, marked, design.data, splits, None)
    return dataclasses.replace(
        design, splits=splits, configurations=tuple(found), configs=tuple(configs), hparams=tuple(hparams),
        num_batches=tuple(batches), seeds=check_seeds(seeds),
    )  # fmt: skip


def _check_names(options: Mapping[str, Any]) -> None:
    """Raises TypeError, as Python does, for an argument that `sweep` does not have; suggests the nearest."""
    for name in options:
        try:
            check_known("argument", name, tuple(DEFAULTS))
        except ValueError as error:
            raise TypeError(str(error)) from None


def _check_class_weight(config: Config, loss: Loss) -> None:
    """Raises ValueError where the weights of classes do not fit the targets."""
    given, num_classes = config.class_weight, max(2, config.layer_sizes[-1])
    if given is not None and loss in REAL_LOSSES:
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


def as_config(
    config: Config | Mapping[str, Any] | None, hidden: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...] | None, Config]:
    """Returns (hidden layers that are still to be fitted to the data, or None; the Config).

    Args:
        config: a `Config`, or a mapping of its fields with `hidden` in place of `layer_sizes`.
        hidden: hidden layers of a configuration where all have their own: those of the mapping, or the
            default, are no network of the sweep then, and a block need not fit them.

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
    layers = canonical("hidden", fields.pop("hidden", Config().layer_sizes[1:-1]))
    layers = layers if hidden is None else hidden
    if "batch_size" in fields:
        fields["batch_size"] = canonical("batch_size", fields["batch_size"])
    for name in ("decay_steps", "class_weight", "stop_on", "metrics"):
        if fields.get(name) == "none":
            fields[name] = None
    return layers, Config(layer_sizes=(1, *layers, 1), **fields)


def fit_config(config: Config, data: Data, hidden: tuple[int, ...], num_inputs: int | None = None) -> Config:
    """Returns `config` with these hidden layers, and input and output as the data needs them.

    Args:
        config: any config.
        data: the samples that are trained on.
        hidden: units of the hidden layers.
        num_inputs: number of the networks' inputs; None is that of `data.x`.
    """
    num_outputs = len(data.y)
    if np.issubdtype(data.y.dtype, np.integer) and config.loss not in REAL_LOSSES:
        largest = int(np.max(data.y))
        two = largest <= 1 and config.loss in ("auto", "sigmoid_cross_entropy")
        num_outputs = 1 if two else max(2, largest + 1)
    return dataclasses.replace(config, layer_sizes=(num_inputs or len(data.x), *hidden, num_outputs))


def _own_config(
    base: Config, configuration: Configuration, num_train: list[int], epochs: int | None
) -> tuple[Config, int]:
    """Returns a configuration's Config, and the batches of an epoch."""
    own = {
        name: value_of(configuration, name)
        for name in CONFIG_AXES
        if name != "hidden" and name in configuration
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
    yield from _unread_fields(configs)


def _unread_fields(configs: list[Config]) -> Iterable[str]:
    """Yields a note for each field of Config that differs from its default and does nothing."""
    default, embeddings = Config(), {config.embedding for config in configs}
    for name, readers in (("embedding_size", {"periodic", "piecewise"}), ("embedding_scale", {"periodic"})):
        asked = any(getattr(config, name) != getattr(default, name) for config in configs)
        if asked and not embeddings & readers:
            used = ", ".join(sorted(embeddings))
            yield f"{name} is asked for, but embedding {used} does not read it"
    schedule = configs[0].schedule  # no axis: that of all
    if schedule not in ("cosine", "cyclic", "exponential") and configs[0].decay_steps is not None:
        yield f"decay_steps is asked for, but schedule {schedule} does not read it"
    if schedule == "cyclic" and all(config.schedule_steps >= config.num_steps for config in configs):
        yield (
            "schedule cyclic does not begin anew, so that it is cosine: "
            "a cycle is decay_steps, which must be fewer than the steps"
        )


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
