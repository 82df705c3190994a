"""How the validation loss of each network of a sweep changes with its hyperparameters, as values.

`engine/sensitivities.py` computes them; the command line and users read them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from regjax.core.checks import counted
from regjax.core.hparams import HYPERPARAMETERS, PROBABILITY, SHARE
from regjax.study.configuration import value_of
from regjax.study.design import Design
from regjax.study.words import as_cell

if TYPE_CHECKING:
    import pandas as pd

# Derivatives in logarithms, in losses, from which on a training is chaotic.
STEEP = 100


@dataclasses.dataclass(frozen=True)
class Sensitivities:
    """The validation loss of each network, and its derivatives in hyperparameters.

    Attributes:
        design: the design of the sweep.
        names: the hyperparameters.
        loss: validation loss after the last step, `(rows,)`.
        gradient: its derivative in each hyperparameter, `(rows, names)`; NaN where that is off, or where the
            network diverged. One that has a value for each layer is changed in all layers by the same amount.
        values: the hyperparameters, `(rows, names)`, the mean over layers.

    Example:
        >>> import regjax
        >>> config, grid = {"num_steps": 100, "activation": "tanh"}, regjax.grid(l2=[0.1, 1])
        >>> results = regjax.sweep("two_regions", config, grid, folds=3, progress=False)
        >>> regjax.sensitivities(results, ["l2"]).summary()["networks"].tolist()
        [3, 3]
    """

    design: Design
    names: tuple[str, ...]
    loss: np.ndarray
    gradient: np.ndarray
    values: np.ndarray

    def by_logarithm(self, name: str) -> np.ndarray:
        """Returns the derivative of the loss in the logarithm of a hyperparameter, `(rows,)`.

        It is the value times the derivative: a change by 1 % changes the loss by a hundredth of it.
        """
        at = self.names.index(name)
        with np.errstate(invalid="ignore", over="ignore"):  # 0 times a derivative that is not finite
            return self.values[:, at] * self.gradient[:, at]

    def columns(self) -> dict[str, np.ndarray]:
        """Returns column -> `(rows,)`: `d_NAME`, and `dlog_NAME` for what has no upper bound."""
        found = {}
        for at, name in enumerate(self.names):
            found[f"d_{name}"] = self.gradient[:, at]
            if _is_logarithmic(name):
                found[f"dlog_{name}"] = self.by_logarithm(name)
        return found

    def summary(self) -> pd.DataFrame:
        """Returns a line per configuration: its number of networks, and the mean of each column over them.

        `same_sign_NAME` is the share of the networks whose derivative has the sign of the mean: near 1 the
        sign of a mean can be believed, near a half it cannot. Folds share samples, so no standard error is
        made of them.

        Networks that diverged are left out, and not counted in `networks`. One with a finite loss whose
        derivative is not finite is in no mean of that column, but counts as one of another sign. A column
        that no network of a configuration has is NaN.
        """
        import pandas as pd

        configurations = self.design.configurations
        found: dict[str, object] = {
            name: [as_cell(value_of(each, name)) for each in configurations] for name in self.design.names
        }
        shape = len(configurations), self.design.num_replicates
        sound = np.isfinite(self.loss).reshape(shape)
        found["networks"] = sound.sum(axis=1)
        found["val_loss"] = _means(self.loss.reshape(shape), sound)
        columns = self.columns()
        for at, name in enumerate(self.names):
            for column in (f"d_{name}", f"dlog_{name}"):
                if column in columns:
                    found[column] = _means(columns[column].reshape(shape), sound)
            found[f"same_sign_{name}"] = _same_sign(self.gradient[:, at].reshape(shape), sound)
        return pd.DataFrame(found)

    def __str__(self) -> str:
        words = (
            "Derivatives of the validation loss (d_: by the value, dlog_: by its logarithm), means;\n"
            "same_sign_: share of the networks whose derivative has the sign of the mean:"
        )
        table = self.summary().to_string(index=False, float_format="{:.3g}".format, na_rep="")
        return "\n".join([words, table, *self._notes()])

    def _notes(self) -> list[str]:
        """Returns what is to be said of derivatives that say nothing about a change one would make."""
        known = np.isfinite(self.values) & np.isfinite(self.loss)[:, None]
        steep = (known & ~np.isfinite(self.gradient)).any(axis=1)
        for name in self.names:
            steep |= np.abs(self.by_logarithm(name)) > STEEP * np.abs(self.loss)  # of NaN it is not
        count = int(steep.sum())
        if not count:
            return []
        return [
            f"note: in {count:,} of {counted(len(self.loss), 'network')} a change by 1 % would change the "
            "loss by more than itself: such a training is chaotic, and its derivatives and their means say "
            "nothing; a smaller learning rate or fewer steps help"
        ]


def _means(table: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Returns the mean of what is finite in each line, of sound networks; NaN where nothing is."""
    there = sound & np.isfinite(table)
    total = np.where(there, table, 0).sum(axis=1)
    return np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)


def _same_sign(table: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Returns the share of the sound networks of each line whose entry has the sign of the line's mean."""
    means = _means(table, sound)
    same = sound & np.isfinite(table) & (np.sign(table) == np.sign(means)[:, None])
    return np.where(np.isnan(means), np.nan, same.sum(axis=1) / np.maximum(sound.sum(axis=1), 1))


def _is_logarithmic(name: str) -> bool:
    """Returns whether a hyperparameter is one that is chosen on a logarithmic scale."""
    return HYPERPARAMETERS[name].range not in (PROBABILITY, SHARE) and name not in (
        "momentum",
        "end_fraction",
    )
