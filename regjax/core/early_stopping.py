"""When a run stops: by `patience`, decided at records, or by config.stop_on, decided at the end of an epoch.

`Best` belongs to `patience`: `train.make_train` and the lanes of `regjax.engine` call `keep_best` at a
record, with the loss on samples split off the training part. `Epochs` belongs to `stop_on`, which stops as
scikit-learn's `MLPClassifier` does: `train.run_segment` calls `end_epoch`. Never are both on.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .config import Config
from .hparams import HParams
from .mlp import Params

# At an adaptive learning rate below this one the run stops, instead of dividing it again.
LEAST_RATE = 1e-6


class Best(NamedTuple):
    """The best record of a run so far; scalars, except `params`.

    Attributes:
        params: the parameters at the step of the lowest loss, which predict.
        loss: the lowest mean loss on the watched samples.
        step: the first step with that loss; the untrained network of step 0 does not compete.
        stopped_at: step at whose record the run stopped, or -1; from then on nothing changes.
    """

    params: Params
    loss: jax.Array
    step: jax.Array
    stopped_at: jax.Array


def init_best(params: Params, hparams: HParams) -> Best | None:
    """Returns the state before the first record; None where patience is off."""
    if hparams.patience is None:
        return None
    loss = jnp.full((), jnp.inf, params[0].w.dtype)
    return Best(params, loss, jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32))


def keep_best(best: Best, params: Params, loss: jax.Array, step: ArrayLike, patience: jax.Array) -> Best:
    """Returns the best after a record: the run stops at the first one `patience` steps after its best.

    Args:
        best: the best before the record.
        params: the parameters at the record.
        loss: the loss on the watched samples; NaN where the network is not finite.
        step: the step of the record.
        patience: steps without a lower loss.

    References:
        Prechelt 1998, "Early stopping - but when?"; the parameters are put back as in Keras
        (restore_best_weights).
    """
    step = jnp.asarray(step, jnp.int32)
    going = best.stopped_at < 0
    better = going & (loss < best.loss) & (step > 0)
    waited = (step - best.step).astype(patience.dtype)
    # A network that has diverged is reported as diverged, not as stopped.
    stops = going & ~better & (waited >= patience) & jnp.isfinite(loss)
    return Best(
        jax.tree.map(lambda new, old: jnp.where(better, new, old), params, best.params),
        jnp.where(better, loss, best.loss),
        jnp.where(better, step, best.step),
        jnp.where(stops, step, best.stopped_at),
    )


class Epochs(NamedTuple):
    """The epochs of a run so far; scalars, except `params`.

    Attributes:
        total: Σ of objective × samples over the batches of the current epoch.
        loss: mean objective of the last whole epoch.
        score: on the watched samples after the last whole epoch; NaN where none are watched.
        best: the lowest loss, or the highest score.
        waited: consecutive epochs that were not better by tol.
        seen: samples trained on, counted once per epoch.
        factor: the factor of the learning rate.
        stopped_at: steps done when the run stopped, or -1; from then on nothing changes.
        params: the parameters of the highest score, or None.
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
    """Returns the state before the first epoch; None where config.stop_on is None."""
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


def add_batch(epochs: Epochs, objective: jax.Array, weights: jax.Array) -> Epochs:
    """Returns the epochs with the objective of one more batch, counted once for each of its samples."""
    count = jnp.sum(weights > 0, dtype=objective.dtype)
    return epochs._replace(total=epochs.total + jnp.where(count > 0, objective, 0) * count)


def end_epoch(
    epochs: Epochs,
    params: Params,
    score: jax.Array | None,
    steps: ArrayLike,
    num_samples: jax.Array,
    *,
    hparams: HParams,
    config: Config,
) -> Epochs:
    """Returns the state after an epoch; a run that has stopped stays as it is.

    Args:
        epochs: the state with the total of the epoch.
        params: the parameters after its last step.
        score: the score on the watched samples, or None.
        steps: number of steps done.
        num_samples: samples of an epoch.
        hparams: learning_rate, tol, n_iter_no_change, power_t.
        config: stop_on and schedule.

    References:
        scikit-learn 1.9, `_update_no_improvement_count` and `SGDOptimizer`.
    """
    h, loss = hparams, epochs.total / num_samples
    # As in scikit-learn, tol counts for the epochs without an improvement, not for the best value.
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
    seen = epochs.seen + num_samples
    waited, factor, stops = _rate_and_stop(epochs.factor, waited, seen, hparams, config)
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


def _rate_and_stop(
    factor: jax.Array, waited: jax.Array, seen: jax.Array, hparams: HParams, config: Config
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns `waited`, the factor of the learning rate after the epoch, and whether the run stops."""
    h = hparams
    enough = waited.astype(h.n_iter_no_change.dtype) > h.n_iter_no_change
    if config.schedule == "invscaling":
        return waited, (seen + 1) ** -h.power_t, enough
    if config.schedule != "adaptive":
        return waited, factor, enough
    # An adaptive rate is divided instead of stopping, and the count of epochs begins again.
    stops = enough & (h.learning_rate * factor <= LEAST_RATE)
    divided = enough & ~stops
    return jnp.where(divided, 0, waited), jnp.where(divided, factor / 5, factor), stops
