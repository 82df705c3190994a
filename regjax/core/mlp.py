"""The multi-layer perceptron: parameters, forward, hand-derived backward, prediction.

Arrays are features-first: `x` is `(n_features, n)`, `w` is `(fan_out, fan_in)`, `b` is `(fan_out, 1)`, logits
are `(n_outputs, n)`. `params` is a tuple of `Layer`, one per matrix of weights. `objective`, `evaluate` and
the tutorial call `forward`; `train` calls `init_params`; all packages take the types.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .activations import ACTIVATIONS
from .checks import check_choice
from .config import Activation, Config, Dtype, Init, Loss, Precision, check_precision
from .dropout import UnitMasks
from .platforms import activate, apart
from .random import INIT, is_drawn_on_cpu, normals, on_cpu, place_key, uniforms
from .settings import own_settings

# A product whose inner dimension is at most this is written as a sum of elementwise products, which XLA
# fuses with the activation and the mask; see benchmarks/bench_layout.py for what that is worth.
SMALL_INNER = 4


class Layer(NamedTuple):
    """One affine map: `w` `(fan_out, fan_in)`, `b` `(fan_out, 1)`."""

    w: jax.Array
    b: jax.Array


Params = tuple[Layer, ...]


def init_params(
    key: jax.Array, layer_sizes: Sequence[int], *, init: Init = "tutorial", dtype: Dtype = "float32"
) -> Params:
    """Returns fresh parameters: normal weights with mean 0, biases 0.

    Standard deviation of `w`: "tutorial" 1/√fan_in, "he" √(2/fan_in), "glorot"
    √(2/(fan_in + fan_out)). "sklearn" and "sklearn_logistic" draw weights and biases uniformly, within
    √(6/(fan_in + fan_out)) and √(2/(fan_in + fan_out)). The draw is made in float32 whatever the dtype, so
    a float64 run starts where the float32 run does; and on the CPU unless the key is traced, so that every
    device starts there.

    Args:
        key: key of the replicate.
        layer_sizes: units per layer, input and output included.
        init: name of the scale.
        dtype: dtype of the result.

    Raises:
        TypeError: layer sizes that are no whole numbers.
        ValueError: fewer than two layers, an empty one, or an unknown init or dtype.

    References:
        He et al. 2015, eq. 10; Glorot & Bengio 2010, eq. 12.

    Example:
        >>> import jax, regjax
        >>> params = regjax.init_params(jax.random.key(0), (2, 4, 1))
        >>> [layer.w.shape for layer in params]
        [(4, 2), (1, 4)]
    """
    sizes = Config(layer_sizes=tuple(layer_sizes), init=init, dtype=dtype).layer_sizes  # checks all three
    shapes = [(fan_out, fan_in) for fan_in, fan_out in itertools.pairwise(sizes)]
    draw = functools.partial(_draw, shapes=shapes, init=init, dtype=dtype)
    if not is_drawn_on_cpu(key):
        return draw(key)
    with own_settings(dtype):
        return on_cpu(draw, key)


def _draw(key: jax.Array, shapes: Sequence[tuple[int, int]], init: Init, dtype: Dtype) -> Params:
    if init in ("sklearn", "sklearn_logistic"):
        return _uniform(place_key(key, 0, INIT), shapes, init, dtype)
    params = []
    with own_settings(dtype):
        for normal, (fan_out, fan_in) in zip(normals(place_key(key, 0, INIT), shapes), shapes, strict=True):
            w = (normal * init_scale(init, fan_in, fan_out)).astype(dtype)
            params.append(Layer(w, jnp.zeros((fan_out, 1), dtype)))
    return tuple(params)


def init_scale(init: Init, fan_in: int, fan_out: int) -> float:
    """Returns the standard deviation of initial weights, or the bound of those that are drawn uniformly.

    Args:
        init: name of the scale, as in `init_params`.
        fan_in: units before the layer, at least 1.
        fan_out: units of the layer, at least 1.

    Example:
        >>> from regjax.core.mlp import init_scale
        >>> init_scale("tutorial", fan_in=4, fan_out=1)
        0.5
    """
    squares = {
        "tutorial": 1 / fan_in,
        "he": 2 / fan_in,
        "glorot": 2 / (fan_in + fan_out),
        "sklearn": 6 / (fan_in + fan_out),
        "sklearn_logistic": 2 / (fan_in + fan_out),
    }
    return math.sqrt(squares[init])


def _uniform(key: jax.Array, shapes: Sequence[tuple[int, int]], init: Init, dtype: Dtype) -> Params:
    """Returns weights and biases drawn uniformly within ± `init_scale`."""
    sizes = [fan_out * (fan_in + 1) for fan_out, fan_in in shapes]
    with own_settings(dtype):
        drawn = uniforms(key, (sum(sizes),), -1, 1)
        params = []
        parts = jnp.split(drawn, np.cumsum(sizes)[:-1])
        for part, (fan_out, fan_in) in zip(parts, shapes, strict=True):
            scaled = (part * init_scale(init, fan_in, fan_out)).astype(dtype)
            layer = scaled.reshape(fan_out, fan_in + 1)
            params.append(Layer(layer[:, :-1], layer[:, -1:]))
    return tuple(params)


class LayerResiduals(NamedTuple):
    """The values of one layer that `backward` needs: its masked input `h`, and `z` and `a = f(z)`."""

    h: jax.Array
    z: jax.Array
    a: jax.Array


class Residuals(NamedTuple):
    """The values that `forward` keeps for `backward`."""

    params: Params
    layers: tuple[LayerResiduals, ...]
    masks: UnitMasks


def forward(
    params: Params,
    x: jax.Array,
    masks: UnitMasks | None = None,
    *,
    activation: Activation = "relu",
    precision: Precision = "highest",
) -> tuple[jax.Array, Residuals]:
    """Returns the logits and what `backward` needs.

        h_l = a_{l-1} ⊙ mask_l,  z_l = w_l·h_l + b_l,  a_l = f(z_l);  a_{-1} = x;  logits = z_last

    Args:
        params: one `Layer` per matrix of weights.
        x: inputs, `(n_features, n)`.
        masks: factors on the input of each layer, `(fan_in, n)` or None each, as
            `dropout.dropout_masks` returns; None is inference.
        activation: activation of the hidden layers.
        precision: precision of the matrix products.

    Returns:
        Logits `(n_outputs, n)`, and the residuals.

    Raises:
        ValueError: precision "bfloat16" with float64 arrays, or parameters of a network with blocks.

    Example:
        >>> import jax, jax.numpy as jnp, regjax
        >>> params = regjax.init_params(jax.random.key(0), (2, 4, 1))
        >>> logits, residuals = regjax.forward(params, jnp.ones((2, 3)))
        >>> logits.shape
        (1, 3)
    """
    chex.assert_rank(x, 2)
    check_plain("params", params, "regjax.core.network.infer_logits takes those, with their config")
    check_precision(precision, x.dtype)
    masks = (None,) * len(params) if masks is None else masks
    layers, a = [], x
    for index, ((w, b), mask) in enumerate(zip(params, masks, strict=True)):
        chex.assert_shape(a, (w.shape[1], x.shape[1]))
        h = a if mask is None else a * mask
        z = product(w, h, precision) + b
        a = z if index == len(params) - 1 else activate(activation, z)
        layers.append(LayerResiduals(h, z, a))
    return a, Residuals(params, tuple(layers), masks)


def check_plain(name: str, params: Sequence[Any], instead: str) -> None:
    """Raises ValueError where parameters are of a network with blocks: a layer has more than w and b.

    Args:
        name: the argument, for the message.
        params: one `Layer` per matrix of weights; a pair will do.
        instead: what takes those of a network with blocks, for the message.

    Raises:
        ValueError: a layer has more parts than two.

    Example:
        >>> import regjax
        >>> from regjax.core.mlp import check_plain
        >>> check_plain("params", regjax.init_params(regjax.replicate_key(0), (2, 1)), "nothing")
    """
    if any(len(layer) != 2 for layer in params):
        raise ValueError(f"{name} must be of a plain network, got those of one with blocks; {instead}")


def backward(
    residuals: Residuals,
    d_logits: jax.Array,
    d_hidden: Sequence[jax.Array] | None = None,
    *,
    activation: Activation = "relu",
    precision: Precision = "highest",
) -> tuple[Params, jax.Array, None]:
    """Returns the cotangents of `forward`'s inputs: of `params`, of `x`, and None for the masks.

    Args:
        residuals: residuals that `forward` returns.
        d_logits: gradient of a scalar in the logits, `(n_outputs, n)`.
        d_hidden: extra gradient added at each hidden activation `a`, `(units, n)` each; None adds nothing.
        activation: as in `forward`.
        precision: as in `forward`.

    Returns:
        Gradients like `params`; the gradient of the input, `(n_features, n)`; None (masks are data).

    Raises:
        ValueError: residuals of a network with blocks.

    Example:
        >>> import jax, jax.numpy as jnp, regjax
        >>> params = regjax.init_params(jax.random.key(0), (2, 4, 1))
        >>> logits, residuals = regjax.forward(params, jnp.ones((2, 3)))
        >>> grads, dx, _ = regjax.backward(residuals, jnp.ones_like(logits))
        >>> grads[0].w.shape, dx.shape
        ((4, 2), (2, 3))
    """
    check_plain("residuals", residuals.params, "regjax.core.blocks.backward takes those, with their config")
    chex.assert_equal_shape([d_logits, residuals.layers[-1].z])
    derivative = ACTIVATIONS[activation].derivative
    grads: list[Layer] = []
    da = d_logits  # the last layer is linear: a = z
    for index in reversed(range(len(residuals.params))):
        w = residuals.params[index].w
        h, z, a = residuals.layers[index]
        mask = residuals.masks[index]
        dz = da if index == len(residuals.params) - 1 else da * derivative(z, a)  # a = f(z)
        db = jnp.sum(dz, axis=1, keepdims=True)  # z = w·h + b
        dw = apart(product(dz, h.T, precision))  # z = w·h + b
        dh = product(w.T, dz, precision)  # z = w·h + b
        da = dh if mask is None else dh * mask  # h = a ⊙ mask
        if d_hidden is not None and index > 0:
            da = da + d_hidden[index - 1]
        grads.append(Layer(dw, db))
    return tuple(reversed(grads)), da, None


def predict_proba(
    params: Params,
    x: jax.Array,
    *,
    loss: Loss = "sigmoid_cross_entropy",
    activation: Activation = "relu",
    precision: Precision = "highest",
) -> jax.Array:
    """Returns probabilities of the classes in inference mode.

    Args:
        params: one `Layer` per matrix of weights.
        x: inputs, `(n_features, n)`.
        loss: loss of the training.
        activation: activation of the hidden layers.
        precision: precision of the matrix products.

    Returns:
        `(1, n)`, the probability of class 1, for sigmoid cross-entropy; `(n_classes, n)` for softmax;
        `(n_labels, n)`, the probability of each label, for multilabel cross-entropy.

    Raises:
        ValueError: an unknown loss, one that does not fit the number of outputs, or one of real targets: a
            regression network has no probabilities; parameters of a network with blocks.

    Example:
        >>> import jax, jax.numpy as jnp, regjax
        >>> params = regjax.init_params(jax.random.key(0), (2, 4, 1))
        >>> regjax.predict_proba(params, jnp.zeros((2, 3))).tolist()
        [[0.5, 0.5, 0.5]]
    """
    logits, _ = forward(params, x, activation=activation, precision=precision)
    return probabilities(logits, loss)


def probabilities(logits: jax.Array, loss: Loss) -> jax.Array:
    """Returns the probabilities of logits, shapes and errors as in `predict_proba`.

    Args:
        logits: z, `(n_outputs, n)`.
        loss: name of the loss.

    Raises:
        ValueError: an unknown loss, one that does not fit the number of outputs, or one of real targets.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.mlp import probabilities
        >>> probabilities(jnp.array([[0.0]]), "sigmoid_cross_entropy").tolist()
        [[0.5]]
    """
    _check_outputs(logits, loss)
    if loss in ("sigmoid_cross_entropy", "multilabel_cross_entropy"):
        return jax.nn.sigmoid(logits)
    if loss == "softmax_cross_entropy":
        return jax.nn.softmax(logits, axis=0)
    raise ValueError(f"loss must be a cross-entropy for probabilities, got {loss!r}")


def predict(
    params: Params,
    x: jax.Array,
    *,
    loss: Loss = "sigmoid_cross_entropy",
    activation: Activation = "relu",
    precision: Precision = "highest",
) -> jax.Array:
    """Returns predictions in inference mode, `(1, n)` labels or `(n_outputs, n)` real values.

    A two-class network predicts 1 where the probability is above ½, and multilabel cross-entropy does so for
    each label, `(n_labels, n)`. Arguments as in `predict_proba`.

    Raises:
        ValueError: an unknown loss, or one that does not fit the number of outputs; parameters of a network
            with blocks.

    Example:
        >>> import jax, jax.numpy as jnp, regjax
        >>> params = regjax.init_params(jax.random.key(0), (2, 4, 3))
        >>> regjax.predict(params, jnp.ones((2, 5)), loss="softmax_cross_entropy").shape
        (1, 5)
    """
    logits, _ = forward(params, x, activation=activation, precision=precision)
    return decide(logits, loss)


def decide(logits: jax.Array, loss: Loss) -> jax.Array:
    """Returns the prediction of logits.

    That is classes `(1, n)`, labels `(n_labels, n)`, or real values `(n_outputs, n)`: exp for poisson.

    Args:
        logits: z, `(n_outputs, n)`.
        loss: name of the loss.

    Raises:
        ValueError: an unknown loss, or one that does not fit the number of outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.mlp import decide
        >>> decide(jnp.array([[-1.0, 2.0]]), "sigmoid_cross_entropy").tolist()
        [[0, 1]]
    """
    _check_outputs(logits, loss)
    if loss in ("sigmoid_cross_entropy", "multilabel_cross_entropy"):
        return (logits > 0).astype(jnp.int32)
    if loss == "softmax_cross_entropy":
        return jnp.argmax(logits, axis=0, keepdims=True).astype(jnp.int32)
    return jnp.exp(logits) if loss == "poisson" else logits


def _check_outputs(logits: jax.Array, loss: Loss) -> None:
    check_choice("loss", loss, get_args(Loss))
    if loss == "sigmoid_cross_entropy" and logits.shape[0] != 1:
        raise ValueError(f"loss must be softmax_cross_entropy for {logits.shape[0]} outputs, got {loss!r}")


def product(a: jax.Array, b: jax.Array, precision: Precision) -> jax.Array:
    """Returns a·b for matrices, `(m, k)·(k, n) → (m, n)`.

    Args:
        a: a matrix, `(m, k)`.
        b: a matrix, `(k, n)`.
        precision: as in `Config`.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.mlp import product
        >>> product(jnp.ones((1, 2)), jnp.ones((2, 1)), "highest").tolist()
        [[2.0]]
    """
    inner = a.shape[1]
    if precision == "bfloat16":
        # Rounded before the cast: XLA may drop a cast to bfloat16 and back, never a `reduce_precision`.
        a, b = (lax.reduce_precision(operand, exponent_bits=8, mantissa_bits=7) for operand in (a, b))
        if inner > SMALL_INNER:  # the product of two bfloat16 numbers is exact in float32
            a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
            return jnp.matmul(a, b, preferred_element_type=jnp.float32)
    if inner <= SMALL_INNER:
        terms = (a[:, k : k + 1] * b[k : k + 1, :] for k in range(inner))
        return functools.reduce(operator.add, terms)
    return jnp.matmul(a, b, precision=precision)
