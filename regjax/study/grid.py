"""Grids of configurations: products of axes, unions, lists, random and quasi-random designs.

`regjax.sweep` takes what `as_grid` takes; the command line reads its axes with `resolve_axes`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from regjax.core.checks import check_count, check_known, shown
from regjax.study.configuration import ELSEWHERE, NAMES, Configuration, canonical, key_of, value_of

# Most configurations of a product, which is held in memory.
MAX_CONFIGURATIONS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Grid:
    """Distinct configurations in a fixed order.

    Attributes:
        configurations: each a mapping from every name that the grid mentions to its canonical value.

    Example:
        >>> import regjax
        >>> found = regjax.grid(l2=[0, 0.1], keep_prob=[1, 0.8])
        >>> len(found)
        4
    """

    configurations: tuple[Configuration, ...]

    def __len__(self) -> int:
        return len(self.configurations)

    def __iter__(self) -> Iterator[Configuration]:
        return iter(self.configurations)

    def __add__(self, other: object) -> Grid:
        """Returns the union; a configuration that is in both is there once."""
        if not isinstance(other, Grid):
            return NotImplemented
        return _distinct(itertools.chain(self, other))

    @property
    def axes(self) -> dict[str, list[Any]]:
        """Names that take more than one value, each with its values in order of appearance."""
        found: dict[str, list[Any]] = {}
        for name in dict.fromkeys(itertools.chain.from_iterable(self)):
            values = list(dict.fromkeys(value_of(c, name) for c in self))
            if len(values) > 1:
                found[name] = values
        return found


def grid(**axes: Any) -> Grid:
    """Returns the product of axes.

    A list (or a one-dimensional array) is an axis, a scalar a fixed value, a tuple one value per layer;
    inside a list, tuples are values. Hyperparameters are those of `HParams`, and `dropout` (a rate) for
    keep_prob = 1 - dropout; of `Config`, `hidden` (units of the hidden layers, a tuple), `activation`,
    `optimizer`, `batch_size`, `init`, `norm`, `embedding` and `members` may be axes too. The first name
    varies slowest.

    Raises:
        TypeError: a value of the wrong kind; names the axis.
        ValueError: an unknown axis, an empty one, dropout beside keep_prob, a value out of its range.

    Example:
        >>> import regjax
        >>> design = regjax.grid(l2=[0, 0.1], keep_prob=[1, (0.9, 0.8)], learning_rate=0.3)
        >>> len(design)
        4
        >>> list(design)[1]
        {'l2': 0.0, 'keep_prob': (0.9, 0.8), 'learning_rate': 0.3}
    """
    columns = resolve_axes(axes)
    count = math.prod(map(len, columns.values()))
    if count > MAX_CONFIGURATIONS:
        raise ValueError(f"grid must have at most {MAX_CONFIGURATIONS:,} configurations, got {count:,}")
    return _distinct(dict(zip(columns, v, strict=True)) for v in itertools.product(*columns.values()))


def resolve_axes(axes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Returns each axis with its distinct canonical values; arguments and errors as in `grid`."""
    return {name: _axis_values(name, values) for name, values in _renamed(dict(axes)).items()}


def grid_from_list(configurations: Iterable[Mapping[str, Any]]) -> Grid:
    """Returns a grid of the configurations as they are listed; each is a mapping as `grid` takes scalars.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: an unknown name or a value out of its range.
    """
    found = []
    for configuration in configurations:
        if not isinstance(configuration, Mapping):
            raise TypeError(f"configurations must be mappings of names to values, got {shown(configuration)}")
        named = _renamed(dict(configuration))
        found.append({name: canonical(name, value) for name, value in named.items()})
    if not found:
        raise ValueError("configurations must not be empty, got none")
    return _distinct(found)


def random_grid(num: int, *, seed: int = 0, **distributions: Any) -> Grid:
    """Returns `num` random configurations; fewer where some are drawn twice.

    Each value is a frozen distribution of scipy.stats (drawn from), a list (one entry, each as likely), or
    a scalar (fixed).

    Args:
        num: number of configurations, at least 1.
        seed: seed of NumPy's generator.
        **distributions: name -> distribution, list or scalar.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: as in `grid`, and draws outside a hyperparameter's range.

    References:
        Bergstra & Bengio 2012.

    Example:
        >>> import regjax
        >>> from scipy.stats import loguniform
        >>> found = regjax.random_grid(8, l2=loguniform(0.01, 10), keep_prob=[1, 0.8])
        >>> len(found)
        8
    """
    check_count("num", num)
    uniform = np.random.default_rng(check_count("seed", seed, at_least=0)).random
    return _design(uniform((num, max(1, _num_random(distributions)))), distributions)


def sobol_grid(num: int, *, seed: int = 0, **distributions: Any) -> Grid:
    """Returns `num` quasi-random configurations: scrambled Sobol points through the inverse distributions.

    Arguments and errors as in `random_grid`; a power of two for `num` balances best.

    Example:
        >>> import regjax
        >>> from scipy.stats import loguniform
        >>> len(regjax.sobol_grid(8, l2=loguniform(0.01, 10)))
        8
    """
    from scipy.stats import qmc

    check_count("num", num)
    seed = check_count("seed", seed, at_least=0)
    sampler = qmc.Sobol(max(1, _num_random(distributions)), rng=np.random.default_rng(seed))
    return _design(sampler.random_base2(math.ceil(math.log2(num)))[:num], distributions)


def as_grid(value: Any) -> Grid:
    """Returns the grid that an argument stands for: a `Grid`, a mapping of axes, a list of mappings, or None.

    Raises:
        TypeError: anything else.
        ValueError: as in `grid` and `grid_from_list`.
    """
    if value is None:
        return grid()
    if isinstance(value, Grid):
        return value
    if isinstance(value, Mapping):
        return grid(**value)
    if isinstance(value, list | tuple):
        return grid_from_list(value)
    raise TypeError(f"grid must be a regjax.Grid, a dict or a list of dicts, got {type(value).__name__}")


def _num_random(distributions: Mapping[str, Any]) -> int:
    return sum(_is_random(value) for value in distributions.values())


def _is_random(value: Any) -> bool:
    if hasattr(value, "ppf") and not hasattr(value, "dist"):
        raise TypeError(
            f"distributions must have their parameters, as loguniform(1e-4, 1), got {shown(value)}"
        )
    return hasattr(value, "ppf") or isinstance(value, list)


def _design(points: np.ndarray, distributions: Mapping[str, Any]) -> Grid:
    """Returns a configuration for each of `points`, `(num, random names)`, uniform on [0, 1)."""
    names = _renamed(dict(distributions))
    columns = iter(points.T)
    drawn: dict[str, list[Any]] = {}
    for name, given in zip(names, distributions.values(), strict=True):
        # A rate is drawn from its own distribution, and turned into keep_prob after that.
        is_rate = "dropout" in distributions and name == "keep_prob"
        if hasattr(given, "ppf"):
            values = np.asarray(given.ppf(next(columns)), float).tolist()
            values = [1 - v for v in values] if is_rate else values
        elif isinstance(given, list):
            choices = _axis_values(name, names[name])
            values = [choices[int(u * len(choices))] for u in next(columns)]
        else:
            values = [names[name]] * len(points)
        drawn[name] = [canonical(name, value) for value in values]
    return _distinct(dict(zip(drawn, v, strict=True)) for v in zip(*drawn.values(), strict=True))


def _axis_values(name: str, values: Any) -> list[Any]:
    is_axis = isinstance(values, list | range) or (isinstance(values, np.ndarray) and values.ndim == 1)
    if not is_axis:
        return [canonical(name, values)]
    if len(values) == 0:
        raise ValueError(f"{name} must have at least one value, got an empty axis")
    return list(dict.fromkeys(canonical(name, v) for v in values))


def _renamed(axes: dict[str, Any]) -> dict[str, Any]:
    """Returns the axes with `dropout` turned into keep_prob, all names checked."""
    if "dropout" in axes and "keep_prob" in axes:
        raise ValueError("dropout and keep_prob must not both be given: keep_prob = 1 - dropout")
    for name in axes:
        check_known("axis", name, (*NAMES, "dropout"), ELSEWHERE)
    return {"keep_prob" if n == "dropout" else n: _kept(v) if n == "dropout" else v for n, v in axes.items()}


def _kept(rate: Any) -> Any:
    """Returns 1 - rate, inside lists and tuples too; distributions are turned where they are drawn."""
    if hasattr(rate, "ppf"):
        return rate
    if isinstance(rate, list | tuple):
        return type(rate)(_kept(entry) for entry in rate)
    if isinstance(rate, np.ndarray):
        return 1 - rate
    if rate is None or (isinstance(rate, str) and rate == "none"):
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.number) or not 0 <= rate < 1:
        raise ValueError(f"dropout must be a rate in [0, 1), got {shown(rate)}")
    return 1 - rate


def _distinct(configurations: Iterable[Configuration]) -> Grid:
    seen: dict[tuple[Any, ...], Configuration] = {}
    for configuration in configurations:
        # A name that is missing has its default, so {} and {"l2": 0} are one configuration.
        seen.setdefault(key_of(configuration), configuration)
    return Grid(tuple(seen.values()))
