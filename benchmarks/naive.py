"""A grid of networks in JAX by hand: the naive way, and the loop that other libraries' networks run in too.

The whole training is one `jit`, starts each call from the rows' parameters, and takes the number of steps as
a traced value. Each network has its own key, and so its own order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.problems import Params, Prepared, Problem, Rows


def data(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Returns the training samples and labels, which the sigmoid's cross-entropy takes as floats."""
    y = problem.y.astype(np.float32) if problem.layer_sizes[-1] == 1 else problem.y
    return jnp.asarray(problem.x), jnp.asarray(y)


def hyperparameters(rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns learning_rate, l2 and keep_prob of each network."""
    return jnp.asarray(rows.learning_rate), jnp.asarray(rows.l2), jnp.asarray(rows.keep_prob)


def data_loss(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean cross-entropy of a batch, `logits` being `(samples, outputs)`."""
    if logits.shape[-1] == 1:
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits[:, 0], y))
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))


def loop(
    problem: Problem, step: Callable[[Any, Any, Any, Any], Any], carry: Any, steps: Any, key: jax.Array
) -> Any:
    """Returns `carry` after `step(i, carry, x, y)` of so many steps.

    An outer loop over epochs, because an order of the rows is then drawn once in an epoch without a condition
    in every step.
    """
    x, y = data(problem)
    size, num_batches = problem.batch_size, problem.num_batches
    if size is None:
        return jax.lax.fori_loop(0, steps, lambda i, carry: step(i, carry, x, y), carry)

    def epoch(e: Any, carry: Any) -> Any:
        order = jax.random.permutation(jax.random.fold_in(key, e), len(x))
        begin = e * num_batches

        def batch(i: Any, carry: Any) -> Any:
            chosen = jax.lax.dynamic_slice_in_dim(order, (i - begin) * size, size)
            return step(i, carry, x[chosen], y[chosen])

        return jax.lax.fori_loop(begin, jnp.minimum(begin + num_batches, steps), batch, carry)

    return jax.lax.fori_loop(0, (steps + num_batches - 1) // num_batches, epoch, carry)


def naive(problem: Problem, rows: Rows) -> Prepared:
    """Returns code as one writes it by hand: a list of (w, b), a key per network, and `jit(vmap(train))`."""
    compiled, arguments = naive_program(problem, rows)

    def run(steps: int) -> Any:
        return jax.block_until_ready(compiled(*arguments, steps))

    def params(state: Any) -> Params:
        return [(np.swapaxes(np.asarray(w), 1, 2), np.asarray(b)) for w, b in state]

    return Prepared(run, params)


def naive_program(problem: Problem, rows: Rows) -> tuple[Any, tuple[Any, ...]]:
    """Returns the jitted function of `naive`, and its arguments but the number of steps, which comes last."""
    dropout, n = problem.keep_prob is not None, len(problem.x)
    each = hyperparameters(rows)
    keys = jax.random.split(jax.random.key(0), len(rows.learning_rate))
    start = [(jnp.asarray(np.swapaxes(w, 1, 2)), jnp.asarray(b)) for w, b in rows.params]

    def cost(params: Any, x: Any, y: Any, key: Any, l2: Any, keep_prob: Any) -> jax.Array:
        h = x
        for layer, (w, b) in enumerate(params):
            h = h @ w + b[None, :]
            if layer < len(params) - 1:
                h = jax.nn.relu(h)
                if dropout:
                    kept = jax.random.bernoulli(jax.random.fold_in(key, layer), keep_prob, h.shape)
                    h = jnp.where(kept, h / keep_prob, 0)
        return data_loss(h, y) + l2 / (2 * n) * sum(jnp.sum(w**2) for w, _ in params)

    def train(params: Any, key: Any, learning_rate: Any, l2: Any, keep_prob: Any, steps: Any) -> Any:
        optimizer = optax.sgd(learning_rate)
        order_key, dropout_key = jax.random.split(key)

        def step(i: Any, carry: Any, x: Any, y: Any) -> Any:
            params, state = carry
            grads = jax.grad(cost)(params, x, y, jax.random.fold_in(dropout_key, i), l2, keep_prob)
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        return loop(problem, step, (params, optimizer.init(params)), steps, order_key)[0]

    return jax.jit(jax.vmap(train, in_axes=(0, 0, 0, 0, 0, None))), (start, keys, *each)
