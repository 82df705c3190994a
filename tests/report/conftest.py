"""The sweeps whose pages are tested."""

import pytest

import regjax


@pytest.fixture(scope="module")
def planar():
    """A sweep on two features and two classes."""
    return regjax.sweep(
        "two_regions",
        regjax.Config(num_steps=200, eval_every=50),
        regjax.grid(l2=[0, 0.1, 3], keep_prob=[1, 0.8], learning_rate=[0.1, 0.3]),
        seeds=3, folds=4, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def one_split():
    """A sweep on one split, three classes, one of whose configurations diverges."""
    return regjax.sweep(
        "iris",
        {"hidden": (8,), "num_steps": 60, "eval_every": 20},
        regjax.grid(l2=[0, 0.3], learning_rate=[0.1, 1e9]),
        seeds=4, validation=0.4, standardize=True, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def real():
    """A sweep on real targets."""
    return regjax.sweep(
        "diabetes",
        {"hidden": (8,), "num_steps": 60, "eval_every": 20, "optimizer": "adam"},
        regjax.grid(l2=[0, 0.3], learning_rate=0.1),
        seeds=2, folds=3, standardize=True, progress=False,
    )  # fmt: skip
