"""What searches in `bench_tune`: `regjax.tune`, scikit-learn's halving, Optuna, and random search by hand.

An opponent is prepared (imports, processes, one short training for its pace), and then the clock starts. Each
searches the space of `regjax.tune`, as far as it has the regularisers, trains its best configuration on all
rows that it was given, and predicts the test rows. scikit-learn has l2 alone; PyTorch's networks have all of
them. Those train with AdamW in batches of 128, as many steps as `regjax.tune`, hold out a quarter of the rows
to choose by, and take the best epoch.
"""

from __future__ import annotations

import concurrent.futures
import functools
import importlib
import math
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.tune_tables import Problem
from regjax.study.plan import default_workers

# The default space of `regjax.tune`; each regulariser is off in half of the candidates.
LEARNING_RATE, WIDTHS = (0.001, 0.03), (16, 64)
STRENGTHS = {
    "l2": ("log", 0.01, 30.0),
    "l1": ("log", 0.01, 10.0),
    "weight_decay": ("log", 0.001, 1.0),
    "keep_prob": ("uniform", 0.4, 0.95),
    "input_keep_prob": ("uniform", 0.6, 0.95),
}
BATCH, EPOCHS, STEPS = 128, 40, 900
HELD_OUT = 0.25
# Those that this process may use: `taskset -c 0` leaves each opponent one.
CORES = default_workers()
# Epochs between two reports to a pruner.
REPORT_EVERY = 4


class Found(NamedTuple):
    """What a search found.

    Attributes:
        predicted: predictions of the test rows: numbers of classes, or real values.
        tried: number of distinct configurations.
        networks: number of networks that were trained, pruned ones too.
        best: the configuration, in words.
    """

    predicted: np.ndarray
    tried: int
    networks: int
    best: str


Search = Callable[[float], Found]  # seconds -> what was found in them


# -- regjax -----------------------------------------------------------------------------------------------


def tune(problem: Problem, train: np.ndarray, test: np.ndarray, seed: int) -> Search:
    """Returns the search of `regjax.tune`, which gets the table as it is."""
    regjax: Any = importlib.import_module("regjax")

    def search(seconds: float) -> Found:
        found = regjax.tune(
            problem.frame.iloc[train].reset_index(drop=True),
            target=problem.target, task="regression" if problem.real else "classification",
            budget=f"{seconds:g}s", progress=False,
        )  # fmt: skip
        predicted = found.model.predict(problem.frame.iloc[test].drop(columns=[problem.target]))
        if not problem.real:
            classes = np.unique(problem.frame[problem.target].to_numpy(str))
            predicted = np.searchsorted(classes, np.asarray(predicted).astype(str))
        best = ", ".join(f"{name}={value}" for name, value in found.chosen.items())
        return Found(np.asarray(predicted).reshape(len(test)), found.num_candidates, found.num_networks, best)

    return search


# -- scikit-learn -----------------------------------------------------------------------------------------


class OffOr:
    """A distribution for `ParameterSampler` that is 0 in half of its draws."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def rvs(self, random_state: Any = None) -> float:
        """Returns a draw."""
        drawn = math.exp(random_state.uniform(math.log(self.low), math.log(self.high)))
        return drawn if random_state.uniform() < 0.5 else 0.0


def halving(problem: Problem, train: np.ndarray, test: np.ndarray, seed: int) -> Search:
    """Returns a search by HalvingRandomSearchCV over MLPClassifier or MLPRegressor, on all cores.

    With its default resource, rows, and three folds, so that more candidates fit. It has no budget of time:
    the number of candidates follows from a search of 9, which is not counted.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # it makes the import below work
    from sklearn.model_selection import HalvingRandomSearchCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    features, encoder = problem.prepared()
    network: Any = MLPClassifier(random_state=seed)
    prefix = "network__"
    if problem.real:
        network = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
        prefix += "regressor__"
    low, high = LEARNING_RATE
    space = {
        f"{prefix}alpha": OffOr(*STRENGTHS["l2"][1:]),
        f"{prefix}learning_rate_init": _LogUniform(low, high),
        f"{prefix}hidden_layer_sizes": [(width,) for width in WIDTHS],
    }

    options: Any = {"cv": 3, "n_jobs": CORES, "random_state": seed, "error_score": -math.inf}
    options["scoring"] = "r2" if problem.real else "accuracy"

    def searched(num: int) -> Any:
        pipeline = Pipeline([("columns", encoder), ("network", network)])
        found = HalvingRandomSearchCV(pipeline, space, **(options | {"n_candidates": num}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of networks that have not converged
            return found.fit(features.iloc[train], problem.y[train])

    searched(3)  # starts the worker processes
    began = time.perf_counter()
    searched(9)
    pace = (time.perf_counter() - began) / 9

    def search(seconds: float) -> Found:
        found = searched(max(3, round(seconds / pace)))
        results = found.cv_results_
        tried = len({str(params) for params in results["params"]})
        return Found(
            found.predict(features.iloc[test]), tried, len(results["params"]) * 3 + 1, str(found.best_params_)
        )

    return search


class _LogUniform(OffOr):
    def rvs(self, random_state: Any = None) -> float:
        return math.exp(random_state.uniform(math.log(self.low), math.log(self.high)))


# -- PyTorch ----------------------------------------------------------------------------------------------


class Samples(NamedTuple):
    """Inputs `(n, inputs)` float32, and targets: classes as int64, or standardised real values, float32."""

    x: np.ndarray
    y: np.ndarray


class Prepared(NamedTuple):
    """The rows of a problem for PyTorch.

    Attributes:
        fit: rows that candidates train on.
        val: rows that they are chosen by.
        whole: both.
        x_test: inputs of the test rows.
        num_outputs: units of the output.
        mean: of the targets of a regression.
        scale: of the same.
    """

    fit: Samples
    val: Samples
    whole: Samples
    x_test: np.ndarray
    num_outputs: int
    mean: float
    scale: float


def prepare(problem: Problem, train: np.ndarray, test: np.ndarray, seed: int) -> Prepared:
    """Returns the rows of a problem for PyTorch; a quarter of the training rows is held out."""
    from sklearn.model_selection import train_test_split

    features, encoder = problem.prepared()
    x = np.asarray(encoder.fit_transform(features.iloc[train]), np.float32)
    y, mean, scale = problem.y[train], 0.0, 1.0
    if problem.real:
        mean, scale = float(np.mean(y)), float(np.std(y))
        y = ((y - mean) / scale).astype(np.float32)
    fit, val = train_test_split(
        np.arange(len(y)), test_size=HELD_OUT, random_state=seed, stratify=None if problem.real else y
    )
    parts = (Samples(x[fit], y[fit]), Samples(x[val], y[val]), Samples(x, y))
    x_test = np.asarray(encoder.transform(features.iloc[test]), np.float32)
    return Prepared(*parts, x_test, 1 if problem.real else int(problem.y.max()) + 1, mean, scale)


class Network(NamedTuple):
    """A training: `epochs` yields the score on the held-out rows after each; `predict` takes inputs."""

    epochs: Iterator[float]
    predict: Callable[[np.ndarray], np.ndarray]


def network(params: dict[str, Any], data: Samples, val: Samples, num_outputs: int, seed: int) -> Network:
    """Returns a network of PyTorch and its training, one epoch at a time."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    real, n = data.y.dtype == np.float32, len(data.y)
    dropped = {name: 1 - (params.get(name) or 1.0) for name in ("input_keep_prob", "keep_prob")}
    layers = [
        nn.Dropout(dropped["input_keep_prob"]), nn.Linear(data.x.shape[1], params["width"]), nn.ReLU(),
        nn.Dropout(dropped["keep_prob"]), nn.Linear(params["width"], num_outputs),
    ]  # fmt: skip
    model = nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Dropout) or layer.p > 0))
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear)]
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    x_val = torch.from_numpy(val.x)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=params["learning_rate"],
        weight_decay=params.get("weight_decay") or 0.0,
        fused=True,
    )
    l1, l2 = ((params.get(name) or 0.0) / n for name in ("l1", "l2"))
    lossf = nn.MSELoss() if real else nn.CrossEntropyLoss()

    def predict(inputs: Any) -> np.ndarray:
        model.eval()
        with torch.no_grad():
            out = model(torch.as_tensor(inputs)).numpy()
        model.train()
        return out[:, 0] if real else out.argmax(axis=1)

    def epochs() -> Iterator[float]:
        while True:
            for batch in torch.randperm(n).split(BATCH if n > 2 * BATCH else n):
                optimizer.zero_grad()
                out = model(x[batch])
                loss = lossf(out[:, 0] if real else out, y[batch])
                if l2:
                    loss = loss + l2 / 2 * sum((w * w).sum() for w in weights)
                if l1:
                    loss = loss + l1 * sum(w.abs().sum() for w in weights)
                loss.backward()
                optimizer.step()
            predicted = predict(x_val)
            if real:
                yield float(1 - np.mean((predicted - val.y) ** 2) / np.var(val.y))
            else:
                yield float(np.mean(predicted == val.y))

    return Network(epochs(), predict)


def num_epochs(data: Samples) -> int:
    """Returns the epochs of a whole training: 40, or as many as make 900 steps."""
    n = len(data.y)
    return max(EPOCHS, math.ceil(STEPS / (math.ceil(n / BATCH) if n > 2 * BATCH else 1)))


def trained(
    params: dict[str, Any], rows: Prepared, seed: int, report: Callable[[float, int], None] | None = None
) -> tuple[float, int]:
    """Returns the best score of a candidate on the held-out rows, and the number of epochs that gave it."""
    best, at = -math.inf, 1
    epochs = network(params, rows.fit, rows.val, rows.num_outputs, seed).epochs
    for epoch in range(1, num_epochs(rows.fit) + 1):
        score = next(epochs)
        if score > best:
            best, at = score, epoch
        if report is not None and epoch % REPORT_EVERY == 0:
            report(best, epoch // REPORT_EVERY)
    return best, at


def finished(params: dict[str, Any], epochs: int, rows: Prepared, seed: int, tried: int) -> Found:
    """Returns what was found: the best configuration trained on all rows for as many epochs."""
    model = network(params, rows.whole, rows.val, rows.num_outputs, seed)
    for _ in range(epochs):
        next(model.epochs)
    predicted = model.predict(rows.x_test) * rows.scale + rows.mean
    if rows.num_outputs > 1:
        predicted = predicted.astype(int)
    return Found(predicted, tried, tried + 1, str(params))


def _reserve(rows: Prepared, seed: int) -> float:
    """Returns the seconds that are kept for the last training, by one that is not counted."""
    import torch

    torch.set_num_threads(1)  # threads cost networks of this size more than they give
    params = {"width": WIDTHS[-1], "learning_rate": 0.01, "l2": 1.0, "keep_prob": 0.8}
    next(network(params, rows.fit, rows.val, rows.num_outputs, seed).epochs)  # the first one loads libraries
    began = time.perf_counter()
    trained(params, rows, seed)
    return 1.5 * (time.perf_counter() - began)


def optuna(problem: Problem, train: np.ndarray, test: np.ndarray, seed: int, n_jobs: int = 1) -> Search:
    """Returns a search by Optuna: TPE, Hyperband as pruner, `n_jobs` threads of one process."""
    optuna: Any = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = prepare(problem, train, test, seed)
    reserve = _reserve(rows, seed)

    def objective(trial: Any) -> float:
        params = {
            "width": trial.suggest_categorical("width", WIDTHS),
            "learning_rate": trial.suggest_float("learning_rate", *LEARNING_RATE, log=True),
        }
        for name, (kind, low, high) in STRENGTHS.items():
            if trial.suggest_categorical(f"{name} is on", [False, True]):
                params[name] = trial.suggest_float(name, low, high, log=kind == "log")

        def report(score: float, step: int) -> None:
            trial.report(score, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        score, epochs = trained(params, rows, seed + trial.number, report)
        trial.set_user_attr("params", params)
        trial.set_user_attr("epochs", epochs)
        return score

    def search(seconds: float) -> Found:
        reports = num_epochs(rows.fit) // REPORT_EVERY
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(2, reports)),
        )
        study.optimize(objective, timeout=max(0.1, seconds - reserve), n_jobs=n_jobs)
        best = study.best_trial.user_attrs
        return finished(best["params"], best["epochs"], rows, seed, len(study.trials))

    return search


def drawn(random: np.random.Generator) -> dict[str, Any]:
    """Returns a point of the space."""
    params = {
        "width": int(random.choice(WIDTHS)),
        "learning_rate": math.exp(random.uniform(*np.log(LEARNING_RATE))),
    }
    for name, (kind, low, high) in STRENGTHS.items():
        if random.random() < 0.5:
            value = (
                random.uniform(math.log(low), math.log(high)) if kind == "log" else random.uniform(low, high)
            )
            params[name] = math.exp(value) if kind == "log" else value
    return params


def _random_until(deadline: float, rows: Prepared, seed: int) -> tuple[float, int, dict[str, Any], int]:
    """Returns score, epochs and params of the best of as many candidates as fit, and their number."""
    import torch

    torch.set_num_threads(1)
    random, count = np.random.default_rng(seed), 0
    best: tuple[float, int, dict[str, Any]] = (-math.inf, 1, {})

    def in_time(score: float, step: int) -> None:
        if count and time.time() > deadline:
            raise TimeoutError

    while time.time() < deadline or not count:
        params = drawn(random)
        try:
            score, epochs = trained(params, rows, count, in_time)
        except TimeoutError:
            break
        count += 1
        if score > best[0]:
            best = (score, epochs, params)
    return best[0], best[1], best[2], count


def by_hand(problem: Problem, train: np.ndarray, test: np.ndarray, seed: int) -> Search:
    """Returns a random search as users write it with PyTorch, in a process for each core."""
    rows = prepare(problem, train, test, seed)
    reserve = _reserve(rows, seed)
    pool = concurrent.futures.ProcessPoolExecutor(CORES, multiprocessing.get_context("spawn"))
    list(pool.map(_random_until, [0.0] * CORES, [rows] * CORES, range(CORES)))  # starts the processes

    def search(seconds: float) -> Found:
        deadline = time.time() + seconds - reserve
        seeds = [CORES * seed + core for core in range(CORES)]
        found = list(pool.map(_random_until, [deadline] * CORES, [rows] * CORES, seeds))
        _, epochs, params, _ = max(found, key=lambda one: one[0])
        result = finished(params, epochs, rows, seed, sum(one[3] for one in found))
        pool.shutdown()
        return result

    return search


OPPONENTS: dict[str, Callable[[Problem, np.ndarray, np.ndarray, int], Search]] = {
    "regjax.tune": tune,
    "HalvingRandomSearchCV": halving,
    "Optuna, 1 thread": optuna,
    "Optuna, 2 threads": functools.partial(optuna, n_jobs=2),
    "random, by hand": by_hand,
}
NEEDS = {
    "Optuna, 1 thread": ("optuna", "torch"),
    "Optuna, 2 threads": ("optuna", "torch"),
    "random, by hand": ("torch",),
}
