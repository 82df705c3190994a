"""The reader of MATLAB 5 files; tests/cli/test_fuzz.py holds it against SciPy's on files of every kind."""

import io
import struct
import sys

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from regjax.data.matlab import read_arrays


def saved(**arrays):
    packed = io.BytesIO()
    scipy.io.savemat(packed, arrays)
    return packed.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_of_every_kind(compressed):
    arrays = {
        "reals": np.arange(6.0).reshape(2, 3),
        "bytes": np.arange(4, dtype=np.uint8)[None],
        "complex": np.array([[1 + 2j, 3 - 1j]]),
        "words": np.array(["red", "blue"]),
        "cube": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    }
    packed = io.BytesIO()
    scipy.io.savemat(packed, arrays, do_compression=compressed)
    found = read_arrays(packed.getvalue())
    assert list(found) == list(arrays)
    assert found.pop("words").tolist() == ["red ", "blue"]  # MATLAB pads words to one length
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name])


def test_what_is_no_full_array_is_none():
    found = read_arrays(saved(cell=np.array(["a", 1], object), struct={"a": 1}, sparse=scipy.sparse.eye(2)))
    assert found == {"cell": None, "struct": None, "sparse": None}


def test_numbers_of_a_big_endian_machine():
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x100) + b"MI"
    flags = struct.pack(">II", 6, 8) + struct.pack(">II", 6, 0)  # class 6: double
    shape = struct.pack(">IIii", 5, 8, 1, 2)
    name = struct.pack(">HH", 1, 1) + b"X\0\0\0"  # a small element: size and type in one word
    values = struct.pack(">IIdd", 9, 16, 1.5, -2.0)
    body = flags + shape + name + values
    found = read_arrays(header + struct.pack(">II", 14, len(body)) + body)
    assert found["X"].tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it has not the header of one"),
        (b"x" * 200, "it has not the header of one"),
        (saved(X=np.ones(3))[:-8], "it ends too early"),
        (b" " * 124 + struct.pack("<H", 0x200) + b"IM", "version 7.3, and it is damaged"),
        (b" " * 124 + struct.pack("<H", 0x300) + b"IM", "its header says version 0x300"),
    ],
    ids=["empty", "text", "cut", "version 0x200", "version 0x300"],  # the cut file contains the time
)
def test_bad_content(content, words):
    with pytest.raises(ValueError, match=words):
        read_arrays(content)


def test_version_7_3_needs_a_package_or_is_read_like_version_5(monkeypatch):
    header = b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x200) + b"IM"
    h5py, packed = pytest.importorskip("h5py"), io.BytesIO()
    with h5py.File(packed, "w", userblock_size=512) as file:
        file["X"] = np.arange(6.0).reshape(3, 2)  # HDF5 keeps MATLAB's arrays transposed
        file["y"] = np.frombuffer("red".encode("utf-16-le"), "u2")[:, None]
        file["y"].attrs["MATLAB_class"] = np.bytes_("char")
        file["s"] = np.zeros((2, 1), "u8")
        file["s"].attrs["MATLAB_class"] = np.bytes_("cell")
    found = read_arrays(header + packed.getvalue()[128:])
    np.testing.assert_array_equal(found["X"], np.arange(6.0).reshape(3, 2).T)
    assert found["y"].tolist() == ["red"]
    assert found["s"] is None
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"needs h5py: pip install 'regjax\[matlab\]', or save it with -v7"):
        read_arrays(header)
