"""What happens at the end of an epoch: its mean objective, whether a run stops, the learning rate after it.

As scikit-learn's `MLPClassifier` has it: a run stops after `n_iter_no_change` epochs in which the epoch's
objective did not fall, or the score of held-out rows did not rise, by `tol`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .config import Config
from .hparams import HParams
from .mlp import Params

# Below it an adaptive learning rate is not divided any more, and the run stops.
LEAST_RATE = 1e-6


class Epochs(NamedTuple):
    """What is known of a run's epochs, scalars but for `params`.

    Attributes:
        total: Σ over the batches of the epoch so far of objective × rows.
        loss: mean objective of the last whole epoch.
        score: of the rows that are watched, after the last whole epoch; NaN where none are.
        best: the lowest loss, or the highest score.
        waited: epochs in a row that were no better by tol.
        seen: rows that were trained on, counted once per epoch.
        factor: what the learning rate is multiplied by.
        stopped_at: steps done when the run stopped, or -1; from there on nothing changes.
        params: of the highest score, or None.
    """

    total: jax.Array
    loss: jax.Array
    score: jax.Array
    best: jax.Array
    waited: jax.Array
    seen: jax.Array
    factor: jax.Array
    stopped_at: jax.Array
    params: Params | None


def init_epochs(params: Params, config: Config) -> Epochs | None:
    """Returns what is known before the first epoch; None where the config asks for nothing of it."""
    if config.stop_on is None:
        return None
    zero = jnp.zeros((), params[0].w.dtype)
    scored = config.stop_on == "score"
    return Epochs(
        total=zero,
        loss=zero + jnp.nan,
        score=zero + jnp.nan,
        best=zero + (-jnp.inf if scored else jnp.inf),
        waited=jnp.zeros((), jnp.int32),
        seen=zero,
        factor=zero + 1,
        stopped_at=jnp.full((), -1, jnp.int32),
        params=params if scored else None,
    )


def end_epoch(
    epochs: Epochs,
    params: Params,
    score: jax.Array | None,
    steps: ArrayLike,
    num_rows: jax.Array,
    *,
    hparams: HParams,
    config: Config,
) -> Epochs:
    """Returns what is known after an epoch; a run that has stopped stays as it is.

    Args:
        epochs: with the total of the epoch.
        params: after its last step.
        score: of the rows that are watched, or None.
        steps: done.
        num_rows: of an epoch.
        hparams: learning_rate, tol, n_iter_no_change, power_t.
        config: stop_on and schedule.

    References:
        scikit-learn 1.9, `_update_no_improvement_count` and `SGDOptimizer`.
    """
    h, loss = hparams, epochs.total / num_rows
    if score is None:
        no_better = loss > epochs.best - h.tol
        better = loss < epochs.best
        found, best_params = loss, None
    else:
        no_better = score < epochs.best + h.tol
        better = score > epochs.best
        found = score
        best_params = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, epochs.params)
    waited = jnp.where(no_better, epochs.waited + 1, 0)
    enough = waited.astype(h.n_iter_no_change.dtype) > h.n_iter_no_change
    factor, seen = epochs.factor, epochs.seen + num_rows
    if config.schedule == "invscaling":
        factor = (seen + 1) ** -h.power_t
    if config.schedule == "adaptive":
        stops = enough & (h.learning_rate * factor <= LEAST_RATE)
        factor = jnp.where(enough & ~stops, factor / 5, factor)
        waited = jnp.where(enough & ~stops, 0, waited)
    else:
        stops = enough
    after = Epochs(
        total=jnp.zeros_like(epochs.total),
        loss=loss,
        score=jnp.full_like(loss, jnp.nan) if score is None else score,
        best=jnp.where(better, found, epochs.best),
        waited=waited,
        seen=seen,
        factor=factor,
        stopped_at=jnp.where(stops, jnp.asarray(steps, jnp.int32), epochs.stopped_at),
        params=best_params,
    )
    going = epochs.stopped_at < 0
    return jax.tree.map(lambda new, old: jnp.where(going, new, old), after, epochs)
