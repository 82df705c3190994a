"""Slow NumPy, written from the formulas and not from regjax: what the tests hold regjax against.

`train` is any network of relu layers with a sigmoid output; `tutorial_model` is the tutorial's program
as a reader of it would write it, and the opponent in benchmarks/bench_compare.py.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(params, x, masks):
    """Goodfellow, Bengio & Courville 2016, algorithm 6.3; masks as in Srivastava et al. 2014, §4."""
    inputs, zs, a = [], [], x
    for index, (w, b) in enumerate(params):
        h = a if masks is None or masks[index] is None else a * masks[index]
        z = w @ h + b
        a = np.maximum(z, 0)
        inputs.append(h)
        zs.append(z)
    return inputs, zs


def gradients(params, x, y, masks, l2, l1):
    """Algorithm 6.4 of the same book, for the cost of `cost` below."""
    n = x.shape[1]
    inputs, zs = forward(params, x, masks)
    dz = (sigmoid(zs[-1]) - y) / n
    grads = []
    for index in reversed(range(len(params))):
        w = params[index][0]
        grads.append((dz @ inputs[index].T + (l2 * w + l1 * np.sign(w)) / n, dz.sum(axis=1, keepdims=True)))
        if index > 0:
            da = w.T @ dz
            if masks is not None and masks[index] is not None:
                da = da * masks[index]
            dz = da * (zs[index - 1] > 0)
    return grads[::-1]


def cost(params, x, y, masks, l2, l1):
    """mean(-y·log σ(z) - (1 - y)·log(1 - σ(z))) + l2/(2n)·Σ W² + l1/n·Σ|W|."""
    n = x.shape[1]
    z = forward(params, x, masks)[1][-1]
    data_term = np.mean(np.logaddexp(0, z) - y * z)
    return data_term + sum(l2 / (2 * n) * np.sum(w * w) + l1 / n * np.sum(np.abs(w)) for w, _ in params)


def train(params, x, y, *, learning_rate, num_steps, l2=0.0, l1=0.0, masks_at=lambda step: None):
    """Plain gradient descent on the full batch."""
    for step in range(num_steps):
        grads = gradients(params, x, y, masks_at(step), l2, l1)
        params = [
            (w - learning_rate * dw, b - learning_rate * db)
            for (w, b), (dw, db) in zip(params, grads, strict=True)
        ]
    return params


def random_bits(key, num_units, num_samples):
    """Four 16-bit numbers from each 64-bit word of JAX's own generator: low word first."""
    total = num_units * num_samples
    with jax.enable_x64(True):
        words = np.asarray(jax.random.bits(key, (-(-total // 4),), jnp.uint64))
    quarters = [(words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    return np.concatenate(quarters)[:total].reshape(num_units, num_samples)


def dropout_masks(key, step, layer_sizes, num_samples, keep_prob):
    """Keys: fold in the step, the place (2), the layer; scale by the probability that is really used."""
    place = jax.random.fold_in(jax.random.fold_in(key, step), 2)
    threshold = min(max(round(65536 * keep_prob), 1), 65536)
    masks = [None]
    for layer, units in enumerate(layer_sizes[1:-1], 1):
        bits = random_bits(jax.random.fold_in(place, layer), units, num_samples)
        masks.append(np.where(bits < threshold, 65536 / threshold, 0.0))
    return masks


def tutorial_model(X, Y, *, num_steps, learning_rate=0.3, lambd=0.0, keep_prob=1.0):
    """The tutorial's program: 2-20-3-1, seed 3 for weights, seed 1 in every forward pass with dropout.

    Returns the costs at every 1,000 steps.
    """
    rng = np.random.RandomState(3)
    W1, W2, W3 = (rng.randn(o, i) / np.sqrt(i) for i, o in ((X.shape[0], 20), (20, 3), (3, 1)))
    b1, b2, b3 = np.zeros((20, 1)), np.zeros((3, 1)), np.zeros((1, 1))
    m, costs = X.shape[1], []
    for step in range(num_steps):
        A1 = np.maximum(0, np.dot(W1, X) + b1)
        if keep_prob < 1:
            rng = np.random.RandomState(1)
            D1 = rng.rand(*A1.shape) < keep_prob
            A1 = A1 * D1 / keep_prob
        A2 = np.maximum(0, np.dot(W2, A1) + b2)
        if keep_prob < 1:
            D2 = rng.rand(*A2.shape) < keep_prob
            A2 = A2 * D2 / keep_prob
        A3 = sigmoid(np.dot(W3, A2) + b3)
        if step % 1000 == 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                log_losses = -np.log(A3) * Y - np.log(1 - A3) * (1 - Y)
            penalty = lambd / (2 * m) * sum(np.sum(np.square(W)) for W in (W1, W2, W3))
            costs.append(np.nansum(log_losses) / m + penalty)
        dZ3 = A3 - Y
        dW3 = np.dot(dZ3, A2.T) / m + lambd * W3 / m
        dA2 = np.dot(W3.T, dZ3)
        if keep_prob < 1:
            dA2 = dA2 * D2 / keep_prob
        dZ2 = dA2 * (A2 > 0)
        dW2 = np.dot(dZ2, A1.T) / m + lambd * W2 / m
        dA1 = np.dot(W2.T, dZ2)
        if keep_prob < 1:
            dA1 = dA1 * D1 / keep_prob
        dZ1 = dA1 * (A1 > 0)
        dW1 = np.dot(dZ1, X.T) / m + lambd * W1 / m
        db3, db2, db1 = (np.sum(dZ, axis=1, keepdims=True) / m for dZ in (dZ3, dZ2, dZ1))
        W1, W2, W3 = W1 - learning_rate * dW1, W2 - learning_rate * dW2, W3 - learning_rate * dW3
        b1, b2, b3 = b1 - learning_rate * db1, b2 - learning_rate * db2, b3 - learning_rate * db3
    return costs
