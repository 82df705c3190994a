"""Chunks of random data for the kernels' tests, and training them by a kernel and by the plain program."""

from typing import Any, NamedTuple

import jax
import numpy as np

from regjax.core.config import Config
from regjax.core.hparams import HParams, check_hparams
from regjax.core.random import replicate_key
from regjax.core.train import TrainState
from regjax.engine.fused import advance_fused
from regjax.engine.lanes import Replicates, advance_lanes, init_lanes
from regjax.engine.native import advance_native

# Both programs round each sum over the samples in their own order: a few units in the last place of numbers
# near 1 (6e-8 each), which 20 steps carry on and add to.
TOLERANCE = 2e-6


class Chunk(NamedTuple):
    """What both programs are given, and the number of batches in an epoch."""

    replicates: Replicates
    hparams: HParams
    states: TrainState
    num_batches: int


def make_chunk(
    config: Any, slots=2, lanes=3, *, n=45, shared=True, x_per_fold=False, real=False, **values: Any
) -> Chunk:
    """Returns a chunk; learning rates and l2 differ between lanes, and held-out inputs are inf or NaN.

    A hyperparameter in `values` is for all lanes, or an array with leading axes `(slots, lanes)` where it is
    named in `each`.
    """
    rng = np.random.default_rng(0)
    features, outputs, dtype = config.layer_sizes[0], config.layer_sizes[-1], config.dtype
    lead = (slots,) if shared else (slots, lanes)
    train = (rng.random((*lead, n)) < 0.8).astype(dtype)
    x = rng.standard_normal((*(lead if x_per_fold else ()), features, n)).astype(dtype)
    if x_per_fold:
        x = np.where(train[..., None, :] > 0, x, np.float32(np.nan))
    else:  # these samples are in no fold
        train[..., :4] = 0
        x[..., :2], x[..., 2:4] = np.inf, np.nan
    if real:
        y = rng.standard_normal((outputs, n)).astype(dtype)
    else:
        y = rng.integers(0, max(outputs, 2), (1, n)).astype("i4")
    keys = np.stack([jax.random.key_data(replicate_key(seed)) for seed in range(int(np.prod(lead)))])
    replicates = Replicates(key=keys.reshape(*lead, 2), x=x, y=y, train=train)
    each = values.pop("each", {})
    checked = check_hparams(config, HParams(**({"learning_rate": 0.1, "l2": 0.7} | values)))
    spread = np.linspace(0.5, 1.5, slots * lanes, dtype=dtype).reshape(slots, lanes)

    def of_lanes(name, value):
        if name in each:
            return np.asarray(each[name], dtype)
        value = np.broadcast_to(value, (slots, lanes, *np.shape(value))).copy()
        varies = name in ("learning_rate", "l2")
        return value * spread.reshape(slots, lanes, *[1] * (value.ndim - 2)) if varies else value

    hparams = HParams(**{k: None if v is None else of_lanes(k, v) for k, v in checked._asdict().items()})
    states = jax.tree.map(np.array, init_lanes(replicates, hparams, None, config=config))
    size = config.batch_size
    num_batches = 1 if size is None else int(train.sum(-1).min()) // size
    return Chunk(replicates, hparams, states, num_batches)


def plain(chunk: Chunk, config: Any, stop: int) -> TrainState:
    """Returns the states after `stop` steps of the plain program, as NumPy arrays."""
    replicates, hparams, states, num_batches = chunk
    found = advance_lanes(replicates, hparams, states, 0, stop, num_batches, stop, config=config)
    return jax.tree.map(np.array, found)


def fused(chunk: Chunk, config: Any, tile: Any, stop: int, start: int = 0) -> TrainState:
    """Returns the states after `stop` steps of the kernel, as NumPy arrays."""
    replicates, hparams, states, num_batches = chunk
    # Copied: the buffers that the kernel is given are given up.
    states = jax.tree.map(np.copy, states)
    found = advance_fused(replicates, hparams, states, start, stop, num_batches, config=config, tile=tile)
    return jax.tree.map(np.array, found)


def native(chunk: Chunk, config: Any, stop: int, start: int = 0) -> TrainState:
    """Returns the states after `stop` steps of the native kernel, as NumPy arrays."""
    replicates, hparams, states, num_batches = chunk
    return advance_native(replicates, hparams, states, start, stop, num_batches, config=config)


def assert_close(one: TrainState, other: TrainState, tolerance: float = TOLERANCE) -> None:
    """Asserts that two states agree to a tolerance, the optimizer's too."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def assert_same_states(one: TrainState, other: TrainState) -> None:
    """Asserts that two states are equal to the bit."""
    jax.tree.map(np.testing.assert_array_equal, one, other)


def agree(options: dict, values: dict, shape: dict, tile: Any, steps: int = 20) -> None:
    """Asserts that both programs train the same networks.

    Args:
        options: of the config.
        values: hyperparameters.
        shape: the other arguments of `make_chunk`.
        tile: shape of the kernel's program.
        steps: number of steps.
    """
    config = Config(num_steps=steps, **options)
    chunk = make_chunk(config, **shape, **values)
    one, other = plain(chunk, config, steps), fused(chunk, config, tile, steps)
    assert_close(one, other)
    # The tolerance would say nothing of networks that stand still.
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one.params, chunk.states.params)
    assert min(jax.tree.leaves(moved)) > 1e-3
