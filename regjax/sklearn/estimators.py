"""`RegMLPClassifier`, `RegMLPRegressor`: scikit-learn's multi-layer perceptrons, with every regulariser."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    unique_labels,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from regjax.sklearn.base import RATE, STRENGTH, RegMLP


class RegMLPClassifier(ClassifierMixin, RegMLP):
    """A classifier: scikit-learn's `MLPClassifier`, trained by regjax, with every regulariser.

    The parameters of scikit-learn's `MLPClassifier` have its names, defaults and meanings, and from the
    same weights and batches come the same weights. `solver="lbfgs"` is not there. The others:

    Args:
        l1: λ of λ/n·Σ|W|, n as for alpha the rows of a batch.
        dropout: rate at which hidden units are dropped; one, or one per hidden layer.
        input_dropout: rate at which input features are dropped.
        dropconnect: rate at which weights are dropped; one, or one per layer.
        gaussian_dropout: σ of a factor N(1, σ²) on hidden units.
        input_noise: σ of noise added to the inputs.
        swap_noise: probability that an input value is that of another training row.
        mixup: α of the Beta(α, α) that mixes pairs of rows.
        activity_l2: strength of Σ a² over hidden units, averaged over rows.
        adversarial: ε of half the loss at x + ε·sign(∇ₓ loss).
        sam: radius of sharpness-aware minimisation.
        clip_norm: largest norm of the gradient, or None.
        weight_decay: decoupled decay, with solver "adam".
        max_norm: largest norm of a hidden unit's incoming weights, or None.
        ema_decay: decay of the average of the weights that predicts.
        dtype: "float32", "float64", or "auto", which follows X.
        class_weight: "balanced", or class -> weight; it acts on the data term, whose weight stays the same.
        label_smoothing: ε of targets (1 - ε)·y + ε/K.
        confidence_penalty: β of loss - β·entropy of the output.

    docs/regularisers.md has the formulas and sources, docs/scikit-learn.md how to search over them.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.preprocessing import scale
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((16,), dropout=0.2, tol=0.01, max_iter=500, random_state=0)
        >>> bool(network.fit(scale(X), y).score(scale(X), y) > 0.95)
        True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **RegMLP._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": RATE,
        "confidence_penalty": STRENGTH,
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
        class_weight: Any = None,
        label_smoothing=0.0,
        confidence_penalty=0.0,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            l1=l1,
            dropout=dropout,
            input_dropout=input_dropout,
            dropconnect=dropconnect,
            gaussian_dropout=gaussian_dropout,
            input_noise=input_noise,
            swap_noise=swap_noise,
            mixup=mixup,
            activity_l2=activity_l2,
            adversarial=adversarial,
            sam=sam,
            clip_norm=clip_norm,
            weight_decay=weight_decay,
            max_norm=max_norm,
            ema_decay=ema_decay,
            dtype=dtype,
        )
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.confidence_penalty = confidence_penalty

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Trains one epoch on these rows, going on from where it stands.

        Args:
            X: `(n_samples, n_features)`.
            y: `(n_samples,)`.
            classes: all that will come, in the first call.
            sample_weight: `(n_samples,)`, >= 0.
        """
        if _check_partial_fit_first_call(self, classes):
            check_classification_targets(y)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Returns the most probable class of each row, `(n_samples,)`."""
        z = self._logits(X)
        chosen = (z[:, 0] > 0).astype(int) if z.shape[1] == 1 else z.argmax(axis=1)
        return self.classes_[np.minimum(chosen, len(self.classes_) - 1)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Returns the probability of each class, `(n_samples, n_classes)`."""
        return self._probabilities(self._logits(X))

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Returns the logarithm of `predict_proba`."""
        z = self._logits(X)
        if len(self.classes_) == 1:
            return np.zeros_like(z)
        if z.shape[1] == 1:
            return np.concatenate([log_expit(-z), log_expit(z)], axis=1)
        return log_softmax(z, axis=1)

    def predict_proba_samples(
        self, X: ArrayLike, n_samples: int = 100, random_state: Any = None
    ) -> np.ndarray:
        """Returns probabilities with units dropped as in training, `(n_samples, len(X), n_classes)`.

        Their mean is Monte-Carlo dropout's prediction, their spread says how sure it is.

        Args:
            X: rows.
            n_samples: draws of what is dropped, for every row anew.
            random_state: seed or generator.

        References:
            Gal & Ghahramani 2016, "Dropout as a Bayesian approximation".
        """
        check_is_fitted(self)
        random = check_random_state(random_state)
        drop = self._drop(random)
        return np.stack([self._probabilities(self._logits(X, drop)) for _ in range(n_samples)])

    def _probabilities(self, z: np.ndarray) -> np.ndarray:
        if len(self.classes_) == 1:
            return np.ones_like(z)
        if z.shape[1] == 1:
            return np.concatenate([expit(-z), expit(z)], axis=1)
        return softmax(z, axis=1)

    def _validate(self, X: Any, y: Any, fresh: bool, incremental: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=self._data_dtype(), reset=fresh)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if fresh and not (incremental and hasattr(self, "classes_")):
            self.classes_ = unique_labels(y)
        classes = unique_labels(y)
        if not fresh and not incremental and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if len(np.setdiff1d(classes, self.classes_)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return X, np.searchsorted(self.classes_, y).astype(np.int32)[:, None]

    def _num_outputs(self, y: np.ndarray) -> int:
        return 1 if len(self.classes_) <= 2 else len(self.classes_)

    def _out_activation(self) -> str:
        return "logistic" if self.n_outputs_ == 1 else "softmax"

    def _class_weights(self) -> Any:
        if not isinstance(self.class_weight, dict):
            return self.class_weight
        found = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
        return (*found.tolist(), *[1.0] * (2 - len(found)))

    def _hparams(self, mean_weight: float = 1.0) -> dict[str, Any]:
        own = {"label_smoothing": self.label_smoothing, "confidence_penalty": self.confidence_penalty}
        return super()._hparams(mean_weight) | own


class RegMLPRegressor(RegressorMixin, RegMLP):
    """A regressor: scikit-learn's `MLPRegressor`, trained by regjax, with every regulariser.

    The parameters of scikit-learn's `MLPRegressor` have its names, defaults and meanings, and from the
    same weights and batches come the same weights. `solver="lbfgs"` is not there. The others:

    Args:
        l1: λ of λ/n·Σ|W|, n as for alpha the rows of a batch.
        dropout: rate at which hidden units are dropped; one, or one per hidden layer.
        input_dropout: rate at which input features are dropped.
        dropconnect: rate at which weights are dropped; one, or one per layer.
        gaussian_dropout: σ of a factor N(1, σ²) on hidden units.
        input_noise: σ of noise added to the inputs.
        swap_noise: probability that an input value is that of another training row.
        mixup: α of the Beta(α, α) that mixes pairs of rows.
        activity_l2: strength of Σ a² over hidden units, averaged over rows.
        adversarial: ε of half the loss at x + ε·sign(∇ₓ loss).
        sam: radius of sharpness-aware minimisation.
        clip_norm: largest norm of the gradient, or None.
        weight_decay: decoupled decay, with solver "adam".
        max_norm: largest norm of a hidden unit's incoming weights, or None.
        ema_decay: decay of the average of the weights that predicts.
        dtype: "float32", "float64", or "auto", which follows X.
        loss: "squared_error"; scikit-learn's "poisson" is not there.

    docs/regularisers.md has the formulas and sources, docs/scikit-learn.md how to search over them.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **RegMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error"})],
    }

    def __init__(
        self,
        loss="squared_error",
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
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            l1=l1,
            dropout=dropout,
            input_dropout=input_dropout,
            dropconnect=dropconnect,
            gaussian_dropout=gaussian_dropout,
            input_noise=input_noise,
            swap_noise=swap_noise,
            mixup=mixup,
            activity_l2=activity_l2,
            adversarial=adversarial,
            sam=sam,
            clip_norm=clip_norm,
            weight_decay=weight_decay,
            max_norm=max_norm,
            ema_decay=ema_decay,
            dtype=dtype,
        )
        self.loss = loss

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Trains one epoch on these rows, going on from where it stands.

        Args:
            X: `(n_samples, n_features)`.
            y: `(n_samples,)` or `(n_samples, n_outputs)`.
            sample_weight: `(n_samples,)`, >= 0.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Returns the predictions, `(n_samples,)` or `(n_samples, n_outputs)`."""
        z = self._logits(X)
        return z[:, 0] if z.shape[1] == 1 else z

    def predict_samples(self, X: ArrayLike, n_samples: int = 100, random_state: Any = None) -> np.ndarray:
        """Returns predictions with units dropped as in training, `(n_samples, …)` of those of `predict`.

        Args:
            X: rows.
            n_samples: draws of what is dropped, for every row anew.
            random_state: seed or generator.

        References:
            Gal & Ghahramani 2016, "Dropout as a Bayesian approximation".
        """
        check_is_fitted(self)
        drop = self._drop(check_random_state(random_state))
        found = np.stack([self._logits(X, drop) for _ in range(n_samples)])
        return found[..., 0] if found.shape[-1] == 1 else found

    def _validate(self, X: Any, y: Any, fresh: bool, incremental: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(
            self, X, y, dtype=self._data_dtype(), multi_output=True, y_numeric=True, reset=fresh
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, np.asarray(y, X.dtype).reshape(len(y), -1)

    def _num_outputs(self, y: np.ndarray) -> int:
        return y.shape[1]

    def _out_activation(self) -> str:
        return "identity"
