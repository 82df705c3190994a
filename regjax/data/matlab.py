"""Arrays of MATLAB files, version 5 and, where h5py is installed, 7.3; `loaders.load_mat` calls it.

scipy.io.loadmat is not used: it looks types up without a check, and on some damaged files it ends the process
(SciPy 1.17; found by tests/support/fuzz.py).

References:
    MathWorks, *MAT-File Format*: level 5.
"""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

# Storage types of values, by their number in the file.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TYPES |= {16: "u1", 17: "u2", 18: "u4"}  # text in UTF-8, 16 and 32
# Types of elements; then classes of arrays, and the flag of complex values.
_ARRAY, _COMPRESSED = 14, 15
_TEXT, _OPAQUE, _COMPLEX = 4, 17, 0x800
_FULL = (_TEXT, *range(6, 16))  # text and dense numbers, not cells, structures or sparse matrices


def read_arrays(content: bytes) -> dict[str, Any]:
    """Returns the arrays of a MATLAB file by name; None for cells, structures and sparse matrices.

    Args:
        content: the bytes of the file.

    Raises:
        ValueError: another kind of file, or version 7.3 without h5py. A damaged file may raise others too.
    """
    if content[126:128] not in (b"IM", b"MI"):
        raise ValueError("it has not the header of one")
    order = "<" if content[126:128] == b"IM" else ">"
    version = int(np.frombuffer(content, order + "u2", 1, 124)[0])
    if version != 0x100:
        if version == 0x200:
            return _read_hdf5(content)
        raise ValueError(f"its header says version {version:#x}")
    found: dict[str, Any] = {}
    for kind, body in _elements(content[128:], order):
        if kind == _COMPRESSED:
            kind, body = next(_elements(zlib.decompress(body), order))
        if kind == _ARRAY:
            name, value = _array([*itertools.islice(_elements(body, order), 5)], order)
            found[name] = value
    return found


def _read_hdf5(content: bytes) -> dict[str, Any]:
    """Returns the arrays of a MATLAB 7.3 file, which is HDF5, by name; None for cells and structures."""
    try:
        import h5py
    except ImportError:
        raise ValueError(
            "version 7.3 needs h5py: pip install 'regjax[matlab]', or save it with -v7 in MATLAB"
        ) from None
    found: dict[str, Any] = {}
    try:
        opened = h5py.File(io.BytesIO(content), "r")
    except OSError:  # it names no file, and its words are those of HDF5's own functions
        raise ValueError("its header says version 7.3, and it is damaged") from None
    with opened as file:
        for name, value in file.items():
            if name.startswith("#"):  # what references point to
                continue
            kind = value.attrs.get("MATLAB_class", b"").decode()
            if not isinstance(value, h5py.Dataset) or kind == "cell":
                found[name] = None
                continue
            array = np.zeros(0) if value.attrs.get("MATLAB_empty", 0) else value[()]
            # MATLAB counts the first dimension fastest, HDF5 the last.
            array = np.asarray(array).T
            found[name] = _lines_of(array) if kind == "char" else array
    return found


def _lines_of(letters: np.ndarray) -> np.ndarray:
    """Returns each line of an array of code points as a string."""
    return np.array(["".join(map(chr, line)) for line in np.atleast_2d(letters).tolist()])


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yields the type and the bytes of each element: a tag of 8 bytes, then the bytes, padded to 8."""
    at = 0
    while at < len(content):
        kind, size = np.frombuffer(content, order + "u4", 2, at).tolist()
        at += 8
        if kind >> 16:  # a small element: up to four bytes stand in the tag itself
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at - 4, 0
        else:
            start, step = at, size if kind == _COMPRESSED else size + -size % 8
        if size > len(content) - start:
            raise ValueError("it ends too early")
        yield kind, content[start : start + size]
        at += step


def _array(parts: list[tuple[int, bytes]], order: str) -> tuple[str, np.ndarray | None]:
    """Returns the name and the array of an element's parts: flags, shape, name, real and imaginary values.

    Each line of an array of characters becomes one string.
    """
    flags = int(np.frombuffer(parts[0][1], order + "u4")[0])
    array_class = flags & 0xFF
    if array_class == _OPAQUE:  # the name comes second: there is no shape
        return parts[1][1].decode("latin-1"), None
    name = parts[2][1].decode("latin-1")
    if array_class not in _FULL:
        return name, None
    shape = np.frombuffer(parts[1][1], order + "u4")
    real, *imaginary = [np.frombuffer(body, order + _TYPES[kind]) for kind, body in parts[3:]]
    if array_class == _TEXT:
        # Bytes are UTF-8; two or four bytes a character are code points.
        letters = (
            real.tobytes().decode(errors="replace") if real.dtype.itemsize == 1 else map(chr, real.tolist())
        )
        lines = np.array([*letters], "U1").reshape(shape, order="F")
        if not lines.size:
            return name, np.zeros(shape[:-1], "U1")
        return name, np.ascontiguousarray(lines).view(f"U{lines.shape[-1]}")[..., 0]
    values = real + 1j * imaginary[0] if flags & _COMPLEX else real.copy()
    return name, values.reshape(shape, order="F")
