"""The native kernel as a function: what it refuses, and libraries that do not fit."""

import ctypes
import subprocess

import numpy as np
import pytest

from regjax.native import build, library
from regjax.native.build import BuildError, Built
from regjax.native.library import Networks, Program, Samples, Strengths, find, load_built, train

pytestmark = pytest.mark.cpu("the native kernel is of CPUs")


def call(found, *, num_batches=1, batch_size=0, steps=1):
    """Trains a network of one weight; returns its parameters."""
    program = Program(
        sizes=(1, 1), masked=(False,), activation=3, loss=2, optimizer=0, schedule=0, warmup_steps=0,
        schedule_steps=1, batch_size=batch_size, num_batches=num_batches, shuffle=False,
    )  # fmt: skip
    one = np.ones((1, 1), np.float32)
    x, y = np.array([[[1, 2, 3]]], "f4"), np.array([[[1, 1, 1]]], "f4")
    divisors = np.array([batch_size or 3], "f4")
    samples = Samples(x, y, np.ones((1, 3), "f4"), divisors, np.zeros((1, 2), "u4"), np.zeros(1, "i8"))
    rates = np.array([[0.5, 0, 0, 0, 0, 0, 0, 0]], "f4")
    params = [np.array([[[2]]], "f4"), np.array([[[1]]], "f4")]
    strengths = Strengths(rates, 0 * one, 0 * one, one)
    train(found, program, samples, strengths, Networks(params, [], None), 0, steps)
    return [float(leaf[0, 0, 0]) for leaf in params]


def test_a_step_worked_by_hand(kernel):
    # z = 3, 5, 7 and y = 1: dw = (2·1 + 4·2 + 6·3)/3 = 28/3, db = (2 + 4 + 6)/3 = 4, times a rate of 0.5.
    assert call(kernel()) == pytest.approx([2 - 14 / 3, 1 - 2])
    assert call(kernel(), batch_size=1, num_batches=3) == pytest.approx([2 - 1, 1 - 1])  # x = 1: dw = db = 2
    assert call(kernel(), steps=0) == [2, 1]


def test_batches_that_reach_beyond_the_samples_are_refused(kernel):
    for num_batches in (0, 4):
        with pytest.raises(ValueError, match=f"batches must be of 3 samples, got {num_batches} of 1"):
            call(kernel(), batch_size=1, num_batches=num_batches)


def test_memory_that_runs_out_is_a_memory_error(kernel):
    kernel()

    class Full:
        def regjax_train(self, task):
            return 1

    with pytest.raises(MemoryError, match="must fit into memory"):
        call(Full())


def test_a_library_of_another_source_is_not_loaded(tmp_path, kernel):
    kernel()
    source, to = tmp_path / "other.cc", tmp_path / "other.so"
    source.write_text(
        'extern "C" long regjax_task_size() { return 8; }\nextern "C" int regjax_train(void *) { return 0; }'
    )
    subprocess.run([build.compiler(), "-shared", "-fPIC", str(source), "-o", str(to)], check=True)
    with pytest.raises(OSError, match="must be made of this version's source"):
        load_built(Built(to, ""))
    with pytest.raises(OSError, match="nowhere"):
        load_built(Built(tmp_path / "nowhere.so", ""))


def test_why_there_is_none_is_found_once(monkeypatch):
    def fail(dtype):
        raise BuildError("no compiler")

    monkeypatch.setattr(library, "build", fail)
    find.cache_clear()
    try:
        assert find("float32") == (None, "", "no compiler")
    finally:
        find.cache_clear()


def test_fields_are_those_of_the_source(kernel):
    assert kernel().regjax_task_size() == ctypes.sizeof(library._Task)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("folds", np.array([2]), r"folds must be in 0 … 0, got \[2\]"),
        ("folds", np.array([0, 0]), r"folds must be \(1,\), got \(2,\)"),
        ("weights", np.ones((1, 2), "f4"), r"weights must be \(1, 3\), got \(1, 2\)"),
        ("divisors", np.ones(2, "f4"), r"divisors must be \(1,\), got \(2,\)"),
        ("y", np.ones((1, 1, 2), "f4"), r"y must be of 1 or 1 replicates and 3 samples"),
        ("y", np.ones((2, 1, 3), "f4"), r"y must be of 1 or 1 replicates and 3 samples"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, value, problem):
    samples = Samples(np.ones((1, 1, 3), "f4"), np.ones((1, 1, 3), "f4"), np.ones((1, 3), "f4"),
                      np.ones(1, "f4"), np.zeros((1, 2), "u4"), np.zeros(1, "i8"))  # fmt: skip
    samples.check()
    with pytest.raises(ValueError, match=problem):
        samples._replace(**{name: value}).check()
