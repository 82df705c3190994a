"""A population: networks that were selected and changed while they trained, with their lineage.

`engine/population.py` makes it; users read it, and `regjax.plot.schedules` draws it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from regjax.core.checks import counted, shown
from regjax.core.metrics import without_split
from regjax.core.mlp import Params
from regjax.study.configuration import Configuration, value_of
from regjax.study.design import Design
from regjax.study.schedule import Program, Schedule, as_plain
from regjax.study.selection import higher_is_better, ranking
from regjax.study.words import as_cell

if TYPE_CHECKING:
    import pandas as pd


class Generation(NamedTuple):
    """A population at the end of a segment.

    Attributes:
        step: the number of steps done.
        scores: score of each member there, before anything is copied, `(members,)`; NaN where it diverged.
        parents: the member that each goes on from: itself, or the one that it becomes a copy of.
        configurations: what each goes on with.
    """

    step: int
    scores: np.ndarray
    parents: tuple[int, ...]
    configurations: tuple[Configuration, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """The end of population-based training. `print` it: it says how far its best score may be believed.

    A member is one lane of hyperparameters, with a network for each seed and fold. Rows are numbered member
    by member, seed by seed, fold by fold.

    Attributes:
        design: the design of the first generation.
        metric: the validation metric that members are selected by.
        explored: names of the hyperparameters that changed.
        generations: the end of each segment; in the last, nothing was copied.
        records: metric -> `(rows, records)`: those of the network that a row ends with, all the way back
            through the members that it is descended from.
        diverged_at: step at which a row diverged for good, `(rows,)`, else -1.
        params: row -> final parameters.
        program: how the networks were computed.
        provenance: how each row was computed, JSON.

    Example:
        >>> import regjax
        >>> found = regjax.population(
        ...     "two_regions", {"num_steps": 40, "eval_every": 20}, {"l2": [0.01, 0.1, 1, 10]},
        ...     size=4, folds=2,
        ...     progress=False,
        ... )
        >>> found
        <regjax.Population: 4 members over 2 folds × 1 seed, 2 segments>
    """

    design: Design
    metric: str
    explored: tuple[str, ...]
    generations: tuple[Generation, ...]
    records: dict[str, np.ndarray]
    diverged_at: np.ndarray
    params: dict[int, Params]
    program: Program
    provenance: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.design.configurations)

    def __repr__(self) -> str:
        return (
            f"<regjax.Population: {len(self)} members {self.design.evidence.mean_in_words()}, "
            f"{counted(len(self.generations), 'segment')}>"
        )

    def __str__(self) -> str:
        best = self.best
        means = [f"{name} {self.mean(name)[best]:.4g}" for name in (self.metric, self._test) if name]
        lines = [
            f"{len(self)} members × {self.design.evidence.mean_in_words().removeprefix('over ')}, "
            f"{counted(len(self.generations), 'segment')}: the best is member {best}, {', '.join(means)}",
            f"its {self.metric} is optimistic: members were copied and chosen by it at "
            f"{counted(len(self.generations), 'step')}",
            self._honest,
            str(self.schedule(best)),
        ]
        return "\n".join(lines)

    @property
    def _test(self) -> str:
        """Name of the metric on the test samples, "" without any."""
        name = f"test_{without_split(self.metric)}"
        return name if name in self.records else ""

    @property
    def _honest(self) -> str:
        """Which score of the best member has not been selected on."""
        if self._test:
            return f"its {self._test} is of samples that no selection has seen"
        return "no samples are left that no selection has seen: hold some out with test=0.2"

    @property
    def best(self) -> int:
        """The member with the best score at the last step, by validation alone.

        Raises:
            ValueError: every member has a network that diverged.
        """
        scores = self.generations[-1].scores
        first = int(ranking(scores, higher_is_better(self.metric))[0])
        if np.isnan(scores[first]):
            raise ValueError("best must have a member whose networks did not diverge, got none")
        return first

    def mean(self, metric: str) -> np.ndarray:
        """Returns a metric of each member at the last step, `(members,)`: the mean over seeds and folds.

        Args:
            metric: name of a recorded metric.

        Raises:
            ValueError: a metric that was not recorded.
        """
        if metric not in self.records:
            raise ValueError(f"metric must be one of {', '.join(self.records)}, got {shown(metric)}")
        return self.records[metric][:, -1].astype(np.float64).reshape(len(self), -1).mean(axis=1)

    def ancestors(self, member: int) -> tuple[int, ...]:
        """Returns the members, one for each segment, in which a member's final network was trained.

        Raises:
            ValueError: there is no such member.
        """
        if not 0 <= member < len(self):
            raise ValueError(f"member must be in 0 to {len(self) - 1}, got {shown(member)}")
        found = [member]
        for generation in reversed(self.generations[:-1]):
            found.append(generation.parents[found[-1]])
        return tuple(reversed(found))

    def schedule(self, member: int | None = None) -> Schedule:
        """Returns the hyperparameters that a member's final network was trained with, step by step.

        `regjax.train_schedule` trains it again from the beginning.

        Args:
            member: number of the member; None is the best one.

        Raises:
            ValueError: there is no such member.
        """
        ancestors = self.ancestors(self.best if member is None else member)
        changes = [(0, self.design.configurations[ancestors[0]])]
        for generation, now in zip(self.generations, ancestors[1:], strict=False):
            if (found := generation.configurations[now]) != changes[-1][1]:
                changes.append((generation.step, found))
        return Schedule(tuple(changes), self.program)

    def summary(self) -> pd.DataFrame:
        """Returns a table with a line per member.

        Columns: `member`; `descends_from`, the member of the first generation whose weights it ends with;
        the hyperparameters at the end; `changes` of them on its way; the metric (NaN where a network
        diverged), `train_…` of the same and `val_loss`. All are of samples that members were trained or
        selected on, and so are optimistic; test samples are in `str(population)` alone, for the best member.
        """
        import pandas as pd

        last = self.generations[-1].configurations
        names = list(dict.fromkeys(name for found in last for name in found))
        members = range(len(self))
        columns: dict[str, Any] = {
            "member": members,
            "descends_from": [self.ancestors(member)[0] for member in members],
        }
        columns |= {name: [as_cell(value_of(found, name)) for found in last] for name in names}
        columns["changes"] = [len(self.schedule(member).changes) - 1 for member in members]
        for name in dict.fromkeys((self.metric, f"train_{without_split(self.metric)}", "val_loss")):
            columns[name] = self.mean(name)
        return pd.DataFrame(columns)

    def to_json(self) -> str:
        """Returns the lineage as JSON: scores, parents and hyperparameters of each generation, and the
        schedule of each member, which `Schedule.from_json` reads. Data, weights and records are not in it.
        """
        generations = []
        for generation in self.generations:
            scores = [None if np.isnan(score) else score for score in generation.scores.tolist()]
            generations.append(generation._asdict() | {"scores": scores})
        found = {
            "metric": self.metric,
            "seeds": self.design.seeds,
            "folds": self.design.num_folds,
            "first": self.design.configurations,
            "generations": generations,
            "schedules": [as_plain(self.schedule(member)) for member in range(len(self))],
        }
        return json.dumps(found)
