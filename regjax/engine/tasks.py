"""Makes the task of a chunk: what `engine/scheduler.py` submits to a worker."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import numpy as np

from regjax.core.config import Config
from regjax.core.hparams import HParams, compiled_in
from regjax.core.mlp import Params
from regjax.engine.inputs import Inputs
from regjax.engine.lanes import ChunkTask, Replicates
from regjax.engine.packing import Chunk, stack
from regjax.engine.tiles import is_fused, shape_for
from regjax.native.library import find
from regjax.study.design import Design
from regjax.study.groups import Group
from regjax.study.provenance import Loop, provenance


def task_of(
    design: Design,
    group: Group,
    chunk: Chunk,
    ends: tuple[int, ...],
    measured: tuple[bool, ...],
    inputs: Inputs | None = None,
) -> ChunkTask:
    """Returns the task that trains a chunk up to the last of `ends`.

    Args:
        design: the design of the sweep.
        group: the group of the chunk; its slots and lanes are the shape of the task.
        chunk: the rows to train, with their states.
        ends: steps at which the compiled program returns, as `ends_from` gives them.
        measured: for each end, whether a record is taken there.
        inputs: inputs of all folds on the device; None stacks those of the chunk.
    """
    lanes, loop = chunk.lanes(group), loop_of(design, group)
    replicates, hparams = chunk.inputs or (
        replicates_of(
            design, lanes[:, 0] if group.shared else lanes, inputs, group.config.batch_size is not None
        ),
        hparams_of(design, group, lanes),
    )
    # Per-example scores are of the final parameters, which a row that stops early may have at any end.
    may_end = ends[-1] == group.config.num_steps or group.stops_early
    return ChunkTask(
        config=group.config.program(),
        replicates=replicates,
        hparams=hparams,
        states=chunk.states,
        start=chunk.step,
        ends=ends,
        measured=measured,
        num_batches=group.num_batches,
        num_steps=group.config.num_steps,
        params=_first_params(design, lanes) if chunk.states is None else None,
        want_examples=design.splits.kind == "validation" and may_end,
        loop=loop,
        idle=_idle(chunk, lanes.shape) if loop == "native" else np.False_,
        padded_to=group.padded_to,
    )


def _idle(chunk: Chunk, shape: tuple[int, ...]) -> np.ndarray:
    """Returns which lanes of a chunk have no row whose results are read."""
    idle = np.ones(shape, bool)
    for i, j, _ in chunk.places:
        idle[i, j] = False
    return idle


def loop_of(design: Design, group: Group) -> Loop:
    """Returns what trains chunks of a group on this machine."""
    if is_native(group):
        return "native"
    return "fused" if group.kernel == "auto" and _trains_fused(design, group) else "plain"


def is_native(group: Group) -> bool:
    """Returns whether the native kernel trains a group on this machine."""
    # A stored sweep may have been planned for it where it could be built.
    on_cpu = jax.default_backend() == "cpu"
    return group.kernel == "native" and on_cpu and find(group.config.dtype).library is not None


def _trains_fused(design: Design, group: Group) -> bool:
    """Returns whether this machine trains chunks of a group by the kernel of a GPU."""
    # The kernel reads the same targets for all replicates.
    if design.has_own_targets or not is_fused(group.config, group.on):
        return False
    columns = group.config.batch_size or design.padded.x.shape[1]
    replicates = group.slots if group.shared else group.chunk
    return shape_for(group.config, columns, group.chunk, replicates) is not None


def how(design: Design, group: Group) -> str:
    """Returns the provenance of rows that this machine trains in chunks of a group."""
    loop = loop_of(design, group)
    built = find(group.config.dtype).how if loop == "native" else ""
    return provenance(
        group.slots, group.lanes, group.shared, group.on, loop, built, padded_to=group.padded_to
    )


def ends_from(
    config: Config, start: int, steps: int, last: int | None = None
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Returns the steps at which a task's program returns, and at which of them a record is taken.

    Args:
        config: the config of the rows; it says at which steps records are due.
        start: the step at which the task begins.
        steps: the number of steps that the task should take, at least 1. It ends at the first record after as
            many; a record that is more than twice as far away is reached by several tasks.
        last: the step at which it ends at the latest, one with a record; None is the last of the run.

    Example:
        >>> from regjax.core.config import Config
        >>> ends_from(Config(num_steps=100, eval_every=10), start=20, steps=15)
        ((30, 40), (True, True))
        >>> ends_from(Config(num_steps=100, eval_every=100), start=20, steps=15)
        ((35,), (False,))
    """
    ends, measured, step = [], [], start
    last = config.num_steps if last is None else last
    while step < last and step - start < steps:
        record = min((step // config.eval_every + 1) * config.eval_every, config.num_steps)
        step = record if record - start <= 2 * steps else start + steps
        ends.append(step)
        measured.append(step == record)
    return tuple(ends), tuple(measured)


def hparams_of(design: Design, group: Group, lanes: np.ndarray) -> HParams:
    """Returns the hyperparameters of rows of a group, leaves `(*lanes.shape, …)`."""
    # An accelerator's chunk has the same configuration in many lanes: each is made once.
    own, places = np.unique(lanes // design.num_replicates, return_inverse=True)
    found = [compiled_in(design.hparams[int(index)], group.on, group.config) for index in own]
    return jax.tree.map(lambda leaf: leaf[places.reshape(lanes.shape)], stack(found, (len(own),)))


def replicates_of(
    design: Design, rows: np.ndarray, inputs: Inputs | None = None, in_batches: bool = False
) -> Replicates:
    """Returns the data, weights and keys of rows; leaves that differ between rows are `(*rows.shape, …)`.

    Args:
        design: design of the sweep.
        rows: numbers of the rows, of any shape.
        inputs: inputs of all folds on the device; None stacks those of the rows.
        in_batches: whether the rows train on minibatches, which are gathered from the samples of `inputs`.
    """
    places = [design.row(row) for row in rows.ravel()]
    stacked = functools.partial(stack, shape=rows.shape)
    stops = {index: design.stops_early(index) for index in {place.configuration for place in places}}
    kinds = [(place.fold, stops[place.configuration]) for place in places]
    # One entry of each kind: an accelerator's chunk has tens of thousands of lanes.
    of_kind = {kind: design.weights(place) for kind, place in dict(zip(kinds, places, strict=True)).items()}
    weights = [of_kind[kind] for kind in kinds]
    train, val, watched = (
        None if part[0] is None else stacked(list(part)) for part in zip(*weights, strict=True)
    )
    if inputs is None:
        x, test_x = _of_folds(design.inputs, kinds, rows.shape, differ=design.has_own_inputs)
        placed = {"x": x, "test_x": test_x}
    else:
        placed = inputs.of(kinds, rows.shape, in_batches)
    y, test_y = _of_folds(design.targets, kinds, rows.shape, differ=design.has_own_targets)
    test = design.padded_test
    orders = [design.drawn(place)[1] for place in places]
    return Replicates(
        key=stacked([design.key(place) for place in places]),
        y=y,
        train=train,
        val=val,
        watched=watched,
        orders=None if orders[0] is None else stacked(orders),
        test_y=test_y,
        test=None if test is None else test.weights,
        **placed,
    )


def _of_folds(
    arrays_of: Callable[[int, bool], tuple[np.ndarray, np.ndarray | None]],
    kinds: list[tuple[int, bool]],
    shape: tuple[int, ...],
    *,
    differ: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the arrays of all samples and of the test samples, None without a test set.

    Args:
        arrays_of: (fold, whether early stopping watches samples) -> the two arrays.
        kinds: the fold, and whether early stopping watches samples, of each row.
        shape: leading axes of the arrays where the folds differ.
        differ: whether the folds differ.
    """
    if not differ:  # the same for all rows: without leading axes it is copied to the device once
        return arrays_of(*kinds[0])
    arrays, tests = zip(*(arrays_of(*kind) for kind in kinds), strict=True)
    return stack(list(arrays), shape), None if tests[0] is None else stack(list(tests), shape)


def _first_params(design: Design, lanes: np.ndarray) -> Params | None:
    """Returns the initial parameters of rows, `(R, r, …)`, or None where JAX draws them from the key."""
    found = [design.drawn(design.row(row))[0] for row in lanes.ravel()]
    return None if found[0] is None else stack(found, lanes.shape)
