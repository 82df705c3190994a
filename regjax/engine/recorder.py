"""What is known of each row of a sweep so far: records, who diverged, parameters that are kept."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regjax.core.config import Config
from regjax.core.hparams import AVERAGES
from regjax.core.metrics import LAST, RECORDED
from regjax.core.mlp import Params
from regjax.store.codec import as_params, in_order, under
from regjax.study.design import Design
from regjax.study.plan import Keep, Plan
from regjax.study.provenance import continued, place_in_words
from regjax.study.records import final_records, num_records
from regjax.study.results import Results
from regjax.study.selection import best_so_far, higher_is_better


class Recorder:
    """The rows of a sweep, finished or on their way.

    Attributes:
        records: metric -> `(rows, records)`, NaN where not reached.
        diverged_at: `(rows,)`, -1 where a row has not diverged.
        stopped_at: `(rows,)`, -1 where a row has not stopped before its last step.
        last_finite_cost: `(rows,)`, NaN where a row has not diverged.
        seconds: of a worker, `(rows,)`.
        finished: `(rows,)`, rows that diverged or stopped too.
        kept: row -> parameters.
        examples: per-example validation scores, `(rows, n_val)` each, or None.
        provenance: of each row, JSON, or "".
    """

    def __init__(self, design: Design, keep: Keep) -> None:
        rows = design.num_rows
        self.design, self.keep, self.dtype = design, keep, design.configs[0].dtype
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
        self.without_params = 0
        self._best_kept: dict[int, tuple[float, int]] = {}

    def record(
        self, rows: np.ndarray, steps: np.ndarray, found: Mapping[str, np.ndarray], config: Config
    ) -> None:
        """Takes records, `(records, rows)` each, of these steps, and notes who diverged or stopped.

        Args:
            rows: indices.
            steps: of the records.
            found: metric -> values, with `finite` and perhaps `stopped`, see `lanes.ChunkDone`.
            config: of the rows.
        """
        places = -(-steps // config.eval_every)  # the last record may come early
        finite, stopped = found["finite"], found.get("stopped", np.zeros_like(found["finite"]))
        # Nothing counts that came after a network had stopped.
        over = np.concatenate([np.zeros_like(stopped[:1]), stopped[:-1]])
        finite = np.logical_and.accumulate(finite | over, axis=0)
        for name, values in found.items():
            if name not in ("finite", "stopped"):
                table = self._records_of(name)
                table[rows[:, None], places[None, :]] = np.where(finite & ~over, values, np.nan).T
        for column in np.flatnonzero(finite[-1] & stopped[-1]):
            self.stopped_at[rows[column]] = steps[int(np.argmax(stopped[:, column]))]
        for column in np.flatnonzero(~finite[-1]):
            row, first = rows[column], int(np.argmin(finite[:, column]))
            self.diverged_at[row] = steps[first]
            before = self.records["train_cost"][row, : places[first]]
            self.last_finite_cost[row] = before[-1] if len(before) else np.nan
            self.finished[row] = True

    def trained(self, rows: np.ndarray, start: int, seconds: float, here: str) -> None:
        """Notes that rows were trained here, from step `start`, for so many seconds each."""
        self.seconds[rows] += seconds
        for row in rows:
            self.provenance[row] = continued(self.provenance[row], start, here)

    def finish(self, row: int, params: Params | None, examples: Mapping[str, np.ndarray] | None) -> None:
        """Takes a row that has reached its last step; its parameters are kept where that is asked for."""
        self.finished[row] = True
        if params is not None and self._wants(row):
            self.kept[row] = params
        if examples:
            if self.examples is None:
                shape = len(self.finished)
                self.examples = {n: np.full((shape, len(v)), np.nan, v.dtype) for n, v in examples.items()}
            for name, values in examples.items():
                self.examples[name][row] = values

    def arrays(self, rows: Sequence[int], config: Config) -> dict[str, np.ndarray]:
        """Returns the records of rows of one group, `records/…`, `(rows, records)` each: its own, and not
        those that only other groups have.
        """
        count = num_records(config)
        hparams = self.design.hparams[self.design.row(rows[0]).configuration]
        absent = () if hparams.patience is not None else ("stop_loss",)
        absent += () if any(getattr(hparams, name) is not None for name in AVERAGES) else LAST
        return {
            f"records/{name}": values[rows, :count]
            for name, values in self.records.items()
            if name not in absent
        }

    def recall_records(self, row: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes back the records of a row."""
        for name, values in under("records", arrays).items():
            self._records_of(name)[row, : len(values)] = values

    def recall(self, row: int, stored: Any) -> None:
        """Takes back a finished row, a `store.Row`."""
        arrays = stored.arrays
        self.recall_records(row, arrays)
        self.diverged_at[row] = stored.diverged_at
        self.stopped_at[row] = stored.stopped_at
        self.last_finite_cost[row] = stored.last_finite_cost
        self.seconds[row], self.provenance[row] = stored.seconds, stored.provenance
        self.finished[row] = True
        if stored.diverged_at < 0:
            params = in_order("params", arrays)  # none where whoever trained it kept none
            self.without_params += not params
            self.finish(row, as_params(params) if params else None, under("examples", arrays))

    def results(
        self, plan: Plan, compile_seconds: float, train_seconds: float, notes: Sequence[str]
    ) -> Results:
        """Returns what was found, all rows being finished."""
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
        )

    def _notes(self) -> list[str]:
        """Returns how many rows ran where, if not all ran alike; and whose parameters are missing."""
        counts = collections.Counter(map(place_in_words, self.provenance))
        found = [f"{n:,} networks ran on {where}" for where, n in counts.items()] if len(counts) > 1 else []
        if self.keep != "none" and self.without_params:
            found.append(f"the parameters of {self.without_params:,} networks are not in the store")
        return found

    def best(self) -> str:
        """Returns the best configuration so far with its mean, in words, or ""."""
        metric = self.design.shown_metric
        if metric not in self.records:
            return ""
        last = final_records(self.design, self.records, self.diverged_at, self.stopped_at)
        values = self.records[metric][np.arange(len(last)), last]
        return best_so_far(self.design, metric, values, self.finished, self.diverged_at < 0)

    def _records_of(self, name: str) -> np.ndarray:
        if name not in self.records:
            self.records[name] = np.full((len(self.finished), self.num_records), np.nan, self.dtype)
        return self.records[name]

    def _wants(self, row: int) -> bool:
        """Returns whether a finished row's parameters are kept; lets go of those that it replaces."""
        if self.keep != "best":
            return self.keep == "all"
        metric = self.design.shown_metric
        configuration = self.design.row(row).configuration
        (last,) = final_records(self.design, self.records, self.diverged_at, self.stopped_at, [row])
        score = float(self.records[metric][row, last])
        score = score if higher_is_better(metric) else -score
        # The lowest row of the best score, whatever order they finish in.
        rank = (score if not np.isnan(score) else -np.inf, -row)
        old = self._best_kept.get(configuration)
        if old is not None and old >= rank:
            return False
        if old is not None:
            self.kept.pop(-old[1], None)
        self._best_kept[configuration] = rank
        return True
