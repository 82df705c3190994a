"""`snapshots`: the parameters of one row of a sweep at steps of its training, found by training it again.

A sweep keeps final parameters alone. `regjax plot` animates a boundary with this. The row waits at each step
and goes on from there, so that its last parameters have the bits of the sweep's.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.data import Data
from regjax.core.host import initial_params
from regjax.core.mlp import Params
from regjax.core.network import init_network
from regjax.core.random import as_key
from regjax.core.settings import own_settings
from regjax.engine.replay import as_it_was
from regjax.engine.sweep import scheduled
from regjax.study.design import Design
from regjax.study.evidence import Row
from regjax.study.results import Results

# Most snapshots of a row.
MOST = 48


class Snapshots(NamedTuple):
    """The parameters of a row while it trains.

    Attributes:
        steps: step of each snapshot, 0 first and the row's last step at the end, ascending.
        params: the parameters that predict at each step.
        same: whether the last ones are those of the results, to the bit.
    """

    steps: tuple[int, ...]
    params: tuple[Params, ...]
    same: bool


def snapshots(results: Results, row: int, *, most: int = MOST) -> Snapshots:
    """Returns the parameters of a row at steps that have a record, closer together at the beginning.

    With an average or patience they are the parameters that would predict if the row ended there.

    Args:
        results: results of a sweep that kept the parameters of this row.
        row: number of the row; it did not diverge.
        most: number of snapshots at most, at least 2.

    Raises:
        MemoryError: one network does not fit on the device.

    Example:
        >>> import regjax
        >>> from regjax.engine.snapshots import snapshots
        >>> results = regjax.sweep("moons", {"num_steps": 20, "eval_every": 10}, progress=False)
        >>> found = snapshots(results, row=0)
        >>> found.steps, found.same
        ((0, 10, 20), True)
    """
    design = results.design
    place = design.row(row)
    plan = dataclasses.replace(results.plan, keep="all")
    plan, _ = as_it_was(plan, place.configuration, results.provenance[row])
    recorded = results.steps(place.configuration)
    stopped_at = int(results.stopped_at[row])
    last = int(recorded[-1]) if stopped_at < 0 else stopped_at
    inside = recorded[(recorded > 0) & (recorded < last)]
    steps = [int(inside[k]) for k in spread(len(inside), most - 2)]
    params = [_first(design, place)]
    with scheduled(design, plan=plan, rows=[row]) as scheduler, scheduler.working():
        for step in steps:
            scheduler.aim([row], step)
            scheduler.advance()
            params.append(jax.tree.map(np.array, scheduler.held[row].predicting))
        scheduler.aim([row], None)
        scheduler.advance()
        params.append(scheduler.recorder.kept[row])
    pairs = zip(jax.tree.leaves(params[-1]), jax.tree.leaves(results.kept[row]), strict=True)
    same = all(np.array_equal(here, there) for here, there in pairs)
    return Snapshots((0, *steps, last), tuple(params), same)


def spread(count: int, most: int) -> list[int]:
    """Returns at most `most` of the places 0 to count - 1, the last among them, closer at the beginning.

    Args:
        count: number of places, >= 0.
        most: number of places at most, >= 0.

    Example:
        >>> spread(100, 5), spread(3, 5)
        ([0, 6, 25, 56, 99], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    # Squares: a boundary moves most in the first steps.
    return np.unique(np.round(np.linspace(0, 1, most) ** 2 * (count - 1)).astype(int)).tolist()


def _first(design: Design, place: Row) -> Params:
    """Returns the parameters that a row begins with."""
    drawn, config = design.drawn(place)[0], design.configs[place.configuration]
    if drawn is not None:
        return drawn
    if not config.is_plain:
        with own_settings(config.dtype):
            x = jnp.asarray(design.inputs(place.fold, design.stops_early(place.configuration))[0])
            data = Data(x, None, jnp.asarray(design.weights(place)[0]))
            return jax.tree.map(np.asarray, init_network(as_key(design.key(place)), config, data))
    found = initial_params(design.key(place)[None], config.layer_sizes, init=config.init, dtype=config.dtype)
    return jax.tree.map(lambda leaf: leaf[0], found)
