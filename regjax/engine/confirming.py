"""The comparison at the end of `tune`: on rows that the search never saw, or in outer folds.

`engine/tune.py` calls `confirmed`. Only what is trained here may say "helps" (docs/tune.md).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regjax.data.splits import Splits, make_splits
from regjax.engine.refit import on_splits
from regjax.engine.searching import Work
from regjax.engine.sweep import run
from regjax.engine.tuning import Size
from regjax.store.store import Store
from regjax.study.comparison import (
    Comparison,
    Scores,
    compare,
    numbers_in_words,
    row_variance,
    unit_interval,
    unrounded,
    verdict_of,
)
from regjax.study.configuration import value_of
from regjax.study.design import Design, part_of
from regjax.study.intervals import LEVEL, Interval, around, as_number
from regjax.study.needs import outer_in_words, with_needs
from regjax.study.power import in_words
from regjax.study.questions import Origin, Questions
from regjax.study.results import Results
from regjax.study.selection import higher_is_better
from regjax.study.tuned import Race

Best = Mapping[tuple[int, str], Sequence[int]]
NOTHING = Interval(math.nan, math.nan, 0, math.nan, math.nan, math.nan)


class Found(NamedTuple):
    """The outcome of a comparison.

    Attributes:
        verdict: "helps", "hurts", "not separated", or "" where there is none.
        difference: the difference with the interval that the verdict rests on.
        chosen: number of the configuration of the model.
        score: mean of the metric of the chosen one, or of what was chosen in each outer fold.
        over: what that mean is taken over, in words.
        results: results of the networks that were compared.
        of_choice: results of what was chosen alone: in each outer fold of its own choice.
        networks: how many they are, and their steps.
        comparison: comparison of the finalists, or None.
        folds: scores in each outer fold, `(outer folds, 2)`, or None.
        notes: sentences, why there is no verdict first.
    """

    verdict: str
    difference: Interval
    chosen: int
    score: float
    over: str
    results: Results
    of_choice: Results
    networks: Size
    comparison: Comparison | None = None
    folds: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def confirmed(
    design: Design, race: Race, best: Best, store: Store | None, work: Work, origin: Origin
) -> Found:
    """Returns the comparison of what a search found with its baseline.

    Args:
        design: design of the search.
        race: its race.
        best: (outer fold or -1, role) -> the best configurations of the search.
        store: an open store, or None.
        work: how it is worked at.
        origin: where it comes from.
    """
    origin = origin._replace(search=race._replace(part="confirm").as_json())
    found = _on_held_out_rows if race.mode == "holdout" else _in_outer_folds
    return found(design, race, best, store, work, origin)


def once(design: Design) -> Design:
    """Returns a design whose networks are recorded at the end alone, unless they stop early."""
    configs = tuple(
        config if design.stops_early(index) else dataclasses.replace(config, eval_every=config.num_steps)
        for index, config in enumerate(design.configs)
    )
    return dataclasses.replace(design, configs=configs)


def _design(design: Design, indices: Sequence[int], race: Race) -> Design:
    """Returns the design of the comparison of some configurations."""
    one, stopping = part_of(design, indices), None
    if any(one.stops_early(index) for index in range(len(indices))) and design.splits.stop is not None:
        splits: Splits = design.splits
        assert splits.stop is not None
        stopping = float(np.count_nonzero(splits.stop[0]) / np.count_nonzero(splits.train[0]))
    pairs = race.pairs(design.data.x.shape[1])
    return once(on_splits(one, make_splits(design.data, pairs, stopping=stopping), race.seeds))


def _trained(
    design: Design, rows: Sequence[int] | None, questions: Questions, store: Store | None, work: Work,
    origin: Origin,
) -> tuple[Results, Size]:  # fmt: skip
    """Returns the results of these rows, None being all, and their number."""
    plan = work.plan(design, keep="all")
    results = run(
        design, store, plan=plan, rows=rows, questions=questions, origin=origin, report=work.report,
    )  # fmt: skip
    rows = range(design.num_rows) if rows is None else rows
    steps = sum(design.configs[design.row(row).configuration].num_steps for row in rows)
    return results, Size(len(rows), steps)


def _on_held_out_rows(
    design: Design, race: Race, best: Best, store: Store | None, work: Work, origin: Origin
) -> Found:
    """Returns the comparison of the finalists with the baseline on the rows that the search never saw."""
    finalists, base = best[-1, "candidates"], best[-1, "baseline"][0]
    own = _design(design, [*finalists, base], race)
    baseline: dict[str, Any] = {name: value_of(design.configurations[base], name) for name in own.names}
    questions = Questions(metric=race.metric, baseline=baseline)
    results, networks = _trained(own, None, questions, store, work, origin)
    comparison = compared(results, questions)
    higher = higher_is_better(race.metric)
    entries = comparison.table.to_dict("records")
    sound = [place for place, entry in enumerate(entries) if entry["status"] == "ok"]
    scores, over = results.units(race.metric).mean(axis=1), own.evidence.mean_in_words()
    if not sound:
        why = f"networks of every finalist, or of the baseline, diverged ({entries[0]['status']})"
        place = len(finalists) if math.isfinite(scores[-1]) else 0
        chosen = [*finalists, base][place]
        alone, score = _of_choice(results, [place]), float(scores[place])
        return Found("", NOTHING, chosen, score, over, results, alone, networks, comparison, notes=(why,))
    # The family interval holds for all finalists at once, so that the best of them may be taken.
    place = max(sound, key=lambda p: entries[p]["difference"] * (1 if higher else -1))
    entry = entries[place]
    difference = Interval(
        entry["difference"], math.hypot(entry["se"], entry["sampling_se"]), int(entry["df"]),
        entry["family_low"], entry["family_high"], entry["p_family"],
    )  # fmt: skip
    if not _gains(entry["difference"], higher):
        place = len(finalists)
    chosen, score = [*finalists, base][place], float(scores[place])
    alone = _of_choice(results, [place])
    notes = ()
    if math.isnan(entry["sampling_se"]) and not math.isnan(entry["se"]):
        notes = (
            f"no interval: the error of {race.metric} that comes from the held-out rows is not known, so "
            "this comparison cannot say that one helps; --confirm nested can",
        )
    elif math.isfinite(entry["detectable"]):
        words = in_words(entry["detectable"], entry["difference"], entry["needs"])
        notes = (f"This evidence {words}.",)
    return Found(
        entry["verdict"], difference, chosen, score, over, results, alone, networks, comparison, notes=notes
    )


def _gains(difference: float, higher: bool) -> bool:
    """Returns whether a difference is in favour of the candidate; of none the model is the baseline's."""
    return difference > 0 if higher else difference < 0


def compared(results: Results, questions: Questions) -> Comparison:
    """Returns the comparison of finalists with the baseline on the rows that their search never saw."""
    design, metric = results.design, results.design.check_metric(questions.metric)
    scores = Scores(design, metric, results.units(metric), results.num_ok(), results.examples)
    found = with_held_out_df(compare(scores, questions.baseline, ()), design)
    return with_needs(found, design, results.table(metric))


def with_held_out_df(comparison: Comparison, design: Design) -> Comparison:
    """Returns a comparison on one split whose family intervals have the degrees of freedom of both errors.

        df = (s² + e²)² / (s⁴ / (S - 1) + e⁴ / (n - 1))

    s is the error over S seeds and e that of n held-out rows. Where e dominates, as it does on few rows,
    S - 1 would be as if those few seeds were all that is known of it. The family is Bonferroni's: of three
    lines it is hardly wider than any other. `df`, `p`, `p_family`, `reach`, `family_low`, `family_high`,
    `verdict` and `sentence` are new; `needs.with_needs` then says what it would take.

    Args:
        comparison: comparison with a baseline, on one split.
        design: its design.

    References:
        Satterthwaite 1946, eq. 17; simulated in `benchmarks/coverage_tune.py`.
    """
    num_rows, num_seeds = int(design.splits.num_val[0]), len(design.seeds)
    table, higher = comparison.table.copy(), higher_is_better(comparison.metric)
    lines = table.to_dict("records")
    for entry in lines:
        entry["df"] = max(0, num_seeds - 1)
        se, sampling = entry["se"], entry["sampling_se"]
        if entry["status"] != "ok" or math.isnan(se + sampling):
            continue
        both = math.hypot(se, sampling)
        of_both = se**4 / (num_seeds - 1) + sampling**4 / (num_rows - 1)
        entry["df"] = math.floor(both**4 / of_both)
        level = 1 - (1 - LEVEL) / len(lines)
        found = around(entry["difference"], both, entry["df"], level)
        low, high = entry["family_low"], entry["family_high"] = found.low, found.high
        entry["p"], entry["p_family"] = found.p, min(1.0, len(lines) * found.p)
        entry["reach"] = (high - low) / 2 / both
        entry["verdict"] = verdict_of(low, high, higher)
        entry["sentence"] = f"{numbers_in_words(design, entry)}: {entry['verdict']}"
    for name in ("df", "p", "p_family", "reach", "family_low", "family_high", "verdict", "sentence"):
        table[name] = [entry[name] for entry in lines]
    return dataclasses.replace(comparison, table=table)


def _in_outer_folds(
    design: Design, race: Race, best: Best, store: Store | None, work: Work, origin: Origin
) -> Found:
    """Returns the difference of what each outer fold's searches chose, on that outer fold."""
    outer = range(len(race.confirms))
    pairs = [[best[fold, role][0] for role in ("candidates", "baseline")] for fold in outer]
    indices = sorted({index for pair in pairs for index in pair})
    own = _design(design, indices, race)
    places = [[indices.index(index) for index in pair] for pair in pairs]
    seeds = range(len(race.seeds))
    rows = sorted({own.index(place, s, fold) for fold in outer for place in places[fold] for s in seeds})
    questions = Questions(metric=race.metric)
    results, networks = _trained(own, rows, questions, store, work, origin)
    table = results.table(race.metric).astype(np.float64)
    folds = np.array([[table[place, :, fold].mean() for place in places[fold]] for fold in outer])
    chosen, base = best[-1, "candidates"][0], best[-1, "baseline"][0]
    alone = _of_choice(results, [places[fold][0] for fold in outer])
    score, over = float(folds[:, 0].mean()), f"over {len(outer)} outer folds"
    if np.isnan(folds).any():
        why = "a network of the comparison diverged, or the metric is not defined in an outer fold"
        return Found("", NOTHING, chosen, score, over, results, alone, networks, None, folds, (why,))
    differences = unrounded(folds[:, 0] - folds[:, 1], folds, own.configs[0].dtype)
    least = float(row_variance(own, race.metric, differences[None])[0])
    difference = unit_interval(own, differences, least)
    higher = higher_is_better(race.metric)
    verdict = verdict_of(difference.low, difference.high, higher)
    of_both = " and ".join(as_number(mean) for mean in folds.mean(axis=0))
    notes = [f"{race.metric} over the outer folds: {of_both} of the baseline"]
    if verdict == "not separated" and not math.isnan(difference.se):
        one, other = (
            np.stack([table[places[fold][side], :, fold] for fold in outer], axis=1) for side in (0, 1)
        )
        notes.append(f"This evidence {outer_in_words(difference, own, one - other)}.")
    gains = _gains(difference.mean, higher)
    return Found(
        verdict, difference, chosen if gains else base, score, over, results, alone, networks,
        None, folds, tuple(notes),
    )  # fmt: skip


def _of_choice(results: Results, places: Sequence[int]) -> Results:
    """Returns results of one configuration, or of another one in each fold, as of a sweep of one.

    Args:
        results: results of the networks that were compared.
        places: number of the configuration in each fold; the design of the first one stands for all.
    """
    design = results.design
    rows = [
        design.index(place, seed, fold)
        for seed in range(len(design.seeds))
        for fold, place in enumerate(places)
    ]
    return dataclasses.replace(
        results,
        design=part_of(design, places[:1]),
        plan=results.plan.part(places[:1]),
        records={name: values[rows] for name, values in results.records.items()},
        diverged_at=results.diverged_at[rows],
        stopped_at=results.stopped_at[rows],
        last_finite_cost=results.last_finite_cost[rows],
        seconds=results.seconds[rows],
        kept={new: results.kept[old] for new, old in enumerate(rows) if old in results.kept},
        examples=None
        if results.examples is None
        else {name: values[rows] for name, values in results.examples.items()},
        provenance=tuple(results.provenance[row] for row in rows),
    )
