"""`HParams`, the traced hyperparameters, and the table that declares each of them once.

The fields of `HParams`, the checks of their values, the axes of a grid, the flags of the command line, the
parameters of the estimators and the columns of a store all read `HYPERPARAMETERS`. A new regulariser is an
entry of it, and a function in the module of its place, the point of a step at which it acts
(docs/regularisers.md).
"""

from __future__ import annotations

import collections
import dataclasses
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .checks import is_traced, shown
from .config import REAL_LOSSES, Config, Loss, Optimizer

if TYPE_CHECKING:
    import jax  # at run time inside functions: the command line's help needs the table alone

Place = Literal[
    "", "data noise", "masks", "loss", "penalties", "gradient", "update", "constraint", "average", "stop"
]


class Range(NamedTuple):
    """The values that a hyperparameter may take.

    Attributes:
        words: the words of a message after "must be".
        contains: whether a value is inside, elementwise.
    """

    words: str
    contains: Callable[[Any], Any]


STRENGTH = Range("a finite number >= 0", lambda v: v >= 0)
PROBABILITY = Range("in (0, 1]", lambda v: (v > 0) & (v <= 1))
FRACTION = Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1))
SHARE = Range("in [0, 1)", lambda v: (v >= 0) & (v < 1))
BOUND = Range("a number > 0", lambda v: v > 0)
STEP = Range("a number >= 0", lambda v: v >= 0)
COUNT = Range("a number >= 1", lambda v: v >= 1)
FINITE = Range("a finite number > 0", lambda v: (v > 0) & np.isfinite(v))
FINAL = Range("in (0, 1], or 0 for off", FRACTION.contains)


@dataclasses.dataclass(frozen=True)
class Hyperparameter:
    """The declaration of one hyperparameter.

    Attributes:
        range: the values that it may take.
        words: its description, in one line.
        place: the point of a training step at which it acts as a regulariser; "" for the others.
        default: the value where none is given; None where the default is off.
        off: the number that means the same as None; None where it cannot be off.
        always: whether it is compiled into every program; off is then a number. Otherwise off is another,
            cheaper program, as if the regulariser did not exist.
        shape: "scalar", one per layer of "weights", or one per "hidden" layer.
        simpler: whether "larger" or "smaller" values make a simpler network; "" where neither does.
        cheap: whether it costs little, and at its off value changes nothing but the last bits: a random
            design then compiles it in for all rows, and needs no program for every combination.
        proximal: whether it is a penalty that acts by a proximal step, which needs plain sgd.
        classes: whether it needs class labels.
        later: whether it was added later and cannot be off: its default then enters no identity.
        optimizers: the optimizers that read it; () means all.
        sklearn: name of the estimators' parameter; "" where they have none.
        meaning: how that parameter's value is read: the "same"; the "strength" of a penalty, which goes with
            the mean weight of the samples; a "rate", 1 - value; or a "bound", where None is inf.
    """

    range: Range
    words: str
    _: dataclasses.KW_ONLY
    place: Place = ""
    default: float | None = None
    off: float | None = None
    always: bool = False
    shape: Literal["scalar", "weights", "hidden"] = "scalar"
    simpler: Literal["larger", "smaller", ""] = ""
    cheap: bool = False
    proximal: bool = False
    classes: bool = False
    later: bool = False
    optimizers: tuple[Optimizer, ...] = ()
    sklearn: str = ""
    meaning: Literal["same", "strength", "rate", "bound"] = "same"

    @property
    def absent(self) -> bool:
        """Whether off is another program, as if the hyperparameter did not exist."""
        return self.off is not None and not self.always

    def from_sklearn(self, value: Any) -> Any:
        """Returns the hyperparameter's value for a value of the estimators' parameter.

        Args:
            value: a number, one per layer, or None for a bound that is off. A "strength" is returned as it
                is; the estimators divide it by the mean weight of the samples.
        """
        if self.meaning == "bound" and value is None:
            return math.inf
        value = tuple(np.asarray(value, float)) if np.ndim(value) else value
        if self.meaning != "rate":
            return value
        return tuple(1 - rate for rate in value) if isinstance(value, tuple) else 1 - value


_H = Hyperparameter
_ADAM: tuple[Optimizer, ...] = ("adam", "adamw")

# In the order of the fields of `HParams`, which identities depend on: a new entry goes to the end.
HYPERPARAMETERS: dict[str, Hyperparameter] = {
    "learning_rate": _H(STRENGTH, "Step size; the peak of a schedule.", default=0.3,
        sklearn="learning_rate_init"),
    "l2": _H(STRENGTH, "Strength λ of the L2 penalty, λ/(2n)·Σ W².",
        place="penalties", off=0.0, always=True, shape="weights",
        simpler="larger", sklearn="alpha", meaning="strength"),
    "l1": _H(STRENGTH, "λ of λ/n·Σ|W|.", place="penalties", off=0.0, always=True, shape="weights",
        simpler="larger", sklearn="l1", meaning="strength"),
    "keep_prob": _H(PROBABILITY, "Dropout: the probability of keeping a hidden unit.", place="masks", off=1.0,
        shape="hidden", simpler="smaller", cheap=True, sklearn="dropout", meaning="rate"),
    "input_keep_prob": _H(PROBABILITY, "Probability of keeping an input feature.", place="masks", off=1.0,
        simpler="smaller", cheap=True, sklearn="input_dropout", meaning="rate"),
    "momentum": _H(FRACTION, "Momentum of the optimizers momentum and nesterov.", default=0.9,
        optimizers=("momentum", "nesterov"), sklearn="momentum"),
    "b1": _H(SHARE, "Decay of Adam's mean of gradients.", default=0.9, optimizers=_ADAM, sklearn="beta_1"),
    "b2": _H(SHARE, "Decay of Adam's mean of squared gradients.", default=0.999, optimizers=_ADAM,
        sklearn="beta_2"),
    "eps": _H(FINITE, "Number added to Adam's denominator.", default=1e-8, optimizers=_ADAM,
        sklearn="epsilon"),
    "weight_decay": _H(STRENGTH, "Decoupled decay of adamw; on weights, never on biases.", place="update",
        off=0.0, always=True, simpler="larger", optimizers=("adamw",), sklearn="weight_decay"),
    "end_fraction": _H(FRACTION, "Fraction of the learning rate that a cosine schedule ends with.",
        default=0.0),
    "decay_rate": _H(PROBABILITY, "Factor of the learning rate after decay_steps of an exponential schedule.",
        default=0.1),
    "l1_prox": _H(STRENGTH, "λ of λ/n·Σ|W| with exact zeros; plain sgd.", place="constraint", off=0.0,
        shape="weights", simpler="larger", cheap=True, proximal=True),
    "group_lasso": _H(STRENGTH, "λ of λ/n·Σ‖column of W₁‖: zero input features; plain sgd.",
        place="constraint", off=0.0, simpler="larger", cheap=True, proximal=True),
    "keep_prob_end": _H(FINAL, "Value that keep_prob reaches, linearly in the step, by the last one.",
        place="masks", off=0.0),
    "gaussian_dropout": _H(STRENGTH, "σ of a factor N(1, σ²) on hidden units.", place="masks", off=0.0,
        shape="hidden", simpler="larger", cheap=True, sklearn="gaussian_dropout"),
    "dropconnect_keep_prob": _H(PROBABILITY, "Probability of keeping a weight.", place="masks", off=1.0,
        shape="weights", simpler="smaller", cheap=True, sklearn="dropconnect", meaning="rate"),
    "input_noise": _H(STRENGTH, "σ of noise added to the inputs as the network sees them.",
        place="data noise", off=0.0, simpler="larger", cheap=True, sklearn="input_noise"),
    "swap_noise": _H(SHARE, "Probability that an input value is that of another training sample.",
        place="data noise", off=0.0, simpler="larger", sklearn="swap_noise"),
    "mixup": _H(STRENGTH, "α of the Beta(α, α) that mixes pairs of samples.", place="data noise", off=0.0,
        simpler="larger", sklearn="mixup"),
    "label_smoothing": _H(SHARE, "ε of targets (1 - ε)·y + ε/K.", place="loss", off=0.0, simpler="larger",
        cheap=True, classes=True, sklearn="label_smoothing"),
    "confidence_penalty": _H(STRENGTH, "β of loss - β·entropy of the output.", place="loss", off=0.0,
        simpler="larger", cheap=True, classes=True, sklearn="confidence_penalty"),
    "activity_l2": _H(STRENGTH, "Strength of Σ a² over hidden units, averaged over samples.",
        place="penalties", off=0.0, simpler="larger", cheap=True, sklearn="activity_l2"),
    "adversarial": _H(STRENGTH, "ε of half the loss at x + ε·sign(∇ₓ loss).", place="gradient", off=0.0,
        simpler="larger", sklearn="adversarial"),
    "sam": _H(STRENGTH, "Radius of sharpness-aware minimisation.", place="gradient", off=0.0,
        simpler="larger", sklearn="sam"),
    "clip_norm": _H(BOUND, "Largest norm of the gradient.", place="gradient", off=np.inf, cheap=True,
        sklearn="clip_norm", meaning="bound"),
    "max_norm": _H(BOUND, "Largest norm of a hidden unit's incoming weights.", place="constraint",
        off=np.inf, simpler="smaller", cheap=True, sklearn="max_norm", meaning="bound"),
    "ema_decay": _H(SHARE, "Decay of the average of the parameters that is evaluated.", place="average",
        off=0.0, sklearn="ema_decay"),
    "average_from": _H(STEP, "Step from which the plain mean of the parameters is evaluated.",
        place="average", off=np.inf),
    "tol": _H(STRENGTH, "Smallest improvement of an epoch that counts, with stop_on.", default=1e-4,
        later=True, sklearn="tol"),
    "n_iter_no_change": _H(COUNT, "Consecutive epochs without an improvement that end a run, with stop_on.",
        default=10, later=True, sklearn="n_iter_no_change"),
    "power_t": _H(STRENGTH, "Exponent of the schedule invscaling.", default=0.5, later=True,
        sklearn="power_t"),
    "patience": _H(BOUND, "Steps without a lower loss on samples split off for it, after which a run stops.",
        place="stop", off=np.inf),
}  # fmt: skip


def _names(chosen: Callable[[Hyperparameter], bool]) -> tuple[str, ...]:
    return tuple(name for name, declared in HYPERPARAMETERS.items() if chosen(declared))


# Names in other libraries, for suggestions.
HPARAMS_ELSEWHERE = {
    "lambda": "l2",
    "lambd": "l2",
    "lambda_": "l2",
    "alpha": "l2",
    "lr": "learning_rate",
}
# Where None means off: the number that means the same.
OFF_VALUES = {name: h.off for name, h in HYPERPARAMETERS.items() if h.off is not None}
# Compiled into the program only where they are on.
ABSENT = _names(lambda h: h.absent)
# Of these, the ones that change which parameters are evaluated, and the ones that a run carries state for.
AVERAGES = _names(lambda h: h.place == "average")
CARRIED = _names(lambda h: h.place in ("average", "stop"))
# The terms of `penalties.penalty` that are compiled in only where they are on.
PENALISED = _names(lambda h: h.proximal)
# Compiled in, at their off values, for all rows of a random grid.
CHEAP = _names(lambda h: h.cheap)
# Needs class labels.
CLASSES_ONLY = _names(lambda h: h.classes)
# The regularisers that scikit-learn's networks lack: all but l2.
BEYOND_SKLEARN = _names(lambda h: bool(h.place) and h.sklearn != "alpha")
# Added later, and never off: their defaults enter no identity.
LATER = _names(lambda h: h.later)

HParams = collections.namedtuple(
    "HParams", list(HYPERPARAMETERS), defaults=[h.default for h in HYPERPARAMETERS.values()]
)
_PER = {"scalar": "", "weights": ", or one per layer of weights", "hidden": ", or one per hidden layer"}


def _described(name: str, h: Hyperparameter) -> str:
    off = "" if h.off is None else f"; None or {h.off:g} is off"
    default = "" if h.default is None else f"; {h.default:g} by default"
    text = f"{name}: {h.words} Must be {h.range.words}{_PER[h.shape]}{off}{default}."
    return textwrap.fill(text, 106, initial_indent=" " * 8, subsequent_indent=" " * 12)


HParams.__doc__ = """Hyperparameters: traced numbers, so a new value never compiles again.

    A named tuple with a field for each line of `HYPERPARAMETERS`. `None` is off.

    Attributes:
""" + "\n".join(_described(name, h) for name, h in HYPERPARAMETERS.items())


def compiled_in(hparams: HParams, names: Sequence[str], config: Config) -> HParams:
    """Returns `hparams` with `names`, of `CHEAP`, as arrays: at their off values where they are off."""
    missing = [name for name in names if getattr(hparams, name) is None]
    return hparams._replace(**{n: np.full(_shape(n, config), OFF_VALUES[n], config.dtype) for n in missing})


def _shape(name: str, config: Config) -> tuple[int, ...]:
    return {"scalar": (), "weights": (config.num_layers,), "hidden": (config.num_hidden,)}[
        HYPERPARAMETERS[name].shape
    ]


def switched_on(hparams: HParams) -> tuple[str, ...]:
    """Returns the regularisers that are on and so are compiled in: with `Config`, they make the program."""
    return tuple(name for name in ABSENT if getattr(hparams, name) is not None)


def is_sklearns(hparams: HParams) -> jax.Array | bool:
    """Returns whether no regulariser is on that scikit-learn's networks lack; the values may be traced."""
    import jax.numpy as jnp

    on = [jnp.any(getattr(hparams, name) != OFF_VALUES[name]) for name in BEYOND_SKLEARN
          if getattr(hparams, name) is not None]  # fmt: skip
    return ~jnp.any(jnp.stack(on)) if on else True


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
    for name in PENALISED:
        if getattr(found, name) is not None and config.optimizer != "sgd":
            raise ValueError(
                f"{name} must be used with optimizer sgd: {config.optimizer} needs a preconditioned prox"
            )
    if found.group_lasso is not None and config.embedding != "none":
        raise ValueError(
            f"group_lasso must be off with embedding {config.embedding}: a feature then has several inputs"
        )
    if found.ema_decay is not None and found.average_from is not None:
        raise ValueError("ema_decay and average_from must not both be on: each says what is evaluated")
    return found


def check_loss(hparams: HParams, loss: Loss) -> None:
    """Raises ValueError for what needs classes where there are none."""
    for name in CLASSES_ONLY:
        if loss in REAL_LOSSES and getattr(hparams, name) is not None:
            raise ValueError(f"{name} must be used with classes, got loss {loss}, of a regression")


def check_hparam(config: Config, name: str, value: Any) -> Any:
    """Returns one hyperparameter as `check_hparams` does."""
    declared = HYPERPARAMETERS[name]
    if value is None and declared.absent:  # most of them, in every configuration
        return None
    shape = _shape(name, config)
    if value is None:
        if declared.off is None:
            raise TypeError(f"{name} must be {declared.range.words}, got None")
        return np.full(shape, declared.off, config.dtype)
    array = value if is_traced(value) else _as_real(name, value, declared.range.words, config.dtype)
    if array.shape not in ((), shape):
        what = {"weights": "one per layer of weights", "hidden": "one per hidden layer"}
        per = "one value" + (f", or {shape[0]} ({what[declared.shape]})" if declared.shape in what else "")
        raise ValueError(f"{name} must be {per}, got shape {array.shape}")
    if is_traced(value):
        import jax.numpy as jnp

        return jnp.broadcast_to(value.astype(config.dtype), shape)
    # inf is off for a bound, and would fail the test for finite numbers.
    is_off = (array == declared.off).all()
    if not is_off and not (np.isfinite(array).all() and np.all(declared.range.contains(array))):
        raise ValueError(f"{name} must be {declared.range.words} in {config.dtype}, got {shown(value)}")
    if declared.absent and is_off:
        return None
    return array if array.shape == shape else np.broadcast_to(array, shape)


def _as_real(name: str, value: ArrayLike | Sequence[float], wanted: str, dtype: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be {wanted}, got {shown(value)}")
    with np.errstate(over="ignore"):  # what is checked is what is computed with: 1e60 is ∞ in float32
        return array.astype(dtype)
