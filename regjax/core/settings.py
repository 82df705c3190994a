"""The context in which every program of regjax runs, so that JAX's settings change no number.

A user's settings are global: a program that is traced under another default generator, under x64 or under a
check for NaN draws other bits, or raises. `train.make_train`, the lanes of `regjax.engine`, the estimators,
the tutorial and all predictions enter the context. The modules of `core` also name the generator and each
dtype, so that a function that is called alone gives the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

from .config import Dtype

# The generator of every key, and so of every draw: stored results depend on it.
GENERATOR = "threefry2x32"


@contextlib.contextmanager
def own_settings(dtype: Dtype) -> Iterator[None]:
    """Holds a context in which JAX computes the same bits and raises nothing, whatever a user has set.

    It acts on this thread alone and for its duration: a thread that a sweep starts enters its own. The user's
    rules of dtype and rank promotion stay: they can only raise, and the code keeps to the strictest of them.

    Args:
        dtype: dtype of the parameters; x64 is on for "float64", else off.
    """
    with contextlib.ExitStack() as stack:
        for setting in (
            jax.enable_x64(dtype == "float64"),
            jax.default_prng_impl(GENERATOR),
            jax.threefry_partitionable(True),
            jax.legacy_prng_key("allow"),
            jax.default_matmul_precision(None),
            jax.disable_jit(False),
            # NaN and infinity have a meaning: a metric that is not defined, the best loss before the first.
            jax.debug_nans(False),
            jax.debug_infs(False),
            # Every step and place folds its own numbers into the same key.
            jax.debug_key_reuse(False),
            # Programs are called with arrays of NumPy.
            jax.transfer_guard("allow"),
        ):
            stack.enter_context(setting)
        yield
