"""The opponents that `table` times: regjax, NumPy, scikit-learn, and those of the other files."""

from __future__ import annotations

import functools
import importlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

import regjax
from benchmarks.problems import Params, Prepared, Problem, Rows
from regjax.study.groups import Kernel

# Set before PyTorch is imported: its cache would hide the seconds of compiling.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"


class Opponent(NamedTuple):
    """How an opponent is prepared.

    Attributes:
        prepare: `(problem, rows) → Prepared`, None where it cannot do what the problem asks.
        at_a_time: networks that a call trains; more take proportionally longer, so that they are not
            measured. None is any number.
        needs: the distribution that must be installed, or "".
        quick: whether `--quick` times it too.
    """

    prepare: Callable[[Problem, Rows], Prepared | None]
    at_a_time: int | None
    needs: str = ""
    quick: bool = True


def sweep(
    x: np.ndarray,
    y: np.ndarray,
    layer_sizes: tuple[int, ...],
    batch_size: int | None,
    axes: dict[str, list[float]],
    seeds: int,
    steps: int,
    **options: Any,
) -> regjax.Results:
    """Returns a sweep that records the loss alone, at its first and last step: the others record nothing."""
    config = regjax.Config(
        layer_sizes=layer_sizes, batch_size=batch_size, num_steps=steps, eval_every=steps, metrics=()
    )
    return regjax.sweep((x, y), config, regjax.grid(**axes), seeds=seeds, progress=False, **options)


def regjax_sweep(problem: Problem, rows: Rows, kernel: Kernel | None = None) -> Prepared:
    """`regjax.sweep`, which also plans; `kernel` None is the fastest that JAX's device has."""
    kernel = kernel or ("native" if jax.default_backend() == "cpu" else "auto")
    run = functools.partial(
        sweep, problem.x, problem.y, problem.layer_sizes, problem.batch_size, rows.axes, rows.seeds,
        standardize=False, kernel=kernel,
    )  # fmt: skip

    def params(results: regjax.Results) -> Params:
        found = [results.params(row) for row in range(len(results))]
        return [
            (np.stack([layer.w for layer in layers]), np.stack([layer.b[:, 0] for layer in layers]))
            for layers in zip(*found, strict=True)
        ]

    return Prepared(run, params)


def numpy_loop(problem: Problem, rows: Rows) -> Prepared:
    """The tutorial's way: features first, forward and backward by hand, one network after the other."""
    n = len(problem.x)
    x, one_output = problem.x.T.copy(), problem.layer_sizes[-1] == 1
    size = problem.batch_size or n
    y = (
        problem.y[None, :].astype(np.float32)
        if one_output
        else np.eye(problem.layer_sizes[-1], dtype=np.float32)[problem.y].T
    )

    def train(network: int, steps: int) -> list[list[np.ndarray]]:
        random = np.random.default_rng(network)
        rate, l2, keep = (v[network] for v in (rows.learning_rate, rows.l2, rows.keep_prob))
        layers = [[w[network].copy(), b[network][:, None].copy()] for w, b in rows.params]
        last, x_epoch, y_epoch = len(layers) - 1, x, y
        for step in range(steps):
            xs, ys = x, y
            if problem.batch_size is not None:
                place = step % problem.num_batches
                if place == 0:
                    order = random.permutation(n)
                    x_epoch, y_epoch = x[:, order], y[:, order]
                chosen = slice(place * size, (place + 1) * size)
                xs, ys = x_epoch[:, chosen], y_epoch[:, chosen]
            values, masks = [xs], []
            for w, b in layers[:-1]:
                a = np.maximum(w @ values[-1] + b, 0)
                if problem.keep_prob is not None:
                    masks.append((random.random(a.shape, np.float32) < keep) / keep)
                    a *= masks[-1]
                values.append(a)
            z = layers[-1][0] @ values[-1] + layers[-1][1]
            if one_output:
                delta = expit(z) - ys
            else:
                exp = np.exp(z - z.max(axis=0))
                delta = exp / exp.sum(axis=0) - ys
            delta /= np.float32(size)
            for i in range(last, -1, -1):
                w, b = layers[i]
                dw, db = delta @ values[i].T + l2 / n * w, delta.sum(axis=1, keepdims=True)
                if i:
                    delta = (w.T @ delta) * (values[i] > 0)
                    if masks:
                        delta *= masks[i - 1]
                w -= rate * dw
                b -= rate * db
        return layers

    def run(steps: int) -> list[list[list[np.ndarray]]]:
        return [train(network, steps) for network in range(len(rows.l2))]

    def params(found: list[list[list[np.ndarray]]]) -> Params:
        return [
            (np.stack([w for w, _ in layers]), np.stack([b[:, 0] for _, b in layers]))
            for layers in zip(*found, strict=True)
        ]

    return Prepared(run, params)


def _mlp_classifier(problem: Problem, rows: Rows, network: int) -> Any:
    """Returns scikit-learn's network for a row; it begins with the row's parameters."""
    from sklearn.neural_network import MLPClassifier

    class Begun(MLPClassifier):
        """`MLPClassifier` from given parameters, so that all reach the same cost."""

        def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
            drawn = super()._init_coef(fan_in, fan_out, dtype)
            shapes = [(w.shape[2], w.shape[1]) for w, _ in rows.params]
            w, b = rows.params[shapes.index((fan_in, fan_out))]
            return w[network].T.astype(drawn[0].dtype), b[network].astype(drawn[1].dtype)

    size: Any = problem.batch_size or len(problem.x)
    return Begun(
        problem.layer_sizes[1:-1],
        solver="sgd",
        momentum=0.0,
        nesterovs_momentum=False,
        batch_size=size,
        alpha=float(rows.l2[network]) * size / len(problem.x),  # it divides by the batch size
        learning_rate_init=float(rows.learning_rate[network]),
        tol=0.0,
        n_iter_no_change=10**9,
        shuffle=problem.batch_size is not None,
        random_state=0,
    )


def _epochs(problem: Problem, steps: int) -> int:
    return -(-steps // problem.num_batches)


def _steps_done(problem: Problem, steps: int) -> int:
    return _epochs(problem, steps) * problem.num_batches


def sklearn_alone(problem: Problem, rows: Rows) -> Prepared | None:
    """`MLPClassifier.fit`, one network after the other."""
    if problem.keep_prob is not None:
        return None

    def run(steps: int) -> list[Any]:
        networks = [_mlp_classifier(problem, rows, network) for network in range(len(rows.l2))]
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return [
                net.set_params(max_iter=_epochs(problem, steps)).fit(problem.x, problem.y) for net in networks
            ]

    def params(networks: list[Any]) -> Params:
        return [
            (np.stack([n.coefs_[i].T for n in networks]), np.stack([n.intercepts_[i] for n in networks]))
            for i in range(len(problem.layer_sizes) - 1)
        ]

    return Prepared(run, params, functools.partial(_steps_done, problem))


def sklearn_search(problem: Problem, rows: Rows) -> Prepared | None:
    """`GridSearchCV(MLPClassifier, n_jobs=-1)` of as many candidates, one split, all samples train."""
    if problem.keep_prob is not None or len(rows.l2) < 16:
        return None
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    like = [_mlp_classifier(problem, rows, network).get_params() for network in range(len(rows.l2))]
    grid = [{name: [asked[name]] for name in ("alpha", "learning_rate_init")} for asked in like]
    every = np.arange(len(problem.x))

    def run(steps: int) -> Any:
        network = MLPClassifier(**like[0] | {"max_iter": _epochs(problem, steps)})
        search = GridSearchCV(
            network, grid, n_jobs=-1, cv=[(every, every[:4])], refit=False, error_score=cast(Any, "raise")
        )
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return search.fit(problem.x, problem.y)

    # It keeps no parameters; its networks are those of `sklearn_alone`, from their own draws.
    return Prepared(run, None, functools.partial(_steps_done, problem))


def _elsewhere(module: str, name: str) -> Callable[[Problem, Rows], Prepared | None]:
    """Returns a function of a module that is imported when it is called: its library may be missing."""

    def prepare(problem: Problem, rows: Rows) -> Prepared | None:
        return getattr(importlib.import_module(f"benchmarks.{module}"), name)(problem, rows)

    return prepare


def _torch(name: str) -> Callable[[Problem, Rows], Prepared | None]:
    """Returns PyTorch's way, on JAX's kind of device; on a CPU with one thread where that is faster.

    All networks in one compiled graph have a thread per core, which was never slower.
    """
    chosen: dict[tuple[str, int], int] = {}  # by problem and networks

    def prepare(problem: Problem, rows: Rows) -> Prepared | None:
        import torch

        from benchmarks import torch_opponents

        on = "cuda" if jax.default_backend() == "gpu" else "cpu"
        if on == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("this build of PyTorch has no CUDA")
        make = {
            "eager": torch_opponents.eager,
            "compiled": torch_opponents.compiled,
            "vmapped": torch_opponents.vmapped,
            "vmapped, compiled": functools.partial(torch_opponents.vmapped, compiled=True),
        }[name]
        threads, began = len(os.sched_getaffinity(0)), time.perf_counter()
        if on == "cpu" and name != "vmapped, compiled":
            tried_with = rows.first(256)  # more networks take long to try, and choose the same
            key = problem.name, len(tried_with.l2)
            if key not in chosen:
                # Compiled code is tried as it is before: else it would be compiled once more for each try.
                tried = torch_opponents.eager if name == "compiled" else make
                chosen[key] = torch_opponents.best_threads(
                    functools.partial(tried, problem, tried_with, on), seconds=0.1
                )
            threads = chosen[key]
        torch.set_num_threads(threads)
        choosing = time.perf_counter() - began
        prepared = make(problem, rows, on)

        def run(steps: int) -> Any:
            torch.set_num_threads(threads)
            return prepared.run(steps)

        return prepared._replace(run=run, choosing=choosing)

    return prepare


# Networks of a call of an opponent that trains several side by side: enough to keep all cores busy.
SEVERAL = max(16, 4 * len(os.sched_getaffinity(0)))
OPPONENTS = {
    "regjax": Opponent(regjax_sweep, None),
    "regjax by XLA": Opponent(functools.partial(regjax_sweep, kernel="xla"), None, quick=False),
    "NumPy": Opponent(numpy_loop, 1),
    "scikit-learn": Opponent(sklearn_alone, 1, quick=False),
    "GridSearchCV": Opponent(sklearn_search, SEVERAL, quick=False),
    "PyTorch": Opponent(_torch("eager"), 1, "torch", quick=False),
    "torch.compile": Opponent(_torch("compiled"), 1, "torch", quick=False),
    "torch.func.vmap": Opponent(_torch("vmapped"), None, "torch"),
    "torch.compile(vmap)": Opponent(_torch("vmapped, compiled"), None, "torch", quick=False),
    "Equinox": Opponent(_elsewhere("equinox_opponent", "equinox"), None, "equinox", quick=False),
    "Flax NNX": Opponent(_elsewhere("nnx_opponent", "flax_nnx"), None, "flax"),
    "naive JAX": Opponent(_elsewhere("naive", "naive"), None),
    "loop in C": Opponent(_elsewhere("limits", "hand_written"), SEVERAL),
}
