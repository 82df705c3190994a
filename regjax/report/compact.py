"""What keeps the page small: how many bytes each part may take, and numbers in half precision.

`arrays`, `evidence` and `networks` call it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# Bytes of the parts that have a size per configuration. With Bokeh's own 2 MB, and base64, a page has at
# most 15 MB. Where not all fits, the page has that of the best configurations.
BUDGET = {"networks": 2_600_000, "curves": 1_600_000, "examples": 1_200_000, "dots": 600_000}
LARGEST_HALF = float(np.finfo(np.float16).max)


def as_half(values: np.ndarray) -> np.ndarray:
    """Returns the bits of the values as float16, uint16; float32 values where float16 is too small.

    A page has no arrays of float16: its script reads the bits.
    """
    values = np.asarray(values)
    if np.abs(values, where=np.isfinite(values), out=np.zeros(values.shape)).max(initial=0) > LARGEST_HALF:
        return values.astype(np.float32)
    return values.astype(np.float16).view(np.uint16)


def empty_columns(count: int, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Returns columns of NaN, `(count,)` each."""
    return {name: np.full(count, np.nan) for name in names}
