"""The objective of the solver "lbfgs" and its gradient, in NumPy, as a function of one vector.

regjax/sklearn/lbfgs.py minimises it. It is evaluated here, in scikit-learn's order of operations, and not by
the core: L-BFGS amplifies a difference in the last bit to one in the first digits within some hundred
iterations, so any other order leads to another network than scikit-learn's wherever a limit ends the fit
before it converges. The core's compiled objective is at most twice as fast, and compiles first. The tests
hold the two together, so that the certificate of the core's gradient holds for this one.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, xlogy
from scipy.stats import norm

from regjax.core.activations import SELU_ALPHA, SELU_SCALE
from regjax.study.inference import ACTIVATIONS as FUNCTIONS


class Problem(NamedTuple):
    """One network to train; arrays are samples first, as in scikit-learn.

    Attributes:
        x: `(n_samples, n_features)`, dense or sparse.
        y: targets, `(n_samples, n_outputs)`; of classes booleans, or shares of label smoothing.
        weights: `(n_samples,)`, or None for 1.
        start: the parameters that training begins with: weights of all layers, then biases, as one vector.
        sizes: units of each layer.
        activation: scikit-learn's name of the hidden layers' activation, "gelu", "silu" or "selu".
        output: "identity", "exp", "logistic" or "softmax".
        alpha: strength of the penalty on weights.
        activity_l2: strength of the penalty on hidden activations.
        confidence_penalty: strength of the output's negative entropy.
        options: maxfun, maxiter and gtol of SciPy.
        verbose: whether a line is printed after every iteration.
    """

    x: Any
    y: np.ndarray
    weights: np.ndarray | None
    start: np.ndarray
    sizes: tuple[int, ...]
    activation: str
    output: str
    alpha: float
    activity_l2: float
    confidence_penalty: float
    options: dict[str, Any]
    verbose: bool


def unpack(vector: np.ndarray, sizes: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the weights `(fan_in, fan_out)` and the biases `(fan_out,)` of each layer, of one vector."""
    parts = [vector[start:end].reshape(shape) for start, end, shape in _places(sizes)]
    return parts[: len(sizes) - 1], parts[len(sizes) - 1 :]


@functools.lru_cache
def _places(sizes: tuple[int, ...]) -> list[tuple[int, int, tuple[int, ...]]]:
    """Returns where each part of a vector begins and ends, and its shape."""
    shapes = [*itertools.pairwise(sizes), *((size,) for size in sizes[1:])]
    ends = [0, *itertools.accumulate(math.prod(shape) for shape in shapes)]
    return list(zip(ends[:-1], ends[1:], shapes, strict=True))


class Objective:
    """The objective of a problem and its gradient, as a function of one vector of parameters.

    Products, sums and clipped probabilities are scikit-learn's, operation for operation.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.binary = problem.output == "logistic"
        self.total: Any = problem.x.shape[0] if problem.weights is None else problem.weights.sum()

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the objective, and its gradient as one vector like `Problem.start`."""
        p = self.problem
        coefs, intercepts = unpack(vector, p.sizes)
        zs, hidden, found = self._forward(coefs, intercepts)
        value = OUTPUTS[p.output].loss(p.y, found, self._mean)
        squares: Any = sum(np.dot(w.ravel(), w.ravel()) for w in coefs)
        value += (0.5 * p.alpha) * squares / self.total
        if p.confidence_penalty:
            value += p.confidence_penalty * np.sum(self._mean(negative_entropy(found, self.binary)))
        if p.activity_l2:
            value += p.activity_l2 * sum(np.sum(self._mean(a * a)) for a in hidden)
        return value, self._gradient(coefs, zs, hidden, found)

    def _forward(
        self, coefs: list[np.ndarray], intercepts: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Returns pre-activations and activations of the hidden layers, and the network's outputs."""
        p = self.problem
        f = ACTIVATIONS[p.activation].f
        zs, hidden = [], []
        a = p.x
        for w, b in zip(coefs[:-1], intercepts[:-1], strict=True):
            z = a @ w
            z += b
            a = f(z)
            zs.append(z)
            hidden.append(a)
        z = a @ coefs[-1]
        z += intercepts[-1]
        return zs, hidden, OUTPUTS[p.output].f(z)

    def _gradient(
        self, coefs: list[np.ndarray], zs: list[np.ndarray], hidden: list[np.ndarray], found: np.ndarray
    ) -> np.ndarray:
        """Returns the gradient of the objective in the parameters, as one vector."""
        p = self.problem
        weights = 1 if p.weights is None else p.weights[:, None]
        derivative = ACTIVATIONS[p.activation].derivative
        # The derivative of each loss in the last z, behind its own output.
        delta = found - p.y
        if p.confidence_penalty:
            delta += p.confidence_penalty * negative_entropy_gradient(found, self.binary)
        if p.weights is not None:
            delta *= weights
        d_coefs, d_intercepts = [], []
        for w, a, z in zip(coefs[::-1], [p.x, *hidden][::-1], [None, *zs][::-1], strict=True):
            dw = a.T @ delta
            dw += p.alpha * w
            dw /= self.total
            d_coefs.append(dw.ravel())
            d_intercepts.append(np.add.reduce(delta, axis=0) / self.total)
            if z is not None:
                delta = delta @ w.T
                if p.activity_l2:
                    delta += 2 * p.activity_l2 * weights * a
                derivative(z, a, delta)
        return np.concatenate([*d_coefs[::-1], *d_intercepts[::-1]])

    def _mean(self, values: np.ndarray) -> np.ndarray:
        """Returns the weighted mean over samples, `(n_outputs,)`."""
        if self.problem.weights is None:
            return np.add.reduce(values, axis=0) / self.total
        return np.average(values, axis=0, weights=self.problem.weights)


def negative_entropy(p: np.ndarray, binary: bool) -> np.ndarray:
    """Returns p·log p of probabilities, a term per output; of binary outputs with that of 1 - p."""
    return xlogy(p, p) + xlogy(1 - p, 1 - p) if binary else xlogy(p, p)


def negative_entropy_gradient(p: np.ndarray, binary: bool) -> np.ndarray:
    """d/dz: p·(log p + H), or p·(1 - p)·z of binary outputs."""
    if binary:
        return xlogy(p * (1 - p), p) - xlogy(p * (1 - p), 1 - p)
    terms = xlogy(p, p)
    return terms - p * terms.sum(axis=1)[:, None]


class Activation(NamedTuple):
    """An activation of hidden layers.

    Attributes:
        f: z -> a; it may write a into z.
        derivative: (z, a, delta) -> None; it multiplies delta by da/dz in place.
    """

    f: Callable[[np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]


def _logistic_derivative(z: np.ndarray, a: np.ndarray, delta: np.ndarray) -> None:
    delta *= a
    delta *= 1 - a


ACTIVATIONS = {
    "identity": Activation(lambda z: z, lambda z, a, delta: None),
    "logistic": Activation(lambda z: expit(z, out=z), _logistic_derivative),
    "tanh": Activation(
        lambda z: np.tanh(z, out=z), lambda z, a, delta: np.multiply(delta, 1 - a**2, out=delta)
    ),
    "relu": Activation(
        lambda z: np.maximum(z, 0, out=z), lambda z, a, delta: np.copyto(delta, 0, where=a == 0)
    ),
    "gelu": Activation(
        FUNCTIONS["gelu"],
        lambda z, a, delta: np.multiply(delta, norm.cdf(z) + z * norm.pdf(z), out=delta),
    ),
    "silu": Activation(
        FUNCTIONS["silu"],
        lambda z, a, delta: np.multiply(delta, expit(z) + a * (1 - expit(z)), out=delta),
    ),
    "selu": Activation(
        FUNCTIONS["selu"],
        lambda z, a, delta: np.multiply(
            delta, np.where(z > 0, SELU_SCALE, a + SELU_SCALE * SELU_ALPHA).astype(z.dtype), out=delta
        ),
    ),
}

Mean = Callable[[np.ndarray], np.ndarray]


class Output(NamedTuple):
    """What the last layer's pre-activations become, `f(z)`, and the loss `loss(y, found, mean)` of that.

    Attributes:
        f: `(n_samples, n_outputs)`, of the same shape.
        loss: a number; `mean` returns the weighted mean over samples, `(n_outputs,)`.
    """

    f: Callable[[np.ndarray], np.ndarray]
    loss: Callable[[np.ndarray, np.ndarray, Mean], Any]


def _softmax(z: np.ndarray) -> np.ndarray:
    found = np.exp(z - z.max(axis=1)[:, None])
    found /= found.sum(axis=1)[:, None]
    return found


def _squared_error(y: np.ndarray, found: np.ndarray, mean: Mean) -> Any:
    # The mean over outputs, where the gradient is that of their sum: so it is in scikit-learn.
    return 0.5 * mean((y - found) ** 2).mean()


def _poisson(y: np.ndarray, found: np.ndarray, mean: Mean) -> Any:
    return mean(xlogy(y, y / found) - y + found).sum()


def _binary_cross_entropy(y: np.ndarray, found: np.ndarray, mean: Mean) -> Any:
    p = _clipped(found)
    return -mean(xlogy(y, p) + xlogy(1 - y, 1 - p)).sum()


def _cross_entropy(y: np.ndarray, found: np.ndarray, mean: Mean) -> Any:
    return -mean(xlogy(y, _clipped(found))).sum()


def _clipped(p: np.ndarray) -> np.ndarray:
    eps = np.finfo(p.dtype).eps
    return np.clip(p, eps, 1 - eps)


OUTPUTS = {
    "identity": Output(lambda z: z, _squared_error),
    "exp": Output(np.exp, _poisson),
    "logistic": Output(expit, _binary_cross_entropy),
    "softmax": Output(_softmax, _cross_entropy),
}
