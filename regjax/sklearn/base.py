"""`RegMLP`, the base of `RegMLPClassifier` and `RegMLPRegressor`: training.

The numbers are scikit-learn's: from the same `random_state` come the same weights and batches, and from
these the same network. The estimators inherit `RegMLP`, and the searches train many of them at once.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from numbers import Integral
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from regjax.core.caching import keep_programs
from regjax.core.config import Config
from regjax.core.data import unit_mean
from regjax.core.hparams import check_loss
from regjax.core.mlp import Layer, Params
from regjax.core.numpy_random import draw_weights
from regjax.core.objective import resolve_loss
from regjax.core.random import replicate_key
from regjax.core.settings import own_settings
from regjax.core.train import TrainState
from regjax.sklearn.dense import as_dense
from regjax.sklearn.epochs import (
    EPOCHS,
    NO_WEIGHT,
    Curves,
    Drawn,
    Run,
    Samples,
    Span,
    Trained,
    as_data,
    begin,
    counted,
    order_drawer,
    run_epochs,
    train_epochs,
)
from regjax.sklearn.lbfgs import fit_lbfgs
from regjax.sklearn.parameters import STOCHASTIC
from regjax.sklearn.predicting import Predicting

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed."
)
# What `fit` asks before it trains: a search sets a function that takes the network and the arguments of
# `fit`, and returns whether the network needs no training of its own.
INSTEAD: ContextVar[Callable[[RegMLP, Any, Any, Any], bool] | None] = ContextVar("INSTEAD", default=None)
# Weights and biases from which a fit begins in place of those that it draws; None draws them.
START: ContextVar[tuple[list[np.ndarray], list[np.ndarray]] | None] = ContextVar("START", default=None)
# What a fit tells beside its weights. A network that a search has trained finds it out when it is asked.
TOLD = ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
# Methods that decide what a fit computes: a class that overrides one is fitted alone.
FITS = (
    "_fit",
    "_draw",
    "_run_of",
    "_split",
    "_begin",
    "_train",
    "_take",
    "_config",
    "_hparams",
    "_optimizer",
)
# Parameters of scikit-learn's optimizer, which it keeps from one partial_fit to the next.
OF_OPTIMIZER = (
    "solver", "learning_rate", "learning_rate_init", "power_t", "momentum", "nesterovs_momentum", "beta_1",
    "beta_2", "epsilon",
)  # fmt: skip


class RegMLP(Predicting):
    """A multi-layer perceptron; the base of the two estimators, and not used alone.

    An estimator defines `_validate`, which returns checked X and y, with y in columns; `_num_outputs`, the
    units of the last layer for checked y; and `_out_activation`, scikit-learn's name of its activation.
    Methods with an underscore are for this package: candidates.py and trained.py call some of them.
    """

    # -- training ------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Returns the estimator, fitted.

        Args:
            X: `(n_samples, n_features)`; a sparse one is made dense, where it fits into memory.
            y: `(n_samples,)`; for regression also `(n_samples, n_outputs)`, for classification also labels
                of which a sample may have several, `(n_samples, n_labels)`, 0 or 1.
            sample_weight: `(n_samples,)`, >= 0, not all 0.

        Raises:
            ValueError: invalid parameters or data; weights that are not finite after training.
            ZeroDivisionError: a batch whose samples have weight 0.
            OverflowError: a power_t too large for the number of samples.
        """
        instead = INSTEAD.get()
        goes_on = self.warm_start and hasattr(self, "coefs_")
        if instead is not None and not goes_on and instead(self, X, y, sample_weight):
            return self
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> Self:
        """Returns the estimator after `fit`, or after an epoch of `partial_fit`."""
        fresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if fresh:  # of what a search has trained nothing is left
            self.__dict__.pop("_alone", None)
        else:
            self._tell()
        if self.solver == "lbfgs":
            checked_X, checked_y = self._validate(X, y, fresh, incremental)
            fit_lbfgs(self, checked_X, checked_y, sample_weight, fresh)
        else:
            X, y, sample_weight, drawn = self._draw(X, y, sample_weight, fresh, incremental)
            self._fit_stochastic(X, y, sample_weight, drawn, fresh, incremental)
        self._check_finite()
        return self

    def _draw(
        self, X: Any, y: Any, sample_weight: Any, fresh: bool, incremental: bool
    ) -> tuple[Any, Any, Any, Drawn]:
        """Returns checked X, y and weights, and what is drawn before training; sets the first weights."""
        sizes = self._hidden()
        X, y = self._validate(X, y, fresh, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        # One generator draws weights, split and orders in scikit-learn's order. The masks of dropout have a
        # key of their own, drawn from a copy, so that they change none of these draws.
        random = check_random_state(self.random_state)
        key = replicate_key(int(copy.deepcopy(random).randint(np.iinfo(np.int32).max)))
        self.n_outputs_ = self._num_outputs(y)
        sizes = (X.shape[1], *sizes, self.n_outputs_)
        if fresh:
            drawn: Any = draw_weights(random, sizes, self.activation == "logistic", X.dtype)
            self.coefs_, self.intercepts_ = [w.T for w, _ in drawn], [b[:, 0] for _, b in drawn]
            if (start := START.get()) is not None:  # drawn all the same: the orders are drawn after them
                self.coefs_, self.intercepts_ = start
        else:
            sizes = self._sizes_before(sizes)
            X = X.astype(self.coefs_[0].dtype, copy=False)
        return X, y, sample_weight, Drawn(sizes, random, key)

    def _sizes_before(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the units per layer of the network that is trained on, as scikit-learn leaves them.

        Raises:
            ValueError: another number of layers or of outputs is asked for.
        """
        before = (*(w.shape[0] for w in self.coefs_), self.coefs_[-1].shape[1])
        for what, asked, had in (
            ("hidden_layer_sizes must have as many layers", len(sizes) - 2, len(before) - 2),
            ("y must have as many outputs", sizes[-1], before[-1]),
        ):
            if asked != had:
                raise ValueError(f"{what} as in the previous call to fit, {had}, got {asked}")
        return before

    def _fit_stochastic(
        self, X: Any, y: Any, sample_weight: Any, drawn: Drawn, fresh: bool, incremental: bool
    ) -> None:
        """Trains by sgd or adam."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        # As in scikit-learn, partial_fit goes on with the optimizer that is there, whatever is set since.
        made_by = copy.copy(self)
        if incremental:
            made_by.__dict__.update(getattr(self, "_optimizer_params", {}))
        self._optimizer_params = {name: getattr(made_by, name) for name in OF_OPTIMIZER}
        keep_programs()
        run = made_by._run_of(X, y, sample_weight, drawn)
        with own_settings(run.config.dtype):
            begun = self._begin(run, fresh, incremental)
            state = self._train(run, begun, drawn.random, incremental)
        self._take(begun, state, run.config, fresh)

    def _run_of(self, X: Any, y: Any, sample_weight: Any, drawn: Drawn) -> Run:
        """Returns what stays the same throughout a training by sgd or adam."""
        samples = self._split(X, y, sample_weight, drawn.random)
        num_samples = int(np.sum(samples.data.weights > 0))
        config = self._config(drawn.sizes[0], drawn.sizes[-1], num_samples, X.dtype)
        config = dataclasses.replace(config, layer_sizes=drawn.sizes)
        with own_settings(config.dtype):
            hparams = self._checked_hparams(config, samples.mean_weight)
            check_loss(hparams, resolve_loss(config, samples.data))
        return Run(drawn.key, hparams, samples, config)

    def _split(self, X: Any, y: Any, sample_weight: Any, random: Any) -> Samples:
        """Returns the samples to train on and those that early stopping watches."""
        weights: Any = np.ones(len(X), X.dtype) if sample_weight is None else sample_weight
        watched = None
        if self.early_stopping:
            # scikit-learn stratifies two classes, as booleans, but neither more classes nor labels.
            stratify = y.astype(bool) if is_classifier(self) and self.n_outputs_ == 1 else None
            parts: Any = train_test_split(
                X, y, weights, random_state=random, test_size=self.validation_fraction, stratify=stratify
            )
            X, X_val, y, y_val, weights, val_weights = parts
            if len(X_val) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size of your "
                    "dataset."
                )
            if not np.any(weights):
                raise ZeroDivisionError(NO_WEIGHT)
            if not np.any(val_weights):
                raise ValueError("Sample weights must contain at least one non-zero number.")
            # Not rescaled: sums of whole weights stay exact, and so do scores that are compared.
            watched = as_data(X_val, y_val, val_weights)
        mean_weight = float(np.mean(weights, dtype=np.float64))
        data = as_data(X, y, unit_mean(counted(weights, X.dtype), len(X)))
        return Samples(data, watched, mean_weight)

    def _begin(self, run: Run, fresh: bool, incremental: bool) -> TrainState:
        """Returns the state that training begins with: a new one, or where the last call left off."""
        layers = zip(self.coefs_, self.intercepts_, strict=True)
        params: Any = tuple(Layer(cast(Any, w.T), cast(Any, b[:, None])) for w, b in layers)
        state = begin(run.key, run.hparams, params, config=run.config)
        if fresh:
            self.loss_curve_, self.t_, self._state = [], 0, None
        if fresh or not self.early_stopping or not getattr(self, "validation_scores_", None):
            self.validation_scores_ = [] if self.early_stopping else None
        before: TrainState | None = getattr(self, "_state", None)
        epochs = cast(Any, state.epochs)
        if before is None:  # a new network, or one of a search
            self._epochs_done = 0
            self.loss_curve_, self.t_ = getattr(self, "loss_curve_", []), getattr(self, "t_", 0)
            return state._replace(epochs=epochs._replace(seen=jnp.full_like(epochs.seen, self.t_)))
        if before.epochs is not None and (before.epochs.params is None) == (epochs.params is None):
            epochs = jax.tree.map(jnp.asarray, before.epochs)
        # The stop of the last call is lifted. `warm_start` makes a new optimizer, whose learning rate has
        # not fallen yet.
        epochs = epochs._replace(
            stopped_at=jnp.full((), -1, jnp.int32),
            total=jnp.zeros_like(epochs.total),
            factor=epochs.factor if incremental else jnp.ones_like(epochs.factor),
        )
        state = state._replace(epochs=epochs)
        if incremental and jax.tree.structure(state) == jax.tree.structure(before):
            return state._replace(opt_state=jax.tree.map(jnp.asarray, before.opt_state))
        self._epochs_done = 0
        return state

    def _train(
        self, run: Run, state: TrainState, random: np.random.RandomState, incremental: bool
    ) -> TrainState:
        """Returns the state after the last epoch, and writes the curves."""
        first, num_samples = self._epochs_done, int(np.sum(run.samples.data.weights > 0))
        last = first + (1 if incremental else self.max_iter)
        draw = order_drawer(random, run.samples.data, run.config, self.shuffle)
        reached, losses, before = state, cast(list[float], []), random.get_state()
        factor = float(cast(Any, state.epochs).factor)
        try:
            for reached, curves in train_epochs(run, state, first, last, draw):  # noqa: B007
                if self.verbose:
                    self._print(len(losses), curves, factor)
                losses += curves.loss.tolist()
                factor = float(curves.factor[-1])
                if self.validation_scores_ is not None:
                    self.validation_scores_ += curves.score.tolist()
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
        self.n_iter_ = len(losses)
        if self.shuffle and not isinstance(self.random_state, Integral):
            # Whoever else draws from this generator finds it as after these epochs, and no more.
            random.set_state(before)
            for _ in range(self.n_iter_):
                random.shuffle(np.arange(num_samples))
        self.loss_curve_ += losses
        self.loss_ = losses[-1] if losses else math.nan
        self.t_ += num_samples * self.n_iter_
        if run.config.schedule == "invscaling":
            _ = float(self.t_ + 1) ** self.power_t  # overflows where scikit-learn's does
        self._epochs_done = first + self.n_iter_
        stopped = int(cast(Any, reached.epochs).stopped_at) >= 0
        if not incremental and self.n_iter_ == self.max_iter and not stopped:
            self._warn_of_the_end()
        return reached

    def _warn_of_the_end(self) -> None:
        """Warns that training ended with its last epoch."""
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
            "hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=6,
        )

    def _print(self, done: int, curves: Curves, factor: float) -> None:
        """Prints what scikit-learn prints of these epochs.

        Args:
            done: epochs of this call before them.
            curves: of the epochs.
            factor: the factor of the learning rate before them.
        """
        what = "Validation score did not improve" if self.early_stopping else "Training loss did not improve"
        reason = f"{what} more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        adaptive = self.solver == "sgd" and self.learning_rate == "adaptive"
        for epoch, loss, score, after, stopped in zip(itertools.count(done + 1), *curves, strict=False):
            print(f"Iteration {epoch}, loss = {loss:.8f}")
            if self.early_stopping:
                print(f"Validation score: {score:f}")
            if stopped:
                print(f"{reason}{' Learning rate too small.' if adaptive else ''} Stopping.")
            elif adaptive and after < factor:
                print(f"{reason} Setting learning rate to {self.learning_rate_init * after:f}")
            factor = after

    def _take(self, begun: TrainState, state: TrainState, config: Config, fresh: bool) -> None:
        """Writes the attributes of a fitted network; `begun` is the state that training began with."""
        state = jax.tree.map(np.asarray, state)
        self._state = state
        epochs = cast(Any, state.epochs)
        best = float(epochs.best)
        self.best_loss_ = None if self.early_stopping else best
        self.best_validation_score_ = best if self.early_stopping else None
        self._no_improvement_count = int(epochs.waited)
        self.n_layers_ = len(config.layer_sizes)
        self.out_activation_ = self._out_activation()
        params = state.predicting
        if self.early_stopping:
            # In scikit-learn the network goes on in place of the best one: without a better score this call
            # returns its last parameters.
            if not fresh and best == float(cast(Any, begun.epochs).best):
                params = state._replace(epochs=None).measured
            elif best == -math.inf and self.n_iter_:
                warnings.warn(
                    "No validation score was finite: the network is returned as it was before training. "
                    "The data may contain large values and need to be preprocessed.",
                    ConvergenceWarning,
                    stacklevel=6,
                )
        self._adopt(params)

    def _adopt(self, params: Params) -> None:
        """Sets the parameters that predict."""
        self.coefs_ = [np.array(w.T, order="C") for w, _ in params]
        self.intercepts_ = [np.array(b[:, 0]) for _, b in params]

    def _check_finite(self) -> None:
        """Raises ValueError where a weight is not finite."""
        if not all(np.isfinite(part).all() for part in (*self.coefs_, *self.intercepts_)):
            raise ValueError(NOT_FINITE)

    # -- methods that a search calls ------------------------------------------------------------------------

    def _compile(self, X: np.ndarray, y: np.ndarray) -> None:
        """Compiles the program of `fit` for checked samples of this shape."""
        config = self._config(X.shape[1], self._num_outputs(y), len(X), X.dtype)
        data = as_data(X, y, np.ones(len(X), X.dtype))
        orders = None
        if config.batch_size is not None:
            orders = np.zeros((EPOCHS, data.x.shape[1]), np.int32)
        with own_settings(config.dtype):
            hparams = self._checked_hparams(config)
            key = replicate_key(0)
            params = draw_weights(np.random.RandomState(0), config.layer_sizes, False, X.dtype)
            state = begin(key, hparams, params, config=config)
            # The span is traced: a span without epochs compiles the program of every span.
            run_epochs(key, state, hparams, data, None, orders, Span(0, 0, 1, 1), config=config.program())

    def _prepare(self, X: Any, y: Any, sample_weight: Any) -> tuple[Run, np.random.RandomState]:
        """Returns what `fit` trains on, and the generator of its orders; sets the first weights."""
        X, y, sample_weight, drawn = self._draw(X, y, sample_weight, True, False)
        return self._run_of(X, y, sample_weight, drawn), drawn.random

    def _describe(self, config: Config, num_epochs: int) -> None:
        """Writes the attributes that a network of a config has after so many epochs."""
        self.n_features_in_, self.n_outputs_ = config.layer_sizes[0], config.layer_sizes[-1]
        self.n_layers_, self.n_iter_ = len(config.layer_sizes), num_epochs
        self.out_activation_ = self._out_activation()

    def _take_over(self, trained: Trained, samples: Callable[[], tuple[Any, Any, Any]]) -> None:
        """Writes the attributes of a network that a search has trained; the samples are validated.

        Args:
            trained: the network.
            samples: returns the arguments of `fit`, for what only a fit tells.
        """
        self._describe(trained.config, trained.num_epochs)
        self.t_ = trained.num_epochs * trained.num_samples
        self._adopt(trained.params)
        self._num_of_batch(trained.num_samples)  # warns where fewer are there than it asks for
        if not trained.converged:
            self._warn_of_the_end()
        self._alone = functools.partial(self._fit_alone, trained, samples)

    def _fit_alone(self, trained: Trained, samples: Callable[[], tuple[Any, Any, Any]]) -> RegMLP:
        """Returns a network like this one, fitted alone."""
        alone: Any = clone(self)
        alone.set_params(verbose=False)
        if trained.seed is not None:
            alone.set_params(random_state=trained.seed)
        start = None
        if trained.start is not None:
            layers = jax.tree.map(np.asarray, trained.start)
            start = [w.T for w, _ in layers], [b[:, 0] for _, b in layers]
        with warnings.catch_warnings(), starting_from(start):
            warnings.simplefilter("ignore")
            return alone._fit(*samples(), incremental=False)

    def _tell(self) -> None:
        """Takes over all that a fit alone knows, where a search has trained this network with others."""
        alone = self.__dict__.pop("_alone", None)
        if alone is not None:
            own = self.get_params()
            self.__dict__.update({n: value for n, value in vars(alone()).items() if n not in own})

    def __getattr__(self, name: str) -> Any:
        if name in TOLD and "_alone" in vars(self):
            self._tell()
        return super().__getattribute__(name)  # raises the first error again, with its reason

    def __getstate__(self) -> Any:
        """Returns what is pickled: a copy knows what a fit alone knows, and needs no samples for it."""
        self._tell()
        return super().__getstate__()

    # -- checks ---------------------------------------------------------------------------------------------

    def _validated(self, X: Any, y: Any, fresh: bool, **options: Any) -> tuple[np.ndarray, Any]:
        """Returns checked X, dense but for lbfgs, and y; a column of y becomes one-dimensional and warns.

        `fresh` says whether the network is new, which sets the number and names of features.
        """
        # The dtype "auto" follows X.
        dtype = (np.float64, np.float32) if self.dtype == "auto" else np.dtype(self.dtype)
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), multi_output=True, dtype=dtype, reset=fresh, **options
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        # lbfgs, in NumPy, multiplies sparse rows as they are.
        return X if self.solver == "lbfgs" else as_dense(X), y

    def _check_solver(self) -> bool:
        """Returns whether the solver takes a step at a time, which `partial_fit` needs, or says why not."""
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@contextlib.contextmanager
def starting_from(start: tuple[list[np.ndarray], list[np.ndarray]] | None) -> Iterator[None]:
    """A context in which networks are fitted from these weights and biases, `coefs_` and `intercepts_`."""
    token = START.set(start)
    try:
        yield
    finally:
        START.reset(token)


def is_plain(network: RegMLP, *more: str) -> bool:
    """Returns whether regjax's own methods fit a network; `more` names methods beside those of `FITS`."""
    own = next(kind for kind in type(network).__mro__ if kind.__module__.startswith("regjax."))
    return all(getattr(type(network), name) is getattr(own, name) for name in (*FITS, *more))
