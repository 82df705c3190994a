"""The forward pass of a fitted estimator, in NumPy alone; `RegMLP` in base.py inherits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from regjax.sklearn.dense import as_dense
from regjax.sklearn.parameters import ACTIVATIONS, Parameters
from regjax.study.inference import ACTIVATIONS as FUNCTIONS

# A function of a layer's number, input and weights that returns input and weights with units dropped.
Dropping = Callable[[int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Predicting(Parameters):
    """Logits of a network with fitted weights, also with units dropped as in training."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    def _logits(self, X: Any, dropping: Dropping | None = None) -> np.ndarray:
        """Returns the last layer's pre-activations, `(n_samples, n_outputs)`."""
        check_is_fitted(self)
        a: Any = validate_data(
            self, X, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32), reset=False
        )
        if dropping is not None and sparse.issparse(a):
            a = as_dense(a)
        if self.dtype != "auto":
            a = a.astype(self.dtype, copy=False)
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
