"""A network for every regulariser, at a sensible strength, beside one without.

`regjax compare --regularisers` calls it. It shows the effect of each regulariser, not which is best: no
strength is tuned.
"""

from __future__ import annotations

from typing import Any

from regjax.core.checks import check_known
from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import check_hparam
from regjax.engine.progress import Report
from regjax.engine.sweep import sweep
from regjax.study.results import Results

# For a small network on standardised inputs; no value is tuned.
STRENGTHS: dict[str, float] = {
    "l2": 0.7,
    "l1": 0.3,
    "l1_prox": 0.3,
    "group_lasso": 0.3,
    "keep_prob": 0.86,
    "input_keep_prob": 0.9,
    "keep_prob_end": 0.7,
    "gaussian_dropout": 0.4,
    "dropconnect_keep_prob": 0.9,
    "input_noise": 0.1,
    "swap_noise": 0.1,
    "mixup": 0.2,
    "label_smoothing": 0.1,
    "confidence_penalty": 0.1,
    "activity_l2": 0.01,
    "adversarial": 0.05,
    "sam": 0.05,
    "clip_norm": 0.5,
    "max_norm": 2.0,
    "ema_decay": 0.999,
    "average_from": 15_000,
    "patience": 3_000,
}
SEEDS = 8
VALIDATION = 0.3


def check_names(text: str) -> list[str]:
    """Returns the distinct regularisers of a text: "all", or names with commas between them.

    Raises:
        ValueError: an unknown name; suggests the nearest.

    Example:
        >>> from regjax.tutorial.showcase import check_names
        >>> check_names("l2, max-norm")
        ['l2', 'max_norm']
    """
    if text.strip() == "all":
        return list(STRENGTHS)
    names = [name.strip().replace("-", "_") for name in text.split(",")]
    for name in names:
        check_known("regularisers", name, tuple(STRENGTHS))
    return list(dict.fromkeys(names))


def check_rate(learning_rate: float) -> None:
    """Raises TypeError or ValueError unless the learning rate is a finite number >= 0."""
    check_hparam(Config(), "learning_rate", learning_rate)


def run_showcase(
    data: Data,
    names: list[str],
    *,
    num_steps: int,
    learning_rate: float,
    report: Report = lambda progress: None,
) -> Results:
    """Returns the results of none and of each of these regularisers, `SEEDS` seeds on one split.

    Args:
        data: samples of two classes; the fraction `VALIDATION` of them is held out.
        names: keys of `STRENGTHS`.
        num_steps: gradient steps, at least 1.
        learning_rate: step size, >= 0.
        report: called with the progress of the sweep.
    """
    config = Config(
        layer_sizes=(len(data.x), 20, 3, 1), num_steps=num_steps, eval_every=max(1, num_steps // 30)
    )
    # These two are counted in steps, so their strength depends on the length of the run.
    strengths: dict[str, Any] = STRENGTHS | {
        "average_from": num_steps // 2,
        "patience": max(1, num_steps // 10),
    }
    plain = {"learning_rate": learning_rate}
    grid = [plain, *(plain | {name: strengths[name]} for name in names)]
    return sweep(data, config, grid, seeds=SEEDS, validation=VALIDATION, keep="all", progress=report)
