"""The kernel of networks that are too wide for registers: their parameters are read and written at each step.

A program trains one network, as in `engine/wide.py`, but goes through its matrices tile by tile: parameters,
the optimizer's state, activations and deltas stay in device memory, near enough for the cache, and a tile of
the gradient is used at once to update its parameters, so that no gradient is ever stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import triton as plt

from regjax.core.activations import ACTIVATIONS
from regjax.core.config import Config, Loss
from regjax.engine.kernel import Inputs, Kind, beside, has_targets, like
from regjax.engine.tiles import Stream, in_tiles
from regjax.engine.wide import WideProgram


class StreamedProgram(WideProgram):
    """A program of one network whose parameters stay in device memory.

    Args:
        inputs: what is read, as in `WideProgram`.
        config: config of the network.
        loss: its loss.
        tile: shape of the program.
        num_lanes: number of networks of all programs.
        interpret: whether the kernel is interpreted.
    """

    filled = staticmethod(in_tiles)

    def __init__(
        self, inputs: Inputs, config: Config, loss: Loss, tile: Stream, num_lanes: int, interpret: bool
    ) -> None:
        super().__init__(inputs, config, loss, tile, num_lanes, interpret)
        self.tile, self.last = tile, config.num_layers
        self.turns = -(-self.columns // tile.rows)
        self.kept = scratch_size(config, self.columns, tile)

    # -- tiles --------------------------------------------------------------------------------------------

    def units(self, layer: int) -> int:
        """Returns the units of a tile of a layer."""
        return min(self.tile.units, self.sizes[layer])

    def tiles(self, layer: int) -> int:
        """Returns the number of tiles of a layer."""
        return self.sizes[layer] // self.units(layer)

    def weights_at(self, layer: int, k: Any, n: Any) -> Any:
        """Returns the places of tile (k, n) of the weights from `layer` to the next, `(units, units)`."""
        rows, columns = self.units(layer), self.units(layer + 1)
        first = self.first(layer) + (k * rows + lax.iota(jnp.int32, rows)) * self.sizes[layer + 1]
        return beside(first + n * columns, columns, 1)

    def biases_at(self, layer: int, n: Any) -> Any:
        """Returns the places of tile n of the biases from `layer` to the next, `(units,)`."""
        columns = self.units(layer + 1)
        behind = self.sizes[layer] * self.sizes[layer + 1]
        return self.first(layer) + behind + n * columns + lax.iota(jnp.int32, columns)

    def values_at(self, layer: int, r: Any, n: Any, *, deltas: bool = False) -> Any:
        """Returns the places of tile (r, n) of a layer's activations, or deltas, `(rows, units)`."""
        samples, inner = self.turns * self.tile.rows, self.sizes[1:-1]
        before = sum(self.sizes[1:layer]) + (sum(inner) if deltas else 0)
        at = self.lane * self.kept + jnp.int32(samples * before)
        row = r * self.tile.rows + lax.iota(jnp.int32, self.tile.rows)
        return beside(at + row * self.sizes[layer] + n * self.units(layer), self.units(layer), 1)

    def barrier(self) -> None:
        """Waits until all threads of the program have written what others read next."""
        if not self.interpret:
            plt.debug_barrier()

    # -- a step -------------------------------------------------------------------------------------------

    def train(self, arrays: Any, values: Any = None) -> None:
        """Trains the network from the first step to the last, in place; `values` is memory of its own."""
        self.values = values
        self.params, self.opt_state = arrays
        start, stop = self.inputs.bounds[0], self.inputs.bounds[1]
        leaves, structure = jax.tree.flatten(self.opt_state)
        counted = [index for index, leaf in enumerate(leaves) if len(leaf.shape) == 1]

        def step(i: jax.Array, counts: list[Any]) -> list[Any]:
            for layer in range(self.last):
                self.forward(layer, i - start)
                self.barrier()
            of_leaf = dict(zip(counted, counts, strict=True))
            held = [of_leaf.get(index) for index in range(len(leaves))]
            for layer in reversed(range(self.last)):
                if layer > 0:
                    self.back_through(layer, i - start)
                self.barrier()
                self.descend(layer, i, i - start, held, leaves, structure)
            self.barrier()
            return [count + 1 for count in counts]  # a count is the same for all tiles

        counts = lax.fori_loop(start, stop, step, [leaves[index][self.lane] for index in counted])
        for index, count in zip(counted, counts, strict=True):
            leaves[index].ref[leaves[index].place(self.lane)] = count

    def input_tile(self, layer: int, r: Any, k: Any, step: Any) -> Any:
        """Returns tile (r, k) of the masked inputs of a layer of weights, `(rows, units)`."""
        place, column, weight = self.samples(r, lax.iota(jnp.int32, self.tile.rows), step)
        if layer == 0:
            first = self.inputs.x.place(self.replicate, column, 0)
            values = self.inputs.x.ref[beside(first + k * self.units(0), self.units(0), 1)]
            values = jnp.where(like(weight, values) > 0, values, jnp.zeros_like(values))
        else:
            values = self.values[self.values_at(layer, r, k)]
        return self.masked(layer, values, place, k, step)

    def masked(self, layer: int, values: Any, place: Any, k: Any, step: Any) -> Any:
        """Returns tile k of a layer's values times the factors of dropout there."""
        bits = self.inputs.bits[layer]
        if bits is None:
            return values
        first = bits.place(self.replicate, step, place, 0, 0) + k * self.units(layer)
        return values * self.factors(layer, bits.ref[beside(first, self.units(layer), 1)])

    def forward(self, layer: int, step: Any) -> None:
        """Writes the activations behind a layer of weights; behind the last, the deltas."""
        f, _ = ACTIVATIONS[self.config.activation]

        def tile(r: Any, n: Any) -> None:
            def add(k: Any, total: Any) -> Any:
                w = self.params.ref[self.weights_at(layer, k, n)]
                return total + self.dot(self.input_tile(layer, r, k, step), w, 1, 0)

            shape = (self.tile.rows, self.units(layer + 1))
            z = _sum(self.tiles(layer), add, jnp.zeros(shape, jnp.float32))
            z = z + self.params.ref[self.biases_at(layer, n)][None, :]
            if layer == self.last - 1:
                self.values[self.values_at(layer + 1, r, n, deltas=True)] = self.deltas(z, r, step)
            else:
                self.values[self.values_at(layer + 1, r, n)] = self.only_units(layer + 1, f(z), n)

        _each(self.turns, self.tiles(layer + 1), tile)

    def deltas(self, logits: Any, r: Any, step: Any) -> Any:
        """Returns the gradient of the data term in the logits of a turn's samples."""
        _, column, weight = self.samples(r, lax.iota(jnp.int32, self.tile.rows), step)
        y = self.inputs.y
        y = y.ref[beside(y.place(column, 0), self.sizes[-1], 1)] if has_targets(self.loss) else y[0, column]
        return self.only_units(self.last, self.loss_gradient(logits, y) * like(weight, logits))

    def back_through(self, layer: int, step: Any) -> None:
        """Writes the deltas in front of a layer of weights."""
        _, derivative = ACTIVATIONS[self.config.activation]

        def tile(r: Any, k: Any) -> None:
            def add(n: Any, total: Any) -> Any:
                dz = self.values[self.values_at(layer + 1, r, n, deltas=True)]
                return total + self.dot(dz, self.params.ref[self.weights_at(layer, k, n)], 1, 1)

            shape = (self.tile.rows, self.units(layer))
            da = _sum(self.tiles(layer + 1), add, jnp.zeros(shape, jnp.float32))
            place, _, _ = self.samples(r, lax.iota(jnp.int32, self.tile.rows), step)
            da = self.masked(layer, da, place, k, step)
            a = self.values[self.values_at(layer, r, k)]
            # No derivative needs z where it has a: relu's is 1 where a > 0.
            self.values[self.values_at(layer, r, k, deltas=True)] = da * derivative(a, a)

        _each(self.turns, self.tiles(layer), tile)

    def descend(
        self, layer: int, i: Any, step: Any, held: list[Any], leaves: list[Any], structure: Any
    ) -> None:
        """Updates a layer of weights, a tile of its gradient after the other.

        Args:
            layer: the layer of weights.
            i: number of the step.
            step: as in `load`.
            held: of each leaf of the optimizer's state the count, None where it is an array of parameters.
            leaves: these leaves in device memory.
            structure: of the optimizer's state.
        """

        def update(weights: bool, places: Any, grad: Any) -> None:
            state = [leaf.ref[places] if held[at] is None else held[at] for at, leaf in enumerate(leaves)]
            p, state = self.updated(
                Kind(layer, weights), self.params.ref[places], grad, jax.tree.unflatten(structure, state), i
            )
            self.params.ref[places] = p
            for leaf, count, value in zip(leaves, held, jax.tree.leaves(state), strict=True):
                if count is None:
                    leaf.ref[places] = value

        def tile(k: Any, n: Any) -> None:
            def add(r: Any, total: Any) -> Any:
                dz = self.values[self.values_at(layer + 1, r, n, deltas=True)]
                return total + self.dot(self.input_tile(layer, r, k, step), dz, 0, 0)

            shape = (self.units(layer), self.units(layer + 1))
            grad = _sum(self.turns, add, jnp.zeros(shape, jnp.float32))
            update(True, self.weights_at(layer, k, n), grad)

        def bias(n: Any, _: Any) -> None:
            def add(r: Any, total: Any) -> Any:
                dz = self.values[self.values_at(layer + 1, r, n, deltas=True)]
                return total + jnp.sum(dz, axis=0)

            grad = _sum(self.turns, add, jnp.zeros(self.units(layer + 1), jnp.float32))
            update(False, self.biases_at(layer, n), grad)

        _each(self.tiles(layer), self.tiles(layer + 1), tile)
        _each(self.tiles(layer + 1), 1, bias)


def scratch_size(config: Config, columns: int, tile: Stream) -> int:
    """Returns how many numbers a program keeps of a step's samples: activations, and then deltas."""
    sizes = [in_tiles(size) for size in config.layer_sizes]
    return -(-columns // tile.rows) * tile.rows * (2 * sum(sizes[1:-1]) + sizes[-1])


def _sum(count: int, add: Callable[[Any, Any], Any], total: Any) -> Any:
    """Returns `total` after `add(number, total)` of each number."""
    return add(0, total) if count == 1 else lax.fori_loop(0, count, add, total)


def _each(outer: int, inner: int, run: Callable[[Any, Any], None]) -> None:
    """Runs `run(i, j)` for each pair of numbers."""
    if outer * inner == 1:
        run(0, 0)
        return

    def one(index: Any, _: None) -> None:
        run(lax.div(index, jnp.int32(inner)), lax.rem(index, jnp.int32(inner)))

    lax.fori_loop(0, outer * inner, one, None)
