"""The results of a sweep: tables, paired comparisons, the choice; docs/intervals.md binds them.

`engine.sweep.run` makes them; users, figures, reports and the command line read them. Pandas is
imported where a table is made.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import check_choice
from regjax.core.metrics import without_split
from regjax.core.mlp import Params, decide, probabilities
from regjax.study.choice import Candidates, Choice, make_choice, mean_of_alive
from regjax.study.comparison import Comparison, Scores, compare, unit_interval
from regjax.study.configuration import value_of
from regjax.study.design import Design
from regjax.study.importance import Importance, importance
from regjax.study.intervals import between, rounded, shown_ends
from regjax.study.needs import choice_with_needs, with_needs
from regjax.study.notebook import MOST_ROWS, card
from regjax.study.one_question import ChoiceComparison, compare_choice
from regjax.study.plan import Plan
from regjax.study.predict import ensemble_scores, predicted, rows_of
from regjax.study.provenance import in_words
from regjax.study.questions import Questions
from regjax.study.records import final_records, num_params
from regjax.study.selection import Rule, higher_is_better, ranking
from regjax.study.words import as_cell

if TYPE_CHECKING:
    import pandas as pd

At = Literal["final", "at_best"]


class Answers(NamedTuple):
    """What `Questions` ask for.

    Attributes:
        comparison: comparison of all configurations with the baseline, or None.
        choice: the chosen configuration, or None.
        missing: why one of them is missing, a sentence each.
        first: whether choosing beats the baseline, or None.
    """

    comparison: Comparison | None = None
    choice: Choice | None = None
    missing: tuple[str, ...] = ()
    first: ChoiceComparison | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """A finished sweep. Rows are numbered configuration by configuration, seed by seed, fold by fold.

    Attributes:
        design: design of the sweep.
        plan: plan that it was trained by.
        records: metric -> `(rows, records)`; NaN after a row diverged or stopped and past its last record.
            With an average the metrics are of the average, and `…_last` of the last iterate.
        diverged_at: first recorded step at which a parameter or the cost was not finite, `(rows,)`, else -1.
        stopped_at: step at which early stopping ended a row, `(rows,)`, else -1.
        last_finite_cost: training cost of the record before, `(rows,)`, NaN where there is none.
        seconds: time of a worker, divided among the lanes of its chunk, `(rows,)`.
        kept: row -> parameters, NumPy arrays.
        examples: per-example validation scores of the final parameters, `(rows, n_val)` each, on one split.
        provenance: how each row was computed, JSON.
        compile_seconds: wall-clock time before the first step.
        train_seconds: wall-clock time of the rest.
        notes: sentences on what happened while training.
        recalled: number of rows that were not trained, because a store held them.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> results
        <regjax.Results: 2 configurations × 1 seeds × 2 folds, 0 diverged>
    """

    design: Design
    plan: Plan
    records: dict[str, np.ndarray]
    diverged_at: np.ndarray
    stopped_at: np.ndarray
    last_finite_cost: np.ndarray
    seconds: np.ndarray
    kept: dict[int, Params]
    examples: dict[str, np.ndarray] | None
    provenance: tuple[str, ...]
    compile_seconds: float
    train_seconds: float
    notes: tuple[str, ...] = ()
    recalled: int = 0

    def __len__(self) -> int:
        return len(self.seconds)

    def __repr__(self) -> str:
        bad, stopped = int(np.sum(self.diverged_at >= 0)), int(np.sum(self.stopped_at >= 0))
        return (
            f"<regjax.Results: {len(self.design.configurations)} configurations × "
            f"{len(self.design.seeds)} seeds × {self.design.num_folds} folds, {bad} diverged"
            + (f", {stopped} stopped early>" if stopped else ">")
        )

    def _repr_html_(self) -> str:
        design, count = self.design, len(self.design.configurations)
        if design.splits.kind == "none":
            return card(repr(self).strip("<>"), notes=self.notes)
        try:
            first = (
                self.compare_choice().sentence if design.splits.kind == "folds" else self.best().in_words()
            )
        except ValueError as error:  # one configuration, all diverged: the counts, and why there is no answer
            diverged = int(np.sum(self.diverged_at >= 0))
            counts = f"{count:,} × {design.num_replicates} networks, {diverged:,} diverged"
            first = f"{counts}; no answer: {error}"
        scores, num_ok = self.units(self.metric), self.num_ok()
        rows = []
        for place in ranking(scores.mean(axis=1), higher_is_better(self.metric))[:MOST_ROWS]:
            found = unit_interval(design, scores[place])
            half = (found.high - found.low) / 2
            name = design.in_words(design.configurations[place], 4)
            ends = shown_ends(self.metric, found.low, found.high)
            interval = between(*ends, half) if half > 0 else "–"
            numbers = "–" if np.isnan(found.mean) else rounded(found.mean, half), interval
            rows.append((name, *numbers, f"{num_ok[place]} of {design.num_replicates}"))
        head = ("configuration", self.metric, "95 %", "networks ok")
        return card(first, head, rows, count=count, notes=self.notes)

    @property
    def metric(self) -> str:
        """The metric that is ranked unless another is named: val_accuracy or val_r2."""
        return self.design.check_metric(None)

    @property
    def num_records(self) -> int:
        """Columns of the records: those of the longest run."""
        return next(iter(self.records.values())).shape[1]

    def steps(self, configuration: int) -> np.ndarray:
        """Returns the recorded steps of a configuration."""
        config = self.design.configs[configuration]
        return np.append(np.arange(0, config.num_steps, config.eval_every), config.num_steps)

    def values(self, metric: str, at: At = "final") -> np.ndarray:
        """Returns a metric per row, `(rows,)`: of its final parameters, or at the best validation step.

        Final are those after the last step; with patience, those that were put back.

        Args:
            metric: name of a recorded metric, such as "val_accuracy".
            at: "final", or "at_best": at the best validation step.

        Raises:
            ValueError: a metric that was not recorded, or an unknown `at`.
        """
        check_choice("at", at, ("final", "at_best"))
        if metric not in self.records:
            raise ValueError(f"metric must be one of {', '.join(self.records)}, got {metric!r}")
        return self.records[metric][np.arange(len(self)), self._record(at)]

    def _record(self, at: At) -> np.ndarray:
        """Returns the index of the record of each row, `(rows,)`."""
        last = self._final
        if at == "final":
            return last
        metric = self.design.metric
        scores = self.records[metric]
        worst = -np.inf if higher_is_better(metric) else np.inf
        scores = np.where(np.isnan(scores), worst, scores)
        best = np.argmax(scores, axis=1) if worst < 0 else np.argmin(scores, axis=1)
        # A row that diverged has no best step: it must not be ranked by what it was before.
        return np.where(self.diverged_at >= 0, last, best)

    @functools.cached_property
    def _final(self) -> np.ndarray:
        return final_records(self.design, self.records, self.diverged_at, self.stopped_at)

    def _final_steps(self) -> np.ndarray:
        """Returns the step of each row's final parameters, `(rows,)`."""
        steps = [self.steps(configuration) for configuration in range(len(self.design.configs))]
        per = self.design.num_replicates
        return np.array([steps[row // per][record] for row, record in enumerate(self._final)])

    def table(self, metric: str, at: At = "final") -> np.ndarray:
        """Returns a metric as `(configurations, seeds, folds)`. Arguments as in `values`."""
        design = self.design
        return self.values(metric, at).reshape(-1, len(design.seeds), design.num_folds)

    def to_pandas(self) -> pd.DataFrame:
        """Returns a table with a line per row, configuration × seed × fold.

        Columns: `configuration`, the hyperparameters that the grid names, `seed`, `fold`, `status` ("ok" or
        "diverged"), `diverged_at`, `last_finite_cost`, `final_*` and (with validation) `at_best_*`
        metrics with `best_step`; with patience `stopped_at` and `final_step`, whose parameters were put
        back; `seconds`, and `provenance`: how each was computed, in words.
        """
        import pandas as pd

        design = self.design
        rows = [design.row(index) for index in range(len(self))]
        columns: dict[str, Any] = {"configuration": [row.configuration for row in rows]}
        for name in design.names:
            columns[name] = [as_cell(value_of(design.configurations[r.configuration], name)) for r in rows]
        columns["seed"] = [row.seed for row in rows]
        columns["fold"] = [row.fold for row in rows]
        columns["status"] = np.where(self.diverged_at >= 0, "diverged", "ok")
        columns["diverged_at"] = pd.Series(self.diverged_at, dtype="Int64").mask(self.diverged_at < 0)
        columns["last_finite_cost"] = np.where(self.diverged_at >= 0, self.last_finite_cost, np.nan)
        columns |= {f"final_{metric}": self.values(metric) for metric in self.records}
        if design.splits.kind != "none":
            columns |= {f"at_best_{metric}": self.values(metric, "at_best") for metric in self.records}
            record = self._record("at_best")
            columns["best_step"] = [self.steps(row.configuration)[record[i]] for i, row in enumerate(rows)]
        if any(group.stops_early for group in self.plan.groups):
            columns["stopped_at"] = pd.Series(self.stopped_at, dtype="Int64").mask(self.stopped_at < 0)
            columns["final_step"] = self._final_steps()
        columns["seconds"] = self.seconds
        columns["provenance"] = [in_words(how) for how in self.provenance]
        return pd.DataFrame(columns)

    def curves(self) -> pd.DataFrame:
        """Returns a table with a line per row and recorded step: `row`, `configuration`, the grid's
        hyperparameters, `seed`, `fold`, `step` and the metrics.
        """
        import pandas as pd

        design, parts = self.design, []
        for index in range(len(self)):
            row = design.row(index)
            steps = self.steps(row.configuration)
            configuration = design.configurations[row.configuration]
            named = {name: as_cell(value_of(configuration, name)) for name in design.names}
            columns = {"row": index, "configuration": row.configuration} | named
            columns |= {"seed": row.seed, "fold": row.fold, "step": steps}
            columns |= {name: values[index, : len(steps)] for name, values in self.records.items()}
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def params(self, row: int) -> Params:
        """Returns the final parameters of a row, NumPy arrays.

        Raises:
            KeyError: they were not kept, or the row diverged.
        """
        if row not in self.kept:
            reason = f"keep={self.plan.keep!r}, or the sweep that trained it kept none"
            reason = "it diverged" if self.diverged_at[row] >= 0 else reason
            raise KeyError(f"row {row} has no parameters: {reason}")
        return self.kept[row]

    def predict(self, row: int, X: ArrayLike, *, ensemble: bool = False) -> np.ndarray:
        """Returns what the network of a row predicts: labels `(n,)`, or real values `(n,)` or `(n, outputs)`.

        Real values are in the unit of the targets, also where those were standardised for training.

        Args:
            row: number of the row.
            X: `(n_samples, n_features)`, as handed to `sweep`; of a table a frame, whose columns are found by
                name. Its inputs are made as the row's training made them.
            ensemble: average the networks of all seeds and folds of the row's configuration instead:
                probabilities of classes, or real values.

        Raises:
            KeyError: parameters were not kept, or a network of them diverged.
            TypeError: X is no frame where the training table has gaps or categories.
            ValueError: X of another shape, or columns that are missing or unknown.
        """
        if not np.issubdtype(self.design.data.y.dtype, np.integer):
            found = self._mean(decide, row, X, ensemble)
            return found[0] if len(found) == 1 else found.T
        if ensemble:
            labels = np.argmax(self.predict_proba(row, X, ensemble=True), axis=1)
        else:
            labels = self._mean(decide, row, X, ensemble=False)[0]
        return labels if self.design.classes is None else self.design.classes[labels]

    def predict_proba(self, row: int, X: ArrayLike, *, ensemble: bool = False) -> np.ndarray:
        """Returns probabilities of the classes, `(n, n_classes)`; arguments and errors as in `predict`."""
        found = self._mean(probabilities, row, X, ensemble)
        return np.stack([1 - found[0], found[0]], axis=1) if len(found) == 1 else found.T

    def _mean(self, run: Any, row: int, X: ArrayLike, ensemble: bool) -> np.ndarray:
        """Returns the prediction of a row, or the mean over all rows of its configuration."""
        samples = rows_of(self.design, X)
        if not ensemble:
            return predicted(run, self.design, row, self.params(row), samples)
        first = row - row % self.design.num_replicates
        rows = range(first, first + self.design.num_replicates)
        return np.mean(
            [predicted(run, self.design, other, self.params(other), samples) for other in rows], axis=0
        )

    def ensemble(self, metric: str) -> np.ndarray:
        """Returns a validation metric of the mean of each configuration's seeds, `(configurations, folds)`.

        In each fold the networks of all seeds are averaged (probabilities of classes, real values) and scored
        on the samples that none of them was trained on. NaN where a network diverged or was not kept.
        """
        return ensemble_scores(self.design, self.kept, self.design.check_metric(metric))

    def carried_on(self, metric: str, configuration: int) -> np.ndarray:
        """Returns the records of a configuration, `(seeds, folds, records)`, NaN past its last step.

        A network that stopped early keeps its final value up to the end. Arguments as in `values`.
        """
        design, steps = self.design, len(self.steps(configuration))
        first = design.index(configuration, 0, 0)
        rows = slice(first, first + design.num_replicates)
        table = self.records[metric][rows].astype(np.float64)
        every, stopped_at = design.configs[configuration].eval_every, self.stopped_at[rows]
        for row in np.flatnonzero(stopped_at >= 0).tolist():
            final = self.records[metric][first + row, self._final[first + row]]
            # Rounded up, to the record at which it stopped; its final one may be earlier, with patience.
            table[row, -(-stopped_at[row] // every) + 1 : steps] = final
        return table.reshape(len(design.seeds), design.num_folds, -1)

    def units(self, metric: str, at: At = "final") -> np.ndarray:
        """Returns `(configurations, units)`: a mean over seeds, or a seed; arguments as in `values`."""
        table = self.table(metric, at).astype(np.float64)
        # Seeds of one fold share its samples: only folds are independent enough to count as evidence.
        return table.mean(axis=1) if self.design.splits.kind == "folds" else table[:, :, 0]

    def gap(self, metric: str) -> np.ndarray:
        """Returns how much better a metric is in training than in validation, `(configurations, units)`."""
        name = without_split(self.design.check_metric(metric))
        difference = self.units(f"train_{name}") - self.units(f"val_{name}")
        return difference if higher_is_better(name) else -difference

    def summary(self, metric: str | None = None, *, ensemble: bool = False) -> pd.DataFrame:
        """Returns a table with a line per configuration.

        Columns: `configuration`; the grid's hyperparameters; `num_params`; `networks` and how many of them
        are `ok`; with early stopping how many `stopped`, and the mean `final_step`; the ranked metric's mean
        (NaN where a network diverged), its `se` (over folds it is corrected for the training
        samples that they share) and 95 % `low`, `high`; its mean over those that are ok, `of_ok`;
        `train_…` of the same and `val_loss`. Without validation: the training metrics alone. No column is of
        the test samples.

        Args:
            metric: validation metric; None takes val_accuracy or val_r2.
            ensemble: add `ensemble_…` of the ranked metric and of `val_loss`: of the mean of the seeds, see
                `ensemble`, averaged over folds.
        """
        import pandas as pd

        design = self.design
        ranked = None if design.splits.kind == "none" else design.check_metric(metric)
        columns: dict[str, Any] = {"configuration": range(len(design.configurations))}
        for name in design.names:
            columns[name] = [as_cell(value_of(c, name)) for c in design.configurations]
        columns["num_params"] = [num_params(config) for config in design.configs]
        columns["networks"] = design.num_replicates
        columns["ok"] = self.num_ok()
        if any(group.stops_early for group in self.plan.groups):
            shape = (-1, design.num_replicates)
            columns["stopped"] = (self.stopped_at.reshape(shape) >= 0).sum(axis=1)
            columns["final_step"] = self._final_steps().reshape(shape).mean(axis=1)
        others = [name for name in self.records if name.startswith("train_")]
        if ranked is not None:
            found = [unit_interval(design, row) for row in self.units(ranked)]
            columns[ranked] = [interval.mean for interval in found]
            for name in ("se", "low", "high"):
                columns[name] = [getattr(interval, name) for interval in found]
            columns["of_ok"] = mean_of_alive(self.table(ranked))
            others = [f"train_{without_split(ranked)}", "val_loss", "train_loss", "train_cost"]
        columns |= {name: self.table(name).mean(axis=(1, 2)) for name in others if name not in columns}
        if ensemble and ranked is not None:
            for name in dict.fromkeys((ranked, "val_loss")):
                columns[f"ensemble_{name}"] = self.ensemble(name).mean(axis=1)
        return pd.DataFrame(columns)

    def num_ok(self) -> np.ndarray:
        """Returns the networks of each configuration that did not diverge, `(configurations,)`."""
        return (self.diverged_at.reshape(-1, self.design.num_replicates) < 0).sum(axis=1)

    def best(self, metric: str | None = None, rule: Rule = "mean", *, allow_diverged: bool = False) -> Choice:
        """Returns the chosen configuration, by validation alone.

        Args:
            metric: a validation metric; None takes val_accuracy or val_r2, of the final parameters.
            rule: "mean" or "one_se", see `selection.choose`.
            allow_diverged: let configurations compete by their networks that did not diverge.

        Raises:
            ValueError: nothing was held out, all diverged, or one_se with fewer than two units.
        """
        design, metric = self.design, self.design.check_metric(metric)
        scores, table = self.units(metric), self.table(metric)
        if allow_diverged:
            scores = mean_of_alive(table, 1 if design.splits.kind == "folds" else 2)
        test_metric = f"test_{without_split(metric)}"
        test = mean_of_alive(self.table(test_metric)) if test_metric in self.records else None
        scored = Candidates(design, metric, scores, mean_of_alive(table), test, self.num_ok())
        return make_choice(scored, rule)

    def compare(
        self, baseline: Mapping[str, Any] | None = None, over: Sequence[str] = (), metric: str | None = None
    ) -> Comparison:
        """Returns the paired differences of all configurations to a baseline.

        Args:
            baseline: values that make a configuration the baseline, such as `{"l2": 0, "keep_prob": 1}`;
                each configuration is paired with the one that agrees with it on all other axes. None:
                every regulariser of the grid off.
            over: axes of which each arm uses its own best value, chosen with the scored unit left out.
            metric: a validation metric; None takes val_accuracy or val_r2, of the final parameters.

        Raises:
            TypeError: a baseline that is no mapping, or `over` that is no names.
            ValueError: no such baseline in the grid, or nothing held out; says how to mend it.
        """
        asked = Questions(baseline=baseline, over=over)
        metric = self.design.check_metric(metric)
        scores = Scores(self.design, metric, self.units(metric), self.num_ok(), self.examples)
        found = compare(scores, asked.baseline, asked.over)
        return with_needs(found, self.design, self.table(metric))

    def compare_choice(
        self,
        baseline: Mapping[str, Any] | None = None,
        over: Sequence[str] = (),
        metric: str | None = None,
        rule: Rule = "mean",
    ) -> ChoiceComparison:
        """Returns whether choosing a configuration beats the baseline: one paired difference, one verdict.

        In each fold the configuration that is chosen on the other folds is scored, less the baseline; of
        several baselines, which differ on axes that it does not name, the one that is chosen on the other
        folds. With repeats the other folds are those of the same repeat.

        Args:
            baseline: values that make a configuration the baseline; None: every regulariser of the grid off.
            over: axes that the baseline leaves open, as in `compare`.
            metric: a validation metric; None takes val_accuracy or val_r2, of the final parameters.
            rule: "mean" or "one_se", by which the choice is made.

        Raises:
            TypeError: a baseline that is no mapping, or `over` that is no names.
            ValueError: no such baseline in the grid, no folds, or none of the baseline's networks is sound.

        References:
            Varma & Simon 2006; Nadeau & Bengio 2003, eq. 16.
        """
        asked = Questions(baseline=baseline, over=over, rule=rule)
        metric = self.design.check_metric(metric)
        scores = Scores(self.design, metric, self.units(metric), self.num_ok(), None)
        found = compare_choice(scores, asked.baseline, asked.over, asked.rule)
        return choice_with_needs(found, self.design, self.table(metric))

    def importance(
        self,
        *,
        configuration: int | None = None,
        metric: str | None = None,
        repeats: int = 10,
        seed: int = 0,
        max_samples: int | None = None,
    ) -> Importance:
        """Returns which columns matter: the drop in a metric where each is shuffled, see `importance`.

        Args:
            configuration: number of a configuration; None takes the chosen one, `best(metric)`.
            metric: a validation metric; None takes val_accuracy or val_r2.
            repeats: number of permutations of each column, at least 1.
            seed: seed of the permutations.
            max_samples: most held-out samples of a fold; None takes all.

        Raises:
            TypeError: as `importance`.
            ValueError: nothing was held out, no such configuration, or none of its networks has parameters.
        """
        options: Any = {"repeats": repeats, "seed": seed, "max_samples": max_samples}
        return importance(self, configuration=configuration, metric=metric, **options)

    def answers(self, questions: Questions) -> Answers:
        """Returns whether choosing helps, the comparison and the choice, and why one of them is missing."""
        first, comparison, choice, missing = None, None, None, []
        try:
            comparison = self.compare(questions.baseline, questions.over, questions.metric)
            first = self.compare_choice(questions.baseline, questions.over, questions.metric, questions.rule)
        except ValueError as error:
            what = "comparison" if comparison is None else "answer to whether choosing beats the baseline"
            missing.append(f"no {what}: {error}")
        try:
            choice = self.best(questions.metric, questions.rule, allow_diverged=questions.allow_diverged)
        except ValueError as error:
            missing.append(f"no choice: {error}")
        return Answers(comparison, choice, tuple(missing), first)
