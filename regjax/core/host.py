"""Draws on the host, by NumPy: those of `core/random.py` to the bit, with next to nothing to compile.

`study/design.py` makes the keys of replicates here, and `engine/lanes.py` their initial parameters. A program
of XLA that draws weights takes half a second to compile, longer than small networks take to train.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .config import Dtype, Init
from .mlp import Layer, Params, init_scale
from .random import INIT, rounds
from .settings import own_settings

# erf⁻¹ is XLA's, as its last bits are: by a program for so many numbers, called as often as needed.
BLOCK = 4096


def fold_in(words: np.ndarray, data: Any) -> np.ndarray:
    """Returns the key data of `jax.random.fold_in`, `(…, 2)` uint32.

    Args:
        words: key data, `(…, 2)` uint32.
        data: whole numbers in 0 … 2³² - 1, whose axes are broadcast with the leading ones of `words`.
    """
    data = np.asarray(data, np.uint32)[..., None]  # with an axis: numbers of NumPy would warn of overflow
    return np.concatenate(rounds((words[..., :1], words[..., 1:]), np.zeros_like(data), data), axis=-1)


def replicate_words(seed: Any, fold: Any = 0) -> np.ndarray:
    """Returns the key data of `random.replicate_key`, `(…, 2)` uint32; of whole numbers in 0 … 2³² - 1.

    Example:
        >>> replicate_words(3, [0, 1]).shape
        (2, 2)
    """
    return fold_in(fold_in(np.zeros(2, np.uint32), seed), fold)


def initial_params(
    words: np.ndarray, layer_sizes: Sequence[int], *, init: Init = "tutorial", dtype: Dtype = "float32"
) -> Params:
    """Returns the parameters of `mlp.init_params` for several keys, leaves `(keys, …)` of NumPy.

    Args:
        words: key data of the replicates, `(keys, 2)` uint32.
        layer_sizes: units per layer.
        init: name of the scale.
        dtype: dtype of the result.
    """
    key = fold_in(fold_in(words, 0), INIT)
    pairs, layers = list(itertools.pairwise(layer_sizes)), []
    if init in ("sklearn", "sklearn_logistic"):
        drawn = uniforms(bits(key, sum(fan_out * (fan_in + 1) for fan_in, fan_out in pairs)))
        at = 0
        for fan_in, fan_out in pairs:
            part = drawn[:, at : at + fan_out * (fan_in + 1)]
            at += fan_out * (fan_in + 1)
            scaled: Any = (part * np.float32(init_scale(init, fan_in, fan_out))).astype(dtype)
            scaled = scaled.reshape(-1, fan_out, fan_in + 1)
            layers.append(Layer(scaled[:, :, :-1].copy(), scaled[:, :, -1:].copy()))
        return tuple(layers)
    for index, (fan_in, fan_out) in enumerate(pairs):
        normal = _normals(bits(fold_in(key, index), fan_out * fan_in))
        w: Any = (normal * np.float32(init_scale(init, fan_in, fan_out))).astype(dtype)
        w = w.reshape(-1, fan_out, fan_in)
        b: Any = np.zeros((len(w), fan_out, 1), dtype)
        layers.append(Layer(w, b))
    return tuple(layers)


def bits(words: np.ndarray, count: int) -> np.ndarray:
    """Returns 32 random bits for each key and place, `(keys, count)` uint32, as JAX draws them."""
    counters = np.arange(count, dtype=np.uint32)[None, :]
    high, low = rounds((words[:, :1], words[:, 1:]), np.zeros_like(counters), counters)
    return high ^ low


def uniforms(drawn: np.ndarray, low: float = -1.0) -> np.ndarray:
    """Returns uniform numbers in [low, 1), float32, as `jax.random.uniform` makes them of bits."""
    least = np.float32(low)
    ones = ((drawn >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32)
    return np.maximum(least, (ones - np.float32(1)) * (np.float32(1) - least) + least)


def _normals(drawn: np.ndarray) -> np.ndarray:
    """Returns standard normal numbers, float32, as `random.normals` makes them of bits."""
    uniform = uniforms(drawn, float(np.nextafter(np.float32(-1), np.float32(0)))).ravel()
    found = np.empty_like(uniform)
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        cpu = None  # JAX has none beside its device (JAX_PLATFORMS): that device draws, as in `on_cpu`
    with own_settings("float32"), jax.default_device(cpu):
        for first in range(0, len(uniform), BLOCK):
            part = uniform[first : first + BLOCK]
            filled = np.pad(part, (0, BLOCK - len(part)))
            found[first : first + BLOCK] = np.asarray(_stretched(filled))[: len(part)]
    return found.reshape(drawn.shape)


@jax.jit
def _stretched(uniform: jax.Array) -> jax.Array:
    return jnp.float32(math.sqrt(2)) * lax.erf_inv(uniform)
