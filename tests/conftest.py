"""What holds for every test: strict rules, one cache of compiled programs, and how programs are compiled.

Nearly all time of the tests is compiling. Three things keep it and the memory small: both workers, and the
command lines that tests start, share one folder of compiled programs; a worker drops the programs of a
file of tests when it goes on to the next; and XLA optimises only where a test has the mark `bits`.
"""

import contextlib
import ctypes
import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

# Set before JAX is imported, and before the workers, which inherit it, are started.
OWN_CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    OWN_CACHE = tempfile.mkdtemp(prefix="regjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = OWN_CACHE
# What is built of the native kernel lies there too. Tests that do not ask for it train by XLA, built or not.
os.environ.setdefault("REGJAX_CACHE_DIR", os.path.join(os.environ["JAX_COMPILATION_CACHE_DIR"], "regjax"))
os.environ["REGJAX_KERNEL"] = "xla"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# Hypothesis fails an example that takes longer than 0.2 s; no test asserts a time.
hypothesis.settings.register_profile("regjax", deadline=None)
hypothesis.settings.load_profile("regjax")

# Bytes of a process above which it drops its programs even within a file of tests.
MOST_MEMORY = 1_600_000_000
# How XLA compiles on the CPU where no bits are compared, beside LLVM's optimiser off: by the older emitters,
# and each program in one piece. Together they halve what compiling takes.
QUICKLY = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def compiling_quickly() -> bool:
    """Returns whether programs are compiled as for tests without the mark `bits`."""
    return jax.config.read("jax_disable_most_optimizations")


def pytest_sessionstart() -> None:
    """Adds `QUICKLY` to the options under which JAX compiles, while `compiling_quickly()` says so.

    JAX has no setting for options of XLA, so the function that collects them is wrapped. A later JAX may not
    have it, or its XLA not know these options: then programs are compiled without, only more slowly.
    """
    try:
        from jax._src import compiler

        collect = compiler.get_compile_options
        jax.jit(lambda: 0, compiler_options=QUICKLY)()
    except (ImportError, AttributeError, jax.errors.JaxRuntimeError):
        return

    def collect_with_ours(*args: Any, **options: Any) -> Any:
        found = collect(*args, **options)
        if compiling_quickly():
            found.env_option_overrides = [*found.env_option_overrides, *QUICKLY.items()]
        return found

    compiler.get_compile_options = collect_with_ours


def _sample(items: list[pytest.Item]) -> None:
    """Gives the mark `nightly` to all but a few of the parameters of tests with the mark `sampled`."""
    of_function: dict[Any, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled") is not None:
            of_function.setdefault((item.path, getattr(item, "originalname", item.name)), []).append(item)
    for found in of_function.values():
        marker = found[0].get_closest_marker("sampled")
        assert marker is not None
        count = min(marker.args[0], len(found))
        # Evenly over the parameters, the first among them.
        kept = {index * len(found) // count for index in range(count)}
        for index, item in enumerate(found):
            if index not in kept:
                item.add_marker(pytest.mark.nightly)


def pytest_report_header() -> str:
    """The gradient tests run on whatever device JAX finds, and say which."""
    from regjax.study.provenance import device

    return f"device: {device()}"


def pytest_unconfigure() -> None:
    """Removes the folder of compiled programs, if this process has made it."""
    if OWN_CACHE is not None:
        shutil.rmtree(OWN_CACHE, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before the option -m leaves tests out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of a file that compare bits behind its others: each change drops compiled programs."""
    _sample(items)
    files = {path: place for place, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (files[item.path], item.get_closest_marker("bits") is not None))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compiles as for users where a test has the mark `bits`, and elsewhere as fast as can be.

    Compiling then takes a third of the time. Formulas, tables and figures are the same; which bits depend
    on their neighbours in a vector may not be, so all tests that compare bits have the mark.
    A test with the mark `cpu` is skipped on another device.
    """
    of_cpu = item.get_closest_marker("cpu")
    if of_cpu is not None and jax.default_backend() != "cpu":
        pytest.skip(f"of the CPU: {of_cpu.args[0]}")
    quick = item.get_closest_marker("bits") is None
    if compiling_quickly() != quick:
        jax.clear_caches()  # the setting is no part of the keys under which programs are held
        jax.config.update("jax_disable_most_optimizations", quick)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None):
    """Drops compiled programs after the last test of a file, and where they have become many."""
    result = yield
    if nextitem is None or nextitem.path != item.path or resident_memory() > MOST_MEMORY:
        drop_programs()
    return result


def resident_memory() -> int:
    """Returns the bytes of memory that this process holds, or 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def drop_programs() -> None:
    """Drops what JAX has compiled, a megabyte or more a program, and gives the memory back to the system."""
    jax.clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)


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
def kernel():
    """Returns a function from a dtype to the native kernel's library; skips where it cannot be built."""
    from regjax.native.library import find

    def library(dtype: str = "float32") -> Any:
        found = find(dtype)
        if found.library is None:
            pytest.skip(f"the native kernel is not there: {found.why}")
        return found.library

    return library


@pytest.fixture
def plain_ctrl_c():
    """Python's own answer to SIGINT, whatever the command line has put in its place."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
