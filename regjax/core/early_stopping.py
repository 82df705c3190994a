"""When a run stops: early stopping on rows split off the training part, the best parameters kept."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .hparams import HParams
from .mlp import Params


class Best(NamedTuple):
    """The best that a run has been at a record, scalars but for `params`.

    Attributes:
        params: that predict, at the step of the lowest loss.
        loss: the lowest mean loss of the rows that are watched.
        step: where that was, the first of equals; the untrained network of step 0 does not compete.
        stopped_at: step at whose record the run stopped, or -1; from there on nothing changes.
    """

    params: Params
    loss: jax.Array
    step: jax.Array
    stopped_at: jax.Array


def init_best(params: Params, hparams: HParams) -> Best | None:
    """Returns what is known before the first record; None where patience is off."""
    if hparams.patience is None:
        return None
    loss = jnp.full((), jnp.inf, params[0].w.dtype)
    return Best(params, loss, jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32))


def keep_best(best: Best, params: Params, loss: jax.Array, step: ArrayLike, patience: jax.Array) -> Best:
    """Returns the best after a record: the run stops at the first one `patience` steps after its best.

    Args:
        best: before the record.
        params: that would predict now.
        loss: of the rows that are watched; NaN where the network is not finite.
        step: of the record.
        patience: steps without a lower loss.

    References:
        Prechelt 1998, "Early stopping - but when?"; the parameters are put back as in Keras
        (restore_best_weights).
    """
    step = jnp.asarray(step, jnp.int32)
    going = best.stopped_at < 0
    better = going & (loss < best.loss) & (step > 0)
    waited = (step - best.step).astype(patience.dtype)
    # What has diverged does not stop: it has diverged.
    stops = going & ~better & (waited >= patience) & jnp.isfinite(loss)
    return Best(
        jax.tree.map(lambda new, old: jnp.where(better, new, old), params, best.params),
        jnp.where(better, loss, best.loss),
        jnp.where(better, step, best.step),
        jnp.where(stops, step, best.stopped_at),
    )
