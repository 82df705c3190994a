"""What is asked for: `Config` (static), `HParams` (traced), and the checks that word user errors.

`Config` holds what changes a shape or the compiled program; `HParams` holds the numbers that may sit on
a grid axis and never compile again. Every message says what a value must be and what it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import jax.core
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "identity"]
Loss = Literal["sigmoid_cross_entropy", "softmax_cross_entropy", "squared_error"]
Optimizer = Literal["sgd", "momentum", "nesterov", "adam", "adamw"]
Init = Literal["tutorial", "he", "glorot"]
Dtype = Literal["float32", "float64"]
Precision = Literal["highest", "high", "default"]

# Characters of a value in a message.
MAX_SHOWN = 120


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What changes a shape or the compiled program of a training run: frozen and hashable.

    Attributes:
        layer_sizes: units of the input, of each hidden layer and of the output. `(2, 1)` has no hidden
            layer.
        activation: of every hidden layer; the output layer is linear and gives logits.
        loss: "auto" takes squared error for real targets, and for class labels sigmoid cross-entropy
            with one output and softmax cross-entropy with several.
        optimizer: one of optax's: "sgd", "momentum", "nesterov", "adam", "adamw".
        num_steps: gradient steps, at least 1.
        batch_size: rows per step, or None for the full batch.
        eval_every: steps between two records of the history, at least 1.
        init: scale of the normal initial weights: "tutorial" 1/√fan_in, "he" √(2/fan_in),
            "glorot" √(2/(fan_in + fan_out)). Biases start at 0.
        dtype: "float32" or "float64" of parameters and data.
        precision: of matrix products, in JAX's words. "highest" is full float32 on every device;
            "default" permits TF32 on an NVIDIA GPU.

    Raises:
        ValueError: a value out of its range, naming it.
        TypeError: a value of the wrong kind, naming it.
    """

    layer_sizes: tuple[int, ...] = (2, 20, 3, 1)
    activation: Activation = "relu"
    loss: Loss | Literal["auto"] = "auto"
    optimizer: Optimizer = "sgd"
    num_steps: int = 30_000
    batch_size: int | None = None
    eval_every: int = 1_000
    init: Init = "tutorial"
    dtype: Dtype = "float32"
    precision: Precision = "highest"

    def __post_init__(self) -> None:
        if isinstance(self.layer_sizes, str) or not isinstance(self.layer_sizes, Sequence):
            raise TypeError(f"layer_sizes must be a tuple of whole numbers, got {shown(self.layer_sizes)}")
        if len(self.layer_sizes) < 2:
            raise ValueError(
                f"layer_sizes must name an input and an output layer, got {tuple(self.layer_sizes)}"
            )
        sizes = tuple(check_count("layer_sizes", size) for size in self.layer_sizes)
        object.__setattr__(self, "layer_sizes", sizes)
        for name in ("num_steps", "eval_every"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_count("batch_size", self.batch_size))
        for name, choices in (
            ("activation", get_args(Activation)),
            ("loss", ("auto", *get_args(Loss))),
            ("optimizer", get_args(Optimizer)),
            ("init", get_args(Init)),
            ("dtype", get_args(Dtype)),
            ("precision", get_args(Precision)),
        ):
            check_choice(name, getattr(self, name), choices)

    @property
    def num_layers(self) -> int:
        """Number of weight matrices."""
        return len(self.layer_sizes) - 1

    @property
    def num_hidden(self) -> int:
        """Number of hidden layers."""
        return len(self.layer_sizes) - 2

    def program(self) -> Config:
        """This config without what a host loop over segments passes as numbers.

        Two configs with the same program share one compilation of `run_segment` and `measure`.
        """
        return dataclasses.replace(self, num_steps=1, eval_every=1)


class HParams(NamedTuple):
    """Hyperparameters: traced numbers, so a new value never compiles again.

    `None` is off. For what draws randomness (`keep_prob`, `input_keep_prob`) off is another, cheaper
    program; `l2`, `l1` and `weight_decay` are always compiled in, and off is 0.

    Attributes:
        learning_rate: step size, >= 0.
        l2: λ of λ/(2n)·Σ W², >= 0; one value, or one per layer of weights.
        l1: λ of λ/n·Σ |W|, >= 0; one value, or one per layer of weights.
        keep_prob: probability of keeping a hidden unit, in (0, 1]; one value, or one per hidden layer.
        input_keep_prob: probability of keeping an input feature, in (0, 1].
        momentum: of "momentum" and "nesterov", in [0, 1).
        b1: decay of Adam's mean of gradients, in [0, 1).
        b2: decay of Adam's mean of squared gradients, in [0, 1).
        eps: added to Adam's denominator, > 0.
        weight_decay: decoupled decay of "adamw", >= 0; on weights, never on biases.
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


# name -> (what it must be, the test of it, value where None, leaf shape)
_RANGES: dict[str, tuple[str, Any, float | None, Literal["scalar", "layers", "hidden"]]] = {
    "learning_rate": ("a finite number >= 0", lambda v: v >= 0, None, "scalar"),
    "l2": ("a finite number >= 0", lambda v: v >= 0, 0.0, "layers"),
    "l1": ("a finite number >= 0", lambda v: v >= 0, 0.0, "layers"),
    "keep_prob": ("in (0, 1]", lambda v: (v > 0) & (v <= 1), None, "hidden"),
    "input_keep_prob": ("in (0, 1]", lambda v: (v > 0) & (v <= 1), None, "scalar"),
    "momentum": ("in [0, 1)", lambda v: (v >= 0) & (v < 1), None, "scalar"),
    "b1": ("in [0, 1)", lambda v: (v >= 0) & (v < 1), None, "scalar"),
    "b2": ("in [0, 1)", lambda v: (v >= 0) & (v < 1), None, "scalar"),
    "eps": ("a finite number > 0", lambda v: v > 0, None, "scalar"),
    "weight_decay": ("a finite number >= 0", lambda v: v >= 0, 0.0, "scalar"),
}
# What draws randomness is off statically, and its neutral value 1 is the same thing as off.
_OFF_AT_ONE = ("keep_prob", "input_keep_prob")


def check_hparams(config: Config, hparams: HParams) -> HParams:
    """Returns `hparams` as checked arrays of `config.dtype`, off in its one spelling.

    `l2` and `l1` become `(num_layers,)`, `keep_prob` becomes `(num_hidden,)`; `keep_prob = 1` becomes
    None. Traced values pass unchecked: their value is not known.

    Raises:
        TypeError: a value that is no number, or `hparams` is no `HParams`.
        ValueError: a value out of its range, or of the wrong length; names the hyperparameter.
    """
    if not isinstance(hparams, HParams):
        raise TypeError(f"hparams must be a regjax.HParams, got {type(hparams).__name__}")
    return HParams(**{name: check_hparam(config, name, value) for name, value in hparams._asdict().items()})


def check_hparam(config: Config, name: str, value: Any) -> Any:
    """Returns one hyperparameter as `check_hparams` does."""
    wanted, inside, default, kind = _RANGES[name]
    shape = {"scalar": (), "layers": (config.num_layers,), "hidden": (config.num_hidden,)}[kind]
    if value is None:
        if default is None and name not in _OFF_AT_ONE:
            raise TypeError(f"{name} must be {wanted}, got None")
        return None if default is None else np.full(shape, default, config.dtype)
    array = value if is_traced(value) else _as_real(name, value, wanted, config.dtype)
    if array.shape not in ((), shape):
        what = {"layers": "one per layer of weights", "hidden": "one per hidden layer"}
        per = "one value" + (f", or {shape[0]} ({what[kind]})" if kind in what else "")
        raise ValueError(f"{name} must be {per}, got shape {array.shape}")
    if is_traced(value):
        return jnp.broadcast_to(value.astype(config.dtype), shape)
    if not (np.all(np.isfinite(array)) and np.all(inside(array))):
        raise ValueError(f"{name} must be {wanted} in {config.dtype}, got {shown(value)}")
    if name in _OFF_AT_ONE and np.all(array == 1):
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


def check_count(name: str, value: Any, at_least: int = 1, at_most: int = 2**31 - 1) -> int:
    """Returns `value` as an int in [at_least, at_most]; steps are counted in 32 bits.

    Raises:
        TypeError: not a whole number.
        ValueError: too small or too large.
    """
    # Not math.isfinite: an int that is no float has it raise.
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or value in (math.inf, -math.inf) or value != value or math.floor(value) != value:
        raise TypeError(f"{name} must be a whole number, got {shown(value)}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {shown(value)}")
    if cast(int, value) > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {shown(value)}")
    return cast(int, math.floor(value))


def local_x64(dtype: Dtype) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which `dtype` exists: x64 for float64, never a global switch."""
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def is_traced(value: Any) -> bool:
    """Returns whether `value` stands for a number that is not known while a program is traced."""
    return isinstance(value, jax.core.Tracer)


def shown(value: Any) -> str:
    """Returns a value as a message shows it: its repr, `shortened`."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # an int of thousands of digits, lists nested as deep
        return f"one too large to show ({type(value).__name__})"


def shortened(text: str) -> str:
    """Returns a text as a message shows it: in one line, with the middle left out where it is long."""
    text = re.sub(r"\s*\n\s*", " ", text)
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 20]} … {text[-20:]}"


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")


def check_known(
    what: str, name: Any, known: Sequence[str], elsewhere: Mapping[str, str] | None = None
) -> None:
    """Raises ValueError unless `name` is one of `known`; suggests the nearest.

    Args:
        what: kind of the name, for the message.
        name: what a user wrote.
        known: what there is.
        elsewhere: names in other libraries -> ours.
    """
    if name not in known:
        near = (elsewhere or {}).get(name) or next(
            iter(difflib.get_close_matches(str(name), known, 1, 0.5)), None
        )
        hint = f"; did you mean {near}?" if near else ""
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {shown(name)}{hint}")
