"""The C++ source: its functions to a few ulp, its draws bit for bit, other processors, and the sanitizers."""

import ctypes
import platform
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from regjax.core.random import epoch_order, random_bits, replicate_key
from regjax.native import build

HERE = Path(__file__).parent
SOURCE = Path(build.__file__).parent
pytestmark = pytest.mark.cpu("the native kernel is of CPUs")


def compiled(to, source, *options):
    """Compiles a source of this folder with the headers of the kernel; skips without a compiler."""
    command = build.compiler()
    if command is None:
        pytest.skip("there is no C++ compiler")
    run = [*command, *options, f"-I{SOURCE}", str(HERE / source), "-o", str(to)]
    subprocess.run(run, check=True, capture_output=True, text=True)
    return to


@pytest.fixture(scope="module", params=["float32", pytest.param("float64", marks=pytest.mark.slow)])
def probe(request, tmp_path_factory):
    """Returns the library of probe.cc, and its dtype."""
    to = tmp_path_factory.mktemp("probe") / "probe.so"
    options = (*build.flags(), f"-DREAL={build.REAL[request.param]}")
    return ctypes.CDLL(str(compiled(to, "probe.cc", *options))), np.dtype(request.param)


def pointer(array):
    assert array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.c_void_p)


def applied(probe, which, values):
    library, dtype = probe
    values = np.ascontiguousarray(values, dtype)
    found = np.empty_like(values)
    library.apply(which, pointer(values), pointer(found), ctypes.c_long(len(values)))
    return values, found


def ulps(found, exact):
    """Returns by how many units in the last place numbers differ from exact ones."""
    rounded = exact.astype(found.dtype)
    return np.abs((found - exact) / np.spacing(np.abs(rounded)))


@pytest.mark.slow
@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("which", "f", "low", "high", "most"),
    [
        (0, np.exp, -80, 88, 2),
        (1, np.exp, -80, 87, 2),
        (2, lambda v: 1 / (1 + np.exp(-v)), -80, 80, 4),
        (3, np.tanh, -12, 12, 4),
        (3, np.tanh, -1e-3, 1e-3, 4),
    ],
)
def test_functions_are_exact_to_a_few_ulp(which, f, low, high, most, probe):
    values, found = applied(probe, which, np.random.default_rng(0).uniform(low, high, 20_001))
    assert ulps(found, f(values.astype(np.longdouble))).max() < most


def test_functions_at_their_ends(probe):
    ends = np.array([0.0, np.inf, -np.inf, np.nan, 1e30, -1e30])
    for which, wanted in [
        (0, [1, np.inf, 0, np.nan, np.inf, 0]),
        (2, [0.5, 1, 0, np.nan, 1, 0]),
        (3, [0, 1, -1, np.nan, 1, -1]),
        (4, [0, np.inf, 0, 0, 1e30, 0]),
    ]:
        np.testing.assert_allclose(applied(probe, which, ends)[1], wanted, rtol=1e-6, atol=1e-30)


def test_sums_and_transposes(probe):
    library, dtype = probe
    count = library.lanes()
    rows = np.random.default_rng(0).integers(0, 100, (count, count)).astype(dtype)  # whole: sums are exact
    for used in (1, 2, count // 2 + 1, count):
        totals, transposed = np.empty(count, dtype), np.empty((count, count), dtype)
        library.shuffle(pointer(rows), ctypes.c_long(used), pointer(totals), pointer(transposed))
        np.testing.assert_array_equal(totals[:used], rows[:used].sum(axis=1))
        np.testing.assert_array_equal(transposed, rows.T)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("total", [1, 3, 4, 63, 64, 65, 513, 4480, 5003])
def test_bits_are_those_of_the_plain_program(total, probe):
    key = replicate_key(7)
    words = np.asarray(jax.random.key_data(key))
    found = np.empty(total, np.uint16)
    probe[0].bits(*(ctypes.c_uint32(int(word)) for word in words), ctypes.c_long(total), pointer(found))
    np.testing.assert_array_equal(found, np.asarray(random_bits(key, total, 1)).ravel())


def order(probe, key, epoch, weights, shuffle):
    library, dtype = probe
    words, weights = np.asarray(jax.random.key_data(key)), np.ascontiguousarray(weights, dtype)
    found = np.empty(len(weights), np.int32)
    library.order(
        *(ctypes.c_uint32(int(word)) for word in (*words, epoch)), pointer(weights),
        ctypes.c_long(len(weights)), int(shuffle), pointer(found),
    )  # fmt: skip
    return found


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("count", [1, 50, 3000])
def test_orders_are_those_of_the_plain_program(count, shuffle, probe):
    key = replicate_key(3)
    # With 3,000 numbers of 23 bits some are alike.
    weights = (np.random.default_rng(0).random(count) < 0.8).astype(np.float32)
    wanted = np.asarray(epoch_order(key, 5, weights, shuffle=shuffle))
    for _ in range(2):  # the second time it is there already
        np.testing.assert_array_equal(order(probe, key, 5, weights, shuffle), wanted)


def test_an_order_that_is_there_serves_no_other(probe):
    weights = np.ones(50, np.float32)
    less = weights.copy()
    less[-1] = 0
    asked = [
        (replicate_key(3), 5, weights, True), (replicate_key(4), 5, weights, True),
        (replicate_key(4), 6, weights, True), (replicate_key(4), 6, less, True),
        (replicate_key(4), 6, less[:-1], True), (replicate_key(4), 6, less[:-1], False),
    ]  # fmt: skip
    for key, epoch, own, shuffle in asked:
        wanted = np.asarray(epoch_order(key, epoch, own, shuffle=shuffle))
        np.testing.assert_array_equal(order(probe, key, epoch, own, shuffle), wanted)


# A vector holds 16, 8, 4 and 2 numbers, where this processor has the longest ones.
@pytest.mark.nightly
@pytest.mark.parametrize(
    ("dtype", "processor"),
    [("float", None), ("double", None), ("double", "x86-64-v3"), ("double", "x86-64")],
)
def test_it_writes_and_reads_nothing_outside_of_its_memory(dtype, processor, tmp_path):
    flags = [f for f in build.flags() if f not in ("-O3", "-shared")]
    if processor is not None:
        if platform.machine() != "x86_64":
            pytest.skip("of processors with AVX")
        flags = [f"-march={processor}" if f == "-march=native" else f for f in flags]
    sanitize = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-DREAL={dtype}")
    program = compiled(tmp_path / "sanitized", "sanitized.cc", *flags, *sanitize)
    done = subprocess.run([program, "400"], capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stdout) == (0, "400 networks\n"), done.stderr[:3000]
