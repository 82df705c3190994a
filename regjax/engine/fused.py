"""A whole segment of training in one launch: the loop of small networks on a GPU, as a Pallas kernel.

The plain program launches some twenty kernels for a step, and each of them reads and writes device memory: a
network of a hundred parameters is then trained at the speed of launches. Here one launch trains all networks
of a chunk for all steps of a segment (`engine/kernel.py`). `lanes.run_task` calls `advance_fused` where
`tiles.is_fused` says so. The plain program stays the reference, and the two agree to rounding. Random bits
and batches are drawn ahead by the plain program's functions, once for a replicate.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from regjax.core.config import Config, Loss
from regjax.core.data import Data
from regjax.core.dropout import keep_threshold
from regjax.core.hparams import HParams
from regjax.core.minibatches import weigh_classes
from regjax.core.mlp import Layer, Params
from regjax.core.objective import resolve_loss
from regjax.core.random import MASKS, as_key, epoch_order, place_key, random_bits
from regjax.core.train import TrainState
from regjax.engine.kernel import Array, Inputs, has_targets
from regjax.engine.narrow import Narrow
from regjax.engine.tiles import THREADS_PER_WARP, Shape, Tile, Wide, has_kernel, shape_for
from regjax.engine.wide import WideProgram

# Bytes of random bits and batches that are drawn before a launch, and the most steps that they are for.
DRAWN_BUDGET, MOST_STEPS = 128 * 2**20, 1024
# The least steps, unless there are so many replicates that the place of a bit would be no int32.
LEAST_STEPS, MOST_BYTES = 8, 2**32


# The program of each shape.
PROGRAMS: dict[type, Any] = {Tile: Narrow, Wide: WideProgram}


class _Drawn(NamedTuple):
    """What is drawn for some steps: `bits` and `order` of `kernel.Inputs`."""

    bits: tuple[jax.Array | None, ...]
    order: jax.Array | None


@functools.partial(jax.jit, static_argnames=("num_batches", "config", "tile"), donate_argnames="states")
def advance_fused(
    replicates: Any,
    hparams: HParams,
    states: TrainState,
    start: Any,
    stop: Any,
    num_batches: int,
    *,
    config: Config,
    tile: Shape | None = None,
) -> TrainState:
    """Returns the states after steps `start` … `stop` - 1, as `lanes.advance_lanes` does, to rounding.

    Args:
        replicates: data, weights and keys, see `lanes.Replicates`.
        hparams: leaves `(R, r, …)`.
        states: states after `start` steps, leaves `(R, r, …)`.
        start: first step.
        stop: step to stop before.
        num_batches: number of batches of an epoch.
        config: config of the compiled program, one that `fits`.
        tile: shape of a program; None chooses it.

    Without a GPU the kernel is interpreted, which is slow, and meant for tests.
    """
    slots, per_slot = hparams.learning_rate.shape
    num_lanes = slots * per_slot
    columns = replicates.x.shape[-1] if config.batch_size is None else config.batch_size
    tile = tile or shape_for(config, columns, num_lanes)
    if tile is None:
        raise ValueError("config must be one that a kernel suits, see `tiles.shape_for`")
    program = PROGRAMS[type(tile)]
    # In a shared chunk all lanes of a slot belong to one replicate, and there is a key for each slot.
    of_lane = jnp.arange(num_lanes, dtype=jnp.int32) // (per_slot if replicates.shared else 1)
    x, data, num_train = _samples_of(replicates, config)
    flat = functools.partial(jax.tree.map, lambda leaf: leaf.reshape(num_lanes, *leaf.shape[2:]))
    loss = resolve_loss(config, data)
    y = data.y.astype(jnp.float32) if has_targets(loss) else data.y
    x, y = program.lay_out_samples(x, y)
    inputs = Inputs(
        x=x,
        y=y,
        weights=data.weights,
        rates=_rates(flat(hparams), num_train[of_lane], config),
        of_lane=of_lane,
        bits=(None,) * config.num_layers,
        order=None,
        bounds=None,
    )
    launch = functools.partial(_launch, config=config, loss=loss, tile=tile)
    carried = _with_params(program.lay_out, flat((states.params, states.opt_state)))
    keys = replicates.key.reshape(-1, 2)
    masked = [value is not None for value in _keep_probs(hparams, config)]
    draw = functools.partial(_draw, keys, data.weights, num_batches, masked, config, tile, columns)
    drawn = config.batch_size is not None or any(masked)
    size = _steps_ahead(len(data.weights) * columns * (4 * sum(config.layer_sizes[:-1]) + 4))
    carried = _in_pieces(launch, carried, inputs, draw if drawn else None, start, stop, size)
    restore = functools.partial(program.restore, sizes=config.layer_sizes)
    like = flat((states.params, states.opt_state))
    params, opt_state = jax.tree.map(
        lambda part, flat: restore(flat) if _is_params(part) else flat, like, carried, is_leaf=_is_params
    )
    shaped = functools.partial(jax.tree.map, lambda leaf: leaf.reshape(slots, per_slot, *leaf.shape[1:]))
    return states._replace(params=shaped(params), opt_state=shaped(opt_state))


def _in_pieces(launch: Any, carried: Any, inputs: Inputs, draw: Any, start: Any, stop: Any, size: int) -> Any:
    """Returns the state after the last step, with a launch for as many steps as are drawn ahead.

    Args:
        launch: trains from the first step of its inputs to the last.
        carried: state before the first step.
        inputs: what the kernel reads, without what is drawn.
        draw: draws for some steps, or None where nothing is drawn.
        start: first step.
        stop: step to stop before.
        size: most steps that are drawn for ahead.
    """
    start, stop = jnp.asarray(start, jnp.int32), jnp.asarray(stop, jnp.int32)
    if draw is None:
        return launch(carried, inputs._replace(bounds=jnp.stack([start, stop])))

    def piece(carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        carried, step = carry
        end, drawn = jnp.minimum(step + size, stop), draw(step, size)
        found = inputs._replace(bits=drawn.bits, order=drawn.order, bounds=jnp.stack([step, end]))
        return launch(carried, found), end

    return lax.while_loop(lambda carry: carry[1] < stop, piece, (carried, start))[0]


def _steps_ahead(step_bytes: int) -> int:
    """Returns for how many steps is drawn before a launch."""
    size = LEAST_STEPS
    while size > 1 and size * step_bytes > MOST_BYTES:
        size //= 2
    while size < MOST_STEPS and 2 * size * step_bytes <= DRAWN_BUDGET:
        size *= 2
    return size


def _samples_of(replicates: Any, config: Config) -> tuple[jax.Array, Data, jax.Array]:
    """Returns x `(replicates or 1, n_features, n)`; data with weights over their divisor; and n."""
    x = replicates.x.reshape(-1, *replicates.x.shape[-2:])
    weights = replicates.train.reshape(-1, replicates.train.shape[-1])

    def weigh(weights: jax.Array) -> jax.Array:
        return weigh_classes(Data(x[0], replicates.y, weights), config).weights  # of the targets alone

    weights = jax.vmap(weigh)(weights)
    num_train = jnp.sum(weights, axis=1)
    divisor = num_train[:, None] if config.batch_size is None else float(config.batch_size)
    return x, Data(x, replicates.y, weights / divisor), num_train


def _rates(hparams: HParams, num_train: jax.Array, config: Config) -> dict[str, jax.Array]:
    """Returns what the kernel reads of the hyperparameters, arrays `(1 or layers, lanes)`."""
    scalars = ["learning_rate", "momentum", "b1", "b2", "eps", "weight_decay", "end_fraction", "decay_rate"]
    found = {name: getattr(hparams, name)[None] for name in scalars}
    found |= {name: (getattr(hparams, name) / num_train[:, None]).T for name in ("l2", "l1")}
    for layer, value in enumerate(_keep_probs(hparams, config)):
        if value is not None:
            threshold = keep_threshold(value)[None]
            found |= {f"last_kept_{layer}": threshold - 1, f"scale_{layer}": 65536 / threshold}
    return found


def _keep_probs(hparams: HParams, config: Config) -> list[jax.Array | None]:
    """Returns the probability of keeping an input of each layer of weights, None where nothing is dropped."""
    kept, hidden = hparams.keep_prob, range(config.num_hidden)
    return [hparams.input_keep_prob, *(None if kept is None else kept[..., layer] for layer in hidden)]


def _draw(
    keys: jax.Array, weights: jax.Array, num_batches: int, masked: Sequence[bool], config: Config,
    tile: Shape, columns: int, start: jax.Array, size: int,
) -> _Drawn:  # fmt: skip
    """Returns what is drawn for steps `start` … `start` + `size` - 1, as the plain program draws it."""
    steps = start + jnp.arange(size, dtype=jnp.int32)

    def bits_of(words: jax.Array, step: jax.Array) -> tuple[jax.Array | None, ...]:
        key = place_key(as_key(words), step, MASKS)
        found = []
        for layer, (units, on) in enumerate(zip(config.layer_sizes[:-1], masked, strict=True)):
            bits = random_bits(jax.random.fold_in(key, layer), units, columns) if on else None
            found.append(None if bits is None else _side_by_side(bits, *tile.units_of(config, layer)))
        return tuple(found)

    def batches_of(words: jax.Array, weights: jax.Array) -> jax.Array:
        key, first = as_key(words), start // num_batches
        epochs = first + jnp.arange(size // num_batches + 2, dtype=jnp.int32)
        orders = jax.vmap(lambda e: epoch_order(key, e, weights, shuffle=config.shuffle))(epochs)
        places = (steps % num_batches)[:, None] * columns + jnp.arange(columns, dtype=jnp.int32)[None, :]
        return orders[(steps // num_batches - first)[:, None], places].astype(jnp.int32)

    bits = jax.vmap(jax.vmap(bits_of, (None, 0)), (0, None))(keys, steps)
    if config.batch_size is None:
        return _Drawn(bits, None)
    return _Drawn(bits, jax.vmap(batches_of)(keys, weights))


def _side_by_side(bits: jax.Array, splits: int, filled: int) -> jax.Array:
    """Returns bits `(units, columns)` as `(columns, splits, units of one)`, filled up to as many units."""
    units, columns = bits.shape
    own = units // splits
    return jnp.pad(bits.T.reshape(columns, splits, own), ((0, 0), (0, 0), (0, filled - own)))


def _is_params(tree: Any) -> bool:
    return isinstance(tree, tuple) and len(tree) > 0 and all(isinstance(layer, Layer) for layer in tree)


def _with_params(change: Callable[[Params], jax.Array], tree: Any) -> Any:
    """Returns a pytree with every `Params` changed, and all other leaves as they are."""
    return jax.tree.map(lambda part: change(part) if _is_params(part) else part, tree, is_leaf=_is_params)


# -- the launch ---------------------------------------------------------------------------------------------


def _launch(carried: Any, inputs: Inputs, *, config: Config, loss: Loss, tile: Shape) -> Any:
    """Returns the parameters and optimizer state after the steps of `inputs.bounds`."""
    leaves, structure = jax.tree.flatten(carried)
    read, read_structure = jax.tree.flatten(inputs)
    shapes = [leaf.shape for leaf in (*read, *leaves)]
    num_lanes, interpret = len(inputs.of_lane), not has_kernel()

    def kernel(*refs: Any) -> None:
        # The outputs are the same memory as the last inputs, and are read and written.
        refs = refs[: len(read)] + refs[len(read) + len(leaves) :]
        arrays = [Array(ref, shape) for ref, shape in zip(refs, shapes, strict=True)]
        found = jax.tree.unflatten(read_structure, arrays[: len(read)])
        program = PROGRAMS[type(tile)](found, config, loss, tile, num_lanes, interpret)
        program.train(jax.tree.unflatten(structure, arrays[len(read) :]))

    outputs = [jax.ShapeDtypeStruct((leaf.size,), leaf.dtype) for leaf in leaves]
    whole = pl.BlockSpec(memory_space=pl.ANY)
    found = pl.pallas_call(
        kernel,
        grid=(-(-num_lanes // tile.lanes),),
        in_specs=[whole] * len(shapes),
        out_specs=[whole] * len(outputs),
        out_shape=outputs,
        input_output_aliases={len(read) + index: index for index in range(len(leaves))},
        compiler_params=plt.CompilerParams(num_warps=tile.threads // THREADS_PER_WARP, num_stages=1),
        interpret=interpret,
    )(*(leaf.reshape(-1) for leaf in (*read, *leaves)))
    shaped = [leaf.reshape(like.shape) for leaf, like in zip(found, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)
