"""MATLAB files that scipy does not write."""

import io
import struct

import numpy as np
import scipy.io

from regjax.data.matlab import read_arrays


def element(kind: int, body: bytes) -> bytes:
    """One element of a big-endian file: its type, its size, its bytes padded to a multiple of eight."""
    return struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8)


def test_a_big_endian_file_is_read():
    values = np.arange(6.0).reshape(2, 3)
    parts = (
        element(6, struct.pack(">II", 6, 0)),  # flags: an array of doubles
        element(5, struct.pack(">ii", *values.shape)),
        element(1, b"X"),
        element(9, values.astype(">f8").tobytes(order="F")),
    )
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x100) + b"MI"
    content = header + element(14, b"".join(parts))
    found = read_arrays(content)["X"]
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(found, scipy.io.loadmat(io.BytesIO(content))["X"])
