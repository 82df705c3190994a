"""What a sweep found: tables, paired comparisons, the choice; bound by docs/intervals.md.

Pandas is imported where a table is made.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from regjax.core.checks import check_choice
from regjax.core.config import Loss, local_x64
from regjax.core.hparams import OFF_VALUES
from regjax.core.metrics import metrics
from regjax.core.mlp import Params, predict, predict_proba
from regjax.core.objective import resolve_loss
from regjax.study.comparison import Comparison, Scores, compare, unit_interval
from regjax.study.configuration import Configuration, value_of
from regjax.study.design import Design
from regjax.study.plan import Plan
from regjax.study.provenance import in_words
from regjax.study.records import final_records, num_params
from regjax.study.selection import (
    Rule,
    choose,
    higher_is_better,
    left_out,
    ranking,
    simpler_in_words,
    simplicity,
    within_one_se,
)
from regjax.study.words import as_cell, as_text

if TYPE_CHECKING:
    import pandas as pd

At = Literal["final", "at_best"]


@dataclasses.dataclass(frozen=True)
class Choice:
    """The chosen configuration.

    Attributes:
        index: of the configuration.
        configuration: its values.
        rule: "mean" or "one_se".
        metric: what was ranked.
        validation: its mean on validation: selected among many, so optimistic.
        corrected: the same corrected for the selection (chosen on all folds but one, scored on that one),
            or None where there is one split.
        test: its mean on the test rows, or None where there are none.
        num_candidates: configurations it was selected among.
        reason: why, in a sentence.
        warnings: that it lies at the edge of the grid, for instance.
    """

    index: int
    configuration: Configuration
    rule: Rule
    metric: str
    validation: float
    corrected: float | None
    test: float | None
    num_candidates: int
    reason: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return self.in_words() + "".join(f"\nwarning: {w}" for w in self.warnings)

    def in_words(self) -> str:
        """Returns the reason and the scores in one line, without the warnings."""
        name = self.metric.removeprefix("val_")
        among = f" (selected among {self.num_candidates}: optimistic)" if self.num_candidates > 1 else ""
        parts = [self.reason, f"validation {name} {self.validation:.4f}{among}"]
        if self.corrected is not None:
            parts.append(f"corrected for the selection {self.corrected:.4f}")
        if self.test is not None:
            parts.append(f"test {name} {self.test:.4f}")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """A finished sweep. Rows are numbered configuration by configuration, seed by seed, fold by fold.

    Attributes:
        design: what was asked.
        plan: how it was computed.
        records: metric -> `(rows, records)`; NaN after a row diverged or stopped and past its last record.
            Beside an average, which the metrics are then of, `…_last` is of the last iterate.
        diverged_at: first recorded step at which a parameter or the cost was not finite, `(rows,)`, else -1.
        stopped_at: step at which early stopping ended a row, `(rows,)`, else -1.
        last_finite_cost: training cost of the record before, `(rows,)`, NaN where there is none.
        seconds: of a worker, shared out to the lanes of its chunk, `(rows,)`.
        kept: row -> parameters, NumPy arrays.
        examples: per-example validation scores of the final parameters, `(rows, n_val)` each, on one split.
        provenance: how each row was computed, JSON.
        compile_seconds: before the first step.
        train_seconds: wall clock of the rest.
        notes: what happened on the way.
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

    def __len__(self) -> int:
        return len(self.seconds)

    def __repr__(self) -> str:
        bad, stopped = int(np.sum(self.diverged_at >= 0)), int(np.sum(self.stopped_at >= 0))
        return (
            f"<regjax.Results: {len(self.design.configurations)} configurations × "
            f"{len(self.design.seeds)} seeds × {self.design.num_folds} folds, {bad} diverged"
            + (f", {stopped} stopped early>" if stopped else ">")
        )

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
        """
        check_choice("at", at, ("final", "at_best"))
        if metric not in self.records:
            raise ValueError(f"metric must be one of {', '.join(self.records)}, got {metric!r}")
        return self.records[metric][np.arange(len(self)), self._record(at)]

    def _record(self, at: At) -> np.ndarray:
        """Returns which record of each row is meant, `(rows,)`."""
        last = self._final
        if at == "final":
            return last
        metric = self.design.metric
        scores = self.records[metric]
        worst = -np.inf if higher_is_better(metric) else np.inf
        scores = np.where(np.isnan(scores), worst, scores)
        best = np.argmax(scores, axis=1) if worst < 0 else np.argmin(scores, axis=1)
        # A run that diverged has no step to go back to: it is not rewarded for how it was before.
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
        """Returns a metric as `(configurations, seeds, folds)`."""
        design = self.design
        return self.values(metric, at).reshape(-1, len(design.seeds), design.num_folds)

    def to_pandas(self) -> pd.DataFrame:
        """Returns a table with a row per configuration × seed × fold.

        Columns: `configuration`, the hyperparameters that the grid names, `seed`, `fold`, `status` ("ok" or
        "diverged"), `diverged_at`, `last_finite_cost`, `final_*` and (with validation) `at_best_*`
        metrics with `best_step`; with patience `stopped_at` and `final_step`, whose parameters were put
        back; `seconds`, and `provenance`: how each was computed, in words.
        """
        import pandas as pd

        design = self.design
        rows = [design.row(index) for index in range(len(self))]
        columns: dict[str, Any] = {"configuration": [row.configuration for row in rows]}
        for name in self.design.names:
            columns[name] = [as_cell(value_of(design.configurations[r.configuration], name)) for r in rows]
        columns["seed"] = [row.seed for row in rows]
        columns["fold"] = [row.fold for row in rows]
        columns["status"] = np.where(self.diverged_at >= 0, "diverged", "ok")
        columns["diverged_at"] = pd.array(np.where(self.diverged_at >= 0, self.diverged_at, 0), dtype="Int64")
        columns["last_finite_cost"] = np.where(self.diverged_at >= 0, self.last_finite_cost, np.nan)
        columns |= {f"final_{metric}": self.values(metric) for metric in self.records}
        if design.splits.kind != "none":
            columns |= {f"at_best_{metric}": self.values(metric, "at_best") for metric in self.records}
            record = self._record("at_best")
            columns["best_step"] = [self.steps(row.configuration)[record[i]] for i, row in enumerate(rows)]
        if any(group.stops for group in self.plan.groups):
            columns["stopped_at"] = pd.array(self.stopped_at, dtype="Int64")
            columns["final_step"] = self._final_steps()
        columns["seconds"] = self.seconds
        columns["provenance"] = [in_words(how) for how in self.provenance]
        table = pd.DataFrame(columns)
        table.loc[self.diverged_at < 0, "diverged_at"] = pd.NA
        if "stopped_at" in table:
            table.loc[self.stopped_at < 0, "stopped_at"] = pd.NA
        return table

    def curves(self) -> pd.DataFrame:
        """Returns a table with a row per network and recorded step: `row`, `configuration`, the grid's
        hyperparameters, `seed`, `fold`, `step` and the metrics.
        """
        import pandas as pd

        design, parts = self.design, []
        for index in range(len(self)):
            row = design.row(index)
            steps = self.steps(row.configuration)
            fixed = {
                name: as_cell(value_of(design.configurations[row.configuration], name))
                for name in self.design.names
            }
            fixed = {"row": index, "configuration": row.configuration} | fixed
            metrics = {name: values[index, : len(steps)] for name, values in self.records.items()}
            columns = fixed | {"seed": row.seed, "fold": row.fold, "step": steps} | metrics
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def params(self, row: int) -> Params:
        """Returns the final parameters of a row, NumPy arrays.

        Raises:
            KeyError: they were not kept, or the row diverged.
        """
        if row not in self.kept:
            reason = f"keep={self.plan.keep!r}, or whoever trained it kept none"
            reason = "it diverged" if self.diverged_at[row] >= 0 else reason
            raise KeyError(f"row {row} has no parameters: {reason}")
        return self.kept[row]

    def predict(self, row: int, X: ArrayLike, *, ensemble: bool = False) -> np.ndarray:
        """Returns what the network of a row predicts: labels `(n,)`, or real values `(n,)` or `(n, outputs)`.

        Args:
            row: its number.
            X: `(n_samples, n_features)`, as handed to `sweep`: it is standardised as the row's training was.
            ensemble: average the networks of all seeds and folds of the row's configuration instead:
                probabilities of classes, or real values.

        Raises:
            KeyError: parameters were not kept, or a network of them diverged.
            ValueError: X of another shape.
        """
        if not np.issubdtype(self.design.data.y.dtype, np.integer):
            found = self._mean(predict, row, X, ensemble)
            return found[0] if len(found) == 1 else found.T
        if ensemble:
            labels = np.argmax(self.predict_proba(row, X, ensemble=True), axis=1)
        else:
            labels = self._predict(predict, row, X)[0]
        return labels if self.design.classes is None else self.design.classes[labels]

    def predict_proba(self, row: int, X: ArrayLike, *, ensemble: bool = False) -> np.ndarray:
        """Returns probabilities of the classes, `(n, n_classes)`; arguments and errors as in `predict`."""
        found = self._mean(predict_proba, row, X, ensemble)
        return np.stack([1 - found[0], found[0]], axis=1) if len(found) == 1 else found.T

    def _mean(self, run: Any, row: int, X: ArrayLike, ensemble: bool) -> np.ndarray:
        if not ensemble:
            return self._predict(run, row, X)
        first = row - row % self.design.num_replicates
        rows = range(first, first + self.design.num_replicates)
        return np.mean([self._predict(run, other, X) for other in rows], axis=0)

    def ensemble(self, metric: str) -> np.ndarray:
        """Returns a validation metric of the mean of each configuration's seeds, `(configurations, folds)`.

        In each fold the networks of all seeds are averaged (probabilities of classes, real values) and scored
        on the rows that none of them was trained on. NaN where a network diverged or was not kept.
        """
        design, name = self.design, self.design.check_metric(metric).removeprefix("val_")
        found = np.full((len(design.configs), design.num_folds), np.nan)
        for configuration, fold in np.ndindex(found.shape):
            X = np.asarray(design.data.x if design.fold_inputs is None else design.fold_inputs[fold]).T
            rows = [design.index(configuration, seed, fold) for seed in range(len(design.seeds))]
            if all(row in self.kept for row in rows):
                loss = resolve_loss(design.configs[configuration], design.data)
                run = predict if loss == "squared_error" else predict_proba
                mean = np.mean([self._predict(run, row, X) for row in rows], axis=0).astype(np.float64)
                found[configuration, fold] = _metrics_of(mean, design, loss, fold)[name]
        return found

    def _predict(self, run: Any, row: int, X: ArrayLike) -> np.ndarray:
        design, where = self.design, self.design.row(row)
        config, params = design.configs[where.configuration], self.params(row)
        x = np.asarray(X)
        if x.ndim != 2 or x.shape[1] != len(design.data.x):
            raise ValueError(f"X must be (n_samples, {len(design.data.x)}), got shape {x.shape}")
        mean, scale = design.standardisation(where.fold, design.stops(where.configuration))
        x = ((x.T - mean) / scale).astype(config.dtype)
        options: Any = {"activation": config.activation, "precision": config.precision}
        with local_x64(config.dtype):
            return np.asarray(run(params, x, loss=resolve_loss(config, design.data), **options))

    def carried_on(self, metric: str, configuration: int) -> np.ndarray:
        """Returns the records of a configuration, `(seeds, folds, records)`, NaN past its last step.

        A network that has stopped goes on at its final value.
        """
        design, steps = self.design, len(self.steps(configuration))
        first = design.index(configuration, 0, 0)
        rows = slice(first, first + design.num_replicates)
        table = self.records[metric][rows].astype(np.float64)
        every, stopped_at = design.configs[configuration].eval_every, self.stopped_at[rows]
        for row in np.flatnonzero(stopped_at >= 0).tolist():
            final = self.records[metric][first + row, self._final[first + row]]
            table[row, -(-stopped_at[row] // every) + 1 : steps] = final
        return table.reshape(len(design.seeds), design.num_folds, -1)

    # -- tables -----------------------------------------------------------------------------------------

    def units(self, metric: str, at: At = "final") -> np.ndarray:
        """Returns `(configurations, units)`: per fold the mean over seeds, or per seed on one split."""
        table = self.table(metric, at).astype(np.float64)
        return table.mean(axis=1) if self.design.splits.kind == "folds" else table[:, :, 0]

    def gap(self, metric: str) -> np.ndarray:
        """Returns how much better a validation metric is on the training rows, `(configurations, units)`."""
        name = self.design.check_metric(metric).removeprefix("val_")
        difference = self.units(f"train_{name}") - self.units(f"val_{name}")
        return difference if higher_is_better(name) else -difference

    def summary(self, metric: str | None = None, *, ensemble: bool = False) -> pd.DataFrame:
        """Returns a table with a row per configuration.

        Columns: `configuration`; the grid's hyperparameters; `num_params`; `networks` and how many of them
        are `ok`; with early stopping how many `stopped`, and the mean `final_step`; the ranked metric's mean
        (NaN where a network diverged), its `se` (over folds it contains
        that they share training rows) and 95 % `low`, `high`; its mean over those that are ok, `of_ok`;
        `train_…` of the same and `val_loss`. Without validation: the training metrics alone. No column is of
        the test rows.

        Args:
            metric: what is ranked; None takes val_accuracy or val_r2.
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
        if any(group.stops for group in self.plan.groups):
            shape = (-1, design.num_replicates)
            columns["stopped"] = (self.stopped_at.reshape(shape) >= 0).sum(axis=1)
            columns["final_step"] = self._final_steps().reshape(shape).mean(axis=1)
        others = [name for name in self.records if name.startswith("train_")]
        if ranked is not None:
            found = [unit_interval(design, row) for row in self.units(ranked)]
            columns[ranked] = [interval.mean for interval in found]
            for name in ("se", "low", "high"):
                columns[name] = [getattr(interval, name) for interval in found]
            columns["of_ok"] = _mean_of_alive(self.table(ranked))
            others = [f"train_{ranked.removeprefix('val_')}", "val_loss", "train_loss", "train_cost"]
        columns |= {name: self.table(name).mean(axis=(1, 2)) for name in others if name not in columns}
        if ensemble and ranked is not None:
            for name in dict.fromkeys((ranked, "val_loss")):
                columns[f"ensemble_{name}"] = self.ensemble(name).mean(axis=1)
        return pd.DataFrame(columns)

    def num_ok(self) -> np.ndarray:
        """Returns the networks of each configuration that did not diverge, `(configurations,)`."""
        return (self.diverged_at.reshape(-1, self.design.num_replicates) < 0).sum(axis=1)

    # -- the choice -------------------------------------------------------------------------------------

    def best(self, metric: str | None = None, rule: Rule = "mean", *, allow_diverged: bool = False) -> Choice:
        """Returns the chosen configuration, by validation alone.

        Args:
            metric: a validation metric; None takes val_accuracy or val_r2, of the final parameters.
            rule: "mean" or "one_se", see `selection.choose`.
            allow_diverged: let configurations compete by their networks that did not diverge.

        Raises:
            ValueError: nothing was held out, all diverged, or one_se with fewer than two units.
        """
        metric = self.design.check_metric(metric)
        higher = higher_is_better(metric)
        scores = self.units(metric)
        if allow_diverged:
            scores = _mean_of_alive(self.table(metric), 1 if self.design.splits.kind == "folds" else 2)
        simple = [
            simplicity({n: value_of(c, n) for n in OFF_VALUES}, num_params(config))
            for c, config in zip(self.design.configurations, self.design.configs, strict=True)
        ]
        index = choose(scores, higher, rule, simple)
        corrected = None
        # one_se needs two folds to choose on, and one more to score.
        if self.design.splits.kind == "folds" and scores.shape[1] > (2 if rule == "one_se" else 1):
            corrected = float(left_out(scores, lambda rest: choose(rest, higher, rule, simple))[0].mean())
        test_metric = "test_" + metric.removeprefix("val_")
        test = None
        if test_metric in self.records:
            test = float(_mean_of_alive(self.table(test_metric))[index])
        return Choice(
            index=index,
            configuration=self.design.configurations[index],
            rule=rule,
            metric=metric,
            validation=float(scores[index].mean()),
            corrected=corrected,
            test=test,
            num_candidates=len(scores),
            reason=self._reason(scores, higher, rule, index, metric),
            warnings=(*self._border(index), *self._no_better(index, metric)),
        )

    def _reason(self, scores: np.ndarray, higher: bool, rule: Rule, index: int, metric: str) -> str:
        said = [self.design.in_words(c) for c in self.design.configurations]
        name, units = said[index], self.design.units_in_words()
        ok, count = int(self.num_ok()[index]), self.design.num_replicates
        if ok < count:
            name += f" ({ok} of {count} networks did not diverge)"
        if rule == "mean":
            if len(scores) == 1:
                return f"{name}: the only configuration, {units}"
            return f"{name}: the best mean {metric} of {len(scores)} configurations, {units}"
        best = int(ranking(scores.mean(axis=1), higher)[0])
        candidates, se = within_one_se(scores, higher)
        order = simpler_in_words(self.design.axes)
        return (
            f"{name}: the simplest ({order}) of the {len(candidates)} configurations within one standard "
            f"error ({se:.4f}, s/√{scores.shape[1]}) of the best mean {metric} "
            f"({said[best]}: {scores[best].mean():.4f}), {units}"
        )

    def _border(self, index: int) -> list[str]:
        """Returns a warning per axis at whose edge the choice lies; "off" is no edge."""
        found = []
        for name, values in self.design.axes.items():
            # Values that stand in an order: numbers, and single hidden layers.
            sizes = {v: v[0] if name == "hidden" and len(v) == 1 else v for v in values if v is not None}
            sizes = {v: size for v, size in sizes.items() if isinstance(size, int | float)}
            value = value_of(self.design.configurations[index], name)
            if len(values) < 3 or len(sizes) < 2 or value not in sizes or value == OFF_VALUES.get(name):
                continue
            if sizes[value] in (min(sizes.values()), max(sizes.values())):
                end = "largest" if sizes[value] == max(sizes.values()) else "smallest"
                found.append(f"{name}={as_text(value, 6)} is the {end} of the grid: the best may lie beyond")
        return found

    def _no_better(self, index: int, metric: str) -> list[str]:
        """Returns a warning where the choice is no better than a constant."""
        value = float(_mean_of_alive(self.table(metric))[index])
        if metric == "val_r2" and value <= 0:
            return ["no better than the mean of the targets: scale them, or lower the learning rate"]
        if metric == "val_accuracy":
            labels, weights = np.asarray(self.design.data.y[0]), np.asarray(self.design.data.weights)
            if value <= np.bincount(labels, weights).max() / weights.sum():
                return ["no better than always saying the most frequent class"]
        return []

    # -- comparison -------------------------------------------------------------------------------------

    def compare(
        self,
        baseline: Mapping[str, Any] | None = None,
        over: Sequence[str] = (),
        metric: str | None = None,
    ) -> Comparison:
        """Returns the paired differences of all configurations to a baseline.

        Args:
            baseline: values that make a configuration the baseline, such as `{"l2": 0, "keep_prob": 1}`;
                each configuration is paired with the one that agrees with it on all other axes. None:
                every regulariser of the grid off.
            over: axes of which each arm uses its own best value, chosen with the scored unit left out.
            metric: a validation metric; None takes val_accuracy or val_r2, of the final parameters.

        Raises:
            ValueError: no such baseline in the grid, or nothing held out; says how to mend it.
        """
        metric = self.design.check_metric(metric)
        scores = Scores(self.design, metric, self.units(metric), self.num_ok(), self.examples)
        return compare(scores, baseline, over)


def _mean_of_alive(table: np.ndarray, axis: int | tuple[int, ...] = (1, 2)) -> np.ndarray:
    """Returns means of `(configurations, seeds, folds)` over what is not NaN; NaN where nothing is."""
    alive = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        return np.where(alive, table, 0).sum(axis=axis, dtype=np.float64) / alive.sum(axis=axis)


def _metrics_of(mean: np.ndarray, design: Design, loss: Loss, fold: int) -> dict[str, float]:
    """Returns the metrics of averaged predictions, `(outputs, n)`, on the held-out rows of a fold."""
    with np.errstate(divide="ignore"):
        if loss == "sigmoid_cross_entropy":
            scores = np.log(mean) - np.log1p(-mean)
        else:
            scores = mean if loss == "squared_error" else np.log(mean)
    # In float32 a probability may be 0.
    scores = np.nan_to_num(scores, posinf=1e4, neginf=-1e4)
    with local_x64("float64"):
        weights = jnp.asarray(design.splits.val[fold], jnp.float64)
        y = np.asarray(design.data.y)
        y = jnp.asarray(y.astype(np.float64) if loss == "squared_error" else y)
        found = metrics(jnp.asarray(scores), y, weights, loss=loss)
        return {name: float(value) for name, value in found.items()}
