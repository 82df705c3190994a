"""Networks in NumPy alone: what a model file and a fitted estimator predict with.

No setting of JAX changes these numbers, and nothing is compiled. `model.py` calls `network_outputs`; the
estimators of `regjax.sklearn` take the activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import erf, expit, softmax

from regjax.core.activations import SELU_ALPHA, SELU_SCALE
from regjax.core.blocks import residual_layers
from regjax.core.config import REAL_LOSSES, Config, Loss
from regjax.core.embeddings import LEAST_WIDTH, Periodic
from regjax.core.mlp import Params
from regjax.core.normalisation import EPS

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z,
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: (z * (1 + erf(z / math.sqrt(2))) / 2).astype(z.dtype),
    "silu": lambda z: z * expit(z),
    "selu": lambda z: np.where(
        z > 0, SELU_SCALE * z, SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(z, 0))
    ).astype(z.dtype),
}


def network_outputs(params: Params, x: np.ndarray, config: Config, loss: Loss) -> np.ndarray:
    """Returns probabilities of the classes, `(n, n_classes)`, or real values, `(n, n_outputs)`.

    Products are in the parameters' own precision, whichever the network was trained with. Members of a
    network are averaged.

    Args:
        params: one `Layer` or `Block` of NumPy arrays per matrix of weights.
        x: inputs, `(n_features, n)`.
        config: activation and blocks.
        loss: loss of the training.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a table may hold any number
        if config.is_plain:
            return _of_logits(_plain_logits(params, x, config), loss)
        each = [_of_logits(logits, loss) for logits in _block_logits(params, x, config)]
    return np.mean(each, axis=0, dtype=x.dtype)


def _plain_logits(params: Params, x: np.ndarray, config: Config) -> np.ndarray:
    a, f = x, ACTIVATIONS[config.activation]
    for w, b in params[:-1]:
        a = f(np.asarray(w) @ a + np.asarray(b))
    return np.asarray(params[-1].w) @ a + np.asarray(params[-1].b)


def _block_logits(params: Any, x: np.ndarray, config: Config) -> Iterator[np.ndarray]:
    """Yields the logits of each member, `(n_outputs, n)`: `blocks.forward` in inference, member by member."""
    f, embedded = ACTIVATIONS[config.activation], _embedded(params[0].embedding, x)
    for member in range(config.members):
        a, own = embedded, slice(member, member + 1)
        for index, (block, is_residual) in enumerate(zip(params, residual_layers(config), strict=True)):
            factors = block.factors
            h = a if factors is None else a * np.asarray(factors.r)[:, own]
            z = np.asarray(block.w) @ h
            z = z if factors is None else z * np.asarray(factors.s)[:, own]
            y = _normalised(z + np.asarray(block.b)[:, own], block.norm)
            out = y if index == len(params) - 1 else f(y)
            a = out + a if is_residual else out
        yield a


def _normalised(z: np.ndarray, norm: Any) -> np.ndarray:
    if norm is None:
        return z
    mean, variance = norm.mean, norm.variance
    if mean is None:
        mean, variance = z.mean(axis=0, keepdims=True), z.var(axis=0, keepdims=True)
    z_hat = (z - np.asarray(mean)) / np.sqrt(np.asarray(variance) + np.asarray(EPS, z.dtype))
    return np.asarray(norm.scale) * z_hat + np.asarray(norm.shift)


def _embedded(embedding: Any, x: np.ndarray) -> np.ndarray:
    if embedding is None:
        return x
    if isinstance(embedding, Periodic):
        angle = 2 * np.pi * np.asarray(embedding.frequencies)[:, :, None] * x[:, None, :]
        waves = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
        return waves.reshape(-1, x.shape[1]).astype(x.dtype)
    edges = np.asarray(embedding.edges)
    width = np.diff(edges, axis=1)
    wide = width > LEAST_WIDTH * (edges[:, -1:] - edges[:, :1])
    steepness = np.where(wide, 1 / np.where(wide, width, 1), 0)
    share = (x[:, None, :] - edges[:, :-1, None]) * steepness[:, :, None]
    share[:, 1:] = np.maximum(share[:, 1:], 0)
    share[:, :-1] = np.minimum(share[:, :-1], 1)
    return share.reshape(-1, x.shape[1]).astype(x.dtype)


def _of_logits(z: np.ndarray, loss: Loss) -> np.ndarray:
    """Returns probabilities or real values of logits, samples first."""
    if loss in REAL_LOSSES:
        return np.exp(z).T if loss == "poisson" else z.T
    if loss == "sigmoid_cross_entropy":
        p = expit(z[0])
        return np.stack([1 - p, p], axis=1)
    return softmax(z.T, axis=1)
