"""What holds for every test: strict rules, one cache of compiled programs, and how programs are compiled.

Nearly all time of the tests is compiling. Three things keep it and the memory small: both workers, and the
command lines that tests start, share one folder of compiled programs; a worker drops the programs of a
file of tests when it goes on to the next; and LLVM optimises only where a test has the mark `bits`.
"""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

# Set before JAX is imported, and before the workers, which inherit it, are started.
OWN_CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    OWN_CACHE = tempfile.mkdtemp(prefix="regjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = OWN_CACHE
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_report_header() -> str:
    """The gradient tests run on whatever device JAX finds, and say which."""
    from regjax.study.provenance import device

    return f"device: {device()}"


def pytest_unconfigure() -> None:
    """Removes the folder of compiled programs, if this process has made it."""
    if OWN_CACHE is not None:
        shutil.rmtree(OWN_CACHE, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compiles as for users where a test has the mark `bits`, and elsewhere with LLVM's optimiser off.

    Compiling then takes two thirds of the time. Formulas, tables and figures are the same; which bits depend
    on their neighbours in a vector may not be, so all tests that compare bits have the mark.
    """
    quick = item.get_closest_marker("bits") is None
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.clear_caches()  # the setting is no part of the keys of programs in memory
        jax.config.update("jax_disable_most_optimizations", quick)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None):
    """Drops compiled programs after the last test of a file: they would be gigabytes at the end."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        jax.clear_caches()
        gc.collect()
    return result


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
