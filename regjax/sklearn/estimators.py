"""`RegMLPClassifier`, `RegMLPRegressor`: scikit-learn's multi-layer perceptrons, with every regulariser.

Users make them, alone, in a Pipeline or in a search of regjax/sklearn/search.py; `import regjax` has both.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from regjax.sklearn.base import RegMLP
from regjax.sklearn.parameters import ClassParameters, Loss, estimator


@estimator
class RegMLPClassifier(ClassifierMixin, RegMLP, ClassParameters):
    """A classifier: scikit-learn's `MLPClassifier`, trained by regjax, with every regulariser.

    The parameters of scikit-learn's `MLPClassifier` have its names, defaults and meanings, and from the same
    `random_state` comes the same network. The activations "gelu", "silu" and "selu" are added. The other
    parameters:

    Args:
        dtype: "float32", "float64", or "auto", which follows X.
        class_weight: "balanced", or a mapping from class to weight; it weighs the loss, and leaves the
            penalties as strong as they are.
        {regularisers}

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

    class_weight: Annotated[Any, dict, StrOptions({"balanced"}), None] = None

    @available_if(lambda est: est._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Returns the estimator after one more epoch, on these samples.

        Args:
            X: `(n_samples, n_features)`.
            y: `(n_samples,)`, or `(n_samples, n_labels)` of zeros and ones.
            sample_weight: `(n_samples,)`, >= 0, not all 0.
            classes: every class that any call will have; needed in the first call, ignored later.

        Raises:
            ValueError: invalid parameters or data; an unknown class; `early_stopping=True`.
        """
        if _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: ArrayLike) -> Any:
        """Returns the most probable class of each sample, `(n_samples,)`.

        Where a sample may have several labels: a one for each that is more probable than not,
        `(n_samples, n_labels)`.
        """
        z = self._logits(X)
        if self._has_labels():
            # Sparse where y was sparse.
            return cast(Any, self._label_binarizer.inverse_transform(expit(z)))
        # One output is the logit of the second class.
        chosen = (z[:, 0] > 0).astype(int) if z.shape[1] == 1 else z.argmax(axis=1)
        # Where the data have but one class, that one.
        return self.classes_[np.minimum(chosen, len(self.classes_) - 1)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Returns the probability of each class, `(n_samples, n_classes)`, or of each label."""
        return self._probabilities(self._logits(X))

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Returns the logarithm of `predict_proba`."""
        z = self._logits(X)
        if self._has_labels():  # equal where the probabilities are, as in scikit-learn
            with np.errstate(divide="ignore"):
                return np.log(expit(z))
        if len(self.classes_) == 1:
            return np.zeros_like(z)
        if z.shape[1] == 1:
            return np.concatenate([log_expit(-z), log_expit(z)], axis=1)
        return log_softmax(z, axis=1)

    def predict_proba_samples(
        self, X: ArrayLike, n_samples: int = 100, random_state: Any = None
    ) -> np.ndarray:
        """Returns probabilities with units dropped as in training, `(n_samples, len(X), n_classes)`.

        Their mean is Monte-Carlo dropout's prediction, and their spread its uncertainty.

        Args:
            X: samples, `(n, n_features)`.
            n_samples: number of draws; each draws units anew for every sample of X.
            random_state: seed or generator of the draws.

        References:
            Gal & Ghahramani 2016, "Dropout as a Bayesian approximation".
        """
        return np.stack([self._probabilities(z) for z in self._sampled_logits(X, n_samples, random_state)])

    def _probabilities(self, z: np.ndarray) -> np.ndarray:
        """Returns the probabilities of the classes, of the last layer's pre-activations."""
        if self._has_labels():
            return expit(z)
        if len(self.classes_) == 1:
            return np.ones_like(z)
        if z.shape[1] == 1:
            return np.concatenate([expit(-z), expit(z)], axis=1)
        return softmax(z, axis=1)

    def _validate(self, X: Any, y: Any, fresh: bool, incremental: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns checked X, and y as `Data` has it, samples first.

        That is the index of each label in `classes_`, `(n_samples, 1)`, or zeros and ones,
        `(n_samples, n_labels)`.
        """
        X, y = self._validated(X, y, fresh)
        # In the first call of `partial_fit` the user names the classes.
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        classes = unique_labels(y)
        if self.warm_start and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if len(np.setdiff1d(classes, self.classes_)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        if self._has_labels():
            if self.class_weight is not None:
                raise ValueError(f"class_weight must be None for several labels, got {self.class_weight!r}")
            return X, np.asarray(self._label_binarizer.transform(y), np.int32)
        return X, np.searchsorted(self.classes_, y).astype(np.int32)[:, None]

    def _has_labels(self) -> bool:
        """Returns whether a sample may have several labels, each of which is an output."""
        binarizer = getattr(self, "_label_binarizer", None)
        return binarizer is not None and binarizer.y_type_.startswith("multilabel")

    def _num_outputs(self, y: np.ndarray) -> int:
        if self._has_labels():
            return y.shape[1]
        return 1 if len(self.classes_) <= 2 else len(self.classes_)

    def _out_activation(self) -> str:
        return "logistic" if self.n_outputs_ == 1 or self._has_labels() else "softmax"

    def _core_loss(self) -> Any:
        return "multilabel_cross_entropy" if self._has_labels() else "auto"

    def _class_weights(self) -> Any:
        if not isinstance(self.class_weight, dict):
            return self.class_weight
        found = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
        # The core has two weights for one output, also where the data have but one class.
        return (*found.tolist(), *[1.0] * (2 - len(found)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@estimator
class RegMLPRegressor(RegressorMixin, RegMLP, Loss):
    """A regressor: scikit-learn's `MLPRegressor`, trained by regjax, with every regulariser.

    The parameters of scikit-learn's `MLPRegressor` have its names, defaults and meanings, and from the same
    `random_state` comes the same network. The activations "gelu", "silu" and "selu" are added. The other
    parameters:

    Args:
        dtype: "float32", "float64", or "auto", which follows X.
        {regularisers}

    docs/regularisers.md has the formulas and sources, docs/scikit-learn.md how to search over them.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.preprocessing import scale
        >>> X, y = load_diabetes(return_X_y=True)
        >>> network = regjax.RegMLPRegressor(
        ...     hidden_layer_sizes=(8,), max_norm=2.0, learning_rate_init=0.05, max_iter=500, random_state=0
        ... )
        >>> bool(network.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.5)
        True
    """

    @available_if(lambda est: est._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Returns the estimator after one more epoch, on these samples.

        Args:
            X: `(n_samples, n_features)`.
            y: `(n_samples,)` or `(n_samples, n_outputs)`.
            sample_weight: `(n_samples,)`, >= 0.

        Raises:
            ValueError: invalid parameters or data; `early_stopping=True`.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Returns the predictions, `(n_samples,)` or `(n_samples, n_outputs)`."""
        found = self._real_values(self._logits(X))
        return found[:, 0] if found.shape[1] == 1 else found

    def predict_samples(self, X: ArrayLike, n_samples: int = 100, random_state: Any = None) -> np.ndarray:
        """Returns what `predict` does, `n_samples` times, with units dropped as in training.

        The shape is `(n_samples, len(X))`, or `(n_samples, len(X), n_outputs)`.

        Args:
            X: samples, `(n, n_features)`.
            n_samples: number of draws; each draws units anew for every sample of X.
            random_state: seed or generator of the draws.

        References:
            Gal & Ghahramani 2016, "Dropout as a Bayesian approximation".
        """
        found = self._real_values(np.stack(self._sampled_logits(X, n_samples, random_state)))
        return found[..., 0] if found.shape[-1] == 1 else found

    def _real_values(self, z: np.ndarray) -> np.ndarray:
        """Returns predictions, of the last layer's pre-activations."""
        return np.exp(z) if self.out_activation_ == "exp" else z

    def _validate(self, X: Any, y: Any, fresh: bool, incremental: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = self._validated(X, y, fresh, y_numeric=True)
        if y.dtype.kind not in "biuf":
            raise TypeError(f"y must hold numbers, got dtype {y.dtype}")
        # lbfgs computes in float64 whatever X is, as in scikit-learn.
        return X, np.asarray(y, None if self.solver == "lbfgs" else X.dtype).reshape(len(y), -1)

    def _num_outputs(self, y: np.ndarray) -> int:
        return y.shape[1]

    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _core_loss(self) -> Any:
        return "poisson" if self.loss == "poisson" else "auto"
