"""What `RegMLPClassifier` and `RegMLPRegressor` have in common: parameters, training, prediction.

Names, defaults and meanings are scikit-learn's where it has them, and so are the numbers: from the same
weights and batches come the same weights. Training is JAX; a fitted estimator predicts in NumPy alone.
"""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike
from scipy.special import erf, expit
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from regjax.core.config import Config, local_x64
from regjax.core.data import Data, pad_samples, unit_mean
from regjax.core.hparams import HParams, check_hparams, check_loss
from regjax.core.mlp import Layer, Params
from regjax.core.numpy_random import draw_orders, draw_weights
from regjax.core.objective import resolve_loss
from regjax.core.random import replicate_key
from regjax.core.train import TrainState, init_state, run_segment

# Epochs of one compiled call: what a run that stops, or Ctrl-C, waits for at most.
EPOCHS = 10
# XLA's older code for fusions, LLVM's first level: compiled in a third of the time, for one network as fast.
QUICK: Any = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "gelu": "gelu"}
_NUMPY = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: (z * (1 + erf(z / math.sqrt(2))) / 2).astype(z.dtype),
}

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed."
)

RATE = [Interval(Real, 0, 1, closed="left")]
RATES = [*RATE, "array-like"]
STRENGTH = [Interval(Real, 0, None, closed="left")]
BOUND = [Interval(Real, 0, None, closed="neither"), None]


class _Rows(NamedTuple):
    """What is trained on, and what is watched."""

    data: Data
    watched: Data | None
    mean_weight: float


class RegMLP(BaseEstimator):
    """A multi-layer perceptron; see the two classes of regjax/sklearn/estimators.py."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"sgd", "adam"})],
        "alpha": STRENGTH,
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": STRENGTH,
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": STRENGTH,
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "l1": STRENGTH,
        "dropout": RATES,
        "input_dropout": RATE,
        "dropconnect": RATES,
        "gaussian_dropout": [*STRENGTH, "array-like"],
        "input_noise": STRENGTH,
        "swap_noise": RATE,
        "mixup": STRENGTH,
        "activity_l2": STRENGTH,
        "adversarial": STRENGTH,
        "sam": STRENGTH,
        "clip_norm": BOUND,
        "weight_decay": STRENGTH,
        "max_norm": BOUND,
        "ema_decay": RATE,
        "dtype": [StrOptions({"auto", "float32", "float64"})],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size: Any = "auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state: Any = None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change: Any = 10,
        l1=0.0,
        dropout: Any = 0.0,
        input_dropout=0.0,
        dropconnect: Any = 0.0,
        gaussian_dropout: Any = 0.0,
        input_noise=0.0,
        swap_noise=0.0,
        mixup=0.0,
        activity_l2=0.0,
        adversarial=0.0,
        sam=0.0,
        clip_norm: Any = None,
        weight_decay=0.0,
        max_norm: Any = None,
        ema_decay=0.0,
        dtype="auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.l1 = l1
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.dropconnect = dropconnect
        self.gaussian_dropout = gaussian_dropout
        self.input_noise = input_noise
        self.swap_noise = swap_noise
        self.mixup = mixup
        self.activity_l2 = activity_l2
        self.adversarial = adversarial
        self.sam = sam
        self.clip_norm = clip_norm
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self.ema_decay = ema_decay
        self.dtype = dtype

    # -- what it asks of the core -------------------------------------------------------------------------

    def _hidden(self) -> tuple[int, ...]:
        given = self.hidden_layer_sizes
        hidden = tuple(int(size) for size in (given if hasattr(given, "__iter__") else [given]))
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {list(hidden)}.")
        return hidden

    def _check(self) -> None:
        """Raises what is wrong with the parameters, before any rows are seen."""
        self._validate_params()
        config = self._config(1, 1, 10**6, np.float64, class_weight=None)
        check_hparams(config, HParams(**self._hparams()))

    def _config(
        self, num_features: int, num_outputs: int, num_rows: int, dtype: Any, *, class_weight: Any = "own"
    ) -> Config:
        """Returns what is compiled, for so many training rows."""
        if self.weight_decay and self.solver != "adam":
            raise ValueError(f"weight_decay must be used with solver 'adam', got {self.solver!r}")
        optimizer: Any = "adamw" if self.weight_decay else "adam"
        if self.solver == "sgd":
            optimizer = "nesterov" if self.nesterovs_momentum else "momentum"
        # An adaptive or falling learning rate is sgd's in scikit-learn; adam's is constant.
        schedule: Any = self.learning_rate if self.solver == "sgd" else "constant"
        size = self._num_of_batch(num_rows)
        return Config(
            layer_sizes=(num_features, *self._hidden(), num_outputs),
            activation=cast(Any, ACTIVATIONS[self.activation]),
            optimizer=optimizer,
            num_steps=self.max_iter * math.ceil(num_rows / size),
            batch_size=None if size >= num_rows else size,
            init="sklearn_logistic" if self.activation == "logistic" else "sklearn",
            dtype=cast(Any, np.dtype(dtype).name),
            schedule=schedule,
            batches="all",
            shuffle=bool(self.shuffle),
            epsilon_hat=True,
            stop_on="score" if self.early_stopping else "loss",
            draws="sklearn",
            class_weight=self._class_weights() if class_weight == "own" else class_weight,
        )

    def _num_trained(self, num_rows: int) -> int:
        """Returns how many of so many rows are trained on: without those that early stopping watches."""
        return num_rows - (math.ceil(num_rows * self.validation_fraction) if self.early_stopping else 0)

    def _num_of_batch(self, num_rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, num_rows)
        size = cast(int, self.batch_size)
        if size > num_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=4,
            )
        return min(size, num_rows)

    def _class_weights(self) -> Any:
        return None

    def _hparams(self, mean_weight: float = 1.0) -> dict[str, Any]:
        """Returns the hyperparameters that this estimator means, where they are not the core's defaults.

        A batch's objective is divided by its weight; weights are rescaled to mean 1, and penalties with
        them.
        """
        kept = {
            "keep_prob": self.dropout,
            "input_keep_prob": self.input_dropout,
            "dropconnect_keep_prob": self.dropconnect,
        }
        same = ("gaussian_dropout", "input_noise", "swap_noise", "mixup", "activity_l2", "adversarial", "sam")
        bounds = {name: math.inf if getattr(self, name) is None else getattr(self, name)
                  for name in ("clip_norm", "max_norm")}  # fmt: skip
        return {
            "learning_rate": self.learning_rate_init,
            "l2": self.alpha / mean_weight,
            "l1": self.l1 / mean_weight,
            "momentum": self.momentum,
            "b1": self.beta_1,
            "b2": self.beta_2,
            "eps": self.epsilon,
            "tol": self.tol,
            "n_iter_no_change": min(self.n_iter_no_change, 1e9),
            "power_t": self.power_t,
            "weight_decay": self.weight_decay,
            "ema_decay": self.ema_decay,
            **{name: _kept(rate) for name, rate in kept.items()},
            **{name: _per_layer(getattr(self, name)) for name in same},
            **bounds,
        }

    # -- training -----------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fits the network.

        Args:
            X: `(n_samples, n_features)`.
            y: `(n_samples,)`; for regression also `(n_samples, n_outputs)`.
            sample_weight: `(n_samples,)`, >= 0.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> Self:
        fresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._validate(X, y, fresh, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        # Weights, split and order of rows are drawn as scikit-learn draws them, one from the other; what is
        # dropped has a key of its own, which takes nothing from that.
        random = check_random_state(self.random_state)
        key = replicate_key(int(copy.deepcopy(random).randint(np.iinfo(np.int32).max)))
        self.n_outputs_ = self._num_outputs(y)
        if fresh:
            sizes = (X.shape[1], *self._hidden(), self.n_outputs_)
            drawn: Any = draw_weights(random, sizes, self.activation == "logistic", X.dtype)
            self.coefs_, self.intercepts_ = [w.T for w, _ in drawn], [b[:, 0] for _, b in drawn]
        rows = self._split(X, y, sample_weight, random)
        num_rows = int(np.sum(rows.data.weights > 0))
        config = self._config(X.shape[1], self.n_outputs_, num_rows, X.dtype)
        with local_x64(config.dtype):
            hparams = check_hparams(config, HParams(**self._hparams(rows.mean_weight)))
            check_loss(hparams, resolve_loss(config, rows.data))
            state = self._begin(key, hparams, config, fresh, incremental)
            state = self._train(key, state, hparams, rows, config, random, incremental)
        self._take(state, config)
        return self

    def _begin(
        self, key: jax.Array, hparams: HParams, config: Config, fresh: bool, incremental: bool
    ) -> TrainState:
        """Returns where training begins: anew, from the weights that are there, or where it stood."""
        layers = zip(self.coefs_, self.intercepts_, strict=True)
        params: Any = tuple(Layer(cast(Any, w.T), cast(Any, b[:, None])) for w, b in layers)
        state = _init_state(key, hparams, params, config=config)
        if fresh:
            self.loss_curve_: list[float] = []
            self.validation_scores_ = [] if self.early_stopping else None
            self.t_, self._epochs_done = 0, 0
            return state
        before = self._state
        epochs = cast(Any, state.epochs)
        if before.epochs is not None and (before.epochs.params is None) == (epochs.params is None):
            epochs = jax.tree.map(jnp.asarray, before.epochs)
        # Nothing has stopped yet; a new optimizer begins with the whole learning rate.
        epochs = epochs._replace(
            stopped_at=jnp.full((), -1, jnp.int32),
            total=jnp.zeros_like(epochs.total),
            factor=epochs.factor if incremental else jnp.ones_like(epochs.factor),
        )
        state = state._replace(epochs=epochs)
        if incremental and jax.tree.structure(state) == jax.tree.structure(before):
            state = state._replace(opt_state=jax.tree.map(jnp.asarray, before.opt_state))
        else:
            self._epochs_done = 0
        return state

    def _train(
        self,
        key: jax.Array,
        state: TrainState,
        hparams: HParams,
        rows: _Rows,
        config: Config,
        random: np.random.RandomState,
        incremental: bool,
    ) -> TrainState:
        """Returns the state after the last epoch; writes the curves."""
        order: Any = np.flatnonzero(rows.data.weights > 0)
        num_rows, orders = len(order), cast(Any, None)
        num_batches = 1 if config.batch_size is None else math.ceil(num_rows / config.batch_size)
        first = self._epochs_done
        last = first + (1 if incremental else self.max_iter)
        self.n_iter_, epoch = 0, first
        losses: list[float] = []
        while epoch < last and self.n_iter_ == epoch - first:
            if config.batch_size is not None:
                count, width = min(EPOCHS, last - epoch), rows.data.x.shape[1]
                orders, order = draw_orders(random, order, count, width, self.shuffle)
                orders = np.pad(orders, ((0, EPOCHS - count), (0, 0)))
            try:
                state, curves = run_epochs(
                    key, state, hparams, rows.data, rows.watched, orders, epoch, last, num_batches,
                    config.num_steps, config=config.program(),
                )  # fmt: skip
                loss, score, over = jax.tree.map(np.asarray, curves)
            except KeyboardInterrupt:
                warnings.warn("Training interrupted by user.", stacklevel=4)
                break
            count = min(EPOCHS, last - epoch)
            ran = count if not over[:count].any() else int(np.argmax(over[:count])) + 1
            for i in range(ran):
                losses.append(float(loss[i]))
                if self.verbose:
                    print(f"Iteration {len(losses)}, loss = {losses[-1]:.8f}")
            if self.validation_scores_ is not None:
                self.validation_scores_ += [float(s) for s in score[:ran]]
            self.n_iter_, epoch = self.n_iter_ + ran, epoch + count
        self.loss_curve_ += losses
        self.loss_ = losses[-1] if losses else math.nan
        self.t_ += num_rows * self.n_iter_
        self._epochs_done = first + self.n_iter_
        stopped = int(cast(Any, state.epochs).stopped_at) >= 0
        if not incremental and self.n_iter_ == self.max_iter and not stopped:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return state

    def _take(self, state: TrainState, config: Config) -> None:
        """Writes what was learned into the attributes."""
        state = jax.tree.map(np.asarray, state)
        self._state = state
        best = float(cast(Any, state.epochs).best)
        self.best_loss_ = None if self.early_stopping else best
        self.best_validation_score_ = best if self.early_stopping else None
        self.n_layers_ = len(config.layer_sizes)
        self.out_activation_ = self._out_activation()
        best_params = cast(Any, state.epochs).params
        self._adopt(state.predicting if best_params is None else best_params)

    def _adopt(self, params: Params) -> None:
        """Takes parameters as what predicts."""
        self.coefs_ = [np.array(w.T, order="C") for w, _ in params]
        self.intercepts_ = [np.array(b[:, 0]) for _, b in params]
        if not all(np.isfinite(part).all() for part in (*self.coefs_, *self.intercepts_)):
            raise ValueError(NOT_FINITE)

    def _as_rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns checked X, y `(n_samples, …)` and weights, of all rows of a search."""
        X, y = self._validate(X, y, True, False)
        if sample_weight is None:
            return X, y, np.ones(len(X))
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        return X, y, weights

    def _compile(self, X: np.ndarray, y: np.ndarray) -> None:
        """Compiles what `fit` will run on checked rows of this shape."""
        config = self._config(X.shape[1], self._num_outputs(y), len(X), X.dtype)
        data = _as_data(X, y, np.ones(len(X), X.dtype))
        orders = None
        if config.batch_size is not None:
            orders = np.zeros((EPOCHS, data.x.shape[1]), np.int32)
        with local_x64(config.dtype):
            hparams = check_hparams(config, HParams(**self._hparams()))
            key = replicate_key(0)
            params = draw_weights(np.random.RandomState(0), config.layer_sizes, False, X.dtype)
            state = _init_state(key, hparams, params, config=config)
            # No epochs: their number is traced.
            run_epochs(key, state, hparams, data, None, orders, 0, 0, 1, 1, config=config.program())

    def _describe(self, like: RegMLP, config: Config, num_epochs: int) -> None:
        """Writes the attributes of a network that a search has trained; `like` has seen the rows."""
        if hasattr(like, "classes_"):
            self.classes_ = like.classes_
        self.n_features_in_, self.n_outputs_ = config.layer_sizes[0], config.layer_sizes[-1]
        self.n_layers_, self.n_iter_ = len(config.layer_sizes), num_epochs
        self.out_activation_ = self._out_activation()

    def _split(self, X: Any, y: Any, sample_weight: Any, random: Any) -> _Rows:
        """Returns the rows to train on and those to watch, features-first and padded."""
        weights: Any = np.ones(len(X), X.dtype) if sample_weight is None else sample_weight
        watched = None
        if self.early_stopping:
            # scikit-learn stratifies two classes, and not more.
            stratify = y[:, 0] if self._out_activation() == "logistic" else None
            parts: Any = train_test_split(
                X, y, weights, random_state=random, test_size=self.validation_fraction, stratify=stratify
            )
            X, X_val, y, y_val, weights, of_val = parts
            if len(X_val) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size of your "
                    "dataset."
                )
            watched = _as_data(X_val, y_val, of_val)
        seen = weights[weights > 0]
        mean_weight = float(np.mean(seen, dtype=np.float64)) if len(seen) else 1.0
        return _Rows(_as_data(X, y, weights), watched, mean_weight)

    # -- prediction ---------------------------------------------------------------------------------------

    def _logits(self, X: Any, masks: Any = None) -> np.ndarray:
        """Returns what the last layer gives, `(n_samples, n_outputs)`."""
        check_is_fitted(self)
        a: Any = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        a = a.astype(self.coefs_[0].dtype, copy=False)
        f = _NUMPY[self.activation]
        for i, (w, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            if masks is not None:
                a, w = masks(i, a, w)
            a = a @ w + b
            if i < len(self.coefs_) - 1:
                a = f(a)
        return a

    def _drop(self, random: np.random.RandomState) -> Any:
        """Returns a function of layer, its input and weights: both as dropout leaves them."""
        hidden = len(self.coefs_) - 1
        rates = [self.input_dropout, *np.broadcast_to(self.dropout, hidden)]
        sigmas = [0.0, *np.broadcast_to(self.gaussian_dropout, hidden)]
        of_weights = np.broadcast_to(self.dropconnect, hidden + 1)

        def dropped(i: int, a: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if rates[i]:
                a = a * (random.random_sample(a.shape) >= rates[i]) / (1 - rates[i])
            if sigmas[i]:
                a = a * random.normal(1, sigmas[i], a.shape)
            if of_weights[i]:
                w = w * (random.random_sample(w.shape) >= of_weights[i]) / (1 - of_weights[i])
            return a, w

        return dropped

    def _validate(self, X: Any, y: Any, fresh: bool, incremental: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns checked X, and y as `(n_samples, 1)` labels or `(n_samples, n_outputs)` numbers."""
        raise NotImplementedError

    def _num_outputs(self, y: np.ndarray) -> int:
        """Returns the units of the last layer."""
        raise NotImplementedError

    def _out_activation(self) -> str:
        raise NotImplementedError

    def _data_dtype(self) -> Any:
        """Returns the dtypes that X may have; "auto" follows it."""
        return (np.float64, np.float32) if self.dtype == "auto" else np.dtype(self.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def _kept(rate: Any) -> Any:
    """Returns 1 - rate, for one rate or one per layer."""
    return tuple(1 - np.asarray(rate, float)) if np.ndim(rate) else 1 - rate


def _per_layer(value: Any) -> Any:
    return tuple(np.asarray(value, float)) if np.ndim(value) else value


def _as_data(X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Data:
    """Returns rows features-first, padded to one of a few numbers, so that few programs are compiled."""
    data = Data(X.T, y.T, unit_mean(weights, len(X)).astype(X.dtype))
    n = len(X)
    size = 32
    while size < min(n, 1024):
        size *= 2
    return pad_samples(data, size if n <= 1024 else 512)


@functools.partial(jax.jit, static_argnames="config")
def _init_state(key: jax.Array, hparams: HParams, params: Params, *, config: Config) -> TrainState:
    return init_state(key, hparams, config=config, params=params)


def run_epochs(*args: Any, config: Config) -> tuple[TrainState, tuple[jax.Array, jax.Array, jax.Array]]:
    """Returns what `_run_epochs` does."""
    return _program()(*args, config=config)


@functools.cache
def _program() -> Callable[..., Any]:
    """Returns the compiled `_run_epochs`, with `QUICK` where it is to be had."""
    options = QUICK if jax.default_backend() == "cpu" else None
    if options is not None:
        try:
            jax.jit(lambda x: x + 1, compiler_options=options)(0.0)
        except Exception:  # another version of the compiler may lack it
            options = None
    return jax.jit(_run_epochs, static_argnames="config", compiler_options=options)


def _run_epochs(
    key: jax.Array,
    state: TrainState,
    hparams: HParams,
    data: Data,
    watched: Data | None,
    orders: Any,
    first: Any,
    last: Any,
    num_batches: Any,
    num_steps: Any,
    *,
    config: Config,
) -> tuple[TrainState, tuple[jax.Array, jax.Array, jax.Array]]:
    """Returns the state after `EPOCHS` epochs, and loss, score and whether it has stopped after each.

    Args:
        key: of the replicate.
        state: after `first` epochs.
        hparams: hyperparameters.
        data: rows to train on.
        watched: rows to watch, or None.
        orders: of the rows in each epoch, `(EPOCHS, n)`, or None where a batch is all of them.
        first: epochs done.
        last: epochs to do; from there on nothing happens.
        num_batches: of an epoch.
        num_steps: of the whole run.
        config: what is compiled.
    """

    def one(state: TrainState, at: tuple[jax.Array, Any]) -> tuple[TrainState, Any]:
        epoch, order = at
        start = epoch * num_batches
        stop = jnp.where(epoch < last, start + num_batches, start)
        state = run_segment(
            key, state, hparams, data, start, stop,
            config=config, num_batches=num_batches, num_steps=num_steps, watched=watched,
            orders=None if order is None else order[None],
        )  # fmt: skip
        epochs = cast(Any, state.epochs)
        return state, (epochs.loss, epochs.score, epochs.stopped_at >= 0)

    epochs = jnp.asarray(first, jnp.int32) + jnp.arange(EPOCHS, dtype=jnp.int32)
    return lax.scan(one, state, (epochs, orders))
