"""Metrics of a network in inference mode, and the record of a step.

`train.make_train` and the tutorial call `measure`; the lanes of `regjax.engine` call `infer` and
`metrics.metrics`; `train.run_segment` calls `score` where a run stops by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from .augment import add_noise
from .config import REAL_LOSSES, Config
from .data import Data, hide_held_out
from .dropout import UnitMasks, draw_masks
from .hparams import HParams
from .metrics import examples, finite_r2, metrics
from .minibatches import weigh_classes
from .mlp import Params, decide
from .network import infer_logits
from .objective import cost, full_batch_sizes, resolve_loss
from .penalties import penalty

History = dict[str, jax.Array]
# The metrics that a single run records; the others sort, and are recorded by a sweep only.
HISTORY_METRICS = ("loss", "accuracy", "rmse", "r2")
# Samples that pass through a network at a time: their activations stay in the cache, those of more leave it
# (docs/benchmarks.md). The last digits of logits may depend on it, so it is the same for every network.
INFER_BLOCK = 2048


def infer(
    params: Params, data: Data, config: Config, inputs: Callable[[ArrayLike, int], jax.Array] | None = None
) -> jax.Array:
    """Returns the logits in inference mode, `(n_outputs, n)`; samples of weight 0 are hidden.

    On a CPU more than `INFER_BLOCK` samples pass through the network in blocks of as many; an accelerator
    would wait for each of them to begin.

    Args:
        params: parameters of the network.
        data: samples; their targets are not read, except for their kind where there are members.
        config: activation and precision.
        inputs: (first sample, number of samples) -> their x, `(n_features, number)`; None takes `data.x`.
    """

    # Only members are averaged by it; a caller whose targets are not at hand has none.
    loss = resolve_loss(config, data) if config.members > 1 else "squared_error"

    def logits_of(start: ArrayLike, size: int) -> jax.Array:
        weights = lax.dynamic_slice_in_dim(data.weights, start, size)
        x = lax.dynamic_slice_in_dim(data.x, start, size, 1) if inputs is None else inputs(start, size)
        x = hide_held_out(Data(x, None, weights)).x
        return infer_logits(params, x, config, loss)

    def add_block(index: jax.Array, found: jax.Array) -> jax.Array:
        # Near the end both starts are moved back, so that the last block is a whole one too.
        start = index * INFER_BLOCK
        return lax.dynamic_update_slice_in_dim(found, logits_of(start, INFER_BLOCK), start, axis=1)

    num_samples = data.weights.shape[0]
    if num_samples <= INFER_BLOCK or jax.default_backend() != "cpu":
        return logits_of(0, num_samples)
    shape = jax.eval_shape(lambda: logits_of(0, INFER_BLOCK))
    empty = jnp.zeros((shape.shape[0], num_samples), shape.dtype)
    return lax.fori_loop(0, -(-num_samples // INFER_BLOCK), add_block, empty)


def evaluate(params: Params, data: Data, *, config: Config) -> dict[str, jax.Array]:
    """Returns the metrics of one split in inference mode, weighted by the data's weights: see `metrics`."""
    loss = resolve_loss(config, data)
    return metrics(infer(params, data, config), data.y, data.weights, loss=loss, only=config.metrics)


def score(params: Params, data: Data, config: Config) -> jax.Array:
    """Returns the accuracy of classes, or `finite_r2` of real targets: a scalar, more is better."""
    logits, loss = infer(params, data, config), resolve_loss(config, data)
    if loss in REAL_LOSSES:
        return finite_r2(decide(logits, loss), data.y, data.weights)
    accuracy = metrics(logits, data.y, data.weights, loss=loss, only=("accuracy",))["accuracy"]
    # The two sums of weights may round apart, and then nothing wrong would be less than 1.
    wrong = (data.weights > 0) & (examples(logits, data.y, loss=loss)["right"] == 0)
    return jnp.where(jnp.any(wrong), accuracy, 1)


def all_finite(tree: Any) -> jax.Array:
    """Returns whether all numbers of a pytree are finite; a network whose parameters are not has diverged."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def measure(
    key: jax.Array,
    params: Params,
    hparams: HParams,
    data: Data,
    test: Data | None,
    step: ArrayLike,
    masks: UnitMasks | None = None,
    *,
    config: Config,
    num_steps: ArrayLike | None = None,
) -> History:
    """Returns one record of the history, after `step` steps.

    Args:
        key: key of the replicate.
        params: the parameters to measure.
        hparams: hyperparameters.
        data: training samples.
        test: samples to measure beside them, or None.
        step: number of steps done.
        masks: masks that replace the drawn ones.
        config: loss, activation, metrics.
        num_steps: steps of the whole run, for keep_prob_end; None takes config.num_steps.

    Returns:
        Scalars. `step`; `cost`: the objective on all training samples with the noise and masks of this
        step, which is what is minimised (except for the adversarial half); `finite`: whether `cost` and
        all parameters are finite. Then in inference mode `penalty` (divided by n), and for train and test
        `…_cost` (loss + penalty) and `HISTORY_METRICS`, those that fit the targets.
    """
    objective = _objective(key, params, hparams, data, step, masks, config, num_steps)
    record = {
        "step": jnp.asarray(step, jnp.int32),
        "cost": objective,
        "finite": all_finite((params, objective)),
        "penalty": penalty(params, hparams) / full_batch_sizes(data).num_train,
    }
    for name, split in (("train", data), ("test", test)):
        if split is not None:
            found = evaluate(params, split, config=config)
            shown = HISTORY_METRICS if config.metrics is None else config.metrics
            record[f"{name}_cost"] = found["loss"] + record["penalty"]
            record |= {f"{name}_{metric}": found[metric] for metric in shown if metric in found}
    # relu turns NaN into 0, and without this a diverged network would have an accuracy.
    record |= {
        name: jnp.where(record["finite"], value, jnp.nan)
        for name, value in record.items()
        if name.startswith(("train_", "test_"))
    }
    return record


def _objective(
    key: jax.Array,
    params: Params,
    hparams: HParams,
    data: Data,
    step: ArrayLike,
    masks: UnitMasks | None,
    config: Config,
    num_steps: ArrayLike | None,
) -> jax.Array:
    """Returns the objective on all training samples, with the noise and masks of this step."""
    visible = weigh_classes(hide_held_out(data), config)
    num_steps = config.num_steps if num_steps is None else num_steps
    batch, partners = add_noise(key, step, hparams, visible, visible)
    drawn = draw_masks(key, step, hparams, config, data.x.shape[1], num_steps, masks)
    # The whole training part, even with minibatches: the curve of a run does not depend on its batches.
    sizes = full_batch_sizes(visible)
    return cost(params, hparams, batch, drawn, partners, config=config, sizes=sizes)
