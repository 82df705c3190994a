"""What tests of the store and of the engine share: a small sweep, its table, and the tasks that it took."""

import contextlib
import sqlite3

import pandas as pd

import regjax
from regjax.engine import lanes, scheduler
from regjax.study.resolve import make_design

__all__ = [
    "CONFIG",
    "GRID",
    "assert_same_table",
    "count_tasks",
    "integrity",
    "make_design",
    "run",
    "stop_after",
]

# One hidden layer and few metrics: both are compiled anew for every shape of a chunk.
CONFIG = {"hidden": (6,), "num_steps": 40, "eval_every": 10, "metrics": ("accuracy",)}
GRID = {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": [0.1, 1e30]}


def run(store=None, **options):
    options = {"seeds": 2, "folds": 3, "progress": False} | options
    return regjax.sweep(
        "two_regions", options.pop("config", CONFIG), options.pop("grid", GRID), store=store, **options
    )


def stop_after(moment):
    """Returns a `progress` that raises what Ctrl-C raises at the first report of training after so many."""
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.phase == "train" and len(seen) > moment:
            raise KeyboardInterrupt

    return stop


def assert_same_table(a, b):
    left, right = a.to_pandas(), b.to_pandas()
    pd.testing.assert_frame_equal(
        left.drop(columns=["seconds", "provenance"]),
        right.drop(columns=["seconds", "provenance"]),
        check_exact=True,
    )


def integrity(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


def count_tasks(monkeypatch):
    """Returns a list that gets the first and the last step of each task from now on."""
    count = []

    def run_task(task):
        count.append((task.start, task.ends[-1]))
        return lanes.run_task(task)

    monkeypatch.setattr(scheduler, "run_task", run_task)
    return count
