"""Measures trials per second of an Optuna study: by regjax, and by hand over PyTorch and scikit-learn.

    python -m benchmarks.bench_optuna [--trials 32] [--steps 1000] [--folds 5] [--repeats 5] [--json PATH]

Each trial is the mean validation accuracy of networks 2-20-3-1 over folds, full batches of plain gradient
descent, with l2 and the learning rate drawn by TPE; nothing is pruned. By hand a trial trains its folds one
after the other, in one thread, which is the fastest for networks of this size.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier

import regjax
from benchmarks.measure import interleaved, number, write

HIDDEN = (20, 3)
SPACE = {
    "l2": FloatDistribution(1e-3, 10, log=True),
    "learning_rate": FloatDistribution(0.01, 1, log=True),
}
Folds = list[tuple[np.ndarray, np.ndarray]]


def by_torch(X: np.ndarray, y: np.ndarray, folds: Folds, steps: int) -> Callable[[optuna.Trial], float]:
    """Returns an objective of PyTorch."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    x, target = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)

    def score(trial: optuna.Trial, train: np.ndarray, val: np.ndarray) -> float:
        sizes = (X.shape[1], *HIDDEN, 1)
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        network = nn.Sequential(*layers[:-1])
        rate, decay = trial.params["learning_rate"], trial.params["l2"] / len(train)
        optimizer = torch.optim.SGD(network.parameters(), lr=rate, weight_decay=decay)
        loss, inputs, labels = nn.BCEWithLogitsLoss(), x[train], target[train]
        for _ in range(steps):
            optimizer.zero_grad()
            loss(network(inputs).squeeze(-1), labels).backward()
            optimizer.step()
        with torch.no_grad():
            return float(((network(x[val]).squeeze(-1) > 0) == (target[val] > 0)).float().mean())

    return lambda trial: float(np.mean([score(trial, *fold) for fold in folds]))


def by_sklearn(X: np.ndarray, y: np.ndarray, folds: Folds, steps: int) -> Callable[[optuna.Trial], float]:
    """Returns an objective of scikit-learn."""

    def score(trial: optuna.Trial, train: np.ndarray, val: np.ndarray) -> float:
        size: Any = len(train)  # its annotation knows "auto" alone
        network = MLPClassifier(
            HIDDEN, solver="sgd", momentum=0, batch_size=size, max_iter=steps, tol=0,
            n_iter_no_change=steps, alpha=trial.params["l2"],
            learning_rate_init=trial.params["learning_rate"], random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return float(network.fit(X[train], y[train]).score(X[val], y[val]))

    return lambda trial: float(np.mean([score(trial, *fold) for fold in folds]))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns trials per second of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="two_regions", help="a data set's name or path")
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json")
    asked = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    design = regjax.sweep(asked.data, {"hidden": (1,), "num_steps": 1, "eval_every": 1}, folds=2).design
    X, y = design.data.x.T, design.data.y[0]
    splitter = StratifiedKFold(asked.folds, shuffle=True, random_state=0)
    folds = list(splitter.split(X, y))

    def study() -> optuna.Study:
        return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))

    def regjax_in(batch: int) -> Callable[[], None]:
        config = {"hidden": HIDDEN, "num_steps": asked.steps, "eval_every": max(1, asked.steps // 10)}
        options: Any = {"config": config, "n_trials": asked.trials, "batch": batch, "folds": folds}
        return lambda: regjax.optuna.optimize(study(), (X, y), SPACE, progress=False, **options)

    def by_hand(objective: Callable[[optuna.Trial], float], one: int) -> Callable[[], None]:
        def asks(trial: optuna.Trial) -> float:
            for name, found in SPACE.items():
                trial.suggest_float(name, found.low, found.high, log=True)
            return objective(trial)

        return lambda: study().optimize(asks, n_trials=one)

    # By hand every trial takes as long as any other: a few of them are timed.
    few = min(asked.trials, 2)
    counts = {"regjax, batches of 16": asked.trials, "regjax, batches of 4": asked.trials}
    counts |= {"Optuna over PyTorch": few, "Optuna over scikit-learn": few}
    calls: list[Callable[[], Any]] = [regjax_in(16), regjax_in(4)]
    calls += [by_hand(make(X, y, folds, asked.steps), few) for make in (by_torch, by_sklearn)]
    times = interleaved(dict(zip(counts, calls, strict=True)), asked.repeats)
    print(
        f"| {len(y)} samples, {asked.folds} folds, {asked.steps:,} steps | trials/s | least | most | first |"
    )
    print("|---|---|---|---|---|")
    rates: dict[str, Any] = {}
    for name, found in times.items():
        per = {key: counts[name] / found[key] for key in ("median", "max", "min", "first")}
        rates[name] = per
        print(f"| {name} | " + " | ".join(number(per[key], 3) for key in per) + " |")
    write(asked.json, {"arguments": vars(asked), "trials per second": rates})
    return rates


if __name__ == "__main__":
    main()
