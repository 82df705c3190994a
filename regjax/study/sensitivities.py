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

        Networks that diverged are left out; a column that no network of a configuration has is NaN.
        """
        import pandas as pd

        configurations = self.design.configurations
        found: dict[str, object] = {
            name: [as_cell(value_of(each, name)) for each in configurations] for name in self.design.names
        }
        shape = len(configurations), self.design.num_replicates
        sound = np.isfinite(self.loss).reshape(shape)
        found["networks"] = sound.sum(axis=1)
        for name, values in {"val_loss": self.loss, **self.columns()}.items():
            table = values.reshape(shape)
            there = sound & np.isfinite(table)
            total = np.where(there, table, 0).sum(axis=1)
            found[name] = np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)
        return pd.DataFrame(found)

    def __str__(self) -> str:
        words = "Derivatives of the validation loss (d_: by the value, dlog_: by its logarithm), means:"
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


def _is_logarithmic(name: str) -> bool:
    """Returns whether a hyperparameter is one that is chosen on a logarithmic scale."""
    return HYPERPARAMETERS[name].range not in (PROBABILITY, SHARE) and name not in (
        "momentum",
        "end_fraction",
    )
