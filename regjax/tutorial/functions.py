"""The tutorial's functions under the tutorial's names, computed by regjax's core; users call them.

Code that was written in the tutorial runs after a change of its import. The layout is the tutorial's:
arrays are features-first, parameters and gradients are dictionaries ("W1", "b1", …, "dZ3", "dW3", …), caches
are tuples, and all arrays are NumPy's. Everything is computed in float64. Two things differ from the
tutorial: any depth is allowed, and λ and dropout may be on together.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from regjax.core import activations, mlp, penalties
from regjax.core.checks import check_count
from regjax.core.config import Config
from regjax.core.data import PAD_MULTIPLE, Data, check_data, pad_samples
from regjax.core.dropout import UnitMasks, dropout_masks
from regjax.core.hparams import HParams, check_hparam, check_hparams
from regjax.core.random import replicate_key
from regjax.core.settings import own_settings
from regjax.data.loaders import load_mat
from regjax.tutorial.training import Networks, train_networks

HIDDEN = (20, 3)  # units of the tutorial's hidden layers

Parameters = dict[str, np.ndarray]
Cache = tuple[np.ndarray, ...]


def load_2D_dataset(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns train_X `(2, m)`, train_Y `(1, m)`, test_X, test_Y of the tutorial's data.mat.

    Raises:
        OSError: the file cannot be opened.
        ValueError: not such a file, see `regjax.load_mat`; or one without Xval and yval.

    Example:
        >>> import numpy as np, regjax.tutorial, scipy.io, tempfile
        >>> arrays = {"X": np.eye(2), "y": [[0], [1]], "Xval": np.eye(2), "yval": [[0], [1]]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scipy.io.savemat(f"{folder}/data.mat", arrays)
        ...     [array.shape for array in regjax.tutorial.load_2D_dataset(f"{folder}/data.mat")]
        [(2, 2), (1, 2), (2, 2), (1, 2)]
    """
    train_set, test_set = load_mat(path)
    if test_set is None:
        raise ValueError(f"{path}: must hold X, y, Xval, yval, and holds X and y alone")
    return train_set.x, train_set.y, test_set.x, test_set.y


def initialize_parameters(layers_dims: Sequence[int]) -> Parameters:
    """Returns the tutorial's initial parameters: after `seed(3)`, W = randn(fan_out, fan_in)/√fan_in; b = 0.

    NumPy's global stream is not touched.

    Args:
        layers_dims: units of the input, of each hidden layer and of the output.

    Example:
        >>> from regjax.tutorial import initialize_parameters
        >>> {name: value.shape for name, value in initialize_parameters([2, 3, 1]).items()}
        {'W1': (3, 2), 'b1': (3, 1), 'W2': (1, 3), 'b2': (1, 1)}
    """
    stream = np.random.RandomState(3)
    parameters = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(layers_dims), 1):
        parameters[f"W{layer}"] = stream.randn(fan_out, fan_in) / np.sqrt(fan_in)
        parameters[f"b{layer}"] = np.zeros((fan_out, 1))
    return parameters


def numpy_masks(layers_dims: Sequence[int], num_samples: int, keep_prob: float) -> list[np.ndarray]:
    """Returns the tutorial's boolean masks D1, D2, …, `(units, num_samples)` each, drawn after `seed(1)`.

    The tutorial calls `seed(1)` in every forward pass, so the masks are the same at every step of a run.
    """
    stream = np.random.RandomState(1)
    return [stream.rand(units, num_samples) < keep_prob for units in layers_dims[1:-1]]


def sigmoid(x: ArrayLike) -> np.ndarray:
    """Returns 1/(1 + exp(-x)), of the shape of x.

    Example:
        >>> from regjax.tutorial import sigmoid
        >>> sigmoid([0.0, 2.0]).round(3).tolist()
        [0.5, 0.881]
    """
    return _float64(activations.sigmoid, np.asarray(x))


def relu(x: ArrayLike) -> np.ndarray:
    """Returns max(x, 0), of the shape of x.

    Example:
        >>> from regjax.tutorial import relu
        >>> relu([-1.0, 2.0]).tolist()
        [0.0, 2.0]
    """
    return _float64(activations.relu, np.asarray(x))


def forward_propagation(X: np.ndarray, parameters: Parameters) -> tuple[np.ndarray, Cache]:
    """Returns A3 `(1, m)` and the cache (Z1, A1, W1, b1, Z2, A2, W2, b2, Z3, A3, W3, b3).

    Args:
        X: `(n_features, m)`.
        parameters: the tutorial's dictionary.

    Example:
        >>> import numpy as np
        >>> from regjax.tutorial import forward_propagation, initialize_parameters
        >>> A3, cache = forward_propagation(np.zeros((2, 4)), initialize_parameters([2, 20, 3, 1]))
        >>> A3.tolist(), len(cache)
        ([[0.5, 0.5, 0.5, 0.5]], 12)
    """
    layers = as_params(parameters)
    residuals = _float64(_forward, layers, X, None)
    cache: list[np.ndarray] = []
    for index, (layer, kept) in enumerate(zip(layers, residuals.layers, strict=True)):
        a = kept.a if index < len(layers) - 1 else sigmoid(kept.z)
        cache += [kept.z, a, *layer]
    return cache[-3], tuple(cache)


def forward_propagation_with_dropout(
    X: np.ndarray, parameters: Parameters, keep_prob: float = 0.5, key: jax.Array | None = None
) -> tuple[np.ndarray, Cache]:
    """Returns A3 and the cache (Z1, D1, A1, W1, b1, Z2, D2, A2, W2, b2, Z3, A3, W3, b3).

    Args:
        X: `(n_features, m)`.
        parameters: the tutorial's dictionary.
        keep_prob: probability of keeping a unit, in (0, 1].
        key: JAX key to draw fresh masks from; None draws them as the tutorial does, see `numpy_masks`.
            With a key, units are kept with a probability that is a multiple of 1/65536. The backward
            pass divides by keep_prob itself, so any other value gives gradients that are off by up to 1e-5.

    Raises:
        ValueError: keep_prob outside (0, 1].

    Example:
        >>> import numpy as np
        >>> from regjax.tutorial import forward_propagation_with_dropout, initialize_parameters
        >>> parameters = initialize_parameters([2, 20, 3, 1])
        >>> A3, cache = forward_propagation_with_dropout(np.ones((2, 4)), parameters, keep_prob=0.75)
        >>> cache[1].dtype, cache[1].shape  # D1: the units that are kept
        (dtype('bool'), (20, 4))
    """
    layers = as_params(parameters)
    sizes = _sizes(layers)
    _check_keep_prob(keep_prob)
    if key is None:
        kept_units = numpy_masks(sizes, X.shape[1], keep_prob)
        masks = (None, *(kept / keep_prob for kept in kept_units))
    else:
        drawn = _float64(functools.partial(_fresh_masks, sizes, X.shape[1]), key, keep_prob)
        masks, kept_units = (None, *drawn), [mask > 0 for mask in drawn]
    residuals = _float64(_forward, layers, X, masks)
    cache: list[np.ndarray] = []
    for index, (layer, kept) in enumerate(zip(layers, residuals.layers, strict=True)):
        if index < len(layers) - 1:
            dropped = residuals.layers[index + 1].h  # A of the tutorial: the next layer's masked input
            cache += [kept.z, kept_units[index], dropped, *layer]
        else:
            cache += [kept.z, sigmoid(kept.z), *layer]
    return cache[-3], tuple(cache)


def compute_cost(A3: ArrayLike, Y: ArrayLike) -> float:
    """Returns the cross-entropy of probabilities A3 `(1, m)` against labels Y, mean over examples, in nats.

    0·log 0 counts as 0, so that a probability of exactly 0 or 1 gives no NaN; a certain mistake costs ∞.

    Args:
        A3, Y: probabilities of class 1 and labels 0 and 1, `(1, m)` each.

    Raises:
        ValueError: arrays of different shapes.

    Example:
        >>> from regjax.tutorial import compute_cost
        >>> round(compute_cost([[0.0, 1.0, 0.5]], [[0, 1, 1]]), 4)
        0.231
    """
    a, y = np.asarray(A3, np.float64), np.asarray(Y, np.float64)
    if a.shape != y.shape:
        raise ValueError(f"A3 and Y must have the same shape, got {a.shape} and {y.shape}")
    with np.errstate(divide="ignore", invalid="ignore"):  # of the branch that `where` does not take
        losses = np.where(y > 0, -y * np.log(a), 0) + np.where(y < 1, -(1 - y) * np.log1p(-a), 0)
    return float(np.sum(losses) / y.shape[1])


def compute_cost_with_regularization(
    A3: ArrayLike, Y: ArrayLike, parameters: Parameters, lambd: float
) -> float:
    """Returns `compute_cost` + λ/(2m)·Σ W² over all layers, in nats.

    Arguments and errors as in `compute_cost`; parameters is the tutorial's dictionary, and lambd λ >= 0.

    Example:
        >>> import numpy as np, regjax.tutorial
        >>> A3, Y, parameters = [[0.5, 0.5]], [[0, 1]], {"W1": np.array([[1, -1]]), "b1": np.zeros((1, 1))}
        >>> round(regjax.tutorial.compute_cost_with_regularization(A3, Y, parameters, lambd=0.8), 4)
        1.0931
    """
    m = np.shape(Y)[1]
    return compute_cost(A3, Y) + sum(
        float(_float64(penalties.l2, layer.w, lambd)) / m for layer in as_params(parameters)
    )


def backward_propagation(X: np.ndarray, Y: np.ndarray, cache: Cache) -> Parameters:
    """Returns the gradients dZ3, dW3, db3, dA2, dZ2, dW2, db2, dA1, dZ1, dW1, db1.

    As in the tutorial's regularised version, dZ and dA belong to single examples, and dW and db are means.

    Args:
        X: `(n_features, m)`.
        Y: labels 0 and 1, `(1, m)`.
        cache: of `forward_propagation`.

    Example:
        >>> import numpy as np
        >>> from regjax.tutorial import backward_propagation, forward_propagation, initialize_parameters
        >>> X, Y = np.zeros((2, 4)), np.array([[0, 1, 1, 1]])
        >>> A3, cache = forward_propagation(X, initialize_parameters([2, 20, 3, 1]))
        >>> gradients = backward_propagation(X, Y, cache)
        >>> gradients["dZ3"].tolist(), gradients["db3"].tolist()
        ([[0.5, -0.5, -0.5, -0.5]], [[-0.25]])
    """
    return _gradients(X, Y, cache, masked=False)


def backward_propagation_with_regularization(
    X: np.ndarray, Y: np.ndarray, cache: Cache, lambd: float
) -> Parameters:
    """Returns the gradients of `compute_cost_with_regularization`, named as in `backward_propagation`.

    Arguments as in `backward_propagation`; lambd is λ >= 0.

    Example:
        >>> import numpy as np
        >>> from regjax.tutorial import backward_propagation_with_regularization, forward_propagation
        >>> A1, cache = forward_propagation(np.eye(2), {"W1": np.array([[1, -1]]), "b1": np.zeros((1, 1))})
        >>> sorted(backward_propagation_with_regularization(np.eye(2), np.array([[1, 0]]), cache, lambd=2))
        ['dW1', 'dZ1', 'db1']
    """
    gradients = _gradients(X, Y, cache, masked=False)
    for layer in range(1, len(cache) // 4 + 1):
        w = cache[4 * layer - 2]
        gradients[f"dW{layer}"] = (
            gradients[f"dW{layer}"] + _float64(penalties.l2_gradient, w, lambd) / X.shape[1]
        )
    return gradients


def backward_propagation_with_dropout(
    X: np.ndarray, Y: np.ndarray, cache: Cache, keep_prob: float
) -> Parameters:
    """Returns the gradients after `forward_propagation_with_dropout`; dA is masked and divided by keep_prob.

    Arguments as in `backward_propagation`; cache and keep_prob are those of the forward pass with dropout.

    Raises:
        ValueError: keep_prob outside (0, 1].

    Example:
        >>> import numpy as np, regjax.tutorial
        >>> X, parameters = np.ones((2, 4)), regjax.tutorial.initialize_parameters([2, 20, 3, 1])
        >>> A3, cache = regjax.tutorial.forward_propagation_with_dropout(X, parameters, keep_prob=0.75)
        >>> regjax.tutorial.backward_propagation_with_dropout(X, np.ones((1, 4)), cache, 0.75)["dW1"].shape
        (20, 2)
    """
    _check_keep_prob(keep_prob)
    return _gradients(X, Y, cache, masked=True, keep_prob=keep_prob)


def update_parameters(parameters: Parameters, grads: Parameters, learning_rate: float) -> Parameters:
    """Returns the parameters after one step of gradient descent: W - learning_rate·dW, b - learning_rate·db.

    Args:
        parameters, grads: the tutorial's dictionaries; of the gradients those of parameters are read.
        learning_rate: step size, >= 0.

    Example:
        >>> import numpy as np, regjax.tutorial
        >>> regjax.tutorial.update_parameters({"W1": np.ones((1, 2))}, {"dW1": np.array([[1.0, 2.0]])}, 0.25)
        {'W1': array([[0.75, 0.5 ]])}
    """
    return {name: value - learning_rate * grads[f"d{name}"] for name, value in parameters.items()}


def predict_dec(parameters: Parameters, X: np.ndarray) -> np.ndarray:
    """Returns predictions as booleans, `(1, m)`: whether the probability is above ½.

    Arguments as in `forward_propagation`.

    Example:
        >>> import numpy as np, regjax.tutorial
        >>> regjax.tutorial.predict_dec({"W1": np.array([[1, -1]]), "b1": np.zeros((1, 1))}, np.eye(2))
        array([[ True, False]])
    """
    return forward_propagation(X, parameters)[0] > 0.5


def predict(X: np.ndarray, y: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Prints the accuracy against labels y `(1, m)` and returns the predicted labels, `(1, m)`.

    The other arguments as in `forward_propagation`.

    Example:
        >>> import numpy as np, regjax.tutorial
        >>> parameters = {"W1": np.array([[1, -1]]), "b1": np.zeros((1, 1))}
        >>> regjax.tutorial.predict(np.eye(2), np.array([[1, 1]]), parameters).tolist()
        Accuracy: 0.5
        [[1, 0]]
    """
    p = predict_dec(parameters, X).astype(int)
    print(f"Accuracy: {np.mean(p == y)}")
    return p


def plot_decision_boundary(model: Callable[[np.ndarray], np.ndarray], X: np.ndarray, y: np.ndarray) -> None:
    """Draws the regions of a model and the points X on pyplot's current axes, by `regjax.plot.boundary`.

    Args:
        model: a function of points `(k, 2)`, such as `lambda x: predict_dec(parameters, x.T)`.
        X: points, `(2, m)`.
        y: labels 0 and 1, `(1, m)`.

    Example:
        >>> import matplotlib.pyplot as plt, numpy as np, regjax.tutorial
        >>> regjax.tutorial.plot_decision_boundary(lambda x: x[:, 0] > x[:, 1], np.eye(2), np.array([[1, 0]]))
        >>> plt.gca().get_title()
        'function: predicted class'
        >>> plt.close()
    """
    import matplotlib.pyplot as plt  # only here: regjax draws without pyplot's global figures

    from regjax.plot.decision import boundary

    boundary(model, X.T, y, ax=plt.gca())


def model(
    X: np.ndarray,
    Y: np.ndarray,
    learning_rate: float = 0.3,
    num_iterations: int = 30_000,
    print_cost: bool = True,
    lambd: float = 0,
    keep_prob: float = 1,
) -> Parameters:
    """Returns the parameters of a network of 20 and 3 hidden units after full-batch gradient descent.

    The random numbers are the tutorial's: weights from seed 3, masks from seed 1, alike at every iteration.

    Args:
        X: `(n_features, m)`.
        Y: labels 0 and 1, `(1, m)`.
        learning_rate: step size, >= 0.
        num_iterations: gradient steps, at least 1.
        print_cost: whether to print the cost at iteration 0 and every 10,000 iterations.
        lambd: λ of the L2 penalty, >= 0; 0 is off.
        keep_prob: probability of keeping a hidden unit, in (0, 1]; 1 is off. May be on together with λ.

    Raises:
        TypeError: a value of the wrong kind, naming it.
        ValueError: a value out of its range, or arrays that do not fit.

    Example:
        >>> import jax, regjax
        >>> from regjax.tutorial import model, predict_dec
        >>> train, _ = regjax.two_regions(jax.random.key(0))
        >>> parameters = model(train.x, train.y, num_iterations=2000, print_cost=False, lambd=0.7)
        >>> bool((predict_dec(parameters, train.x) == train.y).mean() > 0.8)
        True
    """
    num_iterations = check_count("num_iterations", num_iterations)
    config = Config(layer_sizes=(X.shape[0], *HIDDEN, 1), dtype="float64")
    hparams = check_hparams(config, HParams(learning_rate=learning_rate, l2=lambd))
    samples = check_data(config, Data.from_arrays(X.T, Y.ravel(), task="classification"))
    masks = frozen_masks(config, samples, keep_prob)
    parameters = initialize_parameters(config.layer_sizes)
    with own_settings("float64"):
        # The loop trains networks side by side: this is one, with a leading axis of length 1.
        hparams, masks = jax.tree.map(lambda leaf: np.asarray(leaf)[None], (hparams, masks))
        key = replicate_key(0)  # nothing is drawn from it: weights and masks are given
        network = Networks(key, hparams, pad_samples(samples), params=as_params(parameters), masks=masks)
        stops = [*range(10_000, num_iterations, 10_000), num_iterations]
        for step, params, record in train_networks(network, stops, config=config):
            if print_cost and step < num_iterations:
                print(f"Cost after iteration {step}: {record['cost'][0]}")
            parameters = as_dictionary(jax.tree.map(lambda leaf: leaf[0], params))
    return parameters


def frozen_masks(config: Config, samples: Data, keep_prob: float) -> tuple[np.ndarray | None, ...] | None:
    """Returns the tutorial's masks, scaled by 1/keep_prob, for padded samples; None where keep_prob = 1."""
    _check_keep_prob(keep_prob)
    if keep_prob == 1:
        return None
    num_samples = samples.x.shape[1]
    # Padded samples have weight 0, so their masks do not matter.
    extra = -num_samples % PAD_MULTIPLE
    kept = numpy_masks(config.layer_sizes, num_samples, keep_prob)
    return (None, *(np.pad(k / keep_prob, ((0, 0), (0, extra))).astype(config.dtype) for k in kept))


def as_params(parameters: Parameters) -> mlp.Params:
    """Returns the tutorial's dictionary as the core's parameters."""
    count = len(parameters) // 2
    return tuple(mlp.Layer(parameters[f"W{n}"], parameters[f"b{n}"]) for n in range(1, count + 1))  # type: ignore[arg-type]


def as_dictionary(params: mlp.Params) -> Parameters:
    """Returns the core's parameters as the tutorial's dictionary of NumPy arrays."""
    return {
        f"{name}{number}": np.asarray(value)
        for number, layer in enumerate(params, 1)
        for name, value in (("W", layer.w), ("b", layer.b))
    }


def _sizes(layers: mlp.Params) -> tuple[int, ...]:
    return (layers[0].w.shape[1], *(layer.w.shape[0] for layer in layers))


def _forward(layers: mlp.Params, X: jax.Array, masks: UnitMasks | None) -> mlp.Residuals:
    return mlp.forward(layers, X, masks)[1]


def _fresh_masks(sizes: tuple[int, ...], num_samples: int, key: jax.Array, keep_prob: jax.Array) -> Any:
    masks = dropout_masks(key, 0, sizes, num_samples, keep_prob=keep_prob)
    return () if masks is None else masks[1:]


def _gradients(
    X: np.ndarray, Y: np.ndarray, cache: Cache, *, masked: bool, keep_prob: float = 1
) -> Parameters:
    """Returns the gradients of all layers by their names, from the last layer to the first.

    The core differentiates one layer at a time, since the tutorial names what passes between the layers.
    """
    layers, gradients, m = _layers_of(X, cache, masked), {}, X.shape[1]
    da = None
    for layer in range(len(layers), 0, -1):
        h, z, kept, a, w, b = layers[layer - 1]
        if da is None:
            dz = a - Y  # sigmoid cross-entropy: σ(z) - y
        else:
            da = da if kept is None else da * (kept / keep_prob)  # A = A ⊙ D / keep_prob
            gradients[f"dA{layer}"] = da
            dz = da * _float64(activations.relu_derivative, z, z)  # A = relu(Z)
        # Relu's derivative is applied above: for the core this is a network of one linear layer.
        one_layer = mlp.Residuals((mlp.Layer(w, b),), (mlp.LayerResiduals(h, z, z),), (None,))
        grads, da, _ = _float64(mlp.backward, one_layer, dz)
        gradients[f"dZ{layer}"] = np.asarray(dz)
        gradients[f"dW{layer}"] = grads[0].w / m
        gradients[f"db{layer}"] = grads[0].b / m
    return gradients


def _layers_of(X: np.ndarray, cache: Cache, masked: bool) -> list[tuple[Any, ...]]:
    """Returns (input, Z, D or None, A, W, b) of each layer; the output layer never has a mask D."""
    width = 5 if masked else 4
    layers, h = [], X
    for at in range(0, len(cache), width):
        z, *d, a, w, b = cache[at : at + width]
        layers.append((h, z, d[0] if d else None, a, w, b))
        h = a
    return layers


def _check_keep_prob(keep_prob: float) -> None:
    check_hparam(Config(), "keep_prob", keep_prob)


def _float64(f: Callable[..., Any], *inputs: Any) -> Any:
    """Returns f(*inputs) as NumPy arrays, computed in float64; JAX's global setting stays as it is."""
    with own_settings("float64"):
        as_jax = jax.tree.map(_as_jax, inputs)
        return jax.tree.map(np.asarray, f(*as_jax))


def _as_jax(leaf: Any) -> Any:
    # A key has a dtype of its own, which cannot become float64.
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return jnp.asarray(leaf, jnp.float64)
