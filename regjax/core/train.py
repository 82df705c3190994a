"""One training run, pure and vmappable over keys, hyperparameters and data.

`init_state` → `run_segment` (steps a to b in one compiled loop) → `measure`; `make_train` is nothing but
their composition. A step has named places, in this order: batch → data noise → masks → forward → loss →
backward → penalties → gradient → update → constraint → average → stop; what acts at a place is in its module.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike

from .augment import add_noise
from .averaging import Average, average, init_average
from .checks import is_traced
from .config import Config, local_x64
from .constraints import constrain
from .data import Data, check_data, check_test, pad_samples
from .dropout import Masks, UnitMasks, draw_masks
from .early_stopping import Best, init_best, keep_best
from .epochs import Epochs, end_epoch, init_epochs
from .gradients import gradient
from .hparams import HParams, check_hparams, check_loss
from .losses import balanced_weights, weights_of_classes
from .metrics import metrics
from .mlp import Params, forward, init_params
from .objective import BatchSizes, cost, full_batch_sizes, resolve_loss
from .optimizers import learning_rate_at, make_optimizer
from .penalties import penalty
from .random import epoch_order

History = dict[str, jax.Array]
# Of a single run; the others (a sort each) are left to the sweep.
HISTORY_METRICS = ("loss", "accuracy", "rmse", "r2")


class TrainState(NamedTuple):
    """What a training run carries from step to step.

    Attributes:
        params: after the step.
        opt_state: of optax.
        average: of the parameters, or None.
        best: at the records so far, or None where patience is off.
        epochs: so far, or None where config.stop_on is None.
    """

    params: Params
    opt_state: Any
    average: Average | None = None
    best: Best | None = None
    epochs: Epochs | None = None

    @property
    def measured(self) -> Params:
        """The parameters that a record is of: the average, where one is on; those of the best score so far,
        where config.stop_on asks for it.
        """
        if self.epochs is not None and self.epochs.params is not None:
            return self.epochs.params
        return self.params if self.average is None else self.average.params

    @property
    def stopped(self) -> jax.Array | None:
        """Whether the run has stopped, a boolean; None where nothing stops it."""
        ends = [part.stopped_at for part in (self.best, self.epochs) if part is not None]
        return functools.reduce(jnp.logical_or, (end >= 0 for end in ends)) if ends else None

    @property
    def predicting(self) -> Params:
        """The parameters that predict: the best of the records, where patience is on."""
        return self.measured if self.best is None else self.best.params


class Trained(NamedTuple):
    """A finished run: parameters, and the history as arrays with one entry per record."""

    params: Params
    history: History


def init_state(
    key: jax.Array, hparams: HParams, *, config: Config, params: Params | None = None
) -> TrainState:
    """Returns the state before the first step.

    Args:
        key: of the replicate, see `noise.replicate_key`.
        hparams: hyperparameters.
        config: layer sizes, init, optimizer, dtype.
        params: start from these instead of a fresh draw.
    """
    if params is None:
        params = init_params(key, config.layer_sizes, init=config.init, dtype=config.dtype)
    opt_state = make_optimizer(config, hparams).init(params)
    average, best = init_average(params, hparams), init_best(params, hparams)
    return TrainState(params, opt_state, average, best, init_epochs(params, config))


def run_segment(
    key: jax.Array,
    state: TrainState,
    hparams: HParams,
    data: Data,
    start: ArrayLike,
    stop: ArrayLike,
    masks: UnitMasks | None = None,
    *,
    config: Config,
    num_batches: ArrayLike | None = None,
    num_steps: ArrayLike | None = None,
    watched: Data | None = None,
    orders: jax.Array | None = None,
) -> TrainState:
    """Returns the state after steps `start` … `stop` - 1: how a run is cut changes no bit of it.

    Args:
        key: of the replicate.
        state: after `start` steps.
        hparams: hyperparameters, traced.
        data: training rows; a row of weight 0 is never seen.
        start: first step, may be traced.
        stop: last step + 1, may be traced.
        masks: the same masks at every step, instead of drawing them.
        config: what is compiled.
        num_batches: of an epoch; None takes what config.batches says. Under a `vmap`
            over weights give it, not mapped: where the end of an epoch may differ from lane to lane, every
            lane sorts its rows at every step.
        num_steps: of the whole run, for keep_prob_end; None takes config.num_steps.
        watched: rows whose score config.stop_on watches.
        orders: of the rows in the epochs, `(epochs, n)`, those of weight 0 last, instead of drawing them;
            after the last one the first comes again.
    """
    num_steps = config.num_steps if num_steps is None else num_steps
    data = hide_held_out(jax.tree.map(jnp.asarray, data))
    counted, data = data.weights, weigh_classes(data, config)
    sizes = full_batch_sizes(data)
    if num_batches is None:
        num_batches = _num_batches(data.weights, config)
    next_batch = _batches(key, data, counted, config, num_batches, orders)

    def step(i: jax.Array, carry: tuple[TrainState, Any]) -> tuple[TrainState, Any]:
        before, order = carry
        params, opt_state, averaged, best, epochs = before
        batch, batch_sizes, order = next_batch(i, order, sizes)
        batch, partners = add_noise(key, i, hparams, batch, data)
        drawn = Masks(masks)
        if masks is None:
            drawn = draw_masks(key, i, hparams, config, batch.x.shape[1], num_steps)
        value, grads = gradient(params, hparams, batch, drawn, partners, config=config, sizes=batch_sizes)
        learning_rate = learning_rate_at(i, config, hparams)
        if epochs is not None:
            learning_rate = learning_rate * epochs.factor
            if resolve_loss(config, data) == "squared_error":
                value = value / len(data.y)  # as scikit-learn averages it over outputs
            value = value + penalty(params, hparams) / batch_sizes.num_train
            rows = jnp.sum(batch.weights > 0, dtype=value.dtype)
            epochs = epochs._replace(total=epochs.total + jnp.where(rows > 0, value, 0) * rows)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a traced b1 to the power of an int32
            done = optax.tree.get(opt_state, "count") if config.epsilon_hat else None
            updates, opt_state = make_optimizer(config, hparams, learning_rate, done).update(
                grads, opt_state, params
            )
        params = cast(Params, optax.apply_updates(params, updates))
        params = constrain(params, hparams, learning_rate, batch_sizes.num_train)
        after = TrainState(params, opt_state, average(params, averaged, i, hparams), best, epochs)
        if epochs is None and config.batches == "equal":
            return after, order
        return frozen(before, after, batch, i), order

    def frozen(before: TrainState, after: TrainState, batch: Data, i: jax.Array) -> TrainState:
        """Returns what a step leaves: nothing new in a run that has stopped, or of a batch without rows."""
        epochs, going = after.epochs, jnp.any(batch.weights > 0)
        if epochs is not None:
            going = going & (epochs.stopped_at < 0)
        after = jax.tree.map(lambda new, old: jnp.where(going, new, old), after, before)
        if epochs is None:
            return after

        def end(epochs: Epochs) -> Epochs:
            score = None if watched is None else _score(after.params, watched, config)
            rows = jnp.sum(counted > 0, dtype=counted.dtype)
            return end_epoch(epochs, after.params, score, i + 1, rows, hparams=hparams, config=config)

        ended = (i + 1) % num_batches == 0
        found = lax.cond(ended, end, lambda epochs: epochs, after.epochs)
        opt_state = after.opt_state
        if config.schedule in ("invscaling", "adaptive") and config.optimizer != "sgd":
            # scikit-learn's velocity contains the learning rate of its time, optax's trace does not.
            change = epochs.factor / found.factor
            opt_state = jax.tree.map(lambda trace: trace * change, opt_state)
        return after._replace(opt_state=opt_state, epochs=found)

    start, stop = jnp.asarray(start, jnp.int32), jnp.asarray(stop, jnp.int32)
    first = next_batch(start, None, sizes)[2]
    return lax.fori_loop(start, stop, step, (state, first))[0]


def _batches(
    key: jax.Array, data: Data, counted: jax.Array, config: Config, num_batches: Any, given: Any
) -> Callable[..., tuple[Data, BatchSizes, Any]]:
    """Returns next_batch(step, order, sizes) → (batch, its sizes, order of the epoch's rows).

    Without a batch size the batch is the data and the order is None. With one, the training rows stand in
    a random order, which is drawn anew where an epoch begins, and where it is None (a segment may begin
    inside an epoch). With config.batches "all" the last batch of an epoch may be smaller: rows of weight 0
    fill it. `counted` are the weights that count for penalties, without those of classes; `given` are
    the orders of the epochs, or None.
    """
    if config.batch_size is None:
        return lambda step, order, sizes: (data, sizes, None)
    size = config.batch_size
    rows = data.x.T  # a row of a matrix is one run of memory: gathering rows is faster than columns
    num_rows = jnp.sum(data.weights > 0, dtype=jnp.int32)

    def next_batch(step: jax.Array, order: Any, sizes: BatchSizes) -> tuple[Data, BatchSizes, Any]:
        epoch, index = step // num_batches, step % num_batches
        draw = functools.partial(epoch_order, key, epoch, data.weights, shuffle=config.shuffle)
        if given is not None:
            order = given[epoch % len(given)]
        else:
            order = draw() if order is None else lax.cond(index == 0, draw, lambda: order)
        if config.batches == "equal":
            chosen = lax.dynamic_slice_in_dim(order, index * size, size)
            batch = Data(rows[chosen].T, data.y[:, chosen], data.weights[chosen])
            return batch, BatchSizes(float(size), sizes.num_train), order
        places = index * size + lax.iota(jnp.int32, size)
        chosen = order[jnp.minimum(places, len(order) - 1)]
        there = places < num_rows
        batch = Data(rows[chosen].T, data.y[:, chosen], jnp.where(there, data.weights[chosen], 0))
        weight, count = jnp.sum(batch.weights), jnp.sum(jnp.where(there, counted[chosen], 0))
        safe = [jnp.where(total > 0, total, 1) for total in (weight, count)]
        return batch, BatchSizes(*safe), order

    return next_batch


def _num_batches(weights: jax.Array, config: Config) -> jax.Array | int:
    """Returns the batches of an epoch."""
    if config.batch_size is None:
        return 1
    num_rows = jnp.sum(weights > 0, dtype=jnp.int32)
    rest = config.batch_size - 1 if config.batches == "all" else 0
    return jnp.maximum((num_rows + rest) // config.batch_size, 1)


def _score(params: Params, data: Data, config: Config) -> jax.Array:
    """Returns the accuracy, or R²."""
    found = evaluate(params, data, config=dataclasses.replace(config, metrics=("accuracy", "r2")))
    return found["accuracy"] if "accuracy" in found else found["r2"]


def weigh_classes(data: Data, config: Config) -> Data:
    """Returns `data` with the weights that training uses: times those of classes, where they have some."""
    if config.class_weight is None:
        return data
    if not jnp.issubdtype(data.y.dtype, jnp.integer):
        raise ValueError(f"class_weight must be used with classes, got real targets of dtype {data.y.dtype}")
    if config.class_weight != "balanced":
        return data._replace(weights=weights_of_classes(data.y, data.weights, config.class_weight))
    num_classes = max(2, config.layer_sizes[-1])
    return data._replace(weights=balanced_weights(data.y, data.weights, num_classes))


def hide_held_out(data: Data) -> Data:
    """Returns `data` with the inputs of rows of weight 0 replaced by 0."""
    # 0·inf is NaN: a row of weight 0 must not reach a product, however large its values.
    return data._replace(x=jnp.where((data.weights > 0)[None, :], data.x, jnp.zeros_like(data.x)))


def evaluate(params: Params, data: Data, *, config: Config) -> dict[str, jax.Array]:
    """Returns the metrics of one split in inference mode, weighted by the data's weights: see `metrics`."""
    loss = resolve_loss(config, data)
    return metrics(infer(params, data, config), data.y, data.weights, loss=loss, only=config.metrics)


def infer(params: Params, data: Data, config: Config) -> jax.Array:
    """Returns the logits in inference mode, `(n_outputs, n)`; rows of weight 0 are hidden."""
    x = hide_held_out(data).x
    return forward(params, x, activation=config.activation, precision=config.precision)[0]


def all_finite(params: Params, objective: jax.Array) -> jax.Array:
    """Returns whether all parameters and the objective are finite: what has not diverged."""
    leaves = [*jax.tree.leaves(params), objective]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


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

    Returns:
        Scalars. `step`; `cost`: the objective on all training rows with the noise and masks of this step,
        what is optimised (but for the adversarial half); `finite`: whether `cost` and all parameters are
        finite. Then in inference mode `penalty` (divided by n), and for train and test `…_cost` (loss +
        penalty) and `HISTORY_METRICS`, as far as they fit the targets.
    """
    visible = weigh_classes(hide_held_out(data), config)
    num_steps = config.num_steps if num_steps is None else num_steps
    rows, partners = add_noise(key, step, hparams, visible, visible)
    drawn = Masks(masks)
    if masks is None:
        drawn = draw_masks(key, step, hparams, config, data.x.shape[1], num_steps)
    sizes = full_batch_sizes(visible)
    objective = cost(params, hparams, rows, drawn, partners, config=config, sizes=sizes)
    record = {
        "step": jnp.asarray(step, jnp.int32),
        "cost": objective,
        "finite": all_finite(params, objective),
        "penalty": penalty(params, hparams) / full_batch_sizes(data).num_train,
    }
    for name, split in (("train", data), ("test", test)):
        if split is not None:
            found = evaluate(params, split, config=config)
            shown = HISTORY_METRICS if config.metrics is None else config.metrics
            record[f"{name}_cost"] = found["loss"] + record["penalty"]
            record |= {f"{name}_{metric}": found[metric] for metric in shown if metric in found}
    # A relu turns NaN into 0, and a diverged network would have an accuracy.
    record |= {
        name: jnp.where(record["finite"], value, jnp.nan)
        for name, value in record.items()
        if name.startswith(("train_", "test_"))
    }
    return record


def make_train(config: Config) -> Callable[..., Trained]:
    """Returns `train(key, hparams, data, test=None, stop=None) → Trained`, pure and vmappable.

    `train` may be called as it is (it is compiled once per shape), or under `jax.jit`, `jax.vmap` and
    `jax.jvp`. Its history has a record at step 0, every `config.eval_every` steps and at the end; see
    `measure`. Metrics of a diverged run are NaN from there on, and `history["finite"]` is False; those of
    one that has stopped are NaN after `history["stopped_at"]`, which is -1 in a run to the end.

    Args:
        config: what is compiled. With dtype "float64", `train` enables x64 locally; under your own
            `vmap` or `jit`, put `with jax.enable_x64(True)` around that call.

    Example:
        >>> import jax, regjax
        >>> train, test = regjax.two_regions(jax.random.key(0))
        >>> fit = regjax.make_train(regjax.Config(num_steps=500, eval_every=250))
        >>> run = fit(regjax.replicate_key(seed=1), regjax.HParams(l2=0.7), train, test)
        >>> run.history["step"].tolist()
        [0, 250, 500]
        >>> bool(run.history["train_accuracy"][-1] > 0.7)
        True
    """
    if not isinstance(config, Config):
        raise TypeError(f"config must be a regjax.Config, got {type(config).__name__}")

    def train(
        key: jax.Array, hparams: HParams, data: Data, test: Data | None = None, stop: Data | None = None
    ) -> Trained:
        """Returns the trained parameters and the history of one run; see `make_train`.

        Args:
            key: of the replicate, see `replicate_key`.
            hparams: hyperparameters; every leaf may be traced.
            data: training rows.
            test: rows to measure beside them, never trained on.
            stop: rows whose loss early stopping watches, never trained on; with hparams.patience.

        Raises:
            ValueError: a hyperparameter or a data set that does not fit the config; names it.
        """
        _check_x64(config, (hparams, data, test, stop))
        with local_x64(config.dtype):
            hparams = check_hparams(config, hparams)
            if config.draws != "jax":
                raise ValueError(f"draws must be jax outside of a sweep, got {config.draws}")
            if (hparams.patience is None) != (stop is None):
                raise ValueError(
                    "stop must be given, rows to watch, exactly where hparams.patience is on, got "
                    + ("patience alone" if stop is None else "rows alone")
                )
            data, test = check_data(config, data), check_test(config, data, test)
            stop = check_test(config, data, stop, "stop")
            check_loss(hparams, resolve_loss(config, data))
            return _train(key, hparams, data, test, stop, config=config)

    return train


@functools.partial(jax.jit, static_argnames="config")
def _train(
    key: jax.Array, hparams: HParams, data: Data, test: Data | None, stop: Data | None, *, config: Config
) -> Trained:
    data = pad_samples(data)
    test, stop = (None if rows is None else pad_samples(rows) for rows in (test, stop))

    def record(state: TrainState, step: ArrayLike) -> tuple[TrainState, History]:
        found = measure(key, state.measured, hparams, data, test, step, config=config)
        if state.best is None:
            return state, found
        loss = evaluate(state.measured, cast(Data, stop), config=config)["loss"]
        found["stop_loss"] = jnp.where(found["finite"], loss, jnp.nan)
        gone = state.best.stopped_at >= 0
        best = keep_best(state.best, state.measured, found["stop_loss"], step, hparams.patience)
        after: Any = {"step": step, "finite": True}
        found = {name: jnp.where(gone, after.get(name, jnp.nan), value) for name, value in found.items()}
        return state._replace(best=best), found | {"stopped_at": best.stopped_at}

    def run(state: TrainState, start: jax.Array) -> TrainState:
        end = jnp.minimum(start + config.eval_every, config.num_steps)
        return run_segment(key, state, hparams, data, start, end, config=config)

    def record_and_run(state: TrainState, start: jax.Array) -> tuple[TrainState, History]:
        state, found = record(state, start)
        if state.best is None:
            return run(state, start), found
        return lax.cond(state.best.stopped_at < 0, run, lambda state, start: state, state, start), found

    starts = jnp.arange(0, config.num_steps, config.eval_every, dtype=jnp.int32)
    state, history = lax.scan(record_and_run, init_state(key, hparams, config=config), starts)
    state, last = record(state, config.num_steps)
    return Trained(state.predicting, jax.tree.map(lambda h, x: jnp.append(h, x), history, last))


def _check_x64(config: Config, inputs: Any) -> None:
    traced = any(map(is_traced, jax.tree.leaves(inputs)))
    if config.dtype == "float64" and traced and jax.dtypes.canonicalize_dtype("float64") != "float64":
        raise ValueError(
            'dtype "float64" under your own vmap, jit or jvp must stand in '
            "`with jax.enable_x64(True)`, got none"
        )
