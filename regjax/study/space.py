"""What `tune` searches: a space of configurations, from which candidates are drawn one after the other.

`engine/tune.py` draws from a `Space`; users write one as a mapping, or take `DEFAULT_SPACE`, and the command
line and TOML files write distributions as texts, which `distribution` reads.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.core.checks import check_count, check_known, shown
from regjax.core.hparams import HYPERPARAMETERS, OFF_VALUES
from regjax.study.configuration import CONFIG_AXES, ELSEWHERE, NAMES, Configuration, canonical, value_of
from regjax.study.words import as_text, describe

# Draws of points that are known already after which a space is taken for exhausted.
MOST_MISSES = 2_000
# Points that are drawn at once; no draw depends on it.
BLOCK = 256
_CALL = re.compile(r"(\w+)\((.*)\)")


@dataclasses.dataclass(frozen=True)
class Maybe:
    """Values of a regulariser that is off in some of the candidates.

    A regulariser whose values are a distribution is taken for `Maybe(values)`.

    Attributes:
        values: a frozen distribution of scipy.stats, a list, or a text as `distribution` reads it.
        on: probability of being on, in (0, 1]; 1 is on in every candidate.

    Raises:
        ValueError: a probability out of its range.

    Example:
        >>> import regjax
        >>> regjax.Maybe("loguniform(0.1, 10)", on=0.2).on
        0.2
    """

    values: Any
    on: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.on, bool) or not isinstance(self.on, int | float) or not 0 < self.on <= 1:
            raise ValueError(f"on must be a probability in (0, 1], got {shown(self.on)}")


class Where:
    """Values of a name that is given only where others have certain values.

    Args:
        values: as an entry of a space.
        **conditions: name -> values of it with which this name is given; the name stands earlier in the
            space.

    Example:
        >>> import regjax
        >>> space = {
        ...     "optimizer": ["sgd", "momentum"],
        ...     "momentum": regjax.Where([0.5, 0.9], optimizer=["momentum"]),
        ...     "l2": "loguniform(0.01, 10)",
        ... }
        >>> from regjax.study.space import Space
        >>> all(("momentum" in c) == (c["optimizer"] == "momentum") for c in Space.of(space).draw(20))
        True
    """

    def __init__(self, values: Any, **conditions: Sequence[Any]) -> None:
        self.values, self.conditions = values, conditions


# Strengths in decades, since nobody knows the decade before; each regulariser is off in half of the
# candidates, so that combinations of few are tried too. The five are those that the native kernel trains:
# another one is added by its name, and costs a compilation. λ of l2 and l1 is divided by the number of
# training samples. Two widths, each a program: a narrow one, a regulariser itself, and a wide one.
DEFAULT_SPACE: dict[str, Any] = {
    "learning_rate": "loguniform(0.001, 0.03)",
    "hidden": [(16,), (64,)],
    "l2": "loguniform(0.01, 30)",
    "l1": "loguniform(0.01, 10)",
    "weight_decay": "loguniform(0.001, 1)",
    "keep_prob": "uniform(0.4, 0.95)",
    "input_keep_prob": "uniform(0.6, 0.95)",
}


def default_space(optimizer: str) -> dict[str, Any]:
    """Returns `DEFAULT_SPACE` without what an optimizer does not read."""
    read = {name: HYPERPARAMETERS[name].optimizers for name in DEFAULT_SPACE if name in HYPERPARAMETERS}
    return {n: values for n, values in DEFAULT_SPACE.items() if not read.get(n) or optimizer in read[n]}


class Entry(NamedTuple):
    """A name of a space.

    Attributes:
        name: hyperparameter, or field of Config that may be an axis.
        values: a frozen distribution, or the list of values, each as likely.
        on: probability of being on.
        conditions: name -> the canonical values with which this name is given.
        is_rate: whether the values are rates of dropout, which become keep_prob = 1 - rate.
        words: the entry in words, as the command line takes it.
    """

    name: str
    values: Any
    on: float
    conditions: dict[str, tuple[Any, ...]]
    is_rate: bool
    words: str

    @property
    def is_fixed(self) -> bool:
        """Whether it has one value."""
        return isinstance(self.values, list) and len(self.values) == 1 and self.on == 1

    @property
    def is_searched(self) -> bool:
        """Whether it is a regulariser that candidates differ in, which the baseline therefore lacks."""
        return self.name in OFF_VALUES and not self.is_fixed

    def value(self, value: Any) -> Any:
        """Returns a drawn value in its one spelling."""
        return canonical(self.name, 1 - value if self.is_rate else value)

    def contains(self, value: Any) -> bool:
        """Returns whether a canonical value may be drawn."""
        if self.is_searched and value == OFF_VALUES[self.name]:
            return True
        if isinstance(self.values, list):
            return any(self.value(entry) == value for entry in self.values)
        low, high = self.values.support()
        return isinstance(value, int | float) and bool(low <= (1 - value if self.is_rate else value) <= high)


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """A space of configurations.

    Attributes:
        entries: its names, in the order in which they are drawn.
    """

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, given: Mapping[str, Any] | Space | None) -> Space:
        """Returns the space that an argument stands for; None is `DEFAULT_SPACE`.

        Args:
            given: name -> a frozen distribution of scipy.stats, a text as `distribution` reads it, a list
                (each entry as likely), a scalar (fixed), a `Maybe` or a `Where`.

        Raises:
            TypeError: no mapping, or a value of the wrong kind.
            ValueError: an unknown name, a value out of its range, no regulariser, or one point only.
        """
        if isinstance(given, Space):
            return given
        given = DEFAULT_SPACE if given is None else given
        if not isinstance(given, Mapping):
            raise TypeError(f"space must map names to distributions, got {type(given).__name__}")
        if "dropout" in given and "keep_prob" in given:
            raise ValueError("dropout and keep_prob must not both be given: keep_prob = 1 - dropout")
        entries: list[Entry] = []
        for name, values in given.items():
            check_known("space", name, (*NAMES, "dropout"), ELSEWHERE)
            entries.append(_entry(name, values, [entry.name for entry in entries]))
        found = cls(tuple(entries))
        if not any(entry.is_searched for entry in entries):
            raise ValueError(
                "space must have a regulariser with more than one value, such as l2, got "
                f"{', '.join(given) or 'none'}"
            )
        return found

    @property
    def words(self) -> dict[str, str]:
        """Each name with its values in words."""
        return {entry.name: entry.words for entry in self.entries}

    def draw(self, num: int, seed: int = 0) -> list[Configuration]:
        """Returns distinct candidates with a regulariser on; fewer than `num` where the space has no more.

        They are drawn one after the other: a larger number begins with the same ones.

        Args:
            num: number of candidates, at least 1.
            seed: seed of NumPy's generator.

        Raises:
            ValueError: a value that is drawn is out of its range.
        """
        check_count("num", num)
        found: dict[str, Configuration] = {}
        misses = 0
        for drawn in self._points(check_count("seed", seed, at_least=0)):
            key = describe(drawn)
            if key in found or not self.is_on(drawn):
                misses += 1
                if misses > MOST_MISSES:
                    break
                continue
            misses = 0
            found[key] = drawn
            if len(found) == num:
                break
        return list(found.values())

    def is_on(self, configuration: Configuration) -> bool:
        """Returns whether a regulariser that is searched is on."""
        return any(
            value_of(configuration, entry.name) != OFF_VALUES[entry.name]
            for entry in self.entries
            if entry.is_searched
        )

    def baselines(
        self, num: int, seed: int = 0, fixed: Mapping[str, Any] | None = None
    ) -> list[Configuration]:
        """Returns distinct configurations with nothing searched on, all else drawn as the candidates' is.

        Args:
            num: number of configurations, at least 1; fewer where there are no more.
            seed: as in `draw`.
            fixed: values of the baseline that are not drawn, as `check_baseline` returns them.
        """
        fixed = fixed or {}
        off = {entry.name: OFF_VALUES[entry.name] for entry in self.entries if entry.is_searched}
        found: dict[str, Configuration] = {}
        for drawn in itertools.islice(self._points(seed), num + MOST_MISSES):
            own = {**drawn, **{name: value for name, value in off.items() if name in drawn}, **fixed}
            found.setdefault(describe(own), own)
            if len(found) == num:
                break
        return list(found.values())

    def check_baseline(self, baseline: Mapping[str, Any] | None) -> Configuration:
        """Returns the values of a baseline in their one spelling.

        Raises:
            TypeError: no mapping, or a value of the wrong kind.
            ValueError: an unknown name, or a value that the space does not have.
        """
        if baseline is None:
            return {}
        if not isinstance(baseline, Mapping):
            raise TypeError(f"baseline must map names to values, got {type(baseline).__name__}")
        entries, found = {entry.name: entry for entry in self.entries}, {}
        for name, given in baseline.items():
            check_known("baseline", name, NAMES, ELSEWHERE)
            value = canonical(name, given)
            inside = entries[name].contains(value) if name in entries else value == value_of({}, name)
            if not inside:
                words = entries[name].words if name in entries else "not in it"
                raise ValueError(
                    f"baseline must be in the space, got {name}={as_text(value, 6)} ({name}: {words})"
                )
            found[name] = value
        return {name: value for name, value in found.items() if name in entries}

    def _points(self, seed: int) -> Iterator[Configuration]:
        """Yields points of the space without end, each from numbers of its own."""
        random = np.random.default_rng(seed)
        while True:
            # Two numbers an entry: whether it is on, and its value. Rows follow each other in the stream.
            uniform = random.random((BLOCK, len(self.entries), 2))
            columns = [_values(entry, uniform[:, i, 1]) for i, entry in enumerate(self.entries)]
            for point, values in enumerate(zip(*columns, strict=True)):
                drawn: Configuration = {}
                for i, (entry, value) in enumerate(zip(self.entries, values, strict=True)):
                    if all(drawn.get(name) in allowed for name, allowed in entry.conditions.items()):
                        is_on = uniform[point, i, 0] < entry.on
                        drawn[entry.name] = entry.value(value) if is_on else OFF_VALUES[entry.name]
                yield drawn


def _values(entry: Entry, uniform: np.ndarray) -> list[Any]:
    """Returns a value of an entry for each number in [0, 1)."""
    if isinstance(entry.values, list):
        return [entry.values[int(u * len(entry.values))] for u in uniform]
    return np.asarray(entry.values.ppf(uniform), float).tolist()


def _entry(name: str, given: Any, earlier: Sequence[str]) -> Entry:
    """Returns the entry of a name."""
    is_rate, name = name == "dropout", "keep_prob" if name == "dropout" else name
    conditions: dict[str, tuple[Any, ...]] = {}
    words = ""
    if isinstance(given, Where):
        if name in CONFIG_AXES:
            raise ValueError(f"{name} must not be Where: every network has it")
        for other, values in given.conditions.items():
            check_known(f"{name}: condition", other, tuple(earlier))
            values = values if isinstance(values, list | tuple) else [values]
            conditions[other] = tuple(canonical(other, value) for value in values)
            words += f" where {other} is {'/'.join(as_text(value, 6) for value in conditions[other])}"
        given = given.values
    on = None
    if isinstance(given, Maybe):
        if name not in OFF_VALUES:
            raise ValueError(f"{name} must not be Maybe: it has no value that is off")
        given, on = given.values, float(given.on)
    if isinstance(given, str):
        given, written = distribution(name, given)
        on = written if on is None else on
    if hasattr(given, "ppf"):
        if not hasattr(given, "dist"):
            raise TypeError(f"{name} must have its parameters, as loguniform(1e-4, 1), got {shown(given)}")
        on = (0.5 if name in OFF_VALUES else 1.0) if on is None else on
        text = _distribution_in_words(given)
    else:
        values = given if isinstance(given, list) else [given]
        if not values:
            raise ValueError(f"{name} must have at least one value, got none")
        # Checked once here; a rate of dropout is turned where it is drawn.
        for value in values:
            canonical(name, 1 - value if is_rate else value)
        given, on = values, 1.0 if on is None else on
        text = ",".join(as_text(value if is_rate else canonical(name, value), 6) for value in values)
    words = text + (f", on with probability {on:g}" if on < 1 else "") + words
    entry = Entry(name, given, on, conditions, is_rate, words)
    if not isinstance(given, list):
        entry.value(float(given.ppf(0.5)))  # raises what is wrong with a draw
    return entry


def _distribution_in_words(given: Any) -> str:
    if given.dist.name in ("loguniform", "reciprocal", "uniform"):
        low, high = given.support()
        return f"{'uniform' if given.dist.name == 'uniform' else 'loguniform'}({low:.6g}, {high:.6g})"
    named = [f"{key}={value!r}" for key, value in given.kwds.items()]
    return f"{given.dist.name}({', '.join([*map(str, given.args), *named])})"


def distribution(name: str, text: str) -> tuple[Any, float | None]:
    """Returns the distribution or list of values that a text names, and the probability of being on or None.

    Args:
        name: name of the entry, for messages.
        text: "loguniform(0.001, 10)", "uniform(0.4, 0.95)", both with their two ends; "always(…)" around
            one of them for a regulariser that is on in every candidate; or a word, such as an optimizer.

    Raises:
        ValueError: an unknown distribution, or ends that are none.

    Example:
        >>> from regjax.study.space import distribution
        >>> [round(float(distribution("l2", "loguniform(0.01, 1)")[0].ppf(u)), 3) for u in (0, 0.5, 1)]
        [0.01, 0.1, 1.0]
    """
    call = _CALL.fullmatch(text.strip())
    if call is None:
        return [text], None
    function, inside = call.groups()
    check_known(f"{name}: distribution", function, ("loguniform", "uniform", "always"))
    if function == "always":
        return distribution(name, inside)[0], 1.0
    from scipy import stats

    try:
        low, high = (float(part) for part in inside.split(","))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
        if function == "loguniform" and low <= 0:
            raise ValueError
    except ValueError:
        wanted = "two ends, the lower one first" + (" and above 0" if function == "loguniform" else "")
        raise ValueError(f"{name}: {function} must have {wanted}, got {shown(text)}") from None
    return stats.loguniform(low, high) if function == "loguniform" else stats.uniform(low, high - low), None
