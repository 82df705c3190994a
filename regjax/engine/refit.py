"""`refit`: the chosen configuration of a sweep, trained on all rows of its data set.

Users call it, and `regjax fit`, and `sklearn/fitted.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import jax
import numpy as np

from regjax.core.checks import check_count
from regjax.core.config import REAL_LOSSES, Config
from regjax.core.objective import resolve_loss
from regjax.data.encode import Statistics
from regjax.data.splits import Splits, make_splits
from regjax.engine.progress import Report
from regjax.engine.sweep import run
from regjax.study.configuration import NAMES, Configuration, is_mentioned, value_of
from regjax.study.design import Design, part_of
from regjax.study.groups import Kernel
from regjax.study.model import Chosen, Model, Training, plain_schema
from regjax.study.plan import make_plan
from regjax.study.provenance import loop_of, versions
from regjax.study.questions import Questions
from regjax.study.resolve import check_seeds
from regjax.study.results import Results
from regjax.study.words import describe


def refit(
    results: Results,
    *,
    configuration: int | None = None,
    seeds: int | Iterable[int] = 1,
    questions: Questions | None = None,
    report: Report = lambda progress: None,
) -> Model:
    """Returns a model: a configuration of a sweep, trained on all rows that trained or validated.

    A configuration that stops early watches a part of the rows, as in the sweep, drawn at random. With
    minibatches the number of epochs is that of the sweep, so that there are more steps. The test samples of
    the sweep are not trained on.

    Args:
        results: the results of a sweep.
        configuration: number of the configuration; None takes the choice by validation.
        seeds: a number of seeds, for 0 … seeds - 1, or a list of them: a network each, whose predictions the
            model averages.
        questions: how the choice is made: its metric, rule and allow_diverged; None is the best mean.
        report: called with a `Progress`, about ten times a second.

    Raises:
        TypeError: configuration or seeds are no whole numbers.
        ValueError: a configuration or a seed out of range, no choice, inputs that a Pipeline made, or a
            network that diverged.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> regjax.refit(results, seeds=2)
        <regjax.Model: 2 networks of 2-20-3-1 units (l2=0)>
    """
    if results.design.fold_inputs is not None:
        raise ValueError(
            "results must be of a sweep that makes its own inputs, got those of a search whose Pipeline "
            "makes them: the search's own best_estimator_ is fitted on all samples"
        )
    index, chosen = _choice(results, configuration, questions or Questions())
    return trained_on_all(
        results.design, index, chosen, seeds=check_seeds(seeds), kernel=_kernel_of(results), report=report
    )


def trained_on_all(
    design: Design,
    index: int,
    chosen: Chosen,
    *,
    seeds: tuple[int, ...] = (0,),
    kernel: Kernel = "auto",
    report: Report = lambda progress: None,
) -> Model:
    """Returns a model: a configuration of a design, trained on all its rows.

    Args:
        design: design of a sweep.
        index: number of the configuration.
        chosen: why it was chosen.
        seeds: seed of each network.
        kernel: what trains them.
        report: called with a `Progress`.

    Raises:
        ValueError: a network diverged.
    """
    design = _on_all_rows(design, index, seeds)
    plan = make_plan(design, keep="all", backend=jax.default_backend(), kernel=kernel)
    trained = run(design, plan=plan, report=report)
    diverged = [seed for row, seed in enumerate(seeds) if trained.diverged_at[row] >= 0]
    if diverged:
        raise ValueError(
            f"networks must not diverge on all rows, and with seed {', '.join(map(str, diverged))} one of "
            f"{chosen.words} does: take other seeds, or a configuration with a lower learning rate"
        )
    return _model(trained, chosen)


def _kernel_of(results: Results) -> Kernel:
    """Returns what trained a sweep's networks, and is to train those of its model."""
    if jax.default_backend() != "cpu":
        return "auto"
    return "native" if any(loop_of(said) == "native" for said in results.provenance) else "xla"


def _choice(results: Results, configuration: int | None, questions: Questions) -> tuple[int, Chosen]:
    """Returns the number of the configuration, and what there is to say about it."""
    design = results.design
    held_out = design.splits.kind != "none"
    if configuration is None and not held_out:
        if len(design.configurations) > 1:
            raise ValueError(
                f"configuration must be given (0 to {len(design.configurations) - 1}) where nothing was held "
                "out to choose by: or sweep with folds=5 or validation=0.2"
            )
        configuration = 0
    if configuration is None:
        choice = results.best(questions.metric, questions.rule, allow_diverged=questions.allow_diverged)
        index, reason, metric = choice.index, choice.in_words(), choice.metric
        validation = choice.validation
    else:
        index = check_count("configuration", configuration, at_least=0, at_most=len(design.configs) - 1)
        metric = design.check_metric(questions.metric) if held_out else ""
        validation = float(results.units(metric)[index].mean()) if held_out else None
        reason = f"configuration {index}: named"
        if validation is not None:
            reason += f"; validation {metric.removeprefix('val_')} {validation:.4f}"
    words = describe(design.configurations[index], digits=6)
    over = design.evidence.mean_in_words() if held_out else ""
    return index, Chosen(words, reason, metric, validation, over)


def _on_all_rows(design: Design, index: int, seeds: tuple[int, ...]) -> Design:
    """Returns the design of one configuration that trains on all rows, with these seeds."""
    stops, splits = design.stops_early(index), design.splits
    fraction = None
    if stops and splits.stop is not None:
        fraction = float(np.count_nonzero(splits.stop[0]) / np.count_nonzero(splits.train[0]))
    one = on_splits(part_of(design, [index]), make_splits(design.data, stopping=fraction), seeds)
    # Nothing is ranked, so that the loss alone is recorded.
    config = dataclasses.replace(one.configs[0], metrics=())
    return dataclasses.replace(one, configs=(config,), test=None)


def on_splits(design: Design, splits: Splits, seeds: tuple[int, ...]) -> Design:
    """Returns a design with other splits and seeds, whose networks train for as many epochs.

    Args:
        design: any design.
        splits: of the same samples, with those that early stopping watches where a configuration does.
        seeds: the seeds.
    """
    configs, batches = [], []
    for index, (config, before) in enumerate(zip(design.configs, design.num_batches, strict=True)):
        stops = design.stops_early(index)
        samples = [int(np.count_nonzero(splits.trains(j, stops))) for j in range(len(splits.train))]
        # Of the largest split, where batches may be smaller; of the smallest, where they may not.
        num_batches = _batches(config, max(samples) if config.batches == "all" else min(samples))
        steps = max(1, round(config.num_steps / before * num_batches))
        configs.append(dataclasses.replace(config, num_steps=steps))
        batches.append(num_batches)
    return dataclasses.replace(
        design, configs=tuple(configs), num_batches=tuple(batches), splits=splits, seeds=seeds
    )


def _batches(config: Config, num_train: int) -> int:
    """Returns the batches of an epoch of so many training samples."""
    if config.batch_size is None:
        return 1
    return -(-num_train // config.batch_size) if config.batches == "all" else num_train // config.batch_size


def _model(trained: Results, chosen: Chosen) -> Model:
    """Returns the model of the networks that were trained on all rows."""
    design = trained.design
    config, num_outputs = design.configs[0], design.configs[0].layer_sizes[-1]
    classes = None
    loss = resolve_loss(config, design.data)
    if loss not in REAL_LOSSES:
        classes = np.arange(max(2, num_outputs)) if design.classes is None else design.classes
    mean, scale = _target_scaling(design)
    return Model(
        config=config,
        loss=loss,
        networks=tuple(trained.params(row) for row in range(len(trained))),
        schema=plain_schema(len(design.data.x)) if design.schema is None else design.schema,
        named=design.schema is not None,
        statistics=_statistics(design),
        classes=classes,
        target_mean=mean,
        target_scale=scale,
        chosen=chosen,
        training=Training(
            configuration=_whole(design.configurations[0], config),
            seeds=design.seeds,
            standardize=design.standardize,
            num_rows=design.data.x.shape[1],
            epochs=-(-config.num_steps // design.num_batches[0]),
        ),
        versions=versions(),
    )


def _whole(configuration: Configuration, config: Config) -> Configuration:
    """Returns what is on in a configuration, with the fields of `Config` that the grid does not name."""
    own = {name: getattr(config, name) for name in NAMES if hasattr(config, name)}
    own["hidden"] = config.layer_sizes[1:-1]
    found = {name: own[name] if name in own else value_of(configuration, name) for name in NAMES}
    return {name: value for name, value in found.items() if is_mentioned(name, value)}


def _target_scaling(design: Design) -> tuple[np.ndarray, float]:
    """Returns what takes the networks' outputs to the targets' unit: outputs · scale + mean."""
    if not design.standardize_target:
        return np.zeros(design.configs[0].layer_sizes[-1]), 1.0
    mean, scale = design.target_standardisation(0, design.stops_early(0))
    return mean[:, 0], scale


def _statistics(design: Design) -> Statistics:
    """Returns the statistics of the rows that are trained on; of plain numbers those that a sweep takes."""
    stops = design.stops_early(0)
    if design.coded:
        return design.statistics(0, stops)
    mean, scale = design.standardisation(0, stops)
    seen = np.asarray(design.data.x)[:, design.splits.trains(0, stops) > 0]
    return Statistics(np.median(seen, axis=1), mean[:, 0], scale[:, 0], np.zeros(0, bool))
