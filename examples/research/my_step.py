"""A training step as one writes it by hand in JAX: `python -m benchmarks step` times it beside regjax.

    python -m benchmarks step examples/research/my_step.py:step

Put your own in its place. It gets the parameters of one network and returns the next ones; the benchmark maps
it over networks, loops it and compiles it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax


def step(params: Any, hparams: dict[str, jax.Array], x: jax.Array, y: jax.Array, key: jax.Array) -> Any:
    """Returns the parameters after one step of gradient descent on mean loss + λ/(2n)·Σ‖W‖².

    Args:
        params: a pair of weights `(fan_out, fan_in)` and biases `(fan_out, 1)` per layer.
        hparams: the scalars learning_rate, l2, keep_prob, and num_train, the number n of training samples.
        x: inputs of the batch, `(batch, n_features)`.
        y: labels of the batch, `(batch,)`.
        key: the key of this step, which has no draw here.
    """

    def cost(params: Any) -> jax.Array:
        *hidden, (w, b) = params
        h = x.T
        for w_hidden, b_hidden in hidden:
            h = jax.nn.relu(w_hidden @ h + b_hidden)
        logits = w @ h + b
        if len(logits) == 1:
            losses = optax.sigmoid_binary_cross_entropy(logits[0], y)
        else:
            losses = optax.softmax_cross_entropy_with_integer_labels(logits.T, y)
        squares = sum(jnp.sum(w**2) for w, _ in params)
        return jnp.mean(losses) + hparams["l2"] / (2 * hparams["num_train"]) * squares

    grads = jax.grad(cost)(params)
    return jax.tree.map(lambda p, g: p - hparams["learning_rate"] * g, params, grads)
