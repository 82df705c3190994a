"""`RegMLP`, the base of `RegMLPClassifier` and `RegMLPRegressor`: training and prediction.

The numbers are scikit-learn's: from the same `random_state` come the same weights and batches, and from
these the same network. Training is JAX; a fitted estimator predicts in NumPy alone. The estimators inherit
`RegMLP`, and the searches train many of them at once.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from regjax.core.config import Config
from regjax.core.hparams import HParams, check_hparams, check_loss
from regjax.core.mlp import Layer, Params
from regjax.core.numpy_random import draw_weights
from regjax.core.objective import resolve_loss
from regjax.core.random import replicate_key
from regjax.core.settings import own_settings
from regjax.core.train import TrainState
from regjax.sklearn.epochs import (
    EPOCHS,
    Run,
    Samples,
    Span,
    as_data,
    begin,
    order_drawer,
    run_epochs,
    train_epochs,
)
from regjax.sklearn.lbfgs import fit_lbfgs
from regjax.sklearn.parameters import ACTIVATIONS, Parameters
from regjax.study.inference import ACTIVATIONS as FUNCTIONS

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed."
)
# A function of a layer's number, input and weights that returns input and weights with units dropped.
Dropping = Callable[[int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class RegMLP(Parameters):
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
            X: `(n_samples, n_features)`.
            y: `(n_samples,)`; for regression also `(n_samples, n_outputs)`.
            sample_weight: `(n_samples,)`, >= 0.

        Raises:
            ValueError: invalid parameters or data; weights that are not finite after training.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> Self:
        """Returns the estimator after `fit`, or after an epoch of `partial_fit`."""
        fresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._validate(X, y, fresh, incremental)
        if self.solver == "lbfgs":
            fit_lbfgs(self, X, y, sample_weight, fresh)
            return self
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        # One generator draws weights, split and orders in scikit-learn's order. The masks of dropout have a
        # key of their own, drawn from a copy, so that they change none of these draws.
        random = check_random_state(self.random_state)
        key = replicate_key(int(copy.deepcopy(random).randint(np.iinfo(np.int32).max)))
        self.n_outputs_ = self._num_outputs(y)
        if fresh:
            sizes = (X.shape[1], *self._hidden(), self.n_outputs_)
            drawn: Any = draw_weights(random, sizes, self.activation == "logistic", X.dtype)
            self.coefs_, self.intercepts_ = [w.T for w, _ in drawn], [b[:, 0] for _, b in drawn]
        samples = self._split(X, y, sample_weight, random)
        num_trained = int(np.sum(samples.data.weights > 0))
        config = self._config(X.shape[1], self.n_outputs_, num_trained, X.dtype)
        with own_settings(config.dtype):
            hparams = check_hparams(config, HParams(**self._hparams(samples.mean_weight)))
            check_loss(hparams, resolve_loss(config, samples.data))
            run = Run(key, hparams, samples, config)
            state = self._train(run, self._begin(run, fresh, incremental), random, incremental)
        self._take(state, config)
        return self

    def _split(self, X: Any, y: Any, sample_weight: Any, random: Any) -> Samples:
        """Returns the samples to train on and those that early stopping watches."""
        weights: Any = np.ones(len(X), X.dtype) if sample_weight is None else sample_weight
        watched = None
        if self.early_stopping:
            # scikit-learn stratifies two classes, but not more.
            stratify = y[:, 0] if self._out_activation() == "logistic" else None
            parts: Any = train_test_split(
                X, y, weights, random_state=random, test_size=self.validation_fraction, stratify=stratify
            )
            X, X_val, y, y_val, weights, val_weights = parts
            if len(X_val) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size of your "
                    "dataset."
                )
            watched = as_data(X_val, y_val, val_weights)
        seen = weights[weights > 0]
        mean_weight = float(np.mean(seen, dtype=np.float64)) if len(seen) else 1.0
        return Samples(as_data(X, y, weights), watched, mean_weight)

    def _begin(self, run: Run, fresh: bool, incremental: bool) -> TrainState:
        """Returns the state that training begins with: a new one, or where the last call left off."""
        layers = zip(self.coefs_, self.intercepts_, strict=True)
        params: Any = tuple(Layer(cast(Any, w.T), cast(Any, b[:, None])) for w, b in layers)
        state = begin(run.key, run.hparams, params, config=run.config)
        if fresh or not hasattr(self, "_state"):  # a warm start may go on from lbfgs
            self.loss_curve_: list[float] = []
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.t_, self._epochs_done = 0, 0
            return state
        before = self._state
        epochs = cast(Any, state.epochs)
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
        first = self._epochs_done
        last = first + (1 if incremental else self.max_iter)
        draw = order_drawer(random, run.samples.data, run.config, self.shuffle)
        reached, losses = state, cast(list[float], [])
        try:
            for reached, loss, score in train_epochs(run, state, first, last, draw):  # noqa: B007
                losses += loss.tolist()
                if self.validation_scores_ is not None:
                    self.validation_scores_ += score.tolist()
                if self.verbose:
                    for epoch in range(len(losses) - len(loss), len(losses)):
                        print(f"Iteration {epoch + 1}, loss = {losses[epoch]:.8f}")
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        self.n_iter_ = len(losses)
        self.loss_curve_ += losses
        self.loss_ = losses[-1] if losses else math.nan
        self.t_ += int(np.sum(run.samples.data.weights > 0)) * self.n_iter_
        self._epochs_done = first + self.n_iter_
        stopped = int(cast(Any, reached.epochs).stopped_at) >= 0
        if not incremental and self.n_iter_ == self.max_iter and not stopped:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return reached

    def _take(self, state: TrainState, config: Config) -> None:
        """Writes the attributes of a fitted network."""
        state = jax.tree.map(np.asarray, state)
        self._state = state
        epochs = cast(Any, state.epochs)
        self.best_loss_ = None if self.early_stopping else float(epochs.best)
        self.best_validation_score_ = float(epochs.best) if self.early_stopping else None
        self.n_layers_ = len(config.layer_sizes)
        self.out_activation_ = self._out_activation()
        self._adopt(state.predicting if epochs.params is None else epochs.params)

    def _adopt(self, params: Params) -> None:
        """Sets the parameters that predict; raises ValueError where they are not finite."""
        self.coefs_ = [np.array(w.T, order="C") for w, _ in params]
        self.intercepts_ = [np.array(b[:, 0]) for _, b in params]
        if not all(np.isfinite(part).all() for part in (*self.coefs_, *self.intercepts_)):
            raise ValueError(NOT_FINITE)

    # -- methods that a search calls ------------------------------------------------------------------------

    def _as_samples(self, X: Any, y: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns checked X, y `(n_samples, n_outputs)` and weights, of all samples of a search."""
        X, y = self._validate(X, y, True, False)
        if sample_weight is None:
            return X, y, np.ones(len(X))
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        return X, y, weights

    def _compile(self, X: np.ndarray, y: np.ndarray) -> None:
        """Compiles the program of `fit` for checked samples of this shape."""
        config = self._config(X.shape[1], self._num_outputs(y), len(X), X.dtype)
        data = as_data(X, y, np.ones(len(X), X.dtype))
        orders = None
        if config.batch_size is not None:
            orders = np.zeros((EPOCHS, data.x.shape[1]), np.int32)
        with own_settings(config.dtype):
            hparams = check_hparams(config, HParams(**self._hparams()))
            key = replicate_key(0)
            params = draw_weights(np.random.RandomState(0), config.layer_sizes, False, X.dtype)
            state = begin(key, hparams, params, config=config)
            # The span is traced: a span without epochs compiles the program of every span.
            run_epochs(key, state, hparams, data, None, orders, Span(0, 0, 1, 1), config=config.program())

    def _describe(self, like: RegMLP, config: Config, num_epochs: int) -> None:
        """Writes the attributes of a network that a sweep has trained; `like` has validated the samples."""
        if hasattr(like, "classes_"):
            self.classes_ = like.classes_
        self.n_features_in_, self.n_outputs_ = config.layer_sizes[0], config.layer_sizes[-1]
        self.n_layers_, self.n_iter_ = len(config.layer_sizes), num_epochs
        self.out_activation_ = self._out_activation()

    # -- prediction ----------------------------------------------------------------------------------------

    def _logits(self, X: Any, dropping: Dropping | None = None) -> np.ndarray:
        """Returns the last layer's pre-activations, `(n_samples, n_outputs)`."""
        check_is_fitted(self)
        a: Any = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        a = a.astype(self.coefs_[0].dtype, copy=False)
        f = FUNCTIONS[ACTIVATIONS[self.activation]]
        for i, (w, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            if dropping is not None:
                a, w = dropping(i, a, w)
            a = a @ w + b
            if i < len(self.coefs_) - 1:
                a = f(a)
        return a

    def _drop(self, random: np.random.RandomState) -> Dropping:
        """Returns a function that draws what training's dropout does to a layer's input and weights."""
        hidden = len(self.coefs_) - 1
        rates = [self.input_dropout, *np.broadcast_to(self.dropout, hidden)]
        sigmas = [0.0, *np.broadcast_to(self.gaussian_dropout, hidden)]
        weight_rates = np.broadcast_to(self.dropconnect, hidden + 1)

        def dropped(i: int, a: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if rates[i]:
                a = a * (random.random_sample(a.shape) >= rates[i]) / (1 - rates[i])
            if sigmas[i]:
                a = a * random.normal(1, sigmas[i], a.shape)
            if weight_rates[i]:
                w = w * (random.random_sample(w.shape) >= weight_rates[i]) / (1 - weight_rates[i])
            return a, w

        return dropped

    def _sampled_logits(self, X: Any, n_samples: int, random_state: Any) -> list[np.ndarray]:
        """Returns `n_samples` times what `_logits` returns, with units dropped anew each time."""
        check_is_fitted(self)
        dropping = self._drop(check_random_state(random_state))
        return [self._logits(X, dropping) for _ in range(n_samples)]

    def _data_dtype(self) -> Any:
        """Returns the dtypes that X may have; "auto" follows it."""
        return (np.float64, np.float32) if self.dtype == "auto" else np.dtype(self.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags
