"""The native kernel as a function: what it refuses, and libraries that do not fit."""

import ctypes
import subprocess

import numpy as np
import pytest

from regjax.native import build, library
from regjax.native.build import BuildError, Built
from regjax.native.coverage import LOSSES, OPTIMIZERS
from regjax.native.library import (
    Networks,
    Program,
    Samples,
    Seen,
    Strengths,
    check,
    find,
    infer,
    load_built,
    train,
)

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


@pytest.mark.nightly
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
        def regjax_real_size(self):
            return 4

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
    subprocess.run([*(build.compiler() or ()), "-shared", "-fPIC", str(source), "-o", str(to)], check=True)
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
    assert kernel().regjax_real_size() == 4
    assert kernel().regjax_task_size() == ctypes.sizeof(library._Task)
    assert kernel().regjax_inference_size() == ctypes.sizeof(library._Inference)


# -- logits -------------------------------------------------------------------------------------------------


def seen(**changed):
    """Returns the arguments of `infer` for two networks of 2, 3 and 1 units on 4 samples."""
    params = [np.ones((1, 2, *shape), "f4") for shape in ((3, 2), (3, 1), (1, 3), (1, 1))]
    samples = {"x": np.ones((3, 2, 4), "f4"), "weights": np.ones((1, 4), "f4"), "folds": np.zeros(1, "i8")}
    given = {"params": params, "idle": None} | samples | changed
    own = Seen(*(given.pop(name) for name in Seen._fields))
    return {"sizes": (2, 3, 1), "activation": 0, "seen": own} | given


def test_logits_worked_by_hand(kernel):
    x = np.array([[[1, -3, np.nan, 2]] * 2], "f4")
    # relu(x + x + 1) three times, and 1: 3·3 + 1, 0 + 1, 1·3 + 1 without input, 5·3 + 1.
    found = infer(kernel(), **seen(x=x, weights=np.array([[1, 1, 0, 2]], "f4")))
    np.testing.assert_array_equal(found, [[[10, 1, 4, 16]]] * 2)
    assert found.dtype == np.float32
    idle = infer(kernel(), **seen(x=x, idle=np.array([[1, 0]], "i1")))
    np.testing.assert_array_equal(idle[0], 0)
    np.testing.assert_array_equal(idle[1, 0], [10, 1, 1, 16])  # relu takes NaN for 0


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("x", np.ones((3, 3, 4), "f4"), r"x must be \(3, 2, 4\), got \(3, 3, 4\)"),
        ("x", np.ones((3, 2, 4)), "x must be of dtype float32, got float64"),
        ("x", np.ones((3, 4, 2), "f4").swapaxes(1, 2), "x must be C-contiguous, got strides"),
        ("weights", np.ones((2, 4), "f4"), r"weights must be \(1, 4\), got \(2, 4\)"),
        ("folds", np.array([3]), r"folds must be in 0 … 2, got \[3\]"),
        ("folds", np.zeros(3, "i8"), "params must be of as many networks for each of 3 replicates, got 2"),
        ("params", [], "params must be of as many networks for each of 1 replicates, got 0"),
        ("params", [np.ones((1, 2, 3, 2), "f4")], "params must be 4 arrays, got 1"),
        ("params", [np.ones((1, 2, 3, 2), "f4")] * 4, r"params\[1\] must be \(2, 3, 1\), got \(1, 2, 3, 2\)"),
        ("idle", np.zeros((1, 3), "i1"), r"idle must be \(2,\), got \(1, 3\)"),
        ("idle", np.zeros((1, 2), bool), "idle must be of dtype int8, got bool"),
    ],
)
def test_logits_of_arrays_that_do_not_fit_are_refused(name, value, problem, kernel):
    found = kernel()
    with pytest.raises(ValueError, match=problem):
        infer(found, **seen(**{name: value}))


def arguments():
    """Returns what two networks of 2, 3 and 1 units on 4 samples are trained with, by Adam."""
    program = Program(
        sizes=(2, 3, 1), masked=(False, False), activation=0, loss=0, optimizer=OPTIMIZERS["adam"],
        schedule=0, warmup_steps=0, schedule_steps=1, batch_size=2, num_batches=2, shuffle=True,
    )  # fmt: skip
    one = np.ones((2, 2), "f4")
    samples = Samples(
        np.ones((3, 2, 4), "f4"), np.ones((1, 1, 4), "f4"), np.ones((1, 4), "f4"), np.ones(1, "f4"),
        np.zeros((1, 2), "u4"), np.zeros(1, "i8"), np.ones((3, 4, 2), "f4"),
    )  # fmt: skip
    params = [np.ones((1, 2, *shape), "f4") for shape in ((3, 2), (3, 1), (1, 3), (1, 1))]
    counts, idle = np.zeros((1, 2), "i4"), np.zeros((1, 2), "i1")
    networks = Networks(params, [*params, *params], counts, idle)
    return {
        "program": program, "samples": samples, "strengths": Strengths(np.ones((2, 8), "f4"), one, one, one),
        "networks": networks,
    }  # fmt: skip


def changed_leaf(name, place, leaf):
    leaves = list(getattr(arguments()["networks"], name))
    leaves[place] = leaf
    return leaves


@pytest.mark.parametrize(
    ("part", "name", "value", "problem"),
    [
        ("samples", "folds", np.array([3]), r"folds must be in 0 … 2, got \[3\]"),
        ("samples", "folds", np.array([-1]), r"folds must be in 0 … 2, got \[-1\]"),
        ("samples", "folds", np.array([0, 0]), r"folds must be \(1,\), got \(2,\)"),
        ("samples", "folds", np.zeros(1, "i4"), "folds must be of dtype int64, got int32"),
        ("samples", "weights", np.ones((1, 2), "f4"), r"weights must be \(1, 4\), got \(1, 2\)"),
        ("samples", "weights", np.ones((1, 4)), "weights must be of dtype float32, got float64"),
        ("samples", "divisors", np.ones(2, "f4"), r"divisors must be \(1,\), got \(2,\)"),
        ("samples", "keys", np.zeros((1, 2), "u8"), "keys must be of dtype uint32, got uint64"),
        ("samples", "x", np.ones((3, 3, 4), "f4"), r"x must be \(3, 2, 4\), got \(3, 3, 4\)"),
        ("samples", "x", np.ones((3, 2, 4)), "x must be of dtype float32, got float64"),
        ("samples", "x", np.ones((3, 4, 2), "f4").swapaxes(1, 2), "x must be C-contiguous, got strides"),
        ("samples", "rows", np.ones((2, 4, 2), "f4"), r"rows must be \(3, 4, 2\), got \(2, 4, 2\)"),
        ("samples", "rows", np.ones((3, 2, 4), "f4"), r"rows must be \(3, 4, 2\), got \(3, 2, 4\)"),
        ("samples", "y", np.ones((1, 1, 2), "f4"), r"y must be \(1, 1, 4\), got \(1, 1, 2\)"),
        ("samples", "y", np.ones((2, 1, 4), "f4"), r"y must be \(1, 1, 4\), got \(2, 1, 4\)"),
        ("samples", "y", np.ones((1, 2, 4), "f4"), r"y must be \(1, 1, 4\), got \(1, 2, 4\)"),
        ("samples", "y", np.ones((1, 1, 4), "i4"), "y must be of dtype float32, got int32"),
        ("strengths", "rates", np.ones((0, 8), "f4"), "rates must be of as many networks"),
        ("strengths", "rates", np.ones((2, 7), "f4"), r"rates must be \(2, 8\), got \(2, 7\)"),
        ("strengths", "l1", np.ones((2, 1), "f4"), r"l1 must be \(2, 2\), got \(2, 1\)"),
        ("strengths", "thresholds", np.ones((2, 2)), "thresholds must be of dtype float32, got float64"),
        ("networks", "params", changed_leaf("params", 2, np.ones((1, 2, 1, 2), "f4")),
         r"params\[2\] must be \(2, 1, 3\), got \(1, 2, 1, 2\)"),
        ("networks", "params", changed_leaf("params", 0, np.ones((1, 1, 3, 2), "f4")),
         r"params\[0\] must be \(2, 3, 2\), got \(1, 1, 3, 2\)"),
        ("networks", "params", changed_leaf("params", 1, np.ones((2, 3, 1))),
         r"params\[1\] must be of dtype float32, got float64"),
        ("networks", "params", [], "params must be 4 arrays, got 0"),
        ("networks", "moments", [], "moments must be 8 arrays, got 0"),
        ("networks", "moments", changed_leaf("moments", 7, np.ones((1, 2, 1, 1), "f8")),
         r"moments\[7\] must be of dtype float32, got float64"),
        ("networks", "counts", None, "counts must be an array, got None"),
        ("networks", "counts", np.zeros(3, "i4"), r"counts must be \(2,\), got \(3,\)"),
        ("networks", "counts", np.zeros(4, "i4")[::2], r"counts must be C-contiguous, got strides \(8,\)"),
        ("networks", "counts", np.zeros(2, "i8"), "counts must be of dtype int32, got int64"),
        ("networks", "idle", np.zeros(2, bool), "idle must be of dtype int8, got bool"),
        ("program", "num_batches", 3, "batches must be of 4 samples, got 3 of 2"),
        ("program", "loss", LOSSES["softmax_cross_entropy"], None),  # targets are labels, of any outputs
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(part, name, value, problem):
    own = arguments()
    check(**own, dtype=np.dtype("f4"))
    own[part] = own[part]._replace(**{name: value})
    if problem is None:
        check(**own, dtype=np.dtype("f4"))
        return
    with pytest.raises(ValueError, match=problem):
        check(**own, dtype=np.dtype("f4"))


def test_arrays_of_another_dtype_than_the_librarys_are_refused():
    with pytest.raises(ValueError, match="x must be of dtype float64, got float32"):
        check(**arguments(), dtype=np.dtype("f8"))
