"""A search that raises or is interrupted ends its process as any Python program ends.

Programs compile in threads of their own, and a process that exits while one compiles may be aborted; so
each process here starts with no compiled program.
"""

import os
import signal
import subprocess
import sys

import pytest

SEARCH = """
import os, signal, threading
import numpy as np
from regjax import RegGridSearchCV, RegMLPClassifier

def refuse(model, X, y):
    raise RuntimeError("no score")

X = np.random.default_rng(0).standard_normal((60, 3))
network = RegMLPClassifier((8, 8), max_iter=10, random_state=0, n_iter_no_change=10)
options = {"cv": 2, "error_score": "raise"}
grid = {"alpha": [0.1, 1.0], "learning_rate_init": [0.01, 0.1]}
"""
RAISES = SEARCH + "RegGridSearchCV(network, grid, scoring=refuse, **options).fit(X, X[:, 0] > 0)\n"
# If the search has ended before, the signal comes while its process waits for it.
INTERRUPTED = (
    SEARCH
    + """
timer = threading.Timer(WAIT, os.kill, (os.getpid(), signal.SIGINT))
timer.start()
RegGridSearchCV(network, grid, **options).fit(X, X[:, 0] > 0)
timer.join()
"""
)
TIMES = 20


def ended(code):
    """Returns the exit status of a process that runs this code, and its stderr."""
    environment = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::sklearn.exceptions.ConvergenceWarning", "-c", code],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def once_in_the_slow_tests(values):
    return [
        pytest.param(value, marks=pytest.mark.slow if index == 3 else pytest.mark.nightly)
        for index, value in enumerate(values)
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("time", once_in_the_slow_tests(range(TIMES)))
def test_a_search_that_raises_ends_with_1(time):
    status, said = ended(RAISES)
    assert (status, said.splitlines()[-1]) == (1, "RuntimeError: no score"), said


# Seconds after the start of `fit`: before the first program, while they compile, in training, in the refit.
@pytest.mark.nightly
@pytest.mark.parametrize(
    "wait", once_in_the_slow_tests([round(0.1 * (time + 1), 1) for time in range(TIMES)])
)
def test_a_search_that_is_interrupted_ends_by_the_signal(wait):
    status, said = ended(f"WAIT = {wait}\n{INTERRUPTED}")
    if "Training interrupted by user" in said:  # in the refit, which ends in good order, as scikit-learn's
        assert status == 0, said
    else:
        assert (status, said.splitlines()[-1]) == (-signal.SIGINT, "KeyboardInterrupt"), said
