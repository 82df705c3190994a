"""Successive halving and Hyperband as arithmetic: rungs, how many go on, and which rows those are.

`engine/tuning.py` makes its rungs and arenas here, and `engine/searching.py` decides with `goes_on`; a search
that halves by other means can take `rung_steps` and `numbers` alone.

References:
    Jamieson & Talwalkar 2016 (successive halving); Li et al. 2018 (Hyperband).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.core.checks import check_count


class AllDiverged(ValueError):
    """All configurations of an arena diverged: none can go on."""


class Arena(NamedTuple):
    """Configurations and splits whose rows decide among themselves which of them go on.

    Attributes:
        role: "candidates" or "baseline".
        configurations: numbers of the configurations in the design, ascending.
        folds: numbers of the splits in the design.
        goes_on: number of configurations that go on after each rung, not increasing.
        outer: number of the outer fold that the arena belongs to; -1 for the arena of all search rows.
        num_folds: number of splits that are scored at each rung, not decreasing, those first in `folds`; at
            the end all are. Rungs beyond them score all.
    """

    role: str
    configurations: tuple[int, ...]
    folds: tuple[int, ...]
    goes_on: tuple[int, ...]
    outer: int = -1
    num_folds: tuple[int, ...] = ()

    def scored(self, rung: int) -> tuple[int, ...]:
        """Returns the splits that are scored at a rung; the end is the rung after the last."""
        return self.folds[: self.num_folds[rung]] if rung < len(self.num_folds) else self.folds

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Arena:
        """Returns the arena that `_asdict` gave, after JSON made its tuples lists."""
        named: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}
        return cls(**named)


def rung_steps(num_steps: int, eval_every: int, reduction: int, most: int) -> tuple[int, ...]:
    """Returns the steps of the rungs, ascending, each with a record: near num_steps / reduction^k.

    Args:
        num_steps: steps of a whole run.
        eval_every: steps between two records.
        reduction: one of this many goes on at each rung, at least 2.
        most: largest number of rungs.

    Example:
        >>> rung_steps(900, 100, reduction=3, most=2)
        (100, 300)
        >>> rung_steps(50, 100, reduction=3, most=2)
        ()
    """
    steps = (round(num_steps / reduction**k / eval_every) * eval_every for k in range(1, most + 1))
    return tuple(sorted({step for step in steps if 0 < step < num_steps}))


def lengths(rungs: Sequence[int], num_steps: int, num_rows: int | None = None) -> tuple[int, ...]:
    """Returns the steps of a network up to each rung from the one before, and up to its last step.

    Args:
        rungs: steps of the rungs; with rows as the resource their numbers of training rows.
        num_steps: steps of a whole run.
        num_rows: training rows of a whole run, where rows are the resource: each rung starts afresh then, and
            a full batch of fewer rows takes as many steps, each so much faster.

    Example:
        >>> lengths((100, 300), 900), lengths((40, 80), 900, num_rows=160)
        ((100, 200, 600), (225, 450, 900))
    """
    if num_rows is None:
        return tuple(end - start for start, end in itertools.pairwise((0, *rungs, num_steps)))
    return tuple(max(1, round(num_steps * number / num_rows)) for number in (*rungs, num_rows))


def numbers(num: int, num_rungs: int, reduction: int, least: int = 1, skipped: int = 0) -> tuple[int, ...]:
    """Returns how many of `num` configurations go on after each rung.

    Args:
        num: number that begins, at least 1.
        num_rungs: number of rungs.
        reduction: one of this many goes on.
        least: fewest that go on, where so many begin.
        skipped: number of first rungs at which all go on: the bracket of Hyperband.

    Example:
        >>> numbers(27, 2, reduction=3)
        (9, 3)
        >>> numbers(27, 3, reduction=3, least=2, skipped=1)
        (27, 9, 3)
    """
    least = min(num, least)
    return tuple(
        max(least, math.ceil(num / reduction ** max(0, rung + 1 - skipped))) for rung in range(num_rungs)
    )


def fold_numbers(num: int, num_rungs: int, reduction: int, skipped: int = 0) -> tuple[int, ...]:
    """Returns how many of `num` folds are scored at each rung: more, as fewer configurations are left.

    Many are told apart coarsely, on one fold each, so that more of them fit; few are told apart on all.

    Args:
        num: number of folds, at least 1.
        num_rungs: number of rungs.
        reduction: so many times as many folds at each rung.
        skipped: number of first rungs at which all go on, and no fold is added.

    Example:
        >>> fold_numbers(5, 3, reduction=3), fold_numbers(5, 3, reduction=3, skipped=1)
        ((1, 3, 5), (1, 1, 3))
    """
    return tuple(min(num, reduction ** max(0, rung - skipped)) for rung in range(num_rungs))


def brackets(num: int, num_rungs: int, reduction: int) -> list[int]:
    """Returns how many of `num` configurations each of Hyperband's brackets has, which skip 0, 1, … rungs.

    A bracket that skips more rungs gets fewer configurations, so that each takes about as many steps.

    Example:
        >>> brackets(100, 2, reduction=3)
        [55, 27, 18]
    """
    # Bracket s of Hyperband begins with η^s / (s + 1) of its largest one's share.
    shares = np.array([reduction**s / (s + 1) for s in range(num_rungs, -1, -1)])
    ends = np.rint(np.cumsum(shares) / shares.sum() * num).astype(int)
    return [int(n) for n in np.diff(ends, prepend=0)]


def networks_of(arena: Arena) -> int:
    """Returns the number of networks of one seed that an arena begins."""
    before, found = 0, 0
    for rung, num in enumerate((len(arena.configurations), *arena.goes_on)):
        folds = len(arena.scored(rung))
        found, before = found + num * (folds - before), folds
    return found


def steps_of(arena: Arena, lengths: Sequence[int], afresh: bool = False) -> int:
    """Returns the steps that an arena's networks of one seed take together, where none diverges or stops.

    Args:
        arena: the arena.
        lengths: steps of a network up to each rung from the one before, and up to its last step.
        afresh: whether each rung starts afresh, as where rows are the resource.

    Example:
        >>> steps_of(Arena("candidates", (0, 1, 2), (0, 1), (1,), num_folds=(1,)), (100, 200))
        800
    """
    before, found = 0, 0
    nums = (len(arena.configurations), *arena.goes_on)
    for rung, (num, steps) in enumerate(zip(nums, lengths, strict=True)):
        folds = len(arena.scored(rung))
        # A network of a fold that is new takes all steps up to this rung.
        own = folds * steps if afresh else before * steps + (folds - before) * sum(lengths[: rung + 1])
        found, before = found + num * own, folds
    return found


def begins(arenas: Sequence[Arena]) -> list[tuple[int, int]]:
    """Returns (configuration, split) of all that begin, arena by arena."""
    return [(c, fold) for arena in arenas for c in arena.configurations for fold in arena.scored(0)]


def goes_on(
    arenas: Sequence[Arena],
    rung: int,
    scores: np.ndarray,
    ties: np.ndarray,
    higher: bool,
) -> list[tuple[int, int]]:
    """Returns (configuration, split) of all that go on after a rung, arena by arena.

    A bracket of Hyperband of which all diverged ends there, where another one goes on.

    Args:
        arenas: the arenas.
        rung: number of the rung.
        scores: `(configurations, splits)` of the design; NaN where one diverged or dropped out before.
        ties: losses of the same shape, see `best_of`.
        higher: whether a higher score is better.

    Raises:
        AllDiverged: all of the arenas of one role and outer fold diverged.
    """
    best = [ranked(arena, rung, scores, ties, higher, arena.goes_on[rung]) for arena in arenas]
    for arena in merged(arenas):
        parts = zip(arenas, best, strict=True)
        if not any(own for part, own in parts if (part.role, part.outer) == (arena.role, arena.outer)):
            raise _all_diverged(arena)
    return [
        (configuration, fold)
        for arena, own in zip(arenas, best, strict=True)
        for configuration in sorted(own)
        for fold in arena.scored(rung + 1)
    ]


def ranked(
    arena: Arena, rung: int, scores: np.ndarray, ties: np.ndarray, higher: bool, num: int
) -> list[int]:
    """Returns numbers of the best `num` configurations of an arena at a rung, best first.

    Those that diverged are left out; arguments as in `goes_on`.
    """
    own = np.ix_(arena.configurations, arena.scored(rung))
    return [arena.configurations[place] for place in best_of(scores[own], ties[own], higher, num)]


def merged(arenas: Sequence[Arena]) -> list[Arena]:
    """Returns the arenas with the brackets of Hyperband put together, as they meet at the end."""
    found: dict[tuple[str, int], Arena] = {}
    for arena in arenas:
        key = arena.role, arena.outer
        before = found[key].configurations if key in found else ()
        found[key] = arena._replace(configurations=(*before, *arena.configurations), goes_on=(), num_folds=())
    return list(found.values())


def winners(arena: Arena, scores: np.ndarray, ties: np.ndarray, higher: bool, num: int) -> list[int]:
    """Returns numbers of the best configurations of an arena at the end, best first; see `ranked`.

    Raises:
        AllDiverged: all of them diverged.
    """
    best = ranked(arena, len(arena.num_folds), scores, ties, higher, num)
    if not best:
        raise _all_diverged(arena)
    return best


def _all_diverged(arena: Arena) -> AllDiverged:
    return AllDiverged(
        f"a {'candidate' if arena.role == 'candidates' else 'baseline'} must stay finite, and all "
        f"{len(arena.configurations)} diverged: search lower learning rates"
    )


def best_of(scores: np.ndarray, ties: np.ndarray, higher: bool, num: int) -> list[int]:
    """Returns the places of the best `num` means, best first; one that is NaN is never among them.

    Args:
        scores: `(configurations, units)`; a NaN in one unit makes the mean NaN.
        ties: losses of the same shape, which decide between equal means; then the order does.
        higher: whether a higher score is better.
        num: number of places, at least 1; fewer are returned where there are no more.
    """
    check_count("num", num)
    means, losses = scores.mean(axis=1), ties.mean(axis=1)
    order = np.lexsort((np.arange(len(means)), losses, -means if higher else means))
    return [int(place) for place in order if not math.isnan(means[place])][:num]
