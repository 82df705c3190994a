"""Strict rules for every test: no silent change of rank or dtype."""

import os
import signal
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_report_header() -> str:
    """The gradient tests run on whatever device JAX finds, and say which."""
    from regjax.study.provenance import device

    return f"device: {device()}"


@pytest.fixture
def x64():
    """float64 for one test, locally."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def tutorial_mat() -> Path:
    """The tutorial's data.mat, which regjax does not ship."""
    path = os.environ.get("REGJAX_DATA_MAT")
    if path is None:
        pytest.skip("set REGJAX_DATA_MAT to the path of the tutorial's data.mat")
    assert Path(path).is_file(), f"REGJAX_DATA_MAT={path} is no file"
    return Path(path).resolve()


@pytest.fixture
def plain_ctrl_c():
    """Python's own answer to SIGINT, whatever the command line has put in its place."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
