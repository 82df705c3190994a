"""Derivatives of the validation loss in many hyperparameters at once, in reverse mode through the training.

Only states are kept of the way forward, and each step is computed again on the way back: what it computes is
much larger than the state that it begins with. Where the states of all T steps are too large, the run is cut
into √T segments: the states between them are kept, and those within one at a time. That takes four to six
trainings, however many hyperparameters there are.

Sources: Maclaurin, Duvenaud, Adams 2015, "Gradient-based hyperparameter optimization through reversible
learning"; Griewank 1992, on checkpoints.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from regjax.core.checks import is_traced, shown
from regjax.core.config import Config
from regjax.core.data import Data, pad_samples
from regjax.core.evaluate import evaluate
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Params
from regjax.core.train import Course, TrainState, init_state, run_segment
from regjax.research.hypergradients import check_derivatives, differentiable, prepared
from regjax.research.networks import measuring

HparamsOf = Callable[[Any], HParams]

# Most bytes of states that are kept: above, the run is cut into segments.
MOST_BYTES = 2**28
# Steps that are computed again at a time: with minibatches each time also draws the order of an epoch.
AT_ONCE, AT_ONCE_IN_BATCHES = 1, 16


def reverse_hypergradient(
    key: jax.Array,
    theta: Any,
    data: Data,
    validation: Data,
    *,
    config: Config,
    hparams_of: HparamsOf,
    segment: int | None = None,
) -> tuple[jax.Array, Any]:
    """Trains a network, and returns its loss on held-out samples with its gradient in many hyperparameters.

    Args:
        key: key of the replicate, see `replicate_key`.
        theta: what the loss is differentiated in: a pytree of arrays of real numbers.
        data: training samples.
        validation: held-out samples, whose mean loss is differentiated.
        config: the compiled configuration.
        hparams_of: returns the hyperparameters for a theta; it is traced, and must be the same function in
            each call, or the program is compiled again. Its l2 may be, beside a number or one per layer, a
            tuple with an array for each matrix of weights that broadcasts against it, `(fan_out, fan_in)`:
            a λ for each weight, for each input feature, `(1, fan_in)`, or for each unit, `(fan_out, 1)`.
        segment: steps of a segment; None keeps all states where they take 256 MiB at most, else those
            between segments of √num_steps steps.

    Returns:
        The loss, a scalar, and its gradient, of the structure of theta.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: a segment below 1, an l2 that fits no weights, early stopping; hyperparameters out of
            their range, where theta is not traced.

    Example:
        A λ for each input feature, on a logarithmic scale.

        >>> import jax, jax.numpy as jnp, regjax
        >>> from regjax.research.reverse import reverse_hypergradient
        >>> train, test = regjax.two_regions(jax.random.key(0))
        >>> config = regjax.Config(num_steps=100, activation="tanh")
        >>> def hparams_of(theta):
        ...     one = jnp.ones((1, 1))
        ...     return regjax.HParams(l2=(jnp.exp(theta)[None, :], one, one))
        >>> loss, gradient = reverse_hypergradient(
        ...     regjax.replicate_key(0), jnp.zeros(2), train, test, config=config, hparams_of=hparams_of
        ... )
        >>> gradient.shape
        (2,)
    """
    if segment is not None and (isinstance(segment, bool) or not isinstance(segment, int) or segment < 1):
        raise ValueError(f"segment must be a whole number from 1, got {shown(segment)}")
    if not callable(hparams_of):
        raise TypeError(f"hparams_of must be a function of theta, got {shown(hparams_of)}")
    with measuring(config):
        theta = jax.tree.map(lambda leaf: leaf if is_traced(leaf) else np.asarray(leaf), theta)
        for leaf in jax.tree.leaves(theta):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(f"theta must be arrays of real numbers, got dtype {leaf.dtype}")
        if not any(map(is_traced, jax.tree.leaves(theta))):
            _checked(theta, hparams_of=hparams_of, config=config)  # their values, which have no shape to tell
        full = jax.eval_shape(functools.partial(_checked, hparams_of=hparams_of, config=config), theta)
        check_derivatives(full, config, ())
        data, held_out, params = prepared(key, full, data, validation, config)
        size = segment or config.num_steps
        if segment is None:
            init = functools.partial(init_state, config=config)
            state = jax.eval_shape(
                lambda *of: init(*of[:2], params=of[2], data=of[3]), key, full, params, data
            )
            each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
            if config.num_steps * each > MOST_BYTES:
                size = math.isqrt(config.num_steps)
        return _reverse(
            key, theta, data, held_out, params, config=config, hparams_of=hparams_of, segment=size
        )


def _checked(theta: Any, *, hparams_of: HparamsOf, config: Config) -> HParams:
    """Returns the hyperparameters for a theta, checked; those of each weight pass by the check of l2."""
    hparams = hparams_of(theta)
    if not isinstance(hparams, HParams):
        raise TypeError(f"hparams_of must return a regjax.HParams, got {type(hparams).__name__}")
    if not isinstance(hparams.l2, tuple | list):
        return check_hparams(config, hparams)
    shapes = list(zip(config.layer_sizes[1:], config.layer_sizes[:-1], strict=True))
    own = tuple(jnp.asarray(each, config.dtype) for each in hparams.l2)
    if len(own) != len(shapes) or not all(map(_broadcasts, (each.shape for each in own), shapes)):
        raise ValueError(
            f"l2 must have an array for each matrix of weights that broadcasts against {shapes}, "
            f"got {[each.shape for each in own]}"
        )
    for each in own:
        if not is_traced(each) and not np.all((each >= 0) & jnp.isfinite(each)):
            raise ValueError(f"l2 must be finite numbers >= 0, got {shown(np.asarray(each).tolist())}")
    return check_hparams(config, hparams._replace(l2=0.0))._replace(l2=own)


def _broadcasts(shape: tuple[int, ...], against: tuple[int, int]) -> bool:
    """Returns whether an array of a shape broadcasts against weights without changing their shape."""
    try:
        return np.broadcast_shapes(shape, against) == against
    except ValueError:
        return False


@functools.partial(jax.jit, static_argnames=("config", "hparams_of", "segment"))
def _reverse(
    key: jax.Array,
    theta: Any,
    data: Data,
    validation: Data,
    params: Params | None,
    *,
    config: Config,
    hparams_of: HparamsOf,
    segment: int,
) -> tuple[jax.Array, Any]:
    data, validation = pad_samples(data), pad_samples(validation)
    once = AT_ONCE if config.batch_size is None else AT_ONCE_IN_BATCHES

    def steps(state: TrainState, start: jax.Array, hparams: HParams, count: int) -> TrainState:
        # Its length is static: JAX then makes a loop of it that runs backwards too.
        course = Course(steps=count)
        state = differentiable(state)
        return run_segment(key, state, hparams, data, start, start + count, course=course, config=config)

    def several(state: TrainState, start: jax.Array, hparams: HParams, count: int) -> TrainState:
        return _in_parts(steps, state, start, hparams, count, once)

    def loss(theta: Any) -> jax.Array:
        hparams = _checked(theta, hparams_of=hparams_of, config=config)
        state = init_state(key, hparams, config=config, params=params, data=data)
        if segment >= config.num_steps:
            state = several(state, jnp.int32(0), hparams, config.num_steps)
        else:
            state = _in_parts(several, state, jnp.int32(0), hparams, config.num_steps, segment)
        return evaluate(state.predicting, validation, config=config)["loss"]

    with jax.numpy_dtype_promotion("standard"):  # of b1 to the power of an int32, the derivative needs it too
        value, gradient = jax.value_and_grad(loss)(theta)
    chex.assert_trees_all_equal_shapes(gradient, theta)
    return value, gradient


def _in_parts(
    run: Callable[[TrainState, jax.Array, HParams, int], TrainState],
    state: TrainState,
    start: jax.Array,
    hparams: HParams,
    steps: int,
    size: int,
) -> TrainState:
    """Returns the state after so many steps, taken in parts of `size` of which the first states are kept."""
    again = jax.checkpoint(run, static_argnums=3)
    full, rest = divmod(steps, size)
    starts = start + jnp.arange(full, dtype=jnp.int32) * size
    state, _ = lax.scan(lambda state, at: (again(state, at, hparams, size), None), state, starts)
    return again(state, start + full * size, hparams, rest) if rest else state
