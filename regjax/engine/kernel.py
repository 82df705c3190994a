"""The kernel of `engine/fused.py`: trains a few networks for many steps, all in registers.

A program trains `lanes` networks, each with `parts` · `splits` threads: the parts share the samples, the
splits the units of a wide layer. Thread (part, lane, split), counted with the split first, holds the
parameters of its units, their gradient and the optimizer's state as arrays `(threads,)` or
`(threads, units)`; Triton gives every thread its row. During the steps nothing is read but samples and bits.

A layer's values have one of two forms. A *list* has an array `(threads,)` for each unit, the same for all
splits. A *vector* has arrays `(threads, units)`, each of a power of two of units. The input is a list, and
layers alternate: a vector becomes a list by sums over units, and a list becomes a vector by products with the
columns of w. (With lists alone Triton's compiler takes minutes.)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from regjax.core.activations import ACTIVATIONS
from regjax.core.config import REAL_LOSSES, Config, Loss
from regjax.core.hparams import HParams
from regjax.core.optimizers import learning_rate_at, make_optimizer
from regjax.engine.tiles import Piece, Tile, blocks_of, is_vector, pieces_of, splits_of

# -- the arrays in device memory ----------------------------------------------------------------------------


class Array:
    """An array in device memory, flat, with the shape that it had."""

    def __init__(self, ref: Any, shape: tuple[int, ...]) -> None:
        self.ref, self.shape = ref, shape

    def place(self, *index: Any) -> Any:
        """Returns the place of an element."""
        # Few operations: the time of Triton's compiler grows with the square of their number.
        place, stride, fixed = None, 1, 0
        for i, size in zip(reversed(index), reversed(self.shape), strict=True):
            if isinstance(i, int):
                fixed += i * stride
            elif size > 1:
                term = i * stride if stride > 1 else i
                place = term if place is None else place + term
            stride *= size
        place = jnp.int32(0) if place is None else place
        # An axis of one element adds nothing to the place, and its index may be the one with the threads.
        shape = jnp.broadcast_shapes(*(jnp.shape(i) for i in index))
        place = place if place.shape == shape else jnp.broadcast_to(place, shape)
        return place + jnp.int32(fixed) if fixed else place

    def __getitem__(self, index: Any) -> Any:
        return self.ref[self.place(*(index if isinstance(index, tuple) else (index,)))]


class Inputs(NamedTuple):
    """What the kernel reads, each an `Array`.

    Attributes:
        x: inputs of all samples, `(replicates or 1, n_features, n)`.
        y: targets, `(1 or n_outputs, n)`.
        weights: weights of the samples over the divisor of the data term, `(replicates, n)`.
        rates: name -> `(1, lanes)`, or `(layers, lanes)` for l2 and l1.
        of_lane: replicate of each network, `(lanes,)`.
        bits: for each layer the bits of its masks, `(replicates, steps, columns, splits, units)`, or None:
            a thread's units lie side by side, and are filled up to a power of two.
        order: samples of each step's batch, `(replicates, steps, columns)`; None where it is all of them.
        bounds: first step, and last step + 1.
    """

    x: Any
    y: Any
    weights: Any
    rates: dict[str, Any]
    of_lane: Any
    bits: tuple[Any, ...]
    order: Any
    bounds: Any


# -- a program ----------------------------------------------------------------------------------------------


class Program:
    """The networks of one program: reads their states, trains them, and writes the states back.

    Args:
        inputs: what is read.
        config: config of the networks.
        loss: their loss.
        tile: shape of the program.
        num_lanes: number of networks of all programs.
        interpret: whether the kernel is interpreted.
    """

    def __init__(
        self, inputs: Inputs, config: Config, loss: Loss, tile: Tile, num_lanes: int, interpret: bool
    ) -> None:
        self.inputs, self.config, self.loss, self.tile = inputs, config, loss, tile
        self.num_lanes, self.interpret = num_lanes, interpret
        thread = lax.iota(jnp.int32, tile.threads)
        self.split = thread % tile.splits
        self.part = thread // (tile.splits * tile.lanes)
        lane = pl.program_id(0) * tile.lanes + thread // tile.splits % tile.lanes
        # Beyond the last network a thread repeats it: it computes and writes the same numbers.
        self.lane = jnp.minimum(lane, num_lanes - 1)
        self.replicate = inputs.of_lane[self.lane]
        self.columns = inputs.x.shape[-1] if config.batch_size is None else config.batch_size
        self.pieces = pieces_of(config, tile.splits)
        scalars = [name for name in inputs.rates if name not in ("l2", "l1")]  # those have one for each layer
        rates = {name: inputs.rates[name][0, self.lane] for name in scalars}
        self.rates = rates
        self.numbers = [name for name in HParams._fields if name in rates]
        self.hparams = HParams(**{name: rates[name] for name in self.numbers})
        self.penalties = {
            name: [inputs.rates[name][layer, self.lane] for layer in range(config.num_layers)]
            for name in ("l2", "l1")
        }

    # -- parameters and state -----------------------------------------------------------------------------

    def place(self, piece: Piece) -> Any:
        """Returns the places of a piece in an array `(parameters, lanes)`."""
        first = self.lane + jnp.int32(piece.first * self.num_lanes)
        if piece.of_split:
            first = first + self.split * (piece.of_split * self.num_lanes)
        return first if piece.units is None else _beside(first, piece.units, piece.stride * self.num_lanes)

    def read(self, arrays: Any) -> Any:
        """Returns a pytree in which each array of parameters is a list of pieces, and each count an array."""
        return jax.tree.map(
            lambda a: [a.ref[self.place(p)] for p in self.pieces] if a.shape[0] > 1 else a[0, self.lane],
            arrays,
        )

    def write(self, arrays: Any, values: Any) -> None:
        """Writes what `read` returned."""

        def put(array: Array, value: Any) -> None:
            if array.shape[0] == 1:
                array.ref[array.place(0, self.lane)] = value
                return
            for piece, part in zip(self.pieces, value, strict=True):
                array.ref[self.place(piece)] = part

        jax.tree.map(put, arrays, values)

    # -- a step -------------------------------------------------------------------------------------------

    def train(self, arrays: Any) -> None:
        """Trains the networks from the first step to the last, in place."""
        start, stop = self.inputs.bounds[0], self.inputs.bounds[1]
        turns = -(-self.columns // self.tile.parts)

        def step(i: jax.Array, carry: Any) -> Any:
            params, opt_state = carry
            grads = [jnp.zeros_like(part) for part in params]

            def turn(t: Any, grads: Any) -> Any:
                return self.add_gradient(grads, params, t, i - start)

            grads = turn(0, grads) if turns == 1 else lax.fori_loop(0, turns, turn, grads)
            return self.update(params, opt_state, [self.over_parts(grad) for grad in grads], i)

        self.write(arrays, lax.fori_loop(start, stop, step, self.read(arrays)))

    def update(self, params: list[Any], opt_state: Any, grads: list[Any], i: Any) -> tuple[Any, Any]:
        """Returns the parameters and the optimizer's state after an update, as `train._step` does."""
        config, h = self.config, self.hparams
        for index, (piece, p) in enumerate(zip(self.pieces, params, strict=True)):
            if piece.weights:  # the strengths are divided by n
                l2, l1 = (_like(self.penalties[name][piece.layer], p) for name in ("l2", "l1"))
                grads[index] = self.fma(l1, jnp.sign(p), self.fma(l2, p, grads[index]))
        rate = learning_rate_at(i, config, h)
        # A hyperparameter is `(threads,)`; one beside `(threads, units)` needs an axis more.
        done = []
        for index, (p, grad) in enumerate(zip(params, grads, strict=True)):
            own = h._replace(**{name: _like(getattr(h, name), p) for name in self.numbers})
            state = _of_piece(opt_state, index)
            with jax.numpy_dtype_promotion("standard"):  # as in `optimizers.update`
                if config.optimizer == "adamw":
                    decay = own.weight_decay if self.pieces[index].weights else 0.0
                    optimizer = optax.adamw(_like(rate, p), own.b1, own.b2, own.eps, weight_decay=decay)
                else:
                    optimizer = make_optimizer(config, own, _like(rate, p))
                updates, state = optimizer.update(grad, jax.tree.map(lambda v, p=p: _like(v, p), state), p)
            done.append((cast(jax.Array, optax.apply_updates(p, updates)), state))
        return [p for p, _ in done], _together(opt_state, [state for _, state in done])

    def add_gradient(self, grads: Sequence[Any], params: list[Any], turn: Any, step: Any) -> list[Any]:
        """Returns the gradient plus that of the sample that each thread has in this turn.

        Args:
            grads: gradient so far, an array for each of `pieces`.
            params: parameters, alike.
            turn: number of the turn; in each, the parts of a network take one sample each.
            step: number of the step, counted from the first one that bits and batches are drawn for.
        """
        data, sizes = self.inputs, self.config.layer_sizes
        position = turn * self.tile.parts + self.part
        sample = jnp.minimum(position, self.columns - 1)
        column = sample if data.order is None else data.order[self.replicate, step, sample]
        weight = data.weights[self.replicate, column]
        weight = jnp.where(position < self.columns, weight, jnp.zeros_like(weight))
        x = [data.x[self.replicate, feature, column] for feature in range(sizes[0])]
        # A sample of weight 0 may hold any value: 0·inf would be NaN.
        x = [jnp.where(weight > 0, value, jnp.zeros_like(value)) for value in x]
        y = [data.y[index, column] for index in range(data.y.shape[0])]
        masks = [self.masks(layer, step, sample) for layer in range(self.config.num_layers)]
        return self.backward(grads, self.layers(params), x, y, weight, masks)

    def masks(self, layer: int, step: Any, sample: Any) -> list[Any] | None:
        """Returns the factors of dropout on the inputs of a layer, see `dropout.dropout_mask`.

        Args:
            layer: the layer of weights; 0 has the masks of the input.
            step: as in `add_gradient`.
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
            drawn = [bits.ref[_beside(first + jnp.int32(b.first), b.units, 1)] for b in blocks]
        else:  # one wide load, not one for each unit: each would wait for the memory
            both = bits.ref[_beside(first, bits.shape[-1], 1)].astype(jnp.int32)
            unit = _numbers(0, both)
            units = range(self.config.layer_sizes[layer])
            drawn = [jnp.sum(jnp.where(unit == index, both, 0), axis=1) for index in units]
        found = []
        for value in drawn:
            value = value.astype(jnp.float32)
            last, scale = (_like(self.rates[f"{name}_{layer}"], value) for name in ("last_kept", "scale"))
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
        da = [value * _like(weight, value) for value in self.loss_gradient(a, y)]
        totals, found = self.layers(grads), []
        for layer in reversed(range(len(params))):
            (w, _), (total_w, total_b) = params[layer], totals[layer]
            last, vector = layer == len(params) - 1, is_vector(layer + 1)
            dz = da if last else [d * derivative(*at) for d, *at in zip(da, *outputs[layer], strict=True)]
            outer, inner = (inputs[layer], dz) if vector else (dz, inputs[layer])
            dw = [
                self.fma(_like(one, total), _like(other, total), total)
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
                    self.fma(block, _like(value, block), total)
                    for total, block in zip(z, column, strict=True)
                ]
            return z
        return [self.dot(layer, row, h) + bias for row, bias in zip(w, b, strict=True)]

    def back_through(self, layer: int, w: Any, dz: list[Any]) -> list[Any]:
        """Returns dh = wᵀ·dz."""
        if is_vector(layer + 1):  # then h is a list
            return [self.dot(layer + 1, column, dz) for column in w]
        found = [block * _like(dz[0], block) for block in w[0]]
        for row, d in zip(w[1:], dz[1:], strict=True):
            found = [self.fma(block, _like(d, block), total) for total, block in zip(found, row, strict=True)]
        return found

    def dot(self, layer: int, blocks: list[Any], others: list[Any]) -> Any:
        """Returns the sum of products over all units of a layer that is a vector, `(threads,)`."""
        sums = (jnp.sum(a * b, axis=1) for a, b in zip(blocks, others, strict=True))
        total = functools.reduce(lax.add, sums)
        splits = splits_of(self.config, layer, self.tile.splits)
        return total if splits == 1 else _sum_over(total, (total.shape[0] // splits, splits), 1)

    def over_parts(self, grad: Any) -> Any:
        """Returns the sum over the threads that share the samples of a network, for all of them."""
        if self.tile.parts == 1:
            return grad
        shape = (self.tile.parts, self.tile.lanes * self.tile.splits, *grad.shape[1:])
        return _sum_over(grad, shape, 0)

    def loss_gradient(self, logits: list[Any], y: list[Any]) -> list[Any]:
        """Returns the gradient of the loss in each logit, see the functions of the same names in `losses`."""
        if self.loss == "sigmoid_cross_entropy":
            return [lax.logistic(logits[0]) - _like(y[0].astype(jnp.float32), logits[0])]
        vector = logits[0].ndim > 1
        blocks = blocks_of(self.config, self.config.num_layers, self.tile.splits)
        firsts = [block.first for block in blocks] if vector else list(range(len(logits)))
        if self.loss in REAL_LOSSES:
            found = [jnp.exp(z) if self.loss == "poisson" else z for z in logits]
            return [z - _targets(y, first, z) for first, z in zip(firsts, found, strict=True)]
        over: Callable[..., Any] = (lambda f, z: f(z, axis=1)) if vector else (lambda f, z: z)
        largest = functools.reduce(jnp.maximum, [over(jnp.max, z) for z in logits])
        powers = [jnp.exp(z - _like(largest, z)) for z in logits]
        total = functools.reduce(lax.add, [over(jnp.sum, power) for power in powers])
        return [
            power / _like(total, power) - (_numbers(first, power) == _like(y[0], power)).astype(jnp.float32)
            for first, power in zip(firsts, powers, strict=True)
        ]

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Returns a·b + c, in one instruction."""
        a, b = (jnp.broadcast_to(value, c.shape) for value in (a, b))
        if self.interpret:
            return a * b + c
        # XLA lets Triton's products and sums stay two instructions.
        return plt.elementwise_inline_asm(
            "fma.rn.f32 $0, $1, $2, $3;",
            args=[a, b, c],
            constraints="=f,f,f,f",
            pack=1,
            result_shape_dtypes=[jax.ShapeDtypeStruct(c.shape, c.dtype)],
        )[0]


def _beside(first: Any, units: int, stride: int) -> Any:
    """Returns places `(threads, units)` that lie `stride` apart from `first`, `(threads,)`."""
    unit = lax.broadcasted_iota(jnp.int32, (first.shape[0], units), 1)
    return first[:, None] + unit * stride


def _like(value: Any, other: Any) -> Any:
    """Returns `(threads,)` as a column beside `(threads, units)`."""
    return value[:, None] if other.ndim > value.ndim else value


def _times(values: list[Any], factors: list[Any] | None) -> list[Any]:
    """Returns values times the factors of dropout; None is no dropout."""
    if factors is None:
        return values
    return [value * factor for value, factor in zip(values, factors, strict=True)]


def _sum_over(value: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Returns the sum over an axis of `shape`, for all threads of it, in the shape of `value`."""
    found = jnp.sum(value.reshape(shape), axis=axis, keepdims=True)
    return jnp.broadcast_to(found, shape).reshape(value.shape)


def _numbers(first: int, like: Any) -> Any:
    """Returns the number of each unit of an array, `first` … , int32, in its shape."""
    if like.ndim == 1:
        return jnp.full(like.shape, first, jnp.int32)
    return first + lax.broadcasted_iota(jnp.int32, like.shape, 1)


def _targets(y: list[Any], first: int, like: Any) -> Any:
    """Returns the real targets of the outputs `first` …, a list, in the form of `like`."""
    if like.ndim == 1:
        return y[first]
    found = jnp.zeros_like(like)
    for index in range(like.shape[1]):
        found = jnp.where(_numbers(0, like) == index, _like(y[first + index], like), found)
    return found


def _of_piece(opt_state: Any, index: int) -> Any:
    """Returns the optimizer's state of one piece."""
    return jax.tree.map(
        lambda part: part[index] if isinstance(part, list) else part,
        opt_state,
        is_leaf=lambda part: isinstance(part, list),
    )


def _together(like: Any, states: list[Any]) -> Any:
    """Returns the optimizer's state of all pieces; a count is that of the first."""
    return jax.tree.map(
        lambda part, *found: list(found) if isinstance(part, list) else found[0].reshape(part.shape),
        like,
        *states,
        is_leaf=lambda part: isinstance(part, list),
    )
