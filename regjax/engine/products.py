"""Matrix products of the GPU's kernels, in the precisions of a config.

The tensor cores multiply bfloat16 and add in float32, many times faster than float32 is multiplied. A float32
number is the sum of three of bfloat16, and six of the nine products of their parts give a float32 product:
what the other three would add is less than 2⁻²⁴ of it. The sums are in float32 either way.

References:
    Henry, Tang & Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for
    higher-precision computations"; lax.DotAlgorithmPreset.BF16_BF16_F32_X6.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from regjax.core.config import Precision

# Which part of a and which of b are multiplied: the largest last, so that the small ones are not lost.
SIX = ((0, 2), (2, 0), (1, 1), (0, 1), (1, 0), (0, 0))


def product(a: Any, b: Any, of_a: int, of_b: int, precision: Precision) -> Any:
    """Returns the product of two matrices, summed over the axis `of_a` of one and `of_b` of the other.

    Args:
        a: float32.
        b: float32.
        of_a: axis of a, 0 or 1.
        of_b: axis of b.
        precision: as in `Config`; "high" and "default" are TF32, as JAX has them on a GPU.
    """
    numbers = (((of_a,), (of_b,)), ((), ()))
    if precision in ("high", "default"):
        return lax.dot_general(a, b, numbers, precision=lax.Precision.DEFAULT)
    if precision == "bfloat16":
        pairs, parts = ((0, 0),), ([a.astype(jnp.bfloat16)], [b.astype(jnp.bfloat16)])
    else:
        pairs, parts = SIX, (_parts(a), _parts(b))
    total = None
    for i, j in pairs:
        one = lax.dot_general(parts[0][i], parts[1][j], numbers, preferred_element_type=jnp.float32)
        total = one if total is None else total + one
    return total


def _parts(a: Any) -> list[Any]:
    """Returns three arrays of bfloat16 whose sum is `a`, the largest first."""
    found = []
    for _ in range(3):
        found.append(a.astype(jnp.bfloat16))
        a = a - found[-1].astype(jnp.float32)
    return found
