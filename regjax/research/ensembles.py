"""Snapshot ensembles: the networks that one training passes through, averaged in their predictions.

The learning rate falls to its end and begins anew, several times; what the parameters are at each end is a
snapshot. All of them together take the steps of one training. An ensemble is the stacked parameters, each
array `(snapshots, …)`: `jax.vmap` maps over it, and a slice of it is an ensemble too.

Source: Huang, Li, Pleiss, Liu, Hopcroft & Weinberger 2017, "Snapshot ensembles: train 1, get M for free".
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from regjax.core.checks import check_count
from regjax.core.config import Config, Loss
from regjax.core.data import Data, check_data, pad_samples
from regjax.core.evaluate import infer
from regjax.core.hparams import HParams, check_hparams, check_loss
from regjax.core.members import mean_logits
from regjax.core.metrics import metrics
from regjax.core.mlp import Params
from regjax.core.network import infer_logits, init_network
from regjax.core.objective import resolve_loss
from regjax.core.random import is_drawn_on_cpu
from regjax.core.settings import own_settings
from regjax.core.train import TrainState, init_state, run_segment


def snapshot_ensemble(key: jax.Array, hparams: HParams, data: Data, *, config: Config, cycles: int) -> Params:
    """Trains one network, and returns its parameters at the end of each cycle of the learning rate.

    A cycle is a cosine from learning_rate down to end_fraction of it, over num_steps/cycles steps, with
    config.warmup_steps at its start. The optimizer's state, batches and draws go on over the ends. With
    `ema_decay` or `average_from` a snapshot is the average at that step, which is what would predict there.
    It may be called under `vmap`, over keys, hyperparameters and data; it costs what one training does.

    Args:
        key: key of the replicate, see `replicate_key`.
        hparams: hyperparameters; every leaf may be traced.
        data: training samples.
        config: the compiled configuration, with num_steps of all cycles together. Its schedule and
            decay_steps are set here.
        cycles: number of cycles, at least 1; it divides num_steps.

    Returns:
        The parameters of a network of this config, each array with a first axis of `cycles`, the last cycle
        last.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: a number of cycles that does not divide num_steps, cycles no longer than their warm-up,
            another schedule, early stopping, or an argument that does not fit the config.

    References:
        Huang et al. 2017, eq. 2, which is that of Loshchilov & Hutter 2017.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.ensembles import snapshot_ensemble
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> config = regjax.Config(layer_sizes=(2, 4, 1), num_steps=60)
        >>> hparams = regjax.HParams(learning_rate=0.1)
        >>> found = snapshot_ensemble(regjax.replicate_key(0), hparams, data, config=config, cycles=3)
        >>> found[0].w.shape
        (3, 4, 2)
    """
    config = cyclic(config, cycles)
    with own_settings(config.dtype):
        hparams = check_hparams(config, hparams)
        if hparams.patience is not None:
            raise ValueError("patience must be off for snapshots: a run that stops has no further cycles")
        data = check_data(config, data)
        check_loss(hparams, resolve_loss(config, data))
        params = init_network(key, config, data) if is_drawn_on_cpu(key) else None
        return _train(key, hparams, data, params, config=config, cycles=cycles)


def cyclic(config: Config, cycles: int) -> Config:
    """Returns a config whose learning rate goes through so many cycles in its num_steps.

    `regjax.sweep` takes it too, and then trains and records such runs, of which it keeps the last network.

    Args:
        config: its schedule must be constant or cyclic, and decay_steps None.
        cycles: number of cycles, at least 1; it divides num_steps.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: see `snapshot_ensemble`.

    Example:
        >>> import regjax
        >>> from regjax.research.ensembles import cyclic
        >>> found = cyclic(regjax.Config(num_steps=600), 3)
        >>> found.schedule, found.decay_steps
        ('cyclic', 200)
    """
    if not isinstance(config, Config):
        raise TypeError(f"config must be a regjax.Config, got {type(config).__name__}")
    cycles = check_count("cycles", cycles)
    if config.num_steps % cycles:
        raise ValueError(f"cycles must divide num_steps {config.num_steps}, got {cycles}")
    if config.schedule not in ("constant", "cyclic") or config.decay_steps is not None:
        raise ValueError(
            "config must leave schedule and decay_steps to cycles, "
            f"got schedule {config.schedule}, decay_steps {config.decay_steps}"
        )
    if config.stop_on is not None:
        raise ValueError(f"stop_on must be None for snapshots, got {config.stop_on!r}")
    return dataclasses.replace(config, schedule="cyclic", decay_steps=config.num_steps // cycles)


def ensemble_logits(params: Params, x: jax.Array, *, config: Config, loss: Loss) -> jax.Array:
    """Returns the logits of an ensemble's mean prediction, `(n_outputs, n)`.

    The mean is of probabilities, of rates (poisson), or of real values; `mlp.probabilities` and `mlp.decide`
    take the logits on.

    Args:
        params: stacked parameters, each array `(snapshots, …)`.
        x: inputs, `(n_features, n)`.
        config: config of the networks.
        loss: loss of the training.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> from regjax.research.ensembles import ensemble_logits
        >>> from regjax.research.networks import stack
        >>> params = stack([regjax.init_params(regjax.replicate_key(seed), (2, 4, 1)) for seed in range(3)])
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> ensemble_logits(params, jnp.ones((2, 5)), config=config, loss="sigmoid_cross_entropy").shape
        (1, 5)
    """
    _check_stacked(params)
    each = jax.vmap(lambda one: infer_logits(one, x, config, loss))(params)
    return _mean(each, loss)


def evaluate_ensemble(params: Params, data: Data, *, config: Config) -> dict[str, jax.Array]:
    """Returns the metrics of an ensemble's mean prediction on one split: those of `evaluate.evaluate`.

    Args:
        params: stacked parameters, each array `(snapshots, …)`.
        data: samples, x `(n_features, n)`, y, weights `(n,)`.
        config: config of the networks, and the metrics.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.ensembles import evaluate_ensemble, snapshot_ensemble
        >>> data, test = regjax.two_regions(jax.random.key(0))
        >>> config = regjax.Config(layer_sizes=(2, 8, 1), num_steps=600, metrics=("accuracy",))
        >>> hparams = regjax.HParams(learning_rate=0.3)
        >>> params = snapshot_ensemble(regjax.replicate_key(0), hparams, data, config=config, cycles=3)
        >>> bool(evaluate_ensemble(params, test, config=config)["accuracy"] > 0.7)
        True
    """
    _check_stacked(params)
    loss = resolve_loss(config, data)
    each = jax.vmap(lambda one: infer(one, data, config))(params)
    return metrics(_mean(each, loss), data.y, data.weights, loss=loss, only=config.metrics)


def _check_stacked(params: Params) -> None:
    """Raises ValueError for one network, whose arrays have no first axis of snapshots."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    if any(len(shape) != 3 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(
            "params must be stacked networks, each array (snapshots, …), as regjax.research.networks.stack "
            f"returns them, got shapes {shapes}"
        )


def _mean(each: jax.Array, loss: Loss) -> jax.Array:
    """Returns the logits of the mean prediction, `(snapshots, n_outputs, n)` → `(n_outputs, n)`."""
    count, outputs, n = each.shape
    return mean_logits(jnp.moveaxis(each, 0, 1).reshape(outputs, count * n), count, loss)


@functools.partial(jax.jit, static_argnames=("config", "cycles"))
def _train(
    key: jax.Array, hparams: HParams, data: Data, params: Params | None, *, config: Config, cycles: int
) -> Params:
    data, length = pad_samples(data), config.num_steps // cycles

    def cycle(state: TrainState, start: jax.Array) -> tuple[TrainState, Params]:
        state = run_segment(key, state, hparams, data, start, start + length, config=config)
        return state, state.measured

    begin = init_state(key, hparams, config=config, params=params, data=data)
    return jax.lax.scan(cycle, begin, length * jnp.arange(cycles, dtype=jnp.int32))[1]
