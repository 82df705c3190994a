"""One training run, pure and vmappable over keys, hyperparameters and data.

`init_state` → `run_segment` (steps a to b in one compiled loop) → `measure`; `make_train` composes them into
a whole run. The lanes of `regjax.engine`, the estimators and the tutorial call the first two. A step has
named places, in this order: batch → data noise → masks → forward → loss → backward → penalties → gradient →
update → constraint → average → stop; what acts at a place is in its module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from .augment import add_noise
from .averaging import Average, average, init_average
from .checks import is_traced
from .config import Config
from .constraints import constrain
from .data import Data, check_data, check_test, hide_held_out, pad_samples
from .dropout import UnitMasks, draw_masks
from .early_stopping import Best, Epochs, add_batch, end_epoch, init_best, init_epochs, keep_best
from .evaluate import History, evaluate, measure, score
from .gradients import gradient
from .hparams import HParams, check_hparams, check_loss
from .minibatches import batches_per_epoch, make_batches, weigh_classes
from .mlp import Params
from .network import init_network
from .objective import BatchSizes, resolve_loss, with_statistics
from .optimizers import learning_rate_at, make_optimizer, update
from .penalties import penalty
from .random import check_key, is_drawn_on_cpu
from .settings import own_settings


class TrainState(NamedTuple):
    """The state of a training run between two steps.

    Attributes:
        params: the parameters after the last step.
        opt_state: the optimizer's state, of optax.
        average: the average of the parameters, or None where none is on.
        best: the best record so far, or None where patience is off.
        epochs: the epochs so far, or None where config.stop_on is None.
    """

    params: Params
    opt_state: Any
    average: Average | None = None
    best: Best | None = None
    epochs: Epochs | None = None

    @property
    def measured(self) -> Params:
        """The parameters that a record measures: those of the best score so far, where config.stop_on is
        "score"; else the average, where one is on; else the last ones.
        """
        if self.epochs is not None and self.epochs.params is not None:
            return self.epochs.params
        return self.params if self.average is None else self.average.params

    @property
    def stopped(self) -> jax.Array | None:
        """Whether the run has stopped, a boolean; None where nothing can stop it."""
        ends = [part.stopped_at for part in (self.best, self.epochs) if part is not None]
        return functools.reduce(jnp.logical_or, (end >= 0 for end in ends)) if ends else None

    @property
    def predicting(self) -> Params:
        """The parameters that predict: those of the best record, where patience is on; else `measured`."""
        return self.measured if self.best is None else self.best.params


class Trained(NamedTuple):
    """A finished run: parameters, and the history as arrays with one entry per record."""

    params: Params
    history: History


def init_state(
    key: jax.Array,
    hparams: HParams,
    *,
    config: Config,
    params: Params | None = None,
    data: Data | None = None,
) -> TrainState:
    """Returns the state before the first step.

    Args:
        key: key of the replicate, see `random.replicate_key`.
        hparams: hyperparameters.
        config: layer sizes, init, optimizer, dtype.
        params: initial parameters; None draws them.
        data: x and weights of the training samples, which piecewise embeddings need.
    """
    if params is None:
        params = init_network(key, config, data)
    opt_state = make_optimizer(config, hparams).init(params)
    average, best = init_average(params, hparams), init_best(params, hparams)
    return TrainState(params, opt_state, average, best, init_epochs(params, config))


class Course(NamedTuple):
    """Facts of the whole run that a segment needs, and its length; None takes those of the arguments.

    Attributes:
        num_batches: batches of an epoch. Under a `vmap` over weights pass it, not mapped: otherwise the end
            of an epoch may differ between lanes, and every lane sorts its samples at every step.
        num_steps: steps of the run, for keep_prob_end.
        watched: samples whose score config.stop_on watches.
        orders: orders of the samples in the epochs, `(epochs, n)`, those of weight 0 last; after the last
            order the first comes again. None draws them.
        steps: `stop` - `start`, a number that the compiler may know: a GPU then need not tell the host after
            every step whether there is another.
        samples: indices of samples -> their inputs, `(chosen, n_features)`; None gathers them from a
            transposed copy of the inputs, which each segment makes.
        lift: what takes the place of a step, `(step, state, hparams)` -> state, where the state that is
            carried has more than a `TrainState`, such as derivatives; `step` is a function of state and
            hyperparameters.
    """

    num_batches: ArrayLike | None = None
    num_steps: ArrayLike | None = None
    watched: Data | None = None
    orders: jax.Array | None = None
    steps: int | None = None
    samples: Callable[[jax.Array], jax.Array] | None = None
    lift: Callable[[Callable[[TrainState, HParams], TrainState], Any, HParams], Any] | None = None


WHOLE = Course()


def run_segment(
    key: jax.Array,
    state: TrainState,
    hparams: HParams,
    data: Data,
    start: ArrayLike,
    stop: ArrayLike,
    masks: UnitMasks | None = None,
    course: Course = WHOLE,
    *,
    config: Config,
) -> TrainState:
    """Returns the state after steps `start` … `stop` - 1: how a run is cut changes no bit of it.

    Args:
        key: key of the replicate.
        state: the state after `start` steps.
        hparams: hyperparameters, traced.
        data: training samples; one of weight 0 is never seen.
        start: first step, may be traced.
        stop: last step + 1, may be traced.
        masks: masks of every step; None draws them.
        course: facts of the whole run.
        config: the compiled configuration.
    """
    num_batches, num_steps, watched, orders, steps, samples, lift = course
    num_steps = config.num_steps if num_steps is None else num_steps
    data = jax.tree.map(jnp.asarray, data)
    if config.batch_size is None:  # a batch of some samples hides those of weight 0 itself
        data = hide_held_out(data)
    counted, data = data.weights, weigh_classes(data, config)
    if num_batches is None:
        num_batches = batches_per_epoch(data.weights, config)
    run = _Run(key, hparams, data, counted, masks, config, num_batches, num_steps, watched)
    next_batch = make_batches(key, data, counted, config, num_batches, orders, samples)

    def step(i: jax.Array, carry: tuple[TrainState, Any]) -> tuple[TrainState, Any]:
        before, order = carry
        batch, sizes, order = next_batch(i, order)
        if lift is None:
            return _step(run, i, before, batch, sizes), order
        return lift(lambda s, h: _step(run._replace(hparams=h), i, s, batch, sizes), before, hparams), order

    start, stop = jnp.asarray(start, jnp.int32), jnp.asarray(stop, jnp.int32)
    # A segment may begin inside an epoch: its order is drawn here, and again where the next epoch begins.
    first = next_batch(start, None)[2]
    if steps is None:
        return lax.fori_loop(start, stop, step, (state, first))[0]
    return lax.fori_loop(0, steps, lambda j, carry: step(start + j, carry), (state, first))[0]


class _Run(NamedTuple):
    """The arguments of `run_segment` that are the same at every step.

    `data` has the weights of the classes in its weights, `counted` `(n,)` has not.
    """

    key: jax.Array
    hparams: HParams
    data: Data
    counted: jax.Array
    masks: UnitMasks | None
    config: Config
    num_batches: ArrayLike
    num_steps: ArrayLike
    watched: Data | None


def _step(run: _Run, i: jax.Array, before: TrainState, batch: Data, sizes: BatchSizes) -> TrainState:
    """Returns the state after step `i`: the places of a step, in their order."""
    key, hparams, config = run.key, run.hparams, run.config
    params, opt_state, averaged, best, epochs = before
    batch, partners = add_noise(key, i, hparams, batch, run.data)
    drawn = draw_masks(key, i, hparams, config, batch.x.shape[1], run.num_steps, run.masks)
    value, grads = gradient(params, hparams, batch, drawn, partners, config=config, sizes=sizes)
    learning_rate = learning_rate_at(i, config, hparams)
    if epochs is not None:
        learning_rate = learning_rate * epochs.factor
        if resolve_loss(config, run.data) == "squared_error":
            value = value / len(run.data.y)  # as scikit-learn averages it over outputs
        value = value + penalty(params, hparams) / sizes.num_train
        epochs = add_batch(epochs, value, batch.weights)
    params, opt_state = update(params, grads, opt_state, learning_rate, config=config, hparams=hparams)
    params = constrain(params, hparams, learning_rate, sizes.num_train)
    params = with_statistics(params, before.params, batch, drawn, partners, config=config)
    after = TrainState(params, opt_state, average(params, averaged, i, hparams), best, epochs)
    if epochs is None and config.batches == "equal":
        return after
    # Nothing changes in a run that has stopped, or by a batch without samples.
    going = jnp.any(batch.weights > 0)
    if epochs is not None:
        going = going & (epochs.stopped_at < 0)
    # Selected, not branched: under a `vmap` both branches of a `cond` run anyway.
    after = jax.tree.map(lambda new, old: jnp.where(going, new, old), after, before)
    return after if epochs is None else _end_of_epoch(run, i, after)


def _end_of_epoch(run: _Run, i: jax.Array, after: TrainState) -> TrainState:
    """Returns the state with its epoch closed, where step `i` is the last one of an epoch."""
    config, epochs = run.config, cast(Epochs, after.epochs)

    def end(epochs: Epochs) -> Epochs:
        found = None if run.watched is None else score(after.params, run.watched, config)
        count = jnp.sum(run.counted > 0, dtype=run.counted.dtype)
        return end_epoch(epochs, after.params, found, i + 1, count, hparams=run.hparams, config=config)

    # num_batches is not mapped, so this stays a branch under `vmap`, and scores once per epoch.
    ended = (i + 1) % run.num_batches == 0
    found = lax.cond(ended, end, lambda epochs: epochs, epochs)
    opt_state = after.opt_state
    if config.schedule in ("invscaling", "adaptive") and config.optimizer != "sgd":
        # scikit-learn's velocity contains the learning rate of its time, optax's trace does not.
        change = epochs.factor / found.factor
        opt_state = jax.tree.map(lambda trace: trace * change, opt_state)
    return after._replace(opt_state=opt_state, epochs=found)


def make_train(config: Config) -> Callable[..., Trained]:
    """Returns `train(key, hparams, data, test=None, stop=None) → Trained`, pure and vmappable.

    `train` may be called as it is (it is compiled once per shape), or under `jax.jit`, `jax.vmap` and
    `jax.jvp`. Its history has a record at step 0, every `config.eval_every` steps and at the end; see
    `measure`. Metrics of a diverged run are NaN from there on, and `history["finite"]` is False; those of
    one that has stopped are NaN after `history["stopped_at"]`, which is -1 in a run that did not stop.

    Args:
        config: the compiled configuration. With dtype "float64", `train` enables x64 locally; under your own
            `vmap` or `jit`, put `with jax.enable_x64(True)` around that call.

    Raises:
        TypeError: config is no `Config`; `train` raises it for arguments of the wrong kind.
        ValueError: a value out of its range, which `train` names.

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
            key: key of the replicate, see `replicate_key`.
            hparams: hyperparameters; every leaf may be traced.
            data: training samples.
            test: samples to measure beside them, never trained on.
            stop: samples whose loss early stopping watches, never trained on; with hparams.patience.

        Raises:
            TypeError: no key.
            ValueError: a hyperparameter or a data set that does not fit the config; names it.
        """
        check_key(key)
        _check_x64(config, (hparams, data, test, stop))
        with own_settings(config.dtype):
            hparams = check_hparams(config, hparams)
            if config.draws != "jax":
                raise ValueError(f"draws must be jax outside of a sweep, got {config.draws}")
            if (hparams.patience is None) != (stop is None):
                raise ValueError(
                    "stop must be given, samples to watch, exactly where hparams.patience is on, got "
                    + ("patience alone" if stop is None else "samples alone")
                )
            data, test = check_data(config, data), check_test(config, data, test)
            stop = check_test(config, data, stop, "stop")
            check_loss(hparams, resolve_loss(config, data))
            params = None  # drawn inside the compiled program, by the device itself
            if is_drawn_on_cpu(key):
                params = init_network(key, config, data)
            return _train(key, hparams, data, test, stop, params, config=config)

    return train


@functools.partial(jax.jit, static_argnames="config")
def _train(
    key: jax.Array,
    hparams: HParams,
    data: Data,
    test: Data | None,
    stop: Data | None,
    params: Params | None,
    *,
    config: Config,
) -> Trained:
    data = pad_samples(data)
    test, stop = (None if part is None else pad_samples(part) for part in (test, stop))

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
    begin = init_state(key, hparams, config=config, params=params, data=data)
    state, history = lax.scan(record_and_run, begin, starts)
    state, last = record(state, config.num_steps)
    return Trained(state.predicting, jax.tree.map(lambda h, x: jnp.append(h, x), history, last))


def _check_x64(config: Config, inputs: Any) -> None:
    # A traced input already has the dtype of the caller's transformation: x64 must be on around that.
    traced = any(map(is_traced, jax.tree.leaves(inputs)))
    if config.dtype == "float64" and traced and jax.dtypes.canonicalize_dtype("float64") != "float64":
        raise ValueError(
            'dtype "float64" under your own vmap, jit or jvp must stand in '
            "`with jax.enable_x64(True)`, got none"
        )
