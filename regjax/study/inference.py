"""Networks in NumPy alone: what a model file and a fitted estimator predict with.

No setting of JAX changes these numbers, and nothing is compiled. `model.py` calls `network_outputs`; the
estimators of `regjax.sklearn` take the activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf, expit, softmax

from regjax.core.activations import SELU_ALPHA, SELU_SCALE
from regjax.core.config import REAL_LOSSES, Activation, Loss
from regjax.core.mlp import Params

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


def network_outputs(params: Params, x: np.ndarray, activation: Activation, loss: Loss) -> np.ndarray:
    """Returns probabilities of the classes, `(n, n_classes)`, or real values, `(n, n_outputs)`.

    Products are in the parameters' own precision, whichever the network was trained with.

    Args:
        params: one `Layer` of NumPy arrays per matrix of weights.
        x: inputs, `(n_features, n)`.
        activation: activation of the hidden layers.
        loss: loss of the training.
    """
    a, f = x, ACTIVATIONS[activation]
    with np.errstate(over="ignore", invalid="ignore"):  # a table may hold any number
        for w, b in params[:-1]:
            a = f(np.asarray(w) @ a + np.asarray(b))
        z = np.asarray(params[-1].w) @ a + np.asarray(params[-1].b)
    if loss in REAL_LOSSES:
        return np.exp(z).T if loss == "poisson" else z.T
    if loss == "sigmoid_cross_entropy":
        p = expit(z[0])
        return np.stack([1 - p, p], axis=1)
    return softmax(z.T, axis=1)
