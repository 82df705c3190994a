"""The inputs of a sweep on the device, once for all its chunks.

`engine/scheduler.py` makes `Inputs` where tasks run on threads of a CPU, and `engine/tasks.py` takes the
inputs of a chunk from them. Processes and accelerators get the inputs of their lanes with each task.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from regjax.core.settings import own_settings
from regjax.study.design import Design
from regjax.study.plan import INPUTS_BUDGET


class Inputs:
    """Inputs of the samples and of the test set, as all folds see them.

    Args:
        design: design of the sweep.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        early = {design.stops_early(index) for index in range(len(design.configs))}
        folds = range(design.num_folds)
        self._kinds = sorted({self._kind(fold, stops) for fold in folds for stops in early})

    def _kind(self, fold: int, stops: bool) -> tuple[int, bool]:
        """Returns the fold and kind of networks whose inputs those of a fold are: few differ."""
        # Statistics are of the training part, to which watched samples do not belong.
        own = self.design.standardize or self.design.coded
        return fold if self.design.has_own_inputs else 0, stops and own

    @property
    def fit(self) -> bool:
        """Whether they may be put on the device at once."""
        itemsize = np.dtype(self.design.configs[0].dtype).itemsize
        per_kind = 2 * len(self.design.input_names) * self.design.padded.x.shape[1] * itemsize
        return len(self._kinds) == 1 or len(self._kinds) * per_kind <= INPUTS_BUDGET

    def of(self, kinds: list[tuple[int, bool]], shape: tuple[int, ...], in_batches: bool) -> dict[str, Any]:
        """Returns the fields `x`, `test_x`, `rows` and `fold` of the replicates of a chunk.

        Args:
            kinds: fold, and whether early stopping watches samples, of each replicate.
            shape: leading axes of the replicates.
            in_batches: whether minibatches are gathered from the samples.
        """
        found = dict(self._placed)
        if in_batches:
            found["rows"] = self._rows
        if len(self._kinds) > 1:
            place = {kind: index for index, kind in enumerate(self._kinds)}
            found["fold"] = np.array([place[self._kind(*kind)] for kind in kinds], np.int32).reshape(shape)
        return found

    @functools.cached_property
    def _placed(self) -> dict[str, Any]:
        """Inputs of samples and of the test set on the device, with an axis of kinds where those differ."""
        x, test = zip(*(self.design.inputs(*kind) for kind in self._kinds), strict=True)
        return {"x": self._put(x), "test_x": None if test[0] is None else self._put(test)}

    @functools.cached_property
    def _rows(self) -> Any:
        """Inputs of the samples on the device, sample by sample."""
        return self._put([self.design.inputs(*kind)[0].T for kind in self._kinds])

    def _put(self, arrays: Any) -> Any:
        whole = np.stack(arrays) if len(self._kinds) > 1 else np.ascontiguousarray(arrays[0])
        with own_settings(self.design.configs[0].dtype):
            return jax.block_until_ready(jax.device_put(whole))
