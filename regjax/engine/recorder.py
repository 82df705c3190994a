"""Collects the results of a sweep's rows: records, divergence, parameters, provenance.

`engine/scheduler.py` adds the results of each task, `engine/checkpoints.py` and `regjax.load` those of a
store; at the end `Recorder.results` makes `Results` of them.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np

from regjax.core.config import Config
from regjax.core.hparams import AVERAGES
from regjax.core.metrics import LAST, POWERS, RECORDED, without_split
from regjax.core.mlp import Params
from regjax.engine.lanes import ChunkDone, ChunkTask
from regjax.engine.packing import lane_of
from regjax.engine.remote import ChunkRequest
from regjax.store.codec import as_params, leaves_under, under
from regjax.store.store import Row
from regjax.study.design import Design, part_of
from regjax.study.plan import Keep, Plan
from regjax.study.provenance import continued, place_in_words
from regjax.study.records import final_records, num_records
from regjax.study.results import Results
from regjax.study.selection import best_so_far, higher_is_better


class Recorder:
    """The results of a sweep's rows so far.

    Networks of standardised targets measure in units of the scale; here their metrics are brought back to
    the unit of the targets, once, when a task's records come in. Stores and results have that unit.

    Args:
        design: the design of the sweep.
        keep: which parameters are kept, as in `regjax.sweep`.

    Attributes:
        records: metric -> `(rows, records)`, NaN where a row has no record yet, or never has one.
        diverged_at: step at which a row diverged, `(rows,)`, else -1.
        stopped_at: step at which a row stopped early, `(rows,)`, else -1.
        last_finite_cost: training cost before a row diverged, `(rows,)`, else NaN.
        seconds: seconds of a worker's time, `(rows,)`.
        finished: whether a row reached its last step, stopped early or diverged, `(rows,)`.
        kept: row -> parameters.
        examples: per-example validation scores, `(rows, n_val)` each, or None.
        provenance: the provenance of each row, JSON, or "" before its first task.
        without_params: number of finished rows whose parameters the store does not have.
    """

    def __init__(self, design: Design, keep: Keep) -> None:
        rows = design.num_rows
        self.design, self.dtype = design, design.configs[0].dtype
        self.keep: Keep = keep
        self._scales = None
        if design.standardize_target:
            # float64, so that two losses never become equal by the scale: the lowest one says which
            # parameters early stopping put back. The square of a scale may also be beyond float32.
            self._scales, self.dtype = design.target_scales(), "float64"
        self.num_records = max(num_records(config) for config in design.configs)
        self.records: dict[str, np.ndarray] = {}
        self.diverged_at = np.full(rows, -1)
        self.stopped_at = np.full(rows, -1)
        self.last_finite_cost = np.full(rows, np.nan)
        self.seconds = np.zeros(rows)
        self.finished = np.zeros(rows, bool)
        self.kept: dict[int, Params] = {}
        self.examples: dict[str, np.ndarray] | None = None
        self.provenance = [""] * rows
        self.without_params = self.recalled = 0
        self._best_kept: dict[int, tuple[float, int]] = {}

    def record(
        self, rows: np.ndarray, steps: np.ndarray, found: Mapping[str, np.ndarray], config: Config
    ) -> None:
        """Adds records; rows that diverged or stopped early are found from them.

        Args:
            rows: the indices of the rows, `(rows,)`.
            steps: the steps of the records, `(records,)`.
            found: metric -> values, `(records, rows)`, with `finite` and perhaps `stopped`: see
                `lanes.ChunkDone`.
            config: the config of the rows.
        """
        # Rounded up: the last record may come before another eval_every steps are done.
        places = -(-steps // config.eval_every)
        finite, stopped = found["finite"], found.get("stopped", np.zeros_like(found["finite"]))
        # A network that stopped is trained on until its task ends; those records do not count.
        over = np.concatenate([np.zeros_like(stopped[:1]), stopped[:-1]])
        finite = np.logical_and.accumulate(finite | over, axis=0)
        for name, values in found.items():
            if name not in ("finite", "stopped"):
                table, values = self._records_of(name), self._in_own_unit(rows, name, values)
                table[rows[:, None], places[None, :]] = np.where(finite & ~over, values, np.nan).T
        # `stopped` stays true: the last record says whether a row stopped, the first true one at which step.
        for column in np.flatnonzero(finite[-1] & stopped[-1]):
            self.stopped_at[rows[column]] = steps[int(np.argmax(stopped[:, column]))]
        for column in np.flatnonzero(~finite[-1]):
            row, first = rows[column], int(np.argmin(finite[:, column]))
            self.diverged_at[row] = steps[first]
            before = self.records["train_cost"][row, : places[first]]
            self.last_finite_cost[row] = before[-1] if len(before) else np.nan
            self.finished[row] = True

    def record_chunk(
        self,
        places: Sequence[tuple[int, int, int]],
        task: ChunkTask | ChunkRequest,
        done: ChunkDone,
        config: Config,
    ) -> None:
        """Adds the records of a task.

        Args:
            places: slot, lane and row of each row of its chunk.
            task: the task, or the request for it.
            done: what it returned.
            config: the config of the rows.
        """
        if not done.records:
            return
        i, j, rows = (np.array(part) for part in zip(*places, strict=True))
        measured = [s for s, taken in zip(task.ends, task.measured, strict=True) if taken and s <= done.stop]
        steps = np.array(([0] if task.start == 0 else []) + measured)
        self.record(rows, steps, {n: v[:, i, j] for n, v in done.records.items()}, config)

    def trained(self, rows: np.ndarray, start: int, seconds: float, here: str) -> None:
        """Adds a task to the seconds and the provenance of its rows.

        Args:
            rows: the indices of the rows.
            start: the step at which the task began.
            seconds: seconds of each row.
            here: the provenance of the task.
        """
        self.seconds[rows] += seconds
        for row in rows:
            self.provenance[row] = continued(self.provenance[row], start, here)

    def finish_chunk(
        self, places: Iterable[tuple[int, int, int]], done: ChunkDone, *, at_its_end: bool
    ) -> None:
        """Marks the rows of a chunk as finished that are, with their parameters and per-example scores.

        Args:
            places: slot, lane and row of each row of the chunk.
            done: what its task returned.
            at_its_end: whether the rows have done all of their steps.
        """
        predicting = None
        # A record notices only afterwards that config.stop_on has ended a run.
        epochs = done.states.epochs
        stopped_at = None if epochs is None else np.asarray(epochs.stopped_at)
        for i, j, row in places:
            if stopped_at is not None and self.stopped_at[row] >= 0:
                self.stopped_at[row] = stopped_at[i, j]
            if self.diverged_at[row] < 0 and (at_its_end or self.stopped_at[row] >= 0):
                if predicting is None:  # copied from the device once, and only where it is read
                    predicting = jax.device_get(done.states.predicting)
                params = jax.tree.map(np.copy, lane_of(predicting, i, j))
                examples = None
                if done.examples is not None:
                    seen = self.design.splits.val[0] > 0
                    examples = {name: v[i, j, : len(seen)][seen] for name, v in done.examples.items()}
                self.finish(row, params, examples)

    def finish(self, row: int, params: Params, examples: Mapping[str, np.ndarray] | None) -> None:
        """Marks a row as finished.

        Args:
            row: the index of the row.
            params: its final parameters, kept where `keep` asks for them.
            examples: per-example validation scores as `lanes.ChunkDone` has them, `(n_val,)` each, or None.
        """
        self._finish(row, params, {n: self._in_own_unit(row, n, v) for n, v in (examples or {}).items()})

    def _finish(self, row: int, params: Params | None, examples: Mapping[str, np.ndarray]) -> None:
        """Marks a row as finished; its parameters are None where the store has none."""
        self.finished[row] = True
        if params is not None and self._wants(row):
            self.kept[row] = params
        if examples:
            if self.examples is None:
                num_rows = len(self.finished)
                self.examples = {
                    name: np.full((num_rows, len(v)), np.nan, v.dtype) for name, v in examples.items()
                }
            for name, values in examples.items():
                self.examples[name][row] = values

    def arrays(self, rows: Sequence[int], config: Config) -> dict[str, np.ndarray]:
        """Returns the records of rows of one group, `records/…`, `(rows, records)` each.

        Metrics that only rows of other groups have are left out.
        """
        count = num_records(config)
        hparams = self.design.hparams[self.design.row(rows[0]).configuration]
        # Patience and averages are on in all rows of a group or in none, so its first row speaks for all.
        absent = () if hparams.patience is not None else ("stop_loss",)
        absent += () if any(getattr(hparams, name) is not None for name in AVERAGES) else LAST
        return {
            f"records/{name}": values[rows, :count]
            for name, values in self.records.items()
            if name not in absent
        }

    def recall_records(self, row: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds the records of a row from its packed arrays."""
        for name, values in under("records", arrays).items():
            self._records_of(name)[row, : len(values)] = values

    def recall(self, row: int, stored: Row) -> None:
        """Adds a finished row from the store."""
        self.recalled += 1
        arrays = stored.arrays
        self.recall_records(row, arrays)
        self.diverged_at[row] = stored.diverged_at
        self.stopped_at[row] = stored.stopped_at
        self.last_finite_cost[row] = stored.last_finite_cost
        self.seconds[row], self.provenance[row] = stored.seconds, stored.provenance
        self.finished[row] = True
        if stored.diverged_at < 0:
            params = leaves_under("params", arrays)  # empty where the sweep that trained the row kept none
            self.without_params += not params
            config = self.design.configs[self.design.row(row).configuration]
            self._finish(row, as_params(params, config) if params else None, under("examples", arrays))

    def copy(self, row: int, parent: int) -> None:
        """Gives a row the records of another one, which is not finished; it is no longer finished itself."""
        for values in (*self.records.values(), self.diverged_at, self.stopped_at, self.last_finite_cost):
            values[row] = values[parent]
        self.provenance[row], self.finished[row] = self.provenance[parent], False

    def part(self, configurations: Sequence[int]) -> Recorder:
        """Returns the recorder of some configurations alone, numbered anew."""
        found = Recorder(part_of(self.design, configurations), self.keep)
        per = self.design.num_replicates
        rows = (np.array(configurations, np.int64)[:, None] * per + np.arange(per)).ravel()
        found.records = {name: values[rows] for name, values in self.records.items()}
        for name in ("diverged_at", "stopped_at", "last_finite_cost", "seconds", "finished"):
            setattr(found, name, getattr(self, name)[rows])
        found.kept = {new: self.kept[old] for new, old in enumerate(rows.tolist()) if old in self.kept}
        if self.examples is not None:
            found.examples = {name: values[rows] for name, values in self.examples.items()}
        found.provenance = [self.provenance[row] for row in rows.tolist()]
        found.recalled, found.without_params = self.recalled, self.without_params
        return found

    def results(
        self, plan: Plan, compile_seconds: float, train_seconds: float, notes: Sequence[str]
    ) -> Results:
        """Returns the results of a sweep whose rows are all finished.

        Args:
            plan: the plan, with the chunk shapes that were used.
            compile_seconds: wall-clock seconds of compiling.
            train_seconds: wall-clock seconds of training.
            notes: notes of the sweep, one sentence each; those on its rows are added.
        """
        return Results(
            design=self.design,
            plan=plan,
            records={name: self.records[name] for name in (*RECORDED, *LAST) if name in self.records},
            diverged_at=self.diverged_at,
            stopped_at=self.stopped_at,
            last_finite_cost=self.last_finite_cost,
            seconds=self.seconds,
            kept=dict(sorted(self.kept.items())),
            examples=self.examples,
            provenance=tuple(self.provenance),
            compile_seconds=compile_seconds,
            train_seconds=train_seconds,
            notes=(*notes, *self._notes()),
            recalled=self.recalled,
        )

    def _notes(self) -> list[str]:
        """Returns notes on rows of several machines, and on rows without parameters."""
        counts = collections.Counter(map(place_in_words, filter(None, self.provenance)))
        found = [f"{n:,} networks ran on {where}" for where, n in counts.items()] if len(counts) > 1 else []
        if self.keep != "none" and self.without_params:
            found.append(f"the parameters of {self.without_params:,} networks are not in the store")
        return found

    def best(self) -> str:
        """Returns the best configuration so far with its mean metric, in words; "" before there is one."""
        metric = self.design.shown_metric
        if metric not in self.records:
            return ""
        last = final_records(self.design, self.records, self.diverged_at, self.stopped_at)
        values = self.records[metric][np.arange(len(last)), last]
        return best_so_far(self.design, metric, values, self.finished, self.diverged_at < 0)

    def _records_of(self, name: str) -> np.ndarray:
        """Returns the table of a metric, made at its first use."""
        if name not in self.records:
            self.records[name] = np.full((len(self.finished), self.num_records), np.nan, self.dtype)
        return self.records[name]

    def _in_own_unit(self, rows: np.ndarray | int, name: str, values: np.ndarray) -> np.ndarray:
        """Returns values of a metric of these rows, in the last axis, in the unit of the targets."""
        if self._scales is None:
            return values
        return np.asarray(values, np.float64) * self._scales[rows] ** POWERS[without_split(name)]

    def _wants(self, row: int) -> bool:
        """Returns whether the parameters of a finished row are kept, and drops those that they replace."""
        if self.keep != "best":
            return self.keep == "all"
        metric = self.design.shown_metric
        configuration = self.design.row(row).configuration
        (last,) = final_records(self.design, self.records, self.diverged_at, self.stopped_at, [row])
        score = float(self.records[metric][row, last])
        score = score if higher_is_better(metric) else -score
        # Of equal scores the lowest row, so that the choice does not depend on the order of finishing.
        rank = (score if not np.isnan(score) else -np.inf, -row)
        old = self._best_kept.get(configuration)
        if old is not None and old >= rank:
            return False
        if old is not None:
            self.kept.pop(-old[1], None)
        self._best_kept[configuration] = rank
        return True
