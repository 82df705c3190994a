"""The records of a run: their number, and which one belongs to the final parameters.

The plan counts them, the recorder takes them, results read them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from regjax.core.blocks import num_trained
from regjax.core.config import Config
from regjax.study.design import Design


def num_params(config: Config) -> int:
    """Returns the number of weights and biases, and of what else is trained."""
    if not config.is_plain:
        return num_trained(config)
    sizes = config.layer_sizes
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def num_records(config: Config) -> int:
    """Returns the records of a run: at step 0, every eval_every steps, and at the end."""
    return len(range(0, config.num_steps, config.eval_every)) + 1


def final_records(
    design: Design,
    records: Mapping[str, np.ndarray],
    diverged_at: np.ndarray,
    stopped_at: np.ndarray,
    rows: Sequence[int] | None = None,
) -> np.ndarray:
    """Returns the index of the record of each row's final parameters, `(rows,)`.

    It is the last record, or that at which a row stopped; with patience, that of the parameters which were
    put back: the first of the lowest `stop_loss`. A row that diverged gets its last record, which is NaN.

    Args:
        design: design of the sweep.
        records: metric -> `(rows, records)`, of all rows.
        diverged_at: `(rows,)`, -1 where a row has not diverged.
        stopped_at: `(rows,)`, -1 where a row has not stopped.
        rows: indices of the wanted rows; None takes all.
    """
    chosen = np.arange(design.num_rows) if rows is None else np.asarray(rows)
    # Of the wanted rows alone: a sweep of many configurations asks for those of one chunk after the other.
    own, place = np.unique(chosen // design.num_replicates, return_inverse=True)
    configs = [design.configs[int(index)] for index in own]
    last = np.array([num_records(config) - 1 for config in configs], np.int64)[place]
    every = np.array([config.eval_every for config in configs], np.int64)[place]
    last = np.where(stopped_at[chosen] >= 0, -(-stopped_at[chosen] // every), last)
    if "stop_loss" not in records:
        return last
    losses = np.where(np.isnan(records["stop_loss"][chosen]), np.inf, records["stop_loss"][chosen])
    losses[:, 0] = np.inf  # before training, which does not compete
    stops = np.array([design.hparams[int(index)].patience is not None for index in own], bool)[place]
    return np.where(stops & (diverged_at[chosen] < 0), np.argmin(losses, axis=1), last)
