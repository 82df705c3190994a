"""The parameters of the estimators, each declared once, and their translation for the core.

`RegMLPClassifier` and `RegMLPRegressor` inherit these classes. The parameters that scikit-learn has are
fields here; those of the regularisers follow from the core's table of hyperparameters, so that a line added
there reaches the estimators. A field's annotation holds the values that it may take, for scikit-learn's
validation.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import textwrap
import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Annotated, Any, TypeVar, cast, dataclass_transform, get_type_hints

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions

from regjax.core import hparams
from regjax.core.checks import shown
from regjax.core.config import Config
from regjax.core.hparams import HYPERPARAMETERS, HParams, Hyperparameter, check_hparam, check_hparams
from regjax.sklearn.lbfgs import check_lbfgs

_Class = TypeVar("_Class", bound=type)

# scikit-learn's names of the activations, and the core's.
ACTIVATIONS = {
    "identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "gelu": "gelu",
    "silu": "silu", "selu": "selu",
}  # fmt: skip
# The solvers that take a step at a time.
STOCHASTIC = ("sgd", "adam")

_COUNT = Interval(Integral, 1, None, closed="left")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_BELOW_ONE = Interval(Real, 0, 1, closed="left")
_FRACTION = Interval(Real, 0, 1, closed="both")
# scikit-learn's constraint for each of the core's ranges. The estimators have a rate of dropping where the
# core has a probability of keeping.
_CONSTRAINTS = {
    hparams.STRENGTH: _NOT_NEGATIVE,
    hparams.STEP: _NOT_NEGATIVE,
    hparams.SHARE: _BELOW_ONE,
    hparams.PROBABILITY: _BELOW_ONE,
    hparams.BOUND: _POSITIVE,
    hparams.FINITE: _POSITIVE,
    hparams.FRACTION: _FRACTION,
    hparams.COUNT: Interval(Real, 1, None, closed="left"),
}

Count = Annotated[int, _COUNT]
NotNegative = Annotated[float, _NOT_NEGATIVE]
Positive = Annotated[float, _POSITIVE]
BelowOne = Annotated[float, _BELOW_ONE]
Flag = Annotated[bool, "boolean"]


# `eq` and `repr` stay scikit-learn's, here and in all that inherits this.
@dataclasses.dataclass(eq=False, repr=False)
class _FromScikitLearn(BaseEstimator):
    """The parameters of scikit-learn's `MLPClassifier`, with its defaults, and `dtype`."""

    hidden_layer_sizes: Annotated[Any, "array-like", _COUNT] = (100,)
    activation: Annotated[str, StrOptions(set(ACTIVATIONS))] = "relu"
    _: dataclasses.KW_ONLY
    solver: Annotated[str, StrOptions({"lbfgs", "sgd", "adam"})] = "adam"
    alpha: NotNegative = 0.0001
    batch_size: Annotated[Any, StrOptions({"auto"}), _COUNT] = "auto"
    learning_rate: Annotated[str, StrOptions({"constant", "invscaling", "adaptive"})] = "constant"
    learning_rate_init: Positive = 0.001
    power_t: NotNegative = 0.5
    max_iter: Count = 200
    shuffle: Flag = True
    random_state: Annotated[Any, "random_state"] = None
    tol: NotNegative = 1e-4
    verbose: Annotated[Any, "verbose"] = False
    warm_start: Flag = False
    momentum: Annotated[float, _FRACTION] = 0.9
    nesterovs_momentum: Flag = True
    early_stopping: Flag = False
    validation_fraction: BelowOne = 0.1
    beta_1: BelowOne = 0.9
    beta_2: BelowOne = 0.999
    epsilon: Positive = 1e-8
    n_iter_no_change: Annotated[Any, _COUNT, Options(Real, {np.inf})] = 10
    max_fun: Count = 15_000
    dtype: Annotated[str, StrOptions({"auto", "float32", "float64"})] = "auto"


def _regularisers(classes: bool) -> Iterator[tuple[str, Hyperparameter]]:
    """Yields the core's names and entries of the regularisers that scikit-learn lacks.

    With `classes` those that need class labels, else the others.
    """
    known = {field.name for field in dataclasses.fields(_FromScikitLearn)}
    for name, declared in HYPERPARAMETERS.items():
        if declared.sklearn and declared.sklearn not in known and declared.classes == classes:
            yield name, declared


def _field(declared: Hyperparameter) -> tuple[str, Any, Any]:
    """Returns name, annotation and default of an estimator's parameter, as `make_dataclass` takes them."""
    # A range that is not scikit-learn's is checked by the core alone, before anything is compiled.
    constraints = [_CONSTRAINTS.get(declared.range, Real)]
    default = declared.off if declared.default is None else declared.default
    if declared.meaning == "bound":
        constraints.append(cast(Any, None))
        default = None
    elif declared.meaning == "rate":
        default = 1 - cast(float, default)
    # A strength is divided by the mean weight of the samples, as one number.
    if declared.shape != "scalar" and declared.meaning != "strength":
        constraints.append(cast(Any, "array-like"))
    return declared.sklearn, Annotated[Any, *constraints], default


def _made(name: str, base: type, classes: bool) -> Any:
    """Returns a dataclass with a keyword-only field for each regulariser."""
    fields = [_field(declared) for _, declared in _regularisers(classes)]
    # A static checker cannot see these fields; it accepts any field of `Any`.
    return dataclasses.make_dataclass(
        name, fields, bases=(base,), eq=False, repr=False, kw_only=True, namespace={"__module__": __name__}
    )


_Regularised: Any = _made("_Regularised", _FromScikitLearn, False)


class Parameters(_Regularised):
    """The parameters of both estimators, and the core's configuration and hyperparameters for them."""

    def _hidden(self) -> tuple[int, ...]:
        """Returns the numbers of hidden units."""
        given = self.hidden_layer_sizes
        try:
            hidden = tuple(
                operator.index(size) for size in (given if hasattr(given, "__iter__") else [given])
            )
        except TypeError:
            raise TypeError(f"hidden_layer_sizes must hold whole numbers, got {shown(given)}") from None
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {list(hidden)}.")
        return hidden

    def _check(self) -> None:
        """Raises ValueError for parameters that no data could make valid."""
        self._validate_params()
        if self.solver == "lbfgs":
            check_lbfgs(self)
        dtype = np.float64 if self.dtype == "auto" else self.dtype
        self._checked_hparams(self._config(1, 1, 10**6, dtype, class_weight=None))

    def _config(
        self, num_features: int, num_outputs: int, num_samples: int, dtype: Any, *, class_weight: Any = "own"
    ) -> Config:
        """Returns the core's configuration for `num_samples` training samples.

        The class_weight "own" is the estimator's, which needs its classes to be known.
        """
        size = self._num_of_batch(num_samples)
        return Config(
            layer_sizes=(num_features, *self._hidden(), num_outputs),
            activation=cast(Any, ACTIVATIONS[self.activation]),
            loss=self._core_loss(),
            optimizer=self._optimizer(),
            # The core counts steps in 32 bits, and no run takes as many.
            num_steps=min(self.max_iter * math.ceil(num_samples / size), 2**31 - 1),
            batch_size=None if size >= num_samples else size,
            init="sklearn_logistic" if self.activation == "logistic" else "sklearn",
            dtype=cast(Any, np.dtype(dtype).name),
            # In scikit-learn the learning rate of sgd alone may fall; that of adam is constant.
            schedule=self.learning_rate if self.solver == "sgd" else "constant",
            batches="all",
            shuffle=bool(self.shuffle),
            epsilon_hat=True,
            stop_on="score" if self.early_stopping else "loss",
            clip_loss=True,
            draws="sklearn",
            class_weight=self._class_weights() if class_weight == "own" else class_weight,
        )

    def _core_loss(self) -> Any:
        """Returns the loss, as `Config` takes it."""
        return "auto"

    def _optimizer(self) -> Any:
        """Returns the core's optimizer."""
        if self.weight_decay and self.solver != "adam":
            raise ValueError(f"weight_decay must be used with solver 'adam', got {self.solver!r}")
        if self.solver == "sgd":
            return "nesterov" if self.nesterovs_momentum else "momentum"
        return "adamw" if self.weight_decay else "adam"

    def _num_trained(self, num_samples: int) -> int:
        """Returns how many of so many samples are trained on: without those held out for early stopping."""
        held_out = math.ceil(num_samples * self.validation_fraction) if self.early_stopping else 0
        return num_samples - held_out

    def _num_of_batch(self, num_samples: int) -> int:
        """Returns the samples of a batch, warning as scikit-learn does where it is asked for more."""
        if self.batch_size == "auto":
            return min(200, num_samples)
        if self.batch_size > num_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=4,
            )
        return min(self.batch_size, num_samples)

    def _class_weights(self) -> Any:
        """Returns the weights of the classes, as `Config` takes them."""
        return None

    def _hparams(self, mean_weight: float = 1.0, dtype: Any = None) -> dict[str, Any]:
        """Returns the core's hyperparameters, by name.

        Args:
            mean_weight: mean weight of the training samples.
            dtype: dtype of the network; None takes that of the parameter `dtype`, or float64.
        """
        found = {}
        # The core rescales the weights to mean 1, where scikit-learn divides a batch's loss by its sum of
        # weights: the penalties' strengths are divided by the mean to stay as strong beside the loss.
        for name, declared in HYPERPARAMETERS.items():
            if declared.sklearn and hasattr(self, declared.sklearn):
                given = getattr(self, declared.sklearn)
                try:
                    value = declared.from_sklearn(given)
                except (TypeError, ValueError):
                    raise TypeError(
                        f"{declared.sklearn} must be numbers {_range_of(declared)}, got {shown(given)}"
                    ) from None
                found[name] = value / mean_weight if declared.meaning == "strength" else value
        # The core takes no infinity here.
        found["n_iter_no_change"] = min(found["n_iter_no_change"], 1e9)
        # An epsilon that the dtype rounds to 0 divides 0 by 0. The smallest number changes no other step.
        dtype = dtype if dtype is not None else "float64" if self.dtype == "auto" else self.dtype
        found["eps"] = max(found["eps"], float(np.finfo(dtype).tiny))
        return found

    def _checked_hparams(self, config: Config, mean_weight: float = 1.0) -> HParams:
        """Returns the core's hyperparameters, checked; messages speak of the estimator's parameters."""
        found = self._hparams(mean_weight, config.dtype)
        for name, value in found.items():
            try:
                check_hparam(config, name, value)
            except (TypeError, ValueError) as error:
                declared = HYPERPARAMETERS[name]
                # "keep_prob must be in (0, 1], got 0.0" becomes "dropout must be in [0, 1), got 1.0".
                wanted, got = str(error).replace(name, declared.sklearn, 1).rsplit(", got ", 1)
                wanted = wanted.replace(declared.range.words, _range_of(declared))
                if not got.startswith("shape"):
                    got = shown(getattr(self, declared.sklearn))
                raise type(error)(f"{wanted}, got {got}") from None
        return check_hparams(config, HParams(**found))


def _range_of(declared: Hyperparameter) -> str:
    """Returns the words of an estimator's parameter for its range: a rate is 1 - the core's probability."""
    return hparams.SHARE.words if declared.meaning == "rate" else declared.range.words


# The parameters of the regularisers that need class labels.
ClassParameters: Any = _made("ClassParameters", object, True)


@dataclasses.dataclass(eq=False, repr=False)
class Loss:
    """The regressor's `loss`, which scikit-learn's `MLPRegressor` has as its first parameter.

    Dataclasses collect the fields of the last base first, so as the last base it comes first here too.
    """

    loss: Annotated[str, StrOptions({"squared_error", "poisson"})] = "squared_error"


@dataclass_transform()
def estimator(cls: _Class) -> _Class:
    """Returns a class as an estimator: its annotated attributes become keyword-only parameters.

    Its docstring's line "{regularisers}" is replaced by a line for each regulariser.
    """
    cls = dataclasses.dataclass(eq=False, repr=False, kw_only=True)(cls)
    hints = get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    made: Any = cls
    # In a signature the constraints would hide the defaults.
    made.__init__.__annotations__ = {}
    made._parameter_constraints = {name: list(hints[name].__metadata__) for name in names}
    lines = [_described(name, h) for classes in (False, True) for name, h in _regularisers(classes)
             if h.sklearn in names]  # fmt: skip
    made.__doc__ = (cls.__doc__ or "").replace(" " * 8 + "{regularisers}", "\n".join(lines))
    return cls


def _described(name: str, declared: Hyperparameter) -> str:
    """Returns the line of a regulariser in an estimator's docstring."""
    words = declared.words[0].lower() + declared.words[1:].removesuffix(".")
    if declared.meaning == "rate":
        words = f"1 - {name}, which is the {words}"
    if declared.shape != "scalar" and declared.meaning != "strength":
        per = "hidden layer" if declared.shape == "hidden" else "layer of weights"
        words += f"; one value, or one per {per}"
    if declared.meaning == "bound":
        words += "; None is off"
    text = f"{declared.sklearn}: {words}."
    return textwrap.fill(text, 106, initial_indent=" " * 8, subsequent_indent=" " * 12)
