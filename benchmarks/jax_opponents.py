"""Three ways of training a grid of networks in JAX without regjax: Equinox, Flax NNX, and by hand.

All hold the whole training in one `jit`, start each call from the rows' parameters, and take the number of
steps as a traced value. Equinox and NNX share a minibatch among the networks of a sweep, which spares an
order and a copy of the batch for each; by hand each network has its own key and so its own order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.problems import Params, Prepared, Problem, Rows


def _data(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Returns the training rows and labels, which the sigmoid's cross-entropy takes as floats."""
    y = problem.y.astype(np.float32) if problem.layer_sizes[-1] == 1 else problem.y
    return jnp.asarray(problem.x), jnp.asarray(y)


def _hyperparameters(rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns learning_rate, l2 and keep_prob of each network."""
    return jnp.asarray(rows.learning_rate), jnp.asarray(rows.l2), jnp.asarray(rows.keep_prob)


def _data_loss(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean cross-entropy of a batch, `logits` being `(samples, outputs)`."""
    if logits.shape[-1] == 1:
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits[:, 0], y))
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))


def _loop(
    problem: Problem, step: Callable[[Any, Any, Any, Any], Any], carry: Any, steps: Any, key: jax.Array
) -> Any:
    """Returns `carry` after `step(i, carry, x, y)` of so many steps.

    An outer loop over epochs, because an order of the rows is then drawn once in an epoch without a condition
    in every step.
    """
    x, y = _data(problem)
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
    learning_rate, l2, keep_prob = _hyperparameters(rows)
    keys = jax.random.split(jax.random.key(0), len(learning_rate))

    @eqx.filter_vmap
    def make(key: jax.Array) -> _Network:
        return _Network(problem.layer_sizes, key)

    def arrays(model: Any) -> list[jax.Array]:
        return [a for layer in model.layers for a in (layer.weight, layer.bias)]

    start = eqx.tree_at(arrays, make(keys), [jnp.asarray(a) for layer in rows.params for a in layer])
    weights = eqx.tree_at(arrays, jax.tree.map(lambda _: True, start), [True, False] * len(rows.params))

    def loss(model: _Network, x: Any, y: Any, key: Any, keep_prob: Any) -> jax.Array:
        # Samples last: a sixth faster with dropout than samples first, and no slower without.
        samples = jax.vmap(model, in_axes=1, out_axes=1)
        if not dropout:
            return _data_loss(samples(x.T).T, y)
        # A draw per layer for all samples: a key per sample costs more than the network.
        hidden, scales = problem.layer_sizes[1:-1], []
        for units, k in zip(hidden, jax.random.split(key, len(hidden)), strict=True):
            kept = jax.random.bernoulli(k, keep_prob, (units, len(x)))
            scales.append(kept / keep_prob)
        return _data_loss(samples(x.T, scales).T, y)

    @eqx.filter_jit
    def train(start: _Network, keys: Any, learning_rate: Any, l2: Any, keep_prob: Any, steps: Any) -> Any:
        def update(model: Any, x: Any, y: Any, key: Any, learning_rate: Any, l2: Any, keep_prob: Any) -> Any:
            optimizer = optax.chain(optax.add_decayed_weights(l2 / n, weights), optax.sgd(learning_rate))
            grads = eqx.filter_grad(loss)(model, x, y, key, keep_prob)
            updates, _ = optimizer.update(grads, optimizer.init(model), model)
            return eqx.apply_updates(model, updates)

        def step(i: Any, model: Any, x: Any, y: Any) -> Any:
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, i) if dropout else keys
            each = eqx.filter_vmap(update, in_axes=(0, None, None, 0, 0, 0, 0))
            return each(model, x, y, now, learning_rate, l2, keep_prob)

        return _loop(problem, step, start, steps, jax.random.key(1))

    def run(steps: int) -> _Network:
        # As an array: `filter_jit` would compile for each Python number.
        return jax.block_until_ready(train(start, keys, learning_rate, l2, keep_prob, jnp.asarray(steps)))

    def params(model: _Network) -> Params:
        return [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in model.layers]

    return Prepared(run, params)


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
    learning_rate, l2, keep_prob = _hyperparameters(rows)
    keys = jax.random.split(jax.random.key(0), len(learning_rate))
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
        return _data_loss(model(x, keep_prob, nnx.Rngs(dropout=key)) if dropout else model(x), y)

    @jax.jit
    def train(start: Any, keys: Any, learning_rate: Any, l2: Any, keep_prob: Any, steps: Any) -> Any:
        def update(state: Any, x: Any, y: Any, key: Any, learning_rate: Any, l2: Any, keep_prob: Any) -> Any:
            optimizer = optax.chain(optax.add_decayed_weights(l2 / n, weights), optax.sgd(learning_rate))
            grads = jax.grad(loss)(state, x, y, key, keep_prob)
            updates, _ = optimizer.update(grads, optimizer.init(state), state)
            return optax.apply_updates(state, updates)

        def step(i: Any, state: Any, x: Any, y: Any) -> Any:
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, i) if dropout else keys
            each = jax.vmap(update, in_axes=(0, None, None, 0, 0, 0, 0))
            return each(state, x, y, now, learning_rate, l2, keep_prob)

        return _loop(problem, step, start, steps, jax.random.key(1))

    def run(steps: int) -> Any:
        return jax.block_until_ready(train(start, keys, learning_rate, l2, keep_prob, steps))

    def params(state: Any) -> Params:
        layers = [state["layers"][i] for i in range(len(rows.params))]
        return [(np.swapaxes(np.asarray(a["kernel"][...]), 1, 2), np.asarray(a["bias"][...])) for a in layers]

    return Prepared(run, params)


def naive(problem: Problem, rows: Rows) -> Prepared:
    """Returns what one writes by hand: a list of (w, b), a key per network, and `jit(vmap(train))`."""
    dropout, n = problem.keep_prob is not None, len(problem.x)
    hyperparameters = _hyperparameters(rows)
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
        return _data_loss(h, y) + l2 / (2 * n) * sum(jnp.sum(w**2) for w, _ in params)

    def train(params: Any, key: Any, learning_rate: Any, l2: Any, keep_prob: Any, steps: Any) -> Any:
        optimizer = optax.sgd(learning_rate)
        order_key, dropout_key = jax.random.split(key)

        def step(i: Any, carry: Any, x: Any, y: Any) -> Any:
            params, state = carry
            grads = jax.grad(cost)(params, x, y, jax.random.fold_in(dropout_key, i), l2, keep_prob)
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        return _loop(problem, step, (params, optimizer.init(params)), steps, order_key)[0]

    compiled = jax.jit(jax.vmap(train, in_axes=(0, 0, 0, 0, 0, None)))

    def run(steps: int) -> Any:
        return jax.block_until_ready(compiled(start, keys, *hyperparameters, steps))

    def params(state: Any) -> Params:
        return [(np.swapaxes(np.asarray(w), 1, 2), np.asarray(b)) for w, b in state]

    return Prepared(run, params)
