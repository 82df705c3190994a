"""What the two kernels of `engine/fused.py` have in common: the arrays, the loop over steps, the update.

A program trains one or a few networks for many steps in one launch, and holds their parameters, gradient and
optimizer's state in registers meanwhile; nothing is read then but samples and bits. `engine/narrow.py` gives
every thread some units of a network and some samples; `engine/wide.py` computes matrix products. Both follow
`core/train.py` step by step, and differ in how a gradient is computed and in how arrays are laid out.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.experimental.pallas import triton as plt

from regjax.core.config import REAL_LOSSES, Config, Loss
from regjax.core.hparams import HParams
from regjax.core.mlp import Params
from regjax.core.optimizers import learning_rate_at, make_optimizer

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
        x: inputs of all samples, in the subclass's own layout.
        y: targets, likewise: float32 where the loss `has_targets`, else labels.
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


def has_targets(loss: Loss) -> bool:
    """Returns whether each output has a target of its own, a number, and not the sample a label."""
    return loss in REAL_LOSSES or loss == "multilabel_cross_entropy"


def residual(loss: Loss, logits: Any, y: Any) -> Any:
    """Returns the gradient in each logit of a loss that `has_targets`."""
    if loss == "multilabel_cross_entropy":
        return lax.logistic(logits) - y
    return (jnp.exp(logits) if loss == "poisson" else logits) - y


# -- a program ----------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """What an array of parameters is: the layer of weights, from 0, and whether it is weights, not biases."""

    layer: int
    weights: bool


class Program:
    """The networks of one program: reads their states, trains them, and writes the states back.

    Below, a *piece* is an array of a program's parameters. A subclass says which there are and where they lie
    (`kinds`, `place`), and computes their gradient for the samples of a turn (`add_gradient`).

    Args:
        inputs: what is read.
        config: config of the networks.
        loss: their loss.
        interpret: whether the kernel is interpreted.
        lane: number of the network, an int32 or an array `(threads,)`.
        rows: samples of a network that a turn takes.
    """

    kinds: list[Kind]
    # Whether the samples of a step are read during the step before, where a step has one turn.
    reads_ahead = False

    def __init__(
        self, inputs: Inputs, config: Config, loss: Loss, interpret: bool, lane: Any, rows: int
    ) -> None:
        self.inputs, self.config, self.interpret = inputs, config, interpret
        self.loss: Loss = loss
        self.lane, self.rows = lane, rows
        self.replicate = inputs.of_lane[lane]
        samples = inputs.weights.shape[1]
        self.columns = samples if config.batch_size is None else config.batch_size
        scalars = [name for name in inputs.rates if name not in ("l2", "l1")]  # those have one for each layer
        self.rates = {name: inputs.rates[name][0, lane] for name in scalars}
        self.numbers = [name for name in HParams._fields if name in self.rates]
        self.hparams = HParams(**{name: self.rates[name] for name in self.numbers})
        self.penalties = {
            name: [inputs.rates[name][layer, lane] for layer in range(config.num_layers)]
            for name in ("l2", "l1")
        }

    # -- what a subclass defines --------------------------------------------------------------------------

    @staticmethod
    def lay_out(params: Params) -> jax.Array:
        """Returns parameters, leaves `(lanes, …)`, as one array; `place` says where each piece lies."""
        raise NotImplementedError

    @staticmethod
    def restore(flat: jax.Array, sizes: tuple[int, ...]) -> Params:
        """Returns the parameters that `lay_out` was given."""
        raise NotImplementedError

    @staticmethod
    def lay_out_samples(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns x `(replicates or 1, n_features, n)` and y `(1 or n_outputs, n)` as they are read."""
        raise NotImplementedError

    def place(self, index: int) -> Any:
        """Returns the places of a piece in an array of parameters."""
        raise NotImplementedError

    def load(self, turn: Any, step: Any) -> Any:
        """Returns the samples of a turn, and the factors of dropout.

        Args:
            turn: number of the turn; in each, a network goes through `rows` samples.
            step: number of the step, counted from the first one that bits and batches are drawn for.
        """
        raise NotImplementedError

    def add_gradient(self, grads: list[Any], params: list[Any], samples: Any) -> list[Any]:
        """Returns the gradient plus that of the samples of a turn.

        Args:
            grads: gradient so far, an array for each piece.
            params: parameters, alike.
            samples: what `load` returned.
        """
        raise NotImplementedError

    def summed(self, grad: Any) -> Any:
        """Returns the sum of a piece's gradient over all samples, after the last turn."""
        return grad

    # -- parameters and state -----------------------------------------------------------------------------

    def read(self, arrays: Any) -> Any:
        """Returns a pytree in which each array of parameters is a list of pieces, and each count an array."""
        pieces = range(len(self.kinds))
        return jax.tree.map(
            lambda a: [a.ref[self.place(i)] for i in pieces] if len(a.shape) > 1 else a[self.lane], arrays
        )

    def write(self, arrays: Any, values: Any) -> None:
        """Writes what `read` returned."""

        def put(array: Array, value: Any) -> None:
            if len(array.shape) == 1:
                array.ref[array.place(self.lane)] = value
                return
            for index, part in enumerate(value):
                array.ref[self.place(index)] = part

        jax.tree.map(put, arrays, values)

    # -- a step -------------------------------------------------------------------------------------------

    def train(self, arrays: Any) -> None:
        """Trains the networks from the first step to the last, in place."""
        start, stop = self.inputs.bounds[0], self.inputs.bounds[1]
        turns = -(-self.columns // self.rows)

        def step(i: jax.Array, carry: Any) -> Any:
            (params, opt_state), samples = carry
            grads = [jnp.zeros_like(part) for part in params]

            def turn(t: Any, grads: Any) -> Any:
                return self.add_gradient(grads, params, self.load(t, i - start))

            if turns > 1:
                grads = lax.fori_loop(0, turns, turn, grads)
            elif samples is None:
                grads = turn(0, grads)
            else:
                ahead = self.load(0, jnp.minimum(i + 1, stop - 1) - start)
                samples, grads = ahead, self.add_gradient(grads, params, samples)
            return self.update(params, opt_state, [self.summed(grad) for grad in grads], i), samples

        ahead = self.load(0, jnp.int32(0)) if turns == 1 and self.reads_ahead else None
        self.write(arrays, lax.fori_loop(start, stop, step, (self.read(arrays), ahead))[0])

    def update(self, params: list[Any], opt_state: Any, grads: list[Any], i: Any) -> tuple[Any, Any]:
        """Returns the parameters and the optimizer's state after an update of all pieces."""
        done = [
            self.updated(kind, p, grad, _of_piece(opt_state, index), i)
            for index, (kind, p, grad) in enumerate(zip(self.kinds, params, grads, strict=True))
        ]
        return [p for p, _ in done], _together(opt_state, [state for _, state in done])

    def updated(self, kind: Kind, p: Any, grad: Any, state: Any, i: Any) -> tuple[Any, Any]:
        """Returns an array of parameters and its optimizer's state after an update, as `train._step` does.

        Args:
            kind: what the parameters are.
            p: the parameters.
            grad: gradient of the data term, alike.
            state: the optimizer's state of these parameters.
            i: number of the step.
        """
        config = self.config
        # A hyperparameter is a number, or `(threads,)`; one beside `(threads, units)` needs an axis more.
        if kind.weights:  # the strengths are divided by n
            l2, l1 = (like(self.penalties[name][kind.layer], p) for name in ("l2", "l1"))
            grad = self.fma(l1, jnp.sign(p), self.fma(l2, p, grad))
        rate = like(learning_rate_at(i, config, self.hparams), p)
        own = self.hparams._replace(**{name: like(getattr(self.hparams, name), p) for name in self.numbers})
        with jax.numpy_dtype_promotion("standard"):  # as in `optimizers.update`
            if config.optimizer == "adamw":
                decay = own.weight_decay if kind.weights else 0.0
                optimizer = optax.adamw(rate, own.b1, own.b2, own.eps, weight_decay=decay)
            else:
                optimizer = make_optimizer(config, own, rate)
            updates, state = optimizer.update(grad, jax.tree.map(lambda v: like(v, p), state), p)
        return cast(jax.Array, optax.apply_updates(p, updates)), state

    def samples(self, turn: Any, row: Any, step: Any) -> tuple[Any, Any, Any]:
        """Returns places among the step's samples, numbers, and weights of the samples of a turn.

        Args:
            turn: number of the turn.
            row: number of each sample among those of the turn, int32.
            step: as in `load`.
        """
        data = self.inputs
        position = turn * self.rows + row
        place = jnp.minimum(position, self.columns - 1)
        column = place if data.order is None else data.order[self.replicate, step, place]
        weight = data.weights[self.replicate, column]
        return place, column, jnp.where(position < self.columns, weight, jnp.zeros_like(weight))

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


def beside(first: Any, units: int, stride: int) -> Any:
    """Returns places `(threads, units)` that lie `stride` apart from `first`, `(threads,)`."""
    unit = lax.broadcasted_iota(jnp.int32, (first.shape[0], units), 1)
    return first[:, None] + unit * stride


def like(value: Any, other: Any) -> Any:
    """Returns `(threads,)` as a column beside `(threads, units)`; a number stays one."""
    return value[:, None] if 0 < value.ndim < other.ndim else value


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
