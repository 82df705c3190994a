"""A small table with columns of all kinds, sweeps of it and models, each made once in a process."""

import functools

import numpy as np
import pandas as pd

import regjax

CONFIG = {
    "hidden": (5,),
    "optimizer": "adam",
    "num_steps": 60,
    "eval_every": 30,
    "metrics": ("accuracy", "r2"),
}
GRID = {"l2": [0, 0.1], "learning_rate": 0.03}
LABELS = {
    "text": ["no", "yes"],
    "numbers": [3, 7],
    "counted": [0, 1],
    "booleans": [False, True],
    "three": ["a", "b", "c"],
}


def mixed(targets="text", n=150, seed=0):
    """Returns a frame: numbers and a category with gaps, booleans, dates, a counter, and y."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 12, n)
    town = rng.choice(["Oslo", "Bergen", "Voss", "Ås", "Bø"], n, p=[0.5, 0.28, 0.16, 0.03, 0.03])
    flag = rng.random(n) < 0.4
    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")
    signal = age + 12 * (town == "Oslo") + 8 * flag + rng.normal(0, 4, n)
    frame = pd.DataFrame(
        {
            "number": range(n),
            "age": np.where(rng.random(n) < 0.1, np.nan, age),
            "large": 2e6 + rng.random(n),
            "town": pd.Series(town, dtype=object).mask(rng.random(n) < 0.1),
            "flag": flag,
            "when": when,
        }
    )
    if targets == "real":
        return frame.assign(y=(signal - signal.mean()) / 10)
    labels = np.array(LABELS[targets], object)
    order = np.argsort(np.argsort(signal)) * len(labels) // n
    return frame.assign(y=pd.Series(labels[order]).infer_objects())


@functools.cache
def swept(targets="text", **config):
    """Returns the results of a small sweep over `mixed(targets)`."""
    return regjax.sweep(mixed(targets), CONFIG | config, GRID, folds=3, target="y", progress=False)


@functools.cache
def fitted(targets="text", seeds=1, **config):
    """Returns the model of `swept(targets)`."""
    return regjax.refit(swept(targets, **config), seeds=seeds)


def unseen(n=40):
    """Returns new rows of `mixed`, without its target: gaps, rare levels and levels that it does not have."""
    frame = mixed(n=n, seed=1).drop(columns=["y", "number"])
    town = frame["town"].astype(object)
    town[[0, 1, 2]] = ["Tromsø", "Bø", None]
    age = frame["age"].to_numpy(copy=True)
    age[[3, 4]] = np.nan, 1e9
    return frame.assign(town=town, age=age)
