"""The solver "lbfgs": one network, or many beside one another, trained by SciPy's L-BFGS-B.

`RegMLP._fit` calls `fit_lbfgs`, and the searches `fit_many`; `Parameters._check` calls `check_lbfgs`.

The objective is evaluated here, in NumPy and in scikit-learn's order of operations, and not by the core:
L-BFGS amplifies a difference in the last bit to one in the first digit within a hundred iterations, so that
any other order would lead to another network than scikit-learn's wherever max_iter ends the fit. For networks
of this size it is also faster than a compiled program, which would be called once per evaluation. The tests
hold it against the core's objective and its certified gradient.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit, xlogy
from scipy.stats import norm
from sklearn.utils import check_random_state
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight
from threadpoolctl import ThreadpoolController

from regjax.core.hparams import HYPERPARAMETERS
from regjax.core.mlp import Layer
from regjax.core.numpy_random import draw_weights
from regjax.study.inference import ACTIVATIONS as FUNCTIONS


class Problem(NamedTuple):
    """One network to train; arrays are samples first, as in scikit-learn.

    Attributes:
        x: `(n_samples, n_features)`.
        y: targets, `(n_samples, n_outputs)`; of classes booleans, or shares of label smoothing.
        weights: `(n_samples,)`, or None for 1.
        start: the parameters that training begins with: weights of all layers, then biases, as one vector.
        sizes: units of each layer.
        activation: scikit-learn's name of the hidden layers' activation, or "gelu".
        output: "identity", "exp", "logistic" or "softmax".
        alpha: strength of the penalty on weights.
        activity_l2: strength of the penalty on hidden activations.
        confidence_penalty: strength of the output's negative entropy.
        options: maxfun, maxiter and gtol of SciPy.
        verbose: whether a line is printed after every iteration.
    """

    x: np.ndarray
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


def check_lbfgs(network: Any) -> None:
    """Raises ValueError for a regulariser that lbfgs cannot honour.

    It minimises a smooth function of the parameters. What draws at random, acts in a step, or averages steps
    is none, and the kink of l1 ends its line search.
    """
    for name, declared in HYPERPARAMETERS.items():
        value = getattr(network, declared.sklearn, None) if declared.sklearn else None
        if (
            value is None
            or declared.place in ("", "loss")
            or (declared.place == "penalties" and name != "l1")
        ):
            continue
        if np.any(np.asarray(declared.from_sklearn(value)) != declared.off):
            off = "None" if declared.meaning == "bound" else "0"
            raise ValueError(
                f"{declared.sklearn} must be {off} with solver 'lbfgs', got {value!r}: lbfgs minimises a "
                "smooth function of the weights, take solver 'adam' or 'sgd'"
            )


def check_stochastic(network: Any) -> bool:
    """Returns True where a network can be fitted epoch by epoch; else raises AttributeError."""
    if network.solver == "lbfgs":
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {network.solver} is not stochastic."
        )
    return True


def fit_lbfgs(network: Any, X: np.ndarray, y: np.ndarray, sample_weight: Any, fresh: bool) -> None:
    """Trains a network on checked samples, and writes its attributes.

    Args:
        network: a `RegMLP`.
        X: `(n_samples, n_features)`.
        y: as `RegMLP._validate` returns it.
        sample_weight: `(n_samples,)` as the user gave it, or None.
        fresh: whether initial weights are drawn; otherwise training goes on from those that are there.

    Raises:
        ValueError: a regulariser that lbfgs cannot honour; weights that are not finite after training.
    """
    problem = make_problem(network, X, y, sample_weight, fresh)
    adopt(network, problem, solve(problem))


def make_problem(network: Any, X: np.ndarray, y: np.ndarray, sample_weight: Any, fresh: bool) -> Problem:
    """Returns what is to be minimised; arguments and errors as in `fit_lbfgs`."""
    check_lbfgs(network)
    weights: Any = None
    if sample_weight is not None:
        weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    network.n_outputs_ = network._num_outputs(y)
    output = network._out_activation()
    if output == "softmax":
        y = y == np.arange(network.n_outputs_)
    elif output == "logistic":
        y = y.astype(bool)
    weights = _weighed(network, y, weights)
    smoothing = getattr(network, "label_smoothing", 0)
    if smoothing:  # a cross-entropy is linear in its targets
        y = (1 - smoothing) * y + smoothing / (y.shape[1] if output == "softmax" else 2)
    sizes = (X.shape[1], *network._hidden(), network.n_outputs_)
    if fresh:
        random = check_random_state(network.random_state)
        drawn: Any = draw_weights(random, sizes, network.activation == "logistic", X.dtype)
        parts = [w.T for w, _ in drawn] + [b for _, b in drawn]
        network.t_ = 0
    else:
        parts = [*network.coefs_, *network.intercepts_]
    return Problem(
        X, y, weights, np.concatenate([part.ravel() for part in parts]), sizes, network.activation, output,
        network.alpha, network.activity_l2, getattr(network, "confidence_penalty", 0),
        {"maxfun": network.max_fun, "maxiter": network.max_iter, "gtol": network.tol}, bool(network.verbose),
    )  # fmt: skip


def _weighed(network: Any, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
    """Returns the weights of the samples times those of their classes, with their sum kept."""
    of_class = network._class_weights()
    if of_class is None:
        return weights
    weights = np.ones(len(y)) if weights is None else weights.astype(np.float64)
    belongs = y if y.shape[1] > 1 else np.concatenate([~y, y], axis=1)
    totals: Any = weights @ belongs
    if isinstance(of_class, str):  # balanced
        of_class = np.where(totals > 0, 1 / np.where(totals > 0, totals, 1), 0)
    found = weights * (belongs @ np.asarray(of_class, np.float64))
    return found * (np.sum(weights) / np.sum(found)) if np.any(found) else found


def solve(problem: Problem) -> OptimizeResult:
    """Returns SciPy's result of the minimisation, with scikit-learn's settings."""
    iterations = itertools.count(1)

    def report(intermediate_result: OptimizeResult) -> None:
        print(f"Iteration {next(iterations)}, loss = {intermediate_result.fun:.8f}")

    # Products this small are slower on several threads of BLAS, up to twenty times on a busy machine.
    with _blas().limit(limits=1, user_api="blas"):
        return minimize(
            Objective(problem), problem.start, jac=True, method="L-BFGS-B",
            options=problem.options, callback=report if problem.verbose else None,
        )  # fmt: skip


@functools.cache
def _blas() -> ThreadpoolController:
    """Returns the handle of the loaded BLAS libraries; to find them takes milliseconds."""
    return ThreadpoolController()


def adopt(network: Any, problem: Problem, result: OptimizeResult) -> None:
    """Writes the attributes of a fitted network; warns and raises as scikit-learn does."""
    network.n_iter_ = _check_optimize_result("lbfgs", result, network.max_iter)
    network.loss_ = result.fun
    network.n_layers_ = len(problem.sizes)
    network.out_activation_ = problem.output
    params: Any = [Layer(w.T, b[:, None]) for w, b in zip(*unpack(result.x, problem.sizes), strict=True)]
    network._adopt(params)


def unpack(vector: np.ndarray, sizes: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the weights `(fan_in, fan_out)` and the biases `(fan_out,)` of each layer, of one vector."""
    shapes = [*itertools.pairwise(sizes), *((size,) for size in sizes[1:])]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = [v.reshape(shape) for v, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]
    return parts[: len(sizes) - 1], parts[len(sizes) - 1 :]


class Objective:
    """The objective of a problem and its gradient, as a function of one vector of parameters.

    Products, sums and clipped probabilities are scikit-learn's, operation for operation.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.binary = problem.output == "logistic"
        self.total: Any = len(problem.x) if problem.weights is None else problem.weights.sum()

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
        for w, b in zip(coefs, intercepts, strict=True):
            z = a @ w
            z += b
            if len(hidden) < len(coefs) - 1:
                a = f(z)
                zs.append(z)
                hidden.append(a)
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
            d_intercepts.append(np.sum(delta, axis=0) / self.total)
            if z is not None:
                delta = delta @ w.T
                if p.activity_l2:
                    delta += 2 * p.activity_l2 * weights * a
                derivative(z, a, delta)
        return np.concatenate([*d_coefs[::-1], *d_intercepts[::-1]])

    def _mean(self, values: np.ndarray) -> np.ndarray:
        """Returns the weighted mean over samples, `(n_outputs,)`."""
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
    """An activation of hidden layers `f(z)`; `derivative(z, a, delta)` multiplies delta by da/dz in place."""

    f: Callable[[np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]


def _logistic_derivative(z: np.ndarray, a: np.ndarray, delta: np.ndarray) -> None:
    delta *= a
    delta *= 1 - a


ACTIVATIONS = {
    "identity": Activation(lambda z: z, lambda z, a, delta: None),
    "logistic": Activation(expit, _logistic_derivative),
    "tanh": Activation(np.tanh, lambda z, a, delta: np.multiply(delta, 1 - a**2, out=delta)),
    "relu": Activation(lambda z: np.maximum(z, 0), lambda z, a, delta: np.copyto(delta, 0, where=a == 0)),
    "gelu": Activation(
        FUNCTIONS["gelu"],
        lambda z, a, delta: np.multiply(delta, norm.cdf(z) + z * norm.pdf(z), out=delta),
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
