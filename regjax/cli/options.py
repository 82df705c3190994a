"""The options of `regjax sweep` and `plan`: one table, which is also that of the keys of a TOML file.

`spec` resolves them, `sweep` and `plan` take them. Each has its Python name; a flag has dashes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

import click
from click.shell_completion import CompletionItem

from regjax.cli.terminal import UserError
from regjax.cli.values import (
    read_kinds,
    read_names,
    read_scalar,
    read_seeds,
    read_some,
    read_text,
    read_words,
    values_of,
)
from regjax.core.config import Activation, Dtype, Embedding, Loss, Metric, Norm, Optimizer, Precision
from regjax.core.hparams import HYPERPARAMETERS
from regjax.data.names import BUILT_IN, BUNDLED
from regjax.study.configuration import NAMES


class Flag(NamedTuple):
    """An option.

    Attributes:
        metavar: name of its value in the help; "" is a switch, on or off.
        words: text of the help.
        read: (name, text) -> the value that TOML would have.
        choices: values that a shell completes.
    """

    metavar: str
    words: str
    read: Callable[[str, str], Any] = read_scalar
    choices: tuple[str, ...] = ()


# Data.
DATA = {
    "data": Flag(
        "NAME|PATH",
        "two_regions, moons, circles, spirals, blobs, xor, flower, iris, wine, breast_cancer, digits, "
        "diabetes; or a table (.csv, .tsv, .txt, .parquet, .feather, .xlsx) or arrays (.npz, .mat).",
        read_text,
    ),
    "target": Flag("COLUMN", "Target of a table; by default its last column.", read_text),
    "task": Flag(
        "KIND", "auto, classification or regression.", read_text, ("auto", "classification", "regression")
    ),
    "columns": Flag(
        "NAME=KIND,…", "What columns of a table are: numeric, category, date or drop.", read_kinds
    ),
    "groups": Flag("COLUMN", "Rows of one value stay in one fold, such as those of a patient.", read_text),
    "time": Flag("COLUMN", "Train on earlier rows, validate on later ones.", read_text),
    "weights": Flag("COLUMN", "How much each row counts.", read_text),
    "gaps": Flag(
        "WORD,…",
        "Words that stand for a gap in any column; NA, NaN and the like do in columns of numbers.",
        read_words,
    ),
    "separator": Flag("SIGN", "Between the values of a text file; found by default.", read_text),
    "decimal": Flag("SIGN", "Before the decimals in a text file; found by default.", read_text),
    "header": Flag("", "The first line of a text file holds names; found by default."),
    "test": Flag(
        "none|FRACTION|PATH", "Samples to report on at the end; by default those of the data set, if any."
    ),
    "standardize": Flag(
        "", "Standardise inputs by each fold's training part; off for built-in 2-D sets and .mat files."
    ),
    "standardize_target": Flag(
        "", "Standardise real targets by each fold's training part; results are in their own unit."
    ),
}
# Fields of `Config`, with `hidden` in place of `layer_sizes`, whose ends are fitted to the data.
CONFIG = {
    "hidden": Flag("UNITS", "Units of the hidden layers, such as 20/3, or none; 32 for a table by default."),
    "activation": Flag(
        "NAME", "relu, tanh, sigmoid, gelu, silu, selu or identity.", choices=get_args(Activation)
    ),
    "loss": Flag(
        "NAME",
        "auto, sigmoid_cross_entropy, softmax_cross_entropy, squared_error or poisson.",
        choices=("auto", *get_args(Loss)),
    ),
    "optimizer": Flag("NAME", "sgd, momentum, nesterov, adam or adamw.", choices=get_args(Optimizer)),
    "num_steps": Flag("N", "Gradient steps; 30000 by default."),
    "batch_size": Flag("N|full", "Samples per step."),
    "eval_every": Flag("N", "Steps between two records."),
    "init": Flag("NAME", "Initial weights: tutorial, he or glorot.", choices=("tutorial", "he", "glorot")),
    "dtype": Flag("NAME", "float32 or float64.", choices=get_args(Dtype)),
    "precision": Flag(
        "NAME", "Of matrix products: highest, high, default or bfloat16.", choices=get_args(Precision)
    ),
    "norm": Flag("KIND", "Of hidden layers: none, layer or batch.", choices=get_args(Norm)),
    "residual": Flag("", "Add a hidden layer's input to its output where widths are equal."),
    "embedding": Flag("KIND", "Of each input: none, periodic or piecewise.", choices=get_args(Embedding)),
    "embedding_size": Flag("N", "Frequencies or bins of an input; 8 by default."),
    "embedding_scale": Flag("X", "Of the initial frequencies; 0.3 by default."),
    "members": Flag("N", "Networks that share their weights, averaged; 1 by default."),
    "schedule": Flag(
        "KIND",
        "Of the learning rate: constant, cosine, cyclic or exponential.",
        choices=("constant", "cosine", "cyclic", "exponential"),
    ),
    "warmup_steps": Flag("N", "In which the learning rate rises from 0."),
    "decay_steps": Flag("N", "Of the schedule; all steps by default."),
    "class_weight": Flag(
        "balanced|none|W,W,…", "balanced gives every class the same weight in training.", read_some
    ),
    "batches": Flag("KIND", "equal, or all: the samples left over in an epoch are a smaller batch."),
    "shuffle": Flag("", "Every epoch has its own order of samples; on by default."),
    "epsilon_hat": Flag("", "Adam's eps as scikit-learn and Keras add it."),
    "stop_on": Flag(
        "loss|score|none", "Stop after --n-iter-no-change epochs no better by --tol, as scikit-learn."
    ),
    "clip_loss": Flag("", "Stop on the loss as scikit-learn clips it; with --stop-on."),
    "draws": Flag(
        "jax|sklearn", "What draws weights and orders of samples: sklearn as random_state = seed does."
    ),
    "metrics": Flag(
        "NAME,…|none", "What is recorded beside the loss; by default all that fits the targets.", read_names
    ),
}
# Hyperparameters, each an axis of the grid.
AXES = {
    **{name: Flag("VALUES", declared.words, values_of) for name, declared in HYPERPARAMETERS.items()},
    "dropout": Flag("VALUES", "A rate: keep_prob = 1 - dropout.", values_of),
}
# Replicates, questions, and the store.
SWEEP = {
    "seeds": Flag("N|LIST", "How many (0, 1, …), or which; 4 by default.", read_seeds),
    "folds": Flag("N|none", "Folds, stratified for classes; 5 by default."),
    "repeats": Flag("N", "Times that the folds are drawn, each time from another shuffle; 1 by default."),
    "validation": Flag("FRACTION", "Hold this out once, instead of folds."),
    "epochs": Flag("N", "Instead of --num-steps."),
    "pairing": Flag(
        "KIND",
        "paired (all configurations of a seed and fold share draws) or independent.",
        choices=("paired", "independent"),
    ),
    "stopping": Flag("FRACTION", "Of each training part: what early stopping (--patience) watches."),
    "workers": Flag("N", "Tasks at a time; by default one per core, or two per GPU."),
    "keep": Flag(
        "WHOSE", "Parameters that stay in memory: all, best or none.", choices=("all", "best", "none")
    ),
    "kernel": Flag(
        "NAME",
        "What trains: xla; native, built on first use for CPUs; or auto.",
        read_text,
        ("auto", "native", "xla"),
    ),
    "metric": Flag(
        "NAME",
        "What is ranked; val_accuracy or val_r2 by default.",
        choices=tuple(f"val_{metric}" for metric in get_args(Metric)),
    ),
    "rule": Flag(
        "NAME",
        "mean: the best mean. one_se: the simplest within one standard error of it.",
        choices=("mean", "one_se"),
    ),
    "allow_diverged": Flag("", "Let configurations compete by their networks that did not diverge."),
    "baseline": Flag(
        "NAME=VALUE,…", "What the others are held against; by default every regulariser off.", read_text
    ),
    "over": Flag("NAMES", "Axes of which each arm uses its own best value.", read_text),
    "store": Flag("PATH", "SQLite file that keeps every finished network; none goes without.", read_text),
}
FLAGS: dict[str, Flag] = {**DATA, **CONFIG, **AXES, **SWEEP}
# Sections of a TOML file -> its keys. Fields of `Config` that may be axes stand in [config] or in [grid].
SECTIONS: dict[str, tuple[str, ...]] = {
    "data": tuple(DATA),
    "config": tuple(CONFIG),
    "grid": (*NAMES, "dropout"),
    "sweep": tuple(SWEEP),
}
# Heading -> the options that stand under it in `--help-all`; what is in none of them stands at the end.
HEADINGS: dict[str, tuple[str, ...]] = {
    "Data": tuple(DATA),
    "Network and training": tuple(CONFIG),
    "Hyperparameters, each an axis of the grid": tuple(AXES),
    "Networks, questions and the store": tuple(SWEEP),
}
# Heading -> the options that `--help` shows.
MATTERS: dict[str, tuple[str, ...]] = {
    "Data": ("target", "groups"),
    "What to try": ("l2", "keep_prob", "learning_rate", "hidden", "num_steps"),
    "How sure": ("seeds", "folds", "repeats", "metric"),
}
# Flags that say how a table of text is read.
TEXT = ("separator", "decimal", "header", "gaps")
# The flag that `regjax compare` has too.
SHORTER = {"num_steps": "--steps"}


def sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds DATA or SPEC.toml, and all flags; the command gets them as `path` of a TOML file and `flags`."""

    @functools.wraps(command)
    def collected(source: str | None, flags: dict[str, Any], **given: Any) -> Any:
        path = source if source is not None and is_toml(source) else None
        if source is not None and path is None:
            flags = flags | {"data": one_source(source, flags.get("data"))}
        return command(path=path, flags=flags, **given)

    source = click.argument(
        "source", metavar="[DATA|SPEC.toml]", required=False, shell_complete=complete_data
    )
    return flags_of(FLAGS)(source(collected))


def flags_of(table: Mapping[str, Flag]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns what adds the flags of a table to a command, which gets those that are given as `flags`."""

    def added(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def collected(**given: Any) -> Any:
            flags = {name: value for name in table if (value := _once(name, given.pop(name))) is not None}
            return command(flags=flags, **given)

        found: Callable[..., Any] = collected
        for name in reversed(tuple(table)):
            found = _flag(name, table[name], multiple=bool(table[name].metavar))(found)
        return found

    return added


def text_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags that say how a table of text is read, as `regjax sweep` has them."""
    for name in reversed(TEXT):
        command = _flag(name, FLAGS[name], multiple=False)(command)
    return command


def _flag(name: str, option: Flag, *, multiple: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns what adds a flag to a command; `multiple` tells one that is given twice."""
    flag = f"--{name.replace('_', '-')}"
    if not option.metavar:
        return click.option(name, f"{flag}/--no-{flag[2:]}", default=None, help=option.words)
    names = [name, flag, *([SHORTER[name]] if name in SHORTER else [])]
    complete = complete_data if name == "data" else functools.partial(_complete, option.choices)
    return click.option(
        *names, multiple=multiple, metavar=option.metavar, help=option.words, shell_complete=complete
    )


def complete_data(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns what a shell completes for data: a file, or the name of a data set that comes with regjax."""
    names = _complete((*BUILT_IN, *BUNDLED), ctx, parameter, incomplete)
    return [CompletionItem(incomplete, type="file"), *names]


def _complete(
    choices: tuple[str, ...], ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(choice) for choice in choices if choice.startswith(incomplete)]


def one_source(positional: str | None, flag: str | None) -> str | None:
    """Returns the data set that a command is given, as an argument or by --data; None where it is not."""
    if positional is not None and flag is not None:
        raise UserError(f"data must be given once, got {positional} and --data {flag}")
    return flag if positional is None else positional


def is_toml(source: str) -> bool:
    """Returns whether a positional argument is a TOML file and not data: by its ending, or by its content."""
    if source.lower().endswith(".toml"):
        return True
    if os.path.splitext(source)[1] or not os.path.isfile(source):
        return False
    with open(source, "rb") as file:
        first = file.read(4096).decode("utf-8", "replace")
    return any(line.strip() in {f"[{name}]" for name in SECTIONS} for line in first.splitlines())


def _once(name: str, given: Any) -> Any:
    """Returns the one value of a flag, None where it was not given."""
    if not isinstance(given, tuple):
        return given
    if len(given) > 1:
        raise UserError(f"{name} must be given once, got it {len(given)} times")
    return given[0] if given else None
