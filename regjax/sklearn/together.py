"""Fits that a search would make one after the other, trained together.

A search runs scikit-learn's own code twice. The first time `Together.record` notes what each network would be
fitted on, wherever it stands: in a Pipeline in a Pipeline, in a `OneVsRestClassifier`, behind a method that a
subclass overrides. All that was noted is trained as rows of one design. The second time a network that is
fitted on what was noted takes over its row. A network that nobody noted is fitted alone, so the results are
scikit-learn's whatever surrounds the network. `regjax/sklearn/candidates.py` calls it.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import joblib
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.core.mlp import Layer, Params
from regjax.core.numpy_random import draw_orders
from regjax.data.splits import Splits
from regjax.engine.sweep import run
from regjax.engine.workers import place
from regjax.sklearn.base import INSTEAD, RegMLP, is_plain
from regjax.sklearn.epochs import Run, Trained, check_batches
from regjax.sklearn.lbfgs import Fit, fit_many
from regjax.sklearn.trained import trained_row
from regjax.store.database import StoreError
from regjax.store.identity import hash_of_arrays
from regjax.study.design import Design
from regjax.study.evidence import Row
from regjax.study.grid import grid_from_list
from regjax.study.plan import default_workers, make_plan

# Seconds that fits of one shape would take alone, below which they are not worth a program of their own.
WORTH = 2.0
# Seconds of a step of a network alone, and products in a second.
STEP, RATE = 50e-6, 5e9
# Bytes of samples that may be noted before the networks on them are trained.
BUDGET = 512 * 2**20
# Records of a run whose networks may stop: only at a record do those that have stopped make room.
RECORDS = 10


class _Replicate(NamedTuple):
    """The data and draws that several networks share.

    Attributes:
        key: key data, `(2,)`.
        x: inputs, `(n_features, n)`, padded; those that are trained on stand first.
        y: targets, `(n_outputs, n)`.
        train: training weights, `(n,)`.
        watched: weights of the samples that early stopping watches, `(n,)`, or None.
        params: first weights.
        orders: order of the samples in each epoch, `(epochs, n)`, or None.
    """

    key: np.ndarray
    x: np.ndarray
    y: np.ndarray
    train: np.ndarray
    watched: np.ndarray | None
    params: Params
    orders: np.ndarray | None


class _Wanted(NamedTuple):
    """A fit that was noted.

    Attributes:
        config: its config.
        hparams: its hyperparameters.
        replicate: name of its replicate.
        num_samples: samples of an epoch.
        num_batches: batches of an epoch.
        seed: its random_state, where the network has none.
    """

    config: Config
    hparams: HParams
    replicate: str
    num_samples: int
    num_batches: int
    seed: int | None


class Together:
    """The fits of a search: noted, trained together, and handed out.

    Args:
        workers: number of tasks at a time; None takes a thread per core.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers
        self._wanted: dict[str, _Wanted] = {}
        self._replicates: dict[str, _Replicate] = {}
        # Fits by lbfgs, which are minimised beside one another.
        self._minimised: dict[str, Fit] = {}
        # Networks by name of a fit: None where one failed or went without the others.
        self._trained: dict[str, Trained | RegMLP | None] = {}
        # Networks without a seed draw from this one, so that what surrounds them sees the same global draws
        # in both runs.
        self._random: np.random.RandomState | None = None

    # -- noting ---------------------------------------------------------------------------------------------

    def record(self, fits: list[Callable[[], Any]]) -> None:
        """Runs fits until all networks in them are trained, without a warning or an error.

        What the steps around a network print is printed in both runs. A fit that needs what an untrained
        network computes ends in an error; it runs again when that network is trained.

        Args:
            fits: functions without arguments, each of which fits a new estimator.
        """
        waiting, anywhere = fits, check_random_state(None)
        while waiting:
            again = []
            before = anywhere.get_state()
            for fit in waiting:
                known, ended = self._num_noted, False
                with self._noting(), contextlib.suppress(Exception):
                    fit()
                    ended = True
                if not ended and self._num_noted > known:
                    again.append(fit)
                if self._num_bytes > BUDGET:
                    self._train()
            anywhere.set_state(before)
            self._train()
            waiting = again

    @property
    def _num_bytes(self) -> int:
        of_replicates = sum(replicate.x.nbytes for replicate in self._replicates.values())
        return of_replicates + sum(getattr(fit.X, "nbytes", 0) for fit in self._minimised.values())

    @property
    def _num_noted(self) -> int:
        return len(self._wanted) + len(self._minimised)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        token = INSTEAD.set(self._note)
        try:
            # What the user's steps warn of, they warn of once, in the second run.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            INSTEAD.reset(token)

    def _note(self, network: RegMLP, X: Any, y: Any, sample_weight: Any) -> bool:
        """Notes a fit; the network stays without weights, unless they are known already."""
        name = _name_of(network, X, y, sample_weight)
        if self._trained.get(name) is not None:
            return self._hand_out(name, network, X, y, sample_weight)
        if name in self._trained or not is_plain(network):
            raise NotFittedError("this network is fitted alone")
        network._validate(X, y, True, False)
        if name in self._wanted or name in self._minimised:
            return True
        seed = None
        if network.random_state is None:
            self._random = self._random or np.random.RandomState(check_random_state(None).randint(2**31))
            seed = int(self._random.randint(np.iinfo(np.int32).max))
        own: Any = clone(network)
        if seed is not None:
            own.set_params(random_state=seed)
        if network.solver == "lbfgs":
            self._minimised[name] = Fit(own, X, y, sample_weight)
            return True
        # Whoever asks the network itself for its weights gets an error, and is run again when it has them.
        run, random = own._prepare(X, y, sample_weight)
        self._wanted[name] = self._as_wanted(own, run, random, seed)
        return True

    def _as_wanted(
        self, network: RegMLP, run: Run, random: np.random.RandomState, seed: int | None
    ) -> _Wanted:
        """Returns a noted fit, and keeps its replicate, which it may share with others."""
        config, data, watched = run.config, run.samples.data, run.samples.watched
        n = int(np.sum(np.asarray(data.weights) > 0))
        num_batches = 1 if config.batch_size is None else math.ceil(n / config.batch_size)
        params = tuple(
            Layer(np.ascontiguousarray(w.T), b[:, None])  # type: ignore[arg-type]
            for w, b in zip(network.coefs_, network.intercepts_, strict=True)
        )
        joined = _joined(data, watched)
        key = np.asarray(jax.random.key_data(run.key))
        epochs = config.num_steps // num_batches
        drawn = repr((epochs, config.batch_size is None, config.shuffle, config.layer_sizes))
        name = hash_of_arrays(drawn, key, *joined[:3], params[0].w)
        if name not in self._replicates:
            orders = None
            if config.batch_size is not None:
                order = np.flatnonzero(joined[2] > 0)
                orders = draw_orders(random, order, epochs, joined[0].shape[1], config.shuffle)[0]
                # A batch of weights 0 is an error that a sweep does not know: the network is fitted alone.
                check_batches(orders, data, config)
            self._replicates[name] = _Replicate(key, *joined, params, orders)
        return _Wanted(config, run.hparams, name, n, num_batches, seed)

    # -- training -------------------------------------------------------------------------------------------

    def _train(self) -> None:
        """Trains all that was noted."""
        alike: dict[Any, list[str]] = {}
        for name, wanted in self._wanted.items():
            replicate, config = self._replicates[wanted.replicate], wanted.config
            shape = replicate.x.shape, replicate.y.shape, replicate.y.dtype.kind, config.layer_sizes[-1]
            kind = config.dtype, config.stop_on, replicate.watched is None, wanted.num_samples
            alike.setdefault((shape, kind), []).append(name)
        for names in alike.values():
            wanted = [self._wanted[name] for name in names]
            found: list[Trained | None] = [None] * len(names)
            if sum(map(_seconds_alone, wanted)) >= WORTH:
                with left_to_scikit_learn():
                    found = _trained(wanted, self._replicates, self.workers)
            self._trained |= dict(zip(names, found, strict=True))
        fits = self._minimised.values()
        outcomes = fit_many(fits, workers=self.workers or default_workers())
        for name, fit, outcome in zip(self._minimised, fits, outcomes, strict=True):
            self._trained[name] = fit.network if outcome.error is None else None
        for noted in (self._wanted, self._replicates, self._minimised):
            noted.clear()

    # -- handing out ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def handing_out(self) -> Iterator[None]:
        """A context in which a network that was trained here is not trained again."""

        def instead(network: RegMLP, X: Any, y: Any, sample_weight: Any) -> bool:
            name = _name_of(network, X, y, sample_weight)
            return self._trained.get(name) is not None and self._hand_out(name, network, X, y, sample_weight)

        token = INSTEAD.set(instead)
        try:
            yield
        finally:
            INSTEAD.reset(token)

    def _hand_out(self, name: str, network: RegMLP, X: Any, y: Any, sample_weight: Any) -> bool:
        """Gives a network the weights that were trained for it."""
        found = self._trained[name]
        assert found is not None
        network._validate(X, y, True, False)
        if isinstance(found, Trained):
            network._take_over(found, lambda: (X, y, sample_weight))
        else:
            own = network.get_params()
            told = {name: value for name, value in vars(found).items() if name not in own}
            network.__dict__.update(copy.deepcopy(told))
        return True


@contextlib.contextmanager
def left_to_scikit_learn() -> Iterator[None]:
    """A context whose errors are left to scikit-learn's code, which meets them again where it fits.

    Errors that no data of a user explain are told: without them all would only be slower.
    """
    try:
        yield
    except (OSError, StoreError):
        raise
    except (ValueError, TypeError, ArithmeticError):
        pass
    except Exception as error:
        warnings.warn(
            f"networks are fitted one after the other, because all at once failed: {error!r}", stacklevel=2
        )


def _seconds_alone(fit: _Wanted) -> float:
    """Returns a guess of the seconds that a fit takes alone, without compiling."""
    batch = fit.num_samples if fit.config.batch_size is None else fit.config.batch_size
    products = 6 * batch * sum(a * b for a, b in itertools.pairwise(fit.config.layer_sizes))
    return fit.config.num_steps * (STEP + products / RATE)


def _name_of(network: RegMLP, X: Any, y: Any, sample_weight: Any) -> str:
    """Returns a hash of all that a fit depends on."""
    own = joblib.hash((type(network), network.get_params()))
    return hash_of_arrays(own, *(_hashable(part) for part in (X, y, sample_weight)))


def _hashable(part: Any) -> Any:
    """Returns an array of plain values as it is, and of anything else a hash."""
    plain = isinstance(part, np.ndarray) and part.dtype.kind != "O"
    return part if plain else joblib.hash(part)


def _joined(data: Data, watched: Data | None) -> tuple[Any, Any, Any, Any]:
    """Returns x, y, training weights and watched weights of samples that are trained on or watched."""
    x, y, train = (np.asarray(part) for part in data)
    if watched is None:
        return x, y, train, None
    more_x, more_y, weights = (np.asarray(part) for part in watched)
    zeros = np.zeros_like(train), np.zeros_like(weights)
    return (
        np.concatenate([x, more_x], axis=1),
        np.concatenate([y, more_y], axis=1),
        np.concatenate([train, zeros[1]]),
        np.concatenate([zeros[0], weights]),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Fits(Design):
    """A design whose replicates have data and draws of their own."""

    replicates: tuple[_Replicate, ...] = ()

    @property
    def has_own_inputs(self) -> bool:
        return self.num_folds > 1

    @property
    def has_own_targets(self) -> bool:
        return self.num_folds > 1

    def weights(self, row: Row) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        replicate = self.replicates[row.fold]
        return replicate.train, None, replicate.watched

    def inputs(self, fold: int, stops: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        return self.replicates[fold].x, None

    def targets(self, fold: int, stops: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        return self.replicates[fold].y, None

    def drawn(self, row: Row) -> tuple[Params | None, np.ndarray | None]:
        replicate = self.replicates[row.fold]
        return replicate.params, replicate.orders

    def key(self, row: Row) -> np.ndarray:
        return self.replicates[row.fold].key


def _trained(
    wanted: list[_Wanted], replicates: dict[str, _Replicate], workers: int | None
) -> list[Trained | None]:
    """Returns the trained networks of fits of one shape; None for one that diverged."""
    # By layer sizes too, since the first weights belong to a replicate.
    names = list(dict.fromkeys(fit.replicate for fit in wanted))
    own: dict[Any, int] = {}
    configurations, configs, hparams, batches, rows = [], [], [], [], []
    for fit in wanted:
        asked = {name: leaf for name, leaf in fit.hparams._asdict().items() if leaf is not None}
        key = fit.config, tuple((name, np.asarray(leaf).tobytes()) for name, leaf in asked.items())
        if key not in own:
            own[key] = len(own)
            configurations += grid_from_list([{"l2": float(np.mean(fit.hparams.l2))}])
            every = _every(fit)
            configs.append(dataclasses.replace(fit.config, eval_every=every, metrics=()))
            hparams.append(fit.hparams)
            batches.append(fit.num_batches)
        rows.append(own[key] * len(names) + names.index(fit.replicate))
    first = replicates[names[0]]
    zeros = np.zeros((len(names), first.x.shape[1]))
    design = _Fits(
        data=Data(first.x, first.y, first.train), test=None, classes=None,
        splits=Splits(zeros, zeros, "none", ()), configurations=tuple(configurations),
        configs=tuple(configs), hparams=tuple(hparams), num_batches=tuple(batches), seeds=(0,),
        pairing="paired", standardize=False, notes=(), replicates=tuple(replicates[n] for n in names),
    )  # fmt: skip
    plan = make_plan(design, workers=workers, keep="all", **place())
    results = run(design, plan=plan, rows=sorted(set(rows)))
    return [
        trained_row(results, row, fit.num_samples, fit.seed) for fit, row in zip(wanted, rows, strict=True)
    ]


def _every(fit: _Wanted) -> int:
    """Returns the steps between two records of a fit."""
    epochs = fit.config.num_steps // fit.num_batches
    if float(np.asarray(fit.hparams.n_iter_no_change)) >= epochs and fit.config.schedule != "adaptive":
        return fit.config.num_steps
    return max(1, math.ceil(epochs / RECORDS)) * fit.num_batches
