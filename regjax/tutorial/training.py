"""The host loop that trains a few networks side by side; `model` and `run_experiment` call it.

A sweep of `regjax.engine` cannot replace it. The tutorial keeps one set of dropout masks for the whole run,
and reports the cost that is minimised, with penalty and masks: the engine draws masks at every step, and
records metrics in inference mode only. `make_train` composes the same three functions of the core, but as one
compiled program: it would report no progress, ignore Ctrl-C, and compile anew for another number of steps.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.dropout import UnitMasks
from regjax.core.evaluate import History, measure
from regjax.core.hparams import HParams
from regjax.core.mlp import Params
from regjax.core.train import TrainState, init_state, run_segment


class Networks(NamedTuple):
    """The networks to train; `(k, …)` stands for a leading axis of networks.

    Attributes:
        key: key of the replicate, the same for all.
        hparams: hyperparameters, `(k, …)`.
        train: training samples, padded.
        test: samples that are measured only, padded, or None.
        params: initial parameters, shared by all; None draws them from the key.
        masks: scaled masks of the hidden layers, `(k, units, n)` each, the same at every step; None draws
            them from the key where `hparams.keep_prob` is on.
    """

    key: jax.Array
    hparams: HParams
    train: Data
    test: Data | None = None
    params: Params | None = None
    masks: UnitMasks | None = None


def train_networks(
    networks: Networks, stops: Iterable[int], *, config: Config
) -> Iterator[tuple[int, Params, History]]:
    """Yields (step, parameters, record), `(k, …)` each, at step 0 and at every stop.

    With dtype "float64" the caller holds `own_settings` around the whole iteration.

    Args:
        networks: the networks, and their samples.
        stops: steps in ascending order, above 0.
        config: layer sizes, loss and the like. Its number of steps is not read: other stops compile nothing.
    """
    program = config.program()
    state = _init(networks.key, networks.hparams, networks.params, config=program)
    start = 0
    # The segment from 0 to 0 takes no step: it compiles the loop, and its record is that of step 0.
    for stop in (0, *stops):
        state, record = _advance(networks._replace(params=None), state, start, stop, config=program)
        yield stop, state.params, record
        start = stop


@functools.partial(jax.jit, static_argnames="config")
def _init(key: jax.Array, hparams: HParams, params: Params | None, *, config: Config) -> TrainState:
    return jax.vmap(lambda lane: init_state(key, lane, config=config, params=params))(hparams)


@functools.partial(jax.jit, static_argnames="config")
def _advance(
    networks: Networks, state: TrainState, start: int, stop: int, *, config: Config
) -> tuple[TrainState, History]:
    key, _, train, test, *_ = networks

    def one(state: TrainState, hparams: HParams, masks: UnitMasks | None) -> Any:
        state = run_segment(key, state, hparams, train, start, stop, masks, config=config)
        return state, measure(key, state.params, hparams, train, test, stop, masks, config=config)

    return jax.vmap(one)(state, networks.hparams, networks.masks)
