"""Values and metrics in words: messages, plans, tables, figures and pages show them.

Values are written as the command line takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from regjax.core.metrics import without_split
from regjax.study.configuration import EXACT, value_of

SPLITS = {"train": "training", "val": "validation", "test": "test"}
METRICS = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "loss": "loss", "cost": "cost",
    "roc_auc": "area under the ROC curve", "rmse": "root mean squared error", "r2": "R²",
}  # fmt: skip


def describe(
    configuration: Mapping[str, Any], names: Iterable[str] | None = None, digits: int = EXACT
) -> str:
    """Returns a configuration in words, as the command line takes it: "l2=0.1, keep_prob=0.9/0.8".

    Args:
        configuration: name -> value.
        names: names that are said; None takes all that the configuration has.
        digits: significant digits of real values; by default all that count.
    """
    names = configuration if names is None else names
    words = (f"{name}={as_text(value_of(dict(configuration), name), digits)}" for name in names)
    return ", ".join(words) or "defaults"


def metric_in_words(metric: str) -> str:
    """Returns a metric's name in words.

    Example:
        >>> metric_in_words("val_accuracy"), metric_in_words("test_r2")
        ('validation accuracy', 'test R²')
    """
    name = without_split(metric)
    split = SPLITS.get(metric[: -len(name) - 1], "")
    return f"{split} {METRICS.get(name, name.replace('_', ' '))}".strip()


def as_text(value: Any, digits: int = EXACT) -> str:
    """Returns one value as the command line takes it: per-layer values with slashes."""
    if isinstance(value, tuple):
        return "/".join(as_text(entry, digits) for entry in value) or "none"
    if value is None:
        return "full"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Returns distinct values in the order of an axis: numbers by size, others as they come."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(isinstance(value, int | float) for value in found) else found


def as_cell(value: Any) -> Any:
    """Returns a value as it stands in a table: numbers as they are, the rest as `as_text`."""
    return as_text(value) if value is None or isinstance(value, tuple) else value


def duration(seconds: float) -> str:
    """Returns seconds in words.

    Example:
        >>> [duration(seconds) for seconds in (0.4, 125, 11_040)]
        ['0.4 s', '2 min 5 s', '3 h 4 min']
    """
    if seconds < 59.95:  # from there on one decimal would show 60.0 s
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
