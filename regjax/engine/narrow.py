"""The kernel of narrow networks: threads hold some units each, and go through some samples each.

A program trains `lanes` networks, each with `parts` · `splits` threads: the parts share the samples, the
splits the units of a wide layer. Thread (part, lane, split), counted with the split first, holds the
parameters of its units, their gradient and the optimizer's state as arrays `(threads,)` or
`(threads, units)`; Triton gives every thread its row.

A layer's values have one of two forms. A *list* has an array `(threads,)` for each unit, the same for all
splits. A *vector* has arrays `(threads, units)`, each of a power of two of units. The input is a list, and
layers alternate: a vector becomes a list by sums over units, and a list becomes a vector by products with the
columns of w. (With lists alone Triton's compiler takes minutes.)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from regjax.core.activations import ACTIVATIONS
from regjax.core.config import Config, Loss
from regjax.core.mlp import Layer, Params
from regjax.engine.kernel import Inputs, Kind, Program, beside, has_targets, like, residual
from regjax.engine.tiles import Tile, blocks_of, is_vector, pieces_of, splits_of


class Narrow(Program):
    """A program of narrow networks.

    Args:
        inputs: what is read; x is `(replicates or 1, n_features, n)`.
        config: config of the networks.
        loss: their loss.
        tile: shape of the program.
        num_lanes: number of networks of all programs.
        interpret: whether the kernel is interpreted.
    """

    def __init__(
        self, inputs: Inputs, config: Config, loss: Loss, tile: Tile, num_lanes: int, interpret: bool
    ) -> None:
        thread = lax.iota(jnp.int32, tile.threads)
        self.split = thread % tile.splits
        self.part = thread // (tile.splits * tile.lanes)
        lane = pl.program_id(0) * tile.lanes + thread // tile.splits % tile.lanes
        # Beyond the last network a thread repeats it: it computes and writes the same numbers.
        super().__init__(inputs, config, loss, interpret, jnp.minimum(lane, num_lanes - 1), tile.parts)
        self.tile, self.num_lanes = tile, num_lanes
        self.pieces = pieces_of(config, tile.splits)
        self.kinds = [Kind(piece.layer, piece.weights) for piece in self.pieces]

    @staticmethod
    def lay_out(params: Params) -> jax.Array:
        """Returns `(parameters, lanes)`, so that the threads of neighbouring networks read side by side."""
        return jnp.concatenate([leaf.reshape(len(leaf), -1) for layer in params for leaf in layer], axis=1).T

    @staticmethod
    def restore(flat: jax.Array, sizes: tuple[int, ...]) -> Params:
        """Returns the parameters that `lay_out` was given."""
        layers, at = [], 0
        for fan_in, fan_out in itertools.pairwise(sizes):
            w, b = flat[at : at + fan_in * fan_out], flat[at + fan_in * fan_out : at + (fan_in + 1) * fan_out]
            layers.append(Layer(w.T.reshape(-1, fan_out, fan_in), b.T.reshape(-1, fan_out, 1)))
            at += (fan_in + 1) * fan_out
        return tuple(layers)

    @staticmethod
    def lay_out_samples(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns both as they are."""
        return x, y

    def place(self, index: int) -> Any:
        """Returns the places of a piece in an array `(parameters, lanes)`."""
        piece = self.pieces[index]
        first = self.lane + jnp.int32(piece.first * self.num_lanes)
        if piece.of_split:
            first = first + self.split * (piece.of_split * self.num_lanes)
        return first if piece.units is None else beside(first, piece.units, piece.stride * self.num_lanes)

    def load(self, turn: Any, step: Any) -> Any:
        """Returns the sample that each thread has in this turn: x, y, weight and masks."""
        data, sizes = self.inputs, self.config.layer_sizes
        sample, column, weight = self.samples(turn, self.part, step)
        x = [data.x[self.replicate, feature, column] for feature in range(sizes[0])]
        # A sample of weight 0 may hold any value: 0·inf would be NaN.
        x = [jnp.where(weight > 0, value, jnp.zeros_like(value)) for value in x]
        y = [data.y[index, column] for index in range(data.y.shape[0])]
        masks = [self.masks(layer, step, sample) for layer in range(self.config.num_layers)]
        return x, y, weight, masks

    def add_gradient(self, grads: list[Any], params: list[Any], samples: Any) -> list[Any]:
        """Returns the gradient plus that of the samples of a turn."""
        return self.backward(grads, self.layers(params), *samples)

    def masks(self, layer: int, step: Any, sample: Any) -> list[Any] | None:
        """Returns the factors of dropout on the inputs of a layer, see `dropout.dropout_mask`.

        Args:
            layer: the layer of weights; 0 has the masks of the input.
            step: as in `load`.
            sample: column of each thread, `(threads,)`.

        Returns:
            One array for each unit of a list or block of a vector; None without dropout there.
        """
        bits = self.inputs.bits[layer]
        if bits is None:
            return None
        own = self.split if bits.shape[-2] > 1 else 0
        first = bits.place(self.replicate, step, sample, own, 0)
        if is_vector(layer):
            blocks = blocks_of(self.config, layer, self.tile.splits)
            drawn = [bits.ref[beside(first + jnp.int32(b.first), b.units, 1)] for b in blocks]
        else:  # one wide load, not one for each unit: each would wait for the memory
            both = bits.ref[beside(first, bits.shape[-1], 1)].astype(jnp.int32)
            unit = _numbers(0, both)
            units = range(self.config.layer_sizes[layer])
            drawn = [jnp.sum(jnp.where(unit == index, both, 0), axis=1) for index in units]
        found = []
        for value in drawn:
            value = value.astype(jnp.float32)
            last, scale = (like(self.rates[f"{name}_{layer}"], value) for name in ("last_kept", "scale"))
            found.append(jnp.where(value <= last, scale, jnp.zeros_like(value)))
        return found

    def layers(self, pieces: Sequence[Any]) -> list[tuple[list[list[Any]], list[Any]]]:
        """Returns (w, b) of each layer of weights, from an array for each of `pieces`.

        w has a list of arrays for each input where the outputs are a vector (a column of w), else for each
        output (a row).
        """
        found, at = [], 0
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(self.config.layer_sizes)):
            vector = is_vector(layer + 1)
            width = len(blocks_of(self.config, layer + 1 if vector else layer, self.tile.splits))
            outer, last = (fan_in, width) if vector else (fan_out, fan_out)
            w = [list(pieces[at + k * width : at + (k + 1) * width]) for k in range(outer)]
            at += outer * width
            found.append((w, list(pieces[at : at + last])))
            at += last
        return found

    def backward(
        self, grads: Sequence[Any], params: Any, x: list[Any], y: list[Any], weight: Any, masks: list[Any]
    ) -> list[Any]:
        """Returns the gradient plus that of one sample's term: `mlp.forward` and `mlp.backward` again.

        Args:
            grads: gradient so far, an array for each of `pieces`.
            params: (w, b) of each layer of weights, see `layers`.
            x: the sample's features, a list.
            y: its targets: a label, or a number for each output.
            weight: its weight over the divisor of the data term, `(threads,)`.
            masks: factors on the inputs of each layer of weights, or None.
        """
        f, derivative = ACTIVATIONS[self.config.activation]
        inputs, outputs, a = [], [], x  # h, and (z, a), of each layer
        for layer, (w, b) in enumerate(params):
            h = _times(a, masks[layer])
            z = self.forward(layer, w, b, h)
            a = z if layer == len(params) - 1 else [f(value) for value in z]
            inputs.append(h)
            outputs.append((z, a))
        da = [value * like(weight, value) for value in self.loss_gradient(a, y)]
        totals, found = self.layers(grads), []
        for layer in reversed(range(len(params))):
            (w, _), (total_w, total_b) = params[layer], totals[layer]
            last, vector = layer == len(params) - 1, is_vector(layer + 1)
            dz = da if last else [d * derivative(*at) for d, *at in zip(da, *outputs[layer], strict=True)]
            outer, inner = (inputs[layer], dz) if vector else (dz, inputs[layer])
            dw = [
                self.fma(like(one, total), like(other, total), total)
                for one, totals_of_one in zip(outer, total_w, strict=True)
                for other, total in zip(inner, totals_of_one, strict=True)
            ]
            db = [total + d for total, d in zip(total_b, dz, strict=True)]
            found = [*dw, *db, *found]
            if layer > 0:
                da = _times(self.back_through(layer, w, dz), masks[layer])
        return found

    def forward(self, layer: int, w: Any, b: Any, h: list[Any]) -> list[Any]:
        """Returns z = w·h + b."""
        if is_vector(layer + 1):
            z = list(b)
            for column, value in zip(w, h, strict=True):
                z = [
                    self.fma(block, like(value, block), total) for total, block in zip(z, column, strict=True)
                ]
            return z
        return [self.dot(layer, row, h) + bias for row, bias in zip(w, b, strict=True)]

    def back_through(self, layer: int, w: Any, dz: list[Any]) -> list[Any]:
        """Returns dh = wᵀ·dz."""
        if is_vector(layer + 1):  # then h is a list
            return [self.dot(layer + 1, column, dz) for column in w]
        found = [block * like(dz[0], block) for block in w[0]]
        for row, d in zip(w[1:], dz[1:], strict=True):
            found = [self.fma(block, like(d, block), total) for total, block in zip(found, row, strict=True)]
        return found

    def dot(self, layer: int, blocks: list[Any], others: list[Any]) -> Any:
        """Returns the sum of products over all units of a layer that is a vector, `(threads,)`."""
        sums = (jnp.sum(a * b, axis=1) for a, b in zip(blocks, others, strict=True))
        total = functools.reduce(lax.add, sums)
        splits = splits_of(self.config, layer, self.tile.splits)
        return total if splits == 1 else _sum_over(total, (total.shape[0] // splits, splits), 1)

    def summed(self, grad: Any) -> Any:
        """Returns the sum over the threads that share the samples of a network, for all of them."""
        if self.tile.parts == 1:
            return grad
        shape = (self.tile.parts, self.tile.lanes * self.tile.splits, *grad.shape[1:])
        return _sum_over(grad, shape, 0)

    def loss_gradient(self, logits: list[Any], y: list[Any]) -> list[Any]:
        """Returns the gradient of the loss in each logit, see the functions of the same names in `losses`."""
        if self.loss == "sigmoid_cross_entropy":
            return [lax.logistic(logits[0]) - like(y[0].astype(jnp.float32), logits[0])]
        vector = logits[0].ndim > 1
        blocks = blocks_of(self.config, self.config.num_layers, self.tile.splits)
        firsts = [block.first for block in blocks] if vector else list(range(len(logits)))
        if has_targets(self.loss):
            found = (_targets(y, first, z) for first, z in zip(firsts, logits, strict=True))
            return [residual(self.loss, z, target) for z, target in zip(logits, found, strict=True)]
        over: Callable[..., Any] = (lambda f, z: f(z, axis=1)) if vector else (lambda f, z: z)
        largest = functools.reduce(jnp.maximum, [over(jnp.max, z) for z in logits])
        powers = [jnp.exp(z - like(largest, z)) for z in logits]
        total = functools.reduce(lax.add, [over(jnp.sum, power) for power in powers])
        return [
            power / like(total, power) - (_numbers(first, power) == like(y[0], power)).astype(jnp.float32)
            for first, power in zip(firsts, powers, strict=True)
        ]


def _times(values: list[Any], factors: list[Any] | None) -> list[Any]:
    """Returns values times the factors of dropout; None is no dropout."""
    if factors is None:
        return values
    return [value * factor for value, factor in zip(values, factors, strict=True)]


def _sum_over(value: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Returns the sum over an axis of `shape`, for all threads of it, in the shape of `value`."""
    found = jnp.sum(value.reshape(shape), axis=axis, keepdims=True)
    return jnp.broadcast_to(found, shape).reshape(value.shape)


def _numbers(first: int, form: Any) -> Any:
    """Returns the number of each unit of an array, `first` … , int32, in its shape."""
    if form.ndim == 1:
        return jnp.full(form.shape, first, jnp.int32)
    return first + lax.broadcasted_iota(jnp.int32, form.shape, 1)


def _targets(y: list[Any], first: int, form: Any) -> Any:
    """Returns the real targets of the outputs `first` …, a list, in the form of an array."""
    if form.ndim == 1:
        return y[first]
    found = jnp.zeros_like(form)
    for index in range(form.shape[1]):
        found = jnp.where(_numbers(0, form) == index, like(y[first + index], form), found)
    return found
