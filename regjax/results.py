"""What a sweep found: tables, paired comparisons, the choice; bound by docs/intervals.md.

Pandas is imported where a table is made.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from regjax import intervals
from regjax.config import check_choice, local_x64
from regjax.cost import resolve_loss
from regjax.design import Design
from regjax.grid import OFF_VALUES, Configuration, canonical, describe, value_of
from regjax.intervals import Interval
from regjax.mlp import Params, predict, predict_proba
from regjax.plan import Plan, last_records, num_params
from regjax.selection import (
    SIMPLER_IN_WORDS,
    Rule,
    choose,
    higher_is_better,
    left_out,
    ranking,
    simplicity,
    within_one_se,
)

if TYPE_CHECKING:
    import pandas as pd

At = Literal["final", "at_best"]

OVERLAP = (
    "All configurations share the baseline's replicates, so their differences are not independent of each "
    "other; and whether two intervals of `summary` overlap says nothing about their difference."
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paired differences to a baseline; `str(comparison)` says them in words.

    Attributes:
        table: a row per configuration (or arm): its hyperparameters, `difference`, `se`, `low`, `high`
            (95 %), `n`, `p`, `p_holm`, `family_low`, `family_high`, `verdict`, `status`,
            `variance_ratio` (of the paired difference to an unpaired one). On one split `sampling_se` is
            the error of the held-out rows; p, Holm and family intervals contain it.
        baseline: what the others are held against.
        metric: the validation metric.
        units: what varies, in words.
        notes: what a reader must know.
    """

    table: pd.DataFrame
    baseline: Configuration
    metric: str
    units: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.metric}, difference to {describe(self.baseline)}, {self.units}"]
        for _, row in self.table.iterrows():
            lines.append(f"  {row['name']}: {row['sentence']}")
        return "\n".join([*lines, *self.notes])


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
        name = self.metric.removeprefix("val_")
        lines = [
            self.reason,
            f"validation {name} {self.validation:.4f} (selected among {self.num_candidates}: optimistic)",
        ]
        if self.corrected is not None:
            lines.append(f"corrected for the selection {self.corrected:.4f}")
        if self.test is not None:
            lines.append(f"test {name} {self.test:.4f}")
        return "; ".join(lines) + "".join(f"\nwarning: {w}" for w in self.warnings)


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """A finished sweep. Rows are numbered configuration by configuration, seed by seed, fold by fold.

    Attributes:
        design: what was asked.
        plan: how it was computed.
        records: metric -> `(rows, records)`; NaN after divergence and past a row's last record.
        diverged_at: first recorded step at which a parameter or the cost was not finite, `(rows,)`, else -1.
        last_finite_cost: training cost of the record before, `(rows,)`, NaN where there is none.
        seconds: of a worker, shared out to the lanes of its chunk, `(rows,)`.
        kept: row -> parameters, NumPy arrays.
        examples: per-example validation scores after the last step, `(rows, n_val)` each, on one split.
        compile_seconds: before the first step.
        train_seconds: wall clock of the rest.
        notes: what happened on the way.
    """

    design: Design
    plan: Plan
    records: dict[str, np.ndarray]
    diverged_at: np.ndarray
    last_finite_cost: np.ndarray
    seconds: np.ndarray
    kept: dict[int, Params]
    examples: dict[str, np.ndarray] | None
    compile_seconds: float
    train_seconds: float
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.seconds)

    def __repr__(self) -> str:
        bad = int(np.sum(self.diverged_at >= 0))
        return (
            f"<regjax.Results: {len(self.design.configurations)} configurations × "
            f"{len(self.design.seeds)} seeds × {self.design.num_folds} folds, {bad} diverged>"
        )

    @property
    def metric(self) -> str:
        """The metric that is ranked unless another is named: val_accuracy or val_r2."""
        if self.design.splits.kind == "none":
            raise ValueError(
                "best and compare must have rows held out from training: sweep with folds=5 or validation=0.2"
            )
        return self.design.metric

    @property
    def names(self) -> tuple[str, ...]:
        """Names that the grid mentions."""
        return tuple(dict.fromkeys(name for c in self.design.configurations for name in c))

    def steps(self, configuration: int) -> np.ndarray:
        """Returns the recorded steps of a configuration."""
        config = self.design.configs[configuration]
        return np.append(np.arange(0, config.num_steps, config.eval_every), config.num_steps)

    def values(self, metric: str, at: At = "final") -> np.ndarray:
        """Returns a metric per row, `(rows,)`: after the last step, or at the best validation step."""
        check_choice("at", at, ("final", "at_best"))
        if metric not in self.records:
            raise ValueError(f"metric must be one of {', '.join(self.records)}, got {metric!r}")
        return self.records[metric][np.arange(len(self)), self._record(at)]

    def _record(self, at: At) -> np.ndarray:
        """Returns which record of each row is meant, `(rows,)`."""
        last = last_records(self.design)
        if at == "final":
            return last
        scores = self.records[self.metric]
        worst = -np.inf if higher_is_better(self.metric) else np.inf
        scores = np.where(np.isnan(scores), worst, scores)
        best = np.argmax(scores, axis=1) if worst < 0 else np.argmin(scores, axis=1)
        # A run that diverged has no step to go back to: it is not rewarded for how it was before.
        return np.where(self.diverged_at >= 0, last, best)

    def table(self, metric: str, at: At = "final") -> np.ndarray:
        """Returns a metric as `(configurations, seeds, folds)`."""
        design = self.design
        return self.values(metric, at).reshape(-1, len(design.seeds), design.num_folds)

    def to_pandas(self) -> pd.DataFrame:
        """Returns a table with a row per configuration × seed × fold.

        Columns: `configuration`, the hyperparameters that the grid names, `seed`, `fold`, `status` ("ok" or
        "diverged"), `diverged_at`, `last_finite_cost`, `final_*` and (with validation) `at_best_*`
        metrics with `best_step`, `seconds`.
        """
        import pandas as pd

        design = self.design
        rows = [design.row(index) for index in range(len(self))]
        columns: dict[str, Any] = {"configuration": [row.configuration for row in rows]}
        for name in self.names:
            columns[name] = [_cell(value_of(design.configurations[r.configuration], name)) for r in rows]
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
        columns["seconds"] = self.seconds
        table = pd.DataFrame(columns)
        table.loc[self.diverged_at < 0, "diverged_at"] = pd.NA
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
                name: _cell(value_of(design.configurations[row.configuration], name)) for name in self.names
            }
            fixed = {"row": index, "configuration": row.configuration} | fixed
            metrics = {name: values[index, : len(steps)] for name, values in self.records.items()}
            columns = fixed | {"seed": row.seed, "fold": row.fold, "step": steps} | metrics
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def params(self, row: int) -> Params:
        """Returns the parameters of a row after its last step, NumPy arrays.

        Raises:
            KeyError: they were not kept, or the row diverged.
        """
        if row not in self.kept:
            reason = "it diverged" if self.diverged_at[row] >= 0 else f"keep={self.plan.keep!r}"
            raise KeyError(f"row {row} has no parameters: {reason}")
        return self.kept[row]

    def predict(self, row: int, X: ArrayLike) -> np.ndarray:
        """Returns what the network of a row predicts: labels `(n,)`, or real values `(n,)` or `(n, outputs)`.

        Args:
            row: its number.
            X: `(n_samples, n_features)`, as handed to `sweep`: it is standardised as the row's training was.
        """
        found = self._predict(predict, row, X)
        if np.issubdtype(self.design.data.y.dtype, np.integer):
            labels = found[0]
            return labels if self.design.classes is None else self.design.classes[labels]
        return found[0] if len(found) == 1 else found.T

    def predict_proba(self, row: int, X: ArrayLike) -> np.ndarray:
        """Returns probabilities of the classes, `(n, n_classes)`; arguments as in `predict`."""
        found = self._predict(predict_proba, row, X)
        return np.stack([1 - found[0], found[0]], axis=1) if len(found) == 1 else found.T

    def _predict(self, run: Any, row: int, X: ArrayLike) -> np.ndarray:
        design, where = self.design, self.design.row(row)
        config, params = design.configs[where.configuration], self.params(row)
        x = np.asarray(X)
        if x.ndim != 2 or x.shape[1] != len(design.data.x):
            raise ValueError(f"X must be (n_samples, {len(design.data.x)}), got shape {x.shape}")
        mean, scale = design.standardisation(where.fold)
        x = ((x.T - mean) / scale).astype(config.dtype)
        options: Any = {"activation": config.activation, "precision": config.precision}
        with local_x64(config.dtype):
            return np.asarray(run(params, x, loss=resolve_loss(config, design.data), **options))

    # -- tables -----------------------------------------------------------------------------------------

    def units_in_words(self) -> str:
        """Returns what varies: "over 5 folds × 8 seeds (t, 4 df)"."""
        seeds, folds = len(self.design.seeds), self.design.num_folds
        if self.design.splits.kind == "folds":
            return f"over {folds} folds × {seeds} seeds (t, {folds - 1} df)"
        if seeds == 1:
            return "1 seed on 1 split: no interval"
        return f"over {seeds} seeds on this one split: says nothing about other data"

    def units(self, metric: str, at: At = "final") -> np.ndarray:
        """Returns `(configurations, units)`: per fold the mean over seeds, or per seed on one split."""
        table = self.table(metric, at)
        return table.mean(axis=1) if self.design.splits.kind == "folds" else table[:, :, 0]

    def _interval(self, differences: np.ndarray) -> Interval:
        splits = self.design.splits
        if splits.kind == "folds":
            return intervals.over_folds(differences, splits.num_val.mean(), splits.num_train.mean())
        return intervals.over_seeds(differences)

    def summary(self, metric: str | None = None) -> pd.DataFrame:
        """Returns a table with a row per configuration.

        Columns: the grid's hyperparameters; `num_params`; `networks` and how many of them are `ok`; the
        ranked metric's mean (NaN where a network diverged), its `se` and 95 % `low`, `high`; its mean over
        those that are ok, `of_ok`; `train_…` of the same and `val_loss`. Without validation: the training
        metrics alone. No column is of the test rows.
        """
        import pandas as pd

        design = self.design
        ranked = None if design.splits.kind == "none" else self._check_metric(metric)
        rows = []
        for index, configuration in enumerate(design.configurations):
            per = slice(index * self.design.num_replicates, (index + 1) * self.design.num_replicates)
            ok = self.diverged_at[per] < 0
            row: dict[str, Any] = {n: _cell(value_of(configuration, n)) for n in self.names}
            row |= {
                "num_params": num_params(design.configs[index]),
                "networks": self.design.num_replicates,
                "ok": int(ok.sum()),
            }
            if ranked is not None:
                found = self._interval(self.units(ranked)[index])
                values = self.values(ranked)[per][ok]
                row[ranked] = found.mean
                row |= {"se": found.se, "low": found.low, "high": found.high}
                row["of_ok"] = float(values.mean()) if len(values) else math.nan
                others = [f"train_{ranked.removeprefix('val_')}", "val_loss", "train_loss", "train_cost"]
            else:
                others = [name for name in self.records if name.startswith("train_")]
            row |= {n: float(self.table(n)[index].mean()) for n in others if n not in row}
            rows.append(row)
        return pd.DataFrame(rows)

    def _check_metric(self, metric: str | None) -> str:
        metric = self.metric if metric is None else metric
        known = [name for name in self.records if name.startswith("val_")]
        if metric not in known:
            raise ValueError(
                f"metric must be one of {', '.join(known)}, got {metric!r}: nothing is ranked on training or "
                "test rows, or by the cost, which contains the penalties"
            )
        return metric

    def num_ok(self) -> np.ndarray:
        """Returns the networks of each configuration that did not diverge, `(configurations,)`."""
        return (self.diverged_at.reshape(-1, self.design.num_replicates) < 0).sum(axis=1)

    # -- the choice -------------------------------------------------------------------------------------

    def best(self, metric: str | None = None, rule: Rule = "mean", *, allow_diverged: bool = False) -> Choice:
        """Returns the chosen configuration, by validation alone.

        Args:
            metric: a validation metric; None takes val_accuracy or val_r2, after the last step.
            rule: "mean" or "one_se", see `selection.choose`.
            allow_diverged: let configurations compete by their networks that did not diverge.

        Raises:
            ValueError: nothing was held out, all diverged, or one_se with fewer than two units.
        """
        metric = self._check_metric(metric)
        higher = higher_is_better(metric)
        scores = self.units(metric)
        if allow_diverged:
            table = self.table(metric)
            alive = ~np.isnan(table)
            axis = 1 if self.design.splits.kind == "folds" else 2
            counts = alive.sum(axis=axis)
            with np.errstate(invalid="ignore", divide="ignore"):
                scores = np.where(alive, table, 0).sum(axis=axis) / counts
        simple = [
            simplicity({n: value_of(c, n) for n in OFF_VALUES}, num_params(config))
            for c, config in zip(self.design.configurations, self.design.configs, strict=True)
        ]
        index = choose(scores, higher, rule, simple)
        corrected = None
        if self.design.splits.kind == "folds":
            inner: Rule = rule if scores.shape[1] > 2 else "mean"
            corrected = float(left_out(scores, lambda rest: choose(rest, higher, inner, simple))[0].mean())
        test_metric = "test_" + metric.removeprefix("val_")
        test = float(np.mean(self.table(test_metric)[index])) if test_metric in self.records else None
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
            warnings=tuple(self._border(index)),
        )

    def _reason(self, scores: np.ndarray, higher: bool, rule: Rule, index: int, metric: str) -> str:
        name = describe(self.design.configurations[index])
        if rule == "mean":
            return f"{name}: the best mean {metric} of {len(scores)} configurations, {self.units_in_words()}"
        best = int(ranking(scores.mean(axis=1), higher)[0])
        candidates, se = within_one_se(scores, higher)
        return (
            f"{name}: the simplest ({SIMPLER_IN_WORDS}) of the {len(candidates)} configurations within "
            f"one standard error ({se:.4f}) of the best mean {metric} "
            f"({describe(self.design.configurations[best])}: "
            f"{scores[best].mean():.4f}), {self.units_in_words()}"
        )

    def _border(self, index: int) -> list[str]:
        """Returns a warning per axis at whose edge the choice lies; "off" is no edge."""
        from regjax.grid import Grid

        found = []
        for name, values in Grid(self.design.configurations).axes.items():
            if len(values) < 3 or not all(isinstance(value, float) for value in values):
                continue
            value = value_of(self.design.configurations[index], name)
            if value in (min(values), max(values)) and value != OFF_VALUES.get(name):
                end = "largest" if value == max(values) else "smallest"
                found.append(f"{name}={value:g} is the {end} of the grid: the best may lie beyond")
        return found

    # -- comparison ---------------------------------------------------------------------------------------

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
                every regulariser off.
            over: axes of which each arm uses its own best value, chosen with the scored unit left out.
            metric: a validation metric; None takes val_accuracy or val_r2, after the last step.

        Raises:
            ValueError: no such baseline in the grid, or nothing held out; says how to mend it.
        """
        import pandas as pd

        metric = self._check_metric(metric)
        over = (over,) if isinstance(over, str) else tuple(over)
        wanted = self._baseline(baseline, over)
        arms = self._arms(over)
        scores, chosen = self._arm_scores(arms, metric)
        pairs, lonely = _pairs(list(arms), wanted)
        if not pairs:
            raise ValueError(
                f"compare must have something beside the baseline {describe(wanted)}, got nothing"
            )
        found = []
        for arm, base in pairs:
            found.append(self._difference(list(arms)[arm], scores, chosen, arm, base, metric))
        total = [entry.pop("total") for entry in found]
        adjusted = intervals.holm(np.array([interval.p for interval in total]))
        higher = higher_is_better(metric)
        for entry, interval, p_holm in zip(found, total, adjusted, strict=True):
            low, high = intervals.family(interval, len(pairs))
            entry |= {"p": interval.p, "p_holm": float(p_holm), "family_low": low, "family_high": high}
            entry["verdict"] = _verdict(entry, higher)
            entry["sentence"] = self._sentence(entry)
        notes = [self._what_holds(len(pairs)), OVERLAP]
        if over:
            notes.append(
                f"Each arm uses its own best {', '.join(over)}, chosen with the scored unit left out."
            )
        if lonely:
            notes.append(f"{len(lonely)} configurations have no counterpart at the baseline.")
        return Comparison(pd.DataFrame(found), wanted, metric, self.units_in_words(), tuple(notes))

    def _baseline(self, baseline: Mapping[str, Any] | None, over: tuple[str, ...]) -> Configuration:
        mentioned = [name for name in self.names if name not in over]
        for name in (*over, *(baseline or {})):
            if name not in self.names:
                raise ValueError(
                    f"baseline and over must name axes of the grid ({', '.join(self.names)}), got {name!r}"
                )
        if baseline is not None:
            wanted = {name: canonical(name, value) for name, value in baseline.items()}
            if set(wanted) & set(over):
                raise ValueError("over must not name an axis of the baseline")
        else:
            wanted = {name: OFF_VALUES[name] for name in mentioned if name in OFF_VALUES}
            if not wanted:
                raise ValueError("compare must be given a baseline: no axis of the grid is a regulariser")
        if not any(all(value_of(c, n) == v for n, v in wanted.items()) for c in self.design.configurations):
            raise ValueError(
                f"baseline must be in the grid, got {describe(wanted)}: add it to the grid's axes"
            )
        return wanted

    def _arms(self, over: tuple[str, ...]) -> dict[tuple[tuple[str, Any], ...], list[int]]:
        """Returns arm -> its configurations, which differ on the axes `over` only."""
        arms: dict[tuple[tuple[str, Any], ...], list[int]] = {}
        for index, configuration in enumerate(self.design.configurations):
            arm = tuple((n, value_of(configuration, n)) for n in self.names if n not in over)
            arms.setdefault(arm, []).append(index)
        return arms

    def _arm_scores(self, arms: Mapping[Any, list[int]], metric: str) -> tuple[np.ndarray, list[list[int]]]:
        """Returns `(arms, units)`, and per arm the configuration that stands for it in each unit."""
        scores, higher = self.units(metric), higher_is_better(metric)
        found, chosen = [], []
        for members in arms.values():
            if len(members) == 1:
                found.append(scores[members[0]])
                chosen.append(members * scores.shape[1])
                continue
            if scores.shape[1] < 2:
                raise ValueError(
                    "over must have at least two folds or seeds to choose with one left out, got one"
                )
            own = scores[members]
            values, picks = left_out(own, lambda rest: int(ranking(rest.mean(axis=1), higher)[0]))
            found.append(values)
            chosen.append([members[pick] for pick in picks])
        return np.array(found), chosen

    def _difference(
        self,
        arm_values: tuple[tuple[str, Any], ...],
        scores: np.ndarray,
        chosen: list[list[int]],
        arm: int,
        base: int,
        metric: str,
    ) -> dict[str, Any]:
        ok = self.num_ok()
        entry: dict[str, Any] = {name: _cell(value) for name, value in arm_values}
        entry["name"] = describe(dict(arm_values))
        counts = [int(min(ok[index] for index in chosen[side])) for side in (arm, base)]
        nothing = Interval(math.nan, math.nan, 0, math.nan, math.nan, math.nan)
        differences = scores[arm] - scores[base]
        count = self.design.num_replicates
        lost = min(counts) < count
        status = "ok"
        if lost:
            status = f"{counts[0]} of {count} ok"
            if counts[1] < count:
                status += f", baseline {counts[1]} of {count}"
        undefined = bool(np.any(np.isnan(differences)))
        found = nothing if undefined or lost else self._interval(differences)
        total, sampling = found, math.nan
        if self.design.splits.kind == "validation" and not (undefined or lost):
            sampling = self._sampling_error(chosen[arm], chosen[base], metric)
            # Both are needed to say "helps": chance in training, and which rows happen to be held out.
            if not math.isnan(found.se):
                both = math.hypot(found.se, sampling)
                total = (
                    intervals.without_spread(differences)
                    if math.isnan(both)
                    else intervals.around(found.mean, both, found.df)
                )
        spread = np.var(scores[arm], ddof=1) + np.var(scores[base], ddof=1) if len(differences) > 1 else 0
        return entry | {
            "difference": found.mean,
            "se": found.se,
            "low": found.low,
            "high": found.high,
            "n": len(differences),
            "sampling_se": sampling,
            "variance_ratio": float(np.var(differences, ddof=1) / spread) if spread > 0 else math.nan,
            "status": "undefined" if undefined and not lost else status,
            "total": total,
        }

    def _sampling_error(self, arm: list[int], base: list[int], metric: str) -> float:
        """Returns the error of the held-out rows: of the seed-mean per-example difference, over √n."""
        per_example = self._per_example(metric)
        if per_example is None:
            return math.nan
        seeds = range(len(self.design.seeds))
        rows = [
            [self.design.index(c, s, 0) for s, c in zip(seeds, side, strict=True)] for side in (arm, base)
        ]
        differences = np.mean(per_example[rows[0]] - per_example[rows[1]], axis=0)
        val = self.design.splits.val[0]
        return intervals.sampling_error(differences, val[val > 0])

    def _per_example(self, metric: str) -> np.ndarray | None:
        """Returns `(rows, n_val)` whose weighted mean is the metric, or its linearisation; None: unknown."""
        if self.examples is None:
            return None
        name = metric.removeprefix("val_")
        if name == "loss":
            return self.examples["loss"]
        if name == "accuracy":
            return self.examples["right"]
        val = self.design.splits.val[0]
        y, weights = np.asarray(self.design.data.y)[:, val > 0], val[val > 0]
        if name == "balanced_accuracy":
            shares = {k: weights[y[0] == k].sum() / weights.sum() for k in np.unique(y)}
            return self.examples["right"] / (len(shares) * np.array([shares[k] for k in y[0]]))
        if name == "r2" and len(y) == 1:
            centre = np.average(y[0], weights=weights)
            return 1 - self.examples["square"] / np.average((y[0] - centre) ** 2, weights=weights)
        if name == "rmse" and len(y) == 1:
            # The delta method: √m is linear in m near each network's own mean square.
            square = self.examples["square"]
            return square / (2 * np.sqrt(np.average(square, axis=1, weights=weights, keepdims=True)))
        return None

    def _what_holds(self, count: int) -> str:
        family = f"the family interval (95 % for all {count} at once)"
        text = f'"helps" and "hurts" are said where {family} excludes 0.'
        if self.design.splits.kind == "validation":
            text += " On one split it contains the sampling error of the held-out rows, in quadrature."
        return text

    def _sentence(self, entry: Mapping[str, Any]) -> str:
        if entry["status"] != "ok":
            return f"no verdict: {entry['status']}"
        mean = f"{entry['difference']:+.4f}"
        if math.isnan(entry["se"]):
            count = entry["n"]
            what = "folds" if self.design.splits.kind == "folds" else "seeds"
            return f"{mean}, " + ("no interval" if count < 2 else f"no spread in {count} {what}")
        words = f"{mean} [{entry['low']:+.4f}, {entry['high']:+.4f}]"
        if not math.isnan(entry["sampling_se"]):
            words += f", held-out rows ± {entry['sampling_se']:.4f} (1 se)"
        return (
            f"{words}, family [{entry['family_low']:+.4f}, {entry['family_high']:+.4f}]: {entry['verdict']}"
        )


def _verdict(entry: Mapping[str, Any], higher: bool) -> str:
    if entry["status"] != "ok":
        return ""
    low, high = entry["family_low"], entry["family_high"]
    if math.isnan(low) or low <= 0 <= high:
        return "not separated"
    return "helps" if (low > 0) == higher else "hurts"


def _pairs(
    arms: list[tuple[tuple[str, Any], ...]], baseline: Configuration
) -> tuple[list[tuple[int, int]], list[int]]:
    """Returns (arm, its counterpart at the baseline) by index, and the arms that have none."""
    places = {arm: index for index, arm in enumerate(arms)}
    pairs, lonely = [], []
    for index, arm in enumerate(arms):
        counterpart = tuple((name, baseline.get(name, value)) for name, value in arm)
        if counterpart == arm:
            continue
        if counterpart in places:
            pairs.append((index, places[counterpart]))
        else:
            lonely.append(index)
    return pairs, lonely


def _cell(value: Any) -> Any:
    """Returns a value as it stands in a table: per-layer values with slashes, a full batch in words."""
    if isinstance(value, tuple):
        return "/".join(f"{entry:g}" for entry in value) or "none"
    return "full" if value is None else value
