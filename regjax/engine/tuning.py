"""What `tune` will do, settled before it does it: samples, splits, arenas, and the number of candidates.

`engine/tune.py` makes a `Setting` of a user's arguments, and asks it for designs and courses.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.core.checks import check_count, counted, shown
from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.metrics import without_split
from regjax.data.splits import check_fraction, folds_among, parted
from regjax.data.ties import Pairs, Ties
from regjax.store.identity import identities, sweep_identity
from regjax.study.configuration import Configuration, value_of
from regjax.study.design import Design
from regjax.study.grid import Grid
from regjax.study.halving import (
    AllDiverged,
    Arena,
    brackets,
    fold_numbers,
    lengths,
    networks_of,
    numbers,
    rung_steps,
    steps_of,
)
from regjax.study.plan import free_memory
from regjax.study.records import num_params
from regjax.study.resolve import make_design, with_configurations
from regjax.study.space import Space
from regjax.study.tuned import Budget, Mode, Race, Search, as_bits
from regjax.study.words import describe, duration

# Rows from which a part of them is held out for the comparison; of fewer the whole search is nested.
MANY_ROWS = 1_000
HELD_OUT = 0.3
# Networks of each finalist and of the baseline that are compared.
SEEDS = 8
FOLDS = 5
# A configuration of the baseline is drawn for so many candidates, and at least so many: learning rate and
# width are few dimensions. None of them drops out: low learning rates are slow at first, and without a
# regulariser often the best at the end, so that halving would make a weak baseline, and a false "helps".
PER_BASELINE, FEWEST_BASELINES = 27, 8
# Of more training samples steps are taken on batches, for about so many epochs.
FULL_BATCH, BATCH, EPOCHS = 256, 128, 40
LEAST_STEPS, MOST_STEPS = 900, 9_000
# Options of a sweep that a search decides itself.
OWN_OPTIONS = ("validation", "fold_inputs", "epochs", "stopping")
# The least that a budget of seconds is measured by, and the most, as shares of it.
MEASURED, MOST_MEASURED = 0.04, 0.12
# Steps are faster in a search of many candidates, whose workers are never idle and whose replicates share
# their batches: by this power of their number up to so many. Measured, on the careful side, on
# three tables (docs/tune.md).
GAIN, MANY = 0.06, 512
# Of a few candidates all may diverge where a search of more goes on: so many are measured before it is said.
MOST_DIVERGED = 100
# Shares of the seconds that are left: for the model and the references, and for what a prediction misses.
RESERVE, MARGIN = 0.04, 0.95
# Fewest training rows of a rung, where rows are the resource.
FEWEST_ROWS = 10
# Bytes of a waiting network beside four copies of its parameters.
WAITING = 8_192


class Splitting:
    """The splits of a search, once the samples are known: `make_splits` takes it as its folds.

    Args:
        confirm: fraction of the rows that the search never sees, "nested", or None for either by the number
            of rows.
        folds: number of folds of a search.
        outer: number of outer folds of a nested one.

    Attributes:
        mode: "holdout" or "nested".
        grouped: whether samples are tied to groups.
        confirms: (training, validation) indices of each split of the comparison.
        of_outer: outer fold, or -1 for all rows that are searched -> numbers of its search's splits.
    """

    def __init__(self, confirm: float | str | None, folds: int, outer: int) -> None:
        if confirm is not None and confirm != "nested":
            check_fraction("confirm", confirm)
        self.confirm: Any = confirm
        self.folds, self.outer = check_count("folds", folds, at_least=2), outer
        self.mode: Mode = "holdout"
        self.grouped = False
        self.confirms: Pairs = []
        self.of_outer: dict[int, tuple[int, ...]] = {}

    def divide(self, data: Data, ties: Ties | None) -> Pairs:
        """Returns the (train, validation) indices of all splits of the search."""
        every, confirm = np.arange(data.x.shape[1]), self.confirm
        if confirm is None:
            # Rows of a group are not evidence of their own: outer folds of whole groups are.
            many = len(every) if ties is None or ties.name == "time" else ties.num
            confirm = HELD_OUT if many >= MANY_ROWS else "nested"
        self.grouped = ties is not None and ties.name == "groups"
        if confirm == "nested":
            self.mode = "nested"
            self.confirms = folds_among(data, every, self.outer, ties)
            parts = {outer: train for outer, (train, _) in enumerate(self.confirms)} | {-1: every}
        else:
            search, held = parted(data, "confirm", confirm, ties)
            self.confirms, parts = [(np.sort(search), np.sort(held))], {-1: np.sort(search)}
        pairs: Pairs = []
        for outer, samples in parts.items():
            own = folds_among(data, samples, self.folds, ties)
            self.of_outer[outer] = tuple(range(len(pairs), len(pairs) + len(own)))
            pairs += own
        return pairs


class Size(NamedTuple):
    """What a search of so many candidates takes.

    Attributes:
        networks: number of networks that begin, those of the comparison among them.
        steps: number of steps that they take together.
    """

    networks: int
    steps: int


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """The samples, splits and space of a search, from which designs of any number of candidates are made.

    Attributes:
        first: a design of one configuration, with the splits of the search.
        base: the static settings of all networks.
        splitting: the splits, and what is compared on which of them.
        space: the space.
        fixed: values of the baseline that are not drawn.
        search: how is searched.
        metric: validation metric that is ranked.
        seeds: seeds of the networks that are compared.
        budget: what the search may take.
    """

    first: Design
    base: Config
    splitting: Splitting
    space: Space
    fixed: Configuration
    search: Search
    metric: str
    seeds: tuple[int, ...]
    budget: Budget

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps of the rungs; with rows as the resource, numbers of training rows of a fold."""
        search, base = self.search, self.base
        if search.resource == "steps":
            return rung_steps(base.num_steps, base.eval_every, search.reduction, search.rungs)
        rows = int(self.first.splits.num_train.min())
        found = rung_steps(rows, 1, search.reduction, search.rungs)
        return tuple(number for number in found if number >= max(FEWEST_ROWS, base.batch_size or 0))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Steps of a network up to each rung from the one before, and up to its last step."""
        rows = None if self.search.resource == "steps" else int(self.first.splits.num_train.min())
        return lengths(self.rungs, self.base.num_steps, rows)

    def num_baselines(self, num: int) -> int:
        """Returns the number of configurations of the baseline beside so many candidates."""
        return max(min(num, FEWEST_BASELINES), math.ceil(num / PER_BASELINE))

    def arenas(self, num: int, num_baselines: int) -> tuple[Arena, ...]:
        """Returns the arenas of so many candidates and configurations of the baseline, numbered in turn."""
        search, found = self.search, []
        count = len(self.rungs)
        parts = brackets(num, count, search.reduction) if search.hyperband else [num]
        ends = np.cumsum([0, *parts]).tolist()
        for outer, folds in self.splitting.of_outer.items():
            least = search.finalists if outer < 0 else 1
            for skipped, (start, stop) in enumerate(itertools.pairwise(ends)):
                if stop > start:
                    own = tuple(range(start, stop))
                    going = numbers(len(own), count, search.reduction, least, skipped)
                    scored = fold_numbers(len(folds), count, search.reduction, skipped)
                    found.append(Arena("candidates", own, folds, going, outer, scored))
            own = tuple(range(num, num + num_baselines))
            found.append(Arena("baseline", own, folds, (num_baselines,) * count, outer))
        return tuple(found)

    def size(self, num: int) -> Size:
        """Returns what a search of so many candidates takes, its comparison and its model among that."""
        arenas = self.arenas(num, self.num_baselines(num))
        compared = (1 + self.search.finalists) * len(self.seeds)
        if self.splitting.mode == "nested":
            compared = 2 * self.search.outer * len(self.seeds)
        steps = self.steps(arenas)
        # The networks of the comparison train on all rows of the search, and so a little longer.
        longer = self.search_rows / float(self.first.splits.num_train.mean())
        return Size(
            sum(map(networks_of, arenas)) + compared,
            steps + math.ceil(compared * self.base.num_steps * max(1.0, longer)),
        )

    def steps(self, arenas: Sequence[Arena]) -> int:
        """Returns the steps that the networks of arenas take."""
        return sum(steps_of(arena, self.lengths, self.search.resource == "rows") for arena in arenas)

    @property
    def search_rows(self) -> int:
        """Number of rows that the networks of the comparison train on."""
        return len(self.splitting.confirms[0][0])

    def design(self, num: int) -> tuple[Design, int]:
        """Returns the design of a search of at most `num` candidates, and how many they are.

        Raises:
            ValueError: fewer candidates than finalists, or a candidate that does not fit the data.
        """
        baselines = self.space.baselines(self.num_baselines(num), self.search.seed, self.fixed)
        known = set(map(describe, baselines))
        candidates = [c for c in self.space.draw(num, self.search.seed) if describe(c) not in known]
        if len(candidates) < max(2, self.search.finalists):
            raise ValueError(
                f"space must have at least {counted(max(2, self.search.finalists), 'candidate')}, as many as "
                f"finalists and two to choose from, got {len(candidates)}"
            )
        grid = Grid((*candidates, *baselines))
        return with_configurations(self.first, self.base, grid, seeds=[0]), len(candidates)

    def race(self, design: Design, num: int, measured: str = "") -> Race:
        """Returns the race of a search of a design whose first `num` configurations are candidates."""
        n = design.data.x.shape[1]
        return Race(
            ask=self.ask,
            part="search",
            metric=self.metric,
            rungs=self.rungs,
            arenas=self.arenas(num, len(design.configurations) - num),
            finalists=self.search.finalists,
            seeds=self.seeds,
            mode=self.splitting.mode,
            confirms=tuple((as_bits(train, n), as_bits(val, n)) for train, val in self.splitting.confirms),
            reduction=self.search.reduction,
            resource=self.search.resource,
            measured=measured,
        )

    @property
    def ask(self) -> dict[str, Any]:
        """What is asked for, in words that JSON can hold: equal words are one search."""
        asked = {
            # Not in words, which leave the seconds of an hour out.
            "budget": f"{self.budget.amount!r} {self.budget.unit}",
            "space": self.space.words,
            "baseline": describe(self.fixed),
            "search": dataclasses.asdict(self.search),
            "config": repr(self.base),
            "metric": self.metric,
            "seeds": list(self.seeds),
            # Splits and samples with their names, pairing, standardising: all that a network depends on.
            "first": sweep_identity(identities(self.first), self.first),
        }
        return json.loads(json.dumps(asked))

    def most(self, holds: Callable[[Size], bool]) -> int:
        """Returns the largest number of candidates whose search a budget holds; 0 where it holds none."""
        per_row = 4 * num_params(self._largest()) * 8 + WAITING
        free = free_memory()
        limit = 1_000_000 if free is None else int(free / 4 / per_row / len(self.first.splits.train))
        low, high = 0, 1
        least = max(2, self.search.finalists)
        if not holds(self.size(least)):
            return 0
        while high < max(least, limit) and holds(self.size(high)):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if holds(self.size(middle)) else (low, middle)
        return max(least, min(low, limit))

    def _largest(self) -> Config:
        """Returns the config of the widest of a few candidates."""
        drawn = self.space.draw(16, self.search.seed)
        return max(with_configurations(self.first, self.base, Grid(tuple(drawn))).configs, key=num_params)

    def check(self) -> None:
        """Raises what is wrong with the smallest search.

        Raises:
            ValueError: the space does not have its candidates, or the budget does not hold it.
        """
        amount, unit = self.budget
        num = max(2, self.search.finalists)
        least = self.size(num)
        if unit != "seconds" and getattr(least, unit) > amount:
            raise ValueError(
                f"budget must be at least {getattr(least, unit):,} {unit}, for {counted(num, 'candidate')} "
                f"on {counted(len(self.first.splits.train), 'split')} and their comparison, got {self.budget}"
            )
        self.design(max(64, num))  # of fewer, some may be the baseline

    def counted(self) -> int | None:
        """Returns the number of candidates that a checked budget holds; None of one of seconds."""
        amount, unit = self.budget
        if unit == "seconds":
            return None
        return self.most(lambda size: getattr(size, unit) <= amount)

    def measured(self, run: Callable[[Design, int, bool], None], began: float) -> tuple[int, str]:
        """Returns the number of candidates that a budget of seconds holds, and what was measured.

        Args:
            run: trains a search of a design whose first candidates are so many, its comparison too where the
                flag says so, and keeps nothing of it.
            began: `time.perf_counter()` when the seconds began.

        Raises:
            AllDiverged: all candidates, or all of the baseline, diverged however many there were.
        """
        amount = self.budget.amount
        num, rate, compiled = max(2, self.search.finalists), math.inf, None
        while True:
            design, found = self.design(num)
            started = time.perf_counter()
            try:
                run(design, found, compiled is None)
            except AllDiverged:
                if found < num or num >= MOST_DIVERGED:
                    raise
                num *= 4
                continue
            ended = time.perf_counter()
            took, spent = ended - started, ended - began
            if compiled is None:  # this one compiles: its time is spent, and says little about the rest
                compiled = ended
                continue
            rate = took / self.steps(self.arenas(found, len(design.configurations) - found))
            if took >= MEASURED * amount or ended - compiled >= MOST_MEASURED * amount or found < num:
                break
            num = round(num * min(8.0, max(2.0, 1.5 * MEASURED * amount / took)))
        left = (amount - spent) * MARGIN - RESERVE * amount
        found = self.most(lambda size: size.steps * rate * (num / max(num, MANY)) ** GAIN <= left)
        words = (
            f"measured: {1 / rate:,.0f} steps a second; reading, compiling and measuring took "
            f"{duration(spent)} of the budget of {duration(amount)}"
        )
        if not found:
            return max(2, self.search.finalists), f"{words}, which left time for the smallest search alone"
        return found, words


def make_setting(
    data: Any,
    space: Space,
    config: Config | Mapping[str, Any] | None,
    budget: Budget,
    *,
    confirm: float | str | None,
    baseline: Mapping[str, Any] | None,
    search: Search,
    metric: str | None,
    options: Mapping[str, Any],
) -> Setting:
    """Returns the setting of a search; arguments and errors as in `tune`."""
    for name in OWN_OPTIONS:
        if name in options:
            raise TypeError(
                f"{name} must not be given: a search has splits of its own, got {shown(options[name])}"
            )
    if not isinstance(config, Config | Mapping | None):
        raise TypeError(f"config must be a regjax.Config or a dict, got {type(config).__name__}")
    options = dict(options)
    seeds, folds = options.pop("seeds", SEEDS), options.pop("folds", FOLDS)
    splitting = Splitting(confirm, FOLDS if folds is None else folds, search.outer)
    if options.get("standardize") is None:
        options["standardize"] = True
    loss = config.loss if isinstance(config, Config) else dict(config or {}).get("loss", "auto")
    is_squared = loss in ("auto", "squared_error")
    if options.get("standardize_target") is None and is_squared and _is_real(data, options):
        options["standardize_target"] = True
    given = config
    if not isinstance(config, Config):
        given = {"optimizer": "adamw", "init": "he", "num_steps": LEAST_STEPS} | dict(config or {})
        given = {name: value for name, value in given.items() if name not in ("batch_size", "eval_every")}
    # One that stops early where the space has any, so that samples are split off for it.
    drawn = sorted(space.draw(64, search.seed), key=lambda c: value_of(c, "patience") == math.inf)[:1]
    first = make_design(data, given, Grid(tuple(drawn)), folds=splitting, seeds=seeds, **options)
    if first.test is not None:
        count = counted(first.test.x.shape[1], "test sample")
        note = f"{count} set aside: neither the search nor the comparison sees them"
        first = dataclasses.replace(first, test=None, notes=(*first.notes, note))
    if splitting.mode == "holdout" and splitting.grouped:
        note = 'the interval takes held-out rows of one group for independent: confirm="nested" does not'
        first = dataclasses.replace(first, notes=(*first.notes, note))
    metric = first.check_metric(metric)
    base = _base(first, config, metric, search)
    return Setting(
        with_configurations(first, base, Grid(tuple(drawn))), base, splitting, space,
        space.check_baseline(baseline), search, metric, first.seeds, budget,
    )  # fmt: skip


def _is_real(data: Any, options: Mapping[str, Any]) -> bool:
    """Returns whether the targets of a pair of arrays are real numbers, as far as can be told here."""
    if not isinstance(data, tuple | list) or len(data) != 2 or options.get("task") == "classification":
        return False
    return np.asarray(data[1]).dtype.kind == "f"


def _base(first: Design, config: Config | Mapping[str, Any] | None, metric: str, search: Search) -> Config:
    """Returns the static settings of a search; what is not given depends on the number of samples."""
    base = first.configs[0]
    if isinstance(config, Config):
        return base
    given = {} if config is None else config
    samples = int(first.splits.num_train.min())
    batch = BATCH if samples > FULL_BATCH else None
    batch = given.get("batch_size", batch)
    batch = None if batch in ("full", "none") else batch
    steps = LEAST_STEPS if batch is None else min(max(EPOCHS * samples // batch, LEAST_STEPS), MOST_STEPS)
    found: dict[str, Any] = {"batch_size": batch, "num_steps": given.get("num_steps", steps)}
    every = max(1, found["num_steps"] // search.reduction**search.rungs)
    found["eval_every"] = given.get("eval_every", every)
    if "metrics" not in given:
        found["metrics"] = tuple({without_split(metric)} - {"loss"})
    return dataclasses.replace(base, **found)
