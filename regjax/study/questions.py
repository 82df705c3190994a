"""The questions that will be asked of the results of a sweep, checked before anything is trained.

`regjax.sweep`, the command line, a resumed sweep and the page of a report ask the same questions: `check`
holds them against a design, and `Results.answers` answers them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from regjax.core.checks import check_choice, shown
from regjax.study.comparison import resolve_baseline
from regjax.study.configuration import NAMES, canonical
from regjax.study.design import Design
from regjax.study.one_question import check_question
from regjax.study.selection import Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Questions:
    """Questions to the results of a sweep; they change nothing of what is trained.

    Attributes:
        metric: validation metric that configurations are ranked by; None takes val_accuracy or val_r2.
        rule: "mean" chooses the best mean, "one_se" the simplest within one standard error of it.
        allow_diverged: let configurations compete by their networks that did not diverge.
        baseline: values that make a configuration the baseline, such as `{"l2": 0, "keep_prob": 1}`; None is
            every regulariser of the grid off.
        over: axes of which each arm of the comparison uses its own best value.

    Raises:
        TypeError: a value of the wrong kind, naming it.
        ValueError: an unknown rule or hyperparameter.

    Example:
        >>> import regjax
        >>> questions = regjax.Questions(rule="one_se", metric="val_loss")
        >>> config = regjax.Config(num_steps=200, eval_every=100)
        >>> results = regjax.sweep(
        ...     "two_regions", config, {"l2": [0, 0.7]}, seeds=2, folds=3, questions=questions, progress=False
        ... )
        >>> answers = results.answers(questions)
        >>> answers.choice.rule, answers.choice.metric, answers.missing
        ('one_se', 'val_loss', ())
        >>> answers.first.verdict in ("helps", "hurts", "not separated")
        True
    """

    metric: str | None = None
    rule: Rule = "mean"
    allow_diverged: bool = False
    baseline: Mapping[str, Any] | None = None
    over: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, get_args(Rule))
        if not isinstance(self.allow_diverged, bool):
            raise TypeError(f"allow_diverged must be true or false, got {shown(self.allow_diverged)}")
        over = (self.over,) if isinstance(self.over, str) else self.over
        if not isinstance(over, list | tuple) or not all(isinstance(name, str) for name in over):
            raise TypeError(f"over must be a list of names, got {shown(over)}")
        if self.baseline is not None and not isinstance(self.baseline, Mapping):
            raise TypeError(f"baseline must be a table of names and values, got {shown(self.baseline)}")
        for key, named in (("over", over), ("baseline", self.baseline or {})):
            for name in named:
                if name not in NAMES:
                    raise ValueError(
                        f"{key} must name hyperparameters ({', '.join(NAMES)}), got {shown(name)}"
                    )
        # The dataclass is frozen: this is the one place where values get their canonical form.
        object.__setattr__(self, "over", tuple(over))
        if self.baseline is not None:
            values = {name: canonical(name, value) for name, value in self.baseline.items()}
            object.__setattr__(self, "baseline", values)

    def check(self, design: Design) -> tuple[str, ...]:
        """Returns a sentence for each question that a sweep of this design will not answer.

        Raises:
            ValueError: a question that is not a default, and that no results of this design can answer.
        """
        held_out = design.splits.kind != "none"
        if self.rule == "one_se" and (not held_out or design.num_units < 2):
            raise ValueError(
                "one_se must have at least two folds or seeds on held-out samples: sweep with folds=5"
            )
        compares = self.baseline is not None or bool(self.over)
        if not held_out and not compares and self.metric is None:
            return ("nothing is held out: no comparison and no choice",)
        design.check_metric(self.metric)
        try:
            resolve_baseline(design, self.baseline, self.over)
        except ValueError as error:
            if compares:
                raise
            return (f"there will be no comparison: {error}",)
        try:
            check_question(design, self.baseline, self.over, self.rule)
        except ValueError as error:
            return (f"there will be no answer to whether choosing beats the baseline: {error}",)
        return ()

    def as_json(self) -> dict[str, Any]:
        """Returns the questions that are no defaults, as JSON can hold them: `Questions(**…)` reads them."""
        fields = ((field.name, field.default) for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name, default in fields if getattr(self, name) != default}


class Origin(NamedTuple):
    """Where a sweep comes from; a store keeps it for `regjax resume`, `show` and `report`.

    Attributes:
        source: name or path of its data, or None for arrays.
        command: command line that began it, or "".
        toml: TOML that asks for it again, or "".
        search: what decides a search that the sweep is part of, as JSON can hold it: `study.tuned.Race`.
    """

    source: str | None = None
    command: str = ""
    toml: str = ""
    search: Mapping[str, Any] | None = None


NOWHERE = Origin()
