"""Flax NNX's way of training a grid of networks, made like Equinox's; `opponents.py` calls it.

A file of its own: a version of Flax fits few versions of JAX, and an import that fails is Flax's alone.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.naive import data_loss, hyperparameters, loop
from benchmarks.problems import Params, Prepared, Problem, Rows


class _Dropout(nnx.Module):
    """`nnx.Dropout` asks whether its rate is 0, which a traced one cannot answer; else the same."""

    def __call__(self, x: jax.Array, keep_prob: Any, rngs: nnx.Rngs) -> jax.Array:
        """Returns `x` with units dropped."""
        kept = jax.random.bernoulli(rngs.dropout(), keep_prob, x.shape)
        return jax.lax.select(kept, x / keep_prob, jnp.zeros_like(x))


class _NnxNetwork(nnx.Module):
    """Linear layers with ReLU between, of a batch."""

    def __init__(self, sizes: tuple[int, ...], rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.dropout = _Dropout()

    def __call__(self, x: jax.Array, keep_prob: Any = None, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Returns the logits; no dropout without `rngs`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
            if rngs is not None:
                x = self.dropout(x, keep_prob, rngs)
        return last(x)


def flax_nnx(problem: Problem, rows: Rows) -> Prepared:
    """Returns Flax NNX in its functional form: split once, merged in the loss."""
    dropout, n = problem.keep_prob is not None, len(problem.x)
    learning_rate, l2, keep_prob = hyperparameters(rows)
    key = jax.random.key(0)
    graph, blank = nnx.split(_NnxNetwork(problem.layer_sizes, nnx.Rngs(0)), nnx.Param)
    begin = {}
    for i, (w, b) in enumerate(rows.params):
        begin["layers", i, "kernel"] = jnp.asarray(np.swapaxes(w, 1, 2))
        begin["layers", i, "bias"] = jnp.asarray(b)
    flat = nnx.to_flat_state(blank)
    start = nnx.from_flat_state([(path, leaf.replace(begin[path])) for path, leaf in flat])
    weights = nnx.from_flat_state([(path, leaf.replace(path[-1] == "kernel")) for path, leaf in flat])

    def loss(state: Any, x: Any, y: Any, key: Any, keep_prob: Any) -> jax.Array:
        model = nnx.merge(graph, state)
        return data_loss(model(x, keep_prob, nnx.Rngs(dropout=key)) if dropout else model(x), y)

    @jax.jit
    def train(start: Any, key: Any, learning_rate: Any, l2: Any, keep_prob: Any, steps: Any) -> Any:
        def update(state: Any, x: Any, y: Any, key: Any, learning_rate: Any, l2: Any, keep_prob: Any) -> Any:
            optimizer = optax.chain(optax.add_decayed_weights(l2 / n, weights), optax.sgd(learning_rate))
            grads = jax.grad(loss)(state, x, y, key, keep_prob)
            updates, _ = optimizer.update(grads, optimizer.init(state), state)
            return optax.apply_updates(state, updates)

        def step(i: Any, state: Any, x: Any, y: Any) -> Any:
            now = jax.random.fold_in(key, i) if dropout else key
            each = jax.vmap(update, in_axes=(0, None, None, None, 0, 0, 0))
            return each(state, x, y, now, learning_rate, l2, keep_prob)

        return loop(problem, step, start, steps, jax.random.key(1))

    def run(steps: int) -> Any:
        return jax.block_until_ready(train(start, key, learning_rate, l2, keep_prob, steps))

    def params(state: Any) -> Params:
        layers = [state["layers"][i] for i in range(len(rows.params))]
        return [(np.swapaxes(np.asarray(a["kernel"][...]), 1, 2), np.asarray(a["bias"][...])) for a in layers]

    return Prepared(run, params)
