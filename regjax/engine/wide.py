"""The kernel of wide networks: a program trains one network by matrix products, with all of it in registers.

The weights of a layer are one array `(inputs, outputs)`, and a turn's activations one `(rows, units)`; Triton
divides both among the threads of the program. Its products need powers of two from 16 on, so every layer is
filled up with units whose weights, and values, are 0 and stay 0.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from regjax.core.activations import ACTIVATIONS
from regjax.core.config import Config, Loss
from regjax.core.mlp import Layer, Params
from regjax.engine.kernel import Inputs, Kind, Program, beside, has_targets, like, residual
from regjax.engine.products import product
from regjax.engine.tiles import Wide, padded, padded_size


class WideProgram(Program):
    """A program of one wide network.

    Args:
        inputs: what is read; x is `(replicates or 1, n, units)`, with units as the filled-up input layer,
            and where the loss `has_targets` y is `(n, units)`, with units as the filled-up output layer.
        config: config of the network.
        loss: its loss.
        tile: shape of the program.
        num_lanes: number of networks of all programs.
        interpret: whether the kernel is interpreted.
    """

    reads_ahead = True

    def __init__(
        self, inputs: Inputs, config: Config, loss: Loss, tile: Wide, num_lanes: int, interpret: bool
    ) -> None:
        del num_lanes  # one network a program
        super().__init__(inputs, config, loss, interpret, pl.program_id(0), tile.rows)
        self.sizes = [padded(size) for size in config.layer_sizes]
        self.kinds = [Kind(layer, weights) for layer in range(config.num_layers) for weights in (True, False)]
        self.size = padded_size(config)

    @staticmethod
    def lay_out(params: Params) -> jax.Array:
        """Returns `(lanes, parameters)`, of each layer w `(inputs, outputs)` and b, filled up."""
        found = []
        for w, b in params:
            _, fan_out, fan_in = w.shape
            more_in, more_out = padded(fan_in) - fan_in, padded(fan_out) - fan_out
            found.append(jnp.pad(jnp.swapaxes(w, 1, 2), ((0, 0), (0, more_in), (0, more_out))))
            found.append(jnp.pad(b, ((0, 0), (0, more_out), (0, 0))))
        return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in found], axis=1)

    @staticmethod
    def restore(flat: jax.Array, sizes: tuple[int, ...]) -> Params:
        """Returns the parameters that `lay_out` was given."""
        layers, at = [], 0
        for fan_in, fan_out in itertools.pairwise(sizes):
            rows, units = padded(fan_in), padded(fan_out)
            w = flat[:, at : at + rows * units].reshape(-1, rows, units)[:, :fan_in, :fan_out]
            b = flat[:, at + rows * units : at + rows * units + fan_out]
            layers.append(Layer(jnp.swapaxes(w, 1, 2), b[:, :, None]))
            at += (rows + 1) * units
        return tuple(layers)

    @staticmethod
    def lay_out_samples(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns x, and targets that are no labels, with a row for each sample, filled up."""
        x = jnp.swapaxes(x, 1, 2)
        x = jnp.pad(x, ((0, 0), (0, 0), (0, padded(x.shape[2]) - x.shape[2])))
        if jnp.issubdtype(y.dtype, jnp.integer):
            return x, y
        return x, jnp.pad(y.T, ((0, 0), (0, padded(len(y)) - len(y))))

    def place(self, index: int) -> Any:
        """Returns the places of a piece in an array `(lanes, parameters)`: of each layer w, then b."""
        layer, weights = self.kinds[index]
        before = itertools.pairwise(self.sizes[: layer + 1])
        at = self.lane * self.size + jnp.int32(sum((fan_in + 1) * fan_out for fan_in, fan_out in before))
        fan_in, fan_out = self.sizes[layer : layer + 2]
        if not weights:
            return at + fan_in * fan_out + lax.iota(jnp.int32, fan_out)
        return beside(at + lax.iota(jnp.int32, fan_in) * fan_out, fan_out, 1)

    def load(self, turn: Any, step: Any) -> Any:
        """Returns x, y, weights and masks of the samples of a turn."""
        data = self.inputs
        place, column, weight = self.samples(turn, lax.iota(jnp.int32, self.rows), step)
        x = data.x.ref[beside(data.x.place(self.replicate, column, 0), self.sizes[0], 1)]
        # A sample of weight 0 may hold any value: 0·inf would be NaN.
        x = jnp.where(like(weight, x) > 0, x, jnp.zeros_like(x))
        if has_targets(self.loss):
            y = data.y.ref[beside(data.y.place(column, 0), self.sizes[-1], 1)]
        else:
            y = data.y[0, column]
        masks = [self.mask(layer, step, place) for layer in range(self.config.num_layers)]
        return x, y, weight, masks

    def add_gradient(self, grads: list[Any], params: list[Any], samples: Any) -> list[Any]:
        """Returns the gradient plus that of the samples of a turn."""
        return self.backward(grads, params, *samples)

    def mask(self, layer: int, step: Any, place: Any) -> Any:
        """Returns the factors of dropout on the inputs of a layer, `(rows, units)`, or None without dropout.

        Args:
            layer: the layer of weights; 0 has the mask of the input.
            step: as in `load`.
            place: place of each row among the samples of the step.
        """
        bits = self.inputs.bits[layer]
        if bits is None:
            return None
        first = bits.place(self.replicate, step, place, 0, 0)
        drawn = bits.ref[beside(first, self.sizes[layer], 1)].astype(jnp.float32)
        last, scale = (self.rates[f"{name}_{layer}"] for name in ("last_kept", "scale"))
        return jnp.where(drawn <= last, scale, jnp.zeros_like(drawn))

    def backward(
        self, grads: list[Any], params: list[Any], x: Any, y: Any, weight: Any, masks: list[Any]
    ) -> list[Any]:
        """Returns the gradient plus that of some samples: `mlp.forward` and `mlp.backward` again.

        Args:
            grads: gradient so far: of each layer that of w, then that of b.
            params: parameters, alike.
            x: inputs, `(rows, units)`.
            y: labels, `(rows,)`, or real targets, `(rows, units)`.
            weight: weights over the divisor of the data term, `(rows,)`.
            masks: factors on the inputs of each layer of weights, or None.
        """
        f, derivative = ACTIVATIONS[self.config.activation]
        last = self.config.num_layers - 1
        inputs, outputs, a = [], [], x  # h, and (z, a), of each layer
        for layer in range(last + 1):
            w, b = params[2 * layer : 2 * layer + 2]
            h = a if masks[layer] is None else a * masks[layer]
            z = self.dot(h, w, 1, 0) + b[None, :]
            # A unit that is there to fill up must be 0 also where f(0) is not.
            a = z if layer == last else self.only_units(layer + 1, f(z))
            inputs.append(h)
            outputs.append((z, a))
        found = list(grads)
        dz = self.only_units(last + 1, self.loss_gradient(a, y) * like(weight, a))
        for layer in reversed(range(last + 1)):
            found[2 * layer] += self.dot(inputs[layer], dz, 0, 0)
            found[2 * layer + 1] += jnp.sum(dz, axis=0)
            if layer > 0:
                da = self.dot(dz, params[2 * layer], 1, 1)
                da = da if masks[layer] is None else da * masks[layer]
                dz = da * derivative(*outputs[layer - 1])
        return found

    def dot(self, a: Any, b: Any, of_a: int, of_b: int) -> Any:
        """Returns the product of two matrices, summed over the axis `of_a` of one and `of_b` of the other."""
        return product(a, b, of_a, of_b, self.config.precision)

    def only_units(self, layer: int, values: Any) -> Any:
        """Returns the values of a layer's units, 0 for those that fill it up."""
        units = self.config.layer_sizes[layer]
        if units == self.sizes[layer]:
            return values
        return jnp.where(_units(values) < units, values, jnp.zeros_like(values))

    def loss_gradient(self, logits: Any, y: Any) -> Any:
        """Returns the gradient of the loss in each logit, see the functions of the same names in `losses`."""
        if self.loss == "sigmoid_cross_entropy":
            return lax.logistic(logits) - like(y.astype(jnp.float32), logits)
        if has_targets(self.loss):
            return residual(self.loss, logits, y)
        unit = _units(logits)
        logits = jnp.where(unit < self.config.layer_sizes[-1], logits, -jnp.inf)
        powers = jnp.exp(logits - like(jnp.max(logits, axis=1), logits))
        shares = powers / like(jnp.sum(powers, axis=1), powers)
        return shares - (unit == like(y, unit)).astype(jnp.float32)


def _units(values: Any) -> Any:
    """Returns the number of the unit of each value, int32, in the shape of `values`."""
    return lax.broadcasted_iota(jnp.int32, values.shape, 1)
