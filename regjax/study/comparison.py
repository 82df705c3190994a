"""Paired differences of configurations to a baseline: intervals, families, verdicts; docs/intervals.md.

`Results.compare` calls `compare`; `Questions.check` resolves the baseline before anything is trained. Pandas
is imported where a table is made.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from regjax.core.hparams import OFF_VALUES
from regjax.core.metrics import without_split
from regjax.study import families, intervals
from regjax.study.configuration import Configuration, value_of
from regjax.study.design import Design
from regjax.study.families import Sampling, Together, together
from regjax.study.intervals import Interval, as_number, between, rounded, with_interval
from regjax.study.notebook import card
from regjax.study.selection import higher_is_better, left_out, ranking
from regjax.study.words import as_cell, describe

if TYPE_CHECKING:
    import pandas as pd

Arm = tuple[tuple[str, Any], ...]

OVERLAP = (
    "All configurations share the baseline's replicates, so their differences are not independent of each "
    "other. Whether the intervals of two means overlap says nothing about their difference."
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paired differences to a baseline; `str(comparison)` says them in words.

    Attributes:
        table: a line per configuration (or arm): its hyperparameters, `name`, `difference`, `se`, `df`,
            `low`, `high` (95 %), `p`, `p_family` (adjusted for all lines at once), `reach` (half a family
            interval over its standard error), `family_low`, `family_high`, `n`, `status`, `sampling_se`,
            `variance_ratio` (of the paired difference to an unpaired one), `verdict`, `sentence`. On one
            split `sampling_se` is the error of the held-out samples; p, p_family and family intervals
            contain it.
            `Results.compare` adds `detectable` and `needs`, see `needs.with_needs`.
        baseline: values of the configuration that the others are compared with.
        metric: the validation metric.
        units: the units of evidence, in words.
        notes: sentences on how to read the table.
    """

    table: pd.DataFrame
    baseline: Configuration
    metric: str
    units: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = (f"  {entry['name']}: {entry['sentence']}" for _, entry in self.table.iterrows())
        return "\n".join([self.title, *lines, *self.notes])

    def _repr_html_(self) -> str:
        table, notes = self.table, [self.title, *self.notes]
        verdicts = table["verdict"].tolist()
        counts = {verdict: verdicts.count(verdict) for verdict in ("helps", "hurts")}
        words = [f"{count:,} of {len(table):,} {verdict}" for verdict, count in counts.items() if count]
        first = ", ".join(words) or f"None of {len(table):,} separated"
        # Those that are separated first, then by their gain; without an interval last.
        gain = table["difference"] * (1 if higher_is_better(self.metric) else -1)
        rank = [{"helps": 0, "hurts": 1, "not separated": 2}.get(verdict, 3) for verdict in verdicts]
        order = np.lexsort((-np.asarray(gain, float), np.asarray(rank)))
        rows = ((entry["name"], entry["sentence"]) for entry in (table.iloc[place] for place in order))
        first = f"{first} from {self.baseline_in_words}" if not words else f"{first}: {self.metric}"
        head = ("configuration", f"difference to {self.baseline_in_words}")
        return card(first, head, rows, count=len(table), notes=notes)

    @property
    def title(self) -> str:
        """What is compared, in words."""
        return f"{self.metric}, difference to {self.baseline_in_words}, {self.units}"

    @property
    def baseline_in_words(self) -> str:
        """The baseline in words."""
        return describe(self.baseline) if len(self.baseline) <= 3 else "every regulariser off"


class Scores(NamedTuple):
    """Scores of all configurations, from which a comparison is made.

    Attributes:
        design: design of the sweep.
        metric: the validation metric.
        values: `(configurations, units)`: per fold the mean over seeds, or per seed on one split.
        num_ok: number of networks of each configuration that did not diverge.
        examples: per-example validation scores on one split, `(rows, n_val)` each, or None.
    """

    design: Design
    metric: str
    values: np.ndarray
    num_ok: np.ndarray
    examples: dict[str, np.ndarray] | None


def unit_interval(design: Design, differences: np.ndarray, least: float = 0.0) -> Interval:
    """Returns the interval of a mean over the units of evidence of a design, folds or seeds.

    Args:
        design: design of the sweep.
        differences: a number for each unit of evidence, `(units,)`.
        least: least variance of them.
    """
    return intervals.over_units(differences, variance_factor(design, len(differences)), least)


def variance_factor(design: Design, count: int) -> float:
    """Returns the variance of a mean over `count` units of evidence, over that of one unit.

    Seeds are independent: 1/S. Folds share training samples: 1/J + n_val/n_train (Nadeau & Bengio 2003,
    eq. 16; Bouckaert & Frank 2004 for repeats, whose folds count in J).
    """
    splits = design.splits
    if splits.kind != "folds":
        return 1 / count
    num_train = splits.num_train
    if splits.stop is not None:  # n of an arm that stops early: without the samples it watches
        num_train = num_train - np.count_nonzero(splits.stop, axis=1)
    return 1 / count + float(splits.num_val.mean() / num_train.mean())


def compare(scores: Scores, baseline: Mapping[str, Any] | None, over: Sequence[str]) -> Comparison:
    """Returns the paired differences of all configurations to a baseline; see `Results.compare`."""
    import pandas as pd

    design, metric = scores.design, scores.metric
    wanted = resolve_baseline(design, baseline, over)
    members = _arms(design, over)
    arms = list(members)
    values, chosen = _arm_scores(scores, list(members.values()))
    pairs, unpaired = _pairs(arms, wanted)
    statuses = [_status(scores, values, chosen, *pair) for pair in pairs]
    one, other = (values[list(side)] for side in zip(*pairs, strict=True))
    differences = paired(one, other, design)
    differences[[status != "ok" for status in statuses]] = np.nan
    sampling = _sampling(scores, [(chosen[arm], chosen[base]) for arm, base in pairs])
    found = family_of(design, differences, row_variance(design, metric, differences), sampling)
    table = []
    for place, (arm, base) in enumerate(pairs):
        entry = {name: as_cell(value) for name, value in arms[arm]}
        on_axes = {n: value for n, value in arms[arm] if n in design.axes}
        entry["name"] = design.in_words(on_axes, leave_out=over)
        entry |= _numbers(found, place) | {"n": differences.shape[1], "status": statuses[place]}
        entry["sampling_se"] = math.nan
        if sampling is not None and statuses[place] == "ok":
            entry["sampling_se"] = float(sampling.se[place])
        entry["variance_ratio"] = _variance_ratio(values[arm], values[base], differences[place])
        ends = entry["family_low"], entry["family_high"]
        entry["verdict"] = verdict_of(*ends, higher_is_better(metric)) if statuses[place] == "ok" else ""
        entry["sentence"] = _sentence(design, entry)
        table.append(entry)
    notes = [*_what_holds(design, len(pairs), found), OVERLAP]
    if design.splits.kind == "validation" and all(math.isnan(entry["sampling_se"]) for entry in table):
        notes.append(f"The sampling error of {metric} on one split is not known: nothing can be separated.")
    if over:
        notes.append(f"Each arm uses its own best {', '.join(over)}, chosen with the scored unit left out.")
    if unpaired:
        notes.append(f"{len(unpaired)} configurations have no counterpart at the baseline.")
    units = design.evidence.in_words(found.df)
    return Comparison(pd.DataFrame(table), wanted, metric, units, tuple(notes))


def family_of(
    design: Design,
    differences: np.ndarray,
    least: np.ndarray,
    sampling: Sampling | None = None,
    most_draws: int = families.MOST_DRAWS,
) -> Together:
    """Returns the intervals of differences over a design's units of evidence, each alone and all at once.

    Args:
        design: design of the sweep.
        differences: `(lines, units)`; NaN in lines without an interval.
        least: least variance of each line between units, `(lines,)`.
        sampling: on one split, the error of the held-out samples, NaN where it is not known; then no line
            has an interval that holds for all.
        most_draws: as in `families.together`.
    """
    factor = variance_factor(design, differences.shape[1])
    known = sampling is None or not np.isnan(sampling.se).all()
    found = together(differences, factor, least, sampling if known else None, most_draws)
    if known:
        return found
    nothing = np.full(len(differences), np.nan)
    return found._replace(total=nothing, p=nothing, p_family=nothing)


def _numbers(found: Together, place: int) -> dict[str, float]:
    """Returns the numbers of a line of the table."""
    mean, se, total = (float(values[place]) for values in (found.mean, found.se, found.total))
    return {
        "difference": mean, "se": se, "df": found.df, "low": mean - found.t * se, "high": mean + found.t * se,
        "p": float(found.p[place]), "p_family": float(found.p_family[place]), "reach": found.reach,
        "family_low": mean - found.reach * total, "family_high": mean + found.reach * total,
    }  # fmt: skip


def resolve_baseline(
    design: Design, baseline: Mapping[str, Any] | None, over: Sequence[str]
) -> Configuration:
    """Returns a baseline that is in the grid; None takes every regulariser of the grid off.

    Raises:
        ValueError: a baseline that is not in the grid or has nothing beside it, or an `over` that does not
            fit; the message says how to mend it.
    """
    for name in over:
        if name not in design.names:
            raise ValueError(f"over must name axes of the grid ({', '.join(design.names)}), got {name!r}")
    if over and design.num_left_out < 2:
        raise ValueError("over must have at least two folds or seeds to choose with one left out, got one")
    if baseline is None:
        wanted = {n: OFF_VALUES[n] for n in design.names if n in OFF_VALUES and n not in over}
        if not wanted:
            raise ValueError("compare must be given a baseline: no axis of the grid is a regulariser")
    else:
        if not baseline:
            raise ValueError("baseline must name at least one hyperparameter, got none")
        wanted = dict(baseline)
        if set(wanted) & set(over):
            raise ValueError("over must not name an axis of the baseline")
    if not any(all(value_of(c, n) == v for n, v in wanted.items()) for c in design.configurations):
        raise ValueError(f"baseline must be in the grid, got {describe(wanted)}: add it to the grid's axes")
    if not _pairs(list(_arms(design, over)), wanted)[0]:
        raise ValueError(f"compare must have something beside the baseline {describe(wanted)}, got nothing")
    return wanted


def _arms(design: Design, over: Sequence[str]) -> dict[Arm, list[int]]:
    """Returns arm -> its configurations, which differ on the axes `over` only."""
    arms: dict[Arm, list[int]] = {}
    for index, configuration in enumerate(design.configurations):
        arm = tuple((n, value_of(configuration, n)) for n in design.names if n not in over)
        arms.setdefault(arm, []).append(index)
    return arms


def resolve_pairs(design: Design, baseline: Configuration) -> tuple[list[tuple[int, int]], list[int]]:
    """Returns (configuration, its counterpart at the baseline) in the order of `Comparison.table`, and the
    configurations that have none.
    """
    return _pairs(list(_arms(design, ())), baseline)


def _pairs(arms: list[Arm], baseline: Configuration) -> tuple[list[tuple[int, int]], list[int]]:
    """Returns (arm, its counterpart at the baseline) by index, and the arms that have none."""
    places = {arm: index for index, arm in enumerate(arms)}
    pairs, unpaired = [], []
    for index, arm in enumerate(arms):
        counterpart = tuple((name, baseline.get(name, value)) for name, value in arm)
        if counterpart == arm:  # the baseline itself
            continue
        if counterpart in places:
            pairs.append((index, places[counterpart]))
        else:
            unpaired.append(index)
    return pairs, unpaired


def _arm_scores(scores: Scores, arms: list[list[int]]) -> tuple[np.ndarray, list[list[int]]]:
    """Returns `(arms, units)`, and per arm the configuration that stands for it in each unit."""
    values, higher = scores.values, higher_is_better(scores.metric)
    found, chosen = [], []
    for members in arms:
        if len(members) == 1:
            found.append(values[members[0]])
            chosen.append(members * values.shape[1])
            continue
        # Chosen without the unit that it is scored on, so that an arm of many values has no advantage.
        own, picks = left_out(
            values[members], lambda rest: int(ranking(rest.mean(axis=1), higher)[0]), scores.design.repeat_of
        )
        found.append(own)
        chosen.append([members[pick] for pick in picks])
    return np.array(found), chosen


def _status(scores: Scores, values: np.ndarray, chosen: list[list[int]], arm: int, base: int) -> str:
    """Returns "ok", or why an arm has no verdict: networks of it or of its baseline that diverged."""
    counts = [int(min(scores.num_ok[index] for index in chosen[side])) for side in (arm, base)]
    count = scores.design.num_replicates
    if min(counts) == count:
        return "undefined" if np.any(np.isnan(values[[arm, base]])) else "ok"
    of_base = f", baseline {counts[1]} of {count}" if counts[1] < count else ""
    return f"{counts[0]} of {count} ok{of_base}"


def _variance_ratio(one: np.ndarray, other: np.ndarray, differences: np.ndarray) -> float:
    """Returns the variance of the paired differences, over that of unpaired ones; NaN without a spread."""
    spread = np.var(one, ddof=1) + np.var(other, ddof=1) if len(differences) > 1 else 0
    return float(np.var(differences, ddof=1) / spread) if spread > 0 else math.nan


def paired(one: np.ndarray, other: np.ndarray, design: Design) -> np.ndarray:
    """Returns the differences of scores, `(lines, units)` each, without their rounding; see `unrounded`."""
    dtype = design.configs[0].dtype
    found = [unrounded(a - b, np.stack([a, b]), dtype) for a, b in zip(one, other, strict=True)]
    return np.array(found).reshape(one.shape)  # a grid of one configuration has no lines


def unrounded(differences: np.ndarray, scores: np.ndarray, dtype: str) -> np.ndarray:
    """Returns differences without the rounding of scores: all equal where they differ by no more than that.

    Five times the same gain of one sample in 42 is no spread; its last bits in float32 are not evidence.
    """
    if np.any(np.isnan(differences)):
        return differences
    reach = 4 * float(np.finfo(dtype).eps) * float(np.max(np.abs(scores)))
    if np.ptp(differences) > reach:
        return differences
    mean = float(np.mean(differences))
    return np.full_like(differences, 0.0 if abs(mean) <= reach else mean)


def row_variance(design: Design, metric: str, differences: np.ndarray) -> np.ndarray:
    """Returns the least variance between folds that whole samples allow, `(lines,)`; 0 where there are none.

    A difference of accuracies is made of samples that one side gets right and the other does not. Of weights
    w that sum to 1, samples of mean difference d have a variance of at least |d| (1 - |d|) Σ w²: that of one
    wrong sample in each of three folds is not near 0, however equal the three are.

    Args:
        design: design of the sweep.
        metric: the validation metric.
        differences: `(lines, folds)`.
    """
    size = np.abs(differences)
    return np.mean(size * (1 - np.minimum(size, 1)), axis=1) * grain_of(design, metric)


def grain_of(design: Design, metric: str) -> float:
    """Returns the mean over folds of Σ w², of weights w that sum to 1; 0 where a metric is not of samples."""
    name = without_split(metric)
    if design.splits.kind != "folds" or name not in ("accuracy", "balanced_accuracy"):
        return 0.0
    y, grain = np.asarray(design.data.y[0]), []
    for val in design.splits.val:
        labels, weights = y[val > 0], val[val > 0].astype(np.float64)
        if name == "balanced_accuracy":
            weights = weights / np.bincount(labels, weights)[labels]
        grain.append(float(np.sum(weights**2) / np.sum(weights) ** 2))
    return float(np.mean(grain))


def _sampling(scores: Scores, sides: list[tuple[list[int], list[int]]]) -> Sampling | None:
    """Returns the error that comes from which samples are held out, None with folds; NaN where not known.

    Args:
        scores: scores of all configurations.
        sides: for each line the configuration of each seed, on its two sides.
    """
    design = scores.design
    if design.splits.kind != "validation":
        return None
    examples, val = per_example(scores), design.splits.val[0]
    weights = val[val > 0].astype(np.float64)
    if examples is None:
        return Sampling(np.full(len(sides), np.nan), np.zeros((len(sides), 1)))
    mixed, errors, sketch = families.signs(len(weights)), [], []
    for side in sides:
        rows = [[design.index(c, s, 0) for s, c in enumerate(chosen)] for chosen in side]
        terms = intervals.sampling_terms(np.mean(examples[rows[0]] - examples[rows[1]], axis=0), weights)
        errors.append(float(np.sqrt(np.sum(terms**2))))
        sketch.append(terms @ mixed)
    return Sampling(np.array(errors), np.array(sketch))


def per_example(scores: Scores) -> np.ndarray | None:
    """Returns `(rows, n_val)` whose weighted mean is the metric or its linearisation, or None without one."""
    examples, name = scores.examples, without_split(scores.metric)
    if examples is None:
        return None
    if name == "loss":
        return examples["loss"]
    if name == "accuracy":
        return examples["right"]
    val = scores.design.splits.val[0]
    y, weights = np.asarray(scores.design.data.y)[:, val > 0], val[val > 0]
    if name == "balanced_accuracy":
        shares = {k: weights[y[0] == k].sum() / weights.sum() for k in np.unique(y)}
        return examples["right"] / (len(shares) * np.array([shares[k] for k in y[0]]))
    if name == "r2" and len(y) == 1:
        centre = np.average(y[0], weights=weights)
        return 1 - examples["square"] / np.average((y[0] - centre) ** 2, weights=weights)
    if name == "rmse" and len(y) == 1:
        # The delta method: √m is linear in m near each network's own mean square.
        square = examples["square"]
        return square / (2 * np.sqrt(np.average(square, axis=1, weights=weights, keepdims=True)))
    return None


def _what_holds(design: Design, count: int, found: Together) -> Iterator[str]:
    """Yields how verdicts are given, and what the family interval contains."""
    family = f"the family interval (95 % for all {count} at once)"
    text = f'"helps" and "hurts" are said where {family} excludes 0.'
    if design.splits.kind == "validation":
        text += " On one split it contains the sampling error of the held-out samples, in quadrature."
    yield text
    if found.prior_df:
        yield (
            f"The variances of the {count} differences are moderated toward their common one: {found.df} "
            f"degrees of freedom, of which {design.evidence.df} are a difference's own."
        )


def numbers_in_words(design: Design, entry: Mapping[str, Any]) -> str:
    """Returns a difference with its intervals in words, or why there is none; without the verdict.

    Args:
        design: design of the sweep.
        entry: a line of `Comparison.table`.
    """
    if entry["status"] != "ok":
        return f"no verdict: {entry['status']}"
    if math.isnan(entry["se"]):
        count = entry["n"]
        spread = "no interval" if count < 2 else f"no spread in {count} {design.evidence.kind}"
        return f"{as_number(entry['difference'], '+')}, {spread}"
    half = (entry["high"] - entry["low"]) / 2
    words = with_interval(entry["difference"], entry["low"], entry["high"], "+")
    if not math.isnan(entry["sampling_se"]):
        words += f", held-out samples ± {rounded(entry['sampling_se'], half)} (1 se)"
    if math.isnan(entry["family_low"]):
        return words
    return f"{words}, family {between(entry['family_low'], entry['family_high'], half, '+')}"


def _sentence(design: Design, entry: Mapping[str, Any]) -> str:
    numbers = numbers_in_words(design, entry)
    has_interval = entry["status"] == "ok" and not math.isnan(entry["se"])
    return f"{numbers}: {entry['verdict']}" if has_interval else numbers


def verdict_of(low: float, high: float, higher: bool) -> str:
    """Returns "helps" or "hurts" where an interval excludes 0, else "not separated"; NaN is no interval."""
    if math.isnan(low) or low <= 0 <= high:
        return "not separated"
    return "helps" if (low > 0) == higher else "hurts"
