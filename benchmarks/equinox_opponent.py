"""Equinox's way of training a grid of networks; `opponents.py` calls it.

The whole training is one `jit`, starts each call from the rows' parameters, and takes the number of steps as
a traced value. Minibatches and dropped units are shared by the networks of a sweep, which spares each an
order, a copy of the batch and half the time of a step with dropout.
"""

from __future__ import annotations

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.naive import data_loss, hyperparameters, loop
from benchmarks.problems import Params, Prepared, Problem, Rows


class _Network(eqx.Module):
    """Linear layers with ReLU between, of one sample."""

    layers: list[eqx.nn.Linear]

    def __init__(self, sizes: tuple[int, ...], key: jax.Array):
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = itertools.pairwise(sizes)
        self.layers = [eqx.nn.Linear(a, b, key=k) for (a, b), k in zip(pairs, keys, strict=True)]

    def __call__(self, x: jax.Array, scales: list[jax.Array] | None = None) -> jax.Array:
        """Returns the logits; `scales` multiply the hidden units, 0 or 1/keep_prob."""
        for i, layer in enumerate(self.layers[:-1]):
            x = jax.nn.relu(layer(x))
            if scales is not None:
                x = x * scales[i]
        return self.layers[-1](x)


def equinox(problem: Problem, rows: Rows) -> Prepared:
    """Returns Equinox: a module of one sample, mapped over samples and over networks."""
    dropout, n = problem.keep_prob is not None, len(problem.x)
    learning_rate, l2, keep_prob = hyperparameters(rows)
    key = jax.random.key(0)

    def arrays(model: Any) -> list[jax.Array]:
        return [a for layer in model.layers for a in (layer.weight, layer.bias)]

    # Its structure alone, as for a network read from a file: making one takes four seconds of compiling.
    blank = eqx.filter_eval_shape(_Network, problem.layer_sizes, key)
    start = eqx.tree_at(arrays, blank, [jnp.asarray(a) for layer in rows.params for a in layer])
    weights = eqx.tree_at(arrays, jax.tree.map(lambda _: True, start), [True, False] * len(rows.params))

    def loss(model: _Network, x: Any, y: Any, key: Any, keep_prob: Any) -> jax.Array:
        # Samples last: a sixth faster with dropout than samples first, and no slower without.
        samples = jax.vmap(model, in_axes=1, out_axes=1)
        if not dropout:
            return data_loss(samples(x.T).T, y)
        # A draw per layer for all samples: a key per sample costs more than the network.
        hidden, scales = problem.layer_sizes[1:-1], []
        for units, k in zip(hidden, jax.random.split(key, len(hidden)), strict=True):
            kept = jax.random.bernoulli(k, keep_prob, (units, len(x)))
            scales.append(kept / keep_prob)
        return data_loss(samples(x.T, scales).T, y)

    @eqx.filter_jit
    def train(start: _Network, key: Any, learning_rate: Any, l2: Any, keep_prob: Any, steps: Any) -> Any:
        def update(model: Any, x: Any, y: Any, key: Any, learning_rate: Any, l2: Any, keep_prob: Any) -> Any:
            optimizer = optax.chain(optax.add_decayed_weights(l2 / n, weights), optax.sgd(learning_rate))
            grads = eqx.filter_grad(loss)(model, x, y, key, keep_prob)
            updates, _ = optimizer.update(grads, optimizer.init(model), model)
            return eqx.apply_updates(model, updates)

        def step(i: Any, model: Any, x: Any, y: Any) -> Any:
            now = jax.random.fold_in(key, i) if dropout else key
            each = eqx.filter_vmap(update, in_axes=(0, None, None, None, 0, 0, 0))
            return each(model, x, y, now, learning_rate, l2, keep_prob)

        return loop(problem, step, start, steps, jax.random.key(1))

    def run(steps: int) -> _Network:
        # As an array: `filter_jit` would compile for each Python number.
        return jax.block_until_ready(train(start, key, learning_rate, l2, keep_prob, jnp.asarray(steps)))

    def params(model: _Network) -> Params:
        return [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in model.layers]

    return Prepared(run, params)
