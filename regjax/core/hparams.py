"""`HParams`: the numbers that may sit on a grid axis, traced; and what each of them may be.

A new regulariser is a field of `HParams`, a line of `LEAVES`, and a function in the module of the place of
a step at which it acts (docs/regularisers.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .config import Config, Loss, is_traced, shown


class HParams(NamedTuple):
    """Hyperparameters: traced numbers, so a new value never compiles again.

    `None` is off. Where `LEAVES` says so, off is another, cheaper program, as if the regulariser did not
    exist; `l2`, `l1` and `weight_decay` are always compiled in, and off is 0.

    Attributes:
        learning_rate: step size, >= 0; the peak of a schedule.
        l2: λ of λ/(2n)·Σ W², >= 0; one value, or one per layer of weights.
        l1: λ of λ/n·Σ |W|, >= 0; one value, or one per layer of weights.
        keep_prob: probability of keeping a hidden unit, in (0, 1]; one value, or one per hidden layer.
        input_keep_prob: probability of keeping an input feature, in (0, 1].
        momentum: of "momentum" and "nesterov", in [0, 1).
        b1: decay of Adam's mean of gradients, in [0, 1).
        b2: decay of Adam's mean of squared gradients, in [0, 1).
        eps: added to Adam's denominator, > 0.
        weight_decay: decoupled decay of "adamw", >= 0; on weights, never on biases.
        end_fraction: of the learning rate that a cosine schedule ends with, in [0, 1].
        decay_rate: what an exponential schedule multiplies the learning rate by, in (0, 1].
        l1_prox: λ of λ/n·Σ |W| by soft thresholding, >= 0: exact zeros; one value, or one per layer of
            weights.
        group_lasso: λ of λ/n·Σ_j ‖W₁[:, j]‖, >= 0: whole input features go to zero.
        keep_prob_end: what keep_prob becomes, linearly in the step, by the last one; in (0, 1], 0 is off.
        gaussian_dropout: σ of a factor N(1, σ²) on hidden units, >= 0; one value, or one per hidden layer.
        dropconnect_keep_prob: probability of keeping a weight, in (0, 1]; one value, or one per layer.
        input_noise: σ of noise added to the inputs as the network sees them, >= 0.
        swap_noise: probability that an input value is that of another training row, in [0, 1).
        mixup: α of the Beta(α, α) that mixes pairs of rows, >= 0.
        label_smoothing: ε of targets (1 - ε)·y + ε/K, in [0, 1).
        confidence_penalty: β of loss - β·entropy of the output, >= 0.
        activity_l2: strength of Σ a² over hidden units, averaged over rows, >= 0.
        adversarial: ε of half the loss at x + ε·sign(∇ₓ loss), >= 0.
        sam: ρ, the radius in which the worst weights are sought, >= 0.
        clip_norm: largest norm of the gradient, > 0; inf is off.
        max_norm: largest norm of a hidden unit's incoming weights, > 0; inf is off.
        ema_decay: decay of the average of the parameters that is evaluated, in [0, 1).
        average_from: step from which the plain mean of the parameters is evaluated, >= 0; inf is off.
        tol: what an epoch must be better by, >= 0, where config.stop_on asks for it.
        n_iter_no_change: epochs that may be no better in a row, >= 1.
        power_t: exponent of the schedule "invscaling", >= 0.
        patience: steps without a lower loss on rows split off for it, after which a run stops, > 0, decided
            at records; the best parameters are put back. inf is off.
    """

    learning_rate: Any = 0.3
    l2: Any = None
    l1: Any = None
    keep_prob: Any = None
    input_keep_prob: Any = None
    momentum: Any = 0.9
    b1: Any = 0.9
    b2: Any = 0.999
    eps: Any = 1e-8
    weight_decay: Any = None
    end_fraction: Any = 0.0
    decay_rate: Any = 0.1
    l1_prox: Any = None
    group_lasso: Any = None
    keep_prob_end: Any = None
    gaussian_dropout: Any = None
    dropconnect_keep_prob: Any = None
    input_noise: Any = None
    swap_noise: Any = None
    mixup: Any = None
    label_smoothing: Any = None
    confidence_penalty: Any = None
    activity_l2: Any = None
    adversarial: Any = None
    sam: Any = None
    clip_norm: Any = None
    max_norm: Any = None
    ema_decay: Any = None
    average_from: Any = None
    tol: Any = 1e-4
    n_iter_no_change: Any = 10
    power_t: Any = 0.5
    patience: Any = None


class Leaf(NamedTuple):
    """What a hyperparameter may be.

    Attributes:
        wanted: its range in words.
        inside: the test of it, elementwise.
        words: what it is, in a line.
        off: the number that means the same as None; None where it cannot be off.
        absent: whether off is another program, as if it did not exist.
        shape: "scalar", one per layer of "weights", or one per "hidden" layer.
        simpler: whether "larger" or "smaller" values make a simpler network; "" where neither does.
    """

    wanted: str
    inside: Callable[[Any], Any]
    words: str
    off: float | None = None
    absent: bool = False
    shape: Literal["scalar", "weights", "hidden"] = "scalar"
    simpler: Literal["larger", "smaller", ""] = ""


_STRENGTH = "a finite number >= 0", lambda v: v >= 0
_KEPT = "in (0, 1]", lambda v: (v > 0) & (v <= 1)
_SHARE = "in [0, 1)", lambda v: (v >= 0) & (v < 1)
_ABOVE = "a number > 0", lambda v: v > 0

LEAVES: dict[str, Leaf] = {
    "learning_rate": Leaf(*_STRENGTH, "Step size; the peak of a schedule."),
    "l2": Leaf(*_STRENGTH, "λ of λ/(2n)·Σ W².", 0.0, shape="weights", simpler="larger"),
    "l1": Leaf(*_STRENGTH, "λ of λ/n·Σ|W|.", 0.0, shape="weights", simpler="larger"),
    "keep_prob": Leaf(*_KEPT, "Probability of keeping a hidden unit.", 1.0, True, "hidden", "smaller"),
    "input_keep_prob": Leaf(*_KEPT, "Probability of keeping a feature.", 1.0, True, simpler="smaller"),
    "momentum": Leaf(*_SHARE, "Of momentum and nesterov."),
    "b1": Leaf(*_SHARE, "Of Adam's mean of gradients."),
    "b2": Leaf(*_SHARE, "Of Adam's mean of squared gradients."),
    "eps": Leaf("a finite number > 0", lambda v: (v > 0) & np.isfinite(v), "Of Adam's denominator."),
    "weight_decay": Leaf(*_STRENGTH, "Decoupled decay of adamw.", 0.0, simpler="larger"),
    "end_fraction": Leaf(
        "in [0, 1]", lambda v: (v >= 0) & (v <= 1), "Of the learning rate, where a cosine schedule ends."
    ),
    "decay_rate": Leaf(*_KEPT, "Of the learning rate, after decay_steps of an exponential schedule."),
    "l1_prox": Leaf(*_STRENGTH, "λ of λ/n·Σ|W| with exact zeros; plain sgd.", 0.0, True, "weights", "larger"),
    "group_lasso": Leaf(*_STRENGTH, "λ of λ/n·Σ‖column of W₁‖; plain sgd.", 0.0, True, simpler="larger"),
    "keep_prob_end": Leaf(
        "in (0, 1], or 0 for off",
        lambda v: (v >= 0) & (v <= 1),
        "What keep_prob becomes by the last step.",
        0.0,
        True,
    ),
    "gaussian_dropout": Leaf(
        *_STRENGTH, "σ of a factor N(1, σ²) on hidden units.", 0.0, True, "hidden", "larger"
    ),
    "dropconnect_keep_prob": Leaf(
        *_KEPT, "Probability of keeping a weight.", 1.0, True, "weights", "smaller"
    ),
    "input_noise": Leaf(*_STRENGTH, "σ of noise added to the inputs.", 0.0, True, simpler="larger"),
    "swap_noise": Leaf(
        *_SHARE, "Probability that an input value is another row's.", 0.0, True, simpler="larger"
    ),
    "mixup": Leaf(*_STRENGTH, "α of the Beta(α, α) that mixes pairs of rows.", 0.0, True, simpler="larger"),
    "label_smoothing": Leaf(*_SHARE, "ε of targets (1 - ε)·y + ε/K.", 0.0, True, simpler="larger"),
    "confidence_penalty": Leaf(
        *_STRENGTH, "β of loss - β·entropy of the output.", 0.0, True, simpler="larger"
    ),
    "activity_l2": Leaf(
        *_STRENGTH, "Strength of Σ a² over hidden units, averaged over rows.", 0.0, True, simpler="larger"
    ),
    "adversarial": Leaf(
        *_STRENGTH, "ε of half the loss at x + ε·sign(∇ₓ loss).", 0.0, True, simpler="larger"
    ),
    "sam": Leaf(*_STRENGTH, "Radius of sharpness-aware minimisation.", 0.0, True, simpler="larger"),
    "clip_norm": Leaf(*_ABOVE, "Largest norm of the gradient.", np.inf, True),
    "max_norm": Leaf(
        *_ABOVE, "Largest norm of a hidden unit's incoming weights.", np.inf, True, simpler="smaller"
    ),
    "ema_decay": Leaf(*_SHARE, "Decay of the average of the parameters that is evaluated.", 0.0, True),
    "average_from": Leaf(
        "a number >= 0",
        lambda v: v >= 0,
        "Step from which the mean of the parameters is evaluated.",
        np.inf,
        True,
    ),
    "tol": Leaf(*_STRENGTH, "What an epoch must be better by, where --stop-on asks for it."),
    "n_iter_no_change": Leaf("a number >= 1", lambda v: v >= 1, "Epochs that may be no better in a row."),
    "power_t": Leaf(*_STRENGTH, "Exponent of the schedule invscaling."),
    "patience": Leaf(*_ABOVE, "Steps without a lower loss on rows split off, before it stops.", np.inf, True),
}
# Where None means off, the number that means the same.
OFF_VALUES = {name: leaf.off for name, leaf in LEAVES.items() if leaf.off is not None}
# What is not there at all where it is off.
ABSENT = tuple(name for name, leaf in LEAVES.items() if leaf.absent)
# Of these, what says which parameters are evaluated or predict.
AVERAGES = ("ema_decay", "average_from")
CARRIED = (*AVERAGES, "patience")
# And what of the objective depends on the parameters alone.
PENALISED = ("l1_prox", "group_lasso")


# What costs little, and at its off value changes nothing but the last bits: compiled in for all rows of a
# random design, which then needs no program for every combination.
CHEAP = (
    "l1_prox",
    "group_lasso",
    "keep_prob",
    "input_keep_prob",
    "gaussian_dropout",
    "dropconnect_keep_prob",
    "input_noise",
    "label_smoothing",
    "confidence_penalty",
    "activity_l2",
    "clip_norm",
    "max_norm",
)


def compiled_in(hparams: HParams, names: Sequence[str], config: Config) -> HParams:
    """Returns `hparams` with these of `CHEAP` there, at their off values where they are off."""
    missing = [name for name in names if getattr(hparams, name) is None]
    return hparams._replace(**{n: np.full(_shape(n, config), LEAVES[n].off, config.dtype) for n in missing})


def _shape(name: str, config: Config) -> tuple[int, ...]:
    return {"scalar": (), "weights": (config.num_layers,), "hidden": (config.num_hidden,)}[LEAVES[name].shape]


def switched_on(hparams: HParams) -> tuple[str, ...]:
    """Returns the names of what is on that would not be there if it were off: with `Config`, the program."""
    return tuple(name for name in ABSENT if getattr(hparams, name) is not None)


def without(hparams: HParams, names: Sequence[str] = ABSENT) -> HParams:
    """Returns `hparams` with these off."""
    return hparams._replace(**dict.fromkeys(names))


def check_hparams(config: Config, hparams: HParams) -> HParams:
    """Returns `hparams` as checked arrays of `config.dtype`, off in its one spelling.

    Per-layer leaves become `(num_layers,)` or `(num_hidden,)`; a value that means off becomes None where
    off is another program, and 0 elsewhere. Traced values pass unchecked: their value is not known.

    Raises:
        TypeError: a value that is no number, or `hparams` is no `HParams`.
        ValueError: a value out of its range, of the wrong length, or that does not go with another;
            names the hyperparameter.
    """
    if not isinstance(hparams, HParams):
        raise TypeError(f"hparams must be a regjax.HParams, got {type(hparams).__name__}")
    found = HParams(**{name: check_hparam(config, name, value) for name, value in hparams._asdict().items()})
    for name in ("l1_prox", "group_lasso"):
        if getattr(found, name) is not None and config.optimizer != "sgd":
            raise ValueError(
                f"{name} must be used with optimizer sgd: {config.optimizer} needs a preconditioned prox"
            )
    if found.ema_decay is not None and found.average_from is not None:
        raise ValueError("ema_decay and average_from must not both be on: each says what is evaluated")
    return found


def check_loss(hparams: HParams, loss: Loss) -> None:
    """Raises ValueError for what needs classes where there are none."""
    for name in ("label_smoothing", "confidence_penalty"):
        if loss == "squared_error" and getattr(hparams, name) is not None:
            raise ValueError(f"{name} must be used with classes, got loss squared_error, of a regression")


def check_hparam(config: Config, name: str, value: Any) -> Any:
    """Returns one hyperparameter as `check_hparams` does."""
    leaf = LEAVES[name]
    shape = _shape(name, config)
    if value is None:
        if leaf.off is None:
            raise TypeError(f"{name} must be {leaf.wanted}, got None")
        return None if leaf.absent else np.full(shape, leaf.off, config.dtype)
    array = value if is_traced(value) else _as_real(name, value, leaf.wanted, config.dtype)
    if array.shape not in ((), shape):
        what = {"weights": "one per layer of weights", "hidden": "one per hidden layer"}
        per = "one value" + (f", or {shape[0]} ({what[leaf.shape]})" if leaf.shape in what else "")
        raise ValueError(f"{name} must be {per}, got shape {array.shape}")
    if is_traced(value):
        return jnp.broadcast_to(value.astype(config.dtype), shape)
    is_off = np.all(array == leaf.off)
    if not is_off and not (np.all(np.isfinite(array)) and np.all(leaf.inside(array))):
        raise ValueError(f"{name} must be {leaf.wanted} in {config.dtype}, got {shown(value)}")
    if leaf.absent and is_off:
        return None
    return np.broadcast_to(array, shape)


def _as_real(name: str, value: ArrayLike | Sequence[float], wanted: str, dtype: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be {wanted}, got {shown(value)}")
    with np.errstate(over="ignore"):  # what is checked is what is computed with: 1e60 is ∞ in float32
        return array.astype(dtype)
