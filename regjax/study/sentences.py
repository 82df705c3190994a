"""Answers as a person would say them: what is better, by how much, and whether this evidence can tell.

The terminal, the page of `regjax report` and the titles of figures take their words from here. Tables, CSV
and JSON keep the names and the numbers as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from regjax.core.hparams import OFF_VALUES
from regjax.core.metrics import without_split
from regjax.study.configuration import value_of
from regjax.study.intervals import as_number
from regjax.study.selection import higher_is_better
from regjax.study.words import as_text, metric_in_words

# Metrics that are shares: values are said in percent, and differences in points, which are hundredths.
SHARES = ("accuracy", "balanced_accuracy")
# Regularisers whose name in words is not their own name with spaces.
NAMES = {
    "l2": "λ = {}", "l1": "L1 {}", "l1_prox": "exact L1 {}", "keep_prob": "dropout (keep {})",
    "input_keep_prob": "input dropout (keep {})", "dropconnect_keep_prob": "dropconnect (keep {})",
    "keep_prob_end": "dropout that ends at (keep {})", "sam": "sharpness-aware steps of {}",
    "adversarial": "adversarial steps of {}", "max_norm": "max-norm {}", "clip_norm": "gradients cut at {}",
    "ema_decay": "averaged weights (decay {})", "average_from": "averaged weights (from step {})",
    "patience": "early stopping (patience {})", "hidden": "{} hidden units",
}  # fmt: skip
# Names of regularisers that are off, where they are not what `NAMES` has before the value.
ABSENT = {"l2": "L2 penalty", "keep_prob_end": "decay of dropout", "clip_norm": "cut of gradients"}
NONE = "no regularisation"
MINUS = "−"


def is_share(metric: str) -> bool:
    """Returns whether a metric is a share of samples, which is said in percent."""
    return without_split(metric) in SHARES


def value_in_words(metric: str, value: float) -> str:
    """Returns a value of a metric: shares in percent, others with four digits.

    Example:
        >>> value_in_words("val_accuracy", 0.81284), value_in_words("val_r2", 0.497321)
        ('81.3 %', '0.4973')
    """
    return f"{100 * value:.1f} %" if is_share(metric) else as_number(value)


def named(configuration: Mapping[str, Any], digits: int = 4) -> str:
    """Returns a configuration in words: what is on, and the values of its other axes.

    Args:
        configuration: name -> value.
        digits: significant digits of real values.

    Example:
        >>> named({"l2": 0.1, "keep_prob": 0.8, "mixup": 0.0})
        'λ = 0.1 with dropout (keep 0.8)'
        >>> named({"l2": 0.0, "learning_rate": 0.3})
        'no regularisation, learning rate 0.3'
    """
    on, settings, told = [], [], False
    for name, value in configuration.items():
        regularises = _regularises(name)
        told = told or regularises
        if regularises and _is_off(name, value):
            continue
        words = _template(name).format(as_text(value, digits))
        words = "no hidden layer" if name == "hidden" and value == () else words
        (on if regularises else settings).append(words)
    first = on[0] + (f" with {' and '.join(on[1:])}" if on[1:] else "") if on else NONE
    return ", ".join([*([first] if told else []), *settings]) or "the defaults"


def regularisers_on(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the regularisers of a configuration that are on, name -> value.

    Example:
        >>> regularisers_on({"l2": 0.1, "keep_prob": 1.0, "learning_rate": 0.3})
        {'l2': 0.1}
    """
    return {n: v for n, v in configuration.items() if _regularises(n) and not _is_off(n, v)}


def choice_named(configuration: Mapping[str, Any], axes: Collection[str]) -> str:
    """Returns a chosen configuration in words: its values on the axes, and each regulariser that is on.

    Args:
        configuration: name -> value.
        axes: names of which more than one value competed.

    Example:
        >>> choice_named({"l2": 1.0, "keep_prob": 1.0, "learning_rate": 0.3}, ["keep_prob"])
        'λ = 1'
    """
    told = {name: value_of(dict(configuration), name) for name in axes} | regularisers_on(configuration)
    return named(told or configuration)


def baseline_named(baseline: Mapping[str, Any], configurations: Sequence[Mapping[str, Any]]) -> str:
    """Returns a baseline in words, as something is better than it: "none" where no regulariser is on.

    Args:
        baseline: the values that make a configuration the baseline.
        configurations: the whole configurations that have them; they may have other regularisers on.

    Example:
        >>> baseline_named({"keep_prob": 1.0}, [{"keep_prob": 1.0, "learning_rate": 0.3}])
        'none'
        >>> baseline_named({"keep_prob": 1.0}, [{"keep_prob": 1.0, "l2": 0.1}])
        'λ = 0.1'
        >>> baseline_named({"keep_prob": 1.0}, [{"keep_prob": 1.0, "l2": v} for v in (0.0, 0.1)])
        'no dropout'
    """
    words = named(baseline)
    if words != NONE:
        return words
    first, *others = (regularisers_on(configuration) for configuration in configurations)
    if any(other != first for other in others):
        return " and ".join(f"no {_kind(name)}" for name in baseline if _regularises(name))
    return named(first) if first else "none"


def _regularises(name: str) -> bool:
    return name in OFF_VALUES and name != "learning_rate"


def _is_off(name: str, value: Any) -> bool:
    return value is None or value == OFF_VALUES[name]


def _kind(name: str) -> str:
    """Returns a regulariser in words, without a value: "dropout"."""
    return ABSENT.get(name) or re.split(r" (?:[({=]|of )", _template(name))[0]


def _template(name: str) -> str:
    """Returns a hyperparameter in words, with braces in place of its value."""
    return NAMES.get(name, name.replace("_", " ") + " {}")


def capitalised(words: str) -> str:
    """Returns words with a large first letter; λ stays as it is."""
    return words if words.startswith("λ") else words[:1].upper() + words[1:]


def amount(metric: str, value: float, half: float, sign: str = "") -> str:
    """Returns a difference of a metric with the digits that its interval supports, without its unit.

    Two digits of half of the interval count; shares are in points, without an interval with one decimal.

    Args:
        metric: name of the metric.
        value: the difference.
        half: half of its interval; NaN where there is none.
        sign: "+" writes the sign of what is above 0 too.

    Example:
        >>> amount("val_accuracy", 0.02247, 0.0589), amount("val_loss", -0.0501, 0.021, "+")
        ('2.2', '−0.050')
        >>> amount("val_loss", -5.96e-09, 0.02, "+")
        '0'
    """
    scale = 100 if is_share(metric) else 1
    value, half = scale * value, scale * half
    if half > 0 and math.isfinite(half):
        decimals = max(0, 1 - math.floor(math.log10(half)))
        # A target may have a tiny unit, for which zeros would fill the line.
        tiny = decimals > 7 and round(value, decimals) != 0
        text = f"{value:{sign}.1e}" if tiny else f"{value:{sign}.{decimals}f}"
    else:
        text = f"{value:{sign}.1f}" if is_share(metric) else as_number(value, sign)
    return "0" if float(text) == 0 else text.replace("-", MINUS)


def difference_in_words(metric: str, mean: float, low: float, high: float, than: str) -> tuple[str, str]:
    """Returns how much better something is than another thing, and the interval of it; above 0 is better.

    Args:
        metric: name of the metric.
        mean: the difference as it was measured: of a loss, below 0 is better.
        low: lower end of its interval, or NaN.
        high: upper end.
        than: the other thing.

    Returns:
        ("2.3 points better than none", "−3.6 to +8.1"); of what rounds to nothing ("no different from none",
        …); the interval is "" where there is none.

    Example:
        >>> difference_in_words("val_loss", -0.0501, -0.0710, -0.0292, "none")
        ('0.050 better than none', '+0.029 to +0.071')
    """
    if not higher_is_better(metric):
        mean, low, high = -mean, -high, -low
    half = (high - low) / 2
    interval = ""
    if not math.isnan(half):
        # An end that is not 0 must not look so: it decides the verdict.
        fine = [half if amount(metric, end, half) != "0" else abs(end) for end in (low, high)]
        interval = f"{amount(metric, low, fine[0], '+')} to {amount(metric, high, fine[1], '+')}"
    size = amount(metric, abs(mean), half)
    if size == "0":
        return f"no different from {than}", interval
    return f"{with_unit(metric, size)} {'better' if mean > 0 else 'worse'} than {than}", interval


def with_unit(metric: str, size: str) -> str:
    """Returns a size of a metric, as `amount` writes it, with its unit.

    Example:
        >>> with_unit("val_accuracy", "2.1"), with_unit("val_loss", "0.030")
        ('2.1 points', '0.030')
    """
    return f"{size} point{'s' * (size != '1')}" if is_share(metric) else size


def answer(
    subject: str, verdict: str, metric: str, ends: tuple[float, float, float], than: str, where: str = ""
) -> str:
    """Returns an answer in one sentence.

    Args:
        subject: what is compared, such as "Choosing a regulariser".
        verdict: "helps", "hurts" or "not separated".
        metric: the validation metric.
        ends: the mean difference, and both ends of its interval.
        than: what it is compared with.
        where: on which rows, or "".

    Example:
        >>> answer("Dropout", "helps", "val_accuracy", (0.021, 0.004, 0.038), "none")
        'Dropout helps: 2.1 points better than none in validation accuracy (+0.4 to +3.8).'
    """
    found, interval = difference_in_words(metric, *ends, than)
    where = f" {where}" if where else ""
    said = f"{found} in {metric_in_words(metric)}{where}"
    if verdict in ("helps", "hurts"):
        return f"{subject} {verdict}: {said} ({interval})."
    if not interval:
        return f"{subject} looks {said}; there is no interval, so this data cannot tell."
    return f"{subject} looks {said}; this data cannot tell ({interval})."
