"""What XLA is told beside the arithmetic.

`activate` and `apart` tell an accelerator's compiler what one pass over memory may do; a program for a CPU
compiles to the same instructions with them as without. `mlp.py`, `blocks.py` and `members.py` call them, and
docs/benchmarks.md says what they save on a GPU. `jit_with` gives options to the compiler for a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import lax

from .activations import ACTIVATIONS
from .config import Activation


def activate(activation: Activation, z: jax.Array) -> jax.Array:
    """Returns f(z), the activation of a layer's sums.

    Args:
        activation: name of f.
        z: weighted sums, of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.platforms import activate
        >>> activate("relu", jnp.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    f = ACTIVATIONS[activation].f
    if activation != "relu" or _has_cpu_alone():
        return f(z)
    # `where` reads z twice, so XLA for a GPU stores z, and computes the activation in a pass of its own. A
    # maximum reads it once, and ends the product's pass. NaN stays NaN there, where a CPU has 0.
    return lax.platform_dependent(z, cpu=f, default=jax.nn.relu)


def apart(product: jax.Array) -> jax.Array:
    """Returns a product of matrices to which, on an accelerator, the compiler adds nothing.

    cuBLAS can add a matrix to a product, and XLA lets it compute dw + λ·w: λ·w is written, read, and the sum
    written for the update to read. Apart, the update reads dw and w in one pass.

    Args:
        product: the product.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.platforms import apart
        >>> apart(jnp.ones(2)).tolist()
        [1.0, 1.0]
    """
    if _has_cpu_alone():
        return product
    return lax.platform_dependent(product, cpu=lambda value: value, default=lax.optimization_barrier)


def _has_cpu_alone() -> bool:
    # A choice by platform is traced as a branch: 0.03 to 0.1 s of a program that is for a CPU alone.
    return jax.default_backend() == "cpu"


def jit_with(options: Mapping[str, Any], function: Callable[..., Any], **settings: Any) -> Any:
    """Returns `jax.jit` of a function with options of XLA's compiler for a CPU.

    Elsewhere, and where another version of the compiler lacks an option, it compiles without them.

    Args:
        options: options of XLA, by name.
        function: the function.
        **settings: other arguments of `jax.jit`.

    Example:
        >>> from regjax.core.platforms import jit_with
        >>> float(jit_with({"xla_backend_optimization_level": 1}, lambda x: x + 1)(0.0))
        1.0
    """
    if jax.default_backend() != "cpu":
        return jax.jit(function, **settings)
    try:
        jax.jit(lambda x: x + 1, compiler_options=dict(options))(0.0)
    except Exception:
        return jax.jit(function, **settings)
    return jax.jit(function, compiler_options=dict(options), **settings)
