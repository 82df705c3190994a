"""The tutorial's experiment: the same network without regularisation, with an L2 penalty, with dropout.

`regjax compare` calls it. The three networks are trained side by side from the same initial weights and
random bits. One seed each is an illustration, not evidence.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.checks import check_count
from regjax.core.config import Config, Dtype
from regjax.core.data import Data, check_data, pad_samples
from regjax.core.dropout import UnitMasks, dropout_masks
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Params
from regjax.core.random import MAX_SEED, replicate_key
from regjax.core.settings import own_settings
from regjax.tutorial.functions import HIDDEN, as_params, frozen_masks, initialize_parameters
from regjax.tutorial.training import Networks, train_networks

NAMES = ("none", "l2", "dropout")


class Settings(NamedTuple):
    """The settings of `run_experiment`; the defaults are the tutorial's.

    Attributes:
        num_steps: gradient steps, at least 1.
        learning_rate: step size of all three networks, >= 0.
        l2: λ of the "l2" network, >= 0.
        keep_prob: probability of keeping a hidden unit of the "dropout" network, in (0, 1].
        seed: of initial weights and masks, in [0, 2³²).
        numpy_rng: take the tutorial's NumPy streams instead of the seed: initial weights from seed 3, and
            dropout masks from seed 1, the same at every step.
        dtype: "float32" or "float64".
    """

    num_steps: int = 30_000
    learning_rate: float = 0.3
    l2: float = 0.7
    keep_prob: float = 0.86
    seed: int = 0
    numpy_rng: bool = False
    dtype: Dtype = "float32"


class Run(NamedTuple):
    """One of the three trained networks.

    Attributes:
        name: "none", "l2" or "dropout".
        l2: λ of the penalty.
        keep_prob: probability of keeping a unit, of both hidden layers.
        params: parameters after the last step, NumPy arrays.
        history: the records as arrays over steps, see `regjax.core.train.measure`.
    """

    name: str
    l2: float
    keep_prob: float
    params: Params
    history: dict[str, np.ndarray]

    @property
    def diverged_at(self) -> int | None:
        """The first recorded step at which the cost or a parameter was not finite, or None."""
        finite = self.history["finite"]
        return None if finite.all() else int(self.history["step"][np.argmin(finite)])

    def final(self, metric: str) -> float:
        """Returns a metric after the last step."""
        return float(self.history[metric][-1])


class Experiment(NamedTuple):
    """The result of `run_experiment`.

    Attributes:
        runs: the networks "none", "l2" and "dropout".
        config: the compiled configuration of the networks.
        masks: units that the dropout network keeps at step 0: 0 and 1, `(units, n)` per hidden layer.
        seconds: "compile" and "train" (all three together).
        snapshots: (step, parameters of the networks, `(3, …)`) at each record, where they are asked for.
    """

    runs: tuple[Run, ...]
    config: Config
    masks: tuple[np.ndarray, ...]
    seconds: dict[str, float]
    snapshots: tuple[tuple[int, Params], ...] = ()


def run_experiment(
    train: Data,
    test: Data,
    settings: Settings | None = None,
    *,
    on_progress: Callable[[int], None] = lambda step: None,
    with_snapshots: bool = False,
) -> Experiment:
    """Returns the three trained networks (n_features-20-3-1, full batch, plain gradient descent).

    Args:
        train: training samples with labels 0 and 1.
        test: samples to measure on, never trained on.
        settings: settings of the networks; None takes the tutorial's.
        on_progress: called with the number of finished steps.
        with_snapshots: whether to keep the parameters at every record, for an animation.

    Raises:
        TypeError: a value of the wrong kind, naming it.
        ValueError: a value out of its range, or data that does not fit, naming it.

    Example:
        >>> import jax, regjax
        >>> from regjax.tutorial.experiment import Settings, run_experiment
        >>> train, test = regjax.two_regions(jax.random.key(0))
        >>> found = run_experiment(train, test, Settings(num_steps=100, l2=0.1))
        >>> [(run.name, run.l2, run.keep_prob) for run in found.runs]
        [('none', 0.0, 1.0), ('l2', 0.1, 1.0), ('dropout', 0.0, 0.86)]
        >>> bool(found.runs[0].final("cost") < found.runs[0].history["cost"][0])
        True
    """
    settings = Settings() if settings is None else settings
    config, hparams = check_settings(len(train.x), settings)
    train, test = check_samples(config, train, test)
    num_samples = train.x.shape[1]
    started = compiled = time.perf_counter()
    with own_settings(config.dtype):
        networks = _networks(config, hparams, train, test, settings)
        params, records, snapshots = networks.params, [], list[tuple[int, Params]]()
        for step, after, record in train_networks(networks, _stops(settings.num_steps), config=config):
            params = after
            records.append(jax.tree.map(np.array, record))
            if with_snapshots:
                snapshots.append((step, jax.tree.map(np.array, after)))
            if step == 0:  # the program is compiled, and no step is done
                compiled = time.perf_counter()
            else:
                on_progress(step)
        trained = time.perf_counter()
        masks = _shown_masks(config, networks)
        runs = _runs(settings, jax.tree.map(np.array, params), records)
    return Experiment(
        runs=runs,
        config=config,
        masks=tuple(mask[:, :num_samples] for mask in masks),
        seconds={"compile": compiled - started, "train": trained - compiled},
        snapshots=tuple(snapshots),
    )


def check_settings(num_features: int, settings: Settings) -> tuple[Config, HParams]:
    """Returns the config and the hyperparameters of the three networks, `(3, …)` each.

    Args:
        num_features: columns of X.
        settings: settings of the networks.

    Raises:
        TypeError: a value of the wrong kind, naming it.
        ValueError: a value out of its range, naming it; before anything is compiled.
    """
    check_count("seed", settings.seed, at_least=0, at_most=MAX_SEED)
    config = Config(
        layer_sizes=(num_features, *HIDDEN, 1),
        loss="sigmoid_cross_entropy",
        num_steps=settings.num_steps,
        dtype=settings.dtype,
    )
    base = HParams(learning_rate=settings.learning_rate)
    three = [base, base._replace(l2=settings.l2), base._replace(keep_prob=settings.keep_prob)]
    three = [check_hparams(config, hparams) for hparams in three]
    if three[2].keep_prob is not None:
        # All networks share one program: where one has dropout, the others have it with probability 1.
        ones = np.ones(config.num_hidden, config.dtype)
        three[:2] = [hparams._replace(keep_prob=ones) for hparams in three[:2]]
    return config, jax.tree.map(lambda *leaves: np.stack(leaves), *three)


def check_samples(config: Config, train: Data, test: Data) -> tuple[Data, Data]:
    """Returns the training and test samples in the dtypes of the config.

    Raises:
        TypeError: targets that are no class labels.
        ValueError: samples that do not fit the config, naming "data" or "test".
    """
    return check_data(config, train), check_data(config, test, name="test")


def _networks(config: Config, hparams: HParams, train: Data, test: Data, settings: Settings) -> Networks:
    params = masks = None
    if settings.numpy_rng:
        masks = _frozen_masks(config, train, settings.keep_prob)
        # The masks are given: with keep_prob on, the program would contain draws that nothing reads.
        hparams = hparams._replace(keep_prob=None)
        params = jax.tree.map(
            lambda w: jnp.asarray(w, config.dtype), as_params(initialize_parameters(config.layer_sizes))
        )
    key = replicate_key(settings.seed)
    return Networks(key, hparams, pad_samples(train), pad_samples(test), params, masks)


def _frozen_masks(config: Config, train: Data, keep_prob: float) -> UnitMasks | None:
    """Returns the masks of the networks, `(3, units, n)` per hidden layer; only the last drops units."""
    frozen = frozen_masks(config, train, keep_prob)
    if frozen is None:
        return None
    return tuple(None if m is None else jnp.stack([jnp.ones_like(m), jnp.ones_like(m), m]) for m in frozen)


def _stops(num_steps: int) -> list[int]:
    """Returns the steps of the records: the last one, every multiple of 10,000, and 60 or more in all."""
    every = max(1, num_steps // 60)
    if num_steps >= 10_000:  # the tutorial's costs at multiples of 10,000 are to be among the records
        every = max(divisor for divisor in range(1, every + 1) if 10_000 % divisor == 0)
    return [*range(every, num_steps, every), num_steps]


def _runs(settings: Settings, params: Params, records: list[dict[str, np.ndarray]]) -> tuple[Run, ...]:
    # Records are (3,) at each step; a run has (records,) of each metric.
    history = jax.tree.map(lambda *values: np.stack(values, axis=1), *records)
    return tuple(
        Run(
            name,
            settings.l2 if name == "l2" else 0.0,
            settings.keep_prob if name == "dropout" else 1.0,
            *jax.tree.map(lambda leaf, lane=lane: leaf[lane], (params, history)),
        )
        for lane, name in enumerate(NAMES)
    )


def _shown_masks(config: Config, networks: Networks) -> tuple[np.ndarray, ...]:
    """Returns the units that the dropout network, the last one, keeps at step 0: 0 and 1 per hidden layer."""
    hparams, masks = jax.tree.map(lambda leaf: leaf[-1], (networks.hparams, networks.masks))
    num_samples = networks.train.x.shape[1]
    if masks is None:
        masks = _draw(networks.key, hparams.keep_prob, config.layer_sizes, num_samples)
    if masks is None:  # keep_prob is 1: dropout is off
        return tuple(np.ones((units, num_samples)) for units in config.layer_sizes[1:-1])
    return tuple((np.asarray(mask) > 0).astype(float) for mask in masks if mask is not None)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _draw(
    key: jax.Array, keep_prob: jax.Array | None, layer_sizes: tuple[int, ...], num_samples: int
) -> UnitMasks | None:
    return dropout_masks(key, 0, layer_sizes, num_samples, keep_prob=keep_prob)
