"""First weights and orders of samples that NumPy draws, as scikit-learn's `MLPClassifier` draws them.

`Design.drawn` calls it for configs with draws="sklearn": the same seed then gives the same network.
"""

from __future__ import annotations

import numpy as np

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.mlp import Params
from regjax.core.numpy_random import draw_orders, draw_weights
from regjax.data.splits import Splits, watched_as_sklearn


def draw_as_sklearn(
    data: Data,
    splits: Splits,
    width: int,
    config: Config,
    num_batches: int,
    seed: int,
    fold: int,
    stops: bool,
) -> tuple[Params, np.ndarray | None]:
    """Returns first weights, and the orders of the training samples in each epoch, `(epochs, width)`.

    The orders are None where a batch holds all samples.

    Args:
        data: the samples.
        splits: their folds.
        width: number of samples with those that pad them.
        config: layer sizes, init, dtype, batch size and steps.
        num_batches: batches of an epoch.
        seed: seed of the generator.
        fold: number of the fold.
        stops: whether the network trains without the samples that early stopping watches.
    """
    random = np.random.RandomState(seed)
    params = draw_weights(random, config.layer_sizes, config.init == "sklearn_logistic", config.dtype)
    if config.batch_size is None:
        return params, None
    samples = _order_of_fit(random, data, splits, config, fold) if stops else None
    if samples is None:
        samples = np.flatnonzero(splits.trains(fold, stops) > 0)
    epochs = -(-config.num_steps // num_batches)
    return params, draw_orders(random, samples, epochs, width, config.shuffle)[0]


def _order_of_fit(
    random: np.random.RandomState, data: Data, splits: Splits, config: Config, fold: int
) -> np.ndarray | None:
    """Returns a fold's training samples in the order of scikit-learn's fit with early stopping.

    None where that fit would watch others than the fold does. `random` has drawn the weights; it is advanced
    where the samples are the same.
    """
    assert splits.stop is not None
    samples, stop = np.flatnonzero(splits.train[fold] > 0), splits.stop[fold]
    two = np.issubdtype(data.y.dtype, np.integer) and config.layer_sizes[-1] == 1
    labels = data.y[0, samples].astype(bool) if two else None
    before = random.get_state()
    try:
        train, watched = watched_as_sklearn(random, samples, int(np.count_nonzero(stop)), labels)
    except ValueError:  # a class with one sample
        train = watched = samples[:0]
    if set(watched) == set(np.flatnonzero(stop)):
        return train
    random.set_state(before)
    return None
