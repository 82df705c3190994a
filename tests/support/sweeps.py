"""What tests of several packages share: made-up results, small data, comparing results to the bit."""

import jax
import numpy as np

import regjax
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design
from regjax.study.results import Results


def made_up(scores, grid, *, folds=None, validation=None, repeats=1, diverged=(), test=None):
    """Results whose final val_accuracy is `scores`, `(configurations, seeds, folds)`."""
    scores = np.asarray(scores, float)
    config = regjax.Config(layer_sizes=(2, 1), num_steps=10, eval_every=10)
    design = make_design(
        "two_regions",
        config,
        grid,
        seeds=scores.shape[1],
        folds=folds,
        validation=validation,
        repeats=repeats,
    )
    rows = scores.size
    final = scores.ravel().copy()
    diverged_at = np.full(rows, -1)
    for row in diverged:
        final[row], diverged_at[row] = np.nan, 10
    records = {"val_accuracy": np.stack([np.full(rows, 0.5), final], axis=1)}
    rng = np.random.default_rng(0)
    for name in ("train_accuracy", "val_loss", "train_loss", "train_cost", "test_accuracy"):
        records[name] = np.where(np.isnan(records["val_accuracy"]), np.nan, rng.random((rows, 2)))
    if test is not None:
        records["test_accuracy"] = np.repeat(np.ravel(test)[:, None], 2, axis=1)
    examples = None
    if validation is not None:
        right = rng.random((rows, int(design.splits.num_val[0]))) < 0.7
        examples = {"right": right.astype(float), "loss": rng.random(right.shape)}
    return Results(
        design,
        make_plan(design),
        records,
        diverged_at,
        np.full(rows, -1),
        np.full(rows, 0.7),
        np.ones(rows),
        {},
        examples,
        ('{"device": "cpu"}',) * rows,
        0.0,
        1.0,
    )


def points(n=50, features=3, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, features))
    return X, (np.argsort(np.argsort(X[:, 0])) * classes // n).astype(int)


def leaves(results):
    return [leaf for row in range(len(results)) for leaf in jax.tree.leaves(results.params(row))]


def assert_same(a, b):
    assert a.records.keys() == b.records.keys()
    for name in a.records:
        np.testing.assert_array_equal(a.records[name], b.records[name])
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
