"""The data, weights and keys that a chunk's lanes train on, and functions mapped over its lanes.

`engine/tasks.py` makes `Replicates`; `engine/lanes.py`, `engine/measures.py` and `engine/orders.py` map their
programs over slots and lanes with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Replicates(NamedTuple):
    """The data, weights and keys that the lanes of a chunk train on.

    A leaf that differs between replicates has leading axes `(R,)` in a shared chunk and `(R, r)` in an
    unshared one, written `…` below; the others have none. `axes` says which is which.

    Attributes:
        key: key data of each replicate, `(…, 2)` uint32.
        x: inputs of all samples, `(n_features, n)`; `(…, n_features, n)` where each fold is standardised by
            its own training part or has inputs of its own; `(F, n_features, n)` where `fold` is given.
        y: targets of all samples; with leading axes where each fold has targets standardised by its own
            training part.
        train: training weights, `(…, n)`.
        val: validation weights, `(…, n)`, or None without a validation part.
        watched: weights of the samples that early stopping watches, `(…, n)`, or None without early stopping.
        orders: order of the samples in each epoch, `(…, epochs, n)`, or None where the loop draws it.
        test_x: inputs of the test set, with leading axes where `x` has them, or None without a test set.
        test_y: targets of the test set, with leading axes where `y` has them, or None.
        test: weights of the test set, without leading axes, or None.
        fold: number of the replicate's inputs among the F of `x`, `test_x` and `rows`, `(…)`; None where
            those have no such axis.
        rows: the inputs sample by sample, `(n, n_features)` or `(F, n, n_features)`, from which minibatches
            are gathered; None where each segment transposes `x`.
    """

    key: Any
    x: Any
    y: Any
    train: Any
    val: Any = None
    watched: Any = None
    orders: Any = None
    test_x: Any = None
    test_y: Any = None
    test: Any = None
    fold: Any = None
    rows: Any = None

    @property
    def own_x(self) -> Any:
        """Inputs of all samples as one replicate sees them, `(n_features, n)`, inside of `over_lanes`."""
        return self.x if self.fold is None else self.x[self.fold]

    def block(self, start: Any, size: int) -> jax.Array:
        """Returns the inputs of `size` samples from `start` on, as `own_x` has them."""
        return self._block(self.x, start, size)

    def test_block(self, start: Any, size: int) -> jax.Array:
        """Returns the inputs of `size` samples of the test set from `start` on."""
        return self._block(self.test_x, start, size)

    def _block(self, x: Any, start: Any, size: int) -> jax.Array:
        if self.fold is None:
            return lax.dynamic_slice_in_dim(x, start, size, axis=1)
        # One slice: x[fold] alone would be a copy of all samples for each lane.
        at = (self.fold, jnp.int32(0), jnp.asarray(start, jnp.int32))
        return lax.dynamic_slice(x, at, (1, x.shape[1], size))[0]

    def samples(self, chosen: jax.Array) -> jax.Array:
        """Returns the inputs of chosen samples as one replicate sees them, `(chosen, n_features)`."""
        return self.rows[chosen] if self.fold is None else self.rows[self.fold, chosen]

    @property
    def shared(self) -> bool:
        """Whether all lanes of a slot belong to one replicate."""
        return np.ndim(self.key) == 2

    def axes(self, of_replicate: int | None) -> Replicates:
        """Returns the `in_axes` of `jax.vmap` for each leaf.

        Args:
            of_replicate: axis of the leaves that differ between replicates, or None to map none of them.
        """
        of_x, of_y = (of_replicate if np.ndim(leaf) > 2 else None for leaf in (self.x, self.y))
        if self.fold is not None:  # the folds' inputs lie side by side, for all replicates
            of_x = None
        return Replicates(
            key=of_replicate,
            x=of_x,
            y=of_y,
            train=of_replicate,
            val=None if self.val is None else of_replicate,
            watched=None if self.watched is None else of_replicate,
            orders=None if self.orders is None else of_replicate,
            test_x=None if self.test_x is None else of_x,
            test_y=None if self.test_y is None else of_y,
            fold=None if self.fold is None else of_replicate,
        )


def per_lane(replicates: Replicates, num_lanes: int) -> Replicates:
    """Returns the replicates of a shared chunk with leading axes `(R, r)` in place of `(R,)`.

    Records are always computed as in an unshared chunk: XLA's order of summation, and with it the last bit
    of a metric, depends on whether the weights are mapped over lanes. A row's record must not depend on how
    many other rows there are, and that decides whether its chunk is shared.
    """
    leaves = [
        leaf if axis is None else jnp.repeat(leaf[:, None], num_lanes, axis=1)
        for leaf, axis in zip(replicates, replicates.axes(0), strict=True)
    ]
    # The barrier keeps XLA from noticing that the lanes are equal and summing once for all of them.
    return lax.optimization_barrier(Replicates(*leaves))


def over_lanes(run: Callable[..., Any], replicates: Replicates, num_mapped: int) -> Callable[..., Any]:
    """Returns `run(replicates, *arguments)` mapped over slots and lanes; `num_mapped` arguments follow.

    Two nested `vmap`s also where nothing is shared: for small matrices XLA's CPU compiler multiplies much
    faster with two batch dimensions than with one (docs/design.md).
    """
    mapped = (0,) * num_mapped
    inner = replicates.axes(None if replicates.shared else 0)
    outer = replicates.axes(0)
    return jax.vmap(jax.vmap(run, in_axes=(inner, *mapped)), in_axes=(outer, *mapped))
