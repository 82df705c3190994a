"""The solver "lbfgs": one network, or many beside one another, trained by SciPy's L-BFGS-B.

`RegMLP._fit` calls `fit_lbfgs`, and the searches `fit_many`; `Parameters._check` calls `check_lbfgs`.

The objective is that of smooth.py, and SciPy's settings are scikit-learn's: from the same `random_state`
comes the same network, to the bit.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from sklearn.utils import check_random_state
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight
from threadpoolctl import ThreadpoolController

from regjax.core.hparams import HYPERPARAMETERS
from regjax.core.mlp import Layer
from regjax.core.numpy_random import draw_weights
from regjax.sklearn.smooth import Objective, Problem, unpack

# Fits that are made ready for each thread: their targets take memory.
AHEAD = 4
# Products of two numbers in a forward pass from which one fit gains by several threads of BLAS.
LARGE = 10**8


def check_lbfgs(network: Any) -> None:
    """Raises ValueError for a regulariser that lbfgs cannot honour.

    It minimises a smooth function of the parameters. What draws at random, acts in a step, or averages steps
    is none, and the kink of l1 ends its line search.
    """
    for name, declared in HYPERPARAMETERS.items():
        if name != "l1" and declared.place in ("", "loss", "penalties"):
            continue
        value = getattr(network, declared.sklearn) if declared.sklearn else None
        if value is not None and np.any(np.asarray(declared.from_sklearn(value)) != declared.off):
            off = "None" if declared.meaning == "bound" else "0"
            raise ValueError(
                f"{declared.sklearn} must be {off} with solver 'lbfgs', got {value!r}: lbfgs minimises a "
                "smooth function of the weights; take solver 'adam' or 'sgd'"
            )


def fit_lbfgs(network: Any, X: np.ndarray, y: np.ndarray, sample_weight: Any, fresh: bool) -> None:
    """Trains a network on checked samples, and writes its attributes.

    Args:
        network: a `RegMLP`.
        X: `(n_samples, n_features)`, dense or sparse.
        y: as `RegMLP._validate` returns it.
        sample_weight: `(n_samples,)` as the user gave it, or None.
        fresh: whether initial weights are drawn; otherwise training goes on from those that are there.

    Raises:
        ValueError: a regulariser that lbfgs cannot honour; weights that are not finite after training.
    """
    problem = make_problem(network, X, y, sample_weight, fresh)
    products = X.shape[0] * sum(a * b for a, b in itertools.pairwise(problem.sizes))
    with one_thread if products < LARGE else contextlib.nullcontext():
        found = solve(problem)
    adopt(network, problem, found)


class Fit(NamedTuple):
    """One network to fit, and the arguments of its `fit`.

    Attributes:
        network: a `RegMLP` with solver "lbfgs", which is fitted in place.
        X: `(n_samples, n_features)`.
        y: targets.
        sample_weight: `(n_samples,)`, or None.
    """

    network: Any
    X: Any
    y: Any
    sample_weight: Any = None


class Outcome(NamedTuple):
    """What has become of one fit.

    Attributes:
        error: the error that `fit` would raise, or None.
        seconds: time of the minimisation.
    """

    error: Exception | None
    seconds: float


def fit_many(fits: Iterable[Fit], *, workers: int) -> list[Outcome]:
    """Returns the outcome of each fit, in order; the networks are then those of `fit`, to the bit.

    Each is minimised by itself, in one of `workers` threads: NumPy and SciPy release Python's lock in what
    takes long. A compiled loop over all networks at once, optax's lbfgs under `vmap`, takes 15 times as long
    on breast_cancer: every step waits for the longest line search. Nor are its scores scikit-learn's.

    Args:
        fits: networks and their samples, taken from the iterator a few ahead of those that are done.
        workers: number of threads, at least 1.
    """
    stop, outcomes = threading.Event(), cast(list[Outcome], [])
    running: collections.deque[Any] = collections.deque()
    with one_thread, ThreadPoolExecutor(workers) as pool:
        try:
            # What may warn runs in this thread, because filters of warnings hold for one thread at a time.
            for fit in fits:
                running.append((fit, *_begin(pool, fit, stop)))
                if len(running) > AHEAD * workers:
                    outcomes.append(_end(*running.popleft()))
            return outcomes + [_end(*some) for some in running]
        except BaseException:  # as Ctrl-C: those that run end at their next evaluation, others do not begin
            stop.set()
            raise


def _begin(pool: ThreadPoolExecutor, fit: Fit, stop: threading.Event) -> tuple[Any, Any]:
    """Returns the problem of a fit and the future of its solution, or None and the error of bad input."""
    network = fit.network
    try:
        network._validate_params()
        fresh = not (network.warm_start and hasattr(network, "coefs_"))
        X, y = network._validate(fit.X, fit.y, fresh, False)
        problem = make_problem(network, X, y, fit.sample_weight, fresh)
    except Exception as error:
        return None, error
    return problem, pool.submit(_timed, problem, stop)


def _timed(problem: Problem, stop: threading.Event) -> tuple[OptimizeResult, float]:
    began = time.perf_counter()
    return solve(problem, stop), time.perf_counter() - began


def _end(fit: Fit, problem: Problem | None, found: Any) -> Outcome:
    """Returns the outcome of a fit, and writes the attributes of its network."""
    if problem is None:
        return Outcome(found, 0.0)
    seconds = 0.0
    try:
        result, seconds = found.result()
        adopt(fit.network, problem, result)
        fit.network._check_finite()
    except Exception as error:
        return Outcome(error, seconds)
    return Outcome(None, seconds)


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


def solve(problem: Problem, stop: threading.Event | None = None) -> OptimizeResult:
    """Returns SciPy's result of the minimisation, with scikit-learn's settings.

    Args:
        problem: the network to train.
        stop: event that ends the minimisation with an InterruptedError, from another thread.
    """
    iterations, objective = itertools.count(1), Objective(problem)

    def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
        if stop is not None and stop.is_set():
            raise InterruptedError
        return objective(vector)

    def report(intermediate_result: OptimizeResult) -> None:
        print(f"Iteration {next(iterations)}, loss = {intermediate_result.fun:.8f}")

    return minimize(
        evaluate, problem.start, jac=True, method="L-BFGS-B",
        options=problem.options, callback=report if problem.verbose else None,
    )  # fmt: skip


class _OneThread:
    """A context in which BLAS takes one thread, whichever threads enter and leave it.

    Small products are slower on several: up to fifty times where other programs want the cores. The number
    is that of the whole process, so the first to enter lowers it, and the last to leave restores it.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.controller = functools.cache(ThreadpoolController)  # to find the libraries takes milliseconds

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.limited = self.controller().limit(limits=1, user_api="blas")

    def __exit__(self, *_: Any) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.limited.restore_original_limits()


one_thread = _OneThread()


def adopt(network: Any, problem: Problem, result: OptimizeResult) -> None:
    """Writes the attributes of a fitted network; warns and raises as scikit-learn does."""
    network.n_iter_ = _check_optimize_result("lbfgs", result, network.max_iter)
    network.loss_ = result.fun
    network.n_layers_ = len(problem.sizes)
    network.out_activation_ = problem.output
    layers: Any = zip(*unpack(result.x, problem.sizes), strict=True)
    network._adopt([Layer(w.T, b[:, None]) for w, b in layers])
