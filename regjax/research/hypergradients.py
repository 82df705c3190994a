"""Derivatives of the validation loss in hyperparameters, in forward mode through the whole training.

A direction is carried beside the state of a run from its first step to its last. Several directions share the
run itself, its random draws and batches. What is carried is as large as the state, whatever the steps.
`engine/sensitivities.py` does the same for the rows of a sweep; `reverse.py` is for many hyperparameters.

Source: Franceschi, Donini, Frasconi, Pontil 2017, "Forward and reverse gradient-based hyperparameter
optimization".
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from regjax.core.checks import did_you_mean, shown
from regjax.core.config import Config
from regjax.core.data import Data, check_data, check_test, pad_samples
from regjax.core.evaluate import evaluate
from regjax.core.hparams import HPARAMS_ELSEWHERE, HYPERPARAMETERS, HParams, check_hparams, check_loss
from regjax.core.mlp import Params
from regjax.core.network import init_network
from regjax.core.objective import resolve_loss
from regjax.core.random import check_key, is_drawn_on_cpu
from regjax.core.train import Course, TrainState, init_state, run_segment
from regjax.research.networks import measuring

# The least mean of squares that Adam keeps, in units of the least normal number: a step later it is one too.
LEAST = 100
# Hyperparameters that count steps or epochs, or choose samples: the loss jumps in them, or stays.
WITHOUT_DERIVATIVE = ("average_from", "tol", "n_iter_no_change", "patience", "swap_noise", "mixup")


class Hypergradient(NamedTuple):
    """The loss on held-out samples after training, and its derivatives.

    Attributes:
        loss: the mean loss, a scalar.
        gradient: hyperparameter -> derivative of the loss in it, of the shape that `hparams` has there.
    """

    loss: jax.Array
    gradient: dict[str, jax.Array]


class Dual(NamedTuple):
    """The state of a run, and its derivatives in some directions.

    Attributes:
        state: the state, as of a run without derivatives.
        tangents: hyperparameter -> for each leaf of the state that holds real numbers its derivatives in the
            directions of that hyperparameter, `(directions, …)`.
    """

    state: TrainState
    tangents: dict[str, tuple[jax.Array, ...]]


def hypergradient(
    key: jax.Array, hparams: HParams, data: Data, validation: Data, *, config: Config, names: Sequence[str]
) -> Hypergradient:
    """Trains a network, and returns its loss on held-out samples with its derivatives in hyperparameters.

    The run is the one of `make_train`, to the bit. It may be called under `vmap`, over keys, hyperparameters
    and data. A direction costs about as much as the run.

    keep_prob and its like decide which units are kept, and in that the loss has no derivative. Theirs is that
    of a relaxed mask m = 1 + s(p)·e with s(p) = √((1 - p)/p): e, which has mean 0 and variance 1, is held as
    it was drawn, so that mean and variance of m are those of dropout at every p.

    With relu, |w| or a bound, the loss has kinks, and this is the derivative of the smooth piece that the run
    was on; after many steps such a piece may be much smaller than any change that one would make.

    Args:
        key: key of the replicate, see `replicate_key`.
        hparams: hyperparameters; every leaf may be traced.
        data: training samples.
        validation: held-out samples, whose mean loss is differentiated.
        config: the compiled configuration.
        names: the hyperparameters, e.g. ("l2", "learning_rate"). One that has a value for each layer has a
            derivative for each.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: a hyperparameter that does not exist, is off, or has no derivative; early stopping.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.hypergradients import hypergradient
        >>> train, test = regjax.two_regions(jax.random.key(0))
        >>> config = regjax.Config(num_steps=200, activation="tanh")
        >>> found = hypergradient(
        ...     regjax.replicate_key(0), regjax.HParams(l2=0.7), train, test, config=config,
        ...     names=("l2", "learning_rate"),
        ... )
        >>> bool(found.gradient["learning_rate"] < 0)  # it should be larger
        True
    """
    names = check_names(names)
    with measuring(config):
        full = check_hparams(config, hparams)
        check_derivatives(full, config, names)
        data, held_out, params = prepared(key, full, data, validation, config)
        loss, found = _hypergradient(key, full, data, held_out, params, config=config, names=names)
        # One number for all layers has one derivative.
        gradient = {
            name: jnp.sum(slope) if np.ndim(getattr(hparams, name)) == 0 else slope
            for name, slope in found.items()
        }
        return Hypergradient(loss, gradient)


def check_names(names: Sequence[str], what: str = "names") -> tuple[str, ...]:
    """Returns names of hyperparameters that have derivatives, as a tuple.

    Args:
        names: the names, or one.
        what: what a message calls them.

    Raises:
        ValueError: none, an unknown one, one that is named twice, or one in which the loss has no derivative.
    """
    one = isinstance(names, str) or not isinstance(names, Iterable)
    found: tuple[Any, ...] = (names,) if one else tuple(names)
    for name in found:
        if not isinstance(name, str) or name not in HYPERPARAMETERS:
            near = did_you_mean(name, tuple(HYPERPARAMETERS), HPARAMS_ELSEWHERE)
            raise ValueError(
                f"{what} must be hyperparameters, e.g. l2, learning_rate, got {shown(name)}{near}"
            )
        if name in WITHOUT_DERIVATIVE:
            raise ValueError(f"{what} must be hyperparameters with a derivative; {name} has none")
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{what} must be hyperparameters, each once, got {shown(list(found))}")
    return found


def check_derivatives(hparams: HParams, config: Config, names: Sequence[str]) -> None:
    """Raises ValueError where a run has no derivatives in hyperparameters, which it names."""
    if hparams.patience is not None or config.stop_on is not None:
        raise ValueError("derivatives must be of runs without early stopping: their last step jumps")
    for name in names:
        optimizers = HYPERPARAMETERS[name].optimizers
        if getattr(hparams, name) is None:
            raise ValueError(f"{name} must be on for a derivative in it, got off")
        if optimizers and config.optimizer not in optimizers:
            wanted = " or ".join(optimizers)
            raise ValueError(f"{name} must be used with optimizer {wanted}, got {config.optimizer}")


def prepared(
    key: jax.Array, hparams: HParams, data: Data, validation: Data, config: Config
) -> tuple[Data, Data, Params | None]:
    """Returns the checked samples, the checked held-out samples, and the first parameters.

    Args:
        key: key of the replicate.
        hparams: checked hyperparameters.
        data: training samples.
        validation: held-out samples.
        config: the compiled configuration.

    Returns:
        Parameters are None where the compiled program draws them, on the device itself.

    Raises:
        TypeError: no key, no samples.
        ValueError: samples that do not fit the config or the hyperparameters.
    """
    check_key(key)
    data = check_data(config, data)
    held_out = check_test(config, data, validation, "validation")
    if held_out is None:
        raise TypeError("validation must be a regjax.Data, got None")
    check_loss(hparams, resolve_loss(config, data))
    return data, held_out, init_network(key, config, data) if is_drawn_on_cpu(key) else None


def begin_dual(state: TrainState, directions: Mapping[str, jax.Array]) -> Dual:
    """Returns the state before the first step, on which no hyperparameter has acted yet.

    Args:
        state: the state before the first step.
        directions: as of `push`.
    """
    real, _ = _split(state)
    return Dual(
        state,
        {
            name: tuple(jnp.zeros((each.shape[0], *leaf.shape), leaf.dtype) for leaf in real)
            for name, each in directions.items()
        },
    )


def differentiable(state: TrainState) -> TrainState:
    """Returns a state whose step has a derivative, and otherwise is the same.

    Adam divides by the root of a mean of squares. Where every gradient so far was exactly 0, as of a dead
    unit or of an input that is always 0, so is the mean, and its root has no derivative: the least positive
    numbers take the place of such zeros.
    """
    means = optax.tree.get(state.opt_state, "nu")
    if means is None:
        return state

    def positive(mean: jax.Array) -> jax.Array:
        return jnp.where(mean == 0, LEAST * jnp.finfo(mean.dtype).tiny, mean)

    return state._replace(opt_state=optax.tree.set(state.opt_state, nu=jax.tree.map(positive, means)))


def push(
    run: Callable[[TrainState, HParams], Any],
    dual: Dual,
    hparams: HParams,
    directions: Mapping[str, jax.Array],
) -> tuple[Any, dict[str, tuple[jax.Array, ...]]]:
    """Returns a function's value at a state, and its derivatives in each direction.

    Args:
        run: a function of state and hyperparameters.
        dual: the state, with its derivatives.
        hparams: hyperparameters.
        directions: hyperparameter -> directions in it, `(directions, …)`.

    Returns:
        The value, and hyperparameter -> for each leaf of the value that holds real numbers its derivatives,
        `(directions, …)`.
    """
    real, rebuild = _split(dual.state)
    values = {name: jnp.asarray(getattr(hparams, name)) for name in directions}

    def of_real(real: tuple[jax.Array, ...], values: dict[str, jax.Array]) -> tuple[Any, Any]:
        found = run(rebuild(real), hparams._replace(**values))
        return _split(found)[0], found

    found = {}
    with jax.numpy_dtype_promotion("standard"):  # of b1 to the power of an int32, the derivative needs it too
        # The value, with its random draws, is computed once for all directions.
        _, linear, value = jax.linearize(of_real, real, values, has_aux=True)
        for name, each in directions.items():

            def along(tangents: tuple[jax.Array, ...], direction: jax.Array, name: str = name) -> Any:
                others = {other: jnp.zeros_like(value) for other, value in values.items()}
                return linear(tangents, others | {name: direction})

            if each.shape[0] == 1:  # another axis, even of one entry, makes products slower
                out = along(*jax.tree.map(lambda leaf: leaf[0], (dual.tangents[name], each)))
                found[name] = jax.tree.map(lambda leaf: leaf[None], out)
            else:
                found[name] = jax.vmap(along)(dual.tangents[name], each)
    return value, found


def _split(tree: Any) -> tuple[tuple[jax.Array, ...], Callable[[tuple[jax.Array, ...]], Any]]:
    """Returns the leaves of real numbers, and a function that puts others in their place."""
    leaves, structure = jax.tree.flatten(tree)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    is_real = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def rebuild(real: tuple[jax.Array, ...]) -> Any:
        replaced = iter(real)
        return structure.unflatten(
            [next(replaced) if yes else leaf for yes, leaf in zip(is_real, leaves, strict=True)]
        )

    return tuple(leaf for yes, leaf in zip(is_real, leaves, strict=True) if yes), rebuild


def _unit_directions(hparams: HParams, name: str) -> jax.Array:
    """Returns a direction for each number of a hyperparameter, `(directions, …)`."""
    value = jnp.asarray(getattr(hparams, name))
    return jnp.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)


@functools.partial(jax.jit, static_argnames=("config", "names"))
def _hypergradient(
    key: jax.Array,
    hparams: HParams,
    data: Data,
    validation: Data,
    params: Params | None,
    *,
    config: Config,
    names: tuple[str, ...],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    data, validation = pad_samples(data), pad_samples(validation)

    directions = {name: _unit_directions(hparams, name) for name in names}

    def lift(step: Callable[[TrainState, HParams], TrainState], dual: Dual, hparams: HParams) -> Dual:
        return Dual(*push(lambda s, h: step(differentiable(s), h), dual, hparams, directions))

    def loss(state: TrainState, hparams: HParams) -> jax.Array:
        return evaluate(state.predicting, validation, config=config)["loss"]

    state = init_state(key, hparams, config=config, params=params, data=data)
    first: Any = begin_dual(state, directions)
    course = Course(lift=lift)
    dual: Any = run_segment(key, first, hparams, data, 0, config.num_steps, course=course, config=config)
    value, found = push(loss, dual, hparams, directions)
    return value, {
        name: jnp.reshape(slope, jnp.shape(getattr(hparams, name))) for name, (slope,) in found.items()
    }
