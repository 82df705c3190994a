"""What population-based training decides between two segments: who is replaced, by whom, and what changes.

`engine/population.py` calls it. Nothing is trained here: all functions are pure, and draw from the generator
that they are handed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.core.checks import shown
from regjax.core.config import Config
from regjax.core.hparams import (
    ABSENT,
    CHEAP,
    HYPERPARAMETERS,
    OFF_VALUES,
    HParams,
    check_hparams,
    compiled_in,
    switched_on,
)
from regjax.study.configuration import Configuration, as_hparams, canonical
from regjax.study.grid import random_grid, resolve_axes
from regjax.study.selection import ranking
from regjax.study.words import in_order

# Hyperparameters that say when a run ends or is averaged: numbers of steps or epochs, not strengths.
FIXED = ("patience", "average_from", "tol", "n_iter_no_change")
# Draws of the first population for each member, of which equal ones are left out.
DRAWS = 8


class Explore(NamedTuple):
    """How a population changes between two segments.

    Attributes:
        quantile: fraction of the members that are replaced, and of those that they are replaced by.
        resample: probability that a hyperparameter of a new copy is drawn anew instead of multiplied.
        factors: numbers > 0 by one of which a hyperparameter is multiplied, each as likely.

    References:
        Jaderberg et al. 2017, "Population based training of neural networks", §4.1.1.
    """

    quantile: float = 0.25
    resample: float = 0.25
    factors: tuple[float, ...] = (0.8, 1.25)


def check_explore(explore: Explore) -> Explore:
    """Returns `explore`, checked.

    Raises:
        TypeError: it is no `Explore`.
        ValueError: a number out of its range; names it.
    """
    if not isinstance(explore, Explore):
        raise TypeError(f"explore must be a regjax.Explore, got {type(explore).__name__}")
    if not 0 < explore.quantile <= 0.5:
        raise ValueError(f"quantile must be in (0, 0.5], got {shown(explore.quantile)}")
    if not 0 <= explore.resample <= 1:
        raise ValueError(f"resample must be in [0, 1], got {shown(explore.resample)}")
    if not explore.factors or not all(0 < factor < math.inf for factor in explore.factors):
        raise ValueError(f"factors must be finite numbers > 0, got {shown(explore.factors)}")
    return explore


@dataclasses.dataclass(frozen=True)
class Space:
    """The hyperparameters that a population explores.

    Attributes:
        given: the space as the user gave it, which `random_grid` draws from.
        ranges: name -> lowest and highest value of a hyperparameter with a distribution.
        choices: name -> values of a hyperparameter with a list, in order.
    """

    given: Mapping[str, Any]
    ranges: dict[str, tuple[float, float]]
    choices: dict[str, list[Any]]

    @property
    def explored(self) -> tuple[str, ...]:
        """Names of the hyperparameters that change."""
        return (*self.ranges, *self.choices)

    def draw(self, count: int, seed: int) -> list[Configuration]:
        """Returns distinct random configurations.

        Raises:
            ValueError: the space has fewer.
        """
        found = list(random_grid(DRAWS * count, seed=seed, **self.given))[:count]
        if len(found) < count:
            raise ValueError(
                f"space must have at least {count} points for as many members, got {len(found)}: "
                "take distributions, or a smaller size"
            )
        return found

    def perturbed(
        self, configuration: Configuration, explore: Explore, rng: np.random.Generator
    ) -> Configuration:
        """Returns a configuration near another: each hyperparameter is multiplied or drawn anew.

        Of a probability of keeping it is the rate, 1 minus it, that is multiplied; a value of a list goes to
        a neighbour.
        """
        (anew,) = random_grid(1, seed=int(rng.integers(2**31)), **self.given)
        found = dict(configuration)
        for name in self.explored:
            # Drawn whether used or not, so that what one hyperparameter does moves no other's draws.
            resample, factor, up = rng.random(), rng.choice(explore.factors), bool(rng.integers(2))
            if resample < explore.resample:
                found[name] = anew[name]
            elif name in self.choices:
                values = self.choices[name]
                place = values.index(configuration[name]) + (1 if up else -1)
                found[name] = values[min(max(place, 0), len(values) - 1)]
            else:
                found[name] = canonical(name, self._multiplied(name, configuration[name], float(factor)))
        return found

    def _multiplied(self, name: str, value: float, factor: float) -> float:
        """Returns a value times a factor, inside its range."""
        rate = HYPERPARAMETERS[name].meaning == "rate"
        value = 1 - (1 - value) * factor if rate else value * factor
        low, high = self.ranges[name]
        return min(max(value, low), high)


def as_space(given: Any) -> Space:
    """Returns the space that a user asks for, checked.

    Args:
        given: names to frozen distributions of scipy.stats, lists or fixed values, as in `random_grid`.

    Raises:
        TypeError: no mapping, or a value of the wrong kind.
        ValueError: nothing to explore, a name that is unknown or compiled in, or a value out of its range.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"space must be a mapping of names to distributions or lists, got {shown(given)}")
    ranges: dict[str, tuple[float, float]] = {}
    choices: dict[str, list[Any]] = {}
    for asked, value in given.items():
        # The draw says what name and values a `dropout` has, and refuses what is no distribution.
        ((name, drawn),) = next(iter(random_grid(1, **{asked: value}))).items()
        if hasattr(value, "ppf"):
            low, high = (float(end) for end in value.support())
            ranges[name] = (1 - high, 1 - low) if asked == "dropout" else (low, high)
        elif isinstance(value, list) and len(found := resolve_axes({asked: value})[name]) > 1:
            choices[name] = in_order(found)
        elif name == "patience" and drawn != OFF_VALUES[name]:
            raise ValueError("patience must be off: the members of a population train to the last step")
    for name in (*ranges, *choices):
        if name not in HParams._fields:
            raise ValueError(
                f"space must explore hyperparameters, and {name} is compiled in: give it in config"
            )
        if name in FIXED:
            raise ValueError(f"space must explore strengths and rates, and {name} counts steps or epochs")
        if name in ABSENT and name not in CHEAP and OFF_VALUES[name] in choices.get(name, ()):
            raise ValueError(
                f"space must have {name} on in all members or in none: off is another program, got both"
            )
    if not ranges and not choices:
        raise ValueError("space must have a distribution or a list of values to explore, got none")
    return Space(given, ranges, choices)


def in_one_program(config: Config, configurations: Sequence[Configuration]) -> tuple[HParams, ...]:
    """Returns the hyperparameters of configurations with the same regularisers compiled in.

    Raises:
        ValueError: a value out of its range.
    """
    found = [check_hparams(config, as_hparams(configuration)) for configuration in configurations]
    on = {name for hparams in found for name in switched_on(hparams)}
    return tuple(with_compiled_in(config, hparams, on) for hparams in found)


def with_compiled_in(config: Config, hparams: HParams, names: set[str] | Sequence[str]) -> HParams:
    """Returns hyperparameters with these regularisers on, at their off values where they are off.

    Raises:
        ValueError: a regulariser whose off is another program.
    """
    for name in names:
        if getattr(hparams, name) is None and name not in CHEAP:
            raise ValueError(f"{name} must be on in all members or in none: off is another program")
    return compiled_in(hparams, [name for name in ABSENT if name in names], config)


def replaced_by(
    scores: np.ndarray, higher: bool, explore: Explore, rng: np.random.Generator
) -> dict[int, int]:
    """Returns members -> the members that they become copies of (truncation selection).

    Those that diverged and the worst `quantile` are replaced, each by a random one of the best `quantile`.

    Args:
        scores: of the members, `(members,)`, NaN where one diverged.
        higher: whether more is better.
        explore: the quantile.
        rng: generator of the draws.

    Example:
        >>> scores = np.array([0.9, 0.2, np.nan, 0.8, 0.7, 0.6, 0.5, 0.4])
        >>> sorted(replaced_by(scores, True, Explore(), np.random.default_rng(0)))
        [1, 2]
    """
    order, alive = ranking(scores, higher), int(np.sum(~np.isnan(scores)))
    count = max(1, int(explore.quantile * len(scores)))
    # Of few that are alive none is both copied and replaced.
    best, worst = order[: max(1, min(count, alive // 2))], order[max(min(len(scores) - count, alive), 1) :]
    return {int(member): int(rng.choice(best)) for member in worst}
